/* The context: one device, its queue, its memory and everything made with them; scopes, errors, training mode,
 * random-number state and the counters that a program or a test may watch. A context belongs to one thread. */
#ifndef CLGRAD_CONTEXT_H
#define CLGRAD_CONTEXT_H

#include <clgrad/tensor.h>

CG_BEGIN

/* Opens a context. `device`: NULL for the environment's CLGRAD_DEVICE or else the most capable device; an index, part
 * of a name (any case), "gpu" or "cpu". Never fails silently: on an error the context returned carries it in
 * cg_status and refuses everything else; NULL only when the host has no memory left for it.
 * The environment: CLGRAD_DISABLE=fp64,fp16,subgroups,vectors,overlap; CLGRAD_MEMORY_LIMIT=bytes (K, M, G suffixes);
 * CLGRAD_LOG=plan,kernels; CLGRAD_EAGER=1; CLGRAD_CHECK=1|nan; CLGRAD_GEMM=packed|tiled|clblast;
 * CLGRAD_CONVOLUTION=direct|winograd2|winograd4 (see convolution.h);
 * CLGRAD_JOIN=always|never; CLGRAD_SHARE=never; CLGRAD_CACHE=off|folder, of built programs; CLGRAD_PROFILE=path (see
 * profile.h); CLGRAD_TUNE=1|again and CLGRAD_TUNING=path|off (see tuning.h). Read once, here. */
CG_API cg_context *cg_open(const char *device);

typedef struct cg_open_options {
    char unset_;
    const char *device;
    /* Host memory hook: like realloc, and like free when bytes is 0. NULL: the C library's. */
    void *(*reallocate)(void *user, void *pointer, size_t bytes);
    void *user;
    int64_t memory_limit; /* bytes of device memory; 0: the environment's, else the device's */
} cg_open_options;
CG_API cg_context *cg_open_with(const cg_open_options *options);

/* Waits for the device, writes the profile if CLGRAD_PROFILE is set, frees everything: tensors and variables are gone
 * with the context. Models, loaders and the like are freed by their own functions before. */
CG_API void cg_close(cg_context *cg);

typedef enum cg_error {
    CG_OK = 0,
    CG_ERROR_ARGUMENT, /* shapes, dtypes, names, indices, dead handles */
    CG_ERROR_DEVICE,   /* no device, a feature that it lacks, a failing OpenCL call */
    CG_ERROR_MEMORY,   /* host or device memory */
    CG_ERROR_FILE,     /* missing, unreadable or damaged files */
    CG_ERROR_NUMBER    /* NaN found in check mode */
} cg_error;

/* The first error since the context was opened or cleared, and its message ("" without one). It sticks, so a program
 * may look once per step or epoch. Meanwhile: the call that failed returned null, NULL, false or NaN, and calls given a
 * null tensor do nothing, without a further message; other ops are recorded as ever. A step scope in which an error was
 * recorded assigns nothing, while the next one runs normally; reads, cg_eval, cg_flush, cg_wait and cg_loader_next fail
 * until the error is cleared. A bad index is found when the step runs, after cg_minimize has counted it
 * (cg_optimizer_steps), and changes no variable.
 * cg_clear_error: go on. What was found missing (memory, say) is not tried again by reads of other tensors, only when
 * asked for itself. */
CG_API cg_error cg_status(const cg_context *cg);
CG_API const char *cg_message(const cg_context *cg);
CG_API void cg_clear_error(cg_context *cg);

/* Training mode: off by default; dropout and batch norm obey it. */
CG_API void cg_training(cg_context *cg, bool on);
CG_API bool cg_is_training(const cg_context *cg);

/* Random numbers: (seed, call number, position) -> Philox 4x32-10. The call number counts up with each random op. */
CG_API void cg_seed(cg_context *cg, uint64_t seed);
CG_API uint64_t cg_random_get(const cg_context *cg);
CG_API void cg_random_set(cg_context *cg, uint64_t number);

/* Scopes. A tensor belongs to the scope in which it was made and dies with it.
 * cg_scope_begin: a step scope; its end runs everything pending as one plan (assignments, kept tensors), then cuts
 * history: what variables and kept tensors carry out is a leaf from then on. cg_scope_local: only frees handles.
 * Scopes nest and end in reverse order; ending an outer one ends the inner ones first. */
typedef struct cg_scope {
    cg_context *context;
    uint64_t serial;
} cg_scope;
CG_API cg_scope cg_scope_begin(cg_context *cg);
CG_API cg_scope cg_scope_local(cg_context *cg);
CG_API void cg_scope_end(cg_scope scope);
/* Moves a tensor to the enclosing scope (at the outermost: to the context, until cg_release). Returns it. */
CG_API cg_tensor cg_keep(cg_tensor tensor);
CG_API void cg_release(cg_tensor tensor);

/* Forcing points. cg_eval: computes and stores the listed tensors (each is stored while its handle lives).
 * cg_flush: enqueues what is pending, without waiting. cg_wait: cg_flush, then waits for the device and reports bad
 * indices found by kernels. False with a message on an error. */
CG_API bool cg_eval(const cg_tensor *tensors, int count);
CG_API bool cg_flush(cg_context *cg);
CG_API bool cg_wait(cg_context *cg);

/* Device memory, in bytes. */
typedef struct cg_memory {
    int64_t values;      /* taken now by what is stored: inputs, variables, kept tensors */
    int64_t results;     /* that the run will add to them: whatever it cannot write in place */
    int64_t temporaries; /* of the run, scratch included, as they are laid out */
    int64_t held;        /* what the context holds now */
    int64_t peak;        /* what it will hold during the run; a new pool for results may be somewhat larger */
    int64_t bound;       /* the least that any layout could do with: values, results, and the temporaries that are alive
                          * at once */
} cg_memory;
/* What a run needs, told before it: with tensors that of cg_eval; without, that of the end of the innermost step scope,
 * to be called just before it, or outside of step scopes that of cg_flush. The plan is made now, for the run to find;
 * nothing is enqueued. All zeros with a message on an error. */
CG_API cg_memory cg_memory_needed(cg_context *cg, const cg_tensor *tensors, int count);

/* Host memory from the context's allocator: zeroed; NULL after reporting CG_ERROR_MEMORY. Everything must be freed
 * before the context is closed. */
CG_API void *cg_host_allocate(cg_context *cg, size_t bytes);
CG_API void cg_host_free(cg_context *cg, void *pointer);

typedef struct cg_device_info {
    const char *name, *platform, *driver;
    bool is_gpu, has_f64, has_f16, has_subgroups;
    int compute_units;
    int64_t memory, largest_allocation, memory_limit; /* bytes */
} cg_device_info;
CG_API const cg_device_info *cg_device(const cg_context *cg);
/* Writes a table of the devices found to `out` (NUL-terminated, at most `bytes`), one per line: index, kind, name,
 * compute units, memory; ", default" ends the line of the one that cg_open(NULL) takes. */
CG_API void cg_device_list(char *out, size_t bytes);

/* Counters since the context was opened. */
typedef struct cg_counters {
    int64_t nodes, buffers, variables;       /* live objects */
    int64_t device_bytes, device_bytes_peak; /* pools and arena held from the device */
    int64_t used_bytes;                      /* of which values are stored in */
    int64_t plans_made, plan_hits, plans_cached;
    int64_t programs_built, kernels_built;
    int64_t programs_loaded;                         /* of those built: from binaries on disk */
    int64_t kernels_enqueued;                        /* launches: a joined plan is one, kernels that share one too */
    int64_t recomputed;                              /* nodes computed again because they had not been stored */
    int64_t last_plan_kernels, last_plan_peak_bytes; /* kernels, joined or not */
} cg_counters;
CG_API cg_counters cg_counters_get(const cg_context *cg);

CG_END
#endif

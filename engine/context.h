/* The context's inside, shared by the files of engine/: device and queue, scopes, node and buffer stores, caches.
 * Only engine/ may include this; the rest of the library sees include/clgrad and engine/graph.h. */
#ifndef CLGRAD_ENGINE_CONTEXT_H
#define CLGRAD_ENGINE_CONTEXT_H

#include "engine/graph.h"
#include "engine/opencl.h"
#include <clgrad/file.h>
#include <clgrad/variable.h>
#include <stdarg.h>

enum {
    CG_MESSAGE_BYTES = 1024,
    CG_TEXT_RING = 8,
    CG_TEXT_BYTES = 256,
    CG_QUEUED_PLANS = 32,     /* a step scope's end waits for the plan this many before it */
    CG_QUEUED_SLOW_PLANS = 2, /* the same when plans take over 10 ms */
    CG_STATUS_SLOTS = 256,    /* runs whose status words may be unread */
    CG_STATUS_WORDS = 4       /* flag, report code, index, bound */
};

#define CG_SLOW_PLAN_NANOSECONDS 10000000

typedef struct cg_buffer cg_buffer;
typedef struct cg_pool cg_pool;
typedef struct cg_plan cg_plan;
typedef struct cg_kernel_cache cg_kernel_cache;
typedef struct cg_profile cg_profile;
typedef struct cg_tuning cg_tuning;
enum { CG_WINOGRAD_AUTO = -1 };
typedef enum cg_gemm_kernel {
    CG_GEMM_PACKED,
    CG_GEMM_TILED,
    CG_GEMM_CLBLAST,
    CG_GEMM_KERNELS,
    CG_GEMM_NARROW = CG_GEMM_KERNELS, /* in place of PACKED wherever it can be */
    CG_GEMM_PLACES,                   /* the same, where A slides and B lies along the depth */
    CG_GEMM_WINOGRAD,                 /* in place of PACKED where that pays */
    CG_GEMM_WINOGRAD_GRADIENT,        /* the same of a convolution's kernel */
    CG_GEMM_FOLDED                    /* the same, where a kernel op folds the result */
} cg_gemm_kernel;

/* One scope on the stack: the tensors whose handles it owns. */
typedef struct cg_scope_record {
    uint64_t serial;
    bool step;
    bool failed;      /* an error was recorded in it: pending assignments will be dropped */
    int64_t deferred; /* calls that were so when it began */
    cg_node *first;
} cg_scope_record;

struct cg_variable {
    cg_context *context;
    char *name;
    cg_dtype dtype;
    cg_shape shape;
    cg_node *current;            /* what cg_value yields; differs from `committed` while an assignment is pending */
    cg_node *committed;          /* the last value that a plan has stored */
    cg_node *before;             /* pending from before the step scope in which it was assigned again, or NULL */
    bool lost, pending, in_step; /* in_step: the pending assignment was made in a step scope, and fails with it */
    cg_variable *next, *previous;
};

/* A host block lent for an upload; free again once the upload that read it is done. */
typedef struct cg_staging_block {
    size_t bytes;
    cl_event uploaded;
    bool lent;
    struct cg_staging_block *next;
    max_align_t data[];
} cg_staging_block;

/* What a run of a plan left in its status slot, to be looked at when the host next waits. */
typedef struct cg_status_run {
    cg_plan *plan;
} cg_status_run;

enum {
    CG_MOST_OVERLAPS = 32, /* launches whose memory is known */
    CG_OVERLAP_RANGES = 8  /* of one */
};
/* Memory that a launch reads or writes. */
typedef struct cg_memory_range {
    cl_mem memory;
    int64_t begin, end; /* bytes */
    bool written;
} cg_memory_range;
typedef struct cg_memory_ranges {
    cg_memory_range of[CG_OVERLAP_RANGES];
    int count;
} cg_memory_ranges;

/* Launches that may overlap, and what is between them and the context's queue: see queue.h and overlap.h. */
typedef struct cg_overlap {
    cl_command_queue queue;            /* which is out of order; NULL: nothing overlaps */
    cl_event events[CG_MOST_OVERLAPS]; /* of the launches that nothing on the context's queue waits for yet */
    cg_memory_ranges ranges[CG_MOST_OVERLAPS];
    int count;
    cl_event before;         /* of what was on the context's queue before them, or NULL */
    bool behind;             /* something has been put there since */
    cg_memory_ranges coming; /* of the run under way */
    int64_t arena_at;        /* where its temporaries begin */
} cg_overlap;

struct cg_context {
    /* Errors. */
    cg_error status;
    int64_t failures; /* errors reported so far, cleared ones too */
    bool optional;    /* what fails now is nobody's loss, and is not reported */
    char message[CG_MESSAGE_BYTES];
    char texts[CG_TEXT_RING][CG_TEXT_BYTES];
    int next_text;

    /* Host memory. */
    void *(*reallocate)(void *user, void *pointer, size_t bytes);
    void *user;
    cg_faults faults;

    /* Environment. */
    enum { CG_JOIN_AUTO, CG_JOIN_ALWAYS, CG_JOIN_NEVER } join; /* small plans to one kernel each: see join.h */
    bool share_never;                                          /* every step has a launch to itself: see share.h */
    bool eager, check, check_nan, log_plan, log_kernels;
    /* What computes matrix products unless tuned otherwise; and a bit for each that may, of which the device decides if
     * the environment does not. */
    cg_gemm_kernel gemm;
    unsigned gemm_allowed;
    int winograd; /* the tiles of convolutions: 0 for none, or as engine/winograd.h finds best */
    enum { CG_TUNE_NEVER, CG_TUNE_NEW, CG_TUNE_AGAIN } tune; /* again: what the tuning file holds too */
    cg_tuning *tuning;

    /* Device. */
    cl_platform_id platform;
    cl_device_id device;
    cl_context cl;
    cl_command_queue queue;
    cg_overlap overlap;
    cg_device_info info;
    char *info_text[3];
    int vector_width;      /* lanes of f32 in generated CPU code; 1 on GPUs */
    bool fetches;          /* kernels may ask memory ahead */
    bool divides_exactly;  /* kernels are built with correctly rounded division */
    size_t local_size;     /* work-group size of generated kernels */
    int64_t local_memory;  /* bytes for a work-group */
    int64_t largest_group; /* work-items in a work-group */
    int64_t memory_alignment;

    /* State. */
    bool training;
    uint64_t seed, random_number;
    uint64_t random_calls; /* ops that have taken random operands */

    /* Scopes and nodes. */
    cg_scope_record *scopes;
    int scope_count, scope_capacity;
    uint64_t next_serial, next_generation, walk;
    uint64_t next_node;
    int64_t deferred; /* calls that are not expanded */
    int expanding;    /* depth of expansions under way */
    cg_node *free_nodes;
    void **node_chunks;
    int node_chunk_count;
    cg_node **asked; /* kept tensors that the next forcing point stores and the end of their scope cuts */
    int asked_count, asked_capacity;

    cg_variable *variables;
    cg_variable **pending; /* variables with an assignment to run */
    int pending_count, pending_capacity;

    /* Device memory. */
    cg_pool *pools;
    cg_buffer *free_buffers;
    cl_mem arena;
    int64_t arena_bytes, device_bytes;
    int64_t memory_releases; /* pools and arenas given back so far: their handles may come again */
    cg_staging_block *staging;

    /* Status words of runs, and events that bound how far the host runs ahead. */
    cl_mem status_words;
    cl_int status_read[CG_STATUS_SLOTS * CG_STATUS_WORDS]; /* what was last read of them */
    cg_status_run status_runs[CG_STATUS_SLOTS];
    int status_next, status_unread;
    bool status_stale;  /* a slot that nobody will read may hold something */
    cl_event plan_done; /* of the last launch on the context's queue, or NULL */
    cl_event queued[CG_QUEUED_PLANS];
    int64_t queued_at[CG_QUEUED_PLANS];
    int queued_next;

    /* Caches. */
    cg_plan **plan_table;
    cg_plan *plan_newest, *plan_oldest;
    int plan_count;
    struct cg_shortcut **shortcut_table;
    cg_kernel_cache *kernels;
    int64_t kernel_entry_count;          /* in it, built or not */
    char *binary_folder, *binary_device; /* see binary_cache.h; NULL: programs are not kept on disk */
    struct cg_walk *walk_memory;

    cg_counters counters;
    cg_profile *profile; /* NULL: nothing is noted */
};

/* Objects of a program's own to open a context on. */
typedef struct cg_opencl {
    cl_context context;
    cl_device_id device;
    cl_command_queue queue;
} cg_opencl;

/* cg_open_with, with a fault armed before the first call: for tests. */
cg_context *cg_open_faulty(const cg_open_options *options, cg_faults faults);
/* The same on a program's own objects; NULL: none. */
cg_context *cg_open_given(const cg_open_options *options, cg_faults faults, const cg_opencl *given);

/* A context on the parent's device and queue, for measurements: it reads no environment, writes no file, and keeps to
 * the memory that the parent leaves. */
cg_context *cg_open_trial(cg_context *parent);

/* Whether the list in an environment variable holds the word. */
bool cg_environment_has(const char *name, const char *word);

/* Errors: the first one stays. All return false or NULL so that a caller can return them. */
bool cg_fail(cg_context *cg, cg_error error, const char *format, ...) CG_FORMAT(3, 4);
bool cg_fail_cl(cg_context *cg, const char *call, cl_int status);
void cg_fail_va(cg_context *cg, cg_error error, const char *prefix, const char *format, va_list arguments);

/* Host memory. cg_grow makes room for `count` elements in a growing array; false after reporting. */
void *cg_resize(cg_context *cg, void *pointer, size_t bytes);
bool cg_grow(cg_context *cg, void *array_pointer, int *capacity, int count, size_t element);
#define CG_GROW(cg, array, capacity, count) cg_grow(cg, &(array), &(capacity), count, sizeof *(array))
char *cg_copy_text(cg_context *cg, const char *text);

/* device.c. Without a device given, the environment's or else the most capable one; or the program's own. */
bool cg_device_open(cg_context *cg, const char *given, int64_t memory_limit);
bool cg_device_adopt(cg_context *cg, const cg_opencl *given, int64_t memory_limit);
void cg_device_close(cg_context *cg);

/* graph.c, scope.c. cg_can_hold: whether a value of this dtype and shape can be; reports under `who` where not. */
bool cg_can_hold(cg_context *cg, const char *who, cg_dtype dtype, const cg_shape *shape);
cg_node *cg_node_new(cg_context *cg, cg_node_kind kind, cg_dtype dtype, const cg_shape *shape);
void cg_node_become_data(cg_node *node);
void cg_handle_end(cg_node *node);
void cg_node_hash(cg_node *node);
void cg_scopes_close(cg_context *cg);
void cg_nodes_close(cg_context *cg);
void cg_variables_close(cg_context *cg);

/* plan.c: runs everything pending, plus `wanted`; with `scalars`, every live rank-0 tensor too; `cutting` at the end of
 * a step scope, where history ends and old values may be overwritten. On failure pending assignments are dropped. */
bool cg_force(cg_context *cg, cg_node *const *wanted, int count, bool scalars, bool cutting);
void cg_drop_pending(cg_context *cg, bool step);
bool cg_in_step(const cg_context *cg);     /* a step scope is open */
bool cg_step_failed(const cg_context *cg); /* and an error was recorded in the innermost of them */
void cg_plans_close(cg_context *cg);

/* execute.c */
bool cg_read_status(cg_context *cg);    /* waits for the runs so far and reports bad indices; false if it cannot look */
bool cg_check_status(cg_context *cg);   /* the same; false if there is an error, found now or before */
bool cg_ask_status(cg_context *cg);     /* the first half of cg_read_status, which does not wait... */
bool cg_look_at_status(cg_context *cg); /* ...and the second, once everything is done */
bool cg_finish(cg_context *cg);         /* waits for the queues and reports bad indices; false if there is an error */
void cg_throttle(cg_context *cg);

/* file.c: as cg_output_file_new, for a file that one can do without: what fails is not reported, but for host memory.
 */
cg_output_file *cg_output_file_quiet(cg_context *cg, const char *path);
/* The folders above a file, as far as they can be made; whether they could shows when the file is written. */
void cg_make_folders(const char *path);

/* transfer.c. cg_input_possible: whether there can be such an input; reports where not. cg_input_of: the tensor whose
 * value is in the buffer, which it takes over, on failure too. cg_send: copies host memory to the device's, without
 * waiting; its own again at once. cg_nodes_of: the nodes of live handles of this context, to be freed; NULL after an
 * error. */
bool cg_input_possible(cg_context *cg, cg_dtype dtype, cg_shape shape, const cg_input_options *options);
cg_tensor cg_input_of(cg_context *cg, cg_dtype dtype, cg_shape shape, struct cg_buffer *buffer,
                      const cg_input_options *options);
bool cg_send(cg_context *cg, cl_mem memory, const void *data, size_t bytes);
cg_node **cg_nodes_of(cg_context *cg, const cg_tensor *tensors, int count, const char *who);
void cg_staging_close(cg_context *cg);

#endif

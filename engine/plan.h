/* A plan: everything that one forcing point runs, compiled. Made by plan.c with schedule, memory and codegen; run by
 * execute. It refers to nodes by their number in the walk that made its key, so it outlives them. */
#ifndef CLGRAD_ENGINE_PLAN_H
#define CLGRAD_ENGINE_PLAN_H

#include "engine/context.h"

/* A value that a plan must store: for a variable, a kept tensor, or one asked for. */
typedef struct cg_root {
    cg_node *node;
    cg_variable *variable; /* whose assignment this is, or NULL */
    int position;          /* of node in the walk */
    int donor;             /* position of the variable's old value in the walk; -1: it is not read in the plan */
    bool donated;          /* nothing outside the plan needs the old value: its buffer may be written in place */
} cg_root;

/* A walk of the graph as it was recorded, kept while its deferred calls are expanded. */
typedef struct cg_first_walk {
    uint64_t key[2];
    uint64_t *record;
    int record_count, record_capacity;
    struct cg_first_node {
        cg_node *node;
        uint64_t serial; /* its memory may come to be another node's */
        bool binds;      /* a leaf, or a call whose attributes are arguments: what a plan may have to look at */
    } * nodes;
    int count, capacity;
} cg_first_walk;

/* The pending graph under some roots, in an order where inputs come first; and its structure, hashed. */
typedef struct cg_walk {
    cg_node **nodes;
    int count, capacity;
    struct cg_walk_frame *stack;
    int stack_capacity;
    cg_root *roots;
    int root_count, root_capacity;
    bool *held; /* per node: something that stays alive after the plan depends on it */
    int held_capacity;
    double *numbers; /* per node: value of host scalars, while binding */
    int numbers_capacity;
    cg_buffer **targets; /* per root: where its value goes, while running */
    int targets_capacity;
    uint64_t key[2];
    uint64_t *record; /* in debug builds: all that the key was made from */
    int record_count, record_capacity;
    int64_t recomputed;
    uint64_t visit; /* what its nodes' `visit` was set to */
    int deferred;   /* calls that are not expanded */
    bool ahead;     /* nothing is to be run */
    bool opaque;    /* their expansions depend on more than the key says: history behind stored values, say */
    cg_first_walk first;
    cg_node **calls; /* deferred calls while they are expanded */
    int call_count, call_capacity;
    cg_node **ending; /* see donate.c */
    int ending_capacity;
    cg_node **bound; /* see shortcut.h */
    int bound_capacity;
} cg_walk;

/* Where a tensor argument lies. */
typedef enum cg_place_kind {
    CG_PLACE_LEAF,  /* a value stored before */
    CG_PLACE_ARENA, /* a temporary */
    CG_PLACE_ROOT,  /* a value that outlives the plan */
    CG_PLACE_OLD    /* what the variable of a root holds before the plan */
} cg_place_kind;
typedef struct cg_place {
    cg_place_kind kind;
    int index;      /* LEAF: position in the walk; ROOT, OLD: number of the root; ARENA: of the temporary */
    int64_t offset; /* ARENA: bytes from its start */
    bool written;
} cg_place;

/* A field of a kernel's argument block that each run fills in: the element offset of a tensor, or a number. */
typedef enum cg_patch_kind {
    CG_PATCH_TENSOR,
    CG_PATCH_F32,
    CG_PATCH_F64,
    CG_PATCH_I32,
    CG_PATCH_STATUS,
    CG_PATCH_SHIFT
} cg_patch_kind;
typedef struct cg_patch {
    cg_patch_kind kind;
    uint16_t at;      /* byte in the block */
    uint16_t element; /* TENSOR: bytes of one */
    int index;        /* TENSOR: number of the argument; SHIFT: of the sum; numbers: position in the walk */
} cg_patch;

/* An offset that depends on where slices start: base + sum of factor * attribute of a node. */
enum { CG_MOST_SHIFTS = 8 };
typedef struct cg_shift {
    int item, attribute; /* position in the walk, number of the attribute */
    int64_t factor;
} cg_shift;
typedef struct cg_shift_sum {
    int64_t base;
    int count;
    cg_shift shifts[CG_MOST_SHIFTS];
    bool wide; /* a 64-bit field */
} cg_shift_sum;

/* A matrix product by CLBlast: C[batch] = A[batch] B[batch], row-major. */
typedef struct cg_blas_call {
    bool f64, transposed_a, transposed_b;
    int64_t m, n, k, leading_a, leading_b;
    int64_t batches;
    int64_t *offsets;      /* 3 per batch: first elements of A, B and C, from their places */
    cg_shift_sum first[2]; /* of the operands, besides */
    int64_t temporary_bytes;
    cl_mem temporary; /* a range of the arena `of`, as CLBlast takes no offset */
    cl_mem temporary_of;
} cg_blas_call;

enum { CG_MOST_STEP_PLACES = CG_MAX_INPUTS + CG_MAX_OUTPUTS + 64 };

typedef struct cg_kernel_entry cg_kernel_entry; /* of the program cache */
typedef struct cg_joined cg_joined;             /* see join.h */
typedef struct cg_share cg_share;               /* see share.h */
typedef struct cg_shortcut cg_shortcut;         /* see shortcut.h */

/* One launch. Arguments are its tensors' buffers, then (with `status`) the status words, then the block. */
typedef struct cg_step {
    cl_kernel kernel;
    cg_kernel_entry *entry; /* that the kernel is of; NULL for CLBlast */
    cl_uint dimensions;
    size_t global[3], local[3];
    cg_place *places;
    cl_mem *bound; /* what each buffer argument was last set to */
    int place_count;
    bool status, status_bound;
    unsigned char *block;
    int block_bytes;
    bool block_bound;
    cg_patch *patches;
    int patch_count;
    cg_shift_sum *sums;
    cg_blas_call *blas;
    bool together; /* a work-group's items work together: it is no stage of a joined kernel, and shares no launch */
    int launch;    /* number of the first step of its launch */
    int share;     /* number of its share, from 1; 0: it has a launch to itself */
    bool commits;  /* writes a variable's buffer in place */
    int *outputs;  /* positions of the values that it stores, for the NaN check... */
    int *output_arguments; /* ...and the numbers of their arguments */
    int output_count;
    char *label;   /* the ops in it, for logs and messages */
    int64_t bytes; /* read and written */
    double work;   /* additions, or what costs as much */
    double flop;   /* floating-point operations, each op of the graph being one; 0: not known */
    int passes;    /* over each row, where it goes over rows several times: see rows.c; 0 elsewhere */
    int profiled;  /* its number in the profile, from 1; 0: none yet */
} cg_step;

/* A number computed on the host at each run from others. */
typedef struct cg_host_step {
    const cg_op *op;
    int position, inputs[4], input_count;
    cg_dtype dtype;
} cg_host_step;

/* Where a root's value goes. */
typedef struct cg_target {
    bool in_place; /* into the buffer of the variable's old value */
    int donor;     /* position of that value, or -1 if the plan does not read it */
    int64_t bytes;
} cg_target;

/* Pools that a kernel made of others can reach, the arena among them: as many as four bits number (see stage.cl). */
enum { CG_STAGE_POOLS = 16 };

/* A message for a bad index found by a kernel. */
typedef struct cg_report_entry {
    char *text;
} cg_report_entry;

struct cg_plan {
    uint64_t key[2];
    uint64_t *record; /* in debug builds: all that the key was made from */
    int record_count;
    cg_plan *chain, *newer, *older;
    cg_step *steps;
    int step_count;
    cg_host_step *host_steps;
    int host_count;
    int *scalars; /* positions of SCALAR leaves */
    int scalar_count;
    cg_target *targets; /* one per root */
    int target_count;
    int64_t arena_bytes, arena_bound; /* what its temporaries take, and the most that are alive at once */
    int64_t releases;                 /* the context's memory_releases when arguments were last set */
    bool reports;
    cg_report_entry *report_texts;
    int report_count;
    int unread_runs; /* status slots that refer to this plan: it must not be dropped */
    cg_shortcut *shortcuts;
    int runs; /* until the plan is joined, or known not to be */
    bool settled;
    cg_share *shares;
    int share_count, share_capacity;
    cl_mem share_table;
    unsigned char *share_rows; /* what the table holds, or is to hold */
    int64_t share_bytes;
    bool share_rows_sent;
    cg_joined *joined; /* its steps as one kernel, or NULL */
    bool overlaps;     /* it may overlap others: see overlap.h */
    bool second_slot;  /* the next run's temporaries are behind those of the one before */
    int profiled;      /* the joined kernel's number in the profile, as a step's */
};

/* plan.c: the plan for a walked graph, compiled. NULL after reporting. */
cg_plan *cg_plan_make(cg_context *cg, cg_walk *walk);
void cg_plan_free(cg_context *cg, cg_plan *plan);

/* plan.c: the plan that the end of the innermost step scope would run or, outside of step scopes, cg_flush; with
 * tensors listed, cg_eval. It is made but not run. NULL if nothing is pending, or after reporting. */
cg_plan *cg_plan_ahead(cg_context *cg, cg_node *const *wanted, int count);

#endif

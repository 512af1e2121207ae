/* Which nodes share a kernel. Reads the walked graph, decides what is stored and groups the rest around it; knows
 * nothing of OpenCL. */
#ifndef CLGRAD_ENGINE_SCHEDULE_H
#define CLGRAD_ENGINE_SCHEDULE_H

#include "engine/plan.h"
#include "engine/tune.h"

enum {
    CG_MOST_OPS = 64,     /* inlined or stored in one kernel */
    CG_MOST_TENSORS = 24, /* read by one kernel */
    CG_MOST_MEMBERS = 12, /* stored by one kernel */
    CG_MOST_FOLDS = 8,    /* reductions in one kernel */
    CG_CHEAP = 4          /* a map up to this cost is computed again rather than stored */
};

typedef enum cg_entry_kind {
    CG_ITEM_BUFFER, /* stored before the plan runs */
    CG_ITEM_VALUE,  /* a constant, a scalar argument, host arithmetic on those, or the index */
    CG_ITEM_MAP,
    CG_ITEM_VIEW,  /* a move that an index expression can express */
    CG_ITEM_ALIAS, /* a reshape that only a contiguous buffer can express: another name for its input's buffer */
    CG_ITEM_REDUCE,
    CG_ITEM_CONTRACT,
    CG_ITEM_KERNEL,
    CG_ITEM_OUTPUT, /* of a kernel with several outputs: stored where the kernel stores it */
    CG_ITEM_SAME    /* equal to an earlier item, which is read in its place: see equal.h */
} cg_entry_kind;

/* One node of the walk. */
typedef struct cg_entry {
    cg_node *node;
    cg_entry_kind kind;
    bool host;      /* VALUE: computed on the host */
    bool forced;    /* VIEW, MAP: stored, since views on it shift too often */
    int shifts;     /* VIEW, MAP: offsets on the way down that are arguments */
    bool stored;    /* has a buffer of its own in this plan */
    int group;      /* that computes it, or -1 */
    int root;       /* number of the root that it is, or -1 */
    int uses;       /* list in cg_schedule.uses, or -1 */
    int cost;       /* of one element, with what would be inlined into it */
    int pass;       /* while those of a group over rows are counted: the one that it is computed in; see chain.h */
    uint64_t visit; /* when `pass` was found, or a walk saw it last */
    cg_place place; /* once stored or a BUFFER */
} cg_entry;

/* How the elements of an item correspond to those of a group's output space. */
typedef enum cg_match {
    CG_MATCH_NONE,
    CG_MATCH_ORDER,   /* one by one in row-major order, whatever the axes */
    CG_MATCH_ELEMENTS /* one by one along the same axes */
} cg_match;

/* A group reading an item. */
typedef struct cg_use {
    int group, next;
    cg_match match;
    bool needs_buffer;
    int64_t elements; /* at how many points it is evaluated */
} cg_use;

/* What a product's kernel can do with operands that are no plain matrices. */
typedef enum cg_gathering {
    CG_GATHERS_NOTHING,
    CG_GATHERS_FORWARDS, /* columns that go forwards */
    CG_GATHERS_KERNELS,  /* and as its first operand those of a convolution, whichever way they go */
    CG_GATHERS_ANYTHING  /* element by element, so however they lie */
} cg_gathering;

typedef enum cg_group_kind {
    CG_GROUP_MAP,
    CG_GROUP_REDUCE,
    CG_GROUP_CONTRACT,
    CG_GROUP_KERNEL,
    CG_GROUP_ROWS,  /* several of those over the same rows: see chain.h */
    CG_GROUP_JOINED /* nothing is left: a group over rows has taken it in */
} cg_group_kind;

/* One kernel to be: an optional anchor (reduction, contraction or kernel op) and the maps around it. ROWS has several
 * reductions, `folds`, and maps over the rows' elements, whose shape is `row_elements`, in a number of passes; its
 * space is the rows. A REDUCE that others have joined has `folds`, too, of which its anchor is the first. */
typedef struct cg_group {
    cg_group_kind kind;
    int anchor;                   /* item, or -1 */
    cg_shape space;               /* what its work-items range over when they store */
    int members[CG_MOST_MEMBERS]; /* stored items, in the order in which they were found: last first */
    int member_count;
    int folds[CG_MOST_FOLDS];
    int fold_count, passes;
    int fold_pass[CG_MOST_FOLDS], member_pass[CG_MOST_MEMBERS]; /* ROWS: in which each is computed */
    cg_shape row_elements;
    int ops, tensors;
    int edges;     /* list of groups that must run after it */
    int last_item; /* position, for the launch order */
    uint64_t visit;
    bool reports, in_place;
    cg_gemm_choice
        product; /* CONTRACT: how it is computed. CLBlast takes no epilogue, and nothing keeps it from writing */
    cg_gathering gathering; /* CONTRACT: see operand.h */
    int step;               /* its place in the launch order */
} cg_group;

typedef struct cg_edge {
    int to, next;
} cg_edge;

typedef struct cg_schedule {
    cg_context *context;
    cg_walk *walk;
    cg_entry *items;
    cg_use *uses;
    int use_count, use_capacity;
    cg_group *groups;
    int group_count, group_capacity;
    cg_edge *edges;
    int edge_count, edge_capacity;
    int *order; /* groups in launch order */
    int *stack; /* for reachability */
    int stack_capacity;
    uint64_t visit;
    int merged; /* items that are the same as others */
    bool reports;
    bool replays; /* something is computed again: see order.h */
    bool unfused; /* every op gets a kernel of its own */
    bool forgets; /* what is to be computed again is not, as if it were merged with what it equals */
} cg_schedule;

/* Fills a zeroed schedule with context, walk and unfused set. False after reporting (also: what cannot run, such as
 * f64). */
bool cg_schedule_make(cg_schedule *schedule);
void cg_schedule_free(cg_schedule *schedule);

/* Offsets of coordinates that are arguments: how far attribute `attribute` of item `item` moves each axis. */
typedef struct cg_axis_shift {
    int item, attribute;
    int64_t factor[CG_MAX_RANK];
} cg_axis_shift;
typedef struct cg_axis_shifts {
    int64_t count; /* as wide as the rest: accesses are compared byte by byte */
    cg_axis_shift of[CG_MOST_SHIFTS];
} cg_axis_shifts;
void cg_shift_coordinates(const cg_node *node, const cg_mapping *step, cg_mapping *composed, cg_axis_shifts *shifts);
/* Is the start along the axis an argument? (Where the axis is taken whole, it follows from the structure.) */
bool cg_is_shifted(const cg_node *node, int axis);

/* The buffer that an item's elements lie in: follows aliases. */
int cg_entry_storage(const cg_schedule *schedule, int item);
/* Adds an edge between groups; whether a path leads from one to another. */
bool cg_edge_add(cg_schedule *schedule, int from, int to);
bool cg_reaches(cg_schedule *schedule, int from, int to);
/* True for shapes that differ only by axes of size 1. */
bool cg_same_elements(const cg_shape *a, const cg_shape *b);
/* Elements, with a fixed number in place of the minibatch, so that decisions do not depend on its size. */
int64_t cg_nominal_size(const cg_node *node);

#endif

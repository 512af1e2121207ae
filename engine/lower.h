/* From a group of the schedule to straight-line values over loop axes: loads, arithmetic, stores, each with its index
 * as a linear form of the axes. codegen.c prints them. No OpenCL here. */
#ifndef CLGRAD_ENGINE_LOWER_H
#define CLGRAD_ENGINE_LOWER_H

#include "engine/operand.h"

enum { CG_AXES = 16, CG_MOST_OPERANDS = CG_MAX_MAP_INPUTS, CG_MOST_TERMS = 384, CG_MOST_GUARDS = 32 };
enum {
    CG_MOST_KEPT = CG_MAX_OUTPUTS, /* values of one pass over a row that a later one reads */
    CG_MOST_STORES = CG_MOST_MEMBERS + CG_MOST_KEPT
};

/* sum_i stride[i] * axis_i + offset, in elements. */
typedef struct cg_form {
    int64_t stride[CG_AXES], offset;
    cg_shift shifts[CG_MOST_SHIFTS]; /* to be added to the offset at each run */
    int shift_count;
} cg_form;

typedef enum cg_term_kind {
    CG_TERM_LOAD,     /* of tensor `tensor` at `form` */
    CG_TERM_LITERAL,  /* `number` */
    CG_TERM_ARGUMENT, /* a number bound at each run: item `item` */
    CG_TERM_INDEX,    /* the value of `form` itself */
    CG_TERM_MAP,      /* op's expression on operands */
    CG_TERM_CONVERT,  /* operand 0 to dtype */
    CG_TERM_GUARD,    /* operand 0 where guard `guard` holds, else 0 */
    CG_TERM_CORE,     /* the result of reduction `fold`, or of the matrix product */
    CG_TERM_ROW       /* operand 0, a number of the whole row, at each of its elements */
} cg_term_kind;

typedef struct cg_term {
    cg_term_kind kind;
    cg_dtype dtype;
    bool inner; /* computed inside the reduction's loops */
    int pass;   /* ROWS: over the row that computes it, or that is over when it is computed; -1: before the first */
    int cost;   /* ROWS: of one element, from what is loaded */
    int item, tensor, guard, fold;
    cg_form form;
    double number;
    const cg_op *op;
    cg_dtype operand_dtype; /* MAP: type of its REAL literals */
    int operands[CG_MOST_OPERANDS], operand_count;
} cg_term;

/* 0 <= form < extent, and what `parent` asks for (-1: nothing). */
typedef struct cg_guard {
    cg_form form;
    int64_t extent;
    int parent;
} cg_guard;

/* A buffer that the kernel reads or writes: the item stored in it, or -1 for scratch. */
typedef struct cg_kernel_tensor {
    int item;
    cg_dtype dtype;
    bool written;
} cg_kernel_tensor;

typedef struct cg_store {
    int value, tensor, item; /* -1: kept for a later pass */
    cg_form form;
    bool inner;
    int pass;
} cg_store;

/* A reduction: the value that is folded. */
typedef struct cg_fold {
    int item, value, pass;
} cg_fold;

/* One kernel's worth. Axes 0 .. outer_count-1 range over the group's space, the next inner_count over what a
 * reduction folds. */
typedef struct cg_lowered {
    cg_schedule *schedule;
    cg_group *group;
    int64_t extent[CG_AXES];
    int outer_count, inner_count;
    cg_term values[CG_MOST_TERMS];
    struct cg_memo *memo; /* per value: for which item and access it was made */
    int value_count;
    cg_guard guards[CG_MOST_GUARDS];
    int guard_count;
    cg_kernel_tensor tensors[CG_MOST_TENSORS + CG_MOST_MEMBERS + 8];
    int tensor_count;
    cg_store stores[CG_MOST_STORES];
    int store_count, kept_count;
    cg_fold folds[CG_MOST_FOLDS]; /* REDUCE has one, or those of the group */
    int fold_count;
    int pass; /* ROWS: being lowered */
    /* CONTRACT: where the axes of rows and of columns begin, which end the outer ones; and operands, as tensors and
     * forms over the batch axes. */
    int row_axis, column_axis, axis_of_space[CG_MAX_RANK];
    cg_operands operands;
    int operand_tensor[2];
    cg_form operand_form[2];
    bool failed;
} cg_lowered;

/* Fills a zeroed structure with schedule and group set. False after reporting. */
bool cg_lower(cg_lowered *lowered);
void cg_lowered_free(cg_lowered *lowered);

/* Whether an axis and the next can be one, of their elements in order. */
bool cg_can_merge(const cg_lowered *lowered, int axis);

/* Adds a tensor; the same storage is the same tensor. */
int cg_lowered_tensor(cg_lowered *lowered, int item, cg_dtype dtype, bool written);

#endif

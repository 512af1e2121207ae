/* How the operands of a matrix product lie in memory, found by looking through views: as plain matrices, or as
 * something that kernels gather while they pack, such as the windows of a convolution. Reads the schedule;
 * knows nothing of OpenCL. */
#ifndef CLGRAD_ENGINE_OPERAND_H
#define CLGRAD_ENGINE_OPERAND_H

#include "engine/schedule.h"

enum { CG_MOST_PARTS = 5, CG_MOST_COORDINATES = 3 };

/* An axis of a matrix may be several of the view that it was reshaped from. Along each of these, its parts, the address
 * and the guarded coordinates grow by fixed steps. */
typedef struct cg_part {
    int64_t extent, stride, step[CG_MOST_COORDINATES];
} cg_part;

/* Innermost first; none for an axis of one. */
typedef struct cg_parts {
    int count;
    cg_part of[CG_MOST_PARTS];
} cg_parts;

/* A coordinate of what is read: where it is not in [0, extent) the operand is 0. */
typedef struct cg_coordinate {
    int64_t first, extent;
} cg_coordinate;

/* A part of the rows along which the same elements come again, some places or lines further: steps of `phases` rows are
 * steps of `shift` along one of the columns' two innermost parts. */
typedef struct cg_slide {
    int along; /* 0: places, the columns' innermost part; 1: lines, the next */
    int64_t shift, phases;
} cg_slide;

typedef struct cg_operand {
    int item; /* -1: it must be copied first, and then is a matrix stored by rows, one after the other */
    bool transposed;
    int64_t leading;                   /* elements from one row of the storage to the next */
    cg_shift_sum first;                /* element */
    int64_t batch_stride[CG_MAX_RANK]; /* per leading axis of the result */
    int64_t stretch;                   /* elements from one stretch of the depth to the next */
    /* Gathered: line by line; the first element is that of line 0, place 0, whatever the coordinates. */
    bool gathered;
    cg_parts rows, columns;
    int coordinate_count;
    cg_coordinate coordinate[CG_MOST_COORDINATES];
    /* So many innermost parts of the rows slide; 0: elements come again too seldom to be worth anything. */
    int slide_count;
    cg_slide slide[CG_MOST_PARTS];
} cg_operand;

/* A product's operands; both have the depth in so many equal stretches. Where the first is the same for all batches,
 * the columns of the second may be joined: the products are then one. */
typedef struct cg_operands {
    cg_operand of[2];
    int64_t stretches;
    int64_t segment_stride; /* elements from one batch of joined columns to the next; 0: they are not joined */
} cg_operands;

/* Operands are plain, or gathered as `gathering` allows, or copied. For what gathers with vectors the depth may be in
 * stretches. */
cg_operands cg_operands_find(const cg_schedule *schedule, const cg_node *call, cg_gathering gathering);

/* The product of a CONTRACT node with these operands. */
struct gemm_shape cg_product_shape(const cg_node *node, const cg_operands *operands);

#endif

/* Products whose columns are the places of windows, and whose result a kernel op folds (cg_op.folds): what
 * cl_kernels/gemm_folded.cl computes at once, how it is specialised and how launched. Pure arithmetic on the host: it
 * makes no OpenCL call, keeps no state and never fails. */
#ifndef CLGRAD_ENGINE_GEMM_FOLDED_H
#define CLGRAD_ENGINE_GEMM_FOLDED_H

#include "engine/gemm_plan.h"
#include "engine/operand.h"

/* Windows along an axis, as the op has them. Elements of the result a stride apart are a phase, of `places`: the first
 * reads the windows' place `first`, and up to `reach` after it. Where a window begins lies `shift` behind a multiple of
 * the stride; of its elements, those `step` apart are added to the same phase. */
struct gemm_folded_axis {
    int64_t size, extent, count, stride, dilation, before, places, first, reach, shift, step;
};

struct gemm_folded {
    struct gemm_folded_axis z, y, x;
    int64_t channels;
    int64_t elements; /* of a window */
    int64_t first;    /* element of the second operand, counted from its first: that the first place reads */
};

struct gemm_folded_launch {
    int columns, lanes, tile_rows, images_each;      /* compile-time constants of the kernels */
    int rows, places, lines, pitch, span;            /* run-time arguments, as those of struct gemm_launch */
    size_t kernels_global[3], global[3];             /* with a local size of 1, 1, 1 */
    double cost;                                     /* of an image, in multiply-adds of one element */
    int64_t kernel_elements, group_elements, groups; /* of scratch: packed kernels; a work-group's, and how many */
};

/* Whether product and fold can be computed so, and faster than one after the other. The second operand then becomes
 * one that is gathered. Does not depend on a minibatch. */
bool cg_gemm_folded(const cg_node *fold, const cg_node *product, const struct gemm_device *device,
                    cg_operands *operands, struct gemm_folded *folded);

/* For a product that can, and the shape that it has with these operands. */
struct gemm_folded_launch cg_gemm_folded_plan(const struct gemm_folded *folded, const struct gemm_shape *shape,
                                              const struct gemm_device *device);

#endif

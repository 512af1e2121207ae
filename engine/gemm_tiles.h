/* Chooses how cl_kernels/gemm_tiled.cl is specialised and launched for one matrix product on one GPU. Pure arithmetic
 * on the host: it makes no OpenCL call, keeps no state and never fails. */
#ifndef CLGRAD_ENGINE_GEMM_TILES_H
#define CLGRAD_ENGINE_GEMM_TILES_H

#include "engine/gemm_plan.h"

/* What a device allows a work-group, and how many it runs side by side. */
struct gemm_limits {
    int compute_units;
    int64_t local_bytes;
    int64_t group_size;
};

/* Elements of C that a work-group owns, how deep its strips are, and elements that a work-item owns: all constants of
 * the kernel. Each of `rows` and `columns` is a multiple of the work-item's. */
struct gemm_tiles {
    int rows, columns, depth, item_rows, item_columns;
};

/* The default for a product: as large as the shape fills and the device allows. */
struct gemm_tiles cg_gemm_tiles(const struct gemm_shape *shape, const struct gemm_limits *limits);

/* Whether the device can run these for a product's dtype and the way its operands lie, whatever its extents; what else
 * there may be is refused too. */
bool cg_gemm_tiles_fit(const struct gemm_tiles *tiles, const struct gemm_shape *shape,
                       const struct gemm_limits *limits);

/* One-dimensional work-groups of `local` work-items: one for each tile in the first dimension, for each product, or
 * some of them, in the second, and for each share of the depth in the third. Whether it is `shared` does not depend on
 * a minibatch, the number of shares does; cl_kernels/gemm_tiled_sums.cl finishes what `scratch_elements` then hold. */
struct gemm_tiles_launch {
    bool shared;
    size_t local, global[3];
    int64_t shares, share_depth, scratch_elements;
};
struct gemm_tiles_launch cg_gemm_tiles_launch(const struct gemm_tiles *tiles, const struct gemm_shape *shape,
                                              const struct gemm_limits *limits);

/* The launch of that second kernel: its work-groups have `columns` times `lanes` work-items, both constants of the
 * kernel. */
struct gemm_sums_launch {
    int columns, lanes;
    size_t global[3];
};
struct gemm_sums_launch cg_gemm_sums_launch(const struct gemm_shape *shape, const struct gemm_limits *limits);

#endif

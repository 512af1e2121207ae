/* Says which matrix products are convolutions that Winograd's algorithm can do with fewer multiplications, when that
 * pays, and how cl_kernels/winograd.cl is specialised and launched. Pure arithmetic on the host. */
#ifndef CLGRAD_ENGINE_WINOGRAD_H
#define CLGRAD_ENGINE_WINOGRAD_H

#include "engine/gemm_plan.h"
#include "engine/operand.h"

/* Images that kernels of 3x3 or 5x5 go over with steps of 1, outputs counted along y and x. An output reads from row
 * `first` plus its own on; outside of [0, end) the image is 0. Those of `slices` together are a volume; each of its
 * channels counts `deep` times, once for each slice that an output reads: from `first` on, `step` for each slice of the
 * outputs and `step_deep` from one to the next. */
struct winograd_images {
    int64_t images, channels, outputs, extent; /* the extent: of the kernels, along both axes */
    int64_t stride_y, stride_c;                /* elements to the next row, and to the next channel */
    struct winograd_axis {
        int64_t first, end, places;
    } y, x;
    struct winograd_slices {
        int64_t count, deep, first, end, step, step_deep, stride, stride_deep;
    } z;
    struct winograd_kernels {
        int64_t stride_output, stride_channel; /* elements to the next output's, and to the next channel's */
        int64_t way;                           /* 1: its elements lie in their order; -1: the last comes first */
    } kernels;
};

struct winograd_launch {
    /* compile-time constants of the kernels */
    int edge, extent, tiles, block_rows, tile_rows, lanes, short_lanes, channels_each;
    int64_t planes; /* points of a tile */
    int64_t tiles_y, tiles_x;
    int64_t rows;                        /* of a work-group */
    size_t kernels_global[3], global[3]; /* with a local size of 1 */
    int64_t kernel_plane;                /* elements of a plane of transformed kernels */
    int64_t scratch_elements;
};

/* Whether an operand is windows of images, and how these lie; how many, and for how many outputs, is left to others. */
bool cg_winograd_windows(const cg_operand *operand, struct winograd_images *images);

/* False if it is no such product: kernels, the same for all batches, times windows of images. */
bool cg_winograd_images(const cg_operands *operands, const struct gemm_shape *shape, struct winograd_images *images);

/* Tiles of how many outputs along an axis are the fastest: 2 or 4, or 0 for none. */
int cg_winograd_edge(const struct winograd_images *images, const struct gemm_device *device);

/* The largest tiles that there are. */
int cg_winograd_most(const struct winograd_images *images);

struct winograd_launch cg_winograd_plan(const struct winograd_images *images, int edge,
                                        const struct gemm_device *device);

#endif

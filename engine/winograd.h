/* Says which matrix products are convolutions that Winograd's algorithm can do with fewer multiplications, when that
 * pays, and how cl_kernels/winograd.cl is specialised and launched. Pure arithmetic on the host. */
#ifndef CLGRAD_ENGINE_WINOGRAD_H
#define CLGRAD_ENGINE_WINOGRAD_H

#include "engine/gemm_plan.h"
#include "engine/operand.h"

/* Images that kernels of 3x3 or 5x5 go over with steps of 1, outputs counted along y and x. An output reads from row
 * `first` plus its own on; outside of [0, end) the image is 0. An image may be a volume, of whose slices `count`
 * outputs read `deep` each: the next output from slice_step later on, the next of the deep deep_step further. Slices
 * lie `stride` apart, with coordinates `step` apart that are 0 outside [0, end). */
struct winograd_images {
    int64_t images, channels, outputs, extent; /* the extent: of the kernels, along both axes */
    int64_t stride_y, stride_c;                /* elements to the next row, and to the next channel */
    struct winograd_axis {
        int64_t first, end, places;
    } y, x;
    struct winograd_slices {
        int64_t count, deep, slice_step, deep_step, stride, first, end, step;
    } z;
    struct winograd_kernels {
        int64_t stride_output, stride_channel; /* elements to the next output's, and to the next channel's */
        int64_t way;                           /* 1: its elements lie in their order; -1: the last comes first */
    } kernels;
};

/* How images are cut into tiles, and these dealt out: so many images, slices of each and tiles of these at once. */
struct winograd_parts {
    int64_t tiles_y, tiles_x;
    int64_t images, slices, high, wide;
    int64_t parts;             /* all of them */
    int64_t tiles, tiles_read; /* of a part at most: of outputs, and of what these read */
    int64_t places;            /* of a slice of a part, at most, with what vectors write beyond them */
};

struct winograd_launch {
    /* compile-time constants of the kernels */
    int extent, edge, tile_rows, strip_vectors, lanes, most_tiles, channels_each;
    struct winograd_parts parts;
    int64_t image_width, block_outputs;  /* elements of a tile's channels; outputs whose sums are kept at a time */
    int64_t rows;                        /* of a work-group */
    size_t kernels_global[3], global[3]; /* with a local size of 1 */
    int64_t kernel_plane;                /* elements of a plane of transformed kernels */
    int64_t kernel_elements;             /* of all planes */
    int64_t scratch_elements;
};

/* Whether an operand is windows of images, and how these lie; how many, and for how many outputs, is left to others. */
bool cg_winograd_windows(const cg_operand *operand, struct winograd_images *images);

/* False if it is no such product: kernels, the same for all batches, times windows of images. */
bool cg_winograd_images(const cg_operands *operands, const struct gemm_shape *shape, struct winograd_images *images);

/* Parts of at most so many tiles of so many outputs along an axis, of which each vector of channels takes `lanes`. */
struct winograd_parts cg_winograd_cut(const struct winograd_images *images, int64_t edge, int64_t most, int64_t lanes);

/* Tiles of how many outputs along an axis are the fastest: 2 or 4, or 0 for none. */
int cg_winograd_edge(const struct winograd_images *images, const struct gemm_device *device);

/* The largest tiles that there are. */
int cg_winograd_most(const struct winograd_images *images);

/* What transforming a part's images for one vector of channels costs, in multiply-adds of one vector. */
double cg_winograd_transform_steps(const struct winograd_parts *parts, int64_t planes);

struct winograd_launch cg_winograd_plan(const struct winograd_images *images, int edge,
                                        const struct gemm_device *device);

#endif

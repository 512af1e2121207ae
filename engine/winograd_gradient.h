/* Says which matrix products are gradients of kernels that Winograd's algorithm can do with fewer multiplications, when
 * that pays, and how cl_kernels/winograd_gradient.cl is specialised and launched. Pure arithmetic on the host. */
#ifndef CLGRAD_ENGINE_WINOGRAD_GRADIENT_H
#define CLGRAD_ENGINE_WINOGRAD_GRADIENT_H

#include "engine/winograd.h"

struct winograd_gradient_launch {
    int extent, edge, tile_rows, strip_vectors, lanes; /* compile-time constants of the kernel */
    struct winograd_parts parts;                       /* these and what follows are run-time arguments */
    int64_t block_channels, block_outputs;
    int64_t shares;     /* of the parts, each with sums of its own */
    int64_t sums_width; /* elements of a line of sums, which has one for each output */
    int64_t sums;       /* elements, which lie in front of the rest of the scratch */
    size_t global[3];   /* with a local size of 1 */
    int64_t scratch_elements;
};

/* False if it is no such product: windows of images times cotangents, over all places of all images. `outputs` of the
 * images are the cotangents'. */
bool cg_winograd_gradient(const cg_operands *operands, const struct gemm_shape *shape, struct winograd_images *images);

struct winograd_gradient_launch cg_winograd_gradient_plan(const struct winograd_images *images,
                                                          const struct gemm_device *device);

/* Is it faster than the sums themselves? */
bool cg_winograd_gradient_pays(const struct winograd_images *images, const struct gemm_device *device);

#endif

/* Chooses how cl_kernels/gemm_places.cl is specialised and launched for one matrix product on one CPU. Pure arithmetic
 * on the host: it makes no OpenCL call, keeps no state and never fails. */
#ifndef CLGRAD_ENGINE_GEMM_PLACES_H
#define CLGRAD_ENGINE_GEMM_PLACES_H

#include "engine/gemm_plan.h"

struct gemm_places_launch {
    int lanes, tile_rows, most_rows; /* compile-time constants of the kernel */
    int units, columns;              /* of a work-group; these and what follows are run-time arguments */
    int units_at_once, images_at_once, lines_at_once;
    size_t global[3]; /* with a local size of 1, 1, 1; the third may be less than the number of batches */
    int64_t scratch_elements;
};

/* Whether the kernel can compute this product, and faster than gemm_packed.cl. That does not depend on a minibatch. */
bool cg_gemm_has_places(const struct gemm_shape *shape, const struct gemm_device *device);

/* For a product that has places. One without rows, columns or batches has a global size with a zero in it: it must be
 * skipped. */
struct gemm_places_launch cg_gemm_places(const struct gemm_shape *shape, const struct gemm_device *device);

#endif

/* Chooses how cl_kernels/gemm_narrow.cl is specialised and launched for one matrix product on one CPU. Pure arithmetic
 * on the host: it makes no OpenCL call, keeps no state and never fails. */
#ifndef CLGRAD_ENGINE_GEMM_NARROW_H
#define CLGRAD_ENGINE_GEMM_NARROW_H

#include "engine/gemm_plan.h"

struct gemm_narrow_launch {
    int columns, vectors, lanes; /* compile-time constants of the kernel */
    int rows;                    /* run-time argument */
    size_t global[3];            /* with a local size of 1, 1, 1; the third may be less than the number of batches */
    int64_t scratch_elements;
};

/* Whether the kernel can compute this product, and faster than gemm_packed.cl. That does not depend on a minibatch. */
bool cg_gemm_is_narrow(const struct gemm_shape *shape, const struct gemm_device *device);

/* For a product that is narrow. One without rows or batches has a global size with a zero in it: it must be skipped. */
struct gemm_narrow_launch cg_gemm_narrow(const struct gemm_shape *shape, const struct gemm_device *device);

#endif

/* The floating dtypes that are narrower than what kernels compute in, on the host. cl_kernels/narrow.cl has their
 * conversions on the device. */
#ifndef CLGRAD_ENGINE_NARROW_H
#define CLGRAD_ENGINE_NARROW_H

#include <clgrad/tensor.h>

static inline bool cg_is_narrow(cg_dtype dtype)
{
    return dtype == CG_F16 || dtype == CG_BF16;
}

/* The dtype that a register holds it in. */
static inline cg_dtype cg_register_dtype(cg_dtype dtype)
{
    return cg_is_narrow(dtype) ? CG_F32 : dtype;
}

/* The number that the bits of an f16 or bf16 stand for. */
double cg_narrow_number(cg_dtype dtype, uint16_t bits);

#endif

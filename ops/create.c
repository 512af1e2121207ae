/* Tensors made from nothing: constants of any shape and counting. No op is described here: they are literals, numbers
 * and positions, broadcast and converted. */
#include "ops/family.h"

static cg_tensor filled(cg_tensor element, cg_shape shape, const cg_dtype_options *options)
{
    return cg_broadcast_to(cg_cast(element, options ? options->dtype : CG_F32), shape);
}

cg_tensor cg_full_with(cg_context *cg, cg_shape shape, double value, const cg_dtype_options *options)
{
    cg_dtype dtype = options ? options->dtype : CG_F32;
    return filled(cg_number_like(cg_constant(cg, dtype, 0), value), shape, options);
}

cg_tensor cg_zeros_with(cg_context *cg, cg_shape shape, const cg_dtype_options *options)
{
    return filled(cg_constant(cg, options ? options->dtype : CG_F32, 0), shape, options);
}

cg_tensor cg_ones_with(cg_context *cg, cg_shape shape, const cg_dtype_options *options)
{
    return filled(cg_constant(cg, options ? options->dtype : CG_F32, 1), shape, options);
}

cg_tensor cg_iota(cg_context *cg, int64_t count)
{
    if (count < 0) return cg_report(cg, CG_ERROR_ARGUMENT, "iota", "%lld elements", (long long)count);
    return cg_index(cg, CG_SHAPE(count));
}

/* ------------------------------------------------------------------------------------------------------------------ */

static const cg_op_function functions[] = {
    {"full",
     NULL,
     {.formula = "every element value; another value makes no new plan",
      .call = "cg, shape, value, .dtype",
      .keras = "ops.full",
      .pytorch = "full",
      .dtypes = "→ .dtype"}},
    {"zeros",
     NULL,
     {.formula = "every element 0",
      .call = "cg, shape, .dtype",
      .keras = "ops.zeros",
      .pytorch = "zeros",
      .dtypes = "→ .dtype"}},
    {"ones",
     NULL,
     {.formula = "every element 1",
      .call = "cg, shape, .dtype",
      .keras = "ops.ones",
      .pytorch = "ones",
      .dtypes = "→ .dtype"}},
    {"iota",
     NULL,
     {.formula = "0, 1, ..., count - 1",
      .call = "cg, count",
      .keras = "ops.arange",
      .pytorch = "arange",
      .dtypes = "→ i32"}},
};
const cg_op_family cg_ops_create = {
    FUNCTIONS(functions), .title = "Made from nothing",
    .introduction = "Constants, which fold into the kernels that read them. No derivative flows into them."};

/* Initializers: from a small description to a tensor of first values. Built from the random ops, so the numbers come
 * from the context's seed and counter. */
#include <clgrad/initializers.h>

#include <clgrad/ops.h>
#include <math.h>

cg_initializer cg_initializer_constant(double value)
{
    return (cg_initializer){CG_INITIALIZER_CONSTANT, value, 0};
}

cg_initializer cg_initializer_uniform(double low, double high)
{
    return (cg_initializer){CG_INITIALIZER_UNIFORM, low, high};
}

cg_initializer cg_initializer_normal(double mean, double deviation)
{
    return (cg_initializer){CG_INITIALIZER_NORMAL, mean, deviation};
}

/* Replaces the kinds that depend on m and n by the uniform or normal distribution that they mean. */
static cg_initializer resolve(cg_initializer initializer, double inputs, double outputs)
{
    double limit;
    switch (initializer.kind) {
    case CG_INITIALIZER_INVERSE_SQRT:
        limit = 1 / sqrt(inputs);
        return cg_initializer_uniform(-limit, limit);
    case CG_INITIALIZER_DEFAULT:
    case CG_INITIALIZER_GLOROT_UNIFORM:
        limit = sqrt(6 / (inputs + outputs));
        return cg_initializer_uniform(-limit, limit);
    case CG_INITIALIZER_HE_NORMAL:
        return cg_initializer_normal(0, sqrt(2 / inputs));
    default:
        return initializer;
    }
}

/* Distributions of one value are written as such: the random ops take a zero for "left out". */
static bool is_constant(cg_initializer plain)
{
    return plain.kind == CG_INITIALIZER_CONSTANT || (plain.kind == CG_INITIALIZER_UNIFORM && plain.a == plain.b) ||
           (plain.kind == CG_INITIALIZER_NORMAL && plain.b == 0);
}

cg_tensor cg_initial_value(cg_context *cg, cg_initializer initializer, cg_dtype dtype, cg_shape shape, int64_t inputs,
                           int64_t outputs)
{
    /* A dtype that does not exist is left to the op that makes the values, which says so. */
    if (!cg_is_floating(dtype) && cg_dtype_bytes(dtype) > 0)
        return cg_report(cg, CG_ERROR_ARGUMENT, "initializer", "dtype %s is not floating", cg_dtype_name(dtype));
    cg_initializer plain = resolve(initializer, (double)inputs, (double)outputs);
    if (!isfinite(plain.a) || !isfinite(plain.b))
        return cg_report(cg, CG_ERROR_ARGUMENT, "initializer", "a unit with %lld inputs and %lld outputs",
                         (long long)inputs, (long long)outputs);
    if (is_constant(plain)) return cg_full(cg, shape, plain.a, .dtype = dtype);
    switch (plain.kind) {
    case CG_INITIALIZER_UNIFORM:
        return cg_uniform(cg, shape, .low = plain.a, .high = plain.b, .dtype = dtype);
    case CG_INITIALIZER_NORMAL:
        return cg_normal(cg, shape, .mean = plain.a, .deviation = plain.b, .dtype = dtype);
    default:
        return cg_report(cg, CG_ERROR_ARGUMENT, "initializer", "there is no kind %d", (int)plain.kind);
    }
}

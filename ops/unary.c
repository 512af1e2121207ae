/* Elementwise ops of one operand: sign and powers, exponential and trigonometric functions, erf, rounding, conversion
 * of dtypes, and the identity without derivative. Each op: its rule, where to check it, its descriptor, its function.
 */
#include "ops/family.h"

#include <math.h>

/* ---- neg, abs, sign ---------------------------------------------------------------------------------------------- */

static double neg_host(const double *x)
{
    return -x[0];
}

static void neg_vjp(const cg_vjp *v, cg_tensor *result)
{
    result[0] = cg_neg(v->cotangents[0]);
}

static const cg_sample neg_samples[] = {
    {ONE_OPERAND, .low = -2, .high = 2, .smooth = true, .edges = true},
    {ONE_OPERAND, .dtypes = {CG_I32}, .low = -9, .high = 9},
    {ONE_OPERAND, .dtypes = {CG_U8}, .low = 0, .high = 255},
};

static const cg_op neg_op = {
    .name = "neg",
    .kind = CG_OP_MAP,
    .inputs = 1,
    .expression = "-a",
    .host = neg_host,
    .vjp = neg_vjp,
    .text = {.formula = "-x", .edges = "u8 wraps", .keras = "ops.negative", .pytorch = "neg"},
    SAMPLES(neg_samples),
};

cg_tensor cg_neg(cg_tensor x)
{
    return cg_map_1(&neg_op, x);
}

static double abs_host(const double *x)
{
    return fabs(x[0]);
}

static void abs_vjp(const cg_vjp *v, cg_tensor *result)
{
    result[0] = cg_mul(v->cotangents[0], cg_sign(v->inputs[0]));
}

static const cg_sample abs_samples[] = {
    {ONE_OPERAND, .low = 0.1, .high = 2, .smooth = true, .edges = true},
    {ONE_OPERAND, .low = -2, .high = -0.1, .smooth = true},
    {ONE_OPERAND, .dtypes = {CG_I32}, .low = -9, .high = 9},
};

static const cg_op abs_op = {
    .name = "abs",
    .kind = CG_OP_MAP,
    .inputs = 1,
    /* Subtracting from 0 makes -0 a 0, too. */
    .expression = "SELECT(a <= (T)(0), (T)(0) - a, a)",
    .host = abs_host,
    .vjp = abs_vjp,
    .text = {.formula = "|x|", .edges = "subgradient 0 at 0", .keras = "ops.abs", .pytorch = "abs"},
    SAMPLES(abs_samples),
};

cg_tensor cg_abs(cg_tensor x)
{
    return cg_map_1(&abs_op, x);
}

static double sign_host(const double *x)
{
    return x[0] > 0 ? 1 : x[0] < 0 ? -1 : x[0];
}

static const cg_sample sign_samples[] = {
    {ONE_OPERAND, .low = 0.1, .high = 2, .smooth = true, .edges = true},
    {ONE_OPERAND, .low = -2, .high = -0.1, .smooth = true},
    {ONE_OPERAND, .dtypes = {CG_I32}, .low = -9, .high = 9},
};

static const cg_op sign_op = {
    .name = "sign",
    .kind = CG_OP_MAP,
    .inputs = 1,
    .expression = "SELECT(a > (T)(0), (T)(1), SELECT(a < (T)(0), (T)(-1), a))",
    .host = sign_host,
    .zero_gradient = true,
    .text = {.formula = "-1, 0 or 1 by the sign of x", .keras = "ops.sign", .pytorch = "sign (0 for NaN)"},
    SAMPLES(sign_samples),
};

cg_tensor cg_sign(cg_tensor x)
{
    return cg_map_1(&sign_op, x);
}

/* ---- square, reciprocal, sqrt, rsqrt
 * ------------------------------------------------------------------------------------ */

static double square_host(const double *x)
{
    return x[0] * x[0];
}

static void square_vjp(const cg_vjp *v, cg_tensor *result)
{
    cg_tensor x = v->inputs[0];
    result[0] = cg_mul(v->cotangents[0], cg_mul(x, cg_literal_like(x, 2)));
}

static const cg_sample square_samples[] = {
    {ONE_OPERAND, .low = -2, .high = 2, .smooth = true, .edges = true},
    {ONE_OPERAND, .dtypes = {CG_I32}, .low = -9, .high = 9},
};

static const cg_op square_op = {
    .name = "square",
    .kind = CG_OP_MAP,
    .inputs = 1,
    .expression = "a * a",
    .host = square_host,
    .vjp = square_vjp,
    .text = {.formula = "x²", .keras = "ops.square", .pytorch = "square"},
    SAMPLES(square_samples),
};

cg_tensor cg_square(cg_tensor x)
{
    return cg_map_1(&square_op, x);
}

static double reciprocal_host(const double *x)
{
    return 1 / x[0];
}

static void reciprocal_vjp(const cg_vjp *v, cg_tensor *result)
{
    result[0] = cg_neg(cg_mul(v->cotangents[0], cg_square(v->outputs[0])));
}

static const cg_sample reciprocal_samples[] = {
    {ONE_OPERAND, .low = 0.5, .high = 2, .smooth = true, .edges = true},
    {ONE_OPERAND, .low = -2, .high = -0.5, .smooth = true},
    {ONE_OPERAND, .dtypes = {CG_I32}, .low = 1, .high = 9},
};

static const cg_op reciprocal_op = {
    .name = "reciprocal",
    .kind = CG_OP_MAP,
    .inputs = 1,
    .expression = "REAL(1.0) / a",
    .floating = true,
    .cost = 4,
    .host = reciprocal_host,
    .vjp = reciprocal_vjp,
    .text = {.formula = "1 / x",
             .edges = "infinite at 0, and so is the derivative",
             .keras = "ops.reciprocal",
             .pytorch = "reciprocal"},
    SAMPLES(reciprocal_samples),
};

cg_tensor cg_reciprocal(cg_tensor x)
{
    return cg_map_1(&reciprocal_op, x);
}

static double sqrt_host(const double *x)
{
    return sqrt(x[0]);
}

static void sqrt_vjp(const cg_vjp *v, cg_tensor *result)
{
    cg_tensor y = v->outputs[0];
    result[0] = cg_div(cg_mul(v->cotangents[0], cg_literal_like(y, 0.5)), y);
}

static const cg_sample sqrt_samples[] = {
    {ONE_OPERAND, .low = 0.5, .high = 4, .smooth = true, .edges = true},
    {ONE_OPERAND, .dtypes = {CG_U8}, .low = 0, .high = 255},
};

static const cg_op sqrt_op = {
    .name = "sqrt",
    .kind = CG_OP_MAP,
    .inputs = 1,
    .expression = "sqrt(a)",
    .floating = true,
    .cost = 4,
    .host = sqrt_host,
    .vjp = sqrt_vjp,
    .text = {.formula = "√x",
             .edges = "NaN below 0; derivative infinite at 0, NaN there for a cotangent of 0",
             .keras = "ops.sqrt",
             .pytorch = "sqrt"},
    SAMPLES(sqrt_samples),
};

cg_tensor cg_sqrt(cg_tensor x)
{
    return cg_map_1(&sqrt_op, x);
}

static double rsqrt_host(const double *x)
{
    return 1 / sqrt(x[0]);
}

static void rsqrt_vjp(const cg_vjp *v, cg_tensor *result)
{
    cg_tensor y = v->outputs[0], slope = cg_div(cg_mul(y, cg_literal_like(y, -0.5)), v->inputs[0]);
    result[0] = cg_mul(v->cotangents[0], slope);
}

static const cg_sample rsqrt_samples[] = {
    {ONE_OPERAND, .low = 0.5, .high = 4, .smooth = true, .edges = true},
    {ONE_OPERAND, .dtypes = {CG_U8}, .low = 1, .high = 255},
};

static const cg_op rsqrt_op = {
    .name = "rsqrt",
    .kind = CG_OP_MAP,
    .inputs = 1,
    .expression = "REAL(1.0) / sqrt(a)",
    .floating = true,
    .cost = 8,
    .host = rsqrt_host,
    .vjp = rsqrt_vjp,
    .text = {.formula = "1 / √x", .edges = "infinite at 0, NaN below", .keras = "ops.rsqrt", .pytorch = "rsqrt"},
    SAMPLES(rsqrt_samples),
};

cg_tensor cg_rsqrt(cg_tensor x)
{
    return cg_map_1(&rsqrt_op, x);
}

/* ---- exp, log, expm1, log1p, sin, cos, tan
 * ------------------------------------------------------------------------------------------ */

static double exp_host(const double *x)
{
    return exp(x[0]);
}

static void exp_vjp(const cg_vjp *v, cg_tensor *result)
{
    result[0] = cg_mul(v->cotangents[0], v->outputs[0]);
}

static const cg_sample exp_samples[] = {
    {ONE_OPERAND, .low = -2, .high = 2, .smooth = true, .edges = true},
    {ONE_OPERAND, .low = -80, .high = 80},
};

static const cg_op exp_op = {
    .name = "exp",
    .kind = CG_OP_MAP,
    .inputs = 1,
    .expression = "exp(a)",
    .floating = true,
    .cost = 10,
    .host = exp_host,
    .vjp = exp_vjp,
    .text = {.formula = "e^x", .keras = "ops.exp, activations.exponential", .pytorch = "exp"},
    SAMPLES(exp_samples),
};

cg_tensor cg_exp(cg_tensor x)
{
    return cg_map_1(&exp_op, x);
}

static double log_host(const double *x)
{
    return log(x[0]);
}

static void log_vjp(const cg_vjp *v, cg_tensor *result)
{
    result[0] = cg_div(v->cotangents[0], v->inputs[0]);
}

static const cg_sample log_samples[] = {
    {ONE_OPERAND, .low = 0.5, .high = 3, .smooth = true, .edges = true},
    {ONE_OPERAND, .dtypes = {CG_I32}, .low = 1, .high = 1000},
};

static const cg_op log_op = {
    .name = "log",
    .kind = CG_OP_MAP,
    .inputs = 1,
    .expression = "log(a)",
    .floating = true,
    .cost = 10,
    .host = log_host,
    .vjp = log_vjp,
    .text = {.formula = "natural logarithm of x",
             .edges = "-inf at 0, NaN below",
             .keras = "ops.log",
             .pytorch = "log"},
    SAMPLES(log_samples),
};

cg_tensor cg_log(cg_tensor x)
{
    return cg_map_1(&log_op, x);
}

static double expm1_host(const double *x)
{
    return expm1(x[0]);
}

static void expm1_vjp(const cg_vjp *v, cg_tensor *result)
{
    cg_tensor y = v->outputs[0];
    result[0] = cg_mul(v->cotangents[0], cg_add(y, cg_literal_like(y, 1)));
}

static const cg_sample expm1_samples[] = {
    {ONE_OPERAND, .low = -2, .high = 2, .smooth = true, .edges = true},
    {ONE_OPERAND, .low = -1e-4, .high = 1e-4},
    {ONE_OPERAND, .low = -80, .high = 80},
};

static const cg_op expm1_op = {
    .name = "expm1",
    .kind = CG_OP_MAP,
    .inputs = 1,
    .expression = "expm1(a)",
    .floating = true,
    .cost = 12,
    .host = expm1_host,
    .vjp = expm1_vjp,
    .text = {.formula = "e^x - 1, exact for small x", .keras = "ops.expm1", .pytorch = "expm1"},
    SAMPLES(expm1_samples),
};

cg_tensor cg_expm1(cg_tensor x)
{
    return cg_map_1(&expm1_op, x);
}

static double log1p_host(const double *x)
{
    return log1p(x[0]);
}

static void log1p_vjp(const cg_vjp *v, cg_tensor *result)
{
    cg_tensor x = v->inputs[0];
    result[0] = cg_div(v->cotangents[0], cg_add(x, cg_literal_like(x, 1)));
}

static const cg_sample log1p_samples[] = {
    {ONE_OPERAND, .low = -0.5, .high = 3, .smooth = true, .edges = true},
    {ONE_OPERAND, .low = -1e-4, .high = 1e-4},
};

static const cg_op log1p_op = {
    .name = "log1p",
    .kind = CG_OP_MAP,
    .inputs = 1,
    .expression = "log1p(a)",
    .floating = true,
    .cost = 12,
    .host = log1p_host,
    .vjp = log1p_vjp,
    .text = {.formula = "log(1 + x), exact for small x",
             .edges = "-inf at -1, NaN below",
             .keras = "ops.log1p",
             .pytorch = "log1p"},
    SAMPLES(log1p_samples),
};

cg_tensor cg_log1p(cg_tensor x)
{
    return cg_map_1(&log1p_op, x);
}

static double sin_host(const double *x)
{
    return sin(x[0]);
}

static void sin_vjp(const cg_vjp *v, cg_tensor *result)
{
    result[0] = cg_mul(v->cotangents[0], cg_cos(v->inputs[0]));
}

static const cg_sample sin_samples[] = {
    {ONE_OPERAND, .low = -4, .high = 4, .smooth = true, .edges = true},
};

static const cg_op sin_op = {
    .name = "sin",
    .kind = CG_OP_MAP,
    .inputs = 1,
    .expression = "sin(a)",
    .floating = true,
    .cost = 10,
    .host = sin_host,
    .vjp = sin_vjp,
    .text = {.formula = "sine of radians", .edges = "NaN at ±inf", .keras = "ops.sin", .pytorch = "sin"},
    SAMPLES(sin_samples),
};

cg_tensor cg_sin(cg_tensor x)
{
    return cg_map_1(&sin_op, x);
}

static double cos_host(const double *x)
{
    return cos(x[0]);
}

static void cos_vjp(const cg_vjp *v, cg_tensor *result)
{
    result[0] = cg_neg(cg_mul(v->cotangents[0], cg_sin(v->inputs[0])));
}

static const cg_sample cos_samples[] = {
    {ONE_OPERAND, .low = -4, .high = 4, .smooth = true, .edges = true},
};

static const cg_op cos_op = {
    .name = "cos",
    .kind = CG_OP_MAP,
    .inputs = 1,
    /* Of |a|, which is the same: Intel's compiler for CPUs, which joins sin(x) with cos(x), breaks down over chains. */
    .expression = "cos(fabs(a))",
    .floating = true,
    .cost = 10,
    .host = cos_host,
    .vjp = cos_vjp,
    .text = {.formula = "cosine of radians", .edges = "NaN at ±inf", .keras = "ops.cos", .pytorch = "cos"},
    SAMPLES(cos_samples),
};

cg_tensor cg_cos(cg_tensor x)
{
    return cg_map_1(&cos_op, x);
}

static double tan_host(const double *x)
{
    return tan(x[0]);
}

static void tan_vjp(const cg_vjp *v, cg_tensor *result)
{
    cg_tensor y = v->outputs[0];
    result[0] = cg_mul(v->cotangents[0], cg_add(cg_square(y), cg_literal_like(y, 1)));
}

static const cg_sample tan_samples[] = {
    {ONE_OPERAND, .low = -1.2, .high = 1.2, .smooth = true, .edges = true},
};

static const cg_op tan_op = {
    .name = "tan",
    .kind = CG_OP_MAP,
    .inputs = 1,
    .expression = "tan(a)",
    .floating = true,
    .cost = 20,
    .host = tan_host,
    .vjp = tan_vjp,
    .text = {.formula = "tangent of radians", .edges = "NaN at ±inf", .keras = "ops.tan", .pytorch = "tan"},
    SAMPLES(tan_samples),
};

cg_tensor cg_tan(cg_tensor x)
{
    return cg_map_1(&tan_op, x);
}

/* ---- erf --------------------------------------------------------------------------------------------------------- */

static double erf_host(const double *x)
{
    return erf(x[0]);
}

/* 2 / sqrt(pi) e^-x^2 */
static void erf_vjp(const cg_vjp *v, cg_tensor *result)
{
    cg_tensor x = v->inputs[0], slope = cg_literal_like(x, 1.1283791670955126);
    result[0] = cg_mul(v->cotangents[0], cg_mul(slope, cg_exp(cg_neg(cg_square(x)))));
}

static const cg_sample erf_samples[] = {
    {ONE_OPERAND, .low = -2, .high = 2, .smooth = true, .edges = true},
    {ONE_OPERAND, .low = -8, .high = 8},
    {ONE_OPERAND, .dtypes = {CG_I32}, .low = -5, .high = 5},
};

static const cg_op erf_op = {
    .name = "erf",
    .kind = CG_OP_MAP,
    .inputs = 1,
    .expression = "erf(a)",
    .floating = true,
    .cost = 20,
    .host = erf_host,
    .vjp = erf_vjp,
    .text = {.formula = "2 / √π · ∫ e^(-t²) dt from 0 to x",
             .edges = "±1 at ±inf",
             .keras = "ops.erf",
             .pytorch = "erf"},
    SAMPLES(erf_samples),
};

cg_tensor cg_erf(cg_tensor x)
{
    return cg_map_1(&erf_op, x);
}

/* ---- floor, ceil, round ------------------------------------------------------------------------------------------ */

static const cg_sample rounding_samples[] = {
    {ONE_OPERAND, .low = -9, .high = 9, .edges = true},
};

/* Integers are whole. */
static cg_tensor rounded(const cg_op *op, cg_tensor x)
{
    return cg_is_null(x) || cg_is_floating(cg_dtype_of(x)) ? cg_map_1(op, x) : x;
}

static double floor_host(const double *x)
{
    return floor(x[0]);
}

static const cg_op floor_op = {
    .name = "floor",
    .kind = CG_OP_MAP,
    .inputs = 1,
    .expression = "floor(a)",
    .floating = true,
    .host = floor_host,
    .zero_gradient = true,
    .text = {.formula = "the whole number at or below x", .dtypes = "any", .keras = "ops.floor", .pytorch = "floor"},
    SAMPLES(rounding_samples),
};

cg_tensor cg_floor(cg_tensor x)
{
    return rounded(&floor_op, x);
}

static double ceil_host(const double *x)
{
    return ceil(x[0]);
}

static const cg_op ceil_op = {
    .name = "ceil",
    .kind = CG_OP_MAP,
    .inputs = 1,
    .expression = "ceil(a)",
    .floating = true,
    .host = ceil_host,
    .zero_gradient = true,
    .text = {.formula = "the whole number at or above x", .dtypes = "any", .keras = "ops.ceil", .pytorch = "ceil"},
    SAMPLES(rounding_samples),
};

cg_tensor cg_ceil(cg_tensor x)
{
    return rounded(&ceil_op, x);
}

static double round_host(const double *x)
{
    return rint(x[0]);
}

static const cg_op round_op = {
    .name = "round",
    .kind = CG_OP_MAP,
    .inputs = 1,
    .expression = "rint(a)",
    .floating = true,
    .host = round_host,
    .zero_gradient = true,
    .text = {.formula = "the whole number nearest to x, of two the even one",
             .dtypes = "any",
             .keras = "ops.round",
             .pytorch = "round"},
    SAMPLES(rounding_samples),
};

cg_tensor cg_round(cg_tensor x)
{
    return rounded(&round_op, x);
}

/* ---- cast: attribute is the dtype -------------------------------------------------------------------------------- */

static double identity_host(const double *x)
{
    return x[0];
}

static bool cast_infer(const cg_call *call, cg_inferred *result)
{
    int64_t dtype = call->attributes[0];
    if (cg_dtype_bytes((cg_dtype)dtype) == 0) return cg_op_error(call, "there is no dtype %lld", (long long)dtype);
    result->shape[0] = call->input_shapes[0];
    result->dtype[0] = (cg_dtype)dtype;
    return true;
}

static void cast_vjp(const cg_vjp *v, cg_tensor *result)
{
    cg_dtype from = cg_dtype_of(v->inputs[0]), to = cg_dtype_of(v->outputs[0]);
    if (cg_is_floating(from) && cg_is_floating(to)) result[0] = cg_cast(v->cotangents[0], from);
}

static const cg_sample cast_samples[] = {
    {ONE_OPERAND, ATTRIBUTES(CG_F64), .low = -2, .high = 2, .smooth = true, .edges = true},
    {ONE_OPERAND, ATTRIBUTES(CG_F32), .low = -2, .high = 2, .edges = true},
    {ONE_OPERAND, ATTRIBUTES(CG_I32), .low = -200, .high = 200},
    {ONE_OPERAND, ATTRIBUTES(CG_U8), .low = 0, .high = 255},
    {ONE_OPERAND, ATTRIBUTES(CG_BOOL), .low = -2, .high = 2, .edges = true},
    {ONE_OPERAND, ATTRIBUTES(CG_F32), .dtypes = {CG_I32}, .low = -200, .high = 200},
    {ONE_OPERAND, ATTRIBUTES(CG_U8), .dtypes = {CG_I32}, .low = -600, .high = 600},
    {ONE_OPERAND, ATTRIBUTES(CG_I32), .dtypes = {CG_BOOL}, .low = 0, .high = 1},
};

static const cg_op cast_op = {
    .name = "cast",
    .kind = CG_OP_MAP,
    .inputs = 1,
    .infer = cast_infer,
    .expression = "a",
    .host = identity_host,
    .vjp = cast_vjp,
    .text = {.formula =
                 "x in another dtype: towards zero where floats become integers, \"not 0\" where bool; i32 to u8 wraps",
             .call = "x, dtype",
             .edges = "derivative 0 through integers and bool; NaN and what is outside an integer dtype give what the "
                      "device does",
             .keras = "ops.cast",
             .pytorch = "Tensor.to",
             .dtypes = "any → dtype"},
    SAMPLES(cast_samples),
};

cg_tensor cg_cast(cg_tensor x, cg_dtype dtype)
{
    if (cg_dtype_of(x) == dtype) return x;
    return cg_apply(&cast_op, &x, 1, (int64_t[]){dtype}, 1);
}

/* ---- stop_gradient ----------------------------------------------------------------------------------------------- */

static const cg_sample stop_gradient_samples[] = {
    {ONE_OPERAND, .low = -2, .high = 2, .edges = true},
    {ONE_OPERAND, .dtypes = {CG_U8}, .low = 0, .high = 255},
};

static const cg_op stop_gradient_op = {
    .name = "stop_gradient",
    .kind = CG_OP_MAP,
    .inputs = 1,
    .expression = "a",
    .host = identity_host,
    .zero_gradient = true,
    .text = {.formula = "x, as a constant", .keras = "ops.stop_gradient", .pytorch = "Tensor.detach"},
    SAMPLES(stop_gradient_samples),
};

cg_tensor cg_stop_gradient(cg_tensor x)
{
    return cg_map_1(&stop_gradient_op, x);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static const cg_op *const list[] = {&neg_op,   &abs_op,   &sign_op,  &square_op, &reciprocal_op,
                                    &sqrt_op,  &rsqrt_op, &exp_op,   &log_op,    &expm1_op,
                                    &log1p_op, &sin_op,   &cos_op,   &tan_op,    &erf_op,
                                    &floor_op, &ceil_op,  &round_op, &cast_op,   &stop_gradient_op};
const cg_op_family cg_ops_unary = {OPS(list), .title = "Elementwise, one operand",
                                   .introduction = "Each element by itself."};

/* Activations composed of the elementary ops: exponential and sigmoid linear units, their cheap stand-ins, shrinkage,
 * and what is piecewise. Each: its value in double for the tests, its formula, from which derivatives of every order
 * come, its function. Numbers that a user passes are operands, so that another number makes no new kernel. */
#include "ops/family.h"
#include <clgrad/activations.h>

#include <math.h>

/* ---- What they share --------------------------------------------------------------------------------------------- */

static bool unit_infer(const cg_call *call, cg_inferred *result)
{
    result->shape[0] = call->input_shapes[0];
    result->dtype[0] = cg_floating_dtype(call->input_dtypes[0]);
    return true;
}

/* Away from 0, where some have a kink. */
#define POSITIVE ONE_OPERAND, .low = 0.1, .high = 2.4, .smooth = true
#define NEGATIVE ONE_OPERAND, .low = -2.4, .high = -0.1, .smooth = true
/* Of formulas that differences make inexact (relative to what is left) further out. */
static const cg_sample near_samples[] = {{POSITIVE}, {NEGATIVE}};
static const cg_sample far_samples[] = {
    {POSITIVE},
    {NEGATIVE},
    {ONE_OPERAND, .low = -20, .high = 20},
    {ONE_OPERAND, .dtypes = {CG_I32}, .low = -9, .high = 9},
};

/* Of a difference that is small near 0. */
static const cg_sample distant_samples[] = {
    {ONE_OPERAND, .low = 1, .high = 3, .smooth = true},
    {ONE_OPERAND, .low = -3, .high = -1, .smooth = true},
};

/* With a positive number beside x. */
static const cg_sample number_samples[] = {
    {.shapes = {{2, {3, 5}}}, .low = 0.3, .high = 2.5, .smooth = true},
};

/* The descriptor of an activation of x; what follows WHERE is its text. */
#define UNIT(NAME, WHERE, ...) \
    static void NAME##_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs) \
    { \
        (void)call; \
        outputs[0] = NAME(cg_to_floating(inputs[0])); \
    } \
    static const cg_op NAME##_op = { \
        .name = #NAME, \
        .kind = CG_OP_COMPOSED, \
        .inputs = 1, \
        .infer = unit_infer, \
        .expand = NAME##_expand, \
        .host = NAME##_host, \
        .text = {__VA_ARGS__}, \
        SAMPLES(WHERE), \
    }

/* Of x and a number of rank 0. */
#define UNIT_WITH_NUMBER(NAME, ...) \
    static void NAME##_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs) \
    { \
        cg_tensor x = cg_to_floating(inputs[0]); \
        (void)call; \
        outputs[0] = NAME(x, cg_cast(inputs[1], cg_dtype_of(x))); \
    } \
    static const cg_op NAME##_op = { \
        .name = #NAME, \
        .kind = CG_OP_COMPOSED, \
        .inputs = 2, \
        .infer = unit_infer, \
        .expand = NAME##_expand, \
        .host = NAME##_host, \
        .text = {__VA_ARGS__}, \
        SAMPLES(number_samples), \
    }

/* Of x and two numbers of rank 0. */
#define UNIT_WITH_NUMBERS(NAME, ...) \
    static void NAME##_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs) \
    { \
        cg_tensor x = cg_to_floating(inputs[0]); \
        (void)call; \
        outputs[0] = NAME(x, cg_cast(inputs[1], cg_dtype_of(x)), cg_cast(inputs[2], cg_dtype_of(x))); \
    } \
    static const cg_op NAME##_op = { \
        .name = #NAME, \
        .kind = CG_OP_COMPOSED, \
        .inputs = 3, \
        .infer = unit_infer, \
        .expand = NAME##_expand, \
        .host = NAME##_host, \
        .text = {__VA_ARGS__}, \
        SAMPLES(number_samples), \
    }

static cg_tensor with_number(const cg_op *op, cg_tensor x, double number)
{
    return cg_is_null(x) ? x : cg_map_2(op, x, cg_scalar(cg_context_of(x), number));
}

static cg_tensor times(cg_tensor x, double factor)
{
    return cg_mul(x, cg_literal_like(x, factor));
}

static cg_tensor plus(cg_tensor x, double term)
{
    return cg_add(x, cg_literal_like(x, term));
}

/* x above 0, elsewhere what is given. */
static cg_tensor where_positive(cg_tensor x, cg_tensor otherwise)
{
    return cg_where(cg_greater(x, cg_literal_like(x, 0)), x, otherwise);
}

/* e^x - 1 up to 0, above it 0, so that what is not taken there does not overflow. A minimum would halve the derivative
 * at 0. */
static cg_tensor bounded_expm1(cg_tensor x)
{
    cg_tensor zero = cg_literal_like(x, 0);
    return cg_expm1(cg_where(cg_greater(x, zero), zero, x));
}

/* ---- elu, selu, celu --------------------------------------------------------------------------------------------- */

static double elu_host(const double *x)
{
    return x[0] > 0 ? x[0] : x[1] * expm1(x[0]);
}

static cg_tensor elu(cg_tensor x, cg_tensor alpha)
{
    return where_positive(x, cg_mul(alpha, bounded_expm1(x)));
}

UNIT_WITH_NUMBER(elu, .formula = "x where x > 0, else alpha · (e^x - 1)", .call = "x, alpha",
                 .edges = "subgradient alpha at 0", .keras = "activations.elu, layers.ELU",
                 .pytorch = "nn.functional.elu, nn.ELU");

cg_tensor cg_elu(cg_tensor x, double alpha)
{
    return with_number(&elu_op, x, alpha);
}

/* The constants keep mean 0 and variance 1 (Klambauer et al., 2017). */
static const double selu_alpha = 1.6732632423543772, selu_scale = 1.0507009873554805;

static double selu_host(const double *x)
{
    return selu_scale * (x[0] > 0 ? x[0] : selu_alpha * expm1(x[0]));
}

static cg_tensor selu(cg_tensor x)
{
    return times(where_positive(x, times(bounded_expm1(x), selu_alpha)), selu_scale);
}

UNIT(selu, far_samples, .formula = "1.0507 · (x where x > 0, else 1.67326 · (e^x - 1))",
     .edges = "subgradient 1.7581 at 0", .keras = "activations.selu", .pytorch = "selu, nn.SELU");

cg_tensor cg_selu(cg_tensor x)
{
    return cg_map_1(&selu_op, x);
}

static double celu_host(const double *x)
{
    return x[0] > 0 ? x[0] : x[1] * expm1(x[0] / x[1]);
}

static cg_tensor celu(cg_tensor x, cg_tensor alpha)
{
    return where_positive(x, cg_mul(alpha, bounded_expm1(cg_div(x, alpha))));
}

UNIT_WITH_NUMBER(celu, .formula = "x where x > 0, else alpha · (e^(x / alpha) - 1)", .call = "x, alpha",
                 .keras = "activations.celu", .pytorch = "celu, nn.CELU");

cg_tensor cg_celu(cg_tensor x, double alpha)
{
    return with_number(&celu_op, x, alpha);
}

/* ---- silu, gelu, mish -------------------------------------------------------------------------------------------- */

static double silu_host(const double *x)
{
    return x[0] / (1 + exp(-x[0]));
}

static cg_tensor silu(cg_tensor x)
{
    return cg_mul(x, cg_sigmoid(x));
}

UNIT(silu, far_samples, .formula = "x · sigmoid(x)", .edges = "NaN at -inf", .keras = "activations.silu",
     .pytorch = "nn.functional.silu, nn.SiLU");

cg_tensor cg_silu(cg_tensor x)
{
    return cg_map_1(&silu_op, x);
}

static double gelu_host(const double *x)
{
    return 0.5 * x[0] * erfc(-x[0] * 0.7071067811865476);
}

static cg_tensor gelu(cg_tensor x)
{
    return cg_mul(times(x, 0.5), plus(cg_erf(times(x, 0.7071067811865476)), 1));
}

UNIT(gelu, near_samples, .formula = "x · Φ(x), with the normal distribution's Φ", .edges = "NaN at -inf",
     .keras = "activations.gelu (approximate=False)", .pytorch = "nn.functional.gelu, nn.GELU");

cg_tensor cg_gelu(cg_tensor x)
{
    return cg_map_1(&gelu_op, x);
}

static double gelu_tanh_host(const double *x)
{
    return 0.5 * x[0] * (1 + tanh(0.7978845608028654 * (x[0] + 0.044715 * x[0] * x[0] * x[0])));
}

static cg_tensor gelu_tanh(cg_tensor x)
{
    cg_tensor cube = cg_mul(cg_square(x), x), inner = times(cg_add(x, times(cube, 0.044715)), 0.7978845608028654);
    return cg_mul(times(x, 0.5), plus(cg_tanh(inner), 1));
}

UNIT(gelu_tanh, near_samples, .formula = "x / 2 · (1 + tanh(√(2 / π) · (x + 0.044715 · x³)))", .edges = "NaN at -inf",
     .keras = "activations.gelu (approximate=True)", .pytorch = "nn.functional.gelu (approximate=\"tanh\")");

cg_tensor cg_gelu_tanh(cg_tensor x)
{
    return cg_map_1(&gelu_tanh_op, x);
}

static double mish_host(const double *x)
{
    return x[0] * tanh(log1p(exp(x[0])));
}

static cg_tensor mish(cg_tensor x)
{
    return cg_mul(x, cg_tanh(cg_softplus(x)));
}

UNIT(mish, far_samples, .formula = "x · tanh(softplus(x))", .edges = "NaN at -inf", .keras = "activations.mish",
     .pytorch = "nn.functional.mish, nn.Mish");

cg_tensor cg_mish(cg_tensor x)
{
    return cg_map_1(&mish_op, x);
}

/* ---- log_sigmoid, softsign, tanh_shrink -------------------------------------------------------------------------- */

static double log_sigmoid_host(const double *x)
{
    return -log1p(exp(-x[0]));
}

static cg_tensor log_sigmoid(cg_tensor x)
{
    return cg_neg(cg_softplus(cg_neg(x)));
}

UNIT(log_sigmoid, far_samples, .formula = "log(sigmoid(x))", .keras = "activations.log_sigmoid",
     .pytorch = "nn.functional.logsigmoid, nn.LogSigmoid");

cg_tensor cg_log_sigmoid(cg_tensor x)
{
    return cg_map_1(&log_sigmoid_op, x);
}

static double softsign_host(const double *x)
{
    return x[0] / (1 + fabs(x[0]));
}

static cg_tensor softsign(cg_tensor x)
{
    return cg_div(x, plus(cg_abs(x), 1));
}

UNIT(softsign, far_samples, .formula = "x / (1 + |x|)", .edges = "NaN at ±inf", .keras = "activations.softsign",
     .pytorch = "nn.functional.softsign, nn.Softsign");

cg_tensor cg_softsign(cg_tensor x)
{
    return cg_map_1(&softsign_op, x);
}

static double tanh_shrink_host(const double *x)
{
    return x[0] - tanh(x[0]);
}

static cg_tensor tanh_shrink(cg_tensor x)
{
    return cg_sub(x, cg_tanh(x));
}

UNIT(tanh_shrink, distant_samples, .formula = "x - tanh(x)", .keras = "activations.tanh_shrink",
     .pytorch = "nn.functional.tanhshrink, nn.Tanhshrink");

cg_tensor cg_tanh_shrink(cg_tensor x)
{
    return cg_map_1(&tanh_shrink_op, x);
}

/* ---- hard_sigmoid, hard_silu ------------------------------------------------------------------------------------- */

/* Between -3 and 3 a line from 0 to 1. */
static double hard_sigmoid_host(const double *x)
{
    return fmin(fmax(x[0] / 6 + 0.5, 0), 1);
}

static cg_tensor hard_sigmoid(cg_tensor x)
{
    return cg_clip(plus(times(x, 1.0 / 6), 0.5), 0, 1);
}

UNIT(hard_sigmoid, far_samples, .formula = "x / 6 + 1/2 limited to [0, 1]", .edges = "subgradient 1/6 at ±3",
     .keras = "activations.hard_sigmoid", .pytorch = "nn.functional.hardsigmoid, nn.Hardsigmoid");

cg_tensor cg_hard_sigmoid(cg_tensor x)
{
    return cg_map_1(&hard_sigmoid_op, x);
}

static double hard_silu_host(const double *x)
{
    return x[0] * fmin(fmax(x[0] / 6 + 0.5, 0), 1);
}

static cg_tensor hard_silu(cg_tensor x)
{
    return cg_mul(x, hard_sigmoid(x));
}

UNIT(hard_silu, far_samples, .formula = "x · hard_sigmoid(x)", .edges = "subgradient -1/2 at -3, 3/2 at 3; NaN at -inf",
     .keras = "activations.hard_silu", .pytorch = "nn.functional.hardswish, nn.Hardswish");

cg_tensor cg_hard_silu(cg_tensor x)
{
    return cg_map_1(&hard_silu_op, x);
}

/* ---- soft_shrink, hard_shrink ------------------------------------------------------------------------------------ */

static double soft_shrink_host(const double *x)
{
    return copysign(fmax(fabs(x[0]) - x[1], 0), x[0]);
}

static cg_tensor soft_shrink(cg_tensor x, cg_tensor threshold)
{
    cg_tensor zero = cg_literal_like(x, 0), above = cg_sub(x, threshold), below = cg_add(x, threshold);
    cg_tensor otherwise = cg_where(cg_less(below, zero), below, cg_mul(x, zero));
    return cg_where(cg_greater(above, zero), above, otherwise);
}

UNIT_WITH_NUMBER(soft_shrink, .formula = "x moved towards 0 by threshold, 0 within it", .call = "x, threshold",
                 .edges = "subgradient 0 at ±threshold", .keras = "activations.soft_shrink",
                 .pytorch = "nn.functional.softshrink, nn.Softshrink");

cg_tensor cg_soft_shrink(cg_tensor x, double threshold)
{
    return with_number(&soft_shrink_op, x, threshold);
}

static double hard_shrink_host(const double *x)
{
    return fabs(x[0]) > x[1] ? x[0] : 0;
}

static cg_tensor hard_shrink(cg_tensor x, cg_tensor threshold)
{
    return cg_where(cg_greater(cg_abs(x), threshold), x, cg_literal_like(x, 0));
}

UNIT_WITH_NUMBER(hard_shrink, .formula = "x where |x| > threshold, else 0", .call = "x, threshold",
                 .edges = "subgradient 0 at ±threshold", .keras = "activations.hard_shrink",
                 .pytorch = "nn.functional.hardshrink, nn.Hardshrink");

cg_tensor cg_hard_shrink(cg_tensor x, double threshold)
{
    return with_number(&hard_shrink_op, x, threshold);
}

/* ---- swish, softplus_with_beta, squareplus, sparse_plus -----------------------------------------------------------
 */

static double swish_host(const double *x)
{
    return x[0] / (1 + exp(-x[1] * x[0]));
}

static cg_tensor swish(cg_tensor x, cg_tensor beta)
{
    return cg_mul(x, cg_sigmoid(cg_mul(beta, x)));
}

UNIT_WITH_NUMBER(swish, .formula = "x · sigmoid(beta · x)", .call = "x, beta",
                 .edges = "NaN at -inf for a beta above 0");

cg_tensor cg_swish(cg_tensor x, double beta)
{
    return with_number(&swish_op, x, beta);
}

static double softplus_with_beta_host(const double *x)
{
    return x[1] * x[0] > x[2] ? x[0] : log1p(exp(x[1] * x[0])) / x[1];
}

static cg_tensor softplus_with_beta(cg_tensor x, cg_tensor beta, cg_tensor threshold)
{
    cg_tensor steep = cg_mul(beta, x);
    return cg_where(cg_greater(steep, threshold), x, cg_div(cg_softplus(steep), beta));
}

UNIT_WITH_NUMBERS(softplus_with_beta, .formula = "x where beta · x > threshold, else log(1 + e^(beta · x)) / beta",
                  .call = "x, beta, threshold", .pytorch = "nn.functional.softplus, nn.Softplus");

cg_tensor cg_softplus_with_beta(cg_tensor x, double beta, double threshold)
{
    if (cg_is_null(x)) return x;
    cg_context *cg = cg_context_of(x);
    if (!(beta > 0 && isfinite(beta)))
        return cg_report(cg, CG_ERROR_ARGUMENT, "softplus_with_beta", "beta is %g; it must be finite and above 0",
                         beta);
    return cg_map_3(&softplus_with_beta_op, x, cg_scalar(cg, beta), cg_scalar(cg, threshold));
}

static double squareplus_host(const double *x)
{
    return 0.5 * (x[0] + sqrt(x[0] * x[0] + x[1]));
}

/* (x + root) / 2 is x + b / (2 (root + x)), and below 0 b / (2 (root - x)): neither takes away what it keeps. */
static cg_tensor squareplus(cg_tensor x, cg_tensor b)
{
    cg_tensor zero = cg_literal_like(x, 0), root = cg_sqrt(cg_add(cg_square(x), b)), below = cg_less(x, zero);
    cg_tensor sum = cg_where(below, cg_sub(root, x), cg_add(root, x));
    return cg_add(cg_where(below, zero, x), cg_div(times(b, 0.5), sum));
}

UNIT_WITH_NUMBER(squareplus, .formula = "(x + √(x² + b)) / 2", .call = "x, b", .keras = "activations.squareplus");

cg_tensor cg_squareplus(cg_tensor x, double b)
{
    if (cg_is_null(x)) return x;
    if (!(b > 0 && isfinite(b)))
        return cg_report(cg_context_of(x), CG_ERROR_ARGUMENT, "squareplus", "b is %g; it must be finite and above 0",
                         b);
    return with_number(&squareplus_op, x, b);
}

static double sparse_plus_host(const double *x)
{
    return x[0] <= -1 ? 0 : x[0] >= 1 ? x[0] : 0.25 * (x[0] + 1) * (x[0] + 1);
}

static cg_tensor sparse_plus(cg_tensor x)
{
    cg_tensor one = cg_literal_like(x, 1), bend = times(cg_square(plus(x, 1)), 0.25);
    cg_tensor upper = cg_where(cg_greater(x, one), x, bend);
    return cg_where(cg_less(x, cg_neg(one)), cg_literal_like(x, 0), upper);
}

UNIT(sparse_plus, far_samples, .formula = "0 where x ≤ -1, x where x ≥ 1, else (x + 1)² / 4",
     .keras = "activations.sparse_plus");

cg_tensor cg_sparse_plus(cg_tensor x)
{
    return cg_map_1(&sparse_plus_op, x);
}

/* ---- hard_sigmoid_with_slope, threshold ---------------------------------------------------------------------------
 */

static double hard_sigmoid_with_slope_host(const double *x)
{
    return fmin(fmax(x[1] * x[0] + 0.5, 0), 1);
}

static cg_tensor hard_sigmoid_with_slope(cg_tensor x, cg_tensor slope)
{
    return cg_clip(plus(cg_mul(slope, x), 0.5), 0, 1);
}

UNIT_WITH_NUMBER(hard_sigmoid_with_slope, .formula = "slope · x + 1/2 limited to [0, 1]", .call = "x, slope",
                 .edges = "subgradient slope at both ends");

cg_tensor cg_hard_sigmoid_with_slope(cg_tensor x, double slope)
{
    return with_number(&hard_sigmoid_with_slope_op, x, slope);
}

static double threshold_with_value_host(const double *x)
{
    return x[0] > x[1] || isnan(x[0]) ? x[0] : x[2];
}

static cg_tensor threshold_with_value(cg_tensor x, cg_tensor threshold, cg_tensor value)
{
    return cg_where(cg_less_equal(x, threshold), value, x);
}

UNIT_WITH_NUMBERS(threshold_with_value, .formula = "a where a > b, else c", .edges = "subgradient 0 at b",
                  .internal = true);

cg_tensor cg_threshold(cg_tensor x, double threshold, double value)
{
    if (cg_is_null(x)) return x;
    cg_context *cg = cg_context_of(x);
    return cg_map_3(&threshold_with_value_op, x, cg_scalar(cg, threshold), cg_scalar(cg, value));
}

/* ---- Those that are others with arguments -------------------------------------------------------------------------
 */

cg_tensor cg_relu6(cg_tensor x)
{
    return cg_relu(x, .max_value = 6, .has_max_value = true);
}

cg_tensor cg_hard_tanh(cg_tensor x)
{
    return cg_clip(x, -1, 1);
}

cg_tensor cg_sparse_sigmoid(cg_tensor x)
{
    return cg_hard_sigmoid_with_slope(x, 0.5);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static const cg_op *const list[] = {&elu_op,
                                    &selu_op,
                                    &celu_op,
                                    &silu_op,
                                    &gelu_op,
                                    &gelu_tanh_op,
                                    &mish_op,
                                    &log_sigmoid_op,
                                    &softsign_op,
                                    &tanh_shrink_op,
                                    &hard_sigmoid_op,
                                    &hard_silu_op,
                                    &soft_shrink_op,
                                    &hard_shrink_op,
                                    &swish_op,
                                    &softplus_with_beta_op,
                                    &squareplus_op,
                                    &sparse_plus_op,
                                    &hard_sigmoid_with_slope_op,
                                    &threshold_with_value_op};
static const cg_op_function functions[] = {
    {"relu6",
     "relu",
     {.formula = "x limited to [0, 6]",
      .edges = "subgradient 0 at both ends",
      .keras = "activations.relu6",
      .pytorch = "nn.functional.relu6, nn.ReLU6",
      .dtypes = "any → floating"}},
    {"hard_tanh",
     "clip",
     {.formula = "x limited to [-1, 1]",
      .call = "x",
      .edges = "subgradient 1 at both bounds, 0 outside",
      .keras = "activations.hard_tanh",
      .pytorch = "nn.functional.hardtanh, nn.Hardtanh"}},
    {"sparse_sigmoid",
     "hard_sigmoid_with_slope",
     {.formula = "(x + 1) / 2 limited to [0, 1]",
      .call = "x",
      .edges = "subgradient 1/2 at ±1",
      .keras = "activations.sparse_sigmoid"}},
    {"threshold",
     "threshold_with_value",
     {.formula = "x where x > threshold, else value",
      .call = "x, threshold, value",
      .edges = "subgradient 0 at the threshold",
      .keras = "activations.threshold",
      .pytorch = "nn.functional.threshold, nn.Threshold"}},
};
const cg_op_family cg_ops_units = {OPS(list), FUNCTIONS(functions), .title = "Activations"};

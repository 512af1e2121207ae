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

/* The descriptor of an activation of x. */
#define UNIT(NAME, WHERE) \
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
        SAMPLES(WHERE), \
    }

/* Of x and a number of rank 0. */
#define UNIT_WITH_NUMBER(NAME) \
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
        SAMPLES(number_samples), \
    }

/* Of x and two numbers of rank 0. */
#define UNIT_WITH_NUMBERS(NAME) \
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

/* e^min(x, 0) - 1: what is not taken above 0 does not overflow. */
static cg_tensor bounded_expm1(cg_tensor x)
{
    return cg_expm1(cg_minimum(x, cg_literal_like(x, 0)));
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

UNIT_WITH_NUMBER(elu);

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

UNIT(selu, far_samples);

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

UNIT_WITH_NUMBER(celu);

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

UNIT(silu, far_samples);

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

UNIT(gelu, near_samples);

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

UNIT(gelu_tanh, near_samples);

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

UNIT(mish, far_samples);

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

UNIT(log_sigmoid, far_samples);

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

UNIT(softsign, far_samples);

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

UNIT(tanh_shrink, distant_samples);

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

UNIT(hard_sigmoid, far_samples);

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

UNIT(hard_silu, far_samples);

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

UNIT_WITH_NUMBER(soft_shrink);

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

UNIT_WITH_NUMBER(hard_shrink);

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

UNIT_WITH_NUMBER(swish);

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

UNIT_WITH_NUMBERS(softplus_with_beta);

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

UNIT_WITH_NUMBER(squareplus);

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

UNIT(sparse_plus, far_samples);

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

UNIT_WITH_NUMBER(hard_sigmoid_with_slope);

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

UNIT_WITH_NUMBERS(threshold_with_value);

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
const cg_op_family cg_ops_units = {list, LENGTH(list)};

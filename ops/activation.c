/* Activations: smooth ones, the family of rectifiers, and clipping. Each op: its rule, where to check it, its
 * descriptor; then its function. Slopes and bounds are operands, so that another number makes no new kernel. */
#include "ops/family.h"

#include <math.h>

/* ---- tanh, sigmoid ----------------------------------------------------------------------------------------------- */

static double tanh_host(const double *x)
{
    return tanh(x[0]);
}

static void tanh_vjp(const cg_vjp *v, cg_tensor *result)
{
    cg_tensor y = v->outputs[0];
    result[0] = cg_mul(v->cotangents[0], cg_sub(cg_literal_like(y, 1), cg_square(y)));
}

static const cg_sample tanh_samples[] = {
    {ONE_OPERAND, .low = -2, .high = 2, .smooth = true, .edges = true},
};

static const cg_op tanh_op = {
    .name = "tanh",
    .kind = CG_OP_MAP,
    .inputs = 1,
    .expression = "tanh(a)",
    .floating = true,
    .cost = 10,
    .host = tanh_host,
    .vjp = tanh_vjp,
    .text = {.formula = "hyperbolic tangent of x", .keras = "activations.tanh, ops.tanh", .pytorch = "tanh, nn.Tanh"},
    SAMPLES(tanh_samples),
};

cg_tensor cg_tanh(cg_tensor x)
{
    return cg_map_1(&tanh_op, x);
}

static double sigmoid_host(const double *x)
{
    return 1 / (1 + exp(-x[0]));
}

static void sigmoid_vjp(const cg_vjp *v, cg_tensor *result)
{
    cg_tensor y = v->outputs[0];
    result[0] = cg_mul(v->cotangents[0], cg_mul(y, cg_sub(cg_literal_like(y, 1), y)));
}

static const cg_sample sigmoid_samples[] = {
    {ONE_OPERAND, .low = -4, .high = 4, .smooth = true, .edges = true},
    {ONE_OPERAND, .low = -80, .high = 80},
};

static const cg_op sigmoid_op = {
    .name = "sigmoid",
    .kind = CG_OP_MAP,
    .inputs = 1,
    .expression = "REAL(1.0) / (REAL(1.0) + exp(-a))",
    .floating = true,
    .cost = 14,
    .host = sigmoid_host,
    .vjp = sigmoid_vjp,
    .text = {.formula = "1 / (1 + e^-x)", .keras = "activations.sigmoid", .pytorch = "sigmoid, nn.Sigmoid"},
    SAMPLES(sigmoid_samples),
};

cg_tensor cg_sigmoid(cg_tensor x)
{
    return cg_map_1(&sigmoid_op, x);
}

/* ---- softplus ---------------------------------------------------------------------------------------------------- */

static double softplus_host(const double *x)
{
    return fmax(x[0], 0) + log1p(exp(-fabs(x[0]))) + (isnan(x[0]) ? x[0] : 0);
}

static void softplus_vjp(const cg_vjp *v, cg_tensor *result)
{
    result[0] = cg_mul(v->cotangents[0], cg_sigmoid(v->inputs[0]));
}

static const cg_sample softplus_samples[] = {
    {ONE_OPERAND, .low = -4, .high = 4, .smooth = true, .edges = true},
    {ONE_OPERAND, .low = -800, .high = 800},
};

static const cg_op softplus_op = {
    .name = "softplus",
    .kind = CG_OP_MAP,
    .inputs = 1,
    .expression = "SELECT(a < REAL(0.0), REAL(0.0), a) + log1p(exp(-fabs(a)))",
    .floating = true,
    .cost = 22,
    .host = softplus_host,
    .vjp = softplus_vjp,
    .text = {.formula = "log(1 + e^x)",
             .keras = "activations.softplus",
             .pytorch = "nn.functional.softplus, nn.Softplus"},
    SAMPLES(softplus_samples),
};

cg_tensor cg_softplus(cg_tensor x)
{
    return cg_map_1(&softplus_op, x);
}

/* ---- relu: plain ------------------------------------------------------------------------------------------------- */

static double relu_host(const double *x)
{
    return x[0] > 0 || isnan(x[0]) ? x[0] : 0;
}

/* From the output, so that the input need not be stored for it. */
static void relu_vjp(const cg_vjp *v, cg_tensor *result)
{
    cg_tensor y = v->outputs[0];
    cg_tensor zero = cg_literal_like(y, 0);
    result[0] = cg_where(cg_greater(y, zero), v->cotangents[0], zero);
}

static const cg_sample relu_samples[] = {
    {ONE_OPERAND, .low = 0.1, .high = 2, .smooth = true, .edges = true},
    {ONE_OPERAND, .low = -2, .high = -0.1, .smooth = true},
    {ONE_OPERAND, .dtypes = {CG_I32}, .low = -9, .high = 9},
};

static const cg_op relu_op = {
    .name = "relu",
    .kind = CG_OP_MAP,
    .inputs = 1,
    .expression = "SELECT((a > (T)(0)) | (a != a), a, (T)(0))",
    .host = relu_host,
    .vjp = relu_vjp,
    .text = {.formula = "max_value where x ≥ max_value; x where x ≥ threshold; else negative_slope · (x - threshold). "
                        "By default max(x, 0)",
             .call = "x, .max_value, .has_max_value, .negative_slope, .threshold",
             .edges = "subgradient negative_slope at threshold, 0 at max_value; without a slope 0 at -inf",
             .keras = "activations.relu, layers.ReLU",
             .pytorch = "relu, nn.ReLU",
             .dtypes = "any; with arguments any → floating"},
    SAMPLES(relu_samples),
};

/* ---- relu with a threshold: x, threshold ------------------------------------------------------------------------- */

static double threshold_host(const double *x)
{
    return x[0] >= x[1] || isnan(x[0]) ? x[0] : 0;
}

/* The threshold moves a jump only, so its derivative is 0. */
static void threshold_vjp(const cg_vjp *v, cg_tensor *result)
{
    cg_tensor g = v->cotangents[0];
    cg_tensor passed = cg_where(cg_greater(v->inputs[0], v->inputs[1]), g, cg_literal_like(g, 0));
    result[0] = cg_cotangent_for(v->inputs[0], passed);
}

static const cg_sample threshold_samples[] = {
    {.shapes = {{2, {3, 5}}}, .low = -2, .high = 2, .edges = true},
};

static const cg_op threshold_op = {
    .name = "threshold",
    .kind = CG_OP_MAP,
    .inputs = 2,
    .expression = "SELECT((a >= b) | (a != a), a, (T)(0))",
    .host = threshold_host,
    .vjp = threshold_vjp,
    .text = {.formula = "a where a ≥ b, else 0", .edges = "subgradient 0 at b; derivative in b: 0", .internal = true},
    SAMPLES(threshold_samples),
};

/* ---- relu with a slope: x, slope, threshold ---------------------------------------------------------------------- */

static double leaky_host(const double *x)
{
    return x[0] >= x[2] ? x[0] : x[1] * (x[0] - x[2]);
}

static void leaky_vjp(const cg_vjp *v, cg_tensor *result)
{
    cg_tensor g = v->cotangents[0], x = v->inputs[0], slope = v->inputs[1], threshold = v->inputs[2];
    cg_tensor zero = cg_literal_like(g, 0), sloping = cg_mul(g, slope), below = cg_less(x, threshold);
    if (v->wanted[0]) result[0] = cg_cotangent_for(x, cg_where(cg_greater(x, threshold), g, sloping));
    if (v->wanted[1]) result[1] = cg_cotangent_for(slope, cg_where(below, cg_mul(g, cg_sub(x, threshold)), zero));
    if (v->wanted[2]) result[2] = cg_cotangent_for(threshold, cg_where(below, cg_neg(sloping), zero));
}

static const cg_sample leaky_samples[] = {
    {.shapes = {{2, {3, 5}}}, .low = -2, .high = 2, .smooth = true, .edges = true},
};

static const cg_op leaky_op = {
    .name = "leaky_relu",
    .kind = CG_OP_MAP,
    .inputs = 3,
    .expression = "SELECT(a >= c, a, b * (a - c))",
    .floating = true,
    .cost = 2,
    .host = leaky_host,
    .vjp = leaky_vjp,
    .text = {.formula = "x where x ≥ 0, else negative_slope · x",
             .call = "x, negative_slope",
             .edges = "subgradient negative_slope at 0",
             .keras = "activations.leaky_relu, layers.LeakyReLU",
             .pytorch = "nn.functional.leaky_relu, nn.LeakyReLU"},
    SAMPLES(leaky_samples),
};

/* Which op it takes depends on which arguments are there: a slope of 0 times -inf would be NaN. */
static cg_tensor rectified(cg_tensor x, const cg_relu_options *options)
{
    cg_context *cg = cg_context_of(x);
    if (options->negative_slope != 0)
        return cg_map_3(&leaky_op, x, cg_scalar(cg, options->negative_slope), cg_scalar(cg, options->threshold));
    if (options->threshold != 0) return cg_map_2(&threshold_op, x, cg_scalar(cg, options->threshold));
    return cg_map_1(&relu_op, x);
}

cg_tensor cg_relu_with(cg_tensor x, const cg_relu_options *options)
{
    if (!options || cg_is_null(x)) return cg_map_1(&relu_op, x);
    cg_tensor y = rectified(x, options);
    if (!options->has_max_value) return y;
    cg_tensor limit = cg_scalar(cg_context_of(x), options->max_value);
    return cg_where(cg_greater_equal(x, limit), limit, y);
}

cg_tensor cg_leaky_relu(cg_tensor x, double negative_slope)
{
    return cg_relu(x, .negative_slope = negative_slope);
}

/* ---- clip: x, low, high ------------------------------------------------------------------------------------------ */

static double clip_host(const double *x)
{
    return x[0] > x[2] ? x[2] : x[0] < x[1] ? x[1] : x[0];
}

static void clip_vjp(const cg_vjp *v, cg_tensor *result)
{
    cg_tensor g = v->cotangents[0], x = v->inputs[0], zero = cg_literal_like(g, 0);
    cg_tensor below = cg_less(x, v->inputs[1]), above = cg_greater(x, v->inputs[2]);
    if (v->wanted[0]) result[0] = cg_cotangent_for(x, cg_where(cg_logical_or(below, above), zero, g));
    if (v->wanted[1]) result[1] = cg_cotangent_for(v->inputs[1], cg_where(below, g, zero));
    if (v->wanted[2]) result[2] = cg_cotangent_for(v->inputs[2], cg_where(above, g, zero));
}

static const cg_sample clip_samples[] = {
    {.shapes = {{2, {3, 5}}}, .low = -2, .high = 2, .edges = true},
    {.shapes = {{2, {3, 5}}, {1, {5}}, {1, {5}}}, .dtypes = {CG_I32, CG_I32, CG_I32}, .low = -9, .high = 9},
};

static const cg_op clip_op = {
    .name = "clip",
    .kind = CG_OP_MAP,
    .inputs = 3,
    .expression = "SELECT(a > c, c, SELECT(a < b, b, a))",
    .cost = 2,
    .host = clip_host,
    .vjp = clip_vjp,
    .text = {.formula = "x limited to [low, high]",
             .call = "x, low, high",
             .edges = "subgradient 1 at both bounds, 0 outside",
             .keras = "ops.clip",
             .pytorch = "clamp, nn.Hardtanh"},
    SAMPLES(clip_samples),
};

cg_tensor cg_clip(cg_tensor x, double low, double high)
{
    if (cg_is_null(x)) return x;
    if (!(low <= high))
        return cg_report(cg_context_of(x), CG_ERROR_ARGUMENT, "clip", "the bounds %g and %g are not in order", low,
                         high);
    bool whole = !cg_is_floating(cg_dtype_of(x));
    return cg_map_3(&clip_op, x, cg_number_like(x, whole ? ceil(low) : low),
                    cg_number_like(x, whole ? floor(high) : high));
}

/* ------------------------------------------------------------------------------------------------------------------ */

static const cg_op *const list[] = {&tanh_op, &sigmoid_op, &softplus_op, &relu_op, &threshold_op, &leaky_op, &clip_op};
const cg_op_family cg_ops_activation = {
    OPS(list), .title = "Activations",
    .introduction = "The lists of Keras and PyTorch, whole; softmax is under products. Layers of those with learned "
                    "weights are in `activation_layers.h`."};

/* The dropout family: what is drawn decides which elements, channels, images or weights are dropped, or how they are
 * disturbed. Composed of maps on drawn numbers, which forward and backward share. */
#include "ops/family.h"
#include <clgrad/dropout.h>

#include <math.h>

/* ---- What they share --------------------------------------------------------------------------------------------- */

static bool is_training(cg_context *cg, cg_mode mode)
{
    return mode == CG_MODE_CONTEXT ? cg_is_training(cg) : mode == CG_MODE_TRAINING;
}

/* False, reported, for a rate that is none, and for a tensor that cannot be scaled. */
static bool rate_fits(cg_tensor x, const char *op, double rate, bool below_1)
{
    cg_context *cg = cg_context_of(x);
    if (!(rate >= 0 && (below_1 ? rate < 1 : rate <= 1)))
        cg_report(cg, CG_ERROR_ARGUMENT, op, "the rate %g is outside [0, 1%c", rate, below_1 ? ')' : ']');
    else if (!cg_is_floating(cg_dtype_of(x)) && cg_dtype_bytes(cg_dtype_of(x)) > 0)
        cg_report(cg, CG_ERROR_ARGUMENT, op, "%s cannot be scaled", cg_dtype_name(cg_dtype_of(x)));
    else
        return true;
    return false;
}

/* Whether the shape of what is drawn broadcasts to that of x; reports where not. */
static bool noise_fits(cg_tensor x, const char *op, cg_shape noise)
{
    const cg_shape shape = cg_shape_of(x);
    bool fits = noise.rank == shape.rank;
    for (int i = 0; fits && i < noise.rank; i++) fits = noise.size[i] == 1 || noise.size[i] == shape.size[i];
    if (fits || shape.rank < 0) return true;
    cg_context *cg = cg_context_of(x);
    cg_report(cg, CG_ERROR_ARGUMENT, op, "what is drawn has shape %s, which does not broadcast to %s",
              cg_shape_text(cg, noise), cg_tensor_text(x));
    return false;
}

/* The shape of x with extents of 1 but along the batch, the first axis, and another; 0: no other. */
static bool shape_of_noise(cg_tensor x, const char *op, int axis, cg_shape *noise)
{
    *noise = cg_shape_of(x);
    if (noise->rank < 1) {
        cg_report(cg_context_of(x), CG_ERROR_ARGUMENT, op, "%s has no batch", cg_tensor_text(x));
        return false;
    }
    for (int i = 1; i < noise->rank; i++)
        if (i != axis) noise->size[i] = 1;
    return true;
}

/* ---- dropout: x, fractions drawn, rate --------------------------------------------------------------------------- */

static bool dropout_infer(const cg_call *call, cg_inferred *result)
{
    result->shape[0] = call->input_shapes[0];
    result->dtype[0] = call->input_dtypes[0];
    if (cg_is_floating(call->input_dtypes[0])) return true;
    return cg_op_error(call, "%s cannot be scaled", cg_dtype_name(call->input_dtypes[0]));
}

/* At rate 1 the scale would be infinite; everything is dropped then, so it may be 0. */
static void dropout_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    cg_dtype dtype = call->input_dtypes[0];
    cg_tensor zero = cg_constant(call->context, dtype, 0), one = cg_constant(call->context, dtype, 1);
    cg_tensor kept_share = cg_sub(one, cg_cast(inputs[2], dtype));
    cg_tensor scale = cg_where(cg_greater(kept_share, zero), cg_reciprocal(kept_share), zero);
    cg_tensor kept = cg_greater_equal(inputs[1], inputs[2]);
    outputs[0] = cg_where(kept, cg_mul(inputs[0], scale), zero);
}

static const cg_sample dropout_samples[] = {
    {.shapes = {{2, {4, 5}}, {2, {4, 5}}}, .low = 0.1, .high = 0.9, .smooth = true},
    {.shapes = {{3, {3, 4, 5}}, {3, {3, 4, 1}}}, .low = 0.1, .high = 0.9, .smooth = true},
};

static const cg_op dropout_op = {
    .name = "dropout",
    .kind = CG_OP_COMPOSED,
    .inputs = 3,
    .infer = dropout_infer,
    .expand = dropout_expand,
    .deferred = true,
    .text = {.formula = "0 with probability rate, else x / (1 - rate)",
             .call = "x, .rate, .noise_shape, .mode, .key, .has_key",
             .edges = "a dropped unit gets a cotangent of 0; rate 1 gives zeros",
             .keras = "layers.Dropout",
             .pytorch = "nn.functional.dropout, nn.Dropout"},
    SAMPLES(dropout_samples),
};

/* What is drawn is f32, which f16 and bf16 would be promoted to. */
static cg_tensor with_fractions(const cg_op *op, cg_tensor x, cg_tensor fractions, double rate)
{
    return cg_cast(cg_map_3(op, x, fractions, cg_scalar(cg_context_of(x), rate)), cg_dtype_of(x));
}

static cg_tensor dropped(cg_tensor x, const char *op, cg_shape noise, const cg_dropout_options *given)
{
    cg_context *cg = cg_context_of(x);
    if (!rate_fits(x, op, given->rate, false) || !noise_fits(x, op, noise)) return (cg_tensor){0};
    if (!is_training(cg, given->mode)) return x;
    return with_fractions(&dropout_op, x, cg_draw_fraction(cg, noise, given->key, given->has_key), given->rate);
}

cg_tensor cg_dropout_with(cg_tensor x, const cg_dropout_options *options)
{
    const cg_dropout_options given = options ? *options : (cg_dropout_options){0};
    if (cg_is_null(x) || !cg_context_of(x)) return x;
    return dropped(x, "dropout", given.noise_shape.rank ? given.noise_shape : cg_shape_of(x), &given);
}

/* ---- spatial dropout, drop connect, stochastic depth ------------------------------------------------------------- */

static cg_dropout_options as_dropout(const cg_noise_options *o)
{
    return (cg_dropout_options){.rate = o->rate, .mode = o->mode, .key = o->key, .has_key = o->has_key};
}

/* The axis of the channels: the second by default, and never the first. */
static bool resolve_channels(cg_tensor x, const char *op, int given, int *axis)
{
    *axis = given ? given : 1;
    if (!cg_resolve_axis(x, op, axis)) return false;
    if (*axis > 0) return true;
    cg_report(cg_context_of(x), CG_ERROR_ARGUMENT, op, "the first axis of %s is the batch, not channels",
              cg_tensor_text(x));
    return false;
}

cg_tensor cg_spatial_dropout_with(cg_tensor x, const cg_noise_options *options)
{
    const cg_noise_options given = options ? *options : (cg_noise_options){0};
    const cg_dropout_options dropout = as_dropout(&given);
    cg_shape noise;
    int axis;
    if (cg_is_null(x) || !cg_context_of(x)) return x;
    if (!resolve_channels(x, "spatial_dropout", given.axis, &axis) ||
        !shape_of_noise(x, "spatial_dropout", axis, &noise))
        return (cg_tensor){0};
    return dropped(x, "spatial_dropout", noise, &dropout);
}

cg_tensor cg_drop_connect_with(cg_tensor weights, const cg_noise_options *options)
{
    const cg_noise_options given = options ? *options : (cg_noise_options){0};
    const cg_dropout_options dropout = as_dropout(&given);
    if (cg_is_null(weights) || !cg_context_of(weights)) return weights;
    return dropped(weights, "drop_connect", cg_shape_of(weights), &dropout);
}

cg_tensor cg_stochastic_depth_with(cg_tensor x, const cg_noise_options *options)
{
    const cg_noise_options given = options ? *options : (cg_noise_options){0};
    const cg_dropout_options dropout = as_dropout(&given);
    cg_shape noise;
    if (cg_is_null(x) || !cg_context_of(x)) return x;
    if (!shape_of_noise(x, "stochastic_depth", 0, &noise)) return (cg_tensor){0};
    return dropped(x, "stochastic_depth", noise, &dropout);
}

/* ---- alpha_dropout: x, fractions drawn, rate --------------------------------------------------------------------- */

/* What a self-normalizing network's units are where they saturate: -scale * alpha of selu. */
static const double saturated = -1.7580993408473766;

/* a (x or the saturated value) + b with the a and b that keep mean 0 and variance 1. At rate 1, where a would be
 * infinite, 0. */
static void alpha_dropout_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    const cg_dtype dtype = call->input_dtypes[0];
    cg_tensor zero = cg_constant(call->context, dtype, 0), one = cg_constant(call->context, dtype, 1);
    cg_tensor rate = cg_cast(inputs[2], dtype), low = cg_constant(call->context, dtype, saturated);
    cg_tensor kept_share = cg_sub(one, rate), square = cg_constant(call->context, dtype, saturated * saturated);
    cg_tensor spread = cg_mul(kept_share, cg_add(one, cg_mul(rate, square)));
    cg_tensor a = cg_where(cg_greater(kept_share, zero), cg_rsqrt(spread), zero);
    cg_tensor b = cg_neg(cg_mul(a, cg_mul(rate, low)));
    cg_tensor kept = cg_greater_equal(inputs[1], inputs[2]);
    outputs[0] = cg_add(cg_mul(a, cg_where(kept, inputs[0], low)), b);
}

static const cg_op alpha_dropout_op = {
    .name = "alpha_dropout",
    .kind = CG_OP_COMPOSED,
    .inputs = 3,
    .infer = dropout_infer,
    .expand = alpha_dropout_expand,
    .deferred = true,
    .text = {.formula =
                 "-1.758 with probability rate, else x; then scaled and shifted so that mean 0 and variance 1 stay",
             .call = "x, .rate, .whole_channels, .axis, .mode, .key, .has_key",
             .edges = "rate 1 gives zeros",
             .keras = "layers.AlphaDropout",
             .pytorch = "nn.functional.alpha_dropout, nn.AlphaDropout, nn.FeatureAlphaDropout (whole_channels)"},
    SAMPLES(dropout_samples),
};

cg_tensor cg_alpha_dropout_with(cg_tensor x, const cg_alpha_dropout_options *options)
{
    const cg_alpha_dropout_options given = options ? *options : (cg_alpha_dropout_options){0};
    cg_context *cg = cg_context_of(x);
    cg_shape noise = cg_shape_of(x);
    int axis;
    if (cg_is_null(x) || !cg) return x;
    if (!rate_fits(x, "alpha_dropout", given.rate, false)) return (cg_tensor){0};
    if (given.whole_channels &&
        (!resolve_channels(x, "alpha_dropout", given.axis, &axis) || !shape_of_noise(x, "alpha_dropout", axis, &noise)))
        return (cg_tensor){0};
    if (!is_training(cg, given.mode)) return x;
    return with_fractions(&alpha_dropout_op, x, cg_draw_fraction(cg, noise, given.key, given.has_key), given.rate);
}

/* ---- gaussian_dropout, gaussian_noise ---------------------------------------------------------------------------- */

static cg_tensor drawn_normal(cg_tensor x, double deviation, const cg_noise_options *given)
{
    cg_context *cg = cg_context_of(x);
    const cg_normal_options normal = {.dtype = cg_dtype_of(x), .key = given->key, .has_key = given->has_key};
    return cg_mul(cg_normal_with(cg, cg_shape_of(x), &normal), cg_scalar(cg, deviation));
}

cg_tensor cg_gaussian_dropout_with(cg_tensor x, const cg_noise_options *options)
{
    const cg_noise_options given = options ? *options : (cg_noise_options){0};
    cg_context *cg = cg_context_of(x);
    if (cg_is_null(x) || !cg) return x;
    if (!rate_fits(x, "gaussian_dropout", given.rate, true)) return (cg_tensor){0};
    if (!is_training(cg, given.mode)) return x;
    cg_tensor noise = drawn_normal(x, sqrt(given.rate / (1 - given.rate)), &given);
    return cg_mul(x, cg_add(noise, cg_literal_like(x, 1)));
}

cg_tensor cg_gaussian_noise_with(cg_tensor x, double deviation, const cg_noise_options *options)
{
    const cg_noise_options given = options ? *options : (cg_noise_options){0};
    cg_context *cg = cg_context_of(x);
    if (cg_is_null(x) || !cg) return x;
    if (!(deviation >= 0 && isfinite(deviation)))
        return cg_report(cg, CG_ERROR_ARGUMENT, "gaussian_noise",
                         "the deviation is %g; it must be finite and at least 0", deviation);
    if (!rate_fits(x, "gaussian_noise", 0, false)) return (cg_tensor){0};
    if (!is_training(cg, given.mode)) return x;
    return cg_add(x, drawn_normal(x, deviation, &given));
}

/* ------------------------------------------------------------------------------------------------------------------ */

static const cg_op *const list[] = {&dropout_op, &alpha_dropout_op};
static const cg_op_function functions[] = {
    {"spatial_dropout",
     "dropout",
     {.formula = "dropout of whole channels of x [batch, channels, ...]",
      .call = "x, .rate, .axis, .mode, .key, .has_key",
      .keras = "layers.SpatialDropout1D, layers.SpatialDropout2D, layers.SpatialDropout3D",
      .pytorch = "nn.functional.dropout2d, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d"}},
    {"drop_connect",
     "dropout",
     {.formula = "dropout of weights, for the whole batch alike", .call = "weights, .rate, .mode, .key, .has_key"}},
    {"stochastic_depth",
     "dropout",
     {.formula = "dropout of a residual branch for whole examples",
      .call = "x, .rate, .mode, .key, .has_key",
      .pytorch = "torchvision.ops.stochastic_depth"}},
    {"gaussian_dropout",
     "mul",
     {.formula = "x times a normal number of mean 1 and deviation √(rate / (1 - rate))",
      .call = "x, .rate, .mode, .key, .has_key",
      .keras = "layers.GaussianDropout",
      .dtypes = "floating"}},
    {"gaussian_noise",
     "add",
     {.formula = "x plus a normal number of mean 0 and deviation",
      .call = "x, deviation, .mode, .key, .has_key",
      .keras = "layers.GaussianNoise",
      .dtypes = "floating"}},
};
const cg_op_family cg_ops_dropout = {OPS(list), FUNCTIONS(functions), .title = "Dropout",
                                     .introduction = "x itself outside training, unless the mode says so. What a call "
                                                     "draws is the same forwards and backwards, to every order."};

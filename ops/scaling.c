/* Normalizations that only divide: by the root mean square of some axes, by what neighbouring channels hold, and of
 * weights, by their length or by their largest singular value. Composed of sums and maps. */
#include "ops/family.h"
#include <clgrad/normalization.h>

/* ---- rms_norm: x, gamma, epsilon; the attribute is the mask of the axes ------------------------------------------ */

/* The extents of the axes in the mask, with the others at 1. */
static cg_shape along_axes(cg_shape x, int64_t mask)
{
    for (int i = 0; i < x.rank; i++)
        if (!(mask >> i & 1)) x.size[i] = 1;
    return x;
}

static bool rms_norm_infer(const cg_call *call, cg_inferred *result)
{
    const cg_shape x = call->input_shapes[0], gamma = call->input_shapes[1];
    cg_shape wanted = {0};
    for (int i = 0; i < x.rank; i++)
        if (call->attributes[0] >> i & 1) wanted.size[wanted.rank++] = x.size[i];
    if (gamma.rank > 0 && !cg_shapes_equal(gamma, wanted))
        return cg_op_error(call, "gamma is %s, the axes normalized are %s", cg_shape_text(call->context, gamma),
                           cg_shape_text(call->context, wanted));
    result->shape[0] = x;
    result->dtype[0] = cg_promote(cg_floating_dtype(call->input_dtypes[0]), call->input_dtypes[1]);
    return true;
}

static void rms_norm_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    const cg_axes axes = cg_axes_of_mask(call->attributes[0]);
    const bool scaled = call->input_shapes[1].rank > 0;
    cg_tensor x = cg_to_floating(inputs[0]), gamma = inputs[1];
    if (scaled) gamma = cg_reshape(gamma, along_axes(call->input_shapes[0], call->attributes[0]));
    cg_tensor square = cg_mean(cg_square(x), .axes = axes, .keepdims = true);
    outputs[0] = cg_mul(cg_mul(x, cg_rsqrt(cg_add(square, inputs[2]))), gamma);
}

static const cg_sample rms_norm_samples[] = {
    {.shapes = {{2, {4, 5}}, {1, {5}}}, ATTRIBUTES(1 << 1), .low = 0.5, .high = 2, .smooth = true},
    {.shapes = {{3, {3, 2, 4}}, {2, {3, 4}}}, ATTRIBUTES(1 << 0 | 1 << 2), .low = 0.5, .high = 2, .smooth = true},
    {.shapes = {{2, {3, 4}}, {1, {4}}}, ATTRIBUTES(1 << 1), .dtypes = {CG_I32}, .low = 1, .high = 9},
};

static const cg_op rms_norm_op = {
    .name = "rms_norm",
    .kind = CG_OP_COMPOSED,
    .inputs = 3,
    .infer = rms_norm_infer,
    .expand = rms_norm_expand,
    .text = {.formula = "gamma · x / √(mean of x² + epsilon) over axes",
             .call = "x, .axes, .gamma, .epsilon",
             .keras = "layers.RMSNormalization",
             .pytorch = "nn.RMSNorm (since 2.4)"},
    SAMPLES(rms_norm_samples),
};

cg_tensor cg_rms_norm_with(cg_tensor x, const cg_rms_norm_options *options)
{
    static const cg_rms_norm_options defaults;
    const cg_rms_norm_options *o = options ? options : &defaults;
    int64_t mask;
    if (cg_is_null(x)) return x;
    if (!cg_resolve_axes(x, "rms_norm", o->axes.count ? o->axes : CG_AXES(-1), &mask)) return (cg_tensor){0};
    cg_context *cg = cg_context_of(x);
    const cg_dtype dtype = cg_floating_dtype(cg_dtype_of(x));
    cg_tensor inputs[] = {x, cg_is_null(o->gamma) ? cg_constant(cg, dtype, 1) : o->gamma,
                          cg_scalar(cg, cg_number_or(o->epsilon, 1e-6))};
    return cg_apply(&rms_norm_op, inputs, LENGTH(inputs), &mask, 1);
}

/* ---- local_response_norm: x, alpha / size, beta, k; the attributes are the size and the axis --------------------- */

enum { MOST_NEIGHBOURS = 64 };

static bool local_response_infer(const cg_call *call, cg_inferred *result)
{
    const int64_t size = call->attributes[0];
    if (size < 1 || size > MOST_NEIGHBOURS)
        return cg_op_error(call, "%lld neighbouring channels; it takes 1 to %d", (long long)size, MOST_NEIGHBOURS);
    result->shape[0] = call->input_shapes[0];
    result->dtype[0] = cg_floating_dtype(call->input_dtypes[0]);
    return true;
}

/* The sum of `size` elements around each one along an axis, of which those outside count as 0; of an even number one
 * more in front than behind. */
static cg_tensor sum_around(cg_tensor x, int axis, int64_t size)
{
    cg_shape before = {.rank = cg_shape_of(x).rank}, after = before;
    const int64_t count = cg_shape_of(x).size[axis];
    before.size[axis] = size / 2;
    after.size[axis] = (size - 1) / 2;
    cg_tensor padded = cg_pad(x, before, after), sum = cg_slice_axis(padded, axis, 0, count);
    for (int64_t i = 1; i < size; i++) sum = cg_add(sum, cg_slice_axis(padded, axis, i, i + count));
    return sum;
}

static void local_response_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    cg_tensor x = cg_to_floating(inputs[0]);
    cg_tensor around = sum_around(cg_square(x), (int)call->attributes[1], call->attributes[0]);
    cg_tensor base = cg_add(cg_mul(around, inputs[1]), inputs[3]);
    outputs[0] = cg_mul(x, cg_pow(base, cg_neg(cg_cast(inputs[2], cg_dtype_of(x)))));
}

static const cg_sample local_response_samples[] = {
    {.shapes = {{3, {2, 5, 3}}}, ATTRIBUTES(3, 1), .low = 0.5, .high = 2, .smooth = true},
    {.shapes = {{2, {3, 4}}}, ATTRIBUTES(6, 1), .low = 0.5, .high = 2, .smooth = true},
};

static const cg_op local_response_op = {
    .name = "local_response_norm",
    .kind = CG_OP_COMPOSED,
    .inputs = 4,
    .infer = local_response_infer,
    .expand = local_response_expand,
    .text = {.formula = "x / (k + alpha / size · Σ x² over size neighbouring channels)^beta",
             .call = "x, size, .alpha, .beta, .k, .axis",
             .pytorch = "nn.functional.local_response_norm, nn.LocalResponseNorm"},
    SAMPLES(local_response_samples),
};

cg_tensor cg_local_response_norm_with(cg_tensor x, int64_t size, const cg_local_response_norm_options *options)
{
    static const cg_local_response_norm_options defaults;
    const cg_local_response_norm_options *o = options ? options : &defaults;
    int axis = o->axis ? o->axis : 1;
    if (cg_is_null(x) || !cg_resolve_axis(x, "local_response_norm", &axis)) return (cg_tensor){0};
    cg_context *cg = cg_context_of(x);
    const double share = size > 0 ? 1.0 / (double)size : 0;
    cg_tensor inputs[] = {x, cg_scalar(cg, cg_number_or(o->alpha, 1e-4) * share),
                          cg_scalar(cg, cg_number_or(o->beta, 0.75)), cg_scalar(cg, cg_number_or(o->k, 1))};
    return cg_apply(&local_response_op, inputs, LENGTH(inputs), (int64_t[]){size, axis}, 2);
}

/* ---- weight_norm: direction, gain; the attribute is the axis of the outputs -------------------------------------- */

static bool weight_norm_infer(const cg_call *call, cg_inferred *result)
{
    const cg_shape v = call->input_shapes[0], gain = call->input_shapes[1];
    const int64_t outputs = v.size[call->attributes[0]];
    if (gain.rank != 1 || gain.size[0] != outputs)
        return cg_op_error(call, "the gain is %s, the outputs of %s are %lld", cg_shape_text(call->context, gain),
                           cg_input_text(call, 0), (long long)outputs);
    result->shape[0] = v;
    result->dtype[0] = cg_promote(cg_floating_dtype(call->input_dtypes[0]), call->input_dtypes[1]);
    return true;
}

static void weight_norm_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    const cg_shape v = call->input_shapes[0];
    const int64_t axis = call->attributes[0];
    const int64_t others = ((1 << v.rank) - 1) & ~(1 << axis);
    cg_tensor direction = cg_to_floating(inputs[0]), square = cg_square(direction);
    if (others) square = cg_sum(square, .axes = cg_axes_of_mask(others), .keepdims = true);
    cg_tensor gain = cg_reshape(inputs[1], along_axes(v, 1 << axis));
    outputs[0] = cg_mul(direction, cg_mul(gain, cg_rsqrt(square)));
}

static const cg_sample weight_norm_samples[] = {
    {.shapes = {{2, {5, 3}}, {1, {3}}}, ATTRIBUTES(1), .low = 0.5, .high = 2, .smooth = true},
    {.shapes = {{4, {3, 2, 3, 3}}, {1, {3}}}, ATTRIBUTES(0), .low = 0.5, .high = 2, .smooth = true},
};

static const cg_op weight_norm_op = {
    .name = "weight_norm",
    .kind = CG_OP_COMPOSED,
    .inputs = 2,
    .infer = weight_norm_infer,
    .expand = weight_norm_expand,
    .text = {.formula = "gain · direction / |direction|, each output by itself",
             .call = "direction, gain, .axis",
             .edges = "NaN where a direction is 0",
             .pytorch = "nn.utils.weight_norm"},
    SAMPLES(weight_norm_samples),
};

cg_tensor cg_weight_norm_with(cg_tensor direction, cg_tensor gain, const cg_weight_axis_options *options)
{
    int axis = options && options->axis ? options->axis : -1;
    if (cg_is_null(direction) || !cg_resolve_axis(direction, "weight_norm", &axis)) return (cg_tensor){0};
    return cg_apply(&weight_norm_op, (cg_tensor[]){direction, gain}, 2, (int64_t[]){axis}, 1);
}

/* ---- spectral_norm: kernel, u, epsilon -> kernel / sigma, u, sigma; the attributes are axis and iterations --------
 */

static bool spectral_norm_infer(const cg_call *call, cg_inferred *result)
{
    const cg_shape kernel = call->input_shapes[0], u = call->input_shapes[1];
    const int64_t outputs = kernel.size[call->attributes[0]];
    if (kernel.rank < 2) return cg_op_error(call, "%s is no matrix", cg_input_text(call, 0));
    if (u.rank != 1 || u.size[0] != outputs)
        return cg_op_error(call, "u is %s, the outputs of %s are %lld", cg_shape_text(call->context, u),
                           cg_input_text(call, 0), (long long)outputs);
    if (call->attributes[1] < 0)
        return cg_op_error(call, "%lld iterations; there must be at least 0", (long long)call->attributes[1]);
    result->shape[0] = kernel;
    result->shape[1] = u;
    result->shape[2] = CG_RANK0;
    result->dtype[0] = result->dtype[1] = result->dtype[2] = cg_floating_dtype(call->input_dtypes[0]);
    return true;
}

/* The kernel as a matrix [all other axes, outputs]. */
static cg_tensor as_matrix(cg_tensor kernel, int axis)
{
    const cg_shape shape = cg_shape_of(kernel);
    cg_axes order = {.count = shape.rank};
    int64_t rows = 1;
    for (int i = 0, k = 0; i < shape.rank; i++) {
        if (i == axis) continue;
        order.axis[k++] = i;
        rows *= shape.size[i];
    }
    order.axis[shape.rank - 1] = axis;
    cg_tensor turned = axis == shape.rank - 1 ? kernel : cg_permute(kernel, order);
    return cg_reshape(turned, CG_SHAPE(rows, shape.size[axis]));
}

/* x / |x|, where the length counts as no less than the square root of epsilon. */
static cg_tensor unit(cg_tensor x, cg_tensor epsilon)
{
    return cg_mul(x, cg_rsqrt(cg_maximum(cg_sum(cg_square(x)), cg_cast(epsilon, cg_dtype_of(x)))));
}

/* Without an iteration v still has to be found from u; u stays. */
static void spectral_norm_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    cg_tensor kernel = cg_to_floating(inputs[0]), matrix = as_matrix(kernel, (int)call->attributes[0]);
    cg_tensor fixed = cg_stop_gradient(matrix), u = cg_stop_gradient(cg_cast(inputs[1], cg_dtype_of(kernel)));
    cg_tensor v = unit(cg_matmul(fixed, u), inputs[2]);
    for (int64_t i = 0; i < call->attributes[1]; i++) {
        u = unit(cg_matmul(v, fixed), inputs[2]);
        if (i + 1 < call->attributes[1]) v = unit(cg_matmul(fixed, u), inputs[2]);
    }
    u = cg_stop_gradient(u);
    v = cg_stop_gradient(v);
    outputs[1] = u;
    outputs[2] = cg_sum(cg_mul(cg_matmul(v, matrix), u));
    outputs[0] = cg_div(kernel, outputs[2]);
}

static const cg_sample spectral_norm_samples[] = {
    {.shapes = {{2, {4, 3}}, {1, {3}}}, ATTRIBUTES(1, 1), .low = 0.5, .high = 2},
    {.shapes = {{3, {3, 2, 2}}, {1, {3}}}, ATTRIBUTES(0, 0), .low = 0.5, .high = 2},
};

static const cg_op spectral_norm_op = {
    .name = "spectral_norm",
    .kind = CG_OP_COMPOSED,
    .inputs = 3,
    .outputs = 3,
    .infer = spectral_norm_infer,
    .expand = spectral_norm_expand,
    .text = {.formula =
                 "kernel / σ, with v = W u / |W u|, u = v W / |v W| iterated and σ = v W u; the new u and σ as well",
             .call = "kernel, u, iterations, .axis",
             .edges = "u and v count as constants; a squared length under 1e-12 as that",
             .keras = "layers.SpectralNormalization",
             .pytorch = "nn.utils.spectral_norm"},
    SAMPLES(spectral_norm_samples),
};

cg_spectral_norm_result cg_spectral_norm_with(cg_tensor kernel, cg_tensor u, int64_t iterations,
                                              const cg_weight_axis_options *options)
{
    int axis = options && options->axis ? options->axis : -1;
    if (cg_is_null(kernel) || !cg_resolve_axis(kernel, "spectral_norm", &axis)) return (cg_spectral_norm_result){0};
    cg_tensor inputs[] = {kernel, u, cg_scalar(cg_context_of(kernel), 1e-12)}, outputs[3];
    cg_apply_all(&spectral_norm_op, inputs, LENGTH(inputs), (int64_t[]){axis, iterations}, 2, outputs);
    return (cg_spectral_norm_result){outputs[0], outputs[1], outputs[2]};
}

/* ------------------------------------------------------------------------------------------------------------------ */

static const cg_op *const list[] = {&rms_norm_op, &local_response_op, &weight_norm_op, &spectral_norm_op};
const cg_op_family cg_ops_scaling = {OPS(list), .title = "Normalization"};

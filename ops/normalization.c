/* Normalizations, composed of means and maps. Of dense features over the batch: with the batch's statistics, which it
 * returns, or with given ones; moving averages are the layer's business. And of each element over some of its axes. */
#include "ops/family.h"

/* The parameters are checked against the features, the last axis of x. */
static bool parameters_fit(const cg_call *call, int first, int count)
{
    const cg_shape *x = &call->input_shapes[0];
    if (x->rank < 2) return cg_op_error(call, "%s has no batch and features", cg_input_text(call, 0));
    for (int i = first; i < first + count; i++) {
        const cg_shape *shape = &call->input_shapes[i];
        if (shape->rank > 1 || (shape->rank == 1 && shape->size[0] != x->size[x->rank - 1]))
            return cg_op_error(call, "%s for the features of %s", cg_input_text(call, i), cg_input_text(call, 0));
    }
    return true;
}

static cg_dtype common_dtype(const cg_call *call, int count)
{
    cg_dtype dtype = cg_floating_dtype(call->input_dtypes[0]);
    for (int i = 1; i < count; i++) dtype = cg_promote(dtype, call->input_dtypes[i]);
    return dtype;
}

/* deviation * gamma / sqrt(variance + epsilon) + beta: the factor, one number per feature, comes first. */
static cg_tensor scaled(cg_tensor deviation, cg_tensor variance, const cg_tensor parameters[2], cg_tensor epsilon)
{
    cg_tensor factor = cg_mul(parameters[0], cg_reciprocal(cg_sqrt(cg_add(variance, epsilon))));
    return cg_add(cg_mul(deviation, factor), parameters[1]);
}

/* ---- batch_norm: x, gamma, beta, epsilon -> output, mean, variance ----------------------------------------------- */

static bool batch_norm_infer(const cg_call *call, cg_inferred *result)
{
    if (!parameters_fit(call, 1, 2)) return false;
    cg_shape x = call->input_shapes[0];
    result->shape[0] = x;
    result->shape[1] = result->shape[2] = CG_SHAPE(x.size[x.rank - 1]);
    result->dtype[0] = common_dtype(call, 3);
    result->dtype[1] = result->dtype[2] = cg_floating_dtype(call->input_dtypes[0]);
    return true;
}

static void batch_norm_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    cg_tensor x = cg_to_floating(inputs[0]);
    cg_axes batch = {.count = call->input_shapes[0].rank - 1};
    for (int i = 0; i < batch.count; i++) batch.axis[i] = i;
    outputs[1] = cg_mean(x, .axes = batch);
    cg_tensor deviation = cg_sub(x, outputs[1]);
    outputs[2] = cg_mean(cg_square(deviation), .axes = batch);
    outputs[0] = scaled(deviation, outputs[2], inputs + 1, inputs[3]);
}

static const cg_sample batch_norm_samples[] = {
    {.shapes = {{2, {6, 3}}, {1, {3}}, {1, {3}}}, .low = 0.5, .high = 2, .smooth = true},
    {.shapes = {{3, {2, 3, 2}}, {0, {0}}, {1, {2}}}, .low = 0.5, .high = 2, .smooth = true},
};

static const cg_op batch_norm_op = {
    .name = "batch_norm",
    .kind = CG_OP_COMPOSED,
    .inputs = 4,
    .outputs = 3,
    .infer = batch_norm_infer,
    .expand = batch_norm_expand,
    .deferred = true,
    SAMPLES(batch_norm_samples),
};

cg_batch_norm_result cg_batch_norm(cg_tensor x, cg_tensor gamma, cg_tensor beta, double epsilon)
{
    if (cg_is_null(x)) return (cg_batch_norm_result){0};
    cg_tensor inputs[] = {x, gamma, beta, cg_scalar(cg_context_of(x), epsilon)};
    cg_tensor outputs[3];
    cg_apply_all(&batch_norm_op, inputs, LENGTH(inputs), NULL, 0, outputs);
    return (cg_batch_norm_result){outputs[0], outputs[1], outputs[2]};
}

/* ---- batch_norm_inference: x, gamma, beta, mean, variance, epsilon ----------------------------------------------- */

static bool inference_infer(const cg_call *call, cg_inferred *result)
{
    if (!parameters_fit(call, 1, 4)) return false;
    result->shape[0] = call->input_shapes[0];
    result->dtype[0] = common_dtype(call, 5);
    return true;
}

static void inference_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    (void)call;
    outputs[0] = scaled(cg_sub(cg_to_floating(inputs[0]), inputs[3]), inputs[4], inputs + 1, inputs[5]);
}

static const cg_sample inference_samples[] = {
    {.shapes = {{2, {4, 3}}, {1, {3}}, {1, {3}}, {1, {3}}}, .low = 0.5, .high = 2, .smooth = true},
};

static const cg_op inference_op = {
    .name = "batch_norm_inference",
    .kind = CG_OP_COMPOSED,
    .inputs = 6,
    .infer = inference_infer,
    .expand = inference_expand,
    .deferred = true,
    SAMPLES(inference_samples),
};

cg_tensor cg_batch_norm_inference(cg_tensor x, cg_tensor gamma, cg_tensor beta, cg_tensor mean, cg_tensor variance,
                                  double epsilon)
{
    if (cg_is_null(x)) return x;
    cg_tensor inputs[] = {x, gamma, beta, mean, variance, cg_scalar(cg_context_of(x), epsilon)};
    return cg_apply(&inference_op, inputs, LENGTH(inputs), NULL, 0);
}

/* ---- layer_norm: x, gamma, beta, epsilon; the attribute is the mask of the axes ---------------------------------- */

/* x with the extents of the axes that are not in the mask replaced by 1. */
static cg_shape normalized_shape(cg_shape x, int64_t mask, bool keepdims)
{
    cg_shape shape = {0};
    for (int i = 0; i < x.rank; i++)
        if (mask >> i & 1)
            shape.size[shape.rank++] = x.size[i];
        else if (keepdims)
            shape.size[shape.rank++] = 1;
    return shape;
}

static bool layer_norm_infer(const cg_call *call, cg_inferred *result)
{
    const cg_shape x = call->input_shapes[0], wanted = normalized_shape(x, call->attributes[0], false);
    for (int i = 1; i <= 2; i++) {
        const cg_shape shape = call->input_shapes[i];
        if (shape.rank > 0 && !cg_shapes_equal(shape, wanted))
            return cg_op_error(call, "%s is %s, the axes normalized are %s", i == 1 ? "gamma" : "beta",
                               cg_shape_text(call->context, shape), cg_shape_text(call->context, wanted));
    }
    result->shape[0] = x;
    result->dtype[0] = common_dtype(call, 3);
    return true;
}

/* x minus an element of each group that is normalized together, the first. Means of what remains keep the digits that a
 * large common part would take; the result does not depend on it, so no derivative goes there. */
static cg_tensor without_first(cg_tensor x, cg_axes axes)
{
    cg_tensor first = x;
    if (cg_size(x) == 0) return x;
    for (int i = 0; i < axes.count; i++) first = cg_slice_axis(first, axes.axis[i], 0, 1);
    return cg_sub(x, cg_stop_gradient(first));
}

static void layer_norm_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    const cg_axes axes = cg_axes_of_mask(call->attributes[0]);
    const cg_shape shape = normalized_shape(call->input_shapes[0], call->attributes[0], true);
    cg_tensor x = without_first(cg_to_floating(inputs[0]), axes), parameters[2];
    for (int i = 0; i < 2; i++)
        parameters[i] = call->input_shapes[i + 1].rank ? cg_reshape(inputs[i + 1], shape) : inputs[i + 1];
    cg_tensor deviation = cg_sub(x, cg_mean(x, .axes = axes, .keepdims = true));
    cg_tensor variance = cg_mean(cg_square(deviation), .axes = axes, .keepdims = true);
    outputs[0] = scaled(deviation, variance, parameters, inputs[3]);
}

static const cg_sample layer_norm_samples[] = {
    {.shapes = {{2, {4, 5}}, {1, {5}}, {1, {5}}}, ATTRIBUTES(1 << 1), .low = 0.5, .high = 2, .smooth = true},
    {.shapes = {{3, {3, 2, 4}}, {2, {3, 4}}}, ATTRIBUTES(1 << 0 | 1 << 2), .low = 0.5, .high = 2, .smooth = true},
    {.shapes = {{2, {3, 4}}, {1, {4}}, {1, {4}}}, ATTRIBUTES(1 << 1), .dtypes = {CG_I32}, .low = 1, .high = 9},
};

static const cg_op layer_norm_op = {
    .name = "layer_norm",
    .kind = CG_OP_COMPOSED,
    .inputs = 4,
    .infer = layer_norm_infer,
    .expand = layer_norm_expand,
    SAMPLES(layer_norm_samples),
};

cg_tensor cg_layer_norm_with(cg_tensor x, const cg_layer_norm_options *options)
{
    static const cg_layer_norm_options defaults;
    const cg_layer_norm_options *o = options ? options : &defaults;
    int64_t mask;
    if (cg_is_null(x)) return x;
    if (!cg_resolve_axes(x, "layer_norm", o->axes.count ? o->axes : CG_AXES(-1), &mask)) return (cg_tensor){0};
    cg_context *cg = cg_context_of(x);
    const cg_dtype dtype = cg_floating_dtype(cg_dtype_of(x));
    cg_tensor inputs[] = {x, cg_is_null(o->gamma) ? cg_constant(cg, dtype, 1) : o->gamma,
                          cg_is_null(o->beta) ? cg_constant(cg, dtype, 0) : o->beta,
                          cg_scalar(cg, cg_number_or(o->epsilon, 1e-3))};
    return cg_apply(&layer_norm_op, inputs, LENGTH(inputs), (int64_t[]){mask}, 1);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static const cg_op *const list[] = {&batch_norm_op, &inference_op, &layer_norm_op};
const cg_op_family cg_ops_normalization = {list, LENGTH(list)};

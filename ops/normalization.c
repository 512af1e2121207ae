/* Batch normalization of dense features, composed of means and maps: with the statistics of the batch, which it
 * returns, or with given ones. Moving averages are the layer's business. */
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
    SAMPLES(inference_samples),
};

cg_tensor cg_batch_norm_inference(cg_tensor x, cg_tensor gamma, cg_tensor beta, cg_tensor mean, cg_tensor variance,
                                  double epsilon)
{
    if (cg_is_null(x)) return x;
    cg_tensor inputs[] = {x, gamma, beta, mean, variance, cg_scalar(cg_context_of(x), epsilon)};
    return cg_apply(&inference_op, inputs, LENGTH(inputs), NULL, 0);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static const cg_op *const list[] = {&batch_norm_op, &inference_op};
const cg_op_family cg_ops_normalization = {list, LENGTH(list)};

/* softmax and log_softmax along one axis, composed of maxima, sums and maps. The attribute is the axis. */
#include "ops/family.h"

static bool same_infer(const cg_call *call, cg_inferred *result)
{
    result->shape[0] = call->input_shapes[0];
    result->dtype[0] = cg_floating_dtype(call->input_dtypes[0]);
    return true;
}

/* x minus its largest along the axis. The result does not depend on what is subtracted, so no derivative goes there. */
static cg_tensor shifted(cg_tensor x, cg_axes axes)
{
    return cg_sub(x, cg_stop_gradient(cg_max(x, .axes = axes, .keepdims = true)));
}

static void softmax_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    cg_axes axes = CG_AXES((int)call->attributes[0]);
    cg_tensor power = cg_exp(shifted(cg_to_floating(inputs[0]), axes));
    outputs[0] = cg_mul(power, cg_reciprocal(cg_sum(power, .axes = axes, .keepdims = true)));
}

static void log_softmax_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    cg_axes axes = CG_AXES((int)call->attributes[0]);
    cg_tensor x = shifted(cg_to_floating(inputs[0]), axes);
    outputs[0] = cg_sub(x, cg_log(cg_sum(cg_exp(x), .axes = axes, .keepdims = true)));
}

static const cg_sample softmax_samples[] = {
    {.shapes = {{2, {3, 5}}}, ATTRIBUTES(1), .low = -2, .high = 2, .smooth = true},
    {.shapes = {{3, {2, 3, 2}}}, ATTRIBUTES(1), .low = -2, .high = 2, .smooth = true},
    {.shapes = {{2, {3, 5}}}, ATTRIBUTES(0), .dtypes = {CG_I32}, .low = -9, .high = 9},
};

static const cg_op softmax_op = {
    .name = "softmax",
    .kind = CG_OP_COMPOSED,
    .inputs = 1,
    .infer = same_infer,
    .expand = softmax_expand,
    .deferred = true,
    .text = {.formula = "e^x / Σ e^x along an axis",
             .call = "x, axis",
             .edges = "NaN where a slice is all -inf or holds inf",
             .keras = "activations.softmax, layers.Softmax",
             .pytorch = "softmax, nn.Softmax"},
    SAMPLES(softmax_samples),
};

static const cg_op log_softmax_op = {
    .name = "log_softmax",
    .kind = CG_OP_COMPOSED,
    .inputs = 1,
    .infer = same_infer,
    .expand = log_softmax_expand,
    .deferred = true,
    .text = {.formula = "x - log Σ e^x along an axis",
             .call = "x, axis",
             .edges = "NaN where a slice is all -inf or holds inf",
             .keras = "activations.log_softmax",
             .pytorch = "log_softmax, nn.LogSoftmax"},
    SAMPLES(softmax_samples),
};

/* Of nothing it is nothing, though a maximum over nothing does not exist. */
static cg_tensor along(const cg_op *op, cg_tensor x, int axis)
{
    if (!cg_resolve_axis(x, op->name, &axis)) return (cg_tensor){0};
    if (cg_size(x) == 0) return cg_to_floating(x);
    return cg_apply(op, &x, 1, (int64_t[]){axis}, 1);
}

cg_tensor cg_softmax(cg_tensor x, int axis)
{
    return along(&softmax_op, x, axis);
}

cg_tensor cg_log_softmax(cg_tensor x, int axis)
{
    return along(&log_softmax_op, x, axis);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static const cg_op *const list[] = {&softmax_op, &log_softmax_op};
const cg_op_family cg_ops_softmax = {OPS(list), .title = "Products and normalised exponentials"};

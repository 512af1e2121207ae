/* Normalizations that take a mean away and divide by the deviation, composed of means and maps: over the batch, with
 * its statistics, which are returned, or with given ones (moving averages are the layer's business); of each element of
 * the batch over some of its axes, or over groups of its channels. scaling.c has those that only divide. */
#include "ops/family.h"
#include <clgrad/normalization.h>

/* ---- What they share --------------------------------------------------------------------------------------------- */

static cg_dtype common_dtype(const cg_call *call, int count)
{
    cg_dtype dtype = cg_floating_dtype(call->input_dtypes[0]);
    for (int i = 1; i < count; i++) dtype = cg_promote(dtype, call->input_dtypes[i]);
    return dtype;
}

/* The axis of the channels: `otherwise` where the option was left out. False after reporting, and for a null x. */
static bool resolve_channels(cg_tensor x, const char *op, int axis, int otherwise, int64_t *resolved)
{
    int found = axis ? axis : otherwise;
    if (cg_is_null(x) || !cg_resolve_axis(x, op, &found)) return false;
    *resolved = found;
    return true;
}

/* A number per channel, with an axis of extent 1 for every other axis of x; one of rank 0 as it is. */
static cg_tensor along_channels(cg_tensor parameter, cg_shape x, int64_t axis)
{
    cg_shape shape = {.rank = x.rank};
    if (cg_shape_of(parameter).rank == 0 || axis == x.rank - 1) return parameter;
    for (int i = 0; i < x.rank; i++) shape.size[i] = i == axis ? x.size[i] : 1;
    return cg_reshape(parameter, shape);
}

/* gamma and beta, or 1 and 0 where they were left out, in the dtype of x. */
static void parameters_or_defaults(cg_tensor x, cg_tensor gamma, cg_tensor beta, cg_tensor result[2])
{
    cg_context *cg = cg_context_of(x);
    const cg_dtype dtype = cg_floating_dtype(cg_dtype_of(x));
    result[0] = cg_is_null(gamma) ? cg_constant(cg, dtype, 1) : gamma;
    result[1] = cg_is_null(beta) ? cg_constant(cg, dtype, 0) : beta;
}

/* ---- first: x; the attribute is the mask of the axes ------------------------------------------------------------- */

static bool first_infer(const cg_call *call, cg_inferred *result)
{
    cg_shape shape = call->input_shapes[0];
    for (int i = 0; i < shape.rank; i++)
        if (call->attributes[0] >> i & 1) shape.size[i] = 1;
    result->shape[0] = shape;
    result->dtype[0] = call->input_dtypes[0];
    return true;
}

static void first_move(const cg_call *call, cg_mapping *mapping)
{
    for (int i = 0; i < call->input_shapes[0].rank; i++) mapping->factor[i][i] = !(call->attributes[0] >> i & 1);
}

static const cg_sample first_samples[] = {
    {.shapes = {{3, {2, 3, 4}}}, ATTRIBUTES(5), .low = -2, .high = 2},
    {.shapes = {{2, {3, 4}}}, ATTRIBUTES(1), .dtypes = {CG_I32}, .low = -9, .high = 9},
};

/* A slice's offsets would be arguments: of a deferred call's own, they would keep its plan from being found again. */
static const cg_op first_op = {
    .name = "first",
    .kind = CG_OP_MOVE,
    .inputs = 1,
    .infer = first_infer,
    .move = first_move,
    .zero_gradient = true,
    .text = {.formula = "the first element along some axes, which stay with extent 1", .internal = true},
    SAMPLES(first_samples),
};

/* x minus an element of each group that is normalized together, the first. Means of what remains keep the digits that a
 * large common part would take; the result does not depend on it, so no derivative goes there. */
static cg_tensor first_of(cg_tensor x, cg_axes axes)
{
    int64_t mask = 0;
    for (int i = 0; i < axes.count; i++) mask |= 1 << axes.axis[i];
    return cg_apply(&first_op, &x, 1, &mask, 1);
}

static cg_tensor without_first(cg_tensor x, cg_axes axes)
{
    return cg_size(x) == 0 ? x : cg_sub(x, first_of(x, axes));
}

/* deviation * gamma / sqrt(variance + epsilon) + beta: the factor, one number per group, comes first. */
static cg_tensor scaled(cg_tensor deviation, cg_tensor variance, const cg_tensor parameters[2], cg_tensor epsilon)
{
    cg_tensor factor = cg_mul(parameters[0], cg_reciprocal(cg_sqrt(cg_add(variance, epsilon))));
    return cg_add(cg_mul(deviation, factor), parameters[1]);
}

/* The same with a mean that is small beside the deviation: x times a factor plus an offset, one of each per channel.
 * Backwards, all sums then are of g and of g x. */
static cg_tensor by_factor(cg_tensor x, cg_tensor mean, cg_tensor variance, const cg_tensor parameters[2],
                           cg_tensor epsilon)
{
    cg_tensor factor = cg_mul(parameters[0], cg_reciprocal(cg_sqrt(cg_add(variance, epsilon))));
    return cg_add(cg_mul(x, factor), cg_sub(parameters[1], cg_mul(mean, factor)));
}

/* x normalized with mean and variance over the axes. */
static cg_tensor normalized(cg_tensor x, cg_axes axes, const cg_tensor parameters[2], cg_tensor epsilon)
{
    cg_tensor near = without_first(x, axes);
    cg_tensor deviation = cg_sub(near, cg_mean(near, .axes = axes, .keepdims = true));
    cg_tensor variance = cg_mean(cg_square(deviation), .axes = axes, .keepdims = true);
    return scaled(deviation, variance, parameters, epsilon);
}

/* ---- batch_norm: x, gamma, beta, epsilon -> output, mean, variance; the attribute is the axis of the channels ---- */

/* The parameters are checked against the channels of x. */
static bool parameters_fit(const cg_call *call, int first, int count)
{
    const cg_shape *x = &call->input_shapes[0];
    if (x->rank < 2) return cg_op_error(call, "%s has no batch and features", cg_input_text(call, 0));
    for (int i = first; i < first + count; i++) {
        const cg_shape *shape = &call->input_shapes[i];
        if (shape->rank > 1 || (shape->rank == 1 && shape->size[0] != x->size[call->attributes[0]]))
            return cg_op_error(call, "%s for the features of %s", cg_input_text(call, i), cg_input_text(call, 0));
    }
    return true;
}

static bool batch_norm_infer(const cg_call *call, cg_inferred *result)
{
    if (!parameters_fit(call, 1, 2)) return false;
    cg_shape x = call->input_shapes[0];
    result->shape[0] = x;
    result->shape[1] = result->shape[2] = CG_SHAPE(x.size[call->attributes[0]]);
    result->dtype[0] = common_dtype(call, 3);
    result->dtype[1] = result->dtype[2] = cg_floating_dtype(call->input_dtypes[0]);
    return true;
}

/* With d = x - first, mean(d^2) - mean(d)^2 needs x once for both means. It loses digits where the first element of a
 * channel is many deviations away from the mean: a factor of k^2 with a chance of at most 1 in k^2 (Chebyshev), and
 * never more than about the number of elements, of which the first is one. */
static void batch_norm_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    const cg_shape shape = call->input_shapes[0];
    const int64_t axis = call->attributes[0];
    cg_axes batch = {0};
    for (int i = 0; i < shape.rank; i++)
        if (i != axis) batch.axis[batch.count++] = i;
    cg_tensor x = cg_to_floating(inputs[0]), near = without_first(x, batch), parameters[2];
    cg_tensor mean = cg_mean(near, .axes = batch, .keepdims = true);
    cg_tensor square = cg_mean(cg_square(near), .axes = batch, .keepdims = true);
    cg_tensor variance = cg_sub(square, cg_square(mean));
    for (int i = 0; i < 2; i++) parameters[i] = along_channels(inputs[i + 1], shape, axis);
    outputs[0] = by_factor(near, mean, variance, parameters, inputs[3]);
    if (cg_size(x) > 0) mean = cg_add(mean, first_of(x, batch));
    outputs[1] = cg_reshape(mean, CG_SHAPE(shape.size[axis]));
    outputs[2] = cg_reshape(variance, CG_SHAPE(shape.size[axis]));
}

static const cg_sample batch_norm_samples[] = {
    {.shapes = {{2, {6, 3}}, {1, {3}}, {1, {3}}}, ATTRIBUTES(1), .low = 0.5, .high = 2, .smooth = true},
    {.shapes = {{3, {2, 3, 2}}, {0, {0}}, {1, {2}}}, ATTRIBUTES(2), .low = 0.5, .high = 2, .smooth = true},
    {.shapes = {{4, {2, 3, 2, 2}}, {1, {3}}, {1, {3}}}, ATTRIBUTES(1), .low = 0.5, .high = 2, .smooth = true},
    {.shapes = {{3, {2, 3, 4}}, {1, {2}}, {0, {0}}}, ATTRIBUTES(0), .low = 0.5, .high = 2, .smooth = true},
};

static const cg_op batch_norm_op = {
    .name = "batch_norm",
    .kind = CG_OP_COMPOSED,
    .inputs = 4,
    .outputs = 3,
    .infer = batch_norm_infer,
    .expand = batch_norm_expand,
    .deferred = true,
    .text = {.formula = "gamma · (x - mean) / √(variance + epsilon) + beta, with mean and variance over all axes but "
                        "the channels; these two as well",
             .call = "x, gamma, beta, epsilon, .axis",
             .edges = "of a single value per channel: beta",
             .keras = "layers.BatchNormalization",
             .pytorch = "nn.functional.batch_norm, nn.BatchNorm2d"},
    SAMPLES(batch_norm_samples),
};

cg_batch_norm_result cg_batch_norm_with(cg_tensor x, cg_tensor gamma, cg_tensor beta, double epsilon,
                                        const cg_batch_norm_options *options)
{
    int64_t axis;
    if (!resolve_channels(x, "batch_norm", options ? options->axis : 0, -1, &axis)) return (cg_batch_norm_result){0};
    cg_tensor inputs[] = {x, gamma, beta, cg_scalar(cg_context_of(x), epsilon)};
    cg_tensor outputs[3];
    cg_apply_all(&batch_norm_op, inputs, LENGTH(inputs), &axis, 1, outputs);
    return (cg_batch_norm_result){outputs[0], outputs[1], outputs[2]};
}

/* ---- batch_norm_inference: x, gamma, beta, mean, variance, epsilon; the attribute as above ----------------------- */

static bool inference_infer(const cg_call *call, cg_inferred *result)
{
    if (!parameters_fit(call, 1, 4)) return false;
    result->shape[0] = call->input_shapes[0];
    result->dtype[0] = common_dtype(call, 5);
    return true;
}

static void inference_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    cg_tensor given[5] = {cg_to_floating(inputs[0])};
    for (int i = 1; i < 5; i++) given[i] = along_channels(inputs[i], call->input_shapes[0], call->attributes[0]);
    outputs[0] = scaled(cg_sub(given[0], given[3]), given[4], given + 1, inputs[5]);
}

static const cg_sample inference_samples[] = {
    {.shapes = {{2, {4, 3}}, {1, {3}}, {1, {3}}, {1, {3}}}, ATTRIBUTES(1), .low = 0.5, .high = 2, .smooth = true},
    {.shapes = {{3, {2, 3, 3}}, {1, {3}}, {1, {3}}, {1, {3}}}, ATTRIBUTES(1), .low = 0.5, .high = 2, .smooth = true},
};

static const cg_op inference_op = {
    .name = "batch_norm_inference",
    .kind = CG_OP_COMPOSED,
    .inputs = 6,
    .infer = inference_infer,
    .expand = inference_expand,
    .deferred = true,
    .text = {.formula = "batch_norm with a given mean and variance",
             .call = "x, gamma, beta, mean, variance, epsilon, .axis",
             .keras = "layers.BatchNormalization, ops.batch_normalization",
             .pytorch = "nn.functional.batch_norm (training=False)"},
    SAMPLES(inference_samples),
};

cg_tensor cg_batch_norm_inference_with(cg_tensor x, cg_tensor gamma, cg_tensor beta, cg_tensor mean, cg_tensor variance,
                                       double epsilon, const cg_batch_norm_options *options)
{
    int64_t axis;
    if (!resolve_channels(x, "batch_norm_inference", options ? options->axis : 0, -1, &axis)) return (cg_tensor){0};
    cg_tensor inputs[] = {x, gamma, beta, mean, variance, cg_scalar(cg_context_of(x), epsilon)};
    return cg_apply(&inference_op, inputs, LENGTH(inputs), &axis, 1);
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

static void layer_norm_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    const cg_axes axes = cg_axes_of_mask(call->attributes[0]);
    const cg_shape shape = normalized_shape(call->input_shapes[0], call->attributes[0], true);
    cg_tensor parameters[2];
    for (int i = 0; i < 2; i++)
        parameters[i] = call->input_shapes[i + 1].rank ? cg_reshape(inputs[i + 1], shape) : inputs[i + 1];
    outputs[0] = normalized(cg_to_floating(inputs[0]), axes, parameters, inputs[3]);
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
    .text = {.formula = "gamma · (x - mean) / √(variance + epsilon) + beta, with mean and variance over axes",
             .call = "x, .axes, .gamma, .beta, .epsilon",
             .edges = "of a single value: beta",
             .keras = "layers.LayerNormalization",
             .pytorch = "nn.functional.layer_norm, nn.LayerNorm"},
    SAMPLES(layer_norm_samples),
};

cg_tensor cg_layer_norm_with(cg_tensor x, const cg_layer_norm_options *options)
{
    static const cg_layer_norm_options defaults;
    const cg_layer_norm_options *o = options ? options : &defaults;
    int64_t mask;
    if (cg_is_null(x)) return x;
    if (!cg_resolve_axes(x, "layer_norm", o->axes.count ? o->axes : CG_AXES(-1), &mask)) return (cg_tensor){0};
    cg_tensor inputs[] = {x, {0}, {0}, cg_scalar(cg_context_of(x), cg_number_or(o->epsilon, 1e-3))};
    parameters_or_defaults(x, o->gamma, o->beta, inputs + 1);
    return cg_apply(&layer_norm_op, inputs, LENGTH(inputs), (int64_t[]){mask}, 1);
}

/* ---- group_norm: x, gamma, beta, epsilon; the attributes are the number of groups and the axis of the channels --- */

static bool group_norm_infer(const cg_call *call, cg_inferred *result)
{
    const cg_shape x = call->input_shapes[0];
    const int64_t groups = call->attributes[0], channels = x.size[call->attributes[1]];
    if (groups < 1 || channels % groups != 0)
        return cg_op_error(call, "the %lld channels of %s are not %lld equal groups", (long long)channels,
                           cg_input_text(call, 0), (long long)groups);
    for (int i = 1; i <= 2; i++) {
        const cg_shape shape = call->input_shapes[i];
        if (shape.rank > 1 || (shape.rank == 1 && shape.size[0] != channels))
            return cg_op_error(call, "%s is %s, the channels of %s are %lld", i == 1 ? "gamma" : "beta",
                               cg_shape_text(call->context, shape), cg_input_text(call, 0), (long long)channels);
    }
    result->shape[0] = x;
    result->dtype[0] = common_dtype(call, 3);
    return true;
}

/* A number per channel of each image, x, folded over the channels of each group: at every one of these channels again.
 */
static cg_tensor over_groups(cg_tensor x, int64_t groups, int axis, cg_tensor (*fold)(cg_tensor, int axis))
{
    const cg_shape shape = cg_shape_of(x);
    cg_shape split = {.rank = shape.rank + 1};
    if (groups == shape.size[axis]) return x;
    if (groups == 1) return fold(x, axis);
    for (int i = 0; i < split.rank; i++) split.size[i] = i <= axis ? shape.size[i] : shape.size[i - 1];
    split.size[axis] = groups;
    split.size[axis + 1] = shape.size[axis] / groups;
    return cg_reshape(cg_broadcast_to(fold(cg_reshape(x, split), axis + 1), split), shape);
}

static cg_tensor mean_along(cg_tensor x, int axis)
{
    return cg_mean(x, .axes = CG_AXES(axis), .keepdims = true);
}

static cg_tensor first_along(cg_tensor x, int axis)
{
    return first_of(x, CG_AXES(axis));
}

/* As in batch_norm, with sums over space first, so that the whole of x is gone over as it is and not by groups: what
 * follows is a factor and an offset per channel of each image, which fuses with the ops behind it. */
static void group_norm_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    const cg_shape shape = call->input_shapes[0];
    const int64_t groups = call->attributes[0];
    const int axis = (int)call->attributes[1];
    cg_axes space = {0};
    for (int i = 1; i < shape.rank; i++)
        if (i != axis) space.axis[space.count++] = i;
    cg_tensor x = cg_to_floating(inputs[0]), near = x, parameters[2];
    if (cg_size(x) > 0) near = cg_sub(x, over_groups(first_of(x, space), groups, axis, first_along));
    cg_tensor mean = near, square = cg_square(near);
    if (space.count > 0) {
        mean = cg_mean(near, .axes = space, .keepdims = true);
        square = cg_mean(square, .axes = space, .keepdims = true);
    }
    mean = over_groups(mean, groups, axis, mean_along);
    cg_tensor variance = cg_sub(over_groups(square, groups, axis, mean_along), cg_square(mean));
    for (int i = 0; i < 2; i++) parameters[i] = along_channels(inputs[i + 1], shape, axis);
    outputs[0] = by_factor(near, mean, variance, parameters, inputs[3]);
}

static const cg_sample group_norm_samples[] = {
    {.shapes = {{4, {2, 4, 3, 2}}, {1, {4}}, {1, {4}}}, ATTRIBUTES(2, 1), .low = 0.5, .high = 2, .smooth = true},
    {.shapes = {{3, {2, 3, 4}}, {1, {4}}, {0, {0}}}, ATTRIBUTES(2, 2), .low = 0.5, .high = 2, .smooth = true},
    {.shapes = {{3, {2, 3, 4}}, {1, {3}}, {1, {3}}}, ATTRIBUTES(3, 1), .low = 0.5, .high = 2, .smooth = true},
    {.shapes = {{3, {2, 3, 2}}, {1, {3}}, {1, {3}}}, ATTRIBUTES(1, 1), .low = 0.5, .high = 2, .smooth = true},
    {.shapes = {{2, {3, 4}}, {1, {4}}, {1, {4}}}, ATTRIBUTES(2, 1), .dtypes = {CG_I32}, .low = 1, .high = 9},
};

static const cg_op group_norm_op = {
    .name = "group_norm",
    .kind = CG_OP_COMPOSED,
    .inputs = 4,
    .infer = group_norm_infer,
    .expand = group_norm_expand,
    .text = {.formula = "layer_norm with mean and variance over the channels of a group and all axes behind the batch",
             .call = "x, groups, .gamma, .beta, .epsilon, .axis",
             .keras = "layers.GroupNormalization",
             .pytorch = "nn.functional.group_norm, nn.GroupNorm"},
    SAMPLES(group_norm_samples),
};

static cg_tensor group_normalized(const char *op, cg_tensor x, int64_t groups, int64_t axis,
                                  const cg_group_norm_options *o)
{
    cg_tensor inputs[] = {x, {0}, {0}, cg_scalar(cg_context_of(x), cg_number_or(o->epsilon, 1e-3))};
    if (axis == 0)
        return cg_report(cg_context_of(x), CG_ERROR_ARGUMENT, op, "the first axis of %s is the batch, not channels",
                         cg_tensor_text(x));
    parameters_or_defaults(x, o->gamma, o->beta, inputs + 1);
    return cg_apply(&group_norm_op, inputs, LENGTH(inputs), (int64_t[]){groups, axis}, 2);
}

cg_tensor cg_group_norm_with(cg_tensor x, int64_t groups, const cg_group_norm_options *options)
{
    static const cg_group_norm_options defaults;
    const cg_group_norm_options *o = options ? options : &defaults;
    int64_t axis;
    if (!resolve_channels(x, "group_norm", o->axis, 1, &axis)) return (cg_tensor){0};
    if (cg_shape_of(x).rank == CG_MAX_RANK)
        return cg_report(cg_context_of(x), CG_ERROR_ARGUMENT, "group_norm", "%s has no axis left for the groups",
                         cg_tensor_text(x));
    return group_normalized("group_norm", x, groups, axis, o);
}

cg_tensor cg_instance_norm_with(cg_tensor x, const cg_group_norm_options *options)
{
    static const cg_group_norm_options defaults;
    const cg_group_norm_options *o = options ? options : &defaults;
    int64_t axis;
    if (!resolve_channels(x, "instance_norm", o->axis, 1, &axis)) return (cg_tensor){0};
    if (cg_shape_of(x).rank < 3)
        return cg_report(cg_context_of(x), CG_ERROR_ARGUMENT, "instance_norm", "%s has no axes but batch and channels",
                         cg_tensor_text(x));
    const int64_t channels = cg_shape_of(x).size[axis];
    return group_normalized("instance_norm", x, channels > 0 ? channels : 1, axis, o);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static const cg_op *const list[] = {&first_op, &batch_norm_op, &inference_op, &layer_norm_op, &group_norm_op};
static const cg_op_function functions[] = {
    {"instance_norm",
     "group_norm",
     {.formula = "group_norm with a group for each channel",
      .call = "x, .gamma, .beta, .epsilon, .axis",
      .keras = "layers.GroupNormalization (groups=-1)",
      .pytorch = "nn.functional.instance_norm, nn.InstanceNorm2d"}},
};
const cg_op_family cg_ops_normalization = {
    OPS(list), FUNCTIONS(functions), .title = "Normalization",
    .introduction =
        "Variances are biased (divided by n) and accurate where the mean is large; epsilon is inside the root."};

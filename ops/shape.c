/* Ops that give the same elements another shape: reshape, permute, broadcast_to, and sum_to_shape, which undoes the
 * last. They are index mappings, without arithmetic; the engine decides whether anything is copied. */
#include "ops/family.h"

/* Attributes that hold the result's shape, one extent each. */
static bool shape_infer(const cg_call *call, cg_inferred *result)
{
    if (call->attribute_count > CG_MAX_RANK)
        return cg_op_error(call, "%d axes are more than %d", call->attribute_count, CG_MAX_RANK);
    cg_shape *shape = &result->shape[0];
    shape->rank = call->attribute_count;
    bool negative = false;
    for (int i = 0; i < shape->rank; i++) {
        shape->size[i] = call->attributes[i];
        negative |= call->attributes[i] < 0;
    }
    if (negative) return cg_op_error(call, "%s has a negative extent", cg_shape_text(call->context, *shape));
    result->dtype[0] = call->input_dtypes[0];
    return true;
}

/* ---- reshape ----------------------------------------------------------------------------------------------------- */

static bool reshape_infer(const cg_call *call, cg_inferred *result)
{
    if (!shape_infer(call, result)) return false;
    int64_t before = cg_shape_size(call->input_shapes[0]), after = cg_shape_size(result->shape[0]);
    if (before == after) return true;
    return cg_op_error(call, "%s has %lld elements, %s has %lld", cg_input_text(call, 0), (long long)before,
                       cg_shape_text(call->context, result->shape[0]), (long long)after);
}

/* Axes of extent 1 come and go freely; any other input axis must be the product of the output axes that it is split
 * into. Where one is not, axes are merged: the elements are taken in row-major order. */
static void reshape_move(const cg_call *call, cg_mapping *mapping)
{
    const cg_shape *in = &call->input_shapes[0];
    const int64_t *out = call->attributes;
    int next = 0;
    mapping->copies = cg_shape_size(*in) == 0;
    for (int j = 0; j < in->rank && !mapping->copies; j++) {
        int first = next;
        int64_t product = 1;
        while (product < in->size[j]) product *= out[next++];
        mapping->copies = product != in->size[j];
        int64_t factor = 1;
        for (int i = next - 1; i >= first; i--) {
            mapping->factor[j][i] = factor;
            factor *= out[i];
        }
    }
}

static void reshape_vjp(const cg_vjp *v, cg_tensor *result)
{
    result[0] = cg_reshape(v->cotangents[0], cg_shape_of(v->inputs[0]));
}

static const cg_sample reshape_samples[] = {
    {.shapes = {{2, {3, 4}}}, ATTRIBUTES(3, 1, 2, 2), .low = -2, .high = 2, .smooth = true},
    {.shapes = {{3, {2, 3, 4}}}, ATTRIBUTES(6, 4), .low = -2, .high = 2, .smooth = true},
    {.shapes = {{1, {1}}}, .low = -2, .high = 2, .smooth = true},
};

static const cg_op reshape_op = {
    .name = "reshape",
    .kind = CG_OP_MOVE,
    .inputs = 1,
    .infer = reshape_infer,
    .move = reshape_move,
    .vjp = reshape_vjp,
    .text = {.formula = "the same elements, row-major, in another shape; one extent may be -1",
             .call = "x, shape",
             .keras = "ops.reshape, layers.Reshape",
             .pytorch = "reshape"},
    SAMPLES(reshape_samples),
};

/* Fills in the one extent that is -1. False, reported, where it is not determined. */
static bool complete(cg_tensor x, cg_shape *shape)
{
    int open = -1;
    int64_t product = 1;
    cg_context *cg = cg_context_of(x);
    for (int i = 0; i < shape->rank; i++) {
        if (shape->size[i] != -1) {
            product *= shape->size[i];
        } else if (open < 0) {
            open = i;
        } else {
            cg_report(cg, CG_ERROR_ARGUMENT, "reshape", "%s has more than one -1", cg_shape_text(cg, *shape));
            return false;
        }
    }
    if (open < 0) return true;
    if (product <= 0 || cg_size(x) % product != 0) {
        cg_report(cg, CG_ERROR_ARGUMENT, "reshape", "no extent for the -1 of %s makes it the size of %s",
                  cg_shape_text(cg, *shape), cg_tensor_text(x));
        return false;
    }
    shape->size[open] = cg_size(x) / product;
    return true;
}

cg_tensor cg_reshape(cg_tensor x, cg_shape shape)
{
    cg_shape from = cg_shape_of(x);
    if (cg_is_null(x) || cg_shapes_equal(from, shape)) return x;
    if (from.rank >= 0 && !complete(x, &shape)) return (cg_tensor){0};
    return cg_apply(&reshape_op, &x, 1, shape.size, shape.rank);
}

/* ---- permute: attributes are the input's axes in their new order ------------------------------------------------- */

static bool permute_infer(const cg_call *call, cg_inferred *result)
{
    cg_shape in = call->input_shapes[0];
    if (call->attribute_count != in.rank)
        return cg_op_error(call, "%d axes for %s", call->attribute_count, cg_input_text(call, 0));
    result->shape[0].rank = in.rank;
    for (int i = 0; i < in.rank; i++) result->shape[0].size[i] = in.size[call->attributes[i]];
    result->dtype[0] = call->input_dtypes[0];
    return true;
}

static void permute_move(const cg_call *call, cg_mapping *mapping)
{
    for (int i = 0; i < call->attribute_count; i++) mapping->factor[call->attributes[i]][i] = 1;
}

static void permute_vjp(const cg_vjp *v, cg_tensor *result)
{
    cg_axes inverse = {.count = v->call->attribute_count};
    for (int i = 0; i < inverse.count; i++) inverse.axis[v->call->attributes[i]] = i;
    result[0] = cg_permute(v->cotangents[0], inverse);
}

static const cg_sample permute_samples[] = {
    {.shapes = {{2, {3, 4}}}, ATTRIBUTES(1, 0), .low = -2, .high = 2, .smooth = true},
    {.shapes = {{4, {2, 3, 1, 4}}}, ATTRIBUTES(3, 0, 1, 2), .low = -2, .high = 2, .smooth = true},
};

static const cg_op permute_op = {
    .name = "permute",
    .kind = CG_OP_MOVE,
    .inputs = 1,
    .infer = permute_infer,
    .move = permute_move,
    .vjp = permute_vjp,
    .text = {.formula = "axis i of the result is axis axes[i] of x",
             .call = "x, axes",
             .keras = "ops.transpose, layers.Permute",
             .pytorch = "permute"},
    SAMPLES(permute_samples),
};

cg_tensor cg_permute(cg_tensor x, cg_axes axes)
{
    cg_shape shape = cg_shape_of(x);
    int64_t mask, order[CG_MAX_RANK];
    bool moved = false;
    if (!cg_resolve_axes(x, "permute", axes, &mask)) return (cg_tensor){0};
    for (int i = 0; i < axes.count; i++) {
        order[i] = axes.axis[i] < 0 ? axes.axis[i] + shape.rank : axes.axis[i];
        moved |= order[i] != i;
    }
    if (axes.count == shape.rank && !moved) return x;
    return cg_apply(&permute_op, &x, 1, order, axes.count);
}

cg_tensor cg_transpose(cg_tensor x)
{
    cg_axes reversed = {.count = cg_shape_of(x).rank};
    for (int i = 0; i < reversed.count; i++) reversed.axis[i] = reversed.count - 1 - i;
    return cg_permute(x, reversed);
}

cg_tensor cg_swap_axes(cg_tensor x, int axis_a, int axis_b)
{
    cg_axes order = {.count = cg_shape_of(x).rank};
    if (!cg_resolve_axis(x, "swap_axes", &axis_a) || !cg_resolve_axis(x, "swap_axes", &axis_b)) return (cg_tensor){0};
    for (int i = 0; i < order.count; i++) order.axis[i] = i == axis_a ? axis_b : i == axis_b ? axis_a : i;
    return cg_permute(x, order);
}

/* ---- broadcast_to, sum_to_shape ---------------------------------------------------------------------------------- */

/* Whether `from` broadcasts to `to`. */
static bool broadcasts(cg_shape from, cg_shape to)
{
    int lead = to.rank - from.rank;
    if (from.rank < 0 || lead < 0) return false;
    for (int j = 0; j < from.rank; j++)
        if (from.size[j] != 1 && from.size[j] != to.size[lead + j]) return false;
    return true;
}

static bool broadcast_infer(const cg_call *call, cg_inferred *result)
{
    if (!shape_infer(call, result)) return false;
    if (broadcasts(call->input_shapes[0], result->shape[0])) return true;
    return cg_op_error(call, "%s does not broadcast to %s", cg_input_text(call, 0),
                       cg_shape_text(call->context, result->shape[0]));
}

static void broadcast_move(const cg_call *call, cg_mapping *mapping)
{
    const cg_shape *in = &call->input_shapes[0];
    int lead = call->attribute_count - in->rank;
    for (int j = 0; j < in->rank; j++) mapping->factor[j][lead + j] = in->size[j] != 1;
}

static void broadcast_vjp(const cg_vjp *v, cg_tensor *result)
{
    result[0] = cg_sum_to_shape(v->cotangents[0], cg_shape_of(v->inputs[0]));
}

static const cg_sample broadcast_samples[] = {
    {.shapes = {{2, {3, 1}}}, ATTRIBUTES(2, 3, 4), .low = -2, .high = 2, .smooth = true},
    {.shapes = {{0, {0}}}, ATTRIBUTES(2, 3), .low = -2, .high = 2, .smooth = true},
};

static const cg_op broadcast_op = {
    .name = "broadcast_to",
    .kind = CG_OP_MOVE,
    .inputs = 1,
    .infer = broadcast_infer,
    .move = broadcast_move,
    .vjp = broadcast_vjp,
    .text = {.formula = "x repeated along axes of extent 1 and along new axes in front",
             .call = "x, shape",
             .keras = "ops.broadcast_to",
             .pytorch = "broadcast_to"},
    SAMPLES(broadcast_samples),
};

cg_tensor cg_broadcast_to(cg_tensor x, cg_shape shape)
{
    if (cg_is_null(x) || cg_shapes_equal(cg_shape_of(x), shape)) return x;
    return cg_apply(&broadcast_op, &x, 1, shape.size, shape.rank);
}

cg_tensor cg_sum_to_shape(cg_tensor x, cg_shape shape)
{
    cg_shape from = cg_shape_of(x);
    if (cg_is_null(x) || cg_shapes_equal(from, shape)) return x;
    if (from.rank >= 0 && !broadcasts(shape, from)) {
        cg_context *cg = cg_context_of(x);
        return cg_report(cg, CG_ERROR_ARGUMENT, "sum_to_shape", "%s does not broadcast to %s", cg_shape_text(cg, shape),
                         cg_tensor_text(x));
    }
    cg_axes summed = {0};
    int lead = from.rank - shape.rank;
    for (int i = 0; i < from.rank; i++)
        if (i < lead || (shape.size[i - lead] == 1 && from.size[i] != 1)) summed.axis[summed.count++] = i;
    return cg_reshape(cg_sum(x, .axes = summed, .keepdims = true), shape);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static const cg_op *const list[] = {&reshape_op, &permute_op, &broadcast_op};
static const cg_op_function functions[] = {
    {"transpose",
     "permute",
     {.formula = "the axes in reverse order", .call = "x", .keras = "ops.transpose", .pytorch = "t (of matrices)"}},
    {"swap_axes",
     "permute",
     {.formula = "two axes exchanged", .call = "x, axis_a, axis_b", .keras = "ops.swapaxes", .pytorch = "swapaxes"}},
    {"sum_to_shape",
     "sum",
     {.formula = "x summed over the axes along which shape broadcasts to that of x: the derivative of broadcast_to",
      .call = "x, shape",
      .pytorch = "Tensor.sum_to_size"}},
};
const cg_op_family cg_ops_shape = {
    OPS(list), FUNCTIONS(functions), .title = "Shape",
    .introduction =
        "Views, where they can be: nothing is computed, and what reads them reads the original. Ranges are Python's."};

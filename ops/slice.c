/* Ops that take parts of tensors or put them together: slice, pad, concat. */
#include "ops/family.h"

/* ---- slice: attributes are, axis by axis, the starts, then the steps, then the extents --------------------------- */

static bool slice_infer(const cg_call *call, cg_inferred *result)
{
    cg_shape in = call->input_shapes[0];
    if (call->attribute_count != 3 * in.rank)
        return cg_op_error(call, "%d attributes for %s", call->attribute_count, cg_input_text(call, 0));
    result->shape[0].rank = in.rank;
    result->dtype[0] = call->input_dtypes[0];
    for (int i = 0; i < in.rank; i++) {
        int64_t start = call->attributes[i], step = call->attributes[in.rank + i];
        int64_t count = call->attributes[2 * in.rank + i], last = start + (count - 1) * step;
        result->shape[0].size[i] = count;
        if (count < 0 || (count > 0 && (start < 0 || start >= in.size[i] || last < 0 || last >= in.size[i])))
            return cg_op_error(call, "positions %lld to %lld of axis %d are outside %s", (long long)start,
                               (long long)last, i, cg_input_text(call, 0));
    }
    return true;
}

static void slice_move(const cg_call *call, cg_mapping *mapping)
{
    int rank = call->input_shapes[0].rank;
    for (int i = 0; i < rank; i++) {
        mapping->offset[i] = call->attributes[i];
        mapping->factor[i][i] = call->attributes[rank + i];
    }
}

/* Puts `step` - 1 zeros after each element of one axis, other than the last. */
static cg_tensor spread(cg_tensor x, int axis, int64_t step)
{
    cg_shape shape = cg_shape_of(x);
    int64_t outer = 1, inner = 1, count = shape.size[axis];
    for (int i = 0; i < axis; i++) outer *= shape.size[i];
    for (int i = axis + 1; i < shape.rank; i++) inner *= shape.size[i];
    cg_tensor cells = cg_reshape(x, CG_SHAPE(outer, count, 1, inner));
    cg_tensor padded = cg_pad(cells, CG_SHAPE(0, 0, 0, 0), CG_SHAPE(0, 0, step - 1, 0));
    cg_tensor line = cg_slice_axis(cg_reshape(padded, CG_SHAPE(outer, count * step, inner)), 1, 0,
                                   (count - 1) * step + 1);
    shape.size[axis] = (count - 1) * step + 1;
    return cg_reshape(line, shape);
}

/* The cotangent goes back to where its elements came from: turned forwards, spread by the step, surrounded by zeros. */
static void slice_vjp(const cg_vjp *v, cg_tensor *result)
{
    cg_tensor g = v->cotangents[0];
    const int64_t *attributes = v->call->attributes;
    cg_shape in = cg_shape_of(v->inputs[0]), before = {.rank = in.rank}, after = {.rank = in.rank};
    cg_ranges forwards = {.count = in.rank};
    for (int i = 0; i < in.rank; i++)
        forwards.range[i] = CG_RANGE(CG_NONE, CG_NONE, attributes[in.rank + i] < 0 ? -1 : 1);
    g = cg_slice_with(g, forwards);
    for (int i = 0; i < in.rank && !cg_is_null(g); i++) {
        int64_t start = attributes[i], step = attributes[in.rank + i], count = attributes[2 * in.rank + i];
        int64_t size = step < 0 ? -step : step, first = step < 0 ? start + (count - 1) * step : start;
        if (count == 0) first = 0;
        if (count > 1 && size > 1) g = spread(g, i, size);
        before.size[i] = first;
        after.size[i] = in.size[i] - first - (count > 0 ? (count - 1) * size + 1 : 0);
    }
    result[0] = cg_pad(g, before, after);
}

static const cg_sample slice_samples[] = {
    {.shapes = {{2, {4, 5}}}, ATTRIBUTES(1, 0, 1, 1, 2, 3), .low = -2, .high = 2, .smooth = true},
    {.shapes = {{2, {4, 7}}}, ATTRIBUTES(3, 1, -1, 3, 4, 2), .low = -2, .high = 2, .smooth = true},
    {.shapes = {{1, {7}}}, ATTRIBUTES(5, -2, 3), .low = -2, .high = 2, .smooth = true},
};

static const cg_op slice_op = {
    .name = "slice",
    .kind = CG_OP_MOVE,
    .inputs = 1,
    .infer = slice_infer,
    .move = slice_move,
    .shifts = true,
    .vjp = slice_vjp,
    .text = {.formula = "x[start:stop:step, ...] with a range for each of the first axes",
             .call = "x, ranges...",
             .keras = "ops.slice, layers.Cropping2D",
             .pytorch = "narrow"},
    SAMPLES(slice_samples),
};

static int64_t limit(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* A range on an axis of `size` as Python understands it: start, step and how many. */
static void resolve_range(cg_range range, int64_t size, int64_t *start, int64_t *step, int64_t *count)
{
    bool up = range.step > 0;
    int64_t low = up ? 0 : -1, high = up ? size : size - 1;
    int64_t from = range.start < 0 ? range.start + size : range.start;
    int64_t to = range.stop < 0 ? range.stop + size : range.stop;
    from = range.start == CG_NONE ? (up ? low : high) : limit(from, low, high);
    to = range.stop == CG_NONE ? (up ? high : low) : limit(to, low, high);
    int64_t span = up ? to - from : from - to;
    /* In unsigned numbers the step's size exists for every step. */
    uint64_t stride = up ? (uint64_t)range.step : 0 - (uint64_t)range.step;
    *count = span <= 0 ? 0 : (int64_t)(((uint64_t)span - 1) / stride + 1);
    *start = *count == 0 ? 0 : from;
    *step = *count <= 1 ? 1 : range.step;
}

cg_tensor cg_slice_with(cg_tensor x, cg_ranges ranges)
{
    cg_shape shape = cg_shape_of(x);
    cg_context *cg = cg_context_of(x);
    int64_t attributes[3 * CG_MAX_RANK];
    bool whole = true;
    if (shape.rank < 0) return cg_apply(&slice_op, &x, 1, NULL, 0);
    if (ranges.count > shape.rank)
        return cg_report(cg, CG_ERROR_ARGUMENT, "slice", "%d ranges for %s", ranges.count, cg_tensor_text(x));
    for (int i = 0; i < shape.rank; i++) {
        cg_range range = i < ranges.count ? ranges.range[i] : CG_WHOLE;
        if (range.step == 0)
            return cg_report(cg, CG_ERROR_ARGUMENT, "slice", "the step of axis %d of %s is 0", i, cg_tensor_text(x));
        int64_t *start = attributes + i, *step = start + shape.rank, *count = step + shape.rank;
        resolve_range(range, shape.size[i], start, step, count);
        whole &= *start == 0 && *step == 1 && *count == shape.size[i];
    }
    return whole ? x : cg_apply(&slice_op, &x, 1, attributes, 3 * shape.rank);
}

cg_tensor cg_slice_axis(cg_tensor x, int axis, int64_t start, int64_t stop)
{
    if (!cg_resolve_axis(x, "slice", &axis)) return (cg_tensor){0};
    cg_ranges ranges = {0};
    if (!cg_is_null(x) && cg_shape_of(x).rank >= 0) ranges.count = axis + 1;
    for (int i = 0; i < ranges.count; i++) ranges.range[i] = CG_WHOLE;
    if (ranges.count) ranges.range[axis] = CG_RANGE(start, stop, 1);
    return cg_slice_with(x, ranges);
}

/* ---- pad: attributes are, axis by axis, minus the zeros before, then the extents of the result ------------------- */

static bool pad_infer(const cg_call *call, cg_inferred *result)
{
    cg_shape in = call->input_shapes[0];
    if (call->attribute_count != 2 * in.rank)
        return cg_op_error(call, "%d attributes for %s", call->attribute_count, cg_input_text(call, 0));
    result->shape[0].rank = in.rank;
    result->dtype[0] = call->input_dtypes[0];
    for (int i = 0; i < in.rank; i++) {
        int64_t before = -call->attributes[i], after = call->attributes[in.rank + i] - before - in.size[i];
        if (before < 0 || after < 0)
            return cg_op_error(call, "%lld before and %lld after axis %d of %s: negative", (long long)before,
                               (long long)after, i, cg_input_text(call, 0));
        result->shape[0].size[i] = before + in.size[i] + after;
    }
    return true;
}

static void pad_move(const cg_call *call, cg_mapping *mapping)
{
    mapping->guarded = true;
    for (int i = 0; i < call->input_shapes[0].rank; i++) {
        mapping->offset[i] = call->attributes[i];
        mapping->factor[i][i] = 1;
    }
}

static void pad_vjp(const cg_vjp *v, cg_tensor *result)
{
    cg_shape in = cg_shape_of(v->inputs[0]);
    cg_ranges inside = {.count = in.rank};
    for (int i = 0; i < in.rank; i++) {
        int64_t before = -v->call->attributes[i];
        inside.range[i] = CG_RANGE(before, before + in.size[i], 1);
    }
    result[0] = cg_slice_with(v->cotangents[0], inside);
}

static const cg_sample pad_samples[] = {
    {.shapes = {{1, {3}}}, ATTRIBUTES(-2, 6), .low = -2, .high = 2, .smooth = true},
    {.shapes = {{3, {2, 3, 2}}}, ATTRIBUTES(-1, 0, 0, 3, 5, 5), .low = -2, .high = 2, .smooth = true},
};

static const cg_op pad_op = {
    .name = "pad",
    .kind = CG_OP_MOVE,
    .inputs = 1,
    .infer = pad_infer,
    .move = pad_move,
    .shifts = true,
    .vjp = pad_vjp,
    .text = {.formula = "x with before[i] and after[i] elements of value around axis i",
             .call = "x, before, after, .value",
             .keras = "ops.pad, layers.ZeroPadding2D",
             .pytorch = "nn.functional.pad"},
    SAMPLES(pad_samples),
};

static cg_tensor pad_zeros(cg_tensor x, const cg_shape *before, const cg_shape *after)
{
    cg_shape in = cg_shape_of(x);
    int64_t attributes[2 * CG_MAX_RANK];
    bool any = false;
    for (int i = 0; i < before->rank; i++) {
        attributes[i] = -before->size[i];
        attributes[before->rank + i] = before->size[i] + in.size[i] + after->size[i];
        any |= before->size[i] != 0 || after->size[i] != 0;
    }
    return any ? cg_apply(&pad_op, &x, 1, attributes, 2 * before->rank) : x;
}

cg_tensor cg_pad_with(cg_tensor x, cg_shape before, cg_shape after, const cg_pad_options *options)
{
    cg_shape shape = cg_shape_of(x);
    cg_context *cg = cg_context_of(x);
    if (shape.rank < 0) return cg_apply(&pad_op, &x, 1, NULL, 0);
    if (before.rank != shape.rank || after.rank != shape.rank)
        return cg_report(cg, CG_ERROR_ARGUMENT, "pad", "%d and %d entries for the %d axes of %s", before.rank,
                         after.rank, shape.rank, cg_tensor_text(x));
    cg_tensor padded = pad_zeros(x, &before, &after);
    if (!options || options->value == 0) return padded;
    cg_tensor inside = pad_zeros(cg_ones(cg, shape, .dtype = CG_BOOL), &before, &after);
    return cg_where(inside, padded, cg_number_like(x, options->value));
}

/* ---- concat: attribute is the axis ------------------------------------------------------------------------------- */

static bool concat_infer(const cg_call *call, cg_inferred *result)
{
    int64_t axis = call->attributes[0];
    cg_shape *shape = &result->shape[0];
    *shape = call->input_shapes[0];
    result->dtype[0] = call->input_dtypes[0];
    for (int k = 1; k < call->input_count; k++) {
        cg_shape other = call->input_shapes[k];
        int64_t total = shape->size[axis];
        if (other.rank == shape->rank) {
            total += other.size[axis];
            other.size[axis] = shape->size[axis];
        }
        if (!cg_shapes_equal(other, *shape))
            return cg_op_error(call, "%s and %s differ in more than axis %lld", cg_input_text(call, 0),
                               cg_input_text(call, k), (long long)axis);
        shape->size[axis] = total;
        result->dtype[0] = cg_promote(result->dtype[0], call->input_dtypes[k]);
    }
    return true;
}

/* Each input is padded to the whole extent, and chosen where the position along the axis is before its end and not
 * before that of the inputs in front of it. Choosing, unlike adding, keeps -0 and lets no NaN out. */
static void concat_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    int64_t axis = call->attributes[0], total = 0, end = 0;
    for (int k = 0; k < call->input_count; k++) total += call->input_shapes[k].size[axis];
    cg_shape line = {.rank = call->input_shapes[0].rank}, before = line, after = line;
    for (int i = 0; i < line.rank; i++) line.size[i] = i == axis ? total : 1;
    cg_tensor position = cg_index(call->context, line), result = {0};
    cg_dtype dtype = call->input_dtypes[0];
    for (int k = 0; k < call->input_count; k++) {
        int64_t size = call->input_shapes[k].size[axis];
        before.size[axis] = end;
        after.size[axis] = total - end - size;
        cg_tensor piece = cg_pad(inputs[k], before, after);
        cg_tensor boundary = cg_size_scalar(call->context, CG_I32, (double)end);
        result = k == 0 ? piece : cg_where(cg_less(position, boundary), result, piece);
        end += size;
        dtype = cg_promote(dtype, call->input_dtypes[k]);
    }
    outputs[0] = cg_cast(result, dtype);
}

static const cg_sample concat_samples[] = {
    {.shapes = {{2, {2, 3}}, {2, {1, 3}}, {2, {3, 3}}}, ATTRIBUTES(0), .low = -2, .high = 2, .smooth = true},
    {.shapes = {{3, {2, 3, 2}}, {3, {2, 1, 2}}}, ATTRIBUTES(1), .low = -2, .high = 2, .smooth = true},
    {.shapes = {{1, {4}}, {1, {3}}}, ATTRIBUTES(0), .dtypes = {CG_I32, CG_F32}, .low = -9, .high = 9},
};

static const cg_op concat_op = {
    .name = "concat",
    .kind = CG_OP_COMPOSED,
    .inputs = -1,
    .infer = concat_infer,
    .expand = concat_expand,
    .text = {.formula = "the tensors one after the other along an axis",
             .call = "tensors, count, axis",
             .keras = "ops.concatenate, layers.Concatenate",
             .pytorch = "cat"},
    SAMPLES(concat_samples),
};

/* A call takes so many inputs; the results of further calls are joined in turn. */
static cg_tensor concat_chunks(const cg_tensor *tensors, int count, int64_t axis)
{
    if (count <= CG_MAX_INPUTS) return count == 1 ? tensors[0] : cg_apply(&concat_op, tensors, count, &axis, 1);
    int chunk = CG_MAX_INPUTS, chunks = 0;
    while ((count - 1) / chunk >= CG_MAX_INPUTS) chunk *= CG_MAX_INPUTS;
    cg_tensor joined[CG_MAX_INPUTS];
    for (int first = 0; first < count; first += chunk)
        joined[chunks++] = concat_chunks(tensors + first, count - first < chunk ? count - first : chunk, axis);
    return cg_apply(&concat_op, joined, chunks, &axis, 1);
}

cg_tensor cg_concat(const cg_tensor *tensors, int count, int axis)
{
    for (int k = 0; k < count; k++)
        if (cg_is_null(tensors[k])) return cg_report_null_operand("concat", tensors, count, k);
    if (count <= 0 || !cg_resolve_axis(tensors[0], "concat", &axis)) return (cg_tensor){0};
    return concat_chunks(tensors, count, axis);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static const cg_op *const list[] = {&slice_op, &pad_op, &concat_op};
static const cg_op_function functions[] = {
    {"slice_axis",
     "slice",
     {.formula = "x[start:stop] along one axis", .call = "x, axis, start, stop", .pytorch = "narrow"}},
};
const cg_op_family cg_ops_slice = {OPS(list), FUNCTIONS(functions), .title = "Shape"};

/* Ways to arrange elements that other ops make up: axes of extent 1, reversal, stacks and parts, repetition, rotation.
 * No descriptors: what is recorded are views, so derivatives of every order come from theirs. */
#include "ops/family.h"

/* ---- Axes of extent 1 -------------------------------------------------------------------------------------------- */

cg_tensor cg_squeeze_with(cg_tensor x, const cg_axes_options *options)
{
    const cg_shape shape = cg_shape_of(x);
    cg_shape kept = {0};
    int64_t mask = 0;
    if (shape.rank < 0) return cg_reshape(x, shape);
    const bool named = options && options->axes.count > 0;
    if (named && !cg_resolve_axes(x, "squeeze", options->axes, &mask)) return (cg_tensor){0};
    for (int i = 0; i < shape.rank; i++) {
        const bool drops = named ? mask >> i & 1 : shape.size[i] == 1;
        if (drops && shape.size[i] != 1)
            return cg_report(cg_context_of(x), CG_ERROR_ARGUMENT, "squeeze", "axis %d of %s has %lld elements", i,
                             cg_tensor_text(x), (long long)shape.size[i]);
        if (!drops) kept.size[kept.rank++] = shape.size[i];
    }
    return cg_reshape(x, kept);
}

/* With an axis of extent 1 in front of axis `at`, which may be the rank. */
static cg_tensor with_axis(cg_tensor x, int at)
{
    cg_shape shape = cg_shape_of(x);
    for (int i = shape.rank++; i > at; i--) shape.size[i] = shape.size[i - 1];
    shape.size[at] = 1;
    return cg_reshape(x, shape);
}

/* A place for a new axis, counted in the result. Reports under `op`. */
static bool resolve_new_axis(cg_tensor x, const char *op, int *axis)
{
    const int rank = cg_shape_of(x).rank + 1, resolved = *axis < 0 ? *axis + rank : *axis;
    if (rank == 0) return true; /* null: for the op to deal with */
    if (rank > CG_MAX_RANK || resolved < 0 || resolved >= rank) {
        cg_report(cg_context_of(x), CG_ERROR_ARGUMENT, op, "%s can have no new axis %d", cg_tensor_text(x), *axis);
        return false;
    }
    *axis = resolved;
    return true;
}

cg_tensor cg_expand_dims(cg_tensor x, int axis)
{
    if (cg_shape_of(x).rank < 0) return cg_reshape(x, cg_shape_of(x));
    return resolve_new_axis(x, "expand_dims", &axis) ? with_axis(x, axis) : (cg_tensor){0};
}

/* Many are joined by halves, since a call takes so many inputs. */
static cg_tensor stacked(const cg_tensor *tensors, int count, int axis)
{
    cg_tensor parts[CG_MAX_INPUTS];
    if (count > CG_MAX_INPUTS) {
        parts[0] = stacked(tensors, count / 2, axis);
        parts[1] = stacked(tensors + count / 2, count - count / 2, axis);
        return cg_concat(parts, 2, axis);
    }
    for (int k = 0; k < count; k++) parts[k] = with_axis(tensors[k], axis);
    return cg_concat(parts, count, axis);
}

cg_tensor cg_stack(const cg_tensor *tensors, int count, int axis)
{
    for (int k = 0; k < count; k++) {
        if (cg_is_null(tensors[k])) return cg_report_null_operand("stack", tensors, count, k);
        if (!cg_shapes_equal(cg_shape_of(tensors[k]), cg_shape_of(tensors[0])))
            return cg_report(cg_context_of(tensors[0]), CG_ERROR_ARGUMENT, "stack", "%s and %s differ",
                             cg_tensor_text(tensors[0]), cg_tensor_text(tensors[k]));
    }
    if (count <= 0 || !resolve_new_axis(tensors[0], "stack", &axis)) return (cg_tensor){0};
    return stacked(tensors, count, axis);
}

/* ---- Parts ------------------------------------------------------------------------------------------------------- */

bool cg_split(cg_tensor x, int parts, int axis, cg_tensor *results)
{
    const cg_shape shape = cg_shape_of(x);
    for (int i = 0; i < parts; i++) results[i] = (cg_tensor){0};
    if (!cg_resolve_axis(x, "split", &axis)) return false;
    if (shape.rank >= 0 && (parts <= 0 || shape.size[axis] % parts != 0)) {
        cg_report(cg_context_of(x), CG_ERROR_ARGUMENT, "split", "axis %d of %s does not divide into %d parts", axis,
                  cg_tensor_text(x), parts);
        return false;
    }
    const int64_t extent = shape.rank < 0 ? 0 : shape.size[axis] / parts;
    bool ok = true;
    for (int i = 0; i < parts; i++) {
        results[i] = cg_slice_axis(x, axis, i * extent, (i + 1) * extent);
        ok &= !cg_is_null(results[i]);
    }
    return ok;
}

/* ---- Reversal, rotation ------------------------------------------------------------------------------------------ */

cg_tensor cg_flip_with(cg_tensor x, const cg_axes_options *options)
{
    cg_ranges ranges = {0};
    int64_t mask;
    if (!cg_resolve_axes(x, "flip", options ? options->axes : (cg_axes){0}, &mask)) return (cg_tensor){0};
    if (cg_shape_of(x).rank > 0) ranges.count = cg_shape_of(x).rank;
    for (int i = 0; i < ranges.count; i++) ranges.range[i] = CG_RANGE(CG_NONE, CG_NONE, mask >> i & 1 ? -1 : 1);
    return cg_slice_with(x, ranges);
}

cg_tensor cg_roll(cg_tensor x, int64_t shift, int axis)
{
    const cg_shape shape = cg_shape_of(x);
    if (shape.rank < 0) return cg_slice_axis(x, axis, 0, 0);
    if (!cg_resolve_axis(x, "roll", &axis)) return (cg_tensor){0};
    const int64_t extent = shape.size[axis], places = extent > 0 ? (shift % extent + extent) % extent : 0;
    if (places == 0) return x;
    cg_tensor last = cg_slice_axis(x, axis, extent - places, extent),
              first = cg_slice_axis(x, axis, 0, extent - places);
    return cg_concat((cg_tensor[]){last, first}, 2, axis);
}

/* ---- Repetition -------------------------------------------------------------------------------------------------- */

static int64_t extent_of(const cg_shape *shape, int from, int to)
{
    int64_t extent = 1;
    for (int i = from; i < to; i++) extent *= shape->size[i];
    return extent;
}

/* x with each block of elements from `axis` on (the axis itself included, or not) repeated on the spot. */
static cg_tensor repeat_blocks(cg_tensor x, int axis, bool included, int64_t times)
{
    cg_shape shape = cg_shape_of(x);
    const int split = included ? axis : axis + 1;
    const int64_t outer = extent_of(&shape, 0, split), inner = extent_of(&shape, split, shape.rank);
    shape.size[axis] *= times;
    cg_tensor blocks = cg_reshape(x, CG_SHAPE(outer, 1, inner));
    return cg_reshape(cg_broadcast_to(blocks, CG_SHAPE(outer, times, inner)), shape);
}

static cg_tensor no_times(cg_tensor x, const char *op, int64_t times)
{
    return cg_report(cg_context_of(x), CG_ERROR_ARGUMENT, op, "%s cannot be repeated %lld times", cg_tensor_text(x),
                     (long long)times);
}

cg_tensor cg_repeat(cg_tensor x, int64_t times, int axis)
{
    if (!cg_resolve_axis(x, "repeat", &axis)) return (cg_tensor){0};
    if (cg_shape_of(x).rank < 0) return cg_reshape(x, cg_shape_of(x));
    if (times < 0) return no_times(x, "repeat", times);
    return repeat_blocks(x, axis, false, times);
}

cg_tensor cg_tile(cg_tensor x, cg_shape times)
{
    const int rank = cg_shape_of(x).rank;
    if (rank < 0) return cg_reshape(x, cg_shape_of(x));
    for (int i = 0; i < times.rank; i++)
        if (times.size[i] < 0) return no_times(x, "tile", times.size[i]);
    while (cg_shape_of(x).rank >= 0 && cg_shape_of(x).rank < times.rank) x = with_axis(x, 0);
    const int lead = cg_shape_of(x).rank - times.rank;
    for (int i = 0; i < times.rank && !cg_is_null(x); i++)
        if (times.size[i] != 1) x = repeat_blocks(x, lead + i, true, times.size[i]);
    return x;
}

/* ------------------------------------------------------------------------------------------------------------------ */

static const cg_op_function functions[] = {
    {"stack",
     "concat",
     {.formula = "the tensors, of one shape, along a new axis",
      .call = "tensors, count, axis",
      .keras = "ops.stack",
      .pytorch = "stack"}},
    {"split",
     "slice",
     {.formula = "equal parts along an axis",
      .call = "x, parts, axis, results",
      .keras = "ops.split",
      .pytorch = "tensor_split"}},
    {"squeeze",
     "reshape",
     {.formula = "x without the axes of extent 1, or without those given",
      .call = "x, .axes",
      .keras = "ops.squeeze",
      .pytorch = "squeeze"}},
    {"expand_dims",
     "reshape",
     {.formula = "x with a new axis of extent 1, at that place of the result",
      .call = "x, axis",
      .keras = "ops.expand_dims",
      .pytorch = "unsqueeze"}},
    {"flip",
     "slice",
     {.formula = "x backwards along all axes, or those given",
      .call = "x, .axes",
      .keras = "ops.flip",
      .pytorch = "flip"}},
    {"roll",
     "concat",
     {.formula = "x moved by shift places along an axis, what leaves at one end coming in at the other",
      .call = "x, shift, axis",
      .keras = "ops.roll",
      .pytorch = "roll"}},
    {"repeat",
     "broadcast_to",
     {.formula = "each element so many times in a row along an axis",
      .call = "x, times, axis",
      .keras = "ops.repeat",
      .pytorch = "repeat_interleave"}},
    {"tile",
     "broadcast_to",
     {.formula = "all of x repeated times[i] times along axis i, counted from the last",
      .call = "x, times",
      .keras = "ops.tile",
      .pytorch = "tile"}},
};
const cg_op_family cg_ops_arrange = {FUNCTIONS(functions), .title = "Shape"};

/* Ops whose indices differ from line to line along an axis: gather_along, scatter_add_along, and what sorts need,
 * orders and their inverses. Kernels see three axes, [outer, count, inner]. An index outside its bounds is reported, as
 * by gather. */
#include "ops/family.h"

#include <clgrad/scans.h>

static bool indices_fit(const cg_call *call, bool same_count)
{
    const cg_shape *x = &call->input_shapes[0], *indices = &call->input_shapes[1];
    const int axis = (int)call->attributes[0];
    const cg_dtype dtype = call->input_dtypes[1];
    bool fits = x->rank == indices->rank && axis >= 0 && axis < x->rank;
    for (int i = 0; fits && i < x->rank; i++) fits = x->size[i] == indices->size[i] || (i == axis && !same_count);
    if (!fits)
        return cg_op_error(call, "%s and indices %s do not fit along axis %d", cg_input_text(call, 0),
                           cg_input_text(call, 1), axis);
    return dtype == CG_I32 || dtype == CG_U8 ||
           cg_op_error(call, "indices are %s, not i32 or u8", cg_dtype_name(dtype));
}

/* ---- gather_along: the attribute is the axis --------------------------------------------------------------------- */

static bool gather_infer(const cg_call *call, cg_inferred *result)
{
    result->shape[0] = call->input_shapes[1];
    result->dtype[0] = call->input_dtypes[0];
    return indices_fit(call, false);
}

/* p0: inner; p1: indices of a line; p2: its elements. */
static bool gather_launch(const cg_call *call, cg_launch *launch)
{
    const cg_lines lines = cg_lines_of(call->input_shapes[1], (int)call->attributes[0]);
    const int64_t size = call->input_shapes[0].size[call->attributes[0]];
    *launch = (cg_launch){lines.outer * lines.count * lines.inner, {lines.inner, lines.count, size}, 3};
    return true;
}

static void gather_vjp(const cg_vjp *v, cg_tensor *result)
{
    const int axis = (int)v->call->attributes[0];
    result[0] = cg_scatter_add_along(v->cotangents[0], v->inputs[1], axis, cg_shape_of(v->inputs[0]).size[axis]);
}

static const cg_sample gather_samples[] = {
    {.shapes = {{2, {3, 4}}, {2, {3, 6}}},
     .dtypes = {CG_F32, CG_I32},
     ATTRIBUTES(1),
     .low = 0,
     .high = 3,
     .smooth = true},
    {.shapes = {{3, {2, 4, 3}}, {3, {2, 2, 3}}},
     .dtypes = {CG_F32, CG_U8},
     ATTRIBUTES(1),
     .low = 0,
     .high = 3,
     .smooth = true},
    {.shapes = {{1, {4}}, {1, {5}}}, .dtypes = {CG_I32, CG_I32}, ATTRIBUTES(0), .low = 0, .high = 3},
};

static const cg_op gather_op = {
    .name = "gather_along",
    .kind = CG_OP_KERNEL,
    .inputs = 2,
    .infer = gather_infer,
    .reports = true,
    .source = GATHER("in1[i]"),
    .launch = gather_launch,
    .vjp = gather_vjp,
    .text = {.formula = "x[indices[k]] along an axis, each line by its own indices",
             .call = "x, indices, axis",
             .edges = "an index outside is reported",
             .keras = "ops.take_along_axis",
             .pytorch = "take_along_dim, gather"},
    SAMPLES(gather_samples),
};

cg_tensor cg_gather_along(cg_tensor x, cg_tensor indices, int axis)
{
    if (!cg_resolve_axis(x, "gather_along", &axis)) return (cg_tensor){0};
    return cg_apply(&gather_op, (cg_tensor[]){x, indices}, 2, (int64_t[]){axis}, 1);
}

/* ---- scatter_add_along: attributes are the axis, its extent, and whether the indices of each line ascend --------- */

static bool scatter_infer(const cg_call *call, cg_inferred *result)
{
    const int64_t size = call->attributes[1];
    result->shape[0] = call->input_shapes[0];
    result->dtype[0] = call->input_dtypes[0];
    if (!indices_fit(call, true)) return false;
    if (call->input_dtypes[0] == CG_BOOL) return cg_op_error(call, "bools cannot be added");
    if (size < 0) return cg_op_error(call, "an axis of extent %lld", (long long)size);
    result->shape[0].size[call->attributes[0]] = size;
    return true;
}

/* An item owns a range of places in a line, so that the order of the additions is that of the indices. It reads all
 * indices of the line, or, where they ascend, those of its range. */
enum { SCATTER_ITEMS = 256, ORDERED_RANGE = 256 };

/* p0: inner; p1: indices of a line; p2: its places; p3: ranges; p4: places of a range; p5: whether indices ascend. */
static bool scatter_launch(const cg_call *call, cg_launch *launch)
{
    const cg_lines lines = cg_lines_of(call->input_shapes[0], (int)call->attributes[0]);
    const int64_t size = call->attributes[1], all = lines.outer * lines.inner;
    const int64_t few = all > 0 && all < SCATTER_ITEMS ? (SCATTER_ITEMS + all - 1) / all : 1;
    int64_t range = call->attributes[2] ? ORDERED_RANGE : (size + few - 1) / few;
    if (range < 1) range = 1;
    const int64_t ranges = (size + range - 1) / range;
    *launch = (cg_launch){all * ranges, {lines.inner, lines.count, size, ranges, range, call->attributes[2]}, 6};
    return true;
}

static void scatter_vjp(const cg_vjp *v, cg_tensor *result)
{
    result[0] = cg_gather_along(v->cotangents[0], v->inputs[1], (int)v->call->attributes[0]);
}

static const cg_sample scatter_samples[] = {
    {.shapes = {{2, {3, 6}}, {2, {3, 6}}},
     .dtypes = {CG_F32, CG_I32},
     ATTRIBUTES(1, 4, 0),
     .low = 0,
     .high = 3,
     .smooth = true},
    {.shapes = {{3, {2, 5, 3}}, {3, {2, 5, 3}}},
     .dtypes = {CG_F32, CG_U8},
     ATTRIBUTES(1, 4, 0),
     .low = 0,
     .high = 3,
     .smooth = true},
    {.shapes = {{2, {2, 600}}, {2, {2, 600}}}, .dtypes = {CG_I32, CG_I32}, ATTRIBUTES(1, 300, 0), .high = 299},
};

static const cg_op scatter_op = {
    .name = "scatter_add_along",
    .kind = CG_OP_KERNEL,
    .inputs = 2,
    .infer = scatter_infer,
    .reports = true,
    .source = "const long column = i % p0, line = i / (p0 * p3), from = i / p0 % p3 * p4, to = min(from + p4, p2);\n"
              "long k = 0;\n"
              "for (long j = from; j < to; j++) out0[(line * p2 + j) * p0 + column] = 0;\n"
              "for (long end = p5 && from > 0 ? p1 : 0; k < end;) {\n"
              "    const long middle = k + (end - k) / 2;\n"
              "    if (in1[(line * p1 + middle) * p0 + column] < from)\n"
              "        k = middle + 1;\n"
              "    else\n"
              "        end = middle;\n"
              "}\n"
              "for (; k < p1; k++) {\n"
              "    const long at = (line * p1 + k) * p0 + column, index = in1[at];\n"
              "    if (index >= from && index < to)\n"
              "        out0[(line * p2 + index) * p0 + column] += in0[at];\n"
              "    else if (index < 0 || index >= p2)\n"
              "        { REPORT(index, p2); }\n"
              "    else if (p5 && index >= to)\n"
              "        break;\n"
              "}\n",
    .launch = scatter_launch,
    .vjp = scatter_vjp,
    .text = {.formula = "place j along an axis: the sum of the updates of its line whose index is j, in their order",
             .call = "updates, indices, axis, size",
             .edges = "an index outside is reported",
             .pytorch = "scatter_add (onto zeros)"},
    SAMPLES(scatter_samples),
};

cg_tensor cg_scatter_ordered(cg_tensor updates, cg_tensor indices, int axis, int64_t size)
{
    return cg_apply(&scatter_op, (cg_tensor[]){updates, indices}, 2, (int64_t[]){axis, size, true}, 3);
}

/* Lines with many indices for many places are sorted by them: no range needs to read all. */
enum { MOST_READ_AGAIN = 4096 };

bool cg_is_scattered_sorted(cg_tensor updates, cg_tensor indices, int axis, int64_t size)
{
    const cg_shape shape = cg_shape_of(updates);
    return shape.rank > 0 && cg_shapes_equal(shape, cg_shape_of(indices)) && shape.size[axis] > MOST_READ_AGAIN &&
           size > MOST_READ_AGAIN;
}

cg_tensor cg_scatter_add_along(cg_tensor updates, cg_tensor indices, int axis, int64_t size)
{
    if (!cg_resolve_axis(updates, "scatter_add_along", &axis)) return (cg_tensor){0};
    if (cg_is_scattered_sorted(updates, indices, axis, size)) {
        cg_tensor order = cg_argsort(indices, axis);
        return cg_scatter_ordered(cg_reordered(updates, order, axis), cg_gather_along(indices, order, axis), axis,
                                  size);
    }
    return cg_apply(&scatter_op, (cg_tensor[]){updates, indices}, 2, (int64_t[]){axis, size, false}, 3);
}

/* ---- inverse_order: where each place of a line is in the order; the attribute is the axis ------------------------ */

static bool inverse_infer(const cg_call *call, cg_inferred *result)
{
    result->shape[0] = call->input_shapes[0];
    result->dtype[0] = CG_I32;
    return true;
}

/* p0: inner; p1: count. */
static bool inverse_launch(const cg_call *call, cg_launch *launch)
{
    const cg_lines lines = cg_lines_of(call->input_shapes[0], (int)call->attributes[0]);
    *launch = (cg_launch){lines.outer * lines.count * lines.inner, {lines.inner, lines.count}, 2};
    return true;
}

/* Every place is written, by one item: an order names each once. */
static const cg_op inverse_op = {
    .name = "inverse_order",
    .kind = CG_OP_KERNEL,
    .inputs = 1,
    .infer = inverse_infer,
    .source = "out0[(i / (p0 * p1) * p1 + in0[i]) * p0 + i % p0] = (int)(i / p0 % p1);\n",
    .launch = inverse_launch,
    .zero_gradient = true,
};

/* ---- reorder: gather_along by an order, which names each element of a line once; the attribute is the axis ------- */

static void reorder_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    outputs[0] = cg_gather_along(inputs[0], inputs[1], (int)call->attributes[0]);
}

/* Nothing needs to be added up. */
static void reorder_vjp(const cg_vjp *v, cg_tensor *result)
{
    const int64_t *axis = &v->call->attributes[0];
    result[0] = cg_reordered(v->cotangents[0], cg_apply(&inverse_op, &v->inputs[1], 1, axis, 1), (int)*axis);
}

/* The order of a line of one element; sort's samples have longer ones. */
static const cg_sample reorder_samples[] = {
    {.shapes = {{2, {3, 1}}, {2, {3, 1}}}, .dtypes = {CG_F32, CG_I32}, ATTRIBUTES(1), .high = 0, .smooth = true},
};

static const cg_op reorder_op = {
    .name = "reorder",
    .kind = CG_OP_COMPOSED,
    .inputs = 2,
    .infer = gather_infer,
    .expand = reorder_expand,
    .deferred = true,
    .vjp = reorder_vjp,
    .text = {.formula = "gather_along by an order, which names each element of a line once", .internal = true},
    SAMPLES(reorder_samples),
};

cg_tensor cg_reordered(cg_tensor x, cg_tensor order, int axis)
{
    return cg_apply(&reorder_op, (cg_tensor[]){x, order}, 2, (int64_t[]){axis}, 1);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static const cg_op *const list[] = {&gather_op, &scatter_op, &reorder_op};
const cg_op_family cg_ops_along = {OPS(list), .title = "Scans and sorts"};

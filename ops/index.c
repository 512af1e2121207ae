/* Ops with indices: one_hot, gather along an axis, and scatter_add, which is gather's derivative as gather is its. An
 * index outside its bounds is reported by the kernel that meets it, which then reads and writes nothing for it. */
#include "ops/family.h"

#include <clgrad/scans.h>

static bool is_index(const cg_call *call, int input)
{
    cg_dtype dtype = call->input_dtypes[input];
    if (dtype == CG_I32 || dtype == CG_U8) return true;
    return cg_op_error(call, "indices are %s, not i32 or u8", cg_dtype_name(dtype));
}

/* ---- one_hot ----------------------------------------------------------------------------------------------------- */

static double is_class_host(const double *x)
{
    return x[0] == x[2];
}

/* label, number of classes, class: whether the label, which is checked, is this class. */
static const cg_op is_class_op = {
    .name = "one_hot",
    .kind = CG_OP_MAP,
    .inputs = 3,
    .expression = "INDEX_CHECK(a, b) == c",
    .predicate = true,
    .reports = true,
    .cost = 2,
    .host = is_class_host,
    .zero_gradient = true,
};

/* Attributes: number of classes, dtype of the result. */
static bool one_hot_infer(const cg_call *call, cg_inferred *result)
{
    cg_shape *shape = &result->shape[0];
    *shape = call->input_shapes[0];
    if (!is_index(call, 0)) return false;
    if (call->attributes[0] < 0) return cg_op_error(call, "%lld classes", (long long)call->attributes[0]);
    if (shape->rank == CG_MAX_RANK) return cg_op_error(call, "%s has no room for another axis", cg_input_text(call, 0));
    shape->size[shape->rank++] = call->attributes[0];
    result->dtype[0] = (cg_dtype)call->attributes[1];
    return true;
}

static void one_hot_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    cg_shape column = call->input_shapes[0];
    column.size[column.rank++] = 1;
    cg_tensor classes = cg_size_scalar(call->context, CG_I32, (double)call->attributes[0]);
    cg_tensor each = cg_index(call->context, CG_SHAPE(call->attributes[0]));
    cg_tensor label = cg_cast(cg_reshape(inputs[0], column), CG_I32);
    outputs[0] = cg_cast(cg_map_3(&is_class_op, label, classes, each), (cg_dtype)call->attributes[1]);
}

static const cg_sample one_hot_samples[] = {
    {.shapes = {{2, {3, 2}}}, .dtypes = {CG_I32}, ATTRIBUTES(4, CG_F32), .low = 0, .high = 3},
    {.shapes = {{0, {0}}}, .dtypes = {CG_U8}, ATTRIBUTES(10, CG_BOOL), .low = 0, .high = 9},
};

static const cg_op one_hot_op = {
    .name = "one_hot",
    .kind = CG_OP_COMPOSED,
    .inputs = 1,
    .infer = one_hot_infer,
    .expand = one_hot_expand,
    .zero_gradient = true,
    .text = {.formula = "1 at the label, 0 elsewhere: [...] to [..., depth]",
             .call = "labels, depth, .dtype",
             .keras = "ops.one_hot",
             .pytorch = "nn.functional.one_hot",
             .dtypes = "i32, u8 → .dtype"},
    SAMPLES(one_hot_samples),
};

cg_tensor cg_one_hot_with(cg_tensor labels, int64_t depth, const cg_dtype_options *options)
{
    return cg_apply(&one_hot_op, &labels, 1, (int64_t[]){depth, options ? options->dtype : CG_F32}, 2);
}

/* ---- gather: attribute is the axis ------------------------------------------------------------------------------- */

static bool gather_infer(const cg_call *call, cg_inferred *result)
{
    const cg_shape *x = &call->input_shapes[0], *indices = &call->input_shapes[1];
    cg_shape *out = &result->shape[0];
    int axis = (int)call->attributes[0];
    if (!is_index(call, 1)) return false;
    if (x->rank - 1 + indices->rank > CG_MAX_RANK)
        return cg_op_error(call, "%s at %s has more than %d axes", cg_input_text(call, 0), cg_input_text(call, 1),
                           CG_MAX_RANK);
    *out = (cg_shape){0};
    for (int i = 0; i < axis; i++) out->size[out->rank++] = x->size[i];
    for (int i = 0; i < indices->rank; i++) out->size[out->rank++] = indices->size[i];
    for (int i = axis + 1; i < x->rank; i++) out->size[out->rank++] = x->size[i];
    result->dtype[0] = call->input_dtypes[0];
    return true;
}

/* p0: elements after the axis; p1: indices; p2: extent of the axis. */
static bool gather_launch(const cg_call *call, cg_launch *launch)
{
    const cg_shape *x = &call->input_shapes[0];
    int axis = (int)call->attributes[0];
    int64_t inner = 1, outer = 1, indices = cg_shape_size(call->input_shapes[1]);
    for (int i = 0; i < axis; i++) outer *= x->size[i];
    for (int i = axis + 1; i < x->rank; i++) inner *= x->size[i];
    *launch = (cg_launch){outer * indices * inner, {inner, indices, x->size[axis]}, 3};
    return true;
}

static void gather_vjp(const cg_vjp *v, cg_tensor *result)
{
    int axis = (int)v->call->attributes[0];
    result[0] = cg_scatter_add(v->cotangents[0], v->inputs[1], axis, cg_shape_of(v->inputs[0]).size[axis]);
}

static const cg_sample gather_samples[] = {
    {.shapes = {{2, {4, 3}}, {2, {2, 3}}},
     .dtypes = {CG_F32, CG_I32},
     ATTRIBUTES(0),
     .low = 0,
     .high = 3,
     .smooth = true},
    {.shapes = {{3, {2, 4, 3}}, {1, {5}}},
     .dtypes = {CG_F32, CG_U8},
     ATTRIBUTES(1),
     .low = 0,
     .high = 3,
     .smooth = true},
    {.shapes = {{1, {4}}, {0, {0}}}, .dtypes = {CG_BOOL, CG_I32}, ATTRIBUTES(0), .low = 0, .high = 1},
};

static const cg_op gather_op = {
    .name = "gather",
    .kind = CG_OP_KERNEL,
    .inputs = 2,
    .infer = gather_infer,
    .reports = true,
    .source = GATHER("in1[i / p0 % p1]"),
    .launch = gather_launch,
    .vjp = gather_vjp,
    .text = {.formula = "x[.., indices[k..], ..]: the axis replaced by those of the indices, as np.take",
             .call = "x, indices, axis",
             .keras = "ops.take",
             .pytorch = "index_select"},
    SAMPLES(gather_samples),
};

cg_tensor cg_gather(cg_tensor x, cg_tensor indices, int axis)
{
    if (!cg_resolve_axis(x, "gather", &axis)) return (cg_tensor){0};
    return cg_apply(&gather_op, (cg_tensor[]){x, indices}, 2, (int64_t[]){axis}, 1);
}

/* ---- scatter_add: attributes are the axis and its extent --------------------------------------------------------- */

static bool scatter_infer(const cg_call *call, cg_inferred *result)
{
    const cg_shape *updates = &call->input_shapes[0], *indices = &call->input_shapes[1];
    cg_shape *out = &result->shape[0];
    int axis = (int)call->attributes[0];
    bool fits = axis >= 0 && axis + indices->rank <= updates->rank;
    if (!is_index(call, 1)) return false;
    if (call->input_dtypes[0] == CG_BOOL) return cg_op_error(call, "bools cannot be added");
    if (call->attributes[1] < 0) return cg_op_error(call, "an axis of extent %lld", (long long)call->attributes[1]);
    for (int i = 0; fits && i < indices->rank; i++) fits = updates->size[axis + i] == indices->size[i];
    if (!fits || updates->rank - indices->rank + 1 > CG_MAX_RANK)
        return cg_op_error(call, "axes %d.. of updates %s are not those of the indices %s", axis,
                           cg_input_text(call, 0), cg_input_text(call, 1));
    *out = (cg_shape){0};
    for (int i = 0; i < axis; i++) out->size[out->rank++] = updates->size[i];
    out->size[out->rank++] = call->attributes[1];
    for (int i = axis + indices->rank; i < updates->rank; i++) out->size[out->rank++] = updates->size[i];
    result->dtype[0] = call->input_dtypes[0];
    return true;
}

/* The axis is cut into ranges, so that there are items enough even for one column; each item reads all indices, so
 * that there should not be more than that. p0: elements after the axis; p1: indices; p2: extent of the axis;
 * p3: ranges; p4: extent of a range. */
enum { SCATTER_ITEMS = 256 };

static bool scatter_launch(const cg_call *call, cg_launch *launch)
{
    const cg_shape *updates = &call->input_shapes[0], *indices = &call->input_shapes[1];
    int axis = (int)call->attributes[0];
    int64_t inner = 1, outer = 1, size = call->attributes[1];
    for (int i = 0; i < axis; i++) outer *= updates->size[i];
    for (int i = axis + indices->rank; i < updates->rank; i++) inner *= updates->size[i];
    int64_t columns = outer * inner, ranges = columns > 0 && columns < SCATTER_ITEMS ? SCATTER_ITEMS / columns : 1;
    if (ranges > size) ranges = size > 0 ? size : 1;
    int64_t range = (size + ranges - 1) / ranges;
    *launch = (cg_launch){columns * ranges, {inner, cg_shape_size(*indices), size, ranges, range}, 5};
    return true;
}

static void scatter_vjp(const cg_vjp *v, cg_tensor *result)
{
    result[0] = cg_gather(v->cotangents[0], v->inputs[1], (int)v->call->attributes[0]);
}

static const cg_sample scatter_samples[] = {
    {.shapes = {{2, {5, 3}}, {1, {5}}},
     .dtypes = {CG_F32, CG_I32},
     ATTRIBUTES(0, 4),
     .low = 0,
     .high = 3,
     .smooth = true},
    {.shapes = {{4, {2, 3, 2, 2}}, {2, {3, 2}}},
     .dtypes = {CG_F32, CG_U8},
     ATTRIBUTES(1, 4),
     .low = 0,
     .high = 3,
     .smooth = true},
    {.shapes = {{1, {600}}, {1, {600}}}, .dtypes = {CG_I32, CG_I32}, ATTRIBUTES(0, 300), .low = 0, .high = 299},
};

static const cg_op scatter_op = {
    .name = "scatter_add",
    .kind = CG_OP_KERNEL,
    .inputs = 2,
    .infer = scatter_infer,
    .reports = true,
    .source = "const long column = i % p0, outer = i / (p0 * p3), first = i / p0 % p3 * p4;\n"
              "const long last = min(first + p4, p2);\n"
              "for (long j = first; j < last; j++) out0[(outer * p2 + j) * p0 + column] = 0;\n"
              "for (long k = 0; k < p1; k++) {\n"
              "    const long index = in1[k];\n"
              "    if (index >= first && index < last)\n"
              "        out0[(outer * p2 + index) * p0 + column] += in0[(outer * p1 + k) * p0 + column];\n"
              "    else if (index < 0 || index >= p2)\n"
              "        { REPORT(index, p2); }\n"
              "}\n",
    .launch = scatter_launch,
    .vjp = scatter_vjp,
    .text = {.formula = "element j of the axis is the sum of the updates whose index is j, in their order",
             .call = "updates, indices, axis, size",
             .keras = "ops.segment_sum",
             .pytorch = "index_add"},
    SAMPLES(scatter_samples),
};

cg_tensor cg_scatter_add(cg_tensor updates, cg_tensor indices, int axis, int64_t size)
{
    int rank = cg_shape_of(updates).rank - cg_shape_of(indices).rank + 1;
    if (cg_shape_of(updates).rank == 1 && axis == 0 && cg_is_scattered_sorted(updates, indices, 0, size))
        return cg_scatter_add_along(updates, indices, 0, size);
    return cg_apply(&scatter_op, (cg_tensor[]){updates, indices}, 2, (int64_t[]){axis < 0 ? axis + rank : axis, size},
                    2);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static const cg_op *const list[] = {&one_hot_op, &gather_op, &scatter_op};
const cg_op_family cg_ops_index = {
    OPS(list), .title = "Indices",
    .introduction = "Indices are i32 or u8. One outside its bounds is reported at the next read or wait, and nothing "
                    "is read or written for it; of results that have no elements or that nothing asks for, none is, "
                    "since no kernel meets it. No derivative flows into indices."};

/* What sorts and counts tell: quantiles, the median, bincount. */
#include "ops/family.h"

#include <clgrad/scans.h>
#include <math.h>

/* ---- quantile: x, share of the upper rank; attributes: mask of the axes, keepdims, lower and upper rank ---------- */

static bool quantile_infer(const cg_call *call, cg_inferred *result)
{
    const cg_shape *x = &call->input_shapes[0];
    cg_shape *out = &result->shape[0];
    *out = (cg_shape){0};
    for (int i = 0; i < x->rank; i++) {
        const bool folded = call->attributes[0] >> i & 1;
        if (folded && x->size[i] == 0) return cg_op_error(call, "axis %d of %s is empty", i, cg_input_text(call, 0));
        if (!folded || call->attributes[1]) out->size[out->rank++] = folded ? 1 : x->size[i];
    }
    result->dtype[0] = cg_floating_dtype(call->input_dtypes[0]);
    return true;
}

/* x with the axes of the mask behind the others, joined to one. */
static cg_tensor joined_last(cg_tensor x, int64_t mask)
{
    const cg_shape shape = cg_shape_of(x);
    cg_shape joined = {0};
    cg_axes order = {0};
    int64_t count = 1;
    for (int i = 0; i < shape.rank; i++) {
        if (mask >> i & 1) continue;
        order.axis[order.count++] = i;
        joined.size[joined.rank++] = shape.size[i];
    }
    for (int i = 0; i < shape.rank; i++) {
        if (!(mask >> i & 1)) continue;
        order.axis[order.count++] = i;
        count *= shape.size[i];
    }
    joined.size[joined.rank++] = count;
    return cg_reshape(shape.rank > 0 ? cg_permute(x, order) : x, joined);
}

/* Weighted, not by the difference: between equal infinities it would be NaN. */
static void quantile_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    const int64_t lower = call->attributes[2], upper = call->attributes[3];
    cg_tensor sorted = joined_last(cg_to_floating(inputs[0]), call->attributes[0]);
    const int axis = cg_shape_of(sorted).rank - 1;
    const int64_t last = cg_shape_of(sorted).size[axis] - 1;
    sorted = cg_sort(sorted, axis);
    cg_tensor value = cg_slice_axis(sorted, axis, lower, lower + 1),
              largest = cg_slice_axis(sorted, axis, last, last + 1);
    if (upper > lower) {
        cg_tensor share = cg_cast(inputs[1], cg_dtype_of(sorted)), one = cg_literal_like(sorted, 1);
        value = cg_add(cg_mul(value, cg_sub(one, share)), cg_mul(cg_slice_axis(sorted, axis, upper, upper + 1), share));
    }
    cg_inferred out;
    quantile_infer(call, &out);
    outputs[0] = cg_reshape(cg_where(cg_is_nan(largest), largest, value), out.shape[0]);
}

static const cg_sample quantile_samples[] = {
    {.shapes = {{3, {2, 3, 4}}}, ATTRIBUTES(5, 0, 3, 4), .low = 0, .high = 1, .smooth = true},
    {.shapes = {{2, {3, 5}}}, ATTRIBUTES(2, 1, 2, 2), .low = 0, .high = 1, .smooth = true},
    {.shapes = {{2, {5, 3}}}, ATTRIBUTES(1, 0, 0, 1), .dtypes = {CG_I32}, .low = -9, .high = 9},
};

static const cg_op quantile_op = {
    .name = "quantile",
    .kind = CG_OP_COMPOSED,
    .inputs = 2,
    .infer = quantile_infer,
    .expand = quantile_expand,
    .text = {.formula = "the element of rank q (n - 1) of the n sorted ones over the axes; between two, by the rule",
             .call = "x, q, .axes, .keepdims, .rule",
             .edges = "NaN if there is one; the two elements share the cotangent",
             .keras = "ops.quantile",
             .pytorch = "quantile",
             .dtypes = "any → floating"},
    SAMPLES(quantile_samples),
};

/* The share of the element above `rank`, by the rule, where it is not a whole number. */
static double share_of_upper(double rank, cg_quantile_rule rule)
{
    const double part = rank - floor(rank);
    switch (rule) {
    case CG_QUANTILE_LOWER:
        return 0;
    case CG_QUANTILE_HIGHER:
        return part > 0;
    case CG_QUANTILE_NEAREST:
        return part > 0.5 || (part == 0.5 && fmod(floor(rank), 2) == 1);
    case CG_QUANTILE_MIDPOINT:
        return part > 0 ? 0.5 : 0;
    default:
        return part;
    }
}

cg_tensor cg_quantile_with(cg_tensor x, double q, const cg_quantile_options *options)
{
    const cg_quantile_options given = options ? *options : (cg_quantile_options){0};
    const cg_shape shape = cg_shape_of(x);
    int64_t mask, count = 1;
    if (cg_is_null(x)) return x;
    if (!cg_resolve_axes(x, "quantile", given.axes, &mask)) return (cg_tensor){0};
    if (!(q >= 0 && q <= 1))
        return cg_report(cg_context_of(x), CG_ERROR_ARGUMENT, "quantile", "%g is not in [0, 1]", q);
    for (int i = 0; i < shape.rank; i++)
        if (mask >> i & 1) count *= shape.size[i];
    const double rank = q * (double)(count - 1), share = share_of_upper(rank, given.rule);
    const int64_t below = (int64_t)rank, lower = share == 1 ? below + 1 : below, upper = share > 0 ? below + 1 : below;
    return cg_apply(&quantile_op, (cg_tensor[]){x, cg_scalar(cg_context_of(x), share)}, 2,
                    (int64_t[]){mask, given.keepdims, lower, upper}, 4);
}

cg_tensor cg_median_with(cg_tensor x, const cg_reduce_options *options)
{
    const cg_reduce_options given = options ? *options : (cg_reduce_options){0};
    return cg_quantile(x, 0.5, .axes = given.axes, .keepdims = given.keepdims);
}

/* ---- bincount: indices, weights or a number for all of them; the attribute is the number of bins ----------------- */

/* Blocks of indices have bins of their own, which are then added up, unless there are many bins. */
enum { MOST_BINS = 4096, COUNT_BLOCK = 4096, MOST_COUNT_BLOCKS = 1024 };

static int64_t count_blocks(int64_t indices)
{
    const int64_t blocks = (indices + COUNT_BLOCK - 1) / COUNT_BLOCK;
    return blocks < MOST_COUNT_BLOCKS ? blocks : MOST_COUNT_BLOCKS;
}

/* indices, weights of their shape or of rank 0 -> [blocks, bins] */
static bool count_infer(const cg_call *call, cg_inferred *result)
{
    result->shape[0] = CG_SHAPE(count_blocks(cg_shape_size(call->input_shapes[0])), call->attributes[0]);
    result->dtype[0] = call->input_dtypes[1];
    return true;
}

/* p0: indices; p1: blocks; p2: bins; p3: whether each index has a weight of its own. */
static bool count_launch(const cg_call *call, cg_launch *launch)
{
    const int64_t count = cg_shape_size(call->input_shapes[0]), blocks = count_blocks(count);
    *launch = (cg_launch){blocks, {count, blocks, call->attributes[0], call->input_shapes[1].rank > 0}, 4};
    return true;
}

static const cg_op count_op = {
    .name = "bincount",
    .kind = CG_OP_KERNEL,
    .inputs = 2,
    .infer = count_infer,
    .reports = true,
    .source = "__global OUT0_T *bins = out0 + i * p2;\n"
              "for (long k = 0; k < p2; k++) bins[k] = 0;\n"
              "for (long k = i * p0 / p1; k < (i + 1) * p0 / p1; k++) {\n"
              "    const long index = in0[k];\n"
              "    if (index >= 0 && index < p2)\n"
              "        bins[index] += in1[p3 ? k : 0];\n"
              "    else\n"
              "        { REPORT(index, p2); }\n"
              "}\n",
    .launch = count_launch,
    .zero_gradient = true,
};

static bool bincount_infer(const cg_call *call, cg_inferred *result)
{
    const cg_shape *indices = &call->input_shapes[0], *weights = &call->input_shapes[1];
    const cg_dtype dtype = call->input_dtypes[0];
    if (dtype != CG_I32 && dtype != CG_U8)
        return cg_op_error(call, "indices are %s, not i32 or u8", cg_dtype_name(dtype));
    if (weights->rank > 0 && !cg_shapes_equal(*indices, *weights))
        return cg_op_error(call, "weights %s for %s", cg_input_text(call, 1), cg_input_text(call, 0));
    if (call->input_dtypes[1] == CG_BOOL) return cg_op_error(call, "bools cannot be added");
    if (call->attributes[0] < 0) return cg_op_error(call, "%lld bins", (long long)call->attributes[0]);
    result->shape[0] = CG_SHAPE(call->attributes[0]);
    result->dtype[0] = call->input_dtypes[1];
    return true;
}

static void bincount_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    const int64_t bins = call->attributes[0];
    if (bins > MOST_BINS) {
        const cg_shape line = CG_SHAPE(cg_shape_size(call->input_shapes[0]));
        cg_tensor weights = cg_broadcast_to(inputs[1], call->input_shapes[0]);
        outputs[0] = cg_scatter_add_along(cg_reshape(weights, line), cg_reshape(inputs[0], line), 0, bins);
        return;
    }
    outputs[0] = cg_sum(cg_apply(&count_op, inputs, 2, &bins, 1), .axes = CG_AXES(0));
}

static void bincount_vjp(const cg_vjp *v, cg_tensor *result)
{
    cg_tensor each = cg_gather(v->cotangents[0], v->inputs[0], 0);
    result[1] = cg_sum_to_shape(each, cg_shape_of(v->inputs[1]));
}

static const cg_sample bincount_samples[] = {
    {.shapes = {{2, {3, 4}}, {2, {3, 4}}},
     .dtypes = {CG_I32, CG_F32},
     ATTRIBUTES(5),
     .low = 0,
     .high = 4,
     .smooth = true},
    {.shapes = {{1, {9000}}, {0, {0}}}, .dtypes = {CG_U8, CG_I32}, ATTRIBUTES(256), .low = 0, .high = 255},
};

static const cg_op bincount_op = {
    .name = "bincount",
    .kind = CG_OP_COMPOSED,
    .inputs = 2,
    .infer = bincount_infer,
    .expand = bincount_expand,
    .deferred = true,
    .vjp = bincount_vjp,
    .text = {.formula = "how many of the indices are k, for each k below bins, i32; or the sum of their weights",
             .call = "indices, bins, .weights",
             .edges = "an index outside is reported, and not counted",
             .keras = "ops.bincount",
             .pytorch = "bincount",
             .dtypes = "i32, u8"},
    SAMPLES(bincount_samples),
};

cg_tensor cg_bincount_with(cg_tensor indices, int64_t bins, const cg_bincount_options *options)
{
    cg_context *cg = cg_context_of(indices);
    cg_tensor weights = options ? options->weights : (cg_tensor){0};
    if (cg_is_null(weights)) {
        if (!cg || cg_status(cg) != CG_OK) return weights; /* they may be what failed */
        weights = cg_constant(cg, CG_I32, 1);
    }
    if (cg_dtype_of(weights) == CG_U8) weights = cg_cast(weights, CG_I32); /* as in cg_sum */
    return cg_apply(&bincount_op, (cg_tensor[]){indices, weights}, 2, &bins, 1);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static const cg_op *const list[] = {&quantile_op, &bincount_op};
static const cg_op_function functions[] = {
    {"median",
     "quantile",
     {.formula = "the quantile of 1/2",
      .call = "x, .axes, .keepdims",
      .edges = "as quantile",
      .keras = "ops.median",
      .pytorch = "median (the smaller of two)",
      .dtypes = "any → floating"}},
};
const cg_op_family cg_ops_statistics = {OPS(list), FUNCTIONS(functions), .title = "Scans and sorts"};

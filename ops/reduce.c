/* Reductions over any axes. sum, prod, max, min, all and any fold with an operator; mean, var, logsumexp, argmax and
 * argmin are composed of them. The attributes of all are a bit mask of the axes and keepdims. */
#include "ops/family.h"

#include <limits.h>
#include <math.h>

/* ---- Shapes ------------------------------------------------------------------------------------------------------ */

/* The input's shape with the axes of the mask at 1. */
static cg_shape kept_shape(cg_shape shape, int64_t mask)
{
    for (int i = 0; i < shape.rank; i++)
        if (mask >> i & 1) shape.size[i] = 1;
    return shape;
}

static bool infer_as(const cg_call *call, cg_inferred *result, cg_dtype dtype)
{
    int64_t mask = call->attributes[0];
    cg_shape in = call->input_shapes[0], *out = &result->shape[0];
    *out = (cg_shape){0};
    for (int i = 0; i < in.rank; i++) {
        bool reduced = mask >> i & 1;
        if (!reduced || call->attributes[1]) out->size[out->rank++] = reduced ? 1 : in.size[i];
    }
    result->dtype[0] = dtype;
    return true;
}

/* The same for folds that have no value over nothing. */
static bool infer_filled(const cg_call *call, cg_inferred *result, cg_dtype dtype)
{
    cg_shape in = call->input_shapes[0];
    for (int i = 0; i < in.rank; i++)
        if (call->attributes[0] >> i & 1 && in.size[i] == 0)
            return cg_op_error(call, "axis %d of %s is empty", i, cg_input_text(call, 0));
    return infer_as(call, result, dtype);
}

/* The op applied to the axes that the options name. */
static cg_tensor reduce(const cg_op *op, cg_tensor x, const cg_reduce_options *options)
{
    cg_reduce_options given = options ? *options : (cg_reduce_options){0};
    int64_t attributes[2] = {0, given.keepdims};
    if (!cg_resolve_axes(x, op->name, given.axes, &attributes[0])) return (cg_tensor){0};
    return cg_apply(op, &x, 1, attributes, 2);
}

/* The result of a fold, or its cotangent, with the reduced axes back at extent 1. */
static cg_tensor with_kept_axes(const cg_vjp *v, cg_tensor x)
{
    return cg_reshape(x, kept_shape(cg_shape_of(v->inputs[0]), v->call->attributes[0]));
}

/* ---- Samples: all axes, some, none that matter ------------------------------------------------------------------- */

#define REDUCE_SAMPLE(mask, keepdims) .shapes = {{3, {2, 3, 4}}}, ATTRIBUTES(mask, keepdims), .low = -2, .high = 2
static const cg_sample smooth_samples[] = {
    {REDUCE_SAMPLE(7, 0), .smooth = true},
    {REDUCE_SAMPLE(2, 1), .smooth = true},
    {REDUCE_SAMPLE(5, 0), .smooth = true},
    {.shapes = {{2, {3, 1}}}, ATTRIBUTES(2, 0), .low = -2, .high = 2, .smooth = true},
    {.shapes = {{0, {0}}}, ATTRIBUTES(0, 0), .low = -2, .high = 2, .smooth = true},
    {.shapes = {{2, {5, 300}}}, ATTRIBUTES(2, 0), .dtypes = {CG_I32}, .low = -9, .high = 9},
    {.shapes = {{2, {40, 30}}}, ATTRIBUTES(1, 0), .dtypes = {CG_U8}, .low = 0, .high = 255},
};
/* Of few elements, and of numbers near 1. */
static const cg_sample product_samples[] = {
    {REDUCE_SAMPLE(7, 0), .smooth = true},
    {REDUCE_SAMPLE(2, 1), .smooth = true},
    {REDUCE_SAMPLE(5, 0), .smooth = true},
    {.shapes = {{2, {3, 1}}}, ATTRIBUTES(2, 0), .low = -2, .high = 2, .smooth = true},
    {.shapes = {{0, {0}}}, ATTRIBUTES(0, 0), .low = -2, .high = 2, .smooth = true},
    {.shapes = {{2, {5, 300}}}, ATTRIBUTES(2, 0), .low = 0.9, .high = 1.1},
    {.shapes = {{2, {5, 9}}}, ATTRIBUTES(2, 0), .dtypes = {CG_I32}, .low = -3, .high = 3},
    {.shapes = {{2, {9, 5}}}, ATTRIBUTES(1, 0), .dtypes = {CG_U8}, .low = 0, .high = 9},
};
static const cg_sample truth_samples[] = {
    {REDUCE_SAMPLE(7, 0), .dtypes = {CG_BOOL}},
    {.shapes = {{2, {30, 3}}}, ATTRIBUTES(2, 1), .dtypes = {CG_BOOL}, .low = 0, .high = 1},
    {.shapes = {{2, {30, 3}}}, ATTRIBUTES(2, 0), .dtypes = {CG_I32}, .low = 0, .high = 1},
};

/* ---- sum --------------------------------------------------------------------------------------------------------- */

static bool sum_infer(const cg_call *call, cg_inferred *result)
{
    cg_dtype dtype = call->input_dtypes[0];
    return infer_as(call, result, dtype == CG_U8 || dtype == CG_BOOL ? CG_I32 : dtype);
}

static void sum_vjp(const cg_vjp *v, cg_tensor *result)
{
    result[0] = cg_broadcast_to(with_kept_axes(v, v->cotangents[0]), cg_shape_of(v->inputs[0]));
}

static const cg_op sum_op = {
    .name = "sum",
    .kind = CG_OP_REDUCE,
    .inputs = 1,
    .infer = sum_infer,
    .combine = "a + b",
    .identity = "0",
    .vjp = sum_vjp,
    .text = {.formula = "Σ x",
             .call = "x, .axes, .keepdims",
             .edges = "0 over an empty axis",
             .keras = "ops.sum",
             .pytorch = "sum"},
    SAMPLES(smooth_samples),
};

cg_tensor cg_sum_with(cg_tensor x, const cg_reduce_options *options)
{
    return reduce(&sum_op, x, options);
}

/* ---- prod -------------------------------------------------------------------------------------------------------- */

/* x with its elements moved one or more places along an axis, towards its end, and ones in front. */
static cg_tensor moved_with_ones(cg_tensor x, int axis, int64_t places)
{
    cg_shape before = {.rank = cg_shape_of(x).rank}, after = before;
    before.size[axis] = places;
    int64_t count = cg_shape_of(x).size[axis];
    return cg_pad(cg_slice_axis(x, axis, 0, count - places), before, after, .value = 1);
}

/* Along an axis, the product of what is in front of each element. In steps of doubled length (Hillis, Steele, 1986)
 * without a division: exact where there are zeros, to every order of derivative. */
static cg_tensor product_in_front(cg_tensor x, int axis)
{
    const int64_t count = cg_shape_of(x).size[axis];
    cg_tensor product = moved_with_ones(x, axis, 1);
    for (int64_t places = 1; places < count - 1; places *= 2)
        product = cg_mul(product, moved_with_ones(product, axis, places));
    return product;
}

static cg_tensor reversed(cg_tensor x, int axis)
{
    cg_ranges ranges = {.count = axis + 1};
    for (int i = 0; i < axis; i++) ranges.range[i] = CG_WHOLE;
    ranges.range[axis] = CG_RANGE(CG_NONE, CG_NONE, -1);
    return cg_slice_with(x, ranges);
}

/* The product of the others along one axis is that of those in front and of those behind. Several axes are taken one
 * after the other: the derivative of a product of products. */
static void prod_vjp(const cg_vjp *v, cg_tensor *result)
{
    cg_tensor x = v->inputs[0], others = with_kept_axes(v, v->cotangents[0]);
    const cg_shape shape = cg_shape_of(x);
    cg_tensor products[CG_MAX_RANK + 1] = {x};
    int axes[CG_MAX_RANK], count = 0;
    if (cg_shape_size(shape) == 0) return;
    for (int i = 0; i < shape.rank; i++) {
        if (!(v->call->attributes[0] >> i & 1) || shape.size[i] == 1) continue;
        products[count + 1] = cg_prod(products[count], .axes = CG_AXES(i), .keepdims = true);
        axes[count++] = i;
    }
    while (count > 0) {
        const int axis = axes[--count];
        cg_tensor of = products[count];
        cg_tensor behind = reversed(product_in_front(reversed(of, axis), axis), axis);
        others = cg_mul(others, cg_mul(product_in_front(of, axis), behind));
    }
    result[0] = others;
}

static const cg_op prod_op = {
    .name = "prod",
    .kind = CG_OP_REDUCE,
    .inputs = 1,
    .infer = sum_infer,
    .combine = "a * b",
    .identity = "1",
    .vjp = prod_vjp,
    .text = {.formula = "Π x",
             .call = "x, .axes, .keepdims",
             .edges = "1 over an empty axis; the derivative is exact where there are zeros",
             .keras = "ops.prod",
             .pytorch = "prod"},
    SAMPLES(product_samples),
};

cg_tensor cg_prod_with(cg_tensor x, const cg_reduce_options *options)
{
    return reduce(&prod_op, x, options);
}

/* ---- max, min ---------------------------------------------------------------------------------------------------- */

static bool extremum_infer(const cg_call *call, cg_inferred *result)
{
    return infer_filled(call, result, call->input_dtypes[0]);
}

/* The elements that equal the result share its cotangent. */
static void extremum_vjp(const cg_vjp *v, cg_tensor *result)
{
    cg_tensor x = v->inputs[0], g = with_kept_axes(v, v->cotangents[0]);
    cg_tensor reached = cg_equal(x, with_kept_axes(v, v->outputs[0]));
    cg_tensor count = cg_sum(cg_cast(reached, cg_dtype_of(x)), .axes = cg_axes_of_mask(v->call->attributes[0]),
                             .keepdims = true);
    result[0] = cg_where(reached, cg_div(g, count), cg_literal_like(x, 0));
}

static const cg_op max_op = {
    .name = "max",
    .kind = CG_OP_REDUCE,
    .inputs = 1,
    .infer = extremum_infer,
    .combine = "SELECT(b != b, b, SELECT(b > a, b, a))",
    .identity = "LOWEST",
    .vjp = extremum_vjp,
    .text = {.formula = "the largest; of bools: any",
             .call = "x, .axes, .keepdims",
             .edges = "equal ones share the cotangent equally; NaN if there is one, which gets none of it",
             .keras = "ops.max, ops.amax",
             .pytorch = "amax"},
    SAMPLES(smooth_samples),
};

cg_tensor cg_max_with(cg_tensor x, const cg_reduce_options *options)
{
    return cg_dtype_of(x) == CG_BOOL ? cg_any_with(x, options) : reduce(&max_op, x, options);
}

static const cg_op min_op = {
    .name = "min",
    .kind = CG_OP_REDUCE,
    .inputs = 1,
    .infer = extremum_infer,
    .combine = "SELECT(b != b, b, SELECT(b < a, b, a))",
    .identity = "HIGHEST",
    .vjp = extremum_vjp,
    .text = {.formula = "the smallest; of bools: all",
             .call = "x, .axes, .keepdims",
             .edges = "equal ones share the cotangent equally; NaN if there is one, which gets none of it",
             .keras = "ops.min, ops.amin",
             .pytorch = "amin"},
    SAMPLES(smooth_samples),
};

cg_tensor cg_min_with(cg_tensor x, const cg_reduce_options *options)
{
    return cg_dtype_of(x) == CG_BOOL ? cg_all_with(x, options) : reduce(&min_op, x, options);
}

/* ---- all, any ---------------------------------------------------------------------------------------------------- */

static bool truth_infer(const cg_call *call, cg_inferred *result)
{
    return infer_as(call, result, CG_BOOL);
}

static const cg_op all_op = {
    .name = "all",
    .kind = CG_OP_REDUCE,
    .inputs = 1,
    .infer = truth_infer,
    .logical = true,
    .combine = "a && b",
    .identity = "1",
    .zero_gradient = true,
    .text = {.formula = "whether no element is 0",
             .call = "x, .axes, .keepdims",
             .edges = "true over an empty axis",
             .keras = "ops.all",
             .pytorch = "all"},
    SAMPLES(truth_samples),
};

cg_tensor cg_all_with(cg_tensor x, const cg_reduce_options *options)
{
    return reduce(&all_op, x, options);
}

static const cg_op any_op = {
    .name = "any",
    .kind = CG_OP_REDUCE,
    .inputs = 1,
    .infer = truth_infer,
    .logical = true,
    .combine = "a || b",
    .identity = "0",
    .zero_gradient = true,
    .text = {.formula = "whether an element is not 0",
             .call = "x, .axes, .keepdims",
             .edges = "false over an empty axis",
             .keras = "ops.any",
             .pytorch = "any"},
    SAMPLES(truth_samples),
};

cg_tensor cg_any_with(cg_tensor x, const cg_reduce_options *options)
{
    return reduce(&any_op, x, options);
}

/* ---- mean -------------------------------------------------------------------------------------------------------- */

static bool mean_infer(const cg_call *call, cg_inferred *result)
{
    return infer_as(call, result, cg_floating_dtype(call->input_dtypes[0]));
}

static void mean_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    double count = 1;
    for (int i = 0; i < call->input_shapes[0].rank; i++)
        if (call->attributes[0] >> i & 1) count *= (double)call->input_shapes[0].size[i];
    cg_tensor x = cg_to_floating(inputs[0]);
    cg_tensor sum = cg_sum(x, .axes = cg_axes_of_mask(call->attributes[0]), .keepdims = call->attributes[1]);
    outputs[0] = cg_mul(sum, cg_size_scalar(call->context, cg_dtype_of(x), 1 / count));
}

static const cg_op mean_op = {
    .name = "mean",
    .kind = CG_OP_COMPOSED,
    .inputs = 1,
    .infer = mean_infer,
    .expand = mean_expand,
    .text = {.formula = "Σ x / n",
             .call = "x, .axes, .keepdims",
             .edges = "NaN over an empty axis",
             .keras = "ops.mean",
             .pytorch = "mean"},
    SAMPLES(smooth_samples),
};

cg_tensor cg_mean_with(cg_tensor x, const cg_reduce_options *options)
{
    return reduce(&mean_op, x, options);
}

/* ---- var --------------------------------------------------------------------------------------------------------- */

/* Of the distances from the mean, which is taken once more of those from itself: a sum of large numbers is off by more
 * than their deviation may be. */
static void var_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    cg_tensor x = cg_to_floating(inputs[0]);
    cg_axes axes = cg_axes_of_mask(call->attributes[0]);
    cg_tensor near = cg_sub(x, cg_stop_gradient(cg_mean(x, .axes = axes, .keepdims = true)));
    cg_tensor distance = cg_sub(near, cg_mean(near, .axes = axes, .keepdims = true));
    outputs[0] = cg_mean(cg_square(distance), .axes = axes, .keepdims = call->attributes[1]);
}

static const cg_op var_op = {
    .name = "var",
    .kind = CG_OP_COMPOSED,
    .inputs = 1,
    .infer = mean_infer,
    .expand = var_expand,
    .text = {.formula = "Σ (x - mean)² / n",
             .call = "x, .axes, .keepdims",
             .edges = "NaN over an empty axis",
             .keras = "ops.var",
             .pytorch = "var (unbiased=False)"},
    SAMPLES(smooth_samples),
};

cg_tensor cg_var_with(cg_tensor x, const cg_reduce_options *options)
{
    return reduce(&var_op, x, options);
}

/* ---- logsumexp --------------------------------------------------------------------------------------------------- */

static bool logsumexp_infer(const cg_call *call, cg_inferred *result)
{
    return infer_filled(call, result, cg_floating_dtype(call->input_dtypes[0]));
}

/* The largest is subtracted so that nothing overflows, unless it is infinite: then 0 is, and e^x itself is 0 or inf. */
static void logsumexp_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    cg_tensor x = cg_to_floating(inputs[0]);
    cg_axes axes = cg_axes_of_mask(call->attributes[0]);
    cg_tensor largest = cg_stop_gradient(cg_max(x, .axes = axes, .keepdims = true));
    cg_tensor shift = cg_where(cg_is_finite(largest), largest, cg_literal_like(x, 0));
    cg_tensor sum = cg_sum(cg_exp(cg_sub(x, shift)), .axes = axes, .keepdims = true);
    cg_inferred out;
    infer_as(call, &out, cg_dtype_of(x));
    outputs[0] = cg_reshape(cg_add(cg_log(sum), shift), out.shape[0]);
}

static const cg_op logsumexp_op = {
    .name = "logsumexp",
    .kind = CG_OP_COMPOSED,
    .inputs = 1,
    .infer = logsumexp_infer,
    .expand = logsumexp_expand,
    .text = {.formula = "log Σ e^x",
             .call = "x, .axes, .keepdims",
             .edges = "-inf where all are -inf, inf where one is: the gradient is NaN at both",
             .keras = "ops.logsumexp",
             .pytorch = "logsumexp"},
    SAMPLES(smooth_samples),
};

cg_tensor cg_logsumexp_with(cg_tensor x, const cg_reduce_options *options)
{
    return reduce(&logsumexp_op, x, options);
}

/* ---- argmax, argmin ---------------------------------------------------------------------------------------------- */

static bool position_infer(const cg_call *call, cg_inferred *result)
{
    return infer_filled(call, result, CG_I32);
}

/* The smallest position among those that hold the extremum, or NaN. */
static cg_tensor first_position(const cg_call *call, cg_tensor x, cg_tensor extremum)
{
    cg_shape in = call->input_shapes[0], reduced = in;
    cg_axes axes = cg_axes_of_mask(call->attributes[0]);
    for (int i = 0; i < in.rank; i++)
        if (!(call->attributes[0] >> i & 1)) reduced.size[i] = 1;
    cg_tensor hit = cg_logical_or(cg_equal(x, extremum), cg_is_nan(x));
    cg_tensor nowhere = cg_constant(call->context, CG_I32, INT_MAX);
    cg_tensor position = cg_where(hit, cg_index(call->context, reduced), nowhere);
    return cg_min(position, .axes = axes, .keepdims = call->attributes[1]);
}

static cg_tensor bool_to_integer(cg_tensor x)
{
    return cg_dtype_of(x) == CG_BOOL ? cg_cast(x, CG_I32) : x;
}

static void argmax_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    cg_tensor x = bool_to_integer(inputs[0]);
    outputs[0] = first_position(call, x, cg_max(x, .axes = cg_axes_of_mask(call->attributes[0]), .keepdims = true));
}

static const cg_op argmax_op = {
    .name = "argmax",
    .kind = CG_OP_COMPOSED,
    .inputs = 1,
    .infer = position_infer,
    .expand = argmax_expand,
    .zero_gradient = true,
    .text = {.formula = "position of the largest, the first of equal ones; over several axes the row-major one",
             .call = "x, .axes, .keepdims",
             .edges = "the first NaN if there is one",
             .keras = "ops.argmax",
             .pytorch = "argmax"},
    SAMPLES(smooth_samples),
};

cg_tensor cg_argmax_with(cg_tensor x, const cg_reduce_options *options)
{
    return reduce(&argmax_op, x, options);
}

static void argmin_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    cg_tensor x = bool_to_integer(inputs[0]);
    outputs[0] = first_position(call, x, cg_min(x, .axes = cg_axes_of_mask(call->attributes[0]), .keepdims = true));
}

static const cg_op argmin_op = {
    .name = "argmin",
    .kind = CG_OP_COMPOSED,
    .inputs = 1,
    .infer = position_infer,
    .expand = argmin_expand,
    .zero_gradient = true,
    .text = {.formula = "position of the smallest, the first of equal ones; over several axes the row-major one",
             .call = "x, .axes, .keepdims",
             .edges = "the first NaN if there is one",
             .keras = "ops.argmin",
             .pytorch = "argmin"},
    SAMPLES(smooth_samples),
};

cg_tensor cg_argmin_with(cg_tensor x, const cg_reduce_options *options)
{
    return reduce(&argmin_op, x, options);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static const cg_op *const list[] = {&sum_op,  &prod_op, &max_op,       &min_op,    &all_op,   &any_op,
                                    &mean_op, &var_op,  &logsumexp_op, &argmax_op, &argmin_op};
const cg_op_family cg_ops_reduce = {
    OPS(list), .title = "Reductions",
    .introduction = "Over `axes`, by default all, which stay with extent 1 if `keepdims`. Sums are added in blocks: 16 "
                    "million ones are 16 million."};

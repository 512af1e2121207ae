/* Activations of more than one element or operand: slopes that are given or drawn, halves that gate each other, pieces
 * and distributions along an axis. Composed of elementary ops. */
#include "ops/family.h"
#include <clgrad/activations.h>

#include <math.h>

/* ---- prelu: x, slopes -------------------------------------------------------------------------------------------- */

static bool prelu_infer(const cg_call *call, cg_inferred *result)
{
    const cg_shape x = call->input_shapes[0], slopes = call->input_shapes[1];
    cg_shape both;
    if (!cg_broadcast_shapes(call, &both)) return false;
    if (!cg_shapes_equal(both, x))
        return cg_op_error(call, "slopes %s do not broadcast to %s", cg_shape_text(call->context, slopes),
                           cg_input_text(call, 0));
    result->shape[0] = x;
    result->dtype[0] = cg_promote(cg_floating_dtype(call->input_dtypes[0]), call->input_dtypes[1]);
    return true;
}

static void prelu_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    cg_tensor x = cg_to_floating(inputs[0]);
    (void)call;
    outputs[0] = cg_where(cg_greater(x, cg_literal_like(x, 0)), x, cg_mul(inputs[1], x));
}

static const cg_sample prelu_samples[] = {
    {.shapes = {{2, {3, 5}}, {1, {5}}}, .low = 0.1, .high = 2, .smooth = true},
    {.shapes = {{3, {2, 3, 4}}, {2, {3, 1}}}, .low = -2, .high = -0.1, .smooth = true},
    {.shapes = {{2, {3, 5}}}, .low = -2, .high = -0.1, .smooth = true},
};

static const cg_op prelu_op = {
    .name = "prelu",
    .kind = CG_OP_COMPOSED,
    .inputs = 2,
    .infer = prelu_infer,
    .expand = prelu_expand,
    .text = {.formula = "x where x > 0, else slopes · x",
             .call = "x, slopes",
             .edges = "subgradient slopes at 0",
             .keras = "layers.PReLU",
             .pytorch = "nn.functional.prelu, nn.PReLU"},
    SAMPLES(prelu_samples),
};

cg_tensor cg_prelu(cg_tensor x, cg_tensor slopes)
{
    return cg_map_2(&prelu_op, x, slopes);
}

cg_tensor cg_rrelu_with(cg_tensor x, const cg_rrelu_options *options)
{
    const cg_rrelu_options given = options ? *options : (cg_rrelu_options){0};
    const double lower = cg_number_or(given.lower, 1.0 / 8), upper = cg_number_or(given.upper, 1.0 / 3);
    cg_context *cg = cg_context_of(x);
    if (cg_is_null(x) || !cg) return x;
    if (!(isfinite(lower) && isfinite(upper) && lower <= upper))
        return cg_report(cg, CG_ERROR_ARGUMENT, "rrelu", "the slopes %g and %g are not finite and in order", lower,
                         upper);
    if (!cg_is_floating(cg_dtype_of(x)))
        return cg_report(cg, CG_ERROR_ARGUMENT, "rrelu", "%s cannot be scaled", cg_dtype_name(cg_dtype_of(x)));
    const bool training = given.mode == CG_MODE_CONTEXT ? cg_is_training(cg) : given.mode == CG_MODE_TRAINING;
    if (!training) return cg_prelu(x, cg_scalar(cg, (lower + upper) / 2));
    const cg_uniform_options evenly = {.dtype = cg_dtype_of(x), .key = given.key, .has_key = given.has_key};
    cg_tensor drawn = cg_uniform_with(cg, cg_shape_of(x), &evenly);
    return cg_prelu(x, cg_add(cg_mul(drawn, cg_scalar(cg, upper - lower)), cg_scalar(cg, lower)));
}

/* ---- glu, reglu, geglu, swiglu: x; the attribute is the axis ----------------------------------------------------- */

static bool gate_infer(const cg_call *call, cg_inferred *result)
{
    cg_shape shape = call->input_shapes[0];
    int64_t *extent = &shape.size[call->attributes[0]];
    if (*extent % 2 != 0)
        return cg_op_error(call, "axis %lld of %s has no two halves", (long long)call->attributes[0],
                           cg_input_text(call, 0));
    *extent /= 2;
    result->shape[0] = shape;
    result->dtype[0] = cg_floating_dtype(call->input_dtypes[0]);
    return true;
}

static void gate(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs, cg_tensor (*function)(cg_tensor))
{
    const int axis = (int)call->attributes[0];
    const int64_t extent = call->input_shapes[0].size[axis];
    cg_tensor x = cg_to_floating(inputs[0]), value = cg_slice_axis(x, axis, 0, extent / 2);
    outputs[0] = cg_mul(value, function(cg_slice_axis(x, axis, extent / 2, extent)));
}

static const cg_sample gate_samples[] = {
    {.shapes = {{2, {3, 6}}}, ATTRIBUTES(1), .low = 0.1, .high = 2, .smooth = true},
    {.shapes = {{3, {2, 4, 3}}}, ATTRIBUTES(1), .low = -2, .high = -0.1, .smooth = true},
    {.shapes = {{2, {4, 5}}}, ATTRIBUTES(0), .dtypes = {CG_I32}, .low = -3, .high = 3},
};

/* The descriptor, with its text, and the function of a gate. */
#define GATE(NAME, FUNCTION, ...) \
    static void NAME##_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs) \
    { \
        gate(call, inputs, outputs, FUNCTION); \
    } \
    static const cg_op NAME##_op = { \
        .name = #NAME, \
        .kind = CG_OP_COMPOSED, \
        .inputs = 1, \
        .infer = gate_infer, \
        .expand = NAME##_expand, \
        .text = {__VA_ARGS__}, \
        SAMPLES(gate_samples), \
    }; \
    cg_tensor cg_##NAME(cg_tensor x, int axis) \
    { \
        if (cg_is_null(x) || !cg_resolve_axis(x, #NAME, &axis)) return (cg_tensor){0}; \
        return cg_apply(&NAME##_op, &x, 1, (int64_t[]){axis}, 1); \
    }

static cg_tensor plain_relu(cg_tensor x)
{
    return cg_relu(x);
}

GATE(glu, cg_sigmoid, .formula = "the first half of the axis times sigmoid of the second", .call = "x, axis",
     .keras = "activations.glu", .pytorch = "nn.functional.glu, nn.GLU")
GATE(reglu, plain_relu, .formula = "the first half of the axis times relu of the second", .call = "x, axis")
GATE(geglu, cg_gelu, .formula = "the first half of the axis times gelu of the second", .call = "x, axis")
GATE(swiglu, cg_silu, .formula = "the first half of the axis times silu of the second", .call = "x, axis")

/* ---- maxout: x; the attributes are the units and the axis -------------------------------------------------------- */

static bool maxout_infer(const cg_call *call, cg_inferred *result)
{
    cg_shape shape = call->input_shapes[0];
    const int64_t units = call->attributes[0];
    int64_t *extent = &shape.size[call->attributes[1]];
    if (units < 1 || *extent == 0 || *extent % units != 0)
        return cg_op_error(call, "axis %lld of %s has no equal number of pieces for %lld units",
                           (long long)call->attributes[1], cg_input_text(call, 0), (long long)units);
    if (shape.rank == CG_MAX_RANK)
        return cg_op_error(call, "%s has no axis left for the pieces", cg_input_text(call, 0));
    *extent = units;
    result->shape[0] = shape;
    result->dtype[0] = cg_floating_dtype(call->input_dtypes[0]);
    return true;
}

static void maxout_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    const cg_shape x = call->input_shapes[0];
    const int axis = (int)call->attributes[1];
    cg_shape pieces = {.rank = x.rank + 1};
    for (int i = 0; i < pieces.rank; i++) pieces.size[i] = i <= axis ? x.size[i] : x.size[i - 1];
    pieces.size[axis] = x.size[axis] / call->attributes[0];
    pieces.size[axis + 1] = call->attributes[0];
    outputs[0] = cg_max(cg_reshape(cg_to_floating(inputs[0]), pieces), .axes = CG_AXES(axis));
}

static const cg_sample maxout_samples[] = {
    {.shapes = {{2, {3, 6}}}, ATTRIBUTES(2, 1), .low = -2, .high = 2, .smooth = true},
    {.shapes = {{3, {2, 4, 3}}}, ATTRIBUTES(1, 1), .low = -2, .high = 2, .smooth = true},
};

static const cg_op maxout_op = {
    .name = "maxout",
    .kind = CG_OP_COMPOSED,
    .inputs = 1,
    .infer = maxout_infer,
    .expand = maxout_expand,
    .text = {.formula =
                 "the largest of the pieces of each unit: element j · units + u of the axis is piece j of unit u",
             .call = "x, units, axis",
             .edges = "equal pieces share the cotangent equally"},
    SAMPLES(maxout_samples),
};

cg_tensor cg_maxout(cg_tensor x, int64_t units, int axis)
{
    if (cg_is_null(x) || !cg_resolve_axis(x, "maxout", &axis)) return (cg_tensor){0};
    return cg_apply(&maxout_op, &x, 1, (int64_t[]){units, axis}, 2);
}

/* ---- softmin, sparsemax: x; the attribute is the axis ------------------------------------------------------------ */

cg_tensor cg_softmin(cg_tensor x, int axis)
{
    if (cg_is_null(x) || !cg_resolve_axis(x, "softmin", &axis)) return (cg_tensor){0};
    return cg_softmax(cg_neg(cg_to_floating(x)), axis);
}

static bool sparsemax_infer(const cg_call *call, cg_inferred *result)
{
    if (call->input_shapes[0].rank == CG_MAX_RANK)
        return cg_op_error(call, "%s has no axis left for comparisons", cg_input_text(call, 0));
    result->shape[0] = call->input_shapes[0];
    result->dtype[0] = cg_floating_dtype(call->input_dtypes[0]);
    return true;
}

/* An element i is positive in the result if the sum of max(x_j - x_i, 0) over all j is less than 1: then lowering all
 * larger ones to it would not use up what there is to take away. So no sorting is needed. */
static void sparsemax_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    const int axis = (int)call->attributes[0];
    cg_tensor x = cg_to_floating(inputs[0]), zero = cg_literal_like(x, 0), one = cg_literal_like(x, 1);
    if (cg_size(x) == 0) {
        outputs[0] = x;
        return;
    }
    x = cg_sub(x, cg_stop_gradient(cg_max(x, .axes = CG_AXES(axis), .keepdims = true)));
    cg_tensor above = cg_sub(cg_expand_dims(x, axis), cg_expand_dims(x, axis + 1));
    cg_tensor excess = cg_sum(cg_maximum(above, zero), .axes = CG_AXES(axis + 1));
    cg_tensor positive = cg_less(cg_stop_gradient(excess), one);
    cg_tensor sum = cg_sum(cg_where(positive, x, zero), .axes = CG_AXES(axis), .keepdims = true);
    cg_tensor count = cg_sum(cg_where(positive, one, zero), .axes = CG_AXES(axis), .keepdims = true);
    cg_tensor tau = cg_div(cg_sub(sum, one), count);
    outputs[0] = cg_where(positive, cg_sub(x, tau), zero);
}

static const cg_sample sparsemax_samples[] = {
    {.shapes = {{2, {3, 5}}}, ATTRIBUTES(1), .low = -1, .high = 1, .smooth = true},
    {.shapes = {{3, {2, 4, 3}}}, ATTRIBUTES(1), .low = 0, .high = 0.2, .smooth = true},
    {.shapes = {{2, {4, 3}}}, ATTRIBUTES(0), .dtypes = {CG_I32}, .low = -1, .high = 1},
};

static const cg_op sparsemax_op = {
    .name = "sparsemax",
    .kind = CG_OP_COMPOSED,
    .inputs = 1,
    .infer = sparsemax_infer,
    .expand = sparsemax_expand,
    .text = {.formula = "max(x - τ, 0) with the τ that makes it sum to 1 along the axis",
             .call = "x, axis",
             .edges = "subgradient at x = τ: as of an element that stays 0",
             .keras = "activations.sparsemax"},
    SAMPLES(sparsemax_samples),
};

cg_tensor cg_sparsemax(cg_tensor x, int axis)
{
    if (cg_is_null(x) || !cg_resolve_axis(x, "sparsemax", &axis)) return (cg_tensor){0};
    return cg_apply(&sparsemax_op, &x, 1, (int64_t[]){axis}, 1);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static const cg_op *const list[] = {&prelu_op, &glu_op, &reglu_op, &geglu_op, &swiglu_op, &maxout_op, &sparsemax_op};
static const cg_op_function functions[] = {
    {"rrelu",
     "prelu",
     {.formula = "x where x > 0, else slope · x: in training with slopes drawn evenly from [lower, upper), else with "
                 "their mean",
      .call = "x, .lower, .upper, .mode, .key, .has_key",
      .edges = "subgradient the slope at 0",
      .pytorch = "nn.functional.rrelu, nn.RReLU",
      .dtypes = "floating"}},
    {"softmin",
     "softmax",
     {.formula = "softmax(-x)",
      .call = "x, axis",
      .edges = "as softmax",
      .pytorch = "nn.functional.softmin, nn.Softmin"}},
};
const cg_op_family cg_ops_gates = {OPS(list), FUNCTIONS(functions), .title = "Activations"};

/* Sampling images and volumes at places that a grid names. Three ops do the work, each the gradient in one operand of
 * the same sum over channels and taps, weight * image * cotangent, and so each other's derivatives: none needs atomics,
 * and all orders exist. Taps and weights are maps of the grid, so derivatives in it come from theirs. */
#include "ops/family.h"

#include <clgrad/geometry.h>
#include <limits.h>
#include <math.h>

/* Image [batch, channels, elements]; places (i32; -1 for none, which counts as 0) and weights [batch, taps, points];
 * values, of the points, [batch, channels, points]. */

/* Items take so many points, on GPUs one. Fills in what all kernels know: p0: channels; p1: elements; p2: taps; p3:
 * points; p4: points of a run; p5: runs. */
enum { RUN = 1024 };

static int64_t set_runs(const cg_call *call, cg_launch *launch, int64_t channels, int64_t elements)
{
    const int64_t taps = call->input_shapes[1].size[1], points = call->input_shapes[1].size[2];
    const int64_t run = cg_device(call->context)->is_gpu ? 1 : points < RUN ? points : RUN;
    const int64_t runs = run > 0 ? (points + run - 1) / run : 0;
    *launch = (cg_launch){0, {channels, elements, taps, points, run, runs}, 6};
    return runs;
}

#define POINTS "const long begin = i % p5 * p4, end = min(begin + p4, p3);\n"

static const cg_op take_op, put_op, correlate_op;

static cg_tensor take(cg_tensor image, cg_tensor places, cg_tensor weights)
{
    return cg_map_3(&take_op, image, places, weights);
}

static cg_tensor put(cg_tensor values, cg_tensor places, cg_tensor weights, int64_t elements)
{
    return cg_apply(&put_op, (cg_tensor[]){values, places, weights}, 3, &elements, 1);
}

static cg_tensor correlate(cg_tensor image, cg_tensor places, cg_tensor values)
{
    return cg_map_3(&correlate_op, image, places, values);
}

/* ---- grid_take: image, places, weights to values ----------------------------------------------------------------- */

static bool take_infer(const cg_call *call, cg_inferred *result)
{
    const cg_shape *image = &call->input_shapes[0], *places = &call->input_shapes[1];
    result->shape[0] = CG_SHAPE(image->size[0], image->size[1], places->size[2]);
    result->dtype[0] = call->input_dtypes[0];
    return true;
}

static bool take_launch(const cg_call *call, cg_launch *launch)
{
    const cg_shape *image = &call->input_shapes[0];
    const int64_t runs = set_runs(call, launch, image->size[1], image->size[2]);
    launch->items = image->size[0] * image->size[1] * runs;
    return true;
}

static void take_vjp(const cg_vjp *v, cg_tensor *result)
{
    cg_tensor image = v->inputs[0], places = v->inputs[1], weights = v->inputs[2], cotangent = v->cotangents[0];
    if (v->wanted[0]) result[0] = put(cotangent, places, weights, cg_shape_of(image).size[2]);
    if (v->wanted[2]) result[2] = correlate(image, places, cotangent);
}

#define GRID_SAMPLES(NAME, ...) \
    static const cg_sample NAME[] = { \
        {.shapes = {__VA_ARGS__}, .dtypes = {CG_F32, CG_I32, CG_F32}, .low = -1, .high = 4, .smooth = true}, \
    }
GRID_SAMPLES(take_samples, {3, {2, 3, 5}}, {3, {2, 2, 7}}, {3, {2, 2, 7}});

static const cg_op take_op = {
    .name = "grid_take",
    .kind = CG_OP_KERNEL,
    .inputs = 3,
    .infer = take_infer,
    .source = POINTS "const long plane = i / p5, taps = plane / p0 * p2;\n"
                     "__global const IN0_T *restrict from = in0 + plane * p1;\n"
                     "__global OUT0_T *restrict to = out0 + plane * p3;\n"
                     "for (long j = begin; j < end; j++) to[j] = 0;\n"
                     "for (long k = taps; k < taps + p2; k++) {\n"
                     "    __global const int *restrict place = in1 + k * p3;\n"
                     "    __global const IN2_T *restrict weight = in2 + k * p3;\n"
                     "    for (long j = begin; j < end; j++)\n"
                     "        if (place[j] >= 0) to[j] += weight[j] * from[place[j]];\n"
                     "}\n",
    .launch = take_launch,
    .vjp = take_vjp,
    .text = {.formula = "the sum over taps of weights · x at places: the points of a sample", .internal = true},
    SAMPLES(take_samples),
};

/* ---- grid_put: values, places, weights to an image of so many elements ------------------------------------------- */

static bool put_infer(const cg_call *call, cg_inferred *result)
{
    const cg_shape *values = &call->input_shapes[0];
    result->shape[0] = CG_SHAPE(values->size[0], values->size[1], call->attributes[0]);
    result->dtype[0] = call->input_dtypes[0];
    return true;
}

/* An item owns a range of a channel and reads all points, in order; channels are cut where there are fewer of them than
 * the device can have at once. p4: ranges; p5: elements of one. */
static bool put_launch(const cg_call *call, cg_launch *launch)
{
    const cg_device_info *device = cg_device(call->context);
    const cg_shape *values = &call->input_shapes[0];
    const int64_t planes = values->size[0] * values->size[1], elements = call->attributes[0];
    const int64_t wanted = device->is_gpu ? 256 : device->compute_units;
    int64_t ranges = planes > 0 && planes < wanted ? (wanted + planes - 1) / planes : 1;
    if (ranges > elements) ranges = elements > 0 ? elements : 1;
    set_runs(call, launch, values->size[1], elements);
    launch->items = planes * ranges;
    launch->parameters[4] = ranges;
    launch->parameters[5] = (elements + ranges - 1) / ranges;
    return true;
}

static void put_vjp(const cg_vjp *v, cg_tensor *result)
{
    cg_tensor values = v->inputs[0], places = v->inputs[1], weights = v->inputs[2], cotangent = v->cotangents[0];
    if (v->wanted[0]) result[0] = take(cotangent, places, weights);
    if (v->wanted[2]) result[2] = correlate(cotangent, places, values);
}

static const cg_sample put_samples[] = {
    {.shapes = {{3, {2, 3, 7}}, {3, {2, 2, 7}}, {3, {2, 2, 7}}},
     .dtypes = {CG_F32, CG_I32, CG_F32},
     ATTRIBUTES(5),
     .low = -1,
     .high = 4,
     .smooth = true},
    {.shapes = {{3, {1, 1, 9}}, {3, {1, 2, 9}}, {3, {1, 2, 9}}},
     .dtypes = {CG_F32, CG_I32, CG_F32},
     ATTRIBUTES(5),
     .low = -1,
     .high = 4,
     .smooth = true},
};

static const cg_op put_op = {
    .name = "grid_put",
    .kind = CG_OP_KERNEL,
    .inputs = 3,
    .infer = put_infer,
    .source = "const long plane = i / p4, taps = plane / p0 * p2, first = i % p4 * p5, last = min(first + p5, p1);\n"
              "__global const IN0_T *restrict from = in0 + plane * p3;\n"
              "__global OUT0_T *restrict to = out0 + plane * p1;\n"
              "for (long j = first; j < last; j++) to[j] = 0;\n"
              "for (long k = taps; k < taps + p2; k++) {\n"
              "    __global const int *restrict place = in1 + k * p3;\n"
              "    __global const IN2_T *restrict weight = in2 + k * p3;\n"
              "    for (long j = 0; j < p3; j++) {\n"
              "        const long at = place[j];\n"
              "        if (at >= first && at < last) to[at] += weight[j] * from[j];\n"
              "    }\n"
              "}\n",
    .launch = put_launch,
    .vjp = put_vjp,
    .text = {.formula = "each element the sum of weights · values put there: the derivative of grid_take in x",
             .internal = true},
    SAMPLES(put_samples),
};

/* ---- grid_correlate: image, places, values to what stands in for weights ----------------------------------------- */

static bool correlate_infer(const cg_call *call, cg_inferred *result)
{
    result->shape[0] = call->input_shapes[1];
    result->dtype[0] = call->input_dtypes[0];
    return true;
}

static bool correlate_launch(const cg_call *call, cg_launch *launch)
{
    const cg_shape *image = &call->input_shapes[0], *places = &call->input_shapes[1];
    const int64_t runs = set_runs(call, launch, image->size[1], image->size[2]);
    launch->items = places->size[0] * places->size[1] * runs;
    return true;
}

static void correlate_vjp(const cg_vjp *v, cg_tensor *result)
{
    cg_tensor image = v->inputs[0], places = v->inputs[1], values = v->inputs[2], cotangent = v->cotangents[0];
    if (v->wanted[0]) result[0] = put(values, places, cotangent, cg_shape_of(image).size[2]);
    if (v->wanted[2]) result[2] = take(image, places, cotangent);
}

GRID_SAMPLES(correlate_samples, {3, {2, 3, 5}}, {3, {2, 2, 7}}, {3, {2, 3, 7}});

static const cg_op correlate_op = {
    .name = "grid_correlate",
    .kind = CG_OP_KERNEL,
    .inputs = 3,
    .infer = correlate_infer,
    .source = POINTS "const long tap = i / p5, plane = tap / p2 * p0;\n"
                     "__global const int *restrict place = in1 + tap * p3;\n"
                     "__global OUT0_T *restrict to = out0 + tap * p3;\n"
                     "for (long j = begin; j < end; j++) to[j] = 0;\n"
                     "for (long c = plane; c < plane + p0; c++) {\n"
                     "    __global const IN0_T *restrict from = in0 + c * p1;\n"
                     "    __global const IN2_T *restrict value = in2 + c * p3;\n"
                     "    for (long j = begin; j < end; j++)\n"
                     "        if (place[j] >= 0) to[j] += value[j] * from[place[j]];\n"
                     "}\n",
    .launch = correlate_launch,
    .vjp = correlate_vjp,
    .text = {.formula = "the sum over channels of x at places · values: the derivative of grid_take in the weights",
             .internal = true},
    SAMPLES(correlate_samples),
};

/* ---- Taps and their weights -------------------------------------------------------------------------------------- */

/* Elements are counted along one axis of n. Tensors of points have an axis per spatial axis, where its taps lie,
 * between batch and points. */
typedef struct line {
    cg_context *cg;
    cg_dtype dtype;
    int64_t n;
    const cg_grid_sample_options *options;
} line;

static cg_tensor number(const line *l, double value)
{
    return cg_size_scalar(l->cg, l->dtype, value);
}

/* u limited to the elements that there are. What is outside, or at the outermost ones, has no derivative. */
static cg_tensor limited(const line *l, cg_tensor u)
{
    cg_tensor last = number(l, (double)l->n - 1), first = number(l, 0);
    cg_tensor inside = cg_logical_and(cg_greater(u, first), cg_less(u, last));
    return cg_where(inside, u, cg_stop_gradient(cg_minimum(cg_maximum(u, first), last)));
}

/* u as in two mirrors: at the outermost elements with align_corners, half an element beyond them without. */
static cg_tensor reflected(const line *l, cg_tensor u)
{
    const bool corners = l->options->align_corners;
    const double low = corners ? 0 : -0.5, span = (double)l->n - corners;
    if (span == 0) return cg_mul(u, number(l, 0));
    u = cg_where(cg_is_nan(u), cg_stop_gradient(u), u); /* the derivative of |NaN| is NaN */
    cg_tensor distance = cg_abs(cg_sub(u, number(l, low)));
    cg_tensor flips = cg_floor(cg_div(distance, number(l, span)));
    cg_tensor beyond = cg_sub(distance, cg_mul(flips, number(l, span)));
    cg_tensor pairs = cg_floor(cg_mul(flips, number(l, 0.5)));
    cg_tensor odd = cg_greater(flips, cg_add(pairs, pairs));
    cg_tensor back = cg_where(odd, cg_sub(number(l, span), beyond), beyond);
    return limited(l, cg_add(back, number(l, low)));
}

static cg_tensor padded(const line *l, cg_tensor u)
{
    if (l->options->padding == CG_GRID_BORDER) return limited(l, u);
    return l->options->padding == CG_GRID_REFLECTION ? reflected(l, u) : u;
}

/* Weight of tap k, where the first is the element at or below the place, or for cubic the one before, for a place that
 * is t beyond it. */
static cg_tensor weight_of(const line *l, cg_tensor t, cg_tensor k)
{
    cg_tensor one = number(l, 1);
    if (l->options->interpolation == CG_LINEAR) return cg_add(cg_sub(one, k), cg_mul(cg_sub(cg_add(k, k), one), t));
    /* The distance s from the tap; its sign is known, so that nothing has a kink. */
    cg_tensor left = cg_less(k, number(l, 2)), beyond = cg_sub(cg_add(t, one), k);
    cg_tensor s = cg_mul(cg_where(left, one, number(l, -1)), beyond);
    cg_tensor inner = cg_logical_and(cg_greater(k, number(l, 0)), cg_less(k, number(l, 3)));
    cg_tensor near = cg_sub(cg_mul(number(l, 1.25), s), number(l, 2.25));
    near = cg_add(cg_mul(cg_square(s), near), one);
    cg_tensor far = cg_sub(cg_mul(cg_add(cg_mul(number(l, -0.75), s), number(l, 3.75)), s), number(l, 6));
    far = cg_add(cg_mul(far, s), number(l, 3));
    return cg_where(inner, near, far);
}

/* Along one axis, from the grid's component: taps as elements, whether they exist, and weights. `k` numbers taps. */
typedef struct taps {
    cg_tensor elements, exist, weights;
} taps;

/* How far u is beyond the element: 0 where it is no number, so that what is multiplied by the weights of taps that do
 * not exist stays 0. */
static cg_tensor beyond(const line *l, cg_tensor u, cg_tensor element)
{
    cg_tensor t = cg_sub(u, element);
    return cg_where(cg_is_nan(t), number(l, 0), t);
}

static taps taps_along(const line *l, cg_tensor component, cg_tensor k)
{
    const cg_grid_sample_options *o = l->options;
    const bool cubic = o->interpolation == CG_CUBIC;
    const double last = (double)l->n - 1, scale = o->align_corners ? last / 2 : (double)l->n / 2;
    cg_tensor u = cg_add(cg_mul(component, number(l, scale)), number(l, last / 2));
    if (!cubic) u = padded(l, u);
    taps result = {.weights = number(l, 1)};
    cg_tensor element = cg_stop_gradient(o->interpolation == CG_NEAREST ? cg_round(u) : cg_floor(u));
    if (o->interpolation != CG_NEAREST) result.weights = weight_of(l, beyond(l, u, element), k);
    element = cg_add(element, cubic ? cg_sub(k, number(l, 1)) : k);
    if (cubic) element = cg_stop_gradient(padded(l, element));
    result.exist = cg_logical_and(cg_greater_equal(element, number(l, 0)), cg_less_equal(element, number(l, last)));
    result.elements = cg_cast(element, CG_I32);
    return result;
}

/* [batch, 1..., points] of one component of the grid. */
static cg_tensor component_of(cg_tensor grid, int component, int rank)
{
    const cg_shape shape = cg_shape_of(grid);
    cg_shape points = {.rank = rank + 2, .size = {shape.size[0]}};
    for (int i = 0; i < rank; i++) points.size[1 + i] = 1;
    points.size[rank + 1] = cg_shape_size(shape) == 0 ? 0 : cg_shape_size(shape) / shape.size[0] / rank;
    return cg_reshape(cg_slice_axis(grid, -1, component, component + 1), points);
}

static cg_tensor sample(cg_tensor x, cg_tensor grid, const cg_grid_sample_options *o)
{
    const cg_shape shape = cg_shape_of(x), lattice = cg_shape_of(grid);
    const int rank = shape.rank - 2;
    const int64_t count = o->interpolation == CG_NEAREST ? 1 : o->interpolation == CG_CUBIC ? 4 : 2;
    cg_context *cg = cg_context_of(x);
    int64_t elements = 1;
    taps all = {.elements = {0}};
    for (int i = 0; i < rank; i++) {
        const line l = {cg, cg_dtype_of(grid), shape.size[2 + i], o};
        cg_shape numbers = {.rank = rank + 2};
        for (int j = 0; j < numbers.rank; j++) numbers.size[j] = j == 1 + i ? count : 1;
        cg_tensor k = cg_cast(cg_reshape(cg_iota(cg, count), numbers), l.dtype);
        const taps t = taps_along(&l, component_of(grid, rank - 1 - i, rank), k);
        cg_tensor extent = cg_size_scalar(cg, CG_I32, (double)l.n);
        all.weights = i == 0 ? t.weights : cg_mul(all.weights, t.weights);
        all.exist = i == 0 ? t.exist : cg_logical_and(all.exist, t.exist);
        all.elements = i == 0 ? t.elements : cg_add(cg_mul(all.elements, extent), t.elements);
        elements *= l.n;
    }
    cg_tensor places = cg_where(all.exist, all.elements, cg_constant(cg, CG_I32, -1));
    const cg_shape each = cg_shape_of(places);
    const cg_shape flat = CG_SHAPE(shape.size[0], each.size[1] * each.size[2] * (rank == 3 ? each.size[3] : 1),
                                   each.size[rank + 1]);
    cg_tensor image = cg_reshape(x, CG_SHAPE(shape.size[0], shape.size[1], elements));
    cg_tensor values = take(image, cg_reshape(places, flat), cg_reshape(cg_broadcast_to(all.weights, each), flat));
    cg_shape result = {.rank = rank + 2, .size = {shape.size[0], shape.size[1]}};
    for (int i = 0; i < rank; i++) result.size[2 + i] = lattice.size[1 + i];
    return cg_reshape(values, result);
}

/* ---- Public functions -------------------------------------------------------------------------------------------- */

static bool grid_fits(cg_tensor x, cg_tensor grid)
{
    const cg_shape shape = cg_shape_of(x), lattice = cg_shape_of(grid);
    const int rank = shape.rank - 2;
    cg_context *cg = cg_context_of(x);
    if (rank != 2 && rank != 3) {
        cg_report(cg, CG_ERROR_ARGUMENT, "grid_sample",
                  "%s is not [batch, channels, spatial...] with 2 or 3 spatial axes", cg_tensor_text(x));
        return false;
    }
    if (lattice.rank != shape.rank || lattice.size[0] != shape.size[0] || lattice.size[rank + 1] != rank) {
        cg_report(cg, CG_ERROR_ARGUMENT, "grid_sample",
                  "the grid %s is not [batch, spatial..., %d] with the batch and the spatial axes' number of %s",
                  cg_tensor_text(grid), rank, cg_tensor_text(x));
        return false;
    }
    int64_t elements = 1;
    for (int i = 0; i < rank; i++) elements *= shape.size[2 + i];
    if (elements >= 1 && elements <= INT_MAX) return true;
    cg_report(cg, CG_ERROR_ARGUMENT, "grid_sample", "%s has %s elements in a channel", cg_tensor_text(x),
              elements < 1 ? "no" : "too many");
    return false;
}

cg_tensor cg_grid_sample_with(cg_tensor x, cg_tensor grid, const cg_grid_sample_options *options)
{
    static const cg_grid_sample_options defaults;
    if (cg_shape_of(x).rank < 0 || cg_shape_of(grid).rank < 0 || !grid_fits(x, grid)) return (cg_tensor){0};
    const cg_dtype dtype = cg_floating_dtype(cg_promote(cg_dtype_of(x), cg_dtype_of(grid)));
    const cg_dtype exact = cg_promote(dtype, CG_F32); /* places that f16 and bf16 could not tell apart */
    return cg_cast(sample(cg_cast(x, exact), cg_cast(grid, exact), options ? options : &defaults), dtype);
}

/* The coordinates of the places along an axis of n elements, -1 to 1 over all of it. */
static cg_tensor coordinates_along(cg_tensor theta, int64_t n, bool align_corners)
{
    cg_context *cg = cg_context_of(theta);
    const cg_dtype dtype = cg_dtype_of(theta);
    const double step = align_corners ? (n > 1 ? 2.0 / (double)(n - 1) : 0) : 2.0 / (double)n;
    const double first = align_corners ? (n > 1 ? -1 : 0) : 1.0 / (double)n - 1;
    cg_tensor along = cg_mul(cg_cast(cg_iota(cg, n), dtype), cg_size_scalar(cg, dtype, step));
    return cg_add(along, cg_size_scalar(cg, dtype, first));
}

/* Column j of theta's matrices, [batch, 1..., rank]. */
static cg_tensor column_of(cg_tensor theta, int j, int rank)
{
    cg_shape shape = {.rank = rank + 2, .size = {cg_shape_of(theta).size[0]}};
    for (int i = 0; i < rank; i++) shape.size[1 + i] = 1;
    shape.size[rank + 1] = rank;
    return cg_reshape(cg_slice_axis(theta, 2, j, j + 1), shape);
}

cg_tensor cg_affine_grid_with(cg_tensor theta, cg_shape size, const cg_affine_grid_options *options)
{
    const cg_shape shape = cg_shape_of(theta);
    const int rank = size.rank;
    cg_context *cg = cg_context_of(theta);
    if (shape.rank < 0) return (cg_tensor){0};
    if ((rank != 2 && rank != 3) || shape.rank != 3 || shape.size[1] != rank || shape.size[2] != rank + 1)
        return cg_report(cg, CG_ERROR_ARGUMENT, "affine_grid",
                         "%s is not [batch, axes, axes + 1] for the 2 or 3 axes of which there are extents (%d)",
                         cg_tensor_text(theta), rank);
    for (int i = 0; i < rank; i++)
        if (size.size[i] < 1)
            return cg_report(cg, CG_ERROR_ARGUMENT, "affine_grid", "spatial axis %d has an extent of %lld", i,
                             (long long)size.size[i]);
    const cg_dtype dtype = cg_floating_dtype(cg_dtype_of(theta));
    theta = cg_cast(theta, cg_promote(dtype, CG_F32)); /* indices that f16 and bf16 could not tell apart */
    cg_tensor grid = column_of(theta, rank, rank);
    for (int j = rank - 1; j >= 0; j--) {
        cg_shape lattice = {.rank = rank + 2};
        for (int i = 0; i < lattice.rank; i++) lattice.size[i] = i == rank - j ? size.size[rank - 1 - j] : 1;
        cg_tensor along = coordinates_along(theta, size.size[rank - 1 - j], options && options->align_corners);
        grid = cg_add(grid, cg_mul(column_of(theta, j, rank), cg_reshape(along, lattice)));
    }
    return cg_cast(grid, dtype);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static const cg_op *const list[] = {&take_op, &put_op, &correlate_op};
static const cg_op_function functions[] = {
    {"grid_sample",
     "grid_take",
     {.formula = "x at the places that a grid [batch, points.., axes] names by coordinates from -1 to 1, the last axis "
                 "first",
      .call = "x, grid, .interpolation, .padding, .align_corners",
      .edges = "0 at a NaN, as its derivative; subgradients in the grid: that from above where a coordinate meets an "
               "element, 0 at the outermost ones with BORDER and REFLECTION; NEAREST: derivative 0",
      .pytorch = "nn.functional.grid_sample",
      .dtypes = "any → floating"}},
    {"affine_grid",
     "add",
     {.formula = "theta · (c, 1) for each place c of a lattice",
      .call = "theta, size, .align_corners",
      .pytorch = "nn.functional.affine_grid",
      .dtypes = "any → floating"}},
};
const cg_op_family cg_ops_grid = {OPS(list), FUNCTIONS(functions), .title = "Geometry"};

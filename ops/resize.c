/* Resizing, one axis after the other: what a result is made of does not depend on the other axes. A table says which
 * elements, with which weights; another says the same of the transposed map, which is the derivative, so both add up
 * what they take and neither needs atomics. */
#include "ops/family.h"

#include <clgrad/geometry.h>

/* One axis: of `from` elements `to` are made, or, transposed, of cotangents of these those of `from`. */
typedef struct axis {
    int64_t axis, from, to, transposed, interpolation, coordinates;
} axis;
enum { AXIS_NUMBERS = 6 };

static axis axis_of(const cg_call *call)
{
    const int64_t *a = call->attributes;
    return (axis){a[0], a[1], a[2], a[3], a[4], a[5]};
}

static cg_tensor apply(const cg_op *op, cg_tensor x, const axis *a)
{
    const int64_t attributes[] = {a->axis, a->from, a->to, a->transposed, a->interpolation, a->coordinates};
    return cg_apply(op, &x, 1, attributes, AXIS_NUMBERS);
}

/* Result o comes from the place (step * o + shift) / per, step being above 0 as there are more elements than one. Of
 * `taps` elements around it the first is `before` the one at or below the place. */
typedef struct places {
    int64_t step, shift, per, taps, before;
} places;

static places places_of(const axis *a)
{
    places p = {.taps = a->interpolation == CG_NEAREST ? 1 : a->interpolation == CG_CUBIC ? 4 : 2};
    p.before = p.taps == 4;
    switch (a->coordinates) {
    case CG_COORDINATES_ALIGN_CORNERS:
        p.step = a->from - 1;
        p.per = a->to > 1 ? a->to - 1 : 1;
        break;
    case CG_COORDINATES_ASYMMETRIC:
        p.step = a->from;
        p.per = a->to;
        break;
    default:
        p.step = 2 * a->from;
        p.shift = a->from - a->to;
        p.per = 2 * a->to;
    }
    if (p.taps == 1 && a->coordinates != CG_COORDINATES_ASYMMETRIC) { /* half an element on: rounded, not cut off */
        p.step *= 2;
        p.shift = 2 * p.shift + p.per;
        p.per *= 2;
    }
    return p;
}

/* How many results come from places below `place`: those of one element are a range of results. */
static int64_t results_below(const places *p, int64_t to, int64_t place)
{
    const int64_t distance = place * p->per - p->shift, results = (distance + p->step - 1) / p->step;
    return distance <= 0 ? 0 : results < to ? results : to;
}

/* Rows of the table: the most elements that one result is made of; if more than one an even number, since the kernel
 * takes them by twos. */
static int64_t rows_of(const axis *a)
{
    const places p = places_of(a);
    int64_t most = 1;
    if (!a->transposed) return p.taps;
    for (int64_t j = 0; j < a->from; j++) {
        const int64_t first = j == 0 ? 0 : results_below(&p, a->to, j + p.before + 1 - p.taps);
        const int64_t end = j == a->from - 1 ? a->to : results_below(&p, a->to, j + p.before + 1);
        if (end - first > most) most = end - first;
    }
    return most > 1 ? (most + 1) / 2 * 2 : 1;
}

/* ---- resize_table: attributes are an axis and the number of rows ------------------------------------------------- */

/* Of the input the dtype is all that matters. */
static bool table_infer(const cg_call *call, cg_inferred *result)
{
    const axis a = axis_of(call);
    result->shape[0] = result->shape[1] = CG_SHAPE(call->attributes[AXIS_NUMBERS], a.transposed ? a.from : a.to);
    result->dtype[0] = CG_I32;
    result->dtype[1] = call->input_dtypes[0] == CG_F64 ? CG_F64 : CG_F32;
    return true;
}

/* p0: from; p1: to; p2, p3, p4: step, shift, per; p5: taps; p6: before; p7: rows; p8: columns; p9: transposed. */
static bool table_launch(const cg_call *call, cg_launch *launch)
{
    const axis a = axis_of(call);
    const places p = places_of(&a);
    const int64_t columns = a.transposed ? a.from : a.to;
    *launch = (cg_launch){
        columns,
        {a.from, a.to, p.step, p.shift, p.per, p.taps, p.before, call->attributes[AXIS_NUMBERS], columns, a.transposed},
        10};
    return true;
}

static const cg_sample table_samples[] = {
    {.shapes = {{1, {1}}}, ATTRIBUTES(0, 5, 8, 0, CG_LINEAR, CG_COORDINATES_HALF_PIXEL, 2), .low = 0, .high = 1},
    {.shapes = {{1, {1}}}, ATTRIBUTES(0, 5, 8, 1, CG_CUBIC, CG_COORDINATES_ALIGN_CORNERS, 8), .low = 0, .high = 1},
};

/* Column i. Transposed it has a row for each result that element i goes into, with the weights of all taps that are
 * this element, since beyond the outermost ones several are; rows beyond these weigh nothing. Otherwise it has one for
 * each tap. A weight is a function of the distance s from the place. */
static const cg_op table_op = {
    .name = "resize_table",
    .kind = CG_OP_KERNEL,
    .inputs = 1,
    .outputs = 2,
    .infer = table_infer,
    .zero_gradient = true,
    .source = "long first = 0, end = p9 ? p1 : p7, element = 0;\n"
              "if (p9 && i > 0) first = clamp(((i + p6 + 1 - p5) * p4 - p3 + p2 - 1) / p2, 0L, p1);\n"
              "if (p9 && i < p0 - 1) end = clamp(((i + p6 + 1) * p4 - p3 + p2 - 1) / p2, 0L, p1);\n"
              "for (long row = 0; row < p7; row++) {\n"
              "    const long o = p9 ? min(first + row, p1 - 1) : i, at = p2 * o + p3;\n"
              "    const long place = at / p4 - (at % p4 < 0);\n"
              "    const OUT1_T beyond = (OUT1_T)(at - place * p4) / (OUT1_T)p4;\n"
              "    OUT1_T sum = 0;\n"
              "    for (long k = p9 ? 0 : row; k < (p9 ? p5 : row + 1); k++) {\n"
              "        const OUT1_T s = fabs(beyond + (OUT1_T)(p6 - k));\n"
              "        const OUT1_T inner = ((OUT1_T)1.25f * s - (OUT1_T)2.25f) * s * s + 1;\n"
              "        const OUT1_T outer = (((OUT1_T)-0.75f * s + (OUT1_T)3.75f) * s - 6) * s + 3;\n"
              "        const OUT1_T weight = p5 == 1 ? 1 : p5 == 2 ? 1 - s : s <= 1 ? inner : outer;\n"
              "        element = clamp(place - p6 + k, 0L, p0 - 1);\n"
              "        sum += p9 && element != i ? 0 : weight;\n"
              "    }\n"
              "    out0[row * p8 + i] = p9 ? o : element;\n"
              "    out1[row * p8 + i] = first + row < end ? sum : 0;\n"
              "}\n",
    .launch = table_launch,
    .text = {.formula = "which elements each result of a resize is made of, and with which weights; or, transposed, "
                        "which results each element goes into",
             .internal = true},
    SAMPLES(table_samples),
};

/* ---- weighted_sums: x, places, weights; the attribute is the axis ------------------------------------------------ */

/* Element j along the axis becomes the sum over the rows of weights[row, j] times x's element at places[row, j]. */
static bool sums_infer(const cg_call *call, cg_inferred *result)
{
    result->shape[0] = call->input_shapes[0];
    result->shape[0].size[call->attributes[0]] = call->input_shapes[1].size[1];
    result->dtype[0] = call->input_dtypes[0];
    return true;
}

/* An item is a run of a row: elements behind the axis, or along it where there are none. Whole rows go through vectors
 * on CPUs; on GPUs items that lie side by side do the same. p0: x's extent; p1: columns; p2: elements after the axis;
 * p3: rows of the tables; p4: elements of a run; p5: runs of a row. */
enum { RUN = 1024 };

static bool sums_launch(const cg_call *call, cg_launch *launch)
{
    const cg_shape *x = &call->input_shapes[0], *table = &call->input_shapes[1];
    const int along = (int)call->attributes[0];
    int64_t inner = 1, outer = 1;
    for (int i = 0; i < along; i++) outer *= x->size[i];
    for (int i = along + 1; i < x->rank; i++) inner *= x->size[i];
    const int64_t columns = table->size[1], row = inner == 1 ? columns : inner;
    const int64_t run = cg_device(call->context)->is_gpu ? 1 : row < RUN ? row : RUN;
    const int64_t runs = run > 0 ? (row + run - 1) / run : 0;
    *launch = (cg_launch){
        outer * (inner == 1 ? 1 : columns) * runs, {x->size[along], columns, inner, table->size[0], run, runs}, 6};
    return true;
}

static const cg_sample sums_samples[] = {
    {.shapes = {{2, {3, 4}}, {2, {2, 5}}, {2, {2, 5}}},
     .dtypes = {CG_F32, CG_I32, CG_F32},
     ATTRIBUTES(1),
     .low = 0,
     .high = 3,
     .smooth = true},
    {.shapes = {{3, {2, 4, 3}}, {2, {4, 2}}, {2, {4, 2}}},
     .dtypes = {CG_F32, CG_I32, CG_F32},
     ATTRIBUTES(1),
     .low = 0,
     .high = 3,
     .smooth = true},
    {.shapes = {{2, {4, 3}}, {2, {1, 5}}, {2, {1, 5}}},
     .dtypes = {CG_F32, CG_I32, CG_F32},
     ATTRIBUTES(0),
     .low = 0,
     .high = 3,
     .smooth = true},
};

/* In full generality; the resizing of an axis knows its transposed table. */
static void sums_vjp(const cg_vjp *v, cg_tensor *result)
{
    cg_tensor x = v->inputs[0], places = v->inputs[1], weights = v->inputs[2];
    const int along = (int)v->call->attributes[0];
    const cg_shape shape = cg_shape_of(x), table = cg_shape_of(places);
    cg_shape wide = {.rank = along + 2, .size = {0}};
    for (int i = 0; i < along; i++) wide.size[i] = 1;
    wide.size[along] = table.size[0];
    wide.size[along + 1] = table.size[1];
    for (int i = along + 1; i < shape.rank; i++) wide.size[wide.rank++] = 1;
    cg_tensor cotangent = cg_expand_dims(v->cotangents[0], along);
    if (v->wanted[0])
        result[0] = cg_scatter_add(cg_mul(cotangent, cg_reshape(weights, wide)), places, along, shape.size[along]);
    if (v->wanted[2])
        result[2] = cg_reshape(cg_sum_to_shape(cg_mul(cotangent, cg_gather(x, places, along)), wide), table);
}

/* Of two rows: what weighs nothing counts for nothing, infinite or not, since rows that fill a table up name any place.
 * First where nothing is behind the axis, then for elements that lie side by side there. */
#define ONE "(weight[j] != 0 ? weight[j] * from[place[j]] : 0)"
#define OTHER "(weight[j + next] != 0 ? weight[j + next] * from[place[j + next]] : 0)"
#define ONE_BEHIND "(u != 0 ? u * a[c] : 0)"
#define OTHER_BEHIND "(v != 0 ? v * b[c] : 0)"

static const cg_op sums_op = {
    .name = "weighted_sums",
    .kind = CG_OP_KERNEL,
    .inputs = 3,
    .infer = sums_infer,
    .source = "const long row = i / p5, begin = i % p5 * p4;\n"
              "if (p2 == 1) {\n"
              "    const long end = min(begin + p4, p1);\n"
              "    __global const IN0_T *restrict from = in0 + row * p0;\n"
              "    __global OUT0_T *restrict to = out0 + row * p1;\n"
              "    for (long m = 0; m < p3; m += 2) {\n"
              "        __global const int *restrict place = in1 + m * p1;\n"
              "        __global const IN2_T *restrict weight = in2 + m * p1;\n"
              "        const long next = m + 1 < p3 ? p1 : 0;\n"
              "        if (next == 0)\n"
              "            for (long j = begin; j < end; j++) to[j] = " ONE ";\n"
              "        else if (m == 0)\n"
              "            for (long j = begin; j < end; j++) to[j] = " ONE " + " OTHER ";\n"
              "        else\n"
              "            for (long j = begin; j < end; j++) to[j] += " ONE " + " OTHER ";\n"
              "    }\n"
              "} else {\n"
              "    const long j = row % p1, end = min(begin + p4, p2);\n"
              "    __global const IN0_T *slab = in0 + row / p1 * p0 * p2;\n"
              "    __global OUT0_T *restrict to = out0 + row * p2;\n"
              "    for (long m = 0; m < p3; m += 2) {\n"
              "        const long next = m + 1 < p3 ? p1 : 0;\n"
              "        __global const IN0_T *restrict a = slab + in1[m * p1 + j] * p2;\n"
              "        __global const IN0_T *restrict b = slab + in1[m * p1 + next + j] * p2;\n"
              "        const IN2_T u = in2[m * p1 + j], v = in2[m * p1 + next + j];\n"
              "        if (next == 0)\n"
              "            for (long c = begin; c < end; c++) to[c] = " ONE_BEHIND ";\n"
              "        else if (m == 0)\n"
              "            for (long c = begin; c < end; c++) to[c] = " ONE_BEHIND " + " OTHER_BEHIND ";\n"
              "        else\n"
              "            for (long c = begin; c < end; c++) to[c] += " ONE_BEHIND " + " OTHER_BEHIND ";\n"
              "    }\n"
              "}\n",
    .launch = sums_launch,
    .vjp = sums_vjp,
    .text = {.formula = "Σ weights[m, j] · x[.., places[m, j], ..] over the m that weigh anything", .internal = true},
    SAMPLES(sums_samples),
};

/* ---- resize_axis: attributes are an axis ------------------------------------------------------------------------- */

static const cg_op resize_op;

static bool resize_infer(const cg_call *call, cg_inferred *result)
{
    const axis a = axis_of(call);
    result->shape[0] = call->input_shapes[0];
    result->dtype[0] = call->input_dtypes[0];
    if (result->shape[0].size[a.axis] != (a.transposed ? a.to : a.from))
        return cg_op_error(call, "%s does not have such an axis", cg_input_text(call, 0));
    result->shape[0].size[a.axis] = a.transposed ? a.from : a.to;
    return true;
}

static void resize_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    int64_t attributes[AXIS_NUMBERS + 1];
    cg_tensor table[2];
    const axis a = axis_of(call);
    for (int i = 0; i < AXIS_NUMBERS; i++) attributes[i] = call->attributes[i];
    attributes[AXIS_NUMBERS] = rows_of(&a);
    if (!cg_apply_all(&table_op, inputs, 1, attributes, AXIS_NUMBERS + 1, table)) return;
    if (!cg_is_floating(call->input_dtypes[0])) /* nearest elements as they are */
        outputs[0] = cg_gather(inputs[0], cg_reshape(table[0], CG_SHAPE(a.to)), (int)a.axis);
    else
        outputs[0] = cg_apply(&sums_op, (cg_tensor[]){inputs[0], table[0], table[1]}, 3, &a.axis, 1);
}

static void resize_vjp(const cg_vjp *v, cg_tensor *result)
{
    axis a = axis_of(v->call);
    a.transposed = !a.transposed;
    result[0] = apply(&resize_op, v->cotangents[0], &a);
}

static const cg_sample resize_samples[] = {
    {.shapes = {{2, {2, 5}}},
     ATTRIBUTES(1, 5, 8, 0, CG_LINEAR, CG_COORDINATES_HALF_PIXEL),
     .low = -2,
     .high = 2,
     .smooth = true},
    {.shapes = {{3, {2, 3, 2}}},
     ATTRIBUTES(1, 7, 3, 1, CG_CUBIC, CG_COORDINATES_ALIGN_CORNERS),
     .low = -2,
     .high = 2,
     .smooth = true},
    {.shapes = {{2, {5, 2}}},
     ATTRIBUTES(0, 5, 7, 0, CG_NEAREST, CG_COORDINATES_ASYMMETRIC),
     .low = -2,
     .high = 2,
     .smooth = true},
};

static const cg_op resize_op = {
    .name = "resize",
    .kind = CG_OP_COMPOSED,
    .inputs = 1,
    .infer = resize_infer,
    .expand = resize_expand,
    .deferred = true,
    .vjp = resize_vjp,
    .text = {.formula = "x with spatial axes of other extents: of n elements m; element o from (o + 1/2) · n / m - 1/2 "
                        "(HALF_PIXEL), o · (n - 1) / (m - 1) (ALIGN_CORNERS), o · n / m (ASYMMETRIC)",
             .call = "x, size, .interpolation, .coordinates",
             .edges = "beyond the outermost elements x goes on with their values",
             .keras = "ops.image.resize, layers.Resizing",
             .pytorch = "nn.functional.interpolate",
             .dtypes = "any → floating; NEAREST: any"},
    SAMPLES(resize_samples),
};

/* ---- Public functions -------------------------------------------------------------------------------------------- */

/* So that places, in fractions, are numbers of 64 bits. */
enum { LARGEST = 1 << 29 };

static bool size_fits(cg_tensor x, const char *op, cg_shape size)
{
    const cg_shape shape = cg_shape_of(x);
    if (!cg_spatial_rank_fits(x, op, size.rank)) return false;
    for (int i = 0; i < size.rank; i++) {
        const int64_t from = shape.size[2 + i], to = size.size[i];
        if (from >= 1 && to >= 1 && from <= LARGEST && to <= LARGEST) continue;
        cg_report(cg_context_of(x), CG_ERROR_ARGUMENT, op, "%s: spatial axis %d cannot have %lld elements made of %lld",
                  cg_tensor_text(x), i, (long long)to, (long long)from);
        return false;
    }
    return true;
}

static cg_tensor resize(cg_tensor x, cg_shape size, const cg_resize_options *o)
{
    int64_t before = 1, after = 1;
    const cg_shape shape = cg_shape_of(x);
    for (int i = 0; i < size.rank; i++) {
        before *= shape.size[2 + i];
        after *= size.size[i];
    }
    /* The last axis costs most: first, where what follows has more elements, last, where it has fewer. */
    for (int n = 0; n < size.rank; n++) {
        const int i = after > before ? size.rank - 1 - n : n;
        const axis a = {2 + i, shape.size[2 + i], size.size[i], 0, o->interpolation, o->coordinates};
        cg_shape next = cg_shape_of(x);
        next.size[2 + i] = a.to;
        if (a.from == 1)
            x = cg_broadcast_to(x, next);
        else if (a.from != a.to)
            x = apply(&resize_op, x, &a);
    }
    return x;
}

static cg_tensor resize_any(cg_tensor x, const char *op, cg_shape size, const cg_resize_options *options)
{
    static const cg_resize_options defaults;
    const cg_resize_options *o = options ? options : &defaults;
    if (!size_fits(x, op, size)) return (cg_tensor){0};
    return resize(o->interpolation == CG_NEAREST ? x : cg_to_floating(x), size, o);
}

cg_tensor cg_resize_with(cg_tensor x, cg_shape size, const cg_resize_options *options)
{
    return resize_any(x, "resize", size, options);
}

cg_tensor cg_upsample_with(cg_tensor x, cg_shape factors, const cg_resize_options *options)
{
    cg_shape size;
    if (!cg_resolve_factors(x, "upsample", factors, &size)) return (cg_tensor){0};
    for (int i = 0; i < size.rank; i++) size.size[i] *= cg_shape_of(x).size[2 + i];
    return resize_any(x, "upsample", size, options);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static const cg_op *const list[] = {&table_op, &sums_op, &resize_op};
static const cg_op_function functions[] = {
    {"upsample",
     "resize",
     {.formula = "x resized to so many times its extents",
      .call = "x, factors, .interpolation, .coordinates",
      .keras = "layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D",
      .pytorch = "nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d (ALIGN_CORNERS)",
      .dtypes = "any → floating; NEAREST: any"}},
};
const cg_op_family cg_ops_resize = {
    OPS(list), FUNCTIONS(functions), .title = "Geometry",
    .introduction = "Where elements of images and volumes lie; x is [batch, channels, spatial...]."};

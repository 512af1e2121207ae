/* Pooling. Kernels know one description of windows, cg_window along always three axes; with an extent of 0 the windows
 * are the bins of adaptive pooling. Maxima carry the places where they were found: their derivative puts cotangents
 * there, whose derivative takes them from there. Sums over windows and their transpose are each other's derivative;
 * means and norms of windows are made of them. */
#include "ops/windows.h"

#include <clgrad/pooling.h>
#include <string.h>

/* ---- Shapes and launches ----------------------------------------------------------------------------------------- */

/* x [lead..., size...] gives [lead..., count...], or the other way round. */
static bool infer_pooled(const cg_call *call, cg_inferred *result, bool backwards)
{
    const int rank = cg_window_rank(call), lead = call->input_shapes[0].rank - rank;
    bool fits = lead >= 0 && rank > 0 && rank <= CG_MAX_SPATIAL;
    result->shape[0] = call->input_shapes[0];
    result->dtype[0] = call->input_dtypes[0];
    for (int i = 0; fits && i < rank; i++) {
        const cg_window w = cg_window_of(call, i);
        fits = call->input_shapes[0].size[lead + i] == (backwards ? w.count : w.size);
        result->shape[0].size[lead + i] = backwards ? w.size : w.count;
    }
    return fits || cg_op_error(call, "%s does not have the extents of such windows", cg_input_text(call, 0));
}

/* Planes, each pooled by itself; and the windows as parameters. Windows p18 to before p19 of a row can be met many at a
 * time: they lie inside x, and their elements are next to each other or every second one. */
static int64_t launch_windows(const cg_call *call, cg_launch *launch)
{
    const int rank = cg_window_rank(call);
    const cg_window w = cg_window_of(call, rank - 1);
    const int64_t last = (w.size + w.before - cg_window_reach(&w)) / w.stride;
    int64_t planes = 1;
    for (int i = 0; i < call->input_shapes[0].rank - rank; i++) planes *= call->input_shapes[0].size[i];
    *launch = (cg_launch){0};
    cg_window_parameters(call, launch);
    launch->parameter_count += 2;
    if (w.dilation == 1 && w.stride <= 2 && w.extent >= w.stride) {
        launch->parameters[18] = (w.before + w.stride - 1) / w.stride;
        launch->parameters[19] = last < w.count ? last + 1 : w.count;
    }
    return planes;
}

/* An item for each row of results. */
static bool launch_rows(const cg_call *call, cg_launch *launch)
{
    const int64_t planes = launch_windows(call, launch);
    launch->items = planes * launch->parameters[2] * launch->parameters[8];
    return true;
}

static bool launch_planes(const cg_call *call, cg_launch *launch)
{
    launch->items = launch_windows(call, launch);
    return true;
}

/* OpenCL C: loops over the elements `c` of window `o` along an axis with these numbers, from the first that is not
 * padding. */
#define LOOPS \
    "#define WINDOW(c, o, size, extent, count, stride, dilation, before) \\\n" \
    "    const long c##_step = extent ? dilation : 1; \\\n" \
    "    long c##_first = extent ? o * stride - before : o * size / count; \\\n" \
    "    const long c##_end = min(size, extent ? c##_first + (extent - 1) * dilation + 1 \\\n" \
    "                                          : ((o + 1) * size + count - 1) / count); \\\n" \
    "    if (c##_first < 0) c##_first += (c##_step - 1 - c##_first) / c##_step * c##_step\n" \
    "#define WINDOW_Z WINDOW(z, oz, p0, p1, p2, p3, p4, p5)\n" \
    "#define WINDOW_Y WINDOW(y, oy, p6, p7, p8, p9, p10, p11)\n" \
    "#define WINDOW_X WINDOW(x, ox, p12, p13, p14, p15, p16, p17)\n" \
    "#define EACH(c) for (long c = c##_first; c < c##_end; c += c##_step)\n"

/* OpenCL C: a row of results. START(LANES) begins as many of them, or with nothing in its place one; MEET(LANES) adds
 * `value`, which is at `from + at` of a plane that begins at `plane`; STORE(LANES) and STORE_ONE keep them. The last
 * block of a row may begin within the one before. Nothing is loaded from behind a block's last window. */
#define ROW \
    "#define VALUES(LANES) CG_JOIN(OUT0_T, LANES)\n" \
    "#define FOLD(LANES, LOAD) \\\n" \
    "    START(LANES); \\\n" \
    "    EACH(z) EACH(y) EACH(x) { \\\n" \
    "        const long at = (z * p6 + y) * p12 + x; \\\n" \
    "        __global const IN0_T *element = in0 + plane + from + at; \\\n" \
    "        const VALUES(LANES) value = LOAD; \\\n" \
    "        MEET(LANES); \\\n" \
    "    }\n" \
    "#define BLOCK(LANES, TWICE) \\\n" \
    "    if (p18 <= ox && ox < p19 && p19 - p18 >= LANES) { \\\n" \
    "        ox = min(ox, p19 - LANES); \\\n" \
    "        const long from = ox * p15 - p17, x_first = 0, x_end = p13, x_step = 1; \\\n" \
    "        FOLD(LANES, p15 == 1 ? vload##LANES(0, element) \\\n" \
    "                    : x == 0 ? vload##TWICE(0, element).even : vload##TWICE(0, element - 1).odd) \\\n" \
    "        STORE(LANES); \\\n" \
    "        ox += LANES - 1; \\\n" \
    "        continue; \\\n" \
    "    }\n" \
    "const long oy = i % p8, oz = i / p8 % p2, plane = i / (p8 * p2) * (p0 * p6 * p12), row = i * p14;\n" \
    "WINDOW_Z;\n" \
    "WINDOW_Y;\n" \
    "for (long ox = 0; ox < p14; ox++) {\n" \
    "#if CG_LANES > 1\n" \
    "    BLOCK(8, 16)\n" \
    "    BLOCK(4, 8)\n" \
    "#endif\n" \
    "    const long from = 0;\n" \
    "    WINDOW_X;\n" \
    "    FOLD(, *element)\n" \
    "    STORE_ONE;\n" \
    "}\n"

/* ---- put, take: elements of channels, by their places in them ---------------------------------------------------- */

/* Attributes: the extents of a channel. */
static int64_t plane_size(const cg_call *call)
{
    int64_t size = 1;
    for (int i = 0; i < call->attribute_count; i++) size *= call->attributes[i];
    return size;
}

static bool places_fit(const cg_call *call)
{
    if (call->input_dtypes[1] != CG_I32)
        return cg_op_error(call, "indices are %s, not i32", cg_dtype_name(call->input_dtypes[1]));
    if (call->input_shapes[1].rank != call->attribute_count + 2)
        return cg_op_error(call, "%s does not have %d spatial axes", cg_input_text(call, 1), call->attribute_count);
    for (int i = 0; i < call->attribute_count; i++)
        if (call->attributes[i] < 1) return cg_op_error(call, "an extent of %lld", (long long)call->attributes[i]);
    return true;
}

static bool put_infer(const cg_call *call, cg_inferred *result)
{
    if (!places_fit(call)) return false;
    if (!cg_shapes_equal(call->input_shapes[0], call->input_shapes[1]))
        return cg_op_error(call, "%s and indices %s differ", cg_input_text(call, 0), cg_input_text(call, 1));
    result->shape[0] = call->input_shapes[0];
    for (int i = 0; i < call->attribute_count; i++) result->shape[0].size[2 + i] = call->attributes[i];
    result->dtype[0] = call->input_dtypes[0];
    return true;
}

static bool take_infer(const cg_call *call, cg_inferred *result)
{
    const cg_shape *x = &call->input_shapes[0], *places = &call->input_shapes[1];
    if (!places_fit(call)) return false;
    bool fits = x->rank == places->rank && x->size[0] == places->size[0] && x->size[1] == places->size[1];
    for (int i = 0; fits && i < call->attribute_count; i++) fits = x->size[2 + i] == call->attributes[i];
    result->shape[0] = *places;
    result->dtype[0] = call->input_dtypes[0];
    return fits || cg_op_error(call, "%s does not fit indices %s", cg_input_text(call, 0), cg_input_text(call, 1));
}

/* p0: indices of a channel; p1: its elements. */
static bool put_launch(const cg_call *call, cg_launch *launch)
{
    const cg_shape *places = &call->input_shapes[1];
    const int64_t planes = places->size[0] * places->size[1], all = cg_shape_size(*places);
    *launch = (cg_launch){planes, {planes > 0 ? all / planes : 0, plane_size(call)}, 2};
    return true;
}

static bool take_launch(const cg_call *call, cg_launch *launch)
{
    put_launch(call, launch);
    launch->items = cg_shape_size(call->input_shapes[1]);
    return true;
}

static const cg_op put_op, take_op;

static cg_tensor apply_again(const cg_op *op, const cg_vjp *v)
{
    return cg_apply(op, (cg_tensor[]){v->cotangents[0], v->inputs[1]}, 2, v->call->attributes,
                    v->call->attribute_count);
}

static void put_vjp(const cg_vjp *v, cg_tensor *result)
{
    result[0] = apply_again(&take_op, v);
}

static void take_vjp(const cg_vjp *v, cg_tensor *result)
{
    result[0] = apply_again(&put_op, v);
}

static const cg_sample put_samples[] = {
    {.shapes = {{4, {2, 1, 2, 2}}, {4, {2, 1, 2, 2}}},
     .dtypes = {CG_F32, CG_I32},
     ATTRIBUTES(3, 3),
     .low = 0,
     .high = 8,
     .smooth = true},
};
static const cg_sample take_samples[] = {
    {.shapes = {{4, {2, 1, 3, 3}}, {4, {2, 1, 2, 2}}},
     .dtypes = {CG_F32, CG_I32},
     ATTRIBUTES(3, 3),
     .low = 0,
     .high = 8,
     .smooth = true},
};

/* An item owns a channel, so that the order of the additions is that of the indices. */
static const cg_op put_op = {
    .name = "max_unpool",
    .kind = CG_OP_KERNEL,
    .inputs = 2,
    .infer = put_infer,
    .reports = true,
    .source = "__global OUT0_T *channel = out0 + i * p1;\n"
              "for (long k = 0; k < p1; k++) channel[k] = 0;\n"
              "for (long k = 0; k < p0; k++) {\n"
              "    const int place = in1[i * p0 + k];\n"
              "    if (place >= 0 && place < p1)\n"
              "        channel[place] += in0[i * p0 + k];\n"
              "    else\n"
              "        { REPORT(place, p1); }\n"
              "}\n",
    .launch = put_launch,
    .vjp = put_vjp,
    .text = {.formula = "the elements of x where indices say, in channels of extents size; zeros elsewhere",
             .call = "x, indices, size",
             .edges = "elements put to one place are added up",
             .pytorch =
                 "nn.functional.max_unpool1d, nn.functional.max_unpool2d, nn.functional.max_unpool3d, nn.MaxUnpool2d",
             .dtypes = "any → floating"},
    SAMPLES(put_samples),
};

static const cg_op take_op = {
    .name = "pool_take",
    .kind = CG_OP_KERNEL,
    .inputs = 2,
    .infer = take_infer,
    .reports = true,
    .source = "const int place = in1[i];\n"
              "OUT0_T value = 0;\n"
              "if (place >= 0 && place < p1)\n"
              "    value = in0[i / p0 * p1 + place];\n"
              "else\n"
              "    { REPORT(place, p1); }\n"
              "out0[i] = value;\n",
    .launch = take_launch,
    .vjp = take_vjp,
    .text = {.formula = "the elements of x from where indices say: the derivative of max_unpool", .internal = true},
    SAMPLES(take_samples),
};

/* ---- max_pool: attributes are the windows; the largest and their places ------------------------------------------ */

static bool max_infer(const cg_call *call, cg_inferred *result)
{
    if (!infer_pooled(call, result, false)) return false;
    int64_t size = 1;
    for (int i = 0; i < cg_window_rank(call); i++) size *= cg_window_of(call, i).size;
    if (size > INT32_MAX) return cg_op_error(call, "%s has too many places", cg_input_text(call, 0));
    result->shape[1] = result->shape[0];
    result->dtype[1] = CG_I32;
    return true;
}

static void max_vjp(const cg_vjp *v, cg_tensor *result)
{
    int64_t size[CG_MAX_SPATIAL];
    const int rank = cg_window_rank(v->call);
    if (cg_is_null(v->cotangents[0])) return;
    for (int i = 0; i < rank; i++) size[i] = cg_window_of(v->call, i).size;
    result[0] = cg_apply(&put_op, (cg_tensor[]){v->cotangents[0], v->outputs[1]}, 2, size, rank);
}

/* Windows that overlap, with padding; with dilation; bins; of three axes. */
#define WINDOW_SAMPLES(of, NAME) \
    static const cg_sample NAME[] = { \
        {.shapes = {{3, {2, 2, of(7, 4)}}}, ATTRIBUTES(7, 3, 4, 2, 1, 1), .low = -2, .high = 2, .smooth = true}, \
        {.shapes = {{4, {1, 2, of(5, 3), of(5, 2)}}}, \
         ATTRIBUTES(5, 2, 3, 1, 2, 0, 5, 2, 2, 2, 1, 0), \
         .low = -2, \
         .high = 2, \
         .smooth = true}, \
        {.shapes = {{3, {1, 2, of(7, 3)}}}, ATTRIBUTES(7, 0, 3, 1, 1, 0), .low = -2, .high = 2, .smooth = true}, \
        {.shapes = {{5, {1, 1, of(2, 1), of(3, 2), of(4, 2)}}}, \
         ATTRIBUTES(2, 2, 1, 1, 1, 0, 3, 2, 2, 1, 1, 0, 4, 2, 2, 2, 1, 0), \
         .low = -2, \
         .high = 2, \
         .smooth = true}, \
    }
#define SIZE_OF(size, count) size
#define COUNT_OF(size, count) count
WINDOW_SAMPLES(SIZE_OF, window_samples);
WINDOW_SAMPLES(COUNT_OF, transposed_samples);

static const cg_op max_op = {
    .name = "max_pool",
    .kind = CG_OP_KERNEL,
    .inputs = 1,
    .outputs = 2,
    .infer = max_infer,
    .source = LOOPS
    "#define PLACES_OF_float int\n"
    "#define PLACES_OF_double long\n"
    "#define PLACES(LANES) CG_JOIN(CG_JOIN(PLACES_OF_, OUT0_T), LANES)\n"
    "#define START(LANES) \\\n"
    "    VALUES(LANES) largest = -INFINITY; \\\n"
    "    PLACES(LANES) place = (PLACES(LANES))((z_first * p6 + y_first) * p12 + x_first)\n"
    "#define MEET(LANES) \\\n"
    "    const PLACES(LANES) wins = value > largest || value != value; \\\n"
    "    largest = wins ? value : largest; \\\n"
    "    place = wins ? (PLACES(LANES))(at) : place\n"
    "#define STORE(LANES) \\\n"
    "    vstore##LANES(largest, 0, out0 + row + ox); \\\n"
    "    vstore##LANES(convert_int##LANES(place) + (int)from + (int)p15 * CG_LANE_NUMBERS(int, LANES), \\\n"
    "                  0, out1 + row + ox)\n"
    "#define STORE_ONE out0[row + ox] = largest, out1[row + ox] = place\n" ROW,
    .launch = launch_rows,
    .vjp = max_vjp,
    .text = {.formula = "the largest element of each window",
             .call = "x, window, .stride, .dilation, .padding, .before, .after, .ceil_mode",
             .edges = "of equal ones the first gets all of the cotangent; a NaN wins, of several the last; padding "
                      "counts as -inf",
             .keras = "ops.max_pool, layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D",
             .pytorch = "max_pool1d, max_pool2d, max_pool3d, nn.MaxPool2d",
             .dtypes = "any → floating"},
    SAMPLES(window_samples),
};

/* ---- pool_sum, pool_spread: sums over windows, and their transpose ----------------------------------------------- */

static const cg_op sum_op, spread_op;

static bool sum_infer(const cg_call *call, cg_inferred *result)
{
    return infer_pooled(call, result, false);
}

static bool spread_infer(const cg_call *call, cg_inferred *result)
{
    return infer_pooled(call, result, true);
}

static void sum_vjp(const cg_vjp *v, cg_tensor *result)
{
    result[0] = cg_apply(&spread_op, &v->cotangents[0], 1, v->call->attributes, v->call->attribute_count);
}

static void spread_vjp(const cg_vjp *v, cg_tensor *result)
{
    result[0] = cg_apply(&sum_op, &v->cotangents[0], 1, v->call->attributes, v->call->attribute_count);
}

static const cg_op sum_op = {
    .name = "pool_sum",
    .kind = CG_OP_KERNEL,
    .inputs = 1,
    .infer = sum_infer,
    .source = LOOPS "#define START(LANES) VALUES(LANES) sum = 0\n"
                    "#define MEET(LANES) sum += value\n"
                    "#define STORE(LANES) vstore##LANES(sum, 0, out0 + row + ox)\n"
                    "#define STORE_ONE out0[row + ox] = sum\n" ROW,
    .launch = launch_rows,
    .vjp = sum_vjp,
    .text = {.formula = "the sum of each window", .internal = true},
    SAMPLES(window_samples),
};

/* An item owns a channel, so that the order of the additions is that of the windows. In a block the elements of each
 * are met backwards for that: the last of one may be the first of a later one. */
static const cg_op spread_op = {
    .name = "pool_spread",
    .kind = CG_OP_KERNEL,
    .inputs = 1,
    .infer = spread_infer,
    .source = LOOPS "#define BLOCK(LANES, TWICE) \\\n"
                    "    if (p18 <= ox && ox + LANES <= p19) { \\\n"
                    "        const CG_JOIN(OUT0_T, LANES) value = vload##LANES(0, from + ox); \\\n"
                    "        EACH(z) EACH(y) for (long x = p13 - 1; x >= 0; x--) { \\\n"
                    "            __global OUT0_T *to = channel + (z * p6 + y) * p12 + ox * p15 - p17 + x; \\\n"
                    "            if (p15 == 1) { \\\n"
                    "                vstore##LANES(vload##LANES(0, to) + value, 0, to); \\\n"
                    "            } else { \\\n"
                    "                CG_JOIN(OUT0_T, TWICE) both = vload##TWICE(0, to - (x > 0)); \\\n"
                    "                if (x > 0) both.odd += value; \\\n"
                    "                else both.even += value; \\\n"
                    "                vstore##TWICE(both, 0, to - (x > 0)); \\\n"
                    "            } \\\n"
                    "        } \\\n"
                    "        ox += LANES - 1; \\\n"
                    "        continue; \\\n"
                    "    }\n"
                    "__global OUT0_T *channel = out0 + i * (p0 * p6 * p12);\n"
                    "__global const IN0_T *from = in0 + i * (p2 * p8 * p14);\n"
                    "for (long k = 0; k < p0 * p6 * p12; k++) channel[k] = 0;\n"
                    "for (long oz = 0; oz < p2; oz++) {\n"
                    "    WINDOW_Z;\n"
                    "    for (long oy = 0; oy < p8; oy++, from += p14) {\n"
                    "        WINDOW_Y;\n"
                    "        for (long ox = 0; ox < p14; ox++) {\n"
                    "#if CG_LANES > 1\n"
                    "            BLOCK(8, 16)\n"
                    "            BLOCK(4, 8)\n"
                    "#endif\n"
                    "            WINDOW_X;\n"
                    "            const OUT0_T value = from[ox];\n"
                    "            EACH(z) EACH(y) EACH(x) channel[(z * p6 + y) * p12 + x] += value;\n"
                    "        }\n"
                    "    }\n"
                    "}\n",
    .launch = launch_planes,
    .vjp = spread_vjp,
    .text = {.formula = "each element the sum of the windows that hold it: the derivative of pool_sum",
             .internal = true},
    SAMPLES(transposed_samples),
};

/* ---- Options ----------------------------------------------------------------------------------------------------- */

typedef struct request {
    const char *op;
    cg_tensor x;
    int rank;
    cg_window window[CG_MAX_SPATIAL];
    int64_t after[CG_MAX_SPATIAL];
} request;

static bool refuse(const request *r, const char *why, int axis, int64_t number)
{
    cg_report(cg_context_of(r->x), CG_ERROR_ARGUMENT, r->op, "%s: spatial axis %d has %s %lld", cg_tensor_text(r->x),
              axis, why, (long long)number);
    return false;
}

static bool rank_fits(request *r, int given)
{
    r->rank = given;
    return cg_spatial_rank_fits(r->x, r->op, given);
}

/* Whether a window holds an element of x: those that begin in front of it may step over it. */
static bool holds_any(const cg_window *w, int64_t number)
{
    int64_t place = number * w->stride - w->before;
    if (place < 0) place += (-place + w->dilation - 1) / w->dilation * w->dilation;
    return place < w->size && place <= number * w->stride - w->before + cg_window_reach(w) - 1;
}

static bool place_window(request *r, int i, const cg_pool_options *o)
{
    cg_window *w = &r->window[i];
    if (o->padding == CG_PADDING_SAME) {
        cg_window_pad_same(w, &r->after[i]);
    } else {
        if (o->padding == CG_PADDING_EXPLICIT) {
            w->before = o->before[i];
            r->after[i] = o->after[i];
        }
        if (w->before < 0 || r->after[i] < 0)
            return refuse(r, "a padding of", i, w->before < 0 ? w->before : r->after[i]);
        const int64_t room = w->size + w->before + r->after[i] - cg_window_reach(w);
        if (room < 0) return refuse(r, "fewer elements, with padding, than the window's", i, cg_window_reach(w));
        w->count = room / w->stride + 1;
        if (o->ceil_mode && room % w->stride && w->count * w->stride < w->size + w->before) w->count++;
    }
    for (int64_t k = 0; k < w->count && k * w->stride < w->before; k++)
        if (!holds_any(w, k)) return refuse(r, "nothing but padding in window", i, k);
    if (w->count > 0 && !holds_any(w, w->count - 1)) return refuse(r, "nothing but padding in window", i, w->count - 1);
    return true;
}

static bool place_windows(request *r, cg_shape window, const cg_pool_options *o)
{
    if (!rank_fits(r, window.rank)) return false;
    for (int i = 0; i < r->rank; i++) {
        cg_window *w = &r->window[i];
        *w = (cg_window){.size = cg_shape_of(r->x).size[2 + i], .extent = window.size[i]};
        w->stride = o->stride[i] ? o->stride[i] : i > 0 && o->stride[0] ? r->window[i - 1].stride : window.size[i];
        w->dilation = o->dilation[i] ? o->dilation[i] : i > 0 ? r->window[i - 1].dilation : 1;
        if (w->extent < 1) return refuse(r, "a window of", i, w->extent);
        if (w->stride < 1) return refuse(r, "a stride of", i, w->stride);
        if (w->dilation < 1) return refuse(r, "a dilation of", i, w->dilation);
        if (w->size < 1) return refuse(r, "an extent of", i, w->size);
        if (!place_window(r, i, o)) return false;
    }
    r->x = cg_to_floating(r->x);
    return true;
}

static bool place_bins(request *r, cg_shape size)
{
    if (!rank_fits(r, size.rank)) return false;
    for (int i = 0; i < r->rank; i++) {
        r->window[i] = (cg_window){cg_shape_of(r->x).size[2 + i], 0, size.size[i], 1, 1, 0};
        if (size.size[i] < 1) return refuse(r, "a result of", i, size.size[i]);
        if (r->window[i].size < 1) return refuse(r, "an extent of", i, r->window[i].size);
    }
    r->x = cg_to_floating(r->x);
    return true;
}

/* ---- Public functions -------------------------------------------------------------------------------------------- */

static const cg_pool_options defaults;

static cg_tensor max_of(const request *r, cg_tensor *indices)
{
    int64_t attributes[CG_MAX_SPATIAL * CG_WINDOW_NUMBERS];
    cg_tensor outputs[2];
    const int count = cg_write_windows(r->window, r->rank, attributes);
    if (!cg_apply_all(&max_op, &r->x, 1, attributes, count, outputs)) return (cg_tensor){0};
    if (indices) *indices = outputs[1];
    return outputs[0];
}

static cg_tensor sum_of(const request *r, cg_tensor x)
{
    int64_t attributes[CG_MAX_SPATIAL * CG_WINDOW_NUMBERS];
    const int count = cg_write_windows(r->window, r->rank, attributes);
    return cg_apply(&sum_op, &x, 1, attributes, count);
}

cg_tensor cg_max_pool_indices_with(cg_tensor x, cg_shape window, cg_tensor *indices, const cg_pool_options *options)
{
    request r = {.op = "max_pool", .x = x};
    if (indices) *indices = (cg_tensor){0};
    return place_windows(&r, window, options ? options : &defaults) ? max_of(&r, indices) : (cg_tensor){0};
}

cg_tensor cg_max_pool_with(cg_tensor x, cg_shape window, const cg_pool_options *options)
{
    return cg_max_pool_indices_with(x, window, NULL, options);
}

cg_tensor cg_max_unpool(cg_tensor x, cg_tensor indices, cg_shape size)
{
    return cg_apply(&put_op, (cg_tensor[]){cg_to_floating(x), indices}, 2, size.size, size.rank);
}

/* The number of elements of each window: the sum over ones, with the padding among them if it counts. */
static cg_tensor counts_of(const request *r, bool with_padding)
{
    request ones = *r;
    cg_shape shape = {.rank = r->rank + 2, .size = {1, 1}};
    for (int i = 0; i < r->rank; i++) {
        cg_window *w = &ones.window[i];
        if (with_padding) {
            w->size += w->before + r->after[i];
            w->before = 0;
        }
        shape.size[2 + i] = w->size;
    }
    return sum_of(&ones, cg_ones(cg_context_of(r->x), shape, .dtype = cg_dtype_of(r->x)));
}

cg_tensor cg_average_pool_with(cg_tensor x, cg_shape window, const cg_pool_options *options)
{
    const cg_pool_options *o = options ? options : &defaults;
    request r = {.op = "average_pool", .x = x};
    double extent = 1;
    bool whole = true;
    if (!place_windows(&r, window, o)) return (cg_tensor){0};
    for (int i = 0; i < r.rank; i++) {
        const cg_window *w = &r.window[i];
        const int64_t end = (w->count - 1) * w->stride + cg_window_reach(w) - w->before;
        extent *= (double)w->extent;
        whole &= w->before == 0 && end <= w->size;
    }
    cg_tensor sum = sum_of(&r, r.x);
    if (whole) return cg_mul(sum, cg_size_scalar(cg_context_of(r.x), cg_dtype_of(r.x), 1 / extent));
    return cg_div(sum, counts_of(&r, o->padding != CG_PADDING_SAME && !o->exclude_padding));
}

/* Where a sum is 0 its root has no derivative: 1 stands in for it. */
cg_tensor cg_lp_pool_with(cg_tensor x, cg_shape window, double p, const cg_pool_options *options)
{
    request r = {.op = "lp_pool", .x = x};
    if (!place_windows(&r, window, options ? options : &defaults)) return (cg_tensor){0};
    cg_context *cg = cg_context_of(r.x);
    if (!(p >= 1)) return cg_report(cg, CG_ERROR_ARGUMENT, "lp_pool", "p is %g, below 1", p);
    cg_tensor sum = sum_of(&r, p == 2 ? cg_square(r.x) : cg_pow(cg_abs(r.x), cg_scalar(cg, p)));
    cg_tensor any = cg_not_equal(sum, cg_literal_like(sum, 0));
    cg_tensor safe = cg_where(any, sum, cg_literal_like(sum, 1));
    cg_tensor root = p == 2 ? cg_sqrt(safe) : cg_pow(safe, cg_scalar(cg, 1 / p));
    return cg_where(any, root, cg_literal_like(sum, 0));
}

cg_tensor cg_adaptive_max_pool(cg_tensor x, cg_shape size, cg_tensor *indices)
{
    request r = {.op = "adaptive_max_pool", .x = x};
    if (indices) *indices = (cg_tensor){0};
    return place_bins(&r, size) ? max_of(&r, indices) : (cg_tensor){0};
}

cg_tensor cg_adaptive_average_pool(cg_tensor x, cg_shape size)
{
    request r = {.op = "adaptive_average_pool", .x = x};
    return place_bins(&r, size) ? cg_div(sum_of(&r, r.x), counts_of(&r, false)) : (cg_tensor){0};
}

/* One bin per spatial axis, and none left in the result. */
static cg_shape single_bins(cg_tensor x)
{
    cg_shape one = {.rank = cg_shape_of(x).rank - 2};
    for (int i = 0; i < one.rank; i++) one.size[i] = 1;
    return one;
}

static cg_tensor without_places(cg_tensor pooled)
{
    const cg_shape shape = cg_shape_of(pooled);
    return cg_is_null(pooled) ? pooled : cg_reshape(pooled, CG_SHAPE(shape.size[0], shape.size[1]));
}

cg_tensor cg_global_max_pool(cg_tensor x)
{
    return without_places(cg_adaptive_max_pool(x, single_bins(x), NULL));
}

cg_tensor cg_global_average_pool(cg_tensor x)
{
    request r = {.op = "global_average_pool", .x = x};
    if (!place_bins(&r, single_bins(x))) return (cg_tensor){0};
    cg_axes spatial = {.count = r.rank};
    for (int i = 0; i < r.rank; i++) spatial.axis[i] = 2 + i;
    return cg_mean(r.x, .axes = spatial);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static const cg_op *const list[] = {&max_op, &put_op, &take_op, &sum_op, &spread_op};
static const cg_op_function functions[] = {
    {"max_pool_indices",
     "max_pool",
     {.formula = "max_pool, and in which place of its channel each was found, i32",
      .call = "x, window, indices, .stride, .dilation, .padding, .before, .after, .ceil_mode",
      .edges = "as max_pool",
      .pytorch = "nn.functional.max_pool2d (return_indices=True)",
      .dtypes = "any → floating"}},
    {"average_pool",
     "pool_sum",
     {.formula = "the mean of each window",
      .call = "x, window, .stride, .dilation, .padding, .before, .after, .ceil_mode, .exclude_padding",
      .edges = "padding counts as 0",
      .keras = "ops.average_pool, layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D",
      .pytorch = "nn.functional.avg_pool1d, nn.functional.avg_pool2d, nn.functional.avg_pool3d, nn.AvgPool2d",
      .dtypes = "any → floating"}},
    {"lp_pool",
     "pool_sum",
     {.formula = "(Σ |x|^p)^(1/p) of each window",
      .call = "x, window, p, .stride, .dilation, .padding, .before, .after, .ceil_mode",
      .edges = "subgradient 0 where all are 0; padding counts as 0",
      .pytorch = "nn.functional.lp_pool1d, nn.functional.lp_pool2d, nn.LPPool2d",
      .dtypes = "any → floating"}},
    {"adaptive_max_pool",
     "max_pool",
     {.formula = "the largest element of bins ⌊o · n / c⌋ to ⌈(o + 1) · n / c⌉ - 1, which make the extents size; and "
                 "its places",
      .call = "x, size, indices",
      .edges = "as max_pool",
      .keras = "layers.AdaptiveMaxPooling2D",
      .pytorch = "nn.functional.adaptive_max_pool1d, nn.functional.adaptive_max_pool2d, "
                 "nn.functional.adaptive_max_pool3d, nn.AdaptiveMaxPool2d",
      .dtypes = "any → floating"}},
    {"adaptive_average_pool",
     "pool_sum",
     {.formula = "the mean of such bins",
      .call = "x, size",
      .keras = "layers.AdaptiveAveragePooling2D",
      .pytorch = "nn.functional.adaptive_avg_pool1d, nn.functional.adaptive_avg_pool2d, "
                 "nn.functional.adaptive_avg_pool3d, nn.AdaptiveAvgPool2d",
      .dtypes = "any → floating"}},
    {"global_max_pool",
     "max_pool",
     {.formula = "the largest of each channel: [batch, channels]",
      .call = "x",
      .edges = "as max_pool",
      .keras = "layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D, layers.GlobalMaxPooling3D",
      .pytorch = "amax",
      .dtypes = "any → floating"}},
    {"global_average_pool",
     "mean",
     {.formula = "the mean of each channel: [batch, channels]",
      .call = "x",
      .keras = "layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D, layers.GlobalAveragePooling3D",
      .pytorch = "mean",
      .dtypes = "any → floating"}},
};
const cg_op_family cg_ops_pooling = {OPS(list), FUNCTIONS(functions), .title = "Pooling",
                                     .introduction = "Along one to three axes; x is [batch, channels, spatial...]."};

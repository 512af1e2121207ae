/* Convolution, the gradient in its input and the gradient in its kernel: three composed ops with the same attributes,
 * each with the other two as its derivatives. They become matrix products with windows of the input; one loop over the
 * spatial axes serves one, two and three of them. */
#include "ops/windows.h"

#include <stdio.h>
#include <string.h>

/* A convolution of [batch, channels, size...] to [batch, outputs, count...]. In the attributes: groups, then the
 * windows. */
typedef struct geometry {
    int rank;
    int64_t groups;
    cg_window window[CG_MAX_SPATIAL];
} geometry;

enum { GEOMETRY_NUMBERS = 1 + CG_MAX_SPATIAL * CG_WINDOW_NUMBERS };

static int write_geometry(const geometry *g, int64_t *attributes)
{
    attributes[0] = g->groups;
    return 1 + cg_write_windows(g->window, g->rank, attributes + 1);
}

static geometry geometry_of(const cg_call *call)
{
    geometry g = {.rank = call->attribute_count / CG_WINDOW_NUMBERS, .groups = call->attributes[0]};
    for (int i = 0; i < g.rank; i++) {
        const int64_t *a = call->attributes + 1 + i * CG_WINDOW_NUMBERS;
        g.window[i] = (cg_window){a[0], a[1], a[2], a[3], a[4], a[5]};
    }
    return g;
}

static cg_tensor apply(const cg_op *op, cg_tensor a, cg_tensor b, const geometry *g)
{
    int64_t attributes[GEOMETRY_NUMBERS];
    const int count = write_geometry(g, attributes);
    return cg_apply(op, (cg_tensor[]){a, b}, 2, attributes, count);
}

static const cg_op convolution_op, data_op, kernel_op;

/* ---- Shapes ------------------------------------------------------------------------------------------------------ */

typedef enum spatial { SIZE, EXTENT, COUNT } spatial;

static int64_t along(const geometry *g, spatial which, int axis)
{
    const cg_window *w = &g->window[axis];
    return which == SIZE ? w->size : which == EXTENT ? w->extent : w->count;
}

static int64_t product_along(const geometry *g, spatial which)
{
    int64_t product = 1;
    for (int i = 0; i < g->rank; i++) product *= along(g, which, i);
    return product;
}

/* [a, b, spatial...] */
static cg_shape shape_of(const geometry *g, int64_t a, int64_t b, spatial which)
{
    cg_shape shape = {.rank = g->rank + 2, .size = {a, b}};
    for (int i = 0; i < g->rank; i++) shape.size[i + 2] = along(g, which, i);
    return shape;
}

static bool has_shape(const cg_call *call, int input, const geometry *g, spatial which)
{
    const cg_shape *x = &call->input_shapes[input];
    if (x->rank == g->rank + 2 && cg_shapes_equal(*x, shape_of(g, x->size[0], x->size[1], which))) return true;
    return cg_op_error(call, "%s does not have the extents of such a convolution", cg_input_text(call, input));
}

static bool infer_as(const cg_call *call, cg_inferred *result, cg_shape shape)
{
    result->shape[0] = shape;
    result->dtype[0] = cg_promote(call->input_dtypes[0], call->input_dtypes[1]);
    return true;
}

/* ---- Pieces ------------------------------------------------------------------------------------------------------ */

/* Windows of one element, one after the other: the windows are the elements. */
static bool is_pointwise(const geometry *g)
{
    for (int i = 0; i < g->rank; i++) {
        const cg_window *w = &g->window[i];
        if (w->extent != 1 || w->stride != 1 || w->before != 0 || w->count != w->size) return false;
    }
    return true;
}

/* One channel in, one out, per group. */
static bool is_depthwise(const geometry *g, cg_shape kernel)
{
    return g->groups > 1 && kernel.size[0] == g->groups && kernel.size[1] == 1;
}

/* x [batch, channels, size...] as [batch, groups, channels of one * extents, places]. */
static cg_tensor columns_of(cg_tensor x, const geometry *g)
{
    const cg_shape shape = cg_shape_of(x);
    const int64_t batch = shape.size[0], channels = shape.size[1] / g->groups;
    const cg_shape columns = CG_SHAPE(batch, g->groups, channels * product_along(g, EXTENT), product_along(g, COUNT));
    if (is_pointwise(g)) return cg_reshape(x, columns);
    cg_tensor apart = cg_reshape(x, shape_of(g, batch * g->groups, channels, SIZE));
    return cg_reshape(cg_windows(apart, g->window, g->rank), columns);
}

/* The same with all places of the batch in one row: [groups, channels of one * extents, batch * places]. */
static cg_tensor rows_of(cg_tensor x, const geometry *g)
{
    const cg_shape shape = cg_shape_of(x);
    cg_tensor windows = is_pointwise(g) ? x : cg_windows(x, g->window, g->rank);
    const int places = is_pointwise(g) ? 2 : 2 + g->rank, rank = cg_shape_of(windows).rank;
    cg_axes axes = {.count = rank};
    for (int i = 0; i < rank; i++) axes.axis[i] = i < places - 1 ? i + 1 : i == places - 1 ? 0 : i;
    return cg_reshape(cg_permute(windows, axes),
                      CG_SHAPE(g->groups, shape.size[1] / g->groups * product_along(g, EXTENT),
                               shape.size[0] * product_along(g, COUNT)));
}

/* kernel [outputs, channels of a group, extents...] as [groups, outputs of one, all else]. */
static cg_tensor kernel_matrices(cg_tensor kernel, const geometry *g)
{
    const cg_shape shape = cg_shape_of(kernel);
    return cg_reshape(kernel, CG_SHAPE(g->groups, shape.size[0] / g->groups, shape.size[1] * product_along(g, EXTENT)));
}

/* ---- convolution: x, kernel -------------------------------------------------------------------------------------- */

static bool convolution_infer(const cg_call *call, cg_inferred *result)
{
    const geometry g = geometry_of(call);
    return has_shape(call, 0, &g, SIZE) && has_shape(call, 1, &g, EXTENT) &&
           infer_as(call, result, shape_of(&g, call->input_shapes[0].size[0], call->input_shapes[1].size[0], COUNT));
}

/* kernel [channels, 1, extents...] without the 1. */
static cg_tensor channel_kernels(cg_tensor kernel, const geometry *g)
{
    cg_shape shape = {.rank = 1 + g->rank, .size = {g->groups}};
    for (int i = 0; i < g->rank; i++) shape.size[1 + i] = along(g, EXTENT, i);
    return cg_reshape(kernel, shape);
}

static cg_tensor convolve(cg_tensor x, cg_tensor kernel, const geometry *g)
{
    const cg_shape shape = cg_shape_of(kernel);
    if (is_depthwise(g, shape)) return cg_convolve_channels(x, channel_kernels(kernel, g), g->window, g->rank);
    cg_tensor products = cg_matmul(kernel_matrices(kernel, g), columns_of(x, g));
    return cg_reshape(products, shape_of(g, cg_shape_of(x).size[0], shape.size[0], COUNT));
}

static void convolution_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    const geometry g = geometry_of(call);
    outputs[0] = convolve(inputs[0], inputs[1], &g);
}

static void convolution_vjp(const cg_vjp *v, cg_tensor *result)
{
    const geometry g = geometry_of(v->call);
    cg_tensor x = v->inputs[0], kernel = v->inputs[1], cotangent = v->cotangents[0];
    if (v->wanted[0]) result[0] = cg_cast(apply(&data_op, cotangent, kernel, &g), cg_dtype_of(x));
    if (v->wanted[1]) result[1] = cg_cast(apply(&kernel_op, x, cotangent, &g), cg_dtype_of(kernel));
}

/* Windows of one axis: size, extent, count, stride, dilation, before. */
static const cg_sample convolution_samples[] = {
    {.shapes = {{3, {2, 3, 7}}, {3, {4, 3, 3}}}, ATTRIBUTES(1, 7, 3, 4, 2, 1, 1), .low = -1, .high = 1, .smooth = true},
    {.shapes = {{4, {1, 2, 4, 5}}, {4, {2, 1, 2, 3}}},
     ATTRIBUTES(2, 4, 2, 3, 1, 1, 0, 5, 3, 3, 2, 1, 1),
     .low = -1,
     .high = 1,
     .smooth = true},
    {.shapes = {{4, {2, 4, 2, 3}}, {4, {2, 2, 1, 1}}},
     ATTRIBUTES(2, 2, 1, 2, 1, 1, 0, 3, 1, 3, 1, 1, 0),
     .low = -1,
     .high = 1,
     .smooth = true},
};

static const cg_op convolution_op = {
    .name = "convolution",
    .kind = CG_OP_COMPOSED,
    .inputs = 2,
    .infer = convolution_infer,
    .expand = convolution_expand,
    .deferred = true,
    .vjp = convolution_vjp,
    .text = {.formula = "Σ x[n, first + c, p · stride + k · dilation - before] · kernel[o, c, k] over c, k; first is "
                        "where the group of o begins",
             .call = "x, kernel, .stride, .dilation, .padding, .before, .after, .groups",
             .edges = "places outside x count as 0",
             .keras = "ops.conv, layers.Conv2D, layers.DepthwiseConv2D",
             .pytorch = "conv1d, conv2d, conv3d, nn.Conv2d",
             .dtypes = "any → floating"},
    SAMPLES(convolution_samples),
};

/* ---- convolution_data: cotangent, kernel ------------------------------------------------------------------------- */

static bool data_infer(const cg_call *call, cg_inferred *result)
{
    const geometry g = geometry_of(call);
    const int64_t channels = call->input_shapes[1].rank > 1 ? call->input_shapes[1].size[1] * g.groups : 0;
    return has_shape(call, 0, &g, COUNT) && has_shape(call, 1, &g, EXTENT) &&
           infer_as(call, result, shape_of(&g, call->input_shapes[0].size[0], channels, SIZE));
}

/* The kernel reversed, with outputs for channels: [channels, outputs of a group, extents...]. */
static cg_tensor reversed(cg_tensor kernel, const geometry *g)
{
    const cg_shape shape = cg_shape_of(kernel);
    cg_window windows[CG_MAX_SPATIAL];
    const int64_t outputs = shape.size[0] / g->groups;
    cg_shape apart = {.rank = g->rank + 3, .size = {g->groups, outputs, shape.size[1]}};
    cg_axes exchanged = {.count = apart.rank, .axis = {0, 2, 1}};
    for (int i = 0; i < g->rank; i++) {
        const int64_t extent = shape.size[2 + i];
        apart.size[3 + i] = extent;
        exchanged.axis[3 + i] = 3 + i;
        windows[i] = (cg_window){extent, 1, extent, -1, 1, 1 - extent};
    }
    cg_tensor backwards = cg_pick(kernel, windows, g->rank);
    if (g->groups == 1) return cg_swap_axes(backwards, 0, 1);
    cg_tensor turned = cg_permute(cg_reshape(backwards, apart), exchanged);
    cg_shape whole = {.rank = g->rank + 2, .size = {g->groups * shape.size[1], outputs}};
    memcpy(whole.size + 2, shape.size + 2, (size_t)g->rank * sizeof *whole.size);
    return cg_reshape(turned, whole);
}

/* With strides of 1: a convolution of the cotangent with the reversed kernel. */
static cg_tensor unconvolve_unit(cg_tensor cotangent, cg_tensor kernel, const geometry *g)
{
    geometry back = *g;
    for (int i = 0; i < g->rank; i++) {
        const cg_window *w = &g->window[i];
        back.window[i] = (cg_window){w->count, w->extent,   w->size,
                                     1,        w->dilation, (w->extent - 1) * w->dilation - w->before};
    }
    if (is_pointwise(g) && !is_depthwise(g, cg_shape_of(kernel))) {
        cg_tensor matrices = cg_swap_axes(kernel_matrices(kernel, g), -1, -2);
        return cg_reshape(cg_matmul(matrices, columns_of(cotangent, &back)),
                          shape_of(g, cg_shape_of(cotangent).size[0], cg_shape_of(kernel).size[1] * g->groups, SIZE));
    }
    return convolve(cotangent, reversed(kernel, g), &back);
}

static bool has_strides(const geometry *g)
{
    for (int i = 0; i < g->rank; i++)
        if (g->window[i].stride != 1) return true;
    return false;
}

/* With strides: what each place of the cotangent gives to each element of its window, added up where windows overlap.
 */
static cg_tensor unconvolve_strided(cg_tensor cotangent, cg_tensor kernel, const geometry *g)
{
    const int64_t batch = cg_shape_of(cotangent).size[0], channels = cg_shape_of(kernel).size[1] * g->groups;
    const cg_shape places = CG_SHAPE(batch, g->groups, cg_shape_of(kernel).size[0] / g->groups,
                                     product_along(g, COUNT));
    cg_tensor shares = cg_matmul(cg_swap_axes(kernel_matrices(kernel, g), -1, -2), cg_reshape(cotangent, places));
    cg_shape windows = {.rank = 2 + 2 * g->rank, .size = {batch, channels}};
    for (int i = 0; i < g->rank; i++) {
        windows.size[2 + i] = along(g, EXTENT, i);
        windows.size[2 + g->rank + i] = along(g, COUNT, i);
    }
    return cg_fold_windows(cg_reshape(shares, windows), g->window, g->rank);
}

static void data_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    const geometry g = geometry_of(call);
    outputs[0] = (has_strides(&g) ? unconvolve_strided : unconvolve_unit)(inputs[0], inputs[1], &g);
}

static void data_vjp(const cg_vjp *v, cg_tensor *result)
{
    const geometry g = geometry_of(v->call);
    cg_tensor cotangent = v->inputs[0], kernel = v->inputs[1], x = v->cotangents[0];
    if (v->wanted[0]) result[0] = cg_cast(apply(&convolution_op, x, kernel, &g), cg_dtype_of(cotangent));
    if (v->wanted[1]) result[1] = cg_cast(apply(&kernel_op, x, cotangent, &g), cg_dtype_of(kernel));
}

static const cg_sample data_samples[] = {
    {.shapes = {{3, {2, 4, 4}}, {3, {4, 3, 3}}}, ATTRIBUTES(1, 7, 3, 4, 2, 1, 1), .low = -1, .high = 1, .smooth = true},
    {.shapes = {{3, {1, 2, 3}}, {3, {2, 1, 2}}}, ATTRIBUTES(1, 9, 2, 3, 3, 2, 1), .low = -1, .high = 1, .smooth = true},
    {.shapes = {{4, {1, 2, 3, 3}}, {4, {2, 1, 2, 3}}},
     ATTRIBUTES(2, 4, 2, 3, 1, 1, 0, 5, 3, 3, 2, 1, 1),
     .low = -1,
     .high = 1,
     .smooth = true},
};

static const cg_op data_op = {
    .name = "convolution_data",
    .kind = CG_OP_COMPOSED,
    .inputs = 2,
    .infer = data_infer,
    .expand = data_expand,
    .deferred = true,
    .vjp = data_vjp,
    .text = {.formula = "the gradient of a convolution in its input, from cotangent and kernel", .internal = true},
    SAMPLES(data_samples),
};

/* ---- convolution_kernel: x, cotangent ---------------------------------------------------------------------------- */

static bool kernel_infer(const cg_call *call, cg_inferred *result)
{
    const geometry g = geometry_of(call);
    if (!has_shape(call, 0, &g, SIZE) || !has_shape(call, 1, &g, COUNT)) return false;
    const int64_t channels = call->input_shapes[0].size[1], outputs = call->input_shapes[1].size[1];
    return infer_as(call, result, shape_of(&g, outputs, channels / g.groups, EXTENT));
}

/* The sums over batch and places are one matrix product, of depth batch * places. The windows are its rows, so that
 * places, which lie side by side, are what a row goes along. */
static cg_tensor correlate(cg_tensor x, cg_tensor cotangent, const geometry *g)
{
    geometry places = *g;
    for (int i = 0; i < g->rank; i++)
        places.window[i] = (cg_window){along(g, COUNT, i), 1, along(g, COUNT, i), 1, 1, 0};
    return cg_swap_axes(cg_matmul(rows_of(x, g), cg_swap_axes(rows_of(cotangent, &places), -1, -2)), -1, -2);
}

static void kernel_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    const geometry g = geometry_of(call);
    const cg_shape x = call->input_shapes[0], cotangent = call->input_shapes[1];
    const cg_shape kernel = shape_of(&g, cotangent.size[1], x.size[1] / g.groups, EXTENT);
    const cg_tensor sums = is_depthwise(&g, kernel)
                               ? cg_sum(cg_correlate_channels(inputs[0], inputs[1], g.window, g.rank),
                                        .axes = CG_AXES(0))
                               : correlate(inputs[0], inputs[1], &g);
    outputs[0] = cg_reshape(sums, kernel);
}

static void kernel_vjp(const cg_vjp *v, cg_tensor *result)
{
    const geometry g = geometry_of(v->call);
    cg_tensor x = v->inputs[0], cotangent = v->inputs[1], kernel = v->cotangents[0];
    if (v->wanted[0]) result[0] = cg_cast(apply(&data_op, cotangent, kernel, &g), cg_dtype_of(x));
    if (v->wanted[1]) result[1] = cg_cast(apply(&convolution_op, x, kernel, &g), cg_dtype_of(cotangent));
}

static const cg_sample kernel_samples[] = {
    {.shapes = {{3, {2, 3, 7}}, {3, {2, 4, 4}}}, ATTRIBUTES(1, 7, 3, 4, 2, 1, 1), .low = -1, .high = 1, .smooth = true},
    {.shapes = {{4, {1, 2, 4, 5}}, {4, {1, 2, 3, 3}}},
     ATTRIBUTES(2, 4, 2, 3, 1, 1, 0, 5, 3, 3, 2, 1, 1),
     .low = -1,
     .high = 1,
     .smooth = true},
};

static const cg_op kernel_op = {
    .name = "convolution_kernel",
    .kind = CG_OP_COMPOSED,
    .inputs = 2,
    .infer = kernel_infer,
    .expand = kernel_expand,
    .deferred = true,
    .vjp = kernel_vjp,
    .text = {.formula = "the gradient of a convolution in its kernel, from input and cotangent", .internal = true},
    SAMPLES(kernel_samples),
};

/* ---- Options ----------------------------------------------------------------------------------------------------- */

/* What the two public functions have in common: the operands, and their geometry as far as it does not depend on the
 * padding. Window sizes are of the larger side, x of a convolution and the result of a transposed one. */
typedef struct request {
    const char *op;
    cg_tensor x, kernel;
    geometry g;
    char why[160];
} request;

static bool refuse(request *r, const char *why)
{
    cg_report(cg_context_of(r->x), CG_ERROR_ARGUMENT, r->op, "%s with kernel %s: %s", cg_tensor_text(r->x),
              cg_tensor_text(r->kernel), why);
    return false;
}

/* Numbers left out repeat the one before. */
static bool read_steps(request *r, const char *what, const int64_t *given, int64_t *steps)
{
    for (int i = 0; i < r->g.rank; i++) {
        steps[i] = given[i] != 0 ? given[i] : i > 0 ? steps[i - 1] : 1;
        if (steps[i] >= 1) continue;
        snprintf(r->why, sizeof r->why, "a %s of %lld", what, (long long)steps[i]);
        return refuse(r, r->why);
    }
    return true;
}

static bool ranks_fit(request *r)
{
    const cg_shape x = cg_shape_of(r->x), kernel = cg_shape_of(r->kernel);
    r->g.rank = x.rank - 2;
    if (r->g.rank < 1 || r->g.rank > CG_MAX_SPATIAL)
        return refuse(r, "the input is not [batch, channels, spatial...] with one to three spatial axes");
    if (kernel.rank != x.rank) return refuse(r, "the kernel does not have as many axes as the input");
    for (int i = 0; i < kernel.rank; i++)
        if (kernel.size[i] == 0) return refuse(r, "the kernel has no elements");
    return true;
}

/* `channels` and `outputs` are of the convolution: those of the kernel's second axis are of one group. */
static bool groups_fit(request *r, int64_t groups, int channel_axis)
{
    const cg_shape x = cg_shape_of(r->x), kernel = cg_shape_of(r->kernel);
    const int64_t found = x.size[1], wanted = kernel.size[channel_axis] * (channel_axis == 1 ? groups : 1);
    r->g.groups = groups;
    if (groups < 1 || found % groups || kernel.size[0] % groups)
        snprintf(r->why, sizeof r->why, "%lld groups do not divide %lld channels and a kernel of %lld",
                 (long long)groups, (long long)found, (long long)kernel.size[0]);
    else if (found != wanted)
        snprintf(r->why, sizeof r->why, "the input has %lld channels, the kernel takes %lld", (long long)found,
                 (long long)wanted);
    else
        return true;
    return refuse(r, r->why);
}

static bool padding_fits(request *r, const int64_t *before, const int64_t *after)
{
    for (int i = 0; i < r->g.rank; i++)
        if (before[i] < 0 || after[i] < 0) return refuse(r, "padding below 0");
    return true;
}

static bool start(request *r, int64_t groups, int channel_axis, const int64_t *stride, const int64_t *dilation)
{
    int64_t strides[CG_MAX_SPATIAL], dilations[CG_MAX_SPATIAL];
    const cg_tensor operands[] = {r->x, r->kernel};
    for (int k = 0; k < 2; k++)
        if (cg_is_null(operands[k])) {
            cg_report_null_operand(r->op, operands, 2, k);
            return false;
        }
    if (!ranks_fit(r) || !groups_fit(r, groups ? groups : 1, channel_axis) ||
        !read_steps(r, "stride", stride, strides) || !read_steps(r, "dilation", dilation, dilations))
        return false;
    for (int i = 0; i < r->g.rank; i++)
        r->g.window[i] = (cg_window){
            .extent = cg_shape_of(r->kernel).size[2 + i], .stride = strides[i], .dilation = dilations[i]};
    /* Floating, and of one dtype. */
    const cg_dtype dtype = cg_floating_dtype(cg_promote(cg_dtype_of(r->x), cg_dtype_of(r->kernel)));
    r->x = cg_cast(r->x, dtype);
    r->kernel = cg_cast(r->kernel, dtype);
    return true;
}

/* Elements from the first to the last that a window covers. */
static int64_t reach(const cg_window *w)
{
    return (w->extent - 1) * w->dilation + 1;
}

static int64_t at_least_0(int64_t x)
{
    return x > 0 ? x : 0;
}

/* ---- cg_convolution ---------------------------------------------------------------------------------------------- */

static bool place_windows(request *r, const cg_convolution_options *o)
{
    const cg_shape x = cg_shape_of(r->x);
    for (int i = 0; i < r->g.rank; i++) {
        cg_window *w = &r->g.window[i];
        int64_t padded = w->size = x.size[2 + i];
        if (o->padding == CG_PADDING_SAME) {
            w->count = (w->size + w->stride - 1) / w->stride;
            w->before = at_least_0((w->count - 1) * w->stride + reach(w) - w->size) / 2;
            continue;
        }
        if (o->padding == CG_PADDING_EXPLICIT) {
            w->before = o->before[i];
            padded += o->before[i] + o->after[i];
        }
        if (reach(w) > padded) {
            snprintf(r->why, sizeof r->why,
                     "along spatial axis %d the kernel reaches over %lld elements, there are %lld", i,
                     (long long)reach(w), (long long)padded);
            return refuse(r, r->why);
        }
        w->count = (padded - reach(w)) / w->stride + 1;
    }
    return true;
}

cg_tensor cg_convolution_with(cg_tensor x, cg_tensor kernel, const cg_convolution_options *options)
{
    static const cg_convolution_options defaults;
    const cg_convolution_options *o = options ? options : &defaults;
    request r = {.op = "convolution", .x = x, .kernel = kernel};
    if (!start(&r, o->groups, 1, o->stride, o->dilation) || !padding_fits(&r, o->before, o->after) ||
        !place_windows(&r, o))
        return (cg_tensor){0};
    return apply(&convolution_op, r.x, r.kernel, &r.g);
}

/* ---- cg_transposed_convolution ----------------------------------------------------------------------------------- */

static bool place_transposed(request *r, const cg_transposed_convolution_options *o)
{
    const cg_shape x = cg_shape_of(r->x);
    for (int i = 0; i < r->g.rank; i++) {
        cg_window *w = &r->g.window[i];
        const int64_t extra = o->output_padding[i], whole = (x.size[2 + i] - 1) * w->stride + reach(w);
        w->count = x.size[2 + i];
        w->size = whole + extra;
        if (extra < 0 || (extra > 0 && extra >= w->stride && extra >= w->dilation))
            return refuse(r, "output_padding must be below stride or dilation, and not below 0");
        if (o->padding == CG_PADDING_SAME) {
            w->size = extra > 0 ? whole + extra - reach(w) / 2 * 2 : w->count * w->stride;
            w->before = at_least_0((w->count - 1) * w->stride + reach(w) - w->size) / 2;
        } else if (o->padding == CG_PADDING_EXPLICIT) {
            w->before = o->before[i];
            w->size -= o->before[i] + o->after[i];
        } else if (extra == 0 && w->size < w->count * w->stride) {
            w->size = w->count * w->stride;
        }
        if (w->size > 0) continue;
        snprintf(r->why, sizeof r->why, "along spatial axis %d the result has %lld elements", i, (long long)w->size);
        return refuse(r, r->why);
    }
    return true;
}

cg_tensor cg_transposed_convolution_with(cg_tensor x, cg_tensor kernel,
                                         const cg_transposed_convolution_options *options)
{
    static const cg_transposed_convolution_options defaults;
    const cg_transposed_convolution_options *o = options ? options : &defaults;
    request r = {.op = "transposed_convolution", .x = x, .kernel = kernel};
    if (!start(&r, o->groups, 0, o->stride, o->dilation) || !padding_fits(&r, o->before, o->after) ||
        !place_transposed(&r, o))
        return (cg_tensor){0};
    return apply(&data_op, r.x, r.kernel, &r.g);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static const cg_op *const list[] = {&convolution_op, &data_op, &kernel_op};
static const cg_op_function functions[] = {
    {"transposed_convolution",
     "convolution_data",
     {.formula = "the gradient of such a convolution in its input, with x as the cotangent",
      .call = "x, kernel, .stride, .dilation, .padding, .before, .after, .output_padding, .groups",
      .keras = "ops.conv_transpose, layers.Conv2DTranspose",
      .pytorch = "conv_transpose1d, conv_transpose2d, conv_transpose3d, nn.ConvTranspose2d",
      .dtypes = "any → floating"}},
};
const cg_op_family cg_ops_convolution = {
    OPS(list), FUNCTIONS(functions), .title = "Convolution",
    .introduction = "Along one to three axes; x is [batch, channels, spatial...], the kernel is not reversed. The "
                    "three ops of a convolution are each other's derivatives."};

/* Windows that slide along the last axes of a tensor, as a view, and the sum over them, each the derivative of the
 * other. Both have the windows as attributes. */
#include "ops/windows.h"

#include <string.h>

void cg_window_pad_same(cg_window *w, int64_t *after)
{
    w->count = (w->size + w->stride - 1) / w->stride;
    const int64_t missing = (w->count - 1) * w->stride + cg_window_reach(w) - w->size;
    w->before = missing > 0 ? missing / 2 : 0;
    *after = missing > 0 ? missing - w->before : 0;
}

int cg_window_rank(const cg_call *call)
{
    return call->attribute_count / CG_WINDOW_NUMBERS;
}

cg_window cg_window_of(const cg_call *call, int axis)
{
    const int64_t *a = call->attributes + axis * CG_WINDOW_NUMBERS;
    return (cg_window){a[0], a[1], a[2], a[3], a[4], a[5]};
}

int cg_write_windows(const cg_window *windows, int rank, int64_t *attributes)
{
    for (int i = 0; i < rank; i++) {
        const cg_window *w = &windows[i];
        const int64_t numbers[] = {w->size, w->extent, w->count, w->stride, w->dilation, w->before};
        memcpy(attributes + i * CG_WINDOW_NUMBERS, numbers, sizeof numbers);
    }
    return rank * CG_WINDOW_NUMBERS;
}

void cg_window_parameters(const cg_call *call, cg_launch *launch)
{
    static const int64_t single[CG_WINDOW_NUMBERS] = {1, 1, 1, 1, 1, 0};
    const int rank = cg_window_rank(call), missing = CG_MAX_SPATIAL - rank;
    launch->parameter_count = CG_MAX_SPATIAL * CG_WINDOW_NUMBERS;
    for (int i = 0; i < missing; i++) memcpy(launch->parameters + i * CG_WINDOW_NUMBERS, single, sizeof single);
    memcpy(launch->parameters + missing * CG_WINDOW_NUMBERS, call->attributes,
           (size_t)(rank * CG_WINDOW_NUMBERS) * sizeof *call->attributes);
}

static cg_tensor apply(const cg_op *op, cg_tensor x, const cg_window *windows, int rank)
{
    int64_t attributes[CG_MAX_SPATIAL * CG_WINDOW_NUMBERS];
    const int count = cg_write_windows(windows, rank, attributes);
    return cg_apply(op, &x, 1, attributes, count);
}

/* The windows that a call has, for the other op. */
static cg_tensor apply_again(const cg_op *op, const cg_vjp *v)
{
    return cg_apply(op, &v->cotangents[0], 1, v->call->attributes, v->call->attribute_count);
}

static const cg_op windows_op, fold_op;

/* ---- windows ----------------------------------------------------------------------------------------------------- */

static bool windows_infer(const cg_call *call, cg_inferred *result)
{
    const int rank = cg_window_rank(call), lead = call->input_shapes[0].rank - rank;
    cg_shape *out = &result->shape[0];
    if (lead < 0 || lead + 2 * rank > CG_MAX_RANK)
        return cg_op_error(call, "%s has no room for windows along %d axes", cg_input_text(call, 0), rank);
    *out = call->input_shapes[0];
    out->rank = lead + 2 * rank;
    for (int i = 0; i < rank; i++) {
        out->size[lead + i] = cg_window_of(call, i).extent;
        out->size[lead + rank + i] = cg_window_of(call, i).count;
    }
    result->dtype[0] = call->input_dtypes[0];
    return true;
}

static void windows_move(const cg_call *call, cg_mapping *mapping)
{
    const int rank = cg_window_rank(call), lead = call->input_shapes[0].rank - rank;
    for (int i = 0; i < lead; i++) mapping->factor[i][i] = 1;
    for (int i = 0; i < rank; i++) {
        const cg_window w = cg_window_of(call, i);
        mapping->offset[lead + i] = -w.before;
        mapping->factor[lead + i][lead + i] = w.dilation;
        mapping->factor[lead + i][lead + rank + i] = w.stride;
        const int64_t way = (w.count - 1) * w.stride, reach = (w.extent - 1) * w.dilation;
        const int64_t first = (way < 0 ? way : 0) - w.before, last = (way > 0 ? way : 0) + reach - w.before;
        mapping->guarded |= first < 0 || last >= w.size;
    }
}

static void windows_vjp(const cg_vjp *v, cg_tensor *result)
{
    result[0] = apply_again(&fold_op, v);
}

static const cg_sample windows_samples[] = {
    {.shapes = {{2, {2, 7}}}, ATTRIBUTES(7, 3, 4, 2, 1, 1), .low = -2, .high = 2, .smooth = true},
    {.shapes = {{3, {2, 4, 5}}}, ATTRIBUTES(4, 2, 3, 1, 1, 0, 5, 2, 2, 2, 3, 1), .low = -2, .high = 2, .smooth = true},
    {.shapes = {{2, {2, 7}}}, ATTRIBUTES(7, 2, 3, -2, 1, -5), .low = -2, .high = 2, .smooth = true},
};

static const cg_op windows_op = {
    .name = "windows",
    .kind = CG_OP_MOVE,
    .inputs = 1,
    .infer = windows_infer,
    .move = windows_move,
    .vjp = windows_vjp,
    .text = {.formula = "the windows of the last axes: [.., size..] to [.., extent.., count..]", .internal = true},
    SAMPLES(windows_samples),
};

cg_tensor cg_windows(cg_tensor x, const cg_window *windows, int rank)
{
    return apply(&windows_op, x, windows, rank);
}

cg_tensor cg_pick(cg_tensor x, const cg_window *windows, int rank)
{
    cg_shape shape = cg_shape_of(x);
    for (int i = 0; i < rank; i++) shape.size[shape.rank - rank + i] = windows[i].count;
    return cg_reshape(cg_windows(x, windows, rank), shape);
}

/* ---- fold_windows ------------------------------------------------------------------------------------------------ */

static bool fold_infer(const cg_call *call, cg_inferred *result)
{
    const int rank = cg_window_rank(call), lead = call->input_shapes[0].rank - 2 * rank;
    const cg_shape *in = &call->input_shapes[0];
    bool fits = lead >= 0;
    for (int i = 0; fits && i < rank; i++)
        fits = in->size[lead + i] == cg_window_of(call, i).extent &&
               in->size[lead + rank + i] == cg_window_of(call, i).count;
    if (!fits) return cg_op_error(call, "%s is not made of such windows", cg_input_text(call, 0));
    result->shape[0] = *in;
    result->shape[0].rank = lead + rank;
    for (int i = 0; i < rank; i++) result->shape[0].size[lead + i] = cg_window_of(call, i).size;
    result->dtype[0] = call->input_dtypes[0];
    return true;
}

static bool fold_launch(const cg_call *call, cg_launch *launch)
{
    const int64_t elements = cg_shape_size(call->input_shapes[0]);
    const int rank = cg_window_rank(call);
    int64_t per_element = 1, rows = 1;
    *launch = (cg_launch){0};
    cg_window_parameters(call, launch);
    for (int i = 0; i < rank; i++) {
        const cg_window w = cg_window_of(call, i);
        per_element *= w.extent * w.count;
        rows *= i < rank - 1 ? w.size : 1;
    }
    launch->items = per_element > 0 ? elements / per_element * rows : 0;
    return true;
}

static void fold_vjp(const cg_vjp *v, cg_tensor *result)
{
    result[0] = apply_again(&windows_op, v);
}

static const cg_sample fold_samples[] = {
    {.shapes = {{3, {2, 3, 4}}}, ATTRIBUTES(7, 3, 4, 2, 1, 1), .low = -2, .high = 2, .smooth = true},
    {.shapes = {{5, {2, 2, 2, 3, 2}}},
     ATTRIBUTES(4, 2, 3, 1, 1, 0, 5, 2, 2, 2, 3, 1),
     .low = -2,
     .high = 2,
     .smooth = true},
};

/* An item is a row of the result. Each element adds up what the windows over it hold, in the windows' order: no two
 * items write the same one. Elements a stride apart lie side by side while they are summed, a part of the row at a
 * time. What will be read for the same row of the next plane is asked for: memory could not foresee it. */
static const cg_op fold_op = {
    .name = "fold_windows",
    .kind = CG_OP_KERNEL,
    .inputs = 1,
    .infer = fold_infer,
    .source =
        "enum { MOST = 128, PHASES = 4, NEAR = 1 << 16 };\n"
        "const int rows = (int)(i % (p6 * p0)), y = rows % (int)p6 + (int)p11, z = rows / (int)p6 + (int)p5;\n"
        "const long plane = p2 * p8 * p14, windows = p1 * p7 * p13, base = i / (p6 * p0) * windows;\n"
        "const int size = (int)p12, places = (int)p14, stride = abs((int)p15);\n"
        "const int step = (int)p16 / stride - ((int)p16 % stride < 0), rest = (int)p16 - step * stride;\n"
        "for (int part = 0; part < size; part += stride * MOST) {\n"
        "    for (int first = part; first < min(part + stride, size); first += PHASES) {\n"
        "        const int phases = min(min((int)PHASES, part + stride - first), size - first);\n"
        "        const int count = min((int)MOST, (size - first + stride - 1) / stride);\n"
        "        const int shift = -(int)p17 - first, start = shift / stride - (shift % stride < 0);\n"
        "        OUT0_T sum[PHASES][MOST];\n"
        "        for (int phase = 0; phase < phases; phase++)\n"
        "            for (int x = 0; x < count; x++) sum[phase][x] = 0;\n"
        "        for (int a = 0; a < p1; a++) {\n"
        "            const int above = z - a * (int)p4, u = above / (int)p3;\n"
        "            if (u * (int)p3 != above || u < 0 || u >= p2) continue;\n"
        "            for (int b = 0; b < p7; b++) {\n"
        "                const int before = y - b * (int)p10, v = before / (int)p9;\n"
        "                if (v * (int)p9 != before || v < 0 || v >= p8) continue;\n"
        "                __global const IN0_T *from = in0 + (base + (a * p7 + b) * p13) * plane + (u * p8 + v) * p14;\n"
        "                int to = start, over = shift - start * stride;\n"
        "                for (int c = 0; c < p13; c++, from += plane) {\n"
        "                    if (over < phases) {\n"
        "                        const int begin = p15 > 0 ? max(0, -to) : max(0, to - count + 1);\n"
        "                        const int end = p15 > 0 ? min(places, count - to) : min(places, to + 1);\n"
        "                        if (windows * plane <= NEAR)\n"
        "                            for (int w = begin; w < end; w += 16) CG_FETCH(from + windows * plane + w);\n"
        "                        if (p15 > 0)\n"
        "                            _Pragma(\"clang loop vectorize_width(8) interleave_count(1)\")\n"
        "                            for (int w = begin; w < end; w++) sum[over][w + to] += from[w];\n"
        "                        else\n"
        "                            for (int w = begin; w < end; w++) sum[over][to - w] += from[w];\n"
        "                    }\n"
        "                    to += step, over += rest;\n"
        "                    if (over >= stride) over -= stride, to++;\n"
        "                }\n"
        "            }\n"
        "        }\n"
        "        __global OUT0_T *row = out0 + i * p12 + first;\n"
        "        const int full = (size - first - phases) / stride + 1;\n"
        "        if (stride == 2 && phases == 2)\n"
        "            for (int x = 0; x < min(count, full); x++) row[2 * x] = sum[0][x], row[2 * x + 1] = sum[1][x];\n"
        "        else\n"
        "            for (int x = 0; x < min(count, full); x++)\n"
        "                for (int phase = 0; phase < phases; phase++) row[x * stride + phase] = sum[phase][x];\n"
        "        for (int x = full; x < count; x++)\n"
        "            for (int phase = 0; first + x * stride + phase < size; phase++) row[x * stride + phase] = "
        "sum[phase][x];\n"
        "    }\n"
        "}\n",
    .launch = fold_launch,
    .folds = true,
    .vjp = fold_vjp,
    .text = {.formula = "each element the sum of what windows took from it: [.., extent.., count..] to [.., size..]",
             .internal = true},
    SAMPLES(fold_samples),
};

cg_tensor cg_fold_windows(cg_tensor windows_of_x, const cg_window *windows, int rank)
{
    return apply(&fold_op, windows_of_x, windows, rank);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static const cg_op *const list[] = {&windows_op, &fold_op};
const cg_op_family cg_ops_windows = {OPS(list)};

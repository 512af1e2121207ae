/* Convolutions of each channel by itself, and the gradient in their kernels, row by row: a matrix product would have
 * one row. ops/convolution.c has the derivatives. */
#include "ops/windows.h"

/* ---- convolve_channels: x [batch, channels, size...], kernel [channels, extent...] ------------------------------- */

static bool fits(const cg_call *call, int lead, int input, const int64_t *expected)
{
    const int rank = cg_window_rank(call);
    const cg_shape *shape = &call->input_shapes[input];
    bool same = shape->rank == lead + rank && shape->size[lead - 1] == call->input_shapes[0].size[1];
    if (same && lead == 2) same = shape->size[0] == call->input_shapes[0].size[0];
    for (int i = 0; same && i < rank; i++) same = shape->size[lead + i] == expected[i];
    return same ||
           cg_op_error(call, "%s does not fit such windows of %s", cg_input_text(call, input), cg_input_text(call, 0));
}

/* Sizes, extents or counts of all axes. */
typedef struct extents {
    int64_t size[CG_MAX_SPATIAL], extent[CG_MAX_SPATIAL], count[CG_MAX_SPATIAL];
} extents;

static extents extents_of(const cg_call *call)
{
    extents e;
    for (int i = 0; i < cg_window_rank(call); i++) {
        const cg_window w = cg_window_of(call, i);
        e.size[i] = w.size;
        e.extent[i] = w.extent;
        e.count[i] = w.count;
    }
    return e;
}

static void set_result(const cg_call *call, const int64_t *spatial, cg_inferred *result)
{
    const int rank = cg_window_rank(call);
    result->shape[0] = call->input_shapes[0];
    for (int i = 0; i < rank; i++) result->shape[0].size[2 + i] = spatial[i];
    result->dtype[0] = call->input_dtypes[0];
}

static bool convolve_infer(const cg_call *call, cg_inferred *result)
{
    const extents e = extents_of(call);
    if (!fits(call, 2, 0, e.size) || !fits(call, 1, 1, e.extent)) return false;
    set_result(call, e.count, result);
    return true;
}

/* An item is a row of the result. */
static bool convolve_launch(const cg_call *call, cg_launch *launch)
{
    const int rank = cg_window_rank(call);
    *launch = (cg_launch){.items = call->input_shapes[0].size[0] * call->input_shapes[0].size[1]};
    for (int i = 0; i < rank - 1; i++) launch->items *= cg_window_of(call, i).count;
    cg_window_parameters(call, launch);
    launch->parameters[launch->parameter_count++] = call->input_shapes[0].size[1];
    return true;
}

static const cg_sample convolve_samples[] = {
    {.shapes = {{3, {2, 3, 7}}, {2, {3, 3}}}, ATTRIBUTES(7, 3, 4, 2, 1, 1), .low = -1, .high = 1},
    {.shapes = {{4, {1, 2, 4, 5}}, {3, {2, 2, 3}}},
     ATTRIBUTES(4, 2, 3, 1, 1, 0, 5, 3, 3, 2, 1, 1),
     .low = -1,
     .high = 1},
};

/* Windows w of a row for which element w * stride + shift is inside: from `begin` to the one before `end`. */
#define WINDOWS_INSIDE \
    "const long begin = shift < 0 ? (p15 - 1 - shift) / p15 : 0;\n" \
    "const long end = shift < p12 ? min(p14, (p12 - 1 - shift) / p15 + 1) : 0;\n"

static const cg_op convolve_op = {
    .name = "convolve_channels",
    .kind = CG_OP_KERNEL,
    .inputs = 2,
    .infer = convolve_infer,
    .source = "const long v = i % p8, u = i / p8 % p2, plane = i / (p8 * p2), channel = plane % p18;\n"
              "__global OUT0_T *restrict row = out0 + i * p14;\n"
              "__global const IN1_T *kernel_row = in1 + channel * p1 * p7 * p13;\n"
              "for (long w = 0; w < p14; w++) row[w] = 0;\n"
              "for (long a = 0; a < p1; a++) {\n"
              "    const long z = u * p3 + a * p4 - p5;\n"
              "    for (long b = 0; b < p7; b++, kernel_row += p13) {\n"
              "        const long y = v * p9 + b * p10 - p11;\n"
              "        if (z < 0 || z >= p0 || y < 0 || y >= p6) continue;\n"
              "        __global const IN0_T *restrict x = in0 + ((plane * p0 + z) * p6 + y) * p12;\n"
              "        for (long c = 0; c < p13; c++) {\n"
              "            const IN1_T factor = kernel_row[c];\n"
              "            const long shift = c * p16 - p17;\n" WINDOWS_INSIDE "            if (p15 == 1)\n"
              "                for (long w = begin; w < end; w++) row[w] += factor * x[w + shift];\n"
              "            else\n"
              "                for (long w = begin; w < end; w++) row[w] += factor * x[w * p15 + shift];\n"
              "        }\n"
              "    }\n"
              "}\n",
    .launch = convolve_launch,
    .text = {.formula = "a convolution of each channel by itself", .internal = true},
    SAMPLES(convolve_samples),
};

cg_tensor cg_convolve_channels(cg_tensor x, cg_tensor kernel, const cg_window *windows, int rank)
{
    int64_t attributes[CG_MAX_SPATIAL * CG_WINDOW_NUMBERS];
    const int count = cg_write_windows(windows, rank, attributes);
    return cg_apply(&convolve_op, (cg_tensor[]){x, kernel}, 2, attributes, count);
}

/* ---- correlate_channels: x, cotangent [batch, channels, count...] to [batch, channels, extent...] ---------------- */

static bool correlate_infer(const cg_call *call, cg_inferred *result)
{
    const extents e = extents_of(call);
    if (!fits(call, 2, 0, e.size) || !fits(call, 2, 1, e.count)) return false;
    set_result(call, e.extent, result);
    return true;
}

/* An item is one element of one example's share. */
static bool correlate_launch(const cg_call *call, cg_launch *launch)
{
    const int rank = cg_window_rank(call);
    *launch = (cg_launch){.items = call->input_shapes[0].size[0] * call->input_shapes[0].size[1]};
    for (int i = 0; i < rank; i++) launch->items *= cg_window_of(call, i).extent;
    cg_window_parameters(call, launch);
    return true;
}

static const cg_sample correlate_samples[] = {
    {.shapes = {{3, {2, 3, 7}}, {3, {2, 3, 4}}}, ATTRIBUTES(7, 3, 4, 2, 1, 1), .low = -1, .high = 1},
    {.shapes = {{4, {1, 2, 4, 5}}, {4, {1, 2, 3, 3}}},
     ATTRIBUTES(4, 2, 3, 1, 1, 0, 5, 3, 3, 2, 1, 1),
     .low = -1,
     .high = 1},
};

static const cg_op correlate_op = {
    .name = "correlate_channels",
    .kind = CG_OP_KERNEL,
    .inputs = 2,
    .infer = correlate_infer,
    .source = "const long c = i % p13, b = i / p13 % p7, a = i / (p13 * p7) % p1, plane = i / (p13 * p7 * p1);\n"
              "const long shift = c * p16 - p17;\n" WINDOWS_INSIDE "OUT0_T sum = 0;\n"
              "for (long u = 0; u < p2; u++) {\n"
              "    const long z = u * p3 + a * p4 - p5;\n"
              "    for (long v = 0; v < p8; v++) {\n"
              "        const long y = v * p9 + b * p10 - p11;\n"
              "        if (z < 0 || z >= p0 || y < 0 || y >= p6) continue;\n"
              "        __global const IN0_T *x = in0 + ((plane * p0 + z) * p6 + y) * p12 + shift;\n"
              "        __global const IN1_T *cotangent = in1 + ((plane * p2 + u) * p8 + v) * p14;\n"
              "        OUT0_T part[8] = {0}, row = 0;\n"
              "        long w = begin;\n"
              "        if (p15 == 1)\n"
              "            for (; w + 8 <= end; w += 8)\n"
              "                for (int k = 0; k < 8; k++) part[k] += x[w + k] * cotangent[w + k];\n"
              "        for (; w < end; w++) row += x[w * p15] * cotangent[w];\n"
              "        for (int k = 0; k < 8; k++) row += part[k];\n"
              "        sum += row;\n"
              "    }\n"
              "}\n"
              "out0[i] = sum;\n",
    .launch = correlate_launch,
    .text = {.formula = "its gradient in the kernel, each example's share", .internal = true},
    SAMPLES(correlate_samples),
};

cg_tensor cg_correlate_channels(cg_tensor x, cg_tensor cotangent, const cg_window *windows, int rank)
{
    int64_t attributes[CG_MAX_SPATIAL * CG_WINDOW_NUMBERS];
    const int count = cg_write_windows(windows, rank, attributes);
    return cg_apply(&correlate_op, (cg_tensor[]){x, cotangent}, 2, attributes, count);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static const cg_op *const list[] = {&convolve_op, &correlate_op};
const cg_op_family cg_ops_depthwise = {OPS(list)};

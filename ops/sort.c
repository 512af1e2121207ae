/* Sorting along one axis: argsort, sort and top_k, all stable. Elements become keys, unsigned integers in the order of
 * the elements. In short lines each is compared with all others. Long ones are sorted digit by digit from the lowest
 * (LSD radix sort): blocks count their digits, the counts' running sum says where each block puts the elements of each
 * digit, and they go there in the order that they had. */
#include "ops/family.h"

#include <clgrad/scans.h>

enum {
    SHORT = 256, /* lines up to here are compared element by element */
    DIGITS = 256,
    DIGIT_BITS = 8 /* as the source below has them */
};

/* ---- Keys -------------------------------------------------------------------------------------------------------- */

/* `key` is that of what `from` points to, of the type IN0_T: 64 bits of it count for doubles, 32 for others. The bits
 * of a floating number are in its order once those of negative ones are inverted; both zeros are one key, and NaNs the
 * last. With p0 the order is the reverse. */
#define KEY_OF \
    "ulong key;\n" \
    "if (sizeof(IN0_T) == 8) {\n" \
    "    key = *(__global const ulong *)from;\n" \
    "    if (key << 1 == 0) key = 0;\n" \
    "    if (key << 1 > 0xFFE0000000000000ul) key = 0x7FFFFFFFFFFFFFFFul;\n" \
    "    key ^= key >> 63 ? 0xFFFFFFFFFFFFFFFFul : 0x8000000000000000ul;\n" \
    "} else if ((IN0_T)0.5f > 0) {\n" \
    "    uint bits = as_uint((float)*from);\n" \
    "    if (bits << 1 == 0) bits = 0;\n" \
    "    if (bits << 1 > 0xFF000000u) bits = 0x7FFFFFFFu;\n" \
    "    key = bits ^ (bits >> 31 ? 0xFFFFFFFFu : 0x80000000u);\n" \
    "} else\n" \
    "    key = sizeof(IN0_T) == 4 ? (uint)*from ^ 0x80000000u : (uint)*from;\n" \
    "if (p0) key = sizeof(IN0_T) == 8 ? ~key : (uint)~key;\n"

static int key_words(cg_dtype dtype)
{
    return dtype == CG_F64 ? 2 : 1;
}

static int key_bits(cg_dtype dtype)
{
    return dtype == CG_BOOL || dtype == CG_U8 ? 8 : 32 * key_words(dtype);
}

/* The shape with another extent of the last axis. */
static cg_shape with_last(cg_shape shape, int64_t extent)
{
    shape.size[shape.rank - 1] = extent;
    return shape;
}

/* Lines along the last axis. */
static cg_lines last_lines(cg_shape shape)
{
    return cg_lines_of(shape, shape.rank - 1);
}

/* x [..., count] -> [..., count], or [..., 2 count] where keys are of two words; the attribute says whether the order
 * descends. */
static bool keys_infer(const cg_call *call, cg_inferred *result)
{
    const cg_shape x = call->input_shapes[0];
    result->shape[0] = with_last(x, x.size[x.rank - 1] * key_words(call->input_dtypes[0]));
    result->dtype[0] = CG_I32;
    return true;
}

static bool keys_launch(const cg_call *call, cg_launch *launch)
{
    *launch = (cg_launch){cg_shape_size(call->input_shapes[0]), {call->attributes[0]}, 1};
    return true;
}

static const cg_op keys_op = {
    .name = "sort_keys",
    .kind = CG_OP_KERNEL,
    .inputs = 1,
    .infer = keys_infer,
    .source = "__global const IN0_T *from = in0 + i;\n" KEY_OF "if (sizeof(IN0_T) == 8)\n"
              "    ((__global ulong *)out0)[i] = key;\n"
              "else\n"
              "    out0[i] = (int)key;\n",
    .launch = keys_launch,
    .zero_gradient = true,
};

/* ---- Short lines: keys -> order [..., count]; the attribute is the number of words of a key ---------------------- */

/* The shape of an order by these keys. */
static cg_shape order_shape(cg_shape keys, int64_t words)
{
    return with_last(keys, keys.size[keys.rank - 1] / words);
}

static bool rank_infer(const cg_call *call, cg_inferred *result)
{
    result->shape[0] = order_shape(call->input_shapes[0], call->attributes[0]);
    result->dtype[0] = CG_I32;
    return true;
}

/* p0: count; p1: words of a key. */
static bool rank_launch(const cg_call *call, cg_launch *launch)
{
    const int64_t words = call->attributes[0], count = last_lines(call->input_shapes[0]).count / words;
    *launch = (cg_launch){cg_shape_size(call->input_shapes[0]) / words, {count, words}, 2};
    return true;
}

/* The place of an element is the number of those before it: of smaller ones, and of equal ones in front of it. */
#define RANK(TYPE) \
    "    __global const " TYPE " *keys = (__global const " TYPE " *)in0 + line;\n" \
    "    const " TYPE " key = keys[own];\n" \
    "    for (int k = 0; k < own; k++) place += keys[k] <= key;\n" \
    "    for (int k = own + 1; k < count; k++) place += keys[k] < key;\n"

static const cg_op rank_op = {
    .name = "sort_rank",
    .kind = CG_OP_KERNEL,
    .inputs = 1,
    .infer = rank_infer,
    .source = "const long line = i / p0 * p0;\n"
              "const int own = (int)(i - line), count = (int)p0;\n"
              "int place = 0;\n"
              "if (p1 == 2) {\n" RANK("ulong") "} else {\n" RANK("uint") "}\n"
                                                                         "out0[line + place] = own;\n",
    .launch = rank_launch,
    .zero_gradient = true,
};

/* ---- Long lines: attributes are the words of a key, the digit's lowest bit, the number of blocks ----------------- */

enum { WORDS, LOWEST_BIT, BLOCKS, DIGIT_ATTRIBUTES };

/* p0: count; p1: words of a key; p2: the digit's lowest bit; p3: blocks; p4: whether the order is that of the line. */
static bool digit_launch(const cg_call *call, cg_launch *launch)
{
    const int64_t *attributes = call->attributes, blocks = attributes[BLOCKS], bit = attributes[LOWEST_BIT];
    const cg_lines lines = last_lines(call->input_shapes[0]);
    *launch = (cg_launch){
        lines.outer * blocks, {lines.count / attributes[WORDS], attributes[WORDS], bit, blocks, bit == 0}, 5};
    return true;
}

/* The elements of an item, what their digits are counted or placed with, and KEY(at), a key of one word or of two. */
#define DIGIT_BLOCK \
    "const bool wide = p1 == 2;\n" \
    "#define KEY(at) (wide ? ((__global const ulong *)in0)[at] : (ulong)(uint)in0[at])\n" \
    "const long line = i / p3, block = i % p3, begin = line * p0 + block * p0 / p3;\n" \
    "const long end = line * p0 + (block + 1) * p0 / p3;\n" \
    "int numbers[256];\n"

/* -> how often each digit is in each block, [lines, DIGITS * blocks] */
static bool count_infer(const cg_call *call, cg_inferred *result)
{
    result->shape[0] = CG_SHAPE(last_lines(call->input_shapes[0]).outer, DIGITS * call->attributes[BLOCKS]);
    result->dtype[0] = CG_I32;
    return true;
}

static const cg_op count_op = {
    .name = "sort_count",
    .kind = CG_OP_KERNEL,
    .inputs = 1,
    .infer = count_infer,
    .source = DIGIT_BLOCK "for (int digit = 0; digit < 256; digit++) numbers[digit] = 0;\n"
                          "for (long k = begin; k < end; k++) numbers[KEY(k) >> p2 & 255]++;\n"
                          "for (int digit = 0; digit < 256; digit++)\n"
                          "    out0[(line * 256 + digit) * p3 + block] = numbers[digit];\n",
    .launch = digit_launch,
    .zero_gradient = true,
};

/* keys, order, where the elements of each digit and block begin -> keys and order, sorted by the digit. For the lowest
 * digit the order is anything: it is that of the line. */
static bool place_infer(const cg_call *call, cg_inferred *result)
{
    const cg_shape keys = call->input_shapes[0];
    result->shape[0] = keys;
    result->shape[1] = order_shape(keys, call->attributes[WORDS]);
    result->dtype[0] = result->dtype[1] = CG_I32;
    return true;
}

static const cg_op place_op = {
    .name = "sort_place",
    .kind = CG_OP_KERNEL,
    .inputs = 3,
    .outputs = 2,
    .infer = place_infer,
    .source = DIGIT_BLOCK "for (int digit = 0; digit < 256; digit++)\n"
                          "    numbers[digit] = in2[(line * 256 + digit) * p3 + block];\n"
                          "for (long k = begin; k < end; k++) {\n"
                          "    const ulong key = KEY(k);\n"
                          "    const long at = line * p0 + numbers[key >> p2 & 255]++;\n"
                          "    if (wide)\n"
                          "        ((__global ulong *)out0)[at] = key;\n"
                          "    else\n"
                          "        out0[at] = (int)key;\n"
                          "    out1[at] = p4 ? (int)(k - line * p0) : in1[k];\n"
                          "}\n",
    .launch = digit_launch,
    .zero_gradient = true,
};

/* Blocks keep a device busy, but each has a row of counts. */
static int64_t blocks_of(cg_context *cg, int64_t count)
{
    const int64_t length = cg_device(cg)->is_gpu ? 2048 : 16384;
    return (count + length - 1) / length;
}

static cg_tensor sorted_by_digits(cg_tensor keys, cg_dtype dtype)
{
    const int64_t words = key_words(dtype), count = last_lines(cg_shape_of(keys)).count / words;
    const int64_t blocks = blocks_of(cg_context_of(keys), count);
    cg_tensor order = keys;
    for (int64_t lowest = 0; lowest < key_bits(dtype); lowest += DIGIT_BITS) {
        const int64_t attributes[DIGIT_ATTRIBUTES] = {words, lowest, blocks};
        cg_tensor sorted[2], counts = cg_apply(&count_op, &keys, 1, attributes, DIGIT_ATTRIBUTES);
        cg_tensor begins = cg_cumsum(counts, 1, .exclusive = true);
        cg_apply_all(&place_op, (cg_tensor[]){keys, order, begins}, 3, attributes, DIGIT_ATTRIBUTES, sorted);
        keys = sorted[0];
        order = sorted[1];
    }
    return order;
}

/* ---- argsort: attributes are the axis and whether the order descends --------------------------------------------- */

static bool order_infer(const cg_call *call, cg_inferred *result)
{
    const int64_t count = call->input_shapes[0].size[call->attributes[0]];
    result->shape[0] = call->input_shapes[0];
    result->dtype[0] = CG_I32;
    return count <= INT32_MAX || cg_op_error(call, "an axis of %lld elements is too long", (long long)count);
}

static void order_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    const int axis = (int)call->attributes[0];
    const cg_dtype dtype = call->input_dtypes[0];
    cg_tensor x = cg_swap_axes(inputs[0], axis, -1);
    cg_tensor keys = cg_apply(&keys_op, &x, 1, &call->attributes[1], 1);
    const bool few = call->input_shapes[0].size[axis] <= SHORT;
    cg_tensor order = few ? cg_apply(&rank_op, &keys, 1, (int64_t[]){key_words(dtype)}, 1)
                          : sorted_by_digits(keys, dtype);
    outputs[0] = cg_swap_axes(order, axis, -1);
}

/* Both ways, along either axis, with many equal ones, and long. */
static const cg_sample sort_samples[] = {
    {.shapes = {{2, {3, 19}}}, ATTRIBUTES(1, 0), .low = -2, .high = 2, .smooth = true},
    {.shapes = {{3, {2, 4, 3}}}, ATTRIBUTES(1, 1), .low = -2, .high = 2, .smooth = true},
    {.shapes = {{2, {900, 2}}}, ATTRIBUTES(0, 1), .low = -2, .high = 2},
    {.shapes = {{2, {2, 300}}}, ATTRIBUTES(1, 0), .dtypes = {CG_I32}, .low = -9, .high = 9},
};

static const cg_op order_op = {
    .name = "argsort",
    .kind = CG_OP_COMPOSED,
    .inputs = 1,
    .infer = order_infer,
    .expand = order_expand,
    .deferred = true,
    .zero_gradient = true,
    .text = {.formula = "where along an axis the elements of sort come from, i32",
             .call = "x, axis, .descending",
             .edges = "as sort",
             .keras = "ops.argsort",
             .pytorch = "argsort"},
    SAMPLES(sort_samples),
};

static cg_tensor sort_along(const cg_op *op, cg_tensor x, int axis, const cg_sort_options *options)
{
    if (!cg_resolve_axis(x, op->name, &axis)) return (cg_tensor){0};
    return cg_apply(op, &x, 1, (int64_t[]){axis, options && options->descending}, 2);
}

cg_tensor cg_argsort_with(cg_tensor x, int axis, const cg_sort_options *options)
{
    return sort_along(&order_op, x, axis, options);
}

/* ---- sort: the same attributes ----------------------------------------------------------------------------------- */

static bool sort_infer(const cg_call *call, cg_inferred *result)
{
    if (!order_infer(call, result)) return false;
    result->dtype[0] = call->input_dtypes[0];
    return true;
}

static void sort_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    const int axis = (int)call->attributes[0];
    outputs[0] = cg_reordered(inputs[0], cg_argsort(inputs[0], axis, .descending = call->attributes[1]), axis);
}

static const cg_op sort_op = {
    .name = "sort",
    .kind = CG_OP_COMPOSED,
    .inputs = 1,
    .infer = sort_infer,
    .expand = sort_expand,
    .deferred = true,
    .text = {.formula = "x sorted along an axis: ascending, or descending",
             .call = "x, axis, .descending",
             .edges = "equal elements keep their order; NaN counts as larger than infinity; -0 equals 0",
             .keras = "ops.sort",
             .pytorch = "sort (stable=True)"},
    SAMPLES(sort_samples),
};

cg_tensor cg_sort_with(cg_tensor x, int axis, const cg_sort_options *options)
{
    return sort_along(&sort_op, x, axis, options);
}

/* ---- top_k: attributes are the axis, whether the largest come first, and k; values and indices ------------------- */

/* Few are chosen from the best of each block of a line, until there is but one. Attributes: whether they descend, k. */
enum { MOST_SELECTED = 64, SELECT_BLOCK = 2048 };

static int64_t select_blocks(int64_t count)
{
    return count >= 2 * SELECT_BLOCK ? count / SELECT_BLOCK : 1;
}

/* x [..., count] -> places [..., blocks * k] and, as scratch, their keys in 64 bits */
static bool select_infer(const cg_call *call, cg_inferred *result)
{
    const cg_shape x = call->input_shapes[0];
    const int64_t k = call->attributes[1], found = select_blocks(last_lines(x).count) * k;
    result->shape[0] = with_last(x, found);
    result->shape[1] = with_last(x, 2 * found);
    result->dtype[0] = result->dtype[1] = CG_I32;
    return true;
}

/* p0: whether they descend; p1: k; p2: count; p3: blocks. */
static bool select_launch(const cg_call *call, cg_launch *launch)
{
    const cg_lines lines = last_lines(call->input_shapes[0]);
    const int64_t k = call->attributes[1], blocks = select_blocks(lines.count);
    *launch = (cg_launch){lines.outer * blocks, {call->attributes[0], k, lines.count, blocks}, 4};
    return true;
}

/* The best so far are kept sorted. Of equal ones the first stays in front, and the last of all gives way. */
static const cg_op select_op = {
    .name = "top_k_select",
    .kind = CG_OP_KERNEL,
    .inputs = 1,
    .outputs = 2,
    .infer = select_infer,
    .source = "const long line = i / p3, block = i % p3, begin = block * p2 / p3, end = (block + 1) * p2 / p3;\n"
              "__global int *places = out0 + i * p1;\n"
              "__global ulong *best = (__global ulong *)out1 + i * p1;\n"
              "ulong worst = 0;\n"
              "long found = 0;\n"
              "for (long k = begin; k < end; k++) {\n"
              "    __global const IN0_T *from = in0 + line * p2 + k;\n" KEY_OF
              "    if (found == p1 && key >= worst) continue;\n"
              "    long at = found < p1 ? found++ : p1 - 1;\n"
              "    for (; at > 0 && best[at - 1] > key; at--) {\n"
              "        best[at] = best[at - 1];\n"
              "        places[at] = places[at - 1];\n"
              "    }\n"
              "    best[at] = key;\n"
              "    places[at] = (int)k;\n"
              "    worst = best[found - 1];\n"
              "}\n",
    .launch = select_launch,
    .zero_gradient = true,
};

/* Where the k best of each line of x [..., count] are, the best first. */
static cg_tensor best_places(cg_tensor x, bool descending, int64_t k)
{
    cg_tensor found[2];
    if (k < 1 || k > MOST_SELECTED) return cg_slice_axis(cg_argsort(x, -1, .descending = descending), -1, 0, k);
    cg_apply_all(&select_op, &x, 1, (int64_t[]){descending, k}, 2, found);
    if (select_blocks(last_lines(cg_shape_of(x)).count) == 1) return found[0];
    return cg_gather_along(found[0], best_places(cg_gather_along(x, found[0], -1), descending, k), -1);
}

static bool top_infer(const cg_call *call, cg_inferred *result)
{
    const int64_t k = call->attributes[2], count = call->input_shapes[0].size[call->attributes[0]];
    if (!order_infer(call, result)) return false;
    if (k < 0 || k > count)
        return cg_op_error(call, "%lld of the %lld elements along axis %d of %s", (long long)k, (long long)count,
                           (int)call->attributes[0], cg_input_text(call, 0));
    result->shape[0].size[call->attributes[0]] = k;
    result->dtype[0] = call->input_dtypes[0];
    result->shape[1] = result->shape[0];
    result->dtype[1] = CG_I32;
    return true;
}

static void top_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    const int axis = (int)call->attributes[0];
    cg_tensor places = best_places(cg_swap_axes(inputs[0], axis, -1), call->attributes[1], call->attributes[2]);
    outputs[1] = cg_swap_axes(places, axis, -1);
    outputs[0] = cg_gather_along(inputs[0], outputs[1], axis);
}

static const cg_sample top_samples[] = {
    {.shapes = {{2, {3, 9}}}, ATTRIBUTES(1, 1, 4), .low = -2, .high = 2, .smooth = true},
    {.shapes = {{3, {2, 5, 3}}}, ATTRIBUTES(1, 0, 2), .low = -2, .high = 2, .smooth = true},
    {.shapes = {{2, {2, 5000}}}, ATTRIBUTES(1, 1, 5), .low = -2, .high = 2},
};

static const cg_op top_op = {
    .name = "top_k",
    .kind = CG_OP_COMPOSED,
    .inputs = 1,
    .outputs = 2,
    .infer = top_infer,
    .expand = top_expand,
    .text = {.formula = "the k largest along an axis, the largest first, or the k smallest, the smallest first; and "
                        "where they were, i32",
             .call = "x, k, axis, indices, .smallest",
             .edges = "of equal elements the first; otherwise as sort",
             .keras = "ops.top_k (last axis)",
             .pytorch = "topk"},
    SAMPLES(top_samples),
};

cg_tensor cg_top_k_with(cg_tensor x, int64_t k, int axis, cg_tensor *indices, const cg_top_k_options *options)
{
    cg_tensor outputs[2] = {{0}};
    if (indices) *indices = (cg_tensor){0};
    if (!cg_resolve_axis(x, "top_k", &axis)) return (cg_tensor){0};
    cg_apply_all(&top_op, &x, 1, (int64_t[]){axis, !(options && options->smallest), k}, 3, outputs);
    if (indices) *indices = outputs[1];
    return outputs[0];
}

/* ------------------------------------------------------------------------------------------------------------------ */

static const cg_op *const list[] = {&order_op, &sort_op, &top_op};
const cg_op_family cg_ops_sort = {OPS(list), .title = "Scans and sorts"};

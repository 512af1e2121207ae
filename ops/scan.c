/* Scans along one axis: running sums, products and extremes, and the linear recurrence that the derivative of a product
 * is. Kernels see three axes, [outer, count, inner], and walk the middle one. A long one is cut into blocks: each
 * begins with what the totals of those before it, scanned in turn, come to, so that blocks run side by side and sums of
 * millions are sums of sums. */
#include "ops/family.h"

#include <clgrad/scans.h>

/* Axes longer than LONGEST are cut into blocks of BLOCK, unless there are MANY lines to keep a device busy. */
enum { LONGEST = 4096, BLOCK = 1024, MANY = 16384 };

/* ---- Shapes ------------------------------------------------------------------------------------------------------ */

/* Attributes of the ops: axis, reverse, exclusive. */
enum { AXIS, REVERSE, EXCLUSIVE };

static int64_t block_length(const cg_lines *lines)
{
    return lines->count > LONGEST && lines->outer * lines->inner < MANY ? BLOCK : lines->count;
}

/* All blocks but the last one to be walked, [outer, blocks, BLOCK, inner], in the order of the axis. */
static cg_tensor whole_blocks(cg_tensor x, const cg_lines *lines, bool reverse)
{
    const int64_t blocks = (lines->count - 1) / BLOCK, first = reverse ? lines->count - blocks * BLOCK : 0;
    cg_tensor line = cg_reshape(x, CG_SHAPE(lines->outer, lines->count, lines->inner));
    cg_tensor whole = cg_slice_axis(line, 1, first, first + blocks * BLOCK);
    return cg_reshape(whole, CG_SHAPE(lines->outer, blocks, BLOCK, lines->inner));
}

/* Numbers of blocks, [outer, blocks, inner], in the order in which they are walked. */
static cg_tensor as_walked(cg_tensor totals, bool reverse)
{
    return reverse ? cg_flip(totals, .axes = CG_AXES(1)) : totals;
}

/* ---- The kernels ------------------------------------------------------------------------------------------------- */

/* Attributes of the kernels: axis, reverse, exclusive, length of a block, dtype of the result. The last operand is what
 * stands before each block but the first, [outer, blocks - 1, inner]; where there is one block, anything. */
enum { LENGTH_OF_BLOCK = 3, RESULT, WALK_ATTRIBUTES };

static cg_dtype sum_dtype(cg_dtype dtype)
{
    return dtype == CG_U8 || dtype == CG_BOOL ? CG_I32 : dtype;
}

static bool walk_infer(const cg_call *call, cg_inferred *result)
{
    result->shape[0] = call->input_shapes[0];
    result->dtype[0] = (cg_dtype)call->attributes[RESULT];
    return true;
}

/* p0: inner; p1: blocks; p2: count; p3: length of a block; p4: reverse; p5: exclusive. */
static bool walk_launch(const cg_call *call, cg_launch *launch)
{
    const int64_t *attributes = call->attributes, length = attributes[LENGTH_OF_BLOCK];
    const cg_lines lines = cg_lines_of(call->input_shapes[0], (int)attributes[AXIS]);
    const int64_t blocks = lines.count > 0 ? (lines.count + length - 1) / length : 0;
    *launch = (cg_launch){lines.outer * blocks * lines.inner,
                          {lines.inner, blocks, lines.count, length, attributes[REVERSE], attributes[EXCLUSIVE]},
                          6};
    return true;
}

/* The block of an item: elements begin..end - 1 in the order of the walk, the first of them at `at`; and where what
 * stands before it is. */
#define WALK \
    "const long column = i % p0, block = i / p0 % p1, line = i / (p0 * p1);\n" \
    "const long begin = block * p3, end = min(begin + p3, p2), step = p4 ? -p0 : p0;\n" \
    "long at = (line * p2 + (p4 ? p2 - 1 - begin : begin)) * p0 + column;\n" \
    "const long carried = (line * (p1 - 1) + block - 1) * p0 + column;\n"

/* In stretches, each added up for itself: what is rounded grows with their number and length, not with the count. */
#define SUMS \
    WALK "OUT0_T before = block > 0 ? in1[carried] : (OUT0_T)0;\n" \
         "for (long k = begin; k < end; k += 64) {\n" \
         "    OUT0_T within = 0;\n" \
         "    const long stop = min(k + 64, end);\n" \
         "    for (long j = k; j < stop; j++) {\n" \
         "        const OUT0_T with = within + in0[at];\n" \
         "        out0[at] = before + (p5 ? within : with);\n" \
         "        within = with;\n" \
         "        at += step;\n" \
         "    }\n" \
         "    before += within;\n" \
         "}\n"

/* One by one: a stretch's own product may overflow where that of all elements does not. */
#define PRODUCTS \
    WALK "OUT0_T before = block > 0 ? in1[carried] : (OUT0_T)1;\n" \
         "for (long k = begin; k < end; k++) {\n" \
         "    const OUT0_T with = before * in0[at];\n" \
         "    out0[at] = p5 ? before : with;\n" \
         "    before = with;\n" \
         "    at += step;\n" \
         "}\n"

#define CHOOSE(OPERATOR) \
    WALK "OUT0_T best = block > 0 ? in1[carried] : in0[at];\n" \
         "for (long k = begin; k < end; k++) {\n" \
         "    const OUT0_T value = in0[at];\n" \
         "    best = value " OPERATOR " best || value != value ? value : best;\n" \
         "    out0[at] = best;\n" \
         "    at += step;\n" \
         "}\n"

#define WALK_OP(NAME, INPUTS, SOURCE) \
    { \
        .name = NAME, .kind = CG_OP_KERNEL, .inputs = (INPUTS), .infer = walk_infer, .source = SOURCE, \
        .launch = walk_launch \
    }
static const cg_op sum_walk = WALK_OP("cumsum", 2, SUMS);
static const cg_op product_walk = WALK_OP("cumprod", 2, PRODUCTS);
static const cg_op max_walk = WALK_OP("cummax", 2, CHOOSE(">"));
static const cg_op min_walk = WALK_OP("cummin", 2, CHOOSE("<"));
static const cg_op linear_walk = WALK_OP("linear_recurrence", 3,
                                         WALK "OUT0_T value = block > 0 ? in2[carried] : (OUT0_T)0;\n"
                                              "for (long k = begin; k < end; k++) {\n"
                                              "    value = p5 && value == 0 ? in1[at] : in0[at] * value + in1[at];\n"
                                              "    out0[at] = value;\n"
                                              "    at += step;\n"
                                              "}\n");

static cg_tensor walk(const cg_op *op, const cg_call *call, const cg_tensor *operands, int count, int64_t length,
                      cg_dtype dtype)
{
    const int64_t *given = call->attributes;
    return cg_apply(op, operands, count, (int64_t[]){given[AXIS], given[REVERSE], given[EXCLUSIVE], length, dtype},
                    WALK_ATTRIBUTES);
}

/* ---- Scans of one operand ---------------------------------------------------------------------------------------- */

typedef cg_tensor reduction(cg_tensor x, const cg_reduce_options *options);

/* What stands before each block but the first: the scan of the totals. */
static cg_tensor carried_into_blocks(const cg_call *call, cg_tensor x, const cg_lines *lines, reduction *total)
{
    const bool reverse = call->attributes[REVERSE];
    cg_tensor totals = total(whole_blocks(x, lines, reverse), &(cg_reduce_options){.axes = CG_AXES(2)});
    cg_tensor walked = as_walked(totals, reverse);
    return cg_apply(call->op, &walked, 1, (int64_t[]){1, false, false}, 3);
}

static cg_tensor scanned(const cg_call *call, cg_tensor x, const cg_op *op, cg_dtype dtype, reduction *total)
{
    const cg_lines lines = cg_lines_of(call->input_shapes[0], (int)call->attributes[AXIS]);
    const int64_t length = block_length(&lines);
    cg_tensor carried = length < lines.count ? carried_into_blocks(call, x, &lines, total) : x;
    return walk(op, call, (cg_tensor[]){x, carried}, 2, length, dtype);
}

static bool sum_infer(const cg_call *call, cg_inferred *result)
{
    result->shape[0] = call->input_shapes[0];
    result->dtype[0] = sum_dtype(call->input_dtypes[0]);
    return true;
}

static bool extreme_infer(const cg_call *call, cg_inferred *result)
{
    result->shape[0] = call->input_shapes[0];
    result->dtype[0] = call->input_dtypes[0];
    return true;
}

static cg_tensor scan_of(const cg_op *op, cg_tensor x, int axis, bool reverse, bool exclusive)
{
    if (!cg_resolve_axis(x, op->name, &axis)) return (cg_tensor){0};
    return cg_apply(op, &x, 1, (int64_t[]){axis, reverse, exclusive}, 3);
}

/* Along the last axis and a middle one, backwards, without the element itself; longer ones have their own tests. */
static const cg_sample sum_samples[] = {
    {.shapes = {{2, {3, 5}}}, ATTRIBUTES(1, 0, 0), .low = -2, .high = 2, .smooth = true},
    {.shapes = {{3, {2, 4, 3}}}, ATTRIBUTES(1, 1, 1), .low = -2, .high = 2, .smooth = true},
    {.shapes = {{2, {2, 5000}}}, ATTRIBUTES(1, 1, 0), .low = -2, .high = 2},
    {.shapes = {{2, {300, 3}}}, ATTRIBUTES(0, 0, 0), .dtypes = {CG_U8}, .low = 0, .high = 255},
};
static const cg_sample product_samples[] = {
    {.shapes = {{2, {3, 5}}}, ATTRIBUTES(1, 0, 0), .low = -2, .high = 2, .smooth = true},
    {.shapes = {{3, {2, 4, 3}}}, ATTRIBUTES(1, 1, 1), .low = -2, .high = 2, .smooth = true},
    {.shapes = {{2, {9, 3}}}, ATTRIBUTES(0, 0, 0), .dtypes = {CG_I32}, .low = -3, .high = 3},
};
static const cg_sample extreme_samples[] = {
    {.shapes = {{2, {3, 5}}}, ATTRIBUTES(1, 0, 0), .low = -2, .high = 2, .smooth = true},
    {.shapes = {{3, {2, 4, 3}}}, ATTRIBUTES(1, 1, 0), .low = -2, .high = 2, .smooth = true},
    {.shapes = {{2, {300, 3}}}, ATTRIBUTES(0, 0, 0), .dtypes = {CG_U8}, .low = 0, .high = 255},
};

/* ---- cumsum ------------------------------------------------------------------------------------------------------ */

static void sum_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    outputs[0] = scanned(call, inputs[0], &sum_walk, sum_dtype(call->input_dtypes[0]), cg_sum_with);
}

static void sum_vjp(const cg_vjp *v, cg_tensor *result)
{
    const int64_t *attributes = v->call->attributes;
    result[0] = cg_cumsum(v->cotangents[0], (int)attributes[AXIS], .reverse = !attributes[REVERSE],
                          .exclusive = attributes[EXCLUSIVE]);
}

static const cg_op sum_op = {
    .name = "cumsum",
    .kind = CG_OP_COMPOSED,
    .inputs = 1,
    .infer = sum_infer,
    .expand = sum_expand,
    .deferred = true,
    .vjp = sum_vjp,
    .text = {.formula = "x[0] + ... + x[k] along an axis",
             .call = "x, axis, .reverse, .exclusive",
             .edges = "exclusive: without x[k], and 0 at first",
             .keras = "ops.cumsum",
             .pytorch = "cumsum"},
    SAMPLES(sum_samples),
};

cg_tensor cg_cumsum_with(cg_tensor x, int axis, const cg_scan_options *options)
{
    return scan_of(&sum_op, x, axis, options && options->reverse, options && options->exclusive);
}

/* ---- follow: the element before each one, 0 before the first ----------------------------------------------------- */

/* Attributes: axis, reverse (then the one after each). The offset is structure: as a slice's it would be an argument,
 * and calls in whose expansion it is would be expanded anew each time. */
static void follow_move(const cg_call *call, cg_mapping *mapping)
{
    for (int i = 0; i < call->input_shapes[0].rank; i++) mapping->factor[i][i] = 1;
    mapping->offset[call->attributes[AXIS]] = call->attributes[REVERSE] ? 1 : -1;
    mapping->guarded = true;
}

static cg_tensor follow(cg_tensor x, const int64_t *attributes, bool backwards);

static void follow_vjp(const cg_vjp *v, cg_tensor *result)
{
    result[0] = follow(v->cotangents[0], v->call->attributes, true);
}

static const cg_sample follow_samples[] = {
    {.shapes = {{2, {3, 5}}}, ATTRIBUTES(1, 0), .low = -2, .high = 2, .smooth = true},
    {.shapes = {{3, {2, 4, 3}}}, ATTRIBUTES(1, 1), .low = -2, .high = 2, .smooth = true},
};

static const cg_op follow_op = {
    .name = "follow",
    .kind = CG_OP_MOVE,
    .inputs = 1,
    .infer = extreme_infer,
    .move = follow_move,
    .vjp = follow_vjp,
    .text = {.formula = "the element before each one along an axis, 0 before the first; or the one after",
             .internal = true},
    SAMPLES(follow_samples),
};

/* In the order of a scan with these attributes, or against it. */
static cg_tensor follow(cg_tensor x, const int64_t *attributes, bool backwards)
{
    return cg_apply(&follow_op, &x, 1, (int64_t[]){attributes[AXIS], attributes[REVERSE] != backwards}, 2);
}

/* ---- linear_recurrence: y[k] = factor[k] y[k - 1] + x[k], and x[0] at first -------------------------------------- */

/* Of blocks, the last value when each begins with 0; of these and the products of the factors, the same recurrence, but
 * that a block which does begin with 0 ends as it is, even if its product has overflowed: EXCLUSIVE says so. */
static cg_tensor carried_linearly(const cg_call *call, const cg_tensor *inputs, const cg_lines *lines)
{
    const bool reverse = call->attributes[REVERSE];
    const int64_t blocks = (lines->count - 1) / BLOCK, last = reverse ? 0 : BLOCK - 1;
    cg_tensor factors = whole_blocks(inputs[0], lines, reverse), x = whole_blocks(inputs[1], lines, reverse);
    cg_tensor each[2] = {factors, x}, totals[2];
    const int64_t within[] = {2, reverse, call->attributes[EXCLUSIVE]};
    cg_tensor ends = cg_slice_axis(cg_apply(call->op, each, 2, within, 3), 2, last, last + 1);
    cg_tensor products = cg_prod(factors, .axes = CG_AXES(2));
    totals[0] = as_walked(products, reverse);
    totals[1] = as_walked(cg_reshape(ends, CG_SHAPE(lines->outer, blocks, lines->inner)), reverse);
    return cg_apply(call->op, totals, 2, (int64_t[]){1, false, true}, 3);
}

static bool linear_infer(const cg_call *call, cg_inferred *result)
{
    result->shape[0] = call->input_shapes[0];
    result->dtype[0] = call->input_dtypes[0];
    if (cg_is_floating(call->input_dtypes[0]) && call->input_dtypes[0] == call->input_dtypes[1] &&
        cg_shapes_equal(call->input_shapes[0], call->input_shapes[1]))
        return true;
    return cg_op_error(call, "%s and %s differ, or are not floating", cg_input_text(call, 0), cg_input_text(call, 1));
}

static void linear_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    const cg_lines lines = cg_lines_of(call->input_shapes[0], (int)call->attributes[AXIS]);
    const int64_t length = block_length(&lines);
    cg_tensor carried = length < lines.count ? carried_linearly(call, inputs, &lines) : inputs[0];
    outputs[0] = walk(&linear_walk, call, (cg_tensor[]){inputs[0], inputs[1], carried}, 3, length,
                      call->input_dtypes[0]);
}

static cg_tensor linear_recurrence(cg_tensor factors, cg_tensor x, const int64_t *attributes, bool backwards);

/* The cotangent of x[k] comes from y[k], and through y[k + 1] from there: again a recurrence, backwards. */
static void linear_vjp(const cg_vjp *v, cg_tensor *result)
{
    const int64_t *attributes = v->call->attributes;
    cg_tensor next = follow(v->inputs[0], attributes, true);
    result[1] = linear_recurrence(next, v->cotangents[0], attributes, true);
    if (v->wanted[0]) result[0] = cg_mul(result[1], follow(v->outputs[0], attributes, false));
}

static const cg_sample linear_samples[] = {
    {.shapes = {{2, {3, 5}}, {2, {3, 5}}}, ATTRIBUTES(1, 0, 0), .low = -2, .high = 2, .smooth = true},
    {.shapes = {{3, {2, 4, 3}}, {3, {2, 4, 3}}}, ATTRIBUTES(1, 1, 0), .low = -2, .high = 2, .smooth = true},
};

static const cg_op linear_op = {
    .name = "linear_recurrence",
    .kind = CG_OP_COMPOSED,
    .inputs = 2,
    .infer = linear_infer,
    .expand = linear_expand,
    .deferred = true,
    .vjp = linear_vjp,
    .text = {.formula = "y[k] = factor[k] · y[k - 1] + x[k] along an axis: what the derivative of cumprod is made of",
             .internal = true},
    SAMPLES(linear_samples),
};

/* In the order of a scan with these attributes, or against it. */
static cg_tensor linear_recurrence(cg_tensor factors, cg_tensor x, const int64_t *attributes, bool backwards)
{
    return cg_apply(&linear_op, (cg_tensor[]){factors, x}, 2,
                    (int64_t[]){attributes[AXIS], attributes[REVERSE] != backwards, false}, 3);
}

/* ---- cumprod ----------------------------------------------------------------------------------------------------- */

static void product_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    outputs[0] = scanned(call, inputs[0], &product_walk, sum_dtype(call->input_dtypes[0]), cg_prod_with);
}

/* y[k] is the product of the elements before x[i], of x[i], and of those after it up to k. The first is a scan; the sum
 * over k of cotangents times the last a linear recurrence. No division: exact where there are zeros. */
static void product_vjp(const cg_vjp *v, cg_tensor *result)
{
    const int64_t *attributes = v->call->attributes;
    const bool exclusive = attributes[EXCLUSIVE];
    cg_tensor x = v->inputs[0], g = exclusive ? follow(v->cotangents[0], attributes, true) : v->cotangents[0];
    cg_tensor in_front = exclusive
                             ? v->outputs[0]
                             : cg_cumprod(x, (int)attributes[AXIS], .reverse = attributes[REVERSE], .exclusive = true);
    result[0] = cg_mul(in_front, linear_recurrence(follow(x, attributes, true), g, attributes, true));
}

static const cg_op product_op = {
    .name = "cumprod",
    .kind = CG_OP_COMPOSED,
    .inputs = 1,
    .infer = sum_infer,
    .expand = product_expand,
    .deferred = true,
    .vjp = product_vjp,
    .text = {.formula = "x[0] · ... · x[k] along an axis",
             .call = "x, axis, .reverse, .exclusive",
             .edges = "exclusive: without x[k], and 1 at first; the derivative is exact where there are zeros",
             .keras = "ops.cumprod",
             .pytorch = "cumprod"},
    SAMPLES(product_samples),
};

cg_tensor cg_cumprod_with(cg_tensor x, int axis, const cg_scan_options *options)
{
    return scan_of(&product_op, x, axis, options && options->reverse, options && options->exclusive);
}

/* ---- cummax, cummin ---------------------------------------------------------------------------------------------- */

static const cg_op max_op, min_op;

/* Where each running extreme was last found: at an element that equals it, or the last NaN. */
static cg_tensor last_reached(cg_tensor x, cg_tensor extreme, const int64_t *attributes)
{
    cg_context *cg = cg_context_of(x);
    const int axis = (int)attributes[AXIS];
    cg_shape shape = {.rank = cg_shape_of(x).rank};
    for (int i = 0; i < shape.rank; i++) shape.size[i] = i == axis ? cg_shape_of(x).size[i] : 1;
    const double before_all = attributes[REVERSE] ? INT32_MAX : -1;
    cg_tensor reached = cg_logical_or(cg_equal(x, extreme), cg_is_nan(x));
    cg_tensor place = cg_where(reached, cg_index(cg, shape), cg_constant(cg, CG_I32, before_all));
    return scan_of(attributes[REVERSE] ? &min_op : &max_op, place, axis, attributes[REVERSE], false);
}

static void extreme_vjp(const cg_vjp *v, cg_tensor *result)
{
    const int axis = (int)v->call->attributes[AXIS];
    cg_tensor places = last_reached(v->inputs[0], v->outputs[0], v->call->attributes);
    result[0] = cg_scatter_ordered(v->cotangents[0], places, axis, cg_shape_of(v->inputs[0]).size[axis]);
}

static void max_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    outputs[0] = scanned(call, inputs[0], &max_walk, call->input_dtypes[0], cg_max_with);
}

static void min_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    outputs[0] = scanned(call, inputs[0], &min_walk, call->input_dtypes[0], cg_min_with);
}

#define EXTREME_EDGES "of equal ones the last met gets all of the cotangent; NaN once there has been one"
static const cg_op max_op = {
    .name = "cummax",
    .kind = CG_OP_COMPOSED,
    .inputs = 1,
    .infer = extreme_infer,
    .expand = max_expand,
    .deferred = true,
    .vjp = extreme_vjp,
    .text = {.formula = "the largest of x[0], ..., x[k] along an axis, and where it was found",
             .call = "x, axis, .reverse, .indices",
             .edges = EXTREME_EDGES,
             .pytorch = "cummax"},
    SAMPLES(extreme_samples),
};

static const cg_op min_op = {
    .name = "cummin",
    .kind = CG_OP_COMPOSED,
    .inputs = 1,
    .infer = extreme_infer,
    .expand = min_expand,
    .deferred = true,
    .vjp = extreme_vjp,
    .text = {.formula = "the smallest of x[0], ..., x[k] along an axis, and where it was found",
             .call = "x, axis, .reverse, .indices",
             .edges = EXTREME_EDGES,
             .pytorch = "cummin"},
    SAMPLES(extreme_samples),
};

static cg_tensor extreme_of(const cg_op *op, cg_tensor x, int axis, const cg_extreme_options *options)
{
    const bool reverse = options && options->reverse;
    if (options && options->indices) *options->indices = (cg_tensor){0};
    if (!cg_resolve_axis(x, op->name, &axis)) return (cg_tensor){0};
    cg_tensor extreme = scan_of(op, x, axis, reverse, false);
    if (options && options->indices) *options->indices = last_reached(x, extreme, (int64_t[]){axis, reverse});
    return extreme;
}

cg_tensor cg_cummax_with(cg_tensor x, int axis, const cg_extreme_options *options)
{
    return extreme_of(&max_op, x, axis, options);
}

cg_tensor cg_cummin_with(cg_tensor x, int axis, const cg_extreme_options *options)
{
    return extreme_of(&min_op, x, axis, options);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static const cg_op *const list[] = {&sum_op, &follow_op, &linear_op, &product_op, &max_op, &min_op};
const cg_op_family cg_ops_scan = {
    OPS(list), .title = "Scans and sorts",
    .introduction = "Along one axis, each line by itself; the same bit for bit in each run."};

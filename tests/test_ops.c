/* Tests every op of the table on the samples of its descriptor: values against libm in double, edge values included;
 * first and second derivatives against central differences in f64; f32 against f64; and inputs that are permuted,
 * sliced or broadcast views. An op without samples fails. */
#include "op_support.h"

enum { MOST_INPUTS = 8 };

/* ---- Comparisons, made together ---------------------------------------------------------------------------------- */

/* A result and what it should be: an array, or another result, which it should equal relative to the largest of its
 * elements, since sums may cancel. */
typedef struct comparison {
    cg_tensor found, reference;
    array wanted;
    double relative;
    char name[96];
} comparison;

enum { MOST_COMPARISONS = 256 };
static comparison comparisons[MOST_COMPARISONS];
static int comparison_count;

static void compare_later(cg_tensor found, cg_tensor reference, array wanted, double relative, const char *name)
{
    ck_assert_int_lt(comparison_count, MOST_COMPARISONS);
    comparison *c = &comparisons[comparison_count++];
    *c = (comparison){found, reference, wanted, relative, ""};
    snprintf(c->name, sizeof c->name, "%s", name);
}

static void compare(const comparison *c)
{
    if (cg_is_null(c->reference)) {
        expect_close(c->found, c->wanted, c->relative, 0, c->name);
        return;
    }
    array wanted = array_read(c->reference);
    double largest = 0;
    for (int64_t i = 0; i < wanted.count; i++)
        if (isfinite(wanted.at[i])) largest = fmax(largest, fabs(wanted.at[i]));
    wanted.dtype = cg_dtype_of(c->found);
    bool floating = cg_is_floating(wanted.dtype);
    expect_close(c->found, wanted, floating ? c->relative : 0, floating ? c->relative * largest + 1e-37 : 0, c->name);
}

/* One plan for all: its kernels are built as one program. */
static void compare_now(void)
{
    cg_tensor tensors[2 * MOST_COMPARISONS];
    int count = 0;
    for (int i = 0; i < comparison_count; i++) {
        tensors[count++] = comparisons[i].found;
        if (!cg_is_null(comparisons[i].reference)) tensors[count++] = comparisons[i].reference;
    }
    ck_assert_msg(cg_eval(tensors, count), "%s", cg_message(cg));
    for (int i = 0; i < comparison_count; i++) compare(&comparisons[i]);
    comparison_count = 0;
}

static const cg_op *op_at(int index)
{
    int count;
    const cg_op *const *table = cg_op_table(&count);
    ck_assert_int_lt(index, count);
    random_state = (uint64_t)index + 1;
    return table[index];
}

static int op_count(void)
{
    int count;
    cg_op_table(&count);
    return count;
}

/* ---- Calls described by samples ---------------------------------------------------------------------------------- */

/* One call: the op and its inputs. */
typedef struct trial {
    const cg_op *op;
    const cg_sample *sample;
    int count;
    array inputs[MOST_INPUTS];
    char name[64];
} trial;

/* Inputs beyond the fourth are as the fourth; an op with any number of inputs has as many as have axes. */
static int input_count(const cg_op *op, const cg_sample *sample)
{
    int count = op->inputs;
    if (count < 0)
        for (count = 0; count < 4 && sample->shapes[count].rank; count++) continue;
    ck_assert_int_le(count, MOST_INPUTS);
    return count;
}

static cg_dtype input_dtype(const cg_sample *sample, int input, cg_dtype floating)
{
    cg_dtype dtype = sample->dtypes[input < 4 ? input : 3];
    return dtype == CG_F32 ? floating : dtype;
}

/* `digits`: the dtype to whose precision the inputs are rounded, so that two trials can have the same ones. */
static trial trial_new(const cg_op *op, int index, cg_dtype floating, cg_dtype digits)
{
    const cg_sample *sample = &op->samples[index];
    trial t = {.op = op, .sample = sample, .count = input_count(op, sample)};
    snprintf(t.name, sizeof t.name, "%s, sample %d, %s", op->name, index, cg_dtype_name(floating));
    random_state = (uint64_t)index * 1000 + 7;
    for (int i = 0; i < t.count; i++) {
        cg_dtype dtype = input_dtype(sample, i, digits);
        t.inputs[i] = array_random(dtype, sample->shapes[i < 4 ? i : 3], sample->low, sample->high);
        t.inputs[i].dtype = input_dtype(sample, i, floating);
    }
    return t;
}

static void call(const trial *t, const cg_tensor *inputs, cg_tensor *outputs)
{
    bool fine = cg_apply_all(t->op, inputs, t->count, t->sample->attributes, t->sample->attribute_count, outputs);
    ck_assert_msg(fine, "%s: %s", t->name, cg_message(cg));
}

static void call_plain(const trial *t, cg_tensor *outputs)
{
    cg_tensor inputs[MOST_INPUTS];
    for (int i = 0; i < t->count; i++) inputs[i] = tensor_of(t->inputs[i]);
    call(t, inputs, outputs);
}

static int output_count(const cg_op *op)
{
    return op->outputs ? op->outputs : 1;
}

/* Runs `check` for each sample in each floating dtype. */
static void each_trial(const cg_op *op, void (*check)(trial *))
{
    for (int i = 0; i < op->sample_count; i++)
        for (int floating = CG_F32; floating <= (has_f64() ? CG_F64 : CG_F32); floating++) {
            trial t = trial_new(op, i, (cg_dtype)floating, (cg_dtype)floating);
            check(&t);
        }
}

START_TEST(has_samples)
{
    const cg_op *op = op_at(_i);
    ck_assert_msg(op->sample_count > 0, "%s has no samples", op->name);
    bool smooth = false;
    for (int i = 0; i < op->sample_count; i++) smooth |= op->samples[i].smooth;
    ck_assert_msg(smooth || !op->vjp || strcmp(op->name, "threshold") == 0 || strcmp(op->name, "clip") == 0,
                  "%s has a derivative that no sample checks", op->name);
}
END_TEST

/* ---- Values of maps ---------------------------------------------------------------------------------------------- */

/* The operands of a map as its function sees them: bools where it takes bools. */
static double operand(const cg_op *op, int index, double x)
{
    return op->logical || (op->condition && index == 0) ? x != 0 : x;
}

static array expected_map(const trial *t, cg_shape shape, cg_dtype dtype)
{
    array wanted = array_new(dtype, shape);
    for (int64_t k = 0; k < wanted.count; k++) {
        double operands[MOST_INPUTS];
        for (int i = 0; i < t->count; i++)
            operands[i] = operand(t->op, i, t->inputs[i].at[broadcast_position(t->inputs[i].shape, shape, k)]);
        wanted.at[k] = rounded(t->op->host(operands), dtype);
    }
    return wanted;
}

static void check_map(trial *t)
{
    cg_tensor result;
    call_plain(t, &result);
    array wanted = expected_map(t, cg_shape_of(result), cg_dtype_of(result));
    compare_later(result, no_tensor, wanted, tolerance_of(wanted.dtype), t->name);
}

START_TEST(values_of_maps)
{
    const cg_op *op = op_at(_i);
    if (op->kind == CG_OP_MAP && op->host) each_trial(op, check_map);
    compare_now();
}
END_TEST

/* Every combination of the edge values, one operand each. */
static trial edge_trial(const cg_op *op, const cg_sample *sample, cg_dtype dtype)
{
    const bool single = dtype == CG_F32;
    const double least = single ? FLT_MIN : DBL_MIN, most = single ? 3e38 : 1e308;
    const double values[] = {0, -0.0, 1, -1, 0.5, -2.5, INFINITY, -INFINITY, NAN, least, -least, most, -most};
    enum { VALUES = sizeof values / sizeof *values };
    trial t = {.op = op, .sample = sample, .count = input_count(op, sample)};
    int64_t total = 1, period = 1;
    snprintf(t.name, sizeof t.name, "%s, edge values, %s", op->name, cg_dtype_name(dtype));
    for (int i = 0; i < t.count; i++) total *= VALUES;
    for (int i = 0; i < t.count; i++, period *= VALUES) {
        t.inputs[i] = array_new(dtype, CG_SHAPE(total));
        for (int64_t k = 0; k < total; k++) t.inputs[i].at[k] = rounded(values[k / period % VALUES], dtype);
    }
    return t;
}

START_TEST(edge_values)
{
    const cg_op *op = op_at(_i);
    for (int i = 0; i < op->sample_count; i++)
        for (int dtype = CG_F32; op->samples[i].edges && dtype <= (has_f64() ? CG_F64 : CG_F32); dtype++) {
            trial t = edge_trial(op, &op->samples[i], (cg_dtype)dtype);
            check_map(&t);
        }
    compare_now();
}
END_TEST

/* ---- f32 against f64 --------------------------------------------------------------------------------------------- */

START_TEST(f32_against_f64)
{
    const cg_op *op = op_at(_i);
    for (int i = 0; has_f64() && i < op->sample_count; i++) {
        trial single = trial_new(op, i, CG_F32, CG_F32), twice = trial_new(op, i, CG_F64, CG_F32);
        cg_tensor found[CG_MAX_OUTPUTS], wanted[CG_MAX_OUTPUTS];
        call_plain(&single, found);
        call_plain(&twice, wanted);
        for (int k = 0; k < output_count(op); k++) compare_later(found[k], wanted[k], (array){0}, 1e-5, single.name);
    }
    compare_now();
}
END_TEST

/* ---- Views as inputs --------------------------------------------------------------------------------------------- */

/* The same values, stored with the axes in reverse order. */
static cg_tensor as_permuted(array a)
{
    array stored = array_new(a.dtype, a.shape);
    int64_t coordinate[CG_MAX_RANK], reversed[CG_MAX_RANK];
    for (int i = 0; i < a.shape.rank; i++) stored.shape.size[i] = a.shape.size[a.shape.rank - 1 - i];
    for (int64_t k = 0; k < a.count; k++) {
        unravel(a.shape, k, coordinate);
        for (int i = 0; i < a.shape.rank; i++) reversed[i] = coordinate[a.shape.rank - 1 - i];
        stored.at[ravel(stored.shape, reversed)] = a.at[k];
    }
    return cg_transpose(tensor_of(stored));
}

/* The same values, backwards and with gaps inside a larger tensor: what lies between is never asked for. */
static cg_tensor as_sliced(array a)
{
    cg_shape shape = a.shape;
    cg_ranges ranges = {.count = shape.rank};
    int64_t coordinate[CG_MAX_RANK];
    for (int i = 0; i < shape.rank; i++) {
        shape.size[i] = 2 * a.shape.size[i] + 1;
        ranges.range[i] = CG_RANGE(-2, CG_NONE, -2);
    }
    array stored = array_new(a.dtype, shape);
    for (int64_t k = 0; k < stored.count; k++) stored.at[k] = 1;
    for (int64_t k = 0; k < a.count; k++) {
        unravel(a.shape, k, coordinate);
        for (int i = 0; i < shape.rank; i++) coordinate[i] = 2 * (a.shape.size[i] - 1 - coordinate[i]) + 1;
        stored.at[ravel(shape, coordinate)] = a.at[k];
    }
    return cg_slice_with(tensor_of(stored), ranges);
}

/* The first row, broadcast. */
static cg_tensor as_broadcast(array a)
{
    array row = {a.shape, a.dtype, a.count, a.at};
    if (row.shape.rank) row.shape.size[0] = 1;
    row.count = cg_shape_size(row.shape);
    return cg_broadcast_to(tensor_of(row), a.shape);
}

static void repeat_first_row(array *a)
{
    int64_t row = a->shape.rank && a->shape.size[0] ? a->count / a->shape.size[0] : a->count;
    for (int64_t k = row; k < a->count; k++) a->at[k] = a->at[k - row];
}

static void check_view(trial *t, cg_tensor (*view)(array), const char *what)
{
    char name[96];
    snprintf(name, sizeof name, "%s, %s inputs", t->name, what);
    cg_tensor inputs[MOST_INPUTS], found[CG_MAX_OUTPUTS], wanted[CG_MAX_OUTPUTS];
    for (int i = 0; i < t->count; i++) inputs[i] = view(t->inputs[i]);
    call(t, inputs, found);
    call_plain(t, wanted);
    for (int k = 0; k < output_count(t->op); k++) compare_later(found[k], wanted[k], (array){0}, 4e-6, name);
}

START_TEST(views_as_inputs)
{
    const cg_op *op = op_at(_i);
    for (int i = 0; i < op->sample_count; i++) {
        trial t = trial_new(op, i, CG_F32, CG_F32);
        check_view(&t, as_permuted, "permuted");
        check_view(&t, as_sliced, "sliced");
        for (int k = 0; k < t.count; k++) repeat_first_row(&t.inputs[k]);
        check_view(&t, as_broadcast, "broadcast");
    }
    compare_now();
}
END_TEST

/* ---- Derivatives ------------------------------------------------------------------------------------------------- */

/* Different numbers for different positions, so that no two outputs' derivatives can cancel. */
static cg_tensor weights(cg_shape shape, cg_dtype dtype)
{
    cg_tensor position = cg_cast(cg_index(cg, shape), dtype);
    return cg_sin(cg_add(cg_mul(position, cg_constant(cg, dtype, 0.7)), cg_constant(cg, dtype, 0.3)));
}

/* The call as a function of its floating inputs to a number: a weighted sum of all its outputs. */
static cg_tensor weighted_call(void *user, const cg_tensor *floating)
{
    const trial *t = user;
    cg_tensor inputs[MOST_INPUTS], total = {0};
    cg_dtype dtype = CG_F64;
    for (int i = 0; i < t->count; i++) {
        bool varied = cg_is_floating(t->inputs[i].dtype);
        inputs[i] = varied ? *floating++ : tensor_of(t->inputs[i]);
        if (varied) dtype = t->inputs[i].dtype;
    }
    cg_tensor outputs[CG_MAX_OUTPUTS];
    call(t, inputs, outputs);
    for (int k = 0; k < output_count(t->op); k++) {
        cg_tensor output = cg_cast(outputs[k], dtype);
        cg_tensor sum = cg_sum(cg_mul(output, weights(cg_shape_of(output), dtype)));
        total = k ? cg_add(total, sum) : sum;
    }
    return total;
}

static int floating_inputs(const trial *t, cg_tensor *floating)
{
    int count = 0;
    for (int i = 0; i < t->count; i++)
        if (cg_is_floating(t->inputs[i].dtype)) floating[count++] = tensor_of(t->inputs[i]);
    return count;
}

static void check_derivatives(const cg_op *op, int order)
{
    for (int i = 0; has_f64() && i < op->sample_count; i++) {
        if (!op->samples[i].smooth) continue;
        trial t = trial_new(op, i, CG_F64, CG_F64);
        cg_tensor floating[MOST_INPUTS];
        int count = floating_inputs(&t, floating);
        double error = cg_gradient_error(weighted_call, &t, floating, count, order);
        ck_assert_msg(error >= 0 && error < 1e-6, "%s: the derivative of order %d is off by %g. %s", t.name, order,
                      error, cg_message(cg));
    }
}

START_TEST(first_derivative)
{
    check_derivatives(op_at(_i), 1);
}
END_TEST

START_TEST(second_derivative)
{
    check_derivatives(op_at(_i), 2);
}
END_TEST

START_TEST(gradients_f32_against_f64)
{
    const cg_op *op = op_at(_i);
    for (int i = 0; has_f64() && i < op->sample_count; i++) {
        if (!op->samples[i].smooth) continue;
        cg_tensor gradients[2][MOST_INPUTS];
        int count = 0;
        for (int twice = 0; twice < 2; twice++) {
            trial t = trial_new(op, i, twice ? CG_F64 : CG_F32, CG_F32);
            cg_tensor floating[MOST_INPUTS];
            count = floating_inputs(&t, floating);
            cg_tensor output = weighted_call(&t, floating);
            ck_assert_msg(cg_grad(&output, 1, floating, count, gradients[twice]), "%s: %s", t.name, cg_message(cg));
        }
        for (int k = 0; k < count; k++) compare_later(gradients[0][k], gradients[1][k], (array){0}, 5e-5, op->name);
    }
    compare_now();
}
END_TEST

/* ---- Sizes and ranks --------------------------------------------------------------------------------------------- */

/* A map of inputs of any shape, in each rank, and with an axis of extent 0. */
START_TEST(maps_of_every_rank)
{
    const cg_op *op = op_at(_i);
    if (op->kind != CG_OP_MAP || !op->host) return;
    const cg_sample *sample = &op->samples[0];
    for (int rank = 0; rank <= CG_MAX_RANK; rank++)
        for (int empty = 0; empty <= (rank > 0); empty++) {
            trial t = {.op = op, .sample = sample, .count = input_count(op, sample)};
            cg_shape shape = {.rank = rank};
            for (int i = 0; i < rank; i++) shape.size[i] = i % 3 + 1;
            if (empty) shape.size[rank / 2] = 0;
            snprintf(t.name, sizeof t.name, "%s %s", op->name, cg_shape_text(cg, shape));
            for (int i = 0; i < t.count; i++)
                t.inputs[i] = array_random(input_dtype(sample, i, CG_F32), shape, sample->low, sample->high);
            check_map(&t);
        }
    compare_now();
}
END_TEST

/* ---- The suite --------------------------------------------------------------------------------------------------- */

static TCase *table_case(void)
{
    TCase *tests = tcase_create("each op of the table");
    tcase_add_checked_fixture(tests, open_context, close_context);
    int count = op_count();
    tcase_add_loop_test(tests, has_samples, 0, count);
    tcase_add_loop_test(tests, values_of_maps, 0, count);
    tcase_add_loop_test(tests, edge_values, 0, count);
    tcase_add_loop_test(tests, f32_against_f64, 0, count);
    tcase_add_loop_test(tests, views_as_inputs, 0, count);
    tcase_add_loop_test(tests, first_derivative, 0, count);
    tcase_add_loop_test(tests, second_derivative, 0, count);
    tcase_add_loop_test(tests, gradients_f32_against_f64, 0, count);
    tcase_add_loop_test(tests, maps_of_every_rank, 0, count);
    return tests;
}

int main(void)
{
    return run_suite("ops", (TCase * (*const[])(void)){table_case}, 1);
}

/* Tests every op of the table on the samples of its descriptor: values against libm in double, edge values included;
 * f32 against f64; and inputs that are permuted, sliced or broadcast views. An op without samples fails, and one
 * without a formula. */
#include "op_trials.h"

#include <clgrad/losses.h>

/* Runs `check` for each sample in each floating dtype. */
static void each_trial(const cg_op *op, void (*check)(trial *))
{
    for (int i = 0; i < op->sample_count; i++)
        for (int floating = CG_F32; floating <= (has_f64() ? CG_F64 : CG_F32); floating++) {
            trial t = trial_new(op, i, (cg_dtype)floating, (cg_dtype)floating);
            check(&t);
        }
}

/* ---- Documentation ----------------------------------------------------------------------------------------------- */

static bool in_table(const char *name)
{
    bool found = false;
    for (int i = 0; i < op_count(); i++) found |= strcmp(op_at(i)->name, name) == 0;
    return found;
}

static void check_families(const cg_op_family *const *families, int count)
{
    for (int i = 0; i < count; i++) {
        const cg_op_family *family = families[i];
        for (int k = 0; k < family->count; k++) {
            const cg_op *op = family->ops[k];
            ck_assert_msg(op->text.formula, "%s has no formula", op->name);
            ck_assert_msg(op->text.internal || family->title, "%s is under no title", op->name);
        }
        for (int k = 0; k < family->function_count; k++) {
            const cg_op_function *function = &family->functions[k];
            ck_assert_msg(family->title && function->text.formula, "%s has no title or formula", function->name);
            ck_assert_msg(!function->of || in_table(function->of), "%s is of no op", function->name);
        }
    }
}

START_TEST(are_documented)
{
    int count;
    const cg_op_family *const *families = cg_op_families(&count);
    check_families(families, count);
    families = cg_loss_families(&count);
    check_families(families, count);
}
END_TEST

/* ---- Samples ----------------------------------------------------------------------------------------------------- */

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

static void check_values(const cg_op *op)
{
    if (op->host) each_trial(op, check_map);
}

/* Every combination of the edge values, one operand each. */
static trial edge_trial(const cg_op *op, const cg_sample *sample, cg_dtype dtype)
{
    const bool single = dtype == CG_F32;
    /* Twice the largest is still finite, in f32 as in the double that it is compared with. */
    const double least = single ? FLT_MIN : DBL_MIN, most = single ? 1e38 : 1e308;
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

static void check_edge_values(const cg_op *op)
{
    for (int i = 0; i < op->sample_count; i++)
        for (int dtype = CG_F32; op->samples[i].edges && dtype <= (has_f64() ? CG_F64 : CG_F32); dtype++) {
            trial t = edge_trial(op, &op->samples[i], (cg_dtype)dtype);
            check_map(&t);
        }
}

/* ---- f32 against f64 --------------------------------------------------------------------------------------------- */

static void check_f32_against_f64(const cg_op *op)
{
    for (int i = 0; has_f64() && i < op->sample_count; i++) {
        trial single = trial_new(op, i, CG_F32, CG_F32), twice = trial_new(op, i, CG_F64, CG_F32);
        cg_tensor found[CG_MAX_OUTPUTS], wanted[CG_MAX_OUTPUTS];
        call_plain(&single, found);
        call_plain(&twice, wanted);
        for (int k = 0; k < output_count(op); k++) compare_later(found[k], wanted[k], (array){0}, 1e-5, single.name);
    }
}

/* ---- f16 and bf16 against f32 ------------------------------------------------------------------------------------ */

/* Of a map, whose reads and writes have nothing to do with what it computes, one is enough. */
static int samples_of_access(const cg_op *op)
{
    return op->kind == CG_OP_MAP && op->sample_count > 1 ? 1 : op->sample_count;
}

/* Every op takes them, and gives what it would in f32, rounded. */
static void check_narrow_against_f32(const cg_op *op)
{
    static const cg_dtype dtypes[] = {CG_F16, CG_BF16};
    for (int i = 0; i < samples_of_access(op); i++)
        for (int n = 0; n < 2; n++) {
            trial narrow = trial_new(op, i, dtypes[n], dtypes[n]), wide = trial_new(op, i, CG_F32, dtypes[n]);
            cg_tensor found[CG_MAX_OUTPUTS], wanted[CG_MAX_OUTPUTS];
            call_plain(&narrow, found);
            call_plain(&wide, wanted);
            for (int k = 0; k < output_count(op); k++)
                compare_later(found[k], wanted[k], (array){0}, tolerance_of(dtypes[n]), narrow.name);
        }
}

/* ---- Views as inputs --------------------------------------------------------------------------------------------- */

/* The same values, stored with the axes in reverse order, backwards and with gaps inside a larger tensor. What lies
 * between is never asked for. */
static cg_tensor as_strided(array a)
{
    const int rank = a.shape.rank;
    cg_shape shape = {.rank = rank};
    cg_ranges ranges = {.count = rank};
    int64_t coordinate[CG_MAX_RANK], stored_at[CG_MAX_RANK];
    for (int i = 0; i < rank; i++) {
        shape.size[i] = 2 * a.shape.size[rank - 1 - i] + 1;
        ranges.range[i] = CG_RANGE(-2, CG_NONE, -2);
    }
    array stored = array_new(a.dtype, shape);
    for (int64_t k = 0; k < stored.count; k++) stored.at[k] = 1;
    for (int64_t k = 0; k < a.count; k++) {
        unravel(a.shape, k, coordinate);
        for (int i = 0; i < rank; i++)
            stored_at[i] = 2 * (a.shape.size[rank - 1 - i] - 1 - coordinate[rank - 1 - i]) + 1;
        stored.at[ravel(shape, stored_at)] = a.at[k];
    }
    return cg_transpose(cg_slice_with(tensor_of(stored), ranges));
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
    if (t->op->kind == CG_OP_MAP && t->op->host) {
        array exact = expected_map(t, cg_shape_of(found[0]), cg_dtype_of(found[0]));
        compare_later(found[0], no_tensor, exact, tolerance_of(exact.dtype), name);
        return;
    }
    call_plain(t, wanted);
    for (int k = 0; k < output_count(t->op); k++) compare_later(found[k], wanted[k], (array){0}, 4e-6, name);
}

static void check_views(const cg_op *op)
{
    for (int i = 0; i < samples_of_access(op); i++) {
        trial t = trial_new(op, i, CG_F32, CG_F32);
        check_view(&t, as_strided, "strided");
        for (int k = 0; k < t.count; k++) repeat_first_row(&t.inputs[k]);
        check_view(&t, as_broadcast, "broadcast");
    }
}

static void check_op(const cg_op *op)
{
    check_values(op);
    check_edge_values(op);
    check_f32_against_f64(op);
    check_narrow_against_f32(op);
    check_views(op);
    compare_now();
}

START_TEST(ops_compute_what_they_should)
{
    each_op_of_group(_i, check_op);
}
END_TEST

/* ---- Sizes and ranks --------------------------------------------------------------------------------------------- */

/* Maps of one, two and three operands in each rank, and with an axis of extent 0. */
START_TEST(maps_of_every_rank)
{
    for (int n = 0; n < op_count(); n++) {
        const cg_op *op = op_at(n);
        if (strcmp(op->name, "neg") != 0 && strcmp(op->name, "add") != 0 && strcmp(op->name, "where") != 0) continue;
        if (op->sample_count == 0) continue; /* which fails above */
        const cg_sample *sample = &op->samples[0];
        cg_shape shape = {.rank = _i};
        for (int i = 0; i < _i; i++) shape.size[i] = i % 3 + 1;
        for (int empty = 0; empty <= (_i > 0); empty++) {
            if (empty) shape.size[_i / 2] = 0;
            trial t = {.op = op, .sample = sample, .count = input_count(op, sample)};
            snprintf(t.name, sizeof t.name, "%s %s", op->name, cg_shape_text(cg, shape));
            for (int i = 0; i < t.count; i++)
                t.inputs[i] = array_random(input_dtype(sample, i, CG_F32), shape, sample->low, sample->high);
            check_map(&t);
        }
    }
    compare_now();
}
END_TEST

/* ---- The suite --------------------------------------------------------------------------------------------------- */

static TCase *table_case(void)
{
    TCase *tests = tcase_create("each op of the table");
    tcase_add_checked_fixture(tests, open_unjoined, close_context);
    tcase_set_timeout(tests, SECONDS_TOGETHER);
    tcase_add_loop_test(tests, ops_compute_what_they_should, 0, group_count());
    tcase_add_loop_test(tests, maps_of_every_rank, 0, CG_MAX_RANK + 1);
    return tests;
}

static TCase *documentation_case(void)
{
    TCase *tests = tcase_create("documentation");
    tcase_add_test(tests, are_documented);
    tcase_add_loop_test(tests, has_samples, 0, op_count());
    return tests;
}

int main(void)
{
    Suite *suite = suite_create("ops");
    suite_add_tcase(suite, documentation_case());
    suite_add_tcase(suite, table_case());
    return run_suite(suite);
}

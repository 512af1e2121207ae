/* Tests reductions that fold the same axes of the same elements and so share a kernel (engine/chain.c): that they do,
 * as many as fit, on CPUs and as GPUs run them; that the values are those of plain loops in double; and that what
 * depends on what is folded, or is written in place, keeps them apart or right. */
#include "semantics_support.h"

static const struct {
    cg_shape shape;
    cg_axes axes;
} cases[] = {
    {{2, {37, 5}}, {1, {0}}},
    {{2, {513, 1000}}, {1, {0}}},
    {{2, {40, 3000}}, {1, {0}}},
    {{4, {4, 3, 6, 7}}, {3, {0, 2, 3}}},
    {{4, {8, 16, 20, 21}}, {3, {0, 2, 3}}},
    {{1, {70001}}, {1, {0}}},
    {{2, {3, 20001}}, {1, {1}}},
    {{3, {5, 1, 4}}, {2, {0, 1}}},
    {{2, {1, 6}}, {1, {0}}},
    {{3, {60, 7, 33}}, {2, {0, 1}}},
};
enum { CASES = sizeof cases / sizeof *cases, MOST = 1 << 20, SUMS = 6 };

static float left[MOST], right[MOST], results[SUMS][MOST];
static double wanted[SUMS][MOST], size_of_terms[MOST];

/* Σx, Σx², max x, Σxw, min w, Σ|x - w|: the first `count` of them, read in one plan. */
static int fold(cg_tensor x, cg_tensor w, cg_axes axes, int count, cg_tensor *folded)
{
    folded[0] = cg_sum(x, .axes = axes);
    folded[1] = cg_sum(cg_square(x), .axes = axes);
    folded[2] = cg_max(x, .axes = axes);
    folded[3] = cg_sum(cg_mul(x, w), .axes = axes);
    folded[4] = cg_min(w, .axes = axes);
    folded[5] = cg_sum(cg_abs(cg_sub(x, w)), .axes = axes);
    ck_assert_msg(cg_eval(folded, count), "%s", cg_message(cg));
    return (int)cg_counters_get(cg).last_plan_kernels;
}

/* The number of the result that an element is folded into. */
static int64_t result_of(cg_shape shape, cg_axes axes, int64_t element)
{
    int64_t coordinate[CG_MAX_RANK], result = 0;
    for (int j = shape.rank; j-- > 0; element /= shape.size[j]) coordinate[j] = element % shape.size[j];
    for (int j = 0; j < shape.rank; j++) {
        bool folds = false;
        for (int k = 0; k < axes.count; k++) folds |= axes.axis[k] == j;
        if (!folds) result = result * shape.size[j] + coordinate[j];
    }
    return result;
}

static void fold_by_hand(cg_shape shape, cg_axes axes, int64_t results_count)
{
    for (int64_t r = 0; r < results_count; r++) {
        for (int k = 0; k < SUMS; k++) wanted[k][r] = 0;
        wanted[2][r] = -INFINITY;
        wanted[4][r] = INFINITY;
        size_of_terms[r] = 0;
    }
    for (int64_t i = 0; i < cg_shape_size(shape); i++) {
        const int64_t r = result_of(shape, axes, i);
        const double x = (double)left[i], w = (double)right[i];
        wanted[0][r] += x;
        wanted[1][r] += x * x;
        wanted[2][r] = fmax(wanted[2][r], x);
        wanted[3][r] += x * w;
        wanted[4][r] = fmin(wanted[4][r], w);
        wanted[5][r] += fabs(x - w);
        size_of_terms[r] += fabs(x) + x * x + fabs(x * w) + fabs(w);
    }
}

static void expect_folds(int which)
{
    const cg_shape shape = cases[which].shape;
    const cg_axes axes = cases[which].axes;
    cg_tensor x = numbers(shape, 1), w = numbers(shape, 2), stored[] = {x, w}, folded[SUMS];
    ck_assert(cg_eval(stored, 2));
    const int single = fold(x, w, axes, 1, folded), four = fold(x, w, axes, 4, folded);
    ck_assert_msg(four <= single, "case %d: %d kernels, where one takes %d", which, four, single);
    fold(x, w, axes, SUMS, folded);
    const int64_t size = cg_shape_size(shape), count = cg_shape_size(cg_shape_of(folded[0]));
    ck_assert(cg_read_floats(x, left, size) && cg_read_floats(w, right, size));
    fold_by_hand(shape, axes, count);
    for (int k = 0; k < SUMS; k++) {
        ck_assert(cg_read_floats(folded[k], results[k], count));
        for (int64_t r = 0; r < count; r++)
            ck_assert_msg(fabs((double)results[k][r] - wanted[k][r]) <= 2e-6 * size_of_terms[r],
                          "case %d: result %d at %lld is %g, not %g", which, k, (long long)r, (double)results[k][r],
                          wanted[k][r]);
    }
}

START_TEST(share_a_kernel)
{
    expect_folds(_i);
}
END_TEST

/* As GPUs run them; rows are another kernel's there. */
START_TEST(share_a_kernel_where_work_items_take_turns)
{
    open_own(NULL, NULL);
    cg->local_size = 64;
    cg->vector_width = 1;
    expect_folds(_i);
    close_own();
}
END_TEST

/* ---- What is done with them -------------------------------------------------------------------------------------- */

enum { ROWS = 700, COLUMNS = 90 };

/* One kernel's epilogue takes both results. */
START_TEST(an_epilogue_takes_several)
{
    cg_tensor x = numbers(CG_SHAPE(ROWS, COLUMNS), 3), only[] = {x};
    ck_assert(cg_eval(only, 1));
    cg_tensor sum = cg_sum(x, .axes = CG_AXES(0));
    ck_assert(cg_eval(&sum, 1));
    const int single = (int)cg_counters_get(cg).last_plan_kernels;
    cg_tensor y = cg_sub(cg_mean(cg_square(x), .axes = CG_AXES(0)), cg_square(cg_mean(x, .axes = CG_AXES(0))));
    ck_assert(cg_eval(&y, 1));
    ck_assert_int_eq(cg_counters_get(cg).last_plan_kernels, single);
    ck_assert(cg_read_floats(y, results[0], COLUMNS) && cg_read_floats(x, left, ROWS * COLUMNS));
    for (int c = 0; c < COLUMNS; c++) {
        double mean = 0, square = 0;
        for (int r = 0; r < ROWS; r++) {
            mean += (double)left[r * COLUMNS + c] / ROWS;
            square += pow((double)left[r * COLUMNS + c], 2) / ROWS;
        }
        ck_assert_double_eq_tol((double)results[0][c], square - mean * mean, 1e-5 * square);
    }
}
END_TEST

/* What is folded in the second depends on the result of the first. */
START_TEST(dependent_ones_stay_apart)
{
    cg_tensor x = numbers(CG_SHAPE(ROWS, COLUMNS), 4), only[] = {x};
    ck_assert(cg_eval(only, 1));
    cg_tensor mean = cg_mean(x, .axes = CG_AXES(0));
    cg_tensor both[] = {mean, cg_mean(cg_square(cg_sub(x, mean)), .axes = CG_AXES(0))};
    ck_assert(cg_eval(both, 2));
    ck_assert(cg_read_floats(both[1], results[0], COLUMNS) && cg_read_floats(x, left, ROWS * COLUMNS));
    for (int c = 0; c < COLUMNS; c++) {
        double middle = 0, variance = 0;
        for (int r = 0; r < ROWS; r++) middle += (double)left[r * COLUMNS + c] / ROWS;
        for (int r = 0; r < ROWS; r++) variance += pow((double)left[r * COLUMNS + c] - middle, 2) / ROWS;
        ck_assert_double_eq_tol((double)results[0][c], variance, 1e-5 * variance);
    }
}
END_TEST

/* w is read in the loops of one and written in place behind the other: the old value is what counts, at every step. */
START_TEST(variables_written_in_place)
{
    cg_variable *w = cg_variable_new(cg, "w", CG_F32, CG_SHAPE(COLUMNS)),
                *total = cg_variable_new(cg, "total", CG_F32, CG_SHAPE(COLUMNS));
    cg_tensor x = numbers(CG_SHAPE(ROWS, COLUMNS), 5), kept[] = {x};
    double weights[COLUMNS], totals[COLUMNS];
    ck_assert(cg_eval(kept, 1) && cg_read_floats(x, left, ROWS * COLUMNS));
    cg_assign(w, cg_ones(cg, CG_SHAPE(COLUMNS)));
    cg_assign(total, cg_zeros(cg, CG_SHAPE(COLUMNS)));
    for (int c = 0; c < COLUMNS; c++) weights[c] = 1, totals[c] = 0;
    for (int step = 0; step < 3; step++) {
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor old = cg_value(w), mean = cg_mean(x, .axes = CG_AXES(0)),
                  product = cg_mean(cg_mul(cg_square(x), old), .axes = CG_AXES(0));
        cg_assign(w, cg_add(old, mean));
        cg_assign(total, cg_add(cg_value(total), product));
        cg_scope_end(scope);
        for (int c = 0; c < COLUMNS; c++) {
            double middle = 0, square = 0;
            for (int r = 0; r < ROWS; r++) {
                middle += (double)left[r * COLUMNS + c] / ROWS;
                square += pow((double)left[r * COLUMNS + c], 2) / ROWS;
            }
            totals[c] += square * weights[c];
            weights[c] += middle;
        }
    }
    cg_tensor found[] = {cg_value(w), cg_value(total)};
    ck_assert(cg_read_floats(found[0], results[0], COLUMNS) && cg_read_floats(found[1], results[1], COLUMNS));
    for (int c = 0; c < COLUMNS; c++) {
        ck_assert_double_eq_tol((double)results[0][c], weights[c], 1e-5 * (1 + fabs(weights[c])));
        ck_assert_double_eq_tol((double)results[1][c], totals[c], 1e-5 * (1 + fabs(totals[c])));
    }
    cg_variable_free(w);
    cg_variable_free(total);
}
END_TEST

/* Whole numbers have parts of their own kind; other axes and other dtypes are no kin. */
START_TEST(integers_and_strangers)
{
    cg_tensor x = cg_cast(cg_mul(numbers(CG_SHAPE(ROWS, COLUMNS), 6), cg_scalar(cg, 100)), CG_I32), only[] = {x};
    ck_assert(cg_eval(only, 1));
    cg_tensor folded[] = {cg_sum(x, .axes = CG_AXES(0)), cg_max(x, .axes = CG_AXES(0)), cg_sum(x, .axes = CG_AXES(1)),
                          cg_sum(cg_cast(x, CG_F32), .axes = CG_AXES(0))};
    static int whole[ROWS * COLUMNS], sums[COLUMNS], most[COLUMNS], across[ROWS];
    ck_assert(cg_eval(folded, 4) && cg_read(x, whole, sizeof whole) && cg_read(folded[0], sums, sizeof sums) &&
              cg_read(folded[1], most, sizeof most) && cg_read(folded[2], across, sizeof across) &&
              cg_read_floats(folded[3], results[0], COLUMNS));
    for (int c = 0; c < COLUMNS; c++) {
        int sum = 0, largest = INT32_MIN;
        for (int r = 0; r < ROWS; r++) {
            sum += whole[r * COLUMNS + c];
            if (whole[r * COLUMNS + c] > largest) largest = whole[r * COLUMNS + c];
        }
        ck_assert_int_eq(sums[c], sum);
        ck_assert_int_eq(most[c], largest);
        ck_assert_double_eq_tol((double)results[0][c], sum, 0.5);
    }
    for (int r = 0; r < ROWS; r++) {
        int sum = 0;
        for (int c = 0; c < COLUMNS; c++) sum += whole[r * COLUMNS + c];
        ck_assert_int_eq(across[r], sum);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reductions alike");
    TCase *tests = tcase_create("reductions alike");
    tcase_add_checked_fixture(tests, begin_test, end_test);
    tcase_add_loop_test(tests, share_a_kernel, 0, CASES);
    tcase_add_loop_test(tests, share_a_kernel_where_work_items_take_turns, 0, CASES);
    tcase_add_test(tests, an_epilogue_takes_several);
    tcase_add_test(tests, dependent_ones_stay_apart);
    tcase_add_test(tests, variables_written_in_place);
    tcase_add_test(tests, integers_and_strangers);
    suite_add_tcase(suite, tests);
    return run_tests(suite);
}

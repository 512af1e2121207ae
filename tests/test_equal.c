/* Tests what is computed once in a plan: ops which do the same to the same (engine/equal.c), but for some; and what is
 * read again and again (engine/schedule.c). */
#include "semantics_support.h"

enum { SIZE = 12, COUNT = SIZE * SIZE };

static int kernels_of(cg_tensor y)
{
    ck_assert_msg(cg_eval(&y, 1), "%s", cg_message(cg));
    return (int)cg_counters_get(cg).last_plan_kernels;
}

static cg_tensor stored(int salt)
{
    cg_tensor x = numbers(CG_SHAPE(SIZE, SIZE), salt);
    ck_assert(cg_eval(&x, 1));
    return x;
}

START_TEST(equal_products_are_one)
{
    float twice[COUNT], once[COUNT];
    cg_tensor x = stored(1), w = stored(2), y = cg_add(cg_matmul(x, w), cg_matmul(x, w));
    ck_assert_int_eq(kernels_of(y), 1);
    ck_assert(cg_read_floats(y, twice, COUNT) && cg_read_floats(cg_matmul(x, w), once, COUNT));
    for (int i = 0; i < COUNT; i++) ck_assert_float_eq_tol(twice[i], 2 * once[i], 1e-5f);
}
END_TEST

/* What reads equal ops may be equal itself; so are constants of the same number, but not other ones. */
static cg_tensor sum_of_powers(cg_tensor x, double factor)
{
    return cg_sum(cg_exp(cg_mul(x, cg_constant(cg, CG_F32, factor))), .axes = CG_AXES(0));
}

START_TEST(equal_chains_are_one)
{
    float found[SIZE], one[SIZE], other[SIZE];
    cg_tensor x = stored(3), same = cg_mul(sum_of_powers(x, 2), sum_of_powers(x, 2));
    cg_tensor different = cg_mul(sum_of_powers(x, 2), sum_of_powers(x, 3));
    ck_assert_int_eq(kernels_of(same), 1);
    ck_assert(cg_eval(&different, 1)); /* in one kernel too, since they fold the same elements, but twice */
    ck_assert(cg_read_floats(sum_of_powers(x, 2), one, SIZE) && cg_read_floats(sum_of_powers(x, 3), other, SIZE));
    ck_assert(cg_read_floats(same, found, SIZE));
    for (int i = 0; i < SIZE; i++) ck_assert_float_eq_tol(found[i], one[i] * one[i], 1e-4f * found[i]);
    ck_assert(cg_read_floats(different, found, SIZE));
    for (int i = 0; i < SIZE; i++) ck_assert_float_eq_tol(found[i], one[i] * other[i], 1e-4f * found[i]);
}
END_TEST

/* A product of two large tensors that each of eight rows reads is stored; of small ones, computed in each row. */
START_TEST(what_is_read_again_and_again_is_stored)
{
    enum { ROWS = 8, LARGE = 1 << 16, SMALL = 1 << 8 };
    static float found[ROWS * LARGE], a[LARGE], b[LARGE], c[ROWS * LARGE];
    const int columns[] = {SMALL, LARGE}, kernels[] = {1, 2};
    for (int i = 0; i < 2; i++) {
        cg_tensor x = numbers(CG_SHAPE(columns[i]), 5), y = numbers(CG_SHAPE(columns[i]), 6);
        cg_tensor w = numbers(CG_SHAPE(ROWS, columns[i]), 7), inputs[] = {x, y, w};
        ck_assert(cg_eval(inputs, 3));
        cg_tensor result = cg_add(cg_mul(x, y), w);
        ck_assert_int_eq(kernels_of(result), kernels[i]);
        ck_assert(cg_read_floats(result, found, ROWS * columns[i]) && cg_read_floats(x, a, columns[i]));
        ck_assert(cg_read_floats(y, b, columns[i]) && cg_read_floats(w, c, ROWS * columns[i]));
        for (int k = 0; k < ROWS * columns[i]; k++)
            ck_assert_float_eq_tol(found[k], a[k % columns[i]] * b[k % columns[i]] + c[k], 1e-5f);
    }
}
END_TEST

/* The same op on operands in another order, or with other attributes, is another. */
START_TEST(similar_ops_stay_apart)
{
    cg_tensor x = VECTOR(1, 2), y = VECTOR(5, 9);
    EXPECT(cg_add(cg_sub(x, y), cg_sub(y, x)), 0, 0);
    cg_tensor m = MATRIX(2, 2, 1, 2, 3, 4);
    EXPECT(cg_sub(cg_sum(m, .axes = CG_AXES(0)), cg_sum(m, .axes = CG_AXES(1))), 1, -1);
    EXPECT(cg_add(cg_slice_axis(y, 0, 0, 1), cg_slice_axis(y, 0, 1, 2)), 14);
    EXPECT(cg_add(cg_mul(x, cg_scalar(cg, 2)), cg_mul(x, cg_scalar(cg, 3))), 5, 10);
}
END_TEST

START_TEST(random_ops_stay_apart)
{
    float found[COUNT];
    int differing = 0;
    cg_tensor a = cg_uniform(cg, CG_SHAPE(COUNT)), b = cg_uniform(cg, CG_SHAPE(COUNT));
    ck_assert(cg_read_floats(cg_sub(a, b), found, COUNT));
    for (int i = 0; i < COUNT; i++) differing += found[i] != 0;
    ck_assert_int_gt(differing, COUNT / 2);
}
END_TEST

/* Both are wanted, so both are stored. */
START_TEST(equal_results)
{
    cg_tensor x = VECTOR(1, 4, 9), results[] = {cg_sqrt(x), cg_sqrt(x)};
    ck_assert(cg_eval(results, 2));
    EXPECT(results[0], 1, 2, 3);
    EXPECT(results[1], 1, 2, 3);
}
END_TEST

/* An op that another stands for in one plan is read in a later one, of the value that its variable had. */
START_TEST(a_merged_op_keeps_its_history)
{
    cg_variable *v = variable_with("v", VECTOR(0, 1, 2));
    cg_scope around = cg_scope_local(cg);
    cg_tensor later = cg_exp(cg_mul(cg_value(v), cg_value(v)));
    cg_scope scope = cg_scope_begin(cg);
    cg_tensor value = cg_value(v), first = cg_exp(cg_mul(value, value));
    cg_assign(v, cg_add(cg_sub(first, later), VECTOR(7, 8, 9)));
    cg_scope_end(scope);
    EXPECT_VALUE(v, 7, 8, 9);
    EXPECT(later, 1, expf(1), expf(4));
    cg_scope_end(around);
    cg_variable_free(v);
}
END_TEST

START_TEST(op_by_op_nothing_is_merged)
{
    open_own("CLGRAD_EAGER", "1");
    cg_scope scope = cg_scope_local(cg);
    cg_tensor x = stored(1), w = stored(2);
    ck_assert_int_eq(kernels_of(cg_add(cg_matmul(x, w), cg_matmul(x, w))), 3);
    cg_scope_end(scope);
    close_own();
}
END_TEST

static void record_equal_products(void)
{
    cg_tensor x = stored(1), w = stored(2);
    ck_assert_int_eq(kernels_of(cg_add(cg_matmul(x, w), cg_matmul(x, w))), 1);
}

START_TEST(the_log_counts_them)
{
    char text[4096];
    read_plan_log(record_equal_products, text, sizeof text);
    ck_assert_msg(strstr(text, "1 nodes equal to others, computed once\n"), "the log is \"%s\"", text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("equal ops");
    TCase *cases = tcase_create("equal ops");
    tcase_add_checked_fixture(cases, begin_test, end_test);
    tcase_add_test(cases, equal_products_are_one);
    tcase_add_test(cases, equal_chains_are_one);
    tcase_add_test(cases, what_is_read_again_and_again_is_stored);
    tcase_add_test(cases, similar_ops_stay_apart);
    tcase_add_test(cases, random_ops_stay_apart);
    tcase_add_test(cases, equal_results);
    tcase_add_test(cases, a_merged_op_keeps_its_history);
    tcase_add_test(cases, op_by_op_nothing_is_merged);
    tcase_add_test(cases, the_log_counts_them);
    suite_add_tcase(suite, cases);
    return run_tests(suite);
}

/* Reductions against PyTorch's: tests/oracle/reductions.py. */
#include "oracle.h"

static void open_reductions(void)
{
    oracle_open("reductions");
}

static const struct {
    const char *name;
    cg_axes axes;
} forms[] = {
    {"7_over_0", CG_AXES(0)},          {"3x5_over_0", CG_AXES(0)},   {"3x5_over_1", CG_AXES(1)},
    {"2x3x4_over_0_2", CG_AXES(0, 2)}, {"5x1x6_over_2", CG_AXES(2)}, {"4x33_over_1", CG_AXES(1)},
};
enum { FORMS = sizeof forms / sizeof *forms };

static const char *case_name(const char *op, int form)
{
    static char name[128];
    snprintf(name, sizeof name, "%s/%s", op, forms[form].name);
    return name;
}

START_TEST(folds)
{
    for (int i = 0; i < FORMS; i++) {
        const cg_axes axes = forms[i].axes;
        EXPECT_ORACLE(case_name("sum", i), out[0] = cg_sum(in[0], .axes = axes));
        EXPECT_ORACLE(case_name("mean", i), out[0] = cg_mean(in[0], .axes = axes));
        EXPECT_ORACLE(case_name("logsumexp", i), out[0] = cg_logsumexp(in[0], .axes = axes));
        EXPECT_ORACLE(case_name("var", i), out[0] = cg_var(in[0], .axes = axes));
        EXPECT_ORACLE(case_name("max", i), out[0] = cg_max(in[0], .axes = axes));
        EXPECT_ORACLE(case_name("min", i), out[0] = cg_min(in[0], .axes = axes));
    }
}
END_TEST

START_TEST(folds_of_one_axis)
{
    for (int i = 0; i < FORMS; i++) {
        const cg_axes axes = forms[i].axes;
        if (axes.count > 1) continue;
        EXPECT_ORACLE(case_name("prod", i), out[0] = cg_prod(in[0], .axes = axes));
        EXPECT_ORACLE(case_name("argmax", i), out[0] = cg_argmax(in[0], .axes = axes));
        EXPECT_ORACLE(case_name("argmin", i), out[0] = cg_argmin(in[0], .axes = axes));
    }
}
END_TEST

START_TEST(products_with_zeros)
{
    EXPECT_ORACLE("prod/1_zeros", out[0] = cg_prod(in[0], .axes = CG_AXES(1)));
    EXPECT_ORACLE("prod/2_zeros", out[0] = cg_prod(in[0], .axes = CG_AXES(1)));
}
END_TEST

START_TEST(nothing_is_left_out)
{
    expect_all_checked();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reductions against the oracle");
    TCase *tests = tcase_create("reductions");
    tcase_add_checked_fixture(tests, open_reductions, oracle_close);
    tcase_add_test(tests, folds);
    tcase_add_test(tests, folds_of_one_axis);
    tcase_add_test(tests, products_with_zeros);
    tcase_add_test(tests, nothing_is_left_out);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}

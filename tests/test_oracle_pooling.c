/* Pooling against PyTorch's, tests/oracle/pooling.py, and what it says to bad input. */
#include "oracle.h"

#include <clgrad/pooling.h>

static void open_pooling(void)
{
    oracle_open("pooling");
}

static const struct {
    cg_shape window, bins;
    cg_pool_options options;
} forms[] = {
    {CG_SHAPE(2), CG_SHAPE(4), {.stride = {2}}},
    {CG_SHAPE(3), CG_SHAPE(9), {.stride = {2}, .before = {1}, .after = {1}, .dilation = {2}, .ceil_mode = true}},
    {CG_SHAPE(2, 2), CG_SHAPE(3, 5), {.ceil_mode = true}},
    {CG_SHAPE(3, 2), CG_SHAPE(1, 4), {.stride = {1, 2}, .before = {1, 1}, .after = {1, 1}, .dilation = {1, 2}}},
    {CG_SHAPE(3, 3), CG_SHAPE(7, 2), {.stride = {2, 3}, .before = {1}, .after = {1}, .ceil_mode = true}},
    {CG_SHAPE(2, 3, 2),
     CG_SHAPE(2, 2, 3),
     {.stride = {2, 1, 2}, .before = {0, 1, 1}, .after = {0, 1, 1}, .ceil_mode = true}},
    /* Rows long enough for blocks of windows, the last of them not whole. */
    {CG_SHAPE(3, 3), CG_SHAPE(2, 8), {.stride = {2, 2}, .before = {1, 1}, .after = {1, 1}}},
    {CG_SHAPE(2, 3), CG_SHAPE(2, 20), {.stride = {2, 1}, .before = {0, 1}, .after = {0, 1}}},
    {CG_SHAPE(2, 2), CG_SHAPE(1, 1), {.stride = {2, 2}}},
};
enum { FORMS = sizeof forms / sizeof *forms };

static const char *case_name(const char *op, int form, int variant)
{
    static char name[64];
    snprintf(name, sizeof name, variant < 0 ? "%s/%d" : "%s/%d_%d", op, form, variant);
    return name;
}

START_TEST(maxima)
{
    for (int i = 0; i < FORMS; i++) {
        cg_pool_options options = forms[i].options;
        options.padding = CG_PADDING_EXPLICIT;
        EXPECT_ORACLE(case_name("max", i, -1),
                      out[0] = cg_max_pool_indices_with(in[0], forms[i].window, &out[1], &options));
        EXPECT_ORACLE(case_name("adaptive_max", i, -1), out[0] = cg_adaptive_max_pool(in[0], forms[i].bins, &out[1]));
    }
    EXPECT_ORACLE("unpool", out[0] = cg_max_unpool(in[0], in[1], CG_SHAPE(7, 8)));
}
END_TEST

START_TEST(means)
{
    for (int i = 0; i < FORMS; i++) {
        cg_pool_options options = forms[i].options;
        options.padding = CG_PADDING_EXPLICIT;
        memset(options.dilation, 0, sizeof options.dilation); /* PyTorch's have none */
        for (int counted = 0; counted < 2; counted++) {
            options.exclude_padding = !counted;
            EXPECT_ORACLE(case_name("average", i, counted),
                          out[0] = cg_average_pool_with(in[0], forms[i].window, &options));
        }
        EXPECT_ORACLE(case_name("adaptive_average", i, -1), out[0] = cg_adaptive_average_pool(in[0], forms[i].bins));
    }
}
END_TEST

START_TEST(norms)
{
    for (int i = 0; i < FORMS; i++) {
        cg_pool_options options = {.unset_ = 0};
        memcpy(options.stride, forms[i].options.stride, sizeof options.stride);
        for (int p = 2; p < 4 && forms[i].window.rank < 3; p++)
            EXPECT_ORACLE(case_name("lp", i, p), out[0] = cg_lp_pool_with(in[0], forms[i].window, p, &options));
    }
}
END_TEST

START_TEST(nothing_is_left_out)
{
    expect_all_checked();
}
END_TEST

/* Many windows at once: of equal elements the first wins, and of several NaN the last. */
START_TEST(ties_and_nan_in_rows)
{
    enum { COUNT = 11 };
    array x = array_new(CG_F32, CG_SHAPE(1, 1, 2, 2 * COUNT)), largest = array_new(CG_F32, CG_SHAPE(1, 1, 1, COUNT)),
          places = array_new(CG_I32, CG_SHAPE(1, 1, 1, COUNT));
    for (int i = 0; i < COUNT; i++) {
        const double value = i % 3 == 0 ? -INFINITY : i % 3 == 1 ? 1 : NAN;
        for (int k = 0; k < 4; k++) x.at[k / 2 * 2 * COUNT + 2 * i + k % 2] = value;
        largest.at[i] = value;
        places.at[i] = 2 * i + (i % 3 == 2 ? 2 * COUNT + 1 : 0);
    }
    cg_tensor indices, pooled = cg_max_pool_indices(tensor_of(x), CG_SHAPE(2, 2), &indices);
    expect_array(pooled, largest);
    expect_array(indices, places);
}
END_TEST

START_TEST(ties_padding_and_nan)
{
    cg_tensor indices, x = tensor_of(ARRAY(CG_F32, CG_SHAPE(1, 1, 5), 2, 2, -INFINITY, -INFINITY, NAN));
    expect_array(cg_max_pool_indices(x, CG_SHAPE(2), &indices, .padding = CG_PADDING_SAME),
                 ARRAY(CG_F32, CG_SHAPE(1, 1, 3), 2, -INFINITY, NAN));
    expect_array(indices, ARRAY(CG_I32, CG_SHAPE(1, 1, 3), 0, 2, 4));
    cg_tensor low = tensor_of(ARRAY(CG_F32, CG_SHAPE(1, 1, 3), -1, -2, -3));
    expect_array(cg_max_pool(low, CG_SHAPE(2), .padding = CG_PADDING_SAME), ARRAY(CG_F32, CG_SHAPE(1, 1, 2), -1, -3));
    expect_array(cg_average_pool(low, CG_SHAPE(2), .padding = CG_PADDING_SAME),
                 ARRAY(CG_F32, CG_SHAPE(1, 1, 2), -1.5, -3));
    expect_array(cg_global_max_pool(low), ARRAY(CG_F32, CG_SHAPE(1, 1), -1));
    expect_array(cg_global_average_pool(low), ARRAY(CG_F32, CG_SHAPE(1, 1), -2));
    cg_tensor zeros = cg_zeros(cg, CG_SHAPE(1, 1, 2));
    expect_array(gradient_of(cg_lp_pool(zeros, CG_SHAPE(2), 2), no_tensor, zeros),
                 array_new(CG_F32, CG_SHAPE(1, 1, 2)));
}
END_TEST

START_TEST(errors)
{
    cg_tensor x = cg_ones(cg, CG_SHAPE(1, 1, 4)), indices = cg_zeros(cg, CG_SHAPE(1, 1, 3), .dtype = CG_I32);
    expect_error(cg_max_pool(x, CG_SHAPE(5)),
                 "max_pool: [1,1,4]: spatial axis 0 has fewer elements, with padding, than the window's 5");
    expect_error(cg_max_pool(x, CG_SHAPE(2, 2)), "max_pool: [1,1,4] is not [batch, channels, spatial...] with the 2 "
                                                 "spatial axes that the extents are for");
    expect_error(cg_average_pool(x, CG_SHAPE(2), .stride = {-1}),
                 "average_pool: [1,1,4]: spatial axis 0 has a stride of -1");
    expect_error(cg_average_pool(x, CG_SHAPE(2), .padding = CG_PADDING_EXPLICIT, .before = {2}),
                 "average_pool: [1,1,4]: spatial axis 0 has nothing but padding in window 0");
    expect_error(cg_lp_pool(x, CG_SHAPE(2), 0.5), "lp_pool: p is 0.5, below 1");
    expect_error(cg_adaptive_max_pool(x, CG_SHAPE(0), NULL),
                 "adaptive_max_pool: [1,1,4]: spatial axis 0 has a result of 0");
    expect_error(cg_max_unpool(x, indices, CG_SHAPE(8)), "max_unpool: [1,1,4] and indices [1,1,3] differ");
    ck_assert(cg_is_null(cg_max_pool(no_tensor, CG_SHAPE(2))) && cg_is_null(cg_global_average_pool(no_tensor)));
    ck_assert_int_eq(cg_status(cg), CG_OK);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pooling");
    TCase *tests = tcase_create("pooling");
    tcase_add_checked_fixture(tests, open_pooling, oracle_close);
    tcase_add_test(tests, maxima);
    tcase_add_test(tests, means);
    tcase_add_test(tests, norms);
    tcase_add_test(tests, nothing_is_left_out);
    tcase_add_test(tests, ties_and_nan_in_rows);
    tcase_add_test(tests, ties_padding_and_nan);
    tcase_add_test(tests, errors);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}

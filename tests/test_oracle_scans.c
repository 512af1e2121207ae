/* Scans, sorts, quantiles and counts against PyTorch's and NumPy's, tests/oracle/scans.py; long ones against loops on
 * the host; NaN, ties, empty axes, and what is said to bad input. */
#include "oracle.h"

#include <clgrad/scans.h>

static void open_scans(void)
{
    oracle_open("scans");
}

static const struct {
    cg_shape shape;
    int axis;
} forms[] = {
    {CG_SHAPE(9), 0},    {CG_SHAPE(3, 6), 1},    {CG_SHAPE(2, 5, 3), -2},
    {CG_SHAPE(4, 1), 1}, {CG_SHAPE(2, 300), -1}, {CG_SHAPE(4200), 0},
};
enum { FORMS = sizeof forms / sizeof *forms, LONG = FORMS - 1, SORTED = LONG - 1 };

static const char *case_name(const char *op, int form, int variant)
{
    static char name[64];
    snprintf(name, sizeof name, variant < 0 ? "%s/%d" : "%s/%d_%d", op, form, variant);
    return name;
}

START_TEST(sums_and_products)
{
    for (int i = 0; i < FORMS; i++)
        for (int reverse = 0; reverse < 2; reverse++)
            for (int exclusive = 0; exclusive < 2; exclusive++) {
                char name[64];
                const cg_scan_options options = {.reverse = reverse, .exclusive = exclusive};
                snprintf(name, sizeof name, "cumsum/%d_%d%d", i, reverse, exclusive);
                if (i < SORTED || (i == LONG && reverse && exclusive))
                    EXPECT_ORACLE(name, out[0] = cg_cumsum_with(in[0], forms[i].axis, &options));
                snprintf(name, sizeof name, "cumprod/%d_%d%d", i, reverse, exclusive);
                if (i < SORTED || (i == LONG && !reverse && !exclusive))
                    EXPECT_ORACLE(name, out[0] = cg_cumprod_with(in[0], forms[i].axis, &options));
            }
}
END_TEST

START_TEST(extremes)
{
    for (int i = 0; i < LONG; i++)
        for (int reverse = 0; reverse < 2; reverse++) {
            EXPECT_ORACLE(case_name("cummax", i, reverse),
                          out[0] = cg_cummax(in[0], forms[i].axis, .reverse = reverse, .indices = &out[1]));
            EXPECT_ORACLE(case_name("cummin", i, reverse),
                          out[0] = cg_cummin(in[0], forms[i].axis, .reverse = reverse, .indices = &out[1]));
        }
}
END_TEST

START_TEST(sorts)
{
    for (int i = 0; i < LONG; i++)
        for (int descending = 0; descending < 2; descending++)
            EXPECT_ORACLE(case_name("sort", i, descending),
                          out[0] = cg_sort(in[0], forms[i].axis, .descending = descending),
                          out[1] = cg_argsort(in[0], forms[i].axis, .descending = descending));
}
END_TEST

/* The extent of a form's axis. */
static int count_of(int form)
{
    const int axis = forms[form].axis;
    return (int)forms[form].shape.size[axis < 0 ? axis + forms[form].shape.rank : axis];
}

START_TEST(best)
{
    for (int i = 0; i < LONG; i++) {
        const int count = count_of(i), ks[] = {1, (count + 1) / 2, count};
        for (int n = 0; n < (count > 1 ? 3 : 1); n++) {
            EXPECT_ORACLE(case_name("top", i, ks[n]), out[0] = cg_top_k(in[0], ks[n], forms[i].axis, &out[1]));
            EXPECT_ORACLE(case_name("bottom", i, ks[n]),
                          out[0] = cg_top_k(in[0], ks[n], forms[i].axis, &out[1], .smallest = true));
        }
    }
}
END_TEST

START_TEST(along)
{
    for (int i = 0; i < LONG; i++)
        for (int times = 1; times < 3; times++) {
            const int size = times * count_of(i);
            EXPECT_ORACLE(case_name("gather", i, size), out[0] = cg_gather_along(in[0], in[1], forms[i].axis));
            EXPECT_ORACLE(case_name("scatter", i, size),
                          out[0] = cg_scatter_add_along(in[0], in[1], forms[i].axis, size));
        }
}
END_TEST

START_TEST(quantiles)
{
    static const cg_axes axes[] = {{1, {0}}, {0, {0}}, {2, {0, -1}}, {1, {1}}};
    static const double qs[] = {0, 0.25, 0.5, 0.8, 1};
    for (int i = 0; i < 4; i++) {
        for (int rule = CG_QUANTILE_LINEAR; rule <= CG_QUANTILE_MIDPOINT; rule++)
            for (int k = 0; k < 5; k++) {
                char name[64];
                snprintf(name, sizeof name, "quantile/%d_%d_%d", i, rule, (int)(100 * qs[k]));
                EXPECT_ORACLE(name,
                              out[0] = cg_quantile(in[0], qs[k], .axes = axes[i], .rule = (cg_quantile_rule)rule));
            }
        EXPECT_ORACLE(case_name("median", i, -1), out[0] = cg_median(in[0], .axes = axes[i]));
    }
}
END_TEST

START_TEST(counts)
{
    static const int bins[] = {4, 256, 4200};
    for (int i = 0; i < 3; i++) {
        char name[64];
        snprintf(name, sizeof name, "bincount/%d_weights", i);
        EXPECT_ORACLE(case_name("bincount", i, -1), out[0] = cg_bincount(in[0], bins[i]));
        EXPECT_ORACLE(name, out[0] = cg_bincount(in[0], bins[i], .weights = in[1]));
    }
}
END_TEST

START_TEST(nothing_is_left_out)
{
    expect_all_checked();
}
END_TEST

/* ---- Long lines, against loops on the host ----------------------------------------------------------------------- */

enum { MANY = 150001 };

static int by_value(const void *a, const void *b)
{
    const double *x = a, *y = b;
    if (x[0] != y[0]) return x[0] < y[0] ? -1 : 1;
    return x[1] < y[1] ? -1 : 1;
}

/* Pairs of value and place, in the order of a stable sort. */
static double *sorted_pairs(array x)
{
    double *pairs = test_memory((size_t)x.count * 2 * sizeof *pairs);
    for (int64_t i = 0; i < x.count; i++) {
        pairs[2 * i] = x.at[i];
        pairs[2 * i + 1] = (double)i;
    }
    qsort(pairs, (size_t)x.count, 2 * sizeof *pairs, by_value);
    return pairs;
}

static array with_ties(int64_t count, cg_dtype dtype)
{
    array x = array_random(dtype, CG_SHAPE(count), -100, 100);
    for (int64_t i = 0; i < count; i += 2) x.at[i] = round(x.at[i]);
    return x;
}

START_TEST(long_sorts)
{
    static const cg_dtype dtypes[] = {CG_F32, CG_I32, CG_F64};
    for (int d = 0; d < (has_f64() ? 3 : 2); d++) {
        array x = with_ties(MANY, dtypes[d]), order = array_new(CG_I32, x.shape),
              best = array_new(CG_I32, CG_SHAPE(20));
        const double *pairs = sorted_pairs(x);
        cg_tensor found[2], tensor = tensor_of(x), best_found;
        for (int i = 0; i < MANY; i++) order.at[i] = pairs[2 * i + 1];
        for (int i = 0; i < 20; i++) best.at[i] = order.at[i];
        found[0] = cg_argsort(tensor, 0);
        found[1] = cg_sort(tensor, 0);
        cg_top_k(tensor, 20, 0, &best_found, .smallest = true);
        expect_array(found[0], order);
        expect_array(best_found, best);
        for (int i = 0; i < MANY; i++) order.at[i] = pairs[2 * i];
        order.dtype = dtypes[d];
        expect_array(found[1], order);
    }
}
END_TEST

START_TEST(long_sums)
{
    enum { ONES = 16000000 };
    cg_tensor ones = cg_cumsum(cg_ones(cg, CG_SHAPE(ONES)), 0);
    float last[3];
    ck_assert(cg_read_floats(cg_slice_axis(ones, 0, ONES - 3, ONES), last, 3));
    for (int i = 0; i < 3; i++) ck_assert_float_eq(last[i], (float)(ONES - 2 + i));

    array x = array_random(CG_F32, CG_SHAPE(MANY, 2), 0, 1), sums = array_new(CG_F32, x.shape), most = sums;
    most.at = test_memory((size_t)most.count * sizeof(double));
    for (int64_t i = 0; i < x.count; i++) {
        sums.at[i] = x.at[i] + (i < 2 ? 0 : sums.at[i - 2]);
        most.at[i] = i < 2 ? x.at[i] : fmax(most.at[i - 2], x.at[i]);
    }
    cg_tensor tensor = tensor_of(x);
    expect_close(cg_cumsum(tensor, 0), sums, 1e-6, 0, "sums");
    expect_array(cg_cummax(tensor, 0), most);
}
END_TEST

/* What does not overflow from the first element on is multiplied without overflow: neither the last elements' own
 * product does any harm, nor is it infinity times 0. */
START_TEST(balanced_products)
{
    array x = array_new(CG_F32, CG_SHAPE(2, 128)), products = array_new(CG_F32, x.shape);
    for (int i = 0; i < 256; i++) x.at[i] = i % 128 < 2 ? 1 : i % 128 < 64 ? 0.25 : 4;
    x.at[128] = 0;
    for (int i = 0; i < 256; i++) products.at[i] = i % 128 ? products.at[i - 1] * x.at[i] : x.at[i];
    expect_array(cg_cumprod(tensor_of(x), 1), products);
}
END_TEST

/* Elements whose product overflows are no matter to a derivative to which nothing comes from there. */
START_TEST(long_products)
{
    enum { COUNT = 5120, SEEN = 4000 };
    array x = array_new(CG_F32, CG_SHAPE(COUNT)), g = array_new(CG_F32, x.shape), slope = array_new(CG_F32, x.shape);
    double in_front[COUNT], behind = 0;
    for (int i = 0; i < COUNT; i++) {
        x.at[i] = i < 100 ? 0.5 : i == 3000 ? 0 : i >= 4200 && i < 4400 ? 2 : 1;
        g.at[i] = i < SEEN ? 1 : 0;
        in_front[i] = i ? in_front[i - 1] * x.at[i - 1] : 1;
    }
    for (int i = COUNT - 1; i >= 0; i--) {
        behind = (i + 1 < COUNT ? x.at[i + 1] : 0) * behind + g.at[i];
        slope.at[i] = in_front[i] * behind;
    }
    cg_tensor tensor = tensor_of(x);
    expect_close(gradient_of(cg_cumprod(tensor, 0), tensor_of(g), tensor), slope, 1e-5, 1e-40, "cumprod");
}
END_TEST

/* The cotangents of long lines come back where their elements came from. */
START_TEST(long_gradients)
{
    array x = with_ties(MANY, CG_F32), g = array_random(CG_F32, x.shape, -1, 1), back = array_new(CG_F32, x.shape);
    array most = array_new(CG_F32, x.shape);
    const double *pairs = sorted_pairs(x);
    int64_t place = 0;
    for (int64_t i = 0; i < MANY; i++) {
        back.at[(int64_t)pairs[2 * i + 1]] = g.at[i];
        if (x.at[i] >= x.at[place]) place = i;
        most.at[place] += g.at[i];
    }
    cg_tensor tensor = tensor_of(x), cotangent = tensor_of(g);
    expect_array(gradient_of(cg_sort(tensor, 0), cotangent, tensor), back);
    expect_close(gradient_of(cg_cummax(tensor, 0), cotangent, tensor), most, 1e-5, 1e-3, "cummax");

    array indices = array_random(CG_I32, x.shape, 0, 9999), added = array_new(CG_F32, CG_SHAPE(10000));
    for (int64_t i = 0; i < MANY; i++) added.at[(int64_t)indices.at[i]] += g.at[i];
    expect_close(cg_scatter_add_along(cotangent, tensor_of(indices), 0, 10000), added, 1e-5, 1e-4, "scattered");
    expect_close(cg_scatter_add(cotangent, tensor_of(indices), 0, 10000), added, 1e-5, 1e-4, "scattered by gather's");
    expect_close(cg_bincount(tensor_of(indices), 10000, .weights = cotangent), added, 1e-5, 1e-4, "counted");
}
END_TEST

/* ---- Edges ------------------------------------------------------------------------------------------------------- */

START_TEST(not_a_number_and_ties)
{
    cg_tensor x = tensor_of(ARRAY(CG_F32, CG_SHAPE(7), 2, NAN, -INFINITY, 0.0, -0.0, INFINITY, NAN)), indices;
    expect_array(cg_sort(x, 0), ARRAY(CG_F32, CG_SHAPE(7), -INFINITY, 0, -0.0, 2, INFINITY, NAN, NAN));
    expect_array(cg_argsort(x, 0), ARRAY(CG_I32, CG_SHAPE(7), 2, 3, 4, 0, 5, 1, 6));
    expect_array(cg_argsort(x, 0, .descending = true), ARRAY(CG_I32, CG_SHAPE(7), 1, 6, 5, 0, 3, 4, 2));
    expect_array(cg_top_k(x, 3, 0, &indices), ARRAY(CG_F32, CG_SHAPE(3), NAN, NAN, INFINITY));
    expect_array(indices, ARRAY(CG_I32, CG_SHAPE(3), 1, 6, 5));
    expect_array(cg_cummax(x, 0, .indices = &indices), ARRAY(CG_F32, CG_SHAPE(7), 2, NAN, NAN, NAN, NAN, NAN, NAN));
    expect_array(indices, ARRAY(CG_I32, CG_SHAPE(7), 0, 1, 1, 1, 1, 1, 6));
    cg_tensor zeros = tensor_of(ARRAY(CG_F32, CG_SHAPE(5), -0.0, 0.0, -0.0, -1, 0)), slope;
    expect_array(cg_cummax(zeros, 0, .indices = &indices), ARRAY(CG_F32, CG_SHAPE(5), 0, 0, 0, 0, 0));
    expect_array(indices, ARRAY(CG_I32, CG_SHAPE(5), 0, 1, 2, 2, 4));
    slope = gradient_of(cg_cummax(zeros, 0), no_tensor, zeros);
    expect_array(slope, ARRAY(CG_F32, CG_SHAPE(5), 1, 1, 2, 0, 1));
    expect_array(cg_cummin(zeros, 0, .indices = &indices), ARRAY(CG_F32, CG_SHAPE(5), 0, 0, 0, -1, -1));
    expect_array(indices, ARRAY(CG_I32, CG_SHAPE(5), 0, 1, 2, 3, 3));
    expect_array(cg_cumsum(x, 0), ARRAY(CG_F32, CG_SHAPE(7), 2, NAN, NAN, NAN, NAN, NAN, NAN));
    expect_array(cg_median(x), ARRAY(CG_F32, CG_RANK0, NAN));
    cg_tensor infinite = tensor_of(ARRAY(CG_F32, CG_SHAPE(2, 2), INFINITY, INFINITY, -INFINITY, 1));
    expect_array(cg_median(infinite, .axes = CG_AXES(1)), ARRAY(CG_F32, CG_SHAPE(2), INFINITY, -INFINITY));

    if (!has_f64()) return;
    cg_tensor twice = tensor_of(ARRAY(CG_F64, CG_SHAPE(6), NAN, 1, -0.0, 0, -DBL_MIN, -INFINITY));
    expect_array(cg_argsort(twice, 0), ARRAY(CG_I32, CG_SHAPE(6), 5, 4, 2, 3, 1, 0));
}
END_TEST

START_TEST(dtypes)
{
    cg_tensor bytes = tensor_of(ARRAY(CG_U8, CG_SHAPE(4), 200, 7, 255, 0));
    cg_tensor truths = tensor_of(ARRAY(CG_BOOL, CG_SHAPE(4), 1, 0, 1, 0));
    cg_tensor halves = tensor_of(ARRAY(CG_F16, CG_SHAPE(3), 1.5, -2, 0.25)), indices;
    expect_array(cg_cumsum(bytes, 0), ARRAY(CG_I32, CG_SHAPE(4), 200, 207, 462, 462));
    expect_array(cg_cumsum(truths, -1), ARRAY(CG_I32, CG_SHAPE(4), 1, 1, 2, 2));
    expect_array(cg_cummax(bytes, 0), ARRAY(CG_U8, CG_SHAPE(4), 200, 200, 255, 255));
    expect_array(cg_cummin(truths, 0), ARRAY(CG_BOOL, CG_SHAPE(4), 1, 0, 0, 0));
    expect_array(cg_sort(bytes, 0, .descending = true), ARRAY(CG_U8, CG_SHAPE(4), 255, 200, 7, 0));
    expect_array(cg_argsort(truths, 0), ARRAY(CG_I32, CG_SHAPE(4), 1, 3, 0, 2));
    expect_array(cg_sort(halves, 0), ARRAY(CG_F16, CG_SHAPE(3), -2, 0.25, 1.5));
    expect_array(cg_cumsum(halves, 0), ARRAY(CG_F16, CG_SHAPE(3), 1.5, -0.5, -0.25));
    expect_array(cg_top_k(bytes, 2, 0, &indices, .smallest = true), ARRAY(CG_U8, CG_SHAPE(2), 0, 7));
    expect_array(indices, ARRAY(CG_I32, CG_SHAPE(2), 3, 1));
    array zeros = array_new(CG_U8, CG_SHAPE(4));
    expect_array(cg_bincount(tensor_of(zeros), 2, .weights = bytes), ARRAY(CG_I32, CG_SHAPE(2), 462, 0));
    expect_array(cg_median(bytes, .keepdims = true), ARRAY(CG_F32, CG_SHAPE(1), 103.5));
}
END_TEST

/* Rank 8, and axes without elements. */
START_TEST(shapes)
{
    cg_tensor deep = cg_reshape(tensor_of(ARRAY(CG_F32, CG_SHAPE(6), 3, 1, 2, 6, 5, 4)),
                                CG_SHAPE(1, 2, 1, 3, 1, 1, 1, 1));
    const cg_shape shape = cg_shape_of(deep);
    expect_array(cg_sort(deep, 3), ARRAY(CG_F32, shape, 1, 2, 3, 4, 5, 6));
    expect_array(cg_cumsum(deep, 1), ARRAY(CG_F32, shape, 3, 1, 2, 9, 6, 6));
    cg_tensor indices, empty = cg_zeros(cg, CG_SHAPE(3, 0)), none = cg_zeros(cg, CG_SHAPE(0, 3));
    for (int axis = 0; axis < 2; axis++) {
        expect_array(cg_cumsum(empty, axis), array_new(CG_F32, CG_SHAPE(3, 0)));
        expect_array(cg_cummax(none, axis), array_new(CG_F32, CG_SHAPE(0, 3)));
        expect_array(cg_sort(empty, axis), array_new(CG_F32, CG_SHAPE(3, 0)));
        expect_array(cg_argsort(none, axis), array_new(CG_I32, CG_SHAPE(0, 3)));
        expect_array(gradient_of(cg_sort(none, axis), no_tensor, none), array_new(CG_F32, CG_SHAPE(0, 3)));
    }
    expect_array(cg_top_k(empty, 2, 0, &indices), array_new(CG_F32, CG_SHAPE(2, 0)));
    expect_array(cg_top_k(deep, 0, 1, NULL), array_new(CG_F32, CG_SHAPE(1, 0, 1, 3, 1, 1, 1, 1)));
    expect_array(cg_median(none, .axes = CG_AXES(1)), array_new(CG_F32, CG_SHAPE(0)));
    expect_array(cg_bincount(cg_zeros(cg, CG_SHAPE(0), .dtype = CG_I32), 3), array_new(CG_I32, CG_SHAPE(3)));
}
END_TEST

START_TEST(errors)
{
    cg_tensor x = cg_ones(cg, CG_SHAPE(2, 4)), indices = cg_zeros(cg, CG_SHAPE(3, 4), .dtype = CG_I32);
    expect_error(cg_cumsum(x, 2), "cumsum: [2,4] has no axis 2");
    expect_error(cg_sort(x, -3), "sort: [2,4] has no axis -3");
    expect_error(cg_argsort(cg_ones(cg, CG_RANK0), 0), "argsort: [] has no axis 0");
    expect_error(cg_top_k(x, 5, 1, NULL), "top_k: 5 of the 4 elements along axis 1 of [2,4]");
    expect_error(cg_top_k(x, -1, 0, NULL), "top_k: -1 of the 2 elements along axis 0 of [2,4]");
    expect_error(cg_quantile(x, 1.5), "quantile: 1.5 is not in [0, 1]");
    expect_error(cg_quantile(x, NAN), "quantile: nan is not in [0, 1]");
    expect_error(cg_median(cg_ones(cg, CG_SHAPE(2, 0)), .axes = CG_AXES(1)), "quantile: axis 1 of [2,0] is empty");
    expect_error(cg_gather_along(x, indices, 1), "gather_along: [2,4] and indices [3,4] do not fit along axis 1");
    expect_error(cg_gather_along(x, cg_ones(cg, CG_SHAPE(2, 4)), 1), "gather_along: indices are f32, not i32 or u8");
    expect_error(cg_scatter_add_along(x, indices, 0, 5),
                 "scatter_add_along: [2,4] and indices [3,4] do not fit along axis 0");
    expect_error(cg_bincount(x, 3), "bincount: indices are f32, not i32 or u8");
    expect_error(cg_bincount(indices, -1), "bincount: -1 bins");
    expect_error(cg_bincount(indices, 2, .weights = x), "bincount: weights [2,4] for [3,4]");
    ck_assert(cg_is_null(cg_cumsum(no_tensor, 0)) && cg_is_null(cg_sort(no_tensor, 0)) &&
              cg_is_null(cg_top_k(no_tensor, 1, 0, NULL)) && cg_is_null(cg_median(no_tensor)) &&
              cg_is_null(cg_bincount(no_tensor, 3)) && cg_is_null(cg_gather_along(no_tensor, no_tensor, 0)));
    ck_assert_int_eq(cg_status(cg), CG_OK);
    /* Weights that failed are not weights left out, once the error is cleared either. */
    cg_tensor counted = cg_bincount(indices, 2, .weights = cg_add(indices, cg_ones(cg, CG_SHAPE(2))));
    expect_error(cg_add(counted, x), "add: shapes [3,4] and [2] do not broadcast: sizes 4 and 2 differ");
    ck_assert(cg_is_null(counted));
}
END_TEST

/* Reading the result fails with a message that names the op and the index. */
static void expect_report(cg_tensor result, const char *op, const char *index)
{
    double read[8];
    ck_assert(!cg_read_doubles(result, read, cg_size(result)));
    ck_assert_int_eq(cg_status(cg), CG_ERROR_ARGUMENT);
    ck_assert_msg(strncmp(cg_message(cg), op, strlen(op)) == 0 && strstr(cg_message(cg), index), "%s", cg_message(cg));
    cg_clear_error(cg);
}

START_TEST(bad_indices)
{
    cg_tensor indices = tensor_of(ARRAY(CG_I32, CG_SHAPE(3), 0, -2, 1)), x = cg_ones(cg, CG_SHAPE(3));
    cg_tensor high = tensor_of(ARRAY(CG_I32, CG_SHAPE(1), 4)), one = cg_ones(cg, CG_SHAPE(1));
    expect_report(cg_bincount(indices, 4), "bincount", "-2");
    expect_report(cg_bincount(high, 4, .weights = one), "bincount", "4");
    expect_report(cg_gather_along(x, high, 0), "gather_along", "4");
    expect_report(cg_scatter_add_along(x, indices, 0, 4), "scatter_add_along", "-2");
    array many = array_new(CG_I32, CG_SHAPE(5000));
    many.at[4000] = 6000;
    expect_report(cg_slice_axis(cg_bincount(tensor_of(many), 6000), 0, 0, 8), "", "6000");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("scans and sorts");
    TCase *tests = tcase_create("scans and sorts");
    tcase_add_checked_fixture(tests, open_scans, oracle_close);
    tcase_add_test(tests, sums_and_products);
    tcase_add_test(tests, extremes);
    tcase_add_test(tests, sorts);
    tcase_add_test(tests, best);
    tcase_add_test(tests, along);
    tcase_add_test(tests, quantiles);
    tcase_add_test(tests, counts);
    tcase_add_test(tests, nothing_is_left_out);
    tcase_add_test(tests, long_sorts);
    tcase_add_test(tests, long_sums);
    tcase_add_test(tests, balanced_products);
    tcase_add_test(tests, long_products);
    tcase_add_test(tests, long_gradients);
    tcase_add_test(tests, not_a_number_and_ties);
    tcase_add_test(tests, dtypes);
    tcase_add_test(tests, shapes);
    tcase_add_test(tests, errors);
    tcase_add_test(tests, bad_indices);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}

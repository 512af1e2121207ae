/* Tests reductions over any axes, softmax, batch and layer normalization against plain loops in double, with their edge
 * cases, subgradients and error messages. */
#include "op_support.h"

#include <clgrad/normalization.h>

/* ---- Reductions -------------------------------------------------------------------------------------------------- */

typedef cg_tensor (*reduction)(cg_tensor x, const cg_reduce_options *options);
/* Folds `count` values; they are few, so that the order does not matter in double. */
typedef double (*fold)(const double *values, int64_t count);

static double fold_sum(const double *values, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += values[i];
    return sum;
}

static double fold_mean(const double *values, int64_t count)
{
    return fold_sum(values, count) / (double)count;
}

static double fold_prod(const double *values, int64_t count)
{
    double product = 1;
    for (int64_t i = 0; i < count; i++) product *= values[i];
    return product;
}

static double fold_var(const double *values, int64_t count)
{
    double mean = fold_mean(values, count), sum = 0;
    for (int64_t i = 0; i < count; i++) sum += (values[i] - mean) * (values[i] - mean);
    return sum / (double)count;
}

static double fold_argmax(const double *values, int64_t count)
{
    int64_t best = 0;
    for (int64_t i = 0; i < count; i++) {
        if (isnan(values[i])) return (double)i;
        if (values[i] > values[best]) best = i;
    }
    return (double)best;
}

static double fold_max(const double *values, int64_t count)
{
    return values[(int64_t)fold_argmax(values, count)];
}

static double fold_min(const double *values, int64_t count)
{
    double least = values[0];
    for (int64_t i = 0; i < count; i++) {
        if (isnan(values[i])) return values[i];
        if (values[i] < least) least = values[i];
    }
    return least;
}

static double fold_argmin(const double *values, int64_t count)
{
    const double least = fold_min(values, count);
    int64_t first = 0;
    while (isnan(least) ? !isnan(values[first]) : values[first] != least) first++;
    return (double)first;
}

static double fold_all(const double *values, int64_t count)
{
    bool all = true;
    for (int64_t i = 0; i < count; i++) all &= values[i] != 0;
    return all;
}

static double fold_any(const double *values, int64_t count)
{
    bool any = false;
    for (int64_t i = 0; i < count; i++) any |= values[i] != 0;
    return any;
}

static double fold_logsumexp(const double *values, int64_t count)
{
    double largest = fold_max(values, count), sum = 0;
    if (isinf(largest)) return largest;
    for (int64_t i = 0; i < count; i++) sum += exp(values[i] - largest);
    return log(sum) + largest;
}

static const struct {
    const char *name;
    reduction reduce;
    fold fold;
    bool floating;  /* the result is */
    bool widens;    /* u8 and bool to i32 */
    bool has_dtype; /* the result has `dtype` for any input */
    cg_dtype dtype;
} reductions[] = {
    {"sum", cg_sum_with, fold_sum, .widens = true},
    {"prod", cg_prod_with, fold_prod, .widens = true},
    {"mean", cg_mean_with, fold_mean, .floating = true},
    {"var", cg_var_with, fold_var, .floating = true},
    {"max", cg_max_with, fold_max, .floating = false},
    {"min", cg_min_with, fold_min, .floating = false},
    {"logsumexp", cg_logsumexp_with, fold_logsumexp, .floating = true},
    {"all", cg_all_with, fold_all, .has_dtype = true, .dtype = CG_BOOL},
    {"any", cg_any_with, fold_any, .has_dtype = true, .dtype = CG_BOOL},
    {"argmax", cg_argmax_with, fold_argmax, .has_dtype = true, .dtype = CG_I32},
    {"argmin", cg_argmin_with, fold_argmin, .has_dtype = true, .dtype = CG_I32},
};
enum { REDUCTIONS = sizeof reductions / sizeof *reductions };

/* The elements of each slice in row-major order, folded. */
static array reduced(array a, int mask, bool keepdims, fold fold, cg_dtype dtype)
{
    cg_shape kept = a.shape, out = {0};
    for (int i = 0; i < a.shape.rank; i++) {
        if (mask >> i & 1) kept.size[i] = 1;
        if (keepdims || !(mask >> i & 1)) out.size[out.rank++] = kept.size[i];
    }
    array result = array_new(dtype, out);
    double *slice = test_memory((size_t)a.count * sizeof *slice);
    for (int64_t k = 0; k < result.count; k++) {
        int64_t count = 0;
        for (int64_t n = 0; n < a.count; n++)
            if (broadcast_position(kept, a.shape, n) == k) slice[count++] = a.at[n];
        result.at[k] = rounded(fold(slice, count), dtype);
    }
    return result;
}

static cg_dtype reduced_dtype(int reduction, cg_dtype dtype)
{
    if (reductions[reduction].has_dtype) return reductions[reduction].dtype;
    if (reductions[reduction].floating && !cg_is_floating(dtype)) return CG_F32;
    return reductions[reduction].widens && (dtype == CG_U8 || dtype == CG_BOOL) ? CG_I32 : dtype;
}

static void check_reduction(int reduction, array a, int mask, bool keepdims)
{
    cg_reduce_options options = {.keepdims = keepdims};
    for (int i = 0; i < a.shape.rank; i++)
        if (mask >> i & 1) options.axes.axis[options.axes.count++] = i % 2 ? i - a.shape.rank : i;
    if (mask == (1 << a.shape.rank) - 1 && keepdims) options.axes.count = 0;
    array wanted = reduced(a, mask, keepdims, reductions[reduction].fold, reduced_dtype(reduction, a.dtype));
    char name[64];
    snprintf(name, sizeof name, "%s of %s %s over %d", reductions[reduction].name, cg_dtype_name(a.dtype),
             cg_shape_text(cg, a.shape), mask);
    bool floating = cg_is_floating(wanted.dtype);
    expect_close(reductions[reduction].reduce(tensor_of(a), &options), wanted, floating ? 1e-5 : 0, floating ? 1e-5 : 0,
                 name);
}

static void check_over_any_axes(int reduction)
{
    array a = array_random(CG_F32, CG_SHAPE(2, 3, 4), -2, 2);
    for (int mask = 1; mask < 8; mask++)
        for (int keepdims = 0; keepdims < 2; keepdims++) check_reduction(reduction, a, mask, keepdims);
}

static void check_of_each_dtype(int reduction)
{
    const cg_dtype dtypes[] = {CG_F64, CG_I32, CG_U8, CG_BOOL};
    const bool product = reductions[reduction].fold == fold_prod; /* which must not overflow */
    for (int i = has_f64() ? 0 : 1; i < 4; i++) {
        const cg_dtype dtype = dtypes[i];
        const double low = dtype == CG_I32 ? -4 : product && dtype != CG_BOOL ? 1 : 0;
        array a = array_random(dtype, CG_SHAPE(7, 5), low, dtype != CG_U8 ? 2 : product ? 8 : 255);
        for (int mask = 1; mask < (product ? 3 : 4); mask++) check_reduction(reduction, a, mask, false);
    }
}

static void check_of_large_and_odd_sizes(int reduction)
{
    const cg_shape shapes[] = {CG_SHAPE(1000), CG_SHAPE(3, 517), CG_SHAPE(517, 3), CG_SHAPE(2, 67, 33)};
    for (int i = 0; i < 4; i++) {
        array a = array_random(CG_F32, shapes[i], -2, 2);
        check_reduction(reduction, a, 1, false);
        check_reduction(reduction, a, (1 << shapes[i].rank) - 1, false);
        if (shapes[i].rank > 1) check_reduction(reduction, a, 2, false);
    }
}

static void check_of_rank_0_and_8(int reduction)
{
    array number = array_random(CG_F32, CG_RANK0, -2, 2),
          deep = array_random(CG_F32, CG_SHAPE(2, 1, 2, 3, 1, 2, 2, 1), -2, 2);
    check_reduction(reduction, number, 0, false);
    const int masks[] = {0x55, 0xAA, 0x81, 0xFF};
    for (int i = 0; i < 4; i++) check_reduction(reduction, deep, masks[i], i & 1);
}

/* NaN anywhere is the result of all but all, any and argmax; infinities. */
static void check_of_special_values(int reduction)
{
    array a = ARRAY(CG_F32, CG_SHAPE(6, 3), 1, NAN, 2, -INFINITY, -INFINITY, -INFINITY, INFINITY, 1, -INFINITY, NAN,
                    NAN, 5, -3, -2, -5, INFINITY, NAN, INFINITY);
    check_reduction(reduction, a, 2, false);
    check_reduction(reduction, a, 1, false);
}

static void check_of_empty_axes(int reduction)
{
    array a = array_new(CG_F32, CG_SHAPE(0, 3));
    cg_tensor x = tensor_of(a);
    char message[96];
    check_reduction(reduction, a, 2, false);
    cg_reduce_options first = {.axes = CG_AXES(0)};
    if (reductions[reduction].fold == fold_sum || reductions[reduction].fold == fold_all ||
        reductions[reduction].fold == fold_any || reductions[reduction].fold == fold_mean ||
        reductions[reduction].fold == fold_prod || reductions[reduction].fold == fold_var) {
        check_reduction(reduction, a, 1, false);
        check_reduction(reduction, a, 3, true);
    } else {
        snprintf(message, sizeof message, "%s: axis 0 of [0,3] is empty", reductions[reduction].name);
        expect_error(reductions[reduction].reduce(x, &first), message);
    }
}

static void check_errors_of_axes(int reduction)
{
    cg_tensor x = cg_zeros(cg, CG_SHAPE(2, 3));
    char message[96];
    cg_reduce_options outside = {.axes = CG_AXES(2)}, twice = {.axes = CG_AXES(1, -1)};
    snprintf(message, sizeof message, "%s: [2,3] has no axis 2", reductions[reduction].name);
    expect_error(reductions[reduction].reduce(x, &outside), message);
    snprintf(message, sizeof message, "%s: axis -1 is named twice", reductions[reduction].name);
    expect_error(reductions[reduction].reduce(x, &twice), message);
    ck_assert(cg_is_null(reductions[reduction].reduce(no_tensor, NULL)));
    ck_assert_int_eq(cg_status(cg), CG_OK);
}

/* All in one context, whose kernels they share. */
START_TEST(each_folds_what_it_should)
{
    static void (*const checks[])(int) = {check_over_any_axes,   check_of_each_dtype,     check_of_large_and_odd_sizes,
                                          check_of_rank_0_and_8, check_of_special_values, check_of_empty_axes,
                                          check_errors_of_axes};
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) checks[i](_i);
}
END_TEST

/* As on GPUs: a work-item for each result, or a work-group, and a second step for what is cut into parts. */
START_TEST(values_are_the_same_without_vectors)
{
    static const struct {
        cg_shape shape;
        int mask;
    } folded[] = {{{2, {3, 70001}}, 2},   {{2, {300, 500}}, 2},   {{2, {70001, 3}}, 1}, {{1, {100003}}, 1},
                  {{3, {16, 40, 65}}, 5}, {{3, {2, 3, 9000}}, 6}, {{2, {5000, 7}}, 2}};
    setenv("CLGRAD_DISABLE", "vectors", 1);
    open_context();
    unsetenv("CLGRAD_DISABLE");
    for (size_t i = 0; i < sizeof folded / sizeof *folded; i++) {
        array a = array_random(CG_F32, folded[i].shape, -2, 2);
        for (int k = 0; k < REDUCTIONS; k++)
            if (reductions[k].fold == fold_mean || reductions[k].fold == fold_max || reductions[k].fold == fold_argmin)
                check_reduction(k, a, folded[i].mask, false);
    }
    close_context();
}
END_TEST

/* Where factors are 0 the others' product remains, in the second derivative too. */
START_TEST(products_with_zeros)
{
    array a = ARRAY(CG_F32, CG_SHAPE(3, 3), 2, 0, 3, 0, 5, 0, 2, 4, 3);
    cg_tensor x = tensor_of(a), product = cg_prod(x, .axes = CG_AXES(1));
    expect_array(product, ARRAY(CG_F32, CG_SHAPE(3), 0, 0, 24));
    cg_tensor first = gradient_of(product, no_tensor, x);
    expect_array(first, ARRAY(CG_F32, CG_SHAPE(3, 3), 0, 6, 0, 0, 0, 0, 12, 6, 8));
    /* Of the sum of all that: each factor's is the sum of the products of one other. */
    expect_array(gradient_of(first, no_tensor, x), ARRAY(CG_F32, CG_SHAPE(3, 3), 3, 5, 2, 5, 0, 5, 7, 5, 6));
    expect_array(gradient_of(cg_prod(x), no_tensor, x), array_new(CG_F32, CG_SHAPE(3, 3)));
}
END_TEST

/* The variance is accurate where the mean is 10^4 times larger than the deviation. */
START_TEST(variance_of_distant_numbers)
{
    array a = array_random(CG_F32, CG_SHAPE(4, 5000), -1.75, 1.75);
    for (int64_t k = 0; k < a.count; k++) a.at[k] = rounded(a.at[k] + 10000, CG_F32);
    for (int i = 0; i < REDUCTIONS; i++)
        if (reductions[i].fold == fold_var) check_reduction(i, a, 2, false);
}
END_TEST

START_TEST(sixteen_million_ones)
{
    cg_tensor ones = cg_full(cg, CG_SHAPE(1 << 24), 1);
    ck_assert(cg_item(cg_sum(ones)) == 1 << 24);
    ck_assert(cg_item(cg_mean(ones)) == 1);
}
END_TEST

/* The middle axis of [outer, rows, columns], folded by a plain loop. */
static array folded_rows(array a, bool largest)
{
    const int64_t rows = a.shape.size[1], columns = a.shape.size[2];
    array result = array_new(a.dtype == CG_U8 && !largest ? CG_I32 : a.dtype, CG_SHAPE(a.shape.size[0], columns));
    for (int64_t k = 0; k < result.count; k++) {
        const double *first = a.at + k / columns * rows * columns + k % columns;
        double sum = 0, most = first[0];
        for (int64_t r = 0; r < rows; r++) {
            sum += first[r * columns];
            most = fmax(most, first[r * columns]);
        }
        result.at[k] = rounded(largest ? most : sum, result.dtype);
    }
    return result;
}

/* Enough rows to be cut, columns that fill neither vectors nor the sums that are kept at hand, and long sums. The
 * squared differences have a second operand along the columns; the mean after them is an epilogue. */
START_TEST(over_rows_of_many_shapes)
{
    const cg_shape shapes[] = {CG_SHAPE(1, 9001, 61),  CG_SHAPE(1, 70001, 9), CG_SHAPE(1, 300, 2100),
                               CG_SHAPE(1, 130, 5003), CG_SHAPE(3, 333, 37),  CG_SHAPE(2, 40000, 17),
                               CG_SHAPE(5, 7, 2049),   CG_SHAPE(1, 70000, 2), CG_SHAPE(2, 1, 40)};
    const cg_dtype dtypes[] = {CG_F32, CG_U8, CG_I32, CG_F64};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int d = 0; d < (i % 4 ? 1 : has_f64() ? 4 : 3); d++) {
            array a = array_random(dtypes[d], shapes[i], 0, 100);
            const double tolerance = dtypes[d] == CG_F32 ? 2e-6 : dtypes[d] == CG_F64 ? 1e-12 : 0;
            cg_tensor x = tensor_of(a), sum = cg_sum(x, .axes = CG_AXES(1));
            expect_close(sum, folded_rows(a, false), tolerance, 0, "sum over rows");
            expect_close(cg_max(x, .axes = CG_AXES(1)), folded_rows(a, true), 0, 0, "max over rows");
            if (d != 0) continue;
            array squares = array_new(CG_F32, a.shape);
            for (int64_t k = 0; k < a.count; k++) squares.at[k] = (a.at[k] - 50) * (a.at[k] - 50);
            array mean = folded_rows(squares, false);
            for (int64_t k = 0; k < mean.count; k++) mean.at[k] /= (double)shapes[i].size[1];
            cg_tensor centre = cg_full(cg, CG_SHAPE(shapes[i].size[2]), 50);
            expect_close(cg_mean(cg_square(cg_sub(x, centre)), .axes = CG_AXES(1)), mean, 1e-5, 0, "squares over rows");
        }
}
END_TEST

START_TEST(ties_share_the_cotangent)
{
    cg_tensor x = tensor_of(ARRAY(CG_F32, CG_SHAPE(2, 4), 3, 1, 3, 3, NAN, 2, 2, 5));
    expect_about(gradient_of(cg_max(x, .axes = CG_AXES(1)), no_tensor, x),
                 ARRAY(CG_F32, CG_SHAPE(2, 4), 1.0 / 3, 0, 1.0 / 3, 1.0 / 3, 0, 0, 0, 0));
    expect_about(gradient_of(cg_min(cg_slice(x, CG_RANGE(0, 1, 1))), no_tensor, x),
                 ARRAY(CG_F32, CG_SHAPE(2, 4), 0, 1, 0, 0, 0, 0, 0, 0));
}
END_TEST

/* ---- softmax ----------------------------------------------------------------------------------------------------- */

static array softmax_wanted(array a, int axis, bool logarithm)
{
    array result = array_new(a.dtype, a.shape);
    int mask = 1 << axis;
    array total = reduced(a, mask, true, fold_logsumexp, CG_F64);
    for (int64_t k = 0; k < a.count; k++) {
        double x = a.at[k] - total.at[broadcast_position(total.shape, a.shape, k)];
        result.at[k] = logarithm ? x : exp(x);
    }
    return result;
}

START_TEST(softmax_along_each_axis)
{
    array a = array_random(CG_F32, CG_SHAPE(3, 4, 5), -30, 30);
    a.at[7] = 500;
    a.at[9] = -INFINITY;
    cg_tensor x = tensor_of(a);
    for (int axis = 0; axis < 3; axis++) {
        expect_close(cg_softmax(x, axis), softmax_wanted(a, axis, false), 1e-5, 1e-12, "softmax");
        expect_close(cg_log_softmax(x, axis - 3), softmax_wanted(a, axis, true), 1e-5, 1e-5, "log_softmax");
    }
}
END_TEST

START_TEST(softmax_edges)
{
    cg_tensor low = cg_full(cg, CG_SHAPE(1, 2), -INFINITY), one = cg_full(cg, CG_SHAPE(2, 1), 7);
    expect_array(cg_softmax(low, 1), ARRAY(CG_F32, CG_SHAPE(1, 2), NAN, NAN));
    expect_array(cg_softmax(one, 1), ARRAY(CG_F32, CG_SHAPE(2, 1), 1, 1));
    expect_array(cg_log_softmax(one, 1), ARRAY(CG_F32, CG_SHAPE(2, 1), 0, 0));
    expect_array(cg_softmax(cg_zeros(cg, CG_SHAPE(3, 0)), 1), array_new(CG_F32, CG_SHAPE(3, 0)));
    expect_array(cg_log_softmax(cg_zeros(cg, CG_SHAPE(0, 3)), 1), array_new(CG_F32, CG_SHAPE(0, 3)));
    expect_error(cg_softmax(one, 2), "softmax: [2,1] has no axis 2");
    expect_error(cg_log_softmax(cg_ones(cg, CG_RANK0), 0), "log_softmax: [] has no axis 0");
}
END_TEST

/* ---- Batch normalization ----------------------------------------------------------------------------------------- */

START_TEST(batch_norm_of_a_batch)
{
    enum { BATCH = 37, FEATURES = 5 };
    array x = array_random(CG_F32, CG_SHAPE(BATCH, FEATURES), -3, 8),
          gamma = array_random(CG_F32, CG_SHAPE(FEATURES), 0.5, 2);
    array beta = array_random(CG_F32, CG_SHAPE(FEATURES), -1, 1), y = array_new(CG_F32, x.shape);
    array mean = array_new(CG_F32, beta.shape), variance = array_new(CG_F32, beta.shape);
    const double epsilon = 1e-3;
    for (int f = 0; f < FEATURES; f++) {
        for (int n = 0; n < BATCH; n++) mean.at[f] += x.at[n * FEATURES + f] / BATCH;
        for (int n = 0; n < BATCH; n++) variance.at[f] += pow(x.at[n * FEATURES + f] - mean.at[f], 2) / BATCH;
        for (int n = 0; n < BATCH; n++)
            y.at[n * FEATURES + f] = gamma.at[f] * (x.at[n * FEATURES + f] - mean.at[f]) /
                                         sqrt(variance.at[f] + epsilon) +
                                     beta.at[f];
    }
    cg_batch_norm_result found = cg_batch_norm(tensor_of(x), tensor_of(gamma), tensor_of(beta), epsilon);
    expect_close(found.output, y, 1e-5, 1e-5, "output");
    expect_close(found.mean, mean, 1e-5, 1e-5, "mean");
    expect_close(found.variance, variance, 1e-5, 1e-5, "variance");
    expect_close(
        cg_batch_norm_inference(tensor_of(x), tensor_of(gamma), tensor_of(beta), found.mean, found.variance, epsilon),
        y, 1e-5, 1e-5, "inference");
}
END_TEST

START_TEST(batch_norm_edges)
{
    cg_tensor gamma = cg_ones(cg, CG_RANK0), beta = cg_zeros(cg, CG_SHAPE(2)),
              x = tensor_of(ARRAY(CG_F32, CG_SHAPE(1, 2), 3, 4));
    cg_batch_norm_result one = cg_batch_norm(x, gamma, beta, 1e-3);
    expect_array(one.output, array_new(CG_F32, CG_SHAPE(1, 2)));
    expect_array(one.variance, array_new(CG_F32, CG_SHAPE(2)));
    cg_batch_norm_result empty = cg_batch_norm(cg_zeros(cg, CG_SHAPE(0, 2)), gamma, beta, 1e-3);
    expect_array(empty.output, array_new(CG_F32, CG_SHAPE(0, 2)));
    expect_array(empty.mean, ARRAY(CG_F32, CG_SHAPE(2), NAN, NAN));
    expect_error(cg_batch_norm(beta, gamma, beta, 1e-3).output, "batch_norm: [2] has no batch and features");
    expect_error(cg_batch_norm(x, gamma, cg_zeros(cg, CG_SHAPE(3)), 1e-3).mean,
                 "batch_norm: [3] for the features of [1,2]");
    expect_error(cg_batch_norm_inference(x, gamma, beta, beta, x, 1e-3),
                 "batch_norm_inference: [1,2] for the features of [1,2]");
    ck_assert(cg_is_null(cg_batch_norm(no_tensor, gamma, beta, 1e-3).variance));
}
END_TEST

/* ---- Layer normalization ----------------------------------------------------------------------------------------- */

/* In double, over the middle of three axes. */
static array layer_norm_by_hand(array x, const double *gamma, const double *beta, double epsilon)
{
    array y = array_new(x.dtype, x.shape);
    const int64_t extent = x.shape.size[1], stride = x.shape.size[2];
    for (int64_t group = 0; group < x.shape.size[0] * stride; group++) {
        const int64_t first = group / stride * extent * stride + group % stride;
        double mean = 0, variance = 0;
        for (int64_t k = 0; k < extent; k++) mean += x.at[first + k * stride] / (double)extent;
        for (int64_t k = 0; k < extent; k++) variance += pow(x.at[first + k * stride] - mean, 2) / (double)extent;
        for (int64_t k = 0; k < extent; k++) {
            const double normal = (x.at[first + k * stride] - mean) / sqrt(variance + epsilon);
            y.at[first + k * stride] = (gamma ? gamma[k] : 1) * normal + (beta ? beta[k] : 0);
        }
    }
    return y;
}

START_TEST(layer_norm_along_an_axis)
{
    array x = array_random(CG_F32, CG_SHAPE(3, 67, 18), -3, 8), gamma = array_random(CG_F32, CG_SHAPE(67), 0.5, 2),
          beta = array_random(CG_F32, CG_SHAPE(67), -1, 1);
    cg_tensor input = tensor_of(x), g = tensor_of(gamma), b = tensor_of(beta);
    const cg_axes middle = CG_AXES(-2);
    expect_about(cg_layer_norm(input, .axes = middle, .gamma = g, .beta = b),
                 layer_norm_by_hand(x, gamma.at, beta.at, 1e-3));
    expect_about(cg_layer_norm(input, .axes = middle, .gamma = g, .epsilon = 0.5),
                 layer_norm_by_hand(x, gamma.at, NULL, 0.5));
    expect_about(cg_layer_norm(input, .axes = middle, .beta = b, .epsilon = CG_ZERO),
                 layer_norm_by_hand(x, NULL, beta.at, 0));
    expect_about(cg_layer_norm(input, .axes = middle), layer_norm_by_hand(x, NULL, NULL, 1e-3));
}
END_TEST

/* import torch; x = torch.tensor([[[1., 2, 4], [8, 16, 32]], [[3, 1, 4], [1, 5, 9]]])
 * torch.nn.functional.layer_norm(x, (2, 3), torch.arange(6.).reshape(2, 3), torch.ones(2, 3), eps=1e-3)
 * torch.nn.functional.layer_norm(x, (3,), eps=1e-3) */
START_TEST(layer_norm_as_in_pytorch)
{
    cg_tensor x = tensor_of(ARRAY(CG_F32, CG_SHAPE(2, 2, 3), 1, 2, 4, 8, 16, 32, 3, 1, 4, 1, 5, 9));
    cg_tensor gamma = tensor_of(array_iota(CG_F32, CG_SHAPE(2, 3))), beta = cg_ones(cg, CG_RANK0);
    expect_about(cg_layer_norm(x, .axes = CG_AXES(2, 1), .gamma = gamma, .beta = beta),
                 ARRAY(CG_F32, CG_SHAPE(2, 2, 3), 1, 0.2150162, -0.2005634, 0.3073673, 3.031723, 10.92774, 1,
                       -0.03643894, 1.121934, -2.109317, 2.707076, 10.44988));
    expect_about(cg_layer_norm(x), ARRAY(CG_F32, CG_SHAPE(2, 2, 3), -1.068702, -0.2671753, 1.335877, -1.06904,
                                         -0.2672598, 1.3363, 0.2671754, -1.335877, 1.068702, -1.224687, 0, 1.224687));
}
END_TEST

/* The mean takes most of the digits of f32. */
START_TEST(layer_norm_far_from_0)
{
    for (int count = 100; count <= 100000; count *= 1000) {
        array x = array_random(CG_F32, CG_SHAPE(2, count, 1), 1e4 - sqrt(3), 1e4 + sqrt(3));
        expect_close(cg_layer_norm(tensor_of(x), .axes = CG_AXES(1)), layer_norm_by_hand(x, NULL, NULL, 1e-3), 1e-6,
                     4e-6, "far from 0");
    }
}
END_TEST

START_TEST(layer_norm_edges)
{
    cg_tensor x = tensor_of(ARRAY(CG_F32, CG_SHAPE(1, 2), 3, 3)), three = cg_zeros(cg, CG_SHAPE(3));
    expect_array(cg_layer_norm(x), array_new(CG_F32, CG_SHAPE(1, 2)));
    expect_array(cg_layer_norm(x, .axes = CG_AXES(0)), array_new(CG_F32, CG_SHAPE(1, 2)));
    expect_array(cg_layer_norm(cg_zeros(cg, CG_SHAPE(2, 0))), array_new(CG_F32, CG_SHAPE(2, 0)));
    expect_array(cg_layer_norm(cg_zeros(cg, CG_SHAPE(0, 2))), array_new(CG_F32, CG_SHAPE(0, 2)));
    expect_error(cg_layer_norm(x, .gamma = three), "layer_norm: gamma is [3], the axes normalized are [2]");
    expect_error(cg_layer_norm(x, .beta = x), "layer_norm: beta is [1,2], the axes normalized are [2]");
    expect_error(cg_layer_norm(x, .axes = CG_AXES(2)), "layer_norm: [1,2] has no axis 2");
    expect_error(cg_layer_norm(cg_ones(cg, CG_RANK0)), "layer_norm: [] has no axis -1");
    ck_assert(cg_is_null(cg_layer_norm(no_tensor)));
}
END_TEST

/* ---- The suite --------------------------------------------------------------------------------------------------- */

static TCase *reduce_cases(void)
{
    TCase *tests = tcase_create("reductions");
    tcase_add_checked_fixture(tests, open_context, close_context);
    tcase_add_loop_test(tests, each_folds_what_it_should, 0, REDUCTIONS);
    tcase_add_test(tests, products_with_zeros);
    tcase_add_test(tests, variance_of_distant_numbers);
    tcase_add_test(tests, sixteen_million_ones);
    tcase_add_test(tests, over_rows_of_many_shapes);
    tcase_add_test(tests, ties_share_the_cotangent);
    tcase_add_test(tests, softmax_along_each_axis);
    tcase_add_test(tests, softmax_edges);
    return tests;
}

/* The same numbers in each test, whatever ran before. */
static void open_with_numbers_of_its_own(void)
{
    open_context();
    random_state = 1;
}

static TCase *normalization_cases(void)
{
    TCase *tests = tcase_create("normalization");
    tcase_add_checked_fixture(tests, open_with_numbers_of_its_own, close_context);
    tcase_add_test(tests, batch_norm_of_a_batch);
    tcase_add_test(tests, batch_norm_edges);
    tcase_add_test(tests, layer_norm_along_an_axis);
    tcase_add_test(tests, layer_norm_as_in_pytorch);
    tcase_add_test(tests, layer_norm_far_from_0);
    tcase_add_test(tests, layer_norm_edges);
    return tests;
}

int main(void)
{
    Suite *suite = suite_create("reductions");
    TCase *elsewhere = tcase_create("without vectors");
    tcase_add_test(elsewhere, values_are_the_same_without_vectors);
    suite_add_tcase(suite, reduce_cases());
    suite_add_tcase(suite, elsewhere);
    suite_add_tcase(suite, normalization_cases());
    return run_suite(suite);
}

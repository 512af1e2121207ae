/* Tests what the loop over the op table cannot: arguments of elementwise ops, subgradients and derivatives at special
 * points, dtypes of results, conversions, bools, and error messages. */
#include "op_support.h"

#include <clgrad/normalization.h>
#include <clgrad/scans.h>

static cg_tensor vector(int count, const double *values)
{
    return tensor_of(array_of(CG_F32, CG_SHAPE(count), values, (size_t)count));
}
#define VECTOR(...) vector(CG_COUNT(double, __VA_ARGS__), (const double[]){__VA_ARGS__})
#define F32(...) ARRAY(CG_F32, CG_SHAPE(CG_COUNT(double, __VA_ARGS__)), __VA_ARGS__)
#define I32(...) ARRAY(CG_I32, CG_SHAPE(CG_COUNT(double, __VA_ARGS__)), __VA_ARGS__)
#define BOOL(...) ARRAY(CG_BOOL, CG_SHAPE(CG_COUNT(double, __VA_ARGS__)), __VA_ARGS__)
#define U8(...) ARRAY(CG_U8, CG_SHAPE(CG_COUNT(double, __VA_ARGS__)), __VA_ARGS__)

#define expect_gradient(output, input, wanted) expect_about(gradient_of(output, no_tensor, input), wanted)

/* ---- relu, clip -------------------------------------------------------------------------------------------------- */

START_TEST(relu_with_each_argument)
{
    cg_tensor x = VECTOR(-INFINITY, -2, -0.5, 0, 0.5, 1, 2, 6, 7, INFINITY, NAN);
    expect_array(cg_relu(x), F32(0, 0, 0, 0, 0.5, 1, 2, 6, 7, INFINITY, NAN));
    expect_array(cg_relu_with(x, NULL), F32(0, 0, 0, 0, 0.5, 1, 2, 6, 7, INFINITY, NAN));
    expect_array(cg_relu(x, .max_value = 6, .has_max_value = true), F32(0, 0, 0, 0, 0.5, 1, 2, 6, 6, 6, NAN));
    expect_array(cg_relu(x, .has_max_value = true), F32(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NAN));
    expect_array(cg_relu(x, .threshold = 1), F32(0, 0, 0, 0, 0, 1, 2, 6, 7, INFINITY, NAN));
    expect_array(cg_relu(x, .threshold = -1), F32(0, 0, -0.5, 0, 0.5, 1, 2, 6, 7, INFINITY, NAN));
    expect_array(cg_relu(x, .negative_slope = 0.5), F32(-INFINITY, -1, -0.25, 0, 0.5, 1, 2, 6, 7, INFINITY, NAN));
    expect_array(cg_relu(x, .negative_slope = 0.5, .threshold = 1, .max_value = 2, .has_max_value = true),
                 F32(-INFINITY, -1.5, -0.75, -0.5, -0.25, 1, 2, 2, 2, 2, NAN));
}
END_TEST

START_TEST(relu_subgradients)
{
    cg_tensor x = VECTOR(-INFINITY, -1, 0, 0.5, 1, 2, 3);
    expect_gradient(cg_relu(x), x, F32(0, 0, 0, 1, 1, 1, 1));
    expect_gradient(cg_relu(x, .max_value = 2, .has_max_value = true), x, F32(0, 0, 0, 1, 1, 0, 0));
    expect_gradient(cg_relu(x, .threshold = 1), x, F32(0, 0, 0, 0, 0, 1, 1));
    expect_gradient(cg_relu(x, .negative_slope = 0.25), x, F32(0.25, 0.25, 0.25, 1, 1, 1, 1));
    expect_gradient(cg_relu(x, .negative_slope = 0.25, .threshold = 1, .max_value = 2, .has_max_value = true), x,
                    F32(0.25, 0.25, 0.25, 0.25, 0.25, 0, 0));
}
END_TEST

START_TEST(relu_of_integers)
{
    cg_tensor x = tensor_of(I32(-3, 0, 5));
    expect_array(cg_relu(x), I32(0, 0, 5));
    expect_array(cg_relu(x, .negative_slope = 0.5), F32(-1.5, 0, 5));
    expect_array(cg_relu(x, .max_value = 4, .has_max_value = true), F32(0, 0, 4));
}
END_TEST

START_TEST(clip_bounds)
{
    cg_tensor x = VECTOR(-INFINITY, -1, -0.5, 0, 2, 3, INFINITY, NAN);
    expect_array(cg_clip(x, -1, 2), F32(-1, -1, -0.5, 0, 2, 2, 2, NAN));
    expect_array(cg_clip(x, -INFINITY, 0), F32(-INFINITY, -1, -0.5, 0, 0, 0, 0, NAN));
    expect_array(cg_clip(x, 1, INFINITY), F32(1, 1, 1, 1, 2, 3, INFINITY, NAN));
    expect_gradient(cg_clip(x, -1, 2), x, F32(0, 1, 1, 1, 1, 0, 0, 1));
    expect_array(cg_clip(tensor_of(I32(-5, 0, 7)), -1.5, 3.5), I32(-1, 0, 3));
    expect_array(cg_clip(tensor_of(I32(-5, 0, 7)), -INFINITY, INFINITY), I32(-5, 0, 7));
    expect_error(cg_clip(x, 2, -1), "clip: the bounds 2 and -1 are not in order");
    expect_error(cg_clip(x, NAN, 1), "clip: the bounds nan and 1 are not in order");
    ck_assert(cg_is_null(cg_clip(no_tensor, 2, -1)));
}
END_TEST

/* Another number is no other program. */
START_TEST(numbers_are_arguments)
{
    cg_tensor x = VECTOR(-2, -1, 0, 1, 2);
    expect_array(cg_clip(x, -1, 1), F32(-1, -1, 0, 1, 1));
    expect_array(cg_relu(x, .negative_slope = 0.1, .threshold = 0.5), F32(-0.25, -0.15, -0.05, 1, 2));
    int64_t built = cg_counters_get(cg).kernels_built;
    expect_array(cg_clip(x, 0, 2), F32(0, 0, 0, 1, 2));
    expect_array(cg_relu(x, .negative_slope = 0.5, .threshold = -1), F32(-0.5, -1, 0, 1, 2));
    ck_assert_int_eq(cg_counters_get(cg).kernels_built, built);
}
END_TEST

/* ---- Derivatives at special points ------------------------------------------------------------------------------- */

START_TEST(abs_sign_sqrt_at_0)
{
    cg_tensor x = VECTOR(-2, -0.0, 0, 3);
    expect_gradient(cg_abs(x), x, F32(-1, 0, 0, 1));
    expect_gradient(cg_sign(x), x, F32(0, 0, 0, 0));
    cg_tensor y = VECTOR(0, 4);
    expect_gradient(cg_sqrt(y), y, F32(INFINITY, 0.25));
    expect_gradient(cg_reciprocal(y), y, F32(-INFINITY, -0.0625));
    expect_gradient(cg_log(y), y, F32(INFINITY, 0.25));
    /* 1 / -0 tells the zeros apart. */
    expect_array(cg_reciprocal(cg_abs(VECTOR(-0.0))), F32(INFINITY));
    expect_array(cg_reciprocal(cg_neg(VECTOR(0))), F32(-INFINITY));
}
END_TEST

START_TEST(pow_at_0)
{
    cg_tensor a = VECTOR(0, 0, 0, 0, 2, -2, -2), b = VECTOR(0, 1, 2, 0.5, 0, 2, 3);
    cg_tensor y = cg_pow(a, b);
    expect_about(y, F32(1, 0, 0, 0, 1, 4, -8));
    expect_gradient(y, a, F32(0, 1, 0, INFINITY, 0, -4, 12));
    expect_gradient(y, b, F32(0, 0, 0, 0, log(2), 0, 0));
    cg_tensor x = VECTOR(0, 0, 0), squares = cg_pow(x, VECTOR(0, 1, 2));
    expect_gradient(gradient_of(squares, no_tensor, x), x, F32(0, 0, 2));
}
END_TEST

START_TEST(ties_of_maximum_and_minimum)
{
    cg_tensor a = VECTOR(1, 2, 3, NAN), b = VECTOR(2, 2, 2, 1);
    expect_gradient(cg_maximum(a, b), a, F32(0, 0.5, 1, 0));
    expect_gradient(cg_maximum(a, b), b, F32(1, 0.5, 0, 0));
    expect_gradient(cg_minimum(a, b), a, F32(1, 0.5, 0, 0));
    expect_gradient(cg_minimum(a, b), b, F32(0, 0.5, 1, 0));
    expect_gradient(cg_maximum(a, a), a, F32(1, 1, 1, 0));
}
END_TEST

START_TEST(where_keeps_nan_out)
{
    cg_tensor x = VECTOR(-1, 0, 4), zero = cg_zeros(cg, CG_SHAPE(3)), positive = cg_greater(x, zero);
    cg_tensor root = cg_sqrt(x), y = cg_where(positive, root, x);
    expect_array(y, F32(-1, 0, 2));
    expect_gradient(y, root, F32(0, 0, 1));
    expect_gradient(cg_where(positive, x, VECTOR(NAN, NAN, NAN)), x, F32(0, 0, 1));
    expect_gradient(cg_where(positive, VECTOR(NAN, NAN, NAN), x), x, F32(1, 1, 0));
    /* Taken out before the root, the derivative at the other places is clean, too. */
    cg_tensor safe = cg_sqrt(cg_where(positive, x, cg_ones(cg, CG_SHAPE(3))));
    expect_gradient(cg_where(positive, safe, zero), x, F32(0, 0, 0.25));
}
END_TEST

START_TEST(stopped_gradient)
{
    cg_tensor x = VECTOR(1, 2, 3);
    expect_gradient(cg_mul(cg_stop_gradient(x), x), x, F32(1, 2, 3));
    expect_gradient(cg_stop_gradient(x), x, F32(0, 0, 0));
}
END_TEST

START_TEST(gradients_of_broadcast_operands)
{
    cg_tensor a = tensor_of(array_iota(CG_F32, CG_SHAPE(2, 3))), b = VECTOR(1, 2, 3),
              c = tensor_of(ARRAY(CG_F32, CG_RANK0, 2));
    cg_tensor d = tensor_of(ARRAY(CG_F32, CG_SHAPE(2, 1), 1, 10));
    expect_gradient(cg_mul(a, b), b, F32(3, 5, 7));
    expect_gradient(cg_mul(a, c), c, ARRAY(CG_F32, CG_RANK0, 15));
    expect_gradient(cg_mul(a, d), d, ARRAY(CG_F32, CG_SHAPE(2, 1), 3, 12));
    expect_gradient(cg_add(b, d), d, ARRAY(CG_F32, CG_SHAPE(2, 1), 3, 3));
    expect_gradient(cg_sub(b, d), d, ARRAY(CG_F32, CG_SHAPE(2, 1), -3, -3));
    expect_gradient(cg_mul(cg_zeros(cg, CG_SHAPE(0, 3)), b), b, F32(0, 0, 0));
}
END_TEST

START_TEST(gradients_through_dtypes)
{
    if (!has_f64()) return;
    cg_tensor single = VECTOR(1, 2), twice = tensor_of(ARRAY(CG_F64, CG_SHAPE(2), 3, 4)), whole = tensor_of(I32(5, 6));
    cg_tensor product = cg_mul(cg_mul(single, twice), whole);
    ck_assert_int_eq(cg_dtype_of(product), CG_F64);
    expect_gradient(product, single, F32(15, 24));
    expect_gradient(product, twice, ARRAY(CG_F64, CG_SHAPE(2), 5, 12));
    expect_gradient(cg_cast(cg_cast(single, CG_I32), CG_F32), single, F32(0, 0));
    expect_gradient(cg_cast(single, CG_F64), single, F32(1, 1));
}
END_TEST

/* ---- Dtypes ------------------------------------------------------------------------------------------------------ */

START_TEST(conversions)
{
    cg_tensor x = VECTOR(-2.9, -0.5, 0, 0.5, 2.9, 300);
    expect_array(cg_cast(x, CG_I32), I32(-2, 0, 0, 0, 2, 300));
    expect_array(cg_cast(x, CG_BOOL), BOOL(1, 1, 0, 1, 1, 1));
    expect_array(cg_cast(tensor_of(I32(-1, 0, 255, 256, 700)), CG_U8), U8(255, 0, 255, 0, 188));
    expect_array(cg_cast(tensor_of(I32(-1, 0, 256)), CG_BOOL), BOOL(1, 0, 1));
    expect_array(cg_cast(cg_cast(x, CG_BOOL), CG_F32), F32(1, 1, 0, 1, 1, 1));
    expect_array(cg_cast(VECTOR(NAN, 0), CG_BOOL), BOOL(1, 0));
    expect_array(cg_cast(x, CG_F32), F32(-2.9, -0.5, 0, 0.5, 2.9, 300));
    expect_error(cg_cast(x, (cg_dtype)9), "cast: there is no dtype 9");
}
END_TEST

START_TEST(dtypes_of_results)
{
    cg_tensor whole = tensor_of(I32(7, -7)), bytes = tensor_of(U8(250, 3)), truth = tensor_of(BOOL(1, 0));
    cg_tensor single = VECTOR(0.5, 2);
    expect_array(cg_add(whole, bytes), I32(257, -4));
    expect_array(cg_add(bytes, bytes), U8(244, 6));
    expect_array(cg_neg(bytes), U8(6, 253));
    expect_array(cg_add(whole, truth), I32(8, -7));
    expect_array(cg_mul(whole, single), F32(3.5, -14));
    expect_array(cg_div(whole, bytes), F32(7.0 / 250, -7.0 / 3));
    expect_array(cg_pow(bytes, cg_scalar_int(cg, 2)), F32(62500, 9));
    expect_array(cg_square(whole), I32(49, 49));
    expect_array(cg_sqrt(bytes), F32(sqrt(250), sqrt(3)));
    expect_array(cg_add(bytes, cg_scalar_int(cg, 10)), U8(4, 13));
    expect_array(cg_mul(whole, cg_scalar(cg, 0.5)), F32(3.5, -3.5));
    expect_array(cg_where(truth, whole, single), F32(7, 2));
    expect_array(cg_where(single, whole, bytes), I32(7, -7));
    if (!has_f64()) return;
    cg_tensor twice = tensor_of(ARRAY(CG_F64, CG_SHAPE(2), 0.1, 0.2));
    expect_array(cg_mul(twice, cg_scalar(cg, 0.1)), ARRAY(CG_F64, CG_SHAPE(2), 0.1 * 0.1, 0.2 * 0.1));
    expect_array(cg_clip(twice, 0.15, 1), ARRAY(CG_F64, CG_SHAPE(2), 0.15, 0.2));
    expect_array(cg_relu(twice, .threshold = 0.15, .negative_slope = 0.1),
                 ARRAY(CG_F64, CG_SHAPE(2), 0.1 * (0.1 - 0.15), 0.2));
}
END_TEST

/* In vectors, wider than any the device has: a register's "true" must count as the number 1. */
START_TEST(arithmetic_on_bools_in_vectors)
{
    enum { MANY = 67 };
    cg_tensor yes = cg_ones(cg, CG_SHAPE(MANY), .dtype = CG_BOOL), both = cg_mul(yes, yes);
    ck_assert_double_eq(cg_item(cg_sum(both)), MANY);
    ck_assert_double_eq(cg_item(cg_sum(cg_where(both, cg_scalar(cg, 1), cg_scalar(cg, 5)))), MANY);
    ck_assert_double_eq(cg_item(cg_sum(cg_sub(yes, yes))), 0);
}
END_TEST

/* A bool is true whatever made it so: comparisons inside and bytes from outside must mix. */
START_TEST(bools)
{
    cg_tensor x = VECTOR(1, 2, 3, 4, 5, 6, 7, 8, 9), limit = cg_scalar(cg, 3);
    cg_tensor computed = cg_greater(x, limit), stored = tensor_of(BOOL(0, 1, 0, 1, 0, 1, 0, 1, 0));
    expect_array(cg_equal(computed, stored), BOOL(1, 0, 1, 1, 0, 1, 0, 1, 0));
    expect_array(cg_not_equal(computed, stored), BOOL(0, 1, 0, 0, 1, 0, 1, 0, 1));
    expect_array(cg_less(stored, computed), BOOL(0, 0, 0, 0, 1, 0, 1, 0, 1));
    expect_array(cg_maximum(computed, stored), BOOL(0, 1, 0, 1, 1, 1, 1, 1, 1));
    expect_array(cg_minimum(computed, stored), BOOL(0, 0, 0, 1, 0, 1, 0, 1, 0));
    expect_array(cg_logical_and(computed, cg_logical_not(stored)), BOOL(0, 0, 0, 0, 1, 0, 1, 0, 1));
    expect_array(cg_logical_or(computed, stored), BOOL(0, 1, 0, 1, 1, 1, 1, 1, 1));
    expect_array(cg_add(computed, cg_cast(stored, CG_I32)), I32(0, 1, 0, 2, 1, 2, 1, 2, 1));
    expect_array(cg_mul(computed, x), F32(0, 0, 0, 4, 5, 6, 7, 8, 9));
    expect_array(cg_sum(computed), ARRAY(CG_I32, CG_RANK0, 6));
    expect_array(cg_max(computed), ARRAY(CG_BOOL, CG_RANK0, 1));
    expect_array(cg_min(computed), ARRAY(CG_BOOL, CG_RANK0, 0));
    expect_array(cg_argmax(computed), ARRAY(CG_I32, CG_RANK0, 3));
    expect_array(cg_mean(computed), ARRAY(CG_F32, CG_RANK0, 6.0 / 9));
    expect_array(cg_logical_not(VECTOR(0, -0.0, 0.1, NAN)), BOOL(1, 1, 0, 0));
    expect_array(cg_where(cg_logical_and(computed, stored), x, limit), F32(3, 3, 3, 4, 3, 6, 3, 8, 3));
}
END_TEST

/* ---- Errors and nulls -------------------------------------------------------------------------------------------- */

START_TEST(shapes_that_do_not_broadcast)
{
    cg_tensor a = cg_zeros(cg, CG_SHAPE(2, 3)), b = cg_zeros(cg, CG_SHAPE(2, 4));
    ck_assert(cg_is_null(cg_add(a, b)));
    ck_assert_msg(strncmp(cg_message(cg), "add: ", 5) == 0 && strstr(cg_message(cg), "[2,3]") &&
                      strstr(cg_message(cg), "[2,4]"),
                  "%s", cg_message(cg));
    cg_clear_error(cg);
    ck_assert(cg_is_null(cg_where(b, a, a)));
    ck_assert_msg(strncmp(cg_message(cg), "where: ", 7) == 0, "%s", cg_message(cg));
    cg_clear_error(cg);
    expect_array(cg_add(cg_zeros(cg, CG_SHAPE(0, 3)), cg_ones(cg, CG_SHAPE(1, 3))), array_new(CG_F32, CG_SHAPE(0, 3)));
    ck_assert(cg_is_null(cg_add(cg_zeros(cg, CG_SHAPE(0)), b)));
    cg_clear_error(cg);
}
END_TEST

/* The null tensor of an error passes through without another message. */
START_TEST(nulls_pass_through)
{
    cg_tensor x = VECTOR(1, 2), n = cg_sub(x, VECTOR(1, 2, 3));
    const cg_tensor results[] = {cg_neg(n),
                                 cg_cast(n, CG_F64),
                                 cg_relu(n),
                                 cg_relu(n, .negative_slope = 1),
                                 cg_clip(n, 0, 1),
                                 cg_add(n, x),
                                 cg_add(x, n),
                                 cg_maximum(n, x),
                                 cg_equal(x, n),
                                 cg_where(x, n, x),
                                 cg_where(n, x, x),
                                 cg_stop_gradient(n),
                                 cg_reshape(n, CG_SHAPE(-1)),
                                 cg_permute(n, CG_AXES(1, 0)),
                                 cg_transpose(n),
                                 cg_swap_axes(n, 0, 1),
                                 cg_broadcast_to(n, CG_SHAPE(2)),
                                 cg_sum_to_shape(n, CG_SHAPE(2)),
                                 cg_slice(n, CG_WHOLE),
                                 cg_slice_axis(n, 0, 0, 1),
                                 cg_pad(n, CG_SHAPE(1), CG_SHAPE(1)),
                                 cg_sum(n),
                                 cg_max(n, .axes = CG_AXES(3)),
                                 cg_mean(n),
                                 cg_all(n),
                                 cg_logsumexp(n),
                                 cg_argmax(n),
                                 cg_softmax(n, 0),
                                 cg_log_softmax(n, -1),
                                 cg_one_hot(n, 3),
                                 cg_gather(n, x, 0),
                                 cg_gather(x, n, 0),
                                 cg_scatter_add(n, x, 0, 2),
                                 cg_dropout(n, .rate = 2),
                                 cg_batch_norm_inference(n, x, x, x, x, 0),
                                 cg_layer_norm(n, .gamma = x)};
    for (size_t i = 0; i < sizeof results / sizeof *results; i++)
        ck_assert_msg(cg_is_null(results[i]), "result %zu is not null", i);
    ck_assert_ptr_nonnull(strstr(cg_message(cg), "sub: "));
    cg_clear_error(cg);
}
END_TEST

/* ---- Many elements ----------------------------------------------------------------------------------------------- */

static array each_of(array a, array b, char op)
{
    array c = array_new(CG_F32, a.shape);
    for (int64_t i = 0; i < c.count; i++) c.at[i] = (float)(op == '+' ? a.at[i] + b.at[i] : a.at[i] * b.at[i]);
    return c;
}

/* What two maps read is read once, where that is much; not where one of them needs the other in a way that takes a
 * kernel in between. */
START_TEST(maps_of_one_tensor_share_a_kernel)
{
    enum { ROWS = 257, COLUMNS = 300 };
    array x = array_random(CG_F32, CG_SHAPE(ROWS, COLUMNS), -1, 1), a = array_random(CG_F32, x.shape, -1, 1),
          b = array_random(CG_F32, x.shape, -1, 1), sum = each_of(x, a, '+'), running = array_new(CG_F32, x.shape);
    const cg_tensor in[3] = {tensor_of(x), tensor_of(a), tensor_of(b)};
    ck_assert(cg_eval(in, 3));
    const cg_tensor both[2] = {cg_add(in[0], in[1]), cg_mul(in[0], in[2])};
    ck_assert(cg_eval(both, 2));
    ck_assert_int_eq(cg_counters_get(cg).last_plan_kernels, 1);
    expect_array(both[0], sum);
    expect_array(both[1], each_of(x, b, '*'));

    for (int64_t i = 0; i < x.count; i++) running.at[i] = sum.at[i] + (i % COLUMNS > 0 ? running.at[i - 1] : 0);
    for (int64_t i = 0; i < x.count; i++) running.at[i] *= x.at[i];
    const cg_tensor first = cg_add(in[1], in[0]);
    const cg_tensor chain[2] = {first, cg_mul(in[0], cg_cumsum(first, 1))};
    ck_assert_msg(cg_eval(chain, 2), "%s", cg_message(cg));
    ck_assert_int_gt(cg_counters_get(cg).last_plan_kernels, 1);
    expect_array(chain[0], sum);
    expect_close(chain[1], running, 1e-5, 1e-5, "behind a scan");
}
END_TEST

/* Of so many elements that memory is asked for what lies 1024 further on: at an end it is not there. */
START_TEST(maps_read_up_to_their_end)
{
    static const int64_t rest[] = {1, 1041};
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++) {
        const array a = array_random(CG_F32, CG_SHAPE((1 << 19) + rest[i]), -1, 1),
                    b = array_random(CG_F32, a.shape, -1, 1);
        expect_array(cg_mul(tensor_of(a), tensor_of(b)), each_of(a, b, '*'));
    }
}
END_TEST

/* ---- The suite --------------------------------------------------------------------------------------------------- */

static TCase *map_cases(void)
{
    TCase *tests = tcase_create("maps");
    tcase_add_checked_fixture(tests, open_context, close_context);
    tcase_add_test(tests, relu_with_each_argument);
    tcase_add_test(tests, relu_subgradients);
    tcase_add_test(tests, relu_of_integers);
    tcase_add_test(tests, clip_bounds);
    tcase_add_test(tests, numbers_are_arguments);
    tcase_add_test(tests, abs_sign_sqrt_at_0);
    tcase_add_test(tests, pow_at_0);
    tcase_add_test(tests, ties_of_maximum_and_minimum);
    tcase_add_test(tests, where_keeps_nan_out);
    tcase_add_test(tests, stopped_gradient);
    tcase_add_test(tests, gradients_of_broadcast_operands);
    tcase_add_test(tests, gradients_through_dtypes);
    tcase_add_test(tests, conversions);
    tcase_add_test(tests, dtypes_of_results);
    tcase_add_test(tests, arithmetic_on_bools_in_vectors);
    tcase_add_test(tests, bools);
    tcase_add_test(tests, shapes_that_do_not_broadcast);
    tcase_add_test(tests, nulls_pass_through);
    tcase_add_test(tests, maps_of_one_tensor_share_a_kernel);
    tcase_add_test(tests, maps_read_up_to_their_end);
    return tests;
}

int main(void)
{
    Suite *suite = suite_create("maps");
    suite_add_tcase(suite, map_cases());
    return run_suite(suite);
}

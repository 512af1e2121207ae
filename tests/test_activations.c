/* Tests the activations: against PyTorch with first and second derivatives, at infinities and kinks, those that are
 * drawn by their properties, the layer with learned slopes, and what they refuse. */
#include "oracle.h"

#include <clgrad/activation_layers.h>

/* ---- Against PyTorch --------------------------------------------------------------------------------------------- */

#define ELEMENTWISE(name, call) \
    EXPECT_ORACLE(name "/7x9", cg_tensor x = in[0]; out[0] = call) \
    EXPECT_ORACLE(name "/33", cg_tensor x = in[0]; out[0] = call)

static void check_smooth(void)
{
    ELEMENTWISE("sigmoid", cg_sigmoid(x));
    ELEMENTWISE("tanh", cg_tanh(x));
    ELEMENTWISE("elu", cg_elu(x, 0.7));
    ELEMENTWISE("selu", cg_selu(x));
    ELEMENTWISE("celu", cg_celu(x, 0.6));
    ELEMENTWISE("silu", cg_silu(x));
    ELEMENTWISE("gelu", cg_gelu(x));
    ELEMENTWISE("gelu_tanh", cg_gelu_tanh(x));
    ELEMENTWISE("mish", cg_mish(x));
    ELEMENTWISE("softplus", cg_softplus_with_beta(x, 1, 20));
    ELEMENTWISE("softplus_with_beta", cg_softplus_with_beta(x, 1.7, 4));
    ELEMENTWISE("log_sigmoid", cg_log_sigmoid(x));
    ELEMENTWISE("softsign", cg_softsign(x));
    ELEMENTWISE("tanh_shrink", cg_tanh_shrink(x));
    ELEMENTWISE("swish", cg_swish(x, 1.3));
    ELEMENTWISE("squareplus", cg_squareplus(x, 4));
    ELEMENTWISE("sparse_plus", cg_sparse_plus(x));
}

static void check_piecewise(void)
{
    ELEMENTWISE("relu", cg_relu(x));
    ELEMENTWISE("relu6", cg_relu6(x));
    ELEMENTWISE("leaky_relu", cg_leaky_relu(x, 0.2));
    ELEMENTWISE("hard_sigmoid", cg_hard_sigmoid(x));
    ELEMENTWISE("hard_silu", cg_hard_silu(x));
    ELEMENTWISE("hard_tanh", cg_hard_tanh(x));
    ELEMENTWISE("soft_shrink", cg_soft_shrink(x, 0.5));
    ELEMENTWISE("hard_shrink", cg_hard_shrink(x, 0.5));
    ELEMENTWISE("threshold", cg_threshold(x, 0.3, -2));
    ELEMENTWISE("sparse_sigmoid", cg_sparse_sigmoid(x));
    ELEMENTWISE("hard_sigmoid_with_slope", cg_hard_sigmoid_with_slope(x, 0.2));
}

#define ALONG_AXES(name, call) \
    EXPECT_ORACLE(name "/5x6_axis_1", out[0] = call(in[0], 1)) \
    EXPECT_ORACLE(name "/4x3_axis_0", out[0] = call(in[0], 0)) \
    EXPECT_ORACLE(name "/2x8x3_axis_1", out[0] = call(in[0], -2)) \
    EXPECT_ORACLE(name "/3x5x14_axis_2", out[0] = call(in[0], -1))

static void check_along_axes(void)
{
    ALONG_AXES("glu", cg_glu);
    ALONG_AXES("reglu", cg_reglu);
    ALONG_AXES("geglu", cg_geglu);
    ALONG_AXES("swiglu", cg_swiglu);
    ALONG_AXES("softmax", cg_softmax);
    ALONG_AXES("log_softmax", cg_log_softmax);
    ALONG_AXES("softmin", cg_softmin);
    ALONG_AXES("sparsemax", cg_sparsemax);
    EXPECT_ORACLE("maxout/5x6_axis_1_2_units", out[0] = cg_maxout(in[0], 2, 1));
    EXPECT_ORACLE("maxout/2x12x3_axis_1_4_units", out[0] = cg_maxout(in[0], 4, -2));
    EXPECT_ORACLE("maxout/4x3_axis_0_1_units", out[0] = cg_maxout(in[0], 1, 0));
    EXPECT_ORACLE("prelu/5x6_1_slopes", out[0] = cg_prelu(in[0], in[1]));
    EXPECT_ORACLE("prelu/3x4_4_slopes", out[0] = cg_prelu(in[0], in[1]));
    EXPECT_ORACLE("prelu/2x3x5x7_3_slopes", out[0] = cg_prelu(in[0], cg_reshape(in[1], CG_SHAPE(3, 1, 1))));
    EXPECT_ORACLE("prelu/2x3x5_1_slopes", out[0] = cg_prelu(in[0], in[1]));
}

START_TEST(as_pytorch)
{
    check_smooth();
    check_piecewise();
    check_along_axes();
    expect_all_checked();
}
END_TEST

/* ---- Edges ------------------------------------------------------------------------------------------------------- */

#define F32(...) ARRAY(CG_F32, CG_SHAPE(CG_COUNT(double, __VA_ARGS__)), __VA_ARGS__)

START_TEST(far_out)
{
    cg_tensor x = tensor_of(F32(-INFINITY, -1e4, 1e4, INFINITY, NAN));
    expect_array(cg_relu6(x), F32(0, 0, 6, 6, NAN));
    expect_array(cg_hard_tanh(x), F32(-1, -1, 1, 1, NAN));
    expect_array(cg_sparse_plus(x), F32(0, 0, 1e4, INFINITY, NAN));
    expect_array(cg_sparse_sigmoid(x), F32(0, 0, 1, 1, NAN));
    expect_array(cg_threshold(x, 1, 7), F32(7, 7, 1e4, INFINITY, NAN));
    expect_array(cg_softplus_with_beta(x, 3, INFINITY), F32(0, 0, 1e4, INFINITY, NAN));
    expect_array(cg_softplus_with_beta(x, 3, 20), F32(0, 0, 1e4, INFINITY, NAN));
    /* (x + sqrt(x^2 + 4)) / 2 by hand is 1 / 1e4 - 1 / 1e12. */
    expect_array(cg_squareplus(tensor_of(F32(-1e4, 1e4, 0)), 4), F32(1e-4 - 1e-12, 1e4 + 1e-4, 1));
}
END_TEST

/* As the comments of the headers say. */
START_TEST(kinks)
{
    cg_tensor x = tensor_of(F32(0, 6, -1, 1, 2.5, -2.5)), slopes = cg_full(cg, CG_SHAPE(1), 0.25);
    expect_array(gradient_of(cg_relu6(x), no_tensor, x), F32(0, 0, 0, 1, 1, 0));
    expect_array(gradient_of(cg_hard_tanh(x), no_tensor, x), F32(1, 0, 1, 1, 0, 0));
    expect_array(gradient_of(cg_elu(x, 0.5), no_tensor, x), F32(0.5, 1, 0.5 * exp(-1), 1, 1, 0.5 * exp(-2.5)));
    expect_array(gradient_of(cg_celu(x, 0.5), no_tensor, x), F32(1, 1, exp(-2), 1, 1, exp(-5)));
    const double scale = 1.0507009873554805, low = 1.0507009873554805 * 1.6732632423543772;
    expect_array(gradient_of(cg_selu(x), no_tensor, x), F32(low, scale, low * exp(-1), scale, scale, low * exp(-2.5)));
    expect_array(gradient_of(cg_hard_sigmoid_with_slope(x, 0.2), no_tensor, x), F32(0.2, 0, 0.2, 0.2, 0.2, 0.2));
    expect_array(gradient_of(cg_sparse_plus(x), no_tensor, x), F32(0.5, 1, 0, 1, 1, 0));
    expect_array(gradient_of(cg_threshold(x, 1, -3), no_tensor, x), F32(0, 1, 0, 0, 1, 0));
    expect_array(gradient_of(cg_prelu(x, slopes), no_tensor, x), F32(0.25, 1, 0.25, 1, 1, 0.25));
    expect_array(gradient_of(cg_squareplus(x, 4), no_tensor, x),
                 F32(0.5, 0.5 + 3 / sqrt(40), 0.5 - 0.5 / sqrt(5), 0.5 + 0.5 / sqrt(5), 0.5 + 1.25 / sqrt(10.25),
                     0.5 - 1.25 / sqrt(10.25)));
}
END_TEST

/* By hand: nothing but the largest; all alike; two of three. */
START_TEST(sparsemax_of_few)
{
    array rows = ARRAY(CG_F32, CG_SHAPE(4, 3), 5, 1, 2, 7, 7, 7, 0.5, 0.25, -1, 1e6, 1e6, -1e6);
    expect_array(cg_sparsemax(tensor_of(rows), 1),
                 ARRAY(CG_F32, CG_SHAPE(4, 3), 1, 0, 0, 1.0 / 3, 1.0 / 3, 1.0 / 3, 0.625, 0.375, 0, 0.5, 0.5, 0));
    expect_array(cg_sparsemax(cg_ones(cg, CG_SHAPE(3, 1)), 1), ARRAY(CG_F32, CG_SHAPE(3, 1), 1, 1, 1));
    expect_array(cg_sparsemax(cg_ones(cg, CG_SHAPE(0, 3)), 1), array_new(CG_F32, CG_SHAPE(0, 3)));
}
END_TEST

START_TEST(errors)
{
    cg_tensor x = cg_ones(cg, CG_SHAPE(2, 5)), three = cg_ones(cg, CG_SHAPE(3)),
              rank_8 = cg_ones(cg, CG_SHAPE(1, 1, 1, 1, 1, 1, 1, 2));
    expect_error(cg_glu(x, 1), "glu: axis 1 of [2,5] has no two halves");
    expect_error(cg_swiglu(x, 2), "swiglu: [2,5] has no axis 2");
    expect_error(cg_maxout(x, 2, 1), "maxout: axis 1 of [2,5] has no equal number of pieces for 2 units");
    expect_error(cg_maxout(x, 0, 1), "maxout: axis 1 of [2,5] has no equal number of pieces for 0 units");
    expect_error(cg_maxout(rank_8, 1, -1), "maxout: [1,1,1,1,1,1,1,2] has no axis left for the pieces");
    expect_error(cg_sparsemax(rank_8, -1), "sparsemax: [1,1,1,1,1,1,1,2] has no axis left for comparisons");
    expect_error(cg_sparsemax(cg_ones(cg, CG_RANK0), 0), "sparsemax: [] has no axis 0");
    expect_error(cg_softmin(x, 2), "softmin: [2,5] has no axis 2");
    expect_error(cg_prelu(three, cg_ones(cg, CG_SHAPE(2, 3))), "prelu: slopes [2,3] do not broadcast to [3]");
    expect_error(cg_prelu(x, three), "prelu: shapes [2,5] and [3] do not broadcast: sizes 5 and 3 differ");
    expect_error(cg_softplus_with_beta(x, 0, 20), "softplus_with_beta: beta is 0; it must be finite and above 0");
    expect_error(cg_squareplus(x, -1), "squareplus: b is -1; it must be finite and above 0");
    expect_error(cg_rrelu(x, .lower = 0.5, .upper = 0.25),
                 "rrelu: the slopes 0.5 and 0.25 are not finite and in order");
    expect_error(cg_rrelu(cg_cast(x, CG_I32)), "rrelu: i32 cannot be scaled");
    ck_assert(cg_is_null(cg_glu(no_tensor, 0)) && cg_is_null(cg_maxout(no_tensor, 1, 0)) &&
              cg_is_null(cg_sparsemax(no_tensor, 0)) && cg_is_null(cg_softmin(no_tensor, 0)) &&
              cg_is_null(cg_rrelu(no_tensor)) && cg_is_null(cg_swish(no_tensor, 1)) &&
              cg_is_null(cg_threshold(no_tensor, 0, 0)) && cg_is_null(cg_squareplus(no_tensor, 1)));
}
END_TEST

/* ---- Drawn slopes ------------------------------------------------------------------------------------------------ */

enum { DRAWN = 100000 };

/* Outside training the mean slope; in training slopes that are even on [1/8, 1/3): moments within five standard errors,
 * and the gradient sees the same ones. */
START_TEST(randomised_relu)
{
    cg_tensor x = cg_full(cg, CG_SHAPE(DRAWN), -2), positive = cg_full(cg, CG_SHAPE(3), 5);
    expect_array(cg_rrelu(cg_slice_axis(x, 0, 0, 1)), F32(-2 * (1.0 / 8 + 1.0 / 3) / 2));
    cg_tensor y = cg_rrelu(x, .mode = CG_MODE_TRAINING);
    array slopes = array_read(gradient_of(y, no_tensor, x)), values = array_read(y);
    double mean = 0, variance = 0, low = INFINITY, high = -INFINITY;
    for (int i = 0; i < DRAWN; i++) {
        ck_assert(values.at[i] == -2 * slopes.at[i]);
        mean += slopes.at[i] / DRAWN;
        low = fmin(low, slopes.at[i]);
        high = fmax(high, slopes.at[i]);
    }
    for (int i = 0; i < DRAWN; i++) variance += pow(slopes.at[i] - mean, 2) / DRAWN;
    const double width = 1.0 / 3 - 1.0 / 8;
    ck_assert(low >= 0.125 && low < 0.125 + 1e-3 && high <= 1.0 / 3 + 1e-7 && high > 1.0 / 3 - 1e-3);
    ck_assert(fabs(mean - (1.0 / 8 + 1.0 / 3) / 2) < 5 * width / sqrt(12.0 * DRAWN));
    ck_assert(fabs(variance - width * width / 12) < 5 * width * width / sqrt(180.0 * DRAWN));
    cg_training(cg, true);
    expect_array(cg_rrelu(positive), F32(5, 5, 5));
    expect_array(cg_rrelu(cg_slice_axis(x, 0, 0, 3), .lower = 0.5, .upper = 0.5), F32(-1, -1, -1));
    expect_array(cg_rrelu(cg_slice_axis(x, 0, 0, 1), .lower = CG_ZERO, .mode = CG_MODE_INFERENCE), F32(-1.0 / 3));
    array first = array_read(cg_rrelu(x, .key = 7, .has_key = true)),
          again = array_read(cg_rrelu(x, .key = 7, .has_key = true)), other = array_read(cg_rrelu(x));
    ck_assert_mem_eq(first.at, again.at, DRAWN * sizeof *first.at);
    ck_assert_mem_ne(first.at, other.at, DRAWN * sizeof *first.at);
}
END_TEST

/* ---- Learned slopes ---------------------------------------------------------------------------------------------- */

START_TEST(learned_slopes)
{
    cg_model *model = cg_model_new(cg);
    cg_prelu_layer *shared = cg_prelu_new(model, "shared", CG_SHAPE(1)),
                   *channels = cg_prelu_new(model, "channels", CG_SHAPE(2, 1),
                                            .initializer = cg_initializer_constant(0.25));
    cg_variable *one = cg_model_find(model, "shared/alpha"), *two = cg_model_find(model, "channels/alpha");
    cg_tensor x = tensor_of(ARRAY(CG_F32, CG_SHAPE(1, 2, 2), -4, 3, -8, -2));
    expect_array(cg_prelu_call(shared, x), ARRAY(CG_F32, CG_SHAPE(1, 2, 2), 0, 3, 0, 0));
    expect_array(cg_prelu_call(channels, x), ARRAY(CG_F32, CG_SHAPE(1, 2, 2), -1, 3, -2, -0.5));
    expect_array(gradient_of(cg_prelu_call(shared, x), no_tensor, cg_value(one)), F32(-14));
    expect_array(gradient_of(cg_prelu_call(channels, x), no_tensor, cg_value(two)),
                 ARRAY(CG_F32, CG_SHAPE(2, 1), -4, -10));
    ck_assert(cg_model_is_trainable(model, one) && cg_model_is_trainable(model, two));
    ck_assert_ptr_null(cg_prelu_new(model, "none", CG_SHAPE(3, 0)));
    ck_assert_str_eq(cg_message(cg), "none: slopes of shape [3,0] are none");
    cg_clear_error(cg);
    expect_error(cg_prelu_call(channels, cg_ones(cg, CG_SHAPE(3, 2))),
                 "prelu: shapes [3,2] and [2,1] do not broadcast: sizes 3 and 2 differ");
    ck_assert(cg_is_null(cg_prelu_call(NULL, x)));
    cg_model_free(model);
}
END_TEST

/* ---- The suite --------------------------------------------------------------------------------------------------- */

static void open_oracle(void)
{
    oracle_open("activations");
}

static TCase *oracle_cases(void)
{
    TCase *tests = tcase_create("as PyTorch");
    tcase_add_checked_fixture(tests, open_oracle, oracle_close);
    tcase_add_test(tests, as_pytorch);
    return tests;
}

static TCase *activation_cases(void)
{
    TCase *tests = tcase_create("activations");
    tcase_add_checked_fixture(tests, open_context, close_context);
    tcase_add_test(tests, far_out);
    tcase_add_test(tests, kinks);
    tcase_add_test(tests, sparsemax_of_few);
    tcase_add_test(tests, errors);
    tcase_add_test(tests, randomised_relu);
    tcase_add_test(tests, learned_slopes);
    return tests;
}

int main(void)
{
    Suite *suite = suite_create("activations");
    suite_add_tcase(suite, oracle_cases());
    suite_add_tcase(suite, activation_cases());
    return run_suite(suite);
}

/* Convolutions against PyTorch's: tests/oracle/convolution.py. Then what PyTorch does not say: Keras's lengths of
 * transposed ones, numbers left out, messages. */
#include "oracle.h"

#include <clgrad/convolution_layers.h>
#include <clgrad/variable.h>

static void open_cases(void)
{
    oracle_open("convolution");
}

typedef struct convolution_case {
    const char *name;
    cg_convolution_options options;
} convolution_case;

#define EXPLICIT .padding = CG_PADDING_EXPLICIT
static const convolution_case convolutions[] = {
    {"1d", {0}},
    {"1d_stride", {.stride = {3}, EXPLICIT, .before = {2}, .after = {1}}},
    {"1d_dilated", {.dilation = {4}, EXPLICIT, .before = {3}, .after = {5}}},
    {"1d_stride_dilated", {.stride = {2}, .dilation = {3}, EXPLICIT, .before = {1}, .after = {2}}},
    {"1d_groups", {.stride = {2}, EXPLICIT, .before = {1}, .after = {1}, .groups = 2}},
    {"1d_pointwise", {0}},
    {"1d_large_stride", {.stride = {5}}},
    {"2d", {EXPLICIT, .before = {1, 1}, .after = {1, 1}}},
    {"2d_valid", {0}},
    {"2d_stride", {.stride = {2}, EXPLICIT, .before = {1, 1}, .after = {1, 1}}},
    {"2d_uneven", {.stride = {3, 2}, EXPLICIT, .before = {2, 0}, .after = {0, 3}}},
    {"2d_dilated", {.dilation = {2, 3}, EXPLICIT, .before = {2, 1}, .after = {2, 2}}},
    {"2d_stride_dilated", {.stride = {2, 1}, .dilation = {2}, EXPLICIT, .before = {1, 2}, .after = {1, 2}}},
    {"2d_groups", {EXPLICIT, .before = {1, 1}, .after = {1, 1}, .groups = 3}},
    {"2d_depthwise", {EXPLICIT, .before = {1, 1}, .after = {1, 1}, .groups = 5}},
    {"2d_depthwise_stride", {.stride = {2}, EXPLICIT, .before = {1, 1}, .after = {1, 1}, .groups = 4}},
    {"2d_multiplied", {.stride = {2, 1}, EXPLICIT, .before = {0, 1}, .after = {1, 1}, .groups = 3}},
    {"2d_pointwise", {0}},
    {"2d_pointwise_stride", {.stride = {2}}},
    {"2d_wide", {.padding = CG_PADDING_SAME}},
    {"2d_7x7", {.stride = {2}, EXPLICIT, .before = {3, 3}, .after = {3, 3}}},
    {"3d", {EXPLICIT, .before = {1, 0, 1}, .after = {1, 0, 1}}},
    {"3d_stride", {.stride = {2}, EXPLICIT, .before = {1, 1, 1}, .after = {1, 1, 1}}},
    {"3d_groups",
     {.stride = {1, 2, 1}, .dilation = {2, 1, 1}, EXPLICIT, .before = {0, 1, 0}, .after = {1, 0, 0}, .groups = 2}},
    {"3d_depthwise", {.padding = CG_PADDING_SAME, .groups = 3}},
    {"same_9", {.padding = CG_PADDING_SAME}},
    {"same_8x7", {.stride = {2, 3}, .padding = CG_PADDING_SAME}},
    {"same_7x9", {.dilation = {3, 2}, .padding = CG_PADDING_SAME}},
    {"same_6x5", {.stride = {2}, .padding = CG_PADDING_SAME}},
    {"same_5x4x6", {.stride = {2, 1, 2}, .padding = CG_PADDING_SAME}},
};
enum { CONVOLUTIONS = sizeof convolutions / sizeof *convolutions };

/* Cases that share a context, and with it the kernels that are the same. */
enum { TOGETHER = 8 };

START_TEST(convolutions_are_right)
{
    for (int i = _i * TOGETHER; i < CONVOLUTIONS && i < (_i + 1) * TOGETHER; i++) {
        char name[96];
        snprintf(name, sizeof name, "convolution/%s", convolutions[i].name);
        EXPECT_ORACLE(name, out[0] = cg_convolution_with(in[0], in[1], &convolutions[i].options));
    }
}
END_TEST

typedef struct transposed_case {
    const char *name;
    cg_transposed_convolution_options options;
} transposed_case;

static const transposed_case transposed[] = {
    {"1d", {.stride = {2}, EXPLICIT, .before = {1}, .after = {1}}},
    {"1d_extra", {.stride = {3}, EXPLICIT, .before = {1}, .after = {1}, .output_padding = {2}}},
    {"1d_dilated", {.stride = {2}, .dilation = {3}, EXPLICIT, .before = {2}, .after = {2}, .output_padding = {1}}},
    {"2d", {.stride = {2}, EXPLICIT, .before = {1, 1}, .after = {1, 1}, .output_padding = {1, 1}}},
    {"2d_uneven", {.stride = {3, 1}, .dilation = {1, 2}, EXPLICIT, .before = {0, 1}, .after = {0, 1}}},
    {"2d_groups", {.stride = {2}, .groups = 2}},
    {"3d", {.stride = {2, 1, 2}, EXPLICIT, .before = {0, 1, 0}, .after = {0, 1, 0}, .output_padding = {0, 0, 1}}},
};
enum { TRANSPOSED = sizeof transposed / sizeof *transposed };

START_TEST(transposed_ones_are_right)
{
    for (int i = 0; i < TRANSPOSED; i++) {
        char name[96];
        snprintf(name, sizeof name, "transposed/%s", transposed[i].name);
        EXPECT_ORACLE(name, out[0] = cg_transposed_convolution_with(in[0], in[1], &transposed[i].options));
    }
}
END_TEST

START_TEST(nothing_is_left_out)
{
    expect_all_checked();
}
END_TEST

static cg_tensor iota(cg_shape shape)
{
    return tensor_of(array_iota(CG_F32, shape));
}

/* Keras's lengths: size * stride with SAME, and with VALID at least that. */
START_TEST(lengths_of_transposed_ones)
{
    static const struct {
        int64_t size, extent, stride, same, valid;
    } lengths[] = {{5, 3, 1, 5, 7}, {5, 3, 2, 10, 11}, {5, 2, 3, 15, 15}, {4, 5, 2, 8, 11}, {3, 1, 4, 12, 12}};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        cg_tensor x = iota(CG_SHAPE(1, 2, lengths[i].size)), kernel = iota(CG_SHAPE(2, 3, lengths[i].extent));
        cg_tensor same = cg_transposed_convolution(x, kernel, .stride = {lengths[i].stride},
                                                   .padding = CG_PADDING_SAME);
        cg_tensor valid = cg_transposed_convolution(x, kernel, .stride = {lengths[i].stride});
        ck_assert_int_eq(cg_shape_of(same).size[2], lengths[i].same);
        ck_assert_int_eq(cg_shape_of(valid).size[2], lengths[i].valid);
    }
}
END_TEST

/* <convolution(x), y> = <x, transposed(y)>, which is what transposed means. */
START_TEST(transposed_ones_are_adjoint)
{
    cg_tensor x = tensor_of(array_random(CG_F32, CG_SHAPE(2, 4, 9, 8), -1, 1));
    cg_tensor kernel = tensor_of(array_random(CG_F32, CG_SHAPE(6, 2, 3, 4), -1, 1));
    cg_tensor y = cg_convolution(x, kernel, .stride = {2, 1}, .padding = CG_PADDING_SAME, .groups = 2);
    cg_tensor other = tensor_of(array_random(CG_F32, cg_shape_of(y), -1, 1));
    cg_tensor back = cg_transposed_convolution(other, kernel, .stride = {2, 1}, .padding = CG_PADDING_EXPLICIT,
                                               .before = {1, 1}, .after = {1, 2}, .groups = 2);
    const double forth = cg_item(cg_sum(cg_mul(y, other))), again = cg_item(cg_sum(cg_mul(x, back)));
    ck_assert_double_eq_tol(forth, again, 1e-4);
}
END_TEST

START_TEST(integers_and_halves_are_taken)
{
    cg_tensor x = cg_ones(cg, CG_SHAPE(1, 1, 4), .dtype = CG_U8), kernel = cg_ones(cg, CG_SHAPE(1, 1, 3));
    expect_array(cg_convolution(x, kernel), ARRAY(CG_F32, CG_SHAPE(1, 1, 2), 3, 3));
    cg_tensor half = cg_cast(x, CG_F16);
    expect_array(cg_convolution(half, cg_cast(kernel, CG_F16)), ARRAY(CG_F16, CG_SHAPE(1, 1, 2), 3, 3));
    cg_tensor none = cg_convolution(iota(CG_SHAPE(0, 1, 4)), kernel);
    ck_assert_int_eq(cg_size(none), 0);
    ck_assert_int_eq(cg_status(cg), CG_OK);
    ck_assert(cg_is_null(cg_convolution(no_tensor, no_tensor)));
    ck_assert_int_eq(cg_status(cg), CG_OK); /* nowhere to report it to */
    expect_error(cg_convolution(no_tensor, kernel), "convolution: input 1 is a null tensor, and no error says why");
    expect_error(cg_transposed_convolution(x, no_tensor),
                 "transposed_convolution: input 2 is a null tensor, and no error says why");
}
END_TEST

START_TEST(bad_input)
{
    cg_tensor x = cg_named(iota(CG_SHAPE(1, 4, 5, 6)), "photo"), kernel = iota(CG_SHAPE(8, 4, 3, 3));
    expect_error(cg_convolution(iota(CG_SHAPE(4, 5)), kernel),
                 "convolution: [4,5] with kernel [8,4,3,3]: the input is not [batch, channels, spatial...] with one to "
                 "three spatial axes");
    expect_error(
        cg_convolution(x, iota(CG_SHAPE(8, 4, 3))),
        "convolution: photo [1,4,5,6] with kernel [8,4,3]: the kernel does not have as many axes as the input");
    expect_error(cg_convolution(x, iota(CG_SHAPE(8, 3, 3, 3))),
                 "convolution: photo [1,4,5,6] with kernel [8,3,3,3]: the input has 4 channels, the kernel takes 3");
    expect_error(
        cg_convolution(x, kernel, .groups = 3),
        "convolution: photo [1,4,5,6] with kernel [8,4,3,3]: 3 groups do not divide 4 channels and a kernel of "
        "8");
    expect_error(cg_convolution(x, iota(CG_SHAPE(8, 4, 3, 7))),
                 "convolution: photo [1,4,5,6] with kernel [8,4,3,7]: along spatial axis 1 the kernel reaches over 7 "
                 "elements, there are 6");
    expect_error(cg_convolution(x, kernel, .dilation = {3}),
                 "convolution: photo [1,4,5,6] with kernel [8,4,3,3]: along spatial axis 0 the kernel reaches over 7 "
                 "elements, there are 5");
    expect_error(cg_convolution(x, kernel, .stride = {2, -1}),
                 "convolution: photo [1,4,5,6] with kernel [8,4,3,3]: a stride of -1");
    expect_error(cg_convolution(x, kernel, EXPLICIT, .before = {-1}),
                 "convolution: photo [1,4,5,6] with kernel [8,4,3,3]: padding below 0");
    expect_error(cg_convolution(x, iota(CG_SHAPE(0, 4, 3, 3))),
                 "convolution: photo [1,4,5,6] with kernel [0,4,3,3]: the kernel has no elements");
    expect_error(cg_transposed_convolution(x, iota(CG_SHAPE(4, 2, 3, 3)), EXPLICIT, .before = {4}, .after = {3}),
                 "transposed_convolution: photo [1,4,5,6] with kernel [4,2,3,3]: along spatial axis 0 the result has 0 "
                 "elements");
    expect_error(
        cg_transposed_convolution(x, iota(CG_SHAPE(4, 2, 3, 3)), .stride = {2}, .output_padding = {2}),
        "transposed_convolution: photo [1,4,5,6] with kernel [4,2,3,3]: output_padding must be below stride or "
        "dilation, and not below 0");
    expect_error(cg_transposed_convolution(x, kernel),
                 "transposed_convolution: photo [1,4,5,6] with kernel [8,4,3,3]: the input has 4 channels, the kernel "
                 "takes 8");
}
END_TEST

/* Keras: Conv2D(filters, (3, 5)) on 4 channels draws the kernel within sqrt(6 / (4 * 15 + filters * 15)). */
START_TEST(layers_have_keras_variables)
{
    cg_model *model = cg_model_new(cg);
    cg_conv *conv = cg_conv_new(model, "c", 4, 8, CG_SHAPE(3, 5), .stride = {2}, .padding = CG_PADDING_SAME);
    cg_conv *depthwise = cg_conv_new(model, "d", 8, 8, CG_SHAPE(3, 3), .groups = 8, .no_bias = true);
    cg_transposed_conv *up = cg_transposed_conv_new(model, "u", 8, 2, CG_SHAPE(2, 2), .stride = {2});
    ck_assert_msg(conv && depthwise && up, "%s", cg_message(cg));
    ck_assert_str_eq(cg_shape_text(cg, cg_variable_shape(cg_conv_kernel(conv))), "[8,4,3,5]");
    ck_assert_str_eq(cg_shape_text(cg, cg_variable_shape(cg_conv_bias(conv))), "[8]");
    ck_assert_str_eq(cg_shape_text(cg, cg_variable_shape(cg_conv_kernel(depthwise))), "[8,1,3,3]");
    ck_assert_str_eq(cg_shape_text(cg, cg_variable_shape(cg_transposed_conv_kernel(up))), "[8,2,2,2]");
    ck_assert_str_eq(cg_variable_name(cg_transposed_conv_bias(up)), "u/bias");
    ck_assert_ptr_null(cg_conv_bias(depthwise));
    const double limit = sqrt(6.0 / (4 * 15 + 8 * 15));
    const double largest = cg_item(cg_max(cg_abs(cg_value(cg_conv_kernel(conv)))));
    ck_assert_double_le(largest, limit);
    ck_assert_double_gt(largest, 0.98 * limit);
    cg_tensor y = cg_transposed_conv_call(up, cg_conv_call(depthwise, cg_conv_call(conv, iota(CG_SHAPE(2, 4, 9, 9)))));
    ck_assert_str_eq(cg_shape_text(cg, cg_shape_of(y)), "[2,2,6,6]");
    cg_model_free(model);
}
END_TEST

/* The layer is the op on its variables, and the bias goes to its output. */
START_TEST(layers_compute)
{
    cg_model *model = cg_model_new(cg);
    cg_conv *conv = cg_conv_new(model, "c", 1, 2, CG_SHAPE(2), .initializer = CG_ALL_ONES);
    ck_assert(cg_assign(cg_conv_bias(conv), tensor_of(ARRAY(CG_F32, CG_SHAPE(2), 10, 20))));
    cg_tensor x = tensor_of(ARRAY(CG_F32, CG_SHAPE(1, 1, 3), 1, 2, 3));
    expect_array(cg_conv_call(conv, x), ARRAY(CG_F32, CG_SHAPE(1, 2, 2), 13, 15, 23, 25));
    cg_transposed_conv *up = cg_transposed_conv_new(model, "u", 1, 1, CG_SHAPE(2), .stride = {2},
                                                    .initializer = CG_ALL_ONES);
    ck_assert(cg_assign(cg_transposed_conv_bias(up), tensor_of(ARRAY(CG_F32, CG_SHAPE(1), 0.5))));
    expect_array(cg_transposed_conv_call(up, x), ARRAY(CG_F32, CG_SHAPE(1, 1, 6), 1.5, 1.5, 2.5, 2.5, 3.5, 3.5));
    ck_assert(cg_is_null(cg_conv_call(NULL, x)) && cg_is_null(cg_transposed_conv_call(NULL, x)));
    cg_model_free(model);
}
END_TEST

static void expect_refused(const void *layer, const char *message)
{
    ck_assert_ptr_null(layer);
    ck_assert_str_eq(cg_message(cg), message);
    cg_clear_error(cg);
}

START_TEST(bad_layers)
{
    cg_model *model = cg_model_new(cg);
    expect_refused(cg_conv_new(model, "c", 4, 6, CG_SHAPE(3, 3), .groups = 4),
                   "c: 4 groups do not divide 4 channels and 6 outputs");
    expect_refused(cg_conv_new(model, "c", 4, 6, CG_SHAPE(3, 0)),
                   "c: a kernel [3,0] does not have one to three positive extents");
    expect_refused(cg_transposed_conv_new(model, "u", 4, 6, CG_SHAPE(1, 1, 1, 1)),
                   "u: a kernel [1,1,1,1] does not have one to three positive extents");
    expect_refused(cg_conv_new(model, "c", 0, 6, CG_SHAPE(3)), "layer: \"c\" has 0 inputs and 6 outputs");
    ck_assert_int_eq(cg_model_count(model), 0);
    cg_model_free(model);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("convolution");
    TCase *cases = tcase_create("against the oracle"), *tests = tcase_create("by itself");
    tcase_add_checked_fixture(cases, open_cases, oracle_close);
    tcase_set_timeout(cases, 900);
    tcase_add_loop_test(cases, convolutions_are_right, 0, (CONVOLUTIONS + TOGETHER - 1) / TOGETHER);
    tcase_add_test(cases, transposed_ones_are_right);
    tcase_add_test(cases, nothing_is_left_out);
    suite_add_tcase(suite, cases);
    tcase_add_checked_fixture(tests, open_context, close_context);
    tcase_add_test(tests, lengths_of_transposed_ones);
    tcase_add_test(tests, transposed_ones_are_adjoint);
    tcase_add_test(tests, integers_and_halves_are_taken);
    tcase_add_test(tests, bad_input);
    tcase_add_test(tests, layers_have_keras_variables);
    tcase_add_test(tests, layers_compute);
    tcase_add_test(tests, bad_layers);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}

/* Losses against PyTorch's and Keras's formulas, tests/oracle/losses.py; what they are at extremes, and what they say
 * to bad input. */
#include "oracle.h"

#include <clgrad/losses.h>
#include <stdarg.h>

static void open_losses(void)
{
    oracle_open("losses");
}

enum { FORMS = 5 }; /* those of the script */

static const char *case_name(const char *format, ...) CG_FORMAT(1, 2);
static const char *case_name(const char *format, ...)
{
    static char name[64];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    return name;
}

/* ---- One loss per element or row --------------------------------------------------------------------------------- */

#define EACH .reduction = CG_LOSS_NONE

START_TEST(differences)
{
    for (int i = 0; i < FORMS; i++) {
        EXPECT_ORACLE(case_name("mse/%d", i), out[0] = cg_mean_squared_error(in[0], in[1], EACH));
        EXPECT_ORACLE(case_name("mae/%d", i), out[0] = cg_mean_absolute_error(in[0], in[1], EACH));
        EXPECT_ORACLE(case_name("huber/%d_1", i), out[0] = cg_huber_loss(in[0], in[1], 1, EACH));
        EXPECT_ORACLE(case_name("huber/%d_2", i), out[0] = cg_huber_loss(in[0], in[1], 0.3, EACH));
        EXPECT_ORACLE(case_name("log_cosh/%d", i), out[0] = cg_log_cosh_loss(in[0], in[1], EACH));
    }
    EXPECT_ORACLE("log_cosh/far", out[0] = cg_log_cosh_loss(in[0], in[1], EACH));
    EXPECT_ORACLE("huber/far", out[0] = cg_huber_loss(in[0], in[1], 1, EACH));
}
END_TEST

START_TEST(binary_cross_entropies)
{
    static const struct {
        double gamma, alpha;
    } focal[] = {{2, 0.25}, {1.5, -1}, {0, 0.6}};
    for (int i = 0; i < FORMS; i++) {
        EXPECT_ORACLE(case_name("bce/%d", i), out[0] = cg_binary_cross_entropy(in[0], in[1], EACH));
        EXPECT_ORACLE(case_name("bce_smoothed/%d", i),
                      out[0] = cg_binary_cross_entropy(in[0], in[1], EACH, .label_smoothing = 0.2));
        EXPECT_ORACLE(case_name("bce_of_probabilities/%d", i),
                      out[0] = cg_binary_cross_entropy_of_probabilities(in[0], in[1], EACH));
        EXPECT_ORACLE(case_name("bce_of_probabilities_smoothed/%d", i),
                      out[0] = cg_binary_cross_entropy_of_probabilities(in[0], in[1], EACH, .label_smoothing = 0.2));
        for (int k = 0; k < 3; k++)
            EXPECT_ORACLE(case_name("focal/%d_%d", i, k),
                          out[0] = cg_binary_focal_cross_entropy(in[0], in[1], focal[k].gamma, focal[k].alpha, EACH));
    }
    EXPECT_ORACLE("bce/far", out[0] = cg_binary_cross_entropy(in[0], in[1], EACH));
    EXPECT_ORACLE("bce_of_probabilities/certain",
                  out[0] = cg_binary_cross_entropy_of_probabilities(in[0], in[1], EACH));
}
END_TEST

START_TEST(categorical_cross_entropies)
{
    static const char *const kinds[] = {"sparse", "dense"};
    static const double smoothing[] = {0, 0.1};
    for (int i = 1; i < FORMS; i++)
        for (int k = 0; k < 4; k++) {
            const char *kind = kinds[k / 2];
            const double s = smoothing[k % 2];
            EXPECT_ORACLE(case_name("cross_entropy/%s_%d_%d", kind, i, k % 2),
                          out[0] = cg_softmax_cross_entropy(in[0], in[1], EACH, .label_smoothing = s));
            EXPECT_ORACLE(case_name("categorical/%s_%d_%d", kind, i, k % 2),
                          out[0] = cg_categorical_cross_entropy(in[0], in[1], EACH, .label_smoothing = s));
        }
    EXPECT_ORACLE("categorical/certain", out[0] = cg_categorical_cross_entropy(in[0], in[1], EACH));
}
END_TEST

START_TEST(margins)
{
    for (int i = 0; i < FORMS; i++) {
        EXPECT_ORACLE(case_name("hinge/%d", i), out[0] = cg_hinge_loss(in[0], in[1], EACH));
        EXPECT_ORACLE(case_name("squared_hinge/%d", i), out[0] = cg_squared_hinge_loss(in[0], in[1], EACH));
    }
    for (int i = 1; i < FORMS; i++) {
        EXPECT_ORACLE(case_name("categorical_hinge/sparse_%d", i),
                      out[0] = cg_categorical_hinge_loss(in[0], in[1], EACH));
        EXPECT_ORACLE(case_name("categorical_hinge/dense_%d", i),
                      out[0] = cg_categorical_hinge_loss(in[0], in[1], EACH));
        EXPECT_ORACLE(case_name("triplet/%d_0", i), out[0] = cg_triplet_margin_loss(in[0], in[1], in[2], 1, EACH));
        EXPECT_ORACLE(case_name("triplet/%d_1", i), out[0] = cg_triplet_margin_loss(in[0], in[1], in[2], 0.2, EACH));
    }
}
END_TEST

START_TEST(along_axes)
{
    static const cg_axes overlaps[] = {{0}, {0}, {2, {1, -1}}, {2, {2, 3}}};
    for (int i = 1; i < FORMS; i++) {
        EXPECT_ORACLE(case_name("kl/%d", i), out[0] = cg_kl_divergence(in[0], in[1], EACH));
        EXPECT_ORACLE(case_name("gaussian_kl/%d", i),
                      out[0] = cg_gaussian_kl_divergence(in[0], in[1], in[2], in[3], EACH));
        EXPECT_ORACLE(case_name("gaussian_kl/standard_%d", i),
                      out[0] = cg_gaussian_kl_divergence(in[0], in[1], in[2], in[3], EACH));
        EXPECT_ORACLE(case_name("cosine/%d", i), out[0] = cg_cosine_loss(in[0], in[1], EACH));
    }
    EXPECT_ORACLE("kl/certain", out[0] = cg_kl_divergence(in[0], in[1], EACH));
    EXPECT_ORACLE("cosine/axes_0_2", out[0] = cg_cosine_loss(in[0], in[1], EACH, .axes = CG_AXES(0, 2)));
    for (int i = 0; i < 4; i++) {
        EXPECT_ORACLE(case_name("dice/%d", i), out[0] = cg_dice_loss(in[0], in[1], EACH, .axes = overlaps[i]));
        EXPECT_ORACLE(case_name("tversky/%d", i),
                      out[0] = cg_tversky_loss(in[0], in[1], 0.3, 0.7, EACH, .axes = overlaps[i]));
    }
}
END_TEST

/* ---- Weights, masks, reductions ---------------------------------------------------------------------------------- */

/* In the order of the script. */
static const cg_loss_reduction reductions[] = {CG_LOSS_MEAN, CG_LOSS_SUM, CG_LOSS_WEIGHTED_MEAN, CG_LOSS_NONE};
enum { REDUCTIONS = 4 };

START_TEST(weights_and_masks)
{
    static const char *const forms[] = {"rows", "columns", "all"};
    for (int i = 0; i < REDUCTIONS; i++) {
        const cg_loss_reduction how = reductions[i];
        for (int k = 0; k < 3; k++) {
            EXPECT_ORACLE(case_name("reduced/%d_%s", i, forms[k]),
                          out[0] = cg_huber_loss(in[0], in[1], 1, .weights = in[2], .reduction = how));
            EXPECT_ORACLE(case_name("reduced_masked/%d_%s", i, forms[k]),
                          out[0] = cg_huber_loss(in[0], in[1], 1, .weights = in[2], .mask = in[3], .reduction = how));
        }
        EXPECT_ORACLE(case_name("mask_alone/%d", i),
                      out[0] = cg_huber_loss(in[0], in[1], 1, .mask = in[2], .reduction = how));
        EXPECT_ORACLE(case_name("row_mask/%d", i),
                      out[0] = cg_huber_loss(in[0], in[1], 1, .mask = in[2], .reduction = how));
        EXPECT_ORACLE(case_name("all_masked/%d", i),
                      out[0] = cg_mean_squared_error(in[0], in[1], .mask = in[2], .reduction = how));
        EXPECT_ORACLE(case_name("weights_of_0/%d", i),
                      out[0] = cg_mean_squared_error(in[0], in[1], .weights = in[2], .reduction = how));
    }
}
END_TEST

START_TEST(class_weights)
{
    for (int i = 0; i < REDUCTIONS; i++) {
        const cg_loss_reduction how = reductions[i];
        EXPECT_ORACLE(
            case_name("binary_classes/%d", i),
            out[0] = cg_binary_cross_entropy(in[0], in[1], .weights = in[3], .class_weights = in[2], .reduction = how));
        EXPECT_ORACLE(
            case_name("sparse_classes/%d", i),
            out[0] = cg_softmax_cross_entropy(in[0], in[1], .mask = in[3], .class_weights = in[2], .reduction = how));
        EXPECT_ORACLE(case_name("smoothed_classes/%d", i),
                      out[0] = cg_softmax_cross_entropy(in[0], in[1], .class_weights = in[2], .reduction = how,
                                                        .label_smoothing = 0.1));
        EXPECT_ORACLE(case_name("dense_classes/%d", i),
                      out[0] = cg_categorical_cross_entropy(in[0], in[1], .class_weights = in[2], .reduction = how));
    }
}
END_TEST

START_TEST(as_pytorch_reduces)
{
    EXPECT_ORACLE("pytorch/class_weights", out[0] = cg_softmax_cross_entropy(in[0], in[1], .class_weights = in[2],
                                                                             .reduction = CG_LOSS_WEIGHTED_MEAN));
    EXPECT_ORACLE("pytorch/ignored",
                  out[0] = cg_softmax_cross_entropy(in[0], in[1], .mask = cg_not_equal(in[1], cg_scalar_int(cg, -100)),
                                                    .class_weights = in[2], .reduction = CG_LOSS_WEIGHTED_MEAN));
    EXPECT_ORACLE("pytorch/mean", out[0] = cg_binary_cross_entropy(in[0], in[1]));
    EXPECT_ORACLE("pytorch/batchmean", out[0] = cg_kl_divergence(in[0], in[1]));
}
END_TEST

START_TEST(nothing_is_left_out)
{
    expect_all_checked();
}
END_TEST

/* ---- Extremes ---------------------------------------------------------------------------------------------------- */

#define expect_finite(loss, x) expect_finite_named(loss, x, #loss)
static void expect_finite_named(cg_tensor loss, cg_tensor x, const char *what)
{
    const array value = array_read(loss), gradient = array_read(gradient_of(loss, no_tensor, x));
    for (int64_t i = 0; i < value.count; i++)
        ck_assert_msg(isfinite(value.at[i]), "%s: element %lld is %g", what, (long long)i, value.at[i]);
    for (int64_t i = 0; i < gradient.count; i++)
        ck_assert_msg(isfinite(gradient.at[i]), "the gradient of %s: element %lld is %g", what, (long long)i,
                      gradient.at[i]);
}

/* The target of what is masked may be a NaN or a bad class number; and so may the prediction, but for the derivative.
 */
START_TEST(the_masked_is_not_looked_at)
{
    cg_tensor x = tensor_of(ARRAY(CG_F32, CG_SHAPE(2, 2), 1, 2, 3, 4)), zeros = cg_zeros(cg, CG_SHAPE(2, 2));
    cg_tensor missing = tensor_of(ARRAY(CG_F32, CG_SHAPE(2, 2), 0, 0, NAN, INFINITY));
    cg_tensor mask = tensor_of(ARRAY(CG_U8, CG_SHAPE(2), 1, 0));
    expect_array(cg_mean_squared_error(x, missing, .mask = mask), ARRAY(CG_F32, CG_RANK0, 2.5));
    expect_array(gradient_of(cg_mean_squared_error(x, missing, .mask = mask), no_tensor, x),
                 ARRAY(CG_F32, CG_SHAPE(2, 2), 1, 2, 0, 0));
    expect_array(cg_mean_absolute_error(missing, x, .mask = mask), ARRAY(CG_F32, CG_RANK0, 1.5));
    cg_tensor labels = tensor_of(ARRAY(CG_I32, CG_SHAPE(2), 0, 9));
    expect_array(cg_softmax_cross_entropy(zeros, labels, .mask = mask), ARRAY(CG_F32, CG_RANK0, log(2)));
    expect_array(cg_categorical_cross_entropy(cg_ones(cg, CG_SHAPE(2, 2)), labels, .mask = mask),
                 ARRAY(CG_F32, CG_RANK0, log(2)));
}
END_TEST

START_TEST(finite_at_extremes)
{
    cg_tensor certain = tensor_of(ARRAY(CG_F32, CG_SHAPE(3, 2), 0, 1, 1, 0, 0, 0)),
              zeros = cg_zeros(cg, CG_SHAPE(3, 2));
    cg_tensor labels = tensor_of(ARRAY(CG_I32, CG_SHAPE(3), 0, 0, 1)), rank_0 = cg_zeros(cg, CG_RANK0);
    cg_tensor large = tensor_of(ARRAY(CG_F32, CG_SHAPE(3, 2), 3e38, -3e38, 1e5, -1e5, 100, -100));
    cg_tensor targets = tensor_of(ARRAY(CG_F32, CG_SHAPE(3, 2), 1, 1, 0, 0, 1, 1));
    expect_finite(cg_binary_cross_entropy_of_probabilities(certain, targets, EACH), certain);
    expect_finite(cg_categorical_cross_entropy(certain, labels, EACH), certain);
    expect_finite(cg_kl_divergence(certain, targets, EACH), certain);
    expect_finite(cg_dice_loss(zeros, zeros, EACH), zeros);
    expect_finite(cg_tversky_loss(zeros, zeros, 0, 0, EACH), zeros);
    expect_finite(cg_cosine_loss(zeros, certain, EACH), zeros);
    expect_finite(cg_triplet_margin_loss(zeros, zeros, zeros, 1, EACH), zeros);
    expect_finite(cg_gaussian_kl_divergence(zeros, zeros, rank_0, rank_0, EACH), zeros);
    expect_finite(cg_log_cosh_loss(large, zeros, EACH), large);
    expect_finite(cg_huber_loss(large, zeros, 1, EACH), large);
    for (double gamma = 0.5; gamma < 3; gamma += 0.5)
        expect_finite(cg_binary_focal_cross_entropy(large, targets, gamma, 0.25, EACH), large);
    expect_array(cg_dice_loss(zeros, zeros), ARRAY(CG_F32, CG_RANK0, 0));
    expect_array(cg_cosine_loss(zeros, certain), ARRAY(CG_F32, CG_RANK0, 0));
    /* Small differences keep their digits. */
    cg_tensor small = tensor_of(ARRAY(CG_F32, CG_SHAPE(2), 1e-3f, -1e-5f));
    expect_array(cg_log_cosh_loss(small, cg_zeros(cg, CG_SHAPE(2)), EACH),
                 ARRAY(CG_F32, CG_SHAPE(2), log(cosh(1e-3f)), 0.5 * 1e-5f * 1e-5f));
}
END_TEST

/* The number of losses and their sum are beyond f16. */
START_TEST(means_of_many_in_f16)
{
    cg_tensor ones = cg_ones(cg, CG_SHAPE(70000), .dtype = CG_F16), zeros = cg_zeros(cg, CG_SHAPE(70000));
    const array one = ARRAY(CG_F16, CG_RANK0, 1);
    expect_array(cg_mean_squared_error(ones, zeros), one);
    expect_array(cg_mean_squared_error(ones, zeros, .mask = ones), one);
    expect_array(cg_mean_squared_error(ones, zeros, .weights = ones, .reduction = CG_LOSS_WEIGHTED_MEAN), one);
}
END_TEST

/* Targets of either sign; at the edge of a margin the subgradient is 0. */
START_TEST(signs_and_edges)
{
    cg_tensor x = tensor_of(ARRAY(CG_F32, CG_SHAPE(4), 1, 0.5, -1, 0.5));
    cg_tensor signs = tensor_of(ARRAY(CG_I32, CG_SHAPE(4), 1, 1, -1, -1));
    cg_tensor bits = tensor_of(ARRAY(CG_BOOL, CG_SHAPE(4), 1, 1, 0, 0));
    const array wanted = ARRAY(CG_F32, CG_SHAPE(4), 0, 0.5, 0, 1.5);
    expect_array(cg_hinge_loss(x, signs, EACH), wanted);
    expect_array(cg_hinge_loss(x, bits, EACH), wanted);
    expect_array(gradient_of(cg_hinge_loss(x, bits, EACH), no_tensor, x), ARRAY(CG_F32, CG_SHAPE(4), 0, -1, 0, 1));
    expect_array(gradient_of(cg_mean_absolute_error(x, x, EACH), no_tensor, x), array_new(CG_F32, CG_SHAPE(4)));
    cg_tensor whole = tensor_of(ARRAY(CG_I32, CG_SHAPE(2), 3, -1)), zeros = cg_zeros(cg, CG_SHAPE(2));
    expect_array(cg_mean_absolute_error(whole, zeros), ARRAY(CG_F32, CG_RANK0, 2));
    expect_array(cg_mean_squared_error(whole, zeros), ARRAY(CG_F32, CG_RANK0, 5));
}
END_TEST

/* ---- Errors ------------------------------------------------------------------------------------------------------ */

START_TEST(errors_of_arguments)
{
    cg_tensor x = cg_ones(cg, CG_SHAPE(4, 3)), y = cg_ones(cg, CG_SHAPE(3)), whole = cg_cast(x, CG_I32);
    cg_tensor labels = cg_zeros(cg, CG_SHAPE(4), .dtype = CG_I32);
    expect_error(cg_mean_absolute_error(x, y),
                 "mean_absolute_error: f32 [4,3] against f32 [3]: prediction and target must have one shape");
    expect_error(cg_binary_cross_entropy_of_probabilities(whole, x),
                 "binary_cross_entropy_of_probabilities: i32 [4,3] against f32 [4,3]: probabilities must be floating, "
                 "and targets have their shape");
    expect_error(cg_categorical_cross_entropy(x, y),
                 "categorical_cross_entropy: f32 [4,3] against f32 [3]: for scores [..., classes] labels are class "
                 "numbers, i32 or u8 [...], or probabilities [..., classes]");
    expect_error(cg_softmax_cross_entropy(whole, labels),
                 "softmax_cross_entropy: i32 [4,3] against i32 [4]: scores must be floating");
    expect_error(cg_triplet_margin_loss(x, x, y, 1),
                 "triplet_margin_loss: f32 [4,3] against f32 [3]: anchor, positive and negative must have one shape, "
                 "the anchor floating");
    expect_error(cg_gaussian_kl_divergence(x, x, y, x), "gaussian_kl_divergence: f32 [4,3] against f32 [3]: a prior "
                                                        "must have the shape of the mean or rank 0");
    expect_error(cg_huber_loss(x, x, 0), "huber_loss: delta is 0; it must be finite and above 0");
    expect_error(cg_huber_loss(x, x, NAN), "huber_loss: delta is nan; it must be finite and above 0");
    expect_error(cg_binary_focal_cross_entropy(x, x, -1, 0.5),
                 "binary_focal_cross_entropy: gamma is -1; it must be finite and at least 0");
    expect_error(cg_binary_focal_cross_entropy(x, x, 2, 1.5), "binary_focal_cross_entropy: alpha is 1.5, above 1");
    expect_error(cg_tversky_loss(x, x, 0.5, -0.5), "tversky_loss: beta is -0.5; it must be finite and at least 0");
    expect_error(cg_triplet_margin_loss(x, x, x, -1),
                 "triplet_margin_loss: margin is -1; it must be finite and at least 0");
    expect_error(cg_cosine_loss(cg_ones(cg, CG_RANK0), cg_ones(cg, CG_RANK0)), "cosine_loss: [] has no axis -1");
    ck_assert(cg_is_null(cg_huber_loss(no_tensor, x, 0)) && cg_is_null(cg_dice_loss(x, no_tensor)));
    ck_assert(cg_is_null(cg_triplet_margin_loss(x, x, no_tensor, 1)));
    ck_assert(cg_is_null(cg_gaussian_kl_divergence(x, x, x, no_tensor)));
    ck_assert_int_eq(cg_status(cg), CG_OK);
}
END_TEST

START_TEST(errors_of_options)
{
    cg_tensor x = cg_ones(cg, CG_SHAPE(4, 3)), y = cg_ones(cg, CG_SHAPE(3));
    cg_tensor labels = cg_zeros(cg, CG_SHAPE(4), .dtype = CG_I32);
    expect_error(cg_mean_squared_error(x, x, .weights = y),
                 "mean_squared_error: weights of shape [3] does not go with the leading axes of [4,3]");
    expect_error(cg_softmax_cross_entropy(x, labels, .mask = x),
                 "softmax_cross_entropy: mask of shape [4,3] does not go with the leading axes of [4]");
    expect_error(cg_dice_loss(x, x, .weights = y),
                 "dice_loss: weights of shape [3] does not go with the leading axes of []");
    expect_error(cg_softmax_cross_entropy(x, labels, .class_weights = x),
                 "softmax_cross_entropy: class_weights [4,3] of 3 classes");
    expect_error(cg_binary_cross_entropy(x, x, .class_weights = y),
                 "binary_cross_entropy: class_weights [3] of 2 classes");
    expect_error(cg_log_cosh_loss(x, x, .class_weights = y),
                 "log_cosh_loss: this loss has no classes for class_weights");
    expect_error(cg_hinge_loss(x, x, .label_smoothing = 0.1), "hinge_loss: this loss has no label_smoothing");
    expect_error(cg_mean_absolute_error(x, x, .axes = CG_AXES(1)),
                 "mean_absolute_error: this loss is not taken along axes");
    expect_error(cg_kl_divergence(x, x, .axes = CG_AXES(2)), "kl_divergence: [4,3] has no axis 2");
    expect_error(cg_binary_cross_entropy(x, x, .label_smoothing = 1.5),
                 "binary_cross_entropy: label_smoothing is 1.5, outside [0, 1]");
    expect_error(cg_binary_cross_entropy(x, x, .label_smoothing = NAN),
                 "binary_cross_entropy: label_smoothing is nan, outside [0, 1]");
    expect_error(cg_mean_squared_error(x, x, .reduction = (cg_loss_reduction)7),
                 "mean_squared_error: there is no reduction 7");
}
END_TEST

START_TEST(errors_of_class_numbers)
{
    cg_tensor x = cg_ones(cg, CG_SHAPE(2, 3)), labels = tensor_of(ARRAY(CG_I32, CG_SHAPE(2), 0, -1));
    ck_assert(isnan(cg_item(cg_categorical_cross_entropy(x, labels))));
    ck_assert_ptr_nonnull(strstr(cg_message(cg), "categorical_cross_entropy labels: index -1 is out of range"));
    cg_clear_error(cg);
    ck_assert(isnan(cg_item(cg_categorical_hinge_loss(x, labels))));
    ck_assert_ptr_nonnull(strstr(cg_message(cg), "categorical_hinge_loss labels: index -1 is out of range"));
    cg_clear_error(cg);
    ck_assert(isnan(cg_item(cg_softmax_cross_entropy(x, labels, .class_weights = cg_ones(cg, CG_SHAPE(3))))));
    ck_assert_ptr_nonnull(strstr(cg_message(cg), "softmax_cross_entropy labels: index -1 is out of range"));
    cg_clear_error(cg);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("losses");
    TCase *tests = tcase_create("losses");
    tcase_add_checked_fixture(tests, open_losses, oracle_close);
    tcase_add_test(tests, differences);
    tcase_add_test(tests, binary_cross_entropies);
    tcase_add_test(tests, categorical_cross_entropies);
    tcase_add_test(tests, margins);
    tcase_add_test(tests, along_axes);
    tcase_add_test(tests, weights_and_masks);
    tcase_add_test(tests, class_weights);
    tcase_add_test(tests, as_pytorch_reduces);
    tcase_add_test(tests, nothing_is_left_out);
    tcase_add_test(tests, the_masked_is_not_looked_at);
    tcase_add_test(tests, finite_at_extremes);
    tcase_add_test(tests, means_of_many_in_f16);
    tcase_add_test(tests, signs_and_edges);
    tcase_add_test(tests, errors_of_arguments);
    tcase_add_test(tests, errors_of_options);
    tcase_add_test(tests, errors_of_class_numbers);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}

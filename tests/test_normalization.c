/* Tests the normalizations: against PyTorch over shapes, axes and options; where the mean takes most of f32's digits;
 * how they relate to each other; their layers; and what they refuse. */
#include "oracle.h"

#include <clgrad/layers.h>
#include <clgrad/normalization_layers.h>

/* ---- Against PyTorch --------------------------------------------------------------------------------------------- */

#define BATCH_NORM(shape, channels) \
    EXPECT_ORACLE("batch_norm/" shape "_axis_" #channels, { \
        cg_batch_norm_result r = cg_batch_norm(in[0], in[1], in[2], 1e-3, .axis = channels - cg_shape_of(in[0]).rank); \
        out[0] = r.output, out[1] = r.mean, out[2] = r.variance; \
    }) \
    EXPECT_ORACLE("batch_norm_inference/" shape "_axis_" #channels, \
                  out[0] = cg_batch_norm_inference(in[0], in[1], in[2], in[3], in[4], 1e-3, \
                                                   .axis = channels - cg_shape_of(in[0]).rank))

static void check_batch_norm(void)
{
    BATCH_NORM("7x3", 1);
    BATCH_NORM("5x3x4", 1);
    BATCH_NORM("5x3x4", 2);
    BATCH_NORM("3x5x7x2", 1);
    BATCH_NORM("2x3x5x7", 3);
    BATCH_NORM("1x2x3x1x5", 1);
    BATCH_NORM("3x2x5", 0);
    BATCH_NORM("2x19x3x3", 1);
}

#define GROUP_NORM(shape, groups) \
    EXPECT_ORACLE("group_norm/" shape "_by_" #groups, \
                  out[0] = cg_group_norm(in[0], groups, .gamma = in[1], .beta = in[2]))
#define INSTANCE_NORM(shape) \
    EXPECT_ORACLE("instance_norm/" shape, out[0] = cg_instance_norm(in[0], .gamma = in[1], .beta = in[2]))

static void check_groups(void)
{
    GROUP_NORM("2x6x5", 1);
    GROUP_NORM("2x6x5", 2);
    GROUP_NORM("2x6x5", 3);
    GROUP_NORM("2x6x5", 6);
    GROUP_NORM("3x4x3x5", 2);
    GROUP_NORM("5x8", 4);
    GROUP_NORM("1x6x3x2x3", 3);
    GROUP_NORM("3x33x17", 11);
    INSTANCE_NORM("2x6x5");
    INSTANCE_NORM("3x4x3x5");
    INSTANCE_NORM("1x6x3x2x3");
}

#define LAYER_AND_RMS_NORM(shape, count, ...) \
    EXPECT_ORACLE( \
        "layer_norm/" shape "_over_" #count, \
        out[0] = cg_layer_norm(in[0], .axes = CG_AXES(__VA_ARGS__), .gamma = in[1], .beta = in[2], .epsilon = 1e-5)) \
    EXPECT_ORACLE("rms_norm/" shape "_over_" #count, \
                  out[0] = cg_rms_norm(in[0], .axes = CG_AXES(__VA_ARGS__), .gamma = in[1]))

static void check_layer_norm(void)
{
    LAYER_AND_RMS_NORM("5x7", 1, 1);
    LAYER_AND_RMS_NORM("2x3x5", 2, 1, 2);
    LAYER_AND_RMS_NORM("2x3x4x5", 3, 1, 2, 3);
    LAYER_AND_RMS_NORM("3x33", 1, -1);
}

#define LOCAL_RESPONSE(shape, size) \
    EXPECT_ORACLE("local_response_norm/" shape "_by_" #size, \
                  out[0] = cg_local_response_norm(in[0], size, .alpha = 0.3, .beta = 0.6, .k = 1.5))
#define WEIGHT_NORM(shape, outputs) \
    EXPECT_ORACLE("weight_norm/" shape "_axis_" #outputs, \
                  out[0] = cg_weight_norm(in[0], in[1], .axis = outputs - cg_shape_of(in[0]).rank))
#define SPECTRAL_NORM(shape, outputs, times) \
    EXPECT_ORACLE("spectral_norm/" shape "_axis_" #outputs "_" #times "_times", { \
        cg_spectral_norm_result r = cg_spectral_norm(in[0], in[1], times, .axis = outputs - cg_shape_of(in[0]).rank); \
        out[0] = r.kernel, out[1] = r.sigma, out[2] = r.u; \
    })

static void check_scaling(void)
{
    LOCAL_RESPONSE("2x5x1", 3);
    LOCAL_RESPONSE("2x7x3", 4);
    LOCAL_RESPONSE("2x7x3", 5);
    LOCAL_RESPONSE("1x3x2x3", 9);
    LOCAL_RESPONSE("2x5x3", 1);
    WEIGHT_NORM("5x3", 1);
    WEIGHT_NORM("4x3x3x2", 0);
    WEIGHT_NORM("3x4x5", 1);
    SPECTRAL_NORM("5x3", 1, 1);
    SPECTRAL_NORM("5x3", 1, 0);
    SPECTRAL_NORM("4x3x3x2", 0, 2);
    SPECTRAL_NORM("3x7", 1, 3);
}

START_TEST(as_pytorch)
{
    check_batch_norm();
    check_groups();
    check_layer_norm();
    check_scaling();
    expect_all_checked();
}
END_TEST

/* ---- Far from 0 -------------------------------------------------------------------------------------------------- */

/* x normalized with the mean and biased variance of the elements that share a number of `group`, in double. */
static array normalized_by_hand(array x, int64_t groups, int64_t (*group)(cg_shape, int64_t))
{
    array y = array_new(x.dtype, x.shape), mean = array_new(CG_F64, CG_SHAPE(groups)),
          variance = array_new(CG_F64, mean.shape), count = array_new(CG_F64, mean.shape);
    for (int64_t i = 0; i < x.count; i++) count.at[group(x.shape, i)] += 1;
    for (int64_t i = 0; i < x.count; i++) mean.at[group(x.shape, i)] += x.at[i] / count.at[group(x.shape, i)];
    for (int64_t i = 0; i < x.count; i++) {
        const int64_t g = group(x.shape, i);
        variance.at[g] += pow(x.at[i] - mean.at[g], 2) / count.at[g];
    }
    for (int64_t i = 0; i < x.count; i++) {
        const int64_t g = group(x.shape, i);
        y.at[i] = (x.at[i] - mean.at[g]) / sqrt(variance.at[g] + 1e-3);
    }
    return y;
}

static int64_t channel_of(cg_shape shape, int64_t i)
{
    int64_t at[CG_MAX_RANK] = {0};
    unravel(shape, i, at);
    return at[1];
}

static int64_t image_of(cg_shape shape, int64_t i)
{
    int64_t at[CG_MAX_RANK] = {0};
    unravel(shape, i, at);
    return at[0];
}

static int64_t instance_of(cg_shape shape, int64_t i)
{
    return image_of(shape, i) * shape.size[1] + channel_of(shape, i);
}

/* Of four channels, two and two. */
static int64_t pair_of(cg_shape shape, int64_t i)
{
    return instance_of(shape, i) / 2;
}

/* Mean 1e4, variance 1: what is kept of x is 1e-3 of its deviation, and no more may be lost. */
START_TEST(far_from_0)
{
    const cg_shape shapes[] = {CG_SHAPE(3, 4, 5, 7), CG_SHAPE(8, 4, 40, 30), CG_SHAPE(300, 4, 1, 1)};
    cg_tensor one = cg_ones(cg, CG_RANK0), zero = cg_zeros(cg, CG_RANK0);
    for (int i = 0; i < 3; i++) {
        const int64_t images = shapes[i].size[0], channels = shapes[i].size[1];
        array x = array_random(CG_F32, shapes[i], 1e4 - sqrt(3), 1e4 + sqrt(3));
        cg_tensor t = tensor_of(x);
        expect_close(cg_batch_norm(t, one, zero, 1e-3, .axis = 1).output, normalized_by_hand(x, channels, channel_of),
                     1e-6, 4e-6, "batch_norm");
        expect_close(cg_layer_norm(t, .axes = CG_AXES(1, 2, 3)), normalized_by_hand(x, images, image_of), 1e-6, 4e-6,
                     "layer_norm");
        expect_close(cg_group_norm(t, 2), normalized_by_hand(x, images * 2, pair_of), 1e-6, 4e-6, "group_norm");
        expect_close(cg_instance_norm(t), normalized_by_hand(x, images * channels, instance_of), 1e-6, 4e-6,
                     "instance_norm");
    }
}
END_TEST

/* The statistics too, and where a channel's first value is the one that is far away: then its distance in deviations,
 * squared, is what a variance in f32 may lose, at most the number of values. */
START_TEST(statistics_far_from_0)
{
    array x = array_random(CG_F32, CG_SHAPE(2000, 3), 1e4 - sqrt(3), 1e4 + sqrt(3)),
          mean = array_new(CG_F32, CG_SHAPE(3)), variance = array_new(CG_F32, CG_SHAPE(3));
    x.at[1] = 1e4 + 20;
    x.at[2] = 0;
    for (int64_t i = 0; i < x.count; i++) mean.at[i % 3] += x.at[i] / 2000;
    for (int64_t i = 0; i < x.count; i++) variance.at[i % 3] += pow(x.at[i] - mean.at[i % 3], 2) / 2000;
    cg_batch_norm_result r = cg_batch_norm(tensor_of(x), cg_ones(cg, CG_RANK0), cg_zeros(cg, CG_RANK0), 1e-3);
    expect_close(r.mean, mean, 2e-7, 0, "mean");
    array found = array_read(r.variance);
    /* Eight roundings at most of what is then taken away: products, and sums in blocks. */
    const double bounds[] = {2e-6, 8 * 400 * FLT_EPSILON, 8 * 2000 * FLT_EPSILON};
    for (int i = 0; i < 3; i++)
        ck_assert_msg(fabs(found.at[i] / variance.at[i] - 1) < bounds[i], "channel %d: %.9g, not %.9g", i, found.at[i],
                      variance.at[i]);
}
END_TEST

/* The others have no mean to take away; what they divide by must be right to f32. */
START_TEST(scaling_far_from_0)
{
    array x = array_random(CG_F32, CG_SHAPE(5, 3000), 1e4 - sqrt(3), 1e4 + sqrt(3)), rms = array_new(CG_F32, x.shape),
          unit = array_new(CG_F32, x.shape);
    for (int r = 0; r < 5; r++) {
        double square = 0;
        for (int i = 0; i < 3000; i++) square += x.at[r * 3000 + i] * x.at[r * 3000 + i];
        for (int i = r * 3000; i < (r + 1) * 3000; i++) {
            rms.at[i] = x.at[i] / sqrt(square / 3000 + 1e-6);
            unit.at[i] = x.at[i] / sqrt(square);
        }
    }
    expect_array(cg_rms_norm(tensor_of(x)), rms);
    expect_array(cg_weight_norm(tensor_of(x), cg_ones(cg, CG_SHAPE(5)), .axis = -2), unit);
}
END_TEST

/* ---- How they relate --------------------------------------------------------------------------------------------- */

START_TEST(groups_of_all_and_of_one)
{
    array x = array_random(CG_F32, CG_SHAPE(3, 6, 4, 5), -3, 8);
    cg_tensor t = tensor_of(x), gamma = tensor_of(array_random(CG_F32, CG_SHAPE(6), 0.5, 2)),
              beta = tensor_of(array_random(CG_F32, CG_SHAPE(6), -1, 1));
    cg_tensor per_channel = cg_reshape(gamma, CG_SHAPE(6, 1, 1)), offsets = cg_reshape(beta, CG_SHAPE(6, 1, 1));
    cg_tensor layer = cg_add(cg_mul(cg_layer_norm(t, .axes = CG_AXES(1, 2, 3)), per_channel), offsets);
    expect_about(cg_group_norm(t, 1, .gamma = gamma, .beta = beta), array_read(layer));
    cg_tensor instance = cg_instance_norm(t, .gamma = gamma, .beta = beta);
    expect_array(cg_group_norm(t, 6, .gamma = gamma, .beta = beta), array_read(instance));
    expect_about(instance, array_read(cg_add(cg_mul(cg_layer_norm(t, .axes = CG_AXES(2, 3)), per_channel), offsets)));
    /* A batch of one image makes batch normalization one of instances. */
    cg_tensor single = cg_slice_axis(t, 0, 1, 2);
    expect_about(cg_batch_norm(single, gamma, beta, 1e-3, .axis = 1).output,
                 array_read(cg_instance_norm(single, .gamma = gamma, .beta = beta)));
}
END_TEST

START_TEST(channels_may_be_last)
{
    array x = array_random(CG_F32, CG_SHAPE(2, 3, 5, 4), -3, 8);
    cg_tensor t = tensor_of(x), last = cg_permute(t, CG_AXES(0, 2, 3, 1)),
              gamma = tensor_of(array_random(CG_F32, CG_SHAPE(3), 0.5, 2)), beta = cg_zeros(cg, CG_RANK0);
    cg_tensor expected = cg_permute(cg_group_norm(t, 3, .gamma = gamma), CG_AXES(0, 2, 3, 1));
    expect_about(cg_group_norm(last, 3, .gamma = gamma, .axis = -1), array_read(expected));
    expected = cg_permute(cg_group_norm(t, 1, .gamma = gamma), CG_AXES(0, 2, 3, 1));
    expect_about(cg_group_norm(last, 1, .gamma = gamma, .axis = 3), array_read(expected));
    cg_batch_norm_result first = cg_batch_norm(t, gamma, beta, 1e-3, .axis = 1),
                         behind = cg_batch_norm(last, gamma, beta, 1e-3);
    expect_about(behind.output, array_read(cg_permute(first.output, CG_AXES(0, 2, 3, 1))));
    expect_about(behind.variance, array_read(first.variance));
    expected = cg_permute(cg_local_response_norm(t, 3), CG_AXES(0, 2, 3, 1));
    expect_about(cg_local_response_norm(last, 3, .axis = -1), array_read(expected));
}
END_TEST

/* As power iterations go on, sigma is the largest singular value: of a diagonal matrix the largest entry. */
START_TEST(spectral_norm_converges)
{
    cg_tensor kernel = tensor_of(ARRAY(CG_F32, CG_SHAPE(3, 2), 0, 1, -3, 0, 0, 0)), u = cg_ones(cg, CG_SHAPE(2));
    cg_spectral_norm_result r = cg_spectral_norm(kernel, u, 20);
    expect_about(r.sigma, ARRAY(CG_F32, CG_RANK0, 3));
    expect_about(r.u, ARRAY(CG_F32, CG_SHAPE(2), 1, 0));
    expect_about(r.kernel, ARRAY(CG_F32, CG_SHAPE(3, 2), 0, 1.0 / 3, -1, 0, 0, 0));
}
END_TEST

/* ---- Layers ------------------------------------------------------------------------------------------------------ */

/* Moving averages of the channels of images: Keras's, of the biased variance. */
START_TEST(batch_norm_layer_of_images)
{
    cg_model *model = cg_model_new(cg);
    cg_batch_norm_layer *layer = cg_batch_norm_new(model, "norm", 3, .axis = 1, .momentum = 0.75);
    array x = array_random(CG_F32, CG_SHAPE(2, 3, 4, 5), -2, 6), mean = array_new(CG_F32, CG_SHAPE(3)),
          variance = array_new(CG_F32, CG_SHAPE(3)), wanted = array_new(CG_F32, x.shape);
    for (int64_t i = 0; i < x.count; i++) mean.at[channel_of(x.shape, i)] += x.at[i] / 40;
    for (int64_t i = 0; i < x.count; i++)
        variance.at[channel_of(x.shape, i)] += pow(x.at[i] - mean.at[channel_of(x.shape, i)], 2) / 40;
    expect_close(cg_batch_norm_call(layer, tensor_of(x), .mode = CG_MODE_TRAINING),
                 normalized_by_hand(x, 3, channel_of), 1e-5, 1e-5, "training");
    for (int c = 0; c < 3; c++) {
        mean.at[c] *= 0.25;
        variance.at[c] = 0.75 + 0.25 * variance.at[c];
    }
    expect_about(cg_value(cg_model_find(model, "norm/moving_mean")), mean);
    expect_about(cg_value(cg_model_find(model, "norm/moving_variance")), variance);
    for (int64_t i = 0; i < x.count; i++) {
        const int64_t c = channel_of(x.shape, i);
        wanted.at[i] = (x.at[i] - mean.at[c]) / sqrt(variance.at[c] + 1e-3);
    }
    expect_close(cg_batch_norm_call(layer, tensor_of(x)), wanted, 1e-5, 1e-5, "inference");
    cg_model_free(model);
}
END_TEST

START_TEST(layers_use_their_variables)
{
    cg_model *model = cg_model_new(cg);
    cg_tensor x = tensor_of(array_random(CG_F32, CG_SHAPE(2, 4, 3), -2, 6)), two = cg_full(cg, CG_SHAPE(4), 2),
              three = cg_full(cg, CG_SHAPE(4), 3);
    cg_group_norm_layer *group = cg_group_norm_new(model, "group", 2, 4, .epsilon = 0.5),
                        *instance = cg_instance_norm_new(model, "instance", 4, .no_gamma = true, .no_beta = true);
    cg_rms_norm_layer *rms = cg_rms_norm_new(model, "rms", 3);
    ck_assert_int_eq(cg_model_count(model), 3);
    expect_array(cg_group_norm_call(instance, x), array_read(cg_instance_norm(x)));
    expect_array(cg_group_norm_call(group, x), array_read(cg_group_norm(x, 2, .epsilon = 0.5)));
    expect_array(cg_rms_norm_call(rms, x), array_read(cg_rms_norm(x)));
    cg_assign(cg_model_find(model, "group/gamma"), two);
    cg_assign(cg_model_find(model, "group/beta"), three);
    cg_assign(cg_model_find(model, "rms/gamma"), cg_full(cg, CG_SHAPE(3), 2));
    expect_array(cg_group_norm_call(group, x),
                 array_read(cg_group_norm(x, 2, .gamma = two, .beta = three, .epsilon = 0.5)));
    expect_about(cg_rms_norm_call(rms, x), array_read(cg_mul(cg_rms_norm(x), cg_scalar(cg, 2))));
    cg_model_free(model);
}
END_TEST

START_TEST(weight_norm_begins_as_the_kernel)
{
    cg_model *model = cg_model_new(cg);
    cg_dense *dense = cg_dense_new(model, "dense", 5, 3);
    cg_variable *kernel = cg_dense_kernel(dense);
    cg_weight_norm_layer *norm = cg_weight_norm_new(model, "norm", kernel);
    array first = array_read(cg_value(kernel));
    expect_about(cg_weight_norm_call(norm, cg_value(kernel)), first);
    cg_assign(kernel, cg_mul(cg_value(kernel), cg_scalar(cg, 7))); /* the length is the gain's business */
    expect_about(cg_weight_norm_call(norm, cg_value(kernel)), first);
    ck_assert(cg_model_is_trainable(model, cg_model_find(model, "norm/gain")));
    cg_model_free(model);
}
END_TEST

/* One iteration per call in training; outside training u stays, and so does the result. */
START_TEST(spectral_norm_iterates_in_training)
{
    cg_model *model = cg_model_new(cg);
    cg_variable *kernel = cg_model_add(model, "kernel", tensor_of(ARRAY(CG_F32, CG_SHAPE(2, 2), 4, 0, 0, 1)));
    cg_spectral_norm_layer *norm = cg_spectral_norm_new(model, "norm", kernel);
    cg_variable *u = cg_model_find(model, "norm/u");
    ck_assert(!cg_model_is_trainable(model, u));
    cg_assign(u, tensor_of(ARRAY(CG_F32, CG_SHAPE(2), 0.6, 0.8)));
    /* v = W u / |W u| with W u = (2.4, 0.8); without an iteration sigma = |W u|. */
    const double idle = sqrt(2.4 * 2.4 + 0.8 * 0.8), once = sqrt(9.6 * 9.6 + 0.8 * 0.8);
    for (int i = 0; i < 2; i++)
        expect_about(cg_spectral_norm_call(norm, cg_value(kernel)),
                     ARRAY(CG_F32, CG_SHAPE(2, 2), 4 / idle, 0, 0, 1 / idle));
    expect_about(cg_value(u), ARRAY(CG_F32, CG_SHAPE(2), 0.6, 0.8));
    cg_training(cg, true);
    expect_about(cg_spectral_norm_call(norm, cg_value(kernel)),
                 ARRAY(CG_F32, CG_SHAPE(2, 2), 4 * idle / once, 0, 0, idle / once));
    expect_about(cg_value(u), ARRAY(CG_F32, CG_SHAPE(2), 9.6 / once, 0.8 / once));
    for (int i = 0; i < 12; i++) cg_spectral_norm_call(norm, cg_value(kernel));
    cg_training(cg, false);
    expect_about(cg_spectral_norm_call(norm, cg_value(kernel)), ARRAY(CG_F32, CG_SHAPE(2, 2), 1, 0, 0, 0.25));
    cg_model_free(model);
}
END_TEST

START_TEST(layers_refuse)
{
    cg_model *model = cg_model_new(cg);
    cg_variable *flat = cg_model_add(model, "flat", cg_ones(cg, CG_SHAPE(3)));
    cg_variable *kernel = cg_model_add(model, "kernel", cg_ones(cg, CG_SHAPE(3, 2)));
    const int before = cg_model_count(model);
#define REFUSES(made, message) \
    do { \
        ck_assert_ptr_null(made); \
        ck_assert_str_eq(cg_message(cg), message); \
        cg_clear_error(cg); \
    } while (0)
    REFUSES(cg_group_norm_new(model, "g", 3, 4), "g: 4 channels are not 3 equal groups");
    REFUSES(cg_group_norm_new(model, "g", 2, 4, .epsilon = -1), "g: epsilon is -1; it must be finite and at least 0");
    REFUSES(cg_weight_norm_new(model, "w", flat), "w: the kernel \"flat\" [3] has no outputs along axis -1");
    REFUSES(cg_spectral_norm_new(model, "s", kernel, .axis = 2),
            "s: the kernel \"kernel\" [3,2] has no outputs along axis 2");
    REFUSES(cg_spectral_norm_new(model, "s", kernel, .iterations = -1), "s: -1 iterations; there must be at least 1");
    ck_assert_int_eq(cg_model_count(model), before);
    cg_tensor x = cg_ones(cg, CG_SHAPE(1, 4, 2));
    expect_error(cg_group_norm_call(cg_group_norm_new(model, "six", 2, 6), x),
                 "group_norm: the input is [1,4,2]; its channels, axis 1, must be 6");
    ck_assert(cg_is_null(cg_group_norm_call(NULL, x)) && cg_is_null(cg_rms_norm_call(NULL, x)) &&
              cg_is_null(cg_weight_norm_call(NULL, x)) && cg_is_null(cg_spectral_norm_call(NULL, x)));
    cg_model_free(model);
}
END_TEST

/* ---- Edges and errors -------------------------------------------------------------------------------------------- */

START_TEST(single_values_give_beta)
{
    cg_tensor x = tensor_of(ARRAY(CG_F32, CG_SHAPE(1, 2, 1, 1), 1e4, -3)),
              beta = tensor_of(ARRAY(CG_F32, CG_SHAPE(2), 5, 7)), gamma = cg_ones(cg, CG_SHAPE(2));
    cg_batch_norm_result r = cg_batch_norm(x, gamma, beta, 1e-3, .axis = 1);
    expect_array(r.output, ARRAY(CG_F32, CG_SHAPE(1, 2, 1, 1), 5, 7));
    expect_array(r.mean, ARRAY(CG_F32, CG_SHAPE(2), 1e4, -3));
    expect_array(r.variance, array_new(CG_F32, CG_SHAPE(2)));
    expect_array(cg_instance_norm(x, .beta = beta), ARRAY(CG_F32, CG_SHAPE(1, 2, 1, 1), 5, 7));
    expect_array(gradient_of(r.output, no_tensor, x), array_new(CG_F32, CG_SHAPE(1, 2, 1, 1)));
    cg_tensor empty = cg_zeros(cg, CG_SHAPE(0, 2, 3));
    expect_array(cg_group_norm(empty, 2), array_new(CG_F32, CG_SHAPE(0, 2, 3)));
    expect_array(cg_batch_norm(empty, gamma, beta, 1e-3, .axis = 1).output, array_new(CG_F32, CG_SHAPE(0, 2, 3)));
    expect_array(cg_local_response_norm(empty, 3), array_new(CG_F32, CG_SHAPE(0, 2, 3)));
}
END_TEST

START_TEST(errors)
{
    cg_tensor x = cg_ones(cg, CG_SHAPE(2, 6, 3)), five = cg_ones(cg, CG_SHAPE(5)), flat = cg_ones(cg, CG_SHAPE(4));
    expect_error(cg_batch_norm(x, five, five, 1e-3, .axis = 1).output, "batch_norm: [5] for the features of [2,6,3]");
    expect_error(cg_batch_norm(x, five, five, 1e-3, .axis = 3).output, "batch_norm: [2,6,3] has no axis 3");
    expect_error(cg_group_norm(x, 4), "group_norm: the 6 channels of [2,6,3] are not 4 equal groups");
    expect_error(cg_group_norm(x, 0), "group_norm: the 6 channels of [2,6,3] are not 0 equal groups");
    expect_error(cg_group_norm(x, 3, .gamma = five), "group_norm: gamma is [5], the channels of [2,6,3] are 6");
    expect_error(cg_group_norm(x, 2, .axis = -3), "group_norm: the first axis of [2,6,3] is the batch, not channels");
    expect_error(cg_group_norm(flat, 2), "group_norm: [4] has no axis 1");
    expect_error(cg_group_norm(cg_ones(cg, CG_SHAPE(1, 2, 1, 1, 1, 1, 1, 1)), 2),
                 "group_norm: [1,2,1,1,1,1,1,1] has no axis left for the groups");
    expect_error(cg_instance_norm(cg_ones(cg, CG_SHAPE(2, 3))),
                 "instance_norm: [2,3] has no axes but batch and channels");
    expect_error(cg_rms_norm(x, .gamma = five), "rms_norm: gamma is [5], the axes normalized are [3]");
    expect_error(cg_local_response_norm(x, 0), "local_response_norm: 0 neighbouring channels; it takes 1 to 64");
    expect_error(cg_local_response_norm(flat, 3), "local_response_norm: [4] has no axis 1");
    expect_error(cg_weight_norm(x, five), "weight_norm: the gain is [5], the outputs of [2,6,3] are 3");
    expect_error(cg_spectral_norm(flat, flat, 1).kernel, "spectral_norm: [4] is no matrix");
    expect_error(cg_spectral_norm(x, five, 1).u, "spectral_norm: u is [5], the outputs of [2,6,3] are 3");
    expect_error(cg_spectral_norm(x, cg_ones(cg, CG_SHAPE(3)), -1).sigma,
                 "spectral_norm: -1 iterations; there must be at least 0");
    ck_assert(cg_is_null(cg_group_norm(no_tensor, 2)) && cg_is_null(cg_instance_norm(no_tensor)) &&
              cg_is_null(cg_rms_norm(no_tensor)) && cg_is_null(cg_local_response_norm(no_tensor, 3)) &&
              cg_is_null(cg_weight_norm(no_tensor, five)) && cg_is_null(cg_spectral_norm(no_tensor, five, 1).u));
}
END_TEST

/* ---- The suite --------------------------------------------------------------------------------------------------- */

static void open_oracle(void)
{
    oracle_open("normalization");
}

static TCase *oracle_cases(void)
{
    TCase *tests = tcase_create("as PyTorch");
    tcase_add_checked_fixture(tests, open_oracle, oracle_close);
    tcase_add_test(tests, as_pytorch);
    return tests;
}

static TCase *normalization_cases(void)
{
    TCase *tests = tcase_create("normalization");
    tcase_add_checked_fixture(tests, open_context, close_context);
    tcase_add_test(tests, far_from_0);
    tcase_add_test(tests, statistics_far_from_0);
    tcase_add_test(tests, scaling_far_from_0);
    tcase_add_test(tests, groups_of_all_and_of_one);
    tcase_add_test(tests, channels_may_be_last);
    tcase_add_test(tests, spectral_norm_converges);
    tcase_add_test(tests, batch_norm_layer_of_images);
    tcase_add_test(tests, layers_use_their_variables);
    tcase_add_test(tests, weight_norm_begins_as_the_kernel);
    tcase_add_test(tests, spectral_norm_iterates_in_training);
    tcase_add_test(tests, layers_refuse);
    tcase_add_test(tests, single_values_give_beta);
    tcase_add_test(tests, errors);
    return tests;
}

int main(void)
{
    Suite *suite = suite_create("normalization");
    suite_add_tcase(suite, oracle_cases());
    suite_add_tcase(suite, normalization_cases());
    return run_suite(suite);
}

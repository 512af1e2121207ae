/* Tests of models, layers, initializers, losses, penalties, optimizers and the display of a training loop. Expected
 * values are worked out here, in double, by loops that share nothing with the library. */
#include "program.h"
#include "shared_device.h"
#include <clgrad/clgrad.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static cg_context *cg;
static cg_model *model;

static void open_context(void)
{
    cg = open_on_shared_device();
    model = cg_model_new(cg);
    ck_assert_ptr_nonnull(model);
}

static void close_context(void)
{
    cg_model_free(model);
    cg_close(cg);
}

/* The dtype of the device's best precision. */
static cg_dtype real(void)
{
    return cg_device(cg)->has_f64 ? CG_F64 : CG_F32;
}

static double tolerance(void)
{
    return real() == CG_F64 ? 1e-12 : 2e-5;
}

static cg_tensor tensor(cg_shape shape, const double *values)
{
    if (real() == CG_F64) return cg_input(cg, CG_F64, shape, values);
    float narrow[4096];
    for (int64_t i = 0; i < cg_shape_size(shape); i++) narrow[i] = (float)values[i];
    return cg_input(cg, CG_F32, shape, narrow);
}

static void check_near(double found, double expected, int line)
{
    ck_assert_msg(fabs(found - expected) <= tolerance() * fmax(1, fabs(expected)), "line %d: %.17g, not %.17g: %s",
                  line, found, expected, cg_message(cg));
}
#define NEAR(found, expected) check_near(found, expected, __LINE__)

static void check_values(cg_tensor found, const double *expected, int count, int line)
{
    double values[4096];
    ck_assert_msg(cg_read_doubles(found, values, count), "line %d: %s", line, cg_message(cg));
    for (int i = 0; i < count; i++) check_near(values[i], expected[i], line);
}
#define VALUES(found, expected, count) check_values(found, expected, count, __LINE__)

static void check_error(const char *part, int line)
{
    ck_assert_msg(cg_status(cg) != CG_OK, "line %d: no error", line);
    ck_assert_msg(strstr(cg_message(cg), part) != NULL, "line %d: \"%s\" lacks \"%s\"", line, cg_message(cg), part);
    cg_clear_error(cg);
}
#define ERROR(part) check_error(part, __LINE__)

/* A variable of the model with given values. */
static cg_variable *add(const char *name, int count, const double *values)
{
    return cg_model_add(model, name, tensor(CG_SHAPE(count), values));
}

/* Models. */

START_TEST(model_finds_its_variables)
{
    double values[] = {1, 2, 3};
    cg_variable *a = add("a", 3, values), *b = add("b", 2, values);
    ck_assert_ptr_eq(cg_model_find(model, "a"), a);
    ck_assert_ptr_eq(cg_model_find(model, "b"), b);
    ck_assert_ptr_null(cg_model_find(model, "c"));
    ck_assert_int_eq(cg_model_count(model), 2);
    ck_assert_ptr_eq(cg_model_at(model, 1), b);
    ck_assert_ptr_null(cg_model_at(model, 2));
    ck_assert_ptr_null(cg_model_at(model, -1));
    ck_assert_int_eq(cg_model_size(model), 5);
    ck_assert_int_eq(cg_status(cg), CG_OK);
}
END_TEST

START_TEST(duplicate_name_is_an_error)
{
    cg_dense_new(model, "fc1", 3, 2);
    ck_assert_ptr_null(cg_dense_new(model, "fc1", 3, 2));
    ERROR("\"fc1/kernel\"");
    ck_assert_int_eq(cg_model_count(model), 2);
}
END_TEST

START_TEST(trainable_and_penalty_are_per_variable)
{
    double values[] = {1, 2, 3};
    cg_variable *a = add("a", 3, values);
    cg_variable *b = cg_model_add(model, "b", tensor(CG_SHAPE(3), values), .frozen = true, .penalty = cg_l1(2));
    ck_assert(cg_model_is_trainable(model, a) && !cg_model_is_trainable(model, b));
    ck_assert(cg_model_penalty(model, a).l1 == 0 && cg_model_penalty(model, b).l1 == 2);
    ck_assert(cg_model_set_trainable(model, b, true) && cg_model_is_trainable(model, b));
    ck_assert(cg_model_set_penalty(model, a, cg_elastic(1, 2)));
    ck_assert(cg_model_penalty(model, a).l1 == 1 && cg_model_penalty(model, a).l2 == 2);
    cg_model *other = cg_model_new(cg);
    ck_assert(!cg_model_set_trainable(other, a, false));
    ERROR("\"a\" belongs to another model");
    cg_model_free(other);
}
END_TEST

START_TEST(null_passes_through)
{
    cg_tensor null = {0};
    ck_assert(cg_is_null(cg_dense_call(NULL, null)));
    ck_assert(cg_is_null(cg_batch_norm_call(NULL, null)));
    ck_assert(cg_is_null(cg_softmax_cross_entropy(null, null)));
    ck_assert(cg_is_null(cg_binary_cross_entropy(null, null)));
    ck_assert(cg_is_null(cg_mean_squared_error(null, null)));
    ck_assert(cg_is_null(cg_accuracy(null, null)));
    ck_assert(cg_is_null(cg_penalty_value(cg_l2(1), null)));
    ck_assert_ptr_null(cg_dense_new(NULL, "x", 1, 1));
    ck_assert_ptr_null(cg_batch_norm_new(NULL, "x", 1));
    ck_assert_ptr_null(cg_adam_new(NULL));
    ck_assert_ptr_null(cg_sgd_new(NULL));
    ck_assert(!cg_minimize(NULL, null));
    ck_assert(isnan(cg_optimizer_objective(NULL)));
    cg_optimizer_set_learning_rate(NULL, 1);
    cg_optimizer_free(NULL);
    ck_assert(!cg_average_add(NULL, null, 1) && isnan(cg_average_read(NULL)));
    ck_assert_ptr_null(cg_model_new(NULL));
    cg_model_free(NULL);
    ck_assert(!cg_model_save(NULL, "x") && !cg_model_load(NULL, "x"));
    ck_assert_int_eq(cg_status(cg), CG_OK);
    ck_assert(!cg_minimize(cg_adam_new(model), null));
    ERROR("the loss is a null tensor");
    ck_assert_ptr_null(cg_model_add(model, "forgotten", null));
    ERROR("forgotten: the initial value is a null tensor");
}
END_TEST

/* Layers. */

static double kernel[] = {1, 2, 3, 4, 5, 6}, bias[] = {10, 20, 30}, input[] = {1, -1, 0.5, 2};

START_TEST(dense_multiplies_and_adds)
{
    cg_dense *layer = cg_dense_new(model, "fc", 2, 3, .dtype = real());
    cg_assign(cg_dense_kernel(layer), tensor(CG_SHAPE(2, 3), kernel));
    cg_assign(cg_dense_bias(layer), tensor(CG_SHAPE(3), bias));
    ck_assert_str_eq(cg_variable_name(cg_dense_kernel(layer)), "fc/kernel");
    ck_assert_str_eq(cg_variable_name(cg_dense_bias(layer)), "fc/bias");
    double expected[6];
    for (int r = 0; r < 2; r++)
        for (int c = 0; c < 3; c++)
            expected[3 * r + c] = input[2 * r] * kernel[c] + input[2 * r + 1] * kernel[3 + c] + bias[c];
    VALUES(cg_dense_call(layer, tensor(CG_SHAPE(2, 2), input)), expected, 6);
}
END_TEST

START_TEST(dense_without_bias)
{
    cg_dense *layer = cg_dense_new(model, "fc", 2, 3, .dtype = real(), .no_bias = true);
    ck_assert_ptr_null(cg_dense_bias(layer));
    ck_assert_int_eq(cg_model_count(model), 1);
    cg_assign(cg_dense_kernel(layer), tensor(CG_SHAPE(2, 3), kernel));
    double expected[] = {-3, -3, -3};
    VALUES(cg_dense_call(layer, tensor(CG_SHAPE(1, 2), input)), expected, 3);
}
END_TEST

START_TEST(dense_defaults_are_keras)
{
    cg_dense *layer = cg_dense_new(model, "fc", 30, 20);
    float weights[600], biases[20];
    ck_assert(cg_read_floats(cg_value(cg_dense_kernel(layer)), weights, 600));
    ck_assert(cg_read_floats(cg_value(cg_dense_bias(layer)), biases, 20));
    double limit = sqrt(6.0 / 50), largest = 0;
    for (int i = 0; i < 600; i++) largest = fmax(largest, fabs(weights[i]));
    ck_assert(largest <= limit && largest > 0.98 * limit);
    for (int i = 0; i < 20; i++) ck_assert(biases[i] == 0);
}
END_TEST

START_TEST(calling_twice_shares_the_weights)
{
    cg_dense *layer = cg_dense_new(model, "fc", 2, 2, .dtype = real());
    cg_dense *shared = cg_dense_share(model, cg_dense_kernel(layer), NULL);
    double a[] = {1, 2}, b[] = {5, 7};
    cg_tensor sum = cg_add(cg_sum(cg_dense_call(layer, tensor(CG_SHAPE(1, 2), a))),
                           cg_sum(cg_dense_call(shared, tensor(CG_SHAPE(1, 2), b))));
    cg_tensor weights = cg_value(cg_dense_kernel(layer)), gradient;
    ck_assert(cg_grad(&sum, 1, &weights, 1, &gradient));
    double expected[] = {6, 6, 9, 9};
    VALUES(gradient, expected, 4);
    ck_assert_int_eq(cg_model_count(model), 2);
}
END_TEST

START_TEST(dense_reports_what_does_not_fit)
{
    ck_assert_ptr_null(cg_dense_new(model, "fc", 0, 3));
    ERROR("\"fc\" has 0 inputs");
    cg_dense *layer = cg_dense_new(model, "fc", 2, 3);
    ck_assert_ptr_null(cg_dense_share(model, cg_dense_bias(layer), NULL));
    ERROR("do not fit");
    cg_dense *wide = cg_dense_new(model, "wide", 2, 4);
    ck_assert_ptr_null(cg_dense_share(model, cg_dense_kernel(layer), cg_dense_bias(wide)));
    ERROR("do not fit");
    float x[3] = {0};
    ck_assert(cg_is_null(cg_dense_call(layer, cg_input(cg, CG_F32, CG_SHAPE(1, 3), x))));
    ERROR("fc: the input is [1,3]; its last axis must be 2");
}
END_TEST

enum { ROWS = 5, FEATURES = 3 };

static void statistics(const double *x, double *mean, double *variance)
{
    for (int f = 0; f < FEATURES; f++) {
        mean[f] = variance[f] = 0;
        for (int r = 0; r < ROWS; r++) mean[f] += x[FEATURES * r + f] / ROWS;
        for (int r = 0; r < ROWS; r++) variance[f] += pow(x[FEATURES * r + f] - mean[f], 2) / ROWS;
    }
}

static void normalize(const double *x, const double *mean, const double *variance, double *out)
{
    for (int i = 0; i < ROWS * FEATURES; i++)
        out[i] = (x[i] - mean[i % FEATURES]) / sqrt(variance[i % FEATURES] + 1e-3);
}

START_TEST(batch_norm_moves_its_averages)
{
    cg_batch_norm_layer *layer = cg_batch_norm_new(model, "bn", FEATURES, .dtype = real());
    cg_variable *moving_mean = cg_model_find(model, "bn/moving_mean");
    cg_variable *moving_variance = cg_model_find(model, "bn/moving_variance");
    ck_assert(!cg_model_is_trainable(model, moving_mean) && !cg_model_is_trainable(model, moving_variance));
    ck_assert(cg_model_is_trainable(model, cg_model_find(model, "bn/gamma")));
    double x[ROWS * FEATURES], mean[FEATURES], variance[FEATURES], expected[ROWS * FEATURES];
    double means[FEATURES] = {0, 0, 0}, variances[FEATURES] = {1, 1, 1};
    cg_training(cg, true);
    for (int step = 0; step < 3; step++) {
        for (int i = 0; i < ROWS * FEATURES; i++) x[i] = sin(i + 7 * step) * (i % FEATURES + 1) + step;
        statistics(x, mean, variance);
        for (int f = 0; f < FEATURES; f++) {
            means[f] = 0.99 * means[f] + 0.01 * mean[f];
            variances[f] = 0.99 * variances[f] + 0.01 * variance[f];
        }
        normalize(x, mean, variance, expected);
        cg_scope scope = cg_scope_begin(cg);
        VALUES(cg_batch_norm_call(layer, tensor(CG_SHAPE(ROWS, FEATURES), x)), expected, ROWS * FEATURES);
        cg_scope_end(scope);
        VALUES(cg_value(moving_mean), means, FEATURES);
        VALUES(cg_value(moving_variance), variances, FEATURES);
    }
    cg_training(cg, false);
    normalize(x, means, variances, expected);
    VALUES(cg_batch_norm_call(layer, tensor(CG_SHAPE(ROWS, FEATURES), x)), expected, ROWS * FEATURES);
    VALUES(cg_value(moving_mean), means, FEATURES);
}
END_TEST

START_TEST(batch_norm_mode_can_be_overridden)
{
    cg_batch_norm_layer *layer = cg_batch_norm_new(model, "bn", FEATURES, .dtype = real(), .momentum = CG_ZERO);
    double x[ROWS * FEATURES], mean[FEATURES], variance[FEATURES], expected[ROWS * FEATURES];
    for (int i = 0; i < ROWS * FEATURES; i++) x[i] = cos(i);
    statistics(x, mean, variance);
    normalize(x, mean, variance, expected);
    cg_tensor in = tensor(CG_SHAPE(ROWS, FEATURES), x);
    VALUES(cg_batch_norm_call(layer, in, .mode = CG_MODE_TRAINING), expected, ROWS * FEATURES);
    VALUES(cg_value(cg_model_find(model, "bn/moving_mean")), mean, FEATURES);
    cg_training(cg, true);
    VALUES(cg_batch_norm_call(layer, in, .mode = CG_MODE_INFERENCE), expected, ROWS * FEATURES);
}
END_TEST

/* (x - 2) / sqrt(1 + 3): what the variables do not change. */
START_TEST(layer_norm_normalizes_each_row)
{
    double x[] = {1, 3, 3, 1}, gamma[] = {2, 4}, beta[] = {10, 20};
    cg_layer_norm_layer *layer = cg_layer_norm_new(model, "norm", 2, .dtype = real(), .epsilon = 3);
    cg_layer_norm_layer *plain = cg_layer_norm_new(model, "plain", 2, .no_gamma = true, .no_beta = true, .epsilon = 3);
    ck_assert_int_eq(cg_model_count(model), 2);
    cg_tensor rows = tensor(CG_SHAPE(2, 2), x);
    double normal[] = {-0.5, 0.5, 0.5, -0.5}, expected[] = {9, 22, 11, 18};
    VALUES(cg_layer_norm_call(layer, rows), normal, 4);
    VALUES(cg_layer_norm_call(plain, rows), normal, 4);
    cg_assign(cg_model_find(model, "norm/gamma"), tensor(CG_SHAPE(2), gamma));
    cg_assign(cg_model_find(model, "norm/beta"), tensor(CG_SHAPE(2), beta));
    VALUES(cg_layer_norm_call(layer, rows), expected, 4);
    ck_assert(cg_is_null(cg_layer_norm_call(layer, tensor(CG_SHAPE(1, 4), x))));
    ERROR("gamma is [2], the axes normalized are [4]");
    ck_assert_ptr_null(cg_layer_norm_new(model, "norm", 2));
    ERROR("norm/gamma");
}
END_TEST

/* Initializers. */

enum { INPUTS = 200, OUTPUTS = 300, DRAWN = INPUTS * OUTPUTS };

typedef struct summary {
    double low, high, mean, variance;
} summary;

static summary summarize(cg_initializer initializer)
{
    static float values[DRAWN];
    cg_tensor drawn = cg_initial_value(cg, initializer, CG_F32, CG_SHAPE(INPUTS, OUTPUTS), INPUTS, OUTPUTS);
    ck_assert_msg(cg_read_floats(drawn, values, DRAWN), "%s", cg_message(cg));
    summary s = {INFINITY, -INFINITY, 0, 0};
    for (int i = 0; i < DRAWN; i++) {
        s.low = fmin(s.low, values[i]);
        s.high = fmax(s.high, values[i]);
        s.mean += (double)values[i] / DRAWN;
    }
    for (int i = 0; i < DRAWN; i++) s.variance += pow(values[i] - s.mean, 2) / DRAWN;
    return s;
}

/* Evenly from low..high: moments within five standard errors. */
static void check_uniform(cg_initializer initializer, double low, double high)
{
    summary s = summarize(initializer);
    double width = high - low;
    ck_assert(s.low >= low - 1e-7 && s.high <= high + 1e-7);
    ck_assert(s.low < low + 0.001 * width && s.high > high - 0.001 * width);
    ck_assert(fabs(s.mean - (low + high) / 2) < 5 * width / sqrt(12.0 * DRAWN));
    ck_assert(fabs(s.variance / (width * width / 12) - 1) < 5 * sqrt(0.8 / DRAWN));
}

static void check_normal(cg_initializer initializer, double mean, double deviation)
{
    summary s = summarize(initializer);
    ck_assert(fabs(s.mean - mean) < 5 * deviation / sqrt((double)DRAWN));
    ck_assert(fabs(s.variance / (deviation * deviation) - 1) < 5 * sqrt(2.0 / DRAWN));
    ck_assert_msg(s.high > mean + 3.2 * deviation && s.low < mean - 3.2 * deviation, "the tails are cut off");
}

START_TEST(initializers_have_their_distributions)
{
    check_uniform(CG_INVERSE_SQRT_UNIFORM, -1 / sqrt(INPUTS), 1 / sqrt(INPUTS));
    check_uniform(CG_GLOROT_UNIFORM, -sqrt(6.0 / (INPUTS + OUTPUTS)), sqrt(6.0 / (INPUTS + OUTPUTS)));
    check_uniform((cg_initializer){CG_INITIALIZER_DEFAULT, 0, 0}, -sqrt(6.0 / (INPUTS + OUTPUTS)),
                  sqrt(6.0 / (INPUTS + OUTPUTS)));
    check_uniform(cg_initializer_uniform(2, 5), 2, 5);
    check_normal(CG_HE_NORMAL, 0, sqrt(2.0 / INPUTS));
    check_normal(cg_initializer_normal(3, 0.5), 3, 0.5);
}
END_TEST

START_TEST(initializers_of_one_value)
{
    cg_initializer constant[] = {cg_initializer_constant(2.5),
                                 CG_ALL_ZEROS,
                                 CG_ALL_ONES,
                                 cg_initializer_uniform(3, 3),
                                 cg_initializer_normal(4, 0),
                                 cg_initializer_uniform(0, 0)};
    double expected[] = {2.5, 0, 1, 3, 4, 0};
    for (int i = 0; i < 6; i++) {
        summary s = summarize(constant[i]);
        ck_assert(s.low == expected[i] && s.high == expected[i]);
    }
    ck_assert(cg_is_null(cg_initial_value(cg, CG_ALL_ONES, CG_I32, CG_SHAPE(2), 1, 1)));
    ERROR("not floating");
    ck_assert(cg_is_null(cg_initial_value(cg, CG_HE_NORMAL, CG_F32, CG_SHAPE(2), 0, 1)));
    ERROR("0 inputs");
}
END_TEST

/* Losses. */

START_TEST(mean_squared_error_is_the_mean)
{
    double a[] = {1, 2, 3, 4, 5, 6}, b[] = {1.5, 0, 3, -4, 5, 9}, sum = 0;
    for (int i = 0; i < 6; i++) sum += (a[i] - b[i]) * (a[i] - b[i]);
    NEAR(cg_item(cg_mean_squared_error(tensor(CG_SHAPE(2, 3), a), tensor(CG_SHAPE(2, 3), b))), sum / 6);
    ck_assert(cg_is_null(cg_mean_squared_error(tensor(CG_SHAPE(2, 3), a), tensor(CG_SHAPE(6), b))));
    ERROR("mean_squared_error");
}
END_TEST

START_TEST(binary_cross_entropy_is_stable)
{
    double x[] = {0, 0, 0, 2, -3, 80, -80, 1e4, -1e4, 1e4}, y[] = {0, 1, 0.3, 1, 0.25, 1, 1, 0, 1, 1}, sum = 0;
    double gradient[10];
    for (int i = 0; i < 10; i++) {
        sum += fmax(x[i], 0) - x[i] * y[i] + log1p(exp(-fabs(x[i])));
        gradient[i] = (1 / (1 + exp(-x[i])) - y[i]) / 10;
    }
    cg_tensor logits = tensor(CG_SHAPE(10), x), found;
    cg_tensor loss = cg_binary_cross_entropy(logits, tensor(CG_SHAPE(10), y));
    NEAR(cg_item(loss), sum / 10);
    ck_assert(cg_grad(&loss, 1, &logits, 1, &found));
    VALUES(found, gradient, 10);
}
END_TEST

enum { SAMPLES = 4, CLASSES = 3 };
static const double scores[SAMPLES * CLASSES] = {1, 2, 3, -1000, 0, 1000, 1000, 1000, 1000, -0.5, 0.25, -0.125};
static const int32_t labels[SAMPLES] = {0, 2, 1, 1};

static double log_probability(int sample, int class)
{
    const double *x = &scores[CLASSES * sample];
    double largest = fmax(x[0], fmax(x[1], x[2])), sum = 0;
    for (int c = 0; c < CLASSES; c++) sum += exp(x[c] - largest);
    return x[class] - largest - log(sum);
}

START_TEST(sparse_cross_entropy_and_its_gradient)
{
    double expected = 0, gradient[SAMPLES * CLASSES];
    for (int s = 0; s < SAMPLES; s++) {
        expected -= log_probability(s, labels[s]) / SAMPLES;
        for (int c = 0; c < CLASSES; c++)
            gradient[CLASSES * s + c] = (exp(log_probability(s, c)) - (c == labels[s])) / SAMPLES;
    }
    cg_tensor logits = tensor(CG_SHAPE(SAMPLES, CLASSES), scores), found;
    cg_tensor loss = cg_softmax_cross_entropy(logits, cg_input(cg, CG_I32, CG_SHAPE(SAMPLES), labels));
    NEAR(cg_item(loss), expected);
    ck_assert(cg_grad(&loss, 1, &logits, 1, &found));
    VALUES(found, gradient, SAMPLES * CLASSES);
    uint8_t bytes[SAMPLES] = {0, 2, 1, 1};
    NEAR(cg_item(cg_softmax_cross_entropy(logits, cg_input(cg, CG_U8, CG_SHAPE(SAMPLES), bytes))), expected);
}
END_TEST

START_TEST(dense_cross_entropy_and_its_gradient)
{
    double target[SAMPLES * CLASSES], expected = 0, gradient[SAMPLES * CLASSES];
    for (int s = 0; s < SAMPLES; s++)
        for (int c = 0; c < CLASSES; c++) {
            double y = target[CLASSES * s + c] = (c + 1 + s % 2) / (6.0 + 3 * (s % 2));
            expected -= y * log_probability(s, c) / SAMPLES;
            gradient[CLASSES * s + c] = (exp(log_probability(s, c)) - y) / SAMPLES;
        }
    cg_tensor logits = tensor(CG_SHAPE(SAMPLES, CLASSES), scores), found;
    cg_tensor loss = cg_softmax_cross_entropy(logits, tensor(CG_SHAPE(SAMPLES, CLASSES), target));
    NEAR(cg_item(loss), expected);
    ck_assert(cg_grad(&loss, 1, &logits, 1, &found));
    VALUES(found, gradient, SAMPLES * CLASSES);
}
END_TEST

START_TEST(masked_logits_stay_finite)
{
    double x[] = {1, -INFINITY, 2};
    int32_t label = 2;
    cg_tensor logits = tensor(CG_SHAPE(1, 3), x), gradient;
    cg_tensor loss = cg_softmax_cross_entropy(logits, cg_input(cg, CG_I32, CG_SHAPE(1), &label));
    double p = exp(1) / (exp(1) + exp(2)), expected[] = {p, 0, -p};
    NEAR(cg_item(loss), -log(1 - p));
    ck_assert(cg_grad(&loss, 1, &logits, 1, &gradient));
    VALUES(gradient, expected, 3);
}
END_TEST

START_TEST(cross_entropy_reports_bad_labels)
{
    cg_tensor logits = tensor(CG_SHAPE(SAMPLES, CLASSES), scores);
    int32_t wrong[SAMPLES] = {0, 1, 3, 1};
    ck_assert(isnan(cg_item(cg_softmax_cross_entropy(logits, cg_input(cg, CG_I32, CG_SHAPE(SAMPLES), wrong)))));
    ERROR("softmax_cross_entropy labels: index 3 is out of range");
    ck_assert(cg_is_null(cg_softmax_cross_entropy(logits, cg_input(cg, CG_I32, CG_SHAPE(2), wrong))));
    ERROR("softmax_cross_entropy: ");
    float halves[SAMPLES] = {0.5f};
    ck_assert(cg_is_null(cg_softmax_cross_entropy(logits, cg_input(cg, CG_F32, CG_SHAPE(SAMPLES), halves))));
    ERROR("f32 [4]: for scores [..., classes] labels are class numbers");
    ck_assert(cg_is_null(cg_mean_squared_error(logits, cg_reshape(logits, CG_SHAPE(-1)))));
    ERROR("[12]: prediction and target must have one shape");
}
END_TEST

START_TEST(accuracy_counts_hits)
{
    cg_tensor logits = tensor(CG_SHAPE(SAMPLES, CLASSES), scores);
    NEAR(cg_item(cg_accuracy(logits, cg_input(cg, CG_I32, CG_SHAPE(SAMPLES), labels))), 0.5);
    double one_hot[] = {0, 0, 1, 0, 0, 1, 1, 0, 0, 1, 0, 0};
    NEAR(cg_item(cg_accuracy(logits, tensor(CG_SHAPE(SAMPLES, CLASSES), one_hot))), 0.75);
}
END_TEST

START_TEST(average_is_weighted)
{
    cg_average *average = cg_average_new(cg, "loss");
    ck_assert(isnan(cg_average_read(average)));
    double values[] = {1, 4, 2};
    for (int i = 0; i < 3; i++) {
        cg_scope scope = cg_scope_begin(cg);
        ck_assert(cg_average_add(average, tensor(CG_RANK0, &values[i]), i + 1));
        cg_scope_end(scope);
    }
    ck_assert_double_eq_tol(cg_average_read(average), (1 + 8 + 6) / 6.0, 1e-6);
    cg_average_reset(average);
    ck_assert(isnan(cg_average_read(average)));
    ck_assert(cg_average_add(average, tensor(CG_RANK0, &values[1]), 5));
    ck_assert_double_eq_tol(cg_average_read(average), 4, 1e-6);
    ck_assert(!cg_average_add(average, tensor(CG_SHAPE(3), values), 1));
    ERROR("\"loss\" averages scalars");
    cg_average_free(average);
}
END_TEST

/* Penalties. */

START_TEST(penalties_and_their_gradients)
{
    double w[] = {-2, 0, 0.5, 3};
    cg_penalty penalties[] = {cg_l1(0.1), cg_l2(0.2), cg_elastic(0.3, 0.4)};
    for (int k = 0; k < 3; k++) {
        double value = 0, gradient[4];
        for (int i = 0; i < 4; i++) {
            value += penalties[k].l1 * fabs(w[i]) + penalties[k].l2 * w[i] * w[i];
            gradient[i] = penalties[k].l1 * ((w[i] > 0) - (w[i] < 0)) + 2 * penalties[k].l2 * w[i];
        }
        cg_tensor weights = tensor(CG_SHAPE(4), w), found, penalty = cg_penalty_value(penalties[k], weights);
        NEAR(cg_item(penalty), value);
        ck_assert(cg_grad(&penalty, 1, &weights, 1, &found));
        VALUES(found, gradient, 4);
    }
    ck_assert(cg_is_null(cg_penalty_value((cg_penalty){0, 0}, tensor(CG_SHAPE(4), w))));
}
END_TEST

START_TEST(objective_adds_penalties_of_what_is_updated)
{
    double values[] = {1, 2};
    cg_variable *a = cg_model_add(model, "a", tensor(CG_SHAPE(2), values), .penalty = cg_l2(1));
    cg_variable *b = cg_model_add(model, "b", tensor(CG_SHAPE(2), values), .penalty = cg_l1(1));
    cg_model_add(model, "c", tensor(CG_SHAPE(2), values), .penalty = cg_l2(100), .frozen = true);
    double seven = 7;
    cg_optimizer *all = cg_sgd_new(model), *one = cg_sgd_new(model, .variables = &b, .variable_count = 1);
    NEAR(cg_item(cg_objective(all, tensor(CG_RANK0, &seven))), 7 + 5 + 3);
    NEAR(cg_item(cg_objective(one, tensor(CG_RANK0, &seven))), 7 + 3);
    cg_model_set_trainable(model, a, false);
    NEAR(cg_item(cg_objective(all, tensor(CG_RANK0, &seven))), 7 + 3);
    ck_assert(cg_is_null(cg_objective(all, tensor(CG_SHAPE(2), values))));
    ERROR("rank 0");
}
END_TEST

/* Optimizers. They minimise sum of c_i (w_i - goal_i)^2 / 2 + l2 w_i^2, whose gradient is c_i (w_i - goal_i) + 2 l2
 * w_i.
 */

enum { N = 4, STEPS = 12 };
static const double start[N] = {0.5, -1, 2, 0}, goal[N] = {1, 1, -3, 0}, curvature[N] = {1, 0.1, 2.5, 1};
static const double l2 = 0.01;

typedef struct sequence {
    double w[N], m[N], r[N], objective;
} sequence;

static double host_gradient(const sequence *s, int i)
{
    return curvature[i] * (s->w[i] - goal[i]) + 2 * l2 * s->w[i];
}

static double host_objective(const sequence *s)
{
    double sum = 0;
    for (int i = 0; i < N; i++) sum += curvature[i] * pow(s->w[i] - goal[i], 2) / 2 + l2 * s->w[i] * s->w[i];
    return sum;
}

static cg_tensor device_loss(cg_variable *w)
{
    cg_tensor difference = cg_sub(cg_value(w), tensor(CG_SHAPE(N), goal));
    cg_tensor weighted = cg_mul(tensor(CG_SHAPE(N), curvature), cg_square(difference));
    return cg_mul(cg_sum(weighted), cg_scalar(cg, 0.5));
}

typedef void (*host_step)(sequence *s, double rate, int t);

/* Steps both sides, halving the rate in the middle, and compares weights and objective each time. */
static void compare_sequences(cg_optimizer *optimizer, cg_variable *w, host_step step)
{
    sequence s = {.objective = 0};
    memcpy(s.w, start, sizeof start);
    for (int t = 1; t <= STEPS; t++) {
        if (t == STEPS / 2) cg_optimizer_set_learning_rate(optimizer, cg_optimizer_learning_rate(optimizer) / 2);
        double objective = host_objective(&s);
        step(&s, cg_optimizer_learning_rate(optimizer), t);
        cg_scope scope = cg_scope_begin(cg);
        ck_assert_msg(cg_minimize(optimizer, device_loss(w)), "%s", cg_message(cg));
        cg_scope_end(scope);
        NEAR(cg_optimizer_objective(optimizer), objective);
        VALUES(cg_value(w), s.w, N);
        ck_assert_int_eq(cg_optimizer_steps(optimizer), t);
    }
}

static cg_variable *add_weights(void)
{
    return cg_model_add(model, "w", tensor(CG_SHAPE(N), start), .penalty = cg_l2(l2));
}

static void host_sgd(sequence *s, double rate, int t)
{
    (void)t;
    for (int i = 0; i < N; i++) s->w[i] -= rate * host_gradient(s, i);
}

START_TEST(sgd_follows_its_formula)
{
    cg_variable *w = add_weights();
    cg_optimizer *optimizer = cg_sgd_new(model);
    ck_assert(cg_optimizer_learning_rate(optimizer) == 0.01);
    compare_sequences(optimizer, w, host_sgd);
}
END_TEST

static void host_momentum(sequence *s, double rate, int t)
{
    (void)t;
    for (int i = 0; i < N; i++) {
        s->m[i] = 0.9 * s->m[i] - rate * host_gradient(s, i);
        s->w[i] += s->m[i];
    }
}

START_TEST(momentum_follows_its_formula)
{
    cg_variable *w = add_weights();
    cg_optimizer *optimizer = cg_sgd_new(model, .learning_rate = 0.1, .momentum = 0.9);
    compare_sequences(optimizer, w, host_momentum);
    ck_assert_ptr_nonnull(cg_optimizer_state(optimizer, "sgd/w/v"));
}
END_TEST

static void host_adam_with(sequence *s, double rate, double beta1, double beta2, double delta)
{
    for (int i = 0; i < N; i++) {
        double g = host_gradient(s, i);
        s->m[i] = beta1 * s->m[i] + (1 - beta1) * g;
        s->r[i] = beta2 * s->r[i] + (1 - beta2) * g * g;
    }
    for (int i = 0; i < N; i++) s->w[i] -= rate * s->m[i] / (sqrt(s->r[i]) + delta);
}

static void host_adam(sequence *s, double rate, int t)
{
    host_adam_with(s, rate * sqrt(1 - pow(0.999, t)) / (1 - pow(0.9, t)), 0.9, 0.999, 1e-7);
}

START_TEST(adam_follows_its_formula)
{
    cg_variable *w = add_weights();
    cg_optimizer *optimizer = cg_adam_new(model);
    ck_assert(cg_optimizer_learning_rate(optimizer) == 0.001);
    ck_assert_ptr_null(cg_optimizer_state(optimizer, "adam/w/m"));
    compare_sequences(optimizer, w, host_adam);
    ck_assert_ptr_nonnull(cg_optimizer_state(optimizer, "adam/w/m"));
    ck_assert_ptr_nonnull(cg_optimizer_state(optimizer, "adam/w/r"));
}
END_TEST

static void host_plain_adam(sequence *s, double rate, int t)
{
    (void)t;
    host_adam_with(s, rate, 0.5, 0.75, 0.01);
}

START_TEST(adam_without_bias_correction)
{
    cg_variable *w = add_weights();
    compare_sequences(cg_adam_new(model, .learning_rate = 0.05, .beta1 = 0.5, .beta2 = 0.75, .delta = 0.01,
                                  .no_bias_correction = true),
                      w, host_plain_adam);
}
END_TEST

static void host_adam_without_momentum(sequence *s, double rate, int t)
{
    host_adam_with(s, rate * sqrt(1 - pow(0.999, t)), 0, 0.999, 1e-7);
}

START_TEST(zero_can_be_asked_for)
{
    cg_variable *w = add_weights();
    compare_sequences(cg_adam_new(model, .beta1 = CG_ZERO), w, host_adam_without_momentum);
    cg_optimizer *still = cg_sgd_new(model, .learning_rate = CG_ZERO);
    ck_assert(cg_optimizer_learning_rate(still) == 0);
}
END_TEST

START_TEST(optimizers_leave_other_variables_alone)
{
    cg_variable *a = add("a", N, start), *b = add("b", N, start);
    cg_optimizer *optimizer = cg_sgd_new(model, .variables = &b, .variable_count = 1);
    ck_assert_int_eq(cg_optimizer_count(optimizer), 1);
    ck_assert_ptr_eq(cg_optimizer_at(optimizer, 0), b);
    ck_assert(cg_minimize(optimizer, cg_add(device_loss(a), device_loss(b))));
    VALUES(cg_value(a), start, N);
    cg_optimizer *all = cg_sgd_new(model);
    cg_model_set_trainable(model, b, false);
    ck_assert_int_eq(cg_optimizer_count(all), 1);
    ck_assert_ptr_eq(cg_optimizer_at(all, 0), a);
    double before[N], after[N];
    ck_assert(cg_read_doubles(cg_value(b), before, N));
    ck_assert(fabs(before[0] - start[0]) > 1e-4);
    ck_assert(cg_minimize(all, cg_add(device_loss(a), device_loss(b))));
    ck_assert(cg_read_doubles(cg_value(b), after, N));
    ck_assert_mem_eq(before, after, sizeof before);
}
END_TEST

/* A loss that the weights have no part in: stored by an earlier scope, cut off, a metric, or about something else.
 * Penalties do not make it one that they have. Nothing changes. */
START_TEST(a_loss_without_the_weights_is_an_error)
{
    cg_variable *a = add("a", N, start), *b = add("b", N, start);
    cg_model_set_penalty(model, a, cg_l2(0.1));
    cg_optimizer *optimizer = cg_adam_new(model, .variables = &a, .variable_count = 1);
    cg_scope scope = cg_scope_begin(cg);
    cg_tensor kept = cg_keep(device_loss(a)), part = cg_keep(cg_square(cg_value(a)));
    cg_scope_end(scope);
    cg_tensor losses[] = {device_loss(b), cg_stop_gradient(device_loss(a)), kept, cg_mean(part),
                          cg_mean(cg_cast(cg_greater(cg_value(a), cg_value(b)), real()))};
    const char *const messages[] = {"minimize: the loss depends on none of the 1 variables that the optimizer updates",
                                    "minimize: the loss depends on none", "its history ended with a scope",
                                    "minimize: the loss depends on none", "minimize: the loss depends on none"};
    for (int i = 0; i < 5; i++) {
        cg_scope step = cg_scope_begin(cg);
        ck_assert(cg_minimize(optimizer, losses[i]));
        cg_scope_end(step);
        ERROR(messages[i]);
    }
    VALUES(cg_value(a), start, N);
    ck_assert(cg_minimize(optimizer, device_loss(a)));
}
END_TEST

/* A loss of more than one number is told from one of rank 0. */
START_TEST(a_loss_is_one_number)
{
    cg_variable *w = add_weights();
    ck_assert(!cg_minimize(cg_sgd_new(model), cg_square(cg_value(w))));
    ERROR("minimize: the loss is [");
}
END_TEST

START_TEST(optimizers_check_their_numbers)
{
    add_weights();
    ck_assert_ptr_null(cg_sgd_new(model, .learning_rate = -1));
    ERROR("sgd: the learning rate is -1; it must be finite and at least 0");
    ck_assert_ptr_null(cg_sgd_new(model, .learning_rate = NAN));
    ERROR("sgd: the learning rate is nan");
    ck_assert_ptr_null(cg_sgd_new(model, .momentum = 1));
    ERROR("sgd: momentum is 1; it must be at least 0 and less than 1");
    ck_assert_ptr_null(cg_adam_new(model, .learning_rate = INFINITY));
    ERROR("adam: the learning rate is inf");
    ck_assert_ptr_null(cg_adam_new(model, .beta1 = 3));
    ERROR("adam: beta1 is 3; it must be at least 0 and less than 1");
    ck_assert_ptr_null(cg_adam_new(model, .beta2 = -0.5));
    ERROR("adam: beta2 is -0.5");
    ck_assert_ptr_null(cg_adam_new(model, .delta = -1e-3));
    ERROR("adam: delta is -0.001; it must be finite and at least 0");
    cg_optimizer *optimizer = cg_sgd_new(model, .learning_rate = 0.5);
    cg_optimizer_set_learning_rate(optimizer, -2);
    ERROR("sgd: the learning rate is -2");
    ck_assert(cg_optimizer_learning_rate(optimizer) == 0.5);
}
END_TEST

START_TEST(the_three_parts_are_minimize)
{
    cg_variable *w = add_weights();
    cg_optimizer *whole = cg_adam_new(model), *parts = cg_adam_new(model);
    double expected[N];
    ck_assert(cg_minimize(whole, device_loss(w)) && cg_read_doubles(cg_value(w), expected, N));
    cg_assign(w, tensor(CG_SHAPE(N), start));
    cg_tensor objective = cg_objective(parts, device_loss(w)), value = cg_value(w), gradient;
    ck_assert(cg_grad(&objective, 1, &value, 1, &gradient) && cg_apply_gradients(parts, &gradient));
    VALUES(cg_value(w), expected, N);
}
END_TEST

START_TEST(updates_report_what_does_not_fit)
{
    double one = 1;
    cg_tensor w = tensor(CG_SHAPE(N), start), g = tensor(CG_SHAPE(2), start), rate = tensor(CG_RANK0, &one);
    ck_assert(cg_is_null(cg_sgd_update(w, g, rate)));
    ERROR("sgd_update: ");
    ck_assert(cg_is_null(cg_momentum_update(w, w, g, rate, rate).v));
    ERROR("momentum_update: ");
    cg_adam_numbers numbers = cg_adam_numbers_at(cg, rate, 0.9, 0.999, 1e-7, 1);
    ck_assert(cg_is_null(cg_adam_update(w, w, g, w, &numbers).m));
    ERROR("adam_update: ");
    ck_assert(cg_is_null(cg_sgd_update(w, w, w)));
    ERROR("number");
}
END_TEST

/* The weights after two steps on sum c w^2 / 2, as a function of the rate: w (1 - rate c)^2. */
START_TEST(updates_can_be_differentiated_through)
{
    double rate_value = 0.3, expected = 0;
    cg_tensor rate = tensor(CG_RANK0, &rate_value), w = tensor(CG_SHAPE(N), start), derivative;
    cg_tensor c = tensor(CG_SHAPE(N), curvature);
    for (int step = 0; step < 2; step++) {
        cg_tensor loss = cg_mul(cg_scalar(cg, 0.5), cg_sum(cg_mul(c, cg_square(w)))), gradient;
        ck_assert(cg_grad(&loss, 1, &w, 1, &gradient));
        w = cg_sgd_update(w, gradient, rate);
    }
    cg_tensor sum = cg_sum(w);
    ck_assert(cg_grad(&sum, 1, &rate, 1, &derivative));
    for (int i = 0; i < N; i++) expected += start[i] * 2 * (1 - rate_value * curvature[i]) * -curvature[i];
    NEAR(cg_item(derivative), expected);
}
END_TEST

/* The first step makes state and the reset a new sum, which makes other plans, but of the same kernels. */
START_TEST(training_steps_share_plans_and_kernels)
{
    cg_dense *fc1 = cg_dense_new(model, "fc1", 6, 5), *fc2 = cg_dense_new(model, "fc2", 5, 3);
    cg_optimizer *optimizer = cg_adam_new(model);
    cg_average *average = cg_average_new(cg, "loss");
    float x[12] = {1, 2, 3};
    int32_t y[2] = {0, 2};
    cg_tensor images = cg_input(cg, CG_F32, CG_SHAPE(2, 6), x), classes = cg_input(cg, CG_I32, CG_SHAPE(2), y);
    cg_counters counters[6];
    cg_flush(cg);
    for (int step = 0; step < 6; step++) {
        if (step == 5) cg_average_reset(average);
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor loss = cg_softmax_cross_entropy(cg_dense_call(fc2, cg_relu(cg_dense_call(fc1, images))), classes);
        cg_average_add(average, loss, 2);
        ck_assert_msg(cg_minimize(optimizer, loss), "%s", cg_message(cg));
        cg_scope_end(scope);
        counters[step] = cg_counters_get(cg);
    }
    ck_assert_int_eq(counters[4].plans_made, counters[1].plans_made);
    ck_assert_int_eq(counters[5].kernels_built, counters[0].kernels_built);
    ck_assert_int_eq(counters[5].used_bytes, counters[0].used_bytes);
    ck_assert_int_eq(cg_status(cg), CG_OK);
    cg_average_free(average);
}
END_TEST

/* The display. */

static char *read_all(FILE *file)
{
    static char text[65536];
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    return text;
}

START_TEST(progress_writes_plain_lines_to_a_file)
{
    FILE *file = tmpfile();
    double quarter = 0.25;
    cg_average *average = cg_average_new(cg, "loss");
    cg_average_add(average, tensor(CG_RANK0, &quarter), 1);
    cg_progress *progress = cg_progress_new(cg, 2, 100, .file = file, .unit = "rows", .interval = CG_ZERO);
    for (int epoch = 0; epoch < 2; epoch++) {
        cg_progress_begin(progress);
        cg_progress_step(progress, 40, average, average);
        cg_progress_step(progress, 60, average, NULL);
        cg_progress_end(progress, "validated %d", epoch);
    }
    ck_assert(cg_progress_rate(progress) > 0 && cg_progress_seconds(progress) > 0);
    char *text = read_all(file);
    ck_assert_ptr_nonnull(strstr(text, "epoch  1/2  40 %  loss 0.2500  accuracy 25.00 %"));
    ck_assert_ptr_nonnull(strstr(text, "rows/s"));
    ck_assert_ptr_nonnull(strstr(text, " left\n"));
    ck_assert_ptr_nonnull(strstr(text, "epoch  2/2  validated 1"));
    ck_assert_ptr_null(strchr(text, '\r'));
    cg_progress_free(progress);
    cg_average_free(average);
    fclose(file);
}
END_TEST

static const cg_series series[] = {{"train <a&b>", "loss"}, {"test", "loss"}, {"hits", "accuracy"}};

static cg_curves *make_curves(void)
{
    cg_curves *curves = cg_curves_new(cg, "epoch", series, 3);
    for (int i = 1; i <= 100; i++) {
        double values[] = {1.0 / i, i == 50 ? NAN : 2.0 / i, 0.5};
        ck_assert(cg_curves_add(curves, i, values));
    }
    return curves;
}

START_TEST(curves_make_a_table)
{
    cg_curves *curves = make_curves();
    FILE *file = tmpfile();
    cg_curves_table(curves, file);
    char *text = read_all(file), *second = strchr(text, '\n') + 1;
    ck_assert_ptr_eq(strstr(text, "     epoch  train <a&b>        test        hits\n"), text);
    ck_assert_ptr_eq(strstr(second, "         1            1           2         0.5\n"), second);
    fclose(file);
    cg_curves_free(curves);
}
END_TEST

START_TEST(curves_make_an_svg)
{
    char folder[64], path[96];
    make_temporary_folder(folder, sizeof folder);
    snprintf(path, sizeof path, "%s/curves.svg", folder);
    cg_curves *curves = make_curves();
    ck_assert_msg(cg_curves_svg(curves, path), "%s", cg_message(cg));
    FILE *file = fopen(path, "r");
    char *text = read_all(file);
    fclose(file);
    ck_assert_ptr_eq(strstr(text, "<svg "), text);
    ck_assert_ptr_nonnull(strstr(text, "</svg>\n"));
    ck_assert_ptr_nonnull(strstr(text, "train &lt;a&amp;b>"));
    ck_assert_ptr_nonnull(strstr(text, ">accuracy</text>"));
    ck_assert_ptr_null(strstr(text, "nan"));
    unlink(path);
    ck_assert_msg(rmdir(folder) == 0, "something else was left in the folder");
    ck_assert(!cg_curves_svg(curves, path));
    ERROR(path);
    cg_curves_free(curves);
}
END_TEST

/* How far down in a drawing a text stands. */
static int depth_of(const char *svg, const char *text)
{
    const char *at = strstr(svg, text);
    int depth = -1;
    while (at && at > svg && strncmp(at, "<text", 5)) at--;
    if (at) sscanf(at, "<text x=\"%*d\" y=\"%d\"", &depth);
    return depth;
}

START_TEST(curves_draw_crowded_values_as_lines)
{
    char folder[64], path[96];
    make_temporary_folder(folder, sizeof folder);
    snprintf(path, sizeof path, "%s/curves.svg", folder);
    const cg_series both[] = {{"rising line", "left"}, {"falling dots", "right"}};
    cg_curves *curves = cg_curves_new(cg, "x", both, 2);
    for (int i = 0; i <= 100; i++) cg_curves_add(curves, i, (double[]){i, i % 25 ? NAN : 100 - i});
    ck_assert_msg(cg_curves_svg(curves, path), "%s", cg_message(cg));
    FILE *file = fopen(path, "r");
    char *text = read_all(file);
    fclose(file);
    int dots = 0;
    for (const char *at = text; (at = strstr(at, "<circle")); at++) dots++;
    ck_assert_int_eq(dots, 5);
    ck_assert_int_gt(depth_of(text, ">falling dots<"), 0);
    ck_assert_int_gt(depth_of(text, ">rising line<"), depth_of(text, ">falling dots<")); /* out of the way */
    unlink(path);
    rmdir(folder);
    cg_curves_free(curves);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("nn");
    TCase *cases = tcase_create("nn");
    tcase_add_checked_fixture(cases, open_context, close_context);
    tcase_add_test(cases, model_finds_its_variables);
    tcase_add_test(cases, duplicate_name_is_an_error);
    tcase_add_test(cases, trainable_and_penalty_are_per_variable);
    tcase_add_test(cases, null_passes_through);
    tcase_add_test(cases, dense_multiplies_and_adds);
    tcase_add_test(cases, dense_without_bias);
    tcase_add_test(cases, dense_defaults_are_keras);
    tcase_add_test(cases, calling_twice_shares_the_weights);
    tcase_add_test(cases, dense_reports_what_does_not_fit);
    tcase_add_test(cases, batch_norm_moves_its_averages);
    tcase_add_test(cases, batch_norm_mode_can_be_overridden);
    tcase_add_test(cases, layer_norm_normalizes_each_row);
    tcase_add_test(cases, initializers_have_their_distributions);
    tcase_add_test(cases, initializers_of_one_value);
    tcase_add_test(cases, mean_squared_error_is_the_mean);
    tcase_add_test(cases, binary_cross_entropy_is_stable);
    tcase_add_test(cases, sparse_cross_entropy_and_its_gradient);
    tcase_add_test(cases, dense_cross_entropy_and_its_gradient);
    tcase_add_test(cases, masked_logits_stay_finite);
    tcase_add_test(cases, cross_entropy_reports_bad_labels);
    tcase_add_test(cases, accuracy_counts_hits);
    tcase_add_test(cases, average_is_weighted);
    tcase_add_test(cases, penalties_and_their_gradients);
    tcase_add_test(cases, objective_adds_penalties_of_what_is_updated);
    tcase_add_test(cases, sgd_follows_its_formula);
    tcase_add_test(cases, momentum_follows_its_formula);
    tcase_add_test(cases, adam_follows_its_formula);
    tcase_add_test(cases, adam_without_bias_correction);
    tcase_add_test(cases, zero_can_be_asked_for);
    tcase_add_test(cases, optimizers_leave_other_variables_alone);
    tcase_add_test(cases, a_loss_without_the_weights_is_an_error);
    tcase_add_test(cases, a_loss_is_one_number);
    tcase_add_test(cases, optimizers_check_their_numbers);
    tcase_add_test(cases, the_three_parts_are_minimize);
    tcase_add_test(cases, updates_report_what_does_not_fit);
    tcase_add_test(cases, updates_can_be_differentiated_through);
    tcase_add_test(cases, training_steps_share_plans_and_kernels);
    tcase_add_test(cases, progress_writes_plain_lines_to_a_file);
    tcase_add_test(cases, curves_make_a_table);
    tcase_add_test(cases, curves_make_an_svg);
    tcase_add_test(cases, curves_draw_crowded_values_as_lines);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}

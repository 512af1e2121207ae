/* Tests the dropout family by its properties: how much is dropped, what is dropped together, what is kept, that forward
 * and backward share what was drawn, and that modes, keys and rates do as the headers say. */
#include "op_support.h"

#include <clgrad/dropout.h>

enum { IMAGES = 200, CHANNELS = 50, PLACES = 6, UNITS = IMAGES * CHANNELS, ALL = UNITS * PLACES };

static cg_tensor images(double value)
{
    return cg_full(cg, CG_SHAPE(IMAGES, CHANNELS, 2, 3), value);
}

/* Of `count` draws with a probability, the share that came true: within five standard errors. */
static void expect_share(double found, double probability, int count, const char *what)
{
    ck_assert_msg(fabs(found - probability) <= 5 * sqrt(probability * (1 - probability) / count),
                  "%s: a share of %g, not %g", what, found, probability);
}

/* The share of zeros among blocks of `together` neighbours, which are all 0 or all `kept`. */
static double share_dropped(array y, int together, double kept, const char *what)
{
    int dropped = 0;
    for (int64_t i = 0; i < y.count; i++) {
        const double first = y.at[i / together * together];
        ck_assert_msg(first == 0 || close_to(first, kept, 1e-6, 0), "%s: %g is neither 0 nor %g", what, first, kept);
        ck_assert_msg(y.at[i] == first, "%s: %g and %g together", what, first, y.at[i]);
        dropped += i % together == 0 && first == 0;
    }
    return (double)dropped * together / (double)y.count;
}

/* ---- What is dropped, and together with what --------------------------------------------------------------------- */

static cg_tensor elements(cg_tensor x, double rate, cg_mode mode)
{
    return cg_dropout(x, .rate = rate, .mode = mode);
}

static cg_tensor channels(cg_tensor x, double rate, cg_mode mode)
{
    return cg_spatial_dropout(x, .rate = rate, .mode = mode);
}

static cg_tensor examples(cg_tensor x, double rate, cg_mode mode)
{
    return cg_stochastic_depth(x, .rate = rate, .mode = mode);
}

static cg_tensor weights(cg_tensor x, double rate, cg_mode mode)
{
    return cg_drop_connect(x, .rate = rate, .mode = mode);
}

static cg_tensor shaped(cg_tensor x, double rate, cg_mode mode)
{
    return cg_dropout(x, .rate = rate, .mode = mode, .noise_shape = CG_SHAPE(IMAGES, CHANNELS, 2, 1));
}

static cg_tensor alpha(cg_tensor x, double rate, cg_mode mode)
{
    return cg_alpha_dropout(x, .rate = rate, .mode = mode);
}

static cg_tensor gaussian(cg_tensor x, double rate, cg_mode mode)
{
    return cg_gaussian_dropout(x, .rate = rate, .mode = mode);
}

static cg_tensor noise(cg_tensor x, double rate, cg_mode mode)
{
    return cg_gaussian_noise(x, rate, .mode = mode);
}

static const struct {
    const char *name;
    cg_tensor (*call)(cg_tensor x, double rate, cg_mode mode);
    int together; /* elements with one fate; 0: none is set to 0 */
} kinds[] = {
    {"dropout", elements, 1},
    {"spatial_dropout", channels, PLACES},
    {"stochastic_depth", examples, CHANNELS *PLACES},
    {"drop_connect", weights, 1},
    {"noise_shape", shaped, 3},
    {"alpha_dropout", alpha, 0},
    {"gaussian_dropout", gaussian, 0},
    {"gaussian_noise", noise, 0},
};
enum { KINDS = sizeof kinds / sizeof *kinds, DROPPING = 5 };

/* Scaled so that the mean stays; the gradient is the mask, scaled. */
START_TEST(drops_its_share)
{
    const double rates[] = {0.1, 0.5, 0.85};
    for (int r = 0; r < 3; r++) {
        cg_tensor x = images(4), y = kinds[_i].call(x, rates[r], CG_MODE_TRAINING);
        array values = array_read(y), mask = array_read(gradient_of(y, no_tensor, x));
        const double share = share_dropped(values, kinds[_i].together, 4 / (1 - rates[r]), kinds[_i].name);
        expect_share(share, rates[r], ALL / kinds[_i].together, kinds[_i].name);
        for (int i = 0; i < ALL; i++) ck_assert(close_to(values.at[i], 4 * mask.at[i], 1e-6, 0));
    }
    expect_array(kinds[_i].call(images(4), 0, CG_MODE_TRAINING), array_read(images(4)));
    expect_array(kinds[_i].call(images(4), 1, CG_MODE_TRAINING), array_new(CG_F32, CG_SHAPE(IMAGES, CHANNELS, 2, 3)));
}
END_TEST

/* The fates of neighbours have nothing to do with each other: pairs are both dropped as often as chance has it. */
START_TEST(drops_independently)
{
    const int together = kinds[_i].together, blocks = ALL / together;
    array y = array_read(kinds[_i].call(images(1), 0.5, CG_MODE_TRAINING));
    int both = 0;
    for (int i = 0; i + 1 < blocks; i += 2) both += y.at[i * together] == 0 && y.at[(i + 1) * together] == 0;
    expect_share((double)both / (blocks / 2), 0.25, blocks / 2, kinds[_i].name);
}
END_TEST

/* 1D, 2D and 3D, channels second or last. */
START_TEST(spatial_dropout_of_any_rank)
{
    const cg_shape shapes[] = {CG_SHAPE(20, 30, 4), CG_SHAPE(20, 30, 2, 3), CG_SHAPE(20, 30, 2, 2, 2),
                               CG_SHAPE(20, 30)};
    for (int i = 0; i < 4; i++) {
        const int places = (int)(cg_shape_size(shapes[i]) / 600);
        cg_tensor x = cg_ones(cg, shapes[i]);
        array y = array_read(cg_spatial_dropout(x, .rate = 0.25, .mode = CG_MODE_TRAINING));
        expect_share(share_dropped(y, places, 1 / 0.75, "channels second"), 0.25, 600, "channels second");
    }
    cg_tensor last = cg_spatial_dropout(cg_ones(cg, CG_SHAPE(20, 7, 30)), .rate = 0.25, .mode = CG_MODE_TRAINING,
                                        .axis = -1);
    array y = array_read(cg_permute(last, CG_AXES(0, 2, 1)));
    expect_share(share_dropped(y, 7, 1 / 0.75, "channels last"), 0.25, 600, "channels last");
}
END_TEST

/* One fate for the whole batch. */
START_TEST(noise_of_one)
{
    int dropped = 0;
    for (int i = 0; i < 400; i++) {
        cg_tensor y = cg_dropout(cg_ones(cg, CG_SHAPE(3, 4)), .rate = 0.3, .mode = CG_MODE_TRAINING,
                                 .noise_shape = CG_SHAPE(1, 1));
        dropped += share_dropped(array_read(y), 12, 1 / 0.7, "noise of one") == 1;
    }
    expect_share(dropped / 400.0, 0.3, 400, "noise of one");
}
END_TEST

/* ---- Alpha dropout ----------------------------------------------------------------------------------------------- */

typedef struct moments {
    double mean, variance;
} moments;

static moments moments_of(array y)
{
    moments m = {0};
    for (int64_t i = 0; i < y.count; i++) m.mean += y.at[i] / (double)y.count;
    for (int64_t i = 0; i < y.count; i++) m.variance += pow(y.at[i] - m.mean, 2) / (double)y.count;
    return m;
}

/* Klambauer et al.: a = (q + alpha'^2 q (1 - q))^-1/2, b = -a (1 - q) alpha', for q kept; so normal numbers keep their
 * mean and variance. */
START_TEST(alpha_dropout_keeps_moments)
{
    const double low = -1.0507009873554805 * 1.6732632423543772, rate = 0.2, q = 1 - rate;
    const double a = 1 / sqrt(q + low * low * q * (1 - q)), b = -a * (1 - q) * low;
    cg_tensor x = cg_normal(cg, CG_SHAPE(ALL)), y = cg_alpha_dropout(x, .rate = rate, .mode = CG_MODE_TRAINING);
    array in = array_read(x), out = array_read(y), slope = array_read(gradient_of(y, no_tensor, x));
    int dropped = 0;
    for (int i = 0; i < ALL; i++) {
        const bool kept = slope.at[i] != 0;
        ck_assert(close_to(slope.at[i], kept ? a : 0, 1e-6, 0));
        ck_assert(close_to(out.at[i], a * (kept ? in.at[i] : low) + b, 0, 1e-6));
        dropped += !kept;
    }
    expect_share((double)dropped / ALL, rate, ALL, "alpha_dropout");
    const moments m = moments_of(out);
    ck_assert_msg(fabs(m.mean) < 5 / sqrt(ALL) && fabs(m.variance - 1) < 5 * sqrt(2.0 / ALL), "mean %g, variance %g",
                  m.mean, m.variance);
    expect_array(cg_alpha_dropout(x, .rate = 0, .mode = CG_MODE_TRAINING), in);
    expect_array(cg_alpha_dropout(x, .rate = 1, .mode = CG_MODE_TRAINING), array_new(CG_F32, in.shape));
}
END_TEST

START_TEST(alpha_dropout_of_channels)
{
    cg_tensor x = images(1);
    array y = array_read(cg_alpha_dropout(x, .rate = 0.4, .mode = CG_MODE_TRAINING, .whole_channels = true));
    int dropped = 0;
    for (int i = 0; i < ALL; i++) {
        ck_assert(y.at[i] == y.at[i / PLACES * PLACES]);
        dropped += i % PLACES == 0 && y.at[i] < 0;
    }
    expect_share((double)dropped / UNITS, 0.4, UNITS, "alpha_dropout of channels");
}
END_TEST

/* ---- Gaussian noise ---------------------------------------------------------------------------------------------- */

static void expect_moments(array y, double mean, double deviation)
{
    const moments m = moments_of(y);
    const double n = (double)y.count, variance = deviation * deviation;
    ck_assert_msg(fabs(m.mean - mean) < 5 * deviation / sqrt(n) &&
                      fabs(m.variance - variance) < 5 * variance * sqrt(2 / n),
                  "mean %g, variance %g, not %g and %g", m.mean, m.variance, mean, variance);
}

START_TEST(gaussian_moments)
{
    cg_tensor x = images(3), y = cg_gaussian_dropout(x, .rate = 0.2, .mode = CG_MODE_TRAINING);
    array factors = array_read(gradient_of(y, no_tensor, x)), values = array_read(y);
    expect_moments(factors, 1, 0.5); /* sqrt(0.2 / 0.8) */
    for (int i = 0; i < ALL; i++) ck_assert(close_to(values.at[i], 3 * factors.at[i], 1e-6, 1e-6));
    cg_tensor z = cg_gaussian_noise(x, 0.25, .mode = CG_MODE_TRAINING);
    expect_moments(array_read(z), 3, 0.25);
    expect_array(gradient_of(z, no_tensor, x), array_read(images(1)));
    expect_array(cg_gaussian_dropout(x, .rate = 0, .mode = CG_MODE_TRAINING), array_read(x));
}
END_TEST

/* ---- Modes and keys ---------------------------------------------------------------------------------------------- */

/* Outside training the input, and no number is used up; the context's mode, and each call's. */
START_TEST(modes)
{
    cg_tensor x = images(2);
    array in = array_read(x);
    const uint64_t number = cg_random_get(cg);
    expect_array(kinds[_i].call(x, 0.5, CG_MODE_CONTEXT), in);
    ck_assert_uint_eq(cg_random_get(cg), number);
    cg_training(cg, true);
    expect_array(kinds[_i].call(x, 0.5, CG_MODE_INFERENCE), in);
    ck_assert_uint_eq(cg_random_get(cg), number);
    array first = array_read(kinds[_i].call(x, 0.5, CG_MODE_CONTEXT)),
          second = array_read(kinds[_i].call(x, 0.5, CG_MODE_CONTEXT));
    ck_assert_mem_ne(first.at, in.at, ALL * sizeof *in.at);
    ck_assert_mem_ne(first.at, second.at, ALL * sizeof *in.at);
    ck_assert_uint_eq(cg_random_get(cg), number + 2);
    cg_random_set(cg, number);
    cg_training(cg, false);
    array again = array_read(kinds[_i].call(x, 0.5, CG_MODE_TRAINING)); /* at test time */
    ck_assert_mem_eq(first.at, again.at, ALL * sizeof *in.at);
}
END_TEST

START_TEST(keys)
{
    cg_tensor x = images(2);
#define SAME_FOR_ONE_KEY(call) \
    do { \
        array first = array_read(call), again = array_read(call); \
        ck_assert_mem_eq(first.at, again.at, ALL * sizeof *first.at); \
    } while (0)
    SAME_FOR_ONE_KEY(cg_spatial_dropout(x, .rate = 0.5, .mode = CG_MODE_TRAINING, .key = 3, .has_key = true));
    SAME_FOR_ONE_KEY(cg_stochastic_depth(x, .rate = 0.5, .mode = CG_MODE_TRAINING, .key = 3, .has_key = true));
    SAME_FOR_ONE_KEY(cg_drop_connect(x, .rate = 0.5, .mode = CG_MODE_TRAINING, .key = 3, .has_key = true));
    SAME_FOR_ONE_KEY(cg_alpha_dropout(x, .rate = 0.5, .mode = CG_MODE_TRAINING, .key = 3, .has_key = true));
    SAME_FOR_ONE_KEY(cg_gaussian_dropout(x, .rate = 0.5, .mode = CG_MODE_TRAINING, .key = 3, .has_key = true));
    SAME_FOR_ONE_KEY(cg_gaussian_noise(x, 1, .mode = CG_MODE_TRAINING, .key = 3, .has_key = true));
}
END_TEST

/* The second derivative sees the mask of the first: of sum y^3 with y = mask x it is 6 mask^3 x. */
START_TEST(second_derivatives_share_the_mask)
{
    cg_tensor x = images(2), y = cg_spatial_dropout(x, .rate = 0.5, .mode = CG_MODE_TRAINING);
    cg_tensor first = gradient_of(cg_mul(y, cg_square(y)), no_tensor, x);
    array second = array_read(gradient_of(first, no_tensor, x)), values = array_read(y);
    for (int i = 0; i < ALL; i++) ck_assert(close_to(second.at[i], values.at[i] == 0 ? 0 : 6 * 8 * 2, 1e-6, 0));
}
END_TEST

/* ---- Errors ------------------------------------------------------------------------------------------------------ */

START_TEST(errors)
{
    cg_tensor x = cg_ones(cg, CG_SHAPE(2, 3)), whole = cg_cast(x, CG_I32), scalar = cg_ones(cg, CG_RANK0);
    expect_error(cg_spatial_dropout(x, .rate = 1.5), "spatial_dropout: the rate 1.5 is outside [0, 1]");
    expect_error(cg_spatial_dropout(x, .rate = NAN), "spatial_dropout: the rate nan is outside [0, 1]");
    expect_error(cg_spatial_dropout(x, .rate = 0.5, .axis = 2), "spatial_dropout: [2,3] has no axis 2");
    expect_error(cg_spatial_dropout(x, .rate = 0.5, .axis = -2),
                 "spatial_dropout: the first axis of [2,3] is the batch, not channels");
    expect_error(cg_stochastic_depth(x, .rate = -0.5), "stochastic_depth: the rate -0.5 is outside [0, 1]");
    expect_error(cg_stochastic_depth(scalar, .rate = 0.5), "stochastic_depth: [] has no batch");
    expect_error(cg_drop_connect(whole, .rate = 0.5), "drop_connect: i32 cannot be scaled");
    expect_error(cg_alpha_dropout(x, .rate = 2), "alpha_dropout: the rate 2 is outside [0, 1]");
    expect_error(cg_alpha_dropout(whole, .rate = 0.5), "alpha_dropout: i32 cannot be scaled");
    expect_error(cg_alpha_dropout(scalar, .rate = 0.5, .whole_channels = true), "alpha_dropout: [] has no axis 1");
    expect_error(cg_gaussian_dropout(x, .rate = 1), "gaussian_dropout: the rate 1 is outside [0, 1)");
    expect_error(cg_gaussian_noise(x, -1), "gaussian_noise: the deviation is -1; it must be finite and at least 0");
    expect_error(cg_gaussian_noise(whole, 1), "gaussian_noise: i32 cannot be scaled");
    expect_error(cg_dropout(x, .rate = 0.5, .noise_shape = CG_SHAPE(2, 2)),
                 "dropout: what is drawn has shape [2,2], which does not broadcast to [2,3]");
    expect_error(cg_dropout(x, .rate = 0.5, .noise_shape = CG_SHAPE(3)),
                 "dropout: what is drawn has shape [3], which does not broadcast to [2,3]");
    for (int i = 0; i < KINDS; i++) ck_assert(cg_is_null(kinds[i].call(no_tensor, 0.5, CG_MODE_TRAINING)));
    ck_assert_int_eq(cg_status(cg), CG_OK);
}
END_TEST

/* ---- The suite --------------------------------------------------------------------------------------------------- */

static TCase *dropout_cases(void)
{
    TCase *tests = tcase_create("the dropout family");
    tcase_add_checked_fixture(tests, open_context, close_context);
    tcase_add_loop_test(tests, drops_its_share, 0, DROPPING);
    tcase_add_loop_test(tests, drops_independently, 0, DROPPING);
    tcase_add_test(tests, spatial_dropout_of_any_rank);
    tcase_add_test(tests, noise_of_one);
    tcase_add_test(tests, alpha_dropout_keeps_moments);
    tcase_add_test(tests, alpha_dropout_of_channels);
    tcase_add_test(tests, gaussian_moments);
    tcase_add_loop_test(tests, modes, 0, KINDS);
    tcase_add_test(tests, keys);
    tcase_add_test(tests, second_derivatives_share_the_mask);
    tcase_add_test(tests, errors);
    return tests;
}

int main(void)
{
    Suite *suite = suite_create("the dropout family");
    suite_add_tcase(suite, dropout_cases());
    return run_suite(suite);
}

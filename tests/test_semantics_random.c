/* Random numbers: a pure function of seed, number of the call and position, by Philox 4x32-10, which is written here a
 * second time and held against published answers. And training mode, which decides whether dropout draws any. */
#include "semantics_support.h"

/* ---- Philox on the host ------------------------------------------------------------------------------------------ */

typedef struct words {
    uint32_t at[4];
} words;

static words philox(words counter, uint32_t key0, uint32_t key1)
{
    words x = counter;
    for (int round = 0; round < 10; round++) {
        const uint64_t a = (uint64_t)0xD2511F53U * x.at[0], b = (uint64_t)0xCD9E8D57U * x.at[2];
        x = (words){
            {(uint32_t)(b >> 32) ^ x.at[1] ^ key0, (uint32_t)b, (uint32_t)(a >> 32) ^ x.at[3] ^ key1, (uint32_t)a}};
        key0 += 0x9E3779B9U;
        key1 += 0xBB67AE85U;
    }
    return x;
}

static words block_of(uint64_t seed, uint64_t number, uint32_t block, uint32_t kind)
{
    const words counter = {{block, (uint32_t)number, (uint32_t)(number >> 32), kind}};
    return philox(counter, (uint32_t)seed, (uint32_t)(seed >> 32));
}

/* What position `i` of a uniform draw holds: a multiple of 2^-24. */
static double uniform_at(uint64_t seed, uint64_t number, uint32_t i)
{
    return (block_of(seed, number, i >> 2, 0).at[i & 3] >> 8) * 0x1p-24;
}

/* Box and Muller's transformation in double. */
static double normal_at(uint64_t seed, uint64_t number, uint32_t i)
{
    const words w = block_of(seed, number, i, 1);
    const double u = ((w.at[0] >> 8) + 1.0) * 0x1p-24, v = (w.at[1] >> 8) * 0x1p-24;
    return sqrt(-2 * log(u)) * cos(2 * acos(-1.0) * v);
}

/* The answers that the authors of Philox publish with their implementation. */
START_TEST(philox_gives_the_published_answers)
{
    static const struct {
        words counter;
        uint32_t key[2];
        words answer;
    } known[] = {
        {{{0, 0, 0, 0}}, {0, 0}, {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}}},
        {{{~0U, ~0U, ~0U, ~0U}}, {~0U, ~0U}, {{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}}},
        {{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}},
         {0xa4093822, 0x299f31d0},
         {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}},
    };
    for (int i = 0; i < 3; i++) {
        const words found = philox(known[i].counter, known[i].key[0], known[i].key[1]);
        for (int k = 0; k < 4; k++) ck_assert_uint_eq(found.at[k], known[i].answer.at[k]);
    }
}
END_TEST

/* ---- On the device ----------------------------------------------------------------------------------------------- */

enum { COUNT = 10007 };
static float found[COUNT], again[COUNT];

static const uint64_t seeds[] = {0, 1, 0x123456789abcdef0, ~UINT64_C(0)};
static const uint64_t keys[] = {0, 5, UINT64_C(1) << 32 | 7, ~UINT64_C(0)};

/* The first of the published answers is what seed 0 and number 0 give. */
START_TEST(the_first_draw_is_the_published_answer)
{
    ck_assert(cg_read_floats(cg_uniform(cg, CG_SHAPE(4)), found, 4));
    const uint32_t answer[] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
    for (int i = 0; i < 4; i++) ck_assert_double_eq((double)found[i], (answer[i] >> 8) * 0x1p-24);
}
END_TEST

/* Uniform numbers are the same bits on every device, for every seed and number of up to 64 bits. */
START_TEST(uniform_is_philox_bit_for_bit)
{
    for (int k = 0; k < 4; k++) {
        cg_seed(cg, seeds[k]);
        ck_assert(cg_read_floats(cg_uniform(cg, CG_SHAPE(COUNT), .key = keys[k], .has_key = true), found, COUNT));
        for (uint32_t i = 0; i < COUNT; i++) ck_assert_double_eq((double)found[i], uniform_at(seeds[k], keys[k], i));
    }
}
END_TEST

/* So are Bernoulli numbers: 1 where the uniform number lies below the probability. */
START_TEST(bernoulli_is_philox_bit_for_bit)
{
    cg_seed(cg, 9);
    ck_assert(cg_read_floats(cg_bernoulli(cg, CG_SHAPE(COUNT), 0.3, .key = 4, .has_key = true), found, COUNT));
    for (uint32_t i = 0; i < COUNT; i++) ck_assert_int_eq(found[i] == 1, uniform_at(9, 4, i) < (double)0.3F);
}
END_TEST

/* Normal numbers are within 1e-6 of those computed in double. */
START_TEST(normal_is_within_a_millionth)
{
    for (int k = 0; k < 4; k++) {
        cg_seed(cg, seeds[k]);
        ck_assert(cg_read_floats(cg_normal(cg, CG_SHAPE(COUNT), .key = keys[k], .has_key = true), found, COUNT));
        for (uint32_t i = 0; i < COUNT; i++)
            ck_assert_double_eq_tol((double)found[i], normal_at(seeds[k], keys[k], i), 1e-6);
    }
}
END_TEST

/* Each random call takes the next number of the context's counter when it is recorded, run or not; a key takes none. */
START_TEST(each_call_takes_the_next_number)
{
    cg_seed(cg, 3);
    ck_assert_uint_eq(cg_random_get(cg), 0);
    cg_tensor first = cg_uniform(cg, CG_SHAPE(5)), second = cg_uniform(cg, CG_SHAPE(5));
    ck_assert_uint_eq(cg_random_get(cg), 2);
    cg_uniform(cg, CG_SHAPE(5), .key = 77, .has_key = true);
    ck_assert_uint_eq(cg_random_get(cg), 2);
    cg_normal(cg, CG_SHAPE(5));
    cg_bernoulli(cg, CG_SHAPE(5), 0.5);
    cg_dropout(first, .rate = 0.5, .mode = CG_MODE_TRAINING);
    ck_assert_uint_eq(cg_random_get(cg), 5);
    ck_assert(cg_read_floats(second, found, 5) && cg_read_floats(first, again, 5));
    for (uint32_t i = 0; i < 5; i++) {
        ck_assert_double_eq((double)again[i], uniform_at(3, 0, i));
        ck_assert_double_eq((double)found[i], uniform_at(3, 1, i));
    }
}
END_TEST

/* The counter can be read and set: what comes after it comes again. */
START_TEST(the_counter_can_be_restored)
{
    cg_uniform(cg, CG_SHAPE(9));
    const uint64_t number = cg_random_get(cg);
    ck_assert(cg_read_floats(cg_uniform(cg, CG_SHAPE(9)), found, 9));
    cg_random_set(cg, number);
    ck_assert(cg_read_floats(cg_uniform(cg, CG_SHAPE(9)), again, 9));
    ck_assert_mem_eq(found, again, 9 * sizeof *found);
}
END_TEST

/* Random nodes are never merged: two calls in one expression are two draws, and twice the same draw is the same. */
START_TEST(two_calls_are_never_merged)
{
    cg_tensor a = cg_uniform(cg, CG_SHAPE(100)), b = cg_uniform(cg, CG_SHAPE(100));
    ck_assert(cg_read_floats(cg_sub(a, b), found, 100));
    int equal = 0;
    for (int i = 0; i < 100; i++) equal += found[i] == 0;
    ck_assert_int_le(equal, 1);
    ck_assert_double_eq(cg_item(cg_sum(cg_abs(cg_sub(a, a)))), 0);
}
END_TEST

/* Computing a draw again, since it was not stored, gives the same numbers; so does storing it elsewhere, or a part. */
START_TEST(recomputation_gives_the_same_numbers)
{
    cg_tensor x = cg_uniform(cg, CG_SHAPE(COUNT)), part = cg_slice_axis(x, 0, 1003, 1090);
    const double sum = cg_item(cg_sum(x));
    mark();
    ck_assert(cg_read_floats(part, again, 87));
    ck_assert_int_ge(recomputed(), 1);
    ck_assert_double_eq(cg_item(cg_sum(times(x, 1))), sum);
    ck_assert(cg_read_floats(x, found, COUNT));
    ck_assert_mem_eq(found + 1003, again, 87 * sizeof *found);
}
END_TEST

/* Numbers depend on the position alone, not on the shape or on what they are fused with. */
START_TEST(numbers_depend_on_the_position_alone)
{
    cg_tensor line = cg_uniform(cg, CG_SHAPE(600), .key = 1, .has_key = true);
    cg_tensor box = cg_uniform(cg, CG_SHAPE(3, 10, 20), .key = 1, .has_key = true);
    ck_assert(cg_read_floats(line, found, 600));
    ck_assert(cg_read_floats(cg_transpose(cg_add(cg_transpose(box), cg_scalar(cg, 0))), again, 600));
    ck_assert_mem_eq(found, again, 600 * sizeof *found);
}
END_TEST

/* Eager execution draws the same numbers. */
START_TEST(eager_draws_the_same_numbers)
{
    cg_seed(cg, 5);
    ck_assert(cg_read_floats(cg_normal(cg, CG_SHAPE(1000), .mean = 1, .deviation = 2), found, 1000));
    open_own("CLGRAD_EAGER", "1");
    cg_seed(cg, 5);
    ck_assert(cg_read_floats(cg_normal(cg, CG_SHAPE(1000), .mean = 1, .deviation = 2), again, 1000));
    close_own();
    for (int i = 0; i < 1000; i++) ck_assert_float_eq_tol(found[i], again[i], 1e-6F);
}
END_TEST

/* The seed and the call's number are arguments: other ones find the plan, and take effect. */
START_TEST(seed_and_number_hit)
{
    for (int i = 0; i < 4; i++) {
        cg_seed(cg, seeds[i]);
        cg_random_set(cg, keys[i]);
        mark();
        ck_assert(cg_read_floats(cg_uniform(cg, CG_SHAPE(33)), found, 33));
        ck_assert_int_eq(plan_hits(), i > 0);
        ck_assert_double_eq((double)found[32], uniform_at(seeds[i], keys[i], 32));
    }
}
END_TEST

/* ---- Dropout and derivatives ------------------------------------------------------------------------------------- */

/* Value, gradient and second derivative see one mask: what the value drops has neither. */
START_TEST(second_derivatives_see_one_mask)
{
    enum { N = 64 };
    float value[N], first[N], second[N];
    cg_tensor x = cg_full(cg, CG_SHAPE(N), 3), gradient, curvature;
    cg_tensor y = cg_dropout(x, .rate = 0.5, .mode = CG_MODE_TRAINING), loss = cg_sum(cg_mul(cg_square(y), y));
    ck_assert(cg_grad(&loss, 1, &x, 1, &gradient));
    cg_tensor slope = cg_sum(cg_square(gradient));
    ck_assert(cg_grad(&slope, 1, &x, 1, &curvature));
    ck_assert(cg_read_floats(curvature, second, N) && cg_read_floats(gradient, first, N) &&
              cg_read_floats(y, value, N));
    int dropped = 0;
    for (int i = 0; i < N; i++) {
        dropped += value[i] == 0;
        ck_assert_float_eq_tol(value[i], value[i] == 0 ? 0 : 6, 1e-5F);
        ck_assert_float_eq_tol(first[i], value[i] == 0 ? 0 : 216, 1e-3F);
        ck_assert_float_eq_tol(second[i], value[i] == 0 ? 0 : 2 * 216 * 144, 1);
    }
    ck_assert(dropped > N / 4 && dropped < 3 * N / 4);
}
END_TEST

static cg_tensor noisy(void *user, const cg_tensor *inputs)
{
    (void)user;
    return cg_sum(cg_square(cg_dropout(inputs[0], .rate = 0.4, .mode = CG_MODE_TRAINING)));
}

/* The gradient checker restores the counter before each evaluation, so a function that draws can be checked. */
START_TEST(the_gradient_checker_restores_the_counter)
{
    if (!cg_device(cg)->has_f64) return;
    const double data[] = {0.5, -1, 2, 0.25, 1.5, -0.75};
    cg_tensor x = cg_input(cg, CG_F64, CG_SHAPE(6), data);
    const double error = cg_gradient_error(noisy, NULL, &x, 1, 1);
    ck_assert_msg(error >= 0 && error < 1e-6, "%g: %s", error, cg_message(cg));
}
END_TEST

/* Dropout keeps with the scale 1 / (1 - rate), computed from the rate at every run; none is dropped at 0, all at 1. */
START_TEST(the_dropout_rate_takes_effect_at_a_hit)
{
    static const double rates[] = {0.5, 0, 0.8, 1};
    for (int k = 0; k < 4; k++) {
        cg_tensor x = cg_dropout(cg_ones(cg, CG_SHAPE(COUNT)), .rate = rates[k], .mode = CG_MODE_TRAINING, .key = 6,
                                 .has_key = true);
        mark();
        ck_assert(cg_read_floats(x, found, COUNT));
        ck_assert_int_eq(plan_hits(), k > 0);
        for (uint32_t i = 0; i < COUNT; i++) {
            const bool kept = uniform_at(0, 6, i) >= (double)(float)rates[k];
            ck_assert_float_eq_tol(found[i], kept ? (float)(1 / (1 - rates[k])) : 0, 1e-5F);
        }
    }
}
END_TEST

/* ---- Training mode ----------------------------------------------------------------------------------------------- */

/* Training mode is off unless it is set. */
START_TEST(training_mode_is_off_by_default)
{
    cg_context *fresh = open_on_shared_device();
    ck_assert(!cg_is_training(fresh));
    cg_training(fresh, true);
    ck_assert(cg_is_training(fresh));
    cg_close(fresh);
}
END_TEST

static bool drops(cg_mode mode)
{
    ck_assert(cg_read_floats(cg_dropout(cg_ones(cg, CG_SHAPE(100)), .rate = 0.5, .mode = mode), found, 100));
    for (int i = 0; i < 100; i++)
        if (found[i] != 1) return true;
    return false;
}

/* Dropout obeys it, at the time of the call, and each call can override it. Not dropping takes no number. */
START_TEST(dropout_obeys_training_mode)
{
    const uint64_t number = cg_random_get(cg);
    ck_assert(!drops(CG_MODE_CONTEXT));
    ck_assert_uint_eq(cg_random_get(cg), number);
    ck_assert(drops(CG_MODE_TRAINING));
    cg_training(cg, true);
    ck_assert(drops(CG_MODE_CONTEXT));
    ck_assert(!drops(CG_MODE_INFERENCE));
    cg_tensor recorded = cg_dropout(cg_ones(cg, CG_SHAPE(100)), .rate = 1);
    cg_training(cg, false);
    ck_assert_double_eq(cg_item(cg_sum(recorded)), 0);
}
END_TEST

static bool uses_minibatch(const cg_batch_norm_layer *layer, cg_mode mode)
{
    cg_scope scope = cg_scope_begin(cg);
    cg_tensor y = cg_batch_norm_call(layer, cg_full(cg, CG_SHAPE(4, 1), 100), .mode = mode);
    ck_assert(cg_read_floats(y, found, 4));
    cg_scope_end(scope);
    return fabsf(found[0]) < 1; /* else the moving averages, which start from 0 and 1 */
}

/* Batch norm obeys it, and each call can override it. */
START_TEST(batch_norm_obeys_training_mode)
{
    cg_model *model = cg_model_new(cg);
    cg_batch_norm_layer *layer = cg_batch_norm_new(model, "norm", 1);
    ck_assert(!uses_minibatch(layer, CG_MODE_CONTEXT));
    ck_assert(uses_minibatch(layer, CG_MODE_TRAINING));
    cg_training(cg, true);
    ck_assert(uses_minibatch(layer, CG_MODE_CONTEXT));
    ck_assert(!uses_minibatch(layer, CG_MODE_INFERENCE));
    cg_model_free(model);
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------------ */

int main(void)
{
    Suite *suite = suite_create("semantics of random numbers");
    TCase *tests = tcase_create("random");
    tcase_add_checked_fixture(tests, begin_test, end_test);
    tcase_add_test(tests, philox_gives_the_published_answers);
    tcase_add_test(tests, the_first_draw_is_the_published_answer);
    tcase_add_test(tests, uniform_is_philox_bit_for_bit);
    tcase_add_test(tests, bernoulli_is_philox_bit_for_bit);
    tcase_add_test(tests, normal_is_within_a_millionth);
    tcase_add_test(tests, each_call_takes_the_next_number);
    tcase_add_test(tests, the_counter_can_be_restored);
    tcase_add_test(tests, two_calls_are_never_merged);
    tcase_add_test(tests, recomputation_gives_the_same_numbers);
    tcase_add_test(tests, numbers_depend_on_the_position_alone);
    tcase_add_test(tests, eager_draws_the_same_numbers);
    tcase_add_test(tests, seed_and_number_hit);
    tcase_add_test(tests, second_derivatives_see_one_mask);
    tcase_add_test(tests, the_gradient_checker_restores_the_counter);
    tcase_add_test(tests, the_dropout_rate_takes_effect_at_a_hit);
    tcase_add_test(tests, training_mode_is_off_by_default);
    tcase_add_test(tests, dropout_obeys_training_mode);
    tcase_add_test(tests, batch_norm_obeys_training_mode);
    suite_add_tcase(suite, tests);
    return run_tests(suite);
}

/* Tests ops with indices (one_hot, gather, scatter_add), random numbers against a second Philox written here and
 * against their distributions, and dropout. */
#include "op_support.h"

/* ---- one_hot, gather, scatter_add -------------------------------------------------------------------------------- */

START_TEST(one_hot_of_labels)
{
    cg_tensor labels = tensor_of(ARRAY(CG_I32, CG_SHAPE(2, 2), 0, 2, 1, 2)),
              byte = tensor_of(ARRAY(CG_U8, CG_RANK0, 1));
    expect_array(cg_one_hot(labels, 3), ARRAY(CG_F32, CG_SHAPE(2, 2, 3), 1, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1));
    expect_array(cg_one_hot(byte, 2), ARRAY(CG_F32, CG_SHAPE(2), 0, 1));
    expect_array(cg_one_hot(byte, 2, .dtype = CG_I32), ARRAY(CG_I32, CG_SHAPE(2), 0, 1));
    expect_array(cg_one_hot(byte, 2, .dtype = CG_BOOL), ARRAY(CG_BOOL, CG_SHAPE(2), 0, 1));
    expect_array(cg_one_hot(cg_zeros(cg, CG_SHAPE(0), .dtype = CG_I32), 4), array_new(CG_F32, CG_SHAPE(0, 4)));
    expect_error(cg_one_hot(cg_zeros(cg, CG_SHAPE(2)), 3), "one_hot: indices are f32, not i32 or u8");
    expect_error(cg_one_hot(labels, -3), "one_hot: -3 classes");
    expect_error(cg_one_hot(cg_zeros(cg, CG_SHAPE(1, 1, 1, 1, 1, 1, 1, 1), .dtype = CG_I32), 3),
                 "one_hot: [1,1,1,1,1,1,1,1] has no room for another axis");
}
END_TEST

static cg_shape taken_shape(cg_shape x, cg_shape indices, int axis)
{
    cg_shape out = {0};
    for (int i = 0; i < axis; i++) out.size[out.rank++] = x.size[i];
    for (int i = 0; i < indices.rank; i++) out.size[out.rank++] = indices.size[i];
    for (int i = axis + 1; i < x.rank; i++) out.size[out.rank++] = x.size[i];
    return out;
}

/* The position in x of each position of the result. */
static int64_t taken_from(array x, array indices, int axis, cg_shape out, int64_t position)
{
    int64_t to[CG_MAX_RANK], from[CG_MAX_RANK];
    unravel(out, position, to);
    for (int i = 0; i < axis; i++) from[i] = to[i];
    from[axis] = (int64_t)indices.at[ravel(indices.shape, to + axis)];
    for (int i = axis + 1; i < x.shape.rank; i++) from[i] = to[i - 1 + indices.shape.rank];
    return ravel(x.shape, from);
}

static void check_gather(cg_shape shape, cg_shape index_shape, int axis, cg_dtype dtype, cg_dtype index_dtype)
{
    array x = array_random(dtype, shape, -5, 5);
    array indices = array_random(index_dtype, index_shape, 0, (double)shape.size[axis] - 1);
    array wanted = array_new(dtype, taken_shape(shape, index_shape, axis)), sums = array_new(dtype, shape);
    for (int64_t k = 0; k < wanted.count; k++) wanted.at[k] = x.at[taken_from(x, indices, axis, wanted.shape, k)];
    for (int64_t k = 0; k < wanted.count; k++) sums.at[taken_from(x, indices, axis, wanted.shape, k)] += wanted.at[k];
    cg_tensor source = tensor_of(x), positions = tensor_of(indices), taken = cg_gather(source, positions, axis);
    expect_array(taken, wanted);
    expect_array(cg_gather(source, positions, axis - shape.rank), wanted);
    cg_tensor added = cg_scatter_add(tensor_of(wanted), positions, axis, shape.size[axis]);
    expect_close(added, sums, 1e-5, cg_is_floating(dtype) ? 1e-5 : 0, "scatter_add");
    if (cg_is_floating(dtype))
        expect_close(gradient_of(taken, tensor_of(wanted), source), sums, 1e-5, 1e-5, "gradient of gather");
}

START_TEST(gather_and_scatter_add)
{
    check_gather(CG_SHAPE(5), CG_SHAPE(7), 0, CG_F32, CG_I32);
    check_gather(CG_SHAPE(5), CG_RANK0, 0, CG_F32, CG_I32);
    check_gather(CG_SHAPE(4, 3), CG_SHAPE(2, 5), 0, CG_F32, CG_U8);
    check_gather(CG_SHAPE(4, 3), CG_SHAPE(2, 5), 1, CG_I32, CG_I32);
    check_gather(CG_SHAPE(2, 30, 3), CG_SHAPE(50), 1, CG_F32, CG_I32);
    check_gather(CG_SHAPE(2, 3, 2, 2), CG_SHAPE(2, 1, 2, 1), 2, CG_F32, CG_I32);
    check_gather(CG_SHAPE(1000), CG_SHAPE(3000), 0, CG_F32, CG_I32);
    check_gather(CG_SHAPE(300, 70), CG_SHAPE(200), 0, CG_F32, CG_I32);
    if (has_f64()) check_gather(CG_SHAPE(9, 2), CG_SHAPE(40), 0, CG_F64, CG_I32);
}
END_TEST

START_TEST(gather_of_nothing)
{
    cg_tensor x = cg_ones(cg, CG_SHAPE(3, 2)), none = cg_zeros(cg, CG_SHAPE(0), .dtype = CG_I32);
    expect_array(cg_gather(x, none, 0), array_new(CG_F32, CG_SHAPE(0, 2)));
    expect_array(cg_gather(cg_zeros(cg, CG_SHAPE(0, 2)), none, 0), array_new(CG_F32, CG_SHAPE(0, 2)));
    expect_array(cg_scatter_add(cg_zeros(cg, CG_SHAPE(0, 2)), none, 0, 3), array_new(CG_F32, CG_SHAPE(3, 2)));
    expect_array(cg_scatter_add(cg_zeros(cg, CG_SHAPE(0, 2)), none, 0, 0), array_new(CG_F32, CG_SHAPE(0, 2)));
}
END_TEST

/* The order of the additions is that of the indices: 1e8 swallows a 1 that comes after it, in f32. */
START_TEST(scatter_add_is_deterministic)
{
    enum { COUNT = 4001 };
    array updates = array_random(CG_F32, CG_SHAPE(COUNT), -1e4, 1e4),
          indices = array_random(CG_I32, CG_SHAPE(COUNT), 0, 9);
    float sums[10] = {0}, found[10];
    for (int i = 0; i < COUNT; i++) sums[(int)indices.at[i]] += (float)updates.at[i];
    for (int run = 0; run < 3; run++) {
        ck_assert(cg_read_floats(cg_scatter_add(tensor_of(updates), tensor_of(indices), 0, 10), found, 10));
        ck_assert_mem_eq(found, sums, sizeof sums);
    }
}
END_TEST

START_TEST(index_shape_errors)
{
    cg_tensor x = cg_zeros(cg, CG_SHAPE(4, 3)), indices = cg_zeros(cg, CG_SHAPE(2), .dtype = CG_I32);
    expect_error(cg_gather(x, indices, 2), "gather: [4,3] has no axis 2");
    expect_error(cg_gather(x, x, 0), "gather: indices are f32, not i32 or u8");
    expect_error(cg_gather(cg_ones(cg, CG_RANK0), indices, 0), "gather: [] has no axis 0");
    expect_error(
        cg_gather(cg_zeros(cg, CG_SHAPE(1, 1, 1, 1, 1)), cg_zeros(cg, CG_SHAPE(1, 1, 1, 1, 1), .dtype = CG_I32), 0),
        "gather: [1,1,1,1,1] at [1,1,1,1,1] has more than 8 axes");
    expect_error(cg_scatter_add(x, indices, 0, 5),
                 "scatter_add: axes 0.. of updates [4,3] are not those of the indices [2]");
    expect_error(cg_scatter_add(x, indices, 2, 5),
                 "scatter_add: axes 2.. of updates [4,3] are not those of the indices [2]");
    expect_error(cg_scatter_add(cg_zeros(cg, CG_SHAPE(2)), indices, 0, -5), "scatter_add: an axis of extent -5");
    expect_error(cg_scatter_add(cg_zeros(cg, CG_SHAPE(2), .dtype = CG_BOOL), indices, 0, 5),
                 "scatter_add: bools cannot be added");
}
END_TEST

/* Reading the result fails with a message that names the op and the index. */
static void expect_index_report(cg_tensor result, const char *op, const char *index)
{
    double values[64];
    ck_assert(!cg_read_doubles(result, values, cg_size(result)));
    ck_assert_int_eq(cg_status(cg), CG_ERROR_ARGUMENT);
    ck_assert_msg(strncmp(cg_message(cg), op, strlen(op)) == 0 && strstr(cg_message(cg), index), "%s", cg_message(cg));
    cg_clear_error(cg);
}

START_TEST(indices_out_of_range)
{
    cg_tensor x = cg_ones(cg, CG_SHAPE(4, 3)), high = tensor_of(ARRAY(CG_I32, CG_SHAPE(3), 0, 4, 1));
    cg_tensor low = tensor_of(ARRAY(CG_I32, CG_SHAPE(2), 3, -1)), byte = tensor_of(ARRAY(CG_U8, CG_SHAPE(1), 200));
    expect_index_report(cg_gather(x, high, 0), "gather", "4");
    expect_index_report(cg_gather(x, low, 0), "gather", "-1");
    expect_index_report(cg_gather(x, byte, 1), "gather", "200");
    expect_index_report(cg_gather(cg_zeros(cg, CG_SHAPE(0, 2)), low, 0), "gather", "");
    expect_index_report(cg_scatter_add(cg_ones(cg, CG_SHAPE(3)), high, 0, 4), "scatter_add", "4");
    expect_index_report(cg_scatter_add(cg_ones(cg, CG_SHAPE(2)), low, 0, 4), "scatter_add", "-1");
    expect_index_report(cg_one_hot(high, 4), "one_hot", "4");
    expect_index_report(cg_one_hot(low, 4), "one_hot", "-1");
    /* The context goes on. */
    expect_array(cg_gather(x, tensor_of(ARRAY(CG_I32, CG_SHAPE(1), 3)), 0), ARRAY(CG_F32, CG_SHAPE(1, 3), 1, 1, 1));
}
END_TEST

/* ---- Random numbers ---------------------------------------------------------------------------------------------- */

/* One block of Philox 4x32-10, written from the paper: Salmon, Moraes, Dror, Shaw, SC 2011. */
static void philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t x[4], k0 = key[0], k1 = key[1];
    memcpy(x, counter, sizeof x);
    for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
        uint64_t p = (uint64_t)0xD2511F53u * x[0], q = (uint64_t)0xCD9E8D57u * x[2];
        uint32_t next[4] = {(uint32_t)(q >> 32) ^ x[1] ^ k0, (uint32_t)q, (uint32_t)(p >> 32) ^ x[3] ^ k1, (uint32_t)p};
        memcpy(x, next, sizeof x);
    }
    memcpy(out, x, sizeof x);
}

START_TEST(philox_here_is_philox)
{
    const uint32_t zero[4] = {0}, ones[4] = {~0u, ~0u, ~0u, ~0u};
    uint32_t out[4];
    philox(zero, zero, out);
    ck_assert_uint_eq(out[0], 0x6627e8d5u);
    ck_assert_uint_eq(out[3], 0x9b00dbd8u);
    philox(ones, ones, out);
    ck_assert_uint_eq(out[0], 0x408f276du);
    ck_assert_uint_eq(out[3], 0x6d5451fdu);
}
END_TEST

/* What uniform gives at each position: word position % 4 of block position / 4. */
static array uniform_wanted(uint64_t seed, uint64_t number, int64_t count)
{
    array wanted = array_new(CG_F32, CG_SHAPE(count));
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    for (int64_t i = 0; i < count; i++) {
        const uint32_t counter[4] = {(uint32_t)(i / 4), (uint32_t)number, (uint32_t)(number >> 32), 0};
        uint32_t out[4];
        philox(counter, key, out);
        wanted.at[i] = (double)(out[i % 4] >> 8) * 0x1p-24;
    }
    return wanted;
}

START_TEST(uniform_is_philox)
{
    const uint64_t seed = 0x123456789ABCDEFu;
    cg_seed(cg, seed);
    cg_random_set(cg, 0xFFFFFFFFFu);
    array wanted = uniform_wanted(seed, 0xFFFFFFFFFu, 1003);
    expect_close(cg_uniform(cg, CG_SHAPE(1003)), wanted, 0, 0, "uniform");
    ck_assert_uint_eq(cg_random_get(cg), 0x1000000000u);
    expect_close(cg_uniform(cg, CG_SHAPE(1003), .key = 77, .has_key = true), uniform_wanted(seed, 77, 1003), 0, 0,
                 "key");
    ck_assert_uint_eq(cg_random_get(cg), 0x1000000000u);
    cg_random_set(cg, 5);
    wanted = uniform_wanted(seed, 5, 1003);
    for (int64_t i = 0; i < wanted.count; i++) wanted.at[i] = wanted.at[i] < 0.3;
    expect_close(cg_bernoulli(cg, CG_SHAPE(1003), 0.3), wanted, 0, 0, "bernoulli");
    wanted.shape = CG_SHAPE(17, 59);
    expect_close(cg_bernoulli(cg, CG_SHAPE(17, 59), 0.3, .key = 5, .has_key = true), wanted, 0, 0, "shape");
}
END_TEST

START_TEST(same_number_same_values)
{
    cg_seed(cg, 3);
    cg_tensor first = cg_uniform(cg, CG_SHAPE(100)), second = cg_uniform(cg, CG_SHAPE(100));
    ck_assert(cg_item(cg_all(cg_not_equal(first, second))) == 1);
    cg_random_set(cg, cg_random_get(cg) - 2);
    expect_close(cg_uniform(cg, CG_SHAPE(100)), array_read(first), 0, 0, "first");
    /* Computed again inside another kernel, a number is the same. */
    array shifted = array_read(second);
    for (int64_t i = 0; i < shifted.count; i++) shifted.at[i] = shifted.at[i] * 2;
    expect_close(cg_mul(second, cg_scalar(cg, 2)), shifted, 0, 0, "recomputed");
    cg_seed(cg, 4);
    ck_assert(cg_item(cg_all(cg_not_equal(first, cg_uniform(cg, CG_SHAPE(100), .has_key = true)))) == 1);
}
END_TEST

static void moments(cg_tensor x, double *mean, double *deviation)
{
    array a = array_read(x);
    *mean = *deviation = 0;
    for (int64_t i = 0; i < a.count; i++) *mean += a.at[i] / (double)a.count;
    for (int64_t i = 0; i < a.count; i++) *deviation += (a.at[i] - *mean) * (a.at[i] - *mean) / (double)a.count;
    *deviation = sqrt(*deviation);
}

START_TEST(distributions)
{
    enum { COUNT = 200000 };
    double mean, deviation;
    cg_seed(cg, 1);
    moments(cg_uniform(cg, CG_SHAPE(COUNT), .low = -1, .high = 3), &mean, &deviation);
    ck_assert(fabs(mean - 1) < 0.02 && fabs(deviation - 4 / sqrt(12)) < 0.02);
    ck_assert(cg_item(cg_min(cg_uniform(cg, CG_SHAPE(COUNT), .low = -1))) >= -1);
    ck_assert(cg_item(cg_max(cg_uniform(cg, CG_SHAPE(COUNT), .low = -1))) <= 0);
    moments(cg_normal(cg, CG_SHAPE(COUNT)), &mean, &deviation);
    ck_assert(fabs(mean) < 0.02 && fabs(deviation - 1) < 0.02);
    moments(cg_normal(cg, CG_SHAPE(COUNT), .mean = 5, .deviation = 0.1), &mean, &deviation);
    ck_assert(fabs(mean - 5) < 0.002 && fabs(deviation - 0.1) < 0.002);
    moments(cg_bernoulli(cg, CG_SHAPE(COUNT), 0.2), &mean, &deviation);
    ck_assert(fabs(mean - 0.2) < 0.01);
    ck_assert(cg_item(cg_sum(cg_bernoulli(cg, CG_SHAPE(COUNT), 0))) == 0);
    ck_assert(cg_item(cg_sum(cg_bernoulli(cg, CG_SHAPE(COUNT), 1))) == COUNT);
    ck_assert(cg_item(cg_all(cg_is_finite(cg_normal(cg, CG_SHAPE(COUNT))))) == 1);
}
END_TEST

START_TEST(random_shapes_and_dtypes)
{
    ck_assert_int_eq(cg_shape_of(cg_uniform(cg, CG_RANK0)).rank, 0);
    ck_assert(cg_item(cg_uniform(cg, CG_RANK0, .low = 2, .high = 3)) >= 2);
    expect_array(cg_normal(cg, CG_SHAPE(0, 2)), array_new(CG_F32, CG_SHAPE(0, 2)));
    ck_assert_int_eq(cg_dtype_of(cg_bernoulli(cg, CG_SHAPE(2), 0.5, .dtype = CG_BOOL)), CG_BOOL);
    if (has_f64()) {
        ck_assert_int_eq(cg_dtype_of(cg_uniform(cg, CG_SHAPE(2), .dtype = CG_F64)), CG_F64);
        ck_assert_int_eq(cg_dtype_of(cg_normal(cg, CG_SHAPE(2), .dtype = CG_F64)), CG_F64);
    }
    expect_error(cg_uniform(cg, CG_SHAPE(2), .dtype = CG_I32), "uniform: dtype i32 is not floating");
    expect_error(cg_normal(cg, CG_SHAPE(2), .dtype = CG_BOOL), "normal: dtype bool is not floating");
    expect_error(cg_bernoulli(cg, CG_SHAPE(2), 1.5), "bernoulli: the probability 1.5 is outside [0, 1]");
    expect_error(cg_bernoulli(cg, CG_SHAPE(2), NAN), "bernoulli: the probability nan is outside [0, 1]");
}
END_TEST

/* ---- Dropout ----------------------------------------------------------------------------------------------------- */

START_TEST(dropout_in_training)
{
    enum { COUNT = 1001 };
    cg_seed(cg, 9);
    cg_training(cg, true);
    uint64_t number = cg_random_get(cg);
    array x = array_random(CG_F32, CG_SHAPE(COUNT), 1, 2), wanted = array_new(CG_F32, x.shape),
          scale = array_new(CG_F32, x.shape);
    array fractions = uniform_wanted(9, number, COUNT);
    for (int64_t i = 0; i < COUNT; i++) scale.at[i] = fractions.at[i] >= 0.3f ? 1 / 0.7 : 0;
    for (int64_t i = 0; i < COUNT; i++) wanted.at[i] = x.at[i] * scale.at[i];
    cg_tensor input = tensor_of(x), output = cg_dropout(input, .rate = 0.3);
    ck_assert_uint_eq(cg_random_get(cg), number + 1);
    expect_array(output, wanted);
    expect_array(gradient_of(output, no_tensor, input), scale);
    expect_array(cg_dropout(input, .rate = 0.3, .key = number, .has_key = true), wanted);
    ck_assert_uint_eq(cg_random_get(cg), number + 1);
}
END_TEST

START_TEST(dropout_modes_and_rates)
{
    array x = ARRAY(CG_F32, CG_SHAPE(4), 1, INFINITY, NAN, -2);
    cg_tensor input = tensor_of(x);
    expect_array(cg_dropout(input, .rate = 0.9), x);
    expect_array(cg_dropout(input, .rate = 1, .mode = CG_MODE_TRAINING), array_new(CG_F32, CG_SHAPE(4)));
    expect_array(gradient_of(cg_dropout(input, .rate = 1, .mode = CG_MODE_TRAINING), no_tensor, input),
                 array_new(CG_F32, CG_SHAPE(4)));
    expect_array(cg_dropout(input, .mode = CG_MODE_TRAINING), x);
    cg_training(cg, true);
    expect_array(cg_dropout(input, .rate = 1), array_new(CG_F32, CG_SHAPE(4)));
    expect_array(cg_dropout(input, .rate = 0.9, .mode = CG_MODE_INFERENCE), x);
    expect_array(cg_dropout(cg_zeros(cg, CG_SHAPE(0, 3)), .rate = 0.5), array_new(CG_F32, CG_SHAPE(0, 3)));
    expect_error(cg_dropout(input, .rate = 1.5), "dropout: the rate 1.5 is outside [0, 1]");
    expect_error(cg_dropout(input, .rate = -0.5), "dropout: the rate -0.5 is outside [0, 1]");
    expect_error(cg_dropout(cg_zeros(cg, CG_SHAPE(2), .dtype = CG_I32), .rate = 0.5), "dropout: i32 cannot be scaled");
}
END_TEST

START_TEST(another_rate_builds_nothing)
{
    cg_tensor x = cg_full(cg, CG_SHAPE(50), 1);
    cg_training(cg, true);
    array_read(cg_dropout(x, .rate = 0.3));
    int64_t built = cg_counters_get(cg).kernels_built, made = cg_counters_get(cg).plans_made;
    array_read(cg_dropout(x, .rate = 0.6));
    array_read(cg_dropout(x, .rate = 0));
    ck_assert_int_eq(cg_counters_get(cg).kernels_built, built);
    ck_assert_int_eq(cg_counters_get(cg).plans_made, made);
}
END_TEST

/* ---- The suite --------------------------------------------------------------------------------------------------- */

static TCase *index_cases(void)
{
    TCase *tests = tcase_create("indices");
    tcase_add_checked_fixture(tests, open_context, close_context);
    tcase_add_test(tests, one_hot_of_labels);
    tcase_add_test(tests, gather_and_scatter_add);
    tcase_add_test(tests, gather_of_nothing);
    tcase_add_test(tests, scatter_add_is_deterministic);
    tcase_add_test(tests, index_shape_errors);
    tcase_add_test(tests, indices_out_of_range);
    return tests;
}

static TCase *random_cases(void)
{
    TCase *tests = tcase_create("random numbers, dropout");
    tcase_add_checked_fixture(tests, open_context, close_context);
    tcase_add_test(tests, philox_here_is_philox);
    tcase_add_test(tests, uniform_is_philox);
    tcase_add_test(tests, same_number_same_values);
    tcase_add_test(tests, distributions);
    tcase_add_test(tests, random_shapes_and_dtypes);
    tcase_add_test(tests, dropout_in_training);
    tcase_add_test(tests, dropout_modes_and_rates);
    tcase_add_test(tests, another_rate_builds_nothing);
    return tests;
}

int main(void)
{
    Suite *suite = suite_create("indices");
    suite_add_tcase(suite, index_cases());
    suite_add_tcase(suite, random_cases());
    return run_suite(suite);
}

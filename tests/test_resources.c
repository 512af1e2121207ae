/* Memory on the device and the way to it: a limit that is reached with a clear message and no harm done, ranges of
 * pools that are used again, an arena that grows while work is queued, tensors of more than 2^31 bytes, and uploads
 * that are still on their way when something else needs their memory. */
#include "program.h"
#include <clgrad/clgrad.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MIB = 1 << 20 };

static cg_context *cg;

static void open_limited(int64_t limit)
{
    cg = cg_open_with(&(cg_open_options){.memory_limit = limit});
    ck_assert_msg(cg && cg_status(cg) == CG_OK, "%s", cg_message(cg));
}

static void open_context(void)
{
    open_limited(0);
}

static void open_small(void)
{
    open_limited(8 * MIB);
}

static void close_context(void)
{
    ck_assert_msg(cg_status(cg) == CG_OK, "%s", cg_message(cg));
    cg_close(cg);
}

/* Host memory that lives until the end of the program run; tests use one at a time. */
static float *host_floats(int64_t count)
{
    static float *floats;
    free(floats);
    floats = malloc((size_t)count * sizeof *floats);
    ck_assert_ptr_nonnull(floats);
    return floats;
}

static cg_tensor filled(int64_t count, float value)
{
    float *values = host_floats(count);
    for (int64_t i = 0; i < count; i++) values[i] = value;
    return cg_input(cg, CG_F32, CG_SHAPE(count), values);
}

static void check_filled(cg_tensor t, float value)
{
    const int64_t count = cg_size(t);
    ck_assert_msg(count > 0, "%s", cg_message(cg));
    float *values = host_floats(count);
    ck_assert_msg(cg_read_floats(t, values, count), "%s", cg_message(cg));
    int64_t right = 0;
    while (right < count && values[right] == value) right++;
    if (right < count) ck_abort_msg("element %" PRId64 " is %g, not %g", right, (double)values[right], (double)value);
}

/* ---- The limit --------------------------------------------------------------------------------------------------- */

/* The message has the bytes needed (0: whatever they are) and the limit; afterwards the context computes as before,
 * within the limit. */
static void expect_out_of_memory(int64_t bytes, int64_t limit)
{
    char needed[64], most[64];
    snprintf(needed, sizeof needed, bytes ? "%" PRId64 " bytes are needed" : " bytes are needed", bytes);
    snprintf(most, sizeof most, "limit of %" PRId64, limit);
    ck_assert_int_eq(cg_status(cg), CG_ERROR_MEMORY);
    ck_assert_msg(strstr(cg_message(cg), needed) && strstr(cg_message(cg), most), "\"%s\" lacks \"%s\" or \"%s\"",
                  cg_message(cg), needed, most);
    cg_clear_error(cg);
    cg_scope scope = cg_scope_local(cg);
    check_filled(cg_add(filled(100, 2), filled(100, 3)), 5);
    cg_scope_end(scope);
    ck_assert_int_le(cg_counters_get(cg).device_bytes, limit);
}

START_TEST(an_input_beyond_the_limit)
{
    for (int i = 0; i < 3; i++) {
        ck_assert(cg_is_null(filled(4 * MIB, 1)));
        expect_out_of_memory(16 * MIB, 8 * MIB);
    }
}
END_TEST

START_TEST(inputs_until_nothing_is_left)
{
    cg_tensor held[16];
    int count = 0;
    cg_scope scope = cg_scope_local(cg);
    while (count < 16 && !cg_is_null(held[count] = filled(MIB / 4, (float)count))) count++;
    ck_assert_int_ge(count, 6);
    ck_assert_int_lt(count, 9);
    ck_assert_int_eq(cg_status(cg), CG_ERROR_MEMORY);
    cg_clear_error(cg);
    for (int i = 0; i < count; i++) check_filled(held[i], (float)i);
    cg_scope_end(scope);
    /* All of it is free again. */
    check_filled(filled(MIB, 7), 7);
}
END_TEST

/* A step whose temporaries, or whose results, do not fit leaves the variables alone. */
START_TEST(a_step_beyond_the_limit)
{
    cg_variable *small = cg_variable_new(cg, "small", CG_F32, CG_SHAPE(64)),
                *second = cg_variable_new(cg, "second", CG_F32, CG_SHAPE(64));
    cg_assign(small, filled(64, 1));
    cg_assign(second, filled(64, 2));
    for (int i = 0; i < 4; i++) {
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor row = cg_reshape(cg_value(small), CG_SHAPE(1, 64));
        cg_tensor wide = cg_exp(cg_broadcast_to(row, CG_SHAPE(65536, 64)));
        cg_assign(small, cg_add(cg_value(small), cg_value(second)));
        if (i % 2 == 0)
            cg_assign(second, cg_sum(cg_matmul(wide, cg_matmul(cg_transpose(wide), wide)), .axes = CG_AXES(0)));
        else
            cg_keep(wide);
        cg_scope_end(scope);
        ck_assert_int_eq(cg_status(cg), CG_ERROR_MEMORY);
        expect_out_of_memory(0, 8 * MIB);
        check_filled(cg_value(small), 1);
        check_filled(cg_value(second), 2);
    }
    cg_variable_free(small);
    cg_variable_free(second);
}
END_TEST

/* The first values of a model are still there after a first step that was too large. */
START_TEST(a_first_step_beyond_the_limit)
{
    cg_model *model = cg_model_new(cg);
    cg_dense *layer = cg_dense_new(model, "layer", 8, 8, .initializer = CG_ALL_ONES);
    cg_optimizer *optimizer = cg_sgd_new(model, .learning_rate = CG_ZERO);
    for (int rows = 1 << 20; rows >= 4; rows = rows == 4 ? 0 : 4) {
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor x = cg_full(cg, CG_SHAPE(rows, 8), 1);
        cg_tensor y = cg_dense_call(layer, cg_relu(cg_dense_call(layer, x)));
        cg_minimize(optimizer, cg_mean_squared_error(y, cg_zeros(cg, CG_SHAPE(rows, 8))));
        cg_scope_end(scope);
        ck_assert_int_eq(cg_status(cg), rows > 4 ? CG_ERROR_MEMORY : CG_OK);
        cg_clear_error(cg);
    }
    check_filled(cg_reshape(cg_value(cg_dense_kernel(layer)), CG_SHAPE(64)), 1);
    check_filled(cg_value(cg_dense_bias(layer)), 0);
    cg_model_free(model);
}
END_TEST

START_TEST(the_limit_from_the_environment)
{
    static const struct {
        const char *text;
        int64_t bytes; /* 0: refused */
    } cases[] = {{"4M", 4 * MIB}, {"5242880", 5 * MIB}, {"4096K", 4 * MIB}, {"0.5G", 512 * MIB},
                 {"4MB", 0},      {"lots", 0},          {"-1M", 0},         {"0", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        setenv("CLGRAD_MEMORY_LIMIT", cases[i].text, 1);
        cg_context *limited = cg_open(NULL);
        unsetenv("CLGRAD_MEMORY_LIMIT");
        if (cases[i].bytes) {
            ck_assert_msg(cg_status(limited) == CG_OK, "%s: %s", cases[i].text, cg_message(limited));
            ck_assert_int_eq(cg_device(limited)->memory_limit, cases[i].bytes);
        } else {
            ck_assert_int_eq(cg_status(limited), CG_ERROR_ARGUMENT);
            ck_assert_ptr_nonnull(strstr(cg_message(limited), cases[i].text));
        }
        cg_close(limited);
    }
}
END_TEST

/* ---- Pools ------------------------------------------------------------------------------------------------------- */

/* Tensors of many sizes come and go in a fixed but irregular order: none is overwritten, and no memory is added once
 * the most that lives at a time has been seen. */
START_TEST(freed_ranges_are_used_again)
{
    enum { HELD = 24, ROUNDS = 600 };
    cg_tensor held[HELD] = {{0}};
    float value[HELD];
    uint32_t state = 1;
    int64_t settled = 0;
    for (int round = 0; round < ROUNDS; round++) {
        state = state * 1664525 + 1013904223;
        const int slot = (int)(state >> 8) % HELD;
        if (!cg_is_null(held[slot])) {
            check_filled(held[slot], value[slot]);
            cg_release(held[slot]);
        }
        value[slot] = (float)round;
        held[slot] = filled(1 + (state >> 10) % 40000, value[slot]);
        if (round == ROUNDS / 2) settled = cg_counters_get(cg).device_bytes;
    }
    ck_assert_int_eq(cg_counters_get(cg).device_bytes, settled);
    for (int slot = 0; slot < HELD; slot++) {
        check_filled(held[slot], value[slot]);
        cg_release(held[slot]);
    }
    ck_assert_int_eq(cg_counters_get(cg).used_bytes, 0);
    ck_assert_int_eq(cg_counters_get(cg).buffers, 0);
}
END_TEST

/* A plan that has run keeps no argument from a pool that was given back since. */
START_TEST(pools_given_back_are_forgotten)
{
    for (int i = 0; i < 6; i++) {
        cg_scope scope = cg_scope_local(cg);
        cg_tensor x = filled(1000, (float)i);
        check_filled(cg_mul(x, x), (float)(i * i));
        cg_scope_end(scope);
        scope = cg_scope_local(cg);
        check_filled(filled(MIB * 3 / 2 + i * 1000, (float)i), (float)i); /* needs all that there is */
        cg_scope_end(scope);
    }
}
END_TEST

/* ---- The arena --------------------------------------------------------------------------------------------------- */

/* Needs a temporary of `rows` times 64: two products in a row of a matrix of ones. */
static cg_tensor with_temporary(int64_t rows, float value)
{
    cg_tensor a = cg_reshape(filled(rows * 64, value), CG_SHAPE(rows, 64));
    cg_tensor ones = cg_reshape(filled(64 * 64, 1), CG_SHAPE(64, 64));
    return cg_sum(cg_matmul(cg_matmul(a, ones), ones), .axes = CG_AXES(1));
}

START_TEST(the_arena_grows_while_work_is_queued)
{
    static const int64_t rows[] = {10, 1000, 20, 6000, 10, 1000, 9000, 6000};
    enum { COUNT = sizeof rows / sizeof *rows };
    cg_tensor results[COUNT];
    const int64_t before = cg_counters_get(cg).device_bytes_peak;
    for (int i = 0; i < COUNT; i++) {
        results[i] = with_temporary(rows[i], (float)(i + 1));
        ck_assert_msg(cg_eval(&results[i], 1), "%s", cg_message(cg));
    }
    for (int i = 0; i < COUNT; i++) check_filled(results[i], (float)(i + 1) * 64 * 64 * 64);
    ck_assert_int_gt(cg_counters_get(cg).device_bytes_peak, before);
}
END_TEST

/* ---- Large tensors ----------------------------------------------------------------------------------------------- */

/* Elements past the 2^31st byte, written by a kernel and read back, where a device allows such a buffer. */
START_TEST(more_than_two_to_the_31_bytes)
{
    const int64_t rows = 33, columns = 1 << 24, bytes = rows * columns * 4; /* 2.2e9 */
    cg_scope scope = cg_scope_local(cg);
    cg_tensor row = cg_reshape(cg_cast(cg_iota(cg, rows), CG_F32), CG_SHAPE(rows, 1));
    cg_tensor large = cg_add(cg_broadcast_to(row, CG_SHAPE(rows, columns)), cg_scalar(cg, 0.5));
    if (cg_device(cg)->largest_allocation < bytes || cg_device(cg)->memory < 2 * bytes) {
        ck_assert(!cg_eval(&large, 1));
        ck_assert_int_eq(cg_status(cg), CG_ERROR_MEMORY);
        cg_clear_error(cg);
    } else {
        ck_assert_msg(cg_eval(&large, 1), "%s", cg_message(cg));
        cg_tensor corner = cg_slice(large, CG_RANGE(rows - 2, rows, 1), CG_RANGE(columns - 3, columns, 1));
        float values[6];
        ck_assert_msg(cg_read_floats(corner, values, 6), "%s", cg_message(cg));
        for (int i = 0; i < 6; i++) ck_assert_float_eq(values[i], (float)(rows - 2 + i / 3) + 0.5F);
    }
    cg_scope_end(scope);
}
END_TEST

/* A reduction over more than 2^31 elements, which are computed on the way and never stored. */
START_TEST(more_than_two_to_the_31_elements)
{
    const int64_t rows = 1 << 15, columns = (1 << 16) + 3;
    cg_scope scope = cg_scope_local(cg);
    cg_tensor row = cg_reshape(cg_iota(cg, rows), CG_SHAPE(rows, 1));
    cg_tensor column = cg_reshape(cg_iota(cg, columns), CG_SHAPE(1, columns));
    ck_assert_double_eq(cg_item(cg_max(cg_add(row, column))), (double)(rows + columns - 2));
    cg_scope_end(scope);
}
END_TEST

/* ---- Uploads ----------------------------------------------------------------------------------------------------- */

/* Many uploads without a wait, each into memory that an earlier one may still be read from. */
START_TEST(uploads_do_not_overtake_each_other)
{
    enum { UPLOADS = 300, ELEMENTS = 5000 };
    cg_tensor sums[UPLOADS];
    for (int i = 0; i < UPLOADS; i++) {
        cg_scope scope = cg_scope_local(cg);
        sums[i] = cg_keep(cg_max(filled(ELEMENTS, (float)i)));
        ck_assert_msg(cg_eval(&sums[i], 1), "%s", cg_message(cg));
        cg_scope_end(scope);
    }
    for (int i = 0; i < UPLOADS; i++) {
        ck_assert_double_eq(cg_item(sums[i]), i);
        cg_release(sums[i]);
    }
}
END_TEST

START_TEST(reading_while_uploads_are_pending)
{
    for (int i = 0; i < 50; i++) {
        cg_scope scope = cg_scope_local(cg);
        cg_tensor first = filled(100000, (float)i);
        for (int k = 1; k < 5; k++) filled(100000, -1);
        check_filled(first, (float)i);
        cg_scope_end(scope);
    }
}
END_TEST

/* The caller's memory is its own again as soon as the call returns. */
START_TEST(the_copy_is_taken_at_the_call)
{
    float values[2000];
    cg_tensor tensors[20];
    for (int i = 0; i < 20; i++) {
        for (int k = 0; k < 2000; k++) values[k] = (float)i;
        tensors[i] = cg_input(cg, CG_F32, CG_SHAPE(2000), values);
    }
    memset(values, 0, sizeof values);
    for (int i = 0; i < 20; i++) check_filled(tensors[i], (float)i);
}
END_TEST

START_TEST(staging_is_lent_again)
{
    const size_t bytes = 4096 * sizeof(float);
    float *first = cg_staging(cg, bytes), *second = cg_staging(cg, bytes);
    ck_assert_ptr_ne(first, second);
    cg_staging_return(cg, first);
    ck_assert_ptr_eq(cg_staging(cg, bytes), first);
    for (int i = 0; i < 4096; i++) first[i] = 1, second[i] = 2;
    cg_tensor a = cg_input_staged(cg, CG_F32, CG_SHAPE(4096), first, CG_OPTIONS(cg_input_options, ));
    cg_tensor b = cg_input_staged(cg, CG_F32, CG_SHAPE(4096), second, CG_OPTIONS(cg_input_options, ));
    ck_assert(cg_wait(cg));
    float *third = cg_staging(cg, bytes);
    ck_assert(third == first || third == second);
    memset(third, 0, bytes);
    cg_staging_return(cg, third);
    check_filled(a, 1);
    check_filled(b, 2);
    /* One that does not fit its tensor's shape is refused and taken back all the same. */
    third = cg_staging(cg, bytes);
    ck_assert(cg_is_null(cg_input_staged(cg, CG_F32, CG_SHAPE(-1), third, CG_OPTIONS(cg_input_options, ))));
    cg_clear_error(cg);
    ck_assert_ptr_eq(cg_staging(cg, bytes), third);
    cg_staging_return(cg, third);
}
END_TEST

START_TEST(many_small_inputs_per_step)
{
    enum { INPUTS = 300, STEPS = 12 };
    cg_variable *total = cg_variable_new(cg, "total", CG_F32, CG_SHAPE(3));
    cg_scope outer = cg_scope_local(cg);
    cg_assign(total, filled(3, 0));
    cg_scope_end(outer);
    cg_counters settled = {0};
    for (int step = 0; step < STEPS; step++) {
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor sum = cg_value(total);
        for (int i = 0; i < INPUTS; i++) sum = cg_add(sum, filled(3, (float)(i % 7)));
        cg_assign(total, sum);
        cg_scope_end(scope);
        ck_assert_msg(cg_wait(cg), "%s", cg_message(cg));
        if (step == 3) settled = cg_counters_get(cg);
    }
    float expected = 0;
    for (int i = 0; i < INPUTS * STEPS; i++) expected += (float)(i % INPUTS % 7);
    check_filled(cg_value(total), expected);
    const cg_counters now = cg_counters_get(cg);
    ck_assert_int_eq(now.device_bytes, settled.device_bytes);
    ck_assert_int_eq(now.plans_made, settled.plans_made);
    ck_assert_int_eq(now.kernels_built, settled.kernels_built);
    cg_variable_free(total);
}
END_TEST

START_TEST(nothing_to_upload)
{
    cg_tensor empty = cg_input(cg, CG_F32, CG_SHAPE(0, 5), NULL);
    ck_assert_msg(cg_read(empty, NULL, 0), "%s", cg_message(cg));
    ck_assert_double_eq(cg_item(cg_sum(empty)), 0);
    void *staging = cg_staging(cg, 0);
    ck_assert_ptr_nonnull(staging);
    cg_staging_return(cg, staging);
}
END_TEST

static TCase *limit_case(void)
{
    TCase *cases = tcase_create("limit");
    tcase_add_checked_fixture(cases, open_small, close_context);
    tcase_add_test(cases, an_input_beyond_the_limit);
    tcase_add_test(cases, inputs_until_nothing_is_left);
    tcase_add_test(cases, a_step_beyond_the_limit);
    tcase_add_test(cases, a_first_step_beyond_the_limit);
    tcase_add_test(cases, pools_given_back_are_forgotten);
    return cases;
}

static TCase *memory_case(void)
{
    TCase *cases = tcase_create("memory");
    tcase_add_checked_fixture(cases, open_context, close_context);
    tcase_add_test(cases, freed_ranges_are_used_again);
    tcase_add_test(cases, the_arena_grows_while_work_is_queued);
    tcase_add_test(cases, more_than_two_to_the_31_bytes);
    tcase_add_test(cases, more_than_two_to_the_31_elements);
    tcase_add_test(cases, uploads_do_not_overtake_each_other);
    tcase_add_test(cases, reading_while_uploads_are_pending);
    tcase_add_test(cases, the_copy_is_taken_at_the_call);
    tcase_add_test(cases, staging_is_lent_again);
    tcase_add_test(cases, many_small_inputs_per_step);
    tcase_add_test(cases, nothing_to_upload);
    return cases;
}

int main(void)
{
    Suite *suite = suite_create("resources");
    TCase *environment = tcase_create("environment");
    tcase_add_test(environment, the_limit_from_the_environment);
    suite_add_tcase(suite, limit_case());
    suite_add_tcase(suite, memory_case());
    suite_add_tcase(suite, environment);
    return run_suite(suite);
}

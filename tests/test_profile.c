/* Profiles: the trace that a training run leaves has every launch, on one clock with what the host did; its times are
 * those of the table; what does not fit is counted; and what cannot be had is a clear error. */
#include "engine/profile.h"
#include "program.h"
#include <clgrad/clgrad.h>
#include <clgrad/interop.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BATCH = 6, INPUTS = 5, HIDDEN = 8, CLASSES = 3, STEPS = 40 };

static char folder[64], path[96];

static void make_folder(void)
{
    make_temporary_folder(folder, sizeof folder);
    snprintf(path, sizeof path, "%s/trace.json", folder);
}

/* Fails if anything else was left in it. */
static void remove_folder(void)
{
    unlink(path);
    ck_assert_int_eq(rmdir(folder), 0);
}

static cg_context *open_profiled(const char *variable, const char *value)
{
    setenv("CLGRAD_PROFILE", path, 1);
    if (variable) setenv(variable, value, 1);
    cg_context *cg = cg_open(NULL);
    unsetenv("CLGRAD_PROFILE");
    if (variable) unsetenv(variable);
    ck_assert_msg(cg && cg_status(cg) == CG_OK, "%s", cg_message(cg));
    return cg;
}

/* ---- A training run ---------------------------------------------------------------------------------------------- */

/* Returns how many kernels were enqueued. */
static int64_t train(cg_context *cg)
{
    float rows[BATCH * INPUTS];
    int32_t labels[BATCH];
    for (int i = 0; i < BATCH * INPUTS; i++) rows[i] = sinf(0.7f * (float)i);
    for (int i = 0; i < BATCH; i++) labels[i] = i % CLASSES;
    cg_model *model = cg_model_new(cg);
    cg_dense *first = cg_dense_new(model, "first", INPUTS, HIDDEN),
             *second = cg_dense_new(model, "second", HIDDEN, CLASSES);
    cg_optimizer *optimizer = cg_adam_new(model, .learning_rate = 0.01);
    for (int i = 0; i < STEPS; i++) {
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor x = cg_input(cg, CG_F32, CG_SHAPE(BATCH, INPUTS), rows),
                  y = cg_input(cg, CG_I32, CG_SHAPE(BATCH), labels);
        cg_tensor h = cg_relu(cg_dense_call(first, x));
        cg_minimize(optimizer, cg_softmax_cross_entropy(cg_dense_call(second, h), y));
        cg_scope_end(scope);
    }
    ck_assert(isfinite(cg_optimizer_objective(optimizer)));
    ck_assert_msg(cg_status(cg) == CG_OK, "%s", cg_message(cg));
    cg_model_free(model);
    return cg_counters_get(cg).kernels_enqueued;
}

/* ---- Traces ------------------------------------------------------------------------------------------------------ */

static json_t *load(void)
{
    json_error_t error;
    json_t *trace = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    ck_assert_msg(trace && json_is_array(trace), "%s:%d: %s", path, error.line, error.text);
    return trace;
}

static bool is_text(const json_t *event, const char *field, const char *text)
{
    const char *found = json_string_value(json_object_get(event, field));
    return found && strcmp(found, text) == 0;
}

static double number(const json_t *object, const char *field)
{
    const json_t *value = json_object_get(object, field);
    ck_assert_msg(json_is_number(value), "%s", field);
    return json_number_value(value);
}

static const json_t *head_of(const json_t *trace)
{
    size_t i;
    const json_t *event;
    json_array_foreach(trace, i, event)
    {
        if (is_text(event, "name", "clgrad_trace")) return json_object_get(event, "args");
    }
    ck_abort_msg("no head");
}

/* Checks every launch; returns how many there are, and their time in microseconds. */
static int64_t check_launches(const json_t *trace, double *total)
{
    const double wall = number(head_of(trace), "wall_us");
    double end = 0;
    int64_t count = 0;
    size_t i;
    const json_t *event;
    *total = 0;
    json_array_foreach(trace, i, event)
    {
        if (!is_text(event, "cat", "kernel")) continue;
        const double begin = number(event, "ts"), length = number(event, "dur");
        const json_t *arguments = json_object_get(event, "args");
        ck_assert(is_text(event, "ph", "X") && json_is_string(json_object_get(event, "name")));
        ck_assert(length >= 0 && begin >= end - 0.01 && begin + length <= wall); /* in order, one after the other */
        ck_assert(number(arguments, "bytes") >= 0 && number(arguments, "flop") >= 0);
        ck_assert_uint_eq(json_array_size(json_object_get(arguments, "items")), 3);
        end = begin + length;
        *total += length;
        count++;
    }
    return count;
}

/* Spans end within the span that they begin in, and all within wall time. */
static int check_spans(const json_t *trace, const char *name)
{
    const double wall = number(head_of(trace), "wall_us");
    int count = 0;
    size_t i, k;
    const json_t *a, *b;
    json_array_foreach(trace, i, a)
    {
        if (!is_text(a, "cat", "host")) continue;
        const double begin = number(a, "ts"), end = begin + number(a, "dur");
        ck_assert(begin >= 0 && end >= begin && end <= wall);
        count += is_text(a, "name", name);
        json_array_foreach(trace, k, b)
        {
            if (!is_text(b, "cat", "host") || a == b) continue;
            const double from = number(b, "ts"), to = from + number(b, "dur");
            ck_assert(from < begin || from >= end || to <= end + 0.002);
        }
    }
    return count;
}

static bool has_kernel(const json_t *trace, const char *part)
{
    size_t i;
    const json_t *event;
    bool found = false;
    json_array_foreach(trace, i, event)
    {
        const char *name = json_string_value(json_object_get(event, "name"));
        found |= is_text(event, "cat", "kernel") && name && strstr(name, part);
    }
    return found;
}

/* ---- Tests ------------------------------------------------------------------------------------------------------- */

START_TEST(every_launch_is_in_the_trace)
{
    double total;
    cg_context *cg = open_profiled(NULL, NULL);
    const int64_t launches = train(cg);
    cg_close(cg);
    json_t *trace = load();
    ck_assert_int_gt(launches, 2 * STEPS); /* of several kernels each */
    ck_assert_int_eq(check_launches(trace, &total), launches);
    ck_assert_double_eq(number(head_of(trace), "dropped"), 0);
    ck_assert_double_eq(number(head_of(trace), "covered_us"), number(head_of(trace), "wall_us"));
    ck_assert(has_kernel(trace, "matmul") && !has_kernel(trace, "joined"));
    ck_assert_int_ge(check_spans(trace, "enqueue"), STEPS);
    ck_assert_int_ge(check_spans(trace, "bind"), STEPS);
    ck_assert_int_ge(check_spans(trace, "build program"), 1);
    ck_assert_int_ge(check_spans(trace, "wait"), 1);
    json_decref(trace);
}
END_TEST

/* Trains with an environment variable set: every launch must be in the trace, and a kernel of that name. */
static void check_training(const char *variable, const char *value, const char *kernel)
{
    double total;
    cg_context *cg = open_profiled(variable, value);
    const bool is_gpu = cg_device(cg)->is_gpu;
    const int64_t launches = train(cg);
    cg_close(cg);
    json_t *trace = load();
    ck_assert_int_eq(check_launches(trace, &total), launches);
    ck_assert(is_gpu || has_kernel(trace, kernel)); /* products on GPUs are not joined */
    json_decref(trace);
}

START_TEST(a_joined_plan_is_one_kernel_with_the_labels_of_its_stages)
{
    check_training("CLGRAD_JOIN", "always", "joined: ");
}
END_TEST

START_TEST(products_by_clblast_are_in_the_trace)
{
    check_training("CLGRAD_GEMM", "clblast", "matmul");
}
END_TEST

/* Operations of a kernel with these ops in the profile; -1 if there is none. */
static double flop_of(const cg_context *cg, const char *label)
{
    for (int i = 0; i < cg->profile->kernel_count; i++)
        if (strcmp(cg->profile->kernels[i].label, label) == 0) return cg->profile->kernels[i].flop;
    return -1;
}

START_TEST(operations_are_counted)
{
    cg_context *cg = open_profiled(NULL, NULL);
    float data[12] = {0}, out[12];
    cg_tensor a = cg_input(cg, CG_F32, CG_SHAPE(3, 4), data), b = cg_input(cg, CG_F32, CG_SHAPE(4, 2), data);
    ck_assert(cg_read_floats(cg_exp(cg_mul(a, a)), out, 12));
    ck_assert_double_eq(flop_of(cg, "mul exp"), 2 * 12);
    ck_assert(cg_read_floats(cg_matmul(a, b), out, 6));
    ck_assert_double_eq(flop_of(cg, "matmul"), 2 * 3 * 4 * 2);
    ck_assert(cg_read_floats(cg_sum(cg_mul(a, a), .axes = CG_AXES(1)), out, 3));
    ck_assert_double_eq(flop_of(cg, "mul sum"), 2 * 12);
    ck_assert(cg_read_floats(cg_transpose(a), out, 12));
    ck_assert_double_eq(flop_of(cg, "copy"), 0);
    cg_close(cg);
}
END_TEST

/* More launches than the ring holds between two looks at it, all in one plan. */
START_TEST(a_long_plan_waits_for_room)
{
    double total;
    cg_context *cg = open_profiled("CLGRAD_EAGER", "1");
    cg_tensor t = cg_ones(cg, CG_SHAPE(4));
    for (int i = 0; i < CG_PROFILE_PENDING + 500; i++) t = cg_sin(t);
    ck_assert_msg(cg_eval(&t, 1), "%s", cg_message(cg));
    const int64_t launches = cg_counters_get(cg).kernels_enqueued;
    cg_close(cg);
    json_t *trace = load();
    ck_assert_int_gt(launches, CG_PROFILE_PENDING);
    ck_assert_int_eq(check_launches(trace, &total), launches);
    json_decref(trace);
}
END_TEST

START_TEST(what_does_not_fit_is_counted)
{
    enum { LIMIT = 50 };
    double total;
    cg_context *cg = open_profiled(NULL, NULL);
    cg->profile->record_limit = LIMIT;
    const int64_t launches = train(cg);
    cg_close(cg);
    json_t *trace = load();
    const double dropped = number(head_of(trace), "dropped");
    ck_assert_int_le(check_launches(trace, &total), LIMIT);
    ck_assert(dropped >= (double)(launches - LIMIT));
    ck_assert(number(head_of(trace), "covered_us") < number(head_of(trace), "wall_us"));
    json_decref(trace);
}
END_TEST

/* The table has the times of the trace, and so have kernels past the limit of records. */
START_TEST(the_table_adds_up)
{
    double total, wall, busy, table;
    long long launches;
    char line[1024];
    cg_context *cg = open_profiled(NULL, NULL);
    const int64_t enqueued = train(cg);
    FILE *out = tmpfile();
    ck_assert(cg_profile_print(cg, out));
    cg_close(cg);
    rewind(out);
    ck_assert_ptr_nonnull(fgets(line, sizeof line, out));
    int kinds;
    ck_assert_int_eq(sscanf(line, "device busy %lf %% of %lf s: %lld launches, %d kinds of kernel, %lf s", &busy, &wall,
                            &launches, &kinds, &table),
                     5);
    ck_assert_int_eq(launches, enqueued);
    double sum = 0, previous = INFINITY, milliseconds;
    int rows = 0;
    while (fgets(line, sizeof line, out))
        if (sscanf(line, "%lf %*f%%", &milliseconds) == 1) {
            ck_assert(milliseconds <= previous);
            previous = milliseconds;
            sum += milliseconds;
            rows++;
        }
    fclose(out);
    ck_assert_int_eq(rows, kinds);
    json_t *trace = load();
    check_launches(trace, &total);
    ck_assert_double_eq_tol(sum, 1e-3 * total, 1e-3 * rows);
    ck_assert_double_eq_tol(1e3 * table, 1e-3 * total, 1);
    json_decref(trace);
}
END_TEST

static void expect_refusal(const char *bad)
{
    setenv("CLGRAD_PROFILE", bad, 1);
    cg_context *cg = cg_open(NULL);
    unsetenv("CLGRAD_PROFILE");
    ck_assert_int_eq(cg_status(cg), CG_ERROR_FILE);
    ck_assert_msg(strstr(cg_message(cg), "CLGRAD_PROFILE") && strstr(cg_message(cg), bad), "%s", cg_message(cg));
    cg_close(cg);
}

START_TEST(a_bad_path_is_a_clear_error)
{
    char missing[128];
    snprintf(missing, sizeof missing, "%s/none/trace.json", folder);
    expect_refusal(missing);
    expect_refusal(folder);
    expect_refusal("/dev/null");
    cg_context *cg = cg_open(NULL);
    ck_assert(!cg_profile_print(cg, stdout));
    ck_assert_int_eq(cg_status(cg), CG_ERROR_ARGUMENT);
    cg_close(cg);
    ck_assert(!cg_profile_print(NULL, stdout));
}
END_TEST

/* Nothing is left of a file that cannot be written at the end, and closing goes on. */
START_TEST(a_folder_gone_at_the_end_does_no_harm)
{
    cg_context *cg = open_profiled(NULL, NULL);
    train(cg);
    ck_assert_int_eq(rmdir(folder), 0);
    cg_close(cg);
    ck_assert_int_eq(mkdir(folder, 0700), 0);
}
END_TEST

START_TEST(a_queue_of_the_program_must_tell_times)
{
    cg_context *cg = cg_open(NULL);
    cl_device_id device = cg_opencl_device(cg);
    cl_context context = cg_opencl_context(cg);
    cl_command_queue timed = clCreateCommandQueue(context, device, CL_QUEUE_PROFILING_ENABLE, NULL);
    setenv("CLGRAD_PROFILE", path, 1);
    cg_context *untimed = cg_open_on(context, device, cg_opencl_queue(cg), NULL);
    cg_context *on = cg_open_on(context, device, timed, NULL);
    unsetenv("CLGRAD_PROFILE");
    ck_assert_int_eq(cg_status(untimed), CG_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(cg_message(untimed), "CL_QUEUE_PROFILING_ENABLE"));
    ck_assert_msg(cg_status(on) == CG_OK, "%s", cg_message(on));
    cg_close(untimed);
    cg_close(on);
    clReleaseCommandQueue(timed);
    cg_close(cg);
    json_decref(load());
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("profile");
    TCase *tests = tcase_create("profile");
    tcase_add_checked_fixture(tests, make_folder, remove_folder);
    tcase_add_test(tests, every_launch_is_in_the_trace);
    tcase_add_test(tests, a_joined_plan_is_one_kernel_with_the_labels_of_its_stages);
    tcase_add_test(tests, products_by_clblast_are_in_the_trace);
    tcase_add_test(tests, operations_are_counted);
    tcase_add_test(tests, a_long_plan_waits_for_room);
    tcase_add_test(tests, what_does_not_fit_is_counted);
    tcase_add_test(tests, the_table_adds_up);
    tcase_add_test(tests, a_bad_path_is_a_clear_error);
    tcase_add_test(tests, a_folder_gone_at_the_end_does_no_harm);
    tcase_add_test(tests, a_queue_of_the_program_must_tell_times);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}

/* What the environment and the device decide: execution op by op, looking for NaN, a limit of memory, features that are
 * missing, and which device is taken. What cannot be had is a clear error. */
#include "semantics_support.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static void train_eagerly_or_not(float weights[12])
{
    cg_seed(cg, 2);
    cg_training(cg, true);
    cg_model *model = cg_model_new(cg);
    cg_dense *first = cg_dense_new(model, "first", 5, 6), *second = cg_dense_new(model, "second", 6, 2);
    cg_optimizer *optimizer = cg_adam_new(model, .learning_rate = 0.01);
    for (int step = 0; step < 4; step++) {
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor h = cg_dropout(cg_tanh(cg_dense_call(first, numbers(CG_SHAPE(9, 5), step))), .rate = 0.3);
        cg_tensor y = cg_softmax(cg_dense_call(second, h), -1);
        cg_minimize(optimizer, cg_mean_squared_error(y, numbers(CG_SHAPE(9, 2), step + 5)));
        cg_scope_end(scope);
    }
    cg_tensor kernel = cg_value(cg_dense_kernel(second));
    ck_assert_msg(cg_read_floats(kernel, weights, 12), "%s", cg_message(cg));
    cg_release(kernel);
    cg_model_free(model);
}

/* CLGRAD_EAGER=1 stores every op's result; the results are those of fused kernels but for rounding. */
START_TEST(eager_equals_fused)
{
    float fused[12], eager[12];
    train_eagerly_or_not(fused);
    open_own("CLGRAD_EAGER", "1");
    train_eagerly_or_not(eager);
    cg_tensor x = plus(times(cg_exp(VECTOR(1, 2)), 2), 1);
    ck_assert(cg_eval(&x, 1));
    ck_assert_int_eq(cg_counters_get(cg).last_plan_kernels, 3);
    close_own();
    for (int i = 0; i < 12; i++) ck_assert_float_eq_tol(fused[i], eager[i], 1e-5F);
}
END_TEST

/* CLGRAD_CHECK=nan names the first op that made a NaN, though a later one hides it. */
START_TEST(the_first_op_that_makes_a_nan_is_named)
{
    open_own("CLGRAD_CHECK", "nan");
    cg_scope scope = cg_scope_local(cg);
    cg_tensor x = VECTOR(4, -1, 9), y = cg_add(cg_exp(x), cg_log(x));
    ck_assert(isnan(cg_item(cg_sum(cg_where(cg_is_nan(y), cg_zeros(cg, CG_SHAPE(3)), y)))));
    expect_error(CG_ERROR_NUMBER, "log: made the first NaN, at element 1 of f32[3]");
    cg_scope_end(scope);
    EXPECT(cg_sqrt(VECTOR(4, 9)), 2, 3);
    close_own();
}
END_TEST

/* NaN that was given is told from NaN that was made, and the tensor that holds it is named. */
START_TEST(nan_in_the_data_is_named)
{
    open_own("CLGRAD_CHECK", "nan");
    cg_tensor x = cg_input(cg, CG_F32, CG_SHAPE(3), ((float[]){1, 2, NAN}), .name = "pixels");
    float sum;
    ck_assert(!cg_read_floats(cg_sum(x, .axes = CG_AXES(0), .keepdims = true), &sum, 1));
    expect_error(CG_ERROR_NUMBER, "NaN in the data: pixels f32[3] has one at element 2");
    ck_assert(isnan(cg_item(cg_sum(VECTOR(NAN, 1)))));
    expect_error(CG_ERROR_NUMBER, "NaN in the data: a tensor given f32[2] has one at element 0");
    close_own();
}
END_TEST

/* A step that makes a NaN changes no variable. */
START_TEST(a_step_with_a_nan_changes_nothing)
{
    open_own("CLGRAD_CHECK", "nan");
    cg_variable *w = variable_with("w", VECTOR(1, 2)), *v = variable_with("v", VECTOR(-1, 4));
    cg_scope scope = cg_scope_begin(cg);
    cg_assign(w, plus(cg_value(w), 1));
    cg_assign(v, cg_sqrt(cg_value(v)));
    cg_scope_end(scope);
    expect_error(CG_ERROR_NUMBER, "sqrt: made the first NaN, at element 0");
    EXPECT_VALUE(w, 1, 2);
    EXPECT_VALUE(v, -1, 4);
    close_own();
}
END_TEST

/* Memory that is used up: the message says how much was needed and what the limit is, nothing has changed, and what
 * fits still runs. */
START_TEST(out_of_memory_is_a_clean_error)
{
    open_own("CLGRAD_MEMORY_LIMIT", "64M");
    ck_assert_int_eq(cg_device(cg)->memory_limit, 64 << 20);
    cg_variable *w = variable_with("w", VECTOR(1, 2));
    cg_tensor huge = cg_full(cg, CG_SHAPE(5000, 5120), 1); /* whole pages, whatever the alignment */
    ck_assert(!cg_eval(&huge, 1));
    expect_error(CG_ERROR_MEMORY, "out of device memory: 102400000 bytes are needed");
    cg_scope scope = cg_scope_begin(cg);
    cg_assign(w, plus(cg_value(w), 1));
    cg_keep(cg_exp(huge));
    cg_scope_end(scope);
    ck_assert(strstr(cg_message(cg), "of the limit of 67108864") != NULL);
    expect_error(CG_ERROR_MEMORY, "out of device memory: 102400000 bytes are needed");
    EXPECT_VALUE(w, 1, 2);
    scope = cg_scope_begin(cg);
    cg_assign(w, plus(cg_value(w), 1));
    cg_scope_end(scope);
    EXPECT_VALUE(w, 2, 3);
    close_own();
}
END_TEST

/* A read also stores the other scalars at hand, but not one that could not be had: reads after it succeed, and it fails
 * again only when asked for itself. */
START_TEST(what_failed_fails_no_later_read)
{
    open_own("CLGRAD_MEMORY_LIMIT", "64M");
    cg_tensor row = numbers(CG_SHAPE(1, 5000), 1);
    cg_tensor product = cg_matmul(cg_transpose(row), row), huge = cg_sum(cg_matmul(product, product));
    cg_tensor two = cg_sum(VECTOR(1, 1));
    ck_assert(isnan(cg_item(huge)));
    expect_error(CG_ERROR_MEMORY, "out of device memory");
    ck_assert_double_eq(cg_item(two), 2);
    ck_assert_double_eq(cg_item(cg_sum(VECTOR(1, 2))), 3);
    ck_assert(isnan(cg_item(huge)));
    expect_error(CG_ERROR_MEMORY, "out of device memory");
    close_own();
}
END_TEST

/* A context that could not be opened says why, refuses everything and can be closed. */
static void expect_refusal(const char *variable, const char *value, cg_error error, const char *part)
{
    setenv(variable, value, 1);
    cg_context *refused = cg_open(NULL);
    unsetenv(variable);
    ck_assert_ptr_nonnull(refused);
    ck_assert_int_eq(cg_status(refused), error);
    ck_assert_msg(strstr(cg_message(refused), part) != NULL, "%s", cg_message(refused));
    cg_clear_error(refused);
    ck_assert_int_eq(cg_status(refused), error);
    ck_assert(cg_is_null(cg_scalar(refused, 1)));
    ck_assert(cg_is_null(cg_zeros(refused, CG_SHAPE(2))));
    ck_assert_ptr_null(cg_variable_new(refused, "w", CG_F32, CG_SHAPE(2)));
    ck_assert(!cg_wait(refused));
    cg_scope_end(cg_scope_begin(refused));
    cg_close(refused);
}

/* What the environment asks for and cannot be had is an error that says what is possible. */
START_TEST(a_bad_environment_is_a_clear_error)
{
    expect_refusal("CLGRAD_DEVICE", "no such device", CG_ERROR_DEVICE,
                   "no OpenCL device matches \"no such device\", from CLGRAD_DEVICE; there are:\n0  ");
    expect_refusal("CLGRAD_DEVICE", "99", CG_ERROR_DEVICE, "no OpenCL device matches \"99\"");
    expect_refusal("CLGRAD_MEMORY_LIMIT", "lots", CG_ERROR_ARGUMENT, "CLGRAD_MEMORY_LIMIT is \"lots\"");
    expect_refusal("CLGRAD_GEMM", "fast", CG_ERROR_ARGUMENT,
                   "CLGRAD_GEMM is \"fast\"; it takes packed, tiled, clblast");
    expect_refusal("CLGRAD_CONVOLUTION", "fft", CG_ERROR_ARGUMENT,
                   "CLGRAD_CONVOLUTION is \"fft\"; it takes direct, winograd2, winograd4");
    expect_refusal("CLGRAD_DISABLE", "fp64,f16", CG_ERROR_ARGUMENT,
                   "CLGRAD_DISABLE is \"fp64,f16\"; it takes fp64, fp16, subgroups, vectors, overlap");
    expect_refusal("CLGRAD_LOG", "plans", CG_ERROR_ARGUMENT, "CLGRAD_LOG is \"plans\"; it takes plan, kernels");
    expect_refusal("CLGRAD_CHECK", "NaN", CG_ERROR_ARGUMENT, "CLGRAD_CHECK is \"NaN\"; it takes 0, 1, nan");
    expect_refusal("CLGRAD_EAGER", "yes", CG_ERROR_ARGUMENT, "CLGRAD_EAGER is \"yes\"; it takes 0, 1");
    cg_context *unknown = cg_open("no such device");
    const char *message = cg_message(unknown);
    ck_assert_msg(strstr(message, "matches \"no such device\"; there are:\n0  ") != NULL, "%s", message);
    ck_assert(message[strlen(message) - 1] != '\n');
    cg_close(unknown);
}
END_TEST

/* A device is chosen by index, kind, or part of its name in any case; an argument goes before the environment. */
START_TEST(a_device_is_chosen)
{
    char list[4096], part[5] = "";
    cg_device_list(list, sizeof list);
    ck_assert(strstr(list, cg_device(shared)->name) != NULL);
    for (int i = 0; i < 4; i++) {
        const char c = cg_device(shared)->name[i];
        part[i] = (char)(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    }
    const char *const kind = cg_device(shared)->is_gpu ? "gpu" : "cpu";
    const char *const choices[] = {"0", kind, part};
    for (int i = 0; i < 3; i++) {
        setenv("CLGRAD_DEVICE", "no such device", 1);
        cg_context *chosen = cg_open(choices[i]);
        unsetenv("CLGRAD_DEVICE");
        ck_assert_msg(cg_status(chosen) == CG_OK, "%s", cg_message(chosen));
        cg_close(chosen);
        open_own("CLGRAD_DEVICE", choices[i]);
        EXPECT(times(VECTOR(1, 2), 2), 2, 4);
        close_own();
    }
}
END_TEST

/* A device without f64, or one that is told so, refuses f64 by name and computes the rest. */
START_TEST(f64_can_be_missing)
{
    open_own("CLGRAD_DISABLE", "fp64");
    const double data[] = {1, 2};
    char message[200];
    snprintf(message, sizeof message, "device %s has no f64", cg_device(cg)->name);
    ck_assert(!cg_device(cg)->has_f64);
    ck_assert(cg_is_null(cg_input(cg, CG_F64, CG_SHAPE(2), data)));
    expect_error(CG_ERROR_DEVICE, message);
    ck_assert(cg_is_null(cg_cast(VECTOR(1, 2), CG_F64)));
    expect_error(CG_ERROR_DEVICE, message);
    ck_assert(cg_is_null(cg_zeros(cg, CG_SHAPE(2), .dtype = CG_F64)));
    expect_error(CG_ERROR_DEVICE, message);
    ck_assert_ptr_null(cg_variable_new(cg, "w", CG_F64, CG_SHAPE(2)));
    expect_error(CG_ERROR_DEVICE, message);
    EXPECT(times(VECTOR(1, 2), 2), 2, 4);
    close_own();
}
END_TEST

/* In a process of its own, as drivers are looked for once. */
static int run_without_devices(void)
{
    cg_context *none = cg_open(NULL);
    char list[100] = "x";
    cg_device_list(list, sizeof list);
    const bool clear = none && cg_status(none) == CG_ERROR_DEVICE &&
                       strstr(cg_message(none), "no OpenCL device found") && list[0] == '\0' &&
                       cg_is_null(cg_scalar(none, 1));
    cg_close(none);
    return clear ? 0 : 1;
}

/* No device at all is a clear error too. */
START_TEST(no_device_is_a_clear_error)
{
    int status = -1;
    const pid_t child = fork();
    if (child == 0) {
        setenv("OCL_ICD_VENDORS", "/nonexistent", 1);
        execl("/proc/self/exe", "test", "--without-devices", (char *)NULL);
        _exit(127);
    }
    ck_assert_int_gt(child, 0);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------------ */

int main(int count, char **arguments)
{
    if (count > 1 && strcmp(arguments[1], "--without-devices") == 0) return run_without_devices();
    Suite *suite = suite_create("semantics of the environment");
    TCase *tests = tcase_create("environment");
    tcase_add_checked_fixture(tests, begin_test, end_test);
    tcase_add_test(tests, eager_equals_fused);
    tcase_add_test(tests, the_first_op_that_makes_a_nan_is_named);
    tcase_add_test(tests, nan_in_the_data_is_named);
    tcase_add_test(tests, a_step_with_a_nan_changes_nothing);
    tcase_add_test(tests, out_of_memory_is_a_clean_error);
    tcase_add_test(tests, what_failed_fails_no_later_read);
    tcase_add_test(tests, a_bad_environment_is_a_clear_error);
    tcase_add_test(tests, a_device_is_chosen);
    tcase_add_test(tests, f64_can_be_missing);
    tcase_add_test(tests, no_device_is_a_clear_error);
    suite_add_tcase(suite, tests);
    return run_tests(suite);
}

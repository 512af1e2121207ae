/* What an error leaves behind: dropped assignments, kept values, a message that names the culprit, a context that goes
 * on working. Bad indices that only a kernel can find, memory that is used up, NaN, devices that lack something or are
 * not there; and that the host does not run away from the device. */
#include "semantics_support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- Errors and scopes ------------------------------------------------------------------------------------------- */

static void provoke_error(void)
{
    ck_assert(cg_is_null(cg_add(VECTOR(1, 2), VECTOR(1, 2, 3))));
}

static const char *const provoked = "add: shapes [2] and [3] do not broadcast";

/* A step scope in which an error was recorded drops its pending assignments, those before the error and those after. */
START_TEST(an_error_drops_the_scopes_assignments)
{
    cg_variable *w = variable_with("w", VECTOR(1, 2)), *v = variable_with("v", VECTOR(3, 4));
    cg_scope scope = cg_scope_begin(cg);
    cg_assign(w, times(cg_value(w), 2));
    provoke_error();
    cg_assign(v, times(cg_value(v), 2));
    mark();
    cg_scope_end(scope);
    ck_assert_int_eq(plans_run(), 0);
    expect_error(CG_ERROR_ARGUMENT, provoked);
    EXPECT_VALUE(w, 1, 2);
    EXPECT_VALUE(v, 3, 4);
    cg_variable_free(w);
    cg_variable_free(v);
}
END_TEST

/* Clearing the error in between does not bring them back. */
START_TEST(a_cleared_error_drops_them_too)
{
    cg_variable *w = variable_with("w", VECTOR(1, 2));
    cg_scope scope = cg_scope_begin(cg);
    cg_assign(w, times(cg_value(w), 2));
    provoke_error();
    cg_clear_error(cg);
    cg_scope_end(scope);
    EXPECT_VALUE(w, 1, 2);
    cg_variable_free(w);
}
END_TEST

/* Nor does another forcing point within the scope run them. */
START_TEST(a_read_in_a_failed_scope_does_not_run_them)
{
    cg_variable *w = variable_with("w", VECTOR(1, 2));
    cg_scope scope = cg_scope_begin(cg);
    cg_tensor loss = cg_sum(cg_value(w));
    cg_assign(w, times(cg_value(w), 2));
    provoke_error();
    cg_clear_error(cg);
    ck_assert_double_eq(cg_item(loss), 3);
    EXPECT_VALUE(w, 1, 2);
    cg_scope_end(scope);
    EXPECT_VALUE(w, 1, 2);
    cg_variable_free(w);
}
END_TEST

/* An error in a local scope is one in the step scope around it. */
START_TEST(an_error_in_a_local_scope_counts)
{
    cg_variable *w = variable_with("w", VECTOR(1, 2));
    cg_scope scope = cg_scope_begin(cg), local = cg_scope_local(cg);
    provoke_error();
    cg_scope_end(local);
    cg_assign(w, times(cg_value(w), 2));
    cg_scope_end(scope);
    expect_error(CG_ERROR_ARGUMENT, provoked);
    EXPECT_VALUE(w, 1, 2);
    cg_variable_free(w);
}
END_TEST

/* An error in a step scope within another drops what both had pending; what an inner scope has stored before stays, and
 * one that begins after the error and has none runs what it assigns. */
START_TEST(an_error_in_a_nested_scope_counts_for_both)
{
    cg_variable *w = variable_with("w", VECTOR(1)), *v = variable_with("v", VECTOR(1)),
                *u = variable_with("u", VECTOR(1));
    cg_scope outer = cg_scope_begin(cg), inner = cg_scope_begin(cg);
    cg_assign(w, plus(cg_value(w), 1));
    cg_scope_end(inner);
    cg_assign(v, plus(cg_value(v), 1));
    inner = cg_scope_begin(cg);
    cg_assign(w, plus(cg_value(w), 10));
    provoke_error();
    cg_scope_end(inner);
    expect_error(CG_ERROR_ARGUMENT, provoked);
    cg_assign(v, plus(cg_value(v), 1));
    inner = cg_scope_begin(cg);
    cg_assign(u, plus(cg_value(u), 1));
    cg_scope_end(inner);
    cg_scope_end(outer);
    EXPECT_VALUE(w, 2);
    EXPECT_VALUE(v, 1);
    EXPECT_VALUE(u, 2);
    cg_variable_free(w);
    cg_variable_free(v);
    cg_variable_free(u);
}
END_TEST

/* What was assigned before the scope, a model's first values as a rule, is not its own and stays pending. */
START_TEST(assignments_from_before_the_scope_stay)
{
    cg_variable *w = cg_variable_new(cg, "w", CG_F32, CG_SHAPE(2));
    cg_assign(w, times(VECTOR(1, 2), 5));
    cg_scope scope = cg_scope_begin(cg);
    cg_assign(w, times(cg_value(w), 2));
    provoke_error();
    cg_scope_end(scope);
    expect_error(CG_ERROR_ARGUMENT, provoked);
    EXPECT_VALUE(w, 5, 10);
    cg_variable_free(w);
}
END_TEST

/* The next scope works as if nothing had happened, even before the error is cleared. */
START_TEST(the_next_scope_runs_normally)
{
    cg_variable *w = variable_with("w", VECTOR(1, 2));
    for (int step = 0; step < 3; step++) {
        cg_scope scope = cg_scope_begin(cg);
        cg_assign(w, times(cg_value(w), 2));
        if (step == 1) provoke_error();
        cg_scope_end(scope);
    }
    expect_error(CG_ERROR_ARGUMENT, provoked);
    EXPECT_VALUE(w, 4, 8);
    cg_variable_free(w);
}
END_TEST

/* The first message stays until it is cleared. */
START_TEST(the_first_message_stays)
{
    provoke_error();
    ck_assert(cg_is_null(cg_matmul(VECTOR(1, 2), VECTOR(1, 2, 3))));
    ck_assert(strstr(cg_message(cg), provoked) == cg_message(cg));
    cg_clear_error(cg);
    ck_assert_int_eq(cg_status(cg), CG_OK);
    ck_assert_str_eq(cg_message(cg), "");
    ck_assert(cg_is_null(cg_matmul(VECTOR(1, 2), VECTOR(1, 2, 3))));
    expect_error(CG_ERROR_ARGUMENT, "matmul");
}
END_TEST

/* A null tensor passes through ops, differentiation and optimizers without a further message. */
START_TEST(null_passes_through)
{
    cg_variable *w = variable_with("w", VECTOR(1, 2));
    cg_tensor null = {0}, x = VECTOR(1, 2), gradient = x;
    ck_assert(cg_is_null(cg_sum(cg_add(cg_exp(null), x))));
    ck_assert(cg_is_null(cg_concat((cg_tensor[]){x, null}, 2, 0)));
    ck_assert(!cg_grad(&null, 1, &x, 1, &gradient));
    ck_assert(cg_is_null(gradient));
    ck_assert(!cg_assign(w, null));
    ck_assert(!cg_eval(&null, 1));
    ck_assert(isnan(cg_item(null)));
    ck_assert(cg_is_null(cg_keep(null)));
    cg_release(null);
    ck_assert_int_eq(cg_status(cg), CG_OK);
    EXPECT_VALUE(w, 1, 2);
    cg_variable_free(w);
}
END_TEST

/* An op's error names the op and what did not fit, at the call. */
START_TEST(errors_are_reported_at_the_call)
{
    mark();
    ck_assert(cg_is_null(cg_matmul(MATRIX(1, 2, 1, 2), MATRIX(3, 1, 1, 2, 3))));
    ck_assert_str_eq(cg_message(cg), "matmul: [1,2] x [3,1]: inner sizes 2 and 3 differ");
    ck_assert_int_eq(plans_run(), 0);
    cg_clear_error(cg);
}
END_TEST

/* A variable that has no value yet cannot be read. */
START_TEST(a_variable_without_a_value_is_an_error)
{
    cg_variable *w = cg_variable_new(cg, "w", CG_F32, CG_SHAPE(2));
    ck_assert(!cg_variable_has_value(w));
    ck_assert(cg_is_null(cg_value(w)));
    expect_error(CG_ERROR_ARGUMENT, "w: the variable has no value yet");
    ck_assert(!cg_assign(w, VECTOR(1, 2, 3)));
    expect_error(CG_ERROR_ARGUMENT, "assign: variable w is f32[2], the value f32[3]");
    cg_variable_free(w);
}
END_TEST

/* ---- Bad indices ------------------------------------------------------------------------------------------------- */

/* 1 for a label below 3. */
static cg_tensor one_of(int32_t label)
{
    return cg_sum(cg_one_hot(cg_input(cg, CG_I32, CG_SHAPE(1), &label), 3));
}

/* Counts good steps in two variables, of which only the second depends on the label. */
static void count_step(cg_variable *steps, cg_variable *labels, int32_t label)
{
    cg_scope scope = cg_scope_begin(cg);
    cg_assign(steps, plus(cg_value(steps), 1));
    cg_assign(labels, cg_add(cg_value(labels), one_of(label)));
    cg_scope_end(scope);
}

static const char *const bad_label = "one_hot: index 7 is out of range: it must be at least 0 and less than 3";

static bool look_by_read(cg_variable *variable)
{
    return !isnan(item_of(variable));
}

static bool look_by_eval(cg_variable *variable)
{
    cg_tensor x = plus(cg_value(variable), 0);
    return cg_eval(&x, 1);
}

static bool look_by_wait(cg_variable *variable)
{
    return cg_wait(cg_variable_context(variable));
}

/* The host hears of it at the next read, cg_eval or wait, and names the op; not before. All variables that the plan
 * writes keep their old value; plans that were run since are not concerned. */
START_TEST(a_bad_index_is_reported_at_the_next_look)
{
    static bool (*const looks[])(cg_variable *) = {look_by_read, look_by_eval, look_by_wait};
    for (int i = 0; i < 3; i++) {
        cg_variable *steps = variable_with("steps", VECTOR(0)), *labels = variable_with("labels", VECTOR(0));
        count_step(steps, labels, 0);
        count_step(steps, labels, 7);
        count_step(steps, labels, 2);
        ck_assert_int_eq(cg_status(cg), CG_OK);
        ck_assert(!looks[i](labels));
        expect_error(CG_ERROR_ARGUMENT, bad_label);
        EXPECT_VALUE(steps, 2);
        EXPECT_VALUE(labels, 2);
        count_step(steps, labels, 1);
        EXPECT_VALUE(labels, 3);
        cg_variable_free(steps);
        cg_variable_free(labels);
    }
}
END_TEST

/* The old values stay where the plan writes in place... */
START_TEST(a_bad_index_keeps_values_written_in_place)
{
    cg_variable *steps = variable_with("steps", VECTOR(0)), *labels = variable_with("labels", VECTOR(0));
    const cg_buffer *buffers[] = {buffer_of(steps), buffer_of(labels)};
    count_step(steps, labels, 7);
    ck_assert(!cg_wait(cg));
    expect_error(CG_ERROR_ARGUMENT, bad_label);
    ck_assert(buffer_of(steps) == buffers[0] && buffer_of(labels) == buffers[1]);
    EXPECT_VALUE(steps, 0);
    EXPECT_VALUE(labels, 0);
    cg_variable_free(steps);
    cg_variable_free(labels);
}
END_TEST

/* ...and where it writes to second buffers, because handles to the old values live. */
START_TEST(a_bad_index_keeps_values_in_second_buffers)
{
    cg_variable *steps = variable_with("steps", VECTOR(4)), *labels = variable_with("labels", VECTOR(5));
    const cg_buffer *buffers[] = {buffer_of(steps), buffer_of(labels)};
    cg_tensor old[] = {cg_value(steps), cg_value(labels)};
    count_step(steps, labels, 7);
    ck_assert(!cg_wait(cg));
    expect_error(CG_ERROR_ARGUMENT, bad_label);
    ck_assert(buffer_of(steps) != buffers[0] && buffer_of(labels) != buffers[1]);
    EXPECT_VALUE(steps, 4);
    EXPECT_VALUE(labels, 5);
    EXPECT(old[0], 4);
    EXPECT(old[1], 5);
    cg_variable_free(steps);
    cg_variable_free(labels);
}
END_TEST

/* Two variables given the same tensor keep each its own old value. */
START_TEST(a_bad_index_keeps_values_apart)
{
    cg_variable *a = variable_with("a", VECTOR(1)), *b = variable_with("b", VECTOR(2));
    for (int i = 0; i < 2; i++) {
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor x = cg_add(cg_value(a), one_of(i ? 1 : 7));
        cg_assign(a, x);
        cg_assign(b, x);
        cg_scope_end(scope);
        if (i == 0) {
            ck_assert(!cg_wait(cg));
            expect_error(CG_ERROR_ARGUMENT, bad_label);
            EXPECT_VALUE(a, 1);
            EXPECT_VALUE(b, 2);
        }
    }
    EXPECT_VALUE(a, 2);
    EXPECT_VALUE(b, 2);
    cg_variable_free(a);
    cg_variable_free(b);
}
END_TEST

/* A large update, of several kernels and work-groups, is kept back as well as a small one. */
START_TEST(a_bad_index_keeps_large_values)
{
    enum { N = 96 };
    static float before[N * N], after[N * N];
    cg_variable *w = variable_with("w", numbers(CG_SHAPE(N, N), 1));
    cg_tensor old = cg_value(w);
    ck_assert(cg_read_floats(old, before, N * N));
    cg_release(old);
    int32_t labels[N];
    for (int i = 0; i < N; i++) labels[i] = i == N - 1 ? -1 : i;
    cg_scope scope = cg_scope_begin(cg);
    cg_tensor x = cg_value(w), gradient;
    cg_tensor loss = cg_softmax_cross_entropy(cg_matmul(x, x), cg_input(cg, CG_I32, CG_SHAPE(N), labels));
    ck_assert(cg_grad(&loss, 1, &x, 1, &gradient));
    cg_assign(w, cg_sub(x, gradient));
    cg_scope_end(scope);
    ck_assert(!cg_wait(cg));
    expect_error(CG_ERROR_ARGUMENT, "index -1 is out of range: it must be at least 0 and less than 96");
    cg_tensor now = cg_value(w);
    ck_assert(cg_read_floats(now, after, N * N));
    ck_assert_mem_eq(before, after, sizeof before);
    cg_variable_free(w);
}
END_TEST

/* Gathering and scattering report their own name. */
START_TEST(the_op_of_a_bad_index_is_named)
{
    const int32_t index[] = {0, 5};
    cg_tensor indices = cg_input(cg, CG_I32, CG_SHAPE(2), index);
    float out[3];
    ck_assert(!cg_read_floats(cg_gather(VECTOR(1, 2, 3), indices, 0), out, 2));
    expect_error(CG_ERROR_ARGUMENT, "gather: index 5 is out of range");
    ck_assert(!cg_read_floats(cg_scatter_add(VECTOR(1, 2), indices, 0, 3), out, 3));
    expect_error(CG_ERROR_ARGUMENT, "scatter_add: index 5 is out of range");
}
END_TEST

/* More runs than there are status words, without a look in between: the bad one is still found, and concerns no other.
 */
START_TEST(many_unread_runs_are_no_trouble)
{
    cg_variable *steps = variable_with("steps", VECTOR(0)), *labels = variable_with("labels", VECTOR(0));
    for (int step = 0; step < 600; step++) count_step(steps, labels, step == 3 || step == 500 ? 7 : step % 3);
    ck_assert(!cg_wait(cg));
    expect_error(CG_ERROR_ARGUMENT, bad_label);
    EXPECT_VALUE(steps, 598);
    EXPECT_VALUE(labels, 598);
    cg_variable_free(steps);
    cg_variable_free(labels);
}
END_TEST

/* ---- The host does not run away ---------------------------------------------------------------------------------- */

/* Nothing in the queue runs until a thread opens the gate, after `milliseconds`. */
typedef struct gate {
    cl_event event;
    int milliseconds;
    atomic_bool open;
} gate;

static void sleep_for(int milliseconds)
{
    nanosleep(&(struct timespec){.tv_nsec = milliseconds * 1000000L}, NULL);
}

static void *open_gate(void *data)
{
    gate *g = data;
    sleep_for(g->milliseconds);
    atomic_store(&g->open, true);
    clSetUserEventStatus(g->event, CL_COMPLETE);
    return NULL;
}

/* How many step scopes the host ends while the device does nothing, pausing after each. */
static int steps_ahead(int milliseconds, int pause)
{
    cl_int status;
    pthread_t thread;
    int ahead = 0;
    cg_variable *w = variable_with("w", VECTOR(0));
    gate g = {.milliseconds = milliseconds};
    for (int step = 0; step < 100; step++) {
        if (step == 40) {
            ck_assert(cg_wait(cg));
            g.event = clCreateUserEvent(cg->cl, &status);
            ck_assert_int_eq(clEnqueueBarrierWithWaitList(cg->queue, 1, &g.event, NULL), CL_SUCCESS);
            ck_assert_int_eq(pthread_create(&thread, NULL, open_gate, &g), 0);
        }
        cg_scope scope = cg_scope_begin(cg);
        cg_assign(w, plus(cg_value(w), 1));
        cg_scope_end(scope);
        if (step < 40 || atomic_load(&g.open)) continue;
        ahead++;
        sleep_for(pause);
    }
    pthread_join(thread, NULL);
    EXPECT_VALUE(w, 100);
    clReleaseEvent(g.event);
    cg_variable_free(w);
    return ahead;
}

/* A step scope's end does not wait for its own plan, but for the one 32 before it. */
START_TEST(the_host_is_at_most_32_plans_ahead)
{
    const int ahead = steps_ahead(200, 0);
    ck_assert_msg(ahead >= 2 && ahead <= 32, "%d plans ahead", ahead);
}
END_TEST

/* Where plans take over 10 ms it waits for the one 2 before it. */
START_TEST(the_host_is_at_most_2_slow_plans_ahead)
{
    const int ahead = steps_ahead(300, 15);
    ck_assert_msg(ahead == 2, "%d plans ahead", ahead);
}
END_TEST

/* ---- Environment and device -------------------------------------------------------------------------------------- */

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
    cg_tensor huge = cg_full(cg, CG_SHAPE(5000, 5000), 1);
    ck_assert(!cg_eval(&huge, 1));
    expect_error(CG_ERROR_MEMORY, "out of device memory: 100000000 bytes are needed");
    cg_scope scope = cg_scope_begin(cg);
    cg_assign(w, plus(cg_value(w), 1));
    cg_keep(cg_exp(huge));
    cg_scope_end(scope);
    ck_assert(strstr(cg_message(cg), "of the limit of 67108864") != NULL);
    expect_error(CG_ERROR_MEMORY, "out of device memory: 100000000 bytes are needed");
    EXPECT_VALUE(w, 1, 2);
    scope = cg_scope_begin(cg);
    cg_assign(w, plus(cg_value(w), 1));
    cg_scope_end(scope);
    EXPECT_VALUE(w, 2, 3);
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
                   "no OpenCL device matches \"no such device\"; there are:\n0  ");
    expect_refusal("CLGRAD_DEVICE", "99", CG_ERROR_DEVICE, "no OpenCL device matches \"99\"");
    expect_refusal("CLGRAD_MEMORY_LIMIT", "lots", CG_ERROR_ARGUMENT, "CLGRAD_MEMORY_LIMIT is \"lots\"");
    expect_refusal("CLGRAD_GEMM", "fast", CG_ERROR_ARGUMENT, "CLGRAD_GEMM is \"fast\"; it takes packed or clblast");
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
    expect_error(CG_ERROR_ARGUMENT, message);
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

static TCase *errors(void)
{
    TCase *tests = tcase_create("errors");
    tcase_add_test(tests, an_error_drops_the_scopes_assignments);
    tcase_add_test(tests, a_cleared_error_drops_them_too);
    tcase_add_test(tests, a_read_in_a_failed_scope_does_not_run_them);
    tcase_add_test(tests, an_error_in_a_local_scope_counts);
    tcase_add_test(tests, an_error_in_a_nested_scope_counts_for_both);
    tcase_add_test(tests, assignments_from_before_the_scope_stay);
    tcase_add_test(tests, the_next_scope_runs_normally);
    tcase_add_test(tests, the_first_message_stays);
    tcase_add_test(tests, null_passes_through);
    tcase_add_test(tests, errors_are_reported_at_the_call);
    tcase_add_test(tests, a_variable_without_a_value_is_an_error);
    return tests;
}

static TCase *bad_indices(void)
{
    TCase *tests = tcase_create("bad indices");
    tcase_add_test(tests, a_bad_index_is_reported_at_the_next_look);
    tcase_add_test(tests, a_bad_index_keeps_values_written_in_place);
    tcase_add_test(tests, a_bad_index_keeps_values_in_second_buffers);
    tcase_add_test(tests, a_bad_index_keeps_values_apart);
    tcase_add_test(tests, a_bad_index_keeps_large_values);
    tcase_add_test(tests, the_op_of_a_bad_index_is_named);
    tcase_add_test(tests, many_unread_runs_are_no_trouble);
    tcase_add_test(tests, the_host_is_at_most_32_plans_ahead);
    tcase_add_test(tests, the_host_is_at_most_2_slow_plans_ahead);
    return tests;
}

static TCase *environment(void)
{
    TCase *tests = tcase_create("environment");
    tcase_add_test(tests, eager_equals_fused);
    tcase_add_test(tests, the_first_op_that_makes_a_nan_is_named);
    tcase_add_test(tests, nan_in_the_data_is_named);
    tcase_add_test(tests, a_step_with_a_nan_changes_nothing);
    tcase_add_test(tests, out_of_memory_is_a_clean_error);
    tcase_add_test(tests, a_bad_environment_is_a_clear_error);
    tcase_add_test(tests, a_device_is_chosen);
    tcase_add_test(tests, f64_can_be_missing);
    tcase_add_test(tests, no_device_is_a_clear_error);
    return tests;
}

int main(int count, char **arguments)
{
    if (count > 1 && strcmp(arguments[1], "--without-devices") == 0) return run_without_devices();
    TCase *(*const cases[])(void) = {errors, bad_indices, environment};
    Suite *suite = suite_create("semantics of failures");
    for (int i = 0; i < 3; i++) {
        TCase *tests = cases[i]();
        tcase_add_checked_fixture(tests, begin_test, end_test);
        suite_add_tcase(suite, tests);
    }
    return run_tests(suite);
}

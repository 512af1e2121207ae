/* What an error leaves behind: dropped assignments, kept values, a message that names the culprit, a context that goes
 * on working. Errors at the call, bad indices that only a kernel can find, and failing OpenCL calls; and that the host
 * does not run away from the device. */
#include "semantics_support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

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

/* The null tensor of an error passes through ops, differentiation and variables without a further message. */
START_TEST(null_passes_through)
{
    cg_variable *w = variable_with("w", VECTOR(1, 2));
    cg_tensor x = VECTOR(1, 2), null = cg_matmul(x, VECTOR(1, 2, 3)), gradient = x;
    ck_assert(cg_is_null(cg_sum(cg_add(cg_exp(null), x))));
    ck_assert(cg_is_null(cg_concat((cg_tensor[]){x, null}, 2, 0)));
    ck_assert(!cg_grad(&null, 1, &x, 1, &gradient));
    ck_assert(cg_is_null(gradient));
    ck_assert(!cg_assign(w, null));
    ck_assert(!cg_eval(&null, 1));
    ck_assert(isnan(cg_item(null)));
    ck_assert(cg_is_null(cg_keep(null)));
    cg_release(null);
    expect_error(CG_ERROR_ARGUMENT, "matmul");
    EXPECT_VALUE(w, 1, 2);
    cg_variable_free(w);
}
END_TEST

/* One that no error has left behind is reported where there is a context to report it to. */
START_TEST(null_without_an_error_is_one)
{
    cg_variable *w = variable_with("w", VECTOR(1, 2));
    cg_tensor forgotten = {0};
    ck_assert(cg_is_null(cg_add(VECTOR(1, 2), forgotten)));
    expect_error(CG_ERROR_ARGUMENT, "add: input 2 is a null tensor");
    ck_assert(cg_is_null(cg_mul(forgotten, VECTOR(1, 2))));
    expect_error(CG_ERROR_ARGUMENT, "mul: input 1 is a null tensor");
    ck_assert(!cg_assign(w, forgotten));
    expect_error(CG_ERROR_ARGUMENT, "the value of w is a null tensor");
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

/* A name that a tensor was given stands before its shape. */
START_TEST(names_reach_the_messages)
{
    const float values[] = {1, 2, 3};
    cg_tensor x = cg_input(cg, CG_F32, CG_SHAPE(3), values, .name = "features");
    ck_assert(cg_is_null(cg_add(x, cg_named(VECTOR(1, 2), "offset"))));
    expect_error(CG_ERROR_ARGUMENT, "add: shapes features [3] and offset [2] do not broadcast");
    ck_assert(cg_is_null(cg_matmul(x, VECTOR(1, 2))));
    expect_error(CG_ERROR_ARGUMENT, "matmul: features [3] x [2]: ");
    ck_assert(isnan(cg_item(x)));
    expect_error(CG_ERROR_ARGUMENT, "cg_item: the tensor features [3] has 3 elements, not 1");
    ck_assert(cg_is_null(cg_sum(x, .axes = CG_AXES(1))));
    expect_error(CG_ERROR_ARGUMENT, "sum: features [3] has no axis 1");
}
END_TEST

/* What cannot be: dtypes that do not exist, shapes, memory that is not there. Nothing crashes. */
START_TEST(impossible_arguments_are_errors)
{
    const cg_dtype none = (cg_dtype)9;
    const float values[] = {1, 2};
    float out[2];
    ck_assert(cg_is_null(cg_input(cg, none, CG_SHAPE(2), values)));
    expect_error(CG_ERROR_ARGUMENT, "input: there is no dtype 9");
    ck_assert(cg_is_null(cg_zeros(cg, CG_SHAPE(2), .dtype = none)));
    expect_error(CG_ERROR_ARGUMENT, "there is no dtype 9");
    ck_assert(cg_is_null(cg_cast(VECTOR(1, 2), none)));
    expect_error(CG_ERROR_ARGUMENT, "cast: there is no dtype 9");
    ck_assert(cg_is_null(cg_full(cg, CG_SHAPE(2), 1, .dtype = none)));
    expect_error(CG_ERROR_ARGUMENT, "there is no dtype 9");
    ck_assert(cg_is_null(cg_uniform(cg, CG_SHAPE(2), .dtype = none)));
    expect_error(CG_ERROR_ARGUMENT, "there is no dtype 9");
    ck_assert(cg_is_null(cg_bernoulli(cg, CG_SHAPE(2), 0.5, .dtype = none)));
    expect_error(CG_ERROR_ARGUMENT, "there is no dtype 9");
    ck_assert(cg_is_null(cg_one_hot(cg_iota(cg, 2), 2, .dtype = none)));
    expect_error(CG_ERROR_ARGUMENT, "one_hot: there is no dtype 9");
    ck_assert_ptr_null(cg_variable_new(cg, "w", none, CG_SHAPE(2)));
    expect_error(CG_ERROR_ARGUMENT, "w: there is no dtype 9");
    ck_assert_ptr_null(cg_variable_new(cg, NULL, CG_F32, CG_SHAPE(2)));
    expect_error(CG_ERROR_ARGUMENT, "a variable needs a name");
    ck_assert_uint_eq(cg_dtype_bytes(none), 0);
    ck_assert_str_eq(cg_dtype_name(none), "unknown");
    ck_assert(cg_is_null(cg_input(cg, CG_F32, (cg_shape){.rank = 9}, values)));
    expect_error(CG_ERROR_ARGUMENT, "input: rank 9 is not within 0 to 8");
    ck_assert(cg_is_null(cg_input(cg, CG_F32, CG_SHAPE(-3), values, .name = "x")));
    expect_error(CG_ERROR_ARGUMENT, "x: [-3] has a negative extent");
    ck_assert(cg_is_null(cg_input(cg, CG_F32, CG_SHAPE(2), NULL, .name = "x")));
    expect_error(CG_ERROR_ARGUMENT, "x: the data is NULL, though [2] has 2 elements");
    ck_assert(!cg_read_floats(VECTOR(1, 2), NULL, 2));
    expect_error(CG_ERROR_ARGUMENT, "cg_read_floats: the memory to read into is NULL");
    ck_assert(!cg_read_ints(VECTOR(1, 2), NULL, 2));
    expect_error(CG_ERROR_ARGUMENT, "cg_read_ints: the memory to read into is NULL");
    ck_assert(!cg_read(VECTOR(1, 2), NULL, 8));
    expect_error(CG_ERROR_ARGUMENT, "cg_read: the memory to read into is NULL");
    cg_tensor empty = cg_input(cg, CG_F32, CG_SHAPE(0), NULL);
    ck_assert(!cg_is_null(empty) && cg_read_floats(empty, out, 0) && cg_read_floats(empty, NULL, 0));
}
END_TEST

/* No options at all are all defaults. */
START_TEST(options_may_be_null)
{
    const float values[] = {1, 2};
    cg_tensor x = cg_input_with(cg, CG_F32, CG_SHAPE(2), values, NULL), gradient;
    ck_assert_double_eq(cg_item(cg_sum_with(x, NULL)), 3);
    EXPECT(cg_relu_with(x, NULL), 1, 2);
    EXPECT(cg_pad_with(x, CG_SHAPE(1), CG_SHAPE(0), NULL), 0, 1, 2);
    EXPECT(cg_full_with(cg, CG_SHAPE(2), 3, NULL), 3, 3);
    ck_assert(cg_grad_with(&x, 1, &x, 1, &gradient, NULL));
    cg_model *model = cg_model_new(cg);
    ck_assert_ptr_nonnull(cg_model_add_with(model, "w", x, NULL));
    ck_assert_ptr_nonnull(cg_dense_new_with(model, "dense", 2, 2, NULL));
    cg_batch_norm_layer *norm = cg_batch_norm_new_with(model, "norm", 2, NULL);
    ck_assert(!cg_is_null(cg_batch_norm_call_with(norm, cg_reshape(x, CG_SHAPE(1, 2)), NULL)));
    ck_assert_ptr_nonnull(cg_sgd_new_with(model, NULL));
    ck_assert_ptr_nonnull(cg_adam_new_with(model, NULL));
    cg_model_free(model);
    cg_progress_free(cg_progress_new_with(cg, 1, 1, NULL));
    cg_close(cg_open_with(NULL));
}
END_TEST

static const cg_op misspelt = {
    .name = "misspelt", .kind = CG_OP_MAP, .inputs = 1, .floating = true, .expression = "a * no_such_function(a)"};

/* An op whose code does not compile is named, with the way to its source. */
START_TEST(an_op_that_does_not_build_is_named)
{
    cg_tensor x = VECTOR(1, 2), y = cg_apply(&misspelt, &x, 1, NULL, 0);
    ck_assert(!cg_eval(&y, 1));
    expect_error(CG_ERROR_DEVICE, "the kernels of these ops do not build: misspelt (OpenCL error");
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

/* ---- Failing OpenCL calls ---------------------------------------------------------------------------------------- */

/* One step that writes two variables in place, by a kernel each. */
/* By two kernels: what one launch writes is never half written. */
static void step_both(cg_variable *w, cg_variable *v)
{
    cg_scope scope = cg_scope_begin(cg);
    cg_assign(w, plus(cg_value(w), 1));
    cg_assign(v, cg_square(cg_value(v)));
    cg_scope_end(scope);
}

/* After a failure before the first kernel that writes in place, everything is as before; after it, what the plan writes
 * is lost, refuses to be read, and is well again once it was assigned. */
static bool check_after_failure(cg_variable *w, cg_variable *v)
{
    ck_assert_int_eq(cg_variable_lost(w), cg_variable_lost(v));
    if (!cg_variable_lost(w)) {
        EXPECT_VALUE(w, 1, 2);
        EXPECT_VALUE(v, 3, 4, 5);
        return false;
    }
    ck_assert(!cg_variable_has_value(w));
    ck_assert(cg_is_null(cg_value(w)));
    expect_error(CG_ERROR_ARGUMENT, "w: the value was lost in a step that failed half-way");
    ck_assert(cg_assign(w, VECTOR(1, 2)) && cg_assign(v, VECTOR(3, 4, 5)) && cg_wait(cg));
    ck_assert(!cg_variable_lost(w) && !cg_variable_lost(v));
    return true;
}

/* Each OpenCL call of a step fails in turn: no variable is ever half updated without a word. */
START_TEST(a_failed_step_changes_nothing_or_says_so)
{
    open_own(NULL, NULL);
    int unchanged = 0, lost = 0;
    for (int64_t call = 0; call < 100; call++) {
        cg_scope scope = cg_scope_local(cg);
        cg_variable *w = variable_with("w", VECTOR(1, 2)), *v = variable_with("v", VECTOR(3, 4, 5));
        cg->faults.opencl_fail_at = call ? cg->faults.opencl_calls + call : 0;
        step_both(w, v);
        const bool reached = cg->faults.opencl_calls >= cg->faults.opencl_fail_at, failed = cg_status(cg) != CG_OK;
        cg->faults.opencl_fail_at = 0;
        cg_clear_error(cg);
        if (failed && check_after_failure(w, v))
            lost++;
        else
            unchanged += failed;
        cg_variable_free(w);
        cg_variable_free(v);
        cg_scope_end(scope);
        if (!reached) break;
    }
    ck_assert_int_ge(unchanged, 1);
    ck_assert_int_eq(lost, 1);
    close_own();
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

/* The name of the result is in the message: that of this call, though the plan of another serves it. */
START_TEST(a_bad_index_is_reported_under_a_name)
{
    static const char *const names[] = {"rows", "columns"};
    const int32_t index[] = {0, 5};
    cg_tensor x = VECTOR(1, 2, 3), indices = cg_input(cg, CG_I32, CG_SHAPE(2), index);
    for (int i = 0; i < 2; i++) {
        float out[2];
        char message[64];
        snprintf(message, sizeof message, "%s: index 5 is out of range", names[i]);
        ck_assert(!cg_read_floats(cg_named(cg_gather(x, indices, 0), names[i]), out, 2));
        expect_error(CG_ERROR_ARGUMENT, message);
    }
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

/* ------------------------------------------------------------------------------------------------------------------ */

/* Large pages are a matter of time only: where a pool's memory cannot be mapped to ask for them, it is one all the
 * same. */
START_TEST(pools_without_large_pages)
{
    enum { MOST = 4 << 20 };
    if (cg_device(cg)->is_gpu) return; /* whose memory has no such pages */
    float *values = calloc(MOST, sizeof *values);
    bool survived = false;
    for (int call = 1; call <= 4; call++) {
        cg_scope scope = cg_scope_begin(cg);
        cg->faults.opencl_fail_at = cg->faults.opencl_calls + call;
        cg_tensor x = cg_input(cg, CG_F32, CG_SHAPE(MOST / 4 * call), values);
        cg->faults.opencl_fail_at = 0;
        survived |= call == 2 && cg_status(cg) == CG_OK && !cg_is_null(x);
        ck_assert_ptr_null(strstr(cg_message(cg), "clEnqueueMapBuffer"));
        cg_clear_error(cg);
        cg_scope_end(scope);
    }
    ck_assert(survived);
    free(values);
}
END_TEST

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
    tcase_add_test(tests, null_without_an_error_is_one);
    tcase_add_test(tests, errors_are_reported_at_the_call);
    tcase_add_test(tests, names_reach_the_messages);
    tcase_add_test(tests, impossible_arguments_are_errors);
    tcase_add_test(tests, options_may_be_null);
    tcase_add_test(tests, an_op_that_does_not_build_is_named);
    tcase_add_test(tests, a_variable_without_a_value_is_an_error);
    tcase_add_test(tests, a_failed_step_changes_nothing_or_says_so);
    tcase_add_test(tests, pools_without_large_pages);
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
    tcase_add_test(tests, a_bad_index_is_reported_under_a_name);
    tcase_add_test(tests, many_unread_runs_are_no_trouble);
    tcase_add_test(tests, the_host_is_at_most_32_plans_ahead);
    tcase_add_test(tests, the_host_is_at_most_2_slow_plans_ahead);
    return tests;
}

int main(void)
{
    TCase *(*const cases[])(void) = {errors, bad_indices};
    Suite *suite = suite_create("semantics of failures");
    for (int i = 0; i < 2; i++) {
        TCase *tests = cases[i]();
        tcase_add_checked_fixture(tests, begin_test, end_test);
        suite_add_tcase(suite, tests);
    }
    return run_tests(suite);
}

/* Deferred calls: what is recorded whole is expanded only where a plan has to be made or something looks inside, and
 * the answer is the same as if it had been expanded at once. The dangerous case is a plan taken for another graph, so
 * most tests run two graphs that look alike from outside. */
#include "semantics_support.h"

static int expansions;

/* Outputs: input 0 minus input 2 times the gradient of input 1 by input 0; and that gradient. */
static void expand_descent(const cg_call *call, const cg_tensor *in, cg_tensor *out)
{
    (void)call;
    expansions++;
    if (!cg_grad(&in[1], 1, &in[0], 1, &out[1])) return;
    out[0] = cg_sub(in[0], cg_mul(in[2], out[1]));
}
static const cg_op descent = {.name = "descent", .kind = CG_OP_COMPOSED, .inputs = 3, .expand = expand_descent};

enum { N = 4 };

static cg_tensor vector(const float *values)
{
    return cg_input(cg, CG_F32, CG_SHAPE(N), values);
}

static cg_variable *variable_of(const float *values)
{
    cg_variable *v = cg_variable_new(cg, "v", CG_F32, CG_SHAPE(N));
    ck_assert(cg_assign(v, vector(values)));
    return v;
}

/* v := v - rate * gradient of loss, deferred. Returns the gradient. */
static cg_tensor descend(cg_variable *v, cg_tensor loss, double rate)
{
    const cg_tensor value = cg_value(v);
    const cg_tensor in[] = {value, loss, cg_scalar(cg, rate), value, value}; /* the last two for the outputs' shapes */
    cg_tensor out[2];
    ck_assert_msg(cg_defer(&descent, in, 5, NULL, 0, 3, 2, out), "%s", cg_message(cg));
    ck_assert(cg_assign(v, out[0]));
    return out[1];
}

static void check(cg_variable *v, const double *expected)
{
    float now[N];
    ck_assert_msg(cg_read_floats(cg_value(v), now, N), "%s", cg_message(cg));
    for (int i = 0; i < N; i++) ck_assert_double_eq_tol(now[i], expected[i], 1e-5 * (1 + fabs(expected[i])));
}

static const float start[N] = {1, -2, 0.5f, 3};

/* The gradient of sum v^3 is 3 v^2. Rates differ from step to step: numbers, not structure. */
START_TEST(a_known_plan_is_not_expanded)
{
    double expected[N];
    cg_variable *v = variable_of(start);
    for (int i = 0; i < N; i++) expected[i] = start[i];
    expansions = 0;
    for (int step = 0; step < 6; step++) {
        const double rate = 0.01 * (step + 1);
        cg_scope scope = cg_scope_begin(cg);
        descend(v, cg_sum(cg_mul(cg_value(v), cg_square(cg_value(v)))), rate);
        ck_assert_int_eq(cg->deferred, 1);
        cg_scope_end(scope);
        ck_assert_int_eq(cg->deferred, 0);
        for (int i = 0; i < N; i++) expected[i] -= rate * 3 * expected[i] * expected[i];
        check(v, expected);
    }
    ck_assert_int_eq(expansions, 1);
    cg_variable_free(v);
}
END_TEST

/* Two losses, each used in turn; and a third that differs by a literal only. */
START_TEST(other_graphs_are_not_taken_for_it)
{
    double expected[N];
    cg_variable *v = variable_of(start);
    for (int i = 0; i < N; i++) expected[i] = start[i];
    expansions = 0;
    for (int step = 0; step < 9; step++) {
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor value = cg_value(v), loss;
        if (step % 3 == 0) loss = cg_sum(cg_square(value));
        if (step % 3 == 1) loss = cg_sum(cg_sin(value));
        if (step % 3 == 2) loss = cg_sum(cg_mul(cg_constant(cg, CG_F32, 0.5), cg_square(value)));
        descend(v, loss, 0.1);
        cg_scope_end(scope);
        for (int i = 0; i < N; i++)
            expected[i] -= 0.1 * (step % 3 == 0 ? 2 * expected[i] : step % 3 == 1 ? cos(expected[i]) : expected[i]);
        check(v, expected);
    }
    ck_assert_int_eq(expansions, 3);
    cg_variable_free(v);
}
END_TEST

/* A loss read before the step is stored: from outside a leaf, whatever is behind it. */
START_TEST(history_behind_stored_values_counts)
{
    double expected[N];
    cg_variable *v = variable_of(start);
    for (int i = 0; i < N; i++) expected[i] = start[i];
    for (int step = 0; step < 4; step++) {
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor loss = step % 2 ? cg_sum(cg_sin(cg_value(v))) : cg_sum(cg_square(cg_value(v)));
        ck_assert(!isnan(cg_item(loss)));
        descend(v, loss, 0.1);
        cg_scope_end(scope);
        for (int i = 0; i < N; i++) expected[i] -= 0.1 * (step % 2 ? cos(expected[i]) : 2 * expected[i]);
        check(v, expected);
    }
    cg_variable_free(v);
}
END_TEST

static void scaled_rule(void *user, const cg_tensor *inputs, int input_count, const cg_tensor *outputs,
                        const cg_tensor *cotangents, int output_count, cg_tensor *result)
{
    (void)input_count, (void)outputs, (void)output_count;
    (void)inputs;
    result[0] = cg_mul(cg_scalar(cg, *(const double *)user), cotangents[0]);
}

/* A rule of the user's, and what it reads, is nothing that a graph shows. */
START_TEST(rules_of_the_user_are_asked_each_time)
{
    const double factors[3] = {1, 5, -2};
    double expected[N];
    cg_variable *v = variable_of(start);
    for (int i = 0; i < N; i++) expected[i] = start[i];
    for (int step = 0; step < 3; step++) {
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor value = cg_value(v), copy = cg_neg(value), result;
        ck_assert(cg_custom_gradient(&value, 1, &copy, 1, scaled_rule, (void *)&factors[step], &result));
        descend(v, cg_sum(result), 0.1);
        cg_scope_end(scope);
        for (int i = 0; i < N; i++) expected[i] -= 0.1 * factors[step];
        check(v, expected);
    }
    cg_variable_free(v);
}
END_TEST

/* Where a slice starts is an argument, for its derivative too. */
START_TEST(slices_move)
{
    double expected[N];
    cg_variable *v = variable_of(start);
    for (int i = 0; i < N; i++) expected[i] = start[i];
    for (int step = 0; step < 3; step++) {
        cg_scope scope = cg_scope_begin(cg);
        descend(v, cg_sum(cg_square(cg_slice(cg_value(v), CG_RANGE(step, step + 2, 1)))), 0.1);
        cg_scope_end(scope);
        for (int i = step; i < step + 2; i++) expected[i] -= 0.1 * 2 * expected[i];
        check(v, expected);
    }
    cg_variable_free(v);
}
END_TEST

/* The second derivative of what a step assigns, by its rate. */
START_TEST(differentiating_looks_inside)
{
    float derivative[N];
    cg_variable *v = variable_of(start);
    cg_scope scope = cg_scope_begin(cg);
    cg_tensor old = cg_value(v), gradient = descend(v, cg_sum(cg_square(cg_value(v))), 0.25), sum, result;
    sum = cg_sum(cg_mul(cg_value(v), gradient)); /* (v - 0.25 * 2 v) 2 v = v^2 */
    ck_assert_msg(cg_grad(&sum, 1, &old, 1, &result), "%s", cg_message(cg));
    ck_assert(cg_read_floats(result, derivative, N));
    for (int i = 0; i < N; i++) ck_assert_double_eq_tol(derivative[i], 2 * start[i], 1e-5);
    cg_scope_end(scope);
    cg_variable_free(v);
}
END_TEST

/* A value that somebody keeps must not be overwritten, though the plan for the step is known and does so. */
START_TEST(what_is_kept_is_not_overwritten)
{
    float before[N];
    cg_variable *v = variable_of(start);
    double expected[N];
    for (int i = 0; i < N; i++) expected[i] = start[i];
    for (int step = 0; step < 4; step++) {
        const bool keeps = step % 2;
        cg_tensor kept = keeps ? cg_value(v) : (cg_tensor){0};
        cg_scope scope = cg_scope_begin(cg);
        descend(v, cg_sum(cg_square(cg_value(v))), 0.1);
        cg_scope_end(scope);
        if (keeps) {
            ck_assert(cg_read_floats(kept, before, N));
            for (int i = 0; i < N; i++) ck_assert_double_eq_tol(before[i], expected[i], 1e-5);
        }
        for (int i = 0; i < N; i++) expected[i] *= 0.8;
        check(v, expected);
    }
    cg_variable_free(v);
}
END_TEST

static void expand_noise(const cg_call *call, const cg_tensor *in, cg_tensor *out)
{
    out[0] = cg_add(in[0], cg_uniform(call->context, CG_SHAPE(N)));
}
static const cg_op noise = {.name = "noise", .kind = CG_OP_COMPOSED, .inputs = 1, .expand = expand_noise};

START_TEST(random_numbers_are_new_each_time)
{
    float first[N], second[N];
    cg_variable *v = variable_of(start);
    for (int step = 0; step < 2; step++) {
        cg_scope scope = cg_scope_begin(cg);
        const cg_tensor value = cg_value(v);
        cg_tensor noisy;
        ck_assert(cg_defer(&noise, &value, 1, NULL, 0, 0, 1, &noisy));
        ck_assert(cg_read_floats(cg_sub(noisy, value), step ? second : first, N));
        cg_scope_end(scope);
    }
    ck_assert_mem_ne(first, second, sizeof first);
    cg_variable_free(v);
}
END_TEST

static void expand_pieces(const cg_call *call, const cg_tensor *in, cg_tensor *out)
{
    (void)call;
    out[0] = in[0];          /* an input itself */
    out[1] = cg_neg(in[0]);  /* one value... */
    out[2] = out[1];         /* ...twice */
    out[3] = cg_neg(out[2]); /* made of it */
}
static const cg_op pieces = {.name = "pieces", .kind = CG_OP_COMPOSED, .inputs = 1, .expand = expand_pieces};

START_TEST(outputs_may_be_inputs_or_equal)
{
    const float signs[4] = {1, -1, -1, 1};
    const cg_tensor x = vector(start), in[] = {x, x, x, x};
    cg_tensor out[4];
    ck_assert(cg_defer(&pieces, in, 4, NULL, 0, 0, 4, out));
    ck_assert(cg_eval(out, 4));
    for (int k = 0; k < 4; k++) {
        float got[N];
        ck_assert(cg_read_floats(out[k], got, N));
        for (int i = 0; i < N; i++) ck_assert_float_eq(got[i], signs[k] * start[i]);
    }
}
END_TEST

static void expand_wrong(const cg_call *call, const cg_tensor *in, cg_tensor *out)
{
    (void)call;
    out[0] = cg_sum(in[0]);
}
static const cg_op wrong = {.name = "wrong", .kind = CG_OP_COMPOSED, .inputs = 1, .expand = expand_wrong};

START_TEST(errors_are_reported_at_the_forcing_point)
{
    float now[N];
    cg_variable *v = variable_of(start);
    cg_scope scope = cg_scope_begin(cg);
    const cg_tensor value = cg_value(v);
    cg_tensor next;
    ck_assert(cg_defer(&wrong, &value, 1, NULL, 0, 0, 1, &next));
    ck_assert(cg_assign(v, next));
    ck_assert_int_eq(cg_status(cg), CG_OK);
    cg_scope_end(scope);
    ck_assert_ptr_nonnull(strstr(cg_message(cg), "wrong: output 0 of the expansion is not as announced"));
    cg_clear_error(cg);
    ck_assert(cg_read_floats(cg_value(v), now, N));
    ck_assert_mem_eq(now, start, sizeof now);
    cg_variable_free(v);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("deferred calls");
    TCase *tests = tcase_create("deferred calls");
    tcase_add_checked_fixture(tests, begin_test, end_test);
    tcase_add_test(tests, a_known_plan_is_not_expanded);
    tcase_add_test(tests, other_graphs_are_not_taken_for_it);
    tcase_add_test(tests, history_behind_stored_values_counts);
    tcase_add_test(tests, rules_of_the_user_are_asked_each_time);
    tcase_add_test(tests, slices_move);
    tcase_add_test(tests, differentiating_looks_inside);
    tcase_add_test(tests, what_is_kept_is_not_overwritten);
    tcase_add_test(tests, random_numbers_are_new_each_time);
    tcase_add_test(tests, outputs_may_be_inputs_or_equal);
    tcase_add_test(tests, errors_are_reported_at_the_forcing_point);
    suite_add_tcase(suite, tests);
    return run_tests(suite);
}

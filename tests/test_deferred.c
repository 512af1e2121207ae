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

static const float start[N] = {1, -2, 0.5f, 3};

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

/* A variable at `start`, and what is expected of it. */
static cg_variable *variable_at_start(double *expected)
{
    for (int i = 0; i < N; i++) expected[i] = start[i];
    return variable_of(start);
}

static void check(cg_variable *v, const double *expected)
{
    float now[N];
    ck_assert_msg(cg_read_floats(cg_value(v), now, N), "%s", cg_message(cg));
    for (int i = 0; i < N; i++) ck_assert_double_eq_tol(now[i], expected[i], 1e-5 * (1 + fabs(expected[i])));
}

static void expand_squared(const cg_call *call, const cg_tensor *in, cg_tensor *out)
{
    (void)call;
    out[0] = cg_mul(in[0], in[0]);
}

static bool infer_squared(const cg_call *call, cg_inferred *result)
{
    result->shape[0] = call->input_shapes[0];
    result->dtype[0] = call->input_dtypes[0];
    return true;
}

/* Not the square's derivative, so that it shows which one was taken. */
static void vjp_squared(const cg_vjp *vjp, cg_tensor *result)
{
    result[0] = cg_mul(vjp->cotangents[0], cg_constant(cg, CG_F32, 10));
}

static const cg_op squared_with_rule = {.name = "squared",
                                        .kind = CG_OP_COMPOSED,
                                        .inputs = 1,
                                        .infer = infer_squared,
                                        .expand = expand_squared,
                                        .deferred = true,
                                        .vjp = vjp_squared};

/* A deferred call's own rule is its derivative, where a gradient is asked for and inside another deferred call. */
START_TEST(a_rule_of_its_own_comes_before_the_expansion)
{
    double expected[N];
    float gradient[N];
    cg_variable *v = variable_at_start(expected);
    cg_tensor x = cg_value(v), y = cg_apply(&squared_with_rule, &x, 1, NULL, 0), loss = cg_sum(y), slope;
    ck_assert_msg(cg_grad(&loss, 1, &x, 1, &slope), "%s", cg_message(cg));
    ck_assert(cg_read_floats(slope, gradient, N));
    for (int i = 0; i < N; i++) ck_assert_float_eq(gradient[i], 10);
    ck_assert_double_eq(cg_item(loss), 1 + 4 + 0.25 + 9);
    for (int step = 0; step < 3; step++) {
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor value = cg_value(v);
        descend(v, cg_sum(cg_apply(&squared_with_rule, &value, 1, NULL, 0)), 0.1);
        cg_scope_end(scope);
        for (int i = 0; i < N; i++) expected[i] -= 1;
        check(v, expected);
    }
    cg_variable_free(v);
}
END_TEST

/* The gradient of sum v^3 is 3 v^2. Rates differ from step to step: numbers, not structure. */
START_TEST(a_known_plan_is_not_expanded)
{
    double expected[N];
    cg_variable *v = variable_at_start(expected);
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

/* Once the plan of a step with a batch norm is known, its end makes no node: nothing of it is expanded. */
START_TEST(a_known_batch_norm_is_not_expanded)
{
    cg_model *model = cg_model_new(cg);
    cg_batch_norm_layer *norm = cg_batch_norm_new(model, "norm", N);
    cg_optimizer *optimizer = cg_sgd_new(model, .learning_rate = 0.1);
    for (int step = 0; step < 6; step++) {
        const float x[2 * N] = {1, 2, 3, 4, (float)step, 7, -3, 5};
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor y = cg_batch_norm_call(norm, cg_input(cg, CG_F32, CG_SHAPE(2, N), x), .mode = CG_MODE_TRAINING);
        cg_minimize(optimizer, cg_sum(cg_square(y)));
        const uint64_t recorded = cg->next_node;
        cg_scope_end(scope);
        ck_assert_msg(cg_status(cg) == CG_OK, "%s", cg_message(cg));
        if (step == 0)
            ck_assert_uint_gt(cg->next_node, recorded);
        else if (step > 1)
            ck_assert_uint_eq(cg->next_node, recorded);
    }
    cg_model_free(model);
}
END_TEST

/* 3 x^2 of x, as an op that is deferred when it is applied. */
static bool infer_tripled(const cg_call *call, cg_inferred *result)
{
    result->shape[0] = call->input_shapes[0];
    result->dtype[0] = call->input_dtypes[0];
    return true;
}

static void expand_tripled(const cg_call *call, const cg_tensor *in, cg_tensor *out)
{
    expansions++;
    out[0] = cg_mul(cg_constant(call->context, call->input_dtypes[0], 3), cg_square(in[0]));
}
static const cg_op tripled = {.name = "tripled",
                              .kind = CG_OP_COMPOSED,
                              .inputs = 1,
                              .infer = infer_tripled,
                              .expand = expand_tripled,
                              .deferred = true};

/* Alone, in a step, and as what a variable is given. The gradient of sum 3 v^2 is 6 v. */
START_TEST(an_op_may_ask_to_be_deferred)
{
    double expected[N];
    cg_variable *v = variable_at_start(expected), *copy = variable_of(start);
    expansions = 0;
    for (int step = 0; step < 5; step++) {
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor y = cg_apply(&tripled, (cg_tensor[]){cg_value(v)}, 1, NULL, 0);
        ck_assert_int_eq(cg->deferred, 1);
        ck_assert(cg_assign(copy, y));
        descend(v, cg_sum(y), 0.01);
        cg_scope_end(scope);
        ck_assert_int_eq(cg->deferred, 0);
        double tripled_before[N];
        for (int i = 0; i < N; i++) tripled_before[i] = 3 * expected[i] * expected[i];
        for (int i = 0; i < N; i++) expected[i] -= 0.01 * 6 * expected[i];
        check(v, expected);
        check(copy, tripled_before);
    }
    ck_assert_int_eq(expansions, 2); /* it and the descent, once each */
    cg_variable_free(v);
    cg_variable_free(copy);
}
END_TEST

/* Stored in the middle of a step, it still has its history. */
START_TEST(what_was_read_can_be_differentiated)
{
    double expected[N];
    cg_variable *v = variable_at_start(expected);
    for (int step = 0; step < 3; step++) {
        float y[N], gradient[N];
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor x = cg_value(v), value = cg_apply(&tripled, &x, 1, NULL, 0), g;
        ck_assert(cg_read_floats(value, y, N));
        ck_assert_int_eq(cg->deferred, step > 0); /* the first read made the plan */
        ck_assert(cg_grad(&value, 1, &x, 1, &g));
        ck_assert_int_eq(cg->deferred, 0);
        ck_assert(cg_read_floats(g, gradient, N));
        cg_scope_end(scope);
        for (int i = 0; i < N; i++) {
            ck_assert_double_eq_tol(y[i], 3 * expected[i] * expected[i], 1e-4);
            ck_assert_double_eq_tol(gradient[i], 6 * expected[i], 1e-4);
        }
    }
    cg_variable_free(v);
}
END_TEST

/* A number that yields to the dtypes of others still does so behind such an op, which is then expanded at once. */
START_TEST(numbers_are_not_deferred)
{
    cg_scope scope = cg_scope_begin(cg);
    const cg_tensor number = cg_scalar_int(cg, 2);
    const cg_tensor y = cg_apply(&tripled, &number, 1, NULL, 0);
    ck_assert_int_eq(cg->deferred, 0);
    ck_assert_double_eq(cg_item(y), 12);
    cg_scope_end(scope);
}
END_TEST

/* A minibatch of another size needs another plan, but no other program. */
START_TEST(minibatches_keep_their_axis)
{
    cg_model *model = cg_model_new(cg);
    cg_dense *dense = cg_dense_new(model, "dense", 3, 5);
    cg_batch_norm_layer *norm = cg_batch_norm_new(model, "norm", 5);
    cg_optimizer *sgd = cg_sgd_new(model);
    int64_t built[3];
    cg_training(cg, true);
    for (int step = 0; step < 3; step++) {
        static const int32_t labels[48];
        static const float x[48 * 3] = {1, 2, -1};
        const int64_t rows = 16 * (step + 1);
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor in = cg_input(cg, CG_F32, CG_SHAPE(rows, 3), x, .has_batch_axis = true);
        cg_tensor classes = cg_input(cg, CG_I32, CG_SHAPE(rows), labels, .has_batch_axis = true);
        cg_tensor h = cg_softmax(cg_batch_norm_call(norm, cg_dense_call(dense, in)), -1);
        ck_assert(cg_minimize(sgd, cg_softmax_cross_entropy(h, classes)));
        cg_scope_end(scope);
        ck_assert_msg(cg_wait(cg), "%s", cg_message(cg));
        built[step] = cg_counters_get(cg).kernels_built;
    }
    ck_assert_int_gt(built[0], 0);
    ck_assert_int_eq(built[2], built[1]);
    cg_model_free(model);
}
END_TEST

/* Two losses, each used in turn; and a third that differs by a literal only. */
START_TEST(other_graphs_are_not_taken_for_it)
{
    double expected[N];
    cg_variable *v = variable_at_start(expected);
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
    cg_variable *v = variable_at_start(expected);
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
    cg_variable *v = variable_at_start(expected);
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
    cg_variable *v = variable_at_start(expected);
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

/* ---- what an expansion must not disturb, and what must not disturb it ---------------------------------------------
 */

static void expand_part(const cg_call *call, const cg_tensor *in, cg_tensor *out)
{
    (void)call;
    out[0] = cg_slice(in[0], CG_RANGE(2, 2 + N, 1));
}
static const cg_op part = {.name = "part", .kind = CG_OP_COMPOSED, .inputs = -1, .expand = expand_part};

START_TEST(an_output_may_be_a_slice)
{
    const float values[2 * N] = {0, 1, 2, 3, 4, 5, 6, 7};
    for (int step = 0; step < 3; step++) {
        float got[N];
        cg_scope scope = cg_scope_begin(cg);
        const cg_tensor in[] = {cg_input(cg, CG_F32, CG_SHAPE(2 * N), values), vector(values)};
        cg_tensor out;
        ck_assert(cg_defer(&part, in, 2, NULL, 0, 1, 1, &out));
        ck_assert(cg_read_floats(cg_add(out, out), got, N));
        for (int i = 0; i < N; i++) ck_assert_float_eq(got[i], 2 * values[i + 2]);
        cg_scope_end(scope);
    }
}
END_TEST

START_TEST(an_input_given_back_keeps_its_readers)
{
    float got[N];
    const cg_tensor x = cg_neg(vector(start));
    const cg_tensor in[] = {x, x, x, x};
    cg_tensor out[4], gradient;
    ck_assert(cg_defer(&pieces, in, 4, NULL, 0, 0, 4, out));
    cg_tensor loss = cg_sum(cg_square(out[0]));
    ck_assert_msg(cg_grad(&loss, 1, &x, 1, &gradient), "%s", cg_message(cg));
    ck_assert(cg_read_floats(gradient, got, N));
    for (int i = 0; i < N; i++) ck_assert_float_eq(got[i], -2 * start[i]);
}
END_TEST

static void expand_keyed(const cg_call *call, const cg_tensor *in, cg_tensor *out)
{
    out[0] = cg_add(in[0], cg_uniform(call->context, CG_SHAPE(N), .key = 7, .has_key = true));
}
static const cg_op keyed = {.name = "keyed", .kind = CG_OP_COMPOSED, .inputs = 1, .expand = expand_keyed};

START_TEST(the_seed_is_todays)
{
    for (uint64_t seed = 0; seed < 3; seed++) {
        float deferred[N], direct[N];
        cg_seed(cg, seed);
        cg_scope scope = cg_scope_begin(cg);
        const cg_tensor x = vector(start);
        cg_tensor out;
        ck_assert(cg_defer(&keyed, &x, 1, NULL, 0, 0, 1, &out));
        ck_assert(cg_read_floats(out, deferred, N));
        ck_assert(cg_read_floats(cg_add(x, cg_uniform(cg, CG_SHAPE(N), .key = 7, .has_key = true)), direct, N));
        ck_assert_mem_eq(deferred, direct, sizeof direct);
        cg_scope_end(scope);
    }
}
END_TEST

static double temperature;

static void heat_vjp(const cg_vjp *vjp, cg_tensor *result)
{
    result[0] = cg_mul(cg_scalar(cg, temperature), vjp->cotangents[0]);
}
static const cg_op heat = {.name = "heat", .kind = CG_OP_MAP, .inputs = 1, .expression = "a", .vjp = heat_vjp};

START_TEST(numbers_of_a_rule_are_todays)
{
    double expected[N];
    cg_variable *v = variable_at_start(expected);
    for (int step = 0; step < 3; step++) {
        temperature = step + 1;
        cg_scope scope = cg_scope_begin(cg);
        const cg_tensor value = cg_value(v);
        descend(v, cg_sum(cg_apply(&heat, &value, 1, NULL, 0)), 0.5);
        cg_scope_end(scope);
        for (int i = 0; i < N; i++) expected[i] -= 0.5 * temperature;
        check(v, expected);
    }
    cg_variable_free(v);
}
END_TEST

/* A call recorded outside reads a value that an inner step ends the history of. */
START_TEST(an_inner_step_does_not_cut_what_was_recorded_before)
{
    float got[N];
    cg_variable *v = variable_of(start);
    cg_scope scope = cg_scope_begin(cg);
    const cg_tensor x = vector(start);
    ck_assert(cg_assign(v, cg_square(x)));
    const cg_tensor in[] = {x, cg_sum(cg_square(cg_value(v))), cg_scalar(cg, 1), x, x};
    cg_tensor out[2];
    ck_assert(cg_defer(&descent, in, 5, NULL, 0, 3, 2, out));
    cg_scope inner = cg_scope_begin(cg);
    cg_scope_end(inner);
    ck_assert(cg_read_floats(out[1], got, N)); /* of the sum of x^4 */
    for (int i = 0; i < N; i++) ck_assert_float_eq_tol(got[i], 4 * start[i] * start[i] * start[i], 1e-4f);
    cg_scope_end(scope);
    cg_variable_free(v);
}
END_TEST

static void reading_rule(void *user, const cg_tensor *inputs, int input_count, const cg_tensor *outputs,
                         const cg_tensor *cotangents, int output_count, cg_tensor *result)
{
    (void)user, (void)input_count, (void)outputs, (void)output_count;
    (void)cg_item(cg_sum(inputs[0]));
    result[0] = cotangents[0];
}

START_TEST(a_rule_that_reads_is_an_error)
{
    cg_variable *v = variable_of(start);
    cg_scope scope = cg_scope_begin(cg);
    cg_tensor value = cg_neg(cg_value(v)), copy = cg_neg(value), result;
    ck_assert(cg_custom_gradient(&value, 1, &copy, 1, reading_rule, NULL, &result));
    descend(v, cg_sum(result), 0.1);
    cg_scope_end(scope);
    ck_assert_ptr_nonnull(strstr(cg_message(cg), "inside an expansion or a derivative rule"));
    cg_clear_error(cg);
    check(v, (const double[]){start[0], start[1], start[2], start[3]});
    cg_variable_free(v);
}
END_TEST

START_TEST(an_old_error_does_not_stop_steps)
{
    double expected[N];
    cg_variable *v = variable_at_start(expected);
    cg_add(vector(start), cg_input(cg, CG_F32, CG_SHAPE(3), start));
    ck_assert_int_ne(cg_status(cg), CG_OK);
    for (int step = 0; step < 3; step++) {
        cg_scope scope = cg_scope_begin(cg);
        descend(v, cg_sum(cg_cos(cg_value(v))), 0.1);
        cg_scope_end(scope);
        for (int i = 0; i < N; i++) expected[i] += 0.1 * sin(expected[i]);
    }
    cg_clear_error(cg);
    check(v, expected);
    cg_variable_free(v);
}
END_TEST

START_TEST(bad_counts_are_errors)
{
    const cg_tensor x = vector(start);
    int64_t attributes[CG_MAX_ATTRIBUTES + 1] = {0};
    cg_tensor out;
    ck_assert(!cg_defer(&keyed, &x, 1, attributes, CG_MAX_ATTRIBUTES + 1, 0, 1, &out));
    ck_assert_ptr_nonnull(strstr(cg_message(cg), "keyed: 41 attributes are too many"));
    cg_clear_error(cg);
    ck_assert(!cg_defer(&keyed, &x, 1, NULL, 0, 1, 1, &out));
    ck_assert_ptr_nonnull(strstr(cg_message(cg), "keyed: 1 outputs like the inputs from number 1 of 1"));
    cg_clear_error(cg);
}
END_TEST

/* ---- several steps in one scope -----------------------------------------------------------------------------------
 */

typedef struct pair {
    cg_model *model;
    cg_dense *first, *second;
    cg_optimizer *optimizer;
} pair;

static pair pair_new(void)
{
    pair p = {.model = cg_model_new(cg)};
    cg_seed(cg, 1);
    p.first = cg_dense_new(p.model, "first", 3, 2);
    p.second = cg_dense_new(p.model, "second", 2, 2);
    p.optimizer = cg_sgd_new(p.model, .learning_rate = 0.1);
    return p;
}

static void two_steps(const pair *p, bool apart)
{
    const float rows[12] = {0.1f, 0.8f, 0.9f, 0.1f, -0.7f, -0.9f, -0.2f, 0.6f, 0.9f, 0.4f, -0.5f, -1};
    const int32_t labels[4] = {0, 1, 1, 0};
    cg_scope scope = cg_scope_begin(cg);
    cg_tensor x = cg_input(cg, CG_F32, CG_SHAPE(4, 3), rows), y = cg_input(cg, CG_I32, CG_SHAPE(4), labels);
    cg_tensor logits = cg_dense_call(p->second, cg_tanh(cg_dense_call(p->first, x)));
    ck_assert(cg_minimize(p->optimizer, cg_softmax_cross_entropy(logits, y)));
    if (apart) ck_assert(cg_flush(cg));
    logits = cg_dense_call(p->second, cg_tanh(cg_dense_call(p->first, x)));
    ck_assert(cg_minimize(p->optimizer, cg_mean(cg_square(logits))));
    cg_scope_end(scope);
}

/* The second call's expansion finds the memory of what the first one's has freed. */
START_TEST(two_steps_in_a_scope_are_as_apart)
{
    pair together = pair_new(), apart = pair_new();
    for (int i = 0; i < 6; i++) {
        float a[6], b[6];
        two_steps(&together, false);
        two_steps(&apart, true);
        ck_assert(cg_read_floats(cg_value(cg_model_find(together.model, "first/kernel")), a, 6));
        ck_assert(cg_read_floats(cg_value(cg_model_find(apart.model, "first/kernel")), b, 6));
        for (int k = 0; k < 6; k++) ck_assert_float_eq_tol(a[k], b[k], 1e-5f);
    }
    cg_model_free(together.model);
    cg_model_free(apart.model);
}
END_TEST

/* Whichever of two steps the search meets first, each is expanded once. */
START_TEST(differentiating_through_two_steps)
{
    float got[2][N];
    for (int swapped = 0; swapped < 2; swapped++) {
        cg_variable *v = variable_of(start);
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor old = cg_value(v), result;
        descend(v, cg_sum(cg_square(cg_value(v))), 0.25);
        cg_tensor first = cg_sum(cg_sin(cg_value(v)));
        descend(v, first, 0.5);
        cg_tensor second = cg_sum(cg_square(cg_value(v)));
        cg_tensor total = swapped ? cg_add(first, second) : cg_add(second, first);
        ck_assert_msg(cg_grad(&total, 1, &old, 1, &result), "%s", cg_message(cg));
        ck_assert(cg_read_floats(result, got[swapped], N));
        cg_scope_end(scope);
        cg_variable_free(v);
        for (int i = 0; i < N; i++) { /* u = x / 2; sin u + (u - cos u / 2)^2 */
            const double u = start[i] / 2;
            const double expected = 0.5 * (cos(u) + 2 * (u - 0.5 * cos(u)) * (1 + 0.5 * sin(u)));
            ck_assert_double_eq_tol(got[swapped][i], expected, 1e-5);
        }
    }
}
END_TEST

/* More operands than any other call has. */
START_TEST(many_variables)
{
    enum { MANY = 60 };
    cg_model *model = cg_model_new(cg);
    cg_variable *variables[MANY];
    for (int i = 0; i < MANY; i++) {
        char name[16];
        snprintf(name, sizeof name, "v%d", i);
        variables[i] = cg_model_add(model, name, vector(start));
    }
    cg_optimizer *optimizer = cg_adam_new(model, .learning_rate = 0.1);
    for (int step = 0; step < 2; step++) {
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor loss = cg_sum(cg_value(variables[0]));
        for (int i = 1; i < MANY; i++) loss = cg_add(loss, cg_sum(cg_value(variables[i])));
        ck_assert(cg_minimize(optimizer, loss));
        cg_scope_end(scope);
    }
    /* Of a constant gradient, Adam's step is the rate. */
    for (int i = 0; i < MANY; i += 59)
        check(variables[i], (const double[]){start[0] - 0.2, start[1] - 0.2, start[2] - 0.2, start[3] - 0.2});
    cg_model_free(model);
}
END_TEST

START_TEST(an_optimizer_without_variables_says_so)
{
    cg_model *model = cg_model_new(cg);
    ck_assert(!cg_minimize(cg_sgd_new(model), cg_sum(vector(start))));
    ck_assert_ptr_nonnull(strstr(cg_message(cg), "minimize: the optimizer has no variables to update"));
    cg_clear_error(cg);
    cg_tensor none = {0};
    ck_assert(!cg_apply_gradients(cg_sgd_new(model, .loss_scale = cg_dynamic_loss_scale()), &none));
    ck_assert_ptr_nonnull(strstr(cg_message(cg), "apply_gradients: the optimizer has no variables to update"));
    cg_clear_error(cg);
    cg_model_free(model);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("deferred calls");
    TCase *tests = tcase_create("deferred calls");
    tcase_add_checked_fixture(tests, begin_test, end_test);
    tcase_add_test(tests, a_known_plan_is_not_expanded);
    tcase_add_test(tests, a_known_batch_norm_is_not_expanded);
    tcase_add_test(tests, an_op_may_ask_to_be_deferred);
    tcase_add_test(tests, what_was_read_can_be_differentiated);
    tcase_add_test(tests, numbers_are_not_deferred);
    tcase_add_test(tests, minibatches_keep_their_axis);
    tcase_add_test(tests, other_graphs_are_not_taken_for_it);
    tcase_add_test(tests, history_behind_stored_values_counts);
    tcase_add_test(tests, rules_of_the_user_are_asked_each_time);
    tcase_add_test(tests, slices_move);
    tcase_add_test(tests, differentiating_looks_inside);
    tcase_add_test(tests, what_is_kept_is_not_overwritten);
    tcase_add_test(tests, random_numbers_are_new_each_time);
    tcase_add_test(tests, outputs_may_be_inputs_or_equal);
    tcase_add_test(tests, errors_are_reported_at_the_forcing_point);
    tcase_add_test(tests, an_output_may_be_a_slice);
    tcase_add_test(tests, an_input_given_back_keeps_its_readers);
    tcase_add_test(tests, the_seed_is_todays);
    tcase_add_test(tests, numbers_of_a_rule_are_todays);
    tcase_add_test(tests, an_inner_step_does_not_cut_what_was_recorded_before);
    tcase_add_test(tests, a_rule_that_reads_is_an_error);
    tcase_add_test(tests, an_old_error_does_not_stop_steps);
    tcase_add_test(tests, bad_counts_are_errors);
    tcase_add_test(tests, two_steps_in_a_scope_are_as_apart);
    tcase_add_test(tests, differentiating_through_two_steps);
    tcase_add_test(tests, many_variables);
    tcase_add_test(tests, a_rule_of_its_own_comes_before_the_expansion);
    tcase_add_test(tests, an_optimizer_without_variables_says_so);
    suite_add_tcase(suite, tests);
    return run_tests(suite);
}

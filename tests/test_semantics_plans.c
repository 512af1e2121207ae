/* Which forcing points share a plan and which kernels are shared between plans: what is structure and what is an
 * argument, how another batch size is taken, that caches are bounded, and that a plan found gives the same numbers as a
 * plan made. */
#include "semantics_support.h"

#include <clgrad/normalization.h>

/* Runs `record` once for each of its numbers: all but the first must find the first one's plan. */
typedef cg_tensor (*recording)(double number);

static void expect_hits(recording record, const double *values, const float *wanted, int count)
{
    for (int i = 0; i < count; i++) {
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor result = record(values[i]);
        mark();
        expect_floats(result, 1, &wanted[i], 100 + i);
        ck_assert_int_eq(plans_run(), 1);
        if (i > 0) ck_assert_int_eq(plan_hits(), 1);
        cg_scope_end(scope);
    }
}

/* Records and reads twice: two different plans. Both results are rank 0. */
static void expect_different(recording record, double first, double second)
{
    for (int i = 0; i < 2; i++) {
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor result = record(i ? second : first);
        mark();
        ck_assert(!isnan(cg_item(result)));
        ck_assert_int_eq(plans_made(), 1);
        cg_scope_end(scope);
    }
}

/* ---- What is an argument ----------------------------------------------------------------------------------------- */

static cg_tensor with_scalar(double number)
{
    return cg_sum(cg_add(times(VECTOR(1, 2), number), cg_full(cg, CG_SHAPE(2), number)));
}

static cg_tensor with_arithmetic(double number)
{
    cg_tensor rest = cg_sub(cg_scalar(cg, 1), cg_scalar(cg, number));
    return cg_sum(cg_div(VECTOR(1, 2), cg_mul(rest, rest)));
}

static cg_tensor with_bounds(double number)
{
    return cg_sum(cg_clip(VECTOR(1, 2, 3, 4), -number, number));
}

static cg_tensor with_slope(double number)
{
    return cg_sum(cg_relu(VECTOR(-1, 2), .negative_slope = number));
}

static cg_tensor with_start(double number)
{
    return cg_sum(cg_slice_axis(VECTOR(1, 2, 3, 4, 5, 6, 7, 8), 0, (int64_t)number, (int64_t)number + 4));
}

/* Numbers that a program passes are arguments of kernels: another value finds the plan and gives its own result. */
START_TEST(another_number_hits)
{
    const double values[] = {2, 3, 0, 1, -1};
    expect_hits(with_scalar, values, (float[]){10, 15, 0, 5, -5}, 5);
    expect_hits(with_bounds, values, (float[]){7, 9, 0, 4}, 4);
}
END_TEST

/* Arithmetic on numbers alone is done by the host at every run, and is no part of the structure either. */
START_TEST(arithmetic_on_numbers_is_done_at_every_run)
{
    expect_hits(with_arithmetic, (double[]){0, 0.5, 0.9}, (float[]){3, 12, 300}, 3);
}
END_TEST

/* Where a slice starts is an argument. */
START_TEST(another_slice_start_hits)
{
    expect_hits(with_start, (double[]){0, 4, 1, 3}, (float[]){10, 26, 14, 22}, 4);
}
END_TEST

/* Numbers are never compared by value, but whether relu has a slope is a choice in its structure: without one its
 * result for -inf is 0, not NaN. */
START_TEST(relu_without_a_slope_is_another_structure)
{
    expect_different(with_slope, 0, 0.5);
    expect_hits(with_slope, (double[]){0.25, 0.5, 2}, (float[]){1.75, 1.5, 0}, 3);
    EXPECT(cg_relu(VECTOR(-INFINITY, 3)), 0, 3);
}
END_TEST

/* A training step with everything that changes from one to the next. */
typedef struct training {
    cg_model *model;
    cg_dense *first, *second;
    cg_batch_norm_layer *norm;
    cg_optimizer *optimizer;
} training;

static training training_new(void)
{
    training t = {.model = cg_model_new(cg)};
    t.first = cg_dense_new(t.model, "first", 6, 8, .kernel_penalty = cg_l2(1e-3));
    t.norm = cg_batch_norm_new(t.model, "norm", 8);
    t.second = cg_dense_new(t.model, "second", 8, 4);
    t.optimizer = cg_adam_new(t.model);
    ck_assert_msg(cg_wait(cg), "%s", cg_message(cg));
    return t;
}

enum { MOST_EXAMPLES = 400 };

static cg_tensor labels_of(int batch, int salt)
{
    int32_t values[MOST_EXAMPLES];
    ck_assert_int_le(batch, MOST_EXAMPLES);
    for (int i = 0; i < batch; i++) values[i] = (i * 3 + salt) % 4;
    return cg_input(cg, CG_I32, CG_SHAPE(batch), values, .batch_axis = 0, .has_batch_axis = true);
}

static cg_tensor examples_of(int batch, int salt)
{
    float values[MOST_EXAMPLES * 6];
    ck_assert_int_le(batch, MOST_EXAMPLES);
    for (int i = 0; i < batch * 6; i++) values[i] = (float)((i * 29 + salt * 7) % 31) / 15.0F - 1.0F;
    return cg_input(cg, CG_F32, CG_SHAPE(batch, 6), values, .batch_axis = 0, .has_batch_axis = true);
}

static void train(const training *t, int batch, int salt, double dropout)
{
    cg_scope scope = cg_scope_begin(cg);
    cg_tensor h = cg_batch_norm_call(t->norm, cg_dense_call(t->first, examples_of(batch, salt)));
    h = cg_dropout(cg_relu(h), .rate = dropout);
    ck_assert(cg_minimize(t->optimizer, cg_softmax_cross_entropy(cg_dense_call(t->second, h), labels_of(batch, salt))));
    cg_scope_end(scope);
    ck_assert_msg(cg_status(cg) == CG_OK, "%s", cg_message(cg));
}

/* Learning rate, step count, seed, the random calls' numbers, dropout rate: steps that differ in these share one plan,
 * and so does the step's data. */
START_TEST(training_steps_share_one_plan)
{
    cg_training(cg, true);
    training t = training_new();
    train(&t, 16, 0, 0.5);
    train(&t, 16, 1, 0.5);
    mark();
    train(&t, 16, 2, 0.1);
    cg_optimizer_set_learning_rate(t.optimizer, 0.1);
    train(&t, 16, 3, 0.1);
    cg_seed(cg, 7);
    train(&t, 16, 4, 0);
    ck_assert_int_eq(plans_made(), 0);
    ck_assert_int_eq(plan_hits(), 3);
    ck_assert_int_eq(kernels_built(), 0);
    cg_model_free(t.model);
}
END_TEST

/* The first step's plan is that of every other: what has no value yet begins with a stored one, as later. */
START_TEST(the_first_training_step_makes_the_plan)
{
    cg_training(cg, true);
    training t = training_new();
    train(&t, 16, 0, 0.5);
    mark();
    train(&t, 16, 1, 0.5);
    ck_assert_int_eq(plans_made(), 0);
    ck_assert_int_eq(kernels_built(), 0);
    cg_model_free(t.model);
}
END_TEST

/* Adam's step count is an argument, and the bias correction is computed anew each time: three updates by a gradient of
 * one move a weight by the rate each. */
START_TEST(the_step_count_takes_effect_at_a_hit)
{
    cg_model *model = cg_model_new(cg);
    cg_variable *w = cg_model_add(model, "w", VECTOR(1, 2));
    cg_optimizer *optimizer = cg_adam_new(model, .learning_rate = 0.5);
    ck_assert(cg_wait(cg));
    for (int step = 0; step < 3; step++) {
        if (step == 2) mark();
        cg_scope scope = cg_scope_begin(cg);
        cg_minimize(optimizer, cg_sum(cg_value(w)));
        cg_scope_end(scope);
    }
    ck_assert_int_eq(plan_hits(), 1);
    EXPECT_VALUE(w, -0.5F, 0.5F);
    cg_model_free(model);
}
END_TEST

/* ---- What is structure ------------------------------------------------------------------------------------------- */

static cg_tensor sum_of(cg_tensor a, cg_tensor b)
{
    return cg_sum(cg_add(a, b));
}

static cg_tensor same_or_not(double same)
{
    cg_tensor x = VECTOR(1, 2), y = VECTOR(10, 20);
    return sum_of(x, same != 0 ? x : y);
}

static cg_tensor shaped(double size)
{
    return cg_sum(cg_exp(numbers(CG_SHAPE((int64_t)size, 3), 1)), .axes = CG_AXES(0, 1));
}

static cg_tensor along(double axis)
{
    return cg_sum(cg_exp(cg_max(MATRIX(2, 2, 1, 2, 3, 4), .axes = CG_AXES((int)axis))));
}

static cg_tensor typed(double integer)
{
    const int32_t data[] = {1, 2};
    return cg_sum(integer != 0 ? cg_input(cg, CG_I32, CG_SHAPE(2), data) : VECTOR(1, 2));
}

static cg_tensor wired(double crossed)
{
    cg_tensor x = VECTOR(1, 2), y = VECTOR(10, 20);
    cg_tensor sum = cg_add(x, y);
    return cg_sum(crossed != 0 ? cg_sub(sum, y) : cg_sub(sum, x));
}

/* Shapes, dtypes, axes and how nodes are connected are the structure: plans differ. */
START_TEST(other_structures_make_other_plans)
{
    expect_different(same_or_not, 1, 0);
    expect_different(shaped, 5, 7);
    expect_different(along, 0, 1);
    expect_different(typed, 0, 1);
    expect_different(wired, 0, 1);
}
END_TEST

/* Leaves count by their first occurrence, not by their identity: other tensors in the same places hit. */
START_TEST(other_leaves_in_the_same_places_hit)
{
    cg_tensor x = VECTOR(1, 2), y = VECTOR(10, 20), u = VECTOR(3, 4), v = VECTOR(5, 6);
    EXPECT(sum_of(x, y), 33);
    mark();
    EXPECT(sum_of(u, v), 18);
    EXPECT(sum_of(v, x), 14);
    ck_assert_int_eq(plan_hits(), 2);
    EXPECT(sum_of(x, x), 6);
    EXPECT(sum_of(u, u), 14);
    EXPECT(cg_sum(cg_sub(y, v)), 19);
    EXPECT(cg_sum(cg_sub(v, y)), -19);
}
END_TEST

static void run_update(cg_variable *w, cg_variable *v, bool kept)
{
    cg_scope scope = cg_scope_begin(cg);
    cg_tensor x = times(cg_value(w), 2), y = plus(cg_value(v), 1);
    cg_assign(w, x);
    if (kept)
        cg_keep(y);
    else
        cg_assign(v, y);
    mark();
    cg_scope_end(scope);
}

/* What a plan stores, and whether for a variable or not, is structure: the same graph with other results differs. */
START_TEST(roots_and_assignments_are_structure)
{
    cg_variable *w = variable_with("w", VECTOR(1, 2, 3)), *v = variable_with("v", VECTOR(4, 5, 6));
    run_update(w, v, false);
    run_update(w, v, false);
    ck_assert_int_eq(plan_hits(), 1);
    run_update(w, v, true);
    ck_assert_int_eq(plans_made(), 1);
    EXPECT_VALUE(w, 8, 16, 24);
    EXPECT_VALUE(v, 6, 7, 8);
    cg_variable_free(w);
    cg_variable_free(v);
}
END_TEST

/* What may be written in place is structure: the same update with a reader alive is another plan, and right. */
START_TEST(donation_is_structure)
{
    cg_variable *w = variable_with("w", VECTOR(1, 2, 3, 4, 5));
    for (int step = 0; step < 6; step++) {
        cg_scope outer = cg_scope_local(cg);
        cg_tensor reader = step % 2 ? cg_value(w) : (cg_tensor){0};
        cg_scope scope = cg_scope_begin(cg);
        cg_assign(w, plus(cg_value(w), 1));
        mark();
        cg_scope_end(scope);
        ck_assert_int_eq(plans_made(), step < 2);
        if (step % 2) EXPECT(reader, 1 + step, 2 + step, 3 + step, 4 + step, 5 + step);
        cg_scope_end(outer);
    }
    EXPECT_VALUE(w, 7, 8, 9, 10, 11);
    cg_variable_free(w);
}
END_TEST

/* Training mode is part of the key. */
START_TEST(training_mode_is_structure)
{
    for (int i = 0; i < 4; i++) {
        cg_training(cg, i % 2);
        mark();
        EXPECT(cg_log(cg_square(VECTOR(1, 1, 1))), 0, 0, 0);
        ck_assert_int_eq(plans_made(), i < 2);
    }
}
END_TEST

static cg_tensor with_constant(double kind)
{
    cg_tensor x = VECTOR(1, 2, 3);
    cg_tensor other = kind == 0   ? cg_zeros(cg, CG_SHAPE(3))
                      : kind == 1 ? cg_ones(cg, CG_SHAPE(3))
                                  : cg_full(cg, CG_SHAPE(3), 1);
    return cg_sum(cg_mul(x, other));
}

/* Zeros and ones are literals, a kind of their own: they fold into kernels, and a number passed that happens to be 1 is
 * not taken for one. */
START_TEST(zeros_and_ones_are_literals)
{
    expect_different(with_constant, 0, 1);
    mark();
    ck_assert_double_eq(cg_item(with_constant(2)), 6);
    ck_assert_int_eq(plans_made(), 1);
    expect_hits(with_constant, (double[]){1, 1}, (float[]){6, 6}, 2);
}
END_TEST

/* Where assertions are on, plans are compared in full and not by their keys alone. */
START_TEST(plans_are_compared_in_full)
{
#ifndef NDEBUG
    cg_tensor x = VECTOR(1, 2);
    EXPECT(cg_sum(cg_tanh(cg_tanh(x))), 1.3880830F);
    const cg_plan *plan = cg->plan_newest;
    for (int i = 0; i < plan->record_count; i++) {
        plan->record[i] ^= 1;
        cg_scope scope = cg_scope_local(cg);
        ck_assert(isnan(cg_item(cg_sum(cg_tanh(cg_tanh(x))))));
        cg_scope_end(scope);
        expect_error(CG_ERROR_DEVICE, "internal: two plans have one key");
        plan->record[i] ^= 1;
    }
    mark();
    EXPECT(cg_sum(cg_tanh(cg_tanh(x))), 1.3880830F);
    ck_assert_int_eq(plan_hits(), 1);
#endif
}
END_TEST

/* Structures that look alike get their own results. */
START_TEST(similar_structures_are_told_apart)
{
    cg_tensor leaf[] = {VECTOR(1, 2), VECTOR(3, 5), VECTOR(7, 11)};
    for (int code = 0; code < 81; code++) {
        cg_scope scope = cg_scope_local(cg);
        const int i = code % 3, j = code / 3 % 3, k = code / 9 % 3, l = code / 27;
        const float v[] = {1, 3, 7}, w[] = {2, 5, 11};
        cg_tensor x = cg_sub(cg_mul(leaf[i], leaf[j]), cg_mul(leaf[k], leaf[l]));
        EXPECT(x, v[i] * v[j] - v[k] * v[l], w[i] * w[j] - w[k] * w[l]);
        cg_scope_end(scope);
    }
}
END_TEST

/* ---- Expansions -------------------------------------------------------------------------------------------------- */

/* What an expansion could see or change and must not. */
typedef struct state {
    uint64_t random;
    int pending, scopes;
    int64_t kernels, nodes;
    bool training;
} state;

static state state_now(void)
{
    return (state){cg_random_get(cg),         cg->pending_count, cg->scope_count, cg_counters_get(cg).kernels_enqueued,
                   cg_counters_get(cg).nodes, cg_is_training(cg)};
}

static void check_purity(const cg_op *op, const cg_sample *sample)
{
    cg_tensor inputs[4], outputs[CG_MAX_OUTPUTS];
    const int count = op->inputs < 0 ? 2 : op->inputs;
    cg_scope scope = cg_scope_local(cg);
    if (count > 4) return cg_scope_end(scope);
    for (int i = 0; i < count; i++) {
        cg_tensor x = numbers(sample->shapes[i], i);
        inputs[i] = cg_dtype_of(x) == sample->dtypes[i] ? x : cg_cast(cg_abs(times(x, 3)), sample->dtypes[i]);
    }
    const state before = state_now();
    ck_assert_msg(cg_apply_all(op, inputs, count, sample->attributes, sample->attribute_count, outputs), "%s: %s",
                  op->name, cg_message(cg));
    const state after = state_now();
    ck_assert_uint_eq(after.random, before.random);
    ck_assert_int_eq(after.pending, before.pending);
    ck_assert_int_eq(after.scopes, before.scopes);
    ck_assert_int_eq(after.kernels, before.kernels);
    ck_assert_int_eq(after.training, before.training);
    cg_scope_end(scope);
}

/* Composed ops neither assign nor read nor draw random numbers nor run anything; they see no context state, so training
 * mode changes nothing in them. */
START_TEST(expansions_are_pure)
{
    int count;
    const cg_op *const *table = cg_op_table(&count);
    for (int i = 0; i < count; i++)
        for (int k = 0; table[i]->kind == CG_OP_COMPOSED && k < table[i]->sample_count; k++)
            for (int training = 0; training < 2; training++) {
                cg_training(cg, training);
                check_purity(table[i], &table[i]->samples[k]);
            }
}
END_TEST

/* Batch norm's op returns its statistics and assigns nothing; the layer does that. */
START_TEST(batch_norm_returns_its_statistics)
{
    cg_tensor x = MATRIX(2, 2, 1, 2, 3, 6);
    cg_batch_norm_result r = cg_batch_norm(x, VECTOR(1, 1), VECTOR(0, 0), 1e-3);
    ck_assert_int_eq(cg->pending_count, 0);
    EXPECT(r.mean, 2, 4);
    EXPECT(r.variance, 1, 4);
    cg_model *model = cg_model_new(cg);
    cg_batch_norm_layer *layer = cg_batch_norm_new(model, "norm", 2);
    cg_scope scope = cg_scope_begin(cg);
    cg_batch_norm_call(layer, x, .mode = CG_MODE_TRAINING);
    cg_scope_end(scope);
    EXPECT_VALUE(cg_model_find(model, "norm/moving_mean"), 0.02F, 0.04F);
    cg_model_free(model);
}
END_TEST

/* A context that finds its plans computes the same bits as one that makes each of them. */
START_TEST(a_hit_gives_the_same_bits)
{
    float found[2][32];
    cg_training(cg, true);
    for (int round = 0; round < 2; round++) {
        cg_seed(cg, 3);
        training t = training_new();
        for (int step = 0; step < 4; step++) train(&t, 16, step, 0.25);
        cg_tensor kernel = cg_value(cg_model_find(t.model, "second/kernel"));
        ck_assert(cg_read_floats(kernel, found[round], 32));
        cg_release(kernel);
        cg_model_free(t.model);
    }
    ck_assert_mem_eq(found[0], found[1], sizeof found[0]);
}
END_TEST

/* ---- Batch sizes ------------------------------------------------------------------------------------------------- */

/* Another size, above 1, of the declared batch axis makes a plan on the host and builds no kernel: through dropout,
 * batch norm, reductions over the batch, the mean in the loss, and the update. */
static void expect_no_kernels_for_other_batches(void)
{
    static const int sizes[] = {48, 7, 33, 2, 64, 400};
    cg_training(cg, true);
    training t = training_new();
    train(&t, 32, 0, 0.5);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        mark();
        train(&t, sizes[i], 1, 0.5);
        ck_assert_int_eq(plans_made(), 1);
        ck_assert_msg(kernels_built() == 0, "%d kernels built for a batch of %d", kernels_built(), sizes[i]);
    }
    mark();
    train(&t, 32, 2, 0.5);
    ck_assert_int_eq(plan_hits(), 1);
    cg_model_free(t.model);
}

START_TEST(another_batch_size_builds_no_kernel)
{
    if (_i == 0) {
        expect_no_kernels_for_other_batches();
        return;
    }
    open_own("CLGRAD_DISABLE", "vectors"); /* as on GPUs */
    expect_no_kernels_for_other_batches();
    close_own();
}
END_TEST

/* The 1/N of a mean over the batch follows its size, in the value and in the gradient. */
START_TEST(the_means_divisor_follows_the_batch_size)
{
    static const int sizes[] = {24, 5, 1, 17};
    cg_variable *w = variable_with("w", VECTOR(1, 1));
    for (int k = 0; k < 4; k++) {
        const int batch = sizes[k];
        float data[64];
        double sum = 0;
        for (int i = 0; i < 2 * batch; i++) {
            data[i] = (float)(i % 7);
            sum += i % 7;
        }
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor x = cg_input(cg, CG_F32, CG_SHAPE(batch, 2), data, .batch_axis = 0, .has_batch_axis = true);
        cg_tensor value = cg_value(w), loss = cg_mean(cg_mul(x, value)), gradient;
        ck_assert(cg_grad(&loss, 1, &value, 1, &gradient));
        cg_tensor total = cg_sum(gradient);
        mark();
        ck_assert_double_eq_tol(cg_item(loss), sum / (2 * batch), 1e-6);
        ck_assert_double_eq_tol(cg_item(total), sum / (2 * batch), 1e-6);
        if (k > 0 && sizes[k] > 1) ck_assert_int_eq(kernels_built(), 0);
        cg_scope_end(scope);
    }
    cg_variable_free(w);
}
END_TEST

/* The batch axis may be any axis, and is followed through what keeps it. */
START_TEST(the_batch_axis_is_followed)
{
    static const int sizes[] = {32, 6, 1, 9};
    for (int k = 0; k < 4; k++) {
        const int n = sizes[k];
        float data[3 * 32];
        for (int row = 0; row < 3; row++)
            for (int i = 0; i < n; i++) data[row * n + i] = (float)(row + 1);
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor x = cg_input(cg, CG_F32, CG_SHAPE(3, n), data, .batch_axis = 1, .has_batch_axis = true);
        cg_tensor y = cg_exp(cg_neg(cg_transpose(x)));
        cg_tensor row_sums = cg_sum(y, .axes = CG_AXES(1), .keepdims = true);
        cg_tensor shares = cg_mean(cg_div(y, row_sums), .axes = CG_AXES(0));
        mark();
        EXPECT(shares, 0.66524096F, 0.24472847F, 0.09003057F);
        if (k > 0 && sizes[k] > 1) ck_assert_int_eq(kernels_built(), 0);
        cg_scope_end(scope);
    }
}
END_TEST

/* ---- Kernels and caches ------------------------------------------------------------------------------------------ */

/* A kernel is known by its source: another plan that needs it takes it. */
START_TEST(kernels_are_shared_between_plans)
{
    cg_tensor x = VECTOR(1, 2, 3), y = cg_cos(cg_tanh(x));
    ck_assert(cg_eval(&y, 1));
    mark();
    cg_tensor longer = cg_cos(cg_tanh(numbers(CG_SHAPE(77), 1)));
    ck_assert(cg_eval(&longer, 1));
    ck_assert_int_eq(plans_made(), 1);
    ck_assert_int_eq(kernels_built(), 0);
}
END_TEST

/* Within a plan, parts of the same form share a launch, whose kernel is one more, and what is new is built together, as
 * one program. */
START_TEST(only_what_is_missing_is_built_together)
{
    cg_tensor parts[3], alone = cg_sin(cg_sin(cg_sin(VECTOR(1, 2, 3, 4))));
    for (int i = 0; i < 3; i++) parts[i] = cg_sin(cg_sin(cg_sin(numbers(CG_SHAPE(5 + i), i))));
    cg_tensor others[] = {cg_cos(cg_cos(cg_cos(VECTOR(1, 2)))), cg_cos(cg_sin(cg_cos(VECTOR(1, 2, 3))))};
    mark();
    ck_assert(cg_eval(&alone, 1));
    ck_assert_int_eq(kernels_built(), 1);
    mark();
    ck_assert(cg_eval(parts, 3));
    ck_assert_int_eq(kernels_built(), 1);
    ck_assert_int_eq(kernels_run(), 1);
    mark();
    ck_assert(cg_eval((cg_tensor[]){others[0], others[1], cg_sin(cg_sin(cg_sin(VECTOR(1, 2))))}, 3));
    ck_assert_int_eq(kernels_built(), 2);
    ck_assert_int_eq(cg_counters_get(cg).programs_built - marked.programs_built, 1);
}
END_TEST

static void read_sum_of(int count)
{
    cg_scope scope = cg_scope_local(cg);
    float ones[1000];
    for (int i = 0; i < count; i++) ones[i] = 1;
    ck_assert_double_eq(cg_item(cg_sum(vector_of(count, ones))), count);
    cg_scope_end(scope);
}

/* More structures than the cache holds: the oldest plans go, results stay right, and what comes back needs a plan but
 * no kernel. */
START_TEST(the_plan_cache_is_bounded)
{
    for (int size = 1; size <= 300; size++) read_sum_of(size);
    ck_assert_int_le(cg_counters_get(cg).plans_cached, 256);
    mark();
    read_sum_of(300);
    ck_assert_int_eq(plan_hits(), 1);
    read_sum_of(2);
    ck_assert_int_eq(plans_made(), 1);
    ck_assert_int_eq(kernels_built(), 0);
}
END_TEST

/* What was used last stays longest. */
START_TEST(plans_in_use_stay_in_the_cache)
{
    read_sum_of(1000);
    for (int size = 1; size <= 300; size++) {
        read_sum_of(size);
        if (size % 100 != 0) continue;
        mark();
        read_sum_of(1000);
        ck_assert_int_eq(plan_hits(), 1);
    }
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------------ */

int main(void)
{
    Suite *suite = suite_create("semantics of plans");
    TCase *tests = tcase_create("plans");
    tcase_add_checked_fixture(tests, begin_test, end_test);
    tcase_add_test(tests, the_first_training_step_makes_the_plan);
    tcase_add_test(tests, another_number_hits);
    tcase_add_test(tests, arithmetic_on_numbers_is_done_at_every_run);
    tcase_add_test(tests, another_slice_start_hits);
    tcase_add_test(tests, relu_without_a_slope_is_another_structure);
    tcase_add_test(tests, training_steps_share_one_plan);
    tcase_add_test(tests, the_step_count_takes_effect_at_a_hit);
    tcase_add_test(tests, other_structures_make_other_plans);
    tcase_add_test(tests, other_leaves_in_the_same_places_hit);
    tcase_add_test(tests, roots_and_assignments_are_structure);
    tcase_add_test(tests, donation_is_structure);
    tcase_add_test(tests, training_mode_is_structure);
    tcase_add_test(tests, zeros_and_ones_are_literals);
    tcase_add_test(tests, plans_are_compared_in_full);
    tcase_add_test(tests, similar_structures_are_told_apart);
    tcase_add_test(tests, expansions_are_pure);
    tcase_add_test(tests, batch_norm_returns_its_statistics);
    tcase_add_test(tests, a_hit_gives_the_same_bits);
    tcase_add_loop_test(tests, another_batch_size_builds_no_kernel, 0, 2);
    tcase_add_test(tests, the_means_divisor_follows_the_batch_size);
    tcase_add_test(tests, the_batch_axis_is_followed);
    tcase_add_test(tests, kernels_are_shared_between_plans);
    tcase_add_test(tests, only_what_is_missing_is_built_together);
    tcase_add_test(tests, the_plan_cache_is_bounded);
    tcase_add_test(tests, plans_in_use_stay_in_the_cache);
    suite_add_tcase(suite, tests);
    return run_tests(suite);
}

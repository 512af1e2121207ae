/* Loss scaling: dynamic scales against sequences worked out by hand after Keras's LossScaleOptimizer, through overflow
 * and recovery; updates, penalties and state that do not depend on the factor; and a network in f16 that learns with it
 * and does not without. */
#include "semantics_support.h"

enum { N = 2, STEPS = 6 };

/* The loss sum a (b w) has the gradient a b, but its cotangent inside, factor a, may overflow where that does not. */
static const float factors_a[STEPS] = {1, 2, 3e37f, 3e37f, -1, 1};
static const float factors_b[STEPS][N] = {{1, -2}, {0.5f, 1}, {1e-37f, 2e-37f}, {1e-37f, 2e-37f}, {3, 1}, {1, NAN}};

static cg_tensor loss_of(cg_variable *w, int step)
{
    cg_tensor a = cg_input(cg, CG_F32, CG_RANK0, &factors_a[step]);
    cg_tensor b = cg_input(cg, CG_F32, CG_SHAPE(N), factors_b[step]);
    return cg_sum(cg_mul(a, cg_mul(b, cg_value(w))));
}

/* Starting at 8 and growing after 2 finite steps: 16 a overflows in the third step, 8 a does not in the fourth, and
 * the last has a NaN of its own. After each step: */
static const float factor_after[STEPS] = {8, 16, 8, 8, 16, 8};
static const float steps_after[STEPS] = {1, 0, 0, 1, 0, 0};
static const float skipped_after[STEPS] = {0, 0, 1, 1, 1, 2};
static const cg_loss_scale short_scale = {.factor = 8, .growth_steps = 2};

/* A model with one variable w, at (1, -1), with a penalty. */
static cg_model *new_model(cg_variable **w)
{
    cg_model *model = cg_model_new(cg);
    cg_scope scope = cg_scope_begin(cg);
    *w = cg_model_add(model, "w", VECTOR(1, -1), .penalty = cg_l2(0.25));
    cg_scope_end(scope);
    return model;
}

static double state_of(cg_optimizer *optimizer, const char *name)
{
    cg_variable *state = cg_optimizer_state(optimizer, name);
    ck_assert_msg(state, "%s", name);
    return item_of(state);
}

static void check_scale(cg_optimizer *optimizer, int step)
{
    ck_assert_float_eq((float)state_of(optimizer, "loss_scale/factor"), factor_after[step]);
    ck_assert_float_eq((float)state_of(optimizer, "loss_scale/steps"), steps_after[step]);
    ck_assert_float_eq((float)state_of(optimizer, "loss_scale/skipped"), skipped_after[step]);
    ck_assert_double_eq(cg_optimizer_loss_scale(optimizer), factor_after[step]);
}

/* One update of the host's own optimizer from a finite gradient. */
typedef struct host {
    double w[N], m[N], r[N];
    int t;
} host;
typedef void (*host_update)(host *h, const double *g);

static void host_sgd(host *h, const double *g)
{
    for (int i = 0; i < N; i++) h->w[i] -= 0.1 * g[i];
}

static void host_momentum(host *h, const double *g)
{
    for (int i = 0; i < N; i++) h->w[i] += h->m[i] = 0.5 * h->m[i] - 0.1 * g[i];
}

static void host_adam(host *h, const double *g)
{
    h->t++;
    for (int i = 0; i < N; i++) {
        h->m[i] = 0.9 * h->m[i] + 0.1 * g[i];
        h->r[i] = 0.999 * h->r[i] + 0.001 * g[i] * g[i];
        const double m = h->m[i] / (1 - pow(0.9, h->t)), r = h->r[i] / (1 - pow(0.999, h->t));
        h->w[i] -= 0.1 * m / (sqrt(r) + 1e-7 / sqrt(1 - pow(0.999, h->t)));
    }
}

/* Which steps the scale leaves out. */
static bool is_skipped(int step)
{
    return skipped_after[step] > (step ? skipped_after[step - 1] : 0);
}

static void host_step(host *h, host_update update, int step)
{
    double g[N];
    if (is_skipped(step)) return;
    for (int i = 0; i < N; i++) g[i] = (double)factors_a[step] * factors_b[step][i] + 2 * 0.25 * h->w[i];
    update(h, g);
}

static void check_weights_within(double tolerance, cg_variable *w, const host *h, int step)
{
    float found[N];
    cg_scope scope = cg_scope_local(cg);
    ck_assert_msg(cg_read_floats(cg_cast(cg_value(w), CG_F32), found, N), "%s", cg_message(cg));
    cg_scope_end(scope);
    for (int i = 0; i < N; i++)
        ck_assert_msg(fabs(found[i] - h->w[i]) <= tolerance * (1 + fabs(h->w[i])), "step %d: [%d] is %.9g, not %.9g",
                      step, i, (double)found[i], h->w[i]);
}

static void check_weights(cg_variable *w, const host *h, int step)
{
    check_weights_within(2e-6, w, h, step);
}

/* Either in one call or by its parts; one plan for all steps, whether they are skipped or not. */
static void run_sequence(cg_optimizer *optimizer, cg_variable *w, host_update update, bool by_parts)
{
    host h = {.w = {1, -1}};
    for (int step = 0; step < STEPS; step++) {
        mark();
        cg_scope scope = cg_scope_begin(cg);
        if (by_parts) {
            cg_tensor loss = cg_scale_loss(optimizer, cg_objective(optimizer, loss_of(w, step))), at = cg_value(w), g;
            ck_assert_msg(cg_grad(&loss, 1, &at, 1, &g) && cg_apply_gradients(optimizer, &g), "%s", cg_message(cg));
        } else {
            ck_assert_msg(cg_minimize(optimizer, loss_of(w, step)), "%s", cg_message(cg));
        }
        cg_scope_end(scope);
        ck_assert_msg(cg_status(cg) == CG_OK, "%s", cg_message(cg));
        ck_assert_int_eq(plans_made(), step == 0);
        host_step(&h, update, step);
        check_scale(optimizer, step);
        check_weights(w, &h, step);
    }
    ck_assert_int_eq(cg_optimizer_steps(optimizer), STEPS);
}

START_TEST(a_dynamic_scale_of_sgd)
{
    cg_variable *w;
    for (int by_parts = 0; by_parts < 2; by_parts++) {
        cg_model *model = new_model(&w);
        run_sequence(cg_sgd_new(model, .learning_rate = 0.1, .loss_scale = short_scale), w, host_sgd, by_parts);
        cg_model_free(model);
    }
}
END_TEST

START_TEST(a_skipped_step_keeps_momentum)
{
    cg_variable *w;
    cg_model *model = new_model(&w);
    run_sequence(cg_sgd_new(model, .learning_rate = 0.1, .momentum = 0.5, .loss_scale = short_scale), w, host_momentum,
                 false);
    cg_model_free(model);
}
END_TEST

/* Skipped steps do not count in the bias correction either. */
START_TEST(a_skipped_step_keeps_the_state_of_adam)
{
    cg_variable *w;
    for (int by_parts = 0; by_parts < 2; by_parts++) {
        cg_model *model = new_model(&w);
        run_sequence(cg_adam_new(model, .learning_rate = 0.1, .loss_scale = short_scale), w, host_adam, by_parts);
        cg_model_free(model);
    }
}
END_TEST

/* The objective that is reported has no factor, nor do weights after finite steps. */
START_TEST(a_static_scale_changes_nothing)
{
    cg_variable *w;
    cg_model *model = new_model(&w);
    cg_optimizer *optimizer = cg_adam_new(model, .learning_rate = 0.1, .loss_scale = cg_static_loss_scale(1024));
    host h = {.w = {1, -1}};
    for (int step = 0; step < 2; step++) {
        const double objective = factors_a[step] * (factors_b[step][0] * h.w[0] + factors_b[step][1] * h.w[1]) +
                                 0.25 * (h.w[0] * h.w[0] + h.w[1] * h.w[1]);
        cg_scope scope = cg_scope_begin(cg);
        ck_assert(cg_minimize(optimizer, loss_of(w, step)));
        cg_scope_end(scope);
        host_step(&h, host_adam, step);
        check_weights(w, &h, step);
        ck_assert_double_eq_tol(cg_optimizer_objective(optimizer), objective, 1e-5);
        ck_assert_double_eq(cg_optimizer_loss_scale(optimizer), 1024);
    }
    ck_assert_ptr_null(cg_optimizer_state(optimizer, "loss_scale/factor"));
    cg_model_free(model);
}
END_TEST

/* It falls to 1, and does not double to infinity. What the state is set to goes on from there. */
START_TEST(a_dynamic_scale_has_bounds)
{
    cg_variable *w;
    cg_model *model = new_model(&w);
    cg_optimizer *optimizer = cg_sgd_new(model, .learning_rate = 0.1, .loss_scale = {.factor = 1.5, .growth_steps = 1});
    const int steps[] = {5, 0};
    const float set[] = {1.5f, 0x1p127f}, after[] = {1, 0x1p127f};
    for (int i = 0; i < 2; i++) {
        if (i > 0) {
            cg_scope setting = cg_scope_begin(cg);
            ck_assert(
                cg_assign(cg_optimizer_state(optimizer, "loss_scale/factor"), cg_input(cg, CG_F32, CG_RANK0, &set[i])));
            cg_scope_end(setting);
        }
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor at = cg_value(w),
                  g = i > 0 ? cg_sub(at, at) : cg_mul(at, cg_input(cg, CG_F32, CG_SHAPE(N), factors_b[steps[i]]));
        ck_assert(cg_apply_gradients(optimizer, &g));
        cg_scope_end(scope);
        ck_assert_double_eq(cg_optimizer_loss_scale(optimizer), after[i]);
    }
    cg_model_free(model);
}
END_TEST

/* ---- f16 --------------------------------------------------------------------------------------------------------- */

enum { POINTS = 1024, HIDDEN = 16 };

/* Variables in f16 keep their dtype, as their state does, although the factor and Adam's rate are numbers of f32. */
START_TEST(variables_in_f16)
{
    cg_model *model = cg_model_new(cg);
    cg_scope building = cg_scope_begin(cg);
    cg_variable *w = cg_model_add(model, "w", cg_cast(VECTOR(1, -1), CG_F16), .penalty = cg_l2(0.25));
    cg_scope_end(building);
    cg_optimizer *optimizer = cg_adam_new(model, .learning_rate = 0.1, .loss_scale = short_scale);
    host h = {.w = {1, -1}};
    for (int step = 0; step < STEPS; step++) {
        cg_scope scope = cg_scope_begin(cg);
        ck_assert_msg(cg_minimize(optimizer, loss_of(w, step)), "%s", cg_message(cg));
        cg_scope_end(scope);
        ck_assert_msg(cg_status(cg) == CG_OK, "%s", cg_message(cg));
        host_step(&h, host_adam, step);
        check_scale(optimizer, step);
        check_weights_within(4e-3, w, &h, step);
    }
    const char *const names[] = {"adam/w/m", "adam/w/r"};
    ck_assert_int_eq(cg_variable_dtype(w), CG_F16);
    for (int i = 0; i < 2; i++) ck_assert_int_eq(cg_variable_dtype(cg_optimizer_state(optimizer, names[i])), CG_F16);
    cg_model_free(model);
}
END_TEST

/* Two layers in f16 of weights in f32, and targets as small as things measured in metres may be. Returns the loss after
 * training over that before. */
static double train_in_f16(cg_loss_scale scale)
{
    static float x[POINTS], y[POINTS];
    double first = 0, last = 0;
    for (int i = 0; i < POINTS; i++) {
        x[i] = 4.0f * (float)i / POINTS - 2;
        y[i] = 1e-5f * sinf(2 * x[i]);
    }
    cg_tensor inputs = cg_input(cg, CG_F32, CG_SHAPE(POINTS, 1), x),
              targets = cg_input(cg, CG_F32, CG_SHAPE(POINTS), y);
    cg_model *model = cg_model_new(cg);
    cg_scope building = cg_scope_begin(cg);
    cg_variable *w1 = cg_model_add(model, "w1", cg_mul(numbers(CG_SHAPE(1, HIDDEN), 1), cg_scalar(cg, 2)));
    cg_variable *b1 = cg_model_add(model, "b1", numbers(CG_SHAPE(HIDDEN), 2));
    cg_variable *w2 = cg_model_add(model, "w2", cg_zeros(cg, CG_SHAPE(HIDDEN, 1)));
    cg_scope_end(building);
    cg_optimizer *optimizer = cg_adam_new(model, .learning_rate = 3e-6, .delta = 1e-12, .loss_scale = scale);
    for (int step = 0; step < 200; step++) {
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor h = cg_matmul(cg_cast(inputs, CG_F16), cg_cast(cg_value(w1), CG_F16));
        h = cg_tanh(cg_add(h, cg_cast(cg_value(b1), CG_F16)));
        h = cg_matmul(h, cg_cast(cg_value(w2), CG_F16));
        ck_assert_int_eq(cg_dtype_of(h), CG_F16);
        cg_tensor error = cg_sub(cg_cast(cg_reshape(h, CG_SHAPE(POINTS)), CG_F32), targets);
        ck_assert(cg_minimize(optimizer, cg_mean(cg_square(error))));
        mark();
        cg_scope_end(scope);
        ck_assert_int_eq(plans_made(), step == 0);
        if (step == 0) first = cg_optimizer_objective(optimizer);
    }
    last = cg_optimizer_objective(optimizer);
    ck_assert_msg(cg_status(cg) == CG_OK, "%s", cg_message(cg));
    cg_model_free(model);
    cg_release(inputs);
    cg_release(targets);
    return last / first;
}

/* Errors of 1e-5, over 1024 points, are cotangents of 2e-8; the smallest number of f16 is 6e-8. */
START_TEST(a_network_in_f16_learns_with_it_only)
{
    const double with = train_in_f16(cg_dynamic_loss_scale()), without = train_in_f16((cg_loss_scale){0});
    ck_assert_msg(with < 0.05 && without > 0.99, "%g with, %g without", with, without);
}
END_TEST

static void work_in_f16(void)
{
    float found[3];
    ck_assert(cg_read_floats(cg_cast(cg_exp(cg_cast(VECTOR(0, 0, 0), CG_F16)), CG_F32), found, 3));
    for (int i = 0; i < 3; i++) ck_assert_float_eq(found[i], 1);
}

static void work_in_f32(void)
{
    float found[3];
    ck_assert(cg_read_floats(cg_exp(VECTOR(0, 0, 0)), found, 3));
}

/* On a device where f16 gains no time it works, and the log says so. */
START_TEST(the_log_tells_where_f16_saves_no_time)
{
    static char text[1 << 14];
    const char *told = "on this device they save memory, not time";
    const bool is_gpu = cg_device(cg)->is_gpu;
    read_plan_log(work_in_f16, text, sizeof text);
    ck_assert_msg((strstr(text, told) != NULL) == !is_gpu, "%s", text);
    read_plan_log(work_in_f32, text, sizeof text);
    ck_assert_ptr_null(strstr(text, told));
}
END_TEST

/* ---- Bad input --------------------------------------------------------------------------------------------------- */

START_TEST(bad_factors)
{
    cg_variable *w;
    cg_model *model = new_model(&w);
    const double factors[] = {-1, INFINITY, NAN, 1e39, 1e-39, 0};
    for (int i = 0; i < 6; i++) {
        char message[96];
        snprintf(message, sizeof message, "the factor of the loss scale is %g; it must be at least", factors[i]);
        ck_assert_ptr_null(cg_adam_new(model, .loss_scale = {.factor = factors[i], .growth_steps = 10}));
        expect_error(CG_ERROR_ARGUMENT, message);
        ck_assert(factors[i] == 0 || !cg_sgd_new(model, .loss_scale = cg_static_loss_scale(factors[i])));
        if (factors[i] != 0) expect_error(CG_ERROR_ARGUMENT, message);
    }
    ck_assert_ptr_null(cg_adam_new(model, .loss_scale = {.factor = 2, .growth_steps = -1}));
    expect_error(CG_ERROR_ARGUMENT, "adam: the growth steps of the loss scale is -1");
    cg_optimizer *plain = cg_sgd_new(model);
    cg_tensor loss = loss_of(w, 0), same = cg_scale_loss(plain, loss);
    ck_assert_ptr_eq(same.node, loss.node);
    ck_assert_double_eq(cg_optimizer_loss_scale(plain), 1);
    ck_assert(cg_is_null(cg_scale_loss(NULL, loss)) && isnan(cg_optimizer_loss_scale(NULL)));
    cg_model_free(model);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("loss scaling");
    TCase *cases = tcase_create("loss scaling");
    tcase_add_checked_fixture(cases, begin_test, end_test);
    tcase_add_test(cases, a_dynamic_scale_of_sgd);
    tcase_add_test(cases, a_skipped_step_keeps_momentum);
    tcase_add_test(cases, a_skipped_step_keeps_the_state_of_adam);
    tcase_add_test(cases, a_static_scale_changes_nothing);
    tcase_add_test(cases, a_dynamic_scale_has_bounds);
    tcase_add_test(cases, variables_in_f16);
    tcase_add_test(cases, a_network_in_f16_learns_with_it_only);
    tcase_add_test(cases, the_log_tells_where_f16_saves_no_time);
    tcase_add_test(cases, bad_factors);
    suite_add_tcase(suite, cases);
    return run_tests(suite);
}

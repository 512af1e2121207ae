/* Joined plans: the steps of a small plan as the stages of one kernel. They must compute what the steps compute, report
 * what they report, and give way where they do not fit. */
#include "engine/binary_cache.h"
#include "semantics_support.h"

static cg_context *open_joining(const char *how)
{
    setenv("CLGRAD_JOIN", how, 1);
    cg_context *opened = open_on_shared_device();
    unsetenv("CLGRAD_JOIN");
    return opened;
}

/* ---- the same results -------------------------------------------------------------------------------------------- */

enum { ROWS = 24, FEATURES = 7, HIDDEN = 20, CLASSES = 3, STEPS = 12 };

typedef struct network {
    cg_dense *first, *second;
    cg_batch_norm_layer *norm;
    cg_optimizer *optimizer;
} network;

static void train_step(const network *net, cg_tensor x, cg_tensor y)
{
    cg_scope scope = cg_scope_begin(cg);
    cg_tensor h = cg_relu(cg_batch_norm_call(net->norm, cg_dense_call(net->first, x)));
    h = cg_dropout(h, .rate = 0.3);
    cg_minimize(net->optimizer, cg_softmax_cross_entropy(cg_dense_call(net->second, h), y));
    cg_scope_end(scope);
}

/* Trains a little network with everything in it; returns the kernels that the last step launched. */
static int train(const char *how, float *kernel, float *objective)
{
    float rows[ROWS * FEATURES];
    int32_t labels[ROWS];
    cg = open_joining(how);
    cg_seed(cg, 5);
    cg_training(cg, true);
    for (int i = 0; i < ROWS * FEATURES; i++) rows[i] = sinf(0.7f * (float)i);
    for (int i = 0; i < ROWS; i++) labels[i] = i % CLASSES;
    cg_model *model = cg_model_new(cg);
    const network net = {.first = cg_dense_new(model, "first", FEATURES, HIDDEN, .kernel_penalty = cg_l2(1e-3)),
                         .norm = cg_batch_norm_new(model, "norm", HIDDEN),
                         .second = cg_dense_new(model, "second", HIDDEN, CLASSES),
                         .optimizer = cg_adam_new(model, .learning_rate = 0.01)};
    cg_tensor x = cg_input(cg, CG_F32, CG_SHAPE(ROWS, FEATURES), rows, .has_batch_axis = true);
    cg_tensor y = cg_input(cg, CG_I32, CG_SHAPE(ROWS), labels, .has_batch_axis = true);
    for (int i = 0; i < STEPS; i++) {
        mark();
        train_step(&net, x, y);
    }
    const int launched = kernels_run();
    *objective = (float)cg_optimizer_objective(net.optimizer);
    ck_assert(cg_read_floats(cg_value(cg_model_find(model, "first/kernel")), kernel, FEATURES * HIDDEN));
    ck_assert_msg(cg_status(cg) == CG_OK, "%s", cg_message(cg));
    cg_model_free(model);
    cg_close(cg);
    cg = shared;
    return launched;
}

START_TEST(a_training_step_is_one_kernel_with_the_same_results)
{
    float apart[FEATURES * HIDDEN], joined[FEATURES * HIDDEN], objective[2];
    ck_assert_int_gt(train("never", apart, &objective[0]), 10);
    const int launches = train("always", joined, &objective[1]);
    if (!cg_device(cg)->is_gpu) ck_assert_int_eq(launches, 1); /* there a product is no stage of a plan */
    ck_assert_float_eq_tol(objective[0], objective[1], 1e-5f);
    for (int i = 0; i < FEATURES * HIDDEN; i++) ck_assert_float_eq_tol(apart[i], joined[i], 1e-5f);
}
END_TEST

/* Products, reductions and a softmax in f64, with a second use of each intermediate. */
static void descend(const char *how, double *weights, int count)
{
    cg = open_joining(how);
    cg_variable *w = cg_variable_new(cg, "w", CG_F64, CG_SHAPE(5, 9));
    double start[45];
    for (int i = 0; i < count; i++) start[i] = cos(1.3 * i);
    ck_assert(cg_assign(w, cg_input(cg, CG_F64, CG_SHAPE(5, 9), start)));
    for (int i = 0; i < 6; i++) {
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor value = cg_value(w), gradient;
        cg_tensor square = cg_matmul(value, cg_permute(value, CG_AXES(1, 0)));
        cg_tensor loss = cg_sum(cg_mul(cg_softmax(square, -1), cg_sin(square)));
        ck_assert(cg_grad(&loss, 1, &value, 1, &gradient));
        cg_assign(w, cg_sub(value, cg_mul(cg_scalar(cg, 0.05), gradient)));
        cg_scope_end(scope);
    }
    ck_assert(cg_read(cg_value(w), weights, (size_t)count * sizeof *weights));
    cg_variable_free(w);
    cg_close(cg);
    cg = shared;
}

START_TEST(in_f64_too)
{
    double apart[45], joined[45];
    if (!cg_device(shared)->has_f64) return;
    descend("never", apart, 45);
    descend("always", joined, 45);
    for (int i = 0; i < 45; i++) ck_assert_double_eq_tol(apart[i], joined[i], 1e-12);
}
END_TEST

/* ---- when -------------------------------------------------------------------------------------------------------- */

/* Kernels that the last of `runs` equal steps launches: two, or one if they were joined. */
static int launched_by_last(int runs, int64_t size)
{
    cg = open_joining("");
    cg_tensor x = cg_zeros(cg, CG_SHAPE(size)), y = cg_zeros(cg, CG_SHAPE(size + 1)), inputs[] = {x, y};
    ck_assert(cg_eval(inputs, 2));
    for (int i = 0; i < runs; i++) {
        cg_scope scope = cg_scope_begin(cg);
        cg_keep(cg_sum(cg_exp(x)));
        cg_keep(cg_max(cg_sin(y)));
        mark();
        cg_scope_end(scope);
    }
    const int launched = kernels_run();
    ck_assert_msg(cg_status(cg) == CG_OK, "%s", cg_message(cg));
    cg_close(cg);
    cg = shared;
    return launched;
}

START_TEST(a_plan_is_joined_once_it_has_come_back_often)
{
    if (cg_device(shared)->is_gpu) return;
    ck_assert_int_eq(launched_by_last(10, 100), 2);
    ck_assert_int_eq(launched_by_last(40, 100), 1);
}
END_TEST

START_TEST(where_the_work_is_large_it_is_not)
{
    ck_assert_int_ge(launched_by_last(40, 1 << 20), 2);
}
END_TEST

START_TEST(another_word_is_refused)
{
    setenv("CLGRAD_JOIN", "sometimes", 1);
    cg_context *refused = cg_open(NULL);
    unsetenv("CLGRAD_JOIN");
    ck_assert_ptr_nonnull(strstr(cg_message(refused), "CLGRAD_JOIN"));
    cg_close(refused);
}
END_TEST

/* ---- errors and limits ------------------------------------------------------------------------------------------- */

START_TEST(a_bad_index_is_reported_and_variables_keep_their_values)
{
    const int32_t good[2] = {1, 2}, bad[2] = {1, 7};
    const float zeros[3] = {0, 0, 0};
    float now[3];
    cg = open_joining("always");
    cg_variable *v = cg_variable_new(cg, "v", CG_F32, CG_SHAPE(3));
    ck_assert(cg_assign(v, cg_input(cg, CG_F32, CG_SHAPE(3), zeros)));
    for (int i = 0; i < 2; i++) {
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor hot = cg_sum(cg_one_hot(cg_input(cg, CG_I32, CG_SHAPE(2), i ? bad : good), 3), .axes = CG_AXES(0));
        cg_assign(v, cg_add(cg_value(v), hot));
        cg_scope_end(scope);
    }
    ck_assert(!cg_read_floats(cg_value(v), now, 3));
    ck_assert_ptr_nonnull(strstr(cg_message(cg), "index 7"));
    cg_clear_error(cg);
    ck_assert(cg_read_floats(cg_value(v), now, 3));
    ck_assert(now[0] == 0 && now[1] == 1 && now[2] == 1);
    cg_variable_free(v);
    cg_close(cg);
    cg = shared;
}
END_TEST

/* Values in more pools than a joined kernel can reach: the plan's own steps run. */
START_TEST(values_in_too_many_pools_run_step_by_step)
{
    enum { VALUES = CG_STAGE_POOLS + 4, SIZE = 1 << 19 };
    cg_tensor values[VALUES];
    setenv("CLGRAD_MEMORY_LIMIT", "60M", 1);
    cg = open_joining("always");
    unsetenv("CLGRAD_MEMORY_LIMIT");
    for (int i = 0; i < VALUES; i++) {
        values[i] = cg_full(cg, CG_SHAPE(SIZE), i + 1);
        ck_assert_msg(cg_eval(&values[i], 1), "%s", cg_message(cg));
    }
    cg_tensor sums[VALUES];
    for (int i = 0; i < VALUES; i++) sums[i] = cg_max(values[i]);
    mark();
    ck_assert(cg_eval(sums, VALUES));
    ck_assert_int_gt(kernels_run(), 1);
    for (int i = 0; i < VALUES; i++) ck_assert_double_eq(cg_item(sums[i]), i + 1);
    cg_close(cg);
    cg = shared;
}
END_TEST

/* One element of sqrt(exp(x)) + the sum of exp(x) over rows, which no rule makes one kernel of; -1 after an error. */
static double two_kernels(void)
{
    const float x[6] = {0, 1, 2, 3, 4, 5};
    cg_scope scope = cg_scope_local(cg);
    cg_tensor e = cg_exp(cg_input(cg, CG_F32, CG_SHAPE(3, 2), x));
    cg_tensor sums = cg_add(cg_sqrt(e), cg_sum(e, .axes = CG_AXES(0)));
    float out[6] = {-1, -1, -1, -1, -1, -1};
    mark();
    cg_read_floats(sums, out, 6);
    cg_scope_end(scope);
    return cg_status(cg) == CG_OK ? (double)out[0] : -1;
}

/* Whatever call fails while a plan is being joined: its steps still run, and nobody hears of it. Programs on disk are
 * left out: a call that fails while one is loaded has it built from its source, and the plan is joined after all. */
START_TEST(a_plan_that_cannot_be_joined_stays_as_it_is)
{
    int alone = 0;
    for (int call = 1; call <= 12; call++) {
        cg = open_joining("never");
        cg_binary_cache_close(cg);
        const double expected = two_kernels();
        const int launches = kernels_run();
        ck_assert_int_gt(launches, 1);
        cg->join = CG_JOIN_ALWAYS;
        cg->faults = (cg_faults){.opencl_fail_at = call};
        if (two_kernels() == expected) {
            ck_assert_int_ge(cg->faults.opencl_calls, call);
            alone += kernels_run() == launches;
        } else {
            ck_assert_int_ne(cg_status(cg), CG_OK);
        }
        cg_clear_error(cg);
        cg->faults = (cg_faults){0};
        ck_assert_double_eq(two_kernels(), expected);
        cg_close(cg);
        cg = shared;
    }
    ck_assert_int_ge(alone, 4); /* at least the table, the program, its building and the kernel */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("join");
    TCase *tests = tcase_create("join");
    tcase_add_checked_fixture(tests, begin_test, end_test);
    tcase_add_test(tests, a_training_step_is_one_kernel_with_the_same_results);
    tcase_add_test(tests, in_f64_too);
    tcase_add_test(tests, a_plan_is_joined_once_it_has_come_back_often);
    tcase_add_test(tests, where_the_work_is_large_it_is_not);
    tcase_add_test(tests, another_word_is_refused);
    tcase_add_test(tests, a_bad_index_is_reported_and_variables_keep_their_values);
    tcase_add_test(tests, values_in_too_many_pools_run_step_by_step);
    tcase_add_test(tests, a_plan_that_cannot_be_joined_stays_as_it_is);
    suite_add_tcase(suite, tests);
    return run_tests(suite);
}

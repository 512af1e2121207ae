/* Shared launches: steps with one kernel that do not depend on each other run as one launch. They must compute what
 * they compute one by one, bit for bit, be counted as one launch, and give way where they do not fit. */
#include "engine/stages.h"
#include "semantics_support.h"

static cg_context *open_sharing(const char *how)
{
    setenv("CLGRAD_JOIN", "never", 1);
    if (how) setenv("CLGRAD_SHARE", how, 1);
    cg_context *opened = open_on_shared_device();
    unsetenv("CLGRAD_JOIN");
    unsetenv("CLGRAD_SHARE");
    return opened;
}

static void close_sharing(void)
{
    ck_assert_msg(cg_status(cg) == CG_OK, "%s", cg_message(cg));
    cg_close(cg);
    cg = shared;
}

/* ---- the same results ----------------------------------------------------------------------------------------------
 */

enum { MODELS = 4, ROWS = 10, FEATURES = 7, HIDDEN = 20, CLASSES = 3, STEPS = 5, WEIGHTS = FEATURES * HIDDEN };

typedef struct network {
    cg_model *model;
    cg_dense *first, *second;
    cg_batch_norm_layer *norm;
    cg_optimizer *optimizer;
} network;

static network network_new(int number)
{
    network net = {.model = cg_model_new(cg)};
    net.first = cg_dense_new(net.model, "first", FEATURES, HIDDEN, .kernel_penalty = cg_l2(1e-3));
    net.norm = cg_batch_norm_new(net.model, "norm", HIDDEN);
    net.second = cg_dense_new(net.model, "second", HIDDEN, CLASSES);
    net.optimizer = cg_adam_new(net.model, .learning_rate = 0.01 * (number + 1));
    return net;
}

static void train(const network *net, cg_tensor x, cg_tensor y)
{
    cg_tensor h = cg_relu(cg_batch_norm_call(net->norm, cg_dense_call(net->first, x)));
    h = cg_dropout(h, .rate = 0.3);
    cg_minimize(net->optimizer, cg_softmax_cross_entropy(cg_dense_call(net->second, h), y));
}

/* Models of one form, each with a learning rate of its own, stepped in one scope. Returns the launches of a step. */
static int train_ensemble(const char *how, float weights[MODELS][WEIGHTS], int models)
{
    float rows[ROWS * FEATURES];
    int32_t labels[ROWS];
    network nets[MODELS];
    cg = open_sharing(how);
    cg_seed(cg, 5);
    cg_training(cg, true);
    for (int i = 0; i < ROWS; i++) labels[i] = i % CLASSES;
    for (int i = 0; i < models; i++) nets[i] = network_new(i);
    cg_tensor y = cg_input(cg, CG_I32, CG_SHAPE(ROWS), labels);
    for (int step = 0; step < STEPS; step++) {
        for (int i = 0; i < ROWS * FEATURES; i++) rows[i] = sinf(0.7f * (float)(i + step));
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor x = cg_input(cg, CG_F32, CG_SHAPE(ROWS, FEATURES), rows);
        mark();
        for (int i = 0; i < models; i++) train(&nets[i], x, y);
        cg_scope_end(scope);
    }
    const int launched = kernels_run();
    for (int i = 0; i < models; i++)
        ck_assert(cg_read_floats(cg_value(cg_model_find(nets[i].model, "first/kernel")), weights[i], WEIGHTS));
    for (int i = 0; i < models; i++) cg_model_free(nets[i].model);
    close_sharing();
    return launched;
}

/* Each learns what it learns in launches of its own. */
START_TEST(models_stepped_in_one_scope_share_launches)
{
    static float together[MODELS][WEIGHTS], apart[MODELS][WEIGHTS], one[MODELS][WEIGHTS];
    const int launches = train_ensemble(NULL, together, MODELS);
    const int steps = train_ensemble("never", apart, MODELS);
    const int of_one = train_ensemble("never", one, 1);
    const bool is_gpu = cg_device(cg)->is_gpu;
    ck_assert_int_ge(steps, 2 * of_one);
    if (!is_gpu) ck_assert_int_lt(2 * launches, steps); /* there products have launches of their own */
    for (int m = 0; m < MODELS; m++) {
        ck_assert(memcmp(together[m], apart[m], sizeof together[m]) == 0);
        ck_assert(m == 0 || memcmp(together[m], together[0], sizeof together[m]) != 0);
    }
}
END_TEST

/* The same update of many variables, of many sizes: a launch for as many as it has room for numbers, here one each. */
START_TEST(one_update_of_many_variables_is_few_launches)
{
    enum { VARIABLES = 60 };
    cg_variable *v[VARIABLES];
    char name[16];
    cg = open_sharing(NULL);
    for (int i = 0; i < VARIABLES; i++) {
        snprintf(name, sizeof name, "v%d", i);
        v[i] = cg_variable_new(cg, name, CG_F32, CG_SHAPE(16 + 37 * i));
        ck_assert(cg_assign(v[i], cg_full(cg, CG_SHAPE(16 + 37 * i), i)));
    }
    ck_assert(cg_wait(cg));
    for (int step = 1; step <= 3; step++) {
        mark();
        cg_scope scope = cg_scope_begin(cg);
        for (int i = 0; i < VARIABLES; i++) cg_assign(v[i], cg_add(cg_value(v[i]), cg_scalar(cg, i + step)));
        cg_scope_end(scope);
        ck_assert_int_eq(kernels_run(), (VARIABLES + 31) / 32); /* as many numbers as one launch takes */
    }
    for (int i = 0; i < VARIABLES; i++) {
        float now[16 + 37 * VARIABLES];
        const int size = 16 + 37 * i;
        ck_assert(cg_read_floats(cg_value(v[i]), now, size));
        for (int k = 0; k < size; k++) ck_assert_float_eq(now[k], (float)(4 * i + 6));
        cg_variable_free(v[i]);
    }
    close_sharing();
}
END_TEST

/* Passes with one network, other random numbers: Monte Carlo dropout. */
START_TEST(monte_carlo_passes_share_launches)
{
    enum { PASSES = 6, COLUMNS = 3 };
    float together[PASSES][ROWS * COLUMNS], apart[PASSES][ROWS * COLUMNS];
    int launches[2];
    for (int how = 0; how < 2; how++) {
        cg = open_sharing(how ? "never" : NULL);
        cg_seed(cg, 3);
        cg_tensor x = numbers(CG_SHAPE(ROWS, 8), 1), w = numbers(CG_SHAPE(8, 16), 2),
                  u = numbers(CG_SHAPE(16, COLUMNS), 3);
        cg_tensor passes[PASSES];
        for (int i = 0; i < PASSES; i++)
            passes[i] = cg_matmul(cg_dropout(cg_tanh(cg_matmul(x, w)), .rate = 0.5, .mode = CG_MODE_TRAINING), u);
        mark();
        ck_assert_msg(cg_eval(passes, PASSES), "%s", cg_message(cg));
        launches[how] = kernels_run();
        for (int i = 0; i < PASSES; i++)
            ck_assert(cg_read_floats(passes[i], how ? apart[i] : together[i], ROWS * COLUMNS));
        close_sharing();
    }
    const bool is_gpu = cg_device(cg)->is_gpu;
    ck_assert_int_ge(launches[1], PASSES);
    if (!is_gpu) ck_assert_int_lt(launches[0], PASSES);
    ck_assert(memcmp(together, apart, sizeof together) == 0);
    ck_assert(memcmp(together[0], together[1], sizeof together[0]) != 0);
}
END_TEST

/* ---- what may not share --------------------------------------------------------------------------------------------
 */

/* Steps of one kernel, each of which reads what the one before it stores. */
START_TEST(steps_that_depend_on_each_other_have_launches_of_their_own)
{
    enum { LINKS = 5 };
    float out[4];
    cg = open_sharing(NULL);
    cg_tensor links[LINKS + 1] = {numbers(CG_SHAPE(2, 2), 1)}, w = numbers(CG_SHAPE(2, 2), 2);
    for (int i = 0; i < LINKS; i++) links[i + 1] = cg_matmul(links[i], w);
    mark();
    ck_assert(cg_eval(links + 1, LINKS));
    ck_assert_int_eq(kernels_run(), LINKS);
    ck_assert(cg_read_floats(links[LINKS], out, 4));
    close_sharing();
}
END_TEST

/* Values in more pools than a kernel can reach: the steps run one by one. */
START_TEST(values_in_too_many_pools_run_one_by_one)
{
    enum { VALUES = CG_STAGE_POOLS + 4, SIZE = 1 << 19 };
    cg_tensor values[VALUES], sums[VALUES];
    cg = open_sharing(NULL);
    for (int i = 0; i < VALUES; i++) {
        values[i] = cg_full(cg, CG_SHAPE(SIZE), i + 1);
        ck_assert_msg(cg_eval(&values[i], 1), "%s", cg_message(cg));
        sums[i] = cg_max(values[i]);
    }
    mark();
    ck_assert_msg(cg_eval(sums, VALUES), "%s", cg_message(cg));
    ck_assert_int_gt(kernels_run(), VALUES);
    for (int i = 0; i < VALUES; i++) ck_assert_double_eq(cg_item(sums[i]), i + 1);
    close_sharing();
}
END_TEST

/* A bad index keeps every variable of a share as it was. */
START_TEST(a_bad_index_keeps_all_variables)
{
    enum { VARIABLES = 3 };
    const int32_t good[2] = {1, 2}, bad[2] = {1, 7};
    const float zeros[3] = {0, 0, 0};
    float now[3];
    cg_variable *v[VARIABLES];
    cg = open_sharing(NULL);
    for (int i = 0; i < VARIABLES; i++) {
        v[i] = cg_variable_new(cg, "v", CG_F32, CG_SHAPE(3));
        ck_assert(cg_assign(v[i], cg_input(cg, CG_F32, CG_SHAPE(3), zeros)));
    }
    for (int step = 0; step < 2; step++) {
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor hot = cg_sum(cg_one_hot(cg_input(cg, CG_I32, CG_SHAPE(2), step ? bad : good), 3), .axes = CG_AXES(0));
        cg_tensor first = cg_slice_axis(hot, 0, 1, 2);
        for (int i = 0; i < VARIABLES; i++) cg_assign(v[i], cg_add(cg_value(v[i]), first));
        cg_scope_end(scope);
    }
    ck_assert(!cg_read_floats(cg_value(v[0]), now, 3));
    ck_assert_ptr_nonnull(strstr(cg_message(cg), "index 7"));
    cg_clear_error(cg);
    for (int i = 0; i < VARIABLES; i++) {
        ck_assert(cg_read_floats(cg_value(v[i]), now, 3));
        ck_assert(now[0] == 1 && now[1] == 1 && now[2] == 1);
        cg_variable_free(v[i]);
    }
    close_sharing();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("share");
    TCase *tests = tcase_create("share");
    tcase_add_checked_fixture(tests, begin_test, end_test);
    tcase_add_test(tests, models_stepped_in_one_scope_share_launches);
    tcase_add_test(tests, one_update_of_many_variables_is_few_launches);
    tcase_add_test(tests, monte_carlo_passes_share_launches);
    tcase_add_test(tests, steps_that_depend_on_each_other_have_launches_of_their_own);
    tcase_add_test(tests, values_in_too_many_pools_run_one_by_one);
    tcase_add_test(tests, a_bad_index_keeps_all_variables);
    suite_add_tcase(suite, tests);
    return run_tests(suite);
}

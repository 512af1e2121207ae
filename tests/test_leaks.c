/* Nothing leaks and nothing grows: what lives, what is held on the device and what is allocated on the host stay as
 * they are over a thousand training steps, nested scopes, kept tensors, deep graphs and contexts that come and go. */
#include "engine/buffer.h"
#include "program.h"
#include <clgrad/clgrad.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Host memory that is counted --------------------------------------------------------------------------------- */

static int64_t live_blocks;
static cg_context *cg;

static void *reallocate(void *user, void *pointer, size_t bytes)
{
    (void)user;
    if (bytes == 0) {
        live_blocks -= pointer != NULL;
        free(pointer);
        return NULL;
    }
    void *result = realloc(pointer, bytes);
    live_blocks += result && !pointer;
    return result;
}

static void open_context(void)
{
    live_blocks = 0;
    cg = cg_open_with(&(cg_open_options){.reallocate = reallocate});
    ck_assert_msg(cg && cg_status(cg) == CG_OK, "%s", cg_message(cg));
}

static void close_context(void)
{
    cg_close(cg);
    ck_assert_int_eq(live_blocks, 0);
}

/* What must not grow. Host blocks lent for uploads are left out: how many there are depends on how far the device is
 * behind, which the number of plans in the queue bounds. */
typedef struct state {
    cg_counters counters;
    int64_t host_blocks, staging_blocks;
} state;

static state state_now(void)
{
    ck_assert_msg(cg_wait(cg), "%s", cg_message(cg));
    state s = {.counters = cg_counters_get(cg), .host_blocks = live_blocks};
    for (const cg_staging_block *block = cg->staging; block; block = block->next) s.staging_blocks++;
    s.host_blocks -= s.staging_blocks;
    return s;
}

static void check_same(const state *a, const state *b)
{
    ck_assert_int_eq(a->counters.nodes, b->counters.nodes);
    ck_assert_int_eq(a->counters.buffers, b->counters.buffers);
    ck_assert_int_eq(a->counters.variables, b->counters.variables);
    ck_assert_int_eq(a->counters.used_bytes, b->counters.used_bytes);
    ck_assert_int_eq(a->counters.device_bytes, b->counters.device_bytes);
    ck_assert_int_eq(a->counters.device_bytes_peak, b->counters.device_bytes_peak);
    ck_assert_int_eq(a->counters.plans_cached, b->counters.plans_cached);
    ck_assert_int_eq(a->counters.kernels_built, b->counters.kernels_built);
    ck_assert_int_eq(a->host_blocks, b->host_blocks);
}

/* ---- Training ---------------------------------------------------------------------------------------------------- */

enum { INPUTS = 8, HIDDEN = 16, CLASSES = 4, BATCH = 6 };

typedef struct trainer {
    cg_model *model;
    cg_dense *first, *second;
    cg_batch_norm_layer *norm;
    cg_optimizer *optimizer;
    cg_average *average;
} trainer;

static trainer trainer_new(void)
{
    trainer t = {.model = cg_model_new(cg), .average = cg_average_new(cg, "loss")};
    t.first = cg_dense_new(t.model, "first", INPUTS, HIDDEN, .initializer = CG_HE_NORMAL,
                           .kernel_penalty = cg_l2(1e-3));
    t.norm = cg_batch_norm_new(t.model, "norm", HIDDEN);
    t.second = cg_dense_new(t.model, "second", HIDDEN, CLASSES, .bias_penalty = cg_l1(1e-3));
    t.optimizer = cg_adam_new(t.model);
    ck_assert_msg(t.optimizer && t.average && cg_status(cg) == CG_OK, "%s", cg_message(cg));
    cg_training(cg, true);
    return t;
}

static void trainer_free(trainer *t)
{
    cg_average_free(t->average);
    cg_model_free(t->model);
}

static void train(trainer *t, int step)
{
    float x[BATCH * INPUTS];
    int32_t y[BATCH];
    for (int i = 0; i < BATCH * INPUTS; i++) x[i] = (float)((i * 5 + step) % 13) / 6 - 1;
    for (int i = 0; i < BATCH; i++) y[i] = (i * step) % CLASSES;
    cg_scope scope = cg_scope_begin(cg);
    cg_tensor input = cg_input(cg, CG_F32, CG_SHAPE(BATCH, INPUTS), x, .batch_axis = 0, .has_batch_axis = true);
    cg_tensor h = cg_batch_norm_call(t->norm, cg_dense_call(t->first, input));
    h = cg_dropout(cg_relu(h), .rate = 0.3);
    cg_tensor loss = cg_softmax_cross_entropy(cg_dense_call(t->second, h), cg_input(cg, CG_I32, CG_SHAPE(BATCH), y));
    cg_average_add(t->average, loss, BATCH);
    ck_assert_msg(cg_minimize(t->optimizer, loss), "%s", cg_message(cg));
    cg_scope_end(scope);
}

START_TEST(a_thousand_steps_are_flat)
{
    enum { SETTLED = 50 }; /* after so many steps the plan has been joined, which builds one more kernel */
    trainer t = trainer_new();
    for (int step = 0; step < SETTLED; step++) train(&t, step);
    const double early = cg_average_read(t.average);
    const state before = state_now();
    for (int step = SETTLED; step < 1000; step++) {
        train(&t, step);
        if (step % 250 != 249) continue;
        ck_assert(cg_average_read(t.average) < early + 1);
        const state now = state_now();
        check_same(&now, &before);
        ck_assert_int_le(now.staging_blocks, 4 * CG_QUEUED_PLANS);
    }
    trainer_free(&t);
    const state end = state_now();
    ck_assert_int_eq(end.counters.nodes, 0);
    ck_assert_int_eq(end.counters.buffers, 0);
    ck_assert_int_eq(end.counters.variables, 0);
    ck_assert_int_eq(end.counters.used_bytes, 0);
}
END_TEST

/* ---- Scopes and handles ------------------------------------------------------------------------------------------ */

static cg_tensor ramp(int count)
{
    float values[64];
    for (int i = 0; i < count; i++) values[i] = (float)i;
    return cg_input(cg, CG_F32, CG_SHAPE(count), values);
}

/* Scopes of both kinds, ended from within and from outside; one tensor is kept all the way out. */
static float nest(int depth)
{
    cg_scope scopes[16];
    cg_tensor t = ramp(4);
    for (int i = 0; i < depth; i++) {
        scopes[i] = i % 3 ? cg_scope_local(cg) : cg_scope_begin(cg);
        t = cg_add(cg_mul(t, cg_scalar(cg, 1)), cg_scalar(cg, i));
        for (int k = i; k >= 0 && i == depth - 1; k--) t = cg_keep(t);
    }
    if (depth > 4) cg_scope_end(scopes[depth - 4]);
    cg_scope_end(scopes[0]);
    float values[4];
    ck_assert_msg(cg_read_floats(t, values, 4), "%s", cg_message(cg));
    cg_release(t);
    return values[3];
}

START_TEST(nested_scopes_are_flat)
{
    cg_scope outer = cg_scope_local(cg);
    for (int depth = 1; depth <= 16; depth++) nest(depth);
    cg_scope_end(outer);
    const state before = state_now();
    ck_assert_int_eq(before.counters.nodes, 0);
    for (int i = 0; i < 320; i++) {
        const int depth = 1 + i % 16;
        outer = cg_scope_local(cg);
        ck_assert_float_eq(nest(depth), (float)(3 + depth * (depth - 1) / 2));
        cg_scope_end(outer);
    }
    const state after = state_now();
    check_same(&after, &before);
}
END_TEST

static void keep_and_release(void)
{
    cg_tensor kept[8];
    cg_scope scope = cg_scope_begin(cg);
    cg_tensor x = ramp(16);
    for (int i = 0; i < 8; i++) kept[i] = cg_keep(cg_mul(x, cg_scalar(cg, i)));
    cg_scope_end(scope);
    for (int i = 0; i < 8; i++) {
        float values[16];
        ck_assert_msg(cg_read_floats(kept[i], values, 16), "%s", cg_message(cg));
        ck_assert_float_eq(values[15], (float)(15 * i));
        cg_release(kept[i]);
    }
}

START_TEST(kept_tensors_go_when_released)
{
    keep_and_release();
    const state before = state_now();
    ck_assert_int_eq(before.counters.nodes, 0);
    for (int i = 0; i < 200; i++) keep_and_release();
    const state after = state_now();
    check_same(&after, &before);
}
END_TEST

/* A graph that no one asks for is freed without having run, and so is what a failed step leaves. */
START_TEST(what_never_runs_is_freed)
{
    cg_variable *variable = cg_variable_new(cg, "v", CG_F32, CG_SHAPE(16));
    cg_scope scope = cg_scope_local(cg);
    cg_assign(variable, ramp(16));
    cg_scope_end(scope);
    state before = {.host_blocks = 0};
    for (int i = 0; i < 200; i++) {
        if (i == 10) before = state_now();
        scope = cg_scope_begin(cg);
        cg_tensor x = cg_exp(cg_add(cg_value(variable), ramp(16)));
        if (i % 2) {
            cg_assign(variable, x);
            cg_keep(x);
            ck_assert(cg_is_null(cg_add(x, ramp(3))));
        }
        cg_scope_end(scope);
        if (i % 2) cg_release(x);
        cg_clear_error(cg);
    }
    const state after = state_now();
    check_same(&after, &before);
    cg_variable_free(variable);
}
END_TEST

/* ---- Depth ------------------------------------------------------------------------------------------------------- */

enum { DEPTH = 100000 };

static cg_tensor chain(cg_tensor x)
{
    const cg_tensor one = cg_scalar(cg, 1);
    for (int i = 0; i < DEPTH; i++) {
        cg_scope scope = cg_scope_local(cg);
        x = cg_keep(cg_add(x, one));
        cg_scope_end(scope);
    }
    return x;
}

START_TEST(a_deep_graph_runs_and_is_freed)
{
    const state before = state_now();
    cg_scope scope = cg_scope_local(cg);
    cg_tensor end = chain(ramp(2));
    float values[2];
    ck_assert_int_ge(cg_counters_get(cg).nodes, DEPTH);
    ck_assert_msg(cg_read_floats(end, values, 2), "%s", cg_message(cg));
    ck_assert_float_eq(values[0], DEPTH);
    ck_assert_float_eq(values[1], DEPTH + 1);
    cg_scope_end(scope);
    const state after = state_now();
    ck_assert_int_eq(after.counters.nodes, before.counters.nodes);
    ck_assert_int_eq(after.counters.buffers, before.counters.buffers);
    scope = cg_scope_local(cg);
    chain(ramp(2));
    cg_scope_end(scope);
    const state never_run = state_now();
    ck_assert_int_eq(never_run.counters.nodes, before.counters.nodes);
}
END_TEST

/* ---- Contexts ---------------------------------------------------------------------------------------------------- */

/* Pages of memory that the process has; 0 where that cannot be learnt. The device's memory is among them on CPUs. */
static long resident_pages(void)
{
    long all = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file) return 0;
    if (fscanf(file, "%ld %ld", &all, &resident) != 2) resident = 0;
    fclose(file);
    return resident;
}

/* Closed with everything still alive: tensors, variables, a model, work in the queue, an open scope. */
static void use_briefly(void)
{
    open_context();
    cg_variable *variable = cg_variable_new(cg, "v", CG_F32, CG_SHAPE(16));
    cg_assign(variable, ramp(16));
    cg_scope_begin(cg);
    cg_assign(variable, cg_sqrt(cg_value(variable)));
    cg_tensor kept = cg_keep(cg_mul(cg_value(variable), cg_value(variable)));
    ck_assert_msg(cg_eval(&kept, 1), "%s", cg_message(cg));
    cg_assign(variable, cg_exp(cg_value(variable)));
    cg_staging(cg, 100);
    close_context();
}

START_TEST(contexts_come_and_go)
{
    for (int i = 0; i < 3; i++) use_briefly();
    const long before = resident_pages();
    for (int i = 0; i < 12; i++) use_briefly();
    /* A context that kept its memory on the device would have left 12 times 32 MiB. */
    ck_assert_int_lt(resident_pages() - before, (100L << 20) / 4096);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("leaks");
    TCase *inside = tcase_create("in a context"), *contexts = tcase_create("contexts");
    tcase_add_checked_fixture(inside, open_context, close_context);
    tcase_add_test(inside, a_thousand_steps_are_flat);
    tcase_add_test(inside, nested_scopes_are_flat);
    tcase_add_test(inside, kept_tensors_go_when_released);
    tcase_add_test(inside, what_never_runs_is_freed);
    tcase_add_test(inside, a_deep_graph_runs_and_is_freed);
    tcase_add_test(contexts, contexts_come_and_go);
    suite_add_tcase(suite, inside);
    suite_add_tcase(suite, contexts);
    return run_suite(suite);
}

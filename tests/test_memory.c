/* Device memory: where temporaries are laid, against an oracle that looks at every pair and every step; and what
 * cg_memory_needed tells before a run, against what the context then holds. */
#include "engine/memory.h"
#include "semantics_support.h"

/* ---- Layouts of made-up plans --------------------------------------------------------------------------------------
 */

enum { MOST_ITEMS = 40, MOST_STEPS = 24, MOST_SCRATCH = 6, ROUNDS = 300 };

/* A plan that never ran: stored items and scratch, each an argument of some steps. */
typedef struct made_up {
    cg_node nodes[MOST_ITEMS];
    cg_node *list[MOST_ITEMS];
    cg_entry items[MOST_ITEMS];
    cg_step steps[MOST_STEPS];
    cg_place places[MOST_STEPS][MOST_ITEMS + MOST_SCRATCH];
    cg_scratch scratch[MOST_SCRATCH];
    int64_t bytes[MOST_ITEMS + MOST_SCRATCH];
    int first[MOST_ITEMS + MOST_SCRATCH], last[MOST_ITEMS + MOST_SCRATCH];
    cg_walk walk;
    cg_schedule schedule;
    cg_plan plan;
    cg_build build;
} made_up;

static uint32_t random_state;

static int random_below(int limit)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (int)((uint64_t)(random_state >> 8) * (uint64_t)limit >> 24);
}

static void add_use(made_up *m, int number, int step)
{
    cg_step *s = &m->steps[step];
    s->places[s->place_count++] = (cg_place){.kind = CG_PLACE_ARENA, .index = number};
}

/* An argument of its first and its last step, and of some between. */
static void add_item(made_up *m, int number)
{
    m->nodes[number] = (cg_node){.shape = CG_SHAPE(1 + random_below(random_below(4) ? 900 : 90000)), .dtype = CG_F32};
    m->bytes[number] = 4 * m->nodes[number].shape.size[0];
    m->list[number] = &m->nodes[number];
    m->items[number] = (cg_entry){.node = &m->nodes[number],
                                  .kind = CG_ITEM_MAP,
                                  .stored = true,
                                  .place = {.kind = CG_PLACE_ARENA, .index = number}};
    m->first[number] = random_below(m->plan.step_count);
    m->last[number] = m->first[number] + random_below(m->plan.step_count - m->first[number]);
    for (int step = m->first[number]; step <= m->last[number]; step++)
        if (step == m->first[number] || step == m->last[number] || random_below(3) == 0) add_use(m, number, step);
}

static void add_scratch(made_up *m, int which, int number)
{
    const int step = random_below(m->plan.step_count);
    m->bytes[number] = 1 + random_below(50000);
    m->first[number] = m->last[number] = step;
    m->scratch[which] = (cg_scratch){.step = step, .argument = m->steps[step].place_count, .bytes = m->bytes[number]};
    add_use(m, -1, step);
}

/* What runs in one launch is alive at once. */
static void count_by_launches(made_up *m, int count)
{
    for (int i = 0; i < count; i++) {
        m->first[i] = m->steps[m->first[i]].launch;
        m->last[i] = m->steps[m->last[i]].launch;
    }
}

/* Returns how many ranges there are: items, then scratch. Some steps share launches. */
static int make_up(made_up *m)
{
    const int items = random_below(MOST_ITEMS + 1), scratch = random_below(MOST_SCRATCH + 1);
    *m = (made_up){0};
    m->plan.steps = m->steps;
    m->plan.step_count = 1 + random_below(MOST_STEPS);
    for (int i = 0; i < m->plan.step_count; i++) {
        m->steps[i].places = m->places[i];
        m->steps[i].launch = i > 0 && random_below(4) == 0 ? m->steps[i - 1].launch : i;
    }
    for (int i = 0; i < items; i++) add_item(m, i);
    for (int i = 0; i < scratch; i++) add_scratch(m, i, items + i);
    count_by_launches(m, items + scratch);
    m->walk = (cg_walk){.nodes = m->list, .count = items};
    m->schedule = (cg_schedule){.context = cg, .walk = &m->walk, .items = m->items};
    m->build = (cg_build){
        .context = cg, .schedule = &m->schedule, .plan = &m->plan, .scratch = m->scratch, .scratch_count = scratch};
    return items + scratch;
}

/* Where the layout put each range: the same in all steps. */
static void find_offsets(const made_up *m, int count, int64_t *offsets)
{
    for (int i = 0; i < count; i++) offsets[i] = -1;
    for (int n = 0; n < m->plan.step_count; n++)
        for (int i = 0; i < m->steps[n].place_count; i++) {
            const cg_place *place = &m->steps[n].places[i];
            ck_assert_int_ge(place->index, 0);
            ck_assert_int_lt(place->index, count);
            if (offsets[place->index] >= 0) ck_assert_int_eq(offsets[place->index], place->offset);
            offsets[place->index] = place->offset;
        }
}

static int64_t most_alive(const made_up *m, int count)
{
    int64_t most = 0;
    for (int n = 0; n < m->plan.step_count; n++) {
        int64_t alive = 0;
        for (int i = 0; i < count; i++)
            if (m->first[i] <= n && n <= m->last[i]) alive += m->bytes[i];
        if (alive > most) most = alive;
    }
    return most;
}

START_TEST(ranges_alive_at_once_lie_apart)
{
    static made_up m;
    int64_t offsets[MOST_ITEMS + MOST_SCRATCH], all;
    for (random_state = 1; random_state <= ROUNDS; random_state++) {
        const uint32_t seed = random_state;
        const int count = make_up(&m);
        ck_assert(cg_memory_offsets(&m.build));
        find_offsets(&m, count, offsets);
        all = 0;
        for (int i = 0; i < count; i++) {
            ck_assert_int_ge(offsets[i], 0);
            ck_assert_int_eq(offsets[i] % cg->memory_alignment, 0);
            ck_assert_int_le(offsets[i] + m.bytes[i], m.plan.arena_bytes);
            all += m.bytes[i] + cg->memory_alignment + 128;
            for (int k = 0; k < i; k++)
                ck_assert_msg(m.first[i] > m.last[k] || m.first[k] > m.last[i] ||
                                  offsets[i] + m.bytes[i] <= offsets[k] || offsets[k] + m.bytes[k] <= offsets[i],
                              "round %u: ranges %d and %d overlap", seed, i, k);
        }
        ck_assert_int_eq(m.plan.arena_bound, most_alive(&m, count));
        ck_assert_int_le(m.plan.arena_bound, m.plan.arena_bytes);
        ck_assert_int_le(m.plan.arena_bytes, all);
        random_state = seed;
    }
}
END_TEST

/* ---- What is told before a run -------------------------------------------------------------------------------------
 */

enum { MOST_LAYERS = 4 };

typedef struct network {
    int layers, widths[MOST_LAYERS + 1], batch;
    double penalty;
    cg_model *model;
    cg_dense *dense[MOST_LAYERS];
    cg_optimizer *optimizer;
    cg_tensor x, y;
} network;

static cg_tensor rows(int count, int features)
{
    float *values = calloc((size_t)count * (size_t)features, sizeof *values);
    for (int i = 0; i < count * features; i++) values[i] = (float)(i % 17) / 17;
    const cg_tensor t = cg_input(cg, CG_F32, CG_SHAPE(count, features), values, .has_batch_axis = true);
    free(values);
    return t;
}

static void make_network(network *net)
{
    static const char *const names[] = {"a", "b", "c", "d"};
    net->x = rows(net->batch, net->widths[0]);
    net->y = rows(net->batch, net->widths[net->layers]);
    net->model = cg_model_new(cg);
    cg_scope scope = cg_scope_begin(cg);
    for (int l = 0; l < net->layers; l++)
        net->dense[l] = cg_dense_new(net->model, names[l], net->widths[l], net->widths[l + 1],
                                     .kernel_penalty = cg_elastic(net->penalty, net->penalty));
    cg_scope_end(scope);
    net->optimizer = cg_adam_new(net->model);
}

static cg_tensor record_step(const network *net)
{
    cg_tensor h = net->x;
    for (int l = 0; l < net->layers; l++) {
        h = cg_dense_call(net->dense[l], h);
        if (l + 1 < net->layers) h = cg_relu(h);
    }
    cg_minimize(net->optimizer, cg_mean_squared_error(h, net->y));
    return h;
}

/* Within a tenth of the bound; and what was told is what is then held, without another plan. */
static void check_step(network *net)
{
    open_own(NULL, NULL);
    make_network(net);
    for (int step = 0; step < 3; step++) {
        cg_scope scope = cg_scope_begin(cg);
        record_step(net);
        mark();
        const cg_memory m = cg_memory_needed(cg, NULL, 0);
        ck_assert_int_eq(kernels_run(), 0);
        ck_assert_int_eq(m.held, cg_counters_get(cg).device_bytes);
        ck_assert_int_eq(m.values, cg_counters_get(cg).used_bytes);
        ck_assert_int_eq(m.results, 0);
        ck_assert_int_gt(m.temporaries, 0);
        ck_assert_int_ge(m.bound, m.values);
        ck_assert_int_ge(m.peak, m.bound);
        ck_assert_double_le((double)m.peak, 1.10 * (double)m.bound);
        ck_assert_int_eq(plans_made(), step == 0);
        cg_scope_end(scope);
        ck_assert_msg(cg_wait(cg), "%s", cg_message(cg));
        ck_assert_int_eq(plans_made(), step == 0);
        ck_assert_int_gt(kernels_run(), 0);
        ck_assert_int_eq(cg_counters_get(cg).device_bytes, m.peak);
    }
    ck_assert_int_eq(cg_optimizer_steps(net->optimizer), 3);
    cg_model_free(net->model);
    close_own();
}

START_TEST(a_classifier_needs_little_more_than_is_alive)
{
    check_step(&(network){.layers = 3, .widths = {784, 512, 512, 10}, .batch = 128});
}
END_TEST

START_TEST(an_autoencoder_needs_little_more_than_is_alive)
{
    check_step(&(network){.layers = 4, .widths = {784, 256, 64, 256, 784}, .batch = 256, .penalty = 1e-5});
}
END_TEST

/* Handles of the scope, and tensors that are made from weights and used by nobody, hold nothing at its end. */
START_TEST(what_ends_with_the_scope_holds_no_memory)
{
    network net = {.layers = 2, .widths = {20, 30, 20}, .batch = 8};
    make_network(&net);
    for (int step = 0; step < 2; step++) {
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor h = record_step(&net), w = cg_value(cg_model_at(net.model, 0));
        cg_exp(cg_add(cg_square(w), cg_mean(h)));
        cg_scope inner = cg_scope_local(cg);
        cg_square(w);
        mark();
        ck_assert_int_eq(cg_memory_needed(cg, NULL, 0).results, 0);
        cg_scope_end(inner);
        ck_assert_int_eq(cg_memory_needed(cg, NULL, 0).results, 0);
        cg_scope_end(scope);
        ck_assert_int_eq(plans_made(), step == 0);
    }
    cg_model_free(net.model);
}
END_TEST

/* A tensor from outside the scope that still needs the old weights: they are not written over, as is told. */
START_TEST(what_outlives_the_scope_holds_memory)
{
    network net = {.layers = 2, .widths = {20, 30, 20}, .batch = 8};
    make_network(&net);
    cg_tensor squares = cg_square(cg_value(cg_model_at(net.model, 0)));
    cg_scope scope = cg_scope_begin(cg);
    record_step(&net);
    const cg_memory m = cg_memory_needed(cg, NULL, 0);
    const int64_t used = cg_counters_get(cg).used_bytes;
    cg_scope_end(scope);
    ck_assert_int_ge(m.results, 4 * 20 * 30);
    ck_assert_int_eq(m.values, used);
    ck_assert_int_eq(cg_counters_get(cg).used_bytes, used + m.results);
    cg_release(squares);
    cg_model_free(net.model);
}
END_TEST

START_TEST(tensors_asked_for)
{
    float out[24];
    cg_tensor x = rows(4, 6), squares = cg_square(x), sums = cg_sum(squares);
    mark();
    const cg_memory m = cg_memory_needed(cg, (cg_tensor[]){squares, sums}, 2);
    ck_assert_int_ge(m.results, 4 * (24 + 1));
    const int64_t used = cg_counters_get(cg).used_bytes;
    ck_assert(cg_eval((cg_tensor[]){squares, sums}, 2));
    ck_assert_int_eq(plans_made(), 1);
    ck_assert_int_eq(cg_counters_get(cg).used_bytes, used + m.results);
    ck_assert(cg_read_floats(squares, out, 24));
    const cg_memory none = cg_memory_needed(cg, &squares, 1);
    ck_assert(none.results == 0 && none.temporaries == 0 && none.bound == none.values && none.values > 0);
}
END_TEST

static void expect_nothing(cg_memory m)
{
    ck_assert(m.values == 0 && m.results == 0 && m.temporaries == 0 && m.held == 0 && m.peak == 0 && m.bound == 0);
}

START_TEST(bad_input)
{
    cg_scope scope = cg_scope_local(cg);
    cg_tensor dead = cg_square(rows(2, 2)), null = {0};
    cg_scope_end(scope);
    expect_nothing(cg_memory_needed(NULL, NULL, 0));
    expect_nothing(cg_memory_needed(cg, NULL, 1));
    expect_nothing(cg_memory_needed(cg, &null, 1));
    ck_assert_int_eq(cg_status(cg), CG_OK);
    expect_nothing(cg_memory_needed(cg, &dead, 1));
    ck_assert_ptr_nonnull(strstr(cg_message(cg), "cg_memory_needed: a tensor is used after the end of its scope"));
    cg_clear_error(cg);
}
END_TEST

/* A step scope that failed runs nothing, and needs nothing more. */
START_TEST(a_failed_step)
{
    network net = {.layers = 2, .widths = {20, 30, 20}, .batch = 8};
    make_network(&net);
    cg_scope scope = cg_scope_begin(cg);
    record_step(&net);
    ck_assert(cg_is_null(cg_matmul(net.x, net.x)));
    const cg_memory m = cg_memory_needed(cg, NULL, 0);
    ck_assert(m.results == 0 && m.temporaries == 0);
    cg_scope_end(scope);
    cg_clear_error(cg);
    cg_model_free(net.model);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("memory");
    TCase *cases = tcase_create("memory");
    tcase_add_checked_fixture(cases, begin_test, end_test);
    tcase_add_test(cases, ranges_alive_at_once_lie_apart);
    tcase_add_test(cases, a_classifier_needs_little_more_than_is_alive);
    tcase_add_test(cases, an_autoencoder_needs_little_more_than_is_alive);
    tcase_add_test(cases, what_ends_with_the_scope_holds_no_memory);
    tcase_add_test(cases, what_outlives_the_scope_holds_memory);
    tcase_add_test(cases, tensors_asked_for);
    tcase_add_test(cases, bad_input);
    tcase_add_test(cases, a_failed_step);
    suite_add_tcase(suite, cases);
    return run_tests(suite);
}

/* Fault injection: a short training run is repeated with each OpenCL call, then each allocation, failing once, in
 * turn; and with the memory for nodes running out at each node. Whatever fails, there is a clean error, the model is as
 * after a whole number of steps or marked lost, the same context then carries the run to its end with the same numbers
 * bit for bit, and nothing leaks. Building programs takes so long that the training runs share a context that has them;
 * what only a new one does has a smaller run. With fault_layer.c among OPENCL_LAYERS the calls are those that the layer
 * sees, not those that the engine counts. */
#include "engine/buffer.h"
#include "program.h"
#include <clgrad/clgrad.h>
#include <dirent.h>
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { INPUTS = 5, HIDDEN = 6, CLASSES = 3, BATCH = 4, STEPS = 3 };
enum { VALUES = INPUTS * HIDDEN + HIDDEN + HIDDEN * CLASSES + CLASSES };
enum { WEIGHTS = 4, STATES = 2 * WEIGHTS, MOST_VARIABLES = WEIGHTS + STATES, ALL_VALUES = 3 * VALUES };

/* Of the device's memory: keeps pools small and quickly made. */
#define LIMIT (INT64_C(4) << 20)

/* ---- Host memory that fails on demand ---------------------------------------------------------------------------- */

typedef struct host {
    int64_t calls, fail_at;
    size_t fail_bytes; /* the next allocation of this size fails */
    int64_t live;      /* blocks */
} host;
static host memory;

static void *reallocate(void *user, void *pointer, size_t bytes)
{
    host *h = user;
    if (bytes == 0) {
        h->live -= pointer != NULL;
        free(pointer);
        return NULL;
    }
    if (++h->calls == h->fail_at) return NULL;
    if (bytes == h->fail_bytes) {
        h->fail_bytes = 0;
        return NULL;
    }
    void *result = realloc(pointer, bytes);
    h->live += result && !pointer;
    return result;
}

/* ---- The training run -------------------------------------------------------------------------------------------- */

/* All variables, one after the other. */
typedef struct snapshot {
    float values[ALL_VALUES];
} snapshot;

/* What the run must do; found by a run in which nothing fails. */
static struct reference {
    snapshot after[STEPS + 1]; /* the number of steps */
    snapshot end;
    double objective;
    int64_t live; /* host blocks that stay between runs */
    char folder[64], model_path[128], first_path[128];
} reference;

typedef struct run {
    cg_context *cg;
    bool opencl_fails;
    int failures, losses;
    /* Training. */
    cg_model *model;
    cg_dense *first, *second;
    cg_optimizer *optimizer;
    int steps; /* completed */
    double objective;
    bool loaded;
    /* In a new context. */
    cg_faults faults;
    cg_variable *variable;
    int doublings;
} run;

/* The layer's count, or NULL: the context's. */
static cg_faults *layer;

static cg_faults *opencl_faults(cg_context *cg)
{
    return layer ? layer : &cg->faults;
}

/* What is under test, for messages. */
static char fault[64];

#define CHECK(condition) ck_assert_msg(condition, "%s: " #condition ": %s", fault, r->cg ? cg_message(r->cg) : "")

static bool make_model(run *r)
{
    r->model = cg_model_new(r->cg);
    return r->model != NULL;
}

static bool make_first(run *r)
{
    cg_random_set(r->cg, 0);
    r->first = cg_dense_new(r->model, "first", INPUTS, HIDDEN, .initializer = CG_HE_NORMAL,
                            .kernel_penalty = cg_l2(1e-2));
    return r->first != NULL;
}

static bool make_second(run *r)
{
    cg_random_set(r->cg, 1);
    r->second = cg_dense_new(r->model, "second", HIDDEN, CLASSES);
    return r->second != NULL;
}

static bool make_optimizer(run *r)
{
    r->optimizer = cg_adam_new(r->model, .learning_rate = 0.05);
    return r->optimizer != NULL;
}

static void fill_minibatch(int step, float *x, int32_t *y)
{
    for (int i = 0; i < BATCH * INPUTS; i++) x[i] = (float)((i * 7 + step * 13) % 11) / 5 - 1;
    for (int i = 0; i < BATCH; i++) y[i] = (i + step) % CLASSES;
}

static void call_hidden(void *user, const cg_tensor *inputs, cg_tensor *outputs)
{
    outputs[0] = cg_dropout(cg_relu(cg_dense_call(((run *)user)->first, inputs[0])), .rate = 0.4);
}

/* The backward pass computes the hidden layer again. */
static bool record_step(run *r)
{
    float x[BATCH * INPUTS];
    int32_t y[BATCH];
    fill_minibatch(r->steps, x, y);
    cg_random_set(r->cg, 2 + (uint64_t)r->steps);
    cg_optimizer_set_steps(r->optimizer, r->steps);
    cg_tensor h = cg_input(r->cg, CG_F32, CG_SHAPE(BATCH, INPUTS), x);
    cg_checkpoint(call_hidden, r, &h, 1, &h, 1);
    cg_tensor labels = cg_input(r->cg, CG_I32, CG_SHAPE(BATCH), y);
    return cg_minimize(r->optimizer, cg_softmax_cross_entropy(cg_dense_call(r->second, h), labels));
}

static bool train(run *r)
{
    cg_scope scope = cg_scope_begin(r->cg);
    record_step(r);
    if (r->steps == 1) cg_memory_needed(r->cg, NULL, 0);
    cg_scope_end(scope);
    if (cg_status(r->cg) != CG_OK) return false;
    r->steps++;
    return true;
}

/* Without a step scope: what is recorded stays pending, whole or not at all. */
static bool train_loosely(run *r)
{
    cg_scope scope = cg_scope_local(r->cg);
    const bool done = record_step(r);
    cg_scope_end(scope);
    if (done) r->steps++;
    return done;
}

static bool read_objective(run *r)
{
    r->objective = cg_optimizer_objective(r->optimizer);
    return cg_status(r->cg) == CG_OK;
}

/* Plans of one launch, large enough for several work-groups: they may overlap, but for what the second one needs. */
static bool overlap(run *r)
{
    enum { MANY = 40000 };
    static float twos[MANY];
    for (int i = 0; i < MANY; i++) twos[i] = 2;
    cg_scope scope = cg_scope_local(r->cg);
    const cg_tensor x = cg_input(r->cg, CG_F32, CG_SHAPE(MANY), twos), squares = cg_square(x);
    cg_eval(&squares, 1);
    CHECK(cg_status(r->cg) != CG_OK || !r->cg->overlap.queue || cg_device(r->cg)->compute_units < 2 ||
          r->cg->overlap.count > 0);
    const cg_tensor sums = cg_add(squares, x);
    cg_eval(&sums, 1);
    const double total = cg_item(cg_sum(sums));
    cg_scope_end(scope);
    CHECK(cg_status(r->cg) != CG_OK || total == 6.0 * MANY);
    return cg_status(r->cg) == CG_OK;
}

static bool save(run *r)
{
    return cg_model_save(r->model, reference.model_path);
}

/* The weights after the first step, which the reference run has saved. */
static bool load(run *r)
{
    return r->loaded = cg_model_load(r->model, reference.first_path);
}

static bool wait_for_it(run *r)
{
    return cg_wait(r->cg);
}

typedef bool line(run *r);
static line *const training[] = {make_model, make_first,     make_second, make_optimizer, train, train,
                                 train,      read_objective, overlap,     save,           load,  wait_for_it};
enum { TRAINING = sizeof training / sizeof *training };
static line *const loose[] = {make_model, make_first, make_second, make_optimizer, train_loosely, train_loosely};
enum { LOOSE = sizeof loose / sizeof *loose };

/* ---- Looking at the variables ------------------------------------------------------------------------------------ */

/* The model's variables, then the optimizer's state; NULL for state that was never made. */
static void list_variables(const run *r, cg_variable **list)
{
    for (int i = 0; i < WEIGHTS; i++) {
        char name[64];
        list[i] = cg_model_at(r->model, i);
        for (int k = 0; k < 2; k++) {
            snprintf(name, sizeof name, "adam/%s/%s", cg_variable_name(list[i]), k ? "r" : "m");
            list[WEIGHTS + 2 * i + k] = cg_optimizer_state(r->optimizer, name);
        }
    }
}

/* Where the values of variable `index` lie in a snapshot. */
static void place_of(int index, int *first, int *count)
{
    static const int sizes[WEIGHTS] = {INPUTS * HIDDEN, HIDDEN, HIDDEN * CLASSES, CLASSES};
    *first = 0;
    for (int i = 0; i < index; i++) *first += sizes[i < WEIGHTS ? i : (i - WEIGHTS) / 2];
    *count = sizes[index < WEIGHTS ? index : (index - WEIGHTS) / 2];
}

/* State that was never made, or whose first zeros went with a failed step, counts as zeros. */
static void take_snapshot(run *r, snapshot *s)
{
    cg_variable *list[MOST_VARIABLES];
    list_variables(r, list);
    memset(s, 0, sizeof *s);
    cg_scope scope = cg_scope_local(r->cg);
    for (int i = 0; i < MOST_VARIABLES; i++) {
        int first, count;
        place_of(i, &first, &count);
        if (i >= WEIGHTS && !cg_variable_has_value(list[i])) continue;
        CHECK(cg_read_floats(cg_value(list[i]), s->values + first, count));
    }
    cg_scope_end(scope);
}

static bool same(const snapshot *a, const snapshot *b)
{
    return memcmp(a->values, b->values, sizeof a->values) == 0;
}

/* A lost variable refuses to be read and says so; then it gets its value back, with all the others. */
static void restore_lost(run *r, cg_variable **list, const snapshot *s)
{
    cg_scope scope = cg_scope_local(r->cg);
    for (int i = 0; i < MOST_VARIABLES; i++) {
        if (!cg_variable_lost(list[i])) continue;
        CHECK(cg_is_null(cg_value(list[i])));
        CHECK(strstr(cg_message(r->cg), cg_variable_name(list[i])) && strstr(cg_message(r->cg), "lost"));
        cg_clear_error(r->cg);
    }
    for (int i = 0; i < MOST_VARIABLES; i++) {
        int first, count;
        place_of(i, &first, &count);
        if (list[i]) CHECK(cg_assign(list[i], cg_input(r->cg, CG_F32, cg_variable_shape(list[i]), s->values + first)));
    }
    CHECK(cg_wait(r->cg));
    cg_scope_end(scope);
}

/* After a failure: as it was before the step that failed, or lost, which only OpenCL can cause. */
static void check_model(run *r)
{
    if (!r->optimizer) return;
    cg_variable *list[MOST_VARIABLES];
    bool lost = false;
    list_variables(r, list);
    for (int i = 0; i < MOST_VARIABLES; i++) lost |= list[i] && cg_variable_lost(list[i]);
    const snapshot *expected = r->loaded ? &reference.end : &reference.after[r->steps];
    if (lost) {
        CHECK(r->opencl_fails);
        r->losses++;
        restore_lost(r, list, expected);
    }
    snapshot found;
    take_snapshot(r, &found);
    CHECK(same(&found, expected));
}

/* ---- A failure --------------------------------------------------------------------------------------------------- */

/* The context works: something that no other part of the run computes. */
static void check_usable(run *r)
{
    const float x[4] = {1, 2, 3, 4};
    cg_scope scope = cg_scope_local(r->cg);
    cg_tensor t = cg_input(r->cg, CG_F32, CG_SHAPE(4), x);
    CHECK(cg_item(cg_sum(cg_square(t))) == 30);
    cg_scope_end(scope);
}

static void check_failure(run *r, void (*check)(run *r))
{
    r->failures++;
    CHECK(r->failures == 1);
    CHECK(cg_status(r->cg) != CG_OK && cg_message(r->cg)[0] != '\0');
    cg_clear_error(r->cg);
    CHECK(cg_status(r->cg) == CG_OK && cg_message(r->cg)[0] == '\0');
    check_usable(r);
    check(r);
}

/* Each line until it succeeds, which it must the second time. */
static void follow(run *r, line *const *script, int lines, void (*check)(run *r))
{
    for (int i = 0; i < lines; i++)
        while (!script[i](r) || cg_status(r->cg) != CG_OK) check_failure(r, check);
}

static void name_fault(int64_t opencl_fail_at, int64_t allocation_fail_at)
{
    snprintf(fault, sizeof fault, "%s %lld", opencl_fail_at ? "OpenCL call" : "allocation",
             (long long)(opencl_fail_at ? opencl_fail_at : allocation_fail_at));
}

/* ---- Training ---------------------------------------------------------------------------------------------------- */

static cg_context *shared;
static char trace_path[128];

static void check_folder(void)
{
    DIR *folder = opendir(reference.folder);
    int files = 0;
    ck_assert_ptr_nonnull(folder);
    while (readdir(folder)) files++;
    closedir(folder);
    ck_assert_msg(files == 4, "%s: %d files, not ., .. and two models", fault, files);
}

static void check_end(run *r)
{
    snapshot found;
    take_snapshot(r, &found);
    CHECK(same(&found, &reference.end));
    CHECK(r->objective == reference.objective);
    check_folder();
}

/* Blocks that a context keeps for later use: as many as were needed at the same time, and two for each kernel, which a
 * launch that kernels share may have left unbuilt. */
static int64_t reserves(const cg_context *cg)
{
    int64_t count = cg->node_chunk_count + 2 * cg->kernel_entry_count;
    for (const cg_staging_block *block = cg->staging; block; block = block->next) count++;
    for (const cg_buffer *buffer = cg->free_buffers; buffer; buffer = buffer->next_free) count++;
    return count;
}

/* Frees what the run made, and the plans, so that the next run makes them again. */
static void end_training(run *r)
{
    cg_model_free(r->model);
    CHECK(cg_wait(r->cg));
    cg_plans_close(r->cg);
    const cg_counters counters = cg_counters_get(r->cg);
    CHECK(counters.nodes == 0 && counters.buffers == 0 && counters.variables == 0 && counters.used_bytes == 0);
    const int64_t live = memory.live - reserves(r->cg);
    if (!reference.live) reference.live = live;
    ck_assert_msg(live == reference.live, "%s: %lld host blocks, not %lld", fault, (long long)live,
                  (long long)reference.live);
}

/* Runs with one fault; false if the run ended before it. */
static bool train_with(int64_t opencl_fail_at, int64_t allocation_fail_at, int *losses)
{
    run r = {.cg = shared, .opencl_fails = opencl_fail_at > 0};
    name_fault(opencl_fail_at, allocation_fail_at);
    memory.calls = 0;
    memory.fail_at = allocation_fail_at;
    *opencl_faults(shared) = (cg_faults){.opencl_fail_at = opencl_fail_at};
    follow(&r, training, TRAINING, check_model);
    const bool reached = opencl_fail_at ? opencl_faults(shared)->opencl_calls >= opencl_fail_at
                                        : memory.calls >= allocation_fail_at;
    memory.fail_at = 0;
    *opencl_faults(shared) = (cg_faults){0};
    check_end(&r);
    end_training(&r);
    *losses += r.losses;
    return reached;
}

/* The run in which nothing fails. It also builds all programs. */
static void make_reference(void)
{
    run run = {.cg = shared}, *r = &run;
    for (int i = 0; i < TRAINING; i++) {
        CHECK(training[i](r));
        if (training[i] == make_optimizer) take_snapshot(r, &reference.after[0]);
        if (training[i] != train) continue;
        take_snapshot(r, &reference.after[r->steps]);
        if (r->steps == 1) CHECK(cg_model_save(r->model, reference.first_path));
    }
    take_snapshot(r, &reference.end);
    reference.objective = r->objective;
    check_usable(r);
    end_training(r);
}

static void set_up(void)
{
    memset(&reference, 0, sizeof reference);
    snprintf(fault, sizeof fault, "nothing failing");
    make_temporary_folder(reference.folder, sizeof reference.folder);
    snprintf(reference.model_path, sizeof reference.model_path, "%s/model.safetensors", reference.folder);
    snprintf(reference.first_path, sizeof reference.first_path, "%s/first.safetensors", reference.folder);
    memory = (host){0};
    shared = cg_open_with(&(cg_open_options){.reallocate = reallocate, .user = &memory, .memory_limit = LIMIT});
    ck_assert_msg(shared && cg_status(shared) == CG_OK, "%s", cg_message(shared));
    cg_seed(shared, 7);
    cg_training(shared, true);
    make_reference();
}

static void set_up_clblast(void)
{
    setenv("CLGRAD_GEMM", "clblast", 1);
    set_up();
    unsetenv("CLGRAD_GEMM");
}

static void name_trace(void)
{
    const char *temporary = getenv("TMPDIR");
    snprintf(trace_path, sizeof trace_path, "%s/clgrad-faults-%ld.json", temporary ? temporary : "/tmp",
             (long)getpid());
    setenv("CLGRAD_PROFILE", trace_path, 1);
}

static void set_up_profiled(void)
{
    name_trace();
    set_up();
    unsetenv("CLGRAD_PROFILE");
}

static void tear_down(void)
{
    unlink(reference.model_path);
    unlink(reference.first_path);
    rmdir(reference.folder);
    cg_close(shared);
    ck_assert_int_eq(memory.live, 0);
}

static void tear_down_profiled(void)
{
    tear_down();
    ck_assert_int_eq(unlink(trace_path), 0);
}

START_TEST(every_opencl_call_of_training)
{
    int losses = 0;
    int64_t call = 1;
    while (train_with(call, 0, &losses)) call++;
    ck_assert_int_gt(call, 100);
    ck_assert_int_gt(losses, 0);
}
END_TEST

/* Nodes come in chunks. */
enum { CHUNK_NODES = 256 };

static int free_nodes(void)
{
    int count = 0;
    for (const cg_node *node = shared->free_nodes; node; node = node->scope_next) count++;
    return count;
}

/* Only `left` more nodes can be made, then there is no memory for one, once. False if the script needs no more. The
 * reference run has left all nodes that it needed. */
static bool run_with_nodes(int left, line *const *script, int lines)
{
    run r = {.cg = shared};
    snprintf(fault, sizeof fault, "node %d", left + 1);
    cg_scope scope = cg_scope_local(shared);
    for (int i = free_nodes() - left; i > 0; i--) cg_scalar(shared, 1);
    ck_assert_int_eq(free_nodes(), left);
    memory.fail_bytes = CHUNK_NODES * sizeof(cg_node);
    follow(&r, script, lines, check_model);
    const bool reached = memory.fail_bytes == 0;
    memory.fail_bytes = 0;
    cg_scope_end(scope);
    check_model(&r);
    end_training(&r);
    return reached;
}

START_TEST(every_node_of_training)
{
    int left = 0;
    while (run_with_nodes(left, training, TRAINING)) left++;
    ck_assert_int_gt(left, 50);
}
END_TEST

START_TEST(every_node_outside_step_scopes)
{
    int left = 0;
    while (run_with_nodes(left, loose, LOOSE)) left++;
    ck_assert_int_gt(left, 50);
}
END_TEST

START_TEST(every_allocation_of_training)
{
    int losses = 0;
    int64_t call = 1;
    while (train_with(0, call, &losses)) call++;
    ck_assert_int_gt(call, 100);
    ck_assert_int_eq(losses, 0);
}
END_TEST

/* ---- A new context ----------------------------------------------------------------------------------------------- */

enum { SIDE = 2 };
static const float initial[SIDE * SIDE] = {1, 2, 3, 4};

static bool open_context(run *r)
{
    const cg_open_options options = {.reallocate = reallocate, .user = &memory, .memory_limit = LIMIT};
    cg_close(r->cg);
    r->cg = cg_open_faulty(&options, r->failures ? (cg_faults){0} : r->faults);
    return r->cg && cg_status(r->cg) == CG_OK;
}

static bool make_variable(run *r)
{
    cg_variable_free(r->variable);
    r->variable = cg_variable_new(r->cg, "v", CG_F32, CG_SHAPE(SIDE, SIDE));
    cg_scope scope = cg_scope_local(r->cg);
    const bool done = r->variable && cg_assign(r->variable, cg_input(r->cg, CG_F32, CG_SHAPE(SIDE, SIDE), initial));
    cg_scope_end(scope);
    return done;
}

/* v + v times the identity: a program for the product, and one for the rest. */
static bool double_variable(run *r)
{
    const float identity[SIDE * SIDE] = {1, 0, 0, 1};
    cg_scope scope = cg_scope_begin(r->cg);
    const cg_tensor v = cg_value(r->variable), i = cg_input(r->cg, CG_F32, CG_SHAPE(SIDE, SIDE), identity);
    cg_assign(r->variable, cg_add(v, cg_matmul(v, i)));
    cg_scope_end(scope);
    if (cg_status(r->cg) != CG_OK) return false;
    r->doublings++;
    return true;
}

static bool read_variable(run *r)
{
    float found[SIDE * SIDE];
    cg_scope scope = cg_scope_local(r->cg);
    const bool done = cg_read_floats(cg_value(r->variable), found, SIDE * SIDE);
    cg_scope_end(scope);
    return done;
}

/* The value to come, or lost: then it is given again. */
static void check_variable(run *r)
{
    float found[SIDE * SIDE], expected[SIDE * SIDE];
    for (int i = 0; i < SIDE * SIDE; i++) expected[i] = ldexpf(initial[i], r->doublings);
    if (!r->variable || (r->doublings == 0 && !cg_variable_has_value(r->variable))) return;
    cg_scope scope = cg_scope_local(r->cg);
    if (cg_variable_lost(r->variable)) {
        CHECK(r->opencl_fails && cg_is_null(cg_value(r->variable)));
        cg_clear_error(r->cg);
        CHECK(cg_assign(r->variable, cg_input(r->cg, CG_F32, CG_SHAPE(SIDE, SIDE), expected)));
    }
    CHECK(cg_read_floats(cg_value(r->variable), found, SIDE * SIDE));
    CHECK(memcmp(found, expected, sizeof found) == 0);
    cg_scope_end(scope);
}

/* A context that did not open refuses everything, whatever is cleared, and holds nothing once closed. */
static void check_failed_opening(run *r)
{
    r->failures++;
    if (!r->cg) return;
    CHECK(cg_status(r->cg) != CG_OK && cg_message(r->cg)[0] != '\0');
    cg_clear_error(r->cg);
    CHECK(cg_status(r->cg) != CG_OK);
    CHECK(cg_is_null(cg_scalar(r->cg, 1)) && !cg_wait(r->cg) && !cg_variable_new(r->cg, "v", CG_F32, CG_RANK0));
    CHECK(cg_is_null(cg_input(r->cg, CG_F32, CG_SHAPE(4), initial)));
    CHECK(cg_device(r->cg)->name[0] == '\0');
    cg_scope_end(cg_scope_begin(r->cg));
    cg_close(r->cg);
    r->cg = NULL;
    ck_assert_msg(memory.live == 0, "%s: %lld host blocks leak", fault, (long long)memory.live);
}

static bool open_with(int64_t opencl_fail_at, int64_t allocation_fail_at)
{
    static line *const script[] = {make_variable, double_variable, read_variable, double_variable};
    run run = {.opencl_fails = opencl_fail_at > 0, .faults = {.opencl_fail_at = opencl_fail_at}}, *r = &run;
    name_fault(opencl_fail_at, allocation_fail_at);
    memory = (host){.fail_at = allocation_fail_at};
    if (layer) *layer = run.faults, run.faults = (cg_faults){0};
    while (!open_context(r)) check_failed_opening(r);
    follow(r, script, sizeof script / sizeof *script, check_variable);
    const bool reached = r->failures || (opencl_fail_at ? opencl_faults(r->cg)->opencl_calls >= opencl_fail_at
                                                        : memory.calls >= allocation_fail_at);
    memory.fail_at = 0;
    *opencl_faults(r->cg) = (cg_faults){0};
    check_variable(r);
    cg_close(r->cg);
    ck_assert_msg(memory.live == 0, "%s: %lld host blocks leak", fault, (long long)memory.live);
    return reached;
}

START_TEST(every_opencl_call_of_a_new_context)
{
    int64_t call = 1;
    while (open_with(call, 0)) call++;
    ck_assert_int_gt(call, 30);
}
END_TEST

START_TEST(every_allocation_of_a_new_context)
{
    int64_t call = 1;
    while (open_with(0, call)) call++;
    ck_assert_int_gt(call, 30);
}
END_TEST

/* A profile costs no run its result, whatever it cannot find out; but without a clock it is refused. */
START_TEST(everything_in_a_new_context_with_a_profile)
{
    int64_t call = 1, allocation = 1;
    name_trace();
    while (open_with(call, 0)) call++;
    while (open_with(0, allocation)) allocation++;
    unsetenv("CLGRAD_PROFILE");
    ck_assert_int_gt(call, 50);
    ck_assert_int_gt(allocation, 30);
    ck_assert_int_eq(unlink(trace_path), 0);
}
END_TEST

/* Of binaries, whole ones only. */
static int empty(const char *path)
{
    char file[512];
    int count = 0;
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        if (entry->d_name[0] == '.') continue;
        snprintf(file, sizeof file, "%s/%.300s", path, entry->d_name);
        const size_t length = strlen(file);
        ck_assert_msg(length > 4 && strcmp(file + length - 4, ".bin") == 0, "%s is left", file);
        count++;
        ck_assert_int_eq(unlink(file), 0);
    }
    if (folder) closedir(folder);
    return count;
}

/* What is amiss with the binaries on disk costs no run its result, and leaves no temporary file. */
START_TEST(everything_in_a_new_context_with_binaries_on_disk)
{
    char folder[128];
    int64_t call = 1, allocation = 1;
    make_temporary_folder(folder, sizeof folder);
    setenv("CLGRAD_CACHE", folder, 1);
    while (open_with(call, 0)) call++;
    while (open_with(0, allocation)) allocation++;
    unsetenv("CLGRAD_CACHE");
    ck_assert_int_gt(call, 30);
    ck_assert_int_gt(allocation, 30);
    ck_assert_int_ge(empty(folder), 2); /* a program for the product, and one for the rest */
    ck_assert_int_eq(rmdir(folder), 0);
}
END_TEST

static bool find_layer(void)
{
    const char *path = getenv("OPENCL_LAYERS");
    if (!path || !strstr(path, "fault_layer")) return true;
    void *library = dlopen(path, RTLD_NOW);
    layer = library ? dlsym(library, "fault_layer") : NULL;
    return layer != NULL;
}

/* A layer that cannot be found, or that the loader does not call, would leave everything untested. */
START_TEST(the_layer_sees_the_calls)
{
    *layer = (cg_faults){0};
    cg_close(cg_open(NULL));
    ck_assert_int_gt(layer->opencl_calls, 10);
}
END_TEST

int main(void)
{
    if (!find_layer()) return fprintf(stderr, "%s: no fault_layer in it\n", getenv("OPENCL_LAYERS")), 1;
    Suite *suite = suite_create("faults");
    TCase *opening = tcase_create("a new context"), *packed = tcase_create("training");
    TCase *clblast = tcase_create("training with CLBlast"), *profiled = tcase_create("training with a profile");
    if (layer) tcase_add_test(opening, the_layer_sees_the_calls);
    tcase_add_test(opening, every_opencl_call_of_a_new_context);
    tcase_add_test(opening, every_allocation_of_a_new_context);
    tcase_add_test(opening, everything_in_a_new_context_with_a_profile);
    tcase_add_test(opening, everything_in_a_new_context_with_binaries_on_disk);
    tcase_add_checked_fixture(packed, set_up, tear_down);
    tcase_add_test(packed, every_opencl_call_of_training);
    tcase_add_test(packed, every_allocation_of_training);
    tcase_add_test(packed, every_node_of_training);
    tcase_add_test(packed, every_node_outside_step_scopes);
    tcase_add_checked_fixture(clblast, set_up_clblast, tear_down);
    tcase_add_test(clblast, every_opencl_call_of_training);
    tcase_add_test(clblast, every_allocation_of_training);
    tcase_add_checked_fixture(profiled, set_up_profiled, tear_down_profiled);
    tcase_add_test(profiled, every_opencl_call_of_training);
    suite_add_tcase(suite, opening);
    suite_add_tcase(suite, packed);
    suite_add_tcase(suite, clblast);
    suite_add_tcase(suite, profiled);
    return run_suite(suite);
}

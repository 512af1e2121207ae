/* Plans of a single launch, which overlap on CPUs: whatever is recycled, uploaded, updated or read between them, values
 * are those of a host that does one thing after the other; they wait for nothing that they do not need; and a program
 * that asks for the queue finds it in order. All numbers are small integers, so results are exact. Where the device
 * cannot overlap launches the same programs run one launch after the other. */
#include "engine/plan.h"
#include "engine/queue.h"
#include "program.h"
#include <clgrad/clgrad.h>
#include <clgrad/interop.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SIZE = 49152 }; /* elements: enough for a work-group for each core */

static cg_context *cg;

static void open_context(void)
{
    cg = cg_open(NULL);
    ck_assert_msg(cg && cg_status(cg) == CG_OK, "%s", cg_message(cg));
}

static void close_context(void)
{
    ck_assert_msg(cg_status(cg) == CG_OK, "%s", cg_message(cg));
    cg_close(cg);
}

/* ---- A random program ---------------------------------------------------------------------------------------------
 */

enum { SLOTS = 6, ROUNDS = 600, MODULUS = 64 };

/* A tensor of the program, and what it must be. */
typedef struct slot {
    cg_tensor tensor;
    float *values;
} slot;

static slot slots[SLOTS];
static unsigned random_state;

static int draw(int below)
{
    random_state = random_state * 1664525 + 1013904223;
    return (int)(random_state >> 16) % below;
}

static void upload(int to)
{
    const int first = draw(MODULUS);
    for (int i = 0; i < SIZE; i++) slots[to].values[i] = (float)((i + first) % MODULUS);
    cg_release(slots[to].tensor);
    slots[to].tensor = cg_keep(cg_input(cg, CG_F32, CG_SHAPE(SIZE), slots[to].values));
}

/* |a - b| of two slots, or their larger elements, in place of a third one: its memory is free for others at once. */
static void compute(int to, int a, int b, bool larger)
{
    const float *x = slots[a].values, *y = slots[b].values;
    cg_scope scope = cg_scope_local(cg);
    cg_tensor result = larger ? cg_maximum(slots[a].tensor, slots[b].tensor)
                              : cg_abs(cg_sub(slots[a].tensor, slots[b].tensor));
    cg_release(slots[to].tensor);
    ck_assert(cg_eval(&result, 1));
    slots[to].tensor = cg_keep(result);
    cg_scope_end(scope);
    for (int i = 0; i < SIZE; i++) {
        const float difference = x[i] > y[i] ? x[i] - y[i] : y[i] - x[i];
        slots[to].values[i] = larger ? (x[i] > y[i] ? x[i] : y[i]) : difference;
    }
}

/* A plan of several launches, one of which writes the variable in place, between plans of one. */
static void update(cg_variable *total, float *values, int a)
{
    cg_scope scope = cg_scope_begin(cg);
    cg_assign(total, cg_add(cg_value(total), cg_sub(slots[a].tensor, cg_max(slots[a].tensor))));
    cg_scope_end(scope);
    float largest = 0;
    for (int i = 0; i < SIZE; i++) largest = slots[a].values[i] > largest ? slots[a].values[i] : largest;
    for (int i = 0; i < SIZE; i++) values[i] += slots[a].values[i] - largest;
}

static void check(cg_tensor tensor, const float *values, const char *what, int round)
{
    static float found[SIZE];
    ck_assert_msg(cg_read_floats(tensor, found, SIZE), "%s", cg_message(cg));
    for (int i = 0; i < SIZE; i++)
        ck_assert_msg(found[i] == values[i], "round %d: element %d of %s is %g, not %g", round, i, what,
                      (double)found[i], (double)values[i]);
}

static void run_rounds(cg_variable *total, float *values)
{
    for (int round = 0; round < ROUNDS; round++) {
        const int to = draw(SLOTS), a = draw(SLOTS), b = draw(SLOTS), what = draw(40);
        if (what == 0)
            upload(to);
        else if (what == 1)
            update(total, values, a);
        else if (what == 2)
            check(slots[a].tensor, slots[a].values, "a slot", round);
        else
            compute(to, a, b, what % 2 == 0);
    }
    for (int s = 0; s < SLOTS; s++) check(slots[s].tensor, slots[s].values, "a slot", ROUNDS);
    cg_scope scope = cg_scope_local(cg);
    check(cg_value(total), values, "the total", ROUNDS);
    cg_scope_end(scope);
}

static void run_program(unsigned seed)
{
    float *totals = calloc(SIZE, sizeof *totals);
    random_state = seed;
    cg_scope scope = cg_scope_local(cg);
    cg_variable *total = cg_variable_new(cg, "total", CG_F32, CG_SHAPE(SIZE));
    cg_assign(total, cg_zeros(cg, CG_SHAPE(SIZE)));
    for (int s = 0; s < SLOTS; s++) {
        slots[s] = (slot){.values = calloc(SIZE, sizeof(float))};
        upload(s);
    }
    run_rounds(total, totals);
    for (int s = 0; s < SLOTS; s++) {
        cg_release(slots[s].tensor);
        free(slots[s].values);
    }
    cg_variable_free(total);
    cg_scope_end(scope);
    free(totals);
}

START_TEST(values_are_those_of_one_thing_after_the_other)
{
    open_context();
    run_program((unsigned)_i);
    close_context();
}
END_TEST

/* ---- Temporaries --------------------------------------------------------------------------------------------------
 */

enum { M = 192, N = 160, K = 128, PRODUCTS = 60, SETS = 3 };

static void fill(float *values, int count, int set)
{
    for (int i = 0; i < count; i++) values[i] = (float)((i * 7 + set * 5) % 9 - 4);
}

static void multiply(const float *a, const float *b, float *c)
{
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++) {
            float sum = 0;
            for (int k = 0; k < K; k++) sum += a[i * K + k] * b[k * N + j];
            c[i * N + j] = sum;
        }
}

/* Whether launches of several work-groups overlap here: on one core there are none. */
static bool overlaps_here(void)
{
    return cg->overlap.queue && cg_device(cg)->compute_units > 1;
}

/* The temporaries of the last launch, as it was listed, which must be where its argument says that they are. */
static cg_memory_range temporaries_of_last(void)
{
    const cg_step *step = cg->plan_newest->steps;
    const cg_memory_ranges *ranges = &cg->overlap.ranges[cg->overlap.count - 1];
    int argument = 0;
    while (argument < step->place_count && step->places[argument].kind != CG_PLACE_ARENA) argument++;
    ck_assert_int_lt(argument, step->place_count);
    for (int p = 0; p < step->patch_count; p++) {
        const cg_patch *patch = &step->patches[p];
        if (patch->kind != CG_PATCH_TENSOR || patch->index != argument) continue;
        int64_t first;
        memcpy(&first, step->block + patch->at, sizeof first);
        ck_assert_int_eq(first * patch->element, ranges->of[argument].begin + step->places[argument].offset);
    }
    ck_assert_ptr_eq(ranges->of[argument].memory, cg->arena);
    return ranges->of[argument];
}

/* Products pack their operands into temporaries, which runs that overlap must not share. */
START_TEST(runs_have_temporaries_of_their_own)
{
    static float a[SETS][M * K], b[SETS][K * N], c[SETS][M * N], found[M * N];
    cg_tensor x[SETS], y[SETS], results[PRODUCTS];
    open_context();
    cg_scope scope = cg_scope_local(cg);
    for (int s = 0; s < SETS; s++) {
        fill(a[s], M * K, s);
        fill(b[s], K * N, s + 1);
        multiply(a[s], b[s], c[s]);
        x[s] = cg_input(cg, CG_F32, CG_SHAPE(M, K), a[s]);
        y[s] = cg_input(cg, CG_F32, CG_SHAPE(K, N), b[s]);
    }
    for (int i = 0; i < PRODUCTS; i++) {
        results[i] = cg_matmul(x[i % SETS], y[i % SETS]);
        ck_assert(cg_eval(&results[i], 1));
    }
    for (int i = 0; i < PRODUCTS; i++) {
        ck_assert(cg_read_floats(results[i], found, M * N));
        ck_assert_msg(memcmp(found, c[i % SETS], sizeof found) == 0, "product %d is not what it must be", i);
    }
    for (int i = 0; i < PRODUCTS; i++) cg_release(results[i]);
    cg_memory_range ranges[2] = {{0}};
    for (int i = 0; i < 2; i++) { /* in memory that is there already */
        results[i] = cg_matmul(x[i], y[i]);
        ck_assert(cg_eval(&results[i], 1));
        if (!overlaps_here()) continue;
        ck_assert_int_eq(cg->overlap.count, i + 1);
        ranges[i] = temporaries_of_last();
        ck_assert(ranges[i].written);
        ck_assert_int_ge(ranges[i].end - ranges[i].begin, K * N * (int)sizeof(float));
        ck_assert_int_le(ranges[i].end, cg->arena_bytes);
    }
    ck_assert(ranges[0].end <= ranges[1].begin || ranges[1].end <= ranges[0].begin);
    cg_scope_end(scope);
    close_context();
}
END_TEST

/* Where memory is short, runs share their temporaries, and what fits without overlapping fits with it. */
START_TEST(short_memory_is_not_spent_on_overlapping)
{
    static float a[M * K], b[K * N], c[M * N], found[M * N];
    fill(a, M * K, 0);
    fill(b, K * N, 1);
    multiply(a, b, c);
    for (int limit = 4; limit <= 32; limit += 4) {
        cg = cg_open_with(&(cg_open_options){.memory_limit = (int64_t)limit << 20});
        cg_scope scope = cg_scope_local(cg);
        const cg_tensor x = cg_input(cg, CG_F32, CG_SHAPE(M, K), a), y = cg_input(cg, CG_F32, CG_SHAPE(K, N), b);
        cg_tensor results[SETS];
        for (int i = 0; i < SETS; i++) {
            results[i] = cg_matmul(x, y);
            ck_assert_msg(cg_eval(&results[i], 1), "%d MiB: %s", limit, cg_message(cg));
        }
        for (int i = 0; i < SETS; i++) {
            ck_assert(cg_read_floats(results[i], found, M * N));
            ck_assert_mem_eq(found, c, sizeof found);
        }
        const bool twice = cg->arena_bytes >= 2 * cg->plan_newest->arena_bytes;
        if (limit == 4) ck_assert(!twice);
        cg_scope_end(scope);
        close_context();
    }
}
END_TEST

/* ---- What waits for what ------------------------------------------------------------------------------------------
 */

static cg_tensor ramp(void)
{
    static float values[SIZE];
    for (int i = 0; i < SIZE; i++) values[i] = (float)(i % MODULUS);
    return cg_input(cg, CG_F32, CG_SHAPE(SIZE), values);
}

/* So many plans of one launch, each with a result of its own, in a scope. Returns how many are listed as overlapping.
 */
static int overlapping(cg_tensor x, int launches)
{
    cg_scope scope = cg_scope_local(cg);
    for (int i = 0; i < launches; i++) {
        cg_tensor y = cg_add(x, cg_scalar(cg, i));
        ck_assert(cg_eval(&y, 1));
        ck_assert_int_le(cg->overlap.count, CG_MOST_OVERLAPS);
    }
    cg_scope_end(scope);
    return cg->overlap.count;
}

/* Launches that nothing waits for yet stay listed until a command of another kind comes, which waits for all. */
START_TEST(single_launches_overlap_and_the_rest_waits)
{
    open_context();
    if (!overlaps_here()) {
        close_context();
        return;
    }
    cg_scope scope = cg_scope_local(cg);
    const cg_tensor x = ramp();
    overlapping(x, 2 * CG_MOST_OVERLAPS); /* makes room in the pools, which is a command of another kind */
    ck_assert(cg_wait(cg));
    ck_assert_int_eq(overlapping(x, 3), 3);
    ck_assert_int_eq(overlapping(x, 2), 5);
    const cg_tensor other = ramp(); /* an upload */
    ck_assert_int_eq(cg->overlap.count, 0);
    ck_assert_int_eq(overlapping(other, CG_MOST_OVERLAPS), CG_MOST_OVERLAPS);
    ck_assert_int_eq(overlapping(other, 1), 0); /* too many: the last waits for all */
    ck_assert(cg_wait(cg));
    ck_assert_int_eq(cg->overlap.count, 0);
    cg_scope_end(scope);
    close_context();
}
END_TEST

START_TEST(the_environment_can_forbid_it)
{
    setenv("CLGRAD_DISABLE", "overlap", 1);
    open_context();
    ck_assert_ptr_null(cg->overlap.queue);
    run_program(77);
    close_context();
    unsetenv("CLGRAD_DISABLE");
}
END_TEST

/* Lets the device go on, some time after the context was asked for its queue. */
static void *let_go(void *gate)
{
    const struct timespec while_the_queue_is_asked_for = {.tv_nsec = 50000000};
    nanosleep(&while_the_queue_is_asked_for, NULL);
    clSetUserEventStatus(gate, CL_COMPLETE);
    return NULL;
}

/* Whatever is enqueued then waits for the gate. */
static void put_gate(cl_event gate)
{
    ck_assert_int_eq(clEnqueueBarrierWithWaitList(cg->queue, 1, &gate, NULL), CL_SUCCESS);
    ck_assert_int_eq(clFlush(cg->queue), CL_SUCCESS);
    cg_enqueued(cg);
}

/* A program's own command on the queue comes after what overlapped. */
START_TEST(a_program_that_asks_for_the_queue_finds_it_in_order)
{
    static float found[SIZE], expected[SIZE];
    size_t offset = 0;
    pthread_t thread;
    open_context();
    cg_scope scope = cg_scope_local(cg);
    cg_tensor x = ramp(), y = cg_add(x, cg_scalar(cg, 1));
    ck_assert(cg_eval(&y, 1) && cg_wait(cg)); /* builds the kernel */
    const cl_event gate = clCreateUserEvent(cg_opencl_context(cg), NULL);
    put_gate(gate);
    for (int i = 0; i < 3; i++) {
        x = cg_add(x, cg_scalar(cg, 1));
        ck_assert(cg_eval(&x, 1));
    }
    const cl_mem memory = cg_buffer_of(x, &offset);
    if (overlaps_here()) ck_assert_int_gt(cg->overlap.count, 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, let_go, gate), 0);
    const cl_command_queue queue = cg_opencl_queue(cg);
    ck_assert_ptr_null(cg->overlap.queue);
    ck_assert_int_eq(clEnqueueReadBuffer(queue, memory, CL_TRUE, offset, sizeof found, found, 0, NULL, NULL),
                     CL_SUCCESS);
    for (int i = 0; i < SIZE; i++) expected[i] = (float)(i % MODULUS + 3);
    ck_assert_mem_eq(found, expected, sizeof found);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    clReleaseEvent(gate);
    cg_scope_end(scope);
    close_context();
}
END_TEST

/* Where the context cannot wait, it says so, and works on. */
START_TEST(a_queue_that_cannot_be_had_is_an_error)
{
    open_context();
    if (cg->overlap.queue) {
        cg->faults = (cg_faults){.opencl_fail_at = 1};
        ck_assert_ptr_null(cg_opencl_queue(cg));
        ck_assert(strstr(cg_message(cg), "clFinish"));
        cg->faults = (cg_faults){0};
        cg_clear_error(cg);
    }
    ck_assert_ptr_nonnull(cg_opencl_queue(cg));
    close_context();
}
END_TEST

/* A bad index of a run before launches that overlap is told with the value that is read then. */
START_TEST(a_bad_index_is_told_by_the_next_read)
{
    const int32_t wrong[2] = {1, 7};
    static float found[SIZE];
    open_context();
    cg_scope scope = cg_scope_local(cg);
    const cg_tensor x = ramp(), table = cg_input(cg, CG_F32, CG_SHAPE(3), found);
    const cg_tensor taken = cg_gather(table, cg_input(cg, CG_I32, CG_SHAPE(2), wrong), 0);
    ck_assert_ptr_nonnull(cg_buffer_of(taken, NULL)); /* runs it, without waiting */
    const cg_tensor y = cg_add(x, cg_scalar(cg, 2));
    ck_assert_ptr_nonnull(cg_buffer_of(y, NULL));
    if (overlaps_here()) ck_assert_int_eq(cg->overlap.count, 1);
    ck_assert(!cg_read_floats(y, found, SIZE));
    ck_assert_msg(strstr(cg_message(cg), "index 7"), "%s", cg_message(cg));
    cg_clear_error(cg);
    ck_assert(cg_read_floats(y, found, SIZE) && found[SIZE - 1] == (float)((SIZE - 1) % MODULUS + 2));
    cg_scope_end(scope);
    close_context();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("overlap");
    TCase *random = tcase_create("random"), *rules = tcase_create("rules");
    tcase_add_loop_test(random, values_are_those_of_one_thing_after_the_other, 1, 6);
    tcase_add_test(rules, runs_have_temporaries_of_their_own);
    tcase_add_test(rules, single_launches_overlap_and_the_rest_waits);
    tcase_add_test(rules, the_environment_can_forbid_it);
    tcase_add_test(rules, short_memory_is_not_spent_on_overlapping);
    tcase_add_test(rules, a_program_that_asks_for_the_queue_finds_it_in_order);
    tcase_add_test(rules, a_queue_that_cannot_be_had_is_an_error);
    tcase_add_test(rules, a_bad_index_is_told_by_the_next_read);
    suite_add_tcase(s, random);
    suite_add_tcase(s, rules);
    return run_suite(s);
}

/* Tunes from which size on a plan's kernels had better stay apart. A chain of reductions, each of the one before, runs
 * as kernels and as one, in turns, at growing sizes, until as one it is no longer faster. */
#include "engine/join.h"
#include "engine/profile.h"
#include "engine/stages.h"
#include "engine/tune.h"
#include "engine/tuning.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHAIN = 12, SMALLEST_SIDE = 16, LARGEST_SIDE = 1024, ROUNDS = 7, REPETITIONS = 20, WORDS_BYTES = 48 };

static const char matter[] = "join", unit[] = " ns";
static const double cpu_seconds = CG_LAUNCH_SECONDS, most_seconds = 1e-2;

/* --- the chain --- */

/* Rows of a square are added up; the sums stand for a square's equal rows. */
static bool fold_infer(const cg_call *call, cg_inferred *result)
{
    result->shape[0] = (cg_shape){2, {1, call->input_shapes[0].size[1]}};
    result->dtype[0] = call->input_dtypes[0];
    return true;
}

static bool spread_infer(const cg_call *call, cg_inferred *result)
{
    const int64_t side = call->input_shapes[0].size[1];
    result->shape[0] = (cg_shape){2, {side, side}};
    result->dtype[0] = call->input_dtypes[0];
    return true;
}

static void spread_move(const cg_call *call, cg_mapping *mapping)
{
    (void)call;
    mapping->factor[1][1] = 1;
}

static const cg_op fold_op = {
    .name = "fold", .kind = CG_OP_REDUCE, .inputs = 1, .infer = fold_infer, .combine = "a + b", .identity = "0"};
static const cg_op spread_op = {
    .name = "spread", .kind = CG_OP_MOVE, .inputs = 1, .infer = spread_infer, .move = spread_move};

static void run_chain(cg_context *cg, cg_tensor square)
{
    static const int64_t rows_kept[2] = {1, 1};
    const cg_scope scope = cg_scope_local(cg);
    for (int i = 0; i < CHAIN; i++) {
        square = cg_apply(&fold_op, &square, 1, rows_kept, 2);
        if (i + 1 < CHAIN) square = cg_apply(&spread_op, &square, 1, NULL, 0);
    }
    cg_eval(&square, 1);
    cg_scope_end(scope);
}

/* --- measuring --- */

/* Seconds of one run; infinity after an error. */
static double time_chain(cg_context *cg, cg_tensor square, int repetitions)
{
    const int64_t start = cg_nanoseconds();
    for (int i = 0; i < repetitions; i++) run_chain(cg, square);
    return cg_wait(cg) ? 1e-9 * (double)(cg_nanoseconds() - start) / repetitions : INFINITY;
}

/* Best times of both ways at one size, and what a step of it is thought to take. False where it cannot be measured. */
static bool compare(cg_context *ways[2], int side, double best[2], double *estimate)
{
    cg_scope scopes[2];
    cg_tensor squares[2];
    float *zeros = cg_host_allocate(ways[0], (size_t)side * (size_t)side * sizeof *zeros);
    for (int w = 0; w < 2; w++) {
        scopes[w] = cg_scope_local(ways[w]);
        squares[w] = zeros ? cg_input(ways[w], CG_F32, ((cg_shape){2, {side, side}}), zeros) : (cg_tensor){0};
        time_chain(ways[w], squares[w], 1);
        best[w] = INFINITY;
    }
    cg_host_free(ways[0], zeros);
    for (int i = 0; i < ROUNDS; i++)
        for (int w = 0; w < 2; w++) {
            const double seconds = time_chain(ways[w], squares[w], REPETITIONS);
            if (seconds < best[w]) best[w] = seconds;
        }
    const cg_plan *plan = ways[0]->plan_newest;
    *estimate = plan && plan->step_count > 0 ? cg_plan_seconds(plan) / plan->step_count : 0;
    for (int w = 0; w < 2; w++) cg_scope_end(scopes[w]);
    return cg_status(ways[0]) == CG_OK && cg_status(ways[1]) == CG_OK && *estimate > 0;
}

/* The estimate half way between the last size at which one kernel was faster and the first at which it was not; 0 if it
 * never was. `best`: times at the former. */
static bool find_threshold(cg_context *ways[2], double best[2], double *threshold)
{
    double last = 0;
    for (int side = SMALLEST_SIDE; side <= LARGEST_SIDE; side *= 2) {
        double times[2], estimate;
        if (!compare(ways, side, times, &estimate)) return false;
        const bool faster = times[1] < times[0];
        if (side == SMALLEST_SIDE || faster) memcpy(best, times, sizeof times);
        *threshold = faster ? estimate : last > 0 ? sqrt(last * estimate) : 0;
        if (!faster) return true;
        last = estimate;
    }
    return true;
}

static bool measure(cg_context *cg, double *threshold)
{
    cg_context *ways[2] = {cg_open_trial(cg), cg_open_trial(cg)};
    double best[2];
    bool ok = ways[0] && ways[1] && cg_status(ways[0]) == CG_OK && cg_status(ways[1]) == CG_OK;
    if (ok) {
        ways[1]->join = CG_JOIN_ALWAYS;
        ok = find_threshold(ways, best, threshold);
    }
    for (int w = 0; w < 2; w++) cg_close(ways[w]);
    if (!ok) return false;
    char words[WORDS_BYTES];
    snprintf(words, sizeof words, "%.0f%s", 1e9 * *threshold, unit);
    if (cg->log_plan) fprintf(stderr, "clgrad: tuned %s: kernels of up to %s\n", matter, words);
    return cg_tuning_add(cg, matter, words, best[1], best[0]);
}

/* --- the choice --- */

/* A whole number of nanoseconds, within reason. */
static bool read_threshold(const char *words, double *threshold)
{
    char *end;
    if (words[0] < '0' || words[0] > '9') return false;
    const long long nanoseconds = strtoll(words, &end, 10);
    *threshold = 1e-9 * (double)nanoseconds;
    return strcmp(end, unit) == 0 && *threshold <= most_seconds;
}

double cg_join_seconds(cg_context *cg)
{
    const cg_tuning_entry *entry = cg_tuning_find(cg, matter);
    double threshold;
    if (entry && cg_tuning_counts(cg, entry) && read_threshold(entry->choice, &threshold)) return threshold;
    if (cg->tune && measure(cg, &threshold)) return threshold;
    return cg->info.is_gpu ? 0 : cpu_seconds; /* not measured on GPUs: there, plans stay apart unless tuned */
}

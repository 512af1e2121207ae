/* Times an op as a program would run it: each repetition is a plan of its own, enqueued without waiting, with inputs
 * that are not those of the repetition before, and a result that is kept a while, so that nothing is merged or left
 * out. What the op needs besides, scratch and packed operands, is part of its time. */
#include "bench_run.h"

#include <stdio.h>

enum { MOST_SETS = 4, LEAST_SETS = 2, SETS_MIB = 256 };

typedef struct op_run {
    cg_context *cg;
    const bench_case *c;
    cg_tensor inputs[MOST_SETS][CASE_INPUTS], results[MOST_SETS][CASE_RESULTS];
    int sets, next;
} op_run;

bool bench_case_fits(const cg_context *cg, const bench_case *c)
{
    if (c->kind->step) return true; /* all are small */
    const cg_device_info *info = cg_device(cg);
    double largest = c->result_size;
    for (int i = 0; i < c->input_count; i++)
        if (elements_of(c->inputs[i]) > largest) largest = elements_of(c->inputs[i]);
    const double bytes = LEAST_SETS * bench_case_bytes(c);
    if (bytes < 0.8 * (double)info->memory_limit &&
        largest * (double)cg_dtype_bytes(c->dtype) <= (double)info->largest_allocation)
        return true;
    char text[2 * CASE_TEXT_BYTES];
    bench_case_text(c, text);
    fprintf(stderr, "skipped: %s needs %.2f GB, more than the device has or gives at once\n", text, 1e-9 * bytes);
    return false;
}

static int choose_sets(const bench_case *c)
{
    return MOST_SETS * bench_case_bytes(c) < (double)(SETS_MIB << 20) ? MOST_SETS : LEAST_SETS;
}

/* Made on the device: even a large one takes no host memory. */
static void make_inputs(op_run *run)
{
    cg_scope scope = cg_scope_begin(run->cg);
    for (int s = 0; s < run->sets; s++)
        for (int i = 0; i < run->c->input_count; i++)
            run->inputs[s][i] = cg_keep(
                cg_uniform(run->cg, run->c->inputs[i], .low = -1, .high = 1, .dtype = run->c->dtype));
    cg_scope_end(scope);
}

static void repeat(op_run *run)
{
    const int set = run->next++ % run->sets;
    const bench_kind *kind = run->c->kind;
    cg_tensor results[CASE_RESULTS];
    int count = 1;
    for (int i = 0; i < CASE_RESULTS; i++) cg_release(run->results[set][i]);
    cg_scope scope = cg_scope_local(run->cg);
    if (kind->record_all)
        count = kind->record_all(run->c, run->inputs[set], results);
    else
        results[0] = kind->record(run->c, run->inputs[set]);
    cg_eval(results, count);
    for (int i = 0; i < count; i++) run->results[set][i] = cg_keep(results[i]);
    cg_scope_end(scope);
}

static double time_block(void *user, int repetitions)
{
    op_run *run = user;
    const double start = seconds_on(CLOCK_MONOTONIC);
    for (int i = 0; i < repetitions; i++) repeat(run);
    cg_wait(run->cg);
    return cg_status(run->cg) == CG_OK ? seconds_on(CLOCK_MONOTONIC) - start : -1;
}

static bool run_op(cg_context *cg, const bench_case *c, bool quick, bench_result *result)
{
    op_run run = {.cg = cg, .c = c, .sets = choose_sets(c)};
    cg_scope scope = cg_scope_local(cg);
    make_inputs(&run);
    const bool ok = sample(time_block, &run, quick, &result->time);
    cg_scope_end(scope);
    result->flop = c->flop;
    result->traffic = bench_case_traffic(c);
    result->passes = c->passes;
    result->step = (step_figures){0};
    return ok;
}

bool bench_run(cg_context *cg, const bench_case *c, bool quick, bench_result *result)
{
    return (c->kind->step ? bench_run_step : run_op)(cg, c, quick, result);
}

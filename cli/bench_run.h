/* Running a case, an op or a training step, and what comes out of it. */
#ifndef CLGRAD_CLI_BENCH_RUN_H
#define CLGRAD_CLI_BENCH_RUN_H

#include "bench_case.h"
#include "sampling.h"

/* Of a training step; zeros for an op. */
typedef struct step_figures {
    double host, first_step; /* seconds: of the calling thread per step; from the first op of all to the first result */
    int64_t kernels, device_bytes;
    cg_memory needed; /* told before the first step */
} step_figures;

typedef struct bench_result {
    statistics time;
    double flop, traffic; /* of one repetition; traffic in bytes */
    int passes;
    step_figures step;
} bench_result;

/* Whether the device can hold the operands; where not, says so on stderr. */
bool bench_case_fits(const cg_context *cg, const bench_case *c);
/* Times the case, or only a few runs of it. False after an error, which the context holds. */
bool bench_run(cg_context *cg, const bench_case *c, bool quick, bench_result *result);
/* The same for a training step. */
bool bench_run_step(cg_context *cg, const bench_case *c, bool quick, bench_result *result);
/* The fixed shape of a training step, as it is written in results. */
const char *bench_step_shape(const struct training_step *step);
#endif

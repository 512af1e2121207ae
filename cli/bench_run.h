/* Running a case: what comes out of it, and the two ways, for an op and for a training step. */
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

/* False after an error, which the context holds. */
bool bench_run_op(cg_context *cg, const bench_case *c, bool quick, bench_result *result);
bool bench_run_step(cg_context *cg, const bench_case *c, bool quick, bench_result *result);
/* The fixed shape of a training step, as it is written in results. */
const char *bench_step_shape(const struct training_step *step);
/* Whether the device can hold the operands of an op; where not, `bytes` is what they need. */
bool bench_op_fits(const cg_context *cg, const bench_case *c, double *bytes);

#endif

/* Shared launches: steps of one plan that have the same kernel and do not depend on each other run as one launch, a
 * range of work-groups each. So do the updates of many variables, and parts of equal structure: models stepped in one
 * scope, Monte Carlo passes. */
#ifndef CLGRAD_ENGINE_SHARE_H
#define CLGRAD_ENGINE_SHARE_H

#include "engine/codegen.h"
#include "engine/stages.h"

enum { CG_SHARED_NUMBERS = 32 };

/* The kernel's last argument. */
typedef struct cg_shared_block {
    int64_t numbers[CG_SHARED_NUMBERS]; /* bound at each run; narrow ones in the first bytes */
    int64_t at, members;                /* the share's first byte in the table, and its rows */
} cg_shared_block;

/* One launch for the steps from `first` on. */
struct cg_share {
    int first, count;
    bool commits; /* one of them writes a variable in place */
    cg_number numbers[CG_SHARED_NUMBERS];
    int number_count;
    int64_t at; /* its rows in the plan's table */
    cl_kernel kernel;
    size_t local, global;
    cg_pool_arguments pools;
    cg_shared_block block;
    bool others_bound, block_bound;
    bool usable;  /* in this run */
    int profiled; /* as a step's */
};

/* Finds the steps that can share launches and puts them side by side; lays out memory for the order chosen, or for the
 * order as it was where sharing would take clearly more. `groups`: per step, the group of the schedule that it is of.
 */
bool cg_share_find(cg_build *build, const int *groups);

/* The text of a shared kernel, which calls that of its steps, whose text `stage` is, as a function. */
void cg_share_print(const cg_plan *plan, const cg_share *share, const char *stage, cg_text *source);

/* Fills the table of the plan's shares, and makes it, once the steps are complete. False after reporting. */
bool cg_share_tables(cg_context *cg, cg_plan *plan);

/* Sets the arguments of all shared kernels for a run. A share whose values lie in too many pools is not `usable`: its
 * steps then run one by one. False after reporting. */
bool cg_share_bind(cg_context *cg, cg_plan *plan, const cg_walk *walk, int32_t status_word);

void cg_shares_free(cg_context *cg, cg_plan *plan);

#endif

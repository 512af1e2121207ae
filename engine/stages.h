/* What kernels that call other kernels as functions have in common (join.h, share.h): stages, the table of what stays
 * the same between runs, pools as arguments, and numbers that each run binds. */
#ifndef CLGRAD_ENGINE_STAGES_H
#define CLGRAD_ENGINE_STAGES_H

#include "engine/plan.h"
#include "engine/text.h"

/* Seconds that a launch costs, and about how many the work of a step takes one core. They need not be exact: they tell
 * steps that launching dominates from those that it does not. */
#define CG_LAUNCH_SECONDS 8e-6
double cg_step_seconds(const cg_step *step);

/* A number bound at each run: a field of a step. */
typedef struct cg_number {
    int step;
    cg_patch patch;
} cg_number;
size_t cg_number_bytes(const cg_plan *plan, const cg_number *number);
const char *cg_number_type(const cg_plan *plan, const cg_number *number);
/* The first of the list with the same value in every run, or `count`. */
int cg_number_find(const cg_plan *plan, const cg_number *list, int count, const cg_number *wanted);

/* A step's argument block as a stage takes it, whose tensors are given where they begin. */
void cg_stage_arguments(const cg_step *step, unsigned char *at);

/* The pools that a kernel was last given, as its first arguments. The arena is number 0. */
typedef struct cg_pool_arguments {
    cl_mem memory[CG_STAGE_POOLS];
    int64_t releases; /* the context's memory_releases at that time */
} cg_pool_arguments;
/* The number of a pool in a list that grows; CG_STAGE_POOLS if there are too many. */
int cg_pool_number(cl_mem *pools, int *count, cl_mem memory);
bool cg_pools_bind(cg_context *cg, cl_kernel kernel, cg_pool_arguments *bound, const cl_mem *pools, int count);
/* Their declarations, up to and with a comma; and the array `pools` of them. */
void cg_print_pool_parameters(cg_text *out);
void cg_print_pools(cg_text *out);

#endif

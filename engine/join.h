/* Joining: where a plan's work is small, launching its kernels costs more than running them. Once such a plan has run a
 * few times, its kernels become the stages of one, which a single work-group runs through. */
#ifndef CLGRAD_ENGINE_JOIN_H
#define CLGRAD_ENGINE_JOIN_H

#include "engine/plan.h"

/* About how long its kernels take one core, all together. */
double cg_plan_seconds(const cg_plan *plan);

/* Counts a run of the plan, and makes plan->joined when it is time. A plan that cannot be joined, for want of memory or
 * of a compiler that takes the kernel even, stays as it is. */
void cg_join(cg_context *cg, cg_plan *plan);

/* Sets the arguments of the joined kernel for a run. `usable` is false if the run's buffers lie in too many pools: the
 * plan's own steps are then the way. False after reporting. */
bool cg_join_bind(cg_context *cg, cg_plan *plan, const cg_walk *walk, int32_t status_word, bool *usable);

/* One work-group of the context's local size runs it. */
cl_kernel cg_joined_kernel(const cg_joined *joined);

void cg_joined_free(cg_context *cg, cg_joined *joined);

#endif

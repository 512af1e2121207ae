/* Running plans: binding buffers and numbers, enqueueing, and what can go wrong then. */
#ifndef CLGRAD_ENGINE_EXECUTE_H
#define CLGRAD_ENGINE_EXECUTE_H

#include "engine/plan.h"

/* Binds and enqueues. False after reporting: variables are then unchanged, or marked lost if a kernel that writes one
 * in place was enqueued. On success the roots' nodes have their buffers. */
bool cg_plan_run(cg_context *cg, cg_plan *plan, cg_walk *walk);

/* The status words that kernels report bad indices in. */
bool cg_status_open(cg_context *cg);
void cg_status_close(cg_context *cg);

#endif

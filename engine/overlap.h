/* Plans that overlap. A launch that is cut into parts for the threads of a CPU leaves each thread idle once its part is
 * done, and waking it for the next launch takes longer than a small kernel. So a plan that is one launch goes to a
 * queue for such (queue.h), where it waits only for those before it that use the same memory, if one of the two writes
 * it. See docs/decisions/0023-single-launches-overlap.md. */
#ifndef CLGRAD_ENGINE_OVERLAP_H
#define CLGRAD_ENGINE_OVERLAP_H

#include "engine/plan.h"

/* Once memory is laid out: notes whether the plan may overlap others. */
void cg_overlap_plan(const cg_context *cg, cg_plan *plan);
/* What the arena must have for a run: twice the plan's temporaries, where runs may overlap and memory is to spare. */
int64_t cg_overlap_arena(const cg_context *cg, const cg_plan *plan);

/* Begins a run, before arguments are bound. True if it is to overlap others: then it is enqueued by
 * cg_overlap_launch. */
bool cg_overlap_begin(cg_context *cg, cg_plan *plan, const cg_walk *walk);
/* Enqueues the plan's only launch. False after reporting. */
bool cg_overlap_launch(cg_context *cg, const cg_plan *plan);

#endif

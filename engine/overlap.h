/* Plans that overlap. What several threads of a CPU share, a single launch, leaves those idle that are done with their
 * part, and waking them for the next one takes longer than a small kernel. So a plan that is one launch goes to the
 * queue for such (queue.h), where it waits only for those before it that use the same memory, if one of the two writes
 * it. See docs/decisions/0023-single-launches-overlap.md. */
#ifndef CLGRAD_ENGINE_OVERLAP_H
#define CLGRAD_ENGINE_OVERLAP_H

#include "engine/plan.h"

/* Once memory is laid out: whether the plan may overlap others. Its temporaries then get a place for each of two runs.
 */
void cg_overlap_plan(cg_context *cg, cg_plan *plan);

/* Begins a run, before arguments are bound. True if it is to overlap others: then it is enqueued by
 * cg_overlap_launch. */
bool cg_overlap_begin(cg_context *cg, cg_plan *plan, const cg_walk *walk);
/* Enqueues the plan's only launch. False after reporting. */
bool cg_overlap_launch(cg_context *cg, const cg_plan *plan);

#endif

/* Shortcuts to plans. A graph with deferred calls has a key of its own; a shortcut remembers which plan its expansion
 * led to, and where the plan's leaves are in the graph as it was recorded, so that the next time nothing is expanded.
 */
#ifndef CLGRAD_ENGINE_SHORTCUT_H
#define CLGRAD_ENGINE_SHORTCUT_H

#include "engine/plan.h"

/* The plan for a walked graph with deferred calls, or NULL. The walk's nodes are then, at the plan's own positions,
 * those that the plan binds; where they are NULL, the walk's numbers are set. NULL also after reporting. */
cg_plan *cg_shortcut_take(cg_context *cg, cg_walk *walk);

/* Remembers that the graph of walk->first became, expanded, that of `walk`, whose plan is given. A plan that binds what
 * only the expansion has made gets none. False after reporting. */
bool cg_shortcut_add(cg_context *cg, cg_plan *plan, const cg_walk *walk);

/* Forgets the shortcuts to a plan. */
void cg_shortcuts_drop(cg_context *cg, cg_plan *plan);

#endif

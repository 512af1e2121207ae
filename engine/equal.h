/* Common subexpressions: ops of a plan that do the same to the same are computed once. */
#ifndef CLGRAD_ENGINE_EQUAL_H
#define CLGRAD_ENGINE_EQUAL_H

#include "engine/schedule.h"

/* Finds nodes that equal earlier ones, but for roots, and makes the earlier ones stand for them: those get kind
 * CG_ITEM_SAME, and their `position` becomes the earlier node's until cg_restore_positions. Random ops, each of which
 * has numbers of its own, and those that may report a bad index stay apart. False after reporting. */
bool cg_merge_equal(cg_schedule *schedule);
void cg_restore_positions(cg_schedule *schedule);

#endif

/* The rules that make one kernel of several that go over the same elements.
 *
 * The first is for those that go over the same rows, such as those of a softmax: maximum, sum of the powers, quotients.
 * The kernel takes the rows one after the other and goes over each in passes, as few as the results need: what folds a
 * row in one pass is a number in the next, and elements computed in one pass are kept for later ones or, if that is
 * cheap, computed again. So a row comes from memory once.
 *
 * The second is for what is left: reductions that fold the same axes of the same shape become one, up to a number of
 * them, if some read the same elements and none depends on another's result inside its loops. The third is for maps
 * over the same elements that read the same many elements and do not need each other, such as the output of a
 * normalization and the gradient in its input. All rules try a merger by lowering it. */
#ifndef CLGRAD_ENGINE_CHAIN_H
#define CLGRAD_ENGINE_CHAIN_H

#include "engine/schedule.h"

/* Merges groups where a rule holds, once all items have theirs. False after reporting. */
bool cg_chain_rows(cg_schedule *schedule);

#endif

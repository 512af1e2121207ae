/* Donation: a variable's new value is written into the buffer of its old one where nothing needs that any more. */
#ifndef CLGRAD_ENGINE_DONATE_H
#define CLGRAD_ENGINE_DONATE_H

#include "engine/plan.h"

/* Sets `donor` and `donated` of the walk's roots, for a plan at the end of the step scope number `ending`. That scope
 * may have ended already, or be open still, for a look ahead. False after reporting. */
bool cg_donate(cg_context *cg, cg_walk *walk, int ending);

#endif

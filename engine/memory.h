/* Where a plan's temporaries lie: lifetimes from the launch order, offsets in the arena. Host arithmetic only. */
#ifndef CLGRAD_ENGINE_MEMORY_H
#define CLGRAD_ENGINE_MEMORY_H

#include "engine/codegen.h"

/* Decides the place of every stored item of the build's schedule and of every scratch, and the plan's arena size.
 * Two calls: places before code is generated (kinds and numbers), offsets after it (when scratch is known). */
void cg_memory_places(cg_build *build);
bool cg_memory_offsets(cg_build *build);

#endif

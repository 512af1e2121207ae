/* Kernels, cached one by one by their canonical source. What a plan lacks is built together as one program. */
#ifndef CLGRAD_ENGINE_PROGRAM_H
#define CLGRAD_ENGINE_PROGRAM_H

#include "engine/codegen.h"

/* Makes every step's kernel object, building what is not cached. False after reporting. */
bool cg_programs_make(cg_build *build);

void cg_programs_close(cg_context *cg);

#endif

/* Kernels, cached one by one by their canonical source. What a plan lacks is built together as one program. */
#ifndef CLGRAD_ENGINE_PROGRAM_H
#define CLGRAD_ENGINE_PROGRAM_H

#include "engine/codegen.h"

/* Makes the kernel objects of all launches, building what is not cached. False after reporting. */
bool cg_programs_make(cg_build *build);

/* The kernel of a step that shares a launch, for a run in which it has one to itself. False after reporting. */
bool cg_program_step(cg_context *cg, cg_step *step);

/* The name that a kernel has in its program's text: it depends on the kernel's source alone. */
const char *cg_kernel_name(const cg_kernel_entry *entry);

/* A kernel whose source calls those of the plan's steps as functions; stage.cl says how. NULL after reporting. */
cl_kernel cg_program_join(cg_context *cg, const cg_plan *plan, const char *source);

void cg_programs_close(cg_context *cg);

#endif

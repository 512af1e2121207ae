/* From a lowered group to OpenCL C and the step that launches it. */
#ifndef CLGRAD_ENGINE_CODEGEN_H
#define CLGRAD_ENGINE_CODEGEN_H

#include "engine/lower.h"
#include "engine/text.h"

/* Memory that one step needs beside the stored values: partial sums, packed panels. */
typedef struct cg_scratch {
    int step;      /* number of the step */
    int argument;  /* its place there */
    int64_t bytes; /* 0: the scratch before this one again */
} cg_scratch;

/* A plan in the making: its steps, their sources, and what remains to be placed. */
typedef struct cg_build {
    cg_context *context;
    cg_schedule *schedule;
    cg_plan *plan;
    char **sources; /* per step: text of its kernel, without its name; NULL for CLBlast */
    int step_capacity, source_capacity;
    cg_scratch *scratch;
    int scratch_count, scratch_capacity;
    int report_capacity;
} cg_build;

/* Appends the steps of one group. False after reporting. */
bool cg_generate(cg_build *build, cg_group *group);

/* Appends a step that gives root number `root` its variable's old value back if the run has reported a bad index. */
bool cg_generate_keep(cg_build *build, int root, int64_t bytes);

/* What a kernel may call that others do not, as bits: reading it takes the compiler some time. */
enum { CG_NEEDS_ELEMENTARY = 1, CG_NEEDS_NARROW = 2 };
unsigned cg_needs_of(const char *source);
/* The text before all kernels of a program, with what any of them needs. */
void cg_prelude(cg_context *cg, unsigned needs, cg_text *text);

/* Stands in sources for the kernel's name, which is made from a hash of the rest. */
#define CG_KERNEL_NAME "CG_KERNEL"

#endif

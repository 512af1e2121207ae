/* Matrix products by CLBlast, for devices where it is the better choice. */
#ifndef CLGRAD_ENGINE_CLBLAST_H
#define CLGRAD_ENGINE_CLBLAST_H

#include "engine/plan.h"

/* Fills in how large a temporary buffer the product needs. False after reporting. */
bool cg_clblast_temporary(cg_context *cg, cg_blas_call *call);

/* Runs a product of the same form on memory of its own, so that CLBlast compiles what it needs before the plan runs. */
bool cg_clblast_warm(cg_context *cg, const cg_blas_call *call);

/* Enqueues the products. `memory` and `first` (elements) are those of A, B and C. `event`, unless NULL, receives that
 * of the last kernel. */
bool cg_clblast_run(cg_context *cg, const cg_blas_call *call, const cl_mem memory[3], const int64_t first[3],
                    cl_event *event);

#endif

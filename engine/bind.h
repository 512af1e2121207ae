/* What a run fills in: where values lie, and the numbers of argument blocks. Shared by the plan's own steps and by the
 * kernel that they may be joined to. */
#ifndef CLGRAD_ENGINE_BIND_H
#define CLGRAD_ENGINE_BIND_H

#include "engine/plan.h"

typedef union cg_patch_value {
    int64_t wide;
    double real;
    int32_t narrow;
    float single;
} cg_patch_value;

/* The memory object that a place is in, and its byte there. */
cl_mem cg_resolve(const cg_context *cg, const cg_walk *walk, const cg_place *place, int64_t *offset);
cg_buffer *cg_old_buffer(const cg_root *root);
/* The buffer that a place is; NULL for the arena. */
const cg_buffer *cg_place_buffer(const cg_walk *walk, const cg_place *place);

/* base + sum of factor * attribute, with the attributes of this run's nodes. */
int64_t cg_shifted(const cg_shift_sum *sum, const cg_walk *walk);

/* The value of a field; returns its bytes. `offsets`: of the step's tensors, for fields of kind TENSOR. */
size_t cg_patch_evaluate(const cg_patch *patch, const cg_shift_sum *sums, const int64_t *offsets, const cg_walk *walk,
                         int32_t status_word, cg_patch_value *value);

/* False after reporting. */
bool cg_set_argument(cg_context *cg, cl_kernel kernel, cl_uint number, size_t bytes, const void *value);

#endif

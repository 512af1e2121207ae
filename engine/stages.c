/* The pieces of stages.h: text, layout and arguments. Enqueues nothing. */
#include "engine/stages.h"
#include "engine/bind.h"

#include <string.h>

/* --- what a step costs --- */

static const double seconds_per_byte = 5e-11, seconds_per_addition = 3e-11;

double cg_step_seconds(const cg_step *step)
{
    const double moving = (double)step->bytes * seconds_per_byte, adding = step->work * seconds_per_addition;
    return moving > adding ? moving : adding;
}

/* --- numbers --- */

size_t cg_number_bytes(const cg_plan *plan, const cg_number *n)
{
    const bool wide = n->patch.kind == CG_PATCH_F64 ||
                      (n->patch.kind == CG_PATCH_SHIFT && plan->steps[n->step].sums[n->patch.index].wide);
    return wide ? 8 : 4;
}

const char *cg_number_type(const cg_plan *plan, const cg_number *n)
{
    if (n->patch.kind == CG_PATCH_F64) return "double";
    if (n->patch.kind == CG_PATCH_F32) return "float";
    return cg_number_bytes(plan, n) == 8 ? "long" : "int";
}

static bool same_sum(const cg_shift_sum *a, const cg_shift_sum *b)
{
    bool same = a->base == b->base && a->count == b->count && a->wide == b->wide;
    for (int i = 0; same && i < a->count; i++) {
        const cg_shift *x = &a->shifts[i], *y = &b->shifts[i];
        same = x->item == y->item && x->attribute == y->attribute && x->factor == y->factor;
    }
    return same;
}

static bool same_number(const cg_plan *plan, const cg_number *a, const cg_number *b)
{
    if (a->patch.kind != b->patch.kind) return false;
    if (a->patch.kind == CG_PATCH_STATUS) return true;
    if (a->patch.kind != CG_PATCH_SHIFT) return a->patch.index == b->patch.index;
    return same_sum(&plan->steps[a->step].sums[a->patch.index], &plan->steps[b->step].sums[b->patch.index]);
}

int cg_number_find(const cg_plan *plan, const cg_number *list, int count, const cg_number *wanted)
{
    int n = 0;
    while (n < count && !same_number(plan, &list[n], wanted)) n++;
    return n;
}

/* --- tables --- */

void cg_stage_arguments(const cg_step *step, unsigned char *at)
{
    const int64_t zero = 0;
    memcpy(at, step->block, (size_t)step->block_bytes);
    for (int i = 0; i < step->patch_count; i++)
        if (step->patches[i].kind == CG_PATCH_TENSOR) memcpy(at + step->patches[i].at, &zero, sizeof zero);
}

/* --- pools --- */

int cg_pool_number(cl_mem *pools, int *count, cl_mem memory)
{
    int p = 0;
    while (p < *count && pools[p] != memory) p++;
    if (p == *count && p < CG_STAGE_POOLS) pools[(*count)++] = memory;
    return p;
}

bool cg_pools_bind(cg_context *cg, cl_kernel kernel, cg_pool_arguments *bound, const cl_mem *pools, int count)
{
    if (bound->releases != cg->memory_releases) memset(bound->memory, 0, sizeof bound->memory);
    bound->releases = cg->memory_releases;
    for (int p = 0; p < CG_STAGE_POOLS; p++) {
        cl_mem memory = p < count && pools[p] ? pools[p] : cg->status_words; /* any will do where none is used */
        if (memory == bound->memory[p]) continue;
        bound->memory[p] = NULL;
        if (!cg_set_argument(cg, kernel, (cl_uint)p, sizeof memory, &memory)) return false;
        bound->memory[p] = memory;
    }
    return true;
}

void cg_print_pool_parameters(cg_text *out)
{
    for (int p = 0; p < CG_STAGE_POOLS; p++) cg_text_add(out, "__global uchar *pool%d, ", p);
}

void cg_print_pools(cg_text *out)
{
    cg_text_append(out, "    __global uchar *pools[] = {");
    for (int p = 0; p < CG_STAGE_POOLS; p++) cg_text_add(out, "%spool%d", p ? ", " : "", p);
    cg_text_append(out, "};\n");
}

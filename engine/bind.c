/* Resolving places and evaluating fields, for one run of a plan. It changes nothing but a kernel's arguments. */
#include "engine/bind.h"
#include "engine/buffer.h"

cg_buffer *cg_old_buffer(const cg_root *root)
{
    return root->variable->committed->buffer;
}

const cg_buffer *cg_place_buffer(const cg_walk *walk, const cg_place *place)
{
    switch (place->kind) {
    case CG_PLACE_LEAF:
        return walk->nodes[place->index]->buffer;
    case CG_PLACE_ROOT:
        return walk->targets[place->index];
    case CG_PLACE_OLD:
        return cg_old_buffer(&walk->roots[place->index]);
    case CG_PLACE_ARENA:
        break;
    }
    return NULL;
}

cl_mem cg_resolve(const cg_context *cg, const cg_walk *walk, const cg_place *place, int64_t *offset)
{
    if (place->kind == CG_PLACE_ARENA) {
        *offset = place->offset + cg->overlap.arena_at;
        return cg->arena;
    }
    const cg_buffer *buffer = cg_place_buffer(walk, place);
    *offset = buffer->offset;
    return buffer->memory;
}

int64_t cg_shifted(const cg_shift_sum *sum, const cg_walk *walk)
{
    int64_t offset = sum->base;
    for (int i = 0; i < sum->count; i++)
        offset += sum->shifts[i].factor * walk->nodes[sum->shifts[i].item]->attributes[sum->shifts[i].attribute];
    return offset;
}

size_t cg_patch_evaluate(const cg_patch *patch, const cg_shift_sum *sums, const int64_t *offsets, const cg_walk *walk,
                         int32_t status_word, cg_patch_value *value)
{
    switch (patch->kind) {
    case CG_PATCH_TENSOR:
        value->wide = offsets[patch->index] / patch->element;
        return sizeof value->wide;
    case CG_PATCH_F32:
        value->single = (float)walk->numbers[patch->index];
        return sizeof value->single;
    case CG_PATCH_F64:
        value->real = walk->numbers[patch->index];
        return sizeof value->real;
    case CG_PATCH_I32:
        value->narrow = (int32_t)walk->numbers[patch->index];
        return sizeof value->narrow;
    case CG_PATCH_STATUS:
        value->narrow = status_word;
        return sizeof value->narrow;
    case CG_PATCH_SHIFT:
        value->wide = cg_shifted(&sums[patch->index], walk);
        if (sums[patch->index].wide) return sizeof value->wide;
        value->narrow = (int32_t)value->wide;
        return sizeof value->narrow;
    }
    return 0;
}

bool cg_set_argument(cg_context *cg, cl_kernel kernel, cl_uint number, size_t bytes, const void *value)
{
    const cl_int status = CL(cg, clSetKernelArg, kernel, number, bytes, value);
    return status == CL_SUCCESS ? true : cg_fail_cl(cg, "clSetKernelArg", status);
}

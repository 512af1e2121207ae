/* Which products the kernel for few columns takes, and how they are dealt out to the cores. It touches nothing but its
 * arguments. */
#include "engine/gemm_narrow.h"
#include "engine/integers.h"

enum {
    SUM_STEPS = 5,           /* what adding up the lanes of a vector costs, in multiply-adds of one */
    MOST_PACKED = 1 << 15,   /* elements of B that a second-level cache holds beside what it is multiplied by */
    MOST_VECTORS = 8,        /* of rows in a block */
    MOST_GROUPS_PER_UNIT = 4 /* where there are as many products */
};

/* Vectors along K are full whatever the columns, but their lanes must be added up in the end; gemm_packed.cl's run
 * along the columns. */
static bool has_better_lanes_along_k(const struct gemm_shape *shape, int lanes)
{
    return !shape->k_varies && shape->n * (shape->k + SUM_STEPS * lanes) < lanes * shape->k &&
           shape->n * shape->k <= MOST_PACKED;
}

bool cg_gemm_is_narrow(const struct gemm_shape *shape, const struct gemm_device *device)
{
    const int lanes = cg_gemm_lanes(shape, device);
    if (lanes < 4 || shape->gathered_a || shape->n_varies || shape->n < 1 || shape->n >= lanes) return false;
    if (!shape->m_varies && shape->m < 2 * lanes) return false;
    return shape->transposed_a || has_better_lanes_along_k(shape, lanes);
}

/* As many as leave registers for themselves and an element of B beside the sums. */
static int vectors_for(int columns, int registers)
{
    int vectors = 1;
    while (vectors < MOST_VECTORS && 2 * vectors * (columns + 1) < registers) vectors *= 2;
    return vectors;
}

struct gemm_narrow_launch cg_gemm_narrow(const struct gemm_shape *shape, const struct gemm_device *device)
{
    struct gemm_narrow_launch launch = {.columns = (int)shape->n, .lanes = cg_gemm_lanes(shape, device)};
    launch.vectors = shape->transposed_a ? vectors_for(launch.columns, device->registers) : 1;
    const int64_t block = (int64_t)launch.vectors * launch.lanes, blocks = cg_divide_up(shape->m, block);
    const int64_t units = device->compute_units;
    const double steps = (double)shape->m * (double)shape->n * (double)shape->k / launch.lanes;
    /* Products that are many are dealt out whole; else the rows are, if that saves more than it costs. */
    const bool divides = shape->batches < units && steps * (double)(units - 1) > (double)(GEMM_WAKE_STEPS * units);
    launch.rows = (int)(block * (blocks == 0 ? 1 : divides ? cg_divide_up(blocks, units) : blocks));
    launch.global[0] = (size_t)cg_divide_up(shape->m, launch.rows);
    launch.global[1] = 1;
    launch.global[2] = (size_t)cg_smaller(shape->batches, MOST_GROUPS_PER_UNIT * units);
    const int64_t stride = (cg_divide_up(shape->k, launch.lanes) + 1) * launch.lanes;
    const int64_t groups = (int64_t)(launch.global[0] * launch.global[2]);
    if (!shape->transposed_a) launch.scratch_elements = (groups > 0 ? groups : 1) * launch.columns * stride;
    return launch;
}

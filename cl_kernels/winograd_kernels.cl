/* Transforms kernels of EXTENT x EXTENT for winograd.cl: kernels[plane][strip of STRIP rows][slice and channel][row] of
 * the transforms of A, with KERNEL_PLANE elements to a plane. Rows past the last repeat it: what they yield is never
 * stored. A kernel's elements lie one after the other, with a WAY of -1 from the last to the first; those of DEEP
 * slices do too. From one row to the next there are STRIDE_OUTPUT elements, from one channel to the next
 * STRIDE_CHANNEL.
 *
 * The text in front of this file is prelude.cl and what defines KERNEL_NAME, PARAMETERS, LANES, STRIP_VECTORS, EDGE,
 * EXTENT, CHANNELS_EACH and, as run-time expressions, OPERAND_A, SIZE_M, CHANNELS, STRIDE_OUTPUT, STRIDE_CHANNEL, DEEP,
 * WAY, KERNELS, KERNEL_PLANE. A work-group is one work-item and owns a strip of rows and CHANNELS_EACH channels. */
#define OWN(name) CG_JOIN(KERNEL_NAME, name)
#define transform_kernel OWN(_transform_kernel)
#define transform_slice OWN(_transform_slice)
#define POINTS (EDGE + EXTENT - 1)
#define STRIP (STRIP_VECTORS * LANES)
#define ROOT_2 1.41421356f
#define VECTOR CG_JOIN(float, LANES)
#define EACH(i, count) _Pragma("unroll") for (int i = 0; i < (count); i++)

#if POINTS == 4
static void transform_kernel(const VECTOR *x, VECTOR *y)
{
    const VECTOR even = 0.5f * (x[0] + x[2]), odd = 0.5f * x[1];
    y[0] = x[0];
    y[1] = even + odd;
    y[2] = even - odd;
    y[3] = x[2];
}
#else
static void transform_kernel(const VECTOR *x, VECTOR *y)
{
    VECTOR even1 = (-2.0f / 3) * x[0] - (1.0f / 3) * x[2], odd1 = (-ROOT_2 / 3) * x[1];
    VECTOR even2 = (1.0f / 6) * x[0] + (1.0f / 3) * x[2], odd2 = (ROOT_2 / 6) * x[1];
#if EXTENT == 5
    even1 -= (1.0f / 6) * x[4], odd1 -= (ROOT_2 / 6) * x[3];
    even2 += (2.0f / 3) * x[4], odd2 += (ROOT_2 / 3) * x[3];
#endif
    y[0] = x[0];
    y[1] = even1 + odd1;
    y[2] = even1 - odd1;
    y[3] = even2 + odd2;
    y[4] = even2 - odd2;
    y[5] = x[EXTENT - 1];
}
#endif

/* A slice of one channel, LANES rows from `row` on. */
static void transform_slice(PARAMETERS, __global const float *from, int row, __global float *restrict to)
{
    VECTOR column[EXTENT][EXTENT], down[POINTS][EXTENT], points[POINTS];
    EACH(t, EXTENT * EXTENT)
    {
        float lane[LANES];
        EACH(r, LANES) lane[r] = from[min(row + r, SIZE_M - 1) * (long)STRIDE_OUTPUT + t * WAY];
        column[t % EXTENT][t / EXTENT] = CG_JOIN(vload, LANES)(0, lane);
    }
    EACH(j, EXTENT)
    {
        transform_kernel(column[j], points);
        EACH(i, POINTS) down[i][j] = points[i];
    }
    EACH(i, POINTS)
    {
        transform_kernel(down[i], points);
        EACH(j, POINTS) CG_JOIN(vstore, LANES)(points[j], 0, to + (i * POINTS + j) * KERNEL_PLANE);
    }
}

CG_ENTRY(1) KERNEL_NAME(CG_TURN_PARAMETERS PARAMETERS)
{
    const int row = CG_TURN(0) * STRIP, first = CG_TURN(1) * CHANNELS_EACH;
    __global float *strip = KERNELS + row * (long)(CHANNELS * DEEP);
    for (int c = first; c < min(CHANNELS, first + CHANNELS_EACH); c++)
        for (int d = 0; d < DEEP; d++)
            for (int v = 0; v < STRIP_VECTORS; v++)
                transform_slice(ARGUMENTS, OPERAND_A + c * (long)STRIDE_CHANNEL + d * EXTENT * EXTENT * WAY,
                                row + v * LANES, strip + (d * CHANNELS + c) * (long)STRIP + v * LANES);
}

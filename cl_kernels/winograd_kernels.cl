/* Transforms kernels of EXTENT x EXTENT for winograd.cl: kernels[plane][strip of STRIP rows][slice and channel][row] of
 * the transforms of A, with KERNEL_PLANE elements to a plane. Rows past the last repeat it: what they yield is never
 * stored. A kernel's elements lie one after the other, with a WAY of -1 from the last to the first; those of DEEP
 * slices do too. From one row to the next there are STRIDE_OUTPUT elements, from one channel to the next
 * STRIDE_CHANNEL.
 *
 * The text in front of this file is prelude.cl, winograd_points.cl with what that wants, TAPS too, and what defines
 * PARAMETERS, STRIP_VECTORS, CHANNELS_EACH and, as run-time expressions, OPERAND_A, SIZE_M, CHANNELS, STRIDE_OUTPUT,
 * STRIDE_CHANNEL, DEEP, WAY, KERNELS, KERNEL_PLANE. A work-group is one work-item and owns a strip of rows and
 * CHANNELS_EACH channels. */
#define transform_slice OWN(_transform_slice)
#define STRIP (STRIP_VECTORS * LANES)

/* A slice of one channel, LANES rows from `row` on. */
static void transform_slice(PARAMETERS, __global const float *from, int row, __global float *restrict to)
{
    VECTOR column[EXTENT][EXTENT], down[POINTS][EXTENT], points[POINTS];
    EACH(t, EXTENT * EXTENT)
    {
        float lane[LANES];
        EACH(r, LANES) lane[r] = from[min(row + r, SIZE_M - 1) * (long)STRIDE_OUTPUT + t * WAY];
        column[t % EXTENT][t / EXTENT] = LOAD(0, lane);
    }
    EACH(j, EXTENT)
    {
        transform_taps(column[j], points);
        EACH(i, POINTS) down[i][j] = points[i];
    }
    EACH(i, POINTS)
    {
        transform_taps(down[i], points);
        EACH(j, POINTS) STORE(points[j], 0, to + (i * POINTS + j) * KERNEL_PLANE);
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

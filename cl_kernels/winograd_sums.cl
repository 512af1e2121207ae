/* C = epilogue(the sum over SHARES of SUMS), what winograd_gradient.cl has left: rows of C are channels and places of
 * a kernel, columns outputs. Kernels lie output by output, so a work-group, which is one work-item, goes down ROWS_EACH
 * rows for some outputs before it goes on to others: the cache's lines that it stores to are full then.
 *
 * The text in front of this file is prelude.cl and what defines KERNEL_NAME, PARAMETERS, ARGUMENTS, LANES, the two
 * epilogue functions and, as run-time expressions, SUMS, SUMS_WIDTH, SHARES, SIZE_M, SIZE_N, ROWS_EACH. */
#define finish_row CG_JOIN(KERNEL_NAME, _finish_row)
#define VECTOR CG_JOIN(float, LANES)
#define LOAD CG_JOIN(vload, LANES)

static void finish_row(PARAMETERS, int row, int column)
{
    __global const float *from = SUMS + row * (long)SUMS_WIDTH + column;
    VECTOR sum = LOAD(0, from);
    for (int share = 1; share < SHARES; share++) sum += LOAD(0, from + share * (long)SIZE_M * SUMS_WIDTH);
    if (column + LANES <= SIZE_N) {
        epilogue_vector(ARGUMENTS, 0, row, column, sum);
    } else {
        float lane[LANES];
        CG_JOIN(vstore, LANES)(sum, 0, lane);
        for (int i = 0; column + i < SIZE_N; i++) epilogue_scalar(ARGUMENTS, 0, row, column + i, lane[i]);
    }
}

CG_ENTRY(1) KERNEL_NAME(CG_TURN_PARAMETERS PARAMETERS)
{
    const int first = CG_TURN(0) * ROWS_EACH, end = min(SIZE_M, first + ROWS_EACH);
    for (int column = 0; column < SIZE_N; column += LANES)
        for (int row = first; row < end; row++) finish_row(ARGUMENTS, row, column);
}

/* C = epilogue(the sum over SHARES of SUMS), what winograd_gradient.cl has left: rows of C are channels and places of
 * a kernel, columns outputs. A work-group is one work-item and owns every CG_TURNS(0)-th row of C.
 *
 * The text in front of this file is prelude.cl and what defines KERNEL_NAME, PARAMETERS, ARGUMENTS, LANES, the two
 * epilogue functions and, as run-time expressions, SUMS, SUMS_WIDTH, SHARES, SIZE_M, SIZE_N. */
CG_ENTRY(1) KERNEL_NAME(CG_TURN_PARAMETERS PARAMETERS)
{
    for (int row = CG_TURN(0); row < SIZE_M; row += CG_TURNS(0))
        for (int column = 0; column < SIZE_N; column += LANES) {
            __global const float *from = SUMS + row * (long)SUMS_WIDTH + column;
            CG_JOIN(float, LANES) sum = CG_JOIN(vload, LANES)(0, from);
            for (int share = 1; share < SHARES; share++)
                sum += CG_JOIN(vload, LANES)(0, from + share * (long)SIZE_M * SUMS_WIDTH);
            if (column + LANES <= SIZE_N) {
                epilogue_vector(ARGUMENTS, 0, row, column, sum);
            } else {
                float lane[LANES];
                CG_JOIN(vstore, LANES)(sum, 0, lane);
                for (int i = 0; column + i < SIZE_N; i++) epilogue_scalar(ARGUMENTS, 0, row, column + i, lane[i]);
            }
        }
}

/* C[M,N] = epilogue(A[M,K] B[K,N]) as one launch for a GPU, in batches, for any sizes and either storage order.
 *
 * A work-group owns a tile of C, TILE_ROWS x TILE_COLUMNS. It copies strips of A and B, TILE_DEPTH deep, into local
 * memory, zeros where they reach past the operands, and each of its work-items adds up ITEM_ROWS x ITEM_COLUMNS elements
 * in registers. It touches nothing but its operands and what epilogue_scalar stores.
 *
 * The text in front of this file is prelude.cl and what defines KERNEL_NAME, PARAMETERS, ARGUMENTS, epilogue_scalar and,
 * as
 *   types and constants     REAL, REAL_IS_DOUBLE, TILE_ROWS, TILE_COLUMNS, TILE_DEPTH, ITEM_ROWS, ITEM_COLUMNS,
 *                           TRANSPOSED_A, TRANSPOSED_B
 *   run-time expressions    OPERAND_A(batch), OPERAND_B(batch), SIZE_M, SIZE_N, SIZE_K, LEADING_A, LEADING_B, BATCHES
 * The names in PARAMETERS must not be names of variables below: a common prefix keeps them apart. ITEM_ROWS and
 * ITEM_COLUMNS divide TILE_ROWS and TILE_COLUMNS. engine/gemm_tiles.c chooses all five. */
#if REAL_IS_DOUBLE
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#endif

#define GROUP_ROWS (TILE_ROWS / ITEM_ROWS)
#define GROUP_COLUMNS (TILE_COLUMNS / ITEM_COLUMNS)
#define GROUP_SIZE (GROUP_ROWS * GROUP_COLUMNS)
/* An element of padding in each line of a strip: neighbours along the depth, which some copies write side by side, then
 * lie in different banks of local memory. */
#define LINE_A (TILE_ROWS + 1)
#define LINE_B (TILE_COLUMNS + 1)

/* A program may hold several of these kernels: each has its functions under names of its own. */
#define copy_strip CG_JOIN(KERNEL_NAME, _copy_strip)

/* strip[k][i] = the operand's element k0 + k of line first + i, for a tile's lines: rows of A or columns of B, of which
 * there are `lines`. Where a line's elements lie side by side, neighbouring work-items read along it, else across. */
static void copy_strip(__global const REAL *operand, int leading, bool along_lines, int first, int lines, int k0,
                       int depth, int tile, __local REAL *strip)
{
    for (int at = get_local_id(0); at < tile * TILE_DEPTH; at += GROUP_SIZE) {
        const int k = along_lines ? at % TILE_DEPTH : at / tile, i = along_lines ? at / TILE_DEPTH : at % tile;
        const int line = first + i, step = k0 + k;
        const long from = along_lines ? (long)line * leading + step : (long)step * leading + line;
        strip[k * (tile + 1) + i] = line < lines && step < depth ? operand[from] : 0;
    }
}

__kernel __attribute__((reqd_work_group_size(GROUP_SIZE, 1, 1))) void KERNEL_NAME(PARAMETERS)
{
    __local REAL strip_a[TILE_DEPTH * LINE_A], strip_b[TILE_DEPTH * LINE_B];
    const int tiles_across = (SIZE_N + TILE_COLUMNS - 1) / TILE_COLUMNS, tile = get_group_id(0);
    const int top = tile / tiles_across * TILE_ROWS, left = tile % tiles_across * TILE_COLUMNS;
    /* A work-item's elements lie GROUP_ROWS and GROUP_COLUMNS apart, so that neighbours read and write neighbours. */
    const int item_row = get_local_id(0) / GROUP_COLUMNS, item_column = get_local_id(0) % GROUP_COLUMNS;

    for (int batch = get_group_id(1); batch < BATCHES; batch += get_num_groups(1)) {
        REAL sum[ITEM_ROWS][ITEM_COLUMNS];
        for (int r = 0; r < ITEM_ROWS; r++)
            for (int c = 0; c < ITEM_COLUMNS; c++) sum[r][c] = 0;
        for (int k = 0; k < SIZE_K; k += TILE_DEPTH) {
            copy_strip(OPERAND_A(batch), LEADING_A, !TRANSPOSED_A, top, SIZE_M, k, SIZE_K, TILE_ROWS, strip_a);
            copy_strip(OPERAND_B(batch), LEADING_B, TRANSPOSED_B, left, SIZE_N, k, SIZE_K, TILE_COLUMNS, strip_b);
            barrier(CLK_LOCAL_MEM_FENCE);
            for (int d = 0; d < TILE_DEPTH; d++) {
                REAL a[ITEM_ROWS], b[ITEM_COLUMNS];
                for (int r = 0; r < ITEM_ROWS; r++) a[r] = strip_a[d * LINE_A + item_row + r * GROUP_ROWS];
                for (int c = 0; c < ITEM_COLUMNS; c++) b[c] = strip_b[d * LINE_B + item_column + c * GROUP_COLUMNS];
                for (int r = 0; r < ITEM_ROWS; r++)
                    for (int c = 0; c < ITEM_COLUMNS; c++) sum[r][c] += a[r] * b[c];
            }
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        for (int r = 0; r < ITEM_ROWS; r++)
            for (int c = 0; c < ITEM_COLUMNS; c++) {
                const int row = top + item_row + r * GROUP_ROWS, column = left + item_column + c * GROUP_COLUMNS;
                if (row < SIZE_M && column < SIZE_N) epilogue_scalar(ARGUMENTS, batch, row, column, sum[r][c]);
            }
    }
}

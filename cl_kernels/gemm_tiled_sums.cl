/* C = epilogue(the sum over SHARES of SUMS), what gemm_tiled.cl has left of a product whose depth is cut into shares. A
 * work-group finishes SUMS_COLUMNS elements that lie side by side: its work-items add up every SUMS_LANES-th share of
 * one of them each, then the first adds up what the others of its element found, always in the same order.
 *
 * The text in front of this file is prelude.cl and what defines KERNEL_NAME, PARAMETERS, ARGUMENTS, epilogue_scalar,
 * REAL, REAL_IS_DOUBLE, the constants SUMS_COLUMNS and SUMS_LANES and, as run-time expressions, SUMS, SHARES, SIZE_M,
 * SIZE_N, BATCHES. engine/gemm_tiles.c launches it. */
#if REAL_IS_DOUBLE
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#endif

__kernel __attribute__((reqd_work_group_size(SUMS_COLUMNS * SUMS_LANES, 1, 1))) void KERNEL_NAME(PARAMETERS)
{
    __local REAL found[SUMS_LANES][SUMS_COLUMNS];
    const int lane = get_local_id(0) / SUMS_COLUMNS, i = get_local_id(0) % SUMS_COLUMNS;
    const long of_product = (long)SIZE_M * SIZE_N, all = of_product * BATCHES;
    for (long first = (long)get_group_id(0) * SUMS_COLUMNS; first < all; first += get_num_groups(0) * SUMS_COLUMNS) {
        const long element = first + i;
        REAL sum = 0;
        if (element < all)
            for (int share = lane; share < SHARES; share += SUMS_LANES) sum += SUMS[share * all + element];
        found[lane][i] = sum;
        barrier(CLK_LOCAL_MEM_FENCE);
        if (lane == 0 && element < all) {
            for (int other = 1; other < SUMS_LANES; other++) sum += found[other][i];
            const int place = element % of_product;
            epilogue_scalar(ARGUMENTS, element / of_product, place / SIZE_N, place % SIZE_N, sum);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
}

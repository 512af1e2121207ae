/* C[M,N] = epilogue(A[M,K] B[K,N]) as one launch for a GPU, in batches, for any sizes, either storage order, and for
 * operands that are spread over memory, as the windows of a convolution are. Where C has too few elements to keep a GPU
 * busy, K is cut into shares, and gemm_tiled_sums.cl adds them up.
 *
 * A work-group owns a tile of C, TILE_ROWS x TILE_COLUMNS. It copies strips of A and B, TILE_DEPTH deep, into local
 * memory, zeros where they reach past the operands, and each of its work-items adds up ITEM_ROWS x ITEM_COLUMNS
 * elements in registers. While one strip is multiplied, the next is on its way to registers; strips take turns between
 * two places in local memory, so that one barrier for each is enough (Volkov and Demmel, Benchmarking GPUs to tune
 * dense linear algebra, SC 2008; Nath, Tomov and Dongarra, An improved MAGMA GEMM for Fermi graphics processing units,
 * 2010). It touches nothing but its operands and what epilogue_scalar or SUMS stores.
 *
 * The text in front of this file is prelude.cl and what defines KERNEL_NAME, PARAMETERS, ARGUMENTS, epilogue_scalar
 * and, as
 *   types and constants     REAL, REAL_IS_DOUBLE, TILE_ROWS, TILE_COLUMNS, TILE_DEPTH, ITEM_ROWS, ITEM_COLUMNS,
 *                           TRANSPOSED_A, TRANSPOSED_B, GATHERED_A, GATHERED_B, SHARED
 *   run-time expressions    OPERAND_A(batch), OPERAND_B(batch), SIZE_M, SIZE_N, SIZE_K, LEADING_A, LEADING_B, BATCHES
 * With SHARED the kernel stores sums to SUMS instead, a share of SHARE_DEPTH steps of k each. A gathered operand has
 *   NUMBERS_A               of each part of its lines, innermost first, its extent, what the address and what the
 *                           coordinates grow by; the same of the depth; of each coordinate the first and the extent of
 *                           the range outside which the operand is 0 (engine/operand.h)
 *   LINE_PARTS_A, DEPTH_PARTS_A, COORDINATES_A, ALONG_DEPTH_A (whether neighbours along the depth are nearer)
 * and the same for B. The names in PARAMETERS must not be names of variables below: a common prefix keeps them apart.
 * ITEM_ROWS and ITEM_COLUMNS divide TILE_ROWS and TILE_COLUMNS. engine/gemm_tiles.c chooses all five. */
#if REAL_IS_DOUBLE
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#endif

#define EACH(i, count) _Pragma("unroll") for (int i = 0; i < (count); i++)
#define GROUP_ROWS (TILE_ROWS / ITEM_ROWS)
#define GROUP_COLUMNS (TILE_COLUMNS / ITEM_COLUMNS)
#define GROUP_SIZE (GROUP_ROWS * GROUP_COLUMNS)
/* Some elements of padding in each line of a strip: neighbours along the depth, which some copies write side by side,
 * then lie in different banks of local memory, and quads stay aligned. */
#define LINE_A (TILE_ROWS + 4)
#define LINE_B (TILE_COLUMNS + 4)
/* A work-item's elements come in such runs; runs lie a whole row of work-items apart, so that neighbours read and write
 * neighbours. */
#define RUN(elements) ((elements) % 4 == 0 ? 4 : (elements) % 2 == 0 ? 2 : 1)
#define ROW_RUN RUN(ITEM_ROWS)
#define COLUMN_RUN RUN(ITEM_COLUMNS)
#define ROW_OF(r) (top + ((r) / ROW_RUN * GROUP_ROWS + item_row) * ROW_RUN + (r) % ROW_RUN)
#define COLUMN_OF(c) (left + ((c) / COLUMN_RUN * GROUP_COLUMNS + item_column) * COLUMN_RUN + (c) % COLUMN_RUN)
#define QUAD CG_JOIN(REAL, 4)
/* A work-item's elements of a step of a strip: whole quads in one access each. */
#if ROW_RUN == 4
#define READ_A(from) EACH(q, ITEM_ROWS / 4) vstore4(*(__local const QUAD *)((from) + q * GROUP_ROWS * 4), q, a);
#else
#define READ_A(from) EACH(r, ITEM_ROWS) a[r] = (from)[r / ROW_RUN * GROUP_ROWS * ROW_RUN + r % ROW_RUN];
#endif
#if COLUMN_RUN == 4
#define READ_B(from) EACH(q, ITEM_COLUMNS / 4) vstore4(*(__local const QUAD *)((from) + q * GROUP_COLUMNS * 4), q, b);
#else
#define READ_B(from) EACH(c, ITEM_COLUMNS) b[c] = (from)[c / COLUMN_RUN * GROUP_COLUMNS * COLUMN_RUN + c % COLUMN_RUN];
#endif
/* Elements of a strip that a work-item copies. */
#define COPIES(tile) (((tile) * TILE_DEPTH + GROUP_SIZE - 1) / GROUP_SIZE)

/* A program may hold several of these kernels: each has its functions under names of its own. */
#define load_strip CG_JOIN(KERNEL_NAME, _load_strip)
#define store_strip CG_JOIN(KERNEL_NAME, _store_strip)

/* Which step and which line of a strip a work-item copies as its c-th: neighbours take what lies nearer in memory. */
#define COPIED_AT(c) ((int)get_local_id(0) + (c) * GROUP_SIZE)
#define COPIED_STEP(c, tile, along_depth) ((along_depth) ? COPIED_AT(c) % TILE_DEPTH : COPIED_AT(c) / (tile))
#define COPIED_LINE(c, tile, along_depth) ((along_depth) ? COPIED_AT(c) / TILE_DEPTH : COPIED_AT(c) % (tile))

/* The operand's elements of a tile's lines, which are rows of A or columns of B, from `first` on, and of steps from k0
 * on; zeros from `line_end` and `step_end` on. */
static void load_strip(__global const REAL *operand, int leading, bool along_depth, int first, int line_end, int k0,
                       int step_end, int tile, REAL *copied)
{
    EACH(c, COPIES(tile))
    {
        const int line = first + COPIED_LINE(c, tile, along_depth), step = k0 + COPIED_STEP(c, tile, along_depth);
        const long from = along_depth ? (long)line * leading + step : (long)step * leading + line;
        copied[c] = COPIED_AT(c) < tile * TILE_DEPTH && line < line_end && step < step_end ? operand[from] : 0;
    }
}

static void store_strip(const REAL *copied, bool along_depth, int tile, __local REAL *strip)
{
    EACH(c, COPIES(tile))
    {
        const int i = COPIED_LINE(c, tile, along_depth), k = COPIED_STEP(c, tile, along_depth);
        if (COPIED_AT(c) < tile * TILE_DEPTH) strip[k * (tile + 4) + i] = copied[c];
    }
}

/* Of a gathered operand X, whose tiles have so many lines: `find`, what line or step `index` adds to the address and to
 * the coordinates, at to[0] and what follows, `stride` apart; and `load`, as above, where these were found. */
#define DEFINE_GATHER(X, tile, find, load)                                                                             \
    static void find(PARAMETERS, int index, bool along_depth, __local int *to, int stride)                             \
    {                                                                                                                  \
        const int numbers[] = {NUMBERS_##X}, parts = along_depth ? DEPTH_PARTS_##X : LINE_PARTS_##X;                   \
        const int *part = numbers + (along_depth ? LINE_PARTS_##X * (2 + COORDINATES_##X) : 0);                        \
        int address = 0, coordinate[3] = {0, 0, 0};                                                                    \
        for (int p = 0; p < parts; p++, part += 2 + COORDINATES_##X) {                                                 \
            const bool last = p == parts - 1; /* whose extent may be 0 */                                              \
            const int at = last ? index : index % part[0];                                                             \
            index = last ? 0 : index / part[0];                                                                        \
            address += at * part[1];                                                                                   \
            EACH(c, COORDINATES_##X) coordinate[c] += at * part[2 + c];                                                \
        }                                                                                                              \
        to[0] = address;                                                                                               \
        EACH(c, COORDINATES_##X) to[(1 + c) * stride] = coordinate[c];                                                 \
    }                                                                                                                  \
    static void load(PARAMETERS, __global const REAL *operand, __local const int *lines, __local const int *steps,     \
                     int first, int line_end, int k0, int step_end, REAL *copied)                                      \
    {                                                                                                                  \
        const int numbers[] = {NUMBERS_##X};                                                                           \
        const int *range = numbers + (LINE_PARTS_##X + DEPTH_PARTS_##X) * (2 + COORDINATES_##X);                       \
        const bool along_depth = ALONG_DEPTH_##X;                                                                      \
        EACH(c, COPIES(tile))                                                                                          \
        {                                                                                                              \
            /* The last copy may be one too many. */                                                                   \
            const int i = COPIED_LINE(c, tile, along_depth) % tile;                                                    \
            const int k = COPIED_STEP(c, tile, along_depth) % TILE_DEPTH;                                              \
            bool inside = first + i < line_end && k0 + k < step_end;                                                   \
            EACH(d, COORDINATES_##X)                                                                                   \
                inside &= (uint)(range[2 * d] + lines[(1 + d) * tile + i] + steps[(1 + d) * TILE_DEPTH + k]) <         \
                          (uint)range[2 * d + 1];                                                                      \
            copied[c] = inside ? operand[lines[i] + steps[k]] : 0;                                                     \
        }                                                                                                              \
    }
#define PLACES_OF(X, tile)                                                                                             \
    __local int lines_##X[(1 + COORDINATES_##X) * tile], steps_##X[2][(1 + COORDINATES_##X) * TILE_DEPTH];
#define FIND_ALL(find, count, first, along_depth, to)                                                                  \
    for (int i = get_local_id(0); i < count; i += GROUP_SIZE) find(ARGUMENTS, (first) + i, along_depth, to + i, count);

#if GATHERED_A
#define find_a CG_JOIN(KERNEL_NAME, _find_a)
#define load_a CG_JOIN(KERNEL_NAME, _load_a)
DEFINE_GATHER(A, TILE_ROWS, find_a, load_a)
#define FIND_LINES_A FIND_ALL(find_a, TILE_ROWS, top, false, lines_A)
#define FIND_STEPS_A(k, turn) FIND_ALL(find_a, TILE_DEPTH, k, true, steps_A[turn])
#define LOAD_A(k, turn) load_a(ARGUMENTS, OPERAND_A(batch), lines_A, steps_A[turn], top, SIZE_M, k, end, copied_a)
#else
#define ALONG_DEPTH_A !TRANSPOSED_A
#define FIND_LINES_A
#define FIND_STEPS_A(k, turn)
#define LOAD_A(k, turn)                                                                                                \
    load_strip(OPERAND_A(batch), LEADING_A, ALONG_DEPTH_A, top, SIZE_M, k, end, TILE_ROWS, copied_a)
#endif
#if GATHERED_B
#define find_b CG_JOIN(KERNEL_NAME, _find_b)
#define load_b CG_JOIN(KERNEL_NAME, _load_b)
DEFINE_GATHER(B, TILE_COLUMNS, find_b, load_b)
#define FIND_LINES_B FIND_ALL(find_b, TILE_COLUMNS, left, false, lines_B)
#define FIND_STEPS_B(k, turn) FIND_ALL(find_b, TILE_DEPTH, k, true, steps_B[turn])
#define LOAD_B(k, turn) load_b(ARGUMENTS, OPERAND_B(batch), lines_B, steps_B[turn], left, SIZE_N, k, end, copied_b)
#else
#define ALONG_DEPTH_B TRANSPOSED_B
#define FIND_LINES_B
#define FIND_STEPS_B(k, turn)
#define LOAD_B(k, turn)                                                                                                \
    load_strip(OPERAND_B(batch), LEADING_B, ALONG_DEPTH_B, left, SIZE_N, k, end, TILE_COLUMNS, copied_b)
#endif

__kernel __attribute__((reqd_work_group_size(GROUP_SIZE, 1, 1))) void KERNEL_NAME(PARAMETERS)
{
    __local REAL strip_a[2][TILE_DEPTH * LINE_A] __attribute__((aligned(4 * sizeof(REAL))));
    __local REAL strip_b[2][TILE_DEPTH * LINE_B] __attribute__((aligned(4 * sizeof(REAL))));
#if GATHERED_A
    PLACES_OF(A, TILE_ROWS)
#endif
#if GATHERED_B
    PLACES_OF(B, TILE_COLUMNS)
#endif
    const int tiles_across = (SIZE_N + TILE_COLUMNS - 1) / TILE_COLUMNS, tile = get_group_id(0);
    const int top = tile / tiles_across * TILE_ROWS, left = tile % tiles_across * TILE_COLUMNS;
    const int item_row = get_local_id(0) / GROUP_COLUMNS, item_column = get_local_id(0) % GROUP_COLUMNS;
#if SHARED
    const int start = get_group_id(2) * SHARE_DEPTH, end = min(SIZE_K, start + SHARE_DEPTH);
#else
    const int start = 0, end = SIZE_K;
#endif
    FIND_LINES_A
    FIND_LINES_B

    for (int batch = get_group_id(1); batch < BATCHES; batch += get_num_groups(1)) {
        REAL sum[ITEM_ROWS][ITEM_COLUMNS], copied_a[COPIES(TILE_ROWS)], copied_b[COPIES(TILE_COLUMNS)];
        EACH(r, ITEM_ROWS) EACH(c, ITEM_COLUMNS) sum[r][c] = 0;
#if GATHERED_A || GATHERED_B
        FIND_STEPS_A(start, 0)
        FIND_STEPS_B(start, 0)
        barrier(CLK_LOCAL_MEM_FENCE);
#endif
        /* Each turn loads a strip, multiplies the one before, and puts aside what it has loaded. */
        int turn = 0;
        for (int k = start; k < end + TILE_DEPTH; k += TILE_DEPTH, turn ^= 1) {
            const bool loads = k < end;
            if (loads) {
                LOAD_A(k, turn);
                LOAD_B(k, turn);
                FIND_STEPS_A(k + TILE_DEPTH, turn ^ 1)
                FIND_STEPS_B(k + TILE_DEPTH, turn ^ 1)
            }
            if (k > start) {
                __local const REAL *from_a = strip_a[turn ^ 1] + item_row * ROW_RUN;
                __local const REAL *from_b = strip_b[turn ^ 1] + item_column * COLUMN_RUN;
                _Pragma("unroll 4") for (int d = 0; d < TILE_DEPTH; d++)
                {
                    REAL a[ITEM_ROWS], b[ITEM_COLUMNS];
                    READ_A(from_a + d * LINE_A)
                    READ_B(from_b + d * LINE_B)
                    EACH(r, ITEM_ROWS) EACH(c, ITEM_COLUMNS) sum[r][c] = mad(a[r], b[c], sum[r][c]);
                }
            }
            if (loads) {
                store_strip(copied_a, ALONG_DEPTH_A, TILE_ROWS, strip_a[turn]);
                store_strip(copied_b, ALONG_DEPTH_B, TILE_COLUMNS, strip_b[turn]);
            }
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        EACH(r, ITEM_ROWS) EACH(c, ITEM_COLUMNS)
        {
            const int row = ROW_OF(r), column = COLUMN_OF(c);
            if (row >= SIZE_M || column >= SIZE_N) continue;
#if SHARED
            SUMS[(((long)get_group_id(2) * BATCHES + batch) * SIZE_M + row) * SIZE_N + column] = sum[r][c];
#else
            epilogue_scalar(ARGUMENTS, batch, row, column, sum[r][c]);
#endif
        }
    }
}

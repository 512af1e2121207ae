/* C[M,N] = epilogue(A[M,K] B[K,N]) as one launch for a CPU, in batches, where C has fewer columns than a vector has
 * lanes: a classifier's last layer and the gradient of its weights. Vectors along C's rows would be partly empty, so
 * they run along M where A is stored [K,M], and else along K.
 *
 * A work-group is one work-item. It owns ROWS rows of C and makes a block of them at a time, packed as C's rows are if
 * nothing lies between them, so that the epilogue has whole vectors too. It touches nothing but its operands, its part
 * of SCRATCH and what epilogue_vector and epilogue_scalar store.
 *
 * The text in front of this file is prelude.cl and what defines KERNEL_NAME, PARAMETERS, ARGUMENTS, the two epilogue
 * functions and, as
 *   types and constants     REAL, REAL_IS_DOUBLE, LANES, COLUMNS (N), VECTORS, TRANSPOSED_A, TRANSPOSED_B,
 *                           FLAT_EPILOGUE
 *   run-time expressions    OPERAND_A(batch), OPERAND_B(batch), SCRATCH, SIZE_M, SIZE_K, LEADING_A, LEADING_B, ROWS,
 *                           BATCHES
 * FLAT_EPILOGUE says that row r, column c may also be given to the epilogue as row 0, column r * N + c, and that
 * vectors may cross from row to row so. The names in PARAMETERS must not be names of variables below: a common prefix
 * keeps them apart. ROWS is a multiple of BLOCK_ROWS, or at least SIZE_M. engine/gemm_narrow.c chooses VECTORS and ROWS
 * and knows how much scratch that takes. */
#if REAL_IS_DOUBLE
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#endif

/* A program may hold several of these kernels: each has its functions under names of its own. */
#define OWN(name) CG_JOIN(KERNEL_NAME, name)
#define transpose OWN(_transpose)
#define multiply_block OWN(_multiply_block)
#define multiply_vector OWN(_multiply_vector)
#define multiply_elements OWN(_multiply_elements)
#define pack OWN(_pack)
#define sum_lanes OWN(_sum_lanes)
#define multiply_4_columns OWN(_multiply_4_columns)
#define multiply_2_columns OWN(_multiply_2_columns)
#define multiply_1_column OWN(_multiply_1_column)
#define multiply_rows OWN(_multiply_rows)
#define store_block OWN(_store_block)

#define VECTOR CG_JOIN(REAL, LANES)
#define LOAD CG_JOIN(vload, LANES)
#define STORE CG_JOIN(vstore, LANES)

/* A block has room for a vector that begins at its last row. */
#define BLOCK_ROWS (TRANSPOSED_A ? VECTORS * LANES : LANES)
#define BLOCK_SIZE (BLOCK_ROWS * COLUMNS + LANES)

/* One copy in the program: inlining everything makes several under PoCL, and compiling takes as much longer. */
#define ONE_COPY __attribute__((noinline)) static

/* A loop to be unrolled, its bound a literal. */
#define EACH(i, count) _Pragma("unroll") for (int i = 0; i < (count); i++)

CG_TRANSPOSE(transpose, VECTOR, LANES)

/* The rows of a block that begins with this row of C. */
static void store_block(PARAMETERS, int batch, int row, int rows, const REAL *block)
{
#if FLAT_EPILOGUE
    const int first = row * COLUMNS, count = rows * COLUMNS;
    int i = 0;
    for (; i + LANES <= count; i += LANES) epilogue_vector(ARGUMENTS, batch, 0, first + i, LOAD(0, block + i));
    for (; i < count; i++) epilogue_scalar(ARGUMENTS, batch, 0, first + i, block[i]);
#else
    for (int r = 0; r < rows; r++)
        EACH(c, COLUMNS) epilogue_scalar(ARGUMENTS, batch, row + r, c, block[r * COLUMNS + c]);
#endif
}

#if TRANSPOSED_A
/* Sums for as many vectors of rows, transposed into a block. Each row that is written runs over into the next, which
 * then is. */
#define DEFINE_MULTIPLY(NAME, COUNT)                                                                                   \
    ONE_COPY void NAME(__global const REAL *restrict A, int leading_a, __global const REAL *restrict B, int leading_b, \
                       int depth, REAL *restrict block)                                                                \
    {                                                                                                                  \
        VECTOR sum[COLUMNS][COUNT], a[COUNT];                                                                          \
        EACH(c, COLUMNS) EACH(v, COUNT) sum[c][v] = 0;                                                                 \
        for (int k = 0; k < depth; k++, A += leading_a)                                                                \
        {                                                                                                              \
            EACH(v, COUNT) a[v] = LOAD(v, A);                                                                          \
            EACH(c, COLUMNS)                                                                                           \
            {                                                                                                          \
                const VECTOR b = B[TRANSPOSED_B ? (long)c * leading_b + k : (long)k * leading_b + c];                  \
                EACH(v, COUNT) sum[c][v] += a[v] * b;                                                                  \
            }                                                                                                          \
        }                                                                                                              \
        EACH(v, COUNT)                                                                                                 \
        {                                                                                                              \
            VECTOR x[LANES];                                                                                           \
            EACH(i, LANES) x[i] = sum[min(i, COLUMNS - 1)][v];                                                         \
            transpose(x);                                                                                              \
            EACH(i, LANES) STORE(x[i], 0, block + (v * LANES + i) * COLUMNS);                                          \
        }                                                                                                              \
    }
DEFINE_MULTIPLY(multiply_vector, 1)
#if VECTORS > 1
DEFINE_MULTIPLY(multiply_block, VECTORS)
#endif

/* For a C of less than a vector of rows. */
ONE_COPY void multiply_elements(__global const REAL *A, int leading_a, __global const REAL *B, int leading_b, int rows,
                                int depth, REAL *block)
{
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < COLUMNS; c++) {
            REAL sum = 0;
            for (int k = 0; k < depth; k++)
                sum += A[(long)k * leading_a + r] * B[TRANSPOSED_B ? (long)c * leading_b + k : (long)k * leading_b + c];
            block[r * COLUMNS + c] = sum;
        }
}

ONE_COPY void multiply_rows(PARAMETERS, int batch, int top, int bottom, int group)
{
    __global const REAL *A = OPERAND_A(batch), *B = OPERAND_B(batch);
    REAL block[BLOCK_SIZE];
    int row = top;
#if VECTORS > 1
    for (; row + BLOCK_ROWS <= bottom; row += BLOCK_ROWS) {
        multiply_block(A + row, LEADING_A, B, LEADING_B, SIZE_K, block);
        store_block(ARGUMENTS, batch, row, BLOCK_ROWS, block);
    }
#endif
    for (; row + LANES <= bottom; row += LANES) {
        multiply_vector(A + row, LEADING_A, B, LEADING_B, SIZE_K, block);
        store_block(ARGUMENTS, batch, row, LANES, block);
    }
    if (row >= bottom) return;
    /* The last vector begins with rows that are stored already, or are another work-group's. */
    const int first = bottom >= LANES ? bottom - LANES : row;
    if (bottom >= LANES)
        multiply_vector(A + first, LEADING_A, B, LEADING_B, SIZE_K, block);
    else
        multiply_elements(A + first, LEADING_A, B, LEADING_B, bottom - first, SIZE_K, block);
    store_block(ARGUMENTS, batch, row, bottom - row, block + (row - first) * COLUMNS);
}
#else
/* packed[column][k] = B[k][column], with zeros up to the next multiple of LANES. `left` elements lie between the first
 * and the end of the operand: rows are read with what follows them while something does. */
ONE_COPY void pack(__global const REAL *restrict B, int leading, int depth, int stride, long left,
                   __global REAL *restrict packed)
{
    for (int k = 0; k < depth; k += LANES) {
        VECTOR x[LANES];
        if (TRANSPOSED_B ? k + LANES <= depth : (long)(k + LANES - 1) * leading + LANES <= left) {
            EACH(i, TRANSPOSED_B ? COLUMNS : LANES)
                x[i] = LOAD(0, B + (TRANSPOSED_B ? (long)i * leading + k : (long)(k + i) * leading));
            if (!TRANSPOSED_B) transpose(x);
            EACH(c, COLUMNS) STORE(x[c], 0, packed + c * stride + k);
            continue;
        }
        for (int c = 0; c < COLUMNS; c++)
            for (int i = k; i < k + LANES; i++)
                packed[c * stride + i] =
                    i < depth ? B[TRANSPOSED_B ? (long)c * leading + i : (long)i * leading + c] : 0;
    }
}

/* Lane i of the result is the sum of the lanes of x[i]. */
static VECTOR sum_lanes(VECTOR x[LANES])
{
    _Pragma("unroll") for (int count = LANES / 2; count > 0; count /= 2)
    {
        EACH(i, count)
        {
            VECTOR even, odd;
            even.lo = x[2 * i].even, even.hi = x[2 * i + 1].even;
            odd.lo = x[2 * i].odd, odd.hi = x[2 * i + 1].odd;
            x[i] = even + odd;
        }
    }
    return x[0];
}

/* LANES elements of a block: so many columns in as few rows as that makes. Rows past the last repeat it. */
#define DEFINE_MULTIPLY(NAME, COUNT)                                                                                   \
    ONE_COPY void NAME(__global const REAL *restrict A, int leading, int rows, int depth,                              \
                       __global const REAL *restrict packed, int stride, REAL *restrict block)                         \
    {                                                                                                                  \
        VECTOR sum[LANES], b[COUNT];                                                                                   \
        __global const REAL *from[LANES / COUNT];                                                                      \
        REAL element[LANES];                                                                                           \
        int k = 0;                                                                                                     \
        EACH(i, LANES) sum[i] = 0;                                                                                     \
        EACH(r, LANES / COUNT) from[r] = A + (long)min(r, rows - 1) * leading;                                         \
        for (; k + LANES <= depth; k += LANES) {                                                                       \
            EACH(c, COUNT) b[c] = LOAD(0, packed + c * stride + k);                                                    \
            EACH(r, LANES / COUNT)                                                                                     \
            {                                                                                                          \
                const VECTOR a = LOAD(0, from[r] + k);                                                                 \
                EACH(c, COUNT) sum[r * COUNT + c] += a * b[c];                                                         \
            }                                                                                                          \
        }                                                                                                              \
        if (k < depth) EACH(r, LANES / COUNT)                                                                          \
        {                                                                                                              \
            EACH(i, LANES) element[i] = k + i < depth ? from[r][k + i] : 0;                                            \
            EACH(c, COUNT) sum[r * COUNT + c] += LOAD(0, element) * LOAD(0, packed + c * stride + k);                  \
        }                                                                                                              \
        STORE(sum_lanes(sum), 0, element);                                                                             \
        EACH(r, LANES / COUNT) EACH(c, COUNT) block[r * COLUMNS + c] = element[r * COUNT + c];                         \
    }
DEFINE_MULTIPLY(multiply_4_columns, 4)
DEFINE_MULTIPLY(multiply_2_columns, 2)
DEFINE_MULTIPLY(multiply_1_column, 1)

/* Some columns, from `packed` on, of a block. */
#define MULTIPLY(NAME, COUNT)                                                                                          \
    for (int r = 0; r < rows; r += LANES / COUNT)                                                                      \
    NAME(A + (long)r * leading, leading, rows - r, depth, packed, stride, block + r * COLUMNS)

ONE_COPY void multiply_rows(PARAMETERS, int batch, int top, int bottom, int group)
{
    const int depth = SIZE_K, leading = LEADING_A;
    /* A vector more than needed keeps columns out of each other's cache sets. */
    const int stride = (depth + LANES - 1) / LANES * LANES + LANES;
    __global REAL *const packed_b = SCRATCH + (long)group * COLUMNS * stride;
    const long size_b = (long)((TRANSPOSED_B ? COLUMNS : depth) - 1) * LEADING_B + (TRANSPOSED_B ? depth : COLUMNS);
    pack(OPERAND_B(batch), LEADING_B, depth, stride, size_b, packed_b);
    for (int row = top; row < bottom; row += BLOCK_ROWS) {
        const int rows = min(BLOCK_ROWS, bottom - row);
        __global const REAL *A = OPERAND_A(batch) + (long)row * leading, *packed = packed_b;
        REAL whole[BLOCK_SIZE], *block = whole;
        for (int c = 0; c + 4 <= COLUMNS; c += 4, packed += 4 * stride, block += 4) MULTIPLY(multiply_4_columns, 4);
        if (COLUMNS & 2) {
            MULTIPLY(multiply_2_columns, 2);
            packed += 2 * stride, block += 2;
        }
        if (COLUMNS & 1) MULTIPLY(multiply_1_column, 1);
        store_block(ARGUMENTS, batch, row, rows, whole);
    }
}
#endif

CG_ENTRY(1) KERNEL_NAME(CG_TURN_PARAMETERS PARAMETERS)
{
    const int top = CG_TURN(0) * ROWS, bottom = min(SIZE_M, top + ROWS);
    const int group = CG_TURN(2) * CG_TURNS(0) + CG_TURN(0);

    for (int batch = CG_TURN(2); batch < BATCHES; batch += CG_TURNS(2))
        multiply_rows(ARGUMENTS, batch, top, bottom, group);
}

/* C[M,N] = epilogue(A[M,K] B[K,N]) as one launch for a CPU, in batches, for any sizes and either storage order.
 *
 * A work-group is one work-item. It owns ROWS rows of C and every CG_TURNS(1)-th panel of COLUMNS columns. It
 * copies its panel of B, DEPTH deep, into its own part of SCRATCH as strips that the inner loop reads in order, then
 * walks down its rows with a tile of sums in registers. It touches nothing but its operands, its part of SCRATCH and
 * what epilogue_vector and epilogue_scalar store.
 *
 * The text in front of this file is prelude.cl and what defines KERNEL_NAME, PARAMETERS, ARGUMENTS, the two epilogue
 * functions and, as
 *   types and constants     REAL, REAL_IS_DOUBLE, LANES, REGISTERS, COLUMNS, MOST_DEPTH, TRANSPOSED_A, TRANSPOSED_B,
 *                           SHORT_EPILOGUE, FETCHING_EPILOGUE
 *                           GATHERED_A, GATHERED_B, SLIDING, JOINED, FOLDED
 *   run-time expressions    OPERAND_A(batch), OPERAND_B(batch), SCRATCH, SIZE_M, SIZE_N, SIZE_K, DEPTH, LEADING_A,
 *                           LEADING_B, ROWS, BATCHES, STRETCHES, STRETCH_A, STRETCH_B
 * K is STRETCHES times SIZE_K; an operand's next stretch begins STRETCH_A or STRETCH_B elements behind the last one's
 * begin. A gathered operand has no leading dimension: gather_a or gather_b (gather.cl) packs it from wherever it lies.
 * With SLIDING (engine/gemm_plan.h: gemm_slides) a panel is instead PANEL_LINES lines of PANEL_PLACES places of an
 * image of LINES and PLACES, and its strips are read from planes that hold REACH_LINES and REACH_PLACES more, with a
 * line every PITCH elements, which may share the BORDER that they end and begin with. Columns are then computed line by
 * line, each as SPAN of them; or, where that is 0, with what lies between two lines, which is left out when they are
 * stored.
 * With JOINED the columns are those of several products, SEGMENT of each, which the epilogue knows as batches; their
 * parts of B begin SEGMENT_STRIDE elements after one another.
 * SHORT_EPILOGUE says that epilogue_vector may be there many times: sums then go to it from their registers.
 * With FOLDED there are only multiply_tile and what it needs, for gemm_folded.cl.
 * FETCHING_EPILOGUE says that there is an epilogue_fetch, which asks memory for what epilogue_vector will load.
 * The names in PARAMETERS must not be names of variables below: a common prefix keeps them apart.
 * COLUMNS is LANES or a multiple of 2 * LANES; ROWS is a multiple of TILE_ROWS, or at least SIZE_M. engine/gemm_plan.c
 * chooses them and knows how much scratch that takes. */
#if REAL_IS_DOUBLE
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#endif

/* A program may hold several of these kernels: each has its functions under names of its own. */
#define OWN(name) CG_JOIN(KERNEL_NAME, name)
#define coming_lines OWN(_coming_lines)
#define coming_matrix OWN(_coming_matrix)
#define packing_of_a OWN(_packing_of_a)
#define tiles_to_pack OWN(_tiles_to_pack)
#define transpose OWN(_transpose)
#define pack_columns OWN(_pack_columns)
#define pack_segments OWN(_pack_segments)
#define pack_rows OWN(_pack_rows)
#define multiply_full_tile OWN(_multiply_full_tile)
#define multiply_and_pack OWN(_multiply_and_pack)
#define multiply_8_rows OWN(_multiply_8_rows)
#define multiply_4_rows OWN(_multiply_4_rows)
#define multiply_1_row OWN(_multiply_1_row)
#define tile_rows OWN(_tile_rows)
#define multiply_tile OWN(_multiply_tile)
#define store_rows OWN(_store_rows)
#define left_operand OWN(_left_operand)
#define join_lines OWN(_join_lines)
#define multiply_panel OWN(_multiply_panel)

#define VECTOR CG_JOIN(REAL, LANES)
#define LOAD CG_JOIN(vload, LANES)
#define STORE CG_JOIN(vstore, LANES)

/* Two vectors a row, and as many rows as leave registers for the two of B and a broadcast of A. */
#if REGISTERS >= 32
#define TILE_ROWS 12
#define COPY_TILE_COLUMN(from, to) (vstore8(vload8(0, from), 0, to), vstore4(vload4(2, from), 2, to))
#else
#define TILE_ROWS 6
#define COPY_TILE_COLUMN(from, to) (vstore4(vload4(0, from), 0, to), vstore2(vload2(2, from), 2, to))
#endif
#define STRIP_VECTORS (COLUMNS > LANES ? 2 : 1)
#define STRIP (STRIP_VECTORS * LANES)
/* The strip of columns j and up begins at packed_b + j * STRIP_DEPTH: a row of padding keeps strips, which are written
 * side by side, out of each other's cache sets. */
#define STRIP_DEPTH (DEPTH + 1)
#define PACKED_B_SIZE (COLUMNS * STRIP_DEPTH)
/* Rows of A that are used by several strips are packed: too many rows at a power-of-two stride would evict each other.
 * When A is stored [K,M], several tiles at once, for it is read along M. Where it is neither gathered nor multiplied by
 * rows that slide, the next tiles are packed into a second buffer while those of the first are multiplied. */
#define PACK_A (GATHERED_A || COLUMNS > STRIP)
#define PACKS_ON_THE_WAY (COLUMNS > STRIP && !GATHERED_A && !SLIDING)
#define PACKED_BUFFERS (GATHERED_A || SLIDING ? 1 : 2)
#define PACKED_TILES (TRANSPOSED_A ? 8 / PACKED_BUFFERS : 1)
#define PACKED_A_STRIDE (TRANSPOSED_A ? TILE_ROWS : MOST_DEPTH + LANES) /* a literal, which addresses take as it is */
#define PACKED_TILE_SIZE (TILE_ROWS * ((TRANSPOSED_A ? DEPTH : MOST_DEPTH) + LANES))
#define PACKED_BUFFER_SIZE (PACKED_TILES * PACKED_TILE_SIZE)
#define PACKED_A_SIZE (PACKED_BUFFERS * PACKED_BUFFER_SIZE)
/* Below this many rows, a full strip of B is read where it lies: copying it would cost more than it saves. */
#define ROWS_WORTH_PACKING (2 * TILE_ROWS)
/* So many steps of k ahead, memory and the second-level cache answer in time. */
#define AHEAD 24
/* The last so many tiles ask for what will be packed as the next panel. */
#define TILES_AHEAD 24

/* One copy in the program: inlining everything makes three under PoCL, and compiling takes three times as long. */
#define ONE_COPY __attribute__((noinline)) static

/* A loop to be unrolled, its bound a literal. */
#define EACH(i, count) _Pragma("unroll") for (int i = 0; i < (count); i++)

/* What is needed only later is packed or asked for a little now and then, some steps of k apart: all at once would be
 * more requests than can be under way, and a tile's own would wait behind them. */
#define FETCH_SPACING 4

/* What the epilogue of a tile of `rows` rows will load. */
#if FETCHING_EPILOGUE
#define FETCH_FOR_EPILOGUE(rows)                                                                                       \
    if (finish && k < FETCH_SPACING * (rows))                                                                          \
        EACH(v, STRIP_VECTORS) epilogue_fetch(ARGUMENTS, batch, row + k / FETCH_SPACING, column + v * LANES);
#else
#define FETCH_FOR_EPILOGUE(rows)
#endif

/* The lines that are left to be asked for of a matrix that will be packed. */
typedef struct coming_lines {
    __global const REAL *next, *end; /* in the first of the rows left */
    long leading;
    int width, rows;
} coming_lines;
#define CACHE_LINE (64 / (int)sizeof(REAL)) /* elements */
/* Rows of A, as it is stored, that are being packed: a piece at a time, a cache line or a tile's column. */
typedef struct packing_of_a {
    __global const REAL *from; /* the first of the rows left */
    __global REAL *to;
    int leading, width, rows; /* elements from row to row, and of each; rows left */
    int at, to_at;            /* the next piece: elements from the row's begin, and from `to` */
} packing_of_a;
#if TRANSPOSED_A
#define PIECE TILE_ROWS
#define COPY_PIECE(from, to) COPY_TILE_COLUMN(from, to)
#define ROWS_AHEAD 8
#else
#define PIECE CACHE_LINE
#define COPY_PIECE(from, to) EACH(v, CACHE_LINE / LANES) STORE(LOAD(v, from), v, to)
#define ROWS_AHEAD 1
#endif
/* The last piece of a row overlaps the one before where the width, of a tile stored [M,K], is not made of pieces. */
#define PACK_PIECE                                                                                                     \
    CG_FETCH(packing->from + ROWS_AHEAD * (long)packing->leading + packing->at);                                       \
    COPY_PIECE(packing->from + packing->at, packing->to + packing->to_at);                                             \
    if (packing->at + PIECE == packing->width) {                                                                       \
        packing->at = packing->to_at = 0;                                                                              \
        packing->from += packing->leading;                                                                             \
        packing->to += PACKED_A_STRIDE;                                                                                \
        packing->rows--;                                                                                               \
    } else {                                                                                                           \
        packing->at = min(packing->at + PIECE, packing->width - PIECE);                                                \
        packing->to_at = TRANSPOSED_A ? packing->to_at + PACKED_TILE_SIZE : packing->at;                               \
    }
#if PACKS_ON_THE_WAY
#define PACK_OR_FETCH                                                                                                  \
    if (packing->rows > 0) {                                                                                           \
        PACK_PIECE                                                                                                     \
    } else {                                                                                                           \
        FETCH_COMING                                                                                                   \
    }
#else
#define PACK_OR_FETCH FETCH_COMING
#endif
#if SLIDING
#define FETCH_COMING
#define FETCH_STRIP
#else
#define FETCH_COMING                                                                                                   \
    if (coming->rows > 0) {                                                                                            \
        CG_FETCH(coming->next);                                                                                        \
        coming->next += CACHE_LINE;                                                                                    \
        if (coming->next >= coming->end) {                                                                             \
            coming->end += coming->leading;                                                                            \
            coming->next = coming->end - coming->width;                                                                \
            coming->rows--;                                                                                            \
        }                                                                                                              \
    }
#define FETCH_STRIP EACH(v, STRIP_VECTORS) CG_FETCH_NEAR(strip + AHEAD * (long)stride_b + v * LANES);
#endif
/* Of rows that slide the processor does not foresee where the next ones lie. Those of a product that is folded are near
 * enough. */
#if SLIDING && !FOLDED
#define SLIDES_AHEAD 8
#define FETCH_SLIDING                                                                                                  \
    EACH(v, STRIP_VECTORS) CG_FETCH_NEAR(strip + place_of_row[min(k + SLIDES_AHEAD, depth - 1)] + v * LANES);
#else
#define FETCH_SLIDING
#endif
#define FETCH_SOME                                                                                                     \
    FETCH_SLIDING                                                                                                      \
    if (k % FETCH_SPACING == 0) {                                                                                      \
        PACK_OR_FETCH                                                                                                  \
        FETCH_FOR_EPILOGUE(TILE_ROWS)                                                                                  \
    }

#if JOINED
/* packed[strip][k][j] = B[k][j] of the columns from `first` on. Pieces, which neither a strip nor a segment ends in,
 * are copied in order as two vectors each: what is too much is written over by what follows, or is never stored. `left`
 * is as below. */
ONE_COPY void pack_segments(__global const REAL *restrict B, int leading, int stride, int segment, int first,
                            int columns, int depth, long left, __global REAL *restrict packed, long strip_depth)
{
    int from[2 * COLUMNS], to[2 * COLUMNS], pieces = 0, furthest = 0;
    for (int j = 0; j < columns; pieces++) {
        const int at = (first + j) % segment;
        from[pieces] = (first + j) / segment * stride + at;
        to[pieces] = (int)(j / STRIP * STRIP * strip_depth) + j % STRIP;
        furthest = max(furthest, from[pieces]);
        j += min(min(segment - at, STRIP - j % STRIP), columns - j);
    }
    for (int k = 0; k < depth; k++, B += leading, packed += STRIP, left -= leading) {
        if (furthest + STRIP <= left) {
            for (int p = 0; p < pieces; p++) {
                EACH(v, STRIP_VECTORS) CG_FETCH(B + AHEAD * (long)leading + from[p] + v * LANES);
                EACH(v, STRIP_VECTORS) STORE(LOAD(v, B + from[p]), v, packed + to[p]);
            }
        } else {
            for (int p = 0; p < pieces; p++)
                for (int i = 0; i < STRIP; i++) packed[to[p] + i] = from[p] + i < left ? B[from[p] + i] : 0;
        }
    }
}
#elif TRANSPOSED_B
CG_TRANSPOSE(transpose, VECTOR, LANES)

/* packed[strip][k][j] = B[j][k]. Columns past the last repeat it: what they yield is never stored. `left` elements lie
 * between the first and the end of the operand: a block of little depth is read with what follows it while something
 * does. */
ONE_COPY void pack_columns(__global const REAL *restrict B, int leading, int columns, int depth, long left,
                           __global REAL *restrict packed, long strip_depth)
{
    for (int first = 0; first < columns; first += LANES) {
        __global REAL *to = packed + first / STRIP * STRIP * strip_depth + first % STRIP;
        for (int block = 0; block < depth; block += LANES) {
            const int k = max(0, min(block, depth - LANES)); /* the last block may overlap the one before */
            if (depth < LANES && (long)(min(first + LANES, columns) - 1) * leading + LANES > left) {
                for (int j = 0; j < LANES; j++)
                    for (int i = 0; i < depth; i++)
                        to[i * STRIP + j] = B[(long)min(first + j, columns - 1) * leading + i];
                continue;
            }
            VECTOR x[LANES];
            EACH(j, LANES) x[j] = LOAD(0, B + (long)min(first + j, columns - 1) * leading + k);
            transpose(x);
            EACH(i, LANES) if (i < depth) STORE(x[i], 0, to + (k + i) * STRIP);
        }
    }
}
#else
/* packed[strip][k][j] = B[k][j]. `left` elements lie between the first and the end of the operand: a ragged strip is
 * read with whatever follows it as long as something does, since what those columns yield is never stored. */
ONE_COPY void pack_columns(__global const REAL *restrict B, int leading, int columns, int depth, long left,
                           __global REAL *restrict packed, long strip_depth)
{
    for (int k = 0; k < depth; k++, B += leading, packed += STRIP, left -= leading) {
        int j = 0;
        for (; j < columns && j + STRIP <= max((long)columns, left); j += STRIP)
            EACH(v, STRIP_VECTORS) STORE(LOAD(v, B + j), v, packed + j * strip_depth);
        if (j < columns)
            for (int c = 0; c < STRIP; c++) packed[j * strip_depth + c] = j + c < columns ? B[j + c] : 0;
    }
}
#endif

#if !FOLDED && !GATHERED_A
/* What is left: packed[tile][k][row] = A[k][row] if A is stored [K,M], else packed[tile][row][k] = A[row][k]. The
 * stride, from a piece to the next, depends on arguments of the kernel. */
ONE_COPY void pack_rows(const packing_of_a *packing, int piece_stride)
{
    __global const REAL *restrict A = packing->from;
    __global REAL *restrict packed = packing->to;
    for (int row = 0; row < packing->rows; row++, A += packing->leading, packed += PACKED_A_STRIDE) {
        int at = 0;
        for (__global REAL *to = packed; at + PIECE <= packing->width; at += PIECE, to += piece_stride)
            COPY_PIECE(A + at, to);
        for (; at < packing->width; at++) packed[at] = A[at];
    }
}

/* The full tiles of rows [i, bottom) of A, from its column k on and as many as are packed at once. */
static packing_of_a tiles_to_pack(__global const REAL *A, int leading, int i, int bottom, int k, int depth,
                                  __global REAL *packed)
{
    const int left = bottom - i, full = left / TILE_ROWS - (left % TILE_ROWS == 4 ? TILE_ROWS > 8 : 0);
    const int rows = clamp(full, 0, PACKED_TILES) * TILE_ROWS;
    packing_of_a packing = {A + (TRANSPOSED_A ? (long)k * leading + i : (long)i * leading + k), packed, leading,
                            TRANSPOSED_A ? rows : depth, TRANSPOSED_A ? min(rows, 1) * depth : rows, 0, 0};
    return packing;
}
#endif

/* sums[rows][STRIP] = (or +=) A[rows][depth] strip[depth][STRIP]; `finish` says that this completes a full strip. A
 * function for each number of rows, because compilers keep the sums in registers only where that number is a literal.
 * EXTRA is done at each step of k. */
#define TILE_PARAMETERS                                                                                                \
    PARAMETERS, int batch, int row, int column, __global const REAL *restrict A, int stride_a,                         \
        __global const REAL *restrict strip, int stride_b, int depth, __global REAL *restrict sums, bool accumulate,   \
        bool finish, packing_of_a *restrict packing, coming_lines *restrict coming, __global REAL *restrict copy,      \
        ROW_PLACES place_of_row
#define TILE_ARGUMENTS                                                                                                 \
    ARGUMENTS, batch, row, column, A, stride_a, strip, stride_b, depth, sums, accumulate, finish, packing, coming,     \
        copy, place_of_row
/* Sliding rows of B lie wherever place_of_row says. */
#if FOLDED
#define ROW_PLACES __global const int *
#else
#define ROW_PLACES const int *
#endif
#if SLIDING
#define STRIP_ROW (strip + place_of_row[k])
#else
#define STRIP_ROW strip
#endif
#if SHORT_EPILOGUE
#define FINISH(r, v) epilogue_vector(ARGUMENTS, batch, row + (r), column + (v)*LANES, sum[r][v])
#else
#define FINISH(r, v)
#endif
#define DEFINE_MULTIPLY_TILE(NAME, TILE, STRIDE_A, EXTRA)                                                              \
    static void NAME(TILE_PARAMETERS)                                                                                  \
    {                                                                                                                  \
        VECTOR sum[TILE][STRIP_VECTORS], b[STRIP_VECTORS];                                                             \
        EACH(r, TILE) EACH(v, STRIP_VECTORS) sum[r][v] = accumulate ? LOAD(v, sums + r * COLUMNS) : (VECTOR)0;         \
        for (int k = 0; k < depth; k++, strip += stride_b) {                                                           \
            EACH(v, STRIP_VECTORS) b[v] = LOAD(v, STRIP_ROW);                                                          \
            FETCH_STRIP                                                                                                \
            EXTRA;                                                                                                     \
            EACH(r, TILE)                                                                                              \
            {                                                                                                          \
                const VECTOR a = A[TRANSPOSED_A ? (long)k * (STRIDE_A) + r : (long)r * (STRIDE_A) + k];                \
                EACH(v, STRIP_VECTORS) sum[r][v] += a * b[v];                                                          \
            }                                                                                                          \
        }                                                                                                              \
        if (SHORT_EPILOGUE && finish) {                                                                                \
            EACH(r, TILE) EACH(v, STRIP_VECTORS) FINISH(r, v);                                                         \
            return;                                                                                                    \
        }                                                                                                              \
        EACH(r, TILE) EACH(v, STRIP_VECTORS) STORE(sum[r][v], v, sums + r * COLUMNS);                                  \
    }

#define FULL_TILE_STRIDE (PACK_A ? PACKED_A_STRIDE : stride_a)
DEFINE_MULTIPLY_TILE(multiply_full_tile, TILE_ROWS, FULL_TILE_STRIDE, FETCH_SOME)
#define COPIES_B (!TRANSPOSED_B && !GATHERED_B && !JOINED)
#if COPIES_B
/* Packs the strip on the way: waiting for B then costs nothing. */
DEFINE_MULTIPLY_TILE(multiply_and_pack, TILE_ROWS, FULL_TILE_STRIDE,
                     EACH(v, STRIP_VECTORS) STORE(b[v], k * STRIP_VECTORS + v, copy))
#endif
#if TILE_ROWS > 8
DEFINE_MULTIPLY_TILE(multiply_8_rows, 8, stride_a, )
#endif
DEFINE_MULTIPLY_TILE(multiply_4_rows, 4, stride_a, )
DEFINE_MULTIPLY_TILE(multiply_1_row, 1, stride_a, )

#if !FOLDED
/* What is left below the full tiles is cut into tiles of 8 rows, 4 and 1. More sizes would take longer to compile than
 * they save. Of 12 rows and 4, the last would take almost as long as 8. */
static int tile_rows(int left)
{
    if (TILE_ROWS > 8 && left == 16) return 8;
    return left >= TILE_ROWS ? TILE_ROWS : left >= 8 ? 8 : left >= 4 ? 4 : 1;
}
#endif

/* With `copy`, which takes a full tile, the strip is copied there. */
ONE_COPY void multiply_tile(int rows, TILE_PARAMETERS)
{
#if COPIES_B
    if (copy) {
        multiply_and_pack(TILE_ARGUMENTS);
        return;
    }
#endif
    if (rows == TILE_ROWS) multiply_full_tile(TILE_ARGUMENTS);
#if TILE_ROWS > 8
    else if (rows == 8)
        multiply_8_rows(TILE_ARGUMENTS);
#endif
    else if (rows == 4)
        multiply_4_rows(TILE_ARGUMENTS);
    else
        multiply_1_row(TILE_ARGUMENTS);
}

#if !FOLDED
/* A tile's rows, all their columns side by side in `sums`; with JOINED, segment by segment. */
static void store_rows(PARAMETERS, int batch, int row, int rows, int column, int columns, __global const REAL *sums,
                       int stride)
{
    for (int r = 0; r < rows; r++, sums += stride) {
        int j = 0;
#if JOINED
        for (int at = column % SEGMENT, end; j < columns; j = end, at = 0) {
            end = min(columns, j + SEGMENT - at);
            const int of = (column + j) / SEGMENT, first = at - j;
            for (; j + LANES <= end; j += LANES) epilogue_vector(ARGUMENTS, of, row + r, first + j, LOAD(0, sums + j));
            for (; j < end; j++) epilogue_scalar(ARGUMENTS, of, row + r, first + j, sums[j]);
        }
#else
        for (; j + LANES <= columns; j += LANES)
            epilogue_vector(ARGUMENTS, batch, row + r, column + j, LOAD(0, sums + j));
        for (; j < columns; j++) epilogue_scalar(ARGUMENTS, batch, row + r, column + j, sums[j]);
#endif
    }
}

/* Rows [i, i + rows) of A from column k on, packed where that pays; sets their stride, and what is to be packed before
 * the tiles that follow. */
static __global const REAL *left_operand(PARAMETERS, int batch, int stretch, int i, int rows, int bottom, int tile,
                                         int k, int depth, __global REAL *restrict packed_a, int *stride_a,
                                         packing_of_a *packing)
{
    __global const REAL *A = OPERAND_A(batch) + stretch * STRETCH_A;
    *stride_a = LEADING_A;
#if GATHERED_A
    for (int first = 0; first < depth; first += GATHERED_COLUMNS)
        gather_a(ARGUMENTS, A - START_A, i, rows, k + first, min(GATHERED_COLUMNS, depth - first), packed_a + first,
                 PACKED_A_STRIDE);
    *stride_a = PACKED_A_STRIDE;
    return packed_a;
#else
    if (!PACK_A || rows != TILE_ROWS) return A + (TRANSPOSED_A ? (long)k * LEADING_A + i : (long)i * LEADING_A + k);
    *stride_a = PACKED_A_STRIDE;
    const int buffer = tile / PACKED_TILES % PACKED_BUFFERS, other = PACKED_BUFFERS - 1 - buffer;
    __global REAL *const packed = packed_a + buffer * PACKED_BUFFER_SIZE;
    if (tile % PACKED_TILES == 0) {
        /* What is narrower than a piece is packed when it is due, too. */
        const bool on_the_way = PACKS_ON_THE_WAY ? depth >= (TRANSPOSED_A ? 0 : PIECE) : false;
        if (tile == 0 || !on_the_way) *packing = tiles_to_pack(A, LEADING_A, i, bottom, k, depth, packed);
        pack_rows(packing, TRANSPOSED_A ? PACKED_TILE_SIZE : PIECE);
        *packing = tiles_to_pack(A, LEADING_A, i + PACKED_TILES * TILE_ROWS, on_the_way ? bottom : 0, k, depth,
                                 packed_a + other * PACKED_BUFFER_SIZE);
    }
    return packed + tile % PACKED_TILES * PACKED_TILE_SIZE;
#endif
}
#endif

#if SLIDING
#define PLANE (PITCH * (PANEL_LINES + REACH_LINES) + BORDER)
#endif
#if SLIDING && !FOLDED
#define UNITS_AT_ONCE (DEPTH / UNIT)
#define PLANES_SIZE (min(SIZE_K / UNIT, UNITS_AT_ONCE) * PHASES * PLANE + 3 * LANES)
#define JOINED_STRIDE (COLUMNS + LANES)
/* From one line of sums to the next. */
#define LINE_OF_SUMS (SPAN ? SPAN : PITCH)

/* Leaves out what lies between the lines of each row of sums. */
static void join_lines(PARAMETERS, int rows, int lines, int places, __global const REAL *restrict sums,
                       __global REAL *restrict joined)
{
    for (int r = 0; r < rows; r++)
        for (int line = 0; line < lines; line++)
            for (int x = 0; x < places; x += LANES)
                STORE(LOAD(0, sums + r * COLUMNS + line * LINE_OF_SUMS + x), 0,
                      joined + r * JOINED_STRIDE + line * places + x);
}

/* Rows [top, bottom) of one panel of C, summed over k in blocks of equal depth. */
ONE_COPY void multiply_panel(PARAMETERS, int batch, int top, int bottom, int panel, const int *place_of_row,
                             __global REAL *planes)
{
    const int across = (PLACES + PANEL_PLACES - 1) / PANEL_PLACES, down = (LINES + PANEL_LINES - 1) / PANEL_LINES;
    const int place = panel % across * PANEL_PLACES, line = panel / across % down * PANEL_LINES;
    const int image = panel / (across * down);
    const int places = min(PANEL_PLACES, PLACES - place), lines = min(PANEL_LINES, LINES - line);
    const int spans = SPAN ? lines : 1, computed = SPAN ? places : (lines - 1) * PITCH + places;
    const int first_column = (image * LINES + line) * PLACES + place;
    const int units = SIZE_K / UNIT, blocks = (units + UNITS_AT_ONCE - 1) / UNITS_AT_ONCE;
    const int units_of_block = (units + blocks - 1) / blocks;
    /* Joining reads up to LANES - 1 elements beyond the sums. */
    __global REAL *packed_a = planes + PLANES_SIZE, *partial = packed_a + PACKED_A_SIZE;
    __global REAL *joined = partial + (long)(blocks > 1 ? ROWS : TILE_ROWS) * COLUMNS;

    for (int unit = 0; unit < units; unit += units_of_block) {
        const int k = unit * UNIT, depth = min(units_of_block, units - unit) * UNIT;
        const bool last = unit + units_of_block >= units;
        gather_b(ARGUMENTS, OPERAND_B(batch) - START_B, unit, depth / UNIT, image, line, lines + REACH_LINES, place,
                 places + REACH_PLACES, PITCH, PLANE, planes);
        packing_of_a packing = {0, 0, 0, 0, 0, 0, 0};
        for (int i = top, tile = 0, rows; i < bottom; i += rows, tile++) {
            int stride_a;
            rows = tile_rows(bottom - i);
            __global const REAL *A =
                left_operand(ARGUMENTS, batch, 0, i, rows, bottom, tile, k, depth, packed_a, &stride_a, &packing);
            __global REAL *sums = partial + (blocks > 1 ? (long)(i - top) * COLUMNS : 0);
            for (int y = 0; y < spans; y++)
                for (int j = 0; j < computed; j += STRIP)
                    multiply_tile(rows, ARGUMENTS, batch, i, 0, A, stride_a, planes + y * PITCH + j, 0, depth,
                                  sums + y * SPAN + j, unit > 0, false, 0, 0, 0, place_of_row);
            if (last) {
                if (lines > 1 && places % LANES != 0) {
                    join_lines(ARGUMENTS, rows, lines, places, sums, joined);
                    store_rows(ARGUMENTS, batch, i, rows, first_column, lines * places, joined, JOINED_STRIDE);
                } else {
                    for (int y = 0; y < lines; y++)
                        store_rows(ARGUMENTS, batch, i, rows, first_column + y * places, places,
                                   sums + y * LINE_OF_SUMS, COLUMNS);
                }
            }
        }
    }
}
#elif !FOLDED
/* A matrix of `depth` steps of k times `size` rows or columns, stored along k or across. */
static coming_lines coming_matrix(__global const REAL *from, int leading, bool along_k, int depth, int size)
{
    const int width = along_k ? depth : size;
    coming_lines coming = {from, from + width, leading, width, along_k ? size : depth};
    return coming;
}

/* Rows [top, bottom) of one panel of C, summed over k in blocks of equal depth. */
ONE_COPY void multiply_panel(PARAMETERS, int batch, int top, int bottom, int first_column, int next_column,
                             __global REAL *packed_b)
{
    const int columns = min(COLUMNS, SIZE_N - first_column);
    const int blocks = max(1, (SIZE_K + DEPTH - 1) / DEPTH), block_depth = (SIZE_K + blocks - 1) / blocks;
    /* Full strips, up to this column, are read in place by the first tile, which packs them for the others, if those
     * are worth it. */
    const int direct = TRANSPOSED_B || GATHERED_B || JOINED ? 0 : columns / STRIP * STRIP;
    const bool packs = bottom - top >= ROWS_WORTH_PACKING;
    /* Full strips are finished by the tiles themselves where the epilogue is short. */
    const int full = columns / STRIP * STRIP, finished = SHORT_EPILOGUE ? full : 0;
    __global REAL *packed_a = packed_b + PACKED_B_SIZE, *partial = packed_a + PACKED_A_SIZE;

    for (int block = 0; block < blocks * STRETCHES; block++) {
        const int stretch = STRETCHES > 1 ? block / blocks : 0, k = (block - stretch * blocks) * block_depth;
        const int depth = min(block_depth, SIZE_K - k);
        __global const REAL *B = OPERAND_B(batch) + stretch * STRETCH_B;
        coming_lines none = {0, 0, 0, 0, 0}, coming_b = none;
        packing_of_a packing = {0, 0, 0, 0, 0, 0, 0};
        const bool last = block == blocks * STRETCHES - 1;
#if GATHERED_B
        for (int j = 0; j < columns; j += STRIP)
            gather_b(ARGUMENTS, B - START_B, k, depth, first_column + j, min(STRIP, columns - j),
                     packed_b + j * STRIP_DEPTH, STRIP);
#elif JOINED
        pack_segments(B + (long)k * LEADING_B, LEADING_B, SEGMENT_STRIDE, SEGMENT, first_column, columns, depth,
                      (long)(SIZE_N / SEGMENT - 1) * SEGMENT_STRIDE + (long)(SIZE_K - 1 - k) * LEADING_B + SEGMENT,
                      packed_b, STRIP_DEPTH);
#else
        const long offset = TRANSPOSED_B ? (long)first_column * LEADING_B + k : (long)k * LEADING_B + first_column;
        const long size_b = (long)(TRANSPOSED_B ? SIZE_N - 1 : SIZE_K - 1) * LEADING_B +
                            (TRANSPOSED_B ? SIZE_K : SIZE_N);
        B += offset;
        if (direct < columns)
            pack_columns(B + direct, LEADING_B, columns - direct, depth, size_b - offset - direct,
                         packed_b + direct * STRIP_DEPTH, STRIP_DEPTH);
        if (!last)
            coming_b = coming_matrix(B + (TRANSPOSED_B ? block_depth : (long)block_depth * LEADING_B), LEADING_B,
                                     TRANSPOSED_B, depth, columns);
        else if (next_column < SIZE_N)
            coming_b = coming_matrix(OPERAND_B(batch) + (TRANSPOSED_B ? (long)next_column * LEADING_B : next_column),
                                     LEADING_B, TRANSPOSED_B, depth, min(COLUMNS, SIZE_N - next_column));
#endif
        for (int i = top, tile = 0, rows; i < bottom; i += rows, tile++) {
            rows = tile_rows(bottom - i);
            int stride_a;
            __global const REAL *A =
                left_operand(ARGUMENTS, batch, stretch, i, rows, bottom, tile, k, depth, packed_a, &stride_a, &packing);
            __global REAL *sums = partial + (blocks * STRETCHES > 1 ? (long)(i - top) * COLUMNS : 0);
            coming_lines *const coming = bottom - i < TILES_AHEAD * TILE_ROWS ? &coming_b : &none;
            for (int j = 0; j < columns; j += STRIP) {
                __global REAL *packed = packed_b + j * STRIP_DEPTH;
                const bool in_place = j < direct && (i == top || !packs);
                __global const REAL *strip = in_place ? B + j : packed;
                const int stride_b = in_place ? LEADING_B : STRIP;
                multiply_tile(rows, ARGUMENTS, batch, i, first_column + j, A, stride_a, strip, stride_b, depth,
                              sums + j, block > 0, last && j < full, &packing, coming,
                              in_place && packs ? packed : 0, 0);
            }
            if (last && finished < columns)
                store_rows(ARGUMENTS, batch, i, rows, first_column + finished, columns - finished, sums + finished,
                           COLUMNS);
        }
    }
}
#endif

#if !FOLDED
CG_ENTRY(1) KERNEL_NAME(CG_TURN_PARAMETERS PARAMETERS)
{
    const int top = CG_TURN(0) * ROWS, bottom = min(SIZE_M, top + ROWS);
    const int group = (CG_TURN(2) * CG_TURNS(1) + CG_TURN(1)) * CG_TURNS(0) + CG_TURN(0);
    const long partial_size = (long)(SIZE_K > DEPTH || STRETCHES > 1 ? ROWS : TILE_ROWS) * COLUMNS;
#if SLIDING
    const long scratch_size = PLANES_SIZE + TILE_ROWS * JOINED_STRIDE + PACKED_A_SIZE + partial_size;
    const int panels = (PLACES + PANEL_PLACES - 1) / PANEL_PLACES * ((LINES + PANEL_LINES - 1) / PANEL_LINES) *
                       (SIZE_N / (PLACES * LINES));
    int place_of_row[DEPTH];

    CG_JOIN(gather_b, _places)(ARGUMENTS, min(SIZE_K / UNIT, UNITS_AT_ONCE), PLANE, PITCH, place_of_row);
    for (int batch = CG_TURN(2); batch < BATCHES; batch += CG_TURNS(2))
        for (int panel = CG_TURN(1); panel < panels; panel += CG_TURNS(1))
            multiply_panel(ARGUMENTS, batch, top, bottom, panel, place_of_row, SCRATCH + group * scratch_size);
#else
    const long scratch_size = PACKED_B_SIZE + PACKED_A_SIZE + partial_size;
    const int step = CG_TURNS(1) * COLUMNS;

    for (int batch = CG_TURN(2); batch < BATCHES; batch += CG_TURNS(2))
        for (int column = CG_TURN(1) * COLUMNS; column < SIZE_N; column += step)
            multiply_panel(ARGUMENTS, batch, top, bottom, column, column + step, SCRATCH + group * scratch_size);
#endif
}
#endif

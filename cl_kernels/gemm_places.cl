/* C[M,N] = epilogue(A[M,K] B[K,N]) as one launch for a CPU, in batches, where the rows of A are mostly the same
 * elements, some places or lines further on, and B is stored [N,K]: the gradient of a convolution's kernel, a sum over
 * all places of all images. Both operands lie along K, so that is where the vectors run, and nothing is transposed.
 *
 * A work-group is one work-item. It owns UNITS units of rows and COLUMNS columns of C, and goes over K by blocks of
 * IMAGES_AT_ONCE images, of LINES_AT_ONCE of their lines. Of A it gathers planes (gather.cl), once for all the rows
 * that read them, UNITS_AT_ONCE units at a time; of B it packs as many columns as a tile has. A tile of sums then stays
 * in registers for the whole block. It touches nothing but its operands, its part of SCRATCH and what epilogue_vector
 * and epilogue_scalar store.
 *
 * The text in front of this file is prelude.cl and what defines KERNEL_NAME, PARAMETERS, ARGUMENTS, gather_a with its
 * numbers, the two epilogue functions and, as
 *   types and constants     REAL, REAL_IS_DOUBLE, LANES, TILE_ROWS, MOST_ROWS
 *   run-time expressions    OPERAND_A(batch), OPERAND_B(batch), START_A, SCRATCH, SIZE_M, SIZE_N, LEADING_B, BATCHES,
 *                           STRETCHES, STRETCH_A, STRETCH_B, UNITS, COLUMNS, UNITS_AT_ONCE, IMAGES_AT_ONCE,
 *                           LINES_AT_ONCE, PLACES, LINES, OUTER, REACH_PLACES, REACH_LINES, BORDER, UNIT, PHASES
 * COLUMNS is a multiple of TILE_COLUMNS, UNITS_AT_ONCE have MOST_ROWS rows at most. K is STRETCHES times OUTER images
 * of LINES of PLACES; engine/gemm_plan.h says what the other words mean. The names in PARAMETERS must not be names of
 * variables below: a common prefix keeps them apart. engine/gemm_places.c chooses the numbers and knows how much
 * scratch that takes. */
#if REAL_IS_DOUBLE
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#define LANE_NUMBER long
#else
#define LANE_NUMBER int
#endif

/* A program may hold several of these kernels: each has its functions under names of its own. */
#define OWN(name) CG_JOIN(KERNEL_NAME, name)
#define four_lanes OWN(_four_lanes)
#define sums_of_lanes OWN(_sums_of_lanes)
#define sum_tile OWN(_sum_tile)
#define sum_masked_tile OWN(_sum_masked_tile)
#define copy_line OWN(_copy_line)
#define pack_columns OWN(_pack_columns)
#define add_block OWN(_add_block)
#define store_sums OWN(_store_sums)

#define VECTOR CG_JOIN(REAL, LANES)
#define LOAD CG_JOIN(vload, LANES)
#define STORE CG_JOIN(vstore, LANES)
#define EACH(i, count) _Pragma("unroll") for (int i = 0; i < (count); i++)
#define TILE_COLUMNS 4
#define FOUR CG_JOIN(REAL, 4)
#define MASK CG_JOIN(LANE_NUMBER, LANES)

/* Lines of a plane share the zeros that they begin and end with. What belongs to them in a packed column has the same
 * pitch, so vectors run on from line to line. */
#define PITCH (PLACES + REACH_PLACES - BORDER)
#define PLANE (PITCH * (LINES_AT_ONCE + REACH_LINES) + BORDER)
#define PLANES_OF_IMAGE (UNITS_AT_ONCE * PHASES * PLANE)
#define VECTORS_OF(lines) ((((lines)-1) * PITCH + PLACES + LANES - 1) / LANES)
#define PACKED_COLUMN (VECTORS_OF(LINES_AT_ONCE) * LANES)
/* The last line of the last plane is read, and written to, up to a vector beyond its end; a packed column is written
 * to. */
#define PLANES_SIZE (IMAGES_AT_ONCE * PLANES_OF_IMAGE + 2 * LANES)
#define PACKED_SIZE (IMAGES_AT_ONCE * TILE_COLUMNS * PACKED_COLUMN + LANES)

static FOUR four_lanes(VECTOR x)
{
#if LANES == 16
    const CG_JOIN(REAL, 8) half_of_x = x.lo + x.hi;
    return half_of_x.lo + half_of_x.hi;
#elif LANES == 8
    return x.lo + x.hi;
#else
    return x;
#endif
}

/* Of the four vectors of a row of sums. */
static FOUR sums_of_lanes(const VECTOR x[TILE_COLUMNS])
{
    FOUR four[TILE_COLUMNS];
    EACH(c, TILE_COLUMNS) four[c] = four_lanes(x[c]);
    const FOUR low = (FOUR)(four[0].even, four[1].even) + (FOUR)(four[0].odd, four[1].odd);
    const FOUR high = (FOUR)(four[2].even, four[3].even) + (FOUR)(four[2].odd, four[3].odd);
    return (FOUR)(low.even, high.even) + (FOUR)(low.odd, high.odd);
}

/* One line, without a place more. Memory is asked for what lies `ahead`. */
static void copy_line(__global const REAL *restrict from, int places, long ahead, __global REAL *restrict to)
{
    int x = 0;
    for (int line = 0; line < places; line += LANES) CG_FETCH(from + ahead + line);
    for (; x + LANES <= places; x += LANES) STORE(LOAD(0, from + x), 0, to + x);
    if (places >= LANES)
        STORE(LOAD(0, from + places - LANES), 0, to + places - LANES);
    else
        for (; x < places; x++) to[x] = from[x];
}

/* packed[image][column]: what belongs to these lines of so many columns from `column` on. What lies between lines and
 * fills up the last vector is 0, columns past the last repeat it. */
static void pack_columns(PARAMETERS, int batch, int column, int columns, int image, int images, int line, int lines,
                         __global REAL *restrict packed)
{
    for (int i = image; i < image + images; i++) {
        __global const REAL *of_image = OPERAND_B(batch) + i / OUTER * STRETCH_B +
                                        (long)(i % OUTER * LINES + line) * PLACES;
        for (int c = 0; c < TILE_COLUMNS; c++, packed += PACKED_COLUMN) {
            __global const REAL *from = of_image + (long)(column + min(c, columns - 1)) * LEADING_B;
            for (int y = 0; y < lines; y++) {
                __global REAL *to = packed + y * PITCH;
                for (int x = PLACES; x <= (y < lines - 1 ? PITCH : PLACES); x += LANES) STORE((VECTOR)0, 0, to + x);
                copy_line(from + y * PLACES, PLACES, TILE_COLUMNS * (long)LEADING_B, to);
            }
        }
    }
}

/* sums[r * COLUMNS + c] (= or +=) what a block of K contributes to some rows and to the columns that are packed. Rows
 * past the last repeat it. What lies between lines in a plane belongs to other rows: it meets a 0 in what is packed,
 * which leaves nothing of it unless it is infinite or NaN. With MASKED it is left out. Without, false says that a sum is
 * not finite. */
#define DEFINE_SUM_TILE(NAME, MASKED)                                                                                  \
    __attribute__((noinline)) static bool NAME(                                                                        \
        PARAMETERS, __global const REAL *restrict planes, const int *place_of_row, int rows,                           \
        __global const REAL *restrict packed, int images, int lines, bool accumulate, __global REAL *restrict sums)    \
    {                                                                                                                  \
        VECTOR sum[TILE_ROWS][TILE_COLUMNS], b[TILE_COLUMNS];                                                          \
        FOUR total[TILE_ROWS];                                                                                         \
        long place[TILE_ROWS];                                                                                         \
        bool finite = true;                                                                                            \
        const int vectors = VECTORS_OF(lines), pitch = PITCH;                                                          \
        const long column = PACKED_COLUMN;                                                                             \
        EACH(r, TILE_ROWS) EACH(c, TILE_COLUMNS) sum[r][c] = 0;                                                        \
        EACH(r, TILE_ROWS) place[r] = place_of_row[min(r, rows - 1)];                                                  \
        for (int image = 0; image < images; image++) {                                                                 \
            __global const REAL *a = planes + image * PLANES_OF_IMAGE;                                                 \
            __global const REAL *from = packed + image * TILE_COLUMNS * column;                                        \
            for (int i = 0; i < vectors; i++, a += LANES, from += LANES) {                                             \
                const MASK at = CG_LANE_NUMBERS(LANE_NUMBER, LANES) + (LANE_NUMBER)(i * LANES);                        \
                const MASK inside = at - at / (LANE_NUMBER)pitch * (LANE_NUMBER)pitch < (LANE_NUMBER)PLACES;           \
                EACH(c, TILE_COLUMNS) b[c] = LOAD(0, from + c * column);                                               \
                EACH(r, TILE_ROWS)                                                                                     \
                {                                                                                                      \
                    const VECTOR any = LOAD(0, a + place[r]), x = MASKED ? select((VECTOR)0, any, inside) : any;       \
                    EACH(c, TILE_COLUMNS) sum[r][c] += x * b[c];                                                       \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
        EACH(r, TILE_ROWS)                                                                                             \
        {                                                                                                              \
            total[r] = sums_of_lanes(sum[r]);                                                                          \
            finite &= all(isfinite(total[r]));                                                                         \
        }                                                                                                              \
        if (!MASKED && !finite) return false;                                                                          \
        EACH(r, TILE_ROWS)                                                                                             \
        {                                                                                                              \
            __global REAL *to = sums + r * COLUMNS;                                                                    \
            if (r < rows) vstore4(accumulate ? vload4(0, to) + total[r] : total[r], 0, to);                            \
        }                                                                                                              \
        return true;                                                                                                   \
    }

DEFINE_SUM_TILE(sum_tile, false)
DEFINE_SUM_TILE(sum_masked_tile, true)

/* Adds a block of K to all sums of a work-group. */
static void add_block(PARAMETERS, int batch, int first_unit, int units, int first_column, int columns, int image,
                      int images, int line, int lines, const int *place_of_row, __global REAL *planes,
                      __global REAL *sums)
{
    __global REAL *packed = planes + PLANES_SIZE;
    for (int unit = 0; unit < units; unit += UNITS_AT_ONCE) {
        const int together = min(UNITS_AT_ONCE, units - unit), rows = together * UNIT;
        for (int i = 0; i < images; i++)
            gather_a(ARGUMENTS, OPERAND_A(batch) - START_A + (image + i) / OUTER * STRETCH_A, first_unit + unit,
                     together, (image + i) % OUTER, line, lines + REACH_LINES, 0, PLACES + REACH_PLACES, PITCH,
                     PLANE, planes + i * PLANES_OF_IMAGE);
        for (int c = 0; c < columns; c += TILE_COLUMNS) {
            pack_columns(ARGUMENTS, batch, first_column + c, columns - c, image, images, line, lines, packed);
            for (int r = 0; r < rows; r += TILE_ROWS) {
                __global REAL *to = sums + (unit * UNIT + r) * COLUMNS + c;
                const bool accumulate = image + line > 0;
                if (!sum_tile(ARGUMENTS, planes, place_of_row + r, rows - r, packed, images, lines, accumulate, to))
                    sum_masked_tile(ARGUMENTS, planes, place_of_row + r, rows - r, packed, images, lines, accumulate,
                                    to);
            }
        }
    }
}

static void store_sums(PARAMETERS, int batch, int row, int rows, int column, int columns, __global const REAL *sums)
{
    for (int r = 0; r < rows; r++, sums += COLUMNS) {
        int j = 0;
        for (; j + LANES <= columns; j += LANES)
            epilogue_vector(ARGUMENTS, batch, row + r, column + j, LOAD(0, sums + j));
        for (; j < columns; j++) epilogue_scalar(ARGUMENTS, batch, row + r, column + j, sums[j]);
    }
}

CG_ENTRY(1) KERNEL_NAME(CG_TURN_PARAMETERS PARAMETERS)
{
    const int group = (CG_TURN(2) * CG_TURNS(1) + CG_TURN(1)) * CG_TURNS(0) + CG_TURN(0);
    const int first_unit = CG_TURN(0) * UNITS, units = min(UNITS, SIZE_M / UNIT - first_unit);
    const int first_column = CG_TURN(1) * COLUMNS, columns = min(COLUMNS, SIZE_N - first_column);
    const long scratch_size = PLANES_SIZE + PACKED_SIZE + (long)UNITS * UNIT * COLUMNS;
    __global REAL *planes = SCRATCH + group * scratch_size, *sums = planes + PLANES_SIZE + PACKED_SIZE;
    int place_of_row[MOST_ROWS];

    CG_JOIN(gather_a, _places)(ARGUMENTS, UNITS_AT_ONCE, PLANE, PITCH, place_of_row);
    for (int batch = CG_TURN(2); batch < BATCHES; batch += CG_TURNS(2)) {
        for (int image = 0; image < STRETCHES * OUTER; image += IMAGES_AT_ONCE)
            for (int line = 0; line < LINES; line += LINES_AT_ONCE)
                add_block(ARGUMENTS, batch, first_unit, units, first_column, columns, image,
                          min(IMAGES_AT_ONCE, STRETCHES * OUTER - image), line, min(LINES_AT_ONCE, LINES - line),
                          place_of_row, planes, sums);
        store_sums(ARGUMENTS, batch, first_unit * UNIT, units * UNIT, first_column, columns, sums);
    }
}

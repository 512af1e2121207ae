/* A product whose columns are the places of windows, folded where it is computed: each element of the result is the sum
 * of what the windows over it hold of it. A row of A is an element of a channel's windows, a row of B one of SIZE_K
 * images of places.
 *
 * Elements of the result whose coordinates leave the same remainders by the strides are a phase. It is a product of its
 * own, of those rows of A that are ever added to it and of rows of B that are the images, some places further on: sums
 * stay in registers, and nothing is added up in memory. Phases next to each other along x are computed one after the
 * other, and interleaved when they are stored.
 *
 * The text in front of this file is prelude.cl and what defines PARAMETERS, ARGUMENTS, REAL, TILE_ROWS (to pack) or
 * gemm_packed.cl as FOLDED leaves it, with gather_b; and as run-time expressions, of z, y and x in turn, EXTENT_,
 * DILATION_, STRIDE_, SIZE_ of the result, SHIFT_, by which a window's first element lies behind a multiple of the
 * stride, STEP_ from one of a phase's elements of windows to the next, and how many places more than it has a phase
 * reads, REACH_; FIRST_LINE, the line of an image that the first line of a phase reads, and how many LINES_B it has.
 *
 * With PACKING, it packs A for the other kernel: kernels[phase][tile of TILE_ROWS channels][k][channel], rows past the
 * last repeating it. A phase's k are its windows' elements along y, of each those along z, images, and those along x:
 * elements along y that read nothing but what lies above or below an image are then the first or the last k, and are
 * left out. */
#if PACKING
#define OWN(name) CG_JOIN(KERNEL_NAME, name)
#endif
#define phase_begin OWN(_phase_begin)
#define phase_count OWN(_phase_count)
#define phase_start OWN(_phase_start)

/* The first element of windows in a phase of one axis; `extent` if there is none. */
static int phase_begin(int phase, int extent, int dilation, int stride, int shift, int step)
{
    for (int k = 0; k < min(step, extent); k++)
        if ((k * dilation + shift) % stride == phase) return k;
    return extent;
}

static int phase_count(int begin, int extent, int step)
{
    return (extent - begin + step - 1) / step;
}

/* How many elements the phases before one have. */
static int phase_start(int phase, int extent, int dilation, int stride, int shift, int step)
{
    int start = 0;
    for (int before = 0; before < phase; before++)
        start += phase_count(phase_begin(before, extent, dilation, stride, shift, step), extent, step);
    return start;
}

#define AXIS(c) EXTENT_##c, DILATION_##c, STRIDE_##c, SHIFT_##c, STEP_##c
/* For each phase, whose number is phase_z, phase_y and phase_x: its first elements and how many it has. */
#define EACH_PHASE(c)                                                                                                  \
    for (int phase_##c = 0, begin_##c, count_##c;                                                                      \
         phase_##c < STRIDE_##c && (begin_##c = phase_begin(phase_##c, AXIS(c)),                                       \
                                   count_##c = phase_count(begin_##c, EXTENT_##c, STEP_##c), true);                    \
         phase_##c++)
/* How many places of those that phases read come before the one that an element of a window is from. */
#define PLACES_BEFORE(c) (REACH_##c - (c * DILATION_##c + SHIFT_##c) / STRIDE_##c)
#define EACH_ELEMENT(c) for (int c = begin_##c; c < EXTENT_##c; c += STEP_##c)
/* The windows' elements that come before those of a phase. */
#define ELEMENTS_BEFORE                                                                                                \
    (phase_start(phase_z, AXIS(z)) * EXTENT_y * EXTENT_x +                                                             \
     count_z * (phase_start(phase_y, AXIS(y)) * EXTENT_x + count_y * phase_start(phase_x, AXIS(x))))
#define ELEMENTS (EXTENT_z * EXTENT_y * EXTENT_x)

#if PACKING
CG_ENTRY(1) KERNEL_NAME(CG_TURN_PARAMETERS PARAMETERS)
{
    const int tile = CG_TURN(0), first = CG_TURN(1) * IMAGES_EACH;
    EACH_PHASE(z) EACH_PHASE(y) EACH_PHASE(x)
    {
        const int count = count_z * count_y * count_x;
        __global REAL *to = KERNELS + ((long)ELEMENTS_BEFORE * CG_TURNS(0) + (long)tile * count) * SIZE_K * TILE_ROWS;
        to += (long)first * count_x * TILE_ROWS;
        EACH_ELEMENT(y) EACH_ELEMENT(z)
        {
            __global REAL *next = to;
            to += (long)SIZE_K * count_x * TILE_ROWS;
            for (int image = first; image < min(SIZE_K, first + IMAGES_EACH); image++)
                EACH_ELEMENT(x)
                {
                    const int element = (z * EXTENT_y + y) * EXTENT_x + x;
                    for (int r = 0; r < TILE_ROWS; r++, next++)
                        *next = OPERAND_A[(min(tile * TILE_ROWS + r, CHANNELS - 1) * (long)ELEMENTS + element) *
                                              STRIDE_M +
                                          (long)image * STRIDE_K];
                }
        }
    }
}
#else
#define interleave OWN(_interleave)
#define multiply_lines OWN(_multiply_lines)
#define store_line OWN(_store_line)
#define SUMS_OF_PHASE (TILE_ROWS * COLUMNS)
#define SLICES (REACH_z + 1)
#define PLANES_SIZE (SIZE_K * SLICES * PLANE + 3 * LANES)

/* `places` of each of the phases along x, whose sums begin SUMS_OF_PHASE elements after one another. */
static void interleave(int phases, __global const REAL *restrict sums, int places, __global REAL *restrict to)
{
    if (phases == 2) {
        for (int i = 0; i < places; i += LANES) {
            const VECTOR even = LOAD(0, sums + i), odd = LOAD(0, sums + SUMS_OF_PHASE + i);
            VECTOR first, second;
            first.even = even.lo, first.odd = odd.lo;
            second.even = even.hi, second.odd = odd.hi;
            STORE(first, 0, to + 2 * i);
            STORE(second, 1, to + 2 * i);
        }
    } else {
        for (int phase = 0; phase < phases; phase++)
            for (int i = 0; i < places; i++) to[i * phases + phase] = sums[phase * SUMS_OF_PHASE + i];
    }
}

/* What lies within the result of a line of `count` elements from coordinate x on. */
static void store_line(PARAMETERS, int batch, int channel, int z, int y, int x, int count,
                       __global const REAL *restrict line)
{
    const int end = min(count, SIZE_x - x);
    __global REAL *to = RESULT + (((long)(batch * CHANNELS + channel) * SIZE_z + z) * SIZE_y + y) * SIZE_x + x;
    int i = 0;
    for (; i + LANES <= end; i += LANES) STORE(LOAD(0, line + i), 0, to + i);
    for (; i < end; i++) to[i] = line[i];
}

/* Of tiles, those of which at most so few rows are wanted. */
static int tile_rows(int wanted)
{
    return wanted == 1 ? 1 : wanted <= 4 ? 4 : wanted <= 8 && TILE_ROWS > 8 ? 8 : TILE_ROWS;
}

/* Sums of a tile's phase. */
ONE_COPY void multiply_lines(PARAMETERS, int rows, int lines, int places, int depth, __global const REAL *A,
                             __global const int *place_of_row, __global const REAL *planes, __global REAL *sums)
{
    const int spans = SPAN ? lines : 1, computed = SPAN ? places : (lines - 1) * PITCH + places;
    for (int y = 0; y < spans; y++)
        for (int j = 0; j < computed; j += STRIP)
            multiply_tile(rows, ARGUMENTS, 0, 0, 0, A, TILE_ROWS, planes + y * PITCH + j, 0, depth, sums + y * SPAN + j,
                          false, false, 0, 0, 0, place_of_row);
}

/* A part of the phases of one slice, of channels [top, bottom). */
ONE_COPY void multiply_panel(PARAMETERS, int batch, int top, int bottom, int panel, __global const int *place_of_row,
                             __global REAL *planes)
{
    const int across = (PLACES + PANEL_PLACES - 1) / PANEL_PLACES, down = (LINES + PANEL_LINES - 1) / PANEL_LINES;
    const int place = panel % across * PANEL_PLACES, line = panel / across % down * PANEL_LINES;
    const int slice = panel / (across * down), tiles = (CHANNELS + TILE_ROWS - 1) / TILE_ROWS;
    const int places = min(PANEL_PLACES, PLACES - place), lines = min(PANEL_LINES, LINES - line);
    __global REAL *sums = planes + PLANES_SIZE, *joined = sums + STRIDE_x * SUMS_OF_PHASE;

    gather_b(ARGUMENTS, OPERAND_B(batch) - START_B + FIRST_B, 0, SIZE_K * SLICES, slice, line, lines + REACH_LINES,
             place, places + REACH_PLACES, PITCH, PLANE, planes);
    for (int i = top; i < bottom; i += TILE_ROWS) {
        const int rows = min(TILE_ROWS, bottom - i);
        EACH_PHASE(z) EACH_PHASE(y)
        {
            const int z = slice * STRIDE_z + phase_z;
            if (z >= SIZE_z) continue;
            int beyond = 0, inside = 0;
            EACH_ELEMENT(y)
            {
                const int from = FIRST_LINE + line + PLACES_BEFORE(y);
                if (from >= LINES_B)
                    beyond++;
                else if (from + lines > 0)
                    inside++;
            }
            EACH_PHASE(x)
            {
                const int of_line = SIZE_K * count_z * count_x, skipped = beyond * of_line;
                const long before = (long)ELEMENTS_BEFORE * SIZE_K, tile = (long)(i / TILE_ROWS) * count_y * of_line;
                multiply_lines(ARGUMENTS, tile_rows(rows), lines, places, inside * of_line,
                               KERNELS + (before * tiles + tile + skipped) * TILE_ROWS,
                               place_of_row + before + skipped, planes, sums + phase_x * SUMS_OF_PHASE);
            }
            for (int j = 0; j < lines; j++) {
                const int y = (line + j) * STRIDE_y + phase_y;
                if (y >= SIZE_y) continue;
                for (int r = 0; r < rows; r++) {
                    interleave(STRIDE_x, sums + r * COLUMNS + j * (SPAN ? SPAN : PITCH), places, joined);
                    store_line(ARGUMENTS, batch, i + r, z, y, place * STRIDE_x, places * STRIDE_x, joined);
                }
            }
        }
    }
}

CG_ENTRY(1) KERNEL_NAME(CG_TURN_PARAMETERS PARAMETERS)
{
    const int top = CG_TURN(0) * ROWS, bottom = min(CHANNELS, top + ROWS);
    const int group = (CG_TURN(2) * CG_TURNS(1) + CG_TURN(1)) * CG_TURNS(0) + CG_TURN(0);
    const int panels = (PLACES + PANEL_PLACES - 1) / PANEL_PLACES * ((LINES + PANEL_LINES - 1) / PANEL_LINES) * OUTER;
    __global int *place_of_row = (__global int *)(SCRATCH + (long)group * GROUP_SIZE), *next = place_of_row;
    __global REAL *planes = SCRATCH + (long)group * GROUP_SIZE + (long)SIZE_K * ELEMENTS;

    if (IS_STOPPED) return;
    EACH_PHASE(z) EACH_PHASE(y) EACH_PHASE(x)
    EACH_ELEMENT(y) EACH_ELEMENT(z)
    for (int image = 0; image < SIZE_K; image++)
        EACH_ELEMENT(x)
        *next++ = (image * SLICES + PLACES_BEFORE(z)) * PLANE + PLACES_BEFORE(y) * PITCH + PLACES_BEFORE(x);
    for (int batch = CG_TURN(2); batch < BATCHES; batch += CG_TURNS(2))
        for (int panel = CG_TURN(1); panel < panels; panel += CG_TURNS(1))
            multiply_panel(ARGUMENTS, batch, top, bottom, panel, place_of_row, planes);
}
#endif

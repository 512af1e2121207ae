/* Y = epilogue(convolution of images with 3x3 or 5x5 kernels, step 1) by Winograd's algorithm, as one launch for a CPU
 * (Lavin, Gray: Fast algorithms for convolutional neural networks; arXiv 1509.09308). The outputs are cut into tiles
 * of EDGE x EDGE; what a tile reads, POINTS x POINTS elements of each channel, is transformed to as many values, its
 * points. At each point apart, images times kernels is a matrix product over the channels; transforming that back
 * gives the tile.
 *
 * A work-group is one work-item. It owns some rows of Y, which are output channels, and every CG_TURNS(0)-th block of
 * TILES tiles, counted over all images. It transforms a block's images into its own part of SCRATCH, then takes
 * BLOCK_ROWS rows at a time: multiplies plane by plane, transforms back, and hands runs of outputs to the epilogue. So
 * nothing but images, kernels and Y leaves the second-level cache. Kernels were transformed by winograd_kernels.cl.
 *
 * The text in front of this file is prelude.cl and what defines KERNEL_NAME, PARAMETERS, ARGUMENTS, the two epilogue
 * functions and, as
 *   types and constants     LANES, SHORT_LANES, TILE_ROWS, EDGE, EXTENT (of kernels), TILES, BLOCK_ROWS
 *   run-time expressions    START_B, ELEMENTS_B: the storage of the images and its size; OPERAND_B(batch): where
 *                           output 0, 0 of an image begins to read channel 0, were there no border;
 *                           KERNELS, KERNEL_PLANE, SCRATCH, SIZE_M, CHANNELS, ROWS, BATCHES, STRIDE_C, STRIDE_Y,
 *                           FIRST_Y, FIRST_X, END_Y, END_X, PLACES_Y, PLACES_X, TILES_Y, TILES_X, DEEP, SLICES,
 *                           FIRST_Z, END_Z, STEP_Z, STEP_DEEP, STRIDE_Z, STRIDE_DEEP
 * Output y, x reads rows FIRST_Y + y and so on of the image, which is 0 outside [0, END_Y), and likewise along x. A
 * volume is SLICES images, and each of its channels DEEP of the CHANNELS: slice z reads of them the slices
 * FIRST_Z + z * STEP_Z + d * STEP_DEEP, which are 0 outside [0, END_Z). ROWS is a multiple of TILE_ROWS.
 * engine/winograd.c chooses all this and knows how much scratch it takes. */

#define OWN(name) CG_JOIN(KERNEL_NAME, name)
#define transform_image OWN(_transform_image)
#define transform_back OWN(_transform_back)
#define take_apart OWN(_take_apart)
#define put_together OWN(_put_together)
#define span OWN(_span)
#define find_spans OWN(_find_spans)
#define load_partly OWN(_load_partly)
#define load_columns OWN(_load_columns)
#define transform_down OWN(_transform_down)
#define transform_across OWN(_transform_across)
#define multiply_tile OWN(_multiply_tile)
#define multiply_planes OWN(_multiply_planes)
#define store_run OWN(_store_run)
#define transform_results OWN(_transform_results)
#define store_span OWN(_store_span)
#define transform_channel OWN(_transform_channel)
#define transform_images OWN(_transform_images)
#define store_rows OWN(_store_rows)
#define convolve_block OWN(_convolve_block)

#define VECTOR CG_JOIN(float, LANES)
#define LOAD CG_JOIN(vload, LANES)
#define STORE CG_JOIN(vstore, LANES)
/* Transforms run along a row of tiles, which may be short. */
#define SHORT CG_JOIN(float, SHORT_LANES)
#define SHORT_LOAD CG_JOIN(vload, SHORT_LANES)
#define SHORT_STORE CG_JOIN(vstore, SHORT_LANES)

#define POINTS (EDGE + EXTENT - 1)
#define PLANES (POINTS * POINTS)
#define STRIP (2 * LANES)
/* images[plane][channel][tile] and results[plane][row][tile]; some padding keeps planes, which are written side by
 * side, out of each other's cache sets, and takes what vectors write past the last tile. */
#define IMAGE_PLANE ((long)CHANNELS * TILES + LANES)
#define RESULT_PLANE (BLOCK_ROWS * TILES + LANES)
/* lines[point][column of a tile][tile] */
#define LINE (TILES + 2 * LANES)
#define LINES_SIZE (POINTS * EDGE * LINE)

#define ONE_COPY __attribute__((noinline)) static
#define EACH(i, count) _Pragma("unroll") for (int i = 0; i < (count); i++)

/* Along one axis, the transforms for the points 0, 1, -1 and infinity; or 0, infinity, and the roots of 1/2 and 2 of
 * either sign, which round to a quarter of the error of 1 and 2: docs/decisions/0019-winograd-within-a-product.md. */
#define ROOT_2 1.41421356f
#if POINTS == 4
static void transform_image(const SHORT *x, SHORT *y)
{
    y[0] = x[0] - x[2];
    y[1] = x[1] + x[2];
    y[2] = x[2] - x[1];
    y[3] = x[3] - x[1];
}

static void transform_back(const SHORT *x, SHORT *y)
{
    y[0] = x[0] + (x[1] + x[2]);
    y[1] = x[3] + (x[1] - x[2]);
}
#else
static void transform_image(const SHORT *x, SHORT *y)
{
    const SHORT a = x[4] - 2 * x[2], b = x[3] - 2 * x[1], c = x[4] - 0.5f * x[2], d = x[3] - 0.5f * x[1];
    y[0] = x[0] + (x[4] - 2.5f * x[2]);
    y[1] = a + (0.5f * ROOT_2) * b;
    y[2] = a - (0.5f * ROOT_2) * b;
    y[3] = c + ROOT_2 * d;
    y[4] = c - ROOT_2 * d;
    y[5] = x[1] + (x[5] - 2.5f * x[3]);
}

static void transform_back(const SHORT *x, SHORT *y)
{
    const SHORT a = x[1] + x[2], b = x[1] - x[2], c = x[3] + x[4], d = x[3] - x[4];
    y[0] = x[0] + a + c;
    y[1] = (0.5f * ROOT_2) * b + ROOT_2 * d;
#if EDGE == 2
    y[1] += x[5];
#else
    y[2] = 0.5f * a + 2 * c;
    y[3] = x[5] + (0.25f * ROOT_2) * b + (2 * ROOT_2) * d;
#endif
}
#endif

/* EDGE vectors of consecutive elements: to every EDGE-th element from 0, from 1 and so on. */
static void take_apart(SHORT *x)
{
#if EDGE == 2
    const SHORT even = (SHORT)(x[0].even, x[1].even), odd = (SHORT)(x[0].odd, x[1].odd);
    x[0] = even;
    x[1] = odd;
#else
    const SHORT even0 = (SHORT)(x[0].even, x[1].even), odd0 = (SHORT)(x[0].odd, x[1].odd);
    const SHORT even1 = (SHORT)(x[2].even, x[3].even), odd1 = (SHORT)(x[2].odd, x[3].odd);
    x[0] = (SHORT)(even0.even, even1.even);
    x[1] = (SHORT)(odd0.even, odd1.even);
    x[2] = (SHORT)(even0.odd, even1.odd);
    x[3] = (SHORT)(odd0.odd, odd1.odd);
#endif
}

/* The inverse. */
static void put_together(SHORT *x)
{
#if EDGE == 2
    const SHORT even = x[0], odd = x[1];
    x[0].even = even.lo, x[0].odd = odd.lo;
    x[1].even = even.hi, x[1].odd = odd.hi;
#else
    SHORT even0, odd0, even1, odd1;
    even0.even = x[0].lo, even0.odd = x[2].lo, odd0.even = x[1].lo, odd0.odd = x[3].lo;
    even1.even = x[0].hi, even1.odd = x[2].hi, odd1.even = x[1].hi, odd1.odd = x[3].hi;
    x[0].even = even0.lo, x[0].odd = odd0.lo, x[1].even = even0.hi, x[1].odd = odd0.hi;
    x[2].even = even1.lo, x[2].odd = odd1.lo, x[3].even = even1.hi, x[3].odd = odd1.hi;
#endif
}

/* Tiles side by side in one image: from row and column of a tile on, and from tile `at` of the block. Their outputs are
 * so many runs of such a length, with `line` elements from one row of them to the next until they are stored: one run
 * where they are whole rows of the image, which lie one behind the other, and one vector of tiles. */
typedef struct span {
    int batch, slice, row, column, count, at, runs, length, line;
} span;

/* Those of a block, of which there are that many. */
static int find_spans(PARAMETERS, int first, int end, span *spans)
{
    int count = 0;
    for (int tile = first; tile < end; tile += spans[count++].count) {
        span *s = &spans[count];
        const int row = tile / TILES_X;
        s->column = tile - row * TILES_X;
        const int image = row / TILES_Y;
        s->row = row - image * TILES_Y;
        s->batch = image / SLICES;
        s->slice = image - s->batch * SLICES;
        s->count = min(TILES_X - s->column, end - tile);
        s->at = tile - first;
        const int width = min(s->count * EDGE, PLACES_X - s->column * EDGE);
        const int height = min(EDGE, PLACES_Y - s->row * EDGE);
        const bool whole = width == PLACES_X && s->count <= SHORT_LANES;
        s->runs = whole ? 1 : height;
        s->length = whole ? height * width : width;
        s->line = whole ? PLACES_X : LINE * EDGE;
    }
    return count;
}

/* Some lanes lie outside the image. Those are read, too, where that is still in the storage. */
static SHORT load_partly(PARAMETERS, __global const float *row, int x)
{
    const long at = row + x - START_B;
    if (at >= 0 && at + SHORT_LANES <= ELEMENTS_B) {
        const CG_JOIN(uint, SHORT_LANES) places = CG_LANE_NUMBERS(uint, SHORT_LANES) + (uint)x;
        return select((SHORT)0, SHORT_LOAD(0, row + x), places < (uint)END_X);
    }
    float lane[SHORT_LANES];
    for (int i = 0; i < SHORT_LANES; i++) lane[i] = (uint)(x + i) < (uint)END_X ? row[x + i] : 0;
    return SHORT_LOAD(0, lane);
}

/* POINTS rows of an image from y on, each a vector from column x on. `image` is its row 0. */
static void load_columns(PARAMETERS, __global const float *image, int y, int x, SHORT *to)
{
    if (x + SHORT_LANES <= 0 || x >= END_X) {
        EACH(i, POINTS) to[i] = 0;
        return;
    }
    const bool whole = x >= 0 && x + SHORT_LANES <= END_X;
    EACH(i, POINTS)
    {
        __global const float *row = image + (long)(y + i) * STRIDE_Y;
        if ((uint)(y + i) >= (uint)END_Y)
            to[i] = 0;
        else
            to[i] = whole ? SHORT_LOAD(0, row + x) : load_partly(ARGUMENTS, row, x);
    }
}

/* Transforms the columns of a span and of the tiles behind it, and takes the columns of tiles apart. All that is not
 * `inside` a volume is 0. */
ONE_COPY void transform_down(PARAMETERS, const span *s, __global const float *image, bool inside,
                             __global float *restrict lines)
{
    const int y = inside ? s->row * EDGE + FIRST_Y : END_Y, x = s->column * EDGE + FIRST_X;
    for (int tile = 0; tile < s->count + (POINTS - 1) / EDGE; tile += SHORT_LANES) {
        SHORT down[POINTS][EDGE];
        EACH(v, EDGE)
        {
            SHORT column[POINTS], points[POINTS];
            load_columns(ARGUMENTS, image, y, x + tile * EDGE + v * SHORT_LANES, column);
            transform_image(column, points);
            EACH(i, POINTS) down[i][v] = points[i];
        }
        EACH(i, POINTS)
        {
            take_apart(down[i]);
            EACH(j, EDGE) SHORT_STORE(down[i][j], 0, lines + (i * EDGE + j) * LINE + tile);
        }
    }
}

/* Transforms the rows of `count` tiles. What vectors write past the last of them is written over later. */
ONE_COPY void transform_across(PARAMETERS, int count, __global const float *restrict lines,
                               __global float *restrict images)
{
    for (int tile = 0; tile < count; tile += SHORT_LANES)
        EACH(i, POINTS)
        {
            SHORT row[POINTS], points[POINTS];
            EACH(j, POINTS) row[j] = SHORT_LOAD(0, lines + (i * EDGE + j % EDGE) * LINE + j / EDGE + tile);
            transform_image(row, points);
            EACH(j, POINTS) SHORT_STORE(points[j], 0, images + (i * POINTS + j) * IMAGE_PLANE + tile);
        }
}

/* results[TILE_ROWS][STRIP] = kernels[channel][TILE_ROWS] images[channel][STRIP] */
static void multiply_tile(PARAMETERS, __global const float *restrict kernels, __global const float *restrict images,
                          __global float *restrict results)
{
    VECTOR sum[TILE_ROWS][2];
    EACH(r, TILE_ROWS) EACH(v, 2) sum[r][v] = 0;
    for (int c = 0; c < CHANNELS; c++, kernels += TILE_ROWS, images += TILES) {
        const VECTOR left = LOAD(0, images), right = LOAD(1, images);
        EACH(r, TILE_ROWS)
        {
            const VECTOR factor = kernels[r];
            sum[r][0] += factor * left;
            sum[r][1] += factor * right;
        }
    }
    EACH(r, TILE_ROWS) EACH(v, 2) STORE(sum[r][v], v, results + r * TILES);
}

ONE_COPY void multiply_planes(PARAMETERS, int row, int rows, int tiles, __global const float *restrict images,
                              __global float *restrict results)
{
    for (int p = 0; p < PLANES; p++)
        for (int tile = 0; tile < tiles; tile += STRIP)
            for (int r = 0; r < rows; r += TILE_ROWS)
                multiply_tile(ARGUMENTS, KERNELS + p * KERNEL_PLANE + (row + r) * (long)CHANNELS,
                              images + p * IMAGE_PLANE + tile, results + p * RESULT_PLANE + r * TILES + tile);
}

static void store_run(PARAMETERS, int batch, int row, int column, int count, __global const float *from)
{
    int i = 0;
    for (; i + LANES <= count; i += LANES) epilogue_vector(ARGUMENTS, batch, row, column + i, LOAD(0, from + i));
    for (; i < count; i++) epilogue_scalar(ARGUMENTS, batch, row, column + i, from[i]);
}

/* Transforms one row's results of a span back. */
ONE_COPY void transform_results(PARAMETERS, const span *s, __global const float *restrict results,
                                __global float *restrict lines)
{
    for (int tile = 0; tile < s->count; tile += SHORT_LANES) {
        SHORT down[POINTS][EDGE];
        EACH(j, POINTS)
        {
            SHORT points[POINTS];
            EACH(i, POINTS) points[i] = SHORT_LOAD(0, results + (i * POINTS + j) * RESULT_PLANE + tile);
            transform_back(points, down[j]);
        }
        EACH(i, EDGE)
        {
            SHORT points[POINTS], across[EDGE];
            EACH(j, POINTS) points[j] = down[j][i];
            transform_back(points, across);
            put_together(across);
            EACH(j, EDGE) SHORT_STORE(across[j], j, lines + i * s->line + tile * EDGE);
        }
    }
}

static void store_span(PARAMETERS, const span *s, int row, __global const float *lines)
{
    const int column = (s->slice * PLACES_Y + s->row * EDGE) * PLACES_X + s->column * EDGE;
    for (int i = 0; i < s->runs; i++)
        store_run(ARGUMENTS, s->batch, row, column + i * PLACES_X, s->length, lines + i * s->line);
}

/* Loads and transforms a span of channel c as far as downwards. */
static void transform_channel(PARAMETERS, const span *s, int c, __global float *lines)
{
    const int channel = c / DEEP, deep = c - channel * DEEP;
    const long volume = channel * (long)STRIDE_C + s->slice * (long)STRIDE_Z + deep * (long)STRIDE_DEEP;
    const bool inside = (uint)(FIRST_Z + s->slice * STEP_Z + deep * STEP_DEEP) < (uint)END_Z;
    transform_down(ARGUMENTS, s, OPERAND_B(s->batch) - FIRST_Y * (long)STRIDE_Y - FIRST_X + volume, inside, lines);
}

/* Transforms what the block reads of the images. Two spans are under way: what vectors stored is read at other places,
 * which processors would have to wait for. So are two below. */
static void transform_images(PARAMETERS, const span *spans, int count, __global float *restrict scratch,
                             __global float *restrict images)
{
    const span *before = 0;
    __global float *lines = scratch, *lines_before = scratch + LINES_SIZE, *to = 0;
    for (int c = 0; c < CHANNELS; c++)
        for (const span *s = spans; s < spans + count; s++) {
            transform_channel(ARGUMENTS, s, c, lines);
            if (before) transform_across(ARGUMENTS, before->count, lines_before, to);
            before = s, to = images + c * (long)TILES + s->at;
            __global float *const next = lines_before;
            lines_before = lines, lines = next;
        }
    transform_across(ARGUMENTS, before->count, lines_before, to);
}

static void store_rows(PARAMETERS, const span *spans, int count, int row, int rows,
                       __global const float *restrict results, __global float *restrict scratch)
{
    const span *before = 0;
    __global float *lines = scratch, *lines_before = scratch + LINES_SIZE;
    int row_before = row;
    for (int r = row; r < row + rows; r++)
        for (const span *s = spans; s < spans + count; s++) {
            transform_results(ARGUMENTS, s, results + (r - row) * TILES + s->at, lines);
            if (before) store_span(ARGUMENTS, before, row_before, lines_before);
            before = s, row_before = r;
            __global float *const next = lines_before;
            lines_before = lines, lines = next;
        }
    store_span(ARGUMENTS, before, row_before, lines_before);
}

ONE_COPY void convolve_block(PARAMETERS, int top, int bottom, int first, int end, __global float *restrict scratch)
{
    __global float *images = scratch + 2 * LINES_SIZE, *results = images + PLANES * IMAGE_PLANE;
    span spans[TILES];
    const int count = find_spans(ARGUMENTS, first, end, spans);
    transform_images(ARGUMENTS, spans, count, scratch, images);
    for (int row = top; row < bottom; row += BLOCK_ROWS) {
        const int rows = min(BLOCK_ROWS, bottom - row);
        multiply_planes(ARGUMENTS, row, rows, end - first, images, results);
        store_rows(ARGUMENTS, spans, count, row, rows, results, scratch);
    }
}

CG_ENTRY(1) KERNEL_NAME(CG_TURN_PARAMETERS PARAMETERS)
{
    const int tiles = BATCHES * SLICES * TILES_Y * TILES_X, step = CG_TURNS(0) * TILES;
    const int top = CG_TURN(1) * ROWS, bottom = min(SIZE_M, top + ROWS);
    const long scratch_size = 2 * LINES_SIZE + PLANES * (IMAGE_PLANE + RESULT_PLANE) + STRIP;
    __global float *scratch = SCRATCH + (CG_TURN(1) * CG_TURNS(0) + CG_TURN(0)) * scratch_size;
    for (int first = CG_TURN(0) * TILES; first < tiles; first += step)
        convolve_block(ARGUMENTS, top, bottom, first, min(tiles, first + TILES), scratch);
}

/* The gradient of a convolution's kernels (EXTENT x EXTENT, step 1) by Winograd's algorithm, for a CPU (Lavin, Gray: Fast
 * algorithms for convolutional neural networks; arXiv 1509.09308). Places are cut into tiles of EDGE x EDGE; the
 * cotangent of a tile and what it was computed from, POINTS x POINTS elements of each channel, are transformed to as
 * many values, their points. At each point apart, images times cotangents is a matrix product over all tiles;
 * transforming its sums back gives the gradient. winograd_sums.cl adds up what several shares of the tiles gave.
 *
 * A work-group is one work-item. It takes one block of CHANNELS and outputs after the other, and of the tiles a chunk at
 * a time: turns images and cotangents so that channels lie side by side, which fills vectors however small the images
 * are, transforms them into its part of SCRATCH, and adds their products to the block's sums there. A chunk and the
 * sums stay in the second-level cache. It touches nothing but its operands, its part of SCRATCH, and SUMS.
 *
 * The text in front of this file is prelude.cl and what defines KERNEL_NAME, PARAMETERS, ARGUMENTS and, as
 *   types and constants     LANES, TILE_ROWS, STRIP_VECTORS, EXTENT, EDGE
 *   run-time expressions    START_A, ELEMENTS_A, OPERAND_A(batch), START_B, ELEMENTS_B, OPERAND_B(batch): the storage of
 *                           the images and its size, and where output 0, 0 would begin to read channel 0 if there were
 *                           no border; the same of the cotangent's element 0, 0 of output 0;
 *                           SUMS, SUMS_WIDTH, SCRATCH, CHANNELS, SIZE_N, LEADING_B, STRETCH_A, STRETCH_B, IMAGES,
 *                           STRIDE_C, STRIDE_Y, FIRST_Y, FIRST_X, END_Y, END_X, PLACES_Y, PLACES_X, TILES_Y, TILES_X,
 *                           DEEP, SLICES, FIRST_Z, END_Z, STEP_Z, STEP_DEEP, STRIDE_Z, STRIDE_DEEP (winograd.cl);
 *                           BLOCK_CHANNELS, BLOCK_OUTPUTS, IMAGES_AT_ONCE, TILES_HIGH, TILES_WIDE, SHARES
 * IMAGES are STRETCHES of SLICES. A chunk is IMAGES_AT_ONCE images' TILES_HIGH x TILES_WIDE tiles; with several images,
 * all their tiles. BLOCK_CHANNELS is a multiple of LANES and of TILE_ROWS, BLOCK_OUTPUTS of STRIP. Gradients go to
 * SUMS[share][channel][row and column of the kernel][output], with SUMS_WIDTH elements to a line.
 * engine/winograd_gradient.c chooses all this and knows how much scratch it takes. */

#define OWN(name) CG_JOIN(KERNEL_NAME, name)
#define transform_image OWN(_transform_image)
#define transform_cotangent OWN(_transform_cotangent)
#define transform_back OWN(_transform_back)
#define transpose OWN(_transpose)
#define turn OWN(_turn)
#define image_tile OWN(_image_tile)
#define cotangent_tile OWN(_cotangent_tile)
#define rectangle OWN(_rectangle)
#define part OWN(_part)
#define part_at OWN(_part_at)
#define transform_images OWN(_transform_images)
#define transform_cotangents OWN(_transform_cotangents)
#define multiply_tile OWN(_multiply_tile)
#define multiply_planes OWN(_multiply_planes)
#define store_gradients OWN(_store_gradients)
#define sum_block OWN(_sum_block)

#define VECTOR CG_JOIN(float, LANES)
#define LOAD CG_JOIN(vload, LANES)
#define STORE CG_JOIN(vstore, LANES)
#define POINTS (EDGE + EXTENT - 1)
#define PLANES (POINTS * POINTS)
#define STRIP (STRIP_VECTORS * LANES)
/* images[plane][tile][channel], cotangents[plane][tile][output] and sums[plane][channel][output]; some padding keeps
 * planes, which are written side by side, out of each other's cache sets. */
#define MOST_TILES (IMAGES_AT_ONCE * TILES_HIGH * TILES_WIDE)
#define IMAGE_PLANE ((long)MOST_TILES * BLOCK_CHANNELS + LANES)
#define COTANGENT_PLANE ((long)MOST_TILES * BLOCK_OUTPUTS + LANES)
#define SUM_PLANE ((long)BLOCK_CHANNELS * BLOCK_OUTPUTS + LANES)
/* places[line][column][channel] */
#define PLACES_SIZE (((TILES_HIGH * EDGE + EXTENT - 1) * (TILES_WIDE * EDGE + EXTENT - 1) + LANES) * LANES)

#define ONE_COPY __attribute__((noinline)) static
#define EACH(i, count) _Pragma("unroll") for (int i = 0; i < (count); i++)

/* Along one axis, the transforms for the points 0, infinity, and the roots of 1/2 and 2 of either sign
 * (docs/decisions/0019-winograd-within-a-product.md). */
#define ROOT_2 1.41421356f
static void transform_image(const VECTOR *x, VECTOR *y)
{
    const VECTOR a = x[4] - 2 * x[2], b = x[3] - 2 * x[1], c = x[4] - 0.5f * x[2], d = x[3] - 0.5f * x[1];
    y[0] = x[0] + (x[4] - 2.5f * x[2]);
    y[1] = a + (0.5f * ROOT_2) * b;
    y[2] = a - (0.5f * ROOT_2) * b;
    y[3] = c + ROOT_2 * d;
    y[4] = c - ROOT_2 * d;
    y[5] = x[1] + (x[5] - 2.5f * x[3]);
}

#if EDGE == 4
static void transform_cotangent(const VECTOR *x, VECTOR *y)
{
    const VECTOR even1 = (-2.0f / 3) * x[0] - (1.0f / 3) * x[2], odd1 = (-ROOT_2 / 3) * x[1] - (ROOT_2 / 6) * x[3];
    const VECTOR even2 = (1.0f / 6) * x[0] + (1.0f / 3) * x[2], odd2 = (ROOT_2 / 6) * x[1] + (ROOT_2 / 3) * x[3];
    y[0] = x[0];
    y[1] = even1 + odd1;
    y[2] = even1 - odd1;
    y[3] = even2 + odd2;
    y[4] = even2 - odd2;
    y[5] = x[3];
}

static void transform_back(const VECTOR *x, VECTOR *y)
{
    const VECTOR a = x[1] + x[2], b = x[1] - x[2], c = x[3] + x[4], d = x[3] - x[4];
    y[0] = x[0] + a + c;
    y[1] = (0.5f * ROOT_2) * b + ROOT_2 * d;
    y[2] = x[5] + 0.5f * a + 2 * c;
}
#else
static void transform_cotangent(const VECTOR *x, VECTOR *y)
{
    const VECTOR even1 = (-2.0f / 3) * x[0], odd1 = (-ROOT_2 / 3) * x[1];
    const VECTOR even2 = (1.0f / 6) * x[0], odd2 = (ROOT_2 / 6) * x[1];
    y[0] = x[0];
    y[1] = even1 + odd1;
    y[2] = even1 - odd1;
    y[3] = even2 + odd2;
    y[4] = even2 - odd2;
    y[5] = x[1];
}

static void transform_back(const VECTOR *x, VECTOR *y)
{
    const VECTOR a = x[1] + x[2], b = x[1] - x[2], c = x[3] + x[4], d = x[3] - x[4];
    y[0] = x[0] + a + c;
    y[1] = (0.5f * ROOT_2) * b + ROOT_2 * d;
    y[2] = 0.5f * a + 2 * c;
    y[3] = (0.25f * ROOT_2) * b + (2 * ROOT_2) * d;
    y[4] = x[5] + 0.25f * a + 4 * c;
}
#endif

CG_TRANSPOSE(transpose, VECTOR, LANES)

/* places[place][lane] = from[at[lane] + place], of lines that begin `pitch` elements after one another, for LANES
 * channels; 0 in lanes that are not `there`. The places behind the last may be written, too. */
ONE_COPY void turn(__global const float *from, long elements, const long *at, CG_JOIN(int, LANES) there, int lines,
                   int width, long pitch, __global float *restrict places)
{
    long furthest = 0;
    EACH(i, LANES) furthest = max(furthest, at[i]);
    if (width == pitch) {
        width *= lines;
        lines = 1;
    }
    for (int y = 0; y < lines; y++, from += pitch, furthest += pitch, places += (long)width * LANES)
        for (int x = 0; x < width; x += LANES) {
            VECTOR of_lane[LANES];
            if (furthest + x + LANES <= elements) {
                EACH(i, LANES) of_lane[i] = LOAD(0, from + at[i] + x);
            } else {
                for (int i = 0; i < LANES; i++) {
                    float some[LANES];
                    for (int j = 0; j < LANES; j++) some[j] = x + j < width ? from[at[i] + x + j] : 0;
                    of_lane[i] = LOAD(0, some);
                }
            }
            transpose(of_lane);
            EACH(i, LANES)
            STORE(CG_JOIN(as_float, LANES)(CG_JOIN(as_int, LANES)(of_lane[i]) & there), 0, places + (x + i) * LANES);
        }
}

/* Transforms a tile of SIZE x SIZE places from line y and column x on; what is not there is 0. */
#define DEFINE_TILE(NAME, SIZE, ALONG)                                                                                 \
    ONE_COPY void NAME(__global const float *restrict places, int y, int x, int lines, int width,                      \
                       __global float *restrict to, long plane)                                                        \
    {                                                                                                                  \
        VECTOR down[POINTS][SIZE];                                                                                     \
        const bool whole = y >= 0 && x >= 0 && y + SIZE <= lines && x + SIZE <= width;                                 \
        EACH(j, SIZE)                                                                                                  \
        {                                                                                                              \
            VECTOR column[SIZE], points[POINTS];                                                                       \
            EACH(i, SIZE)                                                                                              \
            column[i] = whole || ((uint)(y + i) < (uint)lines && (uint)(x + j) < (uint)width)                          \
                            ? LOAD(0, places + ((y + i) * width + x + j) * LANES)                                      \
                            : (VECTOR)0;                                                                               \
            ALONG(column, points);                                                                                     \
            EACH(i, POINTS) down[i][j] = points[i];                                                                    \
        }                                                                                                              \
        EACH(i, POINTS)                                                                                                \
        {                                                                                                              \
            VECTOR points[POINTS];                                                                                     \
            ALONG(down[i], points);                                                                                    \
            EACH(j, POINTS) STORE(points[j], 0, to + (i * POINTS + j) * plane);                                        \
        }                                                                                                              \
    }
DEFINE_TILE(image_tile, POINTS, transform_image)
DEFINE_TILE(cotangent_tile, EDGE, transform_cotangent)

/* Some tiles of one image after the other. */
typedef struct part {
    int image, images, row, rows, column, columns;
} part;

static part part_at(PARAMETERS, int chunk)
{
    const int across = (TILES_X + TILES_WIDE - 1) / TILES_WIDE, down = (TILES_Y + TILES_HIGH - 1) / TILES_HIGH;
    part p;
    p.image = chunk / (across * down) * IMAGES_AT_ONCE;
    p.row = chunk / across % down * TILES_HIGH;
    p.column = chunk % across * TILES_WIDE;
    p.images = min(IMAGES_AT_ONCE, IMAGES - p.image);
    p.rows = min(TILES_HIGH, TILES_Y - p.row);
    p.columns = min(TILES_WIDE, TILES_X - p.column);
    return p;
}

/* Of LANES channels from `channel` on. Channels past the last repeat it: what they yield is never looked at. */
ONE_COPY void transform_images(PARAMETERS, part p, int channel, __global float *restrict places,
                               __global float *restrict images)
{
    const int y = p.row * EDGE + FIRST_Y, x = p.column * EDGE + FIRST_X;
    const int top = max(y, 0), bottom = min(y + p.rows * EDGE + EXTENT - 1, END_Y);
    const int left = max(x, 0), right = min(x + p.columns * EDGE + EXTENT - 1, END_X);
    for (int n = p.image; n < p.image + p.images; n++) {
        const int slice = n % SLICES;
        const long first = OPERAND_A(0) - START_A + n / SLICES * (long)STRETCH_A + slice * (long)STRIDE_Z +
                           (top - FIRST_Y) * (long)STRIDE_Y + left - FIRST_X;
        long at[LANES];
        int there[LANES];
        for (int i = 0; i < LANES; i++) {
            const int c = min(channel + i, CHANNELS - 1), deep = c % DEEP;
            there[i] = -((uint)(FIRST_Z + slice * STEP_Z + deep * STEP_DEEP) < (uint)END_Z);
            at[i] = there[i] ? first + c / DEEP * (long)STRIDE_C + deep * (long)STRIDE_DEEP : 0;
        }
        if (bottom > top && right > left)
            turn(START_A, ELEMENTS_A, at, CG_JOIN(vload, LANES)(0, there), bottom - top, right - left, STRIDE_Y,
                 places);
        for (int row = 0; row < p.rows; row++)
            for (int column = 0; column < p.columns; column++, images += BLOCK_CHANNELS)
                image_tile(places, y + row * EDGE - top, x + column * EDGE - left, max(bottom - top, 0),
                           max(right - left, 0), images, IMAGE_PLANE);
    }
}

/* The same of outputs. */
ONE_COPY void transform_cotangents(PARAMETERS, part p, int output, __global float *restrict places,
                                   __global float *restrict cotangents)
{
    const int top = p.row * EDGE, bottom = min(top + p.rows * EDGE, PLACES_Y);
    const int left = p.column * EDGE, right = min(left + p.columns * EDGE, PLACES_X);
    for (int n = p.image; n < p.image + p.images; n++) {
        const long first = OPERAND_B(0) - START_B + n / SLICES * (long)STRETCH_B +
                           (n % SLICES * PLACES_Y + top) * (long)PLACES_X + left;
        long at[LANES];
        for (int i = 0; i < LANES; i++) at[i] = first + min(output + i, SIZE_N - 1) * (long)LEADING_B;
        turn(START_B, ELEMENTS_B, at, -1, bottom - top, right - left, PLACES_X, places);
        for (int row = 0; row < p.rows; row++)
            for (int column = 0; column < p.columns; column++, cotangents += BLOCK_OUTPUTS)
                cotangent_tile(places, row * EDGE, column * EDGE, bottom - top, right - left, cotangents,
                               COTANGENT_PLANE);
    }
}

/* sums[TILE_ROWS][STRIP] += images[tile][TILE_ROWS] cotangents[tile][STRIP]; the `first` time they were 0. */
static void multiply_tile(PARAMETERS, int tiles, bool first, __global const float *restrict images,
                          __global const float *restrict cotangents, __global float *restrict sums)
{
    VECTOR sum[TILE_ROWS][STRIP_VECTORS], factor[STRIP_VECTORS];
    EACH(r, TILE_ROWS) EACH(v, STRIP_VECTORS) sum[r][v] = first ? (VECTOR)0 : LOAD(v, sums + r * BLOCK_OUTPUTS);
    for (int t = 0; t < tiles; t++, images += BLOCK_CHANNELS, cotangents += BLOCK_OUTPUTS) {
        EACH(v, STRIP_VECTORS) factor[v] = LOAD(v, cotangents);
        EACH(r, TILE_ROWS)
        {
            const VECTOR x = images[r];
            EACH(v, STRIP_VECTORS) sum[r][v] += x * factor[v];
        }
    }
    EACH(r, TILE_ROWS) EACH(v, STRIP_VECTORS) STORE(sum[r][v], v, sums + r * BLOCK_OUTPUTS);
}

ONE_COPY void multiply_planes(PARAMETERS, int channels, int outputs, int tiles, bool first,
                              __global const float *restrict images, __global const float *restrict cotangents,
                              __global float *restrict sums)
{
    for (int p = 0; p < PLANES; p++)
        for (int j = 0; j < outputs; j += STRIP)
            for (int c = 0; c < channels; c += TILE_ROWS)
                multiply_tile(ARGUMENTS, tiles, first, images + p * IMAGE_PLANE + c,
                              cotangents + p * COTANGENT_PLANE + j, sums + p * SUM_PLANE + c * BLOCK_OUTPUTS + j);
}

/* Transforms a block's sums back. */
ONE_COPY void store_gradients(PARAMETERS, int channels, int outputs, __global const float *restrict sums,
                              __global float *restrict to)
{
    for (int c = 0; c < channels; c++, sums += BLOCK_OUTPUTS)
        for (int j = 0; j < outputs; j += LANES) {
            VECTOR down[EXTENT][POINTS];
            EACH(x, POINTS)
            {
                VECTOR points[POINTS], column[EXTENT];
                EACH(y, POINTS) points[y] = LOAD(0, sums + (y * POINTS + x) * SUM_PLANE + j);
                transform_back(points, column);
                EACH(y, EXTENT) down[y][x] = column[y];
            }
            EACH(y, EXTENT)
            {
                VECTOR row[EXTENT];
                transform_back(down[y], row);
                EACH(x, EXTENT) STORE(row[x], 0, to + ((c * EXTENT + y) * EXTENT + x) * (long)SUMS_WIDTH + j);
            }
        }
}

/* One block of channels and outputs, summed over a share of the chunks. */
ONE_COPY void sum_block(PARAMETERS, int channel, int output, int share, int chunks, __global float *restrict scratch)
{
    const int channels = min(BLOCK_CHANNELS, CHANNELS - channel), outputs = min(BLOCK_OUTPUTS, SIZE_N - output);
    __global float *images = scratch + PLACES_SIZE, *cotangents = images + PLANES * IMAGE_PLANE;
    __global float *sums = cotangents + PLANES * COTANGENT_PLANE;
    for (int chunk = share; chunk < chunks; chunk += SHARES) {
        const part p = part_at(ARGUMENTS, chunk);
        for (int c = 0; c < channels; c += LANES)
            transform_images(ARGUMENTS, p, channel + c, scratch, images + c);
        for (int j = 0; j < outputs; j += LANES)
            transform_cotangents(ARGUMENTS, p, output + j, scratch, cotangents + j);
        multiply_planes(ARGUMENTS, channels, outputs, p.images * p.rows * p.columns, chunk == share, images, cotangents,
                        sums);
    }
    store_gradients(ARGUMENTS, channels, outputs, sums,
                    SUMS + (share * CHANNELS + channel) * (long)(EXTENT * EXTENT) * SUMS_WIDTH + output);
}

CG_ENTRY(1) KERNEL_NAME(CG_TURN_PARAMETERS PARAMETERS)
{
    const int chunks = (IMAGES + IMAGES_AT_ONCE - 1) / IMAGES_AT_ONCE * ((TILES_Y + TILES_HIGH - 1) / TILES_HIGH) *
                       ((TILES_X + TILES_WIDE - 1) / TILES_WIDE);
    const int across = (SIZE_N + BLOCK_OUTPUTS - 1) / BLOCK_OUTPUTS;
    const int blocks = (CHANNELS + BLOCK_CHANNELS - 1) / BLOCK_CHANNELS * across;
    const long scratch_size = PLACES_SIZE + PLANES * (IMAGE_PLANE + COTANGENT_PLANE + SUM_PLANE);
    __global float *scratch = SCRATCH + CG_TURN(0) * scratch_size;
    for (int i = CG_TURN(0); i < blocks * SHARES; i += CG_TURNS(0)) {
        const int block = i % blocks;
        sum_block(ARGUMENTS, block / across * BLOCK_CHANNELS, block % across * BLOCK_OUTPUTS, i / blocks, chunks,
                  scratch);
    }
}

/* How images are cut into tiles, and what becomes of those in Winograd's algorithm (Lavin, Gray: Fast algorithms for
 * convolutional neural networks; arXiv 1509.09308): the part that winograd.cl and winograd_gradient.cl have in common.
 * The outputs of a convolution (kernels EXTENT x EXTENT, step 1) are cut into tiles of EDGE x EDGE; what a tile reads,
 * POINTS x POINTS elements of each channel, is transformed to as many values, its points. Before, the channels are
 * turned so that they lie side by side: vectors are then full however small the images are, and the products over
 * channels or tiles that follow read their operands as they lie.
 *
 * The text in front of this file is prelude.cl, winograd_points.cl with what that wants, and what defines PARAMETERS,
 * ARGUMENTS and, as run-time expressions,
 *   IMAGE_START, IMAGE_ELEMENTS   the storage of the images, and its size
 *   IMAGE_FIRST(image)            the element where output 0, 0 of slice 0 would begin to read channel 0, if there were
 *                                 no border
 *   IMAGES, CHANNELS, STRIDE_C, STRIDE_Y, FIRST_Y, FIRST_X, END_Y, END_X, PLACES_Y, PLACES_X, TILES_Y, TILES_X
 *   SLICES, DEEP, SLICE_STEP, DEEP_STEP, STRIDE_Z, FIRST_Z, END_Z, STEP_Z
 *   IMAGES_AT_ONCE, SLICES_AT_ONCE, TILES_HIGH, TILES_WIDE
 * Output y, x reads rows FIRST_Y + y and so on of the image, which is 0 outside [0, END_Y), and likewise along x. There
 * are PLACES_Y x PLACES_X outputs, TILES_Y x TILES_X tiles. An image may be a volume of SLICES of outputs, each of
 * which reads DEEP slices of inputs: the next output begins SLICE_STEP slices later, the next of the DEEP is DEEP_STEP
 * slices further. Slices lie STRIDE_Z apart and have coordinates from FIRST_Z on, STEP_Z apart; outside [0, END_Z) they
 * are 0. Work is done by parts: IMAGES_AT_ONCE images, of each SLICES_AT_ONCE slices, of each TILES_HIGH x TILES_WIDE
 * tiles. Several images at once have all their slices in it, and these a step of 1. */
#define transform_image OWN(_transform_image)
#define transpose OWN(_transpose)
#define turn OWN(_turn)
#define image_tile OWN(_image_tile)
#define part OWN(_part)
#define part_at OWN(_part_at)
#define transform_images OWN(_transform_images)

#define ONE_COPY __attribute__((noinline)) static

/* Of a part: tiles of outputs; slices and tiles of inputs; turned places, with what turning writes beyond them. */
#define MOST_TILES (IMAGES_AT_ONCE * SLICES_AT_ONCE * TILES_HIGH * TILES_WIDE)
#define SLICES_READ(slices) (((slices)-1) * SLICE_STEP + (DEEP - 1) * DEEP_STEP + 1)
#define MOST_IMAGE_TILES (IMAGES_AT_ONCE * SLICES_READ(SLICES_AT_ONCE) * TILES_HIGH * TILES_WIDE)
#define MOST_PLACES ((TILES_HIGH * EDGE + EXTENT - 1) * (TILES_WIDE * EDGE + EXTENT - 1) + LANES)

static void transform_image(const VECTOR *x, VECTOR *y)
{
#if POINTS == 4
    y[0] = x[0] - x[2];
    y[1] = x[1] + x[2];
    y[2] = x[2] - x[1];
    y[3] = x[3] - x[1];
#else
    const VECTOR a = x[4] - 2 * x[2], b = x[3] - 2 * x[1], c = x[4] - 0.5f * x[2], d = x[3] - 0.5f * x[1];
    y[0] = x[0] + (x[4] - 2.5f * x[2]);
    y[1] = a + (0.5f * ROOT_2) * b;
    y[2] = a - (0.5f * ROOT_2) * b;
    y[3] = c + ROOT_2 * d;
    y[4] = c - ROOT_2 * d;
    y[5] = x[1] + (x[5] - 2.5f * x[3]);
#endif
}

CG_TRANSPOSE(transpose, VECTOR, LANES)

/* places[place][lane] = from[at[lane] + place], of lines that begin `pitch` elements after one another, for LANES
 * channels. `from` is a storage of so many elements. */
ONE_COPY void turn(__global const float *from, long elements, const long *at, int lines, int width, long pitch,
                   __global float *restrict places)
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
            EACH(i, LANES) STORE(of_lane[i], 0, places + (x + i) * LANES);
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

typedef struct part {
    int image, images, slice, slices, row, rows, column, columns;
} part;

#define PARTS_ALONG(whole, at_once) (((whole) + (at_once)-1) / (at_once))
#define PARTS                                                                                                          \
    (PARTS_ALONG(IMAGES, IMAGES_AT_ONCE) * PARTS_ALONG(SLICES, SLICES_AT_ONCE) * PARTS_ALONG(TILES_Y, TILES_HIGH) *    \
     PARTS_ALONG(TILES_X, TILES_WIDE))

static part part_at(PARAMETERS, int number)
{
    part p;
    const int across = PARTS_ALONG(TILES_X, TILES_WIDE), down = PARTS_ALONG(TILES_Y, TILES_HIGH);
    p.column = number % across * TILES_WIDE;
    p.columns = min(TILES_WIDE, TILES_X - p.column);
    number /= across;
    p.row = number % down * TILES_HIGH;
    p.rows = min(TILES_HIGH, TILES_Y - p.row);
    number /= down;
    p.slice = number % PARTS_ALONG(SLICES, SLICES_AT_ONCE) * SLICES_AT_ONCE;
    p.slices = min(SLICES_AT_ONCE, SLICES - p.slice);
    p.image = number / PARTS_ALONG(SLICES, SLICES_AT_ONCE) * IMAGES_AT_ONCE;
    p.images = min(IMAGES_AT_ONCE, IMAGES - p.image);
    return p;
}

/* The tiles of one slice of a part, and of all that is read; its first tile of slice `slice` of image `image`. */
#define TILES_OF_SLICE(p) ((p).rows * (p).columns)
#define TILES_OF(p) ((p).images * (p).slices * TILES_OF_SLICE(p))

/* images[plane][tile read][channel] of LANES channels from `channel` on, with `width` elements to a tile. Channels past
 * the last repeat it: what they yield is never looked at. */
ONE_COPY void transform_images(PARAMETERS, part p, int channel, __global float *restrict places,
                               __global float *restrict images, int width, long plane)
{
    const int y = p.row * EDGE + FIRST_Y, x = p.column * EDGE + FIRST_X;
    const int top = max(y, 0), bottom = min(y + p.rows * EDGE + EXTENT - 1, END_Y);
    const int left = max(x, 0), right = min(x + p.columns * EDGE + EXTENT - 1, END_X);
    for (int n = p.image; n < p.image + p.images; n++)
        for (int s = 0; s < SLICES_READ(p.slices); s++) {
            const int slice = p.slice * SLICE_STEP + s;
            const bool inside = (uint)(FIRST_Z + slice * STEP_Z) < (uint)END_Z && bottom > top && right > left;
            const int lines = inside ? bottom - top : 0, columns = right - left;
            if (inside) {
                const long first = IMAGE_FIRST(n) + slice * (long)STRIDE_Z + (top - FIRST_Y) * (long)STRIDE_Y + left -
                                   FIRST_X;
                long at[LANES];
                for (int i = 0; i < LANES; i++) at[i] = first + min(channel + i, CHANNELS - 1) * (long)STRIDE_C;
                turn(IMAGE_START, IMAGE_ELEMENTS, at, lines, columns, STRIDE_Y, places);
            }
            for (int row = 0; row < p.rows; row++)
                for (int column = 0; column < p.columns; column++, images += width)
                    image_tile(places, y + row * EDGE - top, x + column * EDGE - left, lines, columns, images, plane);
        }
}

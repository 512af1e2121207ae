/* Y = epilogue(convolution of images with kernels of EXTENT x EXTENT, step 1) by Winograd's algorithm, as one launch
 * for a CPU, behind winograd_tiles.cl, which says what tiles and points are. At each point apart, images times kernels
 * is a matrix product over the channels; transforming that back gives the tile.
 *
 * A work-group is one work-item. It owns some rows of Y, which are output channels, and every CG_TURNS(0)-th part of
 * the images. It transforms a part into its own part of SCRATCH, then takes BLOCK_OUTPUTS rows at a time: multiplies
 * plane by plane, transforms back, turns the results to where they lie in Y, and hands runs of them to the epilogue. So
 * nothing but images, kernels and Y leaves the second-level cache. Kernels were transformed by winograd_kernels.cl.
 *
 * The text in front of this file is prelude.cl, what winograd_tiles.cl wants, that file, and what defines the two
 * epilogue functions and, as
 *   constants               TILE_ROWS, STRIP_VECTORS, MOST_TILES_AT_ONCE, of a part
 *   run-time expressions    KERNELS, KERNEL_PLANE, SCRATCH, SIZE_M, ROWS, IMAGE_WIDTH, BLOCK_OUTPUTS
 * ROWS and BLOCK_OUTPUTS are multiples of STRIP. engine/winograd.c chooses all this and knows how much scratch it
 * takes.
 */
#define store_tile OWN(_store_tile)
#define turn_back OWN(_turn_back)
#define image_row OWN(_image_row)
#define multiply_tile OWN(_multiply_tile)
#define multiply_planes OWN(_multiply_planes)
#define store_run OWN(_store_run)
#define store_slice OWN(_store_slice)
#define convolve_part OWN(_convolve_part)

#define STRIP (STRIP_VECTORS * LANES)
/* images[plane][tile][channel] and results[plane][tile][output]; some padding keeps planes, which are written side by
 * side, out of each other's cache sets. */
#define IMAGE_PLANE ((long)MOST_IMAGE_TILES * IMAGE_WIDTH + LANES)
#define RESULT_PLANE ((long)MOST_TILES * BLOCK_OUTPUTS + LANES)

/* Where a tile of results finds its images, those of the first of the DEEP slices. */
static int image_row(PARAMETERS, part p, int tile)
{
    const int each = TILES_OF_SLICE(p), slice = tile / each, image = slice / p.slices;
    return (image * SLICES_READ(p.slices) + (slice - image * p.slices) * SLICE_STEP) * each + tile - slice * each;
}

/* results[TILE_ROWS][STRIP] = images[TILE_ROWS][slice and channel] kernels[slice and channel][STRIP] of so many tiles,
 * whose images begin where row_of_tile says, and `apart` elements further in the next slice. Tiles past the last repeat
 * it. */
static void multiply_tile(PARAMETERS, int tiles, const int *row_of_tile, long apart,
                          __global const float *restrict images, __global const float *restrict kernels,
                          __global float *restrict results)
{
    VECTOR sum[TILE_ROWS][STRIP_VECTORS], factor[STRIP_VECTORS];
    __global const float *row[TILE_ROWS];
    EACH(r, TILE_ROWS) row[r] = images + row_of_tile[min(r, tiles - 1)];
    EACH(r, TILE_ROWS) EACH(v, STRIP_VECTORS) sum[r][v] = 0;
    for (int d = 0; d < DEEP; d++) {
        for (int c = 0; c < CHANNELS; c++, kernels += STRIP) {
            EACH(v, STRIP_VECTORS) factor[v] = LOAD(v, kernels);
            EACH(r, TILE_ROWS)
            {
                const VECTOR x = row[r][c];
                EACH(v, STRIP_VECTORS) sum[r][v] += x * factor[v];
            }
        }
        EACH(r, TILE_ROWS) row[r] += apart;
    }
    EACH(r, TILE_ROWS)
    if (r < tiles) EACH(v, STRIP_VECTORS) STORE(sum[r][v], v, results + r * BLOCK_OUTPUTS);
}

ONE_COPY void multiply_planes(PARAMETERS, part p, int output, int outputs, __global const float *restrict images,
                              __global float *restrict results)
{
    const int tiles = TILES_OF(p);
    const long apart = DEEP_STEP * TILES_OF_SLICE(p) * (long)IMAGE_WIDTH;
    int row_of_tile[MOST_TILES_AT_ONCE];
    for (int tile = 0; tile < tiles; tile++) row_of_tile[tile] = image_row(ARGUMENTS, p, tile) * IMAGE_WIDTH;
    for (int plane = 0; plane < PLANES; plane++)
        for (int j = 0; j < outputs; j += STRIP)
            for (int tile = 0; tile < tiles; tile += TILE_ROWS)
                multiply_tile(ARGUMENTS, tiles - tile, row_of_tile + tile, apart, images + plane * IMAGE_PLANE,
                              KERNELS + plane * KERNEL_PLANE + (output + j) * (long)(CHANNELS * DEEP),
                              results + plane * RESULT_PLANE + tile * BLOCK_OUTPUTS + j);
}

/* LANES outputs of a tile go to the places from line y and column x on, as far as these are there. */
ONE_COPY void store_tile(PARAMETERS, __global const float *restrict results, int y, int x, int lines, int width,
                         __global float *restrict places)
{
    VECTOR tile[EDGE][EDGE];
    transform_tile_back(results, RESULT_PLANE, tile);
    EACH(i, EDGE) EACH(j, EDGE)
    if (y + i < lines && x + j < width) STORE(tile[i][j], 0, places + ((y + i) * width + x + j) * LANES);
}

/* runs[lane][place] = places[place][lane]; what lies behind the last of `count` places is turned, too. */
ONE_COPY void turn_back(__global const float *restrict places, int count, int run, __global float *restrict runs)
{
    for (int i = 0; i < count; i += LANES) {
        VECTOR of_place[LANES];
        EACH(k, LANES) of_place[k] = LOAD(i + k, places);
        transpose(of_place);
        EACH(k, LANES) STORE(of_place[k], 0, runs + k * run + i);
    }
}

static void store_run(PARAMETERS, int batch, int row, int column, int count, __global const float *from)
{
    int i = 0;
    for (; i + LANES <= count; i += LANES) epilogue_vector(ARGUMENTS, batch, row, column + i, LOAD(0, from + i));
    for (; i < count; i++) epilogue_scalar(ARGUMENTS, batch, row, column + i, from[i]);
}

/* LANES outputs from row `row` of Y on, of a part's slice; its lines at once where they are whole. */
ONE_COPY void store_slice(PARAMETERS, part p, int image, int slice, int row, int rows,
                          __global const float *restrict results, __global float *restrict places)
{
    const int y = p.row * EDGE, x = p.column * EDGE;
    const int lines = min(p.rows * EDGE, PLACES_Y - y), width = min(p.columns * EDGE, PLACES_X - x);
    const bool whole = width == PLACES_X;
    const int count = whole ? 1 : lines, length = whole ? lines * width : width;
    __global float *runs = places + MOST_PLACES * LANES;
    for (int i = 0; i < p.rows; i++)
        for (int j = 0; j < p.columns; j++, results += BLOCK_OUTPUTS)
            store_tile(ARGUMENTS, results, i * EDGE, j * EDGE, lines, width, places);
    turn_back(places, lines * width, MOST_PLACES, runs);
    for (int r = 0; r < min(LANES, rows); r++)
        for (int i = 0; i < count; i++)
            store_run(ARGUMENTS, image, row + r, (slice * PLACES_Y + y + i) * PLACES_X + x, length,
                      runs + r * MOST_PLACES + i * width);
}

ONE_COPY void convolve_part(PARAMETERS, int top, int bottom, part p, __global float *restrict scratch)
{
    __global float *images = scratch + 2 * MOST_PLACES * LANES, *results = images + PLANES * IMAGE_PLANE;
    for (int c = 0; c < CHANNELS; c += LANES)
        transform_images(ARGUMENTS, p, c, scratch, images + c, IMAGE_WIDTH, IMAGE_PLANE);
    for (int row = top; row < bottom; row += BLOCK_OUTPUTS) {
        const int rows = min(BLOCK_OUTPUTS, bottom - row);
        multiply_planes(ARGUMENTS, p, row, rows, images, results);
        for (int j = 0; j < rows; j += LANES)
            for (int s = 0; s < p.images * p.slices; s++)
                store_slice(ARGUMENTS, p, p.image + s / p.slices, p.slice + s % p.slices, row + j, rows - j,
                            results + s * TILES_OF_SLICE(p) * BLOCK_OUTPUTS + j, scratch);
    }
}

CG_ENTRY(1) KERNEL_NAME(CG_TURN_PARAMETERS PARAMETERS)
{
    const int top = CG_TURN(1) * ROWS, bottom = min(SIZE_M, top + ROWS);
    const long scratch_size = 2 * MOST_PLACES * LANES + PLANES * (IMAGE_PLANE + RESULT_PLANE);
    __global float *scratch = SCRATCH + (CG_TURN(1) * CG_TURNS(0) + CG_TURN(0)) * scratch_size;
    for (int i = CG_TURN(0); i < PARTS; i += CG_TURNS(0))
        convolve_part(ARGUMENTS, top, bottom, part_at(ARGUMENTS, i), scratch);
}

/* The gradient of a convolution's kernels (EXTENT x EXTENT, step 1) by Winograd's algorithm, for a CPU, behind
 * winograd_tiles.cl, which says what tiles and points are. The cotangent of a tile, EDGE x EDGE, is transformed to its
 * points like what the tile reads. At each point apart, images times cotangents is a matrix product over all tiles;
 * transforming its sums back gives the gradient. winograd_sums.cl adds up what several shares of the tiles gave.
 *
 * A work-group is one work-item. It takes one block of channels and outputs after the other, and of the images a part
 * at a time: transforms it and its cotangents into its part of SCRATCH, and adds their products to the block's sums
 * there. A part and the sums stay in the second-level cache. It touches nothing but its operands, its part of SCRATCH,
 * and SUMS.
 *
 * The text in front of this file is prelude.cl, what winograd_tiles.cl wants, that file, and what defines, as
 *   constants               TILE_ROWS, STRIP_VECTORS
 *   run-time expressions    COTANGENT_START, COTANGENT_ELEMENTS, COTANGENT_FIRST(image): the storage of the cotangents
 *                           and its size, and the element of output 0, place 0 of an image, whose outputs lie
 *                           LEADING_B apart;
 *                           SUMS, SUMS_WIDTH, SCRATCH, SIZE_N, BLOCK_CHANNELS, BLOCK_OUTPUTS, SHARES
 * BLOCK_CHANNELS is a multiple of LANES and of TILE_ROWS, BLOCK_OUTPUTS of STRIP. Gradients go to SUMS[share][channel]
 * [one of the DEEP slices][row and column of the kernel][output], with SUMS_WIDTH elements to a line.
 * engine/winograd_gradient.c chooses all this and knows how much scratch it takes. */
#define cotangent_tile OWN(_cotangent_tile)
#define transform_cotangents OWN(_transform_cotangents)
#define multiply_tile OWN(_multiply_tile)
#define multiply_planes OWN(_multiply_planes)
#define store_gradients OWN(_store_gradients)
#define sum_block OWN(_sum_block)

#define STRIP (STRIP_VECTORS * LANES)
/* images[plane][tile read][channel], cotangents[plane][tile][output] and sums[plane][one of DEEP][channel][output];
 * some padding keeps planes, which are written side by side, out of each other's cache sets. */
#define IMAGE_PLANE ((long)MOST_IMAGE_TILES * BLOCK_CHANNELS + LANES)
#define COTANGENT_PLANE ((long)MOST_TILES * BLOCK_OUTPUTS + LANES)
#define SUMS_OF_SLICE ((long)BLOCK_CHANNELS * BLOCK_OUTPUTS)
#define SUM_PLANE (DEEP * SUMS_OF_SLICE + LANES)

DEFINE_TILE(cotangent_tile, EDGE, transform_taps)

/* cotangents[plane][tile][output] of LANES outputs from `output` on, in the order of the tiles. */
ONE_COPY void transform_cotangents(PARAMETERS, part p, int output, __global float *restrict places,
                                   __global float *restrict cotangents)
{
    const int top = p.row * EDGE, lines = min(p.rows * EDGE, PLACES_Y - top);
    const int left = p.column * EDGE, width = min(p.columns * EDGE, PLACES_X - left);
    for (int s = 0; s < p.images * p.slices; s++) {
        const long first = COTANGENT_FIRST(p.image + s / p.slices) +
                           ((p.slice + s % p.slices) * PLACES_Y + top) * (long)PLACES_X + left;
        long at[LANES];
        for (int i = 0; i < LANES; i++) at[i] = first + min(output + i, SIZE_N - 1) * (long)LEADING_B;
        turn(COTANGENT_START, COTANGENT_ELEMENTS, at, lines, width, PLACES_X, places);
        for (int row = 0; row < p.rows; row++)
            for (int column = 0; column < p.columns; column++, cotangents += BLOCK_OUTPUTS)
                cotangent_tile(places, row * EDGE, column * EDGE, lines, width, cotangents, COTANGENT_PLANE);
    }
}

/* sums[TILE_ROWS][STRIP] += images[tile][TILE_ROWS] cotangents[tile][STRIP], of `runs` runs of tiles, which begin
 * `apart` tiles of images after one another; the `first` time they were 0. */
static void multiply_tile(PARAMETERS, int runs, int run, int apart, bool first, __global const float *restrict images,
                          __global const float *restrict cotangents, __global float *restrict sums)
{
    VECTOR sum[TILE_ROWS][STRIP_VECTORS], factor[STRIP_VECTORS];
    EACH(r, TILE_ROWS) EACH(v, STRIP_VECTORS) sum[r][v] = first ? (VECTOR)0 : LOAD(v, sums + r * BLOCK_OUTPUTS);
    for (int i = 0; i < runs; i++, images += (apart - run) * BLOCK_CHANNELS)
        for (int t = 0; t < run; t++, images += BLOCK_CHANNELS, cotangents += BLOCK_OUTPUTS) {
            EACH(v, STRIP_VECTORS) factor[v] = LOAD(v, cotangents);
            EACH(r, TILE_ROWS)
            {
                const VECTOR x = images[r];
                EACH(v, STRIP_VECTORS) sum[r][v] += x * factor[v];
            }
        }
    EACH(r, TILE_ROWS) EACH(v, STRIP_VECTORS) STORE(sum[r][v], v, sums + r * BLOCK_OUTPUTS);
}

/* Tiles of outputs and of images go on together over all of a part where each slice is read once, over an image where
 * the slices read are as far apart as those of outputs, and else over a slice. */
ONE_COPY void multiply_planes(PARAMETERS, part p, int channels, int outputs, bool first,
                              __global const float *restrict images, __global const float *restrict cotangents,
                              __global float *restrict sums)
{
    const int read = SLICES_READ(p.slices), each = TILES_OF_SLICE(p);
    const bool all = read == p.slices, image = SLICE_STEP == 1;
    const int runs = all ? 1 : image ? p.images : p.images * p.slices, run = TILES_OF(p) / runs;
    const int apart = (image ? read : SLICE_STEP) * each;
    for (int plane = 0; plane < PLANES; plane++)
        for (int d = 0; d < DEEP; d++)
            for (int j = 0; j < outputs; j += STRIP)
                for (int c = 0; c < channels; c += TILE_ROWS)
                    multiply_tile(ARGUMENTS, runs, run, apart, first,
                                  images + plane * IMAGE_PLANE + d * DEEP_STEP * each * BLOCK_CHANNELS + c,
                                  cotangents + plane * COTANGENT_PLANE + j,
                                  sums + plane * SUM_PLANE + d * SUMS_OF_SLICE + c * BLOCK_OUTPUTS + j);
}

/* Transforms a block's sums back. */
ONE_COPY void store_gradients(PARAMETERS, int channels, int outputs, __global const float *restrict sums,
                              __global float *restrict to)
{
    for (int i = 0; i < channels * DEEP; i++, to += EXTENT * EXTENT * (long)SUMS_WIDTH)
        for (int j = 0; j < outputs; j += LANES) {
            __global const float *from = sums + i % DEEP * SUMS_OF_SLICE + i / DEEP * BLOCK_OUTPUTS + j;
            VECTOR tile[EXTENT][EXTENT];
            transform_tile_back(from, SUM_PLANE, tile);
            EACH(y, EXTENT) EACH(x, EXTENT)
            STORE(tile[y][x], 0, to + (y * EXTENT + x) * (long)SUMS_WIDTH + j);
        }
}

/* One block of channels and outputs, summed over a share of the parts. */
ONE_COPY void sum_block(PARAMETERS, int channel, int output, int share, __global float *restrict scratch)
{
    const int channels = min(BLOCK_CHANNELS, CHANNELS - channel), outputs = min(BLOCK_OUTPUTS, SIZE_N - output);
    __global float *images = scratch + MOST_PLACES * LANES, *cotangents = images + PLANES * IMAGE_PLANE;
    __global float *sums = cotangents + PLANES * COTANGENT_PLANE;
    for (int i = share; i < PARTS; i += SHARES) {
        const part p = part_at(ARGUMENTS, i);
        for (int c = 0; c < channels; c += LANES)
            transform_images(ARGUMENTS, p, channel + c, scratch, images + c, BLOCK_CHANNELS, IMAGE_PLANE);
        for (int j = 0; j < outputs; j += LANES)
            transform_cotangents(ARGUMENTS, p, output + j, scratch, cotangents + j);
        multiply_planes(ARGUMENTS, p, channels, outputs, i == share, images, cotangents, sums);
    }
    store_gradients(ARGUMENTS, channels, outputs, sums,
                    SUMS + (share * CHANNELS + channel) * (long)(DEEP * EXTENT * EXTENT) * SUMS_WIDTH + output);
}

CG_ENTRY(1) KERNEL_NAME(CG_TURN_PARAMETERS PARAMETERS)
{
    const int across = (SIZE_N + BLOCK_OUTPUTS - 1) / BLOCK_OUTPUTS;
    const int blocks = (CHANNELS + BLOCK_CHANNELS - 1) / BLOCK_CHANNELS * across;
    const long scratch_size = MOST_PLACES * LANES + PLANES * (IMAGE_PLANE + COTANGENT_PLANE + SUM_PLANE);
    __global float *scratch = SCRATCH + CG_TURN(0) * scratch_size;
    for (int i = CG_TURN(0); i < blocks * SHARES; i += CG_TURNS(0))
        sum_block(ARGUMENTS, i % blocks / across * BLOCK_CHANNELS, i % blocks % across * BLOCK_OUTPUTS, i / blocks,
                  scratch);
}

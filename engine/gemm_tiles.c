/* Which tiles a GPU's matrix product is cut into. Large tiles read the operands less often; small ones keep more
 * compute units busy and waste less where an extent is small. It touches nothing but its arguments. */
#include "engine/gemm_tiles.h"
#include "engine/integers.h"

enum {
    LARGEST_TILE = 128,
    SMALLEST_TILE = 16,
    GROUP_SIDE = 16, /* work-items along each side of a tile, where the device allows so many */
    DEPTH = 16,
    MOST_SUMS_BYTES = 256,  /* of registers that a work-item keeps its sums in */
    GROUPS_PER_UNIT = 2,    /* so that one computes while another one waits for memory */
    MOST_BATCHES = 1 << 15, /* in the launch's second dimension, which is 16 bits wide on some devices */
    MOST_TILE = 1024,       /* bounds for what a file may ask for */
    MOST_DEPTH = 256
};

static int64_t count_tiles(const struct gemm_tiles *tiles, int64_t m, int64_t n)
{
    return cg_divide_up(m, tiles->rows) * cg_divide_up(n, tiles->columns);
}

static int64_t group_size(const struct gemm_tiles *tiles)
{
    return (int64_t)(tiles->rows / tiles->item_rows) * (tiles->columns / tiles->item_columns);
}

/* The layout is that of cl_kernels/gemm_tiled.cl. */
static int64_t local_bytes(const struct gemm_tiles *tiles, bool f64)
{
    return (int64_t)(tiles->rows + 1 + tiles->columns + 1) * tiles->depth * (f64 ? 8 : 4);
}

static int64_t sums_bytes(const struct gemm_tiles *tiles, bool f64)
{
    return (int64_t)tiles->item_rows * tiles->item_columns * (f64 ? 8 : 4);
}

/* Halves a tile's longer side, or its rows; false if both are one work-item's. */
static bool shrink(struct gemm_tiles *tiles)
{
    const bool can_halve_rows = tiles->rows > tiles->item_rows;
    const bool can_halve_columns = tiles->columns > tiles->item_columns;
    if (can_halve_columns && (tiles->columns > tiles->rows || !can_halve_rows))
        tiles->columns /= 2;
    else if (can_halve_rows)
        tiles->rows /= 2;
    return can_halve_rows || can_halve_columns;
}

static bool fits_local_memory(const struct gemm_tiles *tiles, bool f64, const struct gemm_limits *limits)
{
    return local_bytes(tiles, f64) <= limits->local_bytes;
}

/* What the shape asks for, were the device without limits: 16 x 16 work-items, each with up to 8 x 8 sums. */
static struct gemm_tiles wanted(const struct gemm_shape *shape, int64_t compute_units)
{
    const struct gemm_shape typical = cg_gemm_typical(shape);
    const int64_t m = typical.m, n = typical.n;
    struct gemm_tiles tiles = {.rows = LARGEST_TILE, .columns = LARGEST_TILE, .depth = DEPTH, 1, 1};
    while (tiles.rows > SMALLEST_TILE && tiles.rows / 2 >= m) tiles.rows /= 2;
    while (tiles.columns > SMALLEST_TILE && tiles.columns / 2 >= n) tiles.columns /= 2;
    while (tiles.rows * tiles.columns > 4 * SMALLEST_TILE * SMALLEST_TILE &&
           count_tiles(&tiles, m, n) < GROUPS_PER_UNIT * compute_units)
        shrink(&tiles);
    tiles.item_rows = tiles.rows / GROUP_SIDE;
    tiles.item_columns = tiles.columns / GROUP_SIDE;
    return tiles;
}

struct gemm_tiles cg_gemm_tiles(const struct gemm_shape *shape, const struct gemm_limits *limits)
{
    struct gemm_tiles tiles = wanted(shape, limits->compute_units);
    while (sums_bytes(&tiles, shape->f64) > MOST_SUMS_BYTES) {
        tiles.rows /= 2;
        tiles.item_rows /= 2;
    }
    while (group_size(&tiles) > limits->group_size && shrink(&tiles)) continue;
    while (!fits_local_memory(&tiles, shape->f64, limits) && tiles.depth > 1) tiles.depth /= 2;
    while (!fits_local_memory(&tiles, shape->f64, limits) && shrink(&tiles)) continue;
    return tiles;
}

bool cg_gemm_tiles_fit(const struct gemm_tiles *tiles, bool f64, const struct gemm_limits *limits)
{
    return tiles->rows >= 1 && tiles->rows <= MOST_TILE && tiles->columns >= 1 && tiles->columns <= MOST_TILE &&
           tiles->depth >= 1 && tiles->depth <= MOST_DEPTH && tiles->item_rows >= 1 && tiles->item_columns >= 1 &&
           tiles->rows % tiles->item_rows == 0 && tiles->columns % tiles->item_columns == 0 &&
           sums_bytes(tiles, f64) <= 2 * MOST_SUMS_BYTES && group_size(tiles) <= limits->group_size &&
           fits_local_memory(tiles, f64, limits);
}

void cg_gemm_tiles_launch(const struct gemm_tiles *tiles, const struct gemm_shape *shape, size_t *local,
                          size_t global[3])
{
    *local = (size_t)group_size(tiles);
    global[0] = (size_t)count_tiles(tiles, shape->m, shape->n) * *local;
    global[1] = (size_t)(shape->batches < MOST_BATCHES ? shape->batches : MOST_BATCHES);
    global[2] = 1;
}

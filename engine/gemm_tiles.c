/* Which tiles a GPU's matrix product is cut into. Large tiles read the operands less often; small ones keep more
 * compute units busy and waste less where an extent is small. It touches nothing but its arguments. */
#include "engine/gemm_tiles.h"
#include "engine/integers.h"

enum {
    MOST_ROWS = 128,
    MOST_COLUMNS = 64,
    SMALLEST_TILE = 16,
    GROUP_SIDE = 16, /* work-items along each side of a tile, where the device allows so many */
    DEPTH = 16,
    DEPTH_OF_SMALL = 32,
    SMALL = 64 * 64,        /* elements of a tile; smaller ones pay only where two thirds of the units would be idle */
    MOST_SUMS_BYTES = 256,  /* of registers that a work-item keeps its sums in */
    GROUPS_PER_UNIT = 2,    /* so that one computes while another one waits for memory */
    MOST_BATCHES = 1 << 15, /* in the launch's second dimension, which is 16 bits wide on some devices */
    SHARED_DEPTH = 512,     /* from which on it pays to cut the depth, if there is no other work, */
    LEAST_SHARE = 128,      /* into shares of as many steps */
    MOST_SHARES = 128,
    SUMS_COLUMNS = 32,
    SUMS_LANES = 8,
    MOST_SUMS_GROUPS = 1 << 14,
    PLACES_WORDS = 4, /* that are known of each line and step of a gathered operand */
    MOST_TILE = 1024, /* bounds for what a file may ask for */
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
static int64_t local_bytes(const struct gemm_tiles *tiles, const struct gemm_shape *shape)
{
    const int64_t strips = 2 * (int64_t)(tiles->rows + 4 + tiles->columns + 4) * tiles->depth;
    int64_t places = 0;
    if (shape->gathered_a) places += tiles->rows + 2 * tiles->depth;
    if (shape->gathered_b) places += tiles->columns + 2 * tiles->depth;
    return strips * (shape->f64 ? 8 : 4) + places * PLACES_WORDS * 4;
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

static bool fits_local_memory(const struct gemm_tiles *tiles, const struct gemm_shape *shape,
                              const struct gemm_limits *limits)
{
    return local_bytes(tiles, shape) <= limits->local_bytes;
}

/* Into how many shares a depth may be cut, at most: by steps, so that tiles stay the same for similar depths. */
static int64_t rough_shares(int64_t k)
{
    return k >= 32 * SHARED_DEPTH ? 64 : k >= 8 * SHARED_DEPTH ? 16 : k >= 2 * SHARED_DEPTH ? 4 : 1;
}

/* What the shape asks for, were the device without limits: 16 x 16 work-items, each with up to 8 x 4 sums. */
static struct gemm_tiles wanted(const struct gemm_shape *shape, int64_t compute_units)
{
    const struct gemm_shape typical = cg_gemm_typical(shape);
    const int64_t m = typical.m, n = typical.n, stacked = cg_larger(1, typical.batches) * rough_shares(typical.k);
    struct gemm_tiles tiles = {.rows = MOST_ROWS, .columns = MOST_COLUMNS, 1, 1, 1};
    while (tiles.rows > SMALLEST_TILE && tiles.rows / 2 >= m) tiles.rows /= 2;
    while (tiles.columns > SMALLEST_TILE && tiles.columns / 2 >= n) tiles.columns /= 2;
    while (tiles.rows * tiles.columns > SMALL && count_tiles(&tiles, m, n) * stacked < GROUPS_PER_UNIT * compute_units)
        shrink(&tiles);
    while (tiles.rows * tiles.columns > 4 * SMALLEST_TILE * SMALLEST_TILE &&
           count_tiles(&tiles, m, n) * stacked < compute_units / 3)
        shrink(&tiles);
    tiles.depth = tiles.rows * tiles.columns > SMALL ? DEPTH : DEPTH_OF_SMALL;
    tiles.item_rows = tiles.rows / GROUP_SIDE;
    tiles.item_columns = tiles.columns / GROUP_SIDE;
    return tiles;
}

struct gemm_tiles cg_gemm_tiles(const struct gemm_shape *shape, const struct gemm_limits *limits)
{
    struct gemm_tiles tiles = wanted(shape, limits->compute_units);
    while (group_size(&tiles) > limits->group_size && shrink(&tiles)) continue;
    while (!fits_local_memory(&tiles, shape, limits) && tiles.depth > 1) tiles.depth /= 2;
    while (!fits_local_memory(&tiles, shape, limits) && shrink(&tiles)) continue;
    return tiles;
}

bool cg_gemm_tiles_fit(const struct gemm_tiles *tiles, const struct gemm_shape *shape, const struct gemm_limits *limits)
{
    return tiles->rows >= 1 && tiles->rows <= MOST_TILE && tiles->columns >= 1 && tiles->columns <= MOST_TILE &&
           tiles->depth >= 1 && tiles->depth <= MOST_DEPTH && tiles->item_rows >= 1 && tiles->item_columns >= 1 &&
           tiles->rows % tiles->item_rows == 0 && tiles->columns % tiles->item_columns == 0 &&
           sums_bytes(tiles, shape->f64) <= 2 * MOST_SUMS_BYTES && group_size(tiles) <= limits->group_size &&
           fits_local_memory(tiles, shape, limits);
}

/* As many shares as keep the device busy, each deep enough to be worth putting aside. */
static int64_t count_shares(const struct gemm_tiles *tiles, const struct gemm_shape *shape,
                            const struct gemm_limits *limits)
{
    const int64_t groups = count_tiles(tiles, shape->m, shape->n) * shape->batches;
    const int64_t wanted = GROUPS_PER_UNIT * (int64_t)limits->compute_units;
    if (shape->k < SHARED_DEPTH || groups == 0) return 1;
    return cg_larger(1, cg_smaller(cg_smaller(wanted / groups, shape->k / LEAST_SHARE), MOST_SHARES));
}

struct gemm_tiles_launch cg_gemm_tiles_launch(const struct gemm_tiles *tiles, const struct gemm_shape *shape,
                                              const struct gemm_limits *limits)
{
    const struct gemm_shape typical = cg_gemm_typical(shape);
    const bool shared = count_shares(tiles, &typical, limits) > 1;
    const int64_t depth = cg_divide_up(shape->k, shared ? count_shares(tiles, shape, limits) : 1);
    struct gemm_tiles_launch launch = {.local = (size_t)group_size(tiles), .shared = shared, .shares = 1};
    launch.share_depth = cg_divide_up(depth, tiles->depth) * tiles->depth;
    if (launch.share_depth > 0 && launch.share_depth < shape->k)
        launch.shares = cg_divide_up(shape->k, launch.share_depth);
    if (shared) launch.scratch_elements = launch.shares * shape->batches * shape->m * shape->n;
    launch.global[0] = (size_t)count_tiles(tiles, shape->m, shape->n) * launch.local;
    launch.global[1] = (size_t)cg_smaller(shape->batches, MOST_BATCHES);
    launch.global[2] = (size_t)launch.shares;
    return launch;
}

struct gemm_sums_launch cg_gemm_sums_launch(const struct gemm_shape *shape, const struct gemm_limits *limits)
{
    struct gemm_sums_launch launch = {.columns = (int)cg_smaller(SUMS_COLUMNS, limits->group_size), .lanes = 1};
    const int64_t bytes = (int64_t)launch.columns * SUMS_LANES * (shape->f64 ? 8 : 4);
    if (launch.columns * SUMS_LANES <= limits->group_size && bytes <= limits->local_bytes) launch.lanes = SUMS_LANES;
    const int64_t groups = cg_divide_up(shape->m * shape->n * shape->batches, launch.columns);
    launch.global[0] = (size_t)(cg_smaller(groups, MOST_SUMS_GROUPS) * launch.columns * launch.lanes);
    launch.global[1] = launch.global[2] = 1;
    return launch;
}

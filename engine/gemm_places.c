/* Which products the kernel whose vectors run along places takes, and how they are dealt out to the cores. It touches
 * nothing but its arguments. Costs are in multiply-adds of one vector. */
#include "engine/gemm_places.h"
#include "engine/integers.h"

/* Of the multiply-adds that the packed kernel does in the same time, packing and gathering apart. */
static const double FULL_SPEED = 0.85;
enum {
    TILE_COLUMNS = 4,      /* as in the kernel */
    MOST_PLACES = 4096,    /* of a line, which is never cut */
    MOST_ROWS = 1024,      /* whose places in the planes are known at a time */
    GATHER_COLUMNS = 16,   /* what the packed kernel takes to gather a column of A, in columns of B, */
    GATHER_LINE = 320,     /* and a line */
    BLOCK_PLACES = 1024,   /* of the lines that a tile goes over: they and what they meet stay in a first-level cache */
    MOST_PLANES = 1 << 16, /* elements that are gathered at a time: they stay in a second-level cache */
    GATHER_STEPS = 8,      /* gathering a vector of a plane */
    PACK_STEPS = 2,        /* packing one of a column */
    MOST_GROUPS_PER_UNIT = 4
};

/* Of a block: as many as stay in the first-level cache. */
static int64_t lines_of_block(const struct gemm_slides *slides)
{
    return cg_even_part(slides->lines, cg_larger(1, BLOCK_PLACES / slides->places));
}

/* From one line to the next; the layout is that of cl_kernels/gemm_places.cl, as are the next two. */
static int64_t pitch(const struct gemm_slides *slides)
{
    return slides->places + slides->reach_places - slides->border;
}

static int64_t unit_of_block(const struct gemm_slides *slides)
{
    return (pitch(slides) * (lines_of_block(slides) + slides->reach_lines) + slides->border) * slides->phases;
}

static int64_t vectors_of_block(const struct gemm_slides *slides, int64_t lanes)
{
    return cg_divide_up((lines_of_block(slides) - 1) * pitch(slides) + slides->places, lanes);
}

/* Gathering a unit, for each vector of places: what blocks reach beyond themselves is gathered again. */
static double gather_steps(const struct gemm_slides *slides)
{
    return GATHER_STEPS * (double)unit_of_block(slides) / (double)(slides->places * lines_of_block(slides));
}

bool cg_gemm_has_places(const struct gemm_shape *shape, const struct gemm_device *device)
{
    const struct gemm_slides *slides = &shape->slides_of_a;
    const int64_t lanes = cg_gemm_lanes(shape, device);
    if (lanes < 4 || slides->unit == 0 || !shape->transposed_b || shape->n_varies || shape->m_varies) return false;
    if (slides->places > MOST_PLACES || unit_of_block(slides) > MOST_PLANES) return false;
    /* For each unit. What lies between lines is computed here, what fills up the last vector of a row of C there. */
    const double full = (double)(slides->places * lines_of_block(slides)) /
                        (double)(vectors_of_block(slides, lanes) * lanes);
    const double gather = GATHER_COLUMNS + (double)GATHER_LINE / (double)slides->places;
    const double packed = (double)slides->unit * ((double)(cg_divide_up(shape->n, lanes) * lanes) + gather);
    return (double)(slides->unit * shape->n) / (FULL_SPEED * full) + gather_steps(slides) < packed;
}

/* So many units of rows and columns for each work-group; returns what the slowest core then does. */
static double divide(struct gemm_places_launch *launch, const struct gemm_shape *shape, int64_t row_groups,
                     int64_t column_groups, const struct gemm_device *device)
{
    const struct gemm_slides *slides = &shape->slides_of_a;
    const int64_t units = shape->m / slides->unit, tiles = cg_divide_up(shape->n, TILE_COLUMNS);
    launch->units = (int)cg_divide_up(units, row_groups);
    launch->columns = (int)(cg_divide_up(tiles, column_groups) * TILE_COLUMNS);
    launch->global[0] = (size_t)cg_divide_up(units, launch->units);
    launch->global[1] = (size_t)cg_divide_up(shape->n, launch->columns);
    const int64_t groups = (int64_t)(launch->global[0] * launch->global[1]);
    const int64_t most = (int64_t)MOST_GROUPS_PER_UNIT * device->compute_units;
    launch->global[2] = (size_t)cg_smaller(shape->batches, cg_larger(1, most / groups));
    const int64_t all = groups * (int64_t)launch->global[2], turns = cg_divide_up(all, device->compute_units);
    const int64_t batches_each = cg_divide_up(shape->batches, (int64_t)launch->global[2]);
    const int64_t rows = cg_divide_up(launch->units * slides->unit, launch->tile_rows) * launch->tile_rows;
    const int64_t lines = lines_of_block(slides);
    const double vectors = (double)(vectors_of_block(slides, launch->lanes) *
                                    cg_divide_up(shape->k, slides->places * lines));
    const double each = (double)(rows * launch->columns) + gather_steps(slides) * launch->units +
                        (double)(PACK_STEPS * launch->columns);
    return each * vectors * (double)(turns * batches_each) + (all > 1 ? GEMM_WAKE_STEPS : 0);
}

static void divide_work(struct gemm_places_launch *launch, const struct gemm_shape *shape,
                        const struct gemm_device *device)
{
    const int64_t most = (int64_t)MOST_GROUPS_PER_UNIT * device->compute_units;
    struct gemm_places_launch best = *launch;
    double least = 0;
    for (int64_t rows = 1; rows <= cg_smaller(most, shape->m / shape->slides_of_a.unit); rows++) {
        for (int64_t columns = 1; rows * columns <= most; columns++) {
            struct gemm_places_launch trial = *launch;
            const double cost = divide(&trial, shape, rows, columns, device);
            if (least == 0 || cost < least) best = trial, least = cost;
        }
    }
    *launch = best;
}

/* Blocks of K, as long as they stay in the first-level cache, and equal. */
static void cut_depth(struct gemm_places_launch *launch, const struct gemm_shape *shape)
{
    const struct gemm_slides *slides = &shape->slides_of_a;
    const int64_t images = slides->outer * cg_larger(1, shape->stretches);
    launch->lines_at_once = (int)lines_of_block(slides);
    launch->images_at_once = (int)cg_smaller(images, cg_larger(1, BLOCK_PLACES / (slides->places * slides->lines)));
    const int64_t unit = unit_of_block(slides) * launch->images_at_once;
    launch->units_at_once = (int)cg_smaller(launch->units,
                                            cg_larger(1, cg_smaller(MOST_PLANES / unit, MOST_ROWS / slides->unit)));
    const int64_t packed = vectors_of_block(slides, launch->lanes) * TILE_COLUMNS * launch->lanes;
    launch->scratch_elements = launch->units_at_once * unit + 3 * launch->lanes + launch->images_at_once * packed +
                               launch->units * slides->unit * launch->columns;
}

struct gemm_places_launch cg_gemm_places(const struct gemm_shape *shape, const struct gemm_device *device)
{
    struct gemm_places_launch launch = {
        .lanes = cg_gemm_lanes(shape, device), .tile_rows = device->registers >= 32 ? 6 : 2, .most_rows = MOST_ROWS};
    if (shape->m * shape->n * shape->batches == 0) return launch;
    divide_work(&launch, shape, device);
    cut_depth(&launch, shape);
    launch.scratch_elements *= (int64_t)(launch.global[0] * launch.global[1] * launch.global[2]);
    return launch;
}

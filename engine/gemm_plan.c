/* Which tile, and how the work is dealt to the cores, by a small model of the costs. It touches nothing but its
 * arguments. The costs are in multiply-adds of one vector, for one step of k where that applies. They need not be
 * exact: they weigh idle cores against copying an operand more often, which differ by far more. */
#include "engine/gemm_plan.h"
#include "engine/integers.h"

enum {
    TYPICAL_MINIBATCH = 128,
    PACK_B_ROWS = 6,          /* packing a row of a panel of B costs what multiplying this many rows of A by it does */
    SLIDE_ROWS = 8,           /* the same for an element of a plane */
    PACK_A_COLUMNS = 8,       /* packing a column of A what multiplying it by this many columns of B does */
    GATHER_A_COLUMNS = 16,    /* gathering it */
    READ_A_COLUMNS = 2,       /* reading it in place, as a panel of one strip does, */
    COLLIDING_A_COLUMNS = 16, /* and that where its rows evict each other from the first-level cache: */
    COLLISION_BYTES = 4096,   /* they lie at multiples of the part of it that one way holds */
    STORE_STEPS = 10,         /* storing an element of C, in steps of k */
    COLD_SCRATCH = 100,       /* an element of scratch that a work-group begins with and no cache holds, */
    KEPT_SCRATCH = 4 << 20,   /* bytes of it that a core's caches hold from one work-group to the next */
    MOST_ROWS = 1032,         /* bounds the partial sums that a work-group keeps */
    MOST_GROUPS_PER_UNIT = 4,
    MOST_SCRATCH = 1 << 17, /* elements of a work-group with slides: half of a second-level cache of 1 MiB in f32 */
    MOST_SLIDING_DEPTH = 640,
    MOST_PANEL_VECTORS = 64, /* bounds for a division that is given */
    LEAST_DEPTH = 64,
    MOST_DEPTH = 4096,
    PACKED_BUFFERS = 2, /* of A, as in the kernel, where it is packed on the way */
    PACKED_TILES = 8    /* in all of them, where it is stored [k,m] */
};

int cg_gemm_lanes(const struct gemm_shape *shape, const struct gemm_device *device)
{
    return shape->f64 ? device->lanes_f64 : device->lanes_f32;
}

static int tile_rows(const struct gemm_device *device)
{
    return device->registers >= 32 ? 12 : 6;
}

/* With slides: what a panel holds of all planes of so many rows of B, and what is read and written beyond. */
static int64_t planes_size(const struct gemm_launch *launch, const struct gemm_slides *slides, int64_t rows)
{
    const int64_t plane = launch->pitch * (launch->lines + slides->reach_lines) + slides->border;
    return rows / slides->unit * slides->phases * plane;
}

/* The layout is that of multiply_panel in cl_kernels/gemm_packed.cl. */
static int64_t scratch_per_group(const struct gemm_launch *launch, const struct gemm_shape *shape, int tile)
{
    int64_t packed_b = (int64_t)launch->columns * (launch->depth + 1);
    const int buffers = shape->gathered_a || shape->slides.unit > 0 ? 1 : PACKED_BUFFERS;
    const int64_t packed_a = shape->transposed_a ? (int64_t)PACKED_TILES * tile * (launch->depth + launch->lanes)
                                                 : (int64_t)buffers * tile * (launch->most_depth + launch->lanes);
    const int64_t partial_rows = shape->k > launch->depth || shape->stretches > 1 ? launch->rows : tile;
    if (shape->slides.unit > 0)
        packed_b = planes_size(launch, &shape->slides, cg_smaller(launch->depth, shape->k)) + 3 * launch->lanes +
                   tile * (launch->columns + launch->lanes);
    return packed_b + packed_a + partial_rows * launch->columns;
}

/* What bringing a column of A to the tiles costs, in columns of B to multiply it by. */
static int cost_of_a(const struct gemm_launch *launch, const struct gemm_shape *shape)
{
    const int64_t leading = (shape->transposed_a ? shape->m : shape->k) * (shape->f64 ? 8 : 4);
    if (shape->gathered_a) return GATHER_A_COLUMNS;
    if (launch->columns > 2 * launch->lanes) return PACK_A_COLUMNS;
    return leading % COLLISION_BYTES == 0 ? COLLIDING_A_COLUMNS : READ_A_COLUMNS;
}

/* What a work-group pays for scratch of its own where all of it is too much to stay in the caches: fewer work-groups,
 * with more panels each, then pay less. */
static double cold_scratch(const struct gemm_launch *launch, const struct gemm_shape *shape,
                           const struct gemm_device *device, int64_t groups)
{
    if (shape->gathered_a || shape->gathered_b || shape->slides.unit > 0) return 0;
    const int64_t elements = scratch_per_group(launch, shape, tile_rows(device));
    const bool stays = groups * elements * (shape->f64 ? 8 : 4) <= (int64_t)KEPT_SCRATCH * device->compute_units;
    return stays ? 0 : COLD_SCRATCH * (double)elements;
}

/* What the work-groups that one core gets cost it. */
static double launch_cost(const struct gemm_launch *launch, const struct gemm_shape *shape,
                          const struct gemm_device *device)
{
    const int64_t strip = cg_smaller(launch->columns, 2 * launch->lanes),
                  panels = cg_divide_up(shape->n, launch->columns);
    const int64_t panels_each = cg_divide_up(panels, (int64_t)launch->global[1]);
    const int64_t batches_each = cg_divide_up(shape->batches, (int64_t)launch->global[2]);
    const int64_t groups = (int64_t)(launch->global[0] * launch->global[1] * launch->global[2]);
    const int64_t turns = cg_divide_up(groups, device->compute_units);
    const double rows = (double)cg_smaller(launch->rows, shape->m), k = (double)shape->k;
    const double columns = (double)cg_smaller(panels_each * launch->columns, cg_divide_up(shape->n, strip) * strip);
    double pack_b = PACK_B_ROWS * columns * k;
    if (shape->slides.unit > 0)
        pack_b = SLIDE_ROWS * (double)panels_each * (double)planes_size(launch, &shape->slides, shape->k);
    const double group = rows * columns * (k + STORE_STEPS) + pack_b +
                         cost_of_a(launch, shape) * rows * k * (double)panels_each +
                         cold_scratch(launch, shape, device, groups);
    /* More turns even out what another process takes from a core. */
    const double disturbance = 1 + 0.02 / (double)turns;
    return group * (double)(turns * batches_each) * disturbance / launch->lanes + (groups > 1 ? GEMM_WAKE_STEPS : 0);
}

/* Sets rows and global for given columns: the cheapest way to deal the product out to the cores. Returns its cost. */
static double divide_work(struct gemm_launch *launch, const struct gemm_shape *shape, const struct gemm_device *device)
{
    const int tile = tile_rows(device);
    const int64_t tiles = cg_larger(1, cg_divide_up(shape->m, tile)), most_tiles = MOST_ROWS / tile;
    const int64_t most_groups = (int64_t)MOST_GROUPS_PER_UNIT * device->compute_units;
    const int64_t panels = cg_divide_up(shape->n, launch->columns), fewest = cg_divide_up(tiles, most_tiles);
    struct gemm_launch best = *launch;
    double best_cost = 0;
    for (int64_t splits = fewest; splits <= cg_smaller(tiles, cg_larger(fewest, most_groups)); splits++) {
        struct gemm_launch trial = *launch;
        trial.rows = (int)(cg_divide_up(tiles, splits) * tile);
        trial.global[0] = (size_t)cg_divide_up(shape->m, trial.rows);
        for (int64_t groups = 1; groups <= cg_larger(1, cg_smaller(panels, most_groups)); groups++) {
            trial.global[1] = (size_t)cg_smaller(panels, groups);
            const int64_t left = cg_larger(1, most_groups / cg_larger(1, (int64_t)(trial.global[0] * trial.global[1])));
            trial.global[2] = (size_t)cg_smaller(shape->batches, left);
            if (trial.global[0] * trial.global[1] * trial.global[2] == 0) {
                *launch = trial;
                return 0;
            }
            const double cost = launch_cost(&trial, shape, device);
            if (best_cost == 0 || cost < best_cost) best = trial, best_cost = cost;
        }
    }
    *launch = best;
    return best_cost;
}

/* As deep as half of a second-level cache of 1 MiB allows: sums are then rarely put aside and taken up again. */
static int most_depth(const struct gemm_shape *shape)
{
    return shape->slides.unit > 0 ? MOST_SLIDING_DEPTH : shape->f64 ? 512 : 1024;
}

/* A deep A that is stored [k,m] is packed several tiles at a time, beside which the panel of B must have room: it is a
 * quarter as deep and may be twice as wide as usual, for which A is packed half as often. */
static bool is_cut_shallow(const struct gemm_shape *shape)
{
    return shape->transposed_a && !shape->gathered_a && shape->stretches <= 1 && shape->slides.unit == 0 &&
           !shape->k_varies && shape->k >= most_depth(shape);
}

/* A minibatch's extent is replaced by a typical one, so that the choice is the same for every minibatch; so is the
 * number of products, which may hold one too. */
static int choose_columns(struct gemm_launch launch, struct gemm_shape shape, const struct gemm_device *device)
{
    shape = cg_gemm_typical(&shape);
    shape.batches = 1;
    if (shape.n <= launch.lanes) return launch.lanes;
    int best = 0;
    double best_cost = 0;
    for (int vectors = 2; vectors <= (is_cut_shallow(&shape) ? 32 : 16); vectors *= 2) {
        launch.columns = vectors * launch.lanes;
        const double cost = divide_work(&launch, &shape, device);
        if (!best || cost < best_cost) best = launch.columns, best_cost = cost;
    }
    return best;
}

struct gemm_shape cg_gemm_typical(const struct gemm_shape *shape)
{
    struct gemm_shape typical = *shape;
    if (shape->m_varies) typical.m = TYPICAL_MINIBATCH;
    if (shape->n_varies) typical.n = TYPICAL_MINIBATCH * cg_larger(1, shape->segment);
    if (shape->k_varies) typical.k = TYPICAL_MINIBATCH;
    if (shape->batches_vary) typical.batches = TYPICAL_MINIBATCH;
    return typical;
}

/* Sets rows and global as they are given. */
static void divide_as(struct gemm_launch *launch, const struct gemm_shape *shape, const struct gemm_device *device,
                      const struct gemm_division *division)
{
    const int tile = tile_rows(device);
    const int64_t tiles = cg_larger(1, cg_divide_up(shape->m, tile)), fewest = cg_divide_up(tiles, MOST_ROWS / tile);
    const int64_t splits = cg_smaller(tiles, cg_larger(fewest, division->row_groups));
    const int64_t most_groups = (int64_t)MOST_GROUPS_PER_UNIT * device->compute_units;
    launch->rows = (int)(cg_divide_up(tiles, splits) * tile);
    launch->global[0] = (size_t)cg_divide_up(shape->m, launch->rows);
    launch->global[1] = (size_t)cg_smaller(cg_divide_up(shape->n, launch->columns), division->column_groups);
    const int64_t left = cg_larger(1, most_groups / cg_larger(1, (int64_t)(launch->global[0] * launch->global[1])));
    launch->global[2] = (size_t)cg_smaller(shape->batches, left);
}

bool cg_gemm_division_fits(const struct gemm_division *division, bool f64, const struct gemm_device *device)
{
    const int lanes = f64 ? device->lanes_f64 : device->lanes_f32;
    return (division->columns == lanes || (division->columns >= 2 * lanes && division->columns % (2 * lanes) == 0)) &&
           division->columns <= MOST_PANEL_VECTORS * lanes && division->depth >= LEAST_DEPTH &&
           division->depth <= MOST_DEPTH && division->row_groups >= 1 && division->column_groups >= 1 &&
           (int64_t)division->row_groups * division->column_groups <=
               (int64_t)MOST_GROUPS_PER_UNIT * device->compute_units;
}

/* Kernels with slides are built for each depth: for less there is less, in few steps. */
static int choose_depth(const struct gemm_shape *shape)
{
    const int64_t k = cg_gemm_typical(shape).k / cg_larger(1, shape->stretches);
    int depth = most_depth(shape);
    if (shape->k_varies) return depth;
    if (is_cut_shallow(shape)) return depth / 4;
    if (shape->slides.unit == 0) return (int)cg_larger(LEAST_DEPTH, cg_smaller(depth, k));
    while (depth / 4 >= k && depth / 4 >= LEAST_DEPTH) depth /= 4;
    return depth;
}

struct gemm_launch cg_gemm_plan(const struct gemm_shape *shape, const struct gemm_device *device)
{
    return cg_gemm_plan_as(shape, device, &(struct gemm_division){0});
}

/* With slides: the part of an image whose places, with what lies between its lines, so many columns hold. Returns the
 * shape with the columns that are computed, and sets those of a panel. */
static struct gemm_shape cut_image(struct gemm_launch *launch, const struct gemm_shape *shape, int most)
{
    const struct gemm_slides *slides = &shape->slides;
    const int64_t strip = 2 * launch->lanes, across = cg_divide_up(slides->places, most);
    struct gemm_shape computed = *shape;
    int64_t down = slides->lines;
    launch->places = (int)slides->places;
    launch->lines = 1;
    launch->span = 0;
    launch->pitch = (int)(slides->places + slides->reach_places - slides->border);
    if (across > 1) {
        launch->places = (int)(cg_divide_up(cg_divide_up(slides->places, across), strip) * strip);
        launch->columns = launch->places;
        launch->pitch = (int)(launch->places + slides->reach_places);
    } else {
        const int64_t pitch = launch->pitch;
        const int64_t span = cg_divide_up(slides->places, strip) * strip;
        const int64_t joined_lines = cg_even_part(slides->lines, (most - slides->places) / pitch + 1);
        const int64_t joined = cg_divide_up((joined_lines - 1) * pitch + slides->places, strip) * strip;
        const int64_t lines = cg_even_part(slides->lines, cg_larger(1, most / span));
        const bool joins = cg_divide_up(slides->lines, joined_lines) * joined <
                           cg_divide_up(slides->lines, lines) * lines * span;
        launch->span = joins ? 0 : (int)span;
        launch->lines = (int)(joins ? joined_lines : lines);
        launch->columns = (int)(joins ? joined : lines * span);
        down = cg_divide_up(slides->lines, launch->lines);
    }
    computed.n = across * down * slides->outer * launch->columns;
    return computed;
}

struct gemm_cut cg_gemm_cut(const struct gemm_shape *shape, const struct gemm_device *device, int vectors,
                            int64_t units)
{
    struct gemm_cut cut = {.launch = {.lanes = cg_gemm_lanes(shape, device)}};
    cut.columns = cut_image(&cut.launch, shape, vectors * cut.launch.lanes).n;
    cut.panels = cut.columns / cut.launch.columns;
    cut.planes = planes_size(&cut.launch, &shape->slides, units * shape->slides.unit) + 3 * cut.launch.lanes;
    return cut;
}

static void divide(struct gemm_launch *launch, const struct gemm_shape *shape, const struct gemm_device *device,
                   const struct gemm_division *division)
{
    if (division->row_groups > 0 && division->column_groups > 0)
        divide_as(launch, shape, device, division);
    else
        divide_work(launch, shape, device);
}

/* With slides: a panel's size is a constant of the kernel's, how much of it is used is an argument. */
static void divide_slides(struct gemm_launch *launch, const struct gemm_shape *shape, const struct gemm_device *device,
                          const struct gemm_division *division)
{
    const struct gemm_shape typical = cg_gemm_typical(shape);
    int columns = division->columns > 0 ? (int)cg_larger(division->columns, 2 * launch->lanes) : 0;
    double least = 0;
    for (int vectors = 4; vectors <= 32 && division->columns == 0; vectors *= 2) {
        struct gemm_launch trial = *launch;
        const struct gemm_shape computed = cut_image(&trial, &typical, vectors * launch->lanes);
        const double cost = divide_work(&trial, &computed, device);
        trial.columns = vectors * launch->lanes;
        if (columns > 0 && scratch_per_group(&trial, shape, tile_rows(device)) > MOST_SCRATCH) break;
        if (columns == 0 || cost < least) columns = vectors * launch->lanes, least = cost;
    }
    const struct gemm_shape computed = cut_image(launch, shape, columns);
    divide(launch, &computed, device, division);
    launch->columns = columns;
}

struct gemm_launch cg_gemm_plan_as(const struct gemm_shape *shape, const struct gemm_device *device,
                                   const struct gemm_division *division)
{
    struct gemm_launch launch = {.depth = choose_depth(shape), .lanes = cg_gemm_lanes(shape, device)};
    if (division->depth > 0) launch.depth = (int)cg_larger(division->depth, shape->slides.unit);
    launch.most_depth = shape->slides.unit > 0 ? launch.depth : most_depth(shape);
    while (launch.most_depth < launch.depth) launch.most_depth *= 2;
    if (shape->slides.unit > 0) {
        divide_slides(&launch, shape, device, division);
    } else {
        launch.columns = division->columns > 0 ? division->columns : choose_columns(launch, *shape, device);
        divide(&launch, shape, device, division);
    }
    const int64_t groups = (int64_t)(launch.global[0] * launch.global[1] * launch.global[2]);
    launch.scratch_elements = groups * scratch_per_group(&launch, shape, tile_rows(device));
    return launch;
}

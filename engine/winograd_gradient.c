#include "engine/winograd_gradient.h"
#include "engine/integers.h"

/* What costs how much, in multiply-adds of one vector; measured over 16 to 512 channels and images of 7x7 to 112x112.
 */
static const double MULTIPLY = 1.2, DIRECT = 1.6, CLEARLY_BETTER = 0.9;
enum {
    COTANGENT_STEPS = 380, /* transforming a tile of a vector of outputs */
    BACK_STEPS = 1200      /* a vector of sums, which go through memory */
};

enum {
    POINTS = 6, /* along an axis */
    PLANES = POINTS * POINTS,
    MOST_BLOCK = 64,
    MOST_TILES = 64,              /* of a part, */
    CACHED_ELEMENTS = 300 * 1024, /* which stays in a second-level cache with the sums of a block */
    GROUPS_PER_UNIT = 2,
    BALANCED_BLOCKS = 4 /* for each unit: from here on one of them more or less does not matter */
};

bool cg_winograd_gradient(const cg_operands *operands, const struct gemm_shape *shape, struct winograd_images *images)
{
    const cg_operand *cotangents = &operands->of[1];
    if (shape->f64 || shape->batches > 1 || cotangents->gathered || !cotangents->transposed) return false;
    if (!cg_winograd_windows(&operands->of[0], images)) return false;
    images->images = operands->stretches;
    images->outputs = shape->n;
    return true;
}

/* Equal ones of at most so many, and whole units. */
static int64_t block_of(int64_t whole, int64_t most, int64_t unit)
{
    return cg_divide_up(cg_even_part(whole, most), unit) * unit;
}

static int64_t tiles_at_once(const struct winograd_gradient_launch *launch, int64_t deep)
{
    const int64_t rest = CACHED_ELEMENTS / PLANES - launch->block_channels * launch->block_outputs * deep;
    return cg_larger(1, cg_smaller(rest / (launch->block_channels + launch->block_outputs), MOST_TILES));
}

struct winograd_gradient_launch cg_winograd_gradient_plan(const struct winograd_images *images,
                                                          const struct gemm_device *device)
{
    struct winograd_gradient_launch launch = {.extent = (int)images->extent,
                                              .edge = POINTS + 1 - (int)images->extent,
                                              .tile_rows = device->registers >= 32 ? 8 : 4,
                                              .strip_vectors = images->outputs > device->lanes_f32 ? 2 : 1,
                                              .lanes = device->lanes_f32};
    const int64_t lanes = launch.lanes, units = device->compute_units, deep = images->z.deep;
    const int64_t unit = cg_larger(lanes, launch.tile_rows), strip = lanes * launch.strip_vectors;
    launch.block_channels = block_of(images->channels, cg_larger(unit, MOST_BLOCK / deep / unit * unit), unit);
    launch.block_outputs = block_of(images->outputs, MOST_BLOCK, strip);
    launch.parts = cg_winograd_cut(images, launch.edge, tiles_at_once(&launch, deep), lanes);
    const int64_t blocks = cg_divide_up(images->channels, launch.block_channels) *
                           cg_divide_up(images->outputs, launch.block_outputs);
    if (blocks < BALANCED_BLOCKS * units) launch.shares = units / cg_greatest_divisor(units, blocks);
    launch.shares = cg_larger(1, cg_smaller(launch.shares, launch.parts.parts));
    launch.global[0] = (size_t)cg_smaller(blocks * launch.shares, GROUPS_PER_UNIT * units);
    launch.global[1] = launch.global[2] = 1;
    launch.sums_width = cg_divide_up(images->outputs, strip) * strip;
    launch.sums = launch.shares * images->channels * deep * launch.extent * launch.extent * launch.sums_width;
    /* The layout is that of sum_block in cl_kernels/winograd_gradient.cl. */
    const int64_t of_point = launch.parts.tiles_read * launch.block_channels +
                             launch.parts.tiles * launch.block_outputs +
                             deep * launch.block_channels * launch.block_outputs + 3 * lanes;
    launch.scratch_elements = launch.sums +
                              (int64_t)launch.global[0] * (launch.parts.places * lanes + PLANES * of_point);
    return launch;
}

bool cg_winograd_gradient_pays(const struct winograd_images *images, const struct gemm_device *device)
{
    const struct winograd_gradient_launch launch = cg_winograd_gradient_plan(images, device);
    const int64_t lanes = launch.lanes, strip = lanes * launch.strip_vectors;
    const int64_t rows = cg_divide_up(images->channels, launch.tile_rows) * launch.tile_rows * images->z.deep;
    const double vectors = (double)(cg_divide_up(images->outputs, strip) * launch.strip_vectors);
    const double tiles = (double)(launch.parts.parts * launch.parts.tiles);
    const double multiplying = MULTIPLY * PLANES * (double)rows * vectors * tiles;
    const double images_forth = (double)launch.parts.parts * cg_winograd_transform_steps(&launch.parts, PLANES) *
                                (double)cg_divide_up(images->channels, lanes) *
                                (double)cg_divide_up(images->outputs, launch.block_outputs);
    const double cotangents_forth = COTANGENT_STEPS * tiles * (double)cg_divide_up(images->outputs, lanes) *
                                    (double)cg_divide_up(images->channels, launch.block_channels);
    const double back = BACK_STEPS * (double)(launch.shares * rows) * vectors;
    const double places = (double)(images->images * images->z.count * images->y.places * images->x.places);
    const double direct = DIRECT * (double)(images->extent * images->extent * images->channels * images->z.deep) *
                          (double)images->outputs * places / (double)lanes;
    return multiplying + images_forth + cotangents_forth + back < CLEARLY_BETTER * direct;
}

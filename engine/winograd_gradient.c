#include "engine/winograd_gradient.h"
#include "engine/integers.h"

/* What costs how much, in multiply-adds of one vector; measured over 16 to 512 channels and images of 7x7 to 112x112.
 */
static const double MULTIPLY = 1.2, DIRECT = 1.6, CLEARLY_BETTER = 0.9;
enum {
    IMAGE_STEPS = 520,     /* transforming a tile of a vector of channels, */
    COTANGENT_STEPS = 380, /* and of outputs */
    BACK_STEPS = 1200      /* a vector of sums, which go through memory */
};

enum {
    POINTS = 6, /* along an axis */
    MOST_BLOCK = 64,
    MOST_TILES = 64,              /* of a chunk, */
    CACHED_ELEMENTS = 300 * 1024, /* which stays in a second-level cache with the sums of a block */
    GROUPS_PER_UNIT = 2,
    BALANCED_BLOCKS = 4 /* for each unit: from here on one of them more or less does not matter */
};

bool cg_winograd_gradient(const cg_operands *operands, const struct gemm_shape *shape, struct winograd_images *images)
{
    const cg_operand *cotangents = &operands->of[1];
    if (shape->f64 || shape->batches > 1 || cotangents->gathered || !cotangents->transposed) return false;
    if (!cg_winograd_windows(&operands->of[0], images)) return false;
    images->images = operands->stretches * images->z.count;
    images->outputs = shape->n;
    return images->extent == 3 || images->extent == 5;
}

/* Equal ones of at most MOST_BLOCK. */
static int64_t block_of(int64_t whole, int64_t unit)
{
    return cg_divide_up(cg_even_part(whole, MOST_BLOCK), unit) * unit;
}

static void cut_tiles(struct winograd_gradient_launch *launch, const struct winograd_images *images)
{
    const int64_t rest = CACHED_ELEMENTS / (POINTS * POINTS) - launch->block_channels * launch->block_outputs;
    const int64_t fitting = rest / (launch->block_channels + launch->block_outputs);
    const int64_t most = cg_larger(1, cg_smaller(fitting, MOST_TILES));
    launch->tiles_y = cg_divide_up(images->y.places, launch->edge);
    launch->tiles_x = cg_divide_up(images->x.places, launch->edge);
    launch->tiles_wide = cg_even_part(launch->tiles_x, most);
    launch->tiles_high = cg_even_part(launch->tiles_y, cg_larger(1, most / launch->tiles_wide));
    const int64_t tiles = launch->tiles_x * launch->tiles_y;
    launch->images_at_once = cg_even_part(images->images, cg_larger(1, most / tiles));
}

static int64_t chunks_of(const struct winograd_gradient_launch *launch, const struct winograd_images *images)
{
    return cg_divide_up(images->images, launch->images_at_once) * cg_divide_up(launch->tiles_y, launch->tiles_high) *
           cg_divide_up(launch->tiles_x, launch->tiles_wide);
}

struct winograd_gradient_launch cg_winograd_gradient_plan(const struct winograd_images *images,
                                                          const struct gemm_device *device)
{
    struct winograd_gradient_launch launch = {.extent = (int)images->extent,
                                              .edge = POINTS + 1 - (int)images->extent,
                                              .tile_rows = device->registers >= 32 ? 8 : 4,
                                              .strip_vectors = images->outputs > device->lanes_f32 ? 2 : 1,
                                              .lanes = device->lanes_f32};
    const int64_t lanes = launch.lanes, units = device->compute_units;
    launch.block_channels = block_of(images->channels, cg_larger(lanes, launch.tile_rows));
    launch.block_outputs = block_of(images->outputs, lanes * launch.strip_vectors);
    cut_tiles(&launch, images);
    const int64_t blocks = cg_divide_up(images->channels, launch.block_channels) *
                           cg_divide_up(images->outputs, launch.block_outputs);
    if (blocks < BALANCED_BLOCKS * units) launch.shares = units / cg_greatest_divisor(units, blocks);
    launch.shares = cg_larger(1, cg_smaller(launch.shares, chunks_of(&launch, images)));
    launch.global[0] = (size_t)cg_smaller(blocks * launch.shares, GROUPS_PER_UNIT * units);
    launch.global[1] = launch.global[2] = 1;
    /* The layout is that of cl_kernels/winograd_gradient.cl. */
    const int64_t tiles = launch.images_at_once * launch.tiles_high * launch.tiles_wide;
    const int64_t reach = launch.extent - 1;
    const int64_t places = (launch.tiles_high * launch.edge + reach) * (launch.tiles_wide * launch.edge + reach);
    const int64_t of_point = tiles * (launch.block_channels + launch.block_outputs) +
                             launch.block_channels * launch.block_outputs + 3 * lanes;
    launch.sums_width = cg_divide_up(images->outputs, lanes * launch.strip_vectors) * lanes * launch.strip_vectors;
    launch.sums = launch.shares * images->channels * launch.extent * launch.extent * launch.sums_width;
    launch.scratch_elements = launch.sums +
                              (int64_t)launch.global[0] * ((places + lanes) * lanes + POINTS * POINTS * of_point);
    return launch;
}

bool cg_winograd_gradient_pays(const struct winograd_images *images, const struct gemm_device *device)
{
    const struct winograd_gradient_launch launch = cg_winograd_gradient_plan(images, device);
    const int64_t lanes = launch.lanes;
    const double channels = (double)(cg_divide_up(images->channels, launch.tile_rows) * launch.tile_rows);
    const double outputs = (double)(cg_divide_up(images->outputs, lanes * launch.strip_vectors) * launch.strip_vectors);
    const double tiles = (double)(images->images * launch.tiles_y * launch.tiles_x);
    const double channel_vectors = (double)cg_divide_up(images->channels, lanes);
    const double output_vectors = (double)cg_divide_up(images->outputs, lanes);
    const double channel_blocks = (double)cg_divide_up(images->channels, launch.block_channels);
    const double output_blocks = (double)cg_divide_up(images->outputs, launch.block_outputs);
    const double multiplying = MULTIPLY * POINTS * POINTS * channels * outputs * tiles;
    const double transforms = tiles * (IMAGE_STEPS * channel_vectors * output_blocks +
                                       COTANGENT_STEPS * output_vectors * channel_blocks);
    const double back = BACK_STEPS * (double)launch.shares * channels * output_vectors;
    const double places = (double)(images->images * images->y.places * images->x.places);
    const double direct = DIRECT * (double)(images->extent * images->extent * images->channels * images->outputs) *
                          places / (double)lanes;
    return multiplying + transforms + back < CLEARLY_BETTER * direct;
}

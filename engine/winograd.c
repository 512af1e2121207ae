#include "engine/winograd.h"
#include "engine/integers.h"

/* What costs how much, in multiply-adds of one vector; measured over 3 to 512 channels and images of 7x7 to 224x224. */
static const double MULTIPLY = 1.2, CLEARLY_BETTER = 0.9;
enum {
    GATHER_ROWS = 6,    /* gathering a column of windows, in rows to multiply it by */
    TRANSFORM_4 = 1040, /* what a whole vector of tiles costs, each channel and each output */
    TRANSFORM_2 = 480,
    TRANSFORM_2_OF_5 = 480, /* kernels of 5x5 */
    KERNEL_STEPS = 4        /* an element of the transformed kernels */
};

enum {
    TILES = 32,      /* of a block: what its transforms take then stays in a second-level cache for most layers */
    BLOCK_ROWS = 32, /* whose sums are kept at a time */
    CHANNELS_EACH = 64,
    GROUPS_PER_UNIT = 4
};

/* --- what is a convolution --- */

/* A part along which the address grows by `stride`. */
static bool is_part(const cg_part *part, int64_t extent, int64_t stride)
{
    return part->extent == extent && part->stride == stride;
}

/* The coordinate that grows along these parts, and along nothing else: -1 if there is none. A part of -1 is none. */
static bool find_coordinate(const cg_operand *o, int row_part, int column_part, int *found)
{
    *found = -1;
    for (int g = 0; g < o->coordinate_count; g++) {
        const bool grows = (row_part >= 0 && o->rows.of[row_part].step[g] != 0) ||
                           (column_part >= 0 && o->columns.of[column_part].step[g] != 0);
        if (!grows) continue;
        if (*found >= 0) return false;
        for (int i = 0; i < o->rows.count; i++)
            if (o->rows.of[i].step[g] != 0 && i != row_part) return false;
        for (int i = 0; i < o->columns.count; i++)
            if (o->columns.of[i].step[g] != 0 && i != column_part) return false;
        *found = g;
    }
    return true;
}

/* The same for a row or a column of an image: by one along both. */
static bool find_unit_coordinate(const cg_operand *o, int part, int *found)
{
    return find_coordinate(o, part, part, found) &&
           (*found < 0 || (o->rows.of[part].step[*found] == 1 && o->columns.of[part].step[*found] == 1));
}

/* What lies beyond the last window is not to be read: it may be anything. */
static struct winograd_axis axis_of(const cg_operand *o, int coordinate, int64_t extent, int64_t places)
{
    struct winograd_axis axis = {.end = places + extent - 1, .places = places};
    if (coordinate < 0) return axis;
    axis.first = o->coordinate[coordinate].first;
    axis.end = cg_smaller(o->coordinate[coordinate].extent, axis.first + axis.end);
    return axis;
}

/* Slices of a volume: what is left of rows and columns beside kernels' and images' two axes, and channels. */
static bool read_slices(const cg_operand *o, struct winograd_slices *z, int *coordinate)
{
    const int deep = o->rows.count == 4 ? 2 : -1, slice = o->columns.count == 3 ? 2 : -1;
    *z = (struct winograd_slices){.count = 1, .deep = 1, .end = 1};
    if (!find_coordinate(o, deep, slice, coordinate)) return false;
    if (deep >= 0) {
        z->deep = o->rows.of[deep].extent;
        z->stride_deep = o->rows.of[deep].stride;
    }
    if (slice >= 0) {
        z->count = o->columns.of[slice].extent;
        z->stride = o->columns.of[slice].stride;
    }
    if (*coordinate < 0) return true;
    z->first = o->coordinate[*coordinate].first;
    z->end = o->coordinate[*coordinate].extent;
    if (deep >= 0) z->step_deep = o->rows.of[deep].step[*coordinate];
    if (slice >= 0) z->step = o->columns.of[slice].step[*coordinate];
    return true;
}

/* Of so many channels, with so many elements each; what of them lies in order is one part. */
static bool read_kernels(const cg_operand *o, int64_t channels, int64_t elements, struct winograd_kernels *found)
{
    *found = (struct winograd_kernels){.stride_output = o->leading, .stride_channel = elements, .way = 1};
    for (int i = 0; i < CG_MAX_RANK; i++)
        if (o->batch_stride[i] != 0) return false;
    if (!o->gathered) return !o->transposed;
    if (o->coordinate_count > 0 || o->rows.count > 1 || o->columns.count != (channels > 1 ? 2 : 1)) return false;
    found->way = o->columns.of[0].stride;
    found->stride_output = o->rows.count == 1 ? o->rows.of[0].stride : 0;
    if (channels > 1) found->stride_channel = o->columns.of[1].stride;
    return o->columns.of[0].extent == elements && (found->way == 1 || found->way == -1);
}

bool cg_winograd_windows(const cg_operand *o, struct winograd_images *images)
{
    const cg_part *rows = o->rows.of, *columns = o->columns.of;
    struct winograd_slices slices;
    int z, y, x;
    if (!o->gathered || o->rows.count < 3 || o->rows.count > 4 || o->columns.count < 2 || o->columns.count > 3)
        return false;
    const int64_t extent = rows[0].extent, across = columns[1].stride;
    const cg_part *channels = &rows[o->rows.count - 1];
    if (!is_part(&rows[0], extent, 1) || !is_part(&rows[1], extent, across)) return false;
    if (columns[0].stride != 1 || channels->stride < 0 || across < 0) return false;
    if (!find_unit_coordinate(o, 0, &x) || !find_unit_coordinate(o, 1, &y) || !read_slices(o, &slices, &z))
        return false;
    if (o->coordinate_count != (x >= 0) + (y >= 0) + (z >= 0)) return false;
    *images = (struct winograd_images){.channels = channels->extent * slices.deep,
                                       .extent = extent,
                                       .stride_y = across,
                                       .stride_c = channels->stride,
                                       .y = axis_of(o, y, extent, columns[1].extent),
                                       .x = axis_of(o, x, extent, columns[0].extent),
                                       .z = slices};
    return true;
}

bool cg_winograd_images(const cg_operands *operands, const struct gemm_shape *shape, struct winograd_images *images)
{
    if (shape->f64 || operands->stretches > 1 || !cg_winograd_windows(&operands->of[1], images)) return false;
    if (images->extent != 3 && images->extent != 5) return false;
    images->images = shape->batches * images->z.count;
    images->outputs = shape->m;
    const int64_t deep = images->z.deep;
    return read_kernels(&operands->of[0], images->channels / deep, images->extent * images->extent * deep,
                        &images->kernels);
}

/* --- when it pays --- */

/* Of products that gather, and of Winograd's with tiles of such an edge. */
static double cost_of_direct(const struct winograd_images *images, int lanes)
{
    const int64_t strips = cg_divide_up(images->y.places * images->x.places, 2 * lanes);
    const int64_t elements = images->extent * images->extent;
    return 2.0 * (double)(elements * images->images * strips * images->channels) *
           (double)(images->outputs + GATHER_ROWS);
}

static double cost_of_winograd(const struct winograd_images *images, int edge, const struct gemm_device *device)
{
    const struct winograd_launch launch = cg_winograd_plan(images, edge, device);
    const double planes = (double)launch.planes, channels = (double)images->channels;
    const double rows = (double)(cg_divide_up(images->outputs, launch.tile_rows) * launch.tile_rows);
    const int64_t spans = images->images * launch.tiles_y * cg_divide_up(launch.tiles_x, TILES);
    const int64_t pieces = cg_divide_up(cg_smaller(launch.tiles_x, TILES), launch.short_lanes);
    const int64_t blocks = cg_divide_up(images->images * launch.tiles_y * launch.tiles_x, TILES);
    const int64_t vectors = blocks * (TILES / launch.lanes);
    const double multiplying = MULTIPLY * planes * channels * rows * (double)vectors;
    const double vectors_across = (double)(spans * pieces * launch.short_lanes) / launch.lanes;
    const double transforms = (channels + (double)images->outputs) * vectors_across;
    const double transform = images->extent == 5 ? TRANSFORM_2_OF_5 : edge == 2 ? TRANSFORM_2 : TRANSFORM_4;
    return multiplying + transforms * transform + KERNEL_STEPS * planes * channels * rows;
}

int cg_winograd_most(const struct winograd_images *images)
{
    return images->extent == 3 ? 4 : 2;
}

int cg_winograd_edge(const struct winograd_images *images, const struct gemm_device *device)
{
    const double direct = cost_of_direct(images, device->lanes_f32);
    int best = 0;
    double best_cost = CLEARLY_BETTER * direct;
    for (int edge = 2; edge <= cg_winograd_most(images); edge += 2) {
        const double cost = cost_of_winograd(images, edge, device);
        if (cost < best_cost) best = edge, best_cost = cost;
    }
    return best;
}

/* --- the launch --- */

/* As wide as a row of tiles, or the device's vectors: what is transformed down goes on to the tile behind the row. */
static int short_lanes(int64_t tiles_across, int lanes)
{
    int width = 4;
    while (2 * width <= lanes && 2 * width <= tiles_across + 2) width *= 2;
    return width;
}

struct winograd_launch cg_winograd_plan(const struct winograd_images *images, int edge,
                                        const struct gemm_device *device)
{
    const int lanes = device->lanes_f32, tile_rows = device->registers >= 32 ? 8 : 4;
    const int points = edge + (int)images->extent - 1;
    struct winograd_launch launch = {.edge = edge,
                                     .extent = (int)images->extent,
                                     .planes = (int64_t)points * points,
                                     .tiles = TILES,
                                     .block_rows = BLOCK_ROWS,
                                     .tile_rows = tile_rows,
                                     .lanes = lanes,
                                     .channels_each = CHANNELS_EACH,
                                     .tiles_y = cg_divide_up(images->y.places, edge),
                                     .tiles_x = cg_divide_up(images->x.places, edge)};
    launch.short_lanes = short_lanes(launch.tiles_x, lanes);
    const int64_t blocks = cg_divide_up(images->images * launch.tiles_y * launch.tiles_x, TILES);
    const int64_t row_tiles = cg_divide_up(images->outputs, tile_rows), most = GROUPS_PER_UNIT * device->compute_units;
    /* Rows are dealt out only if there are too few blocks: each share of them transforms the images anew. */
    const int64_t splits = cg_larger(1, cg_smaller(row_tiles, device->compute_units / cg_larger(1, blocks)));
    launch.rows = cg_divide_up(row_tiles, splits) * tile_rows;
    launch.global[0] = (size_t)cg_smaller(blocks, most);
    launch.global[1] = (size_t)cg_divide_up(images->outputs, launch.rows);
    launch.global[2] = 1;
    launch.kernels_global[0] = (size_t)row_tiles;
    launch.kernels_global[1] = (size_t)cg_divide_up(images->channels, CHANNELS_EACH);
    launch.kernels_global[2] = 1;
    launch.kernel_plane = row_tiles * tile_rows * images->channels + lanes; /* padding, as in the kernel */
    /* The layout is that of convolve_block in cl_kernels/winograd.cl. */
    const int64_t lines = points * edge * (TILES + 2 * lanes), image = images->channels * TILES + lanes;
    const int64_t result = BLOCK_ROWS * TILES + lanes;
    const int64_t groups = (int64_t)(launch.global[0] * launch.global[1]);
    launch.scratch_elements = groups * (2 * lines + launch.planes * (image + result) + 2 * lanes);
    return launch;
}

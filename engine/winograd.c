#include "engine/winograd.h"
#include "engine/integers.h"

/* What costs how much, in multiply-adds of one vector; measured over 3 to 512 channels and images of 7x7 to 224x224. */
static const double MULTIPLY = 1.2, CLEARLY_BETTER = 0.9;
enum {
    GATHER_ROWS = 6,      /* gathering a column of windows, in rows to multiply it by */
    TRANSFORM_STEPS = 14, /* a vector of channels, each point of a tile, */
    BACK_STEPS = 12,      /* and of outputs */
    KERNEL_STEPS = 4      /* an element of the transformed kernels */
};

enum {
    MOST_TILES = 64, /* of a part, */
    LEAST_TILES = 32,
    CACHED_ELEMENTS = 300 * 1024, /* whose images and results then stay in a second-level cache for most layers */
    BLOCK_OUTPUTS = 64,
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
    const cg_part none = {.extent = 1};
    const bool has_deep = o->rows.count == 4, has_slices = o->columns.count == 3;
    const cg_part *deep = has_deep ? &o->rows.of[2] : &none, *slices = has_slices ? &o->columns.of[2] : &none;
    const cg_part *along = has_deep ? deep : slices;
    *z = (struct winograd_slices){.count = slices->extent, .deep = deep->extent, .end = 1};
    if (!find_coordinate(o, has_deep ? 2 : -1, has_slices ? 2 : -1, coordinate)) return false;
    if (!has_deep && !has_slices) return true;
    if (along->stride <= 0 || slices->stride < 0) return false;
    z->stride = cg_greatest_divisor(along->stride, slices->stride);
    z->slice_step = slices->stride / z->stride;
    z->deep_step = deep->stride / z->stride;
    if (*coordinate < 0) return true;
    z->first = o->coordinate[*coordinate].first;
    z->end = o->coordinate[*coordinate].extent;
    z->step = along->step[*coordinate] * z->stride / along->stride;
    return z->step >= 0 && deep->step[*coordinate] == z->step * z->deep_step &&
           slices->step[*coordinate] == z->step * z->slice_step;
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
    if ((extent != 3 && extent != 5) || !is_part(&rows[0], extent, 1) || !is_part(&rows[1], extent, across))
        return false;
    if (columns[0].stride != 1 || channels->stride < 0 || across < 0) return false;
    if (!find_unit_coordinate(o, 0, &x) || !find_unit_coordinate(o, 1, &y) || !read_slices(o, &slices, &z))
        return false;
    if (o->coordinate_count != (x >= 0) + (y >= 0) + (z >= 0)) return false;
    *images = (struct winograd_images){.channels = channels->extent,
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
    images->images = shape->batches;
    images->outputs = shape->m;
    const int64_t elements = images->extent * images->extent * images->z.deep;
    return read_kernels(&operands->of[0], images->channels, elements, &images->kernels);
}

/* --- tiles --- */

/* Slices that so many outputs read. */
static int64_t slices_read(const struct winograd_slices *z, int64_t slices)
{
    return (slices - 1) * z->slice_step + (z->deep - 1) * z->deep_step + 1;
}

/* Slices first, for those of a volume have most in common; only whole images go together, and none of which slices are
 * left out. */
struct winograd_parts cg_winograd_cut(const struct winograd_images *images, int64_t edge, int64_t most, int64_t lanes)
{
    const struct winograd_slices *z = &images->z;
    struct winograd_parts cut = {
        .tiles_y = cg_divide_up(images->y.places, edge), .tiles_x = cg_divide_up(images->x.places, edge), .images = 1};
    const bool overlap = z->slice_step <= z->deep * z->deep_step || z->slice_step == 1;
    cut.wide = cg_even_part(cut.tiles_x, most);
    cut.slices = overlap ? cg_even_part(z->count, cg_larger(1, most / cut.wide)) : 1;
    cut.high = cg_even_part(cut.tiles_y, cg_larger(1, most / (cut.wide * cut.slices)));
    const int64_t tiles = cut.wide * cut.slices * cut.high;
    const bool whole = cut.wide == cut.tiles_x && cut.high == cut.tiles_y && cut.slices == z->count;
    if (whole && (cut.slices == 1 || z->slice_step == 1))
        cut.images = cg_even_part(images->images, cg_larger(1, most / tiles));
    cut.parts = cg_divide_up(images->images, cut.images) * cg_divide_up(z->count, cut.slices) *
                cg_divide_up(cut.tiles_y, cut.high) * cg_divide_up(cut.tiles_x, cut.wide);
    cut.tiles = cut.images * tiles;
    cut.tiles_read = cut.images * slices_read(z, cut.slices) * cut.high * cut.wide;
    const int64_t reach = images->extent - 1;
    cut.places = (cut.high * edge + reach) * (cut.wide * edge + reach) + lanes;
    return cut;
}

double cg_winograd_transform_steps(const struct winograd_parts *parts, int64_t planes)
{
    return (double)(TRANSFORM_STEPS * planes * parts->tiles_read);
}

/* --- when it pays --- */

/* Of products that gather, and of Winograd's with tiles of such an edge. */
static double cost_of_direct(const struct winograd_images *images, int lanes)
{
    const int64_t strips = cg_divide_up(images->y.places * images->x.places, 2 * lanes);
    return 2.0 *
           (double)(images->extent * images->extent * images->images * images->z.count * strips * images->channels *
                    images->z.deep) *
           (double)(images->outputs + GATHER_ROWS);
}

static double cost_of_winograd(const struct winograd_images *images, int edge, const struct gemm_device *device)
{
    const struct winograd_launch launch = cg_winograd_plan(images, edge, device);
    const int64_t points = edge + images->extent - 1, planes = points * points, lanes = launch.lanes;
    const double terms = (double)(images->channels * images->z.deep);
    const double vectors = (double)(cg_divide_up(images->outputs, lanes * launch.strip_vectors) * launch.strip_vectors);
    const double tiles = (double)(cg_divide_up(launch.parts.tiles, launch.tile_rows) * launch.tile_rows);
    const double multiplying = MULTIPLY * (double)planes * terms * vectors * tiles;
    const double forth = cg_winograd_transform_steps(&launch.parts, planes) *
                         (double)cg_divide_up(images->channels, lanes);
    const double back = (double)(BACK_STEPS * planes * launch.parts.tiles * cg_divide_up(images->outputs, lanes));
    const double splits = (double)launch.global[1];
    return (double)launch.parts.parts * (multiplying + splits * forth + back) +
           KERNEL_STEPS * (double)planes * terms * vectors * (double)lanes;
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

/* As many as the cache holds, but some for each core. */
static int64_t tiles_at_once(const struct winograd_images *images, int64_t planes, int64_t edge, int64_t width,
                             int64_t units)
{
    const int64_t across = cg_divide_up(images->x.places, edge), down = cg_divide_up(images->y.places, edge);
    const int64_t all = images->images * images->z.count * across * down;
    const int64_t fitting = CACHED_ELEMENTS / planes / width;
    const int64_t most = cg_larger(LEAST_TILES, cg_smaller(fitting, MOST_TILES));
    return cg_smaller(most, cg_larger(8, cg_divide_up(all, units)));
}

struct winograd_launch cg_winograd_plan(const struct winograd_images *images, int edge,
                                        const struct gemm_device *device)
{
    const int64_t lanes = device->lanes_f32, units = device->compute_units;
    struct winograd_launch launch = {.extent = (int)images->extent,
                                     .edge = edge,
                                     .tile_rows = device->registers >= 32 ? 8 : 4,
                                     .strip_vectors = images->outputs > lanes ? 2 : 1,
                                     .lanes = (int)lanes,
                                     .most_tiles = MOST_TILES,
                                     .channels_each = CHANNELS_EACH};
    const int64_t strip = launch.strip_vectors * lanes, strips = cg_divide_up(images->outputs, strip);
    const int64_t points = edge + images->extent - 1, planes = points * points;
    launch.image_width = cg_divide_up(images->channels, lanes) * lanes;
    launch.block_outputs = cg_smaller(strips, BLOCK_OUTPUTS / strip) * strip;
    launch.parts = cg_winograd_cut(
        images, edge, tiles_at_once(images, planes, edge, launch.image_width + launch.block_outputs, units), lanes);
    /* Rows are dealt out only if there are too few parts: each share of them transforms the images anew. */
    const int64_t parts = launch.parts.parts, groups = cg_smaller(parts, GROUPS_PER_UNIT * units);
    const int64_t splits = cg_larger(1, cg_smaller(strips, units / cg_larger(1, parts)));
    launch.rows = cg_divide_up(strips, splits) * strip;
    launch.global[0] = (size_t)groups;
    launch.global[1] = (size_t)cg_divide_up(images->outputs, launch.rows);
    launch.global[2] = 1;
    launch.kernels_global[0] = (size_t)strips;
    launch.kernels_global[1] = (size_t)cg_divide_up(images->channels, CHANNELS_EACH);
    launch.kernels_global[2] = 1;
    launch.kernel_plane = strips * strip * images->channels * images->z.deep + lanes; /* padding, as in the kernel */
    launch.kernel_elements = planes * launch.kernel_plane;
    /* The layout is that of convolve_part in cl_kernels/winograd.cl. */
    const int64_t image = launch.parts.tiles_read * launch.image_width + lanes;
    const int64_t result = launch.parts.tiles * launch.block_outputs + lanes;
    launch.scratch_elements = (int64_t)(launch.global[0] * launch.global[1]) *
                              (2 * launch.parts.places * lanes + planes * (image + result));
    return launch;
}

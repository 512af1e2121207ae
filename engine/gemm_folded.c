#include "engine/gemm_folded.h"
#include "engine/integers.h"

enum {
    WINDOW_NUMBERS = 6,
    LEAST_CHANNELS = 4,     /* fewer leave tiles of sums too empty */
    MOST_SCRATCH = 3 << 16, /* elements of a work-group: three quarters of a second-level cache of 1 MiB in f32 */
    MOST_TABLE = 1 << 16,   /* rows whose places in the planes are listed */
    MOST_INDEX = INT32_MAX / 4,
    FOLD_STEPS = 64,        /* storing an element of the product and folding it, in steps of k */
    NEAR_KERNELS = 1 << 17, /* elements that a second-level cache holds beside planes, of which reading a row */
    READ_NEAR = 3,          /* costs what multiplying it by so many columns does, */
    READ_FAR = 12,          /* and elsewhere */
    SLIDE_ROWS = 8,         /* gathering an element of a plane costs what multiplying it by this many rows does */
    IMAGES_EACH = 64,       /* of the packed kernels */
    GROUPS_PER_UNIT = 4
};

/* --- what can be folded --- */

static struct gemm_folded_axis axis_of(const int64_t *numbers)
{
    struct gemm_folded_axis a = {numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], 0, 0, 0, 0, 0};
    if (a.stride <= 0 || a.before < 0) return a;
    const int64_t whole = cg_divide_up(a.before, a.stride);
    a.places = cg_divide_up(a.size, a.stride);
    a.shift = whole * a.stride - a.before;
    a.reach = ((a.extent - 1) * a.dilation + a.shift) / a.stride;
    a.first = whole - a.reach;
    a.step = a.stride / cg_greatest_divisor(a.stride, a.dilation);
    return a;
}

static bool read_axes(const cg_node *fold, struct gemm_folded *f)
{
    static const int64_t single[WINDOW_NUMBERS] = {1, 1, 1, 1, 1, 0};
    struct gemm_folded_axis *axes[] = {&f->x, &f->y, &f->z};
    const int rank = fold->attribute_count / WINDOW_NUMBERS;
    for (int i = 0; i < 3; i++) {
        *axes[i] = axis_of(i < rank ? fold->attributes + (rank - 1 - i) * WINDOW_NUMBERS : single);
        if (axes[i]->places <= 0 || axes[i]->size > MOST_INDEX || axes[i]->count > MOST_INDEX) return false;
    }
    f->elements = f->z.extent * f->y.extent * f->x.extent;
    return true;
}

static cg_part part_of(int64_t extent, int64_t stride, int coordinate)
{
    cg_part part = {.extent = extent, .stride = stride};
    if (coordinate >= 0) part.step[coordinate] = 1;
    return part;
}

/* Images of places, `leading` elements apart, as windows of what phases read: they slide along x and y. */
static void gather(const struct gemm_folded *f, int64_t depth, cg_operand *o)
{
    const int64_t line = f->x.count, slice = f->x.count * f->y.count;
    const struct gemm_folded_axis *axes[] = {&f->x, &f->y, &f->z};
    o->gathered = true;
    o->rows = (cg_parts){4, {part_of(f->x.reach + 1, 1, 0), part_of(f->y.reach + 1, line, 1)}};
    /* What comes after one of its planes is asked for while that is gathered. */
    o->rows.of[2] = part_of(f->z.reach + 1, f->z.reach > 0 ? slice : o->leading, 2);
    o->rows.of[3] = part_of(depth, o->leading, -1);
    o->columns = (cg_parts){
        3, {part_of(f->x.places, 1, 0), part_of(f->y.places, line, 1), part_of(f->z.places, slice, 2)}};
    o->coordinate_count = 3;
    for (int i = 0; i < 3; i++) o->coordinate[i] = (cg_coordinate){axes[i]->first, axes[i]->count};
    o->slide_count = 2;
    for (int i = 0; i < 2; i++) o->slide[i] = (cg_slide){.along = i, .shift = 1, .phases = 1};
}

bool cg_gemm_folded(const cg_node *fold, const cg_node *product, const struct gemm_device *device,
                    cg_operands *operands, struct gemm_folded *folded)
{
    const struct gemm_shape shape = cg_product_shape(product, operands);
    const cg_operand *a = &operands->of[0], *b = &operands->of[1];
    struct gemm_folded f;
    if (shape.n_varies || shape.m_varies || shape.k_varies || shape.k == 0 || shape.n == 0) return false;
    if (a->gathered || b->gathered || b->transposed || operands->stretches > 1 || shape.segment > 0) return false;
    for (int i = 0; i < CG_MAX_RANK; i++)
        if (a->batch_stride[i] != 0) return false;
    if (!read_axes(fold, &f) || f.elements == 0 || shape.m % f.elements != 0) return false;
    if (shape.n != f.z.count * f.y.count * f.x.count) return false;
    f.channels = shape.m / f.elements;
    if (f.channels < LEAST_CHANNELS || shape.k * f.elements > MOST_TABLE) return false;
    if (shape.k * b->leading > MOST_INDEX || f.channels * f.x.size * f.y.size > MOST_INDEX) return false;
    f.first = f.x.first + (f.y.first + f.z.first * f.y.count) * f.x.count;
    gather(&f, shape.k, &operands->of[1]);
    *folded = f;
    const struct gemm_shape gathered = cg_product_shape(product, operands);
    const struct gemm_folded_launch launch = cg_gemm_folded_plan(&f, &gathered, device);
    /* For each image, in multiply-adds of one element. */
    const double work = (double)(shape.m * shape.k), apart = (double)shape.n * (work + FOLD_STEPS * (double)shape.m);
    return launch.group_elements <= MOST_SCRATCH && launch.cost < apart;
}

/* --- launches --- */

/* Panels of all images, and where these are too few for all cores, rows. */
static void divide(struct gemm_folded_launch *launch, const struct gemm_folded *f, const struct gemm_shape *shape,
                   int64_t panels, const struct gemm_device *device)
{
    const int64_t units = device->compute_units, most = GROUPS_PER_UNIT * units;
    const int64_t images = cg_larger(1, cg_smaller(shape->batches, most));
    const int64_t panel_groups = cg_smaller(panels, cg_divide_up(most, images));
    const int64_t tiles = cg_divide_up(f->channels, launch->tile_rows);
    const int64_t row_groups = cg_smaller(tiles, cg_divide_up(units, images * panel_groups));
    launch->rows = (int)(cg_divide_up(tiles, row_groups) * launch->tile_rows);
    launch->global[0] = (size_t)cg_divide_up(f->channels, launch->rows);
    launch->global[1] = (size_t)panel_groups;
    launch->global[2] = (size_t)cg_smaller(shape->batches, most);
    launch->groups = (int64_t)(launch->global[0] * launch->global[1] * launch->global[2]);
}

struct gemm_folded_launch cg_gemm_folded_plan(const struct gemm_folded *f, const struct gemm_shape *shape,
                                              const struct gemm_device *device)
{
    const int tile_rows = device->registers >= 32 ? 12 : 6;
    const int64_t units = shape->k * (f->z.reach + 1), sums = f->x.stride * tile_rows + f->x.stride;
    const double work = (double)(f->channels * f->elements * shape->k);
    const int64_t read_a = work > NEAR_KERNELS ? READ_FAR : READ_NEAR;
    struct gemm_folded_launch best = {0};
    for (int vectors = 4; vectors <= 32; vectors *= 2) {
        const struct gemm_cut cut = cg_gemm_cut(shape, device, vectors, units);
        const int64_t columns = vectors * cut.launch.lanes;
        const int64_t elements = cut.planes + sums * columns + f->x.stride * cut.launch.lanes + shape->k * f->elements;
        const double cost = (double)(cut.columns + read_a * cut.panels) * work +
                            SLIDE_ROWS * (double)(cut.panels * cut.planes);
        if (best.cost > 0 && (elements > MOST_SCRATCH || cost >= best.cost)) continue;
        best = (struct gemm_folded_launch){.columns = (int)columns,
                                           .lanes = cut.launch.lanes,
                                           .tile_rows = tile_rows,
                                           .images_each = IMAGES_EACH,
                                           .places = cut.launch.places,
                                           .lines = cut.launch.lines,
                                           .pitch = cut.launch.pitch,
                                           .span = cut.launch.span,
                                           .group_elements = elements,
                                           .cost = cost};
        divide(&best, f, shape, cut.panels, device);
    }
    const int64_t tiles = cg_divide_up(f->channels, tile_rows);
    best.kernels_global[0] = (size_t)tiles;
    best.kernels_global[1] = (size_t)cg_divide_up(shape->k, IMAGES_EACH);
    best.kernels_global[2] = 1;
    best.kernel_elements = tiles * tile_rows * f->elements * shape->k;
    return best;
}

/* Looks through views from a product's operands to what is stored. A reshape that only cuts and joins axes of a view is
 * looked through as well: the matrix's axes then have several parts. */
#include "engine/operand.h"
#include "engine/integers.h"

#include <string.h>

enum {
    LEAST_STRETCH = 16, /* elements of the depth; below, putting sums aside costs more than a copy */
    LEAST_SEGMENT = 4,  /* elements side by side; below, gathering costs more than a copy */
    MOST_PHASES = 4,    /* of a slide */
    MOST_REACH = 64,    /* of all slides along one part, beyond what a panel holds without */
    MOST_UNIT = 512,    /* rows of all slides together; what uses them has room for as many at least */
    LEAST_REUSE = 2,    /* how often an element comes again, for sliding to pay, */
    LEAST_SLIDING = 64, /* and how many rows of B there must be */
    MANY_COLUMNS = 256  /* that fill vectors and panels well enough by themselves */
};

/* --- views --- */

/* Coordinates of a stored item as forms of the axes of what is seen. */
typedef struct sight {
    int position; /* -1: not to be seen */
    cg_mapping mapping;
    cg_axis_shifts shifts;
    int guard_count;
    struct {
        int64_t offset, extent, factor[CG_MAX_RANK];
    } guards[CG_MOST_COORDINATES];
} sight;

/* The axes of an operand in parts, over a stored item. */
typedef struct layout {
    int position; /* -1: none */
    int64_t first;
    cg_axis_shifts shifts;
    int64_t first_factor[CG_MOST_SHIFTS];
    cg_parts axis[CG_MAX_RANK];
    int coordinate_count;
    cg_coordinate coordinate[CG_MOST_COORDINATES];
} layout;

/* Those coordinates that can fall outside are guarded. */
static bool add_guards(sight *seen, const cg_shape *from, const cg_shape *to, const cg_mapping *composed)
{
    for (int j = 0; j < to->rank; j++) {
        int64_t least = composed->offset[j], most = least;
        for (int k = 0; k < from->rank; k++) {
            const int64_t reach = composed->factor[j][k] * (from->size[k] - 1);
            least += cg_smaller(reach, 0);
            most += cg_larger(reach, 0);
        }
        if (least >= 0 && most < to->size[j]) continue;
        if (seen->guard_count == CG_MOST_COORDINATES) return false;
        seen->guards[seen->guard_count].offset = composed->offset[j];
        seen->guards[seen->guard_count].extent = to->size[j];
        memcpy(seen->guards[seen->guard_count].factor, composed->factor[j], sizeof composed->factor[j]);
        seen->guard_count++;
    }
    return true;
}

/* Follows views from a node down to what is stored, composing their mappings. */
static sight look_through(const cg_schedule *s, const cg_node *from)
{
    sight seen = {.position = from->position};
    for (int i = 0; i < from->shape.rank; i++) seen.mapping.factor[i][i] = 1;
    for (;;) {
        const cg_entry *item = &s->items[seen.position];
        if (item->kind != CG_ITEM_VIEW || item->forced) return seen;
        cg_call_view view;
        cg_mapping step = {0}, composed = {0};
        cg_call_of(item->node, &view);
        item->node->op->move(&view.call, &step);
        const cg_node *input = item->node->inputs[0];
        for (int j = 0; j < input->shape.rank; j++) {
            composed.offset[j] = step.offset[j];
            for (int i = 0; i < item->node->shape.rank; i++) {
                composed.offset[j] += step.factor[j][i] * seen.mapping.offset[i];
                for (int k = 0; k < from->shape.rank; k++)
                    composed.factor[j][k] += step.factor[j][i] * seen.mapping.factor[i][k];
            }
        }
        cg_shift_coordinates(item->node, &step, &composed, &seen.shifts);
        if (step.guarded && (seen.shifts.count > 0 || !add_guards(&seen, &from->shape, &input->shape, &composed))) {
            seen.position = -1;
            return seen;
        }
        seen.mapping = composed;
        seen.position = input->position;
    }
}

/* --- parts --- */

/* Parts over which everything goes on by even steps are one. */
static bool add_part(cg_parts *parts, const cg_part *part, int coordinates)
{
    cg_part *last = parts->count > 0 ? &parts->of[parts->count - 1] : NULL;
    if (part->extent == 1) return true;
    bool goes_on = last && part->stride == last->stride * last->extent;
    for (int g = 0; goes_on && g < coordinates; g++) goes_on = part->step[g] == last->step[g] * last->extent;
    if (goes_on) {
        last->extent *= part->extent;
        return true;
    }
    if (parts->count == CG_MOST_PARTS) return false;
    parts->of[parts->count++] = *part;
    return true;
}

static cg_part part_of(const layout *l, int64_t extent, const cg_part *form)
{
    cg_part part = {.extent = extent, .stride = form->stride};
    memcpy(part.step, form->step, (size_t)l->coordinate_count * sizeof *part.step);
    return part;
}

/* What the address and the coordinates grow by along each axis of what is seen. Its first element goes into the layout.
 */
static void forms_of(const cg_schedule *s, const sight *seen, int rank, layout *l, cg_part *forms)
{
    const cg_shape *base = &s->items[seen->position].node->shape;
    int64_t contiguous = 1;
    *l = (layout){.position = seen->position, .shifts = seen->shifts, .coordinate_count = seen->guard_count};
    memset(forms, 0, (size_t)rank * sizeof *forms);
    for (int j = base->rank - 1; j >= 0; j--) {
        for (int k = 0; k < rank; k++) forms[k].stride += contiguous * seen->mapping.factor[j][k];
        l->first += contiguous * seen->mapping.offset[j];
        for (int i = 0; i < seen->shifts.count; i++) l->first_factor[i] += contiguous * seen->shifts.of[i].factor[j];
        contiguous *= base->size[j];
    }
    for (int g = 0; g < seen->guard_count; g++) {
        l->coordinate[g] = (cg_coordinate){seen->guards[g].offset, seen->guards[g].extent};
        for (int k = 0; k < rank; k++) forms[k].step[g] = seen->guards[g].factor[k];
    }
}

static bool is_stored(const cg_entry *item)
{
    return item->kind != CG_ITEM_VALUE && (item->kind != CG_ITEM_VIEW || item->forced);
}

/* An operand as it is seen without looking through a reshape. */
static layout plain_layout(const cg_schedule *s, const cg_node *operand)
{
    layout l = {.position = -1};
    cg_part forms[CG_MAX_RANK];
    const sight seen = look_through(s, operand);
    if (seen.position < 0 || seen.guard_count > 0 || !is_stored(&s->items[seen.position])) return l;
    forms_of(s, &seen, operand->shape.rank, &l, forms);
    for (int i = 0; i < operand->shape.rank; i++) {
        const cg_part part = part_of(&l, operand->shape.size[i], &forms[i]);
        add_part(&l.axis[i], &part, 0);
    }
    return l;
}

/* The axis of the operand that an axis of the reshape is, or -1. */
static int axis_seen_as(const sight *seen, int axis, int rank)
{
    int found = -1;
    if (seen->mapping.offset[axis] != 0) return -1;
    for (int k = 0; k < rank; k++) {
        if (seen->mapping.factor[axis][k] == 0) continue;
        if (seen->mapping.factor[axis][k] != 1 || found >= 0) return -1;
        found = k;
    }
    return found;
}

/* Deals the axes of `from`, of those forms, out to the axes of `to`, the same elements in the same order: whole, or cut
 * where that comes out even. `axes` has an axis of the layout for each of `to`. */
static bool deal_out(layout *l, const cg_shape *from, cg_part *forms, const cg_shape *to, const int *axes)
{
    int i = from->rank - 1;
    int64_t left = i >= 0 ? from->size[i] : 1;
    for (int j = to->rank - 1; j >= 0; j--) {
        for (int64_t wanted = to->size[j]; wanted > 1;) {
            if (left == 1 && i > 0) {
                left = from->size[--i];
                continue;
            }
            const int64_t taken = cg_smaller(left, wanted);
            if (taken <= 1 || left % taken || wanted % taken) return false;
            const cg_part part = part_of(l, taken, &forms[i]);
            if (!add_part(&l->axis[axes[j]], &part, l->coordinate_count)) return false;
            left /= taken;
            wanted /= taken;
            forms[i].stride *= taken;
            for (int g = 0; g < l->coordinate_count; g++) forms[i].step[g] *= taken;
        }
    }
    return true;
}

/* An operand seen through a reshape of a view, if that is what it is. */
static layout reshaped_layout(const cg_schedule *s, const cg_node *operand)
{
    layout l = {.position = -1};
    const layout none = l;
    const int rank = operand->shape.rank;
    const sight seen = look_through(s, operand);
    const cg_entry *reshape = seen.position >= 0 ? &s->items[seen.position] : NULL;
    if (!reshape || reshape->kind != CG_ITEM_ALIAS || seen.guard_count > 0 || seen.shifts.count > 0) return none;
    const cg_node *view = reshape->node->inputs[0];
    const cg_entry *item = &s->items[view->position];
    int axes[CG_MAX_RANK];
    if (item->kind != CG_ITEM_VIEW || item->forced) return none;
    for (int j = 0; j < reshape->node->shape.rank; j++) {
        axes[j] = axis_seen_as(&seen, j, rank);
        if (axes[j] < 0 && reshape->node->shape.size[j] > 1) return none;
    }
    const sight below = look_through(s, view);
    cg_part forms[CG_MAX_RANK];
    if (below.position < 0 || below.shifts.count > 0 || !is_stored(&s->items[below.position])) return none;
    forms_of(s, &below, view->shape.rank, &l, forms);
    return deal_out(&l, &view->shape, forms, &reshape->node->shape, axes) ? l : none;
}

/* --- stretches of the depth --- */

static cg_parts *depth_of(layout *l, int which, int rank)
{
    return &l->axis[rank - (which == 0 ? 1 : 2)];
}

/* Can the depth's outermost part be cut into so many stretches, all at the same coordinates? */
static bool has_stretches(layout *l, int which, int rank, int64_t stretches)
{
    const cg_parts *depth = depth_of(l, which, rank);
    if (depth->count == 0) return false;
    const cg_part *last = &depth->of[depth->count - 1];
    for (int g = 0; g < l->coordinate_count; g++)
        if (last->step[g] != 0) return false;
    return last->extent % stretches == 0;
}

/* Takes them away. Returns the elements from one to the next. */
static int64_t take_stretches(layout *l, int which, int rank, int64_t stretches)
{
    cg_parts *depth = depth_of(l, which, rank);
    cg_part *last = &depth->of[depth->count - 1];
    const int64_t stride = last->stride * (last->extent / stretches);
    last->extent /= stretches;
    depth->count -= last->extent == 1;
    return stride;
}

/* --- operands --- */

static cg_operand operand_at(const layout *l)
{
    cg_operand found = {.item = -1, .first = {.base = l->first, .count = (int)l->shifts.count, .wide = true}};
    for (int i = 0; i < l->shifts.count; i++)
        found.first.shifts[i] = (cg_shift){l->shifts.of[i].item, l->shifts.of[i].attribute, l->first_factor[i]};
    return found;
}

static bool read_batches(const layout *l, const cg_node *operand, const cg_node *call, cg_operand *found)
{
    const int rank = operand->shape.rank;
    for (int k = 0; k < rank - 2; k++) {
        const cg_parts *parts = &l->axis[k];
        if (parts->count > 1 || (parts->count == 1 && parts->of[0].stride < 0)) return false;
        for (int g = 0; parts->count == 1 && g < l->coordinate_count; g++)
            if (parts->of[0].step[g] != 0) return false;
        found->batch_stride[call->shape.rank - rank + k] = parts->count == 1 ? parts->of[0].stride : 0;
    }
    return true;
}

static int64_t extent_of(const cg_parts *parts)
{
    return parts->count == 1 ? parts->of[0].extent : 1;
}

/* A plain matrix, stored by rows or by columns; false if it is none. Any stride will do along an axis of one. */
static bool read_plain(const layout *l, int rank, cg_operand *found)
{
    const cg_parts *r = &l->axis[rank - 2], *c = &l->axis[rank - 1];
    if (l->coordinate_count > 0 || r->count > 1 || c->count > 1) return false;
    const int64_t rows = extent_of(r), columns = extent_of(c);
    const int64_t across = columns > 1 ? c->of[0].stride : 1, down = rows > 1 ? r->of[0].stride : columns;
    if (across == 1 && down >= columns) {
        found->leading = down;
    } else if ((down == 1 && across >= rows) || (rows == 1 && across >= 1)) {
        /* One row with gaps is one column of a matrix stored by columns. */
        found->leading = across;
        found->transposed = true;
    } else {
        return false;
    }
    return found->leading <= INT32_MAX; /* kernels take it in 32 bits */
}

/* How far the largest index is from the smallest. */
static int64_t reach_of(const cg_parts *a, const cg_parts *b, int coordinate)
{
    int64_t reach = 0;
    for (int which = 0; which < 2; which++) {
        const cg_parts *parts = which ? b : a;
        for (int i = 0; i < parts->count; i++) {
            const int64_t step = coordinate < 0 ? parts->of[i].stride : parts->of[i].step[coordinate];
            reach += (step < 0 ? -step : step) * (parts->of[i].extent - 1);
        }
    }
    return reach;
}

/* Are the columns segments for vectors to run along, on which only one coordinate changes? */
static bool has_segments(const layout *l, int rank, bool backwards)
{
    const cg_parts *r = &l->axis[rank - 2], *c = &l->axis[rank - 1];
    int changing = 0;
    if (r->count == 0 || c->count == 0 || c->of[0].extent < LEAST_SEGMENT) return false;
    for (int g = 0; g < l->coordinate_count; g++) changing += c->of[0].step[g] != 0;
    return c->of[0].stride >= (backwards ? -1 : 1) && changing <= 1;
}

/* Addresses and coordinates in 32 bits. */
static bool read_gathered(const layout *l, int rank, cg_gathering gathering, cg_operand *found)
{
    const cg_parts *r = &l->axis[rank - 2], *c = &l->axis[rank - 1];
    if (gathering != CG_GATHERS_ANYTHING && !has_segments(l, rank, gathering == CG_GATHERS_KERNELS)) return false;
    for (int g = -1; g < l->coordinate_count; g++)
        if (reach_of(r, c, g) > INT32_MAX / 2) return false;
    found->gathered = true;
    found->rows = *r;
    found->columns = *c;
    found->coordinate_count = l->coordinate_count;
    memcpy(found->coordinate, l->coordinate, sizeof found->coordinate);
    return true;
}

/* Is a step along the row a step along the column, or a few of one so many of the other? */
static bool slides_along(const cg_part *row, const cg_part *column, int coordinates, cg_slide *slide)
{
    if (row->stride <= 0 || column->stride <= 0) return false;
    const int64_t common = cg_greatest_divisor(row->stride, column->stride);
    slide->shift = row->stride / common;
    slide->phases = column->stride / common;
    for (int g = 0; g < coordinates; g++)
        if (row->step[g] * slide->phases != column->step[g] * slide->shift) return false;
    return slide->phases <= MOST_PHASES;
}

/* Finds which of the innermost parts of a gathered operand's rows slide. */
static void find_slides(cg_operand *o, int64_t least_rows)
{
    int64_t reach[2] = {0, 0}, unit = 1, phases = 1;
    int count = 0;
    for (; count < o->rows.count; count++) {
        const cg_part *row = &o->rows.of[count];
        cg_slide slide;
        bool found = false;
        for (int along = cg_smaller(o->columns.count, 2) - 1; along >= 0 && !found; along--) {
            if (!slides_along(row, &o->columns.of[along], o->coordinate_count, &slide)) continue;
            const int64_t further = (row->extent - 1) / slide.phases * slide.shift;
            slide.along = along;
            found = reach[along] + further <= MOST_REACH && unit * row->extent <= MOST_UNIT;
            if (found) reach[along] += further;
        }
        if (!found) break;
        o->slide[count] = slide;
        unit *= row->extent;
        phases *= slide.phases;
    }
    int64_t rows = 1;
    for (int i = 0; i < o->rows.count; i++) rows *= o->rows.of[i].extent;
    if (unit >= LEAST_REUSE * phases && rows >= least_rows) o->slide_count = count;
}

/* The stretches that make a plain matrix of what is none because of its depth: 1 if there are none, or if they would be
 * short. */
static int64_t stretches_of(const layout *l, int which, int rank)
{
    layout cut = *l;
    cg_operand found = {0};
    cg_parts *depth = depth_of(&cut, which, rank);
    if (l->position < 0 || depth->count != 2 || depth->of[0].extent < LEAST_STRETCH) return 1;
    const int64_t stretches = depth->of[1].extent;
    depth->count = 1;
    return read_plain(&cut, rank, &found) ? stretches : 1;
}

static cg_operand operand_of(const layout *l, const cg_node *operand, const cg_node *call, cg_gathering gathering)
{
    const int rank = operand->shape.rank;
    cg_operand found = operand_at(l);
    if (l->position >= 0 && read_batches(l, operand, call, &found) &&
        (read_plain(l, rank, &found) || (gathering != CG_GATHERS_NOTHING && read_gathered(l, rank, gathering, &found))))
        found.item = l->position;
    return found;
}

/* An operand that is copied first: where it will lie. */
static void place_copy(cg_operand *found, const cg_node *operand, const cg_node *call)
{
    const int rank = operand->shape.rank;
    *found = (cg_operand){.item = -1, .leading = operand->shape.size[rank - 1]};
    int64_t stride = operand->shape.size[rank - 1] * operand->shape.size[rank - 2];
    for (int k = rank - 3; k >= 0; k--) {
        found->batch_stride[call->shape.rank - rank + k] = operand->shape.size[k] == 1 ? 0 : stride;
        stride *= operand->shape.size[k];
    }
}

static cg_operand find(const cg_schedule *s, const cg_node *call, int which, const layout *reshaped, int64_t *stretches,
                       cg_gathering gathering)
{
    const cg_node *operand = call->inputs[which];
    const int rank = operand->shape.rank;
    const bool anything = gathering == CG_GATHERS_ANYTHING;
    cg_operand found = {.item = -1};
    if (which == 1 && !anything) gathering = cg_smaller(gathering, CG_GATHERS_FORWARDS);
    if (reshaped->position >= 0) {
        layout l = *reshaped;
        const bool fits = *stretches == 1 || has_stretches(&l, which, rank, *stretches);
        const int64_t stretch = fits && *stretches > 1 ? take_stretches(&l, which, rank, *stretches) : 0;
        if (fits) found = operand_of(&l, operand, call, gathering);
        found.stretch = stretch;
        if (found.item >= 0) return found;
    }
    layout l = plain_layout(s, operand);
    found = operand_of(&l, operand, call, anything ? gathering : CG_GATHERS_NOTHING);
    if (found.item < 0) place_copy(&found, operand, call);
    const bool along = (which == 0) != found.transposed; /* do the storage's rows run along the depth? */
    const int64_t depth = operand->shape.size[rank - (which == 0 ? 1 : 2)] / *stretches;
    found.stretch = *stretches > 1 ? depth * (along ? 1 : found.leading) : 0;
    return found;
}

/* Products of few columns with one and the same first operand, as of a kernel with small images, leave vectors and
 * panels half empty: their columns become those of one product. */
static int64_t segment_stride(const cg_node *call, const cg_operands *found)
{
    const cg_node *b = call->inputs[1];
    const cg_operand *o = &found->of[1];
    const int64_t columns = b->shape.size[b->shape.rank - 1];
    int64_t stride = 0, batches = 1;
    if (found->of[0].gathered || o->gathered || o->transposed || found->stretches > 1) return 0;
    if (columns < LEAST_SEGMENT || columns >= MANY_COLUMNS) return 0;
    for (int k = call->shape.rank - 3; k >= 0; k--) {
        if (call->shape.size[k] == 1) continue;
        if (found->of[0].batch_stride[k] != 0) return 0;
        if (batches == 1) stride = o->batch_stride[k];
        if (o->batch_stride[k] != stride * batches) return 0;
        batches *= call->shape.size[k];
    }
    return stride * batches > INT32_MAX ? 0 : stride; /* the kernel has it in 32 bits */
}

cg_operands cg_operands_find(const cg_schedule *s, const cg_node *call, cg_gathering gathering)
{
    const bool gathers = gathering != CG_GATHERS_NOTHING, anything = gathering == CG_GATHERS_ANYTHING;
    cg_operands found = {.stretches = 1};
    layout reshaped[2] = {{.position = -1}, {.position = -1}};
    for (int i = 0; gathers && i < 2; i++) {
        reshaped[i] = reshaped_layout(s, call->inputs[i]);
        if (!anything && found.stretches == 1)
            found.stretches = stretches_of(&reshaped[i], i, call->inputs[i]->shape.rank);
    }
    for (int i = 0; i < 2; i++) found.of[i] = find(s, call, i, &reshaped[i], &found.stretches, gathering);
    if (!gathers || anything) return found;
    if (found.of[1].gathered && !found.of[0].gathered && found.stretches == 1) find_slides(&found.of[1], LEAST_SLIDING);
    if (found.of[0].gathered && !found.of[1].gathered) find_slides(&found.of[0], 1);
    found.segment_stride = segment_stride(call, &found);
    return found;
}

/* So many places are 0 that a whole line begins with, and ends with. */
static int64_t border_of(const cg_operand *o, const struct gemm_slides *slides)
{
    const cg_part *inner = &o->columns.of[0];
    for (int g = 0; g < o->coordinate_count; g++) {
        if (inner->step[g] == 0) continue;
        const int64_t length = slides->places + slides->reach_places;
        const int64_t before = -o->coordinate[g].first, after = length - before - o->coordinate[g].extent;
        if (inner->step[g] != 1 || slides->phases > 1) return 0;
        /* Where a line begins is to be the same for all. */
        for (int i = o->slide_count; i < o->rows.count; i++)
            if (o->rows.of[i].step[g] != 0) return 0;
        for (int i = 1; i < o->columns.count; i++)
            if (o->columns.of[i].step[g] != 0) return 0;
        return cg_larger(0, cg_smaller(cg_smaller(before, after), slides->reach_places));
    }
    return 0;
}

/* What the plan of a product is told of slides. */
static struct gemm_slides slides_of(const cg_operand *o)
{
    struct gemm_slides slides = {.unit = 1, .phases = 1, .places = o->columns.of[0].extent, .lines = 1, .outer = 1};
    if (o->slide_count == 0) return (struct gemm_slides){0};
    if (o->columns.count > 1) slides.lines = o->columns.of[1].extent;
    for (int i = 2; i < o->columns.count; i++) slides.outer *= o->columns.of[i].extent;
    for (int i = 0; i < o->slide_count; i++) {
        const cg_slide *slide = &o->slide[i];
        const int64_t extent = o->rows.of[i].extent;
        *(slide->along == 0 ? &slides.reach_places : &slides.reach_lines) += (extent - 1) / slide->phases *
                                                                             slide->shift;
        slides.unit *= extent;
        slides.phases *= slide->phases;
    }
    slides.border = border_of(o, &slides);
    return slides;
}

static bool varies(const cg_node *node, int axis)
{
    return node->batch_axis == axis;
}

struct gemm_shape cg_product_shape(const cg_node *node, const cg_operands *operands)
{
    const cg_node *a = node->inputs[0], *b = node->inputs[1];
    const int rank = node->shape.rank;
    struct gemm_shape shape = {.m = node->shape.size[rank - 2],
                               .n = node->shape.size[rank - 1],
                               .k = a->shape.size[a->shape.rank - 1],
                               .batches = 1,
                               .transposed_a = operands->of[0].transposed,
                               .transposed_b = operands->of[1].transposed,
                               .f64 = node->dtype == CG_F64,
                               .m_varies = varies(node, rank - 2),
                               .n_varies = varies(node, rank - 1),
                               .k_varies = varies(a, a->shape.rank - 1) || varies(b, b->shape.rank - 2),
                               .batches_vary = node->batch_axis >= 0 && node->batch_axis < rank - 2,
                               .gathered_a = operands->of[0].gathered,
                               .gathered_b = operands->of[1].gathered,
                               .stretches = operands->stretches,
                               .slides = slides_of(&operands->of[1]),
                               .slides_of_a = slides_of(&operands->of[0])};
    for (int i = 0; i < rank - 2; i++) shape.batches *= node->shape.size[i];
    if (operands->segment_stride > 0) {
        shape.segment = shape.n;
        shape.n *= shape.batches;
        shape.batches = 1;
        shape.n_varies = shape.batches_vary;
        shape.batches_vary = false;
    }
    return shape;
}

/* Liveness and offsets. Ranges are placed largest first, each at the lowest offset where nothing alive at the same
 * time lies; scratch counts like any other range. */
#include "engine/memory.h"

#include <stdlib.h>
#include <string.h>

typedef struct range {
    int number;      /* as in cg_place.index of the arena */
    int first, last; /* launches, inclusive */
    int64_t used;    /* bytes that something is stored in */
    int64_t bytes, offset;
} range;

/* Arena places are numbered: stored items in order, then scratch. */
void cg_memory_places(cg_build *b)
{
    cg_schedule *s = b->schedule;
    int number = 0;
    for (int i = 0; i < s->walk->count; i++) {
        cg_entry *item = &s->items[i];
        if (item->kind == CG_ITEM_BUFFER || !item->stored) continue;
        if (item->root >= 0)
            item->place = (cg_place){.kind = CG_PLACE_ROOT, .index = item->root};
        else
            item->place = (cg_place){.kind = CG_PLACE_ARENA, .index = number++};
    }
}

/* Every range is a multiple of the device's alignment: any of them may become a memory object of its own. */
static int64_t aligned(const cg_build *b, int64_t bytes)
{
    const int64_t alignment = b->context->memory_alignment > 128 ? b->context->memory_alignment : 128;
    return (bytes + alignment - 1) / alignment * alignment;
}

static range range_of(const cg_build *b, int number, int64_t used)
{
    return (range){.number = number, .used = used, .bytes = aligned(b, used)};
}

/* From the launch that writes it to the last that has it as an argument. */
static void find_lifetimes(const cg_build *b, range *ranges, int count)
{
    for (int i = 0; i < count; i++) {
        ranges[i].first = b->plan->step_count;
        ranges[i].last = -1;
    }
    for (int n = 0; n < b->plan->step_count; n++) {
        const cg_step *step = &b->plan->steps[n];
        for (int i = 0; i < step->place_count; i++) {
            if (step->places[i].kind != CG_PLACE_ARENA) continue;
            range *r = &ranges[step->places[i].index];
            if (step->launch < r->first) r->first = step->launch;
            if (step->launch > r->last) r->last = step->launch;
        }
    }
}

/* The most bytes in use at one launch: no layout can do with less. `change` has room for each step and one more. */
static int64_t most_alive(const range *ranges, int count, int64_t *change, int steps)
{
    int64_t alive = 0, most = 0;
    memset(change, 0, (size_t)(steps + 1) * sizeof *change);
    for (int i = 0; i < count; i++) {
        if (ranges[i].last < 0) continue;
        change[ranges[i].first] += ranges[i].used;
        change[ranges[i].last + 1] -= ranges[i].used;
    }
    for (int n = 0; n < steps; n++) {
        alive += change[n];
        if (alive > most) most = alive;
    }
    return most;
}

static int by_size(const void *a, const void *b)
{
    const range *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return x->number - y->number;
}

/* The lowest offset between those placed ranges that live at the same time; `placed` is sorted by offset. */
static int64_t find_offset(const range *r, range *const *placed, int count)
{
    int64_t offset = 0;
    for (int i = 0; i < count; i++) {
        const range *other = placed[i];
        if (other->first > r->last || other->last < r->first) continue;
        if (other->offset - offset >= r->bytes) return offset;
        const int64_t end = other->offset + other->bytes;
        if (end > offset) offset = end;
    }
    return offset;
}

/* Puts a range into the list behind those that begin no later. */
static void insert_by_offset(range *r, range **placed, int count)
{
    int low = 0, high = count;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (placed[middle]->offset <= r->offset)
            low = middle + 1;
        else
            high = middle;
    }
    memmove(&placed[low + 1], &placed[low], (size_t)(count - low) * sizeof *placed);
    placed[low] = r;
}

static int64_t place_ranges(range *ranges, int count, range **placed)
{
    int64_t peak = 0;
    for (int i = 0; i < count; i++) {
        range *r = &ranges[i];
        r->offset = find_offset(r, placed, i);
        insert_by_offset(r, placed, i);
        if (r->offset + r->bytes > peak) peak = r->offset + r->bytes;
    }
    return peak;
}

static void apply_offsets(cg_build *b, const int64_t *offsets)
{
    for (int n = 0; n < b->plan->step_count; n++) {
        cg_step *step = &b->plan->steps[n];
        for (int i = 0; i < step->place_count; i++)
            if (step->places[i].kind == CG_PLACE_ARENA) step->places[i].offset = offsets[step->places[i].index];
    }
}

static bool is_temporary(const cg_entry *item)
{
    return item->stored && item->kind != CG_ITEM_BUFFER && item->place.kind == CG_PLACE_ARENA;
}

/* Stored items, then scratch, whose places are numbered here. */
static int list_ranges(cg_build *b, range *ranges)
{
    const cg_schedule *s = b->schedule;
    int count = 0;
    for (int i = 0; i < s->walk->count; i++) {
        const cg_node *node = s->items[i].node;
        if (!is_temporary(&s->items[i])) continue;
        const int64_t used = cg_shape_size(node->shape) * (int64_t)cg_dtype_bytes((cg_dtype)node->dtype);
        ranges[count] = range_of(b, count, used);
        count++;
    }
    for (int i = 0; i < b->scratch_count; i++) {
        const cg_scratch *scratch = &b->scratch[i];
        if (scratch->bytes > 0) {
            ranges[count] = range_of(b, count, scratch->bytes);
            count++;
        }
        b->plan->steps[scratch->step].places[scratch->argument].index = count - 1;
    }
    return count;
}

bool cg_memory_offsets(cg_build *b)
{
    cg_context *cg = b->context;
    cg_plan *plan = b->plan;
    const size_t most = (size_t)b->schedule->walk->count + (size_t)b->scratch_count + 1;
    range *ranges = cg_host_allocate(cg, most * sizeof *ranges);
    range **placed = cg_host_allocate(cg, most * sizeof *placed);
    int64_t *offsets = cg_host_allocate(cg, most * sizeof *offsets);
    int64_t *change = cg_host_allocate(cg, ((size_t)plan->step_count + 1) * sizeof *change);
    const bool ok = ranges && placed && offsets && change;
    if (ok) {
        const int count = list_ranges(b, ranges);
        find_lifetimes(b, ranges, count);
        plan->arena_bound = most_alive(ranges, count, change, plan->step_count);
        qsort(ranges, (size_t)count, sizeof *ranges, by_size);
        plan->arena_bytes = place_ranges(ranges, count, placed);
        /* Temporaries may all be empty, and still be arguments, which must be some memory. */
        if (count > 0 && plan->arena_bytes == 0) plan->arena_bytes = 1;
        for (int i = 0; i < count; i++) offsets[ranges[i].number] = ranges[i].offset;
        apply_offsets(b, offsets);
    }
    cg_host_free(cg, ranges);
    cg_host_free(cg, placed);
    cg_host_free(cg, offsets);
    cg_host_free(cg, change);
    return ok;
}

/* Which plans may overlap, what their memory is in a run, and what they then wait for. */
#include "engine/overlap.h"
#include "engine/bind.h"
#include "engine/buffer.h"
#include "engine/queue.h"

enum {
    MOST_SLOT_BYTES = 2 << 20, /* of temporaries that a plan may have twice... */
    SPARE_SHARE = 16           /* ...if they take no more than this part of the memory that is left */
};

/* One work-group gains nothing: it would wake other threads for nothing. */
static bool may_overlap(const cg_plan *plan)
{
    const cg_step *step = plan->steps;
    return plan->step_count == 1 && !step->status && !step->commits && !step->blas &&
           step->place_count <= CG_OVERLAP_RANGES &&
           step->global[0] * step->global[1] * step->global[2] > step->local[0] * step->local[1] * step->local[2];
}

void cg_overlap_plan(const cg_context *cg, cg_plan *plan)
{
    plan->overlaps = cg->overlap.queue && may_overlap(plan);
}

static int64_t slot_bytes(const cg_context *cg, const cg_plan *plan)
{
    return cg_buffer_bytes(cg, plan->arena_bytes);
}

/* Whether runs should have temporaries of their own: more than a few MiB would not stay in the caches. */
static bool wants_slots(const cg_context *cg, const cg_plan *plan)
{
    return cg->overlap.queue && plan->overlaps && plan->arena_bytes > 0 && slot_bytes(cg, plan) <= MOST_SLOT_BYTES;
}

int64_t cg_overlap_arena(const cg_context *cg, const cg_plan *plan)
{
    const int64_t both = 2 * slot_bytes(cg, plan);
    const int64_t spare = (cg->info.memory_limit - cg->device_bytes) / SPARE_SHARE;
    const bool twice = wants_slots(cg, plan) && (both <= cg->arena_bytes || both <= spare);
    return twice ? both : plan->arena_bytes;
}

/* Of temporaries, all that the plan has. */
static void find_ranges(cg_context *cg, const cg_plan *plan, const cg_walk *walk)
{
    cg_memory_ranges *coming = &cg->overlap.coming;
    const cg_step *step = plan->steps;
    coming->count = step->place_count;
    for (int i = 0; i < step->place_count; i++) {
        const cg_buffer *buffer = cg_place_buffer(walk, &step->places[i]);
        const int64_t begin = buffer ? buffer->offset : cg->overlap.arena_at;
        coming->of[i] = (cg_memory_range){.memory = buffer ? buffer->memory : cg->arena,
                                          .begin = begin,
                                          .end = begin + (buffer ? buffer->bytes : plan->arena_bytes),
                                          .written = step->places[i].written};
    }
}

bool cg_overlap_begin(cg_context *cg, cg_plan *plan, const cg_walk *walk)
{
    cg_overlap *o = &cg->overlap;
    const bool overlaps = o->queue && plan->overlaps && o->count < CG_MOST_OVERLAPS;
    o->arena_at = 0;
    if (!overlaps) return false;
    if (wants_slots(cg, plan) && 2 * slot_bytes(cg, plan) <= cg->arena_bytes) {
        o->arena_at = plan->second_slot ? slot_bytes(cg, plan) : 0;
        plan->second_slot = !plan->second_slot;
    }
    find_ranges(cg, plan, walk);
    return true;
}

static bool meet(const cg_memory_ranges *one, const cg_memory_ranges *other)
{
    for (int i = 0; i < one->count; i++)
        for (int k = 0; k < other->count; k++) {
            const cg_memory_range *x = &one->of[i], *y = &other->of[k];
            if (x->memory == y->memory && (x->written || y->written) && x->begin < y->end && y->begin < x->end)
                return true;
        }
    return false;
}

bool cg_overlap_launch(cg_context *cg, const cg_plan *plan)
{
    cg_overlap *o = &cg->overlap;
    const cg_step *step = plan->steps;
    cl_event waits[1 + CG_MOST_OVERLAPS];
    cl_uint count = 0;
    if (!cg_queue_before(cg)) return false;
    if (o->before) waits[count++] = o->before;
    for (int i = 0; i < o->count; i++)
        if (meet(&o->coming, &o->ranges[i])) waits[count++] = o->events[i];
    cl_int status = CL(cg, clEnqueueNDRangeKernel, o->queue, step->kernel, step->dimensions, NULL, step->global,
                       step->local, count, count ? waits : NULL, &o->events[o->count]);
    if (status != CL_SUCCESS) return cg_fail_cl(cg, "clEnqueueNDRangeKernel", status);
    o->ranges[o->count++] = o->coming;
    /* What another queue will wait for must be on its way to the device. */
    status = CL(cg, clFlush, o->queue);
    return status == CL_SUCCESS ? true : cg_fail_cl(cg, "clFlush", status);
}

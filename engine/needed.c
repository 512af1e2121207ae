/* How much device memory a run takes, told before it: cg_memory_needed. Makes the plan, enqueues nothing. */
#include "engine/buffer.h"
#include "engine/plan.h"

/* What the results take that are not written in place. */
static int64_t result_bytes(const cg_context *cg, const cg_plan *plan)
{
    int64_t bytes = 0;
    for (int i = 0; i < plan->target_count; i++)
        if (!plan->targets[i].in_place) bytes += cg_buffer_bytes(cg, plan->targets[i].bytes);
    return bytes;
}

static cg_memory memory_of(const cg_context *cg, const cg_plan *plan)
{
    cg_memory m = {.values = cg->counters.used_bytes, .held = cg->device_bytes};
    if (plan) {
        m.results = result_bytes(cg, plan);
        m.temporaries = plan->arena_bytes;
        m.bound = plan->arena_bound;
    }
    const int64_t pools = cg->device_bytes - cg->arena_bytes, stored = m.values + m.results;
    m.peak = pools > stored ? pools : stored;
    m.peak += m.temporaries > cg->arena_bytes ? m.temporaries : cg->arena_bytes;
    m.bound += stored;
    return m;
}

cg_memory cg_memory_needed(cg_context *cg, const cg_tensor *tensors, int count)
{
    if (!cg || !cg->queue || count < 0 || (count > 0 && !tensors)) return (cg_memory){0};
    const int64_t failures = cg->failures;
    cg_node **nodes = cg_nodes_of(cg, tensors, count, "cg_memory_needed");
    if (!nodes) return (cg_memory){0};
    const cg_plan *plan = cg_plan_ahead(cg, nodes, count);
    cg_host_free(cg, nodes);
    return cg->failures == failures ? memory_of(cg, plan) : (cg_memory){0};
}

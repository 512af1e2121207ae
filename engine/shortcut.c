/* The table of shortcuts. It holds positions and numbers, no nodes, so it outlives every graph. */
#include "engine/shortcut.h"

#include <string.h>

enum { BUCKETS = 512, MOST_OF_A_PLAN = 4 };

/* The plan's node at `position` is the recorded graph's at `here`. */
typedef struct link {
    int position, here;
} link;

/* A number that the expansion made from structure alone: 1/N for one. */
typedef struct constant {
    int position;
    double number;
} constant;

struct cg_shortcut {
    uint64_t key[2];
    uint64_t *record; /* in debug builds: what the key was made from */
    int record_count;
    cg_plan *plan;
    cg_shortcut *chain, *next; /* of the bucket, of the plan */
    int node_count;            /* positions of the plan's walk */
    link *links;
    int link_count;
    constant *constants;
    int constant_count;
};

static cg_shortcut **bucket_of(cg_context *cg, const uint64_t key[2])
{
    return &cg->shortcut_table[key[0] % BUCKETS];
}

/* --- taking --- */

static bool is_for(cg_context *cg, const cg_shortcut *s, const cg_walk *w)
{
    if (memcmp(s->key, w->key, sizeof s->key) != 0) return false;
    if (s->record_count == w->record_count &&
        (!s->record || memcmp(s->record, w->record, (size_t)s->record_count * sizeof *s->record) == 0))
        return true;
    return cg_fail(cg, CG_ERROR_DEVICE, "internal: two graphs have one key");
}

/* The plan may write in place only what nothing else needs now either. */
static bool may_donate(const cg_plan *plan, const cg_walk *w)
{
    for (int i = 0; i < plan->target_count; i++)
        if (plan->targets[i].in_place && !w->roots[i].donated) return false;
    return plan->target_count == w->root_count;
}

static bool bind_nodes(cg_context *cg, const cg_shortcut *s, cg_walk *w)
{
    if (!CG_GROW(cg, w->bound, w->bound_capacity, s->node_count) ||
        !CG_GROW(cg, w->numbers, w->numbers_capacity, s->node_count + 1))
        return false;
    for (int i = 0; i < s->link_count; i++) w->bound[s->links[i].position] = w->nodes[s->links[i].here];
    for (int i = 0; i < s->constant_count; i++) {
        w->bound[s->constants[i].position] = NULL;
        w->numbers[s->constants[i].position] = s->constants[i].number;
    }
    cg_node **nodes = w->nodes;
    const int capacity = w->capacity;
    w->nodes = w->bound;
    w->capacity = w->bound_capacity;
    w->count = s->node_count;
    w->bound = nodes;
    w->bound_capacity = capacity;
    return true;
}

cg_plan *cg_shortcut_take(cg_context *cg, cg_walk *w)
{
    if (!cg->shortcut_table) return NULL;
    for (cg_shortcut *s = *bucket_of(cg, w->key); s; s = s->chain)
        if (is_for(cg, s, w)) return may_donate(s->plan, w) && bind_nodes(cg, s, w) ? s->plan : NULL;
    return NULL;
}

/* --- adding --- */

static void shortcut_free(cg_context *cg, cg_shortcut *s)
{
    cg_host_free(cg, s->record);
    cg_host_free(cg, s->links);
    cg_host_free(cg, s->constants);
    cg_host_free(cg, s);
}

/* Of the recorded nodes, those that are leaves of the expanded graph too, or shift one. */
static void add_links(cg_shortcut *s, const cg_walk *w, bool *linked)
{
    for (int i = 0; i < w->first.count; i++) {
        const struct cg_first_node *first = &w->first.nodes[i];
        const cg_node *node = first->node;
        if (!first->binds || node->serial != first->serial || node->visit != w->visit) continue;
        s->links[s->link_count++] = (link){node->position, i};
        linked[node->position] = true;
    }
}

/* False if an expansion has made a number that is not for sure one of structure, as weak ones are not. */
static bool add_constants(cg_shortcut *s, const cg_plan *plan, const cg_walk *w, const bool *linked)
{
    for (int i = 0; i < plan->scalar_count; i++) {
        const int position = plan->scalars[i];
        if (linked[position]) continue;
        if (w->nodes[position]->kind == CG_NODE_SCALAR && w->nodes[position]->weak) return false;
        s->constants[s->constant_count++] = (constant){position, w->nodes[position]->number};
    }
    return true;
}

static bool sum_is_linked(const cg_shift_sum *sum, const bool *linked)
{
    for (int i = 0; i < sum->count; i++)
        if (!linked[sum->shifts[i].item]) return false;
    return true;
}

/* Is all that a step binds at hand without expanding? */
static bool step_is_linked(const cg_step *step, const bool *linked)
{
    bool all = true;
    for (int i = 0; i < step->place_count; i++)
        all &= step->places[i].kind != CG_PLACE_LEAF || linked[step->places[i].index];
    for (int i = 0; i < step->patch_count; i++)
        if (step->patches[i].kind == CG_PATCH_SHIFT) all &= sum_is_linked(&step->sums[step->patches[i].index], linked);
    for (int i = 0; step->blas && i < 2; i++) all &= sum_is_linked(&step->blas->first[i], linked);
    return all;
}

static bool fill(cg_shortcut *s, const cg_plan *plan, const cg_walk *w, bool *linked)
{
    add_links(s, w, linked);
    bool all = add_constants(s, plan, w, linked);
    for (int i = 0; i < plan->step_count; i++) all &= step_is_linked(&plan->steps[i], linked);
    return all;
}

static bool allocate(cg_context *cg, cg_shortcut *s, const cg_plan *plan, const cg_walk *w)
{
    s->links = cg_host_allocate(cg, (size_t)(w->first.count + 1) * sizeof *s->links);
    s->constants = cg_host_allocate(cg, (size_t)(plan->scalar_count + 1) * sizeof *s->constants);
    s->record = w->first.record_count ? cg_host_allocate(cg, (size_t)w->first.record_count * sizeof *s->record) : NULL;
    s->record_count = w->first.record_count;
    if (!s->links || !s->constants || (s->record_count && !s->record)) return false;
    if (s->record) memcpy(s->record, w->first.record, (size_t)s->record_count * sizeof *s->record);
    return true;
}

static void link_to_plan(cg_context *cg, cg_shortcut *s, cg_plan *plan)
{
    cg_shortcut **bucket = bucket_of(cg, s->key);
    s->chain = *bucket;
    *bucket = s;
    s->next = plan->shortcuts;
    plan->shortcuts = s;
}

/* No room for another, or none needed: a graph may be expanded though it has one, for what it writes in place. */
static bool has_enough(const cg_plan *plan, const uint64_t key[2])
{
    int count = 0;
    for (const cg_shortcut *s = plan->shortcuts; s; s = s->next, count++)
        if (memcmp(s->key, key, sizeof s->key) == 0) return true;
    return count >= MOST_OF_A_PLAN;
}

bool cg_shortcut_add(cg_context *cg, cg_plan *plan, const cg_walk *w)
{
    if (has_enough(plan, w->first.key)) return true;
    if (!cg->shortcut_table && !(cg->shortcut_table = cg_host_allocate(cg, BUCKETS * sizeof *cg->shortcut_table)))
        return false;
    cg_shortcut *s = cg_host_allocate(cg, sizeof *s);
    bool *linked = cg_host_allocate(cg, (size_t)(w->count + 1) * sizeof *linked);
    const bool ok = s && linked && allocate(cg, s, plan, w);
    if (ok && fill(s, plan, w, linked)) {
        memcpy(s->key, w->first.key, sizeof s->key);
        s->plan = plan;
        s->node_count = w->count;
        link_to_plan(cg, s, plan);
    } else if (s) {
        shortcut_free(cg, s);
    }
    cg_host_free(cg, linked);
    return ok;
}

void cg_shortcuts_drop(cg_context *cg, cg_plan *plan)
{
    for (cg_shortcut *s = plan->shortcuts, *next; s; s = next) {
        next = s->next;
        cg_shortcut **at = bucket_of(cg, s->key);
        while (*at != s) at = &(*at)->chain;
        *at = s->chain;
        shortcut_free(cg, s);
    }
    plan->shortcuts = NULL;
}

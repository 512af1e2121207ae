/* Launch order: a topological sort of the groups with a heap. In plans that compute something again memory counts, so
 * a weight's gradient is computed as soon as it can be, when it is the last to read what it is made from. Reads the
 * schedule's groups, edges and uses; knows no kernels. */
#include "engine/order.h"

#include <string.h>

/* --- what is computed again waits --- */

/* `from` is to run before `to`, if it can. If it cannot, since a later part of what is in `from` needs `to`, the
 * groups that `from` itself waits for are. */
static bool wait_for(cg_schedule *s, int from, int to)
{
    if (!cg_reaches(s, to, from)) return cg_edge_add(s, from, to);
    for (int g = 0; g < s->group_count; g++) {
        bool before = false;
        for (int e = s->groups[g].edges; e >= 0; e = s->edges[e].next) before |= s->edges[e].to == from;
        if (before && !cg_reaches(s, to, g) && !cg_edge_add(s, g, to)) return false;
    }
    return true;
}

/* Goes on at an item that this visit has not seen. */
static bool wait_for_unseen(cg_schedule *s, int position, int group, uint64_t visit)
{
    for (;;) {
        cg_entry *item = &s->items[position];
        if (item->visit == visit) return true;
        item->visit = visit;
        if (item->kind == CG_ITEM_BUFFER || item->kind == CG_ITEM_VALUE) return true;
        if (item->group >= 0) return wait_for(s, item->group, group);
        const int count = cg_reads(item->node);
        for (int i = 1; i < count; i++)
            if (!wait_for_unseen(s, item->node->inputs[i]->position, group, visit)) return false;
        position = item->node->inputs[0]->position;
    }
}

/* The group waits for all that compute the item, or what the item is computed from inside its readers. */
static bool wait_for_item(cg_schedule *s, int position, int group)
{
    return wait_for_unseen(s, position, group, ++s->visit);
}

static bool is_replay(const cg_entry *item)
{
    return (item->kind == CG_ITEM_VIEW || item->kind == CG_ITEM_ALIAS) && item->node->op->again;
}

static bool order_readers(cg_schedule *s, const cg_entry *item)
{
    const int wait = item->node->inputs[1]->position;
    if (item->group >= 0 && !wait_for_item(s, wait, item->group)) return false;
    for (int u = item->group < 0 ? item->uses : -1; u >= 0; u = s->uses[u].next)
        if (!wait_for_item(s, wait, s->uses[u].group)) return false;
    return true;
}

/* Products look through views, so that no use tells of these. */
static bool order_product(cg_schedule *s, const cg_entry *item)
{
    for (int i = 0; i < 2; i++) {
        const cg_entry *read = &s->items[item->node->inputs[i]->position];
        for (; read->kind == CG_ITEM_VIEW || read->kind == CG_ITEM_ALIAS;
             read = &s->items[read->node->inputs[0]->position])
            if (is_replay(read) && !wait_for_item(s, read->node->inputs[1]->position, item->group)) return false;
    }
    return true;
}

bool cg_order_replays(cg_schedule *s)
{
    for (int i = 0; i < s->walk->count; i++) {
        const cg_entry *item = &s->items[i];
        s->replays |= is_replay(item);
        if (is_replay(item) && !order_readers(s, item)) return false;
        if (item->kind == CG_ITEM_CONTRACT && !order_product(s, item)) return false;
    }
    return true;
}

/* --- what is alive --- */

static int64_t bytes_of(const cg_entry *item)
{
    return cg_shape_size(item->node->shape) * (int64_t)cg_dtype_bytes((cg_dtype)item->node->dtype);
}

static bool is_temporary(const cg_entry *item)
{
    return item->stored && item->group >= 0 && item->root < 0 && item->kind != CG_ITEM_BUFFER;
}

int64_t cg_order_alive(const cg_schedule *s)
{
    int64_t *change = cg_host_allocate(s->context, ((size_t)s->group_count + 1) * sizeof *change);
    int64_t alive = 0, most = 0;
    for (int i = 0; change && i < s->walk->count; i++) {
        const cg_entry *item = &s->items[i];
        if (!is_temporary(item)) continue;
        int last = s->groups[item->group].step;
        for (int u = item->uses; u >= 0; u = s->uses[u].next)
            if (s->groups[s->uses[u].group].step > last) last = s->groups[s->uses[u].group].step;
        change[s->groups[item->group].step] += bytes_of(item);
        change[last + 1] -= bytes_of(item);
    }
    for (int n = 0; change && n < s->group_count; n++) {
        alive += change[n];
        if (alive > most) most = alive;
    }
    cg_host_free(s->context, change);
    return most;
}

/* --- launch order --- */

/* A read of a temporary by a group, in the list of the group's reads. */
typedef struct read {
    int item, next;
} read;

typedef struct sorter {
    cg_schedule *s;
    int *waiting; /* per group: edges from groups that have not run */
    int *heap, ready;
    bool saves;      /* the rest is there */
    int *readers;    /* per item: groups that are yet to read it */
    int *reads;      /* per group: list in `list` */
    int64_t *growth; /* per group: bytes of temporaries more after it than before it */
    read *list;
} sorter;

static bool goes_ahead(const sorter *t, int group)
{
    return t->saves && t->growth[group] <= 0;
}

static bool is_before(const sorter *t, int a, int b)
{
    const int x = t->heap[a], y = t->heap[b];
    if (goes_ahead(t, x) != goes_ahead(t, y)) return goes_ahead(t, x);
    return t->s->groups[x].last_item < t->s->groups[y].last_item;
}

static void exchange(sorter *t, int a, int b)
{
    const int group = t->heap[a];
    t->heap[a] = t->heap[b];
    t->heap[b] = group;
}

static void rise(sorter *t, int at)
{
    for (; at > 0 && is_before(t, at, (at - 1) / 2); at = (at - 1) / 2) exchange(t, at, (at - 1) / 2);
}

static void push(sorter *t, int group)
{
    t->heap[t->ready] = group;
    rise(t, t->ready++);
}

static int pop(sorter *t)
{
    const int top = t->heap[0];
    t->heap[0] = t->heap[--t->ready];
    for (int at = 0;;) {
        int least = at;
        for (int child = 2 * at + 1; child <= 2 * at + 2 && child < t->ready; child++)
            if (is_before(t, child, least)) least = child;
        if (least == at) return top;
        exchange(t, at, least);
        at = least;
    }
}

/* The one group that is yet to read the item will free it. */
static void give_to_last(sorter *t, int item)
{
    const cg_schedule *s = t->s;
    for (int u = s->items[item].uses; u >= 0; u = s->uses[u].next) {
        const int group = s->uses[u].group;
        if (s->groups[group].step >= 0) continue;
        t->growth[group] -= bytes_of(&s->items[item]);
        for (int i = 0; i < t->ready; i++)
            if (t->heap[i] == group) rise(t, i);
        return;
    }
}

/* Adds a read to the group's list, unless the item, which comes last there, is in it: groups that were united may read
 * it twice. */
static void add_read(sorter *t, int item, int group, int *count)
{
    const int first = t->reads[group];
    if (group == t->s->items[item].group || (first >= 0 && t->list[first].item == item)) return;
    t->list[*count] = (read){item, first};
    t->reads[group] = (*count)++;
    t->readers[item]++;
}

static void list_reads(sorter *t)
{
    const cg_schedule *s = t->s;
    int count = 0;
    for (int g = 0; g < s->group_count; g++) t->reads[g] = -1;
    for (int i = 0; i < s->walk->count; i++) {
        const cg_entry *item = &s->items[i];
        if (!is_temporary(item)) continue;
        t->growth[item->group] += bytes_of(item);
        for (int u = item->uses; u >= 0; u = s->uses[u].next) add_read(t, i, s->uses[u].group, &count);
        if (t->readers[i] == 1) give_to_last(t, i);
    }
}

static void run(sorter *t, int group, int number)
{
    cg_schedule *s = t->s;
    s->groups[group].step = number;
    s->order[number] = group;
    for (int r = t->saves ? t->reads[group] : -1; r >= 0; r = t->list[r].next)
        if (--t->readers[t->list[r].item] == 1) give_to_last(t, t->list[r].item);
    for (int e = s->groups[group].edges; e >= 0; e = s->edges[e].next)
        if (--t->waiting[s->edges[e].to] == 0) push(t, s->edges[e].to);
}

static bool allocate(sorter *t)
{
    cg_context *cg = t->s->context;
    const size_t groups = (size_t)t->s->group_count + 1, items = (size_t)t->s->walk->count + 1;
    t->waiting = cg_host_allocate(cg, groups * sizeof *t->waiting);
    t->heap = cg_host_allocate(cg, groups * sizeof *t->heap);
    t->s->order = cg_host_allocate(cg, groups * sizeof *t->s->order);
    if (!t->saves) return t->waiting && t->heap && t->s->order;
    t->readers = cg_host_allocate(cg, items * sizeof *t->readers);
    t->reads = cg_host_allocate(cg, groups * sizeof *t->reads);
    t->growth = cg_host_allocate(cg, groups * sizeof *t->growth);
    t->list = cg_host_allocate(cg, ((size_t)t->s->use_count + 1) * sizeof *t->list);
    return t->waiting && t->heap && t->s->order && t->readers && t->reads && t->growth && t->list;
}

static void sorter_free(sorter *t)
{
    cg_context *cg = t->s->context;
    cg_host_free(cg, t->waiting);
    cg_host_free(cg, t->heap);
    cg_host_free(cg, t->readers);
    cg_host_free(cg, t->reads);
    cg_host_free(cg, t->growth);
    cg_host_free(cg, t->list);
}

/* Runs all groups in turn, and returns how many. */
static int sort(sorter *t)
{
    cg_schedule *s = t->s;
    int done = 0;
    for (int g = 0; g < s->group_count; g++) {
        s->groups[g].step = -1;
        for (int e = s->groups[g].edges; e >= 0; e = s->edges[e].next) t->waiting[s->edges[e].to]++;
    }
    if (t->saves) list_reads(t);
    for (int g = 0; g < s->group_count; g++)
        if (t->waiting[g] == 0) push(t, g);
    while (t->ready > 0) run(t, pop(t), done++);
    return done;
}

bool cg_order_launches(cg_schedule *s)
{
    sorter t = {.s = s, .saves = s->replays};
    const bool ok = allocate(&t);
    const int done = ok ? sort(&t) : 0;
    sorter_free(&t);
    if (!ok) return false;
    return done == s->group_count
               ? true
               : cg_fail(s->context, CG_ERROR_DEVICE, "internal: kernels of a plan wait for each other");
}

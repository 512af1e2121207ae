/* Which groups become one that goes over rows, or one reduction of several values: see chain.h. A group joins another
 * if both go over the same elements, read each other's results at the same element or row only, and no other kernel
 * must run in between. Whether that is so is found by lowering the two as one. */
#include "engine/chain.h"
#include "engine/lower.h"

#include <string.h>

enum {
    ROWS_PER_UNIT = 2,         /* that a compute unit needs to be as busy as without the rule... */
    SMALL_ON_CPU = 1 << 13,    /* ...or else fewer elements than these, */
    SMALL_ON_GPU = 1 << 16,    /* where launches cost more than idle units */
    MOST_ALIKE = 4,            /* reductions of the same elements in one kernel */
    LARGE = 1 << 16,           /* elements that are not read twice without need */
    FEW_VECTORS = 4,           /* rows of fewer lose too much to the rest behind the last vector */
    MOST_ARGUMENT_BYTES = 900, /* of the 1024 that a kernel can have, as the bound below is not exact for all */
};

/* --- rows --- */

/* Splits the input of a reduction that folds the last axes, those of size 1 aside: false if it folds others. */
static bool folds_rows(const cg_node *node)
{
    const cg_shape *in = &node->inputs[0]->shape;
    bool folded = false;
    for (int j = 0; j < in->rank; j++) {
        if (in->size[j] == 1) continue;
        const bool folds = node->attributes[0] >> j & 1;
        if (folded && !folds) return false;
        folded |= folds;
    }
    return folded && cg_shape_size(*in) > 0;
}

/* Enough rows to keep the device busy, by nominal sizes: it is structure. */
static bool has_enough_rows(const cg_schedule *s, const cg_node *node)
{
    const cg_context *cg = s->context;
    const int64_t small = cg->local_size > 1 ? SMALL_ON_GPU : SMALL_ON_CPU;
    return cg_nominal_size(node) >= ROWS_PER_UNIT * (int64_t)cg->info.compute_units ||
           cg_nominal_size(node->inputs[0]) <= small;
}

/* A group that the rule can begin with. */
static bool is_row_reduction(const cg_schedule *s, const cg_group *g)
{
    if (g->kind != CG_GROUP_REDUCE) return false;
    const cg_node *node = s->items[g->anchor].node;
    return folds_rows(node) && has_enough_rows(s, node);
}

/* The shape of the elements that a group goes over, and of its rows. */
static const cg_shape *elements_of(const cg_schedule *s, const cg_group *g)
{
    if (g->kind == CG_GROUP_ROWS) return &g->row_elements;
    return g->kind == CG_GROUP_REDUCE ? &s->items[g->anchor].node->inputs[0]->shape : &g->space;
}

static bool has_same_rows(const cg_schedule *s, const cg_group *a, const cg_group *b)
{
    const cg_shape *elements = elements_of(s, a);
    if (b->reports) return false;
    if (b->kind == CG_GROUP_MAP) return cg_same_elements(&b->space, elements) || cg_same_elements(&b->space, &a->space);
    const bool goes_over_rows = b->kind == CG_GROUP_ROWS || (b->kind == CG_GROUP_REDUCE && is_row_reduction(s, b));
    return goes_over_rows && cg_same_elements(&b->space, &a->space) && cg_same_elements(elements_of(s, b), elements);
}

/* --- merging two groups --- */

static bool is_used_elsewhere(const cg_schedule *s, const cg_entry *item, int a, int b)
{
    if (item->root >= 0 || item->forced) return true;
    for (int u = item->uses; u >= 0; u = s->uses[u].next)
        if (s->uses[u].needs_buffer || (s->uses[u].group != a && s->uses[u].group != b)) return true;
    return false;
}

static bool fold_add(cg_group *g, int item)
{
    if (g->fold_count == CG_MOST_FOLDS) return false;
    g->folds[g->fold_count++] = item;
    return true;
}

/* Adds the folds and members of one of the groups a and b; what nobody else reads is not stored any more. */
static bool take_in(cg_schedule *s, cg_group *merged, const cg_group *part, int a, int b)
{
    if (part->kind == CG_GROUP_REDUCE && part->fold_count == 0 && !fold_add(merged, part->anchor)) return false;
    for (int i = 0; i < part->fold_count; i++)
        if (!fold_add(merged, part->folds[i])) return false;
    for (int i = 0; i < part->member_count; i++) {
        if (!is_used_elsewhere(s, &s->items[part->members[i]], a, b)) continue;
        if (merged->member_count == CG_MOST_MEMBERS) return false;
        merged->members[merged->member_count++] = part->members[i];
    }
    merged->ops += part->ops;
    merged->in_place |= part->in_place;
    if (part->last_item > merged->last_item) merged->last_item = part->last_item;
    return merged->ops <= CG_MOST_OPS;
}

/* Gives what a group computes to `owner`, which stores its members or not. */
static void give(cg_schedule *s, const cg_group *g, int owner, bool stores)
{
    if (g->anchor >= 0) s->items[g->anchor].group = owner;
    for (int i = 0; i < g->fold_count; i++) s->items[g->folds[i]].group = owner;
    for (int i = 0; i < g->member_count; i++) {
        s->items[g->members[i]].group = owner;
        s->items[g->members[i]].stored = stores;
    }
}

/* The pass in which an item can be computed: behind those that fold what it needs. */
static int pass_of(cg_schedule *s, int position, int group)
{
    cg_entry *item = &s->items[position];
    const bool own = item->group == group;
    if (item->visit == s->visit) return item->pass;
    item->visit = s->visit;
    item->pass = 0;
    if (!own && (item->stored || item->group >= 0 || item->kind == CG_ITEM_BUFFER || item->kind == CG_ITEM_VALUE))
        return 0;
    for (int i = 0; i < cg_reads(item->node); i++) {
        const int input = item->node->inputs[i]->position;
        const bool behind = s->items[input].group == group && s->items[input].kind == CG_ITEM_REDUCE;
        const int pass = pass_of(s, input, group) + behind;
        if (pass > item->pass) item->pass = pass;
    }
    return item->pass;
}

static void count_passes(cg_schedule *s, int group)
{
    cg_group *g = &s->groups[group];
    s->visit++;
    g->passes = 0;
    for (int i = 0; i < g->fold_count; i++) {
        const int pass = g->fold_pass[i] = pass_of(s, g->folds[i], group);
        if (pass + 1 > g->passes) g->passes = pass + 1;
    }
    for (int i = 0; i < g->member_count; i++) {
        const int pass = g->member_pass[i] = pass_of(s, g->members[i], group);
        const bool of_elements = cg_same_elements(&s->items[g->members[i]].node->shape, &g->row_elements);
        if (of_elements && pass + 1 > g->passes) g->passes = pass + 1;
    }
}

/* --- whether the kernel would be right, and good --- */

/* Rows are read along their elements; a reduction that strides has better loops of its own (columns.c). */
static bool reads_along_rows(const cg_lowered *l)
{
    const int last = l->outer_count + l->inner_count - 1;
    for (int i = 0; i < l->value_count; i++) {
        const int64_t stride = l->values[i].form.stride[last];
        if (l->values[i].kind == CG_TERM_LOAD && l->values[i].inner && stride != 0 && stride != 1) return false;
    }
    return true;
}

static int fields_of(const cg_form *form)
{
    int count = form->offset != 0 || form->shift_count > 0;
    for (int k = 0; k < CG_AXES; k++) count += form->stride[k] != 0 && form->stride[k] != 1;
    return count;
}

static bool fits_arguments(const cg_lowered *l)
{
    int fields = 2 * CG_AXES;
    for (int i = 0; i < l->value_count; i++)
        fields += l->values[i].kind == CG_TERM_ARGUMENT ? 1 : fields_of(&l->values[i].form);
    for (int i = 0; i < l->store_count; i++) fields += fields_of(&l->stores[i].form);
    for (int i = 0; i < l->guard_count; i++) fields += 1 + fields_of(&l->guards[i].form);
    return 8 * fields + 16 * l->tensor_count <= MOST_ARGUMENT_BYTES;
}

/* A value written in place is not there any more in the passes that follow. */
static bool reads_before_writing(const cg_lowered *l)
{
    const cg_walk *w = l->schedule->walk;
    for (int i = 0; i < l->store_count; i++) {
        const int root = l->stores[i].item >= 0 ? l->schedule->items[l->stores[i].item].root : -1;
        if (root < 0 || !w->roots[root].donated || w->roots[root].donor < 0) continue;
        for (int k = 0; k < l->value_count; k++) {
            const cg_term *t = &l->values[k];
            if (t->kind == CG_TERM_LOAD && l->tensors[t->tensor].item == w->roots[root].donor &&
                t->pass > l->stores[i].pass)
                return false;
        }
    }
    return true;
}

static bool is_good(cg_schedule *s, int group)
{
    cg_lowered *l = cg_host_allocate(s->context, sizeof *l);
    if (!l) return false;
    *l = (cg_lowered){.schedule = s, .group = &s->groups[group]};
    const bool over_rows = l->group->kind == CG_GROUP_ROWS;
    const bool good = cg_lower(l) && l->tensor_count <= CG_MOST_TENSORS && fits_arguments(l) &&
                      (!over_rows || (reads_along_rows(l) && reads_before_writing(l)));
    cg_lowered_free(l);
    cg_host_free(s->context, l);
    return good;
}

/* --- the order of kernels --- */

/* A path from one group to another that passes through others. */
static bool has_detour(cg_schedule *s, int from, int to)
{
    for (int e = s->groups[from].edges; e >= 0; e = s->edges[e].next)
        if (s->edges[e].to != to && cg_reaches(s, s->edges[e].to, to)) return true;
    return false;
}

static void redirect_edges(cg_schedule *s, int from, int to)
{
    for (int e = 0; e < s->edge_count; e++)
        if (s->edges[e].to == from) s->edges[e].to = to;
    int *end = &s->groups[to].edges;
    while (*end >= 0) end = &s->edges[*end].next;
    *end = s->groups[from].edges;
    s->groups[from].edges = -1;
    /* None to itself. */
    for (int *at = &s->groups[to].edges; *at >= 0;)
        if (s->edges[*at].to == to)
            *at = s->edges[*at].next;
        else
            at = &s->edges[*at].next;
}

static cg_use *use_by(cg_schedule *s, const cg_entry *item, int group)
{
    for (int u = item->uses; u >= 0; u = s->uses[u].next)
        if (s->uses[u].group == group) return &s->uses[u];
    return NULL;
}

static void redirect_uses(cg_schedule *s, int from, int to)
{
    for (int i = 0; i < s->walk->count; i++) {
        cg_use *use = use_by(s, &s->items[i], from), *other = use_by(s, &s->items[i], to);
        if (!use) continue;
        if (other) {
            if (use->match < other->match) other->match = use->match;
            other->needs_buffer |= use->needs_buffer;
        }
        use->group = to;
    }
}

/* A value that is to be written in place stays readable element by element only. */
static bool spoils_donation(cg_schedule *s, int a, int b)
{
    for (int r = 0; r < s->walk->root_count; r++) {
        const cg_root *root = &s->walk->roots[r];
        const int writer = s->items[root->position].group;
        if (!root->donated || root->donor < 0 || (writer != a && writer != b)) continue;
        if (use_by(s, &s->items[root->donor], a) && use_by(s, &s->items[root->donor], b)) return true;
    }
    return false;
}

/* --- the rule --- */

static bool reads_numbers_of_rows(cg_schedule *s, int group, const cg_shape *rows)
{
    for (int i = 0; i < s->walk->count; i++)
        if (cg_same_elements(&s->items[i].node->shape, rows) && use_by(s, &s->items[i], group)) return true;
    return false;
}

/* A map over all elements that needs nothing of their rows runs in vectors from one row into the next. */
static bool is_better_along_all(cg_schedule *s, int group, const cg_group *rows)
{
    const cg_group *g = &s->groups[group];
    if (g->kind != CG_GROUP_MAP || !cg_same_elements(&g->space, elements_of(s, rows)) || s->context->vector_width == 1)
        return false;
    const cg_node *fold = s->items[rows->kind == CG_GROUP_ROWS ? rows->folds[0] : rows->anchor].node;
    const int64_t length = cg_nominal_size(fold->inputs[0]) / cg_nominal_size(fold);
    return length < FEW_VECTORS * s->context->vector_width && !reads_numbers_of_rows(s, group, &rows->space);
}

/* Makes one group of two, in the place of the first, if that makes a kernel. `merged` has neither's parts yet. */
static bool unite(cg_schedule *s, int a, int b, cg_group merged)
{
    const cg_group first = s->groups[a], second = s->groups[b];
    merged.edges = first.edges;
    merged.last_item = -1;
    if (!take_in(s, &merged, &first, a, b) || !take_in(s, &merged, &second, a, b)) return false;
    if (has_detour(s, a, b) || has_detour(s, b, a) || spoils_donation(s, a, b)) return false;
    s->groups[a] = merged;
    give(s, &first, a, false);
    give(s, &second, a, false);
    give(s, &merged, a, true);
    if (merged.kind == CG_GROUP_ROWS) count_passes(s, a);
    if (!is_good(s, a)) {
        s->groups[a] = first;
        give(s, &first, a, true);
        give(s, &second, b, true);
        return false;
    }
    redirect_edges(s, b, a);
    redirect_uses(s, b, a);
    s->groups[b] = (cg_group){.kind = CG_GROUP_JOINED, .anchor = -1, .edges = -1, .last_item = second.last_item};
    return true;
}

static bool merge(cg_schedule *s, int a, int b)
{
    const cg_group *first = &s->groups[a];
    if (!has_same_rows(s, first, &s->groups[b]) || is_better_along_all(s, b, first)) return false;
    return unite(
        s, a, b,
        (cg_group){.kind = CG_GROUP_ROWS, .anchor = -1, .space = first->space, .row_elements = *elements_of(s, first)});
}

/* Groups worth merging with: those that read what the group stores, or store what it reads... */
static bool merge_with_neighbours(cg_schedule *s, int group)
{
    for (int e = s->groups[group].edges; e >= 0; e = s->edges[e].next)
        if (merge(s, group, s->edges[e].to)) return true;
    for (int g = 0; g < s->group_count; g++)
        for (int e = s->groups[g].edges; e >= 0; e = s->edges[e].next)
            if (s->edges[e].to == group && merge(s, group, g)) return true;
    return false;
}

/* ...and those that read the same elements: of either those that fold rows or the maps. */
static bool merge_with_siblings(cg_schedule *s, int group, bool maps)
{
    for (int i = 0; i < s->walk->count; i++) {
        const cg_entry *item = &s->items[i];
        if (item->kind == CG_ITEM_VALUE || !use_by(s, item, group)) continue;
        if (!cg_same_elements(&item->node->shape, elements_of(s, &s->groups[group]))) continue;
        for (int u = item->uses; u >= 0; u = s->uses[u].next) {
            const int sibling = s->uses[u].group;
            if (sibling != group && (s->groups[sibling].kind == CG_GROUP_MAP) == maps && merge(s, group, sibling))
                return true;
        }
    }
    return false;
}

/* --- reductions of the same elements --- */

/* Reductions that fold the same axes of the same shape, in the same dtype. */
static bool folds_alike(const cg_schedule *s, const cg_group *a, const cg_group *b)
{
    if (a->kind != CG_GROUP_REDUCE || b->kind != CG_GROUP_REDUCE || a->reports || b->reports) return false;
    const cg_node *first = s->items[a->anchor].node, *second = s->items[b->anchor].node;
    return first->dtype == second->dtype && first->attributes[0] == second->attributes[0] &&
           cg_shapes_equal(first->inputs[0]->shape, second->inputs[0]->shape) && cg_shape_size(first->shape) > 0;
}

static bool merge_reductions(cg_schedule *s, int a, int b)
{
    const cg_group *first = &s->groups[a], *second = &s->groups[b];
    const int folds = (first->fold_count ? first->fold_count : 1) + (second->fold_count ? second->fold_count : 1);
    if (a == b || folds > MOST_ALIKE || !folds_alike(s, first, second)) return false;
    return unite(s, a, b, (cg_group){.kind = CG_GROUP_REDUCE, .anchor = first->anchor, .space = first->space});
}

/* With one that reads some of the elements that the group does. */
static bool merge_with_reduction(cg_schedule *s, int group)
{
    for (int i = 0; i < s->walk->count; i++) {
        const cg_entry *item = &s->items[i];
        const cg_shape *elements = &s->items[s->groups[group].anchor].node->inputs[0]->shape;
        if (item->kind == CG_ITEM_VALUE || !cg_same_elements(&item->node->shape, elements)) continue;
        if (!use_by(s, item, group)) continue;
        for (int u = item->uses; u >= 0; u = s->uses[u].next)
            if (merge_reductions(s, group, s->uses[u].group)) return true;
    }
    return false;
}

/* --- maps of the same elements --- */

/* Maps that do not need each other. */
static bool merge_maps(cg_schedule *s, int a, int b)
{
    const cg_group *first = &s->groups[a], *second = &s->groups[b];
    if (a == b || first->kind != CG_GROUP_MAP || second->kind != CG_GROUP_MAP || first->reports || second->reports)
        return false;
    if (!cg_same_elements(&first->space, &second->space) || cg_reaches(s, a, b) || cg_reaches(s, b, a)) return false;
    return unite(s, a, b, (cg_group){.kind = CG_GROUP_MAP, .anchor = -1, .space = first->space});
}

/* Makes one kernel of two that read an item of many elements. */
static bool merge_readers(cg_schedule *s, const cg_entry *item)
{
    if (item->kind == CG_ITEM_VALUE || cg_nominal_size(item->node) < LARGE) return false;
    for (int u = item->uses; u >= 0; u = s->uses[u].next)
        for (int v = s->uses[u].next; v >= 0; v = s->uses[v].next)
            if (cg_same_elements(&s->groups[s->uses[u].group].space, &item->node->shape) &&
                merge_maps(s, s->uses[u].group, s->uses[v].group))
                return true;
    return false;
}

bool cg_chain_rows(cg_schedule *s)
{
    const int64_t failures = s->context->failures;
    for (int g = 0; g < s->group_count && !s->unfused; g++) {
        if (!is_row_reduction(s, &s->groups[g])) continue;
        /* A map may need what must be folded first, and keep it from being folded with what the group folds. */
        while (merge_with_neighbours(s, g) || merge_with_siblings(s, g, false) || merge_with_siblings(s, g, true))
            ;
    }
    for (int g = 0; g < s->group_count && !s->unfused; g++)
        while (s->groups[g].kind == CG_GROUP_REDUCE && merge_with_reduction(s, g))
            ;
    for (int i = 0; i < s->walk->count && !s->unfused; i++)
        while (merge_readers(s, &s->items[i]))
            ;
    return s->context->failures == failures;
}

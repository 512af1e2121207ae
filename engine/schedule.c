/* The scheduler. Of items that are equal it takes the first for all (equal.c). Then it looks at them from the results
 * backwards, so that each item knows all kernels that read it, and decides by a few rules:
 *   views and cheap maps are computed where they are read;
 *   a map read by one kernel is computed there;
 *   a reduction or matrix product becomes the core of the one map kernel that reads it element by element;
 *   a map that must be stored joins a kernel over the same elements, or gets one;
 *   kernels over the same rows, one of them a reduction, become one (chain.c), and so do reductions of the same
 *   elements, and maps that read the same many elements.
 * A rule never makes a cycle, and every kernel stays under the caps. */
#include "engine/chain.h"
#include "engine/equal.h"
#include "engine/gemm_folded.h"
#include "engine/gemm_places.h"
#include "engine/operand.h"
#include "engine/order.h"
#include "engine/winograd_gradient.h"

#include <limits.h>
#include <string.h>

enum {
    WORTH_A_LAUNCH = 1 << 16, /* additions that cost about as much as one more kernel */
    NOMINAL_BATCH = 64,
    NO_OPS = -1, /* of an epilogue, where a product takes none */
    FEW_OPS = 4  /* of one that a product takes even where it has no full vectors for it */
};

int64_t cg_nominal_size(const cg_node *node)
{
    cg_shape shape = node->shape;
    if (node->batch_axis >= 0) shape.size[node->batch_axis] = NOMINAL_BATCH;
    return cg_shape_size(shape);
}

bool cg_same_elements(const cg_shape *a, const cg_shape *b)
{
    int i = 0, j = 0;
    for (;;) {
        while (i < a->rank && a->size[i] == 1) i++;
        while (j < b->rank && b->size[j] == 1) j++;
        if (i == a->rank || j == b->rank) return i == a->rank && j == b->rank;
        if (a->size[i++] != b->size[j++]) return false;
    }
}

static cg_entry *input_of(const cg_schedule *s, const cg_entry *item, int i)
{
    return &s->items[item->node->inputs[i]->position];
}

/* --- classifying nodes --- */

static bool is_host_call(const cg_schedule *s, const cg_node *node)
{
    if (node->op->kind != CG_OP_MAP || !node->op->host || node->shape.rank != 0 || node->input_count > 4) return false;
    for (int i = 0; i < node->input_count; i++) {
        const cg_entry *input = &s->items[node->inputs[i]->position];
        if (input->kind != CG_ITEM_VALUE || input->node->kind == CG_NODE_INDEX) return false;
    }
    return !node->op->reports && !node->op->random;
}

static cg_entry_kind kind_of(const cg_schedule *s, cg_node *node, bool *host)
{
    cg_call_view view;
    cg_mapping mapping = {0};
    *host = false;
    if (node->buffer) return CG_ITEM_BUFFER;
    if (node->kind == CG_NODE_OUTPUT) return CG_ITEM_OUTPUT;
    if (node->kind != CG_NODE_CALL) return CG_ITEM_VALUE;
    switch (node->op->kind) {
    case CG_OP_MAP:
        *host = is_host_call(s, node);
        return *host ? CG_ITEM_VALUE : CG_ITEM_MAP;
    case CG_OP_MOVE:
        cg_call_of(node, &view);
        node->op->move(&view.call, &mapping);
        return mapping.copies ? CG_ITEM_ALIAS : CG_ITEM_VIEW;
    case CG_OP_REDUCE:
        return CG_ITEM_REDUCE;
    case CG_OP_CONTRACT:
        return CG_ITEM_CONTRACT;
    default:
        return CG_ITEM_KERNEL;
    }
}

static int cost_of(const cg_schedule *s, const cg_entry *item)
{
    if (item->kind != CG_ITEM_MAP && item->kind != CG_ITEM_VIEW) return 0;
    int cost = item->kind == CG_ITEM_MAP ? (item->node->op->cost ? item->node->op->cost : 1) : 0;
    for (int i = 0; i < cg_reads(item->node); i++) cost += input_of(s, item, i)->cost;
    return cost < 1 << 20 ? cost : 1 << 20;
}

bool cg_is_shifted(const cg_node *node, int axis)
{
    const cg_shape *in = &node->inputs[0]->shape;
    return node->op->shifts && node->shape.size[axis] != in->size[axis];
}

/* How many offsets that are arguments a reader meets on the way down, through maps too; where they would be too many,
 * what lies below is stored. */
static void count_shifts(cg_schedule *s, cg_entry *item)
{
    int own = 0;
    const bool is_view = item->kind == CG_ITEM_VIEW;
    for (int j = 0; is_view && item->node->op->shifts && j < item->node->inputs[0]->shape.rank; j++)
        own += cg_is_shifted(item->node, j);
    item->shifts = own;
    for (int i = 0; i < cg_reads(item->node); i++) {
        cg_entry *input = input_of(s, item, i);
        const bool inlined = (input->kind == CG_ITEM_VIEW || input->kind == CG_ITEM_MAP) && !input->forced;
        if (!inlined) continue;
        if (own + input->shifts > CG_MOST_SHIFTS)
            input->forced = true;
        else if (own + input->shifts > item->shifts)
            item->shifts = own + input->shifts;
    }
}

/* A map that is read again later is stored: what it was computed from would have to be kept instead. */
static void force_kept(cg_schedule *s, const cg_entry *item)
{
    cg_entry *kept = input_of(s, item, 0);
    while (kept->kind == CG_ITEM_VIEW || kept->kind == CG_ITEM_ALIAS) kept = input_of(s, kept, 0);
    kept->forced |= kept->kind == CG_ITEM_MAP;
}

static void list_items(cg_schedule *s)
{
    for (int i = 0; i < s->walk->count; i++)
        s->items[i] = (cg_entry){.node = s->walk->nodes[i], .group = -1, .root = -1, .uses = -1};
    for (int r = 0; r < s->walk->root_count; r++) s->items[s->walk->roots[r].position].root = r;
}

static void classify(cg_schedule *s)
{
    for (int i = 0; i < s->walk->count; i++) {
        cg_entry *item = &s->items[i];
        if (item->kind == CG_ITEM_SAME) continue;
        item->kind = kind_of(s, item->node, &item->host);
        if (item->kind == CG_ITEM_BUFFER) item->place = (cg_place){.kind = CG_PLACE_LEAF, .index = i};
        item->cost = cost_of(s, item);
        if (item->kind == CG_ITEM_VIEW || item->kind == CG_ITEM_MAP) count_shifts(s, item);
        if (item->kind == CG_ITEM_VIEW && item->node->op->again) force_kept(s, item);
    }
}

/* --- groups, uses, edges --- */

static int group_new(cg_schedule *s, cg_group_kind kind, const cg_shape *space)
{
    if (!CG_GROW(s->context, s->groups, s->group_capacity, s->group_count + 1)) return -1;
    s->groups[s->group_count] = (cg_group){.kind = kind, .anchor = -1, .space = *space, .edges = -1, .last_item = -1};
    return s->group_count++;
}

bool cg_edge_add(cg_schedule *s, int from, int to)
{
    if (from == to) return true;
    for (int e = s->groups[from].edges; e >= 0; e = s->edges[e].next)
        if (s->edges[e].to == to) return true;
    if (!CG_GROW(s->context, s->edges, s->edge_capacity, s->edge_count + 1)) return false;
    s->edges[s->edge_count] = (cg_edge){to, s->groups[from].edges};
    s->groups[from].edges = s->edge_count++;
    return true;
}

/* True if a path leads from one group to another. */
bool cg_reaches(cg_schedule *s, int from, int to)
{
    if (from == to) return true;
    if (!CG_GROW(s->context, s->stack, s->stack_capacity, s->group_count + 1)) return true;
    const uint64_t visit = ++s->visit;
    int depth = 0;
    s->stack[depth++] = from;
    s->groups[from].visit = visit;
    while (depth > 0) {
        const int group = s->stack[--depth];
        for (int e = s->groups[group].edges; e >= 0; e = s->edges[e].next) {
            const int next = s->edges[e].to;
            if (next == to) return true;
            if (s->groups[next].visit == visit) continue;
            s->groups[next].visit = visit;
            s->stack[depth++] = next;
        }
    }
    return false;
}

static bool counts_as_tensor(const cg_entry *item)
{
    return item->kind != CG_ITEM_VALUE;
}

static bool use_add(cg_schedule *s, int item, int group, cg_match match, bool needs_buffer, int64_t elements)
{
    for (int u = s->items[item].uses; u >= 0; u = s->uses[u].next) {
        cg_use *use = &s->uses[u];
        if (use->group != group) continue;
        if (match < use->match) use->match = match;
        use->needs_buffer |= needs_buffer;
        if (elements > use->elements) use->elements = elements;
        return true;
    }
    if (!CG_GROW(s->context, s->uses, s->use_capacity, s->use_count + 1)) return false;
    s->uses[s->use_count] = (cg_use){group, s->items[item].uses, match, needs_buffer, elements};
    s->items[item].uses = s->use_count++;
    if (counts_as_tensor(&s->items[item])) s->groups[group].tensors++;
    return true;
}

static void touch(cg_schedule *s, int group, int item)
{
    cg_group *g = &s->groups[group];
    if (item > g->last_item) g->last_item = item;
}

/* Does a map or view read its input element by element? */
static bool reads_identically(const cg_entry *item, int input)
{
    const cg_node *node = item->node;
    const cg_shape *in = &node->inputs[input]->shape;
    if (!cg_same_elements(&node->shape, in)) return false;
    if (item->kind != CG_ITEM_VIEW) return true;
    cg_call_view view;
    cg_mapping mapping = {0};
    cg_call_of(item->node, &view);
    node->op->move(&view.call, &mapping);
    if (mapping.guarded) return false;
    for (int j = 0, i = 0; j < in->rank; j++) {
        if (in->size[j] == 1) continue;
        while (node->shape.size[i] == 1) i++;
        for (int k = 0; k < node->shape.rank; k++)
            if (node->shape.size[k] != 1 && mapping.factor[j][k] != (k == i)) return false;
        if (mapping.offset[j] != 0) return false;
        i++;
    }
    return true;
}

/* Does a view keep its input's elements in their order, and all of them: cut axes, or add some of extent 1? */
static bool reads_in_order(const cg_entry *item)
{
    if (item->kind != CG_ITEM_VIEW) return false;
    cg_node *node = item->node;
    const cg_shape *in = &node->inputs[0]->shape;
    cg_call_view view;
    cg_mapping mapping = {0};
    cg_call_of(node, &view);
    node->op->move(&view.call, &mapping);
    if (mapping.guarded || cg_shape_size(*in) != cg_shape_size(node->shape)) return false;
    int64_t before = 1;
    for (int k = node->shape.rank - 1; k >= 0; before *= node->shape.size[k--]) {
        int64_t step = 0, contiguous = 1;
        for (int j = in->rank - 1; j >= 0; contiguous *= in->size[j--]) {
            if (mapping.offset[j] != 0) return false;
            step += contiguous * mapping.factor[j][k];
        }
        if (node->shape.size[k] != 1 && step != before) return false;
    }
    return true;
}

/* Uses of `item` in `group` become uses of its inputs. */
static bool pass_on(cg_schedule *s, int item, int group, cg_match match, int64_t elements)
{
    const cg_entry *it = &s->items[item];
    for (int i = 0; i < cg_reads(it->node); i++) {
        const int input = it->node->inputs[i]->position;
        const cg_match own = reads_identically(it, i) ? CG_MATCH_ELEMENTS
                             : reads_in_order(it)     ? CG_MATCH_ORDER
                                                      : CG_MATCH_NONE;
        const cg_match both = own < match ? own : match;
        /* An alias is a name for a buffer, so what it names must be in one. */
        if (!use_add(s, input, group, both, it->kind == CG_ITEM_ALIAS, elements)) return false;
    }
    return true;
}

/* --- the rules --- */

static int use_count(const cg_schedule *s, const cg_entry *item)
{
    int count = 0;
    for (int u = item->uses; u >= 0; u = s->uses[u].next) count++;
    return count;
}

static bool needs_buffer(const cg_schedule *s, const cg_entry *item)
{
    for (int u = item->uses; u >= 0; u = s->uses[u].next)
        if (s->uses[u].needs_buffer) return true;
    return false;
}

/* Operands that are as large as the item: what a kernel reads to compute it again. */
static int large_operands(const cg_entry *item)
{
    int count = 0;
    for (int i = 0; i < cg_reads(item->node); i++)
        count += cg_nominal_size(item->node->inputs[i]) >= cg_nominal_size(item->node);
    return count;
}

/* Would computing the item again wherever it is read cost less than storing it? However cheap it is, not where each of
 * many elements is read again and again: its operands would be read as often. Kernels that read each element once, be
 * they many, do not read more of a single operand than they would of the item. */
static bool is_worth_repeating(const cg_schedule *s, const cg_entry *item)
{
    enum { MANY = 1 << 16, OFTEN = 4 };
    const int64_t size = cg_nominal_size(item->node);
    int64_t elements = 0, in_windows = size;
    for (int u = item->uses; u >= 0; u = s->uses[u].next) {
        elements += s->uses[u].elements;
        if (s->uses[u].elements > size) in_windows += s->uses[u].elements - size;
    }
    const int64_t reads = large_operands(item) > 1 ? elements : in_windows;
    const bool often = size >= MANY && reads > OFTEN * size && cg_reads(item->node) > 1;
    return (item->cost <= CG_CHEAP && !often) || (elements - size) * item->cost <= WORTH_A_LAUNCH;
}

static bool has_room_for_inputs(const cg_schedule *s, const cg_entry *item)
{
    for (int u = item->uses; u >= 0; u = s->uses[u].next) {
        const cg_group *g = &s->groups[s->uses[u].group];
        if (g->ops + 1 > CG_MOST_OPS || g->tensors - 1 + cg_reads(item->node) > CG_MOST_TENSORS) return false;
    }
    return true;
}

/* Computes the item inside every group that reads it. */
static bool inline_item(cg_schedule *s, int position)
{
    for (int u = s->items[position].uses; u >= 0; u = s->uses[u].next) {
        const cg_use use = s->uses[u];
        cg_group *g = &s->groups[use.group];
        g->ops++;
        if (counts_as_tensor(&s->items[position])) g->tensors--;
        touch(s, use.group, position);
        if (!pass_on(s, position, use.group, use.match, use.elements)) return false;
    }
    return true;
}

/* The group that computes `item` comes before all others that read it. */
static bool order_readers(cg_schedule *s, int position, int group)
{
    for (int u = s->items[position].uses; u >= 0; u = s->uses[u].next)
        if (!cg_edge_add(s, group, s->uses[u].group)) return false;
    return true;
}

static bool makes_cycle(cg_schedule *s, const cg_entry *item, int group)
{
    for (int u = item->uses; u >= 0; u = s->uses[u].next)
        if (s->uses[u].group != group && cg_reaches(s, s->uses[u].group, group)) return true;
    return false;
}

/* How the group itself reads the item: NULL if it does not. */
static const cg_use *use_by(const cg_schedule *s, const cg_entry *item, int group)
{
    for (int u = item->uses; u >= 0; u = s->uses[u].next)
        if (s->uses[u].group == group) return &s->uses[u];
    return NULL;
}

static bool can_join(cg_schedule *s, const cg_entry *item, int group)
{
    const cg_group *g = &s->groups[group];
    const cg_use *use = use_by(s, item, group);
    if (s->unfused || g->kind == CG_GROUP_KERNEL || g->product.kernel == CG_GEMM_FOLDED || item->node->op == NULL)
        return false;
    if (g->reports || item->node->op->reports) return false;
    if (use && (use->match != CG_MATCH_ELEMENTS || use->needs_buffer)) return false;
    if (!cg_same_elements(&g->space, &item->node->shape)) return false;
    if (g->member_count == CG_MOST_MEMBERS || g->ops + 1 > CG_MOST_OPS) return false;
    if (g->tensors + cg_reads(item->node) > CG_MOST_TENSORS) return false;
    return !makes_cycle(s, item, group);
}

static bool member_add(cg_schedule *s, int group, int position)
{
    cg_group *g = &s->groups[group];
    cg_entry *item = &s->items[position];
    if (use_by(s, item, group) && counts_as_tensor(item)) g->tensors--;
    g->members[g->member_count++] = position;
    g->ops++;
    item->stored = true;
    item->group = group;
    touch(s, group, position);
    return order_readers(s, position, group);
}

/* A group that already reads one of the item's inputs over the same elements: a sibling worth merging with. */
static int find_sibling(cg_schedule *s, const cg_entry *item)
{
    for (int i = 0; i < cg_reads(item->node); i++) {
        const cg_entry *input = input_of(s, item, i);
        for (int u = input->uses; u >= 0; u = s->uses[u].next)
            if (s->uses[u].match == CG_MATCH_ELEMENTS && can_join(s, item, s->uses[u].group)) return s->uses[u].group;
    }
    return -1;
}

static int find_group(cg_schedule *s, const cg_entry *item)
{
    for (int u = item->uses; u >= 0; u = s->uses[u].next)
        if (can_join(s, item, s->uses[u].group)) return s->uses[u].group;
    return find_sibling(s, item);
}

static bool store_item(cg_schedule *s, int position)
{
    cg_entry *item = &s->items[position];
    int group = item->kind == CG_ITEM_MAP || item->kind == CG_ITEM_VIEW ? find_group(s, item) : -1;
    if (group < 0) group = group_new(s, CG_GROUP_MAP, &item->node->shape);
    if (group < 0 || !member_add(s, group, position)) return false;
    if (item->kind == CG_ITEM_VALUE) return true;
    s->groups[group].reports |= item->node->op && item->node->op->reports;
    return pass_on(s, position, group, CG_MATCH_ELEMENTS, cg_nominal_size(item->node));
}

static bool decide_elementwise(cg_schedule *s, int position)
{
    cg_entry *item = &s->items[position];
    const bool reports = item->kind == CG_ITEM_MAP && item->node->op->reports;
    const bool must_store = item->root >= 0 || needs_buffer(s, item) || reports || item->forced;
    /* Where a buffer is asked for, that of its input will do. */
    if (item->kind == CG_ITEM_VIEW && item->root < 0 && !item->forced && needs_buffer(s, item) && reads_in_order(item))
        item->kind = CG_ITEM_ALIAS;
    if (item->kind == CG_ITEM_ALIAS && item->root < 0) return inline_item(s, position);
    const bool eager = s->unfused && item->kind == CG_ITEM_MAP;
    if (must_store || eager || !has_room_for_inputs(s, item)) return store_item(s, position);
    if (item->kind == CG_ITEM_VIEW || is_worth_repeating(s, item)) return inline_item(s, position);
    const bool spread = s->uses[item->uses].elements > 2 * cg_nominal_size(item->node);
    if (use_count(s, item) == 1 && !spread) return inline_item(s, position);
    return store_item(s, position);
}

/* Are the axes of `space` those of a product, some of them cut? */
static bool is_cut_from(const cg_shape *space, const cg_shape *product)
{
    int k = 0;
    if (cg_shape_size(*product) == 0) return false;
    for (int i = 0; i < product->rank; i++) {
        int64_t covered = 1;
        while (covered < product->size[i] && k < space->rank) covered *= space->size[k++];
        if (covered != product->size[i]) return false;
    }
    return true;
}

/* Can the item be the core of a group that reads it so? A product that only this group reads may be cut into the
 * group's axes. */
static bool can_be_core(const cg_schedule *s, const cg_entry *item, const cg_use *use)
{
    const cg_shape *space = &s->groups[use->group].space, *shape = &item->node->shape;
    if (use->match == CG_MATCH_ELEMENTS) return cg_same_elements(space, shape);
    return use->match == CG_MATCH_ORDER && item->kind == CG_ITEM_CONTRACT && item->root < 0 &&
           use_count(s, item) == 1 && is_cut_from(space, shape);
}

/* The one map group, of at most so many ops, that can take the anchor in: reads it element by element and has no core
 * yet. */
static int find_core(cg_schedule *s, const cg_entry *item, int most_ops)
{
    if (s->unfused) return -1;
    for (int u = item->uses; u >= 0; u = s->uses[u].next) {
        const cg_use *use = &s->uses[u];
        const cg_group *g = &s->groups[use->group];
        if (g->kind == CG_GROUP_MAP && !use->needs_buffer && !g->reports && can_be_core(s, item, use) &&
            g->member_count < CG_MOST_MEMBERS && g->tensors + 2 <= CG_MOST_TENSORS && g->ops <= most_ops &&
            !makes_cycle(s, item, use->group))
            return use->group;
    }
    return -1;
}

static bool anchor_item(cg_schedule *s, int position, cg_group_kind kind, int most_ops, int *group)
{
    cg_entry *item = &s->items[position];
    *group = find_core(s, item, most_ops);
    const bool others = *group < 0 || item->root >= 0 || use_count(s, item) > 1;
    if (*group < 0) *group = group_new(s, kind, &item->node->shape);
    if (*group < 0) return false;
    cg_group *g = &s->groups[*group];
    g->kind = kind;
    g->anchor = position;
    if (cg_same_elements(&g->space, &item->node->shape)) g->space = item->node->shape;
    if (others) return member_add(s, *group, position);
    g->tensors--; /* it was counted as read; now it stays in a register */
    g->ops++;
    item->group = *group;
    touch(s, *group, position);
    return true;
}

static bool decide_reduce(cg_schedule *s, int position)
{
    int group;
    const cg_node *input = s->items[position].node->inputs[0];
    return anchor_item(s, position, CG_GROUP_REDUCE, INT_MAX, &group) &&
           use_add(s, input->position, group, CG_MATCH_NONE, false, cg_nominal_size(input));
}

/* A product's epilogue runs along the rows of the result. Where those are shorter than a vector, a kernel of its own,
 * which runs along all elements, is faster from some ops on. The narrow kernel has full vectors wherever what the
 * epilogue reads lies as the result does: for the gradient of weights, it reads weights and their state. */
static int most_ops_after(const cg_schedule *s, const cg_node *node, const struct gemm_shape *shape,
                          const cg_gemm_choice *choice)
{
    const int last = node->shape.rank - 1;
    if (choice->kernel == CG_GEMM_CLBLAST) return NO_OPS;
    const bool full = node->batch_axis == last || node->shape.size[last] >= s->context->vector_width;
    const bool gradient = choice->kernel == CG_GEMM_NARROW && shape->transposed_a;
    return full || gradient ? INT_MAX : FEW_OPS;
}

/* Whether a product that gathers is a convolution, and Winograd's algorithm to be used for it. */
static bool consider_winograd(const cg_schedule *s, const cg_operands *operands, const struct gemm_shape *shape,
                              cg_gemm_choice *choice)
{
    const struct gemm_device device = cg_gemm_device(s->context);
    const struct gemm_shape typical = cg_gemm_typical(shape);
    struct winograd_images images;
    if (!cg_winograd_images(operands, &typical, &images)) return false;
    const int wanted = s->context->winograd, most = cg_winograd_most(&images);
    const int edge = wanted == CG_WINOGRAD_AUTO ? cg_winograd_edge(&images, &device) : wanted < most ? wanted : most;
    if (edge > 0) *choice = (cg_gemm_choice){.kernel = CG_GEMM_WINOGRAD, .edge = edge};
    return edge > 0;
}

/* The same for the gradient of a kernel, whose tiles are large. */
static void consider_winograd_gradient(const cg_schedule *s, const cg_operands *operands,
                                       const struct gemm_shape *shape, cg_gemm_choice *choice)
{
    const struct gemm_device device = cg_gemm_device(s->context);
    struct winograd_images images;
    const int wanted = s->context->winograd;
    if (wanted != CG_WINOGRAD_AUTO && wanted != 4) return;
    if (!cg_winograd_gradient(operands, shape, &images)) return;
    if (wanted == 4 || cg_winograd_gradient_pays(&images, &device))
        *choice = (cg_gemm_choice){.kernel = CG_GEMM_WINOGRAD_GRADIENT};
}

/* The group of a kernel that folds the product, and alone reads it; -1 if there is none. */
static int find_fold(const cg_schedule *s, int position)
{
    const cg_entry *item = &s->items[position];
    if (s->unfused || item->root >= 0 || use_count(s, item) != 1) return -1;
    const int group = s->uses[item->uses].group;
    const cg_group *g = &s->groups[group];
    if (g->kind != CG_GROUP_KERNEL) return -1;
    const cg_node *reader = s->items[g->anchor].node;
    return reader->op->folds && cg_entry_storage(s, reader->inputs[0]->position) == position ? group : -1;
}

/* Computes the product in the kernel that folds it, if that can be. */
static bool fold_product(cg_schedule *s, int position, int *group)
{
    cg_entry *item = &s->items[position];
    const cg_node *node = item->node;
    const struct gemm_device device = cg_gemm_device(s->context);
    struct gemm_folded folded;
    *group = node->dtype == CG_F32 || node->dtype == CG_F64 ? find_fold(s, position) : -1;
    if (*group < 0) return false;
    cg_group *g = &s->groups[*group];
    cg_operands operands = cg_operands_find(s, node, CG_GATHERS_NOTHING);
    if (!cg_gemm_folded(s->items[g->anchor].node, node, &device, &operands, &folded)) return false;
    g->kind = CG_GROUP_CONTRACT;
    g->anchor = position;
    g->space = node->shape;
    g->tensors--;
    g->ops++;
    item->group = *group;
    touch(s, *group, position);
    return true;
}

/* The kernel reads its operands wherever they lie, or copies of them. */
static bool use_operands(cg_schedule *s, const cg_node *node, const cg_operands *operands, int group)
{
    for (int i = 0; i < 2; i++) {
        const int read = operands->of[i].item >= 0 ? operands->of[i].item : node->inputs[i]->position;
        if (!use_add(s, read, group, CG_MATCH_NONE, true, 0)) return false;
    }
    return true;
}

/* Where the packed kernel is not among those to choose from: the tiled one gathers its operands wherever they lie,
 * CLBlast's read plain matrices. */
static cg_gathering choose_unpacked(cg_schedule *s, const cg_node *node, cg_operands *operands,
                                    struct gemm_shape *shape, cg_gemm_choice *choice)
{
    const bool gathers = (s->context->gemm_allowed & 1u << CG_GEMM_TILED) != 0;
    const cg_gathering gathering = gathers ? CG_GATHERS_ANYTHING : CG_GATHERS_NOTHING;
    *operands = cg_operands_find(s, node, gathering);
    *shape = cg_product_shape(node, operands);
    if (shape->gathered_a || shape->gathered_b) {
        const struct gemm_limits limits = cg_gemm_limits(s->context);
        *choice = (cg_gemm_choice){.kernel = CG_GEMM_TILED, .tiles = cg_gemm_tiles(shape, &limits)};
    } else {
        *choice = cg_gemm_choose(s->context, node->op, shape);
    }
    return gathering;
}

/* Where it is among them, which is so on CPUs: it gathers what vectors can be gathered from, and what is gathered may
 * suit a kernel made for that; the others read plain matrices. */
static cg_gathering choose_packed(cg_schedule *s, const cg_node *node, cg_operands *operands, struct gemm_shape *shape,
                                  cg_gemm_choice *choice)
{
    const struct gemm_device device = cg_gemm_device(s->context);
    cg_gathering gathering = CG_GATHERS_FORWARDS;
    *operands = cg_operands_find(s, node, gathering);
    *shape = cg_product_shape(node, operands);
    *choice = cg_gemm_choose(s->context, node->op, shape);
    if (choice->kernel != CG_GEMM_PACKED) {
        gathering = CG_GATHERS_NOTHING;
        *operands = cg_operands_find(s, node, gathering);
        *shape = cg_product_shape(node, operands);
        *choice = cg_gemm_choose(s->context, node->op, shape);
        return gathering;
    }
    if (cg_gemm_has_places(shape, &device)) *choice = (cg_gemm_choice){.kernel = CG_GEMM_PLACES};
    consider_winograd_gradient(s, operands, shape, choice);
    const cg_operands convolution = cg_operands_find(s, node, CG_GATHERS_KERNELS);
    if (!consider_winograd(s, &convolution, shape, choice)) return gathering;
    *operands = convolution;
    return CG_GATHERS_KERNELS;
}

static bool decide_contract(cg_schedule *s, int position)
{
    const cg_node *node = s->items[position].node;
    const bool packs = (s->context->gemm_allowed & 1u << CG_GEMM_PACKED) != 0;
    cg_operands operands;
    struct gemm_shape shape;
    cg_gemm_choice choice;
    cg_gathering gathering = packs ? choose_packed(s, node, &operands, &shape, &choice)
                                   : choose_unpacked(s, node, &operands, &shape, &choice);
    int group;
    if (choice.kernel == CG_GEMM_PACKED && fold_product(s, position, &group)) {
        choice = (cg_gemm_choice){.kernel = CG_GEMM_FOLDED};
        gathering = CG_GATHERS_NOTHING;
        operands = cg_operands_find(s, node, gathering);
    } else if (!anchor_item(s, position, CG_GROUP_CONTRACT, most_ops_after(s, node, &shape, &choice), &group)) {
        return false;
    }
    s->groups[group].product = choice;
    s->groups[group].gathering = gathering;
    return use_operands(s, node, &operands, group);
}

static bool decide_kernel(cg_schedule *s, int position)
{
    cg_entry *item = &s->items[position];
    const int group = group_new(s, CG_GROUP_KERNEL, &item->node->shape);
    if (group < 0) return false;
    cg_group *g = &s->groups[group];
    g->anchor = position;
    g->reports = item->node->op->reports;
    if (item->node->output_count <= 1) {
        if (!member_add(s, group, position)) return false;
    } else {
        item->group = group;
        touch(s, group, position);
        if (!order_readers(s, position, group)) return false;
    }
    for (int i = 0; i < item->node->input_count; i++)
        if (!use_add(s, item->node->inputs[i]->position, group, CG_MATCH_NONE, true, 0)) return false;
    return true;
}

/* Outputs pass their readers on to the kernel; the kernel's group then stores them. */
static bool decide_output(cg_schedule *s, int position)
{
    cg_entry *item = &s->items[position];
    const int call = item->node->inputs[0]->position;
    item->stored = true;
    for (int u = item->uses; u >= 0; u = s->uses[u].next)
        if (!use_add(s, call, s->uses[u].group, CG_MATCH_NONE, false, 0)) return false;
    return true;
}

static bool decide(cg_schedule *s, int position)
{
    const cg_entry *item = &s->items[position];
    switch (item->kind) {
    case CG_ITEM_BUFFER:
    case CG_ITEM_SAME:
        return true;
    case CG_ITEM_VALUE:
        return item->root >= 0 || needs_buffer(s, item) ? store_item(s, position) : true;
    case CG_ITEM_MAP:
    case CG_ITEM_VIEW:
    case CG_ITEM_ALIAS:
        return decide_elementwise(s, position);
    case CG_ITEM_REDUCE:
        return decide_reduce(s, position);
    case CG_ITEM_CONTRACT:
        return decide_contract(s, position);
    case CG_ITEM_KERNEL:
        return decide_kernel(s, position);
    case CG_ITEM_OUTPUT:
        return decide_output(s, position);
    }
    return true;
}

/* Outputs of a kernel with several belong to its group, which is known once the kernel was decided. */
static bool attach_outputs(cg_schedule *s)
{
    for (int i = 0; i < s->walk->count; i++) {
        cg_entry *item = &s->items[i];
        if (item->kind != CG_ITEM_OUTPUT) continue;
        const int group = s->items[item->node->inputs[0]->position].group;
        cg_group *g = &s->groups[group];
        item->group = group;
        g->members[g->member_count++] = i;
        if (!order_readers(s, i, group)) return false;
    }
    return true;
}

/* --- matrix operands --- */

int cg_entry_storage(const cg_schedule *s, int item)
{
    while (s->items[item].kind == CG_ITEM_ALIAS && !s->items[item].stored)
        item = s->items[item].node->inputs[0]->position;
    return item;
}

/* --- views --- */

/* Coordinates after one more view: the shifts on the way transform like the coordinates, and those of the view itself
 * move from the mapping's offsets, where they are numbers, to the list, where they are arguments. */
void cg_shift_coordinates(const cg_node *node, const cg_mapping *step, cg_mapping *composed, cg_axis_shifts *shifts)
{
    const int from = node->shape.rank, to = node->inputs[0]->shape.rank;
    for (int n = 0; n < shifts->count; n++) {
        int64_t factor[CG_MAX_RANK] = {0};
        for (int j = 0; j < to; j++)
            for (int i = 0; i < from; i++) factor[j] += step->factor[j][i] * shifts->of[n].factor[i];
        memcpy(shifts->of[n].factor, factor, sizeof factor);
    }
    for (int j = 0; j < to && node->op->shifts; j++) {
        if (!cg_is_shifted(node, j)) continue;
        composed->offset[j] -= step->offset[j];
        cg_axis_shift *own = &shifts->of[shifts->count++];
        *own = (cg_axis_shift){.item = node->position, .attribute = j};
        own->factor[j] = 1;
    }
}

/* --- order --- */

/* In place only if every other reader of the old value can run first, and the group itself reads it element by
 * element; with kernels that may report a bad index, these must be able to run first too. */
static bool can_write_in_place(cg_schedule *s, int writer, const cg_entry *old)
{
    const cg_use *own = old ? use_by(s, old, writer) : NULL;
    if (own && (own->match != CG_MATCH_ELEMENTS || own->needs_buffer)) return false;
    for (int u = old ? old->uses : -1; u >= 0; u = s->uses[u].next)
        if (s->uses[u].group != writer && cg_reaches(s, writer, s->uses[u].group)) return false;
    if (s->reports && s->groups[writer].product.kernel == CG_GEMM_CLBLAST) return false;
    for (int g = 0; s->reports && g < s->group_count; g++)
        if (s->groups[g].reports && cg_reaches(s, writer, g)) return false;
    return true;
}

static bool plan_in_place(cg_schedule *s)
{
    for (int g = 0; g < s->group_count; g++) s->reports |= s->groups[g].reports;
    for (int r = 0; r < s->walk->root_count; r++) {
        cg_root *root = &s->walk->roots[r];
        const cg_entry *item = &s->items[root->position];
        if (!root->donated || item->kind == CG_ITEM_BUFFER || item->root != r) {
            root->donated = false;
            continue;
        }
        cg_entry *old = root->donor >= 0 ? &s->items[root->donor] : NULL;
        root->donated = can_write_in_place(s, item->group, old);
        if (!root->donated) continue;
        s->groups[item->group].in_place = true;
        for (int u = old ? old->uses : -1; u >= 0; u = s->uses[u].next)
            if (!cg_edge_add(s, s->uses[u].group, item->group)) return false;
        for (int g = 0; s->reports && g < s->group_count; g++)
            if (s->groups[g].reports && !cg_edge_add(s, g, item->group)) return false;
    }
    return true;
}

bool cg_schedule_make(cg_schedule *s)
{
    s->items = cg_host_allocate(s->context, (size_t)(s->walk->count + 1) * sizeof *s->items);
    if (!s->items) return false;
    list_items(s);
    if (!s->unfused && !cg_merge_equal(s)) return false;
    classify(s);
    for (int i = s->walk->count; i-- > 0;)
        if (!decide(s, i)) return false;
    return attach_outputs(s) && cg_chain_rows(s) && cg_order_replays(s) && plan_in_place(s) && cg_order_launches(s);
}

void cg_schedule_free(cg_schedule *s)
{
    cg_restore_positions(s);
    cg_host_free(s->context, s->items);
    cg_host_free(s->context, s->uses);
    cg_host_free(s->context, s->groups);
    cg_host_free(s->context, s->edges);
    cg_host_free(s->context, s->order);
    cg_host_free(s->context, s->stack);
}

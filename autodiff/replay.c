/* Copies of segments: see replay.h. Each is found, or made after its inputs, with a stack instead of recursion; the
 * scope that is innermost then owns it. What a segment reads from outside reaches its copies through a view, `again`,
 * that keeps the engine from taking the copies for the originals and from running them early. */
#include "autodiff/replay.h"

#include <string.h>

struct cg_replay_frame {
    cg_node *node;
    int segment, next;
};
typedef struct cg_replay_frame frame;

/* --- the view --- */

static bool infer_again(const cg_call *call, cg_inferred *result)
{
    result->shape[0] = call->input_shapes[0];
    result->dtype[0] = call->input_dtypes[0];
    return true;
}

static void identity(const cg_call *call, cg_mapping *mapping)
{
    for (int i = 0; i < call->input_shapes[0].rank; i++) mapping->factor[i][i] = 1;
}

static void again_vjp(const cg_vjp *vjp, cg_tensor *result)
{
    result[0] = vjp->cotangents[0];
}

static const cg_op again = {.name = "again",
                            .kind = CG_OP_MOVE,
                            .inputs = 2,
                            .infer = infer_again,
                            .move = identity,
                            .again = true,
                            .vjp = again_vjp};

/* --- memory --- */

/* Makes room for one more item; false, reported, when the host's memory is used up. */
static bool grow(cg_context *cg, void **items, int count, int *capacity, size_t bytes)
{
    if (count < *capacity) return true;
    const int more = *capacity ? 2 * *capacity : 16;
    void *room = cg_host_allocate(cg, (size_t)more * bytes);
    if (!room) return false;
    if (count) memcpy(room, *items, (size_t)count * bytes);
    cg_host_free(cg, *items);
    *items = room;
    *capacity = more;
    return true;
}

void cg_replay_free(cg_replay *r)
{
    cg_host_free(r->context, r->segments);
    cg_host_free(r->context, r->table);
    cg_host_free(r->context, r->stack);
}

/* The place of a node in a segment, or the free one where it would be. There always is one. */
static cg_replayed *place_of(const cg_replay *r, const cg_node *node, int segment)
{
    uint64_t at = (node->serial + (uint64_t)segment * UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xd6e8feb86659fd93);
    const uint64_t mask = (uint64_t)r->places - 1;
    for (at = (at >> 32) & mask; r->table[at].node; at = (at + 1) & mask)
        if (r->table[at].node == node && r->table[at].segment == segment) break;
    return &r->table[at];
}

/* At most half of the places are taken. */
static bool reserve_place(cg_replay *r)
{
    if (2 * (r->count + 1) <= r->places) return true;
    const cg_replay old = *r;
    const int places = old.places ? 2 * old.places : 256;
    cg_replayed *table = cg_host_allocate(r->context, (size_t)places * sizeof *table);
    if (!table) return false;
    r->table = table;
    r->places = places;
    for (int i = 0; i < old.places; i++)
        if (old.table[i].node) *place_of(r, old.table[i].node, old.table[i].segment) = old.table[i];
    cg_host_free(r->context, old.table);
    return true;
}

/* --- segments --- */

int cg_replay_enter(cg_replay *r, const cg_node *result, int outer, cg_tensor cotangent)
{
    const uint64_t begin = cg_checkpoint_begin(result);
    for (int i = r->segment_count - 1; i >= 0; i--)
        if (r->segments[i].begin == begin && r->segments[i].outer == outer) return i;
    if (!grow(r->context, (void **)&r->segments, r->segment_count, &r->segment_capacity, sizeof *r->segments))
        return -1;
    r->segments[r->segment_count] = (cg_segment){.begin = begin,
                                                 .outer = outer,
                                                 .depth = outer < 0 ? 0 : r->segments[outer].depth + 1,
                                                 .wait = cg_node_of(cotangent, "checkpoint")};
    return r->segment_count++;
}

int cg_replay_around(const cg_replay *r, int segment, const cg_node *read)
{
    while (segment >= 0 && read->serial < r->segments[segment].begin) segment = r->segments[segment].outer;
    return segment;
}

/* --- copies --- */

/* What needs no copy, as it is an argument of kernels or computed from nothing. */
static bool is_number(const cg_node *node)
{
    return node->kind == CG_NODE_SCALAR || node->kind == CG_NODE_CONSTANT || node->kind == CG_NODE_INDEX;
}

/* What the node is in a segment, if that is known; it always is outside of segments. */
static cg_node *find(const cg_replay *r, cg_node *node, int segment)
{
    if (segment < 0 || is_number(node)) return node;
    return r->places ? place_of(r, node, segment)->copy : NULL;
}

/* Whether the segment reads it from outside: what was recorded before the segment, and what is stored. */
static bool is_outside(const cg_segment *segment, const cg_node *node)
{
    return cg_is_leaf(node) || node->serial < segment->begin;
}

/* Stored values are the same in every segment. */
static int outer_of(const cg_segment *segment, const cg_node *node)
{
    return cg_is_leaf(node) ? -1 : segment->outer;
}

static cg_node *make_view(cg_node *of, cg_node *wait)
{
    const cg_tensor inputs[] = {cg_tensor_of(of), cg_tensor_of(wait)};
    return cg_apply(&again, inputs, 2, NULL, 0).node;
}

/* A copy whose inputs have copies. That of a segment's result is what it is the identity of: what it says of where its
 * segment began is not so of copies. */
static cg_node *make_copy(cg_replay *r, cg_node *node, int segment)
{
    if (cg_is_checkpoint(node)) return find(r, node->inputs[0], segment);
    if (node->kind == CG_NODE_OUTPUT)
        return cg_output_of(find(r, node->inputs[0], segment), (int)node->attributes[0]).node;
    cg_node **inputs = cg_host_allocate(r->context, (size_t)node->input_count * sizeof *inputs);
    if (!inputs) return NULL;
    for (int i = 0; i < node->input_count; i++) inputs[i] = find(r, node->inputs[i], segment);
    cg_node *copy = cg_call_again(node, inputs);
    cg_host_free(r->context, inputs);
    return copy;
}

static bool push(cg_replay *r, cg_node *node, int segment)
{
    if (!grow(r->context, (void **)&r->stack, r->depth, &r->stack_capacity, sizeof *r->stack)) return false;
    r->stack[r->depth++] = (frame){.node = node, .segment = segment};
    return true;
}

/* Puts the next thing that the frame on top needs and that is not there on the stack: false if that is all. */
static bool push_needed(cg_replay *r, bool *ok)
{
    frame *top = &r->stack[r->depth - 1];
    cg_node *node = top->node;
    const int segment = top->segment;
    const cg_segment *s = &r->segments[segment];
    if (is_outside(s, node)) {
        const int outer = outer_of(s, node);
        if (find(r, node, outer)) return false;
        *ok = push(r, node, outer);
        return true;
    }
    while (top->next < node->input_count) {
        cg_node *input = node->inputs[top->next++];
        if (find(r, input, segment)) continue;
        *ok = push(r, input, segment);
        return true;
    }
    return false;
}

/* Makes what the frame on top is about: all that it needs is there. */
static bool finish(cg_replay *r)
{
    const frame top = r->stack[--r->depth];
    const cg_segment *s = &r->segments[top.segment];
    if (!reserve_place(r)) return false;
    cg_node *copy = is_outside(s, top.node) ? make_view(find(r, top.node, outer_of(s, top.node)), s->wait)
                                            : make_copy(r, top.node, top.segment);
    if (!copy) return false;
    *place_of(r, top.node, top.segment) = (cg_replayed){top.node, top.segment, copy};
    r->count++;
    return true;
}

cg_node *cg_replay_of(cg_replay *r, cg_node *node, int segment)
{
    cg_node *known = find(r, node, segment);
    if (known) return known;
    r->depth = 0;
    bool ok = push(r, node, segment);
    while (ok && r->depth > 0)
        if (!push_needed(r, &ok)) ok = finish(r);
    return ok ? find(r, node, segment) : NULL;
}

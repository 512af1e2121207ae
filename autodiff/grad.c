/* Reverse mode, graph to graph: walks the nodes behind the outputs once, then visits those on a path from an input
 * backwards and asks each op's rule for the cotangents of its inputs. Reads nodes, records new ones through public
 * ops, and names no op but the sum that accumulates and the broadcast constant that starts it. */
#include "autodiff/grad.h"

#include "autodiff/replay.h"
#include <clgrad/ops.h>
#include <string.h>

/* One node of the walk, inputs before the nodes that read them. `edge` is the first of its inputs' positions in the
 * list of edges: copied there because recording ops may walk the graph and renumber the nodes. `slot` is the first of
 * its cotangents, one per output. */
typedef struct step {
    cg_node *node;
    int32_t edge, slot;
    int32_t segment; /* in which its rule sees it: see replay.h */
    bool wanted;     /* on a path from an input */
} step;

/* A node whose inputs are being walked, and the next of them. */
typedef struct frame {
    cg_node *node;
    int next;
} frame;

/* A growing array of host memory. */
typedef struct list {
    void *items;
    int32_t count, capacity;
} list;

typedef struct tape {
    cg_context *cg;
    const char *who;
    cg_scope scope; /* of the temporaries */
    uint64_t epoch;
    list steps, edges, frames;
    list ends; /* positions of the outputs, then of the inputs differentiated by; -1: no output depends on it */
    cg_tensor *slots;
    int32_t slot_count;
    cg_replay replay;
} tape;

/* Makes room for one more item of `bytes` and counts it; NULL, reported, when the host's memory is used up. */
static void *list_push(tape *t, list *l, size_t bytes)
{
    if (l->count == l->capacity) {
        int32_t capacity = l->capacity ? l->capacity * 2 : 128;
        void *items = cg_host_allocate(t->cg, (size_t)capacity * bytes);
        if (!items) return NULL;
        if (l->count) memcpy(items, l->items, (size_t)l->count * bytes);
        cg_host_free(t->cg, l->items);
        l->items = items;
        l->capacity = capacity;
    }
    return (char *)l->items + (size_t)l->count++ * bytes;
}

static step *step_at(tape *t, int32_t position)
{
    return (step *)t->steps.items + position;
}

static const int32_t *edges_of(tape *t, const step *s)
{
    return (const int32_t *)t->edges.items + s->edge;
}

/* Whether a cotangent of the node goes on to its inputs. Leaves end it, and so do integers and piecewise constants. A
 * call with several outputs has no dtype of its own: its outputs decide. */
static bool passes_on(const cg_node *node)
{
    if (node->kind == CG_NODE_OUTPUT) return cg_is_floating((cg_dtype)node->dtype);
    if (node->kind != CG_NODE_CALL || node->op->zero_gradient) return false;
    return node->output_count > 1 || cg_is_floating((cg_dtype)node->dtype);
}

/* How many of its inputs get cotangents from it, the first ones. */
static int inputs_of(const cg_node *node)
{
    return !passes_on(node) ? 0 : node->kind == CG_NODE_CALL && node->op->again ? 1 : node->input_count;
}

static int slots_of(const cg_node *node)
{
    return node->kind == CG_NODE_CALL && node->output_count > 1 ? node->output_count : 1;
}

static bool walk_enter(tape *t, cg_node *node)
{
    if (node->visit == t->epoch) return true;
    frame *f = list_push(t, &t->frames, sizeof *f);
    if (!f) return false;
    node->visit = t->epoch;
    *f = (frame){.node = node};
    return true;
}

/* Numbers a node whose inputs are all numbered. */
static bool walk_leave(tape *t, cg_node *node)
{
    int inputs = inputs_of(node);
    node->position = t->steps.count;
    step *s = list_push(t, &t->steps, sizeof *s);
    if (!s) return false;
    *s = (step){.node = node, .edge = t->edges.count, .slot = t->slot_count, .segment = -1};
    t->slot_count += slots_of(node);
    for (int i = 0; i < inputs; i++) {
        int32_t *edge = list_push(t, &t->edges, sizeof *edge);
        if (!edge) return false;
        *edge = node->inputs[i]->position;
    }
    return true;
}

/* Numbers everything behind `root`. The walk keeps a stack of its own: a graph may be deeper than the thread's. */
static bool walk(tape *t, cg_node *root)
{
    if (!walk_enter(t, root)) return false;
    while (t->frames.count) {
        frame *f = (frame *)t->frames.items + t->frames.count - 1;
        if (f->next < inputs_of(f->node)) {
            if (!walk_enter(t, f->node->inputs[f->next++])) return false;
        } else {
            if (!walk_leave(t, f->node)) return false;
            t->frames.count--;
        }
    }
    return true;
}

/* Walks everything behind the outputs, and notes where they and the inputs are before other walks renumber them. */
static bool walk_all(tape *t, const cg_pullback *p)
{
    t->epoch = cg_walk_new(t->cg);
    for (int k = 0; k < p->output_count; k++)
        if (!walk(t, p->outputs[k].node)) return false;
    for (int i = 0; i < p->output_count + p->wrt_count; i++) {
        const cg_node *node = i < p->output_count ? p->outputs[i].node : p->wrt[i - p->output_count].node;
        int32_t *end = list_push(t, &t->ends, sizeof *end);
        if (!end) return false;
        *end = node->visit == t->epoch ? node->position : -1;
    }
    return true;
}

/* Marks the inputs asked for and everything that depends on them. */
static void mark_wanted(tape *t, const cg_pullback *p)
{
    const int32_t *ends = t->ends.items, *edges = t->edges.items;
    for (int i = p->output_count; i < t->ends.count; i++)
        if (ends[i] >= 0) step_at(t, ends[i])->wanted = true;
    int32_t edge = 0;
    for (int32_t i = 0; i < t->steps.count; i++) {
        step *s = step_at(t, i);
        int32_t next = i + 1 < t->steps.count ? step_at(t, i + 1)->edge : t->edges.count;
        for (; edge < next; edge++) s->wanted |= step_at(t, edges[edge])->wanted;
    }
}

static bool accumulate(cg_tensor *slot, cg_tensor cotangent)
{
    *slot = cg_is_null(*slot) ? cotangent : cg_add(*slot, cotangent);
    return !cg_is_null(*slot);
}

/* Whether a rule gave the cotangent the shape and dtype of its input. A weak number's cotangent may have the dtype of
 * whatever the number was used with. */
static bool fits(tape *t, const step *s, int index, cg_tensor cotangent)
{
    const cg_node *input = s->node->inputs[index], *given = cg_node_of(cotangent, t->who);
    if (!given) return false;
    bool same_dtype = given->dtype == input->dtype || input->weak;
    if (same_dtype && cg_shapes_equal(given->shape, input->shape)) return true;
    cg_report(t->cg, CG_ERROR_ARGUMENT, t->who, "the vjp of %s gave input %d a cotangent %s %s, but the input is %s %s",
              s->node->op->name, index, cg_tensor_text(cotangent), cg_dtype_name((cg_dtype)given->dtype),
              cg_shape_text(t->cg, input->shape), cg_dtype_name((cg_dtype)input->dtype));
    return false;
}

/* What is read in a segment is seen in it too, or in one around it if it was there before; in the innermost, if several
 * read it. */
static void place_inputs(tape *t, const step *s, int segment)
{
    const int32_t *edges = edges_of(t, s);
    for (int i = 0; segment >= 0 && i < inputs_of(s->node); i++) {
        step *input = step_at(t, edges[i]);
        const int around = cg_replay_around(&t->replay, segment, input->node);
        if (around >= 0 &&
            (input->segment < 0 || t->replay.segments[input->segment].depth < t->replay.segments[around].depth))
            input->segment = around;
    }
}

/* The tensors that a rule sees: handles of the inputs and outputs, new ones where the user's have died. */
static bool gather_operands(tape *t, const step *s, cg_tensor *inputs, cg_tensor *outputs)
{
    for (int i = 0; i < s->node->input_count; i++) {
        cg_node *input = cg_replay_of(&t->replay, s->node->inputs[i], s->segment);
        if (!input) return false;
        inputs[i] = cg_tensor_of(input);
    }
    cg_node *seen = cg_replay_of(&t->replay, s->node, s->segment);
    if (!seen) return false;
    for (int k = 0; k < slots_of(s->node); k++)
        outputs[k] = slots_of(s->node) == 1 ? cg_tensor_of(seen) : cg_output_of(seen, k);
    return true;
}

/* The result of a segment: its cotangent goes into the segment, which is then seen as computed again. */
static bool pull_checkpoint(tape *t, const step *s)
{
    const cg_tensor cotangent = t->slots[s->slot];
    const int segment = cg_replay_enter(&t->replay, s->node, s->segment, cotangent);
    if (segment < 0) return false;
    place_inputs(t, s, segment);
    return accumulate(t->slots + step_at(t, edges_of(t, s)[0])->slot, cotangent);
}

/* Asks the rule of one call for the cotangents of its inputs and adds them to what they have. */
static bool pull_call(tape *t, const step *s)
{
    const cg_op *op = s->node->op;
    if (!op->vjp) {
        cg_report(t->cg, CG_ERROR_ARGUMENT, t->who, "%s has no vjp, so no gradient passes through it", op->name);
        return false;
    }
    cg_tensor inputs[CG_MAX_INPUTS], outputs[CG_MAX_OUTPUTS], result[CG_MAX_INPUTS];
    bool wanted[CG_MAX_INPUTS];
    const int32_t *edges = edges_of(t, s);
    if (!gather_operands(t, s, inputs, outputs)) return false;
    for (int i = 0; i < s->node->input_count; i++) {
        wanted[i] = i < inputs_of(s->node) && step_at(t, edges[i])->wanted;
        result[i] = (cg_tensor){0};
    }
    cg_call_view view;
    cg_call_of(s->node, &view);
    op->vjp(&(cg_vjp){&view.call, inputs, outputs, t->slots + s->slot, wanted}, result);
    if (cg_scope_failed(t->scope)) return false;
    for (int i = 0; i < s->node->input_count; i++) {
        if (!wanted[i] || cg_is_null(result[i])) continue;
        if (!fits(t, s, i, result[i]) || !accumulate(t->slots + step_at(t, edges[i])->slot, result[i])) return false;
    }
    return true;
}

static bool has_cotangent(tape *t, const step *s)
{
    for (int k = 0; k < slots_of(s->node); k++)
        if (!cg_is_null(t->slots[s->slot + k])) return true;
    return false;
}

/* Whether the cotangents of any input are wanted: not those of a wrt in the middle of the graph, for one. */
static bool wants_inputs(tape *t, const step *s)
{
    const int32_t *edges = edges_of(t, s);
    for (int i = 0; i < inputs_of(s->node); i++)
        if (step_at(t, edges[i])->wanted) return true;
    return false;
}

/* The output of a call with several: its cotangent is one of the call's. */
static bool pull_output(tape *t, const step *s)
{
    const step *call = step_at(t, edges_of(t, s)[0]);
    place_inputs(t, s, s->segment);
    return accumulate(t->slots + call->slot + s->node->attributes[0], t->slots[s->slot]);
}

static bool pull(tape *t, const step *s)
{
    if (s->node->kind == CG_NODE_OUTPUT) return pull_output(t, s);
    if (cg_is_checkpoint(s->node)) return pull_checkpoint(t, s);
    place_inputs(t, s, s->segment);
    return pull_call(t, s);
}

/* The backward pass: readers before what they read, so a node's cotangent is complete when its turn comes. */
static bool pull_all(tape *t)
{
    for (int32_t p = t->steps.count - 1; p >= 0; p--) {
        const step *s = step_at(t, p);
        if (s->wanted && passes_on(s->node) && has_cotangent(t, s) && wants_inputs(t, s) && !pull(t, s)) return false;
    }
    return true;
}

/* Gives the outputs their cotangents. An output listed twice counts twice. */
static bool seed(tape *t, const cg_pullback *p)
{
    for (int k = 0; k < p->output_count; k++) {
        const step *s = step_at(t, ((const int32_t *)t->ends.items)[k]);
        if (!s->wanted) continue;
        cg_tensor one = p->cotangents ? p->cotangents[k]
                                      : cg_filled(t->cg, (cg_dtype)s->node->dtype, s->node->shape, 1);
        if (cg_is_null(one) || !accumulate(t->slots + s->slot, one)) return false;
    }
    return true;
}

/* The cotangents that the inputs ended up with; zeros where none arrived. */
static bool collect(tape *t, const cg_pullback *p, cg_tensor *gradients)
{
    for (int i = 0; i < p->wrt_count; i++) {
        const cg_node *node = p->wrt[i].node;
        int32_t position = ((const int32_t *)t->ends.items)[p->output_count + i];
        cg_tensor found = position < 0 ? (cg_tensor){0} : t->slots[step_at(t, position)->slot];
        if (cg_is_null(found)) found = cg_filled(t->cg, (cg_dtype)node->dtype, node->shape, 0);
        if (cg_is_null(found)) return false;
        gradients[i] = found;
    }
    return true;
}

static void clear(cg_tensor *gradients, int count)
{
    for (int i = 0; i < count; i++) gradients[i] = (cg_tensor){0};
}

static void lift(const cg_tensor *gradients, int count)
{
    for (int i = 0; i < count; i++) cg_lift(gradients[i]);
}

static void note_reach(tape *t, const cg_pullback *p)
{
    for (int k = 0; p->reaches && k < p->output_count; k++)
        p->reaches[k] = step_at(t, ((const int32_t *)t->ends.items)[k])->wanted;
}

static bool differentiate(tape *t, const cg_pullback *p, cg_tensor *gradients)
{
    if (!cg_expand_behind(t->cg, p->outputs, p->output_count) || !walk_all(t, p)) return false;
    mark_wanted(t, p);
    note_reach(t, p);
    t->slots = cg_host_allocate(t->cg, (size_t)(t->slot_count + 1) * sizeof *t->slots);
    return t->slots && seed(t, p) && pull_all(t) && collect(t, p, gradients);
}

static void tape_free(tape *t)
{
    cg_host_free(t->cg, t->steps.items);
    cg_host_free(t->cg, t->edges.items);
    cg_host_free(t->cg, t->frames.items);
    cg_host_free(t->cg, t->ends.items);
    cg_host_free(t->cg, t->slots);
    cg_replay_free(&t->replay);
}

bool cg_pull_back(const cg_pullback *p, cg_tensor *gradients)
{
    cg_context *cg = cg_check_pullback(p);
    tape t = {.cg = cg, .who = p->who, .scope = cg_scope_local(cg), .replay = {.context = cg}};
    bool done = t.scope.context && differentiate(&t, p, gradients);
    if (cg) tape_free(&t);
    if (done)
        lift(gradients, p->wrt_count);
    else
        clear(gradients, p->wrt_count);
    cg_scope_end(t.scope);
    return done;
}

bool cg_grad_with(const cg_tensor *outputs, int output_count, const cg_tensor *wrt, int wrt_count, cg_tensor *gradients,
                  const cg_grad_options *options)
{
    return cg_pull_back(&(cg_pullback){.who = "grad",
                                       .outputs = outputs,
                                       .output_count = output_count,
                                       .cotangents = options ? options->cotangents : NULL,
                                       .wrt = wrt,
                                       .wrt_count = wrt_count,
                                       .reaches = options ? options->reaches : NULL},
                        gradients);
}

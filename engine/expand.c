/* Expanding deferred calls in place: handles, variables and readers of an output see the expansion's result without
 * knowing. Records nodes through the ops' own functions; runs nothing. */
#include "engine/expand.h"
#include "engine/context.h"

#include <string.h>

/* --- an output becomes what it stands for --- */

static void same_move(const cg_call *call, cg_mapping *mapping)
{
    for (int i = 0; i < call->input_shapes[0].rank; i++) mapping->factor[i][i] = 1;
}

static void same_vjp(const cg_vjp *vjp, cg_tensor *result)
{
    result[0] = vjp->cotangents[0];
}

static const cg_op same = {.name = "same", .kind = CG_OP_MOVE, .inputs = 1, .move = same_move, .vjp = same_vjp};

/* Of a node without history, as it is after cg_history_take. */
static void become_view(cg_node *node, cg_node *of)
{
    cg_node_retain(of);
    node->kind = CG_NODE_CALL;
    node->op = &same;
    node->inputs[0] = of;
    node->input_count = 1;
    node->output_count = 1;
    node->batch_axis = of->batch_axis;
    cg_node_hash(node);
}

/* Whether an output can take over what `value` computes, which is then a view of the output. The other way round, what
 * is stored would be a view of something, and kernels would be cut there. What was there before the expansion, the node
 * numbered `last`, stays what it is: others depend on it. */
static bool can_take_over(const cg_node *value, uint64_t last)
{
    return value->serial > last && value->kind == CG_NODE_CALL && value->op != &same && value->output_count <= 1 &&
           !value->buffer && !value->weak && !value->assigned && !value->asked;
}

static void take_over(cg_node *output, cg_node *value)
{
    cg_history history;
    output->kind = CG_NODE_CALL;
    output->op = value->op;
    output->output_count = 1;
    output->batch_axis = value->batch_axis;
    output->input_count = value->input_count;
    output->attribute_count = value->attribute_count;
    cg_history_take(value, &history); /* and not ended: it is the output's */
    memcpy(output->inline_inputs, history.inlined, sizeof output->inline_inputs);
    memcpy(output->inline_attributes, value->inline_attributes, sizeof output->inline_attributes);
    if (history.inputs) output->inputs = history.inputs;
    if (history.attributes) output->attributes = history.attributes;
    if (!output->label) {
        output->label = value->label;
        value->label = NULL;
    }
    cg_node_hash(output);
    become_view(value, output);
}

/* The output, or the call if it has but one, is from now on what the expansion made, whatever refers to it. */
static bool become(cg_node *output, const cg_op *op, int index, cg_node *value, uint64_t last)
{
    cg_history history;
    if (!value || value->dtype != output->dtype || !cg_shapes_equal(value->shape, output->shape))
        return cg_fail(output->context, CG_ERROR_ARGUMENT, "%s: output %d of the expansion is not as announced",
                       op->name, index);
    cg_history_take(output, &history);
    if (can_take_over(value, last))
        take_over(output, value);
    else
        become_view(output, value);
    cg_history_end(&history);
    return true;
}

/* --- expanding --- */

/* The arrays that an expansion is given and fills. */
typedef struct operands {
    cg_tensor *inputs, *outputs;
    cg_shape *shapes;
    cg_dtype *dtypes;
} operands;

static bool operands_new(const cg_node *call, operands *o)
{
    cg_context *cg = call->context;
    const size_t inputs = (size_t)call->input_count;
    *o = (operands){.inputs = cg_host_allocate(cg, inputs * sizeof *o->inputs),
                    .outputs = cg_host_allocate(cg, (size_t)call->output_count * sizeof *o->outputs),
                    .shapes = cg_host_allocate(cg, inputs * sizeof *o->shapes),
                    .dtypes = cg_host_allocate(cg, inputs * sizeof *o->dtypes)};
    return o->inputs && o->outputs && o->shapes && o->dtypes;
}

static void operands_free(cg_context *cg, const operands *o)
{
    cg_host_free(cg, o->inputs);
    cg_host_free(cg, o->outputs);
    cg_host_free(cg, o->shapes);
    cg_host_free(cg, o->dtypes);
}

/* The node whose value output `i` of the call is; NULL if nobody has it. */
static cg_node *output_of(cg_node *call, int i)
{
    return call->output_nodes ? call->output_nodes[i] : call;
}

static bool run_expansion(cg_node *call, const operands *o)
{
    const cg_op *op = call->op;
    const int count = call->output_count;
    const uint64_t last = call->context->next_node;
    const int64_t failures = call->context->failures;
    const cg_call seen = {.op = op,
                          .context = call->context,
                          .input_count = call->input_count,
                          .attribute_count = call->attribute_count,
                          .input_shapes = o->shapes,
                          .input_dtypes = o->dtypes,
                          .attributes = call->attributes,
                          .label = call->label ? call->label : ""};
    bool ok = true;
    for (int i = 0; i < call->input_count; i++) {
        o->inputs[i] = cg_tensor_of(call->inputs[i]);
        o->shapes[i] = call->inputs[i]->shape;
        o->dtypes[i] = (cg_dtype)call->inputs[i]->dtype;
    }
    op->expand(&seen, o->inputs, o->outputs);
    for (int i = 0; i < count; i++) ok &= !cg_is_null(o->outputs[i]);
    ok &= call->context->failures == failures; /* a name may be missing, say */
    for (int i = 0; ok && i < count; i++) {
        cg_node *output = output_of(call, i);
        if (output) ok = become(output, op, i, cg_node_of(o->outputs[i], op->name), last);
    }
    return ok;
}

/* Lets go of what a call with several outputs has read: nothing stands for it any more, but it may be alive for a
 * while. */
static void forget_inputs(cg_node *call)
{
    while (cg_is_deferred(call)) cg_node_release(call->inputs[--call->input_count]);
}

bool cg_expand(cg_node *call)
{
    cg_context *cg = call->context;
    operands o;
    if (!cg_is_deferred(call)) return true;
    const cg_scope scope = operands_new(call, &o) ? cg_scope_local(cg) : (cg_scope){0};
    cg->expanding++;
    const bool ok = scope.context && run_expansion(call, &o);
    cg->expanding--;
    if (scope.context) cg_scope_end(scope);
    if (ok) forget_inputs(call);
    operands_free(cg, &o);
    return ok;
}

/* --- finding --- */

typedef struct search {
    cg_context *cg;
    bool keeps_rules; /* calls with a derivative rule of their own stay as they are */
    uint64_t walk;
    cg_node **stack, **found;
    int depth, stack_capacity, found_count, found_capacity;
} search;

static bool visit(search *s, cg_node *node)
{
    if (node->visit == s->walk) return true;
    node->visit = s->walk;
    if (cg_is_deferred(node) && !(s->keeps_rules && node->op->vjp)) {
        if (!CG_GROW(s->cg, s->found, s->found_capacity, s->found_count + 1)) return false;
        s->found[s->found_count++] = node;
        cg_node_retain(node);
    }
    if (!CG_GROW(s->cg, s->stack, s->stack_capacity, s->depth + 1)) return false;
    s->stack[s->depth++] = node;
    return true;
}

static bool look_behind(search *s)
{
    bool ok = true;
    while (ok && s->depth > 0) {
        cg_node *node = s->stack[--s->depth];
        for (int i = 0; ok && i < node->input_count; i++) ok = visit(s, node->inputs[i]);
    }
    return ok;
}

/* Expands what was found; false after an error. An expansion may leave further deferred calls. */
static bool expand_found(search *s, bool *more)
{
    bool ok = true;
    *more = s->found_count > 0;
    for (; s->found_count > 0; s->found_count--) {
        cg_node *call = s->found[s->found_count - 1];
        ok = ok && cg_expand(call);
        cg_node_release(call);
    }
    return ok;
}

static bool start_at(search *s, const cg_tensor *tensors, int count)
{
    bool ok = true;
    for (int i = 0; ok && i < count; i++) ok = cg_is_null(tensors[i]) || visit(s, tensors[i].node);
    return ok;
}

static bool start_at_all(search *s)
{
    bool ok = true;
    for (int i = 0; ok && i < s->cg->scope_count; i++)
        for (cg_node *node = s->cg->scopes[i].first; ok && node; node = node->scope_next) ok = visit(s, node);
    for (cg_variable *v = s->cg->variables; ok && v; v = v->next) ok = !v->current || visit(s, v->current);
    return ok;
}

/* Behind the tensors, or without any given behind all that is alive. */
static bool expand_behind(cg_context *cg, const cg_tensor *tensors, int count)
{
    search s = {.cg = cg, .keeps_rules = tensors != NULL};
    bool ok = true;
    for (bool more = cg->deferred > 0; ok && more;) {
        s.walk = cg_walk_new(cg);
        ok = (tensors ? start_at(&s, tensors, count) : start_at_all(&s)) && look_behind(&s);
        ok = expand_found(&s, &more) && ok;
    }
    cg_host_free(cg, s.stack);
    cg_host_free(cg, s.found);
    return ok;
}

bool cg_expand_behind(cg_context *cg, const cg_tensor *tensors, int count)
{
    return count == 0 || expand_behind(cg, tensors, count);
}

bool cg_expand_alive(cg_context *cg)
{
    return expand_behind(cg, NULL, 0);
}

/* Making and freeing nodes, recording op calls: shape inference, promotion, host-side folding flags. Nothing runs
 * here. */
#include "engine/buffer.h"
#include "engine/context.h"
#include "engine/hash.h"

#include <string.h>

enum { NODES_PER_CHUNK = 256 };

/* --- node storage --- */

static bool more_nodes(cg_context *cg)
{
    if (cg->node_chunk_count % 64 == 0) {
        void **chunks = cg_resize(cg, cg->node_chunks, (size_t)(cg->node_chunk_count + 64) * sizeof *chunks);
        if (!chunks) return false;
        cg->node_chunks = chunks;
    }
    cg_node *chunk = cg_host_allocate(cg, NODES_PER_CHUNK * sizeof *chunk);
    if (!chunk) return false;
    cg->node_chunks[cg->node_chunk_count++] = chunk;
    for (int i = NODES_PER_CHUNK; i-- > 0;) {
        chunk[i].scope_next = cg->free_nodes;
        cg->free_nodes = &chunk[i];
    }
    return true;
}

bool cg_can_hold(cg_context *cg, const char *who, cg_dtype dtype, const cg_shape *shape)
{
    if (cg_dtype_bytes(dtype) == 0) return cg_fail(cg, CG_ERROR_ARGUMENT, "%s: there is no dtype %d", who, (int)dtype);
    if (dtype == CG_F64 && !cg->info.has_f64)
        return cg_fail(cg, CG_ERROR_DEVICE, "%s: device %s has no f64", who, cg->info.name);
    if (shape->rank < 0 || shape->rank > CG_MAX_RANK)
        return cg_fail(cg, CG_ERROR_ARGUMENT, "%s: rank %d is not within 0 to %d", who, shape->rank, CG_MAX_RANK);
    for (int i = 0; i < shape->rank; i++)
        if (shape->size[i] < 0)
            return cg_fail(cg, CG_ERROR_ARGUMENT, "%s: %s has a negative extent", who, cg_shape_text(cg, *shape));
    if (cg_shape_size(*shape) >= 0) return true;
    return cg_fail(cg, CG_ERROR_ARGUMENT, "%s: shape %s is too large", who, cg_shape_text(cg, *shape));
}

cg_node *cg_node_new(cg_context *cg, cg_node_kind kind, cg_dtype dtype, const cg_shape *shape)
{
    if (!cg->free_nodes && !more_nodes(cg)) return NULL;
    cg_node *node = cg->free_nodes;
    cg->free_nodes = node->scope_next;
    memset(node, 0, sizeof *node);
    node->context = cg;
    node->serial = ++cg->next_node;
    node->kind = (uint8_t)kind;
    node->dtype = (uint8_t)dtype;
    node->shape = *shape;
    node->batch_axis = -1;
    node->inputs = node->inline_inputs;
    node->attributes = node->inline_attributes;
    cg->counters.nodes++;
    return node;
}

void cg_nodes_close(cg_context *cg)
{
    for (int i = 0; i < cg->node_chunk_count; i++) cg_host_free(cg, cg->node_chunks[i]);
    cg_host_free(cg, cg->node_chunks);
    cg_host_free(cg, cg->asked);
}

void cg_node_retain(cg_node *node)
{
    node->references++;
}

static bool is_composed(const cg_node *node)
{
    return node->kind == CG_NODE_CALL && node->op && node->op->kind == CG_OP_COMPOSED;
}

/* An output that dies or becomes something else is no longer that of its call. */
static void forget_output(cg_node *node)
{
    if (node->kind == CG_NODE_OUTPUT && node->input_count) node->inputs[0]->output_nodes[node->attributes[0]] = NULL;
}

/* What a dead node holds besides its inputs. */
static void node_free(cg_context *cg, cg_node *node)
{
    if (node->buffer) cg_buffer_release(cg, node->buffer);
    if (node->inputs != node->inline_inputs) cg_host_free(cg, node->inputs);
    if (node->attributes != node->inline_attributes) cg_host_free(cg, node->attributes);
    cg_host_free(cg, node->label);
    cg_host_free(cg, node->output_shapes);
    cg_host_free(cg, node->output_dtypes);
    cg_host_free(cg, node->output_nodes);
    cg->deferred -= is_composed(node);
    node->generation = 0;
    node->scope_next = cg->free_nodes;
    cg->free_nodes = node;
    cg->counters.nodes--;
}

/* A chain of 100,000 nodes dies without recursion: dead nodes wait in a list linked through scope_next. */
void cg_node_release(cg_node *node)
{
    if (--node->references > 0) return;
    cg_context *cg = node->context;
    cg_node *dead = node;
    node->scope_next = NULL;
    while (dead) {
        cg_node *next = dead->scope_next;
        forget_output(dead);
        for (int i = 0; i < dead->input_count; i++) {
            cg_node *input = dead->inputs[i];
            if (--input->references > 0) continue;
            input->scope_next = next;
            next = input;
        }
        node_free(cg, dead);
        dead = next;
    }
}

void cg_history_take(cg_node *node, cg_history *history)
{
    forget_output(node);
    node->context->deferred -= is_composed(node);
    *history = (cg_history){.context = node->context, .count = node->input_count};
    memcpy(history->inlined, node->inline_inputs, sizeof history->inlined);
    if (node->inputs != node->inline_inputs) history->inputs = node->inputs;
    if (node->attributes != node->inline_attributes) history->attributes = node->attributes;
    node->op = NULL;
    node->inputs = node->inline_inputs;
    node->input_count = 0;
    node->attributes = node->inline_attributes;
    node->attribute_count = 0;
}

void cg_history_end(cg_history *history)
{
    cg_node **inputs = history->inputs ? history->inputs : history->inlined;
    for (int i = 0; i < history->count; i++) cg_node_release(inputs[i]);
    cg_host_free(history->context, history->inputs);
    cg_host_free(history->context, history->attributes);
}

/* Forgets how the value came about: inputs, op, attributes. */
void cg_node_become_data(cg_node *node)
{
    cg_history history;
    node->cut = node->cut || node->kind == CG_NODE_CALL || node->kind == CG_NODE_OUTPUT;
    cg_history_take(node, &history);
    node->kind = CG_NODE_DATA;
    node->weak = false;
    cg_node_hash(node);
    cg_history_end(&history);
}

uint64_t cg_walk_new(cg_context *cg)
{
    return ++cg->walk;
}

/* --- hashing --- */

static uint64_t number_bits(double number)
{
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    return bits;
}

static uint64_t name_bits(const char *name)
{
    uint64_t hash = UINT64_C(0x6a09e667f3bcc909);
    for (; *name; name++) hash = cg_mix(hash, (unsigned char)*name);
    return hash;
}

/* Itself, or through what its expansion makes of it. */
static bool may_report(const cg_node *node)
{
    return node->kind == CG_NODE_OUTPUT || is_composed(node) || (node->op && node->op->reports);
}

/* The number of a SCALAR is an argument and stays out of the key; that of a CONSTANT is structure, and so is the name
 * under which a plan's messages speak of a bad index. Whatever is stored is a leaf: its history does not matter. */
int cg_node_words(const cg_node *node, uint64_t *words)
{
    const bool stored = node->buffer || node->kind == CG_NODE_DATA;
    int count = 1;
    words[0] = (uint64_t)(stored ? CG_NODE_DATA : node->kind) | (uint64_t)node->dtype << 8 |
               (uint64_t)node->weak << 16 | (uint64_t)(uint8_t)node->batch_axis << 24 |
               (uint64_t)node->shape.rank << 32;
    for (int i = 0; i < node->shape.rank; i++) words[count++] = (uint64_t)node->shape.size[i];
    if (stored) return count;
    words[0] |= (uint64_t)node->attribute_count << 40 | (uint64_t)(uint8_t)node->output_count << 56;
    words[count++] = (uint64_t)(uintptr_t)node->op;
    const int shifts = node->op && node->op->shifts ? node->inputs[0]->shape.rank : 0;
    for (int i = shifts; i < node->attribute_count; i++) words[count++] = (uint64_t)node->attributes[i];
    if (node->kind == CG_NODE_CONSTANT) words[count++] = number_bits(node->number);
    if (node->label && may_report(node)) words[count++] = name_bits(node->label);
    return count;
}

void cg_node_hash(cg_node *node)
{
    uint64_t words[CG_MOST_WORDS], hash = UINT64_C(0x51ed270b0a1f39c1);
    const int count = cg_node_words(node, words);
    for (int i = 0; i < count; i++) hash = cg_mix(hash, words[i]);
    node->hash = hash;
}

/* --- what descriptors' functions see --- */

void cg_call_of(cg_node *node, cg_call_view *view)
{
    for (int i = 0; i < node->input_count; i++) {
        view->shapes[i] = node->inputs[i]->shape;
        view->dtypes[i] = (cg_dtype)node->inputs[i]->dtype;
        view->names[i] = node->inputs[i]->label;
    }
    view->call = (cg_call){.op = node->op,
                           .context = node->context,
                           .input_count = node->input_count,
                           .attribute_count = node->attribute_count,
                           .input_shapes = view->shapes,
                           .input_dtypes = view->dtypes,
                           .input_names = view->names,
                           .attributes = node->attributes,
                           .label = node->label ? node->label : ""};
}

bool cg_is_floating(cg_dtype dtype)
{
    return dtype == CG_F32 || dtype == CG_F64 || cg_is_narrow(dtype);
}

cg_dtype cg_promote(cg_dtype a, cg_dtype b)
{
    if (a == b) return a;
    if (a == CG_F64 || b == CG_F64) return CG_F64;
    if (a == CG_F32 || b == CG_F32 || (cg_is_narrow(a) && cg_is_narrow(b))) return CG_F32;
    if (cg_is_narrow(a) || cg_is_narrow(b)) return cg_is_narrow(a) ? a : b;
    if (a == CG_I32 || b == CG_I32) return CG_I32;
    return CG_U8; /* u8 with bool */
}

/* Result dtype of operands, weak numbers giving way: a weak float makes integers f32, a weak integer nothing. */
static cg_dtype promote_operands(cg_node *const *inputs, int count, bool floating, bool *all_weak)
{
    bool any = false, weak_float = false, weak_int = false;
    cg_dtype dtype = CG_BOOL;
    for (int i = 0; i < count; i++) {
        const cg_dtype d = (cg_dtype)inputs[i]->dtype;
        if (inputs[i]->weak) {
            weak_float |= cg_is_floating(d);
            weak_int |= !cg_is_floating(d);
            continue;
        }
        dtype = any ? cg_promote(dtype, d) : d;
        any = true;
    }
    *all_weak = !any;
    if (!any) dtype = weak_float ? CG_F32 : CG_I32;
    if (weak_float && !cg_is_floating(dtype)) dtype = CG_F32;
    if (weak_int && dtype == CG_BOOL) dtype = CG_I32;
    if (floating && !cg_is_floating(dtype)) dtype = CG_F32;
    return dtype;
}

bool cg_broadcast_shapes(const cg_call *call, cg_shape *result)
{
    cg_shape out = {0};
    for (int n = 0; n < call->input_count; n++) {
        const cg_shape *s = &call->input_shapes[n];
        const int shift = s->rank > out.rank ? s->rank - out.rank : 0;
        if (shift) {
            for (int i = s->rank - 1; i >= 0; i--) out.size[i] = i >= shift ? out.size[i - shift] : 1;
            out.rank = s->rank;
        }
        for (int i = 0; i < s->rank; i++) {
            const int o = out.rank - s->rank + i;
            if (s->size[i] == out.size[o] || s->size[i] == 1) continue;
            if (out.size[o] != 1) {
                char shapes[CG_TEXT_BYTES * 3] = "";
                for (int k = 0; k < call->input_count; k++) {
                    const size_t used = strlen(shapes);
                    strncat(shapes, k ? " and " : "", sizeof shapes - used - 1);
                    strncat(shapes, cg_input_text(call, k), sizeof shapes - strlen(shapes) - 1);
                }
                return cg_op_error(call, "shapes %s do not broadcast: sizes %lld and %lld differ", shapes,
                                   (long long)out.size[o], (long long)s->size[i]);
            }
            out.size[o] = s->size[i];
        }
    }
    *result = out;
    return true;
}

/* The axis of the result that is the minibatch: for maps that of any input, counted from the end; for moves and
 * reductions the one that the mapping carries it to; for composed ops, where the result is like the first input, that
 * of this. Elsewhere the flag is lost, which costs a program, no more. */
static int batch_axis_of_map(cg_node *const *inputs, int count, int rank)
{
    for (int i = 0; i < count; i++)
        if (inputs[i]->batch_axis >= 0) return rank - inputs[i]->shape.rank + inputs[i]->batch_axis;
    return -1;
}

static int batch_axis_of_move(const cg_call *call, cg_node *input, int rank)
{
    if (input->batch_axis < 0) return -1;
    cg_mapping mapping = {0};
    call->op->move(call, &mapping);
    if (mapping.copies) return input->batch_axis == 0 ? 0 : -1;
    for (int i = 0; i < rank; i++)
        if (mapping.factor[input->batch_axis][i] != 0) return i;
    return -1;
}

static int batch_axis_of_reduce(const cg_call *call, cg_node *input)
{
    if (input->batch_axis < 0 || (call->attributes[0] >> input->batch_axis & 1)) return -1;
    if (call->attributes[1]) return input->batch_axis;
    int axis = 0;
    for (int i = 0; i < input->batch_axis; i++) axis += !(call->attributes[0] >> i & 1);
    return axis;
}

static int batch_axis_of_contract(cg_node *const *inputs, int rank)
{
    const cg_node *a = inputs[0], *b = inputs[1];
    if (a->batch_axis >= 0 && a->batch_axis < a->shape.rank - 1) return rank - a->shape.rank + a->batch_axis;
    if (b->batch_axis >= 0 && b->batch_axis != b->shape.rank - 2) return rank - b->shape.rank + b->batch_axis;
    return -1;
}

static int batch_axis_of(const cg_call *call, cg_node *const *inputs, const cg_shape *result)
{
    bool any = false;
    for (int i = 0; i < call->input_count; i++) any |= inputs[i]->batch_axis >= 0;
    if (!any) return -1;
    switch (call->op->kind) {
    case CG_OP_MAP:
        return batch_axis_of_map(inputs, call->input_count, result->rank);
    case CG_OP_MOVE:
        return batch_axis_of_move(call, inputs[0], result->rank);
    case CG_OP_REDUCE:
        return batch_axis_of_reduce(call, inputs[0]);
    case CG_OP_CONTRACT:
        return batch_axis_of_contract(inputs, result->rank);
    case CG_OP_COMPOSED:
        return cg_shapes_equal(*result, inputs[0]->shape) ? inputs[0]->batch_axis : -1;
    default:
        return -1;
    }
}

/* --- recording --- */

static bool infer_map(const cg_call *call, cg_node *const *inputs, cg_inferred *result, bool *weak)
{
    const cg_op *op = call->op;
    const int first = op->condition ? 1 : 0;
    const cg_dtype promoted = promote_operands(inputs + first, call->input_count - first, op->floating, weak);
    result->dtype[0] = op->has_result_dtype ? op->result_dtype : op->predicate || op->logical ? CG_BOOL : promoted;
    if (op->has_result_dtype || op->predicate || op->logical) *weak = false;
    return cg_broadcast_shapes(call, &result->shape[0]);
}

static bool infer(const cg_call *call, cg_node *const *inputs, cg_inferred *result, bool *weak)
{
    *weak = false;
    if (call->op->kind == CG_OP_MAP && !call->op->infer) {
        if (!infer_map(call, inputs, result, weak)) return false;
    } else if (!call->op->infer) {
        return cg_op_error(call, "the op has no shape inference");
    } else {
        if (!call->op->infer(call, result)) {
            if (call->context->status == CG_OK) cg_op_error(call, "shape inference failed");
            return false;
        }
        /* A view of a weak number is weak too. */
        *weak = call->op->kind == CG_OP_MOVE && inputs[0]->weak;
    }
    const int outputs = call->op->outputs ? call->op->outputs : 1;
    for (int i = 0; i < outputs; i++)
        if (!cg_can_hold(call->context, call->op->name, result->dtype[i], &result->shape[i])) return false;
    return true;
}

static bool store_attributes(cg_node *node, const int64_t *attributes, int count)
{
    if (count > CG_INLINE_ATTRIBUTES) {
        int64_t *room = cg_host_allocate(node->context, (size_t)count * sizeof *room);
        if (!room) return false;
        node->attributes = room;
    }
    if (count) memcpy(node->attributes, attributes, (size_t)count * sizeof *attributes);
    node->attribute_count = (uint16_t)count;
    return true;
}

static bool store_inputs(cg_node *node, cg_node *const *inputs, int count)
{
    if (count > CG_INLINE_INPUTS) {
        cg_node **room = cg_host_allocate(node->context, (size_t)count * sizeof *room);
        if (!room) return false;
        node->inputs = room;
    }
    for (int i = 0; i < count; i++) {
        node->inputs[i] = inputs[i];
        cg_node_retain(inputs[i]);
    }
    node->input_count = count;
    return true;
}

static bool make_outputs(cg_node *node, int count)
{
    node->output_count = count;
    node->output_shapes = cg_host_allocate(node->context, (size_t)count * sizeof *node->output_shapes);
    node->output_dtypes = cg_host_allocate(node->context, (size_t)count * sizeof *node->output_dtypes);
    node->output_nodes = cg_host_allocate(node->context, (size_t)count * sizeof *node->output_nodes);
    return node->output_shapes && node->output_dtypes && node->output_nodes;
}

static bool store_outputs(cg_node *node, const cg_inferred *inferred, int count)
{
    node->output_count = 1;
    if (count == 1) return true;
    if (!make_outputs(node, count)) return false;
    memcpy(node->output_shapes, inferred->shape, (size_t)count * sizeof *node->output_shapes);
    memcpy(node->output_dtypes, inferred->dtype, (size_t)count * sizeof *node->output_dtypes);
    return true;
}

/* Frees a node that nothing refers to yet. */
static void discard(cg_node *node)
{
    node->references = 1;
    cg_node_release(node);
}

cg_tensor cg_output_of(cg_node *call, int index)
{
    const int64_t attribute = index;
    if (call->output_nodes[index]) return cg_tensor_of(call->output_nodes[index]);
    cg_node *output = cg_node_new(call->context, CG_NODE_OUTPUT, call->output_dtypes[index],
                                  &call->output_shapes[index]);
    if (!output) return (cg_tensor){0};
    if (!store_attributes(output, &attribute, 1) || !store_inputs(output, &call, 1)) {
        discard(output);
        return (cg_tensor){0};
    }
    if (cg_shapes_equal(output->shape, call->shape)) output->batch_axis = call->batch_axis;
    cg_node_hash(output);
    call->output_nodes[index] = output;
    return cg_tensor_of(output);
}

/* The call itself has no handle: its outputs, which are listed in `outputs` if that is not NULL, keep it alive. */
static bool give_outputs(cg_node *call, cg_tensor *outputs)
{
    bool ok = true;
    cg_node_retain(call);
    for (int i = 0; i < call->output_count; i++) {
        const cg_tensor output = cg_output_of(call, i);
        if (outputs) outputs[i] = output;
        ok &= !cg_is_null(output);
    }
    cg_node_release(call);
    return ok;
}

/* What a call is, besides its inputs: attributes that do not count, as they say nothing of what runs, too. */
static bool copy_call(const cg_node *call, cg_node *copy)
{
    copy->op = call->op;
    copy->weak = call->weak;
    copy->batch_axis = call->batch_axis;
    copy->context->deferred += is_composed(copy);
    if (!store_attributes(copy, call->attributes, call->attribute_count)) return false;
    if (call->attributes == call->inline_attributes)
        memcpy(copy->inline_attributes, call->inline_attributes, sizeof copy->inline_attributes);
    if (call->label && !(copy->label = cg_copy_text(call->context, call->label))) return false;
    copy->output_count = call->output_count;
    if (!call->output_nodes) return true;
    const size_t count = (size_t)call->output_count;
    if (!make_outputs(copy, call->output_count)) return false;
    memcpy(copy->output_shapes, call->output_shapes, count * sizeof *copy->output_shapes);
    memcpy(copy->output_dtypes, call->output_dtypes, count * sizeof *copy->output_dtypes);
    return true;
}

cg_node *cg_call_again(const cg_node *call, cg_node *const *inputs)
{
    cg_node *copy = cg_node_new(call->context, CG_NODE_CALL, (cg_dtype)call->dtype, &call->shape);
    if (!copy) return NULL;
    if (!copy_call(call, copy) || !store_inputs(copy, inputs, call->input_count)) {
        discard(copy);
        return NULL;
    }
    cg_node_hash(copy);
    if (copy->output_nodes) return give_outputs(copy, NULL) ? copy : NULL;
    return cg_is_null(cg_tensor_of(copy)) ? NULL : copy;
}

uint64_t cg_serial_new(cg_context *cg)
{
    return ++cg->next_node;
}

static bool record(const cg_call *call, cg_node *const *inputs, const cg_inferred *inferred, bool weak,
                   cg_tensor *result)
{
    cg_context *cg = call->context;
    const int outputs = call->op->outputs ? call->op->outputs : 1;
    cg_node *node = cg_node_new(cg, CG_NODE_CALL, inferred->dtype[0], &inferred->shape[0]);
    if (!node) return false;
    node->op = call->op;
    node->weak = weak;
    cg->deferred += is_composed(node);
    if (!store_attributes(node, call->attributes, call->attribute_count) ||
        !store_inputs(node, inputs, call->input_count) || !store_outputs(node, inferred, outputs)) {
        discard(node);
        return false;
    }
    node->batch_axis = (int8_t)batch_axis_of(call, inputs, &inferred->shape[0]);
    cg_node_hash(node);
    if (outputs == 1) {
        result[0] = cg_tensor_of(node);
        return true;
    }
    return give_outputs(node, result);
}

/* Inside an expansion there is no point in waiting; and a number of a program's own must stay one that yields to the
 * dtypes of others, which an announced result does not. */
static bool is_to_be_deferred(const cg_call *call, cg_node *const *inputs)
{
    return call->op->deferred && !call->context->expanding && !inputs[0]->weak;
}

/* Composed ops that are not deferred expand at the call, inside a local scope that frees what they made on the way. */
static bool expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    const int count = call->op->outputs ? call->op->outputs : 1;
    bool ok = true;
    cg_scope scope = cg_scope_local(call->context);
    call->op->expand(call, inputs, outputs);
    for (int i = 0; i < count; i++) {
        cg_lift(outputs[i]);
        ok &= !cg_is_null(outputs[i]);
    }
    cg_scope_end(scope);
    return ok;
}

cg_tensor cg_report_null_operand(const char *op, const cg_tensor *inputs, int count, int index)
{
    cg_context *cg = NULL;
    for (int i = 0; i < count && !cg; i++) cg = cg_context_of(inputs[i]);
    return cg_report_null(cg, op, "input %d", index + 1);
}

/* The nodes of operands; false if one is null, dead, or of another context than the first. */
static bool find_nodes(const cg_op *op, const cg_tensor *inputs, int count, cg_node **nodes)
{
    for (int i = 0; i < count; i++) {
        nodes[i] = cg_node_of(inputs[i], op->name);
        if (!nodes[i]) {
            cg_report_null_operand(op->name, inputs, count, i);
            return false;
        }
        if (nodes[i]->context != nodes[0]->context)
            return cg_fail(nodes[0]->context, CG_ERROR_ARGUMENT, "%s: operands belong to different contexts", op->name);
    }
    return true;
}

static bool prepare(cg_call_view *view, const cg_op *op, const cg_tensor *inputs, int count, cg_node **nodes)
{
    if (!find_nodes(op, inputs, count, nodes)) return false;
    for (int i = 0; i < count; i++) {
        view->shapes[i] = nodes[i]->shape;
        view->dtypes[i] = (cg_dtype)nodes[i]->dtype;
        view->names[i] = nodes[i]->label;
    }
    view->call.context = nodes[0]->context;
    return true;
}

static bool apply(const cg_op *op, const cg_tensor *inputs, int input_count, const int64_t *attributes,
                  int attribute_count, cg_tensor *outputs)
{
    cg_call_view view;
    cg_node *nodes[CG_MAX_INPUTS];
    cg_inferred inferred;
    bool weak = false;
    if (input_count <= 0) return false;
    const int most = op->kind == CG_OP_MAP ? CG_MAX_MAP_INPUTS : CG_MAX_INPUTS;
    if (input_count > most)
        return inputs[0].node && cg_fail(inputs[0].node->context, CG_ERROR_ARGUMENT, "%s: %d inputs are more than %d",
                                         op->name, input_count, most);
    if (!prepare(&view, op, inputs, input_count, nodes)) return false;
    cg_context *cg = view.call.context;
    if (op->inputs >= 0 && input_count != op->inputs)
        return cg_fail(cg, CG_ERROR_ARGUMENT, "%s: takes %d inputs, not %d", op->name, op->inputs, input_count);
    if (attribute_count > CG_MAX_ATTRIBUTES)
        return cg_fail(cg, CG_ERROR_ARGUMENT, "%s: %d attributes are too many", op->name, attribute_count);
    view.call = (cg_call){.op = op,
                          .context = cg,
                          .input_count = input_count,
                          .attribute_count = attribute_count,
                          .input_shapes = view.shapes,
                          .input_dtypes = view.dtypes,
                          .input_names = view.names,
                          .attributes = attributes,
                          .label = ""};
    if ((op->infer || op->kind != CG_OP_COMPOSED) && !infer(&view.call, nodes, &inferred, &weak)) return false;
    if (op->kind == CG_OP_COMPOSED && !is_to_be_deferred(&view.call, nodes)) return expand(&view.call, inputs, outputs);
    return record(&view.call, nodes, &inferred, weak, outputs);
}

/* The dtype that the floating inputs have in common; false where none is f16 or bf16. */
static bool has_narrow_inputs(const cg_tensor *inputs, int count, cg_dtype *common)
{
    bool any = false, narrow = false;
    for (int i = 0; i < count; i++) {
        const cg_dtype dtype = cg_dtype_of(inputs[i]);
        if (!inputs[i].node || inputs[i].node->weak || !cg_is_floating(dtype)) continue;
        *common = any ? cg_promote(*common, dtype) : dtype;
        any = true;
        narrow |= cg_is_narrow(dtype);
    }
    return narrow;
}

/* Maps and moves know every dtype. All else, which sums, multiplies matrices or has kernels of its own, is given f16
 * and bf16 as f32, and what it makes of them in f32 is converted back. */
static bool apply_widened(const cg_op *op, const cg_tensor *inputs, int input_count, const int64_t *attributes,
                          int attribute_count, cg_tensor *outputs)
{
    cg_dtype common;
    cg_tensor wide[CG_MAX_INPUTS];
    if (op->kind == CG_OP_MAP || op->kind == CG_OP_MOVE || input_count > CG_MAX_INPUTS ||
        !has_narrow_inputs(inputs, input_count, &common))
        return apply(op, inputs, input_count, attributes, attribute_count, outputs);
    for (int i = 0; i < input_count; i++) {
        const bool narrow = cg_is_narrow(cg_dtype_of(inputs[i]));
        wide[i] = narrow ? cg_cast(inputs[i], CG_F32) : inputs[i];
        if (narrow && inputs[i].node->label) cg_named(wide[i], inputs[i].node->label);
    }
    if (!apply(op, wide, input_count, attributes, attribute_count, outputs)) return false;
    bool ok = true;
    for (int i = 0; i < (op->outputs ? op->outputs : 1); i++) {
        if (cg_dtype_of(outputs[i]) == CG_F32) outputs[i] = cg_cast(outputs[i], common);
        ok &= !cg_is_null(outputs[i]);
    }
    return ok;
}

bool cg_apply_all(const cg_op *op, const cg_tensor *inputs, int input_count, const int64_t *attributes,
                  int attribute_count, cg_tensor *outputs)
{
    const size_t bytes = (size_t)(op->outputs ? op->outputs : 1) * sizeof *outputs;
    memset(outputs, 0, bytes);
    const bool ok = apply_widened(op, inputs, input_count, attributes, attribute_count, outputs);
    if (!ok) memset(outputs, 0, bytes);
    return ok;
}

cg_tensor cg_apply(const cg_op *op, const cg_tensor *inputs, int input_count, const int64_t *attributes,
                   int attribute_count)
{
    cg_tensor outputs[CG_MAX_OUTPUTS] = {{0}};
    cg_apply_all(op, inputs, input_count, attributes, attribute_count, outputs);
    return outputs[0];
}

static bool defer(cg_context *cg, const cg_op *op, cg_node *const *inputs, int input_count, const int64_t *attributes,
                  int attribute_count, int like, int output_count, cg_tensor *outputs)
{
    cg_node *call = cg_node_new(cg, CG_NODE_CALL, CG_F32, &(cg_shape){0});
    if (!call) return false;
    call->op = op;
    cg->deferred++;
    if (!store_attributes(call, attributes, attribute_count) || !store_inputs(call, inputs, input_count) ||
        !make_outputs(call, output_count)) {
        discard(call);
        return false;
    }
    for (int i = 0; i < output_count; i++) {
        call->output_shapes[i] = inputs[like + i]->shape;
        call->output_dtypes[i] = (cg_dtype)inputs[like + i]->dtype;
    }
    cg_node_hash(call);
    const bool ok = give_outputs(call, outputs);
    for (int i = 0; ok && i < output_count; i++) {
        outputs[i].node->batch_axis = inputs[like + i]->batch_axis;
        cg_node_hash(outputs[i].node);
    }
    return ok;
}

bool cg_defer(const cg_op *op, const cg_tensor *inputs, int input_count, const int64_t *attributes, int attribute_count,
              int like, int output_count, cg_tensor *outputs)
{
    if (output_count > 0) memset(outputs, 0, (size_t)output_count * sizeof *outputs);
    if (input_count <= 0 || cg_is_null(inputs[0])) return false;
    cg_context *cg = cg_context_of(inputs[0]);
    if (attribute_count > CG_MAX_ATTRIBUTES)
        return cg_fail(cg, CG_ERROR_ARGUMENT, "%s: %d attributes are too many", op->name, attribute_count);
    if (output_count <= 0 || like < 0 || input_count < like + output_count)
        return cg_fail(cg, CG_ERROR_ARGUMENT, "%s: %d outputs like the inputs from number %d of %d", op->name,
                       output_count, like, input_count);
    cg_node **nodes = cg_host_allocate(cg, (size_t)input_count * sizeof *nodes);
    const bool ok = nodes && find_nodes(op, inputs, input_count, nodes) &&
                    defer(cg, op, nodes, input_count, attributes, attribute_count, like, output_count, outputs);
    cg_host_free(cg, nodes);
    if (!ok) memset(outputs, 0, (size_t)output_count * sizeof *outputs);
    return ok;
}

/* --- leaves --- */

static cg_tensor leaf(cg_context *cg, const char *who, cg_node_kind kind, cg_dtype dtype, cg_shape shape, double number,
                      bool weak)
{
    if (!cg || !cg->queue || !cg_can_hold(cg, who, dtype, &shape)) return (cg_tensor){0};
    cg_node *node = cg_node_new(cg, kind, dtype, &shape);
    if (!node) return (cg_tensor){0};
    node->number = number;
    node->weak = weak;
    cg_node_hash(node);
    return cg_tensor_of(node);
}

cg_tensor cg_scalar(cg_context *cg, double value)
{
    return leaf(cg, "scalar", CG_NODE_SCALAR, CG_F32, CG_RANK0, value, true);
}

cg_tensor cg_scalar_int(cg_context *cg, int32_t value)
{
    return leaf(cg, "scalar", CG_NODE_SCALAR, CG_I32, CG_RANK0, value, true);
}

cg_tensor cg_constant(cg_context *cg, cg_dtype dtype, double value)
{
    return leaf(cg, "constant", CG_NODE_CONSTANT, dtype, CG_RANK0, value, false);
}

cg_tensor cg_size_scalar(cg_context *cg, cg_dtype dtype, double value)
{
    return leaf(cg, "scalar", CG_NODE_SCALAR, dtype, CG_RANK0, value, false);
}

cg_tensor cg_index(cg_context *cg, cg_shape shape)
{
    if (cg_shape_size(shape) > INT32_MAX)
        return cg_report(cg, CG_ERROR_ARGUMENT, "index", "%s has more than 2^31 - 1 positions",
                         cg_shape_text(cg, shape));
    return leaf(cg, "index", CG_NODE_INDEX, CG_I32, shape, 0, false);
}

void cg_random_operands(cg_context *cg, uint64_t key, bool has_key, cg_tensor operands[4])
{
    memset(operands, 0, 4 * sizeof *operands);
    if (!cg) return;
    cg->random_calls++;
    const uint64_t number = has_key ? key : cg->random_number++;
    const uint64_t halves[4] = {cg->seed & UINT32_MAX, cg->seed >> 32, number & UINT32_MAX, number >> 32};
    for (int i = 0; i < 4; i++) operands[i] = cg_size_scalar(cg, CG_I32, (double)(int32_t)(uint32_t)halves[i]);
}

cg_tensor cg_named(cg_tensor tensor, const char *name)
{
    cg_node *node = cg_node_of(tensor, "cg_named");
    if (!node) return tensor;
    cg_host_free(node->context, node->label);
    node->label = name ? cg_copy_text(node->context, name) : NULL;
    cg_node_hash(node);
    return tensor;
}

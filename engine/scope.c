/* Handles and scopes: which tensors live, who owns them, and what happens where a scope ends. */
#include "engine/context.h"
#include "engine/expand.h"

#include <string.h>

/* --- handles --- */

static void link_to(cg_node *node, int scope)
{
    cg_scope_record *record = &node->context->scopes[scope];
    node->owner = (uint32_t)scope;
    node->scope_previous = NULL;
    node->scope_next = record->first;
    if (record->first) record->first->scope_previous = node;
    record->first = node;
}

static void unlink_from_scope(cg_node *node)
{
    if (node->scope_previous)
        node->scope_previous->scope_next = node->scope_next;
    else
        node->context->scopes[node->owner].first = node->scope_next;
    if (node->scope_next) node->scope_next->scope_previous = node->scope_previous;
}

cg_tensor cg_tensor_of(cg_node *node)
{
    if (!node->owned) {
        node->owned = true;
        node->generation = ++node->context->next_generation;
        node->references++;
        link_to(node, node->context->scope_count - 1);
    }
    return (cg_tensor){node, node->generation};
}

void cg_handle_end(cg_node *node)
{
    unlink_from_scope(node);
    node->owned = false;
    node->generation = 0;
    cg_node_release(node);
}

cg_node *cg_node_of(cg_tensor tensor, const char *who)
{
    if (!tensor.node) return NULL;
    if (tensor.node->generation == tensor.generation) return tensor.node;
    cg_fail(tensor.node->context, CG_ERROR_ARGUMENT,
            "%s: a tensor is used after the end of its scope, its release or, for a minibatch, the loader's next call",
            who);
    return NULL;
}

bool cg_is_null(cg_tensor tensor)
{
    return !tensor.node;
}

static const cg_node *live(cg_tensor tensor)
{
    return tensor.node && tensor.node->generation == tensor.generation ? tensor.node : NULL;
}

cg_shape cg_shape_of(cg_tensor tensor)
{
    const cg_node *node = live(tensor);
    return node ? node->shape : (cg_shape){.rank = -1};
}

cg_dtype cg_dtype_of(cg_tensor tensor)
{
    const cg_node *node = live(tensor);
    return node ? (cg_dtype)node->dtype : CG_F32;
}

cg_context *cg_context_of(cg_tensor tensor)
{
    return tensor.node ? tensor.node->context : NULL;
}

int64_t cg_size(cg_tensor tensor)
{
    const cg_node *node = live(tensor);
    return node ? cg_shape_size(node->shape) : -1;
}

/* Elements of a shape; -1 where the rank or an extent is impossible or the bytes of any dtype would not fit 62 bits. */
int64_t cg_shape_size(cg_shape shape)
{
    int64_t size = 1, nonzero = 1;
    if (shape.rank < 0 || shape.rank > CG_MAX_RANK) return -1;
    for (int i = 0; i < shape.rank; i++) {
        if (shape.size[i] < 0) return -1;
        if (shape.size[i] && nonzero > (INT64_C(1) << 58) / shape.size[i]) return -1;
        nonzero *= shape.size[i] ? shape.size[i] : 1;
        size *= shape.size[i];
    }
    return size;
}

bool cg_shapes_equal(cg_shape a, cg_shape b)
{
    bool same = a.rank == b.rank;
    for (int i = 0; same && i < a.rank; i++) same = a.size[i] == b.size[i];
    return same;
}

size_t cg_dtype_bytes(cg_dtype dtype)
{
    static const size_t bytes[] = {4, 8, 4, 1, 1, 2, 2};
    return (size_t)dtype < sizeof bytes / sizeof *bytes ? bytes[dtype] : 0;
}

const char *cg_dtype_name(cg_dtype dtype)
{
    static const char *const names[] = {"f32", "f64", "i32", "u8", "bool", "f16", "bf16"};
    return (size_t)dtype < sizeof names / sizeof *names ? names[dtype] : "unknown";
}

/* --- scopes --- */

static cg_scope begin(cg_context *cg, bool step)
{
    if (!cg || !cg->queue) return (cg_scope){0};
    /* What a scope that failed has assigned must not run at the end of one inside it. */
    if (step && cg_step_failed(cg)) cg_drop_pending(cg, true);
    if (!CG_GROW(cg, cg->scopes, cg->scope_capacity, cg->scope_count + 1)) return (cg_scope){0};
    cg->scopes[cg->scope_count++] = (cg_scope_record){
        .serial = ++cg->next_serial, .step = step, .deferred = cg->deferred};
    return (cg_scope){cg, cg->next_serial};
}

cg_scope cg_scope_begin(cg_context *cg)
{
    return begin(cg, true);
}

cg_scope cg_scope_local(cg_context *cg)
{
    return begin(cg, false);
}

static void end_handles(cg_scope_record *record)
{
    while (record->first) cg_handle_end(record->first);
}

/* What variables and kept tensors carry out of the scope that has just ended is a leaf from now on. */
static void cut_history(cg_context *cg)
{
    for (cg_variable *v = cg->variables; v; v = v->next)
        if (v->current && v->current->buffer && v->current->kind != CG_NODE_DATA) cg_node_become_data(v->current);
    for (int i = 0; i < cg->asked_count; i++) {
        cg_node *node = cg->asked[i];
        if ((int)node->cut_scope < cg->scope_count) continue;
        cg->asked[i--] = cg->asked[--cg->asked_count];
        node->asked = false;
        if (node->buffer && node->kind != CG_NODE_DATA) cg_node_become_data(node);
        cg_node_release(node);
    }
}

/* Handles go first, so that what only they kept alive is not computed and does not hinder donation. */
static void end_innermost(cg_context *cg)
{
    cg_scope_record *record = &cg->scopes[cg->scope_count - 1];
    const bool step = record->step, failed = record->failed, older = record->deferred > 0;
    end_handles(record);
    cg->scope_count--;
    if (!step) return;
    if (failed) {
        cg_drop_pending(cg, true);
    } else if (cg_force(cg, NULL, 0, false, true)) {
        /* Calls recorded further out are about values as they were then. */
        if (older && cg->deferred > 0 && !cg_expand_alive(cg)) return;
        cut_history(cg);
        cg_throttle(cg);
    }
}

void cg_scope_end(cg_scope scope)
{
    cg_context *cg = scope.context;
    if (!cg) return;
    int index = cg->scope_count - 1;
    while (index > 0 && cg->scopes[index].serial != scope.serial) index--;
    if (index == 0) {
        cg_fail(cg, CG_ERROR_ARGUMENT, "cg_scope_end: the scope has ended already");
        return;
    }
    while (cg->scope_count > index) end_innermost(cg);
}

void cg_scopes_close(cg_context *cg)
{
    while (cg->scope_count > 0) {
        end_handles(&cg->scopes[cg->scope_count - 1]);
        cg->scope_count--;
    }
    for (int i = 0; i < cg->asked_count; i++) cg_node_release(cg->asked[i]);
    cg->asked_count = 0;
    cg_host_free(cg, cg->scopes);
    cg->scopes = NULL;
}

/* Lists a tensor that leaves the step scope `scope`: the next forcing point stores it, the scope's end cuts it. */
static bool ask(cg_context *cg, cg_node *node, int scope)
{
    if (node->asked) return true; /* the innermost scope that it leaves has been noted */
    node->cut_scope = (uint32_t)scope;
    if (!CG_GROW(cg, cg->asked, cg->asked_capacity, cg->asked_count + 1)) return false;
    node->asked = true;
    cg_node_retain(node);
    cg->asked[cg->asked_count++] = node;
    return true;
}

cg_tensor cg_keep(cg_tensor tensor)
{
    cg_node *node = cg_node_of(tensor, "cg_keep");
    if (!node) return (cg_tensor){0};
    cg_context *cg = node->context;
    const int from = (int)node->owner;
    if (from == 0) return tensor;
    if (cg->scopes[from].step && !ask(cg, node, from)) return (cg_tensor){0};
    unlink_from_scope(node);
    link_to(node, from - 1);
    return tensor;
}

void cg_lift(cg_tensor tensor)
{
    cg_node *node = cg_node_of(tensor, "cg_keep");
    if (node && (int)node->owner == node->context->scope_count - 1) cg_keep(tensor);
}

bool cg_scope_failed(cg_scope scope)
{
    const cg_context *cg = scope.context;
    for (int i = 0; cg && i < cg->scope_count; i++)
        if (cg->scopes[i].serial == scope.serial) return cg->scopes[i].failed;
    return true;
}

void cg_release(cg_tensor tensor)
{
    cg_node *node = cg_node_of(tensor, "cg_release");
    if (node) cg_handle_end(node);
}

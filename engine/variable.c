/* Variables: named values that assignments replace. A pending assignment is taken back where its scope failed. */
#include "engine/context.h"

#include <string.h>

cg_variable *cg_variable_new(cg_context *cg, const char *name, cg_dtype dtype, cg_shape shape)
{
    if (!cg || !cg->queue) return NULL;
    if (!name) {
        cg_report(cg, CG_ERROR_ARGUMENT, "variable", "a variable needs a name");
        return NULL;
    }
    if (!cg_can_hold(cg, name, dtype, &shape)) return NULL;
    cg_variable *variable = cg_host_allocate(cg, sizeof *variable);
    char *copy = variable ? cg_copy_text(cg, name) : NULL;
    if (!copy) {
        cg_host_free(cg, variable);
        return NULL;
    }
    *variable = (cg_variable){.context = cg, .name = copy, .dtype = dtype, .shape = shape, .next = cg->variables};
    if (cg->variables) cg->variables->previous = variable;
    cg->variables = variable;
    cg->counters.variables++;
    return variable;
}

static void forget_pending(cg_variable *variable)
{
    cg_context *cg = variable->context;
    for (int i = 0; i < cg->pending_count; i++)
        if (cg->pending[i] == variable) cg->pending[i--] = cg->pending[--cg->pending_count];
}

void cg_variable_free(cg_variable *variable)
{
    if (!variable) return;
    cg_context *cg = variable->context;
    forget_pending(variable);
    if (variable->current) cg_node_release(variable->current);
    if (variable->committed) cg_node_release(variable->committed);
    if (variable->before) cg_node_release(variable->before);
    if (variable->previous)
        variable->previous->next = variable->next;
    else
        cg->variables = variable->next;
    if (variable->next) variable->next->previous = variable->previous;
    cg_host_free(cg, variable->name);
    cg_host_free(cg, variable);
    cg->counters.variables--;
}

void cg_variables_close(cg_context *cg)
{
    while (cg->variables) cg_variable_free(cg->variables);
    cg_host_free(cg, cg->pending);
    cg->pending = NULL;
}

bool cg_in_step(const cg_context *cg)
{
    for (int i = cg->scope_count - 1; i > 0; i--)
        if (cg->scopes[i].step) return true;
    return false;
}

bool cg_step_failed(const cg_context *cg)
{
    for (int i = cg->scope_count - 1; i > 0; i--)
        if (cg->scopes[i].step) return cg->scopes[i].failed;
    return false;
}

/* What was assigned before the step scope began, as a rule a first value, stays at hand should the step fail. */
static void replace_current(cg_variable *variable, cg_node *node)
{
    cg_context *cg = variable->context;
    if (!variable->in_step && variable->current != variable->committed && cg_in_step(cg)) {
        variable->before = variable->current;
        variable->in_step = true;
    } else if (variable->current) {
        cg_node_release(variable->current);
    }
    variable->current = node;
}

static bool copy_infer(const cg_call *call, cg_inferred *result)
{
    result->shape[0] = call->input_shapes[0];
    result->dtype[0] = call->input_dtypes[0];
    return true;
}

static double copy_host(const double *operands)
{
    return operands[0];
}

static void copy_vjp(const cg_vjp *vjp, cg_tensor *result)
{
    result[0] = vjp->cotangents[0];
}

/* A value of a variable's own: two variables given one tensor need a buffer each, and each its old value should the
 * plan find a bad index; and what a variable holds has the variable's dtype, whatever becomes of a weak number
 * elsewhere. */
static const cg_op copy_op = {.name = "copy",
                              .kind = CG_OP_MAP,
                              .inputs = 1,
                              .infer = copy_infer,
                              .expression = "a",
                              .host = copy_host,
                              .vjp = copy_vjp};

static bool assign(cg_variable *variable, cg_node *node);

static bool assign_copy(cg_variable *variable, cg_tensor value)
{
    cg_scope scope = cg_scope_local(variable->context);
    cg_node *copy = cg_node_of(cg_apply(&copy_op, &value, 1, NULL, 0), variable->name);
    const bool done = copy && assign(variable, copy);
    cg_scope_end(scope);
    return done;
}

/* A first value that is stored already needs no plan; having it at once, the first step's plan is that of all others.
 */
static bool begin_with(cg_variable *variable, cg_node *stored)
{
    cg_node_retain(stored);
    cg_node_retain(stored);
    variable->current = variable->committed = stored;
    return true;
}

bool cg_assign(cg_variable *variable, cg_tensor value)
{
    if (!variable) return false;
    cg_context *cg = variable->context;
    cg_node *node = cg_node_of(value, variable->name);
    if (!node) {
        cg_report_null(cg, "assign", "the value of %s", variable->name);
        return false;
    }
    if (node->context != cg)
        return cg_fail(cg, CG_ERROR_ARGUMENT, "assign: %s and its value belong to different contexts", variable->name);
    if (!cg_shapes_equal(node->shape, variable->shape) || node->dtype != variable->dtype)
        return cg_fail(cg, CG_ERROR_ARGUMENT, "assign: variable %s is %s%s, the value %s%s", variable->name,
                       cg_dtype_name(variable->dtype), cg_shape_text(cg, variable->shape),
                       cg_dtype_name((cg_dtype)node->dtype), cg_shape_text(cg, node->shape));
    return node->weak || (node->assigned && !node->buffer) ? assign_copy(variable, value) : assign(variable, node);
}

static bool assign(cg_variable *variable, cg_node *node)
{
    cg_context *cg = variable->context;
    node->assigned = true;
    if (!variable->current && node->kind == CG_NODE_DATA) return begin_with(variable, node);
    if (!variable->pending) {
        if (!CG_GROW(cg, cg->pending, cg->pending_capacity, cg->pending_count + 1)) return false;
        cg->pending[cg->pending_count++] = variable;
        variable->pending = true;
        variable->in_step = cg_in_step(cg);
    }
    cg_node_retain(node);
    replace_current(variable, node);
    return true;
}

cg_tensor cg_value(cg_variable *variable)
{
    if (!variable) return (cg_tensor){0};
    if (variable->lost && !variable->pending)
        return cg_report(variable->context, CG_ERROR_ARGUMENT, variable->name,
                         "the value was lost in a step that failed half-way; load or assign it again");
    if (!variable->current)
        return cg_report(variable->context, CG_ERROR_ARGUMENT, variable->name, "the variable has no value yet");
    return cg_tensor_of(variable->current);
}

/* The variable has its last stored value again or, after a failed step, what was assigned before that and not yet
 * stored. True if that is still to be stored. */
static bool drop(cg_variable *variable, bool step)
{
    if (step && !variable->in_step) return true;
    cg_node *before = variable->before;
    variable->before = NULL;
    variable->in_step = false;
    if (before && !step) {
        cg_node_release(before);
        before = NULL;
    }
    cg_node *value = before ? before : variable->committed;
    if (value && !before) cg_node_retain(value);
    if (variable->current) cg_node_release(variable->current);
    variable->current = value;
    return before != NULL;
}

/* The assignments since the last forcing point did not happen; those made in a step scope, if one is open or has just
 * failed. */
void cg_drop_pending(cg_context *cg, bool step)
{
    int kept = 0;
    for (int i = 0; i < cg->pending_count; i++) {
        cg_variable *variable = cg->pending[i];
        variable->pending = drop(variable, step);
        if (variable->pending) cg->pending[kept++] = variable;
    }
    cg->pending_count = kept;
    for (int i = 0; i < cg->asked_count; i++) {
        cg->asked[i]->asked = false;
        cg_node_release(cg->asked[i]);
    }
    cg->asked_count = 0;
}

const char *cg_variable_name(const cg_variable *variable)
{
    return variable ? variable->name : "";
}

cg_shape cg_variable_shape(const cg_variable *variable)
{
    return variable ? variable->shape : (cg_shape){.rank = -1};
}

cg_dtype cg_variable_dtype(const cg_variable *variable)
{
    return variable ? variable->dtype : CG_F32;
}

cg_context *cg_variable_context(const cg_variable *variable)
{
    return variable ? variable->context : NULL;
}

bool cg_variable_lost(const cg_variable *variable)
{
    return variable && variable->lost && !variable->pending;
}

bool cg_variable_has_value(const cg_variable *variable)
{
    return variable && variable->current && !cg_variable_lost(variable);
}

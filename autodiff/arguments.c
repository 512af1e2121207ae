/* What differentiation asks of its arguments: live floating tensors of one context, cotangents of the right shape,
 * outputs that still have a history. Reads nodes and records nothing but literals. */
#include "autodiff/grad.h"

#include "engine/graph.h"
#include <clgrad/ops.h>
#include <string.h>

cg_tensor cg_filled(cg_context *cg, cg_dtype dtype, cg_shape shape, double value)
{
    return cg_broadcast_to(cg_constant(cg, dtype, value), shape);
}

bool cg_check_like(const char *who, const char *what, int index, cg_tensor given, cg_tensor model)
{
    const cg_node *node = cg_node_of(given, who), *like = cg_node_of(model, who);
    if (!node || !like) return false;
    if (node->dtype == like->dtype && cg_shapes_equal(node->shape, like->shape)) return true;
    cg_context *cg = like->context;
    cg_report(cg, CG_ERROR_ARGUMENT, who, "%s %d is %s %s; it must be %s %s", what, index, cg_tensor_text(given),
              cg_dtype_name((cg_dtype)node->dtype), cg_tensor_text(model), cg_dtype_name((cg_dtype)like->dtype));
    return false;
}

/* Whether `tensor` can be differentiated or differentiated by: alive, of this context, floating. */
static bool check_operand(cg_context *cg, const char *who, const char *what, int index, cg_tensor tensor)
{
    const cg_node *node = cg_node_of(tensor, who);
    if (!node) return false;
    if (node->context != cg) {
        cg_report(cg, CG_ERROR_ARGUMENT, who, "%s %d belongs to another context", what, index);
        return false;
    }
    if (cg_is_floating((cg_dtype)node->dtype)) return true;
    cg_report(cg, CG_ERROR_ARGUMENT, who, "%s %d is %s; only floating tensors have gradients", what, index,
              cg_dtype_name((cg_dtype)node->dtype));
    return false;
}

/* An output that is a leaf because a scope ended has lost what it was computed from, so only its gradient with respect
 * to itself is known; zeros for anything else would be silently wrong. */
static bool check_history(cg_context *cg, const cg_pullback *p)
{
    for (int k = 0; k < p->output_count && !p->cut_outputs; k++) {
        const cg_node *output = p->outputs[k].node;
        if (!output->cut) continue;
        for (int i = 0; i < p->wrt_count; i++) {
            if (p->wrt[i].node == output) continue;
            cg_report(cg, CG_ERROR_ARGUMENT, p->who,
                      "output %d is a stored value: its history ended with a scope, so it depends on nothing any more; "
                      "differentiate inside the scope that computes it",
                      k);
            return false;
        }
    }
    return true;
}

static bool check_all(cg_context *cg, const cg_pullback *p)
{
    for (int k = 0; k < p->output_count; k++) {
        if (!check_operand(cg, p->who, "output", k, p->outputs[k])) return false;
        if (p->cotangents && !cg_check_like(p->who, "cotangent", k, p->cotangents[k], p->outputs[k])) return false;
    }
    for (int i = 0; i < p->wrt_count; i++)
        if (!check_operand(cg, p->who, "input", i, p->wrt[i])) return false;
    return check_history(cg, p);
}

cg_context *cg_check_pullback(const cg_pullback *p)
{
    cg_tensor first = p->output_count > 0 ? p->outputs[0] : p->wrt_count > 0 ? p->wrt[0] : (cg_tensor){0};
    const cg_node *node = cg_node_of(first, p->who);
    return node && check_all(node->context, p) ? node->context : NULL;
}

/* A derivative rule of the user's for a subgraph. Each result is the identity of one output of the subgraph, an op that
 * moves nothing and whose vjp calls the rule; the inputs are listed as its inputs too, so that reverse mode finds them,
 * but a move reads its first input only. */
#include "autodiff/grad.h"

#include "engine/graph.h"

/* Inputs of a result: the output that it is, the subgraph's inputs, all its outputs. */
enum { OWN, INPUTS };

/* RESULT is the number of the output that a result is. RULE and USER are pointers, which are kept behind the counted
 * attributes: they say nothing of what runs, so they must not tell one plan from another. */
enum { INPUT_COUNT, OUTPUT_COUNT, RESULT, COUNTED, RULE = COUNTED, USER };

static bool infer(const cg_call *call, cg_inferred *result)
{
    result->shape[0] = call->input_shapes[OWN];
    result->dtype[0] = call->input_dtypes[OWN];
    return true;
}

static void identity(const cg_call *call, cg_mapping *mapping)
{
    for (int i = 0; i < call->input_shapes[OWN].rank; i++) mapping->factor[i][i] = 1;
}

/* Calls the rule with the cotangent of this result and zeros for the others: rules are linear in the cotangents, so
 * what the results give separately adds up to what they give together. */
static void vjp(const cg_vjp *v, cg_tensor *result)
{
    const cg_call *call = v->call;
    int inputs = (int)call->attributes[INPUT_COUNT], count = (int)call->attributes[OUTPUT_COUNT];
    cg_tensor outputs[CG_MAX_INPUTS], cotangents[CG_MAX_INPUTS];
    for (int k = 0; k < count; k++) {
        int input = INPUTS + inputs + k;
        bool own = k == call->attributes[RESULT];
        outputs[k] = own ? v->outputs[0] : v->inputs[input];
        cotangents[k] = own ? v->cotangents[0]
                            : cg_filled(call->context, call->input_dtypes[input], call->input_shapes[input], 0);
    }
    cg_vjp_rule rule = (cg_vjp_rule)(intptr_t)call->attributes[RULE];
    void *user = (void *)(intptr_t)call->attributes[USER];
    rule(user, v->inputs + INPUTS, inputs, outputs, cotangents, count, result + INPUTS);
}

static const cg_op custom_gradient = {
    .name = "custom_gradient", .kind = CG_OP_MOVE, .inputs = -1, .infer = infer, .move = identity, .vjp = vjp};

static bool check_counts(cg_context *cg, int inputs, int outputs)
{
    if (INPUTS + inputs + outputs <= CG_MAX_INPUTS) return true;
    cg_report(cg, CG_ERROR_ARGUMENT, "custom_gradient", "%d inputs and %d outputs; it takes at most %d together",
              inputs, outputs, CG_MAX_INPUTS - INPUTS);
    return false;
}

/* One result; `operands` has all but the first filled in. */
static cg_tensor record(cg_tensor *operands, const int64_t *counts, cg_vjp_rule rule, void *user)
{
    int inputs = (int)counts[INPUT_COUNT], outputs = (int)counts[OUTPUT_COUNT];
    operands[OWN] = operands[INPUTS + inputs + counts[RESULT]];
    cg_tensor result = cg_apply(&custom_gradient, operands, INPUTS + inputs + outputs, counts, COUNTED);
    if (cg_is_null(result)) return result;
    result.node->attributes[RULE] = (int64_t)(intptr_t)rule;
    result.node->attributes[USER] = (int64_t)(intptr_t)user;
    return result;
}

bool cg_custom_gradient(const cg_tensor *inputs, int input_count, const cg_tensor *outputs, int output_count,
                        cg_vjp_rule rule, void *user, cg_tensor *results)
{
    cg_context *cg = output_count > 0 ? cg_context_of(outputs[0]) : NULL;
    bool done = cg && check_counts(cg, input_count, output_count);
    cg_tensor operands[CG_MAX_INPUTS];
    for (int i = 0; done && i < input_count; i++) operands[INPUTS + i] = inputs[i];
    for (int k = 0; done && k < output_count; k++) operands[INPUTS + input_count + k] = outputs[k];
    for (int k = 0; k < output_count; k++) {
        int64_t counts[COUNTED] = {[INPUT_COUNT] = input_count, [OUTPUT_COUNT] = output_count, [RESULT] = k};
        results[k] = done ? record(operands, counts, rule, user) : (cg_tensor){0};
        done = !cg_is_null(results[k]);
    }
    return done;
}

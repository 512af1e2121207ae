/* A segment whose intermediate values are computed again in the backward pass. Each result is the identity of one that
 * the segment's function gave, and says where the segment began; replay.c makes of that what the derivative rules in
 * the segment see. */
#include "autodiff/replay.h"

#include <clgrad/autodiff.h>

/* NODES, how many were recorded, tells segments of one graph that begin at different places apart; BEGIN says of which
 * serial on they belong to it, which is another number each time, so it must not be counted. */
enum { NODES, COUNTED, BEGIN = COUNTED };

static bool infer(const cg_call *call, cg_inferred *result)
{
    result->shape[0] = call->input_shapes[0];
    result->dtype[0] = call->input_dtypes[0];
    return true;
}

static void identity(const cg_call *call, cg_mapping *mapping)
{
    for (int i = 0; i < call->input_shapes[0].rank; i++) mapping->factor[i][i] = 1;
}

static void vjp(const cg_vjp *v, cg_tensor *result)
{
    result[0] = v->cotangents[0];
}

static const cg_op checkpoint = {
    .name = "checkpoint", .kind = CG_OP_MOVE, .inputs = 1, .infer = infer, .move = identity, .vjp = vjp};

bool cg_is_checkpoint(const cg_node *node)
{
    return node->kind == CG_NODE_CALL && node->op == &checkpoint;
}

uint64_t cg_checkpoint_begin(const cg_node *result)
{
    return (uint64_t)result->attributes[BEGIN];
}

static cg_tensor mark(cg_tensor result, uint64_t begin, int64_t nodes)
{
    const cg_tensor marked = cg_apply(&checkpoint, &result, 1, &nodes, COUNTED);
    if (!cg_is_null(marked)) marked.node->attributes[BEGIN] = (int64_t)begin;
    return marked;
}

/* Whether all that the segment is given is there; what is not was reported when it was made. */
static cg_context *check_inputs(const cg_tensor *inputs, int count)
{
    cg_context *cg = NULL;
    for (int i = 0; i < count; i++) {
        const cg_node *node = cg_node_of(inputs[i], "checkpoint");
        if (!node) return NULL;
        cg = node->context;
    }
    return cg;
}

/* Calls the function, and marks what it gives. */
static bool run_segment(cg_context *cg, cg_segment_function function, void *user, const cg_tensor *inputs,
                        cg_tensor *outputs, int count)
{
    bool done = true;
    const uint64_t begin = cg_serial_new(cg);
    function(user, inputs, outputs);
    const int64_t nodes = (int64_t)(cg_serial_new(cg) - begin);
    for (int i = 0; i < count; i++) {
        if (cg_is_null(outputs[i]) && cg_status(cg) == CG_OK)
            cg_report(cg, CG_ERROR_ARGUMENT, "checkpoint", "the function has left output %d null", i);
        done &= !cg_is_null(outputs[i] = mark(outputs[i], begin, nodes));
    }
    return done;
}

/* A segment begins in the context of its inputs. Without any, that of what the function records is told. */
static void report_no_inputs(cg_segment_function function, void *user, const cg_tensor *inputs, cg_tensor *outputs,
                             int count)
{
    cg_context *cg = NULL;
    for (int i = 0; i < count; i++) outputs[i] = (cg_tensor){0};
    function(user, inputs, outputs);
    for (int i = 0; i < count && !cg; i++) cg = cg_context_of(outputs[i]);
    cg_report(cg, CG_ERROR_ARGUMENT, "checkpoint",
              "a segment without inputs; one of the tensors that it reads will do");
}

/* The function writes to an array of its own: `outputs` may be `inputs`. */
bool cg_checkpoint(cg_segment_function function, void *user, const cg_tensor *inputs, int input_count,
                   cg_tensor *outputs, int output_count)
{
    if (input_count < 1) report_no_inputs(function, user, inputs, outputs, output_count);
    cg_context *cg = check_inputs(inputs, input_count);
    cg_tensor *results = cg ? cg_host_allocate(cg, ((size_t)output_count + 1) * sizeof *results) : NULL;
    const bool done = results && run_segment(cg, function, user, inputs, results, output_count);
    for (int i = 0; i < output_count; i++) outputs[i] = done ? results[i] : (cg_tensor){0};
    if (results) cg_host_free(cg, results);
    return done;
}

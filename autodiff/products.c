/* Products of a Jacobian or a Hessian with vectors, both as reverse mode applied twice. Records nodes through
 * reverse mode and public ops only. */
#include "autodiff/grad.h"

#include "engine/graph.h"
#include <clgrad/ops.h>

static void clear(cg_tensor *results, int count)
{
    for (int i = 0; i < count; i++) results[i] = (cg_tensor){0};
}

/* Moves results out of the scope of the temporaries and ends it. */
static void leave(cg_scope temporaries, const cg_tensor *results, int count)
{
    for (int i = 0; i < count; i++) cg_lift(results[i]);
    cg_scope_end(temporaries);
}

/* A cotangent to differentiate by: what matters is that the first pass depends on it, its value reaches no result
 * since that pass is linear in it. It is an argument and not a literal, which could be folded away. */
static cg_tensor dummy_like(cg_tensor output)
{
    cg_tensor one = cg_size_scalar(cg_context_of(output), cg_dtype_of(output), 1);
    return cg_broadcast_to(one, cg_shape_of(output));
}

static bool check_vectors(const char *who, const char *what, const cg_tensor *vectors, const cg_tensor *wrt, int count)
{
    for (int i = 0; i < count; i++)
        if (!cg_check_like(who, what, i, vectors[i], wrt[i])) return false;
    return true;
}

/* With u a cotangent of the outputs, reverse mode gives J^T u; its own vjp with respect to u, at the tangents, is
 * J times the tangents. */
static bool push_forward(cg_pullback *first, const cg_tensor *tangents, cg_tensor *work, cg_tensor *results)
{
    cg_tensor *dummies = work, *gradients = work + first->output_count;
    for (int k = 0; k < first->output_count; k++) {
        dummies[k] = dummy_like(first->outputs[k]);
        if (cg_is_null(dummies[k])) return false;
    }
    first->cotangents = dummies;
    if (!cg_pull_back(first, gradients)) return false;
    return cg_pull_back(&(cg_pullback){.who = first->who,
                                       .cut_outputs = true,
                                       .outputs = gradients,
                                       .output_count = first->wrt_count,
                                       .cotangents = tangents,
                                       .wrt = dummies,
                                       .wrt_count = first->output_count},
                        results);
}

bool cg_jvp(const cg_tensor *outputs, int output_count, const cg_tensor *wrt, const cg_tensor *tangents, int wrt_count,
            cg_tensor *results)
{
    clear(results, output_count);
    cg_pullback first = {
        .who = "jvp", .outputs = outputs, .output_count = output_count, .wrt = wrt, .wrt_count = wrt_count};
    cg_context *cg = cg_check_pullback(&first);
    if (!cg || !check_vectors("jvp", "tangent", tangents, wrt, wrt_count)) return false;
    cg_tensor *work = cg_host_allocate(cg, (size_t)(output_count + wrt_count) * sizeof *work);
    if (!work) return false;
    cg_scope temporaries = cg_scope_local(cg);
    bool done = push_forward(&first, tangents, work, results);
    leave(temporaries, results, done ? output_count : 0);
    cg_host_free(cg, work);
    return done;
}

bool cg_hvp(cg_tensor output, const cg_tensor *wrt, const cg_tensor *vectors, int wrt_count, cg_tensor *results)
{
    clear(results, wrt_count);
    cg_pullback first = {.who = "hvp", .outputs = &output, .output_count = 1, .wrt = wrt, .wrt_count = wrt_count};
    cg_context *cg = cg_check_pullback(&first);
    if (!cg || !check_vectors("hvp", "vector", vectors, wrt, wrt_count)) return false;
    if (cg_shape_of(output).rank != 0) {
        cg_report(cg, CG_ERROR_ARGUMENT, "hvp", "the output is %s; a Hessian is that of a scalar, shape []",
                  cg_tensor_text(output));
        return false;
    }
    cg_tensor *gradients = cg_host_allocate(cg, ((size_t)wrt_count + 1) * sizeof *gradients);
    if (!gradients) return false;
    cg_scope temporaries = cg_scope_local(cg);
    cg_pullback second = {.who = "hvp",
                          .cut_outputs = true,
                          .outputs = gradients,
                          .output_count = wrt_count,
                          .cotangents = vectors,
                          .wrt = wrt,
                          .wrt_count = wrt_count};
    bool done = cg_pull_back(&first, gradients) && cg_pull_back(&second, results);
    leave(temporaries, results, done ? wrt_count : 0);
    cg_host_free(cg, gradients);
    return done;
}

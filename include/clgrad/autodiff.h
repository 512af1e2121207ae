/* Differentiation, graph to graph: gradients are ordinary tensors and can be differentiated again. */
#ifndef CLGRAD_AUTODIFF_H
#define CLGRAD_AUTODIFF_H

#include <clgrad/op.h>

CG_BEGIN

/* Reverse mode: gradients of sum_k <cotangents[k], outputs[k]> with respect to each of `wrt`, written to `gradients`
 * (same shape and dtype as wrt[i]). `cotangents` NULL: ones. An input that no output depends on gets zeros; an output
 * that is a leaf because its history was cut, with respect to anything but itself, is an error; so is an op on the way
 * without a vjp. False, with all gradients null, on an error. */
typedef struct cg_grad_options {
    char unset_;
    const cg_tensor *cotangents;
    bool *reaches; /* written, one per output: whether a gradient goes from it to any of `wrt` */
} cg_grad_options;
#define cg_grad(outputs, output_count, wrt, wrt_count, gradients, ...) \
    cg_grad_with(outputs, output_count, wrt, wrt_count, gradients, CG_OPTIONS(cg_grad_options, __VA_ARGS__))
CG_API bool cg_grad_with(const cg_tensor *outputs, int output_count, const cg_tensor *wrt, int wrt_count,
                         cg_tensor *gradients, const cg_grad_options *options);

/* Forward mode: d outputs / d wrt applied to tangents (one per wrt, of its shape), as the vjp of the vjp. */
CG_API bool cg_jvp(const cg_tensor *outputs, int output_count, const cg_tensor *wrt, const cg_tensor *tangents,
                   int wrt_count, cg_tensor *results);

/* Hessian of a rank-0 `output` times `vectors`: results[i] = sum_j d2 output / d wrt_i d wrt_j vectors[j]. */
CG_API bool cg_hvp(cg_tensor output, const cg_tensor *wrt, const cg_tensor *vectors, int wrt_count, cg_tensor *results);

/* A derivative rule of the user's for a whole subgraph: returns tensors with the values of `outputs`; their cotangents
 * go to `rule`, which writes the cotangents of `inputs` with ordinary ops (null: zero). It must be linear in the
 * cotangents, as every derivative is: it is called for one result at a time, with zeros for the others. What the
 * subgraph reads besides `inputs` gets no gradient through it. `user` must live as long as the results can be
 * differentiated, to the end of the scope of a cg_minimize for one. The rule reads no values. Error: more than
 * CG_MAX_INPUTS - 1 inputs and outputs together. */
typedef void (*cg_vjp_rule)(void *user, const cg_tensor *inputs, int input_count, const cg_tensor *outputs,
                            const cg_tensor *cotangents, int output_count, cg_tensor *result);
CG_API bool cg_custom_gradient(const cg_tensor *inputs, int input_count, const cg_tensor *outputs, int output_count,
                               cg_vjp_rule rule, void *user, cg_tensor *results);

/* Trades time for memory: outputs[k] has the value that `function` gives it, but of what the function computes on the
 * way nothing is kept for the backward pass, which computes it again, once the outputs' cotangents are there. What is
 * kept are the inputs, and whatever else was recorded before and is read inside: variables, say, whose gradients flow
 * as ever. `function` is called once, at once, and records ops; it writes `outputs`. Values and gradients are those of
 * the function without this: random ops give the same numbers again, statistics that it assigns to variables are
 * assigned once. Segments may follow each other, and lie in each other: layers in sqrt(n) segments keep about 2 sqrt(n)
 * layers' values instead of n. Without differentiation it changes nothing. CLGRAD_LOG=plan tells what it saves; see
 * docs/memory.md. False, with all outputs null, after an error in the function, or if it leaves an output null. Error:
 * no inputs; a segment of variables alone may be given the value of one.
 * (torch.utils.checkpoint, jax.checkpoint, tf.recompute_grad.) */
typedef void (*cg_segment_function)(void *user, const cg_tensor *inputs, cg_tensor *outputs);
CG_API bool cg_checkpoint(cg_segment_function function, void *user, const cg_tensor *inputs, int input_count,
                          cg_tensor *outputs, int output_count);

/* Largest error of the first (order 1) or second (order 2) derivative of `function` at `inputs`, against central
 * differences, relative to max(1, |largest derivative|). Runs in the inputs' dtype, which should be f64. The random
 * counter is restored before each evaluation. Negative with a message on an error. */
typedef cg_tensor (*cg_function)(void *user, const cg_tensor *inputs);
CG_API double cg_gradient_error(cg_function function, void *user, const cg_tensor *inputs, int input_count, int order);

CG_END
#endif

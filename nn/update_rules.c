/* The optimizers' update rules: pure functions of weights, gradient, state and numbers, as composed ops. */
#include <clgrad/ops.h>
#include <clgrad/optimizers.h>

#include <math.h>
#include <string.h>

/* Each output has the shape and dtype of w; the tensors before the numbers must all agree with it. */
static bool infer_update(const cg_call *call, cg_inferred *result, int tensors, int outputs)
{
    cg_shape shape = call->input_shapes[0];
    for (int i = 1; i < tensors; i++) {
        const cg_shape *other = &call->input_shapes[i];
        if (!cg_shapes_equal(*other, shape) || call->input_dtypes[i] != call->input_dtypes[0])
            return cg_op_error(call, "weights %s %s against %s %s", cg_dtype_name(call->input_dtypes[0]),
                               cg_input_text(call, 0), cg_dtype_name(call->input_dtypes[i]), cg_input_text(call, i));
    }
    if (!cg_is_floating(call->input_dtypes[0]))
        return cg_op_error(call, "weights of dtype %s", cg_dtype_name(call->input_dtypes[0]));
    for (int i = tensors; i < call->input_count; i++)
        if (call->input_shapes[i].rank != 0) return cg_op_error(call, "a number has shape %s", cg_input_text(call, i));
    for (int i = 0; i < outputs; i++) {
        result->shape[i] = shape;
        result->dtype[i] = call->input_dtypes[0];
    }
    return true;
}

static bool infer_sgd(const cg_call *call, cg_inferred *result)
{
    return infer_update(call, result, 2, 1);
}

static void expand_sgd(const cg_call *call, const cg_tensor *in, cg_tensor *out)
{
    (void)call;
    out[0] = cg_sub(in[0], cg_mul(in[2], in[1]));
}

static const cg_op sgd_update = {
    .name = "sgd_update", .kind = CG_OP_COMPOSED, .inputs = 3, .infer = infer_sgd, .expand = expand_sgd};

cg_tensor cg_sgd_update(cg_tensor w, cg_tensor g, cg_tensor rate)
{
    return cg_apply(&sgd_update, (cg_tensor[]){w, g, rate}, 3, NULL, 0);
}

static bool infer_momentum(const cg_call *call, cg_inferred *result)
{
    return infer_update(call, result, 3, 2);
}

static void expand_momentum(const cg_call *call, const cg_tensor *in, cg_tensor *out)
{
    (void)call;
    cg_tensor w = in[0], g = in[1], v = in[2], rate = in[3], momentum = in[4];
    out[1] = cg_sub(cg_mul(momentum, v), cg_mul(rate, g));
    out[0] = cg_add(w, out[1]);
}

static const cg_op momentum_update = {.name = "momentum_update",
                                      .kind = CG_OP_COMPOSED,
                                      .inputs = 5,
                                      .outputs = 2,
                                      .infer = infer_momentum,
                                      .expand = expand_momentum};

cg_momentum_result cg_momentum_update(cg_tensor w, cg_tensor g, cg_tensor v, cg_tensor rate, cg_tensor momentum)
{
    cg_tensor out[2];
    cg_apply_all(&momentum_update, (cg_tensor[]){w, g, v, rate, momentum}, 5, NULL, 0, out);
    return (cg_momentum_result){.w = out[0], .v = out[1]};
}

static bool infer_adam(const cg_call *call, cg_inferred *result)
{
    return infer_update(call, result, 4, 3);
}

static void expand_adam(const cg_call *call, const cg_tensor *in, cg_tensor *out)
{
    (void)call;
    cg_tensor w = in[0], g = in[1], m = in[2], r = in[3];
    cg_tensor rate = in[4], beta1 = in[5], rest1 = in[6], beta2 = in[7], rest2 = in[8], delta = in[9];
    m = cg_add(cg_mul(beta1, m), cg_mul(rest1, g));
    r = cg_add(cg_mul(beta2, r), cg_mul(rest2, cg_square(g)));
    out[0] = cg_sub(w, cg_div(cg_mul(rate, m), cg_add(cg_sqrt(r), delta)));
    out[1] = m;
    out[2] = r;
}

static const cg_op adam_update = {.name = "adam_update",
                                  .kind = CG_OP_COMPOSED,
                                  .inputs = 10,
                                  .outputs = 3,
                                  .infer = infer_adam,
                                  .expand = expand_adam};

cg_adam_numbers cg_adam_numbers_at(cg_context *cg, cg_tensor rate, double beta1, double beta2, double delta, int64_t t)
{
    if (t > 0) {
        double correction = sqrt(1 - pow(beta2, (double)t)) / (1 - pow(beta1, (double)t));
        rate = cg_mul(rate, cg_scalar(cg, correction));
    }
    return (cg_adam_numbers){
        .rate = rate,
        .beta1 = cg_scalar(cg, beta1),
        .rest1 = cg_scalar(cg, 1 - beta1),
        .beta2 = cg_scalar(cg, beta2),
        .rest2 = cg_scalar(cg, 1 - beta2),
        .delta = cg_scalar(cg, delta),
    };
}

cg_adam_result cg_adam_update(cg_tensor w, cg_tensor g, cg_tensor m, cg_tensor r, const cg_adam_numbers *numbers)
{
    const cg_adam_numbers *n = numbers;
    cg_tensor in[] = {w, g, m, r, n->rate, n->beta1, n->rest1, n->beta2, n->rest2, n->delta};
    cg_tensor out[3];
    cg_apply_all(&adam_update, in, 10, NULL, 0, out);
    return (cg_adam_result){.w = out[0], .m = out[1], .r = out[2]};
}

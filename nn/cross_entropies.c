/* Cross-entropies, of logits in forms that overflow for nothing finite, and of probabilities, which are kept away from
 * 0 and 1 as Keras does. Softmax's is deferred: a known training step does not record what it is made of. */
#include "nn/loss.h"
#include "nn/options.h"

#include <math.h>

/* What probabilities are kept away from 0 and 1 by: Keras's epsilon. */
static const double least_probability = 1e-7;

static cg_tensor limited(cg_tensor probabilities)
{
    return cg_clip(probabilities, least_probability, 1 - least_probability);
}

/* 1 - x. */
static cg_tensor rest(cg_tensor x)
{
    return cg_sub(cg_loss_literal(x, 1), x);
}

/* ---- Of two classes ---------------------------------------------------------------------------------------------- */

static const char *const wanted_logits = "logits must be floating, and targets have their shape";

/* max(x,0) - x y + log(1 + e^-|x|). Maximum and absolute value are choices, so that at 0 all derivatives are those of
 * one side, which are those of the other. */
static cg_tensor of_logits(cg_tensor logits, cg_tensor targets)
{
    cg_tensor zero = cg_loss_literal(logits, 0), below = cg_less(logits, zero);
    cg_tensor size = cg_where(below, cg_neg(logits), logits), positive = cg_where(below, zero, logits);
    return cg_add(cg_sub(positive, cg_mul(logits, targets)), cg_log1p(cg_exp(cg_neg(size))));
}

cg_tensor cg_binary_cross_entropy_with(cg_tensor logits, cg_tensor targets, const cg_loss_options *options)
{
    cg_loss loss = cg_loss_of("binary_cross_entropy", options, logits, targets);
    if (!cg_loss_begin_binary(&loss, CG_LOSS_HAS_SMOOTHING, wanted_logits)) return (cg_tensor){0};
    return cg_loss_end(&loss, of_logits(logits, cg_loss_smoothed(&loss, loss.target, 0.5)));
}

/* p and 1 - p are limited each for itself: near 1 the latter keeps digits that the former lacks. */
cg_tensor cg_binary_cross_entropy_of_probabilities_with(cg_tensor probabilities, cg_tensor targets,
                                                        const cg_loss_options *options)
{
    cg_loss loss = cg_loss_of("binary_cross_entropy_of_probabilities", options, probabilities, targets);
    if (!cg_loss_begin_binary(&loss, CG_LOSS_HAS_SMOOTHING,
                              "probabilities must be floating, and targets have their shape"))
        return (cg_tensor){0};
    cg_tensor y = cg_loss_smoothed(&loss, loss.target, 0.5);
    cg_tensor positive = cg_mul(y, cg_log(limited(probabilities)));
    cg_tensor negative = cg_mul(rest(y), cg_log(limited(rest(probabilities))));
    return cg_loss_end(&loss, cg_neg(cg_add(positive, negative)));
}

/* (1 - q)^gamma, where 1 - q = y sigmoid(-x) + (1 - y) sigmoid(x) loses no digits. Where that is 0 the power may have
 * no derivative: 1 stands in for it. */
static cg_tensor focus(cg_tensor logits, cg_tensor y, double gamma)
{
    cg_tensor doubt = cg_add(cg_mul(y, cg_sigmoid(cg_neg(logits))), cg_mul(rest(y), cg_sigmoid(logits)));
    cg_tensor zero = cg_loss_literal(doubt, 0), any = cg_not_equal(doubt, zero);
    cg_tensor safe = cg_where(any, doubt, cg_loss_literal(doubt, 1));
    return cg_where(any, cg_pow(safe, cg_loss_number(doubt, gamma)), zero);
}

cg_tensor cg_binary_focal_cross_entropy_with(cg_tensor logits, cg_tensor targets, double gamma, double alpha,
                                             const cg_loss_options *options)
{
    cg_loss loss = cg_loss_of("binary_focal_cross_entropy", options, logits, targets);
    if (!cg_loss_begin_binary(&loss, CG_LOSS_HAS_SMOOTHING, wanted_logits)) return (cg_tensor){0};
    cg_context *cg = cg_context_of(logits);
    if (!cg_number_fits(cg, loss.name, "gamma", gamma, 0, INFINITY)) return (cg_tensor){0};
    if (!(alpha <= 1)) return cg_report(cg, CG_ERROR_ARGUMENT, loss.name, "alpha is %g, above 1", alpha);
    cg_tensor y = cg_loss_smoothed(&loss, loss.target, 0.5);
    cg_tensor losses = of_logits(logits, y);
    if (gamma > 0) losses = cg_mul(focus(logits, y, gamma), losses);
    if (alpha < 0) return cg_loss_end(&loss, losses);
    cg_tensor balance = cg_add(cg_mul(cg_loss_number(y, alpha), y), cg_mul(cg_loss_number(y, 1 - alpha), rest(y)));
    return cg_loss_end(&loss, cg_mul(balance, losses));
}

/* ---- Of any number of classes ------------------------------------------------------------------------------------ */

/* Of sparse labels: x[label]. A choice by `where` rather than a product keeps logits of -inf, as masks use them, out.
 */
static cg_tensor chosen(cg_tensor is_label, cg_tensor x)
{
    return cg_sum(cg_where(is_label, x, cg_loss_literal(x, 0)), .axes = CG_AXES(-1));
}

/* logsumexp(x) - x[label]. */
static void expand_sparse(const cg_call *call, const cg_tensor *in, cg_tensor *out)
{
    const cg_loss loss = cg_loss_of(call->op->name, NULL, in[0], in[1]);
    cg_tensor score = chosen(cg_loss_one_hot(&loss), in[0]);
    out[0] = cg_sub(cg_logsumexp(in[0], .axes = CG_AXES(-1)), score);
}

/* -sum of y logs along the last axis. */
static cg_tensor expected(cg_tensor y, cg_tensor logs)
{
    return cg_neg(cg_sum(cg_mul(y, logs), .axes = CG_AXES(-1)));
}

static void expand_dense(const cg_call *call, const cg_tensor *in, cg_tensor *out)
{
    (void)call;
    out[0] = expected(in[1], cg_log_softmax(in[0], -1));
}

static bool infer_rows(const cg_call *call, cg_inferred *result)
{
    result->shape[0] = call->input_shapes[0];
    result->shape[0].rank--;
    result->dtype[0] = call->input_dtypes[0];
    return true;
}

/* One for each kind of labels. */
static const cg_op softmax_cross_entropies[] = {
    [CG_LABELS_SPARSE] = {.name = "softmax_cross_entropy",
                          .kind = CG_OP_COMPOSED,
                          .inputs = 2,
                          .infer = infer_rows,
                          .expand = expand_sparse,
                          .deferred = true},
    [CG_LABELS_DENSE] = {.name = "softmax_cross_entropy",
                         .kind = CG_OP_COMPOSED,
                         .inputs = 2,
                         .infer = infer_rows,
                         .expand = expand_dense,
                         .deferred = true},
};

/* Begins with labels as they are to be used: smoothed ones are dense. */
static bool begin_smoothed(cg_loss *loss)
{
    if (!cg_loss_begin_labels(loss, CG_LOSS_HAS_SMOOTHING)) return false;
    if (loss->options->label_smoothing == 0) return true;
    const cg_shape scores = cg_shape_of(loss->prediction);
    if (loss->labels == CG_LABELS_SPARSE) loss->target = cg_cast(cg_loss_one_hot(loss), cg_dtype_of(loss->prediction));
    loss->labels = CG_LABELS_DENSE;
    loss->target = cg_loss_smoothed(loss, loss->target, 1 / (double)scores.size[scores.rank - 1]);
    return true;
}

cg_tensor cg_softmax_cross_entropy_with(cg_tensor logits, cg_tensor labels, const cg_loss_options *options)
{
    cg_loss loss = cg_loss_of("softmax_cross_entropy", options, logits, labels);
    if (!begin_smoothed(&loss)) return (cg_tensor){0};
    const cg_op *op = &softmax_cross_entropies[loss.labels];
    return cg_loss_end(&loss, cg_apply(op, (cg_tensor[]){logits, loss.target}, 2, NULL, 0));
}

cg_tensor cg_categorical_cross_entropy_with(cg_tensor probabilities, cg_tensor labels, const cg_loss_options *options)
{
    cg_loss loss = cg_loss_of("categorical_cross_entropy", options, probabilities, labels);
    if (!begin_smoothed(&loss)) return (cg_tensor){0};
    cg_tensor sum = cg_sum(probabilities, .axes = CG_AXES(-1), .keepdims = true);
    cg_tensor none = cg_equal(sum, cg_loss_literal(sum, 0));
    cg_tensor shares = limited(cg_div(probabilities, cg_where(none, cg_loss_literal(sum, 1), sum)));
    if (loss.labels == CG_LABELS_DENSE) return cg_loss_end(&loss, expected(loss.target, cg_log(shares)));
    return cg_loss_end(&loss, cg_neg(cg_log(chosen(cg_loss_one_hot(&loss), shares))));
}

/* ---- For the documentation ----------------------------------------------------------------------------------------
 */

static const cg_op_function functions[] = {
    {"binary_cross_entropy",
     "mean",
     {.formula = "max(x, 0) - x · y + log(1 + e^-|x|) of logits x and targets y",
      .call = "logits, targets, .weights, .mask, .class_weights, .reduction, .label_smoothing",
      .keras = "losses.BinaryCrossentropy (from_logits=True)",
      .pytorch = "nn.BCEWithLogitsLoss",
      .dtypes = "floating"}},
    {"binary_cross_entropy_of_probabilities",
     "mean",
     {.formula = "-y · log(p) - (1 - y) · log(1 - p), p limited to [1e-7, 1 - 1e-7]",
      .call = "probabilities, targets, .weights, .mask, .class_weights, .reduction, .label_smoothing",
      .edges = "finite at 0 and 1; subgradient 0 outside the limits",
      .keras = "losses.BinaryCrossentropy",
      .pytorch = "nn.BCELoss (limits the logarithms to -100)",
      .dtypes = "floating"}},
    {"binary_focal_cross_entropy",
     "mean",
     {.formula = "(1 - q)^gamma · binary cross-entropy, q = y p + (1 - y) (1 - p), p = sigmoid(logits); alpha balances "
                 "the classes",
      .call = "logits, targets, gamma, alpha, .weights, .mask, .class_weights, .reduction, .label_smoothing",
      .keras = "losses.BinaryFocalCrossentropy (from_logits=True)",
      .pytorch = "torchvision.ops.sigmoid_focal_loss",
      .dtypes = "floating"}},
    {"softmax_cross_entropy",
     "mean",
     {.formula = "-Σ y · log_softmax(x) of each row; of class numbers: logsumexp(x) - x[label]",
      .call = "logits, labels, .weights, .mask, .class_weights, .reduction, .label_smoothing",
      .keras =
          "losses.CategoricalCrossentropy (from_logits=True), losses.SparseCategoricalCrossentropy (from_logits=True)",
      .pytorch = "nn.CrossEntropyLoss",
      .dtypes = "floating"}},
    {"categorical_cross_entropy",
     "mean",
     {.formula = "-Σ y · log(p / Σ p) of each row, the quotient limited to [1e-7, 1 - 1e-7]",
      .call = "probabilities, labels, .weights, .mask, .class_weights, .reduction, .label_smoothing",
      .edges = "finite at 0 and 1; subgradient 0 outside the limits",
      .keras = "losses.CategoricalCrossentropy, losses.SparseCategoricalCrossentropy",
      .pytorch = "nn.NLLLoss (of log p)",
      .dtypes = "floating"}},
};
const cg_op_family cg_cross_entropies = {
    .functions = functions, .function_count = sizeof functions / sizeof *functions, .title = "Losses"};

/* Losses that are no cross-entropies: of differences, of margins, and those along axes, which compare vectors, regions
 * or distributions. All are composed of public ops in forms that overflow for nothing finite and keep the derivative
 * where a root or a logarithm has none. */
#include "nn/loss.h"
#include "nn/options.h"

#include <math.h>

static const cg_axes all_axes = {0}, last_axis = {1, {-1}};

/* ---- Differences ------------------------------------------------------------------------------------------------- */

/* prediction - target; null after reporting. */
static cg_tensor begin_difference(cg_loss *loss)
{
    if (cg_is_null(loss->prediction)) return loss->prediction;
    if (!cg_is_floating(cg_dtype_of(loss->prediction))) loss->prediction = cg_cast(loss->prediction, CG_F32);
    if (!cg_loss_begin(loss, 0, all_axes, "prediction and target must have one shape")) return (cg_tensor){0};
    return cg_sub(loss->prediction, loss->target);
}

cg_tensor cg_mean_squared_error_with(cg_tensor prediction, cg_tensor target, const cg_loss_options *options)
{
    cg_loss loss = cg_loss_of("mean_squared_error", options, prediction, target);
    return cg_loss_end(&loss, cg_square(begin_difference(&loss)));
}

cg_tensor cg_mean_absolute_error_with(cg_tensor prediction, cg_tensor target, const cg_loss_options *options)
{
    cg_loss loss = cg_loss_of("mean_absolute_error", options, prediction, target);
    return cg_loss_end(&loss, cg_abs(begin_difference(&loss)));
}

/* With c the difference limited to [-delta, delta], both pieces are c (d - c / 2). */
cg_tensor cg_huber_loss_with(cg_tensor prediction, cg_tensor target, double delta, const cg_loss_options *options)
{
    cg_loss loss = cg_loss_of("huber_loss", options, prediction, target);
    cg_tensor difference = begin_difference(&loss);
    if (cg_is_null(difference)) return difference;
    if (!(delta > 0 && isfinite(delta)))
        return cg_report(cg_context_of(difference), CG_ERROR_ARGUMENT, loss.name,
                         "delta is %g; it must be finite and above 0", delta);
    cg_tensor near = cg_clip(difference, -delta, delta);
    cg_tensor half = cg_loss_literal(near, 0.5);
    return cg_loss_end(&loss, cg_mul(near, cg_sub(difference, cg_mul(half, near))));
}

/* -log(1 - tanh(d)^2) / 2 up to a difference of 1, |d| + log(1 + e^(-2 |d|)) - log(2) beyond: the one would lose large
 * differences, the other small ones. */
cg_tensor cg_log_cosh_loss_with(cg_tensor prediction, cg_tensor target, const cg_loss_options *options)
{
    cg_loss loss = cg_loss_of("log_cosh_loss", options, prediction, target);
    cg_tensor difference = begin_difference(&loss);
    if (cg_is_null(difference)) return difference;
    cg_tensor size = cg_abs(difference);
    cg_tensor near = cg_mul(cg_loss_literal(size, -0.5),
                            cg_log1p(cg_neg(cg_square(cg_tanh(cg_clip(difference, -1, 1))))));
    cg_tensor tail = cg_log1p(cg_exp(cg_mul(cg_loss_literal(size, -2), size)));
    cg_tensor far = cg_add(size, cg_sub(tail, cg_loss_literal(size, 0.6931471805599453)));
    return cg_loss_end(&loss, cg_where(cg_less_equal(size, cg_loss_literal(size, 1)), near, far));
}

/* ---- Margins ----------------------------------------------------------------------------------------------------- */

/* What is missing of a margin of 1 on the right side; null after reporting. */
static cg_tensor begin_hinge(cg_loss *loss)
{
    if (!cg_loss_begin_binary(loss, 0, "scores must be floating, and targets have their shape")) return (cg_tensor){0};
    cg_tensor x = loss->prediction, one = cg_loss_literal(x, 1), zero = cg_loss_literal(x, 0);
    cg_tensor side = cg_where(cg_greater(loss->target, zero), x, cg_neg(x));
    return cg_relu(cg_sub(one, side));
}

cg_tensor cg_hinge_loss_with(cg_tensor scores, cg_tensor targets, const cg_loss_options *options)
{
    cg_loss loss = cg_loss_of("hinge_loss", options, scores, targets);
    return cg_loss_end(&loss, begin_hinge(&loss));
}

cg_tensor cg_squared_hinge_loss_with(cg_tensor scores, cg_tensor targets, const cg_loss_options *options)
{
    cg_loss loss = cg_loss_of("squared_hinge_loss", options, scores, targets);
    return cg_loss_end(&loss, cg_square(begin_hinge(&loss)));
}

cg_tensor cg_categorical_hinge_loss_with(cg_tensor scores, cg_tensor labels, const cg_loss_options *options)
{
    cg_loss loss = cg_loss_of("categorical_hinge_loss", options, scores, labels);
    if (!cg_loss_begin_labels(&loss, 0)) return (cg_tensor){0};
    cg_tensor one = cg_loss_literal(scores, 1);
    cg_tensor y = loss.target;
    if (loss.labels == CG_LABELS_SPARSE) y = cg_cast(cg_loss_one_hot(&loss), cg_dtype_of(scores));
    cg_tensor right = cg_sum(cg_mul(y, scores), .axes = CG_AXES(-1));
    cg_tensor wrong = cg_max(cg_mul(cg_sub(one, y), scores), .axes = CG_AXES(-1));
    return cg_loss_end(&loss, cg_relu(cg_add(one, cg_sub(wrong, right))));
}

/* The squared length along axes, at least a number above 0, so that its root has a derivative. */
static cg_tensor squared_length(cg_tensor x, cg_axes axes, double least)
{
    return cg_maximum(cg_sum(cg_square(x), .axes = axes), cg_loss_literal(x, least));
}

/* PyTorch's distance: what it adds to the differences keeps that of a point from itself away from 0. */
static cg_tensor distance(const cg_loss *loss, cg_tensor from, cg_tensor to)
{
    cg_tensor difference = cg_add(cg_sub(from, to), cg_loss_literal(from, 1e-6));
    return cg_sqrt(squared_length(difference, loss->axes, 1e-30));
}

cg_tensor cg_triplet_margin_loss_with(cg_tensor anchor, cg_tensor positive, cg_tensor negative, double margin,
                                      const cg_loss_options *options)
{
    cg_loss loss = cg_loss_of("triplet_margin_loss", options, anchor, positive);
    static const char *const wanted = "anchor, positive and negative must have one shape, the anchor floating";
    if (cg_is_null(negative) || !cg_loss_begin(&loss, 0, last_axis, wanted)) return (cg_tensor){0};
    if (!cg_shapes_equal(cg_shape_of(anchor), cg_shape_of(negative)))
        return cg_loss_report(loss.name, anchor, negative, wanted);
    if (!cg_number_fits(cg_context_of(anchor), loss.name, "margin", margin, 0, INFINITY)) return (cg_tensor){0};
    cg_tensor away = distance(&loss, anchor, cg_cast(negative, cg_dtype_of(anchor)));
    cg_tensor excess = cg_sub(distance(&loss, anchor, loss.target), away);
    return cg_loss_end(&loss, cg_relu(cg_add(excess, cg_loss_number(anchor, margin))));
}

/* ---- Along axes -------------------------------------------------------------------------------------------------- */

static cg_tensor sum_over(const cg_loss *loss, cg_tensor x)
{
    return cg_sum(x, .axes = loss->axes);
}

/* What keeps quotients of sums that may be 0 finite, and probabilities off 0: Keras's epsilon. */
static const double epsilon = 1e-7;

/* 1 - (shared + e) / (all + e). */
static cg_tensor end_overlap(const cg_loss *loss, cg_tensor shared, cg_tensor all)
{
    cg_tensor e = cg_loss_literal(shared, epsilon);
    return cg_loss_end(loss, cg_sub(cg_loss_literal(shared, 1), cg_div(cg_add(shared, e), cg_add(all, e))));
}

static const char *const wanted_overlap = "probabilities must be floating, and targets have their shape";

cg_tensor cg_dice_loss_with(cg_tensor probabilities, cg_tensor targets, const cg_loss_options *options)
{
    cg_loss loss = cg_loss_of("dice_loss", options, probabilities, targets);
    if (!cg_loss_begin(&loss, CG_LOSS_HAS_AXES, all_axes, wanted_overlap)) return (cg_tensor){0};
    cg_tensor shared = sum_over(&loss, cg_mul(loss.target, probabilities));
    cg_tensor all = cg_add(sum_over(&loss, loss.target), sum_over(&loss, probabilities));
    return end_overlap(&loss, cg_mul(cg_loss_literal(shared, 2), shared), all);
}

cg_tensor cg_tversky_loss_with(cg_tensor probabilities, cg_tensor targets, double alpha, double beta,
                               const cg_loss_options *options)
{
    cg_loss loss = cg_loss_of("tversky_loss", options, probabilities, targets);
    if (!cg_loss_begin(&loss, CG_LOSS_HAS_AXES, all_axes, wanted_overlap)) return (cg_tensor){0};
    cg_context *cg = cg_context_of(probabilities);
    if (!cg_number_fits(cg, loss.name, "alpha", alpha, 0, INFINITY) ||
        !cg_number_fits(cg, loss.name, "beta", beta, 0, INFINITY))
        return (cg_tensor){0};
    cg_tensor p = probabilities, y = loss.target, one = cg_loss_literal(p, 1);
    cg_tensor shared = sum_over(&loss, cg_mul(y, p));
    cg_tensor wrong = sum_over(&loss, cg_mul(cg_sub(one, y), p)), missed = sum_over(&loss, cg_mul(y, cg_sub(one, p)));
    cg_tensor price = cg_add(cg_mul(cg_loss_number(p, alpha), wrong), cg_mul(cg_loss_number(p, beta), missed));
    return end_overlap(&loss, shared, cg_add(shared, price));
}

cg_tensor cg_kl_divergence_with(cg_tensor probabilities, cg_tensor targets, const cg_loss_options *options)
{
    cg_loss loss = cg_loss_of("kl_divergence", options, probabilities, targets);
    if (!cg_loss_begin(&loss, CG_LOSS_HAS_AXES, last_axis, wanted_overlap)) return (cg_tensor){0};
    cg_tensor y = cg_clip(loss.target, epsilon, 1), p = cg_clip(probabilities, epsilon, 1);
    return cg_loss_end(&loss, sum_over(&loss, cg_mul(y, cg_sub(cg_log(y), cg_log(p)))));
}

/* Whether a tensor of the second Gaussian goes with the first one. */
static bool prior_fits(const cg_loss *loss, cg_tensor prior)
{
    const cg_shape shape = cg_shape_of(prior);
    if (shape.rank == 0 || cg_shapes_equal(shape, cg_shape_of(loss->prediction))) return true;
    cg_loss_report(loss->name, loss->prediction, prior, "a prior must have the shape of the mean or rank 0");
    return false;
}

/* e^r - 1 - r with r = v - v' keeps its digits where the variances are nearly the same. */
cg_tensor cg_gaussian_kl_divergence_with(cg_tensor mean, cg_tensor log_variance, cg_tensor prior_mean,
                                         cg_tensor prior_log_variance, const cg_loss_options *options)
{
    cg_loss loss = cg_loss_of("gaussian_kl_divergence", options, mean, log_variance);
    if (cg_is_null(prior_mean) || cg_is_null(prior_log_variance) ||
        !cg_loss_begin(&loss, CG_LOSS_HAS_AXES, last_axis,
                       "the mean must be floating, and the logarithm of the variance have its shape") ||
        !prior_fits(&loss, prior_mean) || !prior_fits(&loss, prior_log_variance))
        return (cg_tensor){0};
    const cg_dtype dtype = cg_dtype_of(mean);
    cg_tensor prior = cg_cast(prior_log_variance, dtype), ratio = cg_sub(loss.target, prior);
    cg_tensor square = cg_square(cg_sub(mean, cg_cast(prior_mean, dtype)));
    cg_tensor spread = cg_sub(cg_expm1(ratio), ratio);
    cg_tensor terms = cg_add(spread, cg_mul(square, cg_exp(cg_neg(prior))));
    return cg_loss_end(&loss, cg_mul(cg_loss_literal(mean, 0.5), sum_over(&loss, terms)));
}

cg_tensor cg_cosine_loss_with(cg_tensor prediction, cg_tensor target, const cg_loss_options *options)
{
    cg_loss loss = cg_loss_of("cosine_loss", options, prediction, target);
    if (!cg_loss_begin(&loss, CG_LOSS_HAS_AXES, last_axis,
                       "the prediction must be floating, and the target have its shape"))
        return (cg_tensor){0};
    const double least = 1e-14;
    cg_tensor product = sum_over(&loss, cg_mul(prediction, loss.target));
    cg_tensor one = cg_rsqrt(squared_length(prediction, loss.axes, least));
    cg_tensor other = cg_rsqrt(squared_length(loss.target, loss.axes, least));
    return cg_loss_end(&loss, cg_neg(cg_mul(product, cg_mul(one, other))));
}

/* ---- For the documentation ----------------------------------------------------------------------------------------
 */

static const cg_op_function functions[] = {
    {"mean_squared_error",
     "mean",
     {.formula = "(prediction - target)²",
      .call = "prediction, target, .weights, .mask, .reduction",
      .keras = "losses.MeanSquaredError",
      .pytorch = "nn.MSELoss"}},
    {"mean_absolute_error",
     "mean",
     {.formula = "|prediction - target|",
      .call = "prediction, target, .weights, .mask, .reduction",
      .edges = "subgradient 0 at 0",
      .keras = "losses.MeanAbsoluteError",
      .pytorch = "nn.L1Loss"}},
    {"huber_loss",
     "mean",
     {.formula = "d² / 2 of differences |d| ≤ delta, else delta · (|d| - delta / 2)",
      .call = "prediction, target, delta, .weights, .mask, .reduction",
      .keras = "losses.Huber",
      .pytorch = "nn.HuberLoss, nn.SmoothL1Loss (divided by delta)"}},
    {"log_cosh_loss",
     "mean",
     {.formula = "log(cosh(prediction - target))",
      .call = "prediction, target, .weights, .mask, .reduction",
      .keras = "losses.LogCosh"}},
    {"hinge_loss",
     "mean",
     {.formula = "max(1 - y · score, 0), y = 1 for targets above 0, else -1",
      .call = "scores, targets, .weights, .mask, .class_weights, .reduction",
      .edges = "subgradient 0 where the margin is just kept",
      .keras = "losses.Hinge",
      .dtypes = "floating"}},
    {"squared_hinge_loss",
     "mean",
     {.formula = "hinge_loss squared",
      .call = "scores, targets, .weights, .mask, .class_weights, .reduction",
      .keras = "losses.SquaredHinge",
      .dtypes = "floating"}},
    {"categorical_hinge_loss",
     "mean",
     {.formula = "max(1 + max of (1 - y) · score - Σ y · score, 0) of each row",
      .call = "scores, labels, .weights, .mask, .class_weights, .reduction",
      .edges = "subgradient 0 where the margin is just kept",
      .keras = "losses.CategoricalHinge",
      .dtypes = "floating"}},
    {"triplet_margin_loss",
     "mean",
     {.formula = "max(|anchor - positive| - |anchor - negative| + margin, 0) of each row, |d| = √Σ (d + 1e-6)²",
      .call = "anchor, positive, negative, margin, .weights, .mask, .reduction",
      .edges = "subgradient 0 where the margin is just kept",
      .pytorch = "nn.TripletMarginLoss",
      .dtypes = "floating"}},
    {"dice_loss",
     "mean",
     {.formula = "1 - (2 · Σ y p + e) / (Σ y + Σ p + e), e = 1e-7, over axes, by default all",
      .call = "probabilities, targets, .weights, .mask, .reduction, .axes",
      .keras = "losses.Dice",
      .dtypes = "floating"}},
    {"tversky_loss",
     "mean",
     {.formula = "1 - (i + e) / (i + alpha · Σ (1 - y) p + beta · Σ y (1 - p) + e), i = Σ y p, e = 1e-7, over axes, by "
                 "default all",
      .call = "probabilities, targets, alpha, beta, .weights, .mask, .reduction, .axes",
      .keras = "losses.Tversky",
      .dtypes = "floating"}},
    {"kl_divergence",
     "mean",
     {.formula = "Σ y · log(y / p) over axes, both limited to [1e-7, 1]",
      .call = "probabilities, targets, .weights, .mask, .reduction, .axes",
      .edges = "finite at 0; subgradient 0 outside the limits",
      .keras = "losses.KLDivergence",
      .pytorch = "nn.KLDivLoss (of log p)",
      .dtypes = "floating"}},
    {"gaussian_kl_divergence",
     "mean",
     {.formula =
          "Σ (e^(v - v') + (m - m')² · e^-v' - 1 - (v - v')) / 2 over axes, of means m and logarithms v of variances",
      .call = "mean, log_variance, prior_mean, prior_log_variance, .weights, .mask, .reduction, .axes",
      .pytorch = "distributions.kl_divergence",
      .dtypes = "floating"}},
    {"cosine_loss",
     "mean",
     {.formula = "-prediction · target / (|prediction| |target|) over axes",
      .call = "prediction, target, .weights, .mask, .reduction, .axes",
      .edges = "0 where one is 0: a length under 1e-7 counts as that",
      .keras = "losses.CosineSimilarity",
      .pytorch = "nn.CosineSimilarity (its negative)",
      .dtypes = "floating"}},
};
const cg_op_family cg_losses = {.functions = functions,
                                .function_count = sizeof functions / sizeof *functions,
                                .title = "Losses",
                                .introduction = "Weighted, masked and reduced as the options say, by default to their "
                                                "mean. The dtypes are those of predictions; targets may have any."};

/* Losses, which can be differentiated any number of times, and metrics. All losses take the same options: weights,
 * masks, and how the losses of elements or rows become one number; without any, their mean.
 *
 * Common to all losses: predictions are floating, targets of any dtype; what a loss is compared with has the shape of
 * the prediction. Errors: other shapes, options out of their range, options that a loss does not have. */
#ifndef CLGRAD_LOSSES_H
#define CLGRAD_LOSSES_H

#include <clgrad/op.h>

CG_BEGIN

/* ---- What all losses share --------------------------------------------------------------------------------------- */

/* How the losses l, weighted by w, become the result. */
typedef enum cg_loss_reduction {
    CG_LOSS_MEAN = 0,     /* sum of w l, divided by the number of losses that are not masked (Keras:
                           * sum_over_batch_size; PyTorch's mean where no weights are given) */
    CG_LOSS_SUM,          /* sum of w l (sum) */
    CG_LOSS_NONE,         /* w l, 0 where masked (none) */
    CG_LOSS_WEIGHTED_MEAN /* sum of w l, divided by the sum of the w that are not masked (PyTorch's mean; Keras:
                           * mean_with_sample_weight) */
} cg_loss_reduction;

/* Some losses are one per element of the prediction, others one per row: the documentation of each says which. PyTorch
 * counts the former in the same way; Keras's loss of a row is the mean of its elements', so that its sum is smaller by
 * the extent of the last axis, and its none is the mean of ours along that.
 *
 * Weights and masks go with the leading axes of the losses: [batch] weights whole examples, the shape of the losses
 * each of them; an extent of 1 is for all along that axis, and so is rank 0. A masked loss is 0 whatever it would have
 * been. Its target is not looked at (but by losses along axes): it may be a NaN, or a number of no class. A derivative
 * in the prediction is 0 there too if that is finite. Where all are masked, or the weights add up to 0, both means are
 * 0. */
typedef struct cg_loss_options {
    char unset_;
    cg_tensor weights;       /* of examples or elements; any dtype */
    cg_tensor mask;          /* 0 or false where a loss does not count; any dtype */
    cg_tensor class_weights; /* of losses with classes: [classes], or of binary ones [2]; a further factor of a loss,
                              * that of its label's class (Keras's class_weight; PyTorch's weight for class numbers):
                              * of a distribution the largest entry's, of a binary target that of 1 if above 0.5 */
    cg_loss_reduction reduction;
    double label_smoothing; /* s of cross-entropies: a target y becomes (1 - s) y + s / classes, a binary one
                             * (1 - s) y + s / 2. Default 0. Error: outside [0, 1] */
    cg_axes axes;           /* of the losses that are taken along axes; each says its default */
} cg_loss_options;

/* ---- Differences: one loss per element; integers become f32 ------------------------------------------------------ */

/* (prediction - target)^2 (Keras: MeanSquaredError; PyTorch: MSELoss). */
#define cg_mean_squared_error(prediction, target, ...) \
    cg_mean_squared_error_with(prediction, target, CG_OPTIONS(cg_loss_options, __VA_ARGS__))
CG_API cg_tensor cg_mean_squared_error_with(cg_tensor prediction, cg_tensor target, const cg_loss_options *options);
/* |prediction - target|, subgradient 0 at 0 (Keras: MeanAbsoluteError; PyTorch: L1Loss). */
#define cg_mean_absolute_error(prediction, target, ...) \
    cg_mean_absolute_error_with(prediction, target, CG_OPTIONS(cg_loss_options, __VA_ARGS__))
CG_API cg_tensor cg_mean_absolute_error_with(cg_tensor prediction, cg_tensor target, const cg_loss_options *options);
/* d^2 / 2 of differences d up to delta, delta (|d| - delta / 2) beyond (Huber, 1964; Keras: Huber, delta 1; PyTorch:
 * HuberLoss; its SmoothL1Loss with beta is this with delta beta, divided by beta). Error: delta not above 0. */
#define cg_huber_loss(prediction, target, delta, ...) \
    cg_huber_loss_with(prediction, target, delta, CG_OPTIONS(cg_loss_options, __VA_ARGS__))
CG_API cg_tensor cg_huber_loss_with(cg_tensor prediction, cg_tensor target, double delta,
                                    const cg_loss_options *options);
/* log(cosh(prediction - target)), without overflow and without loss near 0 (Keras: LogCosh; PyTorch has none). */
#define cg_log_cosh_loss(prediction, target, ...) \
    cg_log_cosh_loss_with(prediction, target, CG_OPTIONS(cg_loss_options, __VA_ARGS__))
CG_API cg_tensor cg_log_cosh_loss_with(cg_tensor prediction, cg_tensor target, const cg_loss_options *options);

/* ---- Cross-entropies --------------------------------------------------------------------------------------------- */

/* Of logits x and targets y in [0, 1], one loss per element: max(x,0) - x y + log(1 + exp(-|x|)), which overflows for
 * no finite x (Keras: BinaryCrossentropy(from_logits=True); PyTorch: BCEWithLogitsLoss). Has classes and smoothing. */
#define cg_binary_cross_entropy(logits, targets, ...) \
    cg_binary_cross_entropy_with(logits, targets, CG_OPTIONS(cg_loss_options, __VA_ARGS__))
CG_API cg_tensor cg_binary_cross_entropy_with(cg_tensor logits, cg_tensor targets, const cg_loss_options *options);
/* The same of probabilities p: -y log(p) - (1 - y) log(1 - p) with p limited to [1e-7, 1 - 1e-7], so finite at 0 and 1;
 * subgradient 0 in p outside these limits (Keras: BinaryCrossentropy; PyTorch: BCELoss, which limits the logarithms to
 * -100). Logits lose less. */
#define cg_binary_cross_entropy_of_probabilities(probabilities, targets, ...) \
    cg_binary_cross_entropy_of_probabilities_with(probabilities, targets, CG_OPTIONS(cg_loss_options, __VA_ARGS__))
CG_API cg_tensor cg_binary_cross_entropy_of_probabilities_with(cg_tensor probabilities, cg_tensor targets,
                                                               const cg_loss_options *options);
/* The binary cross-entropy of logits, times (1 - q)^gamma with q = y p + (1 - y) (1 - p), p = sigmoid(x): what is
 * classified well counts less (Lin et al., 2017; Keras: BinaryFocalCrossentropy(from_logits=True), gamma 2;
 * torchvision: sigmoid_focal_loss). A further factor alpha y + (1 - alpha) (1 - y) balances the classes (Keras:
 * apply_class_balancing, 0.25); a negative alpha leaves it out. Has classes and smoothing. Errors: gamma below 0, alpha
 * above 1. */
#define cg_binary_focal_cross_entropy(logits, targets, gamma, alpha, ...) \
    cg_binary_focal_cross_entropy_with(logits, targets, gamma, alpha, CG_OPTIONS(cg_loss_options, __VA_ARGS__))
CG_API cg_tensor cg_binary_focal_cross_entropy_with(cg_tensor logits, cg_tensor targets, double gamma, double alpha,
                                                    const cg_loss_options *options);

/* Labels of scores [..., classes]. Sparse ones, i32 or u8 of shape [...], are class numbers; one outside 0..classes-1
 * is reported at the next read or wait. Dense ones, of shape [..., classes], are probabilities, one-hot or not. Errors:
 * other shapes; sparse labels that are not integers.
 *
 * One loss per row: -sum of y log softmax(x), with sparse labels logsumexp(x) - x[label] (Keras:
 * CategoricalCrossentropy and SparseCategoricalCrossentropy with from_logits=True; PyTorch: CrossEntropyLoss, whose
 * ignore_index is a mask of cg_not_equal(labels, ...)). Has classes and smoothing. */
#define cg_softmax_cross_entropy(logits, labels, ...) \
    cg_softmax_cross_entropy_with(logits, labels, CG_OPTIONS(cg_loss_options, __VA_ARGS__))
CG_API cg_tensor cg_softmax_cross_entropy_with(cg_tensor logits, cg_tensor labels, const cg_loss_options *options);
/* The same of probabilities p: -sum of y log(p / sum of p) with the quotient limited to [1e-7, 1 - 1e-7], so finite at
 * 0 and 1; subgradient 0 in it outside these limits (Keras: CategoricalCrossentropy and SparseCategoricalCrossentropy;
 * PyTorch: NLLLoss of log p). Logits lose less. */
#define cg_categorical_cross_entropy(probabilities, labels, ...) \
    cg_categorical_cross_entropy_with(probabilities, labels, CG_OPTIONS(cg_loss_options, __VA_ARGS__))
CG_API cg_tensor cg_categorical_cross_entropy_with(cg_tensor probabilities, cg_tensor labels,
                                                   const cg_loss_options *options);

/* ---- Margins: subgradient 0 where a margin is just kept ---------------------------------------------------------- */

/* One loss per element, max(1 - y x, 0) and its square, of scores x and targets that stand for y = 1 if above 0 and
 * else for y = -1, so that both -1, 1 and 0, 1 will do (Keras: Hinge, SquaredHinge; PyTorch has none). Has classes. */
#define cg_hinge_loss(scores, targets, ...) \
    cg_hinge_loss_with(scores, targets, CG_OPTIONS(cg_loss_options, __VA_ARGS__))
CG_API cg_tensor cg_hinge_loss_with(cg_tensor scores, cg_tensor targets, const cg_loss_options *options);
#define cg_squared_hinge_loss(scores, targets, ...) \
    cg_squared_hinge_loss_with(scores, targets, CG_OPTIONS(cg_loss_options, __VA_ARGS__))
CG_API cg_tensor cg_squared_hinge_loss_with(cg_tensor scores, cg_tensor targets, const cg_loss_options *options);
/* One loss per row, max(1 + max of (1 - y) x - sum of y x, 0), with labels as for cg_softmax_cross_entropy (Keras:
 * CategoricalHinge; PyTorch's MultiMarginLoss takes the mean over the other classes instead). The inner maximum is over
 * all classes, so it is not below 0. Has classes. */
#define cg_categorical_hinge_loss(scores, labels, ...) \
    cg_categorical_hinge_loss_with(scores, labels, CG_OPTIONS(cg_loss_options, __VA_ARGS__))
CG_API cg_tensor cg_categorical_hinge_loss_with(cg_tensor scores, cg_tensor labels, const cg_loss_options *options);
/* One loss per row, the last axis: max(|anchor - positive| - |anchor - negative| + margin, 0), where |d| is the root of
 * the sum of (d + 1e-6)^2 (PyTorch: TripletMarginLoss, margin 1; Keras has none). Error: margin below 0. */
#define cg_triplet_margin_loss(anchor, positive, negative, margin, ...) \
    cg_triplet_margin_loss_with(anchor, positive, negative, margin, CG_OPTIONS(cg_loss_options, __VA_ARGS__))
CG_API cg_tensor cg_triplet_margin_loss_with(cg_tensor anchor, cg_tensor positive, cg_tensor negative, double margin,
                                             const cg_loss_options *options);

/* ---- Along axes: one loss for each place along the others -------------------------------------------------------- */

/* Overlap of probabilities p and targets y in [0, 1], over all axes by default: 1 - (2 i + e) / (sum of y + sum of p +
 * e) with i = sum of y p, e = 1e-7 (Milletari, Navab, Ahmadi, 2016, without their squares; Keras: Dice; PyTorch has
 * none). 0 where both are 0 everywhere. CG_AXES(1, 2, 3) gives a loss for each image, CG_AXES(2, 3) for each channel of
 * each. Weights and masks are those of the losses; to leave elements out, make both 0 there. */
#define cg_dice_loss(probabilities, targets, ...) \
    cg_dice_loss_with(probabilities, targets, CG_OPTIONS(cg_loss_options, __VA_ARGS__))
CG_API cg_tensor cg_dice_loss_with(cg_tensor probabilities, cg_tensor targets, const cg_loss_options *options);
/* The same with prices for what is found wrongly and what is missed: 1 - (i + e) / (i + alpha sum of (1 - y) p + beta
 * sum of y (1 - p) + e) (Salehi, Erdogmus, Gholipour, 2017; Keras: Tversky, both 0.5). Errors: alpha, beta below 0. */
#define cg_tversky_loss(probabilities, targets, alpha, beta, ...) \
    cg_tversky_loss_with(probabilities, targets, alpha, beta, CG_OPTIONS(cg_loss_options, __VA_ARGS__))
CG_API cg_tensor cg_tversky_loss_with(cg_tensor probabilities, cg_tensor targets, double alpha, double beta,
                                      const cg_loss_options *options);

/* The following are along the last axis by default.
 *
 * Divergence of a categorical distribution p from another one, y: sum of y log(y / p), with both limited to [1e-7, 1],
 * so finite at 0; subgradient 0 outside (Kullback, Leibler, 1951; Keras: KLDivergence; PyTorch: KLDivLoss of log p,
 * which limits neither). */
#define cg_kl_divergence(probabilities, targets, ...) \
    cg_kl_divergence_with(probabilities, targets, CG_OPTIONS(cg_loss_options, __VA_ARGS__))
CG_API cg_tensor cg_kl_divergence_with(cg_tensor probabilities, cg_tensor targets, const cg_loss_options *options);
/* Divergence of a Gaussian (the prior of a variational autoencoder, say) from another one, with variances e^v along the
 * axes and no covariances: sum of (e^(v - v') + (mean - mean')^2 e^-v' - 1 - (v - v')) / 2. The second one's mean' and
 * v' have the shape of the first one's or rank 0: zeros stand for the standard normal (PyTorch:
 * distributions.kl_divergence; Keras has none). */
#define cg_gaussian_kl_divergence(mean, log_variance, prior_mean, prior_log_variance, ...) \
    cg_gaussian_kl_divergence_with(mean, log_variance, prior_mean, prior_log_variance, \
                                   CG_OPTIONS(cg_loss_options, __VA_ARGS__))
CG_API cg_tensor cg_gaussian_kl_divergence_with(cg_tensor mean, cg_tensor log_variance, cg_tensor prior_mean,
                                                cg_tensor prior_log_variance, const cg_loss_options *options);
/* Minus the cosine of the angle between prediction and target, -1 where they point the same way; a length under 1e-7
 * counts as that, so 0 where one is 0 (Keras: CosineSimilarity; PyTorch: minus cosine_similarity;
 * CosineEmbeddingLoss of like pairs is 1 more). */
#define cg_cosine_loss(prediction, target, ...) \
    cg_cosine_loss_with(prediction, target, CG_OPTIONS(cg_loss_options, __VA_ARGS__))
CG_API cg_tensor cg_cosine_loss_with(cg_tensor prediction, cg_tensor target, const cg_loss_options *options);

/* ---- Metrics ----------------------------------------------------------------------------------------------------- */

/* The share, 0 to 1, of rows of `scores` [..., classes] whose largest entry (the first, at ties) is the label's.
 * Labels as for cg_softmax_cross_entropy; of dense ones the largest entry counts. Rank 0, f32. */
CG_API cg_tensor cg_accuracy(cg_tensor scores, cg_tensor labels);

/* A running weighted mean of rank-0 tensors, kept on the device so that adding to it does not wait. */
typedef struct cg_average cg_average;
CG_API cg_average *cg_average_new(cg_context *cg, const char *name);
CG_API void cg_average_free(cg_average *average);
/* Adds `value` with a weight, as a rule the number of examples that it is the mean of. Part of the pending plan. */
CG_API bool cg_average_add(cg_average *average, cg_tensor value, double weight);
/* The mean since the last reset; waits for it. NaN when nothing was added, or with a message on an error. */
CG_API double cg_average_read(cg_average *average);
CG_API void cg_average_reset(cg_average *average);

/* What the documentation says of losses and metrics, as cg_op_families of ops. */
CG_API const cg_op_family *const *cg_loss_families(int *count);

CG_END
#endif

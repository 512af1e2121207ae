/* Losses, rank-0 means over the minibatch that can be differentiated any number of times, and metrics. */
#ifndef CLGRAD_LOSSES_H
#define CLGRAD_LOSSES_H

#include <clgrad/tensor.h>

CG_BEGIN

/* Mean of (prediction - target)^2 over all elements; equal shapes. */
CG_API cg_tensor cg_mean_squared_error(cg_tensor prediction, cg_tensor target);

/* Binary cross-entropy of logits x and targets y in [0, 1] (any dtype, equal shapes), the mean over all elements of
 * max(x,0) - x y + log(1 + exp(-|x|)), which overflows for no finite x. */
CG_API cg_tensor cg_binary_cross_entropy(cg_tensor logits, cg_tensor targets);

/* Cross-entropy of softmax(logits), logits [..., classes], the mean over all but the last axis.
 * Sparse labels, of an integer dtype and shape [...], are class numbers: logsumexp(x) - x[label]. A label outside
 * 0..classes-1 is reported at the next read or wait. Dense labels, shape [..., classes], are probabilities:
 * -sum of y log_softmax(x). Errors: other shapes; sparse labels that are not integers. */
CG_API cg_tensor cg_softmax_cross_entropy(cg_tensor logits, cg_tensor labels);

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

CG_END
#endif

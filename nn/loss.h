/* What the losses share: checks of what they are given, what labels and class weights stand for, and how the losses of
 * elements or rows become the result that the options ask for. */
#ifndef CLGRAD_NN_LOSS_H
#define CLGRAD_NN_LOSS_H

#include <clgrad/losses.h>
#include <clgrad/ops.h>

/* The options that not every loss has. */
enum { CG_LOSS_HAS_CLASSES = 1, CG_LOSS_HAS_SMOOTHING = 2, CG_LOSS_HAS_AXES = 4 };

typedef enum cg_label_kind { CG_LABELS_WRONG, CG_LABELS_SPARSE, CG_LABELS_DENSE } cg_label_kind;

/* A call of a loss. */
typedef struct cg_loss {
    const char *name;
    const cg_loss_options *options;
    cg_tensor prediction;
    cg_tensor target; /* in the dtype of the prediction, sparse labels excepted */
    cg_label_kind labels;
    cg_axes axes;            /* with HAS_AXES; empty for all */
    cg_tensor class_weights; /* a factor of each loss; null without */
} cg_loss;

static inline cg_loss cg_loss_of(const char *name, const cg_loss_options *options, cg_tensor prediction,
                                 cg_tensor target)
{
    return (cg_loss){.name = name, .options = options, .prediction = prediction, .target = target};
}

/* Begins a call: a floating prediction, a target of its shape, options that the loss has. `wanted` says in a message
 * what they should have been, and `axes` is the default. False after reporting, and for null tensors. */
bool cg_loss_begin(cg_loss *loss, int has, cg_axes axes, const char *wanted);
/* The same for targets that stand for one of two classes: what the class weights say of them is looked up. */
bool cg_loss_begin_binary(cg_loss *loss, int has, const char *wanted);
/* The same for scores [..., classes] with labels. */
bool cg_loss_begin_labels(cg_loss *loss, int has);
/* Ends it: the result that the options ask for, of the losses of elements or rows; null for null. */
cg_tensor cg_loss_end(const cg_loss *loss, cg_tensor losses);

/* The target with as much of `uniform`, the same for all classes, as label smoothing asks for. */
cg_tensor cg_loss_smoothed(const cg_loss *loss, cg_tensor target, double uniform);
/* Of sparse labels: a row of bools for each, true at its class. */
cg_tensor cg_loss_one_hot(const cg_loss *loss);

/* A literal, and a number that a user passed, in the dtype of x. */
cg_tensor cg_loss_literal(cg_tensor x, double value);
cg_tensor cg_loss_number(cg_tensor x, double value);

/* Reports two tensors that do not go together. Returns the null tensor. */
cg_tensor cg_loss_report(const char *loss, cg_tensor a, cg_tensor b, const char *wanted);

/* What labels are beside these scores, and what to say where they are wrong. */
cg_label_kind cg_kind_of_labels(cg_tensor scores, cg_tensor labels);
extern const char *const cg_labels_wanted;

/* What the documentation says of them. */
extern const cg_op_family cg_losses, cg_cross_entropies, cg_metrics;

#endif

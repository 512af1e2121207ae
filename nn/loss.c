/* What the losses share. A loss begins with checks of its arguments and options, computes what it is of each element or
 * row, and ends here: class weights, weights and mask become one factor, and a sum, a mean or nothing the reduction. */
#include "nn/loss.h"

#include <math.h>
#include <stdio.h>

const char *const cg_labels_wanted = "for scores [..., classes] labels are class numbers, i32 or u8 [...], or "
                                     "probabilities [..., classes]";

cg_tensor cg_loss_literal(cg_tensor x, double value)
{
    return cg_constant(cg_context_of(x), cg_dtype_of(x), value);
}

cg_tensor cg_loss_number(cg_tensor x, double value)
{
    return cg_cast(cg_scalar(cg_context_of(x), value), cg_dtype_of(x));
}

/* ---- Checks ------------------------------------------------------------------------------------------------------ */

cg_tensor cg_loss_report(const char *loss, cg_tensor a, cg_tensor b, const char *wanted)
{
    return cg_report(cg_context_of(a), CG_ERROR_ARGUMENT, loss, "%s %s against %s %s: %s",
                     cg_dtype_name(cg_dtype_of(a)), cg_tensor_text(a), cg_dtype_name(cg_dtype_of(b)), cg_tensor_text(b),
                     wanted);
}

cg_label_kind cg_kind_of_labels(cg_tensor scores, cg_tensor labels)
{
    cg_shape s = cg_shape_of(scores), l = cg_shape_of(labels);
    if (s.rank < 1) return CG_LABELS_WRONG;
    if (cg_shapes_equal(s, l)) return CG_LABELS_DENSE;
    s.rank--;
    bool whole = cg_dtype_of(labels) == CG_I32 || cg_dtype_of(labels) == CG_U8;
    return cg_shapes_equal(s, l) && whole ? CG_LABELS_SPARSE : CG_LABELS_WRONG;
}

static bool refuse(const cg_loss *loss, const char *why)
{
    cg_report(cg_context_of(loss->prediction), CG_ERROR_ARGUMENT, loss->name, "%s", why);
    return false;
}

static bool axes_fit(const cg_loss *loss)
{
    const int rank = cg_shape_of(loss->prediction).rank;
    for (int i = 0; i < loss->axes.count; i++) {
        const int axis = loss->axes.axis[i];
        if (axis >= -rank && axis < rank) continue;
        cg_report(cg_context_of(loss->prediction), CG_ERROR_ARGUMENT, loss->name, "%s has no axis %d",
                  cg_tensor_text(loss->prediction), axis);
        return false;
    }
    return true;
}

/* Whether the options are in range and such as the loss has. */
static bool options_fit(cg_loss *loss, int has)
{
    static const cg_loss_options defaults;
    if (!loss->options) loss->options = &defaults;
    const cg_loss_options *o = loss->options;
    cg_context *cg = cg_context_of(loss->prediction);
    if ((int)o->reduction < CG_LOSS_MEAN || o->reduction > CG_LOSS_WEIGHTED_MEAN) {
        cg_report(cg, CG_ERROR_ARGUMENT, loss->name, "there is no reduction %d", (int)o->reduction);
        return false;
    }
    if (!(has & CG_LOSS_HAS_CLASSES) && !cg_is_null(o->class_weights))
        return refuse(loss, "this loss has no classes for class_weights");
    if (!(has & CG_LOSS_HAS_SMOOTHING) && o->label_smoothing != 0)
        return refuse(loss, "this loss has no label_smoothing");
    if (!(has & CG_LOSS_HAS_AXES) && o->axes.count > 0) return refuse(loss, "this loss is not taken along axes");
    if (!(o->label_smoothing >= 0 && o->label_smoothing <= 1)) {
        cg_report(cg, CG_ERROR_ARGUMENT, loss->name, "label_smoothing is %g, outside [0, 1]", o->label_smoothing);
        return false;
    }
    if (o->axes.count > 0) loss->axes = o->axes;
    return axes_fit(loss);
}

/* A tensor that goes with the leading axes of a shape, with the same rank; null after reporting. */
static cg_tensor fitted(const cg_loss *loss, const char *what, cg_tensor x, cg_shape to)
{
    cg_shape shape = cg_shape_of(x);
    bool fits = shape.rank <= to.rank;
    for (int i = 0; fits && i < shape.rank; i++) fits = shape.size[i] == to.size[i] || shape.size[i] == 1;
    if (!fits)
        return cg_report(cg_context_of(x), CG_ERROR_ARGUMENT, loss->name,
                         "%s of shape %s does not go with the leading axes of %s", what,
                         cg_shape_text(cg_context_of(x), shape), cg_shape_text(cg_context_of(x), to));
    if (shape.rank == to.rank || shape.rank <= 0) return x;
    while (shape.rank < to.rank) shape.size[shape.rank++] = 1;
    return cg_reshape(x, shape);
}

/* Targets of masked losses may be anything, missing values or numbers of no class: 0 stands in for them. */
static bool mask_target(cg_loss *loss)
{
    if (cg_is_null(loss->options->mask)) return true;
    cg_tensor mask = fitted(loss, "mask", loss->options->mask, cg_shape_of(loss->target));
    loss->target = cg_where(mask, loss->target, cg_loss_literal(loss->target, 0));
    return !cg_is_null(loss->target);
}

bool cg_loss_begin(cg_loss *loss, int has, cg_axes axes, const char *wanted)
{
    if (cg_is_null(loss->prediction) || cg_is_null(loss->target)) return false;
    const cg_dtype dtype = cg_dtype_of(loss->prediction);
    if (!cg_shapes_equal(cg_shape_of(loss->prediction), cg_shape_of(loss->target)) || !cg_is_floating(dtype)) {
        cg_loss_report(loss->name, loss->prediction, loss->target, wanted);
        return false;
    }
    loss->axes = axes;
    loss->target = cg_cast(loss->target, dtype);
    /* Of losses along axes the mask need not go with the target. */
    return options_fit(loss, has) && (has & CG_LOSS_HAS_AXES || mask_target(loss));
}

/* ---- Classes ----------------------------------------------------------------------------------------------------- */

static bool class_weights_fit(const cg_loss *loss, int64_t classes)
{
    const cg_tensor weights = loss->options->class_weights;
    const cg_shape shape = cg_shape_of(weights);
    if (shape.rank == 1 && shape.size[0] == classes) return true;
    cg_report(cg_context_of(weights), CG_ERROR_ARGUMENT, loss->name, "class_weights %s of %lld classes",
              cg_tensor_text(weights), (long long)classes);
    return false;
}

bool cg_loss_begin_binary(cg_loss *loss, int has, const char *wanted)
{
    if (!cg_loss_begin(loss, has | CG_LOSS_HAS_CLASSES, (cg_axes){0}, wanted)) return false;
    if (cg_is_null(loss->options->class_weights)) return true;
    if (!class_weights_fit(loss, 2)) return false;
    cg_tensor positive = cg_greater(loss->target, cg_loss_literal(loss->target, 0.5));
    cg_tensor weights = cg_cast(loss->options->class_weights, cg_dtype_of(loss->prediction));
    loss->class_weights = cg_gather(weights, cg_cast(positive, CG_I32), 0);
    return true;
}

/* What a bad class number is reported under. */
static cg_tensor named_labels(const cg_loss *loss, cg_tensor x)
{
    char name[80];
    snprintf(name, sizeof name, "%s labels", loss->name);
    return cg_named(x, name);
}

bool cg_loss_begin_labels(cg_loss *loss, int has)
{
    if (cg_is_null(loss->prediction) || cg_is_null(loss->target)) return false;
    const cg_dtype dtype = cg_dtype_of(loss->prediction);
    loss->labels = cg_kind_of_labels(loss->prediction, loss->target);
    if (loss->labels == CG_LABELS_WRONG || !cg_is_floating(dtype)) {
        cg_loss_report(loss->name, loss->prediction, loss->target,
                       cg_is_floating(dtype) ? cg_labels_wanted : "scores must be floating");
        return false;
    }
    const bool dense = loss->labels == CG_LABELS_DENSE;
    if (dense) loss->target = cg_cast(loss->target, dtype);
    if (!options_fit(loss, has | CG_LOSS_HAS_CLASSES) || !mask_target(loss)) return false;
    if (cg_is_null(loss->options->class_weights)) return true;
    const cg_shape scores = cg_shape_of(loss->prediction);
    if (!class_weights_fit(loss, scores.size[scores.rank - 1])) return false;
    cg_tensor classes = dense ? cg_argmax(loss->target, .axes = CG_AXES(-1)) : loss->target;
    loss->class_weights = named_labels(loss, cg_gather(cg_cast(loss->options->class_weights, dtype), classes, 0));
    return true;
}

cg_tensor cg_loss_smoothed(const cg_loss *loss, cg_tensor target, double uniform)
{
    const double smoothing = loss->options->label_smoothing;
    if (smoothing == 0) return target;
    return cg_add(cg_mul(cg_loss_number(target, 1 - smoothing), target), cg_loss_number(target, smoothing * uniform));
}

cg_tensor cg_loss_one_hot(const cg_loss *loss)
{
    const cg_shape scores = cg_shape_of(loss->prediction);
    return named_labels(loss, cg_one_hot(loss->target, scores.size[scores.rank - 1], .dtype = CG_BOOL));
}

/* ---- Reduction --------------------------------------------------------------------------------------------------- */

/* The factor and the mask of losses; null where the options have none. False after reporting. */
static bool factors_of(const cg_loss *loss, cg_tensor losses, cg_tensor *weight, cg_tensor *mask)
{
    const cg_loss_options *o = loss->options;
    const cg_shape shape = cg_shape_of(losses);
    *weight = loss->class_weights;
    *mask = (cg_tensor){0};
    if (!cg_is_null(o->mask) && cg_is_null(*mask = fitted(loss, "mask", o->mask, shape))) return false;
    if (cg_is_null(o->weights)) return true;
    cg_tensor given = fitted(loss, "weights", o->weights, shape);
    if (cg_is_null(given)) return false;
    given = cg_cast(given, cg_dtype_of(losses));
    *weight = cg_is_null(*weight) ? given : cg_mul(*weight, given);
    return true;
}

static cg_tensor masked(cg_tensor mask, cg_tensor x)
{
    return cg_is_null(mask) ? x : cg_where(mask, x, cg_loss_literal(x, 0));
}

/* Sums of many are no numbers of the narrow dtypes; their quotient is again. */
static cg_tensor wide_sum(cg_tensor x)
{
    return cg_sum(cg_dtype_of(x) == CG_F64 ? x : cg_cast(x, CG_F32));
}

/* sum / divisor, and 0 where the divisor is 0: of no losses at all, or without weight. */
static cg_tensor divided(cg_tensor sum, cg_tensor divisor)
{
    cg_tensor none = cg_equal(divisor, cg_loss_literal(divisor, 0));
    cg_tensor safe = cg_where(none, cg_loss_literal(divisor, 1), divisor);
    return cg_where(none, cg_loss_literal(sum, 0), cg_div(sum, safe));
}

cg_tensor cg_loss_end(const cg_loss *loss, cg_tensor losses)
{
    const cg_loss_reduction reduction = loss->options->reduction;
    cg_tensor weight, mask;
    if (cg_is_null(losses) || !factors_of(loss, losses, &weight, &mask)) return (cg_tensor){0};
    cg_tensor weighted = masked(mask, cg_is_null(weight) ? losses : cg_mul(losses, weight));
    if (reduction == CG_LOSS_NONE) return weighted;
    if (reduction == CG_LOSS_SUM) return cg_sum(weighted);
    const bool by_weight = reduction == CG_LOSS_WEIGHTED_MEAN && !cg_is_null(weight);
    if (!by_weight && cg_is_null(mask)) return cg_mean(weighted);
    cg_tensor counted = masked(mask, by_weight ? weight : cg_loss_literal(losses, 1));
    cg_tensor divisor = wide_sum(cg_broadcast_to(counted, cg_shape_of(losses)));
    return cg_cast(divided(wide_sum(weighted), divisor), cg_dtype_of(losses));
}

const cg_op_family *const *cg_loss_families(int *count)
{
    static const cg_op_family *const families[] = {&cg_losses, &cg_cross_entropies, &cg_metrics};
    *count = sizeof families / sizeof *families;
    return families;
}

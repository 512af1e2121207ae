/* Losses and metrics, composed of public ops in the forms that neither overflow nor lose the derivative. The running
 * averages keep their sum in a variable, so adding to them is part of the step's plan. */
#include <clgrad/losses.h>

#include <clgrad/ops.h>
#include <clgrad/variable.h>
#include <math.h>
#include <string.h>

static bool either_null(cg_tensor a, cg_tensor b)
{
    return cg_is_null(a) || cg_is_null(b);
}

static cg_tensor report_shapes(const char *loss, cg_tensor a, cg_tensor b, const char *wanted)
{
    return cg_report(cg_context_of(a), CG_ERROR_ARGUMENT, loss, "%s %s against %s %s: %s",
                     cg_dtype_name(cg_dtype_of(a)), cg_tensor_text(a), cg_dtype_name(cg_dtype_of(b)), cg_tensor_text(b),
                     wanted);
}

static cg_tensor as_dtype_of(cg_tensor x, cg_tensor other)
{
    return cg_dtype_of(x) == cg_dtype_of(other) ? x : cg_cast(x, cg_dtype_of(other));
}

cg_tensor cg_mean_squared_error(cg_tensor prediction, cg_tensor target)
{
    if (either_null(prediction, target)) return (cg_tensor){0};
    if (!cg_shapes_equal(cg_shape_of(prediction), cg_shape_of(target)))
        return report_shapes("mean_squared_error", prediction, target, "prediction and target must have one shape");
    return cg_mean(cg_square(cg_sub(prediction, as_dtype_of(target, prediction))));
}

/* max(x,0) is written as (x + |x|) / 2, whose derivative at 0 is 1/2, so that the loss's is sigmoid(0) - y there. */
cg_tensor cg_binary_cross_entropy(cg_tensor logits, cg_tensor targets)
{
    if (either_null(logits, targets)) return (cg_tensor){0};
    if (!cg_shapes_equal(cg_shape_of(logits), cg_shape_of(targets)) || !cg_is_floating(cg_dtype_of(logits)))
        return report_shapes("binary_cross_entropy", logits, targets,
                             "logits must be floating, and targets have their shape");
    cg_context *cg = cg_context_of(logits);
    cg_tensor half = cg_constant(cg, cg_dtype_of(logits), 0.5), one = cg_constant(cg, cg_dtype_of(logits), 1);
    cg_tensor size = cg_abs(logits);
    cg_tensor positive = cg_mul(half, cg_add(logits, size));
    cg_tensor tail = cg_log(cg_add(one, cg_exp(cg_neg(size))));
    cg_tensor product = cg_mul(logits, as_dtype_of(targets, logits));
    return cg_mean(cg_add(cg_sub(positive, product), tail));
}

static const char *const wanted_labels = "for scores [..., classes] labels are class numbers, i32 or u8 [...], or "
                                         "probabilities [..., classes]";

typedef enum label_kind { LABELS_WRONG, LABELS_SPARSE, LABELS_DENSE } label_kind;

static label_kind kind_of_labels(cg_tensor scores, cg_tensor labels)
{
    cg_shape s = cg_shape_of(scores), l = cg_shape_of(labels);
    if (s.rank < 1) return LABELS_WRONG;
    if (cg_shapes_equal(s, l)) return LABELS_DENSE;
    s.rank--;
    bool whole = cg_dtype_of(labels) == CG_I32 || cg_dtype_of(labels) == CG_U8;
    return cg_shapes_equal(s, l) && whole ? LABELS_SPARSE : LABELS_WRONG;
}

/* logsumexp(x) - x[label]. A choice by `where` rather than a product keeps logits of -inf, as masks use them, out. */
static void expand_sparse(const cg_call *call, const cg_tensor *in, cg_tensor *out)
{
    const cg_shape shape = call->input_shapes[0];
    cg_tensor logits = in[0], zero = cg_constant(call->context, call->input_dtypes[0], 0);
    cg_tensor is_label = cg_named(cg_one_hot(in[1], shape.size[shape.rank - 1], .dtype = CG_BOOL),
                                  "softmax_cross_entropy labels");
    cg_tensor score = cg_sum(cg_where(is_label, logits, zero), .axes = CG_AXES(-1));
    out[0] = cg_mean(cg_sub(cg_logsumexp(logits, .axes = CG_AXES(-1)), score));
}

static void expand_dense(const cg_call *call, const cg_tensor *in, cg_tensor *out)
{
    (void)call;
    cg_tensor product = cg_mul(as_dtype_of(in[1], in[0]), cg_log_softmax(in[0], -1));
    out[0] = cg_neg(cg_mean(cg_sum(product, .axes = CG_AXES(-1))));
}

static bool infer_loss(const cg_call *call, cg_inferred *result)
{
    result->shape[0] = CG_RANK0;
    result->dtype[0] = call->input_dtypes[0];
    return true;
}

/* One for each kind of labels. */
static const cg_op cross_entropies[] = {
    [LABELS_SPARSE] = {.name = "softmax_cross_entropy",
                       .kind = CG_OP_COMPOSED,
                       .inputs = 2,
                       .infer = infer_loss,
                       .expand = expand_sparse,
                       .deferred = true},
    [LABELS_DENSE] = {.name = "softmax_cross_entropy",
                      .kind = CG_OP_COMPOSED,
                      .inputs = 2,
                      .infer = infer_loss,
                      .expand = expand_dense,
                      .deferred = true},
};

cg_tensor cg_softmax_cross_entropy(cg_tensor logits, cg_tensor labels)
{
    if (either_null(logits, labels)) return (cg_tensor){0};
    if (!cg_is_floating(cg_dtype_of(logits)))
        return report_shapes("softmax_cross_entropy", logits, labels, "logits must be floating");
    label_kind kind = kind_of_labels(logits, labels);
    if (kind == LABELS_WRONG) return report_shapes("softmax_cross_entropy", logits, labels, wanted_labels);
    return cg_apply(&cross_entropies[kind], (cg_tensor[]){logits, labels}, 2, NULL, 0);
}

cg_tensor cg_accuracy(cg_tensor scores, cg_tensor labels)
{
    if (either_null(scores, labels)) return (cg_tensor){0};
    label_kind kind = kind_of_labels(scores, labels);
    if (kind == LABELS_WRONG) return report_shapes("accuracy", scores, labels, wanted_labels);
    if (kind == LABELS_DENSE) labels = cg_argmax(labels, .axes = CG_AXES(-1));
    return cg_mean(cg_cast(cg_equal(cg_argmax(scores, .axes = CG_AXES(-1)), labels), CG_F32));
}

struct cg_average {
    cg_context *context;
    cg_variable *sum;
    double weight;
};

/* The sum starts from a stored zero rather than a literal, so that the first step's plan is that of every other. */
static bool set_zero(cg_average *average)
{
    const float zero = 0;
    cg_scope scope = cg_scope_local(average->context);
    bool done = cg_assign(average->sum, cg_input(average->context, CG_F32, CG_RANK0, &zero));
    cg_scope_end(scope);
    average->weight = 0;
    return done;
}

cg_average *cg_average_new(cg_context *cg, const char *name)
{
    if (!cg) return NULL;
    cg_average *average = cg_host_allocate(cg, sizeof *average);
    if (!average) return NULL;
    average->context = cg;
    average->sum = cg_variable_new(cg, name, CG_F32, CG_RANK0);
    if (average->sum && set_zero(average)) return average;
    cg_average_free(average);
    return NULL;
}

void cg_average_free(cg_average *average)
{
    if (!average) return;
    cg_variable_free(average->sum);
    cg_host_free(average->context, average);
}

bool cg_average_add(cg_average *average, cg_tensor value, double weight)
{
    if (!average || cg_is_null(value)) return false;
    if (cg_shape_of(value).rank != 0) {
        cg_report(average->context, CG_ERROR_ARGUMENT, "average", "\"%s\" averages scalars, not %s",
                  cg_variable_name(average->sum), cg_tensor_text(value));
        return false;
    }
    /* The zero may have been dropped together with a failed step. */
    if (!cg_variable_has_value(average->sum) && !cg_variable_lost(average->sum) && !set_zero(average)) return false;
    if (cg_dtype_of(value) != CG_F32) value = cg_cast(value, CG_F32);
    cg_tensor part = cg_mul(value, cg_scalar(average->context, weight));
    if (!cg_assign(average->sum, cg_add(cg_value(average->sum), part))) return false;
    average->weight += weight;
    return true;
}

double cg_average_read(cg_average *average)
{
    if (!average || average->weight <= 0) return NAN;
    cg_scope scope = cg_scope_local(average->context);
    double sum = cg_item(cg_value(average->sum));
    cg_scope_end(scope);
    return sum / average->weight;
}

void cg_average_reset(cg_average *average)
{
    if (average) set_zero(average);
}

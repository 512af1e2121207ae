/* Metrics, and running averages of them, which keep their sum in a variable, so that adding to them is part of the
 * step's plan. */
#include "nn/loss.h"

#include <clgrad/variable.h>
#include <math.h>

cg_tensor cg_accuracy(cg_tensor scores, cg_tensor labels)
{
    if (cg_is_null(scores) || cg_is_null(labels)) return (cg_tensor){0};
    cg_label_kind kind = cg_kind_of_labels(scores, labels);
    if (kind == CG_LABELS_WRONG) return cg_loss_report("accuracy", scores, labels, cg_labels_wanted);
    if (kind == CG_LABELS_DENSE) labels = cg_argmax(labels, .axes = CG_AXES(-1));
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

/* ---- For the documentation ----------------------------------------------------------------------------------------
 */

static const cg_op_function functions[] = {
    {"accuracy",
     "argmax",
     {.formula = "the share of rows whose largest score is the label's",
      .call = "scores, labels",
      .edges = "of equal scores the first counts",
      .keras = "metrics.CategoricalAccuracy, metrics.SparseCategoricalAccuracy",
      .dtypes = "any → f32"}},
};
const cg_op_family cg_metrics = {
    .functions = functions,
    .function_count = sizeof functions / sizeof *functions,
    .title = "Metrics",
    .introduction =
        "What is reported rather than minimized; `cg_average` keeps running means of such numbers on the device."};

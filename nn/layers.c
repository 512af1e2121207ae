/* Layers: each makes its variables on a model when it is created, and when called only records ops on their values.
 * Batch normalization also assigns its moving averages, since the op itself is pure. */
#include <clgrad/layers.h>

#include "nn/model.h"
#include "nn/options.h"
#include "nn/variables.h"
#include <clgrad/ops.h>
#include <stdio.h>
#include <string.h>

struct cg_dense {
    cg_part part;
    cg_variable *kernel, *bias;
};

struct cg_batch_norm_layer {
    cg_part part;
    cg_variable *gamma, *beta, *moving_mean, *moving_variance;
    double momentum, epsilon;
    int axis;
};

struct cg_layer_norm_layer {
    cg_part part;
    cg_variable *gamma, *beta; /* NULL where there is none */
    double epsilon;
};

/* Reports an input whose last axis is not what the layer takes, under the layer's name: that of its variable without
 * the last part. A scalar or a dead tensor is left to the ops. */
static bool width_fits(const cg_variable *kernel, cg_tensor x)
{
    const cg_shape shape = cg_shape_of(x);
    const int64_t inputs = cg_variable_shape(kernel).size[0];
    if (shape.rank <= 0 || shape.size[shape.rank - 1] == inputs) return true;
    const char *name = cg_variable_name(kernel), *end = strrchr(name, '/');
    char layer[64];
    snprintf(layer, sizeof layer, "%.*s", (int)(end ? end - name : (ptrdiff_t)strlen(name)), name);
    cg_report(cg_context_of(x), CG_ERROR_ARGUMENT, layer, "the input is %s; its last axis must be %lld",
              cg_tensor_text(x), (long long)inputs);
    return false;
}

cg_variable *cg_layer_variable_of(cg_model *model, const char *layer, const char *leaf, cg_tensor initial,
                                  const cg_model_add_options *options)
{
    char name[256];
    if (snprintf(name, sizeof name, "%s/%s", layer, leaf) < (int)sizeof name)
        return cg_model_add_with(model, name, initial, options);
    cg_report(model->context, CG_ERROR_ARGUMENT, "layer", "the name \"%.40s...\" is too long", layer);
    return NULL;
}

cg_variable *cg_layer_variable(cg_model *model, const char *layer, const char *leaf, cg_initializer initializer,
                               cg_dtype dtype, cg_shape shape, const cg_model_add_options *options)
{
    int64_t inputs = shape.size[0], outputs = shape.rank > 1 ? shape.size[1] : shape.size[0];
    cg_scope scope = cg_scope_local(model->context);
    cg_tensor initial = cg_initial_value(model->context, initializer, dtype, shape, inputs, outputs);
    cg_variable *variable = cg_layer_variable_of(model, layer, leaf, initial, options);
    cg_scope_end(scope);
    return variable;
}

bool cg_layer_fits(cg_model *model, const char *name, int64_t inputs, int64_t outputs)
{
    if (!model || cg_status(model->context)) return false;
    if (!name || !*name) {
        cg_report(model->context, CG_ERROR_ARGUMENT, "layer", "a layer needs a name");
        return false;
    }
    if (inputs > 0 && outputs > 0) return true;
    cg_report(model->context, CG_ERROR_ARGUMENT, "layer", "\"%s\" has %lld inputs and %lld outputs", name,
              (long long)inputs, (long long)outputs);
    return false;
}

cg_dense *cg_dense_new_with(cg_model *model, const char *name, int64_t inputs, int64_t outputs,
                            const cg_dense_options *options)
{
    options = options ? options : CG_OPTIONS(cg_dense_options, );
    if (!cg_layer_fits(model, name, inputs, outputs)) return NULL;
    cg_dense *layer = cg_part_new(model, sizeof *layer, NULL);
    if (!layer) return NULL;
    const int before = cg_model_count(model);
    layer->kernel = cg_layer_variable(
        model, name, "kernel", options->initializer, options->dtype, CG_SHAPE(inputs, outputs),
        CG_OPTIONS(cg_model_add_options, .frozen = options->frozen, .penalty = options->kernel_penalty));
    if (layer->kernel && !options->no_bias) {
        cg_initializer initializer = options->bias_initializer;
        if (initializer.kind == CG_INITIALIZER_DEFAULT) initializer = CG_ALL_ZEROS;
        layer->bias = cg_layer_variable(
            model, name, "bias", initializer, options->dtype, CG_SHAPE(outputs),
            CG_OPTIONS(cg_model_add_options, .frozen = options->frozen, .penalty = options->bias_penalty));
    }
    if (layer->kernel && (layer->bias || options->no_bias)) return layer;
    cg_model_truncate(model, before);
    cg_part_free(&layer->part);
    return NULL;
}

cg_dense *cg_dense_share(cg_model *model, cg_variable *kernel, cg_variable *bias)
{
    if (!model || !kernel) return NULL;
    cg_shape k = cg_variable_shape(kernel), b = bias ? cg_variable_shape(bias) : CG_SHAPE(k.size[1]);
    if (k.rank != 2 || b.rank != 1 || b.size[0] != k.size[1]) {
        cg_report(model->context, CG_ERROR_ARGUMENT, "dense", "kernel \"%s\" %s and bias \"%s\" %s do not fit",
                  cg_variable_name(kernel), cg_shape_text(model->context, k), bias ? cg_variable_name(bias) : "none",
                  cg_shape_text(model->context, b));
        return NULL;
    }
    cg_dense *layer = cg_part_new(model, sizeof *layer, NULL);
    if (!layer) return NULL;
    layer->kernel = kernel;
    layer->bias = bias;
    return layer;
}

cg_tensor cg_dense_call(const cg_dense *layer, cg_tensor x)
{
    if (!layer || !width_fits(layer->kernel, x)) return (cg_tensor){0};
    cg_tensor product = cg_matmul(x, cg_value(layer->kernel));
    return layer->bias ? cg_add(product, cg_value(layer->bias)) : product;
}

cg_variable *cg_dense_kernel(const cg_dense *layer)
{
    return layer ? layer->kernel : NULL;
}

cg_variable *cg_dense_bias(const cg_dense *layer)
{
    return layer ? layer->bias : NULL;
}

cg_batch_norm_layer *cg_batch_norm_new_with(cg_model *model, const char *name, int64_t features,
                                            const cg_batch_norm_layer_options *options)
{
    options = options ? options : CG_OPTIONS(cg_batch_norm_layer_options, );
    const double momentum = cg_number_or(options->momentum, 0.99), epsilon = cg_number_or(options->epsilon, 1e-3);
    if (!cg_layer_fits(model, name, features, features) ||
        !cg_number_fits(model->context, name, "momentum", momentum, 0, 1) ||
        !cg_number_fits(model->context, name, "epsilon", epsilon, 0, INFINITY))
        return NULL;
    cg_batch_norm_layer *layer = cg_part_new(model, sizeof *layer, NULL);
    if (!layer) return NULL;
    const int before = cg_model_count(model);
    layer->momentum = momentum;
    layer->epsilon = epsilon;
    layer->axis = options->axis;
    cg_shape shape = CG_SHAPE(features);
    const cg_model_add_options frozen = {.frozen = true};
    layer->gamma = cg_layer_variable(model, name, "gamma", CG_ALL_ONES, options->dtype, shape,
                                     CG_OPTIONS(cg_model_add_options, .penalty = options->gamma_penalty));
    layer->beta = cg_layer_variable(model, name, "beta", CG_ALL_ZEROS, options->dtype, shape,
                                    CG_OPTIONS(cg_model_add_options, .penalty = options->beta_penalty));
    layer->moving_mean = cg_layer_variable(model, name, "moving_mean", CG_ALL_ZEROS, options->dtype, shape, &frozen);
    layer->moving_variance = cg_layer_variable(model, name, "moving_variance", CG_ALL_ONES, options->dtype, shape,
                                               &frozen);
    if (layer->gamma && layer->beta && layer->moving_mean && layer->moving_variance) return layer;
    cg_model_truncate(model, before);
    cg_part_free(&layer->part);
    return NULL;
}

/* ---- moving_average: average, statistic, momentum, 1 - momentum ---- */

static bool infer_average(const cg_call *call, cg_inferred *result)
{
    result->shape[0] = call->input_shapes[0];
    result->dtype[0] = call->input_dtypes[0];
    return true;
}

static void expand_average(const cg_call *call, const cg_tensor *in, cg_tensor *out)
{
    (void)call;
    out[0] = cg_add(cg_mul(in[2], in[0]), cg_mul(in[3], in[1]));
}

static const cg_op moving_average = {.name = "moving_average",
                                     .kind = CG_OP_COMPOSED,
                                     .inputs = 4,
                                     .infer = infer_average,
                                     .expand = expand_average,
                                     .deferred = true};

static bool move_average(cg_variable *average, cg_tensor statistic, cg_tensor momentum, cg_tensor rest)
{
    cg_tensor in[] = {cg_value(average), statistic, momentum, rest};
    return cg_assign(average, cg_apply(&moving_average, in, 4, NULL, 0));
}

static cg_tensor normalize_minibatch(const cg_batch_norm_layer *layer, cg_tensor x)
{
    cg_context *cg = cg_context_of(x);
    cg_batch_norm_result result = cg_batch_norm(x, cg_value(layer->gamma), cg_value(layer->beta), layer->epsilon,
                                                .axis = layer->axis);
    if (cg_is_null(result.output)) return result.output;
    cg_tensor momentum = cg_scalar(cg, layer->momentum), rest = cg_scalar(cg, 1 - layer->momentum);
    bool moved = move_average(layer->moving_mean, result.mean, momentum, rest) &&
                 move_average(layer->moving_variance, result.variance, momentum, rest);
    return moved ? result.output : (cg_tensor){0};
}

cg_tensor cg_batch_norm_call_with(const cg_batch_norm_layer *layer, cg_tensor x,
                                  const cg_batch_norm_call_options *options)
{
    options = options ? options : CG_OPTIONS(cg_batch_norm_call_options, );
    if (!layer || cg_is_null(x)) return (cg_tensor){0};
    if (cg_mode_is_training(cg_context_of(x), options->mode)) return normalize_minibatch(layer, x);
    return cg_batch_norm_inference(x, cg_value(layer->gamma), cg_value(layer->beta), cg_value(layer->moving_mean),
                                   cg_value(layer->moving_variance), layer->epsilon, .axis = layer->axis);
}

cg_layer_norm_layer *cg_layer_norm_new_with(cg_model *model, const char *name, int64_t features,
                                            const cg_layer_norm_layer_options *options)
{
    options = options ? options : CG_OPTIONS(cg_layer_norm_layer_options, );
    if (!cg_layer_fits(model, name, features, features)) return NULL;
    cg_layer_norm_layer *layer = cg_part_new(model, sizeof *layer, NULL);
    if (!layer) return NULL;
    const int before = cg_model_count(model);
    layer->epsilon = options->epsilon;
    if (!options->no_gamma)
        layer->gamma = cg_layer_variable(model, name, "gamma", CG_ALL_ONES, options->dtype, CG_SHAPE(features),
                                         CG_OPTIONS(cg_model_add_options, .penalty = options->gamma_penalty));
    if (!options->no_beta)
        layer->beta = cg_layer_variable(model, name, "beta", CG_ALL_ZEROS, options->dtype, CG_SHAPE(features),
                                        CG_OPTIONS(cg_model_add_options, .penalty = options->beta_penalty));
    if ((layer->gamma || options->no_gamma) && (layer->beta || options->no_beta)) return layer;
    cg_model_truncate(model, before);
    cg_part_free(&layer->part);
    return NULL;
}

static cg_tensor value_or_null(cg_variable *variable)
{
    return variable ? cg_value(variable) : (cg_tensor){0};
}

cg_tensor cg_layer_norm_call(const cg_layer_norm_layer *layer, cg_tensor x)
{
    if (!layer) return (cg_tensor){0};
    return cg_layer_norm(x, .gamma = value_or_null(layer->gamma), .beta = value_or_null(layer->beta),
                         .epsilon = layer->epsilon);
}

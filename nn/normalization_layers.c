/* Layers of normalization beside those of dense features (layers.c): over groups of channels, root mean square, and of
 * other layers' weights. Each makes its variables on a model when it is created, and when called only records ops on
 * their values; spectral normalization also assigns its vector, since the op itself is pure. */
#include <clgrad/normalization_layers.h>

#include "nn/model.h"
#include "nn/options.h"
#include "nn/variables.h"

struct cg_group_norm_layer {
    cg_part part;
    cg_variable *gamma, *beta; /* NULL where there is none */
    int64_t groups, channels;
    double epsilon;
    int axis;
};

struct cg_rms_norm_layer {
    cg_part part;
    cg_variable *gamma; /* NULL where there is none */
    double epsilon;
};

struct cg_weight_norm_layer {
    cg_part part;
    cg_variable *gain;
    int axis;
};

struct cg_spectral_norm_layer {
    cg_part part;
    cg_variable *u;
    int64_t iterations;
    int axis;
};

static cg_tensor value_or_null(cg_variable *variable)
{
    return variable ? cg_value(variable) : (cg_tensor){0};
}

/* Undoes what a layer that could not be made whole has added to the model, from variable `before` on. */
static void *abandon(cg_model *model, cg_part *part, int before)
{
    cg_model_truncate(model, before);
    cg_part_free(part);
    return NULL;
}

/* ---- group_norm, instance_norm ----------------------------------------------------------------------------------- */

cg_group_norm_layer *cg_group_norm_new_with(cg_model *model, const char *name, int64_t groups, int64_t channels,
                                            const cg_group_norm_layer_options *options)
{
    options = options ? options : CG_OPTIONS(cg_group_norm_layer_options, );
    const double epsilon = cg_number_or(options->epsilon, 1e-3);
    if (!cg_layer_fits(model, name, channels, channels) ||
        !cg_number_fits(model->context, name, "epsilon", epsilon, 0, INFINITY))
        return NULL;
    if (groups < 1 || channels % groups != 0) {
        cg_report(model->context, CG_ERROR_ARGUMENT, name, "%lld channels are not %lld equal groups",
                  (long long)channels, (long long)groups);
        return NULL;
    }
    cg_group_norm_layer *layer = cg_part_new(model, sizeof *layer, NULL);
    if (!layer) return NULL;
    const int before = cg_model_count(model);
    layer->groups = groups;
    layer->channels = channels;
    layer->epsilon = options->epsilon;
    layer->axis = options->axis;
    if (!options->no_gamma)
        layer->gamma = cg_layer_variable(model, name, "gamma", CG_ALL_ONES, options->dtype, CG_SHAPE(channels),
                                         CG_OPTIONS(cg_model_add_options, .penalty = options->gamma_penalty));
    if (!options->no_beta)
        layer->beta = cg_layer_variable(model, name, "beta", CG_ALL_ZEROS, options->dtype, CG_SHAPE(channels),
                                        CG_OPTIONS(cg_model_add_options, .penalty = options->beta_penalty));
    if ((layer->gamma || options->no_gamma) && (layer->beta || options->no_beta)) return layer;
    return abandon(model, &layer->part, before);
}

cg_group_norm_layer *cg_instance_norm_new_with(cg_model *model, const char *name, int64_t channels,
                                               const cg_group_norm_layer_options *options)
{
    return cg_group_norm_new_with(model, name, channels, channels, options);
}

/* Where the layer has no variables, nothing else would see channels of another number. */
static bool channels_fit(const cg_group_norm_layer *layer, cg_tensor x)
{
    const cg_shape shape = cg_shape_of(x);
    const int axis = layer->axis < 0 ? layer->axis + shape.rank : layer->axis ? layer->axis : 1;
    if (axis < 0 || axis >= shape.rank || shape.size[axis] == layer->channels) return true;
    cg_report(cg_context_of(x), CG_ERROR_ARGUMENT, "group_norm", "the input is %s; its channels, axis %d, must be %lld",
              cg_tensor_text(x), axis, (long long)layer->channels);
    return false;
}

cg_tensor cg_group_norm_call(const cg_group_norm_layer *layer, cg_tensor x)
{
    if (!layer || !channels_fit(layer, x)) return (cg_tensor){0};
    const cg_group_norm_options options = {.gamma = value_or_null(layer->gamma),
                                           .beta = value_or_null(layer->beta),
                                           .epsilon = layer->epsilon,
                                           .axis = layer->axis};
    return cg_group_norm_with(x, layer->groups, &options);
}

/* ---- rms_norm ---------------------------------------------------------------------------------------------------- */

cg_rms_norm_layer *cg_rms_norm_new_with(cg_model *model, const char *name, int64_t features,
                                        const cg_rms_norm_layer_options *options)
{
    options = options ? options : CG_OPTIONS(cg_rms_norm_layer_options, );
    const double epsilon = cg_number_or(options->epsilon, 1e-6);
    if (!cg_layer_fits(model, name, features, features) ||
        !cg_number_fits(model->context, name, "epsilon", epsilon, 0, INFINITY))
        return NULL;
    cg_rms_norm_layer *layer = cg_part_new(model, sizeof *layer, NULL);
    if (!layer) return NULL;
    const int before = cg_model_count(model);
    layer->epsilon = options->epsilon;
    if (options->no_gamma) return layer;
    layer->gamma = cg_layer_variable(model, name, "gamma", CG_ALL_ONES, options->dtype, CG_SHAPE(features),
                                     CG_OPTIONS(cg_model_add_options, .penalty = options->gamma_penalty));
    return layer->gamma ? layer : abandon(model, &layer->part, before);
}

cg_tensor cg_rms_norm_call(const cg_rms_norm_layer *layer, cg_tensor x)
{
    if (!layer) return (cg_tensor){0};
    return cg_rms_norm(x, .gamma = value_or_null(layer->gamma), .epsilon = layer->epsilon);
}

/* ---- weight_norm, spectral_norm ---------------------------------------------------------------------------------- */

/* The number of outputs of a kernel that a model has; 0 after reporting. */
static int64_t outputs_of(cg_model *model, const char *name, const cg_variable *kernel, int *axis)
{
    const cg_shape shape = cg_variable_shape(kernel);
    *axis = *axis ? *axis : -1;
    const int resolved = *axis < 0 ? *axis + shape.rank : *axis;
    if (shape.rank >= 2 && resolved >= 0 && resolved < shape.rank) return shape.size[resolved];
    cg_report(model->context, CG_ERROR_ARGUMENT, name, "the kernel \"%s\" %s has no outputs along axis %d",
              cg_variable_name(kernel), cg_shape_text(model->context, shape), *axis);
    return 0;
}

/* The length of each output's weights, so that the kernel begins as it is. */
static cg_tensor lengths(cg_variable *kernel, int axis)
{
    const int rank = cg_variable_shape(kernel).rank, outputs = axis < 0 ? axis + rank : axis;
    cg_axes others = {0};
    for (int i = 0; i < rank; i++)
        if (i != outputs) others.axis[others.count++] = i;
    return cg_sqrt(cg_sum(cg_square(cg_value(kernel)), .axes = others));
}

cg_weight_norm_layer *cg_weight_norm_new_with(cg_model *model, const char *name, cg_variable *kernel,
                                              const cg_weight_axis_options *options)
{
    int axis = options ? options->axis : 0;
    if (!kernel || !cg_layer_fits(model, name, 1, 1) || outputs_of(model, name, kernel, &axis) == 0) return NULL;
    cg_weight_norm_layer *layer = cg_part_new(model, sizeof *layer, NULL);
    if (!layer) return NULL;
    const int before = cg_model_count(model);
    layer->axis = axis;
    cg_scope scope = cg_scope_local(model->context);
    layer->gain = cg_layer_variable_of(model, name, "gain", lengths(kernel, axis), NULL);
    cg_scope_end(scope);
    return layer->gain ? layer : abandon(model, &layer->part, before);
}

cg_tensor cg_weight_norm_call(const cg_weight_norm_layer *layer, cg_tensor kernel)
{
    if (!layer) return (cg_tensor){0};
    return cg_weight_norm(kernel, cg_value(layer->gain), .axis = layer->axis);
}

cg_spectral_norm_layer *cg_spectral_norm_new_with(cg_model *model, const char *name, cg_variable *kernel,
                                                  const cg_spectral_norm_layer_options *options)
{
    options = options ? options : CG_OPTIONS(cg_spectral_norm_layer_options, );
    int axis = options->axis;
    if (!kernel || !cg_layer_fits(model, name, 1, 1)) return NULL;
    const int64_t outputs = outputs_of(model, name, kernel, &axis);
    const int64_t iterations = options->iterations ? options->iterations : 1;
    if (outputs == 0) return NULL;
    if (iterations < 1) {
        cg_report(model->context, CG_ERROR_ARGUMENT, name, "%lld iterations; there must be at least 1",
                  (long long)iterations);
        return NULL;
    }
    cg_spectral_norm_layer *layer = cg_part_new(model, sizeof *layer, NULL);
    if (!layer) return NULL;
    const int before = cg_model_count(model);
    layer->axis = axis;
    layer->iterations = iterations;
    layer->u = cg_layer_variable(model, name, "u", cg_initializer_normal(0, 0.02), cg_variable_dtype(kernel),
                                 CG_SHAPE(outputs), CG_OPTIONS(cg_model_add_options, .frozen = true));
    return layer->u ? layer : abandon(model, &layer->part, before);
}

cg_tensor cg_spectral_norm_call_with(const cg_spectral_norm_layer *layer, cg_tensor kernel,
                                     const cg_spectral_norm_call_options *options)
{
    if (!layer || cg_is_null(kernel)) return (cg_tensor){0};
    const bool training = cg_mode_is_training(cg_context_of(kernel), options ? options->mode : CG_MODE_CONTEXT);
    const cg_spectral_norm_result result = cg_spectral_norm(kernel, cg_value(layer->u),
                                                            training ? layer->iterations : 0, .axis = layer->axis);
    if (training && !cg_is_null(result.u) && !cg_assign(layer->u, result.u)) return (cg_tensor){0};
    return result.kernel;
}

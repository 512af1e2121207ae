/* Convolutional layers: a kernel and a bias on a model, and the ops that use them. The plain and the transposed layer
 * differ in the shape of the kernel and in the op. */
#include <clgrad/convolution_layers.h>

#include "nn/model.h"
#include "nn/variables.h"
#include <string.h>

/* The variables of either layer. */
typedef struct weights {
    cg_variable *kernel, *bias; /* bias: NULL where there is none */
} weights;

struct cg_conv {
    cg_part part;
    weights weights;
    cg_convolution_options options;
};

struct cg_transposed_conv {
    cg_part part;
    weights weights;
    cg_transposed_convolution_options options;
};

/* What a layer's kernel and bias are made from. */
typedef struct recipe {
    int64_t channels, outputs, groups;
    cg_shape extents;
    bool transposed, no_bias, frozen;
    cg_initializer initializer, bias_initializer;
    cg_penalty kernel_penalty, bias_penalty;
    cg_dtype dtype;
} recipe;

/* What the two kinds of options have by the same names. */
#define RECIPE_FROM(o) \
    .groups = (o)->groups ? (o)->groups : 1, .extents = extents, .no_bias = (o)->no_bias, .frozen = (o)->frozen, \
    .initializer = (o)->initializer, .bias_initializer = (o)->bias_initializer, .kernel_penalty = (o)->kernel_penalty, \
    .bias_penalty = (o)->bias_penalty, .dtype = (o)->dtype
#define COPY_STEPS(to, from) \
    do { \
        memcpy((to)->stride, (from)->stride, sizeof(to)->stride); \
        memcpy((to)->dilation, (from)->dilation, sizeof(to)->dilation); \
        memcpy((to)->before, (from)->before, sizeof(to)->before); \
        memcpy((to)->after, (from)->after, sizeof(to)->after); \
        (to)->padding = (from)->padding; \
        (to)->groups = (from)->groups; \
    } while (0)

static bool recipe_fits(cg_model *model, const char *name, const recipe *r)
{
    if (!cg_layer_fits(model, name, r->channels, r->outputs)) return false;
    bool fits = r->extents.rank >= 1 && r->extents.rank <= CG_MAX_SPATIAL;
    for (int i = 0; fits && i < r->extents.rank; i++) fits = r->extents.size[i] > 0;
    if (!fits) {
        cg_report(model->context, CG_ERROR_ARGUMENT, name, "a kernel %s does not have one to three positive extents",
                  cg_shape_text(model->context, r->extents));
        return false;
    }
    if (r->groups > 0 && r->channels % r->groups == 0 && r->outputs % r->groups == 0) return true;
    cg_report(model->context, CG_ERROR_ARGUMENT, name, "%lld groups do not divide %lld channels and %lld outputs",
              (long long)r->groups, (long long)r->channels, (long long)r->outputs);
    return false;
}

/* Each output sums over the channels of its group and the extents; Keras counts all outputs likewise, whatever the
 * groups. */
static cg_variable *add_kernel(cg_model *model, const char *name, const recipe *r)
{
    const int64_t rows = r->transposed ? r->channels : r->outputs, columns = r->transposed ? r->outputs : r->channels;
    const int64_t field = cg_shape_size(r->extents);
    cg_shape shape = {.rank = r->extents.rank + 2, .size = {rows, columns / r->groups}};
    memcpy(shape.size + 2, r->extents.size, (size_t)r->extents.rank * sizeof *shape.size);
    cg_scope scope = cg_scope_local(model->context);
    cg_tensor initial = cg_initial_value(model->context, r->initializer, r->dtype, shape, columns / r->groups * field,
                                         rows * field);
    cg_variable *kernel = cg_layer_variable_of(
        model, name, "kernel", initial,
        CG_OPTIONS(cg_model_add_options, .frozen = r->frozen, .penalty = r->kernel_penalty));
    cg_scope_end(scope);
    return kernel;
}

static bool add_weights(cg_model *model, const char *name, const recipe *r, weights *added)
{
    const int before = cg_model_count(model);
    added->kernel = add_kernel(model, name, r);
    if (added->kernel && !r->no_bias) {
        cg_initializer initializer = r->bias_initializer;
        if (initializer.kind == CG_INITIALIZER_DEFAULT) initializer = CG_ALL_ZEROS;
        added->bias = cg_layer_variable(
            model, name, "bias", initializer, r->dtype, CG_SHAPE(r->outputs),
            CG_OPTIONS(cg_model_add_options, .frozen = r->frozen, .penalty = r->bias_penalty));
    }
    if (added->kernel && (added->bias || r->no_bias)) return true;
    cg_model_truncate(model, before);
    return false;
}

/* The bias, one number per output, beside [batch, outputs, spatial...]. */
static cg_tensor with_bias(const weights *w, cg_tensor result)
{
    if (!w->bias || cg_is_null(result)) return result;
    cg_shape shape = cg_shape_of(result);
    for (int i = 0; i < shape.rank; i++)
        if (i != 1) shape.size[i] = 1;
    return cg_add(result, cg_reshape(cg_value(w->bias), shape));
}

/* ---- Plain ------------------------------------------------------------------------------------------------------- */

cg_conv *cg_conv_new_with(cg_model *model, const char *name, int64_t channels, int64_t outputs, cg_shape extents,
                          const cg_conv_options *options)
{
    const cg_conv_options *o = options ? options : CG_OPTIONS(cg_conv_options, );
    const recipe r = {.channels = channels, .outputs = outputs, RECIPE_FROM(o)};
    if (!recipe_fits(model, name, &r)) return NULL;
    cg_conv *layer = cg_part_new(model, sizeof *layer, NULL);
    if (!layer) return NULL;
    COPY_STEPS(&layer->options, o);
    if (add_weights(model, name, &r, &layer->weights)) return layer;
    cg_part_free(&layer->part);
    return NULL;
}

cg_tensor cg_conv_call(const cg_conv *layer, cg_tensor x)
{
    if (!layer) return (cg_tensor){0};
    return with_bias(&layer->weights, cg_convolution_with(x, cg_value(layer->weights.kernel), &layer->options));
}

cg_variable *cg_conv_kernel(const cg_conv *layer)
{
    return layer ? layer->weights.kernel : NULL;
}

cg_variable *cg_conv_bias(const cg_conv *layer)
{
    return layer ? layer->weights.bias : NULL;
}

/* ---- Transposed -------------------------------------------------------------------------------------------------- */

cg_transposed_conv *cg_transposed_conv_new_with(cg_model *model, const char *name, int64_t channels, int64_t outputs,
                                                cg_shape extents, const cg_transposed_conv_options *options)
{
    const cg_transposed_conv_options *o = options ? options : CG_OPTIONS(cg_transposed_conv_options, );
    const recipe r = {.channels = channels, .outputs = outputs, .transposed = true, RECIPE_FROM(o)};
    if (!recipe_fits(model, name, &r)) return NULL;
    cg_transposed_conv *layer = cg_part_new(model, sizeof *layer, NULL);
    if (!layer) return NULL;
    COPY_STEPS(&layer->options, o);
    memcpy(layer->options.output_padding, o->output_padding, sizeof layer->options.output_padding);
    if (add_weights(model, name, &r, &layer->weights)) return layer;
    cg_part_free(&layer->part);
    return NULL;
}

cg_tensor cg_transposed_conv_call(const cg_transposed_conv *layer, cg_tensor x)
{
    if (!layer) return (cg_tensor){0};
    return with_bias(&layer->weights,
                     cg_transposed_convolution_with(x, cg_value(layer->weights.kernel), &layer->options));
}

cg_variable *cg_transposed_conv_kernel(const cg_transposed_conv *layer)
{
    return layer ? layer->weights.kernel : NULL;
}

cg_variable *cg_transposed_conv_bias(const cg_transposed_conv *layer)
{
    return layer ? layer->weights.bias : NULL;
}

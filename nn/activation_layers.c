/* Layers of activations: each makes its variables on a model when it is created, and when called only records ops on
 * their values. */
#include <clgrad/activation_layers.h>

#include "nn/model.h"
#include "nn/variables.h"

struct cg_prelu_layer {
    cg_part part;
    cg_variable *slopes;
};

cg_prelu_layer *cg_prelu_new_with(cg_model *model, const char *name, cg_shape shape,
                                  const cg_prelu_layer_options *options)
{
    options = options ? options : CG_OPTIONS(cg_prelu_layer_options, );
    if (!cg_layer_fits(model, name, 1, 1)) return NULL;
    for (int i = 0; i < shape.rank && i < CG_MAX_RANK; i++)
        if (shape.size[i] < 1) {
            cg_report(model->context, CG_ERROR_ARGUMENT, name, "slopes of shape %s are none",
                      cg_shape_text(model->context, shape));
            return NULL;
        }
    cg_prelu_layer *layer = cg_part_new(model, sizeof *layer, NULL);
    if (!layer) return NULL;
    cg_initializer initializer = options->initializer;
    if (initializer.kind == CG_INITIALIZER_DEFAULT) initializer = CG_ALL_ZEROS;
    layer->slopes = cg_layer_variable(model, name, "alpha", initializer, options->dtype, shape,
                                      CG_OPTIONS(cg_model_add_options, .penalty = options->penalty));
    if (layer->slopes) return layer;
    cg_part_free(&layer->part);
    return NULL;
}

cg_tensor cg_prelu_call(const cg_prelu_layer *layer, cg_tensor x)
{
    return layer ? cg_prelu(x, cg_value(layer->slopes)) : (cg_tensor){0};
}

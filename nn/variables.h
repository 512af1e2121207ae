/* What layers share when they are made and called: adding their variables to a model, and whether they train. */
#ifndef CLGRAD_NN_VARIABLES_H
#define CLGRAD_NN_VARIABLES_H

#include <clgrad/initializers.h>
#include <clgrad/model.h>
#include <clgrad/ops.h>

/* Whether the model is fine, the name is there, and both sizes are positive; reports where not. */
bool cg_layer_fits(cg_model *model, const char *name, int64_t inputs, int64_t outputs);

/* Adds the variable "LAYER/LEAF" with values from an initializer, whose temporaries do not outlive the call; or with a
 * given value. NULL after an error. */
cg_variable *cg_layer_variable(cg_model *model, const char *layer, const char *leaf, cg_initializer initializer,
                               cg_dtype dtype, cg_shape shape, const cg_model_add_options *options);
cg_variable *cg_layer_variable_of(cg_model *model, const char *layer, const char *leaf, cg_tensor initial,
                                  const cg_model_add_options *options);

/* Whether a call trains: as its mode says, or the context. */
static inline bool cg_mode_is_training(cg_context *cg, cg_mode mode)
{
    return mode == CG_MODE_CONTEXT ? cg_is_training(cg) : mode == CG_MODE_TRAINING;
}

#endif

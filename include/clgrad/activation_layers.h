/* Layers of activations: those that learn. */
#ifndef CLGRAD_ACTIVATION_LAYERS_H
#define CLGRAD_ACTIVATION_LAYERS_H

#include <clgrad/activations.h>
#include <clgrad/initializers.h>
#include <clgrad/model.h>

CG_BEGIN

/* Rectifier with learned slopes, see cg_prelu (Keras's and PyTorch's PReLU). Variable "NAME/alpha" of a shape that
 * broadcasts to the inputs: CG_SHAPE(1) one slope for all, CG_SHAPE(64, 1, 1) one per channel of images (Keras's
 * shared_axes), CG_SHAPE(64, 8, 8) one per element. */
typedef struct cg_prelu_layer cg_prelu_layer;

typedef struct cg_prelu_layer_options {
    char unset_;
    cg_initializer initializer; /* default CG_ALL_ZEROS, Keras's (PyTorch: 0.25) */
    cg_penalty penalty;
    cg_dtype dtype; /* CG_F32 (the default) or CG_F64 */
} cg_prelu_layer_options;

/* NULL after an error: a name taken, a shape without elements, no memory. */
#define cg_prelu_new(model, name, shape, ...) \
    cg_prelu_new_with(model, name, shape, CG_OPTIONS(cg_prelu_layer_options, __VA_ARGS__))
CG_API cg_prelu_layer *cg_prelu_new_with(cg_model *model, const char *name, cg_shape shape,
                                         const cg_prelu_layer_options *options);
/* With layer NULL, after an earlier error: null. */
CG_API cg_tensor cg_prelu_call(const cg_prelu_layer *layer, cg_tensor x);

CG_END
#endif

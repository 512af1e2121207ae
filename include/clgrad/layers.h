/* Layers: variables of a model together with the ops that use them. A layer belongs to its model and is freed with it.
 * Calling a layer twice uses the same variables twice. */
#ifndef CLGRAD_LAYERS_H
#define CLGRAD_LAYERS_H

#include <clgrad/initializers.h>
#include <clgrad/model.h>
#include <clgrad/normalization.h>

CG_BEGIN

/* Dense: x [..., inputs] -> x kernel + bias [..., outputs]. Variables "NAME/kernel" [inputs, outputs] and "NAME/bias"
 * [outputs]. Defaults are Keras's: Glorot uniform kernel, zero bias, no penalties. */
typedef struct cg_dense cg_dense;

typedef struct cg_dense_options {
    char unset_;
    cg_initializer initializer;      /* of the kernel; default CG_GLOROT_UNIFORM */
    cg_initializer bias_initializer; /* default CG_ALL_ZEROS */
    cg_penalty kernel_penalty, bias_penalty;
    bool no_bias;
    bool frozen;    /* the variables are not trained */
    cg_dtype dtype; /* CG_F32 (the default) or CG_F64 */
} cg_dense_options;

/* NULL after an error: a name taken, sizes that are not positive, no memory. */
#define cg_dense_new(model, name, inputs, outputs, ...) \
    cg_dense_new_with(model, name, inputs, outputs, CG_OPTIONS(cg_dense_options, __VA_ARGS__))
CG_API cg_dense *cg_dense_new_with(cg_model *model, const char *name, int64_t inputs, int64_t outputs,
                                   const cg_dense_options *options);
/* A layer on variables that exist: kernel [inputs, outputs]; bias [outputs], or NULL for none. */
CG_API cg_dense *cg_dense_share(cg_model *model, cg_variable *kernel, cg_variable *bias);

/* Errors: a last axis of x that is not `inputs`. With layer NULL, after an earlier error: null. */
CG_API cg_tensor cg_dense_call(const cg_dense *layer, cg_tensor x);
CG_API cg_variable *cg_dense_kernel(const cg_dense *layer);
CG_API cg_variable *cg_dense_bias(const cg_dense *layer); /* NULL without one */

/* Batch normalization: x [..., features], or with the features along another axis, -> gamma (x - mean) / sqrt(variance
 * + epsilon) + beta, see cg_batch_norm. In training, mean and (biased) variance are the minibatch's, and the layer
 * moves its averages towards them: moving = momentum moving + (1 - momentum) statistic (PyTorch's momentum is 1 minus
 * this one, and it keeps the unbiased variance). Otherwise the moving averages are used. Ioffe and Szegedy, "Batch
 * normalization", 2015. Variables [features]: "NAME/gamma" (ones), "NAME/beta" (zeros), and, frozen, "NAME/moving_mean"
 * (zeros), "NAME/moving_variance" (ones). Defaults are Keras's. */
typedef struct cg_batch_norm_layer cg_batch_norm_layer;

typedef struct cg_batch_norm_layer_options {
    char unset_;
    double momentum; /* default 0.99; CG_ZERO for 0 */
    double epsilon;  /* default 1e-3; CG_ZERO for 0 */
    int axis;        /* of the features; 0: the last, 1 for images [batch, channels, height, width] */
    cg_penalty gamma_penalty, beta_penalty;
    cg_dtype dtype; /* CG_F32 (the default) or CG_F64 */
} cg_batch_norm_layer_options;

#define cg_batch_norm_new(model, name, features, ...) \
    cg_batch_norm_new_with(model, name, features, CG_OPTIONS(cg_batch_norm_layer_options, __VA_ARGS__))
CG_API cg_batch_norm_layer *cg_batch_norm_new_with(cg_model *model, const char *name, int64_t features,
                                                   const cg_batch_norm_layer_options *options);

typedef struct cg_batch_norm_call_options {
    char unset_;
    cg_mode mode; /* overrides the context's training mode for this call */
} cg_batch_norm_call_options;

#define cg_batch_norm_call(layer, x, ...) \
    cg_batch_norm_call_with(layer, x, CG_OPTIONS(cg_batch_norm_call_options, __VA_ARGS__))
CG_API cg_tensor cg_batch_norm_call_with(const cg_batch_norm_layer *layer, cg_tensor x,
                                         const cg_batch_norm_call_options *options);

/* Layer normalization over the last axis: x [..., features] -> gamma (x - mean) / sqrt(variance + epsilon) + beta, see
 * cg_layer_norm. Variables [features]: "NAME/gamma" (ones) and "NAME/beta" (zeros), unless left out. */
typedef struct cg_layer_norm_layer cg_layer_norm_layer;

typedef struct cg_layer_norm_layer_options {
    char unset_;
    double epsilon; /* default 1e-3; CG_ZERO for 0 */
    bool no_gamma, no_beta;
    cg_penalty gamma_penalty, beta_penalty;
    cg_dtype dtype; /* CG_F32 (the default) or CG_F64 */
} cg_layer_norm_layer_options;

#define cg_layer_norm_new(model, name, features, ...) \
    cg_layer_norm_new_with(model, name, features, CG_OPTIONS(cg_layer_norm_layer_options, __VA_ARGS__))
CG_API cg_layer_norm_layer *cg_layer_norm_new_with(cg_model *model, const char *name, int64_t features,
                                                   const cg_layer_norm_layer_options *options);
/* Errors: a last axis of x that is not `features`. With layer NULL, after an earlier error: null. */
CG_API cg_tensor cg_layer_norm_call(const cg_layer_norm_layer *layer, cg_tensor x);

CG_END
#endif

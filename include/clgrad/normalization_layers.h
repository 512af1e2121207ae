/* Layers of normalization beside those of layers.h: variables of a model together with the ops of normalization.h. A
 * layer belongs to its model and is freed with it. */
#ifndef CLGRAD_NORMALIZATION_LAYERS_H
#define CLGRAD_NORMALIZATION_LAYERS_H

#include <clgrad/model.h>
#include <clgrad/normalization.h>

CG_BEGIN

/* Group normalization of x [batch, channels, ...], see cg_group_norm (Keras's GroupNormalization, PyTorch's GroupNorm).
 * Variables [channels]: "NAME/gamma" (ones) and "NAME/beta" (zeros), unless left out. Instance normalization is that
 * with a group for each channel. */
typedef struct cg_group_norm_layer cg_group_norm_layer;

typedef struct cg_group_norm_layer_options {
    char unset_;
    double epsilon; /* default 1e-3; CG_ZERO for 0 */
    int axis;       /* of the channels; 0: the second */
    bool no_gamma, no_beta;
    cg_penalty gamma_penalty, beta_penalty;
    cg_dtype dtype; /* CG_F32 (the default) or CG_F64 */
} cg_group_norm_layer_options;

/* NULL after an error: a name taken, groups that do not divide the channels, no memory. */
#define cg_group_norm_new(model, name, groups, channels, ...) \
    cg_group_norm_new_with(model, name, groups, channels, CG_OPTIONS(cg_group_norm_layer_options, __VA_ARGS__))
CG_API cg_group_norm_layer *cg_group_norm_new_with(cg_model *model, const char *name, int64_t groups, int64_t channels,
                                                   const cg_group_norm_layer_options *options);
#define cg_instance_norm_new(model, name, channels, ...) \
    cg_instance_norm_new_with(model, name, channels, CG_OPTIONS(cg_group_norm_layer_options, __VA_ARGS__))
CG_API cg_group_norm_layer *cg_instance_norm_new_with(cg_model *model, const char *name, int64_t channels,
                                                      const cg_group_norm_layer_options *options);
/* Errors: channels of x that are not those of the layer. With layer NULL, after an earlier error: null. */
CG_API cg_tensor cg_group_norm_call(const cg_group_norm_layer *layer, cg_tensor x);

/* Root mean square normalization over the last axis: x [..., features], see cg_rms_norm (Keras's RMSNormalization).
 * Variable [features]: "NAME/gamma" (ones), unless left out. */
typedef struct cg_rms_norm_layer cg_rms_norm_layer;

typedef struct cg_rms_norm_layer_options {
    char unset_;
    double epsilon; /* default 1e-6; CG_ZERO for 0 */
    bool no_gamma;
    cg_penalty gamma_penalty;
    cg_dtype dtype; /* CG_F32 (the default) or CG_F64 */
} cg_rms_norm_layer_options;

#define cg_rms_norm_new(model, name, features, ...) \
    cg_rms_norm_new_with(model, name, features, CG_OPTIONS(cg_rms_norm_layer_options, __VA_ARGS__))
CG_API cg_rms_norm_layer *cg_rms_norm_new_with(cg_model *model, const char *name, int64_t features,
                                               const cg_rms_norm_layer_options *options);
/* Errors: a last axis of x that is not `features`. */
CG_API cg_tensor cg_rms_norm_call(const cg_rms_norm_layer *layer, cg_tensor x);

/* Weight normalization of a kernel that some layer has, see cg_weight_norm. Variable [outputs]: "NAME/gain", which
 * begins as the lengths of the kernel's weights, so that at first nothing changes. Errors: a kernel of rank 1, an axis
 * that it does not have. */
typedef struct cg_weight_norm_layer cg_weight_norm_layer;
#define cg_weight_norm_new(model, name, kernel, ...) \
    cg_weight_norm_new_with(model, name, kernel, CG_OPTIONS(cg_weight_axis_options, __VA_ARGS__))
CG_API cg_weight_norm_layer *cg_weight_norm_new_with(cg_model *model, const char *name, cg_variable *kernel,
                                                     const cg_weight_axis_options *options);
/* What to use in the kernel's place: cg_matmul(x, cg_weight_norm_call(norm, cg_value(kernel))). */
CG_API cg_tensor cg_weight_norm_call(const cg_weight_norm_layer *layer, cg_tensor kernel);

/* Spectral normalization of a kernel, see cg_spectral_norm. Variable [outputs], frozen: "NAME/u", normal with deviation
 * 0.02. A call in training takes the iterations and keeps u; otherwise u stays as it is. Keras also writes what results
 * into the kernel itself; here the kernel keeps its own scale, as in PyTorch. */
typedef struct cg_spectral_norm_layer cg_spectral_norm_layer;

typedef struct cg_spectral_norm_layer_options {
    char unset_;
    int64_t iterations; /* per call in training; default 1 */
    int axis;           /* of the outputs; 0: the last */
} cg_spectral_norm_layer_options;

#define cg_spectral_norm_new(model, name, kernel, ...) \
    cg_spectral_norm_new_with(model, name, kernel, CG_OPTIONS(cg_spectral_norm_layer_options, __VA_ARGS__))
CG_API cg_spectral_norm_layer *cg_spectral_norm_new_with(cg_model *model, const char *name, cg_variable *kernel,
                                                         const cg_spectral_norm_layer_options *options);

typedef struct cg_spectral_norm_call_options {
    char unset_;
    cg_mode mode; /* overrides the context's training mode for this call */
} cg_spectral_norm_call_options;

#define cg_spectral_norm_call(layer, kernel, ...) \
    cg_spectral_norm_call_with(layer, kernel, CG_OPTIONS(cg_spectral_norm_call_options, __VA_ARGS__))
CG_API cg_tensor cg_spectral_norm_call_with(const cg_spectral_norm_layer *layer, cg_tensor kernel,
                                            const cg_spectral_norm_call_options *options);

CG_END
#endif

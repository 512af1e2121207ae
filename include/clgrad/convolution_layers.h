/* Convolutional layers along one, two or three axes: Keras's Conv1D to Conv3D, DepthwiseConv and Conv1DTranspose to
 * Conv3DTranspose with data_format="channels_first"; PyTorch's Conv1d to Conv3d and ConvTranspose1d to 3d. */
#ifndef CLGRAD_CONVOLUTION_LAYERS_H
#define CLGRAD_CONVOLUTION_LAYERS_H

#include <clgrad/convolution.h>
#include <clgrad/initializers.h>
#include <clgrad/model.h>

CG_BEGIN

/* x [batch, channels, spatial...] -> [batch, outputs, spatial...]: cg_convolution, and a bias per output. Variables
 * "NAME/kernel" [outputs, channels / groups, extents...] and "NAME/bias" [outputs]. Defaults are Keras's: Glorot
 * uniform kernel, whose numbers of inputs and outputs count the extents, zero bias, VALID padding, stride and
 * dilation 1. */
typedef struct cg_conv cg_conv;

typedef struct cg_conv_options {
    char unset_;
    int64_t stride[CG_MAX_SPATIAL], dilation[CG_MAX_SPATIAL]; /* as in cg_convolution */
    cg_padding padding;
    int64_t before[CG_MAX_SPATIAL], after[CG_MAX_SPATIAL]; /* EXPLICIT */
    int64_t groups;                                        /* 0 means 1; `channels`: depthwise */
    cg_initializer initializer;                            /* of the kernel; default CG_GLOROT_UNIFORM */
    cg_initializer bias_initializer;                       /* default CG_ALL_ZEROS */
    cg_penalty kernel_penalty, bias_penalty;
    bool no_bias;
    bool frozen;    /* the variables are not trained */
    cg_dtype dtype; /* CG_F32 (the default) or another floating one */
} cg_conv_options;

/* `extents`: of the kernel, one per spatial axis. NULL after an error: a name taken, sizes that are not positive,
 * groups that do not divide both, no memory. */
#define cg_conv_new(model, name, channels, outputs, extents, ...) \
    cg_conv_new_with(model, name, channels, outputs, extents, CG_OPTIONS(cg_conv_options, __VA_ARGS__))
CG_API cg_conv *cg_conv_new_with(cg_model *model, const char *name, int64_t channels, int64_t outputs, cg_shape extents,
                                 const cg_conv_options *options);
/* Errors: those of cg_convolution. With layer NULL, after an earlier error: null. */
CG_API cg_tensor cg_conv_call(const cg_conv *layer, cg_tensor x);
CG_API cg_variable *cg_conv_kernel(const cg_conv *layer);
CG_API cg_variable *cg_conv_bias(const cg_conv *layer); /* NULL without one */

/* x [batch, channels, spatial...] -> [batch, outputs, spatial...]: cg_transposed_convolution, and a bias per output.
 * Variables "NAME/kernel" [channels, outputs / groups, extents...] and "NAME/bias" [outputs]. Defaults as above. */
typedef struct cg_transposed_conv cg_transposed_conv;

typedef struct cg_transposed_conv_options {
    char unset_;
    int64_t stride[CG_MAX_SPATIAL], dilation[CG_MAX_SPATIAL];
    cg_padding padding;
    int64_t before[CG_MAX_SPATIAL], after[CG_MAX_SPATIAL], output_padding[CG_MAX_SPATIAL];
    int64_t groups;
    cg_initializer initializer, bias_initializer;
    cg_penalty kernel_penalty, bias_penalty;
    bool no_bias, frozen;
    cg_dtype dtype;
} cg_transposed_conv_options;

#define cg_transposed_conv_new(model, name, channels, outputs, extents, ...) \
    cg_transposed_conv_new_with(model, name, channels, outputs, extents, \
                                CG_OPTIONS(cg_transposed_conv_options, __VA_ARGS__))
CG_API cg_transposed_conv *cg_transposed_conv_new_with(cg_model *model, const char *name, int64_t channels,
                                                       int64_t outputs, cg_shape extents,
                                                       const cg_transposed_conv_options *options);
CG_API cg_tensor cg_transposed_conv_call(const cg_transposed_conv *layer, cg_tensor x);
CG_API cg_variable *cg_transposed_conv_kernel(const cg_transposed_conv *layer);
CG_API cg_variable *cg_transposed_conv_bias(const cg_transposed_conv *layer);

CG_END
#endif

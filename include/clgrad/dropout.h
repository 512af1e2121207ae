/* The dropout family beside cg_dropout: what whole channels, images, weights and self-normalizing networks take. All
 * return x itself outside training, unless `.mode` is CG_MODE_TRAINING, which makes them usable at test time (Monte
 * Carlo dropout). What a call draws is the same forwards and backwards. Another rate makes no new plan. */
#ifndef CLGRAD_DROPOUT_H
#define CLGRAD_DROPOUT_H

#include <clgrad/ops.h>

CG_BEGIN

typedef struct cg_noise_options {
    char unset_;
    double rate;  /* of what is dropped */
    int axis;     /* of the channels, where there are any; 0: the second */
    cg_mode mode; /* overrides the context's training mode for this call */
    uint64_t key; /* with has_key */
    bool has_key;
} cg_noise_options;

/* Dropout of whole channels (Tompson et al., 2015): x [batch, channels, ...] of any rank, so SpatialDropout1D to 3D of
 * Keras (whose channels are last: axis -1), Dropout1d to 3d of PyTorch. Each channel of each image is set to 0 with
 * probability `rate` and otherwise multiplied by 1 / (1 - rate). Errors: a rate outside [0, 1], integers, channels that
 * are the first axis. */
#define cg_spatial_dropout(x, ...) cg_spatial_dropout_with(x, CG_OPTIONS(cg_noise_options, __VA_ARGS__))
CG_API cg_tensor cg_spatial_dropout_with(cg_tensor x, const cg_noise_options *options);

/* DropConnect (Wan et al., 2013): dropout of weights, for all examples of the batch alike:
 * cg_matmul(x, cg_drop_connect(cg_value(kernel), .rate = 0.5)). Errors: a rate outside [0, 1], integers. */
#define cg_drop_connect(weights, ...) cg_drop_connect_with(weights, CG_OPTIONS(cg_noise_options, __VA_ARGS__))
CG_API cg_tensor cg_drop_connect_with(cg_tensor weights, const cg_noise_options *options);

/* Stochastic depth (Huang et al., 2016; DropPath): a residual branch x [batch, ...] is set to 0 for whole examples with
 * probability `rate` and otherwise multiplied by 1 / (1 - rate): cg_add(shortcut, cg_stochastic_depth(branch, .rate =
 * 0.1)). One number for the whole batch: cg_dropout with noise_shape of ones. Errors: a rate outside [0, 1], integers,
 * rank 0. */
#define cg_stochastic_depth(x, ...) cg_stochastic_depth_with(x, CG_OPTIONS(cg_noise_options, __VA_ARGS__))
CG_API cg_tensor cg_stochastic_depth_with(cg_tensor x, const cg_noise_options *options);

/* Alpha dropout (Klambauer et al., 2017; Keras's and PyTorch's AlphaDropout): an element becomes selu's value at
 * -infinity, -1.758, with probability `rate`, then all are scaled and shifted so that mean 0 and variance 1 stay. With
 * whole_channels, those of x [batch, channels, ...] (PyTorch's FeatureAlphaDropout). Rate 1 gives zeros. Errors: a rate
 * outside [0, 1], integers. */
typedef struct cg_alpha_dropout_options {
    char unset_;
    double rate;
    bool whole_channels;
    int axis; /* of the channels, with whole_channels; 0: the second */
    cg_mode mode;
    uint64_t key; /* with has_key */
    bool has_key;
} cg_alpha_dropout_options;
#define cg_alpha_dropout(x, ...) cg_alpha_dropout_with(x, CG_OPTIONS(cg_alpha_dropout_options, __VA_ARGS__))
CG_API cg_tensor cg_alpha_dropout_with(cg_tensor x, const cg_alpha_dropout_options *options);

/* Gaussian dropout (Srivastava et al., 2014; Keras's GaussianDropout): x times a normal number of mean 1 and deviation
 * sqrt(rate / (1 - rate)). Errors: a rate outside [0, 1), integers. */
#define cg_gaussian_dropout(x, ...) cg_gaussian_dropout_with(x, CG_OPTIONS(cg_noise_options, __VA_ARGS__))
CG_API cg_tensor cg_gaussian_dropout_with(cg_tensor x, const cg_noise_options *options);
/* x plus a normal number of mean 0 and a deviation (Keras's GaussianNoise); `rate` is not read. Errors: a deviation not
 * finite or negative, integers. */
#define cg_gaussian_noise(x, deviation, ...) \
    cg_gaussian_noise_with(x, deviation, CG_OPTIONS(cg_noise_options, __VA_ARGS__))
CG_API cg_tensor cg_gaussian_noise_with(cg_tensor x, double deviation, const cg_noise_options *options);

CG_END
#endif

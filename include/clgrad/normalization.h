/* Normalizations of features, of channels, and of weights. Variances are biased (divided by n, not n - 1), and epsilon
 * is inside the root. Means and variances are accurate where the variance is small beside the mean.
 *
 * The channels are an axis: 1 in images [batch, channels, height, width], the layout of convolutions. A negative one
 * counts from the end; 0 stands for the default of each function, so the first axis of all is -rank. */
#ifndef CLGRAD_NORMALIZATION_H
#define CLGRAD_NORMALIZATION_H

#include <clgrad/ops.h>

CG_BEGIN

/* Batch normalization (Ioffe, Szegedy, 2015; Keras's BatchNormalization, PyTorch's batch_norm): gamma (x - mean) /
 * sqrt(variance + epsilon) + beta for x of rank 2 or more, floating, with mean and variance over all axes but that of
 * the channels (default: the last, as in Keras; 1 for images). gamma and beta are [channels], or rank 0. mean and
 * variance [channels] are returned for moving averages. A single value per channel gives beta. All null after an error:
 * x of rank below 2, gamma or beta of another shape. */
typedef struct cg_batch_norm_result {
    cg_tensor output, mean, variance;
} cg_batch_norm_result;
typedef struct cg_batch_norm_options {
    char unset_;
    int axis; /* of the channels; 0: the last */
} cg_batch_norm_options;
#define cg_batch_norm(x, gamma, beta, epsilon, ...) \
    cg_batch_norm_with(x, gamma, beta, epsilon, CG_OPTIONS(cg_batch_norm_options, __VA_ARGS__))
CG_API cg_batch_norm_result cg_batch_norm_with(cg_tensor x, cg_tensor gamma, cg_tensor beta, double epsilon,
                                               const cg_batch_norm_options *options);
/* The same with a given mean and variance [channels]. */
#define cg_batch_norm_inference(x, gamma, beta, mean, variance, epsilon, ...) \
    cg_batch_norm_inference_with(x, gamma, beta, mean, variance, epsilon, \
                                 CG_OPTIONS(cg_batch_norm_options, __VA_ARGS__))
CG_API cg_tensor cg_batch_norm_inference_with(cg_tensor x, cg_tensor gamma, cg_tensor beta, cg_tensor mean,
                                              cg_tensor variance, double epsilon, const cg_batch_norm_options *options);

/* Layer normalization (Ba, Kiros, Hinton, 2016; Keras's LayerNormalization, PyTorch's layer_norm): gamma (x - mean) /
 * sqrt(variance + epsilon) + beta, floating, with mean and variance over `axes` (default: the last, as in Keras;
 * CG_AXES(1, 2, 3) for channels and space of images), each on its own along the others. gamma and beta have the extents
 * of these axes in the order of x, or rank 0; null or left out, they are 1 and 0. Errors: gamma or beta of another
 * shape. */
typedef struct cg_layer_norm_options {
    char unset_;
    cg_axes axes;
    cg_tensor gamma, beta;
    double epsilon; /* default 1e-3, Keras's (PyTorch: 1e-5); CG_ZERO for 0 */
} cg_layer_norm_options;
#define cg_layer_norm(x, ...) cg_layer_norm_with(x, CG_OPTIONS(cg_layer_norm_options, __VA_ARGS__))
CG_API cg_tensor cg_layer_norm_with(cg_tensor x, const cg_layer_norm_options *options);

/* Group normalization (Wu, He, 2018; Keras's GroupNormalization, PyTorch's group_norm): the same formula with mean and
 * variance over the channels of a group and all axes behind the batch, the first: x [batch, ..] has `groups` equal
 * groups of neighbouring channels. One group is layer normalization with a gamma per channel; a group for each channel
 * is instance normalization. gamma and beta are [channels] or rank 0; null or left out, they are 1 and 0. Errors:
 * groups that do not divide the channels, channels that are the first axis, gamma or beta of another shape, x of
 * rank 8. */
typedef struct cg_group_norm_options {
    char unset_;
    cg_tensor gamma, beta;
    double epsilon; /* default 1e-3, Keras's (PyTorch: 1e-5); CG_ZERO for 0 */
    int axis;       /* of the channels; 0: the second, as in PyTorch (Keras: the last) */
} cg_group_norm_options;
#define cg_group_norm(x, groups, ...) cg_group_norm_with(x, groups, CG_OPTIONS(cg_group_norm_options, __VA_ARGS__))
CG_API cg_tensor cg_group_norm_with(cg_tensor x, int64_t groups, const cg_group_norm_options *options);
/* Instance normalization (Ulyanov, Vedaldi, Lempitsky, 2016; PyTorch's instance_norm): each channel of each image on
 * its own. Error also: no axes but batch and channels. */
#define cg_instance_norm(x, ...) cg_instance_norm_with(x, CG_OPTIONS(cg_group_norm_options, __VA_ARGS__))
CG_API cg_tensor cg_instance_norm_with(cg_tensor x, const cg_group_norm_options *options);

/* Root mean square normalization (Zhang, Sennrich, 2019; Keras's RMSNormalization, PyTorch's RMSNorm): gamma x /
 * sqrt(mean of x^2 + epsilon) over `axes` (default: the last), floating. gamma has the extents of these axes in the
 * order of x, or rank 0; null or left out, it is 1. Error: gamma of another shape. */
typedef struct cg_rms_norm_options {
    char unset_;
    cg_axes axes;
    cg_tensor gamma;
    double epsilon; /* default 1e-6, Keras's; CG_ZERO for 0 */
} cg_rms_norm_options;
#define cg_rms_norm(x, ...) cg_rms_norm_with(x, CG_OPTIONS(cg_rms_norm_options, __VA_ARGS__))
CG_API cg_tensor cg_rms_norm_with(cg_tensor x, const cg_rms_norm_options *options);

/* Local response normalization across channels (Krizhevsky, Sutskever, Hinton, 2012), by the formula of PyTorch's
 * local_response_norm: x / (k + alpha / size * sum of x^2 over `size` neighbouring channels)^beta, floating. The
 * neighbours are the channels from c - size / 2 to c + (size - 1) / 2, without those outside. TensorFlow's
 * lrn(depth_radius r, bias, alpha, beta) is size = 2 r + 1, k = bias, alpha = size * alpha. Errors: a size outside
 * 1 .. 64. */
typedef struct cg_local_response_norm_options {
    char unset_;
    double alpha, beta, k; /* default 1e-4, 0.75, 1; CG_ZERO for 0 */
    int axis;              /* of the channels; 0: the second */
} cg_local_response_norm_options;
#define cg_local_response_norm(x, size, ...) \
    cg_local_response_norm_with(x, size, CG_OPTIONS(cg_local_response_norm_options, __VA_ARGS__))
CG_API cg_tensor cg_local_response_norm_with(cg_tensor x, int64_t size, const cg_local_response_norm_options *options);

/* Of weights, the axis that their outputs are along: default the last, as in a dense kernel [inputs, outputs]; the
 * first, as in a convolution's, is -rank. */
typedef struct cg_weight_axis_options {
    char unset_;
    int axis; /* 0: the last */
} cg_weight_axis_options;

/* Weight normalization (Salimans, Kingma, 2016; PyTorch's weight_norm): gain * direction / |direction|, where the
 * length is that of all weights of one output, and gain is [outputs]. Infinite or NaN where a direction is 0. Error: a
 * gain of another shape. */
#define cg_weight_norm(direction, gain, ...) \
    cg_weight_norm_with(direction, gain, CG_OPTIONS(cg_weight_axis_options, __VA_ARGS__))
CG_API cg_tensor cg_weight_norm_with(cg_tensor direction, cg_tensor gain, const cg_weight_axis_options *options);

/* Spectral normalization (Miyato et al., 2018; Keras's SpectralNormalization, PyTorch's spectral_norm): the kernel,
 * taken as a matrix W [all other axes, outputs], divided by an estimate of its largest singular value. An iteration is
 * v = W u / |W u|, u = v W / |v W|; without one, v follows from u, which stays. sigma = v W u. u [outputs] is returned
 * for the next call; u and v count as constants in derivatives. A squared length under 1e-12 counts as that. Errors: a
 * kernel of rank 1, u of another shape, a negative number of iterations. */
typedef struct cg_spectral_norm_result {
    cg_tensor kernel, u, sigma;
} cg_spectral_norm_result;
#define cg_spectral_norm(kernel, u, iterations, ...) \
    cg_spectral_norm_with(kernel, u, iterations, CG_OPTIONS(cg_weight_axis_options, __VA_ARGS__))
CG_API cg_spectral_norm_result cg_spectral_norm_with(cg_tensor kernel, cg_tensor u, int64_t iterations,
                                                     const cg_weight_axis_options *options);

CG_END
#endif

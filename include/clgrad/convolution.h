/* Convolutions along one, two or three axes. Channels come first: x is [batch, channels, spatial...], as in PyTorch and
 * in Keras with data_format="channels_first". As everywhere in deep learning what is computed is the cross-correlation:
 * the kernel is not reversed. */
#ifndef CLGRAD_CONVOLUTION_H
#define CLGRAD_CONVOLUTION_H

#include <clgrad/tensor.h>

CG_BEGIN

enum { CG_MAX_SPATIAL = 3 };

/* What is added at the two ends of each spatial axis, as zeros. */
typedef enum cg_padding {
    CG_PADDING_VALID,   /* nothing */
    CG_PADDING_SAME,    /* as much as makes the result ceil(size / stride) long; if odd, the extra at the end (Keras) */
    CG_PADDING_EXPLICIT /* `before` and `after` */
} cg_padding;

/* Per spatial axis, in order. Of stride and dilation, numbers left out repeat the one before, the first being 1:
 * .stride = {2} is 2 along each axis. */
typedef struct cg_convolution_options {
    char unset_;
    int64_t stride[CG_MAX_SPATIAL], dilation[CG_MAX_SPATIAL];
    cg_padding padding;
    int64_t before[CG_MAX_SPATIAL], after[CG_MAX_SPATIAL]; /* EXPLICIT; 0 or more */
    int64_t groups; /* 0 means 1; as many as there are channels: each by itself (depthwise) */
} cg_convolution_options;

/* result[n, o, p...] = sum over c, k... of x[n, first + c, p * stride + k * dilation - before ...] * kernel[o, c,
 * k...], where group o / (outputs / groups) begins at channel `first` and places outside x count as 0. x: [batch,
 * channels, spatial...] with one to three spatial axes; kernel: [outputs, channels / groups, extents...], PyTorch's
 * layout (Keras's [extents..., channels / groups, outputs] permuted by (rank - 1, rank - 2, 0, ...)). Returns [batch,
 * outputs, spatial...] in the operands' common floating dtype. Differentiable in both, to any order. Errors: ranks that
 * do not fit, channels that do not divide into the groups or differ from the kernel's, a kernel that is longer than the
 * padded input, strides and dilations below 1, padding below 0.
 *
 * Rounding: in f32 with kernels of 3x3 or 5x5, strides and dilations of 1 and one group, a CPU computes this, and both
 * gradients, by Winograd's algorithm where that is faster. The result is then within 1e-5 of the largest one of the
 * exact sums, given that the elements of x are of one scale, and those of the kernel. An infinity or NaN in x spreads
 * over whole tiles of results, of 4x4 or 2x2, and elements above 1e36 may overflow. CLGRAD_CONVOLUTION=direct has all
 * sums computed term by term; winograd4 and winograd2 ask for tiles of 4x4 (with 5x5 kernels of 2x2), or of 2x2 (with
 * 3x3 kernels within 1e-6; never for the gradient in the kernel), wherever that is possible. f64 is always direct. */
#define cg_convolution(x, kernel, ...) cg_convolution_with(x, kernel, CG_OPTIONS(cg_convolution_options, __VA_ARGS__))
CG_API cg_tensor cg_convolution_with(cg_tensor x, cg_tensor kernel, const cg_convolution_options *options);

/* Transposed convolution: the gradient that a convolution with these options has in its input, with x as the cotangent.
 * x: [batch, channels, spatial...]; kernel: [channels, outputs / groups, extents...], PyTorch's layout (Keras's
 * [extents..., outputs, channels] permuted likewise). Along each axis the result is (size - 1) * stride + (extent - 1)
 * * dilation + 1 + output_padding - before - after long; with SAME and no output_padding size * stride; with VALID, as
 * in Keras, at least size * stride. Errors: as above; output_padding not below stride or dilation; a result without
 * elements along an axis. */
typedef struct cg_transposed_convolution_options {
    char unset_;
    int64_t stride[CG_MAX_SPATIAL], dilation[CG_MAX_SPATIAL];
    cg_padding padding;
    int64_t before[CG_MAX_SPATIAL], after[CG_MAX_SPATIAL];
    int64_t output_padding[CG_MAX_SPATIAL]; /* at the end of each axis of the result */
    int64_t groups;
} cg_transposed_convolution_options;
#define cg_transposed_convolution(x, kernel, ...) \
    cg_transposed_convolution_with(x, kernel, CG_OPTIONS(cg_transposed_convolution_options, __VA_ARGS__))
CG_API cg_tensor cg_transposed_convolution_with(cg_tensor x, cg_tensor kernel,
                                                const cg_transposed_convolution_options *options);

CG_END
#endif

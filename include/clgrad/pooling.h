/* Pooling along one, two or three axes: of each window its largest element, its mean or its p-norm. Channels come
 * first: x is [batch, channels, spatial...]. Results are floating. All are differentiable to any order. */
#ifndef CLGRAD_POOLING_H
#define CLGRAD_POOLING_H

#include <clgrad/convolution.h>

CG_BEGIN

/* Per spatial axis, in order; numbers left out repeat the one before. Places of the padding count as -inf in a maximum,
 * as 0 in a mean or norm. */
typedef struct cg_pool_options {
    char unset_;
    int64_t stride[CG_MAX_SPATIAL];   /* default: the window's extents */
    int64_t dilation[CG_MAX_SPATIAL]; /* default: 1 */
    cg_padding padding;
    int64_t before[CG_MAX_SPATIAL], after[CG_MAX_SPATIAL]; /* EXPLICIT; 0 or more */
    bool ceil_mode; /* one window more where the last ones would leave elements out, if it begins before the end of
                     * x (PyTorch) */
    bool exclude_padding; /* average: divided by the number of elements of x in the window (Keras; PyTorch's
                           * count_include_pad = False), not by that of elements of x and its padding. With SAME always
                           */
} cg_pool_options;

/* The largest element of each window (Keras: MaxPooling1D-3D; PyTorch: max_pool1d-3d). `window` has one extent per
 * spatial axis. Of equal ones the first in row-major order is taken, and gets all of the cotangent; a NaN wins, of
 * several the last. Errors: a rank that does not fit, a window that is longer than the padded input, one that holds
 * nothing but padding, strides, dilations or extents below 1, padding below 0. */
#define cg_max_pool(x, window, ...) cg_max_pool_with(x, window, CG_OPTIONS(cg_pool_options, __VA_ARGS__))
CG_API cg_tensor cg_max_pool_with(cg_tensor x, cg_shape window, const cg_pool_options *options);
/* The same, and to `indices` (i32) where in its channel each was found, counted row-major. */
#define cg_max_pool_indices(x, window, indices, ...) \
    cg_max_pool_indices_with(x, window, indices, CG_OPTIONS(cg_pool_options, __VA_ARGS__))
CG_API cg_tensor cg_max_pool_indices_with(cg_tensor x, cg_shape window, cg_tensor *indices,
                                          const cg_pool_options *options);
/* The reverse (PyTorch: max_unpool1d-3d): the elements of x put where `indices`, of x's shape, say, into channels of
 * extents `size`, zeros elsewhere. Elements put to one place are added up. Errors: shapes that differ; at the next
 * read, an index outside. */
CG_API cg_tensor cg_max_unpool(cg_tensor x, cg_tensor indices, cg_shape size);

/* The mean of each window (Keras: AveragePooling1D-3D; PyTorch: avg_pool1d-3d). Errors as above. */
#define cg_average_pool(x, window, ...) cg_average_pool_with(x, window, CG_OPTIONS(cg_pool_options, __VA_ARGS__))
CG_API cg_tensor cg_average_pool_with(cg_tensor x, cg_shape window, const cg_pool_options *options);
/* (sum of |x|^p)^(1/p) of each window (PyTorch: lp_pool1d-2d, which for an odd p takes x^p). Subgradient 0 where all
 * are 0. Errors as above; p below 1. */
#define cg_lp_pool(x, window, p, ...) cg_lp_pool_with(x, window, p, CG_OPTIONS(cg_pool_options, __VA_ARGS__))
CG_API cg_tensor cg_lp_pool_with(cg_tensor x, cg_shape window, double p, const cg_pool_options *options);

/* Windows so that the result has the extents `size`: result o of c is of the elements floor(o n / c) up to, and
 * without, ceil((o + 1) n / c) (PyTorch: adaptive_max_pool, adaptive_avg_pool). `indices` may be NULL. Errors: a rank
 * that does not fit, extents below 1, an axis without elements. */
CG_API cg_tensor cg_adaptive_max_pool(cg_tensor x, cg_shape size, cg_tensor *indices);
CG_API cg_tensor cg_adaptive_average_pool(cg_tensor x, cg_shape size);

/* Over all places, [batch, channels] (Keras: GlobalMaxPooling, GlobalAveragePooling). Of equal ones the first wins. */
CG_API cg_tensor cg_global_max_pool(cg_tensor x);
CG_API cg_tensor cg_global_average_pool(cg_tensor x);

CG_END
#endif

/* More activations, so that with those of ops.h the lists of Keras and PyTorch are whole: piecewise ones, gates, slopes
 * that are learned or drawn, and those along an axis. All are floating, but cg_hard_tanh leaves integers integers.
 *
 * By other names: exponential is cg_exp; hardtanh with bounds cg_clip; swish without beta cg_silu; hard_swish
 * cg_hard_silu; softmax over channels (Softmax2d) cg_softmax(x, 1). */
#ifndef CLGRAD_ACTIVATIONS_H
#define CLGRAD_ACTIVATIONS_H

#include <clgrad/ops.h>

CG_BEGIN

/* ---- Elementwise ------------------------------------------------------------------------------------------------- */

/* x limited to [0, 6]; subgradient 0 at both ends. */
CG_API cg_tensor cg_relu6(cg_tensor x);
/* x limited to [-1, 1]; subgradients as cg_clip's. */
CG_API cg_tensor cg_hard_tanh(cg_tensor x);
/* slope x + 1/2 limited to [0, 1]: 0.2 is the hard sigmoid of Keras 2, Theano and ONNX, where cg_hard_sigmoid is that
 * of Keras 3 and PyTorch. Subgradients as cg_clip's. */
CG_API cg_tensor cg_hard_sigmoid_with_slope(cg_tensor x, double slope);
/* The same with slope 1/2, Keras's sparse_sigmoid: the derivative of sparse_plus. */
CG_API cg_tensor cg_sparse_sigmoid(cg_tensor x);
/* 0 up to -1, (x + 1)^2 / 4 up to 1, then x (Keras's sparse_plus). */
CG_API cg_tensor cg_sparse_plus(cg_tensor x);
/* x above the threshold, elsewhere `value`. Subgradient 0 at the threshold. */
CG_API cg_tensor cg_threshold(cg_tensor x, double threshold, double value);
/* x sigmoid(beta x) (Ramachandran, Zoph, Le, 2017). */
CG_API cg_tensor cg_swish(cg_tensor x, double beta);
/* log(1 + e^(beta x)) / beta, and x where beta x is above the threshold (PyTorch: beta 1, threshold 20). Nothing
 * overflows without: INFINITY for none. Error: beta not above 0. */
CG_API cg_tensor cg_softplus_with_beta(cg_tensor x, double beta, double threshold);
/* (x + sqrt(x^2 + b)) / 2 (Barron, 2021; Keras: b 4), without loss far below 0. Error: b not above 0. */
CG_API cg_tensor cg_squareplus(cg_tensor x, double b);

/* ---- Slopes below 0 ---------------------------------------------------------------------------------------------- */

/* x above 0, elsewhere slope x, with slopes that broadcast to x: one for all, or [channels, 1, 1] for images (He et
 * al., 2015). Subgradient at 0: the slope. Error: slopes that do not broadcast to x. The layer is cg_prelu_new. */
CG_API cg_tensor cg_prelu(cg_tensor x, cg_tensor slopes);

/* Randomised leaky rectifier (Xu et al., 2015; PyTorch's RReLU): in training a slope for each element, uniform on
 * [lower, upper); otherwise their mean, (lower + upper) / 2. Errors: bounds not finite or not in order; integers. */
typedef struct cg_rrelu_options {
    char unset_;
    double lower, upper; /* default 1/8 and 1/3; CG_ZERO for 0 */
    cg_mode mode;        /* CG_MODE_TRAINING draws outside training too */
    uint64_t key;        /* with has_key */
    bool has_key;
} cg_rrelu_options;
#define cg_rrelu(x, ...) cg_rrelu_with(x, CG_OPTIONS(cg_rrelu_options, __VA_ARGS__))
CG_API cg_tensor cg_rrelu_with(cg_tensor x, const cg_rrelu_options *options);

/* ---- Gates ------------------------------------------------------------------------------------------------------- */

/* The first half of an axis times a function of the second half: the sigmoid (Dauphin et al., 2017; Keras's and
 * PyTorch's glu), relu, gelu (exact), silu (Shazeer, 2020). Errors: an odd extent, a bad axis. */
CG_API cg_tensor cg_glu(cg_tensor x, int axis);
CG_API cg_tensor cg_reglu(cg_tensor x, int axis);
CG_API cg_tensor cg_geglu(cg_tensor x, int axis);
CG_API cg_tensor cg_swiglu(cg_tensor x, int axis);

/* ---- Along an axis ----------------------------------------------------------------------------------------------- */

/* The largest of the pieces of each unit (Goodfellow et al., 2013): element j units + u of the axis is piece j of unit
 * u, as in TensorFlow Addons. Equal pieces share the cotangent equally. Errors: units that do not divide the extent, x
 * of rank 8. */
CG_API cg_tensor cg_maxout(cg_tensor x, int64_t units, int axis);
/* softmax(-x). */
CG_API cg_tensor cg_softmin(cg_tensor x, int axis);
/* The point of the probability simplex that is nearest to x (Martins, Astudillo, 2016; Keras's sparsemax): max(x - tau,
 * 0), with the tau that makes it sum to 1. An extent n costs n^2 comparisons. Where x is tau the subgradient is that of
 * an element that stays 0. Errors: rank 0, a bad axis, rank 8. */
CG_API cg_tensor cg_sparsemax(cg_tensor x, int axis);

CG_END
#endif

/* The ops: functions from tensors to tensors that record a node and return at once.
 *
 * Common to all: shapes broadcast and dtypes promote as in NumPy, except that an integer or bool together with f32
 * gives f32, and that a scalar from cg_scalar takes the dtype of what it meets. "Floating" ops convert integers and
 * bool to f32 first. An axis may be negative: it then counts from the end. Null in, null out; after an error the result
 * is null and the context holds a message that begins with the op's name. Zero-size tensors and ranks 0 to 8 are
 * allowed unless said otherwise. NaN passes through unless said otherwise.
 * Where a derivative does not exist, the value that gradients take there is stated as "subgradient".
 * docs/ops.md lists all functions with their formulas, dtypes and names in Keras and PyTorch. */
#ifndef CLGRAD_OPS_H
#define CLGRAD_OPS_H

#include <clgrad/op.h>

CG_BEGIN

/* ---- Elementwise, one operand ------------------------------------------------------------------------------------ */

/* -x; u8 wraps. */
CG_API cg_tensor cg_neg(cg_tensor x);
/* |x|. Subgradient 0 at 0. */
CG_API cg_tensor cg_abs(cg_tensor x);
/* -1, 0 or 1 by the sign of x; NaN for NaN. Its derivative is 0 everywhere. */
CG_API cg_tensor cg_sign(cg_tensor x);
/* x * x. */
CG_API cg_tensor cg_square(cg_tensor x);
/* 1 / x, floating; infinite at 0, and so is its derivative. */
CG_API cg_tensor cg_reciprocal(cg_tensor x);
/* 1 / sqrt(x), floating; infinite at 0, NaN below. */
CG_API cg_tensor cg_rsqrt(cg_tensor x);
/* Square root, floating; NaN below 0. The derivative at 0 is infinite, as the limit is: a zero cotangent there gives
 * NaN. Add a small number inside the root where x can be 0. */
CG_API cg_tensor cg_sqrt(cg_tensor x);
/* e^x and the natural logarithm, floating. log(0) is -inf, NaN below 0. */
CG_API cg_tensor cg_exp(cg_tensor x);
CG_API cg_tensor cg_log(cg_tensor x);
/* e^x - 1 and log(1 + x), floating, exact for small x too. log1p(-1) is -inf, NaN below -1. */
CG_API cg_tensor cg_expm1(cg_tensor x);
CG_API cg_tensor cg_log1p(cg_tensor x);
/* Sine, cosine and tangent of radians, floating; NaN at infinities. */
CG_API cg_tensor cg_sin(cg_tensor x);
CG_API cg_tensor cg_cos(cg_tensor x);
CG_API cg_tensor cg_tan(cg_tensor x);
/* Error function 2 / sqrt(pi) times the integral of e^-t^2 from 0 to x, floating; 1 and -1 at infinities. */
CG_API cg_tensor cg_erf(cg_tensor x);
/* The whole number at or below x, at or above it, and nearest to it, of two the even one; integers as they are. Their
 * derivative is 0 everywhere. */
CG_API cg_tensor cg_floor(cg_tensor x);
CG_API cg_tensor cg_ceil(cg_tensor x);
CG_API cg_tensor cg_round(cg_tensor x);
/* x converted to a dtype. Floating to integer truncates towards zero (what NaN and values outside the dtype's range
 * give is up to the device); anything to bool is "not 0"; i32 to u8 wraps. Between floating dtypes the cotangent is
 * converted back; through integers and bool the derivative is 0. x itself where it has the dtype already. */
CG_API cg_tensor cg_cast(cg_tensor x, cg_dtype dtype);
/* x, with derivative 0: what is behind it counts as constant. */
CG_API cg_tensor cg_stop_gradient(cg_tensor x);

/* ---- Activations ------------------------------------------------------------------------------------------------- */

/* Hyperbolic tangent, and 1 / (1 + e^-x), floating; neither overflows. In f32 a sigmoid below 3e-39 may be 0. */
CG_API cg_tensor cg_tanh(cg_tensor x);
CG_API cg_tensor cg_sigmoid(cg_tensor x);
/* log(1 + e^x), floating; neither overflows nor loses small values. Its derivative is the sigmoid. */
CG_API cg_tensor cg_softplus(cg_tensor x);

/* Rectified linear unit with Keras's arguments:
 *   max_value                          where x >= max_value (with has_max_value)
 *   x                                  where threshold <= x < max_value
 *   negative_slope * (x - threshold)   elsewhere
 * Without a slope (0) the last line is 0, for -inf too. Integers keep their dtype in the plain form and become f32 with
 * any argument. Subgradients: negative_slope at threshold, 0 at max_value. */
typedef struct cg_relu_options {
    char unset_;
    double max_value; /* with has_max_value */
    bool has_max_value;
    double negative_slope; /* Keras's alpha */
    double threshold;
} cg_relu_options;
#define cg_relu(x, ...) cg_relu_with(x, CG_OPTIONS(cg_relu_options, __VA_ARGS__))
CG_API cg_tensor cg_relu_with(cg_tensor x, const cg_relu_options *options);

/* Leaky rectified linear unit: relu with a slope below 0 (Keras: 0.3 in the layer, 0.2 in the function; PyTorch 0.01).
 */
CG_API cg_tensor cg_leaky_relu(cg_tensor x, double negative_slope);

/* The following are floating. NaN where the formula is infinity times 0, -inf in silu, gelu and mish, or infinity by
 * infinity: in softsign.
 *
 * Exponential linear units: x above 0; below it alpha (e^x - 1) (Clevert, Unterthiner, Hochreiter, 2016; Keras and
 * PyTorch: alpha 1), the same with the constants of self-normalizing networks (Klambauer et al., 2017), and
 * alpha (e^(x/alpha) - 1), which is smooth for every alpha but 0 (Barron, 2017). Subgradient of the first two at 0:
 * that from below. */
CG_API cg_tensor cg_elu(cg_tensor x, double alpha);
CG_API cg_tensor cg_selu(cg_tensor x);
CG_API cg_tensor cg_celu(cg_tensor x, double alpha);
/* x sigmoid(x), also called swish (Elfwing, Uchibe, Doya, 2018). */
CG_API cg_tensor cg_silu(cg_tensor x);
/* Gaussian error linear unit, x times the normal distribution's probability of less than x (Hendrycks, Gimpel, 2016):
 * exact, and 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))). */
CG_API cg_tensor cg_gelu(cg_tensor x);
CG_API cg_tensor cg_gelu_tanh(cg_tensor x);
/* x tanh(softplus(x)) (Misra, 2020). */
CG_API cg_tensor cg_mish(cg_tensor x);
/* log(sigmoid(x)), which loses nothing where the sigmoid is 0 or 1. */
CG_API cg_tensor cg_log_sigmoid(cg_tensor x);
/* x / (1 + |x|), and x - tanh(x). */
CG_API cg_tensor cg_softsign(cg_tensor x);
CG_API cg_tensor cg_tanh_shrink(cg_tensor x);
/* x / 6 + 1/2 limited to [0, 1], and x times that, also called hard_swish (Howard et al., 2019). Subgradients as
 * cg_clip's. */
CG_API cg_tensor cg_hard_sigmoid(cg_tensor x);
CG_API cg_tensor cg_hard_silu(cg_tensor x);
/* x moved towards 0 by a threshold of 0 or more, and 0 within it; and x itself outside it, 0 within (PyTorch: 0.5).
 * Subgradient 0 at the threshold. */
CG_API cg_tensor cg_soft_shrink(cg_tensor x, double threshold);
CG_API cg_tensor cg_hard_shrink(cg_tensor x, double threshold);

/* x limited to [low, high]; -INFINITY and INFINITY leave a side open. Integers keep their dtype, with the bounds
 * rounded inwards. Subgradient 1 at both bounds, 0 outside them. Errors: low > high, a NaN bound. */
CG_API cg_tensor cg_clip(cg_tensor x, double low, double high);

/* ---- Elementwise, two operands ----------------------------------------------------------------------------------- */

/* a + b, a - b, a b. u8 wraps. Of two bools a bool, true where the number is not 0: or, exclusive or, and. */
CG_API cg_tensor cg_add(cg_tensor a, cg_tensor b);
CG_API cg_tensor cg_sub(cg_tensor a, cg_tensor b);
CG_API cg_tensor cg_mul(cg_tensor a, cg_tensor b);
/* a / b, floating. */
CG_API cg_tensor cg_div(cg_tensor a, cg_tensor b);
/* a^b, floating, with the special cases of C's pow: x^0 is 1 for every x, a negative a with a fractional b is NaN.
 * Derivative in a: b a^(b-1), 0 where b is 0. Derivative in b: a^b log(a), taken as 0 where a <= 0. */
CG_API cg_tensor cg_pow(cg_tensor a, cg_tensor b);
/* The larger and the smaller of a and b; NaN if either is. At ties each operand gets half of the cotangent. Of bools:
 * or, and. */
CG_API cg_tensor cg_maximum(cg_tensor a, cg_tensor b);
CG_API cg_tensor cg_minimum(cg_tensor a, cg_tensor b);

/* ---- Comparison and choice --------------------------------------------------------------------------------------- */

/* Comparisons: bool; false with a NaN, except not_equal, which is true. */
CG_API cg_tensor cg_equal(cg_tensor a, cg_tensor b);
CG_API cg_tensor cg_not_equal(cg_tensor a, cg_tensor b);
CG_API cg_tensor cg_less(cg_tensor a, cg_tensor b);
CG_API cg_tensor cg_less_equal(cg_tensor a, cg_tensor b);
CG_API cg_tensor cg_greater(cg_tensor a, cg_tensor b);
CG_API cg_tensor cg_greater_equal(cg_tensor a, cg_tensor b);
/* Whether x is NaN; whether it is infinite; whether it is neither: bool. */
CG_API cg_tensor cg_is_nan(cg_tensor x);
CG_API cg_tensor cg_is_inf(cg_tensor x);
CG_API cg_tensor cg_is_finite(cg_tensor x);
/* Of operands taken as bool ("not 0", so NaN is true): bool. */
CG_API cg_tensor cg_logical_and(cg_tensor a, cg_tensor b);
CG_API cg_tensor cg_logical_or(cg_tensor a, cg_tensor b);
CG_API cg_tensor cg_logical_not(cg_tensor x);
/* `yes` where condition is not 0, `no` elsewhere; the three broadcast. The branch not taken gets a zero cotangent, so a
 * NaN in its value does not reach the gradient of the other (its own derivative may still make 0 * inf). */
CG_API cg_tensor cg_where(cg_tensor condition, cg_tensor yes, cg_tensor no);

/* ---- Shape ------------------------------------------------------------------------------------------------------- */

/* The same elements, row-major, in another shape; one extent may be -1: what is left over. Errors: another number of
 * elements; more than one -1, or one that a size of 0 leaves open. */
CG_API cg_tensor cg_reshape(cg_tensor x, cg_shape shape);
/* Axis i of the result is axis axes[i] of x. cg_permute(x, CG_AXES(1, 0)) transposes a matrix. Error: axes that are not
 * those of x, each once. */
CG_API cg_tensor cg_permute(cg_tensor x, cg_axes axes);
/* The axes in reverse order, as np.transpose. */
CG_API cg_tensor cg_transpose(cg_tensor x);
/* Two axes exchanged, as np.swapaxes. */
CG_API cg_tensor cg_swap_axes(cg_tensor x, int axis_a, int axis_b);
/* x repeated along axes of extent 1 and along new axes in front. Errors: sizes that do not broadcast. */
CG_API cg_tensor cg_broadcast_to(cg_tensor x, cg_shape shape);
/* The reverse, and its derivative: x summed over the axes along which `shape` broadcasts to x's shape. */
CG_API cg_tensor cg_sum_to_shape(cg_tensor x, cg_shape shape);

/* start:stop:step of one axis with Python's meaning: negative positions count from the end, positions outside are
 * limited, a negative step walks backwards, CG_NONE leaves a bound open. */
typedef struct cg_range {
    int64_t start, stop, step;
} cg_range;
#define CG_NONE INT64_MIN
#define CG_RANGE(start, stop, step) CG_LITERAL(cg_range, start, stop, step)
#define CG_WHOLE CG_RANGE(CG_NONE, CG_NONE, 1)
typedef struct cg_ranges {
    int count;
    cg_range range[CG_MAX_RANK];
} cg_ranges;
/* cg_slice(x, CG_RANGE(1, -1, 1), CG_RANGE(CG_NONE, CG_NONE, -1)) is x[1:-1, ::-1]; further axes are taken whole.
 * Errors: a step of 0, more ranges than axes. */
#define cg_slice(x, ...) cg_slice_with(x, CG_LITERAL(cg_ranges, CG_COUNT(cg_range, __VA_ARGS__), {__VA_ARGS__}))
CG_API cg_tensor cg_slice_with(cg_tensor x, cg_ranges ranges);
/* x[start:stop] along one axis. */
CG_API cg_tensor cg_slice_axis(cg_tensor x, int axis, int64_t start, int64_t stop);

/* `before` and `after` elements of `value` (default 0) put around each axis. Errors: a list that does not have one
 * entry per axis, a negative entry. */
typedef struct cg_pad_options {
    char unset_;
    double value;
} cg_pad_options;
#define cg_pad(x, before, after, ...) cg_pad_with(x, before, after, CG_OPTIONS(cg_pad_options, __VA_ARGS__))
CG_API cg_tensor cg_pad_with(cg_tensor x, cg_shape before, cg_shape after, const cg_pad_options *options);

/* The tensors one after the other along an axis; dtypes promote. Null if none is given. Errors: rank 0, extents of
 * other axes that differ. */
CG_API cg_tensor cg_concat(const cg_tensor *tensors, int count, int axis);
/* The tensors, of one shape, along a new axis of the result; dtypes promote. Null if none is given. Errors: shapes that
 * differ, an axis that is none of the result's. */
CG_API cg_tensor cg_stack(const cg_tensor *tensors, int count, int axis);
/* The reverse of concat: `parts` equal parts along an axis, to `results`. False, with all of them null, after an error:
 * an extent that does not divide. */
CG_API bool cg_split(cg_tensor x, int parts, int axis, cg_tensor *results);

typedef struct cg_axes_options {
    char unset_;
    cg_axes axes;
} cg_axes_options;
/* Without the axes of extent 1, or without those given. Error: one of another extent. */
#define cg_squeeze(x, ...) cg_squeeze_with(x, CG_OPTIONS(cg_axes_options, __VA_ARGS__))
CG_API cg_tensor cg_squeeze_with(cg_tensor x, const cg_axes_options *options);
/* With an axis of extent 1 as axis `axis` of the result, as np.expand_dims. Errors: an axis that is none of the
 * result's, x of rank 8. */
CG_API cg_tensor cg_expand_dims(cg_tensor x, int axis);
/* Backwards along all axes, or those given. */
#define cg_flip(x, ...) cg_flip_with(x, CG_OPTIONS(cg_axes_options, __VA_ARGS__))
CG_API cg_tensor cg_flip_with(cg_tensor x, const cg_axes_options *options);
/* Moved by `shift` places along an axis; what leaves at one end comes in at the other. */
CG_API cg_tensor cg_roll(cg_tensor x, int64_t shift, int axis);
/* Each element `times` times in a row along an axis, as np.repeat; and all of x repeated times[i] times along axis i,
 * counted from the last, as np.tile. Error: a negative number. */
CG_API cg_tensor cg_repeat(cg_tensor x, int64_t times, int axis);
CG_API cg_tensor cg_tile(cg_tensor x, cg_shape times);

/* ---- Reductions -------------------------------------------------------------------------------------------------- */

/* Over `axes` (default: all), which the result keeps with extent 1 if `keepdims`. Errors, of all: an axis outside the
 * rank or named twice. */
typedef struct cg_reduce_options {
    char unset_;
    cg_axes axes;
    bool keepdims;
} cg_reduce_options;
/* Sum; of u8 and bool an i32. 0 over an empty axis. */
#define cg_sum(x, ...) cg_sum_with(x, CG_OPTIONS(cg_reduce_options, __VA_ARGS__))
/* Product; of u8 and bool an i32. 1 over an empty axis. The derivative is exact where there are zeros, to every order.
 */
#define cg_prod(x, ...) cg_prod_with(x, CG_OPTIONS(cg_reduce_options, __VA_ARGS__))
/* Variance, floating: the mean of the squared distances from the mean (divided by n, not n - 1); NaN over an empty
 * axis. Accurate where the mean is large. */
#define cg_var(x, ...) cg_var_with(x, CG_OPTIONS(cg_reduce_options, __VA_ARGS__))
/* Mean, floating; NaN over an empty axis. */
#define cg_mean(x, ...) cg_mean_with(x, CG_OPTIONS(cg_reduce_options, __VA_ARGS__))
/* Largest and smallest; NaN if there is one. Equal ones share the cotangent equally; a NaN gets none. Of bools: any,
 * all. Error: over an empty axis. */
#define cg_max(x, ...) cg_max_with(x, CG_OPTIONS(cg_reduce_options, __VA_ARGS__))
#define cg_min(x, ...) cg_min_with(x, CG_OPTIONS(cg_reduce_options, __VA_ARGS__))
/* Whether all, whether any elements are not 0: bool. True and false over an empty axis. */
#define cg_all(x, ...) cg_all_with(x, CG_OPTIONS(cg_reduce_options, __VA_ARGS__))
#define cg_any(x, ...) cg_any_with(x, CG_OPTIONS(cg_reduce_options, __VA_ARGS__))
/* log of the sum of e^x, floating, without overflow; -inf where all are -inf, inf where one is inf (the gradient is NaN
 * at both). Error: over an empty axis. */
#define cg_logsumexp(x, ...) cg_logsumexp_with(x, CG_OPTIONS(cg_reduce_options, __VA_ARGS__))
/* Position of the largest and of the smallest, i32: the first of equal ones; the first NaN if there is one. Over
 * several axes, the row-major position among them. Error: over an empty axis. */
#define cg_argmax(x, ...) cg_argmax_with(x, CG_OPTIONS(cg_reduce_options, __VA_ARGS__))
#define cg_argmin(x, ...) cg_argmin_with(x, CG_OPTIONS(cg_reduce_options, __VA_ARGS__))
CG_API cg_tensor cg_sum_with(cg_tensor x, const cg_reduce_options *options);
CG_API cg_tensor cg_prod_with(cg_tensor x, const cg_reduce_options *options);
CG_API cg_tensor cg_var_with(cg_tensor x, const cg_reduce_options *options);
CG_API cg_tensor cg_mean_with(cg_tensor x, const cg_reduce_options *options);
CG_API cg_tensor cg_max_with(cg_tensor x, const cg_reduce_options *options);
CG_API cg_tensor cg_min_with(cg_tensor x, const cg_reduce_options *options);
CG_API cg_tensor cg_all_with(cg_tensor x, const cg_reduce_options *options);
CG_API cg_tensor cg_any_with(cg_tensor x, const cg_reduce_options *options);
CG_API cg_tensor cg_logsumexp_with(cg_tensor x, const cg_reduce_options *options);
CG_API cg_tensor cg_argmax_with(cg_tensor x, const cg_reduce_options *options);
CG_API cg_tensor cg_argmin_with(cg_tensor x, const cg_reduce_options *options);

/* ---- Products and normalised exponentials ------------------------------------------------------------------------ */

/* Matrix product as np.matmul, floating: [..., m, k] x [..., k, n] -> [..., m, n], leading axes broadcast. A rank-1
 * operand is a row on the left, a column on the right, and its axis is missing from the result. 0 where k is 0.
 * Errors: rank 0, inner sizes that differ, leading axes that do not broadcast, more than 2^30 rows, columns, summands
 * or products. */
CG_API cg_tensor cg_matmul(cg_tensor a, cg_tensor b);

/* e^x / sum e^x along one axis, and its logarithm, floating. The largest is subtracted first, so nothing overflows. A
 * slice that is all -inf, or holds inf or NaN, gives NaN, as with NumPy's formula. Errors: rank 0, a bad axis. */
CG_API cg_tensor cg_softmax(cg_tensor x, int axis);
CG_API cg_tensor cg_log_softmax(cg_tensor x, int axis);

/* ---- Indices ----------------------------------------------------------------------------------------------------- */

/* Indices are i32 or u8 and lie in [0, extent): one outside, negative ones included, is reported with its value at the
 * next read or wait, and nothing is read or written for it. The kernel that meets it reports: where none runs, since
 * the result has no elements or nothing asks for it, there is no report. No derivative flows into indices. */

/* labels [...] -> [..., depth] of `dtype` (default f32): 1 at the label, 0 elsewhere. Errors: labels that are not i32
 * or u8 or have rank 8, a negative depth. */
typedef struct cg_dtype_options {
    char unset_;
    cg_dtype dtype;
} cg_dtype_options;
#define cg_one_hot(labels, depth, ...) cg_one_hot_with(labels, depth, CG_OPTIONS(cg_dtype_options, __VA_ARGS__))
CG_API cg_tensor cg_one_hot_with(cg_tensor labels, int64_t depth, const cg_dtype_options *options);
/* As np.take: `axis` of x is replaced by the axes of `indices`, result[.., k.., ..] = x[.., indices[k..], ..]. Errors:
 * indices that are not i32 or u8, a result of more than 8 axes. */
CG_API cg_tensor cg_gather(cg_tensor x, cg_tensor indices, int axis);
/* The reverse, and its derivative: the axes of `indices`, which start at `axis` of updates, are replaced by one of
 * extent `size`; element j along it is the sum of the updates whose index is j, added in the order of the indices, so
 * that the result is the same on every run. A negative axis counts from the end of the result. Errors: axes of updates
 * that are not those of the indices; bools. */
CG_API cg_tensor cg_scatter_add(cg_tensor updates, cg_tensor indices, int axis, int64_t size);

/* ---- Made from nothing ------------------------------------------------------------------------------------------- */

/* Errors, of all: a negative extent, a dtype that there is not. */

/* Every element `value`: an argument of kernels, so another value makes no new plan. */
#define cg_full(cg, shape, value, ...) cg_full_with(cg, shape, value, CG_OPTIONS(cg_dtype_options, __VA_ARGS__))
CG_API cg_tensor cg_full_with(cg_context *cg, cg_shape shape, double value, const cg_dtype_options *options);
/* The literals 0 and 1, which fold into kernels. */
#define cg_zeros(cg, shape, ...) cg_zeros_with(cg, shape, CG_OPTIONS(cg_dtype_options, __VA_ARGS__))
#define cg_ones(cg, shape, ...) cg_ones_with(cg, shape, CG_OPTIONS(cg_dtype_options, __VA_ARGS__))
CG_API cg_tensor cg_zeros_with(cg_context *cg, cg_shape shape, const cg_dtype_options *options);
CG_API cg_tensor cg_ones_with(cg_context *cg, cg_shape shape, const cg_dtype_options *options);
/* 0, 1, ..., count - 1, as i32 (cast it for another dtype). */
CG_API cg_tensor cg_iota(cg_context *cg, int64_t count);

/* ---- Random ------------------------------------------------------------------------------------------------------ */

/* Each call takes the next number of the context's counter, or `key` with has_key: the numbers are a function of the
 * context's seed, that number and the position, the same on every device. They are f32, converted to the dtype. */

/* Uniform on [low, high), in steps of (high - low) / 2^24. low and high both left out: 0 and 1. Error, here and of
 * cg_normal: a dtype that is not floating. */
typedef struct cg_uniform_options {
    char unset_;
    double low, high;
    cg_dtype dtype; /* floating; default CG_F32 */
    uint64_t key;   /* with has_key */
    bool has_key;
} cg_uniform_options;
#define cg_uniform(cg, shape, ...) cg_uniform_with(cg, shape, CG_OPTIONS(cg_uniform_options, __VA_ARGS__))
CG_API cg_tensor cg_uniform_with(cg_context *cg, cg_shape shape, const cg_uniform_options *options);

/* Normal with a mean (default 0) and a standard deviation (default 1; CG_ZERO for none). */
typedef struct cg_normal_options {
    char unset_;
    double mean, deviation;
    cg_dtype dtype; /* floating; default CG_F32 */
    uint64_t key;   /* with has_key */
    bool has_key;
} cg_normal_options;
#define cg_normal(cg, shape, ...) cg_normal_with(cg, shape, CG_OPTIONS(cg_normal_options, __VA_ARGS__))
CG_API cg_tensor cg_normal_with(cg_context *cg, cg_shape shape, const cg_normal_options *options);

/* 1 with a probability, else 0; of any dtype. Error: a probability outside [0, 1]. */
typedef struct cg_bernoulli_options {
    char unset_;
    cg_dtype dtype; /* default CG_F32 */
    uint64_t key;   /* with has_key */
    bool has_key;
} cg_bernoulli_options;
#define cg_bernoulli(cg, shape, probability, ...) \
    cg_bernoulli_with(cg, shape, probability, CG_OPTIONS(cg_bernoulli_options, __VA_ARGS__))
CG_API cg_tensor cg_bernoulli_with(cg_context *cg, cg_shape shape, double probability,
                                   const cg_bernoulli_options *options);

/* Overrides the context's training mode for one call. */
typedef enum cg_mode { CG_MODE_CONTEXT = 0, CG_MODE_TRAINING, CG_MODE_INFERENCE } cg_mode;

/* Dropout (Srivastava et al., 2014). In training, each unit is set to 0 with probability `rate` and otherwise
 * multiplied by 1 / (1 - rate); outside training, x itself. A dropped unit gets a zero cotangent. Rate 1 gives zeros.
 * Another rate makes no new plan. Errors: a rate outside [0, 1]; integers; a noise_shape that does not broadcast to x.
 * dropout.h has the rest of the family. */
typedef struct cg_dropout_options {
    char unset_;
    double rate;
    cg_shape noise_shape; /* Keras's: units along axes of extent 1 are dropped together; default: that of x */
    cg_mode mode;
    uint64_t key; /* with has_key */
    bool has_key;
} cg_dropout_options;
#define cg_dropout(x, ...) cg_dropout_with(x, CG_OPTIONS(cg_dropout_options, __VA_ARGS__))
CG_API cg_tensor cg_dropout_with(cg_tensor x, const cg_dropout_options *options);

CG_END
#endif

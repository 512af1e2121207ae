/* Scans and sorts along one axis, and what is made of them: running sums, products and extremes; sort, argsort, top-k;
 * median and quantiles; counts. Results are the same bit for bit in each run, and sorts the same on every device. An
 * axis may be negative and may have any extent, 0 included, unless said otherwise. Errors, of all: an axis that the
 * tensor does not have. */
#ifndef CLGRAD_SCANS_H
#define CLGRAD_SCANS_H

#include <clgrad/ops.h>

CG_BEGIN

/* ---- Scans ------------------------------------------------------------------------------------------------------- */

typedef struct cg_scan_options {
    char unset_;
    bool reverse;   /* from the end of the axis */
    bool exclusive; /* without the element itself: the first is 0 in a sum, 1 in a product */
} cg_scan_options;
/* y[k] = x[0] + ... + x[k] along the axis (NumPy, PyTorch, TensorFlow: cumsum); of u8 and bool an i32. Long sums are
 * sums of sums of blocks, so that rounding does not grow with the length. */
#define cg_cumsum(x, axis, ...) cg_cumsum_with(x, axis, CG_OPTIONS(cg_scan_options, __VA_ARGS__))
CG_API cg_tensor cg_cumsum_with(cg_tensor x, int axis, const cg_scan_options *options);
/* y[k] = x[0] ... x[k] (cumprod); of u8 and bool an i32. The derivative is exact where there are zeros, to every order.
 * Axes of more than 4096 elements may be multiplied in blocks of 1024: where the product of a whole block overflows and
 * what stands before it is 0, there is NaN from there on. */
#define cg_cumprod(x, axis, ...) cg_cumprod_with(x, axis, CG_OPTIONS(cg_scan_options, __VA_ARGS__))
CG_API cg_tensor cg_cumprod_with(cg_tensor x, int axis, const cg_scan_options *options);

typedef struct cg_extreme_options {
    char unset_;
    bool reverse;       /* from the end of the axis */
    cg_tensor *indices; /* if not NULL, is given where along the axis each was found, i32 */
} cg_extreme_options;
/* The largest and the smallest of x[0], ..., x[k] (PyTorch: cummax, cummin; NumPy: maximum.accumulate). Once there has
 * been a NaN, NaN. Of equal ones, as -0 and 0 are, the index is that of the last one met, as is PyTorch's, and it gets
 * all of the cotangent; of NaNs the last one met does. */
#define cg_cummax(x, axis, ...) cg_cummax_with(x, axis, CG_OPTIONS(cg_extreme_options, __VA_ARGS__))
#define cg_cummin(x, axis, ...) cg_cummin_with(x, axis, CG_OPTIONS(cg_extreme_options, __VA_ARGS__))
CG_API cg_tensor cg_cummax_with(cg_tensor x, int axis, const cg_extreme_options *options);
CG_API cg_tensor cg_cummin_with(cg_tensor x, int axis, const cg_extreme_options *options);

/* ---- Sorts ------------------------------------------------------------------------------------------------------- */

/* Sorts are stable: equal elements keep their order, descending too; -0 equals 0. NaN counts as larger than infinity:
 * it is last ascending and first descending (PyTorch, and NumPy's order of NaN). Equal elements get the cotangents of
 * the places that they went to. Error: an axis of more than 2^31 - 1 elements. */
typedef struct cg_sort_options {
    char unset_;
    bool descending;
} cg_sort_options;
#define cg_sort(x, axis, ...) cg_sort_with(x, axis, CG_OPTIONS(cg_sort_options, __VA_ARGS__))
CG_API cg_tensor cg_sort_with(cg_tensor x, int axis, const cg_sort_options *options);
/* The order, i32: cg_gather_along(x, cg_argsort(x, axis), axis) is cg_sort(x, axis). */
#define cg_argsort(x, axis, ...) cg_argsort_with(x, axis, CG_OPTIONS(cg_sort_options, __VA_ARGS__))
CG_API cg_tensor cg_argsort_with(cg_tensor x, int axis, const cg_sort_options *options);

/* The k largest along an axis, in descending order (PyTorch, TensorFlow: topk, top_k), or the smallest, in ascending
 * order; to `indices`, unless NULL, where they were, i32. They are the first k of the sort above. Error: k below 0 or
 * above the extent of the axis. */
typedef struct cg_top_k_options {
    char unset_;
    bool smallest;
} cg_top_k_options;
#define cg_top_k(x, k, axis, indices, ...) cg_top_k_with(x, k, axis, indices, CG_OPTIONS(cg_top_k_options, __VA_ARGS__))
CG_API cg_tensor cg_top_k_with(cg_tensor x, int64_t k, int axis, cg_tensor *indices, const cg_top_k_options *options);

/* With an index for each line along the axis (NumPy: take_along_axis; PyTorch: gather, with equal shapes otherwise):
 * result[.., k, ..] = x[.., indices[.., k, ..], ..]. Indices are i32 or u8, checked as cg_gather's are. Errors: extents
 * of other axes that differ. */
CG_API cg_tensor cg_gather_along(cg_tensor x, cg_tensor indices, int axis);
/* The reverse, and its derivative (PyTorch: scatter_add, onto zeros): element j along an axis of extent `size` is the
 * sum of the updates of its line whose index is j, added in their order. Errors: shapes that differ, bools. */
CG_API cg_tensor cg_scatter_add_along(cg_tensor updates, cg_tensor indices, int axis, int64_t size);

/* ---- Order statistics and counts --------------------------------------------------------------------------------- */

/* Where a quantile lies between two elements: NumPy's names for the rules (its default is linear). */
typedef enum cg_quantile_rule {
    CG_QUANTILE_LINEAR = 0, /* in between, in proportion */
    CG_QUANTILE_LOWER,      /* the smaller */
    CG_QUANTILE_HIGHER,     /* the larger */
    CG_QUANTILE_NEAREST,    /* the nearer; of both, the one of even rank */
    CG_QUANTILE_MIDPOINT    /* their mean */
} cg_quantile_rule;
typedef struct cg_quantile_options {
    char unset_;
    cg_axes axes; /* default: all */
    bool keepdims;
    cg_quantile_rule rule;
} cg_quantile_options;
/* The element of rank q (n - 1) of the n sorted ones over the axes, floating (NumPy, PyTorch: quantile); NaN if there
 * is one. The elements that it lies between get their shares of the cotangent, of equal ones those that the stable sort
 * puts there. Errors: q outside [0, 1] or NaN; over an empty axis. */
#define cg_quantile(x, q, ...) cg_quantile_with(x, q, CG_OPTIONS(cg_quantile_options, __VA_ARGS__))
CG_API cg_tensor cg_quantile_with(cg_tensor x, double q, const cg_quantile_options *options);
/* The quantile of 1/2, as NumPy's median: of an even number of elements the mean of the two in the middle (PyTorch's
 * is the smaller). */
#define cg_median(x, ...) cg_median_with(x, CG_OPTIONS(cg_reduce_options, __VA_ARGS__))
CG_API cg_tensor cg_median_with(cg_tensor x, const cg_reduce_options *options);

/* How often each of 0, ..., bins - 1 is among the indices, of any shape, i32; or the sum of the weights, of the same
 * shape, at each, in their dtype, of u8 an i32 (NumPy, PyTorch: bincount; TensorFlow: math.bincount). Indices are i32
 * or u8; one outside, negative ones included, is reported at the next read, and not counted. After an error weights
 * that are null count as failed, and so is the result. Errors: weights of another shape, or bools; negative bins. */
typedef struct cg_bincount_options {
    char unset_;
    cg_tensor weights;
} cg_bincount_options;
#define cg_bincount(indices, bins, ...) cg_bincount_with(indices, bins, CG_OPTIONS(cg_bincount_options, __VA_ARGS__))
CG_API cg_tensor cg_bincount_with(cg_tensor indices, int64_t bins, const cg_bincount_options *options);

CG_END
#endif

/* Where elements of images and volumes lie: other sizes, patches, blocks as channels. Channels come first: x is [batch,
 * channels, spatial...] with one to three spatial axes. All are differentiable to any order. */
#ifndef CLGRAD_GEOMETRY_H
#define CLGRAD_GEOMETRY_H

#include <clgrad/convolution.h>

CG_BEGIN

/* What lies between elements. NEAREST: the nearest element; integers keep their dtype. The others are floating. LINEAR
 * along each axis: of the two elements around a place, weighted by closeness ("bilinear", "trilinear"). CUBIC: of the
 * four around it, weighted by Keys's kernel with a = -0.75 ("bicubic"; Keys, 1981; PyTorch's). */
typedef enum cg_interpolation { CG_LINEAR, CG_NEAREST, CG_CUBIC } cg_interpolation;

/* Which place along an axis of n elements element o of m comes from:
 *   HALF_PIXEL     (o + 1/2) n / m - 1/2, so that both cover the same stretch (PyTorch's align_corners=False, Keras 3)
 *   ALIGN_CORNERS  o (n - 1) / (m - 1), so that first and last elements coincide; 0 where m is 1
 *   ASYMMETRIC     o n / m, so that the first ones do (ONNX's name)
 * Outside the first and last element x goes on with their values. The nearest element of HALF_PIXEL is PyTorch's
 * "nearest-exact", floor((o + 1/2) n / m), and of ALIGN_CORNERS the place rounded, halves up; of ASYMMETRIC it is
 * PyTorch's "nearest", floor(o n / m). Places are worked out in integers: none is a neighbour of the right one. */
typedef enum cg_coordinates {
    CG_COORDINATES_HALF_PIXEL,
    CG_COORDINATES_ALIGN_CORNERS,
    CG_COORDINATES_ASYMMETRIC
} cg_coordinates;

typedef struct cg_resize_options {
    char unset_;
    cg_interpolation interpolation;
    cg_coordinates coordinates;
} cg_resize_options;

/* x with one to three spatial axes of the extents `size` (Keras: Resizing without antialiasing; PyTorch: interpolate,
 * whose scale_factor, where it is given, is size / n here). Errors: a rank that does not fit, extents below 1, an axis
 * without elements. */
#define cg_resize(x, size, ...) cg_resize_with(x, size, CG_OPTIONS(cg_resize_options, __VA_ARGS__))
CG_API cg_tensor cg_resize_with(cg_tensor x, cg_shape size, const cg_resize_options *options);
/* The same to `factors` times the extents, one per spatial axis, or one for all (Keras: UpSampling1D-3D, whose default
 * is NEAREST; PyTorch: Upsample). Errors: as above; a factor below 1 or above 65535. */
#define cg_upsample(x, factors, ...) cg_upsample_with(x, factors, CG_OPTIONS(cg_resize_options, __VA_ARGS__))
CG_API cg_tensor cg_upsample_with(cg_tensor x, cg_shape factors, const cg_resize_options *options);

/* Per spatial axis, in order; numbers left out repeat the one before, the first being 1. */
typedef struct cg_patch_options {
    char unset_;
    int64_t stride[CG_MAX_SPATIAL], dilation[CG_MAX_SPATIAL];
    cg_padding padding;                                    /* with zeros */
    int64_t before[CG_MAX_SPATIAL], after[CG_MAX_SPATIAL]; /* EXPLICIT; 0 or more */
} cg_patch_options;

/* The windows of x as columns: [batch, channels * elements of a window, windows], of each channel the elements in
 * row-major order (PyTorch: Unfold, 2D; Keras's extract_patches has the channels last). Integers keep their dtype.
 * Errors: a rank that does not fit, a window that is longer than the padded input, extents, strides or dilations below
 * 1, padding below 0. */
#define cg_unfold(x, window, ...) cg_unfold_with(x, window, CG_OPTIONS(cg_patch_options, __VA_ARGS__))
CG_API cg_tensor cg_unfold_with(cg_tensor x, cg_shape window, const cg_patch_options *options);
/* Its transpose: patches [batch, channels * elements of a window, windows] added up where they come from, [batch,
 * channels, size...] (PyTorch: Fold, 2D). Errors: as above; another number of windows than these extents have, of
 * channels than windows' elements divide; bools. */
#define cg_fold(patches, size, window, ...) \
    cg_fold_with(patches, size, window, CG_OPTIONS(cg_patch_options, __VA_ARGS__))
CG_API cg_tensor cg_fold_with(cg_tensor patches, cg_shape size, cg_shape window, const cg_patch_options *options);

/* Each block of channels becomes a block of elements: [batch, channels * f1 f2 ..., n1, n2 ...] to [batch, channels,
 * n1 f1, n2 f2 ...], of a channel's block the last factor fastest; and back (PyTorch: PixelShuffle, PixelUnshuffle, 2D;
 * TensorFlow's depth_to_space has the channel fastest). One factor per spatial axis, or one for all. Errors: a rank
 * that does not fit, a factor below 1 or above 65535, channels or extents that do not divide. */
CG_API cg_tensor cg_pixel_shuffle(cg_tensor x, cg_shape factors);
CG_API cg_tensor cg_pixel_unshuffle(cg_tensor x, cg_shape factors);

/* Where places are that lie beyond the outermost elements. Each element is a cell around its place. */
typedef enum cg_grid_padding {
    CG_GRID_ZEROS,     /* among zeros */
    CG_GRID_BORDER,    /* at the nearest place that an element has */
    CG_GRID_REFLECTION /* where mirrors show them, at the outermost elements with align_corners, at the outer edges of
                        * their cells without */
} cg_grid_padding;

/* The values that x [batch, channels, spatial...] with two or three spatial axes takes at the places that the grid
 * [batch, points..., axes] names, [batch, channels, points...] (PyTorch: grid_sample). A place is a list of coordinates
 * from -1 to 1, those along the last axis first: with align_corners -1 and 1 are the places of the outermost elements,
 * without the outer edges of their cells. NEAREST rounds to the even one of two. Floating; differentiable in x, by sums
 * in an order that is always the same, and but for NEAREST in the grid, to any order. Subgradients in the grid: that
 * from above where a coordinate meets an element; 0 at the outermost elements with BORDER and REFLECTION, and beyond
 * with BORDER. A place with a coordinate that is NaN gives 0, with the gradient 0 (PyTorch: 0 or NaN, by the
 * device). Errors: ranks or batches that do not fit, x without elements. */
typedef struct cg_grid_sample_options {
    char unset_;
    cg_interpolation interpolation;
    cg_grid_padding padding;
    bool align_corners;
} cg_grid_sample_options;
#define cg_grid_sample(x, grid, ...) cg_grid_sample_with(x, grid, CG_OPTIONS(cg_grid_sample_options, __VA_ARGS__))
CG_API cg_tensor cg_grid_sample_with(cg_tensor x, cg_tensor grid, const cg_grid_sample_options *options);

/* The grid of an affine map: of each place of a lattice of the extents `size`, whose coordinates c are as above, the
 * place theta (c, 1), with theta [batch, axes, axes + 1]: [batch, size..., axes] (PyTorch: affine_grid). Errors: a
 * shape that does not fit, extents below 1. */
typedef struct cg_affine_grid_options {
    char unset_;
    bool align_corners;
} cg_affine_grid_options;
#define cg_affine_grid(theta, size, ...) \
    cg_affine_grid_with(theta, size, CG_OPTIONS(cg_affine_grid_options, __VA_ARGS__))
CG_API cg_tensor cg_affine_grid_with(cg_tensor theta, cg_shape size, const cg_affine_grid_options *options);

CG_END
#endif

/* Patches of images and volumes as columns and back (unfold, fold), and blocks of elements as channels and back (pixel
 * shuffle). No descriptors: unfold is a view of windows, fold their sum, and the others permute axes, so derivatives of
 * every order come from those. */
#include "ops/windows.h"

#include <clgrad/geometry.h>

/* ---- unfold, fold ------------------------------------------------------------------------------------------------ */

static bool refuse(cg_tensor x, const char *op, int axis, const char *why, int64_t number)
{
    cg_report(cg_context_of(x), CG_ERROR_ARGUMENT, op, "%s: spatial axis %d has %s %lld", cg_tensor_text(x), axis, why,
              (long long)number);
    return false;
}

/* Counts the windows along an axis of which size, extent, stride and dilation are known. Messages are about x. */
static bool place_window(cg_tensor x, const char *op, int i, cg_window *w, const cg_patch_options *o)
{
    int64_t after = 0;
    if (w->extent < 1) return refuse(x, op, i, "a window of", w->extent);
    if (w->stride < 1) return refuse(x, op, i, "a stride of", w->stride);
    if (w->dilation < 1) return refuse(x, op, i, "a dilation of", w->dilation);
    if (w->size < 1) return refuse(x, op, i, "an extent of", w->size);
    if (o->padding == CG_PADDING_SAME) {
        cg_window_pad_same(w, &after);
        return true;
    }
    if (o->padding == CG_PADDING_EXPLICIT) {
        w->before = o->before[i];
        after = o->after[i];
    }
    if (w->before < 0 || after < 0) return refuse(x, op, i, "a padding of", w->before < 0 ? w->before : after);
    const int64_t room = w->size + w->before + after - cg_window_reach(w);
    if (room < 0) return refuse(x, op, i, "fewer elements, with padding, than the window's", cg_window_reach(w));
    w->count = room / w->stride + 1;
    return true;
}

/* Windows on axes of the extents `size`. */
static bool place_windows(cg_tensor x, const char *op, const int64_t *size, cg_shape window, const cg_patch_options *o,
                          cg_window *windows)
{
    for (int i = 0; i < window.rank; i++) {
        cg_window *w = &windows[i];
        *w = (cg_window){.size = size[i], .extent = window.size[i]};
        w->stride = o->stride[i] ? o->stride[i] : i > 0 ? windows[i - 1].stride : 1;
        w->dilation = o->dilation[i] ? o->dilation[i] : i > 0 ? windows[i - 1].dilation : 1;
        if (!place_window(x, op, i, w, o)) return false;
    }
    return true;
}

/* Elements of a window, and windows. */
static void multiply(const cg_window *windows, int rank, int64_t *elements, int64_t *count)
{
    *elements = *count = 1;
    for (int i = 0; i < rank; i++) {
        *elements *= windows[i].extent;
        *count *= windows[i].count;
    }
}

static const cg_patch_options defaults;

cg_tensor cg_unfold_with(cg_tensor x, cg_shape window, const cg_patch_options *options)
{
    const cg_shape shape = cg_shape_of(x);
    cg_window windows[CG_MAX_SPATIAL];
    int64_t elements, count;
    if (!cg_spatial_rank_fits(x, "unfold", window.rank) ||
        !place_windows(x, "unfold", shape.size + 2, window, options ? options : &defaults, windows))
        return (cg_tensor){0};
    multiply(windows, window.rank, &elements, &count);
    return cg_reshape(cg_windows(x, windows, window.rank), CG_SHAPE(shape.size[0], shape.size[1] * elements, count));
}

cg_tensor cg_fold_with(cg_tensor patches, cg_shape size, cg_shape window, const cg_patch_options *options)
{
    const cg_shape shape = cg_shape_of(patches);
    cg_context *cg = cg_context_of(patches);
    cg_window windows[CG_MAX_SPATIAL];
    int64_t elements, count;
    if (shape.rank < 0) return (cg_tensor){0};
    if (shape.rank != 3 || window.rank < 1 || window.rank > CG_MAX_SPATIAL || size.rank != window.rank)
        return cg_report(cg, CG_ERROR_ARGUMENT, "fold",
                         "%s is not [batch, channels * elements, windows] with one to three axes each of extents (%d) "
                         "and windows (%d)",
                         cg_tensor_text(patches), size.rank, window.rank);
    if (cg_dtype_of(patches) == CG_BOOL) return cg_report(cg, CG_ERROR_ARGUMENT, "fold", "bools cannot be added");
    if (!place_windows(patches, "fold", size.size, window, options ? options : &defaults, windows))
        return (cg_tensor){0};
    multiply(windows, window.rank, &elements, &count);
    if (shape.size[1] % elements || shape.size[2] != count)
        return cg_report(cg, CG_ERROR_ARGUMENT, "fold", "%s does not hold %lld windows of %lld elements per channel",
                         cg_tensor_text(patches), (long long)count, (long long)elements);
    cg_shape apart = CG_SHAPE(shape.size[0], shape.size[1] / elements);
    for (int i = 0; i < window.rank; i++) apart.size[apart.rank++] = windows[i].extent;
    for (int i = 0; i < window.rank; i++) apart.size[apart.rank++] = windows[i].count;
    return cg_fold_windows(cg_reshape(patches, apart), windows, window.rank);
}

/* ---- Pixel shuffle ----------------------------------------------------------------------------------------------- */

/* Between [batch, channels, factors..., spatial...] and the same with each factor behind its axis. */
static cg_tensor interleave(cg_tensor x, int rank, bool back)
{
    cg_axes axes = {.count = 2 + 2 * rank, .axis = {0, 1}};
    for (int i = 0; i < rank; i++) {
        const int factor = 2 + i, place = 2 + rank + i, first = 2 + 2 * i;
        axes.axis[back ? factor : first] = back ? first + 1 : place;
        axes.axis[back ? place : first + 1] = back ? first : factor;
    }
    return cg_permute(x, axes);
}

static bool divides(cg_tensor x, const char *op, int axis, int64_t by)
{
    if (cg_shape_of(x).size[axis] % by == 0) return true;
    cg_report(cg_context_of(x), CG_ERROR_ARGUMENT, op, "%s: axis %d does not divide by %lld", cg_tensor_text(x), axis,
              (long long)by);
    return false;
}

cg_tensor cg_pixel_shuffle(cg_tensor x, cg_shape factors)
{
    cg_shape apart = cg_shape_of(x), result = apart, f;
    int64_t block = 1;
    if (!cg_resolve_factors(x, "pixel_shuffle", factors, &f)) return (cg_tensor){0};
    for (int i = 0; i < f.rank; i++) block *= f.size[i];
    if (!divides(x, "pixel_shuffle", 1, block)) return (cg_tensor){0};
    apart.rank = 2 + 2 * f.rank;
    result.size[1] = apart.size[1] /= block;
    for (int i = 0; i < f.rank; i++) {
        apart.size[2 + i] = f.size[i];
        apart.size[2 + f.rank + i] = result.size[2 + i];
        result.size[2 + i] *= f.size[i];
    }
    return cg_reshape(interleave(cg_reshape(x, apart), f.rank, false), result);
}

cg_tensor cg_pixel_unshuffle(cg_tensor x, cg_shape factors)
{
    cg_shape apart = cg_shape_of(x), result = apart, f;
    if (!cg_resolve_factors(x, "pixel_unshuffle", factors, &f)) return (cg_tensor){0};
    apart.rank = 2 + 2 * f.rank;
    for (int i = 0; i < f.rank; i++) {
        if (!divides(x, "pixel_unshuffle", 2 + i, f.size[i])) return (cg_tensor){0};
        result.size[1] *= f.size[i];
        result.size[2 + i] /= f.size[i];
        apart.size[2 + 2 * i] = result.size[2 + i];
        apart.size[3 + 2 * i] = f.size[i];
    }
    return cg_reshape(interleave(cg_reshape(x, apart), f.rank, true), result);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static const cg_op_function functions[] = {
    {"unfold",
     "windows",
     {.formula = "the windows of x as columns: [batch, channels · elements of a window, windows]",
      .call = "x, window, .stride, .dilation, .padding, .before, .after",
      .edges = "places outside x are 0",
      .keras = "ops.image.extract_patches (channels last)",
      .pytorch = "nn.functional.unfold, nn.Unfold"}},
    {"fold",
     "fold_windows",
     {.formula = "such columns added up where they come from: the transpose of unfold",
      .call = "patches, size, window, .stride, .dilation, .padding, .before, .after",
      .pytorch = "nn.functional.fold, nn.Fold",
      .dtypes = "any but bool"}},
    {"pixel_shuffle",
     "permute",
     {.formula = "blocks of channels as blocks of elements: [batch, channels · f1 · f2, n1, n2] to [batch, channels, "
                 "n1 · f1, n2 · f2]",
      .call = "x, factors",
      .pytorch = "pixel_shuffle, nn.PixelShuffle"}},
    {"pixel_unshuffle",
     "permute",
     {.formula = "blocks of elements as channels: the reverse of pixel_shuffle",
      .call = "x, factors",
      .pytorch = "pixel_unshuffle, nn.PixelUnshuffle"}},
};
const cg_op_family cg_ops_patches = {FUNCTIONS(functions), .title = "Geometry"};

/* Axes named by a user: checked, counted from the end where negative, and turned into bit masks for attributes. Also
 * numbers that a user passes, as tensors. Works on shapes only. */
#include "ops/family.h"

#include <limits.h>
#include <math.h>

bool cg_resolve_axis(cg_tensor x, const char *op, int *axis)
{
    cg_shape shape = cg_shape_of(x);
    if (shape.rank < 0) return true;
    int resolved = *axis < 0 ? *axis + shape.rank : *axis;
    if (resolved < 0 || resolved >= shape.rank) {
        cg_context *cg = cg_context_of(x);
        cg_report(cg, CG_ERROR_ARGUMENT, op, "%s has no axis %d", cg_tensor_text(x), *axis);
        return false;
    }
    *axis = resolved;
    return true;
}

bool cg_resolve_axes(cg_tensor x, const char *op, cg_axes axes, int64_t *mask)
{
    int rank = cg_shape_of(x).rank;
    *mask = 0;
    if (axes.count == 0 && rank > 0) *mask = (1 << rank) - 1;
    for (int i = 0; i < axes.count; i++) {
        int axis = axes.axis[i];
        if (!cg_resolve_axis(x, op, &axis)) return false;
        if (rank >= 0 && *mask >> axis & 1) {
            cg_report(cg_context_of(x), CG_ERROR_ARGUMENT, op, "axis %d is named twice", axes.axis[i]);
            return false;
        }
        if (rank >= 0) *mask |= 1 << axis;
    }
    return true;
}

cg_axes cg_axes_of_mask(int64_t mask)
{
    cg_axes axes = {0};
    for (int i = 0; i < CG_MAX_RANK; i++)
        if (mask >> i & 1) axes.axis[axes.count++] = i;
    return axes;
}

bool cg_spatial_rank_fits(cg_tensor x, const char *op, int given)
{
    const int rank = cg_shape_of(x).rank;
    if (rank == given + 2 && given >= 1 && given <= 3) return true;
    if (rank >= 0)
        cg_report(cg_context_of(x), CG_ERROR_ARGUMENT, op,
                  "%s is not [batch, channels, spatial...] with the %d spatial axes that the extents are for",
                  cg_tensor_text(x), given);
    return false;
}

bool cg_resolve_factors(cg_tensor x, const char *op, cg_shape given, cg_shape *factors)
{
    *factors = given;
    if (given.rank == 1 && cg_shape_of(x).rank >= 3) factors->rank = cg_shape_of(x).rank - 2;
    if (!cg_spatial_rank_fits(x, op, factors->rank)) return false;
    for (int i = 0; i < factors->rank; i++) {
        factors->size[i] = given.size[given.rank == 1 ? 0 : i];
        if (factors->size[i] >= 1 && factors->size[i] <= UINT16_MAX) continue;
        cg_report(cg_context_of(x), CG_ERROR_ARGUMENT, op, "%s: spatial axis %d has a factor of %lld",
                  cg_tensor_text(x), i, (long long)factors->size[i]);
        return false;
    }
    return true;
}

cg_lines cg_lines_of(cg_shape shape, int axis)
{
    cg_lines lines = {1, shape.size[axis], 1};
    for (int i = 0; i < axis; i++) lines.outer *= shape.size[i];
    for (int i = axis + 1; i < shape.rank; i++) lines.inner *= shape.size[i];
    return lines;
}

cg_tensor cg_number_like(cg_tensor x, double number)
{
    cg_context *cg = cg_context_of(x);
    cg_dtype dtype = cg_dtype_of(x);
    if (cg_is_null(x)) return x;
    if (cg_is_floating(dtype)) return cg_cast(cg_scalar(cg, number), dtype);
    if (dtype == CG_BOOL) return cg_cast(cg_scalar_int(cg, number != 0), dtype);
    double limited = number <= INT_MIN ? INT_MIN : number >= INT_MAX ? INT_MAX : isnan(number) ? 0 : number;
    return cg_cast(cg_scalar_int(cg, (int32_t)limited), dtype);
}

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

/* Whether an option's number makes sense. */
#ifndef CLGRAD_NN_OPTIONS_H
#define CLGRAD_NN_OPTIONS_H

#include <clgrad/op.h>
#include <math.h>

/* Whether a number that a user chose is finite, at least `low`, and below `end`; reports under `who` where not. */
static inline bool cg_number_fits(cg_context *cg, const char *who, const char *name, double value, double low,
                                  double end)
{
    if (isfinite(value) && value >= low && value < end) return true;
    if (isinf(end))
        cg_report(cg, CG_ERROR_ARGUMENT, who, "%s is %g; it must be finite and at least %g", name, value, low);
    else
        cg_report(cg, CG_ERROR_ARGUMENT, who, "%s is %g; it must be at least %g and less than %g", name, value, low,
                  end);
    return false;
}

#endif

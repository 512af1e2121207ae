/* How an optional number whose default is not zero is read. */
#ifndef CLGRAD_NN_OPTIONS_H
#define CLGRAD_NN_OPTIONS_H

#include <clgrad/op.h>
#include <math.h>

/* The number given; `otherwise` where it was left out, 0 where CG_ZERO asks for that. */
static inline double cg_number_or(double given, double otherwise)
{
    if (given == CG_ZERO) return 0;
    return given == 0 ? otherwise : given;
}

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

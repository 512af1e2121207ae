/* How an optional number whose default is not zero is read. */
#ifndef CLGRAD_NN_OPTIONS_H
#define CLGRAD_NN_OPTIONS_H

#include <clgrad/api.h>

/* The number given; `otherwise` where it was left out, 0 where CG_ZERO asks for that. */
static inline double cg_number_or(double given, double otherwise)
{
    if (given == CG_ZERO) return 0;
    return given == 0 ? otherwise : given;
}

#endif

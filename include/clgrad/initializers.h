/* Initializers: how a layer's variables get their first values. An initializer is a small value that says which
 * distribution; the layer adds the numbers of inputs m and outputs n of the unit that the variable belongs to. */
#ifndef CLGRAD_INITIALIZERS_H
#define CLGRAD_INITIALIZERS_H

#include <clgrad/tensor.h>

CG_BEGIN

typedef enum cg_initializer_kind {
    CG_INITIALIZER_DEFAULT = 0, /* what the layer documents */
    CG_INITIALIZER_CONSTANT,    /* every element is `a` */
    CG_INITIALIZER_UNIFORM,     /* evenly from [a, b) */
    CG_INITIALIZER_NORMAL,      /* mean a, standard deviation b */
    CG_INITIALIZER_INVERSE_SQRT,
    CG_INITIALIZER_GLOROT_UNIFORM,
    CG_INITIALIZER_HE_NORMAL
} cg_initializer_kind;

typedef struct cg_initializer {
    cg_initializer_kind kind;
    double a, b;
} cg_initializer;

#define CG_ALL_ZEROS CG_LITERAL(cg_initializer, CG_INITIALIZER_CONSTANT, 0.0, 0.0)
#define CG_ALL_ONES CG_LITERAL(cg_initializer, CG_INITIALIZER_CONSTANT, 1.0, 0.0)
/* Evenly from +-1/sqrt(m). */
#define CG_INVERSE_SQRT_UNIFORM CG_LITERAL(cg_initializer, CG_INITIALIZER_INVERSE_SQRT, 0.0, 0.0)
/* Evenly from +-sqrt(6/(m+n)). Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
 * networks", 2010. */
#define CG_GLOROT_UNIFORM CG_LITERAL(cg_initializer, CG_INITIALIZER_GLOROT_UNIFORM, 0.0, 0.0)
/* sqrt(2/m) N(0,1), not truncated. He et al., "Delving deep into rectifiers", 2015. */
#define CG_HE_NORMAL CG_LITERAL(cg_initializer, CG_INITIALIZER_HE_NORMAL, 0.0, 0.0)

CG_API cg_initializer cg_initializer_constant(double value);
CG_API cg_initializer cg_initializer_uniform(double low, double high);
CG_API cg_initializer cg_initializer_normal(double mean, double deviation);

/* First values of a variable whose units have `inputs` inputs (m) and `outputs` outputs (n). CG_INITIALIZER_DEFAULT
 * is Glorot uniform. Random ones take the next number of the context's counter (cg_seed). Errors: dtypes that are
 * not floating, m or n not positive where the formula needs them. */
CG_API cg_tensor cg_initial_value(cg_context *cg, cg_initializer initializer, cg_dtype dtype, cg_shape shape,
                                  int64_t inputs, int64_t outputs);

CG_END
#endif

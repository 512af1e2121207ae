/* Variables: named state that holds a value. Assignment gives a new value; tensors that read the old one keep it. */
#ifndef CLGRAD_VARIABLE_H
#define CLGRAD_VARIABLE_H

#include <clgrad/context.h>

CG_BEGIN

typedef struct cg_variable cg_variable;

/* A variable with a fixed shape and dtype and no value yet. The name is copied. NULL after an error. */
CG_API cg_variable *cg_variable_new(cg_context *cg, const char *name, cg_dtype dtype, cg_shape shape);
CG_API void cg_variable_free(cg_variable *variable);

/* Gives the variable the value of `value` (same shape and dtype). Pending until a forcing point. */
CG_API bool cg_assign(cg_variable *variable, cg_tensor value);
/* The value current at this call. An error if there is none yet or it was lost in a failed step. */
CG_API cg_tensor cg_value(cg_variable *variable);

CG_API const char *cg_variable_name(const cg_variable *variable);
CG_API cg_shape cg_variable_shape(const cg_variable *variable);
CG_API cg_dtype cg_variable_dtype(const cg_variable *variable);
CG_API cg_context *cg_variable_context(const cg_variable *variable);
/* True after a step failed half-way through writing it: refuses reads until assigned again. */
CG_API bool cg_variable_lost(const cg_variable *variable);
CG_API bool cg_variable_has_value(const cg_variable *variable);

CG_END
#endif

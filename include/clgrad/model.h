/* Models: named variables, which of them are trained, and their penalties. A model owns its variables, the layers and
 * the optimizers that were made on it; cg_model_free frees them all. */
#ifndef CLGRAD_MODEL_H
#define CLGRAD_MODEL_H

#include <clgrad/variable.h>

CG_BEGIN

typedef struct cg_model cg_model;

/* A penalty on a variable w, part of the objective: l1 sum |w| + l2 sum w^2, not divided by the minibatch's size. Its
 * gradient is l1 sign(w) + 2 l2 w, with sign(0) = 0. */
typedef struct cg_penalty {
    double l1, l2;
} cg_penalty;

CG_API cg_penalty cg_l1(double l1);
CG_API cg_penalty cg_l2(double l2);
CG_API cg_penalty cg_elastic(double l1, double l2);

/* NULL after an error. A model must be freed before its context is closed. */
CG_API cg_model *cg_model_new(cg_context *cg);
CG_API void cg_model_free(cg_model *model);
/* NULL for NULL. */
CG_API cg_context *cg_model_context(const cg_model *model);

typedef struct cg_model_add_options {
    char unset_;
    bool frozen;        /* kept and saved with the model, but not updated by optimizers */
    cg_penalty penalty; /* default: none */
} cg_model_add_options;

/* Adds a variable with the shape, dtype and value of `initial`. Names are unique within a model: a name taken is an
 * error. NULL after an error. */
#define cg_model_add(model, name, initial, ...) \
    cg_model_add_with(model, name, initial, CG_OPTIONS(cg_model_add_options, __VA_ARGS__))
CG_API cg_variable *cg_model_add_with(cg_model *model, const char *name, cg_tensor initial,
                                      const cg_model_add_options *options);

/* The variable of that name; NULL, without an error, if there is none. */
CG_API cg_variable *cg_model_find(const cg_model *model, const char *name);
/* The variables in the order in which they were added, 0 <= index < cg_model_count; NULL outside. */
CG_API int cg_model_count(const cg_model *model);
CG_API cg_variable *cg_model_at(const cg_model *model, int index);
/* Number of elements in all variables together. */
CG_API int64_t cg_model_size(const cg_model *model);

/* For a variable that is not the model's: false, no penalty; setting is an error that names it. */
CG_API bool cg_model_is_trainable(const cg_model *model, const cg_variable *variable);
CG_API bool cg_model_set_trainable(cg_model *model, const cg_variable *variable, bool trainable);
CG_API cg_penalty cg_model_penalty(const cg_model *model, const cg_variable *variable);
CG_API bool cg_model_set_penalty(cg_model *model, const cg_variable *variable, cg_penalty penalty);

/* The value of a penalty for `weights` (floating, any shape): rank 0; null, without an error, if both factors are 0. */
CG_API cg_tensor cg_penalty_value(cg_penalty penalty, cg_tensor weights);

/* Writes every variable, frozen ones too, to a safetensors file, which replaces `path` only once it is complete and on
 * the disk. Waits for the device. False with a message on an error; `path` is then as it was. */
CG_API bool cg_model_save(const cg_model *model, const char *path);
/* Reads such a file. It must hold exactly the model's variables: their names, dtypes and shapes. All is checked, and
 * read, before the first variable changes. False with a message that names the file and the tensor otherwise. */
CG_API bool cg_model_load(cg_model *model, const char *path);

CG_END
#endif

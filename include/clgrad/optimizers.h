/* Optimizers: from gradients to new weights. Below the optimizer objects, which keep state in variables, are pure
 * functions of tensors, through which one can differentiate. Every default is Keras's. */
#ifndef CLGRAD_OPTIMIZERS_H
#define CLGRAD_OPTIMIZERS_H

#include <clgrad/model.h>

CG_BEGIN

/* Belongs to its model and is freed with it. The functions that make one return NULL after an error: numbers that are
 * not finite, learning rates or deltas below 0, momenta or betas outside [0, 1), loss scales that f32 cannot hold. */
typedef struct cg_optimizer cg_optimizer;

/* Loss scaling, for gradients that f16 cannot hold: the objective is multiplied by a factor before it is
 * differentiated, and the gradients are divided by it before anything else is done with them, so that penalties and
 * updates do not depend on it. Use it with variables in f32 that the program casts to f16, and a loss in f32; in f16 a
 * factor beyond 65504 is infinite. A static factor stays. A dynamic one is that of Keras's LossScaleOptimizer: if an
 * element of a gradient is not finite, the step changes neither variables nor their state, and the factor is halved, to
 * no less than 1; after so many finite steps in a row it is doubled, while it stays finite. All of that happens on the
 * device: no step waits for it, and all have one plan. Its state: "loss_scale/factor", "loss_scale/steps" (finite ones
 * in a row) and "loss_scale/skipped" (updates left out, which are not counted in Adam's t). */
typedef struct cg_loss_scale {
    double factor;    /* above 0; to begin with, if it is dynamic; 0 and static, the default: no scaling */
    int growth_steps; /* 0: static */
} cg_loss_scale;
CG_API cg_loss_scale cg_static_loss_scale(double factor);
/* 2^15, doubled after 2000 steps. */
CG_API cg_loss_scale cg_dynamic_loss_scale(void);

/* w -= rate g; with a momentum alpha: v = alpha v - rate g, w += v. State: "sgd/NAME/v", with momentum only. */
typedef struct cg_sgd_options {
    char unset_;
    double learning_rate; /* default 0.01; CG_ZERO for 0 */
    double momentum;      /* alpha; default 0 */
    /* Which variables to update; default: the model's trainable ones at the time of each call. */
    cg_variable *const *variables;
    int variable_count;
    cg_loss_scale loss_scale; /* default: none */
} cg_sgd_options;
#define cg_sgd_new(model, ...) cg_sgd_new_with(model, CG_OPTIONS(cg_sgd_options, __VA_ARGS__))
CG_API cg_optimizer *cg_sgd_new_with(cg_model *model, const cg_sgd_options *options);

/* Adam, Kingma and Ba 2014, at step t = 1, 2, ...: m = beta1 m + (1 - beta1) g, r = beta2 r + (1 - beta2) g^2,
 * w -= rate sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(r) + delta). State: "adam/NAME/m" and "adam/NAME/r". */
typedef struct cg_adam_options {
    char unset_;
    double learning_rate;    /* default 0.001; CG_ZERO for 0 */
    double beta1, beta2;     /* defaults 0.9 and 0.999; CG_ZERO for 0 */
    double delta;            /* default 1e-7; CG_ZERO for 0 */
    bool no_bias_correction; /* w -= rate m / (sqrt(r) + delta) */
    cg_variable *const *variables;
    int variable_count;
    cg_loss_scale loss_scale; /* default: none */
} cg_adam_options;
#define cg_adam_new(model, ...) cg_adam_new_with(model, CG_OPTIONS(cg_adam_options, __VA_ARGS__))
CG_API cg_optimizer *cg_adam_new_with(cg_model *model, const cg_adam_options *options);

/* Frees it ahead of its model. */
CG_API void cg_optimizer_free(cg_optimizer *optimizer);

/* The variables that the next call updates, in the order of cg_apply_gradients; NULL outside 0..count-1. */
CG_API int cg_optimizer_count(const cg_optimizer *optimizer);
CG_API cg_variable *cg_optimizer_at(const cg_optimizer *optimizer, int index);
/* A state variable by name ("adam/fc1/kernel/m"); NULL if there is none (yet). */
CG_API cg_variable *cg_optimizer_state(const cg_optimizer *optimizer, const char *name);

/* loss (rank 0) plus the penalties of the variables that the optimizer updates. */
CG_API cg_tensor cg_objective(cg_optimizer *optimizer, cg_tensor loss);
/* The loss times the optimizer's loss scale, for gradients of a program's own; the loss itself without one. */
CG_API cg_tensor cg_scale_loss(cg_optimizer *optimizer, cg_tensor loss);
/* Assigns the updated values. `gradients`: one per variable of cg_optimizer_at, of its shape; with a loss scale, those
 * of cg_scale_loss. Error: no variables. */
CG_API bool cg_apply_gradients(cg_optimizer *optimizer, const cg_tensor *gradients);
/* Objective, gradients, update: recorded as one call, not waited for, and expanded only where its plan is not known.
 * The objective's value is left in the optimizer. Error, at the forcing point: a loss that depends on none of the
 * variables, as one computed from what was kept from an earlier scope does. */
CG_API bool cg_minimize(cg_optimizer *optimizer, cg_tensor loss);
/* The objective of the last cg_minimize. Read it after the step scope's end: it waits, but runs no second plan. NaN
 * before the first step, or with a message on an error. */
CG_API double cg_optimizer_objective(cg_optimizer *optimizer);

/* Error: a rate that is not finite or negative; the old one stays. */
CG_API void cg_optimizer_set_learning_rate(cg_optimizer *optimizer, double learning_rate);
CG_API double cg_optimizer_learning_rate(const cg_optimizer *optimizer);
/* The factor that the next loss is multiplied by: it waits for what is pending. 1 without a loss scale. NaN with a
 * message on an error. */
CG_API double cg_optimizer_loss_scale(cg_optimizer *optimizer);
/* Number of updates so far, those that a loss scale has left out too; without these it is Adam's t. Setting it is for
 * programs that restore a state. */
CG_API int64_t cg_optimizer_steps(const cg_optimizer *optimizer);
CG_API void cg_optimizer_set_steps(cg_optimizer *optimizer, int64_t steps);

/* The update rules as pure functions. All of w, g and the state have one shape and floating dtype; numbers are rank-0
 * tensors (cg_scalar, or anything to be differentiated with respect to). Null after an error. */

/* w - rate g. */
CG_API cg_tensor cg_sgd_update(cg_tensor w, cg_tensor g, cg_tensor rate);

typedef struct cg_momentum_result {
    cg_tensor w, v;
} cg_momentum_result;
CG_API cg_momentum_result cg_momentum_update(cg_tensor w, cg_tensor g, cg_tensor v, cg_tensor rate, cg_tensor momentum);

/* Adam's numbers, made once per step for any number of variables: rate sqrt(1 - beta2^t) / (1 - beta1^t), or the rate
 * itself for t = 0 (no bias correction); beta1, 1 - beta1, beta2, 1 - beta2, delta. */
typedef struct cg_adam_numbers {
    cg_tensor rate, beta1, rest1, beta2, rest2, delta;
} cg_adam_numbers;
CG_API cg_adam_numbers cg_adam_numbers_at(cg_context *cg, cg_tensor rate, double beta1, double beta2, double delta,
                                          int64_t t);
typedef struct cg_adam_result {
    cg_tensor w, m, r;
} cg_adam_result;
CG_API cg_adam_result cg_adam_update(cg_tensor w, cg_tensor g, cg_tensor m, cg_tensor r,
                                     const cg_adam_numbers *numbers);

CG_END
#endif

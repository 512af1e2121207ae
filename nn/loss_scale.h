/* Loss scaling inside an optimizer: how often the loss is taken, the variables that a dynamic scale lives in, and the
 * ops that a step adds. Everything that depends on gradients stays on the device. */
#ifndef CLGRAD_NN_LOSS_SCALE_H
#define CLGRAD_NN_LOSS_SCALE_H

#include <clgrad/optimizers.h>

typedef enum cg_scaling { CG_SCALING_NONE, CG_SCALING_STATIC, CG_SCALING_DYNAMIC } cg_scaling;

/* State of a dynamic scale, of rank 0 in f32: the factor, steps since it last changed, and updates left out. */
enum { CG_SCALE_FACTOR, CG_SCALE_STEPS, CG_SCALE_SKIPPED, CG_SCALE_STATES };

cg_scaling cg_scaling_of(cg_loss_scale scale);
bool cg_loss_scale_fits(cg_context *cg, const char *who, cg_loss_scale scale);

/* The variable of a state, at its first value. NULL after reporting. */
cg_variable *cg_scale_state_new(cg_context *cg, cg_loss_scale scale, int state);
bool cg_scale_state_reset(cg_variable *variable, cg_loss_scale scale, int state);

/* The factor in the dtype of the loss, for its cotangent. */
cg_tensor cg_scale_like(cg_tensor factor, cg_tensor loss);
/* The gradient without the factor, in its own dtype. */
cg_tensor cg_unscale(cg_tensor gradient, cg_tensor factor);

/* One bool: whether all elements of all gradients are finite. */
cg_tensor cg_all_finite(const cg_tensor *gradients, int count);
/* The state after a step whose gradients were finite, or not: `growth` is the number of finite steps in a row after
 * which the factor doubles. */
void cg_scale_step(const cg_tensor *old, cg_tensor finite, cg_tensor growth, cg_tensor *next);

#endif

/* Loss scaling: what is multiplied, divided and left out, after Micikevicius et al., "Mixed precision training", 2018,
 * and Keras's LossScaleOptimizer. */
#include "nn/loss_scale.h"

#include "nn/options.h"
#include <clgrad/ops.h>
#include <float.h>

cg_loss_scale cg_static_loss_scale(double factor)
{
    return (cg_loss_scale){.factor = factor};
}

cg_loss_scale cg_dynamic_loss_scale(void)
{
    return (cg_loss_scale){.factor = 32768, .growth_steps = 2000};
}

cg_scaling cg_scaling_of(cg_loss_scale scale)
{
    return scale.factor == 0 ? CG_SCALING_NONE : scale.growth_steps > 0 ? CG_SCALING_DYNAMIC : CG_SCALING_STATIC;
}

bool cg_loss_scale_fits(cg_context *cg, const char *who, cg_loss_scale scale)
{
    const bool is_none = scale.factor == 0 && scale.growth_steps == 0;
    return cg_number_fits(cg, who, "the growth steps of the loss scale", scale.growth_steps, 0, INFINITY) &&
           (is_none || cg_number_fits(cg, who, "the factor of the loss scale", scale.factor, FLT_MIN, FLT_MAX));
}

bool cg_scale_state_reset(cg_variable *variable, cg_loss_scale scale, int state)
{
    cg_context *cg = cg_variable_context(variable);
    const float first = state == CG_SCALE_FACTOR ? (float)scale.factor : 0;
    cg_scope scope = cg_scope_local(cg);
    const bool done = cg_assign(variable, cg_input(cg, CG_F32, CG_RANK0, &first));
    cg_scope_end(scope);
    return done;
}

cg_variable *cg_scale_state_new(cg_context *cg, cg_loss_scale scale, int state)
{
    static const char *const names[CG_SCALE_STATES] = {"loss_scale/factor", "loss_scale/steps", "loss_scale/skipped"};
    cg_variable *variable = cg_variable_new(cg, names[state], CG_F32, CG_RANK0);
    if (variable && cg_scale_state_reset(variable, scale, state)) return variable;
    cg_variable_free(variable);
    return NULL;
}

cg_tensor cg_scale_like(cg_tensor factor, cg_tensor loss)
{
    return cg_cast(factor, cg_dtype_of(loss));
}

cg_tensor cg_unscale(cg_tensor gradient, cg_tensor factor)
{
    return cg_cast(cg_div(gradient, factor), cg_dtype_of(gradient));
}

cg_tensor cg_all_finite(const cg_tensor *gradients, int count)
{
    cg_tensor all = cg_all(cg_is_finite(gradients[0]));
    for (int i = 1; i < count; i++) all = cg_logical_and(all, cg_all(cg_is_finite(gradients[i])));
    return all;
}

/* The factor grows while it stays finite, and falls no lower than 1. */
void cg_scale_step(const cg_tensor *old, cg_tensor finite, cg_tensor growth, cg_tensor *next)
{
    cg_context *cg = cg_context_of(finite);
    cg_tensor zero = cg_constant(cg, CG_F32, 0), one = cg_constant(cg, CG_F32, 1), two = cg_constant(cg, CG_F32, 2);
    cg_tensor factor = old[CG_SCALE_FACTOR], steps = cg_add(old[CG_SCALE_STEPS], one), twice = cg_mul(factor, two);
    cg_tensor grows = cg_greater_equal(steps, growth);
    cg_tensor grown = cg_where(cg_logical_and(grows, cg_is_finite(twice)), twice, factor);
    cg_tensor halved = cg_maximum(cg_div(factor, two), one);
    next[CG_SCALE_FACTOR] = cg_where(finite, grown, halved);
    next[CG_SCALE_STEPS] = cg_where(cg_logical_and(finite, cg_logical_not(grows)), steps, zero);
    next[CG_SCALE_SKIPPED] = cg_where(finite, old[CG_SCALE_SKIPPED], cg_add(old[CG_SCALE_SKIPPED], one));
}

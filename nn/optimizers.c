/* Optimizers: objects that hold the state of an update rule in variables, choose which variables to update and count
 * the steps. A step is one deferred call: differentiating and updating are recorded only where a plan is to be made. */
#include <clgrad/optimizers.h>

#include "nn/loss_scale.h"
#include "nn/model.h"
#include "nn/options.h"
#include <clgrad/autodiff.h>
#include <clgrad/ops.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_STATE = 2, MAX_NUMBERS = 6 };

/* Numbers of the loss scale: of a static one its factor, of a dynamic one the steps after which it grows and, for the
 * rule's correction, this step and the logarithms of the rule's betas. */
enum { GROWTH, STEP, LOG_BETA1, LOG_BETA2, MAX_SCALE_NUMBERS };

/* The state of one variable. */
typedef struct slot {
    cg_variable *variable;
    cg_variable *state[MAX_STATE];
} slot;

/* What distinguishes the optimizers: the state that they keep of each variable, the numbers of a step, and the update
 * of one variable: `old` and `next` are its value, then its state. */
typedef struct rule {
    const char *name;
    const char *state_names[MAX_STATE];
    int states, number_count;
    void (*numbers)(const cg_optimizer *optimizer, cg_tensor *numbers);
    void (*update)(const cg_tensor *old, cg_tensor g, const cg_tensor *numbers, cg_tensor *next);
    bool corrects; /* the first number depends on how many updates there were, as Adam's rate does */
} rule;

struct cg_optimizer {
    cg_part part;
    const rule *rule;
    double learning_rate, momentum, beta1, beta2, delta;
    bool no_bias_correction;
    int64_t steps;
    cg_variable **chosen; /* the variables to update; NULL: the model's trainable ones */
    int chosen_count;
    slot *slots;
    int slot_count, slot_capacity;
    cg_tensor *scratch; /* operands of a step, then results */
    int scratch_capacity;
    cg_variable *objective;
    cg_loss_scale scale;
    cg_variable *scale_state[CG_SCALE_STATES]; /* of a dynamic scale */
};

static cg_context *context_of(const cg_optimizer *optimizer)
{
    return optimizer->part.model->context;
}

static cg_scaling scaling_of(const cg_optimizer *optimizer)
{
    return cg_scaling_of(optimizer->scale);
}

/* Whether only the device knows how many updates there were, since it leaves some out. */
static bool corrects_on_device(const cg_optimizer *optimizer)
{
    return optimizer->rule->corrects && !optimizer->no_bias_correction && scaling_of(optimizer) == CG_SCALING_DYNAMIC;
}

static void sgd_numbers(const cg_optimizer *optimizer, cg_tensor *numbers)
{
    numbers[0] = cg_scalar(context_of(optimizer), optimizer->learning_rate);
}

static void update_sgd(const cg_tensor *old, cg_tensor g, const cg_tensor *numbers, cg_tensor *next)
{
    next[0] = cg_sgd_update(old[0], g, numbers[0]);
}

static void momentum_numbers(const cg_optimizer *optimizer, cg_tensor *numbers)
{
    numbers[0] = cg_scalar(context_of(optimizer), optimizer->learning_rate);
    numbers[1] = cg_scalar(context_of(optimizer), optimizer->momentum);
}

static void update_momentum(const cg_tensor *old, cg_tensor g, const cg_tensor *numbers, cg_tensor *next)
{
    const cg_momentum_result result = cg_momentum_update(old[0], g, old[1], numbers[0], numbers[1]);
    next[0] = result.w;
    next[1] = result.v;
}

static void adam_numbers(const cg_optimizer *optimizer, cg_tensor *numbers)
{
    cg_context *cg = context_of(optimizer);
    const bool plain = optimizer->no_bias_correction || corrects_on_device(optimizer);
    const int64_t t = plain ? 0 : optimizer->steps + 1;
    const cg_adam_numbers n = cg_adam_numbers_at(cg, cg_scalar(cg, optimizer->learning_rate), optimizer->beta1,
                                                 optimizer->beta2, optimizer->delta, t);
    const cg_tensor list[] = {n.rate, n.beta1, n.rest1, n.beta2, n.rest2, n.delta};
    memcpy(numbers, list, sizeof list);
}

static void update_adam(const cg_tensor *old, cg_tensor g, const cg_tensor *n, cg_tensor *next)
{
    const cg_adam_numbers numbers = {
        .rate = n[0], .beta1 = n[1], .rest1 = n[2], .beta2 = n[3], .rest2 = n[4], .delta = n[5]};
    const cg_adam_result result = cg_adam_update(old[0], g, old[1], old[2], &numbers);
    next[0] = result.w;
    next[1] = result.m;
    next[2] = result.r;
}

enum { SGD, MOMENTUM, ADAM };
static const rule rules[] = {
    [SGD] = {.name = "sgd", .number_count = 1, .numbers = sgd_numbers, .update = update_sgd},
    [MOMENTUM] = {.name = "sgd",
                  .state_names = {"v"},
                  .states = 1,
                  .number_count = 2,
                  .numbers = momentum_numbers,
                  .update = update_momentum},
    [ADAM] = {.name = "adam",
              .state_names = {"m", "r"},
              .states = 2,
              .number_count = 6,
              .numbers = adam_numbers,
              .update = update_adam,
              .corrects = true},
};

/* Returns how many. */
static int scale_numbers(const cg_optimizer *optimizer, cg_tensor *numbers)
{
    cg_context *cg = context_of(optimizer);
    const cg_scaling scaling = scaling_of(optimizer);
    if (scaling == CG_SCALING_NONE) return 0;
    const bool dynamic = scaling == CG_SCALING_DYNAMIC;
    numbers[0] = cg_size_scalar(cg, CG_F32, dynamic ? optimizer->scale.growth_steps : optimizer->scale.factor);
    if (!corrects_on_device(optimizer)) return 1;
    numbers[STEP] = cg_size_scalar(cg, CG_F32, (double)optimizer->steps + 1);
    numbers[LOG_BETA1] = cg_size_scalar(cg, CG_F32, log(optimizer->beta1));
    numbers[LOG_BETA2] = cg_size_scalar(cg, CG_F32, log(optimizer->beta2));
    return MAX_SCALE_NUMBERS;
}

/* rate sqrt(1 - beta2^t) / (1 - beta1^t) at the step's t, which leaves out what was skipped. */
static cg_tensor corrected_rate(cg_tensor rate, const cg_tensor *scale_numbers, cg_tensor skipped)
{
    const cg_tensor t = cg_sub(scale_numbers[STEP], skipped);
    const cg_tensor rest1 = cg_neg(cg_expm1(cg_mul(t, scale_numbers[LOG_BETA1])));
    const cg_tensor rest2 = cg_neg(cg_expm1(cg_mul(t, scale_numbers[LOG_BETA2])));
    return cg_mul(rate, cg_div(cg_sqrt(rest2), rest1));
}

/* A variable and its state. */
static int tensors_each(const rule *rule)
{
    return 1 + rule->states;
}

/* What an update is made from, and what it makes: `old` and `next` list each variable's value and state, and then the
 * state of a dynamic loss scale. */
typedef struct update {
    const rule *rule;
    cg_scaling scaling;
    bool corrects;
    int count;
    const cg_tensor *numbers, *scale_numbers, *old, *gradients; /* these are of the scaled objective */
    cg_tensor *next;
} update;

static const cg_tensor *scale_state(const update *u)
{
    return u->old + u->count * tensors_each(u->rule);
}

static cg_tensor scale_factor(const update *u)
{
    return u->scaling == CG_SCALING_STATIC ? u->scale_numbers[0] : scale_state(u)[CG_SCALE_FACTOR];
}

/* Updates everything; with a dynamic scale, whatever is not finite leaves all as it was but the scale. */
static bool update_all(const update *u)
{
    const bool dynamic = u->scaling == CG_SCALING_DYNAMIC;
    const int each = tensors_each(u->rule);
    cg_tensor numbers[MAX_NUMBERS], finite = {0};
    for (int i = 0; i < u->count; i++)
        if (cg_is_null(u->gradients[i])) return false;
    memcpy(numbers, u->numbers, (size_t)u->rule->number_count * sizeof *numbers);
    if (dynamic) {
        finite = cg_all_finite(u->gradients, u->count);
        cg_scale_step(scale_state(u), finite, u->scale_numbers[GROWTH], u->next + u->count * each);
    }
    if (u->corrects) numbers[0] = corrected_rate(numbers[0], u->scale_numbers, scale_state(u)[CG_SCALE_SKIPPED]);
    for (int i = 0; i < u->count; i++) {
        const cg_tensor *old = u->old + i * each;
        cg_tensor *next = u->next + i * each, g = u->gradients[i];
        if (u->scaling != CG_SCALING_NONE) g = cg_unscale(g, scale_factor(u));
        u->rule->update(old, g, numbers, next);
        for (int k = 0; k < each; k++) { /* f32 where the rate is one that the device has corrected */
            next[k] = cg_cast(next[k], cg_dtype_of(old[k]));
            if (dynamic) next[k] = cg_where(finite, next[k], old[k]);
        }
    }
    return true;
}

static void destroy_optimizer(cg_part *part)
{
    cg_optimizer *optimizer = (cg_optimizer *)part;
    cg_context *cg = context_of(optimizer);
    for (int i = 0; i < optimizer->slot_count; i++)
        for (int k = 0; k < optimizer->rule->states; k++) cg_variable_free(optimizer->slots[i].state[k]);
    cg_variable_free(optimizer->objective);
    for (int k = 0; k < CG_SCALE_STATES; k++) cg_variable_free(optimizer->scale_state[k]);
    cg_host_free(cg, optimizer->slots);
    cg_host_free(cg, optimizer->chosen);
    cg_host_free(cg, optimizer->scratch);
}

static cg_optimizer *new_optimizer(cg_model *model, const rule *rule, cg_variable *const *variables, int count,
                                   cg_loss_scale scale)
{
    cg_optimizer *optimizer = cg_part_new(model, sizeof *optimizer, destroy_optimizer);
    if (!optimizer) return NULL;
    optimizer->rule = rule;
    optimizer->scale = scale;
    if (!variables) return optimizer;
    optimizer->chosen = cg_host_allocate(model->context, (size_t)(count > 0 ? count : 1) * sizeof *optimizer->chosen);
    if (!optimizer->chosen) {
        cg_optimizer_free(optimizer);
        return NULL;
    }
    for (int i = 0; i < count; i++)
        if (variables[i]) optimizer->chosen[optimizer->chosen_count++] = variables[i];
    return optimizer;
}

/* Frees an optimizer, just made, whose numbers do not fit. */
static cg_optimizer *if_fits(cg_optimizer *optimizer, bool fits)
{
    if (fits) return optimizer;
    cg_optimizer_free(optimizer);
    return NULL;
}

static bool scale_fits(const cg_optimizer *optimizer)
{
    return cg_loss_scale_fits(context_of(optimizer), optimizer->rule->name, optimizer->scale);
}

static bool rate_fits(const cg_optimizer *optimizer, double rate)
{
    return cg_number_fits(context_of(optimizer), optimizer->rule->name, "the learning rate", rate, 0, INFINITY);
}

cg_optimizer *cg_sgd_new_with(cg_model *model, const cg_sgd_options *options)
{
    options = options ? options : CG_OPTIONS(cg_sgd_options, );
    const rule *rule = &rules[options->momentum != 0 ? MOMENTUM : SGD];
    cg_optimizer *optimizer = new_optimizer(model, rule, options->variables, options->variable_count,
                                            options->loss_scale);
    if (!optimizer) return NULL;
    optimizer->learning_rate = cg_number_or(options->learning_rate, 0.01);
    optimizer->momentum = cg_number_or(options->momentum, 0);
    return if_fits(optimizer, rate_fits(optimizer, optimizer->learning_rate) && scale_fits(optimizer) &&
                                  cg_number_fits(model->context, rule->name, "momentum", optimizer->momentum, 0, 1));
}

cg_optimizer *cg_adam_new_with(cg_model *model, const cg_adam_options *options)
{
    options = options ? options : CG_OPTIONS(cg_adam_options, );
    cg_optimizer *optimizer = new_optimizer(model, &rules[ADAM], options->variables, options->variable_count,
                                            options->loss_scale);
    if (!optimizer) return NULL;
    optimizer->learning_rate = cg_number_or(options->learning_rate, 0.001);
    optimizer->beta1 = cg_number_or(options->beta1, 0.9);
    optimizer->beta2 = cg_number_or(options->beta2, 0.999);
    optimizer->delta = cg_number_or(options->delta, 1e-7);
    optimizer->no_bias_correction = options->no_bias_correction;
    const char *name = rules[ADAM].name;
    return if_fits(optimizer, rate_fits(optimizer, optimizer->learning_rate) && scale_fits(optimizer) &&
                                  cg_number_fits(model->context, name, "beta1", optimizer->beta1, 0, 1) &&
                                  cg_number_fits(model->context, name, "beta2", optimizer->beta2, 0, 1) &&
                                  cg_number_fits(model->context, name, "delta", optimizer->delta, 0, INFINITY));
}

void cg_optimizer_free(cg_optimizer *optimizer)
{
    if (optimizer) cg_part_free(&optimizer->part);
}

/* The variable to update at or after *cursor, which moves past it; NULL at the end. */
static cg_variable *next_target(const cg_optimizer *optimizer, int *cursor)
{
    if (optimizer->chosen) return *cursor < optimizer->chosen_count ? optimizer->chosen[(*cursor)++] : NULL;
    const cg_model *model = optimizer->part.model;
    while (*cursor < model->count) {
        const cg_model_entry *entry = &model->entries[(*cursor)++];
        if (entry->trainable) return entry->variable;
    }
    return NULL;
}

int cg_optimizer_count(const cg_optimizer *optimizer)
{
    int count = 0, cursor = 0;
    while (optimizer && next_target(optimizer, &cursor)) count++;
    return count;
}

cg_variable *cg_optimizer_at(const cg_optimizer *optimizer, int index)
{
    if (!optimizer || index < 0) return NULL;
    int cursor = 0;
    cg_variable *variable = next_target(optimizer, &cursor);
    while (variable && index-- > 0) variable = next_target(optimizer, &cursor);
    return variable;
}

cg_variable *cg_optimizer_state(const cg_optimizer *optimizer, const char *name)
{
    if (!optimizer || !name) return NULL;
    for (int i = 0; i < optimizer->slot_count; i++)
        for (int k = 0; k < optimizer->rule->states; k++)
            if (!strcmp(cg_variable_name(optimizer->slots[i].state[k]), name)) return optimizer->slots[i].state[k];
    for (int k = 0; k < CG_SCALE_STATES; k++)
        if (optimizer->scale_state[k] && !strcmp(cg_variable_name(optimizer->scale_state[k]), name))
            return optimizer->scale_state[k];
    return NULL;
}

/* A dead tensor is left to the ops, which report it. */
static bool is_loss(const cg_optimizer *optimizer, const char *who, cg_tensor loss)
{
    if (cg_is_null(loss)) {
        cg_report_null(context_of(optimizer), who, "the loss");
        return false;
    }
    if (cg_shape_of(loss).rank <= 0) return true;
    cg_report(context_of(optimizer), CG_ERROR_ARGUMENT, who,
              "the loss is %s; it must be one number, of rank 0, as cg_mean makes it", cg_tensor_text(loss));
    return false;
}

/* The sum of the penalties of what the optimizer updates; null if there are none. False after an error. */
static bool sum_penalties(const cg_optimizer *optimizer, cg_tensor *sum)
{
    bool any = false;
    int cursor = 0;
    *sum = (cg_tensor){0};
    for (cg_variable *variable; (variable = next_target(optimizer, &cursor));) {
        const cg_model_entry *entry = cg_model_entry_of(optimizer->part.model, variable, cursor - 1);
        if (!entry || (entry->penalty.l1 == 0 && entry->penalty.l2 == 0)) continue;
        cg_tensor penalty = cg_penalty_value(entry->penalty, cg_value(variable));
        *sum = any ? cg_add(*sum, penalty) : penalty;
        any = true;
    }
    return !any || !cg_is_null(*sum);
}

cg_tensor cg_objective(cg_optimizer *optimizer, cg_tensor loss)
{
    cg_tensor penalties;
    if (!optimizer || !is_loss(optimizer, "objective", loss) || !sum_penalties(optimizer, &penalties))
        return (cg_tensor){0};
    return cg_is_null(penalties) ? loss : cg_add(loss, penalties);
}

/* Zeros that are uploaded, not computed: a step then reads its state from memory the first time as ever after. */
static bool assign_zeros(cg_variable *variable)
{
    cg_context *cg = cg_variable_context(variable);
    cg_shape shape = cg_variable_shape(variable);
    cg_dtype dtype = cg_variable_dtype(variable);
    size_t bytes = (size_t)cg_shape_size(shape) * cg_dtype_bytes(dtype);
    void *zeros = cg_staging(cg, bytes);
    if (!zeros) return false;
    memset(zeros, 0, bytes);
    cg_scope scope = cg_scope_local(cg);
    bool done = cg_assign(variable, cg_input_staged(cg, dtype, shape, zeros, CG_OPTIONS(cg_input_options, )));
    cg_scope_end(scope);
    return done;
}

static cg_variable *new_state(const cg_optimizer *optimizer, const cg_variable *variable, const char *state)
{
    char name[320];
    snprintf(name, sizeof name, "%s/%s/%s", optimizer->rule->name, cg_variable_name(variable), state);
    cg_variable *result = cg_variable_new(context_of(optimizer), name, cg_variable_dtype(variable),
                                          cg_variable_shape(variable));
    if (result && assign_zeros(result)) return result;
    cg_variable_free(result);
    return NULL;
}

static bool reserve_slot(cg_optimizer *optimizer)
{
    if (optimizer->slot_count < optimizer->slot_capacity) return true;
    int capacity = optimizer->slot_capacity ? 2 * optimizer->slot_capacity : 16;
    slot *slots = cg_host_allocate(context_of(optimizer), (size_t)capacity * sizeof *slots);
    if (!slots) return false;
    if (optimizer->slot_count) memcpy(slots, optimizer->slots, (size_t)optimizer->slot_count * sizeof *slots);
    cg_host_free(context_of(optimizer), optimizer->slots);
    optimizer->slots = slots;
    optimizer->slot_capacity = capacity;
    return true;
}

static bool add_slot(cg_optimizer *optimizer, cg_variable *variable)
{
    if (!reserve_slot(optimizer)) return false;
    slot added = {.variable = variable};
    for (int k = 0; k < optimizer->rule->states; k++) {
        added.state[k] = new_state(optimizer, variable, optimizer->rule->state_names[k]);
        if (added.state[k]) continue;
        while (k-- > 0) cg_variable_free(added.state[k]);
        return false;
    }
    optimizer->slots[optimizer->slot_count++] = added;
    return true;
}

/* The state of a variable, looked for at `hint` first: slots are made in the order in which they are asked for. */
static const slot *slot_of(const cg_optimizer *optimizer, const cg_variable *variable, int hint)
{
    if (hint < optimizer->slot_count && optimizer->slots[hint].variable == variable) return &optimizer->slots[hint];
    for (int i = 0; i < optimizer->slot_count; i++)
        if (optimizer->slots[i].variable == variable) return &optimizer->slots[i];
    return NULL;
}

/* State whose first value was dropped together with a failed step starts again. What was lost is left to be reported.
 */
static bool complete_state(const slot *slot, int states)
{
    for (int k = 0; k < states; k++) {
        cg_variable *state = slot->state[k];
        if (!cg_variable_has_value(state) && !cg_variable_lost(state) && !assign_zeros(state)) return false;
    }
    return true;
}

static bool complete_scale(cg_optimizer *optimizer)
{
    for (int k = 0; k < CG_SCALE_STATES && scaling_of(optimizer) == CG_SCALING_DYNAMIC; k++) {
        cg_variable **state = &optimizer->scale_state[k];
        if (!*state && !(*state = cg_scale_state_new(context_of(optimizer), optimizer->scale, k))) return false;
        const bool dropped = !cg_variable_has_value(*state) && !cg_variable_lost(*state);
        if (dropped && !cg_scale_state_reset(*state, optimizer->scale, k)) return false;
    }
    return true;
}

/* Makes the state that is still missing: all of it before the first assignment, so that failing changes nothing. */
static bool complete_slots(cg_optimizer *optimizer)
{
    int cursor = 0, index = 0;
    for (cg_variable *variable; (variable = next_target(optimizer, &cursor)); index++) {
        const slot *slot = slot_of(optimizer, variable, index);
        if (slot ? !complete_state(slot, optimizer->rule->states) : !add_slot(optimizer, variable)) return false;
    }
    return complete_scale(optimizer);
}

/* How many values a step replaces. */
static int replaced(const cg_optimizer *optimizer, int count)
{
    return count * tensors_each(optimizer->rule) + (scaling_of(optimizer) == CG_SCALING_DYNAMIC ? CG_SCALE_STATES : 0);
}

/* Room for the operands of a step: loss and penalties, numbers, and old values; then for as many new ones, and for
 * gradients. */
static bool reserve_scratch(cg_optimizer *optimizer, int count)
{
    const int needed = 2 + MAX_NUMBERS + MAX_SCALE_NUMBERS + 2 * replaced(optimizer, count) + count;
    if (needed <= optimizer->scratch_capacity) return true;
    cg_host_free(context_of(optimizer), optimizer->scratch);
    optimizer->scratch_capacity = 0;
    optimizer->scratch = cg_host_allocate(context_of(optimizer), (size_t)needed * sizeof *optimizer->scratch);
    if (!optimizer->scratch) return false;
    optimizer->scratch_capacity = needed;
    return true;
}

/* What a step replaces, each variable's value and then its state; false if one is missing, which has been reported. */
static bool list_old(const cg_optimizer *optimizer, cg_tensor *old)
{
    bool done = true;
    int cursor = 0, index = 0;
    for (cg_variable *variable; (variable = next_target(optimizer, &cursor)); index++) {
        const slot *slot = slot_of(optimizer, variable, index);
        done &= !cg_is_null(*old++ = cg_value(variable));
        for (int k = 0; k < optimizer->rule->states; k++) done &= !cg_is_null(*old++ = cg_value(slot->state[k]));
    }
    for (int k = 0; k < CG_SCALE_STATES && scaling_of(optimizer) == CG_SCALING_DYNAMIC; k++)
        done &= !cg_is_null(*old++ = cg_value(optimizer->scale_state[k]));
    return done;
}

static bool assign_each(const cg_optimizer *optimizer, const cg_tensor *values)
{
    bool done = true;
    int cursor = 0, index = 0;
    for (cg_variable *variable; (variable = next_target(optimizer, &cursor)); index++) {
        const slot *slot = slot_of(optimizer, variable, index);
        done = done && cg_assign(variable, *values++);
        for (int k = 0; k < optimizer->rule->states; k++) done = done && cg_assign(slot->state[k], *values++);
    }
    for (int k = 0; k < CG_SCALE_STATES && scaling_of(optimizer) == CG_SCALING_DYNAMIC; k++)
        done = done && cg_assign(optimizer->scale_state[k], *values++);
    return done;
}

/* Outside step scopes nothing else takes back what a step that failed between two variables has assigned. */
static bool replace(const cg_optimizer *optimizer, const cg_tensor *old, const cg_tensor *next)
{
    if (assign_each(optimizer, next)) return true;
    assign_each(optimizer, old);
    return false;
}

static bool apply_gradients(const cg_optimizer *optimizer, const cg_tensor *gradients, int count)
{
    const int tensors = replaced(optimizer, count);
    cg_tensor *numbers = optimizer->scratch, *scale = numbers + MAX_NUMBERS, *old = scale + MAX_SCALE_NUMBERS;
    cg_tensor *next = old + tensors;
    if (!list_old(optimizer, old)) return false;
    optimizer->rule->numbers(optimizer, numbers);
    scale_numbers(optimizer, scale);
    return update_all(&(update){.rule = optimizer->rule,
                                .scaling = scaling_of(optimizer),
                                .corrects = corrects_on_device(optimizer),
                                .count = count,
                                .numbers = numbers,
                                .scale_numbers = scale,
                                .old = old,
                                .gradients = gradients,
                                .next = next}) &&
           replace(optimizer, old, next);
}

static bool has_variables(const cg_optimizer *optimizer, const char *who, int count)
{
    if (count > 0) return true;
    cg_report(context_of(optimizer), CG_ERROR_ARGUMENT, who, "the optimizer has no variables to update");
    return false;
}

bool cg_apply_gradients(cg_optimizer *optimizer, const cg_tensor *gradients)
{
    if (!optimizer || !gradients || !complete_slots(optimizer)) return false;
    const int count = cg_optimizer_count(optimizer);
    if (!has_variables(optimizer, "apply_gradients", count) || !reserve_scratch(optimizer, count)) return false;
    cg_scope scope = cg_scope_local(context_of(optimizer));
    const bool done = apply_gradients(optimizer, gradients, count);
    cg_scope_end(scope);
    if (done) optimizer->steps++;
    return done;
}

/* Leaves the objective's value in a variable, for cg_optimizer_objective. */
static bool store_objective(cg_optimizer *optimizer, cg_tensor objective)
{
    if (!optimizer->objective)
        optimizer->objective = cg_variable_new(context_of(optimizer), "objective", cg_dtype_of(objective), CG_RANK0);
    if (!optimizer->objective) return false;
    if (!cg_variable_has_value(optimizer->objective) && !assign_zeros(optimizer->objective)) return false;
    cg_dtype dtype = cg_variable_dtype(optimizer->objective);
    return cg_assign(optimizer->objective, cg_dtype_of(objective) == dtype ? objective : cg_cast(objective, dtype));
}

/* Gradients of the objective times `factor` (NULL: one), by its parts: penalties depend on the weights whatever the
 * loss does, and a loss that does not would train on them alone, without a word. */
static bool differentiate(cg_context *cg, const cg_tensor *parts, int part_count, const cg_tensor *factor,
                          const cg_tensor *values, int count, cg_tensor *gradients)
{
    bool reaches[2] = {false, false};
    cg_tensor factors[2];
    for (int i = 0; factor && i < part_count; i++) factors[i] = cg_scale_like(*factor, parts[i]);
    if (!cg_grad(parts, part_count, values, count, gradients, .cotangents = factor ? factors : NULL,
                 .reaches = reaches))
        return false;
    if (reaches[0]) return true;
    cg_report(cg, CG_ERROR_ARGUMENT, "minimize",
              "the loss depends on none of the %d variables that the optimizer updates, or through ops without a "
              "gradient only; what was kept from a scope that has ended depends on nothing any more",
              count);
    return false;
}

/* Inputs of a step: the parts of the objective, the rule's numbers, those of the loss scale, and the old values.
 * Outputs: the new ones. */
enum { RULE, PARTS, COUNT, SCALING, SCALE_NUMBERS, STEP_ATTRIBUTES };

static void expand_step(const cg_call *call, const cg_tensor *in, cg_tensor *out)
{
    const int parts = (int)call->attributes[PARTS], scale_numbers = (int)call->attributes[SCALE_NUMBERS];
    update u = {.rule = &rules[call->attributes[RULE]],
                .scaling = (cg_scaling)call->attributes[SCALING],
                .corrects = scale_numbers == MAX_SCALE_NUMBERS,
                .count = (int)call->attributes[COUNT],
                .numbers = in + parts,
                .next = out};
    u.scale_numbers = u.numbers + u.rule->number_count;
    u.old = u.scale_numbers + scale_numbers;
    cg_tensor *values = cg_host_allocate(call->context, 2 * (size_t)(u.count + 1) * sizeof *values);
    if (!values) return;
    cg_tensor *gradients = values + u.count, factor = {0};
    for (int i = 0; i < u.count; i++) values[i] = u.old[i * tensors_each(u.rule)];
    if (u.scaling != CG_SCALING_NONE) factor = scale_factor(&u);
    u.gradients = gradients;
    if (differentiate(call->context, in, parts, u.scaling == CG_SCALING_NONE ? NULL : &factor, values, u.count,
                      gradients))
        update_all(&u);
    cg_host_free(call->context, values);
}

static const cg_op step_op = {.name = "minimize", .kind = CG_OP_COMPOSED, .inputs = -1, .expand = expand_step};

static bool take_step(const cg_optimizer *optimizer, cg_tensor loss, cg_tensor penalties, int count)
{
    const rule *rule = optimizer->rule;
    const int parts = cg_is_null(penalties) ? 1 : 2, tensors = replaced(optimizer, count);
    cg_tensor *in = optimizer->scratch;
    in[0] = loss;
    if (parts == 2) in[1] = penalties;
    rule->numbers(optimizer, in + parts);
    const int scale = scale_numbers(optimizer, in + parts + rule->number_count);
    const int fixed = parts + rule->number_count + scale;
    const int64_t attributes[STEP_ATTRIBUTES] = {[RULE] = rule - rules,
                                                 [PARTS] = parts,
                                                 [COUNT] = count,
                                                 [SCALING] = scaling_of(optimizer),
                                                 [SCALE_NUMBERS] = scale};
    cg_tensor *old = in + fixed, *next = old + tensors;
    return list_old(optimizer, old) &&
           cg_defer(&step_op, in, fixed + tensors, attributes, STEP_ATTRIBUTES, fixed, tensors, next) &&
           replace(optimizer, old, next);
}

bool cg_minimize(cg_optimizer *optimizer, cg_tensor loss)
{
    if (!optimizer || !is_loss(optimizer, "minimize", loss) || !complete_slots(optimizer)) return false;
    const int count = cg_optimizer_count(optimizer);
    if (!has_variables(optimizer, "minimize", count) || !reserve_scratch(optimizer, count)) return false;
    cg_tensor penalties;
    cg_scope scope = cg_scope_local(context_of(optimizer));
    const bool done = sum_penalties(optimizer, &penalties) &&
                      store_objective(optimizer, cg_is_null(penalties) ? loss : cg_add(loss, penalties)) &&
                      take_step(optimizer, loss, penalties, count);
    cg_scope_end(scope);
    if (done) optimizer->steps++;
    return done;
}

double cg_optimizer_objective(cg_optimizer *optimizer)
{
    if (!optimizer || !optimizer->objective) return NAN;
    cg_scope scope = cg_scope_local(context_of(optimizer));
    double objective = cg_item(cg_value(optimizer->objective));
    cg_scope_end(scope);
    return objective;
}

cg_tensor cg_scale_loss(cg_optimizer *optimizer, cg_tensor loss)
{
    if (!optimizer || cg_is_null(loss) || !complete_scale(optimizer)) return (cg_tensor){0};
    const cg_scaling scaling = scaling_of(optimizer);
    if (scaling == CG_SCALING_NONE) return loss;
    const cg_tensor factor = scaling == CG_SCALING_DYNAMIC
                                 ? cg_value(optimizer->scale_state[CG_SCALE_FACTOR])
                                 : cg_size_scalar(context_of(optimizer), CG_F32, optimizer->scale.factor);
    return cg_mul(loss, cg_scale_like(factor, loss));
}

double cg_optimizer_loss_scale(cg_optimizer *optimizer)
{
    if (!optimizer) return NAN;
    cg_variable *factor = optimizer->scale_state[CG_SCALE_FACTOR];
    if (!factor) return scaling_of(optimizer) == CG_SCALING_NONE ? 1 : optimizer->scale.factor;
    cg_scope scope = cg_scope_local(context_of(optimizer));
    const double value = cg_item(cg_value(factor));
    cg_scope_end(scope);
    return value;
}

void cg_optimizer_set_learning_rate(cg_optimizer *optimizer, double learning_rate)
{
    if (optimizer && rate_fits(optimizer, learning_rate)) optimizer->learning_rate = learning_rate;
}

double cg_optimizer_learning_rate(const cg_optimizer *optimizer)
{
    return optimizer ? optimizer->learning_rate : NAN;
}

int64_t cg_optimizer_steps(const cg_optimizer *optimizer)
{
    return optimizer ? optimizer->steps : 0;
}

void cg_optimizer_set_steps(cg_optimizer *optimizer, int64_t steps)
{
    if (optimizer) optimizer->steps = steps;
}

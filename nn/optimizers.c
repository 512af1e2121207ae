/* Optimizers: pure update rules as composed ops, and around them the objects that hold the state in variables, choose
 * which variables to update and count the steps. */
#include <clgrad/optimizers.h>

#include "nn/model.h"
#include "nn/options.h"
#include <clgrad/autodiff.h>
#include <clgrad/ops.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* The update rules. */

/* Each output has the shape and dtype of w; the tensors before the numbers must all agree with it. */
static bool infer_update(const cg_call *call, cg_inferred *result, int tensors, int outputs)
{
    cg_shape shape = call->input_shapes[0];
    for (int i = 1; i < tensors; i++) {
        const cg_shape *other = &call->input_shapes[i];
        if (!cg_shapes_equal(*other, shape) || call->input_dtypes[i] != call->input_dtypes[0])
            return cg_op_error(call, "weights %s %s against %s %s", cg_dtype_name(call->input_dtypes[0]),
                               cg_input_text(call, 0), cg_dtype_name(call->input_dtypes[i]), cg_input_text(call, i));
    }
    if (!cg_is_floating(call->input_dtypes[0]))
        return cg_op_error(call, "weights of dtype %s", cg_dtype_name(call->input_dtypes[0]));
    for (int i = tensors; i < call->input_count; i++)
        if (call->input_shapes[i].rank != 0) return cg_op_error(call, "a number has shape %s", cg_input_text(call, i));
    for (int i = 0; i < outputs; i++) {
        result->shape[i] = shape;
        result->dtype[i] = call->input_dtypes[0];
    }
    return true;
}

static bool infer_sgd(const cg_call *call, cg_inferred *result)
{
    return infer_update(call, result, 2, 1);
}

static void expand_sgd(const cg_call *call, const cg_tensor *in, cg_tensor *out)
{
    (void)call;
    out[0] = cg_sub(in[0], cg_mul(in[2], in[1]));
}

static const cg_op sgd_update = {
    .name = "sgd_update", .kind = CG_OP_COMPOSED, .inputs = 3, .infer = infer_sgd, .expand = expand_sgd};

cg_tensor cg_sgd_update(cg_tensor w, cg_tensor g, cg_tensor rate)
{
    return cg_apply(&sgd_update, (cg_tensor[]){w, g, rate}, 3, NULL, 0);
}

static bool infer_momentum(const cg_call *call, cg_inferred *result)
{
    return infer_update(call, result, 3, 2);
}

static void expand_momentum(const cg_call *call, const cg_tensor *in, cg_tensor *out)
{
    (void)call;
    cg_tensor w = in[0], g = in[1], v = in[2], rate = in[3], momentum = in[4];
    out[1] = cg_sub(cg_mul(momentum, v), cg_mul(rate, g));
    out[0] = cg_add(w, out[1]);
}

static const cg_op momentum_update = {.name = "momentum_update",
                                      .kind = CG_OP_COMPOSED,
                                      .inputs = 5,
                                      .outputs = 2,
                                      .infer = infer_momentum,
                                      .expand = expand_momentum};

cg_momentum_result cg_momentum_update(cg_tensor w, cg_tensor g, cg_tensor v, cg_tensor rate, cg_tensor momentum)
{
    cg_tensor out[2];
    cg_apply_all(&momentum_update, (cg_tensor[]){w, g, v, rate, momentum}, 5, NULL, 0, out);
    return (cg_momentum_result){.w = out[0], .v = out[1]};
}

static bool infer_adam(const cg_call *call, cg_inferred *result)
{
    return infer_update(call, result, 4, 3);
}

static void expand_adam(const cg_call *call, const cg_tensor *in, cg_tensor *out)
{
    (void)call;
    cg_tensor w = in[0], g = in[1], m = in[2], r = in[3];
    cg_tensor rate = in[4], beta1 = in[5], rest1 = in[6], beta2 = in[7], rest2 = in[8], delta = in[9];
    m = cg_add(cg_mul(beta1, m), cg_mul(rest1, g));
    r = cg_add(cg_mul(beta2, r), cg_mul(rest2, cg_square(g)));
    out[0] = cg_sub(w, cg_div(cg_mul(rate, m), cg_add(cg_sqrt(r), delta)));
    out[1] = m;
    out[2] = r;
}

static const cg_op adam_update = {.name = "adam_update",
                                  .kind = CG_OP_COMPOSED,
                                  .inputs = 10,
                                  .outputs = 3,
                                  .infer = infer_adam,
                                  .expand = expand_adam};

cg_adam_numbers cg_adam_numbers_at(cg_context *cg, cg_tensor rate, double beta1, double beta2, double delta, int64_t t)
{
    if (t > 0) {
        double correction = sqrt(1 - pow(beta2, (double)t)) / (1 - pow(beta1, (double)t));
        rate = cg_mul(rate, cg_scalar(cg, correction));
    }
    return (cg_adam_numbers){
        .rate = rate,
        .beta1 = cg_scalar(cg, beta1),
        .rest1 = cg_scalar(cg, 1 - beta1),
        .beta2 = cg_scalar(cg, beta2),
        .rest2 = cg_scalar(cg, 1 - beta2),
        .delta = cg_scalar(cg, delta),
    };
}

cg_adam_result cg_adam_update(cg_tensor w, cg_tensor g, cg_tensor m, cg_tensor r, const cg_adam_numbers *numbers)
{
    const cg_adam_numbers *n = numbers;
    cg_tensor in[] = {w, g, m, r, n->rate, n->beta1, n->rest1, n->beta2, n->rest2, n->delta};
    cg_tensor out[3];
    cg_apply_all(&adam_update, in, 10, NULL, 0, out);
    return (cg_adam_result){.w = out[0], .m = out[1], .r = out[2]};
}

/* The objects. */

enum { MAX_STATE = 2, PER_VARIABLE = 2 + 1 + MAX_STATE };

/* The state of one variable. */
typedef struct slot {
    cg_variable *variable;
    cg_variable *state[MAX_STATE];
} slot;

/* A rule's numbers for one step, shared by all variables. */
typedef struct step_numbers {
    cg_tensor rate, momentum;
    cg_adam_numbers adam;
} step_numbers;

/* What distinguishes the optimizers: the state that they keep, and the update of one variable. */
typedef struct rule {
    const char *name;
    const char *state_names[MAX_STATE];
    int states;
    step_numbers (*numbers)(const cg_optimizer *optimizer);
    bool (*update)(const slot *slot, cg_tensor g, const step_numbers *numbers);
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
    cg_tensor *scratch; /* values and gradients of one cg_minimize, then what its assignments replace */
    int scratch_capacity;
    cg_variable *objective;
};

static cg_context *context_of(const cg_optimizer *optimizer)
{
    return optimizer->part.model->context;
}

static step_numbers sgd_numbers(const cg_optimizer *optimizer)
{
    cg_context *cg = context_of(optimizer);
    return (step_numbers){.rate = cg_scalar(cg, optimizer->learning_rate),
                          .momentum = cg_scalar(cg, optimizer->momentum)};
}

static bool update_sgd(const slot *slot, cg_tensor g, const step_numbers *numbers)
{
    return cg_assign(slot->variable, cg_sgd_update(cg_value(slot->variable), g, numbers->rate));
}

static bool update_momentum(const slot *slot, cg_tensor g, const step_numbers *numbers)
{
    cg_momentum_result next = cg_momentum_update(cg_value(slot->variable), g, cg_value(slot->state[0]), numbers->rate,
                                                 numbers->momentum);
    return cg_assign(slot->variable, next.w) && cg_assign(slot->state[0], next.v);
}

static step_numbers adam_numbers(const cg_optimizer *optimizer)
{
    cg_context *cg = context_of(optimizer);
    int64_t t = optimizer->no_bias_correction ? 0 : optimizer->steps + 1;
    return (step_numbers){.adam = cg_adam_numbers_at(cg, cg_scalar(cg, optimizer->learning_rate), optimizer->beta1,
                                                     optimizer->beta2, optimizer->delta, t)};
}

static bool update_adam(const slot *slot, cg_tensor g, const step_numbers *numbers)
{
    cg_adam_result next = cg_adam_update(cg_value(slot->variable), g, cg_value(slot->state[0]),
                                         cg_value(slot->state[1]), &numbers->adam);
    return cg_assign(slot->variable, next.w) && cg_assign(slot->state[0], next.m) && cg_assign(slot->state[1], next.r);
}

static const rule sgd_rule = {.name = "sgd", .numbers = sgd_numbers, .update = update_sgd};
static const rule momentum_rule = {
    .name = "sgd", .state_names = {"v"}, .states = 1, .numbers = sgd_numbers, .update = update_momentum};
static const rule adam_rule = {
    .name = "adam", .state_names = {"m", "r"}, .states = 2, .numbers = adam_numbers, .update = update_adam};

static void destroy_optimizer(cg_part *part)
{
    cg_optimizer *optimizer = (cg_optimizer *)part;
    cg_context *cg = context_of(optimizer);
    for (int i = 0; i < optimizer->slot_count; i++)
        for (int k = 0; k < optimizer->rule->states; k++) cg_variable_free(optimizer->slots[i].state[k]);
    cg_variable_free(optimizer->objective);
    cg_host_free(cg, optimizer->slots);
    cg_host_free(cg, optimizer->chosen);
    cg_host_free(cg, optimizer->scratch);
}

static cg_optimizer *new_optimizer(cg_model *model, const rule *rule, cg_variable *const *variables, int count)
{
    cg_optimizer *optimizer = cg_part_new(model, sizeof *optimizer, destroy_optimizer);
    if (!optimizer) return NULL;
    optimizer->rule = rule;
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

static bool rate_fits(const cg_optimizer *optimizer, double rate)
{
    return cg_number_fits(context_of(optimizer), optimizer->rule->name, "the learning rate", rate, 0, INFINITY);
}

cg_optimizer *cg_sgd_new_with(cg_model *model, const cg_sgd_options *options)
{
    options = options ? options : CG_OPTIONS(cg_sgd_options, );
    const rule *rule = options->momentum != 0 ? &momentum_rule : &sgd_rule;
    cg_optimizer *optimizer = new_optimizer(model, rule, options->variables, options->variable_count);
    if (!optimizer) return NULL;
    optimizer->learning_rate = cg_number_or(options->learning_rate, 0.01);
    optimizer->momentum = cg_number_or(options->momentum, 0);
    return if_fits(optimizer, rate_fits(optimizer, optimizer->learning_rate) &&
                                  cg_number_fits(model->context, rule->name, "momentum", optimizer->momentum, 0, 1));
}

cg_optimizer *cg_adam_new_with(cg_model *model, const cg_adam_options *options)
{
    options = options ? options : CG_OPTIONS(cg_adam_options, );
    cg_optimizer *optimizer = new_optimizer(model, &adam_rule, options->variables, options->variable_count);
    if (!optimizer) return NULL;
    optimizer->learning_rate = cg_number_or(options->learning_rate, 0.001);
    optimizer->beta1 = cg_number_or(options->beta1, 0.9);
    optimizer->beta2 = cg_number_or(options->beta2, 0.999);
    optimizer->delta = cg_number_or(options->delta, 1e-7);
    optimizer->no_bias_correction = options->no_bias_correction;
    const char *name = adam_rule.name;
    return if_fits(optimizer, rate_fits(optimizer, optimizer->learning_rate) &&
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
    return NULL;
}

/* A dead tensor is left to the ops, which report it. */
static bool is_loss(const cg_optimizer *optimizer, const char *who, cg_tensor loss)
{
    if (cg_is_null(loss)) return false;
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

/* Makes the state that is still missing: all of it before the first assignment, so that failing changes nothing. */
static bool complete_slots(cg_optimizer *optimizer)
{
    int cursor = 0, index = 0;
    for (cg_variable *variable; (variable = next_target(optimizer, &cursor)); index++) {
        const slot *slot = slot_of(optimizer, variable, index);
        if (slot ? !complete_state(slot, optimizer->rule->states) : !add_slot(optimizer, variable)) return false;
    }
    return true;
}

/* Room for every tensor that a step of `count` variables needs at hand. */
static bool reserve_scratch(cg_optimizer *optimizer, int count)
{
    count *= PER_VARIABLE;
    if (count <= optimizer->scratch_capacity) return true;
    cg_host_free(context_of(optimizer), optimizer->scratch);
    optimizer->scratch_capacity = 0;
    optimizer->scratch = cg_host_allocate(context_of(optimizer), (size_t)count * sizeof *optimizer->scratch);
    if (!optimizer->scratch) return false;
    optimizer->scratch_capacity = count;
    return true;
}

/* The values that a step replaces, weights and state; false if one is missing, which has been reported. */
static bool list_replaced(const cg_optimizer *optimizer, cg_tensor *replaced)
{
    bool done = true;
    int cursor = 0, index = 0;
    for (cg_variable *variable; (variable = next_target(optimizer, &cursor)); index++) {
        const slot *slot = slot_of(optimizer, variable, index);
        done &= !cg_is_null(*replaced++ = cg_value(variable));
        for (int k = 0; k < optimizer->rule->states; k++) done &= !cg_is_null(*replaced++ = cg_value(slot->state[k]));
    }
    return done;
}

/* Outside step scopes nothing else takes back what a step that failed between two variables has assigned. */
static void take_back(const cg_optimizer *optimizer, const cg_tensor *replaced)
{
    int cursor = 0, index = 0;
    for (cg_variable *variable; (variable = next_target(optimizer, &cursor)); index++) {
        const slot *slot = slot_of(optimizer, variable, index);
        cg_assign(variable, *replaced++);
        for (int k = 0; k < optimizer->rule->states; k++) cg_assign(slot->state[k], *replaced++);
    }
}

static bool update_all(cg_optimizer *optimizer, const cg_tensor *gradients, cg_tensor *replaced)
{
    if (!list_replaced(optimizer, replaced)) return false;
    step_numbers numbers = optimizer->rule->numbers(optimizer);
    bool done = true;
    int cursor = 0, index = 0;
    for (cg_variable *variable; done && (variable = next_target(optimizer, &cursor)); index++)
        done = !cg_is_null(gradients[index]) &&
               optimizer->rule->update(slot_of(optimizer, variable, index), gradients[index], &numbers);
    if (!done) take_back(optimizer, replaced);
    return done;
}

bool cg_apply_gradients(cg_optimizer *optimizer, const cg_tensor *gradients)
{
    if (!optimizer || !gradients || !complete_slots(optimizer)) return false;
    int count = cg_optimizer_count(optimizer);
    if (!reserve_scratch(optimizer, count)) return false;
    cg_scope scope = cg_scope_local(context_of(optimizer));
    bool done = update_all(optimizer, gradients, optimizer->scratch + 2 * count);
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

/* Gradients of the objective, by its two parts: penalties depend on the weights whatever the loss does, and a loss that
 * does not would train on them alone, without a word. */
static bool differentiate(const cg_optimizer *optimizer, cg_tensor loss, cg_tensor penalties, const cg_tensor *values,
                          int count, cg_tensor *gradients)
{
    const cg_tensor parts[] = {loss, penalties};
    bool reaches[2] = {false, false};
    if (!cg_grad(parts, cg_is_null(penalties) ? 1 : 2, values, count, gradients, .reaches = reaches)) return false;
    if (reaches[0]) return true;
    cg_report(context_of(optimizer), CG_ERROR_ARGUMENT, "minimize",
              "the loss depends on none of the %d variables that the optimizer updates, or through ops without a "
              "gradient only; what was kept from a scope that has ended depends on nothing any more",
              count);
    return false;
}

bool cg_minimize(cg_optimizer *optimizer, cg_tensor loss)
{
    if (!optimizer || !is_loss(optimizer, "minimize", loss)) return false;
    int count = cg_optimizer_count(optimizer);
    if (!reserve_scratch(optimizer, count)) return false;
    cg_tensor *values = optimizer->scratch, *gradients = values + count, penalties;
    cg_scope scope = cg_scope_local(context_of(optimizer));
    int cursor = 0;
    for (int i = 0; i < count; i++) values[i] = cg_value(next_target(optimizer, &cursor));
    bool done = sum_penalties(optimizer, &penalties) &&
                differentiate(optimizer, loss, penalties, values, count, gradients) &&
                store_objective(optimizer, cg_is_null(penalties) ? loss : cg_add(loss, penalties)) &&
                cg_apply_gradients(optimizer, gradients);
    cg_scope_end(scope);
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

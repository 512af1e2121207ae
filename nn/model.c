/* Models: a growing list of named variables with their penalties, and the list of parts to be freed with them. Values
 * are the engine's business: a model only holds the handles. */
#include "nn/model.h"

#include <clgrad/ops.h>
#include <string.h>

cg_penalty cg_l1(double l1)
{
    return (cg_penalty){.l1 = l1};
}

cg_penalty cg_l2(double l2)
{
    return (cg_penalty){.l2 = l2};
}

cg_penalty cg_elastic(double l1, double l2)
{
    return (cg_penalty){.l1 = l1, .l2 = l2};
}

cg_model *cg_model_new(cg_context *cg)
{
    if (!cg) return NULL;
    cg_model *model = cg_host_allocate(cg, sizeof *model);
    if (model) model->context = cg;
    return model;
}

void cg_model_free(cg_model *model)
{
    if (!model) return;
    while (model->parts) cg_part_free(model->parts);
    for (int i = 0; i < model->count; i++) cg_variable_free(model->entries[i].variable);
    cg_host_free(model->context, model->entries);
    cg_host_free(model->context, model);
}

cg_context *cg_model_context(const cg_model *model)
{
    return model ? model->context : NULL;
}

void *cg_part_new(cg_model *model, size_t bytes, void (*destroy)(cg_part *part))
{
    if (!model) return NULL;
    cg_part *part = cg_host_allocate(model->context, bytes);
    if (!part) return NULL;
    part->model = model;
    part->destroy = destroy;
    part->next = model->parts;
    if (part->next) part->next->previous = part;
    model->parts = part;
    return part;
}

void cg_part_free(cg_part *part)
{
    if (!part) return;
    if (part->previous)
        part->previous->next = part->next;
    else
        part->model->parts = part->next;
    if (part->next) part->next->previous = part->previous;
    if (part->destroy) part->destroy(part);
    cg_host_free(part->model->context, part);
}

static bool reserve_entry(cg_model *model)
{
    if (model->count < model->capacity) return true;
    int capacity = model->capacity ? 2 * model->capacity : 16;
    cg_model_entry *entries = cg_host_allocate(model->context, (size_t)capacity * sizeof *entries);
    if (!entries) return false;
    if (model->count) memcpy(entries, model->entries, (size_t)model->count * sizeof *entries);
    cg_host_free(model->context, model->entries);
    model->entries = entries;
    model->capacity = capacity;
    return true;
}

cg_variable *cg_model_add_with(cg_model *model, const char *name, cg_tensor initial,
                               const cg_model_add_options *options)
{
    options = options ? options : CG_OPTIONS(cg_model_add_options, );
    if (!model) return NULL;
    cg_context *cg = model->context;
    if (!name || !*name) {
        cg_report(cg, CG_ERROR_ARGUMENT, "model", "a variable needs a name");
        return NULL;
    }
    if (cg_is_null(initial)) {
        cg_report_null(cg, name, "the initial value");
        return NULL;
    }
    if (cg_model_find(model, name)) {
        cg_report(cg, CG_ERROR_ARGUMENT, "model", "there is already a variable \"%s\"", name);
        return NULL;
    }
    if (!reserve_entry(model)) return NULL;
    cg_variable *variable = cg_variable_new(cg, name, cg_dtype_of(initial), cg_shape_of(initial));
    if (!variable) return NULL;
    if (!cg_assign(variable, initial)) {
        cg_variable_free(variable);
        return NULL;
    }
    model->entries[model->count++] = (cg_model_entry){
        .variable = variable, .trainable = !options->frozen, .penalty = options->penalty};
    return variable;
}

void cg_model_truncate(cg_model *model, int count)
{
    while (model->count > count) cg_variable_free(model->entries[--model->count].variable);
}

cg_variable *cg_model_find(const cg_model *model, const char *name)
{
    if (!model || !name) return NULL;
    for (int i = 0; i < model->count; i++)
        if (!strcmp(cg_variable_name(model->entries[i].variable), name)) return model->entries[i].variable;
    return NULL;
}

int cg_model_count(const cg_model *model)
{
    return model ? model->count : 0;
}

cg_variable *cg_model_at(const cg_model *model, int index)
{
    return model && index >= 0 && index < model->count ? model->entries[index].variable : NULL;
}

int64_t cg_model_size(const cg_model *model)
{
    int64_t size = 0;
    for (int i = 0; i < cg_model_count(model); i++)
        size += cg_shape_size(cg_variable_shape(model->entries[i].variable));
    return size;
}

const cg_model_entry *cg_model_entry_of(const cg_model *model, const cg_variable *variable, int hint)
{
    if (!model || !variable) return NULL;
    if (hint >= 0 && hint < model->count && model->entries[hint].variable == variable) return &model->entries[hint];
    for (int i = 0; i < model->count; i++)
        if (model->entries[i].variable == variable) return &model->entries[i];
    return NULL;
}

/* The entry to be changed; reports if there is none. */
static cg_model_entry *own_entry(cg_model *model, const cg_variable *variable)
{
    if (!model || !variable) return NULL;
    cg_model_entry *entry = (cg_model_entry *)cg_model_entry_of(model, variable, -1);
    if (!entry)
        cg_report(model->context, CG_ERROR_ARGUMENT, "model", "variable \"%s\" belongs to another model",
                  cg_variable_name(variable));
    return entry;
}

bool cg_model_is_trainable(const cg_model *model, const cg_variable *variable)
{
    const cg_model_entry *entry = cg_model_entry_of(model, variable, -1);
    return entry && entry->trainable;
}

bool cg_model_set_trainable(cg_model *model, const cg_variable *variable, bool trainable)
{
    cg_model_entry *entry = own_entry(model, variable);
    if (entry) entry->trainable = trainable;
    return entry != NULL;
}

cg_penalty cg_model_penalty(const cg_model *model, const cg_variable *variable)
{
    const cg_model_entry *entry = cg_model_entry_of(model, variable, -1);
    return entry ? entry->penalty : (cg_penalty){.l1 = 0};
}

bool cg_model_set_penalty(cg_model *model, const cg_variable *variable, cg_penalty penalty)
{
    cg_model_entry *entry = own_entry(model, variable);
    if (entry) entry->penalty = penalty;
    return entry != NULL;
}

cg_tensor cg_penalty_value(cg_penalty penalty, cg_tensor weights)
{
    cg_context *cg = cg_context_of(weights);
    cg_tensor l1 = {0}, l2 = {0};
    if (!cg) return l1;
    if (penalty.l1 != 0) l1 = cg_mul(cg_scalar(cg, penalty.l1), cg_sum(cg_abs(weights)));
    if (penalty.l2 != 0) l2 = cg_mul(cg_scalar(cg, penalty.l2), cg_sum(cg_square(weights)));
    if (penalty.l1 == 0) return l2;
    return penalty.l2 == 0 ? l1 : cg_add(l1, l2);
}

/* What a model looks like inside nn/: its variables, and the parts (layers, optimizers) that it frees. */
#ifndef CLGRAD_NN_MODEL_H
#define CLGRAD_NN_MODEL_H

#include <clgrad/model.h>

/* The head of everything that a model frees with itself. */
typedef struct cg_part {
    struct cg_part *next, *previous;
    cg_model *model;
    void (*destroy)(struct cg_part *part); /* frees what the part holds besides its own memory; may be NULL */
} cg_part;

typedef struct cg_model_entry {
    cg_variable *variable;
    bool trainable;
    cg_penalty penalty;
} cg_model_entry;

struct cg_model {
    cg_context *context;
    cg_model_entry *entries;
    int count, capacity;
    cg_part *parts;
};

/* Zeroed memory of `bytes`, beginning with a cg_part that the model will free. NULL for a NULL model or no memory. */
void *cg_part_new(cg_model *model, size_t bytes, void (*destroy)(cg_part *part));
void cg_part_free(cg_part *part);

/* Frees the variables added after the first `count`: what a layer does that could not be made whole. */
void cg_model_truncate(cg_model *model, int count);

/* The entry of a variable, NULL if the model lacks it. `hint` is where it is looked for first. */
const cg_model_entry *cg_model_entry_of(const cg_model *model, const cg_variable *variable, int hint);

#endif

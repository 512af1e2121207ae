/* Which variables' old values nobody will need after the plan, so that the new ones may be written over them. Works on
 * the walked graph: counts references, looks no further than nodes, variables and scopes. */
#include "engine/donate.h"
#include "engine/buffer.h"

#include <string.h>

/* At a step scope's end, references that end with it do not hold a value: those of the variables and of the list of
 * kept tensors to what is about to become a leaf. What takes over a value stored before does hold it. */
static void discount_cut(cg_context *cg, const cg_walk *w, int ending)
{
    const uint64_t walk = w->visit;
    for (int i = 0; i < cg->pending_count; i++) {
        cg_variable *v = cg->pending[i];
        if (v->current->visit == walk && !v->current->buffer) v->current->plan_references++;
        if (v->committed && v->committed->visit == walk) v->committed->plan_references++;
    }
    for (int i = 0; i < cg->asked_count; i++) {
        cg_node *node = cg->asked[i];
        const bool cut = (int)node->cut_scope >= ending;
        if (node->visit == walk && cut && !node->buffer)
            node->plan_references += 1 + (node->owned && (int)node->owner < ending);
    }
}

/* One reference to the node ends; nodes outside the walk count such references from the first one on. */
static void end_reference(const cg_walk *w, uint64_t ends, cg_node *node)
{
    if (node->visit != w->visit && node->visit != ends) {
        node->visit = ends;
        node->plan_references = 0;
    }
    node->plan_references++;
}

static bool push_if_ending(cg_context *cg, cg_walk *w, uint64_t ends, cg_node *node, int *depth)
{
    if (node->visit != ends || (int64_t)node->references != node->plan_references) return true;
    if (!CG_GROW(cg, w->ending, w->ending_capacity, *depth + 1)) return false;
    w->ending[(*depth)++] = node;
    return true;
}

/* Looking ahead at the end of scopes that are still open: their handles will hold nothing then, nor will nodes outside
 * the walk that nothing else keeps alive. */
static bool discount_scopes(cg_context *cg, cg_walk *w, int ending)
{
    const uint64_t ends = cg_walk_new(cg);
    bool ok = true;
    int depth = 0;
    for (int s = ending; s < cg->scope_count; s++)
        for (cg_node *node = cg->scopes[s].first; node; node = node->scope_next) end_reference(w, ends, node);
    for (int s = ending; s < cg->scope_count; s++)
        for (cg_node *node = cg->scopes[s].first; ok && node; node = node->scope_next)
            ok = push_if_ending(cg, w, ends, node, &depth);
    while (ok && depth > 0) {
        const cg_node *node = w->ending[--depth];
        for (int i = 0; ok && i < node->input_count; i++) {
            end_reference(w, ends, node->inputs[i]);
            ok = push_if_ending(cg, w, ends, node->inputs[i], &depth);
        }
    }
    return ok;
}

/* Marks what something alive after the plan depends on: nodes with references from elsewhere, and all they read. */
static bool find_held(cg_context *cg, cg_walk *w)
{
    if (!CG_GROW(cg, w->held, w->held_capacity, w->count + 1)) return false;
    memset(w->held, 0, (size_t)w->count * sizeof *w->held);
    for (int i = w->count - 1; i >= 0; i--) {
        const cg_node *node = w->nodes[i];
        if ((int64_t)node->references > node->plan_references) w->held[i] = true;
        if (!w->held[i] || cg_is_leaf(node)) continue;
        for (int k = 0; k < cg_needs(node); k++) w->held[node->inputs[k]->position] = true;
    }
    return true;
}

bool cg_donate(cg_context *cg, cg_walk *w, int ending)
{
    discount_cut(cg, w, ending);
    if (!discount_scopes(cg, w, ending) || !find_held(cg, w)) return false;
    for (int i = 0; i < w->root_count; i++) {
        cg_root *root = &w->roots[i];
        const cg_node *old = root->variable ? root->variable->committed : NULL;
        if (!old || !old->buffer || old->buffer->references != 1 || !old->buffer->pool) continue;
        const bool read = old->visit == w->visit;
        if (read) root->donor = old->position;
        root->donated = read ? !w->held[old->position] : old->references == 1;
        if (read) w->held[old->position] = true; /* another variable with the same value needs a buffer of its own */
    }
    return true;
}

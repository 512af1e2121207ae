/* Deferred calls: composed ops of any number of inputs and outputs that are recorded as they are and expanded when
 * something needs to look inside, which at a known plan is never. Used by plan.c and, before walking, by autodiff. */
#ifndef CLGRAD_ENGINE_EXPAND_H
#define CLGRAD_ENGINE_EXPAND_H

#include "engine/graph.h"

static inline bool cg_is_deferred(const cg_node *node)
{
    return node->kind == CG_NODE_CALL && node->op->kind == CG_OP_COMPOSED;
}

/* Expands a call: its outputs become what the expansion made. False after reporting. The caller holds a reference to
 * the call, which loses those of its outputs and lets go of its inputs. */
bool cg_expand(cg_node *call);

/* Expands every deferred call behind the tensors, stored values included. False after reporting. */
bool cg_expand_behind(cg_context *cg, const cg_tensor *tensors, int count);

#endif

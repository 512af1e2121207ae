/* Deferred calls: composed ops of any number of inputs and outputs that are recorded as they are and expanded when
 * something needs to look inside, which at a known plan is never. Used by plan.c and scope.c. */
#ifndef CLGRAD_ENGINE_EXPAND_H
#define CLGRAD_ENGINE_EXPAND_H

#include "engine/graph.h"

/* False for a call that was expanded and only lives on in somebody's list: it has let go of its inputs. */
static inline bool cg_is_deferred(const cg_node *node)
{
    return node->kind == CG_NODE_CALL && node->op->kind == CG_OP_COMPOSED && node->input_count > 0;
}

/* Expands a call, if it is deferred still: its outputs become what the expansion made. False after reporting. The
 * caller holds a reference to the call, which loses those of its outputs and lets go of its inputs. */
bool cg_expand(cg_node *call);

/* cg_expand_behind (graph.h) behind whatever is alive: needed before history is cut under calls recorded further out.
 */
bool cg_expand_alive(cg_context *cg);

#endif

/* Graph nodes: what an op call records. A node is one value (outputs of an op with several are nodes of their own that
 * refer to it), counted by reference, owned by the scope in which its handle was made. Used by the whole engine and,
 * for walking the graph, by autodiff; nothing here knows OpenCL. */
#ifndef CLGRAD_ENGINE_GRAPH_H
#define CLGRAD_ENGINE_GRAPH_H

#include "engine/narrow.h"
#include <clgrad/op.h>

typedef struct cg_node cg_node;

/* What a node is. Everything but CALL and OUTPUT is a leaf of the graph. */
typedef enum cg_node_kind {
    CG_NODE_CALL,     /* an op applied to inputs */
    CG_NODE_OUTPUT,   /* output `attributes[0]` of its input, a call with several outputs */
    CG_NODE_DATA,     /* a stored value without history: `buffer` */
    CG_NODE_CONSTANT, /* a literal of any shape, part of the structure: `number` */
    CG_NODE_SCALAR,   /* rank 0, a kernel argument: `number` */
    CG_NODE_INDEX     /* the row-major position of each element, i32 */
} cg_node_kind;

enum { CG_INLINE_INPUTS = 4, CG_INLINE_ATTRIBUTES = 8 };

struct cg_node {
    cg_context *context;
    uint64_t serial;     /* in the order of making, never used again */
    uint64_t generation; /* of the handle; changes when the handle dies */
    const cg_op *op;     /* calls only */
    uint32_t references; /* from nodes that read it, from variables, and one while its handle lives */
    uint8_t kind, dtype;
    bool weak;         /* dtype gives way to that of the other operands */
    bool owned;        /* its handle lives, in the list of scope `owner` */
    bool computed;     /* a plan has computed it before, without storing it */
    bool cut;          /* a value whose history ended with a scope */
    bool assigned;     /* some variable was given this value */
    bool failed;       /* a forcing point that was to store it failed: stored again only when asked for itself */
    bool asked;        /* kept: stored at the next forcing point, in the context's list `asked` */
    int8_t batch_axis; /* the axis that is the minibatch, or -1 */
    uint16_t attribute_count;
    int32_t input_count, output_count;
    uint32_t owner;     /* index of the owning scope */
    uint32_t cut_scope; /* of an asked node: the scope whose end makes it a leaf */
    cg_shape shape;
    cg_node *inline_inputs[CG_INLINE_INPUTS], **inputs;
    int64_t inline_attributes[CG_INLINE_ATTRIBUTES], *attributes;
    double number;                        /* CONSTANT, SCALAR; a call of such only is folded on the host */
    struct cg_buffer *buffer;             /* set once the value is stored; a CALL with a buffer still has its history */
    char *label;                          /* name for messages, or NULL */
    cg_node *scope_next, *scope_previous; /* list of the owning scope */
    uint64_t hash;           /* of kind, op, dtype, shape and attributes: what the key needs but the inputs */
    uint64_t visit;          /* epoch of the walk that saw it last... */
    int32_t position;        /* ...and its number there */
    int32_t plan_references; /* references from within that walk */
    cg_shape *output_shapes; /* calls with several outputs */
    cg_dtype *output_dtypes;
    cg_node **output_nodes; /* those that exist, not counted as references */
};

/* The node of a live handle; NULL, after reporting under `who`, for a dead one; NULL, silently, for the null tensor. */
cg_node *cg_node_of(cg_tensor tensor, const char *who);
/* A handle to a live node, owned by the current scope if it had no handle. */
cg_tensor cg_tensor_of(cg_node *node);

/* Moves a handle that the innermost scope owns to the scope around it; a handle of a scope further out stays. What
 * functions that work in a local scope give back their results with. */
void cg_lift(cg_tensor tensor);
/* Whether an error was recorded since the scope, still open, began. */
bool cg_scope_failed(cg_scope scope);

/* Output `index` of a call with several, as a tensor of its own. */
cg_tensor cg_output_of(cg_node *call, int index);

/* The same call of inputs of the same shapes and dtypes, with a handle of its own or, if it has several outputs, with
 * one for each. NULL after reporting. */
cg_node *cg_call_again(const cg_node *call, cg_node *const *inputs);

/* A serial that no node has: what was recorded before has lower ones, what is recorded from now on higher ones. */
uint64_t cg_serial_new(cg_context *cg);

/* What a node was recorded from. Taken from it so that it can become something else, and ended after that. */
typedef struct cg_history {
    cg_context *context;
    cg_node *inlined[CG_INLINE_INPUTS], **inputs; /* NULL: they are in `inlined` */
    int64_t *attributes;                          /* to be freed, or NULL */
    int count;
} cg_history;
void cg_history_take(cg_node *node, cg_history *history);
void cg_history_end(cg_history *history);

void cg_node_retain(cg_node *node);
void cg_node_release(cg_node *node);

/* What of a node is structure, apart from its inputs: the words that its hash is made of. Returns how many. */
enum { CG_MOST_WORDS = CG_MAX_RANK + CG_MAX_ATTRIBUTES + 4 };
int cg_node_words(const cg_node *node, uint64_t *words);

/* How many of its inputs running a node reads. A move reads the first; any others are there for its derivative rule. */
static inline int cg_reads(const cg_node *node)
{
    return node->kind == CG_NODE_CALL && node->op->kind == CG_OP_MOVE ? 1 : node->input_count;
}

/* How many of its inputs must be computed for it: those, and what a move of something again waits for. */
static inline int cg_needs(const cg_node *node)
{
    return node->kind == CG_NODE_CALL && node->op->again ? 2 : cg_reads(node);
}

/* Where a walk of what is to be computed stops. */
static inline bool cg_is_leaf(const cg_node *node)
{
    return node->buffer || node->input_count == 0;
}

/* Expands every deferred call behind the tensors, stored values included, so that a walk of the history meets none but
 * those that have a derivative rule of their own: expand.c. False after reporting. */
bool cg_expand_behind(cg_context *cg, const cg_tensor *tensors, int count);

/* A new number for a walk; a node whose `visit` equals it has been seen by that walk. */
uint64_t cg_walk_new(cg_context *cg);

/* The call that `node` stands for, for descriptors' functions. The arrays are valid until the next one is filled. */
typedef struct cg_call_view {
    cg_call call;
    cg_shape shapes[CG_MAX_INPUTS];
    cg_dtype dtypes[CG_MAX_INPUTS];
    const char *names[CG_MAX_INPUTS];
} cg_call_view;
void cg_call_of(cg_node *node, cg_call_view *view);

#endif

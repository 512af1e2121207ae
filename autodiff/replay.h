/* Segments of the graph that are computed again in the backward pass. A segment is what lies between the results of
 * one cg_checkpoint and what was recorded before it began; to a derivative rule of an op in it, all that the op has
 * read and computed is shown as computed again from the segment's inputs, once the segment's results have a cotangent.
 * The copies are ordinary calls, made when a rule first asks for them. Used by reverse mode. */
#ifndef CLGRAD_AUTODIFF_REPLAY_H
#define CLGRAD_AUTODIFF_REPLAY_H

#include "engine/graph.h"

/* A segment and, being its number, -1 for what belongs to none. */
typedef struct cg_segment {
    uint64_t begin;   /* serial: what belongs to it has a higher one */
    int outer, depth; /* the segment that it lies in, or -1; how many those are */
    cg_node *wait;    /* the first cotangent of a result */
} cg_segment;

/* `node` as it is seen in a segment. */
typedef struct cg_replayed {
    const cg_node *node;
    int segment;
    cg_node *copy;
} cg_replayed;

/* Zeroed but for the context to begin with. */
typedef struct cg_replay {
    cg_context *context;
    cg_segment *segments;
    int segment_count, segment_capacity;
    cg_replayed *table; /* by node and segment; a power of two of places, those without a node being free */
    int count, places;
    struct cg_replay_frame *stack;
    int depth, stack_capacity;
} cg_replay;
void cg_replay_free(cg_replay *replay);

/* Is it a result of cg_checkpoint, the identity of its one input? Then what belongs to its segment has higher serials
 * than `begin`. In checkpoint.c. */
bool cg_is_checkpoint(const cg_node *node);
uint64_t cg_checkpoint_begin(const cg_node *result);

/* The segment of a result that is seen in segment `outer` and has been given a cotangent. -1 after reporting. */
int cg_replay_enter(cg_replay *replay, const cg_node *result, int outer, cg_tensor cotangent);

/* Of the segment and those that it lies in, the innermost that something read in it belongs to. */
int cg_replay_around(const cg_replay *replay, int segment, const cg_node *read);

/* What the node is in a segment, itself for -1; of a call with several outputs, the call. NULL after reporting. */
cg_node *cg_replay_of(cg_replay *replay, cg_node *node, int segment);

#endif

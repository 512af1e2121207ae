/* Finding equal nodes: a table by what a node does and the positions of what it reads, inputs first, so that what reads
 * equal nodes may itself turn out to be equal. */
#include "engine/equal.h"
#include "engine/hash.h"

#include <string.h>

typedef struct table {
    int *items; /* position + 1 of a node, or 0 */
    uint64_t mask;
} table;

static bool is_mergeable(const cg_schedule *s, const cg_entry *item)
{
    const cg_node *node = item->node;
    if (node->buffer || item->root >= 0) return false;
    if (node->kind == CG_NODE_CONSTANT || node->kind == CG_NODE_INDEX) return true;
    if (s->forgets) return node->kind == CG_NODE_CALL || node->kind == CG_NODE_OUTPUT;
    if (node->kind != CG_NODE_CALL || node->op->random || node->op->reports || node->op->shifts || node->op->again)
        return false;
    return node->op->kind == CG_OP_MAP || node->op->kind == CG_OP_MOVE || node->op->kind == CG_OP_REDUCE ||
           node->op->kind == CG_OP_CONTRACT;
}

/* Is it another name for what it computes again? */
static bool is_again(const cg_entry *item)
{
    const cg_node *node = item->node;
    return node->kind == CG_NODE_CALL && !node->buffer && node->op->again && item->root < 0;
}

static bool are_equal(const cg_node *a, const cg_node *b)
{
    uint64_t words[2][CG_MOST_WORDS];
    if (a->hash != b->hash || a->kind != b->kind || cg_reads(a) != cg_reads(b)) return false;
    if (a->attribute_count != b->attribute_count) return false;
    for (int i = 0; i < a->attribute_count; i++) /* where slices start, too, which is no part of the structure */
        if (a->attributes[i] != b->attributes[i]) return false;
    for (int i = 0; i < cg_reads(a); i++)
        if (a->inputs[i]->position != b->inputs[i]->position) return false;
    const int count = cg_node_words(a, words[0]);
    return count == cg_node_words(b, words[1]) && memcmp(words[0], words[1], (size_t)count * sizeof **words) == 0;
}

/* The place in the table of an equal node, or the free one where it would be. */
static int *find(const cg_schedule *s, const table *t, const cg_node *node)
{
    uint64_t at = node->hash;
    for (int i = 0; i < cg_reads(node); i++) at = cg_mix(at, (uint64_t)node->inputs[i]->position);
    for (at &= t->mask; t->items[at]; at = (at + 1) & t->mask)
        if (are_equal(s->items[t->items[at] - 1].node, node)) break;
    return &t->items[at];
}

bool cg_merge_equal(cg_schedule *s)
{
    table t = {.mask = 1};
    while (t.mask < 2 * (uint64_t)s->walk->count) t.mask *= 2;
    t.items = cg_host_allocate(s->context, (size_t)t.mask * sizeof *t.items);
    if (!t.items) return false;
    t.mask--;
    for (int i = 0; i < s->walk->count; i++) {
        cg_entry *item = &s->items[i];
        if (s->forgets && is_again(item)) {
            item->kind = CG_ITEM_SAME;
            item->node->position = item->node->inputs[0]->position;
        }
        if (item->kind == CG_ITEM_SAME || !is_mergeable(s, item)) continue;
        int *place = find(s, &t, item->node);
        if (*place == 0) {
            *place = i + 1;
            continue;
        }
        item->kind = CG_ITEM_SAME;
        item->node->position = *place - 1;
        s->merged++;
    }
    cg_host_free(s->context, t.items);
    return true;
}

void cg_restore_positions(cg_schedule *s)
{
    for (int i = 0; i < s->walk->count; i++) s->walk->nodes[i]->position = i;
}

/* Passes over rows: a kernel that goes over each row several times while a cache holds it, folding it or storing its
 * elements, where the numbers that one pass leaves are what the next one needs. On CPUs a work-item takes a block of
 * rows; on GPUs the items of a work-group share a row, and wait for each other where they have folded it. */
#include "engine/generator.h"

#include <stdio.h>

enum {
    GROUPS_PER_UNIT = 16,  /* work-groups of a GPU, each of which keeps a row, for each of its units */
    MOST_FETCHED = 1 << 15 /* elements of a row that is asked for before the one before it is done */
};

/* --- a row --- */

/* What follows a pass: the numbers of the row, which every work-item computes and one stores. */
static void print_numbers(cg_generator *g, cg_text *out, int lanes, const char *indent)
{
    char deeper[CG_INDENT];
    bool stores = false;
    snprintf(deeper, sizeof deeper, "%s    ", indent);
    for (int i = 0; i < g->lowered->store_count; i++)
        stores |= !g->lowered->stores[i].inner && g->lowered->stores[i].pass == g->pass;
    cg_print_terms(g, out, false, lanes, indent);
    /* Later passes are behind a barrier already; before the first, all must have read what is written in place. */
    if (stores && g->sharing > 1 && g->pass < 0 && g->group->in_place)
        cg_text_add(out, "%sbarrier(CLK_GLOBAL_MEM_FENCE);\n", indent);
    if (stores && g->sharing > 1) cg_text_add(out, "%sif (item == 0) {\n", indent);
    cg_print_stores(g, out, false, lanes, g->sharing > 1 ? deeper : indent);
    if (stores && g->sharing > 1) cg_text_add(out, "%s}\n", indent);
}

/* --- asking for the next row --- */

static int cost_of_pass(const cg_lowered *l, int pass)
{
    int cost = 0;
    for (int i = 0; i < l->value_count; i++)
        if (l->values[i].kind == CG_TERM_MAP && l->values[i].inner && l->values[i].pass == pass)
            cost += l->values[i].op->cost ? l->values[i].op->cost : 1;
    return cost;
}

/* Memory is idle while a cache holds what is read. The pass behind the first that computes most asks for the next row,
 * where rows are short enough to be held two at a time. */
static void choose_fetches(cg_generator *g)
{
    const cg_lowered *l = g->lowered;
    const cg_node *node = l->schedule->items[g->group->folds[0]].node;
    const bool along = g->lanes > 1 && g->vector_axis >= l->outer_count;
    if (!along || cg_nominal_size(node->inputs[0]) > cg_nominal_size(node) * MOST_FETCHED) return;
    for (int pass = 1; pass < g->group->passes; pass++)
        if (g->fetches < 0 || cost_of_pass(l, pass) >= cost_of_pass(l, g->fetches)) g->fetches = pass;
}

/* The body of loops over rows: one row, or `lanes` neighbouring ones. */
static void print_passes(cg_generator *g, cg_text *out, int lanes, const char *indent)
{
    const int axis = g->lowered->outer_count - 1;
    if (g->fetches >= 0)
        cg_text_add(out, "%sconst %s next = i%d + 1 < end ? i%d + 1 : i%d;\n", indent, cg_index_type(g), axis, axis,
                    axis);
    g->pass = -1;
    print_numbers(g, out, lanes, indent);
    for (g->pass = 0; g->pass < g->group->passes; g->pass++) {
        cg_print_folding(g, out, lanes, indent);
        if (g->sharing > 1 && cg_next_fold(g, 0)) cg_print_joining(g, out, indent);
        print_numbers(g, out, lanes, indent);
    }
}

/* --- how rows are dealt out --- */

static int64_t row_length(const cg_lowered *l)
{
    return cg_extent_product(&l->extent[l->outer_count], l->inner_count);
}

/* Vectors run along rows, but where these are shorter than a vector: across many of them. */
static bool is_short(const cg_generator *g)
{
    const cg_node *node = g->lowered->schedule->items[g->group->folds[0]].node;
    return cg_nominal_size(node->inputs[0]) < cg_nominal_size(node) * g->context->vector_width;
}

bool cg_runs_across_rows(const cg_generator *g)
{
    const cg_lowered *l = g->lowered;
    const cg_node *node = l->schedule->items[g->group->folds[0]].node;
    return is_short(g) && cg_nominal_size(node) >= g->context->vector_width && cg_allows_vectors(l, l->outer_count - 1);
}

static void choose_vectors(cg_generator *g)
{
    cg_choose_vectors(g);
    const bool across = g->lanes > 1 && g->vector_axis < g->lowered->outer_count;
    if (across || !is_short(g)) return;
    g->lanes = 1;
    g->vector_axis = -1;
}

/* Returns how many take rows at the same time. */
static int64_t print_rows(cg_generator *g)
{
    const int64_t cost = row_length(g->lowered) * cg_cost_of_terms(g->lowered) / (g->lanes > 1 ? 2 : 1);
    if (g->sharing > 1) return cg_print_turns_of_groups(g, print_passes, cost, GROUPS_PER_UNIT);
    cg_print_blocks(g, print_passes, cost);
    return (int64_t)(g->global[0] * (g->global[1] ? g->global[1] : 1));
}

/* --- the kernel --- */

/* Who takes rows keeps what a later pass reads of one row, or of those that a vector runs across. */
static int64_t kept_elements(const cg_generator *g)
{
    const bool across = g->lanes > 1 && g->vector_axis < g->lowered->outer_count;
    return row_length(g->lowered) * (across ? g->lanes : 1);
}

static void print_kept(cg_generator *g)
{
    if (g->lowered->kept_count == 0) return;
    cg_field_integer(g, 'l', "kept", 0, kept_elements(g));
    cg_text_add(&g->body, "    const long kept = %s * args.kept0;\n",
                g->sharing > 1 ? "get_group_id(0)" : "(CG_TURN(1) * CG_TURNS(0) + CG_TURN(0))");
    for (int i = 0; i < g->tensor_count; i++)
        if (g->tensors[i].item < 0) cg_text_add(&g->body, "    t%d += kept;\n", i);
}

static void ask_for_kept(cg_generator *g, int64_t takers)
{
    for (int i = 0; i < g->tensor_count; i++)
        if (g->tensors[i].item < 0)
            g->scratch[g->scratch_count++] = (cg_scratch){
                .argument = i, .bytes = takers * kept_elements(g) * (int64_t)cg_dtype_bytes(g->tensors[i].dtype)};
}

static double flop_of_folds(cg_generator *g)
{
    const cg_lowered *l = g->lowered;
    double flop = 0;
    for (g->fold = 0; g->fold < l->fold_count; g->fold++)
        if (cg_is_floating(cg_reduction_dtype(g)))
            flop += (double)cg_extent_product(l->extent, l->outer_count + l->inner_count);
    return flop;
}

bool cg_generate_rows(cg_generator *g)
{
    const cg_lowered *l = g->lowered;
    bool streams = false;
    cg_start_kernel(g);
    g->wide = cg_needs_wide_index(l);
    g->sharing = (int)g->context->local_size;
    choose_vectors(g);
    if (g->sharing == 1) choose_fetches(g);
    cg_add_common_fields(g);
    cg_add_axis_fields(g);
    cg_count_bytes(g);
    g->flop = cg_flop_of_terms(l, true, true) + flop_of_folds(g);
    print_kept(g);
    ask_for_kept(g, print_rows(g));
    for (int i = 0; i < l->store_count; i++) streams |= cg_is_streamed(g, &l->stores[i]);
    if (streams) cg_text_append(&g->body, "    CG_STREAM_FENCE();\n");
    if (!cg_finish_kernel(g)) return false;
    cg_step *step = &g->build->plan->steps[g->build->plan->step_count - 1];
    step->passes = g->group->passes;
    return true;
}

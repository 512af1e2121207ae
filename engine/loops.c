/* Writing the loops of a kernel: how vectors run, how elements are divided between work-items, and how a reduction is
 * folded. On CPUs a work-item walks a block with vectors and a scalar rest; on GPUs items take turns. */
#include "engine/generator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ELEMENTS_PER_ITEM = 8192,    /* work that is worth a work-item of its own on a CPU, in additions, */
    VECTORS_PER_ITEM = 4096,     /* or in additions of vectors, whichever is more */
    TURNS = 4,                   /* work-items for each core: they even out what other processes take from one, */
    ELEMENTS_PER_TURN = 1 << 17, /* but each costs a lock, which pays from so much work on */
    FETCHED_AHEAD = 1024,        /* elements that memory is asked for before they are read or written */
    MANY_VECTORS = 64            /* rows of so many, or more, take longer than folding the lanes of their vector */
};

/* --- vectors --- */

bool cg_has_f64(const cg_lowered *l)
{
    for (int i = 0; i < l->value_count; i++)
        if (l->values[i].dtype == CG_F64) return true;
    return false;
}

bool cg_has_reports(const cg_lowered *l)
{
    for (int i = 0; i < l->value_count; i++)
        if (l->values[i].kind == CG_TERM_MAP && l->values[i].op->reports) return true;
    return false;
}

/* Vectors along an axis need every guard to be the same for all lanes, and results that lie side by side. */
bool cg_allows_vectors(const cg_lowered *l, int axis)
{
    for (int i = 0; i < l->store_count && axis < l->outer_count; i++)
        if (!l->stores[i].inner && l->stores[i].form.stride[axis] != 1) return false;
    for (int i = 0; i < l->guard_count; i++)
        if (l->guards[i].form.stride[axis] != 0) return false;
    return true;
}

/* How many loads run along the axis, against those that stride over it. */
static int contiguity(const cg_lowered *l, int axis, bool inner_only)
{
    int score = 0;
    for (int i = 0; i < l->value_count; i++) {
        const cg_term *t = &l->values[i];
        if (t->kind != CG_TERM_LOAD || (inner_only && !t->inner)) continue;
        score += t->form.stride[axis] == 1 ? 2 : t->form.stride[axis] == 0 ? 0 : -2;
    }
    return score;
}

/* Do the elements that are folded lie side by side, and not the results? */
bool cg_folds_along(const cg_lowered *l)
{
    const int outer = l->outer_count - 1, inner = outer + l->inner_count;
    return contiguity(l, inner, true) > 0 && (outer < 0 || contiguity(l, inner, true) >= contiguity(l, outer, true));
}

/* Whether each of the short rows that a reduction folds would leave a vector whose lanes take longer to fold than the
 * row did. Rows are many, so that the reduction is not cut. */
static bool folds_short_rows(const cg_generator *g)
{
    const cg_lowered *l = g->lowered;
    const cg_context *cg = g->context;
    const cg_node *node = l->schedule->items[g->group->anchor].node;
    const int64_t rows = cg_nominal_size(node);
    bool bools = false;
    for (int i = 0; i < l->fold_count; i++)
        bools |= l->schedule->items[l->folds[i].item].node->dtype == CG_BOOL; /* true is another number in vectors */
    return !bools && g->lanes > 1 && cg->local_size == 1 && l->outer_count > 0 && l->inner_count > 0 &&
           g->vector_axis >= l->outer_count && rows >= 2 * (int64_t)cg->info.compute_units * g->lanes &&
           cg_nominal_size(node->inputs[0]) < rows * MANY_VECTORS * g->lanes &&
           cg_allows_vectors(l, l->outer_count - 1);
}

void cg_choose_vectors(cg_generator *g)
{
    const cg_lowered *l = g->lowered;
    const int outer = l->outer_count - 1, inner = l->outer_count + l->inner_count - 1;
    g->lanes = g->context->vector_width;
    g->vector_axis = outer;
    if (l->group->kind == CG_GROUP_ROWS) g->vector_axis = cg_runs_across_rows(g) ? outer : inner;
    if (l->group->kind == CG_GROUP_REDUCE && l->inner_count > 0) {
        const bool along_outer = outer >= 0 && contiguity(l, outer, true) > contiguity(l, inner, true);
        g->vector_axis = along_outer ? outer : inner;
        g->by_columns = along_outer && g->context->local_size == 1;
    }
    if (g->vector_axis < 0 || cg_has_f64(l) || cg_has_reports(l) || !cg_allows_vectors(l, g->vector_axis)) g->lanes = 1;
    if (g->lanes == 1) g->vector_axis = -1;
    g->by_turning = l->group->kind == CG_GROUP_REDUCE && folds_short_rows(g);
    if (g->by_turning) g->vector_axis = outer;
    g->grain = g->vector_axis == outer ? g->lanes : 1;
}

/* --- loops --- */

int64_t cg_extent_product(const int64_t *extent, int count)
{
    int64_t n = 1;
    for (int i = 0; i < count; i++) n *= extent[i];
    return n;
}

bool cg_needs_wide_index(const cg_lowered *l)
{
    const int axes = l->outer_count + l->inner_count;
    if (cg_extent_product(l->extent, axes) > INT32_MAX / 2) return true;
    for (int i = 0; i < l->tensor_count; i++) {
        const int item = l->tensors[i].item;
        if (item >= 0 && cg_shape_size(l->schedule->items[item].node->shape) > INT32_MAX / 2) return true;
    }
    for (int i = 0; i < l->value_count; i++) {
        int64_t reach = 0;
        for (int k = 0; k < axes; k++) reach += llabs(l->values[i].form.stride[k]) * l->extent[k];
        if (reach > INT32_MAX / 2) return true;
    }
    return false;
}

/* Work-items for `units` pieces of `cost` additions each. */
int64_t cg_items_for(const cg_generator *g, int64_t units, int64_t cost)
{
    const int64_t most = TURNS * (int64_t)g->context->info.compute_units;
    const int64_t worth = cg_larger(ELEMENTS_PER_ITEM, (int64_t)VECTORS_PER_ITEM * g->lanes);
    const int64_t wanted = cg_divide_up(units * cg_larger(1, cost), worth);
    return cg_larger(1, cg_smaller(cg_smaller(wanted, most), units));
}

/* The same for elements that are cut evenly. */
static int64_t even_items(const cg_generator *g, int64_t elements, int64_t cost)
{
    const int64_t cores = (int64_t)g->context->info.compute_units, items = cg_items_for(g, elements, cost);
    return elements * cost < TURNS * cores * ELEMENTS_PER_TURN ? cg_smaller(items, cores) : items;
}

/* Coordinates of the axes [0, count) from the number in `rest`, which is used up. Of an axis that is walked in tiles
 * it is the number of the band. */
void cg_print_decode(cg_generator *g, cg_text *out, int count, const char *indent)
{
    for (int k = count - 1; k >= 0; k--) {
        char name[16], extent[16];
        snprintf(name, sizeof name, k == g->tile_axis ? "band" : "i%d", k);
        snprintf(extent, sizeof extent, k == g->tile_axis ? "bands0" : "n%d", k);
        cg_text_add(out, "%sconst %s %s = rest", indent, cg_index_type(g), name);
        if (k > 0) cg_text_add(out, " %% args.%s;\n%srest /= args.%s", extent, indent, extent);
        cg_text_append(out, ";\n");
    }
}

int cg_cost_of_terms(const cg_lowered *l)
{
    int cost = 1;
    for (int i = 0; i < l->value_count; i++)
        cost += l->values[i].kind != CG_TERM_MAP ? 1 : l->values[i].op->cost ? l->values[i].op->cost : 1;
    return cost;
}

/* A loop along the last outer axis, by vectors while they fit. */
void cg_print_vector_loop(cg_generator *g, cg_text *out, cg_print_body body, const char *from, const char *to,
                          const char *indent)
{
    char deeper[CG_INDENT];
    const int axis = g->lowered->outer_count - 1;
    const bool vectors = g->lanes > 1 && g->vector_axis == axis;
    snprintf(deeper, sizeof deeper, "%s    ", indent);
    cg_text_add(out, "%s%s i%d = %s;\n", indent, cg_index_type(g), axis, from);
    if (vectors) {
        cg_text_add(out, "%sfor (; i%d + %d <= %s; i%d += %d) {\n", indent, axis, g->lanes, to, axis, g->lanes);
        body(g, out, g->lanes, deeper);
        cg_text_add(out, "%s}\n", indent);
    }
    cg_text_add(out, "%sfor (; i%d < %s; i%d++) {\n", indent, axis, to, axis);
    body(g, out, 1, deeper);
    cg_text_add(out, "%s}\n", indent);
}

static void print_row(cg_generator *g, cg_text *out, cg_print_body body, const char *indent)
{
    if (g->by_columns)
        cg_print_columns(g, out, body, indent);
    else if (g->tile_axis >= 0)
        cg_print_tiles(g, out, body, indent);
    else
        cg_print_vector_loop(g, out, body, "begin", "end", indent);
}

/* On GPUs each work-item takes elements in turns, neighbours next to neighbours. `cost` additions an element. */
void cg_print_turns(cg_generator *g, cg_print_body body, int64_t cost)
{
    const cg_lowered *l = g->lowered;
    const int64_t total = cg_extent_product(l->extent, l->outer_count);
    const int64_t most = 256 * (int64_t)g->context->info.compute_units;
    const int64_t groups = cg_divide_up(total, (int64_t)g->context->local_size);
    g->work = (double)total * (double)cost;
    cg_field_integer(g, cg_index_field(g), "total", 0, total);
    cg_text_add(&g->body, "    for (%s e = CG_TURN(0); e < args.total0; e += CG_TURNS(0)) {\n        %s rest = e;\n",
                cg_index_type(g), cg_index_type(g));
    cg_print_decode(g, &g->body, l->outer_count, "        ");
    body(g, &g->body, 1, "        ");
    cg_text_append(&g->body, "    }\n");
    g->global[0] = (size_t)((groups < most ? groups : most) * (int64_t)g->context->local_size);
    g->dimensions = 1;
}

/* On CPUs: work-item (x, y) takes a block of rows and a block of the last axis. `cost` additions an element. */
void cg_print_blocks(cg_generator *g, cg_print_body body, int64_t cost)
{
    const cg_lowered *l = g->lowered;
    const int last = l->outer_count - 1;
    const int64_t elements = cg_extent_product(l->extent, l->outer_count), width = l->extent[last];
    const int64_t rows = g->tile_axis < 0 ? cg_extent_product(l->extent, last) : cg_bands(g);
    const int64_t row_items = cg_items_for(g, rows, elements / rows * cost);
    const int64_t grains = cg_divide_up(width, g->grain),
                  most = last > 0 ? cg_items_for(g, elements, cost) : even_items(g, elements, cost),
                  columns = row_items >= most ? 1 : cg_divide_up(most, row_items);
    const int64_t width_items = columns < grains ? columns : grains > 0 ? grains : 1;
    const int64_t block = cg_divide_up(grains, width_items) * g->grain;
    const char *type = cg_index_type(g);
    g->work = (double)elements * (double)cost;
    cg_field_integer(g, cg_index_field(g), "block", 0, block);
    if (last > 0) {
        const int64_t row_block = cg_divide_up(rows, row_items);
        cg_field_integer(g, cg_index_field(g), "rows", 0, rows);
        cg_field_integer(g, cg_index_field(g), "rowblock", 0, row_block);
        cg_text_add(&g->body, "    const %s first = CG_TURN(1) * args.rowblock0;\n", type);
        cg_text_add(&g->body, "    const %s stop = min((%s)(first + args.rowblock0), args.rows0);\n", type, type);
        g->global[1] = (size_t)cg_divide_up(rows, row_block);
        g->dimensions = 2;
    }
    cg_text_add(&g->body, "    const %s begin = CG_TURN(0) * args.block0;\n", type);
    cg_text_add(&g->body, "    const %s end = min((%s)(begin + args.block0), args.n%d);\n", type, type, last);
    g->global[0] = (size_t)cg_divide_up(width, block);
    if (last == 0) {
        print_row(g, &g->body, body, "    ");
        return;
    }
    cg_text_add(&g->body, "    for (%s row = first; row < stop; row++) {\n        %s rest = row;\n", type, type);
    cg_print_decode(g, &g->body, last, "        ");
    print_row(g, &g->body, body, "        ");
    cg_text_append(&g->body, "    }\n");
}

/* --- reductions --- */

/* The reduction being written, or the matrix product. */
static const cg_node *reduction_of(const cg_generator *g)
{
    const cg_lowered *l = g->lowered;
    return l->schedule->items[l->fold_count > 0 ? l->folds[g->fold].item : g->group->anchor].node;
}

cg_dtype cg_reduction_dtype(const cg_generator *g)
{
    return cg_register_dtype((cg_dtype)reduction_of(g)->dtype);
}

/* name = the identity of the reduction; `name` may be a declaration */
void cg_print_identity(cg_generator *g, cg_text *out, const char *name, int lanes, const char *indent)
{
    char type[16];
    cg_text_add(out, "%s%s = (%s)(", indent, name, cg_vector_type(cg_reduction_dtype(g), lanes, type));
    cg_print_expression(g, out, reduction_of(g)->op->identity, NULL, 0, cg_reduction_dtype(g), cg_reduction_dtype(g),
                        lanes, -1);
    cg_text_append(out, ");\n");
}

/* Makes `fold` the next reduction of the pass being written, counting from it on; false if there is none. */
bool cg_next_fold(cg_generator *g, int fold)
{
    while (fold < g->lowered->fold_count && g->lowered->folds[fold].pass != g->pass) fold++;
    if (fold < g->lowered->fold_count) g->fold = fold;
    return fold < g->lowered->fold_count;
}

static void print_declaration(cg_generator *g, cg_text *out, const char *name, int lanes, const char *indent)
{
    char type[16], declaration[48];
    snprintf(declaration, sizeof declaration, "%s %s", cg_vector_type(cg_reduction_dtype(g), lanes, type), name);
    cg_print_identity(g, out, declaration, lanes, indent);
}

/* into = combine(into, what) */
void cg_print_combine(cg_generator *g, cg_text *out, const char *into, const char *what, int lanes, const char *indent)
{
    char operands[2][16];
    snprintf(operands[0], 16, "%s", into);
    snprintf(operands[1], 16, "%s", what);
    cg_text_add(out, "%s%s = ", indent, into);
    cg_print_expression(g, out, reduction_of(g)->op->combine, operands, 2, cg_reduction_dtype(g), cg_reduction_dtype(g),
                        lanes, -1);
    cg_text_append(out, ";\n");
}

/* `what` of each reduction of the pass begins as its identity. */
static void print_declarations(cg_generator *g, cg_text *out, const char *what, int lanes, const char *indent)
{
    char name[16];
    for (CG_EACH_FOLD(g)) print_declaration(g, out, cg_fold_name(what, g->fold, name), lanes, indent);
}

/* Whether what vectors would read, or a map's write, behind the end of their axis is what follows. */
static bool reads_on(const cg_generator *g)
{
    const cg_lowered *l = g->lowered;
    const int axis = g->vector_axis;
    for (int i = 0; i < l->store_count && axis > 0 && g->group->kind == CG_GROUP_MAP; i++)
        if (l->stores[i].form.stride[axis - 1] != l->extent[axis]) return false;
    for (int i = 0; i < l->value_count && axis > 0; i++) {
        const int64_t *stride = l->values[i].form.stride;
        if (l->values[i].kind == CG_TERM_LOAD && stride[axis] == 1 && stride[axis - 1] != 0 &&
            stride[axis - 1] != l->extent[axis])
            return false;
    }
    return true;
}

/* Asks for what lies ahead in memory. Where that ends, it asks for what is not there, which does nothing, or for what
 * another core works at: keeping to the end of a work-item's own part costs more, 1 to 5 % of a map of 65536 elements.
 */
void cg_print_fetches_ahead(cg_generator *g, cg_text *out, int lanes, const char *indent)
{
    const int outer = g->lowered->outer_count, axis = g->vector_axis;
    const char *type = cg_index_type(g);
    char variable[16];
    snprintf(variable, sizeof variable, axis < outer ? "i%d" : "r%d", axis < outer ? axis : axis - outer);
    if (reads_on(g))
        cg_text_add(out, "%sconst %s ahead = %s + %d;\n", indent, type, variable, FETCHED_AHEAD);
    else
        cg_text_add(out, "%sconst %s ahead = min((%s)(%s + %d), %s - %d);\n", indent, type, type, variable,
                    FETCHED_AHEAD, axis < outer ? "end" : "last", lanes);
    cg_print_fetches(g, out, FETCHED_AHEAD, variable, "ahead", indent);
}

/* Elements that the reduction folds into one. */
static int64_t nominal_row(const cg_generator *g)
{
    const cg_node *node = reduction_of(g);
    return cg_nominal_size(node->inputs[0]) / cg_larger(1, cg_nominal_size(node));
}

static void print_fetches(cg_generator *g, cg_text *out, int lanes, const char *indent)
{
    const bool along = lanes > 1 && g->sharing == 1 && g->vector_axis >= g->lowered->outer_count;
    const bool once = g->group->kind == CG_GROUP_REDUCE || g->group->passes == 1;
    char variable[16];
    snprintf(variable, sizeof variable, "i%d", g->lowered->outer_count - 1);
    if (along && g->fetches == g->pass)
        cg_print_fetches(g, out, nominal_row(g), variable, "next", indent);
    else if (along && once && !g->by_turning)
        cg_print_fetches_ahead(g, out, lanes, indent);
}

/* What is done at an element of the row, or at `lanes` of them: folding it into `part`, and what the pass stores. */
static void print_elements(cg_generator *g, cg_text *out, const char *part, int lanes, const char *indent)
{
    char sum[16], value[16];
    print_fetches(g, out, lanes, indent);
    cg_print_terms(g, out, true, lanes, indent);
    for (CG_EACH_FOLD(g)) {
        snprintf(value, sizeof value, "v%d", g->lowered->folds[g->fold].value);
        cg_print_combine(g, out, cg_fold_name(part, g->fold, sum), value, lanes, indent);
    }
    cg_print_stores(g, out, true, lanes, indent);
}

/* Sums of a run that go on side by side, so that none of them waits for its own last step. */
static const char *const chains[] = {"part", "part_b", "part_c", "part_d"};
enum { CHAINS = sizeof chains / sizeof chains[0], MOST_VALUES_IN_CHAINS = 6 };

/* Whether a run of vectors is folded in chains: where there is more to do at each element, that hides the waiting. */
static bool runs_in_chains(const cg_generator *g, int lanes)
{
    const cg_lowered *l = g->lowered;
    int folds = 0, values = 0;
    for (int i = 0; i < l->fold_count; i++) folds += l->folds[i].pass == g->pass;
    for (int i = 0; i < l->value_count; i++) values += l->values[i].inner && l->values[i].pass == g->pass;
    return lanes > 1 && g->sharing == 1 && !g->by_turning && folds == 1 && values <= MOST_VALUES_IN_CHAINS;
}

/* As many elements at once as the chains take, up to `pause`. */
static void print_chains(cg_generator *g, cg_text *out, const char *variable, int lanes, const char *indent)
{
    char deeper[CG_INDENT + 8];
    snprintf(deeper, sizeof deeper, "%s        ", indent);
    cg_text_add(out, "%swhile (%s + %d <= pause) {\n", indent, variable, CHAINS * lanes);
    for (int chain = 0; chain < CHAINS; chain++) {
        cg_text_add(out, "%s    {\n", indent);
        print_elements(g, out, chains[chain], lanes, deeper);
        cg_text_add(out, "%s    }\n%s    %s += %d;\n", indent, indent, variable, lanes);
    }
    cg_text_add(out, "%s}\n", indent);
}

/* One run along the last folded axis, `reach` elements at a time, in blocks whose sums are combined: `into` collects.
 */
static void print_run(cg_generator *g, cg_text *out, const char *variable, const char *into, int lanes, int reach,
                      const char *indent)
{
    char part[16], sum[16], deeper[CG_INDENT], deepest[CG_INDENT + 4];
    const char *type = cg_index_type(g);
    const int step = reach * g->sharing;
    snprintf(deeper, sizeof deeper, "%.*s    ", CG_INDENT - 5, indent);
    snprintf(deepest, sizeof deepest, "%s    ", deeper);
    if (!cg_next_fold(g, 0)) {
        cg_text_add(out, "%sfor (; %s + %d <= last; %s += %d) {\n", indent, variable, reach, variable, step);
        print_elements(g, out, chains[0], lanes, deeper);
        cg_text_add(out, "%s}\n", indent);
        return;
    }
    const int chain_count = reach == lanes && runs_in_chains(g, lanes) ? CHAINS : 1;
    cg_text_add(out, "%swhile (%s + %d <= last) {\n", indent, variable, reach);
    cg_text_add(out, "%sconst %s pause = min((%s)(%s + %d), last);\n", deeper, type, type, variable,
                CG_SUM_BLOCK * step);
    for (int chain = 0; chain < chain_count; chain++) print_declarations(g, out, chains[chain], lanes, deeper);
    if (chain_count > 1) print_chains(g, out, variable, lanes, deeper);
    cg_text_add(out, "%sfor (; %s + %d <= pause; %s += %d) {\n", deeper, variable, reach, variable, step);
    print_elements(g, out, chains[0], lanes, deepest);
    cg_text_add(out, "%s}\n", deeper);
    for (CG_EACH_FOLD(g))
        for (int chain = 0; chain < chain_count; chain++)
            cg_print_combine(g, out, cg_fold_name(into, g->fold, sum), cg_fold_name(chains[chain], g->fold, part),
                             lanes, deeper);
    cg_text_add(out, "%s}\n", indent);
}

/* Folds the lanes of `wide` into the scalar `core`, halving. */
static void print_horizontal(cg_generator *g, cg_text *out, const char *indent)
{
    char type[16], sum[16], name[24], previous[24], low[32], high[32];
    cg_fold_name("wide", g->fold, previous);
    for (int lanes = g->lanes / 2; lanes >= 1; lanes /= 2) {
        snprintf(name, sizeof name, "%.10s_%d", cg_fold_name("half", g->fold, sum), lanes);
        snprintf(low, sizeof low, "%s.lo", previous);
        snprintf(high, sizeof high, "%s.hi", previous);
        cg_text_add(out, "%s%s %s = %s;\n", indent, cg_vector_type(cg_reduction_dtype(g), lanes, type), name, low);
        cg_print_combine(g, out, name, high, lanes, indent);
        snprintf(previous, sizeof previous, "%s", name);
    }
    cg_print_combine(g, out, cg_fold_name("core", g->fold, sum), previous, 1, indent);
}

/* Opens the loops over the folded axes but the last, whose bounds become `r` and `last`; where the first is cut,
 * `part_number` says which piece this is. Deepens the indent, and returns how many it opened. */
int cg_print_folded_axes(cg_generator *g, cg_text *out, char indent[CG_INDENT])
{
    const int first = g->lowered->outer_count, count = g->lowered->inner_count;
    const char *type = cg_index_type(g);
    for (int k = 0; k < count; k++) {
        char from[64] = "0", to[64];
        snprintf(to, sizeof to, "args.n%d", first + k);
        if (g->cut && k == 0) {
            snprintf(from, sizeof from, "part_number * args.piece0");
            snprintf(to, sizeof to, "min((%s)(part_number * args.piece0 + args.piece0), args.n%d)", type, first + k);
        }
        if (k == count - 1 && g->sharing > 1)
            snprintf(from + strlen(from), sizeof from - strlen(from), " + (%s)get_local_id(0)", type);
        if (k == count - 1) {
            cg_text_add(out, "%sconst %s last = %s;\n%s%s r%d = %s;\n", indent, type, to, indent, type, k, from);
        } else {
            cg_text_add(out, "%sfor (%s r%d = %s; r%d < %s; r%d++) {\n", indent, type, k, from, k, to, k);
            snprintf(indent + strlen(indent), CG_INDENT - strlen(indent), "    ");
        }
    }
    return count - 1;
}

void cg_close_folded_axes(cg_text *out, int count, char indent[CG_INDENT])
{
    for (int k = 0; k < count; k++) {
        indent[strlen(indent) - 4] = '\0';
        cg_text_add(out, "%s}\n", indent);
    }
}

/* The loops over the folded axes: what vectors along the last one leave is in `wide`, what they leave out in `core`. */
static void print_folded_loops(cg_generator *g, cg_text *out, int lanes, bool along_inner, char indent[CG_INDENT])
{
    char variable[16];
    const int opened = cg_print_folded_axes(g, out, indent);
    snprintf(variable, sizeof variable, "r%d", opened);
    if (along_inner) print_run(g, out, variable, "wide", g->lanes, g->lanes, indent);
    print_run(g, out, variable, "core", lanes, 1, indent);
    cg_close_folded_axes(out, opened, indent);
}

/* Folds as many rows as a vector has lanes, each into a vector. These are turned, so that lanes which belong together
 * come to lie in the same place: folding the vectors then folds the lanes of all rows at once. */
static void print_turned_folding(cg_generator *g, cg_text *out, const char *indent)
{
    const int axis = g->lowered->outer_count - 1;
    char deeper[CG_INDENT], type[16], rows[16], core[16], wide[16], row[24];
    snprintf(deeper, sizeof deeper, "%s    ", indent);
    for (CG_EACH_FOLD(g))
        cg_text_add(out, "%s%s %s[%d];\n", indent, cg_vector_type(cg_reduction_dtype(g), g->lanes, type),
                    cg_fold_name("rows", g->fold, rows), g->lanes);
    cg_text_add(out, "%sconst %s top = i%d;\n", indent, cg_index_type(g), axis);
    cg_text_add(out, "%sfor (int turn = 0; turn < %d; turn++) {\n", indent, g->lanes);
    cg_text_add(out, "%sconst %s i%d = top + turn, next = min((%s)(i%d + %d), end - 1);\n", deeper, cg_index_type(g),
                axis, cg_index_type(g), axis, g->lanes);
    print_declarations(g, out, "core", 1, deeper);
    print_declarations(g, out, "wide", g->lanes, deeper);
    g->fetches = g->pass;
    print_folded_loops(g, out, 1, true, deeper);
    g->fetches = -1;
    for (CG_EACH_FOLD(g)) {
        snprintf(row, sizeof row, "%.10s.s0", cg_fold_name("wide", g->fold, wide));
        cg_print_combine(g, out, row, cg_fold_name("core", g->fold, core), 1, deeper);
        cg_text_add(out, "%s%s[turn] = %s;\n", deeper, cg_fold_name("rows", g->fold, rows), wide);
    }
    cg_text_add(out, "%s}\n", indent);
    for (CG_EACH_FOLD(g)) {
        cg_fold_name("rows", g->fold, rows);
        cg_text_add(out, "%scg_transpose_%s(%s);\n", indent, cg_register_type(cg_reduction_dtype(g)), rows);
        cg_text_add(out, "%s%s %s = %s[0];\n", indent, cg_vector_type(cg_reduction_dtype(g), g->lanes, type),
                    cg_fold_name("core", g->fold, core), rows);
        for (int lane = 1; lane < g->lanes; lane++) {
            snprintf(row, sizeof row, "%.10s[%d]", rows, lane);
            cg_print_combine(g, out, core, row, g->lanes, indent);
        }
    }
}

/* The folded loops for one output element, or for `lanes` neighbouring ones: leaves each result in its `core`. */
static void print_folding(cg_generator *g, cg_text *out, int lanes, const char *indent)
{
    const cg_lowered *l = g->lowered;
    const bool along_inner = g->lanes > 1 && g->vector_axis >= l->outer_count;
    char deeper[CG_INDENT];
    print_declarations(g, out, "core", lanes, indent);
    if (l->inner_count == 0) { /* every folded axis has size 1 */
        char core[16];
        cg_print_terms(g, out, true, lanes, indent);
        for (CG_EACH_FOLD(g))
            cg_text_add(out, "%s%s = v%d;\n", indent, cg_fold_name("core", g->fold, core), l->folds[g->fold].value);
        return;
    }
    cg_text_add(out, "%s{\n", indent);
    snprintf(deeper, sizeof deeper, "%s    ", indent);
    if (along_inner) print_declarations(g, out, "wide", g->lanes, deeper);
    print_folded_loops(g, out, lanes, along_inner, deeper);
    for (CG_EACH_FOLD(g))
        if (along_inner) print_horizontal(g, out, deeper);
    cg_text_add(out, "%s}\n", indent);
}

void cg_print_folding(cg_generator *g, cg_text *out, int lanes, const char *indent)
{
    const int axis = g->vector_axis;
    if (g->by_turning) g->vector_axis = g->lowered->outer_count + g->lowered->inner_count - 1;
    if (g->by_turning && lanes > 1)
        print_turned_folding(g, out, indent);
    else
        print_folding(g, out, lanes, indent);
    g->vector_axis = axis;
}

/* --- the work-items of a group --- */

/* Each item has folded its share into `core`: half of the sums join the other half until one is left, for all. */
void cg_print_joining(cg_generator *g, cg_text *out, const char *indent)
{
    char core[16], shared[16], deeper[CG_INDENT];
    snprintf(deeper, sizeof deeper, "%s    ", indent);
    cg_text_add(out, "%sbarrier(CLK_LOCAL_MEM_FENCE);\n", indent);
    for (CG_EACH_FOLD(g))
        cg_text_add(out, "%s%s[item] = %s;\n", indent, cg_fold_name("shared", g->fold, shared),
                    cg_fold_name("core", g->fold, core));
    for (int half = g->sharing / 2; half > 0; half /= 2) {
        cg_text_add(out, "%sbarrier(CLK_LOCAL_MEM_FENCE);\n%sif (item < %d) {\n", indent, indent, half);
        for (CG_EACH_FOLD(g)) {
            cg_fold_name("shared", g->fold, shared);
            cg_text_add(out, "%s%s = %s[item];\n", deeper, cg_fold_name("core", g->fold, core), shared);
            cg_text_add(out, "%sconst %s other%d = %s[item + %d];\n", deeper, cg_register_type(cg_reduction_dtype(g)),
                        g->fold, shared, half);
            char other[16];
            snprintf(other, sizeof other, "other%d", g->fold);
            cg_print_combine(g, out, core, other, 1, deeper);
            cg_text_add(out, "%s%s[item] = %s;\n", deeper, shared, core);
        }
        cg_text_add(out, "%s}\n", indent);
    }
    cg_text_add(out, "%sbarrier(CLK_LOCAL_MEM_FENCE);\n", indent);
    for (CG_EACH_FOLD(g))
        cg_text_add(out, "%s%s = %s[0];\n", indent, cg_fold_name("core", g->fold, core),
                    cg_fold_name("shared", g->fold, shared));
}

static void print_shared_memory(cg_generator *g, cg_text *out)
{
    char shared[16];
    for (g->fold = 0; g->fold < g->lowered->fold_count; g->fold++)
        cg_text_add(out, "    __local %s %s[%d];\n", cg_register_type(cg_reduction_dtype(g)),
                    cg_fold_name("shared", g->fold, shared), g->sharing);
    cg_text_append(out, "    const int item = get_local_id(0);\n");
}

/* The work-groups of a GPU take results, or rows, in turns. `cost` additions each. Returns how many groups there are.
 */
int64_t cg_print_turns_of_groups(cg_generator *g, cg_print_body body, int64_t cost, int per_unit)
{
    const cg_lowered *l = g->lowered;
    const int64_t rows = cg_extent_product(l->extent, l->outer_count);
    const int64_t most = per_unit * (int64_t)g->context->info.compute_units, groups = rows < most ? rows : most;
    const char *type = cg_index_type(g);
    g->work = (double)rows * (double)cost;
    g->global[0] = (size_t)(groups * g->sharing);
    cg_field_integer(g, cg_index_field(g), "rows", 0, rows);
    print_shared_memory(g, &g->body);
    cg_text_add(&g->body, "    for (%s row = get_group_id(0); row < args.rows0; row += get_num_groups(0)) {\n", type);
    cg_text_add(&g->body, "        %s rest = row;\n", type);
    cg_print_decode(g, &g->body, l->outer_count, "        ");
    body(g, &g->body, 1, "        ");
    cg_text_append(&g->body, "    }\n");
    return groups;
}

/* What `body` prints; where work-items share what was folded, for one of them, in braces and one indent deeper. */
static void print_for_one(cg_generator *g, cg_text *out, cg_print_body body, int lanes, const char *indent)
{
    char deeper[CG_INDENT];
    if (g->sharing == 1) {
        body(g, out, lanes, indent);
        return;
    }
    snprintf(deeper, sizeof deeper, "%s    ", indent);
    cg_print_joining(g, out, indent);
    cg_text_add(out, "%sif (item == 0) {\n", indent);
    body(g, out, lanes, deeper);
    cg_text_add(out, "%s}\n", indent);
}

void cg_print_reduction(cg_generator *g, cg_text *out, int lanes, const char *indent)
{
    cg_print_folding(g, out, lanes, indent);
    print_for_one(g, out, cg_print_outer, lanes, indent);
}

/* The row-major number of the result at the outer coordinates, by Horner's rule. */
static void print_element(cg_generator *g, cg_text *out, const char *indent)
{
    const int axes = g->lowered->outer_count;
    cg_text_add(out, "%sconst %s element = ", indent, cg_index_type(g));
    for (int k = 1; k < axes; k++) cg_text_append(out, "(");
    cg_text_append(out, axes > 0 ? "i0" : "0");
    for (int k = 1; k < axes; k++) cg_text_add(out, " * args.n%d + i%d)", k, k);
    cg_text_append(out, ";\n");
}

/* Where a part of the reduction being written lies in the scratch buffer: parts[reduction][part][element]. */
static void print_part_number(const cg_generator *g, cg_text *out, const char *part)
{
    if (g->fold == 0)
        cg_text_add(out, "%s * args.elements0 + element", part);
    else
        cg_text_add(out, "(%s + %d * args.parts0) * args.elements0 + element", part, g->fold);
}

/* Stores one part of each result in the scratch buffer. */
void cg_print_part(cg_generator *g, cg_text *out, int lanes, const char *indent)
{
    char core[16];
    print_element(g, out, indent);
    for (CG_EACH_FOLD(g)) {
        cg_fold_name("core", g->fold, core);
        if (lanes > 1)
            cg_text_add(out, "%svstore%d(%s, 0, t%d + ", indent, lanes, core, g->scratch_tensor);
        else
            cg_text_add(out, "%st%d[", indent, g->scratch_tensor);
        print_part_number(g, out, "part_number");
        if (lanes > 1)
            cg_text_append(out, ");\n");
        else
            cg_text_add(out, "] = %s;\n", core);
    }
}

void cg_print_partial(cg_generator *g, cg_text *out, int lanes, const char *indent)
{
    cg_print_folding(g, out, lanes, indent);
    print_for_one(g, out, cg_print_part, lanes, indent);
}

/* The second step of a cut reduction: folds the parts, then everything that follows. */
void cg_print_join(cg_generator *g, cg_text *out, int lanes, const char *indent)
{
    char deeper[48], type[16], core[16], part[16];
    snprintf(deeper, sizeof deeper, "%s    ", indent);
    print_declarations(g, out, "core", lanes, indent);
    print_element(g, out, indent);
    if (g->sharing > 1)
        cg_text_add(out, "%sfor (int p = item; p < args.parts0; p += %d) {\n", indent, g->sharing);
    else
        cg_text_add(out, "%sfor (int p = 0; p < args.parts0; p++) {\n", indent);
    for (CG_EACH_FOLD(g)) {
        cg_fold_name("part", g->fold, part);
        if (lanes > 1)
            cg_text_add(out, "%sconst %s %s = vload%d(0, t%d + ", deeper,
                        cg_vector_type(cg_reduction_dtype(g), lanes, type), part, lanes, g->scratch_tensor);
        else
            cg_text_add(out, "%sconst %s %s = t%d[", deeper, cg_register_type(cg_reduction_dtype(g)), part,
                        g->scratch_tensor);
        print_part_number(g, out, "p");
        cg_text_append(out, lanes > 1 ? ");\n" : "];\n");
        cg_print_combine(g, out, cg_fold_name("core", g->fold, core), part, lanes, deeper);
    }
    cg_text_add(out, "%s}\n", indent);
    print_for_one(g, out, cg_print_outer, lanes, indent);
}

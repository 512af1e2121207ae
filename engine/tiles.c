/* Maps that transpose, on CPUs: some load runs along another axis than the results do. Walking along either axis alone
 * would touch a cache line for every element of the other side; so both are walked in square tiles, which are loaded as
 * vectors along the load's axis and turned in registers. */
#include "engine/generator.h"

#include <stdio.h>

/* Whether a load strides over the last axis while it runs along this one; what is guarded may not be there to load. */
static bool runs_along(const cg_lowered *l, const cg_term *t, int axis)
{
    const int64_t across = t->form.stride[l->outer_count - 1];
    return t->kind == CG_TERM_LOAD && t->guard < 0 && across != 0 && across != 1 && t->form.stride[axis] == 1;
}

bool cg_is_turned(const cg_generator *g, const cg_term *term)
{
    return g->tile_axis >= 0 && runs_along(g->lowered, term, g->tile_axis);
}

/* The axis that most such loads run along. */
void cg_choose_tiles(cg_generator *g)
{
    const cg_lowered *l = g->lowered;
    int most = 0;
    for (int axis = 0; axis < l->outer_count - 1 && g->context->local_size == 1; axis++) {
        int loads = 0;
        for (int i = 0; i < l->value_count; i++) loads += runs_along(l, &l->values[i], axis);
        if (loads <= most) continue;
        most = loads;
        g->tile_axis = axis;
    }
    if (g->tile_axis >= 0) g->grain = CG_BAND;
}

/* Rows are taken in bands of the tiles' axis: how many there are. */
int64_t cg_bands(const cg_generator *g)
{
    const int64_t *extent = g->lowered->extent, along = extent[g->tile_axis];
    return cg_extent_product(extent, g->lowered->outer_count - 1) / along * cg_divide_up(along, CG_BAND);
}

/* x<number>[k] = the load for all rows of the tile at its column k; then, turned, for all columns at its row k. */
static void print_turned_load(cg_generator *g, cg_text *out, int number, const char *indent)
{
    const cg_term *t = &g->lowered->values[number];
    const char *type = cg_storage_type(t->dtype);
    const int last = g->lowered->outer_count - 1;
    cg_text_add(out, "%s%s%d x%d[%d];\n", indent, type, g->lanes, number, g->lanes);
    cg_text_add(out, "%s_Pragma(\"unroll\") for (int turn = 0; turn < %d; turn++) {\n", indent, g->lanes);
    cg_text_add(out, "%s    const %s i%d = tile_row, i%d = tile_column + turn;\n", indent, cg_index_type(g),
                g->tile_axis, last);
    cg_text_add(out, "%s    x%d[turn] = vload%d(0, t%d + (", indent, number, g->lanes, t->tensor);
    cg_print_form(g, out, &t->form, number);
    cg_text_add(out, "));\n%s}\n%scg_transpose_%s(x%d);\n", indent, indent, type, number);
}

static void print_tile(cg_generator *g, cg_text *out, cg_print_body body, const char *indent)
{
    char deeper[CG_INDENT];
    snprintf(deeper, sizeof deeper, "%.*s    ", CG_INDENT - 5, indent);
    for (int i = 0; i < g->lowered->value_count; i++)
        if (cg_is_turned(g, &g->lowered->values[i])) print_turned_load(g, out, i, indent);
    cg_text_add(out, "%sfor (int turn = 0; turn < %d; turn++) {\n", indent, g->lanes);
    cg_text_add(out, "%sconst %s i%d = tile_row + turn, i%d = tile_column;\n", deeper, cg_index_type(g), g->tile_axis,
                g->lowered->outer_count - 1);
    g->in_tile = true;
    body(g, out, g->lanes, deeper);
    g->in_tile = false;
    cg_text_add(out, "%s}\n", indent);
}

/* The whole tiles of a square. */
static void print_whole_tiles(cg_generator *g, cg_text *out, cg_print_body body, const char *indent)
{
    const char *type = cg_index_type(g);
    char deeper[CG_INDENT];
    snprintf(deeper, sizeof deeper, "%.*s    ", CG_INDENT - 5, indent);
    cg_text_add(out, "%sconst %s whole_bottom = bottom - (bottom - top) %% %d;\n", indent, type, g->lanes);
    cg_text_add(out, "%sconst %s whole_right = right - (right - left) %% %d;\n", indent, type, g->lanes);
    cg_text_add(out, "%sfor (%s tile_column = left; tile_column < whole_right; tile_column += %d)\n", indent, type,
                g->lanes);
    cg_text_add(out, "%sfor (%s tile_row = top; tile_row < whole_bottom; tile_row += %d) {\n", indent, type, g->lanes);
    print_tile(g, out, body, deeper);
    cg_text_add(out, "%s}\n", indent);
}

/* One band of rows from `begin` to `end`: square by square. What whole tiles leave is taken row by row. */
void cg_print_tiles(cg_generator *g, cg_text *out, cg_print_body body, const char *indent)
{
    const char *type = cg_index_type(g);
    char deeper[CG_INDENT], deepest[CG_INDENT + 8];
    snprintf(deeper, sizeof deeper, "%.*s    ", CG_INDENT - 5, indent);
    snprintf(deepest, sizeof deepest, "%s    ", deeper);
    cg_field_integer(g, cg_index_field(g), "bands", 0, cg_divide_up(g->lowered->extent[g->tile_axis], CG_BAND));
    cg_text_add(out, "%sconst %s top = band * %d, bottom = min((%s)(top + %d), args.n%d);\n", indent, type, CG_BAND,
                type, CG_BAND, g->tile_axis);
    cg_text_add(out, "%sfor (%s left = begin; left < end; left += %d) {\n", indent, type, CG_BAND);
    cg_text_add(out, "%sconst %s right = min((%s)(left + %d), end);\n", deeper, type, type, CG_BAND);
    if (g->lanes > 1) print_whole_tiles(g, out, body, deeper);
    cg_text_add(out, "%sfor (%s i%d = top; i%d < bottom; i%d++) {\n", deeper, type, g->tile_axis, g->tile_axis,
                g->tile_axis);
    if (g->lanes > 1)
        cg_text_add(out, "%sconst %s done = i%d < whole_bottom ? whole_right : left;\n", deepest, type, g->tile_axis);
    cg_print_vector_loop(g, out, body, g->lanes > 1 ? "done" : "left", "right", deepest);
    cg_text_add(out, "%s}\n%s}\n", deeper, indent);
}

/* Reductions over rows on CPUs: a work-item walks down its rows with the sums of a wide block of columns at hand, so
 * that memory is read in the order in which it lies. */
#include "engine/generator.h"

#include <stdio.h>

/* Rows that a vector's sum stays in a register for: several, so that adding does not wait for what it stored last.
 * Where rows are long, more of them: each is a stream of its own for the processor to foresee. */
enum { SHORT = 512, ROWS_AT_ONCE_SHORT = 4, ROWS_AT_ONCE = 8 };
enum { FETCHED_AHEAD = 2048 }; /* elements, or else rows at once, that memory is asked for before they are read */

/* `name` = `lanes` columns of the array, from the loop's column on. */
static void print_take(cg_generator *g, cg_text *out, const char *name, const char *array, int lanes,
                       const char *indent)
{
    const int axis = g->lowered->outer_count - 1;
    char type[16];
    cg_text_add(out, "%s%s %s = ", indent, cg_vector_type(cg_reduction_dtype(g), lanes, type), name);
    if (lanes > 1)
        cg_text_add(out, "vload%d(0, %s + (i%d - left));\n", lanes, array, axis);
    else
        cg_text_add(out, "%s[i%d - left];\n", array, axis);
}

static void print_put(cg_generator *g, cg_text *out, const char *name, const char *array, int lanes, const char *indent)
{
    const int axis = g->lowered->outer_count - 1;
    if (lanes > 1)
        cg_text_add(out, "%svstore%d(%s, 0, %s + (i%d - left));\n", indent, lanes, name, array, axis);
    else
        cg_text_add(out, "%s%s[i%d - left] = %s;\n", indent, array, axis, name);
}

/* Asks for what the row `away` further on has in these columns. */
static void print_fetches(cg_generator *g, cg_text *out, const char *indent)
{
    const char *type = cg_index_type(g);
    char variable[16];
    snprintf(variable, sizeof variable, "r%d", g->lowered->inner_count - 1);
    cg_text_add(out, "%sconst %s ahead = min((%s)(%s + away), last - 1);\n", indent, type, type, variable);
    cg_print_fetches(g, out, FETCHED_AHEAD, variable, "ahead", indent);
}

/* Adds some rows to the sums of their block. */
static void print_rows(cg_generator *g, cg_text *out, int lanes, const char *indent)
{
    const int row = g->lowered->inner_count - 1;
    char deeper[CG_INDENT + 4], value[16], part[16], parts[16];
    snprintf(deeper, sizeof deeper, "%s    ", indent);
    for (CG_EACH_FOLD(g))
        print_take(g, out, cg_fold_name("part", g->fold, part), cg_fold_name("parts", g->fold, parts), lanes, indent);
    cg_text_add(out, "%sfor (%s r%d = top; r%d < bottom; r%d++) {\n", indent, cg_index_type(g), row, row, row);
    if (lanes > 1) print_fetches(g, out, deeper);
    cg_print_terms(g, out, true, lanes, deeper);
    for (CG_EACH_FOLD(g)) {
        snprintf(value, sizeof value, "v%d", g->lowered->folds[g->fold].value);
        cg_print_combine(g, out, cg_fold_name("part", g->fold, part), value, lanes, deeper);
    }
    cg_text_add(out, "%s}\n", indent);
    for (CG_EACH_FOLD(g))
        print_put(g, out, cg_fold_name("part", g->fold, part), cg_fold_name("parts", g->fold, parts), lanes, indent);
}

/* Sums and those of a block of rows begin as the identity. */
static void print_start(cg_generator *g, cg_text *out, const char *array, int lanes, const char *indent)
{
    char type[16], declaration[48], none[16], name[16];
    for (CG_EACH_FOLD(g)) {
        cg_fold_name("none", g->fold, none);
        snprintf(declaration, sizeof declaration, "const %s %s", cg_vector_type(cg_reduction_dtype(g), lanes, type),
                 none);
        cg_print_identity(g, out, declaration, lanes, indent);
        print_put(g, out, none, cg_fold_name(array, g->fold, name), lanes, indent);
    }
}

static void print_start_of_sums(cg_generator *g, cg_text *out, int lanes, const char *indent)
{
    print_start(g, out, "sums", lanes, indent);
}

static void print_start_of_parts(cg_generator *g, cg_text *out, int lanes, const char *indent)
{
    print_start(g, out, "parts", lanes, indent);
}

static void print_join_of_parts(cg_generator *g, cg_text *out, int lanes, const char *indent)
{
    char core[16], part[16], sums[16], parts[16];
    for (CG_EACH_FOLD(g)) {
        cg_fold_name("core", g->fold, core);
        cg_fold_name("part", g->fold, part);
        cg_fold_name("sums", g->fold, sums);
        print_take(g, out, core, sums, lanes, indent);
        print_take(g, out, part, cg_fold_name("parts", g->fold, parts), lanes, indent);
        cg_print_combine(g, out, core, part, lanes, indent);
        print_put(g, out, core, sums, lanes, indent);
    }
}

/* A loop over the columns at hand, in a scope of its own. */
static void print_each_column(cg_generator *g, cg_text *out, cg_print_body body, const char *indent)
{
    char deeper[CG_INDENT];
    snprintf(deeper, sizeof deeper, "%.*s    ", CG_INDENT - 5, indent);
    cg_text_add(out, "%s{\n", indent);
    cg_print_vector_loop(g, out, body, "left", "right", deeper);
    cg_text_add(out, "%s}\n", indent);
}

/* The rows from r up to `last`, in blocks whose sums are combined. */
static void print_blocks_of_rows(cg_generator *g, cg_text *out, const char *indent)
{
    const int row = g->lowered->inner_count - 1;
    const char *type = cg_index_type(g);
    char deeper[CG_INDENT], deepest[CG_INDENT + 8];
    snprintf(deeper, sizeof deeper, "%.*s    ", CG_INDENT - 5, indent);
    snprintf(deepest, sizeof deepest, "%s        ", indent);
    cg_text_add(out, "%swhile (r%d < last) {\n", indent, row);
    cg_text_add(out, "%sconst %s pause = min((%s)(r%d + %d), last);\n", deeper, type, type, row, CG_SUM_BLOCK);
    print_each_column(g, out, print_start_of_parts, deeper);
    cg_text_add(out, "%sfor (%s top = r%d; top < pause; top += together) {\n", deeper, type, row);
    cg_text_add(out, "%sconst %s bottom = min((%s)(top + together), pause);\n", deepest, type, type);
    cg_print_vector_loop(g, out, print_rows, "left", "right", deepest);
    cg_text_add(out, "%s}\n", deeper);
    print_each_column(g, out, print_join_of_parts, deeper);
    cg_text_add(out, "%sr%d = pause;\n%s}\n", deeper, row, indent);
}

/* What is done with the sum of a column, or of `lanes` columns: the bodies that cg_print_columns takes. */
static void print_cores(cg_generator *g, cg_text *out, int lanes, const char *indent)
{
    char core[16], sums[16];
    for (CG_EACH_FOLD(g))
        print_take(g, out, cg_fold_name("core", g->fold, core), cg_fold_name("sums", g->fold, sums), lanes, indent);
}

void cg_print_column_result(cg_generator *g, cg_text *out, int lanes, const char *indent)
{
    print_cores(g, out, lanes, indent);
    cg_print_outer(g, out, lanes, indent);
}

void cg_print_column_part(cg_generator *g, cg_text *out, int lanes, const char *indent)
{
    print_cores(g, out, lanes, indent);
    cg_print_part(g, out, lanes, indent);
}

void cg_print_columns(cg_generator *g, cg_text *out, cg_print_body body, const char *indent)
{
    const char *type = cg_index_type(g), *number = cg_register_type(cg_reduction_dtype(g));
    char deeper[CG_INDENT], sums[16], parts[16];
    snprintf(deeper, sizeof deeper, "%s    ", indent);
    int columns = CG_COLUMNS_AT_ONCE;
    while (columns * g->lowered->fold_count > CG_COLUMNS_AT_ONCE) columns /= 2; /* the cache holds as much as before */
    for (CG_EACH_FOLD(g))
        cg_text_add(out, "%s%s %s[%d], %s[%d];\n", indent, number, cg_fold_name("sums", g->fold, sums), columns,
                    cg_fold_name("parts", g->fold, parts), columns);
    cg_text_add(out, "%sfor (%s left = begin; left < end; left += %d) {\n", indent, type, columns);
    cg_text_add(out, "%sconst %s right = min((%s)(left + %d), end);\n", deeper, type, type, columns);
    cg_text_add(out, "%sconst int together = right - left < %d ? %d : %d;\n", deeper, SHORT, ROWS_AT_ONCE_SHORT,
                ROWS_AT_ONCE);
    cg_text_add(out, "%sconst int away = max(together, %d / (int)(right - left));\n", deeper, FETCHED_AHEAD);
    print_each_column(g, out, print_start_of_sums, deeper);
    const int opened = cg_print_folded_axes(g, out, deeper);
    print_blocks_of_rows(g, out, deeper);
    cg_close_folded_axes(out, opened, deeper);
    print_each_column(g, out, body, deeper);
    cg_text_add(out, "%s}\n", indent);
}

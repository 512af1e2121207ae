/* docs/ops.md: a table for each title, in the order in which families have them, and one for what is inside. */
#include "op_rows.h"

#include <stdio.h>
#include <string.h>

static const char head[] =
    "<!-- Written by ./dev docs from the ops' descriptors (cg_op_text in clgrad/op.h): changes belong there. -->\n"
    "# Ops\n"
    "\n"
    "Every function of the library that records ops, by family; `clgrad ops NAME` finds one by its name here, in "
    "Keras\n"
    "or in PyTorch. The headers in [include/clgrad](../include/clgrad) have shapes, defaults and errors.\n"
    "\n"
    "- **Function**: without the prefix `cg_`. Arguments that begin with a dot are optional and named:\n"
    "  `cg_sum(x, .axes = CG_AXES(1))`.\n"
    "- **Dtypes** that it takes, and what comes out if not the same; of several operands, what they promote to.\n"
    "  *Floating* is f32, f64, f16 and bf16; *any* is these, i32, u8 and bool. \"any → floating\" makes f32 of\n"
    "  integers and bools.\n"
    "- **Edges**: values at the edges of the domain, and the subgradient, which is what gradients take where there is "
    "no\n"
    "  derivative. NaN gives NaN unless said otherwise. Functions are differentiable to every order, except where it "
    "says\n"
    "  *derivative 0* (it is 0 wherever it exists, and gradients are) or *no derivative* (asking for one is an "
    "error).\n"
    "- **Keras, PyTorch**: what does the same there, after `keras.` and `torch.`; in parentheses, what differs.\n"
    "\n";

/* ---- Cells ------------------------------------------------------------------------------------------------------- */

/* In a table a bar ends a cell, and Markdown means something by these. */
static void print_text(const char *text)
{
    for (; *text; text++) {
        if (strchr("|*_<\\`[]", *text)) putchar('\\');
        putchar(*text);
    }
}

/* Inside a code span only the bar needs the backslash. */
static void print_code(const char *text, int bytes)
{
    putchar('`');
    for (int i = 0; i < bytes; i++) {
        if (text[i] == '|') putchar('\\');
        putchar(text[i]);
    }
    putchar('`');
}

/* "nn.ReLU, nn.ReLU6 (with a bound)": each name as code. */
static void print_names(const char *names)
{
    while (names && *names) {
        const int name = (int)strcspn(names, ", ");
        print_code(names, name);
        names += name;
        if (strncmp(names, " (", 2) == 0) {
            const char *end = strchr(names, ')');
            const int bytes = end ? (int)(end + 1 - names) : (int)strlen(names);
            char remark[256];
            snprintf(remark, sizeof remark, "%.*s", bytes, names);
            print_text(remark);
            names += bytes;
        }
        if (*names) fputs(", ", stdout);
        names += strspn(names, ", ");
    }
}

static void print_edges(const op_row *row)
{
    const char *derivative = strcmp(row->derivatives, "0") == 0      ? "derivative 0"
                             : strcmp(row->derivatives, "none") == 0 ? "no derivative"
                                                                     : NULL;
    if (row->text->edges) print_text(row->text->edges);
    if (row->text->edges && derivative) fputs("; ", stdout);
    if (derivative) fputs(derivative, stdout);
}

static void print_row(const op_row *row)
{
    char call[256];
    fputs("| ", stdout);
    snprintf(call, sizeof call, "%s(%s)", row->name, row->arguments);
    print_code(call, (int)strlen(call));
    fputs(" | ", stdout);
    print_text(row->text->formula);
    fputs(" | ", stdout);
    print_text(row->dtypes);
    fputs(" | ", stdout);
    print_edges(row);
    if (!row->text->internal) {
        fputs(" | ", stdout);
        print_names(row->text->keras);
        fputs(" | ", stdout);
        print_names(row->text->pytorch);
    }
    puts(" |");
}

/* ---- Sections ---------------------------------------------------------------------------------------------------- */

static bool in_section(const op_row *row, const char *title)
{
    return !row->text->internal && row->family->title && strcmp(row->family->title, title) == 0;
}

/* Whether the row is the first of its section. */
static bool opens_section(const op_rows *rows, int index)
{
    const op_row *row = &rows->row[index];
    if (row->text->internal || !row->family->title) return false;
    for (int i = 0; i < index; i++)
        if (in_section(&rows->row[i], row->family->title)) return false;
    return true;
}

/* As GitHub makes it of a title: lower case, "-" for blanks, nothing for other signs. */
static void print_link(const char *title)
{
    printf("- [%s](#", title);
    for (; *title; title++) {
        const bool upper = *title >= 'A' && *title <= 'Z', lower = *title >= 'a' && *title <= 'z';
        if (*title == ' ' || *title == '-')
            putchar('-');
        else if (upper || lower)
            putchar(upper ? *title - 'A' + 'a' : *title);
    }
    puts(")");
}

static void print_section(const op_rows *rows, const cg_op_family *family)
{
    printf("\n## %s\n\n", family->title);
    for (int i = 0; i < rows->count; i++) {
        const cg_op_family *other = rows->row[i].family;
        const bool repeated = i > 0 && rows->row[i - 1].family == other;
        if (!repeated && other->introduction && other->title && strcmp(other->title, family->title) == 0)
            printf("%s\n\n", other->introduction);
    }
    puts("| Function | Formula | Dtypes | Edges | Keras | PyTorch |\n| --- | --- | --- | --- | --- | --- |");
    for (int i = 0; i < rows->count; i++)
        if (in_section(&rows->row[i], family->title)) print_row(&rows->row[i]);
}

static const char inside_title[] = "What they are made of";

static void print_inside(const op_rows *rows)
{
    printf("\n## %s\n\n"
           "Ops without a function of their own. Logs, profiles and drawings of graphs name them.\n\n"
           "| Op | Formula | Dtypes | Edges |\n| --- | --- | --- | --- |\n",
           inside_title);
    for (int i = 0; i < rows->count; i++)
        if (rows->row[i].text->internal) print_row(&rows->row[i]);
}

void op_rows_print_markdown(const op_rows *rows)
{
    fputs(head, stdout);
    for (int i = 0; i < rows->count; i++)
        if (opens_section(rows, i)) print_link(rows->row[i].family->title);
    print_link(inside_title);
    for (int i = 0; i < rows->count; i++)
        if (opens_section(rows, i)) print_section(rows, rows->row[i].family);
    print_inside(rows);
}

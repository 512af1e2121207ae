/* `clgrad ops`: the table of ops, as text or as the page docs/ops.md. */
#include "ops.h"

#include "arguments.h"
#include "op_rows.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char usage[] =
    "Usage: clgrad ops [FILTER...] [--markdown]\n"
    "\n"
    "Lists the functions that record ops: which dtypes they take and make; in column d the orders of derivatives that\n"
    "exist (all, 0 where it is 0 everywhere, none, - where there is nothing to differentiate); the kind of op, or the\n"
    "op that the function calls; what they compute. With FILTERs, those whose name, here, in Keras or in PyTorch,\n"
    "contains one of them, with arguments (those that begin with a dot are optional), edges and these names.\n"
    "\n"
    "  --markdown  the page docs/ops.md\n"
    "\n"
    "The exit status is 1 without an OpenCL device, 2 for arguments that mean nothing.\n";

static bool contains(const char *text, const char *part)
{
    const size_t length = strlen(part);
    for (; text && *text; text++)
        if (strncasecmp(text, part, length) == 0) return true;
    return false;
}

static bool is_wanted(const op_row *row, char **filters)
{
    char name[64];
    snprintf(name, sizeof name, "cg_%s", row->name);
    for (; *filters; filters++)
        if (contains(name, *filters) || contains(row->text->keras, *filters) || contains(row->text->pytorch, *filters))
            return true;
    return false;
}

static void print_padded(const char *text, int width)
{
    printf("%s%*s  ", text, width > text_width(text) ? width - text_width(text) : 0, "");
}

static void print_details(const op_row *row)
{
    printf("    cg_%s(%s)\n", row->name, row->arguments);
    if (row->text->edges) printf("    edges: %s\n", row->text->edges);
    if (row->text->keras) printf("    Keras: %s\n", row->text->keras);
    if (row->text->pytorch) printf("    PyTorch: %s\n", row->text->pytorch);
}

/* Wide enough for most; what is longer pushes the rest aside. */
enum { NAME_WIDTH = 24, DTYPES_WIDTH = 16, DERIVATIVES_WIDTH = 4, KIND_WIDTH = 12 };

static void print_line(const char *name, const char *dtypes, const char *derivatives, const char *kind,
                       const char *formula)
{
    print_padded(name, NAME_WIDTH);
    print_padded(dtypes, DTYPES_WIDTH);
    print_padded(derivatives, DERIVATIVES_WIDTH);
    print_padded(kind, KIND_WIDTH);
    puts(formula);
}

static int print_table(const op_rows *rows, char **filters)
{
    int found = 0;
    for (int i = 0; i < rows->count; i++) {
        const op_row *row = &rows->row[i];
        if (*filters && !is_wanted(row, filters)) continue;
        if (found++ == 0) print_line("function", "dtypes", "d", "kind", "formula");
        print_line(row->name, row->dtypes, row->derivatives, row->kind, row->text->formula);
        if (*filters) print_details(row);
    }
    if (found == 0) fputs("clgrad ops: no function's name contains that; clgrad ops lists them\n", stderr);
    return found ? EXIT_SUCCESS : EXIT_USAGE;
}

static int run(char **filters, bool markdown)
{
    static op_rows rows;
    cg_context *cg = cg_open(NULL);
    int status = EXIT_SUCCESS;
    if (cg_status(cg) != CG_OK) {
        fprintf(stderr, "clgrad ops: %s\n", cg_message(cg));
        cg_close(cg);
        return EXIT_FAILURE;
    }
    op_rows_collect(&rows, cg);
    cg_close(cg);
    if (markdown)
        op_rows_print_markdown(&rows);
    else
        status = print_table(&rows, filters);
    return status;
}

int ops_command(char **arguments)
{
    bool markdown = false;
    char **filters = arguments;
    int kept = 0;
    for (char **argument = arguments; *argument; argument++) {
        if (strcmp(*argument, "--help") == 0) {
            fputs(usage, stdout);
            return EXIT_SUCCESS;
        }
        if (strcmp(*argument, "--markdown") == 0) {
            markdown = true;
        } else if (**argument == '-') {
            fprintf(stderr, "clgrad ops: no such option: %s; see --help\n", *argument);
            return EXIT_USAGE;
        } else {
            filters[kept++] = *argument;
        }
    }
    filters[kept] = NULL;
    if (markdown && kept > 0) {
        fputs("clgrad ops: the page has all ops: --markdown takes no FILTER\n", stderr);
        return EXIT_USAGE;
    }
    return run(filters, markdown);
}

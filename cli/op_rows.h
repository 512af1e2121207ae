/* The ops and the functions made of them as rows: what `clgrad ops` prints and docs/ops.md consists of. */
#ifndef CLGRAD_CLI_OP_ROWS_H
#define CLGRAD_CLI_OP_ROWS_H

#include <clgrad/op.h>

enum { MAX_OP_ROWS = 512 };

typedef struct op_row {
    const char *name, *arguments; /* "relu", "x, .max_value" */
    const cg_op_family *family;
    const cg_op_text *text;
    char dtypes[96];         /* "any → floating" */
    const char *derivatives; /* "all", "0", "none" */
    const char *kind;        /* of an op, "map"; of a function the op that it calls */
} op_row;

typedef struct op_rows {
    int count;
    op_row row[MAX_OP_ROWS];
} op_rows;

/* Writes all of them: families in their order, in each the ops, each followed by the functions that call it, then the
 * other functions. The context is used to see which dtypes ops take. */
void op_rows_collect(op_rows *rows, cg_context *cg);

/* Characters of UTF-8, not bytes. */
int text_width(const char *text);

/* docs/ops.md, to stdout. */
void op_rows_print_markdown(const op_rows *rows);

#endif

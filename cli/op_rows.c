/* Collects the rows of `clgrad ops`: what descriptors say of themselves, and what their inference makes of each dtype.
 */
#include "op_rows.h"

#include <clgrad/losses.h>
#include <clgrad/ops.h>
#include <stdio.h>
#include <string.h>

/* ---- Dtypes ------------------------------------------------------------------------------------------------------ */

static const cg_dtype dtypes[] = {CG_F32, CG_F64, CG_F16, CG_BF16, CG_I32, CG_U8, CG_BOOL};
enum { DTYPES = sizeof dtypes / sizeof *dtypes, MOST_INPUTS = 8, NOT_TAKEN = -1, NOT_THERE = -2 };

static int input_count(const cg_op *op)
{
    int count = op->inputs;
    if (count < 0)
        for (count = 0; count < 4 && op->samples[0].shapes[count].rank > 0; count++) continue;
    return count < MOST_INPUTS ? count : MOST_INPUTS;
}

/* The dtype of the first result of the op's first sample, with its f32 inputs, or all if none is, in another dtype. */
static int result_dtype(cg_context *cg, const cg_op *op, cg_dtype dtype)
{
    const cg_sample *sample = &op->samples[0];
    const int count = input_count(op);
    cg_tensor inputs[MOST_INPUTS], outputs[CG_MAX_OUTPUTS];
    bool any_f32 = false;
    for (int i = 0; i < count; i++) any_f32 |= sample->dtypes[i < 4 ? i : 3] == CG_F32;
    for (int i = 0; i < count; i++) {
        const int k = i < 4 ? i : 3;
        const bool varied = !any_f32 || sample->dtypes[k] == CG_F32;
        inputs[i] = cg_zeros(cg, sample->shapes[k], .dtype = varied ? dtype : sample->dtypes[k]);
    }
    if (cg_status(cg) != CG_OK) { /* a device without f64 */
        cg_clear_error(cg);
        return NOT_THERE;
    }
    const bool taken = cg_apply_all(op, inputs, count, sample->attributes, sample->attribute_count, outputs);
    cg_clear_error(cg);
    return taken ? (int)cg_dtype_of(outputs[0]) : NOT_TAKEN;
}

static void append(char *text, size_t room, const char *more)
{
    const size_t used = strlen(text);
    snprintf(text + used, room - used, "%s", more);
}

static void append_listed(char *text, size_t room, const char *more)
{
    append(text, room, *text ? ", " : "");
    append(text, room, more);
}

/* "any", "any but bool", "floating", or a list. */
static void describe_taken(const int *results, char *text, size_t room)
{
    int floating = 0, whole = 0, absent = 0, refused = 0, last_refused = 0;
    for (int i = 0; i < DTYPES; i++) {
        absent += results[i] == NOT_THERE;
        if (results[i] == NOT_TAKEN) refused++, last_refused = i;
        if (results[i] >= 0) *(cg_is_floating(dtypes[i]) ? &floating : &whole) += 1;
    }
    if (floating + absent == 4 && (whole == 0 || whole == 3)) {
        snprintf(text, room, "%s", whole ? "any" : "floating");
        return;
    }
    if (refused == 1) {
        snprintf(text, room, "any but %s", cg_dtype_name(dtypes[last_refused]));
        return;
    }
    for (int i = 0; i < DTYPES; i++)
        if (results[i] >= 0) append_listed(text, room, cg_dtype_name(dtypes[i]));
}

/* What becomes of them: nothing where they stay, " → bool" where all become one, " → floating", or the exceptions. */
static void describe_results(const int *results, char *text, size_t room)
{
    char changed[64] = "";
    int one = NOT_TAKEN, other = NOT_TAKEN, changes = 0, taken = 0;
    bool whole_to_f32 = true;
    for (int i = 0; i < DTYPES; i++) {
        if (results[i] < 0) continue;
        const bool same = results[i] == (int)dtypes[i];
        taken++;
        if (one == NOT_TAKEN) one = results[i];
        if (results[i] != one) other = results[i];
        whole_to_f32 &= cg_is_floating(dtypes[i]) ? same : results[i] == CG_F32;
        if (same) continue;
        changes++;
        append_listed(changed, sizeof changed, cg_dtype_name(dtypes[i]));
    }
    if (changes == 0) return;
    if (taken > 1 && other == NOT_TAKEN) {
        append(text, room, " → ");
        append(text, room, cg_dtype_name((cg_dtype)one));
    } else if (whole_to_f32) {
        append(text, room, " → floating");
    } else {
        append(text, room, "; ");
        append(text, room, changed);
        append(text, room, " → i32");
    }
}

static void describe_dtypes(cg_context *cg, const cg_op *op, char *text, size_t room)
{
    int results[DTYPES];
    *text = '\0';
    if (!op || op->sample_count == 0 || op->inputs == 0) return;
    cg_scope scope = cg_scope_local(cg);
    for (int i = 0; i < DTYPES; i++) results[i] = result_dtype(cg, op, dtypes[i]);
    cg_scope_end(scope);
    describe_taken(results, text, room);
    describe_results(results, text, room);
}

/* ---- Rows -------------------------------------------------------------------------------------------------------- */

static const char *kind_of(const cg_op *op)
{
    static const char *const kinds[] = {
        [CG_OP_MAP] = "map",           [CG_OP_MOVE] = "move",     [CG_OP_REDUCE] = "reduce",
        [CG_OP_CONTRACT] = "contract", [CG_OP_KERNEL] = "kernel", [CG_OP_COMPOSED] = "composed",
    };
    return kinds[op->kind];
}

/* Of numbers that are made from nothing there is nothing to differentiate. */
static const char *derivatives_of(const cg_op *op, const cg_op_text *text)
{
    if (!op || (text->dtypes && strncmp(text->dtypes, "→", strlen("→")) == 0)) return "-";
    if (op->random) return "none";
    if (op->zero_gradient) return "0";
    return op->vjp || op->kind == CG_OP_COMPOSED ? "all" : "none";
}

static const cg_op *find_op(const char *name)
{
    int count;
    const cg_op *const *table = cg_op_table(&count);
    for (int i = 0; name && i < count; i++)
        if (strcmp(table[i]->name, name) == 0) return table[i];
    return NULL;
}

static void add_row(op_rows *rows, cg_context *cg, const op_row *start, const cg_op *op)
{
    static const char *const operands[] = {"", "x", "a, b", "a, b, c"};
    if (rows->count == MAX_OP_ROWS) return;
    op_row *row = &rows->row[rows->count++];
    *row = *start;
    const cg_op_text *text = row->text;
    row->derivatives = derivatives_of(op, text);
    row->arguments = text->call ? text->call : op && op->inputs >= 0 && op->inputs < 4 ? operands[op->inputs] : "";
    if (text->dtypes)
        snprintf(row->dtypes, sizeof row->dtypes, "%s", text->dtypes);
    else
        describe_dtypes(cg, op, row->dtypes, sizeof row->dtypes);
}

static bool has_op(const cg_op_family *family, const char *name)
{
    for (int i = 0; name && i < family->count; i++)
        if (strcmp(family->ops[i]->name, name) == 0) return true;
    return false;
}

/* The functions that call this op, or, with NULL, those that call none of the family. */
static void add_functions(op_rows *rows, cg_context *cg, const cg_op_family *family, const char *of)
{
    for (int i = 0; i < family->function_count; i++) {
        const cg_op_function *function = &family->functions[i];
        const bool calls = of && function->of && strcmp(function->of, of) == 0;
        if (!calls && (of || has_op(family, function->of))) continue;
        const op_row row = {.name = function->name,
                            .family = family,
                            .text = &function->text,
                            .kind = function->of ? function->of : "literals"};
        add_row(rows, cg, &row, find_op(function->of));
    }
}

static void add_family(op_rows *rows, cg_context *cg, const cg_op_family *family)
{
    for (int i = 0; i < family->count; i++) {
        const cg_op *op = family->ops[i];
        const op_row row = {.name = op->name, .family = family, .text = &op->text, .kind = kind_of(op)};
        if (op->text.formula) add_row(rows, cg, &row, op);
        add_functions(rows, cg, family, op->name);
    }
    add_functions(rows, cg, family, NULL);
}

void op_rows_collect(op_rows *rows, cg_context *cg)
{
    int count;
    const cg_op_family *const *families = cg_op_families(&count);
    rows->count = 0;
    for (int i = 0; i < count; i++) add_family(rows, cg, families[i]);
    families = cg_loss_families(&count);
    for (int i = 0; i < count; i++) add_family(rows, cg, families[i]);
}

int text_width(const char *text)
{
    int width = 0;
    for (; *text; text++) width += ((unsigned char)*text & 0xC0) != 0x80;
    return width;
}

/* The code generator. A kernel's source holds only structure: sizes, strides, offsets and numbers are fields of one
 * argument block, so that layers of the same form, and other batch sizes, share a kernel. Loops are written for the
 * device class: on CPUs a work-item walks a block with vectors and a scalar rest, on GPUs items take turns. */
#include "engine/codegen.h"
#include "cl_kernels.h"
#include "engine/clblast.h"
#include "engine/gemm_plan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MOST_FIELDS = 512,
    MOST_SUMS = 64,
    ELEMENTS_PER_ITEM = 8192,  /* work that is worth a work-item of its own on a CPU, in additions */
    SPLIT_FROM = 1 << 15,      /* elements from which a reduction to few results is cut into parts */
    BLOCK = 128,               /* terms added up before the sum joins the larger one, against rounding */
    GPU_LOCAL = 64
};

/* A field of the argument block. */
typedef struct field {
    char name[16];
    char type; /* 'l' long, 'd' double, 'i' int, 'f' float */
    double number;
    int64_t integer;
    bool patched;
    cg_patch patch;
    int at;
} field;

/* One kernel being written. */
typedef struct generator {
    cg_build *build;
    cg_context *context;
    cg_lowered *lowered;
    cg_group *group;
    cg_text body, epilogue;
    field fields[MOST_FIELDS];
    int field_count;
    cg_kernel_tensor tensors[CG_MOST_TENSORS + CG_MOST_MEMBERS + 8];
    int tensor_count;
    cg_shift_sum sums[MOST_SUMS];
    int sum_count;
    int lanes;             /* of vectors in this kernel: 1 means none */
    int vector_axis;       /* that they run along, or -1 */
    bool wide;             /* indices need 64 bits */
    bool status;
    bool failed;
    int form_fields[CG_MOST_TERMS + CG_MOST_MEMBERS + CG_MOST_GUARDS + 4]; /* per form: first field, or -1 */
    size_t global[3];
    cl_uint dimensions;
    cg_scratch scratch[CG_MAX_OUTPUTS];
    int scratch_count, scratch_tensor;
    int64_t bytes;
} generator;

/* Where each kind of form keeps its fields. */
enum { FORMS_OF_STORES = CG_MOST_TERMS, FORMS_OF_GUARDS = CG_MOST_TERMS + CG_MOST_MEMBERS };

/* --- fields --- */

static field *field_new(generator *g, char type, const char *prefix, int number)
{
    if (g->field_count == MOST_FIELDS) {
        g->failed = true;
        g->field_count--;
    }
    field *f = &g->fields[g->field_count++];
    *f = (field){.type = type};
    snprintf(f->name, sizeof f->name, "%s%d", prefix, number);
    return f;
}

static void field_integer(generator *g, char type, const char *prefix, int number, int64_t value)
{
    field_new(g, type, prefix, number)->integer = value;
}

/* Makes the last field one that each run computes. */
static void patch_with_sum(generator *g, const cg_shift_sum *sum)
{
    field *f = &g->fields[g->field_count - 1];
    if (g->sum_count == MOST_SUMS) {
        g->failed = true;
        return;
    }
    f->patched = true;
    f->patch = (cg_patch){.kind = CG_PATCH_SHIFT, .index = g->sum_count};
    g->sums[g->sum_count++] = *sum;
}

static const char *index_type(const generator *g)
{
    return g->wide ? "long" : "int";
}

static char index_field(const generator *g)
{
    return g->wide ? 'l' : 'i';
}

static int field_bytes(char type)
{
    return type == 'l' || type == 'd' ? 8 : 4;
}

/* Eight-byte fields first, so that host and device agree on the layout without padding. */
static int lay_out(generator *g)
{
    int at = 0;
    for (int bytes = 8; bytes >= 4; bytes -= 4)
        for (int i = 0; i < g->field_count; i++)
            if (field_bytes(g->fields[i].type) == bytes) {
                g->fields[i].at = at;
                at += bytes;
            }
    return (at + 7) / 8 * 8;
}

/* --- tensors --- */

static int add_scratch(generator *g, cg_dtype dtype, int64_t bytes)
{
    g->tensors[g->tensor_count] = (cg_kernel_tensor){.item = -1, .dtype = dtype, .written = true};
    g->scratch[g->scratch_count++] = (cg_scratch){.argument = g->tensor_count, .bytes = bytes};
    return g->scratch_tensor = g->tensor_count++;
}

static const char *storage_type(cg_dtype dtype)
{
    static const char *const names[] = {"float", "double", "int", "uchar", "uchar"};
    return names[dtype];
}

static const char *register_type(cg_dtype dtype)
{
    return dtype == CG_F32 ? "float" : dtype == CG_F64 ? "double" : "int";
}

/* "float16" */
static const char *vector_type(cg_dtype dtype, int lanes, char text[16])
{
    if (lanes == 1) snprintf(text, 16, "%s", register_type(dtype));
    else snprintf(text, 16, "%s%d", register_type(dtype), lanes);
    return text;
}

/* --- forms --- */

static void axis_name(const generator *g, int axis, char name[16])
{
    const int outer = g->lowered->outer_count;
    snprintf(name, 16, axis < outer ? "i%d" : "r%d", axis < outer ? axis : axis - outer);
}

/* A form's offset: fixed, or recomputed at each run from where slices start. */
static void field_offset(generator *g, const cg_form *form)
{
    field_integer(g, index_field(g), "s", g->field_count, form->offset);
    if (form->shift_count == 0) return;
    cg_shift_sum sum = {.base = form->offset, .count = form->shift_count, .wide = g->wide};
    memcpy(sum.shifts, form->shifts, sizeof sum.shifts);
    patch_with_sum(g, &sum);
}

/* Writes the index that a form stands for. Strides 0 and 1 are structure; others are fields, made at first use. */
static void print_form(generator *g, cg_text *out, const cg_form *form, int slot)
{
    const int axes = g->lowered->outer_count + g->lowered->inner_count;
    const bool fresh = g->form_fields[slot] < 0;
    bool any = false;
    int number = fresh ? g->field_count : g->form_fields[slot];
    g->form_fields[slot] = number;
    for (int k = 0; k < axes; k++) {
        char name[16];
        if (form->stride[k] == 0) continue;
        axis_name(g, k, name);
        cg_text_append(out, any ? " + " : "");
        any = true;
        if (form->stride[k] == 1) {
            cg_text_append(out, name);
            continue;
        }
        if (fresh) field_integer(g, index_field(g), "s", g->field_count, form->stride[k]);
        cg_text_add(out, "%s * args.%s", name, g->fields[number++].name);
    }
    if (form->offset != 0 || form->shift_count > 0) {
        if (fresh) field_offset(g, form);
        cg_text_add(out, "%sargs.%s", any ? " + " : "", g->fields[number++].name);
        any = true;
    }
    if (!any) cg_text_append(out, "0");
}

static int64_t lane_stride(const generator *g, const cg_form *form, int lanes)
{
    return lanes > 1 && g->vector_axis >= 0 ? form->stride[g->vector_axis] : 0;
}

/* The field of a form's stride along the vector axis; only for strides other than 0 and 1. */
static const char *lane_stride_field(const generator *g, const cg_form *form, int slot)
{
    int number = g->form_fields[slot];
    for (int k = 0; k < g->vector_axis; k++) number += form->stride[k] != 0 && form->stride[k] != 1;
    return g->fields[number].name;
}

/* --- expressions --- */

static void print_guard(generator *g, cg_text *out, int guard)
{
    cg_text_append(out, "(");
    for (bool first = true; guard >= 0; guard = g->lowered->guards[guard].parent, first = false) {
        const cg_guard *it = &g->lowered->guards[guard];
        const int slot = FORMS_OF_GUARDS + guard;
        const bool fresh = g->form_fields[slot] < 0;
        cg_text_append(out, first ? "(uint)(" : " && (uint)(");
        print_form(g, out, &it->form, slot);
        if (fresh) field_integer(g, 'i', "e", guard, it->extent);
        cg_text_add(out, ") < (uint)args.e%d", guard);
    }
    cg_text_append(out, ")");
}

/* Turns what a load gave into a register: bytes are held as int, bool as zero or not. */
static void print_widened(cg_text *out, cg_dtype dtype, int lanes, const char *loaded)
{
    char type[16];
    if (dtype == CG_BOOL && lanes > 1) cg_text_add(out, "(convert_%s(%s) != 0)", vector_type(CG_I32, lanes, type), loaded);
    else if (dtype == CG_BOOL) cg_text_add(out, "(%s != 0)", loaded);
    else if (dtype == CG_U8 && lanes > 1) cg_text_add(out, "convert_%s(%s)", vector_type(CG_I32, lanes, type), loaded);
    else if (dtype == CG_U8) cg_text_add(out, "(int)%s", loaded);
    else cg_text_append(out, loaded);
}

static void print_load(generator *g, cg_text *out, int number, int lanes)
{
    const cg_term *t = &g->lowered->values[number];
    cg_text index = {.context = g->context}, loaded = {.context = g->context};
    char type[16];
    print_form(g, &index, &t->form, number);
    const int64_t stride = lane_stride(g, &t->form, lanes);
    const char *at = index.data ? index.data : "0";
    if (lanes == 1 || stride == 0) {
        cg_text_add(&loaded, "t%d[%s]", t->tensor, at);
    } else if (stride == 1) {
        cg_text_add(&loaded, "vload%d(0, t%d + (%s))", lanes, t->tensor, at);
    } else {
        cg_text_add(&loaded, "(%s%d)(", storage_type(t->dtype), lanes);
        for (int lane = 0; lane < lanes; lane++)
            cg_text_add(&loaded, "%st%d[%s + %d * args.%s]", lane ? ", " : "", t->tensor, at, lane,
                        lane_stride_field(g, &t->form, number));
        cg_text_append(&loaded, ")");
    }
    if (t->guard >= 0) {
        print_guard(g, out, t->guard);
        cg_text_append(out, " ? ");
    }
    const bool splat = lanes > 1 && stride == 0;
    if (splat) cg_text_add(out, "(%s)(", vector_type(t->dtype, lanes, type));
    if (splat && t->dtype == CG_BOOL) cg_text_append(out, "-");
    print_widened(out, t->dtype, splat ? 1 : lanes, loaded.data ? loaded.data : "0");
    if (splat) cg_text_append(out, ")");
    if (t->guard >= 0) cg_text_add(out, " : (%s)(0)", vector_type(t->dtype, lanes, type));
    cg_text_free(&index);
    cg_text_free(&loaded);
}

static void print_number(cg_text *out, cg_dtype dtype, double number, int lanes)
{
    char type[16], text[64];
    const bool is_float = cg_is_floating(dtype);
    if (!is_float) snprintf(text, sizeof text, "%lld", (long long)number);
    else if (isnan(number)) snprintf(text, sizeof text, "NAN");
    else if (isinf(number)) snprintf(text, sizeof text, number < 0 ? "-INFINITY" : "INFINITY");
    else if (dtype == CG_F32) snprintf(text, sizeof text, "%.9gf", (double)(float)number);
    else snprintf(text, sizeof text, "%a", number);
    /* "2f" is no literal: a float's needs a point or an exponent. */
    if (dtype == CG_F32 && !strpbrk(text, ".eNI")) snprintf(text, sizeof text, "%.1ff", number);
    if (dtype == CG_BOOL && lanes > 1 && number != 0) snprintf(text, sizeof text, "-1");
    cg_text_add(out, "(%s)(%s)", vector_type(dtype, lanes, type), text);
}

static void print_argument(generator *g, cg_text *out, const cg_term *t, int lanes)
{
    const cg_dtype dtype = t->dtype;
    const char kind = dtype == CG_F32 ? 'f' : dtype == CG_F64 ? 'd' : 'i';
    char type[16], name[16] = "";
    for (int i = 0; i < g->field_count; i++)
        if (g->fields[i].patched && g->fields[i].name[0] == 'c' && g->fields[i].type == kind &&
            g->fields[i].patch.index == t->item)
            snprintf(name, sizeof name, "%s", g->fields[i].name);
    if (!*name) {
        field *f = field_new(g, kind, "c", g->field_count);
        f->patched = true;
        f->patch.kind = kind == 'f' ? CG_PATCH_F32 : kind == 'd' ? CG_PATCH_F64 : CG_PATCH_I32;
        f->patch.index = t->item;
        snprintf(name, sizeof name, "%s", f->name);
    }
    cg_text_add(out, "(%s)(%sargs.%s)", vector_type(dtype, lanes, type), dtype == CG_BOOL && lanes > 1 ? "-" : "", name);
}

static void print_index(generator *g, cg_text *out, int number, int lanes)
{
    const cg_term *t = &g->lowered->values[number];
    const int64_t stride = lane_stride(g, &t->form, lanes);
    char type[16];
    cg_text_add(out, "(%s)((int)(", vector_type(CG_I32, lanes, type));
    print_form(g, out, &t->form, number);
    cg_text_append(out, "))");
    if (stride == 1) cg_text_add(out, " + CG_LANE_NUMBERS_%d", lanes);
    else if (stride != 0)
        cg_text_add(out, " + (int)args.%s * CG_LANE_NUMBERS_%d", lane_stride_field(g, &t->form, number), lanes);
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static const char *extreme(cg_dtype dtype, bool lowest)
{
    if (cg_is_floating(dtype)) return lowest ? "-INFINITY" : "INFINITY";
    if (dtype == CG_I32) return lowest ? "INT_MIN" : "INT_MAX";
    return lowest ? "0" : dtype == CG_U8 ? "255" : "1";
}

/* What a word of an op's expression becomes. `operands` are the names that a, b, c ... stand for. */
static void print_word(generator *g, cg_text *out, const char *word, int length, char operands[][16], int count,
                       cg_dtype result, cg_dtype real, int lanes, int code_field)
{
    char type[16];
#define IS(text) (length == (int)sizeof(text) - 1 && strncmp(word, text, sizeof(text) - 1) == 0)
    if (length == 1 && word[0] >= 'a' && word[0] < 'a' + count) cg_text_append(out, operands[word[0] - 'a']);
    else if (IS("T")) cg_text_append(out, vector_type(result, lanes, type));
    else if (IS("REAL")) cg_text_add(out, "(%s)", vector_type(real, lanes, type));
    else if (IS("LOWEST")) cg_text_append(out, extreme(result, true));
    else if (IS("HIGHEST")) cg_text_append(out, extreme(result, false));
    else if (IS("INDEX_CHECK(")) cg_text_add(out, "cg_index_check(status, args.%s, ", g->fields[code_field].name);
    else if (lanes > 1 && IS("PHILOX_BITS")) cg_text_append(out, "PHILOX_BITS_VECTOR");
    else if (lanes > 1 && IS("PHILOX_NORMAL")) cg_text_append(out, "PHILOX_NORMAL_VECTOR");
    else cg_text_add(out, "%.*s", length, word);
#undef IS
}

static void print_expression(generator *g, cg_text *out, const char *expression, char operands[][16], int count,
                             cg_dtype result, cg_dtype real, int lanes, int code_field)
{
    for (const char *p = expression; *p;) {
        int length = 0;
        while (is_word(p[length])) length++;
        if (length == 11 && strncmp(p, "INDEX_CHECK(", 12) == 0) length++;
        const bool number = *p >= '0' && *p <= '9';
        const bool member = p > expression && p[-1] == '.';
        if (length == 0 || number || member) {
            length = length ? length : 1;
            cg_text_add(out, "%.*s", length, p);
        } else {
            print_word(g, out, p, length, operands, count, result, real, lanes, code_field);
        }
        p += length;
    }
}

/* The report code of an op that may find a bad index: a field, since it differs between plans. */
static int report_field(generator *g, int item)
{
    cg_plan *plan = g->build->plan;
    cg_node *node = g->build->schedule->items[item].node;
    g->status = true;
    if (!CG_GROW(g->context, plan->report_texts, g->build->report_capacity, plan->report_count + 1)) {
        g->failed = true;
        return 0;
    }
    const char *name = node->label ? node->label : node->op->name;
    char *copy = cg_copy_text(g->context, name);
    g->failed |= !copy;
    plan->report_texts[plan->report_count++] = (cg_report_entry){copy};
    plan->reports = true;
    field_integer(g, 'i', "code", g->field_count, plan->report_count - 1);
    return g->field_count - 1;
}

static void print_map(generator *g, cg_text *out, const cg_term *t, int lanes)
{
    char operands[CG_MOST_OPERANDS][16];
    for (int i = 0; i < t->operand_count; i++) snprintf(operands[i], sizeof operands[i], "v%d", t->operands[i]);
    const int code = t->op->reports ? report_field(g, t->item) : -1;
    if (t->dtype == CG_U8) cg_text_append(out, "(");
    print_expression(g, out, t->op->expression, operands, t->operand_count, t->dtype, t->operand_dtype, lanes, code);
    if (t->dtype == CG_U8) cg_text_append(out, ") & 255"); /* u8 wraps */
}

static void print_convert(generator *g, cg_text *out, const cg_term *t, int lanes)
{
    const cg_dtype from = g->lowered->values[t->operands[0]].dtype, to = t->dtype;
    char type[16];
    const char *name = vector_type(to, lanes, type);
    const int v = t->operands[0];
    if (to == CG_BOOL) cg_text_add(out, "(v%d != 0)", v);
    else if (from == CG_BOOL) cg_text_add(out, "SELECT(v%d, (%s)(1), (%s)(0))", v, name, name);
    else if (cg_is_floating(from) && to == CG_I32) cg_text_add(out, "convert_%s_sat(v%d)", name, v);
    else if (cg_is_floating(from)) cg_text_add(out, to == CG_U8 ? "convert_%s_sat(v%d) & 255" : "convert_%s(v%d)", name, v);
    else if (to == CG_U8) cg_text_add(out, "v%d & 255", v);
    else if (register_type(from) == register_type(to)) cg_text_add(out, "v%d", v);
    else cg_text_add(out, "convert_%s(v%d)", name, v);
}

static void print_term(generator *g, cg_text *out, int number, int lanes, const char *indent)
{
    const cg_term *t = &g->lowered->values[number];
    char type[16];
    cg_text_add(out, "%sconst %s v%d = ", indent, vector_type(t->dtype, lanes, type), number);
    switch (t->kind) {
    case CG_TERM_LOAD: print_load(g, out, number, lanes); break;
    case CG_TERM_LITERAL: print_number(out, t->dtype, t->number, lanes); break;
    case CG_TERM_ARGUMENT: print_argument(g, out, t, lanes); break;
    case CG_TERM_INDEX: print_index(g, out, number, lanes); break;
    case CG_TERM_MAP: print_map(g, out, t, lanes); break;
    case CG_TERM_CONVERT: print_convert(g, out, t, lanes); break;
    case CG_TERM_CORE: cg_text_append(out, "core"); break;
    case CG_TERM_GUARD:
        print_guard(g, out, t->guard);
        cg_text_add(out, " ? v%d : (%s)(0)", t->operands[0], type);
        break;
    }
    cg_text_append(out, ";\n");
}

static void print_store(generator *g, cg_text *out, int number, int lanes, const char *indent)
{
    const cg_store *s = &g->lowered->stores[number];
    const cg_dtype dtype = g->lowered->tensors[s->tensor].dtype;
    const int64_t stride = lane_stride(g, &s->form, lanes);
    char value[64];
    if (dtype == CG_BOOL && lanes > 1) snprintf(value, sizeof value, "convert_uchar%d((v%d != 0) & 1)", lanes, s->value);
    else if (dtype == CG_BOOL) snprintf(value, sizeof value, "(uchar)(v%d != 0)", s->value);
    else if (dtype == CG_U8 && lanes > 1) snprintf(value, sizeof value, "convert_uchar%d(v%d)", lanes, s->value);
    else snprintf(value, sizeof value, dtype == CG_U8 ? "(uchar)v%d" : "v%d", s->value);
    if (lanes > 1 && stride == 1) {
        cg_text_add(out, "%svstore%d(%s, 0, t%d + (", indent, lanes, value, s->tensor);
        print_form(g, out, &s->form, FORMS_OF_STORES + number);
        cg_text_append(out, "));\n");
        return;
    }
    cg_text_add(out, "%st%d[", indent, s->tensor);
    print_form(g, out, &s->form, FORMS_OF_STORES + number);
    cg_text_add(out, "] = %s;\n", value);
}

static void print_terms(generator *g, cg_text *out, bool inner, int lanes, const char *indent)
{
    for (int i = 0; i < g->lowered->value_count; i++)
        if (g->lowered->values[i].inner == inner) print_term(g, out, i, lanes, indent);
}

/* Everything after the core: outer terms and stores. */
static void print_outer(generator *g, cg_text *out, int lanes, const char *indent)
{
    print_terms(g, out, false, lanes, indent);
    for (int i = 0; i < g->lowered->store_count; i++) print_store(g, out, i, lanes, indent);
}

/* --- vectors --- */

static bool has_f64(const cg_lowered *l)
{
    for (int i = 0; i < l->value_count; i++)
        if (l->values[i].dtype == CG_F64) return true;
    return false;
}

static bool has_reports(const cg_lowered *l)
{
    for (int i = 0; i < l->value_count; i++)
        if (l->values[i].kind == CG_TERM_MAP && l->values[i].op->reports) return true;
    return false;
}

/* Vectors along an axis need every guard to be the same for all lanes, and results that lie side by side. */
static bool allows_vectors(const cg_lowered *l, int axis)
{
    for (int i = 0; i < l->store_count && axis < l->outer_count; i++)
        if (l->stores[i].form.stride[axis] != 1) return false;
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

static void choose_vectors(generator *g)
{
    const cg_lowered *l = g->lowered;
    const int outer = l->outer_count - 1, inner = l->outer_count + l->inner_count - 1;
    g->lanes = g->context->vector_width;
    g->vector_axis = outer;
    if (l->group->kind == CG_GROUP_REDUCE && l->inner_count > 0) {
        const bool along_outer = outer >= 0 && contiguity(l, outer, true) > contiguity(l, inner, true);
        g->vector_axis = along_outer ? outer : inner;
    }
    if (g->vector_axis < 0 || has_f64(l) || has_reports(l) || !allows_vectors(l, g->vector_axis)) g->lanes = 1;
    if (g->lanes == 1) g->vector_axis = -1;
}

/* --- loops --- */

static int64_t product(const int64_t *extent, int count)
{
    int64_t n = 1;
    for (int i = 0; i < count; i++) n *= extent[i];
    return n;
}

static bool needs_wide_index(const cg_lowered *l)
{
    const int axes = l->outer_count + l->inner_count;
    if (product(l->extent, axes) > INT32_MAX / 2) return true;
    for (int i = 0; i < l->value_count; i++) {
        int64_t reach = 0;
        for (int k = 0; k < axes; k++) reach += llabs(l->values[i].form.stride[k]) * l->extent[k];
        if (reach > INT32_MAX / 2) return true;
    }
    return false;
}

static int64_t divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* Work-items for `units` pieces of `cost` additions each. */
static int64_t items_for(const generator *g, int64_t units, int64_t cost)
{
    const int64_t most = 4 * (int64_t)g->context->info.compute_units;
    const int64_t wanted = divide_up(units * (cost > 0 ? cost : 1), ELEMENTS_PER_ITEM);
    const int64_t items = wanted < most ? wanted : most;
    return items < 1 ? 1 : items < units ? items : units > 0 ? units : 1;
}

/* Coordinates of the axes [0, count) from the number in `rest`, which is used up. */
static void print_decode(generator *g, cg_text *out, int count, const char *indent)
{
    for (int k = count - 1; k > 0; k--)
        cg_text_add(out, "%sconst %s i%d = rest %% args.n%d;\n%srest /= args.n%d;\n", indent, index_type(g), k, k, indent, k);
    if (count > 0) cg_text_add(out, "%sconst %s i0 = rest;\n", indent, index_type(g));
}

static int cost_of_terms(const cg_lowered *l)
{
    int cost = 1;
    for (int i = 0; i < l->value_count; i++)
        cost += l->values[i].kind != CG_TERM_MAP ? 1 : l->values[i].op->cost ? l->values[i].op->cost : 1;
    return cost;
}

typedef void (*print_body)(generator *g, cg_text *out, int lanes, const char *indent);

/* A loop along the last outer axis from `begin` to `end`, by vectors while they fit. */
static void print_vector_loop(generator *g, cg_text *out, print_body body, const char *indent)
{
    char deeper[32];
    const int axis = g->lowered->outer_count - 1;
    const bool vectors = g->lanes > 1 && g->vector_axis == axis;
    snprintf(deeper, sizeof deeper, "%s    ", indent);
    cg_text_add(out, "%s%s i%d = begin;\n", indent, index_type(g), axis);
    if (vectors) {
        cg_text_add(out, "%sfor (; i%d + %d <= end; i%d += %d) {\n", indent, axis, g->lanes, axis, g->lanes);
        body(g, out, g->lanes, deeper);
        cg_text_add(out, "%s}\n", indent);
    }
    cg_text_add(out, "%sfor (; i%d < end; i%d++) {\n", indent, axis, axis);
    body(g, out, 1, deeper);
    cg_text_add(out, "%s}\n", indent);
}

/* On GPUs each work-item takes elements in turns, neighbours next to neighbours. */
static void print_turns(generator *g, print_body body)
{
    const cg_lowered *l = g->lowered;
    const int64_t total = product(l->extent, l->outer_count);
    const int64_t most = 256 * (int64_t)g->context->info.compute_units;
    const int64_t groups = divide_up(total, GPU_LOCAL);
    field_integer(g, index_field(g), "total", 0, total);
    cg_text_add(&g->body, "    for (%s e = get_global_id(0); e < args.total0; e += get_global_size(0)) {\n        %s rest = e;\n",
                index_type(g), index_type(g));
    print_decode(g, &g->body, l->outer_count, "        ");
    body(g, &g->body, 1, "        ");
    cg_text_append(&g->body, "    }\n");
    g->global[0] = (size_t)((groups < most ? groups : most) * GPU_LOCAL);
    g->dimensions = 1;
}

/* On CPUs: work-item (x, y) takes a block of rows and a block of the last axis. `inner_cost` additions an element. */
static void print_blocks(generator *g, print_body body, int64_t cost)
{
    const cg_lowered *l = g->lowered;
    const int last = l->outer_count - 1;
    const int64_t rows = product(l->extent, last), width = l->extent[last];
    const int64_t vectors = divide_up(width, g->lanes), row_items = items_for(g, rows, width * cost);
    const int64_t most = items_for(g, rows * width, cost), columns = row_items >= most ? 1 : divide_up(most, row_items);
    const int64_t width_items = columns < vectors ? columns : vectors > 0 ? vectors : 1;
    const int64_t block = divide_up(vectors, width_items) * g->lanes;
    const char *type = index_type(g);
    field_integer(g, index_field(g), "block", 0, block);
    if (last > 0) {
        const int64_t row_block = divide_up(rows, row_items);
        field_integer(g, index_field(g), "rows", 0, rows);
        field_integer(g, index_field(g), "rowblock", 0, row_block);
        cg_text_add(&g->body, "    const %s first = get_global_id(1) * args.rowblock0;\n", type);
        cg_text_add(&g->body, "    const %s stop = min((%s)(first + args.rowblock0), args.rows0);\n", type, type);
        g->global[1] = (size_t)divide_up(rows, row_block);
        g->dimensions = 2;
    }
    cg_text_add(&g->body, "    const %s begin = get_global_id(0) * args.block0;\n", type);
    cg_text_add(&g->body, "    const %s end = min((%s)(begin + args.block0), args.n%d);\n", type, type, last);
    g->global[0] = (size_t)divide_up(width, block);
    if (last == 0) {
        print_vector_loop(g, &g->body, body, "    ");
        return;
    }
    cg_text_add(&g->body, "    for (%s row = first; row < stop; row++) {\n        %s rest = row;\n", type, type);
    print_decode(g, &g->body, last, "        ");
    print_vector_loop(g, &g->body, body, "        ");
    cg_text_append(&g->body, "    }\n");
}

/* --- reductions --- */

static const cg_op *reduction_op(const generator *g)
{
    return g->build->schedule->items[g->group->anchor].node->op;
}

static cg_dtype reduction_dtype(const generator *g)
{
    return (cg_dtype)g->build->schedule->items[g->group->anchor].node->dtype;
}

static void print_identity(generator *g, cg_text *out, int lanes)
{
    char type[16];
    cg_text_add(out, "(%s)(", vector_type(reduction_dtype(g), lanes, type));
    print_expression(g, out, reduction_op(g)->identity, NULL, 0, reduction_dtype(g), reduction_dtype(g), lanes, -1);
    cg_text_append(out, ")");
}

static void print_declaration(generator *g, cg_text *out, const char *name, int lanes, const char *indent)
{
    char type[16];
    cg_text_add(out, "%s%s %s = ", indent, vector_type(reduction_dtype(g), lanes, type), name);
    print_identity(g, out, lanes);
    cg_text_append(out, ";\n");
}

/* into = combine(into, what) */
static void print_combine(generator *g, cg_text *out, const char *into, const char *what, int lanes, const char *indent)
{
    char operands[2][16];
    snprintf(operands[0], 16, "%s", into);
    snprintf(operands[1], 16, "%s", what);
    cg_text_add(out, "%s%s = ", indent, into);
    print_expression(g, out, reduction_op(g)->combine, operands, 2, reduction_dtype(g), reduction_dtype(g), lanes, -1);
    cg_text_append(out, ";\n");
}

/* One run along the last folded axis, in blocks whose sums are combined: `into` collects. */
static void print_run(generator *g, cg_text *out, const char *variable, const char *into, int lanes, int step,
                      const char *indent)
{
    char value[16];
    const char *type = index_type(g);
    snprintf(value, sizeof value, "v%d", g->lowered->reduced);
    cg_text_add(out, "%swhile (%s + %d <= last) {\n", indent, variable, step);
    cg_text_add(out, "%s    const %s pause = min((%s)(%s + %d), last);\n", indent, type, type, variable, BLOCK * step);
    char deeper[48];
    snprintf(deeper, sizeof deeper, "%s    ", indent);
    print_declaration(g, out, "part", lanes, deeper);
    cg_text_add(out, "%sfor (; %s + %d <= pause; %s += %d) {\n", deeper, variable, step, variable, step);
    snprintf(deeper, sizeof deeper, "%s        ", indent);
    print_terms(g, out, true, lanes, deeper);
    print_combine(g, out, "part", value, lanes, deeper);
    cg_text_add(out, "%s    }\n", indent);
    snprintf(deeper, sizeof deeper, "%s    ", indent);
    print_combine(g, out, into, "part", lanes, deeper);
    cg_text_add(out, "%s}\n", indent);
}

/* Folds the lanes of `from` into the scalar `into`, halving. */
static void print_horizontal(generator *g, cg_text *out, const char *from, const char *into, const char *indent)
{
    char type[16], name[16], previous[16], low[16], high[16];
    snprintf(previous, sizeof previous, "%s", from);
    for (int lanes = g->lanes / 2; lanes >= 1; lanes /= 2) {
        snprintf(name, sizeof name, "h%d", lanes);
        snprintf(low, sizeof low, "%.10s.lo", previous);
        snprintf(high, sizeof high, "%.10s.hi", previous);
        cg_text_add(out, "%s%s %s = %s;\n", indent, vector_type(reduction_dtype(g), lanes, type), name, low);
        print_combine(g, out, name, high, lanes, indent);
        snprintf(previous, sizeof previous, "%s", name);
    }
    print_combine(g, out, into, previous, 1, indent);
}

/* The folded loops for one output element, or for `lanes` neighbouring ones: leaves the result in `core`. With parts,
 * the first folded axis is cut, and `part_number` says which piece this is. */
static void print_folding(generator *g, cg_text *out, int lanes, bool parts, const char *indent)
{
    const cg_lowered *l = g->lowered;
    const int first = l->outer_count, count = l->inner_count;
    const bool along_inner = g->lanes > 1 && g->vector_axis >= first;
    const char *type = index_type(g);
    char deeper[48], variable[16];
    print_declaration(g, out, "core", lanes, indent);
    if (count == 0) { /* every folded axis has size 1 */
        print_terms(g, out, true, lanes, indent);
        cg_text_add(out, "%score = v%d;\n", indent, l->reduced);
        return;
    }
    if (along_inner) print_declaration(g, out, "wide", g->lanes, indent);
    snprintf(deeper, sizeof deeper, "%s", indent);
    for (int k = 0; k < count; k++) {
        const bool cut = parts && k == 0, last = k == count - 1;
        char from[64] = "0", to[64];
        snprintf(to, sizeof to, "args.n%d", first + k);
        if (cut) {
            snprintf(from, sizeof from, "part_number * args.piece0");
            snprintf(to, sizeof to, "min((%s)(part_number * args.piece0 + args.piece0), args.n%d)", type, first + k);
        }
        if (last) {
            cg_text_add(out, "%sconst %s last = %s;\n%s%s r%d = %s;\n", deeper, type, to, deeper, type, k, from);
        } else {
            cg_text_add(out, "%sfor (%s r%d = %s; r%d < %s; r%d++) {\n", deeper, type, k, from, k, to, k);
            strcat(deeper, "    ");
        }
    }
    snprintf(variable, sizeof variable, "r%d", count - 1);
    if (along_inner) print_run(g, out, variable, "wide", g->lanes, g->lanes, deeper);
    print_run(g, out, variable, "core", lanes, 1, deeper);
    for (int k = count - 2; k >= 0; k--) {
        deeper[strlen(deeper) - 4] = '\0';
        cg_text_add(out, "%s}\n", deeper);
    }
    if (along_inner) print_horizontal(g, out, "wide", "core", indent);
}

static void print_reduction(generator *g, cg_text *out, int lanes, const char *indent)
{
    print_folding(g, out, lanes, false, indent);
    print_outer(g, out, lanes, indent);
}

/* One part of each result, to the scratch buffer: parts[part_number][element]. */
static void print_partial(generator *g, cg_text *out, int lanes, const char *indent)
{
    const int last = g->lowered->outer_count - 1;
    print_folding(g, out, lanes, true, indent);
    cg_text_add(out, "%sconst %s element = ", indent, index_type(g));
    if (last < 0) cg_text_append(out, "0");
    for (int k = 0; k <= last; k++) { /* row-major over the outer axes, by Horner's rule */
        if (k == 0) {
            for (int j = 1; j <= last; j++) cg_text_append(out, "(");
            cg_text_append(out, "i0");
        } else {
            cg_text_add(out, " * args.n%d + i%d)", k, k);
        }
    }
    cg_text_append(out, ";\n");
    if (lanes > 1)
        cg_text_add(out, "%svstore%d(core, 0, t%d + part_number * args.elements0 + element);\n", indent, lanes, g->scratch_tensor);
    else cg_text_add(out, "%st%d[part_number * args.elements0 + element] = core;\n", indent, g->scratch_tensor);
}

/* The second step of a cut reduction: folds the parts, then everything that follows. */
static void print_join(generator *g, cg_text *out, int lanes, const char *indent)
{
    const int last = g->lowered->outer_count - 1;
    char deeper[48];
    snprintf(deeper, sizeof deeper, "%s    ", indent);
    print_declaration(g, out, "core", lanes, indent);
    cg_text_add(out, "%sconst %s element = ", indent, index_type(g));
    if (last < 0) cg_text_append(out, "0");
    for (int k = 0; k <= last; k++) {
        if (k == 0) {
            for (int j = 1; j <= last; j++) cg_text_append(out, "(");
            cg_text_append(out, "i0");
        } else {
            cg_text_add(out, " * args.n%d + i%d)", k, k);
        }
    }
    cg_text_append(out, ";\n");
    cg_text_add(out, "%sfor (int p = 0; p < args.parts0; p++) {\n", indent);
    char type[16];
    if (lanes > 1)
        cg_text_add(out, "%sconst %s part = vload%d(0, t%d + p * args.elements0 + element);\n", deeper,
                    vector_type(reduction_dtype(g), lanes, type), lanes, g->scratch_tensor);
    else cg_text_add(out, "%sconst %s part = t%d[p * args.elements0 + element];\n", deeper, register_type(reduction_dtype(g)), g->scratch_tensor);
    print_combine(g, out, "core", "part", lanes, deeper);
    cg_text_add(out, "%s}\n", indent);
    print_outer(g, out, lanes, indent);
}

static void print_map_body(generator *g, cg_text *out, int lanes, const char *indent)
{
    print_outer(g, out, lanes, indent);
}

/* --- assembling the step --- */

static cg_place place_of(const cg_build *b, const cg_kernel_tensor *tensor)
{
    if (tensor->item < 0) return (cg_place){.kind = CG_PLACE_ARENA, .index = -1};
    return b->schedule->items[tensor->item].place;
}

static void print_signature(generator *g, cg_text *out)
{
    static const struct {
        char type;
        const char *name;
    } types[] = {{'l', "long"}, {'d', "double"}, {'i', "int"}, {'f', "float"}};
    cg_text_append(out, "struct " CG_KERNEL_NAME "_arguments {\n");
    for (int bytes = 8; bytes >= 4; bytes -= 4)
        for (int i = 0; i < g->field_count; i++)
            for (int t = 0; t < 4; t++)
                if (types[t].type == g->fields[i].type && field_bytes(types[t].type) == bytes)
                    cg_text_add(out, "    %s %s;\n", types[t].name, g->fields[i].name);
    cg_text_append(out, "};\n");
}

static void print_parameters(generator *g, cg_text *out)
{
    for (int i = 0; i < g->tensor_count; i++) cg_text_add(out, "__global %s *b%d, ", storage_type(g->tensors[i].dtype), i);
    if (g->status) cg_text_append(out, "__global int *status_words, ");
    cg_text_append(out, "struct " CG_KERNEL_NAME "_arguments args");
}

static void print_pointers(generator *g, cg_text *out)
{
    for (int i = 0; i < g->tensor_count; i++)
        cg_text_add(out, "    __global %s%s *t%d = b%d + args.o%d;\n", g->tensors[i].written ? "" : "const ",
                    storage_type(g->tensors[i].dtype), i, i, i);
    if (g->status) cg_text_append(out, "    volatile __global int *status = status_words + args.status0;\n");
}

/* Variables keep their value in a run that has reported a bad index. */
static bool is_guarded(const generator *g)
{
    return g->group->in_place && g->build->schedule->reports;
}

static void add_common_fields(generator *g)
{
    if (is_guarded(g)) g->status = true;
    for (int i = 0; i < g->tensor_count; i++) {
        field *f = field_new(g, 'l', "o", i);
        f->patched = true;
        f->patch = (cg_patch){.kind = CG_PATCH_TENSOR, .index = i, .element = (uint16_t)cg_dtype_bytes(g->tensors[i].dtype)};
    }
    if (g->status) {
        field *f = field_new(g, 'i', "status", 0);
        f->patched = true;
        f->patch.kind = CG_PATCH_STATUS;
    }
}

static void add_axis_fields(generator *g)
{
    for (int k = 0; k < g->lowered->outer_count + g->lowered->inner_count; k++)
        field_integer(g, index_field(g), "n", k, g->lowered->extent[k]);
}

static void fill_block(const generator *g, cg_step *step)
{
    for (int i = 0; i < g->field_count; i++) {
        const field *f = &g->fields[i];
        unsigned char *at = step->block + f->at;
        const int32_t narrow = (int32_t)f->integer;
        if (f->type == 'l') memcpy(at, &f->integer, 8);
        else if (f->type == 'i') memcpy(at, &narrow, 4);
        if (!f->patched) continue;
        step->patches[step->patch_count] = f->patch;
        step->patches[step->patch_count++].at = (uint16_t)f->at;
    }
}

static char *label_of(generator *g)
{
    cg_text text = {.context = g->context};
    const cg_schedule *s = g->build->schedule;
    const char *previous = "";
    if (g->lowered)
        for (int i = 0; i < g->lowered->value_count; i++) {
            const cg_term *t = &g->lowered->values[i];
            const char *name = t->kind == CG_TERM_MAP    ? t->op->name
                               : t->kind == CG_TERM_CORE ? s->items[g->group->anchor].node->op->name
                                                         : NULL;
            if (!name || text.length > 160) continue;
            cg_text_add(&text, "%s%s", *previous ? " " : "", name);
            previous = name;
        }
    if (!text.data && g->group->anchor >= 0) cg_text_append(&text, s->items[g->group->anchor].node->op->name);
    if (!text.data) cg_text_append(&text, "copy");
    return text.data;
}

static bool grow_build(cg_build *b)
{
    const int count = b->plan->step_count + 1;
    return CG_GROW(b->context, b->plan->steps, b->step_capacity, count) &&
           CG_GROW(b->context, b->sources, b->source_capacity, count) &&
           CG_GROW(b->context, b->groups, b->group_capacity, count);
}

/* Appends a zeroed step. */
static cg_step *step_new(cg_build *b, const cg_group *group)
{
    if (!grow_build(b)) return NULL;
    const int number = b->plan->step_count++;
    b->sources[number] = NULL;
    b->groups[number] = group->step;
    b->plan->steps[number] = (cg_step){0};
    return &b->plan->steps[number];
}

static bool fill_step(generator *g, cg_step *step, int block_bytes)
{
    cg_context *cg = g->context;
    cg_build *b = g->build;
    step->places = cg_host_allocate(cg, (size_t)(g->tensor_count + 1) * sizeof *step->places);
    step->bound = cg_host_allocate(cg, (size_t)(g->tensor_count + 1) * sizeof *step->bound);
    step->block = cg_host_allocate(cg, (size_t)block_bytes);
    step->patches = cg_host_allocate(cg, (size_t)g->field_count * sizeof *step->patches);
    step->outputs = cg_host_allocate(cg, CG_MOST_MEMBERS * sizeof *step->outputs);
    step->sums = cg_host_allocate(cg, (size_t)(g->sum_count + 1) * sizeof *step->sums);
    step->label = label_of(g);
    if (!step->places || !step->bound || !step->block || !step->patches || !step->outputs || !step->sums || !step->label)
        return false;
    memcpy(step->sums, g->sums, (size_t)g->sum_count * sizeof *step->sums);
    step->place_count = g->tensor_count;
    step->block_bytes = block_bytes;
    step->status = g->status;
    step->commits = g->group->in_place;
    step->bytes = g->bytes;
    for (int i = 0; i < g->tensor_count; i++) step->places[i] = place_of(b, &g->tensors[i]);
    for (int i = 0; i < g->group->member_count; i++) step->outputs[step->output_count++] = g->group->members[i];
    for (int i = 0; i < 3; i++) {
        step->global[i] = g->global[i] ? g->global[i] : 1;
        step->local[i] = i == 0 ? cg->local_size : 1;
    }
    step->dimensions = g->dimensions ? g->dimensions : 1;
    fill_block(g, step);
    return true;
}

static bool add_scratch_request(generator *g)
{
    cg_build *b = g->build;
    if (!CG_GROW(b->context, b->scratch, b->scratch_capacity, b->scratch_count + g->scratch_count)) return false;
    for (int i = 0; i < g->scratch_count; i++) {
        g->scratch[i].step = b->plan->step_count - 1;
        b->scratch[b->scratch_count++] = g->scratch[i];
    }
    return true;
}

/* The common frame around a body: arguments, signature, guard. */
static bool finish_kernel(generator *g)
{
    cg_text source = {.context = g->context};
    const int bytes = lay_out(g);
    const size_t local = g->context->local_size;
    if (g->failed || bytes > 900)
        return cg_fail(g->context, CG_ERROR_DEVICE, "internal: a kernel needs %d bytes of arguments", bytes);
    cg_step *step = step_new(g->build, g->group);
    if (!step) return false;
    print_signature(g, &source);
    cg_text_add(&source, "__kernel __attribute__((reqd_work_group_size(%d, 1, 1)))\nvoid " CG_KERNEL_NAME "(", (int)local);
    print_parameters(g, &source);
    cg_text_append(&source, ")\n{\n");
    print_pointers(g, &source);
    if (is_guarded(g)) cg_text_append(&source, "    if (status[0] != 0) return;\n");
    cg_text_append(&source, g->body.data ? g->body.data : "");
    cg_text_append(&source, "}\n");
    const bool ok = fill_step(g, step, bytes) && add_scratch_request(g);
    g->build->sources[g->build->plan->step_count - 1] = source.data;
    return ok && !source.failed && !g->body.failed;
}

static void count_bytes(generator *g)
{
    const cg_lowered *l = g->lowered;
    g->bytes = 0;
    for (int i = 0; i < l->tensor_count; i++) {
        if (l->tensors[i].item < 0) continue;
        const cg_node *node = l->schedule->items[l->tensors[i].item].node;
        g->bytes += cg_shape_size(node->shape) * (int64_t)cg_dtype_bytes((cg_dtype)node->dtype);
    }
}

static void start_kernel(generator *g)
{
    cg_text_free(&g->body);
    g->field_count = 0;
    g->sum_count = 0;
    g->status = has_reports(g->lowered);
    g->scratch_count = 0;
    memset(g->form_fields, -1, sizeof g->form_fields);
    memset(g->global, 0, sizeof g->global);
    g->dimensions = 1;
    g->tensor_count = g->lowered->tensor_count;
    memcpy(g->tensors, g->lowered->tensors, sizeof *g->tensors * (size_t)g->tensor_count);
}

/* A space without axes is one element: it gets an axis of size 1. */
static void ensure_axis(cg_lowered *l)
{
    if (l->outer_count > 0) return;
    memmove(&l->extent[1], &l->extent[0], (CG_AXES - 1) * sizeof *l->extent);
#define SHIFT(form) memmove(&(form).stride[1], &(form).stride[0], (CG_AXES - 1) * sizeof *(form).stride), (form).stride[0] = 0
    for (int i = 0; i < l->value_count; i++) SHIFT(l->values[i].form);
    for (int i = 0; i < l->guard_count; i++) SHIFT(l->guards[i].form);
    for (int i = 0; i < l->store_count; i++) SHIFT(l->stores[i].form);
#undef SHIFT
    l->extent[0] = 1;
    l->outer_count = 1;
}

static void print_loops(generator *g, print_body body, int64_t cost)
{
    if (g->context->info.is_gpu || g->context->local_size > 1) print_turns(g, body);
    else print_blocks(g, body, cost);
}

static bool generate_map(generator *g)
{
    ensure_axis(g->lowered);
    start_kernel(g);
    g->wide = needs_wide_index(g->lowered);
    choose_vectors(g);
    add_common_fields(g);
    add_axis_fields(g);
    count_bytes(g);
    print_loops(g, print_map_body, cost_of_terms(g->lowered) * (g->lanes > 1 ? 1 : 4));
    return finish_kernel(g);
}

/* Into how many parts a reduction is cut, 1 for not at all. Whether depends on nominal sizes only: it is structure. */
static int64_t parts_of(const generator *g, bool *cut)
{
    const cg_lowered *l = g->lowered;
    const cg_node *node = l->schedule->items[g->group->anchor].node;
    const int64_t all = cg_nominal_size(node->inputs[0]), results = cg_nominal_size(node);
    const bool gpu = g->context->local_size > 1;
    const int units = g->context->info.compute_units;
    const int64_t pieces = gpu ? 256 : 4 * (int64_t)units;
    const bool along_outer = g->lanes > 1 && g->vector_axis < l->outer_count;
    const int64_t tasks = along_outer ? divide_up(results, g->lanes) : results;
    *cut = l->inner_count > 0 && all >= SPLIT_FROM && (gpu ? tasks < 64 * (int64_t)units : tasks < 2 * units);
    if (!*cut) return 1;
    const int64_t extent = l->extent[l->outer_count];
    return extent < pieces ? (extent > 0 ? extent : 1) : pieces;
}

static bool generate_parts(generator *g, int64_t parts)
{
    cg_lowered *l = g->lowered;
    const int64_t elements = product(l->extent, l->outer_count), folded = l->extent[l->outer_count];
    const int64_t piece = divide_up(folded, parts);
    const cg_dtype dtype = reduction_dtype(g);
    start_kernel(g);
    add_scratch(g, dtype, parts * elements * (int64_t)cg_dtype_bytes(dtype));
    /* What the group stores is left to the second step. */
    const bool in_place = g->group->in_place;
    g->group->in_place = false;
    add_common_fields(g);
    add_axis_fields(g);
    field_integer(g, index_field(g), "piece", 0, piece);
    field_integer(g, index_field(g), "elements", 0, elements);
    cg_text_add(&g->body, "    const %s part_number = get_global_id(2);\n", index_type(g));
    print_loops(g, print_partial, product(&l->extent[l->outer_count + 1], l->inner_count - 1) * piece * cost_of_terms(l));
    g->dimensions = 3;
    g->global[1] = g->global[1] ? g->global[1] : 1;
    g->global[2] = (size_t)parts;
    const bool ok = finish_kernel(g);
    cg_step *step = &g->build->plan->steps[g->build->plan->step_count - 1];
    if (ok) step->output_count = 0;
    g->group->in_place = in_place;
    return ok;
}

static bool generate_join(generator *g, int64_t parts)
{
    cg_lowered *l = g->lowered;
    const int64_t elements = product(l->extent, l->outer_count);
    start_kernel(g);
    add_scratch(g, reduction_dtype(g), 0); /* the parts: the same memory as the step before */
    add_common_fields(g);
    add_axis_fields(g);
    field_integer(g, index_field(g), "elements", 0, elements);
    field_integer(g, 'i', "parts", 0, parts);
    print_loops(g, print_join, parts);
    return finish_kernel(g);
}

static bool generate_reduction(generator *g)
{
    bool cut;
    ensure_axis(g->lowered);
    g->wide = needs_wide_index(g->lowered);
    choose_vectors(g);
    count_bytes(g);
    const int64_t parts = parts_of(g, &cut);
    if (cut) {
        if (!generate_parts(g, parts)) return false;
        /* The second step walks the results; along a folded axis there are no vectors left. */
        if (g->vector_axis >= g->lowered->outer_count) {
            g->lanes = has_f64(g->lowered) ? 1 : g->context->vector_width;
            g->vector_axis = g->lanes > 1 && allows_vectors(g->lowered, g->lowered->outer_count - 1) ? g->lowered->outer_count - 1 : -1;
            if (g->vector_axis < 0) g->lanes = 1;
        }
        return generate_join(g, parts);
    }
    start_kernel(g);
    add_common_fields(g);
    add_axis_fields(g);
    print_loops(g, print_reduction,
                product(&g->lowered->extent[g->lowered->outer_count], g->lowered->inner_count) * cost_of_terms(g->lowered) /
                    (g->lanes > 1 ? 2 : 1));
    return finish_kernel(g);
}

/* --- kernels with a source of their own --- */

static bool generate_kernel_op(generator *g)
{
    cg_schedule *s = g->build->schedule;
    cg_lowered *l = g->lowered;
    cg_node *node = s->items[g->group->anchor].node;
    cg_call_view view;
    cg_launch launch = {0};
    cg_call_of(node, &view);
    if (!node->op->launch(&view.call, &launch)) return false;
    start_kernel(g);
    g->status = node->op->reports;
    int inputs[CG_MAX_INPUTS], outputs[CG_MAX_OUTPUTS];
    for (int i = 0; i < node->input_count; i++)
        inputs[i] = cg_lowered_tensor(l, cg_entry_storage(s, node->inputs[i]->position), (cg_dtype)node->inputs[i]->dtype, false);
    const int output_count = node->output_count > 1 ? node->output_count : 1;
    for (int i = 0; i < output_count; i++) {
        const cg_dtype dtype = output_count > 1 ? node->output_dtypes[i] : (cg_dtype)node->dtype;
        int item = output_count > 1 ? -1 : g->group->anchor;
        for (int m = 0; output_count > 1 && m < g->group->member_count; m++)
            if (s->items[g->group->members[m]].node->attributes[0] == i) item = g->group->members[m];
        outputs[i] = cg_lowered_tensor(l, item, dtype, true);
        /* An output that nobody reads is written all the same: to scratch. */
        if (item < 0)
            g->scratch[g->scratch_count++] = (cg_scratch){
                .argument = outputs[i], .bytes = cg_shape_size(node->output_shapes[i]) * (int64_t)cg_dtype_bytes(dtype)};
    }
    g->tensor_count = l->tensor_count;
    memcpy(g->tensors, l->tensors, sizeof *g->tensors * (size_t)g->tensor_count);
    add_common_fields(g);
    for (int i = 0; i < launch.parameter_count; i++) field_integer(g, 'l', "p", i, launch.parameters[i]);
    const int code = node->op->reports ? report_field(g, g->group->anchor) : -1;
    const int64_t items = g->context->local_size > 1 ? launch.items : items_for(g, launch.items, 64);
    field_integer(g, 'l', "items", 0, launch.items);
    field_integer(g, 'l', "chunk", 0, divide_up(launch.items, items > 0 ? items : 1));
    for (int i = 0; i < node->input_count; i++)
        cg_text_add(&g->body, "#define IN%d_T %s\n    __global const %s *in%d = t%d;\n", i,
                    storage_type((cg_dtype)node->inputs[i]->dtype), storage_type((cg_dtype)node->inputs[i]->dtype), i, inputs[i]);
    for (int i = 0; i < output_count; i++)
        cg_text_add(&g->body, "#define OUT%d_T %s\n    __global %s *out%d = t%d;\n", i, storage_type(l->tensors[outputs[i]].dtype),
                    storage_type(l->tensors[outputs[i]].dtype), i, outputs[i]);
    for (int i = 0; i < launch.parameter_count; i++) cg_text_add(&g->body, "    const long p%d = args.p%d;\n", i, i);
    if (code >= 0)
        cg_text_add(&g->body, "#define REPORT(index, bound) cg_report_index(status, args.%s, index, bound)\n", g->fields[code].name);
    cg_text_append(&g->body, "    const long first = get_global_id(0) * args.chunk0;\n"
                             "    const long stop = min(first + args.chunk0, args.items0);\n"
                             "    for (long i = first; i < stop; i++) {\n");
    cg_text_append(&g->body, node->op->source);
    cg_text_append(&g->body, "\n    }\n");
    for (int i = 0; i < node->input_count; i++) cg_text_add(&g->body, "#undef IN%d_T\n", i);
    for (int i = 0; i < output_count; i++) cg_text_add(&g->body, "#undef OUT%d_T\n", i);
    if (code >= 0) cg_text_append(&g->body, "#undef REPORT\n");
    g->global[0] = (size_t)(divide_up(items > 0 ? items : 1, (int64_t)g->context->local_size) * (int64_t)g->context->local_size);
    count_bytes(g);
    return finish_kernel(g);
}

/* --- matrix products --- */

static int64_t nominal(const cg_node *node, int axis)
{
    return node->batch_axis == axis ? -1 : node->shape.size[axis];
}

static struct gemm_shape shape_of_product(const generator *g, const cg_node *node)
{
    const cg_lowered *l = g->lowered;
    const cg_node *a = node->inputs[0], *b = node->inputs[1];
    const int rank = node->shape.rank;
    return (struct gemm_shape){.m = node->shape.size[rank - 2],
                               .n = node->shape.size[rank - 1],
                               .k = a->shape.size[a->shape.rank - 1],
                               .batches = product(node->shape.size, rank - 2),
                               .transposed_a = l->operand[0].transposed,
                               .transposed_b = l->operand[1].transposed,
                               .f64 = node->dtype == CG_F64,
                               .m_varies = nominal(node, rank - 2) < 0,
                               .n_varies = nominal(node, rank - 1) < 0,
                               .k_varies = nominal(a, a->shape.rank - 1) < 0 || nominal(b, b->shape.rank - 2) < 0};
}

/* Index of a batch's operand: its form over the batch axes, whose coordinates come from the batch's number. */
static void print_operand_macro(generator *g, cg_text *out, int which, const char *name)
{
    const cg_lowered *l = g->lowered;
    const int axes = l->outer_count - 2;
    cg_text_add(out, "#define %s(batch) (b%d + args.o%d", name, l->operand_tensor[which], l->operand_tensor[which]);
    for (int k = 0; k < axes; k++) {
        if (l->operand_form[which].stride[k] == 0) continue;
        field_integer(g, 'l', which ? "sb" : "sa", k, l->operand_form[which].stride[k]);
        cg_text_add(out, " + (batch)");
        for (int j = axes - 1; j > k; j--) cg_text_add(out, " / args.n%d", j);
        if (k > 0) cg_text_add(out, " %% args.n%d", k);
        cg_text_add(out, " * args.%s%d", which ? "sb" : "sa", k);
    }
    const cg_shift_sum *first = &l->operand[which].first;
    if (first->base != 0 || first->count > 0) {
        field_integer(g, 'l', which ? "ob" : "oa", 0, first->base);
        if (first->count > 0) patch_with_sum(g, first);
        cg_text_add(out, " + args.%s", which ? "ob0" : "oa0");
    }
    cg_text_append(out, ")\n");
}

static void print_epilogue(generator *g, cg_text *out, int lanes)
{
    const int axes = g->lowered->outer_count, batch_axes = axes - 2;
    char type[16];
    vector_type(reduction_dtype(g), lanes, type);
    cg_text_add(out, "static void %s(PARAMETERS, int batch, int row, int column, %s core)\n{\n",
                lanes > 1 ? "epilogue_vector" : "epilogue_scalar", type);
    print_pointers(g, out);
    if (is_guarded(g)) cg_text_append(out, "    if (status[0] != 0) return;\n");
    cg_text_add(out, "    %s rest = batch;\n", index_type(g));
    print_decode(g, out, batch_axes, "    ");
    cg_text_add(out, "    const %s i%d = row, i%d = column;\n", index_type(g), axes - 2, axes - 1);
    print_outer(g, out, lanes, "    ");
    cg_text_append(out, "}\n");
}

/* Where the generated code has no vectors of the kernel's width, in f64 for one, lane by lane. */
static void print_scalar_lanes(cg_text *out)
{
    cg_text_append(out, "static void epilogue_vector(PARAMETERS, int batch, int row, int column, CG_JOIN(REAL, LANES) core)\n{\n"
                        "    REAL lane[LANES];\n    CG_JOIN(vstore, LANES)(core, 0, lane);\n"
                        "    for (int i = 0; i < LANES; i++) epilogue_scalar(ARGUMENTS, batch, row, column + i, lane[i]);\n}\n");
}

/* Kernels are joined to programs: what one defines must not reach the next. */
static void undefine_macros(generator *g, cg_text *source)
{
    static const char directive[] = "#define ";
    cg_text undefined = {.context = g->context};
    for (const char *line = source->data; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        if (strncmp(line, directive, sizeof directive - 1) != 0) continue;
        const char *name = line + sizeof directive - 1;
        int length = 0;
        while (is_word(name[length])) length++;
        cg_text_add(&undefined, "#undef %.*s\n", length, name);
    }
    cg_text_append(source, undefined.data ? undefined.data : "");
    cg_text_free(&undefined);
}

static bool generate_packed(generator *g, const cg_node *node)
{
    cg_context *cg = g->context;
    cg_lowered *l = g->lowered;
    const struct gemm_shape shape = shape_of_product(g, node);
    const int width = cg->vector_width > 1 ? cg->vector_width : 4;
    const struct gemm_device device = {.compute_units = cg->info.compute_units,
                                       .lanes_f32 = width,
                                       .lanes_f64 = width > 4 ? width / 2 : 4,
                                       .registers = width == 16 ? 32 : 16};
    const struct gemm_launch launch = cg_gemm_plan(&shape, &device);
    cg_text macros = {.context = cg}, epilogues = {.context = cg}, source = {.context = cg};
    const int real_bytes = shape.f64 ? 8 : 4;
    start_kernel(g);
    add_scratch(g, shape.f64 ? CG_F64 : CG_F32, launch.scratch_elements * real_bytes);
    add_common_fields(g);
    g->wide = needs_wide_index(l);
    add_axis_fields(g);
    g->lanes = launch.lanes;
    g->vector_axis = l->outer_count - 1;
    field_integer(g, 'i', "k", 0, shape.k);
    field_integer(g, 'i', "la", 0, l->operand[0].leading);
    field_integer(g, 'i', "lb", 0, l->operand[1].leading);
    field_integer(g, 'i', "rows", 0, launch.rows);
    field_integer(g, 'i', "batches", 0, shape.batches);
    cg_text_add(&macros,
                "#define KERNEL_NAME " CG_KERNEL_NAME "\n#define epilogue_vector " CG_KERNEL_NAME
                "_epilogue_vector\n#define epilogue_scalar " CG_KERNEL_NAME "_epilogue_scalar\n#define REAL %s\n#define REAL_IS_DOUBLE %d\n"
                "#define LANES %d\n#define REGISTERS %d\n#define COLUMNS %d\n#define DEPTH %d\n"
                "#define TRANSPOSED_A %d\n#define TRANSPOSED_B %d\n",
                shape.f64 ? "double" : "float", shape.f64, launch.lanes, device.registers, launch.columns, launch.depth,
                shape.transposed_a, shape.transposed_b);
    cg_text_add(&macros,
                "#define SIZE_M ((int)args.n%d)\n#define SIZE_N ((int)args.n%d)\n#define SIZE_K args.k0\n#define LEADING_A args.la0\n"
                "#define LEADING_B args.lb0\n#define ROWS args.rows0\n#define BATCHES args.batches0\n",
                l->outer_count - 2, l->outer_count - 1);
    print_operand_macro(g, &macros, 0, "OPERAND_A");
    print_operand_macro(g, &macros, 1, "OPERAND_B");
    cg_text_add(&macros, "#define SCRATCH (b%d + args.o%d)\n#define PARAMETERS ", g->scratch_tensor, g->scratch_tensor);
    print_epilogue(g, &epilogues, 1);
    const bool vectors = !shape.f64 && launch.lanes == cg->vector_width && allows_vectors(l, l->outer_count - 1);
    if (!vectors) print_scalar_lanes(&epilogues);
    else print_epilogue(g, &epilogues, launch.lanes);
    print_parameters(g, &macros);
    cg_text_append(&macros, "\n#define ARGUMENTS ");
    for (int i = 0; i < g->tensor_count; i++) cg_text_add(&macros, "b%d, ", i);
    cg_text_add(&macros, "%sargs\n", g->status ? "status_words, " : "");
    memcpy(g->global, launch.global, sizeof g->global);
    g->dimensions = 3;
    count_bytes(g);

    const int bytes = lay_out(g);
    const bool fits = !g->failed && bytes <= 900;
    if (!fits) cg_fail(cg, CG_ERROR_DEVICE, "internal: a matrix product needs %d bytes of arguments", bytes);
    cg_step *step = fits ? step_new(g->build, g->group) : NULL;
    bool ok = step != NULL;
    if (ok) {
        print_signature(g, &source);
        cg_text_append(&source, macros.data ? macros.data : "");
        cg_text_append(&source, epilogues.data ? epilogues.data : "");
        cg_text_append(&source, cg_source_gemm_packed);
        undefine_macros(g, &source);
        ok = fill_step(g, step, bytes) && add_scratch_request(g) && !macros.failed && !epilogues.failed && !source.failed;
        step->local[0] = 1;
        g->build->sources[g->build->plan->step_count - 1] = source.data;
    }
    cg_text_free(&macros);
    cg_text_free(&epilogues);
    return ok;
}

/* CLBlast writes the product itself; the schedule gave it no epilogue. */
static bool generate_clblast(generator *g, const cg_node *node)
{
    cg_context *cg = g->context;
    cg_lowered *l = g->lowered;
    const struct gemm_shape shape = shape_of_product(g, node);
    const int axes = l->outer_count - 2;
    const int tensor_of_result = l->stores[0].tensor;
    start_kernel(g);
    count_bytes(g);
    g->tensors[0] = l->tensors[l->operand_tensor[0]];
    g->tensors[1] = l->tensors[l->operand_tensor[1]];
    g->tensors[2] = l->tensors[tensor_of_result];
    g->tensor_count = 3;
    cg_blas_call *blas = cg_host_allocate(cg, sizeof *blas);
    if (!blas) return false;
    *blas = (cg_blas_call){.f64 = shape.f64,
                           .transposed_a = shape.transposed_a,
                           .transposed_b = shape.transposed_b,
                           .m = shape.m,
                           .n = shape.n,
                           .k = shape.k,
                           .leading_a = l->operand[0].leading,
                           .leading_b = l->operand[1].leading,
                           .batches = shape.batches,
                           .first = {l->operand[0].first, l->operand[1].first}};
    blas->offsets = cg_host_allocate(cg, (size_t)(3 * shape.batches) * sizeof *blas->offsets);
    cg_step *step = blas->offsets ? step_new(g->build, g->group) : NULL;
    if (!step) {
        cg_host_free(cg, blas->offsets);
        cg_host_free(cg, blas);
        return false;
    }
    step->blas = blas;
    if (!cg_clblast_temporary(cg, blas)) return false;
    if (blas->temporary_bytes) add_scratch(g, shape.f64 ? CG_F64 : CG_F32, blas->temporary_bytes);
    if (!fill_step(g, step, 8) || !add_scratch_request(g)) return false;
    for (int64_t batch = 0; batch < shape.batches; batch++) {
        int64_t rest = batch, at[2] = {0, 0};
        for (int k = axes - 1; k >= 0; k--) {
            const int64_t coordinate = rest % l->extent[k];
            rest /= l->extent[k];
            for (int i = 0; i < 2; i++) at[i] += coordinate * l->operand_form[i].stride[k];
        }
        blas->offsets[3 * batch] = at[0];
        blas->offsets[3 * batch + 1] = at[1];
        blas->offsets[3 * batch + 2] = batch * shape.m * shape.n;
    }
    return true;
}

/* --- keeping old values --- */

/* A variable whose new value goes to another buffer keeps its value in a run that has reported a bad index: this copies
 * the old one over. */
bool cg_generate_keep(cg_build *build, int root, int64_t bytes)
{
    cg_context *cg = build->context;
    generator *g = cg_host_allocate(cg, sizeof *g);
    cg_lowered *lowered = g ? cg_host_allocate(cg, sizeof *lowered) : NULL;
    cg_group group = {.kind = CG_GROUP_MAP, .anchor = -1, .step = build->schedule->group_count};
    bool ok = false;
    if (lowered) {
        *lowered = (cg_lowered){.schedule = build->schedule, .group = &group};
        *g = (generator){.build = build, .context = cg, .lowered = lowered, .group = &group, .body = {.context = cg}};
        cg_lowered_tensor(lowered, -1, CG_U8, false);
        cg_lowered_tensor(lowered, -1, CG_U8, true);
        start_kernel(g);
        g->status = true;
        add_common_fields(g);
        field_integer(g, 'l', "total", 0, bytes);
        cg_text_append(&g->body, "    if (status[0] == 0) return;\n"
                                 "    for (long i = get_global_id(0); i < args.total0; i += get_global_size(0)) t1[i] = t0[i];\n");
        g->global[0] = (size_t)(cg->local_size > 1 ? 256 * cg->local_size : (size_t)cg->info.compute_units);
        ok = finish_kernel(g);
        if (ok) {
            cg_step *step = &build->plan->steps[build->plan->step_count - 1];
            step->places[0] = (cg_place){.kind = CG_PLACE_OLD, .index = root};
            step->places[1] = (cg_place){.kind = CG_PLACE_ROOT, .index = root};
        }
        cg_text_free(&g->body);
    }
    cg_host_free(cg, lowered);
    cg_host_free(cg, g);
    return ok;
}

/* --- entry points --- */

static bool is_empty(const cg_group *group, const cg_schedule *s)
{
    if (group->kind != CG_GROUP_KERNEL) return cg_shape_size(group->space) == 0;
    const cg_node *node = s->items[group->anchor].node;
    cg_call_view view;
    cg_launch launch = {0};
    cg_call_of((cg_node *)node, &view);
    return node->op->launch(&view.call, &launch) && launch.items == 0;
}

bool cg_generate(cg_build *build, cg_group *group)
{
    cg_context *cg = build->context;
    if (is_empty(group, build->schedule)) return true;
    cg_lowered *lowered = cg_host_allocate(cg, sizeof *lowered);
    generator *g = lowered ? cg_host_allocate(cg, sizeof *g) : NULL;
    bool ok = false;
    if (g) {
        *lowered = (cg_lowered){.schedule = build->schedule, .group = group};
        *g = (generator){.build = build, .context = cg, .lowered = lowered, .group = group, .body = {.context = cg}};
        const cg_node *anchor = group->anchor >= 0 ? build->schedule->items[group->anchor].node : NULL;
        if (group->kind == CG_GROUP_KERNEL) ok = generate_kernel_op(g);
        else if (!cg_lower(lowered)) ok = false;
        else if (group->kind == CG_GROUP_MAP) ok = generate_map(g);
        else if (group->kind == CG_GROUP_REDUCE) ok = generate_reduction(g);
        else ok = cg->gemm_clblast ? generate_clblast(g, anchor) : generate_packed(g, anchor);
        cg_text_free(&g->body);
        cg_lowered_free(lowered);
    }
    cg_host_free(cg, g);
    cg_host_free(cg, lowered);
    return ok;
}

void cg_prelude(cg_context *cg, cg_text *text)
{
    if (cg->info.has_f64) cg_text_append(text, "#pragma OPENCL EXTENSION cl_khr_fp64 : enable\n");
    cg_text_add(text, "#define CG_LANES %d\n", cg->vector_width);
    for (int lanes = 2; lanes <= 16; lanes *= 2) {
        cg_text_add(text, "#define CG_LANE_NUMBERS_%d ((int%d)(0", lanes, lanes);
        for (int i = 1; i < lanes; i++) cg_text_add(text, ", %d", i);
        cg_text_append(text, "))\n");
    }
    cg_text_append(text, cg_source_prelude);
}

/* Writing OpenCL C: argument fields, indices, and the terms of a kernel, for scalars and for vectors. */
#include "engine/generator.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Elements that the nearest cache has room for beside what is being read. More are asked for into the next one, as are
 * those that are only read and added up, which is as fast as memory. */
enum { FETCHED_NEAR = 4096 };
/* Where each kind of form keeps its fields. */
enum { FORMS_OF_STORES = CG_MOST_TERMS, FORMS_OF_GUARDS = CG_MOST_TERMS + CG_MOST_STORES };

/* --- fields --- */

cg_field *cg_field_new(cg_generator *g, char type, const char *prefix, int number)
{
    if (g->field_count == CG_MOST_FIELDS) {
        g->failed = true;
        g->field_count--;
    }
    cg_field *f = &g->fields[g->field_count++];
    *f = (cg_field){.type = type};
    snprintf(f->name, sizeof f->name, "%s%d", prefix, number);
    return f;
}

void cg_field_integer(cg_generator *g, char type, const char *prefix, int number, int64_t value)
{
    cg_field_new(g, type, prefix, number)->integer = value;
}

/* Makes the last field one that each run computes. */
void cg_patch_with_sum(cg_generator *g, const cg_shift_sum *sum)
{
    cg_field *f = &g->fields[g->field_count - 1];
    if (g->sum_count == CG_MOST_SUMS) {
        g->failed = true;
        return;
    }
    f->patched = true;
    f->patch = (cg_patch){.kind = CG_PATCH_SHIFT, .index = g->sum_count};
    g->sums[g->sum_count++] = *sum;
}

const char *cg_index_type(const cg_generator *g)
{
    return g->wide ? "long" : "int";
}

char cg_index_field(const cg_generator *g)
{
    return g->wide ? 'l' : 'i';
}

int cg_field_bytes(char type)
{
    return type == 'l' || type == 'd' ? 8 : 4;
}

/* Eight-byte fields first, so that host and device agree on the layout without padding. */
int cg_lay_out(cg_generator *g)
{
    int at = 0;
    for (int bytes = 8; bytes >= 4; bytes -= 4)
        for (int i = 0; i < g->field_count; i++)
            if (cg_field_bytes(g->fields[i].type) == bytes) {
                g->fields[i].at = at;
                at += bytes;
            }
    return (at + 7) / 8 * 8;
}

/* --- tensors --- */

int cg_add_scratch(cg_generator *g, cg_dtype dtype, int64_t bytes)
{
    g->tensors[g->tensor_count] = (cg_kernel_tensor){.item = -1, .dtype = dtype, .written = true};
    g->scratch[g->scratch_count++] = (cg_scratch){.argument = g->tensor_count, .bytes = bytes};
    return g->scratch_tensor = g->tensor_count++;
}

const char *cg_storage_type(cg_dtype dtype)
{
    static const char *const names[] = {"float", "double", "int", "uchar", "uchar", "ushort", "ushort"};
    return names[dtype];
}

const char *cg_register_type(cg_dtype dtype)
{
    return dtype == CG_F64 ? "double" : cg_is_floating(dtype) ? "float" : "int";
}

/* What a variable of reduction `fold` is called: the first one's have no number. */
const char *cg_fold_name(const char *what, int fold, char text[16])
{
    if (fold == 0)
        snprintf(text, 16, "%s", what);
    else
        snprintf(text, 16, "%s%d", what, fold);
    return text;
}

/* "float16" */
const char *cg_vector_type(cg_dtype dtype, int lanes, char text[16])
{
    if (lanes == 1)
        snprintf(text, 16, "%s", cg_register_type(dtype));
    else
        snprintf(text, 16, "%s%d", cg_register_type(dtype), lanes);
    return text;
}

/* --- forms --- */

static void axis_name(const cg_generator *g, int axis, char name[16])
{
    const int outer = g->lowered->outer_count;
    snprintf(name, 16, axis < outer ? "i%d" : "r%d", axis < outer ? axis : axis - outer);
}

/* A form's offset: fixed, or recomputed at each run from where slices start. */
static void field_offset(cg_generator *g, const cg_form *form)
{
    cg_field_integer(g, cg_index_field(g), "s", g->field_count, form->offset);
    if (form->shift_count == 0) return;
    cg_shift_sum sum = {.base = form->offset, .count = form->shift_count, .wide = g->wide};
    memcpy(sum.shifts, form->shifts, sizeof sum.shifts);
    cg_patch_with_sum(g, &sum);
}

/* Writes the index that a form stands for. Strides 0 and 1 are structure; others are fields, made at first use. */
void cg_print_form(cg_generator *g, cg_text *out, const cg_form *form, int slot)
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
        if (fresh) cg_field_integer(g, cg_index_field(g), "s", g->field_count, form->stride[k]);
        cg_text_add(out, "%s * args.%s", name, g->fields[number++].name);
    }
    if (form->offset != 0 || form->shift_count > 0) {
        if (fresh) field_offset(g, form);
        cg_text_add(out, "%sargs.%s", any ? " + " : "", g->fields[number++].name);
        any = true;
    }
    if (!any) cg_text_append(out, "0");
}

static int64_t lane_stride(const cg_generator *g, const cg_form *form, int lanes)
{
    return lanes > 1 && g->vector_axis >= 0 ? form->stride[g->vector_axis] : 0;
}

/* The field of a form's stride along the vector axis; only for strides other than 0 and 1. */
static const char *lane_stride_field(const cg_generator *g, const cg_form *form, int slot)
{
    int number = g->form_fields[slot];
    for (int k = 0; k < g->vector_axis; k++) number += form->stride[k] != 0 && form->stride[k] != 1;
    return g->fields[number].name;
}

/* --- expressions --- */

static void print_guard(cg_generator *g, cg_text *out, int guard)
{
    cg_text_append(out, "(");
    for (bool first = true; guard >= 0; guard = g->lowered->guards[guard].parent, first = false) {
        const cg_guard *it = &g->lowered->guards[guard];
        const int slot = FORMS_OF_GUARDS + guard;
        const bool fresh = g->form_fields[slot] < 0;
        const char *type = g->wide ? "ulong" : "uint";
        cg_text_add(out, "%s(%s)(", first ? "" : " && ", type);
        cg_print_form(g, out, &it->form, slot);
        if (fresh) cg_field_integer(g, cg_index_field(g), "e", guard, it->extent);
        cg_text_add(out, ") < (%s)args.e%d", type, guard);
    }
    cg_text_append(out, ")");
}

/* The function of cl_kernels/narrow.cl that loads, stores or rounds an f16 or bf16: "cg_f16_load_16". */
static const char *narrow_function(cg_dtype dtype, const char *what, int lanes, char text[32])
{
    if (lanes == 1)
        snprintf(text, 32, "cg_%s_%s_", cg_dtype_name(dtype), what);
    else
        snprintf(text, 32, "cg_%s_%s_%d", cg_dtype_name(dtype), what, lanes);
    return text;
}

/* Turns what a load gave into a register: bytes are held as int, bool as zero or not, f16 and bf16 as float. */
static void print_widened(cg_text *out, cg_dtype dtype, int lanes, const char *loaded)
{
    char type[16], function[32];
    if (cg_is_narrow(dtype))
        cg_text_add(out, "%s(%s)", narrow_function(dtype, "load", lanes, function), loaded);
    else if (dtype == CG_BOOL && lanes > 1)
        cg_text_add(out, "(convert_%s(%s) != 0)", cg_vector_type(CG_I32, lanes, type), loaded);
    else if (dtype == CG_BOOL)
        cg_text_add(out, "(%s != 0)", loaded);
    else if (dtype == CG_U8 && lanes > 1)
        cg_text_add(out, "convert_%s(%s)", cg_vector_type(CG_I32, lanes, type), loaded);
    else if (dtype == CG_U8)
        cg_text_add(out, "(int)%s", loaded);
    else
        cg_text_append(out, loaded);
}

/* Vectors across rows keep the lanes of an element side by side. */
static bool is_kept_in_lanes(const cg_generator *g, int tensor, int lanes)
{
    return lanes > 1 && g->lowered->tensors[tensor].item < 0 && g->vector_axis < g->lowered->outer_count;
}

static void print_load(cg_generator *g, cg_text *out, int number, int lanes)
{
    const cg_term *t = &g->lowered->values[number];
    cg_text index = {.context = g->context}, loaded = {.context = g->context};
    char type[16];
    cg_print_form(g, &index, &t->form, number);
    const int64_t stride = lane_stride(g, &t->form, lanes);
    const char *at = index.data ? index.data : "0";
    const bool in_lanes = is_kept_in_lanes(g, t->tensor, lanes);
    if (in_lanes) {
        cg_text_add(&loaded, "vload%d(%s, t%d)", lanes, at, t->tensor);
    } else if (lanes == 1 || stride == 0) {
        cg_text_add(&loaded, "t%d[%s]", t->tensor, at);
    } else if (g->in_tile && cg_is_turned(g, t)) {
        cg_text_add(&loaded, "x%d[turn]", number);
    } else if (stride == 1) {
        cg_text_add(&loaded, "vload%d(0, t%d + (%s))", lanes, t->tensor, at);
    } else {
        cg_text_add(&loaded, "(%s%d)(", cg_storage_type(t->dtype), lanes);
        for (int lane = 0; lane < lanes; lane++)
            cg_text_add(&loaded, "%st%d[%s + %d * args.%s]", lane ? ", " : "", t->tensor, at, lane,
                        lane_stride_field(g, &t->form, number));
        cg_text_append(&loaded, ")");
    }
    if (t->guard >= 0) {
        print_guard(g, out, t->guard);
        cg_text_append(out, " ? ");
    }
    const bool splat = lanes > 1 && stride == 0 && !in_lanes;
    if (splat) cg_text_add(out, "(%s)(", cg_vector_type(t->dtype, lanes, type));
    if (splat && t->dtype == CG_BOOL) cg_text_append(out, "-");
    print_widened(out, t->dtype, splat ? 1 : lanes, loaded.data ? loaded.data : "0");
    if (splat) cg_text_append(out, ")");
    if (t->guard >= 0) cg_text_add(out, " : (%s)(0)", cg_vector_type(t->dtype, lanes, type));
    cg_text_free(&index);
    cg_text_free(&loaded);
}

static void print_fetch(cg_generator *g, cg_text *out, const char *macro, int tensor, const cg_form *form, int slot,
                        const char *indent)
{
    cg_text_add(out, "%s%s(t%d + (", indent, macro, tensor);
    cg_print_form(g, out, form, slot);
    cg_text_append(out, "));\n");
}

void cg_print_fetch_of_load(cg_generator *g, cg_text *out, int number, const char *indent)
{
    const cg_term *t = &g->lowered->values[number];
    print_fetch(g, out, "CG_FETCH", t->tensor, &t->form, number, indent);
}

void cg_print_fetch_of_store(cg_generator *g, cg_text *out, int number, const char *indent)
{
    const cg_store *s = &g->lowered->stores[number];
    print_fetch(g, out, "CG_FETCH_TO_WRITE", s->tensor, &s->form, FORMS_OF_STORES + number, indent);
}

static bool is_same_place(const cg_form *a, const cg_form *b)
{
    return memcmp(a->stride, b->stride, sizeof a->stride) == 0;
}

/* Whether a load reads vectors that come from memory, and no earlier load asks for the same. What is read again for
 * each row is in a cache. */
static bool is_to_be_fetched(const cg_generator *g, int number)
{
    const cg_lowered *l = g->lowered;
    const cg_term *t = &l->values[number];
    const bool in_loop = t->inner || g->group->kind == CG_GROUP_MAP;
    if (t->kind != CG_TERM_LOAD || !in_loop || t->guard >= 0 || l->tensors[t->tensor].item < 0) return false;
    if (t->form.stride[g->vector_axis] != 1) return false;
    for (int k = 0; k < l->outer_count; k++)
        if (t->form.stride[k] == 0) return false;
    for (int i = 0; i < number; i++)
        if (l->values[i].kind == CG_TERM_LOAD && l->values[i].tensor == t->tensor &&
            is_same_place(&l->values[i].form, &t->form))
            return false;
    return true;
}

/* Whether a map stores vectors to where it read nothing, through the caches. */
static bool is_to_be_replaced(const cg_generator *g, const cg_store *store)
{
    return g->group->kind == CG_GROUP_MAP && !g->group->in_place && store->tensor >= 0 &&
           store->form.stride[g->vector_axis] == 1 && !cg_is_streamed(g, store);
}

void cg_print_fetches(cg_generator *g, cg_text *out, int64_t ahead, const char *variable, const char *value,
                      const char *indent)
{
    char deeper[CG_INDENT + 16];
    int streams = 0;
    for (int i = 0; i < g->lowered->value_count; i++) streams += is_to_be_fetched(g, i);
    for (int i = 0; i < g->lowered->store_count; i++) streams += is_to_be_replaced(g, &g->lowered->stores[i]);
    const bool near = g->group->kind != CG_GROUP_REDUCE && ahead * streams <= FETCHED_NEAR;
    snprintf(deeper, sizeof deeper, "%s    ", indent);
    cg_text_add(out, "%s{\n%sconst %s %s = %s;\n", indent, deeper, cg_index_type(g), variable, value);
    for (int i = 0; i < g->lowered->value_count; i++)
        if (is_to_be_fetched(g, i)) {
            const cg_term *t = &g->lowered->values[i];
            print_fetch(g, out, near ? "CG_FETCH_NEAR" : "CG_FETCH", t->tensor, &t->form, i, deeper);
        }
    for (int i = 0; i < g->lowered->store_count; i++)
        if (is_to_be_replaced(g, &g->lowered->stores[i])) cg_print_fetch_of_store(g, out, i, deeper);
    cg_text_add(out, "%s}\n", indent);
}

/* As bits: the locale of the process may write decimal points otherwise than OpenCL C. */
static void print_bits(char *text, size_t bytes, cg_dtype dtype, double number)
{
    const float narrow = (float)number;
    uint32_t word;
    uint64_t wide;
    memcpy(&word, &narrow, sizeof word);
    memcpy(&wide, &number, sizeof wide);
    if (dtype != CG_F64)
        snprintf(text, bytes, "as_float(0x%08lxu)", (unsigned long)word);
    else
        snprintf(text, bytes, "as_double(0x%016llxul)", (unsigned long long)wide);
}

static void print_number(cg_text *out, cg_dtype dtype, double number, int lanes)
{
    char type[16], text[64];
    const bool is_float = cg_is_floating(dtype);
    if (!is_float)
        snprintf(text, sizeof text, "%lld", (long long)number);
    else if (isnan(number))
        snprintf(text, sizeof text, "NAN");
    else if (isinf(number))
        snprintf(text, sizeof text, number < 0 ? "-INFINITY" : "INFINITY");
    else
        print_bits(text, sizeof text, dtype, number);
    if (dtype == CG_BOOL && lanes > 1 && number != 0) snprintf(text, sizeof text, "-1");
    cg_text_add(out, "(%s)(%s)", cg_vector_type(dtype, lanes, type), text);
}

static void print_argument(cg_generator *g, cg_text *out, const cg_term *t, int lanes)
{
    const cg_dtype dtype = t->dtype;
    const char kind = dtype == CG_F64 ? 'd' : cg_is_floating(dtype) ? 'f' : 'i';
    char type[16], name[16] = "";
    for (int i = 0; i < g->field_count; i++)
        if (g->fields[i].patched && g->fields[i].name[0] == 'c' && g->fields[i].type == kind &&
            g->fields[i].patch.index == t->item)
            snprintf(name, sizeof name, "%s", g->fields[i].name);
    if (!*name) {
        cg_field *f = cg_field_new(g, kind, "c", g->field_count);
        f->patched = true;
        f->patch.kind = kind == 'f' ? CG_PATCH_F32 : kind == 'd' ? CG_PATCH_F64 : CG_PATCH_I32;
        f->patch.index = t->item;
        snprintf(name, sizeof name, "%s", f->name);
    }
    cg_text_add(out, "(%s)(%sargs.%s)", cg_vector_type(dtype, lanes, type), dtype == CG_BOOL && lanes > 1 ? "-" : "",
                name);
}

static void print_index(cg_generator *g, cg_text *out, int number, int lanes)
{
    const cg_term *t = &g->lowered->values[number];
    const int64_t stride = lane_stride(g, &t->form, lanes);
    char type[16];
    cg_text_add(out, "(%s)((int)(", cg_vector_type(CG_I32, lanes, type));
    cg_print_form(g, out, &t->form, number);
    cg_text_append(out, "))");
    if (stride == 1)
        cg_text_add(out, " + CG_LANE_NUMBERS_%d", lanes);
    else if (stride != 0)
        cg_text_add(out, " + (int)args.%s * CG_LANE_NUMBERS_%d", lane_stride_field(g, &t->form, number), lanes);
}

bool cg_is_word(char c)
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
static void print_word(cg_generator *g, cg_text *out, const char *word, int length, char operands[][16], int count,
                       cg_dtype result, cg_dtype real, int lanes, int code_field)
{
    char type[16];
#define IS(text) (length == (int)sizeof(text) - 1 && strncmp(word, text, sizeof(text) - 1) == 0)
    if (length == 1 && word[0] >= 'a' && word[0] < 'a' + count)
        cg_text_append(out, operands[word[0] - 'a']);
    else if (IS("T"))
        cg_text_append(out, cg_vector_type(result, lanes, type));
    else if (IS("REAL"))
        cg_text_add(out, "(%s)", cg_vector_type(real, lanes, type));
    else if (IS("LOWEST"))
        cg_text_append(out, extreme(result, true));
    else if (IS("HIGHEST"))
        cg_text_append(out, extreme(result, false));
    else if (IS("INDEX_CHECK("))
        cg_text_add(out, "cg_index_check(status, args.%s, ", g->fields[code_field].name);
    else if (lanes > 1 && IS("PHILOX_BITS"))
        cg_text_append(out, "PHILOX_BITS_VECTOR");
    else if (lanes > 1 && IS("PHILOX_NORMAL"))
        cg_text_append(out, "PHILOX_NORMAL_VECTOR");
    else
        cg_text_add(out, "%.*s", length, word);
#undef IS
}

void cg_print_expression(cg_generator *g, cg_text *out, const char *expression, char operands[][16], int count,
                         cg_dtype result, cg_dtype real, int lanes, int code_field)
{
    for (const char *p = expression; *p;) {
        int length = 0;
        while (cg_is_word(p[length])) length++;
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
int cg_report_field(cg_generator *g, int item)
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
    cg_field_integer(g, 'i', "code", g->field_count, plan->report_count - 1);
    return g->field_count - 1;
}

static void print_map(cg_generator *g, cg_text *out, const cg_term *t, int lanes)
{
    char operands[CG_MOST_OPERANDS][16];
    for (int i = 0; i < t->operand_count; i++) snprintf(operands[i], sizeof operands[i], "v%d", t->operands[i]);
    const int code = t->op->reports ? cg_report_field(g, t->item) : -1;
    if (t->dtype == CG_U8) cg_text_append(out, "(");
    cg_print_expression(g, out, t->op->expression, operands, t->operand_count, t->dtype, t->operand_dtype, lanes, code);
    if (t->dtype == CG_U8) cg_text_append(out, ") & 255"); /* u8 wraps */
}

static void print_convert(cg_generator *g, cg_text *out, const cg_term *t, int lanes)
{
    const cg_dtype from = g->lowered->values[t->operands[0]].dtype, to = t->dtype;
    char type[16], function[32];
    const char *name = cg_vector_type(to, lanes, type);
    const int v = t->operands[0];
    if (to == CG_BOOL)
        cg_text_add(out, "(v%d != 0)", v);
    else if (from == CG_BOOL)
        cg_text_add(out, "SELECT(v%d, (%s)(1), (%s)(0))", v, name, name);
    else if (cg_is_narrow(to))
        cg_text_add(out, "%s(convert_%s(v%d))", narrow_function(to, "round", lanes, function), name, v);
    else if (cg_is_floating(from) && to == CG_I32)
        cg_text_add(out, "convert_%s_sat(v%d)", name, v);
    else if (cg_is_floating(from))
        cg_text_add(out, to == CG_U8 ? "convert_%s_sat(v%d) & 255" : "convert_%s(v%d)", name, v);
    else if (to == CG_U8)
        cg_text_add(out, "v%d & 255", v);
    else if (cg_register_type(from) == cg_register_type(to))
        cg_text_add(out, "v%d", v);
    else
        cg_text_add(out, "convert_%s(v%d)", name, v);
}

static void print_term(cg_generator *g, cg_text *out, int number, int lanes, const char *indent)
{
    const cg_term *t = &g->lowered->values[number];
    char type[16], name[16];
    cg_text_add(out, "%sconst %s v%d = ", indent, cg_vector_type(t->dtype, lanes, type), number);
    switch (t->kind) {
    case CG_TERM_LOAD:
        print_load(g, out, number, lanes);
        break;
    case CG_TERM_LITERAL:
        print_number(out, t->dtype, t->number, lanes);
        break;
    case CG_TERM_ARGUMENT:
        print_argument(g, out, t, lanes);
        break;
    case CG_TERM_INDEX:
        print_index(g, out, number, lanes);
        break;
    case CG_TERM_MAP:
        print_map(g, out, t, lanes);
        break;
    case CG_TERM_CONVERT:
        print_convert(g, out, t, lanes);
        break;
    case CG_TERM_CORE:
        cg_text_append(out, cg_fold_name("core", t->fold, name));
        break;
    case CG_TERM_ROW:
        if (lanes > 1 && g->vector_axis >= g->lowered->outer_count)
            cg_text_add(out, "(%s)(%sv%d)", type, t->dtype == CG_BOOL ? "-" : "", t->operands[0]);
        else
            cg_text_add(out, "v%d", t->operands[0]);
        break;
    case CG_TERM_GUARD:
        print_guard(g, out, t->guard);
        cg_text_add(out, " ? v%d : (%s)(0)", t->operands[0], type);
        break;
    }
    cg_text_append(out, ";\n");
}

static bool is_read(const cg_lowered *l, int tensor)
{
    for (int i = 0; i < l->value_count; i++)
        if (l->values[i].kind == CG_TERM_LOAD && l->values[i].tensor == tensor) return true;
    return false;
}

/* Whether a store goes past the caches: vectors of a result that no cache would hold until somebody reads it. Whether
 * it does depends on nominal sizes only: it is structure. */
bool cg_is_streamed(const cg_generator *g, const cg_store *store)
{
    const cg_lowered *l = g->lowered;
    const cg_dtype dtype = l->tensors[store->tensor].dtype;
    const bool over_rows = g->group->kind == CG_GROUP_ROWS && store->inner && g->vector_axis >= l->outer_count &&
                           !is_read(l, store->tensor);
    if (store->item < 0 || (g->group->kind != CG_GROUP_MAP && !over_rows)) return false;
    const int64_t size = cg_nominal_size(l->schedule->items[store->item].node);
    return g->lanes > 1 && !g->group->in_place && (dtype == CG_F32 || dtype == CG_I32) &&
           size >= CG_STREAMED_BYTES / (int64_t)cg_dtype_bytes(dtype);
}

/* The lanes of a value to places apart. */
static void print_scatter(cg_generator *g, cg_text *out, int number, int lanes, const char *value, const char *indent)
{
    const cg_store *s = &g->lowered->stores[number];
    const char *const type = cg_storage_type(g->lowered->tensors[s->tensor].dtype);
    cg_text index = {.context = g->context};
    cg_print_form(g, &index, &s->form, FORMS_OF_STORES + number);
    cg_text_add(out, "%sconst %s%d w%d = %s;\n", indent, type, lanes, number, value);
    for (int lane = 0; lane < lanes; lane++)
        cg_text_add(out, "%st%d[%s + %d * args.%s] = w%d.s%x;\n", indent, s->tensor, index.data ? index.data : "0",
                    lane, lane_stride_field(g, &s->form, FORMS_OF_STORES + number), number, (unsigned)lane);
    cg_text_free(&index);
}

static void print_store(cg_generator *g, cg_text *out, int number, int lanes, const char *indent)
{
    const cg_store *s = &g->lowered->stores[number];
    const cg_dtype dtype = g->lowered->tensors[s->tensor].dtype;
    const int64_t stride = lane_stride(g, &s->form, lanes);
    char value[64], function[32];
    if (cg_is_narrow(dtype))
        snprintf(value, sizeof value, "%s(v%d)", narrow_function(dtype, "store", lanes, function), s->value);
    else if (dtype == CG_BOOL && lanes > 1)
        snprintf(value, sizeof value, "convert_uchar%d((v%d != 0) & 1)", lanes, s->value);
    else if (dtype == CG_BOOL)
        snprintf(value, sizeof value, "(uchar)(v%d != 0)", s->value);
    else if (dtype == CG_U8 && lanes > 1)
        snprintf(value, sizeof value, "convert_uchar%d(v%d)", lanes, s->value);
    else
        snprintf(value, sizeof value, dtype == CG_U8 ? "(uchar)v%d" : "v%d", s->value);
    if (is_kept_in_lanes(g, s->tensor, lanes)) {
        cg_text_add(out, "%svstore%d(%s, ", indent, lanes, value);
        cg_print_form(g, out, &s->form, FORMS_OF_STORES + number);
        cg_text_add(out, ", t%d);\n", s->tensor);
        return;
    }
    if (lanes > 1 && stride != 1) {
        print_scatter(g, out, number, lanes, value, indent);
        return;
    }
    if (lanes > 1) {
        if (cg_is_streamed(g, s))
            cg_text_add(out, "%scg_stream_%s(%s, t%d + (", indent, cg_storage_type(dtype), value, s->tensor);
        else
            cg_text_add(out, "%svstore%d(%s, 0, t%d + (", indent, lanes, value, s->tensor);
        cg_print_form(g, out, &s->form, FORMS_OF_STORES + number);
        cg_text_append(out, "));\n");
        return;
    }
    cg_text_add(out, "%st%d[", indent, s->tensor);
    cg_print_form(g, out, &s->form, FORMS_OF_STORES + number);
    cg_text_add(out, "] = %s;\n", value);
}

/* Those of the pass being written. */
void cg_print_terms(cg_generator *g, cg_text *out, bool inner, int lanes, const char *indent)
{
    for (int i = 0; i < g->lowered->value_count; i++)
        if (g->lowered->values[i].inner == inner && g->lowered->values[i].pass == g->pass)
            print_term(g, out, i, lanes, indent);
}

void cg_print_stores(cg_generator *g, cg_text *out, bool inner, int lanes, const char *indent)
{
    for (int i = 0; i < g->lowered->store_count; i++)
        if (g->lowered->stores[i].inner == inner && g->lowered->stores[i].pass == g->pass)
            print_store(g, out, i, lanes, indent);
}

/* Everything after the core: outer terms and stores. */
void cg_print_outer(cg_generator *g, cg_text *out, int lanes, const char *indent)
{
    cg_print_terms(g, out, false, lanes, indent);
    cg_print_stores(g, out, false, lanes, indent);
}

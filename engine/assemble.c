/* The frame around a kernel's body: argument block, signature, guard; and the step that launches it. */
#include "engine/generator.h"

#include <string.h>

/* --- assembling the step --- */

static cg_place place_of(const cg_build *b, const cg_kernel_tensor *tensor)
{
    if (tensor->item < 0) return (cg_place){.kind = CG_PLACE_ARENA, .index = -1};
    return b->schedule->items[tensor->item].place;
}

void cg_print_signature(cg_generator *g, cg_text *out)
{
    static const struct {
        char type;
        const char *name;
    } types[] = {{'l', "long"}, {'d', "double"}, {'i', "int"}, {'f', "float"}};
    cg_text_append(out, "struct " CG_KERNEL_NAME "_arguments {\n");
    for (int bytes = 8; bytes >= 4; bytes -= 4)
        for (int i = 0; i < g->field_count; i++)
            for (int t = 0; t < 4; t++)
                if (types[t].type == g->fields[i].type && cg_field_bytes(types[t].type) == bytes)
                    cg_text_add(out, "    %s %s;\n", types[t].name, g->fields[i].name);
    cg_text_append(out, "};\n");
}

void cg_print_parameters(cg_generator *g, cg_text *out)
{
    for (int i = 0; i < g->tensor_count; i++)
        cg_text_add(out, "__global %s *b%d, ", cg_storage_type(g->tensors[i].dtype), i);
    if (g->status) cg_text_append(out, "__global int *status_words, ");
    cg_text_append(out, "struct " CG_KERNEL_NAME "_arguments args");
}

void cg_print_pointers(cg_generator *g, cg_text *out)
{
    for (int i = 0; i < g->tensor_count; i++)
        cg_text_add(out, "    __global %s%s *t%d = b%d + args.o%d;\n", g->tensors[i].written ? "" : "const ",
                    cg_storage_type(g->tensors[i].dtype), i, i, i);
    if (g->status) cg_text_append(out, "    volatile __global int *status = status_words + args.status0;\n");
}

/* Variables keep their value in a run that has reported a bad index. */
bool cg_is_guarded(const cg_generator *g)
{
    return g->group->in_place && g->build->schedule->reports;
}

void cg_add_common_fields(cg_generator *g)
{
    if (cg_is_guarded(g)) g->status = true;
    for (int i = 0; i < g->tensor_count; i++) {
        cg_field *f = cg_field_new(g, 'l', "o", i);
        f->patched = true;
        f->patch = (cg_patch){
            .kind = CG_PATCH_TENSOR, .index = i, .element = (uint16_t)cg_dtype_bytes(g->tensors[i].dtype)};
    }
    if (g->status) {
        cg_field *f = cg_field_new(g, 'i', "status", 0);
        f->patched = true;
        f->patch.kind = CG_PATCH_STATUS;
    }
}

void cg_add_axis_fields(cg_generator *g)
{
    for (int k = 0; k < g->lowered->outer_count + g->lowered->inner_count; k++)
        cg_field_integer(g, cg_index_field(g), "n", k, g->lowered->extent[k]);
}

static void fill_block(const cg_generator *g, cg_step *step)
{
    for (int i = 0; i < g->field_count; i++) {
        const cg_field *f = &g->fields[i];
        unsigned char *at = step->block + f->at;
        const int32_t narrow = (int32_t)f->integer;
        if (f->type == 'l')
            memcpy(at, &f->integer, 8);
        else if (f->type == 'i')
            memcpy(at, &narrow, 4);
        if (!f->patched) continue;
        step->patches[step->patch_count] = f->patch;
        step->patches[step->patch_count++].at = (uint16_t)f->at;
    }
}

static char *label_of(cg_generator *g)
{
    cg_text text = {.context = g->context};
    const cg_schedule *s = g->build->schedule;
    const char *previous = "";
    if (g->lowered)
        for (int i = 0; i < g->lowered->value_count; i++) {
            const cg_term *t = &g->lowered->values[i];
            const char *name = t->kind == CG_TERM_MAP    ? t->op->name
                               : t->kind == CG_TERM_CORE ? s->items[t->item].node->op->name
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
           CG_GROW(b->context, b->sources, b->source_capacity, count);
}

/* Appends a zeroed step. */
cg_step *cg_step_new(cg_build *b)
{
    if (!grow_build(b)) return NULL;
    const int number = b->plan->step_count++;
    b->sources[number] = NULL;
    b->plan->steps[number] = (cg_step){0};
    return &b->plan->steps[number];
}

bool cg_fill_step(cg_generator *g, cg_step *step, int block_bytes)
{
    cg_context *cg = g->context;
    cg_build *b = g->build;
    step->places = cg_host_allocate(cg, (size_t)(g->tensor_count + 1) * sizeof *step->places);
    step->bound = cg_host_allocate(cg, (size_t)(g->tensor_count + 1) * sizeof *step->bound);
    step->block = cg_host_allocate(cg, (size_t)block_bytes);
    step->patches = cg_host_allocate(cg, (size_t)g->field_count * sizeof *step->patches);
    step->outputs = cg_host_allocate(cg, CG_MOST_MEMBERS * sizeof *step->outputs);
    step->output_arguments = cg_host_allocate(cg, CG_MOST_MEMBERS * sizeof *step->output_arguments);
    step->sums = cg_host_allocate(cg, (size_t)(g->sum_count + 1) * sizeof *step->sums);
    step->label = label_of(g);
    if (!step->places || !step->bound || !step->block || !step->patches || !step->outputs || !step->output_arguments ||
        !step->sums || !step->label)
        return false;
    memcpy(step->sums, g->sums, (size_t)g->sum_count * sizeof *step->sums);
    step->place_count = g->tensor_count;
    step->block_bytes = block_bytes;
    step->status = g->status;
    step->commits = g->group->in_place;
    step->bytes = g->bytes;
    step->work = g->work;
    step->flop = g->flop;
    for (int i = 0; i < g->tensor_count; i++) {
        step->places[i] = place_of(b, &g->tensors[i]);
        step->places[i].written = g->tensors[i].written;
    }
    for (int i = 0; i < g->group->member_count; i++) {
        step->outputs[step->output_count] = g->group->members[i];
        for (int k = 0; k < g->tensor_count; k++)
            if (g->tensors[k].item == g->group->members[i]) step->output_arguments[step->output_count] = k;
        step->output_count++;
    }
    for (int i = 0; i < 3; i++) {
        step->global[i] = g->global[i] ? g->global[i] : 1;
        step->local[i] = i == 0 ? cg->local_size : 1;
    }
    step->dimensions = g->dimensions ? g->dimensions : 1;
    step->together = g->sharing > 1;
    fill_block(g, step);
    return true;
}

bool cg_add_scratch_request(cg_generator *g)
{
    cg_build *b = g->build;
    if (!CG_GROW(b->context, b->scratch, b->scratch_capacity, b->scratch_count + g->scratch_count)) return false;
    for (int i = 0; i < g->scratch_count; i++) {
        g->scratch[i].step = b->plan->step_count - 1;
        b->scratch[b->scratch_count++] = g->scratch[i];
    }
    return true;
}

/* Whether the arguments are more than OpenCL 1.2 guarantees: the buffers, the status words and the block. */
bool cg_exceeds_arguments(const cg_generator *g, int block_bytes)
{
    enum { MOST_ARGUMENT_BYTES = 1024, POINTER_BYTES = 8 };
    return g->failed || block_bytes + POINTER_BYTES * (g->tensor_count + g->status) > MOST_ARGUMENT_BYTES;
}

/* The common frame around a body: arguments, signature, guard. */
bool cg_finish_kernel(cg_generator *g)
{
    cg_text source = {.context = g->context};
    const int bytes = cg_lay_out(g);
    const size_t local = g->context->local_size;
    if (cg_exceeds_arguments(g, bytes)) return false;
    cg_step *step = cg_step_new(g->build);
    if (!step) return false;
    cg_print_signature(g, &source);
    cg_text_add(&source, "CG_ENTRY(%d) " CG_KERNEL_NAME "(CG_TURN_PARAMETERS ", (int)local);
    cg_print_parameters(g, &source);
    cg_text_append(&source, ")\n{\n");
    cg_print_pointers(g, &source);
    if (cg_is_guarded(g)) cg_text_append(&source, "    if (status[0] != 0) return;\n");
    cg_text_append(&source, g->body.data ? g->body.data : "");
    cg_text_append(&source, "}\n");
    const bool ok = cg_fill_step(g, step, bytes) && cg_add_scratch_request(g);
    g->build->sources[g->build->plan->step_count - 1] = source.data;
    return ok && !source.failed && !g->body.failed;
}

void cg_count_bytes(cg_generator *g)
{
    const cg_lowered *l = g->lowered;
    g->bytes = 0;
    for (int i = 0; i < l->tensor_count; i++) {
        if (l->tensors[i].item < 0) continue;
        const cg_node *node = l->schedule->items[l->tensors[i].item].node;
        g->bytes += cg_shape_size(node->shape) * (int64_t)cg_dtype_bytes((cg_dtype)node->dtype);
    }
}

/* Bytes of the tensors that the terms inside a reduction's loops read, and that those outside read and write. */
int64_t cg_tensor_bytes(const cg_generator *g, bool inner, bool outer)
{
    const cg_lowered *l = g->lowered;
    int64_t bytes = 0;
    for (int i = 0; i < l->tensor_count; i++) {
        bool used = false;
        for (int k = 0; k < l->value_count; k++)
            used |= l->values[k].kind == CG_TERM_LOAD && l->values[k].tensor == i &&
                    (l->values[k].inner ? inner : outer);
        for (int k = 0; outer && k < l->store_count; k++) used |= l->stores[k].tensor == i;
        if (!used || l->tensors[i].item < 0) continue;
        const cg_node *node = l->schedule->items[l->tensors[i].item].node;
        bytes += cg_shape_size(node->shape) * (int64_t)cg_dtype_bytes((cg_dtype)node->dtype);
    }
    return bytes;
}

/* Floating-point operations of the maps inside a reduction's loops and of those outside, each one for an element. */
double cg_flop_of_terms(const cg_lowered *l, bool inner, bool outer)
{
    const double results = (double)cg_extent_product(l->extent, l->outer_count);
    const double folded = (double)cg_extent_product(&l->extent[l->outer_count], l->inner_count);
    double flop = 0;
    for (int i = 0; i < l->value_count; i++) {
        const cg_term *t = &l->values[i];
        if (t->kind != CG_TERM_MAP || !cg_is_floating(t->dtype) || !(t->inner ? inner : outer)) continue;
        flop += t->inner ? results * folded : results;
    }
    return flop;
}

void cg_undefine_macros(cg_generator *g, cg_text *source)
{
    static const char directive[] = "#define ";
    cg_text undefined = {.context = g->context};
    for (const char *line = source->data; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        if (strncmp(line, directive, sizeof directive - 1) != 0) continue;
        const char *name = line + sizeof directive - 1;
        int length = 0;
        while (cg_is_word(name[length])) length++;
        cg_text_add(&undefined, "#undef %.*s\n", length, name);
    }
    cg_text_append(source, undefined.data ? undefined.data : "");
    cg_text_free(&undefined);
}

void cg_start_kernel(cg_generator *g)
{
    cg_text_free(&g->body);
    g->field_count = 0;
    g->sum_count = 0;
    g->status = cg_has_reports(g->lowered);
    g->scratch_count = 0;
    g->tile_axis = -1;
    g->sharing = 1;
    g->fetches = -1;
    memset(g->form_fields, -1, sizeof g->form_fields);
    memset(g->global, 0, sizeof g->global);
    g->dimensions = 1;
    g->work = 0;
    g->flop = 0;
    g->tensor_count = g->lowered->tensor_count;
    memcpy(g->tensors, g->lowered->tensors, sizeof *g->tensors * (size_t)g->tensor_count);
}

/* Matrix products: the packed, the narrow or the tiled kernel with a generated epilogue, or a call to CLBlast. */
#include "cl_kernels.h"
#include "engine/clblast.h"
#include "engine/gemm_folded.h"
#include "engine/gemm_places.h"
#include "engine/generator.h"
#include "engine/winograd_gradient.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    GATHERED_COLUMNS = 128,       /* of A, at a time */
    SUMS_ROWS = 64,               /* of a work-group that adds up what shares of a gradient gave */
    SHORT = 8,                    /* cost of an epilogue up to which the kernel may hold many copies of it */
    CACHED_RESULT_BYTES = 1 << 19 /* half of a second-level cache of 1 MiB */
};

static double flop_of_product(const struct gemm_shape *shape)
{
    return 2.0 * (double)shape->m * (double)shape->n * (double)shape->k * (double)shape->batches;
}

/* Index of a batch's operand: its form over the batch axes, whose coordinates come from the batch's number. */
static void print_operand_macro(cg_generator *g, cg_text *out, int which, const char *name)
{
    const cg_lowered *l = g->lowered;
    const int axes = l->row_axis;
    cg_text_add(out, "#define START_%c (b%d + args.o%d)\n#define %s(batch) (START_%c", "AB"[which],
                l -> operand_tensor[which], l -> operand_tensor[which], name, "AB"[which]);
    for (int k = 0; k < axes; k++) {
        if (l->operand_form[which].stride[k] == 0) continue;
        cg_field_integer(g, 'l', which ? "sb" : "sa", k, l->operand_form[which].stride[k]);
        cg_text_add(out, " + (batch)");
        for (int j = axes - 1; j > k; j--) cg_text_add(out, " / args.n%d", j);
        if (k > 0) cg_text_add(out, " %% args.n%d", k);
        cg_text_add(out, " * args.%s%d", which ? "sb" : "sa", k);
    }
    const cg_shift_sum *first = &l->operands.of[which].first;
    if (first->base != 0 || first->count > 0) {
        cg_field_integer(g, 'l', which ? "ob" : "oa", 0, first->base);
        if (first->count > 0) cg_patch_with_sum(g, first);
        cg_text_add(out, " + args.%s", which ? "ob0" : "oa0");
    }
    cg_text_append(out, ")\n");
}

/* The coordinates along some axes that a row or a column is made of. */
static void print_coordinates(cg_generator *g, cg_text *out, const char *of, int first, int end)
{
    for (int axis = first; axis < end; axis++) {
        cg_text_add(out, "    const %s i%d = %s", cg_index_type(g), axis, of);
        for (int inner = axis + 1; inner < end; inner++) cg_text_add(out, " / args.n%d", inner);
        cg_text_add(out, axis > first ? " %% args.n%d;\n" : ";\n", axis);
    }
}

/* What the functions of an epilogue begin with: its tensors, and the coordinates that its terms are forms of. */
static void print_epilogue_head(cg_generator *g, cg_text *out)
{
    const cg_lowered *l = g->lowered;
    cg_print_pointers(g, out);
    cg_text_add(out, "    %s rest = batch;\n", cg_index_type(g));
    cg_print_decode(g, out, l->row_axis, "    ");
    print_coordinates(g, out, "row", l->row_axis, l->column_axis);
    print_coordinates(g, out, "column", l->column_axis, l->outer_count);
}

/* Does an epilogue have vectors of the kernel's width, along the columns? */
static bool has_vectors(const cg_generator *g, const struct gemm_shape *shape, int lanes)
{
    const cg_lowered *l = g->lowered;
    const int last = l->outer_count - 1;
    return !shape->f64 && lanes == g->context->vector_width && !cg_has_f64(l) && l->column_axis == last &&
           cg_allows_vectors(l, last);
}

static void print_epilogue(cg_generator *g, cg_text *out, int lanes)
{
    char type[16];
    cg_vector_type(cg_reduction_dtype(g), lanes, type);
    cg_text_add(out, "static void %s(PARAMETERS, int batch, int row, int column, %s core)\n{\n",
                lanes > 1 ? "epilogue_vector" : "epilogue_scalar", type);
    print_epilogue_head(g, out);
    if (cg_is_guarded(g)) cg_text_append(out, "    if (status[0] != 0) return;\n");
    cg_print_outer(g, out, lanes, "    ");
    cg_text_append(out, "}\n");
}

/* Does that lie along the rows of a matrix? Vectors, such as a bias, are soon at hand by themselves. */
static bool is_of_matrix(const cg_lowered *l, const cg_form *form)
{
    return l->column_axis == l->outer_count - 1 && form->stride[l->column_axis - 1] != 0 &&
           form->stride[l->column_axis] == 1;
}

/* A result that a core's own cache does not hold is fetched before it is replaced. */
static bool has_distant_result(const struct gemm_shape *shape)
{
    const struct gemm_shape typical = cg_gemm_typical(shape);
    return typical.m * typical.n * (shape->f64 ? 8 : 4) > CACHED_RESULT_BYTES;
}

/* What an epilogue loads, a weight update's above all, and a large result would be waited for all at once at the end of
 * a tile: this asks for it while the tile is being summed. False if there is nothing. */
static bool print_epilogue_fetch(cg_generator *g, const struct gemm_shape *shape, cg_text *out)
{
    const cg_lowered *l = g->lowered;
    cg_text fetches = {.context = g->context};
    for (int i = 0; i < l->value_count; i++) {
        const cg_term *t = &l->values[i];
        if (t->kind == CG_TERM_LOAD && t->guard < 0 && is_of_matrix(l, &t->form))
            cg_print_fetch_of_load(g, &fetches, i, "    ");
    }
    /* Where there are loads, the stores mostly go to the same places: donated ones. */
    const int stores = !fetches.data && has_distant_result(shape) ? l->store_count : 0;
    for (int i = 0; i < stores; i++) {
        const cg_store *s = &l->stores[i];
        if (s->tensor >= 0 && is_of_matrix(l, &s->form) && !cg_is_streamed(g, s))
            cg_print_fetch_of_store(g, &fetches, i, "    ");
    }
    const bool any = fetches.data != NULL;
    if (any) {
        cg_text_append(out, "static void epilogue_fetch(PARAMETERS, int batch, int row, int column)\n{\n");
        print_epilogue_head(g, out);
        cg_text_append(out, fetches.data);
        cg_text_append(out, "}\n");
    }
    cg_text_free(&fetches);
    return any;
}

/* Where the generated code has no vectors of the kernel's width, in f64 for one, lane by lane. */
static void print_scalar_lanes(cg_text *out)
{
    cg_text_append(
        out, "static void epilogue_vector(PARAMETERS, int batch, int row, int column, CG_JOIN(REAL, LANES) core)\n{\n"
             "    REAL lane[LANES];\n    CG_JOIN(vstore, LANES)(core, 0, lane);\n"
             "    for (int i = 0; i < LANES; i++) epilogue_scalar(ARGUMENTS, batch, row, column + i, lane[i]);\n}\n");
}

/* For kernels of g->lanes lanes, which have both. */
static void print_epilogues(cg_generator *g, const struct gemm_shape *shape, cg_text *out)
{
    print_epilogue(g, out, 1);
    if (has_vectors(g, shape, g->lanes))
        print_epilogue(g, out, g->lanes);
    else
        print_scalar_lanes(out);
}

/* The text of a product's kernel. */
typedef struct product_text {
    cg_text macros, epilogues;
} product_text;

static product_text product_text_new(cg_context *cg)
{
    return (product_text){.macros = {.context = cg}, .epilogues = {.context = cg}};
}

/* The fields that every kernel of a product has. */
static void add_product_fields(cg_generator *g, const struct gemm_shape *shape)
{
    const cg_lowered *l = g->lowered;
    cg_add_common_fields(g);
    g->wide = cg_needs_wide_index(l);
    cg_add_axis_fields(g);
    g->vector_axis = l->outer_count - 1;
    cg_field_integer(g, 'i', "k", 0, shape->k / l->operands.stretches);
    cg_field_integer(g, 'i', "la", 0, l->operands.of[0].leading);
    cg_field_integer(g, 'i', "lb", 0, l->operands.of[1].leading);
    cg_field_integer(g, 'i', "batches", 0, shape->batches);
}

/* The elements of some axes together. */
static void print_extent(cg_text *out, const char *name, int first, int end)
{
    cg_text_add(out, "#define %s ((int)(args.n%d", name, first);
    for (int axis = first + 1; axis < end; axis++) cg_text_add(out, " * args.n%d", axis);
    cg_text_append(out, "))\n");
}

/* What a kernel's functions hand on to each other. */
static void print_parameter_macros(cg_generator *g, cg_text *out)
{
    cg_text_append(out, "#define PARAMETERS ");
    cg_print_parameters(g, out);
    cg_text_append(out, "\n#define ARGUMENTS ");
    for (int i = 0; i < g->tensor_count; i++) cg_text_add(out, "b%d, ", i);
    cg_text_add(out, "%sargs\n", g->status ? "status_words, " : "");
}

/* A number that is a run-time argument: defines that name as it. */
static void print_number(cg_generator *g, cg_text *out, const char *name, int64_t number)
{
    cg_field_integer(g, 'i', name, 0, number);
    cg_text_add(out, "#define %s args.%s0\n", name, name);
}

/* What every kernel of a product is told of its operands. */
static void print_product_macros(cg_generator *g, cg_text *out, const struct gemm_shape *shape)
{
    const cg_lowered *l = g->lowered;
    cg_text_add(out,
                "#define KERNEL_NAME " CG_KERNEL_NAME "\n#define epilogue_vector " CG_KERNEL_NAME
                "_epilogue_vector\n#define epilogue_scalar " CG_KERNEL_NAME
                "_epilogue_scalar\n#define epilogue_fetch " CG_KERNEL_NAME
                "_epilogue_fetch\n#define REAL %s\n#define REAL_IS_DOUBLE %d\n"
                "#define TRANSPOSED_A %d\n#define TRANSPOSED_B %d\n",
                shape->f64 ? "double" : "float", shape->f64, shape->transposed_a, shape->transposed_b);
    print_extent(out, "SIZE_M", l->row_axis, l->column_axis);
    print_extent(out, shape->segment ? "SEGMENT" : "SIZE_N", l->column_axis, l->outer_count);
    if (shape->segment) {
        print_number(g, out, "SIZE_N", shape->n);
        print_number(g, out, "SEGMENT_STRIDE", l->operands.segment_stride);
    }
    cg_text_append(out, "#define SIZE_K args.k0\n#define LEADING_A args.la0\n#define LEADING_B args.lb0\n"
                        "#define BATCHES args.batches0\n");
    print_operand_macro(g, out, 0, "OPERAND_A");
    print_operand_macro(g, out, 1, "OPERAND_B");
    print_parameter_macros(g, out);
}

static void count_product(cg_generator *g, const struct gemm_shape *shape)
{
    g->work = flop_of_product(shape) / 4;
    g->flop = flop_of_product(shape) + cg_flop_of_terms(g->lowered, false, true);
    cg_count_bytes(g);
}

/* Appends the step for g->global, and its source: the macros, the epilogues, the kernel. Frees the text. */
static bool finish_product(cg_generator *g, product_text *text, const char *kernel, size_t local)
{
    cg_text source = {.context = g->context};
    g->dimensions = 3;
    const int bytes = cg_lay_out(g);
    cg_step *step = cg_exceeds_arguments(g, bytes) ? NULL : cg_step_new(g->build);
    bool ok = step != NULL;
    if (ok) {
        cg_print_signature(g, &source);
        cg_text_append(&source, text->macros.data ? text->macros.data : "");
        cg_text_append(&source, text->epilogues.data ? text->epilogues.data : "");
        cg_text_append(&source, kernel);
        cg_undefine_macros(g, &source);
        ok = cg_fill_step(g, step, bytes) && cg_add_scratch_request(g) && !text->macros.failed &&
             !text->epilogues.failed && !source.failed;
        step->local[0] = local;
        g->build->sources[g->build->plan->step_count - 1] = source.data;
    }
    cg_text_free(&text->macros);
    cg_text_free(&text->epilogues);
    return ok;
}

/* The same for a step that leaves what the group stores to the next. */
static bool finish_first_step(cg_generator *g, product_text *text, const char *kernel, size_t local)
{
    const bool in_place = g->group->in_place;
    g->group->in_place = false;
    const bool ok = finish_product(g, text, kernel, local);
    if (ok) g->build->plan->steps[g->build->plan->step_count - 1].output_count = 0;
    g->group->in_place = in_place;
    return ok;
}

/* Which parts of the rows slide, along what. */
static void print_slides(cg_generator *g, cg_text *out, const cg_operand *o, const struct gemm_slides *slides)
{
    print_number(g, out, "PLACES", slides->places);
    print_number(g, out, "LINES", slides->lines);
    print_number(g, out, "REACH_PLACES", slides->reach_places);
    print_number(g, out, "REACH_LINES", slides->reach_lines);
    print_number(g, out, "BORDER", slides->border);
    print_number(g, out, "UNIT", slides->unit);
    print_number(g, out, "PHASES", slides->phases);
    cg_text_append(out, "#define SLIDES ");
    for (int i = 0; i < o->slide_count; i++) {
        const int64_t slide[] = {o->rows.of[i].extent, o->slide[i].along, o->slide[i].shift, o->slide[i].phases};
        for (int j = 0; j < 4; j++) {
            cg_field_integer(g, 'i', "slide", 4 * i + j, slide[j]);
            cg_text_add(out, "%sargs.slide%d", i + j > 0 ? ", " : "", 4 * i + j);
        }
    }
    cg_text_append(out, "\n");
}

/* A list of the numbers of a gathered operand: of each part of these two axes its extent, what the address and what the
 * coordinates grow by; of each coordinate its range. Returns how many there are. */
static int print_gather_numbers(cg_generator *g, cg_text *out, const cg_operand *o, const char *prefix,
                                const cg_parts *const axes[2])
{
    int count = 0;
    for (int axis = 0; axis < 2; axis++)
        for (int i = 0; i < axes[axis]->count; i++) {
            const cg_part *part = &axes[axis]->of[i];
            cg_field_integer(g, 'i', prefix, count++, part->extent);
            cg_field_integer(g, 'i', prefix, count++, part->stride);
            for (int c = 0; c < o->coordinate_count; c++) cg_field_integer(g, 'i', prefix, count++, part->step[c]);
        }
    for (int c = 0; c < o->coordinate_count; c++) {
        cg_field_integer(g, 'i', prefix, count++, o->coordinate[c].first);
        cg_field_integer(g, 'i', prefix, count++, o->coordinate[c].extent);
    }
    for (int i = 0; i < count; i++) cg_text_add(out, "%sargs.%s%d", i > 0 ? ", " : "", prefix, i);
    return count;
}

/* The numbers of an operand that is gathered, as cl_kernels/gather.cl wants them, and that text. */
static void print_gather(cg_generator *g, cg_text *out, int which, int most, bool slides)
{
    const cg_lowered *l = g->lowered;
    const cg_operand *o = &l->operands.of[which];
    const char *prefix = which ? "gb" : "ga";
    const cg_part *inner = &o->columns.of[0];
    int changing = -1;
    for (int c = 0; c < o->coordinate_count; c++)
        if (inner->step[c] != 0) changing = c;
    const bool even = changing < 0 || inner->step[changing] == inner->stride;
    cg_text_add(out,
                "#define GATHER gather_%c\n#define GATHER_MOST %d\n#define GATHER_SLIDES %d\n"
                "#define GATHER_ROW_PARTS %d\n#define GATHER_COLUMN_PARTS %d\n#define GATHER_COORDINATES %d\n"
                "#define GATHER_CHANGING %d\n#define GATHER_STRIDE %d\n#define GATHER_NUMBERS ",
                "ab"[which], most, slides ? o->slide_count : 0, o->rows.count, o->columns.count, o->coordinate_count,
                changing, even && inner->stride <= 2 ? (int)inner->stride : 0);
    const cg_parts *const axes[2] = {&o->rows, &o->columns};
    const int count = print_gather_numbers(g, out, o, prefix, axes);
    const cg_entry *item = &l->schedule->items[l->tensors[l->operand_tensor[which]].item];
    cg_field_integer(g, 'l', prefix, count, cg_shape_size(item->node->shape));
    cg_text_add(out, "\n#define GATHER_START START_%c\n#define GATHER_ELEMENTS args.%s%d\n", "AB"[which], prefix,
                count);
    cg_text_append(out, cg_source_gather);
}

/* Columns gathered at a time: those of a strip; of A there is no reason to stop so early. */
static int most_gathered(const struct gemm_launch *launch, int which)
{
    return which == 0 ? GATHERED_COLUMNS : launch->columns > launch->lanes ? 2 * launch->lanes : launch->lanes;
}

/* Where an operand's depth is in stretches, and what is gathered of it. */
static void print_stretches(cg_generator *g, cg_text *out)
{
    const cg_operands *operands = &g->lowered->operands;
    if (operands->stretches > 1) {
        cg_field_integer(g, 'i', "stretches", 0, operands->stretches);
        cg_field_integer(g, 'l', "stretch", 0, operands->of[0].stretch);
        cg_field_integer(g, 'l', "stretch", 1, operands->of[1].stretch);
        cg_text_append(out, "#define STRETCHES args.stretches0\n#define STRETCH_A args.stretch0\n"
                            "#define STRETCH_B args.stretch1\n");
    } else {
        cg_text_append(out, "#define STRETCHES 1\n#define STRETCH_A 0\n#define STRETCH_B 0\n");
    }
    cg_text_add(out,
                "#define GATHERED_A %d\n#define GATHERED_B %d\n#define GATHERED_COLUMNS %d\n"
                "#define gather_a " CG_KERNEL_NAME "_gather_a\n#define gather_b " CG_KERNEL_NAME "_gather_b\n",
                operands->of[0].gathered, operands->of[1].gathered, GATHERED_COLUMNS);
}

static bool generate_packed(cg_generator *g, const struct gemm_shape *shape)
{
    cg_context *cg = g->context;
    cg_lowered *l = g->lowered;
    const struct gemm_device device = cg_gemm_device(cg);
    const struct gemm_launch launch = cg_gemm_plan_as(shape, &device, &g->group->product.division);
    const bool vectors = has_vectors(g, shape, launch.lanes), slides = shape->slides.unit > 0;
    product_text text = product_text_new(cg);
    cg_start_kernel(g);
    cg_add_scratch(g, shape->f64 ? CG_F64 : CG_F32, launch.scratch_elements * (shape->f64 ? 8 : 4));
    add_product_fields(g, shape);
    g->lanes = launch.lanes;
    cg_field_integer(g, 'i', "rows", 0, launch.rows);
    print_product_macros(g, &text.macros, shape);
    cg_text_add(&text.macros,
                "#define LANES %d\n#define REGISTERS %d\n#define COLUMNS %d\n#define MOST_DEPTH %d\n"
                "#define SHORT_EPILOGUE %d\n#define ROWS args.rows0\n"
                "#define SCRATCH (b%d + args.o%d)\n",
                launch.lanes, device.registers, launch.columns, launch.most_depth,
                vectors && !slides && !shape->segment && cg_cost_of_terms(l) <= SHORT, g->scratch_tensor,
                g->scratch_tensor);
    print_stretches(g, &text.macros);
    cg_text_add(&text.macros, "#define SLIDING %d\n#define JOINED %d\n#define FOLDED 0\n", slides, shape->segment > 0);
    if (!slides) {
        print_number(g, &text.macros, "DEPTH", launch.depth);
    } else {
        cg_text_append(&text.macros, "#define DEPTH MOST_DEPTH\n");
        print_slides(g, &text.macros, &l->operands.of[1], &shape->slides);
        print_number(g, &text.macros, "PANEL_PLACES", launch.places);
        print_number(g, &text.macros, "PANEL_LINES", launch.lines);
        print_number(g, &text.macros, "SPAN", launch.span);
        print_number(g, &text.macros, "PITCH", launch.pitch);
    }
    print_epilogues(g, shape, &text.epilogues);
    const bool fetches = !slides && !shape->segment && print_epilogue_fetch(g, shape, &text.epilogues);
    cg_text_add(&text.macros, "#define FETCHING_EPILOGUE %d\n", fetches);
    for (int i = 0; i < 2; i++)
        if (l->operands.of[i].gathered)
            print_gather(g, &text.epilogues, i, most_gathered(&launch, i), i == 1 && slides);
    memcpy(g->global, launch.global, sizeof g->global);
    count_product(g, shape);
    return finish_product(g, &text, cg_source_gemm_packed, 1);
}

/* --- Winograd's algorithm --- */

/* A number that is a run-time argument, and what the kernel's text calls it. */
typedef struct number {
    const char *name;
    int64_t value;
} number;

static void print_numbers(cg_generator *g, cg_text *out, const number *numbers, size_t count)
{
    for (size_t i = 0; i < count; i++) print_number(g, out, numbers[i].name, numbers[i].value);
}

/* What both kernels of a convolution are told. */
static void print_winograd_macros(cg_generator *g, cg_text *out, const struct winograd_images *images,
                                  const struct winograd_launch *launch, int kernels)
{
    print_number(g, out, "CHANNELS", images->channels);
    print_number(g, out, "DEEP", images->z.deep);
    cg_field_integer(g, 'l', "plane", 0, launch->kernel_plane);
    cg_text_add(out,
                "#define EXTENT %d\n#define EDGE %d\n#define LANES %d\n#define STRIP_VECTORS %d\n"
                "#define KERNELS (b%d + args.o%d)\n#define KERNEL_PLANE args.plane0\n",
                launch->extent, launch->edge, launch->lanes, launch->strip_vectors, kernels, kernels);
}

/* The step that transforms the kernels into scratch. */
static bool generate_winograd_kernels(cg_generator *g, const struct winograd_images *images,
                                      const struct winograd_launch *launch)
{
    const cg_lowered *l = g->lowered;
    const cg_shift_sum *first = &l->operands.of[0].first;
    const int64_t elements = launch->kernel_elements;
    product_text text = product_text_new(g->context);
    cg_start_kernel(g);
    g->status = false;
    g->tensors[0] = l->tensors[l->operand_tensor[0]];
    g->tensor_count = 1;
    cg_add_scratch(g, CG_F32, 4 * elements);
    cg_add_common_fields(g);
    cg_field_integer(g, 'i', "m", 0, images->outputs);
    cg_field_integer(g, 'l', "oa", 0, first->base);
    if (first->count > 0) cg_patch_with_sum(g, first);
    print_winograd_macros(g, &text.macros, images, launch, g->scratch_tensor);
    cg_text_add(&text.macros,
                "#define KERNEL_NAME " CG_KERNEL_NAME "\n#define SIZE_M args.m0\n"
                "#define OPERAND_A (b0 + args.o0 + args.oa0)\n#define CHANNELS_EACH %d\n#define TAPS EXTENT\n",
                launch->channels_each);
    print_number(g, &text.macros, "STRIDE_OUTPUT", images->kernels.stride_output);
    print_number(g, &text.macros, "STRIDE_CHANNEL", images->kernels.stride_channel);
    print_number(g, &text.macros, "WAY", images->kernels.way);
    print_parameter_macros(g, &text.macros);
    cg_text_append(&text.macros, cg_source_winograd_points);
    memcpy(g->global, launch->kernels_global, sizeof g->global);
    g->work = (double)elements;
    g->bytes = 4 * elements;
    return finish_first_step(g, &text, cg_source_winograd_kernels, 1);
}

/* How images lie, what of them is read, and how they are cut, as cl_kernels/winograd_tiles.cl wants it; and that text
 * behind winograd_points.cl, which follow the macros. */
static void print_images(cg_generator *g, product_text *text, const struct winograd_images *images,
                         const struct winograd_parts *parts)
{
    const number numbers[] = {{"IMAGES", images->images},
                              {"STRIDE_Y", images->stride_y},
                              {"STRIDE_C", images->stride_c},
                              {"FIRST_Y", images->y.first},
                              {"FIRST_X", images->x.first},
                              {"END_Y", images->y.end},
                              {"END_X", images->x.end},
                              {"PLACES_Y", images->y.places},
                              {"PLACES_X", images->x.places},
                              {"TILES_Y", parts->tiles_y},
                              {"TILES_X", parts->tiles_x},
                              {"SLICES", images->z.count},
                              {"SLICE_STEP", images->z.slice_step},
                              {"DEEP_STEP", images->z.deep_step},
                              {"STRIDE_Z", images->z.stride},
                              {"FIRST_Z", images->z.first},
                              {"END_Z", images->z.end},
                              {"STEP_Z", images->z.step},
                              {"IMAGES_AT_ONCE", parts->images},
                              {"SLICES_AT_ONCE", parts->slices},
                              {"TILES_HIGH", parts->high},
                              {"TILES_WIDE", parts->wide}};
    print_numbers(g, &text->macros, numbers, sizeof numbers / sizeof *numbers);
    cg_text_append(&text->macros, cg_source_winograd_points);
    cg_text_append(&text->macros, cg_source_winograd_tiles);
}

/* The size of an operand's storage, as a number that kernels know. */
static void print_elements(cg_generator *g, cg_text *out, int which)
{
    const cg_lowered *l = g->lowered;
    const cg_entry *stored = &l->schedule->items[l->tensors[l->operand_tensor[which]].item];
    cg_field_integer(g, 'l', "elements", which, cg_shape_size(stored->node->shape));
    cg_text_add(out, "#define ELEMENTS_%c args.elements%d\n", "AB"[which], which);
}

static bool generate_winograd(cg_generator *g, const struct gemm_shape *shape)
{
    cg_context *cg = g->context;
    cg_lowered *l = g->lowered;
    const struct gemm_device device = cg_gemm_device(cg);
    struct winograd_images images;
    if (!cg_winograd_images(&l->operands, shape, &images)) return false;
    const struct winograd_launch launch = cg_winograd_plan(&images, g->group->product.edge, &device);
    if (!generate_winograd_kernels(g, &images, &launch)) return false;
    product_text text = product_text_new(cg);
    cg_start_kernel(g);
    const int kernels = cg_add_scratch(g, CG_F32, 0); /* the same memory as the step before */
    cg_add_scratch(g, CG_F32, launch.scratch_elements * 4);
    add_product_fields(g, shape);
    g->lanes = launch.lanes;
    print_product_macros(g, &text.macros, shape);
    print_elements(g, &text.macros, 1);
    print_winograd_macros(g, &text.macros, &images, &launch, kernels);
    const number numbers[] = {
        {"ROWS", launch.rows}, {"IMAGE_WIDTH", launch.image_width}, {"BLOCK_OUTPUTS", launch.block_outputs}};
    print_numbers(g, &text.macros, numbers, sizeof numbers / sizeof *numbers);
    cg_text_add(
        &text.macros,
        "#define RESULTS EDGE\n#define TILE_ROWS %d\n#define MOST_TILES_AT_ONCE %d\n#define SCRATCH (b%d + args.o%d)\n"
        "#define IMAGE_START START_B\n"
        "#define IMAGE_ELEMENTS ELEMENTS_B\n#define IMAGE_FIRST(image) (OPERAND_B(image) - START_B)\n",
        launch.tile_rows, launch.most_tiles, g->scratch_tensor, g->scratch_tensor);
    print_images(g, &text, &images, &launch.parts);
    print_epilogues(g, shape, &text.epilogues);
    memcpy(g->global, launch.global, sizeof g->global);
    count_product(g, shape);
    return finish_product(g, &text, cg_source_winograd, 1);
}

/* What both kernels of a gradient are told of the sums that the first leaves to the second. */
static void print_sums(cg_generator *g, cg_text *out, const struct winograd_gradient_launch *launch)
{
    cg_text_add(out, "#define LANES %d\n#define SUMS (b%d + args.o%d)\n", launch->lanes, g->scratch_tensor,
                g->scratch_tensor);
    print_number(g, out, "SUMS_WIDTH", launch->sums_width);
    print_number(g, out, "SHARES", launch->shares);
}

/* The step that leaves the sums. */
static bool generate_winograd_shares(cg_generator *g, const struct gemm_shape *shape,
                                     const struct winograd_images *images,
                                     const struct winograd_gradient_launch *launch)
{
    product_text text = product_text_new(g->context);
    cg_start_kernel(g);
    g->status = false;
    cg_add_scratch(g, CG_F32, 4 * launch->scratch_elements);
    add_product_fields(g, shape);
    print_product_macros(g, &text.macros, shape);
    print_stretches(g, &text.macros);
    for (int i = 0; i < 2; i++) print_elements(g, &text.macros, i);
    print_sums(g, &text.macros, launch);
    cg_field_integer(g, 'l', "sums", 0, launch->sums);
    const number numbers[] = {{"CHANNELS", images->channels},
                              {"DEEP", images->z.deep},
                              {"BLOCK_CHANNELS", launch->block_channels},
                              {"BLOCK_OUTPUTS", launch->block_outputs}};
    print_numbers(g, &text.macros, numbers, sizeof numbers / sizeof *numbers);
    cg_text_add(&text.macros,
                "#define EXTENT %d\n#define EDGE %d\n#define TILE_ROWS %d\n#define STRIP_VECTORS %d\n"
                "#define TAPS EDGE\n#define RESULTS EXTENT\n#define SCRATCH (SUMS + args.sums0)\n#define IMAGE_START "
                "START_A\n#define IMAGE_ELEMENTS ELEMENTS_A\n"
                "#define IMAGE_FIRST(image) (OPERAND_A(0) - START_A + (image) * (long)STRETCH_A)\n"
                "#define COTANGENT_START START_B\n#define COTANGENT_ELEMENTS ELEMENTS_B\n"
                "#define COTANGENT_FIRST(image) (OPERAND_B(0) - START_B + (image) * (long)STRETCH_B)\n",
                launch->extent, launch->edge, launch->tile_rows, launch->strip_vectors);
    print_images(g, &text, images, &launch->parts);
    memcpy(g->global, launch->global, sizeof g->global);
    count_product(g, shape);
    return finish_first_step(g, &text, cg_source_winograd_gradient, 1);
}

static bool generate_winograd_gradient(cg_generator *g, const struct gemm_shape *shape)
{
    const struct gemm_device device = cg_gemm_device(g->context);
    struct winograd_images images;
    if (!cg_winograd_gradient(&g->lowered->operands, shape, &images)) return false;
    const struct winograd_gradient_launch launch = cg_winograd_gradient_plan(&images, &device);
    if (!generate_winograd_shares(g, shape, &images, &launch)) return false;
    product_text text = product_text_new(g->context);
    cg_start_kernel(g);
    cg_add_scratch(g, CG_F32, 0); /* the same memory as the step before */
    add_product_fields(g, shape);
    g->lanes = launch.lanes;
    print_product_macros(g, &text.macros, shape);
    print_sums(g, &text.macros, &launch);
    print_epilogues(g, shape, &text.epilogues);
    print_number(g, &text.macros, "ROWS_EACH", SUMS_ROWS);
    g->global[0] = (size_t)cg_divide_up(shape->m, SUMS_ROWS);
    g->global[1] = g->global[2] = 1;
    g->work = (double)launch.sums;
    g->bytes = 4 * launch.sums;
    return finish_product(g, &text, cg_source_winograd_sums, 1);
}

/* The block that the kernel packs lies as the result does where all that the epilogue reads and writes does. */
static bool has_flat_epilogue(const cg_generator *g)
{
    const cg_lowered *l = g->lowered;
    return !g->wide && l->row_axis + 2 == l->outer_count && cg_can_merge(l, l->row_axis);
}

static bool generate_narrow(cg_generator *g, const struct gemm_shape *shape)
{
    cg_context *cg = g->context;
    const struct gemm_device device = cg_gemm_device(cg);
    const struct gemm_narrow_launch launch = cg_gemm_narrow(shape, &device);
    product_text text = product_text_new(cg);
    cg_start_kernel(g);
    if (launch.scratch_elements > 0)
        cg_add_scratch(g, shape->f64 ? CG_F64 : CG_F32, launch.scratch_elements * (shape->f64 ? 8 : 4));
    add_product_fields(g, shape);
    g->lanes = launch.lanes;
    cg_field_integer(g, 'i', "rows", 0, launch.rows);
    print_product_macros(g, &text.macros, shape);
    const bool vectors = has_vectors(g, shape, launch.lanes) && has_flat_epilogue(g);
    cg_text_add(&text.macros,
                "#define LANES %d\n#define COLUMNS %d\n#define VECTORS %d\n#define FLAT_EPILOGUE %d\n"
                "#define ROWS args.rows0\n",
                launch.lanes, launch.columns, launch.vectors, vectors);
    if (launch.scratch_elements > 0)
        cg_text_add(&text.macros, "#define SCRATCH (b%d + args.o%d)\n", g->scratch_tensor, g->scratch_tensor);
    print_epilogue(g, &text.epilogues, 1);
    if (vectors) print_epilogue(g, &text.epilogues, launch.lanes);
    memcpy(g->global, launch.global, sizeof g->global);
    count_product(g, shape);
    return finish_product(g, &text, cg_source_gemm_narrow, 1);
}

static bool generate_places(cg_generator *g, const struct gemm_shape *shape)
{
    cg_lowered *l = g->lowered;
    const struct gemm_device device = cg_gemm_device(g->context);
    const struct gemm_places_launch launch = cg_gemm_places(shape, &device);
    product_text text = product_text_new(g->context);
    cg_start_kernel(g);
    cg_add_scratch(g, shape->f64 ? CG_F64 : CG_F32, launch.scratch_elements * (shape->f64 ? 8 : 4));
    add_product_fields(g, shape);
    g->lanes = launch.lanes;
    print_product_macros(g, &text.macros, shape);
    print_stretches(g, &text.macros);
    print_slides(g, &text.macros, &l->operands.of[0], &shape->slides_of_a);
    print_number(g, &text.macros, "OUTER", shape->slides_of_a.outer);
    print_number(g, &text.macros, "UNITS", launch.units);
    print_number(g, &text.macros, "COLUMNS", launch.columns);
    print_number(g, &text.macros, "UNITS_AT_ONCE", launch.units_at_once);
    print_number(g, &text.macros, "IMAGES_AT_ONCE", launch.images_at_once);
    print_number(g, &text.macros, "LINES_AT_ONCE", launch.lines_at_once);
    cg_text_add(&text.macros,
                "#define LANES %d\n#define TILE_ROWS %d\n#define MOST_ROWS %d\n"
                "#define SCRATCH (b%d + args.o%d)\n",
                launch.lanes, launch.tile_rows, launch.most_rows, g->scratch_tensor, g->scratch_tensor);
    print_epilogues(g, shape, &text.epilogues);
    print_gather(g, &text.epilogues, 0, 0, true);
    memcpy(g->global, launch.global, sizeof g->global);
    count_product(g, shape);
    return finish_product(g, &text, cg_source_gemm_places, 1);
}

/* --- products that are folded --- */

/* What both kernels are told of the windows along an axis. */
static void print_folded_axis(cg_generator *g, cg_text *out, char axis, const struct gemm_folded_axis *a)
{
    const struct {
        const char *name;
        int64_t number;
    } numbers[] = {{"EXTENT", a->extent}, {"DILATION", a->dilation}, {"STRIDE", a->stride}, {"STEP", a->step},
                   {"SIZE", a->size},     {"SHIFT", a->shift},       {"REACH", a->reach}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        char name[16];
        snprintf(name, sizeof name, "%s_%c", numbers[i].name, axis);
        print_number(g, out, name, numbers[i].number);
    }
}

static void print_folded_macros(cg_generator *g, cg_text *out, const struct gemm_folded *folded, int kernels)
{
    print_folded_axis(g, out, 'z', &folded->z);
    print_folded_axis(g, out, 'y', &folded->y);
    print_folded_axis(g, out, 'x', &folded->x);
    print_number(g, out, "CHANNELS", folded->channels);
    cg_text_add(out, "#define KERNELS (b%d + args.o%d)\n", kernels, kernels);
}

/* The step that packs the first operand into scratch. */
static bool generate_folded_kernels(cg_generator *g, const struct gemm_shape *shape, const struct gemm_folded *folded,
                                    const struct gemm_folded_launch *launch)
{
    const cg_lowered *l = g->lowered;
    const cg_operand *a = &l->operands.of[0];
    product_text text = product_text_new(g->context);
    cg_start_kernel(g);
    g->status = false;
    g->tensors[0] = l->tensors[l->operand_tensor[0]];
    g->tensor_count = 1;
    cg_add_scratch(g, shape->f64 ? CG_F64 : CG_F32, launch->kernel_elements * (shape->f64 ? 8 : 4));
    cg_add_common_fields(g);
    cg_field_integer(g, 'l', "oa", 0, a->first.base);
    if (a->first.count > 0) cg_patch_with_sum(g, &a->first);
    cg_text_add(&text.macros,
                "#define KERNEL_NAME " CG_KERNEL_NAME "\n#define OPERAND_A (b0 + args.o0 + args.oa0)\n"
                "#define REAL %s\n#define TILE_ROWS %d\n#define IMAGES_EACH %d\n#define PACKING 1\n",
                shape->f64 ? "double" : "float", launch->tile_rows, launch->images_each);
    print_number(g, &text.macros, "SIZE_K", shape->k);
    print_number(g, &text.macros, "STRIDE_M", a->transposed ? 1 : a->leading);
    print_number(g, &text.macros, "STRIDE_K", a->transposed ? a->leading : 1);
    print_folded_macros(g, &text.macros, folded, g->scratch_tensor);
    print_parameter_macros(g, &text.macros);
    memcpy(g->global, launch->kernels_global, sizeof g->global);
    g->work = (double)launch->kernel_elements;
    g->bytes = launch->kernel_elements * (shape->f64 ? 16 : 8);
    return finish_first_step(g, &text, cg_source_gemm_folded, 1);
}

static bool generate_folded(cg_generator *g, const cg_node *node)
{
    cg_lowered *l = g->lowered;
    const int fold = g->group->members[0], result = cg_lowered_tensor(l, fold, (cg_dtype)node->dtype, true);
    const struct gemm_device device = cg_gemm_device(g->context);
    struct gemm_folded folded;
    if (!cg_gemm_folded(l->schedule->items[fold].node, node, &device, &l->operands, &folded)) return false;
    struct gemm_shape shape = cg_product_shape(node, &l->operands);
    const struct gemm_folded_launch launch = cg_gemm_folded_plan(&folded, &shape, &device);
    const cg_dtype dtype = shape.f64 ? CG_F64 : CG_F32;
    if (!generate_folded_kernels(g, &shape, &folded, &launch)) return false;
    shape.transposed_a = true; /* as it is packed */
    product_text text = product_text_new(g->context);
    cg_start_kernel(g);
    const int kernels = cg_add_scratch(g, dtype, 0); /* the same memory as the step before */
    cg_add_scratch(g, dtype, launch.groups * launch.group_elements * (shape.f64 ? 8 : 4));
    add_product_fields(g, &shape);
    g->lanes = launch.lanes;
    print_product_macros(g, &text.macros, &shape);
    print_folded_macros(g, &text.macros, &folded, kernels);
    print_slides(g, &text.macros, &l->operands.of[1], &shape.slides);
    print_number(g, &text.macros, "OUTER", shape.slides.outer);
    print_number(g, &text.macros, "FIRST_B", folded.first);
    print_number(g, &text.macros, "FIRST_LINE", folded.y.first);
    print_number(g, &text.macros, "LINES_B", folded.y.count);
    print_number(g, &text.macros, "ROWS", launch.rows);
    print_number(g, &text.macros, "PANEL_PLACES", launch.places);
    print_number(g, &text.macros, "PANEL_LINES", launch.lines);
    print_number(g, &text.macros, "SPAN", launch.span);
    print_number(g, &text.macros, "PITCH", launch.pitch);
    print_number(g, &text.macros, "GROUP_SIZE", launch.group_elements);
    cg_text_add(&text.macros,
                "#define LANES %d\n#define REGISTERS %d\n"
                "#define COLUMNS %d\n#define SCRATCH (b%d + args.o%d)\n#define RESULT (b%d + args.o%d)\n"
                "#define IS_STOPPED %s\n#define SLIDING 1\n#define JOINED 0\n#define FOLDED 1\n"
                "#define GATHERED_A 1\n#define GATHERED_B 1\n#define MOST_DEPTH 0\n"
                "#define SHORT_EPILOGUE 0\n#define FETCHING_EPILOGUE 0\n#define gather_b " CG_KERNEL_NAME "_gather_b\n",
                launch.lanes, device.registers, launch.columns, g->scratch_tensor, g->scratch_tensor, result, result,
                cg_is_guarded(g) ? "(status_words[args.status0] != 0)" : "false");
    print_gather(g, &text.epilogues, 1, 0, true);
    cg_text_append(&text.epilogues, cg_source_gemm_packed);
    memcpy(g->global, launch.global, sizeof g->global);
    count_product(g, &shape);
    return finish_product(g, &text, cg_source_gemm_folded, 1);
}

/* --- products on GPUs --- */

/* Elements from one to the next along the innermost part of an axis. */
static int64_t spacing_of(const cg_parts *parts)
{
    return parts->count == 0 ? INT64_MAX : llabs(parts->of[0].stride);
}

/* What the tiled kernel is told of an operand that it gathers. Lines are rows of A, columns of B. */
static void print_tiled_operand(cg_generator *g, cg_text *out, int which)
{
    const cg_operand *o = &g->lowered->operands.of[which];
    const char name = "AB"[which];
    const cg_parts *const axes[2] = {which ? &o->columns : &o->rows, which ? &o->rows : &o->columns};
    cg_text_add(out, "#define GATHERED_%c %d\n", name, o->gathered);
    if (!o->gathered) return;
    cg_text_add(out,
                "#define LINE_PARTS_%c %d\n#define DEPTH_PARTS_%c %d\n#define COORDINATES_%c %d\n"
                "#define ALONG_DEPTH_%c %d\n#define NUMBERS_%c ",
                name, axes[0]->count, name, axes[1]->count, name, o->coordinate_count, name,
                spacing_of(axes[1]) < spacing_of(axes[0]), name);
    print_gather_numbers(g, out, o, which ? "gb" : "ga", axes);
    cg_text_append(out, "\n");
}

/* A kernel whose work-items wait for each other. */
static bool finish_together(cg_generator *g, bool ok)
{
    if (ok) g->build->plan->steps[g->build->plan->step_count - 1].together = true;
    return ok;
}

/* The step that adds up shares and runs the epilogue. */
static bool generate_tiled_sums(cg_generator *g, const struct gemm_shape *shape, int64_t shares)
{
    const struct gemm_limits limits = cg_gemm_limits(g->context);
    const struct gemm_sums_launch launch = cg_gemm_sums_launch(shape, &limits);
    product_text text = product_text_new(g->context);
    cg_start_kernel(g);
    cg_add_scratch(g, shape->f64 ? CG_F64 : CG_F32, 0); /* the same memory as the step before */
    add_product_fields(g, shape);
    g->lanes = 1;
    print_product_macros(g, &text.macros, shape);
    print_number(g, &text.macros, "SHARES", shares);
    cg_text_add(&text.macros, "#define SUMS_COLUMNS %d\n#define SUMS_LANES %d\n#define SUMS (b%d + args.o%d)\n",
                launch.columns, launch.lanes, g->scratch_tensor, g->scratch_tensor);
    print_epilogue(g, &text.epilogues, 1);
    memcpy(g->global, launch.global, sizeof g->global);
    const int64_t sums = shares * shape->batches * shape->m * shape->n;
    g->work = (double)sums;
    g->flop = (double)sums + cg_flop_of_terms(g->lowered, false, true);
    g->bytes = cg_tensor_bytes(g, false, true) + sums * (shape->f64 ? 8 : 4);
    const size_t local = (size_t)launch.columns * (size_t)launch.lanes;
    return finish_together(g, finish_product(g, &text, cg_source_gemm_tiled_sums, local));
}

static bool generate_tiled(cg_generator *g, const struct gemm_shape *shape)
{
    const struct gemm_tiles tiles = g->group->product.tiles;
    const struct gemm_limits limits = cg_gemm_limits(g->context);
    const struct gemm_tiles_launch launch = cg_gemm_tiles_launch(&tiles, shape, &limits);
    const bool shared = launch.shared;
    product_text text = product_text_new(g->context);
    cg_start_kernel(g);
    if (shared) {
        g->status = false;
        cg_add_scratch(g, shape->f64 ? CG_F64 : CG_F32, launch.scratch_elements * (shape->f64 ? 8 : 4));
    }
    add_product_fields(g, shape);
    g->lanes = 1;
    print_product_macros(g, &text.macros, shape);
    cg_text_add(&text.macros,
                "#define TILE_ROWS %d\n#define TILE_COLUMNS %d\n#define TILE_DEPTH %d\n#define ITEM_ROWS %d\n"
                "#define ITEM_COLUMNS %d\n#define SHARED %d\n",
                tiles.rows, tiles.columns, tiles.depth, tiles.item_rows, tiles.item_columns, shared);
    for (int i = 0; i < 2; i++) print_tiled_operand(g, &text.macros, i);
    if (shared) {
        print_number(g, &text.macros, "SHARE_DEPTH", launch.share_depth);
        cg_text_add(&text.macros, "#define SUMS (b%d + args.o%d)\n", g->scratch_tensor, g->scratch_tensor);
    } else {
        print_epilogue(g, &text.epilogues, 1);
    }
    memcpy(g->global, launch.global, sizeof g->global);
    count_product(g, shape);
    if (shared) {
        g->flop = flop_of_product(shape);
        g->bytes += launch.scratch_elements * (shape->f64 ? 8 : 4) - cg_tensor_bytes(g, false, true);
    }
    if (!shared) return finish_together(g, finish_product(g, &text, cg_source_gemm_tiled, launch.local));
    return finish_together(g, finish_first_step(g, &text, cg_source_gemm_tiled, launch.local)) &&
           generate_tiled_sums(g, shape, launch.shares);
}

/* CLBlast writes the product itself; the schedule gave it no epilogue. */
static bool generate_clblast(cg_generator *g, const struct gemm_shape *shape)
{
    cg_context *cg = g->context;
    cg_lowered *l = g->lowered;
    const int axes = l->row_axis;
    const int tensor_of_result = l->stores[0].tensor;
    cg_start_kernel(g);
    cg_count_bytes(g);
    g->flop = flop_of_product(shape);
    g->tensors[0] = l->tensors[l->operand_tensor[0]];
    g->tensors[1] = l->tensors[l->operand_tensor[1]];
    g->tensors[2] = l->tensors[tensor_of_result];
    g->tensor_count = 3;
    cg_blas_call *blas = cg_host_allocate(cg, sizeof *blas);
    if (!blas) return false;
    *blas = (cg_blas_call){.f64 = shape->f64,
                           .transposed_a = shape->transposed_a,
                           .transposed_b = shape->transposed_b,
                           .m = shape->m,
                           .n = shape->n,
                           .k = shape->k,
                           .leading_a = l->operands.of[0].leading,
                           .leading_b = l->operands.of[1].leading,
                           .batches = shape->batches,
                           .first = {l->operands.of[0].first, l->operands.of[1].first}};
    blas->offsets = cg_host_allocate(cg, (size_t)(3 * shape->batches) * sizeof *blas->offsets);
    cg_step *step = blas->offsets ? cg_step_new(g->build) : NULL;
    if (!step) {
        cg_host_free(cg, blas->offsets);
        cg_host_free(cg, blas);
        return false;
    }
    step->blas = blas;
    if (!cg_clblast_temporary(cg, blas)) return false;
    if (blas->temporary_bytes) cg_add_scratch(g, shape->f64 ? CG_F64 : CG_F32, blas->temporary_bytes);
    if (!cg_fill_step(g, step, 8) || !cg_add_scratch_request(g)) return false;
    for (int64_t batch = 0; batch < shape->batches; batch++) {
        int64_t rest = batch, at[2] = {0, 0};
        for (int k = axes - 1; k >= 0; k--) {
            const int64_t coordinate = rest % l->extent[k];
            rest /= l->extent[k];
            for (int i = 0; i < 2; i++) at[i] += coordinate * l->operand_form[i].stride[k];
        }
        blas->offsets[3 * batch] = at[0];
        blas->offsets[3 * batch + 1] = at[1];
        blas->offsets[3 * batch + 2] = batch * shape->m * shape->n;
    }
    return true;
}

bool cg_generate_product(cg_generator *g, const cg_node *node)
{
    const struct gemm_shape shape = cg_product_shape(node, &g->lowered->operands);
    switch (g->group->product.kernel) {
    case CG_GEMM_CLBLAST:
        return generate_clblast(g, &shape);
    case CG_GEMM_NARROW:
        return generate_narrow(g, &shape);
    case CG_GEMM_PLACES:
        return generate_places(g, &shape);
    case CG_GEMM_TILED:
        return generate_tiled(g, &shape);
    case CG_GEMM_WINOGRAD:
        return generate_winograd(g, &shape);
    case CG_GEMM_WINOGRAD_GRADIENT:
        return generate_winograd_gradient(g, &shape);
    case CG_GEMM_FOLDED:
        return generate_folded(g, node);
    default:
        return generate_packed(g, &shape);
    }
}

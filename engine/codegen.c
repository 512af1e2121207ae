/* The code generator. A kernel's source holds only structure: sizes, strides, offsets and numbers are fields of one
 * argument block, so that layers of the same form, and other batch sizes, share a kernel. */
#include "cl_kernels.h"
#include "engine/generator.h"

#include <string.h>

enum {
    SPLIT_FROM = 1 << 15,   /* elements from which a reduction to few results is cut into parts */
    FETCHED_FROM = 1 << 15, /* results from which maps ask memory ahead of time */
    CACHED = 1 << 19,       /* elements that some cache holds, so that it does not matter how far apart they are */
    WIDE = 2048,            /* columns that are read at the speed of memory, row by row */
    ITEMS_PER_UNIT = 2048,  /* work-items of a GPU that wait for memory at a time, for each of its units */
    LEAST_PIECE = 16,       /* elements that each of them should fold */
    MOST_PIECES = 4096,
    GROUPS_PER_UNIT = 32, /* work-groups of a GPU that share results, for each of its units */
    LEAST_SHARED = 32,    /* elements side by side that a work-group shares where there are few results, */
    ALWAYS_SHARED = 256,  /* and where there are many */
    KERNEL_OP_COST = 64   /* of an item of a kernel whose source is its own, in additions: a guess */
};

/* A space without axes is one element: it gets an axis of size 1. */
static void ensure_axis(cg_lowered *l)
{
    if (l->outer_count > 0) return;
    memmove(&l->extent[1], &l->extent[0], (CG_AXES - 1) * sizeof *l->extent);
#define SHIFT(form) \
    memmove(&(form).stride[1], &(form).stride[0], (CG_AXES - 1) * sizeof *(form).stride), (form).stride[0] = 0
    for (int i = 0; i < l->value_count; i++) SHIFT(l->values[i].form);
    for (int i = 0; i < l->guard_count; i++) SHIFT(l->guards[i].form);
    for (int i = 0; i < l->store_count; i++) SHIFT(l->stores[i].form);
#undef SHIFT
    l->extent[0] = 1;
    l->outer_count = 1;
}

static void print_loops(cg_generator *g, cg_print_body body, int64_t cost)
{
    if (g->context->local_size > 1)
        cg_print_turns(g, body, cost);
    else
        cg_print_blocks(g, body, cost);
}

/* Whether a map has more results, and so reads more, than the nearest cache holds: by nominal sizes, since it is
 * structure. */
static bool is_large(const cg_lowered *l)
{
    const int item = l->stores[0].item;
    return item >= 0 && cg_nominal_size(l->schedule->items[item].node) >= FETCHED_FROM;
}

static void print_map_body(cg_generator *g, cg_text *out, int lanes, const char *indent)
{
    if (lanes > 1 && g->tile_axis < 0 && is_large(g->lowered)) cg_print_fetches_ahead(g, out, lanes, indent);
    cg_print_outer(g, out, lanes, indent);
}

static bool generate_map(cg_generator *g)
{
    ensure_axis(g->lowered);
    cg_start_kernel(g);
    g->wide = cg_needs_wide_index(g->lowered);
    cg_choose_vectors(g);
    cg_choose_tiles(g);
    cg_add_common_fields(g);
    cg_add_axis_fields(g);
    cg_count_bytes(g);
    g->flop = cg_flop_of_terms(g->lowered, false, true);
    print_loops(g, print_map_body, cg_cost_of_terms(g->lowered) * (g->lanes > 1 ? 1 : 4));
    bool streams = false;
    for (int i = 0; i < g->lowered->store_count; i++) streams |= cg_is_streamed(g, &g->lowered->stores[i]);
    if (streams) cg_text_append(&g->body, "    CG_STREAM_FENCE();\n");
    return cg_finish_kernel(g);
}

/* On a GPU the items of a work-group share a result if that makes them read side by side, and if there are enough
 * elements for all, or too few results for each to have one. */
static bool shares_results(const cg_generator *g, bool cut)
{
    const cg_lowered *l = g->lowered;
    if (g->context->local_size == 1 || l->inner_count == 0 || cg_has_reports(l) || !cg_folds_along(l)) return false;
    /* By nominal sizes: an axis that the minibatch is a part of is all that is folded, or the first of it. */
    const cg_node *node = l->schedule->items[g->group->anchor].node;
    const int64_t length = l->inner_count == 1 ? cg_nominal_size(node->inputs[0]) / cg_larger(1, cg_nominal_size(node))
                                               : l->extent[l->outer_count + l->inner_count - 1];
    return length >= (cut ? LEAST_SHARED : ALWAYS_SHARED);
}

/* Parts of a reduction on a GPU: enough for all the work-items that it can have at a time, but none too small. */
static int64_t pieces_on_gpu(const cg_generator *g, bool shared)
{
    const cg_lowered *l = g->lowered;
    const int64_t items = shared ? (int64_t)g->context->local_size : 1;
    const int64_t results = cg_larger(1, cg_extent_product(l->extent, l->outer_count));
    const int64_t folded = cg_extent_product(&l->extent[l->outer_count], l->inner_count);
    const int64_t wanted = ITEMS_PER_UNIT * (int64_t)g->context->info.compute_units / (results * items);
    return cg_larger(1, cg_smaller(cg_smaller(wanted, folded / (LEAST_PIECE * items)), MOST_PIECES));
}

/* Into how many parts a reduction is cut, 1 for not at all. Whether depends on nominal sizes only: it is structure. */
static int64_t parts_of(const cg_generator *g, bool *cut)
{
    const cg_lowered *l = g->lowered;
    const cg_node *node = l->schedule->items[g->group->anchor].node;
    const int64_t all = cg_nominal_size(node->inputs[0]), results = cg_nominal_size(node);
    const bool gpu = g->context->local_size > 1;
    const int units = g->context->info.compute_units;
    const int64_t pieces = gpu ? pieces_on_gpu(g, shares_results(g, true)) : 4 * (int64_t)units;
    const bool whole_rows = g->by_columns && l->outer_count == 1 && all >= CACHED;
    const int64_t tasks = cg_divide_up(results, whole_rows ? WIDE : g->by_columns ? g->lanes : 1);
    *cut = l->inner_count > 0 && all >= SPLIT_FROM && (gpu ? tasks < 64 * (int64_t)units : tasks < 2 * units);
    if (!*cut) return 1;
    const int64_t extent = l->extent[l->outer_count];
    return extent < pieces ? (extent > 0 ? extent : 1) : pieces;
}

/* Combining elements, one operation for each. */
static double flop_of_folding(const cg_generator *g, double elements)
{
    return cg_is_floating(cg_reduction_dtype(g)) ? elements * g->lowered->fold_count : 0;
}

/* Parts are kept as they are in registers. */
static cg_dtype parts_dtype(const cg_generator *g)
{
    const cg_dtype dtype = cg_reduction_dtype(g);
    return cg_is_floating(dtype) ? dtype : CG_I32;
}

/* The loops of a reduction, whose results each have a work-item, or the items of a work-group share them. */
static void print_shared_loops(cg_generator *g, bool shared, cg_print_body body, int64_t cost)
{
    if (!shared) {
        print_loops(g, body, cost);
        return;
    }
    g->sharing = (int)g->context->local_size;
    cg_print_turns_of_groups(g, body, cost, GROUPS_PER_UNIT);
}

static bool generate_parts(cg_generator *g, int64_t parts)
{
    cg_lowered *l = g->lowered;
    const int64_t elements = cg_extent_product(l->extent, l->outer_count), folded = l->extent[l->outer_count];
    const int64_t piece = cg_divide_up(folded, parts);
    const cg_dtype dtype = parts_dtype(g);
    cg_start_kernel(g);
    g->cut = true;
    if (g->by_columns) g->grain = CG_COLUMNS_AT_ONCE;
    const int64_t bytes = l->fold_count * parts * elements * (int64_t)cg_dtype_bytes(dtype);
    cg_add_scratch(g, dtype, bytes);
    g->bytes = cg_tensor_bytes(g, true, false) + bytes;
    g->flop = cg_flop_of_terms(l, true, false) +
              flop_of_folding(g, (double)cg_extent_product(l->extent, l->outer_count + l->inner_count));
    /* What the group stores is left to the second step. */
    const bool in_place = g->group->in_place;
    g->group->in_place = false;
    cg_add_common_fields(g);
    cg_add_axis_fields(g);
    cg_field_integer(g, cg_index_field(g), "piece", 0, piece);
    cg_field_integer(g, cg_index_field(g), "elements", 0, elements);
    if (l->fold_count > 1) cg_field_integer(g, 'i', "parts", 0, parts);
    cg_text_add(&g->body, "    const %s part_number = CG_TURN(2);\n", cg_index_type(g));
    print_shared_loops(g, shares_results(g, true), g->by_columns ? cg_print_column_part : cg_print_partial,
                       cg_extent_product(&l->extent[l->outer_count + 1], l->inner_count - 1) * piece *
                           cg_cost_of_terms(l));
    g->dimensions = 3;
    g->global[1] = g->global[1] ? g->global[1] : 1;
    g->global[2] = (size_t)parts;
    const bool ok = cg_finish_kernel(g);
    if (ok) g->build->plan->steps[g->build->plan->step_count - 1].output_count = 0;
    g->group->in_place = in_place;
    return ok;
}

static bool generate_join(cg_generator *g, int64_t parts)
{
    cg_lowered *l = g->lowered;
    const int64_t elements = cg_extent_product(l->extent, l->outer_count);
    cg_start_kernel(g);
    cg_add_scratch(g, parts_dtype(g), 0); /* the parts: the same memory as the step before */
    g->bytes = cg_tensor_bytes(g, false, true) +
               l->fold_count * parts * elements * (int64_t)cg_dtype_bytes(parts_dtype(g));
    g->flop = cg_flop_of_terms(l, false, true) + flop_of_folding(g, (double)(parts * elements));
    cg_add_common_fields(g);
    cg_add_axis_fields(g);
    cg_field_integer(g, cg_index_field(g), "elements", 0, elements);
    cg_field_integer(g, 'i', "parts", 0, parts);
    print_shared_loops(g, g->context->local_size > 1, cg_print_join, parts);
    return cg_finish_kernel(g);
}

static bool generate_reduction(cg_generator *g)
{
    bool cut;
    ensure_axis(g->lowered);
    g->wide = cg_needs_wide_index(g->lowered);
    cg_choose_vectors(g);
    const int64_t parts = parts_of(g, &cut);
    if (cut) {
        if (!generate_parts(g, parts)) return false;
        g->cut = g->by_columns = false;
        /* The second step walks the results; along a folded axis there are no vectors left. */
        if (g->vector_axis >= g->lowered->outer_count) {
            g->lanes = cg_has_f64(g->lowered) ? 1 : g->context->vector_width;
            g->vector_axis = g->lanes > 1 && cg_allows_vectors(g->lowered, g->lowered->outer_count - 1)
                                 ? g->lowered->outer_count - 1
                                 : -1;
            if (g->vector_axis < 0) g->lanes = 1;
        }
        g->grain = g->lanes;
        return generate_join(g, parts);
    }
    cg_start_kernel(g);
    cg_count_bytes(g);
    g->flop = cg_flop_of_terms(g->lowered, true, true) +
              flop_of_folding(
                  g, (double)cg_extent_product(g->lowered->extent, g->lowered->outer_count + g->lowered->inner_count));
    cg_add_common_fields(g);
    cg_add_axis_fields(g);
    print_shared_loops(g, shares_results(g, false), g->by_columns ? cg_print_column_result : cg_print_reduction,
                       cg_extent_product(&g->lowered->extent[g->lowered->outer_count], g->lowered->inner_count) *
                           cg_cost_of_terms(g->lowered) / (g->lanes > 1 ? 2 : 1));
    return cg_finish_kernel(g);
}

/* --- kernels with a source of their own --- */

static bool generate_kernel_op(cg_generator *g)
{
    cg_schedule *s = g->build->schedule;
    cg_lowered *l = g->lowered;
    cg_node *node = s->items[g->group->anchor].node;
    cg_call_view view;
    cg_launch launch = {0};
    cg_call_of(node, &view);
    if (!node->op->launch(&view.call, &launch)) return false;
    cg_start_kernel(g);
    g->status = node->op->reports;
    int inputs[CG_MAX_INPUTS], outputs[CG_MAX_OUTPUTS];
    for (int i = 0; i < node->input_count; i++)
        inputs[i] = cg_lowered_tensor(l, cg_entry_storage(s, node->inputs[i]->position),
                                      (cg_dtype)node->inputs[i]->dtype, false);
    const int output_count = node->output_count > 1 ? node->output_count : 1;
    for (int i = 0; i < output_count; i++) {
        const cg_dtype dtype = output_count > 1 ? node->output_dtypes[i] : (cg_dtype)node->dtype;
        int item = output_count > 1 ? -1 : g->group->anchor;
        for (int m = 0; output_count > 1 && m < g->group->member_count; m++)
            if (s->items[g->group->members[m]].node->attributes[0] == i) item = g->group->members[m];
        outputs[i] = cg_lowered_tensor(l, item, dtype, true);
        /* An output that nobody reads is written all the same: to scratch. */
        if (item < 0)
            g->scratch[g->scratch_count++] = (cg_scratch){.argument = outputs[i],
                                                          .bytes = cg_shape_size(node->output_shapes[i]) *
                                                                   (int64_t)cg_dtype_bytes(dtype)};
    }
    g->tensor_count = l->tensor_count;
    memcpy(g->tensors, l->tensors, sizeof *g->tensors * (size_t)g->tensor_count);
    cg_add_common_fields(g);
    for (int i = 0; i < launch.parameter_count; i++) cg_field_integer(g, 'l', "p", i, launch.parameters[i]);
    const int code = node->op->reports ? cg_report_field(g, g->group->anchor) : -1;
    const int64_t items = g->context->local_size > 1 ? launch.items : cg_items_for(g, launch.items, KERNEL_OP_COST);
    cg_field_integer(g, 'l', "items", 0, launch.items);
    cg_field_integer(g, 'l', "chunk", 0, cg_divide_up(launch.items, items > 0 ? items : 1));
    for (int i = 0; i < node->input_count; i++)
        cg_text_add(&g->body, "#define IN%d_T %s\n    __global const %s *in%d = t%d;\n", i,
                    cg_storage_type((cg_dtype)node->inputs[i]->dtype),
                    cg_storage_type((cg_dtype)node->inputs[i]->dtype), i, inputs[i]);
    for (int i = 0; i < output_count; i++)
        cg_text_add(&g->body, "#define OUT%d_T %s\n    __global %s *out%d = t%d;\n", i,
                    cg_storage_type(l->tensors[outputs[i]].dtype), cg_storage_type(l->tensors[outputs[i]].dtype), i,
                    outputs[i]);
    for (int i = 0; i < launch.parameter_count; i++) cg_text_add(&g->body, "    const long p%d = args.p%d;\n", i, i);
    if (code >= 0)
        cg_text_add(&g->body, "#define REPORT(index, bound) cg_report_index(status, args.%s, index, bound)\n",
                    g->fields[code].name);
    cg_text_append(&g->body, "    const long first = CG_TURN(0) * args.chunk0;\n"
                             "    const long stop = min(first + args.chunk0, args.items0);\n"
                             "    for (long i = first; i < stop; i++) {\n");
    cg_text_append(&g->body, node->op->source);
    cg_text_append(&g->body, "\n    }\n");
    cg_undefine_macros(g, &g->body);
    g->work = (double)launch.items * KERNEL_OP_COST;
    g->global[0] = (size_t)(cg_divide_up(items > 0 ? items : 1, (int64_t)g->context->local_size) *
                            (int64_t)g->context->local_size);
    cg_count_bytes(g);
    return cg_finish_kernel(g);
}

/* --- keeping old values --- */

/* A variable whose new value goes to another buffer keeps its value in a run that has reported a bad index: this copies
 * the old one over. */
bool cg_generate_keep(cg_build *build, int root, int64_t bytes)
{
    cg_context *cg = build->context;
    cg_generator *g = cg_host_allocate(cg, sizeof *g);
    cg_lowered *lowered = g ? cg_host_allocate(cg, sizeof *lowered) : NULL;
    cg_group group = {.kind = CG_GROUP_MAP, .anchor = -1, .step = build->schedule->group_count};
    bool ok = false;
    if (lowered) {
        *lowered = (cg_lowered){.schedule = build->schedule, .group = &group};
        *g = (cg_generator){
            .build = build, .context = cg, .lowered = lowered, .group = &group, .body = {.context = cg}};
        cg_lowered_tensor(lowered, -1, CG_U8, false);
        cg_lowered_tensor(lowered, -1, CG_U8, true);
        cg_start_kernel(g);
        g->status = true;
        cg_add_common_fields(g);
        cg_field_integer(g, 'l', "total", 0, bytes);
        cg_text_append(&g->body, "    if (status[0] == 0) return;\n"
                                 "    for (long i = CG_TURN(0); i < args.total0; i += CG_TURNS(0)) t1[i] = t0[i];\n");
        g->global[0] = (size_t)(cg->local_size > 1 ? 256 * cg->local_size : (size_t)cg->info.compute_units);
        ok = cg_finish_kernel(g);
        if (ok) {
            cg_step *step = &build->plan->steps[build->plan->step_count - 1];
            step->places[0] = (cg_place){.kind = CG_PLACE_OLD, .index = root};
            step->places[1] = (cg_place){.kind = CG_PLACE_ROOT, .index = root, .written = true};
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
    if (group->kind == CG_GROUP_JOINED) return true;
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
    cg_generator *g = lowered ? cg_host_allocate(cg, sizeof *g) : NULL;
    bool ok = false;
    if (g) {
        *lowered = (cg_lowered){.schedule = build->schedule, .group = group};
        *g = (cg_generator){.build = build, .context = cg, .lowered = lowered, .group = group, .body = {.context = cg}};
        const cg_node *anchor = group->anchor >= 0 ? build->schedule->items[group->anchor].node : NULL;
        if (group->kind == CG_GROUP_KERNEL)
            ok = generate_kernel_op(g);
        else if (!cg_lower(lowered))
            ok = false;
        else if (group->kind == CG_GROUP_MAP)
            ok = generate_map(g);
        else if (group->kind == CG_GROUP_REDUCE)
            ok = generate_reduction(g);
        else if (group->kind == CG_GROUP_ROWS)
            ensure_axis(lowered), ok = cg_generate_rows(g);
        else
            ok = cg_generate_product(g, anchor);
        cg_text_free(&g->body);
        cg_lowered_free(lowered);
    }
    cg_host_free(cg, g);
    cg_host_free(cg, lowered);
    return ok;
}

/* Functions for every width that a vector may be folded to. */
static void add_functions(cg_text *text, const char *functions, int most_lanes)
{
    for (int lanes = 1; lanes <= most_lanes; lanes *= 2) {
        cg_text_append(text, "\n#undef CG_WIDTH\n#define CG_WIDTH");
        if (lanes > 1) cg_text_add(text, " %d", lanes);
        cg_text_add(text, "\n%s", functions);
    }
    cg_text_add(text, "#undef CG_WIDTH\n%s", functions);
}

unsigned cg_needs_of(const char *source)
{
    static const struct {
        const char *call;
        unsigned need;
    } calls[] = {{"exp(", CG_NEEDS_ELEMENTARY},  {"log(", CG_NEEDS_ELEMENTARY}, {"log1p(", CG_NEEDS_ELEMENTARY},
                 {"tanh(", CG_NEEDS_ELEMENTARY}, {"erf(", CG_NEEDS_ELEMENTARY}, {"f16_", CG_NEEDS_NARROW},
                 {"_ushort(", CG_NEEDS_NARROW}};
    unsigned needs = 0;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (strstr(source, calls[i].call)) needs |= calls[i].need;
    return needs;
}

void cg_prelude(cg_context *cg, unsigned needs, cg_text *text)
{
    if (cg->info.has_f64) cg_text_append(text, "#pragma OPENCL EXTENSION cl_khr_fp64 : enable\n");
    /* As written: what is fused then rounds as it does op by op. Scalar code would otherwise be contracted at will. */
    if (cg->vector_width == 1) cg_text_append(text, "#pragma OPENCL FP_CONTRACT OFF\n");
    cg_text_add(text, "#define CG_LANES %d\n#define CG_HALF_LANES %d\n", cg->vector_width, cg->vector_width / 2);
    for (int lanes = 2; lanes <= 16; lanes *= 2) {
        cg_text_add(text, "#define CG_LANE_NUMBERS_%d ((int%d)(0", lanes, lanes);
        for (int i = 1; i < lanes; i++) cg_text_add(text, ", %d", i);
        cg_text_append(text, "))\n");
    }
    cg_text_append(text, cg_source_entry);
    cg_text_append(text, cg_source_prelude);
    if (!cg->fetches)
        cg_text_append(text, "#undef CG_FETCH\n#undef CG_FETCH_NEAR\n#undef CG_FETCH_TO_WRITE\n"
                             "#define CG_FETCH(p)\n#define CG_FETCH_NEAR(p)\n#define CG_FETCH_TO_WRITE(p)\n");
    /* GPUs run scalar code, and have instructions for what these functions are made of. */
    if (needs & CG_NEEDS_ELEMENTARY && cg->vector_width > 1)
        add_functions(text, cg_source_elementary, cg->vector_width);
    if (needs & CG_NEEDS_NARROW) add_functions(text, cg_source_narrow, cg->vector_width);
}

/* The joined kernel of a plan: its text, which calls the steps' kernels as functions; the table of what stays the same
 * between runs (argument blocks, offsets in the arena, numbers of work-items); and the block of what does not (where
 * values lie, numbers bound at each run). Built on program.c and bind.c; enqueued by execute.c. */
#include "engine/join.h"
#include "engine/bind.h"
#include "engine/buffer.h"
#include "engine/program.h"
#include "engine/stages.h"
#include "engine/tune.h"

#include <stdio.h>
#include <string.h>

enum {
    MOST_STAGES = 128,
    MOST_POINTER_BYTES = 8 * (CG_STAGE_POOLS + 2),
    MOST_BLOCK_BYTES = 1024 - MOST_POINTER_BYTES, /* OpenCL 1.2 guarantees 1,024 bytes of arguments */
    MOST_PLACES = MOST_BLOCK_BYTES / 8,
    RUNS_BEFORE = 32 /* a plan that does not come back so often is not worth a compilation */
};

/* Arguments after the pools. */
enum { STATUS_ARGUMENT = CG_STAGE_POOLS, TABLE_ARGUMENT, BLOCK_ARGUMENT };

struct cg_joined {
    cl_kernel kernel;
    cl_mem table;
    int table_bytes;
    cg_place places[MOST_PLACES]; /* place i at byte 8 * i of the block */
    int place_count;
    cg_number numbers[MOST_BLOCK_BYTES / 4]; /* `at`: byte in the block */
    int number_count;
    unsigned char block[MOST_BLOCK_BYTES];
    int block_bytes;
    bool block_bound;
    cg_pool_arguments pools;
    bool others_bound; /* status words and table */
};

/* --- what differs between runs --- */

static bool same_place(const cg_place *a, const cg_place *b)
{
    return a->kind == b->kind && a->index == b->index;
}

/* A variable written in place lies where its old value does. */
static cg_place canonical(const cg_plan *plan, cg_place place)
{
    if (place.kind != CG_PLACE_ROOT) return place;
    const cg_target *target = &plan->targets[place.index];
    if (!target->in_place || target->donor < 0) return place;
    return (cg_place){.kind = CG_PLACE_LEAF, .index = target->donor};
}

static bool collect_places(cg_joined *j, const cg_plan *plan, const cg_step *step, int *slots)
{
    for (int i = 0; i < step->place_count; i++) {
        const cg_place place = canonical(plan, step->places[i]);
        int slot = 0;
        if (place.kind == CG_PLACE_ARENA) continue;
        while (slot < j->place_count && !same_place(&j->places[slot], &place)) slot++;
        if (slot == MOST_PLACES) return false;
        if (slot == j->place_count) j->places[j->place_count++] = place;
        slots[i] = slot;
    }
    return true;
}

static bool collect_numbers(cg_joined *j, const cg_plan *plan, int step)
{
    for (int i = 0; i < plan->steps[step].patch_count; i++) {
        const cg_number found = {step, plan->steps[step].patches[i]};
        if (found.patch.kind == CG_PATCH_TENSOR) continue;
        const int n = cg_number_find(plan, j->numbers, j->number_count, &found);
        if (n == (int)(sizeof j->numbers / sizeof *j->numbers)) return false;
        if (n == j->number_count) j->numbers[j->number_count++] = found;
    }
    return true;
}

/* Wide fields first, so that host and device agree on the layout without padding. */
static bool lay_out(cg_joined *j, const cg_plan *plan)
{
    size_t at = 8 * (size_t)j->place_count;
    for (size_t bytes = 8; bytes >= 4; bytes -= 4)
        for (int n = 0; n < j->number_count; n++) {
            if (cg_number_bytes(plan, &j->numbers[n]) != bytes) continue;
            j->numbers[n].patch.at = (uint16_t)at;
            at += bytes;
        }
    j->block_bytes = (int)((at + 7) / 8 * 8);
    return j->block_bytes <= MOST_BLOCK_BYTES;
}

/* --- the text --- */

static void print_block(const cg_joined *j, const cg_plan *plan, cg_text *out)
{
    cg_text_append(out, "struct " CG_KERNEL_NAME "_block {\n");
    for (int i = 0; i < j->place_count; i++) cg_text_add(out, "    long place%d;\n", i);
    for (size_t bytes = 8; bytes >= 4; bytes -= 4)
        for (int n = 0; n < j->number_count; n++)
            if (cg_number_bytes(plan, &j->numbers[n]) == bytes)
                cg_text_add(out, "    %s number%d;\n", cg_number_type(plan, &j->numbers[n]), n);
    cg_text_append(out, "};\n");
}

/* A stage's part of the table: its argument block, three numbers of work-items, and an offset for each tensor. */
static int stage_bytes(const cg_step *step)
{
    return step->block_bytes + 8 * (3 + step->place_count);
}

static void print_stage(const cg_joined *j, const cg_plan *plan, int number_of_step, int at, const int *slots,
                        size_t local, cg_text *out)
{
    const cg_step *step = &plan->steps[number_of_step];
    const char *name = cg_kernel_name(step->entry);
    cg_text_add(out,
                "    {\n        struct %s_arguments args = *(__global const struct %s_arguments *)(table + %d);\n"
                "        __global const long *rest = (__global const long *)(table + %d);\n",
                name, name, at, at + step->block_bytes);
    for (int i = 0; i < step->patch_count; i++) {
        const cg_number field = {number_of_step, step->patches[i]};
        if (field.patch.kind == CG_PATCH_TENSOR) continue;
        cg_text_add(out, "        *(%s *)((uchar *)&args + %d) = block.number%d;\n", cg_number_type(plan, &field),
                    field.patch.at, cg_number_find(plan, j->numbers, j->number_count, &field));
    }
    cg_text_add(out,
                "        for (int z = 0; z < rest[2]; z++)\n        for (int y = 0; y < rest[1]; y++)\n"
                "        for (int x = get_local_id(0); x < rest[0]; x += %d)\n            %s(x, y, z, (int)rest[0], "
                "(int)rest[1], (int)rest[2], ",
                (int)local, name);
    for (int i = 0; i < step->place_count; i++)
        if (step->places[i].kind == CG_PLACE_ARENA)
            cg_text_add(out, "(__global void *)(pools[0] + rest[%d]), ", 3 + i);
        else
            cg_text_add(out, "CG_AT_PLACE(block.place%d), ", slots[i]);
    cg_text_add(out, "%sargs);\n%s    }\n", step->status ? "status_words, " : "",
                local > 1 ? "        barrier(CLK_GLOBAL_MEM_FENCE);\n" : "");
}

static void print_head(const cg_joined *j, const cg_plan *plan, size_t local, cg_text *out)
{
    print_block(j, plan, out);
    cg_text_add(out, "CG_ENTRY(%d) " CG_KERNEL_NAME "(", (int)local);
    cg_print_pool_parameters(out);
    cg_text_append(out, "__global int *status_words, __global const uchar *table, struct " CG_KERNEL_NAME
                        "_block block)\n{\n");
    cg_print_pools(out);
}

/* --- the table --- */

static void fill_stage(const cg_step *step, unsigned char *at)
{
    int64_t rest[3 + CG_MOST_STEP_PLACES] = {0};
    cg_stage_arguments(step, at);
    for (int i = 0; i < 3; i++) rest[i] = (int64_t)step->global[i];
    for (int i = 0; i < step->place_count; i++)
        rest[3 + i] = step->places[i].kind == CG_PLACE_ARENA ? step->places[i].offset : 0;
    memcpy(at + step->block_bytes, rest, (3 + (size_t)step->place_count) * sizeof *rest);
}

static bool make_table(cg_context *cg, cg_joined *j, const cg_plan *plan, int bytes)
{
    unsigned char *table = cg_host_allocate(cg, (size_t)bytes);
    if (!table) return false;
    for (int i = 0, at = 0; i < plan->step_count; i++) {
        fill_stage(&plan->steps[i], table + at);
        at += stage_bytes(&plan->steps[i]);
    }
    j->table = cg_table_new(cg, bytes, table);
    j->table_bytes = bytes;
    cg_host_free(cg, table);
    return j->table != NULL;
}

/* --- joining --- */

double cg_plan_seconds(const cg_plan *plan)
{
    double seconds = 0;
    for (int i = 0; i < plan->step_count; i++) seconds += cg_step_seconds(&plan->steps[i]);
    return seconds;
}

/* False for plans that must, or had better, stay as they are. */
static bool is_worth_joining(cg_context *cg, const cg_plan *plan)
{
    if (cg->join == CG_JOIN_NEVER || cg->check_nan || plan->step_count < 2 || plan->step_count > MOST_STAGES)
        return false;
    for (int i = 0; i < plan->step_count; i++) {
        const cg_step *step = &plan->steps[i];
        if (step->blas || step->together || step->place_count > CG_MOST_STEP_PLACES) return false;
    }
    return cg->join == CG_JOIN_ALWAYS || cg_plan_seconds(plan) < plan->step_count * cg_join_seconds(cg);
}

/* Prints the stages; false if the block would be too large. `table_bytes` receives the size of the table. */
static bool print_kernel(cg_joined *j, const cg_plan *plan, size_t local, cg_text *source, int *table_bytes)
{
    cg_text stages = {.context = source->context};
    int at = 0;
    bool fits = true;
    for (int i = 0; fits && i < plan->step_count; i++) {
        int slots[CG_MOST_STEP_PLACES];
        fits = collect_places(j, plan, &plan->steps[i], slots) && collect_numbers(j, plan, i);
        if (fits) print_stage(j, plan, i, at, slots, local, &stages);
        at += stage_bytes(&plan->steps[i]);
    }
    fits = fits && lay_out(j, plan);
    if (fits) {
        print_head(j, plan, local, source);
        cg_text_append(source, stages.data ? stages.data : "");
        cg_text_append(source, "}\n");
        source->failed |= stages.failed;
    }
    cg_text_free(&stages);
    *table_bytes = at;
    return fits;
}

static void make(cg_context *cg, cg_plan *plan)
{
    cg_text source = {.context = cg};
    cg_joined *j = cg_host_allocate(cg, sizeof *j);
    int table_bytes;
    if (!j) return;
    const bool fits = print_kernel(j, plan, cg->local_size, &source, &table_bytes);
    const bool ok = !source.failed && (!fits || (make_table(cg, j, plan, table_bytes) &&
                                                 (j->kernel = cg_program_join(cg, plan, source.data))));
    cg_text_free(&source);
    if (cg->log_plan)
        fprintf(stderr, "clgrad: plan %016llx: %d kernels %s one, with %d values and %d numbers as arguments\n",
                (unsigned long long)plan->key[0], plan->step_count, fits && ok ? "joined to" : "cannot be",
                j->place_count, j->number_count);
    if (fits && ok)
        plan->joined = j;
    else
        cg_joined_free(cg, j);
}

void cg_join(cg_context *cg, cg_plan *plan)
{
    if (plan->settled || (++plan->runs < RUNS_BEFORE && cg->join != CG_JOIN_ALWAYS)) return;
    plan->settled = true;
    if (!is_worth_joining(cg, plan)) return;
    cg->optional = true; /* the steps are still there */
    make(cg, plan);
    cg->optional = false;
}

void cg_joined_free(cg_context *cg, cg_joined *j)
{
    if (!j) return;
    if (j->kernel) clReleaseKernel(j->kernel);
    cg_table_free(cg, j->table, j->table_bytes);
    cg_host_free(cg, j);
}

/* --- binding --- */

/* Status words and table stay what they are. */
static bool bind_others(cg_context *cg, cg_joined *j)
{
    if (j->others_bound) return true;
    return j->others_bound = cg_set_argument(cg, j->kernel, STATUS_ARGUMENT, sizeof cg->status_words,
                                             &cg->status_words) &&
                             cg_set_argument(cg, j->kernel, TABLE_ARGUMENT, sizeof j->table, &j->table);
}

bool cg_join_bind(cg_context *cg, cg_plan *plan, const cg_walk *walk, int32_t status_word, bool *usable)
{
    cg_joined *j = plan->joined;
    cl_mem pools[CG_STAGE_POOLS] = {cg->arena};
    unsigned char block[MOST_BLOCK_BYTES] = {0};
    int count = 1;
    *usable = true;
    for (int i = 0; i < j->place_count; i++) {
        int64_t offset;
        const int pool = cg_pool_number(pools, &count, cg_resolve(cg, walk, &j->places[i], &offset));
        *usable &= pool < CG_STAGE_POOLS;
        offset |= pool;
        memcpy(block + 8 * i, &offset, sizeof offset);
    }
    if (!*usable) return true;
    for (int n = 0; n < j->number_count; n++) {
        cg_patch_value value;
        const cg_number *it = &j->numbers[n];
        const size_t bytes = cg_patch_evaluate(&it->patch, plan->steps[it->step].sums, NULL, walk, status_word, &value);
        memcpy(block + it->patch.at, &value, bytes);
    }
    if (!cg_pools_bind(cg, j->kernel, &j->pools, pools, count) || !bind_others(cg, j)) return false;
    if (j->block_bound && memcmp(block, j->block, (size_t)j->block_bytes) == 0) return true;
    memcpy(j->block, block, (size_t)j->block_bytes);
    j->block_bound = cg_set_argument(cg, j->kernel, BLOCK_ARGUMENT, (size_t)j->block_bytes, j->block);
    return j->block_bound;
}

cl_kernel cg_joined_kernel(const cg_joined *joined)
{
    return joined->kernel;
}

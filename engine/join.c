/* The joined kernel of a plan: its text, which calls the steps' kernels as functions; the table of what stays the same
 * between runs (argument blocks, offsets in the arena, numbers of work-items); and the block of what does not (where
 * values lie, numbers bound at each run). Built on program.c and bind.c; enqueued by execute.c. */
#include "engine/join.h"
#include "engine/bind.h"
#include "engine/program.h"

#include <stdio.h>
#include <string.h>

enum {
    MOST_STAGES = 128,
    MOST_POINTER_BYTES = 8 * (CG_JOINED_POOLS + 2),
    MOST_BLOCK_BYTES = 1024 - MOST_POINTER_BYTES, /* OpenCL 1.2 guarantees 1,024 bytes of arguments */
    MOST_PLACES = MOST_BLOCK_BYTES / 8,
    RUNS_BEFORE = 32 /* a plan that does not come back so often is not worth a compilation */
};

/* Seconds that a launch costs, and that bytes and additions cost one core. They need not be exact: they tell plans that
 * launching dominates from those that it does not. */
static const double launch_seconds = 8e-6, seconds_per_byte = 5e-11, seconds_per_addition = 3e-11;

/* Arguments after the pools. */
enum { STATUS_ARGUMENT = CG_JOINED_POOLS, TABLE_ARGUMENT, BLOCK_ARGUMENT };

/* A number of the block: field of a step, by the first step that has it. */
typedef struct number {
    int step;
    cg_patch patch; /* `at`: byte in the joined block */
} number;

struct cg_joined {
    cl_kernel kernel;
    cl_mem table;
    cg_place places[MOST_PLACES]; /* place i at byte 8 * i of the block */
    int place_count;
    number numbers[MOST_BLOCK_BYTES / 4];
    int number_count;
    unsigned char block[MOST_BLOCK_BYTES];
    int block_bytes;
    bool block_bound;
    cl_mem pools[CG_JOINED_POOLS];
    bool others_bound; /* status words and table */
    int64_t releases;  /* the context's memory_releases when arguments were last set */
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

static size_t bytes_of(const cg_plan *plan, const number *n)
{
    const bool wide = n->patch.kind == CG_PATCH_F64 ||
                      (n->patch.kind == CG_PATCH_SHIFT && plan->steps[n->step].sums[n->patch.index].wide);
    return wide ? 8 : 4;
}

static bool same_sum(const cg_shift_sum *a, const cg_shift_sum *b)
{
    bool same = a->base == b->base && a->count == b->count && a->wide == b->wide;
    for (int i = 0; same && i < a->count; i++) {
        const cg_shift *x = &a->shifts[i], *y = &b->shifts[i];
        same = x->item == y->item && x->attribute == y->attribute && x->factor == y->factor;
    }
    return same;
}

static bool same_number(const cg_plan *plan, const number *a, const number *b)
{
    if (a->patch.kind != b->patch.kind) return false;
    if (a->patch.kind == CG_PATCH_STATUS) return true;
    if (a->patch.kind != CG_PATCH_SHIFT) return a->patch.index == b->patch.index;
    return same_sum(&plan->steps[a->step].sums[a->patch.index], &plan->steps[b->step].sums[b->patch.index]);
}

static int find_number(const cg_joined *j, const cg_plan *plan, const number *wanted)
{
    int n = 0;
    while (n < j->number_count && !same_number(plan, &j->numbers[n], wanted)) n++;
    return n;
}

static bool collect_numbers(cg_joined *j, const cg_plan *plan, int step)
{
    for (int i = 0; i < plan->steps[step].patch_count; i++) {
        const number found = {step, plan->steps[step].patches[i]};
        if (found.patch.kind == CG_PATCH_TENSOR) continue;
        const int n = find_number(j, plan, &found);
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
            if (bytes_of(plan, &j->numbers[n]) != bytes) continue;
            j->numbers[n].patch.at = (uint16_t)at;
            at += bytes;
        }
    j->block_bytes = (int)((at + 7) / 8 * 8);
    return j->block_bytes <= MOST_BLOCK_BYTES;
}

/* --- the text --- */

static const char *type_of(const cg_plan *plan, const number *n)
{
    if (n->patch.kind == CG_PATCH_F64) return "double";
    if (n->patch.kind == CG_PATCH_F32) return "float";
    return bytes_of(plan, n) == 8 ? "long" : "int";
}

static void print_block(const cg_joined *j, const cg_plan *plan, cg_text *out)
{
    cg_text_append(out, "struct " CG_KERNEL_NAME "_block {\n");
    for (int i = 0; i < j->place_count; i++) cg_text_add(out, "    long place%d;\n", i);
    for (size_t bytes = 8; bytes >= 4; bytes -= 4)
        for (int n = 0; n < j->number_count; n++)
            if (bytes_of(plan, &j->numbers[n]) == bytes)
                cg_text_add(out, "    %s number%d;\n", type_of(plan, &j->numbers[n]), n);
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
        const number field = {number_of_step, step->patches[i]};
        if (field.patch.kind == CG_PATCH_TENSOR) continue;
        cg_text_add(out, "        *(%s *)((uchar *)&args + %d) = block.number%d;\n", type_of(plan, &field),
                    field.patch.at, find_number(j, plan, &field));
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
    for (int p = 0; p < CG_JOINED_POOLS; p++) cg_text_add(out, "__global uchar *pool%d, ", p);
    cg_text_append(out, "__global int *status_words, __global const uchar *table, struct " CG_KERNEL_NAME
                        "_block block)\n{\n    __global uchar *pools[] = {");
    for (int p = 0; p < CG_JOINED_POOLS; p++) cg_text_add(out, "%spool%d", p ? ", " : "", p);
    cg_text_append(out, "};\n");
}

/* --- the table --- */

static void fill_stage(const cg_step *step, unsigned char *at)
{
    int64_t rest[3 + CG_MOST_STEP_PLACES] = {0};
    const int64_t zero = 0;
    memcpy(at, step->block, (size_t)step->block_bytes);
    /* A stage is given its tensors where they begin. */
    for (int i = 0; i < step->patch_count; i++)
        if (step->patches[i].kind == CG_PATCH_TENSOR) memcpy(at + step->patches[i].at, &zero, sizeof zero);
    for (int i = 0; i < 3; i++) rest[i] = (int64_t)step->global[i];
    for (int i = 0; i < step->place_count; i++)
        rest[3 + i] = step->places[i].kind == CG_PLACE_ARENA ? step->places[i].offset : 0;
    memcpy(at + step->block_bytes, rest, (3 + (size_t)step->place_count) * sizeof *rest);
}

static bool make_table(cg_context *cg, cg_joined *j, const cg_plan *plan, int bytes)
{
    unsigned char *table = cg_host_allocate(cg, (size_t)bytes);
    cl_int status = CL_SUCCESS;
    if (!table) return false;
    for (int i = 0, at = 0; i < plan->step_count; i++) {
        fill_stage(&plan->steps[i], table + at);
        at += stage_bytes(&plan->steps[i]);
    }
    j->table = CL_NEW(cg, &status, clCreateBuffer, cg->cl, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR, (size_t)bytes,
                      table);
    cg_host_free(cg, table);
    return j->table ? true : cg_fail_cl(cg, "clCreateBuffer", status);
}

/* --- joining --- */

/* False for plans that must, or had better, stay as they are. */
static bool is_worth_joining(const cg_context *cg, const cg_plan *plan)
{
    double seconds = 0;
    if (cg->join == CG_JOIN_NEVER || cg->check_nan || plan->step_count < 2 || plan->step_count > MOST_STAGES)
        return false;
    for (int i = 0; i < plan->step_count; i++) {
        const cg_step *step = &plan->steps[i];
        if (step->blas || step->place_count > CG_MOST_STEP_PLACES) return false;
        const double moving = (double)step->bytes * seconds_per_byte, adding = step->work * seconds_per_addition;
        seconds += moving > adding ? moving : adding;
    }
    return cg->join == CG_JOIN_ALWAYS || (!cg->info.is_gpu && seconds < plan->step_count * launch_seconds);
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

static bool make(cg_context *cg, cg_plan *plan)
{
    cg_text source = {.context = cg};
    cg_joined *j = cg_host_allocate(cg, sizeof *j);
    int table_bytes;
    if (!j) return false;
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
    return ok;
}

bool cg_join(cg_context *cg, cg_plan *plan)
{
    if (plan->settled || (++plan->runs < RUNS_BEFORE && cg->join != CG_JOIN_ALWAYS)) return true;
    plan->settled = true;
    return !is_worth_joining(cg, plan) || make(cg, plan);
}

void cg_joined_free(cg_context *cg, cg_joined *j)
{
    if (!j) return;
    if (j->kernel) clReleaseKernel(j->kernel);
    if (j->table) clReleaseMemObject(j->table);
    cg_host_free(cg, j);
}

/* --- binding --- */

/* The number of a pool among the arguments, the arena's being 0; CG_JOINED_POOLS if there are too many. */
static int pool_number(cl_mem *pools, int *count, cl_mem memory)
{
    int p = 0;
    while (p < *count && pools[p] != memory) p++;
    if (p == *count && p < CG_JOINED_POOLS) pools[(*count)++] = memory;
    return p;
}

static bool bind_pools(cg_context *cg, cg_joined *j, cl_mem *pools, int count)
{
    if (j->releases != cg->memory_releases) memset(j->pools, 0, sizeof j->pools);
    j->releases = cg->memory_releases;
    for (int p = 0; p < CG_JOINED_POOLS; p++) {
        cl_mem memory = p < count && pools[p] ? pools[p] : cg->status_words; /* any will do where none is used */
        if (memory == j->pools[p]) continue;
        j->pools[p] = NULL;
        if (!cg_set_argument(cg, j->kernel, (cl_uint)p, sizeof memory, &memory)) return false;
        j->pools[p] = memory;
    }
    if (j->others_bound) return true;
    return j->others_bound = cg_set_argument(cg, j->kernel, STATUS_ARGUMENT, sizeof cg->status_words,
                                             &cg->status_words) &&
                             cg_set_argument(cg, j->kernel, TABLE_ARGUMENT, sizeof j->table, &j->table);
}

bool cg_join_bind(cg_context *cg, cg_plan *plan, const cg_walk *walk, int32_t status_word, bool *usable)
{
    cg_joined *j = plan->joined;
    cl_mem pools[CG_JOINED_POOLS] = {cg->arena};
    unsigned char block[MOST_BLOCK_BYTES] = {0};
    int count = 1;
    *usable = true;
    for (int i = 0; i < j->place_count; i++) {
        int64_t offset;
        const int pool = pool_number(pools, &count, cg_resolve(cg, walk, &j->places[i], &offset));
        *usable &= pool < CG_JOINED_POOLS;
        offset |= pool;
        memcpy(block + 8 * i, &offset, sizeof offset);
    }
    if (!*usable) return true;
    for (int n = 0; n < j->number_count; n++) {
        cg_patch_value value;
        const number *it = &j->numbers[n];
        const size_t bytes = cg_patch_evaluate(&it->patch, plan->steps[it->step].sums, NULL, walk, status_word, &value);
        memcpy(block + it->patch.at, &value, bytes);
    }
    if (!bind_pools(cg, j, pools, count)) return false;
    if (j->block_bound && memcmp(block, j->block, (size_t)j->block_bytes) == 0) return true;
    memcpy(j->block, block, (size_t)j->block_bytes);
    j->block_bound = cg_set_argument(cg, j->kernel, BLOCK_ARGUMENT, (size_t)j->block_bytes, j->block);
    return j->block_bound;
}

cl_kernel cg_joined_kernel(const cg_joined *joined)
{
    return joined->kernel;
}

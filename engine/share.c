/* Finding steps that share launches, the order that follows, the kernel's text, its table and its arguments. A table
 * row per step has what stays the same between runs, and where values lie, sent again when that changes; numbers bound
 * at each run are an argument. Built on stages.h; enqueued by execute.c. */
#include "engine/share.h"
#include "cl_kernels.h"
#include "engine/bind.h"
#include "engine/buffer.h"
#include "engine/hash.h"
#include "engine/memory.h"

#include <stdlib.h>
#include <string.h>

enum {
    MOST_LAUNCHES_WORTH = 16, /* a step that takes longer than so many launches gains nothing */
    ARENA_SHARE = 8,          /* what sharing may add to the arena: this part of it... */
    MEMORY_SHARE = 256        /* ...or of the memory that there is; half of that may be the scratch of one launch */
};

/* Arguments after the pools. */
enum { STATUS_ARGUMENT = CG_STAGE_POOLS, TABLE_ARGUMENT, BLOCK_ARGUMENT };

/* Of a table row, after the step's arguments: its first work-group, its work-items, then its places and which numbers
 * its fields are. */
enum { FIRST_GROUP, TURNS, PLACES = TURNS + 3 };

enum { DONE = -1 };

/* --- which steps are alike --- */

typedef struct candidate {
    uint64_t hash; /* of its kernel's source */
    int height;    /* steps on the longest way from it to a result */
    int step;
} candidate;

typedef struct finder {
    cg_build *build;
    const int *groups;
    int count;                    /* steps of groups; those behind them stay where they are */
    int *first_step, *last_step;  /* per group, -1 for none */
    int *height, *order;          /* per step; `order`: steps in their new order */
    int *waiting, *share_waiting; /* what a step waits for, and all steps of a share together */
    int64_t *scratch;             /* per step, bytes */
    candidate *candidates;
    int candidate_count;
} finder;

static bool can_share(const finder *f, int step)
{
    const cg_step *s = &f->build->plan->steps[step];
    return f->build->sources[step] && !s->blas && !s->together &&
           !f->build->schedule->groups[f->groups[step]].reports && s->place_count <= CG_MOST_STEP_PLACES &&
           cg_step_seconds(s) < MOST_LAUNCHES_WORTH * CG_LAUNCH_SECONDS;
}

/* The same kernel, with the same fields bound at each run. */
static bool are_alike(const cg_build *b, int one, int other)
{
    const cg_step *x = &b->plan->steps[one], *y = &b->plan->steps[other];
    bool alike = strcmp(b->sources[one], b->sources[other]) == 0 && x->local[0] == y->local[0] &&
                 x->block_bytes == y->block_bytes && x->place_count == y->place_count &&
                 x->patch_count == y->patch_count;
    for (int i = 0; alike && i < x->patch_count; i++)
        alike = x->patches[i].kind == y->patches[i].kind && x->patches[i].at == y->patches[i].at;
    return alike;
}

/* From the last step to the first: whatever depends on a step comes after it. */
static void find_heights(finder *f)
{
    const cg_schedule *s = f->build->schedule;
    for (int n = f->count - 1; n >= 0; n--) {
        const int group = f->groups[n];
        f->height[n] = n < f->last_step[group] ? f->height[n + 1] + 1 : 0;
        for (int e = n < f->last_step[group] ? -1 : s->groups[group].edges; e >= 0; e = s->edges[e].next) {
            const int next = f->first_step[s->edges[e].to];
            if (next >= 0 && f->height[next] >= f->height[n]) f->height[n] = f->height[next] + 1;
        }
    }
}

static void find_steps_of_groups(finder *f)
{
    for (int g = 0; g < f->build->schedule->group_count; g++) f->first_step[g] = f->last_step[g] = -1;
    f->count = 0;
    for (int n = 0; n < f->build->plan->step_count && f->groups[n] >= 0; n++, f->count++) {
        if (f->first_step[f->groups[n]] < 0) f->first_step[f->groups[n]] = n;
        f->last_step[f->groups[n]] = n;
    }
}

static int by_kind(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
    return x->height != y->height ? x->height - y->height : x->step - y->step;
}

/* --- shares --- */

/* Adds the numbers that a step binds; false if they would be too many. */
static bool add_numbers(const cg_plan *plan, cg_share *share, int step)
{
    int count = share->number_count;
    for (int i = 0; i < plan->steps[step].patch_count; i++) {
        const cg_number found = {step, plan->steps[step].patches[i]};
        if (found.patch.kind == CG_PATCH_TENSOR) continue;
        const int n = cg_number_find(plan, share->numbers, count, &found);
        if (n == CG_SHARED_NUMBERS) return false;
        if (n == count) share->numbers[count++] = found;
    }
    share->number_count = count;
    return true;
}

static int64_t slack_of(const cg_context *cg)
{
    return cg->info.memory_limit / MEMORY_SHARE;
}

static bool can_be_member(const finder *f, const cg_share *share, int first, int step, int64_t scratch)
{
    const cg_build *b = f->build;
    return !b->plan->steps[step].share && are_alike(b, first, step) &&
           (share->count == 0 || scratch + f->scratch[step] <= slack_of(b->context) / 2);
}

/* Steps of one height do not depend on each other, nor do shares of different heights in a circle: what depends on a
 * step is less high. Makes a share of the first candidate and of those behind it that are like it; these then carry
 * the share's number in place of their own. */
static bool make_share(finder *f, int from, int to)
{
    cg_context *cg = f->build->context;
    cg_plan *plan = f->build->plan;
    cg_share share = {.count = 0};
    int64_t scratch = 0;
    const int first = f->candidates[from].step;
    if (!CG_GROW(cg, plan->shares, plan->share_capacity, plan->share_count + 1)) return false;
    for (int c = from; c < to; c++) {
        const int step = f->candidates[c].step;
        if (!can_be_member(f, &share, first, step, scratch) || !add_numbers(plan, &share, step)) continue;
        share.count++;
        scratch += f->scratch[step];
        plan->steps[step].share = plan->share_count + 1;
    }
    if (share.count == 1) plan->steps[first].share = 0;
    if (share.count > 1) plan->shares[plan->share_count++] = (cg_share){.count = share.count};
    return true;
}

static bool find_shares(finder *f)
{
    const cg_build *b = f->build;
    bool ok = true;
    for (int i = 0; i < b->scratch_count; i++) f->scratch[b->scratch[i].step] += b->scratch[i].bytes;
    for (int n = 0; n < f->count; n++)
        if (can_share(f, n))
            f->candidates[f->candidate_count++] = (candidate){cg_hash_text(f->build->sources[n], 1), f->height[n], n};
    qsort(f->candidates, (size_t)f->candidate_count, sizeof *f->candidates, by_kind);
    for (int from = 0, to; ok && from < f->candidate_count; from = to) {
        to = from;
        while (to < f->candidate_count && f->candidates[to].hash == f->candidates[from].hash &&
               f->candidates[to].height == f->candidates[from].height)
            to++;
        for (int c = from; ok && c + 1 < to; c++)
            if (!f->build->plan->steps[f->candidates[c].step].share) ok = make_share(f, c, to);
    }
    return ok;
}

/* --- the new order --- */

static void wait_for(finder *f, int step, int change)
{
    f->waiting[step] += change;
    f->share_waiting[f->build->plan->steps[step].share] += change;
}

/* Counts what depends on the step as waiting for it, or no more. */
static void count_waiting(finder *f, int step, int change)
{
    const cg_schedule *s = f->build->schedule;
    const int group = f->groups[step];
    if (step < f->last_step[group]) {
        wait_for(f, step + 1, change);
        return;
    }
    for (int e = s->groups[group].edges; e >= 0; e = s->edges[e].next)
        if (f->first_step[s->edges[e].to] >= 0) wait_for(f, f->first_step[s->edges[e].to], change);
}

static bool is_ready(const finder *f, int step)
{
    const int share = f->build->plan->steps[step].share;
    return f->waiting[step] == 0 && (!share || f->share_waiting[share] == 0);
}

/* Appends the step, or all of its share. */
static int append(finder *f, int step, int done)
{
    const cg_plan *plan = f->build->plan;
    const int share = plan->steps[step].share, from = done;
    if (!share) f->order[done++] = step;
    for (int n = 0; share && n < f->count; n++)
        if (plan->steps[n].share == share) f->order[done++] = n;
    for (int i = from; i < done; i++) {
        count_waiting(f, f->order[i], -1);
        f->waiting[f->order[i]] = DONE;
    }
    return done;
}

/* As before, but that the steps of a share stand together, where the last of them may. */
static void sort_steps(finder *f)
{
    const cg_plan *plan = f->build->plan;
    for (int n = 0; n < f->count; n++) count_waiting(f, n, 1);
    for (int n = 0, done = 0; n < f->count; n++) {
        if (!is_ready(f, n)) continue;
        done = append(f, n, done);
        if (plan->steps[n].share) n = -1; /* others may have waited for it */
    }
    for (int n = f->count; n < plan->step_count; n++) f->order[n] = n;
}

/* Puts step `order[i]` at place i. `copies` and `sources` have room for all. */
static void permute(cg_build *b, const int *order, cg_step *copies, char **sources, int *places)
{
    cg_plan *plan = b->plan;
    const size_t count = (size_t)plan->step_count;
    memcpy(copies, plan->steps, count * sizeof *copies);
    memcpy(sources, b->sources, count * sizeof *sources);
    for (int i = 0; i < plan->step_count; i++) {
        plan->steps[i] = copies[order[i]];
        b->sources[i] = sources[order[i]];
        places[order[i]] = i;
    }
    for (int i = 0; i < b->scratch_count; i++) b->scratch[i].step = places[b->scratch[i].step];
}

/* Numbers launches, and finds where shares begin. */
static void number_launches(cg_plan *plan)
{
    for (int i = 0; i < plan->step_count; i++) {
        cg_step *step = &plan->steps[i];
        const bool same = i > 0 && step->share && step->share == plan->steps[i - 1].share;
        step->launch = same ? plan->steps[i - 1].launch : i;
        if (!step->share) continue;
        cg_share *share = &plan->shares[step->share - 1];
        if (!same) share->first = i;
        share->commits |= step->commits;
        add_numbers(plan, share, i);
    }
}

static void forget_shares(cg_plan *plan)
{
    for (int i = 0; i < plan->step_count; i++) plan->steps[i].share = 0;
    plan->share_count = 0;
}

/* Lays out memory for the new order, or goes back to the old one. */
static bool reorder(finder *f)
{
    cg_build *b = f->build;
    cg_context *cg = b->context;
    cg_plan *plan = b->plan;
    const size_t count = (size_t)plan->step_count + 1;
    /* A program that has something computed again to save memory wants no other use of it. */
    const int64_t slack = b->schedule->replays ? 0 : slack_of(cg);
    const int64_t before = plan->arena_bytes, part = before / ARENA_SHARE;
    cg_step *copies = cg_host_allocate(cg, count * sizeof *copies);
    char **sources = cg_host_allocate(cg, count * sizeof *sources);
    int *places = cg_host_allocate(cg, 2 * count * sizeof *places);
    bool ok = copies && sources && places;
    if (ok) {
        sort_steps(f);
        permute(b, f->order, copies, sources, places);
        number_launches(plan);
        ok = cg_memory_offsets(b);
    }
    if (ok && plan->arena_bytes - before > (part > slack ? part : slack)) {
        permute(b, places, copies, sources, places + count);
        forget_shares(plan);
        number_launches(plan);
        ok = cg_memory_offsets(b);
    }
    cg_host_free(cg, copies);
    cg_host_free(cg, sources);
    cg_host_free(cg, places);
    return ok;
}

static bool allocate(finder *f)
{
    cg_context *cg = f->build->context;
    const size_t groups = (size_t)f->build->schedule->group_count + 1, steps = (size_t)f->build->plan->step_count + 1;
    f->first_step = cg_host_allocate(cg, 2 * groups * sizeof *f->first_step);
    f->last_step = f->first_step ? f->first_step + groups : NULL;
    f->height = cg_host_allocate(cg, 4 * steps * sizeof *f->height);
    f->order = f->height ? f->height + steps : NULL;
    f->waiting = f->height ? f->order + steps : NULL;
    f->share_waiting = f->height ? f->waiting + steps : NULL;
    f->scratch = cg_host_allocate(cg, steps * sizeof *f->scratch);
    f->candidates = cg_host_allocate(cg, steps * sizeof *f->candidates);
    return f->first_step && f->height && f->scratch && f->candidates;
}

bool cg_share_find(cg_build *b, const int *groups)
{
    cg_context *cg = b->context;
    finder f = {.build = b, .groups = groups};
    number_launches(b->plan);
    if (!cg_memory_offsets(b)) return false;
    if (cg->share_never || cg->eager || b->schedule->unfused) return true;
    bool ok = allocate(&f);
    if (ok) {
        find_steps_of_groups(&f);
        find_heights(&f);
        ok = find_shares(&f) && (b->plan->share_count == 0 || reorder(&f));
    }
    cg_host_free(cg, f.first_step);
    cg_host_free(cg, f.height);
    cg_host_free(cg, f.scratch);
    cg_host_free(cg, f.candidates);
    return ok;
}

/* --- the text --- */

/* The source of the kernel, under another name: a function of the shared kernel. */
static void print_stage(const char *source, cg_text *out)
{
    const char *rest = source;
    for (const char *at; (at = strstr(rest, CG_KERNEL_NAME)); rest = at + sizeof CG_KERNEL_NAME - 1)
        cg_text_add(out, "%.*s" CG_KERNEL_NAME "_stage", (int)(at - rest), rest);
    cg_text_append(out, rest);
}

static void print_numbers(const cg_plan *plan, const cg_share *share, cg_text *out)
{
    const cg_step *step = &plan->steps[share->first];
    for (int i = 0, n = 0; i < step->patch_count; i++) {
        const cg_number field = {share->first, step->patches[i]};
        if (field.patch.kind == CG_PATCH_TENSOR) continue;
        const char *type = cg_number_type(plan, &field);
        cg_text_add(out, "    *(%s *)((uchar *)&args + %d) = *(%s *)&block.numbers[row[%d]];\n", type, field.patch.at,
                    type, PLACES + step->place_count + n++);
    }
}

static int row_bytes(const cg_step *step)
{
    return step->block_bytes + 8 * (PLACES + step->place_count + step->patch_count);
}

void cg_share_print(const cg_plan *plan, const cg_share *share, const char *stage, cg_text *out)
{
    const cg_step *step = &plan->steps[share->first];
    const int local = (int)step->local[0];
    cg_text_append(out, cg_source_stage);
    print_stage(stage, out);
    cg_text_append(out, cg_source_entry);
    cg_text_add(out,
                "struct " CG_KERNEL_NAME "_block {\n    long numbers[%d], at, members;\n};\n"
                "CG_ENTRY(%d) " CG_KERNEL_NAME "(",
                CG_SHARED_NUMBERS, local);
    cg_print_pool_parameters(out);
    cg_text_append(out, "__global int *status_words, __global const uchar *table, struct " CG_KERNEL_NAME
                        "_block block)\n{\n");
    cg_print_pools(out);
    cg_text_add(out,
                "    __global const uchar *rows = table + block.at;\n    const long group = get_group_id(0);\n"
                "    long member = 0, end = block.members;\n    while (end - member > 1) {\n"
                "        const long middle = (member + end) / 2;\n"
                "        if (*(__global const long *)(rows + middle * %d + %d) <= group) member = middle;\n"
                "        else end = middle;\n    }\n    rows += member * %d;\n",
                row_bytes(step), step->block_bytes, row_bytes(step));
    cg_text_add(out,
                "    struct " CG_KERNEL_NAME "_stage_arguments args = *(__global const struct " CG_KERNEL_NAME
                "_stage_arguments *)rows;\n    __global const long *row = (__global const long *)(rows + %d);\n",
                step->block_bytes);
    print_numbers(plan, share, out);
    cg_text_add(out,
                "    const long turn = group - row[%d], across = row[%d] / %d, rest = turn / across;\n"
                "    " CG_KERNEL_NAME
                "_stage((int)(turn %% across) * %d + (int)get_local_id(0), (int)(rest %% row[%d]), "
                "(int)(rest / row[%d]), (int)row[%d], (int)row[%d], (int)row[%d], ",
                FIRST_GROUP, TURNS, local, local, TURNS + 1, TURNS + 1, TURNS, TURNS + 1, TURNS + 2);
    for (int i = 0; i < step->place_count; i++) cg_text_add(out, "CG_AT_PLACE(row[%d]), ", PLACES + i);
    cg_text_add(out, "%sargs);\n}\n", step->status ? "status_words, " : "");
}

/* --- the table --- */

static int64_t *row_of(const cg_plan *plan, const cg_share *share, int member)
{
    const cg_step *step = &plan->steps[share->first];
    return (int64_t *)(void *)(plan->share_rows + share->at + member * row_bytes(step) + step->block_bytes);
}

/* All of a row but where values lie. Returns the work-groups so far. */
static int64_t fill_row(const cg_plan *plan, const cg_share *share, int member, int64_t groups)
{
    const cg_step *step = &plan->steps[share->first + member];
    int64_t *row = row_of(plan, share, member), *numbers = row + PLACES + step->place_count;
    cg_stage_arguments(step, (unsigned char *)row - step->block_bytes);
    row[FIRST_GROUP] = groups;
    for (int i = 0; i < 3; i++) row[TURNS + i] = (int64_t)step->global[i];
    for (int i = 0; i < step->patch_count; i++) {
        const cg_number field = {share->first + member, step->patches[i]};
        if (field.patch.kind != CG_PATCH_TENSOR)
            *numbers++ = cg_number_find(plan, share->numbers, share->number_count, &field);
    }
    return groups + (int64_t)(step->global[0] / step->local[0] * step->global[1] * step->global[2]);
}

bool cg_share_tables(cg_context *cg, cg_plan *plan)
{
    if (plan->share_count == 0) return true;
    for (int s = 0; s < plan->share_count; s++) {
        cg_share *share = &plan->shares[s];
        share->at = plan->share_bytes;
        plan->share_bytes += (int64_t)share->count * row_bytes(&plan->steps[share->first]);
    }
    plan->share_rows = cg_host_allocate(cg, (size_t)plan->share_bytes);
    if (!plan->share_rows) return false;
    for (int s = 0; s < plan->share_count; s++) {
        cg_share *share = &plan->shares[s];
        int64_t groups = 0;
        for (int m = 0; m < share->count; m++) groups = fill_row(plan, share, m, groups);
        share->local = plan->steps[share->first].local[0];
        share->global = (size_t)groups * share->local;
    }
    plan->share_table = cg_table_new(cg, plan->share_bytes, plan->share_rows);
    return plan->share_table != NULL;
}

void cg_shares_free(cg_context *cg, cg_plan *plan)
{
    for (int s = 0; s < plan->share_count; s++)
        if (plan->shares[s].kernel) clReleaseKernel(plan->shares[s].kernel);
    cg_table_free(cg, plan->share_table, plan->share_bytes);
    cg_host_free(cg, plan->share_rows);
    cg_host_free(cg, plan->shares);
}

/* --- binding --- */

/* Where the share's values lie in this run; true if any row has changed. */
static bool place_values(cg_context *cg, cg_plan *plan, cg_share *share, const cg_walk *walk, cl_mem *pools, int *count)
{
    bool changed = false;
    share->usable = true;
    for (int m = 0; m < share->count; m++) {
        const cg_step *step = &plan->steps[share->first + m];
        int64_t *row = row_of(plan, share, m) + PLACES;
        for (int i = 0; i < step->place_count; i++) {
            int64_t offset;
            const int pool = cg_pool_number(pools, count, cg_resolve(cg, walk, &step->places[i], &offset));
            share->usable &= pool < CG_STAGE_POOLS;
            offset |= pool;
            changed |= row[i] != offset;
            row[i] = offset;
        }
    }
    return changed;
}

static bool bind_block(cg_context *cg, cg_share *share, const cg_plan *plan, const cg_walk *walk, int32_t status_word)
{
    cg_shared_block block = {.at = share->at, .members = share->count};
    for (int n = 0; n < share->number_count; n++) {
        cg_patch_value value;
        const cg_number *it = &share->numbers[n];
        const size_t bytes = cg_patch_evaluate(&it->patch, plan->steps[it->step].sums, NULL, walk, status_word, &value);
        memcpy(&block.numbers[n], &value, bytes);
    }
    if (share->block_bound && memcmp(&block, &share->block, sizeof block) == 0) return true;
    share->block = block;
    share->block_bound = cg_set_argument(cg, share->kernel, BLOCK_ARGUMENT, sizeof block, &share->block);
    return share->block_bound;
}

static bool bind_others(cg_context *cg, cg_share *share, cl_mem table)
{
    if (share->others_bound) return true;
    return share->others_bound = cg_set_argument(cg, share->kernel, STATUS_ARGUMENT, sizeof cg->status_words,
                                                 &cg->status_words) &&
                                 cg_set_argument(cg, share->kernel, TABLE_ARGUMENT, sizeof table, &table);
}

bool cg_share_bind(cg_context *cg, cg_plan *plan, const cg_walk *walk, int32_t status_word)
{
    for (int s = 0; s < plan->share_count; s++) {
        cg_share *share = &plan->shares[s];
        cl_mem pools[CG_STAGE_POOLS] = {cg->arena};
        int count = 1;
        if (place_values(cg, plan, share, walk, pools, &count)) plan->share_rows_sent = false;
        if (share->usable &&
            !(cg_pools_bind(cg, share->kernel, &share->pools, pools, count) &&
              bind_others(cg, share, plan->share_table) && bind_block(cg, share, plan, walk, status_word)))
            return false;
    }
    if (plan->share_count && !plan->share_rows_sent)
        plan->share_rows_sent = cg_send(cg, plan->share_table, plan->share_rows, (size_t)plan->share_bytes);
    return plan->share_count == 0 || plan->share_rows_sent;
}

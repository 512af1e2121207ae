/* Forcing points: walks what is pending, makes the key of its structure, finds or makes the plan, runs it, and hands
 * the results to nodes and variables. */
#include "engine/plan.h"
#include "engine/buffer.h"
#include "engine/clblast.h"
#include "engine/codegen.h"
#include "engine/donate.h"
#include "engine/execute.h"
#include "engine/expand.h"
#include "engine/hash.h"
#include "engine/join.h"
#include "engine/memory.h"
#include "engine/order.h"
#include "engine/overlap.h"
#include "engine/profile.h"
#include "engine/program.h"
#include "engine/share.h"
#include "engine/shortcut.h"

#include <stdio.h>
#include <string.h>

enum { PLAN_BUCKETS = 512, MOST_PLANS = 256 };

typedef struct cg_walk_frame {
    cg_node *node;
    int next;
} frame;

/* --- walking --- */

/* Keys of 128 bits do not meet by chance; in debug builds plans are compared in full all the same. */
#ifdef NDEBUG
enum { RECORDS_KEYS = 0 };
#else
enum { RECORDS_KEYS = 1 };
#endif

static bool record_grow(cg_context *cg, cg_walk *w, int words)
{
    return !RECORDS_KEYS || CG_GROW(cg, w->record, w->record_capacity, w->record_count + words);
}

/* Room in the record must have been made. */
static inline void key_add(cg_walk *w, uint64_t value)
{
    w->key[0] = cg_mix(w->key[0], value);
    w->key[1] = cg_mix(w->key[1] + UINT64_C(0x2545f4914f6cdd1d), value);
    if (RECORDS_KEYS) w->record[w->record_count++] = value;
}

static bool number_node(cg_context *cg, cg_walk *w, cg_node *node)
{
    if (!CG_GROW(cg, w->nodes, w->capacity, w->count + 1)) return false;
    if (!record_grow(cg, w, CG_MOST_WORDS + cg_needs(node) + 1)) return false;
    node->position = w->count;
    w->nodes[w->count++] = node;
    key_add(w, node->hash);
    if (RECORDS_KEYS) w->record_count += cg_node_words(node, w->record + w->record_count);
    w->opaque |= node->buffer && node->kind != CG_NODE_DATA;
    if (node->buffer || node->kind != CG_NODE_CALL) {
        if (node->kind == CG_NODE_OUTPUT && !node->buffer) key_add(w, (uint64_t)node->inputs[0]->position);
        return true;
    }
    for (int i = 0; i < cg_needs(node); i++) key_add(w, (uint64_t)node->inputs[i]->position);
    w->deferred += cg_is_deferred(node);
    w->opaque |= cg_needs(node) < node->input_count; /* only rules of differentiation see the others */
    return true;
}

/* Counts ops that another plan has computed without storing the results. */
static void count_recomputed(cg_context *cg, cg_walk *w)
{
    w->recomputed = 0;
    for (int i = 0; i < w->count; i++) {
        cg_node *node = w->nodes[i];
        if (node->buffer || node->kind != CG_NODE_CALL) continue;
        w->recomputed += node->computed;
        node->computed = true;
    }
    cg->counters.recomputed += w->recomputed;
}

static void see(cg_node *node, uint64_t walk)
{
    node->visit = walk;
    node->plan_references = 0;
}

/* Depth first, inputs before what reads them; an explicit stack, as graphs may be deep. */
static bool walk_from(cg_context *cg, cg_walk *w, cg_node *root, uint64_t walk)
{
    int depth = 0;
    if (root->visit == walk) return true;
    see(root, walk);
    if (cg_is_leaf(root)) return number_node(cg, w, root);
    if (!CG_GROW(cg, w->stack, w->stack_capacity, 1)) return false;
    w->stack[depth++] = (frame){root, 0};
    while (depth > 0) {
        frame *top = &w->stack[depth - 1];
        if (top->next == cg_needs(top->node)) {
            if (!number_node(cg, w, top->node)) return false;
            depth--;
            continue;
        }
        cg_node *input = top->node->inputs[top->next++];
        if (input->visit != walk) {
            see(input, walk);
            if (cg_is_leaf(input)) {
                if (!number_node(cg, w, input)) return false;
            } else {
                if (!CG_GROW(cg, w->stack, w->stack_capacity, depth + 1)) return false;
                w->stack[depth++] = (frame){input, 0};
            }
        }
        input->plan_references++;
    }
    return true;
}

/* --- roots --- */

static bool root_add(cg_context *cg, cg_walk *w, cg_node *node, cg_variable *variable, uint64_t collected)
{
    if (node->buffer || node->visit == collected) return true;
    if (!CG_GROW(cg, w->roots, w->root_capacity, w->root_count + 1)) return false;
    node->visit = collected;
    w->roots[w->root_count++] = (cg_root){.node = node, .variable = variable, .donor = -1};
    return true;
}

/* Whether a read of something else stores the tensor too: not weak ones, which are arguments of kernels and stay that,
 * and not what failed before, which would make every later read fail. */
static bool is_bystander(const cg_node *node)
{
    return node->shape.rank == 0 && !node->weak && !node->failed &&
           (node->kind == CG_NODE_CALL || node->kind == CG_NODE_OUTPUT);
}

/* Every live rank-0 tensor that would have to be computed. */
static bool add_scalars(cg_context *cg, cg_walk *w, uint64_t collected)
{
    for (int s = 0; s < cg->scope_count; s++)
        for (cg_node *node = cg->scopes[s].first; node; node = node->scope_next)
            if (is_bystander(node) && !root_add(cg, w, node, NULL, collected)) return false;
    return true;
}

static bool collect_roots(cg_context *cg, cg_walk *w, cg_node *const *wanted, int count, bool scalars)
{
    const uint64_t collected = cg_walk_new(cg);
    w->root_count = 0;
    for (int i = 0; i < cg->pending_count; i++)
        if (!root_add(cg, w, cg->pending[i]->current, cg->pending[i], collected)) return false;
    for (int i = 0; i < cg->asked_count; i++)
        if (!root_add(cg, w, cg->asked[i], NULL, collected)) return false;
    for (int i = 0; i < count; i++)
        if (!root_add(cg, w, wanted[i], NULL, collected)) return false;
    /* With nothing else to run, a read of a stored value is just that. */
    return !scalars || (w->root_count == 0 && cg->pending_count == 0) || add_scalars(cg, w, collected);
}

static bool walk_graph(cg_context *cg, cg_walk *w, int ending)
{
    const uint64_t walk = cg_walk_new(cg);
    w->visit = walk;
    w->count = 0;
    w->deferred = 0;
    w->opaque = false;
    w->record_count = 0;
    for (int i = 0; i < w->root_count; i++) {
        w->roots[i].donor = -1;
        w->roots[i].donated = false;
    }
    w->key[0] = UINT64_C(0x8f14e45fceea167a);
    w->key[1] = UINT64_C(0x5ca1ab1e0ddba11);
    for (int i = 0; i < w->root_count; i++)
        if (!walk_from(cg, w, w->roots[i].node, walk)) return false;
    if (ending >= 0 && !cg->check && !cg_donate(cg, w, ending)) return false;
    if (!record_grow(cg, w, 2 * w->root_count + 1)) return false;
    for (int i = 0; i < w->root_count; i++) {
        cg_root *root = &w->roots[i];
        root->position = root->node->position;
        const bool keeps = root->variable && root->variable->committed && root->variable->committed->buffer;
        key_add(w, (uint64_t)root->position << 32 | (uint64_t)(uint32_t)root->donor);
        key_add(w, (uint64_t)root->donated | (uint64_t)keeps << 1);
    }
    key_add(w, (uint64_t)cg->training);
    return true;
}

/* --- making a plan --- */

static bool add_host_steps(cg_context *cg, cg_plan *plan, const cg_schedule *s)
{
    int host = 0, scalars = 0;
    plan->host_steps = cg_host_allocate(cg, (size_t)(s->walk->count + 1) * sizeof *plan->host_steps);
    plan->scalars = cg_host_allocate(cg, (size_t)(s->walk->count + 1) * sizeof *plan->scalars);
    if (!plan->host_steps || !plan->scalars) return false;
    for (int i = 0; i < s->walk->count; i++) {
        const cg_entry *item = &s->items[i];
        const cg_node *node = item->node;
        if (item->kind != CG_ITEM_VALUE) continue;
        if (!item->host) {
            if (node->kind != CG_NODE_INDEX) plan->scalars[scalars++] = i;
            continue;
        }
        cg_host_step *step = &plan->host_steps[host++];
        *step = (cg_host_step){
            .op = node->op, .position = i, .input_count = node->input_count, .dtype = (cg_dtype)node->dtype};
        for (int k = 0; k < node->input_count; k++) step->inputs[k] = node->inputs[k]->position;
    }
    plan->host_count = host;
    plan->scalar_count = scalars;
    return true;
}

static bool add_targets(cg_context *cg, cg_plan *plan, const cg_walk *w)
{
    plan->targets = cg_host_allocate(cg, (size_t)(w->root_count + 1) * sizeof *plan->targets);
    if (!plan->targets) return false;
    plan->target_count = w->root_count;
    for (int i = 0; i < w->root_count; i++) {
        const cg_node *node = w->roots[i].node;
        plan->targets[i] = (cg_target){.in_place = w->roots[i].donated,
                                       .donor = w->roots[i].donor,
                                       .bytes = cg_shape_size(node->shape) *
                                                (int64_t)cg_dtype_bytes((cg_dtype)node->dtype)};
    }
    return true;
}

/* In a plan that may report a bad index, a variable written to another buffer must be given its old value then. */
static bool add_keeping(cg_build *b)
{
    const cg_walk *w = b->schedule->walk;
    for (int i = 0; b->schedule->reports && i < w->root_count; i++) {
        const cg_root *root = &w->roots[i];
        if (!root->variable || root->donated || !root->variable->committed || !root->variable->committed->buffer)
            continue;
        if (b->plan->targets[i].bytes > 0 && !cg_generate_keep(b, i, b->plan->targets[i].bytes)) return false;
    }
    return true;
}

/* The steps of all groups, in launch order and laid out in memory. */
static bool generate(cg_build *b)
{
    const cg_schedule *s = b->schedule;
    int *groups = NULL, capacity = 0, count = 0;
    bool ok = CG_GROW(b->context, groups, capacity, 1);
    for (int i = 0; ok && i < s->group_count; i++) {
        ok = cg_generate(b, &s->groups[s->order[i]]) && CG_GROW(b->context, groups, capacity, b->plan->step_count + 1);
        while (ok && count < b->plan->step_count) groups[count++] = s->order[i];
    }
    ok = ok && add_keeping(b) && CG_GROW(b->context, groups, capacity, b->plan->step_count + 1);
    while (ok && count < b->plan->step_count) groups[count++] = -1;
    ok = ok && cg_share_find(b, groups);
    cg_host_free(b->context, groups);
    if (ok) cg_overlap_plan(b->context, b->plan);
    return ok;
}

static bool compile(cg_build *b)
{
    cg_schedule *s = b->schedule;
    const int64_t failures = b->context->failures;
    if (!cg_schedule_make(s) || !add_host_steps(b->context, b->plan, s) || !add_targets(b->context, b->plan, s->walk))
        return false;
    cg_memory_places(b);
    if (!generate(b)) return false;
    /* The text of a kernel may be cut short where memory for a part of it was missing. */
    if (b->context->failures != failures || !cg_programs_make(b) || !cg_share_tables(b->context, b->plan)) return false;
    for (int i = 0; i < b->plan->step_count; i++)
        if (b->plan->steps[i].blas && !cg_clblast_warm(b->context, b->plan->steps[i].blas)) return false;
    return true;
}

/* Conversions cost a CPU more than the traffic that they save. */
static void log_narrow(const cg_build *b)
{
    const cg_walk *w = b->schedule->walk;
    bool any = false;
    for (int i = 0; i < w->count; i++) any |= cg_is_narrow((cg_dtype)w->nodes[i]->dtype);
    if (any && !b->context->info.is_gpu)
        fprintf(stderr, "clgrad:   f16 and bf16 are converted to f32 and back: on this device they save memory, not "
                        "time\n");
}

static void log_plan(const cg_build *b)
{
    const cg_plan *plan = b->plan;
    int64_t kept = 0;
    for (int i = 0; i < plan->target_count; i++) kept += plan->targets[i].in_place ? 0 : plan->targets[i].bytes;
    fprintf(stderr,
            "clgrad: plan %016llx: %d nodes, %d kernels, %d results (%lld bytes in new buffers), arena %lld bytes "
            "(%lld alive at once)\n",
            (unsigned long long)plan->key[0], b->schedule->walk->count, plan->step_count, plan->target_count,
            (long long)kept, (long long)plan->arena_bytes, (long long)plan->arena_bound);
    for (int i = 0; i < plan->step_count; i++) {
        const cg_step *step = &plan->steps[i];
        fprintf(stderr, "clgrad:   %3d %-60s %10lld bytes, work-items %zu x %zu x %zu%s", i, step->label,
                (long long)step->bytes, step->global[0], step->global[1], step->global[2],
                step->commits ? ", in place" : "");
        if (step->passes > 0) fprintf(stderr, ", each row in %d passes", step->passes);
        fprintf(stderr, "\n");
    }
    for (int i = 0; i < plan->share_count; i++)
        fprintf(stderr, "clgrad:   %3d to %d share a launch\n", plan->shares[i].first,
                plan->shares[i].first + plan->shares[i].count - 1);
    if (b->schedule->merged > 0)
        fprintf(stderr, "clgrad:   %d nodes equal to others, computed once\n", b->schedule->merged);
    if (b->schedule->walk->recomputed)
        fprintf(stderr, "clgrad:   %lld ops computed again, since their results had not been stored\n",
                (long long)b->schedule->walk->recomputed);
    log_narrow(b);
}

/* The most that is alive at once in a schedule of its own for the plan's nodes, with what is computed again forgotten
 * or not; -1 after reporting. */
static int64_t alive_if(cg_context *cg, cg_walk *w, bool forgets)
{
    cg_schedule schedule = {.context = cg, .walk = w, .forgets = forgets};
    cg_root *roots = cg_host_allocate(cg, ((size_t)w->root_count + 1) * sizeof *roots);
    if (!roots) return -1;
    memcpy(roots, w->roots, (size_t)w->root_count * sizeof *roots);
    const int64_t alive = cg_schedule_make(&schedule) ? cg_order_alive(&schedule) : -1;
    cg_schedule_free(&schedule);
    memcpy(w->roots, roots, (size_t)w->root_count * sizeof *roots);
    cg_host_free(cg, roots);
    return alive;
}

static void log_saving(cg_context *cg, cg_walk *w)
{
    bool any = false;
    for (int i = 0; i < w->count; i++)
        any |= w->nodes[i]->kind == CG_NODE_CALL && !w->nodes[i]->buffer && w->nodes[i]->op->again;
    if (!any) return;
    const int64_t with = alive_if(cg, w, false), without = alive_if(cg, w, true);
    if (with < 0 || without < 0) return;
    fprintf(stderr, "clgrad: checkpoints: %lld bytes of temporaries alive at once, scratch aside, instead of %lld\n",
            (long long)with, (long long)without);
}

static void build_free(cg_build *b)
{
    cg_context *cg = b->context;
    for (int i = 0; b->sources && i < b->plan->step_count; i++) cg_host_free(cg, b->sources[i]);
    cg_host_free(cg, b->sources);
    cg_host_free(cg, b->scratch);
    cg_schedule_free(b->schedule);
}

static bool keep_record(cg_context *cg, cg_plan *plan, const cg_walk *w)
{
    if (!RECORDS_KEYS) return true;
    plan->record = cg_host_allocate(cg, (size_t)w->record_count * sizeof *plan->record);
    if (!plan->record) return false;
    memcpy(plan->record, w->record, (size_t)w->record_count * sizeof *plan->record);
    plan->record_count = w->record_count;
    return true;
}

static cg_plan *make(cg_context *cg, cg_walk *w, bool unfused, bool *unfit)
{
    const int64_t failures = cg->failures;
    cg_schedule schedule = {.context = cg, .walk = w, .unfused = unfused};
    cg_build build = {.context = cg, .schedule = &schedule};
    build.plan = cg_host_allocate(cg, sizeof *build.plan);
    if (!build.plan) return NULL;
    memcpy(build.plan->key, w->key, sizeof w->key);
    const bool ok = keep_record(cg, build.plan, w) && compile(&build);
    if (ok && cg->log_plan) log_plan(&build);
    *unfit = !ok && cg->failures == failures;
    build_free(&build);
    if (ok) return build.plan;
    cg_plan_free(cg, build.plan);
    return NULL;
}

/* The scheduler bounds ops and tensors of a kernel, but not all that its code may need: guards of pads, repeated terms,
 * bytes of arguments, values that a kernel over rows can reach. What fails without a message is such a kernel, and its
 * plan is made again without fusion. */
cg_plan *cg_plan_make(cg_context *cg, cg_walk *w)
{
    bool unfit = false;
    const int64_t begin = cg_span_begin(cg);
    if (cg->log_plan) log_saving(cg, w);
    cg_plan *plan = make(cg, w, cg->eager, &unfit);
    if (!plan && unfit && !cg->eager) {
        if (cg->log_plan)
            fprintf(stderr,
                    "clgrad: plan %016llx: a kernel would exceed what one can hold; made again without fusion\n",
                    (unsigned long long)w->key[0]);
        plan = make(cg, w, true, &unfit);
    }
    if (!plan && unfit) cg_fail(cg, CG_ERROR_DEVICE, "an op needs a larger kernel than the device's arguments allow");
    cg_span_end(cg, CG_SPAN_MAKE, begin);
    return plan;
}

static void step_free(cg_context *cg, cg_step *step)
{
    if (step->kernel) clReleaseKernel(step->kernel);
    if (step->blas) {
        if (step->blas->temporary) clReleaseMemObject(step->blas->temporary);
        cg_host_free(cg, step->blas->offsets);
        cg_host_free(cg, step->blas);
    }
    cg_host_free(cg, step->places);
    cg_host_free(cg, step->bound);
    cg_host_free(cg, step->block);
    cg_host_free(cg, step->patches);
    cg_host_free(cg, step->outputs);
    cg_host_free(cg, step->output_arguments);
    cg_host_free(cg, step->sums);
    cg_host_free(cg, step->label);
}

void cg_plan_free(cg_context *cg, cg_plan *plan)
{
    cg_joined_free(cg, plan->joined);
    cg_shares_free(cg, plan);
    for (int i = 0; i < plan->step_count; i++) step_free(cg, &plan->steps[i]);
    for (int i = 0; i < plan->report_count; i++) cg_host_free(cg, plan->report_texts[i].text);
    cg_host_free(cg, plan->report_texts);
    cg_host_free(cg, plan->record);
    cg_host_free(cg, plan->steps);
    cg_host_free(cg, plan->host_steps);
    cg_host_free(cg, plan->scalars);
    cg_host_free(cg, plan->targets);
    cg_host_free(cg, plan);
}

/* --- the cache --- */

static void unlink_plan(cg_context *cg, cg_plan *plan)
{
    if (plan->newer)
        plan->newer->older = plan->older;
    else
        cg->plan_newest = plan->older;
    if (plan->older)
        plan->older->newer = plan->newer;
    else
        cg->plan_oldest = plan->newer;
}

static void link_newest(cg_context *cg, cg_plan *plan)
{
    plan->newer = NULL;
    plan->older = cg->plan_newest;
    if (cg->plan_newest)
        cg->plan_newest->newer = plan;
    else
        cg->plan_oldest = plan;
    cg->plan_newest = plan;
}

static cg_plan **bucket_of(cg_context *cg, const uint64_t key[2])
{
    return &cg->plan_table[key[0] % PLAN_BUCKETS];
}

static void drop_plan(cg_context *cg, cg_plan *plan)
{
    cg_plan **at = bucket_of(cg, plan->key);
    while (*at != plan) at = &(*at)->chain;
    *at = plan->chain;
    unlink_plan(cg, plan);
    cg->plan_count--;
    cg_shortcuts_drop(cg, plan);
    cg_plan_free(cg, plan);
}

/* A plan whose status words have not been read is needed for its messages: they are read first. */
static bool make_room(cg_context *cg)
{
    if (cg->plan_count < MOST_PLANS) return true;
    if (cg->plan_oldest->unread_runs > 0 && !cg_read_status(cg)) return false;
    drop_plan(cg, cg->plan_oldest);
    return true;
}

static bool check_record(cg_context *cg, const cg_plan *plan, const cg_walk *w)
{
    if (!RECORDS_KEYS || (plan->record_count == w->record_count &&
                          memcmp(plan->record, w->record, (size_t)w->record_count * sizeof *w->record) == 0))
        return true;
    return cg_fail(cg, CG_ERROR_DEVICE, "internal: two plans have one key");
}

static cg_plan *hit(cg_context *cg, cg_plan *plan)
{
    cg->counters.plan_hits++;
    unlink_plan(cg, plan);
    link_newest(cg, plan);
    return plan;
}

static cg_plan *find_plan(cg_context *cg, cg_walk *w)
{
    if (!cg->plan_table && !(cg->plan_table = cg_host_allocate(cg, PLAN_BUCKETS * sizeof *cg->plan_table))) return NULL;
    for (cg_plan *plan = *bucket_of(cg, w->key); plan; plan = plan->chain) {
        if (memcmp(plan->key, w->key, sizeof w->key) != 0) continue;
        return check_record(cg, plan, w) ? hit(cg, plan) : NULL;
    }
    if (!make_room(cg)) return NULL;
    cg_plan *plan = cg_plan_make(cg, w);
    if (!plan) return NULL;
    plan->chain = *bucket_of(cg, w->key);
    *bucket_of(cg, w->key) = plan;
    link_newest(cg, plan);
    cg->plan_count++;
    cg->counters.plans_made++;
    return plan;
}

/* --- deferred calls --- */

static bool keep_first(cg_context *cg, cg_walk *w)
{
    cg_first_walk *first = &w->first;
    if (!CG_GROW(cg, first->nodes, first->capacity, w->count + 1) ||
        !CG_GROW(cg, first->record, first->record_capacity, w->record_count + 1))
        return false;
    memcpy(first->key, w->key, sizeof first->key);
    for (int i = 0; i < w->count; i++) {
        cg_node *node = w->nodes[i];
        const bool shifts = node->kind == CG_NODE_CALL && node->op->shifts;
        first->nodes[i] = (struct cg_first_node){
            .node = node, .serial = node->serial, .binds = cg_is_leaf(node) || shifts};
    }
    if (w->record_count) memcpy(first->record, w->record, (size_t)w->record_count * sizeof *first->record);
    first->count = w->count;
    first->record_count = w->record_count;
    return true;
}

/* Gathers the walk's deferred calls, those with or without a derivative rule of their own. */
static void gather_calls(cg_walk *w, bool with_rule)
{
    w->call_count = 0;
    for (int i = 0; i < w->count; i++)
        if (!w->nodes[i]->buffer && cg_is_deferred(w->nodes[i]) && (w->nodes[i]->op->vjp != NULL) == with_rule) {
            cg_node_retain(w->nodes[i]);
            w->calls[w->call_count++] = w->nodes[i];
        }
}

/* Expands deferred calls; they are retained until that is done, since expanding one may release another. Those that
 * have a derivative rule come when no others are left: these may differentiate them, as cg_minimize does. */
static bool expand_calls(cg_context *cg, cg_walk *w)
{
    bool ok = true;
    if (!CG_GROW(cg, w->calls, w->call_capacity, w->deferred)) return false;
    gather_calls(w, false);
    if (w->call_count == 0) gather_calls(w, true);
    for (int i = 0; ok && i < w->call_count; i++) ok = cg_expand(w->calls[i]);
    while (w->call_count > 0) cg_node_release(w->calls[--w->call_count]);
    return ok;
}

static cg_plan *expand_and_find(cg_context *cg, cg_walk *w, int ending, bool shortcut)
{
    const uint64_t random_calls = cg->random_calls;
    bool ok = keep_first(cg, w);
    while (ok && w->deferred > 0) ok = expand_calls(cg, w) && walk_graph(cg, w, ending);
    cg_plan *plan = ok ? find_plan(cg, w) : NULL;
    if (plan && shortcut && cg->random_calls == random_calls && !cg_shortcut_add(cg, plan, w)) plan = NULL;
    return plan;
}

/* The plan for what the roots need. The walk is then the plan's. `ending`: the step scope at whose end this is, or -1.
 */
static cg_plan *plan_for(cg_context *cg, cg_walk *w, int ending)
{
    if (!walk_graph(cg, w, ending)) return NULL;
    const bool shortcut = w->deferred > 0 && !w->opaque && !cg->check_nan;
    if (!w->ahead) count_recomputed(cg, w);
    if (shortcut) {
        const int64_t failures = cg->failures;
        cg_plan *plan = cg_shortcut_take(cg, w);
        if (plan) return hit(cg, plan);
        if (cg->failures != failures) return NULL;
    }
    return w->deferred > 0 ? expand_and_find(cg, w, ending, shortcut) : find_plan(cg, w);
}

void cg_plans_close(cg_context *cg)
{
    while (cg->plan_newest) drop_plan(cg, cg->plan_newest);
    cg_host_free(cg, cg->plan_table);
    cg->plan_table = NULL;
    cg_host_free(cg, cg->shortcut_table);
    cg->shortcut_table = NULL;
    cg_walk *w = cg->walk_memory;
    if (!w) return;
    cg->walk_memory = NULL;
    cg_host_free(cg, w->nodes);
    cg_host_free(cg, w->record);
    cg_host_free(cg, w->stack);
    cg_host_free(cg, w->roots);
    cg_host_free(cg, w->held);
    cg_host_free(cg, w->numbers);
    cg_host_free(cg, w->targets);
    cg_host_free(cg, w->first.nodes);
    cg_host_free(cg, w->first.record);
    cg_host_free(cg, w->calls);
    cg_host_free(cg, w->ending);
    cg_host_free(cg, w->bound);
    cg_host_free(cg, w);
}

/* --- forcing --- */

static void commit(cg_context *cg)
{
    for (int i = 0; i < cg->pending_count; i++) {
        cg_variable *v = cg->pending[i];
        v->pending = false;
        v->lost = false;
        v->in_step = false;
        if (v->before) cg_node_release(v->before);
        v->before = NULL;
        if (v->committed == v->current) continue;
        if (v->committed) cg_node_release(v->committed);
        v->committed = v->current;
        cg_node_retain(v->committed);
    }
    cg->pending_count = 0;
}

static void mark_failed(const cg_walk *w)
{
    for (int i = 0; w && i < w->root_count; i++) w->roots[i].node->failed = true;
}

/* The context's walk, for a forcing point or a look ahead at one. NULL after reporting. */
static cg_walk *walk_memory(cg_context *cg, bool ahead)
{
    if (cg->expanding) {
        cg_fail(cg, CG_ERROR_ARGUMENT,
                "a value was asked for, or a step scope ended, inside an expansion or a derivative rule");
        return NULL;
    }
    if (!cg->walk_memory) cg->walk_memory = cg_host_allocate(cg, sizeof *cg->walk_memory);
    if (cg->walk_memory) cg->walk_memory->ahead = ahead;
    return cg->walk_memory;
}

bool cg_force(cg_context *cg, cg_node *const *wanted, int count, bool scalars, bool cutting)
{
    cg_walk *w = walk_memory(cg, false);
    if (cg->expanding) return false;
    if (!cutting && cg_step_failed(cg)) cg_drop_pending(cg, true);
    bool ok = w && collect_roots(cg, w, wanted, count, scalars);
    if (ok && w->root_count > 0) {
        const int64_t begin = cg_span_begin(cg);
        cg_plan *plan = plan_for(cg, w, cutting ? cg->scope_count : -1);
        cg_span_end(cg, CG_SPAN_FIND, begin);
        ok = plan && cg_plan_run(cg, plan, w);
        if (ok) {
            cg->counters.last_plan_kernels = plan->step_count;
            cg->counters.last_plan_peak_bytes = plan->arena_bytes;
        }
    }
    if (ok) {
        commit(cg);
    } else {
        mark_failed(w);
        cg_drop_pending(cg, cutting || cg_in_step(cg));
    }
    return ok;
}

/* --- looking ahead --- */

static int innermost_step(const cg_context *cg)
{
    int scope = cg->scope_count - 1;
    while (scope > 0 && !cg->scopes[scope].step) scope--;
    return scope > 0 ? scope : -1;
}

cg_plan *cg_plan_ahead(cg_context *cg, cg_node *const *wanted, int count)
{
    cg_walk *w = walk_memory(cg, true);
    if (!w || cg_step_failed(cg) || !collect_roots(cg, w, wanted, count, false) || w->root_count == 0) return NULL;
    return plan_for(cg, w, count == 0 ? innermost_step(cg) : -1);
}

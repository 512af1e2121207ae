/* Running plans. First everything that can fail without harm: buffers, arguments; then the kernels, in order. */
#include "engine/execute.h"
#include "engine/bind.h"
#include "engine/buffer.h"
#include "engine/clblast.h"
#include "engine/join.h"
#include "engine/overlap.h"
#include "engine/profile.h"
#include "engine/program.h"
#include "engine/queue.h"
#include "engine/share.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* --- numbers computed on the host --- */

static double rounded(double number, cg_dtype dtype)
{
    if (dtype == CG_F32) return (double)(float)number;
    return cg_is_floating(dtype) ? number : trunc(number);
}

/* Scalars keep their double precision while the host computes with them; kernels round them once. */
static void compute_numbers(const cg_plan *plan, cg_walk *walk)
{
    for (int i = 0; i < plan->scalar_count; i++) {
        const cg_node *node = walk->nodes[plan->scalars[i]];
        if (node) walk->numbers[plan->scalars[i]] = node->number; /* otherwise a shortcut has set it */
    }
    for (int i = 0; i < plan->host_count; i++) {
        const cg_host_step *step = &plan->host_steps[i];
        double operands[4];
        for (int k = 0; k < step->input_count; k++) operands[k] = walk->numbers[step->inputs[k]];
        const double result = step->op->host(operands);
        walk->numbers[step->position] = cg_is_floating(step->dtype) ? result : rounded(result, step->dtype);
    }
}

/* --- buffers --- */

static void release_targets(cg_context *cg, cg_walk *walk, int count)
{
    for (int i = 0; i < count; i++)
        if (walk->targets[i]) cg_buffer_release(cg, walk->targets[i]);
}

/* A buffer for every root: the old one where the plan writes in place, else a new one. */
static bool make_targets(cg_context *cg, const cg_plan *plan, cg_walk *walk)
{
    if (!CG_GROW(cg, walk->targets, walk->targets_capacity, plan->target_count + 1)) return false;
    for (int i = 0; i < plan->target_count; i++) {
        const cg_target *target = &plan->targets[i];
        if (target->in_place) {
            walk->targets[i] = cg_old_buffer(&walk->roots[i]);
            cg_buffer_retain(walk->targets[i]);
        } else {
            walk->targets[i] = cg_buffer_new(cg, target->bytes);
        }
        if (walk->targets[i]) continue;
        release_targets(cg, walk, i);
        return false;
    }
    return true;
}

/* --- arguments --- */

/* Writes a field; true if it changed. */
static bool apply_patch(cg_step *step, const cg_patch *p, const int64_t *offsets, const cg_walk *walk,
                        int32_t status_word)
{
    cg_patch_value value;
    const size_t bytes = cg_patch_evaluate(p, step->sums, offsets, walk, status_word, &value);
    if (memcmp(step->block + p->at, &value, bytes) == 0) return false;
    memcpy(step->block + p->at, &value, bytes);
    return true;
}

static bool bind_step(cg_context *cg, cg_step *step, const cg_walk *walk, int32_t status_word)
{
    int64_t offsets[CG_MOST_STEP_PLACES];
    for (int i = 0; i < step->place_count; i++) {
        const cl_mem memory = cg_resolve(cg, walk, &step->places[i], &offsets[i]);
        if (memory == step->bound[i]) continue;
        if (!cg_set_argument(cg, step->kernel, (cl_uint)i, sizeof memory, &memory)) return false;
        step->bound[i] = memory;
    }
    if (step->status && !step->status_bound) {
        if (!cg_set_argument(cg, step->kernel, (cl_uint)step->place_count, sizeof cg->status_words, &cg->status_words))
            return false;
        step->status_bound = true;
    }
    bool changed = !step->block_bound;
    for (int i = 0; i < step->patch_count; i++)
        changed |= apply_patch(step, &step->patches[i], offsets, walk, status_word);
    if (!changed) return true;
    step->block_bound = false;
    if (!cg_set_argument(cg, step->kernel, (cl_uint)(step->place_count + step->status), (size_t)step->block_bytes,
                         step->block))
        return false;
    step->block_bound = true;
    return true;
}

/* CLBlast takes a buffer without an offset: a part of the arena as an object of its own. */
static bool bind_blas(cg_context *cg, cg_step *step)
{
    cg_blas_call *blas = step->blas;
    if (!blas->temporary_bytes || blas->temporary_of == cg->arena) return true;
    cl_int status = CL_SUCCESS;
    const cl_buffer_region region = {(size_t)step->places[3].offset, (size_t)blas->temporary_bytes};
    if (blas->temporary) clReleaseMemObject(blas->temporary);
    blas->temporary_of = NULL;
    blas->temporary = CL_NEW(cg, &status, clCreateSubBuffer, cg->arena, CL_MEM_READ_WRITE, CL_BUFFER_CREATE_TYPE_REGION,
                             &region);
    if (!blas->temporary) return cg_fail_cl(cg, "clCreateSubBuffer", status);
    blas->temporary_of = cg->arena;
    return true;
}

/* A new memory object may have the handle of one that was released: what was bound before that must be bound again. */
static void forget_released(cg_context *cg, cg_plan *plan)
{
    if (plan->releases == cg->memory_releases) return;
    for (int i = 0; i < plan->step_count; i++)
        memset(plan->steps[i].bound, 0, (size_t)plan->steps[i].place_count * sizeof *plan->steps[i].bound);
    plan->releases = cg->memory_releases;
}

/* The temporaries of CLBlast are parts of the arena, which would otherwise live on in them after it has grown. */
static void release_temporaries(cg_context *cg)
{
    for (cg_plan *plan = cg->plan_newest; plan; plan = plan->older)
        for (int i = 0; i < plan->step_count; i++) {
            cg_blas_call *blas = plan->steps[i].blas;
            if (!blas || !blas->temporary) continue;
            clReleaseMemObject(blas->temporary);
            blas->temporary = blas->temporary_of = NULL;
        }
}

/* The share whose launch, in this run, is that of the step; NULL if that has one to itself. */
static cg_share *share_of(const cg_plan *plan, const cg_step *step)
{
    cg_share *share = step->share ? &plan->shares[step->share - 1] : NULL;
    return share && share->usable ? share : NULL;
}

static bool bind_steps(cg_context *cg, cg_plan *plan, const cg_walk *walk, int32_t status_word)
{
    forget_released(cg, plan);
    if (!cg_share_bind(cg, plan, walk, status_word)) return false;
    for (int i = 0; i < plan->step_count; i++) {
        cg_step *step = &plan->steps[i];
        if (share_of(plan, step)) continue;
        if (!step->blas && !cg_program_step(cg, step)) return false;
        if (step->blas ? !bind_blas(cg, step) : !bind_step(cg, step, walk, status_word)) return false;
    }
    return true;
}

/* --- status words --- */

bool cg_status_open(cg_context *cg)
{
    static const cl_int zeros[CG_STATUS_SLOTS * CG_STATUS_WORDS];
    cl_int status = CL_SUCCESS;
    cg->status_words = CL_NEW(cg, &status, clCreateBuffer, cg->cl, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR,
                              sizeof zeros, (void *)zeros);
    return cg->status_words ? true : cg_fail_cl(cg, "clCreateBuffer", status);
}

void cg_status_close(cg_context *cg)
{
    for (int i = 0; i < CG_QUEUED_PLANS; i++)
        if (cg->queued[i]) clReleaseEvent(cg->queued[i]);
    memset(cg->queued, 0, sizeof cg->queued);
    if (cg->status_words) clReleaseMemObject(cg->status_words);
    cg->status_words = NULL;
}

/* A run that failed between its kernels: what they set in its slot is nobody's business, but must be wiped. */
static void waste_slot(cg_context *cg, const cg_plan *plan)
{
    if (!plan->reports) return;
    cg->status_runs[cg->status_next].plan = NULL;
    cg->status_next = (cg->status_next + 1) % CG_STATUS_SLOTS;
    cg->status_unread++;
}

static void report_run(cg_context *cg, const cg_plan *plan, const cl_int *words)
{
    const char *name = words[1] >= 0 && words[1] < plan->report_count ? plan->report_texts[words[1]].text : "kernel";
    if (words[3] > 0)
        cg_fail(cg, CG_ERROR_ARGUMENT, "%s: index %d is out of range: it must be at least 0 and less than %d", name,
                (int)words[2], (int)words[3]);
    else
        cg_fail(cg, CG_ERROR_ARGUMENT, "%s: index %d is out of range", name, (int)words[2]);
}

/* Zeros the words that runs have set. No slot is taken again before that. */
static bool wipe_status(cg_context *cg)
{
    const cl_int zero = 0;
    if (!cg->status_stale) return true;
    const cl_int status = CL(cg, clEnqueueFillBuffer, cg->queue, cg->status_words, &zero, sizeof zero, 0,
                             sizeof zero * CG_STATUS_SLOTS * CG_STATUS_WORDS, CG_BEHIND_ALL(cg), NULL);
    if (status != CL_SUCCESS) return cg_fail_cl(cg, "clEnqueueFillBuffer", status);
    cg_enqueued(cg);
    cg->status_stale = false;
    return true;
}

bool cg_ask_status(cg_context *cg)
{
    if (cg->status_unread == 0) return true;
    const cl_int status = CL(cg, clEnqueueReadBuffer, cg->queue, cg->status_words, CL_FALSE, 0, sizeof cg->status_read,
                             cg->status_read, CG_BEHIND_ALL(cg), NULL);
    if (status != CL_SUCCESS) return cg_fail_cl(cg, "clEnqueueReadBuffer", status);
    cg_enqueued(cg);
    return true;
}

bool cg_look_at_status(cg_context *cg)
{
    const cl_int *words = cg->status_read;
    for (; cg->status_unread > 0; cg->status_unread--) {
        const int slot = (cg->status_next + CG_STATUS_SLOTS - cg->status_unread) % CG_STATUS_SLOTS;
        cg_plan *plan = cg->status_runs[slot].plan;
        cg->status_stale |= words[slot * CG_STATUS_WORDS] != 0;
        if (!plan) continue;
        if (words[slot * CG_STATUS_WORDS]) report_run(cg, plan, &words[slot * CG_STATUS_WORDS]);
        plan->unread_runs--;
    }
    return wipe_status(cg);
}

static bool finish(cg_context *cg)
{
    const int64_t begin = cg_span_begin(cg);
    const bool done = cg_queue_finish(cg);
    cg_span_end(cg, CG_SPAN_WAIT, begin);
    return done;
}

bool cg_read_status(cg_context *cg)
{
    return cg->status_unread == 0 || (cg_ask_status(cg) && finish(cg) && cg_look_at_status(cg));
}

bool cg_check_status(cg_context *cg)
{
    return cg_read_status(cg) && cg->status == CG_OK;
}

/* A slot for a run of a plan that may report a bad index. */
static bool take_slot(cg_context *cg, cg_plan *plan, int32_t *word)
{
    *word = 0;
    if (!plan->reports) return true;
    if (cg->status_unread == CG_STATUS_SLOTS && !cg_read_status(cg)) return false;
    if (!wipe_status(cg)) return false;
    *word = (int32_t)(cg->status_next * CG_STATUS_WORDS);
    return true;
}

static void keep_slot(cg_context *cg, cg_plan *plan)
{
    if (!plan->reports) return;
    cg->status_runs[cg->status_next].plan = plan;
    cg->status_next = (cg->status_next + 1) % CG_STATUS_SLOTS;
    cg->status_unread++;
    plan->unread_runs++;
}

bool cg_finish(cg_context *cg)
{
    const bool asked = cg_ask_status(cg), done = finish(cg);
    if (!asked || !done) return false;
    if (cg->profile) cg_profile_collect(cg);
    return cg_look_at_status(cg) && cg->status == CG_OK;
}

/* --- looking for NaN --- */

static bool is_nan(const void *data, cg_dtype dtype, int64_t i)
{
    if (cg_is_narrow(dtype)) return isnan(cg_narrow_number(dtype, ((const uint16_t *)data)[i]));
    return dtype == CG_F32 ? isnan(((const float *)data)[i]) : isnan(((const double *)data)[i]);
}

static int64_t first_nan(const void *data, cg_dtype dtype, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (is_nan(data, dtype, i)) return i;
    return -1;
}

/* Reads a value back and looks: -1 for no NaN, -2 for an error, else the element. */
static int64_t find_nan(cg_context *cg, const cg_walk *walk, const cg_node *node, const cg_place *place)
{
    int64_t offset, result = -1;
    const int64_t count = cg_shape_size(node->shape);
    const size_t bytes = (size_t)count * cg_dtype_bytes((cg_dtype)node->dtype);
    if (!cg_is_floating((cg_dtype)node->dtype) || count == 0) return -1;
    const cl_mem memory = cg_resolve(cg, walk, place, &offset);
    void *data = cg_host_allocate(cg, bytes);
    if (!data) return -2;
    const cl_int status = CL(cg, clEnqueueReadBuffer, cg->queue, memory, CL_TRUE, (size_t)offset, bytes, data, 0, NULL,
                             NULL);
    if (status == CL_SUCCESS) {
        result = first_nan(data, (cg_dtype)node->dtype, count);
    } else {
        cg_fail_cl(cg, "clEnqueueReadBuffer", status);
        result = -2;
    }
    cg_host_free(cg, data);
    return result;
}

static bool check_leaves(cg_context *cg, const cg_walk *walk)
{
    for (int i = 0; i < walk->count; i++) {
        const cg_node *node = walk->nodes[i];
        if (!node->buffer) continue;
        const int64_t at = find_nan(cg, walk, node, &(cg_place){.kind = CG_PLACE_LEAF, .index = i});
        if (at == -2) return false;
        if (at >= 0)
            return cg_fail(cg, CG_ERROR_NUMBER, "NaN in the data: %s %s%s has one at element %lld",
                           node->label ? node->label : "a tensor given", cg_dtype_name((cg_dtype)node->dtype),
                           cg_shape_text(cg, node->shape), (long long)at);
    }
    return true;
}

static bool check_step(cg_context *cg, const cg_walk *walk, const cg_step *step)
{
    for (int i = 0; i < step->output_count; i++) {
        const cg_node *node = walk->nodes[step->outputs[i]];
        const int64_t at = find_nan(cg, walk, node, &step->places[step->output_arguments[i]]);
        if (at == -2) return false;
        if (at >= 0)
            return cg_fail(cg, CG_ERROR_NUMBER, "%s: made the first NaN, at element %lld of %s%s%s%s", step->label,
                           (long long)at, cg_dtype_name((cg_dtype)node->dtype), cg_shape_text(cg, node->shape),
                           node->label ? " " : "", node->label ? node->label : "");
    }
    return true;
}

/* --- running --- */

static bool enqueue_kernel(cg_context *cg, cl_kernel kernel, cl_uint dimensions, const size_t *global,
                           const size_t *local, cl_event *event)
{
    const cl_int status = CL(cg, clEnqueueNDRangeKernel, cg->queue, kernel, dimensions, NULL, global, local,
                             CG_BEHIND_ALL(cg), event);
    if (status != CL_SUCCESS) return cg_fail_cl(cg, "clEnqueueNDRangeKernel", status);
    cg_enqueued(cg);
    return true;
}

static bool enqueue_blas(cg_context *cg, const cg_step *step, const cg_walk *walk, cl_event *event)
{
    static const size_t element[2] = {4, 8};
    cl_mem memory[3];
    int64_t first[3];
    for (int i = 0; i < 3; i++) {
        memory[i] = cg_resolve(cg, walk, &step->places[i], &first[i]);
        first[i] /= (int64_t)element[step->blas->f64];
        if (i < 2) first[i] += cg_shifted(&step->blas->first[i], walk);
    }
    return cg_clblast_run(cg, step->blas, memory, first, event);
}

static void mark_lost(const cg_plan *plan, const cg_walk *walk)
{
    for (int i = 0; i < plan->target_count; i++)
        if (walk->roots[i].variable) walk->roots[i].variable->lost = true;
}

/* The launch of a step or of a share, which the step is the first of. */
static bool enqueue_launch(cg_context *cg, cg_plan *plan, int number, const cg_walk *walk, cl_event *event)
{
    const cg_step *step = &plan->steps[number];
    cg_share *share = share_of(plan, step);
    if (share) {
        if (cg->profile) event = cg_profile_share(cg, plan, share);
        return enqueue_kernel(cg, share->kernel, 1, &share->global, &share->local, event);
    }
    if (cg->profile) event = cg_profile_step(cg, plan, number);
    const bool done = step->blas ? enqueue_blas(cg, step, walk, event)
                                 : enqueue_kernel(cg, step->kernel, step->dimensions, step->global, step->local, event);
    return done && (!cg->check_nan || check_step(cg, walk, step));
}

static bool enqueue_steps(cg_context *cg, cg_plan *plan, const cg_walk *walk)
{
    bool committed = false;
    if (cg->check_nan && !check_leaves(cg, walk)) return false;
    for (int i = 0, next; i < plan->step_count; i = next) {
        const cg_share *share = share_of(plan, &plan->steps[i]);
        next = i + (share ? share->count : 1);
        if (!enqueue_launch(cg, plan, i, walk, next == plan->step_count ? cg_queue_plan_done(cg) : NULL)) {
            if (committed) mark_lost(plan, walk);
            return false;
        }
        committed |= share ? share->commits : plan->steps[i].commits;
        cg->counters.kernels_enqueued++;
    }
    return true;
}

static bool enqueue_joined(cg_context *cg, cg_plan *plan)
{
    cl_event *event = cg->profile ? cg_profile_joined(cg, plan) : cg_queue_plan_done(cg);
    if (!enqueue_kernel(cg, cg_joined_kernel(plan->joined), 1, &cg->local_size, &cg->local_size, event)) return false;
    cg->counters.kernels_enqueued++;
    return true;
}

static bool enqueue_overlapping(cg_context *cg, const cg_plan *plan)
{
    if (!cg_overlap_launch(cg, plan)) return false;
    cg->counters.kernels_enqueued++;
    return true;
}

/* Binds all arguments, then enqueues. `bound` tells how far it came. */
static bool launch(cg_context *cg, cg_plan *plan, const cg_walk *walk, int32_t status_word, bool *bound)
{
    bool joined = false;
    const int64_t begin = cg_span_begin(cg);
    const bool overlaps = cg_overlap_begin(cg, plan, walk);
    *bound = (!plan->joined || cg_join_bind(cg, plan, walk, status_word, &joined)) &&
             (joined || bind_steps(cg, plan, walk, status_word));
    cg_span_end(cg, CG_SPAN_BIND, begin);
    if (!*bound) return false;
    const int64_t bound_at = cg_span_begin(cg);
    const bool done = joined     ? enqueue_joined(cg, plan)
                      : overlaps ? enqueue_overlapping(cg, plan)
                                 : enqueue_steps(cg, plan, walk);
    cg_span_end(cg, CG_SPAN_ENQUEUE, bound_at);
    return done;
}

bool cg_plan_run(cg_context *cg, cg_plan *plan, cg_walk *walk)
{
    int32_t status_word;
    bool bound;
    if (!CG_GROW(cg, walk->numbers, walk->numbers_capacity, walk->count + 1)) return false;
    compute_numbers(plan, walk);
    const int64_t arena_bytes = cg_overlap_arena(cg, plan);
    if (arena_bytes > cg->arena_bytes) release_temporaries(cg);
    if (!cg_arena_reserve(cg, arena_bytes)) return false;
    cg_join(cg, plan);
    if (!take_slot(cg, plan, &status_word) || !make_targets(cg, plan, walk)) return false;
    if (!launch(cg, plan, walk, status_word, &bound)) {
        if (bound) waste_slot(cg, plan);
        release_targets(cg, walk, plan->target_count);
        return false;
    }
    keep_slot(cg, plan);
    for (int i = 0; i < plan->target_count; i++) {
        cg_node *node = walk->roots[i].node;
        node->buffer = walk->targets[i];
        cg_node_hash(node);
    }
    return true;
}

/* --- not running away --- */

static void forget(cg_context *cg, int slot)
{
    clReleaseEvent(cg->queued[slot]);
    cg->queued[slot] = NULL;
}

static void wait_for(cg_context *cg, int slot)
{
    if (!cg->queued[slot]) return;
    const int64_t begin = cg_span_begin(cg);
    (void)CL(cg, clWaitForEvents, 1, &cg->queued[slot]); /* not waiting does no harm */
    cg_span_end(cg, CG_SPAN_WAIT, begin);
    forget(cg, slot);
}

static bool is_done(cg_context *cg, int slot)
{
    cl_int status = CL_COMPLETE;
    if (!cg->queued[slot]) return true;
    const cl_int asked = CL(cg, clGetEventInfo, cg->queued[slot], CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status,
                            &status, NULL);
    return asked == CL_SUCCESS && status <= CL_COMPLETE;
}

/* Called at a step scope's end. Plans are slow if the one before the last was queued over 10 ms ago and is not done. */
void cg_throttle(cg_context *cg)
{
    const int at = cg->queued_next % CG_QUEUED_PLANS;
    const int slow = (at + CG_QUEUED_PLANS - CG_QUEUED_SLOW_PLANS) % CG_QUEUED_PLANS;
    cl_event event;
    if (cg->profile) cg_profile_collect(cg);
    wait_for(cg, at); /* its last user was 32 plans ago */
    if (!cg_queue_event(cg, &event)) return;
    if (CL(cg, clFlush, cg->queue) != CL_SUCCESS) {
        clReleaseEvent(event);
        return;
    }
    cg->queued[at] = event;
    cg->queued_at[at] = cg_nanoseconds();
    cg->queued_next = (at + 1) % CG_QUEUED_PLANS;
    if (!is_done(cg, slow) && cg_nanoseconds() - cg->queued_at[slow] > CG_SLOW_PLAN_NANOSECONDS) wait_for(cg, slow);
}

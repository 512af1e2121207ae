/* Collecting: events of launches wait in a ring until they are looked at, where the host pauses anyway or the ring is
 * full. A call that fails here costs a launch in the trace, never the run. */
#include "engine/profile.h"
#include "engine/share.h"
#include "engine/text.h"
#include <clgrad/file.h>
#include <clgrad/profile.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { MOMENT_TRIALS = 5 };

int64_t cg_nanoseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* --- opening --- */

/* A trace that cannot be written is found out before the run, not after it. */
static bool check_path(cg_context *cg, const char *path)
{
    struct stat found;
    if (stat(path, &found) == 0 && !S_ISREG(found.st_mode))
        return cg_fail(cg, CG_ERROR_FILE, "CLGRAD_PROFILE is \"%s\", which is no file", path);
    cg_output_file *file = cg_output_file_new(cg, path);
    cg_output_file_discard(file);
    if (file || cg->status != CG_ERROR_FILE) return file != NULL;
    char why[CG_MESSAGE_BYTES];
    snprintf(why, sizeof why, "%s", cg->message);
    cg->status = CG_OK; /* the message is to name the variable that the path comes from */
    return cg_fail(cg, CG_ERROR_FILE, "CLGRAD_PROFILE: %s", why);
}

bool cg_profile_open(cg_context *cg)
{
    const char *path = getenv("CLGRAD_PROFILE");
    if (!path || !*path) return true;
    if (!check_path(cg, path)) return false;
    cg_profile *p = cg_resize(cg, NULL, sizeof *p);
    if (!p) return false;
    memset(p, 0, offsetof(cg_profile, kernels)); /* the rest is touched as it is used */
    cg->profile = p;
    p->path = cg_copy_text(cg, path);
    p->covered = INT64_MAX;
    p->record_limit = CG_PROFILE_RECORDS;
    p->opened = cg_nanoseconds();
    return p->path != NULL;
}

/* --- two clocks --- */

static cl_int time_of(cg_context *cg, cl_event event, cl_profiling_info which, int64_t *nanoseconds)
{
    cl_ulong time = 0;
    const cl_int status = CL(cg, clGetEventProfilingInfo, event, which, sizeof time, &time, NULL);
    *nanoseconds = (int64_t)time;
    return status;
}

/* The device's time of a marker on an empty queue lies between the host's times before and after. */
static cl_int try_moment(cg_context *cg, cg_moment *moment, int64_t *uncertainty)
{
    cl_event marker = NULL;
    const int64_t before = cg_nanoseconds();
    cl_int status = CL(cg, clEnqueueMarkerWithWaitList, cg->queue, 0, NULL, &marker);
    if (status != CL_SUCCESS) return status;
    status = CL(cg, clWaitForEvents, 1, &marker);
    *uncertainty = cg_nanoseconds() - before;
    moment->host = before + *uncertainty / 2;
    if (status == CL_SUCCESS) status = time_of(cg, marker, CL_PROFILING_COMMAND_END, &moment->device);
    clReleaseEvent(marker);
    return status;
}

/* The best of some trials: the first may find the device asleep. */
static cl_int find_moment(cg_context *cg, cg_moment *moment)
{
    int64_t least = INT64_MAX;
    for (int i = 0; i < MOMENT_TRIALS; i++) {
        cg_moment found;
        int64_t uncertainty;
        const cl_int status = try_moment(cg, &found, &uncertainty);
        if (status != CL_SUCCESS) return status;
        if (uncertainty >= least) continue;
        least = uncertainty;
        *moment = found;
    }
    return CL_SUCCESS;
}

bool cg_profile_start(cg_context *cg)
{
    if (!cg->profile) return true;
    const cl_int status = find_moment(cg, &cg->profile->first);
    cg->profile->last = cg->profile->first;
    return status == CL_SUCCESS ? true
                                : cg_fail(cg, CG_ERROR_DEVICE,
                                          "CLGRAD_PROFILE: the device tells no times, OpenCL error %d", (int)status);
}

/* Clocks drift apart: between the two moments known, linearly. */
int64_t cg_profile_on_host(const cg_profile *p, int64_t device)
{
    const double host_span = (double)(p->last.host - p->first.host);
    const double device_span = (double)(p->last.device - p->first.device);
    const double rate = device_span > 0 ? host_span / device_span : 1;
    return p->first.host + (int64_t)((double)(device - p->first.device) * rate);
}

/* --- records --- */

static void drop(cg_profile *p, int64_t begin)
{
    p->dropped++;
    if (begin < p->covered) p->covered = begin;
}

static void add_record(cg_profile *p, int64_t begin, int64_t length, int what)
{
    if (p->record_count < p->record_limit)
        p->records[p->record_count++] = (cg_profile_record){begin, length, what};
    else
        drop(p, what < 0 ? begin : cg_profile_on_host(p, begin));
}

void cg_profile_span(cg_context *cg, cg_span span, int64_t begin)
{
    add_record(cg->profile, begin, cg_nanoseconds() - begin, -1 - (int)span);
}

/* --- kernels --- */

static const char *keep_text(cg_profile *p, const char *label)
{
    const size_t bytes = strlen(label) + 1;
    if (bytes > sizeof p->text - (size_t)p->text_length) return NULL;
    char *kept = p->text + p->text_length;
    memcpy(kept, label, bytes);
    p->text_length += (int)bytes;
    return kept;
}

/* The number of a step's kernel, or -1. A plan may have been dropped and made again since. */
static int find_kernel(const cg_profile *p, const cg_plan *plan, int step)
{
    for (int i = p->kernel_count - 1; i >= 0; i--)
        if (p->kernels[i].step == step && memcmp(p->kernels[i].key, plan->key, sizeof plan->key) == 0) return i;
    return -1;
}

/* The number of a new entry, or -1 where there is no room. */
static int add_kernel(cg_profile *p, const cg_plan *plan, const cg_profiled_kernel *kernel)
{
    const char *label = p->kernel_count < CG_PROFILE_KERNELS ? keep_text(p, kernel->label) : NULL;
    if (!label) return -1;
    cg_profiled_kernel *added = &p->kernels[p->kernel_count];
    *added = *kernel;
    memcpy(added->key, plan->key, sizeof added->key);
    added->label = label;
    return p->kernel_count++;
}

static int step_kernel(cg_profile *p, const cg_plan *plan, int number)
{
    const cg_step *step = &plan->steps[number];
    const int found = find_kernel(p, plan, number);
    if (found >= 0) return found;
    cg_profiled_kernel kernel = {.step = number, .label = step->label, .bytes = step->bytes, .flop = step->flop};
    for (int i = 0; i < 3; i++) kernel.items[i] = step->blas ? 0 : (int64_t)step->global[i];
    return add_kernel(p, plan, &kernel);
}

static int joined_kernel(const cg_context *cg, const cg_plan *plan)
{
    cg_names names = {.used = 0};
    char label[sizeof names.text + sizeof "joined: "];
    const int found = find_kernel(cg->profile, plan, -1);
    if (found >= 0) return found;
    for (int i = 0; i < plan->step_count; i++) cg_names_add(&names, plan->steps[i].label);
    snprintf(label, sizeof label, "joined: %s", names.text);
    cg_profiled_kernel kernel = {.step = -1, .label = label, .items = {(int64_t)cg->local_size, 1, 1}};
    for (int i = 0; i < plan->step_count; i++) {
        kernel.bytes += plan->steps[i].bytes;
        kernel.flop += plan->steps[i].flop;
    }
    return add_kernel(cg->profile, plan, &kernel);
}

/* The ops of one step, and how often; by the number -2 - first step, as a step of a share may have launches too. */
static int shared_kernel(cg_profile *p, const cg_plan *plan, const cg_share *share)
{
    char label[400];
    const int number = -2 - share->first, found = find_kernel(p, plan, number);
    if (found >= 0) return found;
    snprintf(label, sizeof label, "%d times: %s", share->count, plan->steps[share->first].label);
    cg_profiled_kernel kernel = {.step = number, .label = label, .items = {(int64_t)share->global, 1, 1}};
    for (int i = share->first; i < share->first + share->count; i++) {
        kernel.bytes += plan->steps[i].bytes;
        kernel.flop += plan->steps[i].flop;
    }
    return add_kernel(p, plan, &kernel);
}

/* --- launches --- */

static void forget(cg_pending_launch *launch)
{
    if (launch->before) clReleaseEvent(launch->before);
    if (launch->event) clReleaseEvent(launch->event);
    *launch = (cg_pending_launch){0};
}

static bool is_done(cg_context *cg, const cg_pending_launch *launch)
{
    cl_int status = CL_QUEUED;
    if (!launch->event) return true;
    return CL(cg, clGetEventInfo, launch->event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status, NULL) ==
               CL_SUCCESS &&
           status <= CL_COMPLETE;
}

static void note(cg_context *cg, const cg_pending_launch *launch)
{
    cg_profile *p = cg->profile;
    int64_t begin, end, from;
    if (!launch->event) return;
    if (time_of(cg, launch->event, CL_PROFILING_COMMAND_START, &begin) != CL_SUCCESS ||
        time_of(cg, launch->event, CL_PROFILING_COMMAND_END, &end) != CL_SUCCESS) {
        drop(p, cg_nanoseconds());
        return;
    }
    if (launch->before && time_of(cg, launch->before, CL_PROFILING_COMMAND_END, &from) == CL_SUCCESS && from < begin)
        begin = from;
    cg_profiled_kernel *kernel = &p->kernels[launch->kernel];
    kernel->count++;
    kernel->nanoseconds += end - begin;
    add_record(p, begin, end - begin, launch->kernel);
}

/* The queue is in order: behind a launch that is not done there is none that is. */
void cg_profile_collect(cg_context *cg)
{
    cg_profile *p = cg->profile;
    while (p->pending_count > 0 && is_done(cg, &p->pending[p->pending_first])) {
        note(cg, &p->pending[p->pending_first]);
        forget(&p->pending[p->pending_first]);
        p->pending_first = (p->pending_first + 1) % CG_PROFILE_PENDING;
        p->pending_count--;
    }
}

/* Waits for half of the ring, so that the device has work left meanwhile. */
static void make_room(cg_context *cg)
{
    cg_profile *p = cg->profile;
    if (p->pending_count < CG_PROFILE_PENDING) return;
    const int middle = (p->pending_first + CG_PROFILE_PENDING / 2) % CG_PROFILE_PENDING;
    if (p->pending[middle].event) (void)CL(cg, clWaitForEvents, 1, &p->pending[middle].event);
    cg_profile_collect(cg);
    if (p->pending_count < CG_PROFILE_PENDING) return;
    drop(p, cg_nanoseconds());
    forget(&p->pending[p->pending_first]);
    p->pending_first = (p->pending_first + 1) % CG_PROFILE_PENDING;
    p->pending_count--;
}

/* `number`: where the plan remembers the kernel's, from 1. */
static cl_event *new_launch(cg_context *cg, int kernel, int *number)
{
    cg_profile *p = cg->profile;
    *number = kernel + 1;
    if (kernel < 0) {
        drop(p, cg_nanoseconds());
        return NULL;
    }
    make_room(cg);
    cg_pending_launch *launch = &p->pending[(p->pending_first + p->pending_count++) % CG_PROFILE_PENDING];
    *launch = (cg_pending_launch){.kernel = kernel};
    return &launch->event;
}

cl_event *cg_profile_step(cg_context *cg, cg_plan *plan, int number)
{
    cg_step *step = &plan->steps[number];
    const int kernel = step->profiled ? step->profiled - 1 : step_kernel(cg->profile, plan, number);
    cl_event *event = new_launch(cg, kernel, &step->profiled);
    if (!event || !step->blas) return event;
    cg_pending_launch *launch = (cg_pending_launch *)(void *)((char *)event - offsetof(cg_pending_launch, event));
    if (CL(cg, clEnqueueMarkerWithWaitList, cg->queue, 0, NULL, &launch->before) != CL_SUCCESS) launch->before = NULL;
    return event;
}

cl_event *cg_profile_share(cg_context *cg, const cg_plan *plan, cg_share *share)
{
    const int kernel = share->profiled ? share->profiled - 1 : shared_kernel(cg->profile, plan, share);
    return new_launch(cg, kernel, &share->profiled);
}

cl_event *cg_profile_joined(cg_context *cg, cg_plan *plan)
{
    const int kernel = plan->profiled ? plan->profiled - 1 : joined_kernel(cg, plan);
    return new_launch(cg, kernel, &plan->profiled);
}

/* --- the end --- */

static void write_trace(cg_context *cg)
{
    cg_profile *p = cg->profile;
    cg_profile_collect(cg);
    cg_moment last;
    if (find_moment(cg, &last) == CL_SUCCESS) p->last = last;
    cg_clear_error(cg); /* there is nobody left to read it, and a new one shall be told */
    if (!cg_trace_write(cg, cg_nanoseconds()) && (cg->log_plan || cg->log_kernels))
        fprintf(stderr, "clgrad: no trace was written: %s\n", cg_message(cg));
}

void cg_profile_close(cg_context *cg)
{
    cg_profile *p = cg->profile;
    if (!p) return;
    if (cg->queue) write_trace(cg);
    for (int i = 0; i < CG_PROFILE_PENDING; i++) forget(&p->pending[i]);
    cg_host_free(cg, p->path);
    cg_host_free(cg, p);
    cg->profile = NULL;
}

bool cg_profile_print(cg_context *cg, FILE *out)
{
    if (!cg || !cg->queue) return false;
    const cg_profile *p = cg->profile;
    if (!p) return cg_fail(cg, CG_ERROR_ARGUMENT, "profile_print: nothing was noted; CLGRAD_PROFILE names a file");
    if (!cg_wait(cg)) return false;
    cg_kernel_time *times = cg_host_allocate(cg, (size_t)(p->kernel_count + 1) * sizeof *times);
    if (!times) return false;
    for (int i = 0; i < p->kernel_count; i++) {
        const cg_profiled_kernel *k = &p->kernels[i];
        times[i] = (cg_kernel_time){.label = k->label,
                                    .count = k->count,
                                    .seconds = 1e-9 * (double)k->nanoseconds,
                                    .flop = k->flop * (double)k->count,
                                    .bytes = (double)k->bytes * (double)k->count};
    }
    const int count = cg_kernel_times_merge(times, p->kernel_count);
    cg_kernel_times_print(times, count, 1e-9 * (double)(cg_nanoseconds() - p->opened), out);
    cg_host_free(cg, times);
    return true;
}

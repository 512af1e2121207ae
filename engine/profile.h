/* The profiler: an event per launch and spans of the host's time, kept in memory of a fixed size while CLGRAD_PROFILE
 * is set, written as a trace when the context closes. Off, it costs a branch where something would be noted. */
#ifndef CLGRAD_ENGINE_PROFILE_H
#define CLGRAD_ENGINE_PROFILE_H

#include "engine/plan.h"

enum {
    CG_PROFILE_RECORDS = 1 << 18, /* launches and spans in a trace */
    CG_PROFILE_KERNELS = 1 << 13,
    CG_PROFILE_TEXT = 1 << 20, /* bytes of all labels */
    CG_PROFILE_PENDING = 1024  /* launches whose events have not been looked at */
};

/* What the host does. Spans lie within each other: a program is built while a plan is made. */
typedef enum cg_span {
    CG_SPAN_FIND,
    CG_SPAN_MAKE,
    CG_SPAN_BUILD,
    CG_SPAN_BIND,
    CG_SPAN_ENQUEUE,
    CG_SPAN_WAIT,
    CG_SPANS
} cg_span;

/* A step of a plan, or all of them joined, under every plan of that key. */
typedef struct cg_profiled_kernel {
    uint64_t key[2];
    int step;          /* -1: joined; -2 - n: the share whose first step is n */
    const char *label; /* in the profile's text */
    int64_t items[3], bytes;
    double flop;
    int64_t count, nanoseconds; /* of all launches, those that found no room among the records too */
} cg_profiled_kernel;

/* Nanoseconds: by the device's clock for a launch, by the host's for a span. */
typedef struct cg_profile_record {
    int64_t begin, length;
    int what; /* number of a kernel, or -1 - cg_span */
} cg_profile_record;

typedef struct cg_pending_launch {
    cl_event before; /* of CLBlast, whose event is that of its last kernel: when it could begin; else NULL */
    cl_event event;  /* NULL: was not enqueued */
    int kernel;
} cg_pending_launch;

/* The same moment by two clocks, nanoseconds. */
typedef struct cg_moment {
    int64_t host, device;
} cg_moment;

typedef struct cg_profile {
    char *path;
    int64_t opened;  /* by the host's clock */
    int64_t covered; /* up to where nothing was dropped, or INT64_MAX */
    int64_t dropped;
    cg_moment first, last; /* after opening, before closing */
    cg_pending_launch pending[CG_PROFILE_PENDING];
    int pending_first, pending_count;
    int kernel_count, text_length, record_count;
    int record_limit; /* CG_PROFILE_RECORDS; tests make it smaller */
    cg_profiled_kernel kernels[CG_PROFILE_KERNELS];
    char text[CG_PROFILE_TEXT];
    cg_profile_record records[CG_PROFILE_RECORDS];
} cg_profile;

/* Reads the environment; before the queue is made. False after reporting a path that cannot be written. */
bool cg_profile_open(cg_context *cg);
/* Relates the device's clock to the host's; once the queue is there. False after reporting. */
bool cg_profile_start(cg_context *cg);
/* Writes the trace. What goes wrong is printed if CLGRAD_LOG is set. The queue must have run empty. */
void cg_profile_close(cg_context *cg);

/* A launch to be: where its event goes. NULL if there is no room left for its kind. */
cl_event *cg_profile_step(cg_context *cg, cg_plan *plan, int step);
cl_event *cg_profile_share(cg_context *cg, const cg_plan *plan, struct cg_share *share);
cl_event *cg_profile_joined(cg_context *cg, cg_plan *plan);

/* Notes the launches that are done, and gives their events back. */
void cg_profile_collect(cg_context *cg);

int64_t cg_nanoseconds(void);
void cg_profile_span(cg_context *cg, cg_span span, int64_t begin);

/* const int64_t begin = cg_span_begin(cg); ... cg_span_end(cg, CG_SPAN_WAIT, begin); */
static inline int64_t cg_span_begin(const cg_context *cg)
{
    return cg->profile ? cg_nanoseconds() : 0;
}

static inline void cg_span_end(cg_context *cg, cg_span span, int64_t begin)
{
    if (cg->profile) cg_profile_span(cg, span, begin);
}

/* trace.c: the whole trace to a file that takes the place of the path. False after reporting. */
bool cg_trace_write(cg_context *cg, int64_t closed);

/* A time of the device's clock by the host's. */
int64_t cg_profile_on_host(const cg_profile *profile, int64_t device);

#endif

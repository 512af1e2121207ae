/* The trace as a file: an array of JSON objects in the trace event format, which Perfetto and chrome://tracing open.
 * Host and device are two tracks on the host's monotonic clock, in microseconds since the context was opened. */
#include "engine/profile.h"
#include <clgrad/file.h>

#include <stdio.h>

enum { HOST_TRACK = 1, DEVICE_TRACK = 2, TRACE_VERSION = 1 };

static const char *const span_names[CG_SPANS] = {"find plan", "make plan", "build program", "bind", "enqueue", "wait"};

/* In parts as long as they come without a character that JSON has otherwise. */
static void print_string(cg_output_file *file, const char *text)
{
    cg_output_file_write(file, "\"", 1);
    for (size_t plain; *text; text += plain) {
        for (plain = 0; (unsigned char)text[plain] >= ' ' && text[plain] != '"' && text[plain] != '\\';) plain++;
        cg_output_file_write(file, text, plain);
        if (!text[plain]) break;
        cg_output_file_print(file, "\\u%04x", (unsigned)(unsigned char)text[plain++]);
    }
    cg_output_file_write(file, "\"", 1);
}

/* Microseconds, all digits, whatever the locale's decimal point is. */
static void print_time(cg_output_file *file, const char *field, int64_t nanoseconds)
{
    if (nanoseconds < 0) nanoseconds = 0; /* what the clocks disagree by at the very beginning */
    cg_output_file_print(file, "\"%s\":%lld.%03d", field, (long long)(nanoseconds / 1000), (int)(nanoseconds % 1000));
}

static void print_track(cg_output_file *file, int track, const char *name)
{
    cg_output_file_print(file,
                         "{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":1,\"tid\":%d,\"args\":{\"name\":\"%s\"}},\n",
                         track, name);
}

static void print_head(cg_output_file *file, const cg_context *cg, int64_t closed)
{
    const cg_profile *p = cg->profile;
    cg_output_file_print(file, "[\n{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":1,\"args\":{\"name\":");
    print_string(file, cg->info.name);
    cg_output_file_print(file, "}},\n");
    print_track(file, HOST_TRACK, "host");
    print_track(file, DEVICE_TRACK, "device");
    cg_output_file_print(file, "{\"name\":\"clgrad_trace\",\"ph\":\"M\",\"pid\":1,\"args\":{\"version\":%d,",
                         TRACE_VERSION);
    print_time(file, "wall_us", closed - p->opened);
    cg_output_file_print(file, ",");
    print_time(file, "covered_us", (p->covered < closed ? p->covered : closed) - p->opened);
    cg_output_file_print(file, ",\"dropped\":%lld}}", (long long)p->dropped);
}

static void print_span(cg_output_file *file, const cg_profile *p, const cg_profile_record *r)
{
    cg_output_file_print(file, ",\n{\"name\":\"%s\",\"cat\":\"host\",\"ph\":\"X\",\"pid\":1,\"tid\":%d,",
                         span_names[-1 - r->what], HOST_TRACK);
    print_time(file, "ts", r->begin - p->opened);
    cg_output_file_print(file, ",");
    print_time(file, "dur", r->length);
    cg_output_file_print(file, "}");
}

static void print_launch(cg_output_file *file, const cg_profile *p, const cg_profile_record *r)
{
    const cg_profiled_kernel *k = &p->kernels[r->what];
    cg_output_file_print(file, ",\n{\"name\":");
    print_string(file, k->label);
    cg_output_file_print(file, ",\"cat\":\"kernel\",\"ph\":\"X\",\"pid\":1,\"tid\":%d,", DEVICE_TRACK);
    print_time(file, "ts", cg_profile_on_host(p, r->begin) - p->opened);
    cg_output_file_print(file, ",");
    print_time(file, "dur", r->length);
    cg_output_file_print(file,
                         ",\"args\":{\"plan\":\"%016llx\",\"step\":%d,\"items\":[%lld,%lld,%lld],\"bytes\":%lld,"
                         "\"flop\":%.0f}}",
                         (unsigned long long)k->key[0], k->step < -1 ? -2 - k->step : k->step, (long long)k->items[0],
                         (long long)k->items[1], (long long)k->items[2], (long long)k->bytes, k->flop);
}

bool cg_trace_write(cg_context *cg, int64_t closed)
{
    const cg_profile *p = cg->profile;
    cg_output_file *file = cg_output_file_new(cg, p->path);
    if (!file) return false;
    print_head(file, cg, closed);
    for (int i = 0; i < p->record_count; i++)
        (p->records[i].what < 0 ? print_span : print_launch)(file, p, &p->records[i]);
    cg_output_file_print(file, "\n]\n");
    return cg_output_file_commit(file);
}

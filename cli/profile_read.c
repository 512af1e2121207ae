/* Reads a trace that a context has written: an array of trace events, of which those of kernels count, and one that
 * says whose trace it is and of what time. */
#include "profile.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { TRACE_VERSION = 1 };

static bool complain(const char *path, const char *what)
{
    fprintf(stderr, "clgrad profile: %s: %s\n", path, what);
    return false;
}

static const char *text_of(const json_t *event, const char *field)
{
    const char *text = json_string_value(json_object_get(event, field));
    return text ? text : "";
}

/* A number that is there and not negative. */
static bool take_number(const json_t *object, const char *field, double *number)
{
    const json_t *value = json_object_get(object, field);
    *number = json_number_value(value);
    return json_is_number(value) && *number >= 0;
}

static bool read_head(const json_t *events, trace *result)
{
    size_t i;
    const json_t *event;
    json_array_foreach(events, i, event)
    {
        double version, dropped;
        const json_t *head = json_object_get(event, "args");
        if (strcmp(text_of(event, "name"), "clgrad_trace") != 0) continue;
        if (!take_number(head, "version", &version) || version != TRACE_VERSION ||
            !take_number(head, "wall_us", &result->wall_seconds) ||
            !take_number(head, "covered_us", &result->covered_seconds) || !take_number(head, "dropped", &dropped))
            return false;
        result->wall_seconds *= 1e-6;
        result->covered_seconds *= 1e-6;
        result->dropped = (long long)dropped;
        return true;
    }
    return false;
}

static bool read_launch(const json_t *event, cg_kernel_time *time)
{
    const json_t *arguments = json_object_get(event, "args");
    double begin, microseconds;
    *time = (cg_kernel_time){.label = json_string_value(json_object_get(event, "name")), .count = 1};
    const bool whole = time->label && take_number(event, "ts", &begin) && take_number(event, "dur", &microseconds) &&
                       take_number(arguments, "bytes", &time->bytes) && take_number(arguments, "flop", &time->flop);
    if (whole) time->seconds = 1e-6 * microseconds;
    return whole;
}

static bool read_launches(const char *path, const json_t *events, trace *result)
{
    size_t i;
    const json_t *event;
    result->times = calloc(json_array_size(events) + 1, sizeof *result->times);
    if (!result->times) return complain(path, "no memory for its events");
    json_array_foreach(events, i, event)
    {
        if (strcmp(text_of(event, "cat"), "kernel") != 0) continue;
        if (!read_launch(event, &result->times[result->count++])) {
            fprintf(stderr, "clgrad profile: %s: event %zu is no launch of a kernel\n", path, i);
            return false;
        }
    }
    return true;
}

bool trace_read(const char *path, trace *result)
{
    json_error_t error;
    *result = (trace){.json = json_load_file(path, 0, &error)};
    if (!result->json && error.line < 0) return complain(path, error.text);
    if (!result->json) {
        fprintf(stderr, "clgrad profile: %s:%d: %s\n", path, error.line, error.text);
        return false;
    }
    if (!read_head(result->json, result))
        return complain(path, "not a trace of clgrad, or of another version: CLGRAD_PROFILE=FILE makes one");
    return read_launches(path, result->json, result);
}

void trace_free(trace *result)
{
    free(result->times);
    json_decref(result->json);
}

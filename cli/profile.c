/* `clgrad profile`: shows where the device's time went in a run with CLGRAD_PROFILE, as a table or as JSON. */
#include "profile.h"
#include "arguments.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "Usage: clgrad profile FILE [--json]\n"
    "\n"
    "Sums up a trace that a program has written with CLGRAD_PROFILE=FILE in its environment: the device's time per\n"
    "kernel, which is named by the ops in it, and how busy the device was. The file itself opens in\n"
    "https://ui.perfetto.dev and chrome://tracing.\n"
    "\n"
    "  --json   one JSON object instead of a table\n"
    "\n"
    "GFLOP/s counts every floating-point op of the graph once per element, and 2mnk for a matrix product; GB/s counts\n"
    "every tensor that a kernel reads or writes once. The exit status is 1 for a file that cannot be read, 2 for\n"
    "arguments that mean nothing.\n";

/* 1e-9 * amount / seconds; null where there is nothing to tell. */
static json_t *rate(double amount, double seconds)
{
    return amount > 0 && seconds > 0 ? json_real(1e-9 * amount / seconds) : json_null();
}

static json_t *kernel_object(const cg_kernel_time *time, double all_seconds)
{
    return json_pack("{s:s, s:I, s:f, s:f, s:f, s:o, s:o}", "kernel", time->label, "count", (json_int_t)time->count,
                     "total_us", 1e6 * time->seconds, "mean_us", 1e6 * time->seconds / (double)time->count, "share",
                     all_seconds > 0 ? time->seconds / all_seconds : 0, "gflops", rate(time->flop, time->seconds),
                     "gbps", rate(time->bytes, time->seconds));
}

static int print_json(const trace *t, int kinds)
{
    double seconds = 0;
    json_t *kernels = json_array();
    for (int i = 0; i < kinds; i++) seconds += t->times[i].seconds;
    for (int i = 0; i < kinds; i++) json_array_append_new(kernels, kernel_object(&t->times[i], seconds));
    json_t *all = json_pack("{s:f, s:f, s:f, s:I, s:o}", "wall_us", 1e6 * t->wall_seconds, "covered_us",
                            1e6 * t->covered_seconds, "busy", t->covered_seconds > 0 ? seconds / t->covered_seconds : 0,
                            "dropped", (json_int_t)t->dropped, "kernels", kernels);
    const bool printed = all && json_dumpf(all, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) == 0;
    json_decref(all);
    printf("\n");
    return printed ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int show(const char *path, bool json)
{
    trace t;
    int status = EXIT_FAILURE;
    if (trace_read(path, &t)) {
        const int kinds = cg_kernel_times_merge(t.times, t.count);
        status = EXIT_SUCCESS;
        if (json)
            status = print_json(&t, kinds);
        else
            cg_kernel_times_print(t.times, kinds, t.covered_seconds, stdout);
        if (t.dropped > 0)
            fprintf(stderr, "clgrad profile: the trace was full after %.3f s of %.3f: %lld events are not in it\n",
                    t.covered_seconds, t.wall_seconds, t.dropped);
    }
    trace_free(&t);
    return status;
}

static int misuse(const char *what, const char *argument)
{
    fprintf(stderr, "clgrad profile: %s%s; see clgrad profile --help\n", what, argument);
    return EXIT_USAGE;
}

int profile_command(char **arguments)
{
    const char *path = NULL;
    bool json = false;
    for (; *arguments; arguments++) {
        if (strcmp(*arguments, "--help") == 0) {
            fputs(usage, stdout);
            return EXIT_SUCCESS;
        }
        if (strcmp(*arguments, "--json") == 0)
            json = true;
        else if (**arguments == '-')
            return misuse("an option that it has not: ", *arguments);
        else if (path)
            return misuse("one file at a time, not also ", *arguments);
        else
            path = *arguments;
    }
    return path ? show(path, json) : misuse("a file is missing", "");
}

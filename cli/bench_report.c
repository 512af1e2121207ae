/* Writes results to standard output, a line at a time and flushed, so that a long run can be watched. The roofline
 * figure is the larger of the shares of the device's two limits; where a cache holds the operands it can exceed 1. */
#include "bench_report.h"

#include <stdio.h>

static double gflops_of(const bench_result *r)
{
    return 1e-9 * r->flop / r->time.median;
}

static double gbps_of(const bench_result *r)
{
    return 1e-9 * r->traffic / r->time.median;
}

static double roofline_of(const bench_result *r, const device_limits *limits)
{
    const double compute = gflops_of(r) / limits->gflops, memory = gbps_of(r) / limits->gbps;
    return compute > memory ? compute : memory;
}

void bench_table_head(const cg_context *cg, cg_dtype dtype, const device_limits *limits)
{
    printf("%s, %s: multiply-adds %.1f GFLOP/s, copy %.1f GB/s\n\n", cg_device(cg)->name, cg_dtype_name(dtype),
           limits->gflops, limits->gbps);
    printf("%-12s %-30s %12s %12s %7s %9s %8s %6s %9s\n", "case", "shape", "median us", "best us", "spread", "GFLOP/s",
           "GB/s", "passes", "roofline");
    fflush(stdout);
}

void bench_table_row(const bench_case *c, const bench_result *r, const device_limits *limits)
{
    printf("%-12s %-30s %12.1f %12.1f %6.1f%% %9.2f %8.2f %6d %8.1f%%", c->kind->name, c->shape, 1e6 * r->time.median,
           1e6 * r->time.best, 100 * r->time.spread, gflops_of(r), gbps_of(r), r->passes, 100 * roofline_of(r, limits));
    if (c->kind->step)
        printf("   host %.1f us, %lld kernels, %.2f MB needed (bound %.2f), %.2f held, first step %.1f ms",
               1e6 * r->step.host, (long long)r->step.kernels, 1e-6 * (double)r->step.needed.peak,
               1e-6 * (double)r->step.needed.bound, 1e-6 * (double)r->step.device_bytes, 1e3 * r->step.first_step);
    printf("\n");
    fflush(stdout);
}

/* Case and shape are words and numbers; a device's name may be anything. */
static void print_escaped(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        const unsigned char character = (unsigned char)*text;
        if (character == '"' || character == '\\')
            printf("\\%c", character);
        else if (character < ' ')
            printf("\\u%04x", character);
        else
            putchar(character);
    }
    putchar('"');
}

void bench_json_line(const cg_context *cg, const bench_case *c, const bench_result *r, const device_limits *limits)
{
    printf("{\"case\": \"%s\", \"shape\": \"%s\", \"dtype\": \"%s\", \"median_us\": %.3f, \"best_us\": %.3f, "
           "\"spread\": %.4f, \"samples\": %d, \"repetitions\": %d, \"gflops\": %.3f, \"gbps\": %.3f, "
           "\"passes\": %d, \"roofline\": %.4f, \"peak_gflops\": %.1f, \"peak_gbps\": %.1f, ",
           c->kind->name, c->shape, cg_dtype_name(c->dtype), 1e6 * r->time.median, 1e6 * r->time.best, r->time.spread,
           r->time.samples, r->time.repetitions, gflops_of(r), gbps_of(r), r->passes, roofline_of(r, limits),
           limits->gflops, limits->gbps);
    if (c->kind->step)
        printf("\"host_us\": %.2f, \"kernels\": %lld, \"memory_needed\": %lld, \"memory_bound\": %lld, "
               "\"device_bytes\": %lld, \"first_step_us\": %.0f, ",
               1e6 * r->step.host, (long long)r->step.kernels, (long long)r->step.needed.peak,
               (long long)r->step.needed.bound, (long long)r->step.device_bytes, 1e6 * r->step.first_step);
    printf("\"device\": ");
    print_escaped(cg_device(cg)->name);
    printf("}\n");
    fflush(stdout);
}

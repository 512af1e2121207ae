/* Times by label: merging them and printing the table. Used by the context's own profile and, on a trace read from a
 * file, by the command `clgrad profile`. */
#include <clgrad/profile.h>

#include <stdlib.h>
#include <string.h>

static int by_label(const void *a, const void *b)
{
    return strcmp(((const cg_kernel_time *)a)->label, ((const cg_kernel_time *)b)->label);
}

/* Ties by label, so that a table does not depend on the order in which its rows came. */
static int by_seconds(const void *a, const void *b)
{
    const double x = ((const cg_kernel_time *)a)->seconds, y = ((const cg_kernel_time *)b)->seconds;
    return x != y ? (x < y) - (x > y) : by_label(a, b);
}

int cg_kernel_times_merge(cg_kernel_time *times, int count)
{
    int merged = 0;
    if (count <= 0) return 0;
    qsort(times, (size_t)count, sizeof *times, by_label);
    for (int i = 1; i < count; i++) {
        cg_kernel_time *into = &times[merged];
        if (strcmp(into->label, times[i].label) != 0) {
            times[++merged] = times[i];
            continue;
        }
        into->count += times[i].count;
        into->seconds += times[i].seconds;
        into->flop += times[i].flop;
        into->bytes += times[i].bytes;
    }
    merged++;
    qsort(times, (size_t)merged, sizeof *times, by_seconds);
    return merged;
}

/* 1e-9 * amount / seconds, or a dash where there is nothing to tell. */
static void print_rate(double amount, double seconds, FILE *out)
{
    if (amount > 0 && seconds > 0)
        fprintf(out, " %9.2f", 1e-9 * amount / seconds);
    else
        fprintf(out, " %9s", "-");
}

void cg_kernel_times_print(const cg_kernel_time *times, int count, double wall_seconds, FILE *out)
{
    double seconds = 0;
    int64_t launches = 0;
    for (int i = 0; i < count; i++) {
        seconds += times[i].seconds;
        launches += times[i].count;
    }
    fprintf(out, "device busy %.1f %% of %.3f s: %lld launches, %d kinds of kernel, %.3f s\n\n",
            wall_seconds > 0 ? 100 * seconds / wall_seconds : 0.0, wall_seconds, (long long)launches, count, seconds);
    fprintf(out, "%12s %7s %9s %11s %9s %9s  %s\n", "ms", "share", "count", "mean us", "GFLOP/s", "GB/s", "kernel");
    for (int i = 0; i < count; i++) {
        const cg_kernel_time *t = &times[i];
        fprintf(out, "%12.3f %6.1f%% %9lld %11.2f", 1e3 * t->seconds, seconds > 0 ? 100 * t->seconds / seconds : 0.0,
                (long long)t->count, t->count > 0 ? 1e6 * t->seconds / (double)t->count : 0.0);
        print_rate(t->flop, t->seconds, out);
        print_rate(t->bytes, t->seconds, out);
        fprintf(out, "  %s\n", t->label);
    }
}

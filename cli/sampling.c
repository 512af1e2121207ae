/* Takes samples: the number of repetitions is such that a block takes some 30 ms, so that neither the clock nor the one
 * wait at a block's end counts; slow cases are sampled less often. */
#include "sampling.h"

#include <stdlib.h>

enum { MOST_SAMPLES = 15, LEAST_SAMPLES = 5, QUICK_SAMPLES = 3, MOST_REPETITIONS = 20000 };

static const double block_seconds = 0.030, quick_block_seconds = 0.001, most_seconds = 4;

double seconds_on(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double median_of(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, by_value);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/* Repetitions that take about `wanted` seconds; 0 after an error. */
static int find_repetitions(timed_block block, void *user, double wanted)
{
    int repetitions = 1;
    if (block(user, 1) < 0) return 0;
    for (;;) {
        const double seconds = block(user, repetitions);
        if (seconds < 0) return 0;
        if (seconds > 0.7 * wanted || repetitions == MOST_REPETITIONS) return repetitions;
        /* A first guess may be far off: what runs once is not yet warm. */
        double factor = wanted / (seconds > 1e-9 ? seconds : 1e-9);
        if (factor > 10) factor = 10;
        const int next = (int)(factor * repetitions);
        repetitions = next <= repetitions ? repetitions + 1 : next > MOST_REPETITIONS ? MOST_REPETITIONS : next;
    }
}

bool sample(timed_block block, void *user, bool quick, statistics *result)
{
    double seconds[MOST_SAMPLES], total = 0;
    const int most = quick ? QUICK_SAMPLES : MOST_SAMPLES;
    const int repetitions = find_repetitions(block, user, quick ? quick_block_seconds : block_seconds);
    int count = 0;
    if (repetitions == 0) return false;
    while (count < most && (count < LEAST_SAMPLES || total < most_seconds)) {
        const double taken = block(user, repetitions);
        if (taken < 0) return false;
        total += taken;
        seconds[count++] = taken / repetitions;
    }
    const double median = median_of(seconds, count);
    *result = (statistics){.median = median,
                           .best = seconds[0],
                           .spread = (seconds[count - 1 - count / 4] - seconds[count / 4]) / median,
                           .samples = count,
                           .repetitions = repetitions};
    return true;
}

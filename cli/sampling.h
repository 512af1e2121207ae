/* How times are taken: blocks of repetitions long enough for the clock, several of them, and what is said of them. */
#ifndef CLGRAD_CLI_SAMPLING_H
#define CLGRAD_CLI_SAMPLING_H

#include <stdbool.h>
#include <time.h>

typedef struct statistics {
    double median, best; /* seconds of one repetition */
    double spread;       /* the middle half of the samples: the distance of its ends, as a share of the median */
    int samples, repetitions;
} statistics;

/* Runs so many repetitions and waits for them; the seconds that took, negative after an error. */
typedef double (*timed_block)(void *user, int repetitions);

double seconds_on(clockid_t clock);
/* Sorts the values. */
double median_of(double *values, int count);
/* Runs blocks: one to warm up, some to find the number of repetitions, then those that count. `quick`: few and short.
 * False after an error of the block's. */
bool sample(timed_block block, void *user, bool quick, statistics *result);

#endif

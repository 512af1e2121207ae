/* Where the device's time goes: the profile that a context keeps while CLGRAD_PROFILE is set, and the table that it is
 * shown as. docs/profiling.md tells how to read both. */
#ifndef CLGRAD_PROFILE_H
#define CLGRAD_PROFILE_H

#include <clgrad/context.h>
#include <stdio.h>

CG_BEGIN

/* Launches under one label, the ops that their kernels compute; or a single one. */
typedef struct cg_kernel_time {
    const char *label;
    int64_t count;  /* launches */
    double seconds; /* on the device, all launches together */
    double flop;    /* floating-point operations in all: every op of the graph counts as one for each element, a matrix
                     * product as 2 m n k; 0: not known */
    double bytes;   /* read and written in all, each tensor once per launch */
} cg_kernel_time;

/* Makes one of those that have the same label and sorts by seconds, the longest first, in place. Returns how many there
 * are then. Labels are not copied. */
CG_API int cg_kernel_times_merge(cg_kernel_time *times, int count);

/* Prints a table, in the order given, under a line on how long the device was busy of `wall_seconds`. */
CG_API void cg_kernel_times_print(const cg_kernel_time *times, int count, double wall_seconds, FILE *out);

/* Waits for the device and prints the time per kernel since the context was opened. The context must have been opened
 * with CLGRAD_PROFILE set, otherwise: CG_ERROR_ARGUMENT. False with a message on an error. */
CG_API bool cg_profile_print(cg_context *cg, FILE *out);

CG_END
#endif

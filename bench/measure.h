/* What the benchmark programs share: clocks, medians, and the device's own limit of multiply-adds, measured through
 * OpenCL in the same run as everything that is compared with it. */
#ifndef CLGRAD_BENCH_MEASURE_H
#define CLGRAD_BENCH_MEASURE_H

#include "engine/context.h"
#include <stdlib.h>
#include <time.h>

static inline double seconds_on(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static inline int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts the samples: the first is then the best. */
static inline double median_of(double *samples, int count)
{
    qsort(samples, (size_t)count, sizeof *samples, by_value);
    return samples[count / 2];
}

/* Chains of dependent multiply-adds, sixteen side by side in each work-item. */
static const char *const peak_source =
    "#define EACH(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(a) X(b) X(c) X(d) X(e) X(f)\n"
    "__kernel void peak(__global float *out, int steps)\n"
    "{\n"
    "    const float16 factor = out[get_global_id(0)];\n"
    "#define START(n) float16 x##n = 0x0.##n##p0f;\n"
    "#define STEP(n) x##n = fma(x##n, factor, factor);\n"
    "#define SUM(n) total += x##n;\n"
    "    EACH(START)\n"
    "    for (int i = 0; i < steps; i++) { EACH(STEP) }\n"
    "    float16 total = 0;\n"
    "    EACH(SUM)\n"
    "    if (total.s0 + total.s7 + total.sf == 0.12345f) out[get_global_id(0)] = 0;\n"
    "}\n";

/* GFLOP/s of multiply-adds in f32: the best of a few runs, as it is a limit. 0 on an error. */
static inline double peak_gflops(cg_context *cg)
{
    enum { ITEMS = 64, STEPS = 60000, RUNS = 7 };
    float seeds[ITEMS];
    double best = 0;
    const int steps = STEPS;
    const size_t items = ITEMS, one = 1;
    for (int i = 0; i < ITEMS; i++) seeds[i] = 0.5f;
    cl_program program = clCreateProgramWithSource(cg->cl, 1, (const char **)&peak_source, NULL, NULL);
    if (!program || clBuildProgram(program, 1, &cg->device, "", NULL, NULL) != CL_SUCCESS) return 0;
    cl_kernel kernel = clCreateKernel(program, "peak", NULL);
    cl_mem out = clCreateBuffer(cg->cl, CL_MEM_COPY_HOST_PTR, sizeof seeds, seeds, NULL);
    clSetKernelArg(kernel, 0, sizeof out, &out);
    clSetKernelArg(kernel, 1, sizeof steps, &steps);
    for (int r = 0; r < RUNS; r++) {
        const double start = seconds_on(CLOCK_MONOTONIC);
        clEnqueueNDRangeKernel(cg->queue, kernel, 1, NULL, &items, &one, 0, NULL, NULL);
        clFinish(cg->queue);
        const double gflops = (double)ITEMS * STEPS * 16 * 16 * 2 / (seconds_on(CLOCK_MONOTONIC) - start) / 1e9;
        if (gflops > best) best = gflops;
    }
    clReleaseMemObject(out);
    clReleaseKernel(kernel);
    clReleaseProgram(program);
    return best;
}

#endif

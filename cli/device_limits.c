/* The multiply-add peak and the copy bandwidth of a device, by two small kernels and the driver's own copy, on a
 * queue beside the context's. The best of several runs counts, as these are limits. */
#include "device_limits.h"

#include "sampling.h"
#include <clgrad/interop.h>
#include <stdio.h>

enum { CHAINS = 16, RUNS = 4, QUICK_RUNS = 2, COPY_MIB = 256, QUICK_COPY_MIB = 16 };

/* VECTOR is the widest vector that the device computes on at once, NUMBER its element. `peak`: chains of dependent
 * multiply-adds, sixteen side by side in each work-item. `copy`: one COPIED per work-item,
 * on CPUs stored past the caches, as the library's kernels store what is large. */
static const char source[] = "#ifdef USE_DOUBLE\n"
                             "#pragma OPENCL EXTENSION cl_khr_fp64 : enable\n"
                             "#endif\n"
                             "#define EACH(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) \\\n"
                             "    X(10) X(11) X(12) X(13) X(14) X(15)\n"
                             "__kernel void peak(__global VECTOR *out, int steps)\n"
                             "{\n"
                             "    const VECTOR factor = out[get_global_id(0)];\n"
                             "#define START(n) VECTOR x##n = factor * (NUMBER)n;\n"
                             "#define STEP(n) x##n = fma(x##n, factor, factor);\n"
                             "#define SUM(n) total += x##n;\n"
                             "    EACH(START)\n"
                             "    for (int i = 0; i < steps; i++) { EACH(STEP) }\n"
                             "    VECTOR total = 0;\n"
                             "    EACH(SUM)\n"
                             "    out[get_global_id(0)] = total * (NUMBER)1e-30;\n"
                             "}\n"
                             "#if defined(ON_CPU) && defined(__has_builtin)\n"
                             "#if __has_builtin(__builtin_nontemporal_store)\n"
                             "#define STORE(value, to) __builtin_nontemporal_store(value, to)\n"
                             "#endif\n"
                             "#endif\n"
                             "#ifndef STORE\n"
                             "#define STORE(value, to) *(to) = (value)\n"
                             "#endif\n"
                             "__kernel void copy(__global const COPIED *from, __global COPIED *to)\n"
                             "{\n"
                             "    STORE(from[get_global_id(0)], to + get_global_id(0));\n"
                             "}\n";

typedef struct device {
    cg_context *cg;
    cl_context context;
    cl_device_id id;
    cl_command_queue queue;
    cl_program program;
    cg_dtype dtype;
    int lanes, runs; /* lanes of VECTOR */
    size_t copied_bytes;
} device;

static bool fails(cl_int status, const char *what)
{
    if (status != CL_SUCCESS) fprintf(stderr, "clgrad: %s failed with OpenCL error %d\n", what, (int)status);
    return status != CL_SUCCESS;
}

static bool build_program(device *d)
{
    const bool doubles = d->dtype == CG_F64;
    const char *number = doubles ? "double" : "float", *text = source;
    const bool is_gpu = cg_device(d->cg)->is_gpu;
    char options[128], lanes[8] = "";
    cl_uint width = 1;
    cl_int status = clGetDeviceInfo(
        d->id, doubles ? CL_DEVICE_NATIVE_VECTOR_WIDTH_DOUBLE : CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, sizeof width,
        &width, NULL);
    if (fails(status, "clGetDeviceInfo")) return false;
    d->lanes = width >= 16 ? 16 : width >= 8 ? 8 : width >= 4 ? 4 : width >= 2 ? 2 : 1;
    if (d->lanes > 1) snprintf(lanes, sizeof lanes, "%d", d->lanes);
    d->copied_bytes = is_gpu ? sizeof(cl_float4) : sizeof(cl_float16);
    snprintf(options, sizeof options, "-DNUMBER=%s -DVECTOR=%s%s%s%s", number, number, lanes,
             doubles ? " -DUSE_DOUBLE" : "", is_gpu ? " -DCOPIED=float4" : " -DCOPIED=float16 -DON_CPU");
    d->program = clCreateProgramWithSource(d->context, 1, &text, NULL, &status);
    return !fails(status, "clCreateProgramWithSource") &&
           !fails(clBuildProgram(d->program, 1, &d->id, options, NULL, NULL), "clBuildProgram");
}

/* Seconds that one launch takes; negative after an error. */
static double time_launch(const device *d, cl_kernel kernel, size_t items)
{
    const double start = seconds_on(CLOCK_MONOTONIC);
    if (fails(clEnqueueNDRangeKernel(d->queue, kernel, 1, NULL, &items, NULL, 0, NULL, NULL), "a kernel") ||
        fails(clFinish(d->queue), "clFinish"))
        return -1;
    return seconds_on(CLOCK_MONOTONIC) - start;
}

/* Launches with more and more steps until one takes 5 ms, then a few of that size. */
static double peak_of(const device *d, cl_kernel kernel, size_t items)
{
    double best = 0;
    for (int steps = 1024, run = 0; run < d->runs;) {
        if (fails(clSetKernelArg(kernel, 1, sizeof steps, &steps), "clSetKernelArg")) return 0;
        const double seconds = time_launch(d, kernel, items);
        if (seconds < 0) return 0;
        if (seconds < 0.005 && steps < 1 << 24) {
            steps *= 2;
            continue;
        }
        const double gflops = 2e-9 * (double)items * d->lanes * CHAINS * steps / seconds;
        if (gflops > best) best = gflops;
        run++;
    }
    return best;
}

static double measure_peak(const device *d)
{
    cl_int status;
    const cg_device_info *info = cg_device(d->cg);
    const size_t items = (size_t)info->compute_units * (info->is_gpu ? 2048 : 32);
    const float half = 0.5f;
    const double half_double = 0.5;
    const bool doubles = d->dtype == CG_F64;
    const size_t bytes = items * (size_t)d->lanes * cg_dtype_bytes(d->dtype);
    cl_kernel kernel = clCreateKernel(d->program, "peak", &status);
    if (fails(status, "clCreateKernel")) return 0;
    cl_mem memory = clCreateBuffer(d->context, CL_MEM_READ_WRITE, bytes, NULL, &status);
    double result = 0;
    if (!fails(status, "clCreateBuffer")) {
        const void *pattern = doubles ? (const void *)&half_double : (const void *)&half;
        if (!fails(clEnqueueFillBuffer(d->queue, memory, pattern, cg_dtype_bytes(d->dtype), 0, bytes, 0, NULL, NULL),
                   "clEnqueueFillBuffer") &&
            !fails(clSetKernelArg(kernel, 0, sizeof(cl_mem), (const void *)&memory), "clSetKernelArg"))
            result = peak_of(d, kernel, items);
        clReleaseMemObject(memory);
    }
    clReleaseKernel(kernel);
    return result;
}

static double time_driver_copy(const device *d, cl_mem from, cl_mem to, size_t bytes)
{
    const double start = seconds_on(CLOCK_MONOTONIC);
    if (fails(clEnqueueCopyBuffer(d->queue, from, to, 0, 0, bytes, 0, NULL, NULL), "clEnqueueCopyBuffer") ||
        fails(clFinish(d->queue), "clFinish"))
        return -1;
    return seconds_on(CLOCK_MONOTONIC) - start;
}

/* The first run of each touches the memory and is not counted. */
static double faster_copy(const device *d, cl_kernel kernel, cl_mem from, cl_mem to, size_t bytes)
{
    double best = 0;
    for (int run = 0; run <= d->runs; run++) {
        const double by_driver = time_driver_copy(d, from, to, bytes);
        const double by_kernel = time_launch(d, kernel, bytes / d->copied_bytes);
        if (by_driver < 0 || by_kernel < 0) return 0;
        const double gbps = 2e-9 * (double)bytes / (by_driver < by_kernel ? by_driver : by_kernel);
        if (run > 0 && gbps > best) best = gbps;
    }
    return best;
}

static double measure_copy(const device *d, size_t bytes)
{
    cl_int status, status_to, status_kernel;
    const cl_uchar zero = 0;
    cl_mem from = clCreateBuffer(d->context, CL_MEM_READ_WRITE, bytes, NULL, &status);
    cl_mem to = clCreateBuffer(d->context, CL_MEM_READ_WRITE, bytes, NULL, &status_to);
    cl_kernel kernel = clCreateKernel(d->program, "copy", &status_kernel);
    double result = 0;
    if (!fails(status, "clCreateBuffer") && !fails(status_to, "clCreateBuffer") &&
        !fails(status_kernel, "clCreateKernel") &&
        !fails(clEnqueueFillBuffer(d->queue, from, &zero, 1, 0, bytes, 0, NULL, NULL), "clEnqueueFillBuffer") &&
        !fails(clSetKernelArg(kernel, 0, sizeof(cl_mem), (const void *)&from), "clSetKernelArg") &&
        !fails(clSetKernelArg(kernel, 1, sizeof(cl_mem), (const void *)&to), "clSetKernelArg"))
        result = faster_copy(d, kernel, from, to, bytes);
    if (from) clReleaseMemObject(from);
    if (to) clReleaseMemObject(to);
    if (kernel) clReleaseKernel(kernel);
    return result;
}

/* Well beyond what a cache holds, but little of the device's memory. */
static size_t copy_bytes(const cg_context *cg, bool quick)
{
    const cg_device_info *info = cg_device(cg);
    int64_t bytes = (int64_t)(quick ? QUICK_COPY_MIB : COPY_MIB) << 20;
    if (bytes > info->memory_limit / 8) bytes = info->memory_limit / 8;
    if (bytes > info->largest_allocation) bytes = info->largest_allocation;
    return (size_t)bytes / 4096 * 4096;
}

bool raise_device_limits(cg_context *cg, cg_dtype dtype, bool quick, device_limits *limits)
{
    cl_int status;
    device d = {.cg = cg,
                .context = cg_opencl_context(cg),
                .id = cg_opencl_device(cg),
                .dtype = dtype == CG_F64 ? CG_F64 : CG_F32, /* f16 and bf16 are computed in f32 */
                .runs = quick ? QUICK_RUNS : RUNS};
    device_limits found = {0};
    /* Asking the context for its queue would keep kernels from overlapping. */
    d.queue = clCreateCommandQueue(d.context, d.id, 0, &status);
    if (fails(status, "clCreateCommandQueue")) return false;
    if (build_program(&d)) {
        found.gflops = measure_peak(&d);
        found.gbps = measure_copy(&d, copy_bytes(cg, quick));
    }
    if (d.program) clReleaseProgram(d.program);
    clReleaseCommandQueue(d.queue);
    if (found.gflops > limits->gflops) limits->gflops = found.gflops;
    if (found.gbps > limits->gbps) limits->gbps = found.gbps;
    return found.gflops > 0 && found.gbps > 0;
}

/* Finding and choosing an OpenCL device, probing what it can do, and making the context's queue on it. */
#include "engine/context.h"
#include "engine/queue.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_DEVICES = 64, MOST_DIMENSIONS = 16, NAME_BYTES = 256 };

typedef struct found_device {
    cl_platform_id platform;
    cl_device_id device;
    cl_device_type type;
    char name[NAME_BYTES], platform_name[NAME_BYTES];
    cl_uint units;
    cl_ulong memory;
} found_device;

static bool ask(cg_faults *faults, cl_device_id device, cl_device_info what, size_t bytes, void *out)
{
    return CL_COUNTED(faults, clGetDeviceInfo, device, what, bytes, out, NULL) == CL_SUCCESS;
}

static void ask_text(cg_faults *faults, cl_device_id device, cl_device_info what, char *out)
{
    if (!ask(faults, device, what, NAME_BYTES, out)) out[0] = '\0';
}

/* A device is used only if it says what it is and can build kernels. */
static bool is_usable(cg_faults *faults, found_device *f)
{
    cl_bool compiler = CL_FALSE;
    if (!ask(faults, f->device, CL_DEVICE_COMPILER_AVAILABLE, sizeof compiler, &compiler) || !compiler ||
        !ask(faults, f->device, CL_DEVICE_TYPE, sizeof f->type, &f->type) ||
        !ask(faults, f->device, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof f->units, &f->units) ||
        !ask(faults, f->device, CL_DEVICE_GLOBAL_MEM_SIZE, sizeof f->memory, &f->memory))
        return false;
    /* Some that run on CPUs, simulators among them, say that they are of every type. */
    if (f->type & CL_DEVICE_TYPE_CPU) f->type = CL_DEVICE_TYPE_CPU;
    return true;
}

static int find_devices(cg_faults *faults, found_device *found)
{
    cl_platform_id platforms[16];
    cl_uint platform_count = 0;
    int count = 0;
    if (CL_COUNTED(faults, clGetPlatformIDs, 16, platforms, &platform_count) != CL_SUCCESS) return 0;
    for (cl_uint p = 0; p < platform_count && p < 16; p++) {
        cl_device_id devices[MOST_DEVICES];
        cl_uint device_count = 0;
        if (CL_COUNTED(faults, clGetDeviceIDs, platforms[p], CL_DEVICE_TYPE_ALL, MOST_DEVICES, devices,
                       &device_count) != CL_SUCCESS)
            continue;
        for (cl_uint d = 0; d < device_count && d < MOST_DEVICES && count < MOST_DEVICES; d++) {
            found_device *f = &found[count];
            *f = (found_device){.platform = platforms[p], .device = devices[d]};
            if (!is_usable(faults, f)) continue;
            ask_text(faults, devices[d], CL_DEVICE_NAME, f->name);
            if (CL_COUNTED(faults, clGetPlatformInfo, platforms[p], CL_PLATFORM_NAME, NAME_BYTES, f->platform_name,
                           NULL) != CL_SUCCESS)
                f->platform_name[0] = '\0';
            count++;
        }
    }
    return count;
}

static bool contains_ignoring_case(const char *text, const char *part)
{
    const size_t n = strlen(part);
    for (; *text; text++) {
        size_t i = 0;
        while (i < n && text[i] && tolower((unsigned char)text[i]) == tolower((unsigned char)part[i])) i++;
        if (i == n) return true;
    }
    return n == 0;
}

/* GPUs before accelerators before CPUs; among equals the one with more compute units. */
static int64_t capability(const found_device *f)
{
    const int64_t kind = f->type & CL_DEVICE_TYPE_GPU ? 2 : f->type & CL_DEVICE_TYPE_ACCELERATOR ? 1 : 0;
    return kind * (INT64_C(1) << 32) + f->units;
}

static bool matches(const found_device *f, int index, const char *wanted)
{
    char *end;
    const long number = strtol(wanted, &end, 10);
    if (end != wanted && !*end && number < MOST_DEVICES) return number == index;
    if (strcmp(wanted, "gpu") == 0) return (f->type & CL_DEVICE_TYPE_GPU) != 0;
    if (strcmp(wanted, "cpu") == 0) return (f->type & CL_DEVICE_TYPE_CPU) != 0;
    return contains_ignoring_case(f->name, wanted) || contains_ignoring_case(f->platform_name, wanted);
}

static const found_device *choose(const found_device *found, int count, const char *wanted)
{
    const found_device *best = NULL;
    for (int i = 0; i < count; i++)
        if ((!wanted || matches(&found[i], i, wanted)) && (!best || capability(&found[i]) > capability(best)))
            best = &found[i];
    return best;
}

/* What the environment asks for, or NULL. */
static const char *wanted_by_environment(void)
{
    const char *device = getenv("CLGRAD_DEVICE");
    return device && *device ? device : NULL;
}

static void list_devices(const found_device *found, int count, const found_device *by_default, char *out, size_t bytes)
{
    size_t used = 0;
    if (bytes) out[0] = '\0';
    for (int i = 0; i < count && used < bytes; i++) {
        const char *kind = found[i].type & CL_DEVICE_TYPE_GPU   ? "gpu"
                           : found[i].type & CL_DEVICE_TYPE_CPU ? "cpu"
                                                                : "other";
        const int n = snprintf(out + used, bytes - used, "%d  %-5s %s (%s), %u compute units, %.1f GiB%s\n", i, kind,
                               found[i].name, found[i].platform_name, (unsigned)found[i].units,
                               (double)found[i].memory / 0x1p30, &found[i] == by_default ? ", default" : "");
        used += n > 0 ? (size_t)n : 0;
    }
}

void cg_device_list(char *out, size_t bytes)
{
    static const size_t array_bytes = MOST_DEVICES * sizeof(found_device);
    found_device *found = malloc(array_bytes);
    if (bytes) out[0] = '\0';
    if (!found) return;
    cg_faults none = {0};
    const int count = find_devices(&none, found);
    list_devices(found, count, choose(found, count, wanted_by_environment()), out, bytes);
    free(found);
}

/* Work-items along each dimension of a work-group; a device may have more than the three dimensions of the standard. */
static bool ask_sizes(cg_faults *faults, cl_device_id device, size_t sizes[3])
{
    size_t all[MOST_DIMENSIONS];
    cl_uint dimensions = 0;
    if (!ask(faults, device, CL_DEVICE_MAX_WORK_ITEM_DIMENSIONS, sizeof dimensions, &dimensions) || dimensions < 3 ||
        dimensions > MOST_DIMENSIONS ||
        !ask(faults, device, CL_DEVICE_MAX_WORK_ITEM_SIZES, dimensions * sizeof *all, all))
        return false;
    memcpy(sizes, all, 3 * sizeof *sizes);
    return true;
}

static bool is_disabled(const char *feature)
{
    return cg_environment_has("CLGRAD_DISABLE", feature);
}

/* Of the kernels for matrix products that may be used, the one that is, unless the tuner knows better. */
static void choose_gemm(cg_context *cg, bool cpu)
{
    static const cg_gemm_kernel on_cpus[] = {CG_GEMM_PACKED, CG_GEMM_TILED, CG_GEMM_CLBLAST};
    static const cg_gemm_kernel elsewhere[] = {CG_GEMM_CLBLAST, CG_GEMM_TILED, CG_GEMM_PACKED};
    if (!cg->gemm_allowed) cg->gemm_allowed = cpu ? 1u << CG_GEMM_PACKED : 1u << CG_GEMM_CLBLAST | 1u << CG_GEMM_TILED;
    for (int i = CG_GEMM_KERNELS; i-- > 0;) {
        const cg_gemm_kernel kernel = cpu ? on_cpus[i] : elsewhere[i];
        if (cg->gemm_allowed & 1u << kernel) cg->gemm = kernel;
    }
}

static bool probe(cg_context *cg, const found_device *f, int64_t limit)
{
    char driver[NAME_BYTES], extensions[8192];
    cl_ulong largest = 0, local = 0;
    size_t group = 0, items[3] = {0};
    cl_uint alignment_bits = 0, width = 1;
    cl_device_fp_config single = 0;
    cg_faults *faults = &cg->faults;
    ask_text(faults, f->device, CL_DRIVER_VERSION, driver);
    if (!ask(faults, f->device, CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof largest, &largest) ||
        !ask(faults, f->device, CL_DEVICE_LOCAL_MEM_SIZE, sizeof local, &local) ||
        !ask(faults, f->device, CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof group, &group) ||
        !ask_sizes(faults, f->device, items) ||
        !ask(faults, f->device, CL_DEVICE_MEM_BASE_ADDR_ALIGN, sizeof alignment_bits, &alignment_bits) ||
        !ask(faults, f->device, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, sizeof width, &width) ||
        !ask(faults, f->device, CL_DEVICE_SINGLE_FP_CONFIG, sizeof single, &single) ||
        !ask(faults, f->device, CL_DEVICE_EXTENSIONS, sizeof extensions, extensions))
        return cg_fail(cg, CG_ERROR_DEVICE, "clGetDeviceInfo failed for %s", f->name);
    const char *texts[3] = {f->name, f->platform_name, driver};
    for (int i = 0; i < 3; i++)
        if (!(cg->info_text[i] = cg_copy_text(cg, texts[i]))) return false;
    const bool gpu = (f->type & CL_DEVICE_TYPE_GPU) != 0;
    const int64_t memory = (int64_t)f->memory;
    cg->info = (cg_device_info){.name = cg->info_text[0],
                                .platform = cg->info_text[1],
                                .driver = cg->info_text[2],
                                .is_gpu = gpu,
                                .has_f64 = contains_ignoring_case(extensions, "cl_khr_fp64") && !is_disabled("fp64"),
                                .has_f16 = contains_ignoring_case(extensions, "cl_khr_fp16") && !is_disabled("fp16"),
                                .has_subgroups = contains_ignoring_case(extensions, "cl_khr_subgroups") &&
                                                 !is_disabled("subgroups"),
                                .compute_units = (int)f->units,
                                .memory = memory,
                                .largest_allocation = (int64_t)largest,
                                .memory_limit = limit > 0 && limit < memory ? limit : memory};
    cg->memory_alignment = alignment_bits / 8 > 64 ? alignment_bits / 8 : 64;
    /* Without vectors a CPU is treated as GPUs are. */
    const bool cpu = (f->type & CL_DEVICE_TYPE_CPU) != 0 && !is_disabled("vectors");
    cg->vector_width = !cpu ? 1 : width >= 16 ? 16 : width >= 8 ? 8 : 4;
    cg->fetches = cpu && !contains_ignoring_case(f->platform_name, "Oclgrind"); /* which has no such instruction */
    cg->local_size = cpu ? 1 : 64;
    /* CPUs divide so in any case. */
    cg->divides_exactly = !cpu && (single & CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT) != 0;
    cg->local_memory = (int64_t)local;
    cg->largest_group = (int64_t)(items[0] < group ? items[0] : group);
    choose_gemm(cg, cpu);
    return true;
}

bool cg_device_open(cg_context *cg, const char *given, int64_t memory_limit)
{
    const char *environment = given ? NULL : wanted_by_environment();
    const char *wanted = given && *given ? given : environment;
    found_device *found = cg_host_allocate(cg, MOST_DEVICES * sizeof *found);
    if (!found) return false;
    const int count = find_devices(&cg->faults, found);
    const found_device *chosen = choose(found, count, wanted);
    bool ok = false;
    cl_int status = CL_SUCCESS;
    if (count == 0) {
        cg_fail(cg, CG_ERROR_DEVICE,
                "no OpenCL device found; install a driver, or PoCL for the CPU (Debian: pocl-opencl-icd)");
    } else if (!chosen) {
        char list[CG_MESSAGE_BYTES / 2];
        list_devices(found, count, NULL, list, sizeof list);
        const size_t length = strlen(list);
        if (length) list[length - 1] = '\0'; /* a message ends without a line break */
        cg_fail(cg, CG_ERROR_DEVICE, "no OpenCL device matches \"%s\"%s; there are:\n%s", wanted,
                environment ? ", from CLGRAD_DEVICE" : "", list);
    } else if (probe(cg, chosen, memory_limit)) {
        cg->platform = chosen->platform;
        cg->device = chosen->device;
        cg->cl = CL_NEW(cg, &status, clCreateContext, NULL, 1, &cg->device, NULL, NULL);
        if (cg->cl)
            cg->queue = CL_NEW(cg, &status, clCreateCommandQueue, cg->cl, cg->device,
                               cg->profile ? CL_QUEUE_PROFILING_ENABLE : 0);
        ok = cg->queue ? true : cg_fail_cl(cg, cg->cl ? "clCreateCommandQueue" : "clCreateContext", status);
    }
    cg_host_free(cg, found);
    return ok;
}

/* The queue must be of this device and context, and in order: plans rely on it. */
static bool belongs_together(cg_context *cg, const cg_opencl *given)
{
    cl_device_id device = NULL;
    cl_context context = NULL;
    cl_command_queue_properties properties = 0;
    if (CL(cg, clGetCommandQueueInfo, given->queue, CL_QUEUE_DEVICE, sizeof device, &device, NULL) != CL_SUCCESS ||
        CL(cg, clGetCommandQueueInfo, given->queue, CL_QUEUE_CONTEXT, sizeof context, &context, NULL) != CL_SUCCESS ||
        CL(cg, clGetCommandQueueInfo, given->queue, CL_QUEUE_PROPERTIES, sizeof properties, &properties, NULL) !=
            CL_SUCCESS)
        return cg_fail(cg, CG_ERROR_DEVICE, "open_on: clGetCommandQueueInfo failed");
    if (device != given->device || context != given->context)
        return cg_fail(cg, CG_ERROR_ARGUMENT, "open_on: the queue is of another device or context");
    if (properties & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE)
        return cg_fail(cg, CG_ERROR_ARGUMENT, "open_on: the queue runs out of order");
    if (cg->profile && !(properties & CL_QUEUE_PROFILING_ENABLE))
        return cg_fail(cg, CG_ERROR_ARGUMENT, "open_on: CLGRAD_PROFILE needs a queue with CL_QUEUE_PROFILING_ENABLE");
    return true;
}

static bool describe(cg_context *cg, cl_device_id device, found_device *f)
{
    *f = (found_device){.device = device};
    ask_text(&cg->faults, device, CL_DEVICE_NAME, f->name);
    if (!is_usable(&cg->faults, f) ||
        !ask(&cg->faults, device, CL_DEVICE_PLATFORM, sizeof f->platform, (void *)&f->platform))
        return cg_fail(cg, CG_ERROR_DEVICE, "open_on: the device \"%s\" cannot be used", f->name);
    if (CL(cg, clGetPlatformInfo, f->platform, CL_PLATFORM_NAME, NAME_BYTES, f->platform_name, NULL) != CL_SUCCESS)
        f->platform_name[0] = '\0';
    return true;
}

bool cg_device_adopt(cg_context *cg, const cg_opencl *given, int64_t memory_limit)
{
    found_device f;
    if (!given->context || !given->device || !given->queue)
        return cg_fail(cg, CG_ERROR_ARGUMENT, "open_on: context, device and queue must be given");
    if (!belongs_together(cg, given) || !describe(cg, given->device, &f) || !probe(cg, &f, memory_limit)) return false;
    cg->platform = f.platform;
    cg->device = f.device;
    cl_int status = CL(cg, clRetainContext, given->context);
    if (status != CL_SUCCESS) return cg_fail_cl(cg, "clRetainContext", status);
    cg->cl = given->context;
    status = CL(cg, clRetainCommandQueue, given->queue);
    if (status != CL_SUCCESS) return cg_fail_cl(cg, "clRetainCommandQueue", status);
    cg->queue = given->queue;
    return true;
}

void cg_device_close(cg_context *cg)
{
    cg_queue_close(cg);
    if (cg->queue) clReleaseCommandQueue(cg->queue);
    if (cg->cl) clReleaseContext(cg->cl);
    cg->queue = NULL;
    cg->cl = NULL;
    for (int i = 0; i < 3; i++) cg_host_free(cg, cg->info_text[i]);
    memset(cg->info_text, 0, sizeof cg->info_text);
    cg->info = (cg_device_info){.name = "", .platform = "", .driver = ""};
}

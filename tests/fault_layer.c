/* A layer between the OpenCL loader and the driver, in which one call fails without being made. It sees the calls of
 * CLBlast too, and those that release objects, which the engine's own count leaves out. Loaded by OPENCL_LAYERS; the
 * test program finds `fault_layer` in it. Only what clgrad and CLBlast call goes through it. */
#include "engine/opencl.h"

#include <CL/cl_layer.h>

#define EXPORT __attribute__((visibility("default")))

EXPORT cg_faults fault_layer;

static const cl_icd_dispatch *driver;
static cl_icd_dispatch dispatch;

/* Calls whose result is a status, and those that make something and take a status last, which may be NULL. */
#define STATUS(name, parameters, arguments) \
    static cl_int CL_API_CALL fail_##name parameters \
    { \
        return cg_fault_opencl(&fault_layer) ? CL_OUT_OF_RESOURCES : driver->name arguments; \
    }
#define OBJECT(type, name, parameters, arguments) \
    static type CL_API_CALL fail_##name parameters \
    { \
        if (!cg_fault_opencl(&fault_layer)) return driver->name arguments; \
        if (status) *status = CL_OUT_OF_RESOURCES; \
        return NULL; \
    }

/* A call, by what it takes: these forms are common to many. */
#define RELEASE(name, type) STATUS(name, (type object), (object))
#define INFO(name, type, what) \
    STATUS(name, (type object, what parameter, size_t bytes, void *value, size_t *needed), \
           (object, parameter, bytes, value, needed))

INFO(clGetPlatformInfo, cl_platform_id, cl_platform_info)
INFO(clGetDeviceInfo, cl_device_id, cl_device_info)
INFO(clGetContextInfo, cl_context, cl_context_info)
INFO(clGetCommandQueueInfo, cl_command_queue, cl_command_queue_info)
INFO(clGetMemObjectInfo, cl_mem, cl_mem_info)
INFO(clGetProgramInfo, cl_program, cl_program_info)
INFO(clGetEventInfo, cl_event, cl_event_info)
INFO(clGetEventProfilingInfo, cl_event, cl_profiling_info)
STATUS(clGetProgramBuildInfo,
       (cl_program program, cl_device_id device, cl_program_build_info what, size_t bytes, void *value, size_t *needed),
       (program, device, what, bytes, value, needed))
STATUS(clGetKernelWorkGroupInfo,
       (cl_kernel kernel, cl_device_id device, cl_kernel_work_group_info what, size_t bytes, void *value,
        size_t *needed),
       (kernel, device, what, bytes, value, needed))
STATUS(clGetDeviceIDs,
       (cl_platform_id platform, cl_device_type type, cl_uint room, cl_device_id *devices, cl_uint *count),
       (platform, type, room, devices, count))
RELEASE(clRetainContext, cl_context)
RELEASE(clRetainCommandQueue, cl_command_queue)
RELEASE(clRetainProgram, cl_program)
RELEASE(clReleaseContext, cl_context)
RELEASE(clReleaseCommandQueue, cl_command_queue)
RELEASE(clReleaseMemObject, cl_mem)
RELEASE(clReleaseProgram, cl_program)
RELEASE(clReleaseKernel, cl_kernel)
RELEASE(clReleaseEvent, cl_event)
RELEASE(clFlush, cl_command_queue)
RELEASE(clFinish, cl_command_queue)
OBJECT(cl_context, clCreateContext,
       (const cl_context_properties *properties, cl_uint count, const cl_device_id *devices,
        void(CL_CALLBACK *notify)(const char *, const void *, size_t, void *), void *user, cl_int *status),
       (properties, count, devices, notify, user, status))
OBJECT(cl_command_queue, clCreateCommandQueue,
       (cl_context context, cl_device_id device, cl_command_queue_properties properties, cl_int *status),
       (context, device, properties, status))
OBJECT(cl_mem, clCreateBuffer, (cl_context context, cl_mem_flags flags, size_t bytes, void *host, cl_int *status),
       (context, flags, bytes, host, status))
OBJECT(cl_mem, clCreateSubBuffer,
       (cl_mem buffer, cl_mem_flags flags, cl_buffer_create_type type, const void *region, cl_int *status),
       (buffer, flags, type, region, status))
OBJECT(cl_program, clCreateProgramWithSource,
       (cl_context context, cl_uint count, const char **texts, const size_t *lengths, cl_int *status),
       (context, count, texts, lengths, status))
OBJECT(cl_program, clCreateProgramWithBinary,
       (cl_context context, cl_uint count, const cl_device_id *devices, const size_t *lengths,
        const unsigned char **binaries, cl_int *statuses, cl_int *status),
       (context, count, devices, lengths, binaries, statuses, status))
STATUS(clBuildProgram,
       (cl_program program, cl_uint count, const cl_device_id *devices, const char *options,
        void(CL_CALLBACK *notify)(cl_program, void *), void *user),
       (program, count, devices, options, notify, user))
OBJECT(cl_kernel, clCreateKernel, (cl_program program, const char *name, cl_int *status), (program, name, status))
STATUS(clSetKernelArg, (cl_kernel kernel, cl_uint index, size_t bytes, const void *value),
       (kernel, index, bytes, value))
STATUS(clWaitForEvents, (cl_uint count, const cl_event *events), (count, events))
STATUS(clEnqueueNDRangeKernel,
       (cl_command_queue queue, cl_kernel kernel, cl_uint rank, const size_t *offset, const size_t *global,
        const size_t *local, cl_uint count, const cl_event *events, cl_event *event),
       (queue, kernel, rank, offset, global, local, count, events, event))
STATUS(clEnqueueReadBuffer,
       (cl_command_queue queue, cl_mem buffer, cl_bool blocking, size_t offset, size_t bytes, void *data, cl_uint count,
        const cl_event *events, cl_event *event),
       (queue, buffer, blocking, offset, bytes, data, count, events, event))
STATUS(clEnqueueWriteBuffer,
       (cl_command_queue queue, cl_mem buffer, cl_bool blocking, size_t offset, size_t bytes, const void *data,
        cl_uint count, const cl_event *events, cl_event *event),
       (queue, buffer, blocking, offset, bytes, data, count, events, event))
STATUS(clEnqueueCopyBuffer,
       (cl_command_queue queue, cl_mem from, cl_mem to, size_t from_offset, size_t to_offset, size_t bytes,
        cl_uint count, const cl_event *events, cl_event *event),
       (queue, from, to, from_offset, to_offset, bytes, count, events, event))
STATUS(clEnqueueFillBuffer,
       (cl_command_queue queue, cl_mem buffer, const void *pattern, size_t pattern_bytes, size_t offset, size_t bytes,
        cl_uint count, const cl_event *events, cl_event *event),
       (queue, buffer, pattern, pattern_bytes, offset, bytes, count, events, event))
STATUS(clEnqueueMarkerWithWaitList, (cl_command_queue queue, cl_uint count, const cl_event *events, cl_event *event),
       (queue, count, events, event))

#define PUT(name) dispatch.name = fail_##name

EXPORT CL_API_ENTRY cl_int CL_API_CALL clGetLayerInfo(cl_layer_info what, size_t bytes, void *value, size_t *needed)
{
    const cl_layer_api_version version = CL_LAYER_API_VERSION_100;
    if (what != CL_LAYER_API_VERSION || (value && bytes < sizeof version)) return CL_INVALID_VALUE;
    if (value) *(cl_layer_api_version *)value = version;
    if (needed) *needed = sizeof version;
    return CL_SUCCESS;
}

EXPORT CL_API_ENTRY cl_int CL_API_CALL clInitLayer(cl_uint entries, const cl_icd_dispatch *target,
                                                   cl_uint *entries_made, const cl_icd_dispatch **made)
{
    if (!target || !entries_made || !made || entries < sizeof dispatch / sizeof(void *)) return CL_INVALID_VALUE;
    driver = target;
    dispatch = *target;
    PUT(clGetPlatformInfo), PUT(clGetDeviceInfo), PUT(clGetContextInfo), PUT(clGetCommandQueueInfo);
    PUT(clGetMemObjectInfo), PUT(clGetProgramInfo), PUT(clGetEventInfo), PUT(clGetEventProfilingInfo);
    PUT(clGetProgramBuildInfo), PUT(clGetKernelWorkGroupInfo), PUT(clGetDeviceIDs), PUT(clRetainContext);
    PUT(clRetainCommandQueue), PUT(clRetainProgram), PUT(clReleaseContext), PUT(clReleaseCommandQueue);
    PUT(clReleaseMemObject), PUT(clReleaseProgram), PUT(clReleaseKernel), PUT(clReleaseEvent), PUT(clFlush);
    PUT(clFinish), PUT(clCreateContext), PUT(clCreateCommandQueue), PUT(clCreateBuffer), PUT(clCreateSubBuffer);
    PUT(clCreateProgramWithSource), PUT(clCreateProgramWithBinary), PUT(clBuildProgram), PUT(clCreateKernel);
    PUT(clSetKernelArg), PUT(clWaitForEvents), PUT(clEnqueueNDRangeKernel), PUT(clEnqueueReadBuffer);
    PUT(clEnqueueWriteBuffer), PUT(clEnqueueCopyBuffer), PUT(clEnqueueFillBuffer), PUT(clEnqueueMarkerWithWaitList);
    *entries_made = sizeof dispatch / sizeof(void *);
    *made = &dispatch;
    return CL_SUCCESS;
}

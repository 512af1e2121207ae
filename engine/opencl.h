/* The engine's one gate to OpenCL and to the allocator: every call goes through it, so a test can make any of them
 * fail. Nothing else of the library includes CL headers, but for clgrad/interop.h. */
#ifndef CLGRAD_ENGINE_OPENCL_H
#define CLGRAD_ENGINE_OPENCL_H

#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 120
#endif
#include <CL/cl.h>
#include <stdbool.h>
#include <stdint.h>

/* Counts calls; the one whose number is `fail_at` (from 1; 0: none) fails without being made. */
typedef struct cg_faults {
    int64_t opencl_calls, opencl_fail_at;
    int64_t allocations, allocation_fail_at;
} cg_faults;

static inline bool cg_fault_opencl(cg_faults *faults)
{
    return ++faults->opencl_calls == faults->opencl_fail_at;
}

/* CL(cg, clFinish, queue): the status of a call. CL_COUNTED is the same before there is a context. */
#define CL(cg, function, ...) CL_COUNTED(&(cg)->faults, function, __VA_ARGS__)
#define CL_COUNTED(faults, function, ...) (cg_fault_opencl(faults) ? CL_OUT_OF_RESOURCES : function(__VA_ARGS__))
/* CL_NEW(cg, &status, clCreateBuffer, context, ...): for calls that return an object and take a status last. */
#define CL_NEW(cg, status, function, ...) \
    (cg_fault_opencl(&(cg)->faults) ? (*(status) = CL_OUT_OF_RESOURCES, NULL) : function(__VA_ARGS__, status))

#endif

/* For programs that use OpenCL beside clgrad: the context's OpenCL objects, and opening a context on objects that a
 * program has. Not included by clgrad.h, because it needs the OpenCL headers. */
#ifndef CLGRAD_INTEROP_H
#define CLGRAD_INTEROP_H

#include <clgrad/context.h>

#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 120
#endif
#include <CL/cl.h>

CG_BEGIN

/* The context's own objects: NULL if it failed to open. They live as long as the context does; a program that keeps
 * one longer retains it. The queue runs commands in order, so a kernel put on it runs after what clgrad enqueued before
 * and ahead of what it enqueues later; what is only recorded, cg_flush enqueues. */
CG_API cl_context cg_opencl_context(const cg_context *cg);
CG_API cl_device_id cg_opencl_device(const cg_context *cg);
CG_API cl_command_queue cg_opencl_queue(const cg_context *cg);

/* Opens a context on a device, context and in-order queue that belong together; context and queue are retained until
 * cg_close. `options` may be NULL; the device that it names and CLGRAD_DEVICE count for nothing here. Errors as for
 * cg_open, and a queue of another device or context or one that runs out of order. */
CG_API cg_context *cg_open_on(cl_context context, cl_device_id device, cl_command_queue queue,
                              const cg_open_options *options);

CG_END
#endif

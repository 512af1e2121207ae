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
 * and ahead of what it enqueues later; what is only recorded, cg_flush enqueues. On a CPU the first call waits
 * for what runs, and kernels of this context no longer overlap from then on; NULL with a message if waiting fails. */
CG_API cl_context cg_opencl_context(const cg_context *cg);
CG_API cl_device_id cg_opencl_device(const cg_context *cg);
CG_API cl_command_queue cg_opencl_queue(cg_context *cg);

/* Opens a context on a device, context and in-order queue that belong together; context and queue are retained until
 * cg_close. `options` may be NULL; the device that it names and CLGRAD_DEVICE count for nothing here. Errors as for
 * cg_open, and a queue of another device or context or one that runs out of order. */
CG_API cg_context *cg_open_on(cl_context context, cl_device_id device, cl_command_queue queue,
                              const cg_open_options *options);

/* Tensors in a program's own memory, which is read but never written: a variable given such a tensor keeps its next
 * values in other memory. What lies there must stay as it is while the tensor, or anything recorded from it and not yet
 * run, is alive, and until the device is done (cg_wait). Options are those of cg_input. Null after an error, which says
 * what does not fit. */

/* `memory`: a buffer of the context's OpenCL context, readable by kernels; it is retained. The elements begin at byte
 * `offset`, a multiple of the device's alignment of buffers, row-major and without gaps. Errors: no buffer, or one of
 * another context; one too small; an offset that is not aligned. */
CG_API cg_tensor cg_wrap_buffer(cg_context *cg, cg_dtype dtype, cg_shape shape, cl_mem memory, size_t offset,
                                const cg_input_options *options);
/* Host memory, on CPUs, without a copy; its address a multiple of that alignment (4096 is one everywhere). Errors: a
 * device with memory of its own; an address that is not aligned; NULL. */
CG_API cg_tensor cg_wrap_host(cg_context *cg, cg_dtype dtype, cg_shape shape, void *data,
                              const cg_input_options *options);

/* The buffer that holds a tensor's value, computed now if it was not, though not waited for: the elements begin at byte
 * `*offset`, row-major and without gaps. Around them lie other values. It is the program's to read, on the context's
 * queue or after cg_wait, while the tensor is alive; retaining it does not keep the value. NULL with a message on an
 * error. */
CG_API cl_mem cg_buffer_of(cg_tensor tensor, size_t *offset);

CG_END
#endif

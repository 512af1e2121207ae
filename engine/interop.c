/* Hands the context's OpenCL objects to programs that use OpenCL themselves, and takes theirs. */
#include <clgrad/interop.h>

#include "engine/buffer.h"
#include "engine/queue.h"

cl_context cg_opencl_context(const cg_context *cg)
{
    return cg ? cg->cl : NULL;
}

cl_device_id cg_opencl_device(const cg_context *cg)
{
    return cg && cg->queue ? cg->device : NULL;
}

cl_command_queue cg_opencl_queue(cg_context *cg)
{
    return cg && cg->queue && cg_queue_in_order(cg) ? cg->queue : NULL;
}

cg_context *cg_open_on(cl_context context, cl_device_id device, cl_command_queue queue, const cg_open_options *options)
{
    const cg_open_options none = {0};
    const cg_opencl given = {context, device, queue};
    return cg_open_given(options ? options : &none, (cg_faults){0}, &given);
}

/* --- tensors in a program's memory --- */

static const char *name_of(const cg_input_options *options)
{
    return options->name ? options->name : "wrap";
}

static bool check_alignment(cg_context *cg, const cg_input_options *options, const char *what, uint64_t at)
{
    if (at % (uint64_t)cg->memory_alignment == 0) return true;
    return cg_fail(cg, CG_ERROR_ARGUMENT, "%s: the %s is not a multiple of %lld, as the device needs it",
                   name_of(options), what, (long long)cg->memory_alignment);
}

typedef struct buffer_facts {
    cl_mem_object_type type;
    cl_context context;
    cl_mem_flags flags;
    size_t bytes;
} buffer_facts;

static bool ask(cg_context *cg, cl_mem memory, buffer_facts *facts)
{
    cl_int status = CL(cg, clGetMemObjectInfo, memory, CL_MEM_TYPE, sizeof facts->type, &facts->type, NULL);
    if (status == CL_SUCCESS)
        status = CL(cg, clGetMemObjectInfo, memory, CL_MEM_CONTEXT, sizeof facts->context, &facts->context, NULL);
    if (status == CL_SUCCESS)
        status = CL(cg, clGetMemObjectInfo, memory, CL_MEM_FLAGS, sizeof facts->flags, &facts->flags, NULL);
    if (status == CL_SUCCESS)
        status = CL(cg, clGetMemObjectInfo, memory, CL_MEM_SIZE, sizeof facts->bytes, &facts->bytes, NULL);
    return status == CL_SUCCESS ? true : cg_fail_cl(cg, "clGetMemObjectInfo", status);
}

static bool check_buffer(cg_context *cg, cl_mem memory, size_t offset, size_t bytes, const cg_input_options *options)
{
    buffer_facts facts;
    const char *name = name_of(options);
    if (!memory) return cg_fail(cg, CG_ERROR_ARGUMENT, "%s: the buffer is NULL", name);
    if (!check_alignment(cg, options, "offset", offset) || !ask(cg, memory, &facts)) return false;
    if (facts.type != CL_MEM_OBJECT_BUFFER)
        return cg_fail(cg, CG_ERROR_ARGUMENT, "%s: the memory object is no buffer", name);
    if (facts.context != cg->cl)
        return cg_fail(cg, CG_ERROR_ARGUMENT, "%s: the buffer belongs to another OpenCL context", name);
    if (facts.flags & CL_MEM_WRITE_ONLY)
        return cg_fail(cg, CG_ERROR_ARGUMENT, "%s: kernels may only write the buffer, not read it", name);
    if (offset > facts.bytes || bytes > facts.bytes - offset)
        return cg_fail(cg, CG_ERROR_ARGUMENT, "%s: %zu bytes from byte %zu on are needed, the buffer has %zu", name,
                       bytes, offset, facts.bytes);
    return true;
}

/* Takes over a reference to the memory object. */
static cg_tensor wrap(cg_context *cg, cg_dtype dtype, cg_shape shape, cl_mem memory, size_t offset, size_t bytes,
                      const cg_input_options *options)
{
    cg_buffer *buffer = cg_buffer_wrap(cg, memory, (int64_t)offset, (int64_t)bytes);
    if (buffer) return cg_input_of(cg, dtype, shape, buffer, options);
    clReleaseMemObject(memory);
    return (cg_tensor){0};
}

cg_tensor cg_wrap_buffer(cg_context *cg, cg_dtype dtype, cg_shape shape, cl_mem memory, size_t offset,
                         const cg_input_options *options)
{
    options = options ? options : CG_OPTIONS(cg_input_options, );
    if (!cg || !cg->queue || !cg_input_possible(cg, dtype, shape, options)) return (cg_tensor){0};
    const size_t bytes = (size_t)cg_shape_size(shape) * cg_dtype_bytes(dtype);
    if (!check_buffer(cg, memory, offset, bytes, options)) return (cg_tensor){0};
    const cl_int status = CL(cg, clRetainMemObject, memory);
    if (status == CL_SUCCESS) return wrap(cg, dtype, shape, memory, offset, bytes, options);
    cg_fail_cl(cg, "clRetainMemObject", status);
    return (cg_tensor){0};
}

static bool check_host(cg_context *cg, const void *data, const cg_input_options *options)
{
    if (cg->info.is_gpu)
        return cg_fail(cg, CG_ERROR_ARGUMENT, "%s: %s has memory of its own; cg_input copies to it", name_of(options),
                       cg->info.name);
    if (!data) return cg_fail(cg, CG_ERROR_ARGUMENT, "%s: the memory is NULL", name_of(options));
    return check_alignment(cg, options, "address", (uint64_t)(uintptr_t)data);
}

cg_tensor cg_wrap_host(cg_context *cg, cg_dtype dtype, cg_shape shape, void *data, const cg_input_options *options)
{
    options = options ? options : CG_OPTIONS(cg_input_options, );
    if (!cg || !cg->queue || !cg_input_possible(cg, dtype, shape, options)) return (cg_tensor){0};
    const size_t bytes = (size_t)cg_shape_size(shape) * cg_dtype_bytes(dtype);
    if (bytes == 0) return cg_input_with(cg, dtype, shape, data, options);
    if (!check_host(cg, data, options)) return (cg_tensor){0};
    cl_int status = CL_SUCCESS;
    cl_mem memory = CL_NEW(cg, &status, clCreateBuffer, cg->cl, CL_MEM_READ_ONLY | CL_MEM_USE_HOST_PTR, bytes, data);
    if (memory) return wrap(cg, dtype, shape, memory, 0, bytes, options);
    cg_fail_cl(cg, "clCreateBuffer", status);
    return (cg_tensor){0};
}

cl_mem cg_buffer_of(cg_tensor tensor, size_t *offset)
{
    cg_node *node = cg_node_of(tensor, "cg_buffer_of");
    if (!node || !cg_force(node->context, &node, 1, false, false)) return NULL;
    if (offset) *offset = (size_t)node->buffer->offset;
    return node->buffer->memory;
}

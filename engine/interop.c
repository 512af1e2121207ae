/* Hands the context's OpenCL objects to programs that use OpenCL themselves. */
#include <clgrad/interop.h>

#include "engine/context.h"

cl_context cg_opencl_context(const cg_context *cg)
{
    return cg ? cg->cl : NULL;
}

cl_device_id cg_opencl_device(const cg_context *cg)
{
    return cg && cg->queue ? cg->device : NULL;
}

cl_command_queue cg_opencl_queue(const cg_context *cg)
{
    return cg ? cg->queue : NULL;
}

cg_context *cg_open_on(cl_context context, cl_device_id device, cl_command_queue queue, const cg_open_options *options)
{
    const cg_open_options none = {0};
    const cg_opencl given = {context, device, queue};
    return cg_open_given(options ? options : &none, (cg_faults){0}, &given);
}

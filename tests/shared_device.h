/* Contexts for tests, opened on OpenCL objects that a test program's contexts share: PoCL reads its own library of
 * functions, more than half a second, for every OpenCL context that compiles. All that is clgrad's is new each time. */
#ifndef CLGRAD_TESTS_SHARED_DEVICE_H
#define CLGRAD_TESTS_SHARED_DEVICE_H

#include <check.h>
#include <clgrad/interop.h>
#include <stddef.h>

/* As cg_open(NULL), with the environment of the moment, but for the choice of the device; a test that has one opened
 * fails if that does not work. */
static inline cg_context *open_on_shared_device(void)
{
    static cl_context context;
    static cl_device_id device;
    static cl_command_queue queue;
    if (!context) {
        cg_context *first = cg_open(NULL);
        ck_assert_msg(first && cg_status(first) == CG_OK, "%s", first ? cg_message(first) : "no context");
        device = cg_opencl_device(first), queue = cg_opencl_queue(first), context = cg_opencl_context(first);
        ck_assert_int_eq(clRetainContext(context), CL_SUCCESS);
        ck_assert_int_eq(clRetainCommandQueue(queue), CL_SUCCESS);
        cg_close(first);
    }
    cg_context *cg = cg_open_on(context, device, queue, NULL);
    ck_assert_msg(cg && cg_status(cg) == CG_OK, "%s", cg ? cg_message(cg) : "no context");
    return cg;
}

#endif

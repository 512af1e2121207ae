/* The context's queues and the events between them. Knows nothing of what a plan is. */
#include "engine/queue.h"

static bool is_wanted(const cg_context *cg)
{
    /* A profile is to tell the kernels apart; a NaN is looked for after each of them; and CLBlast enqueues kernels of
     * its own, which wait for nothing. */
    return !cg->info.is_gpu && !cg->profile && !cg->check_nan && !(cg->gemm_allowed & 1u << CG_GEMM_CLBLAST) &&
           !cg_environment_has("CLGRAD_DISABLE", "overlap");
}

bool cg_queue_open(cg_context *cg)
{
    cl_command_queue_properties can = 0;
    if (!is_wanted(cg)) return true;
    cl_int status = CL(cg, clGetDeviceInfo, cg->device, CL_DEVICE_QUEUE_PROPERTIES, sizeof can, &can, NULL);
    if (status != CL_SUCCESS) return cg_fail_cl(cg, "clGetDeviceInfo", status);
    if (!(can & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE)) return true;
    cg->overlap.queue = CL_NEW(cg, &status, clCreateCommandQueue, cg->cl, cg->device,
                               CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
    return cg->overlap.queue ? true : cg_fail_cl(cg, "clCreateCommandQueue", status);
}

static void forget_launches(cg_context *cg)
{
    for (int i = 0; i < cg->overlap.count; i++) clReleaseEvent(cg->overlap.events[i]);
    cg->overlap.count = 0;
}

static void release(cl_event *event)
{
    if (*event) clReleaseEvent(*event);
    *event = NULL;
}

void cg_queue_close(cg_context *cg)
{
    cg_nothing_left(cg);
    release(&cg->plan_done);
    if (cg->overlap.queue) clReleaseCommandQueue(cg->overlap.queue);
    cg->overlap.queue = NULL;
}

bool cg_queue_in_order(cg_context *cg)
{
    if (!cg->overlap.queue) return true;
    if (!cg_queue_finish(cg)) return false;
    cg_queue_close(cg);
    return true;
}

void cg_enqueued(cg_context *cg)
{
    if (!cg->overlap.queue) return;
    forget_launches(cg);
    cg->overlap.behind = true;
}

void cg_nothing_left(cg_context *cg)
{
    forget_launches(cg);
    release(&cg->overlap.before);
    cg->overlap.behind = false;
}

bool cg_queue_before(cg_context *cg)
{
    cg_overlap *o = &cg->overlap;
    if (!o->behind) return true;
    release(&o->before);
    cl_int status = CL(cg, clEnqueueMarkerWithWaitList, cg->queue, 0, NULL, &o->before);
    if (status != CL_SUCCESS) return cg_fail_cl(cg, "clEnqueueMarkerWithWaitList", status);
    status = CL(cg, clFlush, cg->queue);
    if (status != CL_SUCCESS) return cg_fail_cl(cg, "clFlush", status);
    o->behind = false;
    return true;
}

bool cg_queue_finish(cg_context *cg)
{
    cl_int status = cg->overlap.count > 0 ? CL(cg, clFinish, cg->overlap.queue) : CL_SUCCESS;
    if (status == CL_SUCCESS) status = CL(cg, clFinish, cg->queue);
    if (status != CL_SUCCESS) return cg_fail_cl(cg, "clFinish", status);
    cg_nothing_left(cg);
    return true;
}

cl_event *cg_queue_plan_done(cg_context *cg)
{
    release(&cg->plan_done);
    return &cg->plan_done;
}

bool cg_queue_event(cg_context *cg, cl_event *event)
{
    cg_overlap *o = &cg->overlap;
    if (o->count > 0) {
        *event = o->events[o->count - 1];
        return clRetainEvent(*event) == CL_SUCCESS;
    }
    *event = cg->plan_done;
    cg->plan_done = NULL;
    return *event || CL(cg, clEnqueueMarkerWithWaitList, cg->queue, 0, NULL, event) == CL_SUCCESS;
}

/* The context's queue, which is in order, and where the device allows it a second one for launches that may overlap
 * (overlap.h). A command on the first waits for all launches on the second that came before it; launches on the second
 * wait for all commands on the first that came before them. The second is flushed after each launch, as what another
 * queue waits for must be on its way to the device. */
#ifndef CLGRAD_ENGINE_QUEUE_H
#define CLGRAD_ENGINE_QUEUE_H

#include "engine/context.h"

/* Where launches can overlap, gives a context whose device is open the queue for them. False after reporting. */
bool cg_queue_open(cg_context *cg);
/* From now on there is only the first queue, for a program's own commands too. False after reporting. */
bool cg_queue_in_order(cg_context *cg);
void cg_queue_close(cg_context *cg);

/* For each command on the context's queue, two arguments: clEnqueueX(cg->queue, ..., CG_BEHIND_ALL(cg), event); and
 * once it is enqueued, cg_enqueued(cg). Only what runs where there is no second queue does without: CLBlast's commands,
 * those that look for NaN and those of a profile; and what maps memory that is new. */
#define CG_BEHIND_ALL(cg) (cl_uint)(cg)->overlap.count, ((cg)->overlap.count ? (cg)->overlap.events : NULL)
void cg_enqueued(cg_context *cg);
/* Sees to it that overlap.before is an event for all that is on the first queue. False after reporting. */
bool cg_queue_before(cg_context *cg);
/* All that was enqueued is done. */
void cg_nothing_left(cg_context *cg);
/* Waits for both queues. False after reporting. */
bool cg_queue_finish(cg_context *cg);

/* Where the event of the last launch of a plan on the first queue goes. */
cl_event *cg_queue_plan_done(cg_context *cg);
/* An event by which the host does not run away: of the last launch that may overlap others, else of the last launch of
 * a plan, else behind everything. The caller's to release. False if there is none. */
bool cg_queue_event(cg_context *cg, cl_event *event);

#endif

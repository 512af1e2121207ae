/* The order in which kernels are launched. */
#ifndef CLGRAD_ENGINE_ORDER_H
#define CLGRAD_ENGINE_ORDER_H

#include "engine/schedule.h"

/* What is to be computed again (see `again` in clgrad/op.h) waits for what it is to wait for, so that its results are
 * not there long before they are needed. Once all groups are known. False after reporting. */
bool cg_order_replays(cg_schedule *schedule);

/* Fills schedule->order: among the groups that may run, the one whose last item was recorded first, but with something
 * computed again, one that leaves no more in memory than there was before goes ahead. False after reporting. */
bool cg_order_launches(cg_schedule *schedule);

/* The most bytes of temporaries, scratch aside, that are alive at one launch in this order. */
int64_t cg_order_alive(const cg_schedule *schedule);

#endif

/* What a device can do at most, measured through OpenCL itself: the rates that every other figure is compared with. */
#ifndef CLGRAD_CLI_DEVICE_LIMITS_H
#define CLGRAD_CLI_DEVICE_LIMITS_H

#include <clgrad/context.h>

typedef struct device_limits {
    double gflops; /* of multiply-adds, each counted as two, in the dtype asked for */
    double gbps;   /* of a copy, bytes read plus bytes written: the faster of the driver's and a kernel's */
} device_limits;

/* Raises the limits, at first zeros, to what is measured now. Other work on the machine makes measurements low, never
 * high: so this is done again and again. `quick`: less memory and fewer runs, for tests. False after a message on
 * stderr. */
bool raise_device_limits(cg_context *cg, cg_dtype dtype, bool quick, device_limits *limits);

#endif

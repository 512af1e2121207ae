/* The subcommand `clgrad profile`, and reading the traces that it shows. */
#ifndef CLGRAD_CLI_PROFILE_H
#define CLGRAD_CLI_PROFILE_H

#include <clgrad/profile.h>

/* What a trace holds of the device. Freed with trace_free, read or not. */
typedef struct trace {
    cg_kernel_time *times; /* one per launch */
    int count;
    double wall_seconds;    /* while the context was open */
    double covered_seconds; /* of these, until something was dropped: the launches are those of that time */
    long long dropped;      /* launches and spans of the host */
    struct json_t *json;    /* that the labels lie in */
} trace;

/* False after saying on standard error what is wrong with the file. */
bool trace_read(const char *path, trace *result);
void trace_free(trace *result);

/* `arguments` are those after "profile". The exit status of the program. */
int profile_command(char **arguments);

#endif

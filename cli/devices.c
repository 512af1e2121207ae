/* `clgrad devices`: what the library finds to run on, so that nobody has to provoke an error to see it. */
#include "devices.h"

#include "arguments.h"
#include <clgrad/context.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "Usage: clgrad devices\n"
    "\n"
    "Lists the OpenCL devices that can be used, one per line: index, kind, name (platform), compute units, memory.\n"
    "\"default\" marks the one that a program gets which names none: what CLGRAD_DEVICE says, an index, a part of a\n"
    "name or platform, gpu or cpu, or else the most capable one. The exit status is 1 if there is no device.\n";

/* Opening a context says what is missing where there is no device. */
static int explain_none(void)
{
    cg_context *cg = cg_open(NULL);
    fprintf(stderr, "clgrad devices: %s\n", cg_message(cg));
    cg_close(cg);
    return EXIT_FAILURE;
}

int devices_command(char **arguments)
{
    static char list[1 << 16];
    if (*arguments && strcmp(*arguments, "--help") == 0) {
        fputs(usage, stdout);
        return EXIT_SUCCESS;
    }
    if (*arguments) {
        fprintf(stderr, "clgrad devices: it takes no arguments: %s; see --help\n", *arguments);
        return EXIT_USAGE;
    }
    cg_device_list(list, sizeof list);
    if (!*list) return explain_none();
    fputs(list, stdout);
    return EXIT_SUCCESS;
}

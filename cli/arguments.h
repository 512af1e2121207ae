/* What the subcommands' arguments have in common. */
#ifndef CLGRAD_CLI_ARGUMENTS_H
#define CLGRAD_CLI_ARGUMENTS_H

#include <clgrad/tensor.h>

enum { EXIT_USAGE = 2 };

/* What a subcommand is told that runs cases. */
typedef struct case_options {
    const char *command; /* "clgrad bench", for messages */
    char **filters;
    int filter_count;
    const char *device, *shapes;
    cg_dtype dtype;
    bool json, quick, help; /* json and quick only where the command reports times */
} case_options;

/* Reads the arguments, `argument_count` of them, of `command`, and calls `run` with them, or prints `usage` if that is
 * asked for. The exit status of the program: that of `run`, or EXIT_USAGE after a message. */
int run_with_case_options(const char *command, const char *usage, bool reports_times, int argument_count,
                          char **arguments, int (*run)(const case_options *));

#endif

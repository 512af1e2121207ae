/* The subcommand `clgrad tune`. */
#ifndef CLGRAD_CLI_TUNE_H
#define CLGRAD_CLI_TUNE_H

/* `arguments` are those after "tune". The exit status of the program. */
int tune_command(int argument_count, char **arguments);

#endif

/* The subcommand `clgrad devices`. */
#ifndef CLGRAD_CLI_DEVICES_H
#define CLGRAD_CLI_DEVICES_H

/* Its arguments, those behind the word `devices`; the exit status. */
int devices_command(char **arguments);

#endif

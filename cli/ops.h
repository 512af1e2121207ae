/* `clgrad ops`. */
#ifndef CLGRAD_CLI_OPS_H
#define CLGRAD_CLI_OPS_H

/* With the arguments behind the subcommand's name, up to a NULL; the exit status. */
int ops_command(char **arguments);

#endif

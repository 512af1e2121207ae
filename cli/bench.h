/* The subcommand `clgrad bench`. */
#ifndef CLGRAD_CLI_BENCH_H
#define CLGRAD_CLI_BENCH_H

/* `arguments` are those after "bench". The exit status of the program. */
int bench_command(int argument_count, char **arguments);

#endif

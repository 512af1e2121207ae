/* What the subcommands' arguments have in common. */
#ifndef CLGRAD_CLI_ARGUMENTS_H
#define CLGRAD_CLI_ARGUMENTS_H

#include <clgrad/tensor.h>

/* The value of an option, given as `--name value` or `--name=value`; NULL if this is not that option. */
const char *option_value(const char *name, char **arguments, int *index);
/* False for what is neither "f32" nor "f64". */
bool parse_dtype(const char *text, cg_dtype *dtype);

#endif

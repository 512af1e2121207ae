/* Reading the options that several subcommands have. */
#include "arguments.h"

#include <string.h>

const char *option_value(const char *name, char **arguments, int *index)
{
    const size_t length = strlen(name);
    const char *argument = arguments[*index];
    if (strncmp(argument, name, length) != 0) return NULL;
    if (argument[length] == '=') return argument + length + 1;
    return argument[length] == '\0' && arguments[*index + 1] ? arguments[++*index] : NULL;
}

bool parse_dtype(const char *text, cg_dtype *dtype)
{
    *dtype = strcmp(text, "f64") == 0 ? CG_F64 : CG_F32;
    return strcmp(text, "f64") == 0 || strcmp(text, "f32") == 0;
}

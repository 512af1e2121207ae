/* Reading the options of the subcommands that run cases. */
#include "arguments.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The value of an option, given as `--name value` or `--name=value`; NULL if this is not that option. */
static const char *option_value(const char *name, char **arguments, int *index)
{
    const size_t length = strlen(name);
    const char *argument = arguments[*index];
    if (strncmp(argument, name, length) != 0) return NULL;
    if (argument[length] == '=') return argument + length + 1;
    return argument[length] == '\0' && arguments[*index + 1] ? arguments[++*index] : NULL;
}

/* False for what is no floating dtype. */
static bool parse_dtype(const char *text, cg_dtype *dtype)
{
    static const cg_dtype dtypes[] = {CG_F32, CG_F64, CG_F16, CG_BF16};
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        *dtype = dtypes[i];
        if (strcmp(text, cg_dtype_name(*dtype)) == 0) return true;
    }
    return false;
}

static int misuse(const char *command, const char *what, const char *argument)
{
    fprintf(stderr, "%s: %s%s; see %s --help\n", command, what, argument, command);
    return EXIT_USAGE;
}

/* `filters` has room for all arguments. 0, or the exit status of a misuse. */
static int parse(char **arguments, bool reports_times, case_options *options)
{
    const char *value;
    for (int i = 0; arguments[i]; i++) {
        if (arguments[i][0] != '-')
            options->filters[options->filter_count++] = arguments[i];
        else if (reports_times && strcmp(arguments[i], "--json") == 0)
            options->json = true;
        else if (reports_times && strcmp(arguments[i], "--quick") == 0)
            options->quick = true; /* for tests: too few samples to trust */
        else if (strcmp(arguments[i], "--help") == 0)
            options->help = true;
        else if ((value = option_value("--device", arguments, &i)))
            options->device = value;
        else if ((value = option_value("--shapes", arguments, &i)))
            options->shapes = value;
        else if ((value = option_value("--dtype", arguments, &i))) {
            if (!parse_dtype(value, &options->dtype))
                return misuse(options->command, "not a dtype that it takes: ", value);
        } else
            return misuse(options->command, "an option that it has not, or without its value: ", arguments[i]);
    }
    return 0;
}

int run_with_case_options(const char *command, const char *usage, bool reports_times, int argument_count,
                          char **arguments, int (*run)(const case_options *))
{
    case_options options = {.command = command, .filters = calloc((size_t)argument_count + 1, sizeof *options.filters)};
    if (!options.filters) return EXIT_FAILURE;
    int status = parse(arguments, reports_times, &options);
    if (status == 0 && options.help)
        fputs(usage, stdout);
    else if (status == 0)
        status = run(&options);
    free(options.filters);
    return status;
}

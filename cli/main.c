/* The command `clgrad`: hands over to its subcommands. */
#include "arguments.h"
#include "bench.h"
#include "devices.h"
#include "ops.h"
#include "profile.h"
#include "tune.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] = "Usage: clgrad COMMAND [ARGUMENTS]\n"
                            "\n"
                            "  bench    time ops and training steps\n"
                            "  devices  list the OpenCL devices that CLGRAD_DEVICE chooses from\n"
                            "  ops      list the ops: dtypes, derivatives, formulas, names in Keras and PyTorch\n"
                            "  profile  show where the device's time went in a run with CLGRAD_PROFILE\n"
                            "  tune     measure which kernels suit the device\n"
                            "\n"
                            "clgrad COMMAND --help says more.\n";

int main(int argument_count, char **arguments)
{
    if (argument_count > 1 && strcmp(arguments[1], "bench") == 0)
        return bench_command(argument_count - 2, arguments + 2);
    if (argument_count > 1 && strcmp(arguments[1], "devices") == 0) return devices_command(arguments + 2);
    if (argument_count > 1 && strcmp(arguments[1], "ops") == 0) return ops_command(arguments + 2);
    if (argument_count > 1 && strcmp(arguments[1], "profile") == 0) return profile_command(arguments + 2);
    if (argument_count > 1 && strcmp(arguments[1], "tune") == 0) return tune_command(argument_count - 2, arguments + 2);
    if (argument_count > 1 && (strcmp(arguments[1], "--help") == 0 || strcmp(arguments[1], "help") == 0)) {
        fputs(usage, stdout);
        return EXIT_SUCCESS;
    }
    fputs(usage, stderr);
    return EXIT_USAGE;
}

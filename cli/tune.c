/* `clgrad tune`: runs cases of `clgrad bench` in contexts that tune, and shows what they chose. */
#include "tune.h"

#include "arguments.h"
#include "bench.h"
#include "bench_run.h"
#include "bench_select.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "Usage: clgrad tune [FILTER...] [--device D] [--dtype T] [--shapes FILE]\n"
    "\n"
    "Measures which kernel, and which sizes in it, are fastest for the matrix products in the cases of clgrad bench "
    "that\n"
    "the FILTERs name; without one, for all its products and training steps. What is found is kept, for this device "
    "and\n"
    "its driver, in the file that the last line names, and every program that uses the device goes by it. A product\n"
    "takes some seconds.\n"
    "\n"
    "  --device D     an index, a part of a name, gpu or cpu; default: CLGRAD_DEVICE or the most capable device\n"
    "  --dtype T      f32 (the default), f64, f16 or bf16\n"
    "  --shapes FILE  the cases in FILE instead of the built-in ones; clgrad bench --help describes the lines\n"
    "\n"
    "The environment: CLGRAD_TUNING=FILE instead of the one in the user's cache folder, CLGRAD_GEMM=tiled (or packed,\n"
    "clblast, several with commas between) for the kernels to choose from. A program of your own, run with\n"
    "CLGRAD_TUNE=1, tunes what it finds untuned. The exit status is 1 if a case failed, 2 for arguments that mean\n"
    "nothing.\n";

static void print_choices(const cg_context *cg)
{
    cg_tuned_choice c;
    for (int i = 0; cg_tuned(cg, i, &c); i++)
        if (c.measured)
            printf("%-42s %-26s %11.1f %11.1f %6.2fx\n", c.what, c.choice, 1e6 * c.seconds, 1e6 * c.default_seconds,
                   c.default_seconds / c.seconds);
    fflush(stdout);
}

/* A few runs; tuning happens in the first. */
static int tune_case(const bench_case *c, const case_options *options)
{
    char text[2 * CASE_TEXT_BYTES];
    bench_result result;
    int status = EXIT_SUCCESS;
    cg_context *cg = cg_open(options->device);
    bench_case_text(c, text);
    if (cg_status(cg) != CG_OK || (bench_case_fits(cg, c) && !bench_run(cg, c, true, &result))) {
        fprintf(stderr, "clgrad tune: %s: %s\n", text, cg_message(cg));
        status = EXIT_FAILURE;
    } else {
        print_choices(cg);
    }
    cg_close(cg);
    return status;
}

/* Where the choices are kept; looked at first, as a wrong device would fail every case. */
static int show_device(const case_options *options, char *path, size_t room)
{
    cg_context *cg = cg_open(options->device);
    const bool ok = cg_status(cg) == CG_OK;
    if (ok)
        printf("%s\n\n%-42s %-26s %11s %11s %7s\n", cg_device(cg)->name, "", "choice", "us", "default us", "gain");
    else
        fprintf(stderr, "clgrad tune: %s\n", cg_message(cg));
    snprintf(path, room, "%s", cg_tuning_path(cg));
    cg_close(cg);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int tune_cases(const case_list *list, const case_options *options)
{
    char path[4096];
    int status = show_device(options, path, sizeof path);
    if (status != EXIT_SUCCESS) return status;
    for (int i = 0; i < list->count; i++)
        if (tune_case(&list->cases[i], options) != EXIT_SUCCESS) status = EXIT_FAILURE;
    if (list->count > 0 && path[0]) printf("\nkept in %s\n", path);
    return status;
}

static int run(const case_options *options)
{
    static char *products[] = {"gemm", "step"};
    case_options chosen = *options;
    if (options->filter_count == 0 && !options->shapes) {
        chosen.filters = products;
        chosen.filter_count = 2;
    }
    case_list list = {0};
    int status = EXIT_USAGE;
    if (case_list_choose(&list, &chosen))
        status = setenv("CLGRAD_TUNE", "again", 1) == 0 ? tune_cases(&list, options) : EXIT_FAILURE;
    case_list_free(&list);
    return status;
}

int tune_command(int argument_count, char **arguments)
{
    return run_with_case_options("clgrad tune", usage, false, argument_count, arguments, run);
}

/* `clgrad bench`: its arguments, and the run over the cases. Each case has a context of its own, so that none finds the
 * memory or the plans of the one before. */
#include "bench.h"

#include "arguments.h"
#include "bench_report.h"
#include "bench_select.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "Usage: clgrad bench [FILTER...] [--json] [--device D] [--dtype T] [--shapes FILE]\n"
    "\n"
    "Times ops and training steps on an OpenCL device and compares them with what the device can do: its\n"
    "multiply-adds and its copy bandwidth, measured before each case; the best so far counts. A FILTER is a part of\n"
    "a case's family, name and shape: elementwise, reduce, softmax, layer_norm, batch_norm, group_norm, cumsum,\n"
    "sort, topk, random, copy, transpose, gemm, convolution, step, \"gemm 128x512x784\". Without one all cases run\n"
    "but deepbench, DeepBench's matrix products, which take long on small devices. A filter that is part of none\n"
    "lists the cases, in lines that a file of shapes may hold.\n"
    "\n"
    "  --json         one JSON object per line instead of a table; bench/results/README.md describes the fields\n"
    "  --device D     an index, a part of a name, gpu or cpu; default: CLGRAD_DEVICE or the most capable device\n"
    "  --dtype T      f32 (the default), f64, f16 or bf16\n"
    "  --shapes FILE  the cases in FILE instead of the built-in ones, one per line; blank lines and # comments are\n"
    "                 left out:\n"
    "                   gemm 128x512x784 TN         [BATCHx]ROWSxCOLUMNSxINNER; NN (the default), NT, TN or TT\n"
    "                   sum 4096x4096 axis=0        or max; without an axis over all elements\n"
    "                   elementwise 1000000 ops=5   a chain of 1 to 10 ops; or exp, tanh, erf\n"
    "                   softmax 4096x1000           or layer_norm, batch_norm, copy, transpose\n"
    "                   batch_norm_train 8x64x56x56 with its gradients; or layer_norm_train, group_norm_train, which\n"
    "                                               takes groups=2\n"
    "                   cumsum 4096x4096 axis=0     or sort, topk (the 10 largest); without an axis along the last\n"
    "                   uniform 1000000             or normal, bernoulli\n"
    "                   forward 16x64x56x56x64x3x3 stride=1 padding=1 groups=1\n"
    "                                               a convolution: BATCHxCHANNELSxHEIGHTxWIDTHxOUTPUTSxROWSxCOLUMNS;\n"
    "                                               or its gradients: data, kernel\n"
    "                   mlp                         a training step, which has its own shape; or mlp-wide, tabular,\n"
    "                                               logistic, autoencoder, lenet, convbn, resnet20, unet3d,\n"
    "                                               mobilenet-block\n"
    "\n"
    "GB/s counts each input once per pass that the formula makes over it, and the result once; of a normalization\n"
    "with its gradients the passes that read or write a tensor as large as the input. The roofline is the larger\n"
    "share of the two limits; operands that a cache holds can exceed it. Spread is the width of the middle half of\n"
    "the samples, as a share of the median: where it is large, something else had the device. What does not fit into\n"
    "the device's memory is skipped with a note. The exit status is 1 if a case failed, 2 for arguments or lines\n"
    "that mean nothing.\n";

static int complain(const cg_context *cg, const char *what)
{
    fprintf(stderr, "clgrad bench: %s%s%s\n", what, *what ? ": " : "", cg_message(cg));
    return EXIT_FAILURE;
}

static int run_case(const bench_case *c, const case_options *options, device_limits *limits)
{
    char text[2 * CASE_TEXT_BYTES];
    bench_result result;
    cg_context *cg = cg_open(options->device);
    int status = EXIT_SUCCESS;
    bench_case_text(c, text);
    if (cg_status(cg) != CG_OK || bench_case_fits(cg, c)) {
        if (cg_status(cg) != CG_OK || !raise_device_limits(cg, options->dtype, options->quick, limits) ||
            !bench_run(cg, c, options->quick, &result))
            status = complain(cg, text);
        else if (options->json)
            bench_json_line(cg, c, &result, limits);
        else
            bench_table_row(c, &result, limits);
    }
    cg_close(cg);
    return status;
}

/* Looks at the device before the first case, as a wrong one would fail them all. */
static int check_device(const case_options *options, device_limits *limits)
{
    cg_context *cg = cg_open(options->device);
    int status = EXIT_SUCCESS;
    if (cg_status(cg) != CG_OK) {
        status = complain(cg, "");
    } else if (options->dtype == CG_F64 && !cg_device(cg)->has_f64) {
        fprintf(stderr, "clgrad bench: %s has no f64\n", cg_device(cg)->name);
        status = EXIT_FAILURE;
    } else if (!raise_device_limits(cg, options->dtype, options->quick, limits)) {
        status = EXIT_FAILURE;
    } else if (!options->json) {
        bench_table_head(cg, options->dtype, limits);
    }
    cg_close(cg);
    return status;
}

static int run_cases(const case_list *list, const case_options *options)
{
    device_limits limits = {0};
    int status = check_device(options, &limits);
    if (status != EXIT_SUCCESS) return status;
    for (int i = 0; i < list->count; i++)
        if (run_case(&list->cases[i], options, &limits) != EXIT_SUCCESS) status = EXIT_FAILURE;
    return status;
}

static int run(const case_options *options)
{
    case_list list = {0};
    const int status = case_list_choose(&list, options) ? run_cases(&list, options) : EXIT_USAGE;
    case_list_free(&list);
    return status;
}

int bench_command(int argument_count, char **arguments)
{
    return run_with_case_options("clgrad bench", usage, true, argument_count, arguments, run);
}

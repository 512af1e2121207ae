/* Convolutions along two axes, and their gradients in the input and in the kernel. The shape is that of the input, then
 * how many outputs, and the kernel's extent: BATCHxCHANNELSxHEIGHTxWIDTHxOUTPUTSxROWSxCOLUMNS. */
#include "bench_case.h"

static cg_tensor convolve(const bench_case *c, cg_tensor x, cg_tensor kernel)
{
    return cg_convolution(x, kernel, .stride = {c->stride}, .padding = CG_PADDING_EXPLICIT,
                          .before = {c->padding, c->padding}, .after = {c->padding, c->padding}, .groups = c->groups);
}

static cg_tensor record_forward(const bench_case *c, const cg_tensor *inputs)
{
    return convolve(c, inputs[0], inputs[1]);
}

/* The result is not needed for either gradient, and so is not computed. */
static cg_tensor gradient(const bench_case *c, const cg_tensor *inputs, int of)
{
    const cg_tensor output = convolve(c, inputs[0], inputs[1]);
    cg_tensor result = {0};
    cg_grad(&output, 1, &inputs[of], 1, &result, .cotangents = &inputs[2]);
    return result;
}

static cg_tensor record_data(const bench_case *c, const cg_tensor *inputs)
{
    return gradient(c, inputs, 0);
}

static cg_tensor record_kernel(const bench_case *c, const cg_tensor *inputs)
{
    return gradient(c, inputs, 1);
}

static const char *describe(bench_case *c)
{
    const int64_t *e = c->extents.size, outputs = e[4];
    int64_t places[2];
    for (int i = 0; i < 2; i++) {
        places[i] = (e[2 + i] + 2 * c->padding - e[5 + i]) / c->stride + 1;
        if (e[2 + i] + 2 * c->padding < e[5 + i]) return "its kernel is larger than the padded input";
    }
    if (e[1] % c->groups || outputs % c->groups) return "its groups do not divide channels and outputs";
    c->inputs[0] = CG_SHAPE(e[0], e[1], e[2], e[3]);
    c->inputs[1] = CG_SHAPE(outputs, e[1] / c->groups, e[5], e[6]);
    c->inputs[2] = CG_SHAPE(e[0], outputs, places[0], places[1]);
    c->flop = 2 * elements_of(c->inputs[1]) * (double)(e[0] * places[0] * places[1]);
    return NULL;
}

static const char *describe_forward(bench_case *c)
{
    const char *why = describe(c);
    c->input_count = 2;
    c->result_size = elements_of(c->inputs[2]);
    return why;
}

static const char *describe_gradient(bench_case *c)
{
    const char *why = describe(c);
    c->input_count = 3;
    c->result_size = elements_of(c->inputs[c->kind->record == record_kernel]);
    return why;
}

const bench_kind *bench_convolution_kinds(int *count)
{
    static const bench_kind kinds[] = {
        {"convolution", "forward", WORD_WINDOWS, 7, 7, describe_forward, record_forward, NULL, NULL, NULL},
        {"convolution", "data", WORD_WINDOWS, 7, 7, describe_gradient, record_data, NULL, NULL, NULL},
        {"convolution", "kernel", WORD_WINDOWS, 7, 7, describe_gradient, record_kernel, NULL, NULL, NULL},
    };
    *count = sizeof kinds / sizeof *kinds;
    return kinds;
}

/* Kinds that fold axes: sums and maxima, softmax and the normalizations. Where a first look at the whole input decides
 * what a second one computes, the formula needs two passes, and the traffic counts the input twice. */
#include "bench_case.h"

#include <clgrad/normalization.h>

#define OVER_AXIS(c) ((c)->axis == NO_AXIS ? (cg_axes){0} : CG_AXES((c)->axis))

static cg_tensor record_sum(const bench_case *c, const cg_tensor *inputs)
{
    return cg_sum(inputs[0], .axes = OVER_AXIS(c));
}

static cg_tensor record_max(const bench_case *c, const cg_tensor *inputs)
{
    return cg_max(inputs[0], .axes = OVER_AXIS(c));
}

static cg_tensor record_softmax(const bench_case *c, const cg_tensor *inputs)
{
    (void)c;
    return cg_softmax(inputs[0], -1);
}

/* Of every row, with a gain and an offset per column. */
static cg_tensor record_layer_norm(const bench_case *c, const cg_tensor *inputs)
{
    (void)c;
    return cg_layer_norm(inputs[0], .gamma = inputs[1], .beta = inputs[2]);
}

static cg_tensor record_batch_norm(const bench_case *c, const cg_tensor *inputs)
{
    (void)c;
    return cg_batch_norm(inputs[0], inputs[1], inputs[2], 1e-3).output;
}

static const char *describe_reduction(bench_case *c)
{
    const double size = elements_of(c->extents);
    c->inputs[0] = c->extents;
    c->input_count = 1;
    c->result_size = c->axis == NO_AXIS ? 1 : size / (double)c->extents.size[c->axis];
    c->flop = size;
    return NULL;
}

/* Maximum, difference, exponential, sum, quotient. */
static const char *describe_softmax(bench_case *c)
{
    const double size = elements_of(c->extents);
    c->inputs[0] = c->extents;
    c->input_count = 1;
    c->result_size = size;
    c->passes = 2;
    c->flop = 5 * size;
    return NULL;
}

/* Sum, difference, square, sum, quotient, gain, offset. */
static const char *describe_normalization(bench_case *c)
{
    const double size = elements_of(c->extents);
    c->inputs[0] = c->extents;
    c->inputs[1] = c->inputs[2] = CG_SHAPE(c->extents.size[c->extents.rank - 1]);
    c->input_count = 3;
    c->result_size = size;
    c->passes = 2;
    c->flop = 7 * size;
    return NULL;
}

const bench_kind *bench_reduce_kinds(int *count)
{
    static const bench_kind kinds[] = {
        {"reduce", "sum", WORD_AXIS, 1, CG_MAX_RANK, describe_reduction, record_sum, NULL, NULL, NULL},
        {"reduce", "max", WORD_AXIS, 1, CG_MAX_RANK, describe_reduction, record_max, NULL, NULL, NULL},
        {"softmax", "softmax", 0, 1, CG_MAX_RANK, describe_softmax, record_softmax, NULL, NULL, NULL},
        {"layer_norm", "layer_norm", 0, 2, CG_MAX_RANK, describe_normalization, record_layer_norm, NULL, NULL, NULL},
        {"batch_norm", "batch_norm", 0, 2, CG_MAX_RANK, describe_normalization, record_batch_norm, NULL, NULL, NULL},
    };
    *count = sizeof kinds / sizeof *kinds;
    return kinds;
}

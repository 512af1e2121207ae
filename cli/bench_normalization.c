/* Normalizations of training: the output and, from a cotangent, the gradients in x, gamma and beta, in one plan. The
 * batch is the first axis of the shape and the channels are the second; layer norm is over the last.
 *
 * Batch norm reads and writes 8 tensors of the size of x: x for the statistics, x and the output, x and the cotangent
 * for two sums, these and the gradient. The others, whose rows a cache holds, 5: x and the output, x, the cotangent and
 * the gradient. */
#include "bench_case.h"

#include <clgrad/normalization.h>

/* The inputs are x, gamma, beta and the output's cotangent. */
static int with_gradients(cg_tensor output, const cg_tensor *inputs, cg_tensor *results)
{
    results[0] = output;
    cg_grad(&output, 1, inputs, 3, results + 1, .cotangents = &inputs[3]);
    return 4;
}

static int record_batch_norm(const bench_case *c, const cg_tensor *inputs, cg_tensor *results)
{
    (void)c;
    return with_gradients(cg_batch_norm(inputs[0], inputs[1], inputs[2], 1e-3, .axis = 1).output, inputs, results);
}

static int record_group_norm(const bench_case *c, const cg_tensor *inputs, cg_tensor *results)
{
    return with_gradients(cg_group_norm(inputs[0], c->groups, .gamma = inputs[1], .beta = inputs[2]), inputs, results);
}

static int record_layer_norm(const bench_case *c, const cg_tensor *inputs, cg_tensor *results)
{
    (void)c;
    return with_gradients(cg_layer_norm(inputs[0], .gamma = inputs[1], .beta = inputs[2]), inputs, results);
}

static const char *describe(bench_case *c, int64_t features, int passes)
{
    c->inputs[0] = c->inputs[3] = c->extents;
    c->inputs[1] = c->inputs[2] = CG_SHAPE(features);
    c->input_count = 4;
    c->result_size = 2 * elements_of(c->extents) + 2 * (double)features;
    c->passes = passes;
    /* Of the output as in bench_reduce.c; two products, two sums, and three each of sums and products. */
    c->flop = (7 + 10) * elements_of(c->extents);
    return NULL;
}

static const char *describe_batch_norm(bench_case *c)
{
    return describe(c, c->extents.size[1], 8);
}

static const char *describe_group_norm(bench_case *c)
{
    if (c->extents.size[1] % c->groups) return "its groups do not divide the channels";
    return describe(c, c->extents.size[1], 5);
}

static const char *describe_layer_norm(bench_case *c)
{
    return describe(c, c->extents.size[c->extents.rank - 1], 5);
}

const bench_kind *bench_normalization_kinds(int *count)
{
    static const bench_kind kinds[] = {
        {.family = "batch_norm",
         .name = "batch_norm_train",
         .least_rank = 2,
         .most_rank = CG_MAX_RANK,
         .describe = describe_batch_norm,
         .record_all = record_batch_norm},
        {.family = "group_norm",
         .name = "group_norm_train",
         .words = WORD_GROUPS,
         .least_rank = 3,
         .most_rank = CG_MAX_RANK - 1,
         .describe = describe_group_norm,
         .record_all = record_group_norm},
        {.family = "layer_norm",
         .name = "layer_norm_train",
         .least_rank = 2,
         .most_rank = CG_MAX_RANK,
         .describe = describe_layer_norm,
         .record_all = record_layer_norm},
    };
    *count = sizeof kinds / sizeof *kinds;
    return kinds;
}

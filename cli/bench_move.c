/* Kinds that only move memory or fill it: copies, transposes, random numbers. */
#include "bench_case.h"

/* All rows but the first of a tensor that has one more: the smallest thing that must be stored anew. */
static cg_tensor record_copy(const bench_case *c, const cg_tensor *inputs)
{
    return cg_slice_axis(inputs[0], 0, 1, 1 + c->extents.size[0]);
}

static cg_tensor record_transpose(const bench_case *c, const cg_tensor *inputs)
{
    (void)c;
    return cg_transpose(inputs[0]);
}

/* The input of random kinds is a single number, which leads to the context. */
static cg_tensor record_uniform(const bench_case *c, const cg_tensor *inputs)
{
    return cg_uniform(cg_context_of(inputs[0]), c->extents, .dtype = c->dtype);
}

static cg_tensor record_normal(const bench_case *c, const cg_tensor *inputs)
{
    return cg_normal(cg_context_of(inputs[0]), c->extents, .dtype = c->dtype);
}

static cg_tensor record_bernoulli(const bench_case *c, const cg_tensor *inputs)
{
    return cg_bernoulli(cg_context_of(inputs[0]), c->extents, 0.3, .dtype = c->dtype);
}

static const char *describe_copy(bench_case *c)
{
    c->inputs[0] = c->extents;
    c->inputs[0].size[0]++;
    c->input_count = 1;
    c->result_size = elements_of(c->extents);
    return NULL;
}

static const char *describe_transpose(bench_case *c)
{
    c->inputs[0] = c->extents;
    c->input_count = 1;
    c->result_size = elements_of(c->extents);
    return NULL;
}

static const char *describe_random(bench_case *c)
{
    c->inputs[0] = CG_SHAPE(1);
    c->input_count = 1;
    c->result_size = elements_of(c->extents);
    return NULL;
}

const bench_kind *bench_move_kinds(int *count)
{
    static const bench_kind kinds[] = {
        {"copy", "copy", 0, 1, CG_MAX_RANK, describe_copy, record_copy, NULL, NULL, NULL},
        {"transpose", "transpose", 0, 2, CG_MAX_RANK, describe_transpose, record_transpose, NULL, NULL, NULL},
        {"random", "uniform", 0, 1, CG_MAX_RANK, describe_random, record_uniform, NULL, NULL, NULL},
        {"random", "normal", 0, 1, CG_MAX_RANK, describe_random, record_normal, NULL, NULL, NULL},
        {"random", "bernoulli", 0, 1, CG_MAX_RANK, describe_random, record_bernoulli, NULL, NULL, NULL},
    };
    *count = sizeof kinds / sizeof *kinds;
    return kinds;
}

/* The elementwise kinds: chains of one to ten cheap ops, which should become one kernel that is bound by memory, and
 * single functions that cost more. */
#include "bench_case.h"

static cg_tensor scalar(cg_tensor x, double value)
{
    return cg_scalar(cg_context_of(x), value);
}

/* Op number `index` of the chain; values stay within a few units. The last is a multiply-add, two ops of the graph. */
static cg_tensor chain_link(cg_tensor x, int index)
{
    switch (index) {
    case 0:
        return cg_add(x, scalar(x, 0.5));
    case 1:
        return cg_mul(x, scalar(x, 0.75));
    case 2:
        return cg_maximum(x, scalar(x, 0.125));
    case 3:
        return cg_sqrt(x);
    case 4:
        return cg_sub(x, scalar(x, 0.25));
    case 5:
        return cg_neg(x);
    case 6:
        return cg_minimum(x, scalar(x, 0.5));
    case 7:
        return cg_abs(x);
    case 8:
        return cg_square(x);
    default:
        return cg_add(cg_mul(x, scalar(x, 0.5)), scalar(x, 0.25));
    }
}

static cg_tensor record_chain(const bench_case *c, const cg_tensor *inputs)
{
    cg_tensor x = inputs[0];
    for (int i = 0; i < c->ops; i++) x = chain_link(x, i);
    return x;
}

static cg_tensor record_function(const bench_case *c, const cg_tensor *inputs)
{
    return c->kind->function(inputs[0]);
}

static const char *describe(bench_case *c)
{
    const double size = elements_of(c->extents);
    c->inputs[0] = c->extents;
    c->input_count = 1;
    c->result_size = size;
    c->flop = size * (c->ops == 10 ? 11 : c->ops);
    return NULL;
}

const bench_kind *bench_elementwise_kinds(int *count)
{
    static const bench_kind kinds[] = {
        {"elementwise", "elementwise", WORD_OPS, 1, CG_MAX_RANK, describe, record_chain, NULL, NULL, NULL},
        {"elementwise", "exp", 0, 1, CG_MAX_RANK, describe, record_function, cg_exp, NULL, NULL},
        {"elementwise", "tanh", 0, 1, CG_MAX_RANK, describe, record_function, cg_tanh, NULL, NULL},
        {"elementwise", "erf", 0, 1, CG_MAX_RANK, describe, record_function, cg_erf, NULL, NULL},
    };
    *count = sizeof kinds / sizeof *kinds;
    return kinds;
}

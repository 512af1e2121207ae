/* Kinds that scan or sort the lines along an axis, the last one unless another is given: running sums, sorted elements,
 * the ten largest. */
#include "bench_case.h"

enum { BEST = 10 };

static int axis_of(const bench_case *c)
{
    return c->axis == NO_AXIS ? c->extents.rank - 1 : c->axis;
}

static cg_tensor record_cumsum(const bench_case *c, const cg_tensor *inputs)
{
    return cg_cumsum(inputs[0], axis_of(c));
}

static cg_tensor record_sort(const bench_case *c, const cg_tensor *inputs)
{
    return cg_sort(inputs[0], axis_of(c));
}

static cg_tensor record_topk(const bench_case *c, const cg_tensor *inputs)
{
    return cg_top_k(inputs[0], BEST, axis_of(c), NULL);
}

static const char *describe_scan(bench_case *c)
{
    c->inputs[0] = c->extents;
    c->input_count = 1;
    c->result_size = elements_of(c->extents);
    return NULL;
}

static const char *describe_cumsum(bench_case *c)
{
    c->flop = elements_of(c->extents);
    return describe_scan(c);
}

static const char *describe_topk(bench_case *c)
{
    const double count = (double)c->extents.size[axis_of(c)];
    describe_scan(c);
    c->result_size *= BEST / count;
    return count < BEST ? "its axis must have 10 elements or more" : NULL;
}

const bench_kind *bench_scan_kinds(int *count)
{
    static const bench_kind kinds[] = {
        {"cumsum", "cumsum", WORD_AXIS, 1, CG_MAX_RANK, describe_cumsum, record_cumsum, NULL, NULL, NULL},
        {"sort", "sort", WORD_AXIS, 1, CG_MAX_RANK, describe_scan, record_sort, NULL, NULL, NULL},
        {"topk", "topk", WORD_AXIS, 1, CG_MAX_RANK, describe_topk, record_topk, NULL, NULL, NULL},
    };
    *count = sizeof kinds / sizeof *kinds;
    return kinds;
}

/* Matrix products, single or in batches. ROWSxCOLUMNSxINNER, row-major, with a batch in front; a form of TN is
 * transpose(A) B: the operand lies in memory transposed, as it does in a backward pass. */
#include "bench_case.h"

static cg_tensor operand(const bench_case *c, const cg_tensor *inputs, int index)
{
    return c->transposed[index] ? cg_swap_axes(inputs[index], -1, -2) : inputs[index];
}

static cg_tensor record(const bench_case *c, const cg_tensor *inputs)
{
    return cg_matmul(operand(c, inputs, 0), operand(c, inputs, 1));
}

static cg_shape matrix(const bench_case *c, int64_t rows, int64_t columns, bool transposed)
{
    cg_shape shape = c->extents;
    const int last = shape.rank - 1;
    shape.rank = last;
    shape.size[last - 2] = transposed ? columns : rows;
    shape.size[last - 1] = transposed ? rows : columns;
    return shape;
}

static const char *describe(bench_case *c)
{
    const int64_t *extents = &c->extents.size[c->extents.rank - 3];
    c->inputs[0] = matrix(c, extents[0], extents[2], c->transposed[0]);
    c->inputs[1] = matrix(c, extents[2], extents[1], c->transposed[1]);
    c->input_count = 2;
    c->result_size = elements_of(c->extents) / (double)extents[2];
    c->flop = 2 * elements_of(c->extents);
    return NULL;
}

const bench_kind *bench_gemm_kinds(int *count)
{
    static const bench_kind kinds[] = {
        {"gemm", "gemm", WORD_FORM, 3, 4, describe, record, NULL, NULL, NULL},
        {"deepbench", "deepbench", WORD_FORM, 3, 4, describe, record, NULL, NULL, NULL},
    };
    *count = sizeof kinds / sizeof *kinds;
    return kinds;
}

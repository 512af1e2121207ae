/* What the files of ops/ share: families of ops, which table.c joins, short forms for writing descriptors and their
 * rules, and a few helpers on axes and shapes. Nothing outside ops/ includes it. */
#ifndef CLGRAD_OPS_FAMILY_H
#define CLGRAD_OPS_FAMILY_H

#include <clgrad/ops.h>

extern const cg_op_family cg_ops_unary, cg_ops_activation, cg_ops_units, cg_ops_binary, cg_ops_compare, cg_ops_shape,
    cg_ops_slice, cg_ops_reduce, cg_ops_matmul, cg_ops_softmax, cg_ops_index, cg_ops_random, cg_ops_normalization,
    cg_ops_windows, cg_ops_convolution, cg_ops_scaling, cg_ops_gates, cg_ops_dropout, cg_ops_pooling, cg_ops_depthwise,
    cg_ops_arrange, cg_ops_create, cg_ops_resize, cg_ops_patches, cg_ops_grid, cg_ops_scan, cg_ops_sort, cg_ops_along,
    cg_ops_statistics;

#define LENGTH(array) ((int)(sizeof(array) / sizeof *(array)))

/* Fields of a descriptor. */
#define SAMPLES(list) .samples = (list), .sample_count = LENGTH(list)
#define ATTRIBUTES(...) .attributes = {__VA_ARGS__}, .attribute_count = LENGTH(((int64_t[]){__VA_ARGS__}))

/* Fields of a family. */
#define OPS(list) .ops = (list), .count = LENGTH(list)
#define FUNCTIONS(list) .functions = (list), .function_count = LENGTH(list)

/* Fields of a sample: one map operand, and two that broadcast against each other. */
#define ONE_OPERAND .shapes = {{2, {3, 5}}}
#define TWO_OPERANDS .shapes = {{2, {3, 5}}, {3, {2, 1, 5}}}

/* Source of a kernel that takes elements of lines by their indices. p0: elements after the axis; p1: indices of a line;
 * p2: extent of the axis. */
#define GATHER(INDEX) \
    "const long index = " INDEX ";\n" \
    "OUT0_T value = 0;\n" \
    "if (index >= 0 && index < p2)\n" \
    "    value = in0[(i / (p0 * p1) * p2 + index) * p0 + i % p0];\n" \
    "else\n" \
    "    { REPORT(index, p2); }\n" \
    "out0[i] = value;\n"

/* Calls of map ops. */
static inline cg_tensor cg_map_1(const cg_op *op, cg_tensor a)
{
    return cg_apply(op, &a, 1, NULL, 0);
}

static inline cg_tensor cg_map_2(const cg_op *op, cg_tensor a, cg_tensor b)
{
    return cg_apply(op, (cg_tensor[]){a, b}, 2, NULL, 0);
}

static inline cg_tensor cg_map_3(const cg_op *op, cg_tensor a, cg_tensor b, cg_tensor c)
{
    return cg_apply(op, (cg_tensor[]){a, b, c}, 3, NULL, 0);
}

/* The literal `number` in the dtype of x. */
static inline cg_tensor cg_literal_like(cg_tensor x, double number)
{
    return cg_constant(cg_context_of(x), cg_dtype_of(x), number);
}

/* x as f32 if it is not floating. */
static inline cg_tensor cg_to_floating(cg_tensor x)
{
    return cg_is_floating(cg_dtype_of(x)) ? x : cg_cast(x, CG_F32);
}

/* The dtype of a floating op's result. */
static inline cg_dtype cg_floating_dtype(cg_dtype dtype)
{
    return cg_is_floating(dtype) ? dtype : CG_F32;
}

/* The cotangent of an operand that was broadcast and converted: summed and converted back. */
static inline cg_tensor cg_cotangent_for(cg_tensor input, cg_tensor cotangent)
{
    return cg_cast(cg_sum_to_shape(cotangent, cg_shape_of(input)), cg_dtype_of(input));
}

/* A number that a user passes, in the dtype of x. */
cg_tensor cg_number_like(cg_tensor x, double number);

/* Numbers on [0, 1), in steps of 2^-24, f32: the next of the context's, or those of a key. */
cg_tensor cg_draw_fraction(cg_context *cg, cg_shape shape, uint64_t key, bool has_key);

/* An axis, negative ones counted from the end, as 0..rank-1. Returns false, reported under `op`, where x has no such
 * axis. A null or dead x passes, for cg_apply to deal with. */
bool cg_resolve_axis(cg_tensor x, const char *op, int *axis);
/* A list of axes as a bit mask; an empty one means all. */
bool cg_resolve_axes(cg_tensor x, const char *op, cg_axes axes, int64_t *mask);
/* The list again. */
cg_axes cg_axes_of_mask(int64_t mask);
/* Whether x is [batch, channels, spatial...] with `given` spatial axes, one to three; reports under `op` where not. */
bool cg_spatial_rank_fits(cg_tensor x, const char *op, int given);
/* Whole factors of 1 to 65535, one per spatial axis of x, or one given for all. Reports likewise. */
bool cg_resolve_factors(cg_tensor x, const char *op, cg_shape given, cg_shape *factors);

/* A shape as lines along one of its axes: the number of elements before it, along it and after it. */
typedef struct cg_lines {
    int64_t outer, count, inner;
} cg_lines;
cg_lines cg_lines_of(cg_shape shape, int axis);

/* cg_scatter_add_along for indices that ascend along the axis, and cg_gather_along for those of an order, which name
 * each element of a line once. The axis is one of 0..rank-1. */
cg_tensor cg_scatter_ordered(cg_tensor updates, cg_tensor indices, int axis, int64_t size);
cg_tensor cg_reordered(cg_tensor x, cg_tensor order, int axis);
/* Whether cg_scatter_add_along sorts these updates first: there are many, for many places. */
bool cg_is_scattered_sorted(cg_tensor updates, cg_tensor indices, int axis, int64_t size);

#endif

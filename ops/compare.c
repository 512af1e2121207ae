/* Comparisons, tests for NaN and infinity, logic on bools, and the choice between two tensors. All but the choice give
 * bools and have derivative 0. Each op: where to check it, its descriptor, its function. */
#include "ops/family.h"

#include <math.h>

/* ---- Comparisons ------------------------------------------------------------------------------------------------- */

/* Small integers, so that equal pairs occur. */
static const cg_sample comparison_samples[] = {
    {TWO_OPERANDS, .low = -2, .high = 2, .smooth = true, .edges = true},
    {TWO_OPERANDS, .dtypes = {CG_I32, CG_I32}, .low = -2, .high = 2},
    {TWO_OPERANDS, .dtypes = {CG_U8, CG_I32}, .low = 0, .high = 3},
};

/* A true bool may be any number but 0 inside a kernel, so two of them are compared as integers. */
static cg_tensor compare(const cg_op *op, cg_tensor a, cg_tensor b)
{
    if (cg_dtype_of(a) == CG_BOOL && cg_dtype_of(b) == CG_BOOL) a = cg_cast(a, CG_I32), b = cg_cast(b, CG_I32);
    return cg_map_2(op, a, b);
}

static double equal_host(const double *x)
{
    return x[0] == x[1];
}

static const cg_op equal_op = {
    .name = "equal",
    .kind = CG_OP_MAP,
    .inputs = 2,
    .expression = "a == b",
    .predicate = true,
    .host = equal_host,
    .zero_gradient = true,
    .text = {.formula = "a = b", .edges = "false with a NaN", .keras = "ops.equal", .pytorch = "eq"},
    SAMPLES(comparison_samples),
};

cg_tensor cg_equal(cg_tensor a, cg_tensor b)
{
    return compare(&equal_op, a, b);
}

static double not_equal_host(const double *x)
{
    return x[0] != x[1];
}

static const cg_op not_equal_op = {
    .name = "not_equal",
    .kind = CG_OP_MAP,
    .inputs = 2,
    .expression = "a != b",
    .predicate = true,
    .host = not_equal_host,
    .zero_gradient = true,
    .text = {.formula = "a ≠ b", .edges = "true with a NaN", .keras = "ops.not_equal", .pytorch = "ne"},
    SAMPLES(comparison_samples),
};

cg_tensor cg_not_equal(cg_tensor a, cg_tensor b)
{
    return compare(&not_equal_op, a, b);
}

static double less_host(const double *x)
{
    return x[0] < x[1];
}

static const cg_op less_op = {
    .name = "less",
    .kind = CG_OP_MAP,
    .inputs = 2,
    .expression = "a < b",
    .predicate = true,
    .host = less_host,
    .zero_gradient = true,
    .text = {.formula = "a < b", .edges = "false with a NaN", .keras = "ops.less", .pytorch = "lt"},
    SAMPLES(comparison_samples),
};

cg_tensor cg_less(cg_tensor a, cg_tensor b)
{
    return compare(&less_op, a, b);
}

static double less_equal_host(const double *x)
{
    return x[0] <= x[1];
}

static const cg_op less_equal_op = {
    .name = "less_equal",
    .kind = CG_OP_MAP,
    .inputs = 2,
    .expression = "a <= b",
    .predicate = true,
    .host = less_equal_host,
    .zero_gradient = true,
    .text = {.formula = "a ≤ b", .edges = "false with a NaN", .keras = "ops.less_equal", .pytorch = "le"},
    SAMPLES(comparison_samples),
};

cg_tensor cg_less_equal(cg_tensor a, cg_tensor b)
{
    return compare(&less_equal_op, a, b);
}

static double greater_host(const double *x)
{
    return x[0] > x[1];
}

static const cg_op greater_op = {
    .name = "greater",
    .kind = CG_OP_MAP,
    .inputs = 2,
    .expression = "a > b",
    .predicate = true,
    .host = greater_host,
    .zero_gradient = true,
    .text = {.formula = "a > b", .edges = "false with a NaN", .keras = "ops.greater", .pytorch = "gt"},
    SAMPLES(comparison_samples),
};

cg_tensor cg_greater(cg_tensor a, cg_tensor b)
{
    return compare(&greater_op, a, b);
}

static double greater_equal_host(const double *x)
{
    return x[0] >= x[1];
}

static const cg_op greater_equal_op = {
    .name = "greater_equal",
    .kind = CG_OP_MAP,
    .inputs = 2,
    .expression = "a >= b",
    .predicate = true,
    .host = greater_equal_host,
    .zero_gradient = true,
    .text = {.formula = "a ≥ b", .edges = "false with a NaN", .keras = "ops.greater_equal", .pytorch = "ge"},
    SAMPLES(comparison_samples),
};

cg_tensor cg_greater_equal(cg_tensor a, cg_tensor b)
{
    return compare(&greater_equal_op, a, b);
}

/* ---- is_nan, is_inf, is_finite
 * ------------------------------------------------------------------------------------------- */

static const cg_sample class_samples[] = {
    {ONE_OPERAND, .low = -2, .high = 2, .smooth = true, .edges = true},
    {ONE_OPERAND, .dtypes = {CG_I32}, .low = -9, .high = 9},
};

static double is_nan_host(const double *x)
{
    return isnan(x[0]) != 0;
}

static const cg_op is_nan_op = {
    .name = "is_nan",
    .kind = CG_OP_MAP,
    .inputs = 1,
    .expression = "a != a",
    .predicate = true,
    .host = is_nan_host,
    .zero_gradient = true,
    .text = {.formula = "whether x is NaN", .keras = "ops.isnan", .pytorch = "isnan"},
    SAMPLES(class_samples),
};

cg_tensor cg_is_nan(cg_tensor x)
{
    return cg_map_1(&is_nan_op, x);
}

static double is_inf_host(const double *x)
{
    return isinf(x[0]) != 0;
}

static const cg_op is_inf_op = {
    .name = "is_inf",
    .kind = CG_OP_MAP,
    .inputs = 1,
    .expression = "(a == a) & ((a - a) != 0)",
    .predicate = true,
    .host = is_inf_host,
    .zero_gradient = true,
    .text = {.formula = "whether x is inf or -inf", .keras = "ops.isinf", .pytorch = "isinf"},
    SAMPLES(class_samples),
};

cg_tensor cg_is_inf(cg_tensor x)
{
    return cg_map_1(&is_inf_op, x);
}

static double is_finite_host(const double *x)
{
    return isfinite(x[0]) != 0;
}

static const cg_op is_finite_op = {
    .name = "is_finite",
    .kind = CG_OP_MAP,
    .inputs = 1,
    .expression = "(a - a) == 0",
    .predicate = true,
    .host = is_finite_host,
    .zero_gradient = true,
    .text = {.formula = "whether x is neither NaN nor infinite", .keras = "ops.isfinite", .pytorch = "isfinite"},
    SAMPLES(class_samples),
};

cg_tensor cg_is_finite(cg_tensor x)
{
    return cg_map_1(&is_finite_op, x);
}

/* ---- Logic ------------------------------------------------------------------------------------------------------- */

static const cg_sample logic_samples[] = {
    {TWO_OPERANDS, .dtypes = {CG_BOOL, CG_BOOL}, .low = 0, .high = 1},
    {TWO_OPERANDS, .dtypes = {CG_I32, CG_U8}, .low = 0, .high = 2},
    {TWO_OPERANDS, .low = -2, .high = 2, .smooth = true, .edges = true},
};

static double and_host(const double *x)
{
    return x[0] && x[1];
}

static const cg_op and_op = {
    .name = "logical_and",
    .kind = CG_OP_MAP,
    .inputs = 2,
    .expression = "a && b",
    .logical = true,
    .host = and_host,
    .zero_gradient = true,
    .text = {.formula = "whether neither a nor b is 0",
             .edges = "NaN counts as true",
             .keras = "ops.logical_and",
             .pytorch = "logical_and"},
    SAMPLES(logic_samples),
};

cg_tensor cg_logical_and(cg_tensor a, cg_tensor b)
{
    return cg_map_2(&and_op, a, b);
}

static double or_host(const double *x)
{
    return x[0] || x[1];
}

static const cg_op or_op = {
    .name = "logical_or",
    .kind = CG_OP_MAP,
    .inputs = 2,
    .expression = "a || b",
    .logical = true,
    .host = or_host,
    .zero_gradient = true,
    .text = {.formula = "whether a or b is not 0",
             .edges = "NaN counts as true",
             .keras = "ops.logical_or",
             .pytorch = "logical_or"},
    SAMPLES(logic_samples),
};

cg_tensor cg_logical_or(cg_tensor a, cg_tensor b)
{
    return cg_map_2(&or_op, a, b);
}

static double not_host(const double *x)
{
    return !x[0];
}

static const cg_op not_op = {
    .name = "logical_not",
    .kind = CG_OP_MAP,
    .inputs = 1,
    .expression = "!a",
    .logical = true,
    .host = not_host,
    .zero_gradient = true,
    .text = {.formula = "whether x is 0",
             .edges = "NaN counts as true, so false",
             .keras = "ops.logical_not",
             .pytorch = "logical_not"},
    SAMPLES(logic_samples),
};

cg_tensor cg_logical_not(cg_tensor x)
{
    return cg_map_1(&not_op, x);
}

/* ---- where: condition, yes, no ----------------------------------------------------------------------------------- */

static double where_host(const double *x)
{
    return x[0] ? x[1] : x[2];
}

static void where_vjp(const cg_vjp *v, cg_tensor *result)
{
    cg_tensor g = v->cotangents[0], condition = v->inputs[0], zero = cg_literal_like(g, 0);
    if (v->wanted[1]) result[1] = cg_cotangent_for(v->inputs[1], cg_where(condition, g, zero));
    if (v->wanted[2]) result[2] = cg_cotangent_for(v->inputs[2], cg_where(condition, zero, g));
}

static const cg_sample where_samples[] = {
    {.shapes = {{2, {3, 1}}, {2, {3, 5}}, {3, {2, 1, 5}}}, .dtypes = {CG_BOOL}, .low = 0, .high = 1, .smooth = true},
    {.shapes = {{2, {3, 1}}, {2, {3, 5}}, {1, {5}}}, .dtypes = {CG_U8, CG_I32, CG_I32}, .low = 0, .high = 3},
    {.shapes = {{1, {5}}, {2, {3, 5}}, {1, {5}}}, .low = -2, .high = 2, .edges = true},
};

static const cg_op where_op = {
    .name = "where",
    .kind = CG_OP_MAP,
    .inputs = 3,
    .expression = "SELECT(a, b, c)",
    .condition = true,
    .host = where_host,
    .vjp = where_vjp,
    .text = {.formula = "yes where condition is not 0, elsewhere no",
             .call = "condition, yes, no",
             .edges = "the branch not taken gets a cotangent of 0, whatever its value",
             .keras = "ops.where",
             .pytorch = "where"},
    SAMPLES(where_samples),
};

cg_tensor cg_where(cg_tensor condition, cg_tensor yes, cg_tensor no)
{
    return cg_map_3(&where_op, condition, yes, no);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static const cg_op *const list[] = {
    &equal_op,  &not_equal_op, &less_op, &less_equal_op, &greater_op, &greater_equal_op, &is_nan_op,
    &is_inf_op, &is_finite_op, &and_op,  &or_op,         &not_op,     &where_op,
};
const cg_op_family cg_ops_compare = {
    OPS(list), .title = "Comparison and choice",
    .introduction = "Bools, as masks and conditions; they broadcast as arithmetic does."};

/* Elementwise arithmetic of two operands that broadcast. Each op: its rule, where to check it, its descriptor, its
 * function. The cotangent of an operand that was broadcast is summed back to its shape. */
#include "ops/family.h"

#include <math.h>

/* ---- add, sub, mul, div ------------------------------------------------------------------------------------------ */

static double add_host(const double *x)
{
    return x[0] + x[1];
}

static void add_vjp(const cg_vjp *v, cg_tensor *result)
{
    for (int i = 0; i < 2; i++)
        if (v->wanted[i]) result[i] = cg_cotangent_for(v->inputs[i], v->cotangents[0]);
}

static const cg_sample add_samples[] = {
    {TWO_OPERANDS, .low = -2, .high = 2, .smooth = true, .edges = true},
    {TWO_OPERANDS, .dtypes = {CG_I32, CG_I32}, .low = -9, .high = 9},
    {TWO_OPERANDS, .dtypes = {CG_U8, CG_U8}, .low = 0, .high = 255},
    {TWO_OPERANDS, .dtypes = {CG_F32, CG_I32}, .low = -9, .high = 9},
};

static const cg_op add_op = {
    .name = "add",
    .kind = CG_OP_MAP,
    .inputs = 2,
    .expression = "a + b",
    .host = add_host,
    .vjp = add_vjp,
    .text = {.formula = "a + b; of two bools: or",
             .edges = "u8 wraps",
             .keras = "ops.add, layers.Add",
             .pytorch = "add"},
    SAMPLES(add_samples),
};

cg_tensor cg_add(cg_tensor a, cg_tensor b)
{
    return cg_map_2(&add_op, a, b);
}

static double sub_host(const double *x)
{
    return x[0] - x[1];
}

static void sub_vjp(const cg_vjp *v, cg_tensor *result)
{
    if (v->wanted[0]) result[0] = cg_cotangent_for(v->inputs[0], v->cotangents[0]);
    if (v->wanted[1]) result[1] = cg_cotangent_for(v->inputs[1], cg_neg(v->cotangents[0]));
}

static const cg_sample sub_samples[] = {
    {TWO_OPERANDS, .low = -2, .high = 2, .smooth = true, .edges = true},
    {TWO_OPERANDS, .dtypes = {CG_I32, CG_I32}, .low = -9, .high = 9},
};

static const cg_op sub_op = {
    .name = "sub",
    .kind = CG_OP_MAP,
    .inputs = 2,
    .expression = "a - b",
    .host = sub_host,
    .vjp = sub_vjp,
    .text = {.formula = "a - b; of two bools: exclusive or",
             .edges = "u8 wraps",
             .keras = "ops.subtract, layers.Subtract",
             .pytorch = "sub"},
    SAMPLES(sub_samples),
};

cg_tensor cg_sub(cg_tensor a, cg_tensor b)
{
    return cg_map_2(&sub_op, a, b);
}

static double mul_host(const double *x)
{
    return x[0] * x[1];
}

static void mul_vjp(const cg_vjp *v, cg_tensor *result)
{
    for (int i = 0; i < 2; i++)
        if (v->wanted[i]) result[i] = cg_cotangent_for(v->inputs[i], cg_mul(v->cotangents[0], v->inputs[1 - i]));
}

static const cg_sample mul_samples[] = {
    {TWO_OPERANDS, .low = -2, .high = 2, .smooth = true, .edges = true},
    {TWO_OPERANDS, .dtypes = {CG_I32, CG_I32}, .low = -9, .high = 9},
    {TWO_OPERANDS, .dtypes = {CG_BOOL, CG_F32}, .low = 0, .high = 1},
};

static const cg_op mul_op = {
    .name = "mul",
    .kind = CG_OP_MAP,
    .inputs = 2,
    .expression = "a * b",
    .host = mul_host,
    .vjp = mul_vjp,
    .text = {.formula = "a · b; of two bools: and",
             .edges = "u8 wraps",
             .keras = "ops.multiply, layers.Multiply",
             .pytorch = "mul"},
    SAMPLES(mul_samples),
};

cg_tensor cg_mul(cg_tensor a, cg_tensor b)
{
    return cg_map_2(&mul_op, a, b);
}

static double div_host(const double *x)
{
    return x[0] / x[1];
}

static void div_vjp(const cg_vjp *v, cg_tensor *result)
{
    cg_tensor a = v->inputs[0], b = v->inputs[1], share = cg_div(v->cotangents[0], b);
    if (v->wanted[0]) result[0] = cg_cotangent_for(a, share);
    if (v->wanted[1]) result[1] = cg_cotangent_for(b, cg_neg(cg_mul(share, v->outputs[0])));
}

static const cg_sample div_samples[] = {
    {TWO_OPERANDS, .low = 0.5, .high = 2, .smooth = true, .edges = true},
    {TWO_OPERANDS, .dtypes = {CG_I32, CG_I32}, .low = 1, .high = 9},
};

static const cg_op div_op = {
    .name = "div",
    .kind = CG_OP_MAP,
    .inputs = 2,
    .expression = "a / b",
    .floating = true,
    .cost = 4,
    .host = div_host,
    .vjp = div_vjp,
    .text = {.formula = "a / b",
             .edges = "infinite where b is 0, NaN for 0 / 0",
             .keras = "ops.divide",
             .pytorch = "div"},
    SAMPLES(div_samples),
};

cg_tensor cg_div(cg_tensor a, cg_tensor b)
{
    return cg_map_2(&div_op, a, b);
}

/* ---- pow --------------------------------------------------------------------------------------------------------- */

static double pow_host(const double *x)
{
    return pow(x[0], x[1]);
}

/* The places where a factor is infinite or NaN although the derivative is not are taken out before, not after, the
 * function that would make it so: derivatives of this rule stay clean too. */
static void pow_vjp(const cg_vjp *v, cg_tensor *result)
{
    cg_tensor g = v->cotangents[0], a = v->inputs[0], b = v->inputs[1];
    cg_tensor zero = cg_literal_like(g, 0), one = cg_literal_like(g, 1);
    if (v->wanted[0]) {
        cg_tensor constant = cg_equal(b, zero), exponent = cg_where(constant, one, cg_sub(b, one));
        result[0] = cg_cotangent_for(a, cg_where(constant, zero, cg_mul(g, cg_mul(b, cg_pow(a, exponent)))));
    }
    if (v->wanted[1]) {
        cg_tensor positive = cg_greater(a, zero), logarithm = cg_log(cg_where(positive, a, one));
        result[1] = cg_cotangent_for(b, cg_where(positive, cg_mul(g, cg_mul(v->outputs[0], logarithm)), zero));
    }
}

static const cg_sample pow_samples[] = {
    {TWO_OPERANDS, .low = 0.5, .high = 2, .smooth = true, .edges = true},
    {TWO_OPERANDS, .dtypes = {CG_I32, CG_I32}, .low = -3, .high = 3},
};

static const cg_op pow_op = {
    .name = "pow",
    .kind = CG_OP_MAP,
    .inputs = 2,
    .expression = "pow(a, b)",
    .floating = true,
    .cost = 20,
    .host = pow_host,
    .vjp = pow_vjp,
    .text = {.formula = "a^b, with the special cases of C's pow",
             .edges = "x^0 is 1 for every x; NaN for a < 0 with a fractional b; derivative in a: 0 where b is 0; in b: "
                      "0 where a ≤ 0",
             .keras = "ops.power",
             .pytorch = "pow"},
    SAMPLES(pow_samples),
};

cg_tensor cg_pow(cg_tensor a, cg_tensor b)
{
    return cg_map_2(&pow_op, a, b);
}

/* ---- maximum, minimum -------------------------------------------------------------------------------------------- */

/* Each operand's cotangent: g where it wins, half of it at a tie. */
static void extremum_vjp(const cg_vjp *v, cg_tensor *result, cg_tensor (*wins)(cg_tensor, cg_tensor))
{
    cg_tensor g = v->cotangents[0], zero = cg_literal_like(g, 0), half = cg_mul(g, cg_literal_like(g, 0.5));
    cg_tensor tied = cg_where(cg_equal(v->inputs[0], v->inputs[1]), half, zero);
    for (int i = 0; i < 2; i++)
        if (v->wanted[i])
            result[i] = cg_cotangent_for(v->inputs[i], cg_where(wins(v->inputs[i], v->inputs[1 - i]), g, tied));
}

static double maximum_host(const double *x)
{
    return x[0] > x[1] || isnan(x[0]) ? x[0] : x[1];
}

static void maximum_vjp(const cg_vjp *v, cg_tensor *result)
{
    extremum_vjp(v, result, cg_greater);
}

static const cg_sample maximum_samples[] = {
    {TWO_OPERANDS, .low = -2, .high = 2, .smooth = true, .edges = true},
    {TWO_OPERANDS, .dtypes = {CG_I32, CG_I32}, .low = -9, .high = 9},
};

static const cg_op maximum_op = {
    .name = "maximum",
    .kind = CG_OP_MAP,
    .inputs = 2,
    .expression = "SELECT((a > b) | (a != a), a, b)",
    .host = maximum_host,
    .vjp = maximum_vjp,
    .text = {.formula = "the larger one; of two bools: or",
             .edges = "ties: half of the cotangent each; NaN if either is",
             .keras = "ops.maximum, layers.Maximum",
             .pytorch = "maximum"},
    SAMPLES(maximum_samples),
};

static bool both_bool(cg_tensor a, cg_tensor b)
{
    return cg_dtype_of(a) == CG_BOOL && cg_dtype_of(b) == CG_BOOL;
}

cg_tensor cg_maximum(cg_tensor a, cg_tensor b)
{
    return both_bool(a, b) ? cg_logical_or(a, b) : cg_map_2(&maximum_op, a, b);
}

static double minimum_host(const double *x)
{
    return x[0] < x[1] || isnan(x[0]) ? x[0] : x[1];
}

static void minimum_vjp(const cg_vjp *v, cg_tensor *result)
{
    extremum_vjp(v, result, cg_less);
}

static const cg_sample minimum_samples[] = {
    {TWO_OPERANDS, .low = -2, .high = 2, .smooth = true, .edges = true},
    {TWO_OPERANDS, .dtypes = {CG_I32, CG_I32}, .low = -9, .high = 9},
};

static const cg_op minimum_op = {
    .name = "minimum",
    .kind = CG_OP_MAP,
    .inputs = 2,
    .expression = "SELECT((a < b) | (a != a), a, b)",
    .host = minimum_host,
    .vjp = minimum_vjp,
    .text = {.formula = "the smaller one; of two bools: and",
             .edges = "ties: half of the cotangent each; NaN if either is",
             .keras = "ops.minimum, layers.Minimum",
             .pytorch = "minimum"},
    SAMPLES(minimum_samples),
};

cg_tensor cg_minimum(cg_tensor a, cg_tensor b)
{
    return both_bool(a, b) ? cg_logical_and(a, b) : cg_map_2(&minimum_op, a, b);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static const cg_op *const list[] = {&add_op, &sub_op, &mul_op, &div_op, &pow_op, &maximum_op, &minimum_op};
const cg_op_family cg_ops_binary = {
    OPS(list), .title = "Elementwise, two operands",
    .introduction = "Operands broadcast as in NumPy, and a derivative is summed back to the shape of its operand."};

/* Random numbers. The only random maps turn (position, seed, number of the call) into bits or a normal
 * number; everything else is arithmetic on those, with the user's numbers as operands. */
#include "ops/family.h"

#include <string.h>

/* Operands: position, seed (low, high half), number of the call (low, high). */
enum { RANDOM_OPERANDS = 5 };

static const cg_sample random_samples[] = {
    {.shapes = {{2, {16, 3}}}, .dtypes = {CG_I32, CG_I32, CG_I32, CG_I32}, .low = 0, .high = 1000},
};

/* ---- random_bits: 24 of them, a number from 0 to 2^24 - 1 -------------------------------------------------------- */

static const cg_op bits_op = {
    .name = "random_bits",
    .kind = CG_OP_MAP,
    .inputs = RANDOM_OPERANDS,
    .expression = "(PHILOX_BITS(a, b, c, d, e) >> 8) & 0xFFFFFF",
    .has_result_dtype = true,
    .result_dtype = CG_I32,
    .cost = 40,
    .random = true,
    .zero_gradient = true,
    .text = {.formula = "32 random bits at a position, of seed and call number", .dtypes = "→ i32", .internal = true},
    SAMPLES(random_samples),
};

/* ---- random_normal: mean 0, variance 1 --------------------------------------------------------------------------- */

static const cg_op normal_op = {
    .name = "random_normal",
    .kind = CG_OP_MAP,
    .inputs = RANDOM_OPERANDS,
    .expression = "PHILOX_NORMAL(a, b, c, d, e)",
    .has_result_dtype = true,
    .result_dtype = CG_F32,
    .cost = 60,
    .random = true,
    .zero_gradient = true,
    .text = {.formula = "a standard normal number at a position, of seed and call number",
             .dtypes = "→ f32",
             .internal = true},
    SAMPLES(random_samples),
};

/* ---- random_fraction: on [0, 1), in steps of 2^-24; the operands are those of random_bits but the position, the
 * attributes the extents of the result */

static cg_shape shape_of_attributes(const cg_call *call)
{
    cg_shape shape = {.rank = call->attribute_count};
    memcpy(shape.size, call->attributes, (size_t)shape.rank * sizeof *shape.size);
    return shape;
}

static bool fraction_infer(const cg_call *call, cg_inferred *result)
{
    result->shape[0] = shape_of_attributes(call);
    result->dtype[0] = CG_F32;
    if (cg_shape_size(result->shape[0]) <= INT32_MAX) return true;
    return cg_op_error(call, "%s has more than 2^31 - 1 positions", cg_shape_text(call->context, result->shape[0]));
}

static void fraction_expand(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs)
{
    cg_context *cg = call->context;
    cg_tensor operands[RANDOM_OPERANDS] = {cg_index(cg, shape_of_attributes(call))};
    memcpy(operands + 1, inputs, (RANDOM_OPERANDS - 1) * sizeof *operands);
    cg_tensor bits = cg_cast(cg_apply(&bits_op, operands, RANDOM_OPERANDS, NULL, 0), CG_F32);
    outputs[0] = cg_mul(bits, cg_constant(cg, CG_F32, 0x1p-24));
}

static const cg_sample fraction_samples[] = {
    {ATTRIBUTES(16, 3), .dtypes = {CG_I32, CG_I32, CG_I32, CG_I32}, .low = 0, .high = 1000},
};

static const cg_op fraction_op = {
    .name = "random_fraction",
    .kind = CG_OP_COMPOSED,
    .inputs = RANDOM_OPERANDS - 1,
    .infer = fraction_infer,
    .expand = fraction_expand,
    .deferred = true,
    .text = {.formula = "a number on [0, 1), in steps of 2^-24, of random bits", .dtypes = "→ f32", .internal = true},
    SAMPLES(fraction_samples),
};

cg_tensor cg_draw_fraction(cg_context *cg, cg_shape shape, uint64_t key, bool has_key)
{
    cg_tensor operands[RANDOM_OPERANDS - 1];
    if (shape.rank < 0 || shape.rank > CG_MAX_RANK) return cg_index(cg, shape); /* which says so */
    cg_random_operands(cg, key, has_key, operands);
    return cg_apply(&fraction_op, operands, LENGTH(operands), shape.size, shape.rank);
}

static cg_tensor draw_normal(cg_context *cg, cg_shape shape, uint64_t key, bool has_key)
{
    cg_tensor operands[RANDOM_OPERANDS] = {cg_index(cg, shape)};
    cg_random_operands(cg, key, has_key, operands + 1);
    return cg_apply(&normal_op, operands, RANDOM_OPERANDS, NULL, 0);
}

/* ---- uniform, normal, bernoulli ---------------------------------------------------------------------------------- */

/* origin + scale * x, in the dtype. */
static cg_tensor placed(cg_tensor x, cg_dtype dtype, double scale, double origin)
{
    cg_context *cg = cg_context_of(x);
    if (cg_is_null(x)) return x;
    return cg_add(cg_mul(cg_cast(x, dtype), cg_scalar(cg, scale)), cg_scalar(cg, origin));
}

/* A dtype that does not exist is left to the conversion to it, which says so. */
static bool floating_wanted(cg_context *cg, const char *op, cg_dtype dtype)
{
    if (cg_is_floating(dtype) || cg_dtype_bytes(dtype) == 0) return true;
    cg_report(cg, CG_ERROR_ARGUMENT, op, "dtype %s is not floating", cg_dtype_name(dtype));
    return false;
}

cg_tensor cg_uniform_with(cg_context *cg, cg_shape shape, const cg_uniform_options *options)
{
    cg_uniform_options given = options ? *options : (cg_uniform_options){0};
    if (given.low == 0 && given.high == 0) given.high = 1;
    if (!floating_wanted(cg, "uniform", given.dtype)) return (cg_tensor){0};
    return placed(cg_draw_fraction(cg, shape, given.key, given.has_key), given.dtype, given.high - given.low,
                  given.low);
}

cg_tensor cg_normal_with(cg_context *cg, cg_shape shape, const cg_normal_options *options)
{
    cg_normal_options given = options ? *options : (cg_normal_options){0};
    if (given.deviation == 0) given.deviation = 1;
    if (!floating_wanted(cg, "normal", given.dtype)) return (cg_tensor){0};
    return placed(draw_normal(cg, shape, given.key, given.has_key), given.dtype, given.deviation, given.mean);
}

cg_tensor cg_bernoulli_with(cg_context *cg, cg_shape shape, double probability, const cg_bernoulli_options *options)
{
    cg_bernoulli_options given = options ? *options : (cg_bernoulli_options){0};
    if (!(probability >= 0 && probability <= 1))
        return cg_report(cg, CG_ERROR_ARGUMENT, "bernoulli", "the probability %g is outside [0, 1]", probability);
    cg_tensor fraction = cg_draw_fraction(cg, shape, given.key, given.has_key);
    return cg_cast(cg_less(fraction, cg_scalar(cg, probability)), given.dtype);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static const cg_op *const list[] = {&bits_op, &normal_op, &fraction_op};
static const cg_op_function functions[] = {
    {"uniform",
     NULL,
     {.formula = "evenly on [low, high), in steps of (high - low) / 2^24",
      .call = "cg, shape, .low, .high, .dtype, .key, .has_key",
      .keras = "random.uniform",
      .pytorch = "rand, nn.init.uniform_",
      .dtypes = "→ floating"}},
    {"normal",
     NULL,
     {.formula = "normal with mean and deviation",
      .call = "cg, shape, .mean, .deviation, .dtype, .key, .has_key",
      .keras = "random.normal",
      .pytorch = "normal, randn",
      .dtypes = "→ floating"}},
    {"bernoulli",
     NULL,
     {.formula = "1 with a probability, else 0",
      .call = "cg, shape, probability, .dtype, .key, .has_key",
      .keras = "random.binomial (counts=1)",
      .pytorch = "bernoulli",
      .dtypes = "→ .dtype"}},
};
const cg_op_family cg_ops_random = {
    OPS(list), FUNCTIONS(functions), .title = "Random",
    .introduction = "Philox 4x32-10: numbers are a function of the context's seed, the number of the call, or `key`, "
                    "and the position, the same on every device. Dropout has a section of its own."};

/* What the tests of ops share: arrays of doubles on the host with any dtype's rounding, tensors made of them and
 * compared with them, a fixed sequence of numbers, and a context per test. */
#ifndef CLGRAD_TESTS_OP_SUPPORT_H
#define CLGRAD_TESTS_OP_SUPPORT_H

#include "program.h"
#include "shared_device.h"

#include <clgrad/autodiff.h>
#include <clgrad/ops.h>
#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- A context per test ------------------------------------------------------------------------------------------ */

static cg_context *cg;

static inline void open_context(void)
{
    cg = open_on_shared_device();
}

/* Host memory that lives until the end of the test. */
typedef struct block {
    struct block *next;
    max_align_t bytes[];
} block;
static block *blocks;

static inline void *test_memory(size_t bytes)
{
    block *b = calloc(1, sizeof *b + bytes);
    ck_assert_ptr_nonnull(b);
    b->next = blocks;
    blocks = b;
    return b->bytes;
}

/* A test that expects an error clears it. */
static inline void close_context(void)
{
    for (block *b = blocks, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    blocks = NULL;
    ck_assert_msg(cg_wait(cg) && cg_status(cg) == CG_OK, "%s", cg_message(cg));
    cg_close(cg);
}

static inline bool has_f64(void)
{
    return cg_device(cg)->has_f64;
}

static inline void expect_error(cg_tensor result, const char *message)
{
    ck_assert(cg_is_null(result));
    ck_assert_int_eq(cg_status(cg), CG_ERROR_ARGUMENT);
    ck_assert_str_eq(cg_message(cg), message);
    cg_clear_error(cg);
}

/* ---- Arrays ------------------------------------------------------------------------------------------------------ */

typedef struct array {
    cg_shape shape;
    cg_dtype dtype;
    int64_t count;
    double *at;
} array;

/* The nearest multiple of the last place that a number of `digits` binary digits has, but of 2^least at the least; ties
 * to even. What is larger than `most` is infinite. */
static inline double rounded_to_digits(double x, int digits, int least, double most)
{
    int exponent;
    if (x == 0 || !isfinite(x)) return x;
    frexp(x, &exponent);
    const double place = ldexp(1, exponent - digits > least ? exponent - digits : least);
    const double nearest = nearbyint(x / place) * place;
    return fabs(nearest) > most ? copysign(INFINITY, x) : nearest;
}

/* The nearest value that the dtype holds; integers wrap as C's conversions from i32 do. */
static inline double rounded(double x, cg_dtype dtype)
{
    switch (dtype) {
    case CG_F16:
        return rounded_to_digits(x, 11, -24, 65504);
    case CG_BF16:
        return rounded_to_digits(x, 8, -133, 0x1.FEp127);
    case CG_F32:
        return (float)x;
    case CG_I32:
        return (int32_t)x;
    case CG_U8:
        return (uint8_t)(int32_t)x;
    case CG_BOOL:
        return x != 0;
    default:
        return x;
    }
}

static inline array array_new(cg_dtype dtype, cg_shape shape)
{
    int64_t count = cg_shape_size(shape);
    return (array){shape, dtype, count, test_memory((size_t)count * sizeof(double))};
}

static uint64_t random_state = 1;

/* Evenly from [0, 1): splitmix64. */
static inline double random_fraction(void)
{
    uint64_t z = random_state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

static inline array array_random(cg_dtype dtype, cg_shape shape, double low, double high)
{
    array a = array_new(dtype, shape);
    for (int64_t i = 0; i < a.count; i++) {
        double x = low + (high - low) * random_fraction();
        a.at[i] = rounded(cg_is_floating(dtype) ? x : round(x), dtype);
    }
    return a;
}

static inline array array_iota(cg_dtype dtype, cg_shape shape)
{
    array a = array_new(dtype, shape);
    for (int64_t i = 0; i < a.count; i++) a.at[i] = rounded((double)i, dtype);
    return a;
}

#define ARRAY(dtype, shape, ...) \
    array_of(dtype, shape, (const double[]){__VA_ARGS__}, sizeof((const double[]){__VA_ARGS__}) / sizeof(double))
static inline array array_of(cg_dtype dtype, cg_shape shape, const double *values, size_t count)
{
    array a = array_new(dtype, shape);
    ck_assert_int_eq(a.count, (int64_t)count);
    memcpy(a.at, values, count * sizeof *values);
    return a;
}

/* Coordinates of a row-major position, and back. */
static inline void unravel(cg_shape shape, int64_t position, int64_t *coordinate)
{
    for (int i = shape.rank - 1; i >= 0; i--) {
        coordinate[i] = position % shape.size[i];
        position /= shape.size[i];
    }
}

static inline int64_t ravel(cg_shape shape, const int64_t *coordinate)
{
    int64_t position = 0;
    for (int i = 0; i < shape.rank; i++) position = position * shape.size[i] + coordinate[i];
    return position;
}

/* The position in an array that broadcasts, of a position in what it broadcasts to. */
static inline int64_t broadcast_position(cg_shape from, cg_shape to, int64_t position)
{
    int64_t coordinate[CG_MAX_RANK];
    unravel(to, position, coordinate);
    int lead = to.rank - from.rank;
    for (int i = 0; i < from.rank; i++) coordinate[i] = from.size[i] == 1 ? 0 : coordinate[lead + i];
    return ravel(from, coordinate);
}

/* The bits of a number that f16 or bf16 holds exactly. */
static inline uint16_t narrow_bits(double x, cg_dtype dtype)
{
    const float narrow = (float)x;
    uint32_t word;
    int exponent;
    memcpy(&word, &narrow, sizeof word);
    if (dtype == CG_BF16) return (uint16_t)(word >> 16);
    const uint16_t sign = signbit(x) ? 0x8000 : 0;
    if (isnan(x)) return 0x7E00;
    if (isinf(x)) return sign | 0x7C00;
    frexp(x, &exponent);
    if (x == 0 || exponent < -13) return sign | (uint16_t)ldexp(fabs(x), 24);
    return (uint16_t)(sign | (exponent + 14) << 10 | ((int)ldexp(fabs(x), 11 - exponent) & 0x3FF));
}

/* ---- Arrays and tensors ------------------------------------------------------------------------------------------ */

static inline cg_tensor tensor_of(array a)
{
    void *bytes = test_memory((size_t)a.count * cg_dtype_bytes(a.dtype));
    for (int64_t i = 0; i < a.count; i++) {
        if (a.dtype == CG_F32)
            ((float *)bytes)[i] = (float)a.at[i];
        else if (a.dtype == CG_F64)
            ((double *)bytes)[i] = a.at[i];
        else if (a.dtype == CG_F16 || a.dtype == CG_BF16)
            ((uint16_t *)bytes)[i] = narrow_bits(a.at[i], a.dtype);
        else if (a.dtype == CG_I32)
            ((int32_t *)bytes)[i] = (int32_t)a.at[i];
        else
            ((uint8_t *)bytes)[i] = (uint8_t)a.at[i];
    }
    cg_tensor tensor = cg_input(cg, a.dtype, a.shape, bytes);
    ck_assert_msg(!cg_is_null(tensor), "%s", cg_message(cg));
    return tensor;
}

static inline array array_read(cg_tensor tensor)
{
    ck_assert_msg(!cg_is_null(tensor), "%s", cg_message(cg));
    array a = array_new(cg_dtype_of(tensor), cg_shape_of(tensor));
    ck_assert_msg(cg_read_doubles(tensor, a.at, a.count), "%s", cg_message(cg));
    return a;
}

/* Equal within a relative error, and an absolute one below which f32 loses digits; NaN equals NaN. */
static inline bool close_to(double found, double wanted, double relative, double absolute)
{
    if (isnan(wanted)) return isnan(found);
    if (isinf(wanted) || isinf(found)) return found == wanted;
    return fabs(found - wanted) <= relative * fabs(wanted) + absolute;
}

static inline double tolerance_of(cg_dtype dtype)
{
    /* Half a unit in the last place, and what f32 adds. */
    if (dtype == CG_F16 || dtype == CG_BF16) return dtype == CG_F16 ? 0x1.1p-11 : 0x1.1p-8;
    return dtype == CG_F32 ? 4e-6 : dtype == CG_F64 ? 1e-13 : 0;
}

static inline double smallest_of(cg_dtype dtype)
{
    return dtype == CG_F32 || dtype == CG_BF16 ? FLT_MIN : dtype == CG_F64 ? DBL_MIN : dtype == CG_F16 ? 0x1p-24 : 0;
}

static inline void expect_close(cg_tensor tensor, array wanted, double relative, double absolute, const char *what)
{
    array found = array_read(tensor);
    ck_assert_msg(found.dtype == wanted.dtype, "%s is %s, not %s", what, cg_dtype_name(found.dtype),
                  cg_dtype_name(wanted.dtype));
    ck_assert_str_eq(cg_shape_text(cg, found.shape), cg_shape_text(cg, wanted.shape));
    double least = absolute > 0 ? absolute : smallest_of(wanted.dtype);
    for (int64_t i = 0; i < wanted.count; i++)
        ck_assert_msg(close_to(found.at[i], wanted.at[i], relative, least), "%s[%lld] is %.17g, not %.17g", what,
                      (long long)i, found.at[i], wanted.at[i]);
}

/* As close as the dtype can be. */
#define expect_array(tensor, wanted) expect_array_named(tensor, wanted, #tensor)
static inline void expect_array_named(cg_tensor tensor, array wanted, const char *what)
{
    expect_close(tensor, wanted, tolerance_of(wanted.dtype), 0, what);
}

/* Within a few units of f32's last place of 1. */
#define expect_about(tensor, wanted) expect_close(tensor, wanted, 4e-6, 1e-6, #tensor)

/* The gradient of the sum of `output` (weighted by `cotangent`, if not null) with respect to `input`. */
static inline cg_tensor gradient_of(cg_tensor output, cg_tensor cotangent, cg_tensor input)
{
    cg_tensor gradient = {0};
    bool fine = cg_grad(&output, 1, &input, 1, &gradient, .cotangents = cg_is_null(cotangent) ? NULL : &cotangent);
    ck_assert_msg(fine, "%s", cg_message(cg));
    return gradient;
}

static const cg_tensor no_tensor = {0};

#endif

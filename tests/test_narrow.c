/* Tests f16 and bf16: every value and the roundings between them, the dtypes of results, what works on f32 inside, and
 * a file of them. */
#include "op_support.h"

#include <clgrad/dropout.h>
#include <clgrad/formats.h>
#include <clgrad/model.h>
#include <clgrad/optimizers.h>
#include <clgrad/variable.h>

static const cg_dtype narrow[] = {CG_F16, CG_BF16};

enum { PATTERNS = 1 << 16, WIDTH = 37 };

static cg_tensor tensor_of_bits(cg_dtype dtype, cg_shape shape, const uint16_t *bits)
{
    cg_tensor tensor = cg_input(cg, dtype, shape, bits);
    ck_assert_msg(!cg_is_null(tensor), "%s", cg_message(cg));
    return tensor;
}

/* The number of a bit pattern, from the formats' definitions. */
static double number_of(cg_dtype dtype, int bits)
{
    const int digits = dtype == CG_F16 ? 10 : 7, bias = dtype == CG_F16 ? 15 : 127;
    const int all = dtype == CG_F16 ? 31 : 255, exponent = (bits & 0x7FFF) >> digits;
    const int fraction = bits & ((1 << digits) - 1);
    const double sign = bits >> 15 ? -1 : 1;
    if (exponent == all) return fraction ? NAN : sign * INFINITY;
    if (exponent == 0) return sign * ldexp(fraction, 1 - bias - digits);
    return sign * ldexp((1 << digits) + fraction, exponent - bias - digits);
}

static array every_number(cg_dtype dtype)
{
    array numbers = array_new(CG_F32, CG_SHAPE(PATTERNS));
    for (int i = 0; i < PATTERNS; i++) numbers.at[i] = number_of(dtype, i);
    return numbers;
}

static void expect_same_numbers(cg_tensor tensor, const array *wanted)
{
    const array found = array_read(tensor);
    ck_assert_int_eq(found.count, wanted->count);
    for (int64_t i = 0; i < wanted->count; i++)
        ck_assert_msg((isnan(found.at[i]) && isnan(wanted->at[i])) ||
                          (found.at[i] == wanted->at[i] && signbit(found.at[i]) == signbit(wanted->at[i])),
                      "element %lld is %a, not %a", (long long)i, found.at[i], wanted->at[i]);
}

/* All bit patterns, read by the host, by vectors, and one element at a time. */
START_TEST(every_pattern_is_read)
{
    uint16_t *bits = test_memory(PATTERNS * sizeof *bits);
    for (int i = 0; i < PATTERNS; i++) bits[i] = (uint16_t)i;
    const array wanted = every_number(narrow[_i]);
    cg_tensor tensor = tensor_of_bits(narrow[_i], CG_SHAPE(PATTERNS), bits);
    expect_same_numbers(tensor, &wanted);
    expect_same_numbers(cg_cast(tensor, CG_F32), &wanted);
    cg_tensor column = cg_reshape(tensor, CG_SHAPE(PATTERNS, 1));
    cg_tensor sparse = cg_slice_axis(cg_concat((cg_tensor[]){column, column}, 2, 1), 1, 0, 1);
    expect_same_numbers(cg_reshape(cg_cast(sparse, CG_F32), CG_SHAPE(PATTERNS)), &wanted);
}
END_TEST

/* Each number, the middle of it and the next, and the floats on both sides of the middle. */
START_TEST(what_lies_between_is_rounded)
{
    enum { POINTS = 4 };
    array points = array_new(CG_F32, CG_SHAPE(PATTERNS - 1, POINTS)), wanted = points;
    wanted.at = test_memory((size_t)wanted.count * sizeof *wanted.at);
    for (int i = 0; i < PATTERNS - 1; i++) {
        const double low = number_of(narrow[_i], i), high = number_of(narrow[_i], i + 1);
        const bool last = isinf(high) || !isfinite(low);
        const float middle = (float)(last ? low : (low + high) / 2);
        const float values[POINTS] = {(float)low, middle, nextafterf(middle, INFINITY), nextafterf(middle, -INFINITY)};
        for (int k = 0; k < POINTS; k++) {
            points.at[i * POINTS + k] = (double)values[k];
            wanted.at[i * POINTS + k] = rounded((double)values[k], narrow[_i]);
        }
    }
    cg_tensor tensor = cg_cast(tensor_of(points), narrow[_i]);
    ck_assert_int_eq(cg_dtype_of(tensor), narrow[_i]);
    expect_same_numbers(tensor, &wanted);
    /* In a register, where nothing is stored, a cast rounds too. */
    expect_same_numbers(cg_cast(cg_cast(tensor_of(points), narrow[_i]), CG_F32), &wanted);
}
END_TEST

START_TEST(what_is_too_large_is_infinite)
{
    const double most[] = {65504, 0x1.FEp127};
    array x = ARRAY(CG_F32, CG_SHAPE(3), most[0], 65519.99, 65520);
    if (_i == 1) x = ARRAY(CG_F32, CG_SHAPE(3), most[1], 0x1.FEFFFEp127, 0x1.FFp127);
    const double wanted[] = {most[_i], most[_i], INFINITY};
    array numbers = array_of(CG_F32, CG_SHAPE(3), wanted, 3);
    expect_same_numbers(cg_cast(tensor_of(x), narrow[_i]), &numbers);
}
END_TEST

START_TEST(dtypes_of_results)
{
    cg_tensor half = cg_ones(cg, CG_SHAPE(2), .dtype = CG_F16), brain = cg_ones(cg, CG_SHAPE(2), .dtype = CG_BF16);
    cg_tensor single = cg_ones(cg, CG_SHAPE(2)), whole = cg_ones(cg, CG_SHAPE(2), .dtype = CG_I32);
    ck_assert_int_eq(cg_dtype_of(cg_add(half, half)), CG_F16);
    ck_assert_int_eq(cg_dtype_of(cg_add(half, brain)), CG_F32);
    ck_assert_int_eq(cg_dtype_of(cg_add(half, single)), CG_F32);
    ck_assert_int_eq(cg_dtype_of(cg_add(whole, brain)), CG_BF16);
    ck_assert_int_eq(cg_dtype_of(cg_mul(half, cg_scalar(cg, 0.1))), CG_F16);
    ck_assert_int_eq(cg_dtype_of(cg_sum(brain)), CG_BF16);
    ck_assert_int_eq(cg_dtype_of(cg_softmax(half, -1)), CG_F16);
    ck_assert_int_eq(cg_dtype_of(cg_argmax(half)), CG_I32);
    ck_assert_int_eq(cg_dtype_of(cg_less(half, brain)), CG_BOOL);
    ck_assert_int_eq(cg_dtype_of(cg_matmul(cg_reshape(half, CG_SHAPE(1, 2)), half)), CG_F16);
    ck_assert_int_eq(cg_dtype_of(cg_uniform(cg, CG_SHAPE(2), .dtype = CG_BF16)), CG_BF16);
    ck_assert_int_eq(cg_dtype_of(cg_dropout(half, .rate = 0.5, .mode = CG_MODE_TRAINING)), CG_F16);
    ck_assert_int_eq(cg_dtype_of(cg_alpha_dropout(brain, .rate = 0.5, .mode = CG_MODE_TRAINING)), CG_BF16);
    ck_assert_str_eq(cg_dtype_name(CG_F16), "f16");
    ck_assert_uint_eq(cg_dtype_bytes(CG_BF16), 2);
}
END_TEST

/* Sums of more than an f16 holds, and of parts that it would drop. */
START_TEST(sums_are_in_f32)
{
    enum { MANY = 100000 };
    cg_tensor ones = cg_ones(cg, CG_SHAPE(MANY), .dtype = narrow[_i]);
    ck_assert_double_eq(cg_item(cg_mean(ones)), 1);
    cg_tensor x = cg_reshape(ones, CG_SHAPE(MANY / 1000, 1000));
    ck_assert_double_eq(cg_item(cg_max(cg_sum(x, .axes = CG_AXES(1)))), 1000);
    array wanted = array_new(narrow[_i], CG_SHAPE(WIDTH, WIDTH));
    for (int i = 0; i < wanted.count; i++) wanted.at[i] = 1024;
    cg_tensor a = cg_ones(cg, CG_SHAPE(WIDTH, 1024), .dtype = narrow[_i]);
    expect_array(cg_matmul(a, cg_transpose(a)), wanted);
    /* Of numbers too small for their sum's last place. */
    array small = array_new(narrow[_i], CG_SHAPE(4097));
    for (int i = 0; i < small.count; i++) small.at[i] = i == 0 ? 64 : 0x1p-8;
    ck_assert_double_eq(cg_item(cg_sum(tensor_of(small))), 80);
}
END_TEST

/* A number of the program's own is not rounded before it is used. */
START_TEST(scalars_are_not_rounded)
{
    cg_tensor x = tensor_of(ARRAY(narrow[_i], CG_SHAPE(1), 1000));
    const double wanted = rounded(1000.0 * (double)1.0006f, narrow[_i]);
    ck_assert_double_eq(cg_item(cg_mul(x, cg_scalar(cg, 1.0006))), wanted);
}
END_TEST

START_TEST(gradients_have_the_inputs_dtype)
{
    cg_tensor x = tensor_of(ARRAY(narrow[_i], CG_SHAPE(3), 1, -2, 0.5));
    cg_tensor loss = cg_sum(cg_square(cg_mul(x, cg_ones(cg, CG_SHAPE(3)))));
    ck_assert_int_eq(cg_dtype_of(loss), CG_F32);
    cg_tensor gradient = gradient_of(loss, no_tensor, x);
    expect_array(gradient, ARRAY(narrow[_i], CG_SHAPE(3), 2, -4, 1));
    expect_array(gradient_of(cg_sum(cg_square(gradient)), no_tensor, x), ARRAY(narrow[_i], CG_SHAPE(3), 8, -16, 4));
}
END_TEST

START_TEST(variables_train)
{
    cg_model *model = cg_model_new(cg);
    cg_variable *w = cg_model_add(model, "w", tensor_of(ARRAY(narrow[_i], CG_SHAPE(2), 1, -3)));
    cg_optimizer *sgd = cg_sgd_new(model, .learning_rate = 0.25);
    for (int step = 0; step < 3; step++) {
        cg_scope scope = cg_scope_begin(cg);
        cg_minimize(sgd, cg_sum(cg_square(cg_value(w))));
        cg_scope_end(scope);
    }
    expect_array(cg_value(w), ARRAY(narrow[_i], CG_SHAPE(2), 0.125, -0.375));
    cg_model_free(model);
}
END_TEST

/* Random numbers, elementary functions and conversions in one kernel; the numbers are those of f32, rounded. */
START_TEST(random_numbers)
{
    const cg_shape shape = CG_SHAPE(WIDTH, WIDTH);
    cg_tensor drawn = cg_uniform(cg, shape, .dtype = narrow[_i], .key = 5, .has_key = true);
    array wanted = array_read(cg_uniform(cg, shape, .key = 5, .has_key = true)), powers = array_new(narrow[_i], shape);
    for (int64_t i = 0; i < wanted.count; i++) {
        wanted.at[i] = rounded(wanted.at[i], narrow[_i]);
        powers.at[i] = exp(wanted.at[i]);
    }
    expect_array(cg_exp(drawn), powers);
    expect_same_numbers(drawn, &wanted);
}
END_TEST

static bool give_bits(void *user, int index, void *out, size_t bytes)
{
    (void)index;
    memcpy(out, user, bytes);
    return true;
}

START_TEST(files_keep_the_bits)
{
    char folder[256], path[300];
    uint16_t bits[] = {0x3C00, 0x7C00, 0x0001, 0x8000}, found[4];
    const cg_safetensors_entry entry = {"x", narrow[_i], {1, {4}}};
    make_temporary_folder(folder, sizeof folder);
    snprintf(path, sizeof path, "%s/x.safetensors", folder);
    ck_assert_msg(cg_safetensors_write(cg, path, &entry, 1, give_bits, bits), "%s", cg_message(cg));
    cg_safetensors *file = cg_safetensors_open(cg, path);
    ck_assert_msg(file != NULL, "%s", cg_message(cg));
    ck_assert_int_eq(cg_safetensors_at(file, 0)->dtype, narrow[_i]);
    ck_assert(cg_safetensors_read(file, 0, found, sizeof found));
    ck_assert_mem_eq(found, bits, sizeof bits);
    cg_safetensors_close(file);
    remove(path);
    remove(folder);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("f16 and bf16");
    TCase *tests = tcase_create("f16 and bf16");
    tcase_add_checked_fixture(tests, open_context, close_context);
    tcase_add_loop_test(tests, every_pattern_is_read, 0, 2);
    tcase_add_loop_test(tests, what_lies_between_is_rounded, 0, 2);
    tcase_add_loop_test(tests, what_is_too_large_is_infinite, 0, 2);
    tcase_add_test(tests, dtypes_of_results);
    tcase_add_loop_test(tests, sums_are_in_f32, 0, 2);
    tcase_add_loop_test(tests, scalars_are_not_rounded, 0, 2);
    tcase_add_loop_test(tests, gradients_have_the_inputs_dtype, 0, 2);
    tcase_add_loop_test(tests, variables_train, 0, 2);
    tcase_add_loop_test(tests, random_numbers, 0, 2);
    tcase_add_loop_test(tests, files_keep_the_bits, 0, 2);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}

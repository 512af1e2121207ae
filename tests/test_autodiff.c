/* Tests of differentiation: gradients of graphs of every form, products with Jacobians and Hessians, rules of the
 * user's own, the gradient checker and every error that these report. Uses the public interface only. */
#include "program.h"
#include "shared_device.h"
#include <clgrad/autodiff.h>
#include <clgrad/ops.h>
#include <clgrad/variable.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static cg_context *cg;

static void open_context(void)
{
    cg = open_on_shared_device();
}

static void close_context(void)
{
    cg_close(cg);
    cg = NULL;
}

/* The dtype of the device's best precision. */
static cg_dtype real(void)
{
    return cg_device(cg)->has_f64 ? CG_F64 : CG_F32;
}

static double tolerance(void)
{
    return real() == CG_F64 ? 1e-12 : 1e-4;
}

static cg_tensor tensor(cg_shape shape, const double *values)
{
    if (real() == CG_F64) return cg_input(cg, CG_F64, shape, values);
    float narrow[4096];
    for (int64_t i = 0; i < cg_shape_size(shape); i++) narrow[i] = (float)values[i];
    return cg_input(cg, CG_F32, shape, narrow);
}
#define VECTOR(...) \
    tensor((cg_shape){1, {sizeof((double[]){__VA_ARGS__}) / sizeof(double)}}, (const double[]){__VA_ARGS__})

static cg_tensor number(double value)
{
    return tensor(CG_RANK0, &value);
}

static void check_values(cg_tensor found, const double *expected, int64_t count, int line)
{
    ck_assert_msg(cg_size(found) == count, "line %d: %lld elements: %s", line, (long long)cg_size(found),
                  cg_message(cg));
    double values[4096];
    ck_assert_msg(cg_read_doubles(found, values, count), "line %d: %s", line, cg_message(cg));
    for (int64_t i = 0; i < count; i++)
        ck_assert_msg(fabs(values[i] - expected[i]) <= tolerance() * fmax(1, fabs(expected[i])),
                      "line %d: element %lld is %.17g, not %.17g", line, (long long)i, values[i], expected[i]);
}
#define CHECK(found, ...) \
    check_values(found, (const double[]){__VA_ARGS__}, sizeof((double[]){__VA_ARGS__}) / sizeof(double), __LINE__)

/* The gradient of one output with respect to one tensor. */
static cg_tensor gradient(cg_tensor output, cg_tensor wrt)
{
    cg_tensor result;
    ck_assert_msg(cg_grad(&output, 1, &wrt, 1, &result), "%s", cg_message(cg));
    return result;
}

static void expect_error(const char *part)
{
    ck_assert_msg(cg_status(cg) != CG_OK, "no error; expected \"%s\"", part);
    ck_assert_msg(strstr(cg_message(cg), part) != NULL, "\"%s\" lacks \"%s\"", cg_message(cg), part);
    cg_clear_error(cg);
}

/* ---- gradients of graphs ---- */

START_TEST(many_outputs_and_inputs)
{
    cg_tensor a = VECTOR(1, 2, 3), b = VECTOR(-4, 0.5, 6);
    cg_tensor outputs[] = {cg_sum(cg_mul(a, b)), cg_sin(a)}, wrt[] = {a, b}, gradients[2];
    ck_assert(cg_grad(outputs, 2, wrt, 2, gradients));
    CHECK(gradients[0], -4 + cos(1), 0.5 + cos(2), 6 + cos(3));
    CHECK(gradients[1], 1, 2, 3);
}
END_TEST

START_TEST(cotangents_weigh_the_outputs)
{
    cg_tensor a = VECTOR(1, 2, 3), weights = VECTOR(1, 0, -2), square = cg_square(a), result;
    ck_assert(cg_grad(&square, 1, &a, 1, &result, .cotangents = &weights));
    CHECK(result, 2, 0, -12);
    cg_tensor twice[] = {square, square}, both[] = {weights, weights};
    ck_assert(cg_grad(twice, 2, &a, 1, &result, .cotangents = both));
    CHECK(result, 4, 0, -24);
}
END_TEST

START_TEST(broadcast_operands)
{
    cg_tensor row = tensor(CG_SHAPE(1, 3), (const double[]){1, 2, 3});
    cg_tensor column = tensor(CG_SHAPE(2, 1), (const double[]){4, 5}), single = number(2);
    cg_tensor output = cg_mul(cg_mul(row, column), single), wrt[] = {row, column, single}, gradients[3];
    ck_assert(cg_grad(&output, 1, wrt, 3, gradients));
    CHECK(gradients[0], 18, 18, 18);
    CHECK(gradients[1], 12, 12);
    CHECK(gradients[2], 54);
    ck_assert_int_eq(cg_shape_of(gradients[0]).rank, 2);
    ck_assert_int_eq(cg_shape_of(gradients[2]).rank, 0);
}
END_TEST

/* A node that forks is visited once: doubling 40 times has 2^40 paths and 40 nodes. */
START_TEST(forks_are_visited_once)
{
    cg_tensor x = VECTOR(1, -2), y = x;
    for (int i = 0; i < 40; i++) y = cg_add(y, y);
    int64_t nodes = cg_counters_get(cg).nodes;
    cg_tensor result = gradient(y, x);
    ck_assert_int_lt(cg_counters_get(cg).nodes - nodes, 400);
    CHECK(result, 0x1p40, 0x1p40);
}
END_TEST

START_TEST(diamonds_add_up)
{
    cg_tensor x = VECTOR(0.3, 0.7), s = cg_sin(x), e = cg_exp(s);
    cg_tensor y = cg_add(cg_mul(s, e), cg_sub(e, x));
    double expected[2], at[] = {0.3, 0.7};
    for (int i = 0; i < 2; i++) {
        double sine = sin(at[i]), grown = exp(sine);
        expected[i] = cos(at[i]) * (grown + sine * grown + grown) - 1;
    }
    check_values(gradient(y, x), expected, 2, __LINE__);
}
END_TEST

START_TEST(higher_derivatives)
{
    cg_tensor x = VECTOR(0.5, 1.5), y = cg_mul(cg_sin(x), cg_exp(x));
    cg_tensor first = gradient(y, x), second = gradient(first, x), third = gradient(second, x);
    double a = exp(0.5), b = exp(1.5);
    CHECK(first, a * (sin(0.5) + cos(0.5)), b * (sin(1.5) + cos(1.5)));
    CHECK(second, 2 * a * cos(0.5), 2 * b * cos(1.5));
    CHECK(third, 2 * a * (cos(0.5) - sin(0.5)), 2 * b * (cos(1.5) - sin(1.5)));
}
END_TEST

/* A penalty on a gradient: with y = sum w x^2, |dy/dx|^2 is sum 4 w^2 x^2. */
START_TEST(gradient_inside_a_loss)
{
    cg_tensor w = VECTOR(1, -2, 0.5), x = VECTOR(3, 0.25, 2);
    cg_tensor inner = gradient(cg_sum(cg_mul(w, cg_square(x))), x);
    cg_tensor penalty = cg_sum(cg_square(inner));
    CHECK(gradient(penalty, w), 8 * 9, 8 * -2 * 0.0625, 8 * 0.5 * 4);
}
END_TEST

START_TEST(matrices_and_reductions)
{
    cg_tensor a = tensor(CG_SHAPE(2, 3), (const double[]){1, 2, 3, 4, 5, 6});
    cg_tensor b = tensor(CG_SHAPE(3, 2), (const double[]){1, -1, 0, 2, 3, 1});
    cg_tensor y = cg_mean(cg_square(cg_matmul(a, b))), wrt[] = {a, b}, gradients[2];
    ck_assert(cg_grad(&y, 1, wrt, 2, gradients));
    /* The product is [10, 6; 22, 12]; its cotangent is half of it. */
    CHECK(gradients[0], 5 * 1 + 3 * -1, 3 * 2, 5 * 3 + 3, 11 - 6, 6 * 2, 33 + 6);
    CHECK(gradients[1], 5 + 44, 3 + 24, 10 + 55, 6 + 30, 15 + 66, 9 + 36);
}
END_TEST

/* Each choice passes the cotangent to what was chosen. */
START_TEST(choices)
{
    cg_tensor x = VECTOR(-1, 2, 3, -4), zero = number(0);
    CHECK(gradient(cg_where(cg_greater(x, zero), cg_square(x), cg_neg(x)), x), -1, 4, 6, -1);
    CHECK(gradient(cg_maximum(x, zero), x), 0, 1, 1, 0);
    CHECK(gradient(cg_max(x), x), 0, 0, 1, 0);
    CHECK(gradient(cg_clip(x, -2, 2.5), x), 1, 1, 0, 0);
    CHECK(gradient(cg_relu(x), x), 0, 1, 1, 0);
    cg_tensor root = cg_where(cg_greater(x, zero), cg_sqrt(cg_maximum(x, number(1))), x);
    CHECK(gradient(root, x), 1, 0.5 / sqrt(2), 0.5 / sqrt(3), 1);
}
END_TEST

START_TEST(single_precision)
{
    float values[] = {0.5F, 2};
    cg_tensor x = cg_input(cg, CG_F32, CG_SHAPE(2), values);
    cg_tensor result = gradient(cg_log(x), x);
    ck_assert_int_eq(cg_dtype_of(result), CG_F32);
    float found[2];
    ck_assert(cg_read_floats(result, found, 2));
    ck_assert_float_eq_tol(found[0], 2, 1e-5);
    ck_assert_float_eq_tol(found[1], 0.5, 1e-5);
}
END_TEST

/* A number from cg_scalar can be differentiated by too; it is an f32 whatever it is used with. */
START_TEST(weak_numbers)
{
    cg_tensor x = VECTOR(1, 2), factor = cg_scalar(cg, 0.5), y = cg_mul(x, cg_mul(factor, factor));
    cg_tensor first = gradient(y, factor), second = gradient(first, factor);
    ck_assert_int_eq(cg_dtype_of(first), CG_F32);
    ck_assert_double_eq_tol(cg_item(first), 3, 1e-6);
    ck_assert_double_eq_tol(cg_item(second), 6, 1e-6);
    CHECK(gradient(y, x), 0.25, 0.25);
}
END_TEST

/* A conversion on the way converts the cotangent back. */
START_TEST(mixed_precision)
{
    if (!cg_device(cg)->has_f64) return;
    float values[] = {0.5F, 2};
    cg_tensor x = cg_input(cg, CG_F32, CG_SHAPE(2), values);
    cg_tensor result = gradient(cg_mul(cg_square(cg_cast(x, CG_F64)), number(3)), x);
    ck_assert_int_eq(cg_dtype_of(result), CG_F32);
    CHECK(result, 3, 12);
}
END_TEST

/* ---- what may be differentiated by ---- */

START_TEST(interior_nodes)
{
    cg_tensor x = VECTOR(2), z = cg_square(x), y = cg_mul(z, cg_mul(z, z));
    cg_tensor wrt[] = {z, x, y, z}, gradients[4];
    ck_assert(cg_grad(&y, 1, wrt, 4, gradients));
    CHECK(gradients[0], 48);
    CHECK(gradients[1], 192);
    CHECK(gradients[2], 1);
    CHECK(gradients[3], 48);
}
END_TEST

START_TEST(a_leaf_by_itself)
{
    cg_tensor x = VECTOR(2, 3), weights = VECTOR(5, 7), result;
    CHECK(gradient(x, x), 1, 1);
    ck_assert(cg_grad(&x, 1, &x, 1, &result, .cotangents = &weights));
    CHECK(result, 5, 7);
}
END_TEST

START_TEST(unreached_inputs_give_zeros)
{
    float single = 1;
    cg_tensor x = VECTOR(1, 2), other = cg_input(cg, CG_F32, CG_SHAPE(1, 1), &single), y = cg_exp(x);
    cg_tensor outputs[] = {x}, wrt[] = {other, y, x}, gradients[3];
    ck_assert(cg_grad(outputs, 1, wrt, 3, gradients));
    CHECK(gradients[0], 0);
    ck_assert_int_eq(cg_shape_of(gradients[0]).rank, 2);
    ck_assert_int_eq(cg_dtype_of(gradients[0]), CG_F32);
    CHECK(gradients[1], 0, 0);
    CHECK(gradients[2], 1, 1);
}
END_TEST

/* What passes only through integers or piecewise constants has derivative zero. */
START_TEST(paths_without_derivative)
{
    cg_tensor x = VECTOR(1.5, -2.5), one = number(1);
    cg_tensor steps = cg_cast(cg_cast(x, CG_I32), real());
    CHECK(gradient(cg_add(cg_sign(x), steps), x), 0, 0);
    CHECK(gradient(cg_mul(x, cg_cast(cg_greater(x, one), real())), x), 1, 0);
    CHECK(gradient(cg_mul(x, cg_stop_gradient(x)), x), 1.5, -2.5);
}
END_TEST

START_TEST(variables)
{
    cg_variable *weight = cg_variable_new(cg, "weight", real(), CG_SHAPE(2));
    ck_assert(cg_assign(weight, VECTOR(3, 4)));
    for (int step = 0; step < 3; step++) {
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor w = cg_value(weight), loss = cg_sum(cg_square(w));
        cg_assign(weight, cg_sub(w, cg_mul(number(0.25), gradient(loss, w))));
        cg_scope_end(scope);
    }
    CHECK(cg_value(weight), 3.0 / 8, 4.0 / 8);
    cg_variable_free(weight);
}
END_TEST

/* Both sides of a step can be differentiated while its scope lasts. */
START_TEST(through_an_update)
{
    cg_variable *weight = cg_variable_new(cg, "weight", real(), CG_RANK0);
    ck_assert(cg_assign(weight, number(3)));
    cg_tensor rate = number(0.1), old = cg_value(weight);
    cg_assign(weight, cg_sub(old, cg_mul(rate, gradient(cg_square(old), old))));
    cg_tensor after = cg_square(cg_value(weight));
    /* d (w - 2 r w)^2 / d r = 2 (w - 2 r w) (-2 w) */
    CHECK(gradient(after, rate), 2 * (3 - 0.6) * -6);
    cg_variable_free(weight);
}
END_TEST

START_TEST(evaluation_keeps_history)
{
    cg_tensor x = VECTOR(1, 2), y = cg_square(x), z = cg_mul(y, x);
    ck_assert(cg_eval(&z, 1));
    CHECK(y, 1, 4);
    CHECK(gradient(z, x), 3, 12);
}
END_TEST

/* Handles of intermediate values may be dead; their nodes are not. */
static cg_tensor chain_in_a_scope(cg_tensor x)
{
    cg_scope scope = cg_scope_local(cg);
    cg_tensor y = cg_keep(cg_square(cg_exp(cg_sin(x))));
    cg_scope_end(scope);
    return y;
}

START_TEST(dead_handles_on_the_way)
{
    cg_tensor x = VECTOR(0.4), y = chain_in_a_scope(x);
    CHECK(gradient(y, x), 2 * exp(2 * sin(0.4)) * cos(0.4));
}
END_TEST

/* ---- scopes ---- */

START_TEST(temporaries_are_freed)
{
    int64_t before = cg_counters_get(cg).nodes;
    cg_scope scope = cg_scope_local(cg);
    cg_tensor x = VECTOR(1, 2), y = cg_sum(cg_tanh(cg_square(x))), second = {0};
    for (int i = 0; i < 2; i++) second = gradient(gradient(y, x), x);
    double values[2];
    ck_assert(cg_read_doubles(second, values, 2));
    cg_scope_end(scope);
    ck_assert_int_eq(cg_counters_get(cg).nodes, before);
}
END_TEST

/* A gradient that is a tensor from further out stays in its own scope. */
START_TEST(outer_tensors_stay_where_they_are)
{
    int64_t before = cg_counters_get(cg).nodes;
    cg_scope outer = cg_scope_local(cg);
    cg_tensor x = VECTOR(1, 2), weights = VECTOR(3, 4), result;
    for (int i = 0; i < 3; i++) {
        cg_scope inner = cg_scope_local(cg);
        ck_assert(cg_grad(&x, 1, &x, 1, &result, .cotangents = &weights));
        cg_scope_end(inner);
    }
    CHECK(weights, 3, 4);
    cg_scope_end(outer);
    ck_assert_int_eq(cg_counters_get(cg).nodes, before);
}
END_TEST

START_TEST(history_ends_with_a_scope)
{
    cg_tensor x = VECTOR(1, 2), other = VECTOR(1);
    cg_scope scope = cg_scope_begin(cg);
    cg_tensor y = cg_keep(cg_square(x));
    cg_scope_end(scope);
    cg_tensor wrt[] = {y, x}, gradients[2] = {other, other};
    ck_assert(!cg_grad(&y, 1, wrt, 2, gradients));
    ck_assert(cg_is_null(gradients[0]) && cg_is_null(gradients[1]));
    expect_error("grad: output 0 is a stored value: its history ended with a scope");
    CHECK(gradient(y, y), 1, 1);
    CHECK(gradient(cg_square(y), y), 2, 8);
    CHECK(gradient(cg_square(y), x), 0, 0);
    ck_assert(!cg_jvp(&y, 1, &x, &x, 1, gradients));
    expect_error("jvp: output 0 is a stored value");
}
END_TEST

START_TEST(variable_after_its_scope_is_a_leaf)
{
    cg_tensor x = VECTOR(1, 2), result;
    cg_variable *variable = cg_variable_new(cg, "v", real(), CG_SHAPE(2));
    cg_scope scope = cg_scope_begin(cg);
    cg_assign(variable, cg_square(x));
    CHECK(gradient(cg_value(variable), x), 2, 4);
    cg_scope_end(scope);
    cg_tensor value = cg_value(variable);
    ck_assert(!cg_grad(&value, 1, &x, 1, &result));
    expect_error("its history ended with a scope");
    cg_variable_free(variable);
}
END_TEST

/* ---- errors ---- */

static const cg_op cube = {.name = "test_cube", .kind = CG_OP_MAP, .inputs = 1, .expression = "a * a * a"};

static cg_tensor apply_one(const cg_op *op, cg_tensor x)
{
    return cg_apply(op, &x, 1, NULL, 0);
}

START_TEST(op_without_a_rule)
{
    cg_tensor x = VECTOR(2), y = cg_exp(apply_one(&cube, x)), result = x;
    ck_assert(!cg_grad(&y, 1, &x, 1, &result));
    ck_assert(cg_is_null(result));
    expect_error("test_cube has no vjp");
    /* It does no harm where no gradient has to pass. */
    CHECK(gradient(cg_mul(x, cg_stop_gradient(apply_one(&cube, x))), x), 8);
    cg_tensor other = VECTOR(3);
    CHECK(gradient(cg_mul(other, apply_one(&cube, x)), other), 8);
}
END_TEST

static void vjp_of_wrong_shape(const cg_vjp *vjp, cg_tensor *result)
{
    result[0] = cg_sum(vjp->cotangents[0]);
}

static void vjp_with_an_error(const cg_vjp *vjp, cg_tensor *result)
{
    result[0] = cg_add(vjp->cotangents[0], VECTOR(1, 2, 3, 4, 5));
}

START_TEST(rules_that_fail)
{
    static cg_op op;
    op = cube;
    cg_tensor x = VECTOR(2, 3), result;
    op.vjp = vjp_of_wrong_shape;
    cg_tensor y = apply_one(&op, x);
    ck_assert(!cg_grad(&y, 1, &x, 1, &result));
    expect_error(real() == CG_F64
                     ? "grad: the vjp of test_cube gave input 0 a cotangent [] f64, but the input is [2] f64"
                     : "grad: the vjp of test_cube");
    op.vjp = vjp_with_an_error;
    ck_assert(!cg_grad(&y, 1, &x, 1, &result));
    expect_error("add");
    /* An error that stands from before is told from one of the rule. */
    cg_add(x, VECTOR(1, 2, 3, 4, 5));
    ck_assert(!cg_grad(&y, 1, &x, 1, &result));
    cg_tensor square = cg_square(x);
    ck_assert(cg_grad(&square, 1, &x, 1, &result));
    cg_clear_error(cg);
    CHECK(result, 4, 6);
}
END_TEST

START_TEST(arguments_of_the_wrong_kind)
{
    int32_t whole[] = {1, 2};
    cg_tensor x = VECTOR(1, 2), y = cg_square(x), index = cg_input(cg, CG_I32, CG_SHAPE(2), whole);
    cg_tensor bad = VECTOR(1, 2, 3), result;
    ck_assert(!cg_grad(&y, 1, &index, 1, &result));
    expect_error("grad: input 0 is i32; only floating tensors have gradients");
    ck_assert(!cg_grad(&index, 1, &x, 1, &result));
    expect_error("grad: output 0 is i32");
    ck_assert(!cg_grad(&y, 1, &x, 1, &result, .cotangents = &bad));
    expect_error("grad: cotangent 0 is [3]");
    ck_assert(!cg_grad(&y, 1, &x, 1, &result, .cotangents = &index));
    expect_error("grad: cotangent 0 is [2] i32; it must be [2]");
    ck_assert(!cg_jvp(&y, 1, &x, &bad, 1, &result));
    expect_error("jvp: tangent 0 is [3]");
    ck_assert(!cg_hvp(y, &x, &x, 1, &result));
    expect_error("hvp: the output is [2]");
    ck_assert(cg_gradient_error(NULL, NULL, &x, 1, 3) < 0);
    expect_error("gradient_error: 1 inputs and order 3");
}
END_TEST

START_TEST(null_and_dead_tensors)
{
    cg_tensor x = VECTOR(1, 2), null = {0}, result = x;
    ck_assert(!cg_grad(&null, 1, &x, 1, &result));
    ck_assert(cg_is_null(result));
    ck_assert(!cg_grad(&x, 1, &null, 1, &result));
    ck_assert(!cg_jvp(&x, 1, &x, &null, 1, &result));
    ck_assert(!cg_hvp(null, &x, &x, 1, &result));
    ck_assert_int_eq(cg_status(cg), CG_OK);
    cg_scope scope = cg_scope_local(cg);
    cg_tensor dead = cg_square(x);
    cg_scope_end(scope);
    ck_assert(!cg_grad(&dead, 1, &x, 1, &result));
    expect_error("grad: a tensor is used after the end of its scope");
}
END_TEST

/* ---- depth ---- */

enum { DEPTH = 100000 };

/* A graph of 100,000 nodes one below the other, forwards and backwards: no recursion, kernels of a bounded size, few of
 * which differ, and no work that grows with the square of the depth, which would run into the test's time limit. */
START_TEST(deep_graphs)
{
    double value = 0.5, slope = 1;
    for (int i = 0; i < DEPTH; i++) {
        slope *= cos(value);
        value = sin(value);
    }
    cg_scope scope = cg_scope_local(cg);
    cg_tensor x = number(0.5), weights = VECTOR(1, 2), wide = cg_mul(x, weights), y = cg_mul(wide, VECTOR(1, 0.5));
    for (int i = 0; i < DEPTH; i++) y = cg_sin(y);
    cg_counters before = cg_counters_get(cg);
    cg_tensor result = gradient(y, x);
    check_values(y, (const double[]){value, value}, 2, __LINE__);
    check_values(result, (const double[]){2 * slope}, 1, __LINE__);
    cg_counters after = cg_counters_get(cg);
    ck_assert_int_lt(after.kernels_enqueued - before.kernels_enqueued, DEPTH / 2);
    ck_assert_int_gt(after.kernels_enqueued - before.kernels_enqueued, DEPTH / 1000);
    ck_assert_int_lt(after.kernels_built - before.kernels_built, 100);
    cg_scope_end(scope);
}
END_TEST

/* ---- products with Jacobians and Hessians ---- */

/* Two outputs of two inputs: tanh(a) b and sum exp(a). */
static void two_by_two(cg_tensor a, cg_tensor b, cg_tensor *outputs)
{
    outputs[0] = cg_matmul(cg_tanh(a), b);
    outputs[1] = cg_sum(cg_exp(a));
}

/* The outputs at inputs moved by `distance` along the tangents, one after the other. */
static void moved_outputs(double distance, const double (*inputs)[6], const double (*tangents)[6], double *found)
{
    double a[6], b[6];
    for (int i = 0; i < 6; i++) {
        a[i] = inputs[0][i] + distance * tangents[0][i];
        b[i] = inputs[1][i] + distance * tangents[1][i];
    }
    cg_tensor outputs[2];
    two_by_two(tensor(CG_SHAPE(2, 3), a), tensor(CG_SHAPE(3, 2), b), outputs);
    ck_assert(cg_read_doubles(outputs[0], found, 4) && cg_read_doubles(outputs[1], found + 4, 1));
}

START_TEST(jacobian_times_vector)
{
    if (!cg_device(cg)->has_f64) return;
    const double inputs[2][6] = {{0.1, -0.2, 0.3, 0.5, 0.7, -1.1}, {1, 2, -0.5, 0.3, 0.2, -1}};
    const double tangents[2][6] = {{1, 0.5, -1, 2, 0.1, 0.4}, {-1, 1, 0.7, 0.2, 0, 3}};
    cg_tensor a = tensor(CG_SHAPE(2, 3), inputs[0]), b = tensor(CG_SHAPE(3, 2), inputs[1]);
    cg_tensor wrt[] = {a, b}, outputs[2], results[2];
    cg_tensor vectors[] = {tensor(CG_SHAPE(2, 3), tangents[0]), tensor(CG_SHAPE(3, 2), tangents[1])};
    two_by_two(a, b, outputs);
    ck_assert(cg_jvp(outputs, 2, wrt, vectors, 2, results));
    double found[5], above[5], below[5];
    ck_assert(cg_read_doubles(results[0], found, 4) && cg_read_doubles(results[1], found + 4, 1));
    moved_outputs(1e-5, inputs, tangents, above);
    moved_outputs(-1e-5, inputs, tangents, below);
    for (int i = 0; i < 5; i++) ck_assert_double_eq_tol(found[i], (above[i] - below[i]) / 2e-5, 1e-8);
}
END_TEST

START_TEST(jacobian_of_simple_functions)
{
    cg_tensor x = VECTOR(1, 2), tangent = VECTOR(5, 7), other = VECTOR(3, 3), result, results[2];
    ck_assert(cg_jvp(&x, 1, &x, &tangent, 1, &result));
    CHECK(result, 5, 7);
    cg_tensor outputs[] = {cg_mul(x, number(3)), other};
    ck_assert(cg_jvp(outputs, 2, &x, &tangent, 1, results));
    CHECK(results[0], 15, 21);
    CHECK(results[1], 0, 0);
    /* The result is an ordinary tensor: d/dx of sum 2 x t is 2 t. */
    cg_tensor square = cg_square(x);
    ck_assert(cg_jvp(&square, 1, &x, &tangent, 1, &result));
    CHECK(gradient(result, x), 10, 14);
}
END_TEST

static cg_tensor rosenbrock(cg_tensor x, cg_tensor y)
{
    cg_tensor valley = cg_sub(y, cg_square(x));
    return cg_add(cg_square(cg_sub(number(1), x)), cg_mul(number(100), cg_square(valley)));
}

/* The Hessian is [2 - 400 y + 1200 x^2, -400 x; -400 x, 200]. */
START_TEST(hessian_times_vector)
{
    double x = -1.2, y = 1.1, v = 0.3, w = -2;
    cg_tensor wrt[] = {number(x), number(y)}, vectors[] = {number(v), number(w)}, results[2];
    ck_assert(cg_hvp(rosenbrock(wrt[0], wrt[1]), wrt, vectors, 2, results));
    CHECK(results[0], (2 - 400 * y + 1200 * x * x) * v - 400 * x * w);
    CHECK(results[1], -400 * x * v + 200 * w);
}
END_TEST

START_TEST(hessian_by_slices)
{
    double x = 0.7, y = -0.4;
    cg_tensor both = VECTOR(x, y), unit = VECTOR(1, 0), result;
    cg_tensor first = cg_reshape(cg_slice_axis(both, 0, 0, 1), CG_RANK0);
    cg_tensor second = cg_reshape(cg_slice_axis(both, 0, 1, 2), CG_RANK0);
    ck_assert(cg_hvp(rosenbrock(first, second), &both, &unit, 1, &result));
    CHECK(result, 2 - 400 * y + 1200 * x * x, -400 * x);
}
END_TEST

START_TEST(hessian_of_a_linear_function)
{
    cg_tensor x = VECTOR(1, 2), vector = VECTOR(3, 4), result;
    ck_assert(cg_hvp(cg_sum(cg_mul(x, number(3))), &x, &vector, 1, &result));
    CHECK(result, 0, 0);
    /* The gradient may even be a leaf whose history ended with a scope: it is constant. */
    cg_scope scope = cg_scope_begin(cg);
    cg_tensor kept = cg_keep(cg_mul(vector, number(2)));
    cg_scope_end(scope);
    ck_assert(cg_hvp(cg_sum(cg_mul(x, kept)), &x, &vector, 1, &result));
    CHECK(result, 0, 0);
}
END_TEST

/* ---- rules of the user's own ---- */

/* Counts its calls and gives each input `factor` times the sum of the cotangents. */
typedef struct counted_rule {
    double factor;
    int calls;
} counted_rule;

static void scaled_sum_rule(void *user, const cg_tensor *inputs, int input_count, const cg_tensor *outputs,
                            const cg_tensor *cotangents, int output_count, cg_tensor *result)
{
    counted_rule *rule = user;
    rule->calls++;
    (void)outputs;
    cg_tensor sum = cotangents[0];
    for (int k = 1; k < output_count; k++) sum = cg_add(sum, cotangents[k]);
    for (int i = 0; i < input_count; i++) result[i] = cg_mul(number(rule->factor), cg_mul(sum, inputs[i]));
}

START_TEST(custom_gradient)
{
    counted_rule rule = {.factor = 7};
    cg_tensor x = VECTOR(2, 3), inner = cg_exp(x), y;
    ck_assert(cg_custom_gradient(&x, 1, &inner, 1, scaled_sum_rule, &rule, &y));
    CHECK(y, exp(2), exp(3));
    CHECK(cg_add(cg_mul(y, y), number(1)), exp(4) + 1, exp(6) + 1);
    CHECK(gradient(cg_mul(y, number(2)), x), 28, 42);
    /* The rule is differentiated too: d(7 x)/dx. */
    CHECK(gradient(gradient(y, x), x), 7, 7);
    ck_assert_int_eq(rule.calls, 2);
}
END_TEST

START_TEST(custom_gradient_of_several_outputs)
{
    counted_rule rule = {.factor = 1};
    cg_tensor inputs[] = {VECTOR(2, 3), VECTOR(5, 7)}, gradients[2], results[2];
    cg_tensor outputs[] = {cg_mul(inputs[0], inputs[1]), cg_sin(inputs[0])};
    ck_assert(cg_custom_gradient(inputs, 2, outputs, 2, scaled_sum_rule, &rule, results));
    CHECK(results[0], 10, 21);
    CHECK(results[1], sin(2), sin(3));
    cg_tensor y = cg_add(cg_mul(results[0], number(3)), cg_mul(results[1], number(10)));
    ck_assert(cg_grad(&y, 1, inputs, 2, gradients));
    CHECK(gradients[0], 26, 39);
    CHECK(gradients[1], 65, 91);
    /* Once for each result; one that is not used has a cotangent of zeros. */
    ck_assert_int_eq(rule.calls, 2);
    CHECK(gradient(results[1], inputs[1]), 5, 7);
    ck_assert_int_eq(rule.calls, 3);
}
END_TEST

/* Only the inputs named get a gradient through it. */
START_TEST(custom_gradient_hides_other_inputs)
{
    counted_rule rule = {.factor = 1};
    cg_tensor x = VECTOR(2), other = VECTOR(3), inner = cg_mul(x, other), y;
    ck_assert(cg_custom_gradient(&x, 1, &inner, 1, scaled_sum_rule, &rule, &y));
    CHECK(gradient(y, other), 0);
}
END_TEST

START_TEST(custom_gradient_of_too_many)
{
    cg_tensor x[CG_MAX_INPUTS], result;
    for (int i = 0; i < CG_MAX_INPUTS; i++) x[i] = VECTOR(1);
    ck_assert(!cg_custom_gradient(x, CG_MAX_INPUTS - 1, x, 1, scaled_sum_rule, NULL, &result));
    ck_assert(cg_is_null(result));
    expect_error("custom_gradient: 23 inputs and 1 outputs; it takes at most 23 together");
    ck_assert(cg_custom_gradient(x, CG_MAX_INPUTS - 2, x, 1, scaled_sum_rule, NULL, &result));
    CHECK(result, 1);
}
END_TEST

/* ---- the checker ---- */

static cg_tensor smooth(void *user, const cg_tensor *inputs)
{
    (void)user;
    return cg_softmax(cg_matmul(cg_tanh(inputs[0]), cg_exp(inputs[1])), 1);
}

/* A derivative that is off by a part in a thousand, whether in the first pass or only in the second. */
static void slightly_wrong(void *user, const cg_tensor *inputs, int input_count, const cg_tensor *outputs,
                           const cg_tensor *cotangents, int output_count, cg_tensor *result)
{
    (void)input_count;
    (void)outputs;
    (void)output_count;
    cg_tensor slope = cg_mul(number(2), inputs[0]);
    result[0] = cg_mul(cotangents[0], user ? cg_stop_gradient(slope) : cg_mul(slope, number(1.001)));
}

static cg_tensor square_with_rule(void *user, const cg_tensor *inputs)
{
    cg_tensor square = cg_square(inputs[0]), result;
    cg_custom_gradient(inputs, 1, &square, 1, slightly_wrong, user, &result);
    return result;
}

static cg_tensor with_noise(void *user, const cg_tensor *inputs)
{
    (void)user;
    return cg_mul(cg_square(inputs[0]), cg_dropout(inputs[0], .rate = 0.5, .mode = CG_MODE_TRAINING));
}

static cg_tensor with_index(void *user, const cg_tensor *inputs)
{
    (void)user;
    return cg_sin(cg_gather(inputs[0], inputs[1], 0));
}

START_TEST(checker)
{
    if (!cg_device(cg)->has_f64) return;
    double values[200];
    for (int i = 0; i < 200; i++) values[i] = sin(i * 1.7);
    cg_tensor inputs[] = {tensor(CG_SHAPE(2, 3), values), tensor(CG_SHAPE(3, 4), values + 6)};
    ck_assert_double_lt(fabs(cg_gradient_error(smooth, NULL, inputs, 2, 1)), 1e-9);
    ck_assert_double_lt(fabs(cg_gradient_error(smooth, NULL, inputs, 2, 2)), 1e-9);
    ck_assert_double_gt(cg_gradient_error(square_with_rule, NULL, inputs, 1, 1), 1e-5);
    ck_assert_double_lt(fabs(cg_gradient_error(square_with_rule, values, inputs, 1, 1)), 1e-9);
    ck_assert_double_gt(cg_gradient_error(square_with_rule, values, inputs, 1, 2), 1e-3);
    ck_assert_double_lt(fabs(cg_gradient_error(with_noise, NULL, inputs, 1, 1)), 1e-9);
    ck_assert_double_lt(fabs(cg_gradient_error(with_noise, NULL, inputs, 1, 2)), 1e-9);
    cg_tensor large = tensor(CG_SHAPE(200), values);
    ck_assert_double_lt(fabs(cg_gradient_error(with_noise, NULL, &large, 1, 1)), 1e-9);
    ck_assert_double_gt(cg_gradient_error(square_with_rule, NULL, &large, 1, 1), 1e-5);
}
END_TEST

START_TEST(checker_leaves_integers_alone)
{
    if (!cg_device(cg)->has_f64) return;
    int32_t index[] = {2, 0, 2};
    cg_tensor inputs[] = {VECTOR(0.3, 1, 2), cg_input(cg, CG_I32, CG_SHAPE(3), index)};
    ck_assert_double_lt(fabs(cg_gradient_error(with_index, NULL, inputs, 2, 1)), 1e-9);
    ck_assert_double_lt(fabs(cg_gradient_error(with_index, NULL, inputs, 2, 2)), 1e-9);
}
END_TEST

static cg_tensor cubed_without_rule(void *user, const cg_tensor *inputs)
{
    (void)user;
    return apply_one(&cube, inputs[0]);
}

START_TEST(checker_reports_errors)
{
    cg_tensor x = VECTOR(1, 2);
    int64_t nodes = cg_counters_get(cg).nodes;
    ck_assert_double_lt(cg_gradient_error(cubed_without_rule, NULL, &x, 1, 1), 0);
    expect_error("test_cube has no vjp");
    ck_assert_int_eq(cg_counters_get(cg).nodes, nodes);
}
END_TEST

static void add_graph_tests(Suite *suite)
{
    TCase *graphs = tcase_create("graphs");
    tcase_add_checked_fixture(graphs, open_context, close_context);
    tcase_add_test(graphs, many_outputs_and_inputs);
    tcase_add_test(graphs, cotangents_weigh_the_outputs);
    tcase_add_test(graphs, broadcast_operands);
    tcase_add_test(graphs, forks_are_visited_once);
    tcase_add_test(graphs, diamonds_add_up);
    tcase_add_test(graphs, higher_derivatives);
    tcase_add_test(graphs, gradient_inside_a_loss);
    tcase_add_test(graphs, matrices_and_reductions);
    tcase_add_test(graphs, choices);
    tcase_add_test(graphs, single_precision);
    tcase_add_test(graphs, weak_numbers);
    tcase_add_test(graphs, mixed_precision);
    tcase_add_test(graphs, interior_nodes);
    tcase_add_test(graphs, a_leaf_by_itself);
    tcase_add_test(graphs, unreached_inputs_give_zeros);
    tcase_add_test(graphs, paths_without_derivative);
    tcase_add_test(graphs, variables);
    tcase_add_test(graphs, through_an_update);
    tcase_add_test(graphs, evaluation_keeps_history);
    tcase_add_test(graphs, dead_handles_on_the_way);
    tcase_add_test(graphs, deep_graphs);
    suite_add_tcase(suite, graphs);
}

static void add_scope_and_error_tests(Suite *suite)
{
    TCase *scopes = tcase_create("scopes and errors");
    tcase_add_checked_fixture(scopes, open_context, close_context);
    tcase_add_test(scopes, temporaries_are_freed);
    tcase_add_test(scopes, outer_tensors_stay_where_they_are);
    tcase_add_test(scopes, history_ends_with_a_scope);
    tcase_add_test(scopes, variable_after_its_scope_is_a_leaf);
    tcase_add_test(scopes, op_without_a_rule);
    tcase_add_test(scopes, rules_that_fail);
    tcase_add_test(scopes, arguments_of_the_wrong_kind);
    tcase_add_test(scopes, null_and_dead_tensors);
    suite_add_tcase(suite, scopes);
}

static void add_product_tests(Suite *suite)
{
    TCase *products = tcase_create("products, rules, checker");
    tcase_add_checked_fixture(products, open_context, close_context);
    tcase_add_test(products, jacobian_times_vector);
    tcase_add_test(products, jacobian_of_simple_functions);
    tcase_add_test(products, hessian_times_vector);
    tcase_add_test(products, hessian_by_slices);
    tcase_add_test(products, hessian_of_a_linear_function);
    tcase_add_test(products, custom_gradient);
    tcase_add_test(products, custom_gradient_of_several_outputs);
    tcase_add_test(products, custom_gradient_hides_other_inputs);
    tcase_add_test(products, custom_gradient_of_too_many);
    tcase_add_test(products, checker);
    tcase_add_test(products, checker_leaves_integers_alone);
    tcase_add_test(products, checker_reports_errors);
    suite_add_tcase(suite, products);
}

int main(void)
{
    Suite *suite = suite_create("autodiff");
    add_graph_tests(suite);
    add_scope_and_error_tests(suite);
    add_product_tests(suite);
    return run_suite(suite);
}

/* Tests the derivatives of every op of the table on its samples: first and second ones against central differences in
 * f64, and gradients in f32 against those in f64. */
#include "op_trials.h"

/* ---- Derivatives ------------------------------------------------------------------------------------------------- */

/* Different numbers for different positions, so that no two outputs' derivatives can cancel. From the host: computed on
 * the device they would be most of what there is to compile. */
static cg_tensor weights(cg_shape shape, cg_dtype dtype)
{
    array a = array_new(dtype, shape);
    for (int64_t i = 0; i < a.count; i++) a.at[i] = rounded(sin(0.7 * (double)i + 0.3), CG_F32);
    return tensor_of(a);
}

/* The call as a function of its floating inputs to a number: a weighted sum of all its outputs. */
static cg_tensor weighted_call(void *user, const cg_tensor *floating)
{
    const trial *t = user;
    cg_tensor inputs[MOST_INPUTS], total = {0};
    cg_dtype dtype = CG_F64;
    for (int i = 0; i < t->count; i++) {
        bool varied = cg_is_floating(t->inputs[i].dtype);
        inputs[i] = varied ? *floating++ : tensor_of(t->inputs[i]);
        if (varied) dtype = t->inputs[i].dtype;
    }
    cg_tensor outputs[CG_MAX_OUTPUTS];
    call(t, inputs, outputs);
    for (int k = 0; k < output_count(t->op); k++) {
        cg_tensor output = cg_cast(outputs[k], dtype);
        cg_tensor sum = cg_sum(cg_mul(output, weights(cg_shape_of(output), dtype)));
        total = k ? cg_add(total, sum) : sum;
    }
    return total;
}

static int floating_inputs(const trial *t, cg_tensor *floating)
{
    int count = 0;
    for (int i = 0; i < t->count; i++)
        if (cg_is_floating(t->inputs[i].dtype)) floating[count++] = tensor_of(t->inputs[i]);
    return count;
}

static void check_derivatives(const cg_op *op, int order)
{
    for (int i = 0; has_f64() && i < op->sample_count; i++) {
        if (!op->samples[i].smooth) continue;
        trial t = trial_new(op, i, CG_F64, CG_F64);
        cg_tensor floating[MOST_INPUTS];
        int count = floating_inputs(&t, floating);
        double error = cg_gradient_error(weighted_call, &t, floating, count, order);
        ck_assert_msg(error >= 0 && error < 1e-6, "%s: the derivative of order %d is off by %g. %s", t.name, order,
                      error, cg_message(cg));
    }
}

/* On the first smooth sample: what can differ between the dtypes is the op, not the shape. */
static void check_f32_against_f64(const cg_op *op)
{
    cg_tensor gradients[2][MOST_INPUTS];
    int index = 0, count = 0;
    while (index < op->sample_count && !op->samples[index].smooth) index++;
    if (index == op->sample_count || !has_f64()) return;
    for (int twice = 0; twice < 2; twice++) {
        trial t = trial_new(op, index, twice ? CG_F64 : CG_F32, CG_F32);
        cg_tensor floating[MOST_INPUTS];
        count = floating_inputs(&t, floating);
        cg_tensor output = weighted_call(&t, floating);
        ck_assert_msg(cg_grad(&output, 1, floating, count, gradients[twice]), "%s: %s", t.name, cg_message(cg));
    }
    for (int k = 0; k < count; k++) compare_later(gradients[0][k], gradients[1][k], (array){0}, 5e-5, op->name);
}

/* ---- One program for a group's kernels --------------------------------------------------------------------------- */

enum { MOST_RECORDED = 2048 };
static cg_tensor recorded[MOST_RECORDED];
static int recorded_count;

static void record(const cg_tensor *tensors, int count)
{
    ck_assert_int_le(recorded_count + count, MOST_RECORDED);
    for (int i = 0; i < count; i++) recorded[recorded_count++] = tensors[i];
}

/* What cg_gradient_error evaluates: the weighted call and, up to the order, its derivatives with random cotangents. */
static void record_derivatives(trial *t, int order)
{
    cg_tensor floating[MOST_INPUTS], projected[MOST_INPUTS], cotangents[MOST_INPUTS], gradients[MOST_INPUTS];
    const int count = floating_inputs(t, floating);
    projected[0] = weighted_call(t, floating);
    record(projected, 1);
    for (int k = 0, outputs = 1; k < order; k++, outputs = count) {
        for (int i = 0; i < outputs; i++)
            cotangents[i] = tensor_of(array_random(CG_F64, cg_shape_of(projected[i]), -1, 1));
        ck_assert_msg(cg_grad(projected, outputs, floating, count, gradients, .cotangents = cotangents), "%s: %s",
                      t->name, cg_message(cg));
        record(gradients, count);
        memcpy(projected, gradients, sizeof projected);
    }
}

/* Evaluates it for all ops of a group: what their checks then evaluate one by one finds its kernels built, most of it
 * in one program instead of one each. */
static void build_together(int group, int order)
{
    const cg_scope scope = cg_scope_begin(cg);
    recorded_count = 0;
    for (int index = first_of_group(group); index < end_of_group(group); index++) {
        const cg_op *op = op_at(index);
        for (int i = 0; i < op->sample_count; i++) {
            if (!op->samples[i].smooth) continue;
            trial t = trial_new(op, i, CG_F64, CG_F64);
            record_derivatives(&t, order);
        }
    }
    ck_assert_msg(cg_eval(recorded, recorded_count), "%s", cg_message(cg));
    cg_scope_end(scope);
}

/* ---- All of it --------------------------------------------------------------------------------------------------- */

static void check_both_orders(const cg_op *op)
{
    check_derivatives(op, 1);
    check_derivatives(op, 2);
}

START_TEST(ops_have_their_derivatives)
{
    for (int order = 0; has_f64() && order <= 2; order++) build_together(_i, order);
    each_op_of_group(_i, check_both_orders);
    each_op_of_group(_i, check_f32_against_f64);
}
END_TEST

/* ---- The suite --------------------------------------------------------------------------------------------------- */

static TCase *table_case(void)
{
    TCase *tests = tcase_create("each op of the table");
    tcase_add_checked_fixture(tests, open_unjoined, close_context);
    tcase_set_timeout(tests, SECONDS_TOGETHER);
    tcase_add_loop_test(tests, ops_have_their_derivatives, 0, group_count());
    return tests;
}

int main(void)
{
    Suite *suite = suite_create("derivatives");
    suite_add_tcase(suite, table_case());
    return run_suite(suite);
}

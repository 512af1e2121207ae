/* When recorded work runs and what is stored then, and how far back a tensor can be differentiated: one test per rule,
 * by values and by the context's counters. */
#include "semantics_support.h"

/* ---- When things run --------------------------------------------------------------------------------------------- */

/* Calls only record: inputs are uploaded, but no kernel is launched and no plan is made. */
START_TEST(nothing_runs_before_a_forcing_point)
{
    cg_variable *w = variable_with("w", VECTOR(1, 2));
    cg_scope scope = cg_scope_begin(cg);
    cg_tensor gradient, value = cg_value(w), loss = cg_keep(cg_sum(cg_square(value)));
    mark();
    ck_assert(cg_grad(&loss, 1, &value, 1, &gradient));
    ck_assert(cg_assign(w, cg_sub(value, gradient)));
    ck_assert_int_eq(plans_run(), 0);
    ck_assert_int_eq(kernels_run(), 0);
    cg_scope_end(scope);
    cg_variable_free(w);
}
END_TEST

/* A read is a forcing point. */
START_TEST(a_read_runs)
{
    cg_tensor x = times(VECTOR(1, 2), 3);
    mark();
    EXPECT(x, 3, 6);
    ck_assert_int_eq(plans_run(), 1);
}
END_TEST

/* cg_eval is a forcing point; it does not need to be followed by a read. */
START_TEST(eval_runs)
{
    cg_tensor x = times(VECTOR(1, 2), 3);
    mark();
    ck_assert(cg_eval(&x, 1));
    ck_assert_int_eq(plans_run(), 1);
    ck_assert_int_ge(kernels_run(), 1);
}
END_TEST

/* cg_flush and cg_wait run pending assignments. */
START_TEST(flush_and_wait_run)
{
    cg_variable *w = variable_with("w", VECTOR(1, 2));
    ck_assert(cg_assign(w, times(cg_value(w), 2)));
    mark();
    ck_assert(cg_flush(cg));
    ck_assert_int_eq(plans_run(), 1);
    ck_assert(cg_assign(w, times(cg_value(w), 2)));
    ck_assert(cg_wait(cg));
    ck_assert_int_eq(plans_run(), 2);
    EXPECT_VALUE(w, 4, 8);
    cg_variable_free(w);
}
END_TEST

/* The end of a step scope is a forcing point. */
START_TEST(the_end_of_a_step_scope_runs)
{
    cg_variable *w = variable_with("w", VECTOR(1, 2));
    cg_scope scope = cg_scope_begin(cg);
    cg_assign(w, times(cg_value(w), 2));
    mark();
    cg_scope_end(scope);
    ck_assert_int_eq(plans_run(), 1);
    EXPECT_VALUE(w, 2, 4);
    ck_assert_int_eq(plans_run(), 1);
    cg_variable_free(w);
}
END_TEST

/* So is the end of a step scope within another; what the outer one has assigned so far runs with it. */
START_TEST(the_end_of_a_nested_step_scope_runs)
{
    cg_variable *w = variable_with("w", VECTOR(1, 2)), *v = variable_with("v", VECTOR(5, 6));
    cg_scope outer = cg_scope_begin(cg);
    cg_assign(v, times(cg_value(v), 2));
    cg_scope inner = cg_scope_begin(cg);
    cg_assign(w, times(cg_value(w), 2));
    mark();
    cg_scope_end(inner);
    ck_assert_int_eq(plans_run(), 1);
    ck_assert(!w->pending && !v->pending);
    cg_scope_end(outer);
    ck_assert_int_eq(plans_run(), 1);
    EXPECT_VALUE(w, 2, 4);
    EXPECT_VALUE(v, 10, 12);
    cg_variable_free(w);
    cg_variable_free(v);
}
END_TEST

/* Ending an outer scope ends the inner ones first. */
START_TEST(ending_an_outer_scope_ends_the_inner_ones)
{
    cg_variable *w = variable_with("w", VECTOR(1, 2));
    cg_scope outer = cg_scope_begin(cg), inner = cg_scope_begin(cg);
    cg_tensor x = times(cg_value(w), 2);
    cg_assign(w, x);
    cg_scope_end(outer);
    EXPECT_VALUE(w, 2, 4);
    cg_scope_end(inner);
    expect_error(CG_ERROR_ARGUMENT, "cg_scope_end: the scope has ended already");
    cg_variable_free(w);
}
END_TEST

/* Assignments, tensors asked for and tensors kept, all that is pending at a forcing point, are one plan. */
START_TEST(everything_pending_is_one_plan)
{
    cg_variable *a = variable_with("a", VECTOR(1, 2)), *b = variable_with("b", VECTOR(3, 4, 5));
    cg_scope scope = cg_scope_begin(cg);
    cg_assign(a, times(cg_value(a), 2));
    cg_assign(b, plus(cg_value(b), 1));
    cg_tensor kept = cg_keep(cg_sum(cg_value(a))), asked = times(cg_value(b), 10);
    mark();
    ck_assert(cg_eval(&asked, 1));
    ck_assert_int_eq(plans_run(), 1);
    EXPECT(kept, 6);
    EXPECT(asked, 40, 50, 60);
    cg_scope_end(scope);
    ck_assert_int_eq(plans_run(), 1);
    EXPECT_VALUE(a, 2, 4);
    cg_variable_free(a);
    cg_variable_free(b);
}
END_TEST

/* A local scope's end frees handles; it runs nothing, and what a variable carries out keeps its history. */
START_TEST(a_local_scope_neither_runs_nor_cuts)
{
    cg_variable *w = variable_with("w", VECTOR(2, 3));
    cg_scope step = cg_scope_begin(cg);
    cg_tensor start = cg_value(w), gradient;
    mark();
    cg_scope local = cg_scope_local(cg);
    cg_tensor kept = cg_keep(cg_sum(cg_square(start))), dead = times(start, 2);
    cg_assign(w, cg_square(start));
    cg_scope_end(local);
    ck_assert_int_eq(plans_run(), 0);
    ck_assert_int_eq(cg_shape_of(dead).rank, -1);
    cg_tensor outputs[] = {kept, cg_value(w)};
    ck_assert(cg_grad(outputs, 2, &start, 1, &gradient));
    EXPECT(gradient, 8, 12);
    cg_scope_end(step);
    cg_variable_free(w);
}
END_TEST

/* A read in mid-scope also stores every live tensor of rank 0, so that reading them after it makes no plan. */
START_TEST(a_read_in_mid_scope_stores_live_scalars)
{
    cg_scope scope = cg_scope_begin(cg);
    cg_tensor x = VECTOR(1, 2, 3);
    cg_tensor loss = cg_sum(cg_square(x)), largest = cg_max(x), mean = cg_mean(x);
    mark();
    ck_assert_double_eq(cg_item(loss), 14);
    ck_assert_int_eq(plans_run(), 1);
    ck_assert_double_eq(cg_item(largest), 3);
    ck_assert_double_eq(cg_item(mean), 2);
    ck_assert_int_eq(plans_run(), 1);
    cg_scope_end(scope);
}
END_TEST

/* Live ones only: those whose handles have died are not computed. */
START_TEST(a_read_in_mid_scope_leaves_dead_scalars_out)
{
    cg_scope scope = cg_scope_begin(cg), local = cg_scope_local(cg);
    cg_tensor x = cg_keep(VECTOR(1, 2, 3)), loss = cg_keep(cg_sum(x));
    cg_sum(cg_exp(cg_neg(x)));
    cg_scope_end(local);
    cg_item(loss);
    ck_assert_int_eq(cg->counters.last_plan_kernels, 1);
    cg_scope_end(scope);
}
END_TEST

/* Storing live scalars does not touch the numbers that kernels get as arguments: they keep their double precision. */
START_TEST(a_read_in_mid_scope_leaves_numbers_as_they_are)
{
    if (!cg_device(cg)->has_f64) return;
    cg_tensor third = cg_div(cg_scalar(cg, 1), cg_scalar(cg, 3));
    cg_tensor x = cg_input(cg, CG_F64, CG_SHAPE(1), ((double[]){3}));
    ck_assert_double_eq(cg_item(cg_sum(x)), 3);
    ck_assert_double_eq_tol(cg_item(cg_mul(x, third)), 1, 1e-15);
}
END_TEST

/* Nor does reading such a number itself. */
START_TEST(a_number_that_was_read_keeps_its_digits)
{
    if (!cg_device(cg)->has_f64) return;
    cg_tensor third = cg_div(cg_scalar(cg, 1), cg_scalar(cg, 3));
    cg_tensor x = cg_input(cg, CG_F64, CG_SHAPE(1), ((double[]){3}));
    ck_assert_double_eq_tol(cg_item(third), 1 / 3.0, 1e-7);
    ck_assert_double_eq_tol(cg_item(cg_mul(x, third)), 1, 1e-15);
}
END_TEST

/* cg_eval stores each tensor of its list while its handle lives. */
START_TEST(eval_stores_its_list_while_handles_live)
{
    cg_tensor x = numbers(CG_SHAPE(1000), 1);
    ck_assert(cg_wait(cg));
    const int64_t used = cg_counters_get(cg).used_bytes;
    cg_scope local = cg_scope_local(cg);
    cg_tensor pair[] = {times(x, 2), times(x, 3)};
    ck_assert(cg_eval(pair, 2));
    ck_assert_int_ge(cg_counters_get(cg).used_bytes, used + 8000);
    mark();
    float read[1000];
    ck_assert(cg_read_floats(pair[0], read, 1000) && cg_read_floats(pair[1], read, 1000));
    ck_assert_int_eq(plans_run(), 0);
    cg_scope_end(local);
    ck_assert_int_eq(cg_counters_get(cg).used_bytes, used);
}
END_TEST

/* Other temporaries are not stored: wanted again, they are computed again, which a counter shows. */
START_TEST(temporaries_are_recomputed_and_counted)
{
    cg_tensor x = VECTOR(1, 2, 3), temporary = cg_square(x), stored = cg_exp(x);
    mark();
    cg_item(cg_sum(temporary));
    ck_assert_int_eq(recomputed(), 0);
    EXPECT(temporary, 1, 4, 9);
    ck_assert_int_eq(recomputed(), 1);
    ck_assert(cg_eval(&stored, 1));
    cg_item(cg_sum(stored));
    ck_assert_int_eq(recomputed(), 1);
}
END_TEST

/* The objective of cg_minimize lies in a variable: reading it after the scope's end runs nothing, and no second copy
 * of the weights was needed. */
START_TEST(the_objective_is_read_without_a_second_plan)
{
    cg_model *model = cg_model_new(cg);
    cg_variable *w = cg_model_add(model, "w", VECTOR(1, 2, 3, 4));
    cg_optimizer *optimizer = cg_sgd_new(model, .learning_rate = 0.25);
    int64_t used[4];
    for (int step = 0; step < 4; step++) {
        cg_scope scope = cg_scope_begin(cg);
        cg_minimize(optimizer, cg_sum(cg_square(cg_value(w))));
        cg_scope_end(scope);
        mark();
        ck_assert_double_eq(cg_optimizer_objective(optimizer), 30 * pow(0.25, step));
        ck_assert_int_eq(plans_run(), 0);
        ck_assert_int_eq(kernels_run(), 0);
        used[step] = cg_counters_get(cg).used_bytes;
    }
    ck_assert_int_eq(used[3], used[1]);
    cg_model_free(model);
}
END_TEST

/* Reading a variable yields the value current at that call: before an assignment the old one, after it the new one. */
START_TEST(a_variable_yields_the_value_current_at_the_call)
{
    cg_variable *w = variable_with("w", VECTOR(1, 2));
    cg_scope scope = cg_scope_begin(cg);
    cg_tensor old = cg_value(w);
    cg_assign(w, times(old, 10));
    cg_tensor new = cg_value(w);
    cg_assign(w, plus(new, 1));
    cg_tensor newest = cg_value(w);
    EXPECT(newest, 11, 21);
    EXPECT(new, 10, 20);
    EXPECT(old, 1, 2);
    cg_scope_end(scope);
    EXPECT_VALUE(w, 11, 21);
    cg_variable_free(w);
}
END_TEST

/* Of several assignments in one scope the last counts; the values between them are not computed for their own sake. */
START_TEST(the_last_assignment_counts)
{
    cg_variable *w = variable_with("w", VECTOR(1, 2));
    cg_scope scope = cg_scope_begin(cg);
    cg_assign(w, cg_exp(cg_value(w)));
    cg_assign(w, VECTOR(7, 8));
    mark();
    cg_scope_end(scope);
    ck_assert_int_eq(plans_run(), 0);
    EXPECT_VALUE(w, 7, 8);
    cg_variable_free(w);
}
END_TEST

/* A kept tensor moves to the enclosing scope and dies with that one; its value is stored when its scope ends. */
START_TEST(a_kept_tensor_moves_to_the_enclosing_scope)
{
    cg_scope outer = cg_scope_begin(cg), inner = cg_scope_begin(cg);
    cg_tensor once = cg_keep(times(VECTOR(1, 2), 2)), never = times(VECTOR(1, 2), 3);
    cg_scope_end(inner);
    mark();
    EXPECT(once, 2, 4);
    ck_assert_int_eq(plans_run(), 0);
    ck_assert_int_eq(cg_shape_of(never).rank, -1);
    cg_scope_end(outer);
    ck_assert_int_eq(cg_shape_of(once).rank, -1);
}
END_TEST

/* Kept again, it leaves the next scope too. */
START_TEST(a_tensor_kept_twice_leaves_two_scopes)
{
    cg_scope outer = cg_scope_begin(cg), inner = cg_scope_begin(cg);
    cg_tensor twice = cg_keep(cg_keep(times(VECTOR(1, 2), 2)));
    cg_scope_end(inner);
    EXPECT(twice, 2, 4);
    cg_scope_end(outer);
    EXPECT(twice, 2, 4);
}
END_TEST

/* Kept out of the outermost scope it belongs to the context, until it is released. */
START_TEST(a_tensor_kept_at_the_outermost_lives_until_released)
{
    cg_scope_end(home);
    cg_scope scope = cg_scope_begin(cg);
    cg_tensor x = cg_keep(times(VECTOR(1, 2), 2));
    cg_scope_end(scope);
    home = cg_scope_local(cg);
    EXPECT(x, 2, 4);
    cg_release(x);
    ck_assert(cg_is_null(cg_neg(x)));
    expect_error(CG_ERROR_ARGUMENT, "neg: a tensor is used after the end of its scope");
}
END_TEST

/* A handle whose scope has ended is recognised by every function that takes one. */
START_TEST(dead_handles_are_reported)
{
    cg_variable *w = variable_with("w", VECTOR(1, 2));
    cg_scope scope = cg_scope_local(cg);
    cg_tensor dead = VECTOR(1, 2);
    cg_scope_end(scope);
    cg_tensor gradient, reused = VECTOR(3, 4); /* which takes the dead one's place in memory */
    const char *message = "a tensor is used after the end of its scope";
    ck_assert(cg_is_null(cg_add(reused, dead)));
    expect_error(CG_ERROR_ARGUMENT, message);
    ck_assert(!cg_assign(w, dead));
    expect_error(CG_ERROR_ARGUMENT, message);
    ck_assert(!cg_eval(&dead, 1));
    expect_error(CG_ERROR_ARGUMENT, message);
    ck_assert(isnan(cg_item(dead)));
    expect_error(CG_ERROR_ARGUMENT, message);
    ck_assert(cg_is_null(cg_keep(dead)));
    expect_error(CG_ERROR_ARGUMENT, message);
    ck_assert(!cg_grad(&dead, 1, &reused, 1, &gradient));
    expect_error(CG_ERROR_ARGUMENT, message);
    cg_release(dead);
    expect_error(CG_ERROR_ARGUMENT, message);
    EXPECT_VALUE(w, 1, 2);
    cg_variable_free(w);
}
END_TEST

/* ---- History ----------------------------------------------------------------------------------------------------- */

/* Evaluation does not cut history: what was stored by cg_eval or a read can still be differentiated. */
START_TEST(evaluated_tensors_stay_differentiable)
{
    cg_tensor x = VECTOR(1, 2, 3), square = cg_square(x), loss = cg_sum(square), gradient;
    ck_assert(cg_eval(&square, 1));
    ck_assert_double_eq(cg_item(loss), 14);
    ck_assert(cg_grad(&loss, 1, &x, 1, &gradient));
    EXPECT(gradient, 2, 4, 6);
    cg_tensor again = cg_sum(cg_square(gradient)), second;
    ck_assert(cg_grad(&again, 1, &x, 1, &second));
    EXPECT(second, 8, 16, 24);
}
END_TEST

/* Within its scope an assigned value keeps its history, read or not: a training step can be differentiated through. */
START_TEST(a_training_step_can_be_differentiated_through)
{
    cg_variable *w = variable_with("w", VECTOR(1, 2));
    cg_scope scope = cg_scope_begin(cg);
    cg_tensor rate = cg_scalar(cg, 0.1), old = cg_value(w), gradient, by_rate;
    cg_tensor loss = cg_sum(cg_square(old));
    ck_assert(cg_grad(&loss, 1, &old, 1, &gradient));
    cg_assign(w, cg_sub(old, cg_mul(rate, gradient)));
    EXPECT(cg_value(w), 0.8F, 1.6F);
    cg_tensor after = cg_sum(cg_square(cg_value(w)));
    ck_assert(cg_grad(&after, 1, &rate, 1, &by_rate));
    EXPECT(by_rate, -16);
    cg_scope_end(scope);
    cg_variable_free(w);
}
END_TEST

static const char *const history_ended = "its history ended with a scope";

/* After the end of a step scope what a variable carries out is a leaf: asking for its derivative with respect to
 * anything else is an error at the call. */
START_TEST(a_variable_is_a_leaf_after_the_scopes_end)
{
    cg_variable *w = variable_with("w", VECTOR(1, 2));
    cg_tensor start = cg_value(w), gradient;
    cg_scope scope = cg_scope_begin(cg);
    cg_assign(w, cg_square(start));
    cg_scope_end(scope);
    cg_tensor now = cg_value(w);
    ck_assert(!cg_grad(&now, 1, &start, 1, &gradient));
    ck_assert(cg_is_null(gradient));
    expect_error(CG_ERROR_ARGUMENT, history_ended);
    EXPECT(now, 1, 4);
    cg_variable_free(w);
}
END_TEST

/* The same for a kept tensor. */
START_TEST(a_kept_tensor_is_a_leaf_after_the_scopes_end)
{
    cg_tensor x = VECTOR(1, 2), gradient;
    cg_scope scope = cg_scope_begin(cg);
    cg_tensor kept = cg_keep(cg_square(x));
    cg_scope_end(scope);
    ck_assert(!cg_grad(&kept, 1, &x, 1, &gradient));
    expect_error(CG_ERROR_ARGUMENT, history_ended);
    EXPECT(kept, 1, 4);
}
END_TEST

/* Leaving two scopes, it is a leaf once the first has ended. */
START_TEST(a_tensor_kept_twice_is_a_leaf_after_the_first_end)
{
    cg_tensor x = VECTOR(1, 2), gradient;
    cg_scope outer = cg_scope_begin(cg), inner = cg_scope_begin(cg);
    cg_tensor kept = cg_keep(cg_keep(cg_square(x)));
    cg_scope_end(inner);
    ck_assert(!cg_grad(&kept, 1, &x, 1, &gradient));
    expect_error(CG_ERROR_ARGUMENT, history_ended);
    cg_scope_end(outer);
}
END_TEST

/* A leaf is still differentiable with respect to itself, and so is what is computed from it later. */
START_TEST(a_leaf_is_differentiable_by_itself)
{
    cg_tensor x = VECTOR(1, 2), gradient;
    cg_scope scope = cg_scope_begin(cg);
    cg_tensor kept = cg_keep(cg_square(x));
    cg_scope_end(scope);
    ck_assert(cg_grad(&kept, 1, &kept, 1, &gradient));
    EXPECT(gradient, 1, 1);
    cg_tensor loss = cg_sum(cg_square(kept));
    ck_assert(cg_grad(&loss, 1, &kept, 1, &gradient));
    EXPECT(gradient, 2, 8);
}
END_TEST

/* Any other input that the output does not depend on gives zeros: also where the way to it leads through a leaf, and
 * also of an output that never had a history. */
START_TEST(independent_inputs_give_zeros)
{
    cg_tensor x = VECTOR(1, 2), other = VECTOR(3, 4), gradients[2];
    cg_scope scope = cg_scope_begin(cg);
    cg_tensor kept = cg_keep(cg_square(x));
    cg_scope_end(scope);
    cg_tensor loss = cg_sum(cg_mul(kept, kept)), wrt[] = {x, other};
    ck_assert(cg_grad(&loss, 1, wrt, 2, gradients));
    EXPECT(gradients[0], 0, 0);
    EXPECT(gradients[1], 0, 0);
    ck_assert(cg_grad(&x, 1, &other, 1, gradients));
    EXPECT(gradients[0], 0, 0);
}
END_TEST

/* A variable that was given data and nothing else has no history that could have ended: zeros, no error. */
START_TEST(a_fresh_variable_gives_zeros)
{
    cg_variable *w = variable_with("w", VECTOR(1, 2));
    cg_scope scope = cg_scope_begin(cg);
    cg_scope_end(scope);
    cg_tensor value = cg_value(w), other = VECTOR(3, 4), gradient;
    ck_assert(cg_grad(&value, 1, &other, 1, &gradient));
    EXPECT(gradient, 0, 0);
    cg_variable_free(w);
}
END_TEST

static const cg_op without_vjp = {.name = "without_vjp", .kind = CG_OP_MAP, .inputs = 1, .expression = "a + a"};

/* An op without a vjp on the way is reported before any kernel runs. */
START_TEST(an_op_without_a_vjp_is_reported_before_anything_runs)
{
    cg_tensor x = VECTOR(1, 2), gradient;
    cg_tensor loss = cg_sum(cg_apply(&without_vjp, &x, 1, NULL, 0));
    mark();
    ck_assert(!cg_grad(&loss, 1, &x, 1, &gradient));
    ck_assert_int_eq(kernels_run(), 0);
    expect_error(CG_ERROR_ARGUMENT, "without_vjp has no vjp");
    ck_assert_double_eq(cg_item(loss), 6);
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------------ */

static TCase *when_things_run(void)
{
    TCase *tests = tcase_create("when things run");
    tcase_add_test(tests, nothing_runs_before_a_forcing_point);
    tcase_add_test(tests, a_read_runs);
    tcase_add_test(tests, eval_runs);
    tcase_add_test(tests, flush_and_wait_run);
    tcase_add_test(tests, the_end_of_a_step_scope_runs);
    tcase_add_test(tests, the_end_of_a_nested_step_scope_runs);
    tcase_add_test(tests, ending_an_outer_scope_ends_the_inner_ones);
    tcase_add_test(tests, everything_pending_is_one_plan);
    tcase_add_test(tests, a_local_scope_neither_runs_nor_cuts);
    tcase_add_test(tests, a_read_in_mid_scope_stores_live_scalars);
    tcase_add_test(tests, a_read_in_mid_scope_leaves_dead_scalars_out);
    tcase_add_test(tests, a_read_in_mid_scope_leaves_numbers_as_they_are);
    tcase_add_test(tests, a_number_that_was_read_keeps_its_digits);
    tcase_add_test(tests, eval_stores_its_list_while_handles_live);
    tcase_add_test(tests, temporaries_are_recomputed_and_counted);
    tcase_add_test(tests, the_objective_is_read_without_a_second_plan);
    tcase_add_test(tests, a_variable_yields_the_value_current_at_the_call);
    tcase_add_test(tests, the_last_assignment_counts);
    tcase_add_test(tests, a_kept_tensor_moves_to_the_enclosing_scope);
    tcase_add_test(tests, a_tensor_kept_twice_leaves_two_scopes);
    tcase_add_test(tests, a_tensor_kept_at_the_outermost_lives_until_released);
    tcase_add_test(tests, dead_handles_are_reported);
    return tests;
}

static TCase *history(void)
{
    TCase *tests = tcase_create("history");
    tcase_add_test(tests, evaluated_tensors_stay_differentiable);
    tcase_add_test(tests, a_training_step_can_be_differentiated_through);
    tcase_add_test(tests, a_variable_is_a_leaf_after_the_scopes_end);
    tcase_add_test(tests, a_kept_tensor_is_a_leaf_after_the_scopes_end);
    tcase_add_test(tests, a_tensor_kept_twice_is_a_leaf_after_the_first_end);
    tcase_add_test(tests, a_leaf_is_differentiable_by_itself);
    tcase_add_test(tests, independent_inputs_give_zeros);
    tcase_add_test(tests, a_fresh_variable_gives_zeros);
    tcase_add_test(tests, an_op_without_a_vjp_is_reported_before_anything_runs);
    return tests;
}

int main(void)
{
    TCase *(*const cases[])(void) = {when_things_run, history};
    Suite *suite = suite_create("semantics");
    for (int i = 0; i < 2; i++) {
        TCase *tests = cases[i]();
        tcase_add_checked_fixture(tests, begin_test, end_test);
        suite_add_tcase(suite, tests);
    }
    return run_tests(suite);
}

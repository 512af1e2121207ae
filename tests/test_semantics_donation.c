/* When a variable's old memory is written in place and when it must not be: whatever still needs the old value, in the
 * same plan or after it, sees the old value. Which buffer a variable has is looked at from inside the engine. */
#include "semantics_support.h"

static double item_of_sum(cg_variable *variable)
{
    cg_scope scope = cg_scope_local(cg);
    const double sum = cg_item(cg_sum(cg_value(variable)));
    cg_scope_end(scope);
    return sum;
}

/* With nothing else alive that needs the old value, the end of a step scope writes into the old buffer. */
START_TEST(a_step_updates_in_place)
{
    cg_variable *w = variable_with("w", VECTOR(1, 2, 3, 4));
    const cg_buffer *buffer = buffer_of(w);
    int64_t used = 0, held = 0;
    for (int step = 0; step < 20; step++) {
        cg_scope scope = cg_scope_begin(cg);
        cg_assign(w, plus(cg_value(w), 1));
        cg_scope_end(scope);
        ck_assert_ptr_eq(buffer_of(w), buffer);
        if (step == 0) used = cg_counters_get(cg).used_bytes, held = cg_counters_get(cg).device_bytes;
    }
    ck_assert_int_eq(cg_counters_get(cg).used_bytes, used);
    ck_assert_int_eq(cg_counters_get(cg).device_bytes, held);
    EXPECT_VALUE(w, 21, 22, 23, 24);
    cg_variable_free(w);
}
END_TEST

/* A read in mid-scope, while handles to the old value live, writes to a second buffer: the handles keep their values.
 */
START_TEST(a_read_in_mid_scope_uses_a_second_buffer)
{
    cg_variable *w = variable_with("w", VECTOR(1, 2));
    const cg_buffer *buffer = buffer_of(w);
    cg_scope scope = cg_scope_begin(cg);
    cg_tensor old = cg_value(w), doubled = times(old, 2);
    cg_assign(w, plus(old, 10));
    EXPECT(cg_value(w), 11, 12);
    ck_assert_ptr_ne(buffer_of(w), buffer);
    EXPECT(old, 1, 2);
    EXPECT(doubled, 2, 4);
    cg_scope_end(scope);
    EXPECT_VALUE(w, 11, 12);
    cg_variable_free(w);
}
END_TEST

/* A handle in an enclosing scope, to the old value or to something not yet computed from it, prevents it too. */
START_TEST(a_living_reader_prevents_writing_in_place)
{
    cg_variable *w = variable_with("w", VECTOR(1, 2));
    const cg_buffer *buffer = buffer_of(w);
    cg_tensor later = times(cg_value(w), 2);
    cg_scope scope = cg_scope_begin(cg);
    cg_assign(w, plus(cg_value(w), 10));
    cg_scope_end(scope);
    ck_assert_ptr_ne(buffer_of(w), buffer);
    EXPECT(later, 2, 4);
    EXPECT_VALUE(w, 11, 12);
    cg_variable_free(w);
}
END_TEST

/* A kept tensor that the same plan computes from the old value does not: it is stored before that is overwritten. */
START_TEST(a_kept_reader_is_stored_first)
{
    cg_variable *w = variable_with("w", VECTOR(1, 2));
    const cg_buffer *buffer = buffer_of(w);
    cg_scope scope = cg_scope_begin(cg);
    cg_tensor kept = cg_keep(cg_sum(cg_square(cg_value(w))));
    cg_assign(w, plus(cg_value(w), 10));
    cg_scope_end(scope);
    ck_assert_ptr_eq(buffer_of(w), buffer);
    EXPECT(kept, 5);
    EXPECT_VALUE(w, 11, 12);
    cg_variable_free(w);
}
END_TEST

/* Nor does one that is recorded after the update and takes longer: writing in place waits for every reader. */
START_TEST(a_reader_recorded_after_the_update_runs_first)
{
    enum { N = 64 };
    cg_variable *w = variable_with("w", numbers(CG_SHAPE(N, N), 2));
    const cg_buffer *buffer = buffer_of(w);
    const double before = item_of_sum(w);
    cg_scope scope = cg_scope_begin(cg);
    cg_tensor old = cg_value(w);
    cg_assign(w, times(old, 0));
    cg_tensor product = cg_matmul(cg_ones(cg, CG_SHAPE(1, N)), cg_matmul(old, cg_ones(cg, CG_SHAPE(N, 1))));
    cg_tensor kept = cg_keep(cg_sum(product));
    cg_scope_end(scope);
    ck_assert_ptr_eq(buffer_of(w), buffer);
    ck_assert_double_eq_tol(cg_item(kept), before, 1e-3);
    ck_assert_double_eq(item_of_sum(w), 0);
    cg_variable_free(w);
}
END_TEST

/* The old value itself may be kept: then the update goes to a second buffer. */
START_TEST(a_kept_old_value_survives_the_update)
{
    cg_variable *w = variable_with("w", VECTOR(1, 2));
    cg_scope scope = cg_scope_begin(cg);
    cg_tensor kept = cg_keep(cg_value(w));
    cg_assign(w, plus(cg_value(w), 10));
    cg_scope_end(scope);
    EXPECT(kept, 1, 2);
    EXPECT_VALUE(w, 11, 12);
    cg_variable_free(w);
}
END_TEST

/* A tensor may be kept that was stored in mid-scope and that the update reads. */
START_TEST(a_kept_stored_tensor_survives_the_update)
{
    cg_variable *w = variable_with("w", VECTOR(1, 2));
    cg_scope scope = cg_scope_begin(cg);
    cg_assign(w, plus(cg_value(w), 10));
    cg_tensor kept = cg_keep(cg_value(w));
    ck_assert(cg_flush(cg));
    cg_assign(w, plus(cg_value(w), 10));
    cg_scope_end(scope);
    EXPECT(kept, 11, 12);
    EXPECT_VALUE(w, 21, 22);
    cg_variable_free(w);
}
END_TEST

/* Check mode never writes in place. */
START_TEST(check_mode_does_not_donate)
{
    open_own("CLGRAD_CHECK", "1");
    cg_variable *w = variable_with("w", VECTOR(1, 2));
    for (int step = 0; step < 3; step++) {
        const cg_buffer *buffer = buffer_of(w);
        cg_scope scope = cg_scope_begin(cg);
        cg_assign(w, plus(cg_value(w), 1));
        cg_scope_end(scope);
        ck_assert_ptr_ne(buffer_of(w), buffer);
    }
    EXPECT_VALUE(w, 4, 5);
    cg_variable_free(w);
    close_own();
}
END_TEST

/* The gradient with respect to the input multiplies by the weights; it must see those from before the update, though
 * the update is in place and needs less to run first. */
START_TEST(readers_in_the_same_plan_see_the_old_value)
{
    enum { N = 48 };
    static float old[N * N], found[N * N];
    cg_variable *w = variable_with("w", numbers(CG_SHAPE(N, N), 3));
    const cg_buffer *buffer = buffer_of(w);
    cg_tensor before = cg_value(w);
    ck_assert(cg_read_floats(before, old, N * N));
    cg_release(before);
    cg_scope scope = cg_scope_begin(cg);
    cg_tensor x = cg_ones(cg, CG_SHAPE(N, N)), weights = cg_value(w), gradients[2];
    cg_tensor loss = cg_sum(cg_matmul(x, weights)), wrt[] = {x, weights};
    ck_assert(cg_grad(&loss, 1, wrt, 2, gradients));
    cg_assign(w, cg_sub(weights, gradients[1]));
    cg_keep(gradients[0]);
    cg_scope_end(scope);
    ck_assert_ptr_eq(buffer_of(w), buffer);
    ck_assert(cg_read_floats(gradients[0], found, N * N));
    for (int column = 0; column < N; column++) {
        double sum = 0;
        for (int k = 0; k < N; k++) sum += (double)old[column * N + k];
        ck_assert_double_eq_tol((double)found[column], sum, 1e-4);
    }
    cg_variable_free(w);
}
END_TEST

/* One variable's update reads another's old value, whatever order the assignments are in. */
START_TEST(updates_read_each_others_old_values)
{
    cg_variable *a = variable_with("a", VECTOR(1, 2)), *b = variable_with("b", VECTOR(10, 20));
    for (int step = 0; step < 2; step++) {
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor old_a = cg_value(a), old_b = cg_value(b);
        cg_assign(a, plus(old_b, 1));
        cg_assign(b, plus(old_a, 2));
        cg_scope_end(scope);
    }
    EXPECT_VALUE(a, 4, 5);
    EXPECT_VALUE(b, 13, 23);
    cg_variable_free(a);
    cg_variable_free(b);
}
END_TEST

/* Two variables exchange their values without a kernel. */
START_TEST(values_are_exchanged)
{
    cg_variable *a = variable_with("a", VECTOR(1, 2)), *b = variable_with("b", VECTOR(10, 20));
    for (int step = 0; step < 3; step++) {
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor old_a = cg_value(a);
        cg_assign(a, cg_value(b));
        cg_assign(b, old_a);
        cg_scope_end(scope);
    }
    EXPECT_VALUE(a, 10, 20);
    EXPECT_VALUE(b, 1, 2);
    cg_variable_free(a);
    cg_variable_free(b);
}
END_TEST

/* What is computed from a variable's old value may be assigned to another, before or after its own update. */
START_TEST(another_variable_follows_the_old_value)
{
    cg_variable *w = variable_with("w", VECTOR(1, 2)), *trail = variable_with("trail", VECTOR(0, 0));
    for (int step = 0; step < 3; step++) {
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor old = cg_value(w);
        cg_assign(w, times(old, 2));
        cg_assign(trail, cg_add(times(cg_value(trail), 0.5), old));
        cg_scope_end(scope);
    }
    EXPECT_VALUE(w, 8, 16);
    EXPECT_VALUE(trail, 5.25, 10.5);
    cg_variable_free(w);
    cg_variable_free(trail);
}
END_TEST

/* A copy of a variable in another keeps the value when the first moves on in the same plan. */
START_TEST(a_copy_keeps_its_value_when_the_original_is_updated)
{
    cg_variable *w = variable_with("w", VECTOR(1, 2)), *target = variable_with("target", VECTOR(0, 0));
    cg_scope scope = cg_scope_begin(cg);
    cg_assign(target, cg_value(w));
    cg_assign(w, plus(cg_value(w), 10));
    cg_scope_end(scope);
    EXPECT_VALUE(target, 1, 2);
    EXPECT_VALUE(w, 11, 12);
    cg_variable_free(w);
    cg_variable_free(target);
}
END_TEST

/* Two variables that share one stored value are updated in one plan: only one of them can take its buffer. */
START_TEST(variables_that_share_a_value_part_when_updated)
{
    cg_variable *a = variable_with("a", VECTOR(1, 2)), *b = variable_with("b", VECTOR(0, 0));
    cg_scope scope = cg_scope_begin(cg);
    cg_assign(b, cg_value(a));
    cg_scope_end(scope);
    scope = cg_scope_begin(cg);
    cg_assign(a, plus(cg_value(a), 10));
    cg_assign(b, times(cg_value(b), 3));
    cg_scope_end(scope);
    EXPECT_VALUE(a, 11, 12);
    EXPECT_VALUE(b, 3, 6);
    cg_variable_free(a);
    cg_variable_free(b);
}
END_TEST

/* The same where one of the two updates does not read the shared value. */
START_TEST(variables_that_share_a_value_part_when_one_is_overwritten)
{
    cg_variable *a = variable_with("a", VECTOR(1, 2)), *b = variable_with("b", VECTOR(0, 0)),
                *c = variable_with("c", VECTOR(5, 6));
    cg_scope scope = cg_scope_begin(cg);
    cg_assign(b, cg_value(a));
    cg_scope_end(scope);
    scope = cg_scope_begin(cg);
    cg_assign(a, plus(cg_value(a), 10));
    cg_assign(b, times(cg_value(c), 3));
    cg_scope_end(scope);
    EXPECT_VALUE(a, 11, 12);
    EXPECT_VALUE(b, 15, 18);
    cg_variable_free(a);
    cg_variable_free(b);
    cg_variable_free(c);
}
END_TEST

/* One tensor assigned to two variables: each has a value of its own from then on. */
START_TEST(one_tensor_is_assigned_to_two_variables)
{
    cg_variable *a = variable_with("a", VECTOR(1, 2)), *b = variable_with("b", VECTOR(0, 0));
    for (int step = 0; step < 3; step++) {
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor x = plus(cg_value(a), 1);
        cg_assign(a, x);
        cg_assign(b, x);
        cg_scope_end(scope);
    }
    EXPECT_VALUE(b, 4, 5);
    cg_scope scope = cg_scope_begin(cg);
    cg_assign(a, times(cg_value(a), 2));
    cg_scope_end(scope);
    EXPECT_VALUE(a, 8, 10);
    EXPECT_VALUE(b, 4, 5);
    cg_variable_free(a);
    cg_variable_free(b);
}
END_TEST

/* Runs three steps of an update that reads its own old value at other places than it writes. */
static void repeat_update(cg_variable *w, cg_tensor (*update)(cg_tensor))
{
    for (int step = 0; step < 3; step++) {
        cg_scope scope = cg_scope_begin(cg);
        cg_assign(w, update(cg_value(w)));
        cg_scope_end(scope);
    }
}

static cg_tensor plus_transposed(cg_tensor w)
{
    return cg_add(w, cg_transpose(w));
}

static cg_tensor plus_first_row(cg_tensor w)
{
    return cg_add(w, cg_slice_axis(w, 0, 0, 1));
}

static cg_tensor reversed(cg_tensor w)
{
    return cg_slice(w, CG_RANGE(CG_NONE, CG_NONE, -1), CG_RANGE(CG_NONE, CG_NONE, -1));
}

static cg_tensor centred(cg_tensor w)
{
    return plus(cg_sub(w, cg_mean(w)), 1);
}

static cg_tensor rotated(cg_tensor w)
{
    return cg_concat((cg_tensor[]){cg_slice_axis(w, 0, 1, 2), cg_slice_axis(w, 0, 0, 1)}, 2, 0);
}

static cg_tensor multiplied(cg_tensor w)
{
    return cg_matmul(w, w);
}

static cg_tensor reshaped(cg_tensor w)
{
    return cg_add(w, cg_reshape(cg_transpose(w), CG_SHAPE(2, 2)));
}

/* An update that reads its variable's old value transposed, broadcast, backwards, reduced, shifted or as a factor of a
 * product must not meet its own writes. */
START_TEST(updates_that_read_elsewhere_see_the_old_value)
{
    static const struct {
        cg_tensor (*update)(cg_tensor);
        float after[4];
    } cases[] = {
        {plus_transposed, {8, 20, 20, 32}},
        {plus_first_row, {8, 16, 10, 18}},
        {reversed, {4, 3, 2, 1}},
        {centred, {-0.5F, 0.5F, 1.5F, 2.5F}},
        {rotated, {3, 4, 1, 2}},
        {multiplied, {165751, 241570, 362355, 528106}},
        {reshaped, {8, 20, 20, 32}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cg_variable *w = variable_with("w", MATRIX(2, 2, 1, 2, 3, 4));
        repeat_update(w, cases[i].update);
        expect_value(w, 4, cases[i].after, 1000 + (int)i);
        cg_variable_free(w);
    }
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------------ */

int main(void)
{
    Suite *suite = suite_create("semantics of donation");
    TCase *tests = tcase_create("donation");
    tcase_add_checked_fixture(tests, begin_test, end_test);
    tcase_add_test(tests, a_step_updates_in_place);
    tcase_add_test(tests, a_read_in_mid_scope_uses_a_second_buffer);
    tcase_add_test(tests, a_living_reader_prevents_writing_in_place);
    tcase_add_test(tests, a_kept_reader_is_stored_first);
    tcase_add_test(tests, a_reader_recorded_after_the_update_runs_first);
    tcase_add_test(tests, a_kept_old_value_survives_the_update);
    tcase_add_test(tests, a_kept_stored_tensor_survives_the_update);
    tcase_add_test(tests, check_mode_does_not_donate);
    tcase_add_test(tests, readers_in_the_same_plan_see_the_old_value);
    tcase_add_test(tests, updates_read_each_others_old_values);
    tcase_add_test(tests, values_are_exchanged);
    tcase_add_test(tests, another_variable_follows_the_old_value);
    tcase_add_test(tests, a_copy_keeps_its_value_when_the_original_is_updated);
    tcase_add_test(tests, variables_that_share_a_value_part_when_updated);
    tcase_add_test(tests, variables_that_share_a_value_part_when_one_is_overwritten);
    tcase_add_test(tests, one_tensor_is_assigned_to_two_variables);
    tcase_add_test(tests, updates_that_read_elsewhere_see_the_old_value);
    suite_add_tcase(suite, tests);
    return run_tests(suite);
}

/* Tests the ops that only arrange elements, against indices computed by plain loops, with gradients and messages. */
#include "op_support.h"

/* x of `shape`, filled with positions. */
static cg_tensor positions(cg_shape shape)
{
    return tensor_of(array_iota(CG_F32, shape));
}

/* The result holds, at each place, the position in x that it came from; so the cotangent of x, for one that counts the
 * result's places from 1, is known. */
static void expect_arranged(cg_tensor result, cg_tensor x, array wanted)
{
    array from = array_new(CG_F32, cg_shape_of(x)), cotangent = array_iota(CG_F32, wanted.shape);
    for (int64_t k = 0; k < wanted.count; k++) from.at[(int64_t)wanted.at[k]] += cotangent.at[k] += 1;
    expect_array(result, wanted);
    expect_array(gradient_of(result, tensor_of(cotangent), x), from);
}

START_TEST(axes_of_extent_1)
{
    cg_tensor x = positions(CG_SHAPE(1, 2, 1, 3));
    const double places[] = {0, 1, 2, 3, 4, 5};
    expect_arranged(cg_squeeze(x), x, array_of(CG_F32, CG_SHAPE(2, 3), places, 6));
    expect_arranged(cg_squeeze(x, .axes = CG_AXES(-2)), x, array_of(CG_F32, CG_SHAPE(1, 2, 3), places, 6));
    expect_arranged(cg_expand_dims(x, 0), x, array_of(CG_F32, CG_SHAPE(1, 1, 2, 1, 3), places, 6));
    expect_arranged(cg_expand_dims(x, -1), x, array_of(CG_F32, CG_SHAPE(1, 2, 1, 3, 1), places, 6));
    expect_array(cg_squeeze(cg_expand_dims(cg_ones(cg, CG_RANK0), 0)), ARRAY(CG_F32, CG_RANK0, 1));
    expect_error(cg_squeeze(x, .axes = CG_AXES(1)), "squeeze: axis 1 of [1,2,1,3] has 2 elements");
    expect_error(cg_squeeze(x, .axes = CG_AXES(4)), "squeeze: [1,2,1,3] has no axis 4");
    expect_error(cg_expand_dims(x, 5), "expand_dims: [1,2,1,3] can have no new axis 5");
    cg_tensor deep = cg_ones(cg, CG_SHAPE(1, 1, 1, 1, 1, 1, 1, 1));
    expect_error(cg_expand_dims(deep, 0), "expand_dims: [1,1,1,1,1,1,1,1] can have no new axis 0");
    ck_assert(cg_is_null(cg_squeeze(no_tensor)) && cg_is_null(cg_expand_dims(no_tensor, 0)));
    ck_assert_int_eq(cg_status(cg), CG_OK);
}
END_TEST

START_TEST(stacks)
{
    cg_tensor x = positions(CG_SHAPE(2, 2)), y = cg_add(x, cg_constant(cg, CG_F32, 10));
    cg_tensor both[] = {x, y};
    expect_array(cg_stack(both, 2, 0), ARRAY(CG_F32, CG_SHAPE(2, 2, 2), 0, 1, 2, 3, 10, 11, 12, 13));
    expect_array(cg_stack(both, 2, 1), ARRAY(CG_F32, CG_SHAPE(2, 2, 2), 0, 1, 10, 11, 2, 3, 12, 13));
    expect_array(cg_stack(both, 2, -1), ARRAY(CG_F32, CG_SHAPE(2, 2, 2), 0, 10, 1, 11, 2, 12, 3, 13));
    cg_tensor cotangent = positions(CG_SHAPE(2, 2, 2));
    expect_array(gradient_of(cg_stack(both, 2, -1), cotangent, y), ARRAY(CG_F32, CG_SHAPE(2, 2), 1, 3, 5, 7));
    enum { MANY = 61 };
    cg_tensor numbers[MANY];
    for (int i = 0; i < MANY; i++) numbers[i] = cg_constant(cg, CG_F32, i);
    expect_array(cg_stack(numbers, MANY, 0), array_iota(CG_F32, CG_SHAPE(MANY)));
    cg_tensor odd[] = {x, cg_named(positions(CG_SHAPE(2, 3)), "wide")};
    expect_error(cg_stack(odd, 2, 0), "stack: [2,2] and wide [2,3] differ");
    expect_error(cg_stack(both, 2, 3), "stack: [2,2] can have no new axis 3");
    ck_assert(cg_is_null(cg_stack(both, 0, 0)));
    ck_assert_int_eq(cg_status(cg), CG_OK);
    expect_error(cg_stack((cg_tensor[]){x, no_tensor}, 2, 0), "stack: input 2 is a null tensor, and no error says why");
}
END_TEST

START_TEST(splits)
{
    cg_tensor x = positions(CG_SHAPE(2, 6)), parts[4];
    ck_assert(cg_split(x, 3, -1, parts));
    expect_arranged(parts[0], x, ARRAY(CG_F32, CG_SHAPE(2, 2), 0, 1, 6, 7));
    expect_arranged(parts[2], x, ARRAY(CG_F32, CG_SHAPE(2, 2), 4, 5, 10, 11));
    expect_array(cg_concat(parts, 3, 1), array_iota(CG_F32, CG_SHAPE(2, 6)));
    ck_assert(!cg_split(x, 4, 1, parts));
    expect_error(parts[0], "split: axis 1 of [2,6] does not divide into 4 parts");
    ck_assert(!cg_split(x, 2, 2, parts));
    expect_error(parts[1], "split: [2,6] has no axis 2");
    ck_assert(!cg_split(no_tensor, 2, 0, parts));
    ck_assert_int_eq(cg_status(cg), CG_OK);
}
END_TEST

START_TEST(reversals_and_rotations)
{
    cg_tensor x = positions(CG_SHAPE(2, 3));
    expect_arranged(cg_flip(x), x, ARRAY(CG_F32, CG_SHAPE(2, 3), 5, 4, 3, 2, 1, 0));
    expect_arranged(cg_flip(x, .axes = CG_AXES(-1)), x, ARRAY(CG_F32, CG_SHAPE(2, 3), 2, 1, 0, 5, 4, 3));
    expect_arranged(cg_roll(x, 1, 1), x, ARRAY(CG_F32, CG_SHAPE(2, 3), 2, 0, 1, 5, 3, 4));
    expect_arranged(cg_roll(x, -1, -1), x, ARRAY(CG_F32, CG_SHAPE(2, 3), 1, 2, 0, 4, 5, 3));
    expect_arranged(cg_roll(x, 7, 0), x, ARRAY(CG_F32, CG_SHAPE(2, 3), 3, 4, 5, 0, 1, 2));
    expect_arranged(cg_roll(x, 4, 0), x, array_iota(CG_F32, CG_SHAPE(2, 3)));
    expect_array(cg_roll(cg_zeros(cg, CG_SHAPE(0, 3)), 2, 0), array_new(CG_F32, CG_SHAPE(0, 3)));
    expect_error(cg_flip(x, .axes = CG_AXES(0, 0)), "flip: axis 0 is named twice");
    expect_error(cg_roll(x, 1, 2), "roll: [2,3] has no axis 2");
    ck_assert(cg_is_null(cg_flip(no_tensor)) && cg_is_null(cg_roll(no_tensor, 1, 0)));
    ck_assert_int_eq(cg_status(cg), CG_OK);
}
END_TEST

START_TEST(repetitions)
{
    cg_tensor x = positions(CG_SHAPE(2, 2));
    expect_arranged(cg_repeat(x, 2, 0), x, ARRAY(CG_F32, CG_SHAPE(4, 2), 0, 1, 0, 1, 2, 3, 2, 3));
    expect_arranged(cg_repeat(x, 3, -1), x, ARRAY(CG_F32, CG_SHAPE(2, 6), 0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3));
    expect_arranged(cg_tile(x, CG_SHAPE(2)), x, ARRAY(CG_F32, CG_SHAPE(2, 4), 0, 1, 0, 1, 2, 3, 2, 3));
    expect_arranged(cg_tile(x, CG_SHAPE(2, 1)), x, ARRAY(CG_F32, CG_SHAPE(4, 2), 0, 1, 2, 3, 0, 1, 2, 3));
    expect_arranged(cg_tile(x, CG_SHAPE(2, 1, 2)), x,
                    ARRAY(CG_F32, CG_SHAPE(2, 2, 4), 0, 1, 0, 1, 2, 3, 2, 3, 0, 1, 0, 1, 2, 3, 2, 3));
    expect_array(cg_tile(x, CG_SHAPE(0)), array_new(CG_F32, CG_SHAPE(2, 0)));
    expect_array(cg_repeat(x, 0, 0), array_new(CG_F32, CG_SHAPE(0, 2)));
    expect_array(cg_tile(cg_ones(cg, CG_RANK0), CG_SHAPE(3)), ARRAY(CG_F32, CG_SHAPE(3), 1, 1, 1));
    expect_error(cg_repeat(x, -1, 0), "repeat: [2,2] cannot be repeated -1 times");
    expect_error(cg_tile(x, CG_SHAPE(2, -3)), "tile: [2,2] cannot be repeated -3 times");
    expect_error(cg_repeat(x, 2, 2), "repeat: [2,2] has no axis 2");
    ck_assert(cg_is_null(cg_repeat(no_tensor, 2, 0)) && cg_is_null(cg_tile(no_tensor, CG_SHAPE(2))));
    ck_assert_int_eq(cg_status(cg), CG_OK);
}
END_TEST

/* ---- The suite --------------------------------------------------------------------------------------------------- */

static TCase *cases(void)
{
    TCase *tests = tcase_create("arrangements");
    tcase_add_checked_fixture(tests, open_context, close_context);
    tcase_add_test(tests, axes_of_extent_1);
    tcase_add_test(tests, stacks);
    tcase_add_test(tests, splits);
    tcase_add_test(tests, reversals_and_rotations);
    tcase_add_test(tests, repetitions);
    return tests;
}

int main(void)
{
    Suite *suite = suite_create("arrange");
    suite_add_tcase(suite, cases());
    return run_suite(suite);
}

/* Tests the ops that rearrange: reshape, permute, broadcast_to, sum_to_shape, slice, pad, concat, and the tensors made
 * from nothing. Results are compared with plain loops over coordinates; derivatives with the same loops backwards. */
#include "op_support.h"

/* ---- reshape, permute, broadcast --------------------------------------------------------------------------------- */

static array reshaped(array a, cg_shape shape)
{
    return (array){shape, a.dtype, a.count, a.at};
}

START_TEST(reshape_keeps_row_major_order)
{
    array a = array_iota(CG_F32, CG_SHAPE(2, 3, 4));
    cg_tensor x = tensor_of(a);
    const cg_shape shapes[] = {CG_SHAPE(24),
                               CG_SHAPE(6, 4),
                               CG_SHAPE(2, 12),
                               CG_SHAPE(2, 1, 3, 2, 2, 1),
                               CG_SHAPE(4, 3, 2),
                               CG_SHAPE(1, 1, 24, 1),
                               CG_SHAPE(2, 2, 2, 3, 1, 1, 1, 1)};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        expect_array(cg_reshape(x, shapes[i]), reshaped(a, shapes[i]));
}
END_TEST

START_TEST(reshape_of_a_view)
{
    array a = array_iota(CG_I32, CG_SHAPE(3, 4)), turned = array_new(CG_I32, CG_SHAPE(4, 3));
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 3; j++) turned.at[i * 3 + j] = a.at[j * 4 + i];
    cg_tensor transposed = cg_transpose(tensor_of(a));
    expect_array(cg_reshape(transposed, CG_SHAPE(12)), reshaped(turned, CG_SHAPE(12)));
    expect_array(cg_reshape(transposed, CG_SHAPE(2, 6)), reshaped(turned, CG_SHAPE(2, 6)));
    expect_array(cg_reshape(transposed, CG_SHAPE(2, 2, 1, 3)), reshaped(turned, CG_SHAPE(2, 2, 1, 3)));
    expect_array(cg_reshape(cg_reshape(transposed, CG_SHAPE(12)), CG_SHAPE(3, 4)), reshaped(turned, CG_SHAPE(3, 4)));
}
END_TEST

START_TEST(reshape_fills_in_one_extent)
{
    cg_tensor x = tensor_of(array_iota(CG_F32, CG_SHAPE(2, 3, 4)));
    expect_array(cg_reshape(x, CG_SHAPE(-1)), array_iota(CG_F32, CG_SHAPE(24)));
    expect_array(cg_reshape(x, CG_SHAPE(4, -1, 2)), array_iota(CG_F32, CG_SHAPE(4, 3, 2)));
    expect_array(cg_reshape(x, CG_SHAPE(24, -1)), array_iota(CG_F32, CG_SHAPE(24, 1)));
    cg_tensor none = cg_zeros(cg, CG_SHAPE(0, 3));
    expect_array(cg_reshape(none, CG_SHAPE(-1, 5)), array_new(CG_F32, CG_SHAPE(0, 5)));
    expect_array(cg_reshape(cg_ones(cg, CG_RANK0), CG_SHAPE(-1)), ARRAY(CG_F32, CG_SHAPE(1), 1));
    expect_array(cg_reshape(cg_ones(cg, CG_SHAPE(1, 1)), CG_RANK0), ARRAY(CG_F32, CG_RANK0, 1));
}
END_TEST

START_TEST(reshape_errors)
{
    cg_tensor x = cg_zeros(cg, CG_SHAPE(2, 3)), none = cg_zeros(cg, CG_SHAPE(0, 3));
    expect_error(cg_reshape(x, CG_SHAPE(4, 2)), "reshape: [2,3] has 6 elements, [4,2] has 8");
    expect_error(cg_reshape(x, CG_SHAPE(-1, -1)), "reshape: [-1,-1] has more than one -1");
    expect_error(cg_reshape(x, CG_SHAPE(4, -1)), "reshape: no extent for the -1 of [4,-1] makes it the size of [2,3]");
    expect_error(cg_reshape(none, CG_SHAPE(0, -1)),
                 "reshape: no extent for the -1 of [0,-1] makes it the size of [0,3]");
    expect_error(cg_reshape(x, CG_SHAPE(-2, -3)), "reshape: [-2,-3] has a negative extent");
}
END_TEST

static array permuted(array a, cg_axes axes)
{
    array b = array_new(a.dtype, a.shape);
    int64_t to[CG_MAX_RANK], from[CG_MAX_RANK];
    for (int i = 0; i < axes.count; i++) b.shape.size[i] = a.shape.size[axes.axis[i]];
    for (int64_t k = 0; k < b.count; k++) {
        unravel(b.shape, k, to);
        for (int i = 0; i < axes.count; i++) from[axes.axis[i]] = to[i];
        b.at[k] = a.at[ravel(a.shape, from)];
    }
    return b;
}

START_TEST(permute_moves_axes)
{
    array a = array_iota(CG_F32, CG_SHAPE(2, 3, 4, 5));
    cg_tensor x = tensor_of(a);
    const cg_axes orders[] = {CG_AXES(0, 1, 2, 3), CG_AXES(3, 2, 1, 0), CG_AXES(1, 3, 0, 2), CG_AXES(0, 1, 3, 2)};
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++)
        expect_array(cg_permute(x, orders[i]), permuted(a, orders[i]));
    expect_array(cg_permute(x, CG_AXES(-1, 0, -2, 1)), permuted(a, CG_AXES(3, 0, 2, 1)));
    expect_array(cg_transpose(x), permuted(a, CG_AXES(3, 2, 1, 0)));
    expect_array(cg_swap_axes(x, 1, -1), permuted(a, CG_AXES(0, 3, 2, 1)));
    expect_array(cg_permute(cg_permute(x, CG_AXES(1, 3, 0, 2)), CG_AXES(2, 0, 3, 1)), a);
    expect_array(cg_transpose(cg_ones(cg, CG_RANK0)), ARRAY(CG_F32, CG_RANK0, 1));
}
END_TEST

static array sum_of(array a, array b)
{
    array result = array_new(a.dtype, a.shape);
    for (int64_t k = 0; k < a.count; k++) result.at[k] = rounded(a.at[k] + b.at[k], a.dtype);
    return result;
}

/* Sizes that fill neither tiles nor vectors, one row, one column, and axes that stay where they are. */
START_TEST(permute_of_many_sizes)
{
    const struct {
        cg_shape shape;
        cg_axes order;
    } cases[] = {
        {CG_SHAPE(64, 64), CG_AXES(1, 0)},         {CG_SHAPE(67, 131), CG_AXES(1, 0)},
        {CG_SHAPE(1, 100), CG_AXES(1, 0)},         {CG_SHAPE(100, 1), CG_AXES(1, 0)},
        {CG_SHAPE(3, 200), CG_AXES(1, 0)},         {CG_SHAPE(200, 3), CG_AXES(1, 0)},
        {CG_SHAPE(17, 33, 65), CG_AXES(2, 1, 0)},  {CG_SHAPE(17, 33, 65), CG_AXES(0, 2, 1)},
        {CG_SHAPE(17, 33, 65), CG_AXES(2, 0, 1)},  {CG_SHAPE(17, 33, 65), CG_AXES(1, 2, 0)},
        {CG_SHAPE(18, 20, 5), CG_AXES(1, 0, 2)},   {CG_SHAPE(5, 18, 3, 35), CG_AXES(3, 1, 2, 0)},
        {CG_SHAPE(2, 130, 130), CG_AXES(0, 2, 1)},
    };
    const cg_dtype dtypes[] = {CG_F32, CG_I32, CG_U8, CG_BOOL, CG_F64};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int d = 0; d < (has_f64() ? 5 : 4); d++) {
            array a = array_random(dtypes[d], cases[i].shape, 0, dtypes[d] == CG_BOOL ? 2 : 100);
            expect_array(cg_permute(tensor_of(a), cases[i].order), permuted(a, cases[i].order));
        }
}
END_TEST

/* Turned operands among others that lie as the result does, are flipped, shifted or padded. */
START_TEST(transposed_operands)
{
    const int64_t n = 83, m = 50;
    for (int d = CG_F32; d <= (has_f64() ? CG_F64 : CG_F32); d++) {
        array a = array_random((cg_dtype)d, CG_SHAPE(n, m), -2, 2),
              b = array_random((cg_dtype)d, CG_SHAPE(m, n), -2, 2);
        const array turned = permuted(b, CG_AXES(1, 0));
        cg_tensor x = tensor_of(a), y = tensor_of(b);
        expect_array(cg_add(x, cg_transpose(y)), sum_of(a, turned));
        expect_array(cg_add(cg_transpose(y), cg_transpose(y)), sum_of(turned, turned));
        array flipped = array_new(a.dtype, a.shape), shifted = array_new(a.dtype, CG_SHAPE(n - 5, m - 3)),
              padded = array_new(a.dtype, CG_SHAPE(n + 3, m + 3)), rows = array_new(a.dtype, a.shape);
        for (int64_t k = 0; k < a.count; k++) {
            flipped.at[k] = turned.at[(n - 1 - k / m) * m + k % m];
            rows.at[k] = turned.at[k / m * m + (m - 1 - k % m)];
            padded.at[(k / m + 1) * (m + 3) + k % m + 2] = turned.at[k];
        }
        for (int64_t k = 0; k < shifted.count; k++) shifted.at[k] = turned.at[(k / (m - 3) + 5) * m + k % (m - 3) + 3];
        expect_array(cg_transpose(cg_slice(y, CG_WHOLE, CG_RANGE(n - 1, -n - 1, -1))), flipped);
        expect_array(cg_transpose(cg_slice(y, CG_RANGE(m - 1, -m - 1, -1))), rows);
        expect_array(cg_transpose(cg_slice(y, CG_RANGE(3, m, 1), CG_RANGE(5, n, 1))), shifted);
        expect_array(cg_pad(cg_transpose(y), CG_SHAPE(1, 2), CG_SHAPE(2, 1)), padded);
    }
}
END_TEST

/* A result that no cache holds, with rows that begin anywhere between the bounds of vectors. */
START_TEST(permute_of_a_large_tensor)
{
    const int64_t n = 4099, m = 4097;
    int64_t wrong = 0;
    float *values = test_memory((size_t)(n * m) * sizeof *values),
          *found = test_memory((size_t)(n * m) * sizeof *found);
    for (int64_t k = 0; k < n * m; k++) values[k] = (float)(k % 1000003);
    cg_tensor x = cg_input(cg, CG_F32, CG_SHAPE(n, m), values);
    ck_assert(cg_read(cg_add(cg_transpose(x), cg_scalar(cg, 1)), found, (size_t)(n * m) * sizeof *found));
    for (int64_t k = 0; k < n * m; k++) wrong += found[k] != values[k % n * m + k / n] + 1;
    ck_assert(cg_read(cg_add(x, cg_scalar(cg, 1)), found, (size_t)(n * m) * sizeof *found));
    for (int64_t k = 0; k < n * m; k++) wrong += found[k] != values[k] + 1;
    ck_assert_int_eq(wrong, 0);
}
END_TEST

START_TEST(permute_errors)
{
    cg_tensor x = cg_zeros(cg, CG_SHAPE(2, 3));
    expect_error(cg_permute(x, CG_AXES(0)), "permute: 1 axes for [2,3]");
    expect_error(cg_permute(x, CG_AXES(0, 0)), "permute: axis 0 is named twice");
    expect_error(cg_permute(x, CG_AXES(0, -2)), "permute: axis -2 is named twice");
    expect_error(cg_permute(x, CG_AXES(0, 2)), "permute: [2,3] has no axis 2");
    expect_error(cg_swap_axes(x, 0, -3), "swap_axes: [2,3] has no axis -3");
}
END_TEST

START_TEST(broadcast_repeats)
{
    array a = array_iota(CG_F32, CG_SHAPE(3, 1)), b = array_new(CG_F32, CG_SHAPE(2, 3, 4));
    for (int64_t k = 0; k < b.count; k++) b.at[k] = a.at[broadcast_position(a.shape, b.shape, k)];
    cg_tensor x = tensor_of(a);
    expect_array(cg_broadcast_to(x, b.shape), b);
    expect_array(cg_sum_to_shape(tensor_of(b), a.shape), ARRAY(CG_F32, CG_SHAPE(3, 1), 0, 8, 16));
    expect_array(gradient_of(cg_broadcast_to(x, b.shape), tensor_of(array_iota(CG_F32, b.shape)), x),
                 ARRAY(CG_F32, CG_SHAPE(3, 1), 60, 92, 124));
    expect_array(cg_broadcast_to(x, CG_SHAPE(3, 0)), array_new(CG_F32, CG_SHAPE(3, 0)));
    expect_array(cg_sum_to_shape(cg_zeros(cg, CG_SHAPE(3, 0)), CG_SHAPE(3, 1)), array_new(CG_F32, CG_SHAPE(3, 1)));
    expect_array(cg_sum_to_shape(tensor_of(b), CG_RANK0), ARRAY(CG_F32, CG_RANK0, 24));
}
END_TEST

START_TEST(broadcast_errors)
{
    cg_tensor x = cg_zeros(cg, CG_SHAPE(3));
    expect_error(cg_broadcast_to(x, CG_SHAPE(3, 2)), "broadcast_to: [3] does not broadcast to [3,2]");
    expect_error(cg_broadcast_to(x, CG_RANK0), "broadcast_to: [3] does not broadcast to []");
    expect_error(cg_broadcast_to(x, CG_SHAPE(-1, 3)), "broadcast_to: [-1,3] has a negative extent");
    expect_error(cg_sum_to_shape(x, CG_SHAPE(2)), "sum_to_shape: [2] does not broadcast to [3]");
}
END_TEST

/* ---- slice ------------------------------------------------------------------------------------------------------- */

/* What Python's range(size)[start:stop:step] lists; returns how many. */
static int64_t python_range(cg_range range, int64_t size, int64_t *positions)
{
    int64_t count = 0, step = range.step;
    int64_t start = range.start, stop = range.stop;
    if (start == CG_NONE)
        start = step > 0 ? 0 : size - 1;
    else if (start < 0)
        start = start + size < 0 ? (step > 0 ? 0 : -1) : start + size;
    else if (start >= size)
        start = step > 0 ? size : size - 1;
    if (stop == CG_NONE)
        stop = step > 0 ? size : -1;
    else if (stop < 0)
        stop = stop + size < 0 ? -1 : stop + size;
    else if (stop > size)
        stop = size;
    for (int64_t i = start; step > 0 ? i < stop : i > stop; i += step) positions[count++] = i;
    return count;
}

static array sliced(array a, cg_range rows, cg_range columns, array *gradient)
{
    int64_t row[64], column[64];
    int64_t height = python_range(rows, a.shape.size[0], row), width = python_range(columns, a.shape.size[1], column);
    array b = array_new(a.dtype, CG_SHAPE(height, width));
    *gradient = array_new(a.dtype, a.shape);
    for (int64_t k = 0; k < b.count; k++) {
        int64_t from = row[k / width] * a.shape.size[1] + column[k % width];
        b.at[k] = a.at[from];
        gradient->at[from] = (double)k + 1;
    }
    return b;
}

START_TEST(slice_has_pythons_meaning)
{
    const int64_t none = CG_NONE, starts[] = {none, 0, 2, -1, -4, 9, -9}, stops[] = {none, 5, -1, 1, 9, -9};
    const int64_t steps[] = {1, 2, 3, -1, -2, 50, -50};
    array a = array_iota(CG_F32, CG_SHAPE(5, 6));
    cg_tensor x = tensor_of(a);
    for (int i = 0; i < 7; i++)
        for (int j = 0; j < 6; j++)
            for (int k = 0; k < 7; k++) {
                cg_range rows = CG_RANGE(starts[i], stops[j], steps[k]);
                cg_range columns = CG_RANGE(starts[(i + k) % 7], stops[(j + 2 * k) % 6], steps[(k + i) % 7]);
                array gradient, wanted = sliced(a, rows, columns, &gradient);
                cg_tensor y = cg_slice(x, rows, columns);
                expect_array(y, wanted);
                array positions = array_iota(CG_F32, wanted.shape);
                for (int64_t n = 0; n < positions.count; n++) positions.at[n] += 1;
                if (k % 3 == 1) expect_array(gradient_of(y, tensor_of(positions), x), gradient);
            }
}
END_TEST

START_TEST(slice_of_other_ranks)
{
    cg_tensor x = tensor_of(array_iota(CG_I32, CG_SHAPE(2, 3, 4)));
    expect_array(cg_slice(x, CG_RANGE(1, 2, 1)),
                 ARRAY(CG_I32, CG_SHAPE(1, 3, 4), 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23));
    expect_array(cg_slice(x, CG_WHOLE, CG_RANGE(-1, CG_NONE, 1), CG_RANGE(CG_NONE, CG_NONE, -3)),
                 ARRAY(CG_I32, CG_SHAPE(2, 1, 2), 11, 8, 23, 20));
    expect_array(cg_slice_axis(x, -1, 1, 2), ARRAY(CG_I32, CG_SHAPE(2, 3, 1), 1, 5, 9, 13, 17, 21));
    expect_array(cg_slice_axis(x, 1, 2, -1), array_new(CG_I32, CG_SHAPE(2, 0, 4)));
    cg_tensor deep = tensor_of(array_iota(CG_F32, CG_SHAPE(1, 2, 1, 2, 1, 3, 1, 2)));
    cg_tensor y = cg_slice(deep, CG_WHOLE, CG_RANGE(1, 2, 1), CG_WHOLE, CG_WHOLE, CG_WHOLE, CG_RANGE(0, 3, 2));
    expect_array(y, ARRAY(CG_F32, CG_SHAPE(1, 1, 1, 2, 1, 2, 1, 2), 12, 13, 16, 17, 18, 19, 22, 23));
    expect_array(gradient_of(y, no_tensor, deep), ARRAY(CG_F32, CG_SHAPE(1, 2, 1, 2, 1, 3, 1, 2), 0, 0, 0, 0, 0, 0, 0,
                                                        0, 0, 0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1));
    expect_array(cg_slice_with(cg_ones(cg, CG_RANK0), (cg_ranges){0}), ARRAY(CG_F32, CG_RANK0, 1));
}
END_TEST

START_TEST(slice_of_a_slice)
{
    array a = array_iota(CG_F32, CG_SHAPE(40));
    cg_tensor x = tensor_of(a);
    cg_tensor y = cg_slice(cg_slice(cg_slice(x, CG_RANGE(3, 38, 2)), CG_RANGE(CG_NONE, CG_NONE, -3)),
                           CG_RANGE(1, -1, 2));
    expect_array(y, ARRAY(CG_F32, CG_SHAPE(2), 31, 19));
    array gradient = array_new(CG_F32, CG_SHAPE(40));
    gradient.at[31] = gradient.at[19] = 1;
    expect_array(gradient_of(y, no_tensor, x), gradient);
}
END_TEST

START_TEST(slice_errors)
{
    cg_tensor x = cg_zeros(cg, CG_SHAPE(2, 3));
    expect_error(cg_slice(x, CG_WHOLE, CG_RANGE(0, 1, 0)), "slice: the step of axis 1 of [2,3] is 0");
    expect_error(cg_slice(x, CG_WHOLE, CG_WHOLE, CG_WHOLE), "slice: 3 ranges for [2,3]");
    expect_error(cg_slice_axis(x, 2, 0, 1), "slice: [2,3] has no axis 2");
}
END_TEST

/* ---- pad, concat ------------------------------------------------------------------------------------------------- */

static array padded(array a, cg_shape before, cg_shape after, double value)
{
    cg_shape shape = a.shape;
    for (int i = 0; i < shape.rank; i++) shape.size[i] += before.size[i] + after.size[i];
    array b = array_new(a.dtype, shape);
    for (int64_t k = 0; k < b.count; k++) b.at[k] = rounded(value, a.dtype);
    for (int64_t k = 0; k < a.count; k++) {
        int64_t coordinate[CG_MAX_RANK];
        unravel(a.shape, k, coordinate);
        for (int i = 0; i < shape.rank; i++) coordinate[i] += before.size[i];
        b.at[ravel(shape, coordinate)] = a.at[k];
    }
    return b;
}

START_TEST(pad_surrounds)
{
    const cg_shape before = CG_SHAPE(1, 0, 2), after = CG_SHAPE(0, 3, 1);
    array a = array_random(CG_F32, CG_SHAPE(2, 3, 2), -1, 1);
    a.at[0] = NAN, a.at[1] = INFINITY, a.at[2] = -INFINITY;
    cg_tensor x = tensor_of(a);
    const double values[] = {0, 2.5, -INFINITY, NAN};
    for (int i = 0; i < 4; i++)
        expect_array(cg_pad(x, before, after, .value = values[i]), padded(a, before, after, values[i]));
    array ones = array_new(CG_F32, a.shape);
    for (int64_t k = 0; k < ones.count; k++) ones.at[k] = 1;
    expect_array(gradient_of(cg_pad(x, before, after, .value = NAN), no_tensor, x), ones);
    array whole = array_iota(CG_I32, CG_SHAPE(2, 2));
    expect_array(cg_pad(tensor_of(whole), CG_SHAPE(1, 0), CG_SHAPE(0, 1), .value = -7),
                 padded(whole, CG_SHAPE(1, 0), CG_SHAPE(0, 1), -7));
    expect_array(cg_pad(cg_zeros(cg, CG_SHAPE(0, 2)), CG_SHAPE(1, 0), CG_SHAPE(1, 0), .value = 3),
                 ARRAY(CG_F32, CG_SHAPE(2, 2), 3, 3, 3, 3));
    expect_array(cg_pad(cg_ones(cg, CG_RANK0), CG_RANK0, CG_RANK0), ARRAY(CG_F32, CG_RANK0, 1));
    /* Padding what is computed: the zeros are outside the map, not inside. */
    expect_array(cg_pad(cg_exp(cg_zeros(cg, CG_SHAPE(1))), CG_SHAPE(1), CG_SHAPE(1)),
                 ARRAY(CG_F32, CG_SHAPE(3), 0, 1, 0));
    expect_array(cg_exp(cg_pad(cg_zeros(cg, CG_SHAPE(1)), CG_SHAPE(1), CG_SHAPE(1))),
                 ARRAY(CG_F32, CG_SHAPE(3), 1, 1, 1));
}
END_TEST

START_TEST(pad_errors)
{
    cg_tensor x = cg_zeros(cg, CG_SHAPE(2, 3));
    expect_error(cg_pad(x, CG_SHAPE(1), CG_SHAPE(1, 1)), "pad: 1 and 2 entries for the 2 axes of [2,3]");
    expect_error(cg_pad(x, CG_SHAPE(0, -1), CG_SHAPE(0, 2)), "pad: -1 before and 2 after axis 1 of [2,3]: negative");
}
END_TEST

/* More slices on the way to one load than a kernel keeps offsets for. */
START_TEST(slices_between_maps)
{
    enum { LEVELS = 14, SIZE = 64 };
    cg_tensor x = tensor_of(array_iota(CG_F32, CG_SHAPE(SIZE)));
    for (int i = 0; i < LEVELS; i++) x = cg_neg(cg_slice(x, CG_RANGE(1, CG_NONE, 1)));
    ck_assert_double_eq(cg_item(cg_slice(x, CG_RANGE(0, 1, 1))), LEVELS);
    ck_assert_double_eq(cg_item(cg_slice(x, CG_RANGE(-1, CG_NONE, 1))), SIZE - 1);
}
END_TEST

/* A sum of shifted copies, and its gradient: more guards than a kernel holds, so the plan does without fusion. */
START_TEST(gradient_of_a_stencil)
{
    enum { SIZE = 40, WIDTH = 5, INSIDE = SIZE - WIDTH + 1 };
    cg_tensor x = cg_ones(cg, CG_SHAPE(SIZE, SIZE)), sum = cg_zeros(cg, CG_SHAPE(INSIDE, INSIDE)), gradient;
    for (int i = 0; i < WIDTH; i++)
        for (int j = 0; j < WIDTH; j++)
            sum = cg_add(sum, cg_slice(x, CG_RANGE(i, i + INSIDE, 1), CG_RANGE(j, j + INSIDE, 1)));
    cg_tensor total = cg_sum(sum);
    ck_assert(cg_grad(&total, 1, &x, 1, &gradient));
    ck_assert_double_eq(cg_item(cg_sum(gradient)), WIDTH * WIDTH * INSIDE * INSIDE);
    ck_assert_double_eq(cg_item(cg_slice(gradient, CG_RANGE(20, 21, 1), CG_RANGE(20, 21, 1))), WIDTH * WIDTH);
}
END_TEST

START_TEST(concat_joins)
{
    array a = ARRAY(CG_F32, CG_SHAPE(2, 2), -0.0, INFINITY, NAN, 4), b = ARRAY(CG_F32, CG_SHAPE(2, 1), 5, -INFINITY);
    cg_tensor x = tensor_of(a), y = tensor_of(b), none = cg_zeros(cg, CG_SHAPE(2, 0));
    cg_tensor joined = cg_concat((cg_tensor[]){x, none, y, x}, 4, 1);
    expect_array(joined, ARRAY(CG_F32, CG_SHAPE(2, 5), 0, INFINITY, 5, 0, INFINITY, NAN, 4, -INFINITY, NAN, 4));
    cg_tensor signs = cg_reciprocal(joined);
    expect_array(signs, ARRAY(CG_F32, CG_SHAPE(2, 5), -INFINITY, 0, 0.2, -INFINITY, 0, NAN, 0.25, 0, NAN, 0.25));
    expect_array(gradient_of(joined, tensor_of(array_iota(CG_F32, CG_SHAPE(2, 5))), x),
                 ARRAY(CG_F32, CG_SHAPE(2, 2), 3, 5, 13, 15));
    expect_array(gradient_of(joined, tensor_of(array_iota(CG_F32, CG_SHAPE(2, 5))), y),
                 ARRAY(CG_F32, CG_SHAPE(2, 1), 2, 7));
    expect_array(cg_concat((cg_tensor[]){x, x}, 2, -2),
                 ARRAY(CG_F32, CG_SHAPE(4, 2), 0, INFINITY, NAN, 4, 0, INFINITY, NAN, 4));
    cg_tensor whole = tensor_of(ARRAY(CG_I32, CG_SHAPE(2), 1, 2)), truth = tensor_of(ARRAY(CG_BOOL, CG_SHAPE(1), 1));
    expect_array(cg_concat((cg_tensor[]){truth, whole}, 2, 0), ARRAY(CG_I32, CG_SHAPE(3), 1, 1, 2));
    expect_array(cg_concat(&none, 1, 0), array_new(CG_F32, CG_SHAPE(2, 0)));
}
END_TEST

/* More tensors than one call of an op takes. */
START_TEST(concat_of_many)
{
    enum { MANY = 700 };
    static cg_tensor pieces[MANY];
    array wanted = array_new(CG_F32, CG_SHAPE(MANY + MANY / 7));
    int64_t filled = 0;
    for (int i = 0; i < MANY; i++) {
        array piece = array_new(CG_F32, CG_SHAPE(i % 7 == 6 ? 2 : 1));
        for (int64_t k = 0; k < piece.count; k++) piece.at[k] = wanted.at[filled++] = i + 0.5 * (double)k;
        pieces[i] = tensor_of(piece);
    }
    ck_assert_int_eq(filled, wanted.count);
    expect_array(cg_concat(pieces, MANY, 0), wanted);
}
END_TEST

START_TEST(concat_errors)
{
    cg_tensor a = cg_zeros(cg, CG_SHAPE(2, 3)), b = cg_zeros(cg, CG_SHAPE(2, 4)), c = cg_zeros(cg, CG_SHAPE(2));
    expect_error(cg_concat((cg_tensor[]){a, b}, 2, 0), "concat: [2,3] and [2,4] differ in more than axis 0");
    expect_error(cg_concat((cg_tensor[]){a, c}, 2, 0), "concat: [2,3] and [2] differ in more than axis 0");
    expect_error(cg_concat((cg_tensor[]){a, a}, 2, 2), "concat: [2,3] has no axis 2");
    cg_tensor number = cg_ones(cg, CG_RANK0);
    expect_error(cg_concat((cg_tensor[]){number, number}, 2, 0), "concat: [] has no axis 0");
    ck_assert(cg_is_null(cg_concat(NULL, 0, 0)));
    ck_assert(cg_is_null(cg_concat(&no_tensor, 1, 0)));
    ck_assert_int_eq(cg_status(cg), CG_OK);
    expect_error(cg_concat((cg_tensor[]){a, no_tensor}, 2, 0),
                 "concat: input 2 is a null tensor, and no error says why");
    expect_error(cg_concat((cg_tensor[]){no_tensor, a}, 2, 0),
                 "concat: input 1 is a null tensor, and no error says why");
}
END_TEST

/* ---- Made from nothing ------------------------------------------------------------------------------------------- */

START_TEST(filled_tensors)
{
    expect_array(cg_zeros(cg, CG_SHAPE(2)), ARRAY(CG_F32, CG_SHAPE(2), 0, 0));
    expect_array(cg_ones(cg, CG_SHAPE(1, 2), .dtype = CG_I32), ARRAY(CG_I32, CG_SHAPE(1, 2), 1, 1));
    expect_array(cg_ones(cg, CG_RANK0, .dtype = CG_BOOL), ARRAY(CG_BOOL, CG_RANK0, 1));
    expect_array(cg_full(cg, CG_SHAPE(3), 2.5), ARRAY(CG_F32, CG_SHAPE(3), 2.5, 2.5, 2.5));
    expect_array(cg_full(cg, CG_SHAPE(1), NAN), ARRAY(CG_F32, CG_SHAPE(1), NAN));
    expect_array(cg_full(cg, CG_SHAPE(2), -16777217, .dtype = CG_I32),
                 ARRAY(CG_I32, CG_SHAPE(2), -16777217, -16777217));
    expect_array(cg_full(cg, CG_SHAPE(1), 200, .dtype = CG_U8), ARRAY(CG_U8, CG_SHAPE(1), 200));
    expect_array(cg_full(cg, CG_SHAPE(1), 0.5, .dtype = CG_BOOL), ARRAY(CG_BOOL, CG_SHAPE(1), 1));
    if (has_f64()) expect_array(cg_full(cg, CG_SHAPE(1), 0.1, .dtype = CG_F64), ARRAY(CG_F64, CG_SHAPE(1), 0.1));
    expect_array(cg_full(cg, CG_SHAPE(4, 0), 1), array_new(CG_F32, CG_SHAPE(4, 0)));
    expect_array(cg_iota(cg, 5), array_iota(CG_I32, CG_SHAPE(5)));
    expect_array(cg_iota(cg, 0), array_new(CG_I32, CG_SHAPE(0)));
    expect_error(cg_iota(cg, -1), "iota: -1 elements");
}
END_TEST

/* ---- The suite --------------------------------------------------------------------------------------------------- */

static TCase *view_cases(void)
{
    TCase *tests = tcase_create("reshape, permute, broadcast");
    tcase_add_checked_fixture(tests, open_context, close_context);
    tcase_add_test(tests, reshape_keeps_row_major_order);
    tcase_add_test(tests, reshape_of_a_view);
    tcase_add_test(tests, reshape_fills_in_one_extent);
    tcase_add_test(tests, reshape_errors);
    tcase_add_test(tests, permute_moves_axes);
    tcase_add_test(tests, permute_of_many_sizes);
    tcase_add_test(tests, transposed_operands);
    tcase_add_test(tests, permute_of_a_large_tensor);
    tcase_add_test(tests, permute_errors);
    tcase_add_test(tests, broadcast_repeats);
    tcase_add_test(tests, broadcast_errors);
    return tests;
}

static TCase *part_cases(void)
{
    TCase *tests = tcase_create("slice, pad, concat, fill");
    tcase_add_checked_fixture(tests, open_context, close_context);
    tcase_add_test(tests, slice_has_pythons_meaning);
    tcase_add_test(tests, slice_of_other_ranks);
    tcase_add_test(tests, slice_of_a_slice);
    tcase_add_test(tests, slice_errors);
    tcase_add_test(tests, pad_surrounds);
    tcase_add_test(tests, pad_errors);
    tcase_add_test(tests, concat_joins);
    tcase_add_test(tests, slices_between_maps);
    tcase_add_test(tests, gradient_of_a_stencil);
    tcase_add_test(tests, concat_of_many);
    tcase_add_test(tests, concat_errors);
    tcase_add_test(tests, filled_tensors);
    return tests;
}

int main(void)
{
    Suite *suite = suite_create("shapes");
    suite_add_tcase(suite, view_cases());
    suite_add_tcase(suite, part_cases());
    return run_suite(suite);
}

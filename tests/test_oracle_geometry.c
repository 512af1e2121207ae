/* Resizing, patches, pixel shuffle and sampling at grids against PyTorch's, tests/oracle/geometry.py; what belongs
 * together agrees; and what they say to bad input. */
#include "oracle.h"

#include <clgrad/geometry.h>

static void open_geometry(void)
{
    oracle_open("geometry");
}

static const char *case_name(const char *op, int form, const char *mode, int corners)
{
    static char name[64];
    snprintf(name, sizeof name, "%s/%d/%s/%d", op, form, mode, corners);
    return name;
}

static const char *form_name(const char *op, int form)
{
    static char name[64];
    snprintf(name, sizeof name, "%s/%d", op, form);
    return name;
}

START_TEST(resizing)
{
    static const cg_shape sizes[] = {CG_SHAPE(13),   CG_SHAPE(4),       CG_SHAPE(6),
                                     CG_SHAPE(7, 9), CG_SHAPE(3, 1),    CG_SHAPE(6, 10),
                                     CG_SHAPE(4, 5), CG_SHAPE(5, 4, 7), CG_SHAPE(2, 6, 3)};
    static const char *const linear[] = {"linear", "bilinear", "trilinear"};
    for (int i = 0; i < (int)(sizeof sizes / sizeof *sizes); i++) {
        const cg_shape size = sizes[i];
        EXPECT_ORACLE(
            case_name("resize", i, "nearest", 0),
            out[0] = cg_resize(in[0], size, .interpolation = CG_NEAREST, .coordinates = CG_COORDINATES_ASYMMETRIC));
        EXPECT_ORACLE(case_name("resize", i, "nearest-exact", 0),
                      out[0] = cg_resize(in[0], size, .interpolation = CG_NEAREST));
        for (int corners = 0; corners < 2; corners++) {
            const cg_coordinates coordinates = corners ? CG_COORDINATES_ALIGN_CORNERS : CG_COORDINATES_HALF_PIXEL;
            EXPECT_ORACLE(case_name("resize", i, linear[size.rank - 1], corners),
                          out[0] = cg_resize(in[0], size, .coordinates = coordinates));
            if (size.rank == 2)
                EXPECT_ORACLE(case_name("resize", i, "bicubic", corners),
                              out[0] = cg_resize(in[0], size, .interpolation = CG_CUBIC, .coordinates = coordinates));
        }
    }
}
END_TEST

START_TEST(patches)
{
    static const struct {
        cg_shape size, window;
        cg_patch_options options;
    } forms[] = {
        {CG_SHAPE(9), CG_SHAPE(3), {.stride = {2}, .before = {1}, .after = {1}}},
        {CG_SHAPE(5, 7), CG_SHAPE(2, 3), {.stride = {1, 2}, .dilation = {2, 1}, .before = {1}, .after = {1}}},
        {CG_SHAPE(6, 6), CG_SHAPE(3, 3), {.stride = {3}}},
        {CG_SHAPE(3, 4, 5),
         CG_SHAPE(2, 2, 3),
         {.stride = {1, 2, 1}, .dilation = {1, 1, 2}, .before = {1, 0, 2}, .after = {1, 0, 2}}},
    };
    for (int i = 0; i < (int)(sizeof forms / sizeof *forms); i++) {
        cg_patch_options options = forms[i].options;
        options.padding = CG_PADDING_EXPLICIT;
        EXPECT_ORACLE(form_name("unfold", i), out[0] = cg_unfold_with(in[0], forms[i].window, &options));
        EXPECT_ORACLE(form_name("fold", i), out[0] = cg_fold_with(in[0], forms[i].size, forms[i].window, &options));
    }
}
END_TEST

START_TEST(shuffling)
{
    EXPECT_ORACLE("shuffle/1d", out[0] = cg_pixel_shuffle(in[0], CG_SHAPE(3)));
    EXPECT_ORACLE("shuffle/2d", out[0] = cg_pixel_shuffle(in[0], CG_SHAPE(2)));
    EXPECT_ORACLE("shuffle/3d", out[0] = cg_pixel_shuffle(in[0], CG_SHAPE(2, 1, 3)));
    EXPECT_ORACLE("unshuffle/2d", out[0] = cg_pixel_unshuffle(in[0], CG_SHAPE(2)));
}
END_TEST

START_TEST(sampling)
{
    static const struct {
        const char *name;
        cg_interpolation interpolation;
        cg_grid_padding padding;
    } forms[] = {
        {"2/bilinear/zeros", CG_LINEAR, CG_GRID_ZEROS},
        {"2/bilinear/border", CG_LINEAR, CG_GRID_BORDER},
        {"2/bilinear/reflection", CG_LINEAR, CG_GRID_REFLECTION},
        {"2/nearest/border", CG_NEAREST, CG_GRID_BORDER},
        {"2/bicubic/zeros", CG_CUBIC, CG_GRID_ZEROS},
        {"2/bicubic/reflection", CG_CUBIC, CG_GRID_REFLECTION},
        {"3/bilinear/zeros", CG_LINEAR, CG_GRID_ZEROS},
        {"3/bilinear/reflection", CG_LINEAR, CG_GRID_REFLECTION},
        {"3/nearest/border", CG_NEAREST, CG_GRID_BORDER},
    };
    for (int i = 0; i < (int)(sizeof forms / sizeof *forms); i++)
        for (int corners = 0; corners < 2; corners++) {
            char name[64];
            snprintf(name, sizeof name, "sample/%s/%d", forms[i].name, corners);
            EXPECT_ORACLE(name, out[0] = cg_grid_sample(in[0], in[1], .interpolation = forms[i].interpolation,
                                                        .padding = forms[i].padding, .align_corners = corners));
        }
    for (int corners = 0; corners < 2; corners++) {
        EXPECT_ORACLE(form_name("affine/2", corners),
                      out[0] = cg_affine_grid(in[0], CG_SHAPE(3, 4), .align_corners = corners));
        EXPECT_ORACLE(form_name("affine/3", corners),
                      out[0] = cg_affine_grid(in[0], CG_SHAPE(2, 3, 2), .align_corners = corners));
        EXPECT_ORACLE(form_name("twice", corners), out[0] = cg_grid_sample(in[0], in[1], .align_corners = corners));
    }
}
END_TEST

START_TEST(nothing_is_left_out)
{
    expect_all_checked();
}
END_TEST

/* Worked out by hand: what PyTorch has no name for. */
START_TEST(other_coordinates)
{
    cg_tensor x = tensor_of(ARRAY(CG_F32, CG_SHAPE(1, 1, 3), 0, 1, 3));
    expect_array(cg_resize(x, CG_SHAPE(6), .coordinates = CG_COORDINATES_ASYMMETRIC),
                 ARRAY(CG_F32, CG_SHAPE(1, 1, 6), 0, 0.5, 1, 2, 3, 3));
    expect_array(cg_resize(x, CG_SHAPE(5), .interpolation = CG_NEAREST, .coordinates = CG_COORDINATES_ALIGN_CORNERS),
                 ARRAY(CG_F32, CG_SHAPE(1, 1, 5), 0, 1, 1, 3, 3));
    expect_array(cg_upsample(x, CG_SHAPE(2), .interpolation = CG_NEAREST),
                 ARRAY(CG_F32, CG_SHAPE(1, 1, 6), 0, 0, 1, 1, 3, 3));
    expect_array(cg_upsample(x, CG_SHAPE(1)), ARRAY(CG_F32, CG_SHAPE(1, 1, 3), 0, 1, 3));
}
END_TEST

/* The identity's grid at another size resizes, cubic samples in three axes included, which PyTorch has not. */
START_TEST(an_identity_samples_as_resizing_does)
{
    cg_tensor x = tensor_of(array_random(CG_F32, CG_SHAPE(1, 2, 3, 4, 5), -1, 1));
    cg_tensor theta = tensor_of(ARRAY(CG_F32, CG_SHAPE(1, 3, 4), 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0));
    for (int i = 0; i < 4; i++) {
        const bool corners = i % 2;
        const cg_interpolation interpolation = i < 2 ? CG_CUBIC : CG_LINEAR;
        cg_tensor grid = cg_affine_grid(theta, CG_SHAPE(2, 7, 6), .align_corners = corners);
        cg_tensor sampled = cg_grid_sample(x, grid, .interpolation = interpolation, .padding = CG_GRID_BORDER,
                                           .align_corners = corners);
        cg_tensor resized = cg_resize(x, CG_SHAPE(2, 7, 6), .interpolation = interpolation,
                                      .coordinates = corners ? CG_COORDINATES_ALIGN_CORNERS
                                                             : CG_COORDINATES_HALF_PIXEL);
        expect_close(sampled, array_read(resized), 1e-5, 1e-5, "sampled");
    }
}
END_TEST

/* What one does the other undoes; windows that do not overlap are blocks. */
START_TEST(there_and_back)
{
    const array a = array_random(CG_F32, CG_SHAPE(2, 3, 4, 6), -1, 1);
    cg_tensor x = tensor_of(a), blocks = cg_unfold(x, CG_SHAPE(2, 3), .stride = {2, 3});
    expect_array(cg_pixel_shuffle(cg_pixel_unshuffle(x, CG_SHAPE(2, 3)), CG_SHAPE(2, 3)), a);
    expect_array(cg_reshape(blocks, CG_SHAPE(2, 18, 2, 2)), array_read(cg_pixel_unshuffle(x, CG_SHAPE(2, 3))));
    expect_array(cg_fold(blocks, CG_SHAPE(4, 6), CG_SHAPE(2, 3), .stride = {2, 3}), a);
    cg_tensor row = tensor_of(ARRAY(CG_I32, CG_SHAPE(1, 1, 4), 1, 2, 3, 4));
    expect_array(cg_unfold(row, CG_SHAPE(3), .padding = CG_PADDING_SAME, .stride = {2}),
                 ARRAY(CG_I32, CG_SHAPE(1, 3, 2), 1, 3, 2, 4, 3, 0));
}
END_TEST

/* Places beyond every number are beyond the image; so is no number. */
START_TEST(places_that_are_none)
{
    cg_tensor x = cg_ones(cg, CG_SHAPE(1, 1, 2, 2));
    cg_tensor grid = tensor_of(ARRAY(CG_F32, CG_SHAPE(1, 1, 4, 2), NAN, 0, 1e30, 0, 0, -INFINITY, 0, 0));
    expect_array(cg_grid_sample(x, grid), ARRAY(CG_F32, CG_SHAPE(1, 1, 1, 4), 0, 0, 0, 1));
    static const cg_interpolation interpolations[] = {CG_NEAREST, CG_LINEAR, CG_CUBIC};
    cg_tensor nowhere = tensor_of(ARRAY(CG_F32, CG_SHAPE(1, 1, 3, 2), NAN, 0.3, 0.3, NAN, NAN, NAN));
    for (int i = 0; i < 9; i++) {
        cg_tensor y = cg_grid_sample(x, nowhere, .interpolation = interpolations[i % 3], .padding = i / 3);
        expect_array(y, array_new(CG_F32, CG_SHAPE(1, 1, 1, 3)));
        expect_array(gradient_of(y, no_tensor, nowhere), array_new(CG_F32, CG_SHAPE(1, 1, 3, 2)));
        expect_array(gradient_of(y, no_tensor, x), array_new(CG_F32, CG_SHAPE(1, 1, 2, 2)));
    }
}
END_TEST

/* What is infinite, or no number, stays with the elements that it belongs to: a result that is one of two places at a
 * distance of 3 / 5 goes into no other element, and an element that no result takes gets nothing. */
START_TEST(infinite_cotangents)
{
    cg_tensor row = cg_ones(cg, CG_SHAPE(1, 1, 3)), two = cg_ones(cg, CG_SHAPE(1, 1, 3, 2));
    cg_tensor g = tensor_of(ARRAY(CG_F32, CG_SHAPE(1, 1, 5), 1, 2, 3, 4, INFINITY));
    cg_tensor wide = tensor_of(ARRAY(CG_F32, CG_SHAPE(1, 1, 5, 2), 1, 1, 2, 2, 3, 3, 4, 4, INFINITY, NAN));
    expect_about(gradient_of(cg_resize(row, CG_SHAPE(5)), g, row),
                 ARRAY(CG_F32, CG_SHAPE(1, 1, 3), 2.2, 5.4, INFINITY));
    expect_about(gradient_of(cg_resize(two, CG_SHAPE(5, 2)), wide, two),
                 ARRAY(CG_F32, CG_SHAPE(1, 1, 3, 2), 2.2, 2.2, 5.4, 5.4, INFINITY, NAN));
    cg_tensor taken = cg_resize(row, CG_SHAPE(1), .interpolation = CG_NEAREST);
    expect_about(gradient_of(taken, tensor_of(ARRAY(CG_F32, CG_SHAPE(1, 1, 1), INFINITY)), row),
                 ARRAY(CG_F32, CG_SHAPE(1, 1, 3), 0, INFINITY, 0));
}
END_TEST

/* A batch of none, and a grid without points, of which the image's gradient is 0. */
START_TEST(nothing_at_all)
{
    cg_tensor none = cg_zeros(cg, CG_SHAPE(0, 2, 4, 4)), x = cg_ones(cg, CG_SHAPE(1, 1, 1, 2));
    expect_array(cg_resize(none, CG_SHAPE(3, 8)), array_new(CG_F32, CG_SHAPE(0, 2, 3, 8)));
    expect_array(cg_unfold(none, CG_SHAPE(2, 2)), array_new(CG_F32, CG_SHAPE(0, 8, 9)));
    cg_tensor sampled = cg_grid_sample(x, cg_zeros(cg, CG_SHAPE(1, 0, 3, 2)));
    expect_array(sampled, array_new(CG_F32, CG_SHAPE(1, 1, 0, 3)));
    expect_array(gradient_of(sampled, no_tensor, x), array_new(CG_F32, CG_SHAPE(1, 1, 1, 2)));
}
END_TEST

START_TEST(dtypes)
{
    cg_tensor x = tensor_of(ARRAY(CG_U8, CG_SHAPE(1, 1, 2, 2), 1, 2, 3, 4));
    expect_array(cg_resize(x, CG_SHAPE(3, 2), .interpolation = CG_NEAREST),
                 ARRAY(CG_U8, CG_SHAPE(1, 1, 3, 2), 1, 2, 3, 4, 3, 4));
    expect_array(cg_upsample(x, CG_SHAPE(2, 1), .interpolation = CG_NEAREST),
                 ARRAY(CG_U8, CG_SHAPE(1, 1, 4, 2), 1, 2, 1, 2, 3, 4, 3, 4));
    expect_array(cg_resize(x, CG_SHAPE(1, 1)), ARRAY(CG_F32, CG_SHAPE(1, 1, 1, 1), 2.5));
}
END_TEST

/* What is stored in two bytes is sampled as f32 is: places in a wide image differ by less than bf16 can tell. */
START_TEST(narrow_dtypes_find_their_places)
{
    enum { WIDTH = 600, POINTS = 64 };
    static const cg_dtype dtypes[] = {CG_F16, CG_BF16};
    for (int d = 0; d < 2; d++) {
        cg_tensor image = cg_cast(cg_uniform(cg, CG_SHAPE(1, 1, 2, WIDTH)), dtypes[d]);
        cg_tensor grid = cg_cast(cg_uniform(cg, CG_SHAPE(1, 1, POINTS, 2), .low = -1, .high = 1), dtypes[d]);
        cg_tensor wide = cg_grid_sample(cg_cast(image, CG_F32), cg_cast(grid, CG_F32));
        cg_tensor both[] = {cg_cast(cg_grid_sample(image, grid), CG_F32), cg_cast(cg_cast(wide, dtypes[d]), CG_F32)};
        float found[2][POINTS];
        for (int i = 0; i < 2; i++) ck_assert(cg_read_floats(both[i], found[i], POINTS));
        ck_assert_mem_eq(found[0], found[1], sizeof found[0]);
        cg_tensor lattice = cg_affine_grid(cg_cast(cg_full(cg, CG_SHAPE(1, 2, 3), 1), dtypes[d]), CG_SHAPE(1, WIDTH));
        cg_tensor rounded = cg_cast(cg_affine_grid(cg_full(cg, CG_SHAPE(1, 2, 3), 1), CG_SHAPE(1, WIDTH)), dtypes[d]);
        float difference;
        cg_tensor apart = cg_abs(cg_sub(cg_cast(lattice, CG_F32), cg_cast(rounded, CG_F32)));
        ck_assert(cg_read_floats(cg_max(apart), &difference, 1));
        ck_assert_float_eq(difference, 0);
    }
}
END_TEST

START_TEST(errors)
{
    cg_tensor x = cg_ones(cg, CG_SHAPE(2, 1, 4, 3)), none = cg_ones(cg, CG_SHAPE(2, 1, 0));
    expect_error(cg_resize(x, CG_SHAPE(5)), "resize: [2,1,4,3] is not [batch, channels, spatial...] with the 1 spatial "
                                            "axes that the extents are for");
    expect_error(cg_resize(x, CG_SHAPE(5, 0)), "resize: [2,1,4,3]: spatial axis 1 cannot have 0 elements made of 3");
    expect_error(cg_resize(none, CG_SHAPE(2)), "resize: [2,1,0]: spatial axis 0 cannot have 2 elements made of 0");
    expect_error(cg_upsample(x, CG_SHAPE(2, 0)), "upsample: [2,1,4,3]: spatial axis 1 has a factor of 0");
    expect_error(cg_upsample(x, CG_SHAPE(1 << 20)), "upsample: [2,1,4,3]: spatial axis 0 has a factor of 1048576");
    expect_error(cg_upsample(x, CG_SHAPE(1, 2, 3)), "upsample: [2,1,4,3] is not [batch, channels, spatial...] with the "
                                                    "3 spatial axes that the extents are for");
    cg_tensor grid = cg_ones(cg, CG_SHAPE(2, 5, 5, 3)), patches = cg_ones(cg, CG_SHAPE(1, 4, 3));
    expect_error(cg_unfold(x, CG_SHAPE(2, 4)),
                 "unfold: [2,1,4,3]: spatial axis 1 has fewer elements, with padding, than the window's 4");
    expect_error(cg_unfold(x, CG_SHAPE(2, 2), .stride = {1, -1}),
                 "unfold: [2,1,4,3]: spatial axis 1 has a stride of -1");
    expect_error(cg_fold(patches, CG_SHAPE(4), CG_SHAPE(3)),
                 "fold: [1,4,3] does not hold 2 windows of 3 elements per channel");
    expect_error(cg_fold(x, CG_SHAPE(4), CG_SHAPE(3)),
                 "fold: [2,1,4,3] is not [batch, channels * elements, windows] with one to three axes each of extents "
                 "(1) and windows (1)");
    expect_error(cg_pixel_shuffle(x, CG_SHAPE(2)), "pixel_shuffle: [2,1,4,3]: axis 1 does not divide by 4");
    expect_error(cg_pixel_unshuffle(x, CG_SHAPE(2)), "pixel_unshuffle: [2,1,4,3]: axis 3 does not divide by 2");
    expect_error(cg_grid_sample(x, grid),
                 "grid_sample: the grid [2,5,5,3] is not [batch, spatial..., 2] with the batch "
                 "and the spatial axes' number of [2,1,4,3]");
    expect_error(cg_grid_sample(patches, grid),
                 "grid_sample: [1,4,3] is not [batch, channels, spatial...] with 2 or 3 spatial axes");
    expect_error(
        cg_affine_grid(patches, CG_SHAPE(4, 4)),
        "affine_grid: [1,4,3] is not [batch, axes, axes + 1] for the 2 or 3 axes of which there are extents (2)");
    ck_assert(cg_is_null(cg_grid_sample(x, no_tensor)) && cg_is_null(cg_affine_grid(no_tensor, CG_SHAPE(4, 4))));
    ck_assert(cg_is_null(cg_unfold(no_tensor, CG_SHAPE(2))) && cg_is_null(cg_pixel_shuffle(no_tensor, CG_SHAPE(2))));
    ck_assert(cg_is_null(cg_fold(no_tensor, CG_SHAPE(4), CG_SHAPE(2))));
    ck_assert(cg_is_null(cg_resize(no_tensor, CG_SHAPE(2))) && cg_is_null(cg_upsample(no_tensor, CG_SHAPE(2))));
    ck_assert_int_eq(cg_status(cg), CG_OK);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("geometry");
    TCase *tests = tcase_create("geometry");
    tcase_add_checked_fixture(tests, open_geometry, oracle_close);
    tcase_add_test(tests, resizing);
    tcase_add_test(tests, patches);
    tcase_add_test(tests, shuffling);
    tcase_add_test(tests, sampling);
    tcase_add_test(tests, nothing_is_left_out);
    tcase_add_test(tests, other_coordinates);
    tcase_add_test(tests, an_identity_samples_as_resizing_does);
    tcase_add_test(tests, there_and_back);
    tcase_add_test(tests, places_that_are_none);
    tcase_add_test(tests, infinite_cotangents);
    tcase_add_test(tests, nothing_at_all);
    tcase_add_test(tests, dtypes);
    tcase_add_test(tests, narrow_dtypes_find_their_places);
    tcase_add_test(tests, errors);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}

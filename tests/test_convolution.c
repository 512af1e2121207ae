/* Tests how convolutions run: on shapes large enough for every part of the kernels that gather windows, against sums in
 * double on the host, whichever kernel multiplies; and what of them shares a kernel. What they mean is tested against
 * another library in test_oracle_convolution.c. */
#define _GNU_SOURCE
#include "engine/context.h"
#include "op_support.h"

#include <clgrad/convolution.h>

/* Of x, batch and channels; along the axes size, extent, stride, dilation, before and after. */
typedef struct geometry {
    int64_t batch, channels, outputs, groups;
    int rank;
    int64_t axis[CG_MAX_SPATIAL][6];
} geometry;

static const geometry geometries[] = {
    {2, 130, 29, 1, 2, {{9, 3, 1, 1, 1, 1}, {37, 3, 1, 1, 1, 1}}}, /* deeper than a block of the packed kernel */
    {2, 5, 26, 1, 2, {{40, 5, 2, 1, 2, 2}, {71, 3, 2, 1, 1, 0}}},  /* strides of 2, by vectors and at the edges */
    {1, 3, 13, 1, 2, {{66, 7, 2, 1, 3, 3}, {64, 7, 2, 1, 3, 2}}},  /* as the first layer of a residual network */
    {3, 4, 8, 1, 1, {{1000, 9, 1, 3, 12, 12}}},                    /* one long row */
    {2, 4, 8, 1, 1, {{500, 4, 3, 1, 0, 0}}},                       /* a stride that has no vectors */
    {2, 3, 33, 1, 3, {{6, 3, 1, 1, 1, 1}, {9, 3, 1, 1, 1, 1}, {10, 3, 1, 1, 1, 1}}},
    {2, 8, 20, 2, 3, {{5, 2, 2, 1, 1, 0}, {9, 3, 1, 2, 2, 1}, {11, 3, 2, 1, 0, 1}}},
    {2, 12, 24, 3, 2, {{14, 3, 1, 1, 1, 1}, {14, 5, 1, 1, 2, 2}}},  /* groups; rows shorter than a vector */
    {20, 6, 7, 1, 2, {{5, 3, 1, 1, 1, 1}, {4, 3, 1, 1, 1, 1}}},     /* short stretches of the depth */
    {3, 16, 20, 1, 2, {{12, 1, 2, 1, 0, 0}, {33, 1, 2, 1, 0, 0}}},  /* every second element */
    {2, 40, 17, 1, 2, {{30, 1, 1, 1, 0, 0}, {30, 1, 1, 1, 0, 0}}},  /* products without windows */
    {2, 3, 2, 1, 2, {{3, 3, 1, 1, 1, 1}, {2, 2, 1, 1, 0, 0}}},      /* rows too short to be gathered */
    {2, 19, 19, 19, 2, {{20, 3, 1, 1, 1, 1}, {35, 3, 1, 1, 1, 1}}}, /* each channel by itself */
    {2, 5, 5, 5, 2, {{21, 3, 2, 1, 1, 1}, {40, 5, 2, 1, 2, 2}}},
    {2, 3, 3, 3, 3, {{5, 3, 1, 1, 1, 1}, {6, 2, 1, 2, 1, 1}, {9, 3, 2, 1, 1, 1}}},
    {42, 3, 6, 1, 2, {{13, 3, 1, 1, 1, 1}, {16, 3, 1, 1, 1, 1}}}, /* the kernel's gradient: several images at a time, */
    {1, 600, 16, 1, 2, {{2, 3, 1, 1, 1, 1}, {16, 3, 1, 1, 1, 1}}}, /* more rows than it takes at a time, */
    {2, 4, 16, 1, 2, {{50, 3, 1, 1, 1, 1}, {70, 5, 1, 1, 2, 2}}},  /* an image in several parts */
    {2, 20, 16, 1, 2, {{32, 3, 1, 1, 1, 1}, {32, 3, 1, 1, 1, 1}}}, /* lines of whole vectors */
};
enum { GEOMETRIES = sizeof geometries / sizeof *geometries };
enum { SIZE_OF, EXTENT, STRIDE, DILATION, BEFORE, AFTER };

static int64_t places_along(const geometry *g, int axis)
{
    const int64_t *a = g->axis[axis];
    return (a[SIZE_OF] + a[BEFORE] + a[AFTER] - (a[EXTENT] - 1) * a[DILATION] - 1) / a[STRIDE] + 1;
}

static cg_shape shape_of(const geometry *g, int64_t first, int64_t second, int which)
{
    cg_shape shape = {.rank = 2 + g->rank, .size = {first, second}};
    for (int i = 0; i < g->rank; i++) shape.size[2 + i] = which < 0 ? places_along(g, i) : g->axis[i][which];
    return shape;
}

/* x, kernel, cotangent; and by the definition: the result, and the gradients of <result, cotangent>. */
typedef struct problem {
    cg_shape shape[3];
    float *given[3];
    double *expected[3];
} problem;

enum { X, KERNEL, COTANGENT };

static float *random_floats(cg_shape shape, unsigned seed)
{
    const int64_t count = cg_shape_size(shape);
    float *values = test_memory((size_t)count * sizeof *values);
    for (int64_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        values[i] = (float)(seed >> 8) / (float)(1 << 23) - 1;
    }
    return values;
}

/* Adds what one product contributes to the result and to both gradients. */
static void add_product(const problem *p, int64_t x, int64_t kernel, int64_t place)
{
    p->expected[COTANGENT][place] += (double)p->given[X][x] * p->given[KERNEL][kernel];
    p->expected[X][x] += (double)p->given[KERNEL][kernel] * p->given[COTANGENT][place];
    p->expected[KERNEL][kernel] += (double)p->given[X][x] * p->given[COTANGENT][place];
}

/* Goes through the spatial axes from `axis` on. The three indices are those of what lies in front. */
static void add_windows(const geometry *g, const problem *p, int axis, int64_t x, int64_t kernel, int64_t place)
{
    if (axis == g->rank) {
        add_product(p, x, kernel, place);
        return;
    }
    const int64_t *a = g->axis[axis];
    for (int64_t w = 0; w < places_along(g, axis); w++)
        for (int64_t k = 0; k < a[EXTENT]; k++) {
            const int64_t at = w * a[STRIDE] + k * a[DILATION] - a[BEFORE];
            if (at < 0 || at >= a[SIZE_OF]) continue;
            add_windows(g, p, axis + 1, x * a[SIZE_OF] + at, kernel * a[EXTENT] + k, place * places_along(g, axis) + w);
        }
}

static problem problem_of(const geometry *g)
{
    problem p = {.shape = {shape_of(g, g->batch, g->channels, SIZE_OF),
                           shape_of(g, g->outputs, g->channels / g->groups, EXTENT),
                           shape_of(g, g->batch, g->outputs, -1)}};
    const int64_t channels = g->channels / g->groups, outputs = g->outputs / g->groups;
    for (int i = 0; i < 3; i++) {
        p.given[i] = random_floats(p.shape[i], (unsigned)i + 7);
        p.expected[i] = test_memory((size_t)cg_shape_size(p.shape[i]) * sizeof *p.expected[i]);
    }
    for (int64_t n = 0; n < g->batch; n++)
        for (int64_t o = 0; o < g->outputs; o++)
            for (int64_t c = 0; c < channels; c++)
                add_windows(g, &p, 0, n * g->channels + o / outputs * channels + c, o * channels + c,
                            n * g->outputs + o);
    return p;
}

/* Within a share of the largest value. */
static void expect_sums(cg_tensor found, cg_shape shape, const double *expected, double bound)
{
    const size_t count = (size_t)cg_shape_size(shape);
    float *values = test_memory(count * sizeof *values);
    double largest = 0;
    ck_assert_msg(cg_shapes_equal(cg_shape_of(found), shape), "%s", cg_tensor_text(found));
    ck_assert_msg(cg_read_floats(found, values, count), "%s", cg_message(cg));
    for (size_t i = 0; i < count; i++) largest = fmax(largest, fabs(expected[i]));
    for (size_t i = 0; i < count; i++)
        ck_assert_msg(fabs(values[i] - expected[i]) <= bound * largest,
                      "element %zu of %s: %g instead of %g, of up to %g", i, cg_shape_text(cg, shape), values[i],
                      expected[i], largest);
}

static cg_tensor convolve(const geometry *g, cg_tensor x, cg_tensor kernel)
{
    cg_convolution_options options = {.padding = CG_PADDING_EXPLICIT, .groups = g->groups};
    for (int i = 0; i < g->rank; i++) {
        options.stride[i] = g->axis[i][STRIDE];
        options.dilation[i] = g->axis[i][DILATION];
        options.before[i] = g->axis[i][BEFORE];
        options.after[i] = g->axis[i][AFTER];
    }
    return cg_convolution_with(x, kernel, &options);
}

/* With images, and what belongs to them, as a minibatch of which kernels do not know the size, or not. */
static void inputs_of(const problem *p, cg_dtype dtype, bool minibatch, cg_tensor in[3])
{
    for (int i = 0; i < 3; i++)
        in[i] = cg_cast(cg_input(cg, CG_F32, p->shape[i], p->given[i], .has_batch_axis = minibatch && i != KERNEL),
                        dtype);
}

static void check_geometry(const geometry *g, cg_dtype dtype)
{
    const problem p = problem_of(g);
    cg_tensor in[3], gradients[2];
    inputs_of(&p, dtype, false, in);
    const cg_tensor y = convolve(g, in[X], in[KERNEL]);
    ck_assert_msg(cg_grad(&y, 1, in, 2, gradients, .cotangents = &in[COTANGENT]), "%s", cg_message(cg));
    expect_sums(cg_cast(y, CG_F32), p.shape[COTANGENT], p.expected[COTANGENT], 1e-5);
    expect_sums(cg_cast(gradients[X], CG_F32), p.shape[X], p.expected[X], 1e-5);
    expect_sums(cg_cast(gradients[KERNEL], CG_F32), p.shape[KERNEL], p.expected[KERNEL], 1e-5);
}

/* All in one context, whose kernels they share: so it compiles fewer. */
START_TEST(convolutions_of_all_sizes_are_sums_over_windows)
{
    static const char *const kernels[] = {"packed", "tiled"};
    setenv("CLGRAD_GEMM", kernels[_i], 1);
    open_context();
    for (int i = 0; i < GEOMETRIES; i++) {
        const cg_scope scope = cg_scope_begin(cg);
        check_geometry(&geometries[i], CG_F32);
        if (_i == 0 && i % 3 == 0 && has_f64()) check_geometry(&geometries[i], CG_F64);
        cg_scope_end(scope);
    }
    close_context();
    unsetenv("CLGRAD_GEMM");
}
END_TEST

/* In so many bytes at most, with the result. */
static void expect_kernels(cg_tensor y, int kernels, int64_t most_bytes)
{
    const bool cpu = !cg_device(cg)->is_gpu;
    ck_assert_msg(cg_eval(&y, 1), "%s", cg_message(cg));
    const cg_counters counters = cg_counters_get(cg);
    if (cpu) ck_assert_int_eq(counters.last_plan_kernels, kernels);
    if (cpu) ck_assert_int_le(counters.last_plan_peak_bytes, most_bytes);
}

/* ---- Gradients with strides -------------------------------------------------------------------------------------- */

/* Gradients in the input come from products whose results are folded in the kernel that computes them, if that pays. */
static const geometry folded[] = {
    {2, 5, 26, 1, 2, {{40, 5, 2, 1, 2, 2}, {71, 3, 2, 1, 1, 0}}},
    {1, 13, 3, 1, 2, {{9, 1, 3, 1, 0, 1}, {10, 2, 4, 1, 1, 2}}},     /* strides beyond the windows */
    {2, 6, 7, 1, 2, {{23, 3, 2, 2, 2, 1}, {30, 3, 3, 2, 0, 3}}},     /* dilation that skips phases, or not */
    {2, 4, 8, 1, 1, {{500, 4, 3, 1, 0, 0}}},                         /* one long line */
    {2, 4, 6, 1, 2, {{20, 3, 2, 1, 1, 1}, {33, 3, 1, 1, 1, 1}}},     /* along one axis only */
    {3, 30, 40, 1, 2, {{7, 3, 2, 1, 1, 1}, {7, 3, 2, 1, 1, 1}}},     /* short lines */
    {1, 25, 9, 1, 2, {{12, 10, 2, 1, 0, 0}, {1300, 5, 2, 1, 0, 0}}}, /* lines that are cut */
    {1, 12, 4, 1, 2, {{20, 4, 2, 1, 5, 5}, {19, 4, 2, 1, 7, 6}}},    /* windows outside of the image */
    {2, 16, 5, 1, 3, {{7, 3, 2, 1, 1, 1}, {9, 2, 2, 1, 0, 1}, {11, 3, 2, 1, 1, 1}}}, /* volumes */
    {1, 8, 70, 1, 3, {{5, 5, 3, 1, 2, 2}, {6, 3, 1, 1, 1, 1}, {6, 3, 2, 1, 1, 1}}},  /* deep: costs less apart */
};
enum { FOLDED = sizeof folded / sizeof *folded };

static void check_folded(const geometry *g, cg_dtype dtype)
{
    const problem p = problem_of(g);
    cg_tensor in[3], gradient;
    for (int i = 0; i < 3; i++) in[i] = cg_cast(cg_input(cg, CG_F32, p.shape[i], p.given[i]), dtype);
    ck_assert(cg_eval(in, 3));
    const cg_tensor y = convolve(g, in[X], in[KERNEL]);
    ck_assert(cg_grad(&y, 1, &in[X], 1, &gradient, .cotangents = &in[COTANGENT]));
    ck_assert(cg_eval(&gradient, 1));
    if (!cg_device(cg)->is_gpu) ck_assert_int_eq(cg_counters_get(cg).last_plan_kernels, 2);
    expect_sums(cg_cast(gradient, CG_F32), p.shape[X], p.expected[X], 1e-6);
}

START_TEST(gradients_with_strides_are_folded_where_they_are_computed)
{
    setenv("CLGRAD_GEMM", "packed", 1);
    open_context();
    for (int i = 0; i < FOLDED; i++) check_folded(&folded[i], CG_F32);
    for (int i = 0; i < FOLDED && has_f64(); i += 4) check_folded(&folded[i], CG_F64);
    close_context();
    unsetenv("CLGRAD_GEMM");
}
END_TEST

/* ---- Winograd's algorithm ---------------------------------------------------------------------------------------- */

static const geometry of_winograd[] = {
    {2, 130, 29, 1, 2, {{9, 3, 1, 1, 1, 1}, {37, 3, 1, 1, 1, 1}}}, /* tiles that are cut at both ends */
    {1, 8, 9, 1, 2, {{4, 3, 1, 1, 1, 1}, {4, 3, 1, 1, 1, 1}}},     /* one tile, or few */
    {3, 17, 5, 1, 2, {{9, 3, 1, 1, 0, 0}, {40, 3, 1, 1, 0, 0}}},   /* no border */
    {2, 9, 12, 1, 2, {{11, 3, 1, 1, 2, 0}, {150, 3, 1, 1, 0, 2}}}, /* more tiles side by side than a block has */
    {5, 8, 41, 1, 2, {{8, 3, 1, 1, 3, 0}, {8, 3, 1, 1, 0, 4}}},    /* wide borders; blocks of several images */
    {9, 300, 8, 1, 2, {{7, 3, 1, 1, 1, 1}, {7, 3, 1, 1, 1, 1}}},   /* many terms to a sum */
    {2, 10, 9, 1, 3, {{5, 3, 1, 1, 1, 1}, {9, 3, 1, 1, 1, 1}, {18, 3, 1, 1, 1, 1}}}, /* slices of volumes, */
    {2, 4, 5, 1, 3, {{8, 2, 2, 3, 2, 0}, {7, 3, 1, 1, 1, 1}, {11, 3, 1, 1, 0, 0}}},  /* some of them, far apart, */
    {1, 4, 5, 1, 3, {{3, 1, 1, 1, 0, 0}, {7, 3, 1, 1, 1, 1}, {11, 3, 1, 1, 0, 2}}},  /* each for itself */
    {5, 32, 41, 1, 2, {{14, 5, 1, 1, 2, 2}, {14, 5, 1, 1, 2, 2}}},                   /* kernels of 5x5: small images, */
    {2, 70, 9, 1, 2, {{9, 5, 1, 1, 3, 1}, {37, 5, 1, 1, 0, 2}}},                     /* tiles that are cut, */
    {3, 17, 5, 1, 2, {{9, 5, 1, 1, 0, 0}, {41, 5, 1, 1, 0, 0}}},                     /* no border, */
    {2, 9, 12, 1, 2, {{11, 5, 1, 1, 4, 0}, {150, 5, 1, 1, 0, 4}}}, /* more tiles side by side than a block has, */
    {1, 300, 8, 1, 2, {{5, 5, 1, 1, 2, 2}, {5, 5, 1, 1, 2, 2}}},   /* many terms, few tiles, */
    {2, 10, 9, 1, 3, {{4, 3, 1, 1, 1, 1}, {9, 5, 1, 1, 2, 2}, {18, 5, 1, 1, 2, 2}}}, /* slices of volumes */
};
enum { OF_WINOGRAD = sizeof of_winograd / sizeof *of_winograd };

typedef struct variant {
    const char *name;
    double bound, bound_of_5; /* of errors, as include/clgrad/convolution.h has it, with kernels of 3x3 and 5x5 */
    int kernels;
} variant;
static const variant variants[] = {
    {"direct", 1e-5, 1e-5, 1}, {"winograd2", 1e-6, 1e-5, 2}, {"winograd4", 1e-5, 1e-5, 2}};
enum { VARIANTS = sizeof variants / sizeof *variants };

static void open_variant(const variant *v)
{
    setenv("CLGRAD_GEMM", "packed", 1);
    setenv("CLGRAD_CONVOLUTION", v->name, 1);
    open_context();
}

static void close_variant(void)
{
    close_context();
    unsetenv("CLGRAD_CONVOLUTION");
    unsetenv("CLGRAD_GEMM");
}

/* With x as the cotangent of the gradient in x, that one's gradients are the gradient in the kernel and the result. */
static void check_variant(const geometry *g, const variant *v)
{
    const problem p = problem_of(g);
    const double bound = g->axis[g->rank - 1][EXTENT] == 5 ? v->bound_of_5 : v->bound;
    cg_tensor in[3], gradient, second[2];
    for (int i = 0; i < 3; i++) in[i] = cg_input(cg, CG_F32, p.shape[i], p.given[i]);
    const cg_tensor y = convolve(g, in[X], in[KERNEL]);
    ck_assert(cg_grad(&y, 1, &in[X], 1, &gradient, .cotangents = &in[COTANGENT]));
    ck_assert(cg_grad(&gradient, 1, &in[KERNEL], 2, second, .cotangents = &in[X]));
    ck_assert(cg_eval(&y, 1));
    ck_assert_int_eq(cg_counters_get(cg).last_plan_kernels, v->kernels);
    expect_sums(y, p.shape[COTANGENT], p.expected[COTANGENT], bound);
    expect_sums(gradient, p.shape[X], p.expected[X], bound);
    expect_sums(second[0], p.shape[KERNEL], p.expected[KERNEL], 1e-5);
    expect_sums(second[1], p.shape[COTANGENT], p.expected[COTANGENT], bound);
}

START_TEST(every_variant_keeps_its_bound)
{
    open_variant(&variants[_i]);
    for (int i = 0; i < OF_WINOGRAD; i++) {
        const cg_scope scope = cg_scope_begin(cg);
        check_variant(&of_winograd[i], &variants[_i]);
        cg_scope_end(scope);
    }
    close_variant();
}
END_TEST

/* Small, so that an interpreter gets through them: each kernel that convolutions have, and ends of all kinds. */
static const geometry small[] = {
    {2, 8, 9, 1, 2, {{5, 3, 1, 1, 1, 1}, {18, 3, 1, 1, 1, 1}}}, /* sliding; the kernel's gradient by places */
    {2, 8, 5, 1, 2, {{5, 3, 2, 1, 1, 1}, {37, 3, 2, 1, 1, 0}}}, /* the same, where every second element is read */
    {3, 5, 6, 1, 2, {{3, 1, 1, 1, 0, 0}, {7, 1, 1, 1, 0, 0}}},  /* the images' columns joined */
    {2, 3, 3, 3, 2, {{6, 3, 1, 1, 1, 1}, {19, 3, 1, 1, 1, 1}}}, /* each channel by itself */
};
enum { SMALL = sizeof small / sizeof *small };

/* CPUs have vectors of 4, 8 or 16 floats; other devices have none to force. */
START_TEST(vectors_of_each_width_compute_the_same)
{
    for (int i = 0; i < VARIANTS; i++) {
        open_variant(&variants[i]);
        if (cg->vector_width > 1) cg->vector_width = 4 << _i;
        for (int k = 0; k < (i == 0 ? SMALL : 1); k++) check_geometry(&small[k], CG_F32);
        if (i == 0 && has_f64()) check_geometry(&small[1], CG_F64);
        close_variant();
    }
}
END_TEST

/* Whose gradients in the kernel are taken. */
static const geometry of_gradients[] = {
    {3, 70, 140, 1, 2, {{14, 3, 1, 1, 1, 1}, {14, 3, 1, 1, 1, 1}}}, /* several blocks of channels and of outputs */
    {7, 20, 17, 1, 2, {{7, 3, 1, 1, 1, 1}, {6, 3, 1, 1, 0, 2}}},    /* several images at a time */
    {2, 3, 5, 1, 2, {{33, 3, 1, 1, 2, 0}, {300, 3, 1, 1, 0, 1}}},   /* lines that are cut; fewer channels than lanes */
    {1, 16, 33, 1, 2, {{80, 3, 1, 1, 0, 0}, {60, 3, 1, 1, 0, 0}}},  /* one image in parts, without borders */
    {5, 9, 34, 1, 2, {{14, 5, 1, 1, 2, 2}, {14, 5, 1, 1, 2, 2}}},
    {2, 33, 8, 1, 2, {{9, 5, 1, 1, 0, 4}, {71, 5, 1, 1, 3, 1}}},
    {2, 10, 19, 1, 3, {{5, 3, 1, 1, 1, 1}, {9, 3, 1, 1, 1, 1}, {18, 3, 1, 1, 1, 1}}},
    {2, 4, 5, 1, 3, {{8, 2, 2, 3, 2, 0}, {7, 3, 1, 1, 1, 1}, {11, 3, 1, 1, 0, 0}}},
};
enum { OF_GRADIENTS = sizeof of_gradients / sizeof *of_gradients };

START_TEST(gradients_of_kernels_keep_their_bound)
{
    setenv("CLGRAD_CONVOLUTION", "winograd4", 1);
    open_context();
    for (int i = 0; i < OF_GRADIENTS; i++) {
        const geometry *g = &of_gradients[i];
        const problem p = problem_of(g);
        const cg_scope scope = cg_scope_begin(cg);
        cg_tensor in[3], gradient;
        inputs_of(&p, CG_F32, false, in);
        const cg_tensor y = convolve(g, in[X], in[KERNEL]);
        ck_assert(cg_grad(&y, 1, &in[KERNEL], 1, &gradient, .cotangents = &in[COTANGENT]));
        ck_assert(cg_eval(&gradient, 1));
        /* Shares of sums, the sums, the kernel's own order. */
        if (!cg_device(cg)->is_gpu) ck_assert_int_eq(cg_counters_get(cg).last_plan_kernels, 3);
        expect_sums(gradient, p.shape[KERNEL], p.expected[KERNEL], 1e-5);
        cg_scope_end(scope);
    }
    close_context();
    unsetenv("CLGRAD_CONVOLUTION");
}
END_TEST

/* The gradient in the kernel of another minibatch, where every second element is read, and in f64. */
START_TEST(minibatches_share_the_kernel_of_a_gradient)
{
    static const int batches[] = {2, 7, 3};
    int64_t built = 0;
    open_variant(&variants[0]);
    for (int i = 0; i < 3; i++) {
        geometry g = small[1];
        g.batch = batches[i];
        const problem p = problem_of(&g);
        cg_tensor in[3], gradient;
        inputs_of(&p, has_f64() ? CG_F64 : CG_F32, true, in);
        const cg_tensor y = convolve(&g, in[X], in[KERNEL]);
        ck_assert_msg(cg_grad(&y, 1, &in[KERNEL], 1, &gradient, .cotangents = &in[COTANGENT]), "%s", cg_message(cg));
        expect_sums(cg_cast(gradient, CG_F32), p.shape[KERNEL], p.expected[KERNEL], 1e-5);
        if (i == 0) built = cg_counters_get(cg).kernels_built;
    }
    ck_assert_int_eq(cg_counters_get(cg).kernels_built, built);
    close_variant();
}
END_TEST

/* For the gradient in x they are read from their end on. */
START_TEST(reversed_kernels_are_not_copied)
{
    const problem p = problem_of(&small[0]);
    cg_tensor in[3], gradient;
    open_variant(&variants[1]);
    inputs_of(&p, CG_F32, false, in);
    ck_assert(cg_eval(in, 3));
    const cg_tensor y = convolve(&small[0], in[X], in[KERNEL]);
    ck_assert(cg_grad(&y, 1, &in[X], 1, &gradient, .cotangents = &in[COTANGENT]));
    expect_kernels(gradient, variants[1].kernels, INT64_MAX);
    expect_sums(gradient, p.shape[X], p.expected[X], variants[1].bound);
    close_variant();
}
END_TEST

/* Tiles reach beyond the image, where the next one lies. */
START_TEST(images_do_not_reach_each_other)
{
    enum { IMAGES = 3, CHANNELS = 8, ROWS = 9, COLUMNS = 23, IMAGE = CHANNELS * ROWS * COLUMNS };
    enum { RESULT = 4 * (ROWS - 2) * (COLUMNS - 2) };
    const cg_shape shape = CG_SHAPE(IMAGES, CHANNELS, ROWS, COLUMNS), kernels = CG_SHAPE(4, CHANNELS, 3, 3);
    float found[IMAGES * RESULT];
    for (int i = 0; i < VARIANTS; i++) {
        float *values = random_floats(shape, 1);
        for (int k = 0; k < IMAGE; k++) values[IMAGE + k] = NAN;
        open_variant(&variants[i]);
        const cg_tensor x = cg_input(cg, CG_F32, shape, values),
                        kernel = cg_input(cg, CG_F32, kernels, random_floats(kernels, 2));
        ck_assert(cg_read_floats(cg_convolution(x, kernel), found, IMAGES * RESULT));
        for (int k = 0; k < IMAGES * RESULT; k++) ck_assert(isnan(found[k]) == (k / RESULT == 1));
        close_variant();
    }
}
END_TEST

/* What lies beyond a line takes part in no sum, even where it is infinite. */
START_TEST(what_is_infinite_stays_where_it_belongs)
{
    const geometry g = {2, 3, 16, 1, 2, {{9, 3, 1, 1, 1, 1}, {30, 3, 1, 1, 1, 1}}};
    enum { KERNELS = 16 * 3 * 9 };
    const problem p = problem_of(&g);
    float found[KERNELS];
    open_variant(&variants[0]);
    p.given[X][30] = INFINITY; /* channel 0, line 1, place 0: under no kernel's last column */
    const cg_tensor x = cg_input(cg, CG_F32, p.shape[X], p.given[X]),
                    kernel = cg_input(cg, CG_F32, p.shape[KERNEL], p.given[KERNEL]),
                    cotangent = cg_input(cg, CG_F32, p.shape[COTANGENT], p.given[COTANGENT]);
    const cg_tensor y = convolve(&g, x, kernel);
    cg_tensor gradient;
    ck_assert(cg_grad(&y, 1, &kernel, 1, &gradient, .cotangents = &cotangent));
    ck_assert_msg(cg_read_floats(gradient, found, KERNELS), "%s", cg_message(cg));
    for (int i = 0; i < KERNELS; i++) {
        const bool meets = i / 9 % 3 == 0 && i % 3 < 2;
        ck_assert_msg(!isnan(found[i]) && isfinite(found[i]) == !meets, "element %d: %g", i, found[i]);
        if (!meets) ck_assert_float_eq_tol(found[i], (float)p.expected[KERNEL][i], 1e-4f);
    }
    close_variant();
}
END_TEST

/* ---- What shares a kernel ---------------------------------------------------------------------------------------- */

static cg_tensor evaluated(cg_shape shape, int salt)
{
    const cg_tensor x = cg_input(cg, CG_F32, shape, random_floats(shape, (unsigned)salt));
    ck_assert(cg_eval(&x, 1));
    return x;
}

/* The windows would be nine times as large as x. Winograd's algorithm transforms the kernels first. */
START_TEST(a_convolution_with_bias_and_activation_is_one_kernel)
{
    enum { BATCH = 8, CHANNELS = 16, SIDE = 64, OUTPUTS = 24, BYTES_OF_CHANNEL = BATCH * SIDE * SIDE * 4 };
    open_variant(&variants[_i]);
    const cg_tensor x = evaluated(CG_SHAPE(BATCH, CHANNELS, SIDE, SIDE), 1),
                    kernel = evaluated(CG_SHAPE(OUTPUTS, CHANNELS, 3, 3), 2),
                    bias = evaluated(CG_SHAPE(OUTPUTS, 1, 1), 3),
                    residual = evaluated(CG_SHAPE(BATCH, OUTPUTS, SIDE, SIDE), 4);
    const cg_tensor y = cg_convolution(x, kernel, .padding = CG_PADDING_SAME);
    expect_kernels(cg_relu(cg_add(cg_add(y, bias), residual)), variants[_i].kernels,
                   _i == 0 ? (CHANNELS + OUTPUTS) * BYTES_OF_CHANNEL : INT64_MAX);
    close_variant();
}
END_TEST

/* What follows a product may see its rows and columns cut into several axes, and use these in ways of their own. */
START_TEST(a_product_runs_behind_cut_axes)
{
    enum { HEADS = 3, WIDTH = 10, ROWS = 14, DEPTH = 20, COUNT_OF = ROWS * HEADS * WIDTH };
    float a[ROWS * DEPTH], b[DEPTH * HEADS * WIDTH], scale[HEADS], shift[2 * WIDTH], found[COUNT_OF];
    open_context();
    const cg_tensor x = evaluated(CG_SHAPE(ROWS, DEPTH), 1), w = evaluated(CG_SHAPE(DEPTH, HEADS * WIDTH), 2),
                    s = evaluated(CG_SHAPE(HEADS, 1), 3), t = evaluated(CG_SHAPE(2, 1, 1, WIDTH), 4);
    const cg_tensor cut = cg_reshape(cg_matmul(x, w), CG_SHAPE(2, ROWS / 2, HEADS, WIDTH));
    const cg_tensor y = cg_add(cg_mul(cut, s), t);
    expect_kernels(y, 1, 1 << 20);
    ck_assert(cg_read_floats(x, a, ROWS * DEPTH) && cg_read_floats(w, b, DEPTH * HEADS * WIDTH) &&
              cg_read_floats(s, scale, HEADS) && cg_read_floats(t, shift, 2 * WIDTH) &&
              cg_read_floats(y, found, COUNT_OF));
    for (int i = 0; i < COUNT_OF; i++) {
        const int row = i / (HEADS * WIDTH), column = i % (HEADS * WIDTH);
        double sum = 0;
        for (int k = 0; k < DEPTH; k++) sum += (double)a[row * DEPTH + k] * b[k * HEADS * WIDTH + column];
        const double expected = sum * scale[column / WIDTH] + shift[row / (ROWS / 2) * WIDTH + column % WIDTH];
        ck_assert_float_eq_tol(found[i], (float)expected, 1e-4f);
    }
    close_context();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("convolution_kernels");
    TCase *sizes = tcase_create("sizes"), *winograd = tcase_create("winograd"), *few = tcase_create("few"),
          *plans = tcase_create("plans");
    tcase_add_loop_test(sizes, convolutions_of_all_sizes_are_sums_over_windows, 0, 2);
    tcase_set_timeout(sizes, 1800);
    tcase_add_test(sizes, gradients_with_strides_are_folded_where_they_are_computed);
    tcase_add_test(sizes, what_is_infinite_stays_where_it_belongs);
    tcase_add_loop_test(winograd, every_variant_keeps_its_bound, 0, VARIANTS);
    tcase_add_test(winograd, gradients_of_kernels_keep_their_bound);
    tcase_set_timeout(winograd, 900);
    tcase_add_test(winograd, images_do_not_reach_each_other);
    tcase_add_test(few, minibatches_share_the_kernel_of_a_gradient);
    tcase_add_test(few, reversed_kernels_are_not_copied);
    tcase_add_loop_test(few, vectors_of_each_width_compute_the_same, 0, 3);
    tcase_add_loop_test(plans, a_convolution_with_bias_and_activation_is_one_kernel, 0, VARIANTS);
    tcase_add_test(plans, a_product_runs_behind_cut_axes);
    suite_add_tcase(suite, sizes);
    suite_add_tcase(suite, winograd);
    suite_add_tcase(suite, few);
    suite_add_tcase(suite, plans);
    return run_suite(suite);
}

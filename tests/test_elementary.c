/* Tests the elementary functions in f32 where the op table's samples are too few: against libm in double on bit
 * patterns from the whole range, every exponent and both signs, and exactly at the ends of what f32 can hold. */
#include "op_support.h"

/* An odd step through the 2^32 bit patterns, so that low bits vary, too: 17 million of them. */
enum { STEP = 251, CHUNK = 1 << 20 };

/* The largest error allowed, in units in the last place: of the library's own functions, which CPUs use, and of ops
 * made of the built-in ones, from what OpenCL 1.2 allows these (section 7.4). Where the exact value is below `least`, 0
 * will do: on GPUs denormals may count as 0. */
typedef struct function {
    const char *name;
    cg_tensor (*call)(cg_tensor);
    double (*exact)(double);
    double own_bound, built_in_bound, least;
} function;

static double exact_sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double exact_softplus(double x)
{
    return fmax(x, 0) + log1p(exp(-fabs(x))) + (isnan(x) ? x : 0);
}

/* No built-in op calls it on more than [0, 1]; an op of a user's may. */
static cg_tensor call_log1p(cg_tensor x)
{
    static const cg_op op = {
        .name = "log1p", .kind = CG_OP_MAP, .inputs = 1, .floating = true, .expression = "log1p(a)"};
    return cg_apply(&op, &x, 1, NULL, 0);
}

static const function functions[] = {
    {"exp", cg_exp, exp, 2, 4, 0},
    {"log", cg_log, log, 2, 4, 0},
    {"log1p", call_log1p, log1p, 2, 4, 0},
    {"tanh", cg_tanh, tanh, 3, 6, 0},
    /* e^-x overflows before 1 / e^-x is 0. */
    {"sigmoid", cg_sigmoid, exact_sigmoid, 3, 8, 0x1p-127},
    {"softplus", cg_softplus, exact_softplus, 3, 8, 0},
    {"erf", cg_erf, erf, 2, 16, 0},
};
enum { FUNCTIONS = sizeof functions / sizeof *functions };

/* The distance in units in the last place of the exact value; 0 where both are NaN or round to the same. */
static double units_off(float found, double exact, double least)
{
    const float wanted = (float)exact;
    if (isnan(wanted)) return isnan(found) ? 0 : INFINITY;
    if (found == wanted || (found == 0 && fabs(exact) < least)) return 0;
    if (isnan(found)) return INFINITY;
    /* The exponent's bits, at least those of the least normal number, less the 23 places of the mantissa. */
    uint32_t bits;
    memcpy(&bits, &wanted, sizeof bits);
    const int exponent = (int)(bits >> 23 & 0xFF);
    const double unit = ldexp(1, (exponent > 1 ? exponent : 1) - 127 - 23);
    /* Infinity stands for the number that would follow the largest. */
    return fabs((isinf(found) ? copysign(0x1p128, found) : found) - exact) / unit;
}

/* What is worst so far, and where. */
typedef struct worst {
    double units;
    float x, found;
} worst;

static void look_at(const function *f, const float *x, const float *found, worst *w)
{
    const double least = cg_device(cg)->is_gpu ? 2 * FLT_MIN : f->least;
    for (int i = 0; i < CHUNK; i++) {
        const double units = units_off(found[i], f->exact((double)x[i]), least);
        if (units > w->units) *w = (worst){units, x[i], found[i]};
    }
}

START_TEST(whole_range)
{
    const function *f = &functions[_i];
    float *x = test_memory(CHUNK * sizeof *x), *found = test_memory(CHUNK * sizeof *found);
    worst w = {0};
    for (uint64_t bits = 0; bits < UINT64_C(1) << 32;) {
        for (int i = 0; i < CHUNK; i++, bits += STEP) memcpy(&x[i], &(uint32_t){(uint32_t)bits}, sizeof *x);
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor y = f->call(cg_input(cg, CG_F32, CG_SHAPE(CHUNK), x));
        ck_assert_msg(cg_read(y, found, CHUNK * sizeof *found), "%s", cg_message(cg));
        cg_scope_end(scope);
        look_at(f, x, found, &w);
    }
    const double bound = cg_device(cg)->is_gpu ? f->built_in_bound : f->own_bound;
    ck_assert_msg(w.units <= bound, "%s(%a) is %a, off by %g units", f->name, (double)w.x, (double)w.found, w.units);
}
END_TEST

/* ---- The ends of the range --------------------------------------------------------------------------------------- */

#define F32(...) ARRAY(CG_F32, CG_SHAPE(CG_COUNT(double, __VA_ARGS__)), __VA_ARGS__)

/* -0 and 0 compare equal: their reciprocals do not. */
START_TEST(signs_of_zero)
{
    cg_tensor x = tensor_of(F32(-0.0, 0));
    expect_array(cg_reciprocal(cg_tanh(x)), F32(-INFINITY, INFINITY));
    expect_array(cg_reciprocal(cg_erf(x)), F32(-INFINITY, INFINITY));
    expect_array(cg_exp(x), F32(1, 1));
    expect_array(cg_log(x), F32(-INFINITY, -INFINITY));
    expect_array(cg_sigmoid(x), F32(0.5, 0.5));
}
END_TEST

START_TEST(ends_of_the_range)
{
    cg_tensor x = tensor_of(F32(-INFINITY, -FLT_MAX, -1, FLT_MAX, INFINITY, NAN));
    expect_array(cg_exp(x), F32(0, 0, exp(-1), INFINITY, INFINITY, NAN));
    expect_array(cg_log(x), F32(NAN, NAN, NAN, log(FLT_MAX), INFINITY, NAN));
    expect_array(cg_tanh(x), F32(-1, -1, tanh(-1), 1, 1, NAN));
    expect_array(cg_sigmoid(x), F32(0, 0, exact_sigmoid(-1), 1, 1, NAN));
    expect_array(cg_softplus(x), F32(0, 0, exact_softplus(-1), FLT_MAX, INFINITY, NAN));
    expect_array(cg_erf(x), F32(-1, -1, erf(-1), 1, 1, NAN));
}
END_TEST

/* An element's value does not depend on whether it falls into a vector or is left over. */
START_TEST(vectors_and_scalars_agree)
{
    enum { MANY = 3 * 16 + 15 };
    const function *f = &functions[_i];
    float values[MANY], found[MANY];
    for (int i = 0; i < MANY; i++) values[i] = 0.7f;
    ck_assert(cg_read(f->call(cg_input(cg, CG_F32, CG_SHAPE(MANY), values)), found, sizeof found));
    for (int i = 1; i < MANY; i++) ck_assert_mem_eq(&found[i], &found[0], sizeof *found);
}
END_TEST

/* f64 keeps its precision through the same names. */
START_TEST(f64_is_exact)
{
    if (!has_f64()) return;
    const function *f = &functions[_i];
    array x = ARRAY(CG_F64, CG_SHAPE(3), -0.3, 0.001, 2.7), wanted = array_new(CG_F64, x.shape);
    for (int i = 0; i < 3; i++) wanted.at[i] = f->exact(x.at[i]);
    expect_array(f->call(tensor_of(x)), wanted);
}
END_TEST

/* ---- The suite --------------------------------------------------------------------------------------------------- */

static TCase *elementary_cases(void)
{
    TCase *tests = tcase_create("elementary functions");
    tcase_add_checked_fixture(tests, open_context, close_context);
    tcase_add_loop_test(tests, whole_range, 0, FUNCTIONS);
    tcase_add_test(tests, signs_of_zero);
    tcase_add_test(tests, ends_of_the_range);
    tcase_add_loop_test(tests, vectors_and_scalars_agree, 0, FUNCTIONS);
    tcase_add_loop_test(tests, f64_is_exact, 0, FUNCTIONS);
    return tests;
}

int main(void)
{
    Suite *suite = suite_create("elementary functions");
    suite_add_tcase(suite, elementary_cases());
    return run_suite(suite);
}

/* Elementary functions in f32 for CPUs, free of branches: they stay in vectors where the built-in ones are taken apart
 * into scalar calls. The file is read once per width, with CG_WIDTH empty for scalars, and then once without, which puts
 * its functions in the place of the built-in ones; overloads for f64 pass the argument on to those.
 *
 * Arguments are reduced as Cody and Waite do (Software manual for the elementary functions, 1980): the constant that
 * is taken off n times is split so that its larger part times n is exact, whether or not products and sums are fused.
 * The polynomials are minimax ones: Remez's exchange in 40 digits on the reduced interval, weighted for the relative
 * error of the function, then rounded to f32; the error before rounding is noted with each. Denormals are neither
 * read nor written as 0. Over the whole range, with products and sums fused, errors are below 1 unit in the last
 * place for exp and log, 1.1 for erf, 2.4 for tanh: see tests/test_elementary.c. */

#ifdef CG_WIDTH
#ifndef CG_FLOAT
#define CG_FLOAT CG_JOIN(float, CG_WIDTH)
#define CG_INT CG_JOIN(int, CG_WIDTH)
#define CG_DOUBLE CG_JOIN(double, CG_WIDTH)
#define CG_AS_FLOAT CG_JOIN(as_float, CG_WIDTH)
#define CG_AS_INT CG_JOIN(as_int, CG_WIDTH)
#define CG_TO_FLOAT CG_JOIN(convert_float, CG_WIDTH)
#define CG_OVERLOAD __attribute__((overloadable))
#define CG_ROOT_HALF 0x3F3504F3 /* the bits of sqrt(1/2) */
#endif

/* 2^n of a normal number. */
static CG_FLOAT CG_OVERLOAD cg_power_of_two(CG_INT n)
{
    return CG_AS_FLOAT((n + 127) << 23);
}

static CG_FLOAT CG_OVERLOAD cg_magnitude(CG_FLOAT x)
{
    return CG_AS_FLOAT(CG_AS_INT(x) & 0x7FFFFFFF);
}

static CG_FLOAT CG_OVERLOAD cg_with_sign_of(CG_FLOAT magnitude, CG_FLOAT x)
{
    return CG_AS_FLOAT(CG_AS_INT(magnitude) | (CG_AS_INT(x) & (int)0x80000000));
}

/* x where it is at most `limit`, or NaN. */
static CG_FLOAT CG_OVERLOAD cg_at_most(CG_FLOAT x, float limit)
{
    return x > limit ? (CG_FLOAT)(limit) : x;
}

/* The exponent n and e^r - 1 of x = n log(2) + r, for |x| < 2^14. Adding 1.5 * 2^23 rounds to a whole number, which
 * then is in the low bits. Error of the polynomial: 2^-31.9 of e^r - 1. */
static CG_FLOAT CG_OVERLOAD cg_reduced_expm1(CG_FLOAT x, CG_INT *exponent)
{
    const CG_FLOAT shifted = x * 0x1.715476p+0f + 0x1.8p+23f, n = shifted - 0x1.8p+23f;
    *exponent = CG_AS_INT(shifted) - 0x4B400000;
    const CG_FLOAT r = (x - n * 0x1.63p-1f) - n * -0x1.bd0106p-13f;
    CG_FLOAT p = 0x1.a032d4p-13f;
    p = p * r + 0x1.6d7348p-10f;
    p = p * r + 0x1.11118ap-7f;
    p = p * r + 0x1.5554b0p-5f;
    p = p * r + 0x1.555554p-3f;
    p = p * r + 0x1.000000p-1f;
    return p * (r * r) + r;
}

/* Beyond the limits everything rounds to 0 or to infinity. Two factors reach from the least denormal to infinity, and
 * only the product with the second one rounds. */
static CG_FLOAT CG_OVERLOAD cg_exp(CG_FLOAT x)
{
    CG_INT n;
    const CG_FLOAT limited = cg_at_most(x < -104.0f ? (CG_FLOAT)(-104.0f) : x, 89.0f);
    const CG_FLOAT e = cg_reduced_expm1(limited, &n) + 1.0f;
    const CG_INT half_n = n >> 1;
    return e * cg_power_of_two(half_n) * cg_power_of_two(n - half_n);
}

/* log(2^n (1 + f)) with 1 + f from sqrt(1/2) to sqrt(2). Error of the polynomial: 2^-30.3 of log(1 + f). Taken in pairs
 * its terms wait less for each other. */
static CG_FLOAT CG_OVERLOAD cg_reduced_log(CG_FLOAT n, CG_FLOAT f)
{
    const CG_FLOAT square = f * f;
    CG_FLOAT p = 0x1.1457b2p-4f * square + (0x1.e6f068p-4f - 0x1.de3c18p-4f * f);
    p = p * square + (0x1.233768p-3f - 0x1.fc2206p-4f * f);
    p = p * square + (0x1.99a4b6p-3f - 0x1.555c4ep-3f * f);
    p = p * square + (0x1.555548p-2f - 0x1.000006p-2f * f);
    const CG_FLOAT tail = p * (f * square) - n * 0x1.bd0106p-13f - 0.5f * square;
    return n * 0x1.63p-1f + (f + tail);
}

/* The logarithm of x, which is `finite` between 0 and infinity. */
static CG_FLOAT CG_OVERLOAD cg_log_anywhere(CG_FLOAT x, CG_FLOAT finite)
{
    const CG_FLOAT positive = x < INFINITY ? finite : x;
    return x > 0.0f ? positive : x == 0.0f ? (CG_FLOAT)(-INFINITY) : (CG_FLOAT)(NAN);
}

/* Denormals are first made normal. */
static CG_FLOAT CG_OVERLOAD cg_log(CG_FLOAT x)
{
    const CG_INT denormal = x < 0x1p-126f;
    const CG_INT bits = CG_AS_INT(denormal ? x * 0x1p+25f : x) - CG_ROOT_HALF;
    const CG_INT n = (bits >> 23) - (denormal ? (CG_INT)(25) : (CG_INT)(0));
    const CG_FLOAT f = CG_AS_FLOAT((bits & 0x007FFFFF) + CG_ROOT_HALF) - 1.0f;
    return cg_log_anywhere(x, cg_reduced_log(CG_TO_FLOAT(n), f));
}

/* What 1 + x loses by rounding is put back into f. There is nothing to put back where 2^-n would be too small. */
static CG_FLOAT CG_OVERLOAD cg_log1p(CG_FLOAT x)
{
    const CG_FLOAT sum = 1.0f + x, lost = x - (sum - 1.0f);
    const CG_INT bits = CG_AS_INT(sum) - CG_ROOT_HALF, n = bits >> 23;
    const CG_FLOAT f = CG_AS_FLOAT((bits & 0x007FFFFF) + CG_ROOT_HALF) - 1.0f;
    const CG_FLOAT scale = cg_power_of_two(-(n > 126 ? (CG_INT)(126) : n));
    return cg_log_anywhere(sum, cg_reduced_log(CG_TO_FLOAT(n), f + lost * scale));
}

/* E / (E + 2) with E = e^(2|x|) - 1, which keeps its digits where x is small. 1 from 9.02 on. */
static CG_FLOAT CG_OVERLOAD cg_tanh(CG_FLOAT x)
{
    CG_INT n;
    const CG_FLOAT reduced = cg_reduced_expm1(2.0f * cg_at_most(cg_magnitude(x), 9.1f), &n);
    const CG_FLOAT power = cg_power_of_two(n), e = power * reduced + (power - 1.0f);
    return cg_with_sign_of(e / (e + 2.0f), x);
}

/* A polynomial up to 0.95 (error 2^-30.6), beyond it 1 - e^-q with another one (error 2^-29.5). 1 from 3.93 on. */
static CG_FLOAT CG_OVERLOAD cg_erf(CG_FLOAT x)
{
    CG_INT n;
    const CG_FLOAT size = cg_magnitude(x), square = x * x, a = cg_at_most(size, 3.95f);
    CG_FLOAT p = 0x1.574ec6p-14f;
    p = p * square - 0x1.a88d8ap-11f;
    p = p * square + 0x1.549664p-8f;
    p = p * square - 0x1.b80962p-6f;
    p = p * square + 0x1.ce2dcap-4f;
    p = p * square - 0x1.812742p-2f;
    p = p * square + 0x1.06eba8p-3f;
    CG_FLOAT q = -0x1.938b82p-13f;
    q = q * a + 0x1.8a5580p-9f;
    q = q * a - 0x1.69e22ap-6f;
    q = q * a + 0x1.a882b2p-4f;
    q = q * a + 0x1.4668a4p-1f;
    q = q * a + 0x1.20a232p+0f;
    q = q * a + 0x1.009bfap-12f;
    const CG_FLOAT reduced = cg_reduced_expm1(-q, &n), power = cg_power_of_two(n);
    const CG_FLOAT large = cg_with_sign_of(1.0f - (power * reduced + power), x);
    return size < 0.95f ? x + x * p : large;
}

#ifdef cl_khr_fp64
#define CG_PASS_ON(function)                                \
    static CG_DOUBLE CG_OVERLOAD cg_##function(CG_DOUBLE x) \
    {                                                       \
        return function(x);                                 \
    }
CG_PASS_ON(exp)
CG_PASS_ON(log)
CG_PASS_ON(log1p)
CG_PASS_ON(tanh)
CG_PASS_ON(erf)
#undef CG_PASS_ON
#endif

#else
/* Some runtimes' names are macros themselves. */
#undef exp
#undef log
#undef log1p
#undef tanh
#undef erf
#define exp cg_exp
#define log cg_log
#define log1p cg_log1p
#define tanh cg_tanh
#define erf cg_erf
#endif

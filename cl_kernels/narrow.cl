/* f16 and bf16, which tensors are stored in and nothing is computed in: what turns them into floats and back, to the
 * nearest, ties to even. By their bits, so that a device need not have cl_khr_fp16, and free of branches, so that vectors
 * stay vectors. The file is read once per width, with CG_WIDTH empty for scalars, and then once without. */

#ifndef CG_TO_USHORT_
#define CG_TO_USHORT_(x) (ushort)(x)
#define CG_TO_USHORT_2(x) __builtin_convertvector(x, ushort2)
#define CG_TO_USHORT_4(x) __builtin_convertvector(x, ushort4)
#define CG_TO_USHORT_8(x) __builtin_convertvector(x, ushort8)
#define CG_TO_USHORT_16(x) __builtin_convertvector(x, ushort16)
#endif

#ifdef CG_WIDTH
#define CG_NARROW_UINT CG_JOIN(uint, CG_WIDTH)
#define CG_NARROW_USHORT CG_JOIN(ushort, CG_WIDTH)
#define CG_NARROW_FLOAT CG_JOIN(float, CG_WIDTH)
#define CG_NARROW_AS_UINT CG_JOIN(as_uint, CG_WIDTH)
#define CG_NARROW_AS_FLOAT CG_JOIN(as_float, CG_WIDTH)
#define CG_NARROW_TO_UINT CG_JOIN(convert_uint, CG_WIDTH)
/* The standard's conversion, lane by lane in some implementations, where the compiler has no other. */
#if defined(__has_builtin)
#if __has_builtin(__builtin_convertvector)
#define CG_NARROW_TO_USHORT(x) CG_JOIN(CG_TO_USHORT_, CG_WIDTH)(x)
#endif
#endif
#ifndef CG_NARROW_TO_USHORT
#define CG_NARROW_TO_USHORT CG_JOIN(convert_ushort, CG_WIDTH)
#endif
#define CG_NARROW_TO_FLOAT CG_JOIN(convert_float, CG_WIDTH)

/* Below 2^-14 steps are even; above the largest number are infinity and NaN; between, the exponent's bias differs. */
static CG_NARROW_FLOAT CG_JOIN(cg_f16_load_, CG_WIDTH)(CG_NARROW_USHORT x)
{
    const CG_NARROW_UINT bits = CG_NARROW_TO_UINT(x), magnitude = bits & 0x7FFFu;
    const CG_NARROW_UINT normal = (magnitude << 13) + 0x38000000u;
    const CG_NARROW_UINT special = (magnitude << 13) | 0x7F800000u;
    const CG_NARROW_UINT small = CG_NARROW_AS_UINT(CG_NARROW_TO_FLOAT(magnitude) * 0x1p-24f);
    const CG_NARROW_UINT found = magnitude < 0x400u ? small : magnitude >= 0x7C00u ? special : normal;
    return CG_NARROW_AS_FLOAT(found | ((bits & 0x8000u) << 16));
}

/* Adding 1/2 rounds a small number to a multiple of 2^-24, its low bits. What rounds to 2^16 is infinity. */
static CG_NARROW_USHORT CG_JOIN(cg_f16_store_, CG_WIDTH)(CG_NARROW_FLOAT x)
{
    const CG_NARROW_UINT bits = CG_NARROW_AS_UINT(x), magnitude = bits & 0x7FFFFFFFu;
    const CG_NARROW_UINT normal = (magnitude + 0xFFFu + ((magnitude >> 13) & 1u) - 0x38000000u) >> 13;
    const CG_NARROW_UINT small = CG_NARROW_AS_UINT(CG_NARROW_AS_FLOAT(magnitude) + 0.5f) - 0x3F000000u;
    const CG_NARROW_UINT large = magnitude > 0x7F800000u ? (CG_NARROW_UINT)(0x7E00u) : (CG_NARROW_UINT)(0x7C00u);
    const CG_NARROW_UINT found = magnitude < 0x38800000u ? small : magnitude >= 0x477FF000u ? large : normal;
    return CG_NARROW_TO_USHORT(found | ((bits >> 16) & 0x8000u));
}

/* The upper half of a float. */
static CG_NARROW_FLOAT CG_JOIN(cg_bf16_load_, CG_WIDTH)(CG_NARROW_USHORT x)
{
    return CG_NARROW_AS_FLOAT(CG_NARROW_TO_UINT(x) << 16);
}

static CG_NARROW_USHORT CG_JOIN(cg_bf16_store_, CG_WIDTH)(CG_NARROW_FLOAT x)
{
    const CG_NARROW_UINT bits = CG_NARROW_AS_UINT(x), rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
    const CG_NARROW_UINT not_a_number = (bits >> 16) | 0x40u;
    return CG_NARROW_TO_USHORT((bits & 0x7FFFFFFFu) > 0x7F800000u ? not_a_number : rounded);
}

static CG_NARROW_FLOAT CG_JOIN(cg_f16_round_, CG_WIDTH)(CG_NARROW_FLOAT x)
{
    return CG_JOIN(cg_f16_load_, CG_WIDTH)(CG_JOIN(cg_f16_store_, CG_WIDTH)(x));
}

static CG_NARROW_FLOAT CG_JOIN(cg_bf16_round_, CG_WIDTH)(CG_NARROW_FLOAT x)
{
    return CG_JOIN(cg_bf16_load_, CG_WIDTH)(CG_JOIN(cg_bf16_store_, CG_WIDTH)(x));
}

#undef CG_NARROW_UINT
#undef CG_NARROW_USHORT
#undef CG_NARROW_FLOAT
#undef CG_NARROW_AS_UINT
#undef CG_NARROW_AS_FLOAT
#undef CG_NARROW_TO_UINT
#undef CG_NARROW_TO_USHORT
#undef CG_NARROW_TO_FLOAT
#elif CG_LANES > 1
CG_TRANSPOSE(cg_transpose_ushort, CG_VECTOR(ushort), CG_LANES)
#endif

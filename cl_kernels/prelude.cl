/* What generated kernels may use: choosing, reporting bad indices, and random numbers, for scalars and vectors alike.
 * CG_LANES is the vector width of this device's kernels, 1 where they are scalar; CG_HALF_LANES half of it. */

#define SELECT(condition, yes, no) ((condition) ? (yes) : (no))

/* Asks memory for what is at an address, for the second-level cache or for the nearest; or for the nearest and to be
 * written, which takes it from the other cores where the processor has an instruction for that. The standard's prefetch
 * does nothing in some implementations. */
#if defined(__clang__)
#define CG_FETCH(p) __builtin_prefetch(p, 0, 2)
#define CG_FETCH_NEAR(p) __builtin_prefetch(p, 0, 3)
#define CG_FETCH_TO_WRITE(p) __builtin_prefetch(p, 1, 3)
#else
#define CG_FETCH(p) prefetch(p, 1)
#define CG_FETCH_NEAR(p) prefetch(p, 1)
#define CG_FETCH_TO_WRITE(p) prefetch(p, 1)
#endif

/* The first report of a run wins: the words are flag, code, index, bound. Losing writers change nothing. */
static void cg_report_index(volatile __global int *status, int code, int index, int bound)
{
    if (atomic_cmpxchg(status, 0, 1) != 0) return;
    status[1] = code;
    status[2] = index;
    status[3] = bound;
}

static int cg_index_check(volatile __global int *status, int code, int index, int bound)
{
    if (index >= 0 && index < bound) return index;
    cg_report_index(status, code, index, bound);
    return 0;
}

/* Philox 4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3; SC 2011). The counter is
 * (block, call number, 0), the key the seed. The result is the word of the block that `word` names. */
#define CG_PHILOX(NAME, UINT, INT, FLOAT, AS_INT, TO_FLOAT, TO_ULONG, TO_UINT)                                         \
    static void NAME##_block(UINT x[4], uint key_low, uint key_high)                                                   \
    {                                                                                                                  \
        for (int round = 0; round < 10; round++) {                                                                     \
            const UINT low0 = x[0] * 0xD2511F53u, high0 = TO_UINT(TO_ULONG(x[0]) * 0xD2511F53ul >> 32ul);              \
            const UINT low1 = x[2] * 0xCD9E8D57u, high1 = TO_UINT(TO_ULONG(x[2]) * 0xCD9E8D57ul >> 32ul);              \
            x[0] = high1 ^ x[1] ^ key_low;                                                                             \
            x[2] = high0 ^ x[3] ^ key_high;                                                                            \
            x[1] = low1;                                                                                               \
            x[3] = low0;                                                                                               \
            key_low += 0x9E3779B9u;                                                                                    \
            key_high += 0xBB67AE85u;                                                                                   \
        }                                                                                                              \
    }                                                                                                                  \
    static INT NAME##_bits(UINT position, uint seed_low, uint seed_high, uint number_low, uint number_high)            \
    {                                                                                                                  \
        UINT x[4] = {position >> 2, (UINT)(number_low), (UINT)(number_high), (UINT)(0u)};                              \
        NAME##_block(x, seed_low, seed_high);                                                                          \
        const UINT word = position & 3u;                                                                               \
        return AS_INT(SELECT(word == 0u, x[0], SELECT(word == 1u, x[1], SELECT(word == 2u, x[2], x[3]))));             \
    }                                                                                                                  \
    /* Box and Muller: two uniforms, the first from (0, 1]. */                                                         \
    static FLOAT NAME##_normal(UINT position, uint seed_low, uint seed_high, uint number_low, uint number_high)        \
    {                                                                                                                  \
        UINT x[4] = {position, (UINT)(number_low), (UINT)(number_high), (UINT)(1u)};                                   \
        NAME##_block(x, seed_low, seed_high);                                                                          \
        const FLOAT u = (TO_FLOAT(x[0] >> 8) + 1.0f) * 0x1p-24f, v = TO_FLOAT(x[1] >> 8) * 0x1p-24f;                   \
        return sqrt(-2.0f * log(u)) * cospi(2.0f * v);                                                                 \
    }

#define CG_JOIN_NAMES(a, b) a##b
#define CG_JOIN(a, b) CG_JOIN_NAMES(a, b)

/* (0, 1, 2, ...), as many as a vector of that type has lanes. */
#define CG_LANE_NUMBERS(TYPE, LANES) ((CG_JOIN(TYPE, LANES))(CG_JOIN(CG_FIRST_, LANES)))
#define CG_FIRST_4 0, 1, 2, 3
#define CG_FIRST_8 CG_FIRST_4, 4, 5, 6, 7
#define CG_FIRST_16 CG_FIRST_8, 8, 9, 10, 11, 12, 13, 14, 15

#if defined(__clang__)
/* PoCL's vload and vstore are of single elements, which its compiler takes long to join again: these are one access and
 * take their place. They are functions because clang makes whole 512-bit vectors only where a vector is passed to, or
 * returned by, a function or one that is inlined into it: elsewhere it halves them, and the sums of a matrix product's
 * tile no longer fit the registers. */
#define CG_LOADS_FROM(SPACE, TYPE, LANES)                                                                              \
    __attribute__((overloadable, always_inline)) static TYPE##LANES cg_load##LANES(size_t i, SPACE const TYPE *from)   \
    {                                                                                                                  \
        return *(SPACE const cg_anywhere_##TYPE##LANES *)(from + i * LANES);                                           \
    }
#define CG_STORES_TO(SPACE, TYPE, LANES)                                                                               \
    __attribute__((overloadable, always_inline)) static void cg_store##LANES(TYPE##LANES x, size_t i, SPACE TYPE *to)  \
    {                                                                                                                  \
        *(SPACE cg_anywhere_##TYPE##LANES *)(to + i * LANES) = x;                                                      \
    }
#define CG_ACCESS_OF(TYPE, LANES)                                                                                      \
    typedef TYPE##LANES cg_anywhere_##TYPE##LANES __attribute__((aligned(sizeof(TYPE))));                              \
    CG_LOADS_FROM(__constant, TYPE, LANES)                                                                             \
    CG_LOADS_FROM(__global, TYPE, LANES)                                                                               \
    CG_LOADS_FROM(__local, TYPE, LANES)                                                                                \
    CG_LOADS_FROM(__private, TYPE, LANES)                                                                              \
    CG_STORES_TO(__global, TYPE, LANES)                                                                                \
    CG_STORES_TO(__local, TYPE, LANES)                                                                                 \
    CG_STORES_TO(__private, TYPE, LANES)
#define CG_ACCESS(TYPE)                                                                                                \
    CG_ACCESS_OF(TYPE, 2) CG_ACCESS_OF(TYPE, 4) CG_ACCESS_OF(TYPE, 8) CG_ACCESS_OF(TYPE, 16)
CG_ACCESS(char)
CG_ACCESS(uchar)
CG_ACCESS(short)
CG_ACCESS(ushort)
CG_ACCESS(int)
CG_ACCESS(uint)
CG_ACCESS(long)
CG_ACCESS(ulong)
CG_ACCESS(float)
#ifdef cl_khr_fp64
CG_ACCESS(double)
#endif
/* PoCL renames the functions by macros, of the names without a number too, which CG_JOIN makes names from. */
#undef vload
#undef vstore
#undef vload2
#undef vload4
#undef vload8
#undef vload16
#undef vstore2
#undef vstore4
#undef vstore8
#undef vstore16
#define vload2 cg_load2
#define vload4 cg_load4
#define vload8 cg_load8
#define vload16 cg_load16
#define vstore2 cg_store2
#define vstore4 cg_store4
#define vstore8 cg_store8
#define vstore16 cg_store16

#define CG_LOW_2 0, 2
#define CG_LOW_4 0, 4, 1, 5
#define CG_LOW_8 0, 8, 1, 9, 2, 10, 3, 11
#define CG_LOW_16 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define CG_HIGH_2 1, 3
#define CG_HIGH_4 2, 6, 3, 7
#define CG_HIGH_8 4, 12, 5, 13, 6, 14, 7, 15
#define CG_HIGH_16 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define CG_INTERLEAVE(LANES, low, high, x, y)                                                                          \
    low = __builtin_shufflevector(x, y, CG_JOIN(CG_LOW_, LANES)),                                                      \
    high = __builtin_shufflevector(x, y, CG_JOIN(CG_HIGH_, LANES))
#else
#define CG_INTERLEAVE(LANES, low, high, x, y)                                                                          \
    low.even = x.lo, low.odd = y.lo, high.even = x.hi, high.odd = y.hi
#endif

/* x := its transpose. Interleaving the upper half of the rows with the lower moves the top bit of the row number below
 * the column number; doing so for every bit exchanges the two. */
#define CG_TRANSPOSE(NAME, VECTOR, LANES)                                                                              \
    static void NAME(VECTOR x[LANES])                                                                                  \
    {                                                                                                                  \
        _Pragma("unroll") for (int bit = 1; bit < LANES; bit *= 2)                                                     \
        {                                                                                                              \
            VECTOR y[LANES];                                                                                           \
            _Pragma("unroll") for (int i = 0; i < LANES / 2; i++)                                                      \
                CG_INTERLEAVE(LANES, y[2 * i], y[2 * i + 1], x[i], x[i + LANES / 2]);                                  \
            _Pragma("unroll") for (int i = 0; i < LANES; i++) x[i] = y[i];                                             \
        }                                                                                                              \
    }

CG_PHILOX(cg_philox, uint, int, float, as_int, convert_float, convert_ulong, convert_uint)
#define PHILOX_BITS(p, s, t, n, m) cg_philox_bits((uint)(p), (uint)(s), (uint)(t), (uint)(n), (uint)(m))
#define PHILOX_NORMAL(p, s, t, n, m) cg_philox_normal((uint)(p), (uint)(s), (uint)(t), (uint)(n), (uint)(m))
#if CG_LANES > 1
#define CG_VECTOR(type) CG_JOIN(type, CG_LANES)
CG_PHILOX(cg_philox_vector, CG_VECTOR(uint), CG_VECTOR(int), CG_VECTOR(float), CG_JOIN(as_int, CG_LANES),
          CG_JOIN(convert_float, CG_LANES), CG_JOIN(convert_ulong, CG_LANES), CG_JOIN(convert_uint, CG_LANES))
#define CG_AS_UINT CG_JOIN(as_uint, CG_LANES)
/* Where the lanes are consecutive positions from a multiple of four, each block is made once for the four of them. */
#if CG_LANES == 4
#define CG_QUARTER(type) type
#define CG_QUARTER_NUMBERS 0
#elif CG_LANES == 8
#define CG_QUARTER(type) CG_JOIN(type, 2)
#define CG_QUARTER_NUMBERS (uint2)(0, 1)
#else
#define CG_QUARTER(type) CG_JOIN(type, 4)
#define CG_QUARTER_NUMBERS (uint4)(0, 1, 2, 3)
#endif
#define CG_HALF(type) CG_JOIN(type, CG_HALF_LANES)
CG_PHILOX(cg_philox_quarter, CG_QUARTER(uint), CG_QUARTER(int), CG_QUARTER(float), CG_QUARTER(as_int),
          CG_QUARTER(convert_float), CG_QUARTER(convert_ulong), CG_QUARTER(convert_uint))
static CG_VECTOR(int) cg_philox_bits_of(CG_VECTOR(uint) position, uint seed_low, uint seed_high, uint number_low,
                                        uint number_high)
{
    const uint first = position.s0;
    if ((first & 3u) != 0u || any(position != first + CG_AS_UINT(CG_JOIN(CG_LANE_NUMBERS_, CG_LANES))))
        return cg_philox_vector_bits(position, seed_low, seed_high, number_low, number_high);
    CG_QUARTER(uint) x[4] = {(first >> 2) + CG_QUARTER_NUMBERS, (CG_QUARTER(uint))(number_low),
                             (CG_QUARTER(uint))(number_high), (CG_QUARTER(uint))(0u)};
    CG_HALF(uint) even, odd;
    CG_VECTOR(uint) words;
    cg_philox_quarter_block(x, seed_low, seed_high);
    even.even = x[0];
    odd.even = x[1];
    even.odd = x[2];
    odd.odd = x[3];
    words.even = even;
    words.odd = odd;
    return CG_JOIN(as_int, CG_LANES)(words);
}
#define PHILOX_BITS_VECTOR(p, s, t, n, m)                                                                              \
    cg_philox_bits_of(CG_AS_UINT(p), (uint)(s).s0, (uint)(t).s0, (uint)(n).s0, (uint)(m).s0)
#define PHILOX_NORMAL_VECTOR(p, s, t, n, m)                                                                            \
    cg_philox_vector_normal(CG_AS_UINT(p), (uint)(s).s0, (uint)(t).s0, (uint)(n).s0, (uint)(m).s0)

CG_TRANSPOSE(cg_transpose_float, CG_VECTOR(float), CG_LANES)
CG_TRANSPOSE(cg_transpose_int, CG_VECTOR(int), CG_LANES)
CG_TRANSPOSE(cg_transpose_uchar, CG_VECTOR(uchar), CG_LANES)

/* Stores of results that are larger than the caches: past them, so that memory need not be read before it is written.
 * Where the compiler has no such store, or the vector is not aligned, plain ones. The fence orders them with whatever
 * tells that the kernel has ended. */
#if defined(__has_builtin)
#if __has_builtin(__builtin_nontemporal_store)
#define CG_STREAMS 1
#endif
#endif
#ifdef CG_STREAMS
#define CG_STREAM_IF_ALIGNED(type, value, to)                                                                          \
    if (((ulong)(to) & (sizeof(value) - 1)) == 0)                                                                      \
        __builtin_nontemporal_store(value, (__global CG_VECTOR(type) *)(to));                                          \
    else
#else
#define CG_STREAM_IF_ALIGNED(type, value, to)
#endif
#define CG_STREAM(type)                                                                                                \
    static void CG_JOIN(cg_stream_, type)(CG_VECTOR(type) value, __global type * to)                                   \
    {                                                                                                                  \
        CG_STREAM_IF_ALIGNED(type, value, to) CG_JOIN(vstore, CG_LANES)(value, 0, to);                                 \
    }
CG_STREAM(float)
CG_STREAM(int)
#if defined(CG_STREAMS) && defined(__SSE__)
#define CG_STREAM_FENCE() __builtin_ia32_sfence()
#else
#define CG_STREAM_FENCE() mem_fence(CLK_GLOBAL_MEM_FENCE)
#endif
#endif

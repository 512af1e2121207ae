/*
 * What the other headers are written with: the mark of an exported function, C linkage, and the macros behind optional
 * arguments and lists, which must mean the same in C11 and in C++20.
 */
#ifndef CLGRAD_API_H
#define CLGRAD_API_H

/* Everything is compiled with hidden visibility: a function without this mark stays inside the library. */
#if defined(__GNUC__)
#define CG_API __attribute__((visibility("default")))
#define CG_FORMAT(text, first) __attribute__((format(printf, text, first)))
#else
#define CG_API
#define CG_FORMAT(text, first)
#endif

/* In an option whose default is not zero: a true zero. It is the smallest normal double, so that a program that flushes
 * denormals sees it too; the functions compare with it. */
#define CG_ZERO 2.2250738585072014e-308

/* Reads such an option: the number given; `otherwise` where it was left out, 0 where CG_ZERO asks for that. */
static inline double cg_number_or(double given, double otherwise)
{
    if (given == CG_ZERO) return 0;
    return given == 0 ? otherwise : given;
}

/*
 * CG_LITERAL(type, ...): a value of a struct type from its initialisers.
 * CG_COUNT(type, ...): how many values of `type` the list holds.
 * CG_OPTIONS(type, ...): the address of an options struct with the fields named, the others zero. It lives until the
 * end of the full expression in C++, of the block in C. Every such struct begins with `char unset_`, so that the list
 * is never empty, which C11 does not allow. A function that takes such an address takes NULL too: every default.
 * (clang-format would take the braces in the macros for blocks.)
 */
/* clang-format off */
#ifdef __cplusplus

#define CG_BEGIN extern "C" {
#define CG_END }
#define CG_LITERAL(type, ...) type{__VA_ARGS__}
#define CG_COUNT(type, ...) cg_count_of_<type>({__VA_ARGS__})
/* C++ compilers warn of fields that a designated list leaves out, which is the point of it. */
#define CG_OPTIONS(type, ...) \
    cg_address_of_([&]() -> type { \
        _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wmissing-field-initializers\"") \
        return type{.unset_ = 0, __VA_ARGS__}; \
        _Pragma("GCC diagnostic pop") \
    }())

template <class type, int count> constexpr int cg_count_of_(const type (&)[count]) { return count; }
template <class type> const type *cg_address_of_(const type &value) { return &value; }

#else

#define CG_BEGIN
#define CG_END
#define CG_LITERAL(type, ...) (type){__VA_ARGS__}
#define CG_COUNT(type, ...) ((int)(sizeof((type[]){__VA_ARGS__}) / sizeof(type)))
#define CG_OPTIONS(type, ...) (&(const type){.unset_ = 0, __VA_ARGS__})

#endif
/* clang-format on */

#endif

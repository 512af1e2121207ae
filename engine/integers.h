/* Arithmetic on extents and counts that several files of engine/ do. It touches nothing. */
#ifndef CLGRAD_ENGINE_INTEGERS_H
#define CLGRAD_ENGINE_INTEGERS_H

#include <stdint.h>

static inline int64_t cg_smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t cg_larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* a / b, rounded up, for a >= 0 and b > 0. */
static inline int64_t cg_divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* The largest of the fewest parts of at most so many, as even as they can be. */
static inline int64_t cg_even_part(int64_t whole, int64_t most)
{
    return cg_divide_up(whole, cg_divide_up(whole, most));
}

/* Of two positive numbers. */
static inline int64_t cg_greatest_divisor(int64_t a, int64_t b)
{
    while (b) {
        const int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

#endif

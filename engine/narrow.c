/* Reads f16 and bf16 on the host. */
#include "engine/narrow.h"

#include <math.h>
#include <string.h>

static double from_f16(uint16_t bits)
{
    const int exponent = bits >> 10 & 0x1F, fraction = bits & 0x3FF;
    const double sign = bits >> 15 ? -1 : 1;
    if (exponent == 0x1F) return fraction ? NAN : sign * INFINITY;
    return sign * ldexp(exponent ? 0x400 + fraction : fraction, (exponent ? exponent : 1) - 25);
}

static double from_bf16(uint16_t bits)
{
    const uint32_t word = (uint32_t)bits << 16;
    float number;
    memcpy(&number, &word, sizeof number);
    return (double)number;
}

double cg_narrow_number(cg_dtype dtype, uint16_t bits)
{
    return dtype == CG_F16 ? from_f16(bits) : from_bf16(bits);
}

/* What the engine hashes with: the mixing step, a multiplication whose halves are folded together, and texts. */
#ifndef CLGRAD_ENGINE_HASH_H
#define CLGRAD_ENGINE_HASH_H

#include <stdint.h>

static inline uint64_t cg_mix(uint64_t hash, uint64_t value)
{
    const unsigned __int128 product = (unsigned __int128)(hash ^ value) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Of a text, byte by byte; another seed makes another hash. */
static inline uint64_t cg_hash_text(const char *text, uint64_t seed)
{
    uint64_t hash = seed;
    for (; *text; text++) hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    return hash ^ hash >> 29;
}

#endif

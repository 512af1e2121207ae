/* The mixing step of the engine's hashes: a multiplication whose halves are folded together. */
#ifndef CLGRAD_ENGINE_HASH_H
#define CLGRAD_ENGINE_HASH_H

#include <stdint.h>

static inline uint64_t cg_mix(uint64_t hash, uint64_t value)
{
    const unsigned __int128 product = (unsigned __int128)(hash ^ value) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

#endif

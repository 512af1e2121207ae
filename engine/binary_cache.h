/* Built programs on disk, for the next process. The folder is $XDG_CACHE_HOME/clgrad or ~/.cache/clgrad, or the one
 * that CLGRAD_CACHE names; PoCL has a cache of its own, and is cached here only where a folder is named. The cache
 * costs no program its result: a folder that cannot be written, or a file that cannot be used, is as if it were not
 * there. */
#ifndef CLGRAD_ENGINE_BINARY_CACHE_H
#define CLGRAD_ENGINE_BINARY_CACHE_H

#include "engine/context.h"

/* Bytes of all files together; beyond, those that were not used for longest are removed. */
#define CG_BINARY_CACHE_BYTES (INT64_C(256) << 20)

/* Once the context has its device. False after reporting: CLGRAD_CACHE says nothing known, or no host memory. */
bool cg_binary_cache_open(cg_context *cg);
void cg_binary_cache_close(cg_context *cg);

/* The program of this source, built with these options, or NULL if the cache has none that can be used. Both functions
 * are false only after reporting that there is no host memory. */
bool cg_binary_load(cg_context *cg, const char *source, const char *options, cl_program *program);
bool cg_binary_store(cg_context *cg, const char *source, const char *options, cl_program program);

#endif

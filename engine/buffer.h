/* Device memory for values that outlive a plan: ranges of a few pools, best fit, counted by reference. A freed range
 * may be reused at once: the queue is in order, so later commands come after those that still read it. */
#ifndef CLGRAD_ENGINE_BUFFER_H
#define CLGRAD_ENGINE_BUFFER_H

#include "engine/context.h"

struct cg_buffer {
    cg_pool *pool;  /* NULL: a program's own memory, which is never written */
    cl_mem memory;  /* the pool's */
    int64_t offset; /* bytes from the pool's start, a multiple of the context's memory_alignment */
    int64_t bytes;
    int references;
    cg_buffer *next_free;
};

/* A range of at least `bytes` (0 allowed). NULL after reporting what was asked for and the limit. */
cg_buffer *cg_buffer_new(cg_context *cg, int64_t bytes);
/* What a buffer of so many bytes takes of its pool. */
int64_t cg_buffer_bytes(const cg_context *cg, int64_t bytes);
/* A program's memory as a buffer, which takes over one reference to the object; the caller keeps it on failure. */
cg_buffer *cg_buffer_wrap(cg_context *cg, cl_mem memory, int64_t offset, int64_t bytes);
void cg_buffer_retain(cg_buffer *buffer);
void cg_buffer_release(cg_context *cg, cg_buffer *buffer);

/* Makes the arena, where plans keep temporaries, at least `bytes` large. False after reporting. */
bool cg_arena_reserve(cg_context *cg, int64_t bytes);

/* Memory beside pools and arena, holding `data`: tables of plans. It counts as theirs does. NULL after reporting. */
cl_mem cg_table_new(cg_context *cg, int64_t bytes, const void *data);
void cg_table_free(cg_context *cg, cl_mem table, int64_t bytes);

void cg_buffers_close(cg_context *cg);

#endif

/* Pools of device memory, their free ranges, and the arena. Knows nothing of plans or nodes. */
#include "engine/buffer.h"
#include "engine/queue.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

/* A new pool is this part of those that are there, within these bounds: few pools, and little that lies idle. What
 * would fill more than half of it has one of its own size. */
enum { POOL_SHARE = 10, LEAST_POOL_BYTES = 512 << 10, MOST_POOL_BYTES = 32 << 20, LARGE_PAGE = 2 << 20 };

/* A free range of a pool, in order of offset; adjacent ranges are merged. */
typedef struct range {
    int64_t offset, bytes;
} range;

struct cg_pool {
    cl_mem memory;
    int64_t bytes;
    range *free;
    int free_count, free_capacity;
    cg_pool *next;
};

static int64_t round_up(int64_t bytes, int64_t to)
{
    return (bytes + to - 1) / to * to;
}

static bool out_of_memory(cg_context *cg, int64_t bytes)
{
    return cg_fail(cg, CG_ERROR_MEMORY,
                   "out of device memory: %lld bytes are needed, %lld of the limit of %lld are held (%lld in use)",
                   (long long)bytes, (long long)cg->device_bytes, (long long)cg->info.memory_limit,
                   (long long)cg->counters.used_bytes);
}

static void count_device_bytes(cg_context *cg, int64_t change)
{
    cg->device_bytes += change;
    if (cg->device_bytes > cg->counters.device_bytes_peak) cg->counters.device_bytes_peak = cg->device_bytes;
}

static cl_mem create(cg_context *cg, cl_mem_flags flags, int64_t bytes, void *data)
{
    cl_int status = CL_SUCCESS;
    cl_mem memory = CL_NEW(cg, &status, clCreateBuffer, cg->cl, flags, (size_t)bytes, data);
    if (memory) return memory;
    if (status == CL_MEM_OBJECT_ALLOCATION_FAILURE || status == CL_INVALID_BUFFER_SIZE)
        out_of_memory(cg, bytes);
    else
        cg_fail_cl(cg, "clCreateBuffer", status);
    return NULL;
}

/* A CPU's memory in pages of 2 MiB, where the system has them on request, before anything touches it: reading and
 * writing long tensors otherwise waits for the translation of addresses. The system may do without, and so may we:
 * memory that cannot be mapped is as good. */
static bool prefer_large_pages(cg_context *cg, cl_mem memory, int64_t bytes)
{
#ifdef MADV_HUGEPAGE
    if (cg->info.is_gpu || bytes < LARGE_PAGE) return true;
    cl_int status = CL_SUCCESS;
    void *mapped = CL_NEW(cg, &status, clEnqueueMapBuffer, cg->queue, memory, CL_TRUE, CL_MAP_WRITE_INVALIDATE_REGION,
                          0, (size_t)bytes, 0, NULL, NULL);
    if (!mapped) return true;
    const uintptr_t begin = ((uintptr_t)mapped + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE,
                    end = ((uintptr_t)mapped + (uintptr_t)bytes) / LARGE_PAGE * LARGE_PAGE;
    if (begin < end) (void)madvise((char *)mapped + (begin - (uintptr_t)mapped), end - begin, MADV_HUGEPAGE);
    status = CL(cg, clEnqueueUnmapMemObject, cg->queue, memory, mapped, CG_BEHIND_ALL(cg), NULL);
    if (status != CL_SUCCESS) return cg_fail_cl(cg, "clEnqueueUnmapMemObject", status);
    cg_enqueued(cg);
#endif
    return true;
}

/* Allocates and touches: a driver that allocates lazily must fail here, not in the middle of a plan. */
static cl_mem allocate(cg_context *cg, int64_t bytes)
{
    cl_int status = CL_SUCCESS;
    cl_mem memory = create(cg, CL_MEM_READ_WRITE, bytes, NULL);
    if (!memory) return NULL;
    if (!prefer_large_pages(cg, memory, bytes)) {
        clReleaseMemObject(memory);
        return NULL;
    }
    const cl_uchar zero = 0;
    status = CL(cg, clEnqueueFillBuffer, cg->queue, memory, &zero, 1, 0, (size_t)bytes, CG_BEHIND_ALL(cg), NULL);
    if (status != CL_SUCCESS) {
        cg_fail_cl(cg, "clEnqueueFillBuffer", status);
        clReleaseMemObject(memory);
        return NULL;
    }
    cg_enqueued(cg);
    count_device_bytes(cg, bytes);
    return memory;
}

static void release(cg_context *cg, cl_mem memory, int64_t bytes)
{
    clReleaseMemObject(memory);
    count_device_bytes(cg, -bytes);
    cg->memory_releases++;
}

static bool is_empty(const cg_pool *pool)
{
    return pool->free_count == 1 && pool->free[0].bytes == pool->bytes;
}

static void pool_free(cg_context *cg, cg_pool *pool)
{
    release(cg, pool->memory, pool->bytes);
    cg_host_free(cg, pool->free);
    cg_host_free(cg, pool);
}

static void release_empty_pools(cg_context *cg)
{
    for (cg_pool **at = &cg->pools; *at;) {
        cg_pool *pool = *at;
        if (!is_empty(pool)) {
            at = &pool->next;
            continue;
        }
        *at = pool->next;
        pool_free(cg, pool);
    }
}

static int64_t room_left(const cg_context *cg)
{
    return cg->info.memory_limit - cg->device_bytes;
}

/* Where memory is short, a pool leaves most of it to the arena and to other pools. */
static int64_t pool_bytes(const cg_context *cg, int64_t needed)
{
    int64_t bytes = (cg->device_bytes - cg->arena_bytes) / POOL_SHARE;
    if (bytes < LEAST_POOL_BYTES) bytes = LEAST_POOL_BYTES;
    if (bytes > MOST_POOL_BYTES) bytes = MOST_POOL_BYTES;
    if (bytes > room_left(cg) / 4) bytes = room_left(cg) / 4;
    if (bytes > cg->info.largest_allocation) bytes = cg->info.largest_allocation;
    bytes = bytes / cg->memory_alignment * cg->memory_alignment;
    return bytes / 2 < needed ? needed : bytes;
}

static cg_pool *pool_new(cg_context *cg, int64_t needed)
{
    if (needed > room_left(cg)) release_empty_pools(cg);
    const int64_t bytes = pool_bytes(cg, needed);
    if (bytes > room_left(cg) || bytes > cg->info.largest_allocation) {
        out_of_memory(cg, needed);
        return NULL;
    }
    cg_pool *pool = cg_host_allocate(cg, sizeof *pool);
    if (!pool || !CG_GROW(cg, pool->free, pool->free_capacity, 16) || !(pool->memory = allocate(cg, bytes))) {
        if (pool) cg_host_free(cg, pool->free);
        cg_host_free(cg, pool);
        return NULL;
    }
    pool->bytes = bytes;
    pool->free[0] = (range){0, bytes};
    pool->free_count = 1;
    pool->next = cg->pools;
    cg->pools = pool;
    return pool;
}

/* The smallest free range of any pool that is large enough. */
static cg_pool *best_fit(cg_context *cg, int64_t bytes, int *index)
{
    cg_pool *best = NULL;
    int64_t least = INT64_MAX;
    for (cg_pool *pool = cg->pools; pool; pool = pool->next)
        for (int i = 0; i < pool->free_count; i++)
            if (pool->free[i].bytes >= bytes && pool->free[i].bytes < least) {
                best = pool;
                least = pool->free[i].bytes;
                *index = i;
            }
    return best;
}

static int64_t take(cg_pool *pool, int index, int64_t bytes)
{
    range *r = &pool->free[index];
    const int64_t offset = r->offset;
    r->offset += bytes;
    r->bytes -= bytes;
    if (r->bytes == 0) {
        memmove(r, r + 1, (size_t)(pool->free_count - index - 1) * sizeof *r);
        pool->free_count--;
    }
    return offset;
}

int64_t cg_buffer_bytes(const cg_context *cg, int64_t bytes)
{
    return round_up(bytes > 0 ? bytes : 1, cg->memory_alignment);
}

static cg_buffer *record_new(cg_context *cg)
{
    cg_buffer *buffer = cg->free_buffers;
    if (!buffer) return cg_host_allocate(cg, sizeof *buffer);
    cg->free_buffers = buffer->next_free;
    return buffer;
}

cg_buffer *cg_buffer_new(cg_context *cg, int64_t bytes)
{
    int index = 0;
    const int64_t rounded = cg_buffer_bytes(cg, bytes);
    cg_pool *pool = best_fit(cg, rounded, &index);
    if (!pool) {
        pool = pool_new(cg, rounded);
        index = 0;
    }
    if (!pool) return NULL;
    cg_buffer *buffer = record_new(cg);
    /* Room to give the range back is made now, since giving back must not fail. */
    if (!buffer || !CG_GROW(cg, pool->free, pool->free_capacity, pool->free_count + 2 + (int)cg->counters.buffers)) {
        cg_host_free(cg, buffer);
        return NULL;
    }
    *buffer = (cg_buffer){.pool = pool, .memory = pool->memory, .bytes = rounded, .references = 1};
    buffer->offset = take(pool, index, rounded);
    cg->counters.buffers++;
    cg->counters.used_bytes += rounded;
    return buffer;
}

cg_buffer *cg_buffer_wrap(cg_context *cg, cl_mem memory, int64_t offset, int64_t bytes)
{
    cg_buffer *buffer = record_new(cg);
    if (!buffer) return NULL;
    *buffer = (cg_buffer){.memory = memory, .offset = offset, .bytes = bytes, .references = 1};
    cg->counters.buffers++;
    return buffer;
}

void cg_buffer_retain(cg_buffer *buffer)
{
    buffer->references++;
}

static void give_back(cg_pool *pool, int64_t offset, int64_t bytes)
{
    int i = 0;
    while (i < pool->free_count && pool->free[i].offset < offset) i++;
    const bool joins_previous = i > 0 && pool->free[i - 1].offset + pool->free[i - 1].bytes == offset;
    const bool joins_next = i < pool->free_count && offset + bytes == pool->free[i].offset;
    if (joins_previous && joins_next) {
        pool->free[i - 1].bytes += bytes + pool->free[i].bytes;
        memmove(&pool->free[i], &pool->free[i + 1], (size_t)(pool->free_count - i - 1) * sizeof *pool->free);
        pool->free_count--;
    } else if (joins_previous) {
        pool->free[i - 1].bytes += bytes;
    } else if (joins_next) {
        pool->free[i].offset = offset;
        pool->free[i].bytes += bytes;
    } else {
        memmove(&pool->free[i + 1], &pool->free[i], (size_t)(pool->free_count - i) * sizeof *pool->free);
        pool->free[i] = (range){offset, bytes};
        pool->free_count++;
    }
}

void cg_buffer_release(cg_context *cg, cg_buffer *buffer)
{
    if (--buffer->references > 0) return;
    cg->counters.buffers--;
    if (buffer->pool) {
        give_back(buffer->pool, buffer->offset, buffer->bytes);
        cg->counters.used_bytes -= buffer->bytes;
    } else {
        release(cg, buffer->memory, 0);
    }
    buffer->next_free = cg->free_buffers;
    cg->free_buffers = buffer;
}

bool cg_arena_reserve(cg_context *cg, int64_t bytes)
{
    if (bytes <= cg->arena_bytes) return true;
    const int64_t wanted = round_up(bytes, cg->memory_alignment);
    if (wanted > cg->info.largest_allocation || wanted - cg->arena_bytes > room_left(cg)) release_empty_pools(cg);
    if (wanted > cg->info.largest_allocation || wanted - cg->arena_bytes > room_left(cg))
        return out_of_memory(cg, wanted);
    /* Commands already queued keep the old arena alive until they are done. */
    if (cg->arena) {
        release(cg, cg->arena, cg->arena_bytes);
        cg->arena = NULL;
        cg->arena_bytes = 0;
    }
    cg->arena = allocate(cg, wanted);
    if (cg->arena) cg->arena_bytes = wanted;
    return cg->arena != NULL;
}

cl_mem cg_table_new(cg_context *cg, int64_t bytes, const void *data)
{
    if (bytes > room_left(cg)) {
        out_of_memory(cg, bytes);
        return NULL;
    }
    cl_mem table = create(cg, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR, bytes, (void *)data);
    if (table) count_device_bytes(cg, bytes);
    return table;
}

void cg_table_free(cg_context *cg, cl_mem table, int64_t bytes)
{
    if (table) release(cg, table, bytes);
}

void cg_buffers_close(cg_context *cg)
{
    while (cg->pools) {
        cg_pool *pool = cg->pools;
        cg->pools = pool->next;
        pool_free(cg, pool);
    }
    if (cg->arena) clReleaseMemObject(cg->arena);
    cg->arena = NULL;
    while (cg->free_buffers) {
        cg_buffer *next = cg->free_buffers->next_free;
        cg_host_free(cg, cg->free_buffers);
        cg->free_buffers = next;
    }
}

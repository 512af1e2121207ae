/* Values between host and device: staging blocks and uploads, reads with conversion. Uploads do not wait; reads do. */
#include "engine/buffer.h"
#include "engine/profile.h"
#include "engine/queue.h"

#include <math.h>
#include <string.h>

/* --- uploads --- */

static cg_staging_block *block_of(void *data)
{
    return (cg_staging_block *)(void *)((char *)data - offsetof(cg_staging_block, data));
}

/* True when nothing reads the block any more; forgets the event of a finished upload. */
static bool is_idle(cg_context *cg, cg_staging_block *block)
{
    if (block->lent) return false;
    if (!block->uploaded) return true;
    cl_int status = CL_QUEUED;
    if (CL(cg, clGetEventInfo, block->uploaded, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status, NULL) !=
        CL_SUCCESS)
        return false;
    if (status > CL_COMPLETE) return false;
    clReleaseEvent(block->uploaded);
    block->uploaded = NULL;
    return true;
}

void *cg_staging(cg_context *cg, size_t bytes)
{
    if (!cg || !cg->queue) return NULL;
    for (cg_staging_block *block = cg->staging; block; block = block->next) {
        if (block->bytes < bytes || block->bytes / 4 > bytes || !is_idle(cg, block)) continue;
        block->lent = true;
        return block->data;
    }
    cg_staging_block *block = cg_resize(cg, NULL, sizeof *block + bytes);
    if (!block) return NULL;
    *block = (cg_staging_block){.bytes = bytes, .lent = true, .next = cg->staging};
    cg->staging = block;
    return block->data;
}

void cg_staging_return(cg_context *cg, void *staging)
{
    if (cg && staging) block_of(staging)->lent = false;
}

void cg_staging_close(cg_context *cg)
{
    while (cg->staging) {
        cg_staging_block *next = cg->staging->next;
        if (cg->staging->uploaded) clReleaseEvent(cg->staging->uploaded);
        cg_host_free(cg, cg->staging);
        cg->staging = next;
    }
}

static bool upload(cg_context *cg, cl_mem memory, int64_t offset, cg_staging_block *block, size_t bytes)
{
    if (bytes == 0) return true;
    const cl_int status = CL(cg, clEnqueueWriteBuffer, cg->queue, memory, CL_FALSE, (size_t)offset, bytes, block->data,
                             CG_BEHIND_ALL(cg), &block->uploaded);
    if (status != CL_SUCCESS) return cg_fail_cl(cg, "clEnqueueWriteBuffer", status);
    cg_enqueued(cg);
    return true;
}

bool cg_send(cg_context *cg, cl_mem memory, const void *data, size_t bytes)
{
    void *staging = cg_staging(cg, bytes);
    if (!staging) return false;
    memcpy(staging, data, bytes);
    cg_staging_return(cg, staging);
    return upload(cg, memory, 0, block_of(staging), bytes);
}

bool cg_input_possible(cg_context *cg, cg_dtype dtype, cg_shape shape, const cg_input_options *options)
{
    const char *name = options->name ? options->name : "input";
    if (!cg_can_hold(cg, name, dtype, &shape)) return false;
    if (options->has_batch_axis && (options->batch_axis < 0 || options->batch_axis >= shape.rank))
        return cg_fail(cg, CG_ERROR_ARGUMENT, "%s: %s has no axis %d to be its batch axis", name,
                       cg_shape_text(cg, shape), options->batch_axis);
    return true;
}

cg_tensor cg_input_of(cg_context *cg, cg_dtype dtype, cg_shape shape, cg_buffer *buffer,
                      const cg_input_options *options)
{
    cg_node *node = cg_node_new(cg, CG_NODE_DATA, dtype, &shape);
    if (!node) {
        cg_buffer_release(cg, buffer);
        return (cg_tensor){0};
    }
    node->buffer = buffer;
    node->batch_axis = options->has_batch_axis ? (int8_t)options->batch_axis : -1;
    node->label = options->name ? cg_copy_text(cg, options->name) : NULL;
    cg_node_hash(node);
    return cg_tensor_of(node);
}

cg_tensor cg_input_staged(cg_context *cg, cg_dtype dtype, cg_shape shape, void *staging,
                          const cg_input_options *options)
{
    if (!staging) return (cg_tensor){0};
    options = options ? options : CG_OPTIONS(cg_input_options, );
    cg_staging_block *block = block_of(staging);
    block->lent = false;
    if (!cg_input_possible(cg, dtype, shape, options)) return (cg_tensor){0};
    const size_t bytes = (size_t)cg_shape_size(shape) * cg_dtype_bytes(dtype);
    if (bytes > block->bytes) {
        cg_fail(cg, CG_ERROR_ARGUMENT, "%s: shape %s needs %zu bytes, the staging memory has %zu",
                options->name ? options->name : "input", cg_shape_text(cg, shape), bytes, block->bytes);
        return (cg_tensor){0};
    }
    cg_buffer *buffer = cg_buffer_new(cg, (int64_t)bytes);
    const cg_tensor tensor = buffer ? cg_input_of(cg, dtype, shape, buffer, options) : (cg_tensor){0};
    if (cg_is_null(tensor) || upload(cg, buffer->memory, buffer->offset, block, bytes)) return tensor;
    cg_handle_end(tensor.node);
    return (cg_tensor){0};
}

cg_tensor cg_input_with(cg_context *cg, cg_dtype dtype, cg_shape shape, const void *data,
                        const cg_input_options *options)
{
    options = options ? options : CG_OPTIONS(cg_input_options, );
    if (!cg || !cg->queue || !cg_input_possible(cg, dtype, shape, options)) return (cg_tensor){0};
    const size_t bytes = (size_t)cg_shape_size(shape) * cg_dtype_bytes(dtype);
    if (bytes && !data)
        return cg_report(cg, CG_ERROR_ARGUMENT, options->name ? options->name : "input",
                         "the data is NULL, though %s has %lld elements", cg_shape_text(cg, shape),
                         (long long)cg_shape_size(shape));
    void *staging = cg_staging(cg, bytes);
    if (!staging) return (cg_tensor){0};
    if (bytes) memcpy(staging, data, bytes);
    return cg_input_staged(cg, dtype, shape, staging, options);
}

/* --- reads --- */

cg_node **cg_nodes_of(cg_context *cg, const cg_tensor *tensors, int count, const char *who)
{
    cg_node **nodes = cg_host_allocate(cg, ((size_t)count + 1) * sizeof *nodes);
    bool ok = nodes != NULL;
    for (int i = 0; ok && i < count; i++) {
        ok = (nodes[i] = cg_node_of(tensors[i], who)) != NULL;
        if (ok && nodes[i]->context != cg)
            ok = cg_fail(cg, CG_ERROR_ARGUMENT, "%s: the tensors belong to different contexts", who);
    }
    if (ok) return nodes;
    cg_host_free(cg, nodes);
    return NULL;
}

bool cg_eval(const cg_tensor *tensors, int count)
{
    if (count <= 0) return true;
    cg_context *cg = tensors ? cg_context_of(tensors[0]) : NULL;
    cg_node **nodes = cg ? cg_nodes_of(cg, tensors, count, "cg_eval") : NULL;
    const bool ok = nodes && cg_force(cg, nodes, count, false, false) && cg_check_status(cg);
    if (cg) cg_host_free(cg, nodes);
    return ok;
}

bool cg_flush(cg_context *cg)
{
    if (!cg || !cg->queue || cg->status != CG_OK || !cg_force(cg, NULL, 0, false, false)) return false;
    const cl_int status = CL(cg, clFlush, cg->queue);
    return status == CL_SUCCESS ? true : cg_fail_cl(cg, "clFlush", status);
}

bool cg_wait(cg_context *cg)
{
    return cg_flush(cg) && cg_finish(cg);
}

/* A weak number that was read stays an argument of kernels, with all its digits. */
static void unstore(cg_node *node)
{
    cg_buffer_release(node->context, node->buffer);
    node->buffer = NULL;
    cg_node_hash(node);
}

/* Room for the elements; NULL is what an allocation that failed leaves behind. */
static bool can_take(cg_context *cg, const char *who, const void *out, size_t bytes)
{
    return out || bytes == 0 || cg_fail(cg, CG_ERROR_ARGUMENT, "%s: the memory to read into is NULL", who);
}

/* The raw elements of a live node. */
static bool read_node(cg_node *node, void *out, size_t bytes)
{
    cg_context *cg = node->context;
    if (!cg_force(cg, &node, 1, true, false)) return false;
    if (bytes == 0) return cg_check_status(cg);
    /* The status words are read first, so that one wait does for both. */
    if (!cg_ask_status(cg)) return false;
    const int64_t begin = cg_span_begin(cg);
    const cl_int status = CL(cg, clEnqueueReadBuffer, cg->queue, node->buffer->memory, CL_TRUE,
                             (size_t)node->buffer->offset, bytes, out, CG_BEHIND_ALL(cg), NULL);
    cg_span_end(cg, CG_SPAN_WAIT, begin);
    if (status != CL_SUCCESS) return cg_fail_cl(cg, "clEnqueueReadBuffer", status);
    cg_nothing_left(cg);
    if (node->weak) unstore(node);
    return cg_look_at_status(cg) && cg->status == CG_OK;
}

bool cg_read(cg_tensor tensor, void *out, size_t bytes)
{
    cg_node *node = cg_node_of(tensor, "cg_read");
    if (!node) return false;
    const size_t expected = (size_t)cg_shape_size(node->shape) * cg_dtype_bytes((cg_dtype)node->dtype);
    if (bytes != expected)
        return cg_fail(node->context, CG_ERROR_ARGUMENT, "cg_read: the tensor %s %s has %zu bytes, not %zu",
                       cg_dtype_name((cg_dtype)node->dtype), cg_tensor_text(tensor), expected, bytes);
    return can_take(node->context, "cg_read", out, bytes) && read_node(node, out, bytes);
}

static double element(const void *data, cg_dtype dtype, int64_t i)
{
    switch (dtype) {
    case CG_F32:
        return (double)((const float *)data)[i];
    case CG_F64:
        return ((const double *)data)[i];
    case CG_I32:
        return ((const int32_t *)data)[i];
    case CG_U8:
    case CG_BOOL:
        return ((const uint8_t *)data)[i];
    case CG_F16:
    case CG_BF16:
        return cg_narrow_number(dtype, ((const uint16_t *)data)[i]);
    }
    return NAN;
}

static void store_element(void *out, cg_dtype to, int64_t i, double value)
{
    if (to == CG_F32)
        ((float *)out)[i] = (float)value;
    else if (to == CG_F64)
        ((double *)out)[i] = value;
    else
        ((int32_t *)out)[i] = value != value      ? 0
                              : value > INT32_MAX ? INT32_MAX
                              : value < INT32_MIN ? INT32_MIN
                                                  : (int32_t)value;
}

static bool read_as(cg_tensor tensor, const char *who, void *out, int64_t count, cg_dtype to)
{
    cg_node *node = cg_node_of(tensor, who);
    if (!node) return false;
    cg_context *cg = node->context;
    const cg_dtype dtype = (cg_dtype)node->dtype;
    if (count != cg_shape_size(node->shape))
        return cg_fail(cg, CG_ERROR_ARGUMENT, "%s: the tensor %s has %lld elements, not %lld", who,
                       cg_tensor_text(tensor), (long long)cg_shape_size(node->shape), (long long)count);
    const size_t bytes = (size_t)count * cg_dtype_bytes(dtype);
    if (!can_take(cg, who, out, bytes)) return false;
    if (dtype == to) return read_node(node, out, bytes);
    void *raw = cg_host_allocate(cg, bytes);
    const bool ok = raw && read_node(node, raw, bytes);
    for (int64_t i = 0; ok && i < count; i++) store_element(out, to, i, element(raw, dtype, i));
    cg_host_free(cg, raw);
    return ok;
}

bool cg_read_floats(cg_tensor tensor, float *out, int64_t count)
{
    return read_as(tensor, "cg_read_floats", out, count, CG_F32);
}

bool cg_read_doubles(cg_tensor tensor, double *out, int64_t count)
{
    return read_as(tensor, "cg_read_doubles", out, count, CG_F64);
}

bool cg_read_ints(cg_tensor tensor, int32_t *out, int64_t count)
{
    return read_as(tensor, "cg_read_ints", out, count, CG_I32);
}

double cg_item(cg_tensor tensor)
{
    double value = NAN;
    return read_as(tensor, "cg_item", &value, 1, CG_F64) ? value : NAN;
}

/* Opening and closing a context, its errors, host memory, modes and counters. The parts that it ties together live in
 * the other files of engine/. */
#include "engine/context.h"
#include "engine/buffer.h"
#include "engine/execute.h"
#include "engine/program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *reallocate_default(void *user, void *pointer, size_t bytes)
{
    (void)user;
    if (bytes == 0) {
        free(pointer);
        return NULL;
    }
    return realloc(pointer, bytes);
}

/* --- errors --- */

void cg_fail_va(cg_context *cg, cg_error error, const char *prefix, const char *format, va_list arguments)
{
    for (int s = 0; s < cg->scope_count; s++) cg->scopes[s].failed = true;
    cg->failures++;
    if (cg->status != CG_OK) return;
    cg->status = error;
    int used = *prefix ? snprintf(cg->message, sizeof cg->message, "%s: ", prefix) : 0;
    if (used < 0 || used >= (int)sizeof cg->message) used = 0;
    vsnprintf(cg->message + used, sizeof cg->message - (size_t)used, format, arguments);
}

bool cg_fail(cg_context *cg, cg_error error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    cg_fail_va(cg, error, "", format, arguments);
    va_end(arguments);
    return false;
}

bool cg_fail_cl(cg_context *cg, const char *call, cl_int status)
{
    const bool memory = status == CL_MEM_OBJECT_ALLOCATION_FAILURE || status == CL_OUT_OF_HOST_MEMORY;
    return cg_fail(cg, memory ? CG_ERROR_MEMORY : CG_ERROR_DEVICE, "%s failed with OpenCL error %d", call, (int)status);
}

cg_tensor cg_report(cg_context *cg, cg_error error, const char *op, const char *format, ...)
{
    if (cg) {
        va_list arguments;
        va_start(arguments, format);
        cg_fail_va(cg, error, op, format, arguments);
        va_end(arguments);
    }
    return (cg_tensor){0};
}

bool cg_op_error(const cg_call *call, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    cg_fail_va(call->context, CG_ERROR_ARGUMENT, call->op->name, format, arguments);
    va_end(arguments);
    return false;
}

cg_error cg_status(const cg_context *cg)
{
    return cg ? cg->status : CG_ERROR_MEMORY;
}

const char *cg_message(const cg_context *cg)
{
    return cg ? cg->message : "no host memory for a context";
}

void cg_clear_error(cg_context *cg)
{
    if (!cg || !cg->queue) return; /* a context that never opened stays failed */
    cg->status = CG_OK;
    cg->message[0] = '\0';
}

/* --- host memory --- */

void *cg_resize(cg_context *cg, void *pointer, size_t bytes)
{
    cg_faults *faults = &cg->faults;
    void *result = ++faults->allocations == faults->allocation_fail_at ? NULL
                                                                       : cg->reallocate(cg->user, pointer, bytes);
    if (!result) cg_fail(cg, CG_ERROR_MEMORY, "no host memory for %zu bytes", bytes);
    return result;
}

void *cg_host_allocate(cg_context *cg, size_t bytes)
{
    if (!cg) return NULL;
    void *result = cg_resize(cg, NULL, bytes ? bytes : 1);
    if (result) memset(result, 0, bytes ? bytes : 1);
    return result;
}

void cg_host_free(cg_context *cg, void *pointer)
{
    if (pointer) cg->reallocate(cg->user, pointer, 0);
}

bool cg_grow(cg_context *cg, void *array_pointer, int *capacity, int count, size_t element)
{
    if (count <= *capacity) return true;
    int wanted = *capacity ? *capacity * 2 : 64;
    if (wanted < count) wanted = count;
    void *array;
    memcpy(&array, array_pointer, sizeof array);
    array = cg_resize(cg, array, (size_t)wanted * element);
    if (!array) return false;
    memcpy(array_pointer, &array, sizeof array);
    *capacity = wanted;
    return true;
}

char *cg_copy_text(cg_context *cg, const char *text)
{
    const size_t bytes = strlen(text) + 1;
    char *copy = cg_host_allocate(cg, bytes);
    if (copy) memcpy(copy, text, bytes);
    return copy;
}

const char *cg_shape_text(cg_context *cg, cg_shape shape)
{
    char *text = cg->texts[cg->next_text++ % CG_TEXT_RING];
    size_t used = 1;
    text[0] = '[';
    for (int i = 0; i < shape.rank && used < CG_TEXT_BYTES - 24; i++)
        used += (size_t)snprintf(text + used, CG_TEXT_BYTES - used, i ? ",%lld" : "%lld", (long long)shape.size[i]);
    snprintf(text + used, CG_TEXT_BYTES - used, "]");
    return text;
}

/* --- opening and closing --- */

static bool has_word(const char *list, const char *word)
{
    const size_t length = strlen(word);
    for (const char *p = list; p && *p;) {
        const size_t n = strcspn(p, ", ");
        if (n == length && strncmp(p, word, n) == 0) return true;
        p += n;
        p += strspn(p, ", ");
    }
    return false;
}

static bool is_set(const char *name)
{
    const char *value = getenv(name);
    return value && *value && strcmp(value, "0") != 0;
}

static void read_environment(cg_context *cg)
{
    cg->check = is_set("CLGRAD_CHECK");
    cg->check_nan = cg->check && has_word(getenv("CLGRAD_CHECK"), "nan");
    cg->eager = is_set("CLGRAD_EAGER") || cg->check_nan; /* so that each op's result is there to be looked at */
    cg->log_plan = has_word(getenv("CLGRAD_LOG"), "plan");
    cg->log_kernels = has_word(getenv("CLGRAD_LOG"), "kernels");
    const char *join = getenv("CLGRAD_JOIN");
    if (join && *join) {
        cg->join = strcmp(join, "always") == 0 ? CG_JOIN_ALWAYS : CG_JOIN_NEVER;
        if (cg->join == CG_JOIN_NEVER && strcmp(join, "never") != 0)
            cg_fail(cg, CG_ERROR_ARGUMENT, "CLGRAD_JOIN is \"%s\"; it takes always or never", join);
    }
    const char *gemm = getenv("CLGRAD_GEMM");
    if (gemm && *gemm) {
        cg->gemm_chosen = true;
        cg->gemm_clblast = strcmp(gemm, "clblast") == 0;
        if (!cg->gemm_clblast && strcmp(gemm, "packed") != 0)
            cg_fail(cg, CG_ERROR_ARGUMENT, "CLGRAD_GEMM is \"%s\"; it takes packed or clblast", gemm);
    }
}

static int64_t memory_limit_from(cg_context *cg, int64_t option)
{
    const char *text = getenv("CLGRAD_MEMORY_LIMIT");
    if (option > 0 || !text || !*text) return option;
    char *end;
    const double number = strtod(text, &end);
    const double unit = *end == 'K' ? 0x1p10 : *end == 'M' ? 0x1p20 : *end == 'G' ? 0x1p30 : 1;
    if (end == text || !(number > 0) || (*end && (unit == 1 || end[1])))
        cg_fail(cg, CG_ERROR_ARGUMENT, "CLGRAD_MEMORY_LIMIT is \"%s\"; it takes bytes, with K, M or G after them",
                text);
    return (int64_t)(number * unit);
}

static bool open_parts(cg_context *cg, const cg_open_options *options)
{
    read_environment(cg);
    const char *wanted = options->device ? options->device : getenv("CLGRAD_DEVICE");
    const int64_t limit = memory_limit_from(cg, options->memory_limit);
    if (cg->status != CG_OK) return false;
    if (!CG_GROW(cg, cg->scopes, cg->scope_capacity, 1)) return false;
    cg->scopes[cg->scope_count++] = (cg_scope_record){.serial = ++cg->next_serial};
    return cg_device_open(cg, wanted && *wanted ? wanted : NULL, limit) && cg_status_open(cg);
}

cg_context *cg_open_faulty(const cg_open_options *options, cg_faults faults)
{
    void *(*reallocate)(void *, void *, size_t) = options->reallocate ? options->reallocate : reallocate_default;
    cg_context *cg = reallocate(options->user, NULL, sizeof *cg);
    if (!cg) return NULL;
    memset(cg, 0, sizeof *cg);
    cg->reallocate = reallocate;
    cg->user = options->user;
    cg->faults = faults;
    if (!open_parts(cg, options)) {
        /* Everything but the error goes, so that a failed context holds nothing and refuses everything. */
        cg_device_close(cg);
        cg->queue = NULL;
    }
    return cg;
}

cg_context *cg_open_with(const cg_open_options *options)
{
    return cg_open_faulty(options, (cg_faults){0});
}

cg_context *cg_open(const char *device)
{
    return cg_open_with(&(cg_open_options){.device = device});
}

void cg_close(cg_context *cg)
{
    if (!cg) return;
    if (cg->queue) clFinish(cg->queue);
    cg_scopes_close(cg);
    cg_variables_close(cg);
    cg_plans_close(cg);
    cg_programs_close(cg);
    cg_status_close(cg);
    cg_staging_close(cg);
    cg_buffers_close(cg);
    cg_nodes_close(cg);
    cg_device_close(cg);
    cg->reallocate(cg->user, cg, 0);
}

/* --- modes and counters --- */

void cg_training(cg_context *cg, bool on)
{
    if (cg) cg->training = on;
}

bool cg_is_training(const cg_context *cg)
{
    return cg && cg->training;
}

void cg_seed(cg_context *cg, uint64_t seed)
{
    if (!cg) return;
    cg->seed = seed;
    cg->random_number = 0;
}

uint64_t cg_random_get(const cg_context *cg)
{
    return cg ? cg->random_number : 0;
}

void cg_random_set(cg_context *cg, uint64_t number)
{
    if (cg) cg->random_number = number;
}

const cg_device_info *cg_device(const cg_context *cg)
{
    static const cg_device_info none = {.name = "", .platform = "", .driver = ""};
    return cg && cg->queue ? &cg->info : &none;
}

cg_counters cg_counters_get(const cg_context *cg)
{
    cg_counters counters = {0};
    if (!cg) return counters;
    counters = cg->counters;
    counters.device_bytes = cg->device_bytes;
    counters.plans_cached = cg->plan_count;
    return counters;
}

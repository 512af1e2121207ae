/* Opening and closing a context, its errors, host memory, modes and counters. The parts that it ties together live in
 * the other files of engine/. */
#include "engine/context.h"
#include "engine/binary_cache.h"
#include "engine/buffer.h"
#include "engine/execute.h"
#include "engine/profile.h"
#include "engine/program.h"
#include "engine/queue.h"
#include "engine/tuning.h"

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
    if (cg->optional) return;
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

cg_tensor cg_report_null(cg_context *cg, const char *op, const char *what, ...)
{
    if (cg_status(cg) == CG_OK) {
        char name[CG_MESSAGE_BYTES / 2];
        va_list arguments;
        va_start(arguments, what);
        vsnprintf(name, sizeof name, what, arguments);
        va_end(arguments);
        cg_report(cg, CG_ERROR_ARGUMENT, op, "%s is a null tensor, and no error says why", name);
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
    return cg ? cg->message : "there is no context: it was not opened, or the host had no memory for one";
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

/* A shape with the name of what has it, if any; a long name is cut. */
static const char *shape_text(cg_context *cg, const char *name, cg_shape shape)
{
    char *text = cg->texts[cg->next_text++ % CG_TEXT_RING];
    size_t used = (size_t)snprintf(text, CG_TEXT_BYTES, "%.40s%s[", name ? name : "", name ? " " : "");
    for (int i = 0; i < shape.rank && i < CG_MAX_RANK && used < CG_TEXT_BYTES - 24; i++)
        used += (size_t)snprintf(text + used, CG_TEXT_BYTES - used, i ? ",%lld" : "%lld", (long long)shape.size[i]);
    snprintf(text + used, CG_TEXT_BYTES - used, "]");
    return text;
}

const char *cg_shape_text(cg_context *cg, cg_shape shape)
{
    return shape_text(cg, NULL, shape);
}

const char *cg_input_text(const cg_call *call, int input)
{
    return shape_text(call->context, call->input_names ? call->input_names[input] : NULL, call->input_shapes[input]);
}

const char *cg_tensor_text(cg_tensor tensor)
{
    const cg_shape shape = cg_shape_of(tensor);
    if (shape.rank < 0) return "no tensor";
    return shape_text(tensor.node->context, tensor.node->label, shape);
}

/* --- opening and closing --- */

/* The next word of a list with commas or spaces between; its length, 0 at the end. */
static size_t next_word(const char **list)
{
    *list += strspn(*list, ", ");
    return strcspn(*list, ", ");
}

static bool list_holds(const char *list, const char *word, size_t length)
{
    for (size_t n; (n = next_word(&list)) > 0; list += n)
        if (n == length && strncmp(list, word, n) == 0) return true;
    return false;
}

bool cg_environment_has(const char *name, const char *word)
{
    const char *value = getenv(name);
    return value && list_holds(value, word, strlen(word));
}

/* A word that nobody knows is an error: a typing mistake would change nothing and look like a result. */
static void check_environment(cg_context *cg)
{
    static const struct {
        const char *name, *words;
    } variables[] = {{"CLGRAD_CHECK", "0, 1, nan"},
                     {"CLGRAD_EAGER", "0, 1"},
                     {"CLGRAD_LOG", "plan, kernels"},
                     {"CLGRAD_DISABLE", "fp64, fp16, subgroups, vectors, overlap"},
                     {"CLGRAD_CONVOLUTION", "direct, winograd2, winograd4"},
                     {"CLGRAD_GEMM", "packed, tiled, clblast"},
                     {"CLGRAD_JOIN", "always, never"},
                     {"CLGRAD_SHARE", "never"},
                     {"CLGRAD_TUNE", "0, 1, again"}};
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        const char *value = getenv(variables[i].name), *word = value ? value : "";
        for (size_t n; (n = next_word(&word)) > 0; word += n)
            if (!list_holds(variables[i].words, word, n))
                cg_fail(cg, CG_ERROR_ARGUMENT, "%s is \"%s\"; it takes %s", variables[i].name, value,
                        variables[i].words);
    }
}

static void read_environment(cg_context *cg)
{
    check_environment(cg);
    cg->check_nan = cg_environment_has("CLGRAD_CHECK", "nan");
    cg->check = cg->check_nan || cg_environment_has("CLGRAD_CHECK", "1");
    /* So that each op's result is there to be looked at. */
    cg->eager = cg->check_nan || cg_environment_has("CLGRAD_EAGER", "1");
    cg->log_plan = cg_environment_has("CLGRAD_LOG", "plan");
    cg->log_kernels = cg_environment_has("CLGRAD_LOG", "kernels");
    if (cg_environment_has("CLGRAD_GEMM", "packed")) cg->gemm_allowed |= 1u << CG_GEMM_PACKED;
    if (cg_environment_has("CLGRAD_GEMM", "tiled")) cg->gemm_allowed |= 1u << CG_GEMM_TILED;
    if (cg_environment_has("CLGRAD_GEMM", "clblast")) cg->gemm_allowed |= 1u << CG_GEMM_CLBLAST;
    cg->winograd = cg_environment_has("CLGRAD_CONVOLUTION", "direct")      ? 0
                   : cg_environment_has("CLGRAD_CONVOLUTION", "winograd2") ? 2
                   : cg_environment_has("CLGRAD_CONVOLUTION", "winograd4") ? 4
                                                                           : CG_WINOGRAD_AUTO;
    cg->tune = cg_environment_has("CLGRAD_TUNE", "again") ? CG_TUNE_AGAIN
               : cg_environment_has("CLGRAD_TUNE", "1")   ? CG_TUNE_NEW
                                                          : CG_TUNE_NEVER;
    cg->join = cg_environment_has("CLGRAD_JOIN", "always")  ? CG_JOIN_ALWAYS
               : cg_environment_has("CLGRAD_JOIN", "never") ? CG_JOIN_NEVER
                                                            : CG_JOIN_AUTO;
    cg->share_never = cg_environment_has("CLGRAD_SHARE", "never");
    /* A profile is to tell the kernels apart. */
    if (cg->profile && cg->join == CG_JOIN_AUTO) cg->join = CG_JOIN_NEVER;
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

static bool open_device(cg_context *cg, const char *device, const cg_opencl *given, int64_t limit)
{
    if (!CG_GROW(cg, cg->scopes, cg->scope_capacity, 1)) return false;
    cg->scopes[cg->scope_count++] = (cg_scope_record){.serial = ++cg->next_serial};
    const bool found = given ? cg_device_adopt(cg, given, limit)
                             : cg_device_open(cg, device, limit) && cg_queue_open(cg);
    return found && cg_binary_cache_open(cg) && cg_status_open(cg);
}

static bool open_parts(cg_context *cg, const cg_open_options *options, const cg_opencl *given)
{
    if (!cg_profile_open(cg)) return false;
    read_environment(cg);
    const int64_t limit = memory_limit_from(cg, options->memory_limit);
    if (cg->status != CG_OK) return false;
    return open_device(cg, options->device, given, limit) && cg_tuning_open(cg) && cg_profile_start(cg);
}

static cg_context *context_new(void *(*reallocate)(void *, void *, size_t), void *user)
{
    cg_context *cg = reallocate(user, NULL, sizeof *cg);
    if (!cg) return NULL;
    memset(cg, 0, sizeof *cg);
    cg->reallocate = reallocate;
    cg->user = user;
    return cg;
}

/* Everything but the error goes, so that a failed context holds nothing. */
static void refuse_everything(cg_context *cg)
{
    cg_device_close(cg);
    cg->queue = NULL;
}

cg_context *cg_open_given(const cg_open_options *options, cg_faults faults, const cg_opencl *given)
{
    cg_context *cg = context_new(options->reallocate ? options->reallocate : reallocate_default, options->user);
    if (!cg) return NULL;
    cg->faults = faults;
    if (!open_parts(cg, options, given)) refuse_everything(cg);
    return cg;
}

cg_context *cg_open_trial(cg_context *parent)
{
    const cg_opencl given = {parent->cl, parent->device, parent->queue};
    const int64_t left = parent->info.memory_limit - parent->device_bytes;
    /* What the parent has under way would be measured too. */
    cg_context *cg = cg_queue_finish(parent) ? context_new(parent->reallocate, parent->user) : NULL;
    if (!cg) return NULL;
    cg->gemm_allowed = parent->gemm_allowed;
    cg->join = CG_JOIN_NEVER;
    if (!open_device(cg, NULL, &given, left > 0 ? left : 1) || !(cg->tuning = cg_host_allocate(cg, sizeof *cg->tuning)))
        refuse_everything(cg);
    /* What the environment said when the parent was opened. */
    cg->info.has_f64 = parent->info.has_f64;
    cg->vector_width = parent->vector_width;
    cg->local_size = parent->local_size;
    cg->fetches = parent->fetches;
    cg->divides_exactly = parent->divides_exactly;
    return cg;
}

cg_context *cg_open_faulty(const cg_open_options *options, cg_faults faults)
{
    return cg_open_given(options, faults, NULL);
}

cg_context *cg_open_with(const cg_open_options *options)
{
    return cg_open_faulty(options ? options : CG_OPTIONS(cg_open_options, ), (cg_faults){0});
}

cg_context *cg_open(const char *device)
{
    return cg_open_with(CG_OPTIONS(cg_open_options, .device = device));
}

void cg_close(cg_context *cg)
{
    if (!cg) return;
    if (cg->overlap.queue) clFinish(cg->overlap.queue);
    if (cg->queue) clFinish(cg->queue);
    cg_profile_close(cg);
    cg_scopes_close(cg);
    cg_variables_close(cg);
    cg_plans_close(cg);
    cg_programs_close(cg);
    cg_binary_cache_close(cg);
    cg_status_close(cg);
    cg_staging_close(cg);
    cg_buffers_close(cg);
    cg_nodes_close(cg);
    cg_tuning_close(cg);
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

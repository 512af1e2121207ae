/* The program cache. A kernel's name is a hash of its source, so the text of a program, and with it any cache that the
 * driver keeps on disk, depends on nothing but the kernels in it. */
#include "engine/program.h"
#include "cl_kernels.h"
#include "engine/binary_cache.h"
#include "engine/hash.h"
#include "engine/profile.h"
#include "engine/share.h"

#include <stdio.h>
#include <string.h>

enum { BUCKETS = 256, NAME_BYTES = 40 };

struct cg_kernel_entry {
    char name[NAME_BYTES];
    char *source;
    cl_program program;
    cg_kernel_entry *next;
};

struct cg_kernel_cache {
    cg_kernel_entry *buckets[BUCKETS];
};

static void name_of(const char *source, char name[NAME_BYTES])
{
    snprintf(name, NAME_BYTES, "cg_%016llx%016llx",
             (unsigned long long)cg_hash_text(source, UINT64_C(0xcbf29ce484222325)),
             (unsigned long long)cg_hash_text(source, UINT64_C(0x84222325cbf29ce4)));
}

static cg_kernel_entry **find(cg_kernel_cache *cache, const char *source)
{
    cg_kernel_entry **at = &cache->buckets[cg_hash_text(source, 1) % BUCKETS];
    while (*at && strcmp((*at)->source, source) != 0) at = &(*at)->next;
    return at;
}

static cg_kernel_entry *entry_new(cg_context *cg, cg_kernel_entry **at, const char *source)
{
    cg_kernel_entry *e = cg_host_allocate(cg, sizeof *e);
    if (!e || !(e->source = cg_copy_text(cg, source))) {
        cg_host_free(cg, e);
        return NULL;
    }
    name_of(source, e->name);
    *at = e;
    cg->kernel_entry_count++;
    return e;
}

/* The source with its placeholder replaced by the kernel's name. */
static void append_named(cg_text *out, const cg_kernel_entry *e)
{
    const char *rest = e->source;
    for (const char *at; (at = strstr(rest, CG_KERNEL_NAME)); rest = at + sizeof CG_KERNEL_NAME - 1) {
        cg_text_add(out, "%.*s%s", (int)(at - rest), rest, e->name);
    }
    cg_text_append(out, rest);
    cg_text_append(out, "\n");
}

static void report_build(cg_context *cg, cl_program program, const char *ops, const char *text, cl_int status)
{
    char log[400] = "";
    size_t bytes = 0;
    if (CL(cg, clGetProgramBuildInfo, program, cg->device, CL_PROGRAM_BUILD_LOG, 0, NULL, &bytes) != CL_SUCCESS)
        bytes = 0;
    char *full = bytes ? cg_host_allocate(cg, bytes + 1) : NULL;
    if (full &&
        CL(cg, clGetProgramBuildInfo, program, cg->device, CL_PROGRAM_BUILD_LOG, bytes, full, NULL) == CL_SUCCESS) {
        const char *error = strstr(full, "error:");
        snprintf(log, sizeof log, "%s", error ? error : full);
        if (cg->log_kernels) fprintf(stderr, "%s\n%s\n", text, full);
    }
    cg_host_free(cg, full);
    cg_fail(cg, CG_ERROR_DEVICE,
            "the kernels of these ops do not build: %s (OpenCL error %d; CLGRAD_LOG=kernels prints their source)\n%s",
            ops, (int)status, log);
}

static const char *build_options(const cg_context *cg)
{
    return cg->divides_exactly ? "-cl-std=CL1.2 -w -cl-fp32-correctly-rounded-divide-sqrt" : "-cl-std=CL1.2 -w";
}

/* NULL after reporting. */
static cl_program build_source(cg_context *cg, const cg_text *text, const cg_names *ops)
{
    cl_int status = CL_SUCCESS;
    const char *data = text->data;
    cl_program program = CL_NEW(cg, &status, clCreateProgramWithSource, cg->cl, 1, &data, NULL);
    if (!program) {
        cg_fail_cl(cg, "clCreateProgramWithSource", status);
        return NULL;
    }
    status = CL(cg, clBuildProgram, program, 1, &cg->device, build_options(cg), NULL, NULL);
    if (status == CL_SUCCESS) return program;
    report_build(cg, program, ops->text, data, status);
    clReleaseProgram(program);
    return NULL;
}

/* Builds a program from its text, which is freed, for the entries that are its kernels. */
static bool build_text(cg_context *cg, cg_text *text, const cg_names *ops, cg_kernel_entry **kernels, int count)
{
    if (text->failed) {
        cg_text_free(text);
        return false;
    }
    if (cg->log_kernels) fprintf(stderr, "%s\n", text->data);
    const int64_t begin = cg_span_begin(cg);
    cl_program program;
    bool ok = cg_binary_load(cg, text->data, build_options(cg), &program);
    const bool loaded = ok && program;
    if (ok && !program)
        ok = (program = build_source(cg, text, ops)) && cg_binary_store(cg, text->data, build_options(cg), program);
    for (int i = 0; ok && i < count; i++) {
        const cl_int status = CL(cg, clRetainProgram, program);
        ok = status == CL_SUCCESS ? true : cg_fail_cl(cg, "clRetainProgram", status);
        if (ok) kernels[i]->program = program;
    }
    if (program) clReleaseProgram(program);
    cg_span_end(cg, CG_SPAN_BUILD, begin);
    cg_text_free(text);
    cg->counters.programs_built += ok;
    cg->counters.programs_loaded += loaded;
    cg->counters.kernels_built += ok ? count : 0;
    return ok;
}

static bool build_program(cg_context *cg, const cg_names *ops, cg_kernel_entry **kernels, int count)
{
    cg_text text = {.context = cg};
    unsigned needs = 0;
    for (int i = 0; i < count; i++) needs |= cg_needs_of(kernels[i]->source);
    cg_prelude(cg, needs, &text);
    for (int i = 0; i < count; i++) append_named(&text, kernels[i]);
    return build_text(cg, &text, ops, kernels, count);
}

static bool build_missing(cg_build *b, cg_kernel_entry **entries)
{
    cg_context *cg = b->context;
    cg_names ops = {.used = 0};
    cg_kernel_entry **together = cg_host_allocate(cg, (size_t)(b->plan->step_count + 1) * sizeof *together);
    bool ok = together != NULL;
    int count = 0;
    for (int i = 0; ok && i < b->plan->step_count; i++) {
        if (!entries[i] || entries[i]->program) continue;
        bool listed = false;
        for (int j = 0; j < count; j++) listed |= together[j] == entries[i];
        if (listed) continue;
        cg_names_add(&ops, b->plan->steps[i].label);
        together[count++] = entries[i];
    }
    ok = ok && (count == 0 || build_program(cg, &ops, together, count));
    cg_host_free(cg, together);
    return ok;
}

static cl_kernel make_kernel(cg_context *cg, const cg_kernel_entry *e)
{
    cl_int status = CL_SUCCESS;
    cl_kernel kernel = CL_NEW(cg, &status, clCreateKernel, e->program, e->name);
    if (!kernel) cg_fail_cl(cg, "clCreateKernel", status);
    return kernel;
}

static cg_kernel_entry *entry_of(cg_context *cg, const char *source)
{
    cg_kernel_entry **at = find(cg->kernels, source);
    return *at ? *at : entry_new(cg, at, source);
}

static cg_kernel_entry *shared_entry(cg_context *cg, const cg_plan *plan, const cg_share *share, const char *stage)
{
    cg_text source = {.context = cg};
    cg_share_print(plan, share, stage, &source);
    cg_kernel_entry *entry = source.failed ? NULL : entry_of(cg, source.data);
    cg_text_free(&source);
    return entry;
}

/* The kernels that the plan launches: those of shares by their first steps. */
static bool find_entries(cg_build *b, cg_kernel_entry **entries)
{
    cg_context *cg = b->context;
    cg_plan *plan = b->plan;
    for (int i = 0; i < plan->step_count; i++) {
        if (!b->sources[i]) continue;
        cg_kernel_entry *entry = entry_of(cg, b->sources[i]);
        if (!entry) return false;
        plan->steps[i].entry = entry;
        if (!plan->steps[i].share) entries[i] = entry;
    }
    for (int s = 0; s < plan->share_count; s++) {
        cg_share *share = &plan->shares[s];
        entries[share->first] = shared_entry(cg, plan, share, b->sources[share->first]);
        if (!entries[share->first]) return false;
    }
    return true;
}

bool cg_programs_make(cg_build *b)
{
    cg_context *cg = b->context;
    cg_plan *plan = b->plan;
    if (!cg->kernels && !(cg->kernels = cg_host_allocate(cg, sizeof *cg->kernels))) return false;
    cg_kernel_entry **entries = cg_host_allocate(cg, (size_t)(plan->step_count + 1) * sizeof *entries);
    bool ok = entries && find_entries(b, entries) && build_missing(b, entries);
    for (int i = 0; ok && i < plan->step_count; i++) {
        const int share = plan->steps[i].share;
        cl_kernel *kernel = share ? &plan->shares[share - 1].kernel : &plan->steps[i].kernel;
        if (entries[i]) ok = (*kernel = make_kernel(cg, entries[i])) != NULL;
    }
    cg_host_free(cg, entries);
    return ok;
}

bool cg_program_step(cg_context *cg, cg_step *step)
{
    cg_kernel_entry *entry = step->entry;
    cg_names ops = {.used = 0};
    if (step->kernel) return true;
    cg_names_add(&ops, step->label);
    if (!entry->program && !build_program(cg, &ops, &entry, 1)) return false;
    return (step->kernel = make_kernel(cg, entry)) != NULL;
}

const char *cg_kernel_name(const cg_kernel_entry *entry)
{
    return entry->name;
}

static bool build_joined(cg_context *cg, const cg_plan *plan, cg_kernel_entry *joined)
{
    cg_text text = {.context = cg};
    cg_names ops = {.used = 0};
    unsigned needs = 0;
    for (int i = 0; i < plan->step_count; i++) needs |= cg_needs_of(plan->steps[i].entry->source);
    cg_prelude(cg, needs, &text);
    cg_text_append(&text, cg_source_stage);
    for (int i = 0; i < plan->step_count; i++) {
        bool seen = false;
        for (int j = 0; j < i; j++) seen |= plan->steps[j].entry == plan->steps[i].entry;
        if (seen) continue;
        cg_names_add(&ops, plan->steps[i].label);
        append_named(&text, plan->steps[i].entry);
    }
    cg_text_append(&text, cg_source_entry);
    append_named(&text, joined);
    return build_text(cg, &text, &ops, &joined, 1);
}

cl_kernel cg_program_join(cg_context *cg, const cg_plan *plan, const char *source)
{
    cg_kernel_entry *joined = entry_of(cg, source);
    if (!joined || (!joined->program && !build_joined(cg, plan, joined))) return NULL;
    return make_kernel(cg, joined);
}

void cg_programs_close(cg_context *cg)
{
    for (int i = 0; cg->kernels && i < BUCKETS; i++)
        for (cg_kernel_entry *e = cg->kernels->buckets[i], *next; e; e = next) {
            next = e->next;
            if (e->program) clReleaseProgram(e->program);
            cg_host_free(cg, e->source);
            cg_host_free(cg, e);
        }
    cg_host_free(cg, cg->kernels);
    cg->kernels = NULL;
}

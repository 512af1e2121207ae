/* What the tests of the engine's rules share: one context for a whole program, since kernels that one test built serve
 * the next; a scope around each test, at whose end nothing may be left; and differences of the context's counters. */
#ifndef CLGRAD_TESTS_SEMANTICS_SUPPORT_H
#define CLGRAD_TESTS_SEMANTICS_SUPPORT_H

#include "engine/buffer.h"
#include "engine/context.h"
#include "engine/plan.h"
#include "program.h"
#include "shared_device.h"

#include <clgrad/clgrad.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static cg_context *cg, *shared;
static cg_counters at_start, marked;
static cg_scope home; /* frees what a test makes outside any scope of its own */

/* ---- One context, a scope per test ------------------------------------------------------------------------------- */

/* A test that failed may have left scopes open and an error behind. */
static inline void begin_test(void)
{
    if (!shared) shared = open_on_shared_device();
    cg = shared;
    while (cg->scope_count > 1) cg_scope_end((cg_scope){cg, cg->scopes[1].serial});
    while (cg->variables) cg_variable_free(cg->variables);
    cg_clear_error(cg);
    cg_training(cg, false);
    cg_seed(cg, 0);
    ck_assert_msg(cg_wait(cg), "%s", cg_message(cg));
    at_start = cg_counters_get(cg);
    home = cg_scope_local(cg);
}

/* Tests free their variables, and clear the errors that they provoke. */
static inline void end_test(void)
{
    ck_assert_ptr_eq(cg, shared);
    ck_assert_msg(cg_wait(cg) && cg_status(cg) == CG_OK, "%s", cg_message(cg));
    cg_scope_end(home);
    const cg_counters now = cg_counters_get(cg);
    ck_assert_int_eq(now.variables, at_start.variables);
    ck_assert_int_eq(now.nodes, at_start.nodes);
    ck_assert_int_eq(now.buffers, at_start.buffers);
}

/* For tests that need an environment or a state of their own. */
static inline void open_own(const char *variable, const char *value)
{
    if (variable) setenv(variable, value, 1);
    cg = open_on_shared_device();
    if (variable) unsetenv(variable);
}

static inline void close_own(void)
{
    ck_assert_ptr_ne(cg, shared);
    cg_close(cg);
    cg = shared;
}

/* What CLGRAD_LOG=plan writes to the standard error while `work` runs in a context of its own. */
static inline void read_plan_log(void (*work)(void), char *text, size_t bytes)
{
    FILE *file = tmpfile();
    const int saved = dup(STDERR_FILENO);
    ck_assert(file && saved >= 0);
    open_own("CLGRAD_LOG", "plan");
    cg_scope scope = cg_scope_local(cg);
    ck_assert(dup2(fileno(file), STDERR_FILENO) >= 0);
    work();
    fflush(stderr);
    ck_assert(dup2(saved, STDERR_FILENO) >= 0);
    cg_scope_end(scope);
    close_own();
    close(saved);
    rewind(file);
    text[fread(text, 1, bytes - 1, file)] = '\0';
    fclose(file);
}

static inline int run_tests(Suite *suite)
{
    const int failed = run_suite(suite);
    cg_close(shared);
    return failed;
}

/* ---- What ran since mark() --------------------------------------------------------------------------------------- */

static inline void mark(void)
{
    marked = cg_counters_get(cg);
}

static inline int plans_made(void)
{
    return (int)(cg_counters_get(cg).plans_made - marked.plans_made);
}

static inline int plan_hits(void)
{
    return (int)(cg_counters_get(cg).plan_hits - marked.plan_hits);
}

static inline int plans_run(void)
{
    return plans_made() + plan_hits();
}

static inline int kernels_run(void)
{
    return (int)(cg_counters_get(cg).kernels_enqueued - marked.kernels_enqueued);
}

static inline int kernels_built(void)
{
    return (int)(cg_counters_get(cg).kernels_built - marked.kernels_built);
}

static inline int recomputed(void)
{
    return (int)(cg_counters_get(cg).recomputed - marked.recomputed);
}

/* ---- Tensors and variables --------------------------------------------------------------------------------------- */

#define FLOATS(...) \
    (int)(sizeof((float[]){__VA_ARGS__}) / sizeof(float)), (float[]) \
    { \
        __VA_ARGS__ \
    }
#define VECTOR(...) vector_of(FLOATS(__VA_ARGS__))
static inline cg_tensor vector_of(int count, const float *values)
{
    return cg_input(cg, CG_F32, CG_SHAPE(count), values);
}

#define MATRIX(rows, columns, ...) cg_input(cg, CG_F32, CG_SHAPE(rows, columns), ((float[]){__VA_ARGS__}))

/* Numbers that look arbitrary, the same on every call with the same `salt`. */
static inline cg_tensor numbers(cg_shape shape, int salt)
{
    const int64_t count = cg_shape_size(shape);
    float *values = cg_staging(cg, (size_t)count * sizeof *values);
    ck_assert_ptr_nonnull(values);
    for (int64_t i = 0; i < count; i++) values[i] = (float)((i * 37 + salt * 11) % 101) / 50.0f - 1.0f;
    return cg_input_staged(cg, CG_F32, shape, values, CG_OPTIONS(cg_input_options, ));
}

/* Takes the handle: nothing but the variable holds the value then. */
static inline cg_variable *variable_with(const char *name, cg_tensor value)
{
    cg_variable *variable = cg_variable_new(cg, name, cg_dtype_of(value), cg_shape_of(value));
    ck_assert_msg(variable && cg_assign(variable, value) && cg_flush(cg), "%s", cg_message(cg));
    cg_release(value);
    return variable;
}

static inline const cg_buffer *buffer_of(const cg_variable *variable)
{
    return variable->committed->buffer;
}

#define EXPECT(tensor, ...) expect_floats(tensor, FLOATS(__VA_ARGS__), __LINE__)
static inline void expect_floats(cg_tensor tensor, int count, const float *wanted, int line)
{
    float found[64];
    ck_assert_int_le(count, 64);
    ck_assert_msg(cg_read_floats(tensor, found, count), "line %d: %s", line, cg_message(cg));
    for (int i = 0; i < count; i++)
        ck_assert_msg(fabsf(found[i] - wanted[i]) <= 1e-6f + 1e-5f * fabsf(wanted[i]),
                      "line %d: [%d] is %.9g, not %.9g", line, i, (double)found[i], (double)wanted[i]);
}

#define EXPECT_VALUE(variable, ...) expect_value(variable, FLOATS(__VA_ARGS__), __LINE__)
static inline void expect_value(cg_variable *variable, int count, const float *wanted, int line)
{
    cg_scope scope = cg_scope_local(cg);
    expect_floats(cg_value(variable), count, wanted, line);
    cg_scope_end(scope);
}

static inline double item_of(cg_variable *variable)
{
    cg_scope scope = cg_scope_local(cg);
    const double value = cg_item(cg_value(variable));
    cg_scope_end(scope);
    return value;
}

static inline cg_tensor plus(cg_tensor x, double number)
{
    return cg_add(x, cg_scalar(cg, number));
}

static inline cg_tensor times(cg_tensor x, double number)
{
    return cg_mul(x, cg_scalar(cg, number));
}

/* Checks the error and its message's beginning or part, and clears it. */
static inline void expect_error(cg_error error, const char *part)
{
    ck_assert_int_eq(cg_status(cg), error);
    ck_assert_msg(strstr(cg_message(cg), part) != NULL, "the message is \"%s\"", cg_message(cg));
    cg_clear_error(cg);
}

#endif

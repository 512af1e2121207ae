/* Compares ops with what another library computed in double: the cases of tests/oracle/FAMILY.safetensors, whose
 * entries tests/oracle/cases.py explains. In f64 within 1e-10 of the largest value, in f32 within 1e-5: outputs,
 * gradients, second derivatives. */
#ifndef CLGRAD_TESTS_ORACLE_H
#define CLGRAD_TESTS_ORACLE_H

#include "op_support.h"

#include <clgrad/formats.h>

enum { ORACLE_MOST = 8, ORACLE_CASES = 4096 };

static cg_safetensors *oracle_file;
static int oracle_checked;

/* One case in one dtype after the other. The body sets `out` from `in`. What is to be compared is gathered first and
 * computed together, so that its kernels are built as one program. */
typedef struct oracle_comparison {
    const char *what;
    int number;
    cg_tensor tensor;
} oracle_comparison;

typedef struct oracle_run {
    const char *name;
    double within; /* of the largest value, in f32 */
    cg_dtype dtype;
    int pass;
    cg_tensor in[ORACLE_MOST], out[ORACLE_MOST];
    int input_count;
    oracle_comparison comparisons[3 * ORACLE_MOST];
    int comparison_count;
} oracle_run;

/* Checks a case: EXPECT_ORACLE("sum/3x5_over_0", out[0] = cg_sum(in[0], .axes = CG_AXES(0))); */
#define EXPECT_ORACLE(name, ...) EXPECT_ORACLE_WITHIN(1e-5, name, __VA_ARGS__)
#define EXPECT_ORACLE_WITHIN(error_in_f32, case_name, ...) \
    for (oracle_run run = {.name = (case_name), .within = (error_in_f32)}; oracle_next(&run);) { \
        cg_tensor *in = run.in, *out = run.out; \
        (void)in; \
        __VA_ARGS__; \
    }

/* Opens the context and tests/oracle/FAMILY.safetensors. */
static inline void oracle_open(const char *family)
{
    const char *root = getenv("CLGRAD_SOURCE_ROOT");
    char path[4096];
    ck_assert_msg(root != NULL, "CLGRAD_SOURCE_ROOT is not set");
    snprintf(path, sizeof path, "%s/tests/oracle/%s.safetensors", root, family);
    open_context();
    oracle_file = cg_safetensors_open(cg, path);
    ck_assert_msg(oracle_file != NULL, "%s", cg_message(cg));
}

static inline void oracle_close(void)
{
    cg_safetensors_close(oracle_file);
    oracle_file = NULL;
    close_context();
}

/* For the last test of a program that ran the others first: no case of the file was left out. */
static inline void expect_all_checked(void)
{
    int cases = 0;
    for (int i = 0; i < cg_safetensors_count(oracle_file); i++)
        cases += strstr(cg_safetensors_at(oracle_file, i)->name, "/output0") != NULL;
    ck_assert_int_eq(oracle_checked, cases);
}

/* The entry CASE/WHAT<number>; false where there is none. */
static inline bool oracle_array(const oracle_run *run, const char *what, int number, array *found)
{
    char name[256];
    snprintf(name, sizeof name, "%s/%s%d", run->name, what, number);
    const int index = cg_safetensors_find(oracle_file, name);
    if (index < 0) return false;
    const cg_safetensors_entry *entry = cg_safetensors_at(oracle_file, index);
    const bool floating = cg_is_floating(entry->dtype);
    *found = array_new(floating ? run->dtype : entry->dtype, entry->shape);
    const size_t bytes = (size_t)found->count * cg_dtype_bytes(entry->dtype);
    void *data = test_memory(bytes);
    ck_assert_msg(cg_safetensors_read(oracle_file, index, data, bytes), "%s", cg_message(cg));
    for (int64_t i = 0; i < found->count; i++)
        found->at[i] = entry->dtype == CG_F64   ? ((double *)data)[i]
                       : entry->dtype == CG_F32 ? ((float *)data)[i]
                       : entry->dtype == CG_I32 ? ((int32_t *)data)[i]
                                                : ((uint8_t *)data)[i];
    return true;
}

static inline void oracle_compare_later(oracle_run *run, const char *what, int number, cg_tensor tensor)
{
    ck_assert_msg(!cg_is_null(tensor), "%s: %s", run->name, cg_message(cg));
    ck_assert_int_lt(run->comparison_count, 3 * ORACLE_MOST);
    run->comparisons[run->comparison_count++] = (oracle_comparison){what, number, tensor};
}

static inline void oracle_compare(const oracle_run *run, const char *what, int number, cg_tensor tensor)
{
    array wanted, found = array_read(tensor);
    char text[300];
    snprintf(text, sizeof text, "%s: %s %d in %s", run->name, what, number, cg_dtype_name(run->dtype));
    ck_assert_msg(oracle_array(run, what, number, &wanted), "%s is not in the file", text);
    ck_assert_msg(found.dtype == wanted.dtype, "%s is %s", text, cg_dtype_name(found.dtype));
    ck_assert_msg(cg_shapes_equal(found.shape, wanted.shape), "%s is %s, not %s", text, cg_shape_text(cg, found.shape),
                  cg_shape_text(cg, wanted.shape));
    double largest = 0;
    for (int64_t i = 0; i < wanted.count; i++)
        if (isfinite(wanted.at[i])) largest = fmax(largest, fabs(wanted.at[i]));
    const double error = !cg_is_floating(wanted.dtype) ? 0 : largest * (run->dtype == CG_F32 ? run->within : 1e-10);
    for (int64_t i = 0; i < wanted.count; i++)
        ck_assert_msg(close_to(found.at[i], wanted.at[i], 0, error), "%s: element %lld is %.17g, not %.17g (within %g)",
                      text, (long long)i, found.at[i], wanted.at[i], error);
}

/* The inputs that gradients are taken of: the floating ones. Returns their number. */
static inline int oracle_wrt(const oracle_run *run, cg_tensor *wrt)
{
    int count = 0;
    for (int i = 0; i < run->input_count; i++)
        if (cg_is_floating(cg_dtype_of(run->in[i]))) wrt[count++] = run->in[i];
    return count;
}

static inline void oracle_compare_second(oracle_run *run, const cg_tensor *wrt, const cg_tensor *first, int count)
{
    cg_tensor directions[ORACLE_MOST], second[ORACLE_MOST];
    array direction;
    if (!oracle_array(run, "direction", 0, &direction)) return;
    for (int i = 0; i < count; i++) {
        ck_assert(oracle_array(run, "direction", i, &direction));
        directions[i] = tensor_of(direction);
    }
    ck_assert_msg(cg_grad(first, count, wrt, count, second, .cotangents = directions), "%s: %s", run->name,
                  cg_message(cg));
    for (int i = 0; i < count; i++) oracle_compare_later(run, "second", i, second[i]);
}

static inline void oracle_compare_gradients(oracle_run *run, int outputs)
{
    cg_tensor smooth[ORACLE_MOST], cotangents[ORACLE_MOST], wrt[ORACLE_MOST], first[ORACLE_MOST];
    int smooth_count = 0;
    array cotangent;
    const int count = oracle_wrt(run, wrt);
    for (int i = 0; i < outputs; i++)
        if (cg_is_floating(cg_dtype_of(run->out[i])) && oracle_array(run, "cotangent", smooth_count, &cotangent)) {
            smooth[smooth_count] = run->out[i];
            cotangents[smooth_count++] = tensor_of(cotangent);
        }
    if (smooth_count == 0) return;
    ck_assert_msg(cg_grad(smooth, smooth_count, wrt, count, first, .cotangents = cotangents), "%s: %s", run->name,
                  cg_message(cg));
    for (int i = 0; i < count; i++) oracle_compare_later(run, "gradient", i, first[i]);
    oracle_compare_second(run, wrt, first, count);
}

static inline void oracle_compare_all(oracle_run *run)
{
    cg_tensor tensors[3 * ORACLE_MOST];
    int outputs = 0;
    run->comparison_count = 0;
    for (array wanted; oracle_array(run, "output", outputs, &wanted); outputs++)
        oracle_compare_later(run, "output", outputs, run->out[outputs]);
    ck_assert_msg(outputs > 0, "%s is not in the file", run->name);
    oracle_compare_gradients(run, outputs);
    for (int i = 0; i < run->comparison_count; i++) tensors[i] = run->comparisons[i].tensor;
    ck_assert_msg(cg_eval(tensors, run->comparison_count), "%s: %s", run->name, cg_message(cg));
    for (int i = 0; i < run->comparison_count; i++) {
        const oracle_comparison *c = &run->comparisons[i];
        oracle_compare(run, c->what, c->number, c->tensor);
    }
}

/* Compares what the body left, then makes the inputs of the next dtype. False when all are done. */
static inline bool oracle_next(oracle_run *run)
{
    static const cg_dtype dtypes[] = {CG_F32, CG_F64};
    if (run->pass > 0) oracle_compare_all(run);
    if (run->pass == (has_f64() ? 2 : 1)) {
        oracle_checked++;
        return false;
    }
    run->dtype = dtypes[run->pass++];
    run->input_count = 0;
    memset(run->out, 0, sizeof run->out);
    for (array input; oracle_array(run, "input", run->input_count, &input);)
        run->in[run->input_count++] = tensor_of(input);
    return true;
}

#endif

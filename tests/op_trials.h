/* What the tests of the op table share: calls described by an op's samples, and comparisons that are made together, so
 * that their kernels are built as one program. */
#ifndef CLGRAD_TESTS_OP_TRIALS_H
#define CLGRAD_TESTS_OP_TRIALS_H

#include "op_support.h"

enum { MOST_INPUTS = 8 };

/* ---- Comparisons, made together ---------------------------------------------------------------------------------- */

/* A result and what it should be: an array, or another result, which it should equal relative to the largest of its
 * elements, or 1, since sums may cancel. */
typedef struct comparison {
    cg_tensor found, reference;
    array wanted;
    double relative;
    char name[96];
} comparison;

enum { MOST_COMPARISONS = 1024 };
static comparison comparisons[MOST_COMPARISONS];
static int comparison_count;

static inline void compare_later(cg_tensor found, cg_tensor reference, array wanted, double relative, const char *name)
{
    ck_assert_int_lt(comparison_count, MOST_COMPARISONS);
    comparison *c = &comparisons[comparison_count++];
    *c = (comparison){found, reference, wanted, relative, ""};
    snprintf(c->name, sizeof c->name, "%s", name);
}

static inline void compare(const comparison *c)
{
    if (cg_is_null(c->reference)) {
        expect_close(c->found, c->wanted, c->relative, 0, c->name);
        return;
    }
    array wanted = array_read(c->reference);
    double largest = 1;
    for (int64_t i = 0; i < wanted.count; i++)
        if (isfinite(wanted.at[i])) largest = fmax(largest, fabs(wanted.at[i]));
    wanted.dtype = cg_dtype_of(c->found);
    for (int64_t i = 0; i < wanted.count; i++) wanted.at[i] = rounded(wanted.at[i], wanted.dtype);
    bool floating = cg_is_floating(wanted.dtype);
    expect_close(c->found, wanted, floating ? c->relative : 0, floating ? c->relative * largest + 1e-37 : 0, c->name);
}

/* One plan for all: its kernels are built as one program. What fails leaves nothing to the next test. */
static inline void compare_now(void)
{
    cg_tensor tensors[2 * MOST_COMPARISONS] = {{0}};
    const int all = comparison_count;
    int count = 0;
    comparison_count = 0;
    for (int i = 0; i < all; i++) {
        tensors[count++] = comparisons[i].found;
        if (!cg_is_null(comparisons[i].reference)) tensors[count++] = comparisons[i].reference;
    }
    ck_assert_msg(cg_eval(tensors, count), "%s", cg_message(cg));
    for (int i = 0; i < all; i++) compare(&comparisons[i]);
}

static inline const cg_op *op_at(int index)
{
    int count;
    const cg_op *const *table = cg_op_table(&count);
    ck_assert_int_lt(index, count);
    random_state = (uint64_t)index + 1;
    return table[index];
}

static inline int op_count(void)
{
    int count;
    cg_op_table(&count);
    return count;
}

/* ---- Ops, checked together --------------------------------------------------------------------------------------- */

/* Of the table. Kernels are known to a context, and to PoCL as part of a whole program, by its text: ops that share a
 * context share kernels, and those that are evaluated together a program. */
enum { OPS_TOGETHER = 8, SECONDS_TOGETHER = 1800 };

static inline int group_count(void)
{
    return (op_count() + OPS_TOGETHER - 1) / OPS_TOGETHER;
}

static inline int first_of_group(int group)
{
    return group * OPS_TOGETHER;
}

static inline int end_of_group(int group)
{
    return first_of_group(group + 1) < op_count() ? first_of_group(group + 1) : op_count();
}

/* What the checks leave to be compared is compared at the end. */
static inline void each_op_of_group(int group, void (*check)(const cg_op *))
{
    const cg_scope scope = cg_scope_begin(cg);
    for (int i = first_of_group(group); i < end_of_group(group); i++) check(op_at(i));
    compare_now();
    cg_scope_end(scope);
}

/* Kernels as they are by themselves, which several evaluations have in common. Plans that are joined and launches that
 * are shared are tested by random programs. */
static inline void open_unjoined(void)
{
    setenv("CLGRAD_JOIN", "never", 1);
    setenv("CLGRAD_SHARE", "never", 1);
    open_context();
    unsetenv("CLGRAD_SHARE");
    unsetenv("CLGRAD_JOIN");
}

/* ---- Calls described by samples ---------------------------------------------------------------------------------- */

/* One call: the op and its inputs. */
typedef struct trial {
    const cg_op *op;
    const cg_sample *sample;
    int count;
    array inputs[MOST_INPUTS];
    char name[64];
} trial;

/* Inputs beyond the fourth are as the fourth; an op with any number of inputs has as many as have axes. */
static inline int input_count(const cg_op *op, const cg_sample *sample)
{
    int count = op->inputs;
    if (count < 0)
        for (count = 0; count < 4 && sample->shapes[count].rank; count++) continue;
    ck_assert_int_le(count, MOST_INPUTS);
    return count;
}

static inline cg_dtype input_dtype(const cg_sample *sample, int input, cg_dtype floating)
{
    cg_dtype dtype = sample->dtypes[input < 4 ? input : 3];
    return dtype == CG_F32 ? floating : dtype;
}

/* `digits`: the dtype to whose precision the inputs are rounded, so that two trials can have the same ones. */
static inline trial trial_new(const cg_op *op, int index, cg_dtype floating, cg_dtype digits)
{
    const cg_sample *sample = &op->samples[index];
    trial t = {.op = op, .sample = sample, .count = input_count(op, sample)};
    snprintf(t.name, sizeof t.name, "%s, sample %d, %s", op->name, index, cg_dtype_name(floating));
    random_state = (uint64_t)index * 1000 + 7;
    for (int i = 0; i < t.count; i++) {
        cg_dtype dtype = input_dtype(sample, i, digits);
        t.inputs[i] = array_random(dtype, sample->shapes[i < 4 ? i : 3], sample->low, sample->high);
        t.inputs[i].dtype = input_dtype(sample, i, floating);
    }
    return t;
}

static inline void call(const trial *t, const cg_tensor *inputs, cg_tensor *outputs)
{
    bool fine = cg_apply_all(t->op, inputs, t->count, t->sample->attributes, t->sample->attribute_count, outputs);
    ck_assert_msg(fine, "%s: %s", t->name, cg_message(cg));
}

static inline void call_plain(const trial *t, cg_tensor *outputs)
{
    cg_tensor inputs[MOST_INPUTS];
    for (int i = 0; i < t->count; i++) inputs[i] = tensor_of(t->inputs[i]);
    call(t, inputs, outputs);
}

static inline int output_count(const cg_op *op)
{
    return op->outputs ? op->outputs : 1;
}

#endif

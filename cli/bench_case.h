/* One case of `clgrad bench`: what is measured, and at which sizes. A case is written as a line, `gemm 128x512x784 TN`:
 * so in the lists of built-in cases, in a user's file of shapes and in the results. */
#ifndef CLGRAD_CLI_BENCH_CASE_H
#define CLGRAD_CLI_BENCH_CASE_H

#include <clgrad/clgrad.h>

enum { CASE_TEXT_BYTES = 96, CASE_INPUTS = 4, CASE_RESULTS = 4, NO_AXIS = -1 };

/* Words that may follow the shape. */
enum { WORD_AXIS = 1, WORD_OPS = 2, WORD_FORM = 4, WORD_WINDOWS = 8, WORD_GROUPS = 16 };

typedef struct bench_case bench_case;
struct training_step;

/* A kind of case. Of a training step the shape is fixed; of an op it is in the line. */
typedef struct bench_kind {
    const char *family, *name;
    int words, least_rank, most_rank;
    /* Ops: inputs, flop, passes of the case from its extents, and NULL, or why there is none; and the op itself. */
    const char *(*describe)(bench_case *c);
    cg_tensor (*record)(const bench_case *c, const cg_tensor *inputs);
    /* Where `record` is one of the library's functions as it is. */
    cg_tensor (*function)(cg_tensor x);
    const struct training_step *step; /* NULL: an op */
    /* Instead of `record`, of an op with its gradients: sets the results and returns how many there are. */
    int (*record_all)(const bench_case *c, const cg_tensor *inputs, cg_tensor *results);
} bench_kind;

struct bench_case {
    const bench_kind *kind;
    char shape[CASE_TEXT_BYTES]; /* what follows the name in the line */
    cg_dtype dtype;
    cg_shape extents;
    int axis; /* NO_AXIS: over all elements */
    int ops;
    bool transposed[2];
    int stride, padding, groups;
    /* What `describe` finds out. A repetition reads each input `passes` times and writes the result once; with
     * gradients it reads or writes so many tensors of the first input's size. */
    cg_shape inputs[CASE_INPUTS];
    int input_count, passes;
    double result_size, flop;
};

/* Reads a line, [FAMILY] NAME SHAPE [WORD...], so also a text that bench_case_text writes. NULL, or why it is no case.
 */
const char *bench_case_parse(bench_case *c, const char *line, cg_dtype dtype);
/* The text that filters are parts of: FAMILY NAME SHAPE, the family only where it is not the name. */
void bench_case_text(const bench_case *c, char text[2 * CASE_TEXT_BYTES]);
/* Elements of a shape, which may be more than a tensor can have. */
double elements_of(cg_shape shape);
/* Bytes of the operands of one repetition, result included, and bytes that it moves. */
double bench_case_bytes(const bench_case *c);
double bench_case_traffic(const bench_case *c);

/* The kinds, one table per file of kinds. */
const bench_kind *bench_elementwise_kinds(int *count);
const bench_kind *bench_reduce_kinds(int *count);
const bench_kind *bench_normalization_kinds(int *count);
const bench_kind *bench_move_kinds(int *count);
const bench_kind *bench_scan_kinds(int *count);
const bench_kind *bench_gemm_kinds(int *count);
const bench_kind *bench_convolution_kinds(int *count);
const bench_kind *bench_step_kinds(int *count);

/* The built-in cases, as lines; those of DeepBench are many and long, and run only where a filter asks for them. */
const char *const *bench_builtin_lines(int *count);
const char *const *bench_deepbench_lines(int *count);

#endif

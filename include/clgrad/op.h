/* The interface through which every op, built in or the user's own, is made: one descriptor says how the op infers
 * its shape, how it runs, how it is differentiated, and on which inputs it can be checked. */
#ifndef CLGRAD_OP_H
#define CLGRAD_OP_H

#include <clgrad/context.h>

CG_BEGIN

enum { CG_MAX_INPUTS = 24, CG_MAX_MAP_INPUTS = 8, CG_MAX_OUTPUTS = 8, CG_MAX_ATTRIBUTES = 40 };

typedef enum cg_op_kind {
    CG_OP_MAP,      /* elementwise over broadcast inputs: `expression` */
    CG_OP_MOVE,     /* rearranges without arithmetic: `move` yields the index mapping */
    CG_OP_REDUCE,   /* folds axes with `combine`, starting from `identity` */
    CG_OP_CONTRACT, /* batched matrix product */
    CG_OP_KERNEL,   /* an OpenCL C function of its own: `source`, run once per work-item */
    CG_OP_COMPOSED  /* expands into other ops: `expand` */
} cg_op_kind;

struct cg_op;

/* What an op's functions see of one call. */
typedef struct cg_call {
    const struct cg_op *op;
    cg_context *context;
    int input_count, attribute_count;
    const cg_shape *input_shapes; /* one per input */
    const cg_dtype *input_dtypes;
    const char *const *input_names; /* by cg_named; NULL where an input has none. For messages: see cg_input_text */
    const int64_t *attributes;
    const char *label; /* the user's name for the call's result, or "" */
} cg_call;

/* Result of inference: one entry per output. */
typedef struct cg_inferred {
    cg_shape shape[CG_MAX_OUTPUTS];
    cg_dtype dtype[CG_MAX_OUTPUTS];
} cg_inferred;

/* Differentiation of one node. `inputs` and `outputs` are tensors; `cotangents` one per output (null: zero). The rule
 * writes the cotangent of each input i with `wanted[i]` into `result[i]`; leaving it null means zero. */
typedef struct cg_vjp {
    const cg_call *call;
    const cg_tensor *inputs, *outputs, *cotangents;
    const bool *wanted;
} cg_vjp;

/* How a MOVE reads its first input (any others are there for its vjp): input coordinate of axis j = offset[j] + sum
 * over output axes i of factor[j][i] * c_i. Where a coordinate falls outside 0..extent-1 the value is 0 (pad). */
typedef struct cg_mapping {
    int64_t offset[CG_MAX_RANK];
    int64_t factor[CG_MAX_RANK][CG_MAX_RANK];
    bool guarded; /* some coordinates can fall outside */
    bool copies;  /* cannot be written so: the same elements in row-major order (a general reshape) */
} cg_mapping;

/* Launch of a KERNEL op: the number of work-items, and integers that the source reads as p0, p1, ... */
typedef struct cg_launch {
    int64_t items;
    int64_t parameters[24];
    int parameter_count;
} cg_launch;

/* A call on which the op is checked. Inputs are drawn evenly from [low, high] (integers: rounded); with `edges`, values
 * are checked on 0, -0, infinities, NaN, tiny and huge numbers too. The first and second derivative are checked where
 * `smooth` is true. */
typedef struct cg_sample {
    cg_shape shapes[4];
    cg_dtype dtypes[4]; /* CG_F32 stands for "each floating dtype in turn" */
    double low, high;
    int64_t attributes[CG_MAX_ATTRIBUTES];
    int attribute_count;
    bool smooth; /* differentiable on the open interval: gradients are checked */
    bool edges;  /* a map: values are also checked on edge values: 0, -0, inf, nan, tiny, huge */
} cg_sample;

/* What the documentation says of an op, or of a function that calls others: docs/ops.md and `clgrad ops` are made of
 * it. Plain text; what is NULL is not said. */
typedef struct cg_op_text {
    const char *formula; /* what it computes */
    const char *call;    /* the function's arguments, "x, axis, .keepdims"; NULL: x, or a and b, or a, b and c */
    const char *edges;   /* values at edges, subgradients at kinks */
    /* Names there, without "keras." and "torch."; several with ", " between, a remark in () after its name. */
    const char *keras, *pytorch;
    const char *dtypes; /* where the function takes others than the op does: "any → floating" */
    bool internal;      /* no function has the op's name: it is what others are made of */
} cg_op_text;

typedef struct cg_op {
    const char *name;
    cg_op_kind kind;
    int inputs;  /* -1: any number up to CG_MAX_INPUTS */
    int outputs; /* 0 means 1 */

    /* Shape and dtype of the outputs. Returns false after reporting through cg_op_error. Left out for a map: the
     * broadcast shape, promoted dtype (or `result_dtype`). */
    bool (*infer)(const cg_call *call, cg_inferred *result);

    /* MAP: OpenCL C over the operands a, b, c, d, ... It is used for scalars and for vectors of them, so it must hold
     * for both: choose with SELECT(condition, yes, no), write literals as REAL(0.5) (in the result's floating type),
     * cast with (T)(...), where T is the result's type; bool values are integers, zero or not. INDEX_CHECK(a, bound)
     * is a, reported and replaced by 0 where outside [0, bound). */
    const char *expression;
    bool floating;         /* map: integer operands are converted to f32 first */
    bool predicate;        /* map: the result is CG_BOOL; operands are promoted to a common dtype */
    bool logical;          /* map, reduce: operands are converted to bool and the result is bool */
    bool condition;        /* map: operand a is converted to bool, the others to the result's dtype */
    bool has_result_dtype; /* map: the result has `result_dtype` and operands keep their own dtypes */
    cg_dtype result_dtype;
    int cost;     /* map: about how many additions it costs; 0 means 1 */
    bool reports; /* map, kernel: may report a bad index (INDEX_CHECK, REPORT) */
    bool random;  /* takes the next number of the context's counter; never merged */
    /* MAP: the same in double on the host, for numbers that never reach the device and for tests. COMPOSED, where the
     * outputs are elementwise: for tests. */
    double (*host)(const double *operands);

    /* MOVE */
    void (*move)(const cg_call *call, cg_mapping *mapping);
    bool shifts; /* its first attributes, one per axis of the input, are the mapping's offsets and nothing
                  * else: where an axis is not taken whole they are arguments, not structure */
    bool again; /* it has two inputs and is the first, computed or read anew: no two are merged, so that neither is what
                 * reads them, and their readers wait until the second input, which none reads, is there */

    /* REDUCE: attributes are a bit mask of the axes and keepdims (0 or 1). `combine` is an expression in a and b,
     * associative and commutative; `identity` its neutral element. LOWEST and HIGHEST are the dtype's extremes. */
    const char *combine, *identity;

    /* KERNEL: statements run for each item `i` (a long): in0, in1, ..., out0, ... are pointers to contiguous elements,
     * IN0_T, OUT0_T, ... their types, p0, p1, ... the launch parameters (long). REPORT(index, bound) reports a bad
     * index. Every element of every output must be written. */
    const char *source;
    bool (*launch)(const cg_call *call, cg_launch *launch);
    /* Adds up windows of its output's last axes, its input: [.., extents.., counts..]. Its attributes are for each axis
     * size, extent, count, stride, dilation, before: element k of window p is added to element
     * p * stride + k * dilation - before. A product that only it reads may be computed along with it. */
    bool folds;

    /* COMPOSED: outputs from inputs by other ops. Must be a pure function of shapes, dtypes and attributes. With
     * `deferred` it is called as late as with cg_defer, and what is said there holds; `infer` must then be there and
     * tell the truth; and with a `vjp` besides, that is its derivative rather than its expansion's. */
    void (*expand)(const cg_call *call, const cg_tensor *inputs, cg_tensor *outputs);
    bool deferred;

    /* Cotangents of the inputs, written with public ops. NULL: not differentiable, unless `zero_gradient`. It must be
     * pure as `expand` is, and may run as late as at the forcing point: it reads no values. */
    void (*vjp)(const cg_vjp *vjp, cg_tensor *result);
    bool zero_gradient; /* piecewise constant: the derivative is 0 wherever it exists */

    const cg_sample *samples;
    int sample_count;

    cg_op_text text;
} cg_op;

/* A function whose name no op has: it calls others. */
typedef struct cg_op_function {
    const char *name; /* without cg_ */
    const char *of;   /* the op that has its derivatives, and its dtypes unless the text names others; NULL: none */
    cg_op_text text;
} cg_op_function;

/* The ops and functions of one file. Families with the same title are one section of the documentation, whose
 * introduction the first has. */
typedef struct cg_op_family {
    const cg_op *const *ops;
    int count;
    const cg_op_function *functions;
    int function_count;
    const char *title, *introduction;
} cg_op_family;

/* Records a call of an op with one output: returns it, or the null tensor after an error. */
CG_API cg_tensor cg_apply(const cg_op *op, const cg_tensor *inputs, int input_count, const int64_t *attributes,
                          int attribute_count);
/* The same for any number of outputs; `outputs` has room for op->outputs tensors. False, with all of them null, after
 * an error. */
CG_API bool cg_apply_all(const cg_op *op, const cg_tensor *inputs, int input_count, const int64_t *attributes,
                         int attribute_count, cg_tensor *outputs);

/* Records a COMPOSED op without expanding it. That happens when a plan is to be made that needs its outputs, or when
 * one of them is differentiated; where the plan is known already, it does not happen at all. So `expand` must be pure:
 * it sees shapes and dtypes through its inputs, and the attributes; every number that a caller may change is an input
 * of rank 0; it neither reads nor assigns. Any number of inputs and outputs; output i has the shape and dtype of input
 * like + i. An error in the expansion is reported at the forcing point. False, with all outputs null, after an error.
 */
CG_API bool cg_defer(const cg_op *op, const cg_tensor *inputs, int input_count, const int64_t *attributes,
                     int attribute_count, int like, int output_count, cg_tensor *outputs);

/* Reports an error of a call; the message is prefixed with the op's name. Returns false, to be returned. */
CG_API bool cg_op_error(const cg_call *call, const char *format, ...) CG_FORMAT(2, 3);
/* The same outside a call. `op` is the name that the message starts with. Returns the null tensor. */
CG_API cg_tensor cg_report(cg_context *cg, cg_error error, const char *op, const char *format, ...) CG_FORMAT(4, 5);
/* Reports a null tensor that a call was given, unless an error says already why it is null. `what` names it ("the
 * loss", "input %d"). Returns the null tensor. */
CG_API cg_tensor cg_report_null(cg_context *cg, const char *op, const char *what, ...) CG_FORMAT(3, 4);
/* The same of operand number `index`, from 0, where another operand has a context to report it to, as cg_apply does:
 * for functions that look at their operands before. */
CG_API cg_tensor cg_report_null_operand(const char *op, const cg_tensor *inputs, int count, int index);

/* Names a tensor for messages ("add: shapes features [3] and [4] do not broadcast ..."); the name is copied. A kernel
 * that finds a bad index reports it under the name of its result. Returns the tensor. */
CG_API cg_tensor cg_named(cg_tensor tensor, const char *name);

/* A literal that folds into kernels: 0, 1, 0.5 in a derivative rule. With the dtype given, rank 0. Never use it for
 * a number that a user passes: that is cg_scalar. */
CG_API cg_tensor cg_constant(cg_context *cg, cg_dtype dtype, double value);
/* The same for a number that depends on sizes, as 1/N does: an argument, since N may be a minibatch size. */
CG_API cg_tensor cg_size_scalar(cg_context *cg, cg_dtype dtype, double value);
/* i32 tensor whose element at each position is its row-major position. */
CG_API cg_tensor cg_index(cg_context *cg, cg_shape shape);

/* What a random map reads besides its position: seed (low, high half) and call number (low, high), i32 scalars. The
 * number is the context's next, or `key` with has_key. */
CG_API void cg_random_operands(cg_context *cg, uint64_t key, bool has_key, cg_tensor operands[4]);

/* Shape helpers for inference. */
CG_API bool cg_broadcast_shapes(const cg_call *call, cg_shape *result); /* of all inputs; reports */
CG_API cg_dtype cg_promote(cg_dtype a, cg_dtype b);
CG_API bool cg_is_floating(cg_dtype dtype);
/* The tensor converted to a dtype; see clgrad/ops.h. The engine itself needs it for f16 and bf16. */
CG_API cg_tensor cg_cast(cg_tensor x, cg_dtype dtype);
/* What messages call a shape: "[128,784]"; an input of a call, and a tensor: "labels [128]", its name before the shape
 * if it has one. In one of a ring of eight buffers inside the context. */
CG_API const char *cg_shape_text(cg_context *cg, cg_shape shape);
CG_API const char *cg_input_text(const cg_call *call, int input);
CG_API const char *cg_tensor_text(cg_tensor tensor);

/* The built-in ops, and the families that they come in. */
CG_API const cg_op *const *cg_op_table(int *count);
CG_API const cg_op_family *const *cg_op_families(int *count);

CG_END
#endif

/* Tensors: small handles to immutable values, their shapes and dtypes, making them from host data and reading them
 * back. A tensor belongs to the context that made it and lives until the scope in which it was made ends. */
#ifndef CLGRAD_TENSOR_H
#define CLGRAD_TENSOR_H

#include <clgrad/api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

CG_BEGIN

enum { CG_MAX_RANK = 8 };

/* Element types. BOOL is stored as one byte, 0 or 1. F16 (IEEE 754 binary16) and BF16 (the upper half of an F32) are
 * stored only: kernels compute in f32 and round, to the nearest, ties to even, what they store and what is cast. So
 * they halve the memory and its traffic, on every device; arithmetic is no faster, and the operands of a matrix product
 * are converted to f32 before it, so that CPUs gain memory and no time, as CLGRAD_LOG=plan then says. What sums,
 * multiplies matrices or has kernels of its own works on f32 throughout and rounds its results. f16 with bf16 gives
 * f32, with integers f16. */
typedef enum cg_dtype { CG_F32 = 0, CG_F64 = 1, CG_I32 = 2, CG_U8 = 3, CG_BOOL = 4, CG_F16 = 5, CG_BF16 = 6 } cg_dtype;

typedef struct cg_context cg_context;
struct cg_node;

/* A handle, passed and copied by value. The null tensor (all zero) stands for "an error happened": ops given one
 * return it. Where no error is recorded, one that comes with another operand, to a layer or to an optimizer, is an
 * error itself. A handle whose scope has ended is recognised and reported, never followed. */
typedef struct cg_tensor {
    struct cg_node *node;
    uint64_t generation;
} cg_tensor;

/* Extents of a tensor, outermost first; rank 0 is a scalar. A size may be 0. */
typedef struct cg_shape {
    int rank;
    int64_t size[CG_MAX_RANK];
} cg_shape;

/* CG_SHAPE(128, 784): a shape from a list of extents. CG_RANK0 is the shape of a scalar. */
#define CG_SHAPE(...) CG_LITERAL(cg_shape, CG_COUNT(int64_t, __VA_ARGS__), {__VA_ARGS__})
#define CG_RANK0 CG_LITERAL(cg_shape, 0, {0})

/* A list of axes; negative ones count from the end. An empty list (a field left out) means all axes. */
typedef struct cg_axes {
    int count;
    int axis[CG_MAX_RANK];
} cg_axes;
#define CG_AXES(...) CG_LITERAL(cg_axes, CG_COUNT(int, __VA_ARGS__), {__VA_ARGS__})

CG_API bool cg_is_null(cg_tensor tensor);
/* Shape and dtype; of the null or a dead tensor: rank -1, CG_F32. */
CG_API cg_shape cg_shape_of(cg_tensor tensor);
CG_API cg_dtype cg_dtype_of(cg_tensor tensor);
/* Number of elements; -1 for the null tensor. */
CG_API int64_t cg_size(cg_tensor tensor);
/* Number of elements; -1 for a shape that no tensor can have. */
CG_API int64_t cg_shape_size(cg_shape shape);
CG_API bool cg_shapes_equal(cg_shape a, cg_shape b);
/* Bytes of an element and name of a dtype; of one that does not exist: 0 and "unknown". */
CG_API size_t cg_dtype_bytes(cg_dtype dtype);
CG_API const char *cg_dtype_name(cg_dtype dtype);
/* The context of a tensor; NULL for the null tensor. */
CG_API cg_context *cg_context_of(cg_tensor tensor);

typedef struct cg_input_options {
    char unset_;
    const char *name; /* used in messages; copied */
    int batch_axis;   /* with .has_batch_axis: this axis is the minibatch: another size there builds no program */
    bool has_batch_axis;
} cg_input_options;

/* A tensor holding a copy of `data` (cg_shape_size elements of `dtype`, row-major). The copy is taken at the call. It
 * is a macro, as all functions with options are, and a macro takes the commas in braces for its own: a compound literal
 * needs parentheses around it, cg_input(cg, CG_F32, CG_SHAPE(2), ((float[]){1, 2})).
 * Errors: no memory, f64 on a device without it, NULL for data of a size other than 0. */
#define cg_input(cg, dtype, shape, data, ...) \
    cg_input_with(cg, dtype, shape, data, CG_OPTIONS(cg_input_options, __VA_ARGS__))
CG_API cg_tensor cg_input_with(cg_context *cg, cg_dtype dtype, cg_shape shape, const void *data,
                               const cg_input_options *options);

/* Upload without a second copy: `cg_staging` lends host memory of `bytes`, which the caller fills (from any thread);
 * `cg_input_staged` turns it into a tensor and takes it back; `cg_staging_return` takes it back unused. */
CG_API void *cg_staging(cg_context *cg, size_t bytes);
CG_API cg_tensor cg_input_staged(cg_context *cg, cg_dtype dtype, cg_shape shape, void *staging,
                                 const cg_input_options *options);
CG_API void cg_staging_return(cg_context *cg, void *staging);

/* A rank-0 number that reaches kernels as an argument: another value makes no new plan. Its dtype is weak: together
 * with an f64 tensor it is f64, with f32 or integers f32, and alone f32. */
CG_API cg_tensor cg_scalar(cg_context *cg, double value);
/* The same as an i32, exact; weak too: with another integer dtype it takes that one. */
CG_API cg_tensor cg_scalar_int(cg_context *cg, int32_t value);

/* Read: runs what is pending, waits, and copies `count` elements (must equal cg_size) to the host, converted from
 * any dtype. False with a message on any error, `out` then unspecified; for the null tensor false without one. */
CG_API bool cg_read_floats(cg_tensor tensor, float *out, int64_t count);
CG_API bool cg_read_doubles(cg_tensor tensor, double *out, int64_t count);
CG_API bool cg_read_ints(cg_tensor tensor, int32_t *out, int64_t count);
/* The raw elements, `bytes` in all. */
CG_API bool cg_read(cg_tensor tensor, void *out, size_t bytes);
/* The single element of a tensor of size 1; NaN with a message on an error, and NaN for the null tensor without one. */
CG_API double cg_item(cg_tensor tensor);

CG_END
#endif

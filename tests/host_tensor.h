/* A plain interpreter of tensor operations on the host, in double, one element at a time: what the random programs are
 * compared with. It shares no code with the library but the shape type. Each value carries a bound of its magnitude
 * and of the error that the device may have made, both from the program's structure alone. */
#ifndef CLGRAD_TESTS_HOST_TENSOR_H
#define CLGRAD_TESTS_HOST_TENSOR_H

#include <clgrad/tensor.h>

typedef struct host_tensor {
    cg_shape shape;
    int64_t size;
    double *data; /* row-major, owned */
    double bound; /* no element is larger in magnitude */
    double error; /* nor further from what the device computes */
} host_tensor;

typedef enum host_scan { HOST_CUMSUM, HOST_CUMMAX, HOST_CUMMIN, HOST_SORT, HOST_ARGSORT } host_scan;
typedef enum host_fold { HOST_SUM, HOST_MEAN, HOST_MAX, HOST_MIN, HOST_LOGSUMEXP, HOST_ALL, HOST_ANY } host_fold;

host_tensor host_new(cg_shape shape);
host_tensor host_copy(const host_tensor *a);
void host_free(host_tensor *a);

/* Whether two shapes broadcast, and to what. */
bool host_broadcasts(const cg_shape *a, const cg_shape *b, cg_shape *result);

host_tensor host_map1(double (*f)(double), const host_tensor *a);
host_tensor host_map2(double (*f)(double, double), const host_tensor *a, const host_tensor *b);
host_tensor host_where(const host_tensor *condition, const host_tensor *yes, const host_tensor *no);

host_tensor host_reshape(const host_tensor *a, cg_shape shape);
host_tensor host_permute(const host_tensor *a, const int *axes);
host_tensor host_broadcast(const host_tensor *a, cg_shape shape);
/* `shape` elements along each axis, from `start` in steps of `step`. */
host_tensor host_slice(const host_tensor *a, cg_shape shape, const int64_t *start, const int64_t *step);
host_tensor host_pad(const host_tensor *a, const int64_t *before, const int64_t *after, double value);
host_tensor host_concat(const host_tensor *const *parts, int count, int axis);

/* Folds the axes in `mask`. */
host_tensor host_reduce(const host_tensor *a, host_fold fold, unsigned mask, bool keepdims);
host_tensor host_argmax(const host_tensor *a, int axis);
/* Along one axis; sorts ascend and are stable. */
host_tensor host_scanned(const host_tensor *a, host_scan scan, int axis);
host_tensor host_matmul(const host_tensor *a, const host_tensor *b);
host_tensor host_softmax(const host_tensor *a, int axis, bool logarithm);
host_tensor host_gather(const host_tensor *a, const host_tensor *indices, int axis);

#endif

/* The host interpreter behind the random programs: obvious loops, no cleverness. */
#include "host_tensor.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

host_tensor host_new(cg_shape shape)
{
    host_tensor result = {.shape = shape, .size = 1};
    for (int i = 0; i < shape.rank; i++) result.size *= shape.size[i];
    result.data = calloc((size_t)result.size + 1, sizeof *result.data);
    ck_assert_ptr_nonnull(result.data);
    return result;
}

host_tensor host_copy(const host_tensor *a)
{
    host_tensor result = host_new(a->shape);
    memcpy(result.data, a->data, (size_t)a->size * sizeof *a->data);
    result.bound = a->bound;
    result.error = a->error;
    return result;
}

void host_free(host_tensor *a)
{
    free(a->data);
    a->data = NULL;
}

/* Steps a multi-index through a shape in row-major order. */
static void advance(const cg_shape *shape, int64_t *index)
{
    for (int i = shape->rank - 1; i >= 0; i--) {
        if (++index[i] < shape->size[i]) return;
        index[i] = 0;
    }
}

static int64_t position(const cg_shape *shape, const int64_t *index)
{
    int64_t result = 0;
    for (int i = 0; i < shape->rank; i++) result = result * shape->size[i] + index[i];
    return result;
}

/* The element that a shape broadcast to `rank` axes has at an index. */
static double at(const host_tensor *a, int rank, const int64_t *index)
{
    int64_t own[CG_MAX_RANK] = {0};
    for (int i = 0; i < a->shape.rank; i++) own[i] = a->shape.size[i] == 1 ? 0 : index[rank - a->shape.rank + i];
    return a->data[position(&a->shape, own)];
}

bool host_broadcasts(const cg_shape *a, const cg_shape *b, cg_shape *result)
{
    result->rank = a->rank > b->rank ? a->rank : b->rank;
    for (int i = 0; i < result->rank; i++) {
        int j = i - (result->rank - a->rank), k = i - (result->rank - b->rank);
        int64_t p = j < 0 ? 1 : a->size[j], q = k < 0 ? 1 : b->size[k];
        if (p != q && p != 1 && q != 1) return false;
        result->size[i] = p == 1 ? q : p;
    }
    return true;
}

host_tensor host_map1(double (*f)(double), const host_tensor *a)
{
    host_tensor result = host_new(a->shape);
    for (int64_t i = 0; i < result.size; i++) result.data[i] = f(a->data[i]);
    return result;
}

host_tensor host_map2(double (*f)(double, double), const host_tensor *a, const host_tensor *b)
{
    cg_shape shape;
    ck_assert(host_broadcasts(&a->shape, &b->shape, &shape));
    host_tensor result = host_new(shape);
    int64_t index[CG_MAX_RANK] = {0};
    for (int64_t i = 0; i < result.size; i++, advance(&shape, index))
        result.data[i] = f(at(a, shape.rank, index), at(b, shape.rank, index));
    return result;
}

host_tensor host_where(const host_tensor *condition, const host_tensor *yes, const host_tensor *no)
{
    cg_shape branches, shape;
    ck_assert(host_broadcasts(&yes->shape, &no->shape, &branches));
    ck_assert(host_broadcasts(&condition->shape, &branches, &shape));
    host_tensor result = host_new(shape);
    int64_t index[CG_MAX_RANK] = {0};
    for (int64_t i = 0; i < result.size; i++, advance(&shape, index))
        result.data[i] = at(at(condition, shape.rank, index) != 0 ? yes : no, shape.rank, index);
    return result;
}

host_tensor host_reshape(const host_tensor *a, cg_shape shape)
{
    host_tensor result = host_copy(a);
    result.shape = shape;
    return result;
}

host_tensor host_permute(const host_tensor *a, const int *axes)
{
    cg_shape shape = {.rank = a->shape.rank};
    for (int i = 0; i < shape.rank; i++) shape.size[i] = a->shape.size[axes[i]];
    host_tensor result = host_new(shape);
    int64_t index[CG_MAX_RANK] = {0}, from[CG_MAX_RANK];
    for (int64_t n = 0; n < result.size; n++, advance(&shape, index)) {
        for (int i = 0; i < shape.rank; i++) from[axes[i]] = index[i];
        result.data[n] = a->data[position(&a->shape, from)];
    }
    return result;
}

host_tensor host_broadcast(const host_tensor *a, cg_shape shape)
{
    host_tensor result = host_new(shape);
    int64_t index[CG_MAX_RANK] = {0};
    for (int64_t i = 0; i < result.size; i++, advance(&shape, index)) result.data[i] = at(a, shape.rank, index);
    return result;
}

host_tensor host_slice(const host_tensor *a, cg_shape shape, const int64_t *start, const int64_t *step)
{
    host_tensor result = host_new(shape);
    int64_t index[CG_MAX_RANK] = {0}, from[CG_MAX_RANK];
    for (int64_t n = 0; n < result.size; n++, advance(&shape, index)) {
        for (int i = 0; i < shape.rank; i++) from[i] = start[i] + index[i] * step[i];
        result.data[n] = a->data[position(&a->shape, from)];
    }
    return result;
}

host_tensor host_pad(const host_tensor *a, const int64_t *before, const int64_t *after, double value)
{
    cg_shape shape = a->shape;
    for (int i = 0; i < shape.rank; i++) shape.size[i] += before[i] + after[i];
    host_tensor result = host_new(shape);
    for (int64_t n = 0; n < result.size; n++) result.data[n] = value;
    int64_t index[CG_MAX_RANK] = {0}, to[CG_MAX_RANK];
    for (int64_t n = 0; n < a->size; n++, advance(&a->shape, index)) {
        for (int i = 0; i < shape.rank; i++) to[i] = index[i] + before[i];
        result.data[position(&shape, to)] = a->data[n];
    }
    return result;
}

host_tensor host_concat(const host_tensor *const *parts, int count, int axis)
{
    cg_shape shape = parts[0]->shape;
    for (int k = 1; k < count; k++) shape.size[axis] += parts[k]->shape.size[axis];
    host_tensor result = host_new(shape);
    int64_t before = 0;
    for (int k = 0; k < count; k++) {
        int64_t index[CG_MAX_RANK] = {0};
        for (int64_t n = 0; n < parts[k]->size; n++, advance(&parts[k]->shape, index)) {
            index[axis] += before;
            result.data[position(&shape, index)] = parts[k]->data[n];
            index[axis] -= before;
        }
        before += parts[k]->shape.size[axis];
    }
    return result;
}

static cg_shape reduced_shape(const cg_shape *shape, unsigned mask, bool keepdims)
{
    cg_shape result = {0};
    for (int i = 0; i < shape->rank; i++) {
        if (!(mask >> i & 1))
            result.size[result.rank++] = shape->size[i];
        else if (keepdims)
            result.size[result.rank++] = 1;
    }
    return result;
}

/* Where each element of `a` goes in the result with the folded axes gone. */
static int64_t reduced_position(const cg_shape *shape, const int64_t *index, unsigned mask)
{
    int64_t result = 0;
    for (int i = 0; i < shape->rank; i++)
        if (!(mask >> i & 1)) result = result * shape->size[i] + index[i];
    return result;
}

static double fold_start(host_fold fold)
{
    switch (fold) {
    case HOST_MAX:
        return -INFINITY;
    case HOST_MIN:
        return INFINITY;
    case HOST_ALL:
        return 1;
    default:
        return 0;
    }
}

static double fold_step(host_fold fold, double sum, double element)
{
    switch (fold) {
    case HOST_MAX:
        return fmax(sum, element);
    case HOST_MIN:
        return fmin(sum, element);
    case HOST_ALL:
        return sum != 0 && element != 0;
    case HOST_ANY:
        return sum != 0 || element != 0;
    case HOST_LOGSUMEXP:
        return sum + exp(element);
    default:
        return sum + element;
    }
}

host_tensor host_reduce(const host_tensor *a, host_fold fold, unsigned mask, bool keepdims)
{
    host_tensor result = host_new(reduced_shape(&a->shape, mask, keepdims));
    for (int64_t i = 0; i < result.size; i++) result.data[i] = fold_start(fold);
    int64_t index[CG_MAX_RANK] = {0};
    for (int64_t n = 0; n < a->size; n++, advance(&a->shape, index)) {
        double *sum = &result.data[reduced_position(&a->shape, index, mask)];
        *sum = fold_step(fold, *sum, a->data[n]);
    }
    for (int64_t i = 0; i < result.size; i++) {
        if (fold == HOST_MEAN) result.data[i] *= (double)result.size / (double)a->size;
        if (fold == HOST_LOGSUMEXP) result.data[i] = log(result.data[i]);
    }
    return result;
}

host_tensor host_argmax(const host_tensor *a, int axis)
{
    host_tensor largest = host_reduce(a, HOST_MAX, 1U << axis, false);
    host_tensor result = host_new(largest.shape);
    for (int64_t i = 0; i < result.size; i++) result.data[i] = -1;
    int64_t index[CG_MAX_RANK] = {0};
    for (int64_t n = 0; n < a->size; n++, advance(&a->shape, index)) {
        int64_t to = reduced_position(&a->shape, index, 1U << axis);
        if (result.data[to] < 0 && a->data[n] == largest.data[to]) result.data[to] = (double)index[axis];
    }
    host_free(&largest);
    return result;
}

/* One line of `count` elements, `step` apart. */
static void scan_line(const double *from, double *to, host_scan scan, int64_t count, int64_t step)
{
    for (int64_t k = 0; k < count; k++) {
        const double x = from[k * step], before = k > 0 ? to[(k - 1) * step] : 0;
        int64_t rank = 0;
        for (int64_t j = 0; j < count; j++) rank += from[j * step] < x || (from[j * step] == x && j < k);
        if (scan == HOST_CUMSUM) to[k * step] = before + x;
        if (scan == HOST_CUMMAX) to[k * step] = k > 0 && before > x ? before : x;
        if (scan == HOST_CUMMIN) to[k * step] = k > 0 && before < x ? before : x;
        if (scan == HOST_SORT) to[rank * step] = x;
        if (scan == HOST_ARGSORT) to[rank * step] = (double)k;
    }
}

host_tensor host_scanned(const host_tensor *a, host_scan scan, int axis)
{
    host_tensor result = host_new(a->shape);
    const int64_t count = a->shape.size[axis];
    int64_t step = 1;
    for (int i = axis + 1; i < a->shape.rank; i++) step *= a->shape.size[i];
    for (int64_t n = 0; n < a->size; n++)
        if (n / step % count == 0) scan_line(a->data + n, result.data + n, scan, count, step);
    return result;
}

/* The leading axes of a matrix operand, which broadcast. */
static cg_shape batch_of(const cg_shape *shape)
{
    cg_shape result = *shape;
    result.rank -= 2;
    return result;
}

host_tensor host_matmul(const host_tensor *a, const host_tensor *b)
{
    cg_shape batch_a = batch_of(&a->shape), batch_b = batch_of(&b->shape), shape;
    ck_assert(host_broadcasts(&batch_a, &batch_b, &shape));
    int64_t inner = a->shape.size[a->shape.rank - 1];
    shape.size[shape.rank++] = a->shape.size[a->shape.rank - 2];
    shape.size[shape.rank++] = b->shape.size[b->shape.rank - 1];
    host_tensor result = host_new(shape);
    int64_t index[CG_MAX_RANK] = {0};
    for (int64_t n = 0; n < result.size; n++, advance(&shape, index)) {
        int64_t left[CG_MAX_RANK], right[CG_MAX_RANK];
        memcpy(left, index, sizeof left);
        memcpy(right, index, sizeof right);
        for (int64_t k = 0; k < inner; k++) {
            left[shape.rank - 1] = right[shape.rank - 2] = k;
            /* An inner or outer extent of 1 is no broadcast, but index 0 is right for it either way. */
            result.data[n] += at(a, shape.rank, left) * at(b, shape.rank, right);
        }
    }
    return result;
}

host_tensor host_softmax(const host_tensor *a, int axis, bool logarithm)
{
    host_tensor sums = host_reduce(a, HOST_LOGSUMEXP, 1U << axis, true), result = host_new(a->shape);
    int64_t index[CG_MAX_RANK] = {0};
    for (int64_t n = 0; n < a->size; n++, advance(&a->shape, index)) {
        double value = a->data[n] - at(&sums, a->shape.rank, index);
        result.data[n] = logarithm ? value : exp(value);
    }
    host_free(&sums);
    return result;
}

host_tensor host_gather(const host_tensor *a, const host_tensor *indices, int axis)
{
    cg_shape shape = {.rank = a->shape.rank - 1 + indices->shape.rank};
    for (int i = 0; i < shape.rank; i++) {
        int inside = i - axis;
        if (inside < 0)
            shape.size[i] = a->shape.size[i];
        else if (inside < indices->shape.rank)
            shape.size[i] = indices->shape.size[inside];
        else
            shape.size[i] = a->shape.size[i - indices->shape.rank + 1];
    }
    host_tensor result = host_new(shape);
    int64_t index[CG_MAX_RANK] = {0}, from[CG_MAX_RANK];
    for (int64_t n = 0; n < result.size; n++, advance(&shape, index)) {
        for (int i = 0; i < axis; i++) from[i] = index[i];
        from[axis] = (int64_t)indices->data[position(&indices->shape, index + axis)];
        for (int i = axis + 1; i < a->shape.rank; i++) from[i] = index[i - 1 + indices->shape.rank];
        result.data[n] = a->data[position(&a->shape, from)];
    }
    return result;
}

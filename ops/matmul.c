/* Matrix products with NumPy's rules. The op itself multiplies stacks of matrices whose leading axes broadcast; vectors
 * and stacks that are one tall matrix are brought to that form here. */
#include "ops/family.h"

#include <stdio.h>

/* ---- Shapes ------------------------------------------------------------------------------------------------------ */

enum { MOST = 1 << 30 }; /* rows, columns, depth, products: kernels count them, by tiles, in 32 bits */

/* Sets `why` where a product of matrices in stacks of shape a, b and `out` is larger than kernels can count. */
static void check_sizes(const cg_shape *a, const cg_shape *b, const cg_shape *out, char *why, size_t bytes)
{
    const int64_t sizes[] = {a->size[a->rank - 2], b->size[b->rank - 1], a->size[a->rank - 1]};
    cg_shape stack = *out;
    stack.rank -= 2;
    const int64_t products = cg_shape_size(stack);
    for (int i = 0; i < LENGTH(sizes); i++)
        if (sizes[i] > MOST) snprintf(why, bytes, "%lld is more than %d along one axis", (long long)sizes[i], MOST);
    if (products > MOST) snprintf(why, bytes, "%lld products are more than %d", (long long)products, MOST);
}

/* Whether a and b can be multiplied; if not, `why` says what is in the way. */
static bool shapes_fit(const cg_shape *a, const cg_shape *b, char *why, size_t bytes)
{
    int64_t inner_a = a->rank ? a->size[a->rank - 1] : 0;
    int64_t inner_b = b->rank ? b->size[b->rank > 1 ? b->rank - 2 : 0] : 0;
    why[0] = 0;
    if (a->rank == 0 || b->rank == 0)
        snprintf(why, bytes, "a scalar is no matrix");
    else if (inner_a != inner_b)
        snprintf(why, bytes, "inner sizes %lld and %lld differ", (long long)inner_a, (long long)inner_b);
    for (int i = 3; !why[0] && i <= a->rank && i <= b->rank; i++) {
        int64_t size_a = a->size[a->rank - i], size_b = b->size[b->rank - i];
        if (size_a != size_b && size_a != 1 && size_b != 1)
            snprintf(why, bytes, "leading sizes %lld and %lld do not broadcast", (long long)size_a, (long long)size_b);
    }
    return !why[0];
}

static bool matmul_infer(const cg_call *call, cg_inferred *result)
{
    const cg_shape *a = &call->input_shapes[0], *b = &call->input_shapes[1];
    const cg_shape *longer = a->rank >= b->rank ? a : b;
    cg_shape *out = &result->shape[0];
    char why[96];
    if (!shapes_fit(a, b, why, sizeof why) || a->rank < 2 || b->rank < 2)
        return cg_op_error(call, "%s x %s: %s", cg_input_text(call, 0), cg_input_text(call, 1),
                           why[0] ? why : "both must be matrices");
    *out = *longer;
    for (int i = 3; i <= out->rank; i++) {
        int64_t size_a = i <= a->rank ? a->size[a->rank - i] : 1, size_b = i <= b->rank ? b->size[b->rank - i] : 1;
        out->size[out->rank - i] = size_a == 1 ? size_b : size_a;
    }
    out->size[out->rank - 2] = a->size[a->rank - 2];
    out->size[out->rank - 1] = b->size[b->rank - 1];
    check_sizes(a, b, out, why, sizeof why);
    if (why[0]) return cg_op_error(call, "%s x %s: %s", cg_input_text(call, 0), cg_input_text(call, 1), why);
    result->dtype[0] = cg_promote(call->input_dtypes[0], call->input_dtypes[1]);
    return true;
}

/* ---- matmul ------------------------------------------------------------------------------------------------------ */

static cg_tensor transposed(cg_tensor x)
{
    return cg_swap_axes(x, -1, -2);
}

static void matmul_vjp(const cg_vjp *v, cg_tensor *result)
{
    cg_tensor a = v->inputs[0], b = v->inputs[1], g = v->cotangents[0];
    if (v->wanted[0]) result[0] = cg_cotangent_for(a, cg_matmul(g, transposed(b)));
    if (v->wanted[1]) result[1] = cg_cotangent_for(b, cg_matmul(transposed(a), g));
}

static const cg_sample matmul_samples[] = {
    {.shapes = {{2, {3, 4}}, {2, {4, 5}}}, .low = -2, .high = 2, .smooth = true},
    {.shapes = {{3, {2, 3, 4}}, {3, {2, 4, 2}}}, .low = -2, .high = 2, .smooth = true},
    {.shapes = {{4, {2, 1, 2, 3}}, {3, {3, 3, 2}}}, .low = -2, .high = 2, .smooth = true},
    {.shapes = {{2, {1, 40}}, {2, {40, 1}}}, .low = -2, .high = 2, .smooth = true},
    {.shapes = {{2, {65, 33}}, {2, {33, 70}}}, .low = -2, .high = 2},
};

static const cg_op matmul_op = {
    .name = "matmul",
    .kind = CG_OP_CONTRACT,
    .inputs = 2,
    .infer = matmul_infer,
    .vjp = matmul_vjp,
    .text = {.formula = "[..., m, k] times [..., k, n] as np.matmul: Σ a[i, l] · b[l, j] over l",
             .edges = "0 where k is 0",
             .keras = "ops.matmul",
             .dtypes = "any → floating",
             .pytorch = "matmul"},
    SAMPLES(matmul_samples),
};

/* x with a new axis of extent 1 at `axis`. */
static cg_tensor with_axis(cg_tensor x, int axis)
{
    cg_shape old = cg_shape_of(x), shape = {.rank = old.rank + 1};
    for (int i = 0; i < shape.rank; i++) shape.size[i] = i == axis ? 1 : old.size[i > axis ? i - 1 : i];
    return cg_reshape(x, shape);
}

static cg_tensor without_axis(cg_tensor x, int axis)
{
    cg_shape old = cg_shape_of(x), shape = {.rank = old.rank - 1};
    if (cg_is_null(x)) return x;
    for (int i = 0; i < shape.rank; i++) shape.size[i] = old.size[i >= axis ? i + 1 : i];
    return cg_reshape(x, shape);
}

/* A stack of matrices times one matrix is one product: the stack's rows, all in a column. */
static cg_tensor multiply_rows(cg_tensor a, cg_tensor b)
{
    cg_shape shape = cg_shape_of(a);
    int64_t rows = 1;
    for (int i = 0; i < shape.rank - 1; i++) rows *= shape.size[i];
    cg_tensor tall = cg_reshape(a, CG_SHAPE(rows, shape.size[shape.rank - 1]));
    shape.size[shape.rank - 1] = cg_shape_of(b).size[1];
    return cg_reshape(cg_map_2(&matmul_op, tall, b), shape);
}

/* A product of depth 1 is a table of products, and one with a single column a sum along rows: kernels for these have
 * every lane of a vector to fill, and share a launch with what comes before and after. Null where it is neither. (Sums
 * in f64 have no vectors; tiles do.) */
static cg_tensor multiply_vectors(cg_tensor a, cg_tensor b)
{
    const cg_shape shape_a = cg_shape_of(a), shape_b = cg_shape_of(b);
    if (shape_a.size[shape_a.rank - 1] == 1) return cg_mul(a, b);
    if (shape_b.size[shape_b.rank - 1] != 1 || cg_dtype_of(a) != CG_F32) return (cg_tensor){0};
    return cg_sum(cg_mul(a, transposed(b)), .axes = CG_AXES(-1), .keepdims = true);
}

cg_tensor cg_matmul(cg_tensor a, cg_tensor b)
{
    cg_shape shape_a = cg_shape_of(a), shape_b = cg_shape_of(b);
    cg_context *cg = cg_context_of(a);
    char why[96];
    if (shape_a.rank < 0 || shape_b.rank < 0) return cg_map_2(&matmul_op, a, b);
    if (!shapes_fit(&shape_a, &shape_b, why, sizeof why))
        return cg_report(cg, CG_ERROR_ARGUMENT, "matmul", "%s x %s: %s", cg_tensor_text(a), cg_tensor_text(b), why);
    cg_dtype dtype = cg_floating_dtype(cg_promote(cg_dtype_of(a), cg_dtype_of(b)));
    a = cg_cast(a, dtype);
    b = cg_cast(b, dtype);
    if (shape_a.rank == 1) return without_axis(cg_matmul(with_axis(a, 0), b), shape_b.rank > 1 ? shape_b.rank - 2 : 0);
    if (shape_b.rank == 1) return without_axis(cg_matmul(a, with_axis(b, 1)), shape_a.rank - 1);
    const cg_tensor simple = multiply_vectors(a, b);
    if (!cg_is_null(simple)) return simple;
    return shape_a.rank > 2 && shape_b.rank == 2 ? multiply_rows(a, b) : cg_map_2(&matmul_op, a, b);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static const cg_op *const list[] = {&matmul_op};
const cg_op_family cg_ops_matmul = {OPS(list), .title = "Products and normalised exponentials",
                                    .introduction = "Leading axes of matrices broadcast; what is around a product, "
                                                    "such as a bias and an activation, becomes a part of it."};

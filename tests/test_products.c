/* Tests matrix products, by each of the kernels that may compute them, against plain loops in double: all forms,
 * stacks, edge cases, error messages, and what is fused behind them. */
#include "engine/operand.h"
#include "op_support.h"
#include <clgrad/variable.h>

/* The settings of CLGRAD_GEMM. Each test runs with all of them. */
static const char *const kernels[] = {"packed", "tiled", "clblast"};
enum { KERNELS = 3 };

static void open_with(int kernel)
{
    setenv("CLGRAD_GEMM", kernels[kernel], 1);
    open_context();
    unsetenv("CLGRAD_GEMM");
}

/* Operands of rank 2 and more. */
static array product(array a, array b)
{
    int rank = a.shape.rank > b.shape.rank ? a.shape.rank : b.shape.rank;
    int64_t m = a.shape.size[a.shape.rank - 2], k = a.shape.size[a.shape.rank - 1], n = b.shape.size[b.shape.rank - 1];
    cg_shape out = {.rank = rank}, stack_a = {.rank = a.shape.rank - 2}, stack_b = {.rank = b.shape.rank - 2};
    for (int i = 0; i < rank - 2; i++) {
        int in_a = i - (rank - a.shape.rank), in_b = i - (rank - b.shape.rank);
        int64_t size_a = in_a >= 0 ? a.shape.size[in_a] : 1, size_b = in_b >= 0 ? b.shape.size[in_b] : 1;
        if (in_a >= 0) stack_a.size[in_a] = size_a;
        if (in_b >= 0) stack_b.size[in_b] = size_b;
        out.size[i] = size_a == 1 ? size_b : size_a;
    }
    cg_shape stack = out;
    stack.rank = rank - 2;
    out.size[rank - 2] = m, out.size[rank - 1] = n;
    array c = array_new(a.dtype, out);
    for (int64_t s = 0; s < cg_shape_size(stack); s++) {
        const double *x = a.at + broadcast_position(stack_a, stack, s) * m * k;
        const double *y = b.at + broadcast_position(stack_b, stack, s) * k * n;
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < n; j++)
                for (int64_t l = 0; l < k; l++) c.at[(s * m + i) * n + j] += x[i * k + l] * y[l * n + j];
    }
    return c;
}

static void check_product(cg_shape shape_a, cg_shape shape_b, cg_dtype dtype)
{
    array a = array_random(dtype, shape_a, -1, 1), b = array_random(dtype, shape_b, -1, 1), c = product(a, b);
    double least = dtype == CG_F32 ? 1e-5 : 1e-12;
    char name[96];
    snprintf(name, sizeof name, "%s x %s", cg_shape_text(cg, shape_a), cg_shape_text(cg, shape_b));
    expect_close(cg_matmul(tensor_of(a), tensor_of(b)), c, least, least, name);
}

START_TEST(matmul_of_many_sizes)
{
    open_with(_i);
    const int64_t sizes[][3] = {{1, 1, 1},   {2, 3, 4},    {1, 70, 1},    {17, 1, 19},
                                {33, 65, 7}, {64, 64, 64}, {13, 200, 37}, {100, 9, 130}};
    for (int i = 0; i < 8; i++)
        for (int dtype = CG_F32; dtype <= (has_f64() ? CG_F64 : CG_F32); dtype++)
            check_product(CG_SHAPE(sizes[i][0], sizes[i][1]), CG_SHAPE(sizes[i][1], sizes[i][2]), (cg_dtype)dtype);
    close_context();
}
END_TEST

START_TEST(matmul_of_stacks)
{
    open_with(_i);
    check_product(CG_SHAPE(5, 2, 3), CG_SHAPE(5, 3, 4), CG_F32);
    check_product(CG_SHAPE(5, 2, 3), CG_SHAPE(3, 4), CG_F32);
    check_product(CG_SHAPE(2, 3), CG_SHAPE(5, 3, 4), CG_F32);
    check_product(CG_SHAPE(1, 2, 3), CG_SHAPE(5, 3, 4), CG_F32);
    check_product(CG_SHAPE(6, 1, 2, 3), CG_SHAPE(5, 3, 4), CG_F32);
    check_product(CG_SHAPE(2, 1, 3, 2, 2), CG_SHAPE(1, 4, 1, 2, 3), CG_F32);
    check_product(CG_SHAPE(2, 1, 2, 1, 1, 1, 3, 2), CG_SHAPE(1, 3, 2, 1, 2, 1, 2, 2), CG_F32);
    close_context();
}
END_TEST

START_TEST(matmul_of_transposed)
{
    open_with(_i);
    array a = array_random(CG_F32, CG_SHAPE(19, 34), -1, 1), b = array_random(CG_F32, CG_SHAPE(34, 21), -1, 1);
    array a_turned = array_new(CG_F32, CG_SHAPE(34, 19)), b_turned = array_new(CG_F32, CG_SHAPE(21, 34)),
          c = product(a, b);
    for (int64_t i = 0; i < a.count; i++) a_turned.at[i % 34 * 19 + i / 34] = a.at[i];
    for (int64_t i = 0; i < b.count; i++) b_turned.at[i % 21 * 34 + i / 21] = b.at[i];
    cg_tensor left[] = {tensor_of(a), cg_transpose(tensor_of(a_turned))};
    cg_tensor right[] = {tensor_of(b), cg_transpose(tensor_of(b_turned))};
    for (int i = 0; i < 4; i++) expect_close(cg_matmul(left[i / 2], right[i % 2]), c, 1e-5, 1e-5, "transposed");
    close_context();
}
END_TEST

START_TEST(matmul_of_vectors)
{
    open_with(_i);
    cg_tensor row = tensor_of(ARRAY(CG_F32, CG_SHAPE(2), 1, 2));
    cg_tensor matrix = tensor_of(ARRAY(CG_F32, CG_SHAPE(2, 3), 1, 2, 3, 4, 5, 6));
    cg_tensor stack = tensor_of(array_iota(CG_F32, CG_SHAPE(2, 2, 2)));
    expect_about(cg_matmul(row, row), ARRAY(CG_F32, CG_RANK0, 5));
    expect_about(cg_matmul(row, matrix), ARRAY(CG_F32, CG_SHAPE(3), 9, 12, 15));
    expect_about(cg_matmul(cg_transpose(matrix), row), ARRAY(CG_F32, CG_SHAPE(3), 9, 12, 15));
    expect_about(cg_matmul(stack, row), ARRAY(CG_F32, CG_SHAPE(2, 2), 2, 8, 14, 20));
    expect_about(cg_matmul(row, stack), ARRAY(CG_F32, CG_SHAPE(2, 2), 4, 7, 16, 19));
    expect_about(gradient_of(cg_matmul(row, row), no_tensor, row), ARRAY(CG_F32, CG_SHAPE(2), 2, 4));
    expect_about(gradient_of(cg_matmul(row, stack), no_tensor, row), ARRAY(CG_F32, CG_SHAPE(2), 10, 18));
    expect_about(gradient_of(cg_matmul(stack, row), no_tensor, row), ARRAY(CG_F32, CG_SHAPE(2), 12, 16));
    close_context();
}
END_TEST

START_TEST(matmul_of_nothing_and_of_integers)
{
    open_with(_i);
    expect_array(cg_matmul(cg_ones(cg, CG_SHAPE(2, 0)), cg_ones(cg, CG_SHAPE(0, 3))),
                 array_new(CG_F32, CG_SHAPE(2, 3)));
    expect_array(cg_matmul(cg_ones(cg, CG_SHAPE(0, 2)), cg_ones(cg, CG_SHAPE(2, 3))),
                 array_new(CG_F32, CG_SHAPE(0, 3)));
    expect_array(cg_matmul(cg_ones(cg, CG_SHAPE(0, 2, 2)), cg_ones(cg, CG_SHAPE(2, 3))),
                 array_new(CG_F32, CG_SHAPE(0, 2, 3)));
    /* An operand that is no plain matrix. */
    expect_array(cg_matmul(cg_transpose(cg_flip(cg_ones(cg, CG_SHAPE(0, 4)), .axes = CG_AXES(0, 1))),
                           cg_ones(cg, CG_SHAPE(0, 3))),
                 array_new(CG_F32, CG_SHAPE(4, 3)));
    cg_tensor whole = tensor_of(ARRAY(CG_I32, CG_SHAPE(1, 2), 3, 4)),
              bytes = tensor_of(ARRAY(CG_U8, CG_SHAPE(2, 1), 5, 200));
    expect_array(cg_matmul(whole, bytes), ARRAY(CG_F32, CG_SHAPE(1, 1), 815));
    close_context();
}
END_TEST

START_TEST(matmul_errors)
{
    open_with(_i);
    cg_tensor a = cg_zeros(cg, CG_SHAPE(128, 784)), b = cg_zeros(cg, CG_SHAPE(512, 784));
    expect_error(cg_matmul(a, b), "matmul: [128,784] x [512,784]: inner sizes 784 and 512 differ");
    expect_error(cg_matmul(cg_zeros(cg, CG_SHAPE(3)), cg_zeros(cg, CG_SHAPE(4, 3))),
                 "matmul: [3] x [4,3]: inner sizes 3 and 4 differ");
    expect_error(cg_matmul(cg_ones(cg, CG_RANK0), a), "matmul: [] x [128,784]: a scalar is no matrix");
    expect_error(cg_matmul(cg_zeros(cg, CG_SHAPE(2, 3, 4)), cg_zeros(cg, CG_SHAPE(5, 4, 6))),
                 "matmul: [2,3,4] x [5,4,6]: leading sizes 2 and 5 do not broadcast");
    expect_error(cg_matmul(a, no_tensor), "matmul: input 2 is a null tensor, and no error says why");
    expect_error(cg_matmul(no_tensor, a), "matmul: input 1 is a null tensor, and no error says why");
    const int64_t many = (1 << 30) + 1;
    cg_tensor tall = cg_zeros(cg, CG_SHAPE(many, 2)), wide = cg_zeros(cg, CG_SHAPE(2, many));
    cg_tensor stack = cg_zeros(cg, CG_SHAPE(many, 2, 2));
    ck_assert(!cg_is_null(cg_matmul(cg_slice_axis(tall, 0, 0, many - 1), cg_zeros(cg, CG_SHAPE(2, 3)))));
    expect_error(cg_matmul(tall, cg_zeros(cg, CG_SHAPE(2, 3))),
                 "matmul: [1073741825,2] x [2,3]: 1073741825 is more than 1073741824 along one axis");
    expect_error(cg_matmul(cg_zeros(cg, CG_SHAPE(3, 2)), wide),
                 "matmul: [3,2] x [2,1073741825]: 1073741825 is more than 1073741824 along one axis");
    expect_error(cg_matmul(wide, cg_zeros(cg, CG_SHAPE(many, 2))),
                 "matmul: [2,1073741825] x [1073741825,2]: 1073741825 is more than 1073741824 along one axis");
    expect_error(cg_matmul(stack, cg_zeros(cg, CG_SHAPE(1, 2, 2))),
                 "matmul: [1073741825,2,2] x [1,2,2]: 1073741825 products are more than 1073741824");
    close_context();
}
END_TEST

/* A slice of a matrix of long rows is read in place as far as 32 bits reach from one row to the next; else it is
 * copied. The schedule is filled in by hand: no device could hold what it stands for. */
START_TEST(operands_of_long_rows_are_copied)
{
    enum { MATRIX, SLICE, OTHER, PRODUCT, ITEMS };
    const int64_t longest = INT32_MAX;
    open_context();
    for (int64_t length = longest; length <= longest + 1; length++) {
        cg_tensor tensors[ITEMS] = {cg_zeros(cg, CG_SHAPE(3, length)), no_tensor, cg_zeros(cg, CG_SHAPE(4, 5))};
        tensors[SLICE] = cg_slice_axis(tensors[MATRIX], 1, 0, 4);
        tensors[PRODUCT] = cg_matmul(tensors[SLICE], tensors[OTHER]);
        cg_entry items[ITEMS] = {[MATRIX].kind = CG_ITEM_BUFFER,
                                 [SLICE].kind = CG_ITEM_VIEW,
                                 [OTHER].kind = CG_ITEM_BUFFER,
                                 [PRODUCT].kind = CG_ITEM_CONTRACT};
        for (int i = 0; i < ITEMS; i++) {
            items[i].node = cg_node_of(tensors[i], "test");
            items[i].node->position = i;
        }
        const cg_schedule schedule = {.context = cg, .items = items};
        const cg_operand operand = cg_operands_find(&schedule, items[PRODUCT].node, false).of[0];
        ck_assert_int_eq(operand.item, length == longest ? MATRIX : -1);
        if (length == longest) ck_assert_int_eq(operand.leading, length);
    }
    close_context();
}
END_TEST

/* ---- What is fused behind a product ------------------------------------------------------------------------------ */

enum { M = 37, K = 50, N = 45 };

static double relu(double x)
{
    return x > 0 ? x : 0;
}

/* A layer: bias, activation, residual; the product itself read by something else too. */
START_TEST(a_layer_with_everything)
{
    open_with(_i);
    for (int dtype = CG_F32; dtype <= (has_f64() ? CG_F64 : CG_F32); dtype++) {
        array x = array_random((cg_dtype)dtype, CG_SHAPE(M, K), -1, 1),
              w = array_random((cg_dtype)dtype, CG_SHAPE(K, N), -1, 1);
        array bias = array_random((cg_dtype)dtype, CG_SHAPE(N), -1, 1),
              residual = array_random((cg_dtype)dtype, CG_SHAPE(M, N), -1, 1);
        array out = product(x, w), squared = array_new((cg_dtype)dtype, out.shape);
        cg_tensor z = cg_matmul(tensor_of(x), tensor_of(w));
        cg_tensor results[] = {cg_add(cg_relu(cg_add(z, tensor_of(bias))), tensor_of(residual)), cg_square(z)};
        for (int64_t i = 0; i < out.count; i++) {
            squared.at[i] = out.at[i] * out.at[i];
            out.at[i] = relu(out.at[i] + bias.at[i % N]) + residual.at[i];
        }
        ck_assert_msg(cg_eval(results, 2), "%s", cg_message(cg));
        const double least = dtype == CG_F32 ? 1e-5 : 1e-12;
        expect_close(results[0], out, least, least, "layer");
        expect_close(results[1], squared, least, 10 * least, "square");
    }
    close_context();
}
END_TEST

/* Stacks of products whose operands broadcast, are transposed and sliced, with an epilogue that knows the batch. */
START_TEST(stacks_with_an_epilogue)
{
    open_with(_i);
    array a = array_random(CG_F32, CG_SHAPE(3, K, M), -1, 1), b = array_random(CG_F32, CG_SHAPE(2, 1, K, N + 3), -1, 1);
    array scale = array_random(CG_F32, CG_SHAPE(2, 3, 1, N), -1, 1), c = array_new(CG_F32, CG_SHAPE(2, 3, M, N));
    cg_tensor right = cg_slice_axis(tensor_of(b), -1, 2, N + 2);
    cg_tensor result = cg_mul(cg_matmul(cg_swap_axes(tensor_of(a), -1, -2), right), tensor_of(scale));
    for (int64_t at = 0; at < c.count; at++) {
        const int64_t j = at % N, i = at / N % M, s = at / N / M % 3, t = at / N / M / 3;
        for (int64_t k = 0; k < K; k++) c.at[at] += a.at[(s * K + k) * M + i] * b.at[(t * K + k) * (N + 3) + j + 2];
        c.at[at] *= scale.at[(t * 3 + s) * N + j];
    }
    expect_close(result, c, 1e-5, 1e-5, "stack");
    close_context();
}
END_TEST

/* Few results, each of so many products that GPUs cut the depth into shares, of which the last is shorter. */
static void check_deep(cg_dtype dtype)
{
    enum { ROWS = 20, DEPTH = 1301, COLUMNS = 31 };
    array a = array_random(dtype, CG_SHAPE(3, ROWS, DEPTH), -1, 1),
          b = array_random(dtype, CG_SHAPE(DEPTH, COLUMNS), -1, 1);
    array bias = array_random(dtype, CG_SHAPE(3, 1, COLUMNS), -1, 1), c = array_new(dtype, CG_SHAPE(3, ROWS, COLUMNS));
    for (int64_t at = 0; at < c.count; at++) {
        const int64_t j = at % COLUMNS, i = at / COLUMNS;
        for (int64_t k = 0; k < DEPTH; k++) c.at[at] += a.at[i * DEPTH + k] * b.at[k * COLUMNS + j];
        c.at[at] = (c.at[at] + bias.at[i / ROWS * COLUMNS + j]) / DEPTH;
    }
    const double least = dtype == CG_F32 ? 1e-5 : 1e-12;
    cg_tensor sum = cg_add(cg_matmul(tensor_of(a), tensor_of(b)), tensor_of(bias));
    expect_close(cg_div(sum, cg_scalar(cg, DEPTH)), c, least, least, "deep");
}

START_TEST(few_results_of_a_long_depth)
{
    open_with(_i);
    check_deep(CG_F32);
    if (has_f64()) check_deep(CG_F64);
    close_context();
}
END_TEST

/* Stacks of few columns with the same first operand, whose columns are joined: parts of larger matrices, and an
 * epilogue that knows the matrix, the row and the column. */
static void check_joined(int64_t columns, bool turns, cg_dtype dtype)
{
    const int64_t rows = 29, depth = 70;
    const double least = dtype == CG_F32 ? 1e-5 : 1e-12;
    array a = array_random(dtype, turns ? CG_SHAPE(depth, rows) : CG_SHAPE(rows, depth), -1, 1);
    array b = array_random(dtype, CG_SHAPE(2, 3, depth, columns + 3), -1, 1);
    array bias = array_random(dtype, CG_SHAPE(3, rows, 1), -1, 1);
    array other = array_random(dtype, CG_SHAPE(2, 3, rows, columns), -1, 1), c = array_new(dtype, other.shape);
    cg_tensor left = turns ? cg_transpose(tensor_of(a)) : tensor_of(a);
    cg_tensor right = cg_slice_axis(tensor_of(b), -1, 2, columns + 2);
    for (int64_t at = 0; at < c.count; at++) {
        const int64_t j = at % columns, i = at / columns % rows, s = at / columns / rows;
        for (int64_t k = 0; k < depth; k++)
            c.at[at] += a.at[turns ? k * rows + i : i * depth + k] * b.at[(s * depth + k) * (columns + 3) + j + 2];
        c.at[at] = (c.at[at] + bias.at[s % 3 * rows + i]) * other.at[at];
    }
    expect_close(cg_mul(cg_add(cg_matmul(left, right), tensor_of(bias)), tensor_of(other)), c, least, least, "joined");
}

START_TEST(stacks_with_one_left_operand)
{
    open_with(0);
    if (cg->vector_width > 1) cg->vector_width = 4 << _i;
    const int64_t columns[] = {4, 9, 17, 49, 196};
    for (int i = 0; i < 5; i++)
        for (int turns = 0; turns < 2; turns++) check_joined(columns[i], turns, CG_F32);
    if (has_f64()) check_joined(49, false, CG_F64);
    close_context();
}
END_TEST

/* Each matrix of a stack transposed. */
static array turned(array a)
{
    const int64_t stacks = a.shape.size[0], rows = a.shape.size[1], columns = a.shape.size[2];
    array t = array_new(a.dtype, CG_SHAPE(stacks, columns, rows));
    for (int64_t i = 0; i < a.count; i++)
        t.at[(i / columns / rows * columns + i % columns) * rows + i / columns % rows] = a.at[i];
    return t;
}

/* Fewer columns than a vector has lanes: each form, read by what lies as the result does, by what does not, by many
 * ops, and by a part of a larger matrix. */
static void check_few_columns(int form, int64_t columns, cg_dtype dtype)
{
    const int64_t stacks = 2, rows = 51, depth = 301;
    const double least = dtype == CG_F32 ? 1e-4 : 1e-12;
    array a = array_random(dtype, CG_SHAPE(stacks, rows, depth), -1, 1);
    array b = array_random(dtype, CG_SHAPE(stacks, depth, columns), -1, 1);
    array other = array_random(dtype, CG_SHAPE(stacks, rows, columns), 1, 2);
    array bias = array_random(dtype, CG_SHAPE(columns), -1, 1);
    array wide = array_random(dtype, CG_SHAPE(stacks, rows, columns + 1), -1, 1), c = product(a, b);
    cg_tensor left = form & 1 ? cg_swap_axes(tensor_of(turned(a)), -1, -2) : tensor_of(a);
    cg_tensor right = form & 2 ? cg_swap_axes(tensor_of(turned(b)), -1, -2) : tensor_of(b);
    cg_tensor o = tensor_of(other), part = cg_slice_axis(tensor_of(wide), -1, 1, columns + 1);
    cg_tensor results[] = {cg_mul(cg_matmul(left, right), o), cg_add(cg_matmul(left, right), tensor_of(bias)),
                           cg_div(cg_sub(cg_mul(cg_matmul(left, right), o), o), cg_add(cg_sqrt(o), cg_square(o))),
                           cg_add(cg_matmul(left, right), part)};
    array expected[4];
    for (int i = 0; i < 4; i++) expected[i] = array_new(dtype, c.shape);
    for (int64_t i = 0; i < c.count; i++) {
        const double x = c.at[i], y = other.at[i];
        expected[0].at[i] = x * y;
        expected[1].at[i] = x + bias.at[i % columns];
        expected[2].at[i] = (x * y - y) / (sqrt(y) + y * y);
        expected[3].at[i] = x + wide.at[i / columns * (columns + 1) + i % columns + 1];
    }
    for (int i = 0; i < 4; i++) expect_close(results[i], expected[i], least, least, "few columns");
}

START_TEST(few_columns_with_an_epilogue)
{
    open_with(_i);
    for (int form = 0; form < 4; form++) {
        check_few_columns(form, 10, CG_F32);
        check_few_columns(form, 3, CG_F32);
        if (has_f64()) check_few_columns(form, 3, CG_F64);
    }
    close_context();
}
END_TEST

/* w := w - 0.1 d / (|d| + 1) with d = x^T g, where the product's kernel may write the variable in place. */
static void check_weight_update(int64_t examples, int64_t columns)
{
    array x = array_random(CG_F32, CG_SHAPE(examples, K), -1, 1),
          g = array_random(CG_F32, CG_SHAPE(examples, columns), -1, 1);
    array w = array_random(CG_F32, CG_SHAPE(K, columns), -1, 1), d = array_new(CG_F32, w.shape);
    cg_variable *variable = cg_variable_new(cg, "w", CG_F32, w.shape);
    cg_assign(variable, tensor_of(w));
    cg_tensor left = cg_transpose(tensor_of(x)), right = tensor_of(g);
    for (int step = 0; step < 3; step++) {
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor product = cg_matmul(left, right);
        cg_tensor change = cg_div(cg_mul(product, cg_scalar(cg, 0.1)), cg_add(cg_abs(product), cg_scalar(cg, 1)));
        cg_assign(variable, cg_sub(cg_value(variable), change));
        cg_scope_end(scope);
    }
    for (int64_t at = 0; at < w.count; at++) {
        for (int64_t i = 0; i < examples; i++)
            d.at[at] += x.at[i * K + at / columns] * g.at[i * columns + at % columns];
        w.at[at] -= 0.3 * d.at[at] / (fabs(d.at[at]) + 1);
    }
    expect_close(cg_value(variable), w, 1e-5, 1e-5, "w");
    cg_variable_free(variable);
}

START_TEST(a_weight_update)
{
    open_with(_i);
    check_weight_update(M, N);
    check_weight_update(M, 10);
    check_weight_update(1100, 30); /* which GPUs cut into shares */
    close_context();
}
END_TEST

/* CPUs have vectors of 4, 8 or 16 floats; other devices have none to force. */
START_TEST(few_columns_with_vectors_of_each_width)
{
    open_with(0);
    if (cg->vector_width > 1) cg->vector_width = 4 << _i;
    const int lanes = cg->vector_width > 1 ? cg->vector_width : 4;
    for (int form = 0; form < 4; form++) {
        check_few_columns(form, lanes - 1, CG_F32);
        check_few_columns(form, 2, CG_F32);
        if (has_f64()) check_few_columns(form, lanes / 2 - 1, CG_F64);
    }
    check_weight_update(M, lanes - 1);
    close_context();
}
END_TEST

/* A run that reports a bad index leaves the variable as it was, whatever computes the product. */
static void check_reported_index(int64_t depth)
{
    array w = array_random(CG_F32, CG_SHAPE(N, N), -1, 1), x = array_random(CG_F32, CG_SHAPE(N, depth), -1, 1);
    cg_variable *variable = cg_variable_new(cg, "w", CG_F32, CG_SHAPE(N, N));
    cg_assign(variable, tensor_of(w));
    ck_assert(cg_flush(cg));
    cg_scope scope = cg_scope_begin(cg);
    cg_tensor rows = cg_gather(tensor_of(w), tensor_of(ARRAY(CG_I32, CG_SHAPE(2), 1, 2 * N)), 0);
    cg_tensor product = cg_matmul(tensor_of(x), cg_transpose(tensor_of(x)));
    cg_assign(variable, cg_add(cg_add(product, cg_value(variable)), cg_sum(rows)));
    cg_scope_end(scope);
    ck_assert(!cg_wait(cg));
    ck_assert_msg(strstr(cg_message(cg), "index 90 is out of range"), "%s", cg_message(cg));
    cg_clear_error(cg);
    expect_array(cg_value(variable), w);
    cg_variable_free(variable);
}

START_TEST(a_reported_index_keeps_the_weights)
{
    open_with(_i);
    check_reported_index(N);
    check_reported_index(1100); /* which GPUs cut into shares */
    close_context();
}
END_TEST

/* A minibatch of another size is the same kernel. */
START_TEST(minibatches_share_a_kernel)
{
    open_with(_i);
    array w = array_random(CG_F32, CG_SHAPE(K, N), -1, 1);
    int64_t built = 0;
    for (int64_t rows = 70; rows > 1; rows -= 23) {
        array x = array_random(CG_F32, CG_SHAPE(rows, K), -1, 1);
        float *values = test_memory((size_t)x.count * sizeof *values);
        for (int64_t i = 0; i < x.count; i++) values[i] = (float)x.at[i];
        cg_tensor input = cg_input(cg, CG_F32, x.shape, values, .has_batch_axis = true);
        expect_close(cg_matmul(input, tensor_of(w)), product(x, w), 1e-5, 1e-5, "minibatch");
        if (rows == 70) built = cg_counters_get(cg).kernels_built;
    }
    ck_assert_int_eq(cg_counters_get(cg).kernels_built, built);
    close_context();
}
END_TEST

/* ---- The suite --------------------------------------------------------------------------------------------------- */

static TCase *product_cases(void)
{
    TCase *tests = tcase_create("products");
    tcase_add_loop_test(tests, matmul_of_many_sizes, 0, KERNELS);
    tcase_add_loop_test(tests, matmul_of_stacks, 0, KERNELS);
    tcase_add_loop_test(tests, matmul_of_transposed, 0, KERNELS);
    tcase_add_loop_test(tests, matmul_of_vectors, 0, KERNELS);
    tcase_add_loop_test(tests, matmul_of_nothing_and_of_integers, 0, KERNELS);
    tcase_add_loop_test(tests, matmul_errors, 0, KERNELS);
    tcase_add_test(tests, operands_of_long_rows_are_copied);
    tcase_add_loop_test(tests, a_layer_with_everything, 0, KERNELS);
    tcase_add_loop_test(tests, few_results_of_a_long_depth, 0, KERNELS);
    tcase_add_loop_test(tests, stacks_with_an_epilogue, 0, KERNELS);
    tcase_add_loop_test(tests, a_weight_update, 0, KERNELS);
    tcase_add_loop_test(tests, few_columns_with_an_epilogue, 0, KERNELS);
    tcase_add_loop_test(tests, few_columns_with_vectors_of_each_width, 0, 3);
    tcase_add_loop_test(tests, stacks_with_one_left_operand, 0, 3);
    tcase_add_loop_test(tests, a_reported_index_keeps_the_weights, 0, KERNELS);
    tcase_add_loop_test(tests, minibatches_share_a_kernel, 0, KERNELS);
    return tests;
}

int main(void)
{
    Suite *suite = suite_create("products");
    suite_add_tcase(suite, product_cases());
    return run_suite(suite);
}

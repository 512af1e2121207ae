/* Tests kernels that go over rows in passes (engine/chain.c, engine/rows.c): which ops make one, what keeps others from
 * it, and that the values are those of plain loops in double, for rows of all lengths and both ways of running them. */
#include "semantics_support.h"

#include <clgrad/normalization.h>

/* ---- The ops, with their values in double -------------------------------------------------------------------------
 */

/* A result of `rows` rows of `length` elements each from two such inputs; `out` may not be an input. */
typedef struct row_op {
    const char *name;
    cg_tensor (*record)(cg_tensor x, cg_tensor w);
    void (*compute)(const double *x, const double *w, double *out, int64_t length); /* of one row */
    int kernels;
} row_op;

static double largest_of(const double *x, int64_t length)
{
    double largest = x[0];
    for (int64_t i = 1; i < length; i++) largest = x[i] > largest ? x[i] : largest;
    return largest;
}

static void compute_softmax(const double *x, const double *w, double *out, int64_t length)
{
    double sum = 0;
    const double largest = largest_of(x, length);
    (void)w;
    for (int64_t i = 0; i < length; i++) sum += out[i] = exp(x[i] - largest);
    for (int64_t i = 0; i < length; i++) out[i] /= sum;
}

static cg_tensor record_softmax(cg_tensor x, cg_tensor w)
{
    (void)w;
    return cg_softmax(x, -1);
}

static void compute_log_softmax(const double *x, const double *w, double *out, int64_t length)
{
    compute_softmax(x, w, out, length);
    for (int64_t i = 0; i < length; i++) out[i] = log(out[i]);
}

static cg_tensor record_log_softmax(cg_tensor x, cg_tensor w)
{
    (void)w;
    return cg_log_softmax(x, -1);
}

static cg_tensor gradient_of(cg_tensor y, cg_tensor x, cg_tensor w)
{
    cg_tensor gradient, objective = cg_sum(cg_mul(y, w));
    ck_assert_msg(cg_grad(&objective, 1, &x, 1, &gradient), "%s", cg_message(cg));
    return gradient;
}

/* y (w - sum(w y)) */
static void compute_softmax_gradient(const double *x, const double *w, double *out, int64_t length)
{
    double sum = 0;
    compute_softmax(x, w, out, length);
    for (int64_t i = 0; i < length; i++) sum += w[i] * out[i];
    for (int64_t i = 0; i < length; i++) out[i] *= w[i] - sum;
}

static cg_tensor record_softmax_gradient(cg_tensor x, cg_tensor w)
{
    return gradient_of(cg_softmax(x, -1), x, w);
}

static const double epsilon = 1e-3;

/* (x - mean) / sqrt(variance + epsilon); returns 1 / sqrt(variance + epsilon). */
static double normalize(const double *x, double *out, int64_t length)
{
    double mean = 0, variance = 0;
    for (int64_t i = 0; i < length; i++) mean += x[i] / (double)length;
    for (int64_t i = 0; i < length; i++) variance += (x[i] - mean) * (x[i] - mean) / (double)length;
    const double factor = 1 / sqrt(variance + epsilon);
    for (int64_t i = 0; i < length; i++) out[i] = (x[i] - mean) * factor;
    return factor;
}

static void compute_layer_norm(const double *x, const double *w, double *out, int64_t length)
{
    (void)w;
    normalize(x, out, length);
}

static cg_tensor record_layer_norm(cg_tensor x, cg_tensor w)
{
    (void)w;
    return cg_layer_norm(x, .epsilon = epsilon);
}

/* factor (w - mean(w) - y mean(w y)) */
static void compute_layer_norm_gradient(const double *x, const double *w, double *out, int64_t length)
{
    const double factor = normalize(x, out, length);
    double mean = 0, product = 0;
    for (int64_t i = 0; i < length; i++) mean += w[i] / (double)length;
    for (int64_t i = 0; i < length; i++) product += w[i] * out[i] / (double)length;
    for (int64_t i = 0; i < length; i++) out[i] = factor * (w[i] - mean - out[i] * product);
}

static cg_tensor record_layer_norm_gradient(cg_tensor x, cg_tensor w)
{
    return gradient_of(cg_layer_norm(x, .epsilon = epsilon), x, w);
}

/* A comparison with a number of the row, a map that reads it and a sum of what was chosen. */
static void compute_choice(const double *x, const double *w, double *out, int64_t length)
{
    double sum = 0;
    const double largest = largest_of(x, length);
    for (int64_t i = 0; i < length; i++) sum += exp(x[i]) > 0.5 * exp(largest) ? w[i] : 0;
    for (int64_t i = 0; i < length; i++) out[i] = exp(x[i]) > 0.5 * exp(largest) ? sum : w[i];
}

static cg_tensor record_choice(cg_tensor x, cg_tensor w)
{
    cg_tensor bound = times(cg_exp(cg_max(x, .axes = CG_AXES(-1), .keepdims = true)), 0.5);
    cg_tensor chosen = cg_greater(cg_exp(x), bound);
    cg_tensor sum = cg_sum(cg_where(chosen, w, cg_scalar(cg, 0)), .axes = CG_AXES(-1), .keepdims = true);
    return cg_where(chosen, sum, w);
}

static const row_op ops[] = {
    {"softmax", record_softmax, compute_softmax, 1},
    {"log_softmax", record_log_softmax, compute_log_softmax, 1},
    {"softmax's gradient", record_softmax_gradient, compute_softmax_gradient, 1},
    {"layer_norm", record_layer_norm, compute_layer_norm, 1},
    {"layer_norm's gradient", record_layer_norm_gradient, compute_layer_norm_gradient, 1},
    {"choice", record_choice, compute_choice, 1},
};
enum { OPS = sizeof ops / sizeof *ops };

/* ---- Values -------------------------------------------------------------------------------------------------------
 */

static void expect_rows(const row_op *op, cg_shape shape)
{
    const int64_t count = cg_shape_size(shape), length = shape.size[shape.rank - 1];
    cg_scope scope = cg_scope_local(cg);
    cg_tensor x = numbers(shape, 3), w = numbers(shape, 8);
    float *found = malloc((size_t)(3 * count) * sizeof *found);
    double *exact = malloc((size_t)(3 * count) * sizeof *exact);
    ck_assert(found && exact);
    ck_assert_msg(cg_read_floats(x, found + count, count) && cg_read_floats(w, found + 2 * count, count), "%s",
                  cg_message(cg));
    for (int64_t i = count; i < 3 * count; i++) exact[i] = (double)found[i];
    for (int64_t i = 0; i < count; i += length)
        op->compute(exact + count + i, exact + 2 * count + i, exact + i, length);
    ck_assert_msg(cg_read_floats(op->record(x, w), found, count), "%s: %s", op->name, cg_message(cg));
    for (int64_t i = 0; i < count; i++)
        ck_assert_msg(fabs((double)found[i] - exact[i]) <= 2e-6 + 2e-5 * fabs(exact[i]),
                      "%s of %s: [%lld] is %.9g, not %.9g", op->name, cg_shape_text(cg, shape), (long long)i,
                      (double)found[i], exact[i]);
    free(found);
    free(exact);
    cg_scope_end(scope);
}

static const cg_shape shapes[] = {
    {2, {1, 1}},    {2, {40, 1}},       {2, {1, 17}},    {2, {70, 3}},    {2, {6, 16}},
    {2, {64, 17}},  {2, {300, 1000}},   {2, {9, 4097}},  {2, {3, 70000}}, {3, {5, 7, 33}},
    {3, {1, 9, 5}}, {4, {2, 1, 6, 40}}, {2, {20000, 2}}, {1, {50}},
};

START_TEST(values_are_those_of_plain_loops)
{
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) expect_rows(&ops[_i], shapes[i]);
}
END_TEST

/* As GPUs run them: the work-items of a group share a row. */
START_TEST(values_are_the_same_where_work_items_share_a_row)
{
    open_own(NULL, NULL);
    cg->local_size = 64;
    cg->vector_width = 1;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) expect_rows(&ops[_i], shapes[i]);
    close_own();
}
END_TEST

/* Along other axes columns are folded whole; the values hold all the same. */
START_TEST(along_another_axis)
{
    enum { ROWS = 40, COLUMNS = 50 };
    float found[ROWS * COLUMNS], turned[ROWS * COLUMNS];
    cg_tensor x = numbers(CG_SHAPE(ROWS, COLUMNS), 3), across = cg_permute(x, CG_AXES(1, 0));
    ck_assert(cg_eval(&x, 1));
    ck_assert(cg_read_floats(cg_softmax(x, 0), found, ROWS * COLUMNS));
    ck_assert(cg_read_floats(cg_permute(cg_softmax(across, -1), CG_AXES(1, 0)), turned, ROWS * COLUMNS));
    for (int i = 0; i < ROWS * COLUMNS; i++) ck_assert_float_eq_tol(found[i], turned[i], 1e-6f);
    double sums[COLUMNS] = {0};
    for (int i = 0; i < ROWS * COLUMNS; i++) sums[i % COLUMNS] += (double)found[i];
    for (int i = 0; i < COLUMNS; i++) ck_assert_double_eq_tol(sums[i], 1, 1e-5);
}
END_TEST

/* ---- Which kernels there are --------------------------------------------------------------------------------------
 */

static int kernels_for(const row_op *op, cg_shape shape)
{
    cg_tensor x = numbers(shape, 1), w = numbers(shape, 2), inputs[] = {x, w};
    ck_assert(cg_eval(inputs, 2));
    cg_tensor y = op->record(x, w);
    ck_assert_msg(cg_eval(&y, 1), "%s", cg_message(cg));
    return (int)cg_counters_get(cg).last_plan_kernels;
}

START_TEST(one_kernel)
{
    ck_assert_int_eq(kernels_for(&ops[_i], CG_SHAPE(100, 300)), ops[_i].kernels);
    ck_assert_int_eq(kernels_for(&ops[_i], CG_SHAPE(20, 5, 30)), ops[_i].kernels);
}
END_TEST

/* Rows fewer than compute units would leave most of these idle: they are cut instead. */
START_TEST(few_long_rows_are_cut)
{
    ck_assert_int_gt(kernels_for(&ops[_i], CG_SHAPE(1, 1 << 20)), ops[_i].kernels);
}
END_TEST

START_TEST(op_by_op_there_are_no_passes)
{
    open_own("CLGRAD_EAGER", "1");
    expect_rows(&ops[_i], (cg_shape){2, {30, 20}});
    ck_assert_int_gt(kernels_for(&ops[_i], CG_SHAPE(30, 20)), 3);
    close_own();
}
END_TEST

/* Loss and gradient: a check of the labels, the rows, and the mean over them. */
START_TEST(cross_entropy_with_its_gradient)
{
    enum { ROWS = 50, CLASSES = 30 };
    int32_t labels[ROWS];
    float loss, found[ROWS * CLASSES], scores[ROWS * CLASSES];
    double wanted = 0, x[CLASSES], y[CLASSES];
    for (int i = 0; i < ROWS; i++) labels[i] = i * 7 % CLASSES;
    cg_tensor logits = numbers(CG_SHAPE(ROWS, CLASSES), 5), correct = cg_input(cg, CG_I32, CG_SHAPE(ROWS), labels);
    cg_tensor gradient, results[2], inputs[] = {logits, correct};
    ck_assert(cg_eval(inputs, 2));
    results[0] = cg_softmax_cross_entropy(logits, correct);
    ck_assert(cg_grad(results, 1, &logits, 1, &gradient));
    results[1] = gradient;
    ck_assert_msg(cg_eval(results, 2), "%s", cg_message(cg));
    ck_assert_int_eq(cg_counters_get(cg).last_plan_kernels, 3);
    ck_assert(cg_read_floats(results[0], &loss, 1) && cg_read_floats(gradient, found, ROWS * CLASSES));
    ck_assert(cg_read_floats(logits, scores, ROWS * CLASSES));
    for (int row = 0; row < ROWS; row++) {
        for (int k = 0; k < CLASSES; k++) x[k] = (double)scores[row * CLASSES + k];
        compute_softmax(x, NULL, y, CLASSES);
        wanted -= log(y[labels[row]]) / ROWS;
        for (int k = 0; k < CLASSES; k++)
            ck_assert_double_eq_tol((double)found[row * CLASSES + k], (y[k] - (k == labels[row])) / ROWS, 1e-7);
    }
    ck_assert_double_eq_tol((double)loss, wanted, 1e-5);
}
END_TEST

/* Another batch size finds the kernel, and a number of the rows that others want too is stored. */
START_TEST(another_batch_size_builds_nothing)
{
    float values[90 * 33], sums[90];
    for (int i = 0; i < 90 * 33; i++) values[i] = sinf((float)i);
    for (int rows = 70; rows <= 90; rows += 20) {
        cg_tensor x = cg_input(cg, CG_F32, CG_SHAPE(rows, 33), values, .has_batch_axis = true);
        cg_tensor sum = cg_sum(cg_exp(x), .axes = CG_AXES(-1), .keepdims = true), y = cg_div(cg_exp(x), sum);
        cg_tensor results[] = {sum, y};
        mark();
        ck_assert_msg(cg_eval(results, 2), "%s", cg_message(cg));
        ck_assert_int_eq(cg_counters_get(cg).last_plan_kernels, 1);
        if (rows == 90) ck_assert_int_eq(kernels_built(), 0);
        ck_assert(cg_read_floats(sum, sums, rows));
        for (int i = 0; i < rows; i++) {
            double exact = 0;
            for (int k = 0; k < 33; k++) exact += exp((double)values[i * 33 + k]);
            ck_assert_double_eq_tol((double)sums[i], exact, 1e-4);
        }
    }
}
END_TEST

/* ---- In place -----------------------------------------------------------------------------------------------------
 */

/* A variable scaled by numbers of its own rows; the buffer may be the old one's only if nothing is read too late. */
START_TEST(rows_of_a_variable)
{
    enum { ROWS = 20, LENGTH = 40 };
    float before[ROWS * LENGTH], after[ROWS * LENGTH];
    cg_variable *w = variable_with("w", numbers(CG_SHAPE(ROWS, LENGTH), 4));
    cg_scope scope = cg_scope_local(cg);
    ck_assert(cg_read_floats(cg_value(w), before, ROWS * LENGTH));
    cg_scope_end(scope);
    for (int step = 0; step < 2; step++) {
        scope = cg_scope_begin(cg);
        cg_tensor value = cg_value(w), square = cg_sum(cg_square(value), .axes = CG_AXES(-1), .keepdims = true);
        cg_tensor scaled = cg_div(value, cg_sqrt(square));
        /* Of the new value and of the old one, behind it. */
        cg_tensor more = cg_sub(value, cg_sum(scaled, .axes = CG_AXES(-1), .keepdims = true));
        cg_assign(w, step == 0 ? scaled : cg_add(scaled, times(more, 0)));
        cg_scope_end(scope);
    }
    scope = cg_scope_local(cg);
    ck_assert(cg_read_floats(cg_value(w), after, ROWS * LENGTH));
    cg_scope_end(scope);
    for (int row = 0; row < ROWS; row++) {
        double square = 0;
        for (int k = 0; k < LENGTH; k++) square += (double)before[row * LENGTH + k] * (double)before[row * LENGTH + k];
        for (int k = 0; k < LENGTH; k++)
            ck_assert_double_eq_tol((double)after[row * LENGTH + k], (double)before[row * LENGTH + k] / sqrt(square),
                                    1e-6);
    }
    cg_variable_free(w);
}
END_TEST

/* A number of each row doubled in place, which the elements of that row then read: each work-item has it from the old
 * value, none from what another one has stored. */
START_TEST(numbers_of_rows_in_place_where_work_items_share_a_row)
{
    enum { ROWS = 20, LENGTH = 200 };
    float before[ROWS], after[ROWS], x[ROWS * LENGTH], y[ROWS * LENGTH], sums[ROWS];
    open_own(NULL, NULL);
    cg->local_size = 64;
    cg->vector_width = 1;
    cg_tensor elements = numbers(CG_SHAPE(ROWS, LENGTH), 5);
    cg_variable *w = variable_with("w", numbers(CG_SHAPE(ROWS, 1), 4));
    cg_variable *kept = variable_with("kept", numbers(CG_SHAPE(ROWS, LENGTH), 6));
    cg_variable *sum = variable_with("sum", numbers(CG_SHAPE(ROWS, 1), 7));
    cg_scope scope = cg_scope_local(cg);
    ck_assert(cg_read_floats(cg_value(w), before, ROWS) && cg_read_floats(elements, x, ROWS * LENGTH));
    cg_scope_end(scope);
    scope = cg_scope_begin(cg);
    cg_tensor doubled = times(cg_value(w), 2), power = cg_exp(cg_mul(elements, doubled));
    ck_assert(cg_assign(w, doubled) && cg_assign(kept, power));
    ck_assert(cg_assign(sum, cg_sum(power, .axes = CG_AXES(-1), .keepdims = true)));
    cg_scope_end(scope);
    ck_assert_int_eq(cg_counters_get(cg).last_plan_kernels, 1);
    scope = cg_scope_local(cg);
    ck_assert(cg_read_floats(cg_value(w), after, ROWS) && cg_read_floats(cg_value(kept), y, ROWS * LENGTH));
    ck_assert_msg(cg_read_floats(cg_value(sum), sums, ROWS), "%s", cg_message(cg));
    cg_scope_end(scope);
    for (int row = 0; row < ROWS; row++) {
        double exact = 0;
        ck_assert_float_eq(after[row], 2 * before[row]);
        for (int k = row * LENGTH; k < (row + 1) * LENGTH; k++) {
            exact += exp((double)x[k] * (double)after[row]);
            ck_assert_double_eq_tol((double)y[k], exp((double)x[k] * (double)after[row]), 1e-4);
        }
        ck_assert_double_eq_tol((double)sums[row], exact, 1e-5 * exact);
    }
    close_own();
}
END_TEST

/* ---- The log ------------------------------------------------------------------------------------------------------
 */

static void record_one_softmax(void)
{
    ck_assert_int_eq(kernels_for(&ops[0], CG_SHAPE(30, 40)), 1);
}

START_TEST(the_log_tells_the_passes)
{
    char text[4096];
    read_plan_log(record_one_softmax, text, sizeof text);
    ck_assert_msg(strstr(text, "max") && strstr(text, ", each row in 3 passes\n"), "the log is \"%s\"", text);
}
END_TEST

/* -------------------------------------------------------------------------------------------------------------------
 */

/* ---- Steps of many ops over the same rows -------------------------------------------------------------------------
 */

enum {
    MIXED_OPS = 32,
    MIXED_VARIABLES = 3,
    MIXED_MOST = MIXED_VARIABLES + MIXED_OPS,
    MIXED_STEPS = 40,
    MIXED_ROWS = 5,
    MIXED_LENGTH = 7,
    MIXED_NUMBERS = MIXED_VARIABLES * MIXED_ROWS * (MIXED_LENGTH + 1)
};

/* Matrices, and columns with a number for each of their rows, of which a step makes more. */
typedef struct mixed {
    cg_context *context;
    cg_tensor matrices[MIXED_MOST], columns[MIXED_MOST];
    int matrix_count, column_count;
    uint64_t state;
} mixed;

static unsigned draw(mixed *m, int below)
{
    m->state = m->state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(m->state >> 33) % (unsigned)below;
}

static cg_tensor a_matrix(mixed *m)
{
    return m->matrices[draw(m, m->matrix_count)];
}

static cg_tensor a_column(mixed *m)
{
    return m->columns[draw(m, m->column_count)];
}

static void add_mixed_op(mixed *m)
{
    cg_tensor *matrix = &m->matrices[m->matrix_count], *column = &m->columns[m->column_count];
    const unsigned kind = draw(m, 9);
    const bool gives_column = kind >= 2 && kind <= 4;
    const cg_tensor a = kind == 4 ? a_column(m) : a_matrix(m);
    const cg_tensor b = kind == 0 ? a_matrix(m) : kind == 1 || kind == 4 || kind == 7 ? a_column(m) : a;
    if (kind == 0) *matrix = cg_tanh(cg_add(a, b));
    if (kind == 1) *matrix = cg_sin(cg_mul(a, b));
    if (kind == 2) *column = cg_mean(a, .axes = CG_AXES(-1), .keepdims = true);
    if (kind == 3) *column = cg_max(a, .axes = CG_AXES(-1), .keepdims = true);
    if (kind == 4) *column = cg_tanh(cg_sub(a, b));
    if (kind == 5) *matrix = cg_softmax(a, -1);
    if (kind == 6) *matrix = cg_layer_norm(a, .epsilon = 0.1);
    if (kind == 7) *matrix = cg_add(cg_mul(a, b), cg_mul(a_matrix(m), cg_exp(cg_neg(cg_square(a)))));
    if (kind == 8) *matrix = cg_mul(cg_clip(a, -0.5, 0.5), cg_scalar(m->context, 2));
    m->matrix_count += !gives_column;
    m->column_count += gives_column;
}

/* Runs a step that assigns to some of six variables, and reads them all. */
static void run_mixed_step(cg_context *context, uint64_t seed, double *out)
{
    mixed m = {.context = context, .matrix_count = MIXED_VARIABLES, .column_count = MIXED_VARIABLES, .state = seed};
    cg_variable *variables[2 * MIXED_VARIABLES];
    cg_seed(context, seed);
    for (int i = 0; i < 2 * MIXED_VARIABLES; i++) {
        const cg_shape shape = CG_SHAPE(MIXED_ROWS, i < MIXED_VARIABLES ? MIXED_LENGTH : 1);
        char name[16];
        snprintf(name, sizeof name, "v%d", i);
        variables[i] = cg_variable_new(context, name, CG_F32, shape);
        cg_assign(variables[i], cg_uniform(context, shape, .low = -1, .high = 1));
    }
    cg_flush(context);
    cg_scope scope = cg_scope_begin(context);
    for (int i = 0; i < MIXED_VARIABLES; i++) {
        m.matrices[i] = cg_value(variables[i]);
        m.columns[i] = cg_value(variables[MIXED_VARIABLES + i]);
    }
    for (int ops = 4 + (int)draw(&m, MIXED_OPS - 3); ops > 0; ops--) add_mixed_op(&m);
    for (int i = 0; i < 2 * MIXED_VARIABLES; i++)
        if (draw(&m, 10) < 7) cg_assign(variables[i], i < MIXED_VARIABLES ? a_matrix(&m) : a_column(&m));
    cg_scope_end(scope);
    for (int i = 0; i < 2 * MIXED_VARIABLES; i++) {
        const int64_t count = MIXED_ROWS * (i < MIXED_VARIABLES ? MIXED_LENGTH : 1);
        float values[MIXED_ROWS * MIXED_LENGTH];
        ck_assert_msg(cg_read_floats(cg_value(variables[i]), values, count), "%s", cg_message(context));
        for (int64_t j = 0; j < count; j++) *out++ = values[j];
        cg_variable_free(variables[i]);
    }
}

static double mixed_results[MIXED_STEPS][MIXED_NUMBERS];

static void run_mixed_steps(void)
{
    for (int i = 0; i < MIXED_STEPS; i++) run_mixed_step(cg, (uint64_t)i + 1, mixed_results[i]);
}

static void run_mixed_steps_where_work_items_share_a_row(void)
{
    cg->local_size = 64;
    cg->vector_width = 1;
    run_mixed_steps();
}

/* Whatever kernels a step becomes, what it assigns arrives; and every kernel chosen for it can be made. */
START_TEST(mixed_steps_are_those_of_single_ops)
{
    static char text[1 << 18];
    double single[MIXED_NUMBERS];
    read_plan_log(_i == 0 ? run_mixed_steps : run_mixed_steps_where_work_items_share_a_row, text, sizeof text);
    ck_assert_int_lt(strlen(text), sizeof text - 1);
    ck_assert_ptr_null(strstr(text, "made again without fusion"));
    open_own("CLGRAD_EAGER", "1");
    for (int step = 0; step < MIXED_STEPS; step++) {
        run_mixed_step(cg, (uint64_t)step + 1, single);
        for (int i = 0; i < MIXED_NUMBERS; i++)
            ck_assert_msg(fabs(mixed_results[step][i] - single[i]) <= 1e-5 * (1 + fabs(single[i])),
                          "step %d, number %d: %g, not %g", step + 1, i, mixed_results[step][i], single[i]);
    }
    close_own();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rows");
    TCase *cases = tcase_create("rows");
    tcase_add_checked_fixture(cases, begin_test, end_test);
    tcase_add_loop_test(cases, values_are_those_of_plain_loops, 0, OPS);
    tcase_add_loop_test(cases, values_are_the_same_where_work_items_share_a_row, 0, OPS);
    tcase_add_test(cases, along_another_axis);
    tcase_add_loop_test(cases, one_kernel, 0, OPS);
    tcase_add_loop_test(cases, few_long_rows_are_cut, 0, OPS);
    tcase_add_loop_test(cases, op_by_op_there_are_no_passes, 0, OPS);
    tcase_add_test(cases, cross_entropy_with_its_gradient);
    tcase_add_test(cases, another_batch_size_builds_nothing);
    tcase_add_test(cases, rows_of_a_variable);
    tcase_add_test(cases, numbers_of_rows_in_place_where_work_items_share_a_row);
    tcase_add_test(cases, the_log_tells_the_passes);
    tcase_add_loop_test(cases, mixed_steps_are_those_of_single_ops, 0, 2);
    suite_add_tcase(suite, cases);
    return run_tests(suite);
}

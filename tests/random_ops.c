/* The ops of the random programs: each is called and interpreted on the host, with bounds of its result and error. */
#include "random_program.h"

#include <clgrad/geometry.h>
#include <clgrad/ops.h>
#include <clgrad/scans.h>
#include <math.h>

/* ---- maps ---- */

static double host_neg(double x)
{
    return -x;
}

static double host_square(double x)
{
    return x * x;
}

static double host_sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double host_relu(double x)
{
    return x > 0 ? x : 0;
}

static double host_softplus_like(double x)
{
    return sqrt(x * x + 1);
}

static double host_softplus(double x)
{
    return log1p(exp(x));
}

static double host_silu(double x)
{
    return x / (1 + exp(-x));
}

static double host_gelu(double x)
{
    return 0.5 * x * erfc(-x / sqrt(2));
}

static double host_elu(double x)
{
    return x > 0 ? x : expm1(x);
}

static double host_root_bell(double x)
{
    return 1 / sqrt(1 + x * x);
}

static double host_bell(double x)
{
    return 1 / (1 + x * x);
}

static double host_log_bell(double x)
{
    return log(1 + x * x);
}

static double host_clip(double x)
{
    return fmin(fmax(x, -0.75), 1.25);
}

static cg_tensor one_more_than_square(cg_tensor x)
{
    cg_tensor square = cg_square(x);
    return cg_add(square, cg_constant(cg_context_of(x), cg_dtype_of(x), 1));
}

static cg_tensor softplus_like(cg_tensor x)
{
    return cg_sqrt(one_more_than_square(x));
}

static cg_tensor bell(cg_tensor x)
{
    return cg_reciprocal(one_more_than_square(x));
}

static cg_tensor log_bell(cg_tensor x)
{
    return cg_log1p(cg_square(x));
}

static cg_tensor root_bell(cg_tensor x)
{
    return cg_rsqrt(one_more_than_square(x));
}

static cg_tensor elu(cg_tensor x)
{
    return cg_elu(x, 1);
}

static cg_tensor plain_relu(cg_tensor x)
{
    return cg_relu(x);
}

static cg_tensor clip(cg_tensor x)
{
    return cg_clip(x, -0.75, 1.25);
}

/* With b the bound of its operand, a map's result is at RANDOM_MOST level + slope_of_bound b (or exp, or square). */
typedef struct unary {
    const char *name;
    cg_tensor (*op)(cg_tensor);
    double (*host)(double);
    double bound;      /* of the result; 0: that of the operand; negative: the host function's value at the bound */
    double slope;      /* largest; negative: the host function's value at the bound, times it */
    double most_input; /* 0: any */
} unary;

static const unary unaries[] = {
    {"neg", cg_neg, host_neg, 0, 1, 0},
    {"abs", cg_abs, fabs, 0, 1, 0},
    {"square", cg_square, host_square, -1, 16, 8},
    {"sin", cg_sin, sin, 1, 1, 0},
    {"cos", cg_cos, cos, 1, 1, 0},
    {"tanh", cg_tanh, tanh, 1, 1, 0},
    {"sigmoid", cg_sigmoid, host_sigmoid, 1, 0.25, 0},
    {"exp", cg_exp, exp, -1, 55, 4},
    {"relu", plain_relu, host_relu, 0, 1, 0},
    {"clip", clip, host_clip, 1.25, 1, 0},
    {"sqrt(x^2+1)", softplus_like, host_softplus_like, -1, 1, 0},
    {"1/(x^2+1)", bell, host_bell, 1, 1, 0},
    {"log1p(x^2)", log_bell, host_log_bell, -1, 1, 0},
    {"1/sqrt(x^2+1)", root_bell, host_root_bell, 1, 0.4, 0},
    {"expm1", cg_expm1, expm1, -1, 55, 4},
    {"softplus", cg_softplus, host_softplus, -1, 1, 0},
    {"silu", cg_silu, host_silu, 0, 1.2, 0},
    {"gelu", cg_gelu, host_gelu, 0, 1.2, 0},
    {"elu", elu, host_elu, 0, 1, 0},
};

static void map_real(program *p)
{
    value *a = random_pick(p, REAL);
    const unary *u = &unaries[random_choose(p, (int)(sizeof unaries / sizeof *unaries))];
    if (u->most_input != 0 && a->host.bound > u->most_input) u = &unaries[5];
    p->doing = u->name;
    random_say(p, "%s of %d\n", u->name, (int)(a - p->values));
    double bound = u->bound > 0 ? u->bound : u->bound < 0 ? u->host(a->host.bound) : a->host.bound;
    host_tensor host = random_bounded(p, host_map1(u->host, &a->host), REAL, bound, u->slope * a->host.error);
    random_add(p, REAL, u->op(a->tensor), host);
}

static double host_add(double a, double b)
{
    return a + b;
}

static double host_sub(double a, double b)
{
    return a - b;
}

static double host_mul(double a, double b)
{
    return a * b;
}

static double host_max(double a, double b)
{
    return a > b ? a : b;
}

static double host_min(double a, double b)
{
    return a < b ? a : b;
}

static double host_over_bell(double a, double b)
{
    return a / (1 + b * b);
}

static cg_tensor over_bell(cg_tensor a, cg_tensor b)
{
    return cg_div(a, one_more_than_square(b));
}

typedef struct binary {
    const char *name;
    cg_tensor (*op)(cg_tensor, cg_tensor);
    double (*host)(double, double);
    enum { SUM, PRODUCT, LARGER, FIRST } bound;
    bool integers;
} binary;

static const binary binaries[] = {
    {"add", cg_add, host_add, SUM, true},
    {"sub", cg_sub, host_sub, SUM, true},
    {"mul", cg_mul, host_mul, PRODUCT, true},
    {"maximum", cg_maximum, host_max, LARGER, true},
    {"minimum", cg_minimum, host_min, LARGER, true},
    {"a/(b^2+1)", over_bell, host_over_bell, FIRST, false},
};

static void bounds_of(const binary *f, const host_tensor *a, const host_tensor *b, double *bound, double *error)
{
    switch (f->bound) {
    case SUM:
        *bound = a->bound + b->bound;
        *error = a->error + b->error;
        return;
    case PRODUCT:
        *bound = a->bound * b->bound;
        *error = a->bound * b->error + b->bound * a->error;
        return;
    case LARGER:
        *bound = fmax(a->bound, b->bound);
        *error = fmax(a->error, b->error);
        return;
    case FIRST:
        *bound = a->bound;
        *error = a->error + a->bound * b->error;
        return;
    }
}

static void combine(program *p)
{
    kind kind = random_chance(p, 75) ? REAL : INTEGER;
    value *a = random_pick(p, kind), *b = random_partner(p, kind, a);
    const binary *f = &binaries[random_choose(p, kind == REAL ? 6 : 5)];
    double bound, error;
    bounds_of(f, &a->host, &b->host, &bound, &error);
    if (bound > (kind == REAL ? RANDOM_MOST : 1e6)) {
        f = &binaries[4];
        bounds_of(f, &a->host, &b->host, &bound, &error);
    }
    if (random_chance(p, 50)) {
        value *swap = a;
        a = b;
        b = swap;
        bounds_of(f, &a->host, &b->host, &bound, &error);
    }
    p->doing = f->name;
    random_say(p, "%s of %d and %d\n", f->name, (int)(a - p->values), (int)(b - p->values));
    host_tensor host = random_bounded(p, host_map2(f->host, &a->host, &b->host), kind, bound, error);
    random_add(p, kind, f->op(a->tensor, b->tensor), host);
}

/* With a number that is an argument, another in each run. */
static void scale(program *p)
{
    value *a = random_pick(p, REAL);
    double factor = random_number(p, REAL);
    p->doing = "scale";
    random_say(p, "%d times a scalar\n", (int)(a - p->values));
    host_tensor host = host_copy(&a->host);
    for (int64_t i = 0; i < host.size; i++) host.data[i] *= factor;
    host = random_bounded(p, host, REAL, a->host.bound * 2, a->host.error * 2);
    if (host.bound <= RANDOM_MOST) {
        random_add(p, REAL, cg_mul(a->tensor, cg_scalar(p->cg, factor)), host);
        return;
    }
    host_tensor squashed = random_bounded(p, host_map1(tanh, &host), REAL, 1, host.error);
    host_free(&host);
    random_add(p, REAL, cg_tanh(cg_mul(cg_scalar(p->cg, factor), a->tensor)), squashed);
}

/* ---- truths ---- */

static double host_less(double a, double b)
{
    return a < b;
}

static double host_equal(double a, double b)
{
    return a == b;
}

static double host_greater_equal(double a, double b)
{
    return a >= b;
}

static double host_and(double a, double b)
{
    return a != 0 && b != 0;
}

static double host_or(double a, double b)
{
    return a != 0 || b != 0;
}

static double host_not(double a)
{
    return a == 0;
}

static const binary comparisons[] = {
    {"less", cg_less, host_less, LARGER, true},
    {"equal", cg_equal, host_equal, LARGER, true},
    {"greater_equal", cg_greater_equal, host_greater_equal, LARGER, true},
    {"and", cg_logical_and, host_and, LARGER, true},
    {"or", cg_logical_or, host_or, LARGER, true},
};

/* Compares integers, which are exact: a rounding error must not decide which way a program goes. */
static void compare_integers(program *p)
{
    int which = random_choose(p, 5);
    kind kind = which < 3 ? INTEGER : TRUTH;
    value *a = random_pick(p, kind), *b = random_partner(p, kind, a);
    const binary *f = &comparisons[which];
    p->doing = f->name;
    random_say(p, "%s of %d and %d\n", f->name, (int)(a - p->values), (int)(b - p->values));
    host_tensor host = random_bounded(p, host_map2(f->host, &a->host, &b->host), TRUTH, 1, 0);
    random_add(p, TRUTH, f->op(a->tensor, b->tensor), host);
}

static void negate(program *p)
{
    value *a = random_pick(p, TRUTH);
    p->doing = "not";
    random_say(p, "not %d\n", (int)(a - p->values));
    random_add(p, TRUTH, cg_logical_not(a->tensor), random_bounded(p, host_map1(host_not, &a->host), TRUTH, 1, 0));
}

static void choose_elements(program *p)
{
    kind kind = random_chance(p, 75) ? REAL : INTEGER;
    value *yes = random_pick(p, kind), *no = random_partner(p, kind, yes), *condition = random_partner(p, TRUTH, yes);
    cg_shape branches, shape;
    host_broadcasts(&yes->host.shape, &no->host.shape, &branches);
    if (!host_broadcasts(&branches, &condition->host.shape, &shape) || random_size(shape) > MOST_ELEMENTS) return;
    p->doing = "where";
    random_say(p, "where %d then %d else %d\n", (int)(condition - p->values), (int)(yes - p->values),
               (int)(no - p->values));
    host_tensor host = host_where(&condition->host, &yes->host, &no->host);
    host = random_bounded(p, host, kind, fmax(yes->host.bound, no->host.bound), fmax(yes->host.error, no->host.error));
    random_add(p, kind, cg_where(condition->tensor, yes->tensor, no->tensor), host);
}

static void convert(program *p)
{
    kind from = random_chance(p, 50) ? INTEGER : TRUTH, to = random_chance(p, 70) ? REAL : INTEGER;
    value *a = random_pick(p, from);
    if (to == REAL && a->host.bound > RANDOM_MOST) return;
    p->doing = "cast";
    random_say(p, "cast %d\n", (int)(a - p->values));
    random_add(p, to, cg_cast(a->tensor, random_dtype(p, to)), random_moved(host_copy(&a->host), &a->host));
}

/* ---- moves ---- */

/* The same number of elements in another shape: axes joined, or one split. */
static cg_shape random_reshape(program *p, cg_shape shape)
{
    if (shape.rank >= 2 && random_chance(p, 60)) {
        int axis = random_choose(p, shape.rank - 1);
        shape.size[axis] *= shape.size[axis + 1];
        for (int i = axis + 1; i + 1 < shape.rank; i++) shape.size[i] = shape.size[i + 1];
        shape.rank--;
        return shape;
    }
    if (shape.rank >= 6) return shape;
    int axis = random_choose(p, shape.rank + 1);
    int64_t outer = axis < shape.rank && shape.size[axis] % 2 == 0 && shape.size[axis] ? 2 : 1;
    for (int i = shape.rank; i > axis; i--) shape.size[i] = shape.size[i - 1];
    shape.size[axis] = outer;
    if (axis < shape.rank) shape.size[axis + 1] /= outer;
    shape.rank++;
    return shape;
}

static void reshape(program *p, value *a, cg_tensor *tensor, host_tensor *host)
{
    cg_shape shape = random_reshape(p, a->host.shape);
    *tensor = cg_reshape(a->tensor, shape);
    *host = host_reshape(&a->host, shape);
}

static void permute(program *p, value *a, cg_tensor *tensor, host_tensor *host)
{
    cg_axes axes = {.count = a->host.shape.rank};
    for (int i = 0; i < axes.count; i++) axes.axis[i] = i;
    for (int i = axes.count - 1; i > 0; i--) {
        int j = random_choose(p, i + 1), swap = axes.axis[i];
        axes.axis[i] = axes.axis[j];
        axes.axis[j] = swap;
    }
    *tensor = axes.count ? cg_permute(a->tensor, axes) : cg_transpose(a->tensor);
    *host = host_permute(&a->host, axes.axis);
}

static void broadcast(program *p, value *a, cg_tensor *tensor, host_tensor *host)
{
    cg_shape shape = a->host.shape;
    for (int i = 0; i < shape.rank; i++)
        if (shape.size[i] == 1 && random_size(shape) <= MOST_ELEMENTS / 4) shape.size[i] = 1 + random_choose(p, 4);
    if (shape.rank < 5 && random_size(shape) <= MOST_ELEMENTS / 4) {
        for (int i = shape.rank; i > 0; i--) shape.size[i] = shape.size[i - 1];
        shape.size[0] = 1 + random_choose(p, 4);
        shape.rank++;
    }
    *tensor = cg_broadcast_to(a->tensor, shape);
    *host = host_broadcast(&a->host, shape);
}

static void slice(program *p, value *a, cg_tensor *tensor, host_tensor *host)
{
    cg_shape shape = a->host.shape;
    int64_t start[CG_MAX_RANK], step[CG_MAX_RANK];
    cg_ranges ranges = {.count = shape.rank};
    for (int i = 0; i < shape.rank; i++) {
        int size = (int)shape.size[i];
        start[i] = 0;
        step[i] = 1;
        ranges.range[i] = CG_WHOLE;
        if (size == 0 || random_chance(p, 40)) continue;
        step[i] = random_chance(p, 40) ? -1 - random_choose(p, 2) : 1 + random_choose(p, 3);
        start[i] = random_choose(p, size);
        int64_t room = step[i] > 0 ? size - start[i] : start[i] + 1, stride = step[i] > 0 ? step[i] : -step[i];
        shape.size[i] = (room + stride - 1) / stride;
        ranges.range[i] = CG_RANGE(start[i], CG_NONE, step[i]);
    }
    *tensor = cg_slice_with(a->tensor, ranges);
    *host = host_slice(&a->host, shape, start, step);
}

static void pad(program *p, value *a, cg_tensor *tensor, host_tensor *host)
{
    cg_shape before = {.rank = a->host.shape.rank}, after = before, total = a->host.shape;
    for (int i = 0; i < before.rank; i++) {
        before.size[i] = random_choose(p, 3);
        after.size[i] = random_choose(p, 3);
        total.size[i] += before.size[i] + after.size[i];
        if (random_size(total) > MOST_ELEMENTS) {
            total.size[i] -= before.size[i] + after.size[i];
            before.size[i] = after.size[i] = 0;
        }
    }
    double fill = a->kind == TRUTH ? random_chance(p, 50) : random_chance(p, 50) ? 0 : -1;
    *tensor = cg_pad(a->tensor, before, after, .value = fill);
    *host = host_pad(&a->host, before.size, after.size, fill);
}

static void move(program *p)
{
    static void (*const moves[])(program *, value *, cg_tensor *, host_tensor *) = {reshape, permute, broadcast, slice,
                                                                                    pad};
    static const char *const names[] = {"reshape", "permute", "broadcast", "slice", "pad"};
    kind kind = random_kind(p);
    value *a = random_pick(p, kind);
    int which = random_choose(p, 5);
    cg_tensor tensor;
    host_tensor host;
    p->doing = names[which];
    random_say(p, "%s of %d\n", names[which], (int)(a - p->values));
    moves[which](p, a, &tensor, &host);
    host = random_moved(host, &a->host);
    host.bound = fmax(host.bound, 1);
    random_add(p, kind, tensor, host);
}

/* A value with parts of itself or of new ones after it. */
static void concatenate(program *p)
{
    kind kind = random_kind(p);
    value *a = random_pick(p, kind);
    cg_shape shape = a->host.shape;
    if (shape.rank == 0 || a->host.size > MOST_ELEMENTS / 3) return;
    int axis = random_choose(p, shape.rank), count = 1 + random_choose(p, 3);
    const host_tensor *parts[3] = {&a->host};
    cg_tensor tensors[3] = {a->tensor};
    double bound = a->host.bound, error = a->host.error;
    for (int k = 1; k < count; k++) {
        shape.size[axis] = 1 + random_choose(p, 3);
        const value *part = random_chance(p, 30) ? a : random_leaf(p, kind, shape);
        parts[k] = &part->host;
        tensors[k] = part->tensor;
        bound = fmax(bound, part->host.bound);
        error = fmax(error, part->host.error);
    }
    p->doing = "concat";
    random_say(p, "concat %d tensors from %d, axis %d\n", count, (int)(a - p->values), axis);
    host_tensor host = host_concat(parts, count, axis);
    host.bound = bound;
    host.error = error;
    random_add(p, kind, cg_concat(tensors, count, axis), host);
}

/* ---- reductions, products, indices ---- */

static cg_tensor reduce_tensor(cg_tensor x, host_fold fold, cg_axes axes, bool keepdims)
{
    cg_reduce_options options = {.axes = axes, .keepdims = keepdims};
    switch (fold) {
    case HOST_SUM:
        return cg_sum_with(x, &options);
    case HOST_MEAN:
        return cg_mean_with(x, &options);
    case HOST_MAX:
        return cg_max_with(x, &options);
    case HOST_MIN:
        return cg_min_with(x, &options);
    case HOST_LOGSUMEXP:
        return cg_logsumexp_with(x, &options);
    case HOST_ALL:
        return cg_all_with(x, &options);
    default:
        return cg_any_with(x, &options);
    }
}

static host_fold random_fold(program *p, kind kind)
{
    static const host_fold reals[] = {HOST_SUM, HOST_MEAN, HOST_MAX, HOST_MIN, HOST_LOGSUMEXP};
    static const host_fold integers[] = {HOST_SUM, HOST_MAX, HOST_MIN}, truths[] = {HOST_ALL, HOST_ANY};
    if (kind == REAL) return reals[random_choose(p, 5)];
    return kind == INTEGER ? integers[random_choose(p, 3)] : truths[random_choose(p, 2)];
}

static void bounds_of_fold(const program *p, host_fold fold, int64_t count, host_tensor *host, const host_tensor *a)
{
    host->bound = a->bound;
    host->error = a->error + 24 * p->epsilon * a->bound;
    if (fold == HOST_SUM || fold == HOST_MEAN) {
        double weight = fold == HOST_SUM ? (double)count : 1;
        host->bound *= weight;
        host->error = weight * (a->error + (double)(count + 24) * p->epsilon * a->bound);
    }
    if (fold == HOST_LOGSUMEXP) {
        host->bound += log((double)count + 1);
        host->error += 24 * p->epsilon * ((double)count + a->bound);
    }
}

static void reduce(program *p)
{
    kind kind = random_kind(p);
    value *a = random_pick(p, kind);
    host_fold fold = random_fold(p, kind);
    bool keepdims = random_chance(p, 40);
    unsigned mask = 0;
    int64_t count = 1;
    cg_axes axes = {0};
    for (int i = 0; i < a->host.shape.rank; i++) {
        if (!random_chance(p, 55)) continue;
        mask |= 1U << i;
        axes.axis[axes.count++] = random_chance(p, 50) ? i : i - a->host.shape.rank;
        count *= a->host.shape.size[i];
    }
    if (!mask) {
        mask = (1U << a->host.shape.rank) - 1;
        count = a->host.size;
    }
    bool empty_is_fine = fold == HOST_SUM || fold == HOST_ALL || fold == HOST_ANY;
    if (a->host.size == 0 && !empty_is_fine) return;
    p->doing = "reduce";
    random_say(p, "fold %d of %d over axes %#x%s\n", (int)fold, (int)(a - p->values), mask, keepdims ? ", kept" : "");
    host_tensor host = host_reduce(&a->host, fold, mask, keepdims);
    bounds_of_fold(p, fold, count, &host, &a->host);
    if (kind != REAL) host.error = 0;
    bool large = host.bound > (kind == REAL ? RANDOM_MOST : 1e6);
    cg_tensor tensor = reduce_tensor(a->tensor, fold, axes, keepdims);
    if (large && kind == REAL) {
        host_tensor squashed = random_bounded(p, host_map1(sin, &host), REAL, 1, host.error);
        host_free(&host);
        host = squashed;
        tensor = cg_sin(tensor);
    }
    if (large && kind == INTEGER) {
        host_free(&host);
        return;
    }
    random_add(p, kind, tensor, host);
}

static void find_largest(program *p)
{
    value *a = random_pick(p, INTEGER);
    if (a->host.shape.rank == 0 || a->host.size == 0) return;
    int axis = random_choose(p, a->host.shape.rank);
    p->doing = "argmax";
    random_say(p, "argmax of %d, axis %d\n", (int)(a - p->values), axis);
    host_tensor host = host_argmax(&a->host, axis);
    host.bound = (double)a->host.shape.size[axis];
    random_add(p, INTEGER, cg_argmax(a->tensor, .axes = CG_AXES(axis)), host);
}

static void multiply_matrices(program *p)
{
    value *a = random_pick(p, REAL);
    if (a->host.shape.rank < 2) return;
    int rank = a->host.shape.rank;
    int64_t inner = a->host.shape.size[rank - 1], columns = 1 + random_choose(p, 20);
    cg_shape shape = {.rank = 2, .size = {inner, columns}};
    if (rank > 2 && random_chance(p, 40)) {
        shape = a->host.shape;
        shape.size[rank - 2] = inner;
        shape.size[rank - 1] = columns;
        if (random_chance(p, 40)) shape.size[0] = 1;
    }
    if (a->host.size * columns > 20 * MOST_ELEMENTS) return;
    bool transposed = random_chance(p, 40);
    cg_shape stored = shape;
    if (transposed) {
        stored.size[shape.rank - 2] = columns;
        stored.size[shape.rank - 1] = inner;
    }
    value *b = random_leaf(p, REAL, stored);
    int axes[CG_MAX_RANK];
    for (int i = 0; i < shape.rank; i++) axes[i] = i;
    if (transposed) {
        axes[shape.rank - 1] = shape.rank - 2;
        axes[shape.rank - 2] = shape.rank - 1;
    }
    p->doing = "matmul";
    random_say(p, "matmul of %d and %d%s\n", (int)(a - p->values), (int)(b - p->values),
               transposed ? " transposed" : "");
    host_tensor right = host_permute(&b->host, axes), host = host_matmul(&a->host, &right);
    host_free(&right);
    cg_tensor factor = transposed ? cg_swap_axes(b->tensor, -1, -2) : b->tensor;
    cg_tensor product = cg_matmul(a->tensor, factor);
    double sum = (double)inner * a->host.bound * 2;
    host_tensor scaled = host_map1(tanh, &host);
    scaled = random_bounded(p, scaled, REAL, 1,
                            (double)inner * 2 * a->host.error + (double)(inner + 24) * p->epsilon * sum);
    host_free(&host);
    random_add(p, REAL, cg_tanh(product), scaled);
}

static void normalise(program *p)
{
    value *a = random_pick(p, REAL);
    if (a->host.shape.rank == 0 || a->host.size == 0) return;
    int axis = random_choose(p, a->host.shape.rank);
    bool logarithm = random_chance(p, 50);
    double count = (double)a->host.shape.size[axis];
    p->doing = "softmax";
    random_say(p, "%ssoftmax of %d, axis %d\n", logarithm ? "log_" : "", (int)(a - p->values), axis);
    host_tensor host = host_softmax(&a->host, axis, logarithm);
    double bound = logarithm ? 2 * a->host.bound + log(count) : 1;
    host = random_bounded(p, host, REAL, bound, 2 * a->host.error + 48 * p->epsilon * (count + a->host.bound));
    random_add(p, REAL, logarithm ? cg_log_softmax(a->tensor, axis) : cg_softmax(a->tensor, axis), host);
}

static void gather(program *p)
{
    kind kind = random_kind(p);
    value *a = random_pick(p, kind);
    if (a->host.shape.rank == 0 || a->host.size == 0) return;
    int axis = random_choose(p, a->host.shape.rank);
    cg_shape shape = {.rank = random_choose(p, 3)};
    for (int i = 0; i < shape.rank; i++) shape.size[i] = 1 + random_choose(p, 4);
    if (a->host.size * random_size(shape) > MOST_ELEMENTS || a->host.shape.rank + shape.rank > 6) return;
    host_tensor indices = host_new(shape);
    for (int64_t i = 0; i < indices.size; i++)
        indices.data[i] = (double)(random_next(&p->numbers) % (uint64_t)a->host.shape.size[axis]);
    p->doing = "gather";
    random_say(p, "gather from %d, axis %d\n", (int)(a - p->values), axis);
    cg_tensor where = random_upload(p, INTEGER, &indices);
    host_tensor host = random_moved(host_gather(&a->host, &indices, axis), &a->host);
    host_free(&indices);
    random_add(p, kind, cg_gather(a->tensor, where, axis), host);
}

static cg_tensor scan_tensor(cg_tensor x, host_scan scan, int axis)
{
    switch (scan) {
    case HOST_CUMSUM:
        return cg_cumsum(x, axis);
    case HOST_CUMMAX:
        return cg_cummax(x, axis);
    case HOST_CUMMIN:
        return cg_cummin(x, axis);
    case HOST_SORT:
        return cg_sort(x, axis);
    default:
        return cg_argsort(x, axis);
    }
}

static void scan_lines(program *p)
{
    static const char *const names[] = {"cumsum", "cummax", "cummin", "sort", "argsort"};
    kind kind = random_chance(p, 60) ? REAL : INTEGER;
    value *a = random_pick(p, kind);
    if (a->host.shape.rank == 0) return;
    int axis = random_choose(p, a->host.shape.rank);
    host_scan scan = (host_scan)random_choose(p, kind == REAL ? HOST_ARGSORT : HOST_ARGSORT + 1);
    double count = (double)a->host.shape.size[axis];
    if (scan == HOST_CUMSUM && count * a->host.bound > (kind == REAL ? RANDOM_MOST : 1e6)) scan = HOST_SORT;
    p->doing = names[scan];
    random_say(p, "%s of %d, axis %d\n", names[scan], (int)(a - p->values), axis);
    host_tensor host = random_moved(host_scanned(&a->host, scan, axis), &a->host);
    if (scan == HOST_ARGSORT) host.bound = count;
    if (scan == HOST_CUMSUM) {
        host.bound = fmax(count, 1) * a->host.bound;
        host.error = kind == REAL ? count * a->host.error + (count + 24) * p->epsilon * host.bound : 0;
    }
    random_add(p, kind, scan_tensor(a->tensor, scan, axis), host);
}

static void take_best(program *p)
{
    value *a = random_pick(p, REAL);
    if (a->host.shape.rank == 0 || a->host.size == 0) return;
    int axis = random_choose(p, a->host.shape.rank);
    int64_t k = 1 + random_choose(p, (int)a->host.shape.size[axis]), start[CG_MAX_RANK] = {0}, step[CG_MAX_RANK];
    cg_shape shape = a->host.shape;
    for (int i = 0; i < shape.rank; i++) step[i] = 1;
    shape.size[axis] = k;
    p->doing = "top_k";
    random_say(p, "%d smallest of %d, axis %d\n", (int)k, (int)(a - p->values), axis);
    host_tensor sorted = host_scanned(&a->host, HOST_SORT, axis);
    host_tensor host = random_moved(host_slice(&sorted, shape, start, step), &a->host);
    host_free(&sorted);
    random_add(p, REAL, cg_top_k(a->tensor, k, axis, NULL, .smallest = true), host);
}

/* ---- images ---- */

/* Elements before and after an axis. */
static void around(cg_shape shape, int axis, int64_t *outer, int64_t *inner)
{
    *outer = *inner = 1;
    for (int i = 0; i < axis; i++) *outer *= shape.size[i];
    for (int i = axis + 1; i < shape.rank; i++) *inner *= shape.size[i];
}

static host_tensor host_resized(const host_tensor *a, int axis, int64_t to, bool linear)
{
    cg_shape shape = a->shape;
    const int64_t from = shape.size[axis];
    int64_t outer, inner;
    around(shape, axis, &outer, &inner);
    shape.size[axis] = to;
    host_tensor result = host_new(shape);
    for (int64_t i = 0; i < result.size; i++) {
        const int64_t plane = i / inner / to * from;
        const double middle = ((double)(i / inner % to) + 0.5) * (double)from / (double)to, place = middle - 0.5;
        const double low = linear ? floor(place) : floor(middle + 1e-9), beyond = linear ? place - low : 0;
        const int64_t first = (int64_t)fmax(low, 0), second = (int64_t)fmin(low + 1, (double)from - 1);
        result.data[i] = (1 - beyond) * a->data[(plane + first) * inner + i % inner] +
                         beyond * a->data[(plane + second) * inner + i % inner];
    }
    return result;
}

static bool is_image(const value *v)
{
    return v->host.shape.rank >= 3 && v->host.shape.rank <= 5 && v->host.size > 0;
}

static void resize_image(program *p)
{
    value *a = random_pick(p, REAL);
    cg_shape size = {.rank = a->host.shape.rank - 2};
    if (!is_image(a)) return;
    const bool linear = random_chance(p, 60);
    host_tensor host = host_copy(&a->host);
    for (int i = 0; i < size.rank; i++) {
        size.size[i] = 1 + random_choose(p, 9);
        host_tensor next = host_resized(&host, 2 + i, size.size[i], linear);
        host_free(&host);
        host = next;
    }
    if (host.size > MOST_ELEMENTS) {
        host_free(&host);
        return;
    }
    p->doing = "resize";
    random_say(p, "%s resize of %d\n", linear ? "linear" : "nearest", (int)(a - p->values));
    host = random_bounded(p, host, REAL, a->host.bound, a->host.error + 24 * p->epsilon * a->host.bound);
    random_add(p, REAL, cg_resize(a->tensor, size, .interpolation = linear ? CG_LINEAR : CG_NEAREST), host);
}

/* Windows along one axis. */
static void unfold_row(program *p)
{
    value *a = random_pick(p, REAL);
    const cg_shape shape = a->host.shape;
    if (!is_image(a) || shape.rank != 3 || a->host.size > MOST_ELEMENTS / 3) return;
    const int64_t extent = 1 + random_choose(p, 3), stride = 1 + random_choose(p, 3);
    const int64_t room = shape.size[2] + 1 - extent, count = room / stride + 1;
    if (room < 0) return;
    host_tensor host = host_new(CG_SHAPE(shape.size[0], shape.size[1] * extent, count));
    for (int64_t i = 0; i < host.size; i++) {
        const int64_t place = i % count * stride + i / count % extent - 1;
        host.data[i] = place < 0 ? 0 : a->host.data[i / (count * extent) * shape.size[2] + place];
    }
    p->doing = "unfold";
    random_say(p, "unfold of %d, %d by %d\n", (int)(a - p->values), (int)extent, (int)stride);
    cg_tensor windows = cg_unfold(a->tensor, CG_SHAPE(extent), .stride = {stride}, .padding = CG_PADDING_EXPLICIT,
                                  .before = {1});
    random_add(p, REAL, windows, random_moved(host, &a->host));
}

/* ---- which ---- */

void random_op(program *p)
{
    static const struct {
        void (*op)(program *);
        int weight;
    } ops[] = {
        {map_real, 16},       {combine, 20},     {scale, 5},      {compare_integers, 4},  {negate, 1},
        {choose_elements, 5}, {convert, 4},      {move, 20},      {concatenate, 3},       {reduce, 12},
        {find_largest, 2},    {normalise, 4},    {gather, 3},     {multiply_matrices, 6}, {scan_lines, 5},
        {take_best, 2},       {resize_image, 3}, {unfold_row, 2},
    };
    int total = 0;
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) total += ops[i].weight;
    int choice = random_choose(p, total);
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        choice -= ops[i].weight;
        if (choice >= 0) continue;
        ops[i].op(p);
        return;
    }
}

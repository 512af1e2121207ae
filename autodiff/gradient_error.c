/* Checks derivatives against differences of the function itself. The only file of this folder that reads values back.
 * Results are projected to one number with fixed random weights, so that one reverse pass gives all the derivatives
 * that the differences are compared with. */
#include "autodiff/grad.h"

#include <math.h>

/* An input of up to ELEMENTS elements is moved one element at a time, a larger one along DIRECTIONS random ones. */
enum { ELEMENTS = 64, DIRECTIONS = 24 };

/* Seeds of the weights: of the function's value, and of its gradient by the first input, the second, ... */
enum { VALUE_SEED = 1, GRADIENT_SEED = 2, DIRECTION_SEED = 1000 };

/* An input: its values, those of the current evaluation, the derivative found by reverse mode, and the direction in
 * which it is being moved. Inputs that are not floating are passed on as they are and have none of these. */
typedef struct operand {
    cg_tensor tensor;
    int64_t size;
    double *value, *moved, *derivative, *direction;
} operand;

typedef struct checker {
    cg_context *cg;
    cg_function function;
    void *user;
    int count, order;
    uint64_t random;
    double step;
    operand operands[CG_MAX_INPUTS];
} checker;

/* The tensors of one evaluation: `projected` are what is reduced to a number, the value or its gradients. */
typedef struct evaluation {
    cg_tensor inputs[CG_MAX_INPUTS], wrt[CG_MAX_INPUTS], projected[CG_MAX_INPUTS];
    int wrt_count, projected_count;
    uint64_t seed;
} evaluation;

/* A fixed sequence in [-1, 1), the same on every machine and exact in f32. */
static double draw(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)(z >> 44) / 524288.0 - 1;
}

static double *allocate(cg_context *cg, int64_t count)
{
    return cg_host_allocate(cg, ((size_t)count + 1) * sizeof(double));
}

/* A tensor like `model` with other values. */
static cg_tensor upload_like(cg_tensor model, const double *values)
{
    cg_context *cg = cg_context_of(model);
    cg_shape shape = cg_shape_of(model);
    if (cg_dtype_of(model) == CG_F64) return cg_input(cg, CG_F64, shape, values);
    int64_t size = cg_shape_size(shape);
    float *narrow = cg_host_allocate(cg, ((size_t)size + 1) * sizeof *narrow);
    if (!narrow) return (cg_tensor){0};
    for (int64_t i = 0; i < size; i++) narrow[i] = (float)values[i];
    cg_tensor result = cg_input(cg, CG_F32, shape, narrow);
    cg_host_free(cg, narrow);
    return result;
}

static cg_tensor weights_like(cg_tensor model, uint64_t seed)
{
    int64_t size = cg_size(model);
    if (size < 0) return model;
    cg_context *cg = cg_context_of(model);
    double *values = allocate(cg, size);
    if (!values) return (cg_tensor){0};
    for (int64_t i = 0; i < size; i++) values[i] = draw(&seed);
    cg_tensor result = upload_like(model, values);
    cg_host_free(cg, values);
    return result;
}

/* Adds the weighted sum of a tensor's elements to `sum`. */
static bool project(cg_tensor tensor, uint64_t seed, double *sum)
{
    int64_t size = cg_size(tensor);
    if (size < 0) return false;
    cg_context *cg = cg_context_of(tensor);
    double *values = allocate(cg, size);
    bool done = values && cg_read_doubles(tensor, values, size);
    for (int64_t i = 0; done && i < size; i++) *sum += values[i] * draw(&seed);
    cg_host_free(cg, values);
    return done;
}

/* Records the gradients of what is projected. */
static bool weighted_gradients(const evaluation *e, cg_tensor *gradients)
{
    cg_tensor weights[CG_MAX_INPUTS];
    for (int i = 0; i < e->projected_count; i++) weights[i] = weights_like(e->projected[i], e->seed + (uint64_t)i);
    return cg_grad(e->projected, e->projected_count, e->wrt, e->wrt_count, gradients, .cotangents = weights);
}

/* Records the function at the moved inputs and, for the second order, its gradients. */
static bool record(checker *c, evaluation *e)
{
    *e = (evaluation){.projected_count = 1, .seed = VALUE_SEED};
    for (int i = 0; i < c->count; i++) {
        operand *o = &c->operands[i];
        e->inputs[i] = o->moved ? upload_like(o->tensor, o->moved) : o->tensor;
        if (o->moved) e->wrt[e->wrt_count++] = e->inputs[i];
    }
    cg_random_set(c->cg, c->random);
    e->projected[0] = c->function(c->user, e->inputs);
    if (cg_is_null(e->projected[0])) return false;
    if (c->order == 1) return true;
    cg_tensor gradients[CG_MAX_INPUTS];
    if (!weighted_gradients(e, gradients)) return false;
    for (int i = 0; i < e->wrt_count; i++) e->projected[i] = gradients[i];
    e->projected_count = e->wrt_count;
    e->seed = GRADIENT_SEED;
    return true;
}

/* The projected function at the moved inputs. */
static bool evaluate(checker *c, double *value)
{
    evaluation e;
    *value = 0;
    cg_scope temporaries = cg_scope_local(c->cg);
    bool done = record(c, &e);
    for (int i = 0; done && i < e.projected_count; i++) done = project(e.projected[i], e.seed + (uint64_t)i, value);
    cg_scope_end(temporaries);
    return done;
}

/* Its derivative by reverse mode. */
static bool read_derivatives(checker *c, const evaluation *e)
{
    cg_tensor gradients[CG_MAX_INPUTS];
    if (!weighted_gradients(e, gradients)) return false;
    int next = 0;
    for (int i = 0; i < c->count; i++) {
        operand *o = &c->operands[i];
        if (o->moved && !cg_read_doubles(gradients[next++], o->derivative, o->size)) return false;
    }
    return true;
}

static bool reverse(checker *c)
{
    evaluation e;
    cg_scope temporaries = cg_scope_local(c->cg);
    bool done = record(c, &e) && read_derivatives(c, &e);
    cg_scope_end(temporaries);
    return done;
}

static bool evaluate_at(checker *c, operand *o, double distance, double *value)
{
    for (int64_t i = 0; i < o->size; i++) o->moved[i] = o->value[i] + distance * o->direction[i];
    bool done = evaluate(c, value);
    for (int64_t i = 0; i < o->size; i++) o->moved[i] = o->value[i];
    return done;
}

/* The derivative along the operand's direction by the central difference of fourth order. */
static bool difference(checker *c, operand *o, double step, double *result)
{
    double far_below, below, above, far_above;
    if (!evaluate_at(c, o, -2 * step, &far_below) || !evaluate_at(c, o, -step, &below) ||
        !evaluate_at(c, o, step, &above) || !evaluate_at(c, o, 2 * step, &far_above))
        return false;
    *result = (far_below - far_above + 8 * (above - below)) / (12 * step);
    return true;
}

/* How far reverse mode is off along the operand's direction. A kink or a pole within reach of the step spoils the
 * difference, not the derivative, so where they disagree a smaller step has the last word. */
static bool disagreement(checker *c, operand *o, double *expected, double *error)
{
    *expected = 0;
    for (int64_t i = 0; i < o->size; i++) *expected += o->derivative[i] * o->direction[i];
    double found;
    if (!difference(c, o, c->step, &found)) return false;
    *error = fabs(found - *expected);
    if (*error <= 1e-8 * fmax(1, fabs(*expected))) return true;
    if (!difference(c, o, c->step / 8, &found)) return false;
    *error = fmin(*error, fabs(found - *expected));
    return true;
}

/* The unit vectors of a small operand, random vectors for a large one. */
static int64_t direction_count(const operand *o)
{
    return o->size <= ELEMENTS ? o->size : DIRECTIONS;
}

static void set_direction(operand *o, int64_t number)
{
    uint64_t state = DIRECTION_SEED + (uint64_t)number;
    for (int64_t i = 0; i < o->size; i++) o->direction[i] = o->size > ELEMENTS ? draw(&state) : i == number;
}

static bool compare_all(checker *c, double *result)
{
    double largest = 1, worst = 0;
    for (int k = 0; k < c->count; k++) {
        operand *o = &c->operands[k];
        for (int64_t number = 0; o->moved && number < direction_count(o); number++) {
            double expected, error;
            set_direction(o, number);
            if (!disagreement(c, o, &expected, &error)) return false;
            largest = fmax(largest, fabs(expected));
            worst = isnan(error) ? INFINITY : fmax(worst, error);
        }
    }
    *result = worst / largest;
    return true;
}

/* Reads an input's values; the arrays share one block, which `value` begins. */
static bool prepare(checker *c, operand *o, cg_tensor tensor)
{
    *o = (operand){.tensor = tensor, .size = cg_size(tensor)};
    if (!cg_is_floating(cg_dtype_of(tensor))) return true;
    o->value = allocate(c->cg, 4 * o->size);
    if (!o->value) return false;
    o->moved = o->value + o->size;
    o->derivative = o->moved + o->size;
    o->direction = o->derivative + o->size;
    if (!cg_read_doubles(tensor, o->value, o->size)) return false;
    for (int64_t i = 0; i < o->size; i++) o->moved[i] = o->value[i];
    if (cg_dtype_of(tensor) != CG_F64) c->step = 0x1p-5;
    return true;
}

static bool check_call(cg_context *cg, const cg_tensor *inputs, int count, int order)
{
    if (count > CG_MAX_INPUTS || order < 1 || order > 2) {
        cg_report(cg, CG_ERROR_ARGUMENT, "gradient_error", "%d inputs and order %d; at most %d, and order 1 or 2",
                  count, order, CG_MAX_INPUTS);
        return false;
    }
    for (int i = 0; i < count; i++)
        if (cg_is_null(inputs[i])) return false;
    return true;
}

/* Steps are powers of two. In f64 the fourth-order difference is best near 1e-4 to 1e-3; f32 needs a longer one. */
double cg_gradient_error(cg_function function, void *user, const cg_tensor *inputs, int input_count, int order)
{
    cg_context *cg = input_count > 0 ? cg_context_of(inputs[0]) : NULL;
    if (!cg || !check_call(cg, inputs, input_count, order)) return -1;
    checker c = {.cg = cg,
                 .function = function,
                 .user = user,
                 .count = input_count,
                 .order = order,
                 .random = cg_random_get(cg),
                 .step = 0x1p-13};
    double error = -1;
    bool done = true;
    for (int i = 0; i < input_count && done; i++) done = prepare(&c, &c.operands[i], inputs[i]);
    if (!done || !reverse(&c) || !compare_all(&c, &error)) error = -1;
    for (int i = 0; i < input_count; i++) cg_host_free(cg, c.operands[i].value);
    return error;
}

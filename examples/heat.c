/* A physics-informed network, after Raissi, Perdikaris and Karniadakis, "Physics-informed neural networks", 2019: it
 * learns the temperature u(x, t) of a rod from nothing but the heat equation u_t = K u_xx, the temperature at the start
 * and ends kept at 0. u_xx is a gradient of a gradient, and training differentiates once more. The result is compared
 * with the analytic solution and drawn beside it: heat.svg. */
#include "options.h"

#include <clgrad/clgrad.h>
#include <math.h>

enum { HIDDEN = 32, STEPS = 250 /* per epoch */, GRID = 101, TIMES = 4 };

static const double K = 0.1, PI = 3.14159265358979323846, LARGEST_ERROR = 0.01;

typedef struct network {
    cg_dense *fc1, *fc2, *fc3, *out;
} network;

/* sin(pi x) + sin(3 pi x) / 2 at the start: the second wave fades nine times as fast as the first. */
static double analytic(double x, double t)
{
    return exp(-K * PI * PI * t) * sin(PI * x) + exp(-9 * K * PI * PI * t) * sin(3 * PI * x) / 2;
}

/* x and t are columns [n, 1], and so is the result. */
static cg_tensor temperature(const network *net, cg_tensor x, cg_tensor t)
{
    cg_tensor h = cg_tanh(cg_dense_call(net->fc1, cg_concat((cg_tensor[]){x, t}, 2, 1)));
    h = cg_tanh(cg_dense_call(net->fc3, cg_tanh(cg_dense_call(net->fc2, h))));
    return cg_dense_call(net->out, h);
}

/* u_t - K u_xx. Each row of u depends on its own x and t alone, so the gradient of their sum has the rows' derivatives.
 */
static cg_tensor residual(const network *net, cg_tensor x, cg_tensor t)
{
    cg_tensor u = temperature(net, x, t), place[] = {x, t}, first[2], u_xx;
    cg_grad(&u, 1, place, 2, first);
    cg_grad(&first[0], 1, &x, 1, &u_xx);
    return cg_sub(first[1], cg_mul(cg_scalar(cg_context_of(x), K), u_xx));
}

static cg_tensor start(cg_tensor x)
{
    cg_tensor wave = cg_mul(cg_scalar(cg_context_of(x), PI), x), three = cg_scalar(cg_context_of(x), 3);
    return cg_add(cg_sin(wave), cg_mul(cg_scalar(cg_context_of(x), 0.5), cg_sin(cg_mul(three, wave))));
}

/* How far the network is from the equation, the start and the ends, at points drawn anew in each step. */
static cg_tensor objective(cg_context *cg, const network *net, int points)
{
    const cg_shape column = CG_SHAPE(points, 1);
    cg_tensor x = cg_uniform(cg, column), t = cg_uniform(cg, column), none = cg_zeros(cg, column);
    cg_tensor end = cg_bernoulli(cg, column, 0.5);
    cg_tensor equation = cg_mean_squared_error(residual(net, x, t), none);
    cg_tensor at_start = cg_mean_squared_error(temperature(net, x, none), start(x));
    cg_tensor at_ends = cg_mean_squared_error(temperature(net, end, t), none);
    return cg_add(equation, cg_mul(cg_scalar(cg, 10), cg_add(at_start, at_ends)));
}

/* The place, or time, of a point of the grid. */
static double along(int index)
{
    return index / (GRID - 1.0);
}

/* The learned temperature at GRID times, each at GRID places, from 0 to 1. */
static bool read_field(cg_context *cg, const network *net, float *u)
{
    static float x[GRID * GRID], t[GRID * GRID];
    for (int i = 0; i < GRID * GRID; i++) x[i] = (float)along(i % GRID), t[i] = (float)along(i / GRID);
    cg_scope scope = cg_scope_begin(cg);
    cg_tensor places = cg_input(cg, CG_F32, CG_SHAPE(GRID * GRID, 1), x);
    cg_tensor times = cg_input(cg, CG_F32, CG_SHAPE(GRID * GRID, 1), t);
    const bool done = cg_read_floats(temperature(net, places, times), u, GRID * GRID);
    cg_scope_end(scope);
    return done;
}

/* In L2 over the whole domain. */
static double relative_error(const float *u)
{
    double squares = 0, errors = 0;
    for (int i = 0; i < GRID * GRID; i++) {
        const double exact = analytic(along(i % GRID), along(i / GRID));
        squares += exact * exact, errors += (u[i] - exact) * (u[i] - exact);
    }
    return sqrt(errors / squares);
}

/* u at a few times: learned as a line, analytic as dots. */
static bool draw(cg_context *cg, const float *u, const char *path)
{
    static const char *const panels[TIMES] = {"u at t = 0", "u at t = 0.1", "u at t = 0.3", "u at t = 1"};
    static const int rows[TIMES] = {0, 10, 30, 100};
    cg_series series[2 * TIMES];
    for (int i = 0; i < 2 * TIMES; i++) series[i] = (cg_series){i % 2 ? "analytic" : "learned", panels[i / 2]};
    cg_curves *curves = cg_curves_new(cg, "x", series, 2 * TIMES);
    for (int column = 0; column < GRID; column++) {
        const double x = along(column);
        double values[2 * TIMES];
        for (int i = 0; i < TIMES; i++) {
            values[2 * i] = u[rows[i] * GRID + column];
            values[2 * i + 1] = column % 5 ? NAN : analytic(x, along(rows[i])); /* NaN: no dot */
        }
        cg_curves_add(curves, x, values);
    }
    const bool done = cg_curves_svg(curves, path);
    cg_curves_free(curves);
    return done;
}

int main(int argc, char **argv)
{
    settings s = {.epochs = 20, .batch = 512, .seed = 1};
    if (!read_options(argc, argv, &s)) {
        puts("usage: heat [--epochs N] [--batch N] [--seed N] [--device NAME]");
        return 2;
    }
    cg_context *cg = cg_open(s.device);
    cg_seed(cg, (uint64_t)s.seed);
    cg_model *model = cg_model_new(cg);
    cg_scope building = cg_scope_begin(cg);
    network net = {.fc1 = cg_dense_new(model, "fc1", 2, HIDDEN),
                   .fc2 = cg_dense_new(model, "fc2", HIDDEN, HIDDEN),
                   .fc3 = cg_dense_new(model, "fc3", HIDDEN, HIDDEN),
                   .out = cg_dense_new(model, "out", HIDDEN, 1)};
    cg_scope_end(building);
    cg_optimizer *opt = cg_adam_new(model);
    cg_progress *progress = cg_progress_new(cg, s.epochs, STEPS, .unit = "steps");
    static float u[GRID * GRID];
    double error = NAN;
    for (int epoch = 0; epoch < s.epochs && !cg_status(cg); epoch++) {
        cg_progress_begin(progress);
        cg_optimizer_set_learning_rate(opt, 5e-3 * (1 - (double)epoch / s.epochs));
        for (int step = 0; step < STEPS; step++) {
            cg_scope scope = cg_scope_begin(cg);
            cg_minimize(opt, objective(cg, &net, s.batch));
            cg_scope_end(scope);
            cg_progress_step(progress, 1, NULL, NULL);
        }
        error = read_field(cg, &net, u) ? relative_error(u) : NAN;
        cg_progress_end(progress, "objective %.6f  relative error %.3f %%", cg_optimizer_objective(opt), 100 * error);
    }
    const bool passed = draw(cg, u, "heat.svg") && !cg_status(cg) && error < LARGEST_ERROR;
    if (cg_status(cg)) fprintf(stderr, "heat: %s\n", cg_message(cg));
    printf("heat: relative error %.3f %% (less than %.0f %%): %s\n", 100 * error, 100 * LARGEST_ERROR,
           passed ? "passed" : "FAILED");
    cg_progress_free(progress);
    cg_model_free(model);
    cg_close(cg);
    return !passed;
}

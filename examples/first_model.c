/* A model of one's own on data in memory: weights, forward pass and loss are written out. It fits a curve to points. */
#include <clgrad/clgrad.h>
#include <math.h>
#include <stdio.h>

enum { POINTS = 256, HIDDEN = 32, STEPS = 1000, ROWS = 4 };

typedef struct network {
    cg_variable *w1, *b1, *w2, *b2;
} network;

static cg_tensor forward(const network *net, cg_tensor x)
{
    cg_tensor h = cg_tanh(cg_add(cg_matmul(x, cg_value(net->w1)), cg_value(net->b1)));
    return cg_add(cg_matmul(h, cg_value(net->w2)), cg_value(net->b2));
}

/* Like the square of a small error and like the size of a large one, so that outliers count for less. */
static cg_tensor log_cosh(cg_tensor found, cg_tensor wanted)
{
    cg_tensor size = cg_abs(cg_sub(found, wanted)), two = cg_scalar(cg_context_of(found), 2);
    return cg_mean(cg_add(size, cg_softplus(cg_neg(cg_mul(two, size)))));
}

int main(void)
{
    float x[POINTS], y[POINTS];
    for (int i = 0; i < POINTS; i++) x[i] = 4.0f * (float)i / POINTS - 2, y[i] = sinf(3 * x[i]);
    cg_context *cg = cg_open(NULL);
    cg_tensor inputs = cg_input(cg, CG_F32, CG_SHAPE(POINTS, 1), x, .name = "inputs");
    cg_tensor targets = cg_input(cg, CG_F32, CG_SHAPE(POINTS, 1), y, .name = "targets");
    cg_model *model = cg_model_new(cg);
    const network net = {.w1 = cg_model_add(model, "w1", cg_normal(cg, CG_SHAPE(1, HIDDEN), .deviation = 2)),
                         .b1 = cg_model_add(model, "b1", cg_normal(cg, CG_SHAPE(HIDDEN))),
                         .w2 = cg_model_add(model, "w2", cg_normal(cg, CG_SHAPE(HIDDEN, 1), .deviation = 0.2)),
                         .b2 = cg_model_add(model, "b2", cg_zeros(cg, CG_SHAPE(1)))};
    cg_optimizer *optimizer = cg_adam_new(model, .learning_rate = 0.01);
    for (int step = 1; step <= STEPS && !cg_status(cg); step++) {
        cg_scope scope = cg_scope_begin(cg);
        cg_minimize(optimizer, log_cosh(forward(&net, inputs), targets));
        cg_scope_end(scope); /* until here all was recorded; this runs it and frees the step's temporaries */
        if (step % 250 == 0) printf("step %4d  loss %.5f\n", step, cg_optimizer_objective(optimizer) - log(2));
    }
    const float asked[ROWS] = {-1.5f, -0.5f, 0.25f, 1.75f};
    float found[ROWS];
    if (cg_read_floats(forward(&net, cg_input(cg, CG_F32, CG_SHAPE(ROWS, 1), asked)), found, ROWS))
        for (int i = 0; i < ROWS; i++)
            printf("x %5.2f  predicted %6.3f  sin(3x) %6.3f\n", asked[i], found[i], sin(3 * asked[i]));
    const bool failed = cg_status(cg) != CG_OK; /* of all that happened: errors stick */
    if (failed) fprintf(stderr, "first_model: %s\n", cg_message(cg));
    cg_model_free(model); /* before its context: weights and optimizer with it */
    cg_close(cg);         /* tensors with it */
    return failed;
}

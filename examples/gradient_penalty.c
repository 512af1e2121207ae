/* A gradient penalty: the norm of the loss's gradient with respect to the input image is part of the objective, so
 * training differentiates a gradient. The result is checked against central finite differences in f64.
 * Usage: gradient_penalty [folder of the MNIST files] */
#include "small_network.h"

#include <math.h>

enum { IMAGES = 64, STEPS = 30 };

/* Mean over the images of |d loss_i / d x_i|. The loss is a mean, hence the factor n. */
static cg_tensor gradient_norm(cg_tensor loss, cg_tensor x)
{
    cg_context *cg = cg_context_of(loss);
    cg_tensor gradient;
    if (!cg_grad(&loss, 1, &x, 1, &gradient)) return (cg_tensor){0};
    gradient = cg_mul(gradient, cg_scalar(cg, IMAGES));
    cg_tensor squared = cg_sum(cg_square(gradient), .axes = CG_AXES(1));
    return cg_mean(cg_sqrt(cg_add(squared, cg_scalar(cg, 1e-12))));
}

/* loss + 0.1 gradient norm. */
static cg_tensor objective(const cg_tensor *w, cg_tensor x, cg_tensor labels)
{
    cg_tensor loss = network_loss(w, x, labels);
    return cg_add(loss, cg_mul(cg_scalar(cg_context_of(loss), 0.1), gradient_norm(loss, x)));
}

static void read_weights(cg_variable **variables, cg_tensor *w)
{
    for (int i = 0; i < WEIGHTS; i++) w[i] = cg_value(variables[i]);
}

static void train(cg_optimizer *optimizer, cg_variable **variables, cg_tensor x, cg_tensor labels)
{
    cg_context *cg = cg_context_of(x);
    for (int step = 0; step <= STEPS; step++) {
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor w[WEIGHTS];
        read_weights(variables, w);
        if (step % 10 == 0) {
            cg_tensor loss = network_loss(w, x, labels);
            printf("step %2d  loss %.6f  gradient norm %.6f\n", step, cg_item(loss), cg_item(gradient_norm(loss, x)));
        }
        if (step < STEPS) cg_minimize(optimizer, objective(w, x, labels));
        cg_scope_end(scope);
    }
}

/* objective(w + h direction). */
static double objective_at(const cg_tensor *w, const cg_tensor *direction, double h, cg_tensor x, cg_tensor labels)
{
    cg_context *cg = cg_context_of(x);
    cg_scope scope = cg_scope_begin(cg);
    cg_tensor moved[WEIGHTS];
    for (int i = 0; i < WEIGHTS; i++) moved[i] = cg_add(w[i], cg_mul(cg_scalar(cg, h), direction[i]));
    double value = cg_item(objective(moved, x, labels));
    cg_scope_end(scope);
    return value;
}

/* The derivative of the objective along a random direction, from cg_grad. */
static double derivative_along(const cg_tensor *w, const cg_tensor *direction, cg_tensor x, cg_tensor labels)
{
    cg_tensor value = objective(w, x, labels), gradients[WEIGHTS], sum = {0};
    if (!cg_grad(&value, 1, w, WEIGHTS, gradients)) return NAN;
    for (int i = 0; i < WEIGHTS; i++) {
        cg_tensor part = cg_sum(cg_mul(gradients[i], direction[i]));
        sum = i ? cg_add(sum, part) : part;
    }
    return cg_item(sum);
}

/* The largest relative error over a few directions. */
static double check(cg_variable **variables, cg_tensor x, cg_tensor labels)
{
    cg_context *cg = cg_context_of(x);
    double worst = 0, h = 5e-6;
    for (int trial = 0; trial < 3; trial++) {
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor w[WEIGHTS], direction[WEIGHTS];
        read_weights(variables, w);
        for (int i = 0; i < WEIGHTS; i++) direction[i] = cg_normal(cg, cg_shape_of(w[i]), .dtype = CG_F64);
        cg_eval(direction, WEIGHTS);
        double exact = derivative_along(w, direction, x, labels);
        double above = objective_at(w, direction, h, x, labels), below = objective_at(w, direction, -h, x, labels);
        double difference = (above - below) / (2 * h), error = fabs(exact - difference) / fabs(difference);
        printf("derivative %.12g  finite differences %.12g  relative error %.1e\n", exact, difference, error);
        worst = error <= worst ? worst : error;
        cg_scope_end(scope);
    }
    return worst;
}

int main(int argc, char **argv)
{
    cg_context *cg = cg_open(NULL);
    cg_dataset *digits = NULL;
    cg_loader *loader = open_digits(cg, argc > 1 ? argv[1] : "examples/mnist", IMAGES, &digits);
    cg_model *model = cg_model_new(cg);
    cg_optimizer *optimizer = cg_adam_new(model);
    cg_variable *variables[WEIGHTS];
    cg_batch batch;
    double error = NAN;
    if (new_network(model, variables) && cg_loader_next(loader, &batch)) {
        cg_tensor x = cg_cast(batch.x, CG_F64);
        train(optimizer, variables, x, batch.y);
        error = check(variables, x, batch.y);
    }
    bool passed = !cg_status(cg) && error < 1e-6;
    if (cg_status(cg)) fprintf(stderr, "gradient_penalty: %s\n", cg_message(cg));
    printf("gradient penalty: %s\n", passed ? "passed" : "FAILED");
    cg_loader_free(loader);
    cg_dataset_free(digits);
    cg_model_free(model);
    cg_close(cg);
    return !passed;
}

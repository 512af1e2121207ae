/* A hypergradient: ten steps of SGD are unrolled into one graph, the loss after them is differentiated with respect to
 * the learning rate, and the rate is improved by that derivative, which is checked against central finite differences
 * in f64. Usage: hypergradient [folder of the MNIST files] */
#include "small_network.h"

#include <math.h>

enum { STEPS = 10, IMAGES = 64, UPDATES = 12 };

/* The digits of one step; the last part, number STEPS, is held out. */
static cg_tensor part_of(cg_tensor digits, int step)
{
    return cg_slice_axis(digits, 0, (int64_t)step * IMAGES, ((int64_t)step + 1) * IMAGES);
}

/* The loss on held-out digits after STEPS steps of SGD from weights `start`. */
static cg_tensor loss_after_training(const cg_tensor *start, cg_tensor rate, cg_tensor x, cg_tensor labels)
{
    cg_tensor w[WEIGHTS], gradients[WEIGHTS];
    for (int i = 0; i < WEIGHTS; i++) w[i] = start[i];
    for (int step = 0; step < STEPS; step++) {
        cg_tensor loss = network_loss(w, part_of(x, step), part_of(labels, step));
        if (!cg_grad(&loss, 1, w, WEIGHTS, gradients)) return (cg_tensor){0};
        for (int i = 0; i < WEIGHTS; i++) w[i] = cg_sgd_update(w[i], gradients[i], rate);
    }
    return network_loss(w, part_of(x, STEPS), part_of(labels, STEPS));
}

/* The loss and, unless `hypergradient` is NULL, its derivative with respect to the rate. */
static double evaluate(cg_variable **variables, double rate_value, cg_tensor x, cg_tensor labels, double *hypergradient)
{
    cg_context *cg = cg_context_of(x);
    cg_scope scope = cg_scope_begin(cg);
    cg_tensor start[WEIGHTS], rate = cg_input(cg, CG_F64, CG_RANK0, &rate_value), derivative;
    for (int i = 0; i < WEIGHTS; i++) start[i] = cg_value(variables[i]);
    cg_tensor loss = loss_after_training(start, rate, x, labels);
    if (hypergradient) *hypergradient = cg_grad(&loss, 1, &rate, 1, &derivative) ? cg_item(derivative) : NAN;
    double value = cg_item(loss);
    cg_scope_end(scope);
    return value;
}

/* Relative error of the hypergradient at `rate`. */
static double check(cg_variable **variables, double rate, cg_tensor x, cg_tensor labels)
{
    double h = 1e-5, exact;
    evaluate(variables, rate, x, labels, &exact);
    double above = evaluate(variables, rate + h, x, labels, NULL);
    double below = evaluate(variables, rate - h, x, labels, NULL);
    double difference = (above - below) / (2 * h), error = fabs(exact - difference) / fabs(difference);
    printf("at rate %.4f: hypergradient %.12g  finite differences %.12g  relative error %.1e\n", rate, exact,
           difference, error);
    return error;
}

/* Gradient descent on the logarithm of the rate. Returns the best rate. */
static double learn_rate(cg_variable **variables, double rate, cg_tensor x, cg_tensor labels)
{
    for (int update = 0; update <= UPDATES; update++) {
        double hypergradient, loss = evaluate(variables, rate, x, labels, &hypergradient);
        printf("update %2d  rate %.4f  loss after %d steps %.6f\n", update, rate, STEPS, loss);
        if (update < UPDATES) rate *= exp(-fmax(-0.5, fmin(0.5, hypergradient * rate)));
    }
    return rate;
}

int main(int argc, char **argv)
{
    cg_context *cg = cg_open(NULL);
    cg_dataset *digits = NULL;
    cg_loader *loader = open_digits(cg, argc > 1 ? argv[1] : "examples/mnist", (STEPS + 1) * IMAGES, &digits);
    cg_model *model = cg_model_new(cg);
    cg_variable *variables[WEIGHTS];
    cg_batch batch;
    bool passed = false;
    if (new_network(model, variables) && cg_loader_next(loader, &batch)) {
        cg_tensor x = cg_cast(batch.x, CG_F64);
        double first = 0.01, error = check(variables, first, x, batch.y);
        double learned = learn_rate(variables, first, x, batch.y);
        double later = check(variables, learned, x, batch.y);
        bool better = evaluate(variables, learned, x, batch.y, NULL) < evaluate(variables, first, x, batch.y, NULL);
        passed = !cg_status(cg) && error < 1e-6 && later < 1e-6 && better;
    }
    if (cg_status(cg)) fprintf(stderr, "hypergradient: %s\n", cg_message(cg));
    printf("hypergradient: %s\n", passed ? "passed" : "FAILED");
    cg_loader_free(loader);
    cg_dataset_free(digits);
    cg_model_free(model);
    cg_close(cg);
    return !passed;
}

/* Times the training step of an MLP 784-512-512-10, batch 128: forward, cross-entropy, backward, Adam; input on the
 * device, loss read every tenth step. Prints one JSON object: median and best wall time of a step, CPU time of the
 * calling thread from the first op recorded to the last enqueue, wall time from the first op of all to the end of the
 * first step, kernels of the plan, bytes on the device. */
#include "bench/measure.h"
#include <clgrad/clgrad.h>
#include <stdio.h>

enum { BATCH = 128, PIXELS = 784, HIDDEN = 512, CLASSES = 10, WARM_UP = 30 };

typedef struct network {
    cg_dense *layers[3];
    cg_optimizer *optimizer;
} network;

/* The CPU time that the calling thread spent. */
static double step(cg_context *cg, network *net, cg_tensor x, cg_tensor y)
{
    const double start = seconds_on(CLOCK_THREAD_CPUTIME_ID);
    cg_scope scope = cg_scope_begin(cg);
    cg_tensor h = cg_relu(cg_dense_call(net->layers[0], x));
    h = cg_relu(cg_dense_call(net->layers[1], h));
    cg_minimize(net->optimizer, cg_softmax_cross_entropy(cg_dense_call(net->layers[2], h), y));
    cg_scope_end(scope);
    return seconds_on(CLOCK_THREAD_CPUTIME_ID) - start;
}

static void fill(float *pixels, int32_t *labels)
{
    for (int i = 0; i < BATCH * PIXELS; i++) pixels[i] = (float)rand() / (float)RAND_MAX;
    for (int i = 0; i < BATCH; i++) labels[i] = rand() % CLASSES;
}

static int run(cg_context *cg, int steps)
{
    static float pixels[BATCH * PIXELS];
    static int32_t labels[BATCH];
    fill(pixels, labels);
    const double first_op = seconds_on(CLOCK_MONOTONIC);
    double first_step = 0;
    cg_model *model = cg_model_new(cg);
    network net = {.layers = {cg_dense_new(model, "fc1", PIXELS, HIDDEN), cg_dense_new(model, "fc2", HIDDEN, HIDDEN),
                              cg_dense_new(model, "fc3", HIDDEN, CLASSES)},
                   .optimizer = cg_adam_new(model)};
    cg_tensor x = cg_input(cg, CG_F32, CG_SHAPE(BATCH, PIXELS), pixels, .has_batch_axis = true);
    cg_tensor y = cg_input(cg, CG_I32, CG_SHAPE(BATCH), labels, .has_batch_axis = true);
    double *wall = malloc((size_t)steps * sizeof *wall), *host = malloc((size_t)steps * sizeof *host), loss = 0;
    int64_t kernels = 0;
    cg_training(cg, true);
    for (int i = -WARM_UP; i < steps; i++) {
        const double start = seconds_on(CLOCK_MONOTONIC), cpu = step(cg, &net, x, y);
        if (i == -WARM_UP) {
            cg_wait(cg);
            first_step = seconds_on(CLOCK_MONOTONIC) - first_op;
        }
        if (i == -1) kernels = cg_counters_get(cg).last_plan_kernels;
        if ((i + WARM_UP) % 10 == 9) loss = cg_optimizer_objective(net.optimizer);
        if (i < 0) continue;
        wall[i] = seconds_on(CLOCK_MONOTONIC) - start;
        host[i] = cpu;
    }
    cg_wait(cg);
    /* Queued steps return early and the tenth waits for them: what a step takes is the mean of ten. */
    const int blocks = steps / 10;
    for (int b = 0; b < blocks; b++) {
        double sum = 0;
        for (int i = 0; i < 10; i++) sum += wall[10 * b + i];
        wall[b] = sum / 10;
    }
    const double step_median = median_of(wall, blocks), host_median = median_of(host, steps);
    const cg_counters counters = cg_counters_get(cg);
    printf("{\"case\": \"mlp\", \"median_us\": %.1f, \"best_us\": %.1f, \"host_us\": %.1f, \"host_best_us\": %.1f, "
           "\"first_step_us\": %.0f, \"kernels\": %lld, \"device_bytes\": %lld, \"loss\": %.4f}\n",
           1e6 * step_median, 1e6 * wall[0], 1e6 * host_median, 1e6 * host[0], 1e6 * first_step, (long long)kernels,
           (long long)counters.device_bytes, loss);
    free(wall);
    free(host);
    return cg_status(cg) != CG_OK;
}

int main(int argc, char **argv)
{
    cg_context *cg = cg_open(NULL);
    const int steps = argc > 1 ? atoi(argv[1]) : 300;
    const int failed = cg_status(cg) != CG_OK || run(cg, steps < 10 ? 10 : steps);
    if (failed) fprintf(stderr, "mlp_step: %s\n", cg_message(cg));
    cg_close(cg);
    return failed;
}

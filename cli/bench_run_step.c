/* Times training steps: forward, loss, backward, penalties and Adam, the minibatch already on the device, the loss read
 * every tenth step. A repetition is ten steps, as that read is the only wait. */
#include "bench_networks.h"
#include "bench_run.h"

#include <stdlib.h>

enum { MOST_LAYERS = 4, STEPS = 10, HOST_SAMPLES = 4000 };

typedef enum step_loss { CROSS_ENTROPY, SQUARED_ERROR, RECONSTRUCTION, MEAN_SQUARE } step_loss;

/* Dense layers, or a network of pictures. */
struct training_step {
    const char *shape;
    int batch, inputs, layers, outputs[MOST_LAYERS];
    const bench_network_kind *network;
    step_loss loss;
    bool normalized; /* batch norm before each activation */
    bool dropped;    /* dropout after each activation */
    bool sigmoid;    /* of the last layer's result */
    double penalty;  /* L1 and L2, of every kernel */
};

typedef struct step_run {
    cg_context *cg;
    const struct training_step *step;
    cg_dtype dtype;
    cg_model *model;
    cg_optimizer *optimizer;
    cg_dense *dense[MOST_LAYERS];
    cg_batch_norm_layer *norms[MOST_LAYERS];
    bench_network network;
    cg_tensor input, target;
    double *host; /* seconds of the calling thread, of the last HOST_SAMPLES steps */
    int steps;
} step_run;

static const struct training_step mlp = {"784-512-512-10 batch=128", 128, 784, 3, {512, 512, 10},
                                         .loss = CROSS_ENTROPY};
static const struct training_step mlp_wide = {"1024-4096-4096-1024 batch=64", 64, 1024, 3, {4096, 4096, 1024},
                                              .loss = SQUARED_ERROR};
static const struct training_step tabular = {
    "30-64-64-2 batch=32", 32, 30, 3, {64, 64, 2}, .loss = CROSS_ENTROPY, .normalized = true, .dropped = true};
static const struct training_step logistic = {"784-10 batch=32", 32, 784, 1, {10}, .loss = CROSS_ENTROPY};
static const struct training_step autoencoder = {"784-256-64-256-784 batch=256",
                                                 256,
                                                 784,
                                                 4,
                                                 {256, 64, 256, 784},
                                                 .loss = RECONSTRUCTION,
                                                 .sigmoid = true,
                                                 .penalty = 1e-5};
static const struct training_step lenet = {
    .shape = "1x28x28-32-64-512-10 batch=128", .batch = 128, .network = &bench_lenet, .loss = CROSS_ENTROPY};
static const struct training_step convbn = {
    .shape = "3x32x32-64-64-64-64 batch=32", .batch = 32, .network = &bench_convbn, .loss = MEAN_SQUARE};
static const struct training_step resnet20 = {
    .shape = "3x32x32-16-32-64-10 batch=64", .batch = 64, .network = &bench_resnet20, .loss = CROSS_ENTROPY};
static const struct training_step unet3d = {
    .shape = "1x32x32x32-16-32-64-2 batch=2", .batch = 2, .network = &bench_unet3d, .loss = MEAN_SQUARE};
static const struct training_step mobilenet_block = {
    .shape = "32x56x56-32-64 batch=16", .batch = 16, .network = &bench_mobilenet_block, .loss = MEAN_SQUARE};

const bench_kind *bench_step_kinds(int *count)
{
    static const bench_kind kinds[] = {
        {.family = "step", .name = "mlp", .step = &mlp},
        {.family = "step", .name = "mlp-wide", .step = &mlp_wide},
        {.family = "step", .name = "tabular", .step = &tabular},
        {.family = "step", .name = "logistic", .step = &logistic},
        {.family = "step", .name = "autoencoder", .step = &autoencoder},
        {.family = "step", .name = "lenet", .step = &lenet},
        {.family = "step", .name = "convbn", .step = &convbn},
        {.family = "step", .name = "resnet20", .step = &resnet20},
        {.family = "step", .name = "unet3d", .step = &unet3d},
        {.family = "step", .name = "mobilenet-block", .step = &mobilenet_block},
    };
    *count = sizeof kinds / sizeof *kinds;
    return kinds;
}

const char *bench_step_shape(const struct training_step *step)
{
    return step->shape;
}

/* Values in [0, 1) of a minibatch that comes from the host, as a program's would. */
static cg_tensor minibatch(step_run *run, int features)
{
    const struct training_step *step = run->step;
    const size_t count = (size_t)step->batch * (size_t)features;
    float *values = cg_host_allocate(run->cg, count * sizeof *values);
    for (size_t i = 0; values && i < count; i++) values[i] = (float)rand() / ((float)RAND_MAX + 1);
    cg_tensor batch = {0};
    if (values) batch = cg_input(run->cg, CG_F32, CG_SHAPE(step->batch, features), values, .has_batch_axis = true);
    cg_host_free(run->cg, values);
    return cg_cast(batch, run->dtype);
}

static cg_tensor labels(step_run *run, int classes)
{
    const struct training_step *step = run->step;
    int32_t *values = cg_host_allocate(run->cg, (size_t)step->batch * sizeof *values);
    for (int i = 0; values && i < step->batch; i++) values[i] = rand() % classes;
    cg_tensor batch = {0};
    if (values) batch = cg_input(run->cg, CG_I32, CG_SHAPE(step->batch), values, .has_batch_axis = true);
    cg_host_free(run->cg, values);
    return batch;
}

static int64_t elements_of_example(const struct training_step *step)
{
    return step->network ? cg_shape_size(step->network->example) : step->inputs;
}

enum { CLASSES = 10 };

static void make_minibatch(step_run *run)
{
    const struct training_step *step = run->step;
    const int last = step->network ? CLASSES : step->outputs[step->layers - 1];
    cg_scope scope = cg_scope_begin(run->cg);
    run->input = minibatch(run, (int)elements_of_example(step));
    if (step->network) {
        cg_shape shape = {.rank = step->network->example.rank + 1, .size = {step->batch}};
        for (int i = 1; i < shape.rank; i++) shape.size[i] = step->network->example.size[i - 1];
        run->input = cg_reshape(run->input, shape);
    }
    run->input = cg_keep(run->input);
    run->target = run->input;
    if (step->loss == CROSS_ENTROPY) run->target = cg_keep(labels(run, last));
    if (step->loss == SQUARED_ERROR) run->target = cg_keep(minibatch(run, last));
    cg_scope_end(scope);
}

static bool has_activation(const struct training_step *step, int layer)
{
    return layer + 1 < step->layers;
}

static int inputs_of(const struct training_step *step, int layer)
{
    return layer ? step->outputs[layer - 1] : step->inputs;
}

/* The layers of a network of pictures are made by a first forward pass. */
static void make_network(step_run *run)
{
    static const char *const names[] = {"layer1", "layer2", "layer3", "layer4"};
    static const char *const norm_names[] = {"norm1", "norm2", "norm3", "norm4"};
    const struct training_step *step = run->step;
    const cg_penalty penalty = cg_elastic(step->penalty, step->penalty);
    run->model = cg_model_new(run->cg);
    run->network = (bench_network){.model = run->model, .dtype = run->dtype};
    cg_scope scope = cg_scope_begin(run->cg);
    if (step->network) step->network->forward(&run->network, run->input);
    run->network.made = true;
    for (int l = 0; l < step->layers; l++) {
        const int outputs = step->outputs[l];
        run->dense[l] = cg_dense_new(run->model, names[l], inputs_of(step, l), outputs, .kernel_penalty = penalty,
                                     .dtype = run->dtype);
        if (step->normalized && has_activation(step, l))
            run->norms[l] = cg_batch_norm_new(run->model, norm_names[l], outputs, .dtype = run->dtype);
    }
    cg_scope_end(scope);
    run->optimizer = cg_adam_new(run->model);
}

static cg_tensor forward(step_run *run)
{
    const struct training_step *step = run->step;
    cg_tensor x = run->input;
    run->network.next = 0;
    if (step->network) return step->network->forward(&run->network, x);
    for (int l = 0; l < step->layers; l++) {
        x = cg_dense_call(run->dense[l], x);
        if (!has_activation(step, l)) break;
        if (step->normalized) x = cg_batch_norm_call(run->norms[l], x);
        x = cg_relu(x);
        if (step->dropped) x = cg_dropout(x, .rate = 0.2);
    }
    return step->sigmoid ? cg_sigmoid(x) : x;
}

static cg_tensor loss_of(const step_run *run, cg_tensor result)
{
    if (run->step->loss == CROSS_ENTROPY) return cg_softmax_cross_entropy(result, run->target);
    if (run->step->loss == MEAN_SQUARE) return cg_mean(cg_square(result));
    return cg_mean_squared_error(result, run->target);
}

static void record(step_run *run)
{
    cg_minimize(run->optimizer, loss_of(run, forward(run)));
}

/* The first step, whose memory is looked at before it runs. */
static cg_memory train_first(step_run *run)
{
    cg_scope scope = cg_scope_begin(run->cg);
    record(run);
    const cg_memory needed = cg_memory_needed(run->cg, NULL, 0);
    cg_scope_end(scope);
    return needed;
}

static void train(step_run *run)
{
    const double start = seconds_on(CLOCK_THREAD_CPUTIME_ID);
    cg_scope scope = cg_scope_begin(run->cg);
    record(run);
    cg_scope_end(scope);
    run->host[run->steps++ % HOST_SAMPLES] = seconds_on(CLOCK_THREAD_CPUTIME_ID) - start;
}

static double time_block(void *user, int repetitions)
{
    step_run *run = user;
    const double start = seconds_on(CLOCK_MONOTONIC);
    for (int i = 0; i < repetitions; i++) {
        for (int s = 0; s < STEPS; s++) train(run);
        cg_optimizer_objective(run->optimizer);
    }
    return cg_status(run->cg) == CG_OK ? seconds_on(CLOCK_MONOTONIC) - start : -1;
}

/* Two products of each layer in the backward pass, of the first only one: nobody asks for the input's gradient. */
static double products_flop(const step_run *run)
{
    const struct training_step *step = run->step;
    double flop = run->network.flop;
    for (int l = 0; l < step->layers; l++)
        flop += (l ? 3 : 2) * 2.0 * step->batch * inputs_of(step, l) * step->outputs[l];
    return flop;
}

/* The minibatch read once; weights and Adam's two moments read and written once. */
static double step_traffic(const step_run *run)
{
    const double weights = (double)cg_model_size(run->model);
    const double batch = (double)run->step->batch * (double)elements_of_example(run->step);
    return (6 * weights + batch) * (double)cg_dtype_bytes(run->dtype);
}

static bool measure(step_run *run, bool quick, bench_result *result)
{
    const double start = seconds_on(CLOCK_MONOTONIC);
    cg_training(run->cg, true);
    make_minibatch(run);
    make_network(run);
    result->flop = products_flop(run);
    result->traffic = step_traffic(run);
    result->step.needed = train_first(run);
    cg_wait(run->cg);
    result->step.first_step = seconds_on(CLOCK_MONOTONIC) - start;
    if (!sample(time_block, run, quick, &result->time)) return false;
    train(run);
    result->step.kernels = cg_counters_get(run->cg).last_plan_kernels;
    result->step.device_bytes = cg_counters_get(run->cg).device_bytes;
    return cg_wait(run->cg);
}

bool bench_run_step(cg_context *cg, const bench_case *c, bool quick, bench_result *result)
{
    step_run run = {.cg = cg, .step = c->kind->step, .dtype = c->dtype};
    *result = (bench_result){.passes = 1};
    run.host = cg_host_allocate(cg, HOST_SAMPLES * sizeof *run.host);
    const bool ok = run.host && measure(&run, quick, result);
    if (ok) {
        result->time.median /= STEPS;
        result->time.best /= STEPS;
        result->time.repetitions *= STEPS;
        result->step.host = median_of(run.host, run.steps < HOST_SAMPLES ? run.steps : HOST_SAMPLES);
    }
    cg_host_free(cg, run.host);
    cg_model_free(run.model);
    return ok;
}

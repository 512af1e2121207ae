/* Trains a network on the MNIST digits: 784-512-256-10 with He initialisation, dropout, an L2 penalty and Adam. */
#include <clgrad/clgrad.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct settings {
    const char *data, *device;
    int epochs, batch, seed;
} settings;
typedef struct network {
    cg_dense *fc1, *fc2, *fc3;
} network;

/* False when the options are not understood. */
static bool read_options(int argc, char **argv, settings *s)
{
    for (int i = 1; i < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1]; /* NULL after the last */
        const char **text = !strcmp(name, "--data") ? &s->data : !strcmp(name, "--device") ? &s->device : NULL;
        int *number = !strcmp(name, "--epochs") ? &s->epochs : !strcmp(name, "--batch") ? &s->batch : NULL;
        if (!strcmp(name, "--seed")) number = &s->seed;
        if (!value || (!text && !number)) return false;
        if (text) *text = value;
        if (number) *number = atoi(value);
    }
    return s->epochs > 0 && s->batch > 0;
}

static cg_dataset *open_mnist(cg_context *cg, const char *folder, const char *part)
{
    char images[4096], labels[4096];
    snprintf(images, sizeof images, "%s/%s-images-idx3-ubyte.gz", folder, part);
    snprintf(labels, sizeof labels, "%s/%s-labels-idx1-ubyte.gz", folder, part);
    return cg_idx_dataset(cg, images, labels, .flatten = true);
}

static cg_tensor forward(const network *net, cg_tensor x)
{
    cg_tensor h = cg_dropout(cg_relu(cg_dense_call(net->fc1, x)), .rate = 0.3);
    h = cg_dropout(cg_relu(cg_dense_call(net->fc2, h)), .rate = 0.3);
    return cg_dense_call(net->fc3, h);
}

/* One pass over a loader's data: updates the network if there is an optimizer. Results: mean loss and accuracy. */
static void run_epoch(cg_context *cg, const network *net, cg_loader *loader, cg_optimizer *opt, cg_average **averages,
                      cg_progress *progress, double *results)
{
    cg_batch batch;
    cg_training(cg, opt != NULL);
    for (int i = 0; i < 2; i++) cg_average_reset(averages[i]);
    while (cg_loader_next(loader, &batch)) {
        cg_scope scope = cg_scope_begin(cg); /* its end runs the step and frees every temporary */
        cg_tensor logits = forward(net, batch.x);
        cg_tensor loss = cg_softmax_cross_entropy(logits, batch.y);
        cg_average_add(averages[0], loss, (double)batch.count);
        cg_average_add(averages[1], cg_accuracy(logits, batch.y), (double)batch.count);
        if (opt) cg_minimize(opt, loss); /* adds the penalties, differentiates, updates: not waited for */
        cg_scope_end(scope);
        if (opt) cg_progress_step(progress, batch.count, averages[0], averages[1]);
    }
    for (int i = 0; i < 2; i++) results[i] = cg_average_read(averages[i]);
}

int main(int argc, char **argv)
{
    settings s = {.data = "examples/mnist", .epochs = 10, .batch = 128, .seed = 1};
    if (!read_options(argc, argv, &s))
        return puts("usage: mnist [--data DIR] [--epochs N] [--batch N] [--seed N] [--device NAME]"), 2;
    cg_context *cg = cg_open(s.device);
    cg_seed(cg, (uint64_t)s.seed);
    cg_dataset *train_data = open_mnist(cg, s.data, "train"), *test_data = open_mnist(cg, s.data, "t10k");
    cg_loader *train = cg_loader_new(train_data, .batch_size = s.batch, .scale = 1.0 / 255, .shuffle = true,
                                     .seed = (uint64_t)s.seed);
    cg_loader *test = cg_loader_new(test_data, .batch_size = 1000, .scale = 1.0 / 255);
    cg_model *model = cg_model_new(cg);
    cg_scope building = cg_scope_begin(cg);
    network net = {
        .fc1 = cg_dense_new(model, "fc1", 784, 512, .initializer = CG_HE_NORMAL, .kernel_penalty = cg_l2(1e-5)),
        .fc2 = cg_dense_new(model, "fc2", 512, 256, .initializer = CG_HE_NORMAL, .kernel_penalty = cg_l2(1e-5)),
        .fc3 = cg_dense_new(model, "fc3", 256, 10, .initializer = CG_HE_NORMAL, .kernel_penalty = cg_l2(1e-5)),
    };
    cg_scope_end(building); /* runs what was recorded: the weights have their first values */
    cg_optimizer *opt = cg_adam_new(model);
    cg_average *averages[] = {cg_average_new(cg, "loss"), cg_average_new(cg, "accuracy")};
    cg_series series[] = {
        {"train loss", "loss"}, {"train accuracy", "accuracy"}, {"test loss", "loss"}, {"test accuracy", "accuracy"}};
    cg_curves *curves = cg_curves_new(cg, "epoch", series, 4);
    cg_progress *progress = cg_progress_new(cg, s.epochs, train_data ? train_data->length : 0);

    double results[4] = {0}; /* one per series */
    for (int epoch = 0; epoch < s.epochs && !cg_status(cg); epoch++) {
        cg_optimizer_set_learning_rate(opt, 1e-3 * (1 - (double)epoch / s.epochs));
        cg_progress_begin(progress);
        run_epoch(cg, &net, train, opt, averages, progress, results);
        run_epoch(cg, &net, test, NULL, averages, NULL, results + 2);
        cg_curves_add(curves, epoch + 1, results);
        cg_progress_end(progress, "loss %.4f  accuracy %.2f %%  test loss %.4f  accuracy %.2f %%", results[0],
                        100 * results[1], results[2], 100 * results[3]);
    }
    if (!cg_status(cg) && cg_model_save(model, "mnist.safetensors") && cg_curves_svg(curves, "mnist.svg")) {
        cg_curves_table(curves, stdout);
        printf("trained %lld weights on %s in %.1f s; wrote mnist.safetensors and mnist.svg\n",
               (long long)cg_model_size(model), cg_device(cg)->name, cg_progress_seconds(progress));
        printf("test accuracy: %.2f %% (%lld images)\n", 100 * results[3], (long long)test_data->length);
    }
    bool failed = cg_status(cg) != CG_OK;
    if (failed) fprintf(stderr, "mnist: %s\n", cg_message(cg));
    if (!train_data || !test_data) fputs("--data DIR is the folder with the four MNIST files\n", stderr);
    cg_progress_free(progress);
    cg_curves_free(curves);
    for (int i = 0; i < 2; i++) cg_average_free(averages[i]);
    cg_loader_free(train);
    cg_loader_free(test);
    cg_dataset_free(train_data);
    cg_dataset_free(test_data);
    cg_model_free(model);
    cg_close(cg);
    return failed;
}

/* What the programs that learn the MNIST digits share: the data and one pass over it. A program brings its network,
 * which turns images [batch, 784] into logits [batch, 10]. */
#ifndef DIGITS_H
#define DIGITS_H

#include "options.h"

#include <clgrad/clgrad.h>
#include <stdio.h>

typedef cg_tensor (*forward_pass)(const void *network, cg_tensor images);

typedef struct lesson {
    const char *name; /* the program's: of the files that it writes, and in messages */
    forward_pass forward;
    const void *network;
    double learning_rate;  /* at first; it falls to 0 */
    double least_accuracy; /* with less on the test images the program has failed; 0: any will do */
} lesson;

static inline cg_dataset *open_mnist(cg_context *cg, const char *folder, const char *part)
{
    char images[4096], labels[4096];
    snprintf(images, sizeof images, "%s/%s-images-idx3-ubyte.gz", folder, part);
    snprintf(labels, sizeof labels, "%s/%s-labels-idx1-ubyte.gz", folder, part);
    return cg_idx_dataset(cg, images, labels, .flatten = true);
}

/* What a pass has that trains: the learning rate falls evenly, from step to step, to 0 at the end. */
typedef struct training {
    cg_optimizer *optimizer;
    cg_progress *progress;
    double learning_rate; /* at first */
    int64_t seen, all;    /* images, in all epochs */
} training;

/* Adds the penalties, differentiates, updates: not waited for. */
static inline void take_step(training *t, cg_tensor loss, int64_t images)
{
    cg_optimizer_set_learning_rate(t->optimizer, t->learning_rate * (1 - (double)t->seen / (double)t->all));
    cg_minimize(t->optimizer, loss);
    t->seen += images;
}

/* One pass over a loader's data, for training or else NULL. Results: mean loss and accuracy. */
static inline void run_epoch(cg_context *cg, forward_pass forward, const void *network, cg_loader *loader, training *t,
                             cg_average **averages, double *results)
{
    cg_batch batch;
    cg_training(cg, t != NULL);
    for (int i = 0; i < 2; i++) cg_average_reset(averages[i]);
    while (cg_loader_next(loader, &batch)) {
        cg_scope scope = cg_scope_begin(cg); /* its end runs the step and frees every temporary */
        cg_tensor logits = forward(network, batch.x);
        cg_tensor loss = cg_softmax_cross_entropy(logits, batch.y);
        cg_average_add(averages[0], loss, (double)batch.count);
        cg_average_add(averages[1], cg_accuracy(logits, batch.y), (double)batch.count);
        if (t) take_step(t, loss, batch.count);
        cg_scope_end(scope);
        if (t) cg_progress_step(t->progress, batch.count, averages[0], averages[1]);
    }
    for (int i = 0; i < 2; i++) results[i] = cg_average_read(averages[i]);
}

/* Trains for so many epochs; writes NAME.safetensors and NAME.svg and prints the curves. Returns the program's exit
 * status. */
static inline int learn_digits(cg_context *cg, const settings *s, cg_model *model, cg_optimizer *opt, const lesson *l)
{
    char weights[64], figure[64];
    bool passed = false;
    cg_dataset *train_data = open_mnist(cg, s->data, "train"), *test_data = open_mnist(cg, s->data, "t10k");
    cg_loader *train = cg_loader_new(train_data, .batch_size = s->batch, .scale = 1.0 / 255, .shuffle = true,
                                     .seed = (uint64_t)s->seed);
    cg_loader *test = cg_loader_new(test_data, .batch_size = 1000, .scale = 1.0 / 255);
    cg_average *averages[] = {cg_average_new(cg, "loss"), cg_average_new(cg, "accuracy")};
    cg_series series[] = {
        {"train loss", "loss"}, {"train accuracy", "accuracy"}, {"test loss", "loss"}, {"test accuracy", "accuracy"}};
    cg_curves *curves = cg_curves_new(cg, "epoch", series, 4);
    cg_progress *progress = cg_progress_new(cg, s->epochs, train_data ? train_data->length : 0);

    training t = {opt, progress, l->learning_rate, .all = s->epochs * (train_data ? train_data->length : 1)};
    double results[4] = {0}; /* one per series */
    for (int epoch = 0; epoch < s->epochs && !cg_status(cg); epoch++) {
        cg_progress_begin(progress);
        run_epoch(cg, l->forward, l->network, train, &t, averages, results);
        run_epoch(cg, l->forward, l->network, test, NULL, averages, results + 2);
        cg_curves_add(curves, epoch + 1, results);
        cg_progress_end(progress, "loss %.4f  accuracy %.2f %%  test loss %.4f  accuracy %.2f %%", results[0],
                        100 * results[1], results[2], 100 * results[3]);
    }
    snprintf(weights, sizeof weights, "%s.safetensors", l->name);
    snprintf(figure, sizeof figure, "%s.svg", l->name);
    if (!cg_status(cg) && cg_model_save(model, weights) && cg_curves_svg(curves, figure)) {
        cg_curves_table(curves, stdout);
        printf("trained %lld weights on %s in %.1f s; wrote %s and %s\n", (long long)cg_model_size(model),
               cg_device(cg)->name, cg_progress_seconds(progress), weights, figure);
        printf("test accuracy: %.2f %% (%lld images)", 100 * results[3], (long long)test_data->length);
        passed = results[3] > l->least_accuracy - 1e-6; /* f32 */
        if (l->least_accuracy > 0)
            printf(", at least %.2f %%: %s", 100 * l->least_accuracy, passed ? "passed" : "FAILED");
        puts("");
    }
    if (cg_status(cg)) fprintf(stderr, "%s: %s\n", l->name, cg_message(cg));
    if (!train_data || !test_data) fputs("--data DIR is the folder with the four MNIST files\n", stderr);
    cg_progress_free(progress);
    cg_curves_free(curves);
    for (int i = 0; i < 2; i++) cg_average_free(averages[i]);
    cg_loader_free(train);
    cg_loader_free(test);
    cg_dataset_free(train_data);
    cg_dataset_free(test_data);
    return !passed;
}

#endif

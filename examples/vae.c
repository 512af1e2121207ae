/* A variational autoencoder on the MNIST digits, after Kingma and Welling, "Auto-encoding variational Bayes", 2014: the
 * pixels are coins whose chance of falling on white is the grey of the image, thrown anew at every look. Prints the
 * bound on the test digits, in nats, and draws digits that the network makes up: vae.png. */
#include "digits.h"
#include "picture.h"

#include <math.h>

enum { PIXELS = 28 * 28, HIDDEN = 512, LATENT = 32, ROWS = 10, COLUMNS = 20 };

static const double LARGEST_BOUND = 110; /* nats per image */

typedef struct network {
    cg_dense *look, *mean, *log_variance, *imagine, *draw;
} network;

static cg_tensor decode(const network *net, cg_tensor code)
{
    return cg_dense_call(net->draw, cg_relu(cg_dense_call(net->imagine, code)));
}

/* Minus the evidence lower bound, the mean over the images: what the drawing from a code costs, and how far the codes
 * are from the standard normal distribution. */
static cg_tensor bound(const void *layers, cg_tensor greys)
{
    const network *net = layers;
    cg_context *cg = cg_context_of(greys);
    cg_tensor images = cg_cast(cg_less(cg_uniform(cg, cg_shape_of(greys)), greys), CG_F32);
    cg_tensor h = cg_relu(cg_dense_call(net->look, images)), zero = cg_scalar(cg, 0);
    cg_tensor mean = cg_dense_call(net->mean, h), log_variance = cg_dense_call(net->log_variance, h);
    cg_tensor deviation = cg_exp(cg_mul(cg_scalar(cg, 0.5), log_variance));
    cg_tensor code = cg_add(mean, cg_mul(deviation, cg_normal(cg, cg_shape_of(mean))));
    cg_tensor drawing = cg_binary_cross_entropy(decode(net, code), images); /* the mean over pixels too */
    return cg_add(cg_mul(cg_scalar(cg, PIXELS), drawing), cg_gaussian_kl_divergence(mean, log_variance, zero, zero));
}

/* The mean bound over a loader's data; updates the network if there is an optimizer. */
static double run_pass(cg_context *cg, const network *net, cg_loader *loader, cg_optimizer *opt, cg_average *average,
                       cg_progress *progress)
{
    cg_batch batch;
    cg_average_reset(average);
    while (cg_loader_next(loader, &batch)) {
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor loss = bound(net, batch.x);
        cg_average_add(average, loss, (double)batch.count);
        if (opt) cg_minimize(opt, loss);
        cg_scope_end(scope);
        if (opt) cg_progress_step(progress, batch.count, average, NULL);
    }
    return cg_average_read(average);
}

/* A sheet of digits from random codes. */
static bool draw_samples(cg_context *cg, const network *net, const char *path)
{
    static float digits[ROWS * COLUMNS][PIXELS];
    picture sheet = picture_new(1, ROWS * 28, COLUMNS * 28);
    cg_tensor drawn = cg_sigmoid(decode(net, cg_normal(cg, CG_SHAPE(ROWS * COLUMNS, LATENT))));
    bool done = cg_read_floats(drawn, digits[0], ROWS * COLUMNS * PIXELS);
    for (int i = 0; i < ROWS * COLUMNS; i++)
        picture_paste(sheet, (picture){1, 28, 28, digits[i]}, i / COLUMNS * 28, i % COLUMNS * 28);
    done = done && picture_write(sheet, path);
    picture_free(&sheet);
    return done;
}

int main(int argc, char **argv)
{
    settings s = {.data = "examples/mnist", .epochs = 15, .batch = 128, .seed = 1};
    if (!read_options(argc, argv, &s)) return print_usage("vae");
    cg_context *cg = cg_open(s.device);
    cg_seed(cg, (uint64_t)s.seed);
    cg_model *model = cg_model_new(cg);
    cg_scope building = cg_scope_begin(cg);
    network net = {.look = cg_dense_new(model, "look", PIXELS, HIDDEN),
                   .mean = cg_dense_new(model, "mean", HIDDEN, LATENT),
                   .log_variance = cg_dense_new(model, "log_variance", HIDDEN, LATENT),
                   .imagine = cg_dense_new(model, "imagine", LATENT, HIDDEN),
                   .draw = cg_dense_new(model, "draw", HIDDEN, PIXELS)};
    cg_scope_end(building);
    cg_dataset *train_data = open_mnist(cg, s.data, "train"), *test_data = open_mnist(cg, s.data, "t10k");
    cg_loader *train = cg_loader_new(train_data, .batch_size = s.batch, .scale = 1.0 / 255, .shuffle = true,
                                     .seed = (uint64_t)s.seed);
    cg_loader *test = cg_loader_new(test_data, .batch_size = 1000, .scale = 1.0 / 255);
    cg_optimizer *opt = cg_adam_new(model);
    cg_average *average = cg_average_new(cg, "bound");
    cg_progress *progress = cg_progress_new(cg, s.epochs, train_data ? train_data->length : 0);
    double nats = NAN;
    for (int epoch = 0; epoch < s.epochs && !cg_status(cg); epoch++) {
        cg_optimizer_set_learning_rate(opt, 1e-3 * (1 - (double)epoch / s.epochs));
        cg_progress_begin(progress);
        const double trained = run_pass(cg, &net, train, opt, average, progress);
        nats = run_pass(cg, &net, test, NULL, average, NULL);
        cg_progress_end(progress, "bound %.2f nats  test bound %.2f nats", trained, nats);
    }
    const bool passed = !cg_status(cg) && draw_samples(cg, &net, "vae.png") && nats <= LARGEST_BOUND;
    if (cg_status(cg)) fprintf(stderr, "vae: %s\n", cg_message(cg));
    printf("test bound: %.2f nats per image (at most %.0f): %s\n", nats, LARGEST_BOUND, passed ? "passed" : "FAILED");
    cg_progress_free(progress);
    cg_average_free(average);
    cg_loader_free(train);
    cg_loader_free(test);
    cg_dataset_free(train_data);
    cg_dataset_free(test_data);
    cg_model_free(model);
    cg_close(cg);
    return !passed;
}

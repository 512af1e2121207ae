/* A denoising network, after Zhang et al., "Beyond a Gaussian denoiser", 2017: a few convolutions learn the noise to be
 * subtracted, from patches of one photograph, and are tested on the other one against the best Gaussian filter there
 * is. Draws a part of it noisy, filtered, denoised and as it was: denoise.png. */
#include "options.h"
#include "picture.h"

#include <clgrad/clgrad.h>
#include <math.h>

enum { PATCH = 32, STRIDE = 8, FEATURES = 32, DEPTH = 4, RADIUS = 9 };
enum { TOP = 150, LEFT = 240, SIDE = 128 /* of the part that is drawn */ };

static const double NOISE = 25.0 / 255, LEAST_GAIN = 2 /* dB */;

typedef struct network {
    cg_variable *first; /* [FEATURES, 3, 3, 3] */
    cg_conv *layers[DEPTH];
} network;

/* ---- Patches of a photograph as a data set ---- */

static bool fetch_patch(const cg_dataset *patches, int64_t index, void *x, void *y)
{
    const picture *photograph = patches->user;
    const int across = (photograph->width - PATCH) / STRIDE + 1;
    (void)y;
    picture_paste((picture){3, PATCH, PATCH, x}, *photograph, -(int)(index / across) * STRIDE,
                  -(int)(index % across) * STRIDE);
    return true;
}

static cg_dataset patches_of(cg_context *cg, picture *p)
{
    const int count = ((p->width - PATCH) / STRIDE + 1) * ((p->height - PATCH) / STRIDE + 1);
    return (cg_dataset){
        .context = cg, .length = count, .x_shape = CG_SHAPE(3, PATCH, PATCH), .user = p, .fetch = fetch_patch};
}

/* Each patch with a contrast of its own, negatives included: other photographs have other lights. */
static cg_tensor vary(cg_tensor patches)
{
    cg_context *cg = cg_context_of(patches);
    cg_tensor contrast = cg_uniform(cg, CG_SHAPE(cg_shape_of(patches).size[0], 1, 1, 1), .low = -1, .high = 1);
    cg_tensor grey = cg_scalar(cg, 0.5);
    return cg_add(grey, cg_mul(contrast, cg_sub(patches, grey)));
}

/* ---- The network and what it is compared with ---- */

static cg_tensor add_noise(cg_tensor images)
{
    cg_context *cg = cg_context_of(images);
    return cg_add(images, cg_normal(cg, cg_shape_of(images), .deviation = NOISE));
}

/* The first kernel counts without its means, so that colours as such, which the other photograph has others of, do not
 * reach the network: only their differences do. */
static cg_tensor denoise(const network *net, cg_tensor noisy)
{
    cg_tensor kernel = cg_value(net->first);
    kernel = cg_sub(kernel, cg_mean(kernel, .axes = CG_AXES(2, 3), .keepdims = true));
    cg_tensor h = cg_convolution(noisy, kernel, .padding = CG_PADDING_SAME);
    for (int i = 0; i < DEPTH; i++) h = cg_conv_call(net->layers[i], cg_relu(h));
    return cg_sub(noisy, h);
}

/* Along rows, then along columns, each channel by itself; at the border the weights that fall inside count. */
static cg_tensor gaussian_filter(cg_tensor x, double sigma)
{
    enum { EXTENT = 2 * RADIUS + 1 };
    const cg_shape extents[] = {CG_SHAPE(3, 1, 1, EXTENT), CG_SHAPE(3, 1, EXTENT, 1)};
    cg_context *cg = cg_context_of(x);
    cg_tensor inside = cg_ones(cg, cg_shape_of(x));
    float weights[3][EXTENT];
    for (int channel = 0; channel < 3; channel++)
        for (int i = 0; i < EXTENT; i++)
            weights[channel][i] = (float)exp(-(i - RADIUS) * (i - RADIUS) / (2 * sigma * sigma));
    for (int axis = 0; axis < 2; axis++) {
        cg_tensor kernel = cg_input(cg, CG_F32, extents[axis], weights);
        cg_tensor sums = cg_convolution(x, kernel, .padding = CG_PADDING_SAME, .groups = 3);
        x = cg_div(sums, cg_convolution(inside, kernel, .padding = CG_PADDING_SAME, .groups = 3));
    }
    return x;
}

/* Peak signal-to-noise ratio in dB. */
static double psnr(cg_tensor found, cg_tensor truth)
{
    return -10 * log10(cg_item(cg_mean_squared_error(cg_clip(found, 0, 1), truth)));
}

static void train(cg_context *cg, const network *net, cg_optimizer *opt, picture *photograph, const settings *s)
{
    cg_dataset patches = patches_of(cg, photograph);
    cg_loader *loader = cg_loader_new(&patches, .batch_size = s->batch, .shuffle = true, .seed = (uint64_t)s->seed);
    cg_progress *progress = cg_progress_new(cg, s->epochs, patches.length, .unit = "patches");
    cg_average *average = cg_average_new(cg, "loss");
    cg_batch batch;
    for (int epoch = 0; epoch < s->epochs && !cg_status(cg); epoch++) {
        cg_optimizer_set_learning_rate(opt, 2e-3 * (1 - (double)epoch / s->epochs));
        cg_average_reset(average);
        cg_progress_begin(progress);
        while (cg_loader_next(loader, &batch)) {
            cg_scope scope = cg_scope_begin(cg);
            cg_tensor clean = vary(batch.x);
            cg_tensor loss = cg_mean_squared_error(denoise(net, add_noise(clean)), clean);
            cg_average_add(average, loss, (double)batch.count);
            cg_minimize(opt, loss);
            cg_scope_end(scope);
            cg_progress_step(progress, batch.count, average, NULL);
        }
        cg_progress_end(progress, "%.2f dB", -10 * log10(cg_average_read(average)));
    }
    cg_average_free(average);
    cg_progress_free(progress);
    cg_loader_free(loader);
}

/* Pastes a square of the image into the sheet. */
static void draw(picture sheet, cg_tensor image, int place)
{
    picture part = picture_new(3, SIDE, SIDE);
    cg_tensor square = cg_slice(image, CG_WHOLE, CG_WHOLE, CG_RANGE(TOP, TOP + SIDE, 1),
                                CG_RANGE(LEFT, LEFT + SIDE, 1));
    if (part.pixels && cg_read_floats(square, part.pixels, 3 * SIDE * SIDE))
        picture_paste(sheet, part, 0, place * SIDE);
    picture_free(&part);
}

/* Compares on a photograph and draws. Returns by how much the network is better than the best filter, in dB. */
static double test(cg_context *cg, const network *net, picture photograph)
{
    cg_tensor truth = cg_input(cg, CG_F32, CG_SHAPE(1, 3, photograph.height, photograph.width), photograph.pixels);
    cg_tensor noisy = add_noise(truth);
    cg_tensor images[] = {noisy, noisy, denoise(net, noisy), truth};
    cg_eval(images, 4);
    double best = -INFINITY, best_sigma = 0;
    for (int i = 5; i <= 30; i++) {
        cg_scope scope = cg_scope_local(cg);
        const double found = psnr(gaussian_filter(noisy, i / 10.0), truth);
        if (found > best) best = found, best_sigma = i / 10.0;
        cg_scope_end(scope);
    }
    const double reached = psnr(images[2], truth);
    printf("noisy %.2f dB  best Gaussian filter (sigma %.1f) %.2f dB  network %.2f dB\n", psnr(noisy, truth),
           best_sigma, best, reached);
    picture sheet = picture_new(3, SIDE, 4 * SIDE);
    images[1] = gaussian_filter(noisy, best_sigma);
    for (int i = 0; i < 4; i++) draw(sheet, images[i], i);
    const bool written = picture_write(sheet, "denoise.png");
    picture_free(&sheet);
    return written ? reached - best : NAN;
}

int main(int argc, char **argv)
{
    settings s = {.data = "examples/photographs", .epochs = 5, .batch = 16, .seed = 1};
    if (!read_options(argc, argv, &s)) return print_usage("denoise");
    picture photographs[2];
    if (!photographs_read(s.data, photographs)) return 1;
    cg_context *cg = cg_open(s.device);
    cg_seed(cg, (uint64_t)s.seed);
    cg_model *model = cg_model_new(cg);
    cg_scope building = cg_scope_begin(cg);
    network net = {.first = cg_model_add(model, "first", cg_normal(cg, CG_SHAPE(FEATURES, 3, 3, 3), .deviation = 0.2))};
    for (int i = 0; i < DEPTH; i++) {
        char name[16];
        snprintf(name, sizeof name, "conv%d", i + 1);
        net.layers[i] = cg_conv_new(model, name, FEATURES, i < DEPTH - 1 ? FEATURES : 3, CG_SHAPE(3, 3),
                                    .padding = CG_PADDING_SAME);
    }
    cg_scope_end(building);
    train(cg, &net, cg_adam_new(model), &photographs[0], &s);
    const double gain = test(cg, &net, photographs[1]);
    const bool passed = !cg_status(cg) && gain >= LEAST_GAIN;
    if (cg_status(cg)) fprintf(stderr, "denoise: %s\n", cg_message(cg));
    printf("denoise: %.2f dB better (at least %.0f): %s\n", gain, LEAST_GAIN, passed ? "passed" : "FAILED");
    for (int i = 0; i < 2; i++) picture_free(&photographs[i]);
    cg_model_free(model);
    cg_close(cg);
    return !passed;
}

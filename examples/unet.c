/* Finds shapes drawn over photographs: a U-Net, after Ronneberger et al., "U-Net: convolutional networks for biomedical
 * image segmentation", 2015, with three levels. Ellipses, rectangles and triangles of random places, sizes and stripes
 * cover parts of a photograph; the network says of each pixel whether it is covered. It learns on the left three
 * quarters of the photographs and is tested on the right quarter. Draws pictures, truths and what was found: unet.png.
 */
#include "options.h"
#include "shapes.h"

enum { LEVELS = 3, CHANNELS = 12, TRAIN = 2048, TEST = 256, DRAWN = 10, GAP = 4 };

static const double LEAST_DICE = 0.95;

/* Two 3x3 convolutions with batch normalization and ReLU. */
typedef struct block {
    cg_conv *conv[2];
    cg_batch_norm_layer *norm[2];
} block;

typedef struct network {
    block down[LEVELS], up[LEVELS - 1];
    cg_transposed_conv *enlarge[LEVELS - 1];
    cg_conv *score;
} network;

static block new_block(cg_model *model, const char *side, int level, int64_t channels, int64_t outputs)
{
    block b;
    for (int i = 0; i < 2; i++) {
        char conv[32], norm[32];
        snprintf(conv, sizeof conv, "%s%d/conv%d", side, level, i + 1);
        snprintf(norm, sizeof norm, "%s%d/norm%d", side, level, i + 1);
        b.conv[i] = cg_conv_new(model, conv, i ? outputs : channels, outputs, CG_SHAPE(3, 3),
                                .padding = CG_PADDING_SAME, .no_bias = true, .initializer = CG_HE_NORMAL);
        b.norm[i] = cg_batch_norm_new(model, norm, outputs, .axis = 1, .momentum = 0.9);
    }
    return b;
}

static network new_network(cg_model *model)
{
    network net = {.score = cg_conv_new(model, "score", CHANNELS, 1, CG_SHAPE(1, 1))};
    for (int i = 0; i < LEVELS; i++) {
        const int64_t channels = CHANNELS << i;
        net.down[i] = new_block(model, "down", i, i ? channels / 2 : 3, channels);
        if (i == LEVELS - 1) break;
        char name[32];
        snprintf(name, sizeof name, "enlarge%d", i);
        net.enlarge[i] = cg_transposed_conv_new(model, name, 2 * channels, channels, CG_SHAPE(2, 2), .stride = {2});
        net.up[i] = new_block(model, "up", i, 2 * channels, channels);
    }
    return net;
}

static cg_tensor call(block b, cg_tensor x)
{
    for (int i = 0; i < 2; i++) x = cg_relu(cg_batch_norm_call(b.norm[i], cg_conv_call(b.conv[i], x)));
    return x;
}

/* [batch, 3, height, width] -> logits [batch, 1, height, width]. What each level saw on the way down is joined to what
 * comes up from below. */
static cg_tensor forward(const network *net, cg_tensor x)
{
    cg_tensor seen[LEVELS];
    for (int i = 0; i < LEVELS; i++) x = seen[i] = call(net->down[i], i ? cg_max_pool(x, CG_SHAPE(2, 2)) : x);
    for (int i = LEVELS - 2; i >= 0; i--) {
        const cg_tensor both[] = {seen[i], cg_transposed_conv_call(net->enlarge[i], x)};
        x = call(net->up[i], cg_concat(both, 2, 1));
    }
    return cg_conv_call(net->score, x);
}

/* One pass over a loader's pictures: updates the network if there is an optimizer. Returns the mean Dice coefficient of
 * a picture, 2 |A and B| / (|A| + |B|). */
static double run_pass(cg_context *cg, const network *net, cg_loader *loader, cg_optimizer *opt, cg_average *dice,
                       cg_progress *progress)
{
    cg_batch batch;
    cg_training(cg, opt != NULL);
    cg_average_reset(dice);
    while (cg_loader_next(loader, &batch)) {
        cg_scope scope = cg_scope_begin(cg);
        cg_tensor logits = forward(net, batch.x), found = cg_cast(cg_greater(logits, cg_scalar(cg, 0)), CG_F32);
        cg_tensor missed = cg_dice_loss(found, batch.y, .axes = CG_AXES(1, 2, 3));
        cg_average_add(dice, cg_sub(cg_scalar(cg, 1), missed), (double)batch.count);
        if (opt)
            cg_minimize(opt, cg_add(cg_binary_cross_entropy(logits, batch.y),
                                    cg_dice_loss(cg_sigmoid(logits), batch.y, .axes = CG_AXES(1, 2, 3))));
        cg_scope_end(scope);
        if (opt) cg_progress_step(progress, batch.count, NULL, dice);
    }
    return cg_average_read(dice);
}

/* A column for each of the first pictures of a loader: what was seen, the truth, and the probabilities found. */
static bool draw_sheet(cg_context *cg, const network *net, cg_loader *loader, const char *path)
{
    enum { PITCH = SIDE + GAP };
    static float pixels[3][DRAWN * 3 * SIDE * SIDE];
    cg_batch batch;
    if (!cg_loader_next(loader, &batch)) return false;
    cg_training(cg, false);
    const cg_tensor rows[] = {batch.x, batch.y, cg_sigmoid(forward(net, batch.x))};
    picture sheet = picture_new(3, 3 * PITCH - GAP, DRAWN * PITCH - GAP);
    bool done = sheet.pixels;
    for (int i = 0; done && i < 3 * sheet.height * sheet.width; i++) sheet.pixels[i] = 0.5f; /* grey between them */
    for (int i = 0; i < 3 && done; i++) {
        const int channels = i ? 1 : 3, size = channels * SIDE * SIDE;
        done = cg_read_floats(cg_slice_axis(rows[i], 0, 0, DRAWN), pixels[i], DRAWN * size);
        for (int j = 0; j < DRAWN; j++)
            picture_paste(sheet, (picture){channels, SIDE, SIDE, pixels[i] + j * size}, i * PITCH, j * PITCH);
    }
    done = done && picture_write(sheet, path);
    picture_free(&sheet);
    return done;
}

int main(int argc, char **argv)
{
    settings s = {.data = "examples/photographs", .epochs = 6, .batch = 8, .seed = 1};
    if (!read_options(argc, argv, &s)) return print_usage("unet");
    picture photographs[2];
    if (!photographs_read(s.data, photographs)) return 1;
    cg_context *cg = cg_open(s.device);
    cg_seed(cg, (uint64_t)s.seed);
    cg_model *model = cg_model_new(cg);
    cg_scope building = cg_scope_begin(cg);
    const network net = new_network(model);
    cg_scope_end(building);
    part parts[] = {{photographs, 0, 0.75, (uint64_t)s.seed}, {photographs, 0.75, 1, (uint64_t)s.seed + 1}};
    cg_dataset train_data = shapes_dataset(cg, &parts[0], TRAIN), test_data = shapes_dataset(cg, &parts[1], TEST);
    cg_loader *train = cg_loader_new(&train_data, .batch_size = s.batch), *test = cg_loader_new(&test_data);
    cg_optimizer *opt = cg_adam_new(model);
    cg_average *average = cg_average_new(cg, "dice");
    cg_progress *progress = cg_progress_new(cg, s.epochs, TRAIN);
    double dice = NAN;
    for (int epoch = 0; epoch < s.epochs && !cg_status(cg); epoch++) {
        cg_optimizer_set_learning_rate(opt, 3e-3 * (1 - (double)epoch / s.epochs));
        parts[0].seed += 2; /* new pictures */
        cg_progress_begin(progress);
        const double trained = run_pass(cg, &net, train, opt, average, progress);
        dice = run_pass(cg, &net, test, NULL, average, NULL);
        cg_progress_end(progress, "Dice %.4f  held-out Dice %.4f", trained, dice);
    }
    const bool passed = draw_sheet(cg, &net, test, "unet.png") && !cg_status(cg) && dice >= LEAST_DICE;
    if (cg_status(cg)) fprintf(stderr, "unet: %s\n", cg_message(cg));
    printf("held-out Dice: %.4f (at least %.2f), wrote unet.png: %s\n", dice, LEAST_DICE, passed ? "passed" : "FAILED");
    for (int i = 0; i < 2; i++) picture_free(&photographs[i]);
    cg_progress_free(progress);
    cg_average_free(average);
    cg_loader_free(train);
    cg_loader_free(test);
    cg_model_free(model);
    cg_close(cg);
    return !passed;
}

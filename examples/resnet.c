/* Trains a small residual network on the MNIST digits, after He et al., "Deep residual learning for image recognition",
 * 2016: three blocks of two 3x3 convolutions with batch normalization, whose result is added to what they were given.
 * It never sees the same picture twice: each digit is moved and stretched a little, on the device, in every epoch. */
#include "digits.h"

enum { SIDE = 28, BLOCKS = 3, CHANNELS = 12 };

/* A convolution and the batch normalization behind it, which makes a bias needless. */
typedef struct unit {
    cg_conv *conv;
    cg_batch_norm_layer *norm;
} unit;

typedef struct network {
    unit stem;
    struct block {
        unit first, second, shortcut;
    } block[BLOCKS];
    cg_dense *scores;
} network;

static unit new_unit(cg_model *model, int block, const char *name, int64_t channels, int64_t outputs, int64_t extent,
                     int64_t stride)
{
    char conv[48], norm[48];
    snprintf(conv, sizeof conv, "block%d/%s/conv", block, name);
    snprintf(norm, sizeof norm, "block%d/%s/norm", block, name);
    return (unit){cg_conv_new(model, conv, channels, outputs, CG_SHAPE(extent, extent), .padding = CG_PADDING_SAME,
                              .stride = {stride}, .no_bias = true, .initializer = CG_HE_NORMAL,
                              .kernel_penalty = cg_l2(5e-5)),
                  cg_batch_norm_new(model, norm, outputs, .axis = 1, .momentum = 0.9)};
}

/* Each block halves the picture, and the shortcut around it is a 1x1 convolution: the sizes differ. */
static network new_network(cg_model *model)
{
    network net = {.stem = new_unit(model, 0, "stem", 1, CHANNELS, 3, 1)};
    for (int i = 0; i < BLOCKS; i++) {
        const int64_t channels = CHANNELS << i, outputs = 2 * channels;
        net.block[i] = (struct block){new_unit(model, i + 1, "first", channels, outputs, 3, 2),
                                      new_unit(model, i + 1, "second", outputs, outputs, 3, 1),
                                      new_unit(model, i + 1, "shortcut", channels, outputs, 1, 2)};
    }
    net.scores = cg_dense_new(model, "scores", CHANNELS << BLOCKS, 10);
    return net;
}

static cg_tensor call(unit u, cg_tensor x)
{
    return cg_batch_norm_call(u.norm, cg_conv_call(u.conv, x));
}

/* One matrix per image [batch, to, from] that takes the places of a row (or column) from up to 2 pixels and a tenth of
 * their distance from the middle away, with weights that interpolate between the two nearest ones. */
static cg_tensor random_places(cg_context *cg, int64_t batch)
{
    cg_tensor place = cg_sub(cg_iota(cg, SIDE), cg_scalar(cg, (SIDE - 1) / 2.0));
    cg_tensor scale = cg_uniform(cg, CG_SHAPE(batch, 1, 1), .low = 0.9, .high = 1.1);
    cg_tensor shift = cg_uniform(cg, CG_SHAPE(batch, 1, 1), .low = -2, .high = 2);
    cg_tensor from = cg_add(cg_mul(cg_expand_dims(place, 1), scale), shift);
    return cg_relu(cg_sub(cg_scalar(cg, 1), cg_abs(cg_sub(from, place))));
}

static cg_tensor forward(const void *layers, cg_tensor images)
{
    const network *net = layers;
    cg_context *cg = cg_context_of(images);
    cg_tensor x = cg_reshape(images, CG_SHAPE(-1, SIDE, SIDE));
    if (cg_is_training(cg)) {
        const int64_t batch = cg_shape_of(x).size[0];
        x = cg_matmul(random_places(cg, batch), cg_matmul(x, cg_swap_axes(random_places(cg, batch), 1, 2)));
    }
    x = cg_relu(call(net->stem, cg_expand_dims(x, 1)));
    for (int i = 0; i < BLOCKS; i++) {
        const struct block *b = &net->block[i];
        cg_tensor inner = call(b->second, cg_relu(call(b->first, x)));
        x = cg_relu(cg_add(inner, call(b->shortcut, x)));
    }
    return cg_dense_call(net->scores, cg_global_average_pool(x));
}

int main(int argc, char **argv)
{
    settings s = {.data = "examples/mnist", .epochs = 8, .batch = 128, .seed = 1};
    if (!read_options(argc, argv, &s)) return print_usage("resnet");
    cg_context *cg = cg_open(s.device);
    cg_seed(cg, (uint64_t)s.seed);
    cg_model *model = cg_model_new(cg);
    cg_scope building = cg_scope_begin(cg);
    const network net = new_network(model);
    cg_scope_end(building);
    const lesson l = {
        .name = "resnet", .forward = forward, .network = &net, .learning_rate = 2e-3, .least_accuracy = 0.994};
    const int status = learn_digits(cg, &s, model, cg_adam_new(model), &l);
    cg_model_free(model);
    cg_close(cg);
    return status;
}

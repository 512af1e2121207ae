/* Trains a convolutional network on the MNIST digits, after LeCun et al., "Gradient-based learning applied to document
 * recognition", 1998: two convolutions of 5x5, each with batch normalization, ReLU and max pooling, and two dense
 * layers. */
#include "digits.h"

typedef struct network {
    cg_conv *conv1, *conv2;
    cg_batch_norm_layer *norm1, *norm2, *norm3;
    cg_dense *fc1, *fc2;
} network;

static cg_tensor convolve(const cg_conv *conv, const cg_batch_norm_layer *norm, cg_tensor x)
{
    return cg_max_pool(cg_relu(cg_batch_norm_call(norm, cg_conv_call(conv, x))), CG_SHAPE(2, 2));
}

static cg_tensor forward(const void *layers, cg_tensor images)
{
    const network *net = layers;
    cg_tensor h = cg_reshape(images, CG_SHAPE(-1, 1, 28, 28));
    h = convolve(net->conv1, net->norm1, h);
    h = convolve(net->conv2, net->norm2, h);
    h = cg_dense_call(net->fc1, cg_reshape(h, CG_SHAPE(-1, 64 * 7 * 7)));
    h = cg_relu(cg_batch_norm_call(net->norm3, h));
    return cg_dense_call(net->fc2, cg_dropout(h, .rate = 0.5));
}

int main(int argc, char **argv)
{
    settings s = {.data = "examples/mnist", .epochs = 6, .batch = 128, .seed = 1};
    if (!read_options(argc, argv, &s)) return print_usage("lenet");
    cg_context *cg = cg_open(s.device);
    cg_seed(cg, (uint64_t)s.seed);
    cg_model *model = cg_model_new(cg);
    cg_scope building = cg_scope_begin(cg);
    /* What batch normalization follows needs no bias. */
    network net = {
        .conv1 = cg_conv_new(model, "conv1", 1, 32, CG_SHAPE(5, 5), .padding = CG_PADDING_SAME, .no_bias = true),
        .norm1 = cg_batch_norm_new(model, "norm1", 32, .axis = 1, .momentum = 0.9),
        .conv2 = cg_conv_new(model, "conv2", 32, 64, CG_SHAPE(5, 5), .padding = CG_PADDING_SAME, .no_bias = true),
        .norm2 = cg_batch_norm_new(model, "norm2", 64, .axis = 1, .momentum = 0.9),
        .fc1 = cg_dense_new(model, "fc1", 64 * 7 * 7, 512, .no_bias = true),
        .norm3 = cg_batch_norm_new(model, "norm3", 512, .momentum = 0.9),
        .fc2 = cg_dense_new(model, "fc2", 512, 10),
    };
    cg_scope_end(building);
    const lesson l = {
        .name = "lenet", .forward = forward, .network = &net, .learning_rate = 1e-3, .least_accuracy = 0.992};
    const int status = learn_digits(cg, &s, model, cg_adam_new(model), &l);
    cg_model_free(model);
    cg_close(cg);
    return status;
}

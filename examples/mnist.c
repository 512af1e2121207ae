/* Trains a network on the MNIST digits: 784-512-256-10 with He initialisation, dropout, an L2 penalty and Adam. */
#include "digits.h"

typedef struct network {
    cg_dense *fc1, *fc2, *fc3;
} network;

static cg_tensor forward(const void *layers, cg_tensor x)
{
    const network *net = layers;
    cg_tensor h = cg_dropout(cg_relu(cg_dense_call(net->fc1, x)), .rate = 0.3);
    h = cg_dropout(cg_relu(cg_dense_call(net->fc2, h)), .rate = 0.3);
    return cg_dense_call(net->fc3, h);
}

int main(int argc, char **argv)
{
    settings s = {.data = "examples/mnist", .epochs = 10, .batch = 128, .seed = 1};
    if (!read_options(argc, argv, &s)) return print_usage("mnist");
    cg_context *cg = cg_open(s.device);
    cg_seed(cg, (uint64_t)s.seed);
    cg_model *model = cg_model_new(cg);
    cg_scope building = cg_scope_begin(cg);
    network net = {
        .fc1 = cg_dense_new(model, "fc1", 784, 512, .initializer = CG_HE_NORMAL, .kernel_penalty = cg_l2(1e-5)),
        .fc2 = cg_dense_new(model, "fc2", 512, 256, .initializer = CG_HE_NORMAL, .kernel_penalty = cg_l2(1e-5)),
        .fc3 = cg_dense_new(model, "fc3", 256, 10, .initializer = CG_HE_NORMAL, .kernel_penalty = cg_l2(1e-5)),
    };
    cg_scope_end(building); /* runs what was recorded: the weights have their first values */
    const lesson l = {.name = "mnist", .forward = forward, .network = &net, .learning_rate = 1e-3};
    const int status = learn_digits(cg, &s, model, cg_adam_new(model), &l);
    cg_model_free(model);
    cg_close(cg);
    return status;
}

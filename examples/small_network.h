/* What the two examples on derivatives of derivatives share: a 784-64-10 network in f64 whose weights are passed as
 * values, so that any of them can be differentiated or replaced, and digits to feed it. tanh keeps it smooth: finite
 * differences then agree to many digits. */
#ifndef SMALL_NETWORK_H
#define SMALL_NETWORK_H

#include <clgrad/clgrad.h>
#include <stdio.h>

enum { WEIGHTS = 4 };

/* Glorot uniform kernels, zero biases, in the order of `network_loss`. They are a model's variables. */
static inline bool new_network(cg_model *model, cg_variable **variables)
{
    cg_dense *hidden = cg_dense_new(model, "hidden", 784, 64, .dtype = CG_F64);
    cg_dense *output = cg_dense_new(model, "output", 64, 10, .dtype = CG_F64);
    variables[0] = cg_dense_kernel(hidden), variables[1] = cg_dense_bias(hidden);
    variables[2] = cg_dense_kernel(output), variables[3] = cg_dense_bias(output);
    return variables[0] && variables[2];
}

/* Mean cross-entropy of the network with weights w on images x [n, 784] and labels [n]. */
static inline cg_tensor network_loss(const cg_tensor *w, cg_tensor x, cg_tensor labels)
{
    cg_tensor hidden = cg_tanh(cg_add(cg_matmul(x, w[0]), w[1]));
    return cg_softmax_cross_entropy(cg_add(cg_matmul(hidden, w[2]), w[3]), labels);
}

/* A loader of digits in the order of the test file in `folder`, the examples' first argument. */
static inline cg_loader *open_digits(cg_context *cg, const char *folder, int64_t count, cg_dataset **dataset)
{
    char images[4096], labels[4096];
    snprintf(images, sizeof images, "%s/t10k-images-idx3-ubyte.gz", folder);
    snprintf(labels, sizeof labels, "%s/t10k-labels-idx1-ubyte.gz", folder);
    *dataset = cg_idx_dataset(cg, images, labels, .flatten = true);
    if (!*dataset) fputs("the first argument is the folder with the MNIST files\n", stderr);
    return cg_loader_new(*dataset, .batch_size = count, .scale = 1.0 / 255);
}

#endif

/* The image networks whose training steps are measured. Each is a function that records the forward pass; its layers
 * are made on the way the first time. */
#ifndef CLGRAD_CLI_BENCH_NETWORKS_H
#define CLGRAD_CLI_BENCH_NETWORKS_H

#include <clgrad/clgrad.h>

enum { NETWORK_LAYERS = 64 };

/* A network under way: layers of each kind in the order in which the forward pass comes to them. */
typedef struct bench_network {
    cg_model *model;
    cg_dtype dtype;
    bool made;     /* the layers are there */
    bool past_one; /* a layer with a kernel has been made: gradients go through those behind it */
    int next;
    void *layers[NETWORK_LAYERS];
    double flop; /* of the products of a training step, as they are written down, padding included */
} bench_network;

typedef struct bench_network_kind {
    cg_shape example; /* channels, then the extents of the picture */
    cg_tensor (*forward)(bench_network *network, cg_tensor x);
} bench_network_kind;

extern const bench_network_kind bench_lenet, bench_convbn, bench_resnet20, bench_unet3d, bench_mobilenet_block;

#endif

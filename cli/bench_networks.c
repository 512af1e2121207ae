/* Forward passes of image networks, written once: making a layer and calling it are one line. */
#include "bench_networks.h"

#include <stdio.h>

enum { NAME_BYTES = 16, NORM_GROUPS = 8 };

static void **place_for(bench_network *n, char name[NAME_BYTES])
{
    snprintf(name, NAME_BYTES, "layer%d", n->next);
    return &n->layers[n->next++];
}

/* Two more products in the backward pass; of the first layer one, for nobody asks for the input's gradient. */
static void count_product(bench_network *n, double flop)
{
    n->flop += flop * (n->past_one ? 3 : 2);
    n->past_one = true;
}

static double elements(cg_shape shape)
{
    return (double)cg_shape_size(shape);
}

/* Along all spatial axes the same extent and stride; the result is ceil(size / stride) long. */
static cg_tensor conv(bench_network *n, cg_tensor x, int64_t outputs, int64_t extent, int64_t stride, int64_t groups)
{
    char name[NAME_BYTES];
    void **layer = place_for(n, name);
    const cg_shape in = cg_shape_of(x);
    cg_shape extents = {.rank = in.rank - 2};
    for (int i = 0; i < extents.rank; i++) extents.size[i] = extent;
    if (!n->made)
        *layer = cg_conv_new(n->model, name, in.size[1], outputs, extents, .stride = {stride},
                             .padding = CG_PADDING_SAME, .groups = groups, .dtype = n->dtype);
    x = cg_conv_call(*layer, x);
    const int64_t channels = in.size[1] / groups;
    if (!n->made) count_product(n, 2 * elements(cg_shape_of(x)) * elements(extents) * (double)channels);
    return x;
}

/* Twice as large along each spatial axis. */
static cg_tensor up_conv(bench_network *n, cg_tensor x, int64_t outputs)
{
    char name[NAME_BYTES];
    void **layer = place_for(n, name);
    const cg_shape in = cg_shape_of(x);
    cg_shape extents = {.rank = in.rank - 2};
    for (int i = 0; i < extents.rank; i++) extents.size[i] = 2;
    if (!n->made)
        *layer = cg_transposed_conv_new(n->model, name, in.size[1], outputs, extents, .stride = {2}, .dtype = n->dtype);
    if (!n->made) count_product(n, 2 * elements(in) * elements(extents) * (double)outputs);
    return cg_transposed_conv_call(*layer, x);
}

static cg_tensor dense(bench_network *n, cg_tensor x, int64_t outputs)
{
    char name[NAME_BYTES];
    void **layer = place_for(n, name);
    const cg_shape in = cg_shape_of(x);
    const int64_t inputs = cg_shape_size(in) / in.size[0];
    if (!n->made) *layer = cg_dense_new(n->model, name, inputs, outputs, .dtype = n->dtype);
    if (!n->made) count_product(n, 2 * elements(in) * (double)outputs);
    return cg_dense_call(*layer, cg_reshape(x, CG_SHAPE(in.size[0], inputs)));
}

static cg_tensor batch_norm(bench_network *n, cg_tensor x)
{
    char name[NAME_BYTES];
    void **layer = place_for(n, name);
    if (!n->made) *layer = cg_batch_norm_new(n->model, name, cg_shape_of(x).size[1], .axis = 1, .dtype = n->dtype);
    return cg_batch_norm_call(*layer, x);
}

static cg_tensor group_norm(bench_network *n, cg_tensor x)
{
    char name[NAME_BYTES];
    void **layer = place_for(n, name);
    if (!n->made) *layer = cg_group_norm_new(n->model, name, NORM_GROUPS, cg_shape_of(x).size[1], .dtype = n->dtype);
    return cg_group_norm_call(*layer, x);
}

/* --- networks --- */

static cg_tensor lenet(bench_network *n, cg_tensor x)
{
    x = cg_max_pool(cg_relu(conv(n, x, 32, 5, 1, 1)), CG_SHAPE(2, 2));
    x = cg_max_pool(cg_relu(conv(n, x, 64, 5, 1, 1)), CG_SHAPE(2, 2));
    return dense(n, cg_relu(dense(n, x, 512)), 10);
}

static cg_tensor convbn(bench_network *n, cg_tensor x)
{
    for (int i = 0; i < 4; i++) x = cg_relu(batch_norm(n, conv(n, x, 64, 3, 1, 1)));
    return x;
}

/* He, Zhang, Ren and Sun, Deep residual learning for image recognition, CVPR 2016, section 4.2, with projections where
 * the shape changes. */
static cg_tensor residual_block(bench_network *n, cg_tensor x, int64_t outputs, int64_t stride)
{
    cg_tensor inner = cg_relu(batch_norm(n, conv(n, x, outputs, 3, stride, 1)));
    inner = batch_norm(n, conv(n, inner, outputs, 3, 1, 1));
    if (stride > 1) x = batch_norm(n, conv(n, x, outputs, 1, stride, 1));
    return cg_relu(cg_add(inner, x));
}

static cg_tensor resnet20(bench_network *n, cg_tensor x)
{
    x = cg_relu(batch_norm(n, conv(n, x, 16, 3, 1, 1)));
    for (int stage = 0; stage < 3; stage++)
        for (int block = 0; block < 3; block++) x = residual_block(n, x, 16 << stage, stage > 0 && block == 0 ? 2 : 1);
    return dense(n, cg_global_average_pool(x), 10);
}

static cg_tensor unet_block(bench_network *n, cg_tensor x, int64_t outputs)
{
    for (int i = 0; i < 2; i++) x = cg_relu(group_norm(n, conv(n, x, outputs, 3, 1, 1)));
    return x;
}

/* Çiçek, Abdulkadir, Lienkamp, Brox and Ronneberger, 3D U-Net, MICCAI 2016, with three levels. */
static cg_tensor unet3d(bench_network *n, cg_tensor x)
{
    cg_tensor level[2];
    for (int i = 0; i < 2; i++) {
        level[i] = unet_block(n, x, 16 << i);
        x = cg_max_pool(level[i], CG_SHAPE(2, 2, 2));
    }
    x = unet_block(n, x, 64);
    for (int i = 1; i >= 0; i--) {
        const cg_tensor joined[] = {level[i], up_conv(n, x, 16 << i)};
        x = unet_block(n, cg_concat(joined, 2, 1), 16 << i);
    }
    return conv(n, x, 2, 1, 1, 1);
}

/* Howard et al., MobileNets, 2017, section 3.1. */
static cg_tensor mobilenet_block(bench_network *n, cg_tensor x)
{
    x = cg_relu(batch_norm(n, conv(n, x, 32, 3, 1, 32)));
    return cg_relu(batch_norm(n, conv(n, x, 64, 1, 1, 1)));
}

const bench_network_kind bench_lenet = {{3, {1, 28, 28}}, lenet};
const bench_network_kind bench_convbn = {{3, {3, 32, 32}}, convbn};
const bench_network_kind bench_resnet20 = {{3, {3, 32, 32}}, resnet20};
const bench_network_kind bench_unet3d = {{4, {1, 32, 32, 32}}, unet3d};
const bench_network_kind bench_mobilenet_block = {{3, {32, 56, 56}}, mobilenet_block};

/* All of clgrad's public interface. Include this one. */
#ifndef CLGRAD_CLGRAD_H
#define CLGRAD_CLGRAD_H

#include <clgrad/activation_layers.h>
#include <clgrad/activations.h>
#include <clgrad/api.h>
#include <clgrad/autodiff.h>
#include <clgrad/context.h>
#include <clgrad/convolution.h>
#include <clgrad/convolution_layers.h>
#include <clgrad/data.h>
#include <clgrad/dot.h>
#include <clgrad/dropout.h>
#include <clgrad/file.h>
#include <clgrad/formats.h>
#include <clgrad/geometry.h>
#include <clgrad/initializers.h>
#include <clgrad/layers.h>
#include <clgrad/losses.h>
#include <clgrad/model.h>
#include <clgrad/normalization.h>
#include <clgrad/normalization_layers.h>
#include <clgrad/op.h>
#include <clgrad/ops.h>
#include <clgrad/optimizers.h>
#include <clgrad/pooling.h>
#include <clgrad/profile.h>
#include <clgrad/progress.h>
#include <clgrad/scans.h>
#include <clgrad/tensor.h>
#include <clgrad/tuning.h>
#include <clgrad/variable.h>

#endif

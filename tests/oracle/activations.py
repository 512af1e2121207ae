#!/usr/bin/env python3
"""Activations, by PyTorch in double. Those that it lacks are written with its elementary functions."""
import torch
from torch.nn import functional

from cases import Cases, draw

cases = Cases()

ELEMENTWISE = {
    "relu": torch.relu, "relu6": functional.relu6, "sigmoid": torch.sigmoid, "tanh": torch.tanh,
    "leaky_relu": lambda x: functional.leaky_relu(x, 0.2), "elu": lambda x: functional.elu(x, 0.7),
    "selu": functional.selu,
    # PyTorch's derivatives of celu, hardsigmoid and hardswish round 1 / alpha and 1 / 6 to f32.
    "celu": lambda x: torch.where(x > 0, x, 0.6 * torch.expm1(x / 0.6)), "silu": functional.silu,
    "gelu": functional.gelu, "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"), "mish": functional.mish,
    "softplus": functional.softplus, "softplus_with_beta": lambda x: functional.softplus(x, 1.7, 4),
    "log_sigmoid": functional.logsigmoid, "softsign": functional.softsign, "tanh_shrink": functional.tanhshrink,
    "hard_sigmoid": lambda x: (x / 6 + 0.5).clamp(0, 1), "hard_silu": lambda x: x * (x / 6 + 0.5).clamp(0, 1),
    "hard_tanh": functional.hardtanh,
    "soft_shrink": lambda x: functional.softshrink(x, 0.5), "hard_shrink": lambda x: functional.hardshrink(x, 0.5),
    "threshold": lambda x: functional.threshold(x, 0.3, -2), "swish": lambda x: x * torch.sigmoid(1.3 * x),
    "squareplus": lambda x: (x + (x.square() + 4).sqrt()) / 2,
    "sparse_plus": lambda x: torch.where(x <= -1, torch.zeros_like(x),
                                         torch.where(x >= 1, x, (x + 1).square() / 4)),
    "sparse_sigmoid": lambda x: (0.5 * x + 0.5).clamp(0, 1),
    "hard_sigmoid_with_slope": lambda x: (0.2 * x + 0.5).clamp(0, 1),
}
# Of a derivative that is itself piecewise constant, PyTorch has no second one, or it is zero.
PIECEWISE = {"relu", "relu6", "leaky_relu", "hard_sigmoid", "hard_silu", "hard_tanh", "soft_shrink", "hard_shrink",
             "threshold", "sparse_sigmoid", "hard_sigmoid_with_slope"}
for name, function in ELEMENTWISE.items():
    cases.add(f"{name}/7x9", function, draw("x", (7, 9), -5, 5), second=name not in PIECEWISE)
    cases.add(f"{name}/33", function, draw("x", (33,), -1, 1))


def sparsemax(x, axis):
    """By sorting, as Martins and Astudillo write it."""
    ordered = x.sort(axis, descending=True).values.movedim(axis, -1)
    sums, ranks = ordered.cumsum(-1) - 1, torch.arange(1, x.shape[axis] + 1, dtype=x.dtype)
    count = (ranks * ordered > sums).sum(-1, keepdim=True)
    tau = sums.gather(-1, count - 1) / count
    return (x.movedim(axis, -1) - tau).clamp(min=0).movedim(-1, axis)


def gated(function):
    return lambda x, axis: torch.mul(x.chunk(2, axis)[0], function(x.chunk(2, axis)[1]))


ALONG_AXES = {"glu": functional.glu, "reglu": gated(torch.relu), "geglu": gated(functional.gelu),
              "swiglu": gated(functional.silu), "softmax": functional.softmax, "log_softmax": functional.log_softmax,
              "softmin": functional.softmin, "sparsemax": sparsemax}
for name, function in ALONG_AXES.items():
    for shape, axis in (((5, 6), 1), ((4, 3), 0), ((2, 8, 3), 1), ((3, 5, 14), 2)):
        cases.add(f"{name}/{'x'.join(map(str, shape))}_axis_{axis}", lambda x: function(x, axis),
                  draw("x", shape, -2, 2), second=len(shape) < 3 and name != "reglu")
for shape, units, axis in (((5, 6), 2, 1), ((2, 12, 3), 4, 1), ((4, 3), 1, 0)):
    pieces = shape[axis] // units
    split = shape[:axis] + (pieces, units) + shape[axis + 1:]
    cases.add(f"maxout/{'x'.join(map(str, shape))}_axis_{axis}_{units}_units",
              lambda x: x.reshape(split).amax(axis), draw("x", shape, -2, 2))
for shape, slopes in (((5, 6), 1), ((3, 4), 4), ((2, 3, 5, 7), 3), ((2, 3, 5), 1)):
    cases.add(f"prelu/{'x'.join(map(str, shape))}_{slopes}_slopes", functional.prelu, draw("x", shape, -2, 2),
              draw("slopes", (slopes,), 0.1, 0.9), second=len(shape) < 3)
cases.write(__file__)

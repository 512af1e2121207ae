#!/usr/bin/env python3
"""Normalizations, by PyTorch in double. Those that it lacks are written with its elementary functions."""
import torch
from torch.nn import functional

from cases import Cases, draw

cases = Cases()


def name_of(shape):
    return "x".join(map(str, shape))


def statistics_and_output(t, gamma, beta, axis):
    """Batch normalization, and what it normalizes by."""
    others = [i for i in range(t.dim()) if i != axis]
    moved = t.movedim(axis, 1)
    y = functional.batch_norm(moved, None, None, gamma, beta, True, 0.01, 1e-3).movedim(1, axis)
    return y, t.mean(others), t.var(others, unbiased=False)


for shape, axis in (((7, 3), 1), ((5, 3, 4), 1), ((5, 3, 4), 2), ((3, 5, 7, 2), 1), ((2, 3, 5, 7), 3),
                    ((1, 2, 3, 1, 5), 1), ((3, 2, 5), 0), ((2, 19, 3, 3), 1)):
    x, channels = draw("x", shape, -2, 3), shape[axis]
    gamma, beta = draw("gamma", (channels,), 0.5, 2), draw("beta", (channels,))
    name = f"{name_of(shape)}_axis_{axis}"
    cases.add(f"batch_norm/{name}", lambda t, g, b: statistics_and_output(t, g, b, axis), x, gamma, beta,
              second=len(shape) < 4)
    mean, variance = draw("mean", (channels,)), draw("variance", (channels,), 0.5, 2)
    cases.add(f"batch_norm_inference/{name}",
              lambda t, g, b, m, v: ((t.movedim(axis, -1) - m) / (v + 1e-3).sqrt() * g + b).movedim(-1, axis),
              x, gamma, beta, mean, variance, second=len(shape) < 3)

for shape, groups in (((2, 6, 5), 1), ((2, 6, 5), 2), ((2, 6, 5), 3), ((2, 6, 5), 6), ((3, 4, 3, 5), 2), ((5, 8), 4),
                      ((1, 6, 3, 2, 3), 3), ((3, 33, 17), 11)):
    x, gamma, beta = draw("x", shape, -2, 3), draw("gamma", shape[1:2], 0.5, 2), draw("beta", shape[1:2])
    cases.add(f"group_norm/{name_of(shape)}_by_{groups}",
              lambda t, g, b: functional.group_norm(t, groups, g, b, 1e-3), x, gamma, beta, second=len(shape) < 4)
for shape in ((2, 6, 5), (3, 4, 3, 5), (1, 6, 3, 2, 3)):
    x, gamma, beta = draw("x", shape, -2, 3), draw("gamma", shape[1:2], 0.5, 2), draw("beta", shape[1:2])
    cases.add(f"instance_norm/{name_of(shape)}",
              lambda t, g, b: functional.instance_norm(t, None, None, g, b, True, 0.1, 1e-3), x, gamma, beta)
for shape, axes in (((5, 7), 1), ((2, 3, 5), 2), ((2, 3, 4, 5), 3), ((3, 33), 1)):
    x, gamma, beta = draw("x", shape, -2, 3), draw("gamma", shape[-axes:], 0.5, 2), draw("beta", shape[-axes:])
    cases.add(f"layer_norm/{name_of(shape)}_over_{axes}",
              lambda t, g, b: functional.layer_norm(t, shape[-axes:], g, b, 1e-5), x, gamma, beta, second=len(shape) < 4)
    over = tuple(range(len(shape) - axes, len(shape)))
    cases.add(f"rms_norm/{name_of(shape)}_over_{axes}",
              lambda t, g: t * (t.square().mean(over, keepdim=True) + 1e-6).rsqrt() * g, x, gamma, second=len(shape) < 4)
for shape, size in (((2, 5, 1), 3), ((2, 7, 3), 4), ((2, 7, 3), 5), ((1, 3, 2, 3), 9), ((2, 5, 3), 1)):
    x = draw("x", shape, -2, 3)
    cases.add(f"local_response_norm/{name_of(shape)}_by_{size}",
              lambda t: functional.local_response_norm(t, size, 0.3, 0.6, 1.5), x, second=len(shape) < 4)
for shape, axis in (((5, 3), 1), ((4, 3, 3, 2), 0), ((3, 4, 5), 1)):
    direction, gain = draw("direction", shape, 0.2, 2), draw("gain", (shape[axis],))
    along = [-1 if i == axis else 1 for i in range(len(shape))]
    others = [i for i in range(len(shape)) if i != axis]
    cases.add(f"weight_norm/{name_of(shape)}_axis_{axis}",
              lambda v, g: v * g.reshape(along) / v.square().sum(others, keepdim=True).sqrt(), direction, gain,
              second=len(shape) < 4)


def spectral(kernel, start, axis, iterations):
    """Keras's order: v, then u; both constant for derivatives, which PyTorch must nevertheless be able to take."""
    matrix = kernel.movedim(axis, -1).reshape(-1, kernel.shape[axis])
    fixed, u = matrix.detach(), start.detach()
    v = functional.normalize(fixed @ u, dim=0)
    for _ in range(iterations):
        v = functional.normalize(fixed @ u, dim=0)
        u = functional.normalize(v @ fixed, dim=0)
    sigma = v @ matrix @ u
    return kernel / sigma + 0 * start.square().sum(), sigma, u


for shape, axis, iterations in (((5, 3), 1, 1), ((5, 3), 1, 0), ((4, 3, 3, 2), 0, 2), ((3, 7), 1, 3)):
    cases.add(f"spectral_norm/{name_of(shape)}_axis_{axis}_{iterations}_times",
              lambda kernel, u: spectral(kernel, u, axis, iterations), draw("kernel", shape),
              draw("u", (shape[axis],), 0.1, 1), second=len(shape) < 4)
cases.write(__file__)

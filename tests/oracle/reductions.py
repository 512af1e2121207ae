#!/usr/bin/env python3
"""Reductions, by PyTorch in double."""
import numpy
import torch

from cases import Cases, draw

cases = Cases()
for shape, axis in (((7,), 0), ((3, 5), 0), ((3, 5), 1), ((2, 3, 4), (0, 2)), ((5, 1, 6), 2), ((4, 33), 1)):
    axes = axis if isinstance(axis, tuple) else (axis,)
    name = "x".join(map(str, shape)) + "_over_" + "_".join(map(str, axes))
    x = draw("x", shape)
    cases.add(f"sum/{name}", lambda t: t.sum(axes), x, second=True)
    cases.add(f"mean/{name}", lambda t: t.mean(axes), x)
    cases.add(f"logsumexp/{name}", lambda t: t.logsumexp(axes), x, second=True)
    cases.add(f"var/{name}", lambda t: t.var(axes, unbiased=False), x, second=True)
    cases.add(f"max/{name}", lambda t: t.amax(axes), x)
    cases.add(f"min/{name}", lambda t: t.amin(axes), x)
    if len(axes) == 1:
        cases.add(f"prod/{name}", lambda t: t.prod(axis), x, second=True)
        cases.add(f"argmax/{name}", lambda t: t.argmax(axis), x, gradients=False)
        cases.add(f"argmin/{name}", lambda t: t.argmin(axis), x, gradients=False)
# The product's gradient where one factor is zero, and where two are.
for zeros in (1, 2):
    x = draw("zeros", (3, 5))
    x[:, :zeros] = 0
    cases.add(f"prod/{zeros}_zeros", lambda t: t.prod(1), numpy.array(x))
cases.write(__file__)

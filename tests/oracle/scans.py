#!/usr/bin/env python3
"""Scans, sorts, quantiles and counts, by PyTorch in double, and NumPy where ties must keep their order."""
import numpy
import torch

from cases import Cases, draw, tensor_of

cases = Cases()
# Shape and axis: the forms of tests/test_oracle_scans.c, in order. The last two are longer than what is merged by one
# item, and what is walked by one.
FORMS = (((9,), 0), ((3, 6), 1), ((2, 5, 3), 1), ((4, 1), 1), ((2, 300), 1), ((4200,), 0))
SORTED, LONG = 4, 5


def way(function, axis, reverse=False, exclusive=None):
    """A scan backwards, and without the element itself: `exclusive` is then what stands before the first."""
    def scan(t):
        t = t.flip(axis) if reverse else t
        if exclusive is not None:
            first = torch.full_like(t.narrow(axis, 0, 1), exclusive)
            t = torch.cat([first, t.narrow(axis, 0, t.shape[axis] - 1)], axis)
        y = function(t, axis)
        return y.flip(axis) if reverse else y
    return scan


def indexed(function, axis, reverse):
    def scan(t):
        values, indices = function(t.flip(axis) if reverse else t, axis)
        return (values.flip(axis), t.shape[axis] - 1 - indices.flip(axis)) if reverse else (values, indices)
    return scan


for i, (shape, axis) in enumerate(FORMS):
    x = draw("x", shape)
    short = i < SORTED
    factors = draw("factors", shape, -2, 2) if short else draw("factors", shape, 0.999, 1.001)
    if short:
        factors.flat[::4] = 0  # one in most lines, two in some
    for reverse in (False, True):
        for exclusive in (False, True):
            name = f"{i}_{int(reverse)}{int(exclusive)}"
            if short or (i == LONG and reverse and exclusive):
                cases.add(f"cumsum/{name}", way(torch.cumsum, axis, reverse, 0 if exclusive else None), x, second=short)
            if short or (i == LONG and not reverse and not exclusive):
                cases.add(f"cumprod/{name}", way(torch.cumprod, axis, reverse, 1 if exclusive else None), factors,
                          second=short)
    if i == LONG:
        continue

    ties = numpy.round(draw("ties", shape) * 3) / 2
    for reverse in (False, True):
        cases.add(f"cummax/{i}_{int(reverse)}", indexed(torch.cummax, axis, reverse), ties, second=short)
        cases.add(f"cummin/{i}_{int(reverse)}", indexed(torch.cummin, axis, reverse), ties, second=short)
    for descending in (False, True):
        cases.add(f"sort/{i}_{int(descending)}",
                  lambda t: torch.sort(t, dim=axis, stable=True, descending=descending), ties, second=short)
    for k in (1, (shape[axis] + 1) // 2, shape[axis]):
        # The best in a stable order: NumPy's, of the negative ones.
        order = numpy.argsort(-ties.astype(numpy.float32), axis, kind="stable").take(range(k), axis)
        name = f"{i}_{k}"
        if f"top/{name}/output0" not in cases.entries:
            cases.add(f"top/{name}", lambda t: (t.gather(axis, torch.from_numpy(order)), torch.from_numpy(order)), ties)
            cases.add(f"bottom/{name}", lambda t: torch.topk(t, k, axis, largest=False), x)
    random = numpy.random.default_rng(i)
    for size in (shape[axis], 2 * shape[axis]):
        places = numpy.array(random.integers(0, size, shape), "int32")
        target = tuple(size if a == axis else n for a, n in enumerate(shape))
        cases.add(f"scatter/{i}_{size}",
                  lambda t, p: torch.zeros(target, dtype=t.dtype).scatter_add(axis, p.long(), t), x, places,
                  second=short)
        cases.add(f"gather/{i}_{size}", lambda t, p: t.gather(axis, p.long()), draw("from", target), places,
                  second=short)

RULES = ("linear", "lower", "higher", "nearest", "midpoint")
for i, (shape, axes) in enumerate((((7,), (0,)), ((3, 6), (0, 1)), ((4, 3, 5), (0, 2)), ((2, 3, 1), (1,)))):
    def lines(t):
        kept = [a for a in range(len(shape)) if a not in axes]
        return t.permute(kept + list(axes)).reshape([shape[a] for a in kept] + [-1])
    x = draw("quantiles", shape)
    for r, rule in enumerate(RULES):
        for q in (0, 0.25, 0.5, 0.8, 1):
            cases.add(f"quantile/{i}_{r}_{int(100 * q)}",
                      lambda t: torch.quantile(lines(t), q, dim=-1, interpolation=rule), x)
    median = numpy.median(tensor_of(x).numpy(), axes)
    cases.add(f"median/{i}", lambda t: torch.tensor(median), x, gradients=False)

for i, (shape, bins) in enumerate((((11,), 4), ((3, 50), 256), ((300,), 4200))):
    indices = numpy.array(numpy.random.default_rng(i).integers(0, bins, shape), "int32")
    cases.add(f"bincount/{i}", lambda k: torch.bincount(k.flatten(), minlength=bins), indices)
    cases.add(f"bincount/{i}_weights",
              lambda k, w: torch.zeros(bins, dtype=w.dtype).index_add(0, k.flatten(), w.flatten()),
              indices, draw("weights", shape), second=i == 0)
cases.write(__file__)

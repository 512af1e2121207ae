#!/usr/bin/env python3
"""Pooling, by PyTorch in double."""
import torch.nn.functional as F

from cases import Cases, draw, tensor_of

cases = Cases()
MAX = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
AVERAGE = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)
ADAPTIVE_MAX = (F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d)
ADAPTIVE_AVERAGE = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)
# Extents, window, stride, padding, dilation, ceil mode, bins: the forms of tests/test_oracle_pooling.c, in order.
FORMS = (
    ((9,), (2,), (2,), (0,), (1,), False, (4,)),
    ((9,), (3,), (2,), (1,), (2,), True, (9,)),
    ((7, 8), (2, 2), (2, 2), (0, 0), (1, 1), True, (3, 5)),
    ((7, 8), (3, 2), (1, 2), (1, 1), (1, 2), False, (1, 4)),
    ((6, 5), (3, 3), (2, 3), (1, 0), (1, 1), True, (7, 2)),
    ((4, 5, 3), (2, 3, 2), (2, 1, 2), (0, 1, 1), (1, 1, 1), True, (2, 2, 3)),
    ((3, 23), (3, 3), (2, 2), (1, 1), (1, 1), False, (2, 8)),
    ((2, 21), (2, 3), (2, 1), (0, 1), (1, 1), False, (2, 20)),
    ((2, 15), (2, 2), (2, 2), (0, 0), (1, 1), False, (1, 1)),
)
for i, (extents, window, stride, padding, dilation, ceil, bins) in enumerate(FORMS):
    rank = len(extents) - 1
    x = draw("x", (2, 3) + extents)
    cases.add(f"max/{i}", lambda t: MAX[rank](t, window, stride, padding, dilation, ceil, True), x, second=True)
    for counted in (0, 1):
        cases.add(f"average/{i}_{counted}",
                  lambda t: AVERAGE[rank](t, window, stride, padding, ceil, bool(counted)), x, second=True)
    cases.add(f"adaptive_max/{i}", lambda t: ADAPTIVE_MAX[rank](t, bins, True), x)
    cases.add(f"adaptive_average/{i}", lambda t: ADAPTIVE_AVERAGE[rank](t, bins), x)
    # The root is of averages times the window's size in PyTorch, so only whole windows have their norm.
    if rank < 2:
        lp = (F.lp_pool1d, F.lp_pool2d)[rank]
        kernel = window[0] if rank == 0 else window
        for p in (2, 3):
            cases.add(f"lp/{i}_{p}", lambda t: lp(t, p, kernel, stride[0] if rank == 0 else stride),
                      draw("positive", (2, 3) + extents, 0.1, 2), second=True)
x = draw("x", (2, 3, 7, 8))
_, places = F.max_pool2d(tensor_of(x), 2, return_indices=True)
cases.add("unpool", lambda t, k: F.max_unpool2d(t, k.long(), 2, output_size=(7, 8)),
          draw("y", tuple(places.shape)), places.numpy().astype("int32"), second=True)
cases.write(__file__)

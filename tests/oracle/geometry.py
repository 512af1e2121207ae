#!/usr/bin/env python3
"""Resizing, patches, pixel shuffle and sampling at grids, by PyTorch in double."""
import torch
import torch.nn.functional as F

from cases import Cases, draw

cases = Cases()
LINEAR = ("linear", "bilinear", "trilinear")
# Extents and what they become: the forms of tests/test_oracle_geometry.c, in order.
RESIZED = (((5,), (13,)), ((9,), (4,)), ((3,), (6,)), ((5, 4), (7, 9)), ((8, 7), (3, 1)), ((3, 5), (6, 10)),
           ((1, 6), (4, 5)), ((3, 4, 2), (5, 4, 7)), ((4, 3, 5), (2, 6, 3)))
for i, (extents, size) in enumerate(RESIZED):
    rank = len(extents) - 1
    x = draw("x", (2, 2) + extents)
    modes = ["nearest", "nearest-exact", LINEAR[rank]] + (["bicubic"] if rank == 1 else [])
    for mode in modes:
        for corners in (None,) if "nearest" in mode else (False, True):
            cases.add(f"resize/{i}/{mode}/{int(bool(corners))}",
                      lambda t: F.interpolate(t, size, mode=mode, align_corners=corners), x, second=True)

# Extents, window, stride, dilation, padding. PyTorch has two axes; in general a patch is what a convolution with one
# kernel per element of the window gives, and folding is that convolution transposed.
CONVOLUTION = (F.conv1d, F.conv2d, F.conv3d)
TRANSPOSED = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
PATCHES = (((9,), (3,), (2,), (1,), (1,)), ((5, 7), (2, 3), (1, 2), (2, 1), (1, 0)),
           ((6, 6), (3, 3), (3, 3), (1, 1), (0, 0)),
           ((3, 4, 5), (2, 2, 3), (1, 2, 1), (1, 1, 2), (1, 0, 2)))
for i, (extents, window, stride, dilation, padding) in enumerate(PATCHES):
    rank, channels, elements = len(extents), 2, 1
    for extent in window:
        elements *= extent
    kernels = torch.eye(channels * elements, dtype=torch.float64).reshape((channels * elements, channels) + window)
    x = draw("x", (2, channels) + extents)
    unfold = lambda t: CONVOLUTION[rank - 1](t, kernels, None, stride, padding, dilation).flatten(2)
    if rank == 2:
        unfold = lambda t: F.unfold(t, window, dilation, padding, stride)
    cases.add(f"unfold/{i}", unfold, x)
    places = CONVOLUTION[rank - 1](torch.zeros(x.shape, dtype=torch.float64), kernels, None, stride, padding, dilation)
    covered = [(n - 1) * s - 2 * p + d * (k - 1) + 1
               for n, k, s, d, p in zip(places.shape[2:], window, stride, dilation, padding)]
    left = tuple(e - c for e, c in zip(extents, covered))
    fold = lambda t: TRANSPOSED[rank - 1](t.reshape(places.shape), kernels, None, stride, padding, left, 1, dilation)
    if rank == 2:
        fold = lambda t: F.fold(t, extents, window, dilation, padding, stride)
    cases.add(f"fold/{i}", fold, draw("patches", (2, channels * elements, places[0, 0].numel())))

# By PyTorch along two axes; along others by reshaping, in Shi et al.'s order.
x = draw("x", (2, 12, 3, 2))
cases.add("shuffle/2d", lambda t: F.pixel_shuffle(t, 2), x)
cases.add("unshuffle/2d", lambda t: F.pixel_unshuffle(t, 2), draw("x", (2, 3, 4, 6)))
cases.add("shuffle/1d", lambda t: t.reshape(2, 2, 3, 4).permute(0, 1, 3, 2).reshape(2, 2, 12), draw("x", (2, 6, 4)))
cases.add("shuffle/3d", lambda t: t.reshape(1, 2, 2, 1, 3, 2, 2, 2).permute(0, 1, 5, 2, 6, 3, 7, 4)
          .reshape(1, 2, 4, 2, 6), draw("x", (1, 12, 2, 2, 2)))

# Grids that leave the image on all sides; with corners aligned or not. PyTorch differentiates samples twice in two axes
# but for cubic ones, and not in three.
LATTICES = {2: ((2, 3, 4, 5), (3, 4)), 3: ((2, 2, 3, 4, 2), (2, 3, 2))}
for rank, mode, padding in ((2, "bilinear", "zeros"), (2, "bilinear", "border"), (2, "bilinear", "reflection"),
                            (2, "nearest", "border"), (2, "bicubic", "zeros"), (2, "bicubic", "reflection"),
                            (3, "bilinear", "zeros"), (3, "bilinear", "reflection"), (3, "nearest", "border")):
    shape, points = LATTICES[rank]
    for corners in (0, 1):
        cases.add(f"sample/{rank}/{mode}/{padding}/{corners}",
                  lambda t, g: F.grid_sample(t, g, mode, padding, bool(corners)),
                  draw("x", shape), draw("grid", shape[:1] + points + (rank,), -1.6, 1.6))
for rank, (_, points) in LATTICES.items():
    for corners in (0, 1):
        cases.add(f"affine/{rank}/{corners}", lambda t: F.affine_grid(t, (2, 1) + points, bool(corners)),
                  draw("theta", (2, rank, rank + 1)))


def sampled(x, grid, corners):
    """Bilinear samples among zeros, written out, so that they can be differentiated twice."""
    height, width = x.shape[2:]
    size = torch.tensor([width, height], dtype=torch.float64)
    place = (grid + 1) / 2 * (size - 1) if corners else ((grid + 1) * size - 1) / 2
    low = place.detach().floor()
    beyond = place - low
    total = 0
    for row in (0, 1):
        for column in (0, 1):
            at = (low + torch.tensor([column, row])).long()
            inside = ((at >= 0) & (at < size.long())).all(-1)
            across, down = at[..., 0].clamp(0, width - 1), at[..., 1].clamp(0, height - 1)
            value = x[torch.arange(len(x))[:, None, None], :, down, across].permute(0, 3, 1, 2)
            weight = inside * (beyond[..., 0] if column else 1 - beyond[..., 0])
            weight = weight * (beyond[..., 1] if row else 1 - beyond[..., 1])
            total = total + value * weight[:, None]
    return total


x, grid = draw("x", (2, 3, 4, 5)), draw("grid", (2, 3, 4, 2), -1.6, 1.6)
for corners in (0, 1):
    assert torch.allclose(sampled(torch.tensor(x), torch.tensor(grid), corners),
                          F.grid_sample(torch.tensor(x), torch.tensor(grid), align_corners=bool(corners)))
    cases.add(f"twice/{corners}", lambda t, g: sampled(t, g, corners), x, grid, second=True)
cases.write(__file__)

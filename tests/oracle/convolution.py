#!/usr/bin/env python3
"""Convolutions and transposed convolutions along one to three axes, by PyTorch in double. Keras's SAME padding, where
PyTorch has none, is padding put around the input first.

Case names list what the C side cannot read from the shapes: stride, dilation, padding before and after, groups."""
import torch
from torch.nn import functional

from cases import Cases, draw

CONVOLVE = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
TRANSPOSED = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}
cases = Cases()


def padded(x, before, after):
    """Zeros around the spatial axes; the last axis comes first in PyTorch's list."""
    amounts = [n for pair in reversed(list(zip(before, after))) for n in pair]
    return functional.pad(x, amounts)


def convolution(name, x, kernel, stride, dilation, before, after, groups=1, second=False):
    rank = len(stride)
    cases.add(f"convolution/{name}",
              lambda a, w: CONVOLVE[rank](padded(a, before, after), w, None, stride, 0, dilation, groups),
              draw(f"x {name}", x), draw(f"kernel {name}", kernel), second=second)


def transposed(name, x, kernel, stride, dilation, before, extra, groups=1):
    rank = len(stride)
    cases.add(f"transposed/{name}",
              lambda a, w: TRANSPOSED[rank](a, w, None, stride, before, extra, groups, dilation),
              draw(f"x {name}", x), draw(f"kernel {name}", kernel))


def same(size, extent, stride, dilation):
    """Keras's padding before and after."""
    count = -(-size // stride)
    total = max((count - 1) * stride + (extent - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


convolution("1d", (2, 3, 11), (4, 3, 3), (1,), (1,), (0,), (0,), second=True)
convolution("1d_stride", (2, 3, 11), (4, 3, 4), (3,), (1,), (2,), (1,))
convolution("1d_dilated", (1, 2, 13), (3, 2, 3), (1,), (4,), (3,), (5,))
convolution("1d_stride_dilated", (2, 2, 14), (2, 2, 3), (2,), (3,), (1,), (2,))
convolution("1d_groups", (2, 6, 9), (4, 3, 3), (2,), (1,), (1,), (1,), 2)
convolution("1d_pointwise", (3, 5, 7), (2, 5, 1), (1,), (1,), (0,), (0,))
convolution("1d_large_stride", (2, 2, 17), (3, 2, 2), (5,), (1,), (0,), (0,))
convolution("2d", (2, 3, 6, 7), (5, 3, 3, 3), (1, 1), (1, 1), (1, 1), (1, 1), second=True)
convolution("2d_valid", (2, 3, 6, 7), (5, 3, 5, 2), (1, 1), (1, 1), (0, 0), (0, 0))
convolution("2d_stride", (2, 3, 7, 8), (4, 3, 3, 3), (2, 2), (1, 1), (1, 1), (1, 1))
convolution("2d_uneven", (1, 2, 9, 7), (3, 2, 3, 4), (3, 2), (1, 1), (2, 0), (0, 3))
convolution("2d_dilated", (2, 2, 9, 8), (3, 2, 3, 2), (1, 1), (2, 3), (2, 1), (2, 2))
convolution("2d_stride_dilated", (1, 2, 11, 10), (2, 2, 3, 3), (2, 1), (2, 2), (1, 2), (1, 2))
convolution("2d_groups", (2, 6, 5, 6), (9, 2, 3, 3), (1, 1), (1, 1), (1, 1), (1, 1), 3)
convolution("2d_depthwise", (2, 5, 7, 9), (5, 1, 3, 3), (1, 1), (1, 1), (1, 1), (1, 1), 5, second=True)
convolution("2d_depthwise_stride", (2, 4, 8, 9), (4, 1, 3, 3), (2, 2), (1, 1), (1, 1), (1, 1), 4)
convolution("2d_multiplied", (1, 3, 6, 6), (6, 1, 3, 3), (2, 1), (1, 1), (0, 1), (1, 1), 3)
convolution("2d_pointwise", (2, 7, 4, 5), (3, 7, 1, 1), (1, 1), (1, 1), (0, 0), (0, 0))
convolution("2d_pointwise_stride", (2, 4, 7, 5), (3, 4, 1, 1), (2, 2), (1, 1), (0, 0), (0, 0))
convolution("2d_wide", (1, 3, 5, 70), (17, 3, 3, 3), (1, 1), (1, 1), (1, 1), (1, 1))
convolution("2d_7x7", (1, 3, 17, 19), (4, 3, 7, 7), (2, 2), (1, 1), (3, 3), (3, 3))
convolution("3d", (2, 2, 4, 5, 6), (3, 2, 3, 2, 3), (1, 1, 1), (1, 1, 1), (1, 0, 1), (1, 0, 1))
convolution("3d_stride", (1, 2, 6, 5, 7), (2, 2, 3, 3, 3), (2, 2, 2), (1, 1, 1), (1, 1, 1), (1, 1, 1))
convolution("3d_groups", (1, 4, 4, 4, 5), (4, 2, 2, 2, 2), (1, 2, 1), (2, 1, 1), (0, 1, 0), (1, 0, 0), 2)
convolution("3d_depthwise", (1, 3, 4, 5, 4), (3, 1, 3, 3, 3), (1, 1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1), 3)
for sizes, extents, stride, dilation in (((9,), (4,), (1,), (1,)), ((8, 7), (3, 4), (2, 3), (1, 1)),
                                         ((7, 9), (2, 3), (1, 1), (3, 2)), ((6, 5), (3, 3), (2, 2), (1, 1)),
                                         ((5, 4, 6), (2, 3, 3), (2, 1, 2), (1, 1, 1))):
    ends = [same(*numbers) for numbers in zip(sizes, extents, stride, dilation)]
    convolution("same_" + "x".join(map(str, sizes)), (2, 2, *sizes), (3, 2, *extents), stride, dilation,
                [e[0] for e in ends], [e[1] for e in ends])

transposed("1d", (2, 3, 5), (3, 4, 4), (2,), (1,), (1,), (0,))
transposed("1d_extra", (1, 2, 6), (2, 3, 3), (3,), (1,), (1,), (2,))
transposed("1d_dilated", (2, 2, 5), (2, 2, 3), (2,), (3,), (2,), (1,))
transposed("2d", (2, 4, 5, 4), (4, 3, 3, 3), (2, 2), (1, 1), (1, 1), (1, 1))
transposed("2d_uneven", (1, 2, 4, 5), (2, 3, 4, 2), (3, 1), (1, 2), (0, 1), (0, 0))
transposed("2d_groups", (2, 4, 4, 3), (4, 3, 2, 2), (2, 2), (1, 1), (0, 0), (0, 0), 2)
transposed("3d", (1, 2, 3, 3, 2), (2, 2, 2, 3, 2), (2, 1, 2), (1, 1, 1), (0, 1, 0), (0, 0, 1))
cases.write(__file__)

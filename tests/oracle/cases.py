"""What the oracle scripts share: cases computed in double by another library, written to a safetensors file that the
tests compare with.

A script adds cases to a `Cases` and writes them beside itself; it runs with Debian's python3-torch:

    /usr/bin/python3 tests/oracle/reductions.py

Nothing here is needed to build or to test the library: the files that the scripts write are kept. Entries of a case:
CASE/input0, ..., floating ones as f32, so that f32 and f64 start from the same numbers; CASE/output0, ... in f64;
CASE/cotangent0, ..., one per floating output, and CASE/gradient0, ..., one per input that has one. Where second
derivatives are asked for: CASE/direction0, ... and CASE/second0, ..., the gradient of sum_i <gradient i, direction i>.
"""
import json
import pathlib
import struct
import zlib

import numpy
import torch

DTYPES = {"float32": "F32", "float64": "F64", "int32": "I32", "uint8": "U8", "bool": "BOOL"}


class Cases:
    def __init__(self):
        self.entries = {}

    def add(self, name, function, *inputs, gradients=True, second=False):
        """Calls `function` with a tensor per input (floating ones in double) and keeps what it returns: a tensor or a
        tuple of them. Without `gradients`, values only."""
        random = numpy.random.default_rng(zlib.crc32(name.encode()))
        tensors = [tensor_of(x) for x in inputs]
        differentiable = [t for t in tensors if gradients and t.is_floating_point()]
        for t in differentiable:
            t.requires_grad_(True)
        outputs = function(*tensors)
        outputs = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
        self._keep(name, "input", [t.detach().to(torch.float32) if t.is_floating_point() else t for t in tensors])
        self._keep(name, "output", outputs)
        if not differentiable:
            return
        smooth = [o for o in outputs if o.requires_grad]
        cotangents = [tensor_of(draw_from(random, tuple(o.shape))) for o in smooth]
        first = torch.autograd.grad(smooth, differentiable, cotangents, create_graph=second)
        self._keep(name, "cotangent", [c.to(torch.float32) for c in cotangents])
        self._keep(name, "gradient", first)
        if second:
            self._keep_second(name, first, differentiable, random)

    def _keep_second(self, name, first, inputs, random):
        directions = [tensor_of(draw_from(random, tuple(g.shape))) for g in first]
        total = sum((g * d).sum() for g, d in zip(first, directions))
        second = torch.autograd.grad(total, inputs, allow_unused=True) if total.requires_grad else [None] * len(inputs)
        self._keep(name, "direction", [d.to(torch.float32) for d in directions])
        self._keep(name, "second", [torch.zeros_like(x) if s is None else s for s, x in zip(second, inputs)])

    def _keep(self, name, what, tensors):
        for i, t in enumerate(tensors):
            array = numpy.ascontiguousarray(t.detach().numpy()).reshape(tuple(t.shape))
            array = array.astype(numpy.int32) if array.dtype == numpy.int64 else array
            assert not (array.dtype.kind == "f" and numpy.isnan(array).any() and what != "output"), (name, what)
            assert f"{name}/{what}{i}" not in self.entries, name
            self.entries[f"{name}/{what}{i}"] = array

    def write(self, script):
        """Writes SCRIPT's name with .safetensors, entries of larger elements first, so that all are aligned."""
        header, offset, data = {}, 0, []
        for name, array in sorted(self.entries.items(), key=lambda entry: -entry[1].itemsize):
            header[name] = {"dtype": DTYPES[str(array.dtype)], "shape": list(array.shape),
                            "data_offsets": [offset, offset + array.nbytes]}
            offset += array.nbytes
            data.append(array.tobytes())
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        path = pathlib.Path(script).with_suffix(".safetensors")
        temporary = path.with_suffix(".new")
        temporary.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data))
        temporary.replace(path)
        print(f"{path.name}: {sum(n.endswith('/output0') for n in header)} cases, {path.stat().st_size} bytes")


def tensor_of(x):
    """Floating numbers as f32 has them, in double; others as they are."""
    array = numpy.asarray(x)
    if array.dtype.kind == "f":
        return torch.from_numpy(array.astype(numpy.float32).astype(numpy.float64))
    return torch.from_numpy(array)


def draw_from(random, shape, low=-1.0, high=1.0):
    return random.uniform(low, high, shape)


def draw(name, shape, low=-1.0, high=1.0):
    """Numbers for an input: the same for the same name and shape, whatever else a script draws."""
    return draw_from(numpy.random.default_rng(zlib.crc32(f"{name} {shape}".encode())), shape, low, high)

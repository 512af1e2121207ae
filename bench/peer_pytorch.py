#!/usr/bin/env python3
"""PyTorch's side of the comparison: training steps, and ops with inputs that take turns and results that are kept as
long as clgrad's are. On the CPU, where each case runs on one thread or on all, whichever is faster; or on the device
that is given as an argument."""
import itertools
import math
import os
import statistics
import sys

import peer_work
import torch
from torch.nn import functional

SETS_BYTES = 256 << 20
DEVICE = sys.argv[1] if len(sys.argv) > 1 else "cpu"

CHAIN = [lambda x: x + 0.5, lambda x: x * 0.75, lambda x: x.clamp(min=0.125), torch.sqrt, lambda x: x - 0.25, torch.neg,
         lambda x: x.clamp(max=0.5), torch.abs, torch.square, lambda x: x * 0.5 + 0.25]


def chain_of(count):
    def run(x):
        for link in CHAIN[:count]:
            x = link(x)
        return x
    return run


def reduction(function, words):
    """Over one axis, or over all elements."""
    axes = [int(word[5:]) for word in words if word.startswith("axis=")]
    return lambda x: function(x, tuple(axes) or tuple(range(x.dim())))


def scan(name, words):
    """Along one axis, or the last."""
    axis = next((int(word[5:]) for word in words if word.startswith("axis=")), -1)
    return {"cumsum": lambda x: torch.cumsum(x, axis), "sort": lambda x: torch.sort(x, dim=axis, stable=True).values,
            "topk": lambda x: torch.topk(x, 10, axis).values}[name]


def normalization(name, columns):
    gain, offset = torch.rand(columns), torch.rand(columns)
    if name == "layer_norm":
        return lambda x: functional.layer_norm(x, (columns,), gain, offset, 1e-3)
    return lambda x: functional.batch_norm(x, None, None, gain, offset, True, 0.01, 1e-3)


def op_of(name, extents, words):
    """The function of one tensor that a case stands for."""
    if name == "elementwise":
        return chain_of(int(words[0][4:]))
    if name in ("sum", "max"):
        return reduction(torch.sum if name == "sum" else torch.amax, words)
    if name in ("cumsum", "sort", "topk"):
        return scan(name, words)
    if name in ("layer_norm", "batch_norm"):
        return normalization(name, extents[-1])
    return {"exp": torch.exp, "tanh": torch.tanh, "erf": torch.erf, "softmax": lambda x: torch.softmax(x, -1)}[name]


def prepare_training_norm(name, shape):
    """The output and the gradients in the input, the gain and the offset."""
    extents = [int(extent) for extent in shape.split()[0].split("x")]
    groups = int(shape.partition("groups=")[2] or 1)
    features = extents[-1 if name == "layer_norm_train" else 1]
    apply = {"batch_norm_train": lambda x, w, b: functional.batch_norm(x, None, None, w, b, True, 0.01, 1e-3),
             "group_norm_train": lambda x, w, b: functional.group_norm(x, groups, w, b, 1e-3),
             "layer_norm_train": lambda x, w, b: functional.layer_norm(x, (features,), w, b, 1e-3)}[name]

    def run(x, gain, offset, cotangent):
        with torch.enable_grad():
            output = apply(x, gain, offset)
            return output.detach(), torch.autograd.grad(output, (x, gain, offset), cotangent)
    inputs = [[torch.rand(size, requires_grad=True) for size in (extents, features, features)] + [torch.rand(extents)]
              for _ in range(sets_for(4 * math.prod(extents)))]
    return take_turns(inputs, run)


def prepare_op(name, shape):
    extents = [int(extent) for extent in shape.split()[0].split("x")]
    run = op_of(name, extents, shape.split()[1:])
    count = sets_for(2 * math.prod(extents))
    return take_turns([(torch.rand(extents) * 2 - 1,) for _ in range(count)], run)


def take_turns(inputs, run):
    """Runs on each of the inputs in turn, and keeps as many results."""
    results, turns = [None] * len(inputs), itertools.cycle(range(len(inputs)))

    def repeat():
        turn = next(turns)
        results[turn] = None
        with torch.no_grad():
            results[turn] = run(*inputs[turn])
    return repeat, 1


def sets_for(size):
    return 4 if 4 * 4 * size < SETS_BYTES else 2


def prepare_convolution(name, shape):
    """Forward, or the gradient in the input (data) or in the kernel."""
    words = dict(word.split("=") for word in shape.split()[1:])
    batch, channels, height, width, outputs, *extent = (int(n) for n in shape.split()[0].split("x"))
    stride, padding, groups = (int(words.get(key, default)) for key, default in
                               (("stride", 1), ("padding", 0), ("groups", 1)))
    places = [(size + 2 * padding - k) // stride + 1 for size, k in zip((height, width), extent)]
    shapes = [(batch, channels, height, width), (outputs, channels // groups, *extent), (batch, outputs, *places)]
    inputs = [[torch.rand(shape) * 2 - 1 for shape in shapes] for _ in range(sets_for(sum(map(math.prod, shapes))))]

    def forward(x, kernel, _):
        return functional.conv2d(x, kernel, None, stride, padding, 1, groups)

    def backward(x, kernel, cotangent):
        return torch.ops.aten.convolution_backward(cotangent, x, kernel, None, [stride] * 2, [padding] * 2, [1, 1],
                                                   False, [0, 0], groups, [name == "data", name == "kernel", False])
    return take_turns(inputs, forward if name == "forward" else backward)


def network_of(step):
    layers, widths = [], step["widths"]
    for index, (inputs, outputs) in enumerate(zip(widths, widths[1:])):
        layers.append(torch.nn.Linear(inputs, outputs))
        if index == len(widths) - 2:
            break
        if step.get("normalized"):
            layers += [torch.nn.BatchNorm1d(outputs, eps=1e-3, momentum=0.01), torch.nn.ReLU(), torch.nn.Dropout(0.2)]
        else:
            layers.append(torch.nn.ReLU())
    if step.get("sigmoid"):
        layers.append(torch.nn.Sigmoid())
    return torch.nn.Sequential(*layers)


def conv_norm(inputs, outputs, extent=3, stride=1, groups=1):
    """A convolution that keeps the picture's size, or halves it, and batch norm."""
    return torch.nn.Sequential(torch.nn.Conv2d(inputs, outputs, extent, stride, extent // 2, groups=groups),
                               torch.nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01))


class ResidualBlock(torch.nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first, self.second = conv_norm(inputs, outputs, stride=stride), conv_norm(outputs, outputs)
        self.shortcut = conv_norm(inputs, outputs, 1, stride) if stride > 1 else torch.nn.Identity()

    def forward(self, x):
        return functional.relu(self.second(functional.relu(self.first(x))) + self.shortcut(x))


def unet_block(inputs, outputs):
    layers = []
    for channels in (inputs, outputs):
        layers += [torch.nn.Conv3d(channels, outputs, 3, padding=1), torch.nn.GroupNorm(8, outputs, eps=1e-3),
                   torch.nn.ReLU()]
    return torch.nn.Sequential(*layers)


class UNet3d(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.down = torch.nn.ModuleList([unet_block(1, 16), unet_block(16, 32)])
        self.bottom = unet_block(32, 64)
        self.grow = torch.nn.ModuleList([torch.nn.ConvTranspose3d(2 * n, n, 2, 2) for n in (16, 32)])
        self.up = torch.nn.ModuleList([unet_block(2 * n, n) for n in (16, 32)])
        self.last = torch.nn.Conv3d(16, 2, 1)

    def forward(self, x):
        level = []
        for block in self.down:
            level.append(block(x))
            x = functional.max_pool3d(level[-1], 2)
        x = self.bottom(x)
        for i in (1, 0):
            x = self.up[i](torch.cat([level[i], self.grow[i](x)], 1))
        return self.last(x)


def image_network(name):
    """What cli/bench_networks.c has under that name."""
    relu, pool, flat = torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Flatten()
    if name == "lenet":
        convs = [torch.nn.Conv2d(1, 32, 5, padding=2), relu, pool, torch.nn.Conv2d(32, 64, 5, padding=2), relu, pool]
        return torch.nn.Sequential(*convs, flat, torch.nn.Linear(3136, 512), relu, torch.nn.Linear(512, 10))
    if name == "convbn":
        return torch.nn.Sequential(*itertools.chain(*((conv_norm(n, 64), relu) for n in (3, 64, 64, 64))))
    if name == "resnet20":
        shapes = [(16, 16, 1)] * 3 + [(16, 32, 2)] + [(32, 32, 1)] * 2 + [(32, 64, 2)] + [(64, 64, 1)] * 2
        blocks = [ResidualBlock(*shape) for shape in shapes]
        return torch.nn.Sequential(conv_norm(3, 16), relu, *blocks, torch.nn.AdaptiveAvgPool2d(1), flat,
                                   torch.nn.Linear(64, 10))
    if name == "unet3d":
        return UNet3d()
    return torch.nn.Sequential(conv_norm(32, 32, groups=32), relu, conv_norm(32, 64, 1), relu)


def example_of(step):
    """An input, and the targets that a loss may want."""
    if "example" in step:
        return torch.rand(step["batch"], *step["example"]), peer_work.classes_of(step)
    return torch.rand(step["batch"], step["widths"][0]), peer_work.classes_of(step)


def loss_function(step, x, classes):
    """The loss of the network's result."""
    if step["loss"] == "mean_square":
        return lambda result: result.square().mean()
    if step["loss"] == "cross_entropy":
        labels = torch.randint(0, classes, (step["batch"],))
        return lambda result: functional.cross_entropy(result, labels)
    target = x if step["loss"] == "reconstruction" else torch.rand(step["batch"], classes)
    return lambda result: functional.mse_loss(result, target)


def prepare_step(name):
    torch.manual_seed(0)
    step = peer_work.TRAINING_STEPS[name]
    network = image_network(name) if "example" in step else network_of(step)
    optimizer = torch.optim.Adam(network.parameters(), lr=peer_work.LEARNING_RATE,
                                 betas=(peer_work.BETA1, peer_work.BETA2), eps=peer_work.DELTA)
    kernels = [layer.weight for layer in network.modules() if isinstance(layer, torch.nn.Linear)]
    penalty = step.get("penalty")
    x, classes = example_of(step)
    loss_of = loss_function(step, x, classes)

    def repeat():
        for _ in range(peer_work.STEPS):
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(network(x))
            if penalty:
                loss = loss + penalty * sum(w.abs().sum() + w.square().sum() for w in kernels)
            loss.backward()
            optimizer.step()
        loss.item()
    return repeat, peer_work.STEPS


def wait():
    """Until the device has done what was asked of it."""
    if DEVICE != "cpu":
        torch.cuda.synchronize()  # AMD's devices are called so too


def faster_threads(repeat):
    """Small work may be faster on one thread: the peer gets whichever number suits it better."""
    seconds = {}
    for threads in {1, os.cpu_count()}:
        torch.set_num_threads(threads)
        seconds[threads] = statistics.median(peer_work.sample(repeat, wait))
    return min(seconds, key=seconds.get)


def main():
    threads = {}
    if DEVICE != "cpu":
        torch.set_default_device(DEVICE)
        torch.backends.cudnn.allow_tf32 = False  # both sides compute in f32

    def measure(name, shape):
        if name in peer_work.TRAINING_STEPS:
            repeat, steps = prepare_step(name)
        elif name in ("forward", "data", "kernel"):
            repeat, steps = prepare_convolution(name, shape)
        elif name.endswith("_norm_train"):
            repeat, steps = prepare_training_norm(name, shape)
        else:
            repeat, steps = prepare_op(name, shape)
        if DEVICE == "cpu" and (name, shape) not in threads:
            threads[name, shape] = faster_threads(repeat)
        torch.set_num_threads(threads.get((name, shape), 1))
        return peer_work.answer(peer_work.sample(repeat, wait), steps)
    peer_work.serve(torch.__version__, measure)


if __name__ == "__main__":
    main()

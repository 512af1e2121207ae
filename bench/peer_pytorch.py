#!/usr/bin/env python3
"""PyTorch's side of the comparison, on the CPU: training steps, and ops with inputs that take turns and results that
are kept as long as clgrad's are. Each case runs on one thread or on all, whichever is faster."""
import itertools
import os
import statistics

import peer_work
import torch
from torch.nn import functional

SETS_BYTES = 256 << 20

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
    if name in ("layer_norm", "batch_norm"):
        return normalization(name, extents[-1])
    return {"exp": torch.exp, "tanh": torch.tanh, "erf": torch.erf, "softmax": lambda x: torch.softmax(x, -1)}[name]


def prepare_op(name, shape):
    extents = [int(extent) for extent in shape.split()[0].split("x")]
    run = op_of(name, extents, shape.split()[1:])
    first = torch.rand(extents) * 2 - 1
    bytes_of_set = 2 * first.numel() * first.element_size()
    sets = 4 if 4 * bytes_of_set < SETS_BYTES else 2
    inputs = [first] + [torch.rand(extents) * 2 - 1 for _ in range(sets - 1)]
    results, turns = [None] * sets, itertools.cycle(range(sets))

    def repeat():
        turn = next(turns)
        results[turn] = None
        with torch.no_grad():
            results[turn] = run(inputs[turn])
    return repeat, 1


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


def convolutional_of(step):
    """Convolutions that keep the picture's side, then dense layers: pairs of outputs and extent (0: dense)."""
    layers, inputs, side = [], step["channels"], step["side"]
    for index, (outputs, extent) in enumerate(step["layers"]):
        if extent:
            layers.append(torch.nn.Conv2d(inputs, outputs, extent, padding=extent // 2))
        else:
            if side:
                layers.append(torch.nn.Flatten())
                inputs, side = inputs * side * side, 0
            layers.append(torch.nn.Linear(inputs, outputs))
        inputs = outputs
        if index == len(step["layers"]) - 1 and not step.get("activated"):
            break
        if step.get("normalized"):
            layers.append(torch.nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01))
        layers.append(torch.nn.ReLU())
        if step.get("pooled") and extent:
            layers.append(torch.nn.MaxPool2d(2))
            side //= 2
    return torch.nn.Sequential(*layers)


def example_of(step):
    """An input, and the targets that a loss may want."""
    if "layers" in step:
        classes = step["layers"][-1][0]
        return torch.rand(step["batch"], step["channels"], step["side"], step["side"]), classes
    return torch.rand(step["batch"], step["widths"][0]), step["widths"][-1]


def loss_function(step, x, classes):
    """The loss of the network's result."""
    if step["loss"] == "mean_square":
        return lambda result: result.square().mean()
    if step["loss"] == "cross_entropy":
        labels = torch.randint(0, classes, (step["batch"],))
        return lambda result: functional.cross_entropy(result, labels)
    target = x if step["loss"] == "reconstruction" else torch.rand(step["batch"], classes)
    return lambda result: functional.mse_loss(result, target)


def prepare_step(step):
    torch.manual_seed(0)
    network = convolutional_of(step) if "layers" in step else network_of(step)
    optimizer = torch.optim.Adam(network.parameters(), lr=peer_work.LEARNING_RATE,
                                 betas=(peer_work.BETA1, peer_work.BETA2), eps=peer_work.DELTA)
    kernels = [layer.weight for layer in network if isinstance(layer, torch.nn.Linear)]
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


def faster_threads(repeat):
    """Small work may be faster on one thread: the peer gets whichever number suits it better."""
    seconds = {}
    for threads in {1, os.cpu_count()}:
        torch.set_num_threads(threads)
        seconds[threads] = statistics.median(peer_work.sample(repeat, lambda: None))
    return min(seconds, key=seconds.get)


def main():
    threads = {}

    def measure(name, shape):
        if name in peer_work.TRAINING_STEPS:
            repeat, steps = prepare_step(peer_work.TRAINING_STEPS[name])
        else:
            repeat, steps = prepare_op(name, shape)
        if (name, shape) not in threads:
            threads[name, shape] = faster_threads(repeat)
        torch.set_num_threads(threads[name, shape])
        return peer_work.answer(peer_work.sample(repeat, lambda: None), steps)
    peer_work.serve(torch.__version__, measure)


if __name__ == "__main__":
    main()

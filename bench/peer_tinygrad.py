#!/usr/bin/env python3
"""tinygrad's side of the comparison, on OpenCL, as clgrad is: training steps, recorded once by its JIT and replayed."""
import importlib.metadata
import os

os.environ.setdefault("DEV", "CL")

# The import comes after the choice of the device.
# pylint: disable=wrong-import-position
import peer_networks
import peer_work
from tinygrad import Context, Tensor, TinyJit, nn


EPSILON, MOMENTUM = 1e-3, 0.01


class Layers:
    """Makes layers when the forward pass first comes to them, and calls them in turn afterwards."""

    def __init__(self):
        self.made, self.next = [], 0

    def call(self, make, x):
        if self.next == len(self.made):
            self.made.append(make())
        self.next += 1
        return self.made[self.next - 1](x)

    def run(self, network, x):
        self.next = 0
        return peer_networks.NETWORKS[network](self, x)

    def conv(self, x, outputs, extent, stride=1, groups=1):
        return self.call(lambda: nn.Conv2d(x.shape[1], outputs, (extent,) * (x.ndim - 2), stride, extent // 2,
                                           groups=groups), x)

    def up_conv(self, x, outputs):
        return self.call(lambda: nn.ConvTranspose2d(x.shape[1], outputs, (2,) * (x.ndim - 2), 2), x)

    def dense(self, x, outputs):
        return self.call(lambda: nn.Linear(x.shape[1], outputs), x)

    def batch_norm(self, x):
        return self.call(lambda: nn.BatchNorm(x.shape[1], eps=EPSILON, momentum=MOMENTUM), x)

    def group_norm(self, x, groups):
        return self.call(lambda: nn.GroupNorm(groups, x.shape[1], eps=EPSILON), x)

    @staticmethod
    def relu(x):
        return x.relu()

    @staticmethod
    def max_pool(x):
        return x.max_pool2d((2,) * (x.ndim - 2))

    @staticmethod
    def global_average(x):
        return x.mean(tuple(range(2, x.ndim)))

    @staticmethod
    def flatten(x):
        return x.flatten(1)

    @staticmethod
    def concat(a, b):
        return a.cat(b, dim=1)


def layers_of(step):
    if "network" in step:
        layers = Layers()
        layers.run(step["network"], Tensor.zeros(step["batch"], *step["example"]))
        return layers, layers.made
    widths = step["widths"]
    dense = [nn.Linear(inputs, outputs) for inputs, outputs in zip(widths, widths[1:])]
    norms = []
    if step.get("normalized"):
        norms = [nn.BatchNorm(width, eps=EPSILON, momentum=MOMENTUM) for width in widths[1:-1]]
    return dense, norms


def forward(step, dense, norms, x):
    if "network" in step:
        return dense.run(step["network"], x)
    for index, layer in enumerate(dense):
        x = layer(x)
        if index == len(dense) - 1:
            break
        x = norms[index](x).relu().dropout(0.2) if norms else x.relu()
    return x.sigmoid() if step.get("sigmoid") else x


def objective(step, dense, norms, x, target):
    result = forward(step, dense, norms, x)
    if step["loss"] == "cross_entropy":
        loss = result.sparse_categorical_crossentropy(target)
    elif step["loss"] == "mean_square":
        loss = result.square().mean()
    else:
        loss = (result - target).square().mean()
    if step.get("penalty"):
        for layer in dense:
            loss = loss + step["penalty"] * (layer.weight.abs().sum() + layer.weight.square().sum())
    return loss


def prepare(step):
    Tensor.manual_seed(0)
    dense, norms = layers_of(step)
    parameters = nn.state.get_parameters(norms if "network" in step else [dense, norms])
    optimizer = nn.optim.Adam(parameters, lr=peer_work.LEARNING_RATE, b1=peer_work.BETA1, b2=peer_work.BETA2,
                              eps=peer_work.DELTA)
    shape = step["example"] if "network" in step else step["widths"][:1]
    x = Tensor.rand(step["batch"], *shape).realize()
    classes = peer_work.classes_of(step)
    targets = {"cross_entropy": lambda: Tensor.randint(step["batch"], low=0, high=classes).realize(),
               "squared_error": lambda: Tensor.rand(step["batch"], step["widths"][-1]).realize(),
               "reconstruction": lambda: x, "mean_square": lambda: None}
    target = targets[step["loss"]]()

    @TinyJit
    def train():
        optimizer.zero_grad()
        loss = objective(step, dense, norms, x, target).backward()
        optimizer.step()
        return loss.realize()

    def repeat(steps):
        with Context(TRAINING=1):
            for _ in range(steps):
                loss = train()
        loss.item()
    return repeat


if __name__ == "__main__":
    peer_work.serve_training(importlib.metadata.version("tinygrad"), prepare)

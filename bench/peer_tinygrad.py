#!/usr/bin/env python3
"""tinygrad's side of the comparison, on OpenCL, as clgrad is: training steps, recorded once by its JIT and replayed."""
import importlib.metadata
import os

os.environ.setdefault("DEV", "CL")

# The import comes after the choice of the device.
# pylint: disable=wrong-import-position
import peer_work
from tinygrad import Context, Tensor, TinyJit, nn


def layers_of(step):
    widths = step["widths"]
    dense = [nn.Linear(inputs, outputs) for inputs, outputs in zip(widths, widths[1:])]
    norms = [nn.BatchNorm(width, eps=1e-3, momentum=0.01) for width in widths[1:-1]] if step.get("normalized") else []
    return dense, norms


def forward(step, dense, norms, x):
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
    else:
        loss = (result - target).square().mean()
    if step.get("penalty"):
        for layer in dense:
            loss = loss + step["penalty"] * (layer.weight.abs().sum() + layer.weight.square().sum())
    return loss


def prepare(step):
    Tensor.manual_seed(0)
    dense, norms = layers_of(step)
    optimizer = nn.optim.Adam(nn.state.get_parameters([dense, norms]), lr=peer_work.LEARNING_RATE, b1=peer_work.BETA1,
                              b2=peer_work.BETA2, eps=peer_work.DELTA)
    x = Tensor.rand(step["batch"], step["widths"][0]).realize()
    targets = {"cross_entropy": lambda: Tensor.randint(step["batch"], low=0, high=step["widths"][-1]).realize(),
               "squared_error": lambda: Tensor.rand(step["batch"], step["widths"][-1]).realize(),
               "reconstruction": lambda: x}
    target = targets[step["loss"]]()

    @TinyJit
    def train():
        optimizer.zero_grad()
        loss = objective(step, dense, norms, x, target).backward()
        optimizer.step()
        return loss.realize()

    def repeat():
        with Context(TRAINING=1):
            for _ in range(peer_work.STEPS):
                loss = train()
        loss.item()
    return repeat


if __name__ == "__main__":
    peer_work.serve_training(importlib.metadata.version("tinygrad"), prepare)

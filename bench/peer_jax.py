#!/usr/bin/env python3
"""JAX's side of the comparison, on the CPU with all its threads: training steps, compiled whole, that give their
weights' and moments' memory to the results. Images have their channels last, the layout that XLA has convolutions for
on CPUs."""
import functools
import math

import peer_networks
import peer_work
import jax
import jax.numpy as jnp


EPSILON, MOMENTUM = 1e-3, 0.99


class Layers:
    """Makes layers when the forward pass first comes to them; given their weights, it takes these in turn. `moved` has
    the moving averages after the pass."""

    def __init__(self, trained=None, moving=None, key=None):
        self.trained, self.moving, self.moved = trained or [], moving or [], []
        self.key, self.next = key, 0

    def take(self, make):
        if self.key is not None:
            self.key, part = jax.random.split(self.key)
            self.trained.append(make(part))
        self.next += 1
        return self.trained[self.next - 1]

    def kernel(self, shape):
        limit = (6 / (math.prod(shape) // shape[-2] + math.prod(shape) // shape[-1])) ** 0.5
        return self.take(lambda key: {"kernel": jax.random.uniform(key, shape, minval=-limit, maxval=limit),
                                      "bias": jnp.zeros(shape[-1])})

    def conv(self, x, outputs, extent, stride=1, groups=1):
        rank = x.ndim - 2
        layer = self.kernel((extent,) * rank + (x.shape[-1] // groups, outputs))
        return jax.lax.conv_general_dilated(x, layer["kernel"], (stride,) * rank, [(extent // 2,) * 2] * rank,
                                            feature_group_count=groups,
                                            dimension_numbers=self.layout(rank)) + layer["bias"]

    def up_conv(self, x, outputs):
        rank = x.ndim - 2
        layer = self.kernel((2,) * rank + (x.shape[-1], outputs))
        return jax.lax.conv_transpose(x, layer["kernel"], (2,) * rank, "VALID",
                                      dimension_numbers=self.layout(rank)) + layer["bias"]

    @staticmethod
    def layout(rank):
        space = "DHW"[3 - rank:]
        return (f"N{space}C", f"{space}IO", f"N{space}C")

    def dense(self, x, outputs):
        layer = self.kernel((x.shape[-1], outputs))
        return x @ layer["kernel"] + layer["bias"]

    def affine(self, channels):
        return self.take(lambda _: {"gain": jnp.ones(channels), "offset": jnp.zeros(channels)})

    def batch_norm(self, x):
        layer = self.affine(x.shape[-1])
        if self.key is not None:
            self.moving.append({"mean": jnp.zeros(x.shape[-1]), "variance": jnp.ones(x.shape[-1])})
        x, averages = normalize(layer, self.moving[len(self.moved)], x)
        self.moved.append(averages)
        return x

    def group_norm(self, x, groups):
        layer = self.affine(x.shape[-1])
        parts = x.reshape(*x.shape[:-1], groups, -1)
        axes = (*range(1, x.ndim - 1), x.ndim)
        scale = jax.lax.rsqrt(parts.var(axes, keepdims=True) + EPSILON)
        return ((parts - parts.mean(axes, keepdims=True)) * scale).reshape(x.shape) * layer["gain"] + layer["offset"]

    @staticmethod
    def relu(x):
        return jax.nn.relu(x)

    @staticmethod
    def max_pool(x):
        window = (1,) + (2,) * (x.ndim - 2) + (1,)
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")

    @staticmethod
    def global_average(x):
        return x.mean(range(1, x.ndim - 1))

    @staticmethod
    def flatten(x):
        return x.reshape(x.shape[0], -1)

    @staticmethod
    def concat(a, b):
        return jnp.concatenate([a, b], -1)


def initial(step, key):
    """Weights, trained and not: dense layers, and for batch norm gains, offsets and the moving averages."""
    trained, moving = [], []
    if "network" in step:
        layers = Layers(key=key)
        peer_networks.NETWORKS[step["network"]](layers, jnp.zeros(shape_of_input(step)))
        return layers.trained, layers.moving
    for inputs, outputs in zip(step["widths"], step["widths"][1:]):
        key, part = jax.random.split(key)
        limit = (6 / (inputs + outputs)) ** 0.5
        layer = {"kernel": jax.random.uniform(part, (inputs, outputs), minval=-limit, maxval=limit),
                 "bias": jnp.zeros(outputs)}
        if step.get("normalized") and len(trained) < len(step["widths"]) - 2:
            layer |= {"gain": jnp.ones(outputs), "offset": jnp.zeros(outputs)}
            moving.append({"mean": jnp.zeros(outputs), "variance": jnp.ones(outputs)})
        trained.append(layer)
    return trained, moving


def normalize(layer, averages, x):
    axes = range(x.ndim - 1)
    mean, variance = x.mean(axes), x.var(axes)
    averages = {"mean": MOMENTUM * averages["mean"] + (1 - MOMENTUM) * mean,
                "variance": MOMENTUM * averages["variance"] + (1 - MOMENTUM) * variance}
    return layer["gain"] * (x - mean) / jnp.sqrt(variance + EPSILON) + layer["offset"], averages


def shape_of_input(step):
    if "network" in step:
        channels, *space = step["example"]
        return step["batch"], *space, channels
    return step["batch"], step["widths"][0]


def forward(step, trained, moving, x, key):
    moved = []
    if "network" in step:
        layers = Layers(trained, moving)
        return peer_networks.NETWORKS[step["network"]](layers, x), layers.moved
    for index, layer in enumerate(trained):
        x = x @ layer["kernel"] + layer["bias"]
        if index == len(trained) - 1:
            break
        if step.get("normalized"):
            x, averages = normalize(layer, moving[index], x)
            moved.append(averages)
        x = jax.nn.relu(x)
        if step.get("normalized"):
            key, part = jax.random.split(key)
            x = jnp.where(jax.random.bernoulli(part, 0.8, x.shape), x / 0.8, 0)
    return (jax.nn.sigmoid(x) if step.get("sigmoid") else x), moved


def objective(step, trained, moving, x, target, key):
    result, moved = forward(step, trained, moving, x, key)
    if step["loss"] == "cross_entropy":
        loss = (jax.nn.logsumexp(result, -1) - jnp.take_along_axis(result, target[:, None], 1)[:, 0]).mean()
    elif step["loss"] == "mean_square":
        loss = jnp.square(result).mean()
    else:
        loss = jnp.square(result - target).mean()
    if step.get("penalty"):
        loss += step["penalty"] * sum(jnp.abs(w["kernel"]).sum() + jnp.square(w["kernel"]).sum() for w in trained)
    return loss, moved


def train(step, state, x, target):
    trained, moving, first, second, number, key = state
    key, part = jax.random.split(key)
    number = number + 1
    (loss, moving), gradients = jax.value_and_grad(functools.partial(objective, step), has_aux=True)(
        trained, moving, x, target, part)
    beta1, beta2 = peer_work.BETA1, peer_work.BETA2
    rate = peer_work.LEARNING_RATE * jnp.sqrt(1 - beta2**number) / (1 - beta1**number)
    first = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, first, gradients)
    second = jax.tree.map(lambda r, g: beta2 * r + (1 - beta2) * g * g, second, gradients)
    trained = jax.tree.map(lambda w, m, r: w - rate * m / (jnp.sqrt(r) + peer_work.DELTA), trained, first, second)
    return (trained, moving, first, second, number, key), loss


def prepare(step):
    key = jax.random.key(0)
    trained, moving = initial(step, key)
    zeros = jax.tree.map(jnp.zeros_like, trained)
    state = [(trained, moving, zeros, jax.tree.map(jnp.zeros_like, trained), jnp.float32(0), key)]
    x = jax.random.uniform(key, shape_of_input(step))
    targets = {"cross_entropy": lambda: jax.random.randint(key, (step["batch"],), 0, peer_work.classes_of(step)),
               "squared_error": lambda: jax.random.uniform(key, (step["batch"], step["widths"][-1])),
               "reconstruction": lambda: x, "mean_square": lambda: None}
    target = targets[step["loss"]]()
    compiled = jax.jit(functools.partial(train, step), donate_argnums=0)

    def repeat(steps):
        for _ in range(steps):
            state[0], loss = compiled(state[0], x, target)
        loss.item()
    return repeat


if __name__ == "__main__":
    peer_work.serve_training(jax.__version__, prepare)

#!/usr/bin/env python3
"""JAX's side of the comparison, on the CPU with all its threads: training steps, compiled whole, that give their
weights' and moments' memory to the results."""
import functools

import peer_work
import jax
import jax.numpy as jnp


def initial(step, key):
    """Weights, trained and not: dense layers, and for batch norm gains, offsets and the moving averages."""
    trained, moving = [], []
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
    mean, variance = x.mean(0), x.var(0)
    averages = {"mean": 0.99 * averages["mean"] + 0.01 * mean,
                "variance": 0.99 * averages["variance"] + 0.01 * variance}
    return layer["gain"] * (x - mean) / jnp.sqrt(variance + 1e-3) + layer["offset"], averages


def forward(step, trained, moving, x, key):
    moved = []
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
    x = jax.random.uniform(key, (step["batch"], step["widths"][0]))
    targets = {"cross_entropy": lambda: jax.random.randint(key, (step["batch"],), 0, step["widths"][-1]),
               "squared_error": lambda: jax.random.uniform(key, (step["batch"], step["widths"][-1])),
               "reconstruction": lambda: x}
    target = targets[step["loss"]]()
    compiled = jax.jit(functools.partial(train, step), donate_argnums=0)

    def repeat():
        for _ in range(peer_work.STEPS):
            state[0], loss = compiled(state[0], x, target)
        loss.item()
    return repeat


if __name__ == "__main__":
    peer_work.serve_training(jax.__version__, prepare)

"""What the peers written in Python share: the protocol, the sampling and the descriptions of the training steps.

A peer prints a line with its version, then answers each line with a case, `mlp 784-512-512-10 batch=128`, by one with
its times, {"median_us": ..., "best_us": ...}, or {"error": ...}. It samples as `clgrad bench` does, so that both sides'
figures mean the same.
"""
import json
import os
import statistics
import sys
import time

BLOCK_SECONDS, MOST_SECONDS, MOST_SAMPLES, LEAST_SAMPLES = 0.030, 4, 15, 5
# What takes longer is sampled less.
SLOW_SECONDS, SLOW_SAMPLES = 10, 2
# Per repetition of a training step: the last one's loss is read. Few where steps take so long that a read is nothing.
STEPS, SLOW_STEPS, SLOW_STEP_SECONDS = 10, 2, 0.2
LEARNING_RATE, BETA1, BETA2, DELTA = 0.001, 0.9, 0.999, 1e-7

TRAINING_STEPS = {
    "mlp": {"widths": (784, 512, 512, 10), "batch": 128, "loss": "cross_entropy"},
    "mlp-wide": {"widths": (1024, 4096, 4096, 1024), "batch": 64, "loss": "squared_error"},
    "tabular": {"widths": (30, 64, 64, 2), "batch": 32, "loss": "cross_entropy", "normalized": True},
    "logistic": {"widths": (784, 10), "batch": 32, "loss": "cross_entropy"},
    "autoencoder": {"widths": (784, 256, 64, 256, 784), "batch": 256, "loss": "reconstruction", "sigmoid": True,
                    "penalty": 1e-5},
    "lenet": {"network": "lenet", "example": (1, 28, 28), "batch": 128, "loss": "cross_entropy"},
    "convbn": {"network": "convbn", "example": (3, 32, 32), "batch": 32, "loss": "mean_square"},
    "resnet20": {"network": "resnet20", "example": (3, 32, 32), "batch": 64, "loss": "cross_entropy"},
    "unet3d": {"network": "unet3d", "example": (1, 32, 32, 32), "batch": 2, "loss": "mean_square"},
    "mobilenet-block": {"network": "mobilenet-block", "example": (32, 56, 56), "batch": 16, "loss": "mean_square"},
}


def classes_of(step):
    return 10 if "network" in step else step["widths"][-1]


def time_block(repeat, wait, repetitions):
    """Seconds that so many repetitions take, until their results are there."""
    start = time.perf_counter()
    for _ in range(repetitions):
        repeat()
    wait()
    return time.perf_counter() - start


def find_repetitions(repeat, wait):
    """How many repetitions make a block long enough for the clock."""
    repetitions = 1
    time_block(repeat, wait, 1)
    while True:
        seconds = time_block(repeat, wait, repetitions)
        if seconds > 0.7 * BLOCK_SECONDS:
            return repetitions
        repetitions = max(repetitions + 1, int(repetitions * min(10, BLOCK_SECONDS / max(seconds, 1e-9))))


def sample(repeat, wait):
    """Seconds of one repetition, one figure per block."""
    repetitions = find_repetitions(repeat, wait)
    seconds, total = [], 0
    while len(seconds) < MOST_SAMPLES and (len(seconds) < LEAST_SAMPLES or total < MOST_SECONDS):
        if total > SLOW_SECONDS and len(seconds) >= SLOW_SAMPLES:
            break
        taken = time_block(repeat, wait, repetitions)
        total += taken
        seconds.append(taken / repetitions)
    return seconds


def answer(times, steps=1):
    """The line for these seconds per repetition of so many steps."""
    return {"median_us": 1e6 * statistics.median(times) / steps, "best_us": 1e6 * min(times) / steps}


def serve(version, measure):
    """Answers lines until there are no more. `measure` takes a case's name and the words of its shape. What a peer
    prints itself goes to stderr."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print(json.dumps({"version": version}), file=out, flush=True)
    for line in sys.stdin:
        try:
            reply = measure(*line.strip().split(" ", 1))
        except Exception as error:  # pylint: disable=broad-except
            reply = {"error": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(reply), file=out, flush=True)


def steps_of(repeat):
    """How many steps a repetition has."""
    return SLOW_STEPS if time_block(lambda: repeat(1), lambda: None, 1) > SLOW_STEP_SECONDS else STEPS


def serve_training(version, prepare):
    """Answers lines about training steps. `prepare` turns a description into a function that runs as many as it is
    told."""
    prepared = {}

    def measure(name, _):
        if name not in prepared:
            prepared.clear()
            prepared[name] = prepare(TRAINING_STEPS[name])
            prepared[name](SLOW_STEPS)  # compiles
        steps = steps_of(prepared[name])
        return answer(sample(lambda: prepared[name](steps), lambda: None), steps)
    serve(version, measure)

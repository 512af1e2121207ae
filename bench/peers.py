#!/usr/bin/env python3
"""Runs clgrad's MLP training step and PyTorch's side by side on the CPU, alternating in blocks, and prints one JSON
object: the medians of both and their ratio (above 1: clgrad is faster). Needs PyTorch in the Python that runs it.

Usage: peers.py MLP_STEP_PROGRAM
"""
import json
import os
import statistics
import subprocess
import sys
import time

BLOCKS, STEPS, WARM_UP = 5, 200, 20


def torch_step():
    """A function that runs one step: 784-512-512-10, batch 128, cross-entropy, Adam."""
    import torch

    torch.manual_seed(0)
    layers = [torch.nn.Linear(784, 512), torch.nn.ReLU(), torch.nn.Linear(512, 512), torch.nn.ReLU(),
              torch.nn.Linear(512, 10)]
    network = torch.nn.Sequential(*layers)
    optimizer = torch.optim.Adam(network.parameters())
    x, y = torch.rand(128, 784), torch.randint(0, 10, (128,))
    loss_of = torch.nn.CrossEntropyLoss()

    def step(number):
        optimizer.zero_grad()
        loss = loss_of(network(x), y)
        loss.backward()
        optimizer.step()
        if number % 10 == 9:
            loss.item()

    # Small products may be faster on one thread: the peer gets whichever number suits it better.
    by_threads = {}
    for threads in (1, os.cpu_count()):
        torch.set_num_threads(threads)
        for number in range(WARM_UP):
            step(number)
        by_threads[threads] = time_torch(step)[0]
    torch.set_num_threads(min(by_threads, key=by_threads.get))
    return step, f"{torch.__version__}, {torch.get_num_threads()} threads"


def time_torch(step):
    """Microseconds of a step: the median over tens, as the other side measures."""
    tens = []
    for _ in range(STEPS // 10):
        start = time.perf_counter()
        for number in range(10):
            step(number)
        tens.append((time.perf_counter() - start) / 10)
    return 1e6 * statistics.median(tens), 1e6 * min(tens)


def main(program):
    try:
        step, version = torch_step()
    except ImportError as error:
        print(f"peers: no PyTorch here ({error}); nothing to compare with", file=sys.stderr)
        return
    ours, theirs = [], []
    for _ in range(BLOCKS):
        theirs.append(time_torch(step))
        ours.append(json.loads(subprocess.run([program, str(STEPS)], check=True, capture_output=True).stdout))
    mine, other = (statistics.median(values) for values in ([o["median_us"] for o in ours], [t[0] for t in theirs]))
    best = min(t[1] for t in theirs) / min(o["best_us"] for o in ours)
    print(json.dumps({"case": "mlp", "peer": f"pytorch {version}", "ours_us": round(mine, 1), "theirs_us": round(other, 1),
                      "ratio": round(other / mine, 2), "ratio_best": round(best, 2),
                      "host_us": min(o["host_us"] for o in ours), "kernels": ours[0]["kernels"]}))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])

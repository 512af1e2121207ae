#!/usr/bin/env python3
"""Runs the same work on clgrad and on its peers side by side: for each case blocks of one after the other, in turns,
several times in one run, on all cores. The ratio is theirs/ours: above 1 clgrad is faster; of the medians over all
blocks, and of the best.

Usage: peers.py --clgrad PROGRAM --openblas PROGRAM --python PYTHON [--pytorch "PYTHON DEVICE"] [--json] [--blocks N]
                [--output FOLDER] [--peers] [FILTER...]

PYTHON is the one that has JAX and tinygrad; PyTorch is Debian's, on the CPU, unless another is named, with its device
where clgrad runs on a GPU: "python3 cuda"; then --output must be given, and it is the only peer. A filter is a part of
"CASE SHAPE" or of a peer's name. A peer that is missing or fails is reported and left out; one that takes too long for
a case, all blocks together, is started anew for the next. The results go to FOLDER: peers.json has all figures,
peers.md a table, peers.svg a chart. Without --output those of all cases go to a folder of bench/results named after the
processor, and those of a filter are only printed. --json prints an object per line instead of a table;
bench/results/README.md describes the fields, those of peers.json too.

All of it takes about 40 minutes on two cores; the ratios of convolutions are summed up at the end.
"""
import argparse
import datetime
import json
import math
import os
import pathlib
import re
import selectors
import statistics
import subprocess
import sys
import tempfile
import time

import chart

HERE = pathlib.Path(__file__).resolve().parent
STEPS = ["mlp 784-512-512-10 batch=128", "mlp-wide 1024-4096-4096-1024 batch=64", "tabular 30-64-64-2 batch=32",
         "logistic 784-10 batch=32", "autoencoder 784-256-64-256-784 batch=256"]
IMAGE_STEPS = ["lenet 1x28x28-32-64-512-10 batch=128", "convbn 3x32x32-64-64-64-64 batch=32",
               "resnet20 3x32x32-16-32-64-10 batch=64", "unet3d 1x32x32x32-16-32-64-2 batch=2",
               "mobilenet-block 32x56x56-32-64 batch=16"]
# Layers of ResNet-50, and of DeepBench's training set.
CONVOLUTIONS = ["16x64x56x56x64x3x3 padding=1", "16x128x28x28x128x3x3 padding=1", "16x256x14x14x256x3x3 padding=1",
                "16x512x7x7x512x3x3 padding=1", "16x64x56x56x256x1x1", "16x256x56x56x64x1x1", "16x512x28x28x128x1x1",
                "16x1024x14x14x256x1x1", "16x512x7x7x2048x1x1", "8x3x224x224x64x7x7 stride=2 padding=3",
                "16x128x56x56x128x3x3 stride=2 padding=1", "16x256x56x56x512x1x1 stride=2",
                "4x1x161x700x32x20x5 stride=2", "4x32x79x341x32x10x5 stride=2", "16x1x48x480x16x3x3 padding=1",
                "16x16x24x240x32x3x3 padding=1", "8x64x54x54x64x3x3 padding=1", "8x128x27x27x128x3x3 padding=1",
                "8x64x112x112x128x3x3 padding=1", "8x192x28x28x32x5x5 padding=2"]
CONVOLUTIONS = [f"{name} {shape}" for name in ("forward", "data", "kernel") for shape in CONVOLUTIONS]
NORMS = ["batch_norm_train 32x64x56x56", "batch_norm_train 16x256x56x56", "group_norm_train 32x64x56x56 groups=8",
         "group_norm_train 2x16x64x64x64 groups=8", "layer_norm_train 16384x1024", "layer_norm_train 4096x4096"]
PRODUCTS = [f"gemm {size} {form}" for size in ("128x128x128", "256x256x256", "512x512x512", "1024x1024x1024",
                                               "2048x2048x2048") for form in ("NN", "NT", "TN", "TT")]
PRODUCTS += ["gemm 128x512x784 NN", "gemm 128x512x512 NN", "gemm 128x512x512 NT", "gemm 512x512x128 TN",
             "gemm 784x512x128 TN", "gemm 512x784x128 NN", "gemm 64x6272x576 NN", "gemm 128x32x512 NN",
             "gemm 128x10x512 NN", "gemm 512x10x128 TN", "gemm 128x512x10 NT"]
OPS = [f"elementwise {size} ops={ops}" for ops in (1, 5, 10) for size in (1024, 65536, 1048576, 16777216)]
OPS += [f"{name} {size}" for name in ("exp", "tanh", "erf") for size in (65536, 16777216)]
OPS += [f"{name} {shape}" for name in ("sum", "max")
        for shape in ("262144x64 axis=0", "262144x64 axis=1", "64x262144 axis=0", "64x262144 axis=1",
                      "4096x4096 axis=0", "4096x4096 axis=1", "16777216")]
OPS += [f"{name} {shape}" for name in ("softmax", "layer_norm", "batch_norm")
        for shape in ("128x10", "4096x1000", "16384x1024")]
OPS += ["cumsum 16777216", "cumsum 4096x4096 axis=0", "cumsum 4096x4096 axis=1", "sort 16777216", "sort 16384x1024",
        "sort 131072x128", "topk 16777216", "topk 16384x1024"]

CASES = STEPS + IMAGE_STEPS + CONVOLUTIONS + NORMS + PRODUCTS + OPS

# Cases that take long, and those that are many, have fewer blocks.
MOST_BLOCKS = dict.fromkeys(IMAGE_STEPS + CONVOLUTIONS + NORMS, 3)
CASE_SECONDS = 90  # that a peer has for all blocks of a case
START_SECONDS = 60


class Peer:
    """A process that answers cases with times; see peer_work.py for the protocol."""

    def __init__(self, name, command, cases):
        self.name, self.command, self.cases, self.version, self.process = name, command, set(cases), None, None
        self.left = dict.fromkeys(cases, CASE_SECONDS)
        # A file takes whatever it says, where a full pipe would stop it.
        self.errors = tempfile.TemporaryFile("w+")  # pylint: disable=consider-using-with
        self.start()

    def start(self):
        # OpenBLAS's threads go to sleep at once, or they would take our time.
        environment = openblas_core() | os.environ | {"OPENBLAS_THREAD_TIMEOUT": "4"}
        try:
            # pylint: disable-next=consider-using-with
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=self.errors, text=True, env=environment)
        except OSError as error:
            self.leave_out(str(error))
            return
        line = self.read_line(START_SECONDS)
        if line:
            self.version = json.loads(line)["version"]
        else:
            self.leave_out("it does not start" if line is None else self.last_words())

    def read_line(self, seconds):
        """None if there is none in so many seconds. A reply is one line, so nothing stays behind in Python's buffer."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            return self.process.stdout.readline() if selector.select(seconds) else None

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def last_words(self):
        self.process.wait()
        self.errors.seek(0)
        return (self.errors.read().strip().splitlines() or ["it ended"])[-1]

    def leave_out(self, why):
        print(f"peers: going on without {self.name}: {why}", file=sys.stderr)
        self.cases = set()

    def measure(self, case):
        """Its times; None, and the case is dropped, after an error or when its time is over."""
        if not self.process:
            self.start()
            if not self.cases:
                return None
        start = time.monotonic()
        try:
            self.process.stdin.write(case + "\n")
            self.process.stdin.flush()
            line = self.read_line(self.left[case])
        except OSError:
            line = ""
        self.left[case] -= time.monotonic() - start
        if line is None:
            print(f"peers: {self.name}: {case}: no answer in {CASE_SECONDS} seconds", file=sys.stderr)
            self.stop()
            self.cases.discard(case)
            return None
        if not line:
            self.leave_out(f"it ended at {case}: {self.last_words()}")
            return None
        reply = json.loads(line)
        if "error" in reply:
            print(f"peers: {self.name}: {case}: {reply['error']}", file=sys.stderr)
            self.cases.discard(case)
            return None
        return reply

    def close(self):
        if self.process:
            self.process.stdin.close()
            self.process.wait()


def cpu_field(name):
    """The first of /proc/cpuinfo's fields of this name."""
    for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith(name):
            return line.split(":", 1)[1].strip()
    return "unknown"


def openblas_core():
    """What OpenBLAS, PyTorch's too, is told about the processor: an OpenBLAS that is older than it takes kernels of
    2004 instead of those for AVX-512, seven times as slow."""
    flags = cpu_field("flags").split()
    if "avx512f" not in flags:
        return {}
    return {"OPENBLAS_CORETYPE": "COOPERLAKE" if "avx512_bf16" in flags else "SKYLAKEX"}


def measure_clgrad(program, case):
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as shapes:
        shapes.write(case + "\n")
        shapes.flush()
        done = subprocess.run([program, "bench", "--json", "--shapes", shapes.name], capture_output=True, text=True,
                              check=False)
    if done.returncode or not done.stdout:
        print(f"peers: clgrad: {case}: {done.stderr.strip()}", file=sys.stderr)
        return None
    return json.loads(done.stdout)


def compare(case, peers, program, blocks):
    """One result per peer that has the case, from the blocks that it had time for."""
    ours, theirs = [], {peer.name: [] for peer in peers if case in peer.cases}
    for _ in range(min(blocks, MOST_BLOCKS.get(case, blocks))):
        block = measure_clgrad(program, case)
        if block is None:
            return
        ours.append(block)
        for peer in peers:
            times = peer.measure(case) if case in peer.cases else None
            if times:
                theirs[peer.name].append(times)
    for name, times in theirs.items():
        if times:
            yield result_of(case, name, ours, times)


def share_of(blocks, rate, limit):
    """Of one of the device's limits, which are the best of all blocks."""
    return statistics.median(block[rate] for block in blocks) / max(block[limit] for block in blocks)


def share_of_peak(blocks):
    return share_of(blocks, "gflops", "peak_gflops")


def share_of_bandwidth(blocks):
    return share_of(blocks, "gbps", "peak_gbps")


def roofline_of(blocks):
    """The larger share."""
    return max(share_of_peak(blocks), share_of_bandwidth(blocks))


def result_of(case, peer, ours, theirs):
    mine, other = (statistics.median(block["median_us"] for block in side) for side in (ours, theirs))
    mine_best, other_best = (min(block["best_us"] for block in side) for side in (ours, theirs))
    result = {"case": case, "peer": peer, "device": ours[0]["device"], "ours_us": round(mine, 2),
              "theirs_us": round(other, 2), "ratio": round(other / mine, 3),
              "ratio_best": round(other_best / mine_best, 3),
              "roofline": round(roofline_of(ours), 3), "multiply_adds": round(share_of_peak(ours), 3),
              "bandwidth": round(share_of_bandwidth(ours), 3), "blocks": len(theirs)}
    if "host_us" in ours[0]:
        result |= {"host_us": round(statistics.median(block["host_us"] for block in ours), 2),
                   "kernels": ours[0]["kernels"], "device_bytes": ours[0]["device_bytes"],
                   "first_step_us": max(block["first_step_us"] for block in ours)}
    return result


def package_version(name):
    done = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", name], capture_output=True, text=True, check=False)
    return done.stdout or "unknown"


def rounded(microseconds):
    return f"{microseconds:.{1 if microseconds < 10 else 0}f}"


def table(record):
    """For people, of all cases."""
    versions = ", ".join(f"{name} {version.split()[0] if name != 'openblas' else version.split()[1]}"
                         for name, version in record["versions"].items())
    devices = "".join(f"{name}; " for name in sorted({result["device"] for result in record["results"]}))
    lines = [f"{record['date']}, {record['cpu']}, {record['cores']} cores; {devices}{versions}; {record['blocks']} "
             "blocks of each side in turns, fewer of what takes long.", "",
             "| case | clgrad, us | peer | peer, us | ratio | of the best | of the limit |",
             "| --- | --- | --- | --- | --- | --- | --- |"]
    lines += [f"| {r['case']} | {rounded(r['ours_us'])} | {r['peer']} | {rounded(r['theirs_us'])} | {r['ratio']:.2f} | "
              f"{r['ratio_best']:.2f} | {100 * r['roofline']:.0f} % |" for r in record["results"]]
    if record.get("convolutions"):
        lines += ["", words_of_summary(record["convolutions"])]
    return "\n".join(lines) + "\n"


def default_folder():
    """One per kind of machine: machines differ by more than versions do."""
    name = re.sub(r"\((R|TM)\)|Processor|CPU|@.*", "", cpu_field("model name"))
    return HERE / "results" / re.sub(r"[^a-z0-9]+", "-", f"{name} {os.cpu_count()} cores".lower()).strip("-")


def write_results(folder, peers, results, blocks, on_cpu):
    folder.mkdir(parents=True, exist_ok=True)
    versions = {p.name: p.version for p in peers if p.version}
    if on_cpu:
        versions = {"pocl": package_version("pocl-opencl-icd")} | versions
    record = {"date": datetime.date.today().isoformat(), "cpu": cpu_field("model name"), "cores": os.cpu_count(),
              "blocks": blocks, "versions": versions, "convolutions": summary_of_convolutions(results),
              "results": results}
    lines = json.dumps(record, indent=1)
    (folder / "peers.json").write_text(lines + "\n", encoding="utf-8")
    (folder / "peers.md").write_text(table(record), encoding="utf-8")
    (folder / "peers.svg").write_text(chart.ratios(record), encoding="utf-8")


def print_result(result, as_json):
    if as_json:
        print(json.dumps(result), flush=True)
    else:
        print(f"{result['case']:48} {result['peer']:9} {result['ours_us']:12.1f} {result['theirs_us']:12.1f} "
              f"{result['ratio']:7.2f} {result['ratio_best']:7.2f}", flush=True)


def summary_of_convolutions(results):
    """How they do as a whole: None without any. Of the multiply-adds a best time tells what the kernel can do."""
    found = [result for result in results if result["case"] in CONVOLUTIONS and result["peer"] == "pytorch"]
    if not found:
        return None
    summary = {"pairs": len(found)}
    for key in ("ratio", "ratio_best"):
        summary[key] = round(math.exp(statistics.mean(math.log(result[key]) for result in found)), 3)
    summary["least"] = min(result["ratio"] for result in found)
    summary["at_85_percent"] = sum(result["multiply_adds"] >= 0.85 for result in found)
    return summary


def words_of_summary(summary):
    return (f"{summary['pairs']} convolutions: geometric mean of the ratios {summary['ratio']:.2f} (best "
            f"{summary['ratio_best']:.2f}), least {summary['least']:.2f}; {summary['at_85_percent']} reach 85 % of the "
            "multiply-adds that the device can do.")


def wanted(case, peer, filters):
    return not filters or any(text in case or text in peer for text in filters)


def asked_peers(arguments):
    """Names, commands and cases of those that some wanted case has; on a device other than the CPU PyTorch alone."""
    offers = [("openblas", [arguments.openblas], PRODUCTS),
              ("pytorch", [arguments.pytorch, str(HERE / "peer_pytorch.py"), arguments.device or "cpu"],
               STEPS + IMAGE_STEPS + CONVOLUTIONS + NORMS + OPS),
              ("jax", [arguments.python, str(HERE / "peer_jax.py")], STEPS + IMAGE_STEPS),
              ("tinygrad", [arguments.python, str(HERE / "peer_tinygrad.py")], STEPS + IMAGE_STEPS)]
    if not arguments.on_cpu:
        offers = [offer for offer in offers if offer[0] == "pytorch"]
    offers = [(name, command, [case for case in cases if wanted(case, name, arguments.filters)])
              for name, command, cases in offers]
    return [offer for offer in offers if offer[2]]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clgrad", required=True)
    parser.add_argument("--openblas", required=True)
    parser.add_argument("--python", required=True)
    parser.add_argument("--pytorch", default="/usr/bin/python3 cpu", metavar='"PYTHON DEVICE"')
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--output", type=pathlib.Path)
    parser.add_argument("--peers", action="store_true",
                        help="print the names of the peers that this needs, and measure nothing")
    parser.add_argument("filters", nargs="*", metavar="FILTER")
    arguments = parser.parse_args()
    arguments.pytorch, _, arguments.device = arguments.pytorch.partition(" ")
    arguments.on_cpu = arguments.device in ("", "cpu")
    if not arguments.output and not arguments.on_cpu:
        parser.error("--output names a folder for the results of that device")
    if not arguments.filters:
        arguments.output = arguments.output or default_folder()
    return arguments


def main():
    arguments = parse_arguments()
    asked = asked_peers(arguments)
    if not asked:
        sys.exit("peers: no case or peer has that in its name; the cases are\n  " + "\n  ".join(CASES))
    if arguments.peers:
        print("\n".join(name for name, _, _ in asked))
        return
    peers = [Peer(*offer) for offer in asked]
    results = []
    if not arguments.json:
        print(f"{'case':48} {'peer':9} {'ours us':>12} {'theirs us':>12} {'ratio':>7} {'best':>7}")
    for case in CASES:
        if not any(case in peer.cases for peer in peers):
            continue
        for result in compare(case, peers, arguments.clgrad, arguments.blocks):
            results.append(result)
            print_result(result, arguments.json)
        if results and arguments.output:  # after each case: a run that is cut short has not been in vain
            write_results(arguments.output, peers, results, arguments.blocks, arguments.on_cpu)
    for peer in peers:
        peer.close()
    summary = summary_of_convolutions(results)
    if summary and not arguments.json:
        print("\n" + words_of_summary(summary))
    if not results:
        sys.exit("peers: nothing was compared")


if __name__ == "__main__":
    main()

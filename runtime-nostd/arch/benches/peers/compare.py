#!/usr/bin/env python3
"""int8 networks on this processor beside other runtimes, alternating in one run.

    python3 compare.py --network ARTEFACT CFG WEIGHTS [--network ...] [--levels avx512vnni avxvnni avx2 portable]
                       [--rounds 30] [--runs 10] [--every]

CFG and WEIGHTS are the float network that the artefact was quantised from. The peers' models are made from them: ncnn's
in float; onnxruntime's and LiteRT's (XNNPACK) in int8, weights with a scale for each filter. Their ranges are not
calibrated, which changes no operator and no time. Where the network has leaky activations, which onnxruntime and
XNNPACK cannot join to a convolution, both also run it without them (`linear`): less work than the network is.

In each round every runtime makes `--runs` runs, one after the other, on one thread, after a few that do not count. Times
are the processor's for the thread, which other work on the machine hardly changes. Printed are the medians of the
rounds' medians and the least times, each with its ratio to ncnn's. Every runtime is given codes (ncnn: floats) and stops
at the inputs of the heads. `--every` adds the forms that are slower here: onnxruntime with signed codes, LiteRT without
XNNPACK.

Needs the Python packages numpy, ncnn, onnx, onnxruntime and ai-edge-litert.
"""

import argparse
import contextlib
import json
import pathlib
import statistics
import subprocess
import tempfile
import time

import numpy

import network
from litert_int8 import Litert
from ncnn_float import Ncnn
from onnx_int8 import Onnxruntime

# A peer's heads point the same way as the float network's, as far as ranges without calibration let them.
LEAST_COSINE = 0.9
MOST_AT_LIMIT = 0.9


# Runs that make room and fill caches before those that count.
WARM = 10


class Ours:
    """The executor; `level` chooses its kernels."""

    def __init__(self, executable, artefact, level):
        self.command = [executable, artefact, level]

    def times(self, runs):
        """Milliseconds of each of some runs, in a new process: where its memory lies can cost a tenth."""
        lines = "\n" * (WARM + runs)
        found = subprocess.run(self.command, input=lines, check=True, stdout=subprocess.PIPE, text=True).stdout
        return [float(line) for line in found.split()[WARM:]]

    def close(self):
        pass


class Peer:
    """A runtime in this process."""

    def __init__(self, runtime):
        self.runtime = runtime
        self.outputs, self.close = runtime.outputs, runtime.close

    def time(self):
        start = time.thread_time()
        self.runtime.run()
        return (time.thread_time() - start) * 1e3

    def times(self, runs):
        """Milliseconds of each of some runs."""
        return [self.time() for _ in range(WARM + runs)][WARM:]


def program():
    """The executable of benches/network.rs, built."""
    command = ["cargo", "bench", "-q", "-p", "secateur-kernels", "--bench", "network", "--no-run"]
    command += ["--message-format=json"]
    here = pathlib.Path(__file__).resolve().parent
    lines = subprocess.run(command, cwd=here, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    found = [message.get("executable") for message in map(json.loads, lines)]
    return [path for path in found if path][-1]


def peers(net, folder, every):
    """The other runtimes by name."""
    image = numpy.random.default_rng(1).integers(0, 256, net.layers[0].shape, dtype="u1")
    found = {"ncnn, float": Ncnn(net, folder, image), "onnxruntime": Onnxruntime(net, True, image),
             "LiteRT": Litert(net, image)}
    if net.has_leaky():
        linear = net.linear()
        found["onnxruntime, linear"] = Onnxruntime(linear, True, image)
        found["LiteRT, linear"] = Litert(linear, image)
    if every:
        found["onnxruntime, signed"] = Onnxruntime(net, False, image)
        found["LiteRT, no XNNPACK"] = Litert(net, image, delegate=False)
    return {name: Peer(runtime) for name, runtime in found.items()}


def check(runtimes, net):
    """Every peer computes the network: its heads have the cfg's shapes, values vary and are close to ncnn's."""
    reference = runtimes["ncnn, float"].outputs()
    for name, runtime in runtimes.items():
        found = runtime.outputs()
        if [head.shape for head in found] != [net.layers[head].shape for head in net.heads]:
            raise SystemExit(f"{name}: heads of {[head.shape for head in found]}")
        at_limit = max(numpy.mean((head <= head.min()) | (head >= head.max())) for head in found)
        if at_limit > MOST_AT_LIMIT:
            raise SystemExit(f"{name}: nearly all values are at their limits")
        # Without activations it is another function.
        if name.endswith("linear"):
            print(f"{name}: at most {at_limit:.0%} of a head at its limits", flush=True)
            continue
        # In double precision: sums of squares are large.
        cosine = lambda a, b: a @ b / max(numpy.sqrt((a @ a) * (b @ b)), 1e-30)
        flat = lambda head: head.astype("f8").ravel()
        least = min(cosine(flat(a), flat(b)) for a, b in zip(reference, found, strict=True))
        print(f"{name}: at most {at_limit:.0%} of a head at its limits, cosine to float {least:.3f}", flush=True)
        if not least >= LEAST_COSINE:
            raise SystemExit(f"{name} computes another network")


def measure(executable, files, options):
    """Of each runtime: its times in each round, in milliseconds."""
    artefact, cfg, weights = files
    net = network.read(cfg, weights)
    print(f"{cfg}: {net.macs() / 1e6:.1f} million multiply-accumulates", flush=True)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        others = peers(net, folder, options.every)
        runtimes = {level: Ours(executable, artefact, level) for level in options.levels} | others
        for runtime in runtimes.values():
            stack.callback(runtime.close)
        check(others, net)
        times = {name: [] for name in runtimes}
        for _ in range(options.rounds):
            for name, runtime in runtimes.items():
                times[name].append(runtime.times(options.runs))
    return times


def table(title, found, names):
    """`found` has the milliseconds by network and runtime."""
    print(f"\n| {title} | {' | '.join(names)} |\n|---|{'--:|' * len(names)}")
    for runtime in dict.fromkeys(runtime for times in found for runtime in times):
        cells = []
        for times in found:
            one = times.get(runtime)
            cells.append("" if one is None else f"{one:.3g} ({one / times['ncnn, float']:.3f})".replace("(0.", "(."))
        print(f"| {runtime} | {' | '.join(cells)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--network", nargs=3, action="append", required=True, metavar=("ARTEFACT", "CFG", "WEIGHTS"))
    parser.add_argument("--levels", nargs="*", default=["avx512vnni", "avxvnni", "avx2", "portable"])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--every", action="store_true")
    options = parser.parse_args()
    executable = program()
    measured = [measure(executable, files, options) for files in options.network]
    names = [pathlib.Path(artefact).stem for artefact, _, _ in options.network]
    reduced = lambda reduce_: [{name: reduce_(rounds) for name, rounds in times.items()} for times in measured]
    table("median ms (÷ ncnn)", reduced(lambda rounds: statistics.median(map(statistics.median, rounds))), names)
    table("least ms (÷ ncnn)", reduced(lambda rounds: min(map(min, rounds))), names)


if __name__ == "__main__":
    main()

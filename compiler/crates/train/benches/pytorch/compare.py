#!/usr/bin/env python3
"""Whole training steps of Secateur beside PyTorch on the CPU, alternating in one run.

    python3 compare.py [--steps 15] [--threads 1 2] [--batch 8] [CFG@SIZE ...]

Prints medians in milliseconds, their ratio and the peak memory of both processes (PyTorch's with its import). Each makes
forward, loss, backward and update (SGD with momentum); PyTorch has its faster layout, channels_last, and the sum of
squares of the heads as its loss, Secateur the loss of the cfg. Needs Python packages torch and numpy.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

from darknet import sections

HERE = pathlib.Path(__file__).resolve().parent


def network(path):
    """A module of the cfg that returns the inputs of its heads."""
    import torch
    from torch import nn

    class SamePool(nn.Module):
        """Darknet's padding: size - 1 in all, the larger half behind."""

        def __init__(self, size, stride):
            super().__init__()
            before = (size - 1) // 2
            self.pad = None if size == stride else (before, size - 1 - before) * 2
            self.pool = nn.MaxPool2d(size, stride)

        def forward(self, x):
            if self.pad:
                x = nn.functional.pad(x, self.pad, value=float("-inf"))
            return self.pool(x)

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.plan, self.layers, channels, last = [], nn.ModuleList(), [], 3
            for index, (name, options) in enumerate(sections(path)[1:]):
                number = lambda key, default: int(options.get(key, default))
                absolute = lambda text: [i if i >= 0 else index + i for i in map(int, text.split(","))]
                layer, sources = nn.Identity(), [index - 1]
                if name == "convolutional":
                    size, filters = number("size", 1), number("filters", 1)
                    padding = size // 2 if number("pad", 0) else number("padding", 0)
                    normalised = number("batch_normalize", 0)
                    parts = [nn.Conv2d(last, filters, size, number("stride", 1), padding,
                                       groups=number("groups", 1), bias=not normalised)]
                    if normalised:
                        parts.append(nn.BatchNorm2d(filters))
                    if options.get("activation") == "leaky":
                        parts.append(nn.LeakyReLU(0.1, inplace=True))
                    layer, last = nn.Sequential(*parts), filters
                elif name == "maxpool":
                    layer = SamePool(number("size", 2), number("stride", 2))
                elif name == "upsample":
                    layer = nn.Upsample(scale_factor=number("stride", 2))
                elif name == "dropout":
                    layer = nn.Dropout(float(options.get("probability", 0.5)))
                elif name == "route":
                    sources = absolute(options["layers"])
                    last = sum(channels[i] for i in sources)
                elif name == "shortcut":
                    sources = [index - 1] + absolute(options["from"])
                elif name != "yolo":
                    raise SystemExit(f"compare.py knows no [{name}]")
                channels.append(last)
                self.layers.append(layer)
                self.plan.append((name, sources))

        def forward(self, x):
            outputs, heads = [], []
            for (name, sources), layer in zip(self.plan, self.layers):
                inputs = [outputs[i] if i >= 0 else x for i in sources]
                if name == "route":
                    outputs.append(torch.cat(inputs, 1) if len(inputs) > 1 else inputs[0])
                elif name == "shortcut":
                    outputs.append(inputs[0] + inputs[1])
                else:
                    outputs.append(layer(inputs[0]))
                if name == "yolo":
                    heads.append(inputs[0])
            return heads

    return Network()


def torch_steps(path, size, batch, threads):
    """PyTorch's side: a step for every line, then the peak memory."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(1)
    model = network(path).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9, weight_decay=5e-4)
    images = torch.rand(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
    for _ in sys.stdin:
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss = sum(head.square().sum() for head in model(images))
        loss.backward()
        optimizer.step()
        loss.item()
        print((time.perf_counter() - start) * 1e3, flush=True)
    status = pathlib.Path("/proc/self/status").read_text()
    print(next(int(line.split()[1]) / 1e3 for line in status.splitlines() if line.startswith("VmHWM")), flush=True)


def secateur():
    """The executable of benches/step.rs, built."""
    command = ["cargo", "bench", "-q", "-p", "secateur-train", "--bench", "step", "--no-run", "--message-format=json"]
    lines = subprocess.run(command, cwd=HERE, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    found = [message.get("executable") for message in map(json.loads, lines)]
    return [path for path in found if path][-1]


def compare(step, cfg, size, batch, threads, steps):
    """Prints one row."""
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
    arguments = [str(cfg), str(size), str(batch)]
    commands = [[step, *arguments], [sys.executable, __file__, "--torch", *arguments, str(threads)]]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=environment)
        for command in commands
    ]
    times = [[], []]
    for step in range(steps + 2):
        for process, of_process in zip(processes, times):
            process.stdin.write("\n")
            process.stdin.flush()
            milliseconds = float(process.stdout.readline())
            # The first steps make room.
            if step >= 2:
                of_process.append(milliseconds)
            # Until the threads of the other one have gone to sleep.
            time.sleep(0.05)
    memory = [float(process.communicate()[0]) for process in processes]
    ours, theirs = map(statistics.median, times)
    name = f"{cfg.parent.name if cfg.stem == 'model' else cfg.stem} at {size}"
    print(f"| {name} | {threads} | {ours:.0f} | {theirs:.0f} | {ours / theirs:.2f} "
          f"| {memory[0]:.0f} | {memory[1]:.0f} | {memory[0] / memory[1]:.2f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("networks", nargs="*", metavar="CFG@SIZE")
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--batch", type=int, default=8)
    options = parser.parse_args()
    data = pathlib.Path(os.environ.get("SECATEUR_DATA", HERE.parents[4] / "../shared/data"))
    fastest = data / "models/yolo-fastest-1.1/model.cfg"
    networks = options.networks or [f"{fastest}@320", f"{fastest}@160", f"{HERE}/plain.cfg@224", f"{HERE}/tiny.cfg@224"]
    step = secateur()
    print("| network | threads | Secateur, ms | PyTorch, ms | ratio | Secateur, MB | PyTorch, MB | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    for network in networks:
        cfg, size = network.rsplit("@", 1)
        for threads in options.threads:
            compare(step, pathlib.Path(cfg), int(size), options.batch, threads, options.steps)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--torch"]:
        torch_steps(sys.argv[2], *map(int, sys.argv[3:]))
    else:
        main()

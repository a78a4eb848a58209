#!/usr/bin/env python3
"""An int8 network on this processor beside ncnn in float, alternating in one run.

    python3 compare.py ARTEFACT CFG WEIGHTS [--levels avx512vnni avxvnni avx2 portable] [--rounds 9]
                       [--runs 20]

CFG and WEIGHTS are the float network that the artefact was quantised from. They are turned into ncnn's form here: batch
norm folded, activations fused, as ncnn's own tools leave a network. In each round every runtime makes `--runs` runs, one
after the other, on one thread; printed are the medians of the rounds' medians, the minima, and their ratios to ncnn.
Times are the processor's for the thread, which other work on the machine hardly changes. Both stop at the inputs of the heads. Needs the Python packages numpy and ncnn.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parents[3] / "compiler/crates/train/benches/pytorch"))

from darknet import sections


class Weights:
    """Darknet's floats, in order."""

    def __init__(self, path):
        import numpy

        data = pathlib.Path(path).read_bytes()
        major, minor = numpy.frombuffer(data, "<i4", 2)
        self.values = numpy.frombuffer(data, "<f4", offset=20 if major * 10 + minor >= 2 else 16)
        self.at = 0

    def take(self, count):
        self.at += count
        return self.values[self.at - count : self.at]


class Converter:
    """Writes ncnn's .param and .bin of a Darknet network."""

    def __init__(self, cfg, weights):
        import numpy

        self.numpy = numpy
        self.sections = sections(cfg)
        self.weights = Weights(weights)
        self.layers, self.binary = [], []
        # By Darknet's layer: blob, channels.
        self.outputs = []
        self.heads = []

    def layer(self, kind, inputs, output, parameters=""):
        self.layers.append([kind, list(inputs), [output], parameters])
        return output

    def convolution(self, index, options, blob, channels):
        number = lambda key, default: int(options.get(key, default))
        size, filters, groups = number("size", 1), number("filters", 1), number("groups", 1)
        pad = size // 2 if number("pad", 0) else number("padding", 0)
        biases = self.weights.take(filters)
        scale = self.numpy.ones(filters, "f4")
        if number("batch_normalize", 0):
            gamma, mean, variance = (self.weights.take(filters) for _ in range(3))
            scale = gamma / (self.numpy.sqrt(variance) + 1e-6)
            biases = biases - mean * scale
        taps = channels // groups * size * size
        filters_ = self.weights.take(filters * taps).reshape(filters, taps) * scale[:, None]
        activation = options.get("activation", "linear")
        known = {"linear": "", "leaky": " 9=2 -23310=1,0.1", "relu": " 9=1", "relu6": " 9=3 -23310=2,0.0,6.0"}
        if activation not in known:
            raise SystemExit(f"compare.py knows no activation {activation}")
        kind = "Convolution"
        more = ""
        if groups > 1:
            kind, more = "ConvolutionDepthWise", f" 7={groups}"
        parameters = f"0={filters} 1={size} 3={number('stride', 1)} 4={pad} 5=1 6={filters_.size}{more}{known[activation]}"
        # A flag of four zero bytes says that weights are floats.
        self.binary += [b"\0\0\0\0", filters_.astype("<f4").tobytes(), biases.astype("<f4").tobytes()]
        return self.layer(kind, [blob], f"b{index}", parameters), filters

    def convert(self):
        net = self.sections[0][1]
        blob, channels = self.layer("Input", [], "data"), int(net.get("channels", 3))
        self.size = [int(net["height"]), int(net["width"]), channels]
        for index, (name, options) in enumerate(self.sections[1:]):
            absolute = lambda text: [int(i) if int(i) >= 0 else index + int(i) for i in text.split(",")]
            if name == "convolutional":
                blob, channels = self.convolution(index, options, blob, channels)
            elif name == "maxpool":
                size, stride = int(options.get("size", 2)), int(options.get("stride", 2))
                before = (size - 1) // 2
                pads = f"3={before} 14={size - 1 - before} 13={before} 15={size - 1 - before}"
                pads = pads if stride == 1 or size % 2 else "3=0"
                blob = self.layer("Pooling", [blob], f"b{index}", f"0=0 1={size} 2={stride} {pads} 5=1")
            elif name == "upsample":
                stride = float(options.get("stride", 2))
                blob = self.layer("Interp", [blob], f"b{index}", f"0=1 1={stride} 2={stride}")
            elif name == "route":
                inputs = [self.outputs[i] for i in absolute(options["layers"])]
                blob, channels = inputs[0][0], sum(c for _, c in inputs)
                if len(inputs) > 1:
                    blob = self.layer("Concat", [b for b, _ in inputs], f"b{index}", "0=0")
            elif name == "shortcut":
                other = self.outputs[absolute(options["from"])[0]]
                blob = self.layer("BinaryOp", [blob, other[0]], f"b{index}", "0=0")
            elif name == "yolo":
                self.heads.append(blob)
            elif name != "dropout":
                raise SystemExit(f"compare.py knows no [{name}]")
            self.outputs.append((blob, channels))
        return self

    def write(self, folder):
        """ncnn wants a Split wherever a blob is read more than once."""
        readers = {}
        for _, inputs, _, _ in self.layers:
            for blob in inputs:
                readers[blob] = readers.get(blob, 0) + 1
        for blob in self.heads:
            readers[blob] = readers.get(blob, 0) + 1
        lines, blobs, used = [], 0, {}
        heads = []

        def read(blob):
            if readers[blob] == 1:
                return blob
            used[blob] = used.get(blob, -1) + 1
            return f"{blob}_s{used[blob]}"

        for number, (kind, inputs, outputs, parameters) in enumerate(self.layers):
            inputs = [read(blob) for blob in inputs]
            lines.append(f"{kind} l{number} {len(inputs)} 1 {' '.join(inputs + outputs)} {parameters}")
            blobs += 1
            count = readers.get(outputs[0], 0)
            if count > 1:
                names = [f"{outputs[0]}_s{n}" for n in range(count)]
                lines.append(f"Split s{number} 1 {count} {outputs[0]} {' '.join(names)}")
                blobs += count
        heads = [read(blob) for blob in self.heads]
        param, binary = folder / "net.param", folder / "net.bin"
        param.write_text("\n".join(["7767517", f"{len(lines)} {blobs}", *lines]) + "\n")
        binary.write_bytes(b"".join(self.binary))
        return param, binary, heads


def ncnn_runner(param, binary, size, heads):
    """A function that runs ncnn once, on one thread."""
    import ncnn
    import numpy

    net = ncnn.Net()
    net.opt.num_threads = 1
    net.opt.use_vulkan_compute = False
    # As ncnn's own benchmark: blobs of one run are memory of the next.
    pools = [ncnn.UnlockedPoolAllocator(), ncnn.PoolAllocator()]
    net.opt.blob_allocator, net.opt.workspace_allocator = pools
    if net.load_param(str(param)) or net.load_model(str(binary)):
        raise SystemExit("ncnn does not read the network")
    h, w, c = size
    image = ncnn.Mat(numpy.random.default_rng(1).random((c, h, w), dtype=numpy.float32))

    def run():
        extractor = net.create_extractor()
        extractor.input("data", image)
        for head in heads:
            result, output = extractor.extract(head)
            assert result == 0 and output.h > 0

    # The network goes before its allocators, and both after the last run.
    run.held = [net, pools]
    return run


def network():
    """The executable of benches/network.rs, built."""
    command = ["cargo", "bench", "-q", "-p", "secateur-kernels", "--bench", "network", "--no-run"]
    command += ["--message-format=json"]
    lines = subprocess.run(command, cwd=HERE, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    found = [message.get("executable") for message in map(json.loads, lines)]
    return [path for path in found if path][-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("artefact")
    parser.add_argument("cfg")
    parser.add_argument("weights")
    parser.add_argument("--levels", nargs="*", default=["avx512vnni", "avxvnni", "avx2", "portable"])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--runs", type=int, default=20)
    options = parser.parse_args()
    program = network()
    converter = Converter(options.cfg, options.weights).convert()
    times = {name: [] for name in [*options.levels, "ncnn"]}
    with tempfile.TemporaryDirectory() as folder:
        param, binary, heads = converter.write(pathlib.Path(folder))
        peer = ncnn_runner(param, binary, converter.size, heads)
        pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
        ours = {level: subprocess.Popen([program, options.artefact, level], **pipe) for level in options.levels}

        def run(name):
            if name == "ncnn":
                start = time.thread_time()
                peer()
                return (time.thread_time() - start) * 1e3
            ours[name].stdin.write("\n")
            ours[name].stdin.flush()
            return float(ours[name].stdout.readline())

        for round_ in range(options.rounds + 1):
            for name, of_name in times.items():
                found = [run(name) for _ in range(options.runs)]
                # The first round makes room.
                if round_:
                    of_name.append(found)
        for process in ours.values():
            process.stdin.close()
        net, _ = peer.held
        net.clear()
    medians = {name: statistics.median(map(statistics.median, found)) for name, found in times.items()}
    minima = {name: min(map(min, found)) for name, found in times.items()}
    print("| one thread | median ms | ÷ ncnn | least ms | ÷ ncnn |")
    print("|---|---|---|---|---|")
    for name in times:
        print(f"| {name} | {medians[name]:.2f} | {medians[name] / medians['ncnn']:.3f} "
              f"| {minima[name]:.2f} | {minima[name] / minima['ncnn']:.3f} |")


if __name__ == "__main__":
    main()

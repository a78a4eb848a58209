"""A Darknet network as the peers want it: a list of layers, batch norm folded, activations fused."""

import dataclasses
import pathlib
import sys

import numpy

sys.path.append(str(pathlib.Path(__file__).resolve().parents[4] / "compiler/crates/train/benches/pytorch"))

from darknet import sections

ACTIVATIONS = ["linear", "leaky", "relu", "relu6"]


@dataclasses.dataclass
class Layer:
    """`inputs` are numbers of layers; layer 0 is the image. `shape` is the output's, [h, w, c].

    `pads` are the pixels before and behind, of rows and columns alike. `weights` are [filters, k, k, c / groups].
    """

    kind: str
    inputs: list
    shape: tuple
    size: int = 1
    stride: int = 1
    pads: tuple = (0, 0)
    groups: int = 1
    activation: str = "linear"
    weights: numpy.ndarray = None
    bias: numpy.ndarray = None


@dataclasses.dataclass
class Network:
    """`heads` are the numbers of the layers whose outputs are the heads' inputs."""

    layers: list
    heads: list

    def linear(self):
        """The same network without leaky activations."""
        without = lambda layer: "linear" if layer.activation == "leaky" else layer.activation
        return Network([dataclasses.replace(layer, activation=without(layer)) for layer in self.layers], self.heads)

    def macs(self):
        """Multiply-accumulates of one run."""
        return sum(l.weights.size * l.shape[0] * l.shape[1] for l in self.layers if l.kind == "convolution")

    def has_leaky(self):
        return any(layer.activation == "leaky" for layer in self.layers)


class Weights:
    """Darknet's floats, in order."""

    def __init__(self, path):
        data = pathlib.Path(path).read_bytes()
        major, minor = numpy.frombuffer(data, "<i4", 2)
        self.values = numpy.frombuffer(data, "<f4", offset=20 if major * 10 + minor >= 2 else 16)
        self.at = 0

    def take(self, count):
        self.at += count
        if self.at > self.values.size:
            raise SystemExit("the file of weights is too short for the network")
        return self.values[self.at - count : self.at]


class Reader:
    """Turns the sections of a cfg into layers."""

    def __init__(self, cfg, weights):
        self.sections = sections(cfg)
        self.weights = Weights(weights)
        net = self.sections[0][1]
        self.layers = [Layer("image", [], (int(net["height"]), int(net["width"]), int(net.get("channels", 3))))]
        # The layer of each section: a route of one input and a dropout have none of their own.
        self.layer_of = []
        self.heads = []

    def add(self, **fields):
        self.layers.append(Layer(**fields))
        return len(self.layers) - 1

    def shape(self, layer):
        return self.layers[layer].shape

    def window(self, layer, filters, size, stride, pads):
        """The shape of a window's output."""
        h, w, _ = self.shape(layer)
        side = lambda pixels: (pixels + sum(pads) - size) // stride + 1
        return side(h), side(w), filters

    def convolution(self, options, layer):
        number = lambda key, default: int(options.get(key, default))
        size, filters, groups = number("size", 1), number("filters", 1), number("groups", 1)
        stride = number("stride", 1)
        pad = size // 2 if number("pad", 0) else number("padding", 0)
        activation = options.get("activation", "linear")
        if activation not in ACTIVATIONS:
            raise SystemExit(f"the peers are given no activation {activation}")
        bias, scale = self.weights.take(filters), numpy.ones(filters, "f4")
        if number("batch_normalize", 0):
            gamma, mean, variance = (self.weights.take(filters) for _ in range(3))
            scale = gamma / (numpy.sqrt(variance) + 1e-6)
            bias = bias - mean * scale
        per_group = self.shape(layer)[2] // groups
        weights = self.weights.take(filters * per_group * size * size).reshape(filters, per_group, size, size)
        weights = (weights * scale[:, None, None, None]).transpose(0, 2, 3, 1)
        return self.add(kind="convolution", inputs=[layer], size=size, stride=stride, pads=(pad, pad),
                        shape=self.window(layer, filters, size, stride, (pad, pad)), groups=groups,
                        activation=activation, weights=weights, bias=bias)

    def max_pool(self, options, layer):
        stride = int(options.get("stride", 1))
        size = int(options.get("size", stride))
        padding = int(options.get("padding", size - 1))
        pads = padding // 2, padding - padding // 2
        return self.add(kind="max_pool", inputs=[layer], size=size, stride=stride, pads=pads,
                        shape=self.window(layer, self.shape(layer)[2], size, stride, pads))

    def section(self, name, options, index):
        """The layer of a section."""
        last = self.layer_of[-1] if self.layer_of else 0
        of = lambda text: [self.layer_of[i if i >= 0 else index + i] for i in map(int, text.split(","))]
        if name == "convolutional":
            return self.convolution(options, last)
        if name == "maxpool":
            return self.max_pool(options, last)
        if name == "upsample":
            (h, w, c), stride = self.shape(last), int(options.get("stride", 2))
            return self.add(kind="upsample", inputs=[last], shape=(h * stride, w * stride, c), stride=stride)
        if name == "route":
            inputs = of(options["layers"])
            if len(inputs) == 1:
                return inputs[0]
            h, w, _ = self.shape(inputs[0])
            channels = sum(self.shape(i)[2] for i in inputs)
            return self.add(kind="concat", inputs=inputs, shape=(h, w, channels))
        if name == "shortcut":
            return self.add(kind="add", inputs=[last, *of(options["from"])], shape=self.shape(last))
        if name == "yolo":
            self.heads.append(last)
        elif name != "dropout":
            raise SystemExit(f"the peers are given no [{name}]")
        return last


def read(cfg, weights):
    """The network of a cfg and its weights."""
    reader = Reader(cfg, weights)
    for index, (name, options) in enumerate(reader.sections[1:]):
        reader.layer_of.append(reader.section(name, options, index))
    return Network(reader.layers, reader.heads or [reader.layer_of[-1]])


# One scale for all activations: a concatenation is then a copy, and a maximum keeps its codes, in every runtime.
SCALE = 1 / 6
IMAGE_SCALE = 1 / 255


@dataclasses.dataclass
class Quantised:
    """How the codes of a layer's output, signed, are meant: value = scale · (code - zero)."""

    scale: float
    zero: int


def quantisation(network):
    """Of each layer's output. What follows a rectifier begins at zero, so that runtimes can fuse it."""
    found = []
    for layer in network.layers:
        if layer.kind == "image":
            found.append(Quantised(IMAGE_SCALE, -128))
        elif layer.kind == "convolution":
            found.append(Quantised(SCALE, -128 if layer.activation.startswith("relu") else 0))
        elif layer.kind == "add":
            found.append(Quantised(SCALE, 0))
        else:
            inputs = [found[i] for i in layer.inputs]
            if any(other != inputs[0] for other in inputs):
                raise SystemExit("a concatenation of rectified and other values is not handled")
            found.append(inputs[0])
    return found


def quantised_weights(layer, input_scale):
    """int8 weights, a scale for each filter, int32 bias."""
    largest = numpy.abs(layer.weights).reshape(len(layer.weights), -1).max(axis=1)
    scales = (numpy.maximum(largest, 1e-6) / 127).astype("f4")
    weights = numpy.rint(layer.weights / scales[:, None, None, None]).astype("i1")
    bias = numpy.clip(numpy.rint(layer.bias / (scales * input_scale)), -(2**31), 2**31 - 1)
    return weights, scales, bias.astype("i4")

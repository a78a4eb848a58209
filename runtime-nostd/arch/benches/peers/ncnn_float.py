"""ncnn in float: the network as ncnn's own tools leave it."""

import pathlib

import numpy

ACTIVATION = {"linear": "", "leaky": " 9=2 -23310=1,0.1", "relu": " 9=1", "relu6": " 9=3 -23310=2,0.0,6.0"}


def convolution(layer):
    """ncnn's kind and parameters, and the bytes of its weights."""
    kind, groups = ("Convolution", "") if layer.groups == 1 else ("ConvolutionDepthWise", f" 7={layer.groups}")
    parameters = (f"0={layer.shape[2]} 1={layer.size} 3={layer.stride} 4={layer.pads[0]} 5=1 "
                  f"6={layer.weights.size}{groups}{ACTIVATION[layer.activation]}")
    weights = layer.weights.transpose(0, 3, 1, 2).astype("<f4").tobytes()
    # A flag of four zero bytes says that weights are floats.
    return kind, parameters, [b"\0\0\0\0", weights, layer.bias.astype("<f4").tobytes()]


def lines(network):
    """The lines of .param before blobs are split, as (kind, inputs, output, parameters), and the bytes of .bin."""
    found, binary = [], []
    for number, layer in enumerate(network.layers):
        kind, parameters = "Input", ""
        if layer.kind == "convolution":
            kind, parameters, more = convolution(layer)
            binary += more
        elif layer.kind == "max_pool":
            before, behind = layer.pads
            kind = "Pooling"
            parameters = f"0=0 1={layer.size} 2={layer.stride} 3={before} 14={behind} 13={before} 15={behind} 5=1"
        elif layer.kind == "upsample":
            kind, parameters = "Interp", f"0=1 1={layer.stride}.0 2={layer.stride}.0"
        elif layer.kind == "concat":
            kind, parameters = "Concat", "0=0"
        elif layer.kind == "add":
            kind, parameters = "BinaryOp", "0=0"
        found.append((kind, [f"b{i}" for i in layer.inputs], f"b{number}", parameters))
    return found, b"".join(binary)


def write(network, folder):
    """Writes .param and .bin; returns their paths and the blobs of the heads.

    ncnn wants a Split wherever a blob is read more than once.
    """
    unsplit, binary = lines(network)
    readers, used = {}, {}
    for blob in [blob for _, inputs, _, _ in unsplit for blob in inputs] + [f"b{head}" for head in network.heads]:
        readers[blob] = readers.get(blob, 0) + 1

    def read(blob):
        if readers[blob] == 1:
            return blob
        used[blob] = used.get(blob, -1) + 1
        return f"{blob}_s{used[blob]}"

    text, blobs = [], 0
    for number, (kind, inputs, output, parameters) in enumerate(unsplit):
        names = " ".join([*map(read, inputs), output])
        text.append(f"{kind} l{number} {len(inputs)} 1 {names} {parameters}")
        count = readers.get(output, 0)
        if count > 1:
            copies = " ".join(f"{output}_s{n}" for n in range(count))
            text.append(f"Split s{number} 1 {count} {output} {copies}")
        blobs += 1 + (count if count > 1 else 0)
    folder = pathlib.Path(folder)
    param, weights = folder / "net.param", folder / "net.bin"
    param.write_text("\n".join(["7767517", f"{len(text)} {blobs}", *text]) + "\n")
    weights.write_bytes(binary)
    return param, weights, [read(f"b{head}") for head in network.heads]


class Ncnn:
    """Runs a network on one thread. `image` is [h, w, c] of bytes."""

    def __init__(self, network, folder, image):
        import ncnn

        param, weights, self.heads = write(network, folder)
        self.net = ncnn.Net()
        self.net.opt.num_threads = 1
        self.net.opt.use_vulkan_compute = False
        # As ncnn's own benchmark: blobs of one run are memory of the next.
        self.pools = [ncnn.UnlockedPoolAllocator(), ncnn.PoolAllocator()]
        self.net.opt.blob_allocator, self.net.opt.workspace_allocator = self.pools
        if self.net.load_param(str(param)) or self.net.load_model(str(weights)):
            raise SystemExit("ncnn does not read the network")
        # A Mat borrows the array's memory, which goes with the array; its clone does not.
        values = numpy.ascontiguousarray(image.transpose(2, 0, 1), "f4") / numpy.float32(255)
        self.image = ncnn.Mat(values).clone()

    def run(self):
        extractor = self.net.create_extractor()
        extractor.input("b0", self.image)
        for head in self.heads:
            result, output = extractor.extract(head)
            assert result == 0 and output.h > 0

    def outputs(self):
        """The heads' tensors, [h, w, c]."""
        extractor = self.net.create_extractor()
        extractor.input("b0", self.image)
        return [numpy.array(extractor.extract(head)[1]).transpose(1, 2, 0).copy() for head in self.heads]

    def close(self):
        """The network goes before its allocators."""
        self.net.clear()

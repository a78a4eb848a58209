"""LiteRT (TensorFlow Lite) in int8 with XNNPACK: the network as a flatbuffer."""

import numpy

from network import SCALE, quantisation, quantised_weights


class Writer:
    """Writes a network's operators with signed codes and a scale for each filter."""

    def __init__(self, network):
        from ai_edge_litert import schema_py_generated as schema

        self.schema, self.network = schema, network
        self.quantised = quantisation(network)
        # TensorFlow Lite's first buffer is empty.
        self.buffers = [schema.BufferT()]
        self.tensors, self.operators, self.codes = [], [], []

    def tensor(self, shape, kind, scales=None, zeros=None, axis=0, data=None):
        """A tensor's number. `kind` is a name of TensorType."""
        schema = self.schema
        buffer = 0
        if data is not None:
            self.buffers.append(schema.BufferT(data=numpy.frombuffer(data.tobytes(), "u1")))
            buffer = len(self.buffers) - 1
        quantisation = None
        if scales is not None:
            zeros = numpy.zeros(len(scales), "i8") if zeros is None else zeros
            quantisation = schema.QuantizationParametersT(scale=scales, zeroPoint=zeros, quantizedDimension=axis)
        self.tensors.append(schema.TensorT(shape=list(shape), type=getattr(schema.TensorType, kind), buffer=buffer,
                                           name=f"t{len(self.tensors)}", quantization=quantisation))
        return len(self.tensors) - 1

    def activation(self, shape, quantised):
        return self.tensor([1, *shape], "INT8", [quantised.scale], [quantised.zero])

    def operator(self, name, version, inputs, output, options, options_name):
        schema = self.schema
        code = getattr(schema.BuiltinOperator, name)
        known = [other.builtinCode for other in self.codes]
        if code not in known:
            self.codes.append(schema.OperatorCodeT(deprecatedBuiltinCode=code, builtinCode=code, version=version))
            known.append(code)
        self.operators.append(schema.OperatorT(
            opcodeIndex=known.index(code), inputs=inputs, outputs=[output], builtinOptions=options,
            builtinOptionsType=getattr(schema.BuiltinOptions, options_name)))

    def same(self, layer, input_shape):
        """Whether the window lies as TensorFlow's padding SAME lays it."""
        for pixels, out in zip(input_shape[:2], layer.shape[:2]):
            padding = max((out - 1) * layer.stride + layer.size - pixels, 0)
            if -(-pixels // layer.stride) != out or layer.pads[0] != padding // 2:
                return False
        return True

    def padded(self, layer):
        """The tensor that the layer's window reads, and the name of its padding."""
        source = layer.inputs[0]
        h, w, c = shape = self.network.layers[source].shape
        if self.same(layer, shape):
            return self.numbers[source], "SAME"
        before, behind = layer.pads
        paddings = numpy.array([[0, 0], [before, behind], [before, behind], [0, 0]], "i4")
        output = self.activation((h + before + behind, w + before + behind, c), self.quantised[source])
        self.operator("PAD", 2, [self.numbers[source], self.tensor([4, 2], "INT32", data=paddings)], output,
                      self.schema.PadOptionsT(), "PadOptions")
        return output, "VALID"

    def convolution(self, number, layer, output):
        schema = self.schema
        input_scale = self.quantised[layer.inputs[0]].scale
        weights, scales, bias = quantised_weights(layer, input_scale)
        source, padding = self.padded(layer)
        fused = {"relu": "RELU", "relu6": "RELU6"}.get(layer.activation, "NONE")
        common = {"padding": getattr(schema.Padding, padding), "strideW": layer.stride, "strideH": layer.stride,
                  "fusedActivationFunction": getattr(schema.ActivationFunctionType, fused)}
        channels = self.network.layers[layer.inputs[0]].shape[2]
        bias = self.tensor([len(bias)], "INT32", scales * numpy.float32(input_scale), data=bias)
        if layer.groups == 1:
            weights = self.tensor(weights.shape, "INT8", scales, data=weights)
            options = ["CONV_2D", 3, schema.Conv2DOptionsT(**common), "Conv2DOptions"]
        elif layer.groups == channels == layer.shape[2]:
            weights = weights.transpose(3, 1, 2, 0)
            weights = self.tensor(weights.shape, "INT8", scales, axis=3, data=weights)
            options = ["DEPTHWISE_CONV_2D", 3, schema.DepthwiseConv2DOptionsT(depthMultiplier=1, **common),
                       "DepthwiseConv2DOptions"]
        else:
            raise SystemExit("LiteRT is given groups of one channel only")
        name, version, parameters, kind = options
        leaky = layer.activation == "leaky"
        linear = self.activation(layer.shape, self.quantised[number]) if leaky else output
        self.operator(name, version, [source, weights, bias], linear, parameters, kind)
        if leaky:
            self.operator("LEAKY_RELU", 2, [linear], output, schema.LeakyReluOptionsT(alpha=0.1), "LeakyReluOptions")

    def layer(self, number, layer):
        schema = self.schema
        output = self.activation(layer.shape, self.quantised[number])
        inputs = [self.numbers[i] for i in layer.inputs]
        if layer.kind == "convolution":
            self.convolution(number, layer, output)
        elif layer.kind == "max_pool":
            if not self.same(layer, self.network.layers[layer.inputs[0]].shape):
                raise SystemExit("LiteRT is given the padding SAME only for a maximum")
            options = schema.Pool2DOptionsT(padding=schema.Padding.SAME, strideW=layer.stride, strideH=layer.stride,
                                            filterWidth=layer.size, filterHeight=layer.size)
            self.operator("MAX_POOL_2D", 2, inputs, output, options, "Pool2DOptions")
        elif layer.kind == "upsample":
            size = self.tensor([2], "INT32", data=numpy.array(layer.shape[:2], "i4"))
            self.operator("RESIZE_NEAREST_NEIGHBOR", 2, [*inputs, size], output,
                          schema.ResizeNearestNeighborOptionsT(), "ResizeNearestNeighborOptions")
        elif layer.kind == "concat":
            self.operator("CONCATENATION", 2, inputs, output, schema.ConcatenationOptionsT(axis=3),
                          "ConcatenationOptions")
        else:
            self.operator("ADD", 2, inputs, output, schema.AddOptionsT(), "AddOptions")
        return output

    def model(self):
        import flatbuffers

        schema, layers = self.schema, self.network.layers
        self.numbers = [self.activation(layers[0].shape, self.quantised[0])]
        for number, layer in enumerate(layers[1:], 1):
            self.numbers.append(self.layer(number, layer))
        graph = schema.SubGraphT(tensors=self.tensors, inputs=[self.numbers[0]], operators=self.operators,
                                 outputs=[self.numbers[head] for head in self.network.heads], name="main")
        model = schema.ModelT(version=3, operatorCodes=self.codes, subgraphs=[graph], buffers=self.buffers)
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


class Litert:
    """Runs a network on the calling thread, with XNNPACK unless `delegate` is false. `image` is [h, w, c] of bytes."""

    def __init__(self, network, image, delegate=True):
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        kind = OpResolverType.AUTO if delegate else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        self.interpreter = Interpreter(model_content=Writer(network).model(), num_threads=1,
                                       experimental_op_resolver_type=kind)
        self.interpreter.allocate_tensors()
        codes = (image.astype("i2") - 128).astype("i1")[None]
        self.interpreter.set_tensor(self.interpreter.get_input_details()[0]["index"], codes)

    def run(self):
        self.interpreter.invoke()

    def outputs(self):
        """The heads' tensors, [h, w, c]; a head ends without activation."""
        self.run()
        details = self.interpreter.get_output_details()
        return [self.interpreter.get_tensor(output["index"])[0].astype("f4") * SCALE for output in details]

    def close(self):
        pass

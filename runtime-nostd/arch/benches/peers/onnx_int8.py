"""onnxruntime in int8: the network in QDQ form, which onnxruntime turns into its integer operators."""

import numpy

from network import SCALE, quantisation, quantised_weights


class Writer:
    """Writes a network's nodes. Every operator reads from DequantizeLinear and is read by QuantizeLinear.

    `unsigned` codes are the signed ones plus 128.
    """

    def __init__(self, network, unsigned):
        from onnx import helper, numpy_helper

        self.helper, self.numpy_helper = helper, numpy_helper
        self.network, self.unsigned = network, unsigned
        self.quantised = quantisation(network)
        self.nodes, self.initializers, self.count = [], [], 0

    def node(self, kind, inputs, output=None, **attributes):
        self.count += 1
        output = output or f"t{self.count}"
        self.nodes.append(self.helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, array):
        self.count += 1
        self.initializers.append(self.numpy_helper.from_array(array, f"c{self.count}"))
        return f"c{self.count}"

    def parameters(self, quantised):
        zero = numpy.uint8(quantised.zero + 128) if self.unsigned else numpy.int8(quantised.zero)
        return [self.constant(numpy.asarray(numpy.float32(quantised.scale))), self.constant(numpy.asarray(zero))]

    def dequantised(self, number):
        """The values of a layer's output; each reader has a node of its own."""
        return self.node("DequantizeLinear", [f"q{number}", *self.parameters(self.quantised[number])])

    def convolution(self, number, layer):
        weights, scales, bias = quantised_weights(layer, self.quantised[layer.inputs[0]].scale)
        weights = numpy.ascontiguousarray(weights.transpose(0, 3, 1, 2))
        scale = self.constant(scales)
        zeros = self.constant(numpy.zeros(len(scales), "i1"))
        weights = self.node("DequantizeLinear", [self.constant(weights), scale, zeros], axis=0)
        bias_scales = self.constant(scales * numpy.float32(self.quantised[layer.inputs[0]].scale))
        bias = self.node("DequantizeLinear", [self.constant(bias), bias_scales], axis=0)
        value = self.node("Conv", [self.dequantised(layer.inputs[0]), weights, bias], kernel_shape=[layer.size] * 2,
                          strides=[layer.stride] * 2, pads=[layer.pads[0]] * 2 + [layer.pads[1]] * 2,
                          group=layer.groups)
        if layer.activation == "leaky":
            between = self.parameters(self.quantised[number])
            codes = self.node("QuantizeLinear", [value, *between])
            value = self.node("LeakyRelu", [self.node("DequantizeLinear", [codes, *between])], alpha=0.1)
        elif layer.activation == "relu":
            value = self.node("Relu", [value])
        elif layer.activation == "relu6":
            value = self.node("Clip", [value, *(self.constant(numpy.asarray(numpy.float32(x))) for x in (0, 6))])
        return value

    def layer(self, number, layer):
        if layer.kind == "convolution":
            value = self.convolution(number, layer)
        else:
            inputs = [self.dequantised(i) for i in layer.inputs]
            if layer.kind == "max_pool":
                pads = [layer.pads[0]] * 2 + [layer.pads[1]] * 2
                value = self.node("MaxPool", inputs, kernel_shape=[layer.size] * 2, strides=[layer.stride] * 2,
                                  pads=pads)
            elif layer.kind == "upsample":
                scales = self.constant(numpy.array([1, 1, layer.stride, layer.stride], "f4"))
                value = self.node("Resize", [inputs[0], "", scales], mode="nearest", nearest_mode="floor",
                                  coordinate_transformation_mode="asymmetric")
            elif layer.kind == "concat":
                value = self.node("Concat", inputs, axis=1)
            else:
                value = self.node("Add", inputs)
        self.node("QuantizeLinear", [value, *self.parameters(self.quantised[number])], output=f"q{number}")

    def model(self):
        from onnx import TensorProto, checker

        code = TensorProto.UINT8 if self.unsigned else TensorProto.INT8
        for number, layer in enumerate(self.network.layers[1:], 1):
            self.layer(number, layer)
        tensor = lambda number: self.helper.make_tensor_value_info(
            f"q{number}", code, [1, *(self.network.layers[number].shape[i] for i in (2, 0, 1))])
        graph = self.helper.make_graph(self.nodes, "network", [tensor(0)], [tensor(i) for i in self.network.heads],
                                       self.initializers)
        model = self.helper.make_model(graph, opset_imports=[self.helper.make_opsetid("", 17)], ir_version=8)
        checker.check_model(model, full_check=True)
        return model.SerializeToString()


class Onnxruntime:
    """Runs a network on the calling thread. `image` is [h, w, c] of bytes."""

    def __init__(self, network, unsigned, image):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.session = onnxruntime.InferenceSession(Writer(network, unsigned).model(), options,
                                                    providers=["CPUExecutionProvider"])
        self.unsigned = unsigned
        codes = numpy.ascontiguousarray(image.transpose(2, 0, 1)[None])
        codes = codes if unsigned else (codes.astype("i2") - 128).astype("i1")
        # Bound once, as a program in C would keep its tensors.
        self.binding = self.session.io_binding()
        self.binding.bind_ortvalue_input("q0", onnxruntime.OrtValue.ortvalue_from_numpy(codes))
        for head in network.heads:
            h, w, c = network.layers[head].shape
            empty = numpy.zeros([1, c, h, w], codes.dtype)
            self.binding.bind_ortvalue_output(f"q{head}", onnxruntime.OrtValue.ortvalue_from_numpy(empty))

    def run(self):
        self.session.run_with_iobinding(self.binding)

    def outputs(self):
        """The heads' tensors, [h, w, c]; a head ends without activation."""
        self.run()
        found = [numpy.array(value)[0].transpose(1, 2, 0) for value in self.binding.copy_outputs_to_cpu()]
        return [(value.astype("f4") - (128 if self.unsigned else 0)) * SCALE for value in found]

    def close(self):
        pass

"""Describe a network as an ONNX graph, for ONNX Runtime, Netron and other readers of ONNX."""

import numpy as np

from tinynet import backend
from tinynet.layers import (
    LRN,
    AvgPool,
    Conv2d,
    Dropout,
    Flatten,
    LeakyReLU,
    Linear,
    LRNWithin,
    MaxPool,
    ReLU,
    Sigmoid,
    Tanh,
)
from tinynet.weights.onnx_file import NEEDED
from tinynet.weights.tensors import WeightsError

OPSET, IR_VERSION = 13, 8  # old enough for every runtime since 2020
PLAIN = {ReLU: "Relu", Sigmoid: "Sigmoid", Tanh: "Tanh", Flatten: "Flatten"}


def to_onnx(net, names=None, metadata=None):
    """Describe a network in evaluation mode, with its weights -> bytes of a ModelProto.

    The input is `x`, as the network takes it; the outputs are `logits` and `probabilities`.

    Args     names: {layer name: name of its weights in the file}; metadata: {key: text}
    Raises   WeightsError for a layer that ONNX has no words for, or without the package onnx
    """
    try:
        from onnx import TensorProto, helper
    except ImportError:
        raise WeightsError(NEEDED) from None
    graph, shape = _Graph(names or {}), (1, *net.in_shape)
    for layer in net.layers:
        graph.add_layer(layer, shape)
        shape = layer.output_shape(shape)
    graph.add("Identity", outputs=["logits"])
    graph.add("Softmax", outputs=["probabilities"], axis=1)
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *net.in_shape])]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", shape[1]])
               for name in ("logits", "probabilities")]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "AlexNet", inputs, outputs, graph.constants),
        producer_name="tinynet", ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)])
    helper.set_model_props(model, metadata or {})
    return model.SerializeToString()


class _Graph:
    """Nodes in a row, each fed by the one before, and their constants."""

    def __init__(self, names):
        from onnx import helper, numpy_helper

        self.make_node, self.from_array = helper.make_node, numpy_helper.from_array
        self.names, self.nodes, self.constants, self.value = names, [], [], "x"

    def add(self, kind, *more, outputs, inputs=None, **settings):
        """Add a node that takes the newest value, or `inputs`, and go on from its first output."""
        inputs = [self.value, *more] if inputs is None else inputs
        self.nodes.append(self.make_node(kind, inputs, outputs, name=outputs[0], **settings))
        self.value = outputs[0]

    def constant(self, name, value):
        """Add a constant and return its name."""
        self.constants.append(self.from_array(np.asarray(value), name))
        return name

    def add_layer(self, layer, in_shape):
        """Add what a layer computes on x of in_shape."""
        name, outputs = self.names.get(layer.name, layer.name), [layer.name]
        match layer:
            case Conv2d() | Linear():
                pair = [self.constant(f"{name}.{word}", backend.to_numpy(layer.params[key]))
                        for key, word in (("w", "weight"), ("b", "bias"))]
                if isinstance(layer, Linear):
                    self.add("Gemm", *pair, outputs=outputs, transB=1)
                else:
                    self.add("Conv", *pair, outputs=outputs, strides=layer.stride,
                             pads=_pads(layer, in_shape), group=layer.groups)
            case MaxPool():
                self.add("MaxPool", outputs=outputs, kernel_shape=layer.size, strides=layer.stride,
                         pads=_pads(layer, in_shape))
            case AvgPool():
                self.add("AveragePool", outputs=outputs, kernel_shape=layer.size,
                         strides=layer.stride, pads=_pads(layer, in_shape), count_include_pad=0)
            case LRN():
                self.add_lrn(layer, in_shape[1])
            case LRNWithin():
                self.add_lrn_within(layer)
            case Dropout() if layer.inverted:
                ratio = self.constant(f"{layer.name}.ratio", np.float32(1 - layer.keep))
                self.add("Dropout", ratio, outputs=outputs)
            case Dropout():
                keep = self.constant(f"{layer.name}.keep", np.float32(layer.keep))
                self.add("Mul", keep, outputs=outputs)
            case LeakyReLU():
                self.add("LeakyRelu", outputs=outputs, alpha=layer.slope)
            case _ if type(layer) in PLAIN:
                self.add(PLAIN[type(layer)], outputs=outputs)
            case _:
                raise WeightsError(f"{layer.name}: ONNX has no words for {type(layer).__name__}")

    def add_lrn(self, layer, C):
        """Add an LRN. ONNX divides alpha by n and knows no groups, so they are split and joined."""
        settings = {"size": layer.n, "alpha": layer.alpha * layer.n, "beta": layer.beta,
                    "bias": layer.k}
        if layer.groups == 1:
            self.add("LRN", outputs=[layer.name], **settings)
            return
        parts = [f"{layer.name}.{group}" for group in range(layer.groups)]
        sizes = np.full(layer.groups, C // layer.groups, np.int64)
        sizes = self.constant(f"{layer.name}.sizes", sizes)
        self.add("Split", sizes, outputs=[f"{part}.x" for part in parts], axis=1)
        for part in parts:
            self.add("LRN", outputs=[part], inputs=[f"{part}.x"], **settings)
        self.add("Concat", outputs=[layer.name], inputs=parts, axis=1)

    def add_lrn_within(self, layer):
        """Add x / (k + alpha * sum of squares)^beta in several nodes: ONNX has no such layer."""
        name, x, n = layer.name, self.value, layer.n
        self.add("Mul", x, outputs=[f"{name}.squares"])
        self.add("AveragePool", outputs=[f"{name}.means"], kernel_shape=[n, n], strides=[1, 1],
                 pads=[n // 2] * 4, count_include_pad=1)
        for kind, key, value in (("Mul", "alpha", layer.alpha * n * n), ("Add", "k", layer.k),
                                 ("Pow", "beta", layer.beta)):
            constant = self.constant(f"{name}.{key}", np.float32(value))
            self.add(kind, constant, outputs=[f"{name}.{kind.lower()}"])
        self.add("Div", outputs=[name], inputs=[x, self.value])


def _pads(layer, in_shape):
    """Return how many rows above, columns at the left, rows below, columns at the right are added.

    Where ceil adds a window, it reaches past the end: those rows and columns are counted too.
    """
    axes = zip(in_shape[2:], layer.output_shape(in_shape)[2:], layer.size, layer.stride, layer.pad)
    return [*layer.pad, *(max(pad, (windows - 1) * stride + size - length - pad)
                          for length, windows, size, stride, pad in axes)]

"""ONNX, in and out: the graph of a network, with its weights. Needs the package onnx."""

import math

import numpy as np

from tinynet.layers import (
    LRN,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    MaxPool,
    ReLU,
)
from tinynet.weights import wire
from tinynet.weights.tensors import MAX_BYTES, STORED_AS, Contents, Row, Tensor, WeightsError

NEEDED = "ONNX needs the package onnx: pip install -e '.[weights]'"
FLOAT, FLOAT16, DOUBLE, BFLOAT16 = 1, 10, 11, 16  # TensorProto.DataType
DTYPES = {FLOAT: "float32", FLOAT16: "float16", DOUBLE: "float64", BFLOAT16: "bfloat16"}
NO_LAYERS = {"Softmax", "Identity", "Shape", "Constant"}
MAX_NODES = 10_000


def looks_like(data):
    """Return whether bytes are a ModelProto: version (1) is a number, and there is a graph (7)."""
    try:
        for number, kind, _ in wire.fields(memoryview(data)):
            if number == 1 and kind != wire.VARINT:
                return False
            if number == 7 and kind == wire.BYTES:
                return True
            if number > 20:
                return False
    except WeightsError:
        return data[:1] == b"\x08"  # cut short
    return False


def read(data):
    """Read a file's bytes. Raises WeightsError, also where the package onnx is missing."""
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError:
        raise WeightsError(NEEDED) from None
    try:
        model = onnx.ModelProto.FromString(bytes(data))
    except (DecodeError, ValueError, RuntimeError) as error:
        reason = (str(error) or "no message").splitlines()[0]
        raise WeightsError(f"is damaged or cut short: {reason}") from None
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    if len(model.graph.node) > MAX_NODES:
        raise WeightsError(f"has a graph of more than {MAX_NODES:,} nodes")
    tensors = {tensor.name: _tensor(tensor) for tensor in model.graph.initializer}
    by = f", written by {model.producer_name}" if model.producer_name else ""
    if "tinynet" in metadata:
        return Contents(f"ONNX{by}", tensors=_parameters(tensors), metadata=metadata)
    graph = _Graph(model.graph, tensors)
    return Contents(f"ONNX{by}", rows=graph.rows(), image_size=graph.image_size, metadata=metadata)


def _parameters(tensors):
    """Return the parameters of layers among the constants of a graph that tinynet wrote."""
    return {name: tensor for name, tensor in tensors.items()
            if name.endswith((".weight", ".bias"))}


def _tensor(tensor):
    """Return a TensorProto as a Tensor.

    Its numbers are in raw_data, or in a field of their own type.
    """
    shape, name = tuple(tensor.dims), tensor.name
    dtype = DTYPES.get(tensor.data_type, f"type {tensor.data_type} of ONNX")
    if tensor.data_location or tensor.external_data:
        raise WeightsError(f"{name}: its numbers are in another file, which is not read")
    if any(size < 0 for size in shape) or len(shape) > 8:
        raise WeightsError(f"{name}: is damaged: sizes {shape}")
    count = math.prod(shape)
    if dtype not in STORED_AS:
        return Tensor(shape, dtype, lambda: _integers(tensor))
    fields = {"float32": tensor.float_data, "float64": tensor.double_data}
    numbers = fields.get(dtype, tensor.int32_data)
    there = len(tensor.raw_data) // np.dtype(STORED_AS[dtype]).itemsize or len(numbers)
    if count != there or count * 8 > 4 * MAX_BYTES:
        raise WeightsError(f"{name}: {shape} takes {count:,} numbers, there are {there:,}")

    def read():
        if tensor.raw_data:
            return np.frombuffer(tensor.raw_data, STORED_AS[dtype]).reshape(shape)
        if dtype in fields:
            return np.array(numbers, STORED_AS[dtype]).reshape(shape)
        bits = np.array(numbers).astype("<u2")  # 16-bit numbers lie in the low bits of int32_data
        return bits.view(STORED_AS[dtype]).reshape(shape)

    return Tensor(shape, dtype, read)


def _integers(tensor):
    """Return the int64 numbers of a tensor, such as the sizes of a Reshape."""
    values = np.frombuffer(tensor.raw_data, "<i8") if tensor.raw_data else tensor.int64_data
    return [int(value) for value in values[:16]]


class _Graph:
    """The nodes of a graph in a row, each fed by the one before."""

    def __init__(self, graph, tensors):
        self.tensors = tensors
        inputs = [value for value in graph.input if value.name not in tensors]
        if len(inputs) != 1:
            raise WeightsError(f"has {len(inputs)} inputs, a network for pictures has 1")
        sizes = [dim.dim_value for dim in inputs[0].type.tensor_type.shape.dim]
        if len(sizes) != 4 or sizes[1] not in (0, 3) or sizes[2] != sizes[3]:
            raise WeightsError(f"its input has the sizes {sizes}, not N x 3 x S x S")
        self.image_size = sizes[2] or None
        self.nodes, self.value = graph.node, inputs[0].name

    def rows(self):
        rows = []
        for node in self.nodes:
            if node.op_type == "Constant" or not node.input or node.input[0] in self.tensors:
                continue
            name = node.name or (node.output[0] if node.output else node.op_type)
            if node.input[0] != self.value or not node.output:
                raise WeightsError(f"{name}: not fed by the node before it; only networks whose "
                                   "layers follow each other are read")
            try:
                row = self.row(node, name)
            except (KeyError, IndexError, ValueError, TypeError) as error:
                if isinstance(error, WeightsError):
                    raise
                raise WeightsError(f"{name}: is damaged, {node.op_type} without what it needs "
                                   f"({error})") from None
            if row is not None:
                rows.append(row)
            self.value = node.output[0]
        return rows

    def row(self, node, name):
        """Return the Row of a node, None for one that changes nothing."""
        own = {attribute.name: attribute for attribute in node.attribute}

        def whole(key, default):
            return int(own[key].i) if key in own else default

        def real(key, default):
            return float(f"{own[key].f:.7g}") if key in own else default

        def wholes(key, default):
            return tuple(int(value) for value in own[key].ints) if key in own else default

        def constant(place):
            return self.tensors[node.input[place]]

        match node.op_type:
            case "Conv":
                if wholes("dilations", (1, 1)) != (1, 1):
                    raise WeightsError(f"{name}: its kernels are dilated, AlexNet's are not")
                w = constant(1)
                stride = wholes("strides", (1, 1))
                pad = self.padding(own, wholes, name, w.shape[2:], stride)
                arguments = {"stride": stride, "pad": pad, "groups": whole("group", 1)}
                return Row(Conv2d, name, arguments, w, constant(2))
            case "Gemm":
                if real("alpha", 1.0) != 1 or real("beta", 1.0) != 1 or whole("transA", 0):
                    raise WeightsError(f"{name}: a Gemm that is no fully connected layer")
                w = constant(1)
                if not whole("transB", 0):
                    w = _transposed(w)
                return Row(Linear, name, {}, w, constant(2))
            case "LRN":
                n = whole("size", 0)
                return Row(LRN, name, {"n": n, "alpha": real("alpha", 1e-4) / max(1, n),
                                       "beta": real("beta", 0.75), "k": real("bias", 1.0)})
            case "MaxPool":
                return self.pool(own, whole, wholes, name)
            case "Dropout":
                ratio = real("ratio", 0.5)
                if len(node.input) > 1 and node.input[1]:
                    ratio = float(f"{float(constant(1).values()):.7g}")
                return Row(Dropout, name, {"keep": 1 - ratio, "inverted": True})
            case "Relu":
                return Row(ReLU, name, {})
            case "Flatten":
                return Row(Flatten, name, {})
            case "Reshape":
                sizes = list(own["shape"].ints) if "shape" in own else constant(1).read()
                if len(sizes) != 2:
                    raise WeightsError(f"{name}: a Reshape that does not flatten")
                return Row(Flatten, name, {})
            case "AveragePool":  # torchvision's AdaptiveAvgPool2d, where it does nothing
                if wholes("kernel_shape", ()) == (1, 1) and wholes("strides", (1, 1)) == (1, 1):
                    return None
            case kind if kind in NO_LAYERS:
                return None
        raise WeightsError(f"{name}: a node {node.op_type}, which AlexNet does not have")

    def padding(self, own, wholes, name, kernel, stride):
        """Return the padding of a convolution as (height, width), the same on both sides."""
        mode = own["auto_pad"].s.decode() if "auto_pad" in own else "NOTSET"
        pads = wholes("pads", (0, 0, 0, 0))
        if mode == "VALID":
            pads = (0, 0, 0, 0)
        elif mode != "NOTSET":
            raise WeightsError(f"{name}: its padding is {mode}, only numbers are read")
        if len(pads) != 4 or pads[:2] != pads[2:]:
            raise WeightsError(f"{name}: pads its sides by {pads}, AlexNet opposite sides alike")
        return pads[:2]

    def pool(self, own, whole, wholes, name):
        """Return the Row of a max-pooling.

        A window that reaches past the end is clipped, so that padding below and at the right alone
        does the same as ceil where it makes one more window.
        """
        size, stride = wholes("kernel_shape", ()), wholes("strides", (1, 1))
        pads, ceil = wholes("pads", (0, 0, 0, 0)), bool(whole("ceil_mode", 0))
        if wholes("dilations", (1, 1)) != (1, 1) or len(size) != 2 or len(stride) != 2:
            raise WeightsError(f"{name}: a pooling that is not over plain squares")
        arguments = {"size": size, "stride": stride, "pad": pads[:2], "ceil": ceil}
        if pads[:2] != pads[2:]:
            if ceil or len(pads) != 4 or any(pads[:2]):
                raise WeightsError(f"{name}: pads its sides by {pads}, which is not read")
            arguments["padded_below"] = pads[2:]
        return Row(MaxPool, name, arguments)


def _transposed(tensor):
    return Tensor(tensor.shape[::-1], tensor.dtype, lambda: tensor.read().T)

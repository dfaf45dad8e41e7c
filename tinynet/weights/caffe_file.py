"""Caffe's .caffemodel: a NetParameter of caffe.proto, with `layer` (100), `layers` (2), or both.

Both kinds of layers hold the same things under other numbers. The net is the one that was trained:
data and loss layers are in it too, and so is the order of pooling and normalisation.
"""

import math
import struct

from tinynet.layers import LRN, Conv2d, Dropout, Flatten, Linear, MaxPool, ReLU
from tinynet.weights import wire
from tinynet.weights.tensors import (
    MAX_BYTES,
    STORED_AS,
    Contents,
    Row,
    Tensor,
    WeightsError,
    times,
    view,
)

# Numbers of the fields in LayerParameter and in V1LayerParameter.
NEW = {"name": 1, "type": 2, "bottom": 3, "top": 4, "blobs": 7, "transform": 100, "conv": 106,
       "dropout": 108, "linear": 117, "lrn": 118, "pool": 121}
OLD = {"name": 4, "type": 5, "bottom": 2, "top": 3, "blobs": 6, "transform": 36, "conv": 10,
       "dropout": 12, "linear": 17, "lrn": 18, "pool": 19}
OLD_TYPES = {4: "Convolution", 6: "Dropout", 8: "Flatten", 14: "InnerProduct", 15: "LRN",
             17: "Pooling", 18: "ReLU", 1: "Accuracy", 5: "Data", 12: "ImageData",
             20: "Softmax", 21: "SoftmaxWithLoss", 22: "Split", 29: "MemoryData", 32: "DummyData"}
NO_LAYERS = {"Accuracy", "Data", "DummyData", "ImageData", "Input", "MemoryData", "Python",
             "Silence", "Softmax", "SoftmaxWithLoss", "Split"}
TWICE = {"bias_lr": 2, "bias_decay": 0}  # as Caffe trains: biases learn twice as fast, no decay


def looks_like(data):
    """Return whether bytes begin as a NetParameter does: with a name, or a layer."""
    try:
        key, place = wire.varint(data, 0)
        length, place = wire.varint(data, place)
    except WeightsError:
        return False
    return key in (1 << 3 | 2, 2 << 3 | 2, 100 << 3 | 2) and length <= MAX_BYTES


def read(data):
    """Read a file's bytes. Raises WeightsError."""
    layers, size, names, kinds = [], None, [], set()
    for number, kind, value in wire.fields(memoryview(data)):
        if kind != wire.BYTES or number not in (1, 2, 100):
            continue
        if number == 1:
            names.append(_text(value))
            continue
        numbers = NEW if number == 100 else OLD
        layer = wire.message(value)
        size = _crop(layer, numbers) or size
        if rows := _rows(layer, numbers):
            ends = [_text(layer.get(numbers[key], [b""])[0]) for key in ("bottom", "top")]
            layers.append((*rows, *ends))
            kinds.add(number)
    if len(kinds) > 1:
        layers = _in_order(layers)
    name = f", the net named {names[0]!r}" if names and names[0] else ""
    return Contents(f"Caffe{name}", rows=[row for row, _, _ in layers], image_size=size)


def _in_order(layers):
    """Put (row, bottom, top) in the order in which they feed each other.

    In a mixed file all old layers come first. A layer that works in place, as ReLU does, comes
    before the next that takes the same array.
    """
    left, ordered = list(layers), []
    tops = {top for _, bottom, top in layers if bottom != top}
    value = next((bottom for _, bottom, _ in layers if bottom not in tops), None)
    while left:
        fed = [layer for layer in left if layer[1] == value]
        if not fed:
            raise WeightsError("its layers, some old and some new, cannot be put in order")
        following = next((layer for layer in fed if layer[2] == value), fed[0])
        left.remove(following)
        ordered.append(following)
        value = following[2]
    return ordered


def _rows(layer, numbers):
    """Return the Row of a layer, in a list; an empty list for layers of data and of losses."""
    kind = layer.get(numbers["type"], [0])[-1]
    kind = OLD_TYPES.get(kind, f"of type {kind}") if isinstance(kind, int) else _text(kind)
    name = _text(layer.get(numbers["name"], [b""])[-1])
    if kind in NO_LAYERS:
        return []

    def settings(key):
        return wire.message(_bytes(layer.get(numbers[key], [memoryview(b"")])[-1]))

    if kind == "Convolution":
        own = settings("conv")
        if _whole(own, 18, 1) != 1:
            raise WeightsError(f"{name}: its kernels are dilated, AlexNet's are not")
        arguments = {"stride": _pair(own, 6, 13, 1), "pad": _pair(own, 3, 9, 0),
                     "groups": _whole(own, 5, 1), **TWICE}
        return [Row(Conv2d, name, arguments, *_blobs(layer, numbers, name, 4))]
    if kind == "InnerProduct":
        if _whole(settings("linear"), 6, 0):
            raise WeightsError(f"{name}: its weights are transposed, which is not read")
        return [Row(Linear, name, dict(TWICE), *_blobs(layer, numbers, name, 2))]
    if kind == "LRN":
        own = settings("lrn")
        if _whole(own, 4, 0):
            raise WeightsError(f"{name}: normalises within maps, AlexNet across them")
        n = _whole(own, 1, 5)
        return [Row(LRN, name, {"n": n, "alpha": _real(own, 2, 1) / max(1, n),
                                "beta": _real(own, 3, 0.75), "k": _real(own, 5, 1)})]
    if kind == "Pooling":
        own = settings("pool")
        if _whole(own, 1, 0):
            raise WeightsError(f"{name}: takes averages, AlexNet's pooling the largest value")
        return [Row(MaxPool, name, {"size": _pair(own, 2, 5, 1), "stride": _pair(own, 3, 7, 1),
                                    "pad": _pair(own, 4, 9, 0),
                                    "ceil": not _whole(own, 13, 0)})]
    if kind == "Dropout":
        ratio = _real(settings("dropout"), 1, 0.5)
        return [Row(Dropout, name, {"keep": 1 - ratio, "inverted": True})]
    if kind in ("ReLU", "Flatten"):
        return [Row({"ReLU": ReLU, "Flatten": Flatten}[kind], name, {})]
    raise WeightsError(f"{name}: a layer {kind}, which AlexNet does not have")


def _blobs(layer, numbers, name, axes):
    blobs = [_blob(_bytes(blob), name) for blob in layer.get(numbers["blobs"], [])]
    if len(blobs) != 2:
        raise WeightsError(f"{name}: has {len(blobs)} arrays, not weights and biases")
    w, b = blobs
    # Old files give every array four sizes: 1 x 1 x 4096 x 9216, 1 x 1 x 1 x 4096.
    return _without_ones(w, axes), _without_ones(b, 1)


def _without_ones(tensor, axes):
    extra = len(tensor.shape) - axes
    if extra > 0 and all(size == 1 for size in tensor.shape[:extra]):
        shape = tensor.shape[extra:]
        return Tensor(shape, tensor.dtype, lambda: tensor.read().reshape(shape))
    return tensor


def _blob(data, name):
    """Read a BlobProto: shape (7) or four sizes (1 to 4); data (5) or double_data (8)."""
    own = wire.message(data)
    if 7 in own:
        packed = wire.message(_bytes(own[7][-1])).get(1, [])
        shape = []
        for part in packed:
            shape += [part] if isinstance(part, int) else _varints(part)
    else:
        shape = [_whole(own, number, 0) for number in (1, 2, 3, 4)]
    for number, dtype in ((5, "float32"), (8, "float64")):
        if number in own:
            parts = [_bytes(part) for part in own[number]]
            if len(parts) > 1:
                raise WeightsError(f"{name}: its numbers are in {len(parts):,} pieces, not in one")
            return Tensor(tuple(shape), dtype, _reader(parts[0], dtype, tuple(shape), name))
    raise WeightsError(f"{name}: has no numbers; this is a net's description, not its weights")


def _reader(data, dtype, shape, name):
    if len(shape) > 8 or math.prod(shape) * int(STORED_AS[dtype][-1]) != len(data):
        raise WeightsError(f"{name}: {times(shape)} in {dtype} does not take {len(data):,} bytes")
    return lambda: view(data, dtype, shape, 0, len(data))


def _varints(data):
    values, place = [], 0
    while place < len(data) and len(values) <= 8:
        value, place = wire.varint(data, place)
        values.append(value)
    return values


def _crop(layer, numbers):
    """Return the side of the pictures, if a data layer has it."""
    if numbers["transform"] not in layer:
        return None
    return _whole(wire.message(_bytes(layer[numbers["transform"]][-1])), 3, 0) or None


def _pair(own, both, first, default):
    """Return a size as (height, width).

    Caffe has one number for both, two numbers, or each under a field number of its own.
    """
    values = []
    for part in own.get(both, []):
        values += [part] if isinstance(part, int) else _varints(part)
    if first in own or first + 1 in own:
        values = [_whole(own, first, default), _whole(own, first + 1, default)]
    if len(values) > 2:
        raise WeightsError("is damaged: a size with more than two numbers")
    values = values or [default]
    return values[0], values[-1]


def _whole(own, number, default):
    value = own.get(number, [default])[-1]
    if not isinstance(value, int):
        raise WeightsError("is damaged: bytes in the place of a number")
    return value


def _real(own, number, default):
    value = own.get(number, [None])[-1]
    if value is None:
        return default
    if isinstance(value, int) or len(value) != 4:
        raise WeightsError("is damaged: something else in the place of a number")
    return _as_written(struct.unpack("<f", value)[0])


def _as_written(value):
    """Return the shortest decimal that a float32 stands for: 0.0001, not 0.000099999997."""
    return float(f"{value:.7g}")


def _bytes(value):
    if isinstance(value, int):
        raise WeightsError("is damaged: a number in the place of bytes")
    return value


def _text(value):
    return bytes(_bytes(value)).decode("utf-8", "replace")

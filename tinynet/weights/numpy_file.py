"""bvlc_alexnet.npy: Caffe's weights as Guerzhoy's TensorFlow script takes them, a pickled dict.

The pickle is read without executing it. Kernels lie as height, width, channels, kernels, and fc6
takes its inputs in the order height, width, channels: both are put back into Caffe's order here.
"""

import io
import math
import re

import numpy as np

from tinynet.weights import pickles
from tinynet.weights.tensors import Contents, Tensor, WeightsError

MAGIC = b"\x93NUMPY"
ARRAY = "numpy.ndarray"
RECONSTRUCT = {"numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"}
ALLOWED = RECONSTRUCT | {ARRAY, "numpy.dtype", "_codecs.encode"}
CONVERT = ("is a pickle that cannot be read without executing it; convert it once, on a machine "
           "where you trust it: np.savez of the arrays, or safetensors.numpy.save_file")
HEADER = re.compile(rb"\{'descr': '([^']{1,20})', 'fortran_order': (True|False), "
                    rb"'shape': (\([0-9, ]{0,100}\)), *\}\s*")


def read(data):
    """Read a file's bytes. Raises WeightsError."""
    length = int.from_bytes(data[8:10], "little") if data[6:7] == b"\x01" else 0
    header = HEADER.fullmatch(bytes(data[10:10 + length]))
    if header is None:
        raise WeightsError("is damaged, or a .npy file of another kind than bvlc_alexnet.npy")
    if header[1] not in (b"|O", b"O"):
        raise WeightsError("is a single array, not the weights of a network")
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    file.seek(10 + length)
    try:
        value = pickles.load(file, ALLOWED)[0]
    except WeightsError as error:
        raise WeightsError(f"{error}; or it {CONVERT}" if "names" in str(error) else str(error)
                           ) from None
    weights = _only_item(value)
    if not isinstance(weights, dict):
        raise WeightsError(CONVERT)
    tensors = {}
    for name, pair in weights.items():
        name = name.decode("latin-1") if isinstance(name, bytes) else str(name)
        if isinstance(pair, dict):  # as newer versions of the converter write them
            pair = [pair.get("weights"), pair.get("biases")]
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise WeightsError(f"{name}: not a pair of weights and biases")
        w, b = (_array(item, name) for item in pair)
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = _in_our_order(name, w), b
    return Contents("Guerzhoy's bvlc_alexnet.npy", tensors=tensors)


def _only_item(value):
    """Return the only item of an array without axes, into which np.save wraps a dict."""
    state = getattr(value, "state", None)
    if isinstance(state, tuple) and len(state) == 5 and isinstance(state[4], list | tuple):
        return state[4][0] if len(state[4]) == 1 else None
    return None


def _array(item, name):
    try:
        assert item.name in RECONSTRUCT
        _, shape, dtype, fortran, numbers = item.state
        kind, order = dtype.arguments[0], dtype.state[1]
        if isinstance(numbers, pickles.Call):  # bytes in a pickle of protocol 2 from Python 3
            numbers = numbers.arguments[0]
        if isinstance(numbers, str):
            numbers = numbers.encode("latin-1")
        dtype = {"f4": "float32", "f8": "float64"}[kind]
        assert order in ("<", b"<") and isinstance(numbers, bytes) and not fortran
        assert all(type(size) is int and size >= 0 for size in shape) and len(shape) <= 8
        assert math.prod(shape) * int(kind[1]) == len(numbers)
    except (AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError):
        raise WeightsError(f"{name}: is damaged, or no array of float32") from None
    return Tensor(tuple(shape), dtype, lambda: np.frombuffer(numbers, f"<{kind}").reshape(shape))


def _in_our_order(name, w):
    """Return kernels (KH, KW, C, K) as (K, C, KH, KW), and units (IN, OUT) as (OUT, IN).

    The inputs of fc6 are sorted by channels.
    """
    if len(w.shape) == 4:
        KH, KW, C, K = w.shape
        return Tensor((K, C, KH, KW), w.dtype, lambda: w.read().transpose(3, 2, 0, 1))
    if len(w.shape) != 2:
        return w
    IN, OUT = w.shape
    if name != "fc6" or IN % 36:
        return Tensor((OUT, IN), w.dtype, lambda: w.read().T)
    return Tensor((OUT, IN), w.dtype, lambda: w.read().reshape(6, 6, IN // 36, OUT)
                  .transpose(3, 2, 0, 1).reshape(OUT, IN))

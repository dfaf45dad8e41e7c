"""The format safetensors: the length of a header, the header in JSON, the numbers."""

import json
import struct

from tinynet.weights.tensors import STORED_AS, Contents, Tensor, WeightsError, view

MAX_HEADER = 100_000_000  # bytes, as in the format's own description
DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}


def looks_like(data):
    """Return whether bytes may be in this format: a length that fits, and the brace of JSON."""
    if len(data) < 10:
        return False
    length = struct.unpack_from("<Q", data)[0]
    return 2 <= length <= MAX_HEADER and data[8:9] == b"{"


def read(data):
    """Read a file's bytes. Raises WeightsError."""
    length = struct.unpack_from("<Q", data)[0]
    start = 8 + length
    if start > len(data):
        raise WeightsError(f"is cut short: its header takes {length:,} bytes, the whole file has "
                           f"{len(data):,}")
    try:
        header = json.loads(bytes(data[8:start]).decode("utf-8"))
        metadata = header.pop("__metadata__", {})
        assert all(isinstance(text, str) for text in metadata.values())
        tensors = {name: _tensor(entry, data, start) for name, entry in header.items()}
    except WeightsError:
        raise
    except (ValueError, AssertionError, AttributeError, TypeError, KeyError, RecursionError):
        raise WeightsError("is damaged: its header is not what safetensors writes") from None
    return Contents("safetensors", tensors=tensors, metadata=metadata)


def _tensor(entry, data, start):
    shape, (first, last) = tuple(entry["shape"]), entry["data_offsets"]
    numbers = (*shape, first, last)
    assert all(type(n) is int and n >= 0 for n in numbers) and first <= last and len(shape) <= 8
    dtype = DTYPES.get(entry["dtype"], str(entry["dtype"]))
    if start + last > len(data):
        raise WeightsError(f"is cut short: {start + last:,} bytes are needed, there are "
                           f"{len(data):,}")
    if dtype in STORED_AS:
        view(data, dtype, shape, start + first, last - first)
    return Tensor(shape, dtype, lambda: view(data, dtype, shape, start + first, last - first))


def write(file, arrays, metadata):
    """Write arrays {name: float32} and metadata {key: text} into an open file."""
    header, offset = {"__metadata__": metadata}, 0
    for name, array in arrays.items():
        header[name] = {"dtype": "F32", "shape": list(array.shape),
                        "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # so that the numbers begin at a multiple of 8
    file.write(struct.pack("<Q", len(text)) + text)
    for array in arrays.values():
        file.write(array.astype("<f4", copy=False).tobytes())

"""PyTorch's files, .pth and .pt, in both layouts: a zip archive since version 1.6, a chain of
pickles before. PyTorch need not be installed, and nothing in the file is executed."""

import io
import math
import struct
import zipfile

import numpy as np

from tinynet.weights import pickles
from tinynet.weights.tensors import STORED_AS, Contents, Tensor, WeightsError, times

OURS = "tinynet"  # where our metadata lie in a state_dict's _metadata, which PyTorch passes over
MAX_PICKLE = 16 << 20  # bytes of data.pkl, which holds names and shapes
MAGIC = 0x1950a86a20f9469cfc6c
LEGACY_HEAD = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
STORAGES = {"Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Double": "float64",
            "Long": "int64", "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8",
            "Bool": "bool"}
ITEMSIZE = {"int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1, "bool": 1,
            **{dtype: np.dtype(stored).itemsize for dtype, stored in STORED_AS.items()}}
REBUILD = {"torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2"}
PARAMETERS = {"torch._utils._rebuild_parameter", "torch.nn.parameter.Parameter"}  # new and old
ALLOWED = REBUILD | PARAMETERS | {"collections.OrderedDict", "torch.Size"} | {
    f"torch.{kind}Storage" for kind in STORAGES}


def read_zip(data):
    """Read the zip layout from bytes. Raises WeightsError."""
    try:
        with zipfile.ZipFile(io.BytesIO(data) if isinstance(data, bytes) else data) as archive:
            return _contents("PyTorch", *_read_archive(archive, len(data)))
    except WeightsError:
        raise
    except Exception as error:  # zipfile raises many kinds on damaged archives
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise WeightsError(f"is damaged or cut short: {reason}") from None


def _read_archive(archive, size):
    members = {info.filename: info for info in archive.infolist()}
    if "params/conv1.w.npy" in members or "conv1.w.npy" in members:
        raise WeightsError("is weights.npz or a checkpoint of a run, which does not say what "
                           "network it belongs to: give the folder of the run")
    root = next((name.removesuffix("data.pkl") for name in members
                 if name.count("/") == 1 and name.endswith("/data.pkl")), None)
    if root is None:
        raise WeightsError("is a zip archive that torch.save has not made: it has no data.pkl")
    if f"{root}constants.pkl" in members:
        raise WeightsError("is a TorchScript program; give a state_dict() written by torch.save")
    if any(info.compress_type != zipfile.ZIP_STORED or info.file_size > size
           for info in members.values()):
        raise WeightsError("is damaged: torch.save leaves the members of its archive uncompressed")
    if f"{root}byteorder" in members and archive.read(f"{root}byteorder") != b"little":
        raise WeightsError("was written by a big-endian machine")
    if members[f"{root}data.pkl"].file_size > MAX_PICKLE:
        raise WeightsError(f"has a data.pkl of more than {MAX_PICKLE:,} bytes")
    names = io.BytesIO(archive.read(f"{root}data.pkl"))
    value, persistent = pickles.load(names, ALLOWED)
    storages = {}
    for item in persistent:
        dtype, key, count = _storage(item)
        info = members.get(f"{root}data/{key}")
        if info is None or info.file_size < count * ITEMSIZE[dtype]:
            raise WeightsError(f"is damaged: data/{key} is missing or shorter than its "
                               f"{count:,} numbers")
        if dtype in STORED_AS:
            content = archive.read(info)
            storages[key] = np.frombuffer(content, STORED_AS[dtype], count)
    return value, storages


def read_legacy(data):
    """Read the older layout: magic number, version, system, objects, keys, then the numbers.

    Args     data: an mmap
    Raises   WeightsError
    """
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    file.seek(0)
    magic, version, system = (pickles.load(file, ALLOWED)[0] for _ in range(3))
    if magic != MAGIC or version != 1001:
        raise WeightsError("is damaged: not the magic number of torch.save")
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise WeightsError("was written by a big-endian machine")
    value, persistent = pickles.load(file, ALLOWED)
    keys = pickles.load(file, ALLOWED)[0]
    dtypes = {key: (dtype, count) for dtype, key, count in map(_storage, persistent)}
    storages, offset = {}, file.tell()
    for key in keys if isinstance(keys, list) else ():
        if not isinstance(key, str) or key not in dtypes:
            raise WeightsError("is damaged: it has numbers that belong to no tensor")
        dtype, count = dtypes[key]
        end = offset + 8 + count * ITEMSIZE[dtype]
        if end > len(data):
            raise WeightsError(f"is cut short: {end:,} bytes are needed, there are {len(data):,}")
        if struct.unpack_from("<q", data, offset)[0] != count:
            raise WeightsError(f"is damaged: storage {key} has another length than its tensors say")
        if dtype in STORED_AS:
            storages[key] = np.frombuffer(data, STORED_AS[dtype], count, offset + 8)
        offset = end
    return _contents("PyTorch (layout before version 1.6)", value, storages)


def _storage(item):
    """Return dtype, key and count of a persistent id."""
    if not isinstance(item.key, tuple) or len(item.key) < 5 or item.key[0] != "storage":
        raise WeightsError("is damaged: an object outside the pickle that is no storage")
    _, kind, key, _, count = item.key[:5]
    if len(item.key) > 5 and item.key[5] is not None:
        raise WeightsError("has storages that are parts of others, as very old versions wrote them")
    if not (isinstance(kind, pickles.Name) and kind.text.endswith("Storage")
            and isinstance(key, str) and isinstance(count, int) and count >= 0):
        raise WeightsError("is damaged: a storage without kind, key and length")
    return STORAGES[kind.text.removeprefix("torch.").removesuffix("Storage")], key, count


def _contents(form, value, storages):
    """Return the tensors of a state_dict, or of a checkpoint that has one, and our metadata."""
    if isinstance(value, dict):
        for key in ("state_dict", "model"):
            if isinstance(value.get(key), dict):
                value = value[key]
    if not isinstance(value, dict):
        raise WeightsError("holds no state_dict")
    described = {name: _tensor(item, storages) for name, item in value.items()
                 if isinstance(name, str)}
    found = {name: tensor for name, tensor in described.items() if tensor is not None}
    if not found:
        raise WeightsError("holds no state_dict: there are no tensors in it by name")
    ours = getattr(value, "state", None)
    ours = ours.get("_metadata") if isinstance(ours, dict) else None
    ours = ours.get(OURS) if isinstance(ours, dict) else None
    return Contents(form, tensors=found, metadata=ours if isinstance(ours, dict) else {})


def _tensor(item, storages):
    if isinstance(item, pickles.Call) and item.name in PARAMETERS and item.arguments:
        item = item.arguments[0]
    if not isinstance(item, pickles.Call) or item.name not in REBUILD:
        return None
    try:
        storage, offset, shape, stride = item.arguments[:4]
        if isinstance(shape, pickles.Call):
            shape = shape.arguments[0]
        numbers = (offset, *shape, *stride)
        assert len(shape) == len(stride) <= 8 and all(type(n) is int and n >= 0 for n in numbers)
        dtype, key, count = _storage(storage)
        last = offset + sum((size - 1) * step for size, step in zip(shape, stride))
        assert 0 < math.prod(shape) <= count and last < count
    except (AssertionError, AttributeError, TypeError, ValueError):
        raise WeightsError("is damaged: a tensor that does not fit into its storage") from None

    def read():
        numbers = storages[key]
        step = numbers.itemsize
        return np.lib.stride_tricks.as_strided(numbers[offset:], shape, [step * n for n in stride])

    if dtype in STORED_AS and key not in storages:
        raise WeightsError(f"is cut short: the numbers of a tensor of {times(shape)} are missing")
    return Tensor(tuple(shape), dtype, read)


def write(file, arrays, metadata):
    """Write arrays {name: float32} as a state_dict, and metadata {key: text}, into an open file.

    The pickle is written by hand, as reading it is done by hand: PyTorch need not be installed.
    """
    ordered = b"ccollections\nOrderedDict\n)R"
    names = [b"\x80\x02", ordered, b"("]
    for place, (name, array) in enumerate(arrays.items()):
        strides = [math.prod(array.shape[axis + 1:]) for axis in range(array.ndim)]
        names += [_text(name), b"ctorch._utils\n_rebuild_tensor_v2\n((", _text("storage"),
                  b"ctorch\nFloatStorage\n", _text(str(place)), _text("cpu"), _whole(array.size),
                  b"tQK\x00(", *map(_whole, array.shape), b"t(", *map(_whole, strides), b"t\x89",
                  ordered, b"tR"]
    names += [b"u}", _text("_metadata"), ordered, _text(OURS), b"}("]
    names += [part for pair in metadata.items() for part in map(_text, pair)]
    names += [b"ussb."]
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in (("data.pkl", b"".join(names)), ("byteorder", b"little"),
                              ("version", b"3\n")):
            archive.writestr(zipfile.ZipInfo(f"archive/{name}"), content)
        for place, array in enumerate(arrays.values()):
            archive.writestr(zipfile.ZipInfo(f"archive/data/{place}"),
                             array.astype("<f4", copy=False).tobytes())


def _text(text):
    raw = text.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def _whole(value):
    return b"J" + struct.pack("<i", value)

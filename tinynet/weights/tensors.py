"""What every reader of weights hands over: tensors that are described first and read later.

A shape is compared with the one that is expected before memory is taken, so that a small file
cannot ask for a large array.
"""

import dataclasses
import math
import mmap
import os
import stat
from collections.abc import Callable

import numpy as np

MAX_BYTES = 2 << 30  # of a file; AlexNet with its velocities in float64 takes 1 GiB

# How the bytes of each type are read. NumPy has no bfloat16: the upper half of a float32.
STORED_AS = {"float32": "<f4", "float16": "<f2", "bfloat16": "<u2", "float64": "<f8"}


class WeightsError(ValueError):
    """A file of weights that cannot be used; one line for the user.

    The line may quote names from the file: what no terminal should be sent is replaced.
    """

    def __init__(self, line):
        super().__init__("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}"
                                 for c in str(line)[:1000]))


@dataclasses.dataclass
class Tensor:
    """An array in a file.

    shape   a tuple of sizes
    dtype   "float32", "float16", "bfloat16", "float64", or the name of a type that is not read
    read    a function without arguments that returns the array as it is stored
    """

    shape: tuple
    dtype: str
    read: Callable

    def values(self):
        """Return a float32 copy. Raises WeightsError where its numbers are of no use."""
        if self.dtype not in STORED_AS:
            raise WeightsError(f"holds {self.dtype}, which weights cannot be")
        array = self.read()
        if self.dtype == "bfloat16":
            array = (array.astype(np.uint32) << 16).view(np.float32)
        with np.errstate(over="ignore"):  # a float64 too large for float32 is found below
            array = np.array(array, dtype=np.float32, order="C")
        if not np.isfinite(array).all():
            raise WeightsError("holds numbers that are not finite")
        return array


@dataclasses.dataclass
class Row:
    """A layer that a file describes: its class, the arguments of its constructor, its weights."""

    kind: type
    name: str
    arguments: dict
    w: Tensor | None = None
    b: Tensor | None = None


@dataclasses.dataclass
class Contents:
    """What is in a file of weights.

    format      its name, for people to read
    tensors     {name: Tensor}, for a file that holds arrays and says nothing about layers
    rows        [Row], for a file that describes its layers
    image_size  side of the pictures that its network takes, where the file says so
    metadata    {key: text} as whoever wrote the file left it
    """

    format: str
    tensors: dict = dataclasses.field(default_factory=dict)
    rows: list = dataclasses.field(default_factory=list)
    image_size: int | None = None
    metadata: dict = dataclasses.field(default_factory=dict)


def times(shape):
    """Write a shape as people do: 96x3x11x11."""
    return "x".join(map(str, shape)) or "a single number"


def view(data, dtype, shape, offset, length):
    """Return data[offset:offset + length] as an array of that shape, without copying it.

    Raises   WeightsError where the bytes are not there, or are not as many as the shape takes
    """
    if offset < 0 or length < 0 or offset + length > len(data):
        raise WeightsError(f"is cut short: {offset + length:,} bytes are needed, there are "
                           f"{len(data):,}")
    stored = np.dtype(STORED_AS[dtype])
    if math.prod(shape) * stored.itemsize != length:
        raise WeightsError(f"is damaged: {times(shape)} in {dtype} does not take {length:,} bytes")
    return np.frombuffer(data, stored, math.prod(shape), offset).reshape(shape)


class Mapped(mmap.mmap):
    """A file as one array of bytes that takes no memory, and at the same time a file."""

    def seekable(self):
        """Return True. zipfile asks for it; Python has this method from 3.13 on."""
        return True


def map_file(path):
    """Open a file for reading, as Mapped.

    Raises   WeightsError, one line for the user
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise WeightsError(f"{path}: not a regular file")
            if status.st_size == 0:
                raise WeightsError(f"{path}: the file is empty")
            if status.st_size > MAX_BYTES:
                raise WeightsError(f"{path}: {status.st_size:,} bytes are more than any AlexNet "
                                   f"takes ({MAX_BYTES:,})")
            return Mapped(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror or error}") from None


def _without_waiting(path, flags):
    return os.open(path, flags | os.O_NONBLOCK)  # to open a pipe would be to wait for ever

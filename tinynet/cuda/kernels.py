"""From a .cu file to a launch: what all launchers of this rung share.

A file is compiled where it is first used, by NVRTC through CuPy, for each dtype apart; CuPy keeps what it compiled on
the disk. Every file finds these types defined:

    real     float or double, the dtype of the arrays
    index_t  what counts elements: int, or long long where an array has more than LARGE of them. A division of 64 bits
             is no instruction of a GPU but a long routine, and a kernel that asks "which pixel am I" divides a lot

Grids have one axis. The others end at 65,535, which 1024 images of 96 maps exceed; the first goes on to 2^31 - 1.
"""

import functools
import math
import pathlib

import numpy as np

from tinynet import backend
from tinynet.backend import array_module, contiguous

THREADS = 256            # of a block
BLOCKS = 1 << 16         # at most, where threads go on to further elements: more than any GPU holds at a time
LARGE = 1 << 30          # an int counts to twice that, so that adding a whole grid to an index cannot overflow
GRID_LIMIT = 2**31 - 1   # blocks along the first axis
SHARED_LIMIT = 48 << 10  # bytes of shared memory that every GPU gives a block without being asked for more


def require_arrays(where, **arrays):
    """The arrays, C-contiguous. Raises TypeError unless all are on a GPU and of one dtype, float32 or float64."""
    for name, array in arrays.items():
        require_on_gpu(where, name, array)
        if array.dtype not in (np.float32, np.float64):
            raise TypeError(f"{where}: {name} is {array.dtype}; the kernels are made for float32 and float64")
    first, *_ = arrays
    for name, array in arrays.items():
        if array.dtype != arrays[first].dtype:
            raise TypeError(f"{where}: {name} is {array.dtype}, {first} is {arrays[first].dtype}; one dtype for all")
    return tuple(contiguous(array) for array in arrays.values())


def require_on_gpu(where, name, array):
    """Refuse an array of the host."""
    if array_module(array) is np:
        raise TypeError(f"{where}: {name} is not on the GPU; move it there with backend.to_device({name}, 'gpu')")


def new_like(x, shape=None, dtype=None):
    """An array without contents where x lives; of its shape and dtype, unless others are given."""
    return array_module(x).empty(x.shape if shape is None else shape, x.dtype if dtype is None else dtype)


def launch_each(file, kernel, total, *arguments, **types):
    """A thread for each of `total` elements: kernel(total, *arguments)."""
    _launch(file, kernel, -(-total // THREADS), THREADS, arguments, types, total=total)


def launch_strided(file, kernel, total, *arguments, **types):
    """As launch_each with at most BLOCKS blocks: kernels with a grid-stride loop take any number of elements."""
    _launch(file, kernel, min(-(-total // THREADS), BLOCKS), THREADS, arguments, types, total=total)


def launch_blocks(file, kernel, blocks, block, *arguments, shared=0, **types):
    """So many blocks of `block` threads (a number, or (x, y)), with `shared` bytes of dynamic shared memory."""
    _launch(file, kernel, blocks, block, arguments, types, shared)


def _launch(file, kernel, blocks, block, arguments, types, shared=0, total=0):
    block = block if isinstance(block, tuple) else (block,)
    if not 0 <= blocks <= GRID_LIMIT or not math.prod(block) <= 1024 or not shared <= SHARED_LIMIT:
        raise ValueError(f"{kernel}: {blocks} blocks of {block} threads with {shared} bytes are more than a GPU takes")
    if blocks == 0:
        return  # nothing to do, and CUDA calls an empty grid an error
    arrays = [argument for argument in arguments if hasattr(argument, "shape")]
    real = next(array.dtype for array in arrays if array.dtype.kind == "f")
    index = np.dtype(np.int64 if max(total, *(array.size for array in arrays)) > LARGE else np.int32)
    types = {"real": _C_NAMES[real], "index_t": _C_NAMES[index], **types}
    options = tuple(f"-D{name}={c_name}" for name, c_name in types.items())
    function = _function(array_module(arrays[0]), file, kernel, options)
    arguments = [_exact(argument, real) for argument in arguments]
    function((blocks,), block, (index.type(total), *arguments) if total else tuple(arguments), shared_mem=shared)


def _exact(argument, real):
    """CuPy hands a scalar over in the size that it has: int and float get those that the kernels declare."""
    if isinstance(argument, float):
        return real.type(argument)
    return argument if hasattr(argument, "shape") else np.int32(argument)


@functools.cache
def _function(xp, file, kernel, options):
    return _module(xp, file, options).get_function(kernel)


@functools.cache
def _module(xp, file, options):
    if backend.on_compile is not None:
        backend.on_compile(f"compiling {file}.cu for {options[0].partition('=')[2]}")
    return xp.RawModule(code=f'#line 1 "{file}.cu"\n{source(file)}', options=options)


def source(file):
    """The text of a .cu file of this folder."""
    return pathlib.Path(__file__).with_name(f"{file}.cu").read_text(encoding="utf-8")


_C_NAMES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double",
            np.dtype(np.int32): "int", np.dtype(np.int64): "long long"}

"""Compile a .cu file, and launch its kernels: what all launchers of this rung share.

NVRTC compiles a file when it is first used, through CuPy, once for each dtype; CuPy keeps what it
compiled on the disk. Two types are defined in every file:

    real     float or double, the dtype of the arrays
    index_t  counts elements: int, or long long where an array has more than LARGE of them. GPUs
             have no instruction for a division of 64 bits, only a long routine, and a kernel that
             asks which pixel it works on divides a lot

Grids have one axis, along which a grid may have 2^31 - 1 blocks. Along a second axis it may have
65,535, and 1024 images of 96 maps are more than that.
"""

import functools
import math
import pathlib

import numpy as np

from tinynet import backend
from tinynet.backend import array_module, contiguous
from tinynet.shapes import ceil_div

THREADS = 256            # of one block
BLOCKS = 1 << 16         # the most that launch_strided asks for: more than any GPU runs at a time
LARGE = 1 << 30          # an int counts to twice that: an index plus a whole grid does not overflow
GRID_LIMIT = 2**31 - 1   # blocks along the first axis
SHARED_LIMIT = 48 << 10  # bytes of shared memory that every GPU gives a block without being asked


def require_arrays(where, **arrays):
    """Return the arrays, C-contiguous.

    Raises   TypeError unless all are on a GPU and have one dtype, float32 or float64
    """
    for name, array in arrays.items():
        require_on_gpu(where, name, array)
        if array.dtype not in (np.float32, np.float64):
            raise TypeError(f"{where}: {name} is {array.dtype}; "
                            "the kernels take float32 and float64")
    first, *_ = arrays
    for name, array in arrays.items():
        if array.dtype != arrays[first].dtype:
            raise TypeError(f"{where}: {name} is {array.dtype}, {first} is {arrays[first].dtype}; "
                            "all arrays need one dtype")
    return tuple(contiguous(array) for array in arrays.values())


def require_on_gpu(where, name, array):
    """Refuse an array that is on the host."""
    if array_module(array) is np:
        raise TypeError(f"{where}: {name} is not on the GPU; move it there with "
                        f"backend.to_device({name}, 'gpu'), or the network with net.to('gpu')")


def new_like(x, shape=None, dtype=None):
    """Return an uninitialised array where x is, of x's shape and dtype unless others are given."""
    shape, dtype = x.shape if shape is None else shape, x.dtype if dtype is None else dtype
    return array_module(x).empty(shape, dtype)


def launch_each(file, kernel, total, *arguments, **types):
    """Launch kernel(total, *arguments) with one thread for each of `total` elements."""
    _launch(file, kernel, ceil_div(total, THREADS), THREADS, arguments, types, total=total)


def launch_strided(file, kernel, total, *arguments, per_thread=1, **types):
    """Launch kernel(total, *arguments), which needs a grid-stride loop, with at most BLOCKS blocks.

    Args     per_thread: so many elements for a thread where the array is not too large
    """
    blocks = min(ceil_div(total, THREADS * per_thread), BLOCKS)
    _launch(file, kernel, blocks, THREADS, arguments, types, total=total)


def launch_blocks(file, kernel, blocks, block, *arguments, shared=0, **types):
    """Launch kernel(*arguments) on so many blocks.

    Args     block: threads of one block, a number or (x, y); shared: bytes of dynamic shared memory
    """
    _launch(file, kernel, blocks, block, arguments, types, shared)


def _launch(file, kernel, blocks, block, arguments, types, shared=0, total=0):
    block = block if isinstance(block, tuple) else (block,)
    if not (0 <= blocks <= GRID_LIMIT and math.prod(block) <= 1024 and shared <= SHARED_LIMIT):
        raise ValueError(f"{kernel}: {blocks} blocks of {block} threads with {shared} bytes "
                         "are more than a GPU takes")
    if blocks == 0:
        return  # an empty batch: CUDA calls an empty grid an error
    arrays = [argument for argument in arguments if hasattr(argument, "shape")]
    real = next(array.dtype for array in arrays if array.dtype.kind == "f")
    largest = max(total, *(array.size for array in arrays))
    index = np.dtype(np.int64 if largest > LARGE else np.int32)
    types = {"real": _C_NAMES[real], "index_t": _C_NAMES[index], **types}
    options = tuple(f"-D{name}={c_name}" for name, c_name in types.items())
    function = _function(array_module(arrays[0]), file, kernel, options)
    arguments = tuple(_exact(argument, real) for argument in arguments)
    if total:
        arguments = index.type(total), *arguments
    function((blocks,), block, arguments, shared_mem=shared)


def _exact(argument, real):
    """Return a number in the type that kernels declare: CuPy passes numbers as they are."""
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
    """Return the text of a .cu file of this folder."""
    return pathlib.Path(__file__).with_name(f"{file}.cu").read_text(encoding="utf-8")


_C_NAMES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double",
            np.dtype(np.int32): "int", np.dtype(np.int64): "long long"}

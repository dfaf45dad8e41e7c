"""Compile a .cu file, and launch its kernels: what all launchers of this rung share.

NVRTC compiles a file when it is first used, through CuPy, once for each dtype; CuPy keeps what it
compiled on the disk. Two types are defined in every file:

    real     float or double, the dtype of the arrays
    index_t  counts elements: int, or long long where an array has more than LARGE of them. GPUs
             have no instruction for a division of 64 bits, only a long routine, and a kernel that
             asks which pixel it works on divides a lot

Grids have one axis, along which a grid may have 2^31 - 1 blocks. Along a second axis it may have
65,535, and 1024 images of 96 maps are more than that.

A kernel takes its arrays first, then its numbers.
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
    dtype = None
    for name, array in arrays.items():
        require_on_gpu(where, name, array)
        if array.dtype not in _C_NAMES:
            raise TypeError(f"{where}: {name} is {array.dtype}; "
                            "the kernels take float32 and float64")
        if dtype is None:
            first, dtype = name, array.dtype
        elif array.dtype != dtype:
            raise TypeError(f"{where}: {name} is {array.dtype}, {first} is {dtype}; "
                            "all arrays need one dtype")
    return [array if array.flags.c_contiguous else contiguous(array) for array in arrays.values()]


def require_on_gpu(where, name, array):
    """Refuse an array that is on the host."""
    if array_module(array) is np:
        raise TypeError(f"{where}: {name} is not on the GPU; move it there with "
                        f"backend.to_device({name}, 'gpu'), or the network with net.to('gpu')")


def new_like(x, shape=None, dtype=None):
    """Return an uninitialised array where x is, of x's shape and dtype unless others are given."""
    shape, dtype = x.shape if shape is None else shape, x.dtype if dtype is None else dtype
    return array_module(x).empty(shape, dtype)


def launch_each(file, kernel, total, *arguments, per_thread=1, **types):
    """Launch kernel(total, *arguments) with one thread for each of `total` elements.

    Args     per_thread: so many elements for each thread
    """
    blocks = ceil_div(total, THREADS * per_thread)
    _launch(file, kernel, blocks, (THREADS,), arguments, types, total=total)


def launch_strided(file, kernel, total, *arguments, per_thread=1, **types):
    """Launch kernel(total, *arguments), which needs a grid-stride loop, with at most BLOCKS blocks.

    Args     per_thread: so many elements for a thread where the array is not too large
    """
    blocks = min(ceil_div(total, THREADS * per_thread), BLOCKS)
    _launch(file, kernel, blocks, (THREADS,), arguments, types, total=total)


def launch_blocks(file, kernel, blocks, block, *arguments, shared=0, **types):
    """Launch kernel(*arguments) on so many blocks.

    Args     block: threads of one block, a number or (x, y); shared: bytes of dynamic shared memory
    """
    block = block if isinstance(block, tuple) else (block,)
    _launch(file, kernel, blocks, block, arguments, types, shared)


def _launch(file, kernel, blocks, block, arguments, types, shared=0, total=0):
    """Launch a kernel.

    What follows from kernel, dtype and numbers is prepared once and kept, because a small kernel
    takes less time than Python needs to launch the next one.
    """
    if not (0 <= blocks <= GRID_LIMIT and math.prod(block) <= 1024 and shared <= SHARED_LIMIT):
        raise ValueError(f"{kernel}: {blocks} blocks of {block} threads with {shared} bytes "
                         "are more than a GPU takes")
    if blocks == 0:
        return  # an empty batch: CUDA calls an empty grid an error
    arrays, real, large = 0, None, total > LARGE
    for argument in arguments:
        if isinstance(argument, _NUMBERS):
            break
        arrays += 1
        large = large or argument.size > LARGE
        if real is None and argument.dtype in _C_NAMES:
            real = argument.dtype
    options = _options(real, large, **types)
    function = _function(array_module(arguments[0]), file, kernel, options)
    first, numbers = _exact(real, large, total, *arguments[arrays:])
    function((blocks,), block, first + arguments[:arrays] + numbers, shared_mem=shared)


@functools.cache
def _options(real, large, **types):
    """Return the options that define the types of a kernel."""
    index = "long long" if large else "int"
    types = {"real": _C_NAMES[real], "index_t": index, **types}
    return tuple(f"-D{name}={c_name}" for name, c_name in types.items())


@functools.lru_cache(maxsize=4096, typed=True)  # typed: 1 is an int for a kernel, 1.0 a real
def _exact(real, large, total, *numbers):
    """Return (total,), or () where it is 0, and the numbers, in the types that kernels declare.

    CuPy passes numbers as they are.
    """
    total = (np.int64(total) if large else np.int32(total),) if total else ()
    return total, tuple(real.type(number) if isinstance(number, float)
                        else np.int32(number) if isinstance(number, int)
                        else number for number in numbers)


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


_C_NAMES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
_NUMBERS = (int, float, np.generic)

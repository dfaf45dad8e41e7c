"""A stand-in for CuPy, of which tinynet's calls cannot tell that there is no GPU. Put into sys.modules as "cupy".

Its arrays live in memory of their own, which only they know: they refuse to meet NumPy arrays, as CuPy's do. What goes
from the host to the device and back, and whatever makes the host wait, is noted in `meter`. Kernels run in the
emulator; everything else NumPy computes. Only what tinynet uses is here, under CuPy's names and with CuPy's arguments:
test_cuda_launchers.py compares them with the real package where that is installed.
"""

import dataclasses
import functools
import types

import emulator
import numpy

__all__ = ["RawModule", "arange", "asarray", "ascontiguousarray", "cuda", "empty", "exp", "full",
           "get_default_memory_pool", "log", "matmul", "maximum", "moveaxis", "ndarray", "shares_memory", "tanh",
           "where", "zeros", "zeros_like"]


@dataclasses.dataclass
class Meter:
    """Shapes of what was moved, in order; how often the host waited; how many kernels of ours ran."""

    to_device: list = dataclasses.field(default_factory=list)
    to_host: list = dataclasses.field(default_factory=list)
    synchronizations: int = 0
    launches: int = 0

    def reset(self):
        self.__init__()


meter = Meter()


class ndarray:
    """An array on the device. `_memory` is for this file and the emulator alone."""

    __array_priority__ = 100

    def __init__(self, memory):
        self._memory = memory

    shape = property(lambda self: self._memory.shape)
    dtype = property(lambda self: self._memory.dtype)
    size = property(lambda self: self._memory.size)
    ndim = property(lambda self: self._memory.ndim)
    nbytes = property(lambda self: self._memory.nbytes)
    itemsize = property(lambda self: self._memory.itemsize)
    strides = property(lambda self: self._memory.strides)
    flags = property(lambda self: self._memory.flags)
    T = property(lambda self: ndarray(self._memory.T))

    def get(self):
        meter.to_host.append(self.shape)
        meter.synchronizations += 1
        return self._memory.copy()

    def __array__(self, *_, **__):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def __array_ufunc__(self, ufunc, method, *inputs, **keywords):
        if method != "__call__" or ufunc.__name__ not in _OPERATORS:
            raise TypeError(f"numpy.{ufunc.__name__} on an array of the device")
        return _compute(ufunc, *inputs, **keywords)

    def __float__(self):
        return float(self.get())

    def __int__(self):
        return int(self.get())

    def __bool__(self):
        return bool(self.get())

    def __len__(self):
        return len(self._memory)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index):
        return _wrapped(self._memory[_plain(index)])

    def __setitem__(self, index, value):
        self._memory[_plain(index)] = _plain(value)


_OPERATORS = ("add subtract multiply divide power matmul equal not_equal less less_equal greater greater_equal").split()


def _operator(ufunc, word):
    def operator(self, *other):
        operands = (*other, self) if word.startswith("r") else (self, *other)
        return _compute(ufunc, *operands, **({"out": self} if word.startswith("i") else {}))
    return operator


def _method(name):
    def method(self, *arguments, **keywords):
        return _wrapped(getattr(self._memory, name)(*_plain(arguments), **keywords))
    return method


for _name, _words in (("add", "add radd iadd"), ("subtract", "sub rsub isub"), ("multiply", "mul rmul imul"),
                      ("divide", "truediv rtruediv itruediv"), ("power", "pow rpow ipow"),
                      ("matmul", "matmul rmatmul"), ("equal", "eq"), ("not_equal", "ne"), ("less", "lt"),
                      ("less_equal", "le"), ("greater", "gt"), ("greater_equal", "ge"), ("negative", "neg")):
    for _word in _words.split():
        setattr(ndarray, f"__{_word}__", _operator(getattr(numpy, _name), _word))
for _name in "astype copy max mean min ravel repeat reshape sum swapaxes transpose".split():
    setattr(ndarray, _name, _method(_name))


def _plain(value):
    """Device arrays as the NumPy arrays that they hide; a NumPy array in their company is refused."""
    if isinstance(value, tuple):
        return tuple(_plain(each) for each in value)
    if isinstance(value, numpy.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    return value._memory if isinstance(value, ndarray) else value


def _wrapped(value):
    return ndarray(numpy.asarray(value))  # CuPy has no scalars: arrays of 0 axes


def _compute(function, *arguments, **keywords):
    result = function(*_plain(arguments), **{key: _plain(value) for key, value in keywords.items()})
    out = keywords.get("out")
    return _wrapped(result) if out is None else out


def _from_numpy(name):
    function = getattr(numpy, name)

    @functools.wraps(function)
    def on_device(*arguments, **keywords):
        return _compute(function, *arguments, **keywords)
    return on_device


arange, empty, exp, full, log, matmul = map(_from_numpy, ("arange", "empty", "exp", "full", "log", "matmul"))
maximum, moveaxis, tanh, where, zeros, zeros_like = map(
    _from_numpy, ("maximum", "moveaxis", "tanh", "where", "zeros", "zeros_like"))


def asarray(a, dtype=None):
    """The way to the device."""
    if isinstance(a, ndarray):
        return a if dtype is None or a.dtype == dtype else a.astype(dtype)
    meter.to_device.append(numpy.shape(a))
    return ndarray(numpy.array(a, dtype))


def ascontiguousarray(a, dtype=None):
    return ndarray(numpy.ascontiguousarray(asarray(a, dtype)._memory))


def shares_memory(a, b):
    return numpy.shares_memory(_plain(a), _plain(b))


def get_default_memory_pool():
    return types.SimpleNamespace(free_all_blocks=lambda: None)


class RawModule:
    """CUDA source, compiled for the emulator at the first call of get_function."""

    def __init__(self, *, code, options=()):
        self._code, self._options = code, options
        self._module = None

    def get_function(self, name):
        if self._module is None:
            self._module = emulator.Module(self._code, self._options)
        return RawKernel(self._module.kernels[name])


class RawKernel:
    """kernel(grid, block, arguments, shared_mem=bytes)."""

    def __init__(self, kernel):
        self._kernel = kernel

    def __call__(self, grid, block, args, *, shared_mem=0):
        meter.launches += 1
        self._kernel.launch(grid, block, _plain(args), shared_mem)


class _Stream:
    def synchronize(self):
        meter.synchronizations += 1


class _Device:
    """The only device, with `mem_info` (bytes free, bytes in all)."""

    mem_info = (8 << 30, 16 << 30)

    def __init__(self, device=0):
        self.id = device

    def use(self):
        pass


class _CUDARuntimeError(RuntimeError):
    pass


cuda = types.SimpleNamespace(
    is_available=lambda: True, get_current_stream=lambda: _Stream(), Device=_Device,
    runtime=types.SimpleNamespace(getDeviceCount=lambda: 1, driverGetVersion=lambda: 12080,
                                  runtimeGetVersion=lambda: 12090, CUDARuntimeError=_CUDARuntimeError,
                                  getDeviceProperties=lambda device: {"name": b"stand-in"}))

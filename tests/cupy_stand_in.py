"""A stand-in for CuPy, of which tinynet's calls cannot tell that there is no GPU. Put into sys.modules as "cupy".

Its arrays live in memory of their own, which only they know: they refuse to meet NumPy arrays, as CuPy's do. What goes
from the host to the device and back, whatever makes the host wait, what streams were told in which order, and how much
memory arrays take are noted in `meter`. Kernels run in the emulator; everything else NumPy computes. Only what tinynet
uses is here, under CuPy's names and with CuPy's arguments: test_cuda_launchers.py compares them with the real package
where that is installed.

What the real CuPy guarantees, from the source of version 14, file by file:

_core/raw.pyx
  RawModule compiles at the first get_function on a device, and keeps one module per device, code and options; the
  binary is also kept in ~/.cupy/kernel_cache. A RawKernel finds the function of the device in use at each call. The
  source is given to NVRTC as it is, without CuPy's headers, with our options and -std=c++17, -ftz=true (float32 below
  1.2e-38 becomes 0), --device-as-default-execution-space and the architecture of the device. The options are part of
  the key of both caches.
cuda/function.pyx
  An array is passed as its pointer, whatever its strides. A NumPy scalar is passed in its own type, a Python int as
  64 bits, a float as double: so the launchers convert. Kernels go to the current stream of this thread; the call does
  not wait.
_core/_routines_linalg.pyx
  matmul of two matrices reads a transposed one as it lies: nothing is copied; `out` has to be C-contiguous with the
  dtype of both, else the product goes to a new array and is copied. Where out may overlap an operand, likewise. Three
  axes: operands that are not C-contiguous are copied, and CUPY_TF32 does not count; for two axes it is read once,
  before the first product, and below compute capability 8.0 a warning says that cuBLAS takes float32. An empty product
  fills out with zeros; one with a single result is a sum, without cuBLAS.
_core/core.pyx
  asarray of a NumPy array copies it into page-locked memory and queues the copy to the device in the current stream,
  without waiting: the array may be changed at once. Not so one that lies in page-locked memory itself, which is read
  when the copy runs. A number or an array without axes is filled in. get() queues the copy to the host and waits for
  the stream, with blocking=False it does not wait: only memory from alloc_pinned_memory is then copied while the host
  goes on.
cuda/pinned_memory.pyx
  Sizes are rounded up to a power of two, and freed blocks are used again at once: who has a copy under way must keep
  the array until an event says that it has arrived.
cuda/memory.pyx
  One list of free blocks per stream. Sizes are rounded up to 512 bytes; the smallest free block that is large enough
  is split; neighbours are joined again. A block that is freed may be used at once by the same stream, whose order
  makes that right; another stream has to wait for an event. When the device is full, all blocks that no array shares
  are given back, and the allocation is tried again, before OutOfMemoryError, a MemoryError. Errors of CUDA and cuBLAS
  are RuntimeErrors.
cuda/stream.pyx
  record() makes an event with a time; get_elapsed_time raises cudaErrorNotReady unless both events have been reached.
  `with stream` raises if the stream is of another device than the current one.
cuda/api/runtime.pyx (of cupy_backends)
  Without a driver CuPy can be imported, driverGetVersion() is 0, runtimeGetVersion() and Device(0) work, and a
  RawModule can be made. Everything else, the memory pool too, raises CUDARuntimeError, a RuntimeError, whose message
  begins with cudaErrorInsufficientDriver. cuBLAS is loaded at the first product, which raises
  ImportError where it is missing.
_misc/memory_ranges.py
  shares_memory says yes for any two arrays without axes: see below.
"""

import dataclasses
import functools
import itertools
import threading
import time
import types
import weakref

import numpy

from tinynet import emulator

__all__ = ["RawModule", "arange", "asarray", "ascontiguousarray", "copyto", "cuda", "empty", "empty_like", "exp",
           "full", "get_default_memory_pool", "get_default_pinned_memory_pool", "isnan", "log", "matmul", "maximum",
           "moveaxis", "ndarray", "ones", "shares_memory", "tanh", "where", "zeros", "zeros_like"]


@dataclasses.dataclass
class Meter:
    """Shapes of what was moved, in order; how often the host waited; how many kernels of ours ran.

    told                    (stream, "copy" or "copy back", shape), (stream, "launch", kernel),
                            (stream, "record" or "wait", event), (None, "synchronize", event)
    used_bytes, peak_bytes  of the memory of all arrays: now, and at most since the last reset
    devices                 that a thread has set, or put an array on
    reached                 the last event that somebody has waited for
    """

    to_device: list = dataclasses.field(default_factory=list)
    to_host: list = dataclasses.field(default_factory=list)
    synchronizations: int = 0
    launches: int = 0
    told: list = dataclasses.field(default_factory=list)
    used_bytes: int = 0
    peak_bytes: int = 0
    devices: set = dataclasses.field(default_factory=set)
    reached: int = -1

    def reset(self):
        used = self.used_bytes
        self.__init__(used_bytes=used, peak_bytes=used, reached=self.reached)

    def tell(self, *what):
        self.told.append((cuda.get_current_stream(), *what))

    def take(self, memory):
        """Count the memory of an array until nobody has it any more. A view has none of its own."""
        if memory.base is None:
            self.used_bytes += memory.nbytes
            self.peak_bytes = max(self.peak_bytes, self.used_bytes)
            weakref.finalize(memory, self._leave, memory.nbytes)

    def _leave(self, size):
        self.used_bytes -= size


meter = Meter()


class ndarray:
    """An array on the device. `_memory` is for this file and the emulator alone."""

    __array_priority__ = 100

    def __init__(self, memory):
        self._memory, self._device = memory, cuda.Device().id
        meter.devices.add(self._device)
        meter.take(memory)

    shape = property(lambda self: self._memory.shape)
    dtype = property(lambda self: self._memory.dtype)
    size = property(lambda self: self._memory.size)
    ndim = property(lambda self: self._memory.ndim)
    nbytes = property(lambda self: self._memory.nbytes)
    itemsize = property(lambda self: self._memory.itemsize)
    strides = property(lambda self: self._memory.strides)
    data = property(lambda self: types.SimpleNamespace(ptr=self._memory.ctypes.data))
    flags = property(lambda self: self._memory.flags)
    T = property(lambda self: ndarray(self._memory.T))

    def get(self, out=None, blocking=True):
        """The way to the host. It waits for all work of the current stream, unless blocking=False: then the copy is
        queued behind that work, and whoever reads `out` before an event says so reads what was there before."""
        meter.to_host.append(self.shape)
        meter.synchronizations += blocking
        if not blocking:
            meter.tell("copy back", self.shape)
        if out is None:
            return self._memory.copy()
        if (out.shape, out.dtype) != (self.shape, self.dtype):
            raise ValueError(f"out has {out.shape} {out.dtype}, the array {self.shape} {self.dtype}")
        out[...] = self._memory
        return out

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


_OPERATORS = ("add subtract multiply divide power matmul equal not_equal less less_equal greater greater_equal "
              "bitwise_or").split()


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
                      ("less_equal", "le"), ("greater", "gt"), ("greater_equal", "ge"),
                      ("negative", "neg"), ("bitwise_or", "or")):
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


arange, empty, empty_like, exp, full, isnan, log, matmul = map(
    _from_numpy, ("arange", "empty", "empty_like", "exp", "full", "isnan", "log", "matmul"))
maximum, moveaxis, ones, tanh, where, zeros, zeros_like = map(
    _from_numpy, ("maximum", "moveaxis", "ones", "tanh", "where", "zeros", "zeros_like"))


def copyto(dst, src):
    numpy.copyto(_plain(dst), _plain(src))


def asarray(a, dtype=None):
    """The way to the device."""
    if isinstance(a, ndarray):
        return a if dtype is None or a.dtype == dtype else a.astype(dtype)
    meter.to_device.append(numpy.shape(a))
    meter.tell("copy", numpy.shape(a))
    return ndarray(numpy.array(a, dtype))


def ascontiguousarray(a, dtype=None):
    return ndarray(numpy.ascontiguousarray(asarray(a, dtype)._memory))


def shares_memory(a, b):
    """True for any two arrays without axes, as in CuPy 14: carray.cuh passes the number of such an array by value, so
    that the kernel which asks for its address sees that of a local copy."""
    return a.ndim == b.ndim == 0 or numpy.shares_memory(_plain(a), _plain(b))


def get_default_memory_pool():
    return types.SimpleNamespace(free_all_blocks=lambda: None, total_bytes=lambda: meter.used_bytes,
                                 used_bytes=lambda: meter.used_bytes)


def get_default_pinned_memory_pool():
    return types.SimpleNamespace(free_all_blocks=lambda: None)


__version__ = "stand-in"


_emulating = threading.Lock()  # the emulator runs one kernel at a time, and ranks may be threads


class RawModule:
    """CUDA source, compiled for the emulator at the first call of get_function."""

    def __init__(self, *, code, options=()):
        self._code, self._options = code, options
        self._module = None

    def get_function(self, name):
        with _emulating:
            if self._module is None:
                self._module = emulator.Module(self._code, self._options)
        return RawKernel(self._module.kernels[name], name)


class RawKernel:
    """kernel(grid, block, arguments, shared_mem=bytes)."""

    def __init__(self, kernel, name):
        self._kernel, self._name = kernel, name

    def __call__(self, grid, block, args, *, shared_mem=0):
        meter.launches += 1
        meter.tell("launch", self._name)
        devices = {argument._device for argument in args if isinstance(argument, ndarray)}
        if devices - {cuda.Device().id}:
            raise RuntimeError(f"arrays of devices {devices} for a kernel on device {cuda.Device().id}")
        with _emulating:
            self._kernel.launch(grid, block, _plain(args), shared_mem)


class _Stream:
    """A stream; here everything is done at once, so only the order is kept."""

    def __init__(self, *, non_blocking=False):
        self._before, self._device = [], cuda.Device().id if non_blocking else None
        self.ptr = id(self)

    def __enter__(self):
        if self._device != cuda.Device().id:
            raise RuntimeError("The device that the stream is created on does not match with the current device")
        self._before.append(cuda.get_current_stream())
        _current.stream = self
        return self

    def __exit__(self, *_):
        _current.stream = self._before.pop()

    def synchronize(self):
        meter.synchronizations += 1

    def record(self, event=None):
        event = event or _Event()
        event._time, event._number = time.perf_counter(), next(_numbers)
        meter.told.append((self, "record", event))
        return event

    def wait_event(self, event):
        meter.told.append((self, "wait", event))


class _Event:
    """A point in a stream. `_number` tells the order of all of them."""

    def record(self, stream=None):
        (stream or cuda.get_current_stream()).record(self)

    def synchronize(self):
        meter.synchronizations += 1
        meter.told.append((None, "synchronize", self))
        meter.reached = max(meter.reached, self._number)


class _Device:
    """A device, one in use in each thread; with `mem_info` (bytes free, bytes in all)."""

    mem_info = (8 << 30, 16 << 30)
    pci_bus_id = property(lambda self: f"0000:0{self.id}:00.0")
    compute_capability = "80"

    def __init__(self, device=None):
        self.id = getattr(_current, "device", 0) if device is None else device
        self._before = []

    def __enter__(self):
        self._before.append(_Device())
        self.use()
        return self

    def __exit__(self, *_):
        self._before.pop().use()

    def use(self):
        _current.device = self.id
        meter.devices.add(self.id)

    def synchronize(self):
        meter.synchronizations += 1


class _CUDARuntimeError(RuntimeError):
    pass


def _elapsed_time(start, end):
    """CUDA refuses, with cudaErrorNotReady, where the work before one of the events is not done."""
    if max(start._number, end._number) > meter.reached:
        raise _CUDARuntimeError("cudaErrorNotReady: device not ready")
    return 1000 * (end._time - start._time)


_numbers = itertools.count()
_current = threading.local()
_default = _Stream()
cuda = types.SimpleNamespace(
    alloc_pinned_memory=bytearray, get_current_stream=lambda: getattr(_current, "stream", _default),
    Device=_Device, Event=_Event, Stream=_Stream,
    get_elapsed_time=_elapsed_time,
    runtime=types.SimpleNamespace(getDeviceCount=lambda: 1, driverGetVersion=lambda: 12080,
                                  runtimeGetVersion=lambda: 12090, CUDARuntimeError=_CUDARuntimeError,
                                  getDeviceProperties=lambda device: {"name": b"stand-in"}))

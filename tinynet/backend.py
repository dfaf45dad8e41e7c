"""NumPy or CuPy: which module an array belongs to, and how it gets to the other side.

The only module that imports cupy, and only once a GPU is asked for. `xp` is the field's name for "numpy or cupy".
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np


class DeviceError(RuntimeError):
    """A device was asked for that cannot be used; the message says why and what to do."""


def array_module(x):
    """The module whose functions work on x: cupy for a CuPy array, else numpy."""
    cupy = sys.modules.get("cupy")  # no CuPy array can exist before somebody imported cupy
    return cupy if cupy is not None and isinstance(x, cupy.ndarray) else np


def contiguous(x):
    """x, or a C-contiguous copy if it is not: elementwise operations keep the layout of what they are given."""
    return x if x.flags.c_contiguous else array_module(x).ascontiguousarray(x)


def to_numpy(x):
    """x on the host: a copy if it was on the GPU, x itself if not."""
    return np.asarray(x) if array_module(x) is np else x.get()


def to_device(x, device):
    """x on "cpu" or "gpu": x itself if it is there already. That a GPU is usable was found out before, once."""
    return to_numpy(x) if device == "cpu" else _cupy().asarray(x)


def like(x, y):
    """x moved to where y lives."""
    return to_device(x, "cpu" if array_module(y) is np else "gpu")


def synchronize(x):
    """Wait until everything that was asked of the device of x is done; on the CPU it always is."""
    if array_module(x) is not np:
        _cupy().cuda.get_current_stream().synchronize()


def has_gpu():
    """Whether a GPU is usable: CuPy imports, finds a device, and one small kernel gave the right sum."""
    return why_no_gpu() is None


def why_no_gpu(number=None):
    """None where GPU `number` can be used, else one line with the reason and the remedy.

    It is the GPU in use from then on; None leaves the choice as it is. A `with Device(number)` would turn back to GPU 0
    at its end, and since CUDA 12 that alone takes some hundred MiB of its memory.
    """
    try:
        cupy = _cupy()
    except ImportError as error:  # CuPy wraps what failed into a page of advice
        return (f"CuPy cannot be imported ({_first_line(error.__cause__ or error)}); "
                "install it with: pip install 'tinynet[gpu]'")
    reason = _why_no_cuda(cupy.cuda.runtime, number)
    if reason:
        return reason
    try:
        if number is not None:
            cupy.cuda.Device(number).use()
        if int(cupy.arange(4).sum()) != 6:
            return "a test kernel gave a wrong sum; the GPU or its driver is faulty"
    except Exception as error:  # CuPy raises its own, CUDA's, NVRTC's and OS errors here: any of them means unusable
        if isinstance(error, MemoryError) or "cudaErrorMemoryAllocation" in str(error):
            return "its memory is full; see with nvidia-smi who has it, or choose another with --device gpu:N"
        return (f"a test kernel failed: {_first_line(error)}; if files of CUDA are missing, install them for CuPy: "
                f"pip install 'cupy-cuda{cupy.cuda.runtime.runtimeGetVersion() // 1000}x[ctk]'")
    return None


def _why_no_cuda(runtime, number):
    """The same, from what CUDA says of driver and devices."""
    driver, needed = runtime.driverGetVersion(), runtime.runtimeGetVersion()
    if driver == 0:
        return "there is no NVIDIA driver, or it is not loaded; nvidia-smi has to list a GPU first"
    if driver // 1000 < needed // 1000:
        return (f"CuPy is made for CUDA {needed // 1000}, the driver for CUDA {driver // 1000}; update the driver, or: "
                f"pip uninstall cupy-cuda{needed // 1000}x && pip install 'cupy-cuda{driver // 1000}x[ctk]'")
    try:
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        return f"CUDA finds no device ({_first_line(error)}); check it with nvidia-smi, and CUDA_VISIBLE_DEVICES"
    if count == 0:
        return "CUDA finds no device; check it with nvidia-smi, and CUDA_VISIBLE_DEVICES"
    if number is not None and number >= count:
        return f"there is no GPU {number}; there are {count}, counted from 0"
    return None


def require_device(device):
    """Raise DeviceError unless device is "cpu", or "gpu" and one is usable."""
    if device == "cpu":
        return
    if device != "gpu":
        raise DeviceError(f"unknown device {device!r}: cpu or gpu")
    reason = why_no_gpu()
    if reason:
        raise DeviceError(f"no usable GPU: {reason}")


def choose_device(wanted, needed_bytes=0):
    """The device to use, "cpu" or "gpu", and why, in a few words. From then on "gpu" is the GPU that was chosen.

    Args     wanted: "auto" takes GPU 0 where it is usable; "cpu", "gpu" (GPU 0) and "gpu:N" are taken at their word;
             needed_bytes: of GPU memory, an estimate
    Raises   DeviceError, one line with the remedy
    """
    if wanted == "cpu":
        return "cpu", "as asked"
    kind, _, number = ("gpu", "", "") if wanted == "auto" else wanted.partition(":")
    if kind != "gpu" or wanted == "gpu:" or number and not number.isdecimal():
        raise DeviceError(f"unknown device {wanted!r}: auto, cpu, gpu or gpu:N")
    number = int(number or 0)
    reason = why_no_gpu(number) or _why_too_small(number, needed_bytes)
    if reason and wanted == "auto":
        return "cpu", reason
    if reason:
        raise DeviceError(f"no usable GPU: {reason}")
    name = _cupy().cuda.runtime.getDeviceProperties(number)["name"].decode()
    return "gpu", f"{name}, number {number}, {_free_and_total(number)} free"


def _why_too_small(number, needed_bytes):
    free, _ = _cupy().cuda.Device(number).mem_info
    if free >= needed_bytes:
        return None
    return (f"about {needed_bytes / 2**30:.1f} GiB are needed, GPU {number} has {_free_and_total(number)} free; "
            "lower --batch-size, or choose another with --device gpu:N")


def _free_and_total(number):
    free, total = _cupy().cuda.Device(number).mem_info
    return f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB"


def available_bytes():
    """Of the memory of the GPU in use: what is free, and what CuPy holds for this process already."""
    cupy = _cupy()
    return cupy.cuda.Device().mem_info[0] + cupy.get_default_memory_pool().total_bytes()


def prefetch_to_device(batches, device):
    """The same batches, the first array of each moved to device; the next one travels while this one is worked on.

    CuPy copies the array into page-locked memory, in a thread of ours, and the GPU fetches it from there on a stream of
    its own: neither host nor GPU waits for the other. On the CPU batches are handed on as they come.

    Args     batches: an iterable of (x, ...), arrays of the host; what follows x stays there
    """
    if device == "cpu":
        yield from batches
        return
    cupy = _cupy()  # here, not in the thread: an import is nothing for two threads to begin at a time
    cuda = cupy.cuda
    number, copying = cuda.Device().id, cuda.Stream(non_blocking=True)

    def copy(x, *rest, before):
        with copying:
            copying.wait_event(before)
            return cupy.asarray(x), *rest, copying.record()

    def submitted():
        for batch in batches:
            # Memory that batches before have left is used again: not before the GPU has done what it was told so far.
            yield thread.submit(copy, *batch, before=cuda.get_current_stream().record())

    thread = ThreadPoolExecutor(1, initializer=cuda.Device(number).use)  # each thread has a GPU in use of its own
    try:
        for copied in _one_ahead(submitted()):
            *batch, there = copied.result()
            cuda.get_current_stream().wait_event(there)
            yield tuple(batch)  # and held until the next is there: that one did not wait for what happens to this one
    finally:  # without waiting: an iterator that is left early may end in the garbage collector, at any moment
        thread.shutdown(wait=False, cancel_futures=True)


def _one_ahead(items):
    """The same items; each is asked for before the one before it is handed out."""
    items = iter(items)
    for ahead in items:
        for following in items:
            yield ahead
            ahead = following
        yield ahead


def free_memory():
    """Give back to the GPU what CuPy keeps for arrays to come; nvidia-smi counts it as used."""
    cupy = sys.modules.get("cupy")
    if cupy is not None:
        cupy.get_default_memory_pool().free_all_blocks()
        cupy.get_default_pinned_memory_pool().free_all_blocks()


on_compile = None  # a function of one line of text, called before a kernel file is compiled: for showing progress


def _cupy():
    import cupy
    return cupy


def _first_line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

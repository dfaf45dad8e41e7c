"""Tell NumPy arrays from CuPy arrays, move arrays between CPU and GPU, and choose a device.

This is the only module that imports cupy, and it does so only when a GPU is asked for. By the
usual convention, the name `xp` means "numpy or cupy".
"""

import importlib
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np


class DeviceError(RuntimeError):
    """The requested device cannot be used; the message says why, and what to do."""


def array_module(x):
    """Return the module whose functions work on x: cupy for a CuPy array, else numpy."""
    cupy = sys.modules.get("cupy")  # no CuPy array exists before something has imported cupy
    return cupy if cupy is not None and isinstance(x, cupy.ndarray) else np


def contiguous(x):
    """Return x if it is C-contiguous, else a C-contiguous copy.

    The result of an elementwise operation has the memory layout of its input, so it may need this.
    """
    return x if x.flags.c_contiguous else array_module(x).ascontiguousarray(x)


def to_numpy(x):
    """Return x as a NumPy array: a copy if x is on the GPU, else x itself."""
    return np.asarray(x) if array_module(x) is np else x.get()


def to_numpy_later(*arrays):
    """Begin to copy arrays to the host. Return a function that waits for them and returns them.

    A GPU copies them, into page-locked memory, when it has done the work queued so far; the host
    may queue more in the meantime.

    Returns  a function without arguments; it returns a list of NumPy arrays
    """
    if array_module(arrays[0]) is np:
        return lambda: [np.asarray(array) for array in arrays]
    cuda = _cupy().cuda
    copies = [np.ndarray(array.shape, array.dtype, cuda.alloc_pinned_memory(array.nbytes))
              for array in arrays]
    for array, copy in zip(arrays, copies):
        array.get(out=copy, blocking=False)
    there = cuda.get_current_stream().record()

    def arrived():
        there.synchronize()
        return copies
    return arrived


def moment(device):
    """Return the present moment; for a GPU, the one at which it has done the work queued so far."""
    return time.perf_counter() if device == "cpu" else _cupy().cuda.get_current_stream().record()


def seconds_between(start, end):
    """Return the time between two moments of one device, both of them in the past."""
    if isinstance(start, float):
        return end - start
    return _cupy().cuda.get_elapsed_time(start, end) / 1000  # milliseconds


def to_device(x, device):
    """Return x on device "cpu" or "gpu": a copy, or x itself if it is there already.

    Whether a GPU is usable is not checked here; require_device or choose_device does it once.
    """
    return to_numpy(x) if device == "cpu" else _cupy().asarray(x)


def empty(shape, dtype, device):
    """Return an uninitialised array on device "cpu" or "gpu"."""
    return (np if device == "cpu" else _cupy()).empty(shape, dtype)


def like(x, y):
    """Return x on the device of y: a copy, or x itself if it is there already."""
    return to_device(x, "cpu" if array_module(y) is np else "gpu")


def synchronize(x):
    """Wait until the GPU has finished its work, if x is on one. The CPU always has."""
    if array_module(x) is not np:
        _cupy().cuda.get_current_stream().synchronize()


def has_gpu():
    """Return whether a GPU is usable: CuPy imports, finds one, and computes a small product."""
    return why_no_gpu() is None


def why_no_gpu(number=None):
    """Return None if GPU `number` can be used, else one line with the reason and the remedy.

    From then on, that GPU is the one in use. number=None tests the GPU in use and changes nothing.
    """
    try:
        cupy = _cupy()
    except ImportError as error:  # CuPy puts a page of advice around the error
        return (f"CuPy cannot be imported ({_first_line(error.__cause__ or error)}); "
                "install it with: pip install -e '.[gpu]'")
    reason = _why_no_cuda(cupy.cuda.runtime, number)
    if reason:
        return reason
    try:
        if number is not None:
            # Not `with Device(number)`: at its end it selects GPU 0 again, and since CUDA 12 that
            # alone takes about a hundred MiB of GPU 0.
            cupy.cuda.Device(number).use()
        if int(cupy.arange(4).sum()) != 6:
            return "a test kernel gave a wrong sum; the GPU or its driver is faulty"
        ones = cupy.ones((4, 4), np.float32)
        if float((ones @ ones).sum()) != 64:  # the first product loads cuBLAS
            return "a test product gave a wrong sum; the GPU or its driver is faulty"
    except Exception as error:  # of CuPy, CUDA, NVRTC or the system: each means that it is unusable
        if is_out_of_memory(error):
            return ("its memory is full; nvidia-smi shows which processes use it; "
                    "choose another GPU with --device gpu:N")
        version = cupy.cuda.runtime.runtimeGetVersion() // 1000
        return (f"a test kernel failed: {_first_line(error)}; if files of CUDA are missing, "
                f"install them for CuPy: pip install 'cupy-cuda{version}x[ctk]'; a PyTorch beside "
                f"it must be one for CUDA {version}")
    return None


def is_out_of_memory(error):
    """Return whether an exception says that memory is full.

    CuPy raises a MemoryError. CUDA and cuBLAS, which take memory of their own, raise RuntimeErrors
    whose message begins with a name.
    """
    return isinstance(error, MemoryError) or str(error).startswith((
        "cudaErrorMemoryAllocation", "CUDA_ERROR_OUT_OF_MEMORY", "CUBLAS_STATUS_ALLOC_FAILED"))


def _why_no_cuda(runtime, number):
    """Return None if CUDA has a good driver and GPU `number`, else the reason and the remedy."""
    driver, needed = runtime.driverGetVersion(), runtime.runtimeGetVersion()
    if driver == 0:
        return "there is no NVIDIA driver, or it is not loaded; nvidia-smi must list a GPU first"
    if driver // 1000 < needed // 1000:
        return (f"CuPy needs CUDA {needed // 1000}, the driver supports CUDA {driver // 1000}; "
                f"update the driver, or: pip uninstall cupy-cuda{needed // 1000}x && "
                f"pip install 'cupy-cuda{driver // 1000}x[ctk]'")
    try:
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        return (f"CUDA finds no device ({_first_line(error)}); "
                "check nvidia-smi and CUDA_VISIBLE_DEVICES")
    if count == 0:
        return "CUDA finds no device; check nvidia-smi and CUDA_VISIBLE_DEVICES"
    if number is not None and number >= count:
        return f"there is no GPU {number}; the number of GPUs is {count}, and the first is GPU 0"
    return None


def require_device(device):
    """Raise DeviceError unless device is "cpu", or is "gpu" and a GPU is usable."""
    if device == "cpu":
        return
    if device != "gpu":
        raise DeviceError(f"unknown device {device!r}: use cpu or gpu")
    reason = why_no_gpu()
    if reason:
        raise DeviceError(f"no usable GPU: {reason}")


def choose_device(wanted, needed_bytes=0):
    """Choose the device to compute on. From then on, "gpu" means the GPU that was chosen.

    Args     wanted: "cpu", "gpu" (GPU 0), "gpu:N", or "auto": GPU 0 if it is usable, else the CPU;
             needed_bytes: an estimate of the GPU memory that will be needed
    Returns  "cpu" or "gpu", and the reason in a few words
    Raises   DeviceError, one line with the remedy, if the GPU asked for cannot be used
    """
    if wanted == "cpu":
        return "cpu", "as asked"
    kind, _, number = ("gpu", "", "") if wanted == "auto" else wanted.partition(":")
    if kind != "gpu" or wanted == "gpu:" or number and not number.isdecimal():
        raise DeviceError(f"unknown device {wanted!r}: use auto, cpu, gpu or gpu:N")
    number = int(number or 0)
    reason = why_no_gpu(number) or _why_too_small(number, needed_bytes)
    if reason and wanted == "auto":
        return "cpu", reason
    if reason:
        raise DeviceError(f"no usable GPU: {reason}")
    name = _cupy().cuda.runtime.getDeviceProperties(number)["name"].decode()
    return "gpu", f"{name}, number {number}, {_free_and_total(number)} free"


def _why_too_small(number, needed_bytes):
    if available_bytes() >= needed_bytes:  # of GPU `number`, which is in use since it was tested
        return None
    return (f"about {needed_bytes / 2**30:.1f} GiB are needed, GPU {number} has "
            f"{_free_and_total(number)} free; lower --batch-size, or choose another GPU with "
            "--device gpu:N")


def _free_and_total(number):
    free, total = _cupy().cuda.Device(number).mem_info
    return f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB"


def has_tf32():
    """Return whether the GPU in use multiplies in TF32: from compute capability 8.0 on."""
    return int(_cupy().cuda.Device().compute_capability) >= 80


def gpu_count():
    """Return how many GPUs there are: 0 where CuPy cannot be imported or CUDA finds none."""
    try:
        return _cupy().cuda.runtime.getDeviceCount()
    except Exception:  # of CuPy, CUDA or the system: choose_device says what is wrong
        return 0


def gpu_bus_id():
    """Return the address of the GPU in use, which no other GPU of this machine has."""
    return _cupy().cuda.Device().pci_bus_id


def cuda_and_nccl():
    """Return cupy.cuda, and cupy.cuda.nccl, which carries arrays between GPUs of processes.

    Raises   DeviceError, with the remedy, if there is no NCCL
    """
    cupy = _cupy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CuPy's warning that there is none takes eight lines
        nccl = importlib.import_module("cupy.cuda.nccl")
    if not nccl.available:
        version = cupy.cuda.runtime.runtimeGetVersion() // 1000
        raise DeviceError("NCCL, which connects GPUs, cannot be loaded; install it with: "
                          f"pip install nvidia-nccl-cu{version}")
    return cupy.cuda, nccl


def available_bytes():
    """Return how much memory of the GPU in use this process can have: free, or held by its CuPy."""
    cupy = _cupy()
    return cupy.cuda.Device().mem_info[0] + cupy.get_default_memory_pool().total_bytes()


def prefetch_to_device(batches, device):
    """Yield the batches with their first array on device, and copy the next one in the meantime.

    A thread lets CuPy copy the array into page-locked memory, and the GPU fetches it from there on
    a stream of its own, so that neither the host nor the GPU waits for the other. With device "cpu"
    the batches are passed on unchanged.

    Args     batches: an iterable of (x, ...), NumPy arrays; the arrays after x stay on the host
    """
    if device == "cpu":
        yield from batches
        return
    cupy = _cupy()  # here, not in the thread: two threads should not import it at the same time
    cuda = cupy.cuda
    number, copying = cuda.Device().id, cuda.Stream(non_blocking=True)

    def copy(x, *rest, before):
        with copying:
            copying.wait_event(before)
            return cupy.asarray(x), *rest, copying.record()

    def submitted():
        for batch in batches:
            # The copy may reuse memory of an earlier batch, so it waits until the GPU has finished
            # the work queued so far.
            yield thread.submit(copy, *batch, before=cuda.get_current_stream().record())

    thread = ThreadPoolExecutor(1, initializer=cuda.Device(number).use)  # each thread has its own
    try:
        for copied in _one_ahead(submitted()):
            *batch, there = copied.result()
            cuda.get_current_stream().wait_event(there)
            # `batch` keeps this array alive until the next one is complete: the next copy did not
            # wait for the work on this one, so it must not get the same memory.
            yield tuple(batch)
    finally:  # no waiting: the garbage collector may run this, at any time
        thread.shutdown(wait=False, cancel_futures=True)


def _one_ahead(items):
    """Yield the same items, but request each item before its predecessor is yielded."""
    items = iter(items)
    for ahead in items:
        for following in items:
            yield ahead
            ahead = following
        yield ahead


def free_memory():
    """Free the GPU memory that CuPy keeps for future arrays; nvidia-smi shows it as used."""
    cupy = sys.modules.get("cupy")
    if cupy is not None and gpu_count() > 0:
        cupy.get_default_memory_pool().free_all_blocks()
        cupy.get_default_pinned_memory_pool().free_all_blocks()


# To show progress: None, or a function that is called with a line of text before a kernel file is
# compiled.
on_compile = None


def _cupy():
    import cupy
    return cupy


def _first_line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

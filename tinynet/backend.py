"""NumPy or CuPy: which module an array belongs to, and how it gets to the other side.

The only module that imports cupy, and only once a GPU is asked for. `xp` is the field's name for "numpy or cupy".
"""

import sys

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


def why_no_gpu():
    """None where a GPU is usable, else one line with the reason and the remedy."""
    try:
        cupy = _cupy()
    except ImportError as error:
        return f"CuPy cannot be imported ({_first_line(error)}); install it with: pip install 'tinynet[gpu]'"
    if not cupy.cuda.is_available():
        return "CuPy finds no CUDA device; check the driver with: nvidia-smi"
    try:
        if int(cupy.arange(4).sum()) != 6:
            return "a test kernel gave a wrong sum; the GPU or its driver is faulty"
    except Exception as error:  # CuPy raises its own, CUDA's, NVRTC's and OS errors here: any of them means unusable
        return f"a test kernel failed: {_first_line(error)}"
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


def choose_device(wanted):
    """The device to use and why, in a few words: "auto" takes the GPU where one is usable, "cpu" and "gpu" are taken at
    their word or refused with a DeviceError.
    """
    if wanted == "auto":
        reason = why_no_gpu()
        return ("cpu", reason) if reason else ("gpu", "one is usable")
    require_device(wanted)
    return wanted, "as asked"


def _cupy():
    import cupy
    return cupy


def _first_line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

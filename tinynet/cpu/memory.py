"""Use memory again, because fresh memory is slow.

The operating system hands out a large array page by page, and clears each page when it is first
touched. AlexNet's activations for one batch take gigabytes. So the arrays that an op of this rung
returns (`empty`) lie in blocks which go back to a store when the array and all its views are gone.
What an op needs only on the way (`scratch`) lies in buffers that belong to the thread.

The memory that is kept is bounded. The store and the arrays in use together take at most
STORE_BYTES more than the arrays in use took at their highest: a gradient seldom finds a block of
its size among the blocks of the activations. A thread keeps at most SCRATCH_BYTES of scratch
buffers.
`free_memory()` returns everything that is not in use.
"""

import contextlib
import math
import mmap
import threading
import weakref
from collections import deque

import numpy as np

from tinynet.shapes import ceil_div
from tinynet.threads import fork_safe_lock

STORE_BYTES = 1 << 28    # the store may always keep this much: all gradients of AlexNet's weights
SCRATCH_BYTES = 1 << 26  # a thread may keep this much
SMALLEST = 1 << 17       # of a block; smaller arrays are NumPy's
PAGE = 1 << 21           # a huge page; larger blocks are multiples of it


# ---------------------------------------------------------------------------------- what ops return

def empty(shape, dtype):
    """Return an array with undefined contents, like np.empty; a large one in recycled memory."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size < SMALLEST or not hasattr(mmap, "MAP_PRIVATE"):
        return np.empty(shape, dtype)
    unit = SMALLEST if size < PAGE else PAGE
    block = _store.take(ceil_div(size, unit) * unit)
    array = np.ndarray(shape, dtype, buffer=block)  # views keep it alive: the block is no array
    weakref.finalize(array, _store.returned.append, block).atexit = False
    return array


class _Store:
    """The blocks that no array uses at the moment; the longest unused comes first."""

    def __init__(self):
        self.lock = fork_safe_lock()
        self.returned = deque()  # arrays put their block here when they die, at any time: no lock
        self.unused = []
        self.used_bytes = self.most_used_bytes = 0

    def take(self, size):
        with self.lock:
            self.collect()
            self.used_bytes += size
            self.most_used_bytes = max(self.most_used_bytes, self.used_bytes)
            for i in reversed(range(len(self.unused))):
                if len(self.unused[i]) == size:
                    return self.unused.pop(i)
            most = self.most_used_bytes + STORE_BYTES
            while self.unused and self.used_bytes + self.unused_bytes() > most:
                self.unused.pop(0)
        try:
            block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except OSError as error:
            with self.lock:
                self.used_bytes -= size
            raise MemoryError(f"no {size:,} bytes for a result: {error.strerror}") from None
        if size >= PAGE and hasattr(mmap, "MADV_HUGEPAGE"):
            with contextlib.suppress(OSError):  # a kernel without huge pages; small ones work too
                block.madvise(mmap.MADV_HUGEPAGE)
        return block

    def collect(self):
        while self.returned:
            block = self.returned.popleft()
            self.unused.append(block)
            self.used_bytes -= len(block)

    def unused_bytes(self):
        return sum(len(block) for block in self.unused)


# ------------------------------------------------------------------------- what ops need on the way

class _Scratch(threading.local):
    """The buffers of one thread, by name. They are freed when the thread ends."""

    def __init__(self):
        self.buffers = _Buffers()
        with _all_buffers_lock:
            _all_buffers.add(self.buffers)


class _Buffers(dict):
    __hash__ = object.__hash__  # a WeakSet needs one
    __eq__ = object.__eq__


def scratch(name, shape, dtype):
    """Return an array for use inside one piece, with undefined contents.

    A thread has one buffer for each name. The next call with the same name returns the same memory,
    so the array of the call before must no longer be in use.
    """
    buffers = _scratch.buffers
    with contextlib.suppress(KeyError, TypeError):  # there is no buffer, or it is too small
        return np.ndarray(shape, dtype, buffers[name])
    size = math.prod(shape) * np.dtype(dtype).itemsize
    buffer = np.empty(size + 63, np.uint8)
    start = -buffer.ctypes.data % 64  # the first byte of a cache line
    buffer = buffer[start:start + size]
    others = sum(other.nbytes for key, other in list(buffers.items()) if key != name)
    if others + size <= SCRATCH_BYTES:
        buffers[name] = buffer
    return np.ndarray(shape, dtype, buffer)


# --------------------------------------------------------------------------------------------- both

def free_memory():
    """Free all memory that is not in use. A running op keeps what it uses."""
    with _all_buffers_lock:
        for buffers in _all_buffers:
            buffers.clear()
    with _store.lock:
        _store.collect()
        _store.unused.clear()
        _store.most_used_bytes = _store.used_bytes


def kept_bytes():
    """Return how many bytes are kept but not in use: (in the store, in scratch buffers)."""
    with _all_buffers_lock:
        in_scratch = sum(buffer.nbytes for buffers in _all_buffers
                         for buffer in list(buffers.values()))
    with _store.lock:
        _store.collect()
        return _store.unused_bytes(), in_scratch


_all_buffers, _all_buffers_lock = weakref.WeakSet(), fork_safe_lock()
_scratch, _store = _Scratch(), _Store()

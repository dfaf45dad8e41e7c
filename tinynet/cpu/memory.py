"""Memory that is used again: fresh memory costs more than it seems.

The system hands out large arrays page by page at the first touch, each page cleared before; AlexNet's activations for a
batch are gigabytes. So what an op of this rung returns (`empty`) lies in blocks that go back to a store when the array
and all its views are gone, and what it needs on the way (`scratch`) in buffers of the thread.

Bounded: the store and the arrays in use together never take more than the arrays in use once took at one moment, or
STORE_BYTES if that is more; and a thread keeps at most SCRATCH_BYTES. `free_memory()` gives back all that is not in
use.
"""

import math
import mmap
import threading
import weakref
from collections import deque

import numpy as np

STORE_BYTES = 1 << 28    # what the store may keep in any case: enough for all layers of a few pictures
SCRATCH_BYTES = 1 << 26  # what a thread keeps for next time
PAGE = 1 << 21           # a huge page: blocks are multiples of it, smaller arrays are left to NumPy


# ----------------------------------------------------------------------------------------------------- what ops return

def empty(shape, dtype):
    """As np.empty, contents undefined, in recycled memory if it is large."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size < PAGE or not hasattr(mmap, "MAP_PRIVATE"):
        return np.empty(shape, dtype)
    block = _store.take(-(-size // PAGE) * PAGE)
    array = np.ndarray(shape, dtype, buffer=block)  # views of it keep it alive, since the block is no array
    weakref.finalize(array, _store.returned.append, block).atexit = False
    return array


class _Store:
    """Blocks that no array uses at the moment, the longest unused first."""

    def __init__(self):
        self.lock = threading.Lock()
        self.returned = deque()  # where arrays leave their block when they die: at any time, so without the lock
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
            while self.unused and self.used_bytes + self.unused_bytes() > max(self.most_used_bytes, STORE_BYTES):
                self.unused.pop(0)
        try:
            block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except OSError as error:
            with self.lock:
                self.used_bytes -= size
            raise MemoryError(f"no {size:,} bytes for a result: {error.strerror}") from None
        if hasattr(mmap, "MADV_HUGEPAGE"):
            block.madvise(mmap.MADV_HUGEPAGE)
        return block

    def collect(self):
        while self.returned:
            block = self.returned.popleft()
            self.unused.append(block)
            self.used_bytes -= len(block)

    def unused_bytes(self):
        return sum(len(block) for block in self.unused)


# -------------------------------------------------------------------------------------------- what ops need on the way

class _Scratch(threading.local):
    """The buffers of one thread, by name. They go when the thread goes."""

    def __init__(self):
        self.buffers = _Buffers()
        with _all_buffers_lock:
            _all_buffers.add(self.buffers)


class _Buffers(dict):
    __hash__ = object.__hash__  # a WeakSet needs one
    __eq__ = object.__eq__


def scratch(name, shape, dtype):
    """An array for what is needed only inside a piece, contents undefined: the same memory again at every call.

    A thread has one buffer for each name; a second call with the same name makes the first array worthless.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    buffers = _scratch.buffers
    buffer = buffers.get(name)
    if buffer is None or buffer.nbytes < size:
        buffer = np.empty(size + 63, np.uint8)
        start = -buffer.ctypes.data % 64  # of a cache line
        buffer = buffer[start:start + size]
        others = sum(other.nbytes for key, other in list(buffers.items()) if key != name)
        if others + size <= SCRATCH_BYTES:
            buffers[name] = buffer
    return buffer[:size].view(dtype).reshape(shape)


# ---------------------------------------------------------------------------------------------------------------- both

def free_memory():
    """Give back all that is not in use. Safe at any time: an op that is running keeps what it has in hand."""
    with _all_buffers_lock:
        for buffers in _all_buffers:
            buffers.clear()
    with _store.lock:
        _store.collect()
        _store.unused.clear()
        _store.most_used_bytes = _store.used_bytes


def kept_bytes():
    """(in the store, in scratch buffers): how much memory is kept at the moment that nobody uses."""
    with _store.lock, _all_buffers_lock:
        _store.collect()
        in_scratch = sum(buffer.nbytes for buffers in _all_buffers for buffer in list(buffers.values()))
        return _store.unused_bytes(), in_scratch


_all_buffers, _all_buffers_lock = weakref.WeakSet(), threading.Lock()
_scratch, _store = _Scratch(), _Store()

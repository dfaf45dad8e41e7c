"""Use memory again, because fresh memory is slow.

The operating system hands out a large array page by page, and clears each page when it is first
touched. AlexNet's activations for one batch take gigabytes. So the arrays that an op of this rung
returns (`empty`) lie in a store, and their place goes back to it when the array and all its views
are gone. What an op needs only on the way (`scratch`) lies in buffers that belong to the thread.

The memory that is kept is bounded. The store and the arrays in use together take at most
STORE_BYTES more than the arrays in use took at their highest. A thread keeps at most SCRATCH_BYTES
of scratch buffers.
`free_memory()` returns everything that is not in use.
"""

import bisect
import contextlib
import math
import mmap
import os
import sys
import threading
import weakref
from collections import deque

import numpy as np

from tinynet.shapes import ceil_div
from tinynet.threads import fork_safe_lock

STORE_BYTES = 1 << 28    # the store may always keep this much
SCRATCH_BYTES = 1 << 26  # a thread may keep this much
SMALLEST = 1 << 17       # of an array in the store; smaller ones are NumPy's
PAGE = 1 << 21           # a huge page; larger arrays take a multiple of it
# Linux then counts pages only when they are touched, so that a process may fork. Python 3.11 and
# 3.12 do not name this flag.
NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)


# ---------------------------------------------------------------------------------- what ops return

def empty(shape, dtype):
    """Return an array with undefined contents, like np.empty; a large one in recycled memory."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size < SMALLEST or not hasattr(mmap, "MAP_PRIVATE"):
        return np.empty(shape, dtype)
    store = _stores[size >= PAGE]
    start, stop = store.take(size)
    array = np.ndarray(shape, dtype, store.memory, start)  # views keep it alive: memory is no array
    weakref.finalize(array, store.returned.append, (start, stop)).atexit = False
    return array


class _Store:
    """One long range of addresses. Pages that were never touched take no memory.

    An array takes the first free piece that is large enough (first fit), and the rest of the piece
    stays free. Free pieces that touch become one. The smallest such piece (best fit) leaves smaller
    gaps, but more of them: a step of AlexNet with 128 images then touches 5 % more memory.

    unit     the size of a piece is a multiple of it
    free     (start, stop) of the free pieces in their order; the last one has no end
    touched  where the pages begin that no array has had yet
    clean    how many bytes before that are free and have gone back to the system, at least
    """

    def __init__(self, unit):
        self.lock, self.unit, self.memory = fork_safe_lock(), unit, None
        self.returned = deque()  # arrays put their piece here when they die, at any time: no lock
        self.free, self.touched, self.clean, self.used_bytes, self.most_used_bytes = [], 0, 0, 0, 0

    def take(self, size):
        """Return (start, stop) of a piece of at least `size` bytes.

        Raises   MemoryError
        """
        size = ceil_div(size, self.unit) * self.unit
        with self.lock:
            if self.memory is None:
                self.memory, first = _reserve(self.unit)
                self.free, self.touched = [(first, math.inf)], first
            self.collect()
            i = next(i for i, (start, stop) in enumerate(self.free) if stop - start >= size)
            start, stop = self.free[i]
            if start + size > len(self.memory):
                raise MemoryError(f"no {size:,} bytes for a result, beside {self.used_bytes:,} in "
                                  f"use: there are {len(self.memory):,}")
            self.free[i:i + 1] = [(start + size, stop)] if start + size < stop else []
            self.used_bytes += size
            self.most_used_bytes = max(self.most_used_bytes, self.used_bytes)
            self.clean = max(0, self.clean - size)
            self.touched = max(self.touched, start + size)
            if self.used_bytes + self.kept_bytes() > self.most_used_bytes + STORE_BYTES:
                self.clear()
            return start, start + size

    def collect(self):
        """Put the pieces of arrays that died among the free ones."""
        while self.returned:
            start, stop = self.returned.popleft()
            self.used_bytes -= stop - start
            i = bisect.bisect(self.free, (start, stop))
            if self.free[i][0] == stop:
                stop = self.free.pop(i)[1]
            if i and self.free[i - 1][1] == start:
                i -= 1
                start = self.free.pop(i)[0]
            self.free.insert(i, (start, stop))

    def kept_bytes(self):
        """Return how many bytes of free pieces take memory, at most."""
        free = sum(stop - start for start, stop in self.free[:-1])
        return free + (self.touched - self.free[-1][0] if self.free else 0) - self.clean

    def clear(self):
        """Give the memory of all free pieces back to the operating system."""
        self.collect()
        for start, stop in self.free:
            if start < self.touched:
                self.memory.madvise(mmap.MADV_DONTNEED, start, min(stop, self.touched) - start)
        self.clean += self.kept_bytes()


def _reserve(unit):
    """Reserve as many addresses as the machine has memory, or as many as the system allows.

    Returns  the memory, in huge pages if the unit is one, and the first place that is a multiple of
             the unit
    """
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    while True:
        try:
            memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NO_RESERVE)
            break
        except OSError as error:
            size //= 2  # a limit such as that of ulimit -v
            if size < unit:
                raise MemoryError(f"no memory for results: {error.strerror}") from None
    if unit >= PAGE and hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without huge pages; small ones work too
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memory, -np.frombuffer(memory, np.uint8, 1).ctypes.data % unit


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
    for store in _stores:
        with store.lock:
            store.clear()
            store.most_used_bytes = store.used_bytes


def kept_bytes():
    """Return how many bytes are kept but not in use: (in the stores, in scratch buffers)."""
    with _all_buffers_lock:
        in_scratch = sum(buffer.nbytes for buffers in _all_buffers
                         for buffer in list(buffers.values()))
    in_stores = 0
    for store in _stores:
        with store.lock:
            store.collect()
            in_stores += store.kept_bytes()
    return in_stores, in_scratch


_all_buffers, _all_buffers_lock = weakref.WeakSet(), fork_safe_lock()
_scratch, _stores = _Scratch(), (_Store(SMALLEST), _Store(PAGE))

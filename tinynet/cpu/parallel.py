"""Share the work of an op among the cores, and keep BLAS to one thread per core.

Every op of this rung is cut into pieces whose data fits in the caches of a core; most pieces are
one image or a few. `for_each` starts one thread per core, and each thread takes piece after piece.
Python threads are good enough for this, because NumPy releases the interpreter lock during every
array operation. Only the steps between two operations, a few microseconds each, exclude each other.
A thread that finds the lock taken sleeps, and to be woken takes tens of microseconds. So pieces are
large: if an operation took 10 microseconds, two threads would be slower than one; with 100, they
are nearly twice as fast. And before the sleeping thread is awake, the other may have finished a
short operation and taken the lock again. Python lets a thread wait for its turn like this for 5
milliseconds, unless it is told otherwise; `for_each` tells it otherwise while it works.

BLAS is the library that computes NumPy's matrix products. It has threads of its own: by default it
cuts every product into one part per core, and each product waits for its slowest part. One whole
product per core, each computed by a single thread, needs no such waiting. So `for_each` limits BLAS
to one thread while it works.

The results have the same bits in every run and on any number of cores: the shapes alone decide how
a sum is cut, no two pieces write to the same place, and sums over the pieces are added in the
order of the pieces (`sum_in_order`).
"""

import functools
import os
import sys
import threading
import warnings
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import threadpoolctl

from tinynet.shapes import ceil_div
from tinynet.threads import ThreadCountError, default_thread_count, fork_safe_lock

MOST_SHARES = 32  # parts of a sum: more take more memory, fewer leave cores idle on a big machine

ALONE_BYTES = 1 << 18   # of an array of a piece, with one thread
SHARED_BYTES = 1 << 20  # of an array of a piece, with several threads
SWITCH_SECONDS = 1e-6   # that a thread waits for the interpreter lock before it demands it
SMALL_PRODUCT = 1_000_000  # multiplications up to which OpenBLAS does not copy the factors


# --------------------------------------------------------------------------------- sharing out work

def for_each(work, pieces):
    """Call work(piece) for every piece, on all cores, and return when every call has ended.

    The calling thread works too. Helper threads that are busy with the pieces of another caller are
    not waited for: callers never wait for each other, and work may itself call for_each.

    Raises   the first exception that work raises; pieces not yet begun are then dropped
    """
    queue = deque(pieces)

    @one_blas_thread()
    def work_till_empty():
        while queue:
            try:
                piece = queue.popleft()
            except IndexError:  # another thread took the last piece between the two lines above
                return
            try:
                work(piece)
            except BaseException:
                queue.clear()
                raise

    helpers = []
    try:
        for _ in range(min(thread_count(), len(queue)) - 1):
            helpers.append(_pool().submit(work_till_empty))
        work_till_empty()
    finally:
        queue.clear()
        started = [helper for helper in helpers if not helper.cancel()]
        failed = [helper for helper in started if helper.exception()]  # waits for its last piece
    for helper in failed:
        helper.result()


def sum_in_order(work, pieces):
    """Return the sum of work(piece), a list of new arrays, over all pieces in their order.

    The rounding of a floating-point sum depends on the order of its terms. Adding first plus second
    plus third, whichever is ready first, gives a gradient the same bits on any number of cores.
    """
    early, totals = {}, []  # early: results that are ready before their turn
    lock, turn = threading.Lock(), 0

    def work_and_add(numbered):
        nonlocal turn
        number, piece = numbered
        parts = work(piece)
        with lock:
            early[number] = parts
            while turn in early:
                parts = early.pop(turn)
                for total, part in zip(totals, parts):
                    total += part
                totals[:] = totals or parts
                turn += 1

    for_each(work_and_add, enumerate(pieces))
    return totals


def shares(count, most=MOST_SHARES):
    """Cut range(count) into at most `most` slices whose lengths differ by at most one."""
    most = max(1, min(count, most))
    return [slice(i * count // most, (i + 1) * count // most) for i in range(most)]


def chunks(count, bytes_each, limit):
    """Cut range(count) into slices of at most `limit` bytes, but of at least one item."""
    return shares(count, ceil_div(count, max(1, limit // max(1, bytes_each))))


def divisor(count, most):
    """Return the largest divisor of count up to `most`; count itself if that is below most / 8."""
    most = max(1, min(most, count))
    largest = next(d for d in range(most, 0, -1) if count % d == 0)
    return largest if 8 * largest >= most else count


def piece_bytes():
    """Return how many bytes an array of a piece takes at most, where sums are not cut into pieces.

    Small pieces stay in the cache. But several threads would wait for the interpreter lock between
    two short operations longer than for the memory.
    """
    return ALONE_BYTES if thread_count() == 1 else SHARED_BYTES


def for_each_block(work, *arrays):
    """Call work(x[a:b], y[a:b], ...) for every block of the flattened arrays, on all cores.

    Args     arrays of one shape; those that work writes to must be C-contiguous, because an array
             that is not is copied when it is flattened
    """
    flat = [array.reshape(-1) for array in arrays]
    blocks = chunks(flat[0].size, flat[0].itemsize, piece_bytes())
    for_each(lambda piece: work(*(array[piece] for array in flat)), blocks)


def thread_count():
    """Return the number of threads that work on an op, the calling thread included.

    It is what set_thread_count was given, else the environment variable TINYNET_THREADS, else the
    number of cores that this process may use. The environment is read at the first call.

    Raises   ThreadCountError if TINYNET_THREADS is not a whole number of at least 1
    """
    global _thread_count
    if _thread_count is None:
        _thread_count = default_thread_count()
    return _thread_count


def set_thread_count(count):
    """Work with `count` threads from now on, the calling thread included.

    Args     count: None returns to TINYNET_THREADS or, without it, to one thread per core
    Raises   ThreadCountError if count is not a whole number of at least 1
    """
    global _thread_count, _executor
    if count is not None and (not isinstance(count, int) or count < 1):
        raise ThreadCountError("the number of threads must be a whole number of at least 1, "
                               f"it is {count!r}")
    with _pool_lock:
        retired, _executor, _thread_count = _executor, None, count
    if retired:
        retired.shutdown(wait=False)


def _pool():
    """Return the helper threads, one fewer than thread_count; they start when first needed."""
    global _executor
    with _pool_lock:
        if _executor is None:
            _executor = ThreadPoolExecutor(max(1, thread_count() - 1), "tinynet")
        return _executor


_executor, _thread_count, _pool_lock = None, None, fork_safe_lock()


# -------------------------------------------- BLAS, one thread each; the interpreter lock, in turns

@contextmanager
def one_blas_thread():
    """Limit BLAS to one thread for the calling thread, and then restore the limit found before.

    Python's switch interval is shortened and restored with it.

    OpenBLAS as NumPy ships it has one limit for the whole process: the first thread that enters
    lowers it, and the last that leaves restores it. MKL and OpenBLAS built with OpenMP have one
    limit per thread: every thread lowers and restores its own. Each thread that works on pieces
    enters, so that both kinds are limited.

    Warns    RuntimeWarning, once, if a library ignores the limit
    """
    global _switch_seconds
    me, own_limits = threading.get_ident(), {}
    _inside.append(me)
    try:
        with _blas_lock:
            if _switch_seconds is None:
                _switch_seconds = sys.getswitchinterval()
                sys.setswitchinterval(SWITCH_SECONDS)
            for library in _blas_libraries():
                threads = library.num_threads
                if threads != 1:
                    limits = _process_limits if _has_one_limit(library) else own_limits
                    limits.setdefault(library, threads)
                    _set_limit(library, 1)
                    if library.num_threads != 1:
                        _warn_of(library)
        yield
    finally:
        with _blas_lock:
            _inside.remove(me)
            _restore(own_limits)
            _restore_process()


def _restore_process():
    """Restore what the whole process shares, unless a thread is still at work."""
    global _switch_seconds
    if not _inside:
        _restore(_process_limits)
        if _switch_seconds is not None:
            sys.setswitchinterval(_switch_seconds)
            _switch_seconds = None


def _restore(limits):
    while limits:
        _set_limit(*limits.popitem())


def _set_limit(library, threads):
    """Set the limit of a BLAS library, from whichever thread this is.

    Since version 3.8, threadpoolctl lets one thread control OpenBLAS, the first that sets a limit,
    and silently ignores all others. It offers clear_controlling_thread for handing over: we take
    control, and leave it free for others afterwards. Older versions let every thread set a limit.
    """
    clear = getattr(library, "clear_controlling_thread", lambda force: None)
    clear(force=True)
    library.set_num_threads(threads)
    clear(force=True)


@functools.cache
def _has_one_limit(library):
    """Return whether the library has one limit for the whole process, by trying it.

    Another thread sets the limit to 1, and this thread looks whether its own has changed.
    """
    before = library.num_threads
    other = threading.Thread(target=_set_limit, args=(library, 1))
    other.start()
    other.join()
    changed = library.num_threads != before
    if changed:
        _set_limit(library, before)
    return changed


@functools.cache
def _blas_libraries():
    """Return threadpoolctl's controllers of the BLAS libraries that are loaded: NumPy's, at least.

    They are looked for once, because it takes a millisecond.
    """
    libraries = threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers
    if not libraries:
        _warn("threadpoolctl does not know the BLAS library of this NumPy, so tinynet cannot limit "
              "it to one thread")
    return libraries


@functools.cache
def _warn_of(library):
    _warn(f"{library.filepath} ({library.internal_api} {library.version}) ignores the limit of one "
          f"thread and uses {library.num_threads}")


def _warn(reason):
    warnings.warn(f"{reason}; results are correct, but their last bits may differ between two runs,"
                  " and training may be slow. It may help to set OPENBLAS_NUM_THREADS=1 or"
                  " OMP_NUM_THREADS=1 before Python starts", RuntimeWarning, stacklevel=2)


_inside, _process_limits, _blas_lock = [], {}, fork_safe_lock()  # _inside: numbers of threads
_switch_seconds = None  # before it was shortened


# --------------------------------------------------------------------------------------------- fork

def _forget_other_threads():
    """Forget the parent's other threads, which a forked child does not have."""
    global _executor
    _executor = None
    with _blas_lock:
        _inside[:] = [thread for thread in _inside if thread == threading.get_ident()]
        _restore_process()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_other_threads)

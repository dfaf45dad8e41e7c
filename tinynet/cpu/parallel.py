"""The cores: how work is shared out among them, and how BLAS is kept from doing the same.

Every op of this rung is cut into pieces that fit in a core's cache, mostly an image or a few, and `for_each` lets one
thread a core take piece after piece. Python threads are enough: NumPy lets go of the interpreter lock inside every
array operation, so only what is between two operations, a microsecond or so, is done one thread at a time.

BLAS, left alone, would give each matrix product to all cores at once, and wait for all of them after each. One product
a core, each on one thread, needs no waiting; so BLAS is held to one thread while pieces are worked on.

Results are the same bits from run to run and on any number of cores: how the work is cut depends on the shapes alone,
no two pieces write to the same place, and what has to be added up is added in the order of the pieces (`sum_in_order`).
"""

import os
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import threadpoolctl

BLOCK = 1 << 16          # elements of a block: a few blocks of float32 fit in the second-level cache
MOST_SHARES = 32         # pieces of a sum: more would cost memory, fewer would leave the cores of a big machine idle


# ----------------------------------------------------------------------------------------------------- sharing out work

def for_each(work, pieces):
    """Call work(piece) for every piece, on all cores. Returns when all are done; the first exception is raised here.

    The calling thread works too. Helpers that come too late, because the cores are busy with another caller's pieces,
    are sent away: no caller waits for another, whatever the number of callers, nor for itself if work calls for_each.
    """
    queue = deque(pieces)

    def work_till_empty():
        while queue:
            try:
                piece = queue.popleft()
            except IndexError:  # another thread took the last one between the two lines above
                return
            try:
                work(piece)
            except BaseException:
                queue.clear()
                raise

    helpers = []
    with one_blas_thread():
        try:
            for _ in range(min(thread_count(), len(queue)) - 1):
                helpers.append(_pool().submit(work_till_empty))
            work_till_empty()
        finally:
            queue.clear()
            started = [helper for helper in helpers if not helper.cancel()]
            failed = [helper for helper in started if helper.exception()]  # waits for the piece a helper is busy with
    for helper in failed:
        helper.result()


def sum_in_order(work, pieces):
    """The sum of work(piece), a list of new arrays, over all pieces: first plus second plus third, whoever ends first.

    Floating-point addition depends on its order, so this is what makes a gradient the same bits on any number of cores.
    """
    early, totals = {}, []  # early: finished before its turn
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
    """Cut range(count) into at most `most` slices of equal length, give or take one."""
    most = max(1, min(count, most))
    return [slice(i * count // most, (i + 1) * count // most) for i in range(most)]


def chunks(count, bytes_each, limit):
    """Cut range(count) into slices of at most `limit` bytes, one item at least."""
    return shares(count, -(-count // max(1, limit // max(1, bytes_each))))


def for_each_block(work, *arrays, block=BLOCK):
    """Call work on the arrays, which have one shape, block by block: work(x[a:b], y[a:b]), all flat.

    What is written to must be C-contiguous; of an input that is not, the blocks are those of a copy.
    """
    flat = [array.reshape(-1) for array in arrays]
    blocks = shares(flat[0].size, -(-flat[0].size // block))
    for_each(lambda piece: work(*(array[piece] for array in flat)), blocks)


def thread_count():
    """How many threads work: TINYNET_THREADS or set_thread_count, else one for each core this process may run on."""
    return _thread_count


def set_thread_count(count):
    """Work on `count` threads from now on, the calling one among them; None: one for each core."""
    global _thread_count, _executor
    count = _cores() if count is None else count
    if not isinstance(count, int) or count < 1:
        raise ValueError(f"the number of threads must be a whole number of at least 1, it is {count!r}")
    with _pool_lock:
        retired, _executor, _thread_count = _executor, None, count
    if retired:
        retired.shutdown(wait=False)


def _cores():
    wanted = os.environ.get("TINYNET_THREADS")
    if wanted:
        if not wanted.isdecimal() or int(wanted) < 1:
            raise ValueError(f"TINYNET_THREADS must be a whole number of at least 1, it is {wanted!r}")
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _pool():
    """The helpers, one fewer than the threads: started when first needed, and then waiting for the next op."""
    global _executor
    with _pool_lock:
        if _executor is None:
            _executor = ThreadPoolExecutor(max(1, _thread_count - 1), "tinynet")
        return _executor


def _forget_pool():
    """A forked process has none of its parent's threads, and may have inherited a lock that was held."""
    global _executor, _pool_lock
    _executor, _pool_lock = None, threading.Lock()


_executor, _pool_lock, _thread_count = None, threading.Lock(), _cores()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


# ------------------------------------------------------------------------------------------------ BLAS, one thread each

@contextmanager
def one_blas_thread():
    """Hold BLAS to one thread, and leave it as it was found.

    The setting belongs to the whole process, so it is counted who needs it: the first to come in changes it, the last
    to leave puts it back, also after an exception.
    """
    global _holders, _found
    with _blas_lock:
        if _holders == 0:
            _found = [(library, library.num_threads) for library in _blas_libraries()]
            for library, threads in _found:
                if threads != 1:
                    library.set_num_threads(1)
        _holders += 1
    try:
        yield
    finally:
        with _blas_lock:
            _holders -= 1
            if _holders == 0:
                for library, threads in _found:
                    if threads != 1:
                        library.set_num_threads(threads)


def _blas_libraries():
    """The BLAS that NumPy loaded, looked for once: it takes a millisecond."""
    global _libraries
    if _libraries is None:
        _libraries = threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers
    return _libraries


_holders, _found, _libraries, _blas_lock = 0, [], None, threading.Lock()

"""Threads that prepare data ahead of time, and hand it out in order.

Threads of Python are good enough for this: Pillow and NumPy release the interpreter lock while they
decode, copy and compute.
"""

import collections
import os
from concurrent.futures import ThreadPoolExecutor

from tinynet.threads import default_thread_count

AHEAD = 4  # tasks worked on at once, at most: to prepare a batch as in the paper takes 100 MB


def in_order(work, tasks, threads=None):
    """Yield work(task) for each task in turn, while threads work on the tasks that follow.

    The caller's thread takes the tasks, so they may come from a generator that is not thread-safe,
    and may be without end. At most threads + 1 tasks have been taken and not yet been handed out.
    An iterator that is left early drops the tasks that no thread has begun, and waits for none.

    Args     threads: by default one per core, but at most AHEAD
    Raises   what work raises, at the turn of its task; RuntimeError in a forked process
    """
    threads = threads or min(default_thread_count(), AHEAD)
    pool, waiting = ThreadPoolExecutor(threads, "tinynet data"), collections.deque()
    process = os.getpid()

    def first():
        if os.getpid() != process:  # without the threads there, it would wait for ever
            raise RuntimeError("this process was forked from the one whose threads prepare the "
                               "data; open the data in the process that uses them")
        return waiting.popleft().result()

    try:
        for task in tasks:
            waiting.append(pool.submit(work, task))
            if len(waiting) > threads:
                yield first()
        while waiting:
            yield first()
    finally:  # the garbage collector may run this, in any thread, so it must not wait
        pool.shutdown(wait=False, cancel_futures=True)


def pieces(order, length):
    """Cut an array into pieces of `length` elements; the last one may be shorter."""
    return [order[start:start + length] for start in range(0, len(order), length)]

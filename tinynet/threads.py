"""How many threads tinynet uses, and locks that survive a fork."""

import os
import threading

from tinynet.backend import DeviceError


class ThreadCountError(DeviceError, ValueError):
    """The number of threads asked for is not a whole number of at least 1."""


def default_thread_count():
    """Return the environment variable TINYNET_THREADS or, if it is not set, the number of cores.

    The cores are those that this process may use, which can be fewer than the machine has.

    Raises   ThreadCountError if TINYNET_THREADS is not a whole number of at least 1
    """
    text = os.environ.get("TINYNET_THREADS", "")
    if text and not (text.isdecimal() and int(text) >= 1):
        raise ThreadCountError("TINYNET_THREADS must be a whole number of at least 1, "
                               f"it is {text!r}")
    if text:
        return int(text)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def fork_safe_lock():
    """Return a lock that a forked process finds free.

    A fork copies the memory of the process, but of its threads only the one that forks. A lock that
    another thread holds at that moment would stay locked in the child for ever. So the thread that
    forks acquires the lock first, and releases it on both sides. It may hold the lock already, if
    it forks in a signal handler, so this is an RLock.
    """
    lock = threading.RLock()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lock.acquire, after_in_parent=lock.release,
                            after_in_child=lock.release)
    return lock

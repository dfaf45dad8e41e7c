"""Ranks that are threads of one process: for lessons and tests, without anything to install."""

import queue
import threading

from tinynet.parallel.communicator import Communicator


class RankFailed(RuntimeError):
    """Another rank has failed, so this one stops waiting for it."""


def run(size, work):
    """Call work(communicator) in `size` threads, one a rank, and return the list of results.

    Raises   the exception of the rank that failed first
    """
    group, results, failed = Group(), [None] * size, []

    def one(communicator):
        try:
            results[communicator.rank] = work(communicator)
        except BaseException as error:
            failed.append(error)
            group.failed.set()

    ranks = [Threads(rank, size, group) for rank in range(size)]
    threads = [threading.Thread(target=one, args=(communicator,)) for communicator in ranks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return results


class Group:
    """The mail boxes between all pairs of ranks, and whether a rank has failed."""

    def __init__(self):
        self.failed = threading.Event()
        self._boxes, self._lock = {}, threading.Lock()

    def put(self, key, value):
        """Put a value into the box `key`."""
        self._box(key).put(value)

    def get(self, key):
        """Wait for the next value in the box `key`. Raises RankFailed."""
        while True:
            try:
                return self._box(key).get(timeout=0.05)
            except queue.Empty:
                if self.failed.is_set():
                    raise RankFailed("another rank has failed") from None

    def _box(self, key):
        with self._lock:
            return self._boxes.setdefault(key, queue.SimpleQueue())


class Threads(Communicator):
    """One rank of a group of threads."""

    def __init__(self, rank, size, group):
        self.rank, self.size, self._group = rank, size, group
        super().__init__()

    def _exchange(self, partner, send, receive):
        if send is not None:
            self._group.put((self.rank, partner, "array"), send.copy())
        if receive is not None:
            receive[...] = self._group.get((partner, self.rank, "array"))

    def _share(self, data):
        partners = [rank for rank in range(self.size) if rank != self.rank]
        for partner in partners:
            self._group.put((self.rank, partner, "value"), data)
        return {partner: self._group.get((partner, self.rank, "value")) for partner in partners}

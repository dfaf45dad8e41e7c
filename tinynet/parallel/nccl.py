"""Ranks with a GPU each: what is on a GPU goes to another GPU by NCCL, which CuPy calls.

MPI has started the processes. It hands round the id by which NCCL finds them, and carries whatever
is on the host. NCCL could add by itself, but in an order of its own; here it only carries, and
communicator.py adds.
"""

import platform

import numpy as np

from tinynet import backend
from tinynet.parallel.communicator import Communicator, ParallelError


class Nccl(Communicator):
    """One rank, whose arrays are on the GPU in use; the host is not waited for.

    Args     host: the Communicator of the same ranks that carries values and arrays on the host
    Raises   ParallelError if there is no NCCL, or if it cannot connect the GPUs
    """

    def __init__(self, host):
        self.rank, self.size = host.rank, host.size
        super().__init__()
        self._host, self._cuda, self._nccl = host, *backend.cuda_and_nccl()
        self._stream = self._cuda.Stream(non_blocking=True)
        try:
            number = host.from_first(self._nccl.get_unique_id() if self.rank == 0 else None)
            self._ranks = self._nccl.NcclCommunicator(self.size, number, self.rank)
        except self._nccl.NcclError as error:
            raise ParallelError(f"NCCL cannot connect the GPUs ({error})") from None

    def _exchange(self, partner, send, receive):
        if any(backend.array_module(x) is np for x in (send, receive) if x is not None):
            return self._host._exchange(partner, send, receive)
        stream = self._cuda.get_current_stream().ptr
        self._nccl.groupStart()  # both ways at once
        for call, x in ((self._ranks.send, send), (self._ranks.recv, receive)):
            if x is not None and x.size:
                call(x.data.ptr, x.nbytes, self._nccl.NCCL_UINT8, partner, stream)
        self._nccl.groupEnd()

    def _share(self, data):
        return self._host._share(data)

    def begin_all_reduce(self, x, label):
        """Begin all_reduce on a stream of its own.

        Returns  a function that lets the current stream wait for its end
        """
        computed = self._cuda.get_current_stream().record()
        with self._stream:
            self._stream.wait_event(computed)
            self.all_reduce(x, label)
            there = self._stream.record()
        return lambda: self._cuda.get_current_stream().wait_event(there)


def choose_device(communicator, wanted, needed_bytes=0):
    """Choose the device of this rank. Of several ranks, each takes a GPU of its own.

    Args     wanted: "gpu" is the first GPU of a host for its first rank, the second for its second,
             and so on; "auto" likewise, or the CPU for all ranks if one of them would have no GPU
    Returns  "cpu" or "gpu", and the reason in a few words
    Raises   DeviceError as backend.choose_device; ParallelError where ranks would share a GPU
    """
    if communicator.size == 1 or wanted == "cpu":
        return backend.choose_device(wanted, needed_bytes)
    host = platform.node()
    before = communicator.share(host)[:communicator.rank].count(host)  # ranks on this host
    number = before % max(1, backend.gpu_count())
    own = f"gpu:{number}" if wanted in ("auto", "gpu") else wanted
    try:
        chosen, reason = backend.choose_device(own, needed_bytes), None
        place = f"{host}, {backend.gpu_bus_id()}"
    except backend.DeviceError as error:
        if wanted != "auto":
            raise
        reason, place = str(error).removeprefix("no usable GPU: "), None
    reasons, places = zip(*communicator.share((reason, place)))
    reason = next(filter(None, reasons), None)
    if not reason and len(set(places)) < len(places):
        first = next(rank for rank, place in enumerate(places) if place in places[:rank])
        reason = (f"ranks {places.index(places[first])} and {first} would share one GPU "
                  f"({places[first]})")
        if wanted != "auto":
            raise ParallelError(f"{reason}: start one rank for each GPU, or use --device cpu")
    return ("cpu", reason) if reason else chosen

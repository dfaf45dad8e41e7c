"""Ranks that are processes, started by mpiexec; mpi4py connects them."""

import contextlib
import functools
import io
import os
import subprocess
import sys
import threading
import time
import traceback

from tinynet import console
from tinynet.parallel.communicator import Communicator, ParallelError

BEAT, SILENCE = 0.5, 10.0  # seconds: between two signs of life, and until a rank counts as lost
RANK_0_SPEAKS = 5.0  # seconds in which rank 0 can tell of a mistake first, and end this rank
STARTING = 60.0  # seconds that MPI may take to start, which it does when all ranks have come
WATCHER = """
import os, signal, sys, time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)  # they are for the rank
rank, end, line = int(sys.argv[1]), time.monotonic() + float(sys.argv[2]), sys.argv[3]
while os.getppid() == rank:
    if time.monotonic() > end:
        print(line, file=sys.stderr, flush=True)
        os.kill(rank, signal.SIGKILL)
        break
    time.sleep(0.1)
"""


def connect(kind):
    """Return the Communicator of this program: of one rank if `kind` is None, else that of MPI.

    Args     kind: of parallelism, "data", "columns" or "mixed"
    Raises   ParallelError if mpi4py is missing, if mpiexec was not used, or has not started two
             ranks for columns and mixed
    """
    if kind is None:
        if console.started_rank() is not None:
            raise ParallelError("started by mpiexec, but without --parallel: every rank would "
                                "train by itself")
        return Communicator()
    try:
        with _within(STARTING):
            from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise ParallelError(f"--parallel {kind} needs mpi4py ({str(error).splitlines()[0]}): "
                            "pip install -e '.[mpi]'") from None
    size = MPI.COMM_WORLD.size
    if size == 1:
        raise ParallelError(f"--parallel {kind} needs several ranks: put mpiexec -n 2 before the "
                            "command")
    if kind != "data" and size != 2:
        raise ParallelError(f"--parallel {kind} needs 2 ranks, not {size}: put mpiexec -n 2 before "
                            "the command")
    return _processes()


@functools.cache
def _processes():
    from mpi4py import MPI
    with _within(STARTING):
        return Processes(MPI)


@contextlib.contextmanager
def _within(seconds):
    """End this rank with a line if the block takes longer, in which MPI waits for all ranks.

    MPI_Init lets no other thread of this process run, so another process has to watch it.
    """
    seconds += console.started_rank() or 0  # so that one rank speaks, and not all of them at once
    line = (f"{os.path.basename(sys.argv[0])}: MPI has not started within {seconds:.0f} s; a rank "
            "hangs, or has failed before")
    watcher = subprocess.Popen([sys.executable, "-I", "-c", WATCHER, str(os.getpid()),
                                str(seconds), line])
    try:
        yield
    finally:
        watcher.kill()
        watcher.wait()


def execute(main, mistakes):
    """Call console.execute; if this rank fails, end all others too.

    A mistake is found by all ranks at once, so only rank 0 speaks of it, and ends the others
    before they do; what another rank alone has to say comes a moment later.
    """
    rank = console.started_rank()
    if rank is None:
        console.execute(main, mistakes)
    said, code = io.StringIO(), 0
    try:
        with contextlib.redirect_stderr(said) if rank else contextlib.nullcontext():
            console.execute(main, mistakes)
    except SystemExit as end:
        code = end.code or 0
    except BaseException:  # a defect of the program: the others must not wait for this rank
        traceback.print_exc()
        code = 1
    if not _processes.cache_info().currsize:
        sys.exit(code)  # all ranks have found the same mistake: MPI's farewell waits for rank 0
    if not code:
        _processes().close()
        sys.exit(0)
    if rank:
        time.sleep(RANK_0_SPEAKS)
        sys.stderr.write(said.getvalue())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # without MPI's farewell, which waits for all: so mpiexec ends the others


class Processes(Communicator):
    """One rank of MPI. A thread tells the next rank that it is alive, and watches the one before.

    The engine never waits inside MPI: it asks again and again, so that the thread gets its turn.
    """

    def __init__(self, MPI):
        self._MPI, self._world = MPI, MPI.COMM_WORLD
        self.rank, self.size = self._world.rank, self._world.size
        super().__init__()
        self._beats, self._closing = self._world.Dup(), threading.Event()
        self._heart = threading.Thread(target=self._watch, name="tinynet heart", daemon=True)
        self._heart.start()

    def _exchange(self, partner, send, receive):
        requests = []
        if receive is not None:
            requests.append(self._world.Irecv(receive, partner))
        if send is not None:
            requests.append(self._world.Isend(send, partner))
        statuses = [self._MPI.Status() for _ in requests]
        _wait_for(lambda: self._MPI.Request.Testall(requests, statuses))
        if receive is not None:
            size = statuses[0].Get_count(self._MPI.BYTE)
            if size != receive.nbytes:
                raise RuntimeError(f"rank {partner} has sent {size:,} bytes, not "
                                   f"{receive.nbytes:,}")

    def _share(self, data):
        partners = [rank for rank in range(self.size) if rank != self.rank]
        requests = [self._world.Isend([data, self._MPI.BYTE], rank, 1) for rank in partners]
        received = {}
        for rank in partners:
            status = self._MPI.Status()
            message = _wait_for(lambda rank=rank, status=status:
                                self._world.Improbe(rank, 1, status))
            received[rank] = bytearray(status.Get_count(self._MPI.BYTE))
            message.Recv([received[rank], self._MPI.BYTE])
        _wait_for(lambda: self._MPI.Request.Testall(requests))
        return received

    def close(self):
        """Wait until all ranks have finished; from then on nobody is watched."""
        self.barrier()
        self._closing.set()
        self._heart.join()
        self.barrier()  # no more signs of life will come: MPI warns of messages that nobody read
        self._read_beats()

    def _read_beats(self):
        """Read the signs of life of the rank before this one; return whether there was any."""
        before, any_came = (self.rank - 1) % self.size, False
        while self._beats.Iprobe(before):
            self._beats.Recv([bytearray(), self._MPI.BYTE], before)
            any_came = True
        return any_came

    def _watch(self):
        before, after = (self.rank - 1) % self.size, (self.rank + 1) % self.size
        heard, sent = time.monotonic(), []
        while not self._closing.wait(BEAT):
            sent = [beat for beat in sent if not beat.Test()]
            sent.append(self._beats.Isend([b"", self._MPI.BYTE], after))
            if self._read_beats():
                heard = time.monotonic()
            if time.monotonic() - heard > SILENCE:
                print(f"{os.path.basename(sys.argv[0])}: rank {before} has given no sign of life "
                      f"for {SILENCE:.0f} s; continue with --resume", file=sys.__stderr__,
                      flush=True)
                os._exit(1)


def _wait_for(ask):
    """Call ask() until its answer is true, ever less often, and return it."""
    pause = 0.0
    while not (answer := ask()):
        time.sleep(pause)
        pause = min(pause + 1e-5, 1e-3)
    return answer

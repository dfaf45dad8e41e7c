"""A small training run, to be started by mpiexec: parallel_program.py OUT STEPS [--parallel KIND] [--resume] [...]

With --slow M each step takes M milliseconds more; --fail R lets rank R fail in its second step, --die R kills it, and
--hang R stops it. Each rank prints the digest of its results at the end.
"""

import argparse
import hashlib
import os
import signal
import time

import test_parallel

from tinynet import parallel, runs
from tinynet.parallel import mpi


class Mistake(ValueError):
    """Of the user."""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("steps", type=int)
    parser.add_argument("--parallel")
    parser.add_argument("--split", help="with one rank: the network that ranks would split")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--slow", type=float, default=0)
    for name in ("fail", "die", "hang", "mistake", "defect"):
        parser.add_argument(f"--{name}", type=int)
    args = parser.parse_args()
    mpi.SILENCE, mpi.STARTING = 5.0, 5.0
    communicator = parallel.connect(args.parallel)
    if args.mistake in (communicator.rank, -1):
        raise Mistake("a mistake")
    run = test_parallel.make_run(communicator, args.out, args.steps,
                                 split=args.parallel if args.parallel in parallel.SPLIT else args.split)
    run.resume() if args.resume else run.begin({})
    if args.resume and communicator.rank == 0:
        print("continuing from step", run.step)
    record = run.record

    def trouble(*measured):
        record(*measured)
        time.sleep(args.slow / 1000)
        if run.step == 2 and args.fail == communicator.rank:
            raise OSError("disk: gone")
        if run.step == 2 and args.defect == communicator.rank:
            raise AssertionError("a defect")
        if run.step == 2 and args.die == communicator.rank:
            os.kill(os.getpid(), signal.SIGKILL)
        if run.step == 2 and args.hang == communicator.rank:
            os.kill(os.getpid(), signal.SIGSTOP)
        if run.step == 2 and communicator.rank == 0:
            print("two steps", flush=True)

    run.record = trouble
    results, sha = test_parallel.train(run), hashlib.sha256()
    for name in sorted(results):
        sha.update(results[name].tobytes())
    print(f"rank {communicator.rank}: {sha.hexdigest()}")


if __name__ == "__main__":
    parallel.execute(main, (Mistake, parallel.ParallelError, runs.RunError))

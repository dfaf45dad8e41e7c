"""Measure a training step of several ranks: how long it takes, and how much of that is messages.

    python examples/benchmark_parallel.py
    mpiexec -n 2 python examples/benchmark_parallel.py --parallel data --csv steps.csv
    python examples/benchmark_parallel.py --ranks 8 --latency 0.01

Steps take turns, `--repeats` times: "together", as in training; "in turn" (data only), in which
each layer waits until its gradient has arrived, while otherwise it travels during the backward of
the layers below; and "silent", in which nothing travels. The time of a step is that of the slowest
rank. What "together" takes longer than "silent" is lost to communication. Then all gradients travel
alone, which gives MB/s, and 1 kB, which gives the latency.

With --ranks the ranks are threads of this process, which train the small network CifarNet, and each
message waits for --latency.
"""

import csv
import pathlib
import resource
import sys
import time

import numpy as np

import tinynet
from tinynet import console, parallel, shapes, threads
from tinynet.parallel import threads as engine

COLUMNS = ("name", "parallel", "ranks", "threads", "batch", "pixels", "silent", "together",
           "in turn", "images/s", "lost %", "sent MB", "gradients alone", "latency us", "MB/s",
           "peak MB")


class Altered(parallel.Communicator):
    """A Communicator whose messages take longer, or are left out.

    Args     host: the Communicator that carries them; latency: seconds more for each; silent:
             nothing is carried, and whatever should have come is 0
    """

    def __init__(self, host, latency=0.0, silent=False):
        self.rank, self.size = host.rank, host.size
        super().__init__()
        self.host, self.latency, self.silent = host, latency, silent

    def _exchange(self, partner, send, receive):
        if not self.silent:
            time.sleep(self.latency)
            self.host._exchange(partner, send, receive)
        elif receive is not None:
            receive.fill(0)

    def _share(self, data):
        return self.host._share(data)


def main():
    args = parse_arguments()
    if args.ranks:
        args.parallel = "data"
        row, *_ = engine.run(args.ranks, lambda communicator: measure(communicator, args))
    else:
        row = measure(parallel.connect(args.parallel), args)
    if row:
        for name, value in row.items():
            print(f"{name:20} {value:>14}")
        if args.csv:
            append(args.csv, row)


def measure(communicator, args):
    """Return a row of the table on rank 0, None on the others."""
    row = {"name": args.name, "parallel": args.parallel or "", "ranks": communicator.size,
           "threads": threads.default_thread_count(), "batch": args.batch_size,
           "pixels": 32 if args.ranks else args.image_size}
    row |= measure_steps(communicator, args)
    if communicator.size > 1 and args.parallel == "data":
        row |= measure_messages(Altered(communicator, args.latency), args)
    return row if communicator.rank == 0 else None


def make_network(args, rng):
    """Return CifarNet for threads, of which each has a copy, and else AlexNet."""
    if args.ranks:
        return tinynet.CifarNet(rng=rng)
    return tinynet.AlexNet("paper", image_size=args.image_size, rng=rng)


def make_step(args, communicator, overlap=True):
    """Return a function that makes a training step of this rank, of always the same batch."""
    rng = np.random.default_rng(0)
    net = make_network(args, rng).train()
    x = rng.standard_normal((args.batch_size, *net.in_shape), np.float32)
    labels = rng.integers(0, 10, args.batch_size)
    loss, sgd = tinynet.SoftmaxCrossEntropy(), tinynet.SGD(net, lr=1e-6)
    if args.parallel == "data":
        net = parallel.DataParallel(net, communicator, communicator.size, overlap)
    elif args.parallel:
        net = parallel.SPLIT[args.parallel](net, communicator)
        sgd = parallel.ColumnSGD(sgd, net)

    def step():
        loss.forward(net.forward(x), labels)
        net.backward(loss.backward())
        sgd.step()

    return step


def measure_steps(communicator, args):
    """Return the median seconds of each kind of step, what a rank sends, and its peak memory."""
    together = Altered(communicator, args.latency)
    steps = {"together": make_step(args, together)}
    steps["together"]()
    unit = 1 if sys.platform == "darwin" else 1024
    peak = unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # before there are more nets
    sent = sum(together.sent.values())
    if communicator.size > 1:
        steps["silent"] = make_step(args, Altered(communicator, silent=True))
        if args.parallel == "data":
            steps["in turn"] = make_step(args, together, overlap=False)
    for step in steps.values():
        step()  # makes buffers
    seconds = {name: [] for name in steps}
    for _ in range(args.repeats):
        for name, step in steps.items():
            seconds[name].append(slowest(communicator, step))
    result = {name: round(float(np.median(values)), 4) for name, values in seconds.items()}
    lost = 1 - result.get("silent", result["together"]) / result["together"]
    return result | {"images/s": round(args.batch_size / result["together"], 2),
                     "lost %": round(100 * lost, 1), "sent MB": round(sent / 1e6, 3),
                     "peak MB": round(max(communicator.share(peak)) / 1e6)}


def measure_messages(communicator, args):
    """Return the seconds that all gradients travel alone, and the latency and rate of the link."""
    params = make_network(args, np.random.default_rng(0)).named_params()
    gradients = {name: np.zeros_like(w) for name, w in params.items()}
    short, empty, exchanges = np.ones(256, np.float32), np.empty(256, np.float32), 20

    def sums():
        for name, gradient in gradients.items():
            communicator.all_reduce(gradient, name)

    def exchange():
        for _ in range(exchanges):  # each waits for the one before
            communicator.exchange(communicator.rank ^ 1, short, empty, "short")

    alone, latency = (float(np.median([slowest(communicator, work) for _ in range(args.repeats)]))
                      for work in (sums, exchange))
    sent = sum(communicator.sent[name] for name in gradients) / args.repeats
    return {"gradients alone": round(alone, 4), "latency us": round(1e6 * latency / exchanges, 1),
            "MB/s": round(sent / alone / 1e6, 1)}


def slowest(communicator, work):
    """Return the seconds of work(), which all ranks begin together, on the slowest rank."""
    communicator.barrier()
    started = time.perf_counter()
    work()
    return max(communicator.share(time.perf_counter() - started))


def append(path, row):
    """Append a row to a table; the first one makes it."""
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


def parse_arguments():
    parser = console.ArgumentParser(description=__doc__.splitlines()[0],
                                    formatter_class=console.HelpFormatter)
    parser.add_argument("--parallel", choices=("data", *parallel.SPLIT),
                        help="measure the ranks that mpiexec starts")
    parser.add_argument("--ranks", type=console.positive_int, metavar="P",
                        help="measure data parallelism of P threads of this process")
    parser.add_argument("--latency", type=float, default=0.0, metavar="SECONDS",
                        help="let every message wait so long")
    parser.add_argument("--batch-size", type=console.positive_int, default=32, metavar="N")
    parser.add_argument("--image-size", type=console.positive_int, default=227, metavar="N")
    parser.add_argument("--repeats", type=console.positive_int, default=5, metavar="N")
    parser.add_argument("--csv", type=pathlib.Path, metavar="FILE", help="append a row to a table")
    parser.add_argument("--name", default="", help="of the row, such as that of the network")
    args = parser.parse_args()
    if args.csv:
        console.writable_folder(args.csv.parent, "--csv")
    return args


if __name__ == "__main__":
    parallel.execute(main, (console.FolderError, parallel.ParallelError, threads.ThreadCountError,
                            shapes.ShapeError))

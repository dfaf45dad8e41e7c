"""Repeat the paper's figure 1: a network of four layers on CIFAR-10, with ReLU and with tanh.

    python -m tinynet.data download cifar10 data
    python examples/figure1.py --data data
    python examples/figure1.py --data data --device gpu --workers 8

Question: how many epochs does each need until the training error is 25 %? There is no
regularisation, and each unit has its own best learning rate, as in the paper. The paper names
neither the network nor its initial weights: this is the authors' small network for CIFAR-10 without
its normalisation, with the initial weights of section 5.

First a sweep: one seed of each unit at each rate. The rate that reaches 25 % in the fewest epochs
is then used with `--seeds` seeds; a run of the sweep stops when it can no longer be the best.
Everything is done twice: with pixels as in the paper, from which the mean is subtracted, and with
these pixels divided by 64. A run whose rows are in the file is not made again, so after a stop the
same command continues.
"""

import csv
import functools
import itertools
import multiprocessing
import pathlib
import signal
import warnings

import numpy as np

import tinynet
from tinynet import backend, console, data
from tinynet.layers import AvgPool, Conv2d, Flatten, Linear, MaxPool, ReLU, Tanh
from tinynet.metrics import top_k_wrong
from tinynet.threads import ThreadCountError

SIZE, BATCH, GOAL = 32, 128, 25.0  # pixels, pictures a step, % of the training pictures
UNITS = {"ReLU": ReLU, "tanh": Tanh}
PIXELS = {"as in the paper": 1, "divided by 64": 64}
RATES = (0.0003, 0.001, 0.003, 0.01, 0.03)
COLUMNS = ("pixels", "unit", "lr", "seed", "epoch", "training_error")


def network(unit, divided_by, classes, rng):
    """Return the four layers with weights.

    The weights of conv1 grow as the pixels shrink, so that the first sums are the same.
    """
    return tinynet.Sequential([
        Conv2d("conv1", 32, 5, pad=2, std=0.01 * divided_by, need_dx=False), unit("unit1"),
        MaxPool("pool1", 3, 2, ceil=True),                                # 32 -> 16
        Conv2d("conv2", 32, 5, pad=2, std=0.01), unit("unit2"),
        AvgPool("pool2", 3, 2, ceil=True),                                # 16 -> 8
        Conv2d("conv3", 64, 5, pad=2, std=0.01), unit("unit3"),
        AvgPool("pool3", 3, 2, ceil=True), Flatten("flatten"),            # 8 -> 4
        Linear("fc4", classes, std=0.01),
    ], (3, SIZE, SIZE), rng)


def training_errors(x, labels, pixels, unit, lr, seed, device, may_go_on):
    """Train one network until its training error, counted during an epoch, is 25 %.

    Args     x (N, 3, 32, 32) float32, the mean subtracted; labels (N,); may_go_on(epochs): called
             after each epoch with the number of epochs done
    Returns  the training error of each epoch in per cent; the last one is nan if the loss became
             infinite or not a number
    """
    rng, divided_by = np.random.default_rng(seed), PIXELS[pixels]
    net = network(UNITS[unit], divided_by, int(labels.max()) + 1, rng)
    net.to(device)
    loss, sgd = tinynet.SoftmaxCrossEntropy(), tinynet.SGD(net, lr, momentum=0.9, weight_decay=0)
    errors = []
    while not errors or (errors[-1] > GOAL and may_go_on(len(errors))):
        wrong = 0
        order = rng.permutation(len(labels))
        for batch in np.split(order, range(BATCH, len(order), BATCH)):
            value = loss.forward(net.forward(backend.to_device(x[batch] / divided_by, device)),
                                 labels[batch])
            if not np.isfinite(float(value)):
                return [*errors, float("nan")]
            net.backward(loss.backward())
            sgd.step()
            wrong += top_k_wrong(backend.to_numpy(loss.probs), labels[batch], 1).sum()
        errors.append(100 * wrong / len(labels))
    return errors


def epochs_to_goal(errors):
    """Return how many epochs were needed to reach 25 %, infinity if it was not reached."""
    return len(errors) if errors[-1] <= GOAL else float("inf")


def best_rate(runs, pixels, unit):
    """Return the rate of the sweep that reached 25 % first, or that came nearest to it."""
    sweep = {lr: errors for (p, u, lr, seed), errors in runs.items()
             if (p, u, seed) == (pixels, unit, 0)}
    return min(sweep, key=lambda lr: (epochs_to_goal(sweep[lr]),
                                      np.nan_to_num(sweep[lr][-1], nan=100)))


# ---------------------------------------------------------------------------- many runs, one file

def main():
    args = parse_arguments()
    console.writable_folder(args.out.parent)  # before hours of training
    args.device, why = backend.choose_device(args.device)
    data.open_source(args.data, SIZE, 0, args.quiet)  # a mistake is found before workers start
    if not args.quiet:
        print(f"device: {args.device} ({why})")
    runs, context = read_rows(args.out), multiprocessing.get_context("spawn")
    fewest = {kind: context.Value("i", args.epochs) for kind in itertools.product(PIXELS, UNITS)}
    for job, errors in runs.items():
        note(fewest, job, errors)
    with context.Pool(args.workers, prepare, [fewest]) as pool:
        for pixels in PIXELS:
            sweep = [(pixels, unit, lr, 0) for lr in args.rates for unit in UNITS]
            train_all(sweep, True, runs, pool, args)
            seeds = [(pixels, unit, best_rate(runs, pixels, unit), seed)
                     for seed in range(args.seeds) for unit in UNITS]
            train_all(seeds, False, runs, pool, args)
    print(*summary(runs, args.seeds), sep="\n")
    print(f"{args.out} has the training error of every epoch")


def train_all(jobs, sweep, runs, pool, args):
    """Make the runs (pixels, unit, lr, seed) that are missing, and write their rows."""
    missing = [(job, sweep, args) for job in jobs if job not in runs]
    with console.Progress(len(missing), "training", "runs", args.quiet) as progress:
        for job, errors in pool.imap_unordered(train_one, missing):
            runs[job] = errors
            append(args.out, job, errors)
            pixels, unit, lr, seed = job
            progress.say(f"{unit}, pixels {pixels}, rate {lr:g}, seed {seed}: training error "
                         f"{errors[-1]:.1f} % after {len(errors)} epochs")
            progress.update(1)


def prepare(fewest):
    """Give a worker the shared numbers of epochs. Ctrl-C ends it together with the main process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore", RuntimeWarning)  # a loss that is not finite has its own row
    train_one.fewest = fewest


def train_one(task):
    """Return a run and its training errors. In the sweep it stops when another rate has won."""
    job, sweep, args = task
    best = train_one.fewest[job[:2]]
    errors = training_errors(*read_pictures(args.data, args.pictures), *job, args.device,
                             lambda done: done < (best.value if sweep else args.epochs))
    if sweep:
        note(train_one.fewest, job, errors)
    return job, errors


@functools.cache
def read_pictures(path, count):
    """Return x float32 (N, 3, 32, 32), the mean subtracted, and labels (N,), of every class."""
    source = data.open_source(path, SIZE, 0, quiet=True)
    total = len(source.train)
    chosen = np.linspace(0, total - 1, min(count, total)).astype(int)
    pictures, readable = source.train.read(chosen)
    mean = data.compute_statistics(source.train, quiet=True).mean
    return pictures - mean, source.train.labels[chosen[readable]]


def note(fewest, job, errors):
    """Note the epochs of a run that reached 25 %, if no run of its kind needed fewer."""
    shared = fewest[job[:2]]
    with shared.get_lock():
        shared.value = int(min(shared.value, epochs_to_goal(errors)))


def summary(runs, seeds):
    """Yield the lines of the result: epochs for each seed, and the ratio of their means."""
    for pixels in PIXELS:
        reached = {}
        for unit in UNITS:
            lr = best_rate(runs, pixels, unit)
            reached[unit] = [epochs_to_goal(runs[pixels, unit, lr, seed]) for seed in range(seeds)]
            epochs = ", ".join("never" if np.isinf(n) else f"{n:g}" for n in reached[unit])
            yield (f"pixels {pixels}, {unit}, rate {lr:g}: epochs until {GOAL:.0f} %, seed by "
                   f"seed: {epochs}")
        if not np.isfinite([*reached["ReLU"], *reached["tanh"]]).all():
            yield f"pixels {pixels}: not every run reached {GOAL:.0f} %, so there is no ratio"
            continue
        ratio = np.mean(reached["tanh"]) / np.mean(reached["ReLU"])
        pairs = [slow / fast for slow in reached["tanh"] for fast in reached["ReLU"]]
        yield (f"pixels {pixels}: tanh needs {ratio:.1f} times as many epochs; "
               f"{min(pairs):.1f} to {max(pairs):.1f} times for any two seeds")


def read_rows(path):
    """Return {(pixels, unit, lr, seed): [training error of each epoch]} from a file of main."""
    runs = {}
    if path.exists():
        with open(path, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                job = row["pixels"], row["unit"], float(row["lr"]), int(row["seed"])
                runs.setdefault(job, []).append(float(row["training_error"]))
    return runs


def append(path, job, errors):
    """Add the rows of one run to a file, below a header if they are the first."""
    rows = [[*job[:2], f"{job[2]:g}", job[3], epoch, f"{error:.3f}"]
            for epoch, error in enumerate(errors, 1)]
    new = not path.exists()
    with open(path, "a", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows] if new else rows)


def parse_arguments():
    parser = console.ArgumentParser(description=__doc__.splitlines()[0],
                                    formatter_class=console.HelpFormatter)
    add = parser.add_argument
    add("--data", default="data", metavar="PATH", help="as for train_cifar10.py")
    add("--device", default="auto", metavar="auto|cpu|gpu|gpu:N")
    add("--pictures", type=console.positive_int, default=50_000, metavar="N",
        help="training pictures")
    add("--epochs", type=console.positive_int, default=60, metavar="N",
        help="where a run stops that has not reached 25 %%")
    add("--rates", type=console.positive_float, nargs="+", default=list(RATES), metavar="LR",
        help="of the sweep")
    add("--seeds", type=console.positive_int, default=5, metavar="N", help="runs at the best rate")
    add("--workers", type=console.positive_int, default=1, metavar="N",
        help="runs at the same time; a GPU has room for several of these small networks")
    add("--out", type=pathlib.Path, default="figure1.csv", metavar="FILE", help="rows are added")
    add("--quiet", action="store_true", help="print the result only")
    return parser.parse_args()


if __name__ == "__main__":
    console.execute(main, mistakes=(console.FolderError, data.DataError, backend.DeviceError,
                                   ThreadCountError))

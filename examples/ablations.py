"""Train a small AlexNet with one thing changed at a time, several seeds each: one row a run.

    python examples/ablations.py
    python examples/ablations.py --data data/cifar10 --pictures 10000 --out cifar10.csv

The network is AlexNet's table with fewer channels, for crops of 33 pixels. The initial weights are
scaled so that every layer spreads its input as the same layer of AlexNet does. `base` is the
authors' recipe: ReLU before LRN as in the text, std 0.03 in conv3 to conv5 as in the program. Every
other variant changes what its name says and nothing else; no rate was tuned for it. A run whose row
is in the file is not made again, so after a stop the same command continues.
"""

import csv
import math
import pathlib

import numpy as np

import tinynet
from tinynet import console, data
from tinynet.evaluation import evaluate
from tinynet.layers import LRN, Conv2d, Dropout, Flatten, Linear, MaxPool, ReLU, Tanh
from tinynet.metrics import top_k_wrong
from tinynet.runs import require_finite

STORED, SIZE, BATCH = 38, 33, 64
COLUMNS = ("data", "pictures", "epochs", "seed", "variant", "epochs_to_25", "train_error",
           "test_error")
VARIANTS = {
    "base": {},
    "tanh for ReLU": {"unit": Tanh},                   # with biases of 1, which are meant for ReLU
    "tanh, biases of 0": {"unit": Tanh, "bias": 0},
    "no LRN": {"lrn": False},
    "pooling 2 x 2, 2 apart": {"pool": 2},             # 15 -> 7 -> 3 -> 1, the sizes of 3 x 3
    "no dropout": {"keep": 1.0},
    "no crops, mirrors, colours": {"vary": False},
    "one group": {"groups": 1},                        # more weights in conv2, conv4, conv5
    "std 0.01 in conv3 to conv5": {"middle": 0.01},    # the paper's text
}


def layers(classes, unit=ReLU, lrn=True, pool=3, keep=0.5, groups=2, middle=0.03, bias=1):
    """Return the table: AlexNet's widths divided by 3 to 16, sizes 33 -> 15 -> 7 -> 3 -> 1."""
    middle4 = spread(middle, 192 * 9, 48 * 9)
    table = [
        Conv2d("conv1", 32, 5, stride=2, std=spread(0.01, 3 * 11 * 11, 3 * 5 * 5), need_dx=False),
        unit("unit1"), LRN("lrn1", alpha=1e-4 / 5), MaxPool("pool1", pool, 2),
        Conv2d("conv2", 64, 5, pad=2, groups=groups, std=spread(0.01, 48 * 25, 16 * 25), bias=bias),
        unit("unit2"), LRN("lrn2", alpha=1e-4 / 5), MaxPool("pool2", pool, 2),
        Conv2d("conv3", 96, 3, pad=1, std=spread(middle, 256 * 9, 64 * 9)), unit("unit3"),
        Conv2d("conv4", 96, 3, pad=1, groups=groups, std=middle4, bias=bias), unit("unit4"),
        Conv2d("conv5", 64, 3, pad=1, groups=groups, std=middle4, bias=bias), unit("unit5"),
        MaxPool("pool5", pool, 2), Flatten("flatten"),
        Linear("fc6", 256, std=spread(0.01, 256 * 36, 64), bias=bias), unit("unit6"),
        Dropout("drop6", keep),
        Linear("fc7", 256, std=spread(0.01, 4096, 256), bias=bias), unit("unit7"),
        Dropout("drop7", keep),
        Linear("fc8", classes, std=spread(0.01, 4096, 256)),
    ]
    return [row for row in table if lrn or not isinstance(row, LRN)]


def spread(std, fan_in, here):
    """Return the std that spreads `here` inputs as `std` spreads the fan_in inputs of AlexNet."""
    return std * math.sqrt(fan_in / here)


def train(source, pictures, variant, seed, epochs):
    """Train one network.

    Returns  the number of epochs until the training error, counted during training, was 25 % (nan:
             never); the final training error; the final test error
    """
    changes = dict(VARIANTS[variant])
    vary = changes.pop("vary", True)
    net_rng, rng = np.random.default_rng(seed).spawn(2)
    net = tinynet.Sequential(layers(len(source.class_names), **changes), (3, SIZE, SIZE), net_rng)
    loss, sgd = tinynet.SoftmaxCrossEntropy(), tinynet.SGD(net, lr=0.01)
    schedule = tinynet.StepDecay(sgd, (round(0.6 * epochs), round(0.85 * epochs)))
    statistics = pictures["statistics"]
    how, axes = data.Augmentation(colour="deviations"), data.principal_axes(statistics.covariance)
    reached, step = float("nan"), 0
    for epoch in range(1, epochs + 1):
        wrong, order = 0, rng.permutation(len(pictures["labels"]))
        for indices in np.split(order, range(BATCH, len(order), BATCH)):
            chosen, labels = pictures["train"][indices], pictures["labels"][indices]
            if vary:
                drawn = data.sample(rng, len(indices), STORED - SIZE, how, axes)
                x = data.augment(chosen, drawn, statistics.mean, SIZE, how)
            else:
                x = middles(chosen, statistics)
            step += 1
            require_finite(loss.forward(net.forward(x), labels), step)
            net.backward(loss.backward())
            sgd.step()
            wrong += top_k_wrong(loss.probs, labels, 1).sum()
        if wrong <= 0.25 * len(order) and math.isnan(reached):
            reached = epoch
        schedule.end_epoch()
    errors = [evaluate(net, loss, batches(pictures[part], pictures[labels], statistics)).top1_error
              for part, labels in (("train", "labels"), ("test", "test_labels"))]
    return reached, *errors


def middles(pictures, statistics):
    return data.center_crop(pictures, SIZE) - data.center_crop(statistics.mean, SIZE)


def batches(pictures, labels, statistics):
    for start in range(0, len(labels), 500):
        yield middles(pictures[start:start + 500], statistics), labels[start:start + 500]


def read(source, count):
    """Read `count` training pictures, of every class, and the whole test set into memory."""
    total = len(source.train)
    chosen = np.linspace(0, total - 1, min(count, total)).astype(int)
    train, readable = source.train.read(chosen)
    test, test_readable = source.test.read(np.arange(len(source.test)))
    return {"statistics": data.compute_statistics(source.train, quiet=True),
            "train": train, "labels": source.train.labels[chosen[readable]],
            "test": test, "test_labels": source.test.labels[test_readable]}


def main():
    args = parse_arguments()
    console.writable_folder(args.out.parent)  # before hours of training
    source = data.open_source(args.data, STORED, 0, args.quiet)
    pictures = read(source, args.pictures)
    jobs = [(str(seed), variant) for seed in range(args.seeds) for variant in args.variants]
    settings = [source.name, str(len(pictures["labels"])), str(args.epochs)]
    with (console.Progress(len(jobs), "training", "runs", args.quiet) as progress,
          console.Interrupt() as interrupt):
        for seed, variant in interrupt.watch(jobs):
            if [*settings, seed, variant] not in done(args.out):
                reached, *errors = train(source, pictures, variant, int(seed), args.epochs)
                numbers = [f"{reached:.0f}", *(f"{error:.4f}" for error in errors)]
                append(args.out, [*settings, seed, variant, *numbers])
                progress.say(f"{variant}, seed {seed}: training error {errors[0]:.1%}, "
                             f"test error {errors[1]:.1%}")
            progress.update(1)


def done(path):
    """Return the runs whose rows are in a file, without their results."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return [row[:5] for row in csv.reader(file)]


def append(path, row):
    """Add a row to a file, below a header if it is the first."""
    new = not path.exists()
    with open(path, "a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([COLUMNS, row] if new else [row])


def parse_arguments():
    parser = console.ArgumentParser(description=__doc__.splitlines()[0],
                                    formatter_class=console.HelpFormatter)
    parser.add_argument("--data", default="embedded", metavar="embedded|PATH",
                        help="as for train_alexnet.py")
    parser.add_argument("--pictures", type=console.positive_int, default=3000, metavar="N",
                        help="training pictures")
    parser.add_argument("--epochs", type=console.positive_int, default=10, metavar="N")
    parser.add_argument("--seeds", type=console.positive_int, default=4, metavar="N",
                        help="runs of each variant")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=VARIANTS,
                        metavar="NAME")
    parser.add_argument("--out", type=pathlib.Path, default="ablations.csv", metavar="FILE",
                        help="rows are added")
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    return parser.parse_args()


if __name__ == "__main__":
    console.execute(main, mistakes=(console.FolderError, data.DataError))

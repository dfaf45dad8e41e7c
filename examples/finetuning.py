"""Compare fine-tuning with training from scratch, on few photographs of two classes.

    python examples/finetuning.py --data cifar10-images.tar.gz

The small AlexNet of ablations.py is trained on 500 pictures each of all classes but cat and dog.
Then it is fine-tuned on 50 pictures each of cat and dog, and a fresh one of the same layers is
trained on the same 100 pictures, with as many steps at the same rate. Every seed draws other
pictures and other initial weights for what is new; the network trained on the other classes is the
same for all seeds. The test error is that of all test pictures of the two classes.
"""

import copy
import csv
import pathlib

import ablations
import numpy as np
from ablations import SIZE, STORED

import tinynet
from tinynet import console, data, weights
from tinynet.data.statistics import Sums
from tinynet.evaluation import evaluate
from tinynet.runs import require_finite
from tinynet.weights.finetuning import fine_tune

LEFT_OUT = ("cat", "dog")
PRETRAINING = {"epochs": 10, "batch_size": 64}
TRAINING = {"epochs": 60, "batch_size": 10}
COLUMNS = ("seed", "start", "test_error")


def main():
    """Pretrain once, then write a row for each seed and each start."""
    args = parse_arguments()
    console.writable_folder(args.out.parent)
    source = data.open_source(args.data, STORED, quiet=args.quiet)
    if absent := [name for name in LEFT_OUT if name not in source.class_names]:
        raise data.DataError(f"{args.data}: has no class {absent[0]}")
    others = [name for name in source.class_names if name not in LEFT_OUT]
    rng = np.random.default_rng(0)
    pictures, labels = choose(source, source.train, others, 500, rng)
    test, test_labels = choose(source, source.test, LEFT_OUT)
    with (open(args.out, "w", newline="", encoding="utf-8") as file,
          console.Progress(1 + 2 * args.seeds, "training", "runs", args.quiet) as progress):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        statistics = measure(pictures)
        net = fresh(len(others), rng)
        train(net, pictures, labels, statistics, rng, **PRETRAINING)
        wrong = error(net, *choose(source, source.test, others), statistics)
        progress.update(1)
        progress.say(f"{len(others)} other classes: test error {wrong:.1%}")
        for seed in range(args.seeds):
            rng = np.random.default_rng(1 + seed)
            few, few_labels = choose(source, source.train, LEFT_OUT, 50, rng)
            for start, new_rng in zip(("pretrained", "from scratch"), rng.spawn(2)):
                if start == "pretrained":
                    used, (new, _) = statistics, fine_tune(
                        pretrained(copy.deepcopy(net), others, statistics), 2, rng=new_rng)
                else:
                    used, new = measure(few), fresh(2, new_rng)
                train(new, few, few_labels, used, new_rng, **TRAINING)
                wrong = error(new, test, test_labels, used)
                writer.writerow((seed, start, f"{wrong:.4f}"))
                file.flush()
                progress.update(1)
                progress.say(f"seed {seed}, {start}: test error {wrong:.1%}")


def choose(source, split, names, count=None, rng=None):
    """Return pictures uint8 (N, 3, S, S) of classes, and labels that number the names given.

    Args     count: as many of each class, drawn from rng; all of them if None
    """
    numbers = [source.class_names.index(name) for name in names]
    chosen = [np.flatnonzero(split.labels == number) for number in numbers]
    if count:
        chosen = [rng.permutation(indices)[:count] for indices in chosen]
    chosen = np.concatenate(chosen)
    pictures, readable = split.read(chosen)
    return pictures, np.array([numbers.index(label) for label in split.labels[chosen[readable]]])


def measure(pictures):
    """Return the Statistics of pictures."""
    return Sums.of(pictures).statistics()


def fresh(classes, rng):
    """Return the small AlexNet of ablations.py with fresh weights."""
    return tinynet.Sequential(ablations.layers(classes), (3, SIZE, SIZE), rng)


def pretrained(net, class_names, statistics):
    """Return a network with what fine_tune has to know of it."""
    mean = data.center_crop(statistics.mean, SIZE)
    preprocessing = weights.Preprocessing("paper", STORED, SIZE, "RGB", mean,
                                          np.ones(3, np.float32))
    return weights.Pretrained(net, class_names, preprocessing, "examples/finetuning.py", [])


def train(net, pictures, labels, statistics, rng, epochs, batch_size):
    """Train a network with the crops, mirror images and colours of the authors' program."""
    loss, sgd = tinynet.SoftmaxCrossEntropy(), tinynet.SGD(net, lr=0.01)
    schedule = tinynet.StepDecay(sgd, (round(0.6 * epochs), round(0.85 * epochs)))
    how = data.Augmentation(colour="deviations")
    axes, step = data.principal_axes(statistics.covariance), 0
    net.train()
    for _ in range(epochs):
        order = rng.permutation(len(labels))
        for chosen in np.split(order, range(batch_size, len(order), batch_size)):
            drawn = data.sample(rng, len(chosen), STORED - SIZE, how, axes)
            x = data.augment(pictures[chosen], drawn, statistics.mean, SIZE, how)
            step += 1
            require_finite(loss.forward(net.forward(x), labels[chosen]), step)
            net.backward(loss.backward())
            sgd.step()
        schedule.end_epoch()


def error(net, pictures, labels, statistics):
    """Return the share of pictures whose middle is not given its label."""
    batches = ablations.batches(pictures, labels, statistics)
    return evaluate(net, tinynet.SoftmaxCrossEntropy(), batches).top1_error


def parse_arguments():
    parser = console.ArgumentParser(description=__doc__.splitlines()[0],
                                    formatter_class=console.HelpFormatter)
    parser.add_argument("--data", required=True, metavar="PATH",
                        help="CIFAR-10 in any form that train_alexnet.py takes")
    parser.add_argument("--seeds", type=console.positive_int, default=5, metavar="N",
                        help="runs of each start")
    parser.add_argument("--out", type=pathlib.Path, default="finetuning.csv", metavar="FILE",
                        help="the table")
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    return parser.parse_args()


if __name__ == "__main__":
    console.execute(main, mistakes=(console.FolderError, data.DataError))

"""Race tinynet against PyTorch: who has trained the network of figure 1 first, on the same cores?

    python -m tinynet.data download cifar10 data
    python examples/race.py --data data
    python examples/race.py --data data --unit tanh --threads 1

Both start from the same weights and see the same pictures of CIFAR-10 in the same order, with the
same rate, until the training error, counted during an epoch, is 25 %. Each runs in a process of its
own. They take turns, one epoch each, so that other work on the machine slows both. The seconds are
those of the training steps; the library's start and the reading of the pictures are not counted.
"""

import importlib.util
import time

import numpy as np
from contenders import OwnProcess, torch_module
from figure1 import BATCH, GOAL, SIZE, UNITS, network, read_pictures

import tinynet
from tinynet import console, data
from tinynet.cpu import parallel
from tinynet.metrics import top_k_wrong
from tinynet.threads import ThreadCountError

BEST_RATES = {"ReLU": 0.003, "tanh": 0.01}  # of figure 1, with pixels as in the paper


class Mistake(ValueError):
    """The race cannot begin; the message is one line for the user."""


class Racer:
    """One side of the race, with its own copy of the network and of the pictures."""

    def __init__(self, name, args):
        parallel.set_thread_count(args.threads)
        self.x, self.labels = read_pictures(args.data, args.pictures)
        self.rng = np.random.default_rng(args.seed)
        net = network(UNITS[args.unit], 1, int(self.labels.max()) + 1, self.rng)
        self.step = SIDES[name](net, args.lr)

    def epoch(self):
        """Train for one epoch, and return the training error in per cent and the seconds."""
        wrong, started = 0, time.perf_counter()
        order = self.rng.permutation(len(self.labels))
        for batch in np.split(order, range(BATCH, len(order), BATCH)):
            logits = self.step(self.x[batch], self.labels[batch])
            wrong += top_k_wrong(logits, self.labels[batch], 1).sum()
        return 100 * wrong / len(order), time.perf_counter() - started


def tinynet_step(net, lr):
    """Return a function that makes a training step of tinynet and returns the logits."""
    loss, sgd = tinynet.SoftmaxCrossEntropy(), tinynet.SGD(net, lr, momentum=0.9, weight_decay=0)

    def step(x, labels):
        y = net.forward(x)
        loss.forward(y, labels)
        net.backward(loss.backward())
        sgd.step()
        return y

    return step


def torch_step(net, lr):
    """Return a function that makes a training step of PyTorch and returns the logits."""
    import torch
    torch.set_num_threads(parallel.thread_count())
    modules = torch.nn.Sequential(*map(torch_module, net.layers))
    loss, sgd = torch.nn.CrossEntropyLoss(), torch.optim.SGD(modules.parameters(), lr, momentum=0.9)

    def step(x, labels):
        y = modules(torch.from_numpy(x))
        sgd.zero_grad()
        loss(y, torch.from_numpy(labels)).backward()
        sgd.step()
        return y.detach().numpy()

    return step


SIDES = {"tinynet": tinynet_step, "PyTorch": torch_step}


def main():
    """Let both train in turns, and print each epoch and the result."""
    args = parse_arguments()
    data.open_source(args.data, SIZE, 0, quiet=True)  # a mistake is found before workers start
    print(f"four layers with {args.unit}, rate {args.lr:g}, seed {args.seed}, batches of {BATCH}, "
          f"{args.threads} threads: training error in %, and seconds")
    print("epoch", *(f"{name:>16}" for name in SIDES))
    epochs = {name: [] for name in SIDES}
    with OwnProcess(Racer, "tinynet", args) as ours, OwnProcess(Racer, "PyTorch", args) as theirs:
        for number in range(1, args.epochs + 1):
            for name, racer in zip(SIDES, (ours, theirs)):
                if not arrived(epochs[name]):
                    epochs[name].append(racer.call("epoch"))
            print(f"{number:5}", *(f"{done[-1][0]:8.2f}{done[-1][1]:8.1f}"
                                   if len(done) == number else f"{'':16}"
                                   for done in epochs.values()), flush=True)
            if all(map(arrived, epochs.values())):
                break
    print(*summary(epochs), sep="\n")


def arrived(done):
    """Return whether the last of some epochs [(error, seconds), ...] has reached the goal."""
    return bool(done) and done[-1][0] <= GOAL


def summary(epochs):
    """Yield a line for each side, and one that compares their times if both have arrived."""
    total = {name: sum(seconds for _, seconds in done) for name, done in epochs.items()}
    for name, done in epochs.items():
        yield (f"{name}: {done[-1][0]:.2f} % after {len(done)} epochs and {total[name]:.1f} s, "
               f"{total[name] / len(done):.1f} s an epoch")
    if all(map(arrived, epochs.values())):
        yield (f"PyTorch took {total['PyTorch'] / total['tinynet']:.2f} times as long as tinynet "
               f"to {GOAL:.0f} %")
    else:
        yield f"not both reached {GOAL:.0f} %"


def parse_arguments():
    parser = console.ArgumentParser(description=__doc__.splitlines()[0],
                                    formatter_class=console.HelpFormatter)
    add = parser.add_argument
    add("--data", default="data", metavar="PATH", help="as for train_cifar10.py")
    add("--unit", default="ReLU", choices=UNITS)
    add("--lr", type=console.positive_float, metavar="LR", help="default: the best of figure 1")
    add("--seed", type=console.seed, default=0, metavar="N", help="of weights and order")
    add("--pictures", type=console.positive_int, default=50_000, metavar="N",
        help="training pictures")
    add("--epochs", type=console.positive_int, default=60, metavar="N",
        help="where a side stops that has not reached 25 %%")
    add("--threads", type=console.positive_int, metavar="N",
        help="default: TINYNET_THREADS or one for each core")
    args = parser.parse_args()
    args.lr = args.lr or BEST_RATES[args.unit]
    args.threads = args.threads or parallel.thread_count()
    if importlib.util.find_spec("torch") is None:
        raise Mistake("PyTorch is not installed; pip install torch")
    return args


if __name__ == "__main__":
    console.execute(main, mistakes=(Mistake, data.DataError, ThreadCountError))

"""From a split to batches (x, labels): x float32 (N, 3, s, s), less the mean image; labels (N,)."""

import collections
import dataclasses
import hashlib
import importlib
import itertools
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tinynet.backend import prefetch_to_device, to_device
from tinynet.checkpoint import CheckpointError, load_arrays
from tinynet.console import Progress
from tinynet.data.augment import PLAIN, augment, center_crop, principal_axes, sample, ten_crops
from tinynet.data.pictures import DataError

THREADS = os.cpu_count() or 1  # of a loader; Pillow and NumPy work without holding Python's lock
PIECE = 64                     # pictures read at once where all are read


@dataclasses.dataclass
class Statistics:
    """What the training pictures have in common: mean (3, S, S) float32, in 0 to 255; covariance (3, 3) of R, G, B."""

    mean: np.ndarray
    covariance: np.ndarray

    def digest(self):
        """Return 16 hexadecimal digits that change when any number in it does."""
        return hashlib.sha256(self.mean.tobytes() + self.covariance.tobytes()).hexdigest()[:16]


@dataclasses.dataclass
class Sums:
    """What Statistics come from: how many pictures, and the sums of their pixels and of the products of colours."""

    count: int = 0
    pixels: np.ndarray | float = 0.0                                      # (3, S, S)
    products: np.ndarray | float = 0.0                                    # (3, 3)

    @classmethod
    def of(cls, pictures):
        """Those of pictures uint8 (M, 3, S, S)."""
        colours = pictures.transpose(1, 0, 2, 3).reshape(3, -1).astype(np.float32)  # (3, M*S*S)
        return cls(len(pictures), pictures.sum(axis=0, dtype=np.float64), (colours @ colours.T).astype(float))

    def __add__(self, other):
        return Sums(self.count + other.count, self.pixels + other.pixels, self.products + other.products)

    def statistics(self):
        mean = self.pixels / self.count                                   # (3, S, S)
        colour = mean.mean(axis=(1, 2))                                   # (3,)
        covariance = self.products / (self.count * mean[0].size) - np.outer(colour, colour)
        return Statistics(mean.astype(np.float32), covariance)


def compute_statistics(split, quiet=False):
    """The mean of every pixel over a split, and how its colours vary together: read from all pictures, unless the split
    has kept them.

    Paper    2 for the mean; 4.1 for the covariance of RGB values over the training set
    Raises   DataError where not one picture can be read
    """
    if getattr(split, "statistics", None) is not None:
        return split.statistics
    sums = Sums()

    def read(indices):
        return len(indices), Sums.of(split.read(indices)[0])

    with Progress(len(split), "mean image", "pictures", quiet) as progress:
        for asked, more in in_order(read, pieces(np.arange(len(split)), PIECE)):
            sums += more
            progress.update(asked)
    if not sums.count:
        raise DataError(f"not one of {len(split)} pictures can be read")
    return sums.statistics()


def load_statistics(path):
    """Read Statistics that save_arrays has written as {"mean": ..., "covariance": ...}.

    Raises   CheckpointError, one line, if the file is missing, damaged, or holds anything else
    """
    arrays = load_arrays(path)
    found = {name: (array.shape, array.dtype.name) for name, array in arrays.items()}
    side = arrays["mean"].shape[-1:] if "mean" in arrays else ()
    if found != {"mean": ((3, *side, *side), "float32"), "covariance": ((3, 3), "float64")}:
        raise CheckpointError(f"{path}: not the statistics of a data set, which are a mean image, float32 (3, S, S), "
                              "and a covariance, float64 (3, 3)")
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise CheckpointError(f"{path}: statistics that are not finite numbers")
    return Statistics(**arrays)


class TrainingBatches:
    """Batches without end: epoch after epoch in a new order, each picture once an epoch, cut and varied at random.

    The last batch of an epoch may be short; a picture that cannot be read is left out. Threads prepare a few batches
    ahead, but all draws from rng are made by the caller's: which batch gets which does not depend on timing.

    Args     size: of the crops, in pixels; statistics: of the training split; rng: for this alone, since it runs ahead;
             how: an Augmentation; device: where x is made. A "gpu" is sent the pictures as bytes, a batch ahead, and
             cuts and varies them itself; colour_epochs: after so many epochs colours are shifted no more; None: in all
    Raises   DataError where not one picture can be read; DataLost, in the end, where files vanish
    """

    def __init__(self, split, batch_size, size, statistics, rng, how=PLAIN, threads=THREADS, device="cpu",
                 colour_epochs=None):
        self.split, self.batch_size, self.size = split, batch_size, size
        self.how, self.colour_epochs = how, colour_epochs
        self.mean, self.axes = to_device(statistics.mean, device), principal_axes(statistics.covariance)
        self.rng, self.threads, self.device = rng, threads, device
        # Of the next batch: how many epochs came before, where its epoch began, how many batches came before it there.
        self.position = {"epochs": 0, "generator": rng.bit_generator.state, "batches": 0}
        self._batches = self._run(0, 0)

    def state(self):
        """What a checkpoint keeps of it."""
        return self.position

    def restore(self, position):
        """Go on from a position that was kept: the same batches come as came after it."""
        self.rng.bit_generator.state = position["generator"]
        self.position = position
        self._batches = self._run(position["epochs"], position["batches"])

    def __iter__(self):
        return self

    def __next__(self):
        while True:
            how = self._how(self.position["epochs"])
            pictures, drawn, labels, self.position = next(self._batches)
            if len(labels):
                return self._as_input(pictures, drawn, how), labels
            if len(self.split.unreadable) == len(self.split):
                raise DataError(f"not one of {len(self.split)} pictures can be read")

    def _how(self, epochs):
        """The Augmentation of an epoch before which there were so many."""
        return self.how if self.colour_epochs is None or epochs < self.colour_epochs else self.how.without_colour()

    def _run(self, epochs, skip):
        def plans(skip):
            for done in itertools.count(epochs):
                how, state = self._how(done), self.rng.bit_generator.state
                batches = pieces(self.rng.permutation(len(self.split)), self.batch_size)
                for number, indices in enumerate(batches, 1):
                    drawn = sample(self.rng, len(indices), self.mean.shape[-1] - self.size, how, self.axes)
                    after = {"epochs": done, "generator": state, "batches": number}
                    if number == len(batches):
                        after = {"epochs": done + 1, "generator": self.rng.bit_generator.state, "batches": 0}
                    if number > skip:
                        yield indices, drawn, how, after
                skip = 0

        def prepare(plan):
            indices, drawn, how, after = plan
            pictures, readable = self.split.read(indices)
            drawn, labels = drawn[readable], self.split.labels[indices[readable]]
            if self.device == "cpu":
                pictures = augment(pictures, drawn, self.mean, self.size, how)
            return pictures, drawn, labels, after

        return prefetch_to_device(in_order(prepare, plans(skip), self.threads), self.device)

    def _as_input(self, pictures, drawn, how):
        """On the CPU a thread has made it of the pictures; a GPU makes it now, in the order of its other work."""
        if self.device == "cpu":
            return pictures
        on_gpu = importlib.import_module("tinynet.cuda.augment")
        return on_gpu.augment(pictures, drawn, self.mean, self.size, how)


def test_batches(split, batch_size, size, mean, ten_views=False):
    """One pass in order. One view, the middle of each picture (paper, section 6 footnote), or the paper's ten (4.1).

    Yields   x (N, 3, s, s), or (N, 10, 3, s, s) with ten views; labels (N,)
    Raises   DataError where not one picture can be read
    """
    def prepare(indices):
        pictures, readable = split.read(indices)
        x = ten_crops(pictures, size) if ten_views else center_crop(pictures, size)
        return x - center_crop(mean, size), split.labels[indices[readable]]

    count = 0
    for x, labels in in_order(prepare, pieces(np.arange(len(split)), batch_size)):
        count += len(labels)
        if len(labels):
            yield x, labels
    if not count:
        raise DataError(f"not one of {len(split)} pictures can be read")


def in_order(work, tasks, threads=THREADS):
    """work(task) for each of tasks, done by threads a few tasks ahead, yielded in the order of tasks.

    Tasks may be without end: they are asked for by the caller's thread, never more than threads + 1 ahead. An
    exception in a thread is raised here, at its task's turn.
    """
    pool, waiting = ThreadPoolExecutor(threads), collections.deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(work, task))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:  # without waiting: an iterator that is left early may end in the garbage collector, in any thread
        pool.shutdown(wait=False, cancel_futures=True)


def pieces(order, length):
    """An array in pieces of some length; the last may be shorter."""
    return [order[start:start + length] for start in range(0, len(order), length)]

"""Batches for training and testing: x float32 (N, 3, s, s), mean image subtracted; labels (N,)."""

import importlib
import itertools

import numpy as np

from tinynet.backend import prefetch_to_device, to_device
from tinynet.data.augment import (
    PLAIN,
    augment,
    center_crop,
    principal_axes,
    require_crop,
    sample,
    ten_crops,
)
from tinynet.data.pictures import DataError
from tinynet.data.workers import in_order, pieces


class TrainingBatches:
    """Endless batches: in each epoch every picture once, in a new order, randomly augmented.

    The last batch of an epoch may be smaller, and a picture that cannot be read is left out.
    Threads prepare a few batches ahead. All random numbers are drawn in the caller's thread, batch
    after batch, so the batches do not depend on the timing of the threads.

    Args     size: side of the crops, in pixels
             statistics: Statistics of the training split
             rng: used by these batches alone, because they are prepared ahead
             how: an Augmentation
             threads: by default as in_order has it
             device: where x is made; a "gpu" receives the bytes of the pictures, one batch ahead,
             and augments them itself
             colour_epochs: the number of epochs with colour shifts, None for all
             shards, own: into how many shards each batch is cut, and the slice of them that is
             prepared here; the random numbers are drawn for the whole batch (tinynet.parallel)
    Raises   ValueError if the crops are larger than the pictures; from next(), DataError if no
             picture can be read, and DataLost if the files are gone
    """

    def __init__(self, split, batch_size, size, statistics, rng, how=PLAIN, threads=None,
                 device="cpu", colour_epochs=None, shards=1, own=slice(None)):
        require_crop(size, statistics.mean.shape[-1])
        self.split, self.batch_size, self.size = split, batch_size, size
        self.how, self.colour_epochs = how, colour_epochs
        self.mean = to_device(statistics.mean, device)
        self.axes = principal_axes(statistics.covariance)
        self.rng, self.threads, self.device = rng, threads, device
        self.shards, self.own = shards, own
        # Where the next batch is: the epochs before its epoch, the generator at the start of its
        # epoch, and the batches before it in its epoch.
        self.position = {"epochs": 0, "generator": rng.bit_generator.state, "batches": 0}
        self._batches = self._run(0, 0)

    def state(self):
        """Return what a checkpoint keeps: the position of the next batch, as JSON values."""
        return self.position

    def restore(self, position):
        """Continue from a position that state() returned; the same batches follow as then."""
        self.rng.bit_generator.state = position["generator"]
        self.position = position
        self._batches = self._run(position["epochs"], position["batches"])

    def __iter__(self):
        return self

    def __next__(self):
        while True:
            x, labels, _ = self.take()
            if len(labels):
                return x, labels
            self.require_readable()

    def take(self):
        """Return x and labels of the own shards of the next batch, and the size of each shard.

        x may be empty.
        """
        how = self._how(self.position["epochs"])
        pictures, drawn, labels, counts, self.position = next(self._batches)
        return self._as_input(pictures, drawn, how), labels, counts

    def require_readable(self):
        """Raise DataError if no picture of the split can be read."""
        if len(self.split.unreadable) == len(self.split):
            raise DataError(f"none of {len(self.split)} pictures can be read")

    def _how(self, epochs):
        """Return the Augmentation of the epoch that follows so many epochs."""
        shifted = self.colour_epochs is None or epochs < self.colour_epochs
        return self.how if shifted else self.how.without_colour()

    def _run(self, epochs, skip):
        """Yield the batches that follow, each with what makes x of it.

        Args     epochs: the first epoch; skip: how many of its batches are left out
        Yields   pictures or crops, their Sample, their labels, how many each own shard has, and the
                 position after the batch
        """
        def plans(skip):
            for epoch in itertools.count(epochs):
                how, state = self._how(epoch), self.rng.bit_generator.state
                batches = pieces(self.rng.permutation(len(self.split)), self.batch_size)
                for number, indices in enumerate(batches, 1):
                    margin = self.mean.shape[-1] - self.size
                    drawn = sample(self.rng, len(indices), margin, how, self.axes)
                    after = {"epochs": epoch, "generator": state, "batches": number}
                    if number == len(batches):
                        after = {"epochs": epoch + 1, "batches": 0,
                                 "generator": self.rng.bit_generator.state}
                    if number > skip:
                        yield indices, drawn, how, after
                skip = 0

        def prepare(plan):
            indices, drawn, how, after = plan
            shards = cut(len(indices), self.shards)[self.own]
            mine = slice(shards[0].start, shards[-1].stop)
            indices, drawn = indices[mine], drawn[mine]
            pictures, readable = self.split.read(indices)
            drawn, labels = drawn[readable], self.split.labels[indices[readable]]
            found = np.arange(mine.start, mine.stop)[readable]
            counts = [int(np.sum((shard.start <= found) & (found < shard.stop)))
                      for shard in shards]
            if self.device == "cpu":
                pictures = augment(pictures, drawn, self.mean, self.size, how)
            return pictures, drawn, labels, counts, after

        return prefetch_to_device(in_order(prepare, plans(skip), self.threads), self.device)

    def _as_input(self, pictures, drawn, how):
        """Return x. On the CPU a thread has made it already; a GPU makes it now."""
        if self.device == "cpu":
            return pictures
        on_gpu = importlib.import_module("tinynet.cuda.augment")
        return on_gpu.augment(pictures, drawn, self.mean, self.size, how)


def cut(N, shards):
    """Return the slices of N pictures that are the shards; some are empty if N < shards."""
    return [slice(i * N // shards, (i + 1) * N // shards) for i in range(shards)]


def test_batches(split, batch_size, size, mean, ten_views=False):
    """Yield every picture of a split once, in order: its middle, or the ten views of the paper.

    Paper    4.1 for the ten views; the footnote of section 6 for a single one
    Returns  an iterator over x (N, 3, s, s), or (N, 10, 3, s, s) with ten views, and labels (N,)
    Raises   DataError if no picture can be read; ValueError if the crops are larger than the
             pictures
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
        raise DataError(f"none of {len(split)} pictures can be read")

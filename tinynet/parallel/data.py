"""Data parallelism, exact to the bit: every rank has the whole network, and a part of each batch.

    N pictures of a batch   S shards   P ranks, which divide S   both powers of 2

A run cuts each batch into S shards, whatever the number of ranks. A shard is one forward and one
backward. The gradients of the shards are added in the order of one binary tree; a rank has S / P
neighbouring shards, which are a branch of the tree. So no number depends on P:

    shard      0   1   2   3   4   5   6   7
                \\ /     \\ /     \\ /     \\ /
    2 ranks      + - + -  +       + - + - +        each rank adds a branch ...
                      \\                /
                       - - - - + - - -             ... and all_reduce adds the branches

The dropout masks of the whole batch are drawn on every rank, which uses the masks of its pictures.
The logits of all pictures are gathered, so that every rank computes the loss of the whole batch.
"""

import dataclasses

import numpy as np

from tinynet import backend
from tinynet.data.batches import cut
from tinynet.layers import Dropout
from tinynet.network import Sequential
from tinynet.parallel.communicator import ParallelError


def require_shards(shards, size, kind="data"):
    """Raise ParallelError unless a run of so many shards can be trained by `size` ranks.

    With kind "data", `shards` must be a power of 2 that the number of ranks divides.
    """
    if kind in ("columns", "mixed"):
        if shards > 1:
            raise ParallelError(f"--parallel {kind} trains whole batches, not --shards {shards}")
        return
    if shards & (shards - 1):
        raise ParallelError(f"--shards {shards}: must be a power of 2")
    if shards % size:
        raise ParallelError(f"a run of --shards {shards} cannot be divided among {size} ranks: "
                            f"start {shards} or fewer")


def own_shards(communicator, shards):
    """Return which shards belong to this rank, as a slice."""
    each = shards // communicator.size
    return slice(communicator.rank * each, (communicator.rank + 1) * each)


@dataclasses.dataclass
class Part:
    """The pictures of one rank, in a batch that it shares with others.

    x     its pictures, the shards one after the other
    rows  where its shards are in the batch: slices
    ends  rank r has the pictures ends[r] to ends[r + 1] of the batch
    """

    x: np.ndarray
    rows: list
    ends: list

    def shards(self):
        """Yield the rows and the pictures of each shard; some may be empty."""
        first = self.rows[0].start
        for rows in self.rows:
            yield rows, self.x[rows.start - first:rows.stop - first]


class Batches:
    """TrainingBatches of which each rank prepares its own shards.

    Yields   a Part, and the labels (N,) of the whole batch
    """

    def __init__(self, batches, communicator):
        self.batches, self.communicator = batches, communicator
        self.batch_size = batches.batch_size

    def __next__(self):
        while True:
            x, labels, counts = self.batches.take()
            shared = self.communicator.share((labels, counts))
            ends = np.cumsum([0, *(count for _, counts in shared for count in counts)]).tolist()
            labels = np.concatenate([labels for labels, _ in shared])
            if len(labels):
                first = self.communicator.rank * len(counts)
                rows = [slice(ends[i], ends[i + 1]) for i in range(first, first + len(counts))]
                return Part(x, rows, ends[::len(counts)]), labels
            self.batches.require_readable()

    def state(self):
        """Return the position of the next batch, which is the same on all ranks."""
        return self.batches.state()

    def restore(self, position):
        """Continue from a position that state() returned."""
        self.batches.restore(position)


class DataParallel:
    """A network that all ranks train together. It is used as the network itself would be.

    Args     net: a Sequential, with the same weights and the same generator on every rank;
             shards: of each batch; overlap: let the gradient of a layer travel while the layers
             below it are still computing (the bits are the same)
    Raises   ParallelError if the ranks do not divide the shards
    """

    def __init__(self, net, communicator, shards, overlap=True):
        require_shards(shards, communicator.size)
        self.net, self.communicator, self.shards = net, communicator, shards
        self.overlap = overlap
        self._own = own_shards(communicator, shards)
        self._layers = net.named_layers()
        self._passes = []  # for each own shard: its rows, and what each layer has saved

    def __getattr__(self, name):
        return getattr(self.net, name)

    def __getitem__(self, which):
        return self.net[which]

    def forward(self, x):
        """Compute the logits of a whole batch (N, classes), each rank for its own shards.

        Args     x: a Part, or all pictures of a batch (N, C, H, W)
        """
        if not isinstance(x, Part):
            rows = cut(len(x), self.shards)[self._own]
            ends = [part.start for part in cut(len(x), self.communicator.size)] + [len(x)]
            x = Part(x[rows[0].start:rows[-1].stop], rows, ends)
        N, self._passes = x.ends[-1], []
        masks = self._draw_masks(N) if self.net.training else {}
        logits = backend.array_module(x.x).empty(
            self.net.output_shape((N, *self.net.in_shape)), self.net.dtype)
        for rows, pictures in x.shards():
            if len(pictures):
                for layer, mask in masks.items():
                    layer.draw_mask = lambda shape, dtype, mask=mask, rows=rows: mask[rows]
                logits[rows] = self.net.forward(pictures)
            saved = [layer._saved for layer in self._layers.values()] if len(pictures) else None
            self._passes.append((rows, saved))
        for layer in masks:
            vars(layer).pop("draw_mask", None)  # the method of the class is back
        self.communicator.gather_rows(logits, x.ends, "logits")
        return logits

    predict = Sequential.predict

    def _draw_masks(self, N):
        """Return {layer: mask of the whole batch}, drawn as the network alone would draw them."""
        masks, shape = {}, (N, *self.net.in_shape)
        for layer in self._layers.values():
            if isinstance(layer, Dropout):
                masks[layer] = layer.draw_mask(shape, np.dtype(self.net.dtype))
            shape = layer.output_shape(shape)
        return masks

    def backward(self, dy):
        """Compute the gradients of the whole batch, on every rank.

        Args     dy: the gradient of the loss in the logits of the whole batch (N, classes)
        Returns  None: each rank has the gradient of its own pictures only
        """
        branches, travelling = [], []  # branches of the tree: {(layer, key): sum of gradients}
        for number, (rows, saved) in enumerate(self._passes):
            ready = _trailing_ones(number)  # so many branches become one with this shard
            last, branch, dx = number + 1 == len(self._passes), {}, dy[rows]
            for i, (name, layer) in reversed(list(enumerate(self._layers.items()))):
                if saved is not None:
                    layer._saved = saved[i]
                    dx = layer.backward(dx)
                for key, w in layer.params.items():
                    gradient = layer.grads[key] if saved else backend.array_module(w).zeros_like(w)
                    for earlier in reversed(branches[len(branches) - ready:]):
                        gradient = earlier[layer, key] + gradient
                    branch[layer, key] = gradient
                    if last and self.communicator.size > 1:
                        travelling.append(self.communicator.begin_all_reduce(gradient, name))
                        if not self.overlap:
                            travelling.pop()()
            del branches[len(branches) - ready:]
            branches.append(branch)
        for wait in travelling:
            wait()
        for (layer, key), gradient in branches[0].items():
            layer.grads[key] = gradient
        self._passes = []


def _trailing_ones(number):
    """Return how many ones the binary number ends with: 0 for 4 (100), 2 for 3 (11)."""
    return (number ^ (number + 1)).bit_length() - 1

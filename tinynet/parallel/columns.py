"""The paper's two columns: two ranks, each with half of the kernels and units of every layer.

    N pictures   C maps, or units, of both columns together

In figure 2 of the paper each GPU has one column. Layers with two groups need nothing from the other
column. conv3 and the fully connected layers see the maps of both:

    rank 0   conv1 - conv2 -+- conv3 - conv4 - conv5 -+- fc6 -+- fc7 -+- fc8 -+- logits
                            X                         X       X       X       X
    rank 1   conv1 - conv2 -+- conv3 - conv4 - conv5 -+- fc6 -+- fc7 -+- fc8 -+- logits

What crosses at an X is itself a layer: a column is a Sequential of ordinary layers, half as wide,
with a Gather before each layer that sees both columns.
"""

import copy

import numpy as np

from tinynet import checkpoint
from tinynet.backend import array_module, contiguous, to_numpy
from tinynet.data.batches import cut
from tinynet.layers import (
    LRN,
    AvgPool,
    Conv2d,
    Dropout,
    Flatten,
    Layer,
    LeakyReLU,
    Linear,
    LRNWithin,
    MaxPool,
    ReLU,
    Sigmoid,
    Tanh,
)
from tinynet.network import Sequential
from tinynet.parallel.communicator import ParallelError

MAP_BY_MAP = (ReLU, LeakyReLU, Tanh, Sigmoid, MaxPool, AvgPool, LRNWithin, Flatten)


class Gather(Layer):
    """Show both ranks the maps of both columns.

    Forward gathers: each rank sends its half and receives the other (all_gather of two ranks). The
    kernels above see all maps, so each rank computes in backward what its own kernels contribute to
    the gradient of all maps. Backward scatters the sums: each rank sends what belongs to the other
    half, and adds what it receives to its own (reduce_scatter of two ranks).

    Args     label: of the bytes; C: the number of maps, or units, of both columns
    """

    def __init__(self, label, C, communicator):
        super().__init__(f"gather for {label}")
        self.label, self.C, self.communicator = label, C, communicator
        self.own, self.other = halves(C, communicator.rank)

    def output_shape(self, in_shape):
        return in_shape[0], self.C, *in_shape[2:]

    def forward(self, x):
        y = array_module(x).empty(self.output_shape(x.shape), x.dtype)    # (N, C, ...)
        y[:, self.own] = x
        y[:, self.other] = self.swap(x, y[:, self.other].shape)
        return y

    def backward(self, dy):
        own = contiguous(dy[:, self.own])                                 # (N, C/2, ...)
        return own + self.swap(contiguous(dy[:, self.other]), own.shape)

    def swap(self, x, shape):
        """Send x to the other rank, and return what it sends: an array of this shape."""
        received = array_module(x).empty(shape, x.dtype)
        self.communicator.exchange(1 - self.communicator.rank, x, received, self.label)
        return received


class Logits(Gather):
    """Show both ranks all logits. Both compute the same loss: its gradient need not cross."""

    def backward(self, dy):
        return contiguous(dy[:, self.own])


class BorderLRN(LRN):
    """LRN without groups: its windows reach h = n // 2 maps into the other column.

    Forward lends the other rank the h maps at the border. Backward gives back their gradients.
    """

    def __init__(self, layer, C, communicator):
        super().__init__(layer.name, layer.n, layer.k, layer.alpha, layer.beta)
        h, C = self.n // 2, C // 2
        if C < h:
            raise ParallelError(f"{layer.name}: its windows reach past the {C} maps of a column")
        left = communicator.rank == 0  # the column with the first maps
        self.border = slice(C - h, C) if left else slice(0, h)            # of x: maps to lend
        self.inside = slice(0, C) if left else slice(h, h + C)            # of the wider x: own maps
        self.outside = slice(C, C + h) if left else slice(0, h)           # ... and borrowed ones
        self.lending = Gather(layer.name, 2 * h, communicator)

    def output_shape(self, in_shape):
        return in_shape

    def forward(self, x):
        lent = contiguous(x[:, self.border])                              # (N, h, H, W)
        wide = self._widened(x)                                           # (N, C/2 + h, H, W)
        wide[:, self.outside] = self.lending.swap(lent, lent.shape)
        return contiguous(super().forward(wide)[:, self.inside])

    def backward(self, dy):
        dwide = super().backward(self._widened(dy))                       # (N, C/2 + h, H, W)
        borrowed = contiguous(dwide[:, self.outside])                     # (N, h, H, W)
        dx = contiguous(dwide[:, self.inside])                            # (N, C/2, H, W)
        dx[:, self.border] += self.lending.swap(borrowed, borrowed.shape)
        return dx

    def _widened(self, x):
        h = self.outside.stop - self.outside.start
        wide = array_module(x).zeros((len(x), x.shape[1] + h, *x.shape[2:]), x.dtype)
        wide[:, self.inside] = x
        return wide


class HalfDropout(Dropout):
    """Dropout whose masks are this rank's halves of the masks that one process draws."""

    def __init__(self, layer, C, communicator):
        super().__init__(layer.name, layer.keep, layer.inverted)
        self.rng, self.C, self.own = layer.rng, C, halves(C, communicator.rank)[0]

    def draw_mask(self, shape, dtype):
        whole = super().draw_mask((shape[0], self.C, *shape[2:]), dtype)
        return contiguous(whole[:, self.own])


def halves(C, rank):
    """Return two slices: which of C maps, or units, this rank has, and which the other one has."""
    return cut(C, 2)[rank], cut(C, 2)[1 - rank]


def column(layers, shape, communicator):
    """Yield the layers of this rank's column, still without parameters.

    Args     layers: of a whole network, from any layer to the last; shape: of their input, which
             both ranks have
    """
    divided = False  # until the first kernels, or units, are divided
    for layer in layers:
        sees_all = isinstance(layer, Linear) or isinstance(layer, Conv2d) and layer.groups == 1
        if divided and sees_all:
            yield Gather(layer.name, shape[1], communicator)
        divided = divided or isinstance(layer, Conv2d | Linear)
        yield _half(layer, shape[1], communicator) if divided else bare(layer)
        shape = layer.output_shape(shape)
        if divided and shape[1] % 2 and layer is not layers[-1]:
            raise ParallelError(f"{layer.name}: {shape[1]} maps make no two equal columns")
    yield Logits("logits", shape[1], communicator)


def bare(layer):
    """Return a copy of a layer without its parameters."""
    twin = copy.copy(layer)
    twin.params, twin.grads = {}, {}
    return twin


def _half(layer, C, communicator):
    """Return a layer for half of the maps: with half of the kernels, and half of the groups."""
    if isinstance(layer, Dropout):
        return HalfDropout(layer, C, communicator)
    if isinstance(layer, LRN) and layer.groups == 1:
        return BorderLRN(layer, C, communicator)
    half = bare(layer)
    if isinstance(layer, Conv2d | LRN) and layer.groups > 1:
        half.groups, odd = divmod(layer.groups, 2)
        if odd:
            raise ParallelError(f"{layer.name}: {layer.groups} groups make no two equal columns")
    if isinstance(layer, Conv2d):
        half.K = _width(layer.K, communicator)
    elif isinstance(layer, Linear):
        half.OUT = _width(layer.OUT, communicator)
    elif not isinstance(layer, (LRN, *MAP_BY_MAP)):
        raise ParallelError(f"{layer!r} cannot be cut into two columns")
    return half


def _width(C, communicator):
    own, _ = halves(C, communicator.rank)
    return own.stop - own.start


def require_columns(net, communicator):
    """Raise ParallelError unless there are two ranks, and a network of two columns."""
    if communicator.size != 2:
        raise ParallelError(f"--parallel columns needs 2 ranks, not {communicator.size}")
    groups = [layer.groups for layer in net if isinstance(layer, Conv2d)]
    if not groups or groups[0] > 1 or max(groups) == 1:
        raise ParallelError("--parallel columns needs a network whose kernels are in groups, as in "
                            "the recipes paper, code-2012 and caffe")


class Columns(Sequential):
    """The column of this rank, used as the whole network would be.

    Both ranks are given the same pictures, and both get all logits. What is saved is the whole
    network: state, save and whole must be called on both ranks at once.

    Args     net: a Sequential, with the same weights and the same generator on both ranks. Its
             parameters move into the columns
    Raises   ParallelError unless there are two ranks, and a network of two columns
    """

    def __init__(self, net, communicator):
        super().__init__(self.divide(net, communicator), name=net.name)
        self.net, self.communicator = net, communicator
        self.in_shape, self.rng, self.dtype = net.in_shape, net.rng, net.dtype
        self._lengths = {name: len(w) for name, w in net.named_params().items()}
        for name, own in self.cut(net.named_params()).items():
            layer, _, key = name.rpartition(".")
            self[layer].params[key] = own.copy()
        for layer in net:
            layer.params = {}  # until whole() is called
        for layer in self._all():
            layer.device, layer.ops, layer.training = net.device, net.ops, net.training

    def divide(self, net, communicator):
        """Return the layers of this rank. Raises ParallelError."""
        require_columns(net, communicator)
        return column(net.layers, (1, *net.in_shape), communicator)

    def is_divided(self, name):
        """Return whether each rank has half of the array "conv1.w" (or all of it)."""
        return True

    def cut(self, arrays):
        """Return this rank's parts of {"conv1.w": whole array, ...}, as views."""
        rank = self.communicator.rank
        return {name: array[halves(len(array), rank)[0]] if self.is_divided(name) else array
                for name, array in arrays.items()}

    def join(self, parts):
        """Return {"conv1.w": whole array on the host, ...} from the parts of both ranks."""
        arrays, rank = {}, self.communicator.rank
        for name, part in parts.items():
            own, other = halves(self._lengths[name], rank)
            whole = arrays[name] = np.empty((self._lengths[name], *part.shape[1:]), part.dtype)
            if self.is_divided(name):
                whole[own] = to_numpy(part)
                self.communicator.exchange(1 - rank, whole[own], whole[other], "weights")
            else:
                whole[...] = to_numpy(part)
        return arrays

    def whole(self):
        """Return the whole network, on the host, with the parameters that both ranks have now."""
        for name, array in self.join(self.named_params()).items():
            layer, _, key = name.rpartition(".")
            self.net[layer].params[key] = array
        return self.net

    def state(self):
        return super().state() | {"params": self.join(self.named_params())}

    def restore(self, state):
        super().restore(state | {"params": self.cut(state["params"])})

    def save(self, path):
        whole = self.whole()
        if self.communicator.rank == 0:
            whole.save(path)

    def load(self, path):
        checkpoint.restore_arrays(path, self._arrays(), self.cut(checkpoint.load_arrays(path)))


class ColumnSGD:
    """The SGD of Columns: each rank updates its half, and what is saved is the whole.

    Args     sgd: of the whole network, before its first step; it becomes that of this rank's column
    """

    def __init__(self, sgd, columns):
        self.sgd, self.columns = sgd, columns
        halves = columns.cut(sgd.velocity)
        sgd.net, sgd.velocity = columns, {name: half.copy() for name, half in halves.items()}

    def __getattr__(self, name):
        return getattr(self.sgd, name)

    def state(self):
        """Return the state of the whole optimiser. Both ranks must call it at once."""
        return self.sgd.state() | {"velocity": self.columns.join(self.sgd.velocity)}

    def restore(self, state):
        """Take this rank's part of the state of a whole optimiser."""
        self.sgd.restore(state | {"velocity": self.columns.cut(state["velocity"])})

"""Two ways at once: pictures divided among two ranks below, units above.

    N pictures of a batch

Krizhevsky, "One weird trick for parallelizing convolutional neural networks" (2014). Convolutions
take most of the time, and have few weights for their gradients to cross; fully connected layers
have most of the weights, and small activations. So each rank has all kernels and half of the
pictures up to flatten; from there, half of the units and all pictures:

    rank 0   conv1 - ... - conv5 - flatten -+- fc6 -+- fc7 -+- fc8 -+- logits
             pictures 0 to N/2              X       X       X       X
    rank 1   conv1 - ... - conv5 - flatten -+- fc6 -+- fc7 -+- fc8 -+- logits
             pictures N/2 to N                 half of the units each
"""

from tinynet.backend import array_module
from tinynet.data.batches import cut
from tinynet.layers import Flatten, Layer, Linear
from tinynet.parallel.columns import Columns, bare, column
from tinynet.parallel.communicator import ParallelError
from tinynet.parallel.data import Part


class GatherPictures(Layer):
    """Show both ranks all pictures, of which each has computed a part.

    Each rank computes above what its own units contribute to the gradient of all pictures. So
    backward scatters the sums, as Gather does.

    ends  rank r has the pictures ends[r] to ends[r + 1]; set before each forward
    """

    def __init__(self, label, communicator):
        super().__init__(f"gather for {label}")
        self.label, self.communicator, self.ends = label, communicator, None

    def forward(self, x):
        y = array_module(x).empty((self.ends[-1], *x.shape[1:]), x.dtype)  # (N, units)
        y[self._rows(self.communicator.rank)] = x
        self.communicator.gather_rows(y, self.ends, self.label)
        return y

    def backward(self, dy):
        partner = 1 - self.communicator.rank
        own = dy[self._rows(self.communicator.rank)]                      # (own pictures, units)
        received = array_module(dy).empty_like(own)
        self.communicator.exchange(partner, dy[self._rows(partner)], received, self.label)
        return own + received

    def _rows(self, rank):
        return slice(self.ends[rank], self.ends[rank + 1])


class Mixed(Columns):
    """The layers of this rank, used as the whole network would be.

    Args     as of Columns
    Raises   ParallelError unless there are two ranks, and a network with a Flatten and a Linear
    """

    def divide(self, net, communicator):
        if communicator.size != 2:
            raise ParallelError(f"--parallel mixed needs 2 ranks, not {communicator.size}")
        kinds = [type(layer) for layer in net]
        if Flatten not in kinds or Linear not in kinds:
            raise ParallelError("--parallel mixed needs a network with a Flatten, and with fully "
                                "connected layers, whose units are divided")
        above = kinds.index(Flatten) + 1
        below, above = net[:above], net[above:]
        shape = (1, *net.in_shape)
        for layer in below:
            shape = layer.output_shape(shape)
        self.below = [bare(layer) for layer in below]
        self.gather = GatherPictures(net[kinds.index(Linear)].name, communicator)
        return [*self.below, self.gather, *column(above, shape, communicator)]

    def is_divided(self, name):
        return name.rpartition(".")[0] not in [layer.name for layer in self.below]

    def forward(self, x):
        """Compute the logits of a whole batch (N, classes).

        Args     x: a Part, or all pictures of a batch (N, C, H, W)
        """
        if not isinstance(x, Part):
            rows = cut(len(x), 2)
            x = Part(x[rows[self.communicator.rank]], None, [0, rows[0].stop, rows[1].stop])
        self.gather.ends = x.ends
        return super().forward(x.x)

    def backward(self, dy):
        """Compute the gradients: of all kernels on every rank, of its own units on each."""
        travelling = []
        for layer in reversed(self.layers):
            dy = layer.backward(dy)
            if layer in self.below:
                travelling += [self.communicator.begin_all_reduce(gradient, layer.name)
                               for gradient in layer.grads.values()]
        for wait in travelling:
            wait()
        return dy

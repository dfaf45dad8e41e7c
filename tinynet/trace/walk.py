"""Walking through a network, one layer at a time."""

import dataclasses

import numpy as np

from tinynet import shapes
from tinynet.backend import to_numpy
from tinynet.losses import SoftmaxCrossEntropy


@dataclasses.dataclass
class Step:
    """One layer's part. dy, dx and grads are None until the backward pass has come by; dx stays so with need_dx=False.

    kept  what the layer holds on to for its backward pass, None in evaluation
    """

    name: str
    layer: object
    x: object
    y: object
    kept: tuple = None
    dy: object = None
    dx: object = None
    grads: dict = None

    def __str__(self):
        if self.dy is None:
            return f"{self.name:<10} forward    x {tuple(self.x.shape)} -> y {tuple(self.y.shape)}"
        made = {"dx": self.dx, **{f"d{key}": grad for key, grad in self.grads.items()}}
        made = ", ".join(f"{key} {tuple(array.shape)}" for key, array in made.items() if array is not None)
        return f"{self.name:<10} backward   dy {tuple(self.dy.shape)} -> {made or 'nothing'}"


class Trace:
    """A walk through a network, forward and then backward, that keeps everything.

    Args     net: a Sequential, in the mode (train or eval) that you want to see; x (N, *net.in_shape);
             labels (N,): go on through softmax and cross-entropy, called "loss", and all the way back;
             dy: or go back from this gradient of the last layer's output
    Raises   TypeError, ShapeError as the network's forward; ValueError for a way back in evaluation mode
    Memory   every activation and every gradient of the batch
    """

    def __init__(self, net, x, labels=None, dy=None):
        if str(x.dtype) != str(net.dtype):
            raise TypeError(f"the network computes in {net.dtype}, x is {x.dtype}: use x.astype({str(net.dtype)!r})")
        shapes.require_shape("the network", "x", x.shape, (*x.shape[:1], *net.in_shape))
        if labels is not None and dy is not None:
            raise ValueError("give labels, for the gradient of the loss, or dy, for one of your own; not both")
        if not (labels is None and dy is None or all(layer.training for layer in net.layers)):
            raise ValueError("the way back needs training mode: call net.train() first")
        self.net, self.steps = net, {}
        self.names = [layer.name for layer in net.layers] + ["loss"] * (labels is not None)
        self._walk = self._there_and_back(x, labels, dy)

    def step(self):
        """Go through the next layer, forward or backward, and return its Step; None at the end."""
        return next(self._walk, None)

    def run(self):
        """Go on to the end, and return this trace."""
        for _ in self:
            pass
        return self

    def __iter__(self):
        return self._walk

    def __getitem__(self, name):
        """trace["conv1"]: the Step of that layer, or of the "loss"."""
        if name not in self.names:
            raise ValueError(f"no layer {name!r} in this trace; there are {', '.join(self.names)}")
        if name not in self.steps:
            raise ValueError(f"{name} was not reached yet: call trace.step() or trace.run()")
        return self.steps[name]

    def _there_and_back(self, x, labels, dy):
        for layer in self.net.layers:
            y = layer.forward(x)
            step = self.steps[layer.name] = Step(layer.name, layer, x, y, layer._saved)
            yield step
            x = y
        if labels is not None:
            loss = SoftmaxCrossEntropy()
            step = self.steps["loss"] = Step("loss", loss, x, loss.forward(x, labels), (to_numpy(labels),))
            yield step
            step.dy, step.dx, step.grads = np.ones(()), loss.backward(), {}
            yield step
            dy = step.dx
        if dy is not None:
            for layer in reversed(self.net.layers):
                step, step.dy = self.steps[layer.name], dy
                dy = step.dx = layer.backward(dy)
                step.grads = layer.grads
                yield step

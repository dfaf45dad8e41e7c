"""Walking through a network, one layer at a time, forward and back."""

import dataclasses

import numpy as np

from tinynet import shapes
from tinynet.backend import to_numpy
from tinynet.losses import SoftmaxCrossEntropy


@dataclasses.dataclass(repr=False)
class Step:
    """One layer's part of a walk.

    x, y           its input and its output
    saved          what the layer keeps for its backward pass; None in evaluation
    dy, dx, grads  the gradients of y, x and the parameters. None until the backward pass has
                   reached the layer; dx stays None with need_dx=False
    direction      "forward" or "backward": which of its two parts was walked last
    """

    name: str
    layer: object
    x: object
    y: object
    saved: tuple = None
    dy: object = None
    dx: object = None
    grads: dict = None
    direction: str = "forward"

    def __repr__(self):
        if self.direction == "forward":
            return (f"{self.name:<10} forward    "
                    f"x {tuple(self.x.shape)} -> y {tuple(self.y.shape)}")
        made = {"dx": self.dx, **{f"d{key}": grad for key, grad in self.grads.items()}}
        made = ", ".join(f"{key} {tuple(array.shape)}" for key, array in made.items()
                         if array is not None)
        return f"{self.name:<10} backward   dy {tuple(self.dy.shape)} -> {made or 'nothing'}"


class Trace:
    """A walk through a network, forward and then backward, that keeps everything.

    Args     net: a Sequential, in the mode (train or eval) that you want to see;
             x (N, *net.in_shape);
             labels (N,): go on through softmax and cross-entropy, called "loss", and in training
             mode all the way back; dy: or go back from this gradient of the last layer's output;
             sgd: an SGD of this network, for explain(..., of="update"); nothing is updated
    Raises   TypeError, ShapeError as the network's forward; ValueError for dy in evaluation mode,
             which has no backward pass
    Memory   every activation and every gradient of the batch
    """

    def __init__(self, net, x, labels=None, dy=None, sgd=None):
        if str(x.dtype) != str(net.dtype):
            raise TypeError(f"the network computes in {net.dtype}, x is {x.dtype}: "
                            f"use x.astype({str(net.dtype)!r})")
        shapes.require_shape("the network", "x", x.shape, (*x.shape[:1], *net.in_shape))
        if labels is not None and dy is not None:
            raise ValueError("give labels, for the gradient of the loss, or dy, for one of your "
                             "own; not both")
        training = all(layer.training for layer in net.named_layers().values())
        if dy is not None and not training:
            raise ValueError("the backward pass needs training mode: call net.train() first")
        self._back = training and not (labels is None and dy is None)
        self.net, self.sgd, self.steps = net, sgd, {}
        self.names = [*net.named_layers(), *["loss"] * (labels is not None)]
        self.stops = [(name, "forward") for name in self.names]
        self.stops += [(name, "backward") for name in reversed(self.names) if self._back]
        self.position = 0  # how many stops have been walked
        self._walk = self._there_and_back(x, labels, dy)
        self._computed = 0
        self._largest = {}

    def step(self):
        """Go through the next layer, forward or backward. Return its Step, or None at the end."""
        if self.position == len(self.stops):
            return None
        if self.position == self._computed:
            next(self._walk)
            self._computed += 1
            if self._computed == len(self.stops):
                self._walk = None  # it holds this trace: two that hold each other are freed late
        self.position += 1
        return self._now()

    def back(self):
        """Go back by one layer. Return the Step before, or None at the beginning.

        Nothing is forgotten: step() shows the same numbers again.
        """
        if self.position:
            self.position -= 1
            left = self.steps[self.stops[self.position][0]]
            left.direction = "forward"  # where its backward part is left, its forward part remains
        return self._now()

    def run(self):
        """Go on to the end, and return this trace."""
        for _ in self:
            pass
        return self

    def __iter__(self):
        return iter(self.step, None)

    def __getitem__(self, name):
        """Return the Step of a layer, or of the "loss": trace["conv1"]."""
        if name not in self.names:
            raise ValueError(f"no layer {name!r} in this trace; there are {', '.join(self.names)}")
        if name not in self.steps:
            raise ValueError(f"{name} was not reached yet: call trace.step() or trace.run()")
        return self.steps[name]

    def __repr__(self):
        head = f"Trace: {self.position} of {len(self.stops)} steps done"
        rows = []
        for i, (name, direction) in enumerate(self.stops):
            mark = ">" if i + 1 == self.position else " "
            step = self.steps.get(name)
            if i < self._computed:
                rows.append(f"{mark} {dataclasses.replace(step, direction=direction)!r}")
            else:
                rows.append(f"{mark} {name:<10} {direction:<8}   not reached yet")
        return "\n".join([head, *rows])

    def array(self, name, of):
        """Return an array of a layer: "y", "probs", "dx", or "w", "b", "dw", "db".

        Raises   ValueError in words where it is not there, or not there yet
        """
        step = self[name]
        params = getattr(step.layer, "params", {})
        arrays = {"y": step.y, "dx": step.dx, **params}
        arrays |= dict.fromkeys(f"d{key}" for key in params)
        arrays |= {f"d{key}": grad for key, grad in (step.grads or {}).items()}
        if hasattr(step.layer, "probs"):
            arrays["probs"] = step.layer.probs
        if of not in arrays:
            raise ValueError(f"{name} has no {of!r}; there is {', '.join(arrays)}")
        if arrays[of] is None and step.dy is None:
            raise ValueError(f"{of} of {name} is not there yet: the trace needs labels or dy, "
                             "net.train() before, and trace.run()")
        if arrays[of] is None:
            raise ValueError(f"{name} computes no dx: need_dx=False, its input is a picture")
        return arrays[of]

    def largest(self, name, of):
        """Return the largest |number| of an array; it is computed once, for arrays are large."""
        if (name, of) not in self._largest:
            array = self.array(name, of)
            self._largest[name, of] = max(float(array.max()), -float(array.min()))
        return self._largest[name, of]

    def _now(self):
        if not self.position:
            return None
        name, direction = self.stops[self.position - 1]
        step = self.steps[name]
        step.direction = direction
        return step

    def _there_and_back(self, x, labels, dy):
        layers = self.net.named_layers()
        for name, layer in layers.items():
            y = layer.forward(x)
            self.steps[name] = Step(name, layer, x, y, layer._saved)
            yield
            x = y
        if labels is not None:
            loss = SoftmaxCrossEntropy(self.net)
            step = Step("loss", loss, x, loss.forward(x, labels), (to_numpy(labels),))
            self.steps["loss"] = step
            yield
            if not self._back:
                return
            step.dy, step.dx, step.grads = np.ones(()), loss.backward(), {}
            yield
            dy = step.dx
        for name, layer in reversed(layers.items()):
            step, step.dy = self.steps[name], dy
            dy = step.dx = layer.backward(dy)
            step.grads = layer.grads
            yield

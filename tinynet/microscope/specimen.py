"""One network shown one picture: a Trace, its numbers, and their explanations as messages.

A place is a layer, the name `of` of one of its arrays and an index. Besides the layers of the trace
there is "picture", whose numbers are those that the network sees. A message is a dict for JSON and
a list of arrays.
"""

import numpy as np

from tinynet import backend, layers, ops
from tinynet.losses import SoftmaxCrossEntropy
from tinynet.microscope import bugs
from tinynet.trace import KINDS, Disagreement, Trace, explain, uses
from tinynet.trace.uses import users

PICTURE = "picture"
FACTS = ("size", "stride", "pad", "groups", "n", "k", "alpha", "beta", "slope", "inverted")
LARGEST_PART = 1 << 20  # numbers in one message
UNITS = 256  # of a fully connected layer whose weights are in float64 at once
WRONG = 2e-5  # a number is broken if it differs by so much of the largest in its array


class Specimen:
    """A network that was shown one picture.

    Args     network: a loading.Network, as it is now; pixels: uint8 (3, H, W);
             label: the class that is taken to be right; None: the network's best guess;
             training: whether dropout draws and gradients are computed;
             bug: a name in bugs.BUGS, or ""
    """

    def __init__(self, network, pixels, label=None, training=False, bug=""):
        self.network, self.pixels, self.training, self.bug = network, pixels, training, bug
        self.rung = bugs.plant(bug) if bug else None
        self.x = (pixels - network.mean)[None].astype(network.net.dtype)  # (1, 3, H, W)
        self.label = self._best_guess() if label is None else label
        self.trace = self._walk([self.label])
        self._broken = None

    def _walk(self, labels):
        net = self.network.net
        net.train() if self.training else net.eval()
        self.use_rung()
        net.rng.bit_generator.state = np.random.default_rng(0).bit_generator.state  # the same masks
        return Trace(net, self.x, labels, sgd=self.network.sgd).run()

    def _best_guess(self):
        net = self.network.net
        net.eval()
        net.use("cpu")
        return int(np.argmax(net.forward(self.x)[0]))

    def use_rung(self):
        """Have the layers compute as they did for this specimen; others share them."""
        net = self.network.net.use("cpu")
        for layer in [net, *net.named_layers().values()]:  # the loss computes as the network does
            layer.ops = self.rung or layer.ops

    # ---- arrays ---------------------------------------------------------------------------------

    def numbers(self, name, of, part=None):
        """Return an array for one picture, or the part of a parameter that belongs to one unit.

        Returns  a message: largest, the largest |number| of the whole array; and the float32 array.
                 Of "update": what the next step adds
        Raises   ValueError for an array that is not there, or too large to be sent whole
        """
        if name == PICTURE:
            return {"largest": float(abs(self.x).max())}, [self.x[0]]
        if of == "update":
            return self._changes(name, part)
        array, largest = self.trace.array(name, of), self.trace.largest(name, of)
        if of in ("y", "dx", "probs"):
            array = array[0] if array.ndim else array.reshape(1)
        elif part is not None:
            array = array[_within(part, len(array))]
        return {"largest": largest}, [self._small(name, of, array)]

    def _changes(self, name, part):
        w = self.trace.array(name, "w")
        at = slice(None) if part is None else _within(part, len(w))
        self._small(name, "w", w[at])
        change = self._step(name, self.trace[name].layer.ops, at)
        return {"largest": float(abs(change).max())}, [change]

    def _step(self, name, rung, at=slice(None)):
        """Return what a rung's sgd_step adds to the weights of a layer or of one unit."""
        sgd = self.network.sgd
        arrays = (self.trace.array(name, "w"), sgd.velocity[f"{name}.w"],
                  self.trace.array(name, "dw"))
        w, v, dw = (np.ascontiguousarray(array[at]) for array in arrays)
        lr = sgd.lr * float(sgd.lr_mult.get(f"{name}.w", 1))
        decay = sgd.weight_decay * float(sgd.decay_mult.get(f"{name}.w", 1))
        return rung.sgd_step(w, v, dw, lr, sgd.momentum, decay)[1]

    def _small(self, name, of, array):
        if array.size > LARGEST_PART:
            raise ValueError(f"{name}.{of} has {array.size:,} numbers: ask for one unit's part")
        return np.asarray(array, np.float32)

    # ---- one number -----------------------------------------------------------------------------

    def explain(self, name, of, index):
        """Return a message: how a number is computed, where its terms are, and what uses it."""
        self.use_rung()
        if name == PICTURE:
            message, arrays = self._pixel(of, index)
        elif of in getattr(self.trace[name].layer, "params", {}):
            message, arrays = self._given(name, of, index)
        else:
            try:
                explanation = explain(self.trace, name, index, of)
            except Disagreement as error:
                explanation = error.explanation
            message, arrays = self._explained(name, explanation)
        place = {"layer": name, "of": of, "index": list(index)}
        return message | place | {"uses": self._uses(name, of, index)}, arrays

    def _explained(self, name, explanation):
        shape = explanation.last.shape
        message = {
            "kind": "explained", "where": explanation.where, "axes": list(explanation.axes),
            "start": [int(i) for i in explanation.start], "shape": list(shape),
            "terms": list(explanation.terms), "value": explanation.value,
            "actual": explanation.actual, "tolerance": explanation.tolerance,
            "agrees": explanation.agrees,
            "inside": explanation.inside is not None, "picked": explanation.picked is not None,
            "curve": explanation.curve is not None,
            "lines": [[text, number, self._place(name, explanation.source(text))]
                      for text, number in explanation.lines],
            "sources": {term: self._block(name, *source) for term, source
                        in explanation.sources.items() if term in explanation.terms}}
        arrays = list(explanation.terms.values())
        arrays += [np.asarray(a, np.uint8) for a in (explanation.inside, explanation.picked)
                   if a is not None]
        return message, arrays + list(explanation.curve or ())

    def _given(self, name, of, index):
        trace = self.trace
        index = _whole(name, of, index, trace.array(name, of).shape)
        number = float(trace.array(name, of)[index])
        return {"kind": "given", "value": number, "actual": number, "agrees": True,
                "origin": self.network.source}, []

    def _pixel(self, of, index):
        if of != "y":
            raise ValueError(f"the picture has no {of!r}; its gradient is dx of the first layer")
        index = _whole(PICTURE, of, index, self.x.shape)
        pixel, mean = float(self.pixels[index[1:]]), float(self.network.mean[index[1:]])
        value = float(self.x[index])
        return {"kind": "pixel", "value": value, "actual": value, "agrees": True,
                "lines": [["pixel", pixel, None], ["mean of the training set", mean, None],
                          ["x = pixel - mean", pixel - mean, None]]}, []

    def _uses(self, name, of, index):
        if name == PICTURE:
            first = self.trace.steps[self.trace.names[0]]
            found = [users(first, index, "dx", KINDS)]
        else:
            found = uses(self.trace, name, index, of)
        if not self.training:
            found = [use for use in found if use.of in ("y", "probs")]
        return [self._block_of(use) for use in found if use.count]

    # ---- where numbers are ----------------------------------------------------------------------

    def _owner(self, name, array):
        """Return which layer owns an array x, y, dy or parameter of a layer, and its name there."""
        names = [PICTURE, *self.trace.names]
        position = names.index(name)
        if array == "x":
            return names[position - 1], "y"
        if array == "dy":
            return (names[position + 1], "dx") if position + 1 < len(names) else (None, None)
        if array == "v":
            return None, None
        return ("loss" if array == "probs" else name), array

    def _place(self, name, source):
        if source is None:
            return None
        owner, of = self._owner(name, source[0])
        return owner and {"layer": owner, "of": of, "index": list(source[1])}

    def _block(self, name, array, indices):
        owner, of = self._owner(name, array)
        return owner and {"layer": owner, "of": of, "index": progressions(indices)}

    def _block_of(self, use):
        shape = np.broadcast_shapes(*(np.shape(i) for i in use.indices))
        return {"layer": use.name, "of": use.of, "shape": list(shape),
                "index": progressions(use.indices)}

    # ---- experiments ----------------------------------------------------------------------------

    def nudge(self, name, of, index, eps):
        """Change the number whose gradient is at a place by eps, both ways, and measure the loss.

        Args     of: "dx", "dw" or "db" of layer `name`
        Returns  {"losses": at -eps, 0 and +eps, "slope": numeric, "gradient": the layer's own}; all
                 but the gradient in float64, with the masks of this specimen
        """
        if not self.training:
            raise ValueError("there are no gradients in evaluation mode")
        step = self.trace[name]
        array = self.trace.array(name, of)
        index = _whole(name, of, index, array.shape)
        offsets = (-eps, 0.0, eps)
        x = np.asarray(step.x, np.float64)
        if of == "dx":
            moved = np.repeat(x, 3, axis=0)
            for moving, offset in zip(moved, offsets):
                moving[index[1:]] += offset
            y = self._forward(step, moved)
        else:
            y = np.concatenate([self._forward(step, x, of[1:], index, o) for o in offsets])
        names = self.trace.names
        for later in names[names.index(name) + 1:-1]:
            y = self._forward(self.trace[later], y)
        if name == "loss":
            y = moved
        losses = [float(SoftmaxCrossEntropy().forward(row[None], [self.label])) for row in y]
        slope = (losses[2] - losses[0]) / (2 * eps)
        return {"losses": losses, "slope": slope, "gradient": float(array[index]), "eps": eps}

    def _forward(self, step, x, key=None, index=None, offset=0.0):
        """Compute the layer's forward pass in float64, with its mask and one parameter moved."""
        layer = step.layer
        if isinstance(layer, SoftmaxCrossEntropy):
            return x
        if isinstance(layer, layers.Dropout):
            mask = np.asarray(step.saved[0], np.float64)
            return ops.dropout_forward(x, np.ascontiguousarray(np.broadcast_to(mask, x.shape)))
        params, rung, saved = layer.params, layer.ops, layer._saved
        linear = isinstance(layer, layers.Linear)
        layer.ops = self.rung or ops
        y = []
        try:
            for first in range(0, layer.OUT, UNITS) if linear else [0]:
                part = slice(first, first + UNITS) if linear else slice(None)
                layer.params = {name: w[part].astype(np.float64) for name, w in params.items()}
                if key and (not linear or first <= index[0] < first + UNITS):
                    layer.params[key][(index[0] - first, *index[1:])] += offset
                y.append(layer.forward(x))
            return np.concatenate(y, axis=1)
        finally:
            layer.params, layer.ops, layer._saved = params, rung, saved

    def broken(self):
        """Find the numbers that the planted bug makes wrong in the layer that computes them.

        Each layer computes once more without the bug, from the input and the gradient that it had.
        Returns  {layer: {of: a boolean array}}, only where a number is broken
        """
        if self._broken is None:
            self._broken = {}
            for name in self.trace.names:
                step = self.trace.steps[name]
                right = _computed_again(step, self.label, self.training)
                self._broken[name] = {
                    of: wrong for of, array in right.items()
                    if (wrong := _differs(self.trace.array(name, of), array)).any()}
                stepped = self.training and self.bug and bugs.BUGS[self.bug].file == "sgd"
                if stepped and "w" in getattr(step.layer, "params", {}):
                    wrong = _differs(self._step(name, self.rung), self._step(name, ops))
                    self._broken[name] |= {"update": wrong}
        return self._broken


def facts(layer):
    """Return the numbers that say what a layer does: {"size": [3, 3], "stride": [2, 2], ...}."""
    found = {name: getattr(layer, name) for name in FACTS if hasattr(layer, name)}
    if isinstance(layer, layers.Dropout):
        found["keep"] = layer.keep
    return {name: list(value) if isinstance(value, tuple) else value
            for name, value in found.items()}


def progressions(indices):
    """Return each index array as JSON: a number, or [axis, first, step] along one axis.

    Raises   ValueError for any other array
    """
    found = []
    for array in map(np.asarray, indices):
        if array.size == 1:
            found.append(int(array.ravel()[0]))
            continue
        axis = int(np.argmax(array.shape))
        flat = array.ravel()
        step = int(flat[1] - flat[0]) if flat.size > 1 else 1
        if flat.size != array.shape[axis] or (np.diff(flat) != step).any():
            raise ValueError("the indices are no arithmetic progression along one axis")
        found.append([axis - array.ndim, int(flat[0]) if flat.size else 0, step])
    return found


def _computed_again(step, label, training):
    layer = step.layer
    if isinstance(layer, SoftmaxCrossEntropy):
        loss = SoftmaxCrossEntropy()
        right = {"y": loss.forward(step.x, [label]), "probs": loss.probs}
        return right | ({"dx": loss.backward()} if training else {})
    rung, saved, grads = layer.ops, layer._saved, layer.grads
    layer.ops = ops
    try:
        if isinstance(layer, layers.Dropout):
            mask = step.saved[0] if training else 1.0 if layer.inverted else layer.keep
            right = {"y": ops.dropout_forward(step.x, mask)}
            layer._saved = step.saved
        else:
            right = {"y": layer.forward(step.x)}
        if training:
            right["dx"] = layer.backward(step.dy)
            right |= {f"d{key}": grad for key, grad in layer.grads.items()}
        return right
    finally:
        layer.ops, layer._saved, layer.grads = rung, saved, grads


def _differs(own, right):
    own, right = backend.to_numpy(own), backend.to_numpy(right)
    return np.asarray(abs(own - right) > WRONG * max(float(abs(right).max()), 1e-30))


def _within(part, count):
    if not 0 <= part < count:
        raise IndexError(f"there is no unit {part}; there are {count}")
    return part


def _whole(name, of, index, shape):
    if len(index) != len(shape) or not all(0 <= i < size for i, size in zip(index, shape)):
        raise IndexError(f"{name}.{of} has shape {tuple(shape)}: there is no {list(index)} in it")
    return tuple(index)



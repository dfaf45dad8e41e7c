"""Step through a network, one layer at a time, and take any number in it apart.

    trace = Trace(net, x, labels)           # or without labels: forward only
    for step in trace: print(step)          # or trace.step(), trace.run()
    trace["conv2"].y                        # x, y, dy, dx, grads of a layer; what it kept for its backward pass
    print(explain(trace, "conv2", (0, 5, 10, 3)))                 # where that activation comes from
    print(explain(trace, "conv2", (5, 0, 2, 2), of="dw"))         # where that gradient comes from

An explanation does its own arithmetic, in float64 and by the formula, and raises Disagreement if the layer has another
number. The names of rows and columns are those of `reference/`.
"""

import dataclasses
import functools
import math

import numpy as np

from tinynet import layers, shapes
from tinynet.backend import to_numpy
from tinynet.losses import SoftmaxCrossEntropy

TOLERANCE = {"float32": 2e-5, "float64": 1e-10}  # of the sum of all |terms|, or of the largest number around if more
ROWS = 30  # of a table; where there are more terms, the largest are shown


class Disagreement(ArithmeticError):
    """An explanation and the layer do not have the same number: one of them is wrong."""


# ------------------------------------------------------------------------------------------------- walking through

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
            step = self.steps[layer.name] = Step(layer.name, layer, x, y, layer._kept)
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


# ------------------------------------------------------------------------------------------------------ one number

@dataclasses.dataclass
class Explanation:
    """How one number came about; print() it, or draw it with tinynet.figures.draw_explanation.

    name    "conv2.y[0, 5, 10, 3]"
    where   a sentence: which part of which array went into it
    axes    the names of the axes of the terms, and start, the index there of the first term along each
    terms   {"x": array, "w": array, "product": array}: arrays of one shape, float64; the last are what is put together
    inside  a boolean array of that shape: False for terms that lie in the padding. None: all lie inside
    lines   [(text, number), ...]: from the terms to the value, which is the last
    actual  the layer's own number, which differs from the value by at most `tolerance`
    picked  where only some terms count (the winner of a pool): a boolean array, True for those
    curve   (xs, ys) of an activation function, around x
    """

    name: str
    where: str
    axes: tuple
    start: tuple
    terms: dict
    lines: list
    inside: np.ndarray = None
    picked: np.ndarray = None
    curve: tuple = None
    actual: float = math.nan
    tolerance: float = 0.0

    @property
    def value(self):
        return self.lines[-1][1]

    @property
    def last(self):
        """The terms that are put together, without what they were made of."""
        return list(self.terms.values())[-1]

    def check(self):
        """Raises Disagreement unless the value is the layer's own number, to within the tolerance; returns self."""
        if not (abs(self.value - self.actual) <= self.tolerance or np.isnan([self.value, self.actual]).all()):
            raise Disagreement(
                f"{self.name} should be {self.value:.9g} by the formula, the layer has {self.actual:.9g}. (If weights "
                "were changed since the trace was made, make a new one.)")
        return self

    def __str__(self):
        head = [f"{self.name}: {self.where}"]
        foot = [f"{text:<44} {number + 0.0:>13.6g}" for text, number in self.lines]
        return "\n".join([*head, *self._table(), *foot,
                          f"{'the layer has':<44} {self.actual:>13.6g}   (within {self.tolerance:.1e})"])

    __repr__ = __str__

    def _table(self):
        columns = {name: array.ravel() for name, array in self.terms.items()}
        shape, last = self.last.shape, self.last.ravel()
        shown = range(last.size)
        if last.size > ROWS:
            shown = np.sort(np.argsort(-abs(last), kind="stable")[:ROWS])
        if last.size:
            yield " ".join([f"{axis:>8}" for axis in self.axes] + [f"{name:>13}" for name in columns]).rstrip()
        for flat in shown:
            place = np.array(np.unravel_index(flat, shape), int) + self.start
            cells = [f"{index:>8}" for index in place] + [f"{array[flat] + 0.0:>13.6g}" for array in columns.values()]
            if self.inside is not None and not self.inside.ravel()[flat]:
                cells.append("  padding")
            if self.picked is not None and self.picked.ravel()[flat]:
                cells.append("  <-")
            yield " ".join(cells)
        if last.size > ROWS:
            yield f"... and {last.size - ROWS:,} smaller ones"


def explain(trace, name, index, of="y"):
    """Take one number of a layer apart, and check that the parts make it.

    Args     trace: a Trace that has come by there; name: of a layer, or "loss"; index: of the number, one per axis;
             of: "y", an activation; "dx", the gradient of the layer's input; "dw", "db", of its parameters;
             for the loss "y" has the index (), "dx" are the gradients of the logits, "probs" the probabilities
    Returns  an Explanation, checked
    Raises   ValueError, IndexError: one line; Disagreement where the layer has another number than the formula
    """
    if not isinstance(trace, Trace):
        raise TypeError(f"explain needs a trace, not a {type(trace).__name__}: trace = Trace(net, x, labels).run()")
    step = trace[name]
    kinds = _EXPLAINED.get(type(step.layer), {})
    if of not in kinds:
        raise ValueError(f"{name} has no {of!r} to explain; there is {', '.join(kinds) or 'nothing'}")
    if of.startswith("d") and step.dy is None:
        raise ValueError(f"{of} of {name} is not there yet: the trace needs labels or dy, and trace.run()")
    array = {"y": step.y, "dx": step.dx, "probs": getattr(step.layer, "probs", None), **{
        f"d{key}": grad for key, grad in (step.grads or {}).items()}}[of]
    if array is None:
        raise ValueError(f"{name} computes no dx: need_dx=False, its input is a picture")
    index = _inside(f"{name}.{of}", index, array.shape)
    explanation = kinds[of](step, index)
    array = to_numpy(array)
    explanation.name = f"{name}.{of}[{', '.join(map(str, index))}]".replace("[]", "")
    explanation.actual = float(array[index])
    explanation.tolerance = TOLERANCE[str(array.dtype)] * float(max(abs(explanation.last).sum(), abs(array).max()))
    return explanation.check()


def _inside(what, index, shape):
    """index as a tuple of whole numbers from 0. Raises IndexError in words."""
    index = tuple(index) if isinstance(index, tuple | list) else (index,)
    if len(index) != len(shape) or not all(-size <= i < size for i, size in zip(index, shape)):
        raise IndexError(f"{what} has shape {tuple(shape)}: there is no {what}[{', '.join(map(str, index))}]")
    return tuple(int(i) % size for i, size in zip(index, shape))


def _explanation(where, axes, start, terms, lines, **rest):
    terms = {name: np.asarray(array, np.float64) for name, array in terms.items()}
    return Explanation("", where, axes, start, terms, [(text, float(number)) for text, number in lines], **rest)


def _host(*arrays):
    """The arrays in float64 on the host: an explanation should not round as the layer does."""
    return tuple(to_numpy(array).astype(np.float64) for array in arrays)


def _pick(a, *wanted):
    """a at every combination of the indices wanted along each axis, 0 past its edges; and which lie inside."""
    inside = functools.reduce(np.logical_and.outer, [(0 <= w) & (w < size) for w, size in zip(wanted, a.shape)])
    clipped = np.ix_(*(w.clip(0, size - 1) for w, size in zip(wanted, a.shape)))
    return np.where(inside, a[clipped], 0.0), inside


def _span(name, start, size):
    """rows 8 to 18, or row 8"""
    return f"{name} {start}" if size == 1 else f"{name}s {start} to {start + size - 1}"


def _added_up(products, what="products"):
    return f"sum of {products.size:,} {what if products.size != 1 else what[:-1]}", products.sum()


# ----------------------------------------------------------------------------------------------------- convolution

def _conv_y(step, index):
    n, o, i, j = index
    layer, (image, w, b) = step.layer, _host(step.x[n], *(step.layer.params[key] for key in "wb"))
    CG, KH, KW = w.shape[1:]
    channel = o // (w.shape[0] // layer.groups) * CG                      # the first that this kernel sees
    top, left = i * layer.stride[0] - layer.pad[0], j * layer.stride[1] - layer.pad[1]
    start = channel, top, left
    x, inside = _pick(image, *(np.arange(first, first + size) for first, size in zip(start, w.shape[1:])))
    products = x * w[o]                                                   # (C/G, KH, KW)
    where = (f"kernel {o} over {_span('channel', channel, CG)}, {_span('row', top, KH)}, "
             f"{_span('column', left, KW)} of x[{n}]")
    if not inside.all():
        where += f"; {np.sum(~inside[0])} of its {KH * KW} pixels lie past the edge and are 0"
    return _explanation(where, ("channel", "row", "column"), start, {"x": x, "w": w[o], "product": products},
                        [_added_up(products), (f"bias b[{o}]", b[o]), ("y = sum + bias", products.sum() + b[o])],
                        inside=inside)


def _conv_dw(step, index):
    o, c, u, v = index
    layer, (x, dy) = step.layer, _host(step.x, step.dy)
    K, CG = layer.params["w"].shape[:2]
    channel = o // (K // layer.groups) * CG + c
    N, _, OH, OW = dy.shape
    rows = np.arange(OH) * layer.stride[0] + u - layer.pad[0]             # the pixel under this weight, per window
    columns = np.arange(OW) * layer.stride[1] + v - layer.pad[1]
    seen, inside = _pick(x[:, channel], np.arange(N), rows, columns)      # (N, OH, OW)
    products = dy[:, o] * seen
    where = (f"w[{o}, {c}, {u}, {v}] met channel {channel} of x in every one of {OH} x {OW} windows"
             + (f" of {N} pictures" if N > 1 else ""))
    return _explanation(where, ("image", "i", "j"), (0, 0, 0), {"dy": dy[:, o], "x": seen, "product": products},
                        [_added_up(products)], inside=inside)


def _conv_db(step, index):
    o, = index
    dy, = _host(step.dy[:, o])
    return _explanation(f"b[{o}] was added to every activation of map {o}", ("image", "i", "j"), (0, 0, 0), {"dy": dy},
                        [_added_up(dy, "gradients")])


def _conv_dx(step, index):
    n, channel, row, column = index
    layer, (w, dy) = step.layer, _host(step.layer.params["w"], step.dy[n])
    K, CG, KH, KW = w.shape
    KG = K // layer.groups
    q, c = divmod(channel, CG)
    kernels = np.arange(q * KG, (q + 1) * KG)                             # those of the group see this channel
    i = _windows(row + layer.pad[0], KH, layer.stride[0], dy.shape[1])
    j = _windows(column + layer.pad[1], KW, layer.stride[1], dy.shape[2])
    u, v = row + layer.pad[0] - i * layer.stride[0], column + layer.pad[1] - j * layer.stride[1]
    above, under = dy[np.ix_(kernels, i, j)], w[np.ix_(kernels, [c], u, v)][:, 0]
    products = above * under                                              # (K/G, windows down, windows across)
    where = (f"{len(i)} x {len(j)} windows saw this pixel, each of them with {_span('kernel', q * KG, KG)}"
             if products.size else "no window saw this pixel")
    return _explanation(where, ("kernel", "i", "j"), (q * KG, *(int(a[0]) if a.size else 0 for a in (i, j))),
                        {"dy": above, "w": under, "product": products}, [_added_up(products)])


def _windows(pixel, size, stride, count):
    """The numbers of the windows of `size`, `stride` apart, that hold the pixel (counted from the padding's edge)."""
    numbers = np.arange(count)
    return numbers[(numbers * stride <= pixel) & (pixel < numbers * stride + size)]


# --------------------------------------------------------------------------------------------------------- pooling

def _pool_window(layer, x, i, j):
    """The part of window (i, j) inside the map x (H, W), and its first row and column."""
    (KH, KW), (SH, SW) = layer.size, layer.stride
    return x[i * SH:i * SH + KH, j * SW:j * SW + KW], i * SH, j * SW


def _pool_y(step, index):
    n, c, i, j = index
    x, top, left = _pool_window(step.layer, _host(step.x[n, c])[0], i, j)
    first = np.zeros(x.shape, bool)
    first[np.unravel_index(np.argmax(x), x.shape)] = True
    row, column = np.argwhere(first)[0] + (top, left)
    where = f"{_span('row', top, x.shape[0])}, {_span('column', left, x.shape[1])} of x[{n}, {c}]"
    ties = int(np.sum(x == x.max()))
    if ties > 1:
        where += f"; {ties} are equally large, the first in reading order wins"
    return _explanation(where, ("row", "column"), (top, left), {"x": x},
                        [(f"largest, at row {row}, column {column}", x.max())], picked=first)


def _pool_dx(step, index):
    n, c, row, column = index
    layer, (x, dy) = step.layer, _host(step.x[n, c], step.dy[n, c])
    rows = _windows(row, layer.size[0], layer.stride[0], dy.shape[0])
    columns = _windows(column, layer.size[1], layer.stride[1], dy.shape[1])
    won = np.zeros((len(rows), len(columns)))
    for a, i in enumerate(rows):
        for b, j in enumerate(columns):
            window, top, left = _pool_window(layer, x, i, j)
            won[a, b] = np.argmax(window) == (row - top) * window.shape[1] + column - left
    above = dy[np.ix_(rows, columns)]
    where = f"of the {won.size} windows that hold this pixel, it won {int(won.sum())}"
    return _explanation(where, ("i", "j"), tuple(int(a[0]) if a.size else 0 for a in (rows, columns)),
                        {"dy": above, "won": won, "product": above * won}, [_added_up(above * won)],
                        picked=won.astype(bool))


# --------------------------------------------------------------------------------------------------- normalisation

def _lrn_window(layer, shape, index):
    """What normalises x[index]: an index with slices, the names of the sliced axes, and where they start."""
    n, c, h, w = index
    half = layer.n // 2
    if isinstance(layer, layers.LRNWithin):
        top, left = max(0, h - half), max(0, w - half)
        return (n, c, slice(top, h + half + 1), slice(left, w + half + 1)), ("row", "column"), (top, left)
    size = shape[1] // layer.groups
    first, last = max(c // size * size, c - half), min(c // size * size + size - 1, c + half)
    return (n, slice(first, last + 1), h, w), ("channel",), (first,)


def _lrn_scale(layer, x, index):
    window = x[_lrn_window(layer, x.shape, index)[0]]
    return layer.k + layer.alpha * np.sum(window**2)


def _lrn_y(step, index):
    layer, (x,) = step.layer, _host(step.x)
    window, axes, start = _lrn_window(layer, x.shape, index)
    squares = x[window]**2
    scale = _lrn_scale(layer, x, index)
    where = f"x = {x[index]:.6g} is divided by the energy of {squares.size} neighbours, itself included"
    return _explanation(where, axes, start, {"x": x[window], "x^2": squares},
                        [("energy = sum of x^2", squares.sum()),
                         (f"scale = {layer.k:g} + {layer.alpha:g} * energy", scale),
                         (f"scale^-{layer.beta:g}", scale**-layer.beta),
                         ("y = x * that", x[index] * scale**-layer.beta)])


def _lrn_dx(step, index):
    layer, (x, dy) = step.layer, _host(step.x, step.dy)
    window, axes, start = _lrn_window(layer, x.shape, index)
    above, values = dy[window], x[window]
    scales = np.empty(above.shape)
    for place in np.ndindex(above.shape):  # each neighbour has a window, and so a scale, of its own
        at = np.array(index)
        at[[1] if len(axes) == 1 else [2, 3]] = np.array(place) + start
        scales[place] = _lrn_scale(layer, x, tuple(at))
    ys = values * scales**-layer.beta
    crossed = above * ys / scales
    own = dy[index] * _lrn_scale(layer, x, index)**-layer.beta
    others = 2 * layer.alpha * layer.beta * x[index] * crossed.sum()
    return _explanation(f"what x did to its own y, less what it did to the {crossed.size} y whose energy it is part of",
                        axes, start, {"dy": above, "y": ys, "scale": scales, "dy*y/scale": crossed},
                        [("sum of dy*y/scale", crossed.sum()), (f"own = dy * scale^-{layer.beta:g}", own),
                         ("others = 2 * alpha * beta * x * sum", others), ("dx = own - others", own - others)])


# ------------------------------------------------------------------------------------------------ a unit by itself

def _logistic(x):
    return np.exp(-np.logaddexp(0, -x))  # 1 / (1 + exp(-x)), whose exp may overflow


_ACTIVATION = {  # the function, and its slope, both of x
    layers.Layer: (lambda layer, x: x, lambda layer, x: np.ones_like(x)),
    layers.ReLU: (lambda layer, x: np.where(x > 0, x, 0), lambda layer, x: np.where(x > 0, 1, 0)),
    layers.LeakyReLU: (lambda layer, x: np.where(x > 0, x, layer.slope * x),
                       lambda layer, x: np.where(x > 0, 1, layer.slope)),
    layers.Tanh: (lambda layer, x: np.tanh(x), lambda layer, x: 1 - np.tanh(x)**2),
    layers.Sigmoid: (lambda layer, x: _logistic(x), lambda layer, x: _logistic(x) * _logistic(-x)),
}


def _activation_y(step, index):
    function, _ = _ACTIVATION[type(step.layer)]
    x, = _host(step.x[index])
    reach = max(3.0, 1.2 * abs(float(x)))
    xs = np.linspace(-reach, reach, 201)
    y = function(step.layer, x)
    return _explanation(f"{type(step.layer).__name__} of x = {x:.6g}", (), (), {"x": x, "y": y}, [("y", y)],
                        curve=(xs, function(step.layer, xs)))


def _activation_dx(step, index):
    function, slope = _ACTIVATION[type(step.layer)]
    x, dy = _host(step.x[index], step.dy[index])
    steep = slope(step.layer, x)
    reach = max(3.0, 1.2 * abs(float(x)))
    xs = np.linspace(-reach, reach, 201)
    return _explanation(f"dy times the slope of {type(step.layer).__name__} at x = {x:.6g}", (), (),
                        {"x": x, "dy": dy, "slope": steep, "product": dy * steep}, [("dx = dy * slope", dy * steep)],
                        curve=(xs, slope(step.layer, xs)))


def _dropout(step, index, into):
    mask = step.kept[0] if step.kept else 1.0 if step.layer.inverted else step.layer.keep_probability
    mask = float(mask if isinstance(mask, float) else mask[index])
    name = "x" if into == "y" else "dy"
    value, = _host((step.x if into == "y" else step.dy)[index])
    where = "the unit is silent" if mask == 0 else "the unit speaks"
    return _explanation(f"{where}, its mask is {mask:g}", (), (), {name: value, "mask": mask, "product": value * mask},
                        [(f"{into} = {name} * mask", value * mask)])


def _flatten(step, index, into):
    source, name = (step.x, "x") if into == "y" else (step.dy, "dy")
    target = step.y if into == "y" else step.x
    place = tuple(map(int, np.unravel_index(np.ravel_multi_index(index, target.shape), source.shape)))
    value, = _host(source[place])
    where = f"the same number as {name}[{', '.join(map(str, place))}]"
    return _explanation(where, (), (), {name: value}, [(into, value)])


# ------------------------------------------------------------------------------------------------- fully connected

def _linear_y(step, index):
    n, out = index
    x, w, b = _host(step.x[n], step.layer.params["w"][out], step.layer.params["b"][out])
    return _explanation(f"unit {out} weighs all {x.size:,} inputs of x[{n}]", ("input",), (0,),
                        {"x": x, "w": w, "product": x * w},
                        [_added_up(x * w), (f"bias b[{out}]", b), ("y = sum + bias", (x * w).sum() + b)])


def _linear_dx(step, index):
    n, unit = index
    dy, w = _host(step.dy[n], step.layer.params["w"][:, unit])
    return _explanation(f"all {dy.size:,} units listened to this input", ("unit",), (0,),
                        {"dy": dy, "w": w, "product": dy * w}, [_added_up(dy * w)])


def _linear_dw(step, index):
    out, unit = index
    dy, x = _host(step.dy[:, out], step.x[:, unit])
    return _explanation(f"w[{out}, {unit}] met input {unit} once a picture", ("image",), (0,),
                        {"dy": dy, "x": x, "product": dy * x}, [_added_up(dy * x)])


def _linear_db(step, index):
    dy, = _host(step.dy[:, index[0]])
    return _explanation(f"b[{index[0]}] was added once a picture", ("image",), (0,), {"dy": dy},
                        [_added_up(dy, "gradients")])


# -------------------------------------------------------------------------------------------------------- the loss

def _softmax(logits):
    exps = np.exp(logits - logits.max())
    return exps, exps / exps.sum()


def _loss_y(step, index):
    logits, = _host(step.x)
    labels, = step.kept
    believed = np.array([_softmax(row)[1][label] for row, label in zip(logits, labels)])
    losses = -np.log(believed)
    return _explanation("what was believed of each picture's own class", ("image",), (0,),
                        {"label": labels, "p[label]": believed, "-log p": losses},
                        [_added_up(losses, "losses"), (f"divided by the {len(losses)} of the batch", losses.mean())])


def _loss_probs(step, index):
    n, c = index
    logits, = _host(step.x[n])
    exps, probs = _softmax(logits)
    return _explanation(f"class {c} of picture {n}, whose label is {step.kept[0][n]}", ("class",), (0,),
                        {"logit": logits, "exp(logit - largest)": exps},
                        [(f"exp of class {c}", exps[c]), _added_up(exps, "exps"), ("p = exp / sum", probs[c])],
                        picked=np.arange(logits.size) == c)


def _loss_dx(step, index):
    n, c = index
    logits, = _host(step.x[n])
    N, label = len(step.x), int(step.kept[0][n])
    probs = _softmax(logits)[1]
    truth = (np.arange(logits.size) == label).astype(float)
    wrong = probs[c] - truth[c]
    return _explanation(f"what is believed of class {c}, less what is true: picture {n} has label {label}",
                        ("class",), (0,), {"p": probs, "truth": truth, "p - truth": probs - truth},
                        [("p - truth", wrong), (f"divided by the {N} of the batch", wrong / N)],
                        picked=np.arange(logits.size) == c)


_LRN = {"y": _lrn_y, "dx": _lrn_dx}
_EXPLAINED = {
    layers.Conv2d: {"y": _conv_y, "dx": _conv_dx, "dw": _conv_dw, "db": _conv_db},
    layers.MaxPool: {"y": _pool_y, "dx": _pool_dx},
    layers.LRN: _LRN, layers.LRNWithin: _LRN,
    **dict.fromkeys(_ACTIVATION, {"y": _activation_y, "dx": _activation_dx}),
    layers.Dropout: {of: lambda step, index, of=of: _dropout(step, index, of) for of in ("y", "dx")},
    layers.Flatten: {of: lambda step, index, of=of: _flatten(step, index, of) for of in ("y", "dx")},
    layers.Linear: {"y": _linear_y, "dx": _linear_dx, "dw": _linear_dw, "db": _linear_db},
    SoftmaxCrossEntropy: {"y": _loss_y, "probs": _loss_probs, "dx": _loss_dx},
}

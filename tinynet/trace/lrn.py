"""How the numbers of both normalisations are computed: across channels, or within a map."""

import numpy as np

from tinynet import layers
from tinynet.trace.explanation import explanation, host


def _window(layer, shape, index):
    """Return what normalises x[index]: an index with slices, the sliced axes, their starts."""
    n, c, h, w = index
    half = layer.n // 2
    if isinstance(layer, layers.LRNWithin):
        top, left = max(0, h - half), max(0, w - half)
        window = n, c, slice(top, h + half + 1), slice(left, w + half + 1)
        return window, ("row", "column"), (top, left)
    size = shape[1] // layer.groups
    first, last = max(c // size * size, c - half), min(c // size * size + size - 1, c + half)
    return (n, slice(first, last + 1), h, w), ("channel",), (first,)


def _grid(index, start, shape):
    """Return index arrays, for the axes of a window, of a block of this shape from start on."""
    n, c, h, w = index
    places = np.ix_(*(np.arange(first, first + size) for first, size in zip(start, shape)))
    return (n, *places, h, w) if len(shape) == 1 else (n, c, *places)


def _scale(layer, x, index):
    window, = host(x[_window(layer, x.shape, index)[0]])
    return layer.k + layer.alpha * np.sum(window**2)


def y(step, index):
    """Explain an activation: it is divided by a power of k + alpha times the energy around it."""
    layer = step.layer
    window, axes, start = _window(layer, step.x.shape, index)
    x, around = host(step.x[index], step.x[window])
    squares = around**2
    scale = _scale(layer, step.x, index)
    where = (f"x = {x:.6g} is divided by a power of the scale of {squares.size} neighbours, "
             "itself included")
    return explanation(where, axes, start, {"x": around, "x^2": squares},
                       [("energy = sum of x^2", squares.sum()),
                        (f"scale = {layer.k:g} + {layer.alpha:g} * energy", scale),
                        (f"scale^-{layer.beta:g}", scale**-layer.beta),
                        ("y = x * that", x * scale**-layer.beta)],
                       {"x": ("x", _grid(index, start, squares.shape))},
                       size=float(abs(x * scale**-layer.beta)))


def dx(step, index):
    """Explain a gradient: the effect of x on its own y minus that on the y of its neighbours."""
    layer, x = step.layer, step.x
    window, axes, start = _window(layer, x.shape, index)
    own_x, own_dy, values, above = host(x[index], step.dy[index], x[window], step.dy[window])
    scales = np.empty(above.shape)
    for place in np.ndindex(above.shape):  # each neighbour has a window, and so a scale, of its own
        at = np.array(index)
        at[[1] if len(axes) == 1 else [2, 3]] = np.array(place) + start
        scales[place] = _scale(layer, x, tuple(at))
    ys = values * scales**-layer.beta
    crossed = above * ys / scales
    own = own_dy * _scale(layer, x, index)**-layer.beta
    others = 2 * layer.alpha * layer.beta * own_x * crossed.sum()
    where = (f"what x did to its own y, minus what it did to the {crossed.size} y whose energy it "
             "is part of")
    at = _grid(index, start, above.shape)
    return explanation(where, axes, start,
                       {"dy": above, "y": ys, "scale": scales, "dy*y/scale": crossed},
                       [("sum of dy*y/scale", crossed.sum()),
                        (f"own = dy * scale^-{layer.beta:g}", own),
                        ("others = 2 * alpha * beta * x * sum", others),
                        ("dx = own - others", own - others)],
                       {"dy": ("dy", at), "y": ("y", at)}, size=float(abs(own) + abs(others)))

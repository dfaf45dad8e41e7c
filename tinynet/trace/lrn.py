"""Where the numbers of both normalisations come from: across channels, or within a map."""

import numpy as np

from tinynet import layers
from tinynet.trace.explanation import explanation, host


def _window(layer, shape, index):
    """What normalises x[index]: an index with slices, the names of the sliced axes, and where they start."""
    n, c, h, w = index
    half = layer.n // 2
    if isinstance(layer, layers.LRNWithin):
        top, left = max(0, h - half), max(0, w - half)
        return (n, c, slice(top, h + half + 1), slice(left, w + half + 1)), ("row", "column"), (top, left)
    size = shape[1] // layer.groups
    first, last = max(c // size * size, c - half), min(c // size * size + size - 1, c + half)
    return (n, slice(first, last + 1), h, w), ("channel",), (first,)


def _scale(layer, x, index):
    window = x[_window(layer, x.shape, index)[0]]
    return layer.k + layer.alpha * np.sum(window**2)


def y(step, index):
    """An activation, divided by a power of the energy around it."""
    layer, (x,) = step.layer, host(step.x)
    window, axes, start = _window(layer, x.shape, index)
    squares = x[window]**2
    scale = _scale(layer, x, index)
    where = f"x = {x[index]:.6g} is divided by the energy of {squares.size} neighbours, itself included"
    return explanation(where, axes, start, {"x": x[window], "x^2": squares},
                       [("energy = sum of x^2", squares.sum()),
                        (f"scale = {layer.k:g} + {layer.alpha:g} * energy", scale),
                        (f"scale^-{layer.beta:g}", scale**-layer.beta),
                        ("y = x * that", x[index] * scale**-layer.beta)])


def dx(step, index):
    """What x did to its own y, less what it did to its neighbours'."""
    layer, (x, dy) = step.layer, host(step.x, step.dy)
    window, axes, start = _window(layer, x.shape, index)
    above, values = dy[window], x[window]
    scales = np.empty(above.shape)
    for place in np.ndindex(above.shape):  # each neighbour has a window, and so a scale, of its own
        at = np.array(index)
        at[[1] if len(axes) == 1 else [2, 3]] = np.array(place) + start
        scales[place] = _scale(layer, x, tuple(at))
    ys = values * scales**-layer.beta
    crossed = above * ys / scales
    own = dy[index] * _scale(layer, x, index)**-layer.beta
    others = 2 * layer.alpha * layer.beta * x[index] * crossed.sum()
    return explanation(f"what x did to its own y, less what it did to the {crossed.size} y whose energy it is part of",
                       axes, start, {"dy": above, "y": ys, "scale": scales, "dy*y/scale": crossed},
                       [("sum of dy*y/scale", crossed.sum()), (f"own = dy * scale^-{layer.beta:g}", own),
                        ("others = 2 * alpha * beta * x * sum", others), ("dx = own - others", own - others)])

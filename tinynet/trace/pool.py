"""How the numbers of pooling are computed, max and average.   KH KW window height, width"""

import numpy as np

from tinynet.layers import AvgPool
from tinynet.trace.explanation import added_up, explanation, host, span, windows_with


def _window(layer, x, i, j):
    """Return the part of window (i, j) inside the map x (H, W), and its first row and column."""
    (KH, KW), (SH, SW), (PH, PW) = layer.size, layer.stride, layer.pad
    top, left = i * SH - PH, j * SW - PW
    seen = x[max(0, top):top + KH, max(0, left):left + KW]
    return seen, max(0, top), max(0, left)


def _winner(window):
    """Return the number of the largest pixel: the first of equal ones; of several NaNs the last."""
    nans = np.flatnonzero(np.isnan(window))
    return nans[-1] if nans.size else np.argmax(window)


def y(step, index):
    """Explain an output: it is the largest number of one window, or its mean."""
    n, c, i, j = index
    x, top, left = _window(step.layer, host(step.x[n, c])[0], i, j)
    start = top, left
    where = f"{span('row', top, x.shape[0])}, {span('column', left, x.shape[1])} of x[{n}, {c}]"
    places = (np.arange(first, first + size) for first, size in zip(start, x.shape))
    sources = {"x": ("x", (n, c, *np.ix_(*places)))}
    if isinstance(step.layer, AvgPool):
        lines = [added_up(x, "pixels"), (f"divided by {x.size}", x.mean())]
        return explanation(where, ("row", "column"), start, {"x": x}, lines, sources)
    first = np.zeros(x.shape, bool)
    first[np.unravel_index(_winner(x), x.shape)] = True
    row, column = np.argwhere(first)[0] + start
    ties = int(np.sum(x == x.max()))
    if ties > 1:
        where = f"{where}; {ties} are equally large, the first in reading order wins"
    return explanation(where, ("row", "column"), start, {"x": x},
                       [(f"largest, at row {row}, column {column}", x.max())], sources,
                       picked=first)


def dx(step, index):
    """Explain a gradient: a pixel gets those of the windows that it won, or a share of each."""
    n, c, row, column = index
    layer, (x, dy) = step.layer, host(step.x[n, c], step.dy[n, c])
    rows = windows_with(row + layer.pad[0], layer.size[0], layer.stride[0], dy.shape[0])
    columns = windows_with(column + layer.pad[1], layer.size[1], layer.stride[1], dy.shape[1])
    above = dy[np.ix_(rows, columns)]
    start = tuple(int(a[0]) if a.size else 0 for a in (rows, columns))
    sources = {"dy": ("dy", (n, c, *np.ix_(rows, columns)))}
    if isinstance(layer, AvgPool):
        share = np.array([[1 / _window(layer, x, i, j)[0].size for j in columns] for i in rows])
        share = share.reshape(above.shape)
        where = f"windows that contain this pixel: {share.size}, each gives it an even share"
        return explanation(where, ("i", "j"), start,
                           {"dy": above, "share": share, "product": above * share},
                           [added_up(above * share)], sources)
    won = np.zeros((len(rows), len(columns)))
    for a, i in enumerate(rows):
        for b, j in enumerate(columns):
            window, top, left = _window(layer, x, i, j)
            won[a, b] = _winner(window) == (row - top) * window.shape[1] + column - left
    where = f"windows that contain this pixel: {won.size}, of which it won {int(won.sum())}"
    return explanation(where, ("i", "j"), start, {"dy": above, "won": won, "product": above * won},
                       [added_up(above * won)], sources, picked=won.astype(bool))

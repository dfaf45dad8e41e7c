"""What an explanation is, and what those who write one share."""

import dataclasses
import functools
import math

import numpy as np

from tinynet.backend import to_numpy

ROWS = 30  # of a table; where there are more terms, the largest are shown


class Disagreement(ArithmeticError):
    """An explanation and the layer do not have the same number: one of them is wrong."""


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


def explanation(where, axes, start, terms, lines, **rest):
    """An Explanation whose terms and lines are float64, for explain to name and to check."""
    terms = {name: np.asarray(array, np.float64) for name, array in terms.items()}
    return Explanation("", where, axes, start, terms, [(text, float(number)) for text, number in lines], **rest)


def host(*arrays):
    """The arrays in float64 on the host: an explanation should not round as the layer does."""
    return tuple(to_numpy(array).astype(np.float64) for array in arrays)


def pick(a, *wanted):
    """a at every combination of the indices wanted along each axis, 0 past its edges; and which lie inside."""
    inside = functools.reduce(np.logical_and.outer, [(0 <= w) & (w < size) for w, size in zip(wanted, a.shape)])
    clipped = np.ix_(*(w.clip(0, size - 1) for w, size in zip(wanted, a.shape)))
    return np.where(inside, a[clipped], 0.0), inside


def span(name, start, size):
    """rows 8 to 18, or row 8"""
    return f"{name} {start}" if size == 1 else f"{name}s {start} to {start + size - 1}"


def added_up(products, what="products"):
    """A line: the sum of the products, and of how many."""
    return f"sum of {products.size:,} {what if products.size != 1 else what[:-1]}", products.sum()


def windows_with(pixel, size, stride, count):
    """The numbers of the windows of `size`, `stride` apart, that hold the pixel (counted from the padding's edge)."""
    numbers = np.arange(count)
    return numbers[(numbers * stride <= pixel) & (pixel < numbers * stride + size)]

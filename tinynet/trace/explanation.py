"""What an explanation is, and what the modules that write one share."""

import dataclasses
import functools
import math

import numpy as np

from tinynet.backend import to_numpy
from tinynet.language import pad, translate

ROWS = 30  # of a table; where there are more terms, the largest are shown


class Disagreement(ArithmeticError):
    """An explanation and the layer do not have the same number: one of them is wrong."""

    def __init__(self, message, explanation):
        super().__init__(message)
        self.explanation = explanation


@dataclasses.dataclass
class Explanation:
    """How one number is computed; print() it, or draw it with tinynet.figures.draw_explanation.

    name       "conv2.y[0, 5, 10, 3]"
    where      a phrase: which part of which array the number is computed from
    axes       the names of the axes of the terms, and start, the index of the first term on each
    terms      {"x": array, "w": array, "product": array}: arrays of one shape, float64; the last is
               what is put together
    lines      [(text, number), ...]: from the terms to the value, which is the last
    sources    {"x": ("x", indices), ...}: for a term, or for the text of a line, the array of the
               layer that it is taken from, and an index array for each axis of that array, which
               broadcast to the shape of the terms
    inside     a boolean array of that shape: False for terms that lie in the padding. None: all lie
               inside
    picked     where only some terms count (the winner of a pool): a boolean array, True for these
    curve      (xs, ys) of an activation function, around x
    size       the size of the numbers that are put together: rounding is judged by it
    actual     the layer's own number, which differs from the value by at most `tolerance`
    """

    name: str
    where: str
    axes: tuple
    start: tuple
    terms: dict
    lines: list
    sources: dict = dataclasses.field(default_factory=dict)
    inside: np.ndarray = None
    picked: np.ndarray = None
    curve: tuple = None
    size: float = None
    actual: float = math.nan
    tolerance: float = 0.0

    @property
    def value(self):
        return self.lines[-1][1]

    @property
    def last(self):
        """Return the terms that are put together, without what they were made of."""
        return list(self.terms.values())[-1]

    @property
    def agrees(self):
        """Return whether the value is the layer's own number, to within the tolerance."""
        both_nan = np.isnan([self.value, self.actual]).all()
        return bool(abs(self.value - self.actual) <= self.tolerance or both_nan)

    def check(self):
        """Return self. Raises Disagreement unless the explanation agrees with the layer."""
        if not self.agrees:
            raise Disagreement(
                f"{self.name} should be {self.value:.9g} by the formula, the layer has "
                f"{self.actual:.9g}. (If weights were changed since the trace was made, make a new "
                "one.)", self)
        return self

    def source(self, term, place=()):
        """Return the array and the index that a term is taken from, or None.

        Args     term: "x", or the text of a line; place: of the term among the terms, from 0
        Returns  ("x", (0, 5, 10, 3)); None for what is computed here, and for the padding
        """
        if term not in self.sources:
            return None
        array, indices = self.sources[term]
        if array == "x" and self.inside is not None and not self.inside[place]:
            return None
        if term not in self.terms:
            return array, tuple(int(i) for i in indices)
        shape = self.last.shape
        return array, tuple(int(np.broadcast_to(i, shape)[place]) for i in indices)

    def __str__(self):
        head = [f"{self.name}: {translate(self.where)}"]
        foot = [f"{pad(translate(text), 44)} {number + 0.0:>13.6g}" for text, number in self.lines]
        own = f"{pad(translate('the layer has'), 44)} {self.actual:>13.6g}   " + translate(
            f"(within {self.tolerance:.1e})")
        return "\n".join([*head, *self._table(), *foot, own])

    __repr__ = __str__

    def _table(self):
        columns = {name: array.ravel() for name, array in self.terms.items()}
        shape, last = self.last.shape, self.last.ravel()
        shown = range(last.size)
        if last.size > ROWS:
            shown = np.sort(np.argsort(-abs(last), kind="stable")[:ROWS])
        if last.size:
            heads = [pad(translate(axis), -8) for axis in self.axes]
            heads += [pad(translate(name), -13) for name in columns]
            yield " ".join(heads).rstrip()
        for flat in shown:
            place = np.array(np.unravel_index(flat, shape), int) + self.start
            cells = [f"{index:>8}" for index in place]
            cells += [f"{array[flat] + 0.0:>13.6g}" for array in columns.values()]
            if self.inside is not None and not self.inside.ravel()[flat]:
                cells.append("  " + translate("padding"))
            if self.picked is not None and self.picked.ravel()[flat]:
                cells.append("  <-")
            yield " ".join(cells)
        if last.size > ROWS:
            yield translate(f"... and {last.size - ROWS:,} smaller ones")


def explanation(where, axes, start, terms, lines, sources, **rest):
    """Return an Explanation whose terms and lines are float64, for explain to name and check."""
    terms = {name: np.asarray(array, np.float64) for name, array in terms.items()}
    lines = [(text, float(number)) for text, number in lines]
    rest.setdefault("size", float(abs([*terms.values()][-1]).sum()))
    return Explanation("", where, axes, start, terms, lines, sources, **rest)


def host(*arrays):
    """Return the arrays in float64 on the host: an explanation should not round as layers do."""
    return tuple(to_numpy(array).astype(np.float64) for array in arrays)


def pick(a, *wanted):
    """Return a at every combination of the indices wanted along each axis, and which lie inside.

    Past the edges of a the numbers are 0.
    """
    inside = functools.reduce(np.logical_and.outer,
                              [(0 <= w) & (w < size) for w, size in zip(wanted, a.shape)])
    clipped = np.ix_(*(w.clip(0, size - 1) for w, size in zip(wanted, a.shape)))
    return np.where(inside, a[clipped], 0.0), inside


def span(name, start, size):
    """Return "rows 8 to 18", or "row 8"."""
    return f"{name} {start}" if size == 1 else f"{name}s {start} to {start + size - 1}"


def added_up(products, what="products"):
    """Return a line: the sum of the products, and how many they are."""
    one = what.removesuffix("es" if what.endswith("sses") else "s")
    return f"sum of {products.size:,} {one if products.size == 1 else what}", products.sum()


def windows_with(pixel, size, stride, count):
    """Return the numbers of the windows of `size`, `stride` apart, that contain the pixel.

    The pixel is counted from the edge of the padding.
    """
    numbers = np.arange(count)
    return numbers[(numbers * stride <= pixel) & (pixel < numbers * stride + size)]

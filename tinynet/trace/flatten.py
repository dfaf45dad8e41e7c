"""Where the numbers of Flatten come from: the same number, at another place."""

import numpy as np

from tinynet.trace.explanation import explanation, host


def y(step, index):
    """Which pixel became this unit."""
    return _moved(step, index, "y")


def dx(step, index):
    """Which unit this pixel became."""
    return _moved(step, index, "dx")


def _moved(step, index, into):
    source, name = (step.x, "x") if into == "y" else (step.dy, "dy")
    target = step.y if into == "y" else step.x
    place = tuple(map(int, np.unravel_index(np.ravel_multi_index(index, target.shape), source.shape)))
    value, = host(source[place])
    where = f"the same number as {name}[{', '.join(map(str, place))}]"
    return explanation(where, (), (), {name: value}, [(into, value)])

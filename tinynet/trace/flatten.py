"""How the numbers of Flatten are computed: each is the same number, at another place."""

import numpy as np

from tinynet.trace.explanation import explanation, host


def y(step, index):
    """Explain an output: say which pixel became this unit."""
    return _moved(step, index, "x", "y", step.x, step.y)


def dx(step, index):
    """Explain a gradient: say which unit this pixel became."""
    return _moved(step, index, "dy", "dx", step.dy, step.x)


def _moved(step, index, name, into, source, target):
    flat = np.ravel_multi_index(index, target.shape)
    place = tuple(map(int, np.unravel_index(flat, source.shape)))
    value, = host(source[place])
    where = f"the same number as {name}[{', '.join(map(str, place))}]"
    return explanation(where, (), (), {name: value}, [(into, value)], {name: (name, place)})

"""The fully connected layer on CPU cores: each product cut into a few that do not wait for each other.

What makes it fast: y is cut by output units, dw too, dx by input units, so that no two cores write to the same numbers
and nothing has to be added up afterwards. Backward hands out the pieces of dw and dx together.

    N images  IN, OUT units
"""

import numpy as np

from tinynet.cpu.memory import empty
from tinynet.cpu.parallel import for_each, shares
from tinynet.shapes import linear_shape, require_shape

UNITS = 256  # of a piece


def linear_forward(x, w, b):
    """As ops.linear_forward."""
    N, OUT = linear_shape("linear_forward", x.shape, w.shape)
    require_shape("linear_forward", "b", b.shape, (OUT,))
    y = empty((N, OUT), x.dtype)

    def work(units):
        np.matmul(x, w[units].T, out=y[:, units])                         # (N, units)
        y[:, units] += b[units]

    for_each(work, _pieces(OUT))
    return y


def linear_backward(dy, x, w):
    """As ops.linear_backward."""
    require_shape("linear_backward", "dy", dy.shape, linear_shape("linear_backward", x.shape, w.shape))
    dx, dw, db = empty(x.shape, x.dtype), empty(w.shape, x.dtype), empty(w.shape[:1], x.dtype)

    def of_input(units):
        np.matmul(dy, w[:, units], out=dx[:, units])                      # (N, units)

    def of_weights(units):
        np.matmul(dy[:, units].T, x, out=dw[units])                       # (units, IN)
        np.sum(dy[:, units], axis=0, out=db[units])                       # (units,)

    OUT, IN = w.shape
    pieces = [(of_weights, units) for units in _pieces(OUT)] + [(of_input, units) for units in _pieces(IN)]
    for_each(lambda piece: piece[0](piece[1]), pieces)
    return dx, dw, db


def _pieces(units):
    return shares(units, -(-units // UNITS))

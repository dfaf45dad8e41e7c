"""The fully connected layer on CPU cores: each matrix product is cut into independent products.

Why it is fast: y and dw are cut along the output units and dx along the input units. So no two
cores write to the same place, and no partial results have to be added. Backward shares out the
pieces of dw and dx together, so that no core waits between them.

With few images, reading the weights from memory takes longer than multiplying. Before a product,
BLAS copies its factors into an order of its own, which would move the weights twice more; OpenBLAS
leaves that out for small products. So with few images a piece is only as many output units as make
a small product.

    N images  IN, OUT units
"""

import numpy as np

from tinynet.cpu.memory import empty
from tinynet.cpu.parallel import for_each, shares
from tinynet.shapes import ceil_div, linear_shape, require_shape

UNITS = 256               # per piece
FEW_IMAGES = 16
SMALL_PRODUCT = 1_000_000  # multiplications


def linear_forward(x, w, b):
    """Compute ops.linear_forward for up to 256 output units at a time, on all cores."""
    N, OUT = linear_shape("linear_forward", x.shape, w.shape)
    small = max(1, SMALL_PRODUCT // max(1, x.size))
    require_shape("linear_forward", "b", b.shape, (OUT,))
    y = empty((N, OUT), x.dtype)

    def work(units):
        np.matmul(x, w[units].T, out=y[:, units])                         # (N, units)
        y[:, units] += b[units]

    for_each(work, _pieces(OUT, min(small, UNITS) if N <= FEW_IMAGES else UNITS))
    return y


def linear_backward(dy, x, w):
    """Compute ops.linear_backward for up to 256 units at a time, on all cores."""
    y_shape = linear_shape("linear_backward", x.shape, w.shape)
    require_shape("linear_backward", "dy", dy.shape, y_shape)
    dx, dw, db = empty(x.shape, x.dtype), empty(w.shape, x.dtype), empty(w.shape[:1], x.dtype)

    def of_input(units):
        np.matmul(dy, w[:, units], out=dx[:, units])                      # (N, units)

    def of_weights(units):
        np.matmul(dy[:, units].T, x, out=dw[units])                       # (units, IN)
        np.sum(dy[:, units], axis=0, out=db[units])                       # (units,)

    OUT, IN = w.shape
    pieces = [(of_weights, units) for units in _pieces(OUT)]
    pieces += [(of_input, units) for units in _pieces(IN)]
    for_each(lambda piece: piece[0](piece[1]), pieces)
    return dx, dw, db


def _pieces(units, most=UNITS):
    return shares(units, ceil_div(units, most))

"""The fully connected layer on CPU cores: each matrix product is cut into independent products.

Why it is fast:
- y and dw are cut along the output units and dx along the input units. So no two cores write to the
  same place, and no partial results have to be added. Backward shares out the pieces of dw and dx
  together, so that no core waits between them.
- With few images, reading the weights from memory takes longer than multiplying, so they must be
  read only once. BLAS copies the factors of a product into an order of its own first, which moves
  the weights twice more. OpenBLAS leaves that out for small products, and the copies of others stay
  in the cache if they are small. So a piece is then only as many output units as make a small
  product, and backward is cut along the output units alone.

    N images  IN, OUT units
"""

import numpy as np

from tinynet.cpu.memory import empty
from tinynet.cpu.parallel import for_each, shares, sum_in_order
from tinynet.shapes import ceil_div, linear_shape, require_shape

UNITS = 256                # of a piece
FEW_IMAGES = 16            # at most
SMALL_PRODUCT = 1_000_000  # multiplications; OpenBLAS has this limit


def linear_forward(x, w, b):
    """Compute ops.linear_forward for some output units at a time, on all cores."""
    N, OUT = linear_shape("linear_forward", x.shape, w.shape)
    require_shape("linear_forward", "b", b.shape, (OUT,))
    y = empty((N, OUT), x.dtype)

    def work(units):
        np.matmul(x, w[units].T, out=y[:, units])                         # (N, units)
        y[:, units] += b[units]

    for_each(work, _pieces(slice(0, OUT), _units(x)))
    return y


def linear_backward(dy, x, w):
    """Compute ops.linear_backward for some units at a time, on all cores."""
    N, OUT = linear_shape("linear_backward", x.shape, w.shape)
    require_shape("linear_backward", "dy", dy.shape, (N, OUT))
    dw, db = empty(w.shape, x.dtype), empty(w.shape[:1], x.dtype)

    def of_weights(units):
        product = np.multiply if N == 1 else np.matmul
        product(dy[:, units].T, x, out=dw[units])                         # (units, IN)
        np.sum(dy[:, units], axis=0, out=db[units])                       # (units,)

    def of_both(share):
        total = np.zeros(x.shape, x.dtype)
        for units in _pieces(share, _units(x)):
            of_weights(units)
            total += np.matmul(dy[:, units], w[units])                    # (N, IN)
        return [total]

    if N <= FEW_IMAGES:
        return sum_in_order(of_both, shares(OUT))[0], dw, db
    dx = empty(x.shape, x.dtype)

    def of_input(units):
        np.matmul(dy, w[:, units], out=dx[:, units])                      # (N, units)

    pieces = [(of_weights, units) for units in _pieces(slice(0, OUT), UNITS)]
    pieces += [(of_input, units) for units in _pieces(slice(0, w.shape[1]), UNITS)]
    for_each(lambda piece: piece[0](piece[1]), pieces)
    return dx, dw, db


def _units(x):
    """Return the most output units of a piece."""
    small = SMALL_PRODUCT // max(1, x.size)
    return UNITS if len(x) > FEW_IMAGES else max(1, min(small, UNITS))


def _pieces(units, most):
    """Cut a slice of units into slices of at most `most`."""
    pieces = shares(units.stop - units.start, ceil_div(units.stop - units.start, most))
    return [slice(units.start + piece.start, units.start + piece.stop) for piece in pieces]

"""The fully connected layer on CPU cores: each matrix product is cut into independent products.

Why it is fast:
- y and dw are cut along the output units and dx along the input units. So no two cores write to the
  same place, and no partial results have to be added. Backward shares out the pieces of dw and dx
  together, so that no core waits between them.
- With few images, reading the weights from memory takes longer than multiplying, so they must be
  read only once. BLAS copies the factors of a product into an order of its own first, which moves
  the weights twice more. OpenBLAS leaves that out for small products. So a piece is then cut into
  blocks of output units whose products are small, and one call of NumPy computes all of them.
  Backward is cut along the output units alone, and the parts of dx are added.

    N images  IN, OUT units  |  B blocks of a piece, U units of a block
"""

import numpy as np

from tinynet.cpu.memory import empty, scratch
from tinynet.cpu.parallel import for_each, shares, sum_in_order
from tinynet.shapes import ceil_div, linear_shape, require_shape

UNITS = 256                # of a piece
FEW_IMAGES = 16            # at most
FEW_UNITS = 128            # of a piece in backward with few images
TERMS = 32                 # of such a piece, added in one product
SMALL_PRODUCT = 1_000_000  # multiplications; OpenBLAS has this limit
LEAST_RESULTS = 512        # of a call: up to 500, NumPy does not let other threads run meanwhile


def linear_forward(x, w, b):
    """Compute ops.linear_forward for some output units at a time, on all cores."""
    N, OUT = linear_shape("linear_forward", x.shape, w.shape)
    require_shape("linear_forward", "b", b.shape, (OUT,))
    y, most = empty((N, OUT), x.dtype), _units(x)

    def work(units):
        products = _blocks(y.T[units], most).swapaxes(1, 2)               # (B, N, U)
        np.matmul(x, _blocks(w[units], most).swapaxes(1, 2), out=products)
        y[:, units] += b[units]

    for_each(work, _pieces(OUT, max(UNITS, LEAST_RESULTS // max(1, N))))
    return y


def linear_backward(dy, x, w):
    """Compute ops.linear_backward for some units at a time, on all cores."""
    N, OUT = linear_shape("linear_backward", x.shape, w.shape)
    require_shape("linear_backward", "dy", dy.shape, (N, OUT))
    dw, db, most = empty(w.shape, x.dtype), empty(w.shape[:1], x.dtype), _units(x)

    def of_weights(units):
        if N == 1:
            np.multiply(dy.T[units], x, out=dw[units])
        else:
            np.matmul(_blocks(dy.T[units], most), x, out=_blocks(dw[units], most))  # (B, U, IN)
        np.sum(dy[:, units], axis=0, out=db[units])                       # (units,)

    def of_both(units):
        of_weights(units)
        dy_blocks, w_blocks = _blocks(dy.T[units], TERMS).swapaxes(1, 2), _blocks(w[units], TERMS)
        products = scratch("products", (len(w_blocks), *x.shape), x.dtype)
        np.matmul(dy_blocks, w_blocks, out=products)                      # (B, N, IN)
        return [products.sum(axis=0)]

    if N <= FEW_IMAGES:
        return sum_in_order(of_both, _pieces(OUT, FEW_UNITS))[0], dw, db
    dx = empty(x.shape, x.dtype)

    def of_input(units):
        np.matmul(dy, w[:, units], out=dx[:, units])                      # (N, units)

    pieces = [(of_weights, units) for units in _pieces(OUT, UNITS)]
    pieces += [(of_input, units) for units in _pieces(w.shape[1], UNITS)]
    for_each(lambda piece: piece[0](piece[1]), pieces)
    return dx, dw, db


def _units(x):
    """Return the most output units of a block."""
    return UNITS if len(x) > FEW_IMAGES else max(1, SMALL_PRODUCT // max(1, x.size))


def _blocks(a, most):
    """Reshape (units, ...) to (B, U, ...), a view, where U is as large as possible up to `most`."""
    U = max(U for U in range(1, min(most, len(a)) + 1) if len(a) % U == 0)
    return a.reshape(len(a) // U, U, *a.shape[1:])


def _pieces(units, most):
    """Cut range(units) into slices of at most `most`."""
    return shares(units, ceil_div(units, most))

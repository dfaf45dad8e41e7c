"""The fully connected layer on CPU cores: each matrix product is cut into independent products.

Why it is fast:
- y and dw are cut along the output units and dx along the input units. So no two cores write to the
  same place, and no partial results have to be added. Backward shares out the pieces of dw and dx
  together, so that no core waits between them.
- With few images, reading the weights from memory takes longer than multiplying, so they must be
  read only once. BLAS copies the factors of a product into an order of its own first, which moves
  the weights twice more. OpenBLAS leaves that out for products of at most a million
  multiplications. So the weights are then cut into tiles whose products are that small, and one
  call of NumPy computes the products of all tiles of a piece. Backward is cut along the output
  units alone, and the parts of dx are added.

    N images  IN, OUT units  |  R x T tiles of a piece, each of U output and K input units
"""

import functools

import numpy as np

from tinynet.cpu.memory import empty, scratch
from tinynet.cpu.parallel import SMALL_PRODUCT, divisor, for_each, shares, sum_in_order
from tinynet.shapes import ceil_div, linear_shape, require_shape

UNITS = 256          # of a piece
FEW_IMAGES = 32      # at most
FEW_UNITS = 128      # of a piece in backward with few images
TILE_UNITS = 32      # output units of a tile with few images, about
LEAST_RESULTS = 512  # of a call: up to 500, NumPy does not let other threads run meanwhile


def linear_forward(x, w, b):
    """Compute ops.linear_forward for some output units at a time, on all cores."""
    N, OUT = linear_shape("linear_forward", x.shape, w.shape)
    require_shape("linear_forward", "b", b.shape, (OUT,))
    y = empty((N, OUT), x.dtype)

    def work(units):
        tiles, x_tiles = _tiles(w[units], N), _input_tiles(x)             # (R, T, U, K), (T, N, K)
        R, T, U, _ = tiles.shape
        products = scratch("products", (R, T, N, U), x.dtype)
        np.matmul(x_tiles, tiles.swapaxes(2, 3), out=products)
        y[:, units] = products.sum(axis=1).swapaxes(0, 1).reshape(N, R * U)
        y[:, units] += b[units]

    for_each(work, _pieces(OUT, max(UNITS, LEAST_RESULTS // max(1, N))))
    return y


def linear_backward(dy, x, w):
    """Compute ops.linear_backward for some units at a time, on all cores."""
    N, OUT = linear_shape("linear_backward", x.shape, w.shape)
    require_shape("linear_backward", "dy", dy.shape, (N, OUT))
    dw, db = empty(w.shape, x.dtype), empty(w.shape[:1], x.dtype)

    def of_weights(units):
        if N == 1:
            np.multiply(dy.T[units], x, out=dw[units])
        else:
            tiles = _tiles(dw[units], N)                                  # (R, T, U, K)
            np.matmul(_output_tiles(dy[:, units], tiles), _input_tiles(x), out=tiles)
        np.sum(dy[:, units], axis=0, out=db[units])                       # (units,)

    def of_both(units):
        of_weights(units)
        tiles = _tiles(w[units], N)                                       # (R, T, U, K)
        R, T, _, K = tiles.shape
        products = scratch("products", (R, T, N, K), x.dtype)
        np.matmul(_output_tiles(dy[:, units], tiles).swapaxes(2, 3), tiles, out=products)
        return [products.sum(axis=0)]                                     # (T, N, K)

    if N <= FEW_IMAGES:
        dx = sum_in_order(of_both, _pieces(OUT, FEW_UNITS))[0]
        return dx.swapaxes(0, 1).reshape(x.shape), dw, db
    dx = empty(x.shape, x.dtype)

    def of_input(units):
        np.matmul(dy, w[:, units], out=dx[:, units])                      # (N, units)

    pieces = [(of_weights, units) for units in _pieces(OUT, UNITS)]
    pieces += [(of_input, units) for units in _pieces(w.shape[1], UNITS)]
    for_each(lambda piece: piece[0](piece[1]), pieces)
    return dx, dw, db


def _tiles(w, N):
    """Reshape (units, IN) to (R, T, U, K), a view; with many images it is a single tile."""
    units, IN = w.shape
    U, K = _tile_size(w.shape, N)
    return w.reshape(units // U, U, IN // K, K).swapaxes(1, 2)


def _input_tiles(x):
    """Reshape (N, IN) to (T, N, K), a view."""
    (N, IN), K = x.shape, _tile_size((1, x.shape[1]), len(x))[1]
    return x.reshape(N, IN // K, K).swapaxes(0, 1)  # not -1: the batch may be empty


def _output_tiles(dy, tiles):
    """Reshape (N, units) to (R, 1, U, N), a view."""
    R, _, U, _ = tiles.shape
    return dy.T.reshape(R, 1, U, len(dy))


@functools.cache
def _tile_size(shape, N):
    """Return U and K, divisors of (units, IN), with N*U*K at most SMALL_PRODUCT if N is small.

    Sizes without such divisors are not cut.
    """
    units, IN = shape
    if N == 0 or N > FEW_IMAGES:
        return shape
    K = divisor(IN, SMALL_PRODUCT // (N * TILE_UNITS))
    return divisor(units, SMALL_PRODUCT // (N * K)), K


def _pieces(units, most):
    """Cut range(units) into slices of at most `most`."""
    return shares(units, ceil_div(units, most))

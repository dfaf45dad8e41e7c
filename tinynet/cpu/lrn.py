"""Local response normalisation on CPU cores: the sums of `ops`, on pieces that stay in cache.

Why it is faster than `ops/lrn.py`:
- A piece is some pixels of one image with all their channels. All intermediate results of a piece
  stay in the cache of one core.
- A few channels of zeros before and after the channels allow every shifted addition to cover all
  channels. The sum of two neighbours is computed once for all windows that contain both, so a
  window of 5 takes 3 additions.
- scale^-0.75 is computed as 1 / (s * sqrt(s)) with s = sqrt(scale). The processor has an
  instruction for square roots, but none for powers.

    N images  C channels  P pixels of a piece  |  G groups
"""

import math

import numpy as np

from tinynet.cpu.memory import empty, scratch
from tinynet.cpu.parallel import chunks, for_each
from tinynet.ops import lrn as ops
from tinynet.shapes import lrn_shape, require_shape

PIECE_BYTES = 1 << 18  # of each array of a piece; five arrays are in use at a time


def lrn_forward(x, n, k, alpha, beta, groups=1):
    """Compute ops.lrn_forward piece by piece on all cores.

    Memory   y and scale
    """
    lrn_shape("lrn_forward", x.shape, n, groups)
    x, y, scale = _flat(x), empty(x.shape, x.dtype), empty(x.shape, x.dtype)
    y_flat, scale_flat = _flat(y), _flat(scale)

    def work(piece):
        xs, scales = x[piece], scale_flat[piece]                          # (C, P)
        terms, inner = _terms(xs.shape, n, groups, xs.dtype)
        np.multiply(_by_group(xs, groups), _by_group(xs, groups), out=inner)
        np.multiply(_window_sum(terms, n), alpha, out=_by_group(scales, groups))
        scales += k
        np.multiply(xs, _power(scales, -beta), out=y_flat[piece])

    for_each(work, _pieces(x))
    return y, scale


def lrn_backward(dy, x, y, scale, n, alpha, beta, groups=1):
    """Compute ops.lrn_backward piece by piece on all cores.

    Memory   dx
    """
    lrn_shape("lrn_backward", x.shape, n, groups)
    for name, array in (("dy", dy), ("y", y), ("scale", scale)):
        require_shape("lrn_backward", name, array.shape, x.shape)
    dx = empty(x.shape, x.dtype)
    dy, x, y, scale, dx_flat = _flat(dy), _flat(x), _flat(y), _flat(scale), _flat(dx)

    def work(piece):
        dys, dxs = dy[piece], dx_flat[piece]                              # (C, P)
        terms, inner = _terms(dys.shape, n, groups, dys.dtype)
        np.multiply(_by_group(dys, groups), _by_group(y[piece], groups), out=inner)
        inner /= _by_group(scale[piece], groups)
        cross = _window_sum(terms, n)                                     # (G, C/G, P)
        cross *= 2 * alpha * beta
        cross *= _by_group(x[piece], groups)
        np.multiply(dys, _power(scale[piece], -beta), out=dxs)
        dxs -= cross.reshape(dxs.shape)

    for_each(work, _pieces(x))
    return dx


def lrn_within_forward(x, n, k, alpha, beta):
    """Call ops.lrn_within_forward for every image, on all cores."""
    lrn_shape("lrn_within_forward", x.shape, n)
    y, scale = empty(x.shape, x.dtype), empty(x.shape, x.dtype)

    def work(image):
        y[image], scale[image] = ops.lrn_within_forward(x[image], n, k, alpha, beta)

    for_each(work, [slice(image, image + 1) for image in range(x.shape[0])])
    return y, scale


def lrn_within_backward(dy, x, y, scale, n, alpha, beta):
    """Call ops.lrn_within_backward for every image, on all cores."""
    lrn_shape("lrn_within_backward", x.shape, n)
    for name, array in (("dy", dy), ("y", y), ("scale", scale)):
        require_shape("lrn_within_backward", name, array.shape, x.shape)
    dx = empty(x.shape, x.dtype)

    def work(image):
        dx[image] = ops.lrn_within_backward(dy[image], x[image], y[image], scale[image],
                                            n, alpha, beta)

    for_each(work, [slice(image, image + 1) for image in range(x.shape[0])])
    return dx


def _terms(shape, n, groups, dtype):
    """Return scratch memory for the terms of a sum over channels, and a view of its inside.

    The inside, (G, C/G, P), is for the channels; before and after each group there are n // 2
    channels of zeros.
    """
    (C, P), h = shape, n // 2
    terms = scratch("terms", (groups, C // groups + 2 * h, P), dtype)
    terms[:, :h] = 0
    terms[:, h + C // groups:] = 0
    return terms, terms[:, h:h + C // groups]


def _window_sum(terms, n):
    """Sum every n adjacent channels: (G, C/G + n - 1, P) -> (G, C/G, P), in scratch memory."""
    G, CG, P = terms.shape[0], terms.shape[1] - n + 1, terms.shape[2]
    total = scratch("total", (G, CG, P), terms.dtype)
    if n == 1:
        total[...] = terms
        return total
    pairs = scratch("pairs", (G, CG + n - 2, P), terms.dtype)
    np.add(terms[:, :-1], terms[:, 1:], out=pairs)                        # each with its neighbour
    np.add(pairs[:, :CG], terms[:, n - 1:], out=total)
    for step in range(2, n - 1, 2):
        total += pairs[:, step:step + CG]
    return total


def _power(scale, exponent):
    """Return scale ** exponent, in scratch memory."""
    power = scratch("power", scale.shape, scale.dtype)
    if exponent != -0.75:
        return np.power(scale, exponent, out=power)
    fourth = scratch("fourth root", scale.shape, scale.dtype)
    np.sqrt(np.sqrt(scale, out=power), out=fourth)
    power *= fourth
    return np.reciprocal(power, out=power)


def _flat(a):
    """Reshape (N, C, H, W) to (N, C, H*W)."""
    return a.reshape(*a.shape[:2], math.prod(a.shape[2:]))  # not -1: the batch may be empty


def _by_group(a, groups):
    """Return (C, P) as (G, C/G, P), a view."""
    return a.reshape(groups, a.shape[0] // groups, a.shape[1])


def _pieces(x):
    """Return the index (image, all channels, some pixels) of every piece of x (N, C, H*W)."""
    N, C, pixels = x.shape
    slices = chunks(pixels, C * x.dtype.itemsize, PIECE_BYTES)
    return [(image, slice(None), piece) for image in range(N) for piece in slices]

"""Local response normalisation on CPU cores: the sums of `ops`, on pieces that stay in cache.

Why it is faster than `ops/lrn.py`:
- A piece is some channels of one image. All intermediate results of a piece stay in the cache of
  one core. The terms of the n // 2 channels on either side of it are computed twice; in return a
  piece is one run of adjacent numbers in memory.
- The terms of the sums have zeros where there are no more channels. So every shifted addition
  covers all channels. The sum of two neighbours is computed once for all windows that contain both,
  so a window of 5 takes 3 additions.
- A division by scale^0.75 replaces the product with scale^-0.75, and scale^0.75 is computed as
  s * sqrt(s) with s = sqrt(scale). The processor has an instruction for square roots, but none for
  powers.

    N images  G groups  |  C channels of a piece  P pixels of an image
"""

import numpy as np

from tinynet.cpu.memory import empty, scratch
from tinynet.cpu.parallel import chunks, for_each, piece_bytes
from tinynet.ops import lrn as ops
from tinynet.shapes import lrn_shape, require_shapes


def lrn_forward(x, n, k, alpha, beta, groups=1):
    """Compute ops.lrn_forward piece by piece on all cores.

    Memory   y and scale
    """
    lrn_shape("lrn_forward", x.shape, n, groups)
    y, scale = empty(x.shape, x.dtype), empty(x.shape, x.dtype)
    x_groups, y_groups, scale_groups = (_by_group(a, groups) for a in (x, y, scale))

    def work(piece):
        terms, inside, reach = _terms(x_groups.shape, piece, n, x.dtype)
        np.square(x_groups[reach], out=inside)
        total = _window_sum(terms, n)                                     # (C, P)
        total *= alpha
        scales = np.add(total, k, out=scale_groups[piece])
        np.divide(x_groups[piece], _power(scales, beta), out=y_groups[piece])

    for_each(work, _pieces(x_groups, n))
    return y, scale


def lrn_backward(dy, x, scale, n, alpha, beta, groups=1):
    """Compute ops.lrn_backward piece by piece on all cores.

    Memory   dx
    """
    lrn_shape("lrn_backward", x.shape, n, groups)
    require_shapes("lrn_backward", x.shape, dy=dy, scale=scale)
    dx = empty(x.shape, x.dtype)
    dy, x, scale, dx_groups = (_by_group(a, groups) for a in (dy, x, scale, dx))

    def work(piece):
        terms, inside, reach = _terms(x.shape, piece, n, x.dtype)
        power = _power(scale[reach], beta)
        own = np.divide(dy[reach], power, out=power)                      # of all channels in reach
        np.divide(own, scale[reach], out=inside)
        inside *= x[reach]
        cross = _window_sum(terms, n)                                     # (C, P)
        cross *= 2 * alpha * beta
        cross *= x[piece]
        start = piece[1].start - reach[1].start
        np.subtract(own[start:start + len(cross)], cross, out=dx_groups[piece])

    for_each(work, _pieces(x, n))
    return dx


def lrn_within_forward(x, n, k, alpha, beta):
    """Call ops.lrn_within_forward for every image, on all cores."""
    lrn_shape("lrn_within_forward", x.shape, n)
    y, scale = empty(x.shape, x.dtype), empty(x.shape, x.dtype)

    def work(image):
        y[image], scale[image] = ops.lrn_within_forward(x[image], n, k, alpha, beta)

    for_each(work, [slice(image, image + 1) for image in range(x.shape[0])])
    return y, scale


def lrn_within_backward(dy, x, scale, n, alpha, beta):
    """Call ops.lrn_within_backward for every image, on all cores."""
    lrn_shape("lrn_within_backward", x.shape, n)
    require_shapes("lrn_within_backward", x.shape, dy=dy, scale=scale)
    dx = empty(x.shape, x.dtype)

    def work(image):
        dx[image] = ops.lrn_within_backward(dy[image], x[image], scale[image], n, alpha, beta)

    for_each(work, [slice(image, image + 1) for image in range(x.shape[0])])
    return dx


def _terms(shape, piece, n, dtype):
    """Return scratch memory for the terms of the sums over channels in a piece.

    Args     shape: of the array that the piece is cut from, (N*G, C/G, P)
    Returns  terms (C + n - 1, P), zero where there are no channels; inside: the other rows, a view;
             reach: the index of their channels: the piece and n // 2 channels on either side
    """
    (group, channels), (_, CG, P), h = piece, shape, n // 2
    before, after = channels.start - h, channels.stop + h
    reach = slice(max(0, before), min(CG, after))
    terms = scratch("terms", (after - before, P), dtype)
    inside = terms[reach.start - before:reach.stop - before]
    terms[:reach.start - before] = 0
    terms[reach.stop - before:] = 0
    return terms, inside, (group, reach)


def _window_sum(terms, n):
    """Sum every n adjacent channels: (C + n - 1, P) -> (C, P), in scratch memory."""
    C, P = len(terms) - n + 1, terms.shape[1]
    total = scratch("total", (C, P), terms.dtype)
    if n == 1:
        total[...] = terms
        return total
    pairs = scratch("pairs", (C + n - 2, P), terms.dtype)
    np.add(terms[:-1], terms[1:], out=pairs)                              # each with its neighbour
    np.add(pairs[:C], terms[n - 1:], out=total)
    for step in range(2, n - 1, 2):
        total += pairs[step:step + C]
    return total


def _power(scale, exponent):
    """Return scale ** exponent, in scratch memory."""
    power = scratch("power", scale.shape, scale.dtype)
    if exponent != 0.75:
        return np.power(scale, exponent, out=power)
    fourth = scratch("fourth root", scale.shape, scale.dtype)
    np.sqrt(np.sqrt(scale, out=power), out=fourth)
    power *= fourth
    return power


def _by_group(a, groups):
    """Reshape (N, C, H, W) to (N*G, C/G, H*W)."""
    N, C, H, W = a.shape  # not -1: the batch may be empty
    return a.reshape(N * groups, C // groups, H * W)


def _pieces(x, n):
    """Return the index (group, channels) of every piece of x (N*G, C/G, P)."""
    bytes_each = x.shape[2] * x.dtype.itemsize
    channels = chunks(x.shape[1], bytes_each, max(piece_bytes(), n * bytes_each))
    return [(group, piece) for group in range(len(x)) for piece in channels]

"""Overlapping pooling, vectorised: compare, or add, whole arrays once per position in the window.

    N images  C channels  H W  |  KH KW window  |  OH OW output
"""

import numpy as np

from tinynet.backend import array_module
from tinynet.shapes import padded_shape, pair, pool_shape, require_shape


def maxpool_forward(x, size, stride, pad=0, ceil=False):
    """Find the largest activation of each window, and where in the window it is.

    Paper    3.4, windows of z = 3 pixels, s = 2 apart: they overlap by one
    Args     x (N, C, H, W); size, stride, pad: int or (height, width), in pixels; pad is smaller
             than the window; ceil: the last window may reach past the end. Only pixels inside x
             are compared: padding is never the largest
    Returns  y (N, C, OH, OW); argmax, the same shape, unsigned integers: KW * row + column inside
             the window, in row-major order the first of several equal pixels. NaN is larger than
             any number; of several NaNs the last wins, as in PyTorch
    Raises   ShapeError
    Memory   y and argmax (a byte per output) twice, three masks of a byte per output; x again if
             padded
    Differs  Caffe and the 2012 code size with ceil, PyTorch with floor; for AlexNet's 55, 27 and 13
             all agree. PyTorch accepts a pad of at most half the window
    """
    xp = array_module(x)
    y_shape = pool_shape("maxpool_forward", x.shape, size, stride, pad, ceil)
    padded = _padded(x, -np.inf, y_shape, size, stride, pad)
    y = xp.full(y_shape, -np.inf, x.dtype)
    argmax = xp.empty(y_shape, argmax_dtype(size))
    argmax[...] = first_positions(xp, y_shape, size, stride, pad)         # wins if all is -inf
    for position, seen in enumerate(_positions(y_shape, size, stride)):
        candidate = padded[seen]                                          # (N, C, OH, OW)
        wins = (candidate > y) | xp.isnan(candidate)
        argmax = xp.where(wins, argmax.dtype.type(position), argmax)
        y = xp.maximum(y, candidate)
    return y, argmax


def maxpool_backward(dy, argmax, in_shape, size, stride, pad=0, ceil=False):
    """Add each gradient to the pixel that was the largest of its window.

    Args     dy, argmax (N, C, OH, OW); in_shape (N, C, H, W); the rest as for maxpool_forward
    Returns  dx (N, C, H, W)
    Raises   ShapeError
    Differs  on a tie the 2012 code gives the whole gradient to every largest pixel, Caffe and
             tinynet give it to the first
    """
    xp = array_module(dy)
    y_shape = pool_shape("maxpool_backward", in_shape, size, stride, pad, ceil)
    require_shape("maxpool_backward", "dy", dy.shape, y_shape)
    require_shape("maxpool_backward", "argmax", argmax.shape, y_shape)
    padded = xp.zeros(padded_shape(in_shape, y_shape[2:], size, stride, pad), dy.dtype)
    for position, seen in enumerate(_positions(y_shape, size, stride)):
        padded[seen] += xp.where(argmax == position, dy, 0)               # (N, C, OH, OW)
    return xp.ascontiguousarray(padded[_inside(in_shape, pad)])


def avgpool_forward(x, size, stride, pad=0, ceil=False):
    """Compute the mean of each window. AlexNet has no such layer; the authors' CIFAR-10 nets have.

    Args     x (N, C, H, W); size, stride, pad: int or (height, width), in pixels; pad is smaller
             than the window; ceil: the last window may reach past the end. The mean is over the
             pixels of the window that lie inside x
    Returns  y (N, C, OH, OW)
    Raises   ShapeError
    Memory   y; x again if padded
    Differs  Caffe, and PyTorch unless count_include_pad=False, count the zeros of the padding too
    """
    xp = array_module(x)
    y_shape = pool_shape("avgpool_forward", x.shape, size, stride, pad, ceil)
    padded = _padded(x, 0, y_shape, size, stride, pad)
    total = xp.zeros(y_shape, x.dtype)
    for seen in _positions(y_shape, size, stride):
        total += padded[seen]                                             # (N, C, OH, OW)
    return total / window_counts(xp, x.shape, y_shape, size, stride, pad).astype(x.dtype)


def avgpool_backward(dy, in_shape, size, stride, pad=0, ceil=False):
    """Divide each gradient evenly among the pixels of its window.

    Args     dy (N, C, OH, OW); in_shape (N, C, H, W); the rest as for avgpool_forward
    Returns  dx (N, C, H, W)
    Raises   ShapeError
    """
    xp = array_module(dy)
    y_shape = pool_shape("avgpool_backward", in_shape, size, stride, pad, ceil)
    require_shape("avgpool_backward", "dy", dy.shape, y_shape)
    counts = window_counts(xp, in_shape, y_shape, size, stride, pad)      # (OH, OW)
    share = dy / counts.astype(dy.dtype)                                  # (N, C, OH, OW)
    padded = xp.zeros(padded_shape(in_shape, y_shape[2:], size, stride, pad), dy.dtype)
    for seen in _positions(y_shape, size, stride):
        padded[seen] += share                                             # (N, C, OH, OW)
    return xp.ascontiguousarray(padded[_inside(in_shape, pad)])


def window_counts(xp, x_shape, y_shape, size, stride, pad):
    """Count the pixels of each window that lie inside x: (OH, OW) integers."""
    rows, columns = [xp.minimum(s * xp.arange(count) - p + k, length)
                     - xp.maximum(s * xp.arange(count) - p, 0)
                     for length, count, k, s, p in zip(
                         x_shape[2:], y_shape[2:], pair(size), pair(stride), pair(pad))]
    return rows[:, None] * columns


def first_positions(xp, y_shape, size, stride, pad):
    """Return the position in each window of its first pixel inside x: (OH, OW) integers."""
    rows, columns = [xp.maximum(p - s * xp.arange(count), 0)
                     for count, s, p in zip(y_shape[2:], pair(stride), pair(pad))]
    return pair(size)[1] * rows[:, None] + columns


def argmax_dtype(size):
    """Return the smallest unsigned integer type that can number the pixels of a window.

    AlexNet's windows have nine: uint8.
    """
    KH, KW = pair(size)
    return np.min_scalar_type(KH * KW - 1)


def _positions(y_shape, size, stride):
    """Yield, for each position in the window, the slice of that pixel of all windows."""
    OH, OW = y_shape[2:]
    (KH, KW), (SH, SW) = pair(size), pair(stride)
    for i in range(KH):
        for j in range(KW):
            yield slice(None), slice(None), slice(i, i + SH * OH, SH), slice(j, j + SW * OW, SW)


def _padded(x, value, y_shape, size, stride, pad):
    """Return x with `value` around it where windows reach past its edges, or x itself."""
    shape = padded_shape(x.shape, y_shape[2:], size, stride, pad)
    if shape == x.shape:
        return x
    padded = array_module(x).full(shape, value, x.dtype)
    padded[_inside(x.shape, pad)] = x
    return padded


def _inside(x_shape, pad):
    """Return the slice of a padded array that holds x."""
    (H, W), (PH, PW) = x_shape[2:], pair(pad)
    return slice(None), slice(None), slice(PH, PH + H), slice(PW, PW + W)

"""Overlapping pooling, vectorised: whole arrays are compared, or added, once per position in the window.

    N images  C channels  H W  |  KH KW window  |  OH OW output
"""

import numpy as np

from tinynet.backend import array_module
from tinynet.shapes import pair, pool_shape, require_shape


def maxpool_forward(x, size, stride, ceil=False):
    """The largest activation of each window, and where in the window it was.

    Paper    3.4, windows of z = 3 pixels, s = 2 apart: they overlap by one
    Args     x (N, C, H, W); size, stride: int or (height, width), in pixels;
             ceil: a last window may reach past the end, where it is clipped
    Returns  y (N, C, OH, OW); argmax, the same shape, unsigned integers: KW * row + column inside the window,
             the first in row-major order where several are largest. NaN goes through to y
    Raises   ShapeError
    Memory   y, argmax (a byte an output) and three temporaries of y's shape
    Differs  Caffe and the 2012 code size with ceil, PyTorch with floor; for AlexNet's 55, 27 and 13 all agree
    """
    xp = array_module(x)
    y_shape = pool_shape("maxpool_forward", x.shape, size, stride, ceil)
    H, W = x.shape[2:]
    padded_shape = _padded_shape(x.shape, y_shape, size, stride)
    padded = x
    if padded_shape != x.shape:
        padded = xp.full(padded_shape, -np.inf, x.dtype)  # never the largest: the window is clipped
        padded[:, :, :H, :W] = x
    y = xp.full(y_shape, -np.inf, x.dtype)
    argmax = xp.zeros(y_shape, argmax_dtype(size))
    for position, seen in enumerate(_positions(y_shape, size, stride)):
        candidate = padded[seen]                                          # (N, C, OH, OW)
        argmax = xp.where(candidate > y, argmax.dtype.type(position), argmax)
        y = xp.maximum(y, candidate)
    return y, argmax


def maxpool_backward(dy, argmax, in_shape, size, stride, ceil=False):
    """Send each gradient to the pixel that was largest; a pixel that won several windows adds theirs up.

    Args     dy, argmax (N, C, OH, OW); in_shape (N, C, H, W)
    Returns  dx (N, C, H, W)
    Raises   ShapeError
    Differs  on a tie the 2012 code gives the whole gradient to every winner, Caffe and we to the first
    """
    xp = array_module(dy)
    y_shape = pool_shape("maxpool_backward", in_shape, size, stride, ceil)
    H, W = in_shape[2:]
    require_shape("maxpool_backward", "dy", dy.shape, y_shape)
    require_shape("maxpool_backward", "argmax", argmax.shape, y_shape)
    padded = xp.zeros(_padded_shape(in_shape, y_shape, size, stride), dy.dtype)
    for position, seen in enumerate(_positions(y_shape, size, stride)):
        padded[seen] += xp.where(argmax == position, dy, 0)               # (N, C, OH, OW)
    return xp.ascontiguousarray(padded[:, :, :H, :W])


def avgpool_forward(x, size, stride, ceil=False):
    """The mean of each window. AlexNet has none; the authors' nets for CIFAR-10 have.

    Args     x (N, C, H, W); size, stride: int or (height, width), in pixels;
             ceil: a last window may reach past the end, where it is clipped: the mean is of the pixels inside
    Returns  y (N, C, OH, OW)
    Raises   ShapeError
    Memory   y, and x once more where windows are clipped
    """
    xp = array_module(x)
    y_shape = pool_shape("avgpool_forward", x.shape, size, stride, ceil)
    H, W = x.shape[2:]
    padded_shape = _padded_shape(x.shape, y_shape, size, stride)
    padded = x
    if padded_shape != x.shape:
        padded = xp.zeros(padded_shape, x.dtype)
        padded[:, :, :H, :W] = x
    total = xp.zeros(y_shape, x.dtype)
    for seen in _positions(y_shape, size, stride):
        total += padded[seen]                                             # (N, C, OH, OW)
    return total / window_counts(xp, x.shape, y_shape, size, stride).astype(x.dtype)


def avgpool_backward(dy, in_shape, size, stride, ceil=False):
    """Share each gradient out evenly among the pixels of its window.

    Args     dy (N, C, OH, OW); in_shape (N, C, H, W)
    Returns  dx (N, C, H, W)
    Raises   ShapeError
    """
    xp = array_module(dy)
    y_shape = pool_shape("avgpool_backward", in_shape, size, stride, ceil)
    H, W = in_shape[2:]
    require_shape("avgpool_backward", "dy", dy.shape, y_shape)
    share = dy / window_counts(xp, in_shape, y_shape, size, stride).astype(dy.dtype)  # (N, C, OH, OW)
    padded = xp.zeros(_padded_shape(in_shape, y_shape, size, stride), dy.dtype)
    for seen in _positions(y_shape, size, stride):
        padded[seen] += share                                             # (N, C, OH, OW)
    return xp.ascontiguousarray(padded[:, :, :H, :W])


def window_counts(xp, x_shape, y_shape, size, stride):
    """(OH, OW) integers: how many pixels of each window lie inside x."""
    rows, columns = [xp.minimum(k, length - s * xp.arange(count))
                     for length, count, k, s in zip(x_shape[2:], y_shape[2:], pair(size), pair(stride))]
    return rows[:, None] * columns


def argmax_dtype(size):
    """The smallest unsigned integer that can number the pixels of a window: uint8 for AlexNet's nine."""
    KH, KW = pair(size)
    return np.min_scalar_type(KH * KW - 1)


def _positions(y_shape, size, stride):
    """For each pixel of the window, in row-major order, the slice of x that holds it for all windows."""
    OH, OW = y_shape[2:]
    (KH, KW), (SH, SW) = pair(size), pair(stride)
    for i in range(KH):
        for j in range(KW):
            yield slice(None), slice(None), slice(i, i + SH * OH, SH), slice(j, j + SW * OW, SW)


def _padded_shape(x_shape, y_shape, size, stride):
    """x, longer where the last window reaches past the end."""
    (N, C, H, W), (OH, OW) = x_shape, y_shape[2:]
    (KH, KW), (SH, SW) = pair(size), pair(stride)
    return N, C, max(H, (OH - 1) * SH + KH), max(W, (OW - 1) * SW + KW)

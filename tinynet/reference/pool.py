"""Overlapping pooling, max and average, index by index.

    N images  C channels  H W  |  KH KW window  |  OH OW output
    (i, j) output pixel  (u, v) window pixel  (row, column) image pixel
"""

import math

import numpy as np

from tinynet.reference.limit import require_small
from tinynet.shapes import pair, pool_shape, require_shape


def maxpool_forward(x, size, stride, pad=0, ceil=False):
    """Find the largest activation of each window, and where in the window it is.

    Paper    3.4  y[i, j] = max_u,v x[i * S + u - P, j * S + v - P], over the part of the window
             that lies inside x; S stride, P pad
    Args     x (N, C, H, W); size, stride, pad: int or (height, width), in pixels; pad is smaller
             than the window; ceil: the last window may reach past the end
    Returns  y (N, C, OH, OW); argmax, the same shape, unsigned integers: KW * u + v, of several
             equal pixels the first. NaN is larger than any number, of several NaNs the last wins
    Raises   ShapeError; ValueError where it would take too long
    """
    N, C, OH, OW = pool_shape("maxpool_forward", x.shape, size, stride, pad, ceil)
    H, W = x.shape[2:]
    (KH, KW), (SH, SW), (PH, PW) = pair(size), pair(stride), pair(pad)
    require_small("maxpool_forward", N * C * OH * OW * KH * KW, "window visits")
    y = np.empty((N, C, OH, OW), x.dtype)
    argmax = np.empty((N, C, OH, OW), np.min_scalar_type(KH * KW - 1))
    for image in range(N):
        for c in range(C):
            for i in range(OH):
                for j in range(OW):
                    largest, position = None, None
                    for u in range(KH):
                        for v in range(KW):
                            row, column = i * SH + u - PH, j * SW + v - PW
                            if 0 <= row < H and 0 <= column < W:
                                value = x[image, c, row, column]
                                if largest is None or value > largest or math.isnan(value):
                                    largest, position = value, KW * u + v
                    y[image, c, i, j] = largest
                    argmax[image, c, i, j] = position
    return y, argmax


def maxpool_backward(dy, argmax, in_shape, size, stride, pad=0, ceil=False):
    """Add each gradient to the pixel that was the largest of its window.

    Formula  dx[i * S + u - P, j * S + v - P] += dy[i, j], (u, v) from argmax[i, j] = KW * u + v
    Args     dy, argmax (N, C, OH, OW); in_shape (N, C, H, W); the rest as for maxpool_forward
    Returns  dx (N, C, H, W)
    Raises   ShapeError; ValueError where it would take too long
    """
    N, C, OH, OW = pool_shape("maxpool_backward", in_shape, size, stride, pad, ceil)
    require_shape("maxpool_backward", "dy", dy.shape, (N, C, OH, OW))
    require_shape("maxpool_backward", "argmax", argmax.shape, (N, C, OH, OW))
    (_, KW), (SH, SW), (PH, PW) = pair(size), pair(stride), pair(pad)
    require_small("maxpool_backward", N * C * OH * OW, "windows")
    dx = np.zeros(in_shape, dy.dtype)
    for image in range(N):
        for c in range(C):
            for i in range(OH):
                for j in range(OW):
                    u, v = divmod(int(argmax[image, c, i, j]), KW)
                    dx[image, c, i * SH + u - PH, j * SW + v - PW] += dy[image, c, i, j]
    return dx


def avgpool_forward(x, size, stride, pad=0, ceil=False):
    """Compute the mean of each window.

    Formula  y[i, j] = sum_u,v x[i * S + u - P, j * S + v - P] / count[i, j], over the count[i, j]
             pixels of the window that lie inside x; S stride, P pad
    Args     x (N, C, H, W); size, stride, pad: int or (height, width), in pixels; pad is smaller
             than the window; ceil: the last window may reach past the end
    Returns  y (N, C, OH, OW)
    Raises   ShapeError; ValueError where it would take too long
    """
    N, C, OH, OW = pool_shape("avgpool_forward", x.shape, size, stride, pad, ceil)
    H, W = x.shape[2:]
    (KH, KW), (SH, SW), (PH, PW) = pair(size), pair(stride), pair(pad)
    require_small("avgpool_forward", N * C * OH * OW * KH * KW, "window visits")
    y = np.empty((N, C, OH, OW), x.dtype)
    for image in range(N):
        for c in range(C):
            for i in range(OH):
                for j in range(OW):
                    total, count = x.dtype.type(0), 0
                    for u in range(KH):
                        for v in range(KW):
                            row, column = i * SH + u - PH, j * SW + v - PW
                            if 0 <= row < H and 0 <= column < W:
                                total += x[image, c, row, column]
                                count += 1
                    y[image, c, i, j] = total / count
    return y


def avgpool_backward(dy, in_shape, size, stride, pad=0, ceil=False):
    """Divide each gradient evenly among the pixels of its window.

    Formula  dx[i * S + u - P, j * S + v - P] += dy[i, j] / count[i, j], for the count[i, j] pixels
             (u, v) of the window that lie inside x
    Args     dy (N, C, OH, OW); in_shape (N, C, H, W); the rest as for avgpool_forward
    Returns  dx (N, C, H, W)
    Raises   ShapeError; ValueError where it would take too long
    """
    N, C, OH, OW = pool_shape("avgpool_backward", in_shape, size, stride, pad, ceil)
    require_shape("avgpool_backward", "dy", dy.shape, (N, C, OH, OW))
    _, _, H, W = in_shape
    (KH, KW), (SH, SW), (PH, PW) = pair(size), pair(stride), pair(pad)
    require_small("avgpool_backward", N * C * OH * OW * KH * KW, "window visits")
    dx = np.zeros(in_shape, dy.dtype)
    for image in range(N):
        for c in range(C):
            for i in range(OH):
                for j in range(OW):
                    top, left = i * SH - PH, j * SW - PW
                    rows = range(max(0, top), min(top + KH, H))
                    columns = range(max(0, left), min(left + KW, W))
                    for row in rows:
                        for column in columns:
                            share = dy[image, c, i, j] / (len(rows) * len(columns))
                            dx[image, c, row, column] += share
    return dx

"""Overlapping pooling, max and average, index by index.

    N images  C channels  H W  |  KH KW window  |  OH OW output
    (i, j) output pixel  (u, v) window pixel  (row, column) image pixel
"""

import math

import numpy as np

from tinynet.reference.limit import require_small
from tinynet.shapes import pair, pool_shape, require_shape


def maxpool_forward(x, size, stride, ceil=False):
    """The largest activation of each window, and where in the window it was.

    Paper    3.4  y[i, j] = max_u,v x[i * stride + u, j * stride + v], over the part of the window inside x
    Args     x (N, C, H, W); size, stride: int or (height, width), in pixels; ceil: the last window may be clipped
    Returns  y (N, C, OH, OW); argmax, the same shape, unsigned integers: KW * u + v, the first of equals
    Raises   ShapeError; ValueError where it would take too long
    """
    N, C, OH, OW = pool_shape("maxpool_forward", x.shape, size, stride, ceil)
    H, W = x.shape[2:]
    (KH, KW), (SH, SW) = pair(size), pair(stride)
    require_small("maxpool_forward", N * C * OH * OW * KH * KW, "window visits")
    y = np.empty((N, C, OH, OW), x.dtype)
    argmax = np.empty((N, C, OH, OW), np.min_scalar_type(KH * KW - 1))
    for image in range(N):
        for c in range(C):
            for i in range(OH):
                for j in range(OW):
                    largest, position = -math.inf, 0
                    for u in range(KH):
                        for v in range(KW):
                            row, column = i * SH + u, j * SW + v
                            if row < H and column < W:
                                value = x[image, c, row, column]
                                if value > largest or math.isnan(value):  # nothing is larger than NaN: it goes through
                                    largest, position = value, KW * u + v
                    y[image, c, i, j] = largest
                    argmax[image, c, i, j] = position
    return y, argmax


def maxpool_backward(dy, argmax, in_shape, size, stride, ceil=False):
    """Send each gradient to the pixel that was largest; a pixel that won several windows adds theirs up.

    Formula  dx[i * stride + u, j * stride + v] += dy[i, j], (u, v) from argmax[i, j] = KW * u + v
    Args     dy, argmax (N, C, OH, OW); in_shape (N, C, H, W)
    Returns  dx (N, C, H, W)
    Raises   ShapeError; ValueError where it would take too long
    """
    N, C, OH, OW = pool_shape("maxpool_backward", in_shape, size, stride, ceil)
    require_shape("maxpool_backward", "dy", dy.shape, (N, C, OH, OW))
    require_shape("maxpool_backward", "argmax", argmax.shape, (N, C, OH, OW))
    (_, KW), (SH, SW) = pair(size), pair(stride)
    require_small("maxpool_backward", N * C * OH * OW, "windows")
    dx = np.zeros(in_shape, dy.dtype)
    for image in range(N):
        for c in range(C):
            for i in range(OH):
                for j in range(OW):
                    u, v = divmod(int(argmax[image, c, i, j]), KW)
                    dx[image, c, i * SH + u, j * SW + v] += dy[image, c, i, j]
    return dx


def avgpool_forward(x, size, stride, ceil=False):
    """The mean of each window.

    Formula  y[i, j] = sum_u,v x[i * stride + u, j * stride + v] / count[i, j], over the part of the window inside x,
             which has count[i, j] pixels
    Args     x (N, C, H, W); size, stride: int or (height, width), in pixels; ceil: the last window may be clipped
    Returns  y (N, C, OH, OW)
    Raises   ShapeError; ValueError where it would take too long
    """
    N, C, OH, OW = pool_shape("avgpool_forward", x.shape, size, stride, ceil)
    H, W = x.shape[2:]
    (KH, KW), (SH, SW) = pair(size), pair(stride)
    require_small("avgpool_forward", N * C * OH * OW * KH * KW, "window visits")
    y = np.empty((N, C, OH, OW), x.dtype)
    for image in range(N):
        for c in range(C):
            for i in range(OH):
                for j in range(OW):
                    total, count = x.dtype.type(0), 0
                    for u in range(KH):
                        for v in range(KW):
                            row, column = i * SH + u, j * SW + v
                            if row < H and column < W:
                                total += x[image, c, row, column]
                                count += 1
                    y[image, c, i, j] = total / count
    return y


def avgpool_backward(dy, in_shape, size, stride, ceil=False):
    """Share each gradient out evenly among the pixels of its window.

    Formula  dx[i * stride + u, j * stride + v] += dy[i, j] / count[i, j], for all (u, v) of the window inside x
    Args     dy (N, C, OH, OW); in_shape (N, C, H, W)
    Returns  dx (N, C, H, W)
    Raises   ShapeError; ValueError where it would take too long
    """
    N, C, OH, OW = pool_shape("avgpool_backward", in_shape, size, stride, ceil)
    require_shape("avgpool_backward", "dy", dy.shape, (N, C, OH, OW))
    _, _, H, W = in_shape
    (KH, KW), (SH, SW) = pair(size), pair(stride)
    require_small("avgpool_backward", N * C * OH * OW * KH * KW, "window visits")
    dx = np.zeros(in_shape, dy.dtype)
    for image in range(N):
        for c in range(C):
            for i in range(OH):
                for j in range(OW):
                    rows = range(i * SH, min(i * SH + KH, H))
                    columns = range(j * SW, min(j * SW + KW, W))
                    for row in rows:
                        for column in columns:
                            dx[image, c, row, column] += dy[image, c, i, j] / (len(rows) * len(columns))
    return dx

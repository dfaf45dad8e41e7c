"""Launchers of pool.cu.   N images  C channels  H W  |  OH OW output"""

import numpy as np

from tinynet.backend import contiguous
from tinynet.cuda.kernels import (
    SHARED_LIMIT,
    THREADS,
    launch_blocks,
    launch_each,
    new_like,
    require_arrays,
    require_on_gpu,
)
from tinynet.ops.pool import argmax_dtype
from tinynet.shapes import ceil_div, pair, pool_shape, require_shape

BYTE = np.dtype(np.uint8)  # the smallest type of an argmax; average pooling has none
ALEXNET = 3, 3, 2, 2, 0, 0  # KH, KW, SH, SW, PH, PW for which there is a version 3 of max-pooling


def maxpool_forward(x, size, stride, pad=0, ceil=False):
    """Do what ops.maxpool_forward does."""
    y_shape = pool_shape("maxpool_forward", x.shape, size, stride, pad, ceil)
    x, = require_arrays("maxpool_forward", x=x)
    y, argmax = new_like(x, y_shape), new_like(x, y_shape, argmax_dtype(size))
    sizes = _sizes(x.shape, y_shape, size, stride, pad)
    shared = x.itemsize * x.shape[2] * x.shape[3]
    _launch("maxpool_forward", x.shape, y, shared, x, y, argmax, *sizes, position=argmax.dtype)
    return y, argmax


def maxpool_backward(dy, argmax, in_shape, size, stride, pad=0, ceil=False):
    """Do what ops.maxpool_backward does."""
    y_shape = pool_shape("maxpool_backward", in_shape, size, stride, pad, ceil)
    require_shape("maxpool_backward", "dy", dy.shape, y_shape)
    require_shape("maxpool_backward", "argmax", argmax.shape, y_shape)
    dy, = require_arrays("maxpool_backward", dy=dy)
    require_on_gpu("maxpool_backward", "argmax", argmax)
    argmax = contiguous(argmax)
    dx = new_like(dy, in_shape)
    sizes = _sizes(in_shape, y_shape, size, stride, pad)
    shared = (dy.itemsize + argmax.itemsize) * y_shape[2] * y_shape[3]
    _launch("maxpool_backward", in_shape, dx, shared, dy, argmax, dx, *sizes, position=argmax.dtype)
    return dx


def avgpool_forward(x, size, stride, pad=0, ceil=False):
    """Do what ops.avgpool_forward does."""
    y_shape = pool_shape("avgpool_forward", x.shape, size, stride, pad, ceil)
    x, = require_arrays("avgpool_forward", x=x)
    y = new_like(x, y_shape)
    sizes = _sizes(x.shape, y_shape, size, stride, pad)
    shared = x.itemsize * x.shape[2] * x.shape[3]
    _launch("avgpool_forward", x.shape, y, shared, x, y, *sizes)
    return y


def avgpool_backward(dy, in_shape, size, stride, pad=0, ceil=False):
    """Do what ops.avgpool_backward does."""
    y_shape = pool_shape("avgpool_backward", in_shape, size, stride, pad, ceil)
    require_shape("avgpool_backward", "dy", dy.shape, y_shape)
    dy, = require_arrays("avgpool_backward", dy=dy)
    dx = new_like(dy, in_shape)
    sizes = _sizes(in_shape, y_shape, size, stride, pad)
    shared = dy.itemsize * y_shape[2] * y_shape[3]
    _launch("avgpool_backward", in_shape, dx, shared, dy, dx, *sizes)
    return dx


def _sizes(x_shape, y_shape, size, stride, pad):
    """Return the kernels' numbers: H, W, OH, OW, KH, KW, SH, SW, PH, PW."""
    return *x_shape[2:], *y_shape[2:], *pair(size), *pair(stride), *pair(pad)


def _launch(kernel, x_shape, result, shared, *arguments, position=BYTE):
    """Launch the newest version of a kernel that can compute these shapes.

    Version 3 exists for some windows only. Version 2 needs shared memory for a map; where a map
    does not fit, version 1 is launched.
    """
    position, maps = _C_NAMES[position], x_shape[0] * x_shape[1]
    if kernel.startswith("max") and arguments[-6:] == ALEXNET:
        H, W = result.shape[2:]
        threads = result.size if kernel == "maxpool_forward" else (
            maps * ceil_div(H, 2) * ceil_div(W, 2))  # backward: squares of 2 x 2 pixels
        launch_each("pool", f"{kernel}_3", threads, *arguments[:-6], position=position)
    elif shared > SHARED_LIMIT:
        launch_each("pool", f"{kernel}_1", result.size, *arguments, position=position)
    else:
        launch_blocks("pool", f"{kernel}_2", maps, THREADS, *arguments,
                      shared=shared, position=position)


_C_NAMES = {np.dtype(np.uint8): "unsigned char", np.dtype(np.uint16): "unsigned short",
            np.dtype(np.uint32): "unsigned int"}

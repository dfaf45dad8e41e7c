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
from tinynet.shapes import pair, pool_shape, require_shape

VERSION = 2  # of the kernels in pool.cu; 1: one thread per output, 2: one block per map


def maxpool_forward(x, size, stride, ceil=False):
    """As ops.maxpool_forward."""
    y_shape = pool_shape("maxpool_forward", x.shape, size, stride, ceil)
    x, = require_arrays("maxpool_forward", x=x)
    y, argmax = new_like(x, y_shape), new_like(x, y_shape, argmax_dtype(size))
    sizes = *x.shape[2:], *y_shape[2:], *pair(size), *pair(stride)
    _launch("maxpool_forward", x.shape, y, x.itemsize * x.shape[2] * x.shape[3], argmax.dtype, x, y, argmax, *sizes)
    return y, argmax


def maxpool_backward(dy, argmax, in_shape, size, stride, ceil=False):
    """As ops.maxpool_backward."""
    y_shape = pool_shape("maxpool_backward", in_shape, size, stride, ceil)
    require_shape("maxpool_backward", "dy", dy.shape, y_shape)
    require_shape("maxpool_backward", "argmax", argmax.shape, y_shape)
    dy, = require_arrays("maxpool_backward", dy=dy)
    require_on_gpu("maxpool_backward", "argmax", argmax)
    argmax = contiguous(argmax)
    dx = new_like(dy, in_shape)
    sizes = *in_shape[2:], *y_shape[2:], *pair(size), *pair(stride)
    shared = (dy.itemsize + argmax.itemsize) * y_shape[2] * y_shape[3]
    _launch("maxpool_backward", in_shape, dx, shared, argmax.dtype, dy, argmax, dx, *sizes)
    return dx


def avgpool_forward(x, size, stride, ceil=False):
    """As ops.avgpool_forward."""
    y_shape = pool_shape("avgpool_forward", x.shape, size, stride, ceil)
    x, = require_arrays("avgpool_forward", x=x)
    y = new_like(x, y_shape)
    sizes = *x.shape[2:], *y_shape[2:], *pair(size), *pair(stride)
    _launch("avgpool_forward", x.shape, y, x.itemsize * x.shape[2] * x.shape[3], np.dtype(np.uint8), x, y, *sizes)
    return y


def avgpool_backward(dy, in_shape, size, stride, ceil=False):
    """As ops.avgpool_backward."""
    y_shape = pool_shape("avgpool_backward", in_shape, size, stride, ceil)
    require_shape("avgpool_backward", "dy", dy.shape, y_shape)
    dy, = require_arrays("avgpool_backward", dy=dy)
    dx = new_like(dy, in_shape)
    sizes = *in_shape[2:], *y_shape[2:], *pair(size), *pair(stride)
    _launch("avgpool_backward", in_shape, dx, dy.itemsize * y_shape[2] * y_shape[3], np.dtype(np.uint8), dy, dx, *sizes)
    return dx


def _launch(kernel, x_shape, result, shared, position, *arguments):
    """A map that does not fit into shared memory is left to version 1."""
    if VERSION == 1 or shared > SHARED_LIMIT:
        launch_each("pool", f"{kernel}_1", result.size, *arguments, position=_C_NAMES[position])
    else:
        launch_blocks("pool", f"{kernel}_2", x_shape[0] * x_shape[1], THREADS, *arguments, shared=shared,
                      position=_C_NAMES[position])


_C_NAMES = {np.dtype(np.uint8): "unsigned char", np.dtype(np.uint16): "unsigned short",
            np.dtype(np.uint32): "unsigned int"}

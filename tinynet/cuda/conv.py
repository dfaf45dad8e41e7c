"""Launchers of conv.cu, and the matrix products between its kernels.

    N images  C channels  H W  |  K kernels  KH KW  |  OH OW output  |  G groups
    M images of one piece of the batch
"""

import math

import numpy as np

from tinynet.backend import array_module
from tinynet.cuda import implicit
from tinynet.cuda.kernels import THREADS, launch_blocks, launch_strided, new_like, require_arrays
from tinynet.shapes import ceil_div, conv2d_shape, pair, require_shape, windows_shape

COLUMN_BYTES = 1 << 28  # columns of one piece of the batch: large, so that products are few

# Numbers of kernels of a group with which convolution is faster without columns, in float32 and in
# TF32. Measured on an H200 at AlexNet's shapes: conv1 has 96 kernels, the others 128 to 384. Below
# 65, half of a tile of implicit.cu would be empty.
FASTER_WITHOUT = {"forward": (range(0), range(65, 128)), "dw": (range(65, 128), range(65, 128)),
                  "dw and dx": (range(0), range(0))}


def conv2d_forward(x, w, b, stride, pad, groups, ceil=False):
    """Do what ops.conv2d_forward does, by columns or, where that is faster, without."""
    version = _version_without_columns("forward", w, groups)
    if version is None:
        return forward_by_columns(x, w, b, stride, pad, groups, ceil)
    return implicit.conv2d_forward(x, w, b, stride, pad, groups, ceil, version)


def conv2d_backward(dy, x, w, stride, pad, groups, ceil=False, need_dx=True):
    """Do what ops.conv2d_backward does, by columns or, where that is faster, without."""
    version = _version_without_columns("dw and dx" if need_dx else "dw", w, groups)
    if version is None:
        return backward_by_columns(dy, x, w, stride, pad, groups, ceil, need_dx)
    return implicit.conv2d_backward(dy, x, w, stride, pad, groups, ceil, need_dx, version)


def _version_without_columns(work, w, groups):
    """Return the version of implicit.cu that is faster than columns here, or None."""
    tf32 = implicit.multiplies_in_tf32(w)
    if w.dtype == np.float32 and len(w) // groups in FASTER_WITHOUT[work][tf32]:
        return implicit.FASTEST[tf32]
    return None


def forward_by_columns(x, w, b, stride, pad, groups, ceil=False):
    """Copy windows into columns and multiply, piece by piece.

    Memory   y, the columns of one piece of the batch (256 MiB, or one image), and their product
    """
    y_shape = conv2d_shape("conv2d_forward", x.shape, w.shape, stride, pad, groups, ceil)
    N, K, OH, OW = y_shape
    require_shape("conv2d_forward", "b", b.shape, (K,))
    x, w, b = require_arrays("conv2d_forward", x=x, w=w, b=b)
    y = new_like(x, y_shape)
    kernels = w.reshape(groups, K // groups, -1)                          # (G, K/G, C/G*KH*KW)
    for piece in _pieces(x, w, OH * OW, groups):
        images = x[piece]                                                 # (M, C, H, W)
        cols = _im2col(images, w.shape[2:], (OH, OW), stride, pad)      # (C*KH*KW, M*OH*OW)
        product = new_like(x, (K, cols.shape[1]))                         # (K, M*OH*OW)
        _multiply(kernels, _by_group(cols, groups), _by_group(product, groups))
        launch_blocks("conv", "place_product_3", len(images) * K, THREADS,
                      product, b, y[piece], len(images), K, OH * OW)
    return y


def backward_by_columns(dy, x, w, stride, pad, groups, ceil=False, need_dx=True):
    """Write the columns again, multiply, and add the gradients of windows that overlap.

    Memory   dx, the columns of one piece of the batch, and dy of that piece
    """
    y_shape = conv2d_shape("conv2d_backward", x.shape, w.shape, stride, pad, groups, ceil)
    N, K, OH, OW = y_shape
    require_shape("conv2d_backward", "dy", dy.shape, y_shape)
    dy, x, w = require_arrays("conv2d_backward", dy=dy, x=x, w=w)
    dx = new_like(x) if need_dx else None
    kernels = w.reshape(groups, K // groups, -1)                          # (G, K/G, C/G*KH*KW)
    dkernels = array_module(w).zeros_like(kernels)                        # (G, K/G, C/G*KH*KW)
    for piece in _pieces(x, w, OH * OW, groups):
        images = x[piece]                                                 # (M, C, H, W)
        cols = _im2col(images, w.shape[2:], (OH, OW), stride, pad)      # (C*KH*KW, M*OH*OW)
        dproduct = new_like(dy, (K, cols.shape[1]))                       # (K, M*OH*OW)
        launch_blocks("conv", "lay_out_like_product_3", len(images) * K, THREADS,
                      dy[piece], dproduct, len(images), K, OH * OW)
        group_cols, group_dproduct = _by_group(cols, groups), _by_group(dproduct, groups)
        for q in range(groups):
            dkernels[q] += group_dproduct[q] @ group_cols[q].T            # (K/G, C/G*KH*KW)
        if need_dx:  # the columns are no longer needed: their gradient overwrites them
            _multiply(kernels.transpose(0, 2, 1), group_dproduct, group_cols)
            _col2im(cols, dx[piece], w.shape[2:], (OH, OW), stride, pad)
    return dx, dkernels.reshape(w.shape), implicit.gradient_of_b(dy)


def im2col(x, kh, kw, stride, pad, ceil=False):
    """Do what ops.im2col does."""
    windows = windows_shape("im2col", x.shape, (kh, kw), stride, pad, ceil)
    x, = require_arrays("im2col", x=x)
    return _im2col(x, (kh, kw), windows, stride, pad)


def col2im(cols, in_shape, kh, kw, stride, pad, ceil=False):
    """Do what ops.col2im does."""
    windows = windows_shape("col2im", in_shape, (kh, kw), stride, pad, ceil)
    cols, = require_arrays("col2im", cols=cols)
    size = math.prod(in_shape[:2]) * kh * kw * math.prod(windows)
    require_shape("col2im", "cols", (cols.size,), (size,))
    x = new_like(cols, in_shape)
    _col2im(cols, x, (kh, kw), windows, stride, pad)
    return x


def _im2col(x, kernel, windows, stride, pad):
    N, C = x.shape[:2]
    cols = new_like(x, (C * math.prod(kernel), N * math.prod(windows)))
    launch_strided("conv", "im2col_2", N * C * math.prod(windows), x, cols,
                   *x.shape, *kernel, *windows, *pair(stride), *pair(pad))
    return cols


def _col2im(cols, x, kernel, windows, stride, pad):
    launch_strided("conv", "col2im_2", x.size, cols, x,
                   *x.shape, *kernel, *windows, *pair(stride), *pair(pad))


def _multiply(a, b, out):
    """Compute out[q] = a[q] b[q] for each group q.

    One product over all groups would make CuPy copy the matrices that are transposed.
    """
    for q in range(len(out)):
        array_module(a).matmul(a[q], b[q], out=out[q])


def _by_group(matrix, groups):
    return matrix.reshape(groups, -1, matrix.shape[1])


def _pieces(x, w, positions, groups):
    """Cut the batch into slices of at least one image, whose columns take at most COLUMN_BYTES.

    The slices are about even, and of a multiple of 4 images where they can be: rows of the columns
    then begin at multiples of 16 bytes, without which cuBLAS does not use its tensor cores.
    """
    N, (_, CG, KH, KW) = x.shape[0], w.shape
    column_bytes = CG * groups * KH * KW * positions * x.itemsize  # of one image
    most = max(1, COLUMN_BYTES // max(1, column_bytes))
    step = 4 if most >= 4 else 1
    count = max(1, ceil_div(N, most // step * step))
    M = max(1, ceil_div(ceil_div(N, count), step) * step)
    return [slice(start, start + M) for start in range(0, N, M)]

"""Convolution, index by index.

    N images  C channels  H W  |  K kernels  KH KW  |  OH OW output
    G groups  CG channels of one group  |  S stride  P pad
    o kernel  q its group  c channel of the group
    (i, j) output pixel  (u, v) kernel pixel  (row, column) image pixel
"""

import numpy as np

from tinynet.reference.limit import require_small
from tinynet.shapes import conv2d_shape, pair, require_shape, windows_shape


def conv2d_forward(x, w, b, stride, pad, groups, ceil=False):
    """Lay each kernel over each window of x, multiply pixel by pixel, add up. Flip no kernel.

    Paper    3.5  y[o, i, j] = b[o] + sum_c,u,v w[o, c, u, v] * x[q * CG + c, row, column],
             row = i * S + u - P, column = j * S + v - P; x is 0 past its edges
    Args     x (N, C, H, W); w (K, C/G, KH, KW); b (K,); stride, pad: int or (height, width), in
             pixels; ceil: the last window may reach past the end
    Returns  y (N, K, OH, OW)
    Raises   ShapeError; ValueError where it would take too long
    """
    N, K, OH, OW = conv2d_shape("conv2d_forward", x.shape, w.shape, stride, pad, groups, ceil)
    require_shape("conv2d_forward", "b", b.shape, (K,))
    H, W = x.shape[2:]
    CG, KH, KW = w.shape[1:]
    (SH, SW), (PH, PW) = pair(stride), pair(pad)
    require_small("conv2d_forward", N * K * OH * OW * CG * KH * KW)
    y = np.empty((N, K, OH, OW), x.dtype)
    for image in range(N):
        for o in range(K):
            q = o // (K // groups)  # the group of this kernel
            for i in range(OH):
                for j in range(OW):
                    total = b[o]
                    for c in range(CG):
                        for u in range(KH):
                            for v in range(KW):
                                row, column = i * SH + u - PH, j * SW + v - PW
                                if 0 <= row < H and 0 <= column < W:
                                    pixel = x[image, q * CG + c, row, column]
                                    total = total + w[o, c, u, v] * pixel
                    y[image, o, i, j] = total
    return y


def conv2d_backward(dy, x, w, stride, pad, groups, ceil=False, need_dx=True):
    """Visit each product w * x of y again: add dy * x to the gradient of w, dy * w to that of x.

    Formula  dw[o, c, u, v] = sum dy[o, i, j] * x[q * CG + c, row, column];
             dx[q * CG + c, row, column] = sum dy[o, i, j] * w[o, c, u, v];
             db[o] = sum dy[o, i, j]; each sum over all products in which the number is a factor
    Args     dy (N, K, OH, OW); the rest as for conv2d_forward; need_dx=False for the first layer
    Returns  dx (N, C, H, W) or None, dw like w, db (K,); each summed over the batch
    Raises   ShapeError; ValueError where it would take too long
    """
    N, K, OH, OW = conv2d_shape("conv2d_backward", x.shape, w.shape, stride, pad, groups, ceil)
    require_shape("conv2d_backward", "dy", dy.shape, (N, K, OH, OW))
    H, W = x.shape[2:]
    CG, KH, KW = w.shape[1:]
    (SH, SW), (PH, PW) = pair(stride), pair(pad)
    require_small("conv2d_backward", N * K * OH * OW * CG * KH * KW * (2 if need_dx else 1))
    dx = np.zeros(x.shape, x.dtype) if need_dx else None
    dw = np.zeros(w.shape, w.dtype)
    db = np.zeros(K, dy.dtype)
    for image in range(N):
        for o in range(K):
            q = o // (K // groups)
            for i in range(OH):
                for j in range(OW):
                    db[o] += dy[image, o, i, j]
                    for c in range(CG):
                        for u in range(KH):
                            for v in range(KW):
                                row, column = i * SH + u - PH, j * SW + v - PW
                                if 0 <= row < H and 0 <= column < W:
                                    pixel = image, q * CG + c, row, column
                                    dw[o, c, u, v] += dy[image, o, i, j] * x[pixel]
                                    if need_dx:
                                        dx[pixel] += dy[image, o, i, j] * w[o, c, u, v]
    return dx, dw, db


def im2col(x, kh, kw, stride, pad, ceil=False):
    """Copy every window of x into a column, with which `ops` makes convolution a matrix product.

    Formula  cols[(c, u, v), (image, i, j)] = x[image, c, i * S + u - P, j * S + v - P],
             0 past the edges
    Args     x (N, C, H, W); kh, kw: the window, in pixels
    Returns  cols (C*KH*KW, N*OH*OW), both axes numbered in row-major order
    """
    OH, OW = windows_shape("im2col", x.shape, (kh, kw), stride, pad, ceil)
    N, C, H, W = x.shape
    (SH, SW), (PH, PW) = pair(stride), pair(pad)
    require_small("im2col", N * C * OH * OW * kh * kw, "copies")
    cols = np.zeros((C * kh * kw, N * OH * OW), x.dtype)
    for c in range(C):
        for u in range(kh):
            for v in range(kw):
                for image in range(N):
                    for i in range(OH):
                        for j in range(OW):
                            row, column = i * SH + u - PH, j * SW + v - PW
                            if 0 <= row < H and 0 <= column < W:
                                place = (c * kh + u) * kw + v, (image * OH + i) * OW + j
                                cols[place] = x[image, c, row, column]
    return cols


def col2im(cols, in_shape, kh, kw, stride, pad, ceil=False):
    """Reverse im2col: add up all copies of each pixel.

    Formula  x[image, c, i * S + u - P, j * S + v - P] += cols[(c, u, v), (image, i, j)]
    Args     cols, C*KH*KW rows and N*OH*OW columns; in_shape (N, C, H, W)
    Returns  x (N, C, H, W)
    """
    OH, OW = windows_shape("col2im", in_shape, (kh, kw), stride, pad, ceil)
    N, C, H, W = in_shape
    (SH, SW), (PH, PW) = pair(stride), pair(pad)
    require_small("col2im", N * C * OH * OW * kh * kw, "additions")
    cols = cols.reshape(C * kh * kw, N * OH * OW)  # `ops` passes them as (G, C/G*KH*KW, N*OH*OW)
    x = np.zeros(in_shape, cols.dtype)
    for c in range(C):
        for u in range(kh):
            for v in range(kw):
                for image in range(N):
                    for i in range(OH):
                        for j in range(OW):
                            row, column = i * SH + u - PH, j * SW + v - PW
                            if 0 <= row < H and 0 <= column < W:
                                place = (c * kh + u) * kw + v, (image * OH + i) * OW + j
                                x[image, c, row, column] += cols[place]
    return x

"""Convolution, vectorised: copy the windows into columns, then one matrix product per group.

    N images  C channels  H W  |  K kernels  KH KW  |  OH OW output  |  G groups
    M images of one piece of the batch
"""

from tinynet.backend import array_module
from tinynet.shapes import conv2d_shape, padded_shape, pair, require_shape, windows_shape

COLUMN_BYTES = 1 << 25  # columns of one piece; for a whole batch of 128 they would take 2.1 GiB


def conv2d_forward(x, w, b, stride, pad, groups, ceil=False):
    """Slide K kernels over x: y[o, i, j] = b[o] + sum of w[o] * the window of x at (i, j).

    Paper    3.5; a kernel of group q sees only the channels of group q, as the maps of one GPU did.
             No kernel is flipped
    Args     x (N, C, H, W); w (K, C/G, KH, KW); b (K,); stride, pad: int or (height, width), in
             pixels; ceil: the last window may reach past the end and reads zeros there
    Returns  y (N, K, OH, OW)
    Raises   ShapeError
    Memory   y, and the columns of one piece of the batch: 32 MiB or one image
    Differs  the 2012 code sizes with ceil, Caffe and PyTorch with floor
    """
    xp = array_module(x)
    y_shape = conv2d_shape("conv2d_forward", x.shape, w.shape, stride, pad, groups, ceil)
    N, K, OH, OW = y_shape
    require_shape("conv2d_forward", "b", b.shape, (K,))
    KH, KW = w.shape[2:]
    kernels = w.reshape(groups, K // groups, -1)                          # (G, K/G, C/G*KH*KW)
    y = xp.empty(y_shape, x.dtype)
    for piece in _pieces(x, w, OH * OW, groups):
        cols = im2col(x[piece], KH, KW, stride, pad, ceil)                # (C*KH*KW, M*OH*OW)
        cols = cols.reshape(groups, -1, cols.shape[1])                    # (G, C/G*KH*KW, M*OH*OW)
        product = xp.matmul(kernels, cols)                                # (G, K/G, M*OH*OW)
        y[piece] = product.reshape(K, -1, OH, OW).transpose(1, 0, 2, 3)   # (M, K, OH, OW)
    y += b.reshape(K, 1, 1)
    return y


def conv2d_backward(dy, x, w, stride, pad, groups, ceil=False, need_dx=True):
    """Compute the three gradients of conv2d_forward.

    Args     dy (N, K, OH, OW); the rest as for conv2d_forward; need_dx=False for the first layer
    Returns  dx (N, C, H, W) or None, dw like w, db (K,); each summed over the batch
    Raises   ShapeError
    Memory   dx, and twice the columns of one piece: they are computed again, not saved
    """
    xp = array_module(x)
    y_shape = conv2d_shape("conv2d_backward", x.shape, w.shape, stride, pad, groups, ceil)
    N, K, OH, OW = y_shape
    require_shape("conv2d_backward", "dy", dy.shape, y_shape)
    KH, KW = w.shape[2:]
    kernels = w.reshape(groups, K // groups, -1)                          # (G, K/G, C/G*KH*KW)
    dkernels = xp.zeros_like(kernels)                                     # (G, K/G, C/G*KH*KW)
    dx = xp.empty(x.shape, x.dtype) if need_dx else None
    for piece in _pieces(x, w, OH * OW, groups):
        cols = im2col(x[piece], KH, KW, stride, pad, ceil)                # (C*KH*KW, M*OH*OW)
        cols = cols.reshape(groups, -1, cols.shape[1])                    # (G, C/G*KH*KW, M*OH*OW)
        dproduct = dy[piece].transpose(1, 0, 2, 3)                        # (K, M, OH, OW)
        dproduct = dproduct.reshape(groups, K // groups, -1)              # (G, K/G, M*OH*OW)
        dkernels += xp.matmul(dproduct, cols.transpose(0, 2, 1))          # (G, K/G, C/G*KH*KW)
        if need_dx:
            dcols = xp.matmul(kernels.transpose(0, 2, 1), dproduct)       # (G, C/G*KH*KW, M*OH*OW)
            dx[piece] = col2im(dcols, x[piece].shape, KH, KW, stride, pad, ceil)
    db = dy.reshape(N, K, OH * OW).sum(axis=2).sum(axis=0)                # (K,)
    return dx, dkernels.reshape(w.shape), db


def im2col(x, kh, kw, stride, pad, ceil=False):
    """Copy every window of x into a column, so that a convolution becomes a matrix product.

    Args     x (N, C, H, W); kh, kw: the window, in pixels
    Returns  cols (C*KH*KW, N*OH*OW), one row for each pixel of the window, one column for each
             window; zeros past the edges
    """
    xp = array_module(x)
    OH, OW = windows_shape("im2col", x.shape, (kh, kw), stride, pad, ceil)
    N, C, H, W = x.shape
    (SH, SW), (PH, PW) = pair(stride), pair(pad)
    padded = xp.zeros(padded_shape(x.shape, (OH, OW), (kh, kw), stride, pad), x.dtype)
    padded[:, :, PH:PH + H, PW:PW + W] = x
    cols = xp.empty((C, kh, kw, N, OH, OW), x.dtype)
    for i in range(kh):
        for j in range(kw):
            seen = padded[:, :, i:i + SH * OH:SH, j:j + SW * OW:SW]       # (N, C, OH, OW)
            cols[:, i, j] = seen.transpose(1, 0, 2, 3)                    # (C, N, OH, OW)
    return cols.reshape(C * kh * kw, N * OH * OW)


def col2im(cols, in_shape, kh, kw, stride, pad, ceil=False):
    """Add every column back to its window of x, where overlapping windows add up.

    Formula  the transpose of im2col
    Args     cols, C*KH*KW rows and N*OH*OW columns; in_shape (N, C, H, W)
    Returns  x (N, C, H, W)
    """
    xp = array_module(cols)
    OH, OW = windows_shape("col2im", in_shape, (kh, kw), stride, pad, ceil)
    N, C, H, W = in_shape
    (SH, SW), (PH, PW) = pair(stride), pair(pad)
    cols = cols.reshape(C, kh, kw, N, OH, OW)
    padded = xp.zeros(padded_shape(in_shape, (OH, OW), (kh, kw), stride, pad), cols.dtype)
    for i in range(kh):
        for j in range(kw):
            padded[:, :, i:i + SH * OH:SH, j:j + SW * OW:SW] += cols[:, i, j].transpose(1, 0, 2, 3)
    return xp.ascontiguousarray(padded[:, :, PH:PH + H, PW:PW + W])


def _pieces(x, w, positions, groups):
    """Cut the batch into slices of at least one image, whose columns take at most COLUMN_BYTES."""
    N, (_, CG, KH, KW) = x.shape[0], w.shape
    column_bytes = CG * groups * KH * KW * positions * x.dtype.itemsize   # of one image
    M = max(1, COLUMN_BYTES // max(1, column_bytes))
    return [slice(start, start + M) for start in range(0, N, M)]

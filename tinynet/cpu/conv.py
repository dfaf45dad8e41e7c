"""Convolution on CPU cores: the columns of `ops`, but never more of them than a core's cache holds.

    N images  C channels  H W  |  K kernels  KH KW  |  OH OW output  |  G groups  |  R output rows of a band

What makes it fast, beside `ops/conv.py`:
- The columns of one image's group are cut into bands of output rows: they are written to and read from a core's own
  cache, in memory that is used again and again. Each core has its own band, and a matrix product of its own.
- The bias is one more weight, of a pixel that is always 1: a last row of ones under the columns. The product then adds
  it, and in backward the gradient of the bias is the last column of the kernels' gradient: no pass of its own.
- With a stride of 4, a pixel's neighbours in a row of the columns are 4 apart in the image. The image is first sorted
  into 4 phases (columns 0 4 8 ..., 1 5 9 ...), and every row of the columns becomes a copy of neighbours.
- The product goes straight to its place in y; no piece of the batch is transposed.
- Wide 3x3 and 5x5 layers go to `winograd.py`, which gets by with a half and a quarter of the multiplications.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tinynet.cpu import winograd
from tinynet.cpu.memory import empty, scratch
from tinynet.cpu.parallel import chunks, for_each, shares, sum_in_order
from tinynet.ops.conv import col2im, im2col
from tinynet.shapes import conv2d_shape, pair, require_shape

__all__ = ["col2im", "conv2d_backward", "conv2d_forward", "im2col"]

BAND_BYTES = 1 << 21  # columns of a band: most of them stay in the second-level cache


def conv2d_forward(x, w, b, stride, pad, groups, ceil=False):
    """As ops.conv2d_forward. Memory: y, and a band of columns for each core."""
    y_shape = conv2d_shape("conv2d_forward", x.shape, w.shape, stride, pad, groups, ceil)
    require_shape("conv2d_forward", "b", b.shape, w.shape[:1])
    if winograd.pays(x, w, y_shape, stride):
        return winograd.forward(x, w, b, pad, groups, y_shape)
    N, K, OH, OW = y_shape
    kernels = np.concatenate([w.reshape(K, -1), b.reshape(K, 1)], axis=1).reshape(groups, K // groups, -1)
    kernels = kernels.astype(x.dtype, copy=False)                         # (G, K/G, C/G*KH*KW + 1)
    y = empty(y_shape, x.dtype)
    y_groups = y.reshape(N, groups, K // groups, OH * OW)

    def work(piece):
        image, group, rows = piece
        cols = columns(_group(x[image], group, groups), w.shape[2:], rows, OW, stride, pad)
        positions = slice(rows.start * OW, rows.stop * OW)
        np.matmul(kernels[group], cols, out=y_groups[image, group][:, positions])  # (K/G, R*OW)

    for_each(work, _pieces(x, w, y_shape, groups))
    return y


def conv2d_backward(dy, x, w, stride, pad, groups, ceil=False, need_dx=True):
    """As ops.conv2d_backward. Memory: dx, and for each core a band of columns and a gradient of the size of w."""
    y_shape = conv2d_shape("conv2d_backward", x.shape, w.shape, stride, pad, groups, ceil)
    require_shape("conv2d_backward", "dy", dy.shape, y_shape)
    if winograd.pays(x, w, y_shape, stride):
        return winograd.backward(dy, x, w, pad, groups, need_dx)
    dw, db = _kernels_gradient(dy, x, w, stride, pad, groups)
    return _input_gradient(dy, x, w, stride, pad, groups) if need_dx else None, dw, db


def _kernels_gradient(dy, x, w, stride, pad, groups):
    """dw and db: dy times the transposed columns, added up over the bands of a share of the batch, then over shares."""
    N, K, OH, OW = dy.shape
    dy_groups = dy.reshape(N, groups, K // groups, OH * OW)
    pieces = _pieces(x, w, dy.shape, groups)

    def work(share):
        total = np.zeros((groups, K // groups, w[0].size + 1), x.dtype)
        product = scratch("product", total.shape[1:], x.dtype)
        for image, group, rows in pieces[share]:
            cols = columns(_group(x[image], group, groups), w.shape[2:], rows, OW, stride, pad)
            positions = slice(rows.start * OW, rows.stop * OW)
            np.matmul(dy_groups[image, group][:, positions], cols.T, out=product)   # (K/G, C/G*KH*KW + 1)
            total[group] += product
        return [total]

    total = sum_in_order(work, shares(len(pieces)))[0].reshape(K, -1)     # (K, C/G*KH*KW + 1)
    return np.ascontiguousarray(total[:, :-1]).reshape(w.shape), total[:, -1].copy()


def _input_gradient(dy, x, w, stride, pad, groups):
    """dx: transposed kernels times dy are the gradient of the columns, added back to where they were copied from."""
    (N, K, OH, OW), KH, KW, CG = dy.shape, *w.shape[2:], w.shape[1]
    kernels = w.reshape(groups, K // groups, -1)                          # (G, K/G, C/G*KH*KW)
    dx = empty(x.shape, x.dtype)
    dy_groups = dy.reshape(N, groups, K // groups, OH * OW)
    bands = _bands(x, w, dy.shape)

    def work(piece):
        image, group = piece
        phases = _phases(CG, x.shape[3], (KH, KW), OH, OW, stride, pad, x.dtype)
        for rows in bands:
            positions = slice(rows.start * OW, rows.stop * OW)
            dcols = scratch("columns", (CG * KH * KW, positions.stop - positions.start), x.dtype)
            np.matmul(kernels[group].T, dy_groups[image, group][:, positions], out=dcols)  # (C/G*KH*KW, R*OW)
            for pixels, row in _window_pixels(phases, dcols, (KH, KW), rows, OW, stride):
                pixels += row
        dx_group = _group(dx[image], group, groups)
        dx_group[...] = 0  # a pixel that no window saw
        for pixels, sorted_pixels in _phase_by_phase(dx_group, phases, 0, stride, pad):
            pixels[...] = sorted_pixels

    for_each(work, [(image, group) for image in range(N) for group in range(groups)])
    return dx


def columns(x, kernel, rows, OW, stride, pad):
    """im2col of one image, x (C, H, W), for some output rows, over a row of ones for the bias. In scratch memory."""
    (KH, KW), (SH, SW), C, R = kernel, pair(stride), x.shape[0], rows.stop - rows.start
    phases = _phases(C, x.shape[2], kernel, R, OW, stride, pad, x.dtype)
    for pixels, sorted_pixels in _phase_by_phase(x, phases, rows.start, stride, pad):
        sorted_pixels[...] = pixels
    cols = scratch("columns", (C * KH * KW + 1, R * OW), x.dtype)
    windows = sliding_window_view(phases, (KH, -(-KW // SW)), axis=(1, 3))[:, ::SH, :, :OW]  # a view, 4 calls not 121
    for p in range(min(SW, KW)):
        row = cols[:-1].reshape(C, KH, KW, R, OW)[:, :, p::SW]
        row[...] = windows[:, :, p, :, :, :row.shape[2]].transpose(0, 3, 4, 1, 2)
    cols[-1] = 1
    return cols


def _phases(C, W, kernel, R, OW, stride, pad, dtype):
    """Zeros for what R rows of windows see, padding and all: (C, rows, SW, width), pixel column SW*q + p at [p, q]."""
    (KH, KW), (SH, SW) = kernel, pair(stride)
    width = max(W + 2 * pair(pad)[1], (OW - 1) * SW + KW)
    phases = scratch("phases", (C, (R - 1) * SH + KH, SW, -(-width // SW)), dtype)
    phases[...] = 0
    return phases


def _phase_by_phase(x, phases, first, stride, pad):
    """The pixels of x that windows from output row `first` on see, and where they are among the phases."""
    (SH, SW), (PH, PW), (H, W) = pair(stride), pair(pad), x.shape[1:]
    skipped = first * SH - PH  # rows of x above the phases; negative: rows of padding inside them
    top = max(0, -skipped)
    bottom = max(top, min(phases.shape[1], H - skipped))
    for p in range(SW):
        left, right = max(0, -(-(PW - p) // SW)), -(-(PW + W - p) // SW)
        yield (x[:, skipped + top:skipped + bottom, left * SW + p - PW:W:SW], phases[:, top:bottom, p, left:right])


def _window_pixels(phases, cols, kernel, rows, OW, stride):
    """For each pixel (i, j) of a window: where the windows of these output rows see it, and its rows of the columns."""
    (KH, KW), (SH, SW) = kernel, pair(stride)
    cols = cols.reshape(phases.shape[0], KH, KW, -1, OW)                  # (C, KH, KW, R, OW)
    for i in range(KH):
        for j in range(KW):
            yield phases[:, i + SH * rows.start:i + SH * rows.stop:SH, j % SW, j // SW:j // SW + OW], cols[:, i, j]


def _pieces(x, w, y_shape, groups):
    """(image, group, output rows) of every band."""
    bands = _bands(x, w, y_shape)
    return [(image, group, rows) for image in range(x.shape[0]) for group in range(groups) for rows in bands]


def _bands(x, w, y_shape):
    """Slices of the output rows whose columns, for one image and group, take at most BAND_BYTES; one row at least."""
    return chunks(y_shape[2], w[0].size * y_shape[3] * x.dtype.itemsize, BAND_BYTES)


def _group(image, group, groups):
    """The channels of one group."""
    CG = image.shape[0] // groups
    return image[group * CG:(group + 1) * CG]

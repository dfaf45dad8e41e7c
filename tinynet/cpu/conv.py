"""Convolution on CPU cores: the columns of `ops`, but only as many at a time as a cache holds.

    N images  C channels  H W  |  K kernels  KH KW  |  OH OW output  |  G groups
    M images and R output rows of a band

Why it is faster than `ops/conv.py`:
- The columns of one group of one image are cut into bands of output rows; small images are put
  together, some to a band. Each core works on a band of its own, with matrix products of its own,
  and writes every band to the same memory, which stays in its cache.
- In backward the bias is treated as one more weight, for a pixel that is always 1: the columns get
  a last row of ones. So the gradient of the bias is the last column of the kernels' gradient, and
  takes no operation of its own.
- With a stride of 4, neighbours in a row of the columns are 4 pixels apart in the image. So the
  image is first sorted into 4 phases (pixel columns 0 4 8 ..., 1 5 9 ..., and so on). Then
  every row of the columns is copied from pixels that are adjacent in memory.
- The matrix product is written directly to its place in y; nothing is transposed.
- All layers of AlexNet go to `winograd.py`, which needs a third or a fifth of the multiplications,
  if there are a few images. Columns are for single images, few channels and other kernels.
"""

import math

import numpy as np

from tinynet.cpu import winograd
from tinynet.cpu.memory import empty, scratch
from tinynet.cpu.parallel import MOST_SHARES, chunks, for_each, shares, sum_in_order
from tinynet.ops.conv import col2im, im2col
from tinynet.shapes import ceil_div, conv2d_shape, pair, require_shape

__all__ = ["col2im", "conv2d_backward", "conv2d_forward", "im2col"]

BAND_BYTES = 1 << 21  # columns of a band: most of them fit in the second-level cache
LEAST_PIECES = 2      # a single band is cut along the kernels, so that a second core has work


def conv2d_forward(x, w, b, stride, pad, groups, ceil=False):
    """Compute ops.conv2d_forward band by band on all cores.

    Memory   y, and one band of columns per core
    """
    y_shape = conv2d_shape("conv2d_forward", x.shape, w.shape, stride, pad, groups, ceil)
    require_shape("conv2d_forward", "b", b.shape, w.shape[:1])
    if winograd.pays(x, w, y_shape, stride):
        return winograd.forward(x, w, b, stride, pad, groups, y_shape)
    N, K, OH, OW = y_shape
    kernels = w.reshape(groups, K // groups, -1)                          # (G, K/G, C/G*KH*KW)
    bias = b.reshape(groups, K // groups, 1)
    y = empty(y_shape, x.dtype)
    y_groups = y.reshape(N, groups, K // groups, OH * OW)

    def work(piece):
        (images, group, rows), some = piece
        cols = columns(_group(x[images], group, groups), w.shape[2:], rows, OW, stride, pad)
        positions = slice(rows.start * OW, rows.stop * OW)
        product = y_groups[images, group, some, positions]                # (M, some of K/G, R*OW)
        np.matmul(kernels[group, some], cols[:, :-1], out=product)
        product += bias[group, some]

    pieces = _pieces(x, w, y_shape, groups)
    parts = shares(K // groups, ceil_div(LEAST_PIECES, max(1, len(pieces))))
    for_each(work, [(piece, some) for piece in pieces for some in parts])
    return y


def conv2d_backward(dy, x, w, stride, pad, groups, ceil=False, need_dx=True):
    """Compute ops.conv2d_backward band by band on all cores.

    Memory   dx, and per core one band of columns and one gradient of the size of w
    """
    y_shape = conv2d_shape("conv2d_backward", x.shape, w.shape, stride, pad, groups, ceil)
    require_shape("conv2d_backward", "dy", dy.shape, y_shape)
    if winograd.pays(x, w, y_shape, stride):
        return winograd.backward(dy, x, w, stride, pad, groups, need_dx)
    dw, db = _kernels_gradient(dy, x, w, stride, pad, groups)
    dx = _input_gradient(dy, x, w, stride, pad, groups) if need_dx else None
    return dx, dw, db


def _kernels_gradient(dy, x, w, stride, pad, groups):
    """Return dw and db: the columns times the transposed dy, summed over all bands.

    The bands are cut into shares. Each core adds up the bands of a share, and then the shares are
    added in their order.
    """
    N, K, OH, OW = dy.shape
    dy_groups = dy.reshape(N, groups, K // groups, OH * OW)
    pieces = _pieces(x, w, dy.shape, groups, MOST_SHARES)

    def work(share):
        total = np.zeros((groups, w[0].size + 1, K // groups), x.dtype)
        for images, group, rows in pieces[share]:
            cols = columns(_group(x[images], group, groups), w.shape[2:], rows, OW, stride, pad)
            positions = slice(rows.start * OW, rows.stop * OW)
            dproduct = dy_groups[images, group][..., positions]           # (M, K/G, R*OW)
            products = scratch("products", (len(cols), *total.shape[1:]), x.dtype)
            np.matmul(cols, dproduct.swapaxes(1, 2), out=products)        # faster than transposed
            for product in products:
                total[group] += product                                   # (C/G*KH*KW + 1, K/G)
        return [total]

    total = sum_in_order(work, shares(len(pieces)))[0].swapaxes(1, 2)     # (G, K/G, C/G*KH*KW + 1)
    dw, db = np.ascontiguousarray(total[..., :-1]), total[..., -1].copy()
    return dw.reshape(w.shape), db.reshape(K)


def _input_gradient(dy, x, w, stride, pad, groups):
    """Return dx.

    The transposed kernels times dy give the gradient of the columns. It is added back to the pixels
    that the columns were copied from.
    """
    (N, K, OH, OW), KH, KW, CG = dy.shape, *w.shape[2:], w.shape[1]
    kernels = w.reshape(groups, K // groups, -1)                          # (G, K/G, C/G*KH*KW)
    dx = empty(x.shape, x.dtype)
    dy_groups = dy.reshape(N, groups, K // groups, OH * OW)
    bands = _bands(x, w, dy.shape)

    def work(piece):
        images, group = piece
        dx_group = _group(dx[images], group, groups)                      # (M, C/G, H, W)
        phases = _phases(dx_group.shape, (KH, KW), OH, OW, stride, pad, x.dtype)
        for rows in bands:
            positions = slice(rows.start * OW, rows.stop * OW)
            dproduct = dy_groups[images, group][..., positions]           # (M, K/G, R*OW)
            dcols = scratch("columns", (len(dproduct), CG * KH * KW, dproduct.shape[2]), x.dtype)
            np.matmul(kernels[group].T, dproduct, out=dcols)              # (M, C/G*KH*KW, R*OW)
            for pixels, row in _window_pixels(phases, dcols, (KH, KW), rows, OW, stride):
                pixels += row
        dx_group[...] = 0  # for pixels that are in no window
        for pixels, sorted_pixels in _phase_by_phase(dx_group, phases, 0, stride, pad):
            pixels[...] = sorted_pixels

    for_each(work, [(images, group) for images in _blocks(x, w, dy.shape)
                    for group in range(groups)])
    return dx


def columns(x, kernel, rows, OW, stride, pad):
    """Copy the windows of some output rows of M images into columns, in scratch memory.

    Args     x (M, C, H, W); kernel (KH, KW); rows: slice of the output rows
    Returns  (M, C*KH*KW + 1, R*OW): the columns of im2col, and a last row of ones for the bias
    """
    (M, C), (KH, KW), (SH, SW), R = x.shape[:2], kernel, pair(stride), rows.stop - rows.start
    phases = _phases(x.shape, kernel, R, OW, stride, pad, x.dtype)
    for pixels, sorted_pixels in _phase_by_phase(x, phases, rows.start, stride, pad):
        sorted_pixels[...] = pixels
    cols = scratch("columns", (M, C * KH * KW + 1, R * OW), x.dtype)
    image, channel, down, phase, right = phases.strides
    # Pixel (i, SW*j + p) of window (r, o) is at phases[.., SH*r + i, p, o + j]. With a view of all
    # windows, conv1 takes 4 copies instead of 121. (sliding_window_view would take 50 microseconds,
    # in which other threads wait.)
    for p in range(min(SW, KW)):
        row = cols[:, :-1].reshape(M, C, KH, KW, R, OW)[:, :, :, p::SW]   # (M, C, KH, J, R, OW)
        row[...] = np.ndarray(row.shape, x.dtype, phases, p * phase,
                              (image, channel, down, right, SH * down, right))
    cols[:, -1] = 1
    return cols


def _phases(x_shape, kernel, R, OW, stride, pad, dtype):
    """Return zeros for all pixels and padding that R rows of windows cover, in scratch memory.

    The shape is (M, C, rows, SW, width): pixel column SW*q + p is at [..., p, q].
    """
    (M, C, _, W), (KH, KW), (SH, SW) = x_shape, kernel, pair(stride)
    width = max(W + 2 * pair(pad)[1], (OW - 1) * SW + KW)
    phases = scratch("phases", (M, C, (R - 1) * SH + KH, SW, ceil_div(width, SW)), dtype)
    phases[...] = 0
    return phases


def _phase_by_phase(x, phases, first, stride, pad):
    """Yield, phase by phase, pixels of x and their places in phases.

    They are the pixels that the windows cover which begin at output row `first`.
    """
    (SH, SW), (PH, PW), (H, W) = pair(stride), pair(pad), x.shape[2:]
    skipped = first * SH - PH  # rows of x above the phases; if negative, rows of padding in them
    top = max(0, -skipped)
    bottom = max(top, min(phases.shape[2], H - skipped))
    for p in range(SW):
        left, right = max(0, ceil_div(PW - p, SW)), ceil_div(PW + W - p, SW)
        yield (x[:, :, skipped + top:skipped + bottom, left * SW + p - PW:W:SW],
               phases[:, :, top:bottom, p, left:right])


def _window_pixels(phases, cols, kernel, rows, OW, stride):
    """Yield, for each pixel (i, j) of a window, its places in phases and its rows of the columns.

    Both are views of shape (M, C, R, OW): pixel (i, j) of every window in these output rows.
    """
    (M, C), (KH, KW), (SH, SW) = phases.shape[:2], kernel, pair(stride)
    cols = cols.reshape(M, C, KH, KW, rows.stop - rows.start, OW)
    for i in range(KH):
        for j in range(KW):
            seen = slice(i + SH * rows.start, i + SH * rows.stop, SH)
            yield phases[:, :, seen, j % SW, j // SW:j // SW + OW], cols[:, :, i, j]


def _pieces(x, w, y_shape, groups, least=1):
    """Return (images, group, output rows) of every band; with enough images, at least `least`."""
    bands = _bands(x, w, y_shape)
    return [(images, group, rows) for images in _blocks(x, w, y_shape, least)
            for group in range(groups) for rows in bands]


def _blocks(x, w, y_shape, least=1):
    """Cut the images into blocks of at most BAND_BYTES of columns, but of at least one image."""
    bytes_each = w[0].size * math.prod(y_shape[2:]) * x.dtype.itemsize
    count = max(least, len(chunks(len(x), bytes_each, BAND_BYTES)))
    return shares(len(x), count) if len(x) else []


def _bands(x, w, y_shape):
    """Cut the output rows of an image into bands of at most BAND_BYTES, but of at least one row.

    Each band holds columns of one group.
    """
    return chunks(y_shape[2], w[0].size * y_shape[3] * x.dtype.itemsize, BAND_BYTES)


def _group(images, group, groups):
    """Return the channels of one group of images (M, C, H, W), a view."""
    CG = images.shape[1] // groups
    return images[:, group * CG:(group + 1) * CG]

"""Overlapping pooling on CPU cores: first down, then across, a few maps at a time.

Why it is faster than `ops/pool.py`:
- The largest of KH x KW pixels is the largest of KW columns of KH pixels, and neighbouring windows
  share columns. So a window takes KH + KW comparisons instead of KH * KW. Sums are shared in the
  same way.
- Across, there is a window at every pixel, not only at every second one. Then pixel j of all
  windows is one run of adjacent numbers, from the first map to the last. The windows that are not
  asked for, and those torn between two rows, are left out when y is written.
- argmax needs no np.where, but integer arithmetic on bytes. mask * KW * i is 0 or the position of
  row i; the last row where a new largest pixel was found has the largest number. Across, the first
  of equal columns has the smallest position, once the positions of all other columns are 255.
- Backward computes the address of the pixel that receives dy, and adds dy there.

    N images  C channels  H W  |  KH KW window  |  OH OW output  |  M maps of a piece
"""

import math

import numpy as np

from tinynet.cpu.memory import empty, scratch
from tinynet.cpu.parallel import for_each, piece_bytes, shares, thread_count
from tinynet.ops.pool import argmax_dtype, first_positions, window_counts
from tinynet.shapes import ceil_div, pair, pool_shape, require_shape

LARGER = 4  # times as large as pieces of other ops, with several threads


def maxpool_forward(x, size, stride, pad=0, ceil=False):
    """Compute ops.maxpool_forward for a few maps at a time, on all cores.

    Memory   y and argmax
    """
    y_shape = pool_shape("maxpool_forward", x.shape, size, stride, pad, ceil)
    (KH, KW), (SH, SW), (OH, OW) = pair(size), pair(stride), y_shape[2:]
    y, argmax = empty(y_shape, x.dtype), empty(y_shape, argmax_dtype(size))
    first = first_positions(np, y_shape, size, stride, pad).astype(argmax.dtype)  # (OH, OW)
    highest = argmax.dtype.type(np.iinfo(argmax.dtype).max)
    x_maps, y_maps, argmax_maps = _maps(x), _maps(y), _maps(argmax)

    def work(piece):
        maps = _padded(x_maps[piece], (OH, OW), size, stride, pad, -np.inf)
        down = scratch("down", (len(maps), OH, maps.shape[2]), x.dtype)   # (M, OH, W)
        mask = scratch("mask", down.shape, bool)
        row, won, step, loser = (scratch(name, down.shape, argmax.dtype)
                                 for name in ("row", "won", "step", "loser"))
        down[...], row[...] = maps[:, :SH * OH:SH], 0
        for i in range(1, KH):
            pixels = maps[:, i:i + SH * OH:SH]
            np.greater(pixels, down, out=mask)
            np.maximum(pixels, down, out=down)
            np.multiply(mask.view(np.uint8), row.dtype.type(KW * i), out=step)
            np.maximum(row, step, out=row)
        across = scratch("across", down.shape, x.dtype)                   # (M, OH, W)
        largest, position, mask, step, loser = (
            _shifted(a, KW)[0] for a in (across, won, mask, step, loser))
        columns, rows = _shifted(down, KW), _shifted(row, KW)
        np.maximum(columns[0], columns[-1], out=largest)
        for column in columns[1:-1]:
            np.maximum(column, largest, out=largest)
        position[...] = highest
        for j in range(KW):
            np.not_equal(columns[j], largest, out=mask)
            np.multiply(mask.view(np.uint8), highest, out=loser)
            np.add(rows[j], j, out=step)
            np.bitwise_or(step, loser, out=step)
            np.minimum(position, step, out=position)
        y_maps[piece] = across[:, :, :SW * OW:SW]
        argmax_maps[piece] = won[:, :, :SW * OW:SW]
        if any(pair(pad)):  # where all pixels are -inf, the first of them may be padding
            np.copyto(argmax_maps[piece], first, where=y_maps[piece] == -np.inf)
        if np.isnan(y_maps[piece]).any():  # NaN equals nothing: find the last NaN of each window
            for i, j in np.ndindex(KH, KW):
                pixels = maps[:, i:i + SH * OH:SH, j:j + SW * OW:SW]
                argmax_maps[piece][np.isnan(pixels)] = KW * i + j

    for_each(work, _pieces(x_maps))
    return y, argmax


def maxpool_backward(dy, argmax, in_shape, size, stride, pad=0, ceil=False):
    """Compute ops.maxpool_backward for a few maps at a time, on all cores.

    Memory   dx
    """
    y_shape = pool_shape("maxpool_backward", in_shape, size, stride, pad, ceil)
    require_shape("maxpool_backward", "dy", dy.shape, y_shape)
    require_shape("maxpool_backward", "argmax", argmax.shape, y_shape)
    (H, W), (OH, OW), (KH, KW) = in_shape[2:], y_shape[2:], pair(size)
    (SH, SW), (PH, PW) = pair(stride), pair(pad)
    dx = empty(in_shape, dy.dtype)
    dx_maps, dy_maps, argmax_maps = _maps(dx), _maps(dy), _maps(argmax)
    corners = (np.arange(OH)[:, None] * SH - PH) * W + np.arange(OW) * SW - PW  # (OH, OW)
    steps = (np.arange(KH)[:, None] * W + np.arange(KW)).reshape(-1)      # (KH*KW,)

    def work(piece):
        maps = dx_maps[piece]
        maps[...] = 0
        address = scratch("address", (len(maps), OH, OW), np.intp)        # in the flattened maps
        np.take(steps, argmax_maps[piece], out=address, mode="clip")      # "raise" copies address
        address += corners + H * W * np.arange(len(maps))[:, None, None]
        # From the last window to the first, a pixel gets its gradients in the same order as in ops.
        np.add.at(maps.reshape(-1), address.reshape(-1)[::-1], dy_maps[piece].reshape(-1)[::-1])

    for_each(work, _pieces(dx_maps))
    return dx


def avgpool_forward(x, size, stride, pad=0, ceil=False):
    """Compute ops.avgpool_forward for a few maps at a time, on all cores.

    Memory   y
    """
    y_shape = pool_shape("avgpool_forward", x.shape, size, stride, pad, ceil)
    (KH, KW), (SH, SW), (OH, OW) = pair(size), pair(stride), y_shape[2:]
    y = empty(y_shape, x.dtype)
    counts = window_counts(np, x.shape, y_shape, size, stride, pad).astype(x.dtype)
    x_maps, y_maps = _maps(x), _maps(y)

    def work(piece):
        maps = _padded(x_maps[piece], (OH, OW), size, stride, pad, 0)
        down = scratch("down", (len(maps), OH, maps.shape[2]), x.dtype)   # (M, OH, W)
        down[...] = maps[:, :SH * OH:SH]
        for i in range(1, KH):
            down += maps[:, i:i + SH * OH:SH]
        across = scratch("across", down.shape, x.dtype)                   # (M, OH, W)
        total, columns = _shifted(across, KW)[0], _shifted(down, KW)
        total[...] = columns[0]
        for column in columns[1:]:
            total += column
        np.divide(across[:, :, :SW * OW:SW], counts, out=y_maps[piece])

    for_each(work, _pieces(x_maps))
    return y


def avgpool_backward(dy, in_shape, size, stride, pad=0, ceil=False):
    """Compute ops.avgpool_backward for a few maps at a time, on all cores.

    Memory   dx
    """
    y_shape = pool_shape("avgpool_backward", in_shape, size, stride, pad, ceil)
    require_shape("avgpool_backward", "dy", dy.shape, y_shape)
    (KH, KW), (SH, SW), (PH, PW), (OH, OW) = pair(size), pair(stride), pair(pad), y_shape[2:]
    counts = window_counts(np, in_shape, y_shape, size, stride, pad).astype(dy.dtype)
    dx = empty(in_shape, dy.dtype)
    dx_maps, dy_maps = _maps(dx), _maps(dy)

    def work(piece):
        maps = dx_maps[piece]
        share = dy_maps[piece] / counts                                   # (M, OH, OW)
        height, width = _padded_size(maps.shape, (OH, OW), size, stride, pad)
        across = scratch("across", (len(maps), OH, width), dy.dtype)
        across[...] = 0
        for j in range(KW):
            across[:, :, j:j + SW * OW:SW] += share
        padded = scratch("padded", (len(maps), height, width), dy.dtype)
        padded[...] = 0
        for i in range(KH):
            padded[:, i:i + SH * OH:SH] += across
        maps[...] = padded[:, PH:PH + maps.shape[1], PW:PW + maps.shape[2]]

    for_each(work, _pieces(dx_maps))
    return dx


def _shifted(a, count):
    """Return `count` flat views of a, each one number further, all of the same length."""
    flat, length = a.reshape(-1), max(0, a.size - count + 1)
    return [flat[j:j + length] for j in range(count)]


def _padded(maps, output, size, stride, pad, padding):
    """Return the maps with `padding` where windows reach past an edge, in scratch memory."""
    (M, H, W), (PH, PW) = maps.shape, pair(pad)
    height, width = _padded_size(maps.shape, output, size, stride, pad)
    if (height, width) == (H, W):
        return maps
    padded = scratch("padded", (M, height, width), maps.dtype)
    padded[...] = padding
    padded[:, PH:PH + H, PW:PW + W] = maps
    return padded


def _padded_size(maps_shape, output, size, stride, pad):
    """Return height and width of maps with their padding and what the last window reaches."""
    return [max(p + length, (count - 1) * s + k) for length, count, k, s, p in zip(
        maps_shape[1:], output, pair(size), pair(stride), pair(pad))]


def _maps(a):
    """Reshape (N, C, H, W) to (N*C, H, W)."""
    return a.reshape(math.prod(a.shape[:2]), *a.shape[2:])  # not -1: the batch may be empty


def _pieces(maps):
    """Cut maps (M, H, W) into slices.

    Operations on bytes take little time. So, with several threads, pieces are larger than those of
    other ops, as long as each thread gets two of them.
    """
    count, threads = ceil_div(maps.nbytes, piece_bytes()), thread_count()
    if threads > 1:
        count = max(ceil_div(count, LARGER), min(count, 2 * threads))
    return shares(len(maps), count)

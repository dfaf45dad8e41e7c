"""Overlapping pooling on CPU cores: arrays are compared or added as in `ops`, but without gaps.

Why it is faster than `ops/pool.py`:
- With a stride of 2, `ops` compares every second number of every second row. Here the maps are
  first sorted into 2 x 2 phases: pixel (2p + a, 2q + b) goes to place (p, q) of phase (a, b). Then
  pixel (i, j) of all windows is phase (i % 2, j % 2), shifted by (i // 2, j // 2), and is read as
  one run of adjacent numbers from the first map to the last. At the end of a row or a map, such a
  run also compares pixels that are in no window; their results are not copied to the output.
- argmax needs no np.where: position * (candidate > largest so far) is 0 or the position,
  and the positions increase, so the largest of these numbers is the last position where a new
  largest pixel was found.
- Backward works in the same way: it adds dy to the phases, and then sorts them back.

    N images  C channels  H W  |  KH KW window  |  OH OW output  |  M maps of a piece
    QH QW phase
"""

import numpy as np

from tinynet.cpu.memory import empty, scratch
from tinynet.cpu.parallel import chunks, for_each
from tinynet.ops.pool import argmax_dtype, first_positions, window_counts
from tinynet.shapes import ceil_div, pair, pool_shape, require_shape

PIECE_BYTES = 1 << 20  # bytes of the maps of a piece


def maxpool_forward(x, size, stride, pad=0, ceil=False):
    """Compute ops.maxpool_forward for a few maps at a time, on all cores.

    Memory   y and argmax
    """
    y_shape = pool_shape("maxpool_forward", x.shape, size, stride, pad, ceil)
    OH, OW = y_shape[2:]
    y, argmax = empty(y_shape, x.dtype), empty(y_shape, argmax_dtype(size))
    first = first_positions(np, y_shape, size, stride, pad)               # (OH, OW)
    x_maps, y_maps, argmax_maps = _maps(x), _maps(y), _maps(argmax)

    def work(piece):
        maps = x_maps[piece]
        phases = scratch("phases", _phases_shape(maps.shape, (OH, OW), size, stride, pad), x.dtype)
        if phases.size > maps.size:
            phases[...] = -np.inf  # padding and pixels past the end are never the largest
        for pixels, sorted_pixels in _phase_by_phase(maps, phases, pad):
            sorted_pixels[...] = pixels
        largest = scratch("largest", phases.shape[2:], x.dtype)           # (M, QH, QW)
        won = scratch("won", phases.shape[2:], argmax.dtype)
        larger = scratch("larger", (largest.size,), bool)
        position_won = scratch("now", (won.size,), won.dtype)
        largest_flat, won_flat = largest.reshape(-1), won.reshape(-1)
        largest_flat[...] = phases[0, 0].reshape(-1)
        won_flat[...] = 0
        won[:, :OH, :OW] = first
        for position, candidate in _windows(phases, size, stride):
            if position > 0:
                so_far, n = largest_flat[:candidate.size], candidate.size
                np.greater(candidate, so_far, out=larger[:n])
                np.maximum(candidate, so_far, out=so_far)
                np.multiply(larger[:n], won.dtype.type(position), out=position_won[:n])
                np.maximum(won_flat[:n], position_won[:n], out=won_flat[:n])
        if np.isnan(largest).any():  # np.greater is False for NaN: find the last NaN of each window
            for position, candidate in _windows(phases, size, stride):
                won_flat[:candidate.size][np.isnan(candidate)] = position
        y_maps[piece] = largest[:, :OH, :OW]
        argmax_maps[piece] = won[:, :OH, :OW]

    for_each(work, _pieces(x_maps))
    return y, argmax


def maxpool_backward(dy, argmax, in_shape, size, stride, pad=0, ceil=False):
    """Compute ops.maxpool_backward for a few maps at a time, on all cores.

    Memory   dx
    Differs  an inf in dy gives NaN for the other pixels of its window
    """
    y_shape = pool_shape("maxpool_backward", in_shape, size, stride, pad, ceil)
    require_shape("maxpool_backward", "dy", dy.shape, y_shape)
    require_shape("maxpool_backward", "argmax", argmax.shape, y_shape)
    OH, OW = y_shape[2:]
    dx = empty(in_shape, dy.dtype)
    dx_maps, dy_maps, argmax_maps = _maps(dx), _maps(dy), _maps(argmax)

    def work(piece):
        maps = dx_maps[piece]
        phases = scratch("phases", _phases_shape(maps.shape, (OH, OW), size, stride, pad), dy.dtype)
        phases[...] = 0
        gradient = scratch("largest", phases.shape[2:], dy.dtype)         # (M, QH, QW)
        won = scratch("won", phases.shape[2:], argmax.dtype)
        gradient[...] = 0  # where there is no window
        gradient[:, :OH, :OW] = dy_maps[piece]
        won[:, :OH, :OW] = argmax_maps[piece]
        here, share = scratch("larger", (won.size,), bool), scratch("share", (won.size,), dy.dtype)
        gradient, won = gradient.reshape(-1), won.reshape(-1)
        for position, receiver in _windows(phases, size, stride):
            n = receiver.size
            np.equal(won[:n], won.dtype.type(position), out=here[:n])
            share[:n] = here[:n]
            share[:n] *= gradient[:n]
            receiver += share[:n]
        maps[...] = 0  # for pixels that are in no window
        for pixels, sorted_pixels in _phase_by_phase(maps, phases, pad):
            pixels[...] = sorted_pixels

    for_each(work, _pieces(dx_maps))
    return dx


def avgpool_forward(x, size, stride, pad=0, ceil=False):
    """Compute ops.avgpool_forward for a few maps at a time, on all cores.

    Memory   y
    """
    y_shape = pool_shape("avgpool_forward", x.shape, size, stride, pad, ceil)
    OH, OW = y_shape[2:]
    y = empty(y_shape, x.dtype)
    counts = window_counts(np, x.shape, y_shape, size, stride, pad).astype(x.dtype)
    x_maps, y_maps = _maps(x), _maps(y)

    def work(piece):
        maps = x_maps[piece]
        phases = scratch("phases", _phases_shape(maps.shape, (OH, OW), size, stride, pad), x.dtype)
        phases[...] = 0
        for pixels, sorted_pixels in _phase_by_phase(maps, phases, pad):
            sorted_pixels[...] = pixels
        total = scratch("largest", phases.shape[2:], x.dtype)             # (M, QH, QW)
        total[...] = 0
        total_flat = total.reshape(-1)
        for _, candidate in _windows(phases, size, stride):
            total_flat[:candidate.size] += candidate
        np.divide(total[:, :OH, :OW], counts, out=y_maps[piece])

    for_each(work, _pieces(x_maps))
    return y


def avgpool_backward(dy, in_shape, size, stride, pad=0, ceil=False):
    """Compute ops.avgpool_backward for a few maps at a time, on all cores.

    Memory   dx
    """
    y_shape = pool_shape("avgpool_backward", in_shape, size, stride, pad, ceil)
    require_shape("avgpool_backward", "dy", dy.shape, y_shape)
    OH, OW = y_shape[2:]
    counts = window_counts(np, in_shape, y_shape, size, stride, pad).astype(dy.dtype)
    dx = empty(in_shape, dy.dtype)
    dx_maps, dy_maps = _maps(dx), _maps(dy)

    def work(piece):
        maps = dx_maps[piece]
        phases = scratch("phases", _phases_shape(maps.shape, (OH, OW), size, stride, pad), dy.dtype)
        phases[...] = 0
        share = scratch("largest", phases.shape[2:], dy.dtype)            # (M, QH, QW)
        share[...] = 0  # where there is no window
        np.divide(dy_maps[piece], counts, out=share[:, :OH, :OW])
        share = share.reshape(-1)
        for _, receiver in _windows(phases, size, stride):
            receiver += share[:receiver.size]
        maps[...] = 0  # for pixels that are in no window
        for pixels, sorted_pixels in _phase_by_phase(maps, phases, pad):
            pixels[...] = sorted_pixels

    for_each(work, _pieces(dx_maps))
    return dx


def _windows(phases, size, stride):
    """Yield the position and the pixels of each place in the window, in row-major order.

    The position is KW * i + j; the pixels, of all windows at once, are a flat view of a phase.
    """
    (KH, KW), (SH, SW), QW = pair(size), pair(stride), phases.shape[4]
    for i in range(KH):
        for j in range(KW):
            yield i * KW + j, phases[i % SH, j % SW].reshape(-1)[i // SH * QW + j // SW:]


def _phases_shape(maps_shape, output, size, stride, pad):
    """Return (SH, SW, M, QH, QW), the shape of the phases.

    They hold the maps, the padding before them, and what the last window reads past their end.
    """
    (M, H, W), (OH, OW) = maps_shape, output
    (KH, KW), (SH, SW), (PH, PW) = pair(size), pair(stride), pair(pad)
    QH = max(ceil_div(PH + H, SH), OH + (KH - 1) // SH)
    QW = max(ceil_div(PW + W, SW), OW + (KW - 1) // SW)
    return SH, SW, M, QH, QW


def _phase_by_phase(maps, phases, pad):
    """Yield, phase by phase, pixels of the maps and their places in phases."""
    (SH, SW), (PH, PW) = phases.shape[:2], pair(pad)
    for a in range(SH):
        for b in range(SW):
            top, left = (a - PH) % SH, (b - PW) % SW  # the first pixel of this phase
            pixels = maps[:, top::SH, left::SW]
            p, q = (top + PH) // SH, (left + PW) // SW
            yield pixels, phases[a, b, :, p:p + pixels.shape[1], q:q + pixels.shape[2]]


def _maps(a):
    """Reshape (N, C, H, W) to (N*C, H, W)."""
    return a.reshape(-1, *a.shape[2:])


def _pieces(maps):
    return chunks(len(maps), maps[:1].nbytes, PIECE_BYTES)

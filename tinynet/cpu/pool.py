"""Overlapping pooling on CPU cores: whole arrays compared or added, as in `ops`, but every one without gaps.

What makes it fast, beside `ops/pool.py`:
- With a stride of 2, what is compared in `ops` is every second number of every second row. Here the maps are first
  sorted into 2 x 2 phases: pixel (2p + a, 2q + b) goes to place (p, q) of phase (a, b). Pixel (i, j) of all windows is
  then phase (i % 2, j % 2) shifted by (i // 2, j // 2), and read as one run of memory from the first map to the last.
  At the end of a row and of a map such a run compares pixels that are in no window; they are not copied out.
- argmax needs no selection: position * (candidate > largest so far) is 0 or the position, positions only grow, so the
  largest of these bytes is the last position that was larger than all before it.
- Backward spreads dy in the same way, with additions, and sorts back.

    N images  C channels  H W  |  KH KW window  |  OH OW output  |  M maps of a piece  |  QH QW phase
"""

import numpy as np

from tinynet.cpu.memory import empty, scratch
from tinynet.cpu.parallel import chunks, for_each
from tinynet.ops.pool import argmax_dtype, first_positions, window_counts
from tinynet.shapes import ceil_div, pair, pool_shape, require_shape

PIECE_BYTES = 1 << 20  # of the maps of a piece


def maxpool_forward(x, size, stride, pad=0, ceil=False):
    """As ops.maxpool_forward. Memory: y and argmax."""
    y_shape = pool_shape("maxpool_forward", x.shape, size, stride, pad, ceil)
    OH, OW = y_shape[2:]
    y, argmax = empty(y_shape, x.dtype), empty(y_shape, argmax_dtype(size))
    first = first_positions(np, y_shape, size, stride, pad)               # (OH, OW)
    x_maps, y_maps, argmax_maps = _maps(x), _maps(y), _maps(argmax)

    def work(piece):
        maps = x_maps[piece]
        phases = scratch("phases", _phases_shape(maps.shape, (OH, OW), size, stride, pad), x.dtype)
        if phases.size > maps.size:
            phases[...] = -np.inf  # padding, and what lies past the end, is never the largest
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
        if np.isnan(largest).any():  # NaN is never `greater`: find the last of each window
            for position, candidate in _windows(phases, size, stride):
                won_flat[:candidate.size][np.isnan(candidate)] = position
        y_maps[piece] = largest[:, :OH, :OW]
        argmax_maps[piece] = won[:, :OH, :OW]

    for_each(work, _pieces(x_maps))
    return y, argmax


def maxpool_backward(dy, argmax, in_shape, size, stride, pad=0, ceil=False):
    """As ops.maxpool_backward. An inf in dy makes NaNs of its window's other pixels. Memory: dx."""
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
        gradient = scratch("largest", phases.shape[2:], dy.dtype)         # (M, QH, QW), zero where no window is
        won = scratch("won", phases.shape[2:], argmax.dtype)
        gradient[...] = 0
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
        maps[...] = 0  # a pixel that no window saw
        for pixels, sorted_pixels in _phase_by_phase(maps, phases, pad):
            pixels[...] = sorted_pixels

    for_each(work, _pieces(dx_maps))
    return dx


def avgpool_forward(x, size, stride, pad=0, ceil=False):
    """As ops.avgpool_forward. Memory: y."""
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
    """As ops.avgpool_backward. Memory: dx."""
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
        share = scratch("largest", phases.shape[2:], dy.dtype)            # (M, QH, QW), zero where no window is
        share[...] = 0
        np.divide(dy_maps[piece], counts, out=share[:, :OH, :OW])
        share = share.reshape(-1)
        for _, receiver in _windows(phases, size, stride):
            receiver += share[:receiver.size]
        maps[...] = 0  # a pixel that no window saw
        for pixels, sorted_pixels in _phase_by_phase(maps, phases, pad):
            pixels[...] = sorted_pixels

    for_each(work, _pieces(dx_maps))
    return dx


def _windows(phases, size, stride):
    """For each pixel of the window, in row-major order: its number, and where all windows have it, as a flat run."""
    (KH, KW), (SH, SW), QW = pair(size), pair(stride), phases.shape[4]
    for i in range(KH):
        for j in range(KW):
            yield i * KW + j, phases[i % SH, j % SW].reshape(-1)[i // SH * QW + j // SW:]


def _phases_shape(maps_shape, output, size, stride, pad):
    """(SH, SW, M, QH, QW): room for the maps, the padding before them, and what the last window reads past them."""
    (M, H, W), (OH, OW) = maps_shape, output
    (KH, KW), (SH, SW), (PH, PW) = pair(size), pair(stride), pair(pad)
    QH = max(ceil_div(PH + H, SH), OH + (KH - 1) // SH)
    QW = max(ceil_div(PW + W, SW), OW + (KW - 1) // SW)
    return SH, SW, M, QH, QW


def _phase_by_phase(maps, phases, pad):
    """The pixels of the maps and their places among the phases."""
    (SH, SW), (PH, PW) = phases.shape[:2], pair(pad)
    for a in range(SH):
        for b in range(SW):
            top, left = (a - PH) % SH, (b - PW) % SW  # the first pixel of this phase
            pixels = maps[:, top::SH, left::SW]
            p, q = (top + PH) // SH, (left + PW) // SW
            yield pixels, phases[a, b, :, p:p + pixels.shape[1], q:q + pixels.shape[2]]


def _maps(a):
    """(N, C, H, W) -> (N*C, H, W)"""
    return a.reshape(-1, *a.shape[2:])


def _pieces(maps):
    return chunks(len(maps), maps[:1].nbytes, PIECE_BYTES)

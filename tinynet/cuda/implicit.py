"""Convolution as products whose matrices are never written: launchers of implicit.cu.

    N images  C channels  H W  |  K kernels  KH KW  |  OH OW output, P = OH * OW  |  G groups
    KG kernels, CG channels of one group, R = CG * KH * KW
    HP WP: x with its padding  |  HS WS: dy with zeros around and between

No function here multiplies. Each direction says where the elements of its three matrices lie in
memory, and one kernel does the rest.
"""

import functools
import math
import os
import typing

import numpy as np

from tinynet.backend import DeviceError, array_module, has_tf32, to_device
from tinynet.cuda import kernels
from tinynet.cuda.kernels import THREADS, launch_blocks, new_like, require_arrays
from tinynet.shapes import ceil_div, conv2d_shape, pair, require_shape

VERSIONS = range(1, 10)
DB_THREADS = 1024     # of a block that sums db of one kernel; as in conv.cu
FASTEST = 7, 8        # versions, in float32 and in TF32, for conv1, the layer that runs without
                      # columns (conv.py); measured on an H200
TENSOR_CORES = 8      # the first version that needs them
ROUNDED = 9           # the first version that is given numbers rounded to TF32
ENOUGH_BLOCKS = 528   # four for each multiprocessor of an H100: long sums are cut until there are
                      # so many, on any GPU, so that every GPU adds in the same order


class Tile(typing.NamedTuple):
    """What one block computes, in the words of implicit.cu."""

    VERSION: int
    ROWS: int
    COLUMNS: int
    DEPTH: int
    THREADS: int
    WARP_ROWS: int = 32
    WARP_COLUMNS: int = 64


def tile(version, rows):
    """Return the tile of a version for a matrix of so many rows: where it can, one that fits."""
    if version < 4:
        return (Tile(1, 16, 16, 16, 256, 16, 16), Tile(2, 16, 16, 16, 256, 16, 16),
                Tile(3, 64, 64, 8, 512))[version - 1]
    # On tensor cores, rows of zeros cost less than a tile in which fewer threads share b.
    small = rows <= 64 or version < TENSOR_CORES and ceil_div(rows, 64) % 2
    ROWS = 64 if small else 128
    return Tile(version, ROWS, 128, 16 if version >= TENSOR_CORES else 8, 2 * ROWS)


def conv2d_forward(x, w, b, stride, pad, groups, ceil=False, version=7):
    """Do what ops.conv2d_forward does.

    Memory   y, and x with its padding
    """
    y_shape = conv2d_shape("conv2d_forward", x.shape, w.shape, stride, pad, groups, ceil)
    require_shape("conv2d_forward", "b", b.shape, y_shape[1:2])
    x, w, b = require_arrays("conv2d_forward", x=x, w=w, b=b)
    _require_tensor_cores(version, x)
    sizes = Sizes(*x.shape, *w.shape, *y_shape[2:], *pair(stride), *pair(pad))
    return forward(version, sizes, x, w, b)


def conv2d_backward(dy, x, w, stride, pad, groups, ceil=False, need_dx=True, version=7):
    """Do what ops.conv2d_backward does.

    Memory   dx, dy with zeros around and between, x with its padding, and several arrays like dw
    """
    y_shape = conv2d_shape("conv2d_backward", x.shape, w.shape, stride, pad, groups, ceil)
    require_shape("conv2d_backward", "dy", dy.shape, y_shape)
    dy, x, w = require_arrays("conv2d_backward", dy=dy, x=x, w=w)
    _require_tensor_cores(version, x)
    sizes = Sizes(*x.shape, *w.shape, *y_shape[2:], *pair(stride), *pair(pad))
    return (gradient_of_x(version, sizes, dy, w) if need_dx else None,
            gradient_of_w(version, sizes, dy, x), gradient_of_b(dy))


def forward(version, sizes, x, w, b):
    """Return y (N, K, OH, OW)."""
    y = new_like(x, (sizes.N, sizes.K, sizes.OH, sizes.OW))
    _multiply(version, forward_offsets, sizes, prepared(version, w), sizes.padded(version, x), y, b)
    return y


def gradient_of_x(version, sizes, dy, w):
    """Return dx (N, C, H, W)."""
    dx = new_like(dy, (sizes.N, sizes.C, sizes.H, sizes.W))
    _multiply(version, dx_offsets, sizes, prepared(version, w), sizes.spread(version, dy), dx)
    return dx


def gradient_of_w(version, sizes, dy, x):
    """Return dw (K, CG, KH, KW)."""
    dw = new_like(dy, (sizes.K, sizes.CG, sizes.KH, sizes.KW))
    _multiply(version, dw_offsets, sizes, prepared(version, dy), sizes.padded(version, x), dw)
    return dw


def gradient_of_b(dy):
    """Return db (K,), the sum of dy (N, K, OH, OW) over images and positions."""
    N, K, OH, OW = dy.shape
    db = new_like(dy, (K,))
    launch_blocks("conv", "conv2d_db_3", K, DB_THREADS, dy, db, N, K, OH * OW)
    return db


# ---- where the elements lie ---------------------------------------------------------------------
class Sizes(typing.NamedTuple):
    """The sizes of a convolution."""

    N: int
    C: int
    H: int
    W: int
    K: int
    CG: int
    KH: int
    KW: int
    OH: int
    OW: int
    SH: int
    SW: int
    PH: int
    PW: int

    G = property(lambda s: s.C // s.CG)
    KG = property(lambda s: s.K // s.G)
    R = property(lambda s: s.CG * s.KH * s.KW)
    P = property(lambda s: s.OH * s.OW)
    # as far as the last window reaches, which may be past the padding
    HP = property(lambda s: max(s.H + 2 * s.PH, (s.OH - 1) * s.SH + s.KH))
    WP = property(lambda s: max(s.W + 2 * s.PW, (s.OW - 1) * s.SW + s.KW))
    # room for KH - 1 rows of zeros above the first row of dy, and for all that a pixel asks for
    HS = property(lambda s: s.KH + max(s.H + s.PH - 1, (s.OH - 1) * s.SH))
    WS = property(lambda s: s.KW + max(s.W + s.PW - 1, (s.OW - 1) * s.SW))

    def padded(s, version, x):
        """Return x with its padding, (N, C, HP, WP)."""
        return prepared(version, x, (s.HP, s.WP), (s.PH, s.PW))

    def spread(s, version, dy):
        """Return dy with its elements as far apart as the windows, and zeros, (N, K, HS, WS).

        dx is the convolution of this with the kernels turned by half a turn.
        """
        return prepared(version, dy, (s.HS, s.WS), (s.KH - 1, s.KW - 1), (s.SH, s.SW))


def offsets(*axes, start=0):
    """Return the offset of every element of a block of memory, in row-major order.

    Args     axes: (size, step) of each, step: elements from one index to the next
    """
    total = np.array([start], np.int64)
    for size, step in axes:
        total = np.add.outer(total, step * np.arange(size)).ravel()
    return total


class Offsets(typing.NamedTuple):
    """Of each of two matrices along one index: rows of a and c, inner of a and b, columns of b, c.

    groups: elements from one group to the next, of a, b and c
    """

    rows: tuple
    inner: tuple
    columns: tuple
    groups: tuple


def forward_offsets(s):
    """Return where w, x and y of a product lie."""
    w_rows, w_inner = offsets((s.KG, s.R)), offsets((s.R, 1))
    x_inner = offsets((s.CG, s.HP * s.WP), (s.KH, s.WP), (s.KW, 1))
    x_columns = offsets((s.N, s.C * s.HP * s.WP), (s.OH, s.SH * s.WP), (s.OW, s.SW))
    y_rows, y_columns = offsets((s.KG, s.P)), offsets((s.N, s.K * s.P), (s.P, 1))
    return Offsets((w_rows, y_rows), (w_inner, x_inner), (x_columns, y_columns),
                   (s.KG * s.R, s.CG * s.HP * s.WP, s.KG * s.P))


def dw_offsets(s):
    """Return where dy, x and dw lie: as in forward, with other roles."""
    (w_rows, y_rows), (w_inner, x_inner), (x_columns, y_columns), (w, x, y) = forward_offsets(s)
    return Offsets((y_rows, w_rows), (y_columns, x_columns), (x_inner, w_inner), (y, x, w))


def dx_offsets(s):
    """Return where w, dy with its zeros, and dx lie."""
    KERNEL, PIXELS, SPREAD = s.KH * s.KW, s.H * s.W, s.HS * s.WS
    first = (s.PH + s.KH - 1) * s.WS + s.PW + s.KW - 1  # what (0, 0) of x meets at (0, 0) of w
    return Offsets((offsets((s.CG, KERNEL)), offsets((s.CG, PIXELS))),
                   (offsets((s.KG, s.R), (KERNEL, 1)),
                    offsets((s.KG, SPREAD), (s.KH, -s.WS), (s.KW, -1), start=first)),
                   (offsets((s.N, s.K * SPREAD), (s.H, s.WS), (s.W, 1)),
                    offsets((s.N, s.C * PIXELS), (PIXELS, 1))),
                   (s.KG * s.R, s.KG * SPREAD, s.CG * PIXELS))


# ---- the product --------------------------------------------------------------------------------
def prepared(version, maps, size=None, first=(0, 0), step=(1, 1)):
    """Return maps (.., .., H, W) as the product wants them: with zeros, and in version 9 rounded.

    Args     size: height and width of the result; first: where (0, 0) comes to lie; step: from one
             pixel to the next
    """
    size = size or maps.shape[2:]
    if size == maps.shape[2:] and version < ROUNDED:
        return maps
    spread = new_like(maps, (*maps.shape[:2], *size))
    launch_blocks("implicit", "spread", math.prod(maps.shape[:2]), THREADS, maps, spread,
                  *maps.shape[2:], *size, *first, *step, **tile(version, 128)._asdict())
    return spread


def _multiply(version, describe, sizes, a, b, c, bias=None):
    xp = array_module(c)
    if c.size == 0 or b.size == 0:
        c[...] = 0
        return
    largest = max(a.size, b.size, c.size)
    index = np.int64 if largest > kernels.LARGE else np.int32
    rows, inner, columns, groups = _tables(describe, sizes, index, xp, xp.cuda.Device().id)
    I, J, R = rows.shape[1], columns.shape[1], inner.shape[1]
    of = tile(version, I)
    blocks = sizes.G * ceil_div(I, of.ROWS) * ceil_div(J, of.COLUMNS)
    slices = min(ceil_div(ENOUGH_BLOCKS, blocks), ceil_div(R, 16 * of.DEPTH))
    length = ceil_div(ceil_div(R, slices), of.DEPTH) * of.DEPTH
    slices = ceil_div(R, length)
    parts = c if slices == 1 else new_like(c, (slices, *c.shape))
    if bias is None:
        bias = xp.zeros(sizes.G * I, c.dtype)
    launch_blocks("implicit", "multiply", blocks * slices, of.THREADS,
                  a, b, bias, parts, rows, inner, columns, I, J, R, sizes.G, *groups,
                  length, c.size if slices > 1 else 0, **of._asdict())
    if slices > 1:
        c[...] = parts.sum(axis=0)


@functools.lru_cache(maxsize=16)  # of conv1 with 128 pictures, tables take 3 MB each way
def _tables(describe, sizes, index, xp, device):
    """Return offsets as arrays of one GPU, which are copied there once."""
    *tables, groups = describe(sizes)
    return *(to_device(np.array(table, index), "gpu") for table in tables), groups


def multiplies_in_tf32(array):
    """Return whether CUPY_TF32=1 asks for TF32, which cuBLAS then uses, and this GPU has it."""
    return os.environ.get("CUPY_TF32") == "1" and array.dtype == np.float32 and has_tf32()


def _require_tensor_cores(version, array):
    if version < TENSOR_CORES:
        return
    if array.dtype != np.float32:
        raise TypeError(f"version {version} multiplies float32 only, not {array.dtype}")
    if not has_tf32():
        raise DeviceError(f"version {version} needs tensor cores for TF32: compute capability "
                          "8.0 or later")

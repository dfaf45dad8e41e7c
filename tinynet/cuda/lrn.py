"""Launchers of lrn.cu.   N images  C channels  H W  |  G groups"""

from tinynet.cuda.kernels import SHARED_LIMIT, launch_blocks, launch_each, new_like, require_arrays
from tinynet.shapes import ceil_div, lrn_shape, require_shapes

PIXELS = CHANNELS = 32     # of one block across channels, as in lrn.cu
SIDE = 16                  # of one block within a map, as in lrn.cu
WINDOW = 5                 # the one for which there is a version 3
WALK = {"lrn_forward": 8, "lrn_backward": 32}  # channels of a thread of version 3


def lrn_forward(x, n, k, alpha, beta, groups=1):
    """Do what ops.lrn_forward does."""
    N, C, H, W = lrn_shape("lrn_forward", x.shape, n, groups)
    x, = require_arrays("lrn_forward", x=x)
    y, scale = new_like(x), new_like(x)
    _across("lrn_forward", (x, y, scale), groups, n, float(k), float(alpha), float(beta))
    return y, scale


def lrn_backward(dy, x, scale, n, alpha, beta, groups=1):
    """Do what ops.lrn_backward does."""
    N, C, H, W = lrn_shape("lrn_backward", x.shape, n, groups)
    dy, x, scale = _arrays("lrn_backward", dy, x, scale)
    dx = new_like(x)
    _across("lrn_backward", (dy, x, scale, dx), groups, n, float(alpha), float(beta))
    return dx


def lrn_within_forward(x, n, k, alpha, beta):
    """Do what ops.lrn_within_forward does."""
    N, C, H, W = lrn_shape("lrn_within_forward", x.shape, n)
    x, = require_arrays("lrn_within_forward", x=x)
    y, scale = new_like(x), new_like(x)
    _within("lrn_within_forward", n, x, y, scale, H, W, n, float(k), float(alpha), float(beta))
    return y, scale


def lrn_within_backward(dy, x, scale, n, alpha, beta):
    """Do what ops.lrn_within_backward does."""
    N, C, H, W = lrn_shape("lrn_within_backward", x.shape, n)
    dy, x, scale = _arrays("lrn_within_backward", dy, x, scale)
    dx = new_like(x)
    _within("lrn_within_backward", n, dy, x, scale, dx, H, W, n, float(alpha), float(beta))
    return dx


def _arrays(where, dy, x, scale):
    require_shapes(where, x.shape, dy=dy, scale=scale)
    return require_arrays(where, dy=dy, x=x, scale=scale)


def _across(kernel, arrays, groups, n, *settings):
    N, C, H, W = arrays[0].shape
    CG, HW = C // groups, H * W
    if n == WINDOW:
        steps = WALK[kernel]
        threads = N * groups * ceil_div(CG, steps) * HW
        launch_each("lrn", f"{kernel}_3", threads, *arrays, steps, C, CG, HW, *settings)
    else:
        blocks = N * ceil_div(C, CHANNELS) * ceil_div(HW, PIXELS)
        _launch(kernel, blocks, (PIXELS, 8), (CHANNELS + n - 1) * PIXELS,
                *arrays, C, CG, HW, n, *settings)


def _within(kernel, n, x, *arguments):
    N, C, H, W = x.shape
    blocks = N * C * ceil_div(H, SIDE) * ceil_div(W, SIDE)
    _launch(kernel, blocks, (SIDE, SIDE), (SIDE + n - 1)**2, x, *arguments)


def _launch(kernel, blocks, block, terms, x, *arguments):
    """Launch version 2 of a kernel, or version 1 where its terms do not fit into shared memory."""
    shared = terms * x.itemsize
    if shared > SHARED_LIMIT:
        launch_each("lrn", f"{kernel}_1", x.size, x, *arguments)
    else:
        launch_blocks("lrn", f"{kernel}_2", blocks, block, x, *arguments, shared=shared)

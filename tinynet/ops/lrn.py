"""Local response normalisation, vectorised: the sum over neighbours as shifted additions.

    N images  C channels  H W  |  G groups
"""

from tinynet.backend import array_module
from tinynet.shapes import lrn_shape, require_shapes


def lrn_forward(x, n, k, alpha, beta, groups=1):
    """Divide each activation by a power of the energy of its neighbours across channels.

    Paper    3.3  y_c = x_c / (k + alpha * sum_j x_j^2)^beta, j within n // 2 of c and in its group
    Args     x (N, C, H, W) float32 or float64; n odd, in channels; groups: windows stop at the
             borders between groups, as they did between the two GPUs
    Returns  y, scale: (N, C, H, W); lrn_backward needs scale
    Raises   ShapeError unless x has 4 axes; ValueError unless n is odd
    Memory   four arrays the size of x
    Differs  the 2012 code divides alpha by n; so do Caffe and PyTorch
    """
    lrn_shape("lrn_forward", x.shape, n, groups)
    scale = k + alpha * channel_window_sum(x * x, n, groups)              # (N, C, H, W)
    return x * scale**-beta, scale


def lrn_backward(dy, x, scale, n, alpha, beta, groups=1):
    """Compute the gradient of lrn_forward: x's effect on its own y minus that on its neighbours.

    Args     dy, x, scale (N, C, H, W): scale as lrn_forward returned it. y is not needed: it is
             x * scale^-beta, and computing it again is cheaper than keeping it
    Returns  dx (N, C, H, W)
    """
    lrn_shape("lrn_backward", x.shape, n, groups)
    require_shapes("lrn_backward", x.shape, dy=dy, scale=scale)
    dx = dy * scale**-beta                                                # through its own y
    cross = channel_window_sum(dx * x / scale, n, groups)                 # here dx * x is dy * y
    dx -= 2 * alpha * beta * x * cross                                    # through its neighbours
    return dx


def lrn_within_forward(x, n, k, alpha, beta):
    """Divide each activation by a power of the energy of the n x n pixels around it in its map.

    Source   the 2012 code has this layer after the second LRN (n=5, k=1, alpha=0.001/25); the paper
             does not mention it
    Args     x (N, C, H, W); n odd, in pixels
    Returns  y, scale: (N, C, H, W)
    Raises   ShapeError unless x has 4 axes; ValueError unless n is odd
    """
    lrn_shape("lrn_within_forward", x.shape, n)
    scale = k + alpha * map_window_sum(x * x, n)                          # (N, C, H, W)
    return x * scale**-beta, scale


def lrn_within_backward(dy, x, scale, n, alpha, beta):
    """Compute the gradient of lrn_within_forward: lrn_backward with the window inside the map.

    Args     dy, x, scale (N, C, H, W)
    Returns  dx (N, C, H, W)
    """
    lrn_shape("lrn_within_backward", x.shape, n)
    require_shapes("lrn_within_backward", x.shape, dy=dy, scale=scale)
    dx = dy * scale**-beta                                                # (N, C, H, W)
    cross = map_window_sum(dx * x / scale, n)                             # (N, C, H, W)
    dx -= 2 * alpha * beta * x * cross
    return dx


def channel_window_sum(a, n, groups):
    """Sum over the n channels around each channel, each group like an image of its own."""
    N, C, H, W = a.shape
    return window_sum(a.reshape(N * groups, C // groups, H, W), n, axis=1).reshape(N, C, H, W)


def map_window_sum(a, n):
    """Sum over the n x n pixels around each pixel, first down, then across."""
    return window_sum(window_sum(a, n, axis=2), n, axis=3)


def window_sum(a, n, axis):
    """Sum over the n elements around each element along one axis, itself included."""
    xp = array_module(a)
    total = a.copy()
    sums, terms = xp.moveaxis(total, axis, 0), xp.moveaxis(a, axis, 0)    # views: that axis first
    for step in range(1, n // 2 + 1):
        sums[:-step] += terms[step:]                                      # the neighbour above
        sums[step:] += terms[:-step]                                      # the neighbour below
    return total

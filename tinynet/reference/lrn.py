"""Local response normalisation, index by index.   N images  C channels  H W  |  G groups"""

import numpy as np

from tinynet.reference.limit import require_small
from tinynet.shapes import lrn_shape, require_shapes


def lrn_forward(x, n, k, alpha, beta, groups=1):
    """Divide each activation by a power of the energy of its neighbours across channels.

    Paper    3.3  y_c = x_c / (k + alpha * sum_j x_j^2)^beta, j within n // 2 of c and in its group
    Args     x (N, C, H, W) float32 or float64; n odd, in channels
    Returns  y, scale: (N, C, H, W); lrn_backward needs scale
    Raises   ShapeError unless x has 4 axes; ValueError unless n is odd, or where it would take too
             long
    """
    N, C, H, W = lrn_shape("lrn_forward", x.shape, n, groups)
    require_small("lrn_forward", N * C * H * W * n)
    y, scale = np.empty(x.shape, x.dtype), np.empty(x.shape, x.dtype)
    for image in range(N):
        for c in range(C):
            first, last = _neighbours(c, n, C // groups)
            for h in range(H):
                for w in range(W):
                    energy = 0
                    for j in range(first, last + 1):
                        energy += x[image, j, h, w] ** 2
                    scale[image, c, h, w] = k + alpha * energy
                    y[image, c, h, w] = x[image, c, h, w] / scale[image, c, h, w] ** beta
    return y, scale


def lrn_backward(dy, x, scale, n, alpha, beta, groups=1):
    """Compute the effect of x on its own y minus its effect on each y whose energy contains it.

    Formula  dx_c = dy_c / scale_c^beta
                    - 2 * alpha * beta * x_c * sum_j dy_j * x_j / scale_j^(beta + 1),
             j as in lrn_forward
    Args     dy, x, scale (N, C, H, W): scale as lrn_forward returned it
    Returns  dx (N, C, H, W)
    """
    N, C, H, W = lrn_shape("lrn_backward", x.shape, n, groups)
    require_shapes("lrn_backward", x.shape, dy=dy, scale=scale)
    require_small("lrn_backward", N * C * H * W * n)
    dx = np.empty(x.shape, x.dtype)
    for image in range(N):
        for c in range(C):
            first, last = _neighbours(c, n, C // groups)  # n is odd: c is a neighbour of each
            for h in range(H):
                for w in range(W):
                    cross = 0
                    for j in range(first, last + 1):
                        power = scale[image, j, h, w] ** (beta + 1)
                        cross += dy[image, j, h, w] * x[image, j, h, w] / power
                    own = dy[image, c, h, w] / scale[image, c, h, w] ** beta
                    dx[image, c, h, w] = own - 2 * alpha * beta * x[image, c, h, w] * cross
    return dx


def lrn_within_forward(x, n, k, alpha, beta):
    """Divide each activation by a power of the energy of the n x n pixels around it in its map.

    Source   the 2012 code; the paper does not mention it
    Formula  y_h,w = x_h,w / (k + alpha * sum_i,j x_i,j^2)^beta, i and j within n // 2 of h and w
             and inside the map
    Args     x (N, C, H, W); n odd, in pixels
    Returns  y, scale: (N, C, H, W)
    Raises   ShapeError unless x has 4 axes; ValueError unless n is odd, or where it would take too
             long
    """
    N, C, H, W = lrn_shape("lrn_within_forward", x.shape, n)
    require_small("lrn_within_forward", N * C * H * W * n * n)
    y, scale = np.empty(x.shape, x.dtype), np.empty(x.shape, x.dtype)
    for image in range(N):
        for c in range(C):
            for h in range(H):
                top, bottom = _neighbours(h, n, H)
                for w in range(W):
                    left, right = _neighbours(w, n, W)
                    energy = 0
                    for i in range(top, bottom + 1):
                        for j in range(left, right + 1):
                            energy += x[image, c, i, j] ** 2
                    scale[image, c, h, w] = k + alpha * energy
                    y[image, c, h, w] = x[image, c, h, w] / scale[image, c, h, w] ** beta
    return y, scale


def lrn_within_backward(dy, x, scale, n, alpha, beta):
    """Do what lrn_backward does, with the window inside the map.

    Formula  dx_h,w = dy_h,w / scale_h,w^beta
                      - 2 * alpha * beta * x_h,w * sum_i,j dy_i,j * x_i,j / scale_i,j^(beta + 1)
    Args     dy, x, scale (N, C, H, W)
    Returns  dx (N, C, H, W)
    """
    N, C, H, W = lrn_shape("lrn_within_backward", x.shape, n)
    require_shapes("lrn_within_backward", x.shape, dy=dy, scale=scale)
    require_small("lrn_within_backward", N * C * H * W * n * n)
    dx = np.empty(x.shape, x.dtype)
    for image in range(N):
        for c in range(C):
            for h in range(H):
                top, bottom = _neighbours(h, n, H)
                for w in range(W):
                    left, right = _neighbours(w, n, W)
                    cross = 0
                    for i in range(top, bottom + 1):
                        for j in range(left, right + 1):
                            power = scale[image, c, i, j] ** (beta + 1)
                            cross += dy[image, c, i, j] * x[image, c, i, j] / power
                    own = dy[image, c, h, w] / scale[image, c, h, w] ** beta
                    dx[image, c, h, w] = own - 2 * alpha * beta * x[image, c, h, w] * cross
    return dx


def _neighbours(c, n, size):
    """Return the first and last index within n // 2 of c, inside c's group of `size`."""
    start = c // size * size
    return max(start, c - n // 2), min(start + size - 1, c + n // 2)

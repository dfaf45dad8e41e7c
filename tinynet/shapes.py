"""Shapes: how big an output is, and what is said when two arrays do not fit.

The only module that computes an output shape or words a shape error. Each `..._shape` function takes `where`, the name
of the op or the layer on whose behalf it checks, and returns the shape of the result.

    N images  C channels  H W height, width  |  K kernels  KH KW kernel height, width  |  OH OW output  |  G groups
"""

import numpy as np


class ShapeError(ValueError):
    """Two shapes do not fit; the message says where, what was expected and what came."""


def pair(value):
    """3 -> (3, 3); (3, 5) -> (3, 5): a size, stride or padding as (height, width)."""
    if isinstance(value, (tuple, list)):
        height, width = value
        return int(height), int(width)
    return int(value), int(value)


def ceil_div(a, b):
    """Divide integers and round up: ceil_div(7, 2) is 4, also where a float would be too coarse."""
    return -(-a // b)


def output_size(size, kernel, stride, pad=0, ceil=False):
    """How many windows of `kernel` pixels, `stride` apart, fit into `size` pixels padded by `pad` on both sides.

    Paper    3.5 prints 224 -> 55, which needs ceil: (224 - 11) / 4 is 53.25
    Args     all in pixels; ceil: a last window may reach past the end (as in the 2012 code), not ceil: it may not
    Raises   ShapeError where not a single window fits whole
    """
    if min(size, kernel, stride) < 1 or pad < 0:
        raise ShapeError(f"size {size}, kernel {kernel} and stride {stride} must be at least 1, pad {pad} at least 0")
    room = size + 2 * pad - kernel
    if room < 0:
        raise ShapeError(f"a window of {kernel} does not fit into {size} pixels" + (f" padded by {pad}" if pad else ""))
    count = (ceil_div(room, stride) if ceil else room // stride) + 1
    while (count - 1) * stride >= size + pad:  # with ceil, a stride longer than the window could step over the end
        count -= 1
    return count


def windows_shape(where, x_shape, kernel, stride, pad=0, ceil=False):
    """x (N, C, H, W) -> (OH, OW): how many windows go down and across."""
    require_axes(where, "x", x_shape, 4)
    try:
        return tuple(output_size(*axis, ceil) for axis in zip(x_shape[2:], pair(kernel), pair(stride), pair(pad)))
    except ShapeError as error:
        raise ShapeError(f"{where}: {error}, x is {tuple(x_shape)}") from None


def conv2d_shape(where, x_shape, w_shape, stride, pad, groups, ceil=False):
    """x (N, C, H, W) with w (K, C/G, KH, KW) -> (N, K, OH, OW)."""
    require_axes(where, "x", x_shape, 4)
    require_axes(where, "w", w_shape, 4)
    N, C, H, W = x_shape
    K, CG, KH, KW = w_shape
    if groups < 1 or K % groups:
        raise ShapeError(f"{where}: {K} kernels cannot be shared out among groups={groups}")
    if C != CG * groups:
        raise ShapeError(f"{where}: w {tuple(w_shape)} with groups={groups} expects {CG * groups} input channels, "
                         f"x {tuple(x_shape)} has {C}")
    return N, K, *windows_shape(where, x_shape, (KH, KW), stride, pad, ceil)


def pool_shape(where, x_shape, size, stride, ceil=False):
    """x (N, C, H, W) -> (N, C, OH, OW)."""
    return *x_shape[:2], *windows_shape(where, x_shape, size, stride, 0, ceil)


def lrn_shape(where, x_shape, n, groups=1):
    """x (N, C, H, W) -> the same; n odd, C a multiple of groups."""
    require_axes(where, "x", x_shape, 4)
    if n < 1 or n % 2 == 0:
        raise ValueError(f"{where}: n={n} must be odd, so that the window has a middle")
    if groups < 1 or x_shape[1] % groups:
        raise ShapeError(f"{where}: {x_shape[1]} channels of x {x_shape} cannot be shared out among groups={groups}")
    return x_shape


def linear_shape(where, x_shape, w_shape):
    """x (N, IN) with w (OUT, IN) -> (N, OUT)."""
    require_axes(where, "x", x_shape, 2)
    require_axes(where, "w", w_shape, 2)
    if x_shape[1] != w_shape[1]:
        raise ShapeError(f"{where}: w {w_shape} expects {w_shape[1]} inputs, x {x_shape} has {x_shape[1]}")
    return x_shape[0], w_shape[0]


def require_axes(where, name, shape, count):
    """Refuse an array of another number of axes."""
    if len(shape) != count:
        raise ShapeError(f"{where}: {name} needs {count} axes, {name} {tuple(shape)} has {len(shape)}")


def require_shape(where, name, shape, expected):
    """Refuse an array of another shape."""
    if tuple(shape) != tuple(expected):
        raise ShapeError(f"{where}: {name} must have shape {tuple(expected)}, {name} has {tuple(shape)}")


def require_labels(where, labels, N, classes):
    """Refuse labels that are not N integers in [0, classes). Call it on the host: CuPy wraps a wrong index silently."""
    labels = np.asarray(labels)
    require_shape(where, "labels", labels.shape, (N,))
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{where}: labels must be integers, they are {labels.dtype}")
    if labels.size and not (0 <= labels.min() and labels.max() < classes):
        wrong = labels[(labels < 0) | (labels >= classes)][0]
        raise ValueError(f"{where}: label {wrong} is outside the {classes} classes 0 to {classes - 1}")


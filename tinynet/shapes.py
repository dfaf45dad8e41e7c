"""Compute the shape of every output, and word the message where two shapes do not fit.

No other module does either. Each `..._shape` function takes `where`, the name of the op or layer
that it checks for, and returns the shape of the result.

    N images  C channels  H W height, width  |  K kernels  KH KW kernel height, width
    OH OW output height, width  |  G groups
"""

import numbers

import numpy as np


class ShapeError(ValueError):
    """Two shapes do not fit; the message says where, what was expected and what was given."""


def pair(value):
    """Return a size, stride or padding as (height, width): 3 gives (3, 3), (3, 5) stays as it is.

    Raises   ShapeError unless every number is a whole number: 3.7 pixels would be rounded silently
    """
    both = value if isinstance(value, (tuple, list)) else (value, value)
    whole = [isinstance(each, (int, np.integer)) and not isinstance(each, bool) for each in both]
    if whole != [True, True]:
        raise ShapeError("a size, stride or padding is a whole number of pixels "
                         f"or a (height, width) pair of them, not {value!r}")
    height, width = both
    return int(height), int(width)


def ceil_div(a, b):
    """Divide integers and round up: ceil_div(7, 2) is 4. No float is involved: it is exact."""
    return -(-a // b)


def output_size(size, kernel, stride, pad=0, ceil=False):
    """Count the windows of `kernel` pixels, `stride` apart, in `size` pixels padded on both sides.

    Paper    3.5 prints 224 -> 55, which needs ceil: (224 - 11) / 4 is 53.25
    Args     all in pixels; ceil=True adds a last window that reaches past the end where the stride
             does not divide the rest, provided that it begins before the end of the picture
    Returns  the number of windows, at least 1
    Raises   ShapeError where there would be none
    Differs  the 2012 code and Caffe's pooling use ceil, Caffe's convolution and PyTorch do not
    """
    if min(size, kernel, stride) < 1 or pad < 0:
        raise ShapeError(f"size {size}, kernel {kernel} and stride {stride} must be at least 1, "
                         f"pad {pad} at least 0")
    count, left_over = divmod(size + 2 * pad - kernel, stride)
    count += 1
    if ceil and left_over and count * stride < size + pad:
        count += 1
    if count < 1:
        padded = f" padded by {pad}" if pad else ""
        raise ShapeError(f"a window of {kernel} does not fit into {size} pixels{padded}")
    return count


def windows_shape(where, x_shape, kernel, stride, pad=0, ceil=False):
    """Return (OH, OW), how many windows go down and across x (N, C, H, W)."""
    require_axes(where, "x", x_shape, 4)
    try:
        axes = zip(x_shape[2:], pair(kernel), pair(stride), pair(pad))
        return tuple(output_size(*axis, ceil) for axis in axes)
    except ShapeError as error:
        raise ShapeError(f"{where}: {error}, x is {tuple(x_shape)}") from None


def padded_shape(x_shape, windows, kernel, stride, pad):
    """Return the shape of x (N, C, H, W) with its padding and what windows read past the end.

    Args     windows: (OH, OW), as windows_shape returned them
    """
    (N, C, H, W), (OH, OW) = x_shape, windows
    (KH, KW), (SH, SW), (PH, PW) = pair(kernel), pair(stride), pair(pad)
    return N, C, max(H + 2 * PH, (OH - 1) * SH + KH), max(W + 2 * PW, (OW - 1) * SW + KW)


def conv2d_shape(where, x_shape, w_shape, stride, pad, groups, ceil=False):
    """Return (N, K, OH, OW) for x (N, C, H, W) and w (K, C/G, KH, KW)."""
    require_axes(where, "x", x_shape, 4)
    require_axes(where, "w", w_shape, 4)
    N, C, H, W = x_shape
    K, CG, KH, KW = w_shape
    if groups < 1 or K % groups:
        raise ShapeError(f"{where}: {K} kernels cannot be divided into groups={groups}")
    if C != CG * groups:
        raise ShapeError(f"{where}: w {tuple(w_shape)} with groups={groups} expects {CG * groups} "
                         f"input channels, x {tuple(x_shape)} has {C}")
    return N, K, *windows_shape(where, x_shape, (KH, KW), stride, pad, ceil)


def pool_shape(where, x_shape, size, stride, pad=0, ceil=False):
    """Return (N, C, OH, OW) for x (N, C, H, W)."""
    OH, OW = windows_shape(where, x_shape, size, stride, pad, ceil)
    for window, padding in zip(pair(size), pair(pad)):
        if padding >= window:
            raise ShapeError(f"{where}: pad {padding} must be smaller than the window of {window}: "
                             "a window in the padding alone has no largest pixel and no mean")
    return *x_shape[:2], OH, OW


def lrn_shape(where, x_shape, n, groups=1):
    """Return x_shape, after checking that n is odd and that C is a multiple of groups."""
    require_axes(where, "x", x_shape, 4)
    if n < 1 or n % 2 == 0:
        raise ValueError(f"{where}: n={n} must be odd, so that the window has a middle")
    if groups < 1 or x_shape[1] % groups:
        raise ShapeError(f"{where}: {x_shape[1]} channels of x {tuple(x_shape)} cannot be divided "
                         f"into groups={groups}")
    return x_shape


def linear_shape(where, x_shape, w_shape):
    """Return (N, OUT) for x (N, IN) and w (OUT, IN)."""
    require_axes(where, "x", x_shape, 2)
    require_axes(where, "w", w_shape, 2)
    if x_shape[1] != w_shape[1]:
        raise ShapeError(f"{where}: w {tuple(w_shape)} expects {w_shape[1]} inputs, "
                         f"x {tuple(x_shape)} has {x_shape[1]}")
    return x_shape[0], w_shape[0]


def require_axes(where, name, shape, count):
    """Refuse an array unless it has `count` axes."""
    if len(shape) != count:
        raise ShapeError(f"{where}: {name} needs {count} axes, "
                         f"{name} {tuple(shape)} has {len(shape)}")


def require_shape(where, name, shape, expected):
    """Refuse an array unless it has the expected shape."""
    if tuple(shape) != tuple(expected):
        raise ShapeError(f"{where}: {name} must have shape {tuple(expected)}, "
                         f"{name} has {tuple(shape)}")


def require_shapes(where, expected, **arrays):
    """Refuse arrays unless all have the expected shape. Their names are for the message."""
    for name, array in arrays.items():
        require_shape(where, name, array.shape, expected)


def require_labels(where, labels, N, classes):
    """Refuse labels unless they are N integers in [0, classes).

    The labels must be on the host: CuPy wraps a wrong index silently.
    """
    labels = np.asarray(labels)
    require_shape(where, "labels", labels.shape, (N,))
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{where}: labels must be integers, they are {labels.dtype}")
    if labels.size and not (0 <= labels.min() and labels.max() < classes):
        wrong = labels[(labels < 0) | (labels >= classes)][0]
        raise ValueError(f"{where}: label {wrong} is outside the {classes} classes "
                         f"0 to {classes - 1}")


def require_whole(where, least=1, **values):
    """Refuse a value that is not a whole number, or is below `least`. Names are for the message."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, numbers.Integral):
            raise TypeError(f"{where}: {name}={value!r} must be a whole number")
        if value < least:
            raise ValueError(f"{where}: {name}={value} must be at least {least}")


def require_number(where, least=-np.inf, **values):
    """Refuse a value that is not a finite number from `least` on. Names are for the message."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise TypeError(f"{where}: {name}={value!r} must be a number")
        if not np.isfinite(value):
            raise ValueError(f"{where}: {name}={value} must be finite")
        if value < least:
            raise ValueError(f"{where}: {name}={value} must be at least {least}")

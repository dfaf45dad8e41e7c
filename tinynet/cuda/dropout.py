"""Launchers of dropout.cu."""

from tinynet.cuda.kernels import launch_each, launch_strided, new_like, require_arrays
from tinynet.shapes import require_shape

VERSION = 2  # of the kernels in dropout.cu; 1: one thread per element


def dropout_forward(x, mask):
    """As ops.dropout_forward."""
    return _multiply("dropout_forward", "x", x, mask)


def dropout_backward(dy, mask):
    """As ops.dropout_backward."""
    return _multiply("dropout_backward", "dy", dy, mask)


def _multiply(where, name, x, mask):
    if isinstance(mask, (int, float)):
        x, = require_arrays(where, **{name: x})
        y = new_like(x)
        launch_strided("dropout", "multiply_by_number_2", x.size, x, float(mask), y)
        return y
    require_shape(where, "mask", mask.shape, x.shape)
    x, mask = require_arrays(where, **{name: x}, mask=mask)
    y = new_like(x)
    launch = launch_each if VERSION == 1 else launch_strided
    launch("dropout", f"multiply_{VERSION}", x.size, x, mask, y)
    return y

"""Launchers of dropout.cu."""

from tinynet.cuda.kernels import launch_strided, new_like, require_arrays
from tinynet.shapes import require_shape


def dropout_forward(x, mask):
    """Do what ops.dropout_forward does."""
    return _multiply("dropout_forward", "x", x, mask)


def dropout_backward(dy, mask):
    """Do what ops.dropout_backward does."""
    return _multiply("dropout_backward", "dy", dy, mask)


def _multiply(where, name, x, mask):
    if isinstance(mask, (int, float)):
        x, = require_arrays(where, **{name: x})
        y = new_like(x)
        launch_strided("dropout", "multiply_by_number_2", x.size, x, y, float(mask))
    else:
        require_shape(where, "mask", mask.shape, x.shape)
        x, mask = require_arrays(where, **{name: x}, mask=mask)
        y = new_like(x)
        launch_strided("dropout", "multiply_2", x.size, x, mask, y)
    return y

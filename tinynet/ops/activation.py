"""Non-linearities, one array operation each. Backward needs the output y, not x."""

from tinynet.backend import array_module, contiguous
from tinynet.shapes import require_shape


def relu_forward(x):
    """Compute max(0, x).

    Paper    3.1
    Args     x, any shape
    Returns  y, the same shape
    """
    return contiguous(array_module(x).maximum(x, 0))


def relu_backward(dy, y):
    """Pass the gradient on where the unit was on.

    Source   the derivative at exactly 0 is taken as 0, as in the 2012 code
    """
    require_shape("relu_backward", "dy", dy.shape, y.shape)
    return contiguous(dy * (y > 0))


def leaky_relu_forward(x, slope):
    """Return x where it is positive and slope * x elsewhere; 0 < slope < 1."""
    return contiguous(array_module(x).where(x > 0, x, slope * x))


def leaky_relu_backward(dy, y, slope):
    """Return dy where y is positive and slope * dy elsewhere: y has the sign of x."""
    require_shape("leaky_relu_backward", "dy", dy.shape, y.shape)
    return contiguous(array_module(dy).where(y > 0, dy, slope * dy))


def tanh_forward(x):
    """Compute tanh(x), the saturating unit that the paper's figure 1 compares ReLU with."""
    return contiguous(array_module(x).tanh(x))


def tanh_backward(dy, y):
    """Compute dy * (1 - y^2), which is almost 0 once y is near -1 or 1: the unit has saturated."""
    require_shape("tanh_backward", "dy", dy.shape, y.shape)
    return contiguous(dy * (1 - y * y))


def sigmoid_forward(x):
    """Compute 1 / (1 + exp(-x)), by tanh because exp(-x) overflows at x = -89 in float32."""
    return contiguous(0.5 * array_module(x).tanh(0.5 * x) + 0.5)


def sigmoid_backward(dy, y):
    """Compute dy * y * (1 - y), a quarter of dy at most."""
    require_shape("sigmoid_backward", "dy", dy.shape, y.shape)
    return contiguous(dy * (y * (1 - y)))

"""Non-linearities, one array operation each. Backward needs only y, the output: nobody has to keep x."""

from tinynet.backend import array_module, contiguous
from tinynet.shapes import require_shape


def relu_forward(x):
    """max(0, x).

    Paper    3.1
    Args     x, any shape
    Returns  y, the same shape
    """
    return contiguous(array_module(x).maximum(x, 0))


def relu_backward(dy, y):
    """Pass the gradient where the unit was on. At exactly 0 the derivative is taken as 0, as in the 2012 code."""
    require_shape("relu_backward", "dy", dy.shape, y.shape)
    return contiguous(dy * (y > 0))


def leaky_relu_forward(x, slope):
    """x where positive, slope * x where not; 0 < slope < 1."""
    return contiguous(array_module(x).where(x > 0, x, slope * x))


def leaky_relu_backward(dy, y, slope):
    """slope is positive, so y has the sign of x. At exactly 0 the derivative is taken as slope."""
    require_shape("leaky_relu_backward", "dy", dy.shape, y.shape)
    return contiguous(array_module(dy).where(y > 0, dy, slope * dy))


def tanh_forward(x):
    """The saturating unit that the paper's figure 1 compares ReLU with."""
    return contiguous(array_module(x).tanh(x))


def tanh_backward(dy, y):
    """dy * (1 - y^2): next to nothing once y is near -1 or 1. The unit has saturated."""
    require_shape("tanh_backward", "dy", dy.shape, y.shape)
    return contiguous(dy * (1 - y * y))


def sigmoid_forward(x):
    """1 / (1 + exp(-x)), written as tanh because exp(-x) overflows at x = -89 in float32."""
    return contiguous(0.5 * array_module(x).tanh(0.5 * x) + 0.5)


def sigmoid_backward(dy, y):
    """dy * y * (1 - y): a quarter of dy at best."""
    require_shape("sigmoid_backward", "dy", dy.shape, y.shape)
    return contiguous(dy * (y * (1 - y)))

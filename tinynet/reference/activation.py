"""Non-linearities, one element at a time. Backward needs only y, the output."""

import math

import numpy as np

from tinynet.reference.limit import require_small
from tinynet.shapes import require_shape


def relu_forward(x):
    """max(0, x).

    Paper    3.1
    Args     x, any shape
    Returns  y, the same shape
    """
    require_small("relu_forward", x.size, "elements")
    y = np.empty(x.shape, x.dtype)
    for index in np.ndindex(x.shape):
        y[index] = 0 if x[index] <= 0 else x[index]  # asked this way round, NaN stays NaN
    return y


def relu_backward(dy, y):
    """dy where the unit was on, 0 where it was off or at exactly 0."""
    require_shape("relu_backward", "dy", dy.shape, y.shape)
    require_small("relu_backward", y.size, "elements")
    dx = np.empty(y.shape, dy.dtype)
    for index in np.ndindex(y.shape):
        dx[index] = dy[index] if y[index] > 0 else 0
    return dx


def leaky_relu_forward(x, slope):
    """x where positive, slope * x where not; 0 < slope < 1."""
    require_small("leaky_relu_forward", x.size, "elements")
    y = np.empty(x.shape, x.dtype)
    for index in np.ndindex(x.shape):
        y[index] = x[index] if x[index] > 0 else slope * x[index]
    return y


def leaky_relu_backward(dy, y, slope):
    """dy where y is positive, slope * dy where not: y has the sign of x."""
    require_shape("leaky_relu_backward", "dy", dy.shape, y.shape)
    require_small("leaky_relu_backward", y.size, "elements")
    dx = np.empty(y.shape, dy.dtype)
    for index in np.ndindex(y.shape):
        dx[index] = dy[index] if y[index] > 0 else slope * dy[index]
    return dx


def tanh_forward(x):
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x))."""
    require_small("tanh_forward", x.size, "elements")
    y = np.empty(x.shape, x.dtype)
    for index in np.ndindex(x.shape):
        y[index] = math.tanh(x[index])  # as in the first line, but no exp overflows
    return y


def tanh_backward(dy, y):
    """dy * (1 - y^2)."""
    require_shape("tanh_backward", "dy", dy.shape, y.shape)
    require_small("tanh_backward", y.size, "elements")
    dx = np.empty(y.shape, dy.dtype)
    for index in np.ndindex(y.shape):
        dx[index] = dy[index] * (1 - y[index] ** 2)
    return dx


def sigmoid_forward(x):
    """1 / (1 + exp(-x))."""
    require_small("sigmoid_forward", x.size, "elements")
    y = np.empty(x.shape, x.dtype)
    for index in np.ndindex(x.shape):
        if x[index] > 0:
            y[index] = 1 / (1 + math.exp(-x[index]))
        else:
            y[index] = math.exp(x[index]) / (1 + math.exp(x[index]))  # the same fraction, and exp cannot overflow
    return y


def sigmoid_backward(dy, y):
    """dy * y * (1 - y)."""
    require_shape("sigmoid_backward", "dy", dy.shape, y.shape)
    require_small("sigmoid_backward", y.size, "elements")
    dx = np.empty(y.shape, dy.dtype)
    for index in np.ndindex(y.shape):
        dx[index] = dy[index] * y[index] * (1 - y[index])
    return dx

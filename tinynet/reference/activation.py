"""Non-linearities, one element at a time. Backward needs the output y, not x."""

import math

import numpy as np

from tinynet.reference.limit import require_small
from tinynet.shapes import require_shape


def relu_forward(x):
    """Compute max(0, x).

    Paper    3.1
    Args     x, any shape
    Returns  y, the same shape
    """
    require_small("relu_forward", x.size, "elements")
    y = np.empty(x.shape, x.dtype)
    for index in np.ndindex(x.shape):
        y[index] = 0 if x[index] <= 0 else x[index]  # NaN <= 0 is false, so NaN stays NaN
    return y


def relu_backward(dy, y):
    """Pass dy on where the unit was on; return 0 where it was off or exactly 0."""
    require_shape("relu_backward", "dy", dy.shape, y.shape)
    require_small("relu_backward", y.size, "elements")
    dx = np.empty(y.shape, dy.dtype)
    for index in np.ndindex(y.shape):
        dx[index] = dy[index] if y[index] > 0 else 0
    return dx


def leaky_relu_forward(x, slope):
    """Return x where it is positive and slope * x elsewhere; 0 < slope < 1."""
    require_small("leaky_relu_forward", x.size, "elements")
    y = np.empty(x.shape, x.dtype)
    for index in np.ndindex(x.shape):
        y[index] = x[index] if x[index] > 0 else slope * x[index]
    return y


def leaky_relu_backward(dy, y, slope):
    """Return dy where y is positive and slope * dy elsewhere: y has the sign of x."""
    require_shape("leaky_relu_backward", "dy", dy.shape, y.shape)
    require_small("leaky_relu_backward", y.size, "elements")
    dx = np.empty(y.shape, dy.dtype)
    for index in np.ndindex(y.shape):
        dx[index] = dy[index] if y[index] > 0 else slope * dy[index]
    return dx


def tanh_forward(x):
    """Compute (exp(x) - exp(-x)) / (exp(x) + exp(-x))."""
    require_small("tanh_forward", x.size, "elements")
    y = np.empty(x.shape, x.dtype)
    for index in np.ndindex(x.shape):
        y[index] = math.tanh(x[index])  # the formula above, without an exp that overflows
    return y


def tanh_backward(dy, y):
    """Compute dy * (1 - y^2)."""
    require_shape("tanh_backward", "dy", dy.shape, y.shape)
    require_small("tanh_backward", y.size, "elements")
    dx = np.empty(y.shape, dy.dtype)
    for index in np.ndindex(y.shape):
        dx[index] = dy[index] * (1 - y[index] ** 2)
    return dx


def sigmoid_forward(x):
    """Compute 1 / (1 + exp(-x))."""
    require_small("sigmoid_forward", x.size, "elements")
    y = np.empty(x.shape, x.dtype)
    for index in np.ndindex(x.shape):
        if x[index] > 0:
            y[index] = 1 / (1 + math.exp(-x[index]))
        else:  # the same fraction, times exp(x) above and below: here this exp cannot overflow
            y[index] = math.exp(x[index]) / (1 + math.exp(x[index]))
    return y


def sigmoid_backward(dy, y):
    """Compute dy * y * (1 - y)."""
    require_shape("sigmoid_backward", "dy", dy.shape, y.shape)
    require_small("sigmoid_backward", y.size, "elements")
    dx = np.empty(y.shape, dy.dtype)
    for index in np.ndindex(y.shape):
        dx[index] = dy[index] * y[index] * (1 - y[index])
    return dx

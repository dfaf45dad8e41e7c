"""Launchers of activation.cu."""

from tinynet.cuda.kernels import launch_each, launch_strided, new_like, require_arrays
from tinynet.shapes import require_shape

EACH = 4  # elements of a thread of version 3, as in activation.cu


def relu_forward(x):
    """Do what ops.relu_forward does."""
    x, = require_arrays("relu_forward", x=x)
    y = new_like(x)
    launch_each("activation", "relu_forward_3", x.size, x, y, per_thread=EACH)
    return y


def relu_backward(dy, y):
    """Do what ops.relu_backward does."""
    require_shape("relu_backward", "dy", dy.shape, y.shape)
    dy, y = require_arrays("relu_backward", dy=dy, y=y)
    dx = new_like(dy)
    launch_each("activation", "relu_backward_3", dy.size, dy, y, dx, per_thread=EACH)
    return dx


def leaky_relu_forward(x, slope):
    """Do what ops.leaky_relu_forward does."""
    return _forward("leaky_relu", x, float(slope))


def leaky_relu_backward(dy, y, slope):
    """Do what ops.leaky_relu_backward does."""
    return _backward("leaky_relu", dy, y, float(slope))


def tanh_forward(x):
    """Do what ops.tanh_forward does."""
    return _forward("tanh", x)


def tanh_backward(dy, y):
    """Do what ops.tanh_backward does."""
    return _backward("tanh", dy, y)


def sigmoid_forward(x):
    """Do what ops.sigmoid_forward does."""
    return _forward("sigmoid", x)


def sigmoid_backward(dy, y):
    """Do what ops.sigmoid_backward does."""
    return _backward("sigmoid", dy, y)


def _forward(name, x, *settings):
    x, = require_arrays(f"{name}_forward", x=x)
    y = new_like(x)
    launch_strided("activation", f"{name}_forward_2", x.size, x, y, *settings)
    return y


def _backward(name, dy, y, *settings):
    require_shape(f"{name}_backward", "dy", dy.shape, y.shape)
    dy, y = require_arrays(f"{name}_backward", dy=dy, y=y)
    dx = new_like(dy)
    launch_strided("activation", f"{name}_backward_2", dy.size, dy, y, dx, *settings)
    return dx

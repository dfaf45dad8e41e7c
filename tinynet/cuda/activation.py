"""Launchers of activation.cu."""

from tinynet.cuda.kernels import launch_each, launch_strided, new_like, require_arrays
from tinynet.shapes import require_shape

VERSION = 2  # of the kernels in activation.cu; 1: ReLU with one thread per element


def relu_forward(x):
    """As ops.relu_forward."""
    return _forward("relu", x)


def relu_backward(dy, y):
    """As ops.relu_backward."""
    return _backward("relu", dy, y)


def leaky_relu_forward(x, slope):
    """As ops.leaky_relu_forward."""
    return _forward("leaky_relu", x, float(slope))


def leaky_relu_backward(dy, y, slope):
    """As ops.leaky_relu_backward."""
    return _backward("leaky_relu", dy, y, float(slope))


def tanh_forward(x):
    """As ops.tanh_forward."""
    return _forward("tanh", x)


def tanh_backward(dy, y):
    """As ops.tanh_backward."""
    return _backward("tanh", dy, y)


def sigmoid_forward(x):
    """As ops.sigmoid_forward."""
    return _forward("sigmoid", x)


def sigmoid_backward(dy, y):
    """As ops.sigmoid_backward."""
    return _backward("sigmoid", dy, y)


def _forward(name, x, *settings):
    x, = require_arrays(f"{name}_forward", x=x)
    y = new_like(x)
    _launch(f"{name}_forward", x, y, *settings)
    return y


def _backward(name, dy, y, *settings):
    require_shape(f"{name}_backward", "dy", dy.shape, y.shape)
    dy, y = require_arrays(f"{name}_backward", dy=dy, y=y)
    dx = new_like(dy)
    _launch(f"{name}_backward", dy, y, dx, *settings)
    return dx


def _launch(kernel, x, *arguments):
    if VERSION == 1 and kernel.startswith("relu"):
        launch_each("activation", f"{kernel}_1", x.size, x, *arguments)
    else:
        launch_strided("activation", f"{kernel}_2", x.size, x, *arguments)

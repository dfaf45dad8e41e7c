"""Non-linearities on CPU cores: the formulas of `ops`, applied block by block.

Why it is fast: all cores work, each on a block so small that it stays in its cache. Every step of a
formula writes to the place of the result, so no memory is needed on the way.
"""

import numpy as np

from tinynet.cpu.memory import empty
from tinynet.cpu.parallel import for_each_block
from tinynet.shapes import require_shape


def relu_forward(x):
    """Compute ops.relu_forward block by block on all cores."""
    return _by_blocks(lambda y, x: np.maximum(x, 0, out=y), x)


def relu_backward(dy, y):
    """Compute ops.relu_backward block by block on all cores."""
    require_shape("relu_backward", "dy", dy.shape, y.shape)
    return _by_blocks(lambda dx, dy, y: np.multiply(dy, y > 0, out=dx), dy, y)


def leaky_relu_forward(x, slope):
    """Compute ops.leaky_relu_forward as the larger of x and slope * x, since slope is below 1."""
    def work(y, x):
        np.multiply(slope, x, out=y)
        np.maximum(x, y, out=y)

    return _by_blocks(work, x)


def leaky_relu_backward(dy, y, slope):
    """Compute ops.leaky_relu_backward block by block on all cores."""
    require_shape("leaky_relu_backward", "dy", dy.shape, y.shape)

    def work(dx, dy, y):
        np.multiply(slope, dy, out=dx)
        np.copyto(dx, dy, where=y > 0)

    return _by_blocks(work, dy, y)


def tanh_forward(x):
    """Compute ops.tanh_forward block by block on all cores."""
    return _by_blocks(lambda y, x: np.tanh(x, out=y), x)


def tanh_backward(dy, y):
    """Compute ops.tanh_backward block by block on all cores."""
    require_shape("tanh_backward", "dy", dy.shape, y.shape)

    def work(dx, dy, y):
        np.multiply(y, y, out=dx)
        np.subtract(1, dx, out=dx)
        dx *= dy

    return _by_blocks(work, dy, y)


def sigmoid_forward(x):
    """Compute ops.sigmoid_forward block by block on all cores."""
    def work(y, x):
        np.multiply(0.5, x, out=y)
        np.tanh(y, out=y)
        y *= 0.5
        y += 0.5

    return _by_blocks(work, x)


def sigmoid_backward(dy, y):
    """Compute ops.sigmoid_backward block by block on all cores."""
    require_shape("sigmoid_backward", "dy", dy.shape, y.shape)

    def work(dx, dy, y):
        np.subtract(1, y, out=dx)
        dx *= y
        dx *= dy

    return _by_blocks(work, dy, y)


def _by_blocks(work, *inputs):
    """Return an array that work(out, *inputs) has filled, block by block on all cores."""
    out = empty(inputs[0].shape, inputs[0].dtype)
    for_each_block(work, out, *inputs)
    return out

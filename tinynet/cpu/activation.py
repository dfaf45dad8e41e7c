"""Non-linearities on CPU cores: the formulas of `ops`, applied block by block.

Why it is fast: all cores work, each on a block so small that the temporary arrays stay in its
cache. The two functions of ReLU write to their final place at once, and so come close to the speed
of a copy.
"""

import numpy as np

from tinynet.cpu.memory import empty
from tinynet.cpu.parallel import for_each_block
from tinynet.ops import activation as ops
from tinynet.shapes import require_shape


def relu_forward(x):
    """Compute ops.relu_forward block by block on all cores."""
    y = empty(x.shape, x.dtype)
    for_each_block(lambda y, x: np.maximum(x, 0, out=y), y, x)
    return y


def relu_backward(dy, y):
    """Compute ops.relu_backward block by block on all cores."""
    require_shape("relu_backward", "dy", dy.shape, y.shape)
    dx = empty(y.shape, dy.dtype)
    for_each_block(lambda dx, dy, y: np.multiply(dy, y > 0, out=dx), dx, dy, y)
    return dx


def leaky_relu_forward(x, slope):
    """Compute ops.leaky_relu_forward as the larger of x and slope * x, since slope is below 1."""
    return _by_blocks(lambda x: np.maximum(x, slope * x), x)


def leaky_relu_backward(dy, y, slope):
    """Compute ops.leaky_relu_backward block by block on all cores."""
    require_shape("leaky_relu_backward", "dy", dy.shape, y.shape)
    return _by_blocks(lambda dy, y: ops.leaky_relu_backward(dy, y, slope), dy, y)


def tanh_forward(x):
    """Compute ops.tanh_forward block by block on all cores."""
    return _by_blocks(ops.tanh_forward, x)


def tanh_backward(dy, y):
    """Compute ops.tanh_backward block by block on all cores."""
    require_shape("tanh_backward", "dy", dy.shape, y.shape)
    return _by_blocks(ops.tanh_backward, dy, y)


def sigmoid_forward(x):
    """Compute ops.sigmoid_forward block by block on all cores."""
    return _by_blocks(ops.sigmoid_forward, x)


def sigmoid_backward(dy, y):
    """Compute ops.sigmoid_backward block by block on all cores."""
    require_shape("sigmoid_backward", "dy", dy.shape, y.shape)
    return _by_blocks(ops.sigmoid_backward, dy, y)


def _by_blocks(function, *inputs):
    """Return function(*inputs), computed block by block on all cores."""
    out = empty(inputs[0].shape, inputs[0].dtype)

    def work(out, *inputs):
        out[...] = function(*inputs)

    for_each_block(work, out, *inputs)
    return out

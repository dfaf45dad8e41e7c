"""Non-linearities on CPU cores: the formulas of `ops`, applied block by block.

Why it is fast:
- All cores work, each on a block so small that the temporary arrays stay in its cache.
- Results are written directly to their final place.
- ReLU takes the maximum of x and an array of zeros. For two arrays NumPy's maximum has a vectorised
  loop; for an array and the number 0 it has not.
"""

import numpy as np

from tinynet.cpu.memory import empty
from tinynet.cpu.parallel import BLOCK, for_each_block
from tinynet.ops import activation as ops
from tinynet.shapes import require_shape

ZEROS = {dtype: np.zeros(BLOCK, dtype) for dtype in (np.dtype("float32"), np.dtype("float64"))}


def relu_forward(x):
    """Compute ops.relu_forward block by block on all cores."""
    zeros = ZEROS.get(x.dtype)
    if zeros is None:
        return ops.relu_forward(x)
    return _by_blocks(lambda x: np.maximum(x, zeros[:x.size]), x)


def relu_backward(dy, y):
    """Compute ops.relu_backward block by block on all cores."""
    require_shape("relu_backward", "dy", dy.shape, y.shape)
    return _by_blocks(ops.relu_backward, dy, y)


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

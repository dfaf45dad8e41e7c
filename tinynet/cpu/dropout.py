"""Dropout on CPU cores: the product of `ops`, block by block; memory bandwidth limits its speed."""

import numpy as np

from tinynet.cpu.memory import empty
from tinynet.cpu.parallel import for_each_block
from tinynet.shapes import require_shape


def dropout_forward(x, mask):
    """Compute ops.dropout_forward block by block on all cores."""
    return _masked("dropout_forward", x, mask)


def dropout_backward(dy, mask):
    """Compute ops.dropout_backward block by block on all cores."""
    return _masked("dropout_backward", dy, mask)


def _masked(where, x, mask):
    y = empty(x.shape, x.dtype)
    if isinstance(mask, (int, float)):
        for_each_block(lambda y, x: np.multiply(x, mask, out=y), y, x)
    else:
        require_shape(where, "mask", mask.shape, x.shape)
        for_each_block(lambda y, x, mask: np.multiply(x, mask, out=y), y, x, mask)
    return y

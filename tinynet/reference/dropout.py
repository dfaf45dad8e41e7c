"""Dropout, one element at a time."""

import numpy as np

from tinynet.reference.limit import require_small
from tinynet.shapes import require_shape


def dropout_forward(x, mask):
    """Compute y = x * mask.

    Paper    4.2: in training the mask is 1 with probability keep = 0.5, else 0; at test it is keep
             for every unit
    Args     x, any shape; mask: an array of x's shape, or one number for all units
    Returns  y, x's shape
    """
    if not isinstance(mask, (int, float)):
        require_shape("dropout_forward", "mask", mask.shape, x.shape)
    require_small("dropout_forward", x.size)
    y = np.empty(x.shape, x.dtype)
    for index in np.ndindex(x.shape):
        y[index] = x[index] * (mask if isinstance(mask, (int, float)) else mask[index])
    return y


def dropout_backward(dy, mask):
    """Compute dx = dy * mask."""
    if not isinstance(mask, (int, float)):
        require_shape("dropout_backward", "mask", mask.shape, dy.shape)
    require_small("dropout_backward", dy.size)
    dx = np.empty(dy.shape, dy.dtype)
    for index in np.ndindex(dy.shape):
        dx[index] = dy[index] * (mask if isinstance(mask, (int, float)) else mask[index])
    return dx

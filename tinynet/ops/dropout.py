"""Dropout: multiply by a mask, forward and backward."""

from tinynet.backend import contiguous
from tinynet.shapes import require_shape


def dropout_forward(x, mask):
    """Silence the units whose mask is 0.

    Paper    4.2: in training the mask is 1 with probability keep = 0.5, else 0; at test it is keep
             for every unit
    Args     x, any shape; mask: an array of x's shape, or one number for all units
    Returns  y, x's shape
    Differs  inverted dropout (Caffe, PyTorch): in training the mask is 1 / keep or 0, at test 1
    """
    _require_mask("dropout_forward", mask, x)
    return contiguous(x * mask)


def dropout_backward(dy, mask):
    """Compute dx = dy * mask: units that were silent learn nothing."""
    _require_mask("dropout_backward", mask, dy)
    return contiguous(dy * mask)


def _require_mask(where, mask, x):
    if not isinstance(mask, (int, float)):
        require_shape(where, "mask", mask.shape, x.shape)

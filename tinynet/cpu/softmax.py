"""Softmax and cross-entropy: nothing to gain on CPU cores, 128 x 1000 numbers are done in a millisecond by `ops`."""

from tinynet.ops.softmax import softmax_cross_entropy_backward, softmax_cross_entropy_forward

__all__ = ["softmax_cross_entropy_backward", "softmax_cross_entropy_forward"]

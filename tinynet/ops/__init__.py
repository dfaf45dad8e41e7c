"""Rung 2: every op vectorised, for NumPy and CuPy arrays.

Read it beside `reference/`, file by file.
"""

from tinynet.ops.activation import (
    leaky_relu_backward,
    leaky_relu_forward,
    relu_backward,
    relu_forward,
    sigmoid_backward,
    sigmoid_forward,
    tanh_backward,
    tanh_forward,
)
from tinynet.ops.conv import col2im, conv2d_backward, conv2d_forward, im2col
from tinynet.ops.dropout import dropout_backward, dropout_forward
from tinynet.ops.linear import linear_backward, linear_forward
from tinynet.ops.lrn import lrn_backward, lrn_forward, lrn_within_backward, lrn_within_forward
from tinynet.ops.pool import avgpool_backward, avgpool_forward, maxpool_backward, maxpool_forward
from tinynet.ops.sgd import sgd_step, sgd_step_
from tinynet.ops.softmax import softmax_cross_entropy_backward, softmax_cross_entropy_forward

__all__ = [
    "avgpool_backward", "avgpool_forward", "col2im", "conv2d_backward", "conv2d_forward",
    "dropout_backward", "dropout_forward", "im2col", "leaky_relu_backward", "leaky_relu_forward",
    "linear_backward", "linear_forward", "lrn_backward", "lrn_forward", "lrn_within_backward",
    "lrn_within_forward", "maxpool_backward", "maxpool_forward", "relu_backward", "relu_forward",
    "sgd_step", "sgd_step_", "sigmoid_backward", "sigmoid_forward",
    "softmax_cross_entropy_backward", "softmax_cross_entropy_forward", "tanh_backward",
    "tanh_forward"]

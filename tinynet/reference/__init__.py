"""Rung 1: every op as its formula, with one Python loop per index.

Read it beside the paper, then beside `ops/`. Sums have the dtype of x and add their terms in the
order of the loops; `math` computes Python floats, which are rounded when they are stored. Work that
would take more than about ten seconds is refused.
"""

from tinynet.reference.activation import (
    leaky_relu_backward,
    leaky_relu_forward,
    relu_backward,
    relu_forward,
    sigmoid_backward,
    sigmoid_forward,
    tanh_backward,
    tanh_forward,
)
from tinynet.reference.conv import col2im, conv2d_backward, conv2d_forward, im2col
from tinynet.reference.dropout import dropout_backward, dropout_forward
from tinynet.reference.linear import linear_backward, linear_forward
from tinynet.reference.lrn import lrn_backward, lrn_forward, lrn_within_backward, lrn_within_forward
from tinynet.reference.pool import (
    avgpool_backward,
    avgpool_forward,
    maxpool_backward,
    maxpool_forward,
)
from tinynet.reference.sgd import sgd_step, sgd_step_
from tinynet.reference.softmax import softmax_cross_entropy_backward, softmax_cross_entropy_forward

__all__ = [
    "avgpool_backward", "avgpool_forward", "col2im", "conv2d_backward", "conv2d_forward",
    "dropout_backward", "dropout_forward", "im2col", "leaky_relu_backward", "leaky_relu_forward",
    "linear_backward", "linear_forward", "lrn_backward", "lrn_forward", "lrn_within_backward",
    "lrn_within_forward", "maxpool_backward", "maxpool_forward", "relu_backward", "relu_forward",
    "sgd_step", "sgd_step_", "sigmoid_backward", "sigmoid_forward",
    "softmax_cross_entropy_backward", "softmax_cross_entropy_forward", "tanh_backward",
    "tanh_forward"]

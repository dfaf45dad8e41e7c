"""Rung 3: the functions of `ops`, tuned for the cores of a CPU.

Every function takes the arguments of the function with the same name in `ops`, returns the same
results and raises the same errors; its docstring says only what is different here. Read
`parallel.py` first, and then each file side by side with the file of the same name in `ops/`.
"""

from tinynet.cpu.activation import (
    leaky_relu_backward,
    leaky_relu_forward,
    relu_backward,
    relu_forward,
    sigmoid_backward,
    sigmoid_forward,
    tanh_backward,
    tanh_forward,
)
from tinynet.cpu.conv import col2im, conv2d_backward, conv2d_forward, im2col
from tinynet.cpu.dropout import dropout_backward, dropout_forward
from tinynet.cpu.linear import linear_backward, linear_forward
from tinynet.cpu.lrn import lrn_backward, lrn_forward, lrn_within_backward, lrn_within_forward
from tinynet.cpu.pool import avgpool_backward, avgpool_forward, maxpool_backward, maxpool_forward
from tinynet.cpu.sgd import sgd_step, sgd_step_
from tinynet.cpu.softmax import softmax_cross_entropy_backward, softmax_cross_entropy_forward

__all__ = [
    "avgpool_backward", "avgpool_forward", "col2im", "conv2d_backward", "conv2d_forward",
    "dropout_backward", "dropout_forward", "im2col", "leaky_relu_backward", "leaky_relu_forward",
    "linear_backward", "linear_forward", "lrn_backward", "lrn_forward", "lrn_within_backward",
    "lrn_within_forward", "maxpool_backward", "maxpool_forward", "relu_backward", "relu_forward",
    "sgd_step", "sgd_step_", "sigmoid_backward", "sigmoid_forward",
    "softmax_cross_entropy_backward", "softmax_cross_entropy_forward", "tanh_backward",
    "tanh_forward"]

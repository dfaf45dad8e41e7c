"""Rung 4: every op as kernels for NVIDIA GPUs, written by hand.

Read `kernels.py` first, then each .cu file from its top: it goes from the loop of `reference` to
the kernel that runs, one version at a time. `earlier.py` launches the earlier versions. Convolution
has two ladders: conv.cu ends with cuBLAS; implicit.cu, the one to read last, goes from one result
per thread to tensor cores without cuBLAS. `python -m tinynet.cuda conv` checks and times every
version of the convolution.
"""

from tinynet.cuda.activation import (
    leaky_relu_backward,
    leaky_relu_forward,
    relu_backward,
    relu_forward,
    sigmoid_backward,
    sigmoid_forward,
    tanh_backward,
    tanh_forward,
)
from tinynet.cuda.conv import col2im, conv2d_backward, conv2d_forward, im2col
from tinynet.cuda.dropout import dropout_backward, dropout_forward
from tinynet.cuda.linear import linear_backward, linear_forward
from tinynet.cuda.lrn import lrn_backward, lrn_forward, lrn_within_backward, lrn_within_forward
from tinynet.cuda.pool import avgpool_backward, avgpool_forward, maxpool_backward, maxpool_forward
from tinynet.cuda.sgd import sgd_step, sgd_step_
from tinynet.cuda.softmax import softmax_cross_entropy_backward, softmax_cross_entropy_forward

__all__ = [
    "avgpool_backward", "avgpool_forward", "col2im", "conv2d_backward", "conv2d_forward",
    "dropout_backward", "dropout_forward", "im2col", "leaky_relu_backward", "leaky_relu_forward",
    "linear_backward", "linear_forward", "lrn_backward", "lrn_forward", "lrn_within_backward",
    "lrn_within_forward", "maxpool_backward", "maxpool_forward", "relu_backward", "relu_forward",
    "sgd_step", "sgd_step_", "sigmoid_backward", "sigmoid_forward",
    "softmax_cross_entropy_backward", "softmax_cross_entropy_forward", "tanh_backward",
    "tanh_forward"]

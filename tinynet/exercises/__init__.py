"""Checks for the exercises of the lessons: each takes your function, runs it, and names the first thing wrong with it.

A check is a list of cases, from the simplest on, and a list of typical mistakes, each a function with a hint: whoever
returns what the mistake returns gets its hint. `judge` in check.py does the rest.
"""

from tinynet.exercises.check import Verdict
from tinynet.exercises.convolution import (
    check_conv_parameters,
    check_convolve,
    check_kernel_gradient,
    check_output_size,
)
from tinynet.exercises.lrn import check_lrn, check_lrn_gradient
from tinynet.exercises.neurons import check_chain_gradient, check_relu_gradient, check_tanh_gradient
from tinynet.exercises.pictures import check_middle_square, check_to_batch, check_top_k_error
from tinynet.exercises.pooling import check_max_pool, check_max_pool_gradient
from tinynet.exercises.softmax import check_cross_entropy, check_softmax_gradient, check_softmax_rows

__all__ = ["Verdict", "check_chain_gradient", "check_conv_parameters", "check_convolve", "check_cross_entropy",
           "check_kernel_gradient", "check_lrn", "check_lrn_gradient", "check_max_pool", "check_max_pool_gradient",
           "check_middle_square", "check_output_size", "check_relu_gradient", "check_softmax_gradient",
           "check_softmax_rows", "check_tanh_gradient", "check_to_batch", "check_top_k_error"]

"""Checks for the exercises of the lessons: each takes your function, runs it, and names the first thing wrong with it.

A check is a list of cases, from the simplest on, and a list of typical mistakes, each a function with a hint: whoever
returns what the mistake returns gets its hint. `judge` in check.py does the rest.
"""

from tinynet.exercises.alexnet import check_conv_macs, check_network_parameters, check_receptive_field
from tinynet.exercises.check import Verdict
from tinynet.exercises.convolution import (
    check_conv_parameters,
    check_convolve,
    check_kernel_gradient,
    check_output_size,
)
from tinynet.exercises.gradients import check_gradient_is_right, check_relative_error, check_slopes_of
from tinynet.exercises.inside import check_greyness, check_nearest_rows
from tinynet.exercises.lrn import check_lrn, check_lrn_gradient
from tinynet.exercises.pooling import check_max_pool, check_max_pool_gradient

__all__ = ["Verdict", "check_conv_macs", "check_conv_parameters", "check_convolve", "check_gradient_is_right",
           "check_greyness", "check_kernel_gradient", "check_lrn", "check_lrn_gradient", "check_max_pool",
           "check_max_pool_gradient", "check_nearest_rows", "check_network_parameters", "check_output_size",
           "check_receptive_field", "check_relative_error", "check_slopes_of"]

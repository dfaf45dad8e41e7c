"""Check the exercises of the lessons.

Each check takes your function, runs it on cases, the simplest first, and names the first thing that
is wrong. It also knows typical mistakes, each a function with a hint: if your function returns what
the mistake returns on every case, you get its hint. check.judge does all this.
"""

from tinynet.exercises.alexnet import (
    check_conv_macs,
    check_network_parameters,
    check_receptive_field,
)
from tinynet.exercises.augmentation import (
    check_average_views,
    check_colour_shift,
    check_longest_axis,
    check_versions,
)
from tinynet.exercises.backpropagation import (
    check_gradient_of_first_layer,
    check_gradient_of_input,
    check_gradient_of_weights,
)
from tinynet.exercises.check import Verdict
from tinynet.exercises.convolution import (
    check_conv_parameters,
    check_convolve,
    check_kernel_gradient,
    check_output_size,
)
from tinynet.exercises.dropout import check_at_test, check_drop, check_drop_gradient
from tinynet.exercises.gradients import (
    check_gradient_is_right,
    check_relative_error,
    check_slopes_of,
)
from tinynet.exercises.inside import check_greyness, check_nearest_rows
from tinynet.exercises.lrn import check_lrn, check_lrn_gradient
from tinynet.exercises.neurons import check_chain_gradient, check_relu_gradient, check_tanh_gradient
from tinynet.exercises.pictures import check_middle_square, check_to_batch, check_top_k_error
from tinynet.exercises.pooling import check_max_pool, check_max_pool_gradient
from tinynet.exercises.program import check_gradient_to_all, check_windows_2012
from tinynet.exercises.results import check_distance_between, check_error_of_difference
from tinynet.exercises.sgd import check_new_velocity, check_pytorch_steps, check_signal_between
from tinynet.exercises.softmax import (
    check_cross_entropy,
    check_softmax_gradient,
    check_softmax_rows,
)
from tinynet.exercises.speed import check_column_bytes, check_linear_intensity, check_tile_reads
from tinynet.exercises.training import check_honest_error, check_rates_of_plateau
from tinynet.exercises.two_gpus import (
    check_crossing_bytes,
    check_own_input_gradient,
    check_ring_bytes,
    check_tree_sum,
)

__all__ = ["Verdict", "check_at_test", "check_average_views", "check_chain_gradient",
           "check_colour_shift", "check_column_bytes", "check_conv_macs", "check_conv_parameters",
           "check_convolve", "check_cross_entropy", "check_crossing_bytes",
           "check_distance_between", "check_drop", "check_drop_gradient",
           "check_error_of_difference", "check_gradient_is_right", "check_gradient_of_first_layer",
           "check_gradient_of_input", "check_gradient_of_weights", "check_gradient_to_all",
           "check_greyness", "check_honest_error", "check_kernel_gradient",
           "check_linear_intensity", "check_longest_axis", "check_lrn", "check_lrn_gradient",
           "check_max_pool", "check_max_pool_gradient", "check_middle_square", "check_nearest_rows",
           "check_network_parameters", "check_new_velocity", "check_output_size",
           "check_own_input_gradient", "check_pytorch_steps", "check_rates_of_plateau",
           "check_receptive_field", "check_relative_error", "check_relu_gradient",
           "check_ring_bytes", "check_signal_between", "check_slopes_of", "check_softmax_gradient",
           "check_softmax_rows", "check_tanh_gradient", "check_tile_reads", "check_to_batch",
           "check_top_k_error", "check_tree_sum", "check_versions", "check_windows_2012"]

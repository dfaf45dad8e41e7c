"""The reference against numbers that were worked by hand, and where it refuses to begin.

Everything else is compared with the reference, so these few numbers carry the rest.
"""

import math

import numpy as np
import pytest

from tinynet import reference


def maps(*rows):
    """One image of one channel."""
    return np.array([[rows]], float)


def channels(*values):
    """One image of one pixel."""
    return np.array(values, float).reshape(1, -1, 1, 1)


def same(got, wanted):
    np.testing.assert_allclose(got, wanted, rtol=1e-14, atol=1e-15)


NINE = maps([1, 2, 3], [4, 5, 6], [7, 8, 9])
KERNEL = maps([1, 2], [3, 4])


# ---- convolution ---------------------------------------------------------------------------------------------------
def test_conv2d_lays_the_kernel_over_each_window():
    # top left: 1*1 + 2*2 + 3*4 + 4*5 = 37, and b = 10. The kernel turned round would make 4*1 + 3*2 + 2*4 + 1*5 = 23.
    same(reference.conv2d_forward(NINE, KERNEL, np.array([10.0]), 1, 0, 1), maps([47, 57], [77, 87]))


def test_conv2d_pads_with_zeros():
    # stride 2, pad 1: each of the four windows sees one pixel, by the opposite corner of the kernel: 4*1 3*2 2*3 1*4
    same(reference.conv2d_forward(KERNEL, KERNEL, np.zeros(1), 2, 1, 1), maps([4, 6], [6, 4]))


def test_conv2d_with_ceil_reads_zeros_past_the_end():
    x, w = maps([1, 2, 3, 4]), maps([1, 10, 100])
    same(reference.conv2d_forward(x, w, np.zeros(1), (1, 2), 0, 1), maps([321]))
    same(reference.conv2d_forward(x, w, np.zeros(1), (1, 2), 0, 1, ceil=True), maps([321, 43]))  # 3*1 + 4*10


def test_conv2d_has_windows_in_nothing_but_padding():
    y = reference.conv2d_forward(maps([2]), maps([3]), np.ones(1), 1, 1, 1)
    same(y, maps([1, 1, 1], [1, 7, 1], [1, 1, 1]))  # 2 * 3 + 1 in the middle, the bias alone around it


def test_conv2d_groups_see_their_own_channels():
    w, b = channels(2, 3, 4, 6).reshape(4, 1, 1, 1), np.zeros(4)
    same(reference.conv2d_forward(channels(5, 7), w, b, 1, 0, 2), channels(2 * 5, 3 * 5, 4 * 7, 6 * 7))
    dx, dw, db = reference.conv2d_backward(channels(1, 10, 100, 1000), channels(5, 7), w, 1, 0, 2)
    same(dx, channels(2 * 1 + 3 * 10, 4 * 100 + 6 * 1000))
    same(dw.ravel(), [1 * 5, 10 * 5, 100 * 7, 1000 * 7])
    same(db, [1, 10, 100, 1000])


def test_conv2d_backward():
    dx, dw, db = reference.conv2d_backward(maps([1, 0], [0, 2]), NINE, KERNEL, 1, 0, 1)
    same(dx, maps([1, 2, 0], [3, 4 + 2, 4], [0, 6, 8]))  # the kernel once at the top left, twice at the bottom right
    same(dw, maps([1 + 2 * 5, 2 + 2 * 6], [4 + 2 * 8, 5 + 2 * 9]))
    same(db, [3])


def test_conv2d_backward_sums_over_the_batch():
    x, dy = np.array([1.0, 2]).reshape(2, 1, 1, 1), np.array([10.0, 100]).reshape(2, 1, 1, 1)
    dx, dw, db = reference.conv2d_backward(dy, x, np.full((1, 1, 1, 1), 3.0), 1, 0, 1)
    same(dx.ravel(), [30, 300])
    same(dw.ravel(), [1 * 10 + 2 * 100])
    same(db, [110])


def test_im2col_and_back():
    x = maps([1, 2, 3], [4, 5, 6])
    cols = [[1, 2], [2, 3], [4, 5], [5, 6]]  # one column a window
    same(reference.im2col(x, 2, 2, 1, 0), cols)
    # the two pixels in the middle were in both windows
    same(reference.col2im(np.array(cols, float), (1, 1, 2, 3), 2, 2, 1, 0), maps([1, 4, 3], [4, 10, 6]))


# ---- pooling -------------------------------------------------------------------------------------------------------
def test_maxpool_overlaps():
    x = maps([1, 2, 3, 2, 1], [0, 9, 0, 0, 0], [0, 0, 7, 0, 0], [4, 0, 0, 0, 5], [0, 0, 0, 0, 0])
    y, argmax = reference.maxpool_forward(x, 3, 2)
    same(y, maps([9, 7], [7, 7]))
    np.testing.assert_array_equal(argmax, [[[[4, 6], [2, 0]]]])  # numbered 0 1 2 / 3 4 5 / 6 7 8 in each window
    dx = reference.maxpool_backward(maps([1, 2], [3, 4]), argmax, x.shape, 3, 2)
    wanted = np.zeros((5, 5))
    wanted[1, 1], wanted[2, 2] = 1, 2 + 3 + 4  # the 7 in the middle won three windows
    same(dx, [[wanted]])


def test_maxpool_gives_a_tie_to_the_first():
    y, argmax = reference.maxpool_forward(maps([-1, 5, 5], [5, 0, 5]), (2, 3), 1)
    assert y.item() == 5
    assert argmax.item() == 1


def test_maxpool_with_ceil_clips_the_last_window():
    x = maps([-1, -2, -3, -4])
    for ceil, y, argmax, dx in ((False, [-1], [0], [1, 0, 0, 0]), (True, [-1, -3], [0, 0], [1, 0, 1, 0])):
        got, where = reference.maxpool_forward(x, (1, 3), (1, 2), ceil=ceil)
        same(got, maps(y))
        np.testing.assert_array_equal(where, maps(argmax))
        same(reference.maxpool_backward(np.ones_like(got), where, x.shape, (1, 3), (1, 2), ceil=ceil), maps(dx))


def test_maxpool_padding_never_wins():
    x = maps([-1, -2, -3])  # windows: - -1 | -1 -2 | -2 -3 | -3 -
    y, argmax = reference.maxpool_forward(x, (1, 2), 1, (0, 1))
    same(y, maps([-1, -1, -2, -3]))
    np.testing.assert_array_equal(argmax, maps([1, 0, 0, 0]))
    dx = reference.maxpool_backward(maps([1, 10, 100, 1000]), argmax, x.shape, (1, 2), 1, (0, 1))
    same(dx, maps([11, 100, 1000]))
    y, argmax = reference.maxpool_forward(x - np.inf, (1, 2), 1, (0, 1))
    np.testing.assert_array_equal(argmax, maps([1, 0, 0, 0]))  # -inf of the picture goes before the padding


def test_maxpool_nan_is_larger_than_any_number():
    y, argmax = reference.maxpool_forward(maps([np.inf, np.nan, 3, np.nan, 5]), (1, 3), (1, 2))
    np.testing.assert_array_equal(y, maps([np.nan, np.nan]))
    np.testing.assert_array_equal(argmax, maps([1, 1]))
    assert reference.maxpool_forward(maps([np.nan, 1, np.nan]), (1, 3), 1)[1].item() == 2  # of several the last


def test_avgpool_does_not_count_the_padding():
    x = maps([2, 4, 9])
    same(reference.avgpool_forward(x, (1, 2), 1, (0, 1)), maps([2, 3, 6.5, 9]))
    same(reference.avgpool_backward(maps([1, 10, 100, 1000]), x.shape, (1, 2), 1, (0, 1)), maps([6, 55, 1050]))


def test_avgpool_shares_out_evenly():
    x = maps([1, 2, 3, 4, 5], [6, 7, 8, 9, 10], [11, 12, 13, 14, 15])
    same(reference.avgpool_forward(x, 3, 2), maps([7, 9]))
    dx = reference.avgpool_backward(maps([9, 18]), x.shape, 3, 2)
    same(dx, maps(*[[1, 1, 3, 2, 2]] * 3))  # the column in the middle lies in both windows


def test_avgpool_with_ceil_divides_by_the_pixels_inside():
    x = maps([2, 4, 6, 8])
    same(reference.avgpool_forward(x, (1, 3), (1, 2), ceil=True), maps([4, 7]))
    same(reference.avgpool_backward(maps([3, 4]), x.shape, (1, 3), (1, 2), ceil=True), maps([1, 1, 3, 2]))


# ---- response normalisation ----------------------------------------------------------------------------------------
def test_lrn_looks_at_neighbours():
    # n = 3: 1 + 4 = 5, 1 + 4 + 9 = 14, 4 + 9 = 13; with k = 1 and alpha = 2 that makes 11, 29, 27
    y, scale = reference.lrn_forward(channels(1, 2, 3), 3, 1, 2, 1)
    same(scale, channels(11, 29, 27))
    same(y, channels(1 / 11, 2 / 29, 3 / 27))


def test_lrn_takes_a_power():
    y, scale = reference.lrn_forward(channels(2), 1, 12, 1, 0.75)
    same(scale, channels(16))
    same(y, channels(2 / 8))  # 16 ^ 0.75 = 8


def test_lrn_stops_at_the_border_of_a_group():
    _, scale = reference.lrn_forward(channels(1, 2, 3, 4), 3, 0, 1, 1, groups=2)
    same(scale, channels(1 + 4, 1 + 4, 9 + 16, 9 + 16))


def test_lrn_backward():
    # y0 = x0 / (1 + x0^2 + x1^2) at (1, 2, 3): dy0/dx0 = (6 - 2 * 1) / 36, dy0/dx1 = -1 * 2 * 2 / 36, dy0/dx2 = 0
    x = channels(1, 2, 3)
    _, scale = reference.lrn_forward(x, 3, 1, 1, 1)
    same(reference.lrn_backward(channels(1, 0, 0), x, scale, 3, 1, 1), channels(4 / 36, -4 / 36, 0))


def test_lrn_within_looks_at_the_surroundings():
    x = maps([1, 2, 3], [4, 5, 6])
    y, scale = reference.lrn_within_forward(x, 3, 1, 1, 1)
    left, middle, right = 1 + 4 + 16 + 25, 1 + 4 + 9 + 16 + 25 + 36, 4 + 9 + 25 + 36
    same(scale, maps([1 + left, 1 + middle, 1 + right], [1 + left, 1 + middle, 1 + right]))
    same(y, x / scale)
    # as above: y_00 = x_00 / 47; its slope in itself (47 - 2) / 47^2, in its three neighbours -2 * x / 47^2
    dx = reference.lrn_within_backward(maps([1, 0, 0], [0, 0, 0]), x, scale, 3, 1, 1)
    same(dx, np.array(maps([45, -4, 0], [-8, -10, 0])) / 47**2)


# ---- activations ---------------------------------------------------------------------------------------------------
def test_relu():
    same(reference.relu_forward(np.array([-2.0, 0, 3])), [0, 0, 3])
    same(reference.relu_backward(np.array([5.0, 6, 7]), np.array([0.0, 0, 3])), [0, 0, 7])


def test_leaky_relu():
    same(reference.leaky_relu_forward(np.array([-2.0, 0, 3]), 0.1), [-0.2, 0, 3])
    same(reference.leaky_relu_backward(np.array([5.0, 6, 7]), np.array([-0.2, 0, 3]), 0.1), [0.5, 0.6, 7])


def test_tanh():
    y = reference.tanh_forward(np.array([math.log(2)]))
    same(y, [(2 - 1 / 2) / (2 + 1 / 2)])
    same(reference.tanh_backward(np.array([10.0]), y), [10 * (1 - 0.6**2)])


def test_sigmoid():
    y = reference.sigmoid_forward(np.array([math.log(3), -math.log(3)]))
    same(y, [3 / 4, 1 / 4])
    same(reference.sigmoid_backward(np.array([16.0, 32]), y), [3, 6])


# ---- the top -------------------------------------------------------------------------------------------------------
def test_linear():
    x, w = np.array([[1.0, 2]]), np.array([[3.0, 4], [5, 6], [7, 8]])
    same(reference.linear_forward(x, w, np.array([100.0, 200, 300])), [[111, 217, 323]])
    dx, dw, db = reference.linear_backward(np.array([[1.0, 0, 2]]), x, w)
    same(dx, [[1 * 3 + 2 * 7, 1 * 4 + 2 * 8]])
    same(dw, [[1, 2], [0, 0], [2, 4]])
    same(db, [1, 0, 2])


def test_dropout():
    x, mask = np.array([1.0, 2, 3, 4]), np.array([1.0, 0, 1, 0])
    same(reference.dropout_forward(x, mask), [1, 0, 3, 0])
    same(reference.dropout_forward(x, 0.5), [0.5, 1, 1.5, 2])
    same(reference.dropout_backward(x, 2 * mask), [2, 0, 6, 0])


def test_softmax_cross_entropy():
    logits = np.log([[1.0, 2, 5], [1, 1, 2]])
    logits += np.array([[7], [-7]])  # a number added to a whole row changes nothing
    loss, probs = reference.softmax_cross_entropy_forward(logits, np.array([1, 2]))
    same(probs, [[1 / 8, 2 / 8, 5 / 8], [1 / 4, 1 / 4, 1 / 2]])
    assert loss == pytest.approx((math.log(4) + math.log(2)) / 2, rel=1e-14)
    dlogits = reference.softmax_cross_entropy_backward(probs, np.array([1, 2]))
    same(2 * dlogits, [[1 / 8, -6 / 8, 5 / 8], [1 / 4, 1 / 4, -1 / 2]])


def test_sgd_step():
    # v = 0.9 * 0.5 - 0.01 * 0.1 * 4 - 0.1 * 2 = 0.45 - 0.004 - 0.2 = 0.246
    w, v, dw = np.array([4.0]), np.array([0.5]), np.array([2.0])
    for got, wanted in zip(reference.sgd_step(w, v, dw, 0.1, 0.9, 0.01), ([4.246], [0.246])):
        same(got, wanted)
    reference.sgd_step_(w, v, dw, 0.1, 0.9, 0.01)
    same(w, [4.246])
    same(v, [0.246])


# ---- what would take all day ---------------------------------------------------------------------------------------
def a(*shape):
    return np.empty(shape, np.uint8)  # only its shape is ever asked for


COUNTS = [
    ("conv2d_forward", (a(1, 3, 227, 227), a(96, 3, 11, 11), a(96), 4, 0, 1), "105,415,200 multiply-adds"),
    ("conv2d_backward", (a(1, 96, 55, 55), a(1, 3, 227, 227), a(96, 3, 11, 11), 4, 0, 1), "210,830,400 multiply-adds"),
    ("im2col", (a(10, 3, 227, 227), 11, 11, 4, 0), "10,980,750 copies"),
    ("col2im", (a(363, 30250), (10, 3, 227, 227), 11, 11, 4, 0), "10,980,750 additions"),
    ("maxpool_forward", (a(32, 96, 55, 55), 3, 2), "20,155,392 window visits"),
    ("maxpool_backward", [*[a(128, 1024, 13, 13)] * 2, (128, 1024, 27, 27), 3, 2], "22,151,168 windows"),
    ("avgpool_forward", (a(32, 96, 55, 55), 3, 2), "20,155,392 window visits"),
    ("avgpool_backward", (a(32, 96, 27, 27), (32, 96, 55, 55), 3, 2), "20,155,392 window visits"),
    ("lrn_forward", (a(32, 96, 55, 55), 5, 2, 1e-4, 0.75), "46,464,000 multiply-adds"),
    ("lrn_backward", [*[a(32, 96, 55, 55)] * 3, 5, 1e-4, 0.75], "46,464,000 multiply-adds"),
    ("lrn_within_forward", (a(32, 256, 13, 13), 5, 2, 1e-4, 0.75), "34,611,200 multiply-adds"),
    ("lrn_within_backward", [*[a(32, 256, 13, 13)] * 3, 5, 1e-4, 0.75], "34,611,200 multiply-adds"),
    ("linear_forward", (a(1, 9216), a(4096, 9216), a(4096)), "37,748,736 multiply-adds"),
    ("linear_backward", (a(1, 4096), a(1, 9216), a(4096, 9216)), "75,497,472 multiply-adds"),
    ("relu_forward", (a(40, 96, 55, 55),), "11,616,000 elements"),
    ("relu_backward", [a(40, 96, 55, 55)] * 2, "11,616,000 elements"),
    ("leaky_relu_forward", (a(40, 96, 55, 55), 0.1), "11,616,000 elements"),
    ("leaky_relu_backward", [*[a(40, 96, 55, 55)] * 2, 0.1], "11,616,000 elements"),
    ("tanh_forward", (a(40, 96, 55, 55),), "11,616,000 elements"),
    ("tanh_backward", [a(40, 96, 55, 55)] * 2, "11,616,000 elements"),
    ("sigmoid_forward", (a(40, 96, 55, 55),), "11,616,000 elements"),
    ("sigmoid_backward", [a(40, 96, 55, 55)] * 2, "11,616,000 elements"),
    ("dropout_forward", (a(40, 96, 55, 55), 0.5), "11,616,000 multiply-adds"),
    ("dropout_backward", (a(40, 96, 55, 55), 0.5), "11,616,000 multiply-adds"),
    ("softmax_cross_entropy_forward", (a(20000, 1000), a(20000)), "20,000,000 exponentials"),
    ("softmax_cross_entropy_backward", (a(20000, 1000), a(20000)), "20,000,000 subtractions"),
    ("sgd_step", [*[a(4096, 1000)] * 3, 0.1, 0.9, 0], "12,288,000 multiply-adds"),
    ("sgd_step_", [*[a(4096, 1000)] * 3, 0.1, 0.9, 0], "12,288,000 multiply-adds"),
]


@pytest.mark.parametrize("function, arguments, count", [pytest.param(*count, id=count[0]) for count in COUNTS])
def test_the_reference_refuses_what_nobody_would_wait_for(function, arguments, count):
    with pytest.raises(ValueError) as error:
        getattr(reference, function)(*arguments)
    assert str(error.value) == (f"{function.rstrip('_')}: {count} one at a time would take too long "
                                '(limit 10,000,000); use tinynet.ops, or net.use("ops")')


def test_the_reference_refuses_in_every_function():
    assert {count[0] for count in COUNTS} == set(reference.__all__)

"""Lesson 09: overlapping max-pooling and its gradient.   H W  OH OW output"""

import numpy as np

from tinynet import ops
from tinynet.exercises.check import Case, judge
from tinynet.shapes import output_size


def _right_max_pool(x, size, stride):
    return ops.maxpool_forward(x[None, None], size, stride)[0][0, 0]


def _windows(x, size, stride):
    """Yield the number (i, j), the first row and the first column of each window."""
    for i in range(output_size(x.shape[0], size, stride)):
        for j in range(output_size(x.shape[1], size, stride)):
            yield (i, j), i * stride, j * stride


def _of_each_window(function):
    def pool(x, size, stride):
        y = np.empty_like(_right_max_pool(x, size, stride))
        for place, top, left in _windows(x, size, stride):
            y[place] = function(x[top:top + size, left:left + size])
        return y
    return pool


def _starts_at_i(x, size, stride):
    OH, OW = _right_max_pool(x, size, stride).shape
    return _right_max_pool(x, size, 1)[:OH, :OW]


POOL_MISTAKES = {
    "that is the mean of each window; max-pooling takes the largest": _of_each_window(np.mean),
    "that is the smallest of each window": _of_each_window(np.min),
    "that is the largest absolute value; max-pooling takes the largest number, sign and all":
        _of_each_window(
        lambda window: abs(window).max()),
    "where all numbers are negative you return 0: begin with -inf, or with the first number of "
    "the window":
        _of_each_window(lambda window: max(0, window.max())),
    "windows begin `stride` pixels apart, not `size`: they overlap": lambda x, size, stride:
        _right_max_pool(x, size, size),
    "the stride is ignored: windows begin `stride` pixels apart":
        lambda x, size, stride: _right_max_pool(x, size, 1),
    "there are as many windows as there should be, but they begin at i and j: begin at i * stride "
    "and j * stride":
        _starts_at_i,
    "the windows are `stride` pixels wide; they should be `size`":
        lambda x, size, stride: _of_each_window(
        lambda window: window[:stride, :stride].max())(x, size, stride),
}


def check_max_pool(max_pool):
    """Check max_pool(x, size, stride).

    It returns y (OH, OW), for one map x (H, W).
    """
    rng = np.random.default_rng(7)

    def case(says, x, size, stride):
        return Case(says, {"x": x, "size": size, "stride": stride},
                    _right_max_pool(x, size, stride))

    by_hand = Case("worked out by hand",
                   {"x": np.array([[1.0, 5, -2, 0, 3], [-7, 2, 4, 1, 0], [0, 1, -6, 2, -1]]),
                                          "size": 3, "stride": 2}, np.array([[5.0, 4]]))
    return judge(max_pool, [by_hand, case("random numbers", rng.standard_normal((7, 9)), 3, 2),
                            case("all negative", -1 - rng.random((5, 5)), 3, 2),
                            case("without overlap", rng.standard_normal((6, 8)), 2, 2),
                            case("where the stride does not divide", rng.standard_normal((8, 6)), 3,
                                 2),
                            case("in float32", rng.standard_normal((7, 7)).astype(np.float32), 3,
                                 2)], POOL_MISTAKES)


def _right_gradient(dy, x, size, stride):
    _, argmax = ops.maxpool_forward(x[None, None], size, stride)
    return ops.maxpool_backward(dy[None, None], argmax, (1, 1, *x.shape), size, stride)[0, 0]


def _shared(share):
    """Return the gradient that gives share(window) * dy to the pixels of each window."""
    def gradient(dy, x, size, stride):
        dx = np.zeros_like(x)
        for place, top, left in _windows(x, size, stride):
            dx[top:top + size,
               left:left + size] += share(x[top:top + size, left:left + size]) * dy[place]
        return dx
    return gradient


def _assigned(dy, x, size, stride):
    dx = np.zeros_like(x)
    for place, top, left in _windows(x, size, stride):
        row, column = np.unravel_index(np.argmax(x[top:top + size, left:left + size]), (size, size))
        dx[top + row, left + column] = dy[place]
    return dx


def _last_of_equals(window):
    share = np.zeros(window.size)
    share[np.flatnonzero(window == window.max())[-1]] = 1
    return share.reshape(window.shape)


GRADIENT_MISTAKES = {
    "a pixel that wins several windows gets the gradients of all of them: add with +=, do not "
    "assign with =": _assigned,
    "you divided the gradient among the pixels, as mean-pooling does; in max-pooling the winner "
    "gets all of it":
        _shared(
        lambda window: np.full(window.shape, 1 / window.size)),
    "every pixel of the window gets the gradient; only the largest one should":
        _shared(np.ones_like),
    "where several are equally large, only the first in reading order wins; here each of them does":
        _shared(
        lambda window: window == window.max()),
    "where several are equally large, the first in reading order wins; here it is the last":
        _shared(_last_of_equals),
    "you left out dy: the winner gets dy, not 1": lambda dy, x, size, stride:
        _right_gradient(np.ones_like(dy), x, size, stride),
}


def check_max_pool_gradient(max_pool_gradient):
    """Check max_pool_gradient(dy, x, size, stride).

    It returns dx (H, W), for y = max_pool(x, size, stride) and dL/dy = dy.
    """
    rng = np.random.default_rng(8)

    def case(says, x, size, stride, dtype="float64"):
        x = x.astype(dtype)
        dy = rng.standard_normal(_right_max_pool(x, size, stride).shape).astype(dtype)
        given = {"dy": dy, "x": x, "size": size, "stride": stride}
        return Case(says, given, _right_gradient(**given))

    by_hand = Case("worked out by hand", {"dy": np.array([[10.0, 100]]),
                                          "x": np.array([[1.0, 5, -2, 0, 3], [-7, 2, 6, 1, 0],
                                                         [0, 1, -6, 2, -1]]),
                                          "size": 3, "stride": 2},
                   np.array([[0.0, 0, 0, 0, 0], [0, 0, 110, 0, 0], [0, 0, 0, 0, 0]]))
    return judge(max_pool_gradient,
                 [by_hand, case("random numbers", rng.standard_normal((7, 9)), 3, 2),
                                     case("with ties", rng.integers(0, 3, (7, 7)), 3, 2),
                                     case("without overlap", rng.standard_normal((6, 6)), 2, 2),
                                     case("in float32", rng.standard_normal((7, 7)), 3, 2,
                                          "float32")],
                 GRADIENT_MISTAKES)

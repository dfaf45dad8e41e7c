"""Lesson 17: sizes and ties as in the authors' program.   H W  OH OW output"""

import numpy as np

from tinynet import ops
from tinynet.exercises.check import Case, judge
from tinynet.shapes import ceil_div, output_size

# ------------------------------------------------------------------------------------- windows_2012


def _right_windows(size, kernel, stride, pad):
    return output_size(size, kernel, stride, pad, ceil=True)


WINDOWS_MISTAKES = {
    "you rounded down, as in the other lessons; the program rounds up":
        lambda size, kernel, stride, pad:
        output_size(size, kernel, stride, pad),
    "if the stride divides the distance, there is nothing to round: no window is added":
        lambda size, kernel, stride, pad:
        output_size(size, kernel, stride, pad) + 1,
    "n steps of a window make n + 1 places, so add 1": lambda **given: _right_windows(**given) - 1,
    "the padding is added on both sides": lambda size, kernel, stride, pad:
        ceil_div(size + pad - kernel, stride) + 1,
}


def check_windows_2012(windows_2012):
    """Check windows_2012(size, kernel, stride, pad).

    It returns how many windows there are if the program of 2012 rounds up, an int.
    """
    def case(says, *numbers):
        given = dict(zip(("size", "kernel", "stride", "pad"), numbers))
        return Case(says, given, _right_windows(**given))
    return judge(windows_2012, [
        case("conv2", 27, 5, 1, 2), case("conv1 at 224 pixels", 224, 11, 4, 0),
        case("pool1", 55, 3, 2, 0),
        case("28 pixels and a pool", 28, 3, 2, 0), case("with padding", 14, 5, 3, 1)],
        WINDOWS_MISTAKES)


# ---------------------------------------------------------------------------------- gradient_to_all

def _to_all(share):
    """Return the gradient in which each winner gets share(dy, winners in the window)."""
    def gradient(dy, x, size, stride):
        dx = np.zeros_like(x)
        for i, j in np.ndindex(dy.shape):
            window = slice(i * stride, i * stride + size), slice(j * stride, j * stride + size)
            wins = x[window] == x[window].max()
            dx[window] += wins * share(dy[i, j], wins.sum())
        return dx
    return gradient


def _to_the_first(dy, x, size, stride):
    _, argmax = ops.maxpool_forward(x[None, None], size, stride)
    return ops.maxpool_backward(dy[None, None], argmax, (1, 1, *x.shape), size, stride)[0, 0]


def _assigned(dy, x, size, stride):
    dx = np.zeros_like(x)
    for i, j in np.ndindex(dy.shape):
        window = slice(i * stride, i * stride + size), slice(j * stride, j * stride + size)
        dx[window][x[window] == x[window].max()] = dy[i, j]
    return dx


_right_gradient = _to_all(lambda dy, winners: dy)
TIES_MISTAKES = {
    "that is Caffe's rule and ours: only the first winner gets it": _to_the_first,
    "the winners do not divide the gradient: each gets all of it":
        _to_all(lambda dy, winners: dy / winners),
    "a pixel that wins several windows adds up their gradients: use +=, not =": _assigned,
    "you left out dy: a winner gets the dy of its window": _to_all(lambda dy, winners: 1.0),
}


def check_gradient_to_all(gradient_to_all):
    """Check gradient_to_all(dy, x, size, stride).

    It returns dx (H, W): every winner of a window gets the whole gradient of the window.
    """
    rng = np.random.default_rng(15)

    def case(says, H, W, size, stride, dtype="float64"):
        x = rng.integers(0, 3, (H, W)).astype(dtype)       # many ties
        dy = rng.standard_normal((output_size(H, size, stride),
                                  output_size(W, size, stride))).astype(dtype)
        given = {"dy": dy, "x": x, "size": size, "stride": stride}
        return Case(says, given, _right_gradient(**given), 1e-5)

    by_hand = Case("worked out by hand, all equal",
                   {"dy": np.array([[1.0, 2]]), "x": np.ones((3, 5)), "size": 3,
                                                     "stride": 2},
                                                     np.array([[1.0, 1, 3, 2, 2]] * 3))
    return judge(gradient_to_all,
                 [by_hand, case("with ties", 5, 7, 3, 2), case("windows of 2", 6, 4, 2, 2),
                                   case("in float32", 7, 5, 3, 2, "float32")], TIES_MISTAKES)

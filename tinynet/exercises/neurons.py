"""Lesson 03: slopes of ReLU and tanh, and their product along a chain."""

import numpy as np

from tinynet import ops
from tinynet.exercises.check import Case, judge, slope_of

# ------------------------------------------------------------------------------------ relu_gradient

RELU_MISTAKES = {
    "at exactly 0 the slope is taken as 0: ask x > 0, not x >= 0": lambda dy, x: dy * (x >= 0),
    "that is the ReLU of x; its gradient is dy where x is positive, else 0":
        lambda dy, x: np.maximum(x, 0),
    "you left out dy: multiply the slope by the upstream gradient":
        lambda dy, x: 1.0 * (x > 0),
    "that asks for the sign of dy; what counts is whether x is positive":
        lambda dy, x: np.maximum(dy, 0),
    "you multiplied dy by x: where x is positive the slope is 1, not x":
        lambda dy, x: dy * np.maximum(x, 0),
}


def check_relu_gradient(relu_gradient):
    """Check relu_gradient(dy, x).

    It returns dx; all three have one shape.
    """
    rng = np.random.default_rng(21)

    def case(says, dy, x):
        return Case(says, {"dy": dy, "x": x}, ops.relu_backward(dy, ops.relu_forward(x)))

    dy, x = rng.standard_normal((2, 3, 4))
    return judge(relu_gradient, [
        case("worked out by hand", np.array([5.0, -6, 7, -8]), np.array([-1.0, 2, 3, -4])),
        case("with a 0", np.array([5.0, 6, 7]), np.array([-1.0, 0, 2])),
        case("random numbers", dy, x),
        case("in float32", dy.astype(np.float32), x.astype(np.float32))], RELU_MISTAKES)


# ------------------------------------------------------------------------------------ tanh_gradient

TANH_MISTAKES = {
    "y is squared in the slope: 1 - y**2": lambda dy, y: dy * (1 - y),
    "y is already the output of tanh, so the slope is 1 - y**2; you applied tanh once too often":
        lambda dy, y: dy * (1 - np.tanh(y)**2),
    "that is the slope of the sigmoid, y * (1 - y); tanh has 1 - y**2":
        lambda dy, y: dy * y * (1 - y),
    "you left out dy: multiply the slope by the upstream gradient": lambda dy, y: 1 - y**2,
}


def check_tanh_gradient(tanh_gradient):
    """Check tanh_gradient(dy, y).

    It returns dx, for y = tanh(x) and dL/dy = dy; all have one shape.
    """
    rng = np.random.default_rng(22)

    def case(says, dy, x):
        y = np.tanh(x)
        return Case(says, {"dy": dy, "y": y}, ops.tanh_backward(dy, y))

    dy, x = rng.standard_normal((2, 3, 4))
    slope = slope_of(lambda: np.tanh(x), x, dy)
    return judge(tanh_gradient, [
        Case("worked out by hand", {"dy": np.array([2.0, 4, 4]), "y": np.array([0, 0.5, -0.5])},
             np.array([2.0, 3, 3])),
        case("random numbers", dy, x),
        case("in float32", dy.astype(np.float32), x.astype(np.float32)),
        Case("against finite differences", {"dy": dy, "y": np.tanh(x)}, slope, 1e-5)],
        TANH_MISTAKES)


# ----------------------------------------------------------------------------------- chain_gradient

def _along(step):
    """Return the result if each neuron replaces the gradient so far by step(gradient, w, x, y)."""
    def gradient(x, weights):
        so_far = 1.0
        for w in weights:
            y = float(ops.sigmoid_forward(np.array(w * x)))
            so_far, x = step(so_far, w, x, y), y
        return so_far
    return gradient


_right_chain = _along(lambda so_far, w, x, y: so_far * w * y * (1 - y))


def _same_input(x, weights):
    y = ops.sigmoid_forward(np.array(weights) * x)
    return float(np.prod(weights * y * (1 - y)))


CHAIN_MISTAKES = {
    "each neuron multiplies by its weight as well as by its slope": _along(
        lambda so_far, w, x, y: so_far * y * (1 - y)),
    "the slope of a sigmoid is y * (1 - y), of its output y; here it is computed from its input":
        _along(
        lambda so_far, w, x, y: so_far * w * x * (1 - x)),
    "that is the slope of tanh; a sigmoid has y * (1 - y)":
        _along(lambda so_far, w, x, y: so_far * w * (1 - y**2)),
    "along a chain slopes are multiplied, not added": lambda x, weights: _along(
        lambda so_far, w, x, y: so_far + w * y * (1 - y))(x, weights),
    "only the last neuron counts here: multiply with *=, do not assign with =": _along(
        lambda so_far, w, x, y: w * y * (1 - y)),
    "the input of each neuron is the output of the neuron before; here all neurons get x":
        _same_input,
}


def check_chain_gradient(chain_gradient):
    """Check chain_gradient(x, weights).

    It returns dy/dx of a chain of sigmoids, a float.
    """
    def case(says, x, *weights):
        return Case(says, {"x": x, "weights": list(weights)}, _right_chain(x, weights))

    x = np.array(0.3)

    def chain():
        y = x
        for w in (2.0, -3.0, 1.5):
            y = ops.sigmoid_forward(w * y)
        return y
    slope = float(slope_of(chain, x, 1.0))
    return judge(chain_gradient, [
        Case("one neuron at 0, where the slope is a quarter", {"x": 0.0, "weights": [4.0]}, 1.0),
        case("two neurons", 0.5, 1.5, 2.0), case("ten", 1.0, *[1.0] * 10),
        Case("three, against finite differences", {"x": 0.3, "weights": [2.0, -3.0, 1.5]}, slope,
             1e-5)],
        CHAIN_MISTAKES)

"""Lesson 05: gradients of a fully connected layer, and of a layer below a ReLU.

N pictures  IN inputs  OUT outputs
"""

import numpy as np

from tinynet import ops
from tinynet.exercises.check import Case, judge, slope_of


def _right_dw(dy, x):
    return dy.T @ x


def _right_dx(dy, w):
    return dy @ w


# ------------------------------------------------------------------------------ gradient_of_weights

WEIGHTS_MISTAKES = {
    "the result is transposed: the weights have the shape (OUT, IN), so dy comes first, transposed":
        lambda dy, x: _right_dw(dy, x).T,
    "a weight acts on every picture, and paths are added: take the sum over them, not the mean":
        lambda dy, x: _right_dw(dy, x) / len(x),
    "only the first picture counts here; add the products of all pictures":
        lambda dy, x: _right_dw(dy[:1], x[:1]),
    "only the last picture counts here; add the products of all pictures with +=":
        lambda dy, x: _right_dw(dy[-1:], x[-1:]),
    "you left out dy: multiply each input by the upstream gradient":
        lambda dy, x: _right_dw(np.ones_like(dy), x),
    "you left out x: multiply the upstream gradient by the input":
        lambda dy, x: _right_dw(dy, np.ones_like(x)),
}


def check_gradient_of_weights(gradient_of_weights):
    """Check gradient_of_weights(dy, x).

    It returns dw (OUT, IN), for y = x w^T + b, dy (N, OUT) and x (N, IN).
    """
    rng = np.random.default_rng(71)
    dy, x, w = (rng.standard_normal(shape) for shape in ((4, 2), (4, 3), (2, 3)))
    slope = slope_of(lambda: ops.linear_forward(x, w, np.zeros(2)), w, dy)

    def case(says, dy, x):
        return Case(says, {"dy": dy, "x": x}, _right_dw(dy, x))

    return judge(gradient_of_weights, [
        Case("one picture, worked out by hand",
             {"dy": np.array([[1.0, -2]]), "x": np.array([[3.0, 4, 5]])},
             np.array([[3.0, 4, 5], [-6, -8, -10]])),
        Case("two pictures, worked out by hand",
             {"dy": np.array([[1.0, 0], [2, -1]]), "x": np.array([[1.0, 2], [3, 4]])},
             np.array([[7.0, 10], [-3, -4]])),
        case("in float32", dy.astype(np.float32), x.astype(np.float32)),
        Case("against finite differences", {"dy": dy, "x": x}, slope, 1e-5)], WEIGHTS_MISTAKES)


# -------------------------------------------------------------------------------- gradient_of_input

INPUT_MISTAKES = {
    "that uses the weights of the inputs in place of the weights of the units: do not transpose w":
        lambda dy, w: dy @ w.T,
    "an input acts on all units, and paths are added: take the sum over the units, not the mean":
        lambda dy, w: _right_dx(dy, w) / len(w),
    "only the first unit counts here; add the paths through all units":
        lambda dy, w: _right_dx(dy[:, :1], w[:1]),
    "you left out dy: multiply each weight by the gradient of its unit":
        lambda dy, w: _right_dx(np.ones_like(dy), w),
    "the gradients of all pictures are added here; each picture has a row of its own":
        lambda dy, w: np.tile(_right_dx(dy, w).sum(axis=0), (len(dy), 1)),
}


def check_gradient_of_input(gradient_of_input):
    """Check gradient_of_input(dy, w).

    It returns dx (N, IN), for y = x w^T + b, dy (N, OUT) and w (OUT, IN).
    """
    rng = np.random.default_rng(72)
    dy, x, w = (rng.standard_normal(shape) for shape in ((4, 2), (4, 3), (2, 3)))
    slope = slope_of(lambda: ops.linear_forward(x, w, np.zeros(2)), x, dy)

    def case(says, dy, w):
        return Case(says, {"dy": dy, "w": w}, _right_dx(dy, w))

    return judge(gradient_of_input, [
        Case("one picture, worked out by hand",
             {"dy": np.array([[1.0, -2]]), "w": np.array([[1.0, 2], [3, 5]])},
             np.array([[-5.0, -8]])),
        case("two units, two inputs, two pictures", np.array([[1.0, 0], [2, -1]]),
             np.array([[1.0, 2], [3, 4]])),
        case("in float32", dy.astype(np.float32), w.astype(np.float32)),
        Case("against finite differences", {"dy": dy, "w": w}, slope, 1e-5)], INPUT_MISTAKES)


# -------------------------------------------------------------------------- gradient_of_first_layer

def _first(masked):
    """Return the result if the gradient of the sums a is masked(dh, a)."""
    def gradient(dz, x, w1, w2):
        return masked(_right_dx(dz, w2), x @ w1.T).T @ x
    return gradient


_right_first = _first(lambda dh, a: dh * (a > 0))

FIRST_MISTAKES = {
    "the ReLU is missing: where a hidden unit is silent, no gradient passes":
        _first(lambda dh, a: dh),
    "the mask of the ReLU asks for the sign of its input a = x w1^T; here it is the sign of dh":
        _first(lambda dh, a: dh * (dh > 0)),
    "the mask is reversed: the gradient passes where a is positive":
        _first(lambda dh, a: dh * (a <= 0)),
    "you multiplied by h; where a is positive the slope of the ReLU is 1":
        _first(lambda dh, a: dh * np.maximum(a, 0)),
    "that is the gradient of w2, dz^T h; go on below it":
        lambda dz, x, w1, w2: dz.T @ np.maximum(x @ w1.T, 0),
    "the result is transposed: w1 has the shape (hidden, IN)":
        lambda dz, x, w1, w2: _right_first(dz, x, w1, w2).T,
    "the gradient goes through the weights of the second layer, w2; here they are left out": (
        lambda dz, x, w1, w2: (dz * (x @ w1.T > 0)).T @ x,
        lambda dz, x, w1, w2: _first(lambda dh, a: (a > 0) * dz.sum(axis=1, keepdims=True))(
            dz, x, w1, w2)),
}


def check_gradient_of_first_layer(gradient_of_first_layer):
    """Check gradient_of_first_layer(dz, x, w1, w2).

    It returns dw1, for z = relu(x w1^T) w2^T.
    """
    rng = np.random.default_rng(73)
    dz, x, w1, w2 = (rng.standard_normal(shape) for shape in ((5, 2), (5, 3), (4, 3), (2, 4)))
    slope = slope_of(lambda: np.maximum(x @ w1.T, 0) @ w2.T, w1, dz)

    def case(says, *arrays):
        given = dict(zip(("dz", "x", "w1", "w2"), arrays))
        return Case(says, given, _right_first(*arrays))

    return judge(gradient_of_first_layer, [
        Case("the lesson's network, with simpler numbers",
             {"dz": np.array([[1.0, -1]]), "x": np.array([[1.0, 2]]),
              "w1": np.array([[1.0, 1], [1, -1]]), "w2": np.array([[3.0, 2], [1, -1]])},
             np.array([[2.0, 4], [0, 0]])),
        case("more units than inputs", dz[:2], x[:2], w1, w2),
        case("in float32", *(a.astype(np.float32) for a in (dz, x, w1, w2))),
        Case("against finite differences", {"dz": dz, "x": x, "w1": w1, "w2": w2}, slope, 1e-5)],
        FIRST_MISTAKES)

"""Lesson 06: numeric gradients, the distance between two gradients, a check of a gradient."""

import numpy as np

from tinynet.exercises.check import Case, judge
from tinynet.gradcheck import numeric_gradient

# ---------------------------------------------------------------------------------------- slopes_of


def _right_slopes(f, x, h):
    return numeric_gradient(lambda: f(x), x, eps=h)


def _sides(right, left, divide):
    """Return slopes from the points x + right * h and x - left * h, divided by divide * h."""
    def slopes(f, x, h):
        result = np.empty_like(x)
        for index in np.ndindex(x.shape):
            points = x.copy(), x.copy()
            points[0][index] += right * h
            points[1][index] += left * h
            result[index] = (f(points[0]) - f(points[1])) / (divide * h)
        return result
    return slopes


def _not_put_back(f, x, h):
    result = np.empty_like(x)
    for index in np.ndindex(x.shape):
        x[index] += h
        above = f(x)
        x[index] -= 2 * h
        result[index] = (above - f(x)) / (2 * h)
    return result


SLOPES_MISTAKES = {
    "you stepped to one side only, which is far less accurate: go from x - h to x + h":
        _sides(1, 0, 1),
    "the distance from x - h to x + h is 2 * h: divide by it": _sides(1, -1, 1),
    "the sign is reversed: use f(x + h) minus f(x - h)": _sides(-1, 1, 2),
    "you nudged all elements together; the gradient needs the slope for each element alone":
        lambda f, x, h:
        np.full_like(x, (f(x + h) - f(x - h)) / (2 * h)),
    "restore each element before you nudge the next one": _not_put_back,
}


def bent(x):
    """Return the sum of the cubes plus the products of neighbours."""
    return np.sum(x**3) + np.sum(x.ravel()[1:] * x.ravel()[:-1])


def check_slopes_of(slopes_of):
    """Check slopes_of(f, x, h).

    It returns the slope of f in every element of x, by centred differences.
    """
    rng = np.random.default_rng(13)

    def case(says, x, h=0.01):
        return Case(says, {"f": bent, "x": x, "h": h}, _right_slopes(bent, x.copy(), h))
    return judge(slopes_of, [
        Case("worked out by hand, one number: the slope of x**3",
             {"f": bent, "x": np.array([2.0]), "h": 0.1},
             np.array([12.01])),
        case("two numbers", np.array([1.0, 3.0])),
        case("random numbers", rng.standard_normal((2, 3))),
        case("a small step", rng.standard_normal((2, 2, 2)), 1e-4)], SLOPES_MISTAKES)


# ----------------------------------------------------------------------------------- relative_error

def _right_error(analytic, numeric):
    difference = np.linalg.norm(analytic - numeric)
    return difference / np.linalg.norm(numeric) if difference else 0.0


ERROR_MISTAKES = {
    "that is the absolute difference; divide it by the length of the numeric gradient":
        lambda analytic, numeric: np.linalg.norm(analytic - numeric),
    "that is the worst of the single elements; take the lengths of whole vectors":
        lambda analytic, numeric:
        np.max(abs(analytic - numeric) / abs(numeric)),
    "divide by the length of the numeric gradient, because the analytic gradient is the one being "
    "checked":
        lambda analytic, numeric:
        np.linalg.norm(analytic - numeric) / np.linalg.norm(analytic),
    "the length of a vector is the root of the sum of squares": lambda analytic, numeric:
        _right_error(analytic, numeric)**2,
    "differences of opposite sign cancel: square them first": lambda analytic, numeric:
        abs(np.sum(analytic - numeric)) / abs(np.sum(numeric)),
    "if both gradients are all zeros, they agree: return 0": lambda analytic, numeric:
        np.linalg.norm(analytic - numeric) / np.linalg.norm(numeric),
}


def check_relative_error(relative_error):
    """Check relative_error(analytic, numeric).

    It returns |analytic - numeric| / |numeric|, where both are vectors.
    """
    rng = np.random.default_rng(14)

    def case(says, analytic, numeric):
        analytic, numeric = (np.array(a, float) for a in (analytic, numeric))
        return Case(says, {"analytic": analytic, "numeric": numeric},
                    _right_error(analytic, numeric))
    a, b = rng.standard_normal((2, 3, 4))
    return judge(relative_error, [
        case("worked out by hand: the numeric one has length 10", [9, 10], [6, 8]),
        case("random numbers", a, b),
        case("a hundred thousandth", b + 1e-5 * a, b), case("tiny ones", 2e-9 * b, 1e-9 * b),
        case("both all zeros", [0, 0], [0, 0])], ERROR_MISTAKES)


# -------------------------------------------------------------------------------- gradient_is_right

def _verdict(draw=lambda shape: np.random.default_rng(0).standard_normal(shape), right=1,
             close=lambda a, b: np.linalg.norm(a - b) <= 1e-6 * np.linalg.norm(b)):
    """Check a gradient; right=1 nudges to both sides, right=0 to the right only."""
    def is_right(forward, backward, x):
        dy = draw(forward(x).shape)
        slopes = _sides(1, -right, 1 + right)(lambda x: np.sum(forward(x) * dy), x, 1e-5)
        return bool(close(backward(dy, x), slopes))
    return is_right


RIGHT_MISTAKES = {
    "with an upstream gradient of all ones, a wrong backward looks right: draw dy at random":
        _verdict(draw=np.ones),
    "only sums or means agree there: compare element by element": _verdict(
        close=lambda a, b: abs(a.sum() - b.sum()) <= 1e-6 * abs(b.sum())),
    "np.allclose also allows a difference of 1e-8, which may be more than the gradient: pass "
    "atol=0, or compare norms":
        _verdict(close=np.allclose),
    "the gradient is small, and the difference is half of it: compare relative to its size":
        _verdict(
        close=lambda a, b: np.abs(a - b).max() <= 1e-6),
    "an error of one thousandth is a mistake: in float64, right gradients agree to a millionth or "
    "better":
        _verdict(
        close=lambda a, b: np.linalg.norm(a - b) <= 0.01 * np.linalg.norm(b)),
    "you call a right gradient wrong: step to both sides of x, by about 1e-5, and compare relative "
    "to the size":
        _verdict(right=0),
    "you call a wrong gradient right: compare backward with finite differences":
        lambda forward, backward, x: True,
}
ROUND = np.array([[2.0, -1, 0.5], [0.5, 2, -1], [-1, 0.5, 2]])  # rows and columns have the same sum


def _layer(name, forward, backward, expected, shape=(3, 3)):
    forward.__name__, backward.__name__ = f"{name}_forward", f"{name}_backward"
    x = np.random.default_rng(15).uniform(0.5, 2, shape)
    return Case(f"{name.replace('_', ' ')}, which is {'right' if expected else 'wrong'}",
                {"forward": forward, "backward": backward, "x": x}, np.bool_(expected))


def check_gradient_is_right(gradient_is_right):
    """Check gradient_is_right(forward, backward, x).

    It returns whether backward(dy, x) is the gradient of forward(x).
    """
    return judge(gradient_is_right, [
        _layer("square", lambda x: x**2, lambda dy, x: 2 * x * dy, True),
        _layer("square_without_the_2", lambda x: x**2, lambda dy, x: x * dy, False),
        _layer("square_one_row_too_low", lambda x: x**2,
               lambda dy, x: np.roll(2 * x * dy, 1, axis=0), False),
        _layer("square_without_dy", lambda x: x**2, lambda dy, x: 2 * x, False),
        _layer("product", lambda x: x @ ROUND, lambda dy, x: dy @ ROUND.T, True),
        _layer("product_with_w_turned", lambda x: x @ ROUND, lambda dy, x: dy @ ROUND, False),
        _layer("small_cube_and_half_as_much_again", lambda x: 1e-10 * x**3,
               lambda dy, x: 4.5e-10 * x**2 * dy, False),
        _layer("cube_off_by_a_thousandth", lambda x: x**3, lambda dy, x: 3.003 * x**2 * dy, False),
        _layer("large_cube", lambda x: 1e6 * x**3, lambda dy, x: 3e6 * x**2 * dy, True)],
        RIGHT_MISTAKES)

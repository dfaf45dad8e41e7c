"""Lesson 11: dropout in training and at test, in both conventions, and its gradient."""

import numpy as np

from tinynet.exercises.check import Case, judge


def _right_drop(x, kept, keep, inverted):
    return (x * (kept / keep if inverted else kept)).astype(x.dtype)


DROP_MISTAKES = {
    "units whose entry is True are kept; your function drops them":
        lambda x, kept, keep, inverted:
        _right_drop(x, ~kept, keep, inverted),
    "in the inverted convention, training divides by keep":
        lambda x, kept, keep, inverted: x * kept,
    "only the inverted convention divides in training; the paper's convention does not":
        lambda x, kept, keep, inverted:
        x * kept / keep,
    "divide by keep, the probability that a unit is kept, not by the drop rate":
        lambda x, kept, keep, inverted:
        x * (kept / (1 - keep) if inverted else kept),
    "you multiplied by keep; divide by it": lambda x, kept, keep, inverted:
        x * (kept * keep if inverted else kept),
    "no unit is dropped: multiply by the mask": lambda x, kept, keep, inverted: x,
    "in the paper's convention the factor keep is used at test; training has no factor":
        lambda x, kept, keep, inverted: x * kept * keep,
}


def _cases(array, right):
    """Return cases for drop and for its gradient, which is the same function of dy."""
    rng = np.random.default_rng(3)

    def case(says, value, kept, keep, inverted):
        given = {array: value, "kept": kept, "keep": keep, "inverted": inverted}
        return Case(says, given, right(*given.values()))

    coins = rng.random((4, 6)) < 0.7
    by_hand = np.array([[2.0, 4, 6]]), np.array([[True, False, True]])
    return [case("by hand, the paper's", *by_hand, 0.5, False),
            case("by hand, inverted", *by_hand, 0.5, True),
            case("keep = 0.7, inverted", rng.standard_normal((4, 6)), coins, 0.7, True),
            case("keep = 0.7, the paper's", rng.standard_normal((4, 6)), coins, 0.7, False),
            case("in float32", rng.standard_normal((4, 6)).astype(np.float32), coins, 0.7, True)]


def check_drop(drop):
    """Check drop(x, kept, keep, inverted).

    It returns y, of x's shape and dtype; kept: bool, one for each unit.
    """
    return judge(drop, _cases("x", _right_drop), DROP_MISTAKES)


GRADIENT_MISTAKES = {
    "dy passes where the unit was kept; yours passes where it was dropped":
        lambda dy, kept, keep, inverted:
        _right_drop(dy, ~kept, keep, inverted),
    "a unit that was dropped gets no gradient: it is 0 there":
        lambda dy, kept, keep, inverted: dy,
    "the backward pass multiplies by the same factor as the forward pass: 1 / keep if inverted":
        lambda dy, kept, keep, inverted: dy * kept,
    "the paper's convention multiplies by 1 or 0 in training, forward and backward":
        lambda dy, kept, keep, inverted:
        dy * kept / keep,
}


def check_drop_gradient(drop_gradient):
    """Check drop_gradient(dy, kept, keep, inverted).

    It returns dx, for y = drop(x, kept, keep, inverted) and dL/dy = dy.
    """
    return judge(drop_gradient, _cases("dy", _right_drop), GRADIENT_MISTAKES)


TEST_MISTAKES = {
    "the factor is keep; 1 - keep, the rate, is the same number only where both are 0.5":
        lambda x, keep, inverted:
        x if inverted else x * (1 - keep),
    "inverted dropout divides in training, so it does nothing at test":
        lambda x, keep, inverted: x * keep,
    "without the factor keep, the layer above gets larger inputs than in training":
        lambda x, keep, inverted: x,
}


def check_at_test(at_test):
    """Check at_test(x, keep, inverted).

    It returns y, of x's shape and dtype.
    """
    rng = np.random.default_rng(4)

    def case(says, x, keep, inverted):
        return Case(says, {"x": x, "keep": keep, "inverted": inverted}, x if inverted else x * keep)

    x = rng.standard_normal((2, 5))
    return judge(at_test, [case("the paper's", np.array([[2.0, 4, 6]]), 0.5, False),
                           case("keep = 0.7, the paper's", x, 0.7, False),
                           case("inverted", x, 0.7, True),
                           case("in float32", x.astype(np.float32), 0.7, False)], TEST_MISTAKES)

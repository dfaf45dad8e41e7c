"""Lesson 11: dropout in training and at test, in both conventions, and its gradient."""

import numpy as np

from tinynet.exercises.check import Case, judge


def _right_drop(x, speaks, keep, inverted):
    return (x * (speaks / keep if inverted else speaks)).astype(x.dtype)


DROP_MISTAKES = {
    "units whose coin is True speak; yours are silenced": lambda x, speaks, keep, inverted:
        _right_drop(x, ~speaks, keep, inverted),
    "the inverted convention divides by keep in training already":
        lambda x, speaks, keep, inverted: x * speaks,
    "only the inverted convention divides; the paper's leaves training alone":
        lambda x, speaks, keep, inverted:
        x * speaks / keep,
    "divide by keep, the probability to speak, not by the rate of being dropped":
        lambda x, speaks, keep, inverted:
        x * (speaks / (1 - keep) if inverted else speaks),
    "multiplied by keep where it should be divided": lambda x, speaks, keep, inverted:
        x * (speaks * keep if inverted else speaks),
    "nothing is dropped: multiply by the coins": lambda x, speaks, keep, inverted: x,
    "the factor keep belongs to the test in the paper's convention; in training there is none":
        lambda x, speaks, keep, inverted: x * speaks * keep,
}


def _cases(array, right):
    """Of drop and of its gradient, which is the same function of dy."""
    rng = np.random.default_rng(3)

    def case(says, value, speaks, keep, inverted):
        given = {array: value, "speaks": speaks, "keep": keep, "inverted": inverted}
        return Case(says, given, right(*given.values()))

    coins = rng.random((4, 6)) < 0.7
    by_hand = np.array([[2.0, 4, 6]]), np.array([[True, False, True]])
    return [case("by hand, the paper's", *by_hand, 0.5, False),
            case("by hand, inverted", *by_hand, 0.5, True),
            case("keep = 0.7, inverted", rng.standard_normal((4, 6)), coins, 0.7, True),
            case("keep = 0.7, the paper's", rng.standard_normal((4, 6)), coins, 0.7, False),
            case("in float32", rng.standard_normal((4, 6)).astype(np.float32), coins, 0.7, True)]


def check_drop(drop):
    """drop(x, speaks, keep, inverted) -> y, of x's shape and dtype; speaks: bool, one a unit."""
    return judge(drop, _cases("x", _right_drop), DROP_MISTAKES)


GRADIENT_MISTAKES = {
    "dy goes through where the unit spoke; here it goes where the unit was silent":
        lambda dy, speaks, keep, inverted:
        _right_drop(dy, ~speaks, keep, inverted),
    "a unit that was silent learns nothing: its gradient is 0":
        lambda dy, speaks, keep, inverted: dy,
    "what the forward pass multiplies by, the backward pass multiplies by too: 1 / keep if "
    "inverted":
        lambda dy, speaks, keep, inverted: dy * speaks,
    "the paper's convention multiplies by 1 or 0 in training, forward and backward":
        lambda dy, speaks, keep, inverted:
        dy * speaks / keep,
}


def check_drop_gradient(drop_gradient):
    """drop_gradient(dy, speaks, keep, inverted) -> dx, for y = drop(x, speaks, keep, inverted) and
    dL/dy = dy.
    """
    return judge(drop_gradient, _cases("dy", _right_drop), GRADIENT_MISTAKES)


TEST_MISTAKES = {
    "the factor is keep; 1 - keep, the rate, is the same number only where both are 0.5":
        lambda x, keep, inverted:
        x if inverted else x * (1 - keep),
    "inverted dropout has divided in training already, and does nothing at test":
        lambda x, keep, inverted: x * keep,
    "without the factor keep the layer above gets more than it has learnt with":
        lambda x, keep, inverted: x,
}


def check_at_test(at_test):
    """at_test(x, keep, inverted) -> y, of x's shape and dtype."""
    rng = np.random.default_rng(4)

    def case(says, x, keep, inverted):
        return Case(says, {"x": x, "keep": keep, "inverted": inverted}, x if inverted else x * keep)

    x = rng.standard_normal((2, 5))
    return judge(at_test, [case("the paper's", np.array([[2.0, 4, 6]]), 0.5, False),
                           case("keep = 0.7, the paper's", x, 0.7, False),
                           case("inverted", x, 0.7, True),
                           case("in float32", x.astype(np.float32), 0.7, False)], TEST_MISTAKES)

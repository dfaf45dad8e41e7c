"""Lesson 16: how sure a difference is."""

import math

from tinynet.exercises.check import Case, judge


def _right_error(p, n, q, m):
    return math.sqrt(p * (1 - p) / n + q * (1 - q) / m)


ERROR_MISTAKES = {
    "that is the variance; its root is the standard error":
        lambda **given: _right_error(**given)**2,
    "that is the standard error of the first network alone; a difference has the errors of both":
        lambda p, n, q, m: math.sqrt(p * (1 - p) / n),
    "variances add up, not their roots": lambda p, n, q, m:
        math.sqrt(p * (1 - p) / n) + math.sqrt(q * (1 - q) / m),
    "a difference contains the errors of both: add their variances":
        lambda p, n, q, m:
        math.sqrt(abs(p * (1 - p) / n - q * (1 - q) / m)),
    "p (1 - p), not p": lambda p, n, q, m: math.sqrt(p / n + q * (1 - q) / m),
}


def check_error_of_difference(error_of_difference):
    """Check error_of_difference(p, n, q, m).

    It returns the standard error of p - q, where p is a share of n pictures and q one of m.
    """
    def case(says, *numbers):
        given = dict(zip(("p", "n", "q", "m"), numbers))
        return Case(says, given, _right_error(**given))
    return judge(error_of_difference, [case("a small one", 0.5, 100, 0.2, 50),
                                       case("LRN's", 0.42034, 50_000, 0.40664, 50_000)],
                                       ERROR_MISTAKES)


def _right_distance(base, variant):
    return max(min(variant) - max(base), min(base) - max(variant))


DISTANCE_MISTAKES = {
    "that is the distance between the means; single runs may still overlap": lambda base, variant:
        abs(sum(variant) / len(variant) - sum(base) / len(base)),
    "the variant may lie below base, too": lambda base, variant: min(variant) - max(base),
    "the variant may lie above base, too": lambda base, variant: min(base) - max(variant),
    "where they overlap the distance is negative; this has no sign": lambda base, variant:
        abs(_right_distance(base, variant)),
}


def check_distance_between(distance_between):
    """Check distance_between(base, variant).

    It returns the gap between two lists of numbers, negative where they overlap.
    """
    def case(says, base, variant):
        return Case(says, {"base": base, "variant": variant}, _right_distance(base, variant))
    return judge(distance_between,
                 [case("above", [1.0, 3.0, 2.0], [5.0, 9.0]), case("below", [6.0, 8.0], [1.0, 2.5]),
                                    case("they overlap", [1.0, 4.0], [3.0, 9.0])],
                                    DISTANCE_MISTAKES)

"""What all checks share: call the learner's function on one case after the other, until something is wrong."""

import copy
import dataclasses

import numpy as np

from tinynet.gradcheck import numeric_gradient


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a check says: true if all is right; a notebook shows the message."""

    passed: bool
    message: str

    def __bool__(self):
        return self.passed

    def __repr__(self):
        return self.message


@dataclasses.dataclass(frozen=True)
class Case:
    """arguments, by name and in order, and what must come out for them; `says` tells the learner which case it is."""

    says: str
    arguments: dict
    expected: object
    tolerance: float = 1e-6


def judge(function, cases, mistakes):
    """Run the learner's function on the cases, in order, and say the first thing that is wrong.

    Args     cases: of Case, the simplest first; mistakes: {hint: a function that errs in that way, or raises}
    Returns  a Verdict; an error in the learner's function is one, too
    """
    for case in cases:
        given = copy.deepcopy(case.arguments)
        try:
            result = function(**given)
        except Exception as error:  # it is the learner's: whatever it is, they want to read it
            return _wrong(f"your function stopped with {type(error).__name__}: {error}", case)
        if result is None or result is NotImplemented or result is ...:
            return Verdict(False, "Not yet: your function returns nothing. Fill it in, and end it with return.")
        if any(not np.array_equal(given[name], value) for name, value in case.arguments.items()):
            return _wrong("your function changed its arguments; work on a copy", case)
        objection = _objection(result, case)
        if objection:
            hint = None if _agrees(result, case.expected, case) else _hint(result, case, mistakes)
            return _wrong(hint or objection, case)
    return Verdict(True, f"Right: {len(cases)} of {len(cases)} cases.")


def slope_of(f, array, dy):
    """dL/d(array) for L = sum(f() * dy), by finite differences: what a gradient that somebody wrote must agree with."""
    return numeric_gradient(lambda: np.sum(f() * dy), array)


def _wrong(what, case):
    arguments = ", ".join(f"{name}={_short(value)}" for name, value in case.arguments.items())
    return Verdict(False, f"Not yet: {what}.\n(Case: {case.says}, {arguments})")


def _objection(result, case):
    """What is wrong with the result, without knowing why: shape, then dtype, then numbers."""
    expected = case.expected
    try:
        got = np.asarray(result)
        numbers = got.dtype.kind in "biuf"
    except ValueError:
        numbers = False
    if not numbers:
        return f"your function returns {_short(result)}; it should return numbers"
    if got.shape != np.shape(expected):
        return f"the result has shape {got.shape}, it should have {np.shape(expected)}"
    if isinstance(expected, int) and got.dtype.kind not in "iu":
        return f"your function returns {_short(result)}; it should be a whole number, so divide with //"
    if isinstance(expected, np.ndarray) and got.dtype != expected.dtype:
        return f"the result is {got.dtype}; it should be {expected.dtype}, as the arguments are"
    if not _agrees(got, expected, case):
        if got.size == 1:
            return f"your function returns {_short(result)}; it should return {_short(expected)}"
        place = np.unravel_index(np.argmax(~np.isclose(got, expected, case.tolerance, case.tolerance)), got.shape)
        return (f"at {tuple(map(int, place))} your function has {_short(got[place])}; "
                f"it should have {_short(np.asarray(expected)[place])}")
    return None


def _agrees(a, b, case):
    try:
        return np.shape(a) == np.shape(b) and np.allclose(a, b, case.tolerance, case.tolerance)
    except (TypeError, ValueError):  # no numbers
        return False


def _hint(result, case, mistakes):
    """The hint of the first mistake that returns what the learner's function returned."""
    for hint, mistake in mistakes.items():
        try:
            with np.errstate(all="ignore"):
                wrong = mistake(**copy.deepcopy(case.arguments))
        except (ArithmeticError, IndexError, ValueError):  # a mistake that cannot be made with these arguments
            continue
        if _agrees(result, wrong, case):
            return hint
    return None


def _short(value):
    if callable(value):
        return getattr(value, "__name__", type(value).__name__)
    if isinstance(value, np.ndarray) and value.size > 12:
        return f"an array {value.shape}"
    if isinstance(value, np.ndarray):
        return np.array2string(value, precision=4, separator=", ").replace("\n", "")
    return f"{value:.6g}" if isinstance(value, float | np.floating) else f"{value}"

"""Run a learner's function on one case after another until something is wrong.

This is what all checks share.
"""

import contextvars
import copy
import ctypes
import dataclasses
import inspect
import linecache
import sys
import threading
import traceback

import numpy as np

from tinynet.gradcheck import numeric_gradient
from tinynet.language import translate

SECONDS = 10  # after this time a call is stopped


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The answer of a check: true if everything is right. A notebook shows its text.

    message  the text in English; shown, in the language in use
    """

    passed: bool
    message: str
    shown: str

    def __bool__(self):
        return self.passed

    def __repr__(self):
        return self.shown


def verdict(passed, text, *parts):
    """Return a Verdict: parts are what {0}, {1} ... in the text stand for."""
    parts = list(map(str, parts))
    return Verdict(passed, text.format(*parts), translate(text).format(*map(translate, parts)))


@dataclasses.dataclass(frozen=True)
class Case:
    """Arguments by name, in order, and the expected result. `says` describes it to the learner."""

    says: str
    arguments: dict
    expected: object
    tolerance: float = 1e-6


def judge(function, cases, mistakes):
    """Run the learner's function on the cases, in order, and name the first thing that is wrong.

    A mistake's hint is given only if the mistake explains what the function returned on every case.

    The function is called in a thread of its own. A call that takes more than SECONDS is ended by
    an exception that Python raises in that thread; this works in a notebook and in any thread,
    because no signal and no global state is used. A call that is stuck outside Python cannot be
    ended: its thread is left behind, and the verdict says so. sys.exit() ends only that thread.

    Args     function: the learner's; its parameters may have other names than the arguments
             cases: a list of Case, the simplest first
             mistakes: {hint: a function that makes the mistake, or a tuple of such functions}
    Returns  a Verdict, also where the learner's function raises an error
    """
    names = list(cases[0].arguments)
    objection = _objection_to_call(function, names)
    if objection:
        return verdict(False, "Not yet: {0}.", objection)
    results = []
    for case in cases:
        given = copy.deepcopy(case.arguments)
        result, trouble = _call(function, given)
        if trouble:
            return _wrong(trouble, case)
        if result is None or result is NotImplemented or result is ...:
            return verdict(False, "Not yet: your function returns nothing. Fill it in, and end it "
                                  "with return.")
        if any(not np.array_equal(given[name], value) for name, value in case.arguments.items()):
            return _wrong("your function changed its arguments; work on a copy", case)
        results.append(result)
        objection = _objection(result, case)
        if objection:
            if not _agrees(result, case.expected, case):
                objection = _hint(function, cases, results, mistakes) or objection
            return _wrong(objection, case)
    return verdict(True, "Right: {0} of {1} cases.", len(cases), len(cases))


def slope_of(f, array, dy):
    """Return dL/d(array) for L = sum(f() * dy), by finite differences.

    A correct gradient agrees with it.
    """
    return numeric_gradient(lambda: np.sum(f() * dy), array)


def _wrong(what, case):
    arguments = ", ".join(f"{name}={_short(value)}" for name, value in case.arguments.items())
    return verdict(False, "Not yet: {0}.\n(Case: {1}, {2})", what, case.says, arguments)


# ---- the call ------------------------------------------------------------------------------------

class _Stopped(SystemExit):
    """Raised in a thread that takes too long. A thread that ends by SystemExit prints nothing."""


def _objection_to_call(function, names):
    """Return why the function cannot be called with these arguments, or None."""
    if not callable(function):
        return f"give the check your function itself, without brackets; this is {_short(function)}"
    try:
        inspect.signature(function).bind(*names)
    except TypeError:
        return (f"your function takes {inspect.signature(function)}; it should take {len(names)} "
                f"argument{'s' if len(names) > 1 else ''}: {', '.join(names)}")
    except ValueError:  # a function written in C may have no signature
        pass
    return None


def _call(function, given):
    """Return (result, None) of a call, or (None, what went wrong)."""
    outcome, ended = {}, threading.Event()

    def work():
        try:
            if set(inspect.signature(function).parameters) == set(given):  # their order is free
                outcome["result"] = function(**given)
            else:
                outcome["result"] = function(*given.values())
        except BaseException as error:  # also SystemExit; the learner wants to read whatever it is
            outcome["error"] = error
        finally:
            ended.set()

    # The context has NumPy's error state, and tells a notebook to which cell printed lines belong.
    thread = threading.Thread(target=contextvars.copy_context().run, args=(work,), daemon=True)
    thread.start()
    try:
        # Thread.join() would call an interrupted thread ended (Python 3.11)
        if not ended.wait(SECONDS):
            frame = sys._current_frames().get(thread.ident)
            line = _line(function, traceback.walk_stack(frame) if frame else [])
            stopped = _stop(thread, ended)
            said = "" if stopped else ". It could not be stopped: restart the kernel"
            return None, (f"after {SECONDS:g} seconds your function was still running"
                          f"{line.rstrip(',')}; look whether its loop ends{said}")
    except KeyboardInterrupt:  # the learner interrupted the kernel
        _stop(thread, ended)
        raise
    if "error" not in outcome:
        return outcome["result"], None
    error = outcome["error"]
    line = _line(function, reversed(list(traceback.walk_tb(error.__traceback__))))
    if isinstance(error, SystemExit):
        return None, f"your function calls exit(){line.rstrip(',')}; end it with return"
    said = f"{type(error).__name__}: {error}".rstrip(": ")
    return None, f"your function stopped{line} with {said}"


def _stop(thread, ended):
    """End a thread and return whether it ended.

    The exception is raised again and again, because the learner's code may catch it.
    """
    for _ in range(10):
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident),
                                                   ctypes.py_object(_Stopped))
        if ended.wait(0.1):
            thread.join()
            return True
    return False


def _line(function, frames):
    """Return " in line 3, `y = x / n`," for the first frame that is the learner's code, or nothing.

    All cells of a notebook share their globals, so helpers from other cells count as the learner's
    code, too.
    """
    for frame, number in frames:
        if frame.f_globals is getattr(function, "__globals__", None):
            text = linecache.getline(frame.f_code.co_filename, number).strip()
            return f" in line {number}" + (f", `{text}`," if text else "")
    return ""


# ---- the result ----------------------------------------------------------------------------------

def _objection(result, case):
    """Return what is wrong with the result, without a guess at the reason, or None.

    The type is compared first, then shape, dtype and numbers.
    """
    expected = case.expected
    if isinstance(result, np.ndarray) and result.shape == () and result.dtype != object:
        result = result[()]
    objection = _objection_to_type(result, expected)
    if objection:
        return objection
    got = np.asarray(result)
    if got.shape != np.shape(expected):
        if np.shape(expected) == ():
            return (f"your function returns an array of shape {got.shape}; it should return "
                    f"{_kind(expected)}")
        return f"the result has shape {got.shape}, it should have {np.shape(expected)}"
    if isinstance(expected, int) and got.dtype.kind not in "iu":
        return (f"your function returns {_short(result)}; it should be a whole number, so divide "
                f"with //")
    if isinstance(expected, np.ndarray) and got.dtype != expected.dtype:
        return f"the result is {got.dtype}; it should be {expected.dtype}, as the arguments are"
    if not _agrees(got, expected, case):
        if got.size == 1:
            return f"your function returns {_short(result)}; it should return {_short(expected)}"
        place = np.unravel_index(np.argmax(~np.isclose(got, expected, case.tolerance,
                                                       case.tolerance)), got.shape)
        return (f"at {tuple(map(int, place))} your function has {_short(got[place])}; "
                f"it should have {_short(np.asarray(expected)[place])}")
    return None


def _objection_to_type(result, expected):
    """Return a sentence that says how to change the type of the result, or None if it is right."""
    wanted, truth = _kind(expected), bool | np.bool_
    if isinstance(result, truth) != isinstance(expected, truth):
        return f"your function returns {_short(result)}; it should return {wanted}"
    if isinstance(result, str):
        return (f"your function returns the text {result!r}; it should return {wanted}, without "
                f"quotes or str()")
    if isinstance(result, tuple) and len(result) == 1:
        return (f"your function returns a tuple of one value; is there a comma at the end of "
                f"return? Return {wanted}")
    if isinstance(result, tuple):
        return f"your function returns {len(result)} values; it should return {wanted}"
    if isinstance(result, list) and isinstance(expected, np.ndarray):
        return f"your function returns a list; make it {wanted} with np.array(...)"
    if isinstance(result, list):
        return f"your function returns a list; it should return {wanted}"
    if callable(result):
        return (f"your function returns the function {_short(result)}; call it with brackets, and "
                f"return {wanted}")
    if np.asarray(result).dtype.kind not in "biuf":
        return f"your function returns {_short(result)}; it should return {wanted}"
    return None


def _kind(expected):
    if isinstance(expected, np.ndarray):
        return f"an array of shape {expected.shape}"
    if isinstance(expected, bool | np.bool_):
        return "True or False"
    return "a whole number" if isinstance(expected, int) else "a number"


def _agrees(a, b, case):
    try:
        return np.shape(a) == np.shape(b) and np.allclose(a, b, case.tolerance, case.tolerance)
    except (TypeError, ValueError):  # no numbers
        return False


def _hint(function, cases, results, mistakes):
    """Return the hint of the first mistake that explains the function's results on all cases.

    `results` holds those up to the first wrong one; a case that the function or the mistake cannot
    do is left out.
    """
    done = list(zip(cases, results))
    for case in cases[len(results):]:
        result, trouble = _call(function, copy.deepcopy(case.arguments))
        if trouble and "seconds" in trouble:
            break
        if not trouble:
            done.append((case, result))
    failed = cases[len(results) - 1]
    for hint, variants in mistakes.items():
        for mistake in variants if isinstance(variants, tuple) else (variants,):
            evidence = [(case, _same_mistake(mistake, result, case)) for case, result in done]
            if all(same is not False for _, same in evidence) and any(
                    case is failed and same for case, same in evidence):
                return hint
    return None


def _same_mistake(mistake, result, case):
    """Return whether the mistake gives this result, or None where that cannot be decided."""
    try:
        with np.errstate(all="ignore"):
            wrong = mistake(**copy.deepcopy(case.arguments))
        if np.shape(result) == np.shape(wrong) and np.allclose(result, wrong, case.tolerance,
                                                               case.tolerance, True):
            return True
        return False if np.isfinite(result).all() and np.isfinite(wrong).all() else None
    except (ArithmeticError, IndexError, ValueError):  # these arguments do not allow the mistake
        return None
    except TypeError:  # no numbers
        return False


def _short(value):
    if callable(value):
        return getattr(value, "__name__", type(value).__name__)
    if isinstance(value, np.ndarray) and value.size > 12:
        return f"an array {value.shape}"
    if isinstance(value, np.ndarray):
        return np.array2string(value, precision=4, separator=", ").replace("\n", "")
    return f"{value:.6g}" if isinstance(value, float | np.floating) else f"{value}"

"""Lesson 14: when the rate falls, and which error may be reported.   P epochs"""

import types

import numpy as np

from tinynet.exercises.check import Case, judge
from tinynet.schedules import Plateau

# --------------------------------------------------------------------------------- rates_of_plateau


def _right_rates(errors, lr, patience, drops=3):
    sgd, rates = types.SimpleNamespace(lr=lr), []
    schedule = Plateau(sgd, drops=drops, patience=patience, min_delta=0)
    for error in errors:
        rates.append(sgd.lr)
        schedule.end_epoch(error)
    return np.array(rates)


def _rule(errors, lr, patience, better=lambda error, best: error < best, count_restarts=True,
          best_restarts=False,
          last_instead_of_best=False):
    """Return the rates by the rule, with one part of it changed."""
    best, waited, drops, rates = np.inf, 0, 3, []
    for error in errors:
        rates.append(lr)
        waited = 0 if better(error, best) else waited + 1
        best = error if last_instead_of_best else min(best, error)
        if waited >= patience and drops:
            lr, drops = lr / 10, drops - 1
            waited = 0 if count_restarts else waited
            best = np.inf if best_restarts else best
    return np.array(rates)


def _ends_at_the_third_cut(errors, lr, patience):
    rates = _right_rates(errors, lr, patience)
    return rates[rates > lr / 500]


RATES_MISTAKES = {
    "training does not end with the third cut: it continues at the last rate":
        _ends_at_the_third_cut,
    "there are at most three cuts; after them the rate stays":
        lambda **given: _right_rates(drops=99, **given),
    "a cut comes after an epoch: return the rate that each epoch was trained with; the first is lr":
        lambda errors, **given:
        _right_rates(errors=[*errors, 0], **given)[1:],
    "compare with the best error so far, not with the epoch before": lambda **given:
        _rule(last_instead_of_best=True, **given),
    "an error that is as good as the best is no improvement": lambda **given:
        _rule(better=lambda error, best: error <= best, **given),
    "after a cut the count of epochs without a new best starts at 0 again": lambda **given:
        _rule(count_restarts=False, **given),
    "a cut does not reset the best error: the next error must still be lower than it":
        lambda **given:
        _rule(best_restarts=True, **given),
    "you waited one epoch too long: cut after `patience` epochs without a new best":
        lambda patience, **given:
        _right_rates(patience=patience + 1, **given),
}


def check_rates_of_plateau(rates_of_plateau):
    """Check rates_of_plateau(errors, lr, patience).

    It returns the rate of each epoch (P,); errors (P,): the validation error after each epoch.
    """
    rng = np.random.default_rng(14)

    def case(says, errors, lr, patience):
        given = {"errors": np.array(errors), "lr": lr, "patience": patience}
        return Case(says, given, _right_rates(**given), 1e-9)

    by_hand = Case("worked out by hand",
                   {"errors": np.array([0.9, 0.6, 0.7, 0.8, 0.5, 0.5]), "lr": 1.0,
                                          "patience": 2}, np.array([1, 1, 1, 1, 0.1, 0.1]), 1e-9)
    return judge(rates_of_plateau, [
        by_hand, case("it never gets better", [0.5] * 16, 0.01, 3),
        case("better after the first cut",
             [0.8, 0.5, 0.5, 0.6, 0.4, 0.45, 0.41, 0.42, 0.3, 0.3, 0.3], 0.1, 2),
        case("random numbers", rng.random(40), 0.5, 4)], RATES_MISTAKES)


# ------------------------------------------------------------------------------------- honest_error

def _right_honest(validation, test):
    return float(test[np.argmin(validation)])


HONEST_MISTAKES = {
    "you chose the epoch by the test error, which makes the reported error too low":
        lambda validation, test:
        test.min(),
    "that is the validation error, by which the epoch was chosen, so it is too low: report the test"
    " error of that epoch":
        lambda validation, test: validation.min(),
    "that is the last epoch; choose the one with the smallest validation error":
        lambda validation, test: test[-1],
    "the smallest validation error is the best, not the largest":
        lambda validation, test: test[validation.argmax()],
    "where several epochs are equally good, take the first": lambda validation, test:
        test[np.flatnonzero(validation == validation.min())[-1]],
}


def check_honest_error(honest_error):
    """Check honest_error(validation, test).

    It returns the test error of the epoch that the validation error (P,) chooses.
    """
    rng = np.random.default_rng(15)

    def case(says, validation, test):
        given = {"validation": np.array(validation), "test": np.array(test)}
        return Case(says, given, _right_honest(**given))

    by_hand = Case("worked out by hand", {"validation": np.array([0.9, 0.4, 0.3, 0.35]),
                                          "test": np.array([0.8, 0.36, 0.45, 0.41])}, 0.45)
    return judge(honest_error, [by_hand, case("random numbers", rng.random(9), rng.random(9)),
                                case("two equally good", [0.5, 0.2, 0.3, 0.2, 0.4],
                                     [0.6, 0.25, 0.1, 0.35, 0.5])],
                 HONEST_MISTAKES)

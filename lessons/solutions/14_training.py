"""Solutions of lesson 14. Try first: the checks tell you what is wrong."""

import numpy as np


def rates_of_plateau(errors, lr, patience):
    best, waited, cuts, rates = np.inf, 0, 0, []
    for error in errors:
        rates.append(lr)
        waited = 0 if error < best else waited + 1
        best = min(best, error)
        if waited == patience and cuts < 3:
            lr, waited, cuts = lr / 10, 0, cuts + 1
    return np.array(rates)


def honest_error(validation, test):
    return test[np.argmin(validation)]

"""Solutions of lesson 15. Try first: the checks tell you what is wrong."""

import numpy as np


def greyness(w):
    grey = w.mean(axis=0)
    return 3 * np.sum(grey**2) / np.sum(w**2)


def nearest_rows(asked, known, k):
    distances = np.sum((known - asked)**2, axis=1)
    return np.argsort(distances)[:k]

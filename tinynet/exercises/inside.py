"""Lesson 15: how grey a kernel is, and nearest neighbours.   N pictures  D numbers  KH KW kernel"""

import numpy as np

from tinynet.exercises.check import Case, judge

# ----------------------------------------------------------------------------------------- greyness


def _right_greyness(w):
    return float(3 * (w.mean(axis=0)**2).sum() / (w**2).sum())


GREY_MISTAKES = {
    "that is the share of colour; return the share of grey":
        lambda w: 1 - _right_greyness(w),
    "the grey part is in red, in green and in blue: count its squares three times": lambda w:
        _right_greyness(w) / 3,
    "grey is the mean over the three channels of each pixel, not over the whole kernel": lambda w:
        w.size * w.mean()**2 / (w**2).sum(),
    "that is the mean over the pixels of each channel; grey is the mean over channels, axis 0":
        lambda w:
        w[0].size * (w.mean(axis=(1, 2))**2).sum() / (w**2).sum(),
    "weights have signs: square them before you add them up":
        lambda w: 3 * w.mean(axis=0).sum() / w.sum(),
    "that is the amount of grey; return its share of the sum of all squares": lambda w:
        3 * (w.mean(axis=0)**2).sum(),
}


def check_greyness(greyness):
    """Check greyness(w).

    It returns which share of the squares of a kernel (3, KH, KW) is the same in all channels.
    """
    rng = np.random.default_rng(16)

    def case(says, w):
        return Case(says, {"w": w}, _right_greyness(w))
    return judge(greyness, [
        case("worked out by hand, pixels of (3, 0, 0) and (2, 2, 2): 15 of 21",
             np.array([[3.0, 2], [0, 2], [0, 2]]).reshape(3, 1, 2)),
        case("three pixels", np.array([[1.0, 2, 0], [1, 0, 4], [1, -2, 2]]).reshape(3, 1, 3)),
        case("random numbers", rng.standard_normal((3, 4, 5))),
        case("all grey", np.repeat(rng.standard_normal((1, 3, 3)), 3, axis=0)),
        case("no grey", rng.standard_normal((1, 2, 2)) * np.array([1.0, 1, -2]).reshape(3, 1, 1))],
        GREY_MISTAKES)


# ------------------------------------------------------------------------------------- nearest_rows

def _right_rows(asked, known, k):
    return np.argsort(((known - asked)**2).sum(axis=1), kind="stable")[:k]


ROWS_MISTAKES = {
    "those are the farthest": lambda asked, known, k:
        np.argsort(-((known - asked)**2).sum(axis=1))[:k],
    "those are the right rows in the wrong order: put the nearest first": lambda asked, known, k:
        np.sort(_right_rows(asked, known, k)),
    "argpartition finds the k nearest, but leaves them in any order: sort these k by their "
    "distance":
        lambda asked, known, k: np.argpartition(((known - asked)**2).sum(axis=1), k)[:k],
    "differences of opposite sign cancel: square them before they are added up":
        lambda asked, known, k:
        np.argsort(abs((known - asked).sum(axis=1)))[:k],
    "those rows have the largest product with `asked`, which favours long rows; compare distances":
        lambda asked, known, k:
        np.argsort(-(known @ asked))[:k],
    "those are the distances; return the numbers of the rows":
        lambda asked, known, k:
        np.sort(((known - asked)**2).sum(axis=1)**0.5)[:k],
    "one too many": lambda asked, known, k: _right_rows(asked, known, k + 1),
}


def check_nearest_rows(nearest_rows):
    """Check nearest_rows(asked, known, k).

    It returns the numbers of the k rows of known (N, D) that are nearest to asked (D,).
    """
    rng = np.random.default_rng(17)

    def case(says, asked, known, k):
        given = {"asked": np.array(asked, float), "known": np.array(known, float), "k": k}
        return Case(says, given, _right_rows(**given), tolerance=0)
    return judge(nearest_rows, [
        case("worked out by hand: (0, 0) and four points", [0, 0],
             [[3, 0], [1, -1], [9, -9], [0, 2]], 2),
        case("random numbers", rng.standard_normal(5), rng.standard_normal((12, 5)), 4),
        case("many", rng.standard_normal(2), rng.standard_normal((1500, 2)), 1000),
        case("one of them", rng.standard_normal(3), rng.standard_normal((7, 3)), 1)], ROWS_MISTAKES)

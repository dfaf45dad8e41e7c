"""Lesson 10: local response normalisation and its gradient.   C channels  H W"""

import numpy as np

from tinynet import ops
from tinynet.exercises.check import Case, judge, slope_of


def _right_lrn(x, n, k, alpha, beta):
    return ops.lrn_forward(x[None], n, k, alpha, beta)[0][0]


def _with_energy(energy):
    """Return the LRN formula with a wrong energy(x, n)."""
    return lambda x, n, k, alpha, beta: x / (k + alpha * energy(x, n))**beta


def _sum(a, n):
    """Return the right sum over the window of n channels."""
    return ops.lrn_forward(np.sqrt(abs(a))[None], n, 0.0, 1.0, 1.0)[1][0]


def _in_place(x, n, k, alpha, beta):
    y = x.copy()
    for c in range(len(x)):
        y[c] = y[c] / (k + alpha * np.sum(y[max(0, c - n // 2):c + n // 2 + 1]**2, axis=0))**beta
    return y


MISTAKES = {
    "the energy is the sum of squares; this is the sum of the numbers themselves": _with_energy(
        lambda x, n: np.stack([x[max(0, c - n // 2):c + n // 2 + 1].sum(axis=0)
                               for c in range(len(x))])),
    "the window is n channels in all, n // 2 on either side; this one is wider": _with_energy(
        lambda x, n: _sum(x * x, 2 * n + 1)),
    "the window ends one channel too early: a slice leaves out its end": _with_energy(
        lambda x, n: np.stack([(x[max(0, c - n // 2):c + n // 2]**2).sum(axis=0)
                               for c in range(len(x))])),
    "the window goes round the edge: a negative index counts from the end, so begin at max(0, c - "
    "n // 2)":
        _with_energy(lambda x, n: sum(np.roll(x * x, s, axis=0) for s in range(-(n // 2),
                                                                               n // 2 + 1))),
    "a slice that begins below 0 counts from the end, and may be empty: begin at max(0, c - n // "
    "2)": _with_energy(
        lambda x, n: np.stack([(x[c - n // 2:c + n // 2 + 1]**2).sum(axis=0)
                               for c in range(len(x))])),
    "the energy is that of the channel alone; its neighbours, n // 2 on either side, belong to it":
        _with_energy(
        lambda x, n: x * x),
    "beta is a power, (k + alpha * energy)**beta; some notes on the paper have lost the sign for "
    "it": (
        lambda x, n, k, alpha, beta: x / (k + alpha * _sum(x * x, n) * beta),
        lambda x, n, k, alpha, beta: x / ((k + alpha * _sum(x * x, n)) * beta)),
    "a channel belongs to its own window": _with_energy(lambda x, n: _sum(x * x, n) - x * x),
    "the sum goes over channels, not over the whole map": _with_energy(
        lambda x, n: np.broadcast_to((x * x).sum(axis=(1, 2), keepdims=True), x.shape)),
    "that is alpha / n, as in the program of 2012, Caffe and PyTorch; the paper's formula has "
    "alpha":
        lambda x, n, k, alpha, beta: _right_lrn(x, n, k, alpha / n, beta),
    "the power is beta, and it goes over k as well: (k + alpha * energy)**beta": (
        lambda x, n, k, alpha, beta: x / (k + alpha * _sum(x * x, n)**beta),
        lambda x, n, k, alpha, beta: x / (k + alpha * _sum(x * x, n)**(2 * beta)),
        lambda x, n, k, alpha, beta: x / (k + alpha * _sum(abs(x)**(2 * beta), n))),
    "the denominator has the power beta":
        lambda x, n, k, alpha, beta: _right_lrn(x, n, k, alpha, 1.0),
    "you overwrite x while its neighbours still need it: write to a new array": _in_place,
}


def check_lrn(lrn):
    """Check lrn(x, n, k, alpha, beta).

    It returns y, for the channels x (C, H, W) of one picture.
    """
    rng = np.random.default_rng(5)

    def random(dtype, C, H, W, n):
        x = rng.standard_normal((C, H, W)).astype(dtype)
        return Case("random numbers",
                    arguments := {"x": x, "n": n, "k": 2.0, "alpha": 0.5, "beta": 0.75},
                    _right_lrn(**arguments))

    by_hand = Case("worked out by hand, one pixel with five channels",
                   {"x": np.array([1.0, 2, 0, 3, -1]).reshape(5, 1, 1), "n": 3, "k": 1.0,
                    "alpha": 1.0, "beta": 0.5},
                   np.array([1 / 6**0.5, 2 / 6**0.5, 0, 3 / 11**0.5, -1 / 11**0.5]).reshape(5, 1,
                                                                                            1))
    return judge(lrn, [by_hand, random("float64", 6, 2, 3, 3), random("float64", 7, 3, 2, 5),
                       random("float64", 3, 2, 2, 5), random("float32", 6, 2, 3, 5)], MISTAKES)


def _right_lrn_gradient(dy, x, n, k, alpha, beta):
    _, scale = ops.lrn_forward(x[None], n, k, alpha, beta)
    return ops.lrn_backward(dy[None], x[None], scale, n, alpha, beta)[0]


def _own(dy, x, n, k, alpha, beta):
    return dy * (k + alpha * _sum(x * x, n))**-beta


def _others(**arguments):
    return _own(**arguments) - _right_lrn_gradient(**arguments)


GRADIENT_MISTAKES = {
    "one of two terms is missing: x is also in the energy of its neighbours, and changes their y":
        _own,
    "one of two terms is missing: x also changes its own y, by dy / scale**beta":
        lambda **given: -_others(**given),
    "more energy makes the neighbours smaller: subtract the second term":
        lambda **given: _own(**given) + _others(**given),
    "the slope of x**2 is 2 * x: a factor of 2 is missing":
        lambda **given: _own(**given) - _others(**given) / 2,
    "alpha is missing in the neighbours' term":
        lambda alpha, **given: _own(alpha=alpha, **given) - _others(alpha=alpha, **given) / alpha,
    "beta is missing in the neighbours' term":
        lambda beta, **given: _own(beta=beta, **given) - _others(beta=beta, **given) / beta,
}


def check_lrn_gradient(lrn_gradient):
    """Check lrn_gradient(dy, x, n, k, alpha, beta).

    It returns dx, for y = lrn(x, n, k, alpha, beta) and dL/dy = dy, all (C, H, W).
    """
    rng = np.random.default_rng(6)

    def random(C, H, W, n, dtype="float64"):
        x, dy = (rng.standard_normal((C, H, W)).astype(dtype) for _ in range(2))
        return {"dy": dy, "x": x, "n": n, "k": 2.0, "alpha": 0.5, "beta": 0.75}

    def case(says, arguments):
        return Case(says, arguments, _right_lrn_gradient(**arguments), 1e-5)

    last = random(5, 2, 2, 5)
    settings = {name: last[name] for name in ("n", "k", "alpha", "beta")}
    slope = slope_of(lambda: _right_lrn(last["x"], **settings), last["x"], last["dy"])
    return judge(lrn_gradient, [case("one pixel with four channels", random(4, 1, 1, 3)),
                                case("random numbers", random(6, 2, 3, 5)),
                                case("in float32", random(6, 2, 3, 3, "float32")),
                                Case("against finite differences", last, slope)], GRADIENT_MISTAKES)

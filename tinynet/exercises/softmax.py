"""Lesson 04: softmax, cross-entropy, their gradient.   N pictures  C classes"""

import numpy as np

from tinynet import ops
from tinynet.exercises.check import Case, judge, slope_of


def _forward(logits, labels):
    return ops.softmax_cross_entropy_forward(logits, labels)


def _probs(logits):
    return _forward(logits, np.zeros(len(logits), int))[1]


def _onehot(logits, labels):
    return np.eye(logits.shape[1], dtype=logits.dtype)[labels]


# ------------------------------------------------------------------------------------- softmax_rows

SOFTMAX_MISTAKES = {
    "the columns add up to 1; each row is a picture, so sum along axis 1":
        lambda logits: _probs(logits.T).T,
    "all numbers together add up to 1; each row should add up to 1: sum along axis 1, with "
    "keepdims":

        lambda logits:
        _probs(logits.reshape(1, -1)).reshape(logits.shape),
    "the exponentials are not divided by their sum": lambda logits:
        np.exp(logits - logits.max(axis=1, keepdims=True)),
    "you divided the logits themselves; take exp of them first": lambda logits:
        logits / logits.sum(axis=1, keepdims=True),
    "that is the logarithm of the probabilities": lambda logits: np.log(_probs(logits)),
}


def check_softmax_rows(softmax_rows):
    """Check softmax_rows(logits).

    It returns probabilities; both are (N, C).
    """
    rng = np.random.default_rng(61)

    def case(says, logits):
        return Case(says, {"logits": logits}, _probs(logits))

    return judge(softmax_rows, [
        Case("worked out by hand", {"logits": np.log([[1.0, 2, 5], [3, 3, 6]])},
             np.array([[1 / 8, 2 / 8, 5 / 8], [1 / 4, 1 / 4, 1 / 2]])),
        case("random numbers", rng.standard_normal((4, 3))),
        case("large logits: take the largest of each row off before exp",
             np.array([[1000.0, 999, 0], [-900, -901, -5000]])),
        case("in float32", rng.standard_normal((2, 5)).astype(np.float32))], SOFTMAX_MISTAKES)


# ------------------------------------------------------------------------------------ cross_entropy

ENTROPY_MISTAKES = {
    "the loss is the mean over the batch; that is the sum": lambda logits, labels:
        _forward(logits, labels)[0] * len(labels),
    "that is the logarithm itself, which is negative; the loss is minus that":
        lambda logits, labels:
        -_forward(logits, labels)[0],
    "the logarithm is the natural one, np.log":
        lambda logits, labels: _forward(logits, labels)[0] / np.log(2),
    "that is -log of the largest probability; the label's counts": lambda logits, labels:
        _forward(logits, logits.argmax(axis=1))[0],
    "the mean goes over N pictures, not over N * C numbers": lambda logits, labels:
        _forward(logits, labels)[0] / logits.shape[1],
    "that is 1 - p; the loss is -log(p)": lambda logits, labels: np.mean(
        1 - _probs(logits)[np.arange(len(labels)), labels]),
}


def check_cross_entropy(cross_entropy):
    """Check cross_entropy(logits, labels).

    It returns the mean of -log softmax(logits)[label], a number.
    """
    rng = np.random.default_rng(62)

    def case(says, logits, labels):
        return Case(says, {"logits": logits, "labels": labels}, float(_forward(logits, labels)[0]))

    return judge(cross_entropy, [
        Case("worked out by hand",
             {"logits": np.log([[1.0, 2, 5], [3, 3, 6]]), "labels": np.array([1, 0])},
             float(np.log(4))),
        case("random numbers", rng.standard_normal((5, 4)), rng.integers(0, 4, 5)),
        case("a probability that is 0 in float64: take the logarithm of the formula",
             np.array([[1000.0, 0], [0, 1]]),
             np.array([1, 0]))], ENTROPY_MISTAKES)


# --------------------------------------------------------------------------------- softmax_gradient

def _right_gradient(logits, labels):
    return ops.softmax_cross_entropy_backward(_probs(logits), labels)


GRADIENT_MISTAKES = {
    "L is a mean over N pictures, so divide by N":
        lambda logits, labels: _right_gradient(logits, labels) * len(labels),
    "the sign is reversed: the gradient is the probability minus the truth, p - onehot":
        lambda logits, labels:
        -_right_gradient(logits, labels),
    "the truth is missing: subtract 1 at the label":
        lambda logits, labels: _probs(logits) / len(labels),
    "only the label's logit has a gradient here; the others have p / N": lambda logits, labels:
        _right_gradient(logits, labels) * _onehot(logits, labels),
    "you subtracted 1 at the largest probability; subtract it at the label": lambda logits, labels:
        _right_gradient(logits, logits.argmax(axis=1)),
    "that divides by the classes; L is a mean over the N pictures": lambda logits, labels:
        _right_gradient(logits, labels) * len(labels) / logits.shape[1],
}


def check_softmax_gradient(softmax_gradient):
    """Check softmax_gradient(logits, labels).

    It returns dL/dlogits (N, C), for L = cross_entropy(logits, labels).
    """
    rng = np.random.default_rng(63)

    def case(says, logits, labels):
        return Case(says, {"logits": logits, "labels": labels}, _right_gradient(logits, labels))

    logits, labels = rng.standard_normal((3, 4)), np.array([2, 0, 3])
    slope = slope_of(lambda: _forward(logits, labels)[0], logits, 1.0)
    return judge(softmax_gradient, [
        Case("worked out by hand",
             {"logits": np.log([[1.0, 2, 5], [3, 3, 6]]), "labels": np.array([1, 0])},
             np.array([[1 / 16, -3 / 8, 5 / 16], [-3 / 8, 1 / 8, 1 / 4]])),
        case("in float32", rng.standard_normal((5, 4)).astype(np.float32), rng.integers(0, 4, 5)),
        Case("against finite differences", {"logits": logits, "labels": labels}, slope, 1e-5)],
        GRADIENT_MISTAKES)

"""Lesson 12: crops, principal axes, the shift of colours, the average of views.   V views"""

import numpy as np

from tinynet import ops
from tinynet.exercises.check import Case, judge

# ----------------------------------------------------------------------------------------- versions

VERSIONS_MISTAKES = {
    "offsets 0 to stored - crop, both included, are one more: the 2048 of the paper has this "
    "mistake":
        lambda stored, crop: (stored - crop)**2 * 2,
    "mirror images double the number": lambda stored, crop: (stored - crop + 1)**2,
    "a crop can be moved down and across: square the number of offsets":
        lambda stored, crop: (stored - crop + 1) * 2,
}


def check_versions(versions):
    """Check versions(stored, crop).

    It returns how many crops and mirrored crops there are, an int.
    """
    def case(says, stored, crop):
        return Case(says, {"stored": stored, "crop": crop}, (stored - crop + 1)**2 * 2)
    return judge(versions,
                 [case("a small one", 5, 3), case("the paper's", 256, 224),
                  case("Caffe's", 256, 227),
                            case("nothing to cut off", 32, 32)], VERSIONS_MISTAKES)


# ------------------------------------------------------------------------------------- longest_axis

def _axis(picture, centre=True, which=-1, column=True,
          turn=lambda axis: np.sign(axis[np.argmax(abs(axis))])):
    colours = picture.reshape(3, -1).astype(float)
    off = colours - colours.mean(axis=1, keepdims=True) if centre else colours
    vectors = np.linalg.eigh(off @ off.T)[1]
    axis = vectors[:, which] if column else vectors[which]
    return axis * turn(axis)


AXIS_MISTAKES = {
    "the mean colour is still in the pixels: subtract it first":
        lambda picture: _axis(picture, centre=False),
    "that is the direction of the smallest variance; eigh has its eigenvalues in ascending order":
        lambda picture:
        _axis(picture, which=0),
    "that is a row of the matrix; the eigenvectors are its columns":
        lambda picture: _axis(picture, column=False),
    "nearly: turn it so that its largest component is positive": (
        lambda picture: -_axis(picture), lambda picture: _axis(picture, turn=lambda axis: 1)),
    "nearly: the sign that matters is that of the largest component, which need not be the first":
        lambda picture:
        _axis(picture, turn=lambda axis: np.sign(axis[0])),
    "it should have length 1": lambda picture: _axis(picture) * np.linalg.eigvalsh(
        np.cov(picture.reshape(3, -1), bias=True))[-1],
}


def check_longest_axis(longest_axis):
    """Check longest_axis(picture).

    It returns (3,), the direction in which the colours of picture (3, H, W) vary most.
    """
    rng = np.random.default_rng(12)

    def case(says, picture):
        return Case(says, {"picture": picture}, _axis(picture), 1e-5)

    four = np.array([[180, 60, 150, 90], [180, 60, 110, 130], [180, 60, 90, 150]]).reshape(3, 2, 2)
    warm = rng.normal(0, 1, (3, 4, 5)) + np.array([3, 1, -2]).reshape(3, 1, 1) * rng.normal(0, 4,
                                                                                            (4, 5))
    return judge(longest_axis, [case("four pixels", four), case("red against blue", 120 + warm),
                                case("blue against red", 120 + warm[::-1]),
                                case("against green", 120 + warm[[1, 2, 0]]),
                                case("bytes", rng.integers(0, 256, (3, 6, 6)).astype(np.uint8))],
                                AXIS_MISTAKES)


# ------------------------------------------------------------------------------------- colour_shift

SHIFT_MISTAKES = {
    "you multiplied by the eigenvalues, as the paper's text says, which shifts colours by hundreds "
    "of grey levels; take their square roots":
        lambda eigenvalues, vectors, alphas: vectors @ (alphas * eigenvalues),
    "the axes are the columns of vectors; this takes its rows": lambda eigenvalues, vectors, alphas:
        vectors.T @ (alphas * np.sqrt(eigenvalues)),
    "each axis moves by its alpha times its standard deviation; the standard deviations are "
    "missing":

        lambda eigenvalues, vectors, alphas: vectors @ alphas,
    "these are the steps along the axes; turn them into red, green and blue with vectors":
        lambda eigenvalues, vectors, alphas: alphas * np.sqrt(eigenvalues),
    "alphas are drawn with a standard deviation of 0.1 already: do not multiply by it again":
        lambda eigenvalues, vectors, alphas: 0.1 * vectors @ (alphas * np.sqrt(eigenvalues)),
}


def check_colour_shift(colour_shift):
    """Check colour_shift(eigenvalues, vectors, alphas).

    It returns (3,), what is added to red, green and blue.
    """
    rng = np.random.default_rng(13)

    def case(says, eigenvalues, vectors):
        alphas = rng.normal(0, 0.1, 3)
        return Case(says, {"eigenvalues": eigenvalues, "vectors": vectors, "alphas": alphas},
                    vectors @ (alphas * np.sqrt(eigenvalues)))

    by_hand = Case("worked out by hand, along red alone and then between green and blue",
                   {"eigenvalues": np.array([100.0, 400, 2500]),
                    "vectors": np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]]),
                    "alphas": np.array([0.1, 0, 0.2])}, np.array([1.0, -6, 8]))
    turned = np.linalg.eigh(np.cov(rng.normal(size=(3, 50))))[1]
    return judge(colour_shift,
                 [by_hand, case("random axes", np.array([389.0, 1376, 14830]), turned),
                                case("small eigenvalues", np.array([0.25, 0.5, 0.75]), turned)],
                                SHIFT_MISTAKES)


# ------------------------------------------------------------------------------------ average_views

def _softmax(logits):
    return ops.softmax_cross_entropy_forward(logits, np.zeros(len(logits), int))[1]


def _over_views(logits):
    exps = np.exp(logits - logits.max())
    return (exps / exps.sum(axis=0)).mean(axis=0)


VIEWS_MISTAKES = {
    "that is the softmax of the mean logits: take the softmax of each view, then the mean":
        lambda logits:
        _softmax(logits.mean(axis=0, keepdims=True))[0],
    "these are logits; take the softmax of each view first": lambda logits: logits.mean(axis=0),
    "you added up the views' probabilities; take their mean":
        lambda logits: _softmax(logits).sum(axis=0),
    "you took the maximum over the views; take their mean":
        lambda logits: _softmax(logits).max(axis=0),
    "softmax goes over the classes, axis=1; this goes over the views": _over_views,
}


def check_average_views(average_views):
    """Check average_views(logits).

    It returns (classes,), the mean of the views' softmax outputs, for logits (V, classes).
    """
    rng = np.random.default_rng(14)

    def case(says, logits):
        return Case(says, {"logits": logits}, _softmax(logits).mean(axis=0), 1e-5)

    by_hand = Case("worked out by hand: (3/4 + 1/2) / 2 and (1/4 + 1/2) / 2",
                   {"logits": np.array([[np.log(3), 0], [0, 0]])}, np.array([0.625, 0.375]))
    return judge(average_views,
                 [by_hand, case("the lesson's", np.array([[12.0, 0, 0], [0, 2, 0], [0, 2, 0]])),
                                 case("ten views", rng.normal(0, 2, (10, 5))),
                                 case("large logits: take the largest off before exp",
                                      np.array([[1000.0, 999, 0], [0, 1, 2]])),
                                 case("in float32", rng.normal(0, 2, (4, 3)).astype(np.float32))],
                                 VIEWS_MISTAKES)

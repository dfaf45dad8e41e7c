"""Lesson 02: from files to a batch, the middle of a picture, the top-k error.

N pictures  C classes  H W
"""

import numpy as np

from tinynet.exercises.check import Case, judge
from tinynet.metrics import top_k_wrong

# ----------------------------------------------------------------------------------------- to_batch

BATCH_MISTAKES = {
    "that is a reshape: it only counts the bytes again and mixes rows with colours; move the axes "
    "with transpose":
        lambda pictures, mean: pictures.reshape(len(pictures),
                                                *mean.shape).astype(np.float32) - mean,
    "uint8 numbers wrap around at 256: convert to float32 first, then subtract":
        lambda pictures, mean:
        pictures.transpose(0, 3, 1, 2) - mean.astype(np.uint8),
    "rows and columns are swapped: the new order of the axes is 0, 3, 1, 2":
        lambda pictures, mean:
        pictures.T.transpose(3, 0, 1, 2).astype(np.float32) - mean,
    "the mean image is not subtracted": lambda pictures, mean: pictures.transpose(0, 3, 1,
        2).astype(np.float32),
    "this subtracts the mean of the batch; subtract the mean of the training set, which is given":
        lambda pictures, mean: (x := pictures.transpose(0, 3, 1,
                                                        2).astype(np.float32)) - x.mean(axis=0),
    "this subtracts one number from all pixels; the mean image has one for each pixel":
        lambda pictures, mean:
        pictures.transpose(0, 3, 1, 2).astype(np.float32) - mean.mean(),
}


def check_to_batch(to_batch):
    """Check to_batch(pictures, mean).

    It returns x (N, 3, H, W) float32, for pictures (N, H, W, 3) uint8 and mean (3, H, W).
    """
    rng = np.random.default_rng(11)

    def case(says, N, H, W):
        pictures, mean = rng.integers(0, 256, (N, H, W, 3),
                                      np.uint8), 90 + 70 * rng.random((3, H, W), np.float32)
        return Case(says, {"pictures": pictures, "mean": mean},
                    pictures.transpose(0, 3, 1, 2).astype(np.float32) - mean)

    by_hand = Case("worked out by hand, one picture of 1 x 2 pixels",
                   {"pictures": np.array([[[[50, 200, 0], [100, 110, 120]]]], np.uint8),
                    "mean": np.array([[[100, 90]], [[100, 110]], [[10, 20]]], np.float32)},
                   np.array([[[[-50, 10]], [[100, 0]], [[-10, 100]]]], np.float32))
    return judge(to_batch,
                 [by_hand, case("as high as wide", 2, 4, 4), case("higher than wide", 3, 5, 2)],
                 BATCH_MISTAKES)


# ------------------------------------------------------------------------------------ middle_square

def _cut(picture, size, top, left):
    return picture[:, top:top + size, left:left + size]


SQUARE_MISTAKES = {
    "that is the corner at the top left; leave as much above as below, and left as right":
        lambda picture, size:
        _cut(picture, size, 0, 0),
    "left of the square is (W - size) // 2; this was computed from the height":
        lambda picture, size:
        _cut(picture, size, *[(picture.shape[1] - size) // 2] * 2),
    "if the margin is odd, the extra pixel is at the right and at the bottom: round down":
        lambda picture, size:
        _cut(picture, size, *[(side - size + 1) // 2 for side in picture.shape[1:]]),
    "the picture has its channels first: rows are axis 1, columns axis 2":
        lambda picture, size: picture[
        (picture.shape[0] - size) // 2:, (picture.shape[1] - size) // 2:][:size, :size],
}


def check_middle_square(middle_square):
    """Check middle_square(picture, size).

    It returns (3, size, size), the middle of a picture (3, H, W).
    """
    rng = np.random.default_rng(12)

    def case(says, H, W, size):
        picture = rng.integers(0, 256, (3, H, W), np.uint8)
        return Case(says, {"picture": picture, "size": size},
                    _cut(picture, size, (H - size) // 2, (W - size) // 2))
    return judge(middle_square,
                 [case("higher than wide", 8, 4, 4), case("wider than high", 4, 10, 4),
                                 case("on both sides something goes", 9, 7, 3),
                                 case("an odd rest", 6, 5, 3),
                                 case("nothing to cut", 4, 4, 4)], SQUARE_MISTAKES)


# -------------------------------------------------------------------------------------- top_k_error

def _ahead(beats):
    """Return the error if beats(scores, own) says which scores are ahead of the label's."""
    def error(scores, labels, k):
        own = scores[np.arange(len(labels)), labels][:, None]
        return float(np.mean(beats(scores, own).sum(axis=1) >= k))
    return error


def _sorted(chosen):
    """Return the error if chosen(scores, k) are the k classes that an argsort puts first."""
    return lambda scores, labels, k: float(np.mean((chosen(scores, k) != labels[:,
                                                                                None]).all(axis=1)))


def _right_error(scores, labels, k):
    return float(top_k_wrong(scores, labels, k).mean())


ERROR_MISTAKES = {
    "that is the share that is right; the error is the share that is wrong":
        lambda scores, labels, k:
        1 - _right_error(scores, labels, k),
    "that counts the wrong pictures; the error is their share, so divide by N":
        lambda scores, labels, k:
        _right_error(scores, labels, k) * len(labels),
    "a tie counts against the network: a score that equals the label's is ahead of it": _ahead(
        lambda scores, own: scores > own),
    "the label itself is not ahead of itself: it is one of those that are not smaller": _ahead(
        lambda scores, own: scores >= own),
    "argsort puts equal scores in some order, and the label may come first; count the scores that "
    "are not smaller": (
        _sorted(lambda scores, k: np.argsort(-scores, axis=1)[:, :k]),
        _sorted(lambda scores, k: np.argsort(-scores, axis=1, kind="stable")[:, :k]),
        _sorted(lambda scores, k: np.argsort(scores, axis=1)[:, -k:]),
        _sorted(lambda scores, k: np.argsort(scores, axis=1, kind="stable")[:, -k:])),
    "those are the k smallest scores": (
        lambda scores, labels, k: _right_error(-scores, labels, k),
        _sorted(lambda scores, k: np.argsort(scores, axis=1)[:, :k])),
    "that is the top-1 error whatever k is":
        lambda scores, labels, k: _right_error(scores, labels, 1),
}


def check_top_k_error(top_k_error):
    """Check top_k_error(scores, labels, k).

    It returns the share of pictures whose label is not among the k largest scores.
    """
    rng = np.random.default_rng(13)

    def case(says, scores, labels, k):
        given = {"scores": np.array(scores, float), "labels": np.array(labels), "k": k}
        return Case(says, given, _right_error(**given))

    rows = [[9, 1, 2, 3, 0, 4], [5, 7, 1, 6, 2, 0], [6, 5, 4, 0, 7, 3], [1, 2, 9, 4, 5, 6]]
    return judge(top_k_error, [
        case("the largest score or not", [row[:4] for row in rows] + [[3, 1, 0, 2]],
             [0, 2, 3, 0, 3], 1),
        case("top-5", rows, [0, 0, 3, 0], 5), case("top-3", rows, [1, 0, 0, 4], 3),
        case("more pictures", rng.permuted(np.tile(np.arange(9), (40, 1)), axis=1),
             rng.integers(0, 9, 40), 2),
        case("ties", [[1, 1, 0], [1, 1, 0], [2, 2, 2], [2, 2, 2], [2, 2, 2], [0, 1, 1], [3, 1, 2]],
             [0, 1, 0, 1, 2, 0, 0], 1)], ERROR_MISTAKES)

"""From stored pictures to the input of a network: crops, mirror images, the mean, colour shifts.

    N pictures  S side of a stored picture  s side of a crop, in pixels

The functions work on NumPy and on CuPy arrays, so a GPU can receive the bytes of the pictures and
do the rest itself. One function draws the random numbers, on the host; another one applies them.
"""

import dataclasses

import numpy as np

from tinynet.backend import array_module, like
from tinynet.shapes import ceil_div


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How a recipe varies its training pictures, besides random crops.

    flip     the share of the pictures that are mirrored, from 0 to 1
    chunk    how many pictures in a row share one random crop and flip
    mean_at  which part of the mean image is subtracted: "middle" takes its middle for every crop,
             "crop" takes the part that lies under the crop
    colour   the colours of each picture are shifted along the principal axes of the training
             pixels, each by a random multiple, of standard deviation `spread`, of: "deviations",
             the standard deviation along the axis; "eigenvalues", its square, for pixels from 0
             to 1. None: no shift
    divide   what the result is divided by, in training only

    Raises   ValueError if a value is none of these
    """

    flip: float = 0.5
    chunk: int = 1
    mean_at: str = "middle"
    colour: str | None = None
    spread: float = 0.1
    divide: float = 1.0

    def __post_init__(self):
        allowed = {
            "flip": (0 <= self.flip <= 1, "from 0 to 1"),
            "chunk": (isinstance(self.chunk, int) and self.chunk >= 1,
                      "a whole number from 1"),
            "mean_at": (self.mean_at in ("middle", "crop"), "'middle' or 'crop'"),
            "colour": (self.colour in (None, "deviations", "eigenvalues"),
                       "'deviations', 'eigenvalues' or None"),
            "spread": (0 <= self.spread < np.inf, "a number from 0"),
            "divide": (0 < self.divide < np.inf, "a number above 0"),
        }
        for name, (is_allowed, words) in allowed.items():
            if not is_allowed:
                raise ValueError(f"Augmentation: {name} must be {words}, "
                                 f"it is {getattr(self, name)!r}")

    def without_colour(self):
        """Return a copy that leaves the colours as they are.

        Source   the 2012 code divides by 1 + spread, so without a shift it divides by 1
        """
        return dataclasses.replace(self, colour=None, divide=1.0)


PLAIN = Augmentation()
AUGMENTATIONS = {  # by recipe
    "paper": Augmentation(colour="eigenvalues"),                           # 4.1, taken literally
    "code-2012": Augmentation(chunk=32, colour="deviations", divide=1.1),  # convdata_jpeg.py
    "caffe": Augmentation(mean_at="crop"),                                 # no colour shift
    "owt": Augmentation(mean_at="crop"),
}


@dataclasses.dataclass
class Sample:
    """The random numbers for N pictures.

    tops, lefts  (N,) the corner of the crop, in pixels
    flips        (N,) bool, whether the picture is mirrored
    shifts       (N, 3) added to R, G and B, in grey levels; or None
    """

    tops: np.ndarray
    lefts: np.ndarray
    flips: np.ndarray
    shifts: np.ndarray | None

    def __getitem__(self, chosen):
        """Return the random numbers for some of the pictures."""
        shifts = None if self.shifts is None else self.shifts[chosen]
        return Sample(self.tops[chosen], self.lefts[chosen], self.flips[chosen], shifts)


def sample(rng, N, margin, how, axes):
    """Draw the random numbers that augment needs for N pictures, a Sample.

    Paper    4.1. Offsets go from 0 to margin, both included, so 256 -> 224 gives 33 * 33 * 2 = 2178
             versions of a picture; the paper says 2048
    Args     margin: S - s; how: an Augmentation; axes: from principal_axes, for colour shifts
    Raises   ValueError if margin is negative
    Differs  in the 2012 code 32 pictures in a row share a crop (chunk=32), and colours are shifted
             by multiples of the standard deviations, where the paper says eigenvalues
    """
    if margin < 0:
        raise ValueError(f"a crop cannot be larger than its picture, here by {-margin} pixels")
    chunks = ceil_div(N, how.chunk)
    corners = rng.integers(0, margin, size=(2, chunks), endpoint=True)    # (2, chunks)
    tops, lefts = corners.repeat(how.chunk, axis=1)[:, :N]                # (N,) each
    flips = (rng.random(chunks) < how.flip).repeat(how.chunk)[:N]
    shifts = None
    if how.colour is not None:
        eigenvalues, vectors = axes                                       # (3,), (3, 3)
        unit = (np.sqrt(eigenvalues) if how.colour == "deviations" else
                eigenvalues / 255)  # / 255**2 for pixels from 0 to 1; * 255 back to grey levels
        multiples = rng.normal(0, how.spread, (N, 3))                     # (N, 3), along the axes
        shifts = (multiples * unit) @ vectors.T                           # (N, 3)
    return Sample(tops, lefts, flips, shifts)


def augment(pictures, drawn, mean, size, how=PLAIN):
    """Cut crops, subtract the mean image, shift colours, mirror and divide: the input in training.

    Paper    4.1, and section 2 for the mean image
    Args     pictures (N, 3, S, S) uint8; drawn: a Sample, drawn with margin S - size; mean
             (3, S, S) float32, on the device of the pictures; size: s
    Returns  x (N, 3, s, s) float32
    Raises   ValueError if a crop does not lie inside its picture
    Differs  the 2012 code subtracts the middle of the mean image from every crop and never mirrors
             it; Caffe subtracts the part under the crop
    """
    S = pictures.shape[-1]
    require_crop(size, S)
    for name, starts in (("tops", drawn.tops), ("lefts", drawn.lefts)):
        if len(starts) and not (0 <= starts.min() and starts.max() <= S - size):
            raise ValueError(f"augment: {name} must lie between 0 and {S - size}, they go from "
                             f"{starts.min()} to {starts.max()}")
    xp = array_module(pictures)
    x = xp.empty((*pictures.shape[:2], size, size), mean.dtype)
    middle = center_crop(mean, size)                                      # (3, s, s)
    shifts = None if drawn.shifts is None else like(drawn.shifts.astype(mean.dtype), mean)
    places = zip(drawn.tops.tolist(), drawn.lefts.tolist(), drawn.flips.tolist())
    for i, (top, left, flip) in enumerate(places):
        window = slice(None), slice(top, top + size), slice(left, left + size)
        columns = slice(None, None, -1 if flip else 1)
        subtracted = mean[window][..., columns] if how.mean_at == "crop" else middle  # (3, s, s)
        if shifts is not None:
            subtracted = subtracted - shifts[i, :, None, None]
        xp.subtract(pictures[i][window][..., columns], subtracted, out=x[i])
    if how.divide != 1:
        x *= 1 / how.divide
    return x


def principal_axes(covariance):
    """Return the eigenvalues (3,) and eigenvectors (3, 3), one in each column, of a covariance.

    Paper    4.1, of the RGB values of all training pixels
    """
    eigenvalues, vectors = np.linalg.eigh(covariance)
    return eigenvalues.clip(min=0), vectors  # by rounding, a zero can come out below zero


def require_crop(size, S):
    """Raise ValueError unless crops of `size` pixels fit into pictures of S pixels."""
    if not 1 <= size <= S:
        raise ValueError(f"a crop of {size} pixels does not fit into pictures of {S}")


def center_crop(pictures, size):
    """Return the middle (..., size, size) of pictures (..., S, S), a view.

    Raises   ValueError if it does not fit
    """
    require_crop(size, pictures.shape[-1])
    start = (pictures.shape[-1] - size) // 2
    return pictures[..., start:start + size, start:start + size]


def ten_crops(pictures, size):
    """Return the ten views of each test picture.

    Paper    4.1: the four corners and the middle, and the mirror images of all five
    Args     pictures (N, 3, S, S)
    Returns  (N, 10, 3, size, size) of the same dtype
    Raises   ValueError if they do not fit
    """
    require_crop(size, pictures.shape[-1])
    xp, far = array_module(pictures), pictures.shape[-1] - size
    places = [(0, 0), (0, far), (far // 2, far // 2), (far, 0), (far, far)]
    five = xp.stack([pictures[:, :, top:top + size, left:left + size] for top, left in places],
                    axis=1)
    return xp.concatenate([five, five[..., ::-1]], axis=1)                # (N, 10, 3, size, size)

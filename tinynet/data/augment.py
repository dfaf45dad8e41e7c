"""From stored pictures to what a network is fed: crops, mirror images, the mean, shifted colours, ten views.

    N pictures  S stored side  s crop side, in pixels

Array functions, on NumPy or on CuPy: a GPU can be given bytes and do the rest itself. What is random is drawn by one
function, on the host, and applied by another, so that the same draw can be applied anywhere.
"""

import dataclasses

import numpy as np

from tinynet.backend import array_module, like


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How a recipe varies its training pictures, beyond where they are cut.

    flip     the share of pictures that are mirrored
    chunk    how many pictures in a row share one draw of crop and flip
    mean_at  "middle": the middle of the mean image is taken off every crop; "crop": what of it lies under the crop
    colour   shift the colours of a picture along the principal axes of the training pixels, each by a random multiple,
             of standard deviation `spread`, of: the "deviations" along them, the "eigenvalues" (their squares, of
             pixels from 0 to 1), or nothing (None)
    divide   what the result is divided by, in training only
    """

    flip: float = 0.5
    chunk: int = 1
    mean_at: str = "middle"
    colour: str | None = None
    spread: float = 0.1
    divide: float = 1.0

    def without_colour(self):
        """The same, but colours stay as they are. The 2012 code divides by 1 + spread, and so by 1 then."""
        return dataclasses.replace(self, colour=None, divide=1.0)


PLAIN = Augmentation()
AUGMENTATIONS = {  # by recipe
    "paper": Augmentation(colour="eigenvalues"),                              # 4.1, taken literally
    "code-2012": Augmentation(chunk=32, colour="deviations", divide=1.1),     # convdata_jpeg.py
    "caffe": Augmentation(mean_at="crop"),                                    # no colour shift
    "owt": Augmentation(mean_at="crop"),
}


@dataclasses.dataclass
class Sample:
    """What was drawn for N pictures: tops, lefts (N,) in pixels, flips (N,) bool, shifts (N, 3) grey levels or None."""

    tops: np.ndarray
    lefts: np.ndarray
    flips: np.ndarray
    shifts: np.ndarray | None

    def __getitem__(self, chosen):
        """The draw of some of the pictures."""
        shifts = None if self.shifts is None else self.shifts[chosen]
        return Sample(self.tops[chosen], self.lefts[chosen], self.flips[chosen], shifts)


def sample(rng, N, margin, how, axes):
    """What augment applies to N pictures.

    Paper    4.1. Offsets are 0 to margin inclusive, so 256 -> 224 gives 33 * 33 * 2 = 2178 versions; 2048 is printed
    Args     margin: S - s; how: an Augmentation; axes: of principal_axes
    Differs  the 2012 code let 32 pictures in a row share a crop (chunk=32), and shifted colours by multiples of the
             standard deviations, where the text has the eigenvalues
    """
    chunks = -(-N // how.chunk)
    tops, lefts = rng.integers(0, margin, size=(2, chunks), endpoint=True).repeat(how.chunk, axis=1)[:, :N]
    flips = (rng.random(chunks) < how.flip).repeat(how.chunk)[:N]
    shifts = None
    if how.colour is not None:
        eigenvalues, vectors = axes                                       # (3,); (3, 3), an axis a column
        scale = np.sqrt(eigenvalues) if how.colour == "deviations" else eigenvalues / 255  # / 255**2 * 255
        multiples = rng.normal(0, how.spread, (N, 3))                     # (N, 3), one draw a picture
        shifts = (multiples * scale) @ vectors.T                          # (N, 3)
    return Sample(tops, lefts, flips, shifts)


def augment(pictures, drawn, mean, size, how=PLAIN):
    """Crops as the network sees them in training: cut, less the mean, shifted in colour, mirrored, divided.

    Paper    4.1, and section 2 for the mean
    Args     pictures (N, 3, S, S), bytes as they are stored; drawn: of sample, with margin S - size; mean (3, S, S)
             float32, where the pictures live; size: s
    Returns  x (N, 3, s, s) float32
    Differs  the 2012 code takes the middle of the mean off every crop, mirrored or not, Caffe what lies under it
    """
    xp = array_module(pictures)
    x = xp.empty((*pictures.shape[:2], size, size), mean.dtype)
    middle = center_crop(mean, size)                                      # (3, s, s)
    shifts = None if drawn.shifts is None else like(drawn.shifts.astype(mean.dtype), mean)
    for i, (top, left, flip) in enumerate(zip(drawn.tops.tolist(), drawn.lefts.tolist(), drawn.flips.tolist())):
        window = slice(None), slice(top, top + size), slice(left, left + size)
        back = slice(None, None, -1 if flip else 1)
        less = mean[window][..., back] if how.mean_at == "crop" else middle  # (3, s, s); the middle is never mirrored
        if shifts is not None:
            less = less - shifts[i, :, None, None]
        xp.subtract(pictures[i][window][..., back], less, out=x[i])
    if how.divide != 1:
        x *= 1 / how.divide
    return x


def principal_axes(covariance):
    """(3, 3) covariance of the R, G and B of all training pixels -> eigenvalues (3,), vectors (3, 3), one a column."""
    return np.linalg.eigh(covariance)


def center_crop(pictures, size):
    """The middle of pictures (..., S, S) -> (..., size, size), a view. Raises ValueError where there is less."""
    start = (pictures.shape[-1] - size) // 2
    if start < 0:
        raise ValueError(f"a crop of {size} pixels does not fit into pictures of {pictures.shape[-1]}")
    return pictures[..., start:start + size, start:start + size]


def ten_crops(pictures, size):
    """The ten views of a test picture.

    Paper    4.1: the four corners and the middle, and the mirror images of all five
    Args     pictures (N, 3, S, S)
    Returns  (N, 10, 3, size, size), the same dtype
    """
    xp, far = array_module(pictures), pictures.shape[-1] - size
    places = [(0, 0), (0, far), (far // 2, far // 2), (far, 0), (far, far)]
    five = xp.stack([pictures[:, :, top:top + size, left:left + size] for top, left in places], axis=1)
    return xp.concatenate([five, five[..., ::-1]], axis=1)                # (N, 10, 3, size, size)

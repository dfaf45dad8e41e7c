"""Crops and flips, as array functions.   N pictures  S stored side  s crop side, in pixels

What is random is drawn by one function and applied by another, so that the same draw can be applied anywhere.
"""

import numpy as np


def draw_crops(rng, N, margin):
    """Where to cut, and whether to mirror, for each of N pictures by itself.

    Paper    4.1. Offsets are 0 to margin inclusive, so 256 -> 224 gives 33 * 33 * 2 = 2178 versions; 2048 is printed
    Returns  tops, lefts (N,) integers in [0, margin]; flips (N,) bool, one half True
    Differs  the 2012 code let 32 pictures in a row share one draw
    """
    tops, lefts = rng.integers(0, margin, size=(2, N), endpoint=True)
    return tops, lefts, rng.random(N) < 0.5


def crop_and_flip(pictures, tops, lefts, flips, size):
    """Cut a square of `size` out of each picture, and mirror those with flips.

    Args     pictures (N, 3, S, S); tops, lefts, flips (N,)
    Returns  (N, 3, size, size), the same dtype
    """
    crops = np.empty((*pictures.shape[:2], size, size), pictures.dtype)
    for crop, picture, top, left, flip in zip(crops, pictures, tops, lefts, flips):
        cut = picture[:, top:top + size, left:left + size]
        crop[...] = cut[:, :, ::-1] if flip else cut
    return crops


def center_crop(pictures, size):
    """The middle of pictures (..., S, S) -> (..., size, size), a view."""
    start = (pictures.shape[-1] - size) // 2
    return pictures[..., start:start + size, start:start + size]

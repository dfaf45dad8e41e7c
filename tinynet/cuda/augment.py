"""The launcher of augment.cu: from bytes that are on the GPU to the input of the network."""

import numpy as np

from tinynet.backend import contiguous, like
from tinynet.cuda.kernels import launch_each, launch_strided, new_like, require_arrays, require_on_gpu
from tinynet.shapes import ShapeError, require_axes, require_shape

VERSION = 2  # of the kernels in augment.cu; 1: one thread per pixel


def augment(pictures, drawn, mean, size, how):
    """As data.augment, in one pass.

    Paper    4.1, and section 2 for the mean
    Args     pictures (N, 3, S, S) uint8 and mean (3, S, S) on the GPU; drawn: of data.sample; how: its Augmentation
    Returns  x (N, 3, size, size), the dtype of mean
    Raises   ShapeError; ValueError for a crop that leaves its picture
    """
    require_on_gpu("augment", "pictures", pictures)
    if pictures.dtype != np.uint8:
        raise TypeError(f"augment: pictures must be uint8, they are {pictures.dtype}")
    require_axes("augment", "pictures", pictures.shape, 4)
    N, _, S, _ = pictures.shape
    shifts = np.zeros((N, 3)) if drawn.shifts is None else drawn.shifts
    for name, array, shape in (("pictures", pictures, (N, 3, S, S)), ("mean", mean, (3, S, S)),
                               ("tops", drawn.tops, (N,)), ("lefts", drawn.lefts, (N,)), ("flips", drawn.flips, (N,)),
                               ("shifts", shifts, (N, 3))):
        require_shape("augment", name, array.shape, shape)
    if not 1 <= size <= S:
        raise ShapeError(f"augment: a crop of {size} pixels does not fit into pictures of {S}")
    for name, starts in (("tops", drawn.tops), ("lefts", drawn.lefts)):
        if N and not (0 <= starts.min() and starts.max() <= S - size):
            raise ValueError(f"augment: {name} must lie between 0 and {S - size}, they go from {starts.min()} "
                             f"to {starts.max()}")
    mean, = require_arrays("augment", mean=mean)
    tops, lefts, flips, shifts = (like(np.ascontiguousarray(array, dtype), mean) for array, dtype in (
        (drawn.tops, np.int32), (drawn.lefts, np.int32), (drawn.flips, np.uint8), (shifts, mean.dtype)))
    x = new_like(mean, (N, 3, size, size))
    launch = launch_each if VERSION == 1 else launch_strided
    launch("augment", f"augment_{VERSION}", x.size, contiguous(pictures), tops, lefts, flips, mean, shifts, x,
           S, size, int(how.mean_at == "crop"), float(how.divide))
    return x

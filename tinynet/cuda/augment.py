"""The launcher of augment.cu: from bytes that are on the GPU to the input of the network."""

import numpy as np

from tinynet.backend import contiguous, like
from tinynet.cuda.kernels import launch_strided, new_like, require_arrays, require_on_gpu
from tinynet.shapes import ShapeError, require_axes, require_shape


def augment(pictures, drawn, mean, size, how):
    """Do what data.augment does, in one kernel.

    Paper    4.1, and section 2 for the mean
    Args     pictures (N, 3, S, S) uint8 and mean (3, S, S) on the GPU; drawn: what data.sample
             returned; how: the Augmentation that it was given
    Returns  x (N, 3, size, size), the dtype of mean
    Raises   ShapeError; TypeError; ValueError where a crop would leave its picture
    """
    pictures, tops, lefts, flips, mean, shifts = checked(pictures, drawn, mean, size)
    x = new_like(mean, (len(pictures), 3, size, size))
    launch_strided("augment", "augment_2", x.size, pictures, tops, lefts, flips, mean, shifts, x,
                   mean.shape[1], size, int(how.mean_at == "crop"), float(how.divide))
    return x


def checked(pictures, drawn, mean, size):
    """Check every argument; return the arrays on the GPU, in the types that the kernels declare."""
    require_on_gpu("augment", "pictures", pictures)
    if pictures.dtype != np.uint8:
        raise TypeError(f"augment: pictures must be uint8, they are {pictures.dtype}")
    require_axes("augment", "pictures", pictures.shape, 4)
    N, _, S, _ = pictures.shape
    shifts = np.zeros((N, 3)) if drawn.shifts is None else drawn.shifts
    for name, array, shape in (
            ("pictures", pictures, (N, 3, S, S)), ("mean", mean, (3, S, S)),
            ("tops", drawn.tops, (N,)), ("lefts", drawn.lefts, (N,)), ("flips", drawn.flips, (N,)),
            ("shifts", shifts, (N, 3))):
        require_shape("augment", name, array.shape, shape)
    if not 1 <= size <= S:
        raise ShapeError(f"augment: a crop of {size} pixels does not fit into pictures of {S}")
    for name, starts in (("tops", drawn.tops), ("lefts", drawn.lefts)):
        if N and not (0 <= starts.min() and starts.max() <= S - size):
            raise ValueError(f"augment: {name} must lie between 0 and {S - size}, they go from "
                             f"{starts.min()} to {starts.max()}")
    mean, = require_arrays("augment", mean=mean)
    tops, lefts, flips, shifts = (
        like(np.ascontiguousarray(array, dtype), mean) for array, dtype in (
            (drawn.tops, np.int32), (drawn.lefts, np.int32), (drawn.flips, np.uint8),
            (shifts, mean.dtype)))
    return contiguous(pictures), tops, lefts, flips, mean, shifts

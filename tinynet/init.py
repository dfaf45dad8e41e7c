"""Initial values of parameters, and dropout masks, drawn on the host from a given Generator."""

import numpy as np


def gaussian(rng, shape, std, dtype):
    """Draw Gaussian weights with mean 0.

    Paper    5: standard deviation 0.01 (the variance is 1e-4)
    Args     rng: numpy.random.Generator; std: standard deviation, in units of the weight
    Returns  an array of that shape and dtype; the numbers are drawn in float32 for either dtype, so
             that a seed gives the same network in both
    """
    weights = rng.standard_normal(shape, dtype=np.float32)
    weights *= np.float32(std)
    return weights.astype(dtype, copy=False)


def constant(shape, value, dtype):
    """Make biases that all have the same value.

    Paper    5: 1 in conv2, conv4, conv5 and the hidden fully connected layers, so that their ReLUs
             receive positive inputs at the start; 0 in the other layers
    """
    return np.full(shape, value, dtype)


def bernoulli(rng, shape, probability, value, dtype):
    """Draw a dropout mask: `value` with the given probability, else 0."""
    kept = rng.random(shape, dtype=np.float32) < probability
    return kept.astype(dtype) * np.dtype(dtype).type(value)

"""Initial values of parameters, drawn on the host from a Generator that is handed in."""

import numpy as np


def gaussian(rng, shape, std, dtype):
    """Zero-mean Gaussian weights.

    Paper    5: standard deviation 0.01 (not variance: the variance is 1e-4)
    Args     rng: numpy.random.Generator; std: in units of the weight
    Returns  an array of that shape and dtype; drawn in float32 whatever dtype is, so that a seed means one network
    """
    weights = rng.standard_normal(shape, dtype=np.float32)
    weights *= np.float32(std)
    return weights.astype(dtype, copy=False)


def constant(shape, value, dtype):
    """Biases, all equal.

    Paper    5: 1 in conv2, conv4, conv5 and the hidden fully connected layers, so that their ReLUs start out on; else 0
    """
    return np.full(shape, value, dtype)


def bernoulli(rng, shape, probability, value, dtype):
    """A dropout mask: `value` with that probability, else 0."""
    return (rng.random(shape, dtype=np.float32) < probability).astype(dtype) * np.dtype(dtype).type(value)

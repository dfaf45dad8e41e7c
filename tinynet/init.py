"""Initial values of parameters, and dropout masks, drawn from a given Generator."""

import importlib

import numpy as np

from tinynet import backend


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


def bernoulli(rng, shape, probability, value, dtype, device="cpu"):
    """Draw a dropout mask: `value` with the given probability, else 0.

    On a GPU the GPU draws it, from the same sequence of random numbers: the bits of the mask and
    the state of rng afterwards are the same. It knows one generator, that of np.random.default_rng;
    with any other the host draws.
    """
    if device == "gpu" and isinstance(rng.bit_generator, np.random.PCG64):
        pcg64 = importlib.import_module("tinynet.cuda.pcg64")
        return pcg64.bernoulli(rng, shape, probability, value, dtype)
    kept = rng.random(shape, dtype=np.float32) < probability
    return backend.to_device(kept.astype(dtype) * np.dtype(dtype).type(value), device)

"""The launcher of pcg64.cu: dropout masks, drawn on the GPU, with the random numbers of NumPy."""

import math

import numpy as np

from tinynet import backend
from tinynet.cuda.kernels import launch_strided

PER_THREAD = 32  # elements at least: the first leap of a thread costs as much as many small ones


def bernoulli(rng, shape, probability, value, dtype):
    """Do what init.bernoulli does, on the GPU in use.

    Args     rng: a Generator on PCG64, as np.random.default_rng returns it
    Returns  the same bits as on the host. rng is left as if the host had drawn the mask
    """
    mask = backend.empty(shape, dtype, "gpu")
    launch_strided("pcg64", "bernoulli_2", mask.size, mask, *numbers(rng, probability, value),
                   per_thread=PER_THREAD)
    skip(rng, mask.size)
    return mask


def numbers(rng, probability, value):
    """Return the numbers that the kernels are given: the state of rng, a limit, the value."""
    state = rng.bit_generator.state
    words = [np.uint64(state["state"][name] >> shift & (1 << 64) - 1)
             for name in ("state", "inc") for shift in (64, 0)]
    limit = math.ceil(float(np.float32(probability)) * 2**24)  # u < limit: u / 2^24 < probability
    return *words, state["has_uint32"], np.uint32(state["uinteger"]), limit, float(value)


def skip(rng, count):
    """Leave rng as if it had drawn `count` numbers of float32, of which two share 64 bits."""
    if count and rng.bit_generator.state["has_uint32"]:
        rng.random(dtype=np.float32)
        count -= 1
    if count:
        rng.bit_generator.advance((count - 1) // 2)
        rng.random(2 - count % 2, dtype=np.float32)

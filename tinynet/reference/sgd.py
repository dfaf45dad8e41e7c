"""Stochastic gradient descent in the paper's velocity form, one weight at a time."""

import numpy as np

from tinynet.reference.limit import require_small
from tinynet.shapes import require_shape


def sgd_step(w, v, dw, lr, momentum, weight_decay):
    """Update v <- momentum * v - weight_decay * lr * w - lr * dw, then w <- w + v.

    Paper    5
    Args     w, v, dw: arrays of one shape; lr, momentum, weight_decay: numbers
    Returns  w, v: new arrays
    Raises   ShapeError; ValueError where it would take too long
    """
    w, v = w.copy(), v.copy()
    sgd_step_(w, v, dw, lr, momentum, weight_decay)
    return w, v


def sgd_step_(w, v, dw, lr, momentum, weight_decay):
    """Do what sgd_step does in place: write to w and v, return nothing."""
    require_shape("sgd_step", "v", v.shape, w.shape)
    require_shape("sgd_step", "dw", dw.shape, w.shape)
    require_small("sgd_step", 3 * w.size)
    for index in np.ndindex(w.shape):
        v[index] = momentum * v[index] - weight_decay * lr * w[index] - lr * dw[index]
        w[index] = w[index] + v[index]

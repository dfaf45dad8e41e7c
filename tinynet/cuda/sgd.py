"""Launchers of sgd.cu."""

from tinynet.cuda.kernels import launch_each, require_arrays
from tinynet.shapes import require_shape

EACH = 4  # weights of a thread, as in sgd.cu


def sgd_step(w, v, dw, lr, momentum, weight_decay):
    """Do what ops.sgd_step does."""
    w, v = w.copy(), v.copy()
    sgd_step_(w, v, dw, lr, momentum, weight_decay)
    return w, v


def sgd_step_(w, v, dw, lr, momentum, weight_decay):
    """Do what ops.sgd_step_ does."""
    require_shape("sgd_step", "v", v.shape, w.shape)
    require_shape("sgd_step", "dw", dw.shape, w.shape)
    flat_w, flat_v, dw = require_arrays("sgd_step", w=w, v=v, dw=dw)
    launch_each("sgd", "sgd_step_3", dw.size, flat_w, flat_v, dw,
                float(lr), float(momentum), float(weight_decay), per_thread=EACH)
    if flat_w is not w:  # w was not contiguous, so the kernel wrote to a copy
        w[...] = flat_w
    if flat_v is not v:
        v[...] = flat_v

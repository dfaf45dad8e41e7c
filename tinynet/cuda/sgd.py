"""Launchers of sgd.cu."""

from tinynet.cuda.kernels import launch_each, launch_strided, require_arrays
from tinynet.shapes import require_shape

VERSION = 2  # of the kernels in sgd.cu; 1: one thread per weight


def sgd_step(w, v, dw, lr, momentum, weight_decay):
    """As ops.sgd_step."""
    w, v = w.copy(), v.copy()
    sgd_step_(w, v, dw, lr, momentum, weight_decay)
    return w, v


def sgd_step_(w, v, dw, lr, momentum, weight_decay):
    """As ops.sgd_step_."""
    require_shape("sgd_step", "v", v.shape, w.shape)
    require_shape("sgd_step", "dw", dw.shape, w.shape)
    flat_w, flat_v, dw = require_arrays("sgd_step", w=w, v=v, dw=dw)
    launch = launch_each if VERSION == 1 else launch_strided
    launch("sgd", f"sgd_step_{VERSION}", dw.size, flat_w, flat_v, dw, float(lr), float(momentum), float(weight_decay))
    if flat_w is not w:  # it was not contiguous: the kernel wrote to a copy
        w[...] = flat_w
    if flat_v is not v:
        v[...] = flat_v

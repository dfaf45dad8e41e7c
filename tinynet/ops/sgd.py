"""Stochastic gradient descent with momentum and weight decay, in the paper's velocity form."""

from tinynet.shapes import require_shape


def sgd_step(w, v, dw, lr, momentum, weight_decay):
    """Update v <- momentum * v - weight_decay * lr * w - lr * dw, then w <- w + v.

    Paper    5
    Args     w, v, dw: arrays of one shape; lr, momentum, weight_decay: numbers
    Returns  w, v: new arrays
    Raises   ShapeError
    Differs  PyTorch stores b = -v / lr: it takes the same steps until lr changes, but when lr
             drops, the old velocity shrinks too
    """
    w, v = w.copy(), v.copy()
    sgd_step_(w, v, dw, lr, momentum, weight_decay)
    return w, v


def sgd_step_(w, v, dw, lr, momentum, weight_decay):
    """Do what sgd_step does in place: write to w and v, return nothing."""
    require_shape("sgd_step", "v", v.shape, w.shape)
    require_shape("sgd_step", "dw", dw.shape, w.shape)
    v *= momentum
    v -= (weight_decay * lr) * w                                          # w is still the old w
    v -= lr * dw
    w += v

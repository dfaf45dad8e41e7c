"""Stochastic gradient descent with momentum and weight decay, in the paper's velocity form."""

from tinynet.shapes import require_shape


def sgd_step(w, v, dw, lr, momentum, weight_decay):
    """v <- momentum * v - weight_decay * lr * w - lr * dw;   w <- w + v.

    Paper    5
    Args     w, v, dw: one shape; lr, momentum, weight_decay: numbers
    Returns  w, v: new arrays
    Raises   ShapeError
    Differs  PyTorch keeps b = -v / lr: the same steps until lr changes, but at a drop it shrinks the old velocity too
    """
    w, v = w.copy(), v.copy()
    sgd_step_(w, v, dw, lr, momentum, weight_decay)
    return w, v


def sgd_step_(w, v, dw, lr, momentum, weight_decay):
    """sgd_step in place: writes to w and v, returns nothing."""
    require_shape("sgd_step", "v", v.shape, w.shape)
    require_shape("sgd_step", "dw", dw.shape, w.shape)
    v *= momentum
    v -= (weight_decay * lr) * w                                          # the decay looks at the old w
    v -= lr * dw
    w += v

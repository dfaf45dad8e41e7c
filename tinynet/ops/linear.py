"""The fully connected layer: one matrix product.   N images  IN, OUT units"""

from tinynet.shapes import linear_shape, require_shape


def linear_forward(x, w, b):
    """Compute y = x w^T + b: each output unit is a weighted sum of all input units.

    Paper    3.5, fc6 to fc8
    Args     x (N, IN); w (OUT, IN); b (OUT,)
    Returns  y (N, OUT)
    Raises   ShapeError
    """
    N, OUT = linear_shape("linear_forward", x.shape, w.shape)
    require_shape("linear_forward", "b", b.shape, (OUT,))
    return x @ w.T + b                                                    # (N, OUT)


def linear_backward(dy, x, w):
    """Compute the three gradients of linear_forward.

    Args     dy (N, OUT); x (N, IN); w (OUT, IN)
    Returns  dx (N, IN), dw (OUT, IN), db (OUT,); dw and db summed over the batch
    Raises   ShapeError
    """
    y_shape = linear_shape("linear_backward", x.shape, w.shape)
    require_shape("linear_backward", "dy", dy.shape, y_shape)
    dx = dy @ w                                                           # (N, IN)
    dw = dy.T @ x                                                         # (OUT, IN)
    db = dy.sum(axis=0)                                                   # (OUT,)
    return dx, dw, db

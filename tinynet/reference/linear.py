"""The fully connected layer, index by index.   N images  IN, OUT units"""

import numpy as np

from tinynet.reference.limit import require_small
from tinynet.shapes import linear_shape, require_shape


def linear_forward(x, w, b):
    """Compute for each output unit a weighted sum of all input units.

    Paper    3.5, fc6 to fc8  y[o] = b[o] + sum_i w[o, i] * x[i]
    Args     x (N, IN); w (OUT, IN); b (OUT,)
    Returns  y (N, OUT)
    Raises   ShapeError; ValueError where it would take too long
    """
    N, OUT = linear_shape("linear_forward", x.shape, w.shape)
    require_shape("linear_forward", "b", b.shape, (OUT,))
    IN = x.shape[1]
    require_small("linear_forward", N * OUT * IN)
    y = np.empty((N, OUT), x.dtype)
    for image in range(N):
        for o in range(OUT):
            total = b[o]
            for i in range(IN):
                total = total + w[o, i] * x[image, i]
            y[image, o] = total
    return y


def linear_backward(dy, x, w):
    """Visit each product w * x of y again: add dy * x to the gradient of w, dy * w to that of x.

    Formula  dx[i] = sum_o dy[o] * w[o, i];  over the images: dw[o, i] = sum dy[o] * x[i],
             db[o] = sum dy[o]
    Args     dy (N, OUT); x (N, IN); w (OUT, IN)
    Returns  dx (N, IN), dw (OUT, IN), db (OUT,); dw and db summed over the batch
    Raises   ShapeError; ValueError where it would take too long
    """
    N, OUT = linear_shape("linear_backward", x.shape, w.shape)
    require_shape("linear_backward", "dy", dy.shape, (N, OUT))
    IN = x.shape[1]
    require_small("linear_backward", N * OUT * IN * 2)
    dx, dw, db = np.zeros(x.shape, x.dtype), np.zeros(w.shape, w.dtype), np.zeros(OUT, dy.dtype)
    for image in range(N):
        for o in range(OUT):
            db[o] += dy[image, o]
            for i in range(IN):
                dw[o, i] += dy[image, o] * x[image, i]
                dx[image, i] += dy[image, o] * w[o, i]
    return dx, dw, db

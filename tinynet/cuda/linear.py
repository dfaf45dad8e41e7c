"""Launchers of linear.cu, and the matrix products of cuBLAS.   N images  IN, OUT units"""

from tinynet.backend import array_module
from tinynet.cuda.kernels import launch_blocks, launch_strided, new_like, require_arrays
from tinynet.shapes import ceil_div, linear_shape, require_shape

UNITS, SHARES = 32, 16  # of a block that sums db, as in linear.cu


def linear_forward(x, w, b):
    """Do what ops.linear_forward does."""
    N, OUT = linear_shape("linear_forward", x.shape, w.shape)
    require_shape("linear_forward", "b", b.shape, (OUT,))
    x, w, b = require_arrays("linear_forward", x=x, w=w, b=b)
    y = new_like(x, (N, OUT))
    array_module(x).matmul(x, w.T, out=y)                                 # (N, OUT)
    launch_strided("linear", "add_bias_2", y.size, y, b, OUT)
    return y


def linear_backward(dy, x, w):
    """Do what ops.linear_backward does."""
    N, OUT = linear_shape("linear_backward", x.shape, w.shape)
    require_shape("linear_backward", "dy", dy.shape, (N, OUT))
    dy, x, w = require_arrays("linear_backward", dy=dy, x=x, w=w)
    dx, dw, db = new_like(x), new_like(w), new_like(x, (OUT,))
    array_module(dy).matmul(dy, w, out=dx)                                # (N, IN)
    array_module(dy).matmul(dy.T, x, out=dw)                              # (OUT, IN)
    launch_blocks("linear", "linear_db_3", ceil_div(OUT, UNITS), (UNITS, SHARES), dy, db, N, OUT)
    return dx, dw, db

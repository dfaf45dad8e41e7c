"""Launchers of linear.cu.   N images  IN, OUT units"""

from tinynet.backend import array_module
from tinynet.cuda.kernels import launch_blocks, launch_each, launch_strided, new_like, require_arrays
from tinynet.shapes import linear_shape, require_shape

VERSION = 3  # of the kernels in linear.cu; 1: one thread per output, 2: tiles, 3: cuBLAS
TILE = 16    # as in linear.cu


def linear_forward(x, w, b):
    """As ops.linear_forward."""
    N, OUT = linear_shape("linear_forward", x.shape, w.shape)
    require_shape("linear_forward", "b", b.shape, (OUT,))
    x, w, b = require_arrays("linear_forward", x=x, w=w, b=b)
    y = new_like(x, (N, OUT))
    if VERSION == 1:
        launch_each("linear", "linear_forward_1", y.size, x, w, b, y, x.shape[1], OUT)
        return y
    _matmul(x, w.T, y)                                                    # (N, OUT)
    launch_strided("linear", "add_bias_2", y.size, y, b, OUT)
    return y


def linear_backward(dy, x, w):
    """As ops.linear_backward."""
    N, OUT = linear_shape("linear_backward", x.shape, w.shape)
    require_shape("linear_backward", "dy", dy.shape, (N, OUT))
    dy, x, w = require_arrays("linear_backward", dy=dy, x=x, w=w)
    IN = x.shape[1]
    dx, dw, db = new_like(x), new_like(w), new_like(x, (OUT,))
    if VERSION == 1:
        launch_each("linear", "linear_dx_1", dx.size, dy, w, dx, IN, OUT)
        launch_each("linear", "linear_dw_1", dw.size, dy, x, dw, N, IN, OUT)
    else:
        _matmul(dy, w, dx)                                                # (N, IN)
        _matmul(dy.T, x, dw)                                              # (OUT, IN)
    launch_each("linear", "linear_db_1", OUT, dy, db, N, OUT)
    return dx, dw, db


def _matmul(a, b, c):
    """c = a b. A transposed matrix is only read in another order, by either version: nothing is copied."""
    if VERSION == 3:
        array_module(a).matmul(a, b, out=c)
        return
    ROWS, COLUMNS = c.shape
    strides = [stride // array.itemsize for array in (a, b) for stride in array.strides]
    a_stored, b_stored = (array if array.flags.c_contiguous else array.T for array in (a, b))  # as they lie in memory
    launch_blocks("linear", "matmul_2", -(-ROWS // TILE) * -(-COLUMNS // TILE), (TILE, TILE),
                  a_stored, b_stored, c, ROWS, COLUMNS, a.shape[1], *strides)

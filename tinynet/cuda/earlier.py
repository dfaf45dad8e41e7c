"""Launchers of the earlier versions of the kernels, for lessons, tests and measurements.

Each .cu file keeps the versions through which its kernels grew. tinynet.cuda launches the newest.
`rung(1)` and `rung(2)` have the same functions, and launch version 1 or 2 of every kernel that has
one:

    from tinynet.cuda import earlier
    for layer in net.layers:
        layer.ops = earlier.rung(1)

LRN and pooling need no launcher here: tinynet.cuda itself launches their version 2 for windows
other than AlexNet's, and version 1 where a block would need more shared memory than there is.
"""

import math
import types

from tinynet import backend, cuda
from tinynet.cuda import dropout, pcg64
from tinynet.cuda.augment import checked as checked_augmentation
from tinynet.cuda.implicit import DB_THREADS
from tinynet.cuda.kernels import (
    THREADS,
    launch_blocks,
    launch_each,
    launch_strided,
    new_like,
    require_arrays,
)
from tinynet.cuda.softmax import checked
from tinynet.shapes import ceil_div, conv2d_shape, pair, windows_shape

TILE = 16  # as in conv.cu and linear.cu


def rung(version):
    """Return the functions of tinynet.cuda, with earlier launchers where they have that version."""
    functions = {name: getattr(cuda, name) for name in cuda.__all__}
    return types.SimpleNamespace(**functions | EARLIER.get(version, {}))


# ---- convolution --------------------------------------------------------------------------------
def conv2d_forward_1(x, w, b, stride, pad, groups, ceil=False):
    """Convolve with one thread per output."""
    y_shape = conv2d_shape("conv2d_forward", x.shape, w.shape, stride, pad, groups, ceil)
    x, w, b = require_arrays("conv2d_forward", x=x, w=w, b=b)
    y = new_like(x, y_shape)
    launch_each("conv", "conv2d_forward_1", y.size, x, w, b, y, *_sizes(x, w, y, stride, pad))
    return y


def conv2d_forward_2(x, w, b, stride, pad, groups, ceil=False):
    """Convolve in tiles: one block for TILE kernels at TILE positions of one image."""
    y_shape = conv2d_shape("conv2d_forward", x.shape, w.shape, stride, pad, groups, ceil)
    x, w, b = require_arrays("conv2d_forward", x=x, w=w, b=b)
    y = new_like(x, y_shape)
    N, K, OH, OW = y_shape
    blocks = N * groups * ceil_div(K // groups, TILE) * ceil_div(OH * OW, TILE)
    launch_blocks("conv", "conv2d_forward_2", blocks, (TILE, TILE), x, w, b, y,
                  *_sizes(x, w, y, stride, pad))
    return y


def conv2d_backward_1(dy, x, w, stride, pad, groups, ceil=False, need_dx=True):
    """Compute each element of dx, dw and db by a thread of its own."""
    N, K, OH, OW = conv2d_shape("conv2d_backward", x.shape, w.shape, stride, pad, groups, ceil)
    dy, x, w = require_arrays("conv2d_backward", dy=dy, x=x, w=w)
    dx, dw, db = new_like(x) if need_dx else None, new_like(w), new_like(x, (K,))
    sizes = _sizes(x, w, dy, stride, pad)
    launch_each("conv", "conv2d_db_1", K, dy, db, N, K, OH * OW)
    launch_each("conv", "conv2d_dw_1", dw.size, dy, x, dw, N, *sizes)
    if need_dx:
        launch_each("conv", "conv2d_dx_1", dx.size, dy, w, dx, *sizes)
    return dx, dw, db


def conv2d_backward_2(dy, x, w, stride, pad, groups, ceil=False, need_dx=True):
    """Sum db of each kernel by one block, as a tree. dx and dw are those of tinynet.cuda."""
    dx, dw, db = cuda.conv2d_backward(dy, x, w, stride, pad, groups, ceil, need_dx)
    dy, = require_arrays("conv2d_backward", dy=dy)
    N, K, OH, OW = dy.shape
    launch_blocks("conv", "conv2d_db_2", K, DB_THREADS, dy, db, N, K, OH * OW)
    return dx, dw, db


def im2col_1(x, kh, kw, stride, pad, ceil=False):
    """Copy each element of the columns by a thread of its own."""
    windows = windows_shape("im2col", x.shape, (kh, kw), stride, pad, ceil)
    x, = require_arrays("im2col", x=x)
    N, C = x.shape[:2]
    cols = new_like(x, (C * kh * kw, N * math.prod(windows)))
    launch_each("conv", "im2col_1", cols.size, x, cols,
                *x.shape, kh, kw, *windows, *pair(stride), *pair(pad))
    return cols


def col2im_1(cols, in_shape, kh, kw, stride, pad, ceil=False):
    """Add up each pixel by a thread that asks every position of the window."""
    windows = windows_shape("col2im", in_shape, (kh, kw), stride, pad, ceil)
    cols, = require_arrays("col2im", cols=cols)
    x = new_like(cols, in_shape)
    launch_each("conv", "col2im_1", x.size, cols, x,
                *in_shape, kh, kw, *windows, *pair(stride), *pair(pad))
    return x


def _sizes(x, w, y, stride, pad):
    """Return the kernels' numbers: C, H, W, K, CG, KH, KW, OH, OW, SH, SW, PH, PW."""
    return *x.shape[1:], *w.shape, *y.shape[2:], *pair(stride), *pair(pad)


# ---- the fully connected layer ------------------------------------------------------------------
def linear_forward_1(x, w, b):
    """Multiply with one thread per output."""
    x, w, b = require_arrays("linear_forward", x=x, w=w, b=b)
    OUT, IN = w.shape
    y = new_like(x, (len(x), OUT))
    launch_each("linear", "linear_forward_1", y.size, x, w, b, y, IN, OUT)
    return y


def linear_backward_1(dy, x, w):
    """Compute each element of dx, dw and db by a thread of its own."""
    dy, x, w = require_arrays("linear_backward", dy=dy, x=x, w=w)
    N, (OUT, IN) = len(x), w.shape
    dx, dw, db = new_like(x), new_like(w), new_like(x, (OUT,))
    launch_each("linear", "linear_dx_1", dx.size, dy, w, dx, IN, OUT)
    launch_each("linear", "linear_dw_1", dw.size, dy, x, dw, N, IN, OUT)
    launch_each("linear", "linear_db_1", OUT, dy, db, N, OUT)
    return dx, dw, db


def linear_forward_2(x, w, b):
    """Multiply in tiles, then add the bias."""
    x, w, b = require_arrays("linear_forward", x=x, w=w, b=b)
    y = _matmul_2(x, w.T)                                                 # (N, OUT)
    launch_strided("linear", "add_bias_2", y.size, y, b, len(w))
    return y


def linear_backward_2(dy, x, w):
    """Compute dx and dw in tiles."""
    dy, x, w = require_arrays("linear_backward", dy=dy, x=x, w=w)
    N, OUT = dy.shape
    dx = _matmul_2(dy, w)                                                 # (N, IN)
    dw = _matmul_2(dy.T, x)                                               # (OUT, IN)
    db = new_like(x, (OUT,))
    launch_each("linear", "linear_db_1", OUT, dy, db, N, OUT)
    return dx, dw, db


def _matmul_2(a, b):
    """Return a b. A transposed matrix is not copied, only read in another order."""
    (ROWS, INNER), COLUMNS = a.shape, b.shape[1]
    c = new_like(a, (ROWS, COLUMNS))
    strides = [stride // array.itemsize for array in (a, b) for stride in array.strides]
    a, b = (array if array.flags.c_contiguous else array.T for array in (a, b))  # as stored
    launch_blocks("linear", "matmul_2", ceil_div(ROWS, TILE) * ceil_div(COLUMNS, TILE),
                  (TILE, TILE), a, b, c, ROWS, COLUMNS, INNER, *strides)
    return c


# ---- one thread per element, or per image -------------------------------------------------------
def relu_forward_1(x):
    """Compute max(0, x) with one thread per element."""
    x, = require_arrays("relu_forward", x=x)
    y = new_like(x)
    launch_each("activation", "relu_forward_1", x.size, x, y)
    return y


def relu_backward_1(dy, y):
    """Compute the gradient of ReLU with one thread per element."""
    dy, y = require_arrays("relu_backward", dy=dy, y=y)
    dx = new_like(dy)
    launch_each("activation", "relu_backward_1", dy.size, dy, y, dx)
    return dx


def relu_forward_2(x):
    """Compute max(0, x) in a grid-stride loop."""
    x, = require_arrays("relu_forward", x=x)
    y = new_like(x)
    launch_strided("activation", "relu_forward_2", x.size, x, y)
    return y


def relu_backward_2(dy, y):
    """Compute the gradient of ReLU in a grid-stride loop."""
    dy, y = require_arrays("relu_backward", dy=dy, y=y)
    dx = new_like(dy)
    launch_strided("activation", "relu_backward_2", dy.size, dy, y, dx)
    return dx


def dropout_forward_1(x, mask):
    """Multiply by a mask with one thread per element."""
    if isinstance(mask, (int, float)):
        return dropout.dropout_forward(x, mask)
    x, mask = require_arrays("dropout_forward", x=x, mask=mask)
    y = new_like(x)
    launch_each("dropout", "multiply_1", x.size, x, mask, y)
    return y


def bernoulli_1(rng, shape, probability, value, dtype):
    """Draw a dropout mask with one thread for two of its elements."""
    mask = backend.empty(shape, dtype, "gpu")
    launch_each("pcg64", "bernoulli_1", mask.size, mask, *pcg64.numbers(rng, probability, value))
    pcg64.skip(rng, mask.size)
    return mask


def softmax_cross_entropy_forward_1(logits, labels):
    """Compute the loss with one thread per image."""
    logits, labels = checked("softmax_cross_entropy_forward", "logits", logits, labels)
    N, C = logits.shape
    losses, probs, loss = new_like(logits, (N,)), new_like(logits), new_like(logits, ())
    launch_each("softmax", "softmax_forward_1", N, logits, labels, losses, probs, C)
    launch_blocks("softmax", "mean_2", 1, THREADS, losses, loss, N)
    return loss, probs


def softmax_cross_entropy_forward_2(logits, labels):
    """Compute the loss with one block per image, which adds up in shared memory."""
    logits, labels = checked("softmax_cross_entropy_forward", "logits", logits, labels)
    N, C = logits.shape
    losses, probs, loss = new_like(logits, (N,)), new_like(logits), new_like(logits, ())
    launch_blocks("softmax", "softmax_forward_2", N, THREADS, logits, labels, losses, probs, C)
    launch_blocks("softmax", "mean_2", 1, THREADS, losses, loss, N)
    return loss, probs


def sgd_step_1(w, v, dw, lr, momentum, weight_decay):
    """Return updated copies of w and v, with one thread per weight."""
    dw, = require_arrays("sgd_step", dw=dw)
    w, v = require_arrays("sgd_step", w=w.copy(), v=v.copy())
    launch_each("sgd", "sgd_step_1", dw.size, w, v, dw,
                float(lr), float(momentum), float(weight_decay))
    return w, v


def sgd_step_2(w, v, dw, lr, momentum, weight_decay):
    """Return updated copies of w and v, computed in a grid-stride loop."""
    dw, = require_arrays("sgd_step", dw=dw)
    w, v = require_arrays("sgd_step", w=w.copy(), v=v.copy())
    launch_strided("sgd", "sgd_step_2", dw.size, w, v, dw,
                   float(lr), float(momentum), float(weight_decay))
    return w, v


def augment_1(pictures, drawn, mean, size, how):
    """Do what augment.augment does, with one thread per pixel."""
    arrays = checked_augmentation(pictures, drawn, mean, size)
    mean = arrays[4]
    x = new_like(mean, (len(pictures), 3, size, size))
    launch_each("augment", "augment_1", x.size, *arrays, x,
                mean.shape[1], size, int(how.mean_at == "crop"), float(how.divide))
    return x


EARLIER = {
    1: {"conv2d_forward": conv2d_forward_1, "conv2d_backward": conv2d_backward_1,
        "im2col": im2col_1, "col2im": col2im_1,
        "linear_forward": linear_forward_1, "linear_backward": linear_backward_1,
        "relu_forward": relu_forward_1, "relu_backward": relu_backward_1,
        "dropout_forward": dropout_forward_1, "dropout_backward": dropout_forward_1,
        "softmax_cross_entropy_forward": softmax_cross_entropy_forward_1, "sgd_step": sgd_step_1},
    2: {"conv2d_forward": conv2d_forward_2, "conv2d_backward": conv2d_backward_2,
        "linear_forward": linear_forward_2, "linear_backward": linear_backward_2,
        "relu_forward": relu_forward_2, "relu_backward": relu_backward_2,
        "softmax_cross_entropy_forward": softmax_cross_entropy_forward_2, "sgd_step": sgd_step_2},
}

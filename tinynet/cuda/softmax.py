"""Launchers of softmax.cu.   N images  C classes"""

import numpy as np

from tinynet.backend import array_module
from tinynet.cuda.kernels import THREADS, launch_blocks, launch_each, new_like, require_arrays, require_on_gpu
from tinynet.shapes import require_axes, require_shape

VERSION = 2  # of the kernels in softmax.cu; 1: one thread per image, 2: one block


def softmax_cross_entropy_forward(logits, labels):
    """As ops.softmax_cross_entropy_forward."""
    require_axes("softmax_cross_entropy_forward", "logits", logits.shape, 2)
    N, C = logits.shape
    require_shape("softmax_cross_entropy_forward", "labels", labels.shape, (N,))
    logits, = require_arrays("softmax_cross_entropy_forward", logits=logits)
    labels = _eight_bytes("softmax_cross_entropy_forward", labels)
    losses, probs, loss = new_like(logits, (N,)), new_like(logits), new_like(logits, ())
    if VERSION == 1:
        launch_each("softmax", "softmax_forward_1", N, logits, labels, losses, probs, C)
    else:
        launch_blocks("softmax", "softmax_forward_2", N, THREADS, logits, labels, losses, probs, C)
    launch_blocks("softmax", "mean_2", 1, THREADS, losses, loss, N)
    return loss, probs


def softmax_cross_entropy_backward(probs, labels):
    """As ops.softmax_cross_entropy_backward."""
    require_axes("softmax_cross_entropy_backward", "probs", probs.shape, 2)
    N, C = probs.shape
    require_shape("softmax_cross_entropy_backward", "labels", labels.shape, (N,))
    probs, = require_arrays("softmax_cross_entropy_backward", probs=probs)
    labels = _eight_bytes("softmax_cross_entropy_backward", labels)
    dlogits = new_like(probs)
    launch_each("softmax", "softmax_backward_1", probs.size, probs, labels, dlogits, N, C)
    return dlogits


def _eight_bytes(where, labels):
    """Labels as the kernels declare them, contiguous."""
    require_on_gpu(where, "labels", labels)
    return array_module(labels).ascontiguousarray(labels, np.int64)

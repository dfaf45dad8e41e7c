"""Launchers of softmax.cu.   N images  C classes"""

import numpy as np

from tinynet.backend import array_module
from tinynet.cuda.kernels import (
    THREADS,
    launch_blocks,
    launch_each,
    new_like,
    require_arrays,
    require_on_gpu,
)
from tinynet.shapes import require_axes, require_shape


def softmax_cross_entropy_forward(logits, labels):
    """Do what ops.softmax_cross_entropy_forward does."""
    logits, labels = checked("softmax_cross_entropy_forward", "logits", logits, labels)
    N, C = logits.shape
    losses, probs, loss = new_like(logits, (N,)), new_like(logits), new_like(logits, ())
    launch_blocks("softmax", "softmax_forward_3", N, THREADS, logits, labels, losses, probs, C)
    launch_blocks("softmax", "mean_3", 1, THREADS, losses, loss, N)
    return loss, probs


def softmax_cross_entropy_backward(probs, labels):
    """Do what ops.softmax_cross_entropy_backward does."""
    probs, labels = checked("softmax_cross_entropy_backward", "probs", probs, labels)
    N, C = probs.shape
    dlogits = new_like(probs)
    launch_each("softmax", "softmax_backward_1", probs.size, probs, labels, dlogits, N, C)
    return dlogits


def checked(where, name, array, labels):
    """Check logits or probs (N, C) and labels (N,); return both contiguous, labels as int64."""
    require_axes(where, name, array.shape, 2)
    require_shape(where, "labels", labels.shape, array.shape[:1])
    array, = require_arrays(where, **{name: array})
    require_on_gpu(where, "labels", labels)
    return array, array_module(labels).ascontiguousarray(labels, np.int64)

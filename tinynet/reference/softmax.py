"""Softmax and cross-entropy, one class at a time.   N images  C classes"""

import math

import numpy as np

from tinynet.reference.limit import require_small
from tinynet.shapes import require_axes, require_shape


def softmax_cross_entropy_forward(logits, labels):
    """Compute the mean over the batch of -log softmax(logits)[label].

    Paper    3.5  probs[c] = exp(logits[c]) / sum_j exp(logits[j]);
             loss = -1/N * sum log(probs[label])
    Args     logits (N, C); labels (N,) integers in [0, C)
    Returns  loss, 0 axes, in nats; probs (N, C), rows sum to 1
    Raises   ShapeError; ValueError where it would take too long
    """
    require_axes("softmax_cross_entropy_forward", "logits", logits.shape, 2)
    N, C = logits.shape
    require_shape("softmax_cross_entropy_forward", "labels", labels.shape, (N,))
    require_small("softmax_cross_entropy_forward", N * C, "exponentials")
    probs = np.empty((N, C), logits.dtype)
    loss = 0
    for image in range(N):
        largest = logits[image, 0]
        for c in range(C):
            largest = max(largest, logits[image, c])
        total = 0  # exp(largest) is divided out of numerator and denominator: no exp overflows
        for c in range(C):
            total += math.exp(logits[image, c] - largest)
        for c in range(C):
            probs[image, c] = math.exp(logits[image, c] - largest) / total
        # the logarithm of the fraction, not of probs, which may have underflowed to 0
        loss -= logits[image, labels[image]] - largest - math.log(total)
    return logits.dtype.type(loss / N), probs


def softmax_cross_entropy_backward(probs, labels):
    """Compute the predicted probabilities minus the true ones, divided by N.

    Formula  dlogits[c] = (probs[c] - (1 if c is the label else 0)) / N
    Args     probs (N, C) as softmax_cross_entropy_forward returned them; labels (N,)
    Returns  dlogits (N, C)
    """
    N, C = probs.shape
    require_axes("softmax_cross_entropy_backward", "probs", probs.shape, 2)
    require_shape("softmax_cross_entropy_backward", "labels", labels.shape, (N,))
    require_small("softmax_cross_entropy_backward", N * C, "subtractions")
    dlogits = np.empty((N, C), probs.dtype)
    for image in range(N):
        for c in range(C):
            dlogits[image, c] = (probs[image, c] - (1 if c == labels[image] else 0)) / N
    return dlogits

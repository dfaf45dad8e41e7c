"""Softmax and cross-entropy in one op: a probability that underflowed to 0 has no logarithm.

    N images  C classes
"""

from tinynet.backend import array_module, contiguous
from tinynet.shapes import require_axes, require_shape


def softmax_cross_entropy_forward(logits, labels):
    """Compute the mean over the batch of -log softmax(logits)[label].

    Paper    3.5, the multinomial logistic regression objective, which the paper maximises
    Args     logits (N, C), of any size: the largest of each row is subtracted first; labels (N,) in
             [0, C)
    Returns  loss, 0 axes, in nats; probs (N, C), rows sum to 1
    Raises   ShapeError
    """
    xp = array_module(logits)
    require_axes("softmax_cross_entropy_forward", "logits", logits.shape, 2)
    N = logits.shape[0]
    require_shape("softmax_cross_entropy_forward", "labels", labels.shape, (N,))
    logits = contiguous(logits)
    shifted = logits - logits.max(axis=1, keepdims=True)                  # (N, C), largest 0
    exps = xp.exp(shifted)                                                # (N, C)
    totals = exps.sum(axis=1, keepdims=True)                              # (N, 1), at least 1
    losses = xp.log(totals[:, 0]) - shifted[xp.arange(N), labels]         # (N,)
    return losses.mean(), exps / totals


def softmax_cross_entropy_backward(probs, labels):
    """Compute the predicted probabilities minus the true ones: (probs - onehot(labels)) / N.

    Args     probs (N, C) as softmax_cross_entropy_forward returned them; labels (N,)
    Returns  dlogits (N, C)
    """
    xp = array_module(probs)
    require_axes("softmax_cross_entropy_backward", "probs", probs.shape, 2)
    require_shape("softmax_cross_entropy_backward", "labels", labels.shape, probs.shape[:1])
    N, C = probs.shape
    onehot = labels.reshape(N, 1) == xp.arange(C)                         # (N, C)
    return contiguous((probs - onehot) / N)

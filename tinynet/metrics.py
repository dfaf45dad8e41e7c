"""How wrong a network is: top-1 and top-5 error, the loss, and what it takes for what."""

import numpy as np


def top_k_wrong(scores, labels, k):
    """For each image, whether its label is missing from the k best-scored classes.

    Paper    2: top-5 error, the fraction of test images whose label is not among the five thought most probable
    Args     scores (N, C): logits or probabilities, NumPy; labels (N,)
    Returns  (N,) bool; its mean is the error. Where C <= k nothing can be wrong, except scores that are NaN
    Differs  ties count against the network, as in Caffe: a network that says the same of every class is always wrong.
             The 2012 code shares the credit among the tied
    """
    N = len(labels)
    own = scores[np.arange(N), labels].reshape(N, 1)                      # (N, 1)
    ahead = N and (~(scores < own)).sum(axis=1) - 1                       # (N,) the others that do not score lower
    return (ahead >= k) | np.isnan(own[:, 0])


def nll(probs, labels):
    """Mean negative log-likelihood of labels (N,) under probs (N, C), in nats."""
    own = probs[np.arange(len(labels)), labels]                           # (N,)
    return float(-np.log(np.maximum(own, np.finfo(own.dtype).tiny)).mean())


def most_confused(probs, labels, count):
    """The commonest mistakes: (label, class it was taken for, how often), the most frequent first, at most `count`."""
    guesses, classes = probs.argmax(axis=1), probs.shape[1]               # (N,)
    wrong = guesses != labels
    pairs, times = np.unique(labels[wrong] * classes + guesses[wrong], return_counts=True)
    return [(*map(int, divmod(pairs[i], classes)), int(times[i])) for i in np.argsort(-times, kind="stable")[:count]]

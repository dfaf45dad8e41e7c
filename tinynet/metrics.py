"""Measures of a classifier: top-1 and top-5 error, mean loss, most frequent mistakes."""

import numpy as np


def top_k_wrong(scores, labels, k):
    """Return whether the label of each image is missing from its k highest scores.

    Paper    2: the top-5 error is the fraction of test images whose label is not among the five
             classes that the network finds most probable
    Args     scores (N, C): logits or probabilities, NumPy; labels (N,)
    Returns  (N,) bool; its mean is the error. If C <= k, only a NaN score can make an image wrong
    Differs  ties count against the network, as in Caffe, so that a network with equal scores for
             all classes is always wrong. The 2012 code divides the credit among tied classes
    """
    N = len(labels)
    own = scores[np.arange(N), labels].reshape(N, 1)                      # (N, 1)
    ahead = N and (~(scores < own)).sum(axis=1) - 1                    # (N,) classes not below
    return (ahead >= k) | np.isnan(own[:, 0])


def nll(probs, labels):
    """Return the mean negative log-likelihood of labels (N,) under probs (N, C), in nats."""
    own = probs[np.arange(len(labels)), labels]                           # (N,)
    return float(-np.log(np.maximum(own, np.finfo(own.dtype).tiny)).mean())


def most_confused(probs, labels, count):
    """Return at most `count` mistakes, the most frequent first: (label, predicted, how often)."""
    guesses, classes = probs.argmax(axis=1), probs.shape[1]               # (N,)
    wrong = guesses != labels
    pairs, times = np.unique(labels[wrong] * classes + guesses[wrong], return_counts=True)
    order = np.argsort(-times, kind="stable")[:count]
    return [(*map(int, divmod(pairs[i], classes)), int(times[i])) for i in order]

"""Solutions of lesson 12. Try first: the checks tell you what is wrong."""

import numpy as np


def versions(stored, crop):
    offsets = stored - crop + 1
    return offsets * offsets * 2


def longest_axis(picture):
    colours = picture.reshape(3, -1).astype(float)
    off = colours - colours.mean(axis=1, keepdims=True)
    covariance = off @ off.T / off.shape[1]
    eigenvalues, vectors = np.linalg.eigh(covariance)
    axis = vectors[:, np.argmax(eigenvalues)]
    return axis * np.sign(axis[np.argmax(abs(axis))])


def colour_shift(eigenvalues, vectors, alphas):
    return vectors @ (alphas * np.sqrt(eigenvalues))


def average_views(logits):
    exps = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs = exps / exps.sum(axis=1, keepdims=True)
    return probs.mean(axis=0)

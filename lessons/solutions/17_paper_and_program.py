"""Solutions of lesson 17. Try first: the checks tell you what is wrong."""

import numpy as np


def windows_2012(size, kernel, stride, pad):
    steps = -(-(size + 2 * pad - kernel) // stride)
    return steps + 1


def gradient_to_all(dy, x, size, stride):
    dx = np.zeros_like(x)
    for i in range(dy.shape[0]):
        for j in range(dy.shape[1]):
            window = slice(i * stride, i * stride + size), slice(j * stride, j * stride + size)
            dx[window] += dy[i, j] * (x[window] == x[window].max())
    return dx

"""Solutions of lesson 03. Try first: the checks tell you what is wrong."""

import numpy as np


def relu_gradient(dy, x):
    return dy * (x > 0)


def tanh_gradient(dy, y):
    return dy * (1 - y**2)


def chain_gradient(x, weights):
    gradient = 1.0
    for w in weights:
        y = 1 / (1 + np.exp(-w * x))
        gradient *= w * y * (1 - y)
        x = y
    return gradient

"""Solutions of lesson 07. Try first: the checks tell you what is wrong."""

import numpy as np


def new_velocity(w, v, dw, lr, momentum, weight_decay):
    return momentum * v - weight_decay * lr * w - lr * dw


def pytorch_steps(w, dws, lrs, momentum):
    b = np.zeros_like(w)
    for dw, lr in zip(dws, lrs):
        b = momentum * b + dw
        w = w - lr * b
    return w


def signal_between(y):
    spread = y.std(axis=0)
    return np.mean(spread) / np.mean(y)

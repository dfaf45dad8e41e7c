"""Solutions of lesson 08. Try first: the checks tell you what is wrong."""

import numpy as np


def output_size(size, kernel, stride, pad):
    return (size + 2 * pad - kernel) // stride + 1


def conv_parameters(channels, kernels, size, groups):
    weights = kernels * (channels // groups) * size * size
    biases = kernels
    return weights + biases


def convolve(x, w, stride):
    (H, W), (KH, KW) = x.shape, w.shape
    OH, OW = (H - KH) // stride + 1, (W - KW) // stride + 1
    y = np.empty((OH, OW), x.dtype)
    for i in range(OH):
        for j in range(OW):
            top, left = i * stride, j * stride
            y[i, j] = np.sum(x[top:top + KH, left:left + KW] * w)
    return y


def kernel_gradient(dy, x, w, stride):
    (OH, OW), (KH, KW) = dy.shape, w.shape
    dw = np.zeros_like(w)
    for i in range(OH):
        for j in range(OW):
            top, left = i * stride, j * stride
            dw += dy[i, j] * x[top:top + KH, left:left + KW]
    return dw

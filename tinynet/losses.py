"""The loss at the top of the network."""

import importlib

import numpy as np

from tinynet import backend, ops, shapes


class SoftmaxCrossEntropy:
    """Softmax and cross-entropy, averaged over the batch (paper, 3.5).

    ops    the rung that computes, wherever the logits live; None: ops on the CPU, cuda on a GPU
    probs  after forward: (N, classes), each row sums to 1
    """

    def __init__(self):
        self.ops = None
        self.probs = self._labels = None

    def forward(self, logits, labels):
        """logits (N, classes), labels (N,) integers -> the loss in nats, where logits live (0 axes: float() reads it).

        Raises   ShapeError; ValueError for a label outside the classes, TypeError for labels that are not integers
        """
        where = "SoftmaxCrossEntropy"
        shapes.require_axes(where, "logits", logits.shape, 2)
        if isinstance(labels, (list, tuple)):
            labels = np.array(labels)
        if backend.array_module(labels) is np:  # labels already on a GPU were checked before they went there
            shapes.require_labels(where, labels, *logits.shape)
            labels = backend.like(labels, logits)
        loss, self.probs = self._rung(logits).softmax_cross_entropy_forward(logits, labels)
        self._labels = labels
        return loss

    def backward(self):
        """-> dlogits (N, classes), for net.backward. Raises RuntimeError without a forward before it."""
        if self._labels is None:
            raise RuntimeError("SoftmaxCrossEntropy: backward needs a forward before it, and each only once")
        labels, self._labels = self._labels, None
        return self._rung(self.probs).softmax_cross_entropy_backward(self.probs, labels)

    def _rung(self, x):
        return self.ops or (ops if backend.array_module(x) is np else importlib.import_module("tinynet.cuda"))

"""The loss at the top of a network."""

import importlib

import numpy as np

from tinynet import backend, ops, shapes


class SoftmaxCrossEntropy:
    """Softmax and cross-entropy, averaged over the batch (paper, 3.5).

    Args     net: compute with the rung that this network uses, also after net.use(...);
             without it the loss computes where the logits live: with ops on the CPU, with cuda on
             a GPU
    probs    after forward: (N, classes), each row sums to 1
    """

    def __init__(self, net=None):
        self.net = net
        self.probs = self._labels = None

    def forward(self, logits, labels):
        """Compute the loss.

        Args     logits (N, classes); labels (N,), integers, an array or a list
        Returns  the loss in nats, an array without axes where the logits live: float() reads it
        Raises   ShapeError; ValueError for a label that is no class; TypeError for labels that are
                 not integers, or logits that are not an array
        """
        where = "SoftmaxCrossEntropy"
        if not hasattr(logits, "dtype"):
            raise TypeError(f"{where}: logits must be an array, not a {type(logits).__name__}")
        shapes.require_axes(where, "logits", logits.shape, 2)
        if isinstance(labels, (list, tuple)):
            labels = np.array(labels)
        if backend.array_module(labels) is np:  # labels on a GPU were checked before they moved
            shapes.require_labels(where, labels, *logits.shape)
            labels = backend.like(labels, logits)
        loss, self.probs = self._rung(logits).softmax_cross_entropy_forward(logits, labels)
        self._labels = labels
        return loss

    def backward(self):
        """Compute the gradient of the loss in the logits, (N, classes), for net.backward.

        Raises   RuntimeError where there was no forward before
        """
        if self._labels is None:
            raise RuntimeError("SoftmaxCrossEntropy: backward needs a forward before it, and each "
                               "forward allows one backward")
        labels, self._labels = self._labels, None
        return self._rung(self.probs).softmax_cross_entropy_backward(self.probs, labels)

    def __call__(self, logits, labels):
        return self.forward(logits, labels)

    def _rung(self, x):
        if self.net is not None:
            return self.net.ops
        return ops if backend.array_module(x) is np else importlib.import_module("tinynet.cuda")

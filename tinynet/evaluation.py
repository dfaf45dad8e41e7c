"""Measure a network on a set of pictures: probabilities, errors, loss."""

import contextlib
import dataclasses

import numpy as np

from tinynet import backend
from tinynet.metrics import nll, top_k_wrong


@dataclasses.dataclass
class Evaluation:
    """The result of evaluate.

    top1_error, top5_error  in [0, 1]
    loss                    mean negative log-likelihood of the right class, in nats
    images                  N, the number of pictures
    probs, labels           (N, classes) and (N,): what the errors were counted from
    """

    top1_error: float
    top5_error: float
    loss: float
    images: int
    probs: np.ndarray = dataclasses.field(default=None, repr=False)
    labels: np.ndarray = dataclasses.field(default=None, repr=False)

    def numbers(self):
        """Return the four numbers as a dict."""
        return {"top1_error": self.top1_error, "top5_error": self.top5_error, "loss": self.loss,
                "images": self.images}


def evaluate(net, loss, batches):
    """Measure the errors and the mean loss over batches of x, labels, in evaluation mode.

    Paper    4.1: with ten views, the softmax outputs of the views are averaged; the loss is then
             that of the average
    Args     batches: x (N, C, H, W), or (N, V, C, H, W) with V views of each picture; labels (N,)
    Returns  an Evaluation. Ties count against the network. The mode of the network is put back
    Raises   ValueError if there is no picture
    """
    total, all_probs, all_labels = 0.0, [], []
    with evaluating(net):
        for x, labels in batches:
            probs, value = predict(net, loss, x, labels)
            total += value * len(labels)
            all_probs.append(probs)
            all_labels.append(labels)
    if not all_labels:
        raise ValueError("evaluate: there is no picture")
    probs, labels = np.concatenate(all_probs), np.concatenate(all_labels)
    return Evaluation(float(top_k_wrong(probs, labels, 1).mean()),
                      float(top_k_wrong(probs, labels, 5).mean()), total / len(labels), len(labels),
                      probs, labels)


@contextlib.contextmanager
def evaluating(net):
    """Put a network into evaluation mode for the length of a with block."""
    training = [layer.training for layer in net.layers]
    net.eval()
    try:
        yield
    finally:
        for layer, mode in zip(net.layers, training):
            layer.training = mode


def predict(net, loss, x, labels):
    """Return the probabilities (N, classes) on the host, averaged over views, and the mean loss."""
    views = x.shape[1] if x.ndim == 5 else 1
    with memory_advice(net, len(labels)):
        x = backend.to_device(x.reshape(-1, *net.in_shape), net.device)   # (N*V, C, H, W)
        value = float(loss.forward(net.forward(x), np.repeat(labels, views)))
        probs = backend.to_numpy(loss.probs)                              # (N*V, classes)
    if views > 1:
        probs = probs.reshape(len(labels), views, -1).mean(axis=1)        # (N, classes)
        value = nll(probs, labels)
    return probs, value


@contextlib.contextmanager
def memory_advice(net, N):
    """If batches of N images fill the memory of a GPU, let the MemoryError say how many would
    fit.
    """
    try:
        yield
    except MemoryError:
        if net.device == "cpu":
            raise
        raise MemoryError(would_have_fitted(net, N)) from None


def would_have_fitted(net, N):
    """Return one line for a user whose batches of N images have filled the memory of the GPU."""
    fitting = net.summary().largest_batch(backend.available_bytes())
    if fitting >= N:  # the estimate was too low
        fitting = N // 2
    remedy = (f"{fitting} should fit: --batch-size {fitting}" if fitting
              else "not even one image fits")
    return f"the GPU's memory is full with batches of {N}; {remedy}"

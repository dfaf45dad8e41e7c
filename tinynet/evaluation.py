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
    values, all_probs, all_labels, reads = [], [], [], []
    with net.evaluating():
        for x, labels in backend.prefetch_to_device(batches, net.device):
            reads.append(_measure(net, loss, x, labels))
            all_labels.append(labels)
            if len(reads) > 1:  # a GPU is read when it has the next batch to compute
                _read(reads.pop(0), values, all_probs)
        for read in reads:
            _read(read, values, all_probs)
    if not all_labels:
        raise ValueError("evaluate: there is no picture")
    total = sum(value * len(labels) for value, labels in zip(values, all_labels))
    probs, labels = np.concatenate(all_probs), np.concatenate(all_labels)
    return Evaluation(float(top_k_wrong(probs, labels, 1).mean()),
                      float(top_k_wrong(probs, labels, 5).mean()), total / len(labels), len(labels),
                      probs, labels)


def _measure(net, loss, x, labels):
    """Begin to measure a batch.

    Returns  a function that returns its mean loss and its probabilities (N, classes), averaged over
             views
    """
    if x.ndim == 5:
        probs = predict(net, x)
        return lambda: (nll(probs, labels), probs)
    with memory_advice(net, len(x)):
        return backend.to_numpy_later(loss.forward(net.forward(x), labels), loss.probs)


def _read(measured, values, all_probs):
    value, probs = measured()
    values.append(float(value))
    all_probs.append(probs)


def predict(net, x):
    """Return the probabilities (N, classes) of pictures, computed in evaluation mode, on the host.

    Paper    4.1: the softmax outputs of the ten views of a picture are averaged
    Args     x (N, C, H, W), or (N, V, C, H, W) with V views of each picture
    """
    with memory_advice(net, len(x)):
        probs = net.predict(x.reshape(-1, *net.in_shape))                 # (N*V, classes)
    return probs.reshape(len(x), -1, probs.shape[-1]).mean(axis=1)        # (N, classes)


@contextlib.contextmanager
def memory_advice(net, N):
    """Raise a MemoryError with advice if a batch of N images fills the memory of a GPU.

    The message says how many images would fit.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if net.device == "cpu" or not backend.is_out_of_memory(error):
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

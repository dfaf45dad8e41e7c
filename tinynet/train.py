"""The pieces of a training loop. The loop itself is in examples/train_alexnet.py."""

import contextlib
import dataclasses
import math

import numpy as np

from tinynet import backend
from tinynet.metrics import nll, top_k_wrong


class NotFinite(ArithmeticError):
    """The loss has become infinite or not a number; the message says at which step."""


def train_step(net, loss, sgd, x, labels):
    """Forward, backward, update: one step down the gradient of one batch.

    Args     x (N, *net.in_shape), moved to where the network lives; labels (N,) integers, on the host
    Returns  the loss before the update, where the network lives: float() reads it, and waits for a GPU
    """
    with memory_advice(net, len(x)):
        value = loss.forward(net.forward(backend.to_device(x, net.device)), labels)
        net.backward(loss.backward())
        sgd.step()
    return value


@contextlib.contextmanager
def memory_advice(net, N):
    """Where batches of N fill a GPU's memory, the MemoryError says which would have fitted."""
    try:
        yield
    except MemoryError:
        if net.device == "cpu":
            raise
        raise MemoryError(what_would_have_fitted(net, N)) from None


def what_would_have_fitted(net, N):
    """One line for the user whose batches of N have filled the GPU's memory."""
    fitting = net.summary().largest_batch(backend.available_bytes())
    if fitting >= N:  # the estimate was too low
        fitting = N // 2
    remedy = f"{fitting} should fit: --batch-size {fitting}" if fitting else "not even one image fits"
    return f"the GPU's memory is full with batches of {N}; {remedy}"


def require_finite(value, step):
    """The loss as a float. Raises NotFinite, naming the step, where it is none."""
    value = float(value)
    if not math.isfinite(value):
        raise NotFinite(f"step {step}: the loss is {value}; the weights saved last are good; a lower rate often helps")
    return value


@dataclasses.dataclass
class Evaluation:
    """Errors in [0, 1], the loss in nats, over `images` pictures."""

    top1_error: float
    top5_error: float
    loss: float
    images: int

    @classmethod
    def of(cls, probs, labels):
        """That of probs (N, classes), as probabilities gives them."""
        return cls(float(top_k_wrong(probs, labels, 1).mean()), float(top_k_wrong(probs, labels, 5).mean()),
                   nll(probs, labels), len(labels))


def evaluate(net, loss, batches):
    """Top-1 and top-5 error and mean loss over batches of (x, labels), in evaluation mode; then the mode is put back.

    Paper    4.1: with ten views, their softmax outputs are averaged; the loss is then that of the average
    Args     batches: x (N, C, H, W), or (N, V, C, H, W) with V views of each picture. Ties count against the network
    Raises   ValueError where there is not one picture
    """
    wrong1 = wrong5 = images = 0
    total = 0.0
    with evaluating(net):
        for x, labels in batches:
            probs, value = predict(net, loss, x, labels)
            wrong1 += int(top_k_wrong(probs, labels, 1).sum())
            wrong5 += int(top_k_wrong(probs, labels, 5).sum())
            total += value * len(labels)
            images += len(labels)
    if not images:
        raise ValueError("evaluate: there is not one picture")
    return Evaluation(wrong1 / images, wrong5 / images, total / images, images)


def probabilities(net, loss, batches):
    """What evaluate looks at, all of it: probs (N, classes) and labels (N,) of N pictures."""
    with evaluating(net):
        probs, labels = zip(*((predict(net, loss, x, labels)[0], labels) for x, labels in batches))
    return np.concatenate(probs), np.concatenate(labels)


@contextlib.contextmanager
def evaluating(net):
    """In evaluation mode for the length of a with block; then the mode is put back."""
    training = [layer.training for layer in net.layers]
    net.eval()
    try:
        yield
    finally:
        for layer, mode in zip(net.layers, training):
            layer.training = mode


def predict(net, loss, x, labels):
    """-> probabilities (N, classes) on the host, averaged over views; mean loss in nats. See evaluate."""
    views = x.shape[1] if x.ndim == 5 else 1
    with memory_advice(net, len(labels)):
        x = backend.to_device(x.reshape(-1, *net.in_shape), net.device)   # (N*V, C, H, W)
        value = float(loss.forward(net.forward(x), np.repeat(labels, views)))
        probs = backend.to_numpy(loss.probs)                              # (N*V, classes)
    if views > 1:
        probs = probs.reshape(len(labels), views, -1).mean(axis=1)        # (N, classes)
        value = nll(probs, labels)
    return probs, value


class StallHint:
    """Notices a network that has learnt nothing: a loss that has sat within 1 % of ln(classes).

    The commonest AlexNet complaint. With std 0.01 everywhere and biases of 1, as the paper's text has them, the
    constant biases drown what the picture says: at fc7 images differ by 1 % of the mean. The authors' own 0.03 in conv3
    to conv5 makes it 14 %, and Caffe's biases of 0.1 make it 5 % (of 20 photographs, one seed).

    Args     num_classes; patience: in steps. With two classes or fewer chance is too close to a good loss: no hint
    """

    def __init__(self, num_classes, patience=300):
        self.chance, self.patience, self.sat = math.log(num_classes) if num_classes > 2 else None, patience, 0

    def update(self, value):
        """Tell it the loss of a step. Returns the hint, once, when it is due; else None."""
        if self.chance is None:
            return None
        near = abs(value - self.chance) <= 0.01 * self.chance
        self.sat = self.sat + 1 if near else max(0, self.sat - 10)  # one noisy batch is no escape, ten are
        if self.sat < self.patience:
            return None
        self.patience = np.inf
        return (f"hint: the loss has sat at {self.chance:.2f} = ln(classes), which is chance, for {self.sat} steps. "
                "Initial weights are the usual reason: use --recipe code-2012 (std 0.03 in conv3 to conv5 under biases "
                "of 1) or caffe (biases of 0.1); or a lower --lr")

    def state(self):
        """What a checkpoint keeps of it."""
        return {"patience": self.patience, "sat": self.sat}

    def restore(self, state):
        self.patience, self.sat = state["patience"], state["sat"]

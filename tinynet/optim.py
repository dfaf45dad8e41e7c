"""Stochastic gradient descent and the rules that lower its rate."""

import numpy as np

from tinynet import backend


class SGD:
    """The paper's update: v <- momentum v - weight_decay lr w - lr dL/dw;  w <- w + v  (section 5).

    lr                   change it at any time; schedules do
    lr_mult, decay_mult  {"conv1.b": 2, ...}: multiply lr and weight_decay of one parameter; what is missing has 1. They
                         start as the recipe has them. A rate of 0 freezes a parameter whole: no step, no decay, and
                         its velocity waits (as in the 2012 code)
    velocity             {"conv1.w": array, ...}, of zeros before the first step
    """

    def __init__(self, net, lr=0.01, momentum=0.9, weight_decay=0.0005):
        if not lr >= 0 or not 0 <= momentum < 1 or not weight_decay >= 0:
            raise ValueError(f"lr={lr}, weight_decay={weight_decay}: at least 0; momentum={momentum}: 0 to below 1")
        self.net, self.lr, self.momentum, self.weight_decay = net, float(lr), float(momentum), float(weight_decay)
        self.lr_mult = {f"{layer.name}.{key}": m for layer in net.layers for key, m in layer.lr_mult.items()}
        self.decay_mult = {f"{layer.name}.{key}": m for layer in net.layers for key, m in layer.decay_mult.items()}
        self.velocity = {name: np.zeros(w.shape, w.dtype) for name, w in net.named_params().items()}

    def step(self):
        """Move every parameter once, in place.

        Raises   RuntimeError where a gradient is missing, TypeError where its dtype is not the parameter's
        """
        for layer in self.net.layers:
            for key, w in layer.params.items():
                name = f"{layer.name}.{key}"
                lr = self.lr * float(self.lr_mult.get(name, 1))
                weight_decay = self.weight_decay * float(self.decay_mult.get(name, 1))
                if lr == 0:
                    continue
                if key not in layer.grads:
                    raise RuntimeError(f"{name} has no gradient: call net.backward() before step()")
                dw = layer.grads[key]
                if dw.dtype != w.dtype:
                    raise TypeError(f"the gradient of {name} is {dw.dtype}, the parameter {w.dtype}")
                v = self.velocity[name] = backend.like(self.velocity[name], w)
                layer.ops.sgd_step_(w, v, dw, lr, self.momentum, weight_decay)


class StepDecay:
    """Divide the rate by `factor` after each of the given epochs, counted from 1."""

    def __init__(self, sgd, epochs, factor=10):
        self.sgd, self.epochs, self.factor = sgd, tuple(epochs), factor
        self.epoch = 0

    def end_epoch(self, validation_error=None):
        """Tell it that an epoch is over. Returns True where the rate has just been lowered."""
        self.epoch += 1
        drops = self.epochs.count(self.epoch)
        self.sgd.lr /= self.factor**drops
        return drops > 0

    def state(self):
        """What a checkpoint keeps of it."""
        return {"epoch": self.epoch}

    def restore(self, state):
        self.epoch = state["epoch"]


class Plateau:
    """Divide the rate by 10 when the validation error stops improving, three times; then train on at the last rate.

    Paper    5: "when the validation error rate stopped improving with the current learning rate"; by hand, there
    Args     patience: how many epochs in a row without a new best (by min_delta, a fraction) mean "stopped"
    """

    def __init__(self, sgd, factor=10, drops=3, patience=3, min_delta=0.001):
        self.sgd, self.factor, self.drops, self.patience, self.min_delta = sgd, factor, drops, patience, min_delta
        self.best, self.waited = float("inf"), 0

    def end_epoch(self, validation_error):
        """Tell it the error at the end of an epoch. Returns True where the rate has just been lowered."""
        if validation_error < self.best - self.min_delta:
            self.best, self.waited = validation_error, 0
            return False
        self.waited += 1
        if self.waited < self.patience or self.drops == 0:
            return False
        self.waited, self.drops = 0, self.drops - 1
        self.sgd.lr /= self.factor
        return True

    def state(self):
        """What a checkpoint keeps of it."""
        return {"best": self.best, "waited": self.waited, "drops": self.drops}

    def restore(self, state):
        self.best, self.waited, self.drops = state["best"], state["waited"], state["drops"]

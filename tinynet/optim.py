"""Stochastic gradient descent."""

import numpy as np

from tinynet import backend, checkpoint


class SGD:
    """The paper's update: v <- momentum v - weight_decay lr w - lr dL/dw;  w <- w + v  (section 5).

    lr                   change it at any time; schedules (schedule.py) do
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

    def state(self):
        """Return everything that changes from step to step, as a copy on the host.

        Returns  {"lr": number, "lr_mult": {"conv1.b": number, ...}, "velocity": {"conv1.w": array, ...}}
        """
        velocity = {name: np.array(backend.to_numpy(v)) for name, v in self.velocity.items()}
        return {"lr": self.lr, "lr_mult": dict(self.lr_mult), "velocity": velocity}

    def restore(self, state):
        """Put back what state() returned, the velocities in place.

        Raises   CheckpointError, with the first difference; the optimiser is then unchanged
        """
        checkpoint.restore_arrays("the saved state", self.velocity, state["velocity"])
        self.lr, self.lr_mult = state["lr"], dict(state["lr_mult"])

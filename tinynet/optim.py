"""Stochastic gradient descent."""

import numpy as np

from tinynet import backend, checkpoint
from tinynet.shapes import require_number


class SGD:
    """The update of the paper, section 5.

        v <- momentum v - weight_decay lr w - lr dL/dw
        w <- w + v

    lr                   may be changed at any time; the schedules in schedules.py do so
    lr_mult, decay_mult  {"conv1.b": 2, ...}: multiply lr and weight_decay of one parameter. They
                         start as the layers have them; a parameter that is missing has 1. With a
                         rate of 0 a parameter is frozen: it takes no step and does not decay, and
                         its velocity does not change (as in the 2012 code)
    velocity             {"conv1.w": array, ...}, zeros before the first step
    """

    def __init__(self, net, lr=0.01, momentum=0.9, weight_decay=0.0005):
        require_number("SGD", lr=lr, momentum=momentum, weight_decay=weight_decay)
        if lr < 0 or weight_decay < 0 or not 0 <= momentum < 1:
            raise ValueError(f"SGD: lr={lr} and weight_decay={weight_decay} must be at least 0, "
                             f"momentum={momentum} at least 0 and below 1")
        self.net, self.lr = net, float(lr)
        self.momentum, self.weight_decay = float(momentum), float(weight_decay)
        self.lr_mult = self._from_layers("lr_mult")
        self.decay_mult = self._from_layers("decay_mult")
        self.velocity = {name: np.zeros(w.shape, w.dtype) for name, w in net.named_params().items()}

    def _from_layers(self, which):
        return {f"{name}.{key}": value for name, layer in self.net.named_layers().items()
                for key, value in getattr(layer, which).items()}

    def step(self):
        """Update every parameter once, in place.

        Raises   RuntimeError where a gradient is missing, TypeError where its dtype is not that of
                 the parameter
        """
        for layer_name, layer in self.net.named_layers().items():
            for key, w in layer.params.items():
                name = f"{layer_name}.{key}"
                lr = self.lr * float(self.lr_mult.get(name, 1))
                weight_decay = self.weight_decay * float(self.decay_mult.get(name, 1))
                if lr == 0:
                    continue
                if key not in layer.grads:
                    raise RuntimeError(f"{name} has no gradient: call net.backward() before step()")
                dw = layer.grads[key]
                if dw.dtype != w.dtype:
                    raise TypeError(f"the gradient of {name} is {dw.dtype}, the parameter "
                                    f"{w.dtype}")
                v = self.velocity[name] = backend.like(self.velocity[name], w)
                layer.ops.sgd_step_(w, v, dw, lr, self.momentum, weight_decay)

    def freeze(self, *names):
        """Set the rate of parameters to 0: of one ("conv1.w"), or of a whole layer ("conv1").

        A schedule does not change it; unfreeze does.

        Raises   KeyError for a name that the network does not have
        """
        for name in self._parameters(names):
            self.lr_mult[name] = 0

    def unfreeze(self, *names):
        """Give parameters the multiplier of the rate again that their layer has for them.

        Raises   KeyError for a name that the network does not have
        """
        original = self._from_layers("lr_mult")
        for name in self._parameters(names):
            self.lr_mult[name] = original.get(name, 1)

    def _parameters(self, names):
        """Return the names of the parameters that are named, or that belong to a named layer."""
        found = []
        for name in names:
            own = [each for each in self.velocity if each == name or each.startswith(f"{name}.")]
            if not own:
                raise KeyError(f"no parameter {name!r}; there are {', '.join(self.velocity)}")
            found += own
        return found

    def state(self):
        """Return everything that changes from step to step, as a copy on the host.

        Returns  {"lr": number, "lr_mult": {"conv1.b": number, ...},
                  "velocity": {"conv1.w": array, ...}}
        """
        velocity = {name: np.array(backend.to_numpy(v)) for name, v in self.velocity.items()}
        return {"lr": self.lr, "lr_mult": dict(self.lr_mult), "velocity": velocity}

    def restore(self, state):
        """Put back what state() returned; the velocities in place.

        Raises   CheckpointError, with the first difference; the optimiser is then unchanged
        """
        checkpoint.restore_arrays("the saved state", self.velocity, state["velocity"])
        self.lr, self.lr_mult = state["lr"], dict(state["lr_mult"])

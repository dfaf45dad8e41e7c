"""Gradient checks that catch bugs: centred differences in float64, against a random upstream gradient.

A check with an upstream of all ones is blind to a rotated kernel; a check of dw alone is blind to a wrong dx.
"""

import copy
import dataclasses

import numpy as np


@dataclasses.dataclass
class Report:
    """How one gradient compares with its numeric twin. `assert report.ok, report` shows all of it.

    relative_error  |analytic - numeric| / |numeric|, both as vectors of what was checked
    index           of the element with the largest difference, and the two values there
    """

    name: str
    relative_error: float
    tolerance: float
    index: tuple
    analytic: float
    numeric: float
    checked: int

    @property
    def ok(self):
        return self.relative_error <= self.tolerance

    def __str__(self):
        return (f"{self.name}: {'agrees' if self.ok else 'WRONG'}, relative error {self.relative_error:.1e} "
                f"(at most {self.tolerance:.0e}) over {self.checked} elements; worst at {self.index}: "
                f"analytic {self.analytic:.9g}, numeric {self.numeric:.9g}")


def numeric_gradient(f, x, eps=1e-5, indices=None):
    """The slope of f in each element of x by centred differences: (f(x + eps) - f(x - eps)) / 2 eps.

    Args     f: no arguments, reads x, returns one number; x: float64, nudged in place and put back;
             indices: a list of index tuples, or None for every element
    Returns  an array of x's shape; with indices, one value for each of them
    """
    if x.dtype != np.float64:
        raise TypeError(f"numeric gradients need float64, x is {x.dtype}")
    wanted = list(np.ndindex(x.shape)) if indices is None else list(indices)
    slopes = np.empty(len(wanted))
    for i, index in enumerate(wanted):
        old = x[index]
        x[index] = old + eps
        above = float(f())
        x[index] = old - eps
        below = float(f())
        x[index] = old
        slopes[i] = (above - below) / (2 * eps)
    return slopes.reshape(x.shape) if indices is None else slopes


def compare(name, analytic, numeric, indices=None, tolerance=1e-6):
    """Two gradients -> a Report. With indices, analytic is the whole array and numeric one value per index."""
    if indices is None:
        if analytic.shape != numeric.shape:
            raise ValueError(f"{name}: the gradient has shape {analytic.shape}, it should have {numeric.shape}")
        indices = list(np.ndindex(numeric.shape))
    analytic = np.array([analytic[index] for index in indices], dtype=np.float64)
    numeric = np.asarray(numeric, dtype=np.float64).ravel()
    difference = np.abs(analytic - numeric)
    if not difference.size:
        raise ValueError(f"{name}: nothing to check")
    worst = int(np.argmax(np.where(np.isnan(difference), np.inf, difference)))
    size = np.linalg.norm(numeric)
    error = np.linalg.norm(difference) / size if size else float(np.linalg.norm(difference) > 0)
    if np.isnan(error):
        error = float("inf")
    return Report(name, float(error), tolerance, tuple(int(i) for i in indices[worst]), float(analytic[worst]),
                  float(numeric[worst]), len(indices))


def check_layer(layer, x, rng, samples=None, eps=1e-5, tolerance=1e-6):
    """Check every gradient of a layer: that of x, and those of its parameters.

    Args     layer: built, in float64; x (N, ...) float64, away from kinks and ties; rng: for the upstream gradient and
             the sample; samples: how many elements of each array to check, None for all
    Returns  a list of Reports, named "conv1.dx", "conv1.dw", ...
    """
    layer.training = True
    x, restart = x.copy(), _restart(layer)
    dy = rng.standard_normal(layer.output_shape(x.shape))  # random: every output pulls in its own direction

    def f():
        restart()
        return np.sum(layer.forward(x) * dy)

    f()
    dx = layer.backward(dy)
    analytic = {"dx": dx, **{f"d{key}": grad for key, grad in layer.grads.items()}}
    arrays = {"dx": x, **{f"d{key}": array for key, array in layer.params.items()}}
    missing = arrays.keys() - analytic.keys()
    if missing:
        raise ValueError(f"{layer.name}: backward left no {', '.join(sorted(missing))}")
    if dx is None:  # need_dx=False: nobody asks for it
        del arrays["dx"]
    return [_check(f"{layer.name}.{key}", f, array, analytic[key], rng, samples, eps, tolerance)
            for key, array in arrays.items()]


def check_network(net, loss, x, labels, rng, samples=10, eps=1e-5, tolerance=1e-6):
    """Check the gradient of the loss in every parameter of a network, and in x where it is computed.

    Args     net: a Sequential in float64; loss: SoftmaxCrossEntropy(); x (N, C, H, W), labels (N,);
             samples: how many elements of each array to check, None for all
    Returns  a list of Reports, named "conv1.w", ..., "x"
    """
    net.train()
    x, restart = x.copy(), _restart(net)

    def f():
        restart()
        return loss.forward(net.forward(x), labels)

    f()
    dx = net.backward(loss.backward())
    grads = net.named_grads()
    reports = [_check(name, f, array, grads[name], rng, samples, eps, tolerance)
               for name, array in net.named_params().items()]
    return reports if dx is None else [*reports, _check("x", f, x, dx, rng, samples, eps, tolerance)]


def _check(name, f, array, analytic, rng, samples, eps, tolerance):
    indices = None
    if samples is not None and samples < array.size:
        flat = rng.choice(array.size, size=samples, replace=False)
        indices = [tuple(int(i) for i in index) for index in zip(*np.unravel_index(flat, array.shape))]
    return compare(name, analytic, numeric_gradient(f, array, eps, indices), indices, tolerance)


def _restart(owner):
    """A function that puts the owner's generator back to where it is now: forward draws the same masks again."""
    rng = getattr(owner, "rng", None)
    state = copy.deepcopy(rng.bit_generator.state) if rng is not None else None

    def restart():
        if rng is not None:
            rng.bit_generator.state = state
    return restart

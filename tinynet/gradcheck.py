"""Gradient checks that catch bugs: centred differences in float64, with a random upstream gradient.

An upstream of all ones does not show a rotated kernel; a check of dw alone does not show a wrong
dx.
"""

import copy
import dataclasses

import numpy as np


@dataclasses.dataclass
class Report:
    """How a gradient compares with its numeric counterpart; use it as `assert report.ok, report`.

    relative_error  |analytic - numeric| / |numeric|, both as vectors of the elements checked. Where
                    |numeric| is so small that rounding reaches the tolerance, the divisor is what
                    makes rounding equal to the tolerance
    index           of the element with the largest difference; analytic, numeric: the values there
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
        verdict = "agrees" if self.ok else "WRONG"
        return (f"{self.name}: {verdict}, relative error {self.relative_error:.1e} (at most "
                f"{self.tolerance:.0e}) over {self.checked} elements; worst at {self.index}: "
                f"analytic {self.analytic:.9g}, numeric {self.numeric:.9g}")


def numeric_gradient(f, x, eps=1e-5, indices=None):
    """Measure the slope of f in each element of x: (f(x + eps) - f(x - eps)) / 2 eps.

    Args     f: a function without arguments that reads x and returns a number;
             x: float64, changed in place and restored;
             indices: a list of index tuples, or None for every element
    Returns  an array of x's shape; with indices, one value for each of them
    Raises   TypeError where x is not float64
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


def rounding(size, eps=1e-5):
    """Estimate the error that rounding makes in one numeric slope.

    A gradient whose true value is 0, such as that of a bias before batch normalisation, cannot be
    measured more exactly. The factor is 8; in networks with batch normalisation, 1.5 was the
    largest that was needed.

    Args     size: the size of the numbers that f adds up; eps: as for numeric_gradient
    """
    return 8 * np.finfo(np.float64).eps * size / eps


def compare(name, analytic, numeric, indices=None, tolerance=1e-6, floor=0.0):
    """Compare two gradients.

    Args     with indices, analytic is the whole array and numeric has one value for each index;
             floor: the error of one numeric slope that rounding explains, as `rounding` estimates
    Returns  a Report
    Raises   ValueError where the shapes differ, or where there is nothing to compare
    """
    if indices is None:
        if analytic.shape != numeric.shape:
            raise ValueError(f"{name}: the gradient has shape {analytic.shape}, it should have "
                             f"{numeric.shape}")
        indices = list(np.ndindex(numeric.shape))
    analytic = np.array([analytic[index] for index in indices], dtype=np.float64)
    numeric = np.asarray(numeric, dtype=np.float64).ravel()
    difference = np.abs(analytic - numeric)
    if not difference.size:
        raise ValueError(f"{name}: nothing to check")
    worst = int(np.argmax(np.where(np.isnan(difference), np.inf, difference)))
    size = max(np.linalg.norm(numeric), floor * np.sqrt(difference.size) / tolerance)
    error = np.linalg.norm(difference) / size if size else float(np.linalg.norm(difference) > 0)
    if np.isnan(error):
        error = float("inf")
    return Report(name, float(error), tolerance, tuple(int(i) for i in indices[worst]),
                  float(analytic[worst]), float(numeric[worst]), len(indices))


def check_layer(layer, x, rng, samples=None, eps=1e-5, tolerance=1e-6):
    """Check every gradient of a layer, in its input and in its parameters.

    Args     layer: built, in float64; x (N, ...): float64, away from kinks and ties;
             rng: for the upstream gradient and the sample;
             samples: how many elements of each array to check, or None for all
    Returns  a list of Reports, named "conv1.dx", "conv1.dw", ...
    Raises   ValueError where backward has left a gradient out
    """
    layer.training = True
    x, restart = x.copy(), _restart(layer)
    dy = rng.standard_normal(layer.output_shape(x.shape))  # random: a different one for each output

    def f():
        restart()
        return np.sum(layer.forward(x) * dy)

    restart()
    floor = rounding(np.linalg.norm(layer.forward(x) * dy), eps)
    dx = layer.backward(dy)
    analytic = {"dx": dx, **{f"d{key}": grad for key, grad in layer.grads.items()}}
    arrays = {"dx": x, **{f"d{key}": array for key, array in layer.params.items()}}
    missing = arrays.keys() - analytic.keys()
    if missing:
        raise ValueError(f"{layer.name}: backward left no {', '.join(sorted(missing))}")
    if dx is None:  # need_dx=False: it is not computed
        del arrays["dx"]
    return [_check(f"{layer.name}.{key}", f, array, analytic[key], rng, samples, eps, tolerance,
                   floor)
            for key, array in arrays.items()]


def check_network(net, loss, x, labels, rng, samples=10, eps=1e-5, tolerance=1e-6):
    """Check the gradient of the loss in every parameter of a network, and in x if it is computed.

    Args     net: a Sequential in float64; loss: SoftmaxCrossEntropy(); x (N, C, H, W); labels (N,);
             samples: how many elements of each array to check, or None for all
    Returns  a list of Reports, named "conv1.w", ..., "x"
    """
    net.train()
    x, restart = x.copy(), _restart(net)

    def f():
        restart()
        return loss.forward(net.forward(x), labels)

    floor = rounding(max(1, float(f())), eps)  # 1: a loss near 0 is a difference of larger numbers
    dx = net.backward(loss.backward())
    grads = net.named_grads()
    reports = [_check(name, f, array, grads[name], rng, samples, eps, tolerance, floor)
               for name, array in net.named_params().items()]
    if dx is not None:
        reports.append(_check("x", f, x, dx, rng, samples, eps, tolerance, floor))
    return reports


def _check(name, f, array, analytic, rng, samples, eps, tolerance, floor):
    indices = None
    if samples is not None and samples < array.size:
        flat = rng.choice(array.size, size=samples, replace=False)
        places = zip(*np.unravel_index(flat, array.shape))
        indices = [tuple(int(i) for i in index) for index in places]
    numeric = numeric_gradient(f, array, eps, indices)
    return compare(name, analytic, numeric, indices, tolerance, floor)


def _restart(owner):
    """Return a function that resets the owner's generator, so that forward draws the same masks."""
    rng = getattr(owner, "rng", None)
    state = copy.deepcopy(rng.bit_generator.state) if rng is not None else None

    def restart():
        if rng is not None:
            rng.bit_generator.state = state
    return restart

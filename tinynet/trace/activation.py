"""How the numbers of activation functions are computed: by the function and its slope."""

import numpy as np

from tinynet import layers
from tinynet.trace.explanation import explanation, host


def _logistic(x):
    return np.exp(-np.logaddexp(0, -x))  # 1 / (1 + exp(-x)), whose exp may overflow


FUNCTIONS = {  # the function, and its slope, both of x
    layers.Layer: (lambda layer, x: x, lambda layer, x: np.ones_like(x)),
    layers.ReLU: (lambda layer, x: np.where(x > 0, x, 0), lambda layer, x: np.where(x > 0, 1, 0)),
    layers.LeakyReLU: (lambda layer, x: np.where(x > 0, x, layer.slope * x),
                       lambda layer, x: np.where(x > 0, 1, layer.slope)),
    layers.Tanh: (lambda layer, x: np.tanh(x), lambda layer, x: 1 - np.tanh(x)**2),
    layers.Sigmoid: (lambda layer, x: _logistic(x), lambda layer, x: _logistic(x) * _logistic(-x)),
}


def y(step, index):
    """Explain an output: it is the function at x."""
    function, _ = FUNCTIONS[type(step.layer)]
    x, = host(step.x[index])
    y = function(step.layer, x)
    xs = _around(x)
    return explanation(f"{type(step.layer).__name__} of x = {x:.6g}", (), (), {"x": x, "y": y},
                       [("y", y)], {"x": ("x", index)}, curve=(xs, function(step.layer, xs)))


def dx(step, index):
    """Explain a gradient: it is the gradient from above times the slope at x."""
    _, slope = FUNCTIONS[type(step.layer)]
    x, dy = host(step.x[index], step.dy[index])
    steep = slope(step.layer, x)
    xs = _around(x)
    return explanation(f"dy times the slope of {type(step.layer).__name__} at x = {x:.6g}", (), (),
                       {"x": x, "dy": dy, "slope": steep, "product": dy * steep},
                       [("dx = dy * slope", dy * steep)],
                       {"x": ("x", index), "dy": ("dy", index)},
                       curve=(xs, slope(step.layer, xs)))


def _around(x):
    """Return where to draw the curve: from -3 to 3, or farther if x lies outside."""
    reach = max(3.0, 1.2 * abs(float(x)))
    return np.linspace(-reach, reach, 201)

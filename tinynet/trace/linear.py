"""How the numbers of a fully connected layer are computed.   N images  IN, OUT units"""

import numpy as np

from tinynet.trace.explanation import added_up, explanation, host


def y(step, index):
    """Explain an output unit, which weighs every input unit."""
    n, out = index
    x, w, b = host(step.x[n], step.layer.params["w"][out], step.layer.params["b"][out])
    inputs = np.arange(x.size)
    return explanation(f"unit {out} has a weight for all {x.size:,} inputs of x[{n}]",
                       ("input",), (0,),
                       {"x": x, "w": w, "product": x * w},
                       [added_up(x * w), (f"bias b[{out}]", b),
                        ("y = sum + bias", (x * w).sum() + b)],
                       {"x": ("x", (n, inputs)), "w": ("w", (out, inputs)),
                        f"bias b[{out}]": ("b", (out,))})


def dx(step, index):
    """Explain the gradient of an input unit, which every output unit uses."""
    n, unit = index
    dy, w = host(step.dy[n], step.layer.params["w"][:, unit])
    units = np.arange(dy.size)
    return explanation(f"all {dy.size:,} units use this input", ("unit",), (0,),
                       {"dy": dy, "w": w, "product": dy * w}, [added_up(dy * w)],
                       {"dy": ("dy", (n, units)), "w": ("w", (units, unit))})


def dw(step, index):
    """Explain the gradient of a weight, which meets one input of each picture."""
    out, unit = index
    dy, x = host(step.dy[:, out], step.x[:, unit])
    images = np.arange(dy.size)
    return explanation(f"w[{out}, {unit}] times input {unit}, once for each picture",
                       ("image",), (0,),
                       {"dy": dy, "x": x, "product": dy * x}, [added_up(dy * x)],
                       {"dy": ("dy", (images, out)), "x": ("x", (images, unit))})


def db(step, index):
    """Explain the gradient of a bias, which is added once for each picture."""
    out, = index
    dy, = host(step.dy[:, out])
    return explanation(f"b[{out}] was added once for each picture", ("image",), (0,), {"dy": dy},
                       [added_up(dy, "gradients")], {"dy": ("dy", (np.arange(dy.size), out))})

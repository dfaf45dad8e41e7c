"""Where the numbers of a fully connected layer come from.   N images  IN, OUT units"""

from tinynet.trace.explanation import added_up, explanation, host


def y(step, index):
    """An output unit weighs every input unit."""
    n, out = index
    x, w, b = host(step.x[n], step.layer.params["w"][out], step.layer.params["b"][out])
    return explanation(f"unit {out} weighs all {x.size:,} inputs of x[{n}]", ("input",), (0,),
                       {"x": x, "w": w, "product": x * w},
                       [added_up(x * w), (f"bias b[{out}]", b), ("y = sum + bias", (x * w).sum() + b)])


def dx(step, index):
    """An input unit was heard by every output unit."""
    n, unit = index
    dy, w = host(step.dy[n], step.layer.params["w"][:, unit])
    return explanation(f"all {dy.size:,} units listened to this input", ("unit",), (0,),
                       {"dy": dy, "w": w, "product": dy * w}, [added_up(dy * w)])


def dw(step, index):
    """A weight met one input a picture."""
    out, unit = index
    dy, x = host(step.dy[:, out], step.x[:, unit])
    return explanation(f"w[{out}, {unit}] met input {unit} once a picture", ("image",), (0,),
                       {"dy": dy, "x": x, "product": dy * x}, [added_up(dy * x)])


def db(step, index):
    """A bias was added once a picture."""
    dy, = host(step.dy[:, index[0]])
    return explanation(f"b[{index[0]}] was added once a picture", ("image",), (0,), {"dy": dy},
                       [added_up(dy, "gradients")])

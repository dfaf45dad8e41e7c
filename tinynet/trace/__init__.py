"""Step through a network one layer at a time, and take any number in it apart.

    trace = Trace(net, x, labels)           # or without labels: forward only
    for step in trace: print(step)          # or trace.step(), trace.back(), trace.run()
    trace["conv2"].y                        # the x, y, dy, dx, grads of a layer, and what it saved
    print(explain(trace, "conv2", (0, 5, 10, 3)))                 # how that activation is computed
    print(explain(trace, "conv2", (5, 0, 2, 2), of="dw"))         # how that gradient is computed
    print(explain(trace, "conv2", (5, 0, 2, 2), of="update"))     # the next value of that weight
    uses(trace, "conv2", (0, 5, 10, 3))                          # the numbers that use it

An explanation does its own arithmetic, in float64 and by the formula, and raises Disagreement if
the layer has another number. Rows, columns and windows are named as in `reference/`.

There is a file for each kind of layer, named as in `ops/`; in it the functions y, dx, dw and db
each explain one number. update.py explains what the optimiser makes of a parameter.
"""

import operator

import numpy as np

from tinynet import layers
from tinynet.backend import to_numpy
from tinynet.losses import SoftmaxCrossEntropy
from tinynet.trace import activation, conv, dropout, flatten, linear, lrn, pool, softmax, update
from tinynet.trace.explanation import Disagreement, Explanation
from tinynet.trace.uses import Use, uses_of
from tinynet.trace.walk import Step, Trace

__all__ = ["Disagreement", "Explanation", "Step", "Trace", "Use", "explain", "uses"]

TOLERANCE = {"float32": 2e-5, "float64": 1e-10}  # relative to the sum of |terms|, or the largest
KINDS = {  # the module that explains the numbers of a layer
    layers.Conv2d: conv, layers.MaxPool: pool, layers.AvgPool: pool, layers.LRN: lrn,
    layers.LRNWithin: lrn, layers.Dropout: dropout, layers.Flatten: flatten, layers.Linear: linear,
    SoftmaxCrossEntropy: softmax, **dict.fromkeys(activation.FUNCTIONS, activation),
}


def explain(trace, name, index, of="y"):
    """Take one number of a layer apart, and check that the parts make it.

    Args     trace: a Trace that has reached the layer; name: of the layer, or "loss";
             index: of the number, one whole number for each axis;
             of: "y", an activation; "dx", the gradient of the layer's input; "dw", "db", of its
             parameters; "update", the value that the trace's optimiser gives a parameter next: an
             index of one number is that of a bias, a longer one that of a weight;
             for the loss "y" has the index (), "dx" are the gradients of the logits, "probs" the
             probabilities
    Returns  an Explanation, checked
    Raises   ValueError, IndexError or TypeError, in one line; Disagreement where the layer has
             another number than the formula, with the explanation as its attribute
    """
    _require_trace(trace)
    step = trace[name]
    function = _explainer(step, of)
    source = update.parameter(step, index) if of == "update" else of
    array = trace.array(name, source)
    index = _whole(f"{name}.{of}", index, array.shape)
    if of == "update":
        explanation, actual = update.explain(trace, step, source, index)
    else:
        explanation, actual = function(step, index), array[index]
    explanation.name = f"{name}.{of}[{', '.join(map(str, index))}]".replace("[]", "")
    explanation.actual = float(to_numpy(actual))
    size = explanation.size
    if of != "update":
        size = max(size, trace.largest(name, source))
    explanation.tolerance = TOLERANCE[str(array.dtype)] * size
    return explanation.check()


def uses(trace, name, index, of="y"):
    """Find the numbers that are computed directly from one number.

    Args     as for explain; of may also be "w" or "b", a parameter
    Returns  a list of Use: activations above for an activation or a parameter; gradients below, of
             the parameters too, for a gradient dx, which is the dy of the layer below; the update
             for a gradient of a parameter
    Raises   ValueError, IndexError or TypeError, in one line
    """
    _require_trace(trace)
    step = trace[name]
    if of == "update":
        return []  # the next batch will use it
    index = _whole(f"{name}.{of}", index, trace.array(name, of).shape)
    return uses_of(trace, step, index, of, KINDS)


def _explainer(step, of):
    """Return the function that explains `of`. Raises ValueError in words where there is none."""
    module = KINDS.get(type(step.layer))
    known = {each: getattr(module, each) for each in ("y", "probs", "dx", "dw", "db")
             if hasattr(module, each)}
    if getattr(step.layer, "params", None):
        known["update"] = update.explain
    if of not in known:
        raise ValueError(f"{step.name} has no {of!r} to explain; "
                         f"there is {', '.join(known) or 'nothing'}")
    return known[of]


def _require_trace(trace):
    if not isinstance(trace, Trace):
        raise TypeError(f"explain needs a trace, not a {type(trace).__name__}: "
                        "trace = Trace(net, x, labels).run()")


def _whole(what, index, shape):
    """Return index as a tuple of whole numbers from 0. Raises IndexError or TypeError in words."""
    index = tuple(index) if isinstance(index, tuple | list) else (index,)
    for i in index:
        if isinstance(i, bool | np.bool_) or not hasattr(i, "__index__"):
            raise TypeError(f"{what} takes a whole number for each axis as its index, not {i!r}")
    if len(index) != len(shape) or not all(-size <= i < size for i, size in zip(index, shape)):
        raise IndexError(f"{what} has shape {tuple(shape)}: "
                         f"there is no {what}[{', '.join(map(str, index))}]")
    return tuple(operator.index(i) % size for i, size in zip(index, shape))

"""Step through a network, one layer at a time, and take any number in it apart.

    trace = Trace(net, x, labels)           # or without labels: forward only
    for step in trace: print(step)          # or trace.step(), trace.run()
    trace["conv2"].y                        # x, y, dy, dx, grads of a layer; what it kept for its backward pass
    print(explain(trace, "conv2", (0, 5, 10, 3)))                 # where that activation comes from
    print(explain(trace, "conv2", (5, 0, 2, 2), of="dw"))         # where that gradient comes from

An explanation does its own arithmetic, in float64 and by the formula, and raises Disagreement if the layer has another
number. Rows, columns and windows are named as in `reference/`.

A file for each kind of layer, named as on the rungs; in it y, dx, dw, db: how each of these numbers is explained.
"""

from tinynet import layers
from tinynet.backend import to_numpy
from tinynet.losses import SoftmaxCrossEntropy
from tinynet.trace import activation, conv, dropout, flatten, linear, lrn, pool, softmax
from tinynet.trace.explanation import Disagreement, Explanation
from tinynet.trace.walk import Step, Trace

__all__ = ["Disagreement", "Explanation", "Step", "Trace", "explain"]

TOLERANCE = {"float32": 2e-5, "float64": 1e-10}  # of the sum of all |terms|, or of the largest number around if more
KINDS = {  # who explains the numbers of which layer
    layers.Conv2d: conv, layers.MaxPool: pool, layers.AvgPool: pool, layers.LRN: lrn, layers.LRNWithin: lrn,
    layers.Dropout: dropout, layers.Flatten: flatten, layers.Linear: linear, SoftmaxCrossEntropy: softmax,
    **dict.fromkeys(activation.FUNCTIONS, activation),
}


def explain(trace, name, index, of="y"):
    """Take one number of a layer apart, and check that the parts make it.

    Args     trace: a Trace that has come by there; name: of a layer, or "loss"; index: of the number, one per axis;
             of: "y", an activation; "dx", the gradient of the layer's input; "dw", "db", of its parameters;
             for the loss "y" has the index (), "dx" are the gradients of the logits, "probs" the probabilities
    Returns  an Explanation, checked
    Raises   ValueError, IndexError: one line; Disagreement where the layer has another number than the formula
    """
    if not isinstance(trace, Trace):
        raise TypeError(f"explain needs a trace, not a {type(trace).__name__}: trace = Trace(net, x, labels).run()")
    step = trace[name]
    kind = KINDS.get(type(step.layer))
    known = [each for each in ("y", "probs", "dx", "dw", "db") if hasattr(kind, each)]
    if of not in known:
        raise ValueError(f"{name} has no {of!r} to explain; there is {', '.join(known) or 'nothing'}")
    if of.startswith("d") and step.dy is None:
        raise ValueError(f"{of} of {name} is not there yet: the trace needs labels or dy, and trace.run()")
    array = {"y": step.y, "dx": step.dx, "probs": getattr(step.layer, "probs", None), **{
        f"d{key}": grad for key, grad in (step.grads or {}).items()}}[of]
    if array is None:
        raise ValueError(f"{name} computes no dx: need_dx=False, its input is a picture")
    index = _inside(f"{name}.{of}", index, array.shape)
    explanation = getattr(kind, of)(step, index)
    array = to_numpy(array)
    explanation.name = f"{name}.{of}[{', '.join(map(str, index))}]".replace("[]", "")
    explanation.actual = float(array[index])
    explanation.tolerance = TOLERANCE[str(array.dtype)] * float(max(abs(explanation.last).sum(), abs(array).max()))
    return explanation.check()


def _inside(what, index, shape):
    """index as a tuple of whole numbers from 0. Raises IndexError in words."""
    index = tuple(index) if isinstance(index, tuple | list) else (index,)
    if len(index) != len(shape) or not all(-size <= i < size for i, size in zip(index, shape)):
        raise IndexError(f"{what} has shape {tuple(shape)}: there is no {what}[{', '.join(map(str, index))}]")
    return tuple(int(i) % size for i, size in zip(index, shape))

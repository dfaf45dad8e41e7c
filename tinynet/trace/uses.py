"""Which numbers are computed directly from a number: explanations read in the other direction.

The gradient of a number adds up what every number computed from it passes back. So the terms "dy"
of an explanation of dx name the activations above that use x, and the terms "x" of an explanation
of y name the gradients below that use dy.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass
class Use:
    """Numbers of one array: name and `of` as for explain, and one index array for each axis.

    The index arrays broadcast to the shape of the block of numbers, which may be empty.
    """

    name: str
    of: str
    indices: tuple

    @property
    def count(self):
        return np.broadcast(*self.indices).size if self.indices else 1

    def __iter__(self):
        """Yield each index, a tuple of whole numbers, in reading order."""
        if not self.indices:
            return iter([()])
        flat = [a.ravel() for a in np.broadcast_arrays(*self.indices)]
        return zip(*(map(int, a) for a in flat))


def uses_of(trace, step, index, of, kinds):
    """Return the list of Use for the number of step; kinds: the explaining module of each layer."""
    if of in ("y", "probs"):
        return _of_activation(trace, step, index, of, kinds)
    if of == "dx":
        return _of_gradient(trace, step, index, kinds)
    if of in step.layer.params:
        return [users(step, index, f"d{of}", kinds), *_updates(trace, step, index, of)]
    return _updates(trace, step, index, of[1:])


def _of_activation(trace, step, index, of, kinds):
    if of == "probs":
        own = int(step.saved[0][index[0]]) == index[1]
        return [Use("loss", "y", ())] * own + [Use("loss", "dx", _arrays(index))]
    following = trace.names[trace.names.index(step.name) + 1:]
    if not following or following[0] not in trace.steps:
        return []
    return [users(trace.steps[following[0]], index, "dx", kinds)]


def users(step, index, of, kinds):
    """Return the activations of step that are computed from x[index], w[index] or b[index]."""
    if step.name == "loss":
        return Use("loss", "probs", (np.array(index[0]), np.arange(step.x.shape[1])))
    asked = dataclasses.replace(step, dy=np.broadcast_to(np.float64(0), step.y.shape))
    _, indices = getattr(kinds[type(step.layer)], of)(asked, index).sources["dy"]
    return Use(step.name, "y", _arrays(indices))


def _of_gradient(trace, step, index, kinds):
    """Return what uses dx, which is the dy of the layer below: its dx, its dw and its db."""
    position = trace.names.index(step.name)
    if not position:
        return []
    below = trace.steps[trace.names[position - 1]]
    sources = dict(kinds[type(below.layer)].y(below, index).sources.values())
    found = []
    if below.dx is not None:
        inside = (_inside(i, size) for i, size in zip(_arrays(sources["x"]), below.x.shape))
        found.append(Use(below.name, "dx", tuple(inside)))
    for key in below.layer.params:
        found.append(Use(below.name, f"d{key}", _arrays(sources[key])))
    return found


def _inside(indices, size):
    """Return the indices from 0 to size, along their axis: the padding has no gradient."""
    if not indices.ndim:
        return indices
    axis = next((axis for axis, count in enumerate(indices.shape) if count > 1), 0)
    return np.compress(((0 <= indices) & (indices < size)).ravel(), indices, axis)


def _updates(trace, step, index, key):
    return [Use(step.name, "update", _arrays(index))] if trace.sgd is not None else []


def _arrays(indices):
    return tuple(np.asarray(i) for i in indices)

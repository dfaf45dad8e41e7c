"""Where the numbers of dropout come from: its mask."""

from tinynet.trace.explanation import explanation, host


def y(step, index):
    """A unit that speaks, or is silent."""
    return _masked(step, index, "y")


def dx(step, index):
    """The same for its gradient."""
    return _masked(step, index, "dx")


def _masked(step, index, into):
    mask = step.kept[0] if step.kept else 1.0 if step.layer.inverted else step.layer.keep_probability
    mask = float(mask if isinstance(mask, float) else mask[index])
    name = "x" if into == "y" else "dy"
    value, = host((step.x if into == "y" else step.dy)[index])
    where = "the unit is silent" if mask == 0 else "the unit speaks"
    return explanation(f"{where}, its mask is {mask:g}", (), (), {name: value, "mask": mask, "product": value * mask},
                       [(f"{into} = {name} * mask", value * mask)])

"""How the numbers of dropout are computed: by its mask, or in evaluation by a factor."""

from tinynet.trace.explanation import explanation, host


def y(step, index):
    """Explain an output: training keeps or drops a unit, evaluation multiplies it by keep."""
    return _multiplied(step, index, "x", "y", step.x)


def dx(step, index):
    """Explain a gradient: it is multiplied by the mask that the unit was multiplied by."""
    return _multiplied(step, index, "dy", "dx", step.dy)


def _multiplied(step, index, name, into, source):
    layer = step.layer
    value, = host(source[index])
    if step.saved:  # in training
        what, number = "mask", float(step.saved[0][index])
        where = f"the unit {'is kept' if number else 'is dropped'}, its mask is {number:g}"
    else:
        what, number = "factor", 1.0 if layer.inverted else layer.keep
        where = ("evaluation: inverted dropout changes nothing" if layer.inverted else
                 f"evaluation: every unit is used, times keep = {number:g}")
    return explanation(where, (), (), {name: value, what: number, "product": value * number},
                       [(f"{into} = {name} * {what}", value * number)], {name: (name, index)})

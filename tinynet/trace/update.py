"""How the optimiser computes the next value of a parameter (paper, section 5)."""

from tinynet import backend
from tinynet.trace.explanation import explanation, host

ROUNDING = 0.01  # of a parameter, beside a step that may be much smaller, only the last digits vary


def parameter(step, index):
    """Return the name of the parameter with as many axes as index has numbers, or the first."""
    count = len(index) if isinstance(index, tuple | list) else 1
    params = step.layer.params
    return next((key for key, array in params.items() if array.ndim == count), next(iter(params)))


def explain(trace, step, key, index):
    """Explain an update: momentum, decay and gradient make a velocity, which is added.

    Returns  the Explanation, and the number that the layer's own sgd_step computes. Nothing is
             updated
    """
    gradient = trace.array(step.name, f"d{key}")
    if trace.sgd is None:
        raise ValueError(f"update of {step.name} needs an optimiser: "
                         "Trace(net, x, labels, sgd=sgd)")
    sgd, name = trace.sgd, f"{step.name}.{key}"
    lr = sgd.lr * float(sgd.lr_mult.get(name, 1))
    decay = sgd.weight_decay * float(sgd.decay_mult.get(name, 1))
    arrays = step.layer.params[key], sgd.velocity[name], gradient
    one = tuple(slice(i, i + 1) for i in index)
    own, v, dw = (backend.like(array[one], gradient).copy() for array in arrays)
    w_now, v_now, dw_now = (float(array.reshape(())) for array in host(own, v, dw))
    place = f"{key}[{', '.join(map(str, index))}]"
    sources = {"w": (key, index), "v": ("v", index), "dw": (f"d{key}", index)}
    terms = {"w": w_now, "v": v_now, "dw": dw_now}
    if lr == 0:
        return explanation(f"{place} is frozen: its rate is 0", (), (), terms,
                           [(f"new {key} = {key}", w_now)], sources), own.reshape(())
    own, _ = step.layer.ops.sgd_step(own, v, dw, lr, sgd.momentum, decay)
    parts = sgd.momentum * v_now, -decay * lr * w_now, -lr * dw_now
    return explanation(
        f"one step of SGD moves {place} by {sum(parts):.6g}", (), (), terms,
        [(f"momentum: {sgd.momentum:g} * v", parts[0]),
         (f"decay: -{decay:g} * {lr:g} * {key}", parts[1]),
         (f"gradient: -{lr:g} * d{key}", parts[2]),
         ("new v = their sum", sum(parts)),
         (f"new {key} = {key} + new v", w_now + sum(parts))], sources,
        size=sum(map(abs, parts)) + ROUNDING * abs(w_now)), own.reshape(())

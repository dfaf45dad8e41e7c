"""Lesson 07: the paper's step, PyTorch's, and how much a fresh network tells pictures apart.

T steps  N pictures
"""

import numpy as np

from tinynet import ops
from tinynet.exercises.check import Case, judge

# ------------------------------------------------------------------------------------- new_velocity

def _right_velocity(w, v, dw, lr, momentum, weight_decay):
    return ops.sgd_step(w, v, dw, lr, momentum, weight_decay)[1]


VELOCITY_MISTAKES = {
    "this step goes up the gradient; subtract lr * dw":
        lambda dw, **given: _right_velocity(dw=-dw, **given),
    "the decay makes weights grow: subtract it": lambda weight_decay, **given:
        _right_velocity(weight_decay=-weight_decay, **given),
    "the decay is forgotten": lambda weight_decay, **given: _right_velocity(weight_decay=0,
                                                                            **given),
    "the weight decay is multiplied by the rate as well: weight_decay * lr * w":
        lambda w, v, dw, lr, momentum, weight_decay:
        momentum * v - weight_decay * w - lr * dw,
    "you left out the old velocity: keep momentum * v of it": lambda momentum, **given:
        _right_velocity(momentum=0, **given),
    "momentum multiplies the old velocity only; it does not make the gradient smaller, by 1 - "
    "momentum":
        lambda w, v, dw, lr, momentum, weight_decay:
            momentum * v - (1 - momentum) * (weight_decay * lr * w + lr * dw),
    "that is PyTorch's form: in the paper's, v has been multiplied by lr already, so lr does not "
    "multiply it again":
        lambda w, v, dw, lr, momentum, weight_decay: lr * (momentum * v - weight_decay * w - dw),
    "that is the new w; return the new v": lambda w, **given: w + _right_velocity(w=w, **given),
}


def check_new_velocity(new_velocity):
    """Check new_velocity(w, v, dw, lr, momentum, weight_decay).

    It returns the new v, by the paper's rule.
    """
    rng = np.random.default_rng(9)

    def case(says, w, v, dw, lr, momentum, weight_decay):
        given = {"w": w, "v": v, "dw": dw, "lr": lr, "momentum": momentum,
                 "weight_decay": weight_decay}
        return Case(says, given, _right_velocity(**given))

    def random(dtype, *shape):
        return (rng.standard_normal(shape).astype(dtype) for _ in range(3))

    by_hand = Case("worked out by hand, the second step of the lesson",
                   {"w": np.array([0.75]), "v": np.array([-0.25]), "dw": np.array([1.5]), "lr": 0.1,
                    "momentum": 0.9,
                    "weight_decay": 0.5}, np.array([-0.4125]))
    return judge(new_velocity,
                 [by_hand, case("random numbers", *random("float64", 2, 3), 0.1, 0.9, 0.25),
                                case("another rate", *random("float64", 4), 0.5, 0.6, 0.1),
                                case("in float32", *random("float32", 2, 2), 0.1, 0.9, 0.5)],
                                VELOCITY_MISTAKES)


# ------------------------------------------------------------------------------------ pytorch_steps

def _right_pytorch(w, dws, lrs, momentum):
    b = np.zeros_like(w)
    for dw, lr in zip(dws, lrs):
        b = momentum * b + dw
        w = w - lr * b
    return w


def _as_the_paper(w, dws, lrs, momentum):
    v = np.zeros_like(w)
    for dw, lr in zip(dws, lrs):
        w, v = ops.sgd_step(w, v, dw, lr, momentum, 0)
    return w


PYTORCH_MISTAKES = {
    "that is the paper's form: PyTorch leaves lr out of what it remembers, and multiplies by it "
    "when w moves":
        _as_the_paper,
    "your steps have no memory: b <- momentum * b + dw":
        lambda momentum, **given: _right_pytorch(momentum=0, **given),
    "each step has a rate of its own, lrs[t]; this one stays at the first": lambda lrs, **given:
        _right_pytorch(lrs=np.full_like(lrs, lrs[0]), **given),
    "the last step is missing": lambda dws, **given: _right_pytorch(dws=dws[:-1], **given),
    "this step goes up the gradient: use w - lr * b":
        lambda dws, **given: _right_pytorch(dws=-dws, **given),
}


def check_pytorch_steps(pytorch_steps):
    """Check pytorch_steps(w, dws, lrs, momentum).

    It returns w after a step for each of dws (T, ...), at the rates lrs (T,), from rest.
    """
    rng = np.random.default_rng(10)

    def case(says, shape, lrs, momentum=0.9, dtype="float64"):
        w, dws = (rng.standard_normal(s).astype(dtype) for s in (shape, (len(lrs), *shape)))
        given = {"w": w, "dws": dws, "lrs": np.array(lrs, dtype), "momentum": momentum}
        return Case(says, given, _right_pytorch(**given))

    by_hand = Case("worked out by hand: b is 2, then 0.5 * 2 + 2 = 3",
                   {"w": np.array([1.0]), "dws": np.array([[2.0], [2.0]]),
                    "lrs": np.array([0.1, 0.01]),
                    "momentum": 0.5}, np.array([1 - 0.2 - 0.03]))
    return judge(pytorch_steps,
                 [by_hand, case("four steps with a cut", (3,), [0.1, 0.1, 0.01, 0.01]),
                                 case("more weights", (2, 3), [0.5, 0.05, 0.005], 0.6),
                                 case("in float32", (2,), [0.1, 0.1, 0.01], 0.9, "float32")],
                                 PYTORCH_MISTAKES)


# ----------------------------------------------------------------------------------- signal_between

def _right_signal(y):
    return y.std(axis=0).mean() / y.mean()


SIGNAL_MISTAKES = {
    "that is the spread between units; take each unit by itself, over the pictures: axis=0":
        lambda y:
        y.std(axis=1).mean() / y.mean(),
    "that is the spread of all numbers together; take each unit by itself, over the pictures: "
    "axis=0": lambda y:
        y.std() / y.mean(),
    "that is the variance; the standard deviation is its square root":
        lambda y: y.var(axis=0).mean() / y.mean(),
    "ddof=1 divides by N - 1, to estimate a spread from a sample; the spread of these N pictures "
    "divides by N":
        lambda y: y.std(axis=0, ddof=1).mean() / y.mean(),
    "divide the spread by the mean": lambda y: y.std(axis=0).mean(),
    "your fraction is inverted: divide the spread by the mean":
        lambda y: y.mean() / y.std(axis=0).mean(),
}


def check_signal_between(signal_between):
    """Check signal_between(y).

    It returns the mean of the units' spreads over the pictures, divided by their mean, of
    y (N, units).
    """
    rng = np.random.default_rng(11)

    def case(says, y):
        return Case(says, {"y": y}, _right_signal(y), 1e-5)

    by_hand = Case("worked out by hand: the units' spreads are 1 and 4, their means 2 and 8",
                   {"y": np.array([[1.0, 4], [3, 12]])}, 0.5)
    return judge(signal_between, [by_hand, case("random numbers", rng.random((6, 4)) + 0.5),
                                  case("a quiet network", 1 + 0.01 * rng.standard_normal((5, 8))),
                                  case("in float32", rng.random((4, 9)).astype(np.float32))],
                                  SIGNAL_MISTAKES)

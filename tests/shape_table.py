"""The one table of shapes: which ops there are, on what they are tried, and where they run.

Parity, gradients, contract and mutants all walk this table. A rung that lands adds its name to RUNGS if it takes NumPy
arrays, to GPU_RUNGS if it takes CuPy arrays.
"""

import dataclasses
import importlib
import zlib
from collections.abc import Callable

import numpy as np
import pytest

from tinynet.backend import to_device

RUNGS = ["reference", "ops", "cpu"]
GPU_RUNGS = ["ops", "cuda"]
ALL_RUNGS = list(dict.fromkeys(RUNGS + GPU_RUNGS))


def rung(name):
    return importlib.import_module(f"tinynet.{name}")


def places():
    """Parameters (rung name, device): each rung where it can run."""
    return [*[pytest.param(name, "cpu", id=f"{name}-cpu") for name in RUNGS],
            *[pytest.param(name, "gpu", id=f"{name}-gpu", marks=pytest.mark.gpu) for name in GPU_RUNGS]]


# ---- the ops -------------------------------------------------------------------------------------------------------
@dataclasses.dataclass(frozen=True)
class Op:
    """How a pair of functions is called; `a` the arrays by name, `s` the settings, `made` what forward returned.

    forward(rung, a, s)             -> {name: array}, first the one that dy belongs to
    backward(rung, dy, a, made, s)  -> {name of an argument: its gradient}; None where there is no backward
    """

    forward: Callable
    backward: Callable | None


def activation(name, *setting_names):
    return Op(
        lambda rung, a, s: {"y": getattr(rung, f"{name}_forward")(a["x"], **s)},
        lambda rung, dy, a, made, s: {"x": getattr(rung, f"{name}_backward")(dy, made["y"], **s)})


def without(settings, *names):
    return {key: value for key, value in settings.items() if key not in names}


def sgd_in_place(rung, a, s):
    w, v = a["w"].copy(), a["v"].copy()
    assert rung.sgd_step_(w, v, a["dw"], **s) is None
    return {"w": w, "v": v}


OPS = {
    "conv2d": Op(
        lambda rung, a, s: {"y": rung.conv2d_forward(a["x"], a["w"], a["b"], **s)},
        lambda rung, dy, a, made, s: dict(zip("xwb", rung.conv2d_backward(dy, a["x"], a["w"], **s)))),
    "im2col": Op(
        lambda rung, a, s: {"cols": rung.im2col(a["x"], **s)},
        lambda rung, dy, a, made, s: {"x": rung.col2im(dy, a["x"].shape, **s)}),
    "maxpool": Op(
        lambda rung, a, s: dict(zip(("y", "argmax"), rung.maxpool_forward(a["x"], **s))),
        lambda rung, dy, a, made, s: {"x": rung.maxpool_backward(dy, made["argmax"], a["x"].shape, **s)}),
    "avgpool": Op(
        lambda rung, a, s: {"y": rung.avgpool_forward(a["x"], **s)},
        lambda rung, dy, a, made, s: {"x": rung.avgpool_backward(dy, a["x"].shape, **s)}),
    "lrn": Op(
        lambda rung, a, s: dict(zip(("y", "scale"), rung.lrn_forward(a["x"], **s))),
        lambda rung, dy, a, made, s: {
            "x": rung.lrn_backward(dy, a["x"], made["scale"], **without(s, "k"))}),
    "lrn_within": Op(
        lambda rung, a, s: dict(zip(("y", "scale"), rung.lrn_within_forward(a["x"], **s))),
        lambda rung, dy, a, made, s: {
            "x": rung.lrn_within_backward(dy, a["x"], made["scale"], **without(s, "k"))}),
    "relu": activation("relu"),
    "leaky_relu": activation("leaky_relu"),
    "tanh": activation("tanh"),
    "sigmoid": activation("sigmoid"),
    "linear": Op(
        lambda rung, a, s: {"y": rung.linear_forward(a["x"], a["w"], a["b"])},
        lambda rung, dy, a, made, s: dict(zip("xwb", rung.linear_backward(dy, a["x"], a["w"])))),
    "dropout": Op(
        lambda rung, a, s: {"y": rung.dropout_forward(a["x"], a.get("mask", s.get("mask")))},
        lambda rung, dy, a, made, s: {"x": rung.dropout_backward(dy, a.get("mask", s.get("mask")))}),
    "softmax_cross_entropy": Op(  # a loss is the end of the chain: nothing comes from above
        lambda rung, a, s: dict(zip(("loss", "probs"), rung.softmax_cross_entropy_forward(a["logits"], a["labels"]))),
        lambda rung, dy, a, made, s: {"logits": rung.softmax_cross_entropy_backward(made["probs"], a["labels"])}),
    "sgd_step": Op(lambda rung, a, s: dict(zip("wv", rung.sgd_step(a["w"], a["v"], a["dw"], **s))), None),
    "sgd_step_": Op(sgd_in_place, None),
}


# ---- the cases -----------------------------------------------------------------------------------------------------
@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """One op on arrays of one shape. `fill` draws them; `smooth`: off kinks and ties, so that a slope exists there."""

    op: str
    name: str
    fill: Callable
    settings: dict
    smooth: bool = True
    layout: str = "C"

    def __str__(self):
        return f"{self.op}-{self.name.replace(' ', '_')}"

    def arrays(self, dtype=np.float64, device="cpu"):
        """The same numbers every time; integers (labels) keep their dtype."""
        rng = np.random.default_rng(zlib.crc32(str(self).encode()))
        arrays = {name: np.asarray(array, dtype if array.dtype.kind == "f" else None)
                  for name, array in self.fill(rng).items()}
        return {name: LAYOUTS[self.layout](to_device(array, device)) for name, array in arrays.items()}

    def forward(self, rung, arrays):
        return OPS[self.op].forward(rung, arrays, self.settings)

    def backward(self, rung, dy, arrays, made):
        return OPS[self.op].backward(rung, dy, arrays, made, self.settings)

    @property
    def has_backward(self):
        return OPS[self.op].backward is not None

    def upstream(self, y_shape, dtype=np.float64, device="cpu"):
        """A random dy: one of all ones would not see a rotated kernel. Above a loss there is only 1."""
        rng = np.random.default_rng(len(str(self)))
        return to_device(np.asarray(rng.standard_normal(y_shape) if y_shape else 1.0, dtype), device)


def transposed(a):
    """The same numbers, stored with the axes in reverse order."""
    return a.T.copy().T


def channels_last(a):
    """The same numbers, stored with the channels of a pixel side by side."""
    return a.swapaxes(1, -1).copy().swapaxes(1, -1) if a.ndim > 2 else a


def every_second(a):
    """The same numbers, every second element of a longer array."""
    longer = a.repeat(2, axis=-1)
    return longer[..., ::2]


LAYOUTS = {"C": lambda a: a, "transposed": transposed, "channels last": channels_last, "every second": every_second}


def normal(**shapes):
    return lambda rng: {name: rng.standard_normal(shape) for name, shape in shapes.items()}


def off_zero(shape, limit=2.0):
    """Both signs, at least 0.1 away from the kink at 0."""
    return lambda rng: {"x": rng.uniform(0.1, limit, shape) * rng.choice([-1, 1], shape)}


def distinct(shape, shift=0.0):
    """All different, at least 0.1 apart: no nudge of a finite difference makes another pixel the largest."""
    return lambda rng: {"x": (rng.permutation(int(np.prod(shape))).reshape(shape) + shift) * 0.1}


def ties(shape):
    """Zeros and ones: most windows have several largest pixels."""
    return lambda rng: {"x": rng.integers(0, 2, shape).astype(float)}


def some_nan(shape):
    """Among distinct numbers a NaN or several in most windows, and infinities: what a training that diverged has."""
    def fill(rng):
        x = distinct(shape)(rng)["x"]
        x[rng.random(shape) < 0.15] = np.nan
        x[rng.random(shape) < 0.1] = np.inf
        return {"x": x}
    return fill


def constant(shape, value):
    return lambda rng: {"x": np.full(shape, value)}


def masked(shape, value):
    return lambda rng: {"x": rng.standard_normal(shape), "mask": value * (rng.random(shape) < 0.5).astype(float)}


def logits(N, C, scale=1.0):
    return lambda rng: {"logits": scale * rng.standard_normal((N, C)), "labels": rng.integers(0, C, N)}


def conv(name, x, w, stride=1, pad=0, groups=1, ceil=False, **rest):
    return Case("conv2d", name, normal(x=x, w=w, b=w[:1]),
                {"stride": stride, "pad": pad, "groups": groups, "ceil": ceil}, **rest)


def columns(name, x, kh, kw, stride=1, pad=0, ceil=False, **rest):
    return Case("im2col", name, normal(x=x), {"kh": kh, "kw": kw, "stride": stride, "pad": pad, "ceil": ceil}, **rest)


def pool(name, x, size=3, stride=2, pad=0, ceil=False, fill=distinct, **rest):
    return Case("maxpool", name, fill(x), {"size": size, "stride": stride, "pad": pad, "ceil": ceil}, **rest)


def avgpool(name, x, size=3, stride=2, pad=0, ceil=False, **rest):
    return Case("avgpool", name, normal(x=x), {"size": size, "stride": stride, "pad": pad, "ceil": ceil}, **rest)


def lrn(name, x, n=5, k=2.0, alpha=0.4, beta=0.75, groups=1, **rest):
    """alpha * energy is about k, as it never is at AlexNet's 1e-4: there a missing term would drown in the rounding."""
    return Case("lrn", name, normal(x=x), {"n": n, "k": k, "alpha": alpha, "beta": beta, "groups": groups}, **rest)


def lrn_within(name, x, n=5, k=1.0, alpha=0.05, beta=0.75, **rest):
    return Case("lrn_within", name, normal(x=x), {"n": n, "k": k, "alpha": alpha, "beta": beta}, **rest)


def negative(shape):
    return distinct(shape, shift=-1.0 - np.prod(shape))


SGD = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.05}

CASES = [
    conv("3x3", (2, 3, 6, 6), (4, 3, 3, 3)),
    conv("pad 1", (2, 2, 5, 5), (3, 2, 3, 3), pad=1),
    conv("one pixel kernel", (2, 3, 4, 4), (2, 3, 1, 1)),
    conv("kernel as big as x", (2, 2, 3, 4), (3, 2, 3, 4)),
    conv("stride that does not divide", (2, 2, 8, 6), (3, 2, 3, 3), stride=2),
    conv("H is not W", (1, 2, 4, 9), (2, 2, 3, 3), pad=1, stride=2),
    conv("KH is not KW", (2, 2, 6, 7), (3, 2, 2, 4)),
    conv("pair stride and pad", (2, 2, 7, 8), (3, 2, 3, 2), stride=(2, 3), pad=(1, 2)),
    conv("pad as big as the kernel", (1, 1, 3, 3), (2, 1, 2, 2), pad=2),
    conv("one pixel kernel, padded", (2, 2, 3, 2), (2, 2, 1, 1), pad=1),
    conv("windows in nothing but padding", (3, 3, 2, 7), (1, 3, 2, 1), stride=(3, 2), pad=1),
    conv("ceil, padded by more than the kernel", (1, 2, 4, 5), (2, 2, 2, 1), stride=3, pad=(3, 2), ceil=True),
    conv("stride longer than the kernel", (2, 2, 9, 8), (2, 2, 2, 2), stride=3),
    conv("groups 2", (2, 4, 5, 5), (6, 2, 3, 3), pad=1, groups=2),
    conv("groups 3", (1, 6, 4, 5), (3, 2, 2, 2), groups=3),
    conv("groups 2 with a stride", (2, 4, 7, 6), (2, 2, 3, 3), stride=2, pad=1, groups=2),
    conv("N 5", (5, 2, 4, 4), (4, 1, 3, 3), groups=2),
    conv("N 1", (1, 3, 5, 5), (2, 3, 3, 3)),
    conv("one kernel on one channel", (2, 1, 4, 4), (1, 1, 2, 2)),
    conv("11x11 stride 4", (1, 3, 23, 27), (2, 3, 11, 11), stride=4),
    conv("ceil", (2, 2, 6, 8), (3, 2, 3, 3), stride=2, ceil=True),
    conv("ceil and pad", (2, 2, 5, 6), (2, 2, 2, 3), stride=(3, 2), pad=(1, 0), ceil=True),
    conv("ceil and groups", (1, 4, 6, 6), (2, 2, 3, 3), stride=2, groups=2, ceil=True),
    conv("ceil, window larger than x without its padding", (2, 2, 2, 3), (2, 2, 4, 5), stride=3, pad=1, ceil=True),
    conv("ceil, window larger than x", (2, 2, 2, 3), (3, 2, 3, 5), stride=(2, 3), ceil=True),
    conv("ceil, stride over the end", (1, 2, 7, 5), (2, 2, 2, 1), stride=(4, 3), ceil=True),
    conv("transposed", (2, 4, 5, 6), (4, 2, 3, 3), stride=2, pad=1, groups=2, layout="transposed"),
    conv("channels last", (2, 3, 5, 6), (4, 3, 3, 3), pad=1, layout="channels last"),
    conv("every second", (2, 2, 6, 5), (3, 2, 3, 2), layout="every second"),

    columns("3x3 stride 1", (2, 2, 5, 6), 3, 3),
    columns("pairs", (2, 2, 7, 8), 3, 2, (2, 3), (1, 2)),
    columns("stride that does not divide", (1, 2, 8, 6), 3, 3, 2),
    columns("stride longer than the window", (2, 1, 8, 7), 2, 2, 3),
    columns("ceil", (2, 1, 6, 6), 3, 3, 2, ceil=True),
    columns("windows in nothing but padding", (1, 2, 2, 7), 2, 1, (3, 2), 1),
    columns("ceil, window larger than x", (1, 2, 2, 3), 3, 4, 2, ceil=True),
    columns("ceil, window as big as x", (1, 2, 2, 3), 2, 3, 2, ceil=True),
    columns("transposed", (2, 3, 5, 4), 2, 3, layout="transposed"),

    pool("3x3 stride 2", (2, 3, 7, 7)),
    pool("stride that does not divide", (2, 2, 8, 6)),
    pool("H is not W", (1, 2, 5, 9)),
    pool("pairs", (2, 2, 7, 8), (3, 2), (2, 3)),
    pool("overlap by two", (2, 2, 5, 5), 3, 1),
    pool("no overlap", (2, 2, 6, 6), 2, 2),
    pool("stride longer than the window", (2, 2, 8, 7), 2, 3),
    pool("one pixel", (2, 2, 3, 3), 1, 1),
    pool("whole map", (2, 3, 4, 5), (4, 5), 1),
    pool("N 1 C 1", (1, 1, 5, 5)),
    pool("window of 289 pixels", (1, 1, 19, 18), 17, 1),
    pool("all negative", (2, 2, 7, 7), fill=negative),
    pool("all negative, ceil", (2, 2, 6, 6), ceil=True, fill=negative),
    pool("ceil", (2, 2, 8, 6), ceil=True),
    pool("ceil with pairs", (1, 2, 6, 7), (2, 3), (3, 2), ceil=True),
    pool("ceil, window as big as x", (2, 2, 3, 2), (3, 2), 2, ceil=True),
    pool("ceil, last window of one pixel", (2, 2, 4, 6), 3, 3, ceil=True),
    pool("ceil, stride over the end", (1, 2, 7, 5), (2, 1), (4, 3), ceil=True),
    pool("ceil, window larger than x", (2, 2, 2, 3), (3, 5), (2, 3), ceil=True),
    pool("pad 1", (2, 3, 7, 6), pad=1),
    pool("pad, stride 1", (1, 2, 4, 5), 3, 1, 1),
    pool("pad as pairs", (2, 2, 5, 7), (2, 5), (3, 2), (1, 2)),
    pool("pad across alone", (1, 2, 5, 6), (3, 4), 2, (0, 2)),
    pool("pad and ceil", (2, 2, 6, 7), (3, 4), 2, (1, 2), ceil=True),
    pool("pad and ceil, last window dropped", (1, 2, 5, 4), (2, 3), (3, 2), 1, ceil=True),
    pool("pad, window larger than x", (1, 2, 2, 1), 4, 2, 2),
    pool("pad, all negative", (2, 2, 6, 5), pad=1, fill=negative),
    pool("pad, ties", (2, 2, 6, 6), pad=1, fill=ties, smooth=False),
    pool("pad, nothing but -inf", (1, 2, 5, 5), pad=1, fill=lambda shape: constant(shape, -np.inf), smooth=False),
    pool("pad, channels last", (2, 3, 6, 6), 3, 2, 1, layout="channels last"),
    pool("NaN", (2, 3, 7, 7), fill=some_nan, smooth=False),
    pool("NaN, padded, ceil", (2, 3, 6, 7), 3, 2, 1, ceil=True, fill=some_nan, smooth=False),
    pool("nothing but NaN", (1, 2, 5, 5), pad=1, fill=lambda shape: constant(shape, np.nan), smooth=False),
    pool("ties", (2, 2, 7, 7), fill=ties, smooth=False),
    pool("ties, ceil", (2, 2, 6, 6), ceil=True, fill=ties, smooth=False),
    pool("all equal", (1, 2, 5, 5), fill=lambda shape: constant(shape, -3.0), smooth=False),
    pool("nothing but -inf", (1, 2, 5, 5), fill=lambda shape: constant(shape, -np.inf), smooth=False),
    pool("transposed", (2, 3, 7, 6), layout="transposed"),
    pool("channels last", (2, 3, 7, 6), layout="channels last"),
    pool("transposed, ceil", (2, 3, 6, 6), ceil=True, layout="transposed"),

    avgpool("3x3 stride 2", (2, 3, 7, 7)),
    avgpool("stride that does not divide", (2, 2, 8, 6)),
    avgpool("pairs", (2, 2, 7, 8), (3, 2), (2, 3)),
    avgpool("overlap by two", (1, 2, 5, 6), 3, 1),
    avgpool("stride longer than the window", (2, 2, 8, 7), 2, 3),
    avgpool("one pixel", (2, 2, 3, 3), 1, 1),
    avgpool("whole map", (2, 3, 4, 5), (4, 5), 1),
    avgpool("ceil", (2, 2, 8, 6), ceil=True),
    avgpool("ceil with pairs", (1, 2, 6, 7), (2, 3), (3, 2), ceil=True),
    avgpool("ceil, last window of one pixel", (2, 2, 4, 6), 3, 3, ceil=True),
    avgpool("ceil, stride over the end", (1, 2, 7, 5), (2, 1), (4, 3), ceil=True),
    avgpool("ceil, window larger than x", (2, 2, 2, 3), (3, 5), (2, 3), ceil=True),
    avgpool("pad 1", (2, 3, 7, 6), pad=1),
    avgpool("pad, stride 1", (1, 2, 4, 5), 3, 1, 1),
    avgpool("pad as pairs", (2, 2, 5, 7), (2, 5), (3, 2), (1, 2)),
    avgpool("pad and ceil", (2, 2, 6, 7), (3, 4), 2, (1, 2), ceil=True),
    avgpool("pad, window larger than x", (1, 2, 2, 1), 4, 2, 2),
    avgpool("pad, transposed", (2, 3, 6, 6), 3, 2, 1, layout="transposed"),
    avgpool("transposed, ceil", (2, 3, 6, 6), ceil=True, layout="transposed"),
    avgpool("channels last", (2, 3, 7, 6), layout="channels last"),

    lrn("n 5", (2, 8, 3, 4)),
    lrn("n 3", (2, 5, 3, 3), n=3, alpha=0.6),
    lrn("n 1", (1, 3, 2, 3), n=1, alpha=1.5),
    lrn("n 9", (1, 7, 2, 2), n=9, alpha=0.3),
    lrn("fewer channels than n", (2, 3, 3, 2)),
    lrn("far fewer channels than n", (2, 1, 3, 2), n=7, alpha=1.0),
    lrn("N 1, k 1, beta 0.5", (1, 6, 3, 3), k=1.0, alpha=0.2, beta=0.5),
    lrn("groups 2", (2, 8, 3, 2), groups=2),
    lrn("groups 3 smaller than n", (1, 6, 2, 3), groups=3, alpha=0.7),
    lrn("whole numbers", (1, 6, 2, 2), k=2, alpha=1, beta=1),
    lrn("transposed", (2, 6, 3, 4), groups=2, layout="transposed"),
    lrn("channels last", (2, 6, 3, 4), layout="channels last"),

    lrn_within("n 5", (2, 2, 7, 6)),
    lrn_within("n 3, H is not W", (1, 2, 3, 8), n=3, alpha=0.15),
    lrn_within("n 1", (2, 2, 2, 3), n=1, alpha=1.0),
    lrn_within("map smaller than n", (2, 3, 2, 1), alpha=0.5),
    lrn_within("transposed", (2, 2, 5, 4), n=3, alpha=0.2, layout="transposed"),
    lrn_within("channels last", (2, 3, 5, 4), n=3, alpha=0.2, layout="channels last"),

    *[Case(op, name, off_zero(shape, 3.0), settings, layout=layout)
      for op, settings in (("relu", {}), ("leaky_relu", {"slope": 0.1}), ("tanh", {}), ("sigmoid", {}))
      for name, shape, layout in (("maps", (2, 3, 3, 4), "C"), ("rows", (3, 7), "C"),
                                  ("transposed", (2, 3, 4, 2), "transposed"),
                                  ("channels last", (2, 3, 4, 2), "channels last"))],
    Case("relu", "all negative and zero", constant((2, 3), -0.0), {}, smooth=False),
    Case("leaky_relu", "zero", constant((2, 3), 0.0), {"slope": 0.25}, smooth=False),
    Case("tanh", "saturated", constant((2, 3), 1e4), {}, smooth=False),
    Case("sigmoid", "saturated below", constant((2, 3), -1e4), {}, smooth=False),
    Case("sigmoid", "saturated above", constant((2, 3), 1e4), {}, smooth=False),

    Case("linear", "plain", normal(x=(3, 5), w=(4, 5), b=(4,)), {}),
    Case("linear", "N 1", normal(x=(1, 6), w=(3, 6), b=(3,)), {}),
    Case("linear", "square", normal(x=(4, 4), w=(4, 4), b=(4,)), {}),
    Case("linear", "one unit", normal(x=(5, 1), w=(1, 1), b=(1,)), {}),
    Case("linear", "transposed", normal(x=(3, 5), w=(4, 5), b=(4,)), {}, layout="transposed"),
    Case("linear", "every second", normal(x=(3, 5), w=(4, 5), b=(4,)), {}, layout="every second"),

    Case("dropout", "the paper's mask", masked((4, 6), 1.0), {}),
    Case("dropout", "inverted, on maps", masked((2, 3, 4, 4), 2.0), {}),
    Case("dropout", "half at test", normal(x=(4, 6)), {"mask": 0.5}),
    Case("dropout", "one at test", normal(x=(4, 6)), {"mask": 1}),
    Case("dropout", "transposed", masked((4, 6), 1.0), {}, layout="transposed"),

    Case("softmax_cross_entropy", "plain", logits(4, 6), {}),
    Case("softmax_cross_entropy", "N 1", logits(1, 5), {}),
    Case("softmax_cross_entropy", "one class", logits(3, 1), {}, smooth=False),  # its gradient is 0: relative to what?
    Case("softmax_cross_entropy", "logits of 1e4", logits(5, 4, 1e4), {}, smooth=False),
    Case("softmax_cross_entropy", "transposed", logits(4, 6), {}, layout="transposed"),

    *[Case(op, name, normal(w=shape, v=shape, dw=shape), settings, layout=layout)
      for op in ("sgd_step", "sgd_step_")
      for name, shape, settings, layout in (
          ("maps", (3, 2, 2, 2), SGD, "C"), ("bias", (5,), SGD, "C"),
          ("no momentum, no decay", (4, 3), {"lr": 1, "momentum": 0, "weight_decay": 0}, "C"),
          ("transposed", (4, 3), SGD, "transposed"))],
]


def cases(*ops, smooth_only=False):
    """Parameters: the cases of these ops, or of all."""
    return [pytest.param(case, id=str(case)) for case in CASES
            if (not ops or case.op in ops) and (case.smooth or not smooth_only)]

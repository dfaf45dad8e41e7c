"""Every op against PyTorch, which computes the same things in its own way; gradients by its autograd."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from shape_table import CASES, RUNGS, Case, cases, conv, lrn, normal, pool, rung, some_nan

from tinynet.shapes import ShapeError, output_size

TOLERANCE = 1e-10  # of the largest value; both sides compute in float64

LARGER = [  # AlexNet's kernels, strides, pads and groups on a few maps
    conv("conv1", (2, 3, 67, 67), (8, 3, 11, 11), stride=4),
    conv("conv1 of the 2012 code", (2, 3, 64, 64), (8, 3, 11, 11), stride=4, ceil=True),
    conv("conv2", (2, 8, 15, 15), (12, 4, 5, 5), pad=2, groups=2),
    conv("conv3", (3, 16, 13, 13), (24, 16, 3, 3), pad=1),
    conv("conv4", (3, 24, 13, 13), (24, 12, 3, 3), pad=1, groups=2),
    pool("pool1", (2, 8, 55, 55)),
    pool("pool1, ceil", (2, 8, 56, 54), ceil=True),
    lrn("the paper's numbers", (2, 96, 9, 9), alpha=1e-4),
    Case("linear", "fc", normal(x=(16, 300), w=(100, 300), b=(100,)), {}),
]


def pair(value):
    return value if isinstance(value, tuple) else (value, value)


def padded_to_fit(torch, x, kernel, stride, pad, ceil, fill):
    """x padded, with room for the last window of ceil sizing: PyTorch's convolution has only floor, its pooling both.

    Its pooling takes a pad of half the window at most. With more than that, no window goes past the padding.
    """
    (H, W), (KH, KW), (SH, SW), (PH, PW) = x.shape[2:], pair(kernel), pair(stride), pair(pad)
    bottom, right = PH, PW
    if ceil and PH <= KH // 2 and PW <= KW // 2:
        OH, OW = torch.nn.functional.max_pool2d(x, kernel, stride, pad, ceil_mode=True).shape[2:]
        bottom, right = max(PH, (OH - 1) * SH + KH - H - PH), max(PW, (OW - 1) * SW + KW - W - PW)
    return torch.nn.functional.pad(x, (PW, right, PH, bottom), value=fill)


def conv2d(torch, t, s):
    x = padded_to_fit(torch, t["x"], t["w"].shape[2:], s["stride"], s["pad"], s["ceil"], 0.0)
    return {"y": torch.nn.functional.conv2d(x, t["w"], t["b"], s["stride"], 0, 1, s["groups"])}


def im2col(torch, t, s):
    x = padded_to_fit(torch, t["x"], (s["kh"], s["kw"]), s["stride"], s["pad"], s["ceil"], 0.0)
    cols = torch.nn.functional.unfold(x, (s["kh"], s["kw"]), stride=s["stride"])    # (N, C*KH*KW, OH*OW)
    return {"cols": cols.permute(1, 0, 2).reshape(cols.shape[1], -1)}


def maxpool(torch, t, s):
    function = torch.nn.functional.max_pool2d
    x, pad = t["x"], s["pad"]
    if any(padding > size // 2 for padding, size in zip(pair(pad), pair(s["size"]))):  # more than PyTorch pads
        (PH, PW), pad = pair(pad), 0
        x = torch.nn.functional.pad(x, (PW, PW, PH, PH), value=-np.inf)
    return {"y": function(x, s["size"], s["stride"], pad, ceil_mode=s["ceil"])}


def avgpool(torch, t, s):
    return {"y": torch.nn.functional.avg_pool2d(t["x"], s["size"], s["stride"], s["pad"], ceil_mode=s["ceil"],
                                                count_include_pad=False)}


def local_response_norm(torch, t, s):
    """Its alpha is divided by n, and it knows no groups: each group is an image to it."""
    N, C, H, W = t["x"].shape
    x = t["x"].reshape(N * s["groups"], C // s["groups"], H, W)
    y = torch.nn.functional.local_response_norm(x, s["n"], s["alpha"] * s["n"], s["beta"], s["k"])
    return {"y": y.reshape(N, C, H, W)}


def lrn_within(torch, t, s):
    """PyTorch has none; an average over n x n pixels, zeros outside counted, is the energy divided by n^2."""
    energy = torch.nn.functional.avg_pool2d(t["x"] ** 2, s["n"], 1, s["n"] // 2, count_include_pad=True) * s["n"] ** 2
    return {"y": t["x"] / (s["k"] + s["alpha"] * energy) ** s["beta"]}


def cross_entropy(torch, t, s):
    return {"loss": torch.nn.functional.cross_entropy(t["logits"], t["labels"]), "probs": torch.softmax(t["logits"], 1)}


def sgd(torch, t, s):
    """One step from a velocity in the middle of a training. PyTorch keeps -v / lr."""
    w = torch.nn.Parameter(t["w"].detach().clone())
    w.grad = t["dw"].detach().clone()
    optimiser = torch.optim.SGD([w], lr=s["lr"], momentum=s["momentum"], weight_decay=s["weight_decay"])
    if s["momentum"]:
        optimiser.state[w]["momentum_buffer"] = -t["v"].detach() / s["lr"]
    optimiser.step()
    return {"w": w, "v": w - t["w"]}


ORACLES = {
    "conv2d": conv2d, "im2col": im2col, "maxpool": maxpool, "avgpool": avgpool,
    "lrn": local_response_norm, "lrn_within": lrn_within,
    "relu": lambda torch, t, s: {"y": torch.relu(t["x"])},
    "leaky_relu": lambda torch, t, s: {"y": torch.nn.functional.leaky_relu(t["x"], s["slope"])},
    "tanh": lambda torch, t, s: {"y": torch.tanh(t["x"])},
    "sigmoid": lambda torch, t, s: {"y": torch.sigmoid(t["x"])},
    "linear": lambda torch, t, s: {"y": torch.nn.functional.linear(t["x"], t["w"], t["b"])},
    "dropout": lambda torch, t, s: {"y": t["x"] * t.get("mask", s.get("mask"))},
    "softmax_cross_entropy": cross_entropy, "sgd_step": sgd, "sgd_step_": sgd,
}


def oracle_check(torch, rung, case):
    """AssertionError unless forward and, where there is one, backward agree with PyTorch's."""
    arrays = case.arrays()
    made = case.forward(rung, arrays)
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    for tensor in tensors.values():
        tensor.requires_grad_(tensor.is_floating_point())
    theirs = ORACLES[case.op](torch, tensors, case.settings)
    for name, tensor in theirs.items():
        close(f"{case} {name}", made[name], tensor)
    if case.has_backward:
        result = next(iter(theirs.values()))
        dy = case.upstream(tuple(result.shape))
        result.backward(torch.from_numpy(dy))
        for name, gradient in case.backward(rung, dy, arrays, made).items():
            close(f"{case} d{name}", gradient, tensors[name].grad)


def close(where, ours, theirs):
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape, f"{where}: {ours.shape}, PyTorch has {theirs.shape}"
    finite = np.abs(theirs[np.isfinite(theirs)])
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE * max(1, finite.max(initial=0)), err_msg=where)


@pytest.mark.parametrize("case", cases())
@pytest.mark.parametrize("name", RUNGS)
def test_ops_agree_with_pytorch(oracle, name, case):
    oracle_check(oracle, rung(name), case)


@pytest.mark.parametrize("case", [pytest.param(case, id=str(case)) for case in LARGER])
def test_ops_agree_with_pytorch_on_larger_arrays(oracle, case):
    for name in RUNGS:
        if name != "reference":
            oracle_check(oracle, rung(name), case)


@pytest.mark.parametrize("name", RUNGS)
def test_sgd_walks_with_pytorch_at_a_constant_rate(oracle, name):
    rng = np.random.default_rng(0)
    slopes = rng.uniform(0.5, 2, (3, 2))
    w, v = rng.standard_normal((3, 2)), np.zeros((3, 2))
    theirs = oracle.nn.Parameter(oracle.from_numpy(w.copy()))
    optimiser = oracle.optim.SGD([theirs], lr=0.05, momentum=0.9, weight_decay=0.01)
    for _ in range(20):
        w, v = rung(name).sgd_step(w, v, slopes * w, 0.05, 0.9, 0.01)
        optimiser.zero_grad()
        (oracle.from_numpy(slopes) * theirs**2 / 2).sum().backward()
        optimiser.step()
    close("w after 20 steps", w, theirs)


# ---- sizes that nobody thought of ---------------------------------------------------------------------------------
# size, kernel, stride, pad
AXIS = st.tuples(st.integers(1, 7), st.integers(1, 4), st.integers(1, 4), st.integers(0, 3))


def count_of_pytorch(torch, size, kernel, stride, pad, ceil):
    """How many windows PyTorch's pooling has, 0 where it has none; a convolution's where there is no ceil."""
    x = torch.zeros(1, 1, 1, size)
    try:
        if ceil:
            return torch.nn.functional.max_pool2d(x, (1, kernel), (1, stride), (0, pad), ceil_mode=True).shape[3]
        return torch.nn.functional.conv2d(x, torch.zeros(1, 1, 1, kernel), None, (1, stride), (0, pad)).shape[3]
    except RuntimeError:
        return 0


@settings(max_examples=200, deadline=None, derandomize=True)
@given(axis=AXIS, ceil=st.booleans())
def test_output_size_is_that_of_pytorch(oracle, axis, ceil):
    size, kernel, stride, pad = axis
    pad = min(pad, kernel // 2) if ceil else pad  # PyTorch pads a pooling by half the window at most
    expected = count_of_pytorch(oracle, size, kernel, stride, pad, ceil)
    if expected:
        assert output_size(size, kernel, stride, pad, ceil) == expected
    else:
        with pytest.raises(ShapeError):
            output_size(size, kernel, stride, pad, ceil)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(down=AXIS, across=AXIS, ceil=st.booleans(), data=st.data())
def test_random_sizes_agree_with_pytorch(oracle, down, across, ceil, data):
    (H, W), (KH, KW), stride, pad = zip(down, across)
    half = min(pad[0], KH // 2), min(pad[1], KW // 2)
    N, CG, KG, G = data.draw(st.tuples(*[st.integers(1, 2)] * 4), "N C/G K/G G")
    for case in (conv("drawn", (N, CG * G, H, W), (KG * G, CG, KH, KW), stride, half if ceil else pad, G, ceil),
                 pool("drawn", (N, CG, H, W), (KH, KW), stride, half, ceil),
                 pool("drawn NaN", (N, CG, H, W), (KH, KW), stride, half, ceil, fill=some_nan),
                 Case("avgpool", "drawn", normal(x=(N, CG, H, W)),
                      {"size": (KH, KW), "stride": stride, "pad": half, "ceil": ceil})):
        for name in RUNGS:
            try:
                oracle_check(oracle, rung(name), case)
            except ShapeError:
                padding = case.settings["pad"]
                assert not all(count_of_pytorch(oracle, *axis[:3], P, ceil) for axis, P in zip((down, across), padding))


def test_every_op_has_an_oracle():
    assert {case.op for case in CASES} == set(ORACLES)

"""Every rung computes what the reference computes, over the whole table of shapes."""

import functools
import inspect
import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from shape_table import ALL_RUNGS, CASES, RUNGS, avgpool, cases, conv, places, pool, rung

import tinynet.reference
from tinynet.backend import to_device, to_numpy

# The reference sums in float64, on the very numbers that the rung is given: what differs is the rounding of the rung.
# float64 rounds by 1.1e-16 and float32 by 6e-8 of a term, and no sum of the table has over 400 terms. If all errors
# pointed the same way that would be 4e-14 and 2e-5 of the sum of the absolute terms. They do not: the worst seen is
# 1.4e-15 and 9e-7 of the largest value, a fifth of what is allowed, or less.
TOLERANCE = {np.float64: 1e-13, np.float32: 5e-6}


@functools.cache
def expected(case, dtype):
    """What the reference makes of a case: forward's results, the upstream gradient, backward's results."""
    arrays = {name: widened(array) for name, array in case.arrays(dtype).items()}
    made = case.forward(tinynet.reference, arrays)
    dy = case.upstream(next(iter(made.values())).shape, dtype)
    return made, dy, case.backward(tinynet.reference, widened(dy), arrays, made) if case.has_backward else {}


def widened(array):
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def parity_check(rung, case, dtype=np.float64, device="cpu"):
    """AssertionError unless forward and backward of this rung give what the reference gives."""
    made, dy, gradients = expected(case, dtype)
    arrays = case.arrays(dtype, device)
    got = case.forward(rung, arrays)
    check_close(f"{case} forward", got, made, dtype)
    if case.has_backward:
        dy = to_device(dy.copy(), device)  # a copy: an op that writes to it shall not spoil the next case
        check_close(f"{case} backward", case.backward(rung, dy, arrays, got), gradients, dtype)


def check_close(where, got, wanted, dtype):
    assert list(got) == list(wanted)
    for name, array in wanted.items():
        actual = to_numpy(got[name])
        assert actual.shape == array.shape, f"{where}: {name} has shape {actual.shape}, not {array.shape}"
        if array.dtype.kind != "f":
            assert actual.dtype == array.dtype
            np.testing.assert_array_equal(actual, array, err_msg=f"{where}: {name}")
            continue
        assert actual.dtype == dtype, f"{where}: {name} is {actual.dtype}, not {np.dtype(dtype)}"
        finite = np.abs(array[np.isfinite(array)])
        allowed = TOLERANCE[dtype] * finite.max() if finite.size else 0
        np.testing.assert_allclose(actual, array, rtol=TOLERANCE[dtype], atol=allowed, err_msg=f"{where}: {name}")


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("case", cases())
@pytest.mark.parametrize("name, device", places())
def test_parity(name, device, case, dtype):
    parity_check(rung(name), case, dtype, device)


SMALL_COLUMNS = 1, 1200  # bytes: an image at a time; two or so. The table is too small to be cut up at 32 MiB


@pytest.mark.parametrize("column_bytes", SMALL_COLUMNS)
@pytest.mark.parametrize("case", cases("conv2d"))
def test_parity_piece_by_piece(case, column_bytes, monkeypatch):
    monkeypatch.setattr("tinynet.ops.conv.COLUMN_BYTES", column_bytes)
    parity_check(rung("ops"), case)


def test_the_table_tries_every_op_of_the_contract():
    called = set()

    class Listener:
        def __getattr__(self, name):
            called.add(name)
            return getattr(tinynet.reference, name)

    for case in CASES:
        parity_check(Listener(), case)
    assert called == set(tinynet.reference.__all__)


@pytest.mark.parametrize("name", ALL_RUNGS)
def test_same_names_and_signatures(name):
    module = rung(name)
    assert sorted(module.__all__) == sorted(tinynet.reference.__all__)
    for function in tinynet.reference.__all__:
        assert inspect.signature(getattr(module, function)) == inspect.signature(getattr(tinynet.reference, function))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
@pytest.mark.parametrize("name", [name for name in RUNGS if name != "reference"])
def test_parity_on_shapes_that_nobody_thought_of(name, data):
    whole = st.integers(1, 4)
    KH, KW, *stride = data.draw(st.tuples(*[whole] * 4), "KH KW SH SW")
    H, W = KH + data.draw(st.integers(0, 5), "H - KH"), KW + data.draw(st.integers(0, 5), "W - KW")
    pad = data.draw(st.tuples(*[st.integers(0, 2)] * 2), "PH PW")
    N, CG, KG, G = data.draw(st.tuples(*[st.integers(1, 2)] * 4), "N C/G K/G G")
    inside = min(pad[0], KH - 1), min(pad[1], KW - 1)  # a pooling window holds a pixel of x
    ceil = data.draw(st.booleans(), "ceil")
    parity_check(rung(name), conv("drawn", (N, CG * G, H, W), (KG * G, CG, KH, KW), tuple(stride), pad, G, ceil))
    parity_check(rung(name), pool("drawn", (N, CG, H, W), (KH, KW), tuple(stride), inside, ceil))
    parity_check(rung(name), avgpool("drawn", (N, CG, H, W), (KH, KW), tuple(stride), inside, ceil))


@pytest.mark.parametrize("name, device", places())
class TestOddNumbers:
    def test_max_pool_passes_nan_on(self, name, device):
        x = np.zeros((1, 1, 3, 5))
        x[0, 0, 1, 0] = np.nan  # in the left window of two
        x[0, 0, 2, 1] = np.nan
        y, argmax = rung(name).maxpool_forward(to_device(x, device), 3, 2)
        np.testing.assert_array_equal(to_numpy(y), [[[[np.nan, 0]]]])
        np.testing.assert_array_equal(to_numpy(argmax), [[[[7, 0]]]])  # the last of two, as in PyTorch

    @pytest.mark.parametrize("function", ["relu_forward", "tanh_forward", "sigmoid_forward"])
    def test_activations_pass_nan_on_and_take_infinities(self, name, device, function):
        limits = {"relu_forward": (0, math.inf), "tanh_forward": (-1, 1), "sigmoid_forward": (0, 1)}[function]
        y = getattr(rung(name), function)(to_device(np.array([-np.inf, np.nan, np.inf]), device))
        np.testing.assert_array_equal(to_numpy(y), [limits[0], np.nan, limits[1]])

    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_softmax_is_stable(self, name, device, dtype):
        logits = to_device(np.array([[1e4, 0, -1e4], [-1e4, -1e4, -1e4]], dtype), device)
        labels = to_device(np.array([2, 0]), device)
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            loss, probs = rung(name).softmax_cross_entropy_forward(logits, labels)
            dlogits = rung(name).softmax_cross_entropy_backward(probs, labels)
        third = 1 / 3
        assert float(loss) == pytest.approx((2e4 + math.log(3)) / 2)
        np.testing.assert_allclose(to_numpy(probs), [[1, 0, 0], [third] * 3], rtol=1e-6)
        np.testing.assert_allclose(to_numpy(dlogits), [[0.5, 0, -0.5], [-third, third / 2, third / 2]], rtol=1e-6)

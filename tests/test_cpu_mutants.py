"""Bugs planted in the source of `cpu`: each must be seen by parity, by the gradients, or on arrays of many pieces."""

import functools
import types

import numpy as np
import pytest
from shape_table import CASES
from test_cpu import arrays, everything
from test_mutants import OPS_IN, gradient, mutated
from test_parity import parity_check

from tinynet import cpu, ops

FILES = {**OPS_IN, "winograd": ("conv2d",)}
MUTANTS = [  # (file, name, (function, old text, new text))
    ("conv", "columns of the wrong phase", ("columns", "[:, :, p::SW]", "[:, :, ::SW]")),
    ("conv", "no ones for the bias", ("columns", "cols[-1] = 1", "cols[-1] = 0")),
    ("conv", "padding not cleared", ("_phases", "phases[...] = 0", "phases[...] = 1")),
    ("conv", "rows of a band from the first", ("columns", "_phase_by_phase(x, phases, rows.start,",
                                               "_phase_by_phase(x, phases, 0,")),
    ("conv", "dw of the last band", ("_kernels_gradient", "total[group] += product", "total[group] = product")),
    ("conv", "= for += where windows overlap", ("_input_gradient", "pixels += row", "pixels[...] = row")),
    ("conv", "dx of the first group for all", ("_input_gradient", "matmul(kernels[group].T", "matmul(kernels[0].T")),
    ("winograd", "tiles beside their places", ("_padded", "PH:PH + H, PW:PW + W", "PH:PH + H, :W")),
    ("winograd", "db of the last piece", ("backward", "db += ", "db[...] = ")),
    ("winograd", "dU of the last piece", ("backward", "dU += product", "dU[...] = product")),
    ("winograd", "overlap not added up", ("_added_up", "+= tiles[j]", "= tiles[j]")),
    ("pool", "ties to the last", ("maxpool_forward", "np.greater(candidate", "np.greater_equal(candidate")),
    ("pool", "a clipped window sees zeros", ("maxpool_forward", "phases[...] = -np.inf", "phases[...] = 0")),
    ("pool", "padding is the first of equals", ("maxpool_forward", "won[:, :OH, :OW] = first", "pass")),
    ("pool", "NaN is not looked for", ("maxpool_forward", "np.isnan(largest).any()", "False")),
    ("pool", "the first phase begins the map", ("_phase_by_phase", "(a - PH) % SH", "a")),
    ("pool", "padding above not skipped", ("_phase_by_phase", "(top + PH) // SH", "top // SH")),
    ("pool", "= for += in backward", ("maxpool_backward", "receiver += share", "receiver[...] = share")),
    ("pool", "means of what was there before", ("avgpool_forward", "total[...] = 0", "pass")),
    ("pool", "= for += in the mean's backward", ("avgpool_backward", "receiver += share", "receiver[...] = share")),
    ("pool", "a row too far", ("_windows", "i // SH * QW", "(i // SH + 1) * QW")),
    ("lrn", "window of n - 1", ("_window_sum", "np.add(pairs[:, :CG], terms[:, n - 1:], out=total)",
                                "total[...] = pairs[:, :CG]")),
    ("lrn", "no border between the groups", ("_terms", "terms[:, :h] = 0", "terms[:, :h] = terms[:, -1:]")),
    ("lrn", "the fourth root for the power", ("_power", "power *= fourth", "power *= 1")),
    ("lrn", "no cross term", ("lrn_backward", "dxs -= cross", "dxs -= 0 * cross")),
    ("linear", "the first units' bias for all", ("linear_forward", "+= b[units]", "+= b[:units.stop - units.start]")),
    ("linear", "db averaged", ("linear_backward", "np.sum(dy[:, units]", "np.mean(dy[:, units]")),
    ("activation", "leaky where it is positive", ("leaky_relu_forward", "np.maximum(x,", "np.minimum(x,")),
    ("dropout", "mask squared", ("dropout_backward", "dy, mask", "dy * mask, mask")),
    ("sgd", "decay on the new w", ("sgd_step_", "        v -= np.multiply(w, weight_decay * lr, out=product)",
                                   "        w += v\n        v -= np.multiply(w, weight_decay * lr, out=product)")),
    ("sgd", "the velocity grows", ("sgd_step_", "v *= momentum", "v *= 1 / momentum if momentum else 0")),
]


def mutant_rung(file, edits):
    """cpu with one file edited."""
    module = mutated(file, edits, cpu)
    if file == "winograd":
        conv = mutated("conv", (), cpu)
        conv.winograd, module = module, conv
    return types.SimpleNamespace(**{name: getattr(module, name, getattr(cpu, name)) for name in cpu.__all__})


@functools.cache
def right_numbers():
    return everything(arrays(dtype="float64"), ops)


def is_caught(file, *edits):
    rung = mutant_rung(file, edits)
    try:
        with np.errstate(all="ignore"):
            for case in CASES:
                if case.op in FILES[file]:
                    parity_check(rung, case)
                    gradient(rung, case)
            for result, expected in zip(everything(arrays(dtype="float64"), rung), right_numbers(), strict=True):
                np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-9)
    except AssertionError:
        return True
    return False


@functools.cache
def is_caught_unharmed(file):
    return is_caught(file)


@pytest.mark.parametrize("file, name, edit", MUTANTS, ids=[f"{m[0]}-{m[1]}".replace(" ", "_") for m in MUTANTS])
def test_mutant_is_caught(file, name, edit):
    assert not is_caught_unharmed(file)
    assert is_caught(file, edit)

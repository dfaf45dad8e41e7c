"""Bugs planted in the source of `cpu`: each must be seen by parity, by the gradients, or on arrays of many pieces."""

import functools
import types

import numpy as np
import pytest
from shape_table import CASES
from test_cpu import arrays, everything, make_pieces_small
from test_mutants import OPS_IN, gradient, mutated
from test_parity import parity_check

from tinynet import cpu, ops

FILES = {**OPS_IN, "winograd": ("conv2d",)}
MUTANTS = [  # (file, name, (function, old text, new text))
    ("conv", "columns of the wrong phase", ("columns", "p * phase", "0 * phase")),
    ("conv", "no ones for the bias", ("columns", "cols[:, -1] = 1", "cols[:, -1] = 0")),
    ("conv", "the first kernels' bias for all", ("conv2d_forward", "bias[group, some]",
                                                 "bias[group, :some.stop - some.start]")),
    ("conv", "padding not cleared", ("_phases", "phases[...] = 0", "phases[...] = 1")),
    ("conv", "rows of a band from the first", ("columns", "_phase_by_phase(x, phases, rows.start,",
                                               "_phase_by_phase(x, phases, 0,")),
    ("conv", "dw of the last band", ("_kernels_gradient", "total[group] += product", "total[group] = product")),
    ("conv", "dw of the last image", ("_kernels_gradient", "in products:", "in products[-1:]:")),
    ("conv", "= for += where windows overlap", ("_input_gradient", "pixels += row", "pixels[...] = row")),
    ("conv", "dx of the first group for all", ("_input_gradient", "matmul(kernels[group].T", "matmul(kernels[0].T")),
    ("winograd", "tiles beside their places", ("_band", "* m - left", "* m")),
    ("winograd", "tiles below their places", ("_Tiling.spread", "self.top:self.top + H])", ":H])")),
    ("winograd", "rows above not cleared", ("_Tiling.spread", "rows[:, :self.top], rows", "rows[:, :0], rows")),
    ("winograd", "rows below not cleared", ("_Tiling.spread", "rows[:, self.top + H:] = 0",
                                            "rows[:, len(rows[0]):] = 0")),
    ("winograd", "the first tiles of every row", ("_Tiling.spread", "_down(spread, some)",
                                                  "_down(spread, slice(some.stop - some.start))")),
    ("winograd", "a tile that reaches in from the left is left out", (
        "_Tiling.__init__", "slice(max(0, first), min(TW, last + 1))",
        "slice(max(0, pixels.start // m), min(TW, last + 1))")),
    ("winograd", "rows of dx from the first", ("_Tiling.gather", "[:, self.top:self.top + H]", "[:, :H]")),
    ("winograd", "products of other parts", ("_multiply", "_by_group(tiles, groups, parts)",
                                             "_by_group(tiles, groups, parts)[:, :, :, ::-1]")),
    ("winograd", "pixels in no block not cleared", ("_copy_pixels", "x[...] = 0", "x[...] = 1")),
    ("winograd", "no bias", ("forward", "+= b", "+= 0 * b")),
    ("winograd", "db of the last piece", ("backward", "db += ", "db[...] = ")),
    ("winograd", "dU of the last piece", ("backward", "dU += product", "dU[...] = product")),
    ("winograd", "overlap not added up", ("_overlapped", "] += some", "] = some")),
    ("winograd", "windows one pixel apart", ("_windows", "step * stride", "stride")),
    ("winograd", "padding of blocks not cleared", ("_blocks", "pixels[...] = 0", "pixels[...] = 1")),
    ("winograd", "blocks across before down", ("_kernels_of_blocks", "(0, 1, 3, 5, 2, 4)", "(0, 1, 5, 3, 2, 4)")),
    ("winograd", "dw of blocks across before down", ("_kernels_of_pixels", "(0, 1, 4, 2, 5, 3)", "(0, 1, 4, 3, 5, 2)")),
    ("pool", "ties to the last row", ("maxpool_forward", "np.greater(pixels", "np.greater_equal(pixels")),
    ("pool", "the row of another column", ("maxpool_forward", "np.add(rows[j], j,", "np.add(rows[0], j,")),
    ("pool", "ties to the last column", ("maxpool_forward", "range(KW):\n            np.not_equal(",
                                         "range(KW):\n            position[columns[j] == largest] = highest\n"
                                         "            np.not_equal(")),
    ("pool", "a clipped window sees zeros", ("maxpool_forward", "-np.inf)\n        down", "0)\n        down")),
    ("pool", "padding is the first of equals", ("maxpool_forward", "if any(pair(pad))", "if False")),
    ("pool", "NaN is not looked for", ("maxpool_forward", "np.isnan(y_maps[piece]).any()", "False")),
    ("pool", "a column is left out", ("maxpool_forward", "columns[1:-1]", "columns[2:-1]")),
    ("pool", "padding above not skipped", ("_padded", "PH:PH + H", "0:H")),
    ("pool", "a map that is narrower in backward", ("maxpool_backward", "* W + np.arange(KW)",
                                                    "* (W - 1) + np.arange(KW)")),
    ("pool", "= for += in backward", ("maxpool_backward", "np.add.at(maps.reshape(-1), address.reshape(-1)[::-1], "
                                      "dy_maps[piece].reshape(-1)[::-1])",
                                      "maps.reshape(-1)[address.reshape(-1)] = dy_maps[piece].reshape(-1)")),
    ("pool", "what was there before stays", ("maxpool_backward", "maps[...] = 0", "pass")),
    ("pool", "the mean of the last column", ("avgpool_forward", "total += column", "total[...] = column")),
    ("pool", "= for += in the mean's backward", ("avgpool_backward", "SW * OW:SW] += share", "SW * OW:SW] = share")),
    ("lrn", "window of n - 1", ("_window_sum", "np.add(pairs[:C], terms[n - 1:], out=total)",
                                "total[...] = pairs[:C]")),
    ("lrn", "no zeros before the first channel", ("_terms", "terms[:reach.start - before] = 0",
                                                  "terms[:reach.start - before] = terms[-1:]")),
    ("lrn", "a piece ends at its own channels", ("_terms", "min(CG, after)", "min(CG, channels.stop)")),
    ("lrn", "the fourth root for the power", ("_power", "power *= fourth", "power *= 1")),
    ("lrn", "no cross term", ("lrn_backward", "cross, out=dx_groups", "0 * cross, out=dx_groups")),
    ("lrn", "cross term not divided by scale", ("lrn_backward", "np.divide(own, scale[reach], out=inside)",
                                                "inside[...] = own")),
    ("lrn", "own term divided by scale once more", ("lrn_backward", "np.subtract(own[",
                                                    "np.subtract((own / scale[reach])[")),
    ("lrn", "own term of the channels before the piece", ("lrn_backward", "own[start:start + len(cross)]",
                                                          "own[:len(cross)]")),
    ("lrn", "windows across groups in backward", ("lrn_backward", "_by_group(a, groups)", "_by_group(a, 1)")),
    ("linear", "the first units' bias for all", ("linear_forward", "+= b[units]", "+= b[:units.stop - units.start]")),
    ("linear", "db averaged", ("linear_backward", "np.sum(dy[:, units]", "np.mean(dy[:, units]")),
    ("linear", "dx of the last block", ("linear_backward", "products.sum(axis=0)", "products[-1]")),
    ("linear", "the weights of another tile", ("linear_backward", "        tiles = _tiles(w[units], N) ",
                                               "        tiles = _tiles(w[units], N)[:, ::-1] ")),
    ("linear", "y of the first tile", ("linear_forward", "products.sum(axis=1)", "products[:, 0]")),
    ("activation", "leaky where it is positive", ("leaky_relu_forward", "np.maximum(x,", "np.minimum(x,")),
    ("activation", "leaky of y, not of dy", ("leaky_relu_backward", "np.multiply(slope, dy,", "np.multiply(slope, y,")),
    ("dropout", "mask squared", ("dropout_backward", "dy, mask", "dy * mask, mask")),
    ("sgd", "decay on the new w", ("sgd_step_", "        v -= np.multiply(w, weight_decay * lr, out=product)",
                                   "        w += v\n        v -= np.multiply(w, weight_decay * lr, out=product)")),
    ("sgd", "the velocity grows", ("sgd_step_", "v *= momentum", "v *= 1 / momentum if momentum else 0")),
]


def mutant_rung(file, edits):
    """cpu with one file edited."""
    module = mutated(file, edits, cpu)
    if file == "winograd":
        module.BAND_TILES, module.SMALL_PRODUCT = 4, 1 << 17
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


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    make_pieces_small(monkeypatch)


@pytest.mark.parametrize("file, name, edit", MUTANTS, ids=[f"{m[0]}-{m[1]}".replace(" ", "_") for m in MUTANTS])
def test_mutant_is_caught(file, name, edit):
    assert not is_caught_unharmed(file)
    assert is_caught(file, edit)

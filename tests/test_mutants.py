"""The test of the tests: bugs planted in the source of `ops`, each of which the checks must see.

A mutant is a file of `ops` with a text in one of its functions replaced by another, run as a module of its own: mutants
follow the code. All with wrong numbers are caught by the parity check; those whose backward is not the slope of their
forward by the gradient check too, which knows nothing of the reference; the contract and strict checks see the rest.
"""

import ast
import functools
import pathlib
import types
from typing import NamedTuple

import numpy as np
import pytest
from shape_table import CASES, OPS
from test_contract import contract_check, strict_check
from test_gradients import gradient_check
from test_parity import SMALL_COLUMNS, parity_check

import tinynet.ops


def gradient(rung, case):
    if case.smooth and case.has_backward:
        gradient_check(rung, case, samples=40)


CHECKS = {"parity": parity_check, "gradient": gradient, "contract": contract_check, "strict": strict_check}
BOTH = "parity gradient"
PARITY = "parity"  # right slope of a wrong function, or wrong only where there is no slope

OPS_IN = {
    "conv": ("conv2d", "im2col"), "pool": ("maxpool", "avgpool"), "lrn": ("lrn", "lrn_within"), "linear": ("linear",),
    "activation": ("relu", "leaky_relu", "tanh", "sigmoid"), "dropout": ("dropout",),
    "softmax": ("softmax_cross_entropy",), "sgd": ("sgd_step", "sgd_step_")}


class Mutant(NamedTuple):
    """`caught_by`: the checks that must see it; `edits`: (function, old text, new text); the old is there once."""

    file: str
    name: str
    caught_by: str
    edits: tuple


def in_file(file, *mutants):
    return [Mutant(file, name, caught_by, edits) for name, caught_by, *edits in mutants]


MUTANTS = [
    *in_file(
        "conv",
        ("kernel turned round in forward", BOTH,
         ("conv2d_forward", "= w.reshape(", "= w[:, :, ::-1, ::-1].reshape(")),
        ("kernel turned round for dx", BOTH,
         ("conv2d_backward", "= w.reshape(", "= w[:, :, ::-1, ::-1].reshape(")),
        ("kernel turned round everywhere", PARITY,
         ("conv2d_forward", "= w.reshape(", "= w[:, :, ::-1, ::-1].reshape("),
         ("conv2d_backward", "= w.reshape(", "= w[:, :, ::-1, ::-1].reshape("),
         ("conv2d_backward", "dkernels.reshape(w.shape)", "dkernels.reshape(w.shape)[:, :, ::-1, ::-1]")),
        ("dw turned round", BOTH,
         ("conv2d_backward", "dkernels.reshape(w.shape)", "dkernels.reshape(w.shape)[:, :, ::-1, ::-1]")),
        ("dx zeroed", BOTH,
         ("conv2d_backward", "dx[piece] = col2im", "dx[piece] = 0 * col2im")),
        ("dx from the wrong group", BOTH,
         ("conv2d_backward", "matmul(kernels.", "matmul(kernels[::-1].")),
        ("dw from the wrong group", BOTH,
         ("conv2d_backward", "matmul(dproduct, cols.", "matmul(dproduct, cols[::-1].")),
        ("y from the wrong group", BOTH,
         ("conv2d_forward", "matmul(kernels, cols)", "matmul(kernels, cols[::-1])")),
        ("images and kernels mixed up in y", BOTH,
         ("conv2d_forward", "product.reshape(K, -1, OH, OW).transpose(1, 0, 2, 3)", "product.reshape(-1, K, OH, OW)")),
        ("images and kernels mixed up in dy", BOTH,
         ("conv2d_backward", "dy[piece].transpose(1, 0, 2, 3)", "dy[piece]")),
        ("y of every piece from the first", BOTH,
         ("conv2d_forward", "im2col(x[piece]", "im2col(x[:len(x[piece])]")),
        ("dw of the last piece only", BOTH,
         ("conv2d_backward", "dkernels += ", "dkernels[:] = ")),
        ("dw without the last row when the stride does not divide", BOTH,
         ("conv2d_backward", "    dkernels = xp.zeros_like(kernels)",
          "    dkernels = xp.zeros_like(kernels)\n"
          "    rows = 1 if (x.shape[2] + 2 * pair(pad)[0] - KH) % pair(stride)[0] else 0\n"
          "    dy = dy * (xp.arange(OH).reshape(OH, 1) < OH - rows)")),
        ("db averaged", BOTH,
         ("conv2d_backward", ".sum(axis=0)", ".mean(axis=0)")),
        ("db of one pixel", BOTH,
         ("conv2d_backward", ".sum(axis=2)", "[:, :, 0]")),
        ("bias forgotten", BOTH,
         ("conv2d_forward", "y += b", "y += 0 * b")),
        ("= for += in col2im", BOTH,
         ("col2im", "+= cols", "= cols")),
        ("x laid down one padding too low", BOTH,
         ("im2col", "PH:PH + H,", "2 * PH:2 * PH + H,")),
        ("pixels of the window numbered column by column", BOTH,
         ("im2col", "cols[:, i, j] =", "cols.transpose(0, 2, 1, 3, 4, 5)[:, i % kw, j % kh] =")),
        ("ceil ignored", PARITY,
         ("conv2d_forward", "pad, groups, ceil)", "pad, groups)"),
         ("conv2d_forward", "stride, pad, ceil)", "stride, pad)")),
        ("dy written to", "parity contract",
         ("conv2d_backward", "dkernels = xp.zeros_like(kernels)", "dkernels = xp.zeros_like(kernels)\n    dy *= 2")),
        ("dx not contiguous", "contract",
         ("col2im", "xp.ascontiguousarray(padded[:, :, PH:PH + H, PW:PW + W])", "padded[:, :, PH:PH + H, PW:PW + W]")),
        ("dx of im2col in float64", "contract strict",
         ("col2im", ", cols.dtype)", ")")),
        ("a float64 on the way", "strict",
         ("conv2d_forward", "matmul(kernels, cols)", "matmul(kernels.astype('float64'), cols)")),
        ("a function that nobody has looked up in CuPy", "strict",
         ("col2im", "xp.ascontiguousarray(", "xp.asarray_chkfinite(")),
    ),
    *in_file(
        "pool",
        ("= for += in backward", BOTH,
         ("maxpool_backward", "+= xp.where", "= xp.where")),
        ("= for += where it won", BOTH,
         ("maxpool_backward", "+= xp.where(argmax == position, dy, 0)",
          "= xp.where(argmax == position, dy, padded[seen])")),
        ("gradient to every pixel of the window", BOTH,
         ("maxpool_backward", "argmax == position", "argmax == argmax")),
        ("gradient to the pixel after", BOTH,
         ("maxpool_backward", "argmax == position", "argmax == position + 1")),
        ("dx zeroed", BOTH,
         ("maxpool_backward", "position, dy, 0)", "position, 0 * dy, 0)")),
        ("nothing below 0", BOTH,
         ("maxpool_forward", "y = xp.full(y_shape, -np.inf, x.dtype)", "y = xp.zeros(y_shape, x.dtype)")),
        ("zeros in the padding and past the end", PARITY,
         ("maxpool_forward", "_padded(x, -np.inf,", "_padded(x, 0,")),
        ("x laid down at the top left of its padding", PARITY,
         ("_inside", "slice(PH, PH + H), slice(PW, PW + W)", "slice(H), slice(W)")),
        ("the padding is the first of equals", PARITY,
         ("first_positions", "xp.maximum(p - s * xp.arange(count), 0)", "0 * xp.arange(count)")),
        ("the first NaN wins", PARITY,
         ("maxpool_forward", "| xp.isnan(candidate)", "| xp.isnan(candidate) & ~xp.isnan(y)")),
        ("NaN wins only in y", PARITY,
         ("maxpool_forward", " | xp.isnan(candidate)", "")),
        ("a tie to the last", PARITY,
         ("maxpool_forward", "candidate > y", "candidate >= y")),
        ("pixels numbered column by column", PARITY,
         ("_positions", "    for i in range(KH):\n        for j in range(KW):",
          "    for j in range(KW):\n        for i in range(KH):")),
        ("ceil ignored", PARITY,
         ("maxpool_forward", "size, stride, pad, ceil)", "size, stride, pad)")),
        ("argmax in eight bytes", "parity",
         ("argmax_dtype", "np.min_scalar_type(KH * KW - 1)", "np.dtype(np.int64)")),
        ("dx not contiguous", "contract",
         ("maxpool_backward", "xp.ascontiguousarray(padded[_inside(in_shape, pad)])",
          "padded[_inside(in_shape, pad)]")),
        ("the sum, not the mean", BOTH,
         ("avgpool_backward", "dy / counts.astype(dy.dtype)", "dy")),
        ("= for += in the mean's backward", BOTH,
         ("avgpool_backward", "+= share", "= share")),
        ("a clipped window divided by the whole", PARITY,
         ("window_counts", "xp.minimum(s * xp.arange(count) - p + k, length)", "s * xp.arange(count) - p + k")),
        ("a padded window divided by the whole", PARITY,
         ("window_counts", "xp.maximum(s * xp.arange(count) - p, 0)", "(s * xp.arange(count) - p)")),
        ("rows counted as columns", PARITY,
         ("window_counts", "rows[:, None] * columns", "rows[:, None] * rows[0] + 0 * columns")),
        ("a float64 on the way", "strict",
         ("avgpool_forward", ".astype(x.dtype)", "")),
    ),
    *in_file(
        "lrn",
        ("window of n - 2", PARITY,
         ("window_sum", "n // 2 + 1", "n // 2")),
        ("window of n + 2", PARITY,
         ("window_sum", "n // 2 + 1", "n // 2 + 2")),
        ("window of n - 1, the same way in both directions", BOTH,
         ("window_sum", "sums[step:] +=", "sums[step:] += (step < n // 2) *")),
        ("window goes round the edge", PARITY,
         ("window_sum", "sums[step:] += terms[:-step]", "sums += xp.roll(terms, step, axis=0)")),
        ("sums of sums", BOTH,
         ("window_sum", "total = a.copy()", "total = a")),
        ("cross term missing", BOTH,
         ("lrn_backward", "dx -= 2 *", "dx -= 0 *")),
        ("cross term with the wrong sign", BOTH,
         ("lrn_backward", "dx -= 2 *", "dx += 2 *")),
        ("factor 2 missing", BOTH,
         ("lrn_backward", "dx -= 2 *", "dx -=")),
        ("alpha missing", BOTH,
         ("lrn_backward", "2 * alpha * beta", "2 * beta")),
        ("beta missing", BOTH,
         ("lrn_backward", "2 * alpha * beta", "2 * alpha")),
        ("cross term without the neighbours", BOTH,
         ("lrn_backward", "scale, n, groups)", "scale, 1, groups)")),
        ("cross term not divided by scale", BOTH,
         ("lrn_backward", "dx * x / scale", "dx * x")),
        ("cross term from x, not from y", BOTH,
         ("lrn_backward", "dx * x / scale", "dy * x / scale")),
        ("own term without the power", BOTH,
         ("lrn_backward", "    dx -= 2", "    dx = dy / scale\n    dx -= 2")),
        ("own term divided by scale once more", BOTH,
         ("lrn_backward", "    dx -= 2", "    dx /= scale\n    dx -= 2")),
        ("both terms without the power", BOTH,
         ("lrn_backward", "dy * scale**-beta", "dy / scale")),
        ("multiplied by the power", BOTH,
         ("lrn_forward", "scale**-beta", "scale**beta")),
        ("alpha divided by n in forward", BOTH,
         ("lrn_forward", "k + alpha", "k + alpha / n")),
        ("alpha divided by n everywhere", PARITY,
         ("lrn_forward", "k + alpha", "k + alpha / n"),
         ("lrn_backward", "2 * alpha", "2 * alpha / n")),
        ("energy not squared", BOTH,
         ("lrn_forward", "x * x", "abs(x)")),
        ("window across groups in forward", BOTH,
         ("lrn_forward", "x * x, n, groups", "x * x, n, 1")),
        ("window across groups in backward", BOTH,
         ("lrn_backward", "dx * x / scale, n, groups", "dx * x / scale, n, 1")),
        ("window across groups everywhere", PARITY,
         ("lrn_forward", "x * x, n, groups", "x * x, n, 1"),
         ("lrn_backward", "dx * x / scale, n, groups", "dx * x / scale, n, 1")),
        ("within: window down, not across", PARITY,
         ("map_window_sum", "window_sum(window_sum(a, n, axis=2), n, axis=3)", "window_sum(a, n, axis=2)")),
        ("within: a cross instead of a square", PARITY,
         ("map_window_sum", "window_sum(window_sum(a, n, axis=2), n, axis=3)",
          "window_sum(a, n, axis=2) + window_sum(a, n, axis=3)")),
        ("within: energy of the neighbours only", BOTH,
         ("lrn_within_forward", "map_window_sum(x * x, n)", "(map_window_sum(x * x, n) - x * x)")),
        ("within: cross term missing", BOTH,
         ("lrn_within_backward", "dx -= 2 *", "dx -= 0 *")),
        ("within: factor 2 missing", BOTH,
         ("lrn_within_backward", "dx -= 2 *", "dx -=")),
        ("within: cross term from x, not from y", BOTH,
         ("lrn_within_backward", "dx * x / scale", "dy * x / scale")),
        ("within: cross term not divided by scale", BOTH,
         ("lrn_within_backward", "dx * x / scale", "dx * x")),
        ("within: own term divided by scale once more", BOTH,
         ("lrn_within_backward", "    dx -= 2", "    dx /= scale\n    dx -= 2")),
        ("x written to", "contract",
         ("lrn_forward", "    scale = ", "    x *= 1.5\n    scale = ")),
    ),
    *in_file(
        "activation",
        ("relu: gate on dy", BOTH,
         ("relu_backward", "(y > 0)", "(dy > 0)")),
        ("relu: no gate", BOTH,
         ("relu_backward", "(y > 0)", "(y >= 0)")),
        ("relu: absolute value", BOTH,
         ("relu_forward", "maximum(x, 0)", "maximum(x, -x)")),
        ("leaky relu: not leaky in backward", BOTH,
         ("leaky_relu_backward", "slope * dy", "0 * dy")),
        ("leaky relu: gate on dy", BOTH,
         ("leaky_relu_backward", "y > 0", "dy > 0")),
        ("leaky relu: sides exchanged", BOTH,
         ("leaky_relu_forward", "x > 0", "x < 0")),
        ("leaky relu: slope 1 at 0", PARITY,
         ("leaky_relu_backward", "y > 0", "y >= 0")),
        ("tanh: 1 - y", BOTH,
         ("tanh_backward", "1 - y * y", "1 - y")),
        ("tanh: 1 + y^2", BOTH,
         ("tanh_backward", "1 - y * y", "1 + y * y")),
        ("sigmoid: without 1 - y", BOTH,
         ("sigmoid_backward", "y * (1 - y)", "y")),
        ("sigmoid: twice as steep", BOTH,
         ("sigmoid_forward", "tanh(0.5 * x)", "tanh(x)")),
    ),
    *in_file(
        "linear",
        ("dw with its roles exchanged", BOTH,
         ("linear_backward", "dy.T @ x", "(x.T @ dy).reshape(w.shape)")),
        ("dw averaged", BOTH,
         ("linear_backward", "dy.T @ x", "dy.T @ x / len(x)")),
        ("db averaged", BOTH,
         ("linear_backward", "dy.sum(", "dy.mean(")),
        ("dx zeroed", BOTH,
         ("linear_backward", "dy @ w", "0 * (dy @ w)")),
        ("dx by the columns of w", BOTH,
         ("linear_backward", "dy @ w", "dy @ w.T.reshape(w.shape)")),
        ("y by the columns of w", BOTH,
         ("linear_forward", "w.T", "w.reshape(w.T.shape)")),
        ("bias forgotten", BOTH,
         ("linear_forward", "+ b", "+ 0 * b")),
    ),
    *in_file(
        "dropout",
        ("mask not applied in backward", BOTH,
         ("dropout_backward", "mask)", "1)")),
        ("scale missing in backward", BOTH,
         ("dropout_backward", "mask)", "mask > 0)")),
        ("scale missing everywhere", PARITY,
         ("dropout_forward", "x * mask", "x * (mask > 0)")),
        ("mask turned round", PARITY,
         ("dropout_forward", "x * mask", "x * (1 - mask)")),
    ),
    *in_file(
        "softmax",
        ("gradient not divided by N", BOTH,
         ("softmax_cross_entropy_backward", "(probs - onehot) / N", "probs - onehot")),
        ("gradient divided by the classes", BOTH,
         ("softmax_cross_entropy_backward", "(probs - onehot) / N", "(probs - onehot) / C")),
        ("gradient with the wrong sign", BOTH,
         ("softmax_cross_entropy_backward", "(probs - onehot) / N", "(onehot - probs) / N")),
        ("gradient without the label", BOTH,
         ("softmax_cross_entropy_backward", "(probs - onehot) / N", "probs / N")),
        ("loss summed", BOTH,
         ("softmax_cross_entropy_forward", "losses.mean()", "losses.sum()")),
        ("every label looked up in the first row", BOTH,
         ("softmax_cross_entropy_forward", "shifted[xp.arange(N), labels]", "shifted[0, labels]")),
        ("not stable", PARITY,
         ("softmax_cross_entropy_forward", "logits - logits.max(axis=1, keepdims=True)", "logits - 0")),
        ("stable by the largest of the whole batch", PARITY,
         ("softmax_cross_entropy_forward", "logits.max(axis=1, keepdims=True)", "logits.max()")),
    ),
    *in_file(
        "sgd",
        ("momentum with the wrong sign", PARITY,
         ("sgd_step_", "v *= momentum", "v *= -momentum")),
        ("up the slope", PARITY,
         ("sgd_step_", "v -= lr * dw", "v += lr * dw")),
        ("decay without lr", PARITY,
         ("sgd_step_", "(weight_decay * lr) * w", "weight_decay * w")),
        ("decay with the wrong sign", PARITY,
         ("sgd_step_", "v -= (weight_decay", "v += (weight_decay")),
        ("decay outside the velocity", PARITY,
         ("sgd_step_", "v -= (weight_decay", "w -= (weight_decay")),
        ("decay on the new w", PARITY,
         ("sgd_step_", "v -= (weight_decay * lr) * w", "v -= 0"),
         ("sgd_step_", "w += v", "w += v\n    v -= (weight_decay * lr) * w")),
        ("Nesterov's momentum", PARITY,
         ("sgd_step_", "w += v", "w += momentum * v - lr * dw")),
        ("the velocity in units of the gradient, as PyTorch has it", PARITY,
         ("sgd_step_", "v -= (weight_decay * lr) * w", "v += weight_decay * w"),
         ("sgd_step_", "v -= lr * dw", "v += dw"),
         ("sgd_step_", "w += v", "w -= lr * v")),
        ("writes to the velocity it was given", "contract",
         ("sgd_step", "w.copy(), v.copy()", "w.copy(), v")),
    ),
]


def mutated(file, edits, package=tinynet.ops):
    """The edited file of the package as a module."""
    source = (pathlib.Path(package.__file__).parent / f"{file}.py").read_text(encoding="utf-8")
    for function, old, new in edits:
        node = ast.parse(source)
        for name in function.split("."):  # "function" or "Class.method"
            node = next(inner for inner in node.body
                        if isinstance(inner, ast.FunctionDef | ast.ClassDef) and inner.name == name)
        text = ast.get_source_segment(source, node)
        code = text.rpartition('"""')[2]  # not what the docstring says of it
        assert code.count(old) == 1, f"{function} has {old!r} {code.count(old)} times. Let the mutant follow the code"
        source = source.replace(text, text.removesuffix(code) + code.replace(old, new))
    module = types.ModuleType(f"mutant_of_{file}")
    exec(compile(source, f"mutant of {file}.py", "exec"), vars(module))
    return module


def as_rungs(module):
    """The rest of ops around this module: as it is and, if it works piece by piece, with pieces of a few images."""
    rung = types.SimpleNamespace(**{name: getattr(module, name, getattr(tinynet.ops, name))
                                    for name in tinynet.ops.__all__})
    yield rung
    if hasattr(module, "COLUMN_BYTES"):
        for module.COLUMN_BYTES in SMALL_COLUMNS:
            yield rung


def first_objection(check, file, edits):
    """What the check says of the first case that it does not let through; None if it lets all through."""
    for rung in as_rungs(mutated(file, edits)):
        for case in CASES:
            if case.op in OPS_IN[file]:
                try:
                    with np.errstate(all="ignore"):
                        CHECKS[check](rung, case)
                except AssertionError as objection:
                    return str(objection) or "an assertion"
    return None


@functools.cache
def objection_without_mutant(check, file):
    return first_objection(check, file, ())


@pytest.mark.parametrize("mutant", [
    pytest.param(mutant, id=f"{mutant.file}-{mutant.name.replace(' ', '_')}") for mutant in MUTANTS])
def test_mutant_is_caught(mutant):
    for check in mutant.caught_by.split():
        assert objection_without_mutant(check, mutant.file) is None
        assert first_objection(check, mutant.file, mutant.edits), f"{check} lets it through"


def test_every_op_has_mutants():
    assert {mutant.file for mutant in MUTANTS} == set(OPS_IN)
    assert {op for ops in OPS_IN.values() for op in ops} == set(OPS)

"""Checks of exercises: a stub fails politely, the solution passes, and each typical mistake gets its own hint."""

import ast
import importlib
import linecache
import os
import pathlib
import pkgutil
import re
import signal
import threading
import time

import numpy as np
import pytest

import tinynet
from tinynet import exercises
from tinynet.exercises import check
from tinynet.exercises.check import Case, judge

LESSONS = pathlib.Path(__file__).parents[1] / "lessons"
CHECKS = [name for name in exercises.__all__ if name.startswith("check_")]


def functions_in(path):
    """{name: source} of the functions that a file defines."""
    source = path.read_text(encoding="utf-8")
    return {node.name: ast.get_source_segment(source, node) for node in ast.parse(source).body
            if isinstance(node, ast.FunctionDef)}


SOLUTIONS = {name: text for path in sorted((LESSONS / "solutions").glob("*.py"))
             for name, text in functions_in(path).items()}
STUBS = {name: text for path in sorted(LESSONS.glob("[0-9]*.py")) for name, text in functions_in(path).items()
         if name in SOLUTIONS}
EXERCISES = [pytest.param(text, id=name) for path in sorted(LESSONS.glob("[0-9]*.py"))
             for text in re.split(r"^# %%.*$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
             for name in re.findall(r"exercises\.(check_\w+)", text)]


def made(text):
    names, file = {"np": np, "tinynet": tinynet}, f"<cell {hash(text)}>"
    linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file  # as a notebook does
    exec(compile(text, file, "exec"), names)
    return names[re.match(r"def (\w+)", text)[1]]


def verdict(name, *edits):
    """What the check of that name says of the solution with these edits: (old, new)."""
    text = SOLUTIONS[name]
    for old, new in edits:
        assert text.count(old) == 1, f"{name} has {old!r} {text.count(old)} times. Let the mistake follow the solution"
        text = text.replace(old, new)
    with np.errstate(all="ignore"):  # mistakes divide by zero, and are told so by the check
        return getattr(exercises, f"check_{name}")(made(text))


@pytest.mark.parametrize("name", CHECKS)
def test_the_solution_passes(name):
    answer = verdict(name.removeprefix("check_"))
    assert answer and re.fullmatch(r"Right: (\d+) of \1 cases\.", repr(answer))


@pytest.mark.parametrize("name", CHECKS)
def test_what_is_not_written_yet_fails_politely(name):
    for stub in (made(STUBS[name.removeprefix("check_")]), lambda *_: ...):
        answer = getattr(exercises, name)(stub)
        assert not answer and repr(answer).startswith("Not yet: your function returns nothing.")


@pytest.mark.parametrize("cell", EXERCISES)
def test_an_exercise_runs_by_itself_in_a_fresh_kernel(cell):
    names = {}
    exec(cell, names)
    assert "np" in names


def test_every_check_has_one_exercise():
    assert sorted(param.id for param in EXERCISES) == sorted(CHECKS)


def in_order(chosen):
    """Edits after which the top-k error looks for the label in these k classes."""
    return ("ahead = np.sum(score >= score[label]) - 1", f"first = {chosen}"), ("ahead >= k", "label not in first")


MISTAKES = [
    ("output_size", "so add 1", (" + 1", "")),
    ("output_size", "counts twice", ("2 * pad", "pad")),
    ("output_size", "padding is forgotten", ("+ 2 * pad ", "")),
    ("output_size", "round down", ("(size + 2 * pad - kernel) // stride", "-(-(size + 2 * pad - kernel) // stride)")),
    ("output_size", "divide with //", ("//", "/")),
    ("output_size", "round() goes to the nearest", ("(size + 2 * pad - kernel) // stride",
                                                    "round((size + 2 * pad - kernel) / stride)")),
    ("conv_parameters", "a bias too", ("weights + biases", "weights")),
    ("conv_parameters", "one bias for each kernel", ("biases = kernels", "biases = 1")),
    ("conv_parameters", "channels of its group", ("(channels // groups)", "channels")),
    ("conv_parameters", "size pixels high", ("* size * size", "* size")),
    ("conv_parameters", "spans all channels", ("* (channels // groups)", "")),
    ("conv_parameters", "do not divide the kernels", ("kernels * (", "kernels // groups * (")),
    ("conv_parameters", "do not divide the kernels", ("kernels * (", "kernels // groups * ("),
     ("biases = kernels", "biases = kernels // groups")),
    ("convolve", "kernel was flipped", ("KW] * w", "KW] * w[::-1, ::-1]")),
    ("convolve", "kernel was transposed", ("KW] * w", "KW] * w.T"), ("(KH, KW) = x.shape, w.shape",
                                                                     "(KH, KW) = x.shape, w.T.shape")),
    ("convolve", "stride is ignored", ("i * stride, j * stride", "i, j"),
     ("(H - KH) // stride + 1, (W - KW) // stride + 1", "H - KH + 1, W - KW + 1")),
    ("convolve", "begin at i and j", ("i * stride, j * stride", "i, j")),
    ("convolve", "this is their mean", ("np.sum(", "np.mean(")),
    ("convolve", "n steps make n + 1", ("(H - KH) // stride + 1, (W - KW) // stride + 1",
                                        "(H - KH) // stride, (W - KW) // stride")),
    ("convolve", "is float64; it should be float32", (", x.dtype", "")),
    ("convolve", "KW] * w)`, with IndexError", ("(H - KH) // stride + 1, (W - KW) // stride + 1", "0, 0"),
     ("range(OH)", "range(2)"), ("range(OW)", "range(2)")),
    ("convolve", "changed its arguments", ("    y = np", "    x[0, 0] = 7\n    y = np")),
    ("convolve", "the result has shape (2,), it should have (2, 2)", ("return y", "return y[0]")),
    ("kernel_gradient", "result is flipped", ("return dw", "return dw[::-1, ::-1]")),
    ("kernel_gradient", "result is transposed", ("return dw", "return dw.T")),
    ("kernel_gradient", "this is their mean", ("return dw", "return dw / dy.size")),
    ("kernel_gradient", "only the last window", ("dw +=", "dw[:] =")),
    ("kernel_gradient", "next to each other", ("i * stride, j * stride", "i, j")),
    ("kernel_gradient", "dL/dw is dy times x, the", ("left + KW]", "left + KW] * w")),
    ("kernel_gradient", "you left out dy", ("dy[i, j] * ", "")),
    ("lrn", "sum of squares", ("1]**2", "1]")),
    ("lrn", "this one is wider", ("max(0, c - n // 2):c + n // 2 + 1", "max(0, c - n):c + n + 1")),
    ("lrn", "one channel too early", ("n // 2 + 1", "n // 2")),
    ("lrn", "goes round the edge", ("x[max(0, c - n // 2):c + n // 2 + 1]",
                                    "np.take(x, range(c - n // 2, c + n // 2 + 1), axis=0, mode='wrap')")),
    ("lrn", "its own window", ("axis=0)", "axis=0) - x[c]**2")),
    ("lrn", "may be empty: begin at max(0", ("max(0, c - n // 2)", "c - n // 2")),
    ("lrn", "that of the channel alone", ("np.sum(x[max(0, c - n // 2):c + n // 2 + 1]**2, axis=0)", "x[c]**2")),
    ("lrn", "beta is a power", ("(k + alpha * energy)**beta", "(k + alpha * energy * beta)")),
    ("lrn", "beta is a power", ("**beta", " / beta")),
    ("lrn", "not over the whole map", ("x[max(0, c - n // 2):c + n // 2 + 1]**2, axis=0)", "x[c]**2)")),
    ("lrn", "alpha / n", ("alpha *", "alpha / n *")),
    ("lrn", "it goes over k as well", ("(k + alpha * energy)**beta", "(k + alpha * energy**beta)")),
    ("lrn", "it goes over k as well", ("(k + alpha * energy)**beta", "(k + alpha * energy**(2 * beta))")),
    ("lrn", "it goes over k as well", ("x[max(0, c - n // 2):c + n // 2 + 1]**2",
                                       "(x[max(0, c - n // 2):c + n // 2 + 1]**2)**beta"), ("gy)**beta", "gy)")),
    ("lrn", "has the power beta", ("**beta", "")),
    ("lrn", "write to a new array", ("np.empty_like(x)", "x = x.copy()")),
    ("lrn_gradient", "in the energy of its neighbours", ("own[c] - others", "own[c]")),
    ("lrn_gradient", "changes its own y", ("own[c] - others", "-others")),
    ("lrn_gradient", "more energy makes the", ("own[c] - others", "own[c] + others")),
    ("lrn_gradient", "factor of 2", ("2 * alpha", "alpha")),
    ("lrn_gradient", "alpha is missing", ("2 * alpha *", "2 *")),
    ("lrn_gradient", "beta is missing", ("* beta * x", "* x")),
    ("max_pool", "mean of each window", ("np.max(", "np.mean(")),
    ("max_pool", "smallest of each", ("np.max(", "np.min(")),
    ("max_pool", "largest absolute value", ("np.max(x", "np.max(abs(x)")),
    ("max_pool", "begin with -inf", ("np.max(x[top:top + size, left:left + size]",
                                     "max(0, x[top:top + size, left:left + size].max()")),
    ("max_pool", "not `size`: they overlap", ("i * stride, j * stride", "i * size, j * size"),
     ("(H - size) // stride + 1, (W - size) // stride + 1", "H // size, W // size")),
    ("max_pool", "the stride is ignored", ("    H, W", "    stride = 1\n    H, W")),
    ("max_pool", "begin at i and j", ("i * stride, j * stride", "i, j")),
    ("max_pool", "`stride` pixels wide", ("top + size, left:left + size", "top + stride, left:left + stride")),
    ("max_pool_gradient", "gradients of all", ("+= dy", "= dy")),
    ("max_pool_gradient", "you divided the gradient", ("dx[top + row, left + column] += dy[i, j]",
                                                      "dx[top:top + size, left:left + size] += dy[i, j] / size**2")),
    ("max_pool_gradient", "every pixel of the window", ("dx[top + row, left + column] += dy[i, j]",
                                                        "dx[top:top + size, left:left + size] += dy[i, j]")),
    ("max_pool_gradient", "here each of them does", (
        "dx[top + row, left + column] += dy[i, j]",
        "dx[top:top + size, left:left + size] += dy[i, j] * (window == window.max())")),
    ("max_pool_gradient", "here it is the last", ("np.argmax(window)",
                                                  "window.size - 1 - np.argmax(window.ravel()[::-1])")),
    ("max_pool_gradient", "not 1", ("+= dy[i, j]", "+= 1")),
    ("conv_macs", "channels of its group: channels // groups", ("(channels // groups)", "channels")),
    ("conv_macs", "you counted the weights", ("out * out * ", "")),
    ("conv_macs", "do not divide the kernels", ("kernels * out", "kernels // groups * out")),
    ("conv_macs", "not out", ("out * out", "out")),
    ("conv_macs", "the work of one", ("kernels * out", "out")),
    ("conv_macs", "adding a bias is not a", ("* weights", "* (weights + 1)")),
    ("receptive_field", "kernel - 1 jumps", ("(kernel - 1)", "kernel")),
    ("receptive_field", "from the next layer on", ("field += (kernel - 1) * jump\n        jump *= stride",
                                                  "jump *= stride\n        field += (kernel - 1) * jump")),
    ("receptive_field", "strides multiply", ("jump *= stride", "jump = jump + stride if jump > 1 else stride")),
    ("receptive_field", "you left out the strides", ("jump *= stride", "pass")),
    ("receptive_field", "you returned the jump", ("return field", "return jump")),
    ("network_parameters", "each unit has a bias", ("size**2 + kernels", "size**2"), ("inputs + outputs", "inputs")),
    ("network_parameters", "a kernel sees only the channels of its group", ("(channels // groups)", "channels")),
    ("network_parameters", "the next one's channels", ("        channels = kernels", "        pass"),
     ("inputs = channels", "inputs = kernels")),
    ("network_parameters", "every pixel of the last maps", ("channels * side**2", "channels")),
    ("network_parameters", "layers are missing", ("        total += outputs", "        outputs")),
    ("slopes_of", "one side only", ("        left[index] -= h\n", ""), ("(2 * h)", "h")),
    ("slopes_of", "the distance from x - h", ("(2 * h)", "h")),
    ("slopes_of", "the sign is reversed", ("f(right) - f(left)", "f(left) - f(right)")),
    ("slopes_of", "you nudged all elements", ("right[index]", "right"), ("left[index]", "left")),
    ("slopes_of", "restore each element", ("(x)\n    for", "(x)\n    x = x.copy()\n    for"),
     ("right, left = x.copy(), x.copy()", "right = x"), ("f(right) - f(left)", "above - f(right)"),
     ("left[index] -= h", "above = f(right)\n        x[index] -= 2 * h")),
    ("relative_error", "that is the absolute difference", ("difference / np.sqrt(np.sum(numeric**2))", "difference")),
    ("relative_error", "worst of the single", ("difference / np.sqrt(np.sum(numeric**2))",
                                               "np.max(abs(analytic - numeric) / abs(numeric))")),
    ("relative_error", "divide by the length of", ("np.sum(numeric**2)", "np.sum(analytic**2)")),
    ("relative_error", "root of the sum", ("np.sqrt(np.sum((analytic - numeric)**2))",
                                           "np.sum((analytic - numeric)**2)"),
     ("np.sqrt(np.sum(numeric**2))", "np.sum(numeric**2)")),
    ("relative_error", "cancel", ("np.sqrt(np.sum((analytic - numeric)**2))", "abs(np.sum(analytic - numeric))"),
     ("np.sqrt(np.sum(numeric**2))", "abs(np.sum(numeric))")),
    ("relative_error", "if both gradients are all", ("    if difference == 0:\n        return 0.0\n", "")),
    ("gradient_is_right", "with an upstream", ("np.random.default_rng(0).standard_normal", "np.ones")),
    ("gradient_is_right", "only sums or means", ("difference = backward(dy, x) - numeric",
                                                 "difference = backward(dy, x).sum() - numeric.sum()"),
     ("np.linalg.norm(difference)", "abs(difference)")),
    ("gradient_is_right", "relative to its size", (" * np.linalg.norm(numeric)", "")),
    ("gradient_is_right", "pass atol=0", ("np.linalg.norm(difference) <= 1e-6 * np.linalg.norm(numeric)",
                                          "np.allclose(backward(dy, x), numeric)")),
    ("gradient_is_right", "an error of one", ("1e-6", "1e-2")),
    ("gradient_is_right", "you call a right gradient wrong", ("        left[index] -= h\n", ""), ("(2 * h)", "h")),
    ("gradient_is_right", "you call a wrong gradient right", ("backward(dy, x) - numeric", "0 * numeric")),
    ("new_velocity", "up the gradient; subtract", ("- lr * dw", "+ lr * dw")),
    ("new_velocity", "makes weights grow", ("- weight_decay", "+ weight_decay")),
    ("new_velocity", "the decay is forgotten", ("- weight_decay * lr * w ", "")),
    ("new_velocity", "the weight decay is", ("weight_decay * lr * w", "weight_decay * w")),
    ("new_velocity", "you left out the old velocity: keep", ("momentum * v ", "")),
    ("new_velocity", "by 1 - momentum", ("- weight_decay * lr * w - lr * dw",
                                         "- (1 - momentum) * (weight_decay * lr * w + lr * dw)")),
    ("new_velocity", "lr does not multiply it again", ("momentum * v", "lr * momentum * v")),
    ("new_velocity", "return the new v", ("return ", "return w + ")),
    ("pytorch_steps", "that is the paper's form", ("momentum * b + dw", "momentum * b + lr * dw"), ("lr * b\n", "b\n")),
    ("pytorch_steps", "no memory", ("momentum * b + dw", "dw")),
    ("pytorch_steps", "stays at the first", ("w - lr * b", "w - lrs[0] * b")),
    ("pytorch_steps", "last step is missing", ("zip(dws, lrs)", "zip(dws[:-1], lrs)")),
    ("pytorch_steps", "this step goes up the", ("w - lr * b", "w + lr * b")),
    ("signal_between", "spread between units", ("axis=0", "axis=1")),
    ("signal_between", "all numbers together", ("axis=0", "")),
    ("signal_between", "that is the variance", ("y.std", "y.var")),
    ("signal_between", "ddof=1 divides by N - 1", ("axis=0", "axis=0, ddof=1")),
    ("signal_between", "divide the spread by the", (" / np.mean(y)", "")),
    ("signal_between", "your fraction is inverted", ("np.mean(spread) / np.mean(y)", "np.mean(y) / np.mean(spread)")),
    ("versions", "2048 of the paper", (" + 1", "")),
    ("versions", "mirror images double the", (" * 2", "")),
    ("versions", "down and across", ("offsets * offsets * 2", "offsets * 2")),
    ("longest_axis", "the mean colour is still", ("colours - colours.mean(axis=1, keepdims=True)", "colours")),
    ("longest_axis", "smallest variance", ("np.argmax(eigenvalues)", "0")),
    ("longest_axis", "that is a row", ("vectors[:, np.argmax(eigenvalues)]", "vectors[np.argmax(eigenvalues)]")),
    ("longest_axis", "turn it so", ("return axis", "return -axis")),
    ("longest_axis", "turn it so", (" * np.sign(axis[np.argmax(abs(axis))])", "")),
    ("longest_axis", "need not be the first", ("axis[np.argmax(abs(axis))]", "axis[0]")),
    ("longest_axis", "length 1", ("return axis", "return eigenvalues[2] * axis")),
    ("colour_shift", "their square roots", ("np.sqrt(eigenvalues)", "eigenvalues")),
    ("colour_shift", "takes its rows", ("vectors @", "vectors.T @")),
    ("colour_shift", "deviations are missing", (" * np.sqrt(eigenvalues)", "")),
    ("colour_shift", "steps along the axes", ("vectors @", "")),
    ("colour_shift", "multiply by it again", ("vectors @", "0.1 * vectors @")),
    ("average_views", "softmax of the mean logits", (
        "    exps", "    logits = logits.mean(axis=0, keepdims=True)\n    exps")),
    ("average_views", "these are logits", ("return probs", "return logits")),
    ("average_views", "added up", ("probs.mean", "probs.sum")),
    ("average_views", "you took the maximum over", ("probs.mean", "probs.max")),
    ("average_views", "goes over the views", ("exps.sum(axis=1", "exps.sum(axis=0"),
     ("logits.max(axis=1, keepdims=True)", "logits.max()")),
    ("to_batch", "that is a reshape", (".transpose(0, 3, 1, 2)", ".reshape(len(pictures), *mean.shape)")),
    ("to_batch", "uint8 numbers wrap", (".astype(np.float32)", ""), ("- mean", "- mean.astype(np.uint8)")),
    ("to_batch", "rows and columns are", ("(0, 3, 1, 2)", "(0, 3, 2, 1)")),
    ("to_batch", "the mean image is not", (" - mean", "")),
    ("to_batch", "subtracts the mean of the batch", ("- mean", "- x.mean(axis=0)")),
    ("to_batch", "one number from all pixels", ("- mean", "- mean.mean()")),
    ("to_batch", "is float64; it should be float32", ("np.float32", "np.float64")),
    ("middle_square", "corner at the top left", ("(H - size) // 2, (W - size) // 2", "0, 0")),
    ("middle_square", "computed from the height", ("(W - size)", "(H - size)")),
    ("middle_square", "round down", ("(H - size) // 2, (W - size) // 2", "(H - size + 1) // 2, (W - size + 1) // 2")),
    ("middle_square", "channels first", ("_, H, W", "H, W, _"), ("picture[:, top:top + size, left:left + size]",
                                                                 "picture[top:top + size, left:left + size]")),
    ("top_k_error", "that is the share that", ("return wrong / len(labels)", "return 1 - wrong / len(labels)")),
    ("top_k_error", "divide by N", (" / len(labels)", "")),
    ("top_k_error", "a tie counts against", ("np.sum(score >= score[label]) - 1", "np.sum(score > score[label])")),
    ("top_k_error", "not ahead of itself", (" - 1", "")),
    ("top_k_error", "k smallest", (">= score[label]", "<= score[label]")),
    ("top_k_error", "whatever k is", ("ahead >= k", "ahead >= 1")),
    ("top_k_error", "argsort puts equal scores", *in_order("np.argsort(-score)[:k]")),
    ("top_k_error", "argsort puts equal scores", *in_order("np.argsort(score)[-k:]")),
    ("top_k_error", "argsort puts equal scores", *in_order("np.argsort(score)[::-1][:k]")),
    ("top_k_error", "k smallest", *in_order("np.argsort(score)[:k]")),
    ("relu_gradient", "x > 0, not x >= 0", ("x > 0", "x >= 0")),
    ("relu_gradient", "that is the ReLU of x", ("dy * (x > 0)", "np.maximum(x, 0)")),
    ("relu_gradient", "you left out dy", ("dy *", "1.0 *")),
    ("relu_gradient", "sign of dy", ("(x > 0)", "(dy > 0)")),
    ("relu_gradient", "you multiplied dy by x", ("(x > 0)", "np.maximum(x, 0)")),
    ("tanh_gradient", "y is squared", ("y**2", "y")),
    ("tanh_gradient", "once too often", ("y**2", "np.tanh(y)**2")),
    ("tanh_gradient", "slope of the sigmoid", ("(1 - y**2)", "y * (1 - y)")),
    ("tanh_gradient", "you left out dy", ("dy * ", "")),
    ("chain_gradient", "by its weight as well", ("w * y *", "y *")),
    ("chain_gradient", "computed from its input", ("y * (1 - y)", "x * (1 - x)")),
    ("chain_gradient", "slope of tanh", ("y * (1 - y)", "(1 - y**2)")),
    ("chain_gradient", "not added", ("*=", "+=")),
    ("chain_gradient", "only the last neuron", ("gradient *=", "gradient =")),
    ("chain_gradient", "the input of each neuron", ("        x = y\n", "")),
    ("gradient_of_weights", "so dy comes first", ("dy.T @ x", "x.T @ dy")),
    ("gradient_of_weights", "not the mean", ("dy.T @ x", "dy.T @ x / len(x)")),
    ("gradient_of_weights", "only the first picture", ("dy.T @ x", "np.outer(dy[0], x[0])")),
    ("gradient_of_weights", "only the last picture", ("dy.T @ x", "np.outer(dy[-1], x[-1])")),
    ("gradient_of_weights", "you left out dy", ("dy.T @ x", "np.ones_like(dy).T @ x")),
    ("gradient_of_weights", "you left out x", ("dy.T @ x", "dy.T @ np.ones_like(x)")),
    ("gradient_of_input", "do not transpose w", ("dy @ w", "dy @ w.T")),
    ("gradient_of_input", "not the mean", ("dy @ w", "dy @ w / len(w)")),
    ("gradient_of_input", "only the first unit", ("dy @ w", "dy[:, :1] * w[0]")),
    ("gradient_of_input", "you left out dy", ("dy @ w", "np.ones_like(dy) @ w")),
    ("gradient_of_input", "a row of its own", ("dy @ w", "np.ones((len(dy), len(dy)), dy.dtype) @ dy @ w")),
    ("gradient_of_first_layer", "the ReLU is missing", (" * (a > 0)", "")),
    ("gradient_of_first_layer", "here it is the sign of dh", ("(a > 0)", "(dz @ w2 > 0)")),
    ("gradient_of_first_layer", "the mask is reversed", ("a > 0", "a <= 0")),
    ("gradient_of_first_layer", "you multiplied by h", ("(a > 0)", "np.maximum(a, 0)")),
    ("gradient_of_first_layer", "that is the gradient of w2", ("da.T @ x", "dz.T @ np.maximum(a, 0)")),
    ("gradient_of_first_layer", "is transposed", ("da.T @ x", "x.T @ da")),
    ("gradient_of_first_layer", "here they are left out", ("dz @ w2", "dz.sum(axis=1, keepdims=True)")),
    ("gradient_of_first_layer", "here they are left out", ("dz @ w2 * (a > 0)", "dz * (a > 0)")),
    ("softmax_rows", "the columns add up", ("(logits - logits.max(axis=1, keepdims=True))", "(logits)"),
     ("exps.sum(axis=1, keepdims=True)", "exps.sum(axis=0)")),
    ("softmax_rows", "all numbers together add", ("(logits - logits.max(axis=1, keepdims=True))", "(logits)"),
     ("exps.sum(axis=1, keepdims=True)", "exps.sum()")),
    ("softmax_rows", "not divided", (" / exps.sum(axis=1, keepdims=True)", "")),
    ("softmax_rows", "take exp of them first", ("np.exp(logits - logits.max(axis=1, keepdims=True))", "logits")),
    ("softmax_rows", "logarithm of the prob", ("return exps / exps.sum(axis=1, keepdims=True)",
                                               "return np.log(exps / exps.sum(axis=1, keepdims=True))")),
    ("softmax_rows", "largest of each row off", ("(logits - logits.max(axis=1, keepdims=True))", "(logits)")),
    ("cross_entropy", "that is the sum", ("losses.mean()", "losses.sum()")),
    ("cross_entropy", "minus that", ("return losses", "return -losses")),
    ("cross_entropy", "natural one", ("losses.mean()", "losses.mean() / np.log(2)")),
    ("cross_entropy", "the label's counts", ("labels]", "logits.argmax(axis=1)]")),
    ("cross_entropy", "not over N * C", ("losses.mean()", "losses.sum() / logits.size")),
    ("cross_entropy", "that is 1 - p", ("losses.mean()", "np.mean(1 - np.exp(-losses))")),
    ("cross_entropy", "logarithm of the formula", ("np.log(np.exp(shifted).sum(axis=1)) - own",
                                                   "-np.log(np.exp(own) / np.exp(shifted).sum(axis=1))")),
    ("softmax_gradient", "so divide by N", (" / len(labels)", "")),
    ("softmax_gradient", "the sign is reversed", ("return dlogits", "return -dlogits")),
    ("softmax_gradient", "the truth is missing", ("-= 1", "-= 0")),
    ("softmax_gradient", "only the label's logit", ("probs.copy()", "probs * (np.arange(probs.shape[1]) == "
                                                                    "np.array(labels)[:, None])")),
    ("softmax_gradient", "at the largest", (", labels] -= 1", ", logits.argmax(axis=1)] -= 1")),
    ("softmax_gradient", "divides by the classes", ("/ len(labels)", "/ logits.shape[1]")),
    ("column_bytes", "float32 number has 4 bytes", ("4 * N", "N")),
    ("column_bytes", "you counted one picture", ("4 * N", "4")),
    ("column_bytes", "spans all channels", ("C * kernel", "kernel")),
    ("column_bytes", "not for each pixel of x", ("(size + 2 * pad - kernel) // stride + 1", "size")),
    ("column_bytes", "across and down", ("windows * windows", "windows")),
    ("column_bytes", "kernel pixels high", ("kernel * kernel *", "kernel *")),
    ("linear_intensity", "two operations", ("2 * N", "N")),
    ("linear_intensity", "not per number", ("4 * numbers", "numbers")),
    ("linear_intensity", "the weights are read, too", ("OUT * IN + ", "")),
    ("linear_intensity", "once, for all pictures", ("OUT * IN + ", "N * OUT * IN + ")),
    ("linear_intensity", "y is written", (" + N * OUT\n", "\n")),
    ("linear_intensity", "x is read", ("numbers = N * IN + ", "numbers = ")),
    ("linear_intensity", "your fraction is inverted", ("operations / (4 * numbers)", "4 * numbers / operations")),
    ("tile_reads", "two tiles", ("* 2 *", "*")),
    ("tile_reads", "that is version 1", ("-(-R // T)", "R")),
    ("tile_reads", "round up", ("-(-R // T)", "R // T")),
    ("tile_reads", "T x T numbers", ("T * T", "T")),
    ("windows_2012", "rounded down", ("-(-(size + 2 * pad - kernel) // stride)",
                                      "(size + 2 * pad - kernel) // stride")),
    ("windows_2012", "no window is added", ("-(-(size + 2 * pad - kernel) // stride)",
                                        "(size + 2 * pad - kernel) // stride + 1")),
    ("windows_2012", "so add 1", ("steps + 1", "steps")),
    ("windows_2012", "on both sides", ("2 * pad", "pad")),
    ("gradient_to_all", "only the first winner", (
        "(x[window] == x[window].max())",
        "(np.arange(size**2).reshape(size, size) == np.argmax(x[window]))")),
    ("gradient_to_all", "the winners do not divide", ("dy[i, j] *",
                                                      "dy[i, j] / np.sum(x[window] == np.max(x[window])) *")),
    ("gradient_to_all", "a pixel that wins", ("dx[window] += dy[i, j] * (x[window] == x[window].max())",
                                         "dx[window][x[window] == x[window].max()] = dy[i, j]")),
    ("gradient_to_all", "you left out dy", ("dy[i, j] *", "1.0 *")),
    ("error_of_difference", "that is the variance", ("np.sqrt(", "(")),
    ("error_of_difference", "that is the standard error of the", (" + q * (1 - q) / m", "")),
    ("error_of_difference", "not their roots", (" + q", ") + np.sqrt(q")),
    ("error_of_difference", "a difference contains the", ("np.sqrt(p * (1 - p) / n + q * (1 - q) / m)",
                                                    "np.sqrt(abs(p * (1 - p) / n - q * (1 - q) / m))")),
    ("error_of_difference", "p (1 - p), not p", ("p * (1 - p)", "p")),
    ("distance_between", "that is the distance", ("max(above, below)", "abs(np.mean(variant) - np.mean(base))")),
    ("distance_between", "may lie below base", ("max(above, below)", "above")),
    ("distance_between", "may lie above base", ("max(above, below)", "below")),
    ("distance_between", "this has no sign", ("max(above, below)", "abs(max(above, below))")),
    ("greyness", "share of colour", ("return 3", "return 1 - 3")),
    ("greyness", "three times", ("return 3 * ", "return ")),
    ("greyness", "over the whole kernel", ("w.mean(axis=0)", "w.mean() * np.ones(w.shape[1:])")),
    ("greyness", "of each channel", ("w.mean(axis=0)", "w.mean(axis=(1, 2))"), ("3 *", "w[0].size *")),
    ("greyness", "weights have signs", ("np.sum(grey**2)", "np.sum(grey)"), ("np.sum(w**2)", "np.sum(w)")),
    ("greyness", "that is the amount of", (" / np.sum(w**2)", "")),
    ("nearest_rows", "the farthest", ("argsort(", "argsort(-")),
    ("nearest_rows", "those are the right rows", ("np.argsort(distances)[:k]", "np.sort(np.argsort(distances)[:k])")),
    ("nearest_rows", "sort these k", ("argsort(distances)", "argpartition(distances, k)")),
    ("nearest_rows", "before they are added up", ("np.sum((known - asked)**2, axis=1)",
                                                  "abs(np.sum(known - asked, axis=1))")),
    ("nearest_rows", "largest product", ("np.sum((known - asked)**2, axis=1)", "-known @ asked")),
    ("nearest_rows", "those are the distances", ("np.argsort(distances)", "np.sort(distances**0.5)")),
    ("nearest_rows", "one too many", ("[:k]", "[:k + 1]")),
    ("drop", "units whose entry is", ("kept / keep if inverted else kept",
                                    "~kept / keep if inverted else ~kept")),
    ("drop", "in the inverted convention, training", ("kept / keep if inverted else kept", "kept")),
    ("drop", "only the inverted", ("kept / keep if inverted else kept", "kept / keep")),
    ("drop", "divide by keep, the probability that a", ("/ keep", "/ (1 - keep)")),
    ("drop", "you multiplied by keep; divide", ("kept / keep", "kept * keep")),
    ("drop", "no unit is dropped", ("(x * mask)", "x")),
    ("drop", "in the paper's convention", ("kept / keep if inverted else kept", "kept * keep")),
    ("drop", "is float64; it should be float32", (".astype(x.dtype)", "")),
    ("drop_gradient", "dy passes where the unit was", ("kept / keep if inverted else kept",
                                                    "~kept / keep if inverted else ~kept")),
    ("drop_gradient", "a unit that was dropped", ("(dy * mask)", "dy")),
    ("drop_gradient", "the backward pass multiplies by the same", ("kept / keep if inverted else kept", "kept")),
    ("drop_gradient", "forward and backward", ("kept / keep if inverted else kept", "kept / keep")),
    ("at_test", "only where both are 0.5", ("x * keep", "x * (1 - keep)")),
    ("at_test", "does nothing at test", ("x.copy() if inverted else x * keep", "x * keep")),
    ("at_test", "without the factor keep, the layer", ("x.copy() if inverted else x * keep", "x.copy()")),
    ("rates_of_plateau", "does not end with the third", ("cuts + 1", "cuts + 1\n            if cuts == 3:\n"
                                                                     "                break")),
    ("rates_of_plateau", "there are at most three", ("cuts < 3", "cuts < 99")),
    ("rates_of_plateau", "the first is lr", ("        rates.append(lr)\n", ""),
     ("cuts + 1\n", "cuts + 1\n        rates.append(lr)\n")),
    ("rates_of_plateau", "not with the epoch before", ("min(best, error)", "error")),
    ("rates_of_plateau", "is no improvement", ("error < best", "error <= best")),
    ("rates_of_plateau", "starts at 0 again", ("waited == patience", "waited >= patience"),
     ("lr / 10, 0,", "lr / 10, waited,")),
    ("rates_of_plateau", "a cut does not reset the", ("cuts + 1\n", "cuts + 1\n            best = np.inf\n")),
    ("rates_of_plateau", "you waited one epoch too", ("waited == patience", "waited > patience")),
    ("honest_error", "you chose the epoch by the test", ("test[np.argmin(validation)]", "np.min(test)")),
    ("honest_error", "that is the validation error", ("test[np.argmin(validation)]", "np.min(validation)")),
    ("honest_error", "the last epoch", ("np.argmin(validation)", "-1")),
    ("honest_error", "not the largest", ("np.argmin", "np.argmax")),
    ("honest_error", "take the first", ("np.argmin(validation)", "len(test) - 1 - np.argmin(validation[::-1])")),
    ("crossing_bytes", "has 4 bytes", ("4 * N", "N")),
    ("crossing_bytes", "own half of the maps", ("C // 2", "C")),
    ("crossing_bytes", "every picture", ("4 * N", "4")),
    ("crossing_bytes", "side pixels high", ("* side * side", "* side")),
    ("own_input_gradient", "GPU 2 has used your inputs", (" + received", "")),
    ("own_input_gradient", "the part that GPU 2 needs", (":half]", "half:]")),
    ("own_input_gradient", "parts of one gradient are added", ("own + received", "own - received")),
    ("own_input_gradient", "parts of one gradient are added", ("own + received", "(own + received) / 2")),
    ("own_input_gradient", "only what was received", ("own + received", "received.copy()")),
    ("ring_bytes", "has 4 bytes", ("4 * steps", "steps")),
    ("ring_bytes", "complete pieces go round", ("2 * (P - 1)", "P - 1")),
    ("ring_bytes", "count one rank", ("4 * steps * piece", "4 * steps * n")),
    ("ring_bytes", "P - 1 steps to be complete", ("2 * (P - 1)", "2 * P")),
    ("tree_sum", "one shard after the other", ("rows = list(gradients)", "rows = [np.sum(gradients, axis=0)]")),
    ("tree_sum", "one shard after the other", ("rows = list(gradients)", "rows = [sum(gradients)]")),
    ("tree_sum", "partners in the first step are neighbours",
     ("rows[i] + rows[i + 1] for i in range(0, len(rows), 2)", "rows[i] + rows[i + len(rows) // 2] for i in "
                                                               "range(len(rows) // 2)")),
    ("tree_sum", "this is a mean", ("return rows[0]", "return rows[0] / len(gradients)")),
]


@pytest.mark.parametrize("name, hint, edits", [
    pytest.param(name, hint, edits, id=f"{name}-{hint.replace(' ', '_')}") for name, hint, *edits in MISTAKES])
def test_each_mistake_gets_its_own_hint(name, hint, edits):
    answer = verdict(name, *edits)
    assert not answer and hint in repr(answer), answer


def test_every_hint_is_given_to_somebody():
    for lesson in pkgutil.iter_modules(exercises.__path__, "tinynet.exercises."):
        for name, mistakes in vars(importlib.import_module(lesson.name)).items():
            for hint in mistakes if name.endswith("MISTAKES") else ():
                assert any(expected in hint for _, expected, *_ in MISTAKES), hint


@pytest.mark.parametrize("name", CHECKS)
def test_it_is_the_learners_function_that_is_run(name):
    """One that answers right but for the last call is found out, so every case comes from it."""
    right, calls = made(SOLUTIONS[name.removeprefix("check_")]), []

    def counted(*arguments):
        calls.append(arguments)
        return right(*arguments)

    assert getattr(exercises, name)(counted)
    total = len(calls)

    def wrong_at(number):
        calls.clear()

        def function(*arguments):
            calls.append(arguments)
            answer, wrong = right(*arguments), len(calls) == number
            return answer != wrong if isinstance(answer, bool) else answer + wrong
        return function

    for number in range(1, total + 1):
        assert not getattr(exercises, name)(wrong_at(number))


TWICE = [Case("a small one", {"x": np.array([1.0, 2])}, np.array([2.0, 4]))]
COUNT = [Case("one number", {"x": 3}, 1)]


@pytest.mark.parametrize("function, said", [
    (lambda x: "twice", "returns the text 'twice'; it should return an array of shape (2,), without quotes or str()"),
    (lambda x: [2.0, 4], "returns a list; make it an array of shape (2,) with np.array(...)"),
    (lambda x: (2 * x,), "returns a tuple of one value; is there a comma at the end of return?"),
    (lambda x: (x, 2 * x), "returns 2 values; it should return an array of shape (2,)"),
    (lambda x: True, "returns True; it should return an array of shape (2,)"),
    (lambda x: np.sum, "returns the function sum; call it with brackets"),
    (lambda x: {"x": x}, "it should return an array of shape (2,)"),
    (lambda x: 2 * x + [0, 1], "at (1,) your function has 5; it should have 4"),
    (lambda x: x / 0 * np.nan, "at (0,) your function has nan; it should have 2"),
    (lambda x: 1 / 0, "with ZeroDivisionError: division by zero")])
def test_mistakes_that_are_not_typical_are_named_too(function, said):
    with np.errstate(all="ignore"):
        answer = judge(function, TWICE, {})
    assert not answer and said in repr(answer) and "(Case: a small one, x=[1., 2.])" in repr(answer)


@pytest.mark.parametrize("result, said", [
    (True, "returns True; it should return a whole number"), ("1", "returns the text '1'; it should return a whole"),
    ([1], "returns a list; it should return a whole number"), (np.ones(1), "returns an array of shape (1,); it should"),
    (1.0, "returns 1; it should be a whole number, so divide with //")])
def test_a_number_of_another_type_is_no_number(result, said):
    answer = judge(lambda x: result, COUNT, {})
    assert not answer and said in repr(answer)
    assert judge(lambda x: np.int64(1), COUNT, {}) and judge(lambda x: np.array(1), COUNT, {})
    assert "it should return True or False" in repr(judge(lambda x: 1, [Case("", {"x": 3}, np.bool_(True))], {}))


def test_parameters_may_have_other_names_and_another_order():
    cases = [Case("one", {"a": 7, "b": 2}, 5)]
    assert judge(lambda first, second: first - second, cases, {})
    assert judge(lambda b, a: a - b, cases, {})
    assert judge(lambda a, b, extra=0: a - b, cases, {})
    assert "your function takes (a); it should take 2 arguments: a, b." in repr(judge(lambda a: a, cases, {}))
    assert "give the check your function itself, without brackets; this is 5" in repr(judge(5, cases, {}))


def test_an_error_shows_the_learners_line():
    text = "def f(x):\n    helped = sorted([x])\n    return g(helped)\n\n\ndef g(x):\n    return np.reshape(x, (5, 7))"
    answer = judge(made(text), TWICE, {})
    assert "stopped in line 7, `return np.reshape(x, (5, 7))`, with ValueError: cannot reshape" in repr(answer)


LOOPS = {"plain": "while x > 0:\n        y = x + 1",
         "catches everything": "while True:\n        try:\n            x + 1\n        except:\n            pass",
         "in a library": "return sorted(iter(lambda: x, None))"}


@pytest.mark.parametrize("body", LOOPS.values(), ids=LOOPS)
def test_an_endless_loop_is_stopped_in_any_thread(body, monkeypatch, capfd):
    monkeypatch.setattr(check, "SECONDS", 0.2)
    function, answers = made(f"def f(x):\n    {body}"), []
    before = threading.active_count()
    answers.append(judge(function, COUNT, {}))
    thread = threading.Thread(target=lambda: answers.append(judge(function, COUNT, {})))
    thread.start()
    thread.join(30)
    for answer in answers:
        assert re.match(r"Not yet: after 0\.2 seconds your function was still running in line \d, `", repr(answer))
    assert len(answers) == 2 and threading.active_count() <= before
    assert capfd.readouterr() == ("", "")


def test_what_cannot_be_stopped_is_left_behind(monkeypatch):
    monkeypatch.setattr(check, "SECONDS", 0.1)
    answer = judge(lambda x: time.sleep(3), COUNT, {})
    assert "It could not be stopped: restart the kernel" in repr(answer)


@pytest.mark.parametrize("leave", ["sys.exit(3)", "raise SystemExit", "exit()"])
def test_exit_does_not_escape(leave):
    answer = judge(made(f"def f(x):\n    import sys\n    {leave}"), COUNT, {})
    assert "your function calls exit() in line 3" in repr(answer) and "end it with return" in repr(answer)


def test_an_interrupted_check_stops_the_learners_function():
    """Whoever interrupts the kernel during an endless loop gets the kernel back, without the loop."""
    count = [0]

    def f(x):
        while True:
            count[0] += 1

    threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        judge(f, COUNT, {})
    seen = count[0]
    time.sleep(0.1)
    assert count[0] == seen > 0


def test_a_hint_explains_all_cases():
    cases = [Case("two", {"x": 2}, 5), Case("three", {"x": 3}, 7)]
    hints = {"squares": lambda x: x * x, "doubles": (lambda x: -2 * x, lambda x: 2 * x)}
    assert "doubles" in repr(judge(lambda x: 2 * x, cases, hints))      # at 2 both mistakes give 4
    assert "returns 4; it should return 5" in repr(judge(lambda x: x + 2, cases, hints))


@pytest.mark.parametrize("path", sorted((LESSONS / "solutions").glob("*.py")), ids=lambda path: path.stem)
def test_solutions_belong_to_a_check(path):
    assert all(f"check_{name}" in CHECKS for name in functions_in(path))

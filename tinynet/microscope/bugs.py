"""The known bugs that can be planted: what they look like is best learned on one's own network.

Each is a text in a function of tinynet.ops that is replaced by another, so that the bug is seen as
it would be written.
"""

import ast
import pathlib
import types
from typing import NamedTuple

from tinynet import ops


class Bug(NamedTuple):
    """file, function: of tinynet.ops; old: a text that occurs there once; new: what replaces it."""

    file: str
    function: str
    old: str
    new: str


BUGS = {
    "kernel-turned": Bug("conv", "conv2d_forward", "= w.reshape(",
                         "= w[:, :, ::-1, ::-1].reshape("),
    "dw-turned": Bug("conv", "conv2d_backward", "dkernels.reshape(w.shape)",
                     "dkernels.reshape(w.shape)[:, :, ::-1, ::-1]"),
    "wrong-group": Bug("conv", "conv2d_forward", "matmul(kernels, cols)",
                       "matmul(kernels, cols[::-1])"),
    "col2im-overwrites": Bug("conv", "col2im", "+= cols", "= cols"),
    "db-of-one-pixel": Bug("conv", "conv2d_backward", ".sum(axis=2)", "[:, :, 0]"),
    "pool-overwrites": Bug("pool", "maxpool_backward", "+= xp.where", "= xp.where"),
    "pool-to-all": Bug("pool", "maxpool_backward", "argmax == position", "argmax == argmax"),
    "lrn-no-cross-term": Bug("lrn", "lrn_backward", "dx -= 2 *", "dx -= 0 *"),
    "lrn-small-window": Bug("lrn", "window_sum", "n // 2 + 1", "n // 2"),
    "relu-gate-on-dy": Bug("activation", "relu_backward", "(y > 0)", "(dy > 0)"),
    "linear-bias-forgotten": Bug("linear", "linear_forward", "+ b", "+ 0 * b"),
    "dropout-no-mask": Bug("dropout", "dropout_backward", "mask)", "1)"),
    "softmax-no-label": Bug("softmax", "softmax_cross_entropy_backward", "(probs - onehot) / N",
                            "probs / N"),
    "decay-wrong-sign": Bug("sgd", "sgd_step_", "v -= (weight_decay", "v += (weight_decay"),
}


def plant(name):
    """Return tinynet.ops with a bug in it, as an object with the functions of a rung."""
    bug = BUGS[name]
    source = (pathlib.Path(ops.__file__).parent / f"{bug.file}.py").read_text(encoding="utf-8")
    text = next(ast.get_source_segment(source, node) for node in ast.parse(source).body
                if isinstance(node, ast.FunctionDef) and node.name == bug.function)
    code = text.rpartition('"""')[2]  # not what the docstring says of it
    if (times := code.count(bug.old)) != 1:
        raise RuntimeError(f"bug {name}: {bug.function} has {bug.old!r} {times} times")
    module = types.ModuleType(f"bug_in_{bug.file}")
    changed = source.replace(text, text.removesuffix(code) + code.replace(bug.old, bug.new))
    exec(compile(changed, f"{bug.file}.py with a bug", "exec"), vars(module))
    return types.SimpleNamespace(**{function: getattr(module, function, getattr(ops, function))
                                    for function in ops.__all__})

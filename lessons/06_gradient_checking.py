# %% [markdown]
# # 13 · Gradient checking (梯度检验)
#
# *35 minutes. Before it: 08 to 09, the backward passes. Beside it: `tinynet/gradcheck.py` and `tests/test_mutants.py`.*
#
# After this lesson you can check a backward pass that somebody wrote by hand, say how large a step to take and why not
# a smaller one, and, above all, tell a check that finds mistakes from one that passes whatever you do.
#
# **In a sentence:** nudge one number, see how the loss moves, and compare that with what backward says.

# %%
import inspect
import types

import numpy as np

import tinynet
from tinynet import exercises, figures, gradcheck, layers, ops, reference

rng = np.random.default_rng(0)

# %% [markdown]
# ## A slope, by hand
#
# The slope of w^3 at w = 2 is 3 * 2^2 = 12. Without calculus (有限差分, finite differences): step a little to the right
# and a little to the left, here by h = 0.1, and divide what the function gained by the 2 h between the two places.

# %%
h = 0.1
centred = ((2 + h)**3 - (2 - h)**3) / (2 * h)              # (9.261 - 6.859) / 0.2
one_sided = ((2 + h)**3 - 2**3) / h                        # (9.261 - 8) / 0.1
assert np.isclose(centred, 12.01) and np.isclose(one_sided, 12.61)

# %% [markdown]
# Stepping to both sides is off by h^2 = 0.01, stepping to one side by 6 h + h^2 = 0.61: whatever bends the curve the
# same way on both sides cancels. With h ten times smaller, the first is a hundred times better, the second only ten
# times:

# %%
h = 0.01
assert np.isclose(((2 + h)**3 - (2 - h)**3) / (2 * h) - 12, 0.01**2)
assert np.isclose(((2 + h)**3 - 2**3) / h - 12, 6 * 0.01 + 0.01**2)

# %% [markdown]
# ## A gradient
#
# For an array it is the same, one number after the other. This is the library's own:

# %%
print(inspect.getsource(gradcheck.numeric_gradient))

# %% [markdown]
# A convolution of 4 x 4 pixels with a kernel of 3 x 3; dy came from above. Is `conv2d_backward` right about the kernel?

# %%
x = np.array([[1, 2, 0, 1], [0, 3, 1, 0], [4, 0, 2, 1], [1, 0, 0, 3]], float)[None, None]
w = np.array([[1, 0, -1], [2, 1, -2], [1, 0, -1]], float)[None, None]
dy = np.array([[1, -1], [0, 2]], float)[None, None]


def L():
    return np.sum(ops.conv2d_forward(x, w, np.zeros(1), 1, 0, 1) * dy)


numeric = gradcheck.numeric_gradient(L, w)
analytic = ops.conv2d_backward(dy, x, w, 1, 0, 1)[1]
assert np.allclose(numeric, analytic, atol=1e-9)
assert np.isclose(analytic[0, 0, 1, 1], 6)                 # the weight that lesson 08 did by hand

figures.draw_numbers({"dw, analytic": analytic[0, 0], "dw, numeric": numeric[0, 0].round(6)}, signs=["="])

# %% [markdown]
# L is the sum of y * dy, so that dL/dy is dy. That is how a single layer is checked without a network above it.
#
# ## How small a step?
#
# "As small as possible", one would think. Here is the error of the slope of exp, over a hundred places, for steps from
# 0.1 down to 10^-13:

# %%
steps = 10.0**-np.arange(1, 14)
places = np.linspace(0.5, 1.5, 100)


def error(h, dtype, sides):
    """The root of the mean square of (slope - exp(x)) / exp(x), with all arithmetic in dtype."""
    x, h = places.astype(dtype), dtype(h)
    right, left = x + h, x - h if sides == 2 else x
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = (np.exp(right) - np.exp(left)) / (dtype(sides) * h)
    return np.sqrt(np.mean((slope / np.exp(places) - 1)**2))


errors = {(dtype, sides): np.array([error(h, dtype, sides) for h in steps])
          for dtype, sides in ((np.float64, 2), (np.float64, 1), (np.float32, 2))}
figures.draw_lines({"": {f"{dtype.__name__}, {('one side', 'both sides')[sides - 1]}": (steps, ys)
                         for (dtype, sides), ys in errors.items()}}, "step h", "relative error of the slope", log="xy")

# %% [markdown]
# Each curve is a V. On the right the **step** is too large: the curve bends on the way (with both sides the error falls
# a hundredfold for each factor of ten in h, with one side tenfold). On the left the **numbers** are too coarse:
# f(x + h) and f(x - h) agree in all but their last digits, and what is left of the difference is rounding, which is
# divided by an ever smaller h.

# %%
both, one, single = errors[np.float64, 2], errors[np.float64, 1], errors[np.float32, 2]
assert 90 < both[0] / both[1] < 110 and 90 < both[1] / both[2] < 110
assert 9 < one[1] / one[2] < 11
assert both[10] > 100 * both[5] and both[12] > 1000 * both[5]   # 10^-11 and 10^-13 are worse than 10^-6

# %% [markdown]
# The bottom of the V for both sides lies where the two errors are alike: about where h is the third root of the
# precision. So `gradcheck` takes h = 10^-5, in float64. In float32 the best that can be had is more than ten thousand
# times worse: too coarse to tell a small mistake from rounding. `numeric_gradient` refuses it.

# %%
assert 5e-6 < np.finfo(np.float64).eps**(1 / 3) < 7e-6
assert inspect.signature(gradcheck.numeric_gradient).parameters["eps"].default == 1e-5
assert both[4] < 1e-9 and single.min() > 1e4 * both.min()
try:
    gradcheck.numeric_gradient(L, w.astype(np.float32))
except TypeError as refusal:
    print(refusal)

# %% [markdown]
# ## When are two gradients the same?
#
# The difference by itself says nothing: it has to be compared with something. Here is a gradient that is wrong by a
# factor of two, and one that is right to ten digits:

# %%
small = 1e-7 * np.array([3.0, -4.0])
large = 1e4 * np.array([3.0, -4.0])
wrong, right = 2 * small, large * (1 + 1e-10)
assert abs(wrong - small).max() < 1e-6 < abs(right - large).max()   # "differ by less than 10^-6" has both upside down

# %% [markdown]
# And the error of each element by itself? Where an element of the gradient happens to be almost 0, rounding alone makes
# it look wrong. So we take the whole array as one vector, the length of the difference over the length of the gradient:
#
# $$\frac{\lVert \mathrm{analytic} - \mathrm{numeric} \rVert}{\lVert \mathrm{numeric} \rVert}$$

# %%
exact = np.array([1.0, 2.0, 0.0])
rounded = np.array([1.0, 2.0, 1e-11])
with np.errstate(divide="ignore"):
    assert np.max(abs(exact - rounded) / abs(exact).clip(1e-300)) > 1e200   # element by element: infinitely wrong
assert gradcheck.compare("rounded", rounded, exact).ok
assert not gradcheck.compare("wrong", wrong, small).ok and gradcheck.compare("right", right, large).ok

print(gradcheck.compare("wrong", wrong, small))

# %% [markdown]
# Where is the border between right and wrong? In float64 with h = 10^-5 a right gradient agrees to nine digits or so;
# the mistakes further down, where a check can see them, are off by more than a hundredth. There is next to nothing in
# between, and 10^-6 lies in the middle of it. A whole small network, every parameter, and how many digits agree:

# %%
net = tinynet.Sequential(
    [layers.Conv2d("conv1", 6, 3, stride=2, pad=1, std=0.5), layers.ReLU("relu1"), layers.LRN("lrn1", alpha=0.5),
     layers.MaxPool("pool1", 3, 2), layers.Conv2d("conv2", 4, 3, pad=1, groups=2, std=0.5), layers.Tanh("tanh2"),
     layers.Flatten("flatten"), layers.Linear("fc3", 8, std=0.5), layers.ReLU("relu3"), layers.Dropout("drop3"),
     layers.Linear("fc4", 3, std=0.5)], (2, 11, 9), rng, "float64")
pictures, labels = rng.standard_normal((3, 2, 11, 9)), np.array([0, 2, 1])
reports = gradcheck.check_network(net, tinynet.SoftmaxCrossEntropy(), pictures, labels, rng, samples=20)
assert [report.name for report in reports][-1] == "x" and len(reports) == 9
assert all(report.relative_error < 1e-6 for report in reports)

figures.draw_bars({"digits that agree": {report.name: -np.log10(max(report.relative_error, 1e-16))
                                         for report in reports}})

# %% [markdown]
# (Dropout draws a new mask each time; the check puts the generator back to where it was before each nudge, or f would
# not be a function.)
#
# ## How to plant a bug
#
# So much for right gradients. What is a check worth? That shows only when something is wrong. Let us put something
# wrong in: take the library's own function as text, change a few characters, run it.

# %%
def plant(function, *edits):
    """The function with texts in its source replaced."""
    source = inspect.getsource(function)
    for old, new in edits:
        assert source.count(old) == 1
        source = source.replace(old, new)
    names = dict(vars(inspect.getmodule(function)))
    exec(source, names)
    return names[function.__name__]


def rung(**functions):
    """All of tinynet.ops, with these functions in place of its own."""
    return types.SimpleNamespace(**{name: getattr(ops, name) for name in ops.__all__} | functions)


turned = plant(ops.conv2d_backward, ("= w.reshape(", "= w[:, :, ::-1, ::-1].reshape("))   # for dx: w upside down
right_dx, wrong_dx = (backward(dy, x, w, 1, 0, 1)[0] for backward in (ops.conv2d_backward, turned))
assert not np.allclose(right_dx, wrong_dx)

figures.draw_numbers({"dx, right": right_dx[0, 0], "dx with the kernel turned": wrong_dx[0, 0]})

# %% [markdown]
# ## What comes from above: ones, or random numbers?
#
# Many checks take y.sum() as the loss, because it is simple. Then dy is 1 everywhere. Watch what that does to the bug
# just planted, where the kernel is turned by 180 degrees on the way back: how wrong is dx, pixel by pixel?

# %%
photo = rng.standard_normal((1, 1, 9, 9))
kernel = rng.standard_normal((1, 1, 3, 3))


def how_wrong(dy, pad=0):
    """|dx with the bug - numeric dx|, pixel by pixel."""
    y = ops.conv2d_forward(photo, kernel, np.zeros(1), 1, pad, 1)
    dy = np.ones(y.shape) if dy == "ones" else rng.standard_normal(y.shape)
    slope = gradcheck.numeric_gradient(
        lambda: np.sum(ops.conv2d_forward(photo, kernel, np.zeros(1), 1, pad, 1) * dy), photo)
    return abs(turned(dy, photo, kernel, 1, pad, 1)[0] - slope)[0, 0]


ones, random, ones_padded = how_wrong("ones"), how_wrong("random"), how_wrong("ones", pad=2)
assert (ones[2:-2, 2:-2] < 1e-8).all() and ones[:2].max() > 0.1
assert (ones_padded < 1e-8).all()
assert (random > 1e-3).mean() > 0.9

figures.draw_maps([ones, ones_padded, random], ["dy all ones", "dy all ones, padding 2", "dy random"], columns=3)

# %% [markdown]
# A pixel in the middle lies under each of the nine weights once. If all dy are 1, its gradient is the sum of the
# weights, and a sum does not care about the order. Only the border, where some windows are missing, gives the bug away;
# and with 2 pixels of padding there is no such border, and **nothing** does. With random numbers from above every pixel
# shows it. `check_layer` draws dy at random:

# %%
assert "rng.standard_normal(layer.output_shape" in inspect.getsource(gradcheck.check_layer)

# %% [markdown]
# ## Pooling: windows that do not overlap
#
# In `maxpool_backward` a `+=` adds up what a pixel gets from all the windows that it won. Write `=` instead:

# %%
assigned = plant(ops.maxpool_backward, ("+= xp.where(argmax == position, dy, 0)",
                                        "= xp.where(argmax == position, dy, padded[seen])"))


def distinct(*shape):
    """Numbers around 0, no two alike, at least 0.01 apart."""
    size = int(np.prod(shape))
    return (rng.permutation(size).reshape(shape) - (size - 1) / 2 + 0.25) / 100


def errors_of(layer, x, rung=ops, rng=rng):
    """{"dx": relative error, ...}: what check_layer says of a layer that computes with this rung."""
    layer.build(x.shape, np.random.default_rng(1), "float64")
    layer.ops = rung
    return {report.name.split(".")[1]: report.relative_error for report in gradcheck.check_layer(layer, x, rng)}


bad = rung(maxpool_backward=assigned)
assert errors_of(layers.MaxPool("pool", 2, 2), distinct(2, 3, 6, 6), bad)["dx"] < 1e-6   # the bug is not seen
assert errors_of(layers.MaxPool("pool", 3, 2), distinct(2, 3, 7, 7), bad)["dx"] > 0.1    # AlexNet's own windows: seen
assert errors_of(layers.MaxPool("pool", 3, 2), distinct(2, 3, 7, 7))["dx"] < 1e-6        # without the bug all is well

# %% [markdown]
# With windows of 2, 2 apart, no pixel lies in two windows, and `=` does what `+=` does. The check was right in what it
# said; it was never asked.
#
# ## LRN: a term that is too small to be missed
#
# The gradient of LRN has a second term, for what an activation does to its neighbours (lesson 10). Leave it out. How
# wrong is the gradient then? That depends on how much alpha times the energy counts beside k = 2:

# %%
no_cross = plant(ops.lrn_backward, (" - 2 * alpha * beta * x * cross", ""))
sizes = 10.0**np.arange(-2, 3.1, 0.5)                      # of the activations
base, upstream = rng.standard_normal((2, 8, 4, 4)), rng.standard_normal((2, 8, 4, 4))
strength, wrong_by = [], []
for factor in sizes:
    x = factor * base
    y, scale = ops.lrn_forward(x, 5, 2.0, 1e-4, 0.75)
    true, bad = (backward(upstream, x, y, scale, 5, 1e-4, 0.75) for backward in (ops.lrn_backward, no_cross))
    strength.append((scale - 2).mean() / 2)                # alpha * energy / k
    wrong_by.append(np.linalg.norm(bad - true) / np.linalg.norm(true))
assert wrong_by[0] < 1e-7 < 1e-5 < wrong_by[4] < 1e-3 and wrong_by[-1] > 0.3   # activations of 0.01, 1 and 1,000

figures.draw_lines({"": {"second term missing": (strength, wrong_by)}}, "alpha * energy / k", "relative error of dx",
                   log="xy", levels={"at most 10^-6": 1e-6, "at most 10^-3": 1e-3})

# %% [markdown]
# With the paper's alpha and activations of about 1, a check that lets a thousandth pass lets this bug pass; with
# activations of 0.01, one that asks for a millionth does. So a check of LRN takes alpha = 0.5, or activations that are
# large enough for the energy to count as much as k.

# %%
bad = rung(lrn_backward=no_cross)
x = rng.standard_normal((2, 8, 3, 3))
assert errors_of(layers.LRN("lrn", alpha=1e-4), 0.01 * x, bad)["dx"] < 1e-6     # the bug is not seen
assert 1e-6 < errors_of(layers.LRN("lrn", alpha=1e-4), x, bad)["dx"] < 1e-3     # seen, if one asks for a millionth
assert errors_of(layers.LRN("lrn", alpha=0.5), x, bad)["dx"] > 0.1

# %% [markdown]
# ## Kinks and ties: where there is no slope
#
# The other way round, a check can object to what is right. ReLU has a kink at 0: to its right the slope is 1, to its
# left 0. A step to both sides of the kink gives something in between. And of two equal activations in a pooling window
# each, nudged up, becomes the largest, and nudged down changes nothing: half a slope for both.

# %%
x = np.array([[-1.0, -4e-6, 0.0, 4e-6, 1.0]])
slopes = gradcheck.numeric_gradient(lambda: ops.relu_forward(x).sum(), x)
analytic = ops.relu_backward(np.ones((1, 5)), ops.relu_forward(x))
assert np.allclose(slopes, [[0, 0.3, 0.5, 0.7, 1]]) and (analytic == [[0, 0, 0, 1, 1]]).all()

tie = np.array([[3.0, 3.0], [1.0, 2.0]])[None, None]
tie_slopes = gradcheck.numeric_gradient(lambda: ops.maxpool_forward(tie, 2, 2)[0].sum(), tie)
tie_dx = ops.maxpool_backward(np.ones((1, 1, 1, 1)), ops.maxpool_forward(tie, 2, 2)[1], tie.shape, 2, 2)
assert np.allclose(tie_slopes[0, 0], [[0.5, 0.5], [0, 0]]) and (tie_dx[0, 0] == [[1, 0], [0, 0]]).all()

figures.draw_numbers({"ReLU at -1, -4e-6, 0, 4e-6, 1: numeric": slopes.round(6), "analytic": analytic})

# %% [markdown]
# So the numbers that go in are chosen: none within a step of 0, no two alike in a window. Random numbers are that
# almost always; `distinct`, above, is that for sure.
#
# ## What a gradient check cannot see
#
# It compares backward with forward. Where **both** are wrong together, they agree: turn the kernel round in both, or
# divide alpha by n in both, as other programs do, and every slope is right: of another function. For that one needs
# something from outside: numbers worked out by hand, the formula index by index (`reference`), another library.
#
# Now all of it in one table: eight bugs, and five checks.
#
# - *dw only*: at random from above, but nobody looks at dx;
# - *ones*: all gradients, from y.sum();
# - *easy*: all gradients and random numbers from above, but one picture, one group, pooling 2 x 2, LRN with the paper's
#   alpha on small numbers;
# - *gradcheck*: `check_layer` at settings that can hurt;
# - *formula*: the numbers of `reference`.

# %%
W = ("= w.reshape(", "= w[:, :, ::-1, ::-1].reshape(")
DW = ("dkernels.reshape(w.shape)", "dkernels.reshape(w.shape)[:, :, ::-1, ::-1]")
bugs = {
    "conv: kernel turned, for dx": ("conv", rung(conv2d_backward=turned)),
    "conv: kernel turned, everywhere": ("conv", rung(conv2d_forward=plant(ops.conv2d_forward, W),
                                                     conv2d_backward=plant(ops.conv2d_backward, W, DW))),
    "conv: dx is 0": ("conv", rung(conv2d_backward=plant(ops.conv2d_backward, ("= col2im", "= 0 * col2im")))),
    "conv: db averaged over pictures": ("conv", rung(conv2d_backward=plant(
        ops.conv2d_backward, (".sum(axis=0)", ".mean(axis=0)")))),
    "conv: dw from the wrong group": ("conv", rung(conv2d_backward=plant(
        ops.conv2d_backward, ("matmul(dproduct, cols.", "matmul(dproduct, cols[::-1].")))),
    "pool: = for +=": ("pool", rung(maxpool_backward=assigned)),
    "LRN: second term missing": ("lrn", rung(lrn_backward=no_cross)),
    "LRN: alpha / n, everywhere": ("lrn", rung(
        lrn_forward=plant(ops.lrn_forward, ("scale = k + alpha *", "scale = k + alpha / n *")),
        lrn_backward=plant(ops.lrn_backward, ("- 2 * alpha *", "- 2 * alpha / n *")))),
}
hard = {"conv": lambda: (layers.Conv2d("conv", 4, 3, pad=2, groups=2, std=0.5), rng.standard_normal((2, 4, 5, 6))),
        "pool": lambda: (layers.MaxPool("pool", 3, 2), distinct(2, 3, 7, 7)),
        "lrn": lambda: (layers.LRN("lrn", alpha=0.5), rng.standard_normal((2, 8, 3, 3)))}
easy = {"conv": lambda: (layers.Conv2d("conv", 2, 3, pad=2, std=0.5), rng.standard_normal((1, 2, 5, 5))),
        "pool": lambda: (layers.MaxPool("pool", 2, 2), distinct(1, 3, 6, 6)),
        "lrn": lambda: (layers.LRN("lrn", alpha=1e-4), 0.01 * rng.standard_normal((1, 8, 3, 3)))}
only_ones = types.SimpleNamespace(standard_normal=np.ones)


def as_the_formula(layer, x, rung):
    """Whether y and all gradients are those of `reference`."""
    layer.build(x.shape, np.random.default_rng(1), "float64")
    dy, seen = rng.standard_normal(layer.output_shape(x.shape)), []
    for layer.ops in (reference, rung):
        y = layer.forward(x)
        seen.append([y, layer.backward(dy), *layer.grads.values()])
    return all(np.allclose(a, b) for a, b in zip(*seen))


def worst(errors, leave_out=""):
    return max((error for name, error in errors.items() if name != leave_out), default=0.0)


checks = {  # whether all is right
    "dw only": lambda kind, rung: worst(errors_of(*hard[kind](), rung), leave_out="dx") < 1e-6,
    "ones": lambda kind, rung: worst(errors_of(*hard[kind](), rung, only_ones)) < 1e-6,
    "easy": lambda kind, rung: worst(errors_of(*easy[kind](), rung)) < 1e-6,
    "gradcheck": lambda kind, rung: worst(errors_of(*hard[kind](), rung)) < 1e-6,
    "formula": lambda kind, rung: as_the_formula(*hard[kind](), rung),
}
assert all(check(kind, ops) for check in checks.values() for kind in hard)   # none objects to what is right
seen = {bug: [not check(kind, rung) for check in checks.values()] for bug, (kind, rung) in bugs.items()}

figures.draw_table(list(seen.values()), list(seen), list(checks), words=("seen", "not seen"))

# %%
by = dict(zip(checks, np.array(list(seen.values())).sum(axis=0).tolist()))   # bugs seen, of eight
assert by["gradcheck"] == 6 and by["formula"] == 8
assert max(by["dw only"], by["ones"], by["easy"]) < 6
assert [bug for bug in seen if not seen[bug][3]] == ["conv: kernel turned, everywhere", "LRN: alpha / n, everywhere"]
assert all(worst(errors_of(*hard[kind](), rung)) > 0.01 for bug, (kind, rung) in bugs.items() if seen[bug][3])
print(by)

# %% [markdown]
# This table is a test in our own house: [tests/test_mutants.py](../tests/test_mutants.py) plants many more bugs, in
# every op, and fails where a check that should see one does not. A test that nothing can make fail tests nothing.
#
# ## Exercises
#
# Replace the `...`, run the cell, read what the check says. [Solutions](solutions/06_gradient_checking.py).
#
# **1.** The numeric gradient by centred differences: `f(x)` gives a number, the result has the shape of `x`.

# %%
import numpy as np

from tinynet import exercises


def slopes_of(f, x, h):
    ...


exercises.check_slopes_of(slopes_of)

# %% [markdown]
# **2.** How far apart are two gradients, as vectors, relative to the numeric one? 0 where both are all zeros.

# %%
import numpy as np

from tinynet import exercises


def relative_error(analytic, numeric):
    ...


exercises.check_relative_error(relative_error)

# %% [markdown]
# **3.** Your own check: `forward(x)` gives y, `backward(dy, x)` gives dx. Is it right, `True` or `False`? You will be
# given right ones and wrong ones, and have to tell them apart; a relative error of 10^-6 is still right.

# %%
import numpy as np

from tinynet import exercises


def gradient_is_right(forward, backward, x):
    ...


exercises.check_gradient_is_right(gradient_is_right)

# %% [markdown]
# ## What to remember
#
# - Both sides, h = 10^-5, float64; compare as vectors, relative to the numeric gradient.
# - Random numbers from above; all gradients, dx too; windows that overlap, two groups, two pictures, terms large enough
#   to be missed; away from kinks and ties.
# - What is wrong in forward and backward alike, no gradient check sees: compare with something from outside.
# - Plant a bug. If the check does not see it, mend the check.
#
# Read next: [gradcheck.py](../tinynet/gradcheck.py), all of it.

# %% [markdown]
# # 06 · Gradient checking (梯度检验)
#
# *35 minutes. Before it: 05, backpropagation. Beside it: `tinynet/gradcheck.py` and `tests/test_mutants.py`.*
#
# After this lesson you can check a backward pass that was written by hand, say which step size to take and why a
# smaller one is worse, and tell a check that finds mistakes from one that never fails.
#
# **In a sentence:** move one number a little, measure how the loss changes, and compare this with the gradient that
# backward computes.
#
# The second half plants mistakes in layers that later lessons explain: convolution (08), pooling (09) and LRN (10).
# Here you need to know only that each of them has a forward and a backward pass. Come back to the details after
# lesson 10.

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
# The slope of w³ at w = 2 is 3 · 2² = 12. Without calculus (有限差分, finite differences): step a little to the right and
# a little to the left, by h, and divide the change of the function by the distance 2 h.
#
# $$f'(w) \approx \frac{f(w + h) - f(w - h)}{2h}$$
#
# **Predict:** how far off is this for h = 0.1? And with a step to one side only?

# %%
h = 0.1
centred = ((2 + h)**3 - (2 - h)**3) / (2 * h)              # (9.261 - 6.859) / 0.2
one_sided = ((2 + h)**3 - 2**3) / h                        # (9.261 - 8) / 0.1
print(f"both sides {centred:.2f}, one side {one_sided:.2f}; right is 12")
assert np.isclose(centred, 12.01) and np.isclose(one_sided, 12.61)

# %% [markdown]
# With both sides the error is h² = 0.01, with one side 6 h + h² = 0.61. Taylor's series says why: the terms with
# $f''$ have the same sign on both sides, so they cancel in the difference.
#
# $$\frac{f(w + h) - f(w - h)}{2h} = f'(w) + \frac{h^2}{6} f'''(w) + \dots, \qquad
# \frac{f(w + h) - f(w)}{h} = f'(w) + \frac{h}{2} f''(w) + \dots$$
#
# **Predict:** by what factor does each of the two errors fall if h is ten times smaller?

# %%
h = 0.01
both_sides, one_side = ((2 + h)**3 - (2 - h)**3) / (2 * h) - 12, ((2 + h)**3 - 2**3) / h - 12
print(f"h = 0.01: the errors are {both_sides:.4f} and {one_side:.4f}")
assert np.isclose(both_sides, 0.01**2) and np.isclose(one_side, 6 * 0.01 + 0.01**2)   # / 100, and / 10

# %% [markdown]
# ## A gradient
#
# For an array, move one number after the other. This is the library's own function:

# %%
print(inspect.getsource(gradcheck.numeric_gradient))

# %% [markdown]
# Is `linear_backward` right about the weights? A fully connected layer with 3 inputs and 2 outputs, for two pictures;
# dy is the upstream gradient.

# %%
x = np.array([[1.0, 2, 0], [0, 3, -1]])                    # two pictures of three numbers
w = np.array([[1.0, 0, -1], [2, 1, -2]])                   # (OUT, IN)
dy = np.array([[1.0, -1], [0, 2]])


def L():
    return np.sum(ops.linear_forward(x, w, np.zeros(2)) * dy)


numeric = gradcheck.numeric_gradient(L, w)
analytic = ops.linear_backward(dy, x, w)[1]
print(f"largest difference below 10^-9: {abs(numeric - analytic).max() < 1e-9}")
assert np.allclose(numeric, analytic, atol=1e-9)
assert analytic[1, 1] == -1 * 2 + 2 * 3                    # sum over pictures of dy * x

figures.draw_numbers({"dw, analytic": analytic, "dw, numeric": numeric.round(6)}, signs=["="])

# %% [markdown]
# L is the sum of y * dy, so dL/dy is dy. In this way a single layer is checked without a network above it.
#
# ## How small a step?
#
# Taylor's series suggests: as small as possible. Here is the error of the slope of exp, over a hundred places, for
# steps from 0.1 down to $10^{-13}$.
#
# **Predict:** which step is the best?

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
figures.draw_lines({"the slope of exp": {f"{dtype.__name__}, {('one side', 'both sides')[sides - 1]}": (steps, ys)
                                         for (dtype, sides), ys in errors.items()}},
                   "step h", "relative error of the slope", log="xy")

# %% [markdown]
# Each curve has the shape of a V. On the right the **step** is too large: the function bends within the step. On the
# left the **precision** is too low: f(x + h) and f(x - h) agree in all digits except the last ones, so their difference
# is mostly rounding error, which is then divided by a small h. With the precision $\epsilon$ of the numbers, the two
# errors are about
#
# $$h^2 \quad\text{(step)} \qquad\text{and}\qquad \frac{\epsilon}{h} \quad\text{(rounding)}, \qquad
# \text{equal at}\quad h = \sqrt[3]{\epsilon}$$

# %%
both, one, single = errors[np.float64, 2], errors[np.float64, 1], errors[np.float32, 2]
print(f"both sides, from h = 0.1 to 0.01: {both[0] / both[1]:.0f} times smaller; one side: {one[0] / one[1]:.0f} times")
assert 90 < both[0] / both[1] < 110 and 90 < both[1] / both[2] < 110
assert 9 < one[1] / one[2] < 11
assert both[10] > 100 * both[5] and both[12] > 1000 * both[5]   # 10^-11 and 10^-13 are worse than 10^-6

# %% [markdown]
# In float64 this is 6 · 10⁻⁶, so `gradcheck` uses h = 10⁻⁵. In float32 the best possible error is more than ten
# thousand times larger: too large to tell a small mistake from rounding. `numeric_gradient` refuses float32.

# %%
print(f"third root of the precision: {np.finfo(np.float64).eps**(1 / 3):.1e}")
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
# A difference alone says nothing; it has to be compared with the size of the gradient. Here are a gradient that is
# wrong by a factor of two, and one that is right to ten digits.
#
# **Predict:** which of the two passes if the difference may be at most 10⁻⁶?

# %%
small = 1e-7 * np.array([3.0, -4.0])
large = 1e4 * np.array([3.0, -4.0])
wrong, right = 2 * small, large * (1 + 1e-10)
print(f"the wrong one differs by {abs(wrong - small).max():.0e}, the right one by {abs(right - large).max():.0e}")
assert abs(wrong - small).max() < 1e-6 < abs(right - large).max()   # such a limit accepts the wrong one only

# %% [markdown]
# Should the error of each element be relative to that element? Where an element of the gradient is almost 0, rounding
# makes it look wrong. So take the whole array as one vector, and divide the length of the difference by the length of
# the gradient:
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
# Where is the border between right and wrong? In float64, with h = 10⁻⁵, a right gradient agrees to nine digits or
# more. The mistakes further down, if a check can find them, have errors of more than 0.01. There is almost nothing in
# between, and 10⁻⁶ is a good border. Here is a whole small network: for each of its parameters, the number of digits
# that agree.

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
# (Dropout draws a new random mask each time. The check resets the random generator before each step, or f would not
# be a function.)
#
# ## How to plant a bug
#
# These gradients are right. How good is the check? This shows only when something is wrong. So take the source of the
# library's own function, change a few characters, and run it.

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


x = np.array([[1, 2, 0, 1], [0, 3, 1, 0], [4, 0, 2, 1], [1, 0, 0, 3]], float)[None, None]
w = np.array([[1, 0, -1], [2, 1, -2], [1, 0, -1]], float)[None, None]     # a kernel of 3 x 3
dy = np.array([[1, -1], [0, 2]], float)[None, None]
turned = plant(ops.conv2d_backward, ("= w.reshape(", "= w[:, :, ::-1, ::-1].reshape("))   # for dx: w upside down
right_dx, wrong_dx = (backward(dy, x, w, 1, 0, 1)[0] for backward in (ops.conv2d_backward, turned))
assert not np.allclose(right_dx, wrong_dx)

figures.draw_numbers({"dx, right": right_dx[0, 0], "dx with the kernel turned": wrong_dx[0, 0]})

# %% [markdown]
# ## The upstream gradient: ones, or random numbers?
#
# Many checks use y.sum() as the loss, because it is simple. Then dy is 1 everywhere. What does this do to the bug
# that was just planted, a kernel turned by 180 degrees on the way back? Here is the error of dx, pixel by pixel.
#
# **Predict:** with dy all ones, where will you see the bug?

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
# A pixel in the middle is multiplied by each of the nine weights once. If all dy are 1, its gradient is the sum of
# the weights, and a sum does not depend on the order. Only the border shows the bug, because some windows are missing
# there; with 2 pixels of padding there is no such border, and **no** pixel shows the bug. With a random dy every pixel
# shows it. `check_layer` draws dy at random:

# %%
print(next(line.strip() for line in inspect.getsource(gradcheck.check_layer).split("\n") if "standard_normal" in line))
assert "rng.standard_normal(layer.output_shape" in inspect.getsource(gradcheck.check_layer)

# %% [markdown]
# ## Pooling: windows that do not overlap
#
# In `maxpool_backward` a `+=` adds up what a pixel gets from all windows whose largest number it is. Write `=`
# instead.
#
# **Predict:** will a check with windows of 2, 2 apart, find it?

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
for size in (2, 3):
    seen_error = errors_of(layers.MaxPool("pool", size, 2), distinct(2, 3, 4 + size, 4 + size), bad)["dx"]
    print(f"windows of {size}, 2 apart: {'not seen' if seen_error < 1e-6 else 'seen'}")
assert errors_of(layers.MaxPool("pool", 2, 2), distinct(2, 3, 6, 6), bad)["dx"] < 1e-6   # the bug is not seen
assert errors_of(layers.MaxPool("pool", 3, 2), distinct(2, 3, 7, 7), bad)["dx"] > 0.1    # AlexNet's own windows: seen
assert errors_of(layers.MaxPool("pool", 3, 2), distinct(2, 3, 7, 7))["dx"] < 1e-6        # without the bug all is well

# %% [markdown]
# With windows of 2, 2 apart, no pixel is in two windows, and `=` does the same as `+=`. The check was right about
# what it tested; it tested the wrong case.
#
# ## LRN: a term that is too small to be noticed
#
# The gradient of LRN has a second term, for the effect of an activation on its neighbours (lesson 10). Leave it out.
# The error depends on how large alpha times the sum of squares (the energy) is compared with k = 2.
#
# **Predict:** with the paper's alpha of 0.0001, how large is the error for activations of 0.01, of 1, and of 1,000?

# %%
no_cross = plant(ops.lrn_backward, ("dx -= 2 *", "dx -= 0 *"))
sizes = 10.0**np.arange(-2, 3.1, 0.5)                      # of the activations
base, upstream = rng.standard_normal((2, 8, 4, 4)), rng.standard_normal((2, 8, 4, 4))
strength, wrong_by = [], []
for factor in sizes:
    x = factor * base
    _, scale = ops.lrn_forward(x, 5, 2.0, 1e-4, 0.75)
    true, bad = (backward(upstream, x, scale, 5, 1e-4, 0.75) for backward in (ops.lrn_backward, no_cross))
    strength.append((scale - 2).mean() / 2)                # alpha * energy / k
    wrong_by.append(np.linalg.norm(bad - true) / np.linalg.norm(true))
assert wrong_by[0] < 1e-7 < 1e-5 < wrong_by[4] < 1e-3 and wrong_by[-1] > 0.3   # activations of 0.01, 1 and 1,000

for at in (0, 4, -1):
    print(f"activations of {sizes[at]:g}: relative error {wrong_by[at]:.0e}")

figures.draw_lines({"LRN without its second term": {"error": (strength, wrong_by)}}, "alpha * energy / k",
                   "relative error of dx", log="xy", levels={"a limit of 10^-6": 1e-6, "a limit of 10^-3": 1e-3})

# %% [markdown]
# With the paper's alpha and activations of about 1, a check with a limit of 10⁻³ does not find this bug. With
# activations of 0.01, even a limit of 10⁻⁶ does not. So check LRN with alpha = 0.5, or with activations so large that
# the sum counts as much as k.

# %%
bad = rung(lrn_backward=no_cross)
x = rng.standard_normal((2, 8, 3, 3))
quiet, usual, loud = (errors_of(layers.LRN("lrn", alpha=alpha), factor * x, bad)["dx"]
                      for alpha, factor in ((1e-4, 0.01), (1e-4, 1), (0.5, 1)))
print(f"small activations {quiet:.0e}, usual ones {usual:.0e}, usual ones with alpha = 0.5 {loud:.0e}")
assert quiet < 1e-6 < usual < 1e-3 and loud > 0.1          # only the last is above every limit

# %% [markdown]
# ## Kinks and ties: where there is no slope
#
# A check can also reject a gradient that is right. ReLU has a kink at 0: on its right the slope is 1, on its left 0,
# and a step across the kink gives a number in between. Something similar happens if two numbers of a pooling window are
# equal: if one of them becomes larger, it is the largest; if it becomes smaller, nothing changes. So both get half a
# slope.
#
# **Predict:** with h = 10⁻⁵, what are the numeric slopes of ReLU at -4 · 10⁻⁶, at 0, and at 4 · 10⁻⁶?

# %%
x = np.array([[-1.0, -4e-6, 0.0, 4e-6, 1.0]])
slopes = gradcheck.numeric_gradient(lambda: ops.relu_forward(x).sum(), x)
analytic = ops.relu_backward(np.ones((1, 5)), ops.relu_forward(x))
assert np.allclose(slopes, [[0, 0.3, 0.5, 0.7, 1]]) and (analytic == [[0, 0, 0, 1, 1]]).all()

tie = np.array([[3.0, 3.0], [1.0, 2.0]])[None, None]
tie_slopes = gradcheck.numeric_gradient(lambda: ops.maxpool_forward(tie, 2, 2)[0].sum(), tie)
tie_dx = ops.maxpool_backward(np.ones((1, 1, 1, 1)), ops.maxpool_forward(tie, 2, 2)[1], tie.shape, 2, 2)
assert np.allclose(tie_slopes[0, 0], [[0.5, 0.5], [0, 0]]) and (tie_dx[0, 0] == [[1, 0], [0, 0]]).all()

figures.draw_numbers({"x": x, "numeric slope of ReLU": slopes.round(6), "analytic": analytic})

# %% [markdown]
# So choose the input well: no number within a step of 0, no two equal numbers in a window. Random numbers nearly always
# satisfy this; the numbers of `distinct`, above, always do.
#
# ## What a gradient check cannot see
#
# A gradient check compares backward with forward. If **both** are wrong in the same way, they agree: turn the kernel in
# both, or divide alpha by n in both as other programs do, and each slope is the right slope of another function. To
# find such a mistake, compare with something independent: numbers worked out by hand, the formula written index by
# index (`reference`), another library.
#
# Now everything in one table: eight bugs and five checks.
#
# - *dw only*: a random dy, but dx is not checked;
# - *ones*: all gradients, from y.sum();
# - *easy*: all gradients and a random dy, but one picture, one group, pooling 2 x 2, LRN with the paper's alpha on
#   small numbers;
# - *gradcheck*: `check_layer` with difficult settings;
# - *formula*: comparison with the numbers of `reference`.
#
# **Predict:** how many of the eight does each check find?

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
        lrn_backward=plant(ops.lrn_backward, ("2 * alpha *", "2 * alpha / n *")))),
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
assert all(check(kind, ops) for check in checks.values() for kind in hard)   # all accept what is right
seen = {bug: [not check(kind, rung) for check in checks.values()] for bug, (kind, rung) in bugs.items()}

figures.draw_table(list(seen.values()), list(seen), list(checks), words=("found", "not found"))

# %%
by = dict(zip(checks, np.array(list(seen.values())).sum(axis=0).tolist()))   # bugs found, of eight
print("found, of eight:", by)
assert by["gradcheck"] == 6 and by["formula"] == 8
assert max(by["dw only"], by["ones"], by["easy"]) < 6
assert [bug for bug in seen if not seen[bug][3]] == ["conv: kernel turned, everywhere", "LRN: alpha / n, everywhere"]
assert all(worst(errors_of(*hard[kind](), rung)) > 0.01 for bug, (kind, rung) in bugs.items() if seen[bug][3])

# %% [markdown]
# In this project the table is a test: [tests/test_mutants.py](../tests/test_mutants.py) plants many more bugs, in
# each op, and fails if a check does not find a bug that it should find. A test that cannot fail tests nothing.
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
# **3.** Your own check: `forward(x)` gives y, `backward(dy, x)` gives dx. Return `True` if backward is right, else
# `False`. Your function will be tried on right ones and on wrong ones. A relative error of 10⁻⁶ still counts as right.

# %%
import numpy as np

from tinynet import exercises


def gradient_is_right(forward, backward, x):
    ...


exercises.check_gradient_is_right(gradient_is_right)

# %% [markdown]
# ## What to remember
#
# - Both sides, h = 10⁻⁵, float64; compare as vectors, relative to the numeric gradient.
# - A random dy; all gradients, dx too; windows that overlap, two groups, two pictures, terms large enough to be
#   noticed; inputs away from kinks and ties.
# - A gradient check cannot find a mistake that is the same in forward and backward: compare with something independent.
# - Plant a bug. If the check does not find it, improve the check.
#
# Next: [07, stochastic gradient descent](07_sgd.ipynb). Read next: [gradcheck.py](../tinynet/gradcheck.py), all of
# it.

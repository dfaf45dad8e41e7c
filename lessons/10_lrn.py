# %% [markdown]
# # 04 · Local response normalisation (局部响应归一化, LRN)
#
# *35 minutes. Before it: 08, convolution. Beside it: the paper, section 3.3, and `tinynet/reference/lrn.py`.*
#
# After this lesson you can compute an LRN by hand, forward and backward, say what it does and how little of it happens
# in a fresh AlexNet, and explain why four programs with "the same" layer give four different answers.
#
# **In a sentence:** each activation is divided by a power of the energy of its neighbours in other maps, so that a
# loud channel quietens those next to it, as neurons do (侧抑制, lateral inhibition).

# %%
import inspect

import numpy as np

import tinynet
from tinynet import data, exercises, figures, gradcheck, layers, ops, reference
from tinynet.trace import Trace, explain

rng = np.random.default_rng(0)

# %% [markdown]
# ## The formula
#
# $$y_c = \frac{x_c}{\left(k + \alpha \sum_j x_j^2\right)^{\beta}}, \qquad
# j \text{ from } c - \lfloor n/2 \rfloor \text{ to } c + \lfloor n/2 \rfloor, \text{ inside } [0, C)$$
#
# with k = 2, n = 5, alpha = 10^-4 and beta = 0.75. (In the Chinese notes a bracket got lost: the power beta goes over
# the whole denominator, k included, and the constants are missing.) The sum goes over **channels** at one and the same
# pixel; the pixels around it do not matter. Here is one pixel with five channels, and friendlier constants:

# %%
x = np.array([1.0, 2, 0, 3, -1]).reshape(1, 5, 1, 1)       # (N, C, H, W)
friendly = {"n": 3, "k": 1, "alpha": 1, "beta": 0.5}       # so that y = x / sqrt(1 + energy)
y, scale = ops.lrn_forward(x, **friendly)

energies = [1 + 4, 1 + 4 + 0, 4 + 0 + 9, 0 + 9 + 1, 9 + 1]  # of the window of 3 around each channel
assert np.allclose(scale.ravel(), [1 + energy for energy in energies])
assert np.allclose(y.ravel(), [1 / 6**0.5, 2 / 6**0.5, 0, 3 / 11**0.5, -1 / 11**0.5])

figures.draw_numbers({"x": x.reshape(1, 5), "scale": scale.reshape(1, 5), "y": y.reshape(1, 5)},
                     windows={"x": (0, 2, 1, 3), "scale": (0, 3, 1, 1), "y": (0, 3, 1, 1)})

# %% [markdown]
# At the edges the window is cut off: channel 0 has one neighbour, not two. The same with `explain`, for channel 3:

# %%
net = tinynet.Sequential([layers.LRN("lrn", **friendly)], (5, 1, 1), rng, "float64")
trace = Trace(net, x, dy=np.array([1.0, 0, 2, -1, 0]).reshape(1, 5, 1, 1)).run()
seen = explain(trace, "lrn", (0, 3, 0, 0))
assert seen.start == (2,) and np.isclose(seen.value, 3 / 11**0.5)
print(seen)

# %% [markdown]
# ## A loud neighbour
#
# Five channels that all say 1. Then the middle one gets louder. Its own y grows, but less and less; its neighbours did
# nothing, and fall silent:

# %%
loud = np.ones((1, 5, 1, 4))
loud[0, 2, 0] = [1, 3, 10, 30]
y, _ = ops.lrn_forward(loud, **friendly)
assert (np.diff(y[0, 2, 0]) > 0).all() and (np.diff(y[0, 1, 0]) < 0).all()
assert (y[0, 0, 0] == y[0, 0, 0, 0]).all()                 # channel 0 is two away, outside the window of 3
assert y[0, 2, 0, 3] < 1                                   # with these constants nothing gets past 1

figures.draw_numbers({"x: channels down, louder and louder": loud[0, :, 0], "y": y[0, :, 0]})

# %% [markdown]
# ## In the network
#
# Eight kernels that look for edges, each turned a little further than the one before, on the photo; then ReLU.
# Neighbouring channels like neighbouring directions, so they are loud together:

# %%
photo = data.load_picture(figures.PHOTO, 114)              # uint8 (3, 114, 114)
grey = (photo.mean(axis=0) - photo.mean())[None, None]     # (1, 1, 114, 114), around 0
down, across = np.mgrid[-3:4, -3:4]
turns = np.pi / 8 * np.arange(8)
w = np.stack([np.exp(-(down**2 + across**2) / 6) * np.sin(np.cos(a) * across + np.sin(a) * down) for a in turns])
w /= abs(w).sum(axis=(1, 2), keepdims=True)
edges = ops.conv2d_forward(grey, w[:, None], np.zeros(8), stride=2, pad=0, groups=1)
x = ops.relu_forward(edges)
assert x.shape == (1, 8, 54, 54)

figures.draw_maps(x[0], [f"{22.5 * c:g} degrees" for c in range(8)], columns=4)

# %% [markdown]
# LRN with n = 5. To see something, alpha is a hundred times the paper's here. Bright edges keep their place and lose
# their lead; faint ones come up beside them. (The first and the last map keep more than the others: part of their
# window is cut off.)

# %%
y, scale = ops.lrn_forward(x, n=5, k=2, alpha=1e-2, beta=0.75)
assert 0 < y.max() < x.max()
strong, weak = np.quantile(x[x > 0], [0.99, 0.5])
after = np.quantile(y[y > 0], [0.99, 0.5])
assert after[0] / after[1] < 0.6 * strong / weak           # the lead of the loudest shrinks
kept = y[0].sum(axis=(1, 2)) / x[0].sum(axis=(1, 2))       # (8,): what is left of each map
assert kept[[0, 7]].min() > kept[2:6].max()

figures.draw_maps(y[0], [f"{22.5 * c:g} degrees" for c in range(8)], columns=4)

# %% [markdown]
# One pixel of it, taken apart: the loudest. The bars are its neighbours in other maps.

# %%
net = tinynet.Sequential([layers.LRN("lrn", n=5, k=2, alpha=1e-2, beta=0.75)], (8, 54, 54), rng, "float64")
trace = Trace(net, x, dy=rng.standard_normal(x.shape)).run()
loudest = tuple(int(i) for i in np.unravel_index(x.argmax(), x.shape))
seen = explain(trace, "lrn", loudest)
assert np.isclose(seen.value, y[loudest])

figures.draw_explanation(seen)

# %% [markdown]
# With the paper's own alpha = 10^-4 and a fresh conv1, the energy hardly counts: the scale is close to k = 2, and the
# layer all but multiplies by 2^-0.75 = 0.595. Channels compete only where activations are large.

# %%
conv1 = tinynet.Sequential([layers.Conv2d("conv1", 96, 11, stride=4, std=0.01)], (3, 114, 114), rng)
fresh = ops.relu_forward(conv1.forward((photo - photo.mean()).astype(np.float32)[None]))
y, scale = ops.lrn_forward(fresh, n=5, k=2, alpha=1e-4, beta=0.75)
assert 2 < scale.mean() < 2.1
assert round(2**-0.75, 3) == 0.595
lit = fresh > 0
assert 0.95 < np.median(y[lit] / fresh[lit]) / 2**-0.75 <= 1

# %% [markdown]
# ## What it is for, and what it is not for
#
# The notes say that ReLU's outputs have no bounds and **need** to be normalised. The paper says the opposite: ReLUs do
# not saturate, and need no normalisation for that; LRN was added because it helped generalisation, by 1.4 points of
# top-1 and 1.2 of top-5 error in the authors' comparison (section 3.3). torchvision's AlexNet, of 2014, does without.

# %% [markdown]
# ## Four programs, four layers
#
# | | k | what multiplies the sum of squares | window stops at | order |
# |---|---|---|---|---|
# | the paper's text | 2 | 10^-4 | the last channel | ReLU, LRN |
# | the authors' program | 2 | 10^-4 / 5 | the border between GPUs | LRN, ReLU in layer 1 |
# | Caffe's bvlc_alexnet | 1 | 10^-4 / 5 | the last channel | ReLU, LRN |
# | torchvision | none | | | |
#
# The authors' program divides alpha by n, and so do Caffe and PyTorch. Our recipes have all four, with alpha as it is
# used:

# %%
for recipe in tinynet.RECIPES:
    rows = tinynet.RECIPES[recipe].layers(1000)
    print(f"{recipe:<10}", [f"k={row.k:g} alpha={row.alpha:g} groups={row.groups}" for row in rows
                            if isinstance(row, layers.LRN)])
lrn1 = {recipe: next((row for row in tinynet.RECIPES[recipe].layers(1000) if row.name == "lrn1"), None)
        for recipe in tinynet.RECIPES}
assert (lrn1["paper"].k, lrn1["paper"].alpha, lrn1["paper"].groups) == (2, 1e-4, 1)
assert (lrn1["code-2012"].k, lrn1["code-2012"].alpha, lrn1["code-2012"].groups) == (2, 1e-4 / 5, 2)
assert (lrn1["caffe"].k, lrn1["caffe"].alpha, lrn1["caffe"].groups) == (1, 1e-4 / 5, 1)
assert lrn1["owt"] is None

# %% [markdown]
# Does the order matter? ReLU and max-pooling can change places; ReLU and LRN cannot, since before the ReLU negative
# numbers have energy, too:

# %%
signed = rng.standard_normal((1, 8, 4, 4))
relu_first = ops.lrn_forward(ops.relu_forward(signed), **friendly)[0]
lrn_first = ops.relu_forward(ops.lrn_forward(signed, **friendly)[0])
assert not np.allclose(relu_first, lrn_first)
assert (lrn_first <= relu_first + 1e-12).all()             # more energy, smaller numbers

# %% [markdown]
# And the border between the GPUs: conv1 made channels 0 to 47 on one and 48 to 95 on the other. With groups = 2 a
# window around channel 47 ends there.

# %%
net = tinynet.Sequential([layers.LRN("whole"), layers.LRN("halves", groups=2)], (96, 2, 2), rng, "float64")
trace = Trace(net, rng.standard_normal((1, 96, 2, 2))).run()
whole, halves = (explain(trace, name, (0, 47, 0, 0)) for name in ("whole", "halves"))
assert (whole.start, whole.last.size) == ((45,), 5)        # 45 to 49
assert (halves.start, halves.last.size) == ((45,), 3)      # 45 to 47

# %% [markdown]
# The authors' program has one more layer that the paper does not mention: after the second LRN, a normalisation
# **within** each map, over 5 x 5 pixels. Same formula, another window:

# %%
net = tinynet.Sequential([layers.LRNWithin("within", n=5, k=1, alpha=1e-3)], (8, 54, 54), rng, "float64")
trace = Trace(net, x).run()
seen = explain(trace, "within", loudest)
assert seen.last.shape == (5, 5)

figures.draw_explanation(seen)

# %% [markdown]
# ## Backward: two roads from x to the loss
#
# If x_c grows, its own y_c grows with it: that is the first term. But x_c is also part of the **energy** of every
# neighbour (and of itself), and makes all of them smaller: that is the second.
#
# $$\mathrm{d}x_c = \mathrm{d}y_c \, s_c^{-\beta} - 2 \alpha \beta \, x_c \sum_j \frac{\mathrm{d}y_j \, y_j}{s_j},
# \qquad s = \text{scale}$$
#
# Whoever is in my window has me in theirs, as n is odd: so j runs over the same channels as before. The small example
# from above, channel 3:

# %%
x5, dy5 = np.array([1.0, 2, 0, 3, -1]), np.array([1.0, 0, 2, -1, 0])
y5, scale5 = (a.ravel() for a in ops.lrn_forward(x5.reshape(1, 5, 1, 1), **friendly))
own = dy5[3] * scale5[3]**-0.5
others = 2 * 1 * 0.5 * x5[3] * (dy5[2] * y5[2] / scale5[2] + dy5[3] * y5[3] / scale5[3] + dy5[4] * y5[4] / scale5[4])

net = tinynet.Sequential([layers.LRN("lrn", **friendly)], (5, 1, 1), rng, "float64")
trace = Trace(net, x5.reshape(1, 5, 1, 1), dy=dy5.reshape(1, 5, 1, 1)).run()
seen = explain(trace, "lrn", (0, 3, 0, 0), of="dx")
assert np.isclose(seen.value, own - others)

figures.draw_explanation(seen)

# %% [markdown]
# Leave the second term out and the network still trains, a little wrong: the commonest mistake with LRN, and with the
# paper's tiny alpha few tests see it. So check where alpha times the sum is as large as k:

# %%
layer = layers.LRN("lrn", n=5, k=2, alpha=0.5)
report, = gradcheck.check_layer(layer, rng.standard_normal((2, 7, 3, 3)), rng)
assert report.ok, report                                  # to within a millionth, as a vector

# %% [markdown]
# ## The formula as a program
#
# First with a loop for each index, then as it is computed on whole arrays: a sum over n neighbours is n shifted
# additions.

# %%
print(inspect.getsource(reference.lrn_forward))

# %%
print(inspect.getsource(ops.lrn_forward))
print(inspect.getsource(ops.lrn.window_sum))
print(inspect.getsource(ops.lrn_backward))
assert np.allclose(reference.lrn_forward(x[:, :, :4, :4], 5, 2, 1e-2, 0.75)[0],
                   ops.lrn_forward(x[:, :, :4, :4], 5, 2, 1e-2, 0.75)[0], rtol=1e-12)

# %% [markdown]
# ## Exercises
#
# Replace the `...`, run the cell, read what the check says. [Solutions](solutions/10_lrn.py).
#
# **1.** Forward, for the channels `x` (C, H, W) of one picture. A loop over channels is enough.

# %%
import numpy as np

from tinynet import exercises


def lrn(x, n, k, alpha, beta):
    ...


exercises.check_lrn(lrn)

# %% [markdown]
# **2.** Backward: `dy` and the result have the shape of `x`. You will need scale and y again.

# %%
import numpy as np

from tinynet import exercises


def lrn_gradient(dy, x, n, k, alpha, beta):
    ...


exercises.check_lrn_gradient(lrn_gradient)

# %% [markdown]
# ## What to remember
#
# - A channel is divided by (k + alpha times the energy of n channels around it) to the power beta; windows are cut at
#   the edges.
# - In a fresh network it is little more than a multiplication by 0.595; its gradient has two terms all the same.
# - Ask of every other program: is alpha divided by n? what is k? before or after the ReLU?
#
# Read next: [reference/lrn.py](../tinynet/reference/lrn.py) beside [ops/lrn.py](../tinynet/ops/lrn.py).
